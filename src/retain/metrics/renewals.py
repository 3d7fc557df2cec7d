"""Which contracts came due, and which of them were renewed: early, late, or not yet.

A contract is due at the end of its term, whenever the renewal was signed: an early renewal counts
in the period in which it was due, and so does a late one, within a stated grace.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NamedTuple, get_args

import pandas as pd
import pyarrow as pa

from retain.errors import TableError
from retain.metrics.calculator import check_choice, metric
from retain.metrics.intervals import share_interval
from retain.metrics.ledger import RUNNING, spans_sql
from retain.metrics.period import Period
from retain.metrics.recurring import BILLING_MONTHS, money
from retain.metrics.result import LOW_N, Metric, rounded
from retain.metrics.rows import By, Rows, Source, Tally, counted

__all__ = ["RENEWALS", "renewal_rate"]

RenewalVariant = Literal["logo", "value", "base_retention"]
Pending = Literal["lost", "renewed", "left_out"]
STATES = ("renewed", "pending", "lost")
LATER = "CAST(start_day + to_months(CAST({0} AS INTEGER) * months) AS DATE)"


@metric(
    label="Renewal rate",
    unit="percent",
    direction="higher is better",
    needs=("subscriptions",),
    variants=get_args(RenewalVariant),
    theme="customers",
)
def renewal_rate(
    subscriptions: Source,
    period: Period,
    *,
    data_until: date,
    by: By = None,
    customers: Source | None = None,
    variant: RenewalVariant = "logo",
    pending: Pending = "lost",
    grace_days: int = 30,
    early_days: int = 90,
    term_months: int | None = None,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of the contracts that came due in a period and were renewed, in percent.

    Parameters
    ----------
    subscriptions
        Contract spans; `term_months` or else `billing_period` says when one is due.
    period
        In which contracts came due.
    data_until
        Last day that the data describe.
    by
        Columns of customers to cut by.
    customers
        Needed to cut by their columns.
    variant
        ``logo``: contracts renewed ÷ contracts due; ``value``: MRR renewed, each contract at most
        what was due (more is expansion) ÷ MRR due; ``base_retention``: contracts at the start that
        were not lost ÷ contracts at the start, due or not.
    pending
        How contracts count that came due and can still be renewed: as ``lost`` (lower bound), as
        ``renewed`` (upper bound), or ``left_out`` (decided ones only).
    grace_days
        How late a renewal may start; until then a contract is pending.
    early_days
        A contract that is replaced more than this before it is due was changed, not renewed: it is
        left out, and its successor has a term of its own.
    term_months
        Term of every contract; None reads each contract's own.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent; `parts` has renewed, pending and lost, and the notes say the bounds. ``value``
        has no interval.

    Raises
    ------
    TableError
        When a column is missing, or a choice is unknown.

    Notes
    -----
    A contract that runs past the end of its term is renewed; one that ends by then is renewed by
    another contract of the customer that starts from its end until the grace is over, each used
    once. A contract of several years is due in its last one. Renewal dates as exported are not
    read: they move when customers renew. Month to month it is the retention of contracts.

    References
    ----------
    reference/metrics.md 2.14.

    Examples
    --------
    >>> spans = pd.DataFrame({
    ...     "customer_id": ["a", "b"], "mrr": [100, 100], "billing_period": "annual",
    ...     "started_at": pd.Timestamp("2025-10-15"),
    ...     "ended_at": pd.to_datetime([None, "2026-10-15"])})
    >>> found = renewal_rate(spans, Period.month("2026-10"), data_until=date(2026, 12, 31))
    >>> found.display(), found.ids().numerator
    ('50.0', ('a',))
    """
    check_choice("renewal_rate", "pending", pending, get_args(Pending))
    if min(grace_days, early_days) < 0 or (term_months is not None and term_months < 1):
        raise TableError(
            "renewal_rate: grace_days and early_days should not be negative and term_months at "
            f"least 1; found {grace_days}, {early_days} and {term_months}"
        )
    rows = Rows(subscriptions=subscriptions, customers=customers)
    _find_contracts(rows, period, term_months)
    _find_due(rows, period, data_until, grace_days, early_days)
    done = "state = 'renewed'" + (" OR state = 'pending'" if pending == "renewed" else "")
    in_value = variant == "value"

    def make(tally: Tally) -> Metric:
        above, below = money(tally["above"]), money(tally["below"])
        parts = {state: tally[state] for state in STATES}
        bounds = None if in_value else share_interval(int(above), int(below), level)
        return Metric(
            "renewal_rate",
            variant,
            100 * Fraction(above) / Fraction(below) if below else None,
            "percent",
            "higher is better",
            numerator=above if in_value else int(above),
            denominator=below if in_value else int(below),
            n=tally["n"],
            low=100 * bounds[0] if bounds else None,
            high=100 * bounds[1] if bounds else None,
            level=level if bounds else None,
            undefined_because=None
            if below
            else "no contract was due"
            if variant != "base_retention"
            else "no contracts at the start",
            parameters={
                "pending": pending,
                "grace_days": grace_days,
                "early_days": early_days,
                "term_months": term_months,
                "data_until": data_until,
            },
            period=period,
            timezone=timezone,
            parts=parts,
            notes=tuple(_notes(tally, variant)),
            formula=f"100 x {variant} renewed ÷ due: {_plain(above)} ÷ {_plain(below)}"
            if variant != "base_retention"
            else f"100 x contracts at the start not lost ÷ at the start: {above} ÷ {below}",
            **tally.counts,
        )

    kept = "CASE WHEN {0} THEN CASE WHEN state = 'pending' THEN amount ELSE renewed END END"
    sums = {
        "logo": (counted("is_numerator"), "count(*)"),
        "value": (f"sum({kept.format('is_numerator')})", "sum(amount)"),
        "base_retention": (counted("is_numerator"), "count(*)"),
    }[variant]
    return rows.measure(
        make,
        _judged(variant, done, pending, period),
        by,
        above=sums[0],
        below=sums[1],
        n="count(*)",
        **{state: counted(f"state = '{state}'") for state in STATES},
    )


