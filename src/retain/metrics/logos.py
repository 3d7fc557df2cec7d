"""How many customers leave: churn of customers (logos) by every definition in use, and who stays.

A customer leaves when all that it pays for has ended: one of two subscriptions ended is
contraction, a plan replaced on the day is nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import chain
from typing import Any, Literal, get_args

from retain.metrics.calculator import check_choice, metric
from retain.metrics.intervals import exact_share_interval, share_interval
from retain.metrics.ledger import REASONS, measured
from retain.metrics.period import Period
from retain.metrics.result import LOW_N, Metric, rounded
from retain.metrics.rows import By, Rows, Source, Tally, counted

__all__ = ["LOGOS", "annualised", "customer_churn_rate", "customer_retention_rate"]

ChurnVariant = Literal[
    "start_cohort_gross", "start_cohort_net", "stripe", "average_base", "mixed", "daily_sum"
]
Cohort = Literal["start_cohort_gross", "start_cohort_net"]
Reason = Literal["all", "voluntary", "involuntary", "unstated"]
Per = Literal["period", "year"]
Interval = Literal["wilson", "exact"]
# variant: who is counted above the line, who below, in words
COUNTED = {
    "start_cohort_gross": ("mrr_start > 0 AND churns > 0", "mrr_start > 0"),
    "start_cohort_net": ("mrr_start > 0 AND mrr_end = 0", "mrr_start > 0"),
    "stripe": ("churns > 0", "mrr_start > 0 OR len(join_days) > 0"),
    "average_base": ("churns > 0", "mrr_start > 0 OR len(join_days) > 0"),
    "mixed": ("churns > 0", "mrr_start > 0 OR len(join_days) > 0"),
    "daily_sum": ("churns > 0", "mrr_start > 0 OR len(join_days) > 0"),
}
SAID = {
    "start_cohort_gross": "customers at the start who left ÷ customers at the start",
    "start_cohort_net": "customers at the start who are gone at the end ÷ customers at the start",
    "stripe": "departures ÷ (customers at the start + joined)",
    "average_base": "customers who left ÷ mean of customers at start and end",
    "mixed": "customers who left, joiners among them ÷ customers at the start",
    "daily_sum": "sum over days of departures ÷ customers at the start of the day",
}


@metric(
    label="Customer churn rate",
    unit="percent",
    direction="lower is better",
    needs=("subscriptions",),
    variants=get_args(ChurnVariant),
    theme="customers",
)
def customer_churn_rate(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: ChurnVariant = "start_cohort_gross",
    reason: Reason = "all",
    per: Per = "period",
    interval: Interval = "wilson",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of customers who left in a period, in percent.

    Parameters
    ----------
    subscriptions
        Contract spans.
    period
        In which they left: `ended_at`, the first day without service, belongs to it.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        - ``start_cohort_gross``: of the customers at the start, those who left, back again or not.
        - ``start_cohort_net``: of the customers at the start, those who are gone at the end.
        - ``stripe``: departures, of joiners too and each time ÷ (at the start + joined).
        - ``average_base``: customers who left ÷ mean of the customers at start and end.
        - ``mixed``: customers who left, joiners too ÷ at the start; can pass 100 %.
        - ``daily_sum``: sum over the days of departures ÷ customers at the start of the day.
    reason
        Of the last departure of a customer: ``"voluntary"`` or ``"involuntary"`` as `end_reason`
        says, ``"unstated"`` otherwise; ``"all"`` is their sum.
    per
        ``"year"`` compounds it to twelve months: 1 - (1 - c)^12 for a month.
    interval, level
        Wilson's or the exact one (Clopper-Pearson), for the shares (the two cohorts, and Stripe's
        unless a customer left twice); its level in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent; `parts` has the reasons, and customers at start and end.

    Raises
    ------
    TableError
        When a column is missing, or a choice is unknown.

    Notes
    -----
    Without customers to lose it is undefined, not 0. Two definitions in circulation are not
    offered: leavers ÷ new customers, and the net change of the count.

    References
    ----------
    reference/metrics.md 2.7.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": range(4), "mrr": 10,
    ...                       "started_at": pd.Timestamp("2026-01-01"),
    ...                       "ended_at": pd.to_datetime(["2026-10-20", None, None, None])})
    >>> found = customer_churn_rate(spans, Period.month("2026-10"))
    >>> found.display(), found.ids().numerator
    ('25.0', ('0',))
    """
    name = "customer_churn_rate"
    check_choice(name, "reason", reason, ("all", *REASONS))
    check_choice(name, "per", per, get_args(Per))
    check_choice(name, "interval", interval, get_args(Interval))
    above, below = COUNTED[variant]
    wanted = above if reason == "all" else f"({above}) AND left_because = '{reason}'"
    of_events = variant in ("stripe", "daily_sum")

    def make(tally: Tally) -> Metric:
        lost = {name: int(tally[f"{name}_churns" if of_events else name] or 0) for name in REASONS}
        left = sum(lost.values()) if reason == "all" else lost[reason]
        denominator: int | Fraction | None = {
            "average_base": Fraction(tally["at_start"] + tally["at_end"], 2),
            "stripe": tally["below_line"],
            "daily_sum": None,
        }.get(variant, tally["at_start"])
        share: Fraction | float | None
        if variant == "daily_sum":
            share = _daily_sum(tally)
        else:
            share = Fraction(left) / denominator if denominator else None
        why = "no customers to lose"
        bounds = None
        if variant in ("start_cohort_gross", "start_cohort_net") or (
            variant == "stripe" and left == tally["left"]
        ):
            of = exact_share_interval if interval == "exact" else share_interval
            bounds = of(left, int(denominator or 0), level)
        if per == "year" and share is not None:
            if share > 1:
                share, bounds, why = None, None, "more left than were there, so nothing compounds"
            else:
                share = annualised(share, period)
                if bounds:
                    low, high = (float(annualised(bound, period)) for bound in bounds)
                    bounds = low, high
        return Metric(
            "customer_churn_rate",
            variant,
            None if share is None else 100 * share,
            "percent",
            "lower is better",
            numerator=None if variant == "daily_sum" else left,
            denominator=denominator,
            n=tally["below_line"],
            low=100 * bounds[0] if bounds else None,
            high=100 * bounds[1] if bounds else None,
            level=level if bounds else None,
            undefined_because=why if share is None else None,
            parameters={"reason": reason, "per": per, "interval": interval if bounds else None},
            period=period,
            timezone=timezone,
            parts={**lost, "at_start": tally["at_start"], "at_end": tally["at_end"]},
            notes=("low n",) if 0 < tally["below_line"] < LOW_N else (),
            formula=f"100 x {SAID[variant]}"
            + ("" if variant == "daily_sum" else f": {left} ÷ {_number(denominator)}")
            + (", compounded to a year" if per == "year" else ""),
            **tally.counts,
        )

    events = {}
    if of_events:  # each departure counts, under the reason of the customer's last one
        events = {
            f"{name}_churns": f"sum(CASE WHEN left_because = '{name}' THEN churns END)"
            for name in REASONS
        }
    if variant == "daily_sum":
        events |= {
            "days": "list(churn_days)",
            "join": "list(join_days)",
            "counting": f"list(CASE WHEN {wanted} THEN churn_days END)",
        }
    return _measured(subscriptions, period, make, by, customers, below, wanted, above, **events)


