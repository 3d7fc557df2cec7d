"""How long customers wait for a feature or for value, those who wait still counted as waiting."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any, Literal

from retain.errors import TableError
from retain.metrics.adoption import Features, of_features
from retain.metrics.calculator import metric
from retain.metrics.period import Period
from retain.metrics.result import Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted, quoted
from retain.metrics.shares import low_n
from retain.metrics.survival import KaplanMeier, kaplan_meier

__all__ = ["WAITING", "time_to_adopt", "time_to_value"]

COHORT = 180  # days back that customers may have started
Median = Literal["kaplan_meier", "reached"]


@metric(
    label="Days until a feature is first used",
    unit="days",
    direction="lower is better",
    needs=("usage", "customers"),
    variants=("kaplan_meier", "reached"),
    theme="product",
)
def time_to_adopt(
    usage: Source,
    customers: Source,
    period: Period,
    *,
    by: By = None,
    variant: Median = "kaplan_meier",
    core_features: Features = (),
    entitled: Source | None = None,
    cohort_days: int = COHORT,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Median days from entitlement to the first core action; who waits still counts as waiting.

    Parameters
    ----------
    usage
        Events.
    customers
        With signed_up_at, from when a customer may use everything unless `entitled` says otherwise.
    period
        What happened up to its last day is known.
    by
        Columns of customers to cut by.
    variant
        ``"kaplan_meier"``: the day by which half have; ``"reached"``: median of those who have,
        which flatters.
    core_features
        What counts as using it, by name; none: any use.
    entitled
        A row per customer_id and `since`, from when it may use the feature.
    cohort_days
        Customers entitled within so many days before the period's end count.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In days. Its rows are customers. Undefined while more than half wait.

    References
    ----------
    reference/metrics.md 2.17; `kaplan_meier`.
    """
    rows = Rows(usage=usage, customers=customers, entitled=entitled)
    starts = _clock("signed_up_at")
    if rows.has("entitled"):
        rows.require("entitled", "customer_id", "since")
        starts = """SELECT CAST(customer_id AS VARCHAR) AS customer_id,
            min(CAST(since AS TIMESTAMP)) AS start FROM entitled GROUP BY 1"""
    return _waiting(
        "time_to_adopt",
        rows,
        customers,
        starts,
        period,
        by,
        variant,
        core_features,
        cohort_days,
        level,
        timezone,
    )