def _judged(variant: str, done: str, pending: str, period: Period) -> str:
    """Write the contracts that the question is about, each used or left out with its reason."""
    first = f"DATE '{period.start}'"
    unusable = "SELECT customer_id, id, amount, excluded_because FROM contracts"
    left_out = (
        "CASE WHEN state = 'pending' THEN 'pending' ELSE excluded_because END"
        if pending == "left_out"
        else "excluded_because"
    )
    if variant == "base_retention":
        # of a contract due several times in the period, the last time decides
        return f"""
            SELECT customer_id, id, amount, state, CAST(0 AS DECIMAL(18, 6)) AS renewed,
                coalesce({done}, true) AS is_numerator, {left_out} AS excluded_because
            FROM (SELECT contracts.*, state FROM contracts LEFT JOIN (
                      SELECT line, arg_max(state, due_day) AS state FROM due
                      WHERE excluded_because IS NULL GROUP BY line) USING (line)
                  WHERE excluded_because IS NOT NULL
                      OR (start_day < {first} AND end_day >= {first}))"""
    return f"""
        SELECT customer_id, id, amount, state, renewed, coalesce({done}, false) AS is_numerator,
            {left_out} AS excluded_because FROM due
        UNION ALL
        SELECT customer_id, id, amount, NULL, NULL, false, excluded_because
        FROM ({unusable}) WHERE excluded_because IS NOT NULL"""


def _find_contracts(rows: Rows, period: Period, term_months: int | None) -> None:
    """Find the spans with their terms, as `contracts`; those that cannot be used have a reason."""
    if term_months is not None:
        months = str(term_months)
    else:
        own = rows.has("subscriptions", "term_months")
        if not own:
            rows.require("subscriptions", "billing_period")
        known = " ".join(f"WHEN '{name}' THEN {many}" for name, many in BILLING_MONTHS.items())
        billed = f"CASE lower(billing_period) {known} END"
        months = f"coalesce(CAST(term_months AS INTEGER), {billed})" if own else billed
    # contracts that start later may be renewals: all are read
    spans = spans_sql(rows, date.max, term=months)
    rows.find(
        "contracts",
        f"""
        SELECT * REPLACE (CASE WHEN excluded_because IS NULL AND coalesce(months, 0) < 1
                               THEN 'no term in months' ELSE excluded_because END
                          AS excluded_because), row_number() OVER () AS line
        FROM ({spans}) WHERE start_day IS NULL OR excluded_because IS NULL
            OR start_day < DATE '{period.end}'""",
    )


