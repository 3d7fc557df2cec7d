"""What a customer brings per month, is worth by formula, and what one point of churn is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, get_args

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.ledger import measured
from retain.metrics.lifetime import Number, clv_formula, exact
from retain.metrics.logos import annualised
from retain.metrics.period import Period
from retain.metrics.recurring import money
from retain.metrics.result import Metric, rounded
from retain.metrics.rows import By, Rows, Source, Tally, counted

__all__ = ["VALUE", "arpa", "clv", "predicted_clv", "retention_break_even"]

ClvOnData = Literal[
    "arpa_over_churn",
    "margin_over_churn",
    "net_of_service",
    "discounted_end",
    "discounted_now",
    "finite_horizon",
]
Sum = Literal["sum", "mean"]
BreakEven = Literal["lifetime", "next_year"]
ONE_RATE = "one churn rate for all: where customers differ, their mean value is higher"


@metric(
    label="Revenue per account",
    unit="currency",
    direction="higher is better",
    needs=("subscriptions",),
    variants=("period_end",),
    theme="revenue",
)
def arpa(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["period_end"] = "period_end",
    timezone: str = "UTC",
) -> Metric:
    """MRR ÷ paying customers on the last day of a period: currency per customer and month.

    Parameters
    ----------
    subscriptions
        Contract spans.
    period
        On whose last day both are taken.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        There is one.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        Exact; undefined when nobody pays. Free customers are left out of both.

    Raises
    ------
    TableError
        When a column is missing.

    References
    ----------
    reference/metrics.md 2.10.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": ["a", "b"], "mrr": [100, 40], "ended_at": pd.NaT,
    ...                       "started_at": pd.Timestamp("2026-01-01")})
    >>> arpa(spans, Period.month("2026-10")).display()
    '70.00'
    """

    def make(tally: Tally) -> Metric:
        total, paying = money(tally["mrr_end"]), tally["paying"]
        return Metric(
            "arpa",
            variant,
            Fraction(total) / paying if paying else None,
            "currency",
            "higher is better",
            numerator=total,
            denominator=paying,
            n=paying,
            undefined_because=None if paying else "nobody pays",
            period=period,
            timezone=timezone,
            formula=f"MRR ÷ paying customers: {rounded(total, 2):,} ÷ {paying:,}",
            **tally.counts,
        )

    rows = Rows(subscriptions=subscriptions, customers=customers)
    pays = "mrr_end > 0"
    return measured(rows, period, make, by, above=pays, below=pays, paying=counted(pays))


@metric(
    label="Customer lifetime value by formula",
    unit="currency",
    direction="higher is better",
    needs=("subscriptions",),
    variants=get_args(ClvOnData),
    theme="value",
)
def clv(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: ClvOnData = "arpa_over_churn",
    gross_margin: Number | None = None,
    cost_to_serve: Number | None = None,
    monthly_discount: Number = 0,
    horizon_months: int = 60,
    churn_months: int = 6,
    timezone: str = "UTC",
) -> Metric:
    """Lifetime value of an average customer by a named formula, in currency.

    Parameters
    ----------
    subscriptions
        Contract spans: revenue per account at the end of the period, and churn before it.
    period
        The month.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        A formula of `clv_formula`.
    gross_margin
        Share of revenue, at most 1; needed by all but ``arpa_over_churn`` and ``net_of_service``.
    cost_to_serve
        Currency per customer and month; needed by ``net_of_service``.
    monthly_discount
        Share per month; for the discounted forms.
    horizon_months
        For ``finite_horizon``.
    churn_months
        Monthly churn of customers is that of so many whole months before the period's month.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        Exact; undefined without churn in those months, or without a parameter that it needs.

    Raises
    ------
    TableError
        When a column is missing, or a parameter is out of its range.

    Notes
    -----
    Monthly churn is the sum of customers lost ÷ the sum of customers at the start of each month
    (variant ``start_cohort_gross``). Cost of acquisition is not subtracted. Predictions per
    customer are another metric, `predicted_clv`.

    References
    ----------
    reference/metrics.md 2.11.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": range(4), "mrr": 90,
    ...                       "started_at": pd.Timestamp("2026-01-01"),
    ...                       "ended_at": pd.to_datetime(["2026-09-20", None, None, None])})
    >>> found = clv(spans, Period.month("2026-10"))  # 1 lost of 6 x 4 at the start of the months
    >>> found.display(), found.parts["monthly_churn"]
    ('2,160.00', Fraction(1, 24))
    """
    given: dict[str, Number | None] = {"gross_margin": gross_margin, "cost_to_serve": cost_to_serve}
    needs = {"arpa_over_churn": (), "net_of_service": ("cost_to_serve",)}.get(
        variant, ("gross_margin",)
    )
    missing = [name for name in needs if given[name] is None]
    churn = _monthly_churn(subscriptions, period, by, customers, churn_months)

    def make(base: Metric) -> Metric:
        rate = churn.get(tuple(base.by.items()))
        mean = None if base.value is None else Fraction(base.value)
        value, why, formula = None, base.undefined_because, base.formula
        if missing:
            why = f"{' and '.join(missing)} is not given"
        elif rate is None:
            why = "no customers in the months before, so no churn rate"
        elif mean is not None:
            worth = clv_formula(variant, **_arguments(mean, rate))
            value, why, formula = worth.value, worth.undefined_because, worth.formula
        return replace(
            base,
            name="clv",
            variant=variant,
            value=value,
            numerator=None,
            denominator=None,
            undefined_because=why,
            parameters={**given, "monthly_discount": monthly_discount}
            | {"horizon_months": horizon_months, "churn_months": churn_months},
            parts={
                name: part
                for name, part in (("arpa", mean), ("monthly_churn", rate))
                if part is not None
            },
            notes=(ONE_RATE, *(("revenue, not margin",) if not needs else ())),
            formula=formula,
            segments=(),
        )

    def _arguments(mean: Fraction, rate: Fraction) -> dict[str, Any]:
        margin = mean * exact(gross_margin or 0, "gross_margin")
        discounted = {"margin": margin, "retention": 1 - rate, "discount": monthly_discount}
        per_variant: dict[str, dict[str, Any]] = {
            "arpa_over_churn": {"arpa": mean, "monthly_churn": rate},
            "margin_over_churn": {
                "arpa": mean,
                "gross_margin": gross_margin,
                "monthly_churn": rate,
            },
            "net_of_service": {
                "arpa": mean,
                "cost_to_serve": cost_to_serve,
                "monthly_churn": rate,
            },
            "finite_horizon": {**discounted, "periods": horizon_months},
        }
        return per_variant.get(variant, discounted)

    base = arpa(subscriptions, period, by=by, customers=customers, timezone=timezone)
    return _on_each(base, make)


@metric(
    label="Predicted customer lifetime value",
    unit="currency",
    direction="higher is better",
    needs=("scores",),
    variants=get_args(Sum),
    theme="value",
)
def predicted_clv(
    scores: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Sum = "sum",
    timezone: str = "UTC",
) -> Metric:
    """Sum of what customers are predicted to bring within the model's horizon, in currency.

    Parameters
    ----------
    scores
        One row per customer with `customer_id` and `clv`, as the weekly scoring writes them.
    period
        For which they are shown, for the record.
    by
        Columns of scores or of customers to cut by.
    customers
        Needed to cut by their columns.
    variant
        The ``"sum"`` over customers or their ``"mean"``.
    timezone
        For the record.

    Returns
    -------
    Metric
        Exact sum of the predictions, each rounded to a millionth. It has no interval: the
        customers' own do not add up to one.

    Raises
    ------
    TableError
        When a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> scores = pd.DataFrame({"customer_id": ["a", "b", "c"], "clv": [800.0, 200.0, None]})
    >>> found = predicted_clv(scores, Period.month("2026-10"))
    >>> found.display(), found.excluded
    ('1,000.00', {'no prediction': 1})
    """
    rows = Rows(scores=scores, customers=customers)
    rows.require("scores", "customer_id", "clv")

    def make(tally: Tally) -> Metric:
        total, n = money(tally["total"]), tally.used
        value: Fraction | Decimal | None = None
        if n:
            value = total if variant == "sum" else Fraction(total) / n
        return Metric(
            "predicted_clv",
            variant,
            value,
            "currency",
            "higher is better",
            numerator=total,
            denominator=n,
            n=n,
            undefined_because="no customer has a prediction" if value is None else None,
            period=period,
            timezone=timezone,
            formula=f"{variant} of the predictions for {n:,} customers",
            **tally.counts,
        )

    judged = """
        SELECT * EXCLUDE (customer_id), CAST(customer_id AS VARCHAR) AS customer_id,
            CAST(customer_id AS VARCHAR) AS id, TRY_CAST(clv AS DECIMAL(18, 6)) AS amount,
            amount IS NOT NULL AS is_numerator,
            CASE WHEN amount IS NULL THEN 'no prediction'
                 WHEN row_number() OVER (PARTITION BY customer_id, amount IS NULL
                                         ORDER BY amount) > 1
                 THEN 'repeated customer' END AS excluded_because
        FROM scores"""
    return rows.measure(make, judged, by, total="sum(amount)")


@metric(
    label="Worth of a point of churn",
    unit="currency",
    direction="higher is better",
    needs=("subscriptions",),
    variants=get_args(BreakEven),
    theme="value",
)
def retention_break_even(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: BreakEven = "lifetime",
    gross_margin: Number | None = None,
    points: Number = 1,
    churn_months: int = 6,
    timezone: str = "UTC",
) -> Metric:
    """Worth of so many points less churn a year, for this base: the most that may be spent on it.

    Parameters
    ----------
    subscriptions
        Contract spans: MRR and paying customers at the end of the period, and churn before it.
    period
        The month.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        ``lifetime``: margin of the base per year x the gain in expected years, 1/(C - p) - 1/C for
        a churn of C a year and p points less; ``next_year``: a year's margin of the customers
        kept, p of the base.
    gross_margin
        Share of revenue, at most 1.
    points
        Percentage points of churn per year, above 0.
    churn_months
        Churn is that of so many whole months before the period's month, compounded to a year.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        Currency for the whole base, exact, not discounted; `parts` has it per customer, the churn
        a year and the relative gain in lifetime. Undefined without margin, without churn, or when
        churn is not above the points.

    Raises
    ------
    TableError
        When a column is missing, or `points` is not above 0.

    Notes
    -----
    "Five per cent more retention brings 95 % more profit" is this arithmetic at one place: five
    points lift the expected lifetime by 14 % where 60 % stay, 33 % where 80 % stay, 100 % where
    90 % stay (see `lifetime_lift`).

    References
    ----------
    reference/metrics.md 6.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": range(100), "mrr": 100, "ended_at": pd.NaT,
    ...                       "started_at": pd.Timestamp("2026-01-01")})
    >>> retention_break_even(spans, Period.month("2026-10"), gross_margin=0.8,
    ...                      variant="next_year").display()  # 1 % of 100 x 100 x 12 x 0.8
    '960.00'
    """
    share = exact(points, "points") / 100
    if share <= 0:
        raise TableError(f"retention_break_even: points should be above 0; found {points}")
    margin = None if gross_margin is None else exact(gross_margin, "gross_margin")
    churn: dict[tuple[tuple[str, str], ...], Fraction] = {}
    if variant == "lifetime":
        churn = _monthly_churn(subscriptions, period, by, customers, churn_months)

    def make(base: Metric) -> Metric:
        monthly = churn.get(tuple(base.by.items()))
        value, why, parts = None, None, {}
        a_year = Fraction(base.numerator or 0) * 12 * (margin or 0)
        if margin is None:
            why = "gross_margin is not given"
        elif base.value is None:
            why = base.undefined_because
        elif variant == "next_year":
            value = a_year * share
        elif not monthly:
            why = "nobody left in the months before: lifetime has no end"
        else:
            yearly = Fraction(annualised(monthly, Period.month("2026-01")))
            parts["yearly_churn"] = yearly
            if yearly <= share:
                why = f"churn of a year, {rounded(100 * yearly, 1)} %, is not above {points} points"
            else:
                value = a_year * (1 / (yearly - share) - 1 / yearly)
                parts["lifetime_lift"] = yearly / (yearly - share) - 1
        if value is not None:
            parts["per_customer"] = value / Fraction(base.denominator or 1)
        return replace(
            base,
            name="retention_break_even",
            variant=variant,
            value=value,
            numerator=None,
            denominator=None,
            undefined_because=why,
            parameters={
                "gross_margin": gross_margin,
                "points": points,
                "churn_months": churn_months,
            },
            parts={"margin_a_year": a_year, **parts},
            formula=f"margin of the base per year, {rounded(a_year, 2):,}, x "
            + (f"{points} %" if variant == "next_year" else "gain in expected years"),
            segments=(),
        )

    base = arpa(subscriptions, period, by=by, customers=customers, timezone=timezone)
    return _on_each(base, make)


def _monthly_churn(
    subscriptions: Source, period: Period, by: By, customers: Source | None, churn_months: int
) -> dict[tuple[tuple[str, str], ...], Fraction]:
    """Divide customers lost by customers at the start, summed over months, by segment."""
    if churn_months < 1:
        raise TableError(f"churn_months should be at least 1; found {churn_months}")
    this = Period.month(f"{period.start:%Y-%m}")
    months = [this.previous(back) for back in range(churn_months, 0, -1)]
    there, lost = [], []
    for month in months:
        first, end = f"DATE '{month.start}'", f"DATE '{month.end}'"
        before = " - ".join(
            f"len(list_filter({days}, lambda day: day < {first}))"
            for days in ("join_days", "churn_days")
        )
        at_start = f"(CAST(mrr_start > 0 AS INTEGER) + {before})"
        left = f"list_filter(churn_days, lambda day: day >= {first} AND day < {end})"
        there.append(at_start)
        lost.append(f"CASE WHEN len({left}) > 0 THEN {at_start} ELSE 0 END")

    def make(tally: Tally) -> Metric:
        n = int(tally["there"] or 0)
        return Metric(
            "monthly_churn",
            "start_cohort_gross",
            Fraction(int(tally["lost"]), n) if n else None,
            "share",
            "lower is better",
            undefined_because=None if n else "no customers",
            **tally.counts,
        )

    found = measured(
        Rows(subscriptions=subscriptions, customers=customers),
        Period(months[0].start, this.start),
        make,
        by,
        above="churns > 0",
        below="mrr_start > 0",
        there=f"sum({' + '.join(there)})",
        lost=f"sum({' + '.join(lost)})",
    )
    return {
        tuple(one.by.items()): Fraction(one.value)
        for one in (found, *found.segments)
        if one.value is not None
    }


def _on_each(base: Metric, make: Callable[[Metric], Metric]) -> Metric:
    """Make a metric of another one, and of its segments."""
    return make(base).divided_into(make(one) for one in base.segments)


VALUE = (arpa, clv, predicted_clv, retention_break_even)
