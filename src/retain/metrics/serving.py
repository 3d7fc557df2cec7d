"""What it costs to serve customers: each minute, hour, fee and invoice on the one who caused it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.contacts import keep_contacts
from retain.metrics.period import Period
from retain.metrics.result import Metric
from retain.metrics.rows import By, Rows, Source, Tally, word

__all__ = [
    "MONEY",
    "PURPOSES",
    "SERVING",
    "Number",
    "Rates",
    "cost_to_serve",
    "factor",
    "money",
    "no_lines",
    "purpose_sql",
    "service_sql",
]

Number = Decimal | int | float | str
MONEY = "DECIMAL(38, 12)"  # exact products of money and rates
# what a kind of the costs table was spent on; other kinds are for nobody in particular
PURPOSES: Mapping[str, str] = MappingProxyType(
    {
        "acquisition": "acquisition",
        "sales": "acquisition",
        "marketing": "acquisition",
        "retention": "retention",
        "customer_success": "retention",
        "support": "service",
        "hosting": "service",
    }
)


def factor(number: Number, name: str, most: Number | None = None) -> Decimal:
    """Read a rate or share as it is written, 0 or more, with at most six decimals.

    Raises
    ------
    TableError
        When it is not such a number.

    Examples
    --------
    >>> factor(0.029, "fee_share")
    Decimal('0.029')
    """
    try:
        read = Decimal(str(number))
        fits = read.is_finite() and read == read.quantize(Decimal("0.000001")) and read >= 0
    except InvalidOperation:
        fits = False
    if not fits or (most is not None and read > Decimal(str(most))):
        up_to = f" and at most {most}" if most is not None else ""
        raise TableError(
            f"{name} should be a number from 0{up_to}, with at most six decimals; found {number!r}"
        )
    return read


@dataclass(frozen=True)
class Rates:
    """What service costs.

    Parameters
    ----------
    per_minute
        Loaded cost of a minute of handling, in currency; None: not known.
    per_hour
        Loaded cost of an hour of the people who look after customers.
    fee_share
        Share of a payment that goes to whoever collects it, 0 to 1.

    Examples
    --------
    >>> Rates.of(0.8, 90, 0.029).fee_share
    Decimal('0.029')
    """

    per_minute: Decimal | None
    per_hour: Decimal
    fee_share: Decimal

    @classmethod
    def of(cls, per_minute: Number | None, per_hour: Number, fee_share: Number) -> Rates:
        """Read the rates as written."""
        return cls(
            None if per_minute is None else factor(per_minute, "rate_per_minute"),
            factor(per_hour, "rate_per_hour"),
            factor(fee_share, "fee_share", 1),
        )


@metric(
    label="Cost to serve a customer",
    unit="currency per customer",
    direction="lower is better",
    needs=("interactions",),
    variants=("activity", "average"),
    theme="value",
)
def cost_to_serve(
    interactions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    payments: Source | None = None,
    costs: Source | None = None,
    work: Source | None = None,
    departures: Source | None = None,
    variant: Literal["activity", "average"] = "activity",
    rate_per_minute: Number | None = None,
    rate_per_hour: Number = 0,
    fee_share: Number = 0,
    purposes: Mapping[str, str] = PURPOSES,
    currency: str = "currency",
    timezone: str = "UTC",
) -> Metric:
    """Cost of serving over customers: by what each caused, or the cost table's average.

    Parameters
    ----------
    interactions
        Cases opened in the period count, with all their handle_minutes.
    period
        In which it was caused.
    by
        Columns of customers to cut by.
    customers
        Who is divided by, cost or none: those signed up before the period's end who had not left
        before it began. Without them: who caused a cost.
    payments
        Fees are due on what was paid.
    costs
        Lines of service for one customer (hosting, say) are that customer's; lines for nobody in
        particular are only compared with the sum.
    work
        Hours of people: customer_id, at, hours.
    departures
        Who had left.
    variant
        ``"activity"``: minutes x rate + hours x rate + fees + the customer's own cost lines;
        ``"average"``: all service in the cost table over the customers, which hides who costs what.
    rate_per_minute, rate_per_hour, fee_share
        Loaded cost of a minute and an hour, in currency; share of a payment, 0 to 1.
    purposes
        Kind in the cost table to what it was spent on; those for ``"service"`` count.
    currency
        Of all amounts.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In currency per customer. Its rows are customers. `parts` of the whole: what minutes, hours,
        fees and cost lines came to; the cost table's service, and the residual between the two,
        which nobody is charged. Undefined without customers.

    Raises
    ------
    TableError
        When a rate is missing or no number.

    References
    ----------
    reference/metrics.md 2.21.

    Examples
    --------
    >>> import pandas as pd
    >>> cases = pd.DataFrame({"customer_id": "a", "interaction_id": range(10),
    ...     "opened_at": pd.Timestamp("2026-10-05"), "handle_minutes": 25})
    >>> cost_to_serve(cases, Period.month("2026-10"), rate_per_minute="0.80").display()
    '200.00'
    """
    if variant == "activity" and rate_per_minute is None:
        raise TableError(
            "cost to serve by activity needs rate_per_minute, the loaded cost of a minute of "
            "handling; give it, or ask for the average"
        )
    if variant == "average" and costs is None:
        raise TableError("the average cost to serve needs the costs table; give it")
    rates = Rates.of(rate_per_minute, rate_per_hour, fee_share)
    rows = Rows(
        interactions=interactions,
        customers=customers,
        payments=payments,
        costs=costs,
        work=work,
        departures=departures,
    )
    lines = service_sql(rows, period, rates, purposes, by)
    parts = ("minutes", "hours", "fees", "cost lines")
    sums = ", ".join(f"sum(amount) FILTER (WHERE what = '{one}') AS \"{one}\"" for one in parts)
    known = "SELECT NULL AS customer_id, NULL AS signed_up_at WHERE false"
    if customers is not None:
        known = """SELECT customer_id, min(signed_up_at) AS signed_up_at FROM customers
            WHERE customer_id IS NOT NULL GROUP BY customer_id"""
    gone = "SELECT NULL AS customer_id, NULL AS left_at, NULL AS returned_at WHERE false"
    if departures is not None:
        gone = """SELECT customer_id, max(left_at) AS left_at, max(returned_at) AS returned_at
            FROM departures GROUP BY customer_id"""
    judged = f"""
        SELECT customer_id, customer_id AS id, coalesce(cost, 0) <> 0 AS is_numerator, l.*
            EXCLUDE (customer_id),
            CASE WHEN cost IS NOT NULL THEN NULL
                WHEN signed_up_at >= DATE '{period.end}' THEN 'signed up later'
                WHEN left_at < DATE '{period.start}' AND coalesce(returned_at < left_at, true)
                    THEN 'had left' END AS excluded_because
        FROM (SELECT customer_id, sum(amount) AS cost, {sums} FROM ({lines})
            WHERE excluded_because IS NULL GROUP BY customer_id) AS l
        FULL JOIN ({known}) AS k USING (customer_id) LEFT JOIN ({gone}) AS g USING (customer_id)"""
    table = Decimal(0)
    if costs is not None:
        pool = f"""SELECT sum(amount) FROM costs
            WHERE {purpose_sql(purposes)} = 'service' AND {period.holds("date")}"""
        table = money(rows.fetch(pool)[0][0])

    whole: dict[str, int] = {}

    def make(tally: Tally) -> Metric:
        n, cost = tally.used, money(tally["cost"])
        whole.setdefault("customers", n)  # of the whole, which comes first
        found = {one: money(tally[one]) for one in parts}
        if not tally.by:
            found |= {"cost table": table, "residual": table - cost} if costs is not None else {}
        above: Decimal | Fraction = cost
        if variant == "average":
            above = Fraction(table) * Fraction(n, whole["customers"] or 1)
        return Metric(
            "cost_to_serve",
            variant,
            Fraction(above) / n if n else None,
            f"{currency} per customer",
            "lower is better",
            numerator=above,
            denominator=n,
            n=n,
            undefined_because=None if n else "no customer to divide by",
            parameters={
                "rate_per_minute": rates.per_minute,
                "rate_per_hour": rates.per_hour,
                "fee_share": rates.fee_share,
            },
            period=period,
            timezone=timezone,
            parts=found,
            formula=(
                f"{float(table):,.2f} of service in the cost table / {whole['customers']} customers"
                if variant == "average"
                else f"{float(cost):,.2f} caused by what was done / {n} customers"
            ),
            **tally.counts,
        )

    return rows.measure(
        make, judged, by, cost="sum(cost)", **{one: f'sum("{one}")' for one in parts}
    )


def service_sql(
    rows: Rows, period: Period, rates: Rates, purposes: Mapping[str, str], by: By = None
) -> str:
    """Write the lines of service: customer_id, what, source, id, amount, excluded_because."""
    lines = [no_lines()]
    if rows.has("interactions") and rates.per_minute is not None:
        keep_contacts(rows, period, by)
        lines.append(f"""
            SELECT customer_id, 'minutes', 'interactions', interaction_id,
                {_exact("handle_minutes")} * {_factor(rates.per_minute)},
                CASE WHEN handle_minutes IS NULL THEN 'no handle minutes' END
            FROM contacts WHERE opened_at IS NOT NULL""")
    if rows.has("work"):
        rows.require("work", "customer_id", "at", "hours")
        lines.append(f"""
            SELECT CAST(customer_id AS VARCHAR), 'hours', 'work', CAST("at" AS VARCHAR),
                {_exact("hours")} * {_factor(rates.per_hour)},
                CASE WHEN hours IS NULL THEN 'no hours' END
            FROM work WHERE {period.holds('CAST("at" AS TIMESTAMP)')}""")
    if rows.has("payments") and rates.fee_share:
        lines.append(f"""
            SELECT customer_id, 'fees', 'payments',
                coalesce(payment_id, CAST(paid_at AS VARCHAR) || ' ' || amount),
                amount * {_factor(rates.fee_share)}, NULL
            FROM payments WHERE {period.holds("paid_at")} AND amount > 0
                AND coalesce(status, 'paid') IN ('paid', 'refunded')""")
    if rows.has("costs"):
        lines.append(f"""
            SELECT customer_id, 'cost lines', 'costs', kind || ' ' || CAST(date AS DATE), amount,
                NULL
            FROM costs WHERE customer_id IS NOT NULL AND {period.holds("date")}
                AND {purpose_sql(purposes)} = 'service'""")
    return " UNION ALL ".join(lines)


def no_lines() -> str:
    """Write no line at all, with the columns and types that lines have."""
    return f"""SELECT NULL::VARCHAR AS customer_id, NULL::VARCHAR AS what,
        NULL::VARCHAR AS source, NULL::VARCHAR AS id, NULL::{MONEY} AS amount,
        NULL::VARCHAR AS excluded_because WHERE false"""


def purpose_sql(purposes: Mapping[str, str]) -> str:
    """Write what a line of the costs table was spent on."""
    cases = " ".join(
        f"WHEN {word(kind.strip().lower())} THEN {word(purpose)}"
        for kind, purpose in purposes.items()
    )
    return f"(CASE lower(trim(kind)) {cases} ELSE 'other' END)" if cases else "'other'"


def money(amount: Any) -> Decimal:
    """Read a sum of money: over no rows it is 0.

    Examples
    --------
    >>> money(None), money(Decimal("12.500000000000"))
    (Decimal('0'), Decimal('12.5'))
    """
    if amount is None:
        return Decimal(0)
    plain = Decimal(amount).normalize()
    return plain.quantize(Decimal(1)) if plain == plain.to_integral() else plain


def _exact(column: str) -> str:
    return f"CAST({column} AS DECIMAL(18, 6))"


def _factor(number: Decimal) -> str:
    return f"CAST('{number}' AS DECIMAL(18, 6))"


SERVING = (cost_to_serve,)
