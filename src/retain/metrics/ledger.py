"""Contract spans become a step function of MRR per customer, and its steps become a ledger.

The day is the unit: what starts and ends on one day is netted, so a plan that is replaced on the
day is no churn. A customer's MRR on a day is the sum over the spans that run on it; trials and
free spans are none. All of it is SQL over the tables' names, so that nothing passes through Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import pandas as pd

from retain.metrics.period import Period
from retain.metrics.result import Ids, Metric
from retain.metrics.rows import By, Rows, Source, Tally, columns_of, counted, quoted

__all__ = [
    "KINDS",
    "Ledger",
    "customers_sql",
    "keep_customers",
    "ledger_sql",
    "measured",
    "movements",
    "mrr_ledger",
    "spans_sql",
]

KINDS = ("new", "expansion", "contraction", "churn", "reactivation")
SIGN = {"new": 1, "expansion": 1, "contraction": -1, "churn": -1, "reactivation": 1}
REASONS = ("voluntary", "involuntary", "unstated")
RUNNING = "DATE '9999-12-31'"  # the last day of what has no end
ZERO = "CAST(0 AS DECIMAL(38, 6))"


@dataclass(frozen=True)
class Ledger:
    """MRR at both ends of a period and every movement between, per customer and day.

    Parameters
    ----------
    period
        Its days.
    start, end
        MRR on the eve of the first day, and on the last day.
    totals
        Amount by kind, none negative: start + new + reactivation + expansion - contraction - churn
        = end.
    rows
        Reads the movements when called: customer_id, day, kind, amount (positive, except that of
        no kind is), mrr_from, mrr_to, reason (of a churn), in order of customer and day.
    """

    period: Period
    start: Decimal
    end: Decimal
    totals: dict[str, Decimal]
    rows: Callable[[], pd.DataFrame]

    def __post_init__(self) -> None:
        change = sum((SIGN[kind] * self.totals[kind] for kind in KINDS), Decimal(0))
        if self.start + change != self.end:
            raise AssertionError(
                f"MRR {self.period.label}: {self.start} at the start and {change} of movements "
                f"should give the end, which is {self.end}"
            )


def mrr_ledger(subscriptions: Source, period: Period) -> Ledger:
    """List what moved MRR in a period: one row per customer, day and movement.

    Parameters
    ----------
    subscriptions
        Contract spans.
    period
        Its days; a span that ends on the first of them was there at the start.

    Returns
    -------
    Ledger
        Exact amounts, asserted to add up, in total and for each customer.

    Notes
    -----
    New: paid for the first time. Expansion and contraction: any net rise or fall of a customer who
    pays before and after, be it price, plan, seats, a further or one fewer subscription, a discount
    that begins or runs out. Churn: to zero. Reactivation: from zero, having paid before.

    Examples
    --------
    >>> spans = pd.DataFrame({
    ...     "customer_id": ["a", "a", "b"], "mrr": [100, 150, 40],
    ...     "started_at": pd.to_datetime(["2026-01-01", "2026-10-10", "2026-03-01"]),
    ...     "ended_at": pd.to_datetime(["2026-10-10", None, "2026-10-20"])})
    >>> ledger = mrr_ledger(spans, Period.month("2026-10"))
    >>> ledger.rows()[["customer_id", "kind", "amount"]].values.tolist()
    [['a', 'expansion', Decimal('50.000000')], ['b', 'churn', Decimal('40.000000')]]
    >>> int(ledger.start), int(ledger.end)
    (140, 150)
    """
    rows = Rows(subscriptions=subscriptions)
    spans = spans_sql(rows, period.end)
    (whole,) = rows.tally(customers_sql(spans, period), None, **movements())
    return Ledger(
        period,
        Decimal(whole["mrr_start"] or 0),
        Decimal(whole["mrr_end"] or 0),
        _checked(whole),
        lambda: (  # by way of Arrow: a frame made directly would hold floats
            rows.sql(f"{ledger_sql(spans, period)} ORDER BY customer_id, day")
            .to_arrow_table()
            .to_pandas()
        ),
    )


def movements() -> dict[str, str]:
    """Name the aggregates over `customers_sql` that `_checked` and every rate of MRR need."""
    names = ("mrr_start", "mrr_end", *KINDS)
    return {name: f"sum({name})" for name in names} | {"broken": counted("not adds_up")}


def measured(
    rows: Rows,
    period: Period,
    make: Callable[[Tally], Metric],
    by: By = None,
    /,
    *,
    above: str,
    below: str,
    **aggregates: str,
) -> Metric:
    """Make a metric of customers whose record says which contract spans were used.

    Parameters
    ----------
    rows, period
        Tables with `subscriptions`; the days.
    make
        A tally of customers, with the rows of spans in it, to the metric.
    by
        Columns of `customers`, or of `subscriptions` (a customer's newest span decides).
    above, below
        Who stands behind numerator and denominator: conditions on a line of `customers_sql`. Who
        is above the line is listed below it too.
    **aggregates
        As for `Rows.tally`, over all customers, beside the `movements`.

    Returns
    -------
    Metric
        With segments attached; the identity of MRR is asserted for each.
    """
    own = [column for column in columns_of(by) if _is_own(rows, column)]
    spans = keep_customers(rows, period, by)
    columns = ", ".join(["customer_id", "id", "excluded_because", *map(quoted, own)])

    def by_segment(select: str, **sums: str) -> dict[tuple[tuple[str, str], ...], Tally]:
        return {tuple(one.by.items()): one for one in rows.tally(select, by, **sums)}

    # the same for every metric: found once
    sums = by_segment("SELECT * FROM mrr_customers", **movements())
    records = by_segment(f"SELECT {columns} FROM ({spans})")

    def recorded(tally: Tally) -> Metric:
        of = tuple(tally.by.items())
        record = records[of]
        whole = replace(
            tally,
            rows_in=record.rows_in,
            used=record.used,
            excluded=record.excluded,
            sums={**sums[of].sums, **tally.sums},
            ids=_both(tally.ids, record.ids),
        )
        _checked(whole)
        return make(whole)

    judged = f"""
        SELECT *, ({above}) AS is_numerator, CASE WHEN ({above}) OR ({below}) THEN 'below' END
            AS part
        FROM mrr_customers"""
    return rows.measure(recorded, judged, by, **aggregates)


def keep_customers(rows: Rows, period: Period, by: By = None) -> str:
    """Keep `customers_sql` of a period as table `mrr_customers`: every metric of MRR is made of it.

    Returns
    -------
    str
        The spans that it is made of, as from `spans_sql`.
    """
    spans = spans_sql(rows, period.end, by)
    own = [column for column in columns_of(by) if _is_own(rows, column)]
    rows.keep("mrr_customers", customers_sql(spans, period, own), by)
    return spans


def spans_sql(
    rows: Rows,
    until: date,
    by: By = None,
    /,
    *,
    amount: str = "mrr",
    end: str = "CAST(ended_at AS DATE)",
    term: str | None = None,
) -> str:
    """Write the judged spans: a SELECT of one line per row of `subscriptions`.

    Parameters
    ----------
    rows
        Tables with `subscriptions`.
    until
        First day that is not looked at: spans that start later are left out.
    by
        Columns to cut by; those that only `subscriptions` has are carried along.
    amount, end
        SQL for the MRR of a span and the first day without it (null: running).
    term
        SQL for the months of a term, carried along as `months`.

    Returns
    -------
    str
        A SELECT of customer_id, id, start_day, end_day, amount, end_reason, excluded_because and
        the columns carried along. The same span under one subscription_id counts once.
    """
    own = [column for column in columns_of(by) if _is_own(rows, column)]
    newest = "".join(
        f", last_value({quoted(column)} IGNORE NULLS) OVER (PARTITION BY customer_id ORDER BY "
        f"start_day, id, CAST({quoted(column)} AS VARCHAR) ROWS BETWEEN UNBOUNDED PRECEDING AND "
        f"UNBOUNDED FOLLOWING) AS {quoted(column)}"
        for column in own
    )
    carried = "".join(f", {quoted(column)}" for column in own)
    months = f", {term} AS months" if term else ""
    # the window over a million ids is dear, and hardly ever needed
    ((repeats,),) = rows.once(
        "SELECT count(subscription_id) - count(DISTINCT subscription_id) FROM subscriptions"
    )
    repeat = (
        """CASE WHEN id IS NULL THEN 1 ELSE row_number() OVER (
            PARTITION BY customer_id, id, start_day
            ORDER BY end_day DESC, amount DESC, is_trial, end_reason) END"""
        if repeats
        else "1"
    )
    return f"""
        SELECT customer_id, id, start_day, end_day, amount, end_reason,
            CASE WHEN customer_id IS NULL THEN 'no customer'
                 WHEN start_day IS NULL THEN 'no start'
                 WHEN amount IS NULL THEN 'no MRR'
                 WHEN amount < 0 THEN 'negative MRR'
                 WHEN ended_at < started_at THEN 'ended before it started'
                 WHEN {repeat} > 1 THEN 'repeated subscription_id'
                 WHEN start_day >= DATE '{until}' THEN 'starts after the period'
                 WHEN is_trial THEN 'trial'
                 WHEN amount = 0 THEN 'free'
                 WHEN end_day <= start_day THEN 'no day of service'
            END AS excluded_because{", months" if term else ""}{newest}
        FROM (SELECT customer_id, subscription_id AS id, CAST(started_at AS DATE) AS start_day,
                  coalesce({end}, {RUNNING}) AS end_day, {amount} AS amount, end_reason, started_at,
                  ended_at, coalesce(is_trial, false) AS is_trial{months}{carried}
              FROM subscriptions)"""


def ledger_sql(spans: str, period: Period) -> str:
    """Write the movements of a period: one line per customer and day on which MRR changed.

    Parameters
    ----------
    spans
        Judged spans, as from `spans_sql`.
    period
        The days.

    Returns
    -------
    str
        A SELECT of customer_id, day, kind, amount (positive), mrr_from, mrr_to, reason (of churn).
    """
    return f"""
        {_moves(spans, period)}
        SELECT customer_id, day, kind, amount, mrr_from, mrr_to, reason FROM moves"""


def customers_sql(spans: str, period: Period, carried: Sequence[str] = (), /) -> str:
    """Write one line per customer: MRR at both ends of a period and what moved it.

    Parameters
    ----------
    spans
        Judged spans, as from `spans_sql`; a customer all of whose spans are left out has a line.
    period
        The days.
    carried
        Columns to keep.

    Returns
    -------
    str
        A SELECT of customer_id, id (the same), excluded_because (null), first_day (paid for),
        mrr_start, mrr_end, one amount per kind, churns (how often), left_because (of the last
        churn), churn_days and join_days (lists), adds_up.
    """
    kinds = ", ".join(
        f"coalesce(sum(amount) FILTER (WHERE kind = '{kind}'), {ZERO}) AS {kind}" for kind in KINDS
    )
    filled = ", ".join(f"coalesce({kind}, {ZERO}) AS {kind}" for kind in KINDS)
    change = " ".join(f"{'+' if SIGN[kind] > 0 else '-'} {kind}" for kind in KINDS)
    return f"""
        {_moves(spans, period, carried)},
        moved AS (
            SELECT customer_id, {kinds}, count(*) FILTER (WHERE kind = 'churn') AS churns,
                arg_max(reason, day) FILTER (WHERE kind = 'churn') AS left_because,
                list(day ORDER BY day) FILTER (WHERE kind = 'churn') AS churn_days,
                list(day ORDER BY day) FILTER (WHERE kind IN ('new', 'reactivation')) AS join_days
            FROM moves GROUP BY customer_id)
        SELECT *, mrr_start {change} = mrr_end AS adds_up FROM (
            SELECT ends.*, customer_id AS id, CAST(NULL AS VARCHAR) AS excluded_because, {filled},
                coalesce(churns, 0) AS churns, left_because, coalesce(churn_days, []) AS churn_days,
                coalesce(join_days, []) AS join_days
            FROM ends LEFT JOIN moved USING (customer_id))"""


def _moves(spans: str, period: Period, carried: Sequence[str] = ()) -> str:
    """Open a query with `ends` (a line per customer) and `moves` (one per movement)."""
    first, end = f"DATE '{period.start}'", f"DATE '{period.end}'"
    used = "FILTER (WHERE excluded_because IS NULL"
    own = "".join(f", min({quoted(column)}) AS {quoted(column)}" for column in carried)
    return f"""
        WITH spans AS MATERIALIZED ({spans}),
        ends AS MATERIALIZED (
            SELECT customer_id, min(start_day) {used}) AS first_day,
                coalesce(sum(amount) {used} AND start_day < {first} AND end_day >= {first}), {ZERO})
                    AS mrr_start,
                coalesce(sum(amount) {used} AND start_day < {end} AND end_day >= {end}), {ZERO})
                    AS mrr_end{own}
            FROM spans GROUP BY customer_id),
        steps AS (
            SELECT customer_id, start_day AS day, amount AS change, false AS wanted, false AS forced
            FROM spans
            WHERE excluded_because IS NULL AND start_day >= {first} AND start_day < {end}
            UNION ALL
            SELECT customer_id, end_day, -amount, end_reason = 'voluntary',
                end_reason = 'involuntary'
            FROM spans WHERE excluded_because IS NULL AND end_day >= {first} AND end_day < {end}),
        days AS (
            SELECT customer_id, day, sum(change) AS change, coalesce(bool_or(wanted), false)
                AS wanted, coalesce(bool_or(forced), false) AS forced
            FROM steps GROUP BY customer_id, day),
        running AS (
            SELECT days.*, first_day, mrr_start + sum(change) OVER (
                PARTITION BY customer_id ORDER BY day) AS mrr_to
            FROM days JOIN ends USING (customer_id)),
        moves AS MATERIALIZED (
            SELECT customer_id, day,
                CASE WHEN mrr_to = change AND day = first_day THEN 'new'
                     WHEN mrr_to = change THEN 'reactivation'
                     WHEN mrr_to = 0 THEN 'churn'
                     WHEN change > 0 THEN 'expansion' ELSE 'contraction' END AS kind,
                abs(change) AS amount, mrr_to - change AS mrr_from, mrr_to,
                CASE WHEN mrr_to <> 0 THEN NULL WHEN wanted THEN 'voluntary'
                     WHEN forced THEN 'involuntary' ELSE 'unstated' END AS reason
            FROM running WHERE change <> 0)"""


def _checked(tally: Tally) -> dict[str, Decimal]:
    """Assert that start and movements give the end, of the sum and of each customer."""
    totals = {kind: Decimal(tally[kind] or 0) for kind in KINDS}
    start, end = (Decimal(tally[name] or 0) for name in ("mrr_start", "mrr_end"))
    change = sum((SIGN[kind] * amount for kind, amount in totals.items()), Decimal(0))
    if tally["broken"] or start + change != end:
        raise AssertionError(
            f"MRR {dict(tally.by) or ''}: {start} at the start and {change} of movements should "
            f"give the end, {end}, for each customer; {tally['broken']} customers do not add up"
        )
    return totals


def _is_own(rows: Rows, column: str) -> bool:
    """Tell whether only the spans can say in which segment a customer is."""
    return rows.has("subscriptions", column) and not rows.has("customers", column)


def _both(of_customers: Callable[[], Ids], of_rows: Callable[[], Ids]) -> Callable[[], Ids]:
    """Read who is above and below the line from the customers, who was left out from the rows."""

    def read() -> Ids:
        found = of_customers()
        return Ids(found.numerator, found.parts.get("below", ()), of_rows().excluded)

    return read
