"""How much the product is used: active users, stickiness, logins, active days, sessions.

All of it is read from lines per user, to which usage is folded once for all of them.
"""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Literal

from retain.metrics.calculator import metric
from retain.metrics.period import Period
from retain.metrics.result import Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted
from retain.metrics.user_days import (
    LOGINS,
    MICROSECONDS,
    MONTH,
    any_of,
    dates_of,
    keep_users,
    many_of,
    users_of,
)

__all__ = [
    "PRODUCT",
    "active_days",
    "active_users",
    "engagement_score",
    "login_frequency",
    "session_length",
    "stickiness",
    "time_in_product",
]

WEEK = 7  # days of a rolling week
FEW = 10  # users below which shares mislead
FEWER = "fewer than 10 users: read the counts"


@metric(
    label="Active users",
    unit="users",
    direction="higher is better",
    needs=("usage",),
    variants=("mau", "wau", "dau"),
    theme="product",
)
def active_users(
    usage: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["mau", "wau", "dau"] = "mau",
    weekdays_only: bool = False,
    features: tuple[str, ...] = (),
    timezone: str = "UTC",
) -> Metric:
    """Count the different users of a month, a week, or an average day.

    Parameters
    ----------
    usage
        Events.
    period
        A month and a week end with its last day; the average day is over its days.
    by, customers
        Columns to cut by; of customers when usage has no such column.
    variant
        ``"mau"``: the 30 days (not the calendar month) up to the period's last day; ``"wau"``: the
        7 days up to it; ``"dau"``: mean over the days of the period.
    weekdays_only
        Average over Monday to Friday only (dau).
    features
        What counts as use, by name; none: every row.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In users (customers, where usage names no users): a count, or a mean of counts. Its rows
        are user-days.

    Examples
    --------
    >>> import pandas as pd
    >>> events = pd.DataFrame({"customer_id": ["a", "a", "b"], "occurred_at": pd.to_datetime(
    ...     ["2026-10-30", "2026-10-31", "2026-10-02"])})
    >>> [active_users(events, Period.month("2026-10"), variant=one).value for one in
    ...  ("mau", "wau", "dau")]
    [2, 1, Fraction(3, 31)]
    """
    rows = Rows(usage=usage, customers=customers)
    keep_users(rows, period, by, features=features)
    window = {"mau": MONTH, "wau": WEEK, "dau": period.days}[variant]
    last = period.end - timedelta(1)
    wanted = Period(period.end - timedelta(window), period.end)
    dates = dates_of(period, weekdays_only)
    above = many_of(period, "days", dates) if variant == "dau" else "1"
    judged = users_of(period, dates_of(wanted), above)

    def make(tally: Tally) -> Metric:
        users = int(tally["users"] or 0)
        mean = Fraction(users, len(dates)) if variant == "dau" and dates else None
        return Metric(
            "active_users",
            variant,
            mean if variant == "dau" else users,
            "users",
            "higher is better",
            numerator=users if variant == "dau" else None,
            denominator=None,
            n=users,
            undefined_because="no weekday in the period"
            if variant == "dau" and not dates
            else None,
            parameters={"features": features, "weekdays_only": weekdays_only},
            period=period,
            timezone=timezone,
            formula=(
                f"{users} user-days / {len(dates)} days"
                if variant == "dau"
                else f"{users} users with use in the {window} days up to {last}"
            ),
            **tally.counts,
        )

    return rows.measure(make, judged, by, times="times", users="sum(is_numerator)")


