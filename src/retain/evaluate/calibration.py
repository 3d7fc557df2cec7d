"""Whether probabilities mean what they say: the curve, its line, and what chance makes of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retain.evaluate.figures import BINS, calibration_error
from retain.evaluate.ranking import DRAWS, Floats, Ranking, dot, ranked, with_intervals

__all__ = ["calibration_by_chance", "calibration_curve", "calibration_line", "interval_by_group"]

EDGE = 1e-6
LEAST_OF_A_CLASS = 10  # fewer leavers or stayers and a line through them says nothing
STEPS, FEW_STEPS = 25, 3


def calibration_curve(
    y: Any, p: Any, who: Any, *, bins: int = BINS, level: float = 0.9, seed: int = 0
) -> pd.DataFrame:
    """Compare predicted with observed shares in bins of about equal count, with intervals.

    Parameters
    ----------
    y, p
        Outcomes 0 / 1 and probabilities, shape (rows,).
    who
        Customer of each row: the intervals resample customers.
    bins
        How many; equal predictions lie in one bin.
    level
        Level of the intervals.
    seed
        Same seed, same intervals.

    Returns
    -------
    DataFrame
        n, predicted, observed, low, high: one row per bin, from the lowest predictions up. The
        interval is that of the observed share.

    Raises
    ------
    SnapshotError
        When there is nothing to judge.

    Examples
    --------
    >>> curve = calibration_curve([0, 0, 0, 1], [0.1, 0.1, 0.6, 0.6], range(4), bins=2)
    >>> curve[["n", "predicted", "observed"]].to_numpy().tolist()
    [[2.0, 0.1, 0.0], [2.0, 0.6, 0.5]]
    """
    ranking = Ranking.of(p)
    y, p = ranked(ranking, y), ranked(ranking, p)
    at = _groups(ranking, bins)
    used = np.unique(at)

    def observed(weight: Floats) -> dict[str, float]:
        n, left = np.bincount(at, weight, bins), np.bincount(at, weight * y, bins)
        return {str(one): float(left[one] / n[one]) if n[one] > 0 else float("nan") for one in used}

    found = with_intervals(observed, np.asarray(who)[ranking.order], level, seed)
    n = np.bincount(at, minlength=bins)[used]
    return pd.DataFrame(
        {
            "n": n,
            "predicted": np.bincount(at, p, bins)[used] / n,
            **{
                name: [found[str(one)][end] for one in used]
                for name, end in (("observed", "value"), ("low", "low"), ("high", "high"))
            },
        }
    )


def interval_by_group(y: Any, p: Any, low: Any, high: Any, *, bins: int = BINS) -> pd.DataFrame:
    """Say whether the interval that is shown held what came of customers of similar probability.

    Parameters
    ----------
    y, p
        Outcomes 0 / 1 and probabilities, shape (rows,).
    low, high
        Ends of each row's interval, in [0, 1].
    bins
        How many groups; equal predictions lie in one.

    Returns
    -------
    DataFrame
        n, predicted, low, high, observed (means of the group), holds (low <= observed <= high):
        one row per group, from the lowest predictions up. An interval of one customer is wider
        than that of the group's mean would be: that all hold is to be expected, that some do not
        is a warning.

    Examples
    --------
    >>> found = interval_by_group([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6], [0] * 4, [0.8] * 4, bins=2)
    >>> found["observed"].tolist(), found["holds"].tolist()
    ([0.0, 1.0], [True, False])
    """
    ranking = Ranking.of(p)
    at = _groups(ranking, bins)
    columns = {"predicted": p, "low": low, "high": high, "observed": y}
    table = pd.DataFrame({name: ranked(ranking, values) for name, values in columns.items()})
    found = table.groupby(at).mean().reset_index(drop=True)
    found.insert(0, "n", np.bincount(at, minlength=bins)[np.unique(at)])
    return found.assign(holds=found["observed"].between(found["low"], found["high"]))


def calibration_by_chance(p: Any, who: Any, *, sure: float = 0.95, seed: int = 0) -> float:
    """Calibration error that right probabilities would stay below so often, by luck of the draw.

    Parameters
    ----------
    p, who
        Probability and customer of each row, shape (rows,).
    sure
        How often, between 0 and 1.
    seed
        Same seed, same figure.

    Returns
    -------
    float
        In [0, 1]. A customer's rows share their luck: who leaves after one week observed has
        mostly left after the next, too, so that many weeks of few customers are few.

    Examples
    --------
    >>> calibration_by_chance([0.0, 1.0], ["a", "b"])
    0.0
    """
    p = np.asarray(p, dtype=np.float64)
    people, at = np.unique(np.asarray(who), return_inverse=True)
    rng = np.random.default_rng(seed)
    seen = [calibration_error(rng.random(len(people))[at] < p, p) for _ in range(DRAWS)]
    return float(np.quantile(seen, sure))


def calibration_line(
    y: Any, p: Any, who: Any, *, level: float = 0.9, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Fit the log-odds of leaving on those predicted: slope 1 and shift 0 are right.

    Parameters
    ----------
    y, p, who, level, seed
        As for `calibration_curve`.

    Returns
    -------
    dict
        ``slope``: below 1 the predictions are too bold, above 1 too timid. ``shift``: how much
        more (above 0) or less left than predicted on the whole, in log-odds at slope 1. Each with
        value, low, high; nan where fewer than 10 left or stayed, or all predictions are alike.

    Raises
    ------
    SnapshotError
        When there is nothing to judge.

    Notes
    -----
    Cox (1958): logit P(leaves) = a + b logit(p); the shift is a with b held at 1.

    Examples
    --------
    >>> p = np.repeat([0.2, 0.8], 50)
    >>> y = np.tile([1] * 10 + [0] * 40, 2); y[50:] = 1 - y[50:]
    >>> line = calibration_line(y, p, range(100))
    >>> round(line["slope"]["value"], 6), abs(line["shift"]["value"]) < 1e-9
    (1.0, True)
    """
    y = np.asarray(y, dtype=np.float64)
    p = np.clip(np.asarray(p, dtype=np.float64), EDGE, 1.0 - EDGE)
    score = np.log(p / (1.0 - p))
    left = y.sum()
    defined = min(left, len(y) - left) >= LEAST_OF_A_CLASS and np.ptp(score) > 1e-9
    start: dict[str, Any] = {}

    def line(weight: Floats) -> dict[str, float]:
        some = dot(weight, y)
        if not defined or not 0 < some < weight.sum():
            return {"slope": float("nan"), "shift": float("nan")}
        slope, level_ = start.get("line", (1.0, 0.0))
        shift = start.get("shift", 0.0)
        for _ in range(FEW_STEPS if start else STEPS):  # draws lie near: few steps from there
            slope, level_ = _step(weight, y, score, slope, level_)
            shift = _step_level(weight, y, score, shift)
        return {"slope": slope, "shift": shift}

    if defined:
        whole = np.ones(len(y))
        slope, level_, shift = 1.0, 0.0, 0.0
        for _ in range(STEPS):
            slope, level_ = _step(whole, y, score, slope, level_)
            shift = _step_level(whole, y, score, shift)
        start = {"line": (slope, level_), "shift": shift}
    return with_intervals(line, who, level, seed)