def _find_due(
    rows: Rows, period: Period, data_until: date, grace_days: int, early_days: int
) -> None:
    """Find the contracts that came due in a period, as `due`, with what became of each."""
    first, end = f"DATE '{period.start}'", f"DATE '{period.end}'"
    rows.find(
        "came_due",
        f"""
        SELECT line, customer_id, coalesce(id, customer_id) AS id, amount, end_day, due_day FROM (
            SELECT *, {LATER.format("term")} AS due_day, {LATER.format("(term - 1)")} AS since
            FROM (
                SELECT *, unnest(range(
                    greatest(1, date_diff('month', start_day, {first}) // months),
                    greatest(0, date_diff('month', start_day, {end}) // months) + 2)) AS term
                FROM contracts WHERE excluded_because IS NULL AND start_day < {end}
                    AND end_day >= {first} - 31 * months))
        WHERE due_day >= {first} AND due_day < {end} AND since < end_day""",
    )
    rows.hold("fates", _fates(rows, grace_days, early_days))
    rows.keep(
        "due",
        f"""
        SELECT came_due.*, CASE WHEN end_day > due_day AND due_day <= DATE '{data_until}'
                               OR renewed_by IS NOT NULL AND NOT is_changed THEN 'renewed'
                           WHEN is_changed THEN NULL
                           WHEN end_day > due_day
                               OR due_day + {grace_days} > DATE '{data_until}' THEN 'pending'
                           ELSE 'lost' END AS state,
            CASE WHEN state = 'renewed'
                 THEN least(amount, coalesce(renewed_by, amount)) END AS renewed,
            CASE WHEN is_changed THEN 'changed before its term' END AS excluded_because
        FROM came_due LEFT JOIN fates USING (line)""",
    )


def _fates(rows: Rows, grace_days: int, early_days: int) -> pd.DataFrame:
    """Find what renewed each contract of customers with one due that ended within its term.

    All their contracts are looked at, not those of one period, so that a renewal is never used
    twice, and what is found for a month and for its quarter is the same.
    """
    terms = "greatest(1, date_diff('month', start_day, end_day) // months)"
    spans: dict[str, list[_Span]] = defaultdict(list)
    for customer, *line in rows.fetch(f"""
        SELECT customer_id, line, start_day, end_day,
            CASE WHEN end_day < {RUNNING}
                 THEN CASE WHEN {LATER.format(terms)} >= end_day THEN {LATER.format(terms)}
                           ELSE {LATER.format(f"({terms} + 1)")} END END AS due_day,
            amount, coalesce(end_reason = 'replaced', false)
        FROM contracts SEMI JOIN (FROM came_due WHERE end_day <= due_day) USING (customer_id)
        WHERE excluded_because IS NULL
        ORDER BY customer_id, start_day, amount DESC, id, line"""):
        spans[customer].append(_Span(*line))
    fates = []
    for of_customer in spans.values():
        used: set[int] = set()
        ended = [(span.due, at, span) for at, span in enumerate(of_customer) if span.due]
        for due, _, span in sorted(ended, key=lambda one: one[:2]):
            since = span.start + timedelta(1) if span.is_replaced else span.end
            until = due + timedelta(grace_days)
            for other in of_customer:
                if other.line not in used and other is not span and since <= other.start <= until:
                    used.add(other.line)
                    is_early = span.end < due - timedelta(early_days)
                    is_changed = is_early and (span.is_replaced or other.start == span.end)
                    fates.append((span.line, other.amount, is_changed))
                    break
    return pd.DataFrame(
        {
            "line": pd.Series([line for line, _, _ in fates], dtype="int64"),
            "renewed_by": pd.Series(
                [amount for _, amount, _ in fates], dtype=pd.ArrowDtype(pa.decimal128(18, 6))
            ),
            "is_changed": pd.Series([is_changed for _, _, is_changed in fates], dtype="bool"),
        }
    )


class _Span(NamedTuple):
    """A contract; `due` is the end of the term in which it ended, None while it runs."""

    line: int
    start: date
    end: date
    due: date | None
    amount: Decimal
    is_replaced: bool


def _notes(tally: Tally, variant: str) -> list[str]:
    renewed, pending, lost = (tally[state] for state in STATES)
    due = renewed + pending + lost
    notes = ["low n"] if 0 < tally["n"] < LOW_N else []
    if pending and variant == "logo":
        low, high = (rounded(Fraction(100 * k, due), 1) for k in (renewed, renewed + pending))
        notes.append(f"{pending} of {due} contracts are pending: between {low} and {high} %")
    return notes


def _plain(amount: Any) -> str:
    return f"{rounded(amount, 0 if Fraction(amount).denominator == 1 else 2):,}"


RENEWALS = (renewal_rate,)