@metric(
    label="Time to value",
    unit="days",
    direction="lower is better",
    needs=("usage", "customers"),
    variants=("kaplan_meier", "reached"),
    theme="product",
)
def time_to_value(
    usage: Source,
    customers: Source,
    period: Period,
    *,
    by: By = None,
    variant: Median = "kaplan_meier",
    value_feature: str | None = None,
    clock: str = "signed_up_at",
    cohort_days: int = COHORT,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Median days from the start of the clock to the first event of value.

    Parameters
    ----------
    usage
        Events.
    customers
        With the column of the clock.
    period
        What happened up to its last day is known.
    by
        Columns of customers to cut by.
    variant
        ``"kaplan_meier"``: the day by which half have it, those who wait still counted; or
        ``"reached"``: median of those who have it, which flatters.
    value_feature
        Feature whose first use is the first value; None: any use.
    clock
        Column of customers at which the clock starts: signature, kick-off and sign-up give three
        different numbers.
    cohort_days
        Customers whose clock started within so many days before the period's end count.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In days; `parts` hold both medians' counts. Its rows are customers. Undefined while more
        than half wait.

    References
    ----------
    reference/metrics.md 2.18; `kaplan_meier`.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.Timestamp("2026-08-20")
    >>> who = pd.DataFrame({"customer_id": list("abcde"), "signed_up_at": day})
    >>> events = pd.DataFrame({"customer_id": list("abcd"), "occurred_at": [
    ...     day + pd.Timedelta(days=one) for one in (3, 5, 8, 40)]})
    >>> [time_to_value(events, who, Period.month("2026-10"), variant=one).display()
    ...  for one in ("kaplan_meier", "reached")]
    ['8.0', '6.5']
    """
    rows = Rows(usage=usage, customers=customers)
    rows.require("customers", clock)
    starts = _clock(clock)
    return _waiting(
        "time_to_value",
        rows,
        customers,
        starts,
        period,
        by,
        variant,
        (value_feature,) if value_feature else (),
        cohort_days,
        level,
        timezone,
        clock=clock,
    )


def _waiting(
    name: str,
    rows: Rows,
    customers: Source,
    starts: str,
    period: Period,
    by: By,
    variant: Median,
    features: Features,
    cohort_days: int,
    level: float,
    timezone: str,
    **parameters: Any,
) -> Metric:
    """Measure how long customers wait for their first event."""
    if cohort_days < 1:
        raise TableError(f"cohort_days should be at least 1; found {cohort_days}")
    cohort = Period(period.end - timedelta(cohort_days), period.end)
    last = period.end - timedelta(1)
    # one reading of usage serves waits for several features; numbers are grouped by faster than ids
    since = "CAST(start AS DATE)"
    rows.keep(
        "first_uses",
        f"""
        WITH numbered AS MATERIALIZED (
            SELECT customer_id, row_number() OVER () AS no FROM ({starts})
            WHERE {cohort.holds("start")}),
        firsts AS (
            SELECT no, feature, CAST(min(occurred_at) AS DATE) AS first_on
            FROM usage JOIN numbered USING (customer_id) WHERE {cohort.holds("occurred_at")}
            GROUP BY no, feature)
        SELECT customer_id, feature, first_on FROM firsts JOIN numbered USING (no)""",
    )
    rows.keep(
        "waits",
        f"""
        SELECT s.customer_id, s.customer_id AS id, first_on IS NOT NULL AS is_numerator,
            coalesce(first_on, DATE '{last}') - {since} AS waited, first_on IS NOT NULL AS is_over,
            CASE WHEN start IS NULL THEN 'no start'
                WHEN first_on < {since} THEN 'before the clock starts' END AS excluded_because
        FROM ({starts}) AS s LEFT JOIN (
            SELECT customer_id, min(first_on) AS first_on FROM first_uses
            WHERE true{of_features(features)} GROUP BY customer_id) AS u USING (customer_id)
        WHERE start IS NULL OR {cohort.holds("start")}""",
        by,
    )
    judged = "SELECT * FROM waits"
    curves = kaplan_meier(rows, judged, by, level)

    def make(tally: Tally) -> Metric:
        curve = curves.get(tuple(tally.by.items()), KaplanMeier())
        flattering = None if tally["middle"] is None else Fraction(tally["middle"])
        value = curve.median if variant == "kaplan_meier" else flattering
        came, n = tally["came"], tally.used
        low = high = None
        if variant == "kaplan_meier" and curve.low is not None and curve.high is not None:
            low, high = curve.low, curve.high
        shown = {"kaplan_meier": curve.median, "reached": flattering}
        reason = None
        if value is None:
            reason = "more than half wait still" if n else "nobody started"
        return Metric(
            name,
            variant,
            value,
            "days",
            "lower is better",
            n=n,
            low=low,
            high=high,
            level=None if low is None else level,
            undefined_because=reason,
            parameters={"features": features, "cohort_days": cohort_days, **parameters},
            period=period,
            timezone=timezone,
            parts={
                "customers who reached it": came,
                "customers who wait": n - came,
                **{
                    f"median, {key}": Fraction(one) for key, one in shown.items() if one is not None
                },
            },
            notes=low_n(n),
            formula=f"median of {n} customers, of whom {n - came} wait still ({variant})",
            **tally.counts,
        )

    return rows.measure(
        make,
        judged,
        by,
        came=counted("is_over"),
        middle="median(CASE WHEN is_over THEN waited END)",
    )


def _clock(column: str) -> str:
    """Write the customers, each once, with the instant at which their clock starts."""
    return f"""SELECT customer_id, min(CAST({quoted(column)} AS TIMESTAMP)) AS start
        FROM customers WHERE customer_id IS NOT NULL GROUP BY customer_id"""


WAITING = (time_to_adopt, time_to_value)
