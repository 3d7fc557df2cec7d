"""What a customer is really worth: a ledger per customer in which every line knows its source row.

contribution = gross margin - service - retention - share of acquisition (+ evidenced advocacy);
ROI = contribution / those costs. What the cost table holds beyond that stays a residual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import pandas as pd

from retain.errors import TableError, some
from retain.metrics.advocacy import EVIDENCE, credited_sql, promoters_sql
from retain.metrics.calculator import metric
from retain.metrics.period import Period
from retain.metrics.result import Metric
from retain.metrics.rows import By, Rows, Source, Tally, word
from retain.metrics.serving import (
    MONEY,
    PURPOSES,
    Number,
    Rates,
    factor,
    money,
    no_lines,
    purpose_sql,
    service_sql,
)

__all__ = ["LINES", "ROI", "CustomerLedger", "customer_ledger", "customer_roi"]

LINES = ("revenue", "cost of goods", "service", "retention", "acquisition", "advocacy")
DEDUCTED = ("service", "retention", "acquisition")
IN_COGS = "already in cost of goods"


@dataclass(frozen=True)
class CustomerLedger:
    """Ledger of a period: per customer, in total, and against the cost table.

    Parameters
    ----------
    customers
        A row per customer with a line: customer_id; revenue, cost_of_goods, gross_margin, service,
        retention, acquisition, costs (the last three), contribution, roi (percent, None without
        costs), advocacy, contribution_with_advocacy, roi_with_advocacy; expected_future_value
        (None where there is no CLV). Amounts are Decimals, costs positive.
    totals
        The sums of the same columns, and the two ROI of the sums.
    reconciliation
        A row per purpose: purpose, cost_table, in_ledger, residual (cost_table - in_ledger): what
        nobody was charged, or charged beyond what was spent when negative.
    rows_in, used, excluded
        Lines of the period (a payment has one of revenue and one of cost); used; others by reason.
    lines
        Reads the lines of one customer, or of all (None): customer_id, line, source, id, amount,
        excluded_because.
    period
        Which days.
    """

    customers: pd.DataFrame
    totals: Mapping[str, Any]
    reconciliation: pd.DataFrame
    rows_in: int
    used: int
    excluded: Mapping[str, int]
    lines: Callable[[str | None], pd.DataFrame]
    period: Period


def customer_ledger(
    payments: Source,
    period: Period,
    *,
    customers: Source | None = None,
    interactions: Source | None = None,
    costs: Source | None = None,
    work: Source | None = None,
    referrals: Source | None = None,
    surveys: Source | None = None,
    clv: Source | None = None,
    gross_margin: Number = 1,
    rate_per_minute: Number | None = None,
    rate_per_hour: Number = 0,
    fee_share: Number = 0,
    service_in_cogs: bool = False,
    acquisition_years: int = 5,
    evidence: Mapping[str, Number] = EVIDENCE,
    purposes: Mapping[str, str] = PURPOSES,
) -> CustomerLedger:
    """Draw up the ledger of every customer for a period.

    Parameters
    ----------
    payments
        Revenue: what was paid, refunds (negative) on their own day. Where a row has its `cost`,
        that is the cost of goods.
    period
        Lines dated in it; cases opened in it.
    customers
        With signed_up_at and acquisition_cost, which is written off in equal parts over
        `acquisition_years` from the month of sign-up; periods of whole months take whole parts,
        others count days of years of 365.
    interactions, work
        Minutes (at `rate_per_minute`; None: not costed) and hours of people (customer_id, at,
        hours, at `rate_per_hour`).
    costs
        Lines for one customer are charged to that customer by purpose; lines for nobody in
        particular, and lines that are already in the cost of goods, are charged to nobody.
    referrals
        Credited once; value x margin x what the evidence is worth.
    surveys
        Promoters get a line, worth 0 until it is evidenced.
    clv
        customer_id and clv: the expected future value, shown beside.
    gross_margin
        Share of revenue, 0 to 1, where a payment has no cost.
    fee_share
        Share of payments that collecting them costs, 0 to 1.
    service_in_cogs
        Minutes, hours and fees are in the cost of goods already: shown, not deducted again.
    acquisition_years
        Whole years over which winning a customer is written off.
    evidence
        Grade of evidence to what it is worth, 0 to 1.
    purposes
        Kind in the cost table to acquisition, retention or service.

    Returns
    -------
    CustomerLedger
        Totals are the sums of customers, and with the residual those of the cost table: asserted.

    Raises
    ------
    TableError
        When a rate is no number, or there are several CLV of one customer.

    Notes
    -----
    A referral's margin is also in the ledger of the customer who came: with advocacy, totals count
    it twice; they answer what customers are worth, not what the company earned.

    References
    ----------
    reference/metrics.md 2.22.

    Examples
    --------
    >>> paid = pd.DataFrame({"customer_id": ["a"], "paid_at": pd.to_datetime(["2026-03-01"]),
    ...                      "amount": [12000]})
    >>> spent = pd.DataFrame({"customer_id": "a", "date": pd.Timestamp("2026-05-01"),
    ...                       "kind": ["support", "retention"], "amount": [1500, 400]})
    >>> won = pd.DataFrame({"customer_id": ["a"], "signed_up_at": pd.to_datetime(["2024-02-10"]),
    ...                     "acquisition_cost": [3000]})
    >>> year = Period(pd.Timestamp("2026-01-01").date(), pd.Timestamp("2027-01-01").date())
    >>> found = customer_ledger(paid, year, customers=won, costs=spent, gross_margin="0.8")
    >>> found.totals["contribution"], found.totals["roi"]
    (Decimal('7100'), Fraction(284, 1))
    """
    rows = Rows(
        payments=payments,
        customers=customers,
        interactions=interactions,
        costs=costs,
        work=work,
        referrals=referrals,
        surveys=surveys,
        clv=clv,
    )
    rates = Rates.of(rate_per_minute, rate_per_hour, fee_share)
    lines = _lines_sql(
        rows, period, rates, gross_margin, service_in_cogs, acquisition_years, evidence, purposes
    )
    sums = ", ".join(_summed(line) for line in LINES)
    found = rows.fetch(f"SELECT customer_id, {sums} FROM ({lines}) GROUP BY 1 ORDER BY 1")
    future = _future(rows)
    table = pd.DataFrame(
        [
            _account(who, dict(zip(LINES, map(money, amounts), strict=True)), future.get(who))
            for who, *amounts in found
        ],
        columns=["customer_id", *_account("", dict.fromkeys(LINES, Decimal(0)), None)][1:],
    )
    counts = rows.fetch(f"SELECT excluded_because, count(*) FROM ({lines}) GROUP BY 1 ORDER BY 1")
    excluded = {reason: many for reason, many in counts if reason is not None}
    rows_in = sum(many for _, many in counts)
    totals = {
        name: sum((one for one in table[name] if one is not None), Decimal(0))
        for name in table.columns
        if name not in ("customer_id", "roi", "roi_with_advocacy")
    }
    totals["roi"] = _ratio(totals["contribution"], totals["costs"])
    totals["roi_with_advocacy"] = _ratio(totals["contribution_with_advocacy"], totals["costs"])

    def read(customer: str | None) -> pd.DataFrame:
        where = "true" if customer is None else f"customer_id = {word(customer)}"
        there = rows.fetch(f"SELECT * FROM ({lines}) WHERE {where} ORDER BY ALL")
        return pd.DataFrame(
            [(*one[:4], money(one[4]), one[5]) for one in there],
            columns=["customer_id", "line", "source", "id", "amount", "excluded_because"],
        )

    return CustomerLedger(
        customers=table,
        totals=totals,
        reconciliation=_reconciled(rows, period, purposes, totals),
        rows_in=rows_in,
        used=rows_in - sum(excluded.values()),
        excluded=excluded,
        lines=read,
        period=period,
    )


@metric(
    label="Return on what customers cost",
    unit="percent",
    direction="higher is better",
    needs=("payments",),
    variants=("without_advocacy", "with_advocacy"),
    theme="value",
)
def customer_roi(
    payments: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    interactions: Source | None = None,
    costs: Source | None = None,
    work: Source | None = None,
    referrals: Source | None = None,
    surveys: Source | None = None,
    variant: Literal["without_advocacy", "with_advocacy"] = "without_advocacy",
    gross_margin: Number = 1,
    rate_per_minute: Number | None = None,
    rate_per_hour: Number = 0,
    fee_share: Number = 0,
    service_in_cogs: bool = False,
    acquisition_years: int = 5,
    evidence: Mapping[str, Number] = EVIDENCE,
    purposes: Mapping[str, str] = PURPOSES,
    timezone: str = "UTC",
) -> Metric:
    """Contribution of customers over what serving, keeping and winning them cost, in percent.

    Parameters
    ----------
    payments, customers, interactions, costs, work, referrals, surveys
        As for `customer_ledger`.
    period
        Lines dated in it.
    by
        Columns of customers to cut by.
    variant
        Without, or with the margin of evidenced referrals above the line; both should be shown.
    gross_margin, rate_per_minute, rate_per_hour, fee_share, service_in_cogs, acquisition_years
        As for `customer_ledger`.
    evidence, purposes
        As for `customer_ledger`.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent: a ratio of sums; `parts` hold the sum of each line. Its rows are ledger lines.
        Undefined without costs: never infinite.

    References
    ----------
    reference/metrics.md 2.22.
    """
    rows = Rows(
        payments=payments,
        customers=customers,
        interactions=interactions,
        costs=costs,
        work=work,
        referrals=referrals,
        surveys=surveys,
    )
    rates = Rates.of(rate_per_minute, rate_per_hour, fee_share)
    lines = _lines_sql(
        rows,
        period,
        rates,
        gross_margin,
        service_in_cogs,
        acquisition_years,
        evidence,
        purposes,
        by,
    )
    listed = ", ".join(word(line) for line in DEDUCTED)
    judged = f"""
        SELECT * REPLACE (source || ' ' || id AS id), line NOT IN ({listed}) AS is_numerator,
            line AS part
        FROM ({lines})"""

    def make(tally: Tally) -> Metric:
        account = _account("", {line: money(tally[line]) for line in LINES}, None)
        suffix = "_with_advocacy" if variant == "with_advocacy" else ""
        contribution, deducted = account["contribution" + suffix], account["costs"]
        return Metric(
            "customer_roi",
            variant,
            account["roi" + suffix],
            "percent",
            "higher is better",
            numerator=contribution,
            denominator=deducted,
            n=tally["customers"],
            undefined_because=None if deducted else "no costs to divide by",
            parameters={
                "gross_margin": str(gross_margin),
                "rate_per_minute": rates.per_minute,
                "rate_per_hour": rates.per_hour,
                "fee_share": rates.fee_share,
                "service_in_cogs": service_in_cogs,
                "acquisition_years": acquisition_years,
            },
            period=period,
            timezone=timezone,
            parts={line: account[line.replace(" ", "_")] for line in LINES},
            formula=f"100 x {float(contribution):,.2f} / {float(deducted):,.2f} of costs",
            **tally.counts,
        )

    sums = ", ".join(
        f'sum(CASE WHEN line = {word(line)} THEN amount END) AS "{line}"' for line in LINES
    )
    # a line per customer first: the segments need then be found for no more than those
    folded = f"""
        SELECT customer_id, excluded_because, count(*) AS times, {sums} FROM ({lines})
        GROUP BY customer_id, excluded_because"""
    return rows.measure(
        make,
        folded,
        by,
        times="times",
        listed=judged,
        customers="count(customer_id)",
        **{line: f'sum("{line}")' for line in LINES},
    )


def _lines_sql(
    rows: Rows,
    period: Period,
    rates: Rates,
    gross_margin: Number,
    service_in_cogs: bool,
    acquisition_years: int,
    evidence: Mapping[str, Number],
    purposes: Mapping[str, str],
    by: By = None,
) -> str:
    """Write the ledger: customer_id, line, source, id, amount, excluded_because.

    Amounts are positive for what comes and, in their own lines, for what it costs.
    """
    share = factor(gross_margin, "gross_margin", 1)
    if not (isinstance(acquisition_years, int) and acquisition_years >= 1):
        raise TableError(
            f"acquisition_years should be a whole number from 1; found {acquisition_years!r}"
        )
    rest = f"amount * CAST('{1 - share}' AS DECIMAL(18, 6))"
    goods = f"coalesce(CAST(cost AS {MONEY}), CAST({rest} AS {MONEY}))"
    rows.keep(
        "paid",
        f"""SELECT customer_id, amount, cost,
        coalesce(payment_id, CAST(paid_at AS VARCHAR) || ' ' || amount) AS id,
        CASE WHEN coalesce(status, 'paid') NOT IN ('paid', 'refunded') THEN 'not paid'
            END AS excluded_because
        FROM payments WHERE {period.holds("paid_at")}""",
    )
    lines = [
        no_lines().replace("AS what", "AS line"),
        "SELECT customer_id, 'revenue', 'payments', id, amount, excluded_because FROM paid",
        f"""SELECT customer_id, 'cost of goods', 'payments', id, {goods}, excluded_because
            FROM paid WHERE cost IS NOT NULL OR {share} <> 1""",
    ]
    inside = f"'{IN_COGS}'" if service_in_cogs else "NULL"
    is_inside = f"CASE WHEN already_in_cogs THEN '{IN_COGS}' END"
    lines.append(f"""
        SELECT customer_id, 'service', source, id, amount, coalesce(excluded_because, {inside})
        FROM ({service_sql(rows, period, rates, purposes, by)}) WHERE source <> 'costs'""")
    if rows.has("costs"):
        lines.append(f"""
            SELECT customer_id, purpose, 'costs', kind || ' ' || CAST(date AS DATE), amount,
                CASE WHEN purpose = 'other' THEN 'for no known purpose' ELSE {is_inside} END
            FROM (SELECT *, {purpose_sql(purposes)} AS purpose FROM costs)
            WHERE customer_id IS NOT NULL AND {period.holds("date")}""")
    if rows.has("customers"):
        lines.append(_acquisition_sql(period, acquisition_years))
    if rows.has("referrals"):
        credit = f"value * CAST('{share}' AS DECIMAL(9, 6)) * weight"
        lines.append(f"""
            SELECT customer_id, 'advocacy', 'referrals', id, CAST({credit} AS {MONEY}),
                CASE WHEN excluded_because IS NULL AND value IS NULL THEN 'no value known'
                    ELSE excluded_because END
            FROM ({credited_sql(period, evidence)})""")
    if rows.has("surveys"):
        lines.append(f"""
            SELECT customer_id, 'advocacy', 'surveys', 'promoter ' || customer_id,
                CAST(0 AS {MONEY}), NULL
            FROM ({promoters_sql(rows, period, by)}) WHERE score >= 9""")
    return " UNION ALL ".join(lines)


def _acquisition_sql(period: Period, years: int) -> str:
    """Write the part of each customer's acquisition cost that falls to the period."""
    months = period.start.day == 1 and period.end.day == 1
    unit, a_year = ("month", 12) if months else ("day", 365)
    span = (
        12 * (period.end.year - period.start.year) + period.end.month - period.start.month
        if months
        else period.days
    )
    # whole millionths: what the division leaves over stays uncharged, in the residual
    part = f"CAST(acquisition_cost * 1000000 AS HUGEINT) * charged // {a_year * years}"
    return f"""
        SELECT customer_id, 'acquisition', 'customers', customer_id,
            CAST({part} AS DECIMAL(26, 0)) * CAST(0.000001 AS DECIMAL(7, 6)), NULL
        FROM (SELECT *, greatest(0, least(passed + {span}, {a_year * years})
                - greatest(passed, 0)) AS charged
            FROM (SELECT customer_id, min(acquisition_cost) AS acquisition_cost,
                    date_diff('{unit}', min(signed_up_at), TIMESTAMP '{period.start}') AS passed
                FROM customers WHERE acquisition_cost IS NOT NULL AND signed_up_at IS NOT NULL
                GROUP BY customer_id))
        WHERE charged > 0"""


