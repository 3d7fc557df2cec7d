"""What effort costs this company: the weeks compared, laid out from its folded weeks and tables.

A customer is compared from one stretch of weeks to the next: what was known on the eve of the
stretch, the effort met in it, and what became of the customer after it. So nothing that effort may
have changed is adjusted for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain.config import Config
from retain.effort_value import (
    HIGH_EFFORT,
    LITERATURE,
    Compared,
    EffortLine,
    EffortValue,
    Outcome,
    case_lines,
    cases_by_customer,
    effort_lines,
)
from retain.errors import RetainError
from retain.features import load_own_features
from retain.jobs.opening import Company, as_day, open_company, settle_as_of
from retain.jobs.panel import matrix, with_lists
from retain.jobs.progress import Listener, Steps, silent
from retain.model import Encoder
from retain.snapshots import (
    ELIGIBLE,
    ClvRule,
    churn_labels,
    clv_basis,
    clv_labels,
    eligibility,
    later_totals,
    snapshot_weeks,
)
from retain.weeks import FoldedWeeks, History
from retain.weeks.fold import most_used_features

__all__ = ["effort_costs", "effort_costs_of"]

EFFORT_WEEKS = 13
WARMUP_WEEKS = 8
YEAR_WEEKS = 52
VALUE_WEEKS = (52, 39, 26, 13)
MOST_ROWS = 20_000  # compared; more are thinned by whole customers
SIGNS = {
    "repeats": "a repeated contact",
    "switches": "a change of channel",
    "transfers": "a transfer",
    "reopens": "a reopening",
}
STEPS = {"reading tables": 10, "folding weeks": 10, "building features": 20, "comparing": 60}


def effort_costs(
    config: Config | str | Path,
    *,
    as_of: date | str | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    rate_per_minute: float | None = None,
    level: float = 0.95,
    seed: int = 0,
    progress: Listener = silent,
) -> EffortValue:
    """Say what effort costs a company, as far as its own data can tell.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    as_of
        Last day of a week; nothing later is read. Default: the last complete week.
    tables
        Frames that stand in for configured sources.
    rate_per_minute
        Loaded rate of handling, currency per minute; default: `metrics.costs.rate_per_minute`.
        Without either, handling stays in minutes and out of what a point is worth.
    level
        Level of the intervals, in (0, 1).
    seed
        Same seed and data, same figures.
    progress
        Told what is being done.

    Returns
    -------
    EffortValue
        Observed and adjusted lines with the published ones; what could not be computed has its
        reason in `not_computed`.
    """
    steps = Steps(progress, STEPS)
    steps("reading tables")
    as_of = None if as_of is None else as_day(as_of)
    company = open_company(config, tables)
    with company.store.locked("metrics"):
        week = settle_as_of(company, as_of)
        return effort_costs_of(
            company, week, rate_per_minute=rate_per_minute, level=level, seed=seed, steps=steps
        )


def effort_costs_of(
    company: Company,
    week: int,
    *,
    rate_per_minute: float | None = None,
    level: float = 0.95,
    seed: int = 0,
    steps: Steps | None = None,
) -> EffortValue:
    """Say what effort costs an opened company on the evening of `week`; see `effort_costs`."""
    steps = steps or Steps(silent, STEPS)
    columns = company.tables.columns.get("interactions", ())
    if not columns:
        return EffortValue(LITERATURE, (), ("own figures: there is no interactions table",))
    missing: list[str] = []
    rate = (
        company.config.metrics.costs.rate_per_minute if rate_per_minute is None else rate_per_minute
    )
    rate_per_minute = None if rate is None else float(rate)
    steps("folding weeks")
    top = most_used_features(company.tables, company.calendar.last_day(week))
    folded = company.fold(week, top, steps.detail)
    folded = with_lists(folded, {"top_features": list(top)})
    lines: list[EffortLine] = []
    currency = company.config.currency
    if "handle_minutes" in columns:
        last = company.calendar.last_day(week)
        first = last - timedelta(days=7 * YEAR_WEEKS - 1)
        cases = cases_by_customer(company.tables.con, columns, first, last)
        lines += case_lines(cases, currency, rate_per_minute, level=level, seed=seed)
        if rate_per_minute is None:
            missing.append("handling in money: metrics.costs.rate_per_minute is not set")
    else:
        missing.append("cost of cases: the interactions table has no handle_minutes")

    steps("building features")
    ends, rows = _who(company, folded, week)
    rows = _thinned(rows, seed, missing)
    if not rows.any():
        missing.append("comparisons: no customer with a resolved case has both past and future")
        return EffortValue((*lines, *LITERATURE), _definitions(folded, company), tuple(missing))
    compared = _compared(company, folded, ends, rows, steps)
    outcomes = _outcomes(company, folded, week, ends, rows, missing)
    worth = _worth(company, folded, week, ends, rows, rate_per_minute, missing)

    steps("comparing")
    asked = (*outcomes, *worth)
    try:
        found = effort_lines(compared, asked, level=level, seed=seed, progress=steps.detail)
    except RetainError as problem:
        missing.append(f"adjusted figures: {problem}")
        found = effort_lines(compared, asked, level=level, seed=seed, adjust=False)
    lines += found
    lines += _for_a_year(found, folded, week, currency)
    return EffortValue((*lines, *LITERATURE), _definitions(folded, company), tuple(missing))


def _who(company: Company, folded: FoldedWeeks, week: int) -> tuple[Any, Any]:
    """Choose the ends of the stretches of effort, and the customers compared over each.

    They were there before the stretch, can still leave at its end, and had a case resolved in it.
    """
    ends = snapshot_weeks(
        week - company.churn.ripe_weeks,
        folded.recorded_from + WARMUP_WEEKS + EFFORT_WEEKS,
        EFFORT_WEEKS,
    )
    if len(ends) == 0 or "interactions" not in folded.panels:
        return ends, np.zeros((0, len(folded.customers)), dtype=bool)
    history = History(folded, ends)
    rows = eligibility(history, company.churn) == ELIGIBLE
    rows &= ~np.isnan(History(folded, ends - EFFORT_WEEKS).tenure_weeks)
    rows &= history.interactions.total("resolved", EFFORT_WEEKS) > 0  # not where it is unknown
    return ends, rows


def _thinned(rows: Any, seed: int, missing: list[str]) -> Any:
    """Keep whole customers until about `MOST_ROWS` rows are left, and say so."""
    total, customers = int(rows.sum()), rows.shape[1]
    if total <= MOST_ROWS:
        return rows
    kept = np.random.default_rng(seed).permutation(customers)[: customers * MOST_ROWS // total]
    rows = rows & np.isin(np.arange(customers), kept)
    missing.append(
        f"comparisons over all {total:,} rows: {int(rows.sum()):,} rows of customers drawn at "
        "random were compared"
    )
    return rows


def _compared(
    company: Company, folded: FoldedWeeks, ends: Any, rows: Any, steps: Steps
) -> Compared:
    own, _ = load_own_features(company.config.features)
    built = matrix(folded, ends - EFFORT_WEEKS, rows, own, progress=steps.part)
    encoder = Encoder().fit(built.X)
    of = {column.name: column.feature.signal for column in built.columns}
    cases = History(folded, ends).interactions
    return Compared(
        np.column_stack(
            [
                encoder.transform(built.X),
                cases.total("cases", EFFORT_WEEKS)[rows],
                built.as_of.astype(float),
            ]
        ),
        (*(of[name] for name in encoder.columns_), "number of cases", "calendar"),
        built.customer,
        (cases.total("hard", EFFORT_WEEKS)[rows] > 0).astype(float),
        _points(folded, ends)[rows],
    )


def _outcomes(
    company: Company, folded: FoldedWeeks, week: int, ends: Any, rows: Any, missing: list[str]
) -> list[Outcome]:
    """Lay out what became of customers after high and after low effort."""
    horizon = company.churn.horizon_weeks
    after = f"{horizon} weeks after high effort, against low effort"
    churned, _ = churn_labels(folded, ends, company.churn)
    found = [Outcome("churn", f"Leaving within {after}", "percentage points", 100 * churned[rows])]
    basis, (weeks, ripe) = clv_basis(folded, company.clv), _value_weeks(ends, week)
    if basis is None or not ripe.any():
        missing.append("spend: there is no money on record, or too little history after effort")
    else:
        spend = np.full(rows.shape, np.nan)
        if basis == "payments":
            took, gave = (
                later_totals(folded, ends[ripe], "payments", name, weeks)
                for name in ("spend", "returned")
            )
            spend[ripe] = took - gave
        else:
            spend[ripe] = clv_labels(folded, ends[ripe], ClvRule(weeks, basis="mrr"), weeks)
        label = f"Spend, net of refunds, in the {weeks} weeks after high effort, against low effort"
        unit = f"{company.config.currency} per customer"
        found.append(Outcome("spend", label, unit, spend[rows]))
    if "referrals" in folded.panels:
        made = later_totals(folded, ends, "referrals", "referrals", horizon)
        found.append(
            Outcome("referrals", f"Referrals within {after}", "per 100 customers", 100 * made[rows])
        )
    surveys = folded.panels.get("surveys")
    if surveys is not None and "nps_answers" in surveys.measures:
        answers = later_totals(folded, ends, "surveys", "nps_answers", horizon)[rows]
        total = later_totals(folded, ends, "surveys", "nps_sum", horizon)[rows]
        mean = np.where(answers > 0, total / np.maximum(answers, 1), np.nan)
        label = f"Recommendation (NPS answer), of those who answered within {after}"
        found.append(Outcome("recommendation", label, "points of its scale", mean))
    if not {"referrals", "recommendation"} & {one.name for one in found}:
        missing.append("advocacy: there are neither referrals nor NPS answers")
    return found


def _worth(
    company: Company,
    folded: FoldedWeeks,
    week: int,
    ends: Any,
    rows: Any,
    rate_per_minute: float | None,
    missing: list[str],
) -> list[Outcome]:
    """Lay out what a point of effort goes with in money: margin afterwards, handling meanwhile."""
    weeks, ripe = _value_weeks(ends, week)
    unit = f"{company.config.currency} per point"
    cases, handling = History(folded, ends).interactions, None
    if rate_per_minute is not None and cases.has("handle_minutes"):
        handling = rate_per_minute * cases.total("handle_minutes", EFFORT_WEEKS)
    parts = []
    if handling is not None:
        label = "One point less effort: handling saved"
        parts.append(Outcome("point_handling", label, unit, -handling[rows], "points", -1))
    if clv_basis(folded, company.clv) is None or not ripe.any():
        missing.append("worth of a point: no margin is known after effort")
        return parts
    margin = np.full(rows.shape, np.nan)
    margin[ripe] = clv_labels(folded, ends[ripe], company.clv, weeks)
    label = f"One point less effort: margin kept over the {weeks} weeks after"
    if handling is not None:
        label += " and handling saved"
        margin = margin - handling
    parts.append(Outcome("point_worth", label, unit, margin[rows], "points", -1))
    return parts


def _for_a_year(
    found: list[EffortLine], folded: FoldedWeeks, week: int, currency: str
) -> list[EffortLine]:
    """Multiply the worth of a point by the customers and quarters of the last year that had one."""
    quarters = week - EFFORT_WEEKS * np.arange(YEAR_WEEKS // EFFORT_WEEKS)
    points = _points(folded, quarters)
    times = int(np.nansum(points > 0))
    scaled = (
        f"The worth of a point, {times:,} times: customers and quarters of the last 52 weeks with "
        f"a point or more (of {np.nansum(points):,.0f} points in all). Effects are taken to add up."
    )
    return [
        replace(
            line,
            name="year_worth",
            label="One point less effort for every customer who met any, each quarter of a year",
            value=line.value * times,
            low=(line.low or 0.0) * times,
            high=(line.high or 0.0) * times,
            unit=f"{currency} per year",
            assumptions=(*line.assumptions, scaled),
        )
        for line in found
        if (line.name, line.kind) == ("point_worth", "adjusted") and line.value is not None
    ]


def _points(folded: FoldedWeeks, ends: Any) -> Any:
    """Add up the points of effort met in the stretches that end so, (ends, customers)."""
    cases = History(folded, ends).interactions
    return np.sum([cases.total(name, EFFORT_WEEKS) for name in _signs(folded)], axis=0)


def _value_weeks(ends: Any, week: int) -> tuple[int, Any]:
    """Choose the longest stretch of value that two stretches of effort can look ahead on."""
    for weeks in VALUE_WEEKS:
        ripe = ends <= week - weeks
        if ripe.sum() >= 2:
            break
    return weeks, ripe


def _signs(folded: FoldedWeeks) -> list[str]:
    return [name for name in SIGNS if name in folded.panels["interactions"].measures]


def _definitions(folded: FoldedWeeks, company: Company) -> tuple[str, ...]:
    signs = ", ".join(SIGNS[name] for name in _signs(folded))
    return (
        f"A high-effort case: {HIGH_EFFORT}.",
        f"A customer with high effort: a high-effort case resolved in {EFFORT_WEEKS} weeks; with "
        "low effort: only others. Customers without any case are not compared.",
        f"A point of effort: {signs}.",
        f"Compared: what was known before {EFFORT_WEEKS} weeks, the effort met in them, and what "
        "came after them; customers who left meanwhile are not in it.",
        "An association is a difference as found; an estimate is one among customers who were "
        "alike in what is known. Neither shows a cause: only a trial would.",
        "Each interval stands by itself: at 95 %, one in twenty estimates of nothing would leave "
        "zero out.",
    )
