"""How good the predictions are: figures with intervals, by snapshot, beside baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retain.errors import SnapshotError
from retain.evaluate.ranking import (
    DRAWS,
    Floats,
    Ranking,
    auc,
    dot,
    first_of_each,
    ranked,
    sums_by_rank,
    with_intervals,
)

__all__ = [
    "area_under_curve",
    "average_precision",
    "calibration_error",
    "calibration_table",
    "campaign_profit",
    "capture",
    "churn_differences",
    "churn_figures",
    "clv_figures",
    "decile_table",
    "expected_figures",
    "interval_coverage",
    "normalised_gini",
    "value_captured",
]

BINS = 10


def area_under_curve(y: Any, p: Any) -> float:
    """Chance that a leaver scores above a stayer, ties counted half; nan with one class.

    Examples
    --------
    >>> area_under_curve([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    1.0
    """
    return auc(*sums_by_rank(y, p))


def average_precision(y: Any, p: Any) -> float:
    """Area under the precision-recall curve; equal scores are taken together; nan with one class.

    Examples
    --------
    >>> average_precision([0, 1, 1], [0.2, 0.9, 0.8])
    1.0
    """
    return _average_precision(*sums_by_rank(y, p))


def calibration_table(y: Any, p: Any, bins: int = BINS) -> pd.DataFrame:
    """Compare predicted with observed shares in bins of about equal count.

    Equal predictions lie in one bin, that of their middle rank; a bin may be empty and is left out.

    Returns
    -------
    DataFrame
        Columns n, predicted, observed; one row per bin, from the lowest predictions up; the index
        is the bin's number, 0 to bins - 1.

    Examples
    --------
    >>> calibration_table([0, 1, 0, 1], [0.1, 0.3, 0.3, 0.9], bins=2)
       n  predicted  observed
    0  1        0.1  0.000000
    1  3        0.5  0.666667
    """
    ranking = Ranking.of(p)
    count, outcomes = ranking.sums(np.ones(len(ranking.order))), ranking.sums(ranked(ranking, y))
    at = _bins(count, bins)
    n = np.bincount(at, count, bins)
    used = np.flatnonzero(n)
    predicted = np.bincount(at, count * ranking.level, bins)[used]
    observed = np.bincount(at, outcomes, bins)[used]
    return pd.DataFrame(
        {
            "n": n[used].astype(int),
            "predicted": predicted / n[used],
            "observed": observed / n[used],
        },
        index=used,
    )


def calibration_error(y: Any, p: Any, bins: int = BINS) -> float:
    """Mean distance of predicted and observed share over bins of about equal count; 0 is best.

    `y` may also hold true probabilities, known in simulations only.

    Examples
    --------
    >>> calibration_error([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], bins=1)
    0.0
    """
    return _calibration_error(*sums_by_rank(y, p), Ranking.of(p).level, bins)


def capture(y: Any, p: Any, most: float, value: Any = None) -> float:
    """Share of leavers (or of their value) among the `most` highest scores; nan without leavers.

    Where equal scores straddle the line, they share evenly: what a draw among them gives on
    average.

    Examples
    --------
    >>> capture([1, 0, 1, 0], [0.9, 0.8, 0.1, 0.2], most=2)
    0.5
    >>> capture([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], most=1)
    0.25
    """
    worth = np.asarray(y, float) if value is None else np.asarray(y, float) * np.asarray(value)
    return _capture(*sums_by_rank(worth, p), most)


def normalised_gini(y: Any, p: Any) -> float:
    """How well predictions order outcomes: 1 as well as possible, 0 not at all, below it wrongly.

    Area between the gain curve of the predictions and the diagonal, divided by the same area for a
    perfect order; nan when outcomes are all alike or add up to nothing.

    Examples
    --------
    >>> normalised_gini([0.0, 1.0, 5.0], [1.0, 2.0, 3.0])
    1.0
    """
    best = _gain(*sums_by_rank(y, y))
    return _gain(*sums_by_rank(y, p)) / best if best > 0 else float("nan")


def interval_coverage(y: Any, low: Any, high: Any) -> float:
    """Share of outcomes inside their interval, its ends included."""
    y, low, high = (np.asarray(v, float) for v in (y, low, high))
    return float(np.mean((y >= low) & (y <= high)))


def decile_table(y: Any, p: Any, bins: int = BINS) -> pd.DataFrame:
    """Compare mean predicted and actual value by tenth of prediction, highest first."""
    table = calibration_table(y, p, bins).iloc[::-1]
    table.insert(0, "decile", bins - table.index)
    return table.rename(columns={"observed": "actual"}).reset_index(drop=True)


def churn_figures(
    y: Any,
    p: Any,
    who: Any,
    *,
    capacity: int,
    when: Any = None,
    level: float = 0.9,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Judge churn probabilities.

    Parameters
    ----------
    y, p
        Outcomes 0 / 1 and probabilities, shape (rows,).
    who
        Customer of each row: the intervals resample customers.
    capacity
        How many customers the team can act on in a week, for the leavers caught.
    when
        Week of each row, shape (rows,): every week has a list of its own, of `capacity` customers.
        None: all rows are of one week.
    level
        Level of the intervals.
    seed
        Same seed, same intervals.

    Returns
    -------
    dict
        Figure to value, low, high: auc, average_precision, brier, log_loss, calibration_error,
        mean_predicted, observed, lift_top_tenth, capture_at_capacity. The first two are nan where
        one class is missing, the last two without leavers.

    Raises
    ------
    SnapshotError
        When there is nothing to judge.
    """
    order, figures = _churn_judge(y, p, capacity, when)
    return with_intervals(figures, np.asarray(who)[order], level, seed)


def churn_differences(
    y: Any,
    p: Any,
    other: Any,
    who: Any,
    *,
    capacity: int,
    when: Any = None,
    level: float = 0.9,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Compare two models on the same rows: figures of `p` minus those of `other`.

    Parameters
    ----------
    y, who, capacity, when, level, seed
        As for `churn_figures`.
    p, other
        Probabilities of the two models, shape (rows,).

    Returns
    -------
    dict
        Figure (but for ``observed``) to value, low, high of the difference. Paired: both models
        meet the same draws of customers, so that what is hard for both does not widen the interval.

    Raises
    ------
    SnapshotError
        When there is nothing to judge.

    Examples
    --------
    >>> y, good, bad = [0, 1] * 9, [0.1, 0.9] * 9, [0.5, 0.5] * 9
    >>> found = churn_differences(y, good, bad, range(18), capacity=9)
    >>> found["auc"]["value"], found["capture_at_capacity"]["value"]
    (0.5, 0.5)
    """
    order, figures = _churn_judge(y, p, capacity, when)
    other_order, other_figures = _churn_judge(y, other, capacity, when)

    def both(weight: Floats) -> dict[str, float]:
        mine, theirs = figures(weight[order]), other_figures(weight[other_order])
        return {name: mine[name] - theirs[name] for name in mine if name != "observed"}

    return with_intervals(both, np.asarray(who), level, seed)


def expected_figures(
    p: Any, *, capacity: int, level: float = 0.9, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Say what figures to expect where outcomes are not known yet, if the probabilities are right.

    Parameters
    ----------
    p
        Calibrated probabilities, one customer each.
    capacity, level, seed
        As for `churn_figures`.

    Returns
    -------
    dict
        The figures of `churn_figures`: mean over outcomes drawn from `p`, and the range that holds
        `level` of them. A model whose probabilities are wrong will miss these: that is for the
        outcomes to show.

    Raises
    ------
    SnapshotError
        When there is nobody.
    """
    p = np.asarray(p, dtype=np.float64)
    if len(p) == 0:
        raise SnapshotError("nothing to expect: nobody was scored. Check who is eligible.")
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        order, figures = _churn_judge(rng.random(len(p)) < p, p, capacity)
        draws.append(figures(np.ones(len(order))))
    tails = (1.0 - level) / 2.0, (1.0 + level) / 2.0
    out = {}
    for name in draws[0]:
        seen = np.array([draw[name] for draw in draws])
        seen = seen[~np.isnan(seen)]
        low, high = np.quantile(seen, tails) if len(seen) else (np.nan, np.nan)
        mean = seen.mean() if len(seen) else np.nan
        out[name] = {"value": float(mean), "low": float(low), "high": float(high)}
    return out


def value_captured(
    y: Any, order_by: Any, value: Any, who: Any, *, capacity: int, level: float = 0.9, seed: int = 0
) -> dict[str, float]:
    """Share of the value of all who left that lies in the first `capacity` customers of a list.

    Parameters
    ----------
    y
        Outcomes 0 / 1, shape (rows,).
    order_by
        What the list is ordered by, highest first; ties share evenly.
    value
        What each customer is worth, 0 or more, in currency.
    who, capacity, level, seed
        As for `churn_figures`.

    Returns
    -------
    dict
        value, low, high; nan when nobody who left was worth anything.

    Examples
    --------
    >>> value_captured([1, 1, 0], [3, 2, 1], [90, 10, 50], range(3), capacity=1)["value"]
    0.9
    """
    ranking = Ranking.of(order_by)
    worth = ranked(ranking, np.asarray(y, float) * np.asarray(value, float))

    def figures(weight: Floats) -> dict[str, float]:
        share = _capture(ranking.sums(weight), ranking.sums(weight * worth), capacity)
        return {"value_captured": share}

    who = np.asarray(who)[ranking.order]
    return with_intervals(figures, who, level, seed)["value_captured"]


def campaign_profit(
    y: Any,
    order_by: Any,
    value: Any,
    who: Any,
    *,
    capacity: int,
    contact_cost: float,
    incentive_cost: float,
    acceptance_share: float,
    level: float = 0.9,
    seed: int = 0,
) -> dict[str, float]:
    """Profit of reaching the first `capacity` customers of a list, against reaching nobody.

    Parameters
    ----------
    y, order_by, value, who, capacity, level, seed
        As for `value_captured`; `y` may also hold probabilities, for the profit to expect.
    contact_cost, incentive_cost
        Per customer reached, and per customer who takes the offer, in currency.
    acceptance_share
        Share of those about to leave whom the offer keeps; they keep their whole `value`.

    Returns
    -------
    dict
        value, low, high, in currency.

    Notes
    -----
    Reached and about to leave: acceptance x (value - incentive) - contact. Reached and staying
    anyway: - incentive - contact, as whoever stays takes what is offered (the cautious case; after
    Verbraken, Verbeke and Baesens 2013). Some customers leave because they were reached: this sum
    does not know of them, only a hold-out does.

    Examples
    --------
    >>> campaign_profit(
    ...     [1, 0], [2, 1], [100, 100], [0, 1], capacity=2,
    ...     contact_cost=5, incentive_cost=10, acceptance_share=0.5,
    ... )["value"]
    25.0
    """
    ranking = Ranking.of(order_by)
    left = np.asarray(y, float)
    kept = acceptance_share * (np.asarray(value, float) - incentive_cost)
    gain = ranked(ranking, left * kept - (1.0 - left) * incentive_cost - contact_cost)

    def figures(weight: Floats) -> dict[str, float]:
        count, gained = ranking.sums(weight), ranking.sums(weight * gain)
        before = np.cumsum(count) - count
        share = np.clip((capacity - before) / np.maximum(count, 1e-300), 0.0, 1.0)
        return {"profit": dot(gained, share)}

    who = np.asarray(who)[ranking.order]
    return with_intervals(figures, who, level, seed)["profit"]


def clv_figures(
    y: Any,
    p: Any,
    who: Any,
    *,
    low: Any = None,
    high: Any = None,
    level: float = 0.9,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Judge CLV: error, order, level, and how often the interval held the outcome.

    Parameters
    ----------
    y, p
        Outcomes and predictions in currency, shape (rows,).
    who
        Customer of each row: the intervals resample customers.
    low, high
        Interval of each prediction, where there is one.
    level
        Level of the figures' own intervals.
    seed
        Same seed, same intervals.

    Returns
    -------
    dict
        Figure to value, low, high: mae, rmse, spearman, normalised_gini, sum_predicted_over_actual,
        and, given intervals, interval_coverage and interval_median_width; nan where outcomes are
        all alike or add up to nothing.

    Raises
    ------
    SnapshotError
        When there is nothing to judge.
    """
    ranking = Ranking.of(p)
    actual, predicted = ranked(ranking, y), ranked(ranking, p)
    best = Ranking.of(actual)
    error = np.abs(actual - predicted)

    def figures(weight: Floats) -> dict[str, float]:
        count, worth = ranking.sums(weight), ranking.sums(weight * actual)
        top_count = best.sums(weight[best.order])
        perfect = _gain(top_count, best.level * top_count)
        ranks = np.repeat(_middle(count), ranking.lengths)
        best_ranks = np.empty(len(weight))
        best_ranks[best.order] = np.repeat(_middle(top_count), best.lengths)
        total = worth.sum()
        return {
            "mae": dot(weight, error) / weight.sum(),
            "rmse": float(np.sqrt(dot(weight, error**2) / weight.sum())),
            "spearman": _correlation(ranks, best_ranks, weight),
            "normalised_gini": _gain(count, worth) / perfect if perfect > 0 else float("nan"),
            "sum_predicted_over_actual": (
                dot(weight, predicted) / total if total > 0 else float("nan")
            ),
        }

    out = with_intervals(figures, np.asarray(who)[ranking.order], level, seed)
    if low is not None and high is not None and not np.isnan(np.asarray(low, float)).all():
        covered = interval_coverage(y, low, high)
        out["interval_coverage"] = {"value": covered, "low": np.nan, "high": np.nan}
        width = float(np.median(np.asarray(high) - np.asarray(low)))
        out["interval_median_width"] = {"value": width, "low": np.nan, "high": np.nan}
    return out


def _average_precision(count: Floats, left: Floats) -> float:
    if not 0 < left.sum() < count.sum():
        return float("nan")
    precision = np.cumsum(left) / np.maximum(np.cumsum(count), 1e-300)
    return float(dot(precision, left) / left.sum())


def _capture(count: Floats, left: Floats, most: float) -> float:
    """Share of `left` in the `most` highest rows; the group on the line gives its share."""
    total = left.sum()
    if not total > 0:
        return float("nan")
    before = np.cumsum(count) - count
    share = np.clip((most - before) / np.maximum(count, 1e-300), 0.0, 1.0)
    return float(dot(left, share) / total)


def _gain(count: Floats, worth: Floats) -> float:
    """Area between the gain curve and the diagonal, in shares."""
    total = worth.sum()
    if not total > 0:
        return float("nan")
    gained = np.cumsum(worth)
    return float(dot(count, gained - worth / 2.0) / (total * count.sum()) - 0.5)


def _middle(count: Floats) -> Floats:
    """Middle rank of each group as a share of all rows, from 0 for the first to 1."""
    return (np.cumsum(count) - count / 2.0) / count.sum()


def _bins(count: Floats, bins: int) -> NDArray[np.int64]:
    """Bin of each group, the last bin for the highest predictions."""
    if not len(count):
        return np.zeros(0, dtype=np.int64)
    lowest_first = _middle(count[::-1])[::-1]
    return np.minimum((lowest_first * bins).astype(np.int64), bins - 1)


def _calibration_error(count: Floats, left: Floats, level: Floats, bins: int) -> float:
    gaps = np.bincount(_bins(count, bins), count * level - left, bins)
    return float(np.abs(gaps).sum() / count.sum())


def _correlation(a: Floats, b: Floats, weight: Floats) -> float:
    total = weight.sum()
    a, b = a - dot(weight, a) / total, b - dot(weight, b) / total
    spread = dot(weight, a**2) * dot(weight, b**2)
    if spread <= 1e-18 * total**2:  # ranks are shares: so little is rounding of equal ones
        return float("nan")
    return float(dot(weight, a * b) / np.sqrt(spread))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _churn_judge(
    y: Any, p: Any, capacity: int, when: Any = None
) -> tuple[NDArray[np.int64], Callable[[Floats], dict[str, float]]]:
    """Give the order of rows, and the function from weights in that order to figures."""
    ranking = Ranking.of(p)
    listed = None if when is None else ranked(ranking, first_of_each(p, when, capacity))
    y, p = ranked(ranking, y), ranked(ranking, p)
    inside = np.clip(p, 1e-12, 1 - 1e-12)
    loss = -(y * np.log(inside) + (1 - y) * np.log(1 - inside))
    error = (y - p) ** 2

    def figures(weight: Floats) -> dict[str, float]:
        count, left = ranking.sums(weight), ranking.sums(weight * y)
        rows, leavers = count.sum(), left.sum()
        tenth = _capture(count, left, rows / 10.0)
        return {
            "auc": auc(count, left),
            "average_precision": _average_precision(count, left),
            "brier": dot(weight, error) / rows,
            "log_loss": dot(weight, loss) / rows,
            "calibration_error": _calibration_error(count, left, ranking.level, BINS),
            "mean_predicted": dot(weight, p) / rows,
            "observed": float(leavers / rows),
            "lift_top_tenth": 10.0 * tenth,
            "capture_at_capacity": _capture(count, left, capacity)
            if listed is None
            else _share(dot(weight * y, listed), leavers),
        }

    return ranking.order, figures
