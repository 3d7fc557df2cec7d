"""Customers who speak for us, by how well it is evidenced: promoters, references, referrals."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from retain.metrics.adoption import keep_known
from retain.metrics.calculator import metric
from retain.metrics.intervals import share_interval
from retain.metrics.opinions import keep_given
from retain.metrics.period import Period
from retain.metrics.result import LOW_N, Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted, word
from retain.metrics.serving import Number, factor

__all__ = [
    "ADVOCACY",
    "EVIDENCE",
    "advocates",
    "credited_sql",
    "evidence_weights",
    "promoters_sql",
    "referral_rate",
]

# what a referral is worth of its margin, by how it is known; other words are no evidence
EVIDENCE: Mapping[str, Number] = MappingProxyType(
    {"tracked": Decimal(1), "reference": Decimal("0.5"), "promoter": Decimal(0)}
)


@metric(
    label="Customers who speak for us",
    unit="customers",
    direction="higher is better",
    needs=("surveys", "referrals"),
    variants=("tracked_referrals", "references", "promoters"),
    theme="value",
)
def advocates(
    surveys: Source,
    referrals: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["tracked_referrals", "references", "promoters"] = "tracked_referrals",
    timezone: str = "UTC",
) -> Metric:
    """Count the customers who did, were, or said so in a period.

    Parameters
    ----------
    surveys
        Answers; the latest NPS answer of a customer makes it a promoter, or not.
    referrals
        With their evidence: ``tracked`` (a link, a code, a named lead) or ``reference`` (a call, a
        case study).
    period
        Referred or answered in it.
    by, customers
        Columns of customers to cut by.
    variant
        ``"tracked_referrals"``: customers who brought somebody, tracked; ``"references"``: who were
        a reference; ``"promoters"``: who said that they would (9 or 10).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In customers. Its rows are referrals, or customers with an answer; `parts` count those rows.

    Notes
    -----
    Several referrals of one customer are one advocate. Who was brought twice was brought once: by
    the one with the best evidence, then the earliest.
    """
    rows = Rows(surveys=surveys, referrals=referrals, customers=customers)
    grade = {"tracked_referrals": "tracked", "references": "reference"}.get(variant)
    if grade is None:
        judged = f"""
            SELECT *, customer_id AS id, score >= 9 AS is_numerator,
                CASE WHEN score < 9 THEN 'no promoter' END AS excluded_because
            FROM ({promoters_sql(rows, period, by)})"""
    else:
        judged = f"""
            SELECT * REPLACE (coalesce(excluded_because, CASE WHEN grade <> '{grade}'
                THEN 'other evidence' END) AS excluded_because), true AS is_numerator
            FROM ({credited_sql(period, EVIDENCE)})"""

    def make(tally: Tally) -> Metric:
        many = tally["customers"]
        return Metric(
            "advocates",
            variant,
            many,
            "customers",
            "higher is better",
            numerator=many,
            n=many,
            period=period,
            timezone=timezone,
            parts={"rows": tally.used},
            formula=f"{many} different customers in {tally.used} {variant.replace('_', ' ')}",
            **tally.counts,
        )

    return rows.measure(make, judged, by, customers="count(DISTINCT customer_id)")


@metric(
    label="Customers who referred somebody",
    unit="percent",
    direction="higher is better",
    needs=("referrals", "customers"),
    variants=("tracked", "any_evidence"),
    theme="value",
)
def referral_rate(
    referrals: Source,
    customers: Source,
    period: Period,
    *,
    by: By = None,
    variant: Literal["tracked", "any_evidence"] = "tracked",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of customers with a referral that is credited to them, 0 to 100 percent.

    Parameters
    ----------
    referrals
        With their evidence.
    customers
        Those who signed up before the period's end are divided by.
    period
        Referred in it.
    by
        Columns of customers to cut by.
    variant
        ``"tracked"`` referrals only, or ``"any_evidence"``: references too.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent; `parts` hold the referrals credited. Its rows are customers. Undefined without
        customers.
    """
    rows = Rows(referrals=referrals, customers=customers)
    keep_known(rows, by)
    grades = "'tracked'" if variant == "tracked" else "'tracked', 'reference'"
    judged = f"""
        SELECT k.*, k.customer_id AS id, coalesce(r.many, 0) > 0 AS is_numerator, r.many,
            CASE WHEN signed_up_at >= DATE '{period.end}' THEN 'signed up later'
                END AS excluded_because
        FROM known AS k
        LEFT JOIN (SELECT customer_id, count(*) AS many FROM ({credited_sql(period, EVIDENCE)})
            WHERE excluded_because IS NULL AND grade IN ({grades}) GROUP BY customer_id) AS r
        USING (customer_id)"""

    def make(tally: Tally) -> Metric:
        above, n = tally["above"], tally.used
        interval = share_interval(above, n, level)
        return Metric(
            "referral_rate",
            variant,
            Fraction(100 * above, n) if n else None,
            "percent",
            "higher is better",
            numerator=above,
            denominator=n,
            n=n,
            low=100 * interval[0] if interval else None,
            high=100 * interval[1] if interval else None,
            level=level if interval else None,
            undefined_because=None if n else "no customers",
            period=period,
            timezone=timezone,
            parts={"referrals": int(tally["many"] or 0)},
            notes=("low n",) if 0 < n < LOW_N else (),
            formula=f"100 x {above} customers who referred / {n} customers",
            **tally.counts,
        )

    return rows.measure(make, judged, by, above=counted("is_numerator"), many="sum(many)")


