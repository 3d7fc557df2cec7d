"""How much recurring revenue leaves, stays and grows: MRR churn, revenue retention, quick ratio."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Literal, get_args

from retain.metrics.calculator import metric
from retain.metrics.ledger import KINDS, measured
from retain.metrics.period import Period
from retain.metrics.recurring import money
from retain.metrics.result import Direction, Metric, rounded
from retain.metrics.rows import By, Rows, Source, Tally, counted

__all__ = [
    "RETENTION",
    "gross_revenue_retention",
    "mrr_churn_rate",
    "net_revenue_retention",
    "quick_ratio",
]

MrrChurn = Literal["gross", "cancelled", "net_cohort", "net_with_reactivation"]
Gross = Literal["cohort", "point_to_point"]
Net = Literal["cohort", "point_to_point", "with_reactivation"]
Quick = Literal["without_reactivation", "with_reactivation"]
# what a customer of the start still pays at the end, by who counts as having stayed
KEPT = {
    "cohort": "CASE WHEN mrr_start > 0 AND churns = 0 THEN mrr_end ELSE 0 END",
    "point_to_point": "CASE WHEN mrr_start > 0 THEN mrr_end ELSE 0 END",
    "with_reactivation": "CASE WHEN new = 0 THEN mrr_end ELSE 0 END",
}
STAYED = {
    "cohort": "MRR at the end of the customers at the start who never left",
    "point_to_point": "MRR at the end of the customers at the start",
    "with_reactivation": "MRR at the end of all but new customers",
}


@metric(
    label="MRR churn rate",
    unit="percent",
    direction="lower is better",
    needs=("subscriptions",),
    variants=get_args(MrrChurn),
    theme="revenue",
)
def mrr_churn_rate(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: MrrChurn = "gross",
    timezone: str = "UTC",
) -> Metric:
    """Share of the MRR at the start that was lost in a period, in percent.

    Parameters
    ----------
    subscriptions
        Contract spans.
    period
        In which it was lost.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        - ``gross``: (churn + contraction) ÷ MRR at the start.
        - ``cancelled``: churn ÷ MRR at the start.
        - ``net_cohort``: less the growth of the customers at the start; 100 - net retention
          (``cohort``), negative when they grew by more.
        - ``net_with_reactivation``: (churn + contraction - expansion - reactivation) ÷ start.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent, exact; `parts` has start, end and the movements.

    Raises
    ------
    TableError
        When a column is missing, or the variant is unknown.

    Notes
    -----
    All but ``net_cohort`` divide the ledger of all customers, so they agree with `mrr_movement`: a
    customer who joined and left in the period is in them. Without MRR at the start: undefined.

    References
    ----------
    reference/metrics.md 2.9.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": ["a", "b", "b"], "mrr": [40, 60, 50],
    ...                       "started_at": pd.to_datetime(["2026-01-01"] * 2 + ["2026-10-09"]),
    ...                       "ended_at": pd.to_datetime(["2026-10-20", "2026-10-09", None])})
    >>> [mrr_churn_rate(spans, Period.month("2026-10"), variant=v).display()
    ...  for v in ("gross", "cancelled")]
    ['50.0', '40.0']
    """

    def lost(tally: Tally) -> Decimal:
        moved = {kind: money(tally[kind]) for kind in KINDS}
        return {
            "gross": moved["churn"] + moved["contraction"],
            "cancelled": moved["churn"],
            "net_cohort": money(tally["mrr_start"]) - money(tally["kept"]),
            "net_with_reactivation": moved["churn"]
            + moved["contraction"]
            - moved["expansion"]
            - moved["reactivation"],
        }[variant]

    above = {
        "gross": "churn > 0 OR contraction > 0",
        "cancelled": "churn > 0",
        "net_cohort": f"mrr_start > 0 AND {KEPT['cohort']} <> mrr_start",
        "net_with_reactivation": "churn + contraction + expansion + reactivation > 0",
    }[variant]
    said = {
        "gross": "(churn + contraction)",
        "cancelled": "churn",
        "net_cohort": "(start - MRR at the end of those who never left)",
        "net_with_reactivation": "(churn + contraction - expansion - reactivation)",
    }[variant]
    make = _rate("mrr_churn_rate", variant, "lower is better", period, timezone, lost, said)
    return _measured(subscriptions, customers, period, make, by, above, KEPT["cohort"])


@metric(
    label="Gross revenue retention",
    unit="percent",
    direction="higher is better",
    needs=("subscriptions",),
    variants=get_args(Gross),
    theme="revenue",
)
def gross_revenue_retention(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Gross = "cohort",
    timezone: str = "UTC",
) -> Metric:
    """Share of the MRR at the start that is still paid at the end, growth left out, in percent.

    Parameters
    ----------
    subscriptions
        Contract spans.
    period
        From its start to its end; twelve months is usual.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        ``cohort``: who left in between is lost, back again or not; ``point_to_point``: only what
        is paid at the end counts.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent, 0 to 100, exact.

    Raises
    ------
    TableError
        When a column is missing, or the variant is unknown.

    Notes
    -----
    Each customer is capped at what it paid at the start, then they are added up (capping only the
    total would let one customer's growth hide another's departure). That it is at most 100 % and
    at most the net retention of the same variant is asserted.

    References
    ----------
    reference/metrics.md 2.9.

    Examples
    --------
    >>> import pandas as pd
    >>> day, change = pd.Timestamp("2026-01-01"), pd.Timestamp("2026-10-09")
    >>> spans = pd.DataFrame({"customer_id": ["a", "a", "b", "b", "c"],
    ...                       "mrr": [100, 150, 100, 60, 100],
    ...                       "started_at": [day, change, day, change, day],
    ...                       "ended_at": [change, pd.NaT, change, pd.NaT, change]})
    >>> gross_revenue_retention(spans, Period.month("2026-10")).display()
    '53.3'
    """
    kept = KEPT[variant]
    capped = f"least(mrr_start, {kept})"

    def above(tally: Tally) -> Decimal:
        gross, net, start = (money(tally[name]) for name in ("kept", "net", "mrr_start"))
        if gross > net or gross > start:
            raise AssertionError(
                f"gross revenue retention: {gross} of {start} kept, net of growth {net}; gross "
                "should be the least of the three"
            )
        return gross

    said = f"{STAYED[variant]}, each at most its start,"
    make = _rate(
        "gross_revenue_retention", variant, "higher is better", period, timezone, above, said
    )
    return _measured(
        subscriptions, customers, period, make, by, f"{capped} > 0", capped, net=f"sum({kept})"
    )


@metric(
    label="Net revenue retention",
    unit="percent",
    direction="higher is better",
    needs=("subscriptions",),
    variants=get_args(Net),
    theme="revenue",
)
def net_revenue_retention(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Net = "cohort",
    timezone: str = "UTC",
) -> Metric:
    """Share of the MRR at the start that is still paid at the end, growth included, in percent.

    Parameters
    ----------
    subscriptions
        Contract spans.
    period
        From its start to its end; twelve months is usual.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        ``cohort``: who left in between is lost, back again or not; ``point_to_point``: what the
        customers at the start pay at the end; ``with_reactivation``: customers who had left before
        the start and came back count too.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent, from 0, exact; above 100 when the customers who stayed grew by more than was
        lost.

    Raises
    ------
    TableError
        When a column is missing, or the variant is unknown.

    Notes
    -----
    New customers never count. Of figures of several months, compound, do not add.

    References
    ----------
    reference/metrics.md 2.9.

    Examples
    --------
    >>> import pandas as pd
    >>> day, change = pd.Timestamp("2026-01-01"), pd.Timestamp("2026-10-09")
    >>> spans = pd.DataFrame({"customer_id": ["a", "a", "b", "b", "c"],
    ...                       "mrr": [100, 150, 100, 60, 100],
    ...                       "started_at": [day, change, day, change, day],
    ...                       "ended_at": [change, pd.NaT, change, pd.NaT, change]})
    >>> net_revenue_retention(spans, Period.month("2026-10")).display()
    '70.0'
    """
    make = _rate(
        "net_revenue_retention",
        variant,
        "higher is better",
        period,
        timezone,
        lambda tally: money(tally["kept"]),
        STAYED[variant],
    )
    kept = KEPT[variant]
    return _measured(subscriptions, customers, period, make, by, f"{kept} > 0", kept)


@metric(
    label="Quick ratio",
    unit="ratio",
    direction="higher is better",
    needs=("subscriptions",),
    variants=get_args(Quick),
    theme="revenue",
)
def quick_ratio(
    subscriptions: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Quick = "without_reactivation",
    timezone: str = "UTC",
) -> Metric:
    """MRR won ÷ MRR lost in a period: above 1 the base grows.

    Parameters
    ----------
    subscriptions
        Contract spans.
    period
        In which MRR moved.
    by
        Columns of customers to cut by, or of subscriptions where customers have no such column.
    customers
        Needed to cut by their columns.
    variant
        (new + expansion) ÷ (contraction + churn), with or without reactivation above the line.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        A ratio, from 0, exact; undefined when nothing was lost.

    Raises
    ------
    TableError
        When a column is missing, or the variant is unknown.

    References
    ----------
    reference/metrics.md 2.23.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({"customer_id": ["a", "b"], "mrr": [50, 20],
    ...                       "started_at": pd.to_datetime(["2026-10-01", "2026-01-09"]),
    ...                       "ended_at": pd.to_datetime([None, "2026-10-20"])})
    >>> quick_ratio(spans, Period.month("2026-10")).display()
    '2.50'
    """
    gains = ["new", "expansion"] + (["reactivation"] if variant == "with_reactivation" else [])
    total = " + ".join(gains)

    def make(tally: Tally) -> Metric:
        won = sum((money(tally[kind]) for kind in gains), Decimal(0))
        lost = money(tally["contraction"]) + money(tally["churn"])
        return Metric(
            "quick_ratio",
            variant,
            Fraction(won) / Fraction(lost) if lost else None,
            "ratio",
            "higher is better",
            numerator=won,
            denominator=lost,
            n=tally["moved"],
            undefined_because=None if lost else "nothing was lost",
            period=period,
            timezone=timezone,
            parts={kind: money(tally[kind]) for kind in KINDS},
            formula=f"({total}) ÷ (contraction + churn): {rounded(won, 2):,} ÷ "
            f"{rounded(lost, 2):,}",
            **tally.counts,
        )

    won, lost = f"{total} > 0", "contraction + churn > 0"
    return _measured(subscriptions, customers, period, make, by, won, total, lost)


def _rate(
    name: str,
    variant: str,
    direction: Direction,
    period: Period,
    timezone: str,
    above: Callable[[Tally], Decimal],
    said: str,
) -> Callable[[Tally], Metric]:
    """Make what turns a tally into 100 x something ÷ MRR at the start."""

    def make(tally: Tally) -> Metric:
        start, value = money(tally["mrr_start"]), above(tally)
        parts = {kind: money(tally[kind]) for kind in KINDS}
        return Metric(
            name,
            variant,
            100 * Fraction(value) / Fraction(start) if start else None,
            "percent",
            direction,
            numerator=value,
            denominator=start,
            n=tally["at_start"],
            undefined_because=None if start else "no MRR at the start",
            period=period,
            timezone=timezone,
            parts={"start": start, "end": money(tally["mrr_end"])} | parts,
            formula=f"100 x {said} ÷ MRR at the start: {rounded(value, 2):,} ÷ "
            f"{rounded(start, 2):,}",
            **tally.counts,
        )

    return make


def _measured(
    subscriptions: Source,
    customers: Source | None,
    period: Period,
    make: Callable[[Tally], Metric],
    by: By,
    above: str,
    kept: str,
    below: str = "mrr_start > 0",
    **aggregates: str,
) -> Metric:
    return measured(
        Rows(subscriptions=subscriptions, customers=customers),
        period,
        make,
        by,
        above=above,
        below=below,
        kept=f"sum({kept})",
        at_start=counted("mrr_start > 0"),
        moved=counted(f"{above} OR {below}"),
        **aggregates,
    )


RETENTION = (mrr_churn_rate, gross_revenue_retention, net_revenue_retention, quick_ratio)
