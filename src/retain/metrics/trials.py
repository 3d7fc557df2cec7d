"""How many who try the product go on to pay, by three definitions; one trial per customer."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from typing import Literal, get_args

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.intervals import share_interval
from retain.metrics.ledger import RUNNING
from retain.metrics.period import Period
from retain.metrics.result import LOW_N, Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted

__all__ = ["TRIALS", "trial_conversion_rate"]

TrialVariant = Literal["start_cohort", "ended_window", "same_window"]
SAID = {
    "start_cohort": "trials started that paid within {days} days ÷ trials started",
    "ended_window": "trials that ended in a paid contract ÷ trials ended",
    "same_window": "first payments after a trial ÷ trials started in the same period",
}


@metric(
    label="Trial conversion rate",
    unit="percent",
    direction="higher is better",
    needs=("subscriptions",),
    variants=get_args(TrialVariant),
    theme="customers",
)
def trial_conversion_rate(
    subscriptions: Source,
    period: Period,
    *,
    data_until: date,
    by: By = None,
    customers: Source | None = None,
    variant: TrialVariant = "start_cohort",
    within_days: int = 30,
    grace_days: int = 0,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of free trials that became paid contracts, in percent.

    Parameters
    ----------
    subscriptions
        Contract spans; those with `is_trial` are trials, the others with an MRR are paid.
    period
        In which trials started, ended or converted.
    data_until
        Last day that the data describe.
    by
        Columns of the trial or of customers to cut by.
    customers
        Needed to cut by their columns.
    variant
        - ``start_cohort``: of the trials started in the period, those paid for within
          `within_days`; trials too young to tell on `data_until` are left out as immature.
        - ``ended_window``: of the trials that ended in the period, those paid for by then (and
          `grace_days`); running trials are left out.
        - ``same_window``: conversions in the period ÷ trials started in it; can pass 100 %.
    within_days
        Days from the start of the trial, for ``start_cohort``.
    grace_days
        Days from the end of the trial, for ``ended_window``.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent; its rows are trials. ``same_window`` has no interval: it is no share.

    Raises
    ------
    TableError
        When a column is missing, or a choice is unknown.

    Notes
    -----
    A customer's first trial counts, and an extension keeps its start. A customer who paid before
    is no trial. Converted is converted, even when cancelled right after.

    References
    ----------
    reference/metrics.md 2.15.

    Examples
    --------
    >>> import pandas as pd
    >>> spans = pd.DataFrame({
    ...     "customer_id": ["a", "a", "b"], "is_trial": [True, False, True], "mrr": [0, 30, 0],
    ...     "started_at": pd.to_datetime(["2026-03-02", "2026-03-16", "2026-03-09"]),
    ...     "ended_at": pd.to_datetime(["2026-03-16", None, "2026-03-23"])})
    >>> march = Period.month("2026-03")
    >>> trial_conversion_rate(spans, march, data_until=date(2026, 6, 30)).display()
    '50.0'
    """
    if within_days < 0 or grace_days < 0:
        raise TableError(
            f"trial_conversion_rate: within_days and grace_days should not be negative; found "
            f"{within_days} and {grace_days}"
        )
    rows = Rows(subscriptions=subscriptions, customers=customers)
    rows.require("subscriptions", "is_trial")
    days = within_days if variant == "start_cohort" else grace_days

    def make(tally: Tally) -> Metric:
        converted, trials = tally["converted"], tally["trials"]
        bounds = None if variant == "same_window" else share_interval(converted, trials, level)
        immature = tally.excluded.get("immature", 0)
        notes = ["low n"] if 0 < trials < LOW_N else []
        notes += [f"{immature} trials are too young to tell"] if immature else []
        return Metric(
            "trial_conversion_rate",
            variant,
            Fraction(100 * converted, trials) if trials else None,
            "percent",
            "higher is better",
            numerator=converted,
            denominator=trials,
            n=trials,
            low=100 * bounds[0] if bounds else None,
            high=100 * bounds[1] if bounds else None,
            level=level if bounds else None,
            undefined_because=None if trials else "no trials to convert",
            parameters={"within_days": within_days, "grace_days": grace_days}
            | {"data_until": data_until},
            period=period,
            timezone=timezone,
            parts={"converted": converted, "trials": trials, "immature": immature},
            notes=tuple(notes),
            formula=f"100 x {SAID[variant].format(days=days)}: {converted} ÷ {trials}",
            **tally.counts,
        )

    return rows.measure(
        make,
        _trials_sql(period, variant, days, data_until),
        by,
        converted=counted("is_numerator"),
        trials=counted("is_trial_of_period"),
    )