def evidence_weights(given: Mapping[str, Number]) -> dict[str, Decimal]:
    """Read what each grade of evidence is worth, 0 to 1.

    Examples
    --------
    >>> evidence_weights({" Tracked": 1})
    {'tracked': Decimal('1')}
    """
    return {
        grade.strip().lower(): factor(weight, f"evidence weight of {grade}", 1)
        for grade, weight in given.items()
    }


def credited_sql(period: Period, weights: Mapping[str, Number]) -> str:
    """Write the referrals of a period, each credited once in all time.

    Columns: customer_id (who referred), id, grade, weight, value, excluded_because. Of several rows
    about one customer who came the best evidence counts, then the earliest; rows that do not say
    who came are one when they are equal.
    """
    read = evidence_weights(weights)
    cases = " ".join(f"WHEN {word(grade)} THEN {word(grade)}" for grade in read)
    worth = " ".join(
        f"WHEN {word(grade)} THEN CAST('{weight}' AS DECIMAL(9, 6))"
        for grade, weight in read.items()
    )
    grade = f"CASE lower(trim(evidence)) {cases} END" if cases else "NULL"
    weight = f"CASE grade {worth} END" if worth else "CAST(NULL AS DECIMAL(9, 6))"
    return f"""
        SELECT customer_id, id, grade, weight, value,
            CASE WHEN grade IS NULL THEN 'no evidence'
                WHEN place > 1 THEN 'credited once already' END AS excluded_because
        FROM (SELECT *, row_number() OVER (
                PARTITION BY coalesce('> ' || referred_id,
                    '? ' || id || ' ' || coalesce(CAST(value AS VARCHAR), ''))
                ORDER BY weight DESC NULLS LAST, referred_at, customer_id, value DESC NULLS LAST)
                AS place
            FROM (SELECT *, {weight} AS weight
                FROM (SELECT referrer_id AS customer_id, referred_id, referred_at, value,
                    {grade} AS grade, referrer_id || ' > ' || coalesce(referred_id, '?') || ' '
                        || CAST(referred_at AS DATE) AS id
                    FROM referrals WHERE referred_at < DATE '{period.end}')))
        WHERE {period.holds("referred_at")}"""


def promoters_sql(rows: Rows, period: Period, by: By = None) -> str:
    """Write the latest NPS answer of each customer in a period: customer_id, score."""
    keep_given(rows, period, by)
    when = "coalesce(answered_at, sent_at)"
    return f"""
        SELECT customer_id, score FROM given
        WHERE kind = 'nps' AND {when} IS NOT NULL
            AND score BETWEEN 0 AND 10 AND score = trunc(score)
        QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY {when} DESC, score) = 1"""


ADVOCACY = (advocates, referral_rate)
