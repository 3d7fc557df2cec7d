"""How good the predictions are: figures with intervals, by snapshot, beside baselines.

All intervals resample customers, never rows: one customer's snapshots rise and fall together. Rows
with equal predictions share their outcomes evenly, so that no figure depends on the order of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retain.errors import SnapshotError

__all__ = [
    "area_under_curve",
    "average_precision",
    "calibration_error",
    "calibration_table",
    "capture",
    "churn_figures",
    "clv_figures",
    "decile_table",
    "interval_coverage",
    "normalised_gini",
]

Floats = NDArray[np.float64]
DRAWS = 200


def area_under_curve(y: Any, p: Any) -> float:
    """Chance that a leaver scores above a stayer, ties counted half; nan with one class.

    Examples
    --------
    >>> area_under_curve([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    1.0
    """
    y, p = np.asarray(y, float), np.asarray(p, float)
    left, stayed = y.sum(), len(y) - y.sum()
    if left == 0 or stayed == 0:
        return float("nan")
    from scipy.stats import rankdata

    return float((rankdata(p)[y == 1].sum() - left * (left + 1) / 2) / (left * stayed))


def average_precision(y: Any, p: Any) -> float:
    """Area under the precision-recall curve; equal scores are taken together; nan with one class.

    Examples
    --------
    >>> average_precision([0, 1, 1], [0.2, 0.9, 0.8])
    1.0
    """
    from sklearn.metrics import average_precision_score

    y = np.asarray(y, float)
    return float(average_precision_score(y, p)) if 0 < y.sum() < len(y) else float("nan")


def calibration_table(y: Any, p: Any, bins: int = 10) -> pd.DataFrame:
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
    y, p = np.asarray(y, float), np.asarray(p, float)
    _, group, count = np.unique(p, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2.0) / max(len(p), 1)
    at = np.minimum((middle * bins).astype(int), bins - 1)[group]
    n = np.bincount(at, minlength=bins)
    used = np.flatnonzero(n)
    return pd.DataFrame(
        {
            "n": n[used],
            "predicted": np.bincount(at, p, bins)[used] / n[used],
            "observed": np.bincount(at, y, bins)[used] / n[used],
        },
        index=used,
    )


def calibration_error(y: Any, p: Any, bins: int = 10) -> float:
    """Mean distance of predicted and observed share over bins of equal count; 0 is best.

    `y` may also hold true probabilities, known in simulations only.

    Examples
    --------
    >>> calibration_error([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], bins=1)
    0.0
    """
    table = calibration_table(y, p, bins)
    gaps = (table["predicted"] - table["observed"]).abs()
    return float((gaps * table["n"]).sum() / table["n"].sum())


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
    y, p = np.asarray(y, float), np.asarray(p, float)
    worth = y if value is None else y * np.asarray(value, float)
    total = worth.sum()
    if not total > 0:
        return float("nan")
    return _top_sum(worth, p, most) / float(total)


def _top_sum(worth: Floats, p: Floats, most: float) -> float:
    """Sum of `worth` over the `most` highest predictions, equal ones sharing evenly."""
    _, group = np.unique(-p, return_inverse=True)
    count = np.cumsum(np.bincount(group))
    gained = np.cumsum(np.bincount(group, worth))
    return float(np.interp(most, [0, *count], [0.0, *gained]))


def normalised_gini(y: Any, p: Any) -> float:
    """How well predictions order outcomes: 1 as well as possible, 0 not at all, below it wrongly.

    Area between the gain curve of the predictions and the diagonal, divided by the same area for a
    perfect order; nan when outcomes are all alike or add up to nothing.

    Examples
    --------
    >>> normalised_gini([0.0, 1.0, 5.0], [1.0, 2.0, 3.0])
    1.0
    """
    y, p = np.asarray(y, float), np.asarray(p, float)

    def area(by: Floats) -> float:
        order = np.argsort(-by, kind="stable")
        _, start, count = np.unique(-by[order], return_index=True, return_counts=True)
        even = np.add.reduceat(y[order], start) / count
        gained = np.cumsum(np.repeat(even, count)) / y.sum()
        return float((gained - np.arange(1, len(y) + 1) / len(y)).sum())

    best = area(y) if y.sum() > 0 else 0.0
    return area(p) / best if best > 0 else float("nan")


def interval_coverage(y: Any, low: Any, high: Any) -> float:
    """Share of outcomes inside their interval."""
    y, low, high = (np.asarray(v, float) for v in (y, low, high))
    return float(np.mean((y >= low) & (y <= high)))


def decile_table(y: Any, p: Any, bins: int = 10) -> pd.DataFrame:
    """Compare mean predicted and actual value by tenth of prediction, highest first."""
    table = calibration_table(y, p, bins).iloc[::-1]
    table.insert(0, "decile", bins - table.index)
    return table.rename(columns={"observed": "actual"}).reset_index(drop=True)


def churn_figures(
    y: Any, p: Any, who: Any, *, capacity: int, level: float = 0.9, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Judge churn probabilities.

    Parameters
    ----------
    y, p
        Outcomes 0 / 1 and probabilities, shape (rows,).
    who
        Customer of each row: the intervals resample customers.
    capacity
        How many customers the team can act on, for lift and capture.
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
    y, p, who = np.asarray(y, float), np.asarray(p, float), np.asarray(who)

    def loss(a: Floats, b: Floats) -> float:
        b = np.clip(b, 1e-12, 1 - 1e-12)
        return float(-np.mean(a * np.log(b) + (1 - a) * np.log(1 - b)))

    def lift(a: Floats, b: Floats) -> float:
        tenth = len(b) / 10.0
        return _top_sum(a, b, tenth) / tenth / float(a.mean()) if a.sum() else float("nan")

    figures: dict[str, Callable[[Floats, Floats], float]] = {
        "auc": area_under_curve,
        "average_precision": average_precision,
        "brier": lambda a, b: float(np.mean((a - b) ** 2)),
        "log_loss": loss,
        "calibration_error": calibration_error,
        "mean_predicted": lambda a, b: float(b.mean()),
        "observed": lambda a, b: float(a.mean()),
        "lift_top_tenth": lift,
        "capture_at_capacity": lambda a, b: capture(a, b, capacity),
    }
    return _with_intervals(figures, y, p, who, level, seed)


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
    """Judge CLV: error, order, level, and how often the interval held the outcome."""
    y, p, who = np.asarray(y, float), np.asarray(p, float), np.asarray(who)

    def order(a: Floats, b: Floats) -> float:
        from scipy.stats import spearmanr

        return float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else float("nan")

    figures: dict[str, Callable[[Floats, Floats], float]] = {
        "mae": lambda a, b: float(np.mean(np.abs(a - b))),
        "rmse": lambda a, b: float(np.sqrt(np.mean((a - b) ** 2))),
        "spearman": order,
        "normalised_gini": normalised_gini,
        "sum_predicted_over_actual": lambda a, b: (
            float(b.sum() / a.sum()) if a.sum() > 0 else float("nan")
        ),
    }
    out = _with_intervals(figures, y, p, who, level, seed)
    if low is not None and high is not None and not np.isnan(np.asarray(low, float)).all():
        covered = interval_coverage(y, low, high)
        out["interval_coverage"] = {"value": covered, "low": np.nan, "high": np.nan}
        width = float(np.median(np.asarray(high) - np.asarray(low)))
        out["interval_median_width"] = {"value": width, "low": np.nan, "high": np.nan}
    return out


def _with_intervals(
    figures: dict[str, Callable[[Floats, Floats], float]],
    y: Floats,
    p: Floats,
    who: Any,
    level: float,
    seed: int,
) -> dict[str, dict[str, float]]:
    if len(y) == 0:
        raise SnapshotError(
            "nothing to judge: no snapshot is left to compare with what happened. Bring more "
            "history or check who is eligible."
        )
    out = {name: {"value": figure(y, p)} for name, figure in figures.items()}
    rng = np.random.default_rng(seed)
    people, at = np.unique(who, return_inverse=True)
    order = np.argsort(at, kind="stable")
    starts = np.searchsorted(at[order], np.arange(len(people) + 1))
    sizes = np.diff(starts)
    draws: dict[str, list[float]] = {name: [] for name in figures}
    # fewer draws where rows are many: the interval is narrow there anyway
    for _ in range(DRAWS if len(y) <= 20_000 else 60):
        drawn = rng.integers(0, len(people), len(people))
        if len(people) == len(y):
            rows = order[drawn]
        else:
            offset = np.repeat(starts[drawn] - np.cumsum(sizes[drawn]) + sizes[drawn], sizes[drawn])
            rows = order[offset + np.arange(sizes[drawn].sum())]
        for name, figure in figures.items():
            draws[name].append(figure(y[rows], p[rows]))
    tail = (1.0 - level) / 2.0
    for name, values in draws.items():
        seen = np.array(values)
        if np.isnan(seen).all():
            out[name] |= {"low": float("nan"), "high": float("nan")}
        else:
            out[name] |= {
                "low": float(np.nanquantile(seen, tail)),
                "high": float(np.nanquantile(seen, 1.0 - tail)),
            }
    return out
