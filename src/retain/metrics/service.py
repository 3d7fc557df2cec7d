"""How service went: resolved at the first contact, promises kept, reopened, handed on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any, Literal

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.contacts import (
    REPEAT_DAYS,
    SOLVED,
    Same,
    keep_contacts,
    sequence_sql,
    with_chain_sql,
)
from retain.metrics.feedback import data_end
from retain.metrics.period import Period
from retain.metrics.result import Direction, Metric
from retain.metrics.rows import By, Rows, Source, counted, word
from retain.metrics.shares import share

__all__ = ["SERVICE", "first_contact_resolution", "reopened", "sla_met", "transferred"]

Counted = Literal["received", "resolved", "contacts"]


@metric(
    label="First contact resolution",
    unit="percent",
    direction="higher is better",
    needs=("interactions",),
    variants=("gross", "net", "windowed"),
    theme="service",
)
def first_contact_resolution(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["gross", "net", "windowed"] = "gross",
    of: Counted = "received",
    beyond_first_level: Collection[str] = (),
    window_days: int = REPEAT_DAYS,
    same: Same = "issue",
    data_until: date | None = None,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of cases that were resolved at the first contact, 0 to 100 percent.

    Parameters
    ----------
    interactions
        Cases or contacts. One is resolved at first contact when it was resolved or closed, was
        never reopened or handed on, is no follow-up, and no later contact belongs to its case.
    period
        Of opening.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        ``"gross"`` ÷ all; ``"net"`` leaves out what the first level cannot resolve;
        ``"windowed"`` counts it only when the customer did not come back for `window_days` after
        the resolution, and leaves out what is younger than that.
    of
        ``"received"``: all but follow-ups; ``"resolved"``: those that were resolved;
        ``"contacts"``: every contact, follow-ups among them.
    beyond_first_level
        Topics that the first level cannot resolve; ``"net"`` needs them.
    window_days
        For ``"windowed"``.
    same
        What coming back is, for ``"windowed"``: with the same ``"issue"`` (case, else topic), or
        with ``"any"``; through whatever channel.
    data_until
        Last day that the data describe; default: the newest day in interactions.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent.

    Raises
    ------
    TableError
        When ``"net"`` is asked for without topics, or ``"windowed"`` and nothing tells which
        contacts share an issue.

    Notes
    -----
    Columns that are missing cannot tell against a case: the parameters say which were there.

    References
    ----------
    reference/metrics.md 2.4.

    Examples
    --------
    >>> import pandas as pd
    >>> at = pd.Timestamp("2026-10-05")
    >>> cases = pd.DataFrame({"customer_id": range(5), "interaction_id": range(5), "opened_at": at,
    ...                       "resolved_at": [at, at, at, at, None],
    ...                       "transfer_count": [0, 0, 0, 1, 0], "topic": ["bill"] * 4 + ["legal"]})
    >>> october = Period.month("2026-10")
    >>> first_contact_resolution(cases, october).display()
    '60.0'
    >>> net = {"variant": "net", "beyond_first_level": ["legal"]}
    >>> first_contact_resolution(cases, october, **net).display()
    '75.0'
    """
    if variant == "net" and not beyond_first_level:
        raise TableError(
            "first_contact_resolution: net needs to know what the first level cannot resolve; give "
            "its topics as beyond_first_level"
        )
    rows = Rows(interactions=interactions, customers=customers)
    if not rows.has("interactions", "closed_at"):
        rows.require("interactions", "resolved_at")
    given: dict[str, Any] = {"of": of}
    keep_contacts(rows, period, by)
    asked = with_chain_sql(rows)
    back, young = "false", "false"
    if variant == "windowed":
        end = data_end(rows, "interactions", ("opened_at", "resolved_at", "closed_at"), data_until)
        after = (end - period.end).days + 2
        sequence = sequence_sql(rows, period, same=same, days_after=max(after, 0))
        asked = f"SELECT a.*, s.after_at FROM ({asked}) AS a LEFT JOIN ({sequence}) AS s " + (
            "USING (interaction_id)"
        )
        window = f"coalesce({SOLVED}, opened_at) + INTERVAL {int(window_days)} DAY"
        back = f"coalesce(after_at <= {window}, false)"
        young = f"{window} > TIMESTAMP '{end + timedelta(1)}'"
        given |= {"window_days": window_days, "same": same, "data_until": str(end)}
    if variant == "net":
        rows.require("interactions", "topic")
        given["beyond_first_level"] = sorted(beyond_first_level)
    topics = ", ".join(map(word, sorted(beyond_first_level))) if variant == "net" else "NULL"
    given["known"] = [
        name
        for name in ("transfer_count", "reopen_count", "case_id", "follows_id")
        if rows.has("interactions", name)
    ]
    judged = f"""
        SELECT *,
            CASE WHEN repeated_because IS NOT NULL THEN repeated_because
                 WHEN is_follow_up AND {"false" if of == "contacts" else "true"}
                 THEN 'follow-up of an earlier contact'
                 WHEN {SOLVED} IS NULL AND {"true" if of == "resolved" else "false"}
                 THEN 'not resolved yet'
                 WHEN coalesce(topic IN ({topics}), false) THEN 'beyond the first level'
                 WHEN {young} THEN 'younger than {int(window_days)} days' END AS excluded_because,
            {SOLVED} IS NOT NULL AND coalesce(transfer_count, 0) = 0
                AND coalesce(reopen_count, 0) = 0 AND NOT is_follow_up
                AND NOT {back if variant == "windowed" else "is_followed"} AS is_numerator
        FROM ({asked})"""
    return rows.measure(
        lambda tally: share(
            "first_contact_resolution",
            variant,
            tally,
            of=("resolved at first contact", f"{of} cases" if of != "contacts" else of),
            period=period,
            timezone=timezone,
            level=level,
            parameters=given,
        ),
        judged,
        by,
        above=counted("is_numerator"),
    )


