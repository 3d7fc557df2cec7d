"""Usage folded once to a line per user and day, for every metric of who is there and how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from retain.errors import TableError, some
from retain.metrics.period import Period
from retain.metrics.rows import Rows, Source, counted, word

__all__ = ["LOGINS", "MICROSECONDS", "MONTH", "UserDays", "days_of", "folded", "user_days"]

MONTH = 30  # days of a rolling month
LOGINS = ("login",)
MICROSECONDS = 1_000_000
NO_USER = "no user"


@dataclass(frozen=True)
class UserDays:
    """Usage folded to one line per user and day; made by `user_days`.

    Parameters
    ----------
    table
        Arrow table of customer_id, user_id, day, next_day (the user's next day of use), events,
        logins, sessions (begun that day), busy_us (microseconds in sessions). Where usage names no
        users a customer counts as one.
    days
        The days that were folded.
    parameters
        What was folded how.
    """

    table: Any
    days: Period
    parameters: dict[str, Any]


def user_days(
    usage: Source,
    period: Period,
    *,
    features: tuple[str, ...] = (),
    logins: tuple[str, ...] = LOGINS,
    timeout_minutes: int = 30,
) -> UserDays:
    """Fold usage once, for every metric of active users, logins and sessions in a period.

    Parameters
    ----------
    usage
        Events; one without a user, where users are named, is folded apart.
    period
        It and the 30 days before it are folded, so that its first day has a whole month behind it.
    features
        What counts as use, by name: things that users do of their own accord. None: every row.
    logins
        Features that are logins.
    timeout_minutes
        Longest pause within a session; a pause of exactly so long does not end it.

    Returns
    -------
    UserDays
        To be given to calculators in place of usage.

    Notes
    -----
    A session begins with an event after a longer pause and lasts until its last event: of a single
    event it lasts no time. It counts on the day it begins; its minutes count on the days on which
    they end. No event is sorted: within slots as long as the timeout only first and last matter.

    Examples
    --------
    >>> import pandas as pd
    >>> events = pd.DataFrame({"customer_id": "a", "occurred_at": pd.to_datetime(
    ...     ["2026-10-01T09:00", "2026-10-01T09:10", "2026-10-01T09:35", "2026-10-01T10:20"])})
    >>> lines = user_days(events, Period.month("2026-10")).table.to_pylist()
    >>> [(one["events"], one["sessions"], one["busy_us"] / 60e6) for one in lines]
    [(4, 2, 35.0)]
    """
    if timeout_minutes < 1:
        raise TableError(f"timeout_minutes should be at least 1; found {timeout_minutes}")
    rows = Rows(usage=usage)
    days = Period(period.start - timedelta(MONTH), period.end)
    timeout = 60 * MICROSECONDS * timeout_minutes
    slots = -(-86_400 * MICROSECONDS // timeout)  # of a day; the last one may be shorter
    user = "user_id" if rows.has("usage", "user_id") else "customer_id"
    counts = f" AND feature IN ({_words(features)})" if features else ""
    is_login = f"feature IN ({_words(logins)})" if logins else "false"
    table = rows.sql(f"""
        WITH events AS (
            SELECT customer_id, {user} AS user_id, feature, epoch_us(occurred_at) AS us,
                us // {86_400 * MICROSECONDS} AS day_no
            FROM usage WHERE {days.holds("occurred_at")}{counts}),
        slots AS (
            SELECT customer_id, user_id,
                day_no * {slots} + (us - day_no * {86_400 * MICROSECONDS}) // {timeout} AS slot,
                min(us) AS first_us, max(us) AS last_us, count(*) AS events,
                {counted(is_login)} AS logins
            FROM events GROUP BY ALL),
        pauses AS (
            SELECT *, first_us - lag(last_us) OVER (
                PARTITION BY customer_id, user_id ORDER BY slot) AS pause
            FROM slots),
        folded AS (
            SELECT customer_id, user_id,
                DATE '1970-01-01' + CAST(slot // {slots} AS INTEGER) AS day,
                CAST(sum(events) AS BIGINT) AS events, CAST(sum(logins) AS BIGINT) AS logins,
                {counted(f"pause IS NULL OR pause > {timeout}")} AS sessions,
                CAST(sum(last_us - first_us + CASE WHEN pause <= {timeout} THEN pause ELSE 0 END)
                    AS BIGINT) AS busy_us
            FROM pauses GROUP BY ALL)
        SELECT customer_id, user_id, day,
            lead(day) OVER (PARTITION BY customer_id, user_id ORDER BY day) AS next_day,
            events, logins, sessions, busy_us
        FROM folded""").to_arrow_table()
    return UserDays(
        table,
        days,
        {"features": features, "logins": logins, "timeout_minutes": timeout_minutes},
    )


def folded(usage: Source | UserDays, period: Period, **wanted: Any) -> UserDays:
    """Fold usage, or see that what was folded answers the question."""
    if not isinstance(usage, UserDays):
        return user_days(usage, period, **wanted)
    defaults = {"features": (), "logins": LOGINS, "timeout_minutes": 30}
    differs = [
        f"{name} {usage.parameters[name]} instead of {value}"
        for name, value in wanted.items()
        if value != usage.parameters[name] and value != defaults[name]
    ]
    if usage.days.end < period.end or usage.days.start > period.start - timedelta(MONTH):
        differs.append(f"{usage.days.label} instead of {period.label} and the 30 days before it")
    if differs:
        raise TableError(
            f"these user-days were folded with {some(differs)}; fold them again with user_days"
        )
    return usage


def days_of(period: Period, above: str) -> str:
    """Write the user-days of a period, those without a user left out."""
    return f"""
        SELECT *, coalesce(user_id, customer_id) AS id, {above} AS is_numerator,
            CASE WHEN user_id IS NULL THEN '{NO_USER}' END AS excluded_because
        FROM days WHERE day >= DATE '{period.start}' AND day < DATE '{period.end}'"""


def _words(texts: tuple[str, ...]) -> str:
    return ", ".join(map(word, texts))
