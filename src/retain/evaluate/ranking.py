"""Rows in the order of their predictions, and intervals from customers drawn again.

All intervals resample customers, never rows: one customer's snapshots rise and fall together. Rows
with equal predictions share their outcomes evenly, so that no figure depends on the order of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import SnapshotError

__all__ = [
    "DRAWS",
    "Floats",
    "Ranking",
    "auc",
    "dot",
    "first_of_each",
    "ranked",
    "sums_by_rank",
    "with_intervals",
]

Floats = NDArray[np.float64]
DRAWS = 200
DISTANCES = ("calibration_error",)


@dataclass(frozen=True)
class Ranking:
    """Rows from the highest prediction down, equal ones in a group: sorted once, weighed often."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    level: Floats  # the prediction of each group

    @classmethod
    def of(cls, p: Any) -> Ranking:
        """Sort predictions."""
        p = np.asarray(p, dtype=np.float64)
        order = np.argsort(-p, kind="stable")
        down = p[order]
        starts = np.flatnonzero(np.r_[True, down[1:] != down[:-1]][: len(p)])
        return cls(order, starts, down[starts])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many rows each group has."""
        return np.diff(self.starts, append=len(self.order))

    def sums(self, ranked: Floats) -> Floats:
        """Add up values, given in ranked order, by group."""
        return np.add.reduceat(ranked, self.starts) if len(ranked) else ranked


def ranked(ranking: Ranking, values: Any) -> Floats:
    """Put values in ranked order."""
    return np.asarray(values, dtype=np.float64)[ranking.order]


def first_of_each(p: Any, when: Any, capacity: int) -> Floats:
    """Share of each row that is among the first `capacity` of its week; equal ones share evenly.

    Parameters
    ----------
    p, when
        What orders the rows, highest first, and the week of each, shape (rows,).
    capacity
        Rows taken of every week.

    Examples
    --------
    >>> first_of_each([0.9, 0.5, 0.5, 0.1], [1, 1, 1, 2], 2).tolist()
    [1.0, 0.5, 0.5, 1.0]
    """
    p, when = np.asarray(p, dtype=np.float64), np.asarray(when)
    chosen = np.zeros(len(p))
    for week in np.unique(when):
        rows = np.flatnonzero(when == week)
        _, group, count = np.unique(-p[rows], return_inverse=True, return_counts=True)
        before = np.cumsum(count) - count
        chosen[rows] = np.clip((capacity - before) / count, 0.0, 1.0)[group]
    return chosen


def sums_by_rank(y: Any, p: Any) -> tuple[Floats, Floats]:
    """Rows and sum of `y` of each group of equal predictions, from the highest down."""
    ranking = Ranking.of(p)
    return ranking.sums(np.ones(len(ranking.order))), ranking.sums(ranked(ranking, y))


def dot(a: Floats, b: Floats) -> float:
    """Sum of products, the same on every machine."""
    # not BLAS: its threads add up in an order of their own, and spin
    return float(np.sum(a * b))


def auc(count: Floats, left: Floats) -> float:
    """Chance that a leaver ranks above a stayer, from the rows and leavers of each group."""
    stayed = count - left
    pairs = left.sum() * stayed.sum()
    if not pairs > 0:
        return float("nan")
    below = stayed.sum() - np.cumsum(stayed)
    return float(dot(left, below + stayed / 2.0) / pairs)


def with_intervals(
    figures: Callable[[Floats], dict[str, float]], who: Any, level: float, seed: int
) -> dict[str, dict[str, float]]:
    """Compute figures, and again for customers drawn with replacement.

    Parameters
    ----------
    figures
        From the weight of each row to figures by name.
    who
        Customer of each row.
    level
        Share of the draws that lies inside an interval.
    seed
        Of the draws.

    Notes
    -----
    Drawing again adds as much noise as the sample has, and a mean distance grows with noise: the
    draws of a calibration error lie above it, often all of them. Their middle is moved to it.
    """
    if len(who) == 0:
        raise SnapshotError(
            "nothing to judge: no snapshot is left to compare with what happened. Bring more "
            "history or check who is eligible."
        )
    people, at = np.unique(who, return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(0, len(people), len(people)), minlength=len(people))
        draws.append(figures(times[at].astype(np.float64)))
    tails = (1.0 - level) / 2.0, (1.0 + level) / 2.0
    out: dict[str, dict[str, float]] = {}
    for name, value in figures(np.ones(len(who))).items():
        seen = np.array([draw[name] for draw in draws])
        seen = seen[~np.isnan(seen)]
        low, high = np.quantile(seen, tails) if len(seen) else (np.nan, np.nan)
        if name in DISTANCES and len(seen):
            beyond = np.median(seen) - value
            least = 0.0 if seen.min() >= 0 else -np.inf  # a difference of two may be negative
            low, high = max(low - beyond, least), high - beyond
        out[name] = {"value": float(value), "low": float(low), "high": float(high)}
    return out