@metric(
    label="Stickiness",
    unit="percent",
    direction="higher is better",
    needs=("usage",),
    variants=("mean_of_days", "mean_dau_over_mau", "mean_dau_over_wau"),
    theme="product",
)
def stickiness(
    usage: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["mean_of_days", "mean_dau_over_mau", "mean_dau_over_wau"] = "mean_of_days",
    weekdays_only: bool = False,
    features: tuple[str, ...] = (),
    timezone: str = "UTC",
) -> Metric:
    """Share of a month's users who are there on a day, 0 to 100 percent.

    Parameters
    ----------
    usage
        Events.
    period
        Which days are averaged, or where the month or week ends.
    by, customers
        Columns to cut by; of customers when usage has no such column.
    variant
        ``"mean_of_days"``: for each day of the period its users over those of the 30 days up to it,
        then the mean of the days that have any; ``"mean_dau_over_mau"``: mean daily users of the
        30 days up to the period's end over the users of the same days, at least 1/30;
        ``"mean_dau_over_wau"``: the same of 7 days.
    weekdays_only
        Average over Monday to Friday only: for products of the working week.
    features
        What counts as use, by name; none: every row.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent. Its rows are user-days. Undefined when nobody used anything.

    Notes
    -----
    A user of a month is there on at least one of its days, so that the share of a month cannot lie
    below 1/30 (of a week, 1/7): asserted. A single day may, when all its users came before it.

    References
    ----------
    reference/metrics.md 2.16.

    Examples
    --------
    >>> import pandas as pd
    >>> events = pd.DataFrame({"customer_id": list("abcd"), "occurred_at": pd.Timestamp(
    ...     "2026-10-20")})
    >>> stickiness(events, Period.month("2026-10"), variant="mean_dau_over_mau").display()
    '3.3'
    """
    rows = Rows(usage=usage, customers=customers)
    keep_users(rows, period, by, features=features)
    window = WEEK if variant == "mean_dau_over_wau" else MONTH
    over = period
    if variant != "mean_of_days":
        over = Period(period.end - timedelta(window), period.end)
    wanted = Period(over.start - timedelta(window - 1), over.end) if over is period else over
    dates = dates_of(over, weekdays_only)
    month = {one: Period(one - timedelta(window - 1), one + timedelta(1)) for one in dates}
    there = {f"on_{one:%Y_%m_%d}": counted(any_of(period, "days", [one])) for one in dates}
    if over is period:
        there |= {
            f"up_to_{one:%Y_%m_%d}": counted(any_of(period, "days", dates_of(month[one])))
            for one in dates
        }

    def make(tally: Tally) -> Metric:
        daily = {one: tally[f"on_{one:%Y_%m_%d}"] for one in dates}
        users = tally["users"]
        numerator: Fraction | None = None
        if over is period:
            within = {one: tally[f"up_to_{one:%Y_%m_%d}"] for one in dates}
            ratios = [Fraction(daily[one], within[one]) for one in dates if within[one]]
            value = sum(ratios, Fraction(0)) / len(ratios) if ratios else None
            formula = f"mean over {len(ratios)} days of users / users of the {window} days up to it"
        else:
            total = sum(daily.values())
            numerator = Fraction(total, len(dates))
            value = numerator / users if users else None
            formula = f"({total} user-days / {len(dates)} days) / {users} users of {window} days"
            if value is not None and not weekdays_only:
                assert Fraction(1, window) <= value <= 1, f"stickiness of {value}"
        return Metric(
            "stickiness",
            variant,
            None if value is None else 100 * value,
            "percent",
            "higher is better",
            numerator=numerator,
            denominator=None if over is period else users,
            n=users,
            undefined_because="nobody used anything" if value is None else None,
            parameters={"features": features, "weekdays_only": weekdays_only, "days": window},
            period=period,
            timezone=timezone,
            notes=(FEWER,) if 0 < users < FEW else (),
            formula=formula,
            **tally.counts,
        )

    judged = users_of(period, dates_of(wanted), many_of(period, "days", dates))
    return rows.measure(make, judged, by, times="times", users="count(*)", **there)


