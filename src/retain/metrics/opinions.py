"""What customers say when they are asked: NPS, CSAT, CES, answer rates."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from retain.metrics.calculator import metric
from retain.metrics.intervals import net_interval
from retain.metrics.period import Period
from retain.metrics.result import LOW_N, Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted

__all__ = ["OPINIONS", "nps"]

Answers = Literal["latest", "all"]
WHEN = "coalesce(answered_at, sent_at)"


@metric(
    label="Net promoter score",
    unit="points",
    direction="higher is better",
    needs=("surveys",),
    variants=("latest", "all"),
    theme="opinions",
)
def nps(
    surveys: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Answers = "latest",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of promoters (9-10) minus share of detractors (0-6), -100 to 100 points.

    Parameters
    ----------
    surveys
        Answers; those of kind nps are read.
    period
        Answers given in it count (sent in it, where nobody answered).
    by
        Columns of surveys or customers to cut by.
    customers
        Needed to cut by their columns.
    variant
        ``"latest"`` answer of a customer to a survey (one per case where `interaction_id` is
        given), of two at the same instant the lower; or ``"all"`` answers.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In points: subtracted first, rounded at display only.

    Raises
    ------
    TableError
        When a column is missing.

    Notes
    -----
    Only whole numbers from 0 to 10 are answers: others, and answers given on another scale, are
    refused and counted. Every answer weighs the same. Without answers it is undefined.

    References
    ----------
    reference/metrics.md 2.1.

    Examples
    --------
    >>> import pandas as pd
    >>> answers = pd.DataFrame({
    ...     "customer_id": range(11), "kind": "nps", "score": [10] * 7 + [8] * 2 + [3] * 2,
    ...     "answered_at": pd.Timestamp("2026-10-05")})
    >>> nps(answers, Period.month("2026-10")).display()
    '45'
    """
    rows = Rows(surveys=surveys, customers=customers)
    refused = "score <> trunc(score) OR score NOT BETWEEN 0 AND 10"
    judged = f"""
        SELECT *, customer_id AS id,
            CASE WHEN score >= 9 THEN 'promoters' WHEN score >= 7 THEN 'passives'
                 ELSE 'detractors' END AS part,
            part <> 'passives' AS is_numerator
        FROM ({answers_sql(rows, "nps", period, refused, variant)})"""

    def make(tally: Tally) -> Metric:
        plus, minus, n = tally["plus"], tally["minus"], tally.used
        interval = net_interval(plus, minus, n, level)
        return Metric(
            "nps",
            variant,
            Fraction(100 * (plus - minus), n) if n else None,
            "points",
            "higher is better",
            numerator=plus - minus,
            denominator=n,
            n=n,
            low=100 * interval[0] if interval else None,
            high=100 * interval[1] if interval else None,
            level=level if interval else None,
            undefined_because=None if n else "nobody answered",
            parameters={"interval": interval[2] if interval else None},
            period=period,
            timezone=timezone,
            parts={"promoters": plus, "passives": n - plus - minus, "detractors": minus},
            notes=("low n",) if 0 < n < LOW_N else (),
            formula=f"100 x ({plus} promoters - {minus} detractors) / {n} answers",
            **tally.counts,
        )

    return rows.measure(
        make,
        judged,
        by,
        plus=counted("part = 'promoters'"),
        minus=counted("part = 'detractors'"),
    )


def answers_sql(rows: Rows, kind: str, period: Period, refused: str, answers: Answers) -> str:
    """Write the rows of one kind of survey in a period, each used or left out with its reason."""
    if not rows.has("surveys", "answered_at"):
        rows.require("surveys", "sent_at")
    judged = f"""
        SELECT *, CASE WHEN {WHEN} IS NULL THEN 'no date' WHEN score IS NULL THEN 'no answer'
                       WHEN {refused} THEN 'off the scale' END AS refused_because
        FROM surveys WHERE kind = '{kind}' AND ({WHEN} IS NULL OR {period.holds(WHEN)})"""
    if answers == "all":
        return f"SELECT *, refused_because AS excluded_because FROM ({judged})"
    return f"""
        SELECT *, CASE WHEN refused_because IS NOT NULL THEN refused_because
                       WHEN row_number() OVER (
                           PARTITION BY customer_id, interaction_id, refused_because IS NULL
                           ORDER BY {WHEN} DESC, score, comment) > 1
                       THEN 'a later answer counts' END AS excluded_because
        FROM ({judged})"""


OPINIONS = (nps,)
