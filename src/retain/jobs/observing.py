"""What a training learns from: the snapshots, their outcomes, and whether there are enough.

`retain check` asks the same, so that what it says of a training is what the training will say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import SnapshotError, many
from retain.jobs.contacted import Contacted, contacted
from retain.jobs.opening import Company
from retain.snapshots import (
    ELIGIBLE,
    Split,
    churn_labels,
    clv_basis,
    eligibility,
    forward_split,
    learnable_horizon,
    snapshot_weeks,
)
from retain.weeks import FoldedWeeks, History

__all__ = ["Snapshots", "enough", "observe", "without_trend"]

WARMUP_WEEKS = 8  # weeks of history before the first snapshot, so that windows hold something
SEASON_WEEKS = 104  # less than two years cannot tell a season from a trend
MOST_ROWS = 300_000  # snapshots learnt from; more are thinned by whole customers
TEST_SNAPSHOTS = 3
LEAST_CUSTOMERS, LEAST_LEAVERS = 100, 30  # who were eligible, and who left


@dataclass(frozen=True)
class Snapshots:
    """The snapshots of a training, before anything is built of them.

    Parameters
    ----------
    as_ofs
        Weeks on which churn is observed.
    split
        Which of them are learnt from and judged on.
    clv_weeks, learnt
        Weeks on which value is observed, and how many weeks of it can be learnt.
    weeks
        Both kinds of weeks, ascending.
    kept
        Which pairs of week and customer are rows, shape (weeks, customers).
    when, who, y, eligible
        Week, customer, outcome of leaving (nan where there is none) and whether the probability
        has a meaning, shape (rows,).
    churn_rows, clv_rows
        Rows that leaving and value are learnt from, shape (rows,).
    acted
        What acting did to them.
    excluded
        Rows without an outcome.
    involuntary_share
        Share of those who left without wanting to.
    counted
        Pairs on `as_ofs` by reason, before any is thinned.
    """

    as_ofs: Any
    split: Split
    clv_weeks: Any
    learnt: int
    weeks: Any
    kept: Any
    when: Any
    who: Any
    y: Any
    eligible: Any
    churn_rows: Any
    clv_rows: Any
    acted: Contacted
    excluded: int
    involuntary_share: float
    counted: pd.Series[Any]


def observe(company: Company, folded: FoldedWeeks, week: int, seed: int = 0) -> Snapshots:
    """Lay out the snapshots and their outcomes, as known by the end of `week`.

    Raises
    ------
    SnapshotError
        When there is too little history, or nobody to observe.
    """
    as_ofs, tests = _grid(company, folded, week)
    split = forward_split(as_ofs, company.churn.ripe_weeks, tests)
    clv_weeks, learnt = _value_grid(company, folded, WARMUP_WEEKS, int(as_ofs.max()))
    weeks = np.union1d(as_ofs, clv_weeks)
    why = eligibility(History(folded, weeks), company.churn)
    there = why != "not a customer yet"
    in_churn = (why == ELIGIBLE) & np.isin(weeks, as_ofs)[:, None]
    in_clv = there & np.isin(weeks, clv_weeks)[:, None]
    keep = _thinned(in_churn | in_clv, seed)
    in_churn, in_clv = in_churn & keep, in_clv & keep
    counted = pd.Series(why[np.isin(weeks, as_ofs)].ravel()).value_counts()
    if not in_churn.any():
        raise SnapshotError(
            "no customer is eligible on any snapshot: "
            + ", ".join(f"{n:,} x {reason}" for reason, n in counted.items())
            + ". Check churn.kind and the tables it needs."
        )
    kept = in_churn | in_clv
    at, who = np.nonzero(kept)
    labels = np.full(why.shape, np.nan)
    on = np.searchsorted(weeks, as_ofs)
    labels[on], involuntary = churn_labels(folded, as_ofs, company.churn)
    y, churn_rows = labels[kept], in_churn[kept]
    excluded = int((churn_rows & np.isnan(y)).sum())
    churn_rows &= ~np.isnan(y)
    acted = contacted(company, folded, weeks[at], who, churn_rows)
    gone = involuntary[labels[on] == 1]
    return Snapshots(
        as_ofs,
        split,
        clv_weeks,
        learnt,
        weeks,
        kept,
        weeks[at],
        who,
        y,
        (why == ELIGIBLE)[kept],
        churn_rows & ~acted.set_aside,
        in_clv[kept],
        acted,
        excluded,
        float(np.mean(gone)) if len(gone) else 0.0,
        counted,
    )


def _value_grid(
    company: Company, folded: FoldedWeeks, warmup_weeks: int, newest: int
) -> tuple[Any, int]:
    """as_ofs whose value is known for the weeks that can be learnt; nothing without a basis.

    They lie on the grid of churn, of which `newest` is one as_of: what is known of a customer's
    leaving by models that had not learnt from him is then known of the same rows.
    """
    if clv_basis(folded, company.clv) is None:
        return np.zeros(0, dtype=np.int64), 0
    learnt = learnable_horizon(
        folded.last_week - folded.recorded_from + 1, company.clv.horizon_weeks
    )
    every = company.config.snapshots.every_weeks
    ripe = folded.last_week - learnt
    weeks = snapshot_weeks(
        ripe - (ripe - newest) % every,
        folded.recorded_from + warmup_weeks,
        every,
        company.config.snapshots.most,
    )
    return weeks, learnt


def enough(who: Any, y: Any, horizon: int) -> None:
    """Refuse to learn from a handful: what is seen once or twice is luck.

    Parameters
    ----------
    who, y
        Customer and outcome of each row that churn is learnt from.
    horizon
        Weeks within which leaving counts.

    Raises
    ------
    SnapshotError
        With what was found and what is needed.
    """
    customers, left = len(np.unique(who)), len(np.unique(who[y == 1]))
    if customers < LEAST_CUSTOMERS or left < LEAST_LEAVERS:
        short = "leavers" if left < LEAST_LEAVERS else "customers"
        raise SnapshotError(
            f"churn: too few {short} to learn from: {left} of {customers} eligible customers left "
            f"within {horizon} weeks of an observed week; a model needs at least {LEAST_LEAVERS} "
            f"who left among at least {LEAST_CUSTOMERS}. Bring more history or a longer "
            "churn.horizon_weeks, and check that churn.kind fits the business."
        )


def without_trend(built: Any, as_ofs: Any) -> tuple[pd.DataFrame, Any]:
    """Leave out the season when there are not two years to tell it from a trend."""
    if as_ofs.max() - as_ofs.min() >= SEASON_WEEKS:
        return built.X, built.columns
    columns = tuple(c for c in built.columns if c.feature.signal != "season")
    return built.X[[c.name for c in columns]], columns


def _grid(company: Company, folded: FoldedWeeks, week: int) -> tuple[Any, int]:
    """Lay out the ripe as_ofs, the newest first in mind, and how many of them to judge on."""
    every, ripe = company.config.snapshots.every_weeks, company.churn.ripe_weeks
    oldest = folded.recorded_from + WARMUP_WEEKS
    as_ofs = snapshot_weeks(week - ripe, oldest, every, company.config.snapshots.most)
    need = WARMUP_WEEKS + 2 * ripe + 1
    have = week - folded.recorded_from + 1
    if len(as_ofs) == 0 or have < need:
        raise SnapshotError(
            f"too little history: {many(have, 'week', 'weeks')} up to "
            f"{folded.calendar.last_day(week)}; at least {need} are needed ({WARMUP_WEEKS} to look "
            f"back on, and twice the {ripe} weeks of gap, horizon and grace to learn and to "
            "judge). Bring more history or shorten churn.horizon_weeks."
        )
    # judge on several snapshots where enough remain to learn from
    tests = 1
    for count in range(2, TEST_SNAPSHOTS + 1):
        first = as_ofs[-count] if len(as_ofs) >= count else None
        if first is not None and (as_ofs <= first - ripe).sum() >= 6:
            tests = count
    return as_ofs, tests


def _thinned(mask: Any, seed: int) -> Any:
    """Keep whole customers until about `MOST_ROWS` snapshots are left."""
    total = int(mask.sum())
    if total <= MOST_ROWS:
        return np.ones_like(mask)
    customers = mask.shape[1]
    kept = np.random.default_rng(seed).permutation(customers)[: customers * MOST_ROWS // total]
    return np.broadcast_to(np.isin(np.arange(customers), kept), mask.shape).copy()
