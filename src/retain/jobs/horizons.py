"""Leaving within several horizons: the curve of a training, and how well it held out of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from retain import evaluate
from retain.errors import SnapshotError
from retain.jobs.opening import Company
from retain.model import FittedChurn, FittedCurve, fit_churn, fit_curve
from retain.snapshots import churned_by
from retain.weeks import FoldedWeeks

__all__ = [
    "Leaving",
    "Observed",
    "judged_curve",
    "known_then",
    "learnt_curve",
    "longest_ripe",
]

LEAST_AS_OFS = 4  # to learn from, before a curve is judged
REFITS_THEN = 3


@dataclass(frozen=True)
class Observed:
    """The rows of a training: who was seen when, and what came of it.

    Parameters
    ----------
    X
        Encoded features, shape (rows, columns).
    y
        Left within the headline horizon, shape (rows,).
    when, who
        Week and customer of each row.
    by
        Had left by each horizon, as known now: shape (rows, horizons), nan where not known.
    horizons
        Weeks, the headline's among them.
    categorical
        Positions of categorical columns.
    weight
        How many rows each stands for where the level is learnt, shape (rows,).
    countdown
        Positions of columns that hold weeks until a date that is known ahead.
    """

    X: Any
    y: Any
    when: Any
    who: Any
    by: Any
    horizons: tuple[int, ...]
    categorical: list[int]
    weight: Any
    countdown: list[int]

    @classmethod
    def of(
        cls, company: Company, folded: FoldedWeeks, X: Any, y: Any, when: Any, who: Any, **more: Any
    ) -> Observed:
        """Look up by which horizons each row had left."""
        horizons = company.config.churn.horizons
        as_ofs = np.unique(when)
        table = churned_by(folded, as_ofs, company.churn, horizons)
        return cls(
            X, y, when, who, table[:, np.searchsorted(as_ofs, when), who].T, horizons, **more
        )

    def weeks_ago(self, when: Any, rule: Any) -> Any:
        """Count the weeks from each week to the evening on which the youngest rows were over."""
        return self.when.max() + rule.ripe_weeks - when

    def known_on(self, week: int, rule: Any) -> Observed:
        """Return the rows that could be learnt from on the evening of `week`, and no later fact."""
        ripe = self.when + rule.ripe_weeks <= week
        by = self.by[ripe].copy()
        for at, weeks in enumerate(self.horizons):
            late = self.when[ripe] + replace(rule, horizon_weeks=weeks).ripe_weeks > week
            by[late, at] = np.nan
        return replace(
            self,
            X=self.X[ripe],
            y=self.y[ripe],
            when=self.when[ripe],
            who=self.who[ripe],
            by=by,
            weight=self.weight[ripe],
        )


def learnt_curve(rows: Observed, churn: FittedChurn, rule: Any, seed: int) -> FittedCurve | None:
    """Learn the curve on probabilities from models that had not learnt from the row's customer."""
    if churn.out_of_bag is None or len(rows.horizons) < 2:
        return None
    fair = ~np.isnan(churn.out_of_bag)
    if not fair.any():
        return None
    age = (rows.when.max() - rows.when[fair]) / max(rule.ripe_weeks, 1)
    return fit_curve(
        rows.X[fair],
        rows.by[fair],
        churn.out_of_bag[fair],
        rows.who[fair],
        0.5**age,
        weeks_ago=rows.weeks_ago(rows.when[fair], rule),
        tide=churn.tide,
        horizons=rows.horizons,
        headline=rule.horizon_weeks,
        categorical=rows.categorical,
        countdown=rows.countdown,
        seed=seed,
    )


@dataclass(frozen=True)
class Leaving:
    """What is known of when customers leave: the probability on the page, and the curve through it.

    Parameters
    ----------
    churn
        The churn model.
    curve
        None where only the headline horizon could be learnt.
    rows
        What they were learnt from, None once that is of no matter.
    """

    churn: FittedChurn
    curve: FittedCurve | None
    rows: Observed | None = None


def longest_ripe(rows: Observed, rule: Any) -> Iterator[int]:
    """Give the newest week whose longest horizon past the headline's is over; none if none is."""
    for weeks in reversed(rows.horizons):
        over = rows.when[~np.isnan(rows.by[:, rows.horizons.index(weeks)])]
        if weeks > rule.horizon_weeks and len(over):
            yield int(over.max())
            return


def known_then(
    rows: Observed,
    week: int,
    rule: Any,
    chosen: dict[str, Any],
    *,
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Leaving | None:
    """Learn what could have been known on the evening of `week`, to be judged by what came after.

    Returns
    -------
    Leaving
        None where there was too little by then.
    """
    past = rows.known_on(week, rule)
    if len(np.unique(past.when)) < LEAST_AS_OFS:
        return None
    try:
        churn = fit_churn(
            past.X,
            past.y,
            past.when,
            past.who,
            purge=rule.ripe_weeks,
            categorical=rows.categorical,
            seed=seed,
            refits=REFITS_THEN,
            chosen=chosen,
            weight=past.weight,
            progress=lambda said: progress(f"as it was then: {said}"),
        )
    except SnapshotError:  # too few leavers by then
        return None
    return Leaving(churn, learnt_curve(past, churn, rule, seed), past)


def judged_curve(
    rows: Observed, rule: Any, then: Leaving | None, *, capacity: int, seed: int
) -> list[dict[str, Any]]:
    """Judge every horizon on the newest week whose longest horizon is over.

    Returns
    -------
    list of dict
        Per horizon: horizon_weeks, as_of (a week), n, is_extrapolated and the figures of
        `churn_figures`; empty where the history is too short to look so far ahead.
    """
    if then is None or then.curve is None:
        return []
    return [
        one
        for week in longest_ripe(rows, rule)
        for one in _figures(rows, week, then.churn, then.curve, capacity, seed)
    ]


def judged_interval(
    rows: Observed, rule: Any, then: Leaving | None, level: float
) -> dict[str, Any] | None:
    """Judge by groups the interval of the headline probability, in the first week not learnt from.

    Returns
    -------
    dict
        as_of (a week), level and groups, the rows of `interval_by_group`; None where the history
        is too short, or nothing was learnt twice.
    """
    if then is None or then.rows is None or len(then.churn.refits) < 2:
        return None
    later = rows.when[rows.when >= then.rows.when.max() + rule.ripe_weeks]
    if not len(later):
        return None
    test = rows.when == later.min()
    shown = then.churn.with_interval(rows.X[test], level)
    groups = evaluate.interval_by_group(rows.y[test], *shown)
    return {"as_of": int(later.min()), "level": level, "groups": groups.to_dict("records")}


def _figures(
    rows: Observed, week: int, churn: FittedChurn, curve: FittedCurve, capacity: int, seed: int
) -> list[dict[str, Any]]:
    test = rows.when == week
    shown = curve.gone_by(rows.X[test], churn.predict(rows.X[test]))
    out = []
    for at, weeks in enumerate(rows.horizons):
        seen = rows.by[test, at]
        known = ~np.isnan(seen) & ~np.isnan(shown[:, at])
        if not known.any():
            continue
        found = evaluate.churn_figures(
            seen[known], shown[known, at], rows.who[test][known], capacity=capacity, seed=seed
        )
        extrapolated = weeks > curve.learnt_weeks
        out.append(
            {
                "horizon_weeks": weeks,
                "as_of": week,
                "n": int(known.sum()),
                "is_extrapolated": extrapolated,
                "figures": found,
            }
        )
    return out
