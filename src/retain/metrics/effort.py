"""What service costs the customer: repeats, switches of channel, contacts with signs of effort.

The signs and their limits are those of the weekly features.
"""

from __future__ import annotations

from typing import Any, Literal

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.contacts import (
    LOOK_BACK_DAYS,
    REPEAT_DAYS,
    SOLVED,
    Same,
    keep_contacts,
    sequence_sql,
)
from retain.metrics.period import Period
from retain.metrics.result import Metric
from retain.metrics.rows import By, Rows, Source, counted
from retain.metrics.shares import share

__all__ = ["EFFORT", "channel_switches", "high_effort_share", "repeat_contacts"]

SWITCH_DAYS, LONG_HOURS = 14, 72  # as in the weekly features


@metric(
    label="Repeat contacts",
    unit="percent",
    direction="lower is better",
    needs=("interactions",),
    variants=("same_issue", "any"),
    theme="service",
)
def repeat_contacts(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["same_issue", "any"] = "same_issue",
    window_days: int = REPEAT_DAYS,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of contacts that come back to something, 0 to 100 percent.

    Parameters
    ----------
    interactions
        Contacts.
    period
        Of opening; the contact before may lie earlier.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        ``"same_issue"``: within `window_days` of one with the same case, else topic, or saying
        which contact it follows; ``"any"``: within that time of any contact of the customer.
    window_days
        How soon after the contact before; exactly so many days still count.
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
        When nothing tells which contacts share an issue.
    """
    same: Same = "any" if variant == "any" else "issue"
    repeat = _within(window_days)
    if same == "issue":
        repeat = f"follows_id IS NOT NULL OR {repeat}"
    return _in_sequence(
        "repeat_contacts",
        repeat,
        f"within {window_days} days of another",
        interactions,
        customers,
        period,
        by,
        variant,
        same,
        window_days,
        level,
        timezone,
        {"window_days": window_days},
    )


@metric(
    label="Channel switches",
    unit="percent",
    direction="lower is better",
    needs=("interactions",),
    variants=("same_issue", "any"),
    theme="service",
)
def channel_switches(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["same_issue", "any"] = "same_issue",
    window_days: int = SWITCH_DAYS,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of contacts through another channel than the one before, 0 to 100 percent.

    Parameters
    ----------
    interactions
        Contacts, with their `channel`.
    period
        Of opening; the contact before may lie earlier.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        The contact before: of the ``"same_issue"`` (case, else topic), or ``"any"`` of the
        customer.
    window_days
        How soon after the contact before; exactly so many days still count.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent of all contacts.

    Raises
    ------
    TableError
        When there is no column `channel`, or nothing tells which contacts share an issue.
    """
    return _in_sequence(
        "channel_switches",
        f"{_within(window_days)} AND channel <> before_channel",
        "through another channel than the one before",
        interactions,
        customers,
        period,
        by,
        variant,
        "any" if variant == "any" else "issue",
        window_days,
        level,
        timezone,
        {"window_days": window_days},
        ("channel",),
    )


@metric(
    label="High-effort contacts",
    unit="percent",
    direction="lower is better",
    needs=("interactions",),
    variants=("any_sign",),
    theme="service",
)
def high_effort_share(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["any_sign"] = "any_sign",
    repeat_days: int = REPEAT_DAYS,
    switch_days: int = SWITCH_DAYS,
    long_hours: int = LONG_HOURS,
    transfers: int = 2,
    reopens: int = 1,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of contacts that were hard for the customer, 0 to 100 percent; needs no survey.

    Parameters
    ----------
    interactions
        Contacts.
    period
        Of opening; the contact before may lie earlier.
    by, customers
        Columns to cut by, of interactions or of customers.
    variant
        ``"any_sign"``: a repeat, a switch of channel, a long resolution, handed on or reopened.
    repeat_days, switch_days
        How soon after a contact with the same issue.
    long_hours
        A resolution takes longer than this.
    transfers, reopens
        Handed on, reopened at least so often.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent. Its `parts` count each sign; a contact may show several. Signs whose columns
        are missing cannot show; the parameters say which can.

    Raises
    ------
    TableError
        When the columns can show no sign at all.

    Notes
    -----
    The same signs and limits as the weekly features.
    """
    rows = Rows(interactions=interactions, customers=customers)
    can = {
        name
        for name in (
            "case_id",
            "follows_id",
            "topic",
            "channel",
            "transfer_count",
            "reopen_count",
            "resolved_at",
            "closed_at",
        )
        if rows.has("interactions", name)
    }
    signs: dict[str, str] = {}
    if can & {"case_id", "follows_id", "topic"}:
        signs["repeats"] = f"(follows_id IS NOT NULL OR {_within(repeat_days)})"
        if "channel" in can:
            signs["switches"] = f"({_within(switch_days)} AND channel <> before_channel)"
    if can & {"resolved_at", "closed_at"}:
        signs["long"] = f"({SOLVED} > opened_at + INTERVAL {int(long_hours)} HOUR)"
    if "transfer_count" in can:
        signs["handed on"] = f"(transfer_count >= {int(transfers)})"
    if "reopen_count" in can:
        signs["reopened"] = f"(reopen_count >= {int(reopens)})"
    if not signs:
        raise TableError(
            "interactions: no sign of effort can be read; expected one of case_id, follows_id, "
            "topic, transfer_count, reopen_count, resolved_at, closed_at. Map one of them"
        )
    keep_contacts(rows, period, by)
    asked = "contacts"
    if "repeats" in signs:
        asked = _in_order(rows, period, "issue", max(repeat_days, switch_days))
    judged = f"""
        SELECT *, repeated_because AS excluded_because,
            {" OR ".join(f"coalesce({sign}, false)" for sign in signs.values())} AS is_numerator
        FROM {asked}"""
    names = {f"sign_{at}": name for at, name in enumerate(signs)}
    return rows.measure(
        lambda tally: share(
            "high_effort_share",
            variant,
            tally,
            of=("with a sign of high effort", "contacts"),
            period=period,
            timezone=timezone,
            level=level,
            direction="lower is better",
            parameters={
                "signs": list(signs),
                "repeat_days": repeat_days,
                "switch_days": switch_days,
                "long_hours": long_hours,
                "transfers": transfers,
                "reopens": reopens,
            },
            parts={name: tally[alias] for alias, name in names.items()},
        ),
        judged,
        by,
        above=counted("is_numerator"),
        **{alias: counted(signs[name]) for alias, name in names.items()},
    )


def _within(days: int) -> str:
    """Write that a contact follows the one before within so many days."""
    return f"(opened_at <= before_at + INTERVAL {int(days)} DAY)"


def _in_order(rows: Rows, period: Period, same: Same, days: int) -> str:
    """Keep the contacts with when, and through which channel, the one before came; name them."""
    # one look back serves all: who came earlier than a question asks for is passed over there
    look_back = max(days + 1, LOOK_BACK_DAYS)
    sequence = sequence_sql(rows, period, same=same, days_before=look_back)
    name = f"contacts_by_{same}"
    rows.keep(
        name,
        f"""SELECT c.*, s.before_at, s.before_channel
        FROM contacts AS c LEFT JOIN (SELECT * FROM ({sequence}) WHERE before_at IS NOT NULL) AS s
            USING (interaction_id)""",
    )
    return name


def _in_sequence(
    name: str,
    is_numerator: str,
    words: str,
    interactions: Source,
    customers: Source | None,
    period: Period,
    by: By,
    variant: str,
    same: Same,
    days: int,
    level: float,
    timezone: str,
    parameters: dict[str, Any],
    required: tuple[str, ...] = (),
) -> Metric:
    """Make the share of contacts that stand in a relation to the one before."""
    rows = Rows(interactions=interactions, customers=customers)
    rows.require("interactions", *required)
    keep_contacts(rows, period, by)
    judged = f"""
        SELECT *, repeated_because AS excluded_because,
            coalesce({is_numerator}, false) AS is_numerator
        FROM {_in_order(rows, period, same, days)}"""
    return rows.measure(
        lambda tally: share(
            name,
            variant,
            tally,
            of=(words, "contacts"),
            period=period,
            timezone=timezone,
            level=level,
            direction="lower is better",
            parameters=parameters,
        ),
        judged,
        by,
        above=counted("is_numerator"),
    )


EFFORT = (repeat_contacts, channel_switches, high_effort_share)