def _summed(line: str) -> str:
    return (
        f"sum(CASE WHEN line = {word(line)} AND excluded_because IS NULL THEN amount END) "
        f'AS "{line}"'
    )


def _account(customer: str, amounts: Mapping[str, Decimal], future: Any) -> dict[str, Any]:
    """Draw up one account from the sums of its lines."""
    margin = amounts["revenue"] - amounts["cost of goods"]
    costs = sum((amounts[line] for line in DEDUCTED), Decimal(0))
    contribution, advocacy = margin - costs, amounts["advocacy"]
    return {
        "customer_id": customer,
        "revenue": amounts["revenue"],
        "cost_of_goods": amounts["cost of goods"],
        "gross_margin": margin,
        **{line: amounts[line] for line in DEDUCTED},
        "costs": costs,
        "contribution": contribution,
        "roi": _ratio(contribution, costs),
        "advocacy": advocacy,
        "contribution_with_advocacy": contribution + advocacy,
        "roi_with_advocacy": _ratio(contribution + advocacy, costs),
        "expected_future_value": future,
    }


def _ratio(contribution: Decimal, costs: Decimal) -> Fraction | None:
    return 100 * Fraction(contribution) / Fraction(costs) if costs else None


def _future(rows: Rows) -> dict[str, Decimal]:
    """Read the CLV of each customer."""
    if not rows.has("clv"):
        return {}
    rows.require("clv", "customer_id", "clv")
    found = rows.fetch(
        "SELECT CAST(customer_id AS VARCHAR), CAST(min(clv) AS DECIMAL(18, 6)), count(*) "
        "FROM clv WHERE clv IS NOT NULL AND NOT isnan(CAST(clv AS DOUBLE)) GROUP BY 1 ORDER BY 1"
    )
    if twice := [who for who, _, many in found if many > 1]:
        raise TableError(f"clv: {some(twice)} come more than once; give one row per customer")
    return {who: money(value) for who, value, _ in found}


def _reconciled(
    rows: Rows, period: Period, purposes: Mapping[str, str], totals: Mapping[str, Any]
) -> pd.DataFrame:
    """Lay the ledger beside the cost table: what nobody was charged is the residual."""
    spent: dict[str, Decimal] = {}
    if rows.has("costs"):
        inside = f"CASE WHEN already_in_cogs THEN '{IN_COGS}' ELSE {purpose_sql(purposes)} END"
        spent = {
            purpose: money(amount)
            for purpose, amount in rows.fetch(
                f"SELECT {inside}, sum(amount) FROM costs WHERE {period.holds('date')} "
                "GROUP BY 1 ORDER BY 1"
            )
        }
    charged = {line: totals[line] for line in DEDUCTED}
    purposes_there = [*DEDUCTED, *(one for one in spent if one not in DEDUCTED)]
    return pd.DataFrame(
        [
            {
                "purpose": one,
                "cost_table": spent.get(one, Decimal(0)),
                "in_ledger": charged.get(one, Decimal(0)),
                "residual": spent.get(one, Decimal(0)) - charged.get(one, Decimal(0)),
            }
            for one in purposes_there
        ]
    )


ROI = (customer_roi,)