def _groups(ranking: Ranking, bins: int) -> NDArray[np.int64]:
    """Give each ranked row the number of its group; equal predictions lie in one."""
    rows = int(ranking.lengths.sum())
    middle = (np.cumsum(ranking.lengths) - ranking.lengths / 2.0) / max(rows, 1)
    return np.repeat(
        np.minimum(((1.0 - middle) * bins).astype(np.int64), bins - 1), ranking.lengths
    )


def _step(
    weight: Floats, y: Floats, score: Floats, slope: float, level: float
) -> tuple[float, float]:
    """One step of Newton for slope and level of a logistic line."""
    q = 1.0 / (1.0 + np.exp(-np.clip(slope * score + level, -30.0, 30.0)))
    steep, gap = weight * q * (1.0 - q) + 1e-12, weight * (y - q)
    a, b, c = steep.sum(), dot(steep, score), dot(steep, score * score)
    g0, g1 = gap.sum(), dot(gap, score)
    det = max(a * c - b * b, 1e-12)
    return (
        slope + float(np.clip((a * g1 - b * g0) / det, -2.0, 2.0)),
        level + float(np.clip((c * g0 - b * g1) / det, -2.0, 2.0)),
    )


def _step_level(weight: Floats, y: Floats, score: Floats, level: float) -> float:
    q = 1.0 / (1.0 + np.exp(-np.clip(score + level, -30.0, 30.0)))
    gap, steep = dot(weight, y - q), dot(weight, q * (1.0 - q))
    return level + float(np.clip(gap / max(steep, 1e-12), -2.0, 2.0))
