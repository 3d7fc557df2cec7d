"""Monthly recurring revenue: what a contract comes to per month, the level, and what moved it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.ledger import KINDS, measured
from retain.metrics.lifetime import Number, exact
from retain.metrics.period import Period
from retain.metrics.result import Metric, rounded
from retain.metrics.rows import By, Rows, Source, Tally, counted

__all__ = ["BILLING_MONTHS", "RECURRING", "money", "monthly_amount", "mrr", "mrr_movement"]

Instant = Literal["period_end", "period_start"]
Movement = Literal["net", "new", "expansion", "contraction", "churn", "reactivation"]
Weeks = Literal["52", "365.25/7"]
BILLING_MONTHS = {
    "monthly": 1,
    "quarterly": 3,
    "semiannual": 6,
    "annual": 12,
    "biennial": 24,
    "triennial": 36,
}
WEEKS_A_YEAR = {"52": Fraction(52), "365.25/7": Fraction(36525, 700)}
LOSSES = ("contraction", "churn")


def monthly_amount(
    amount: Number,
    billing_period: str,
    *,
    tax: Number = 0,
    recurring_discount: Number = 0,
    prorate_factor: Number = 1,
    weeks_a_year: Weeks = "52",
) -> Fraction:
    """Turn what is billed per period into currency per month.

    Parameters
    ----------
    amount
        Recurring amount of one billing period; one-off and set-up fees are no part of it.
    billing_period
        weekly, monthly, quarterly, semiannual, annual, biennial or triennial.
    tax, recurring_discount
        Parts of `amount` that are not revenue.
    prorate_factor
        Full period ÷ billed part of it, when only a part was billed.
    weeks_a_year
        How weekly amounts become months: 52 a year, or 365.25 days.

    Returns
    -------
    Fraction
        Currency per month, exact.

    Raises
    ------
    TableError
        When the billing period is unknown.

    References
    ----------
    reference/metrics.md 2.8.

    Examples
    --------
    >>> monthly_amount(2000, "annual")
    Fraction(500, 3)
    >>> [round(float(monthly_amount(10, "weekly", weeks_a_year=w)), 2) for w in ("52", "365.25/7")]
    [43.33, 43.48]
    """
    net = exact(amount, "amount") - exact(tax, "tax")
    net = (net - exact(recurring_discount, "discount")) * exact(prorate_factor, "prorate_factor")
    if billing_period == "weekly":
        if weeks_a_year not in WEEKS_A_YEAR:
            raise TableError(f"weeks_a_year should be '52' or '365.25/7'; found {weeks_a_year!r}")
        return net * WEEKS_A_YEAR[weeks_a_year] / 12
    if billing_period not in BILLING_MONTHS:
        raise TableError(
            f"billing_period should be one of weekly, {', '.join(BILLING_MONTHS)}; found "
            f"{billing_period!r}"
        )
    return net / BILLING_MONTHS[billing_period]


@metric(
    label="Monthly recurring revenue",
    unit="currency",
    direction="higher is better",
    needs=("subscriptions",),
    variants=("period_end", "period_start"),
    theme="revenue",
)
def mrr(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Instant = "period_end",
    timezone: str = "UTC",
) -> Metric:
    """Recurring revenue per month at an instant, in currency, with what moved it as its parts.

    Parameters
    ----------
    subscriptions
        Contract spans; `mrr` is net of tax and of recurring discounts.
    period
        Its movements are the parts.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        On the last day of the period, or on the eve of its first.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        Exact; `parts` has start, end and the movements between.

    Raises
    ------
    TableError
        When a column is missing.

    Notes
    -----
    Trials and free spans are left out. start + new + reactivation + expansion - contraction -
    churn = end is asserted for the whole, each segment and each customer. Nobody paying is 0.

    References
    ----------
    reference/metrics.md 2.8.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": ["a", "b"], "mrr": [100, 40], "ended_at": pd.NaT,
    ...                       "started_at": pd.to_datetime(["2026-01-01", "2026-10-09"])})
    >>> found = mrr(spans, Period.month("2026-10"))
    >>> found.display(), int(found.parts["new"])
    ('140.00', 40)
    """
    column = {"period_end": "mrr_end", "period_start": "mrr_start"}[variant]

    def make(tally: Tally) -> Metric:
        value, parts = money(tally[column]), _parts(tally)
        moved = " ".join(
            f"{'-' if kind in LOSSES else '+'} {rounded(parts[kind], 2):,} {kind}" for kind in KINDS
        )
        whole = f"{rounded(parts['start'], 2):,} {moved} = {rounded(parts['end'], 2):,}"
        return Metric(
            "mrr",
            variant,
            value,
            "currency",
            "higher is better",
            numerator=value,
            n=tally["paying"],
            period=period,
            timezone=timezone,
            parts=parts,
            formula=f"at the start {whole} at the end",
            **tally.counts,
        )

    rows = Rows(subscriptions=subscriptions, customers=customers)
    paying = f"{column} > 0"
    return measured(rows, period, make, by, above=paying, below=paying, paying=counted(paying))


@metric(
    label="Net new monthly recurring revenue",
    unit="currency",
    direction="higher is better",
    needs=("subscriptions",),
    variants=("net", *KINDS),
    theme="revenue",
)
def mrr_movement(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Movement = "net",
    timezone: str = "UTC",
) -> Metric:
    """Recurring revenue per month won or lost in a period, in currency.

    Parameters
    ----------
    subscriptions
        Contract spans; `mrr` is net of tax and of recurring discounts.
    period
        In which MRR moved.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        ``"net"`` change, or one kind of movement (see `mrr_ledger`); a kind is never negative.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        Exact; `parts` has start, end and all movements, `n` counts the customers who moved.

    Raises
    ------
    TableError
        When a column is missing.

    References
    ----------
    reference/metrics.md 2.8.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": ["a", "b"], "mrr": [100, 40],
    ...                       "started_at": pd.to_datetime(["2026-10-01", "2026-01-09"]),
    ...                       "ended_at": pd.to_datetime([None, "2026-10-20"])})
    >>> mrr_movement(spans, Period.month("2026-10")).display()
    '60.00'
    """
    moved = " OR ".join(f"{kind} > 0" for kind in KINDS) if variant == "net" else f"{variant} > 0"

    def make(tally: Tally) -> Metric:
        parts = _parts(tally)
        value = parts["end"] - parts["start"] if variant == "net" else parts[variant]
        return Metric(
            "mrr_movement",
            variant,
            value,
            "currency",
            "lower is better" if variant in LOSSES else "higher is better",
            numerator=value,
            n=tally["moved"],
            period=period,
            timezone=timezone,
            parts=parts,
            formula=f"{variant} MRR of {tally['moved']} customers from {period.label}",
            **tally.counts,
        )

    rows = Rows(subscriptions=subscriptions, customers=customers)
    below = "mrr_start > 0 OR mrr_end > 0"
    return measured(rows, period, make, by, above=moved, below=below, moved=counted(moved))


def money(amount: Decimal | None) -> Decimal:
    """Read a sum of money: over no rows it is 0."""
    return Decimal(0) if amount is None else amount


def _parts(tally: Tally) -> dict[str, Decimal]:
    ends = {"start": money(tally["mrr_start"]), "end": money(tally["mrr_end"])}
    return ends | {kind: money(tally[kind]) for kind in KINDS}


RECURRING = (mrr, mrr_movement)