@metric(
    label="Logins per user and week",
    unit="logins per user and week",
    direction="higher is better",
    needs=("usage",),
    variants=("per_active_user",),
    theme="product",
)
def login_frequency(
    usage: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["per_active_user"] = "per_active_user",
    logins: tuple[str, ...] = LOGINS,
    timezone: str = "UTC",
) -> Metric:
    """Logins of a period over its active users and its weeks.

    Parameters
    ----------
    usage
        Events.
    period
        Its weeks are its days over 7.
    by, customers
        Columns to cut by; of customers when usage has no such column.
    variant
        There is one.
    logins
        Features that are logins; each row is one.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In logins per user and week. Its rows are user-days. Undefined when nobody was active, or
        when no login was ever recorded (0 would say that nobody came).

    Notes
    -----
    Single sign-on and long sessions hide logins: `active_days` is the better measure.

    References
    ----------
    reference/metrics.md 2.19.
    """
    rows = Rows(usage=usage, customers=customers)
    keep_users(rows, period, by, logins=logins)

    def make(tally: Tally) -> Metric:
        users, total = tally["users"], int(tally["logins"] or 0)
        weeks = Fraction(period.days, 7)
        reason = None
        if not total:
            reason = "no login was recorded" if users else "nobody was active"
        return Metric(
            "login_frequency",
            variant,
            None if reason else total / (users * weeks),
            "logins per user and week",
            "higher is better",
            numerator=total,
            denominator=users * weeks,
            n=users,
            undefined_because=reason,
            parameters={"logins": logins},
            period=period,
            timezone=timezone,
            notes=(FEWER,) if 0 < users < FEW else (),
            formula=f"{total} logins / {users} active users / ({period.days} days / 7)",
            **tally.counts,
        )

    return rows.measure(
        make,
        users_of(period, dates_of(period), many_of(period, "login_days", dates_of(period))),
        by,
        times="times",
        logins="sum(logins)",
        users="count(*)",
    )


@metric(
    label="Days active of 28",
    unit="percent",
    direction="higher is better",
    needs=("usage",),
    variants=("per_active_user",),
    theme="product",
)
def active_days(
    usage: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["per_active_user"] = "per_active_user",
    timezone: str = "UTC",
) -> Metric:
    """Share of the last 28 days on which an active user was there, above 0 to 100 percent.

    Parameters
    ----------
    usage
        Events.
    period
        The 28 days up to its last day count.
    by, customers
        Columns to cut by; of customers when usage has no such column.
    variant
        There is one.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent: user-days over users x 28. Its rows are user-days. Undefined when nobody was
        active.

    References
    ----------
    reference/metrics.md 2.19.
    """
    rows = Rows(usage=usage, customers=customers)
    keep_users(rows, period, by)
    wanted = Period(period.end - timedelta(28), period.end)

    def make(tally: Tally) -> Metric:
        users, total = tally["users"], tally.used
        return Metric(
            "active_days",
            variant,
            Fraction(100 * total, 28 * users) if users else None,
            "percent",
            "higher is better",
            numerator=total,
            denominator=28 * users,
            n=users,
            undefined_because=None if users else "nobody was active",
            parameters={"of_days": 28},
            period=period,
            timezone=timezone,
            notes=(FEWER,) if 0 < users < FEW else (),
            formula=f"{total} user-days / ({users} active users x 28 days)",
            **tally.counts,
        )

    judged = users_of(period, dates_of(wanted), "times")
    return rows.measure(make, judged, by, times="times", users="count(*)")