@metric(
    label="Customer retention rate",
    unit="percent",
    direction="higher is better",
    needs=("subscriptions",),
    variants=get_args(Cohort),
    theme="customers",
)
def customer_retention_rate(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Cohort = "start_cohort_gross",
    interval: Interval = "wilson",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of the customers at the start who stayed, in percent: 100 - churn of that cohort.

    Parameters
    ----------
    subscriptions
        Contract spans.
    period
        In which they stayed.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        ``start_cohort_gross``: never left; ``start_cohort_net``: there at the end.
    interval, level
        Wilson's or the exact interval, and its level in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent.

    Raises
    ------
    TableError
        When a column is missing, or a choice is unknown.

    Notes
    -----
    New customers never count. Without customers at the start it is undefined.

    References
    ----------
    reference/metrics.md 2.7.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": range(4), "mrr": 10,
    ...                       "started_at": pd.Timestamp("2026-01-01"),
    ...                       "ended_at": pd.to_datetime(["2026-10-20", None, None, None])})
    >>> customer_retention_rate(spans, Period.month("2026-10")).display()
    '75.0'
    """
    check_choice("customer_retention_rate", "interval", interval, get_args(Interval))
    above, below = COUNTED[variant]

    def make(tally: Tally) -> Metric:
        n = tally["at_start"]
        stayed = n - tally["left"]
        of = exact_share_interval if interval == "exact" else share_interval
        bounds = of(stayed, n, level)
        return Metric(
            "customer_retention_rate",
            variant,
            Fraction(100 * stayed, n) if n else None,
            "percent",
            "higher is better",
            numerator=stayed,
            denominator=n,
            n=n,
            low=100 * bounds[0] if bounds else None,
            high=100 * bounds[1] if bounds else None,
            level=level if bounds else None,
            undefined_because=None if n else "no customers to keep",
            parameters={"interval": interval},
            period=period,
            timezone=timezone,
            parts={"stayed": stayed, "left": tally["left"]},
            notes=("low n",) if 0 < n < LOW_N else (),
            formula=f"100 x customers at the start who stayed ÷ at the start: {stayed} ÷ {n}",
            **tally.counts,
        )

    return _measured(
        subscriptions, period, make, by, customers, below, f"({below}) AND NOT ({above})", above
    )


def annualised(share: Fraction | float, period: Period) -> Fraction | float:
    """Compound the share that leaves in a period to twelve months.

    Parameters
    ----------
    share
        Share that leaves in the period, in [0, 1].
    period
        Of how many months it is the share: whole months as such, else days ÷ (365.25 / 12).

    Returns
    -------
    Fraction or float
        Share that leaves in a year; exact where a year is a whole number of periods.

    Examples
    --------
    >>> round(float(annualised(Fraction(5, 100), Period.month("2026-10"))), 4)
    0.4596
    """
    months = Fraction(period.months or Fraction(period.days * 48, 1461))
    times = 12 / months
    if isinstance(share, Fraction) and times.denominator == 1:
        return 1 - (1 - share) ** times.numerator
    return float(1 - (1 - float(share)) ** float(times))


def _measured(
    subscriptions: Source,
    period: Period,
    make: Callable[[Tally], Metric],
    by: By,
    customers: Source | None,
    below: str,
    above: str,
    left: str,
    **aggregates: str,
) -> Metric:
    """Count the customers below the line, those at both ends, and those who left by reason."""
    reasons = {name: counted(f"({left}) AND left_because = '{name}'") for name in REASONS}
    return measured(
        Rows(subscriptions=subscriptions, customers=customers),
        period,
        make,
        by,
        above=above,
        below=below,
        below_line=counted(below),
        left=counted(left),
        at_start=counted("mrr_start > 0"),
        at_end=counted("mrr_end > 0"),
        **reasons,
        **aggregates,
    )


def _daily_sum(tally: Tally) -> Fraction | None:
    """Add up, day by day, departures ÷ customers at the start of the day; None without any."""
    left, joined, counting = (
        Counter(chain.from_iterable(days or () for days in tally[name] or ()))
        for name in ("days", "join", "counting")
    )
    there, total = tally["at_start"], Fraction(0)
    for day in sorted({*left, *joined}):
        if left[day]:  # who left on a day was there when it began
            total += Fraction(counting[day], there)
        there += joined[day] - left[day]
    return total if tally["below_line"] else None


def _number(value: Any) -> str:
    return f"{rounded(value, 1 if Fraction(value).denominator > 1 else 0):,}"


LOGOS = (customer_churn_rate, customer_retention_rate)
