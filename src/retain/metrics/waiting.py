"""How long customers wait for a feature or for value, those who wait still counted as waiting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from math import exp, log, sqrt
from typing import Any, Literal

from retain.errors import TableError
from retain.metrics.adoption import Features, known, of_features
from retain.metrics.calculator import metric
from retain.metrics.intervals import z_of
from retain.metrics.period import Period
from retain.metrics.result import LOW_N, Metric
from retain.metrics.rows import By, Rows, Source, Tally, quoted

__all__ = ["WAITING", "Waiting", "time_to_adopt", "time_to_value"]

COHORT = 180  # days back that customers may have started
Median = Literal["kaplan_meier", "reached"]


@dataclass(frozen=True)
class Waiting:
    """How many waited how many days: until it came, or until we stopped looking.

    Parameters
    ----------
    reached, waiting
        Days waited to how many: those for whom it came, and those who wait still.

    Examples
    --------
    >>> firsts = Waiting({3: 1, 5: 1, 8: 1, 40: 1}, {50: 1})
    >>> firsts.median(), firsts.median_of_reached()
    (8, Fraction(13, 2))
    """

    reached: Mapping[int, int]
    waiting: Mapping[int, int]

    def curve(self) -> list[tuple[int, Fraction, float]]:
        """Give day, share still waiting after it, and Greenwood's sum, for each day it came.

        Who stopped being watched on a day was still waiting on it.
        """
        left = sum(self.reached.values()) + sum(self.waiting.values())
        share, spread = Fraction(1), 0.0
        steps = []
        for day in sorted({*self.reached, *self.waiting}):
            came = self.reached.get(day, 0)
            if came:
                share *= Fraction(left - came, left)
                spread += came / (left * (left - came)) if left > came else float("inf")
                steps.append((day, share, spread))
            left -= came + self.waiting.get(day, 0)
        return steps

    def median(self) -> int | None:
        """Give the first day by which half have reached it; None while more than half wait."""
        return next((day for day, share, _ in self.curve() if share <= Fraction(1, 2)), None)

    def median_of_reached(self) -> Fraction | None:
        """Give the median of those who reached it: flattering, as it forgets those who wait."""
        days = sorted(self.reached)
        n = sum(self.reached.values())
        if not n:
            return None

        def at(rank: int) -> int:
            for day in days:
                rank -= self.reached[day]
                if rank < 0:
                    return day
            raise AssertionError("a rank beyond the last")

        return Fraction(at((n - 1) // 2) + at(n // 2), 2)

    def interval(self, level: float) -> tuple[int, int] | None:
        """Interval of the median; None where the curve does not tell one end of it.

        Notes
        -----
        The days on which the log-log interval of the curve holds one half.

        References
        ----------
        Brookmeyer and Crowley (1982), Biometrics 38, 29-41.
        """
        z = z_of(level)
        held = []
        past = None
        for day, share, spread in self.curve():
            if 0 < share < 1:
                width = z * sqrt(spread) / abs(log(share))
                low, high = float(share) ** exp(width), float(share) ** exp(-width)
            else:
                low = high = float(share)
            if low <= 0.5 <= high:
                held.append(day)
            if high < 0.5:
                past = day
                break
        median = self.median()
        if median is None or past is None:
            return None
        return min([*held, median]), max(past, median)


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
    reference/metrics.md 2.17; `Waiting`.
    """
    rows = Rows(usage=usage, customers=customers, entitled=entitled)
    starts = "SELECT customer_id, signed_up_at AS start FROM (" + known() + ")"
    if rows.has("entitled"):
        rows.require("entitled", "customer_id", "since")
        starts = """SELECT CAST(customer_id AS VARCHAR) AS customer_id,
            min(CAST(since AS TIMESTAMP)) AS start FROM entitled GROUP BY 1"""
    return _waiting(
        "time_to_adopt",
        rows,
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
    reference/metrics.md 2.18; `Waiting`.

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
    starts = f"""SELECT customer_id, min(CAST({quoted(clock)} AS TIMESTAMP)) AS start
        FROM customers WHERE customer_id IS NOT NULL GROUP BY 1"""
    return _waiting(
        "time_to_value",
        rows,
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
    judged = f"""
        SELECT s.customer_id, s.customer_id AS id, first_on IS NOT NULL AS is_numerator,
            coalesce(first_on, DATE '{last}') - CAST(start AS DATE) AS days,
            CASE WHEN start IS NULL THEN 'no start'
                WHEN first_on < CAST(start AS DATE) THEN 'before the clock starts'
                END AS excluded_because
        FROM ({starts}) AS s LEFT JOIN (
            SELECT customer_id, CAST(min(occurred_at) AS DATE) AS first_on FROM usage
            WHERE {cohort.holds("occurred_at")}{of_features(features)} GROUP BY customer_id
        ) AS u USING (customer_id)
        WHERE start IS NULL OR {cohort.holds("start")}"""

    def make(tally: Tally) -> Metric:
        waits = Waiting(tally["reached"] or {}, tally["waiting"] or {})
        median, flattering = waits.median(), waits.median_of_reached()
        value = median if variant == "kaplan_meier" else flattering
        came, n = sum(waits.reached.values()), tally.used
        interval = waits.interval(level) if variant == "kaplan_meier" else None
        shown = {"kaplan_meier": median, "reached": flattering}
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
            low=interval[0] if interval else None,
            high=interval[1] if interval else None,
            level=level if interval else None,
            undefined_because=reason,
            parameters={"features": features, "cohort_days": cohort_days, **parameters},
            period=period,
            timezone=timezone,
            parts={
                "customers who reached it": came,
                "customers who wait": n - came,
                **{f"median, {key}": one for key, one in shown.items() if one is not None},
            },
            notes=("low n",) if 0 < n < LOW_N else (),
            formula=f"median of {n} customers, of whom {n - came} wait still ({variant})",
            **tally.counts,
        )

    return rows.measure(
        make,
        judged,
        by,
        reached="histogram(CASE WHEN is_numerator THEN days END)",
        waiting="histogram(CASE WHEN NOT is_numerator THEN days END)",
    )


WAITING = (time_to_adopt, time_to_value)