def _trials_sql(period: Period, variant: str, days: int, data_until: date) -> str:
    """Write the trials that the question is about, each used or left out with its reason."""
    first, end = f"DATE '{period.start}'", f"DATE '{period.end}'"
    last = f"DATE '{min(data_until, period.end - timedelta(1))}'"
    started = f"(start_day >= {first} AND start_day < {end})"
    # a trial that was paid for before its end ended then
    over = "least(trial_end, coalesce(paid_day, trial_end))"
    about, young, numerator, of_period = {
        "start_cohort": (
            started,
            f"start_day + {days} > DATE '{data_until}'",
            f"paid_day <= start_day + {days}",
            "true",
        ),
        "ended_window": (
            f"(place > 1 AND {started} OR place = 1 AND start_day < {end} AND {over} >= {first})",
            f"{over} + {days} > DATE '{data_until}'",
            f"paid_day <= {over} + {days}",
            "true",
        ),
        "same_window": (
            f"({started} OR (place = 1 AND paid_day >= {first} AND paid_day < {end}))",
            "false",
            f"paid_day >= {first} AND paid_day < {end}",
            started,
        ),
    }[variant]
    running = f"WHEN {over} > {last} THEN 'still running'" if variant == "ended_window" else ""
    return f"""
        WITH spans AS MATERIALIZED (
            SELECT *, CAST(started_at AS DATE) AS start_day,
                coalesce(CAST(ended_at AS DATE), {RUNNING}) AS end_day
            FROM subscriptions),
        paid AS (
            SELECT customer_id, start_day AS day FROM spans
            WHERE NOT coalesce(is_trial, false) AND mrr > 0 AND end_day > start_day),
        sound AS (
            SELECT *, CASE WHEN customer_id IS NULL THEN 'no customer'
                           WHEN start_day IS NULL THEN 'no start'
                           WHEN ended_at < started_at THEN 'ended before it started' END AS unsound
            FROM spans WHERE is_trial),
        placed AS (
            SELECT *, CASE WHEN unsound IS NULL THEN row_number() OVER trial ELSE 1 END AS place,
                coalesce(start_day > max(end_day) OVER (
                    PARTITION BY customer_id, unsound IS NULL ORDER BY start_day, end_day,
                    subscription_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), false)
                    AS is_apart
            FROM sound
            WINDOW trial AS (PARTITION BY customer_id, unsound IS NULL
                             ORDER BY start_day, end_day, subscription_id)),
        chained AS (
            SELECT *, sum(CAST(is_apart AS INTEGER)) OVER (
                PARTITION BY customer_id, unsound IS NULL ORDER BY place) AS chain
            FROM placed),
        firsts AS (
            SELECT customer_id, max(end_day) AS trial_end, min(start_day) AS first_start
            FROM chained WHERE unsound IS NULL AND chain = 0 GROUP BY customer_id),
        payers AS (
            SELECT customer_id, min(day) AS first_paid,
                min(CASE WHEN day >= first_start THEN day END) AS paid_day
            FROM paid JOIN firsts USING (customer_id) GROUP BY customer_id),
        judged AS (
            SELECT chained.*, coalesce(trial_end, end_day) AS trial_end, first_paid, paid_day
            FROM chained LEFT JOIN firsts USING (customer_id) LEFT JOIN payers USING (customer_id))
        SELECT *, customer_id AS id, coalesce({numerator}, false) AS is_numerator,
            {of_period} AS is_trial_of_period,
            CASE WHEN unsound IS NOT NULL THEN unsound
                 WHEN place > 1 THEN 'not the first trial of the customer'
                 WHEN first_paid < start_day THEN 'had paid before'
                 {running}
                 WHEN {young} THEN 'immature' END AS excluded_because
        FROM judged WHERE unsound IS NOT NULL OR {about}"""


TRIALS = (trial_conversion_rate,)
