"""How long customers wait: first response and resolution, in calendar or opening hours.

Cases that still wait are never dropped in silence: they are counted, and the Kaplan-Meier median
keeps them.
"""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from typing import Any, Literal

from retain.metrics.calculator import metric
from retain.metrics.contacts import SOLVED, keep_contacts
from retain.metrics.feedback import data_end
from retain.metrics.hours import Schedule
from retain.metrics.period import Period
from retain.metrics.result import Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted
from retain.metrics.shares import low_n
from retain.metrics.survival import KaplanMeier, kaplan_meier

__all__ = ["TIMES", "first_response_time", "resolution_time"]

Statistic = Literal["median", "p90", "km_median"]
STATISTICS = ("median", "p90", "km_median")
HOUR_US = 3_600_000_000


@metric(
    label="First response time",
    unit="hours",
    direction="lower is better",
    needs=("interactions",),
    variants=STATISTICS,
    theme="service",
)
def first_response_time(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Statistic = "median",
    schedule: Schedule | None = None,
    data_until: date | None = None,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Hours from the opening of a case to the first human answer.

    Parameters
    ----------
    interactions
        Cases, with `first_response_at`: of the first public answer by a person, no robot's.
    period
        Of opening.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        ``"median"`` or ``"p90"`` (90th percentile, interpolated) of the answered cases, or
        ``"km_median"`` of all, those that still wait among them.
    schedule
        Count opening hours only; None: calendar hours.
    data_until
        Last day that the data describe: what had no answer by its end still waits. Default: the
        newest day in interactions.
    level
        Of the interval of ``"km_median"``, in (0, 1).
    timezone
        Of the instants; opening hours in another zone are brought over.

    Returns
    -------
    Metric
        In hours, 0 or more.

    Raises
    ------
    TableError
        When there is no column `first_response_at`.

    References
    ----------
    reference/metrics.md 2.5.

    Examples
    --------
    >>> import pandas as pd
    >>> from retain.metrics import WEEKDAYS_9_TO_17
    >>> cases = pd.DataFrame({"customer_id": [1], "interaction_id": [1],
    ...                       "opened_at": [pd.Timestamp("2026-10-02 17:00")],  # a Friday
    ...                       "first_response_at": [pd.Timestamp("2026-10-05 09:30")]})
    >>> october = Period.month("2026-10")
    >>> first_response_time(cases, october).display()
    '64.5'
    >>> first_response_time(cases, october, schedule=WEEKDAYS_9_TO_17).display()
    '0.5'
    """
    rows = _rows(interactions, customers, period, schedule, data_until, timezone)
    rows.require("interactions", "first_response_at")
    return _waits(
        rows,
        "first_response_time",
        variant,
        "first_response_at",
        "answered",
        period,
        by,
        schedule,
        data_until,
        level,
        timezone,
        {},
    )


@metric(
    label="Resolution time",
    unit="hours",
    direction="lower is better",
    needs=("interactions",),
    variants=STATISTICS,
    theme="service",
)
def resolution_time(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Statistic = "median",
    until: Literal["first", "full"] = "first",
    schedule: Schedule | None = None,
    data_until: date | None = None,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Hours from the opening of a case to its resolution.

    Parameters
    ----------
    interactions
        Cases, with `resolved_at`, `closed_at` or both.
    period
        Of opening.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        ``"median"`` or ``"p90"`` (90th percentile, interpolated) of the resolved cases, or
        ``"km_median"`` of all, the open ones among them.
    until
        ``"first"`` resolution: the earlier of `resolved_at` and `closed_at`; or the ``"full"`` one,
        after any reopening: `closed_at` where the table has it, else `resolved_at`.
    schedule
        Count opening hours only; None: calendar hours.
    data_until
        Last day that the data describe: what was not resolved by its end is open. Default: the
        newest day in interactions.
    level
        Of the interval of ``"km_median"``, in (0, 1).
    timezone
        Of the instants; opening hours in another zone are brought over.

    Returns
    -------
    Metric
        In hours, 0 or more.

    Raises
    ------
    TableError
        When there is neither `resolved_at` nor `closed_at`.

    References
    ----------
    reference/metrics.md 2.6.
    """
    rows = _rows(interactions, customers, period, schedule, data_until, timezone)
    closes = rows.has("interactions", "closed_at")
    if not closes:
        rows.require("interactions", "resolved_at")
    full = "CASE WHEN closed_at IS NOT NULL THEN greatest(resolved_at, closed_at) END"
    stop = SOLVED if until == "first" else full if closes else "resolved_at"
    return _waits(
        rows,
        "resolution_time",
        variant,
        stop,
        "resolved",
        period,
        by,
        schedule,
        data_until,
        level,
        timezone,
        {"until": until},
    )


def _rows(
    interactions: Source,
    customers: Source | None,
    period: Period,
    schedule: Schedule | None,
    data_until: date | None,
    timezone: str,
) -> Rows:
    """Open the tables, with the spans of opening hours beside them when hours are asked for."""
    rows = Rows(interactions=interactions, customers=customers)
    if schedule is None:
        return rows
    end = _end(rows, data_until)
    first = period.start - timedelta(2)  # a desk in another zone, or open past midnight
    spans = schedule.spans(first, max(end, period.end) + timedelta(2), timezone)
    return Rows(interactions=interactions, customers=customers, spans=spans)


def _end(rows: Rows, said: date | None) -> date:
    columns = ("opened_at", "first_response_at", "resolved_at", "closed_at")
    return data_end(rows, "interactions", columns, said)


def _waits(
    rows: Rows,
    name: str,
    variant: Statistic,
    stop: str,
    over: str,
    period: Period,
    by: By,
    schedule: Schedule | None,
    data_until: date | None,
    level: float,
    timezone: str,
    parameters: dict[str, Any],
) -> Metric:
    """Make the metric of the time from opening to `stop`, an SQL expression; null: not yet."""
    keep_contacts(rows, period, by)
    end = _end(rows, data_until)
    last = f"TIMESTAMP '{end + timedelta(1)}'"
    asked = f"""
        SELECT *, coalesce({stop} < {last}, false) AS is_over,
            CASE WHEN is_over THEN {stop} ELSE {last} END AS stops_at
        FROM contacts"""
    timed = f"SELECT *, epoch_us(stops_at) - epoch_us(opened_at) AS waited FROM ({asked})"
    if schedule is not None:
        timed = f"""
            SELECT a.*, {_open_us("stop", "a.stops_at")} - {_open_us("start", "a.opened_at")}
                AS waited
            FROM ({asked}) AS a
            ASOF LEFT JOIN spans AS start ON a.opened_at >= start.starts
            ASOF LEFT JOIN spans AS stop ON a.stops_at >= stop.starts"""
    left_out = "false" if variant == "km_median" else "NOT is_over"
    judged = f"""
        SELECT *, CASE WHEN is_over THEN '{over}' ELSE 'still waiting' END AS part,
            CASE WHEN repeated_because IS NOT NULL THEN repeated_because
                 WHEN opened_at >= {last} THEN 'opened after the data end'
                 WHEN stops_at < opened_at THEN '{over} before it was opened'
                 WHEN {left_out} THEN 'not {over} yet' END AS excluded_because
        FROM ({timed})"""
    everyone = f"""
        SELECT * REPLACE (CASE WHEN excluded_because <> 'not {over} yet' THEN excluded_because END
                          AS excluded_because) FROM ({judged})"""
    # beside the median of those that are over stands the one that keeps the others: of the whole
    keeps_all = variant == "km_median"
    curves = (
        {} if variant == "p90" else kaplan_meier(rows, everyone, by if keeps_all else None, level)
    )

    def make(tally: Tally) -> Metric:
        curve = curves.get(tuple(tally.by.items()), KaplanMeier())
        waiting = int(tally["waiting"]) if keeps_all else tally.excluded.get(f"not {over} yet", 0)
        notes = low_n(tally.used)
        low = high = None
        if keeps_all:
            value = _hours(curve.median)
            if value is not None and curve.low is not None and curve.high is not None:
                low, high = _hours(curve.low), _hours(curve.high)
            why = f"fewer than half are {over} yet" if tally.used else "no cases"
            formula = f"Kaplan-Meier median of {curve.over} {over} and {curve.waiting} open cases"
        else:
            value = _hours(tally["quantile"])
            why = f"no {over} cases"
            formula = f"{variant} of {tally.used} {over} cases; {waiting} still wait"
            if waiting and curve.over:
                median = _hours(curve.median)
                known = "not reached yet" if median is None else f"{float(median):.1f} hours"
                notes += (f"with those that still wait, the Kaplan-Meier median is {known}",)
        return Metric(
            name,
            variant,
            value,
            "hours",
            "lower is better",
            n=tally.used,
            low=low,
            high=high,
            level=level if low is not None else None,
            undefined_because=why if value is None else None,
            parameters={
                **parameters,
                "clock": "calendar" if schedule is None else "business",
                "schedule": None if schedule is None else schedule.plain,
                "data_until": str(end),
            },
            period=period,
            timezone=timezone,
            parts={
                over: tally.used - waiting if keeps_all else tally.used,
                "still waiting": waiting,
            },
            notes=notes,
            formula=formula,
            **tally.counts,
        )

    share = 0.9 if variant == "p90" else 0.5
    return rows.measure(
        make,
        judged,
        by,
        quantile=f"quantile_cont(waited, {share})",
        waiting=counted("NOT is_over"),
    )


def _hours(microseconds: float | None) -> Fraction | None:
    return None if microseconds is None else Fraction(microseconds) / HOUR_US


def _open_us(span: str, instant: str) -> str:
    """Write how long the desk had been open by an instant, in microseconds."""
    since = f"epoch_us({instant}) - epoch_us({span}.starts)"
    return f"coalesce({span}.before_us + least({since}, {span}.length_us), 0)"


TIMES = (first_response_time, resolution_time)
