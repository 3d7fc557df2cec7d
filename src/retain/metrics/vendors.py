"""The same month under four vendors' rules, and each difference accounted for by customer.

Stripe, ChartMogul, ProfitWell and Baremetrics read the same contracts and print different numbers.
Each is written here as a handful of rules; a difference between two of them is walked from one to
the other, a rule at a time, and every step is a list of customers whose amounts add up to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, get_args

import pandas as pd

from retain.errors import TableError
from retain.metrics.ledger import KINDS, RUNNING, SIGN, customers_sql, spans_sql
from retain.metrics.period import Period
from retain.metrics.result import Exact
from retain.metrics.rows import Rows, Source, quoted

__all__ = ["RULES", "VENDORS", "Rules", "SameMonth", "Vendor", "same_month"]

Vendor = Literal["stripe", "chartmogul", "profitwell", "baremetrics"]
VENDORS: tuple[Vendor, ...] = get_args(Vendor)


@dataclass(frozen=True)
class Rules:
    """How one vendor reads a month; each field is one rule that can be told apart.

    Parameters
    ----------
    finite_discounts
        Whether a discount that will run out lowers MRR.
    counts_until
        When MRR of a cancelled subscription stops.
    past_due
        Whether an unpaid customer counts until the contract is ended, or for 30 days.
    joined_and_left
        A customer who joined and left in the month: counted; dropped from the churn rate; or
        dropped from the movements of MRR too.
    came_back
        Whether a customer who left and is back at the end of the month churned.
    left_again
        Whether a second departure in the month counts.
    base
        Who stands below the line of the churn rate.
    offsets
        What is subtracted from losses in net MRR churn.
    """

    finite_discounts: Literal["subtracted", "ignored"] = "subtracted"
    counts_until: Literal["end of service", "cancellation"] = "end of service"
    past_due: Literal["until ended", "30 days"] = "until ended"
    joined_and_left: Literal["counted", "not in churn rate", "dropped"] = "counted"
    came_back: Literal["churned", "not churned"] = "churned"
    left_again: Literal["once", "each time"] = "once"
    base: Literal["at the start", "at the start and joined"] = "at the start"
    offsets: Literal["expansion", "expansion and reactivation"] = "expansion"


RULES: dict[Vendor, Rules] = {
    "stripe": Rules(
        finite_discounts="ignored",
        counts_until="cancellation",
        left_again="each time",
        base="at the start and joined",
    ),
    "chartmogul": Rules(
        joined_and_left="not in churn rate",
        came_back="not churned",
        offsets="expansion and reactivation",
    ),
    "profitwell": Rules(joined_and_left="dropped"),
    "baremetrics": Rules(past_due="30 days"),
}
# what no table of ours can show, or a setting of the vendor that is taken at one value
NOT_SHOWN: dict[Vendor, tuple[str, ...]] = {
    "stripe": (
        "its own window is the last 30 days; here the period",
        "its movements are by instant; here what happens on one day is netted",
        "net MRR churn is not defined on the pages read; expansion alone is subtracted here",
        "a change of exchange rate is a line of its own there",
    ),
    "chartmogul": (
        "churn at the end of service is one of its settings, and the one used here",
        "a customer who moves to a free plan stays active by its default; here it churns, as under "
        "its other setting",
        "changes within 60 minutes are grouped there; here within a day",
        "paused, past due and metered subscriptions follow settings that no table shows",
    ),
    "profitwell": (
        "a pause is 0 MRR there; here it shows only when the span is ended",
        "rates of MRR churn are not defined on the pages read; expansion alone is subtracted here",
        "metered subscriptions: its pages contradict each other",
    ),
    "baremetrics": (
        "its own window is the last 30 days, and 365 for a breakdown of plans that are not "
        "monthly; here the period",
        "a trial or subscription of one day is dropped there and here",
    ),
}
# figure: what is added up over customers, what it is divided by, unit
MOVEMENTS: dict[str, tuple[str, str | None, str]] = {
    f"{kind}_mrr": (kind, None, "currency") for kind in KINDS
}
FIGURES: dict[str, tuple[str, str | None, str]] = {
    "mrr_start": ("mrr_start", None, "currency"),
    **MOVEMENTS,
    "mrr_end": ("mrr_end", None, "currency"),
    "customers_start": ("at_start", None, "customers"),
    "customers_churned": ("churned", None, "customers"),
    "customers_end": ("at_end", None, "customers"),
    "customer_churn_rate": ("churned", "base", "percent"),
    "customer_retention_rate": ("base - churned", "base", "percent"),
    "gross_mrr_churn_rate": ("lost", "mrr_start", "percent"),
    "net_mrr_churn_rate": ("lost - won", "mrr_start", "percent"),
    "gross_revenue_retention": ("mrr_start - lost", "mrr_start", "percent"),
    "net_revenue_retention": ("mrr_start - lost + won", "mrr_start", "percent"),
}
COLUMNS = tuple(dict.fromkeys(c for up, down, _ in FIGURES.values() for c in (up, down) if c))


@dataclass(frozen=True)
class SameMonth:
    """One period under several vendors' rules.

    Parameters
    ----------
    period
        Its days.
    vendors
        Whose rules, in the order asked for.
    figures
        Vendor to figure to exact value (percent is 0-100); None where a rate divides by zero.
    not_shown
        Vendor to those of its rules that the tables cannot show.
    """

    period: Period
    vendors: tuple[Vendor, ...]
    figures: Mapping[Vendor, Mapping[str, Exact | None]]
    not_shown: Mapping[Vendor, tuple[str, ...]]
    _book: _Book = field(repr=False, compare=False)

    def table(self) -> pd.DataFrame:
        """Lay the figures side by side.

        Returns
        -------
        pandas.DataFrame
            One row per figure: unit, and per vendor the exact value (None where undefined).
        """
        units = {name: unit for name, (_, _, unit) in FIGURES.items()}
        columns: dict[str, Any] = {"unit": pd.Series(units, dtype=object)}
        for vendor in self.vendors:
            columns[vendor] = pd.Series(dict(self.figures[vendor]), dtype=object)
        return pd.DataFrame(columns).loc[list(FIGURES)]

    def differences(self, one: Vendor, other: Vendor) -> pd.DataFrame:
        """Account for every difference between two vendors, customer by customer.

        Parameters
        ----------
        one, other
            From whose figures to whose.

        Returns
        -------
        pandas.DataFrame
            One row per figure, rule and customer who makes a difference: figure, rule, customer_id,
            amount (exact, in the figure's unit). Per figure they add up to `other` - `one`, which
            is asserted; a rate that is undefined on the way is left out.

        Notes
        -----
        The rules that differ are switched one at a time, in the order of `Rules`. A customer's
        share of the change of a rate n / d to n' / d' is ((n'_c - n_c) - n / d (d'_c - d_c)) / d'.
        """
        for vendor in (one, other):
            if vendor not in self.vendors:
                raise TableError(
                    f"same month: no figures of {vendor!r}; there are {', '.join(self.vendors)}"
                )
        steps = list(_walk(RULES[one], RULES[other]))
        lines: list[tuple[str, str, str | None, Fraction]] = []
        undefined: set[str] = set()
        for (before, _), (after, rule) in pairwise(steps):
            changed = self._book.changed(before, after)
            totals = [self._book.totals(rules) for rules in (before, after)]
            for name, (up, down, _) in FIGURES.items():
                if down and not all(total[down] for total in totals):
                    undefined.add(name)
                    continue
                rate = totals[0][up] / totals[0][down] if down else Fraction(0)
                factor = 100 / totals[1][down] if down else Fraction(1)
                for customer, change in changed:
                    amount = factor * (change[up] - (rate * change[down] if down else 0))
                    if amount:
                        lines.append((name, rule, customer, amount))
        lines = [line for line in lines if line[0] not in undefined]
        self._add_up(one, other, lines, undefined)
        return pd.DataFrame(
            {
                name: pd.Series([line[at] for line in lines], dtype=object)
                for at, name in enumerate(("figure", "rule", "customer_id", "amount"))
            }
        )

    def _add_up(
        self,
        one: Vendor,
        other: Vendor,
        lines: Iterable[tuple[str, str, str | None, Fraction]],
        undefined: set[str],
    ) -> None:
        found = dict.fromkeys(FIGURES, Fraction(0))
        for name, _, _, amount in lines:
            found[name] += amount
        for name in FIGURES:
            ends = self.figures[one][name], self.figures[other][name]
            if name in undefined or None in ends:
                continue
            wanted = Fraction(ends[1] or 0) - Fraction(ends[0] or 0)
            if found[name] != wanted:
                raise AssertionError(
                    f"{name}: customers account for {found[name]} of the difference {wanted} "
                    f"between {one} and {other}"
                )


def same_month(
    subscriptions: Source,
    period: Period,
    *,
    payments: Source | None = None,
    finite_discount: str | None = None,
    vendors: tuple[Vendor, ...] = VENDORS,
) -> SameMonth:
    """Compute a period's MRR, churn and retention as four vendors would print them.

    Parameters
    ----------
    subscriptions
        Contract spans. `cancelled_at` says when notice was given.
    period
        Its days, usually a calendar month.
    payments
        With `status`: failed payments say who is past due. None: nobody is, and it is said.
    finite_discount
        Column of `subscriptions` with the part of a discount that will run out, in currency per
        month, already subtracted from `mrr`. None: there are none, and it is said.
    vendors
        Whose rules.

    Returns
    -------
    SameMonth
        Figures, exact, and the account of their differences.

    Raises
    ------
    TableError
        When a column is missing, or a vendor is unknown.

    Notes
    -----
    For each vendor start + new + reactivation + expansion - contraction - churn = end is asserted.

    References
    ----------
    reference/metrics.md 2.7-2.9; docs.stripe.com/billing/subscriptions/analytics,
    help.chartmogul.com (churn rate formulas, churn recognition), paddle.com/help/profitwell-metrics
    (comparisons), help.baremetrics.com (user and revenue churn).

    Examples
    --------
    >>> spans = pd.DataFrame({"customer_id": ["a", "b"], "mrr": [100, 60],
    ...                       "started_at": pd.Timestamp("2026-01-01"),
    ...                       "cancelled_at": pd.to_datetime([None, "2026-10-20"]),
    ...                       "ended_at": pd.to_datetime([None, "2026-11-05"])})
    >>> month = same_month(spans, Period.month("2026-10"), vendors=("stripe", "profitwell"))
    >>> {vendor: int(month.figures[vendor]["mrr_end"]) for vendor in month.vendors}
    {'stripe': 100, 'profitwell': 160}
    >>> lines = month.differences("stripe", "profitwell")
    >>> lines[lines.figure == "mrr_end"].values.tolist()
    [['mrr_end', 'counts_until: cancellation -> end of service', 'b', Fraction(60, 1)]]
    """
    unknown = [vendor for vendor in vendors if vendor not in VENDORS]
    if unknown or not vendors:
        raise TableError(f"vendors should be among {', '.join(VENDORS)}; found {unknown or 'none'}")
    rows = Rows(subscriptions=subscriptions, payments=payments)
    if finite_discount is not None:
        rows.require("subscriptions", finite_discount)
    missing = []
    if not rows.has("subscriptions", "cancelled_at"):
        missing.append(
            "no cancelled_at: when notice was given is not known, so MRR stops at the "
            "end of service"
        )
    if finite_discount is None:
        missing.append("no column of finite discounts: every discount counts as lasting")
    if not rows.has("payments", "status"):
        missing.append("no payments with a status: nobody is known to be past due")
    book = _Book(rows, period, finite_discount)
    figures: dict[Vendor, dict[str, Exact | None]] = {}
    for vendor in vendors:
        totals = book.totals(RULES[vendor])
        figures[vendor] = {
            name: (100 * totals[up] / totals[down] if totals[down] else None)
            if down
            else totals[up]
            for name, (up, down, _) in FIGURES.items()
        }
        change = sum((SIGN[kind] * totals[kind] for kind in KINDS), Fraction(0))
        if totals["mrr_start"] + change != totals["mrr_end"]:
            raise AssertionError(f"{vendor}: start and movements do not give the end")
    return SameMonth(
        period,
        tuple(vendors),
        figures,
        {vendor: (*NOT_SHOWN[vendor], *missing) for vendor in vendors},
        book,
    )


def _walk(one: Rules, other: Rules) -> Iterable[tuple[Rules, str]]:
    """Go from one set of rules to another, switching one rule at a time."""
    yield one, ""
    at = one
    for rule in fields(Rules):
        before, after = getattr(at, rule.name), getattr(other, rule.name)
        if before != after:
            at = replace(at, **{rule.name: after})
            yield at, f"{rule.name}: {before} -> {after}"


class _Book:
    """Customers under sets of rules, each computed once."""

    def __init__(self, rows: Rows, period: Period, finite_discount: str | None) -> None:
        self._rows, self._period, self._discount = rows, period, finite_discount
        self._read: dict[tuple[str, ...], Any] = {}
        self._totals: dict[Rules, dict[str, Fraction]] = {}

    def totals(self, rules: Rules) -> dict[str, Fraction]:
        """Add up every column of the figures."""
        if rules not in self._totals:
            sums = ", ".join(f"sum({column})" for column in COLUMNS)
            (line,) = Rows(lines=self._lines(rules)).fetch(
                f"SELECT {sums} FROM ({_judged('lines', rules)})"
            )
            self._totals[rules] = {
                column: Fraction(value or 0) for column, value in zip(COLUMNS, line, strict=True)
            }
        return self._totals[rules]

    def changed(self, one: Rules, other: Rules) -> list[tuple[str | None, dict[str, Fraction]]]:
        """List the customers for whom anything differs, with the difference of each column."""
        both = Rows(one=self._lines(one), other=self._lines(other))
        differences = ", ".join(
            f"coalesce(o.c{at}, 0) - coalesce(p.c{at}, 0) AS c{at}" for at in range(len(COLUMNS))
        )
        named = ", ".join(f"{column} AS c{at}" for at, column in enumerate(COLUMNS))
        anything = " OR ".join(f"c{at} <> 0" for at in range(len(COLUMNS)))
        lines = both.fetch(f"""
            SELECT * FROM (
                SELECT coalesce(p.customer_id, o.customer_id) AS customer_id, {differences}
                FROM (SELECT customer_id, {named} FROM ({_judged("one", one)})) AS p
                FULL JOIN (SELECT customer_id, {named} FROM ({_judged("other", other)})) AS o
                USING (customer_id))
            WHERE {anything} ORDER BY customer_id""")
        return [
            (customer, dict(zip(COLUMNS, map(Fraction, values), strict=True)))
            for customer, *values in lines
        ]

    def _lines(self, rules: Rules) -> Any:
        """Read the customers under the rules that decide which MRR runs when."""
        key = (rules.finite_discounts, rules.counts_until, rules.past_due)
        if key not in self._read:
            amount, end = "mrr", "CAST(ended_at AS DATE)"
            if rules.finite_discounts == "ignored" and self._discount:
                amount = f"mrr + coalesce(CAST({quoted(self._discount)} AS DECIMAL(18, 6)), 0)"
            if rules.counts_until == "cancellation":
                end = f"""CASE WHEN cancelled_at IS NULL OR end_reason = 'replaced'
                    THEN CAST(ended_at AS DATE) ELSE greatest(CAST(started_at AS DATE), least(
                        CAST(cancelled_at AS DATE), coalesce(CAST(ended_at AS DATE), {RUNNING})))
                    END"""
            spans = spans_sql(self._rows, self._period.end, amount=amount, end=end)
            if rules.past_due == "30 days" and self._rows.has("payments", "status"):
                spans = _without_past_due(spans)
            self._read[key] = self._rows.sql(f"""
                SELECT customer_id, mrr_start, mrr_end, {", ".join(KINDS)}, churns,
                    len(join_days) > 0 AS joined
                FROM ({customers_sql(spans, self._period)})
                WHERE customer_id IS NOT NULL""").to_arrow_table()
        return self._read[key]


def _judged(lines: str, rules: Rules) -> str:
    """Write the columns of the figures for each customer under all rules."""
    dropped = "mrr_start = 0 AND mrr_end = 0" if rules.joined_and_left == "dropped" else "false"
    unchurned = ["churns = 0"]
    if rules.joined_and_left != "counted":
        unchurned.append("mrr_start = 0")
    if rules.came_back == "not churned":
        unchurned.append("mrr_end > 0")
    base = "mrr_start > 0" + (" OR joined" if rules.base == "at the start and joined" else "")
    kinds = ", ".join(f"CASE WHEN {dropped} THEN 0 ELSE {kind} END AS {kind}" for kind in KINDS)
    won = "expansion" + (" + reactivation" if "reactivation" in rules.offsets else "")
    return f"""
        SELECT *, contraction + churn AS lost, {won} AS won FROM (
            SELECT customer_id, mrr_start, mrr_end, {kinds},
                CAST(mrr_start > 0 AS INTEGER) AS at_start, CAST(mrr_end > 0 AS INTEGER) AS at_end,
                CASE WHEN {" OR ".join(unchurned)} THEN 0
                     ELSE {"churns" if rules.left_again == "each time" else "1"} END AS churned,
                CAST({base} AS INTEGER) AS base
            FROM {lines})"""


def _without_past_due(spans: str) -> str:
    """Cut out of the spans what lies more than 30 days after a failed payment, until one is made.

    The failed payments before one payment are one gap, so that gaps of a customer never overlap.
    """
    kept = "customer_id, id, start_day, end_day, amount, end_reason, excluded_because"
    return f"""
        WITH judged AS MATERIALIZED (SELECT *, row_number() OVER () AS line FROM ({spans})),
        made AS (SELECT DISTINCT customer_id, CAST(paid_at AS DATE) AS day FROM payments
                 WHERE coalesce(status, 'paid') = 'paid' AND amount > 0),
        failed AS (SELECT DISTINCT customer_id, CAST(paid_at AS DATE) AS day FROM payments
                   WHERE status = 'failed'),
        gaps AS (
            SELECT failed.customer_id, min(failed.day) + 30 AS from_day,
                coalesce(made.day, {RUNNING}) AS to_day
            FROM failed ASOF LEFT JOIN made
                ON made.customer_id = failed.customer_id AND made.day >= failed.day
            GROUP BY ALL HAVING min(failed.day) + 30 < coalesce(made.day, {RUNNING})),
        hit AS MATERIALIZED (
            SELECT judged.*, from_day, to_day, row_number() OVER at_line AS gap,
                lead(from_day) OVER at_line AS next_day
            FROM judged JOIN gaps ON gaps.customer_id = judged.customer_id
                AND from_day < end_day AND to_day > start_day
            WHERE excluded_because IS NULL
            WINDOW at_line AS (PARTITION BY line ORDER BY from_day))
        SELECT {kept} FROM judged WHERE line NOT IN (SELECT line FROM hit)
        UNION ALL
        SELECT {kept.replace("end_day,", "from_day,").replace("end_reason", "'involuntary'")}
        FROM hit WHERE gap = 1 AND from_day > start_day
        UNION ALL
        SELECT customer_id, id, to_day, least(end_day, coalesce(next_day, end_day)), amount,
            CASE WHEN next_day < end_day THEN 'involuntary' ELSE end_reason END, excluded_because
        FROM hit WHERE to_day < least(end_day, coalesce(next_day, end_day))"""