@metric(
    label="Length of a session",
    unit="minutes",
    direction="neither",
    needs=("usage",),
    variants=("mean",),
    theme="product",
)
def session_length(
    usage: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["mean"] = "mean",
    timeout_minutes: int = 30,
    timezone: str = "UTC",
) -> Metric:
    """Mean minutes from the first to the last event of a session.

    Parameters
    ----------
    usage
        Events; they last for their `duration_s` where it is there, else no time.
    period
        Sessions that begin in it count, with the minutes that end in it.
    by, customers
        Columns to cut by; of customers when usage has no such column.
    variant
        There is one: a ratio of sums.
    timeout_minutes
        Longest pause within a session; a pause of exactly so long does not end it. 30 is usual on
        the web, 5 on telephones.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In minutes, 0 for sessions of one event. Its rows are user-days. Undefined without sessions.

    References
    ----------
    reference/metrics.md 2.19.

    Examples
    --------
    >>> import pandas as pd
    >>> events = pd.DataFrame({"customer_id": "a", "occurred_at": pd.to_datetime(
    ...     ["2026-10-01T09:00", "2026-10-01T09:10", "2026-10-01T09:35", "2026-10-01T10:20"])})
    >>> [session_length(events, Period.month("2026-10"), timeout_minutes=one).display()
    ...  for one in (30, 60)]
    ['17.50', '80.00']
    """
    rows = Rows(usage=usage, customers=customers)
    keep_users(rows, period, by, timeout_minutes=timeout_minutes)

    def make(tally: Tally) -> Metric:
        sessions = int(tally["sessions"] or 0)
        minutes = Fraction(int(tally["busy"] or 0), 60 * MICROSECONDS)
        return Metric(
            "session_length",
            variant,
            minutes / sessions if sessions else None,
            "minutes",
            "neither",
            numerator=minutes,
            denominator=sessions,
            n=sessions,
            undefined_because=None if sessions else "no session began",
            parameters={
                "timeout_minutes": timeout_minutes,
                "durations": rows.has("usage", "duration_s"),
            },
            period=period,
            timezone=timezone,
            formula=f"{float(minutes):.1f} minutes / {sessions} sessions",
            **tally.counts,
        )

    dates = dates_of(period)
    judged = users_of(period, dates, many_of(period, "begun", dates))
    return rows.measure(
        make, judged, by, times="times", sessions="sum(sessions)", busy="sum(busy_us)"
    )


@metric(
    label="Time in the product per active user",
    unit="hours",
    direction="neither",
    needs=("usage",),
    variants=("per_active_user",),
    theme="product",
)
def time_in_product(
    usage: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["per_active_user"] = "per_active_user",
    timeout_minutes: int = 30,
    timezone: str = "UTC",
) -> Metric:
    """Hours that an active user spent in sessions; more may mean value, or struggle.

    Parameters
    ----------
    usage
        Events; they last for their `duration_s` where it is there, else no time.
    period
        Minutes that end in it count.
    by, customers
        Columns to cut by; of customers when usage has no such column.
    variant
        There is one.
    timeout_minutes
        Longest pause within a session; a pause of exactly so long does not end it.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In hours. Its rows are user-days. Undefined when nobody was active.

    References
    ----------
    reference/metrics.md 2.19.
    """
    rows = Rows(usage=usage, customers=customers)
    keep_users(rows, period, by, timeout_minutes=timeout_minutes)

    def make(tally: Tally) -> Metric:
        users = tally["users"]
        hours = Fraction(int(tally["busy"] or 0), 3600 * MICROSECONDS)
        return Metric(
            "time_in_product",
            variant,
            hours / users if users else None,
            "hours",
            "neither",
            numerator=hours,
            denominator=users,
            n=users,
            undefined_because=None if users else "nobody was active",
            parameters={
                "timeout_minutes": timeout_minutes,
                "durations": rows.has("usage", "duration_s"),
            },
            period=period,
            timezone=timezone,
            notes=(FEWER,) if 0 < users < FEW else (),
            formula=f"{float(hours):.1f} hours in sessions / {users} active users",
            **tally.counts,
        )

    judged = users_of(period, dates_of(period), "times")
    return rows.measure(make, judged, by, times="times", busy="sum(busy_us)", users="count(*)")


def engagement_score(adoption: float, stickiness: float, growth: float) -> float:
    """Mean of three shares in percent, as one vendor calls it: adoption, stickiness, growth.

    Examples
    --------
    >>> engagement_score(40, 25, 55)
    40.0

    References
    ----------
    reference/metrics.md 2.17.
    """
    return (adoption + stickiness + growth) / 3


PRODUCT = (
    active_users,
    stickiness,
    active_days,
    login_frequency,
    session_length,
    time_in_product,
)