@metric(
    label="Promised times kept",
    unit="percent",
    direction="higher is better",
    needs=("interactions",),
    variants=("of_known",),
    theme="service",
)
def sla_met(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["of_known"] = "of_known",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of cases whose promised time was kept, 0 to 100 percent.

    Parameters
    ----------
    interactions
        Cases, with `sla_met`.
    period
        Of opening.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        ``"of_known"``: cases that do not say are left out and counted.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent.

    Raises
    ------
    TableError
        When there is no column `sla_met`.
    """
    rows = Rows(interactions=interactions, customers=customers)
    rows.require("interactions", "sla_met")
    keep_contacts(rows, period, by)
    judged = """
        SELECT *, coalesce(repeated_because, CASE WHEN sla_met IS NULL THEN 'not known' END)
            AS excluded_because, sla_met AS is_numerator
        FROM contacts"""
    return rows.measure(
        lambda tally: share(
            "sla_met",
            variant,
            tally,
            of=("in the promised time", "cases"),
            period=period,
            timezone=timezone,
            level=level,
        ),
        judged,
        by,
        above=counted("is_numerator"),
    )


@metric(
    label="Cases reopened",
    unit="percent",
    direction="lower is better",
    needs=("interactions",),
    variants=("of_received", "of_resolved"),
    theme="service",
)
def reopened(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["of_received", "of_resolved"] = "of_received",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of cases that were reopened at least once, 0 to 100 percent.

    Parameters
    ----------
    interactions
        Cases, with `reopen_count`.
    period
        Of opening.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        ``"of_received"`` ÷ all; ``"of_resolved"`` leaves out what was neither resolved nor closed.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent. A case without a count is left out and counted.

    Raises
    ------
    TableError
        When there is no column `reopen_count`.
    """
    return _with_count(
        "reopened",
        "reopen_count",
        "reopened",
        interactions,
        customers,
        period,
        by,
        variant,
        level,
        timezone,
    )


@metric(
    label="Cases handed on",
    unit="percent",
    direction="lower is better",
    needs=("interactions",),
    variants=("of_received", "of_resolved"),
    theme="service",
)
def transferred(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["of_received", "of_resolved"] = "of_received",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of cases that were handed on at least once, 0 to 100 percent.

    Parameters
    ----------
    interactions
        Cases, with `transfer_count`.
    period
        Of opening.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        ``"of_received"`` ÷ all; ``"of_resolved"`` leaves out what was neither resolved nor closed.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent. A case without a count is left out and counted.

    Raises
    ------
    TableError
        When there is no column `transfer_count`.
    """
    return _with_count(
        "transferred",
        "transfer_count",
        "handed on",
        interactions,
        customers,
        period,
        by,
        variant,
        level,
        timezone,
    )


def _with_count(
    name: str,
    column: str,
    words: str,
    interactions: Source,
    customers: Source | None,
    period: Period,
    by: By,
    variant: str,
    level: float,
    timezone: str,
) -> Metric:
    """Make the share of cases with at least one of something."""
    rows = Rows(interactions=interactions, customers=customers)
    rows.require("interactions", column)
    keep_contacts(rows, period, by)
    is_open = f"{SOLVED} IS NULL" if variant == "of_resolved" else "false"
    lower: Direction = "lower is better"
    judged = f"""
        SELECT *, {column} >= 1 AS is_numerator,
            CASE WHEN repeated_because IS NOT NULL THEN repeated_because
                 WHEN {column} IS NULL THEN 'not known'
                 WHEN {column} < 0 OR {column} <> trunc({column}) THEN 'not a count'
                 WHEN {is_open} THEN 'not resolved yet' END AS excluded_because
        FROM contacts"""
    return rows.measure(
        lambda tally: share(
            name,
            variant,
            tally,
            of=(words, "cases" if variant == "of_received" else "resolved cases"),
            period=period,
            timezone=timezone,
            level=level,
            direction=lower,
        ),
        judged,
        by,
        above=counted("is_numerator"),
    )


SERVICE = (first_contact_resolution, sla_met, reopened, transferred)
