"""What winning and keeping customers costs: CAC, value to cost, payback, cost of retention.

A line of the cost table belongs to the period that holds its day (the first of a month, quarter or
year that it is for). Lines that the gross margin already holds are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, get_args

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.ledger import keep_customers
from retain.metrics.lifetime import Number, exact
from retain.metrics.period import Period
from retain.metrics.recurring import money
from retain.metrics.result import Exact, Metric, rounded
from retain.metrics.rows import By, Rows, Source, Tally, word
from retain.metrics.value import arpa, clv

__all__ = [
    "SPENDING",
    "cac",
    "cac_payback",
    "customer_retention_cost",
    "ltv_to_cac",
]

Basis = Literal["margin", "revenue"]
RetentionCost = Literal["per_retained", "per_customer", "of_revenue"]
NOBODYS = "sum(CASE WHEN customer_id IS NULL THEN amount END)"  # costs of nobody in particular
DAY = """coalesce(CAST(date AS DATE), TRY_CAST(CASE
    WHEN regexp_matches(period, '^\\d{4}$') THEN period || '-01-01'
    WHEN regexp_matches(period, '^\\d{4}-\\d{2}$') THEN period || '-01'
    WHEN regexp_matches(period, '^\\d{4}-Q[1-4]$')
    THEN period[1:4] || '-' || lpad(CAST(3 * CAST(period[7:7] AS INTEGER) - 2 AS VARCHAR), 2, '0')
        || '-01' END AS DATE))"""


@metric(
    label="Cost of winning a customer",
    unit="currency",
    direction="lower is better",
    needs=("costs", "subscriptions"),
    variants=("new_customers",),
    theme="value",
)
def cac(
    costs: Source,
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["new_customers"] = "new_customers",
    kinds: tuple[str, ...] = ("acquisition",),
    lag_months: int = 0,
    timezone: str = "UTC",
) -> Metric:
    """Cost of acquisition ÷ new customers, in currency per customer.

    Parameters
    ----------
    costs
        Cost lines.
    subscriptions
        Contract spans: new are customers who pay for the first time.
    period
        In which customers were won.
    by
        Columns of customers to cut by; costs that are for nobody in particular have no segment.
    customers
        Needed to cut by their columns.
    variant
        There is one: new customers, not contracts.
    kinds
        Kinds of cost that are meant: media only, or sales and salaries too.
    lag_months
        How many months earlier the money was spent than the customers were won.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        Exact; undefined without new customers, and by segment when some costs name no customer.
        Its rows are cost lines and new customers.

    Raises
    ------
    TableError
        When a column is missing, or the lag is negative or does not fit the period.

    References
    ----------
    reference/metrics.md 2.13.

    Examples
    --------
    >>> import pandas as pd
    >>> spent = pd.DataFrame({"period": ["2026-10"], "kind": "acquisition", "amount": 600})
    >>> spans = pd.DataFrame({"customer_id": ["a", "b"], "mrr": 100, "ended_at": pd.NaT,
    ...                       "started_at": pd.to_datetime(["2026-01-01", "2026-10-05"])})
    >>> cac(spent, spans, Period.month("2026-10")).display()
    '600.00'
    """
    rows = Rows(costs=costs, subscriptions=subscriptions, customers=customers)
    _days_known(rows)
    keep_customers(rows, period, by)
    spent_in = _earlier(period, lag_months)
    new = f"""
        SELECT customer_id, id, 1 AS below, 0 AS part FROM mrr_customers
        WHERE first_day >= DATE '{period.start}' AND first_day < DATE '{period.end}'"""

    nobodys: list[Decimal] = []

    def make(tally: Tally) -> Metric:
        spent, n = money(tally["spent"]), int(tally["below"] or 0)
        unknown = _not_split(tally, nobodys)
        return Metric(
            "cac",
            variant,
            Fraction(spent) / n if n and not unknown else None,
            "currency",
            "lower is better",
            numerator=spent,
            denominator=n,
            n=n,
            undefined_because=unknown if n else "no new customers",
            parameters={"kinds": kinds, "lag_months": lag_months, "spent_in": spent_in.label},
            period=period,
            timezone=timezone,
            formula=f"cost of {', '.join(kinds)} ÷ new customers: {rounded(spent, 2):,} ÷ {n:,}",
            **tally.counts,
        )

    return rows.measure(
        make,
        _lines(kinds, spent_in, new),
        by,
        spent="sum(amount)",
        below="sum(below)",
        nobodys=NOBODYS,
    )


@metric(
    label="Lifetime value to cost of winning",
    unit="ratio",
    direction="higher is better",
    needs=("costs", "subscriptions"),
    variants=get_args(Basis),
    theme="value",
)
def ltv_to_cac(
    costs: Source,
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Basis = "margin",
    gross_margin: Number | None = None,
    kinds: tuple[str, ...] = ("acquisition",),
    lag_months: int = 0,
    churn_months: int = 6,
    timezone: str = "UTC",
) -> Metric:
    """Lifetime value of a customer ÷ cost of winning one.

    Parameters
    ----------
    costs
        Cost lines.
    subscriptions
        Contract spans.
    period
        The month.
    by
        Columns of customers to cut by.
    customers
        Needed to cut by their columns.
    variant
        Value on ``"margin"`` (`clv`, margin_over_churn) or on ``"revenue"`` (arpa_over_churn),
        which flatters.
    gross_margin
        Share of revenue, for ``"margin"``.
    kinds, lag_months
        As for `cac`.
    churn_months
        As for `clv`.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        A ratio, exact. That it should be 3 is a convention, not a test.

    Raises
    ------
    TableError
        When a column is missing, or a choice is unknown.

    References
    ----------
    reference/metrics.md 2.13.

    Examples
    --------
    >>> import pandas as pd
    >>> spent = pd.DataFrame({"period": ["2026-10"], "kind": "acquisition", "amount": 60})
    >>> spans = pd.DataFrame({
    ...     "customer_id": ["a", "b", "c"], "mrr": 90,
    ...     "started_at": pd.to_datetime(["2026-01-01", "2026-01-01", "2026-10-05"]),
    ...     "ended_at": pd.to_datetime(["2026-09-20", None, None])})
    >>> # worth 90 ÷ (1 lost of 6 x 2), won for 60
    >>> ltv_to_cac(spent, spans, Period.month("2026-10"), variant="revenue").display()
    '18.00'
    """
    worth = clv(
        subscriptions,
        period,
        by=by,
        customers=customers,
        variant="margin_over_churn" if variant == "margin" else "arpa_over_churn",
        gross_margin=gross_margin,
        churn_months=churn_months,
    )
    cost = cac(
        costs,
        subscriptions,
        period,
        by=by,
        customers=customers,
        kinds=kinds,
        lag_months=lag_months,
        timezone=timezone,
    )

    def ratio(value: Exact, spent: Exact) -> Fraction | None:
        return Fraction(value) / Fraction(spent) if spent else None

    return _of_both(
        cost,
        worth,
        ratio,
        name="ltv_to_cac",
        variant=variant,
        unit="ratio",
        direction="higher is better",
        parts=("lifetime_value", "cac"),
        nothing="nothing was spent on winning customers",
        parameters={**cost.parameters, "gross_margin": gross_margin, "churn_months": churn_months},
    )


@metric(
    label="Months until a customer has paid for itself",
    unit="months",
    direction="lower is better",
    needs=("costs", "subscriptions"),
    variants=get_args(Basis),
    theme="value",
)
def cac_payback(
    costs: Source,
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Basis = "margin",
    gross_margin: Number | None = None,
    kinds: tuple[str, ...] = ("acquisition",),
    lag_months: int = 0,
    timezone: str = "UTC",
) -> Metric:
    """Cost of winning a customer ÷ what it brings per month.

    Parameters
    ----------
    costs
        Cost lines.
    subscriptions
        Contract spans.
    period
        The month.
    by
        Columns of customers to cut by.
    customers
        Needed to cut by their columns.
    variant
        Brings ``"margin"``: ARPA x gross margin; or ``"revenue"``, which flatters.
    gross_margin
        Share of revenue, for ``"margin"``.
    kinds, lag_months
        As for `cac`.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        Months, exact; undefined when customers bring nothing.

    Raises
    ------
    TableError
        When a column is missing, or a choice is unknown.

    References
    ----------
    reference/metrics.md 2.13.

    Examples
    --------
    >>> import pandas as pd
    >>> spent = pd.DataFrame({"period": ["2026-10"], "kind": "acquisition", "amount": 200})
    >>> spans = pd.DataFrame({"customer_id": ["a"], "mrr": 100, "ended_at": pd.NaT,
    ...                       "started_at": pd.Timestamp("2026-10-05")})
    >>> cac_payback(spent, spans, Period.month("2026-10"), gross_margin=0.8).display()
    '2.50'
    """
    base = arpa(subscriptions, period, by=by, customers=customers, timezone=timezone)
    cost = cac(
        costs,
        subscriptions,
        period,
        by=by,
        customers=customers,
        kinds=kinds,
        lag_months=lag_months,
        timezone=timezone,
    )
    kept: Number = 1 if variant == "revenue" else gross_margin if gross_margin is not None else 0
    margin = exact(kept, "gross_margin")

    def months(brought: Exact, spent: Exact) -> Fraction | None:
        per_month = Fraction(brought) * margin
        return Fraction(spent) / per_month if per_month > 0 else None

    return _of_both(
        cost,
        base,
        months,
        name="cac_payback",
        variant=variant,
        unit="months",
        direction="lower is better",
        parts=("arpa", "cac"),
        nothing="gross_margin is not given"
        if variant == "margin" and gross_margin is None
        else "customers bring nothing",
        parameters={**cost.parameters, "gross_margin": gross_margin},
    )


@metric(
    label="Cost of keeping customers",
    unit="currency",
    direction="lower is better",
    needs=("costs", "subscriptions"),
    variants=get_args(RetentionCost),
    theme="value",
)
def customer_retention_cost(
    costs: Source,
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: RetentionCost = "per_retained",
    kinds: tuple[str, ...] = ("retention",),
    timezone: str = "UTC",
) -> Metric:
    """Spending on keeping customers, per customer kept, per customer, or of revenue.

    Parameters
    ----------
    costs
        Cost lines; those that are `already_in_cogs` are left out.
    subscriptions
        Contract spans.
    period
        In which the money was spent.
    by
        Columns of customers to cut by; costs that are for nobody in particular have no segment.
    customers
        Needed to cut by their columns.
    variant
        ``per_retained``: ÷ customers at the start who never left; ``per_customer``: ÷ customers
        paying at the end; ``of_revenue``: in percent of the recurring revenue of the period.
    kinds
        Kinds of cost that are meant.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        Exact, in currency per customer or percent; undefined by segment when some costs name no
        customer. Its rows are cost lines and those below the line: customers, or contract spans.

    Raises
    ------
    TableError
        When a column is missing, or a choice is unknown.

    Notes
    -----
    Recurring revenue of a period is MRR x its days with service ÷ days of the calendar month.

    References
    ----------
    reference/metrics.md 2.12.

    Examples
    --------
    >>> import pandas as pd
    >>> spent = pd.DataFrame({"period": ["2026-10"], "kind": "retention", "amount": 20})
    >>> spans = pd.DataFrame({"customer_id": ["a", "b"], "mrr": [100, 150],
    ...                       "started_at": pd.Timestamp("2026-01-01"), "ended_at": pd.NaT})
    >>> [customer_retention_cost(spent, spans, Period.month("2026-10"), variant=v).display()
    ...  for v in ("per_retained", "of_revenue")]
    ['10.00', '8.0']
    """
    rows = Rows(costs=costs, subscriptions=subscriptions, customers=customers)
    _days_known(rows)
    spans = keep_customers(rows, period, by)
    months = _months_of(period) if variant == "of_revenue" else []
    if months:
        parts = ", ".join(
            f"amount * greatest(0, least(end_day, DATE '{end}') - greatest(start_day, "
            f"DATE '{start}')) AS m{at}"
            for at, (start, end, _) in enumerate(months)
        )
        below = f"""SELECT customer_id, coalesce(id, customer_id) AS id, 0 AS below, {parts}
            FROM ({spans}) WHERE excluded_because IS NULL AND end_day > DATE '{period.start}'"""
    else:
        held = "mrr_start > 0 AND churns = 0" if variant == "per_retained" else "mrr_end > 0"
        below = f"SELECT customer_id, id, 1 AS below, 0 AS part FROM mrr_customers WHERE {held}"
    said = {
        "per_retained": "customers kept",
        "per_customer": "customers",
        "of_revenue": "recurring revenue",
    }[variant]

    nobodys: list[Decimal] = []

    def make(tally: Tally) -> Metric:
        spent = money(tally["spent"])
        of: Exact = int(tally["below"] or 0)
        if months:
            of = sum(
                (Fraction(tally[f"m{at}"] or 0) / days for at, (_, _, days) in enumerate(months)),
                Fraction(0),
            )
        factor = 100 if variant == "of_revenue" else 1
        unknown = _not_split(tally, nobodys)
        return Metric(
            "customer_retention_cost",
            variant,
            factor * Fraction(spent) / Fraction(of) if of and not unknown else None,
            "percent" if variant == "of_revenue" else "currency",
            "lower is better",
            numerator=spent,
            denominator=of,
            n=tally.used,
            undefined_because=unknown if of else f"no {said}",
            parameters={"kinds": kinds},
            period=period,
            timezone=timezone,
            formula=f"cost of {', '.join(kinds)} ÷ {said}: {rounded(spent, 2):,} ÷ "
            f"{rounded(of, 2 if months else 0):,}",
            **tally.counts,
        )

    sums = {f"m{at}": f"sum(m{at})" for at in range(len(months))}
    return rows.measure(
        make,
        _lines(kinds, period, below),
        by,
        spent="sum(amount)",
        below="sum(below)",
        nobodys=NOBODYS,
        **sums,
    )


def _not_split(tally: Tally, nobodys: list[Decimal]) -> str | None:
    """Say why a segment's cost is not known: some of the whole's, told first, names no customer."""
    if not nobodys:
        nobodys.append(money(tally["nobodys"]))
    if not tally.by or not nobodys[0]:
        return None
    return f"{rounded(nobodys[0], 2):,} of the costs name no customer, so no segment has its own"


def _lines(kinds: tuple[str, ...], period: Period, below: str) -> str:
    """Write the cost lines of a period, judged, and under them those who are divided by."""
    meant = ", ".join(word(kind) for kind in kinds)
    day = f"CAST({DAY} AS TIMESTAMP)"
    return f"""
        SELECT *, CAST(NULL AS VARCHAR) AS excluded_because, false AS is_numerator,
            CAST(NULL AS DECIMAL(18, 6)) AS amount FROM ({below})
        UNION ALL BY NAME
        SELECT customer_id, amount,
            kind || ' ' || coalesce(CAST({DAY} AS VARCHAR), 'undated') AS id,
            CASE WHEN {DAY} IS NULL THEN 'no day' WHEN amount IS NULL THEN 'no amount'
                 WHEN already_in_cogs THEN 'already in cost of goods' END AS excluded_because,
            excluded_because IS NULL AS is_numerator
        FROM costs WHERE kind IN ({meant}) AND ({DAY} IS NULL OR {period.holds(day)})"""


def _days_known(rows: Rows) -> None:
    if not rows.has("costs", "date"):
        rows.require("costs", "period")


def _earlier(period: Period, lag_months: int) -> Period:
    """Step back by whole months."""
    if lag_months == 0:
        return period
    if lag_months < 0 or not period.months:
        raise TableError(
            "cac: lag_months should not be negative, and needs a period of whole months; found "
            f"{lag_months} and {period.label}"
        )
    start = Period.month(f"{period.start:%Y-%m}").previous(lag_months).start
    end = Period.month(f"{period.end:%Y-%m}").previous(lag_months).start
    return Period(start, end)


def _months_of(period: Period) -> list[tuple[date, date, int]]:
    """Cut a period at calendar months: first day, first day after, days of the whole month."""
    cut = []
    start = period.start
    while start < period.end:
        month = Period.month(f"{start:%Y-%m}")
        cut.append((start, min(month.end, period.end), month.days))
        start = min(month.end, period.end)
    return cut


def _of_both(
    cost: Metric,
    base: Metric,
    combine: Callable[[Exact, Exact], Fraction | None],
    *,
    name: str,
    variant: str,
    unit: str,
    direction: Literal["higher is better", "lower is better"],
    parts: tuple[str, str],
    nothing: str,
    parameters: Mapping[str, Any],
) -> Metric:
    """Combine the cost of winning a customer with what one is worth, for whole and segments."""
    bases = {tuple(one.by.items()): one for one in (base, *base.segments)}

    def make(one: Metric) -> Metric:
        other = bases.get(tuple(one.by.items()))
        value, why = None, one.undefined_because
        found: dict[str, Exact] = {}
        if other is None or other.value is None:
            why = (other and other.undefined_because) or "no contracts"
        elif one.value is not None:
            worth, spent = Fraction(other.value), Fraction(one.value)
            found = dict(zip(parts, (worth, spent), strict=True))
            value = combine(worth, spent)
            why = nothing if value is None else None
        return replace(
            one,
            name=name,
            variant=variant,
            value=value,
            unit=unit,
            direction=direction,
            numerator=None,
            denominator=None,
            undefined_because=why,
            parameters=parameters,
            parts=found,
            notes=other.notes if other else (),
            formula=f"{parts[0]} and {parts[1]}: "
            + " and ".join(f"{rounded(part, 2):,}" for part in found.values()),
            segments=(),
        )

    return make(cost).divided_into(make(one) for one in cost.segments)


SPENDING = (cac, ltv_to_cac, cac_payback, customer_retention_cost)
