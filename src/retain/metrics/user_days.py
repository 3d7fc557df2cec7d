"""Usage folded to a line per user with its days as bits, for every metric of who is there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from retain.errors import TableError
from retain.metrics.period import Period
from retain.metrics.rows import By, Rows, counted, word

__all__ = [
    "LOGINS",
    "MICROSECONDS",
    "MONTH",
    "any_of",
    "dates_of",
    "keep_users",
    "many_of",
    "users_of",
]

MONTH = 30  # days of a rolling month
LOGINS = ("login",)
TIMEOUT_MINUTES = 30
MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS
WORD = 62  # days whose bits fit into one number: a month and the 30 days before it do
NO_USER = "no user"
OF_USER = "PARTITION BY customer_id, user_id ORDER BY slot"


def keep_users(
    rows: Rows,
    period: Period,
    by: By = None,
    *,
    features: tuple[str, ...] = (),
    logins: tuple[str, ...] = LOGINS,
    timeout_minutes: int = TIMEOUT_MINUTES,
) -> None:
    """Keep as table `users` who used the product when: folded once for all metrics of a period.

    A line per user: customer_id, user_id; sets of days, to be asked by `many_of` and `any_of`:
    `days` (of use), `login_days`, `begun` (on which a session began); and of the period logins,
    sessions and busy_us (microseconds in sessions). Where usage names no users a customer counts
    as one; rows without a user, where users are named, have a line of their own per customer.

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
    which they end, those of an event that lasts on the day of the event. No event is sorted: within
    slots as long as the timeout only first and last matter. Of the days before the period the last
    event still ends a pause.
    """
    if timeout_minutes < 1:
        raise TableError(f"timeout_minutes should be at least 1; found {timeout_minutes}")
    timeout = 60 * MICROSECONDS * timeout_minutes
    slots = -(-DAY // timeout)  # of a day; the last one may be shorter
    folded = _folded(period)
    start = (folded.start - date(1970, 1, 1)).days * DAY
    user = "user_id" if rows.has("usage", "user_id") else "customer_id"
    counts = f" AND feature IN ({_words(features)})" if features else ""
    ends, before = "us", "lag(last_us) OVER next"
    if rows.has("usage", "duration_s"):
        # an event may outlast those that begin after it
        ends = "us + CAST(1000000 * greatest(coalesce(duration_s, 0), 0) AS BIGINT)"
        before = f"max(last_us) OVER ({OF_USER} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    is_login = f"feature IN ({_words(logins)})" if logins else "false"
    eve = MONTH * DAY - timeout  # what was over before then ends no pause within the period
    begins = f"slot >= 0 AND (pause IS NULL OR pause > {timeout})"
    paused = f"SELECT *, first_us - {before} AS pause FROM slots WINDOW next AS ({OF_USER})"
    if DAY % timeout == 0 and not rows.has("usage", "duration_s"):
        # whoever paused no longer was there in the slot before: looked up, nothing is sorted
        paused = """
            SELECT s.*, s.first_us - b.last_us AS pause FROM slots AS s LEFT JOIN slots AS b
                ON b.customer_id IS NOT DISTINCT FROM s.customer_id
                    AND b.user_id IS NOT DISTINCT FROM s.user_id AND b.slot = s.slot - 1"""

    def events(within: Period) -> str:
        return f"""(SELECT customer_id, {user} AS user_id, feature, duration_s,
                epoch_us(occurred_at) - {start} AS us, CAST(us // {DAY} AS INTEGER) AS day
            FROM usage WHERE {within.holds("occurred_at")}{counts})"""

    rows.keep(
        "users",
        f"""
        WITH earlier AS MATERIALIZED (
            SELECT customer_id, user_id, -1 AS slot, CAST(NULL AS BIGINT) AS first_us,
                max({ends}) AS last_us, 0 AS logins, bit_or(CAST(1 AS BIGINT) << day) AS days_before
            FROM {events(Period(folded.start, period.start))} GROUP BY ALL),
        slots AS MATERIALIZED (
            SELECT customer_id, user_id,
                (day - {MONTH}) * {slots} + CAST(us % {DAY} // {timeout} AS INTEGER) AS slot,
                min(us) AS first_us, max({ends}) AS last_us,
                CAST({counted(is_login)} AS BIGINT) AS logins, 0 AS days_before
            FROM {events(period)} GROUP BY ALL
            UNION ALL FROM earlier WHERE last_us >= {eve}),
        pauses AS (
            {paused}
            UNION ALL SELECT *, NULL FROM earlier WHERE last_us < {eve}),
        days AS (SELECT *, {MONTH} + slot // {slots} AS day FROM pauses)
        SELECT customer_id, user_id,
            {_set_of("slot >= 0", period, "days", "days_before")},
            {_set_of("logins > 0", period, "login_days")},
            {_set_of(begins, period, "begun")},
            CAST(sum(logins) AS BIGINT) AS logins,
            CAST({counted(begins)} AS BIGINT) AS sessions,
            CAST(sum(CASE WHEN pause <= {timeout} THEN greatest(last_us - first_us + pause, 0)
                ELSE last_us - first_us END) AS BIGINT) AS busy_us
        FROM days GROUP BY customer_id, user_id""",
        by,
    )


def users_of(period: Period, dates: Iterable[date], above: str) -> str:
    """Write the users who were there on some dates: a line stands for as many user-days.

    Parameters
    ----------
    period
        For which the users are kept.
    dates
        In the period or the 30 days before it.
    above
        SQL for how many of the line's user-days are above the line.

    Returns
    -------
    str
        A SELECT of the kept columns, `id`, `times` (the user-days), `is_numerator` (as `above`),
        `excluded_because`: rows without a user are left out.
    """
    return f"""
        SELECT *, coalesce(user_id, customer_id) AS id, {many_of(period, "days", dates)} AS times,
            {above} AS is_numerator,
            CASE WHEN user_id IS NULL THEN '{NO_USER}' END AS excluded_because
        FROM users WHERE times > 0"""


def many_of(period: Period, days: str, dates: Iterable[date]) -> str:
    """Write how many of some dates are in a kept set of days.

    Examples
    --------
    >>> many_of(Period.month("2026-10"), "days", [date(2026, 9, 1), date(2026, 9, 3)])
    '(CAST(bit_count(days_0 & 5) AS INTEGER))'
    """
    asked = [
        f"CAST(bit_count({word_of} & {bits}) AS INTEGER)"
        for word_of, bits in _bits(period, days, dates)
    ]
    return f"({' + '.join(asked)})" if asked else "0"


def any_of(period: Period, days: str, dates: Iterable[date]) -> str:
    """Write whether any of some dates is in a kept set of days.

    Examples
    --------
    >>> any_of(Period.month("2026-10"), "days", [date(2026, 9, 1), date(2026, 11, 3)])
    '(days_0 & 1 <> 0 OR days_1 & 2 <> 0)'
    """
    asked = [f"{word_of} & {bits} <> 0" for word_of, bits in _bits(period, days, dates)]
    return f"({' OR '.join(asked)})" if asked else "false"


def dates_of(period: Period, weekdays_only: bool = False) -> list[date]:
    """List the days of a period, or its Mondays to Fridays."""
    days = [period.start + timedelta(at) for at in range(period.days)]
    return [day for day in days if not weekdays_only or day.weekday() < 5]


def _folded(period: Period) -> Period:
    return Period(period.start - timedelta(MONTH), period.end)


def _bits(period: Period, days: str, dates: Iterable[date]) -> list[tuple[str, int]]:
    """Give the numbers in which a set of days is kept, and the bits of some dates in each."""
    found: dict[int, int] = {}
    for at in sorted((one - _folded(period).start).days for one in dates):
        found[at // WORD] = found.get(at // WORD, 0) | 1 << at % WORD
    return [(f"{days}_{at}", bits) for at, bits in found.items()]


def _set_of(condition: str, period: Period, name: str, before: str = "0") -> str:
    """Write the set of days on which a condition holds, as one number or several."""
    words = -(-_folded(period).days // WORD)
    of_word = f" AND day // {WORD} = {{}}" if words > 1 else ""
    return ", ".join(
        f"bit_or(CASE WHEN {condition}{of_word.format(at)} THEN CAST(1 AS BIGINT) << "
        f"(day - {at * WORD}) ELSE {before if at == 0 else '0'} END) AS {name}_{at}"
        for at in range(words)
    )


def _words(texts: tuple[str, ...]) -> str:
    return ", ".join(map(word, texts))
