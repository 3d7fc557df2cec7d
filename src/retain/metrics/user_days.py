"""Usage folded to a line per user and day, for every metric of who is there and how long."""

from __future__ import annotations

from datetime import date, timedelta

from retain.errors import TableError
from retain.metrics.period import Period
from retain.metrics.rows import By, Rows, counted, word

__all__ = ["LOGINS", "MICROSECONDS", "MONTH", "days_of", "keep_user_days"]

MONTH = 30  # days of a rolling month
LOGINS = ("login",)
TIMEOUT_MINUTES = 30
MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS
LAST = 1_000_000  # a day after all others
NO_USER = "no user"
OF_USER = "PARTITION BY customer_id, user_id ORDER BY slot"


def keep_user_days(
    rows: Rows,
    period: Period,
    by: By = None,
    *,
    features: tuple[str, ...] = (),
    logins: tuple[str, ...] = LOGINS,
    timeout_minutes: int = TIMEOUT_MINUTES,
) -> None:
    """Keep as table `days` who used the product when: folded once for all metrics of a period.

    A line per user and day: customer_id, user_id, day, next_day (the user's next day of use),
    logins, sessions (begun that day) and busy_us (microseconds in sessions). Where usage names no
    users a customer counts as one; rows without a user, where users are named, have their own line.

    Parameters
    ----------
    rows
        With `usage` among them.
    period
        It and the 30 days before it are folded, so that its first day has a whole month behind it.
    by
        Columns of customers that metrics are cut by.
    features
        What counts as use, by name: things that users do of their own accord. None: every row.
    logins
        Features that are logins.
    timeout_minutes
        Longest pause within a session; a pause of exactly so long does not end it.

    Notes
    -----
    A session begins with an event after a longer pause and lasts until its last event: of a single
    event it lasts no time. Where usage has `duration_s` an event lasts so long: a pause begins when
    all before it are over. A session counts on the day it begins; its minutes count on the days on
    which they end, those of an event that lasts on the day of the event. Sessions are told for the
    days of the period only. No event is sorted: within slots as long as the timeout only first and
    last matter.
    """
    if timeout_minutes < 1:
        raise TableError(f"timeout_minutes should be at least 1; found {timeout_minutes}")
    days = Period(period.start - timedelta(MONTH), period.end)
    timeout = 60 * MICROSECONDS * timeout_minutes
    slots = -(-DAY // timeout)  # of a day; the last one may be shorter
    # before the period only days are asked for; the last event of one still ends a pause
    first = (period.start - date(1970, 1, 1)).days
    user = "user_id" if rows.has("usage", "user_id") else "customer_id"
    counts = f" AND feature IN ({_words(features)})" if features else ""
    ends, before = "us", "lag(last_us) OVER next"
    if rows.has("usage", "duration_s"):
        # an event may outlast those that begin after it
        ends = "us + CAST(1000000 * greatest(coalesce(duration_s, 0), 0) AS BIGINT)"
        before = f"max(last_us) OVER ({OF_USER} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    is_login = f"feature IN ({_words(logins)})" if logins else "false"
    rows.keep(
        "days",
        f"""
        WITH events AS (
            SELECT customer_id, {user} AS user_id, feature, duration_s,
                epoch_us(occurred_at) AS us,
                us // {DAY} AS day_no
            FROM usage WHERE {days.holds("occurred_at")}{counts}),
        slots AS (
            SELECT customer_id, user_id,
                day_no * {slots} + CASE WHEN day_no < {first} THEN 0
                    ELSE (us - day_no * {DAY}) // {timeout} END AS slot,
                min(us) AS first_us, max({ends}) AS last_us, {counted(is_login)} AS logins
            FROM events GROUP BY ALL),
        pauses AS (
            SELECT *, slot // {slots} AS day_no, first_us - {before} AS pause,
                lead(slot) OVER next // {slots} AS next_no
            FROM slots WINDOW next AS ({OF_USER})),
        folded AS (
            SELECT customer_id, user_id, day_no,
                max(coalesce(next_no, {LAST})) AS next_no, CAST(sum(logins) AS BIGINT) AS logins,
                {counted(f"pause IS NULL OR pause > {timeout}")} AS sessions,
                CAST(sum(CASE WHEN pause <= {timeout} THEN greatest(last_us - first_us + pause, 0)
                    ELSE last_us - first_us END) AS BIGINT) AS busy_us
            FROM pauses GROUP BY ALL)
        SELECT customer_id, user_id, {_date("day_no")} AS day,
            CASE WHEN next_no < {LAST} THEN {_date("next_no")} END AS next_day,
            logins, sessions, busy_us
        FROM folded""",
        by,
    )


def days_of(period: Period, above: str) -> str:
    """Write the user-days of a period, those without a user left out."""
    return f"""
        SELECT *, coalesce(user_id, customer_id) AS id, {above} AS is_numerator,
            CASE WHEN user_id IS NULL THEN '{NO_USER}' END AS excluded_because
        FROM days WHERE day >= DATE '{period.start}' AND day < DATE '{period.end}'"""


def _date(day_no: str) -> str:
    return f"(DATE '1970-01-01' + CAST({day_no} AS INTEGER))"


def _words(texts: tuple[str, ...]) -> str:
    return ", ".join(map(word, texts))
