"""Who takes features up, how widely and how deeply."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Any, Literal

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.intervals import share_interval
from retain.metrics.period import Period
from retain.metrics.result import LOW_N, Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted, word

__all__ = [
    "ADOPTION",
    "account_breadth",
    "feature_adoption",
    "feature_depth",
    "feature_weeks",
    "keep_known",
    "of_features",
]

WINDOW = 28  # days over which adoption is judged
WEEKS = WINDOW // 7
Features = tuple[str, ...]


@metric(
    label="Customers who adopted a feature",
    unit="percent",
    direction="higher is better",
    needs=("usage", "customers"),
    variants=("eligible", "all", "active"),
    theme="product",
)
def feature_adoption(
    usage: Source,
    customers: Source,
    period: Period,
    *,
    by: By = None,
    variant: Literal["eligible", "all", "active"] = "eligible",
    core_features: Features = (),
    entitled: Source | None = None,
    days: int = 2,
    weeks: int = 2,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of customers who use a feature again and again, 0 to 100 percent.

    Parameters
    ----------
    usage
        Events.
    customers
        Everybody whom it could be asked about.
    period
        The 28 days up to its last day count.
    by
        Columns of customers to cut by.
    variant
        Whom the adopters are divided by: ``"eligible"``: who may use it (`entitled`); ``"all"``
        customers; ``"active"``: who used anything in those 28 days.
    core_features
        What counts as using it, by name; none: any use.
    entitled
        Customers who may use it: customer_id; None: everybody.
    days, weeks
        Adopted is used on at least so many days, in at least so many of the four weeks: not looked
        at once.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent. Its rows are customers. Undefined when there is nobody to divide by.

    Notes
    -----
    An adopter who is not counted below the line (not entitled) is not counted above it either.

    References
    ----------
    reference/metrics.md 2.17.
    """
    rows = Rows(usage=usage, customers=customers, entitled=entitled)
    _keep_used(rows, period, core_features)
    keep_known(rows, by)
    judged = f"""
        SELECT c.*, c.customer_id AS id, {_adopted(days, weeks)} AS is_numerator,
            CASE WHEN c.signed_up_at >= DATE '{period.end}' THEN 'signed up later'
                {_left_out(rows, variant)} END AS excluded_because
        FROM known AS c LEFT JOIN ({_used()}) AS u USING (customer_id)
        LEFT JOIN ({_active(variant, period)}) AS a USING (customer_id)
        LEFT JOIN ({_entitled(rows)}) AS e USING (customer_id)"""

    def make(tally: Tally) -> Metric:
        adopters, n = tally["adopters"], tally.used
        interval = share_interval(adopters, n, level)
        return Metric(
            "feature_adoption",
            variant,
            Fraction(100 * adopters, n) if n else None,
            "percent",
            "higher is better",
            numerator=adopters,
            denominator=n,
            n=n,
            low=100 * interval[0] if interval else None,
            high=100 * interval[1] if interval else None,
            level=level if interval else None,
            undefined_because=None if n else "no customer to divide by",
            parameters={
                "core_features": core_features,
                "days": days,
                "weeks": weeks,
                "of_days": WINDOW,
            },
            period=period,
            timezone=timezone,
            notes=("low n",) if 0 < n < LOW_N else (),
            formula=f"{adopters} adopters / {n} {variant} customers",
            **tally.counts,
        )

    return rows.measure(make, judged, by, adopters=counted("is_numerator"))


@metric(
    label="Use of the features that a customer has",
    unit="percent",
    direction="higher is better",
    needs=("usage", "customers"),
    variants=("all", "active"),
    theme="product",
)
def account_breadth(
    usage: Source,
    customers: Source,
    period: Period,
    *,
    by: By = None,
    variant: Literal["all", "active"] = "all",
    core_features: Features = (),
    entitled: Source | None = None,
    timezone: str = "UTC",
) -> Metric:
    """Share of a customer's features that it used within 28 days, 0 to 100 percent.

    Parameters
    ----------
    usage
        Events with their feature.
    customers
        Whose features count.
    period
        The 28 days up to its last day count.
    by
        Columns of customers to cut by.
    variant
        ``"all"`` customers, or those ``"active"`` in those 28 days.
    core_features
        The features that count; none: every one that somebody used in those 28 days.
    entitled
        A row per customer_id and feature that it may use; None: everybody may use every one.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent: a ratio of sums over customers. Its rows are customers' features. Undefined
        when there is none.

    References
    ----------
    reference/metrics.md 2.17.
    """
    rows = Rows(usage=usage, customers=customers, entitled=entitled)
    rows.require("usage", "feature")
    _keep_used(rows, period, core_features)
    core = f"feature IN ({_words(core_features)})" if core_features else "true"
    listed = "SELECT DISTINCT feature FROM used_features WHERE feature IS NOT NULL"
    if core_features:
        listed = f"SELECT DISTINCT unnest([{_words(core_features)}]::VARCHAR[]) AS feature"
    keep_known(rows, by)
    owned = f"SELECT * FROM known, ({listed})"
    if rows.has("entitled"):
        rows.require("entitled", "customer_id", "feature")
        owned = f"""SELECT DISTINCT *
            FROM known JOIN (SELECT CAST(customer_id AS VARCHAR) AS customer_id,
                CAST(feature AS VARCHAR) AS feature FROM entitled) USING (customer_id)
            WHERE {core}"""
    idle = "WHEN a.customer_id IS NULL THEN 'not active'" if variant == "active" else ""
    judged = f"""
        SELECT o.*, o.customer_id || ': ' || o.feature AS id,
            u.feature IS NOT NULL AS is_numerator,
            CASE WHEN o.signed_up_at >= DATE '{period.end}' THEN 'signed up later' {idle}
                END AS excluded_because
        FROM ({owned}) AS o LEFT JOIN used_features AS u USING (customer_id, feature)
        LEFT JOIN ({_active(variant, period)}) AS a USING (customer_id)"""

    def make(tally: Tally) -> Metric:
        many, n = tally["many"], tally.used
        return Metric(
            "account_breadth",
            variant,
            Fraction(100 * many, n) if n else None,
            "percent",
            "higher is better",
            numerator=many,
            denominator=n,
            n=n,
            undefined_because=None if n else "no customer has a feature",
            parameters={"core_features": core_features, "of_days": WINDOW},
            period=period,
            timezone=timezone,
            formula=f"{many} features used / {n} features that customers have",
            **tally.counts,
        )

    return rows.measure(make, judged, by, many=counted("is_numerator"))


@metric(
    label="Uses of a feature per adopter and week",
    unit="uses per customer and week",
    direction="higher is better",
    needs=("usage",),
    variants=("per_adopter",),
    theme="product",
)
def feature_depth(
    usage: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["per_adopter"] = "per_adopter",
    core_features: Features = (),
    days: int = 2,
    weeks: int = 2,
    timezone: str = "UTC",
) -> Metric:
    """Core actions of adopters over the adopters and the four weeks.

    Parameters
    ----------
    usage
        Events; each is one action.
    period
        The 28 days up to its last day count.
    by, customers
        Columns of customers to cut by.
    variant
        There is one.
    core_features
        What counts as using it, by name; none: any use.
    days, weeks
        What adopted means, as in `feature_adoption`.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In actions per adopter and week. Its rows are customers who used it. Undefined without
        adopters.

    References
    ----------
    reference/metrics.md 2.17.
    """

    def value(tally: Tally) -> dict[str, Any]:
        actions, adopters = int(tally["uses"] or 0), tally.used
        return {
            "value": Fraction(actions, WEEKS * adopters) if adopters else None,
            "unit": "uses per customer and week",
            "numerator": actions,
            "denominator": WEEKS * adopters,
            "formula": f"{actions} uses / ({adopters} adopters x {WEEKS} weeks)",
        }

    return _of_adopters(
        "feature_depth",
        value,
        usage,
        customers,
        period,
        by,
        variant,
        core_features,
        days,
        weeks,
        timezone,
    )


@metric(
    label="Weeks in which adopters use a feature",
    unit="percent",
    direction="higher is better",
    needs=("usage",),
    variants=("per_adopter",),
    theme="product",
)
def feature_weeks(
    usage: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["per_adopter"] = "per_adopter",
    core_features: Features = (),
    days: int = 2,
    weeks: int = 2,
    timezone: str = "UTC",
) -> Metric:
    """Share of the four weeks in which an adopter used the feature, above 0 to 100 percent.

    Parameters
    ----------
    usage
        Events.
    period
        The four weeks are the 28 days up to its last day.
    by, customers
        Columns of customers to cut by.
    variant
        There is one.
    core_features
        What counts as using it, by name; none: any use.
    days, weeks
        What adopted means, as in `feature_adoption`.
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent. Its rows are customers who used it. Undefined without adopters.

    References
    ----------
    reference/metrics.md 2.17.
    """

    def value(tally: Tally) -> dict[str, Any]:
        many, adopters = int(tally["weeks"] or 0), tally.used
        return {
            "value": Fraction(100 * many, WEEKS * adopters) if adopters else None,
            "unit": "percent",
            "numerator": many,
            "denominator": WEEKS * adopters,
            "formula": f"{many} weeks with use / ({adopters} adopters x {WEEKS} weeks)",
        }

    return _of_adopters(
        "feature_weeks",
        value,
        usage,
        customers,
        period,
        by,
        variant,
        core_features,
        days,
        weeks,
        timezone,
    )


def _of_adopters(
    name: str,
    value: Callable[[Tally], dict[str, Any]],
    usage: Source,
    customers: Source | None,
    period: Period,
    by: By,
    variant: str,
    core_features: Features,
    days: int,
    weeks: int,
    timezone: str,
) -> Metric:
    """Measure what adopters do; who used it without adopting it is left out."""
    rows = Rows(usage=usage, customers=customers)
    _keep_used(rows, period, core_features)
    judged = f"""
        SELECT customer_id, customer_id AS id, true AS is_numerator, uses, {_weeks_of()} AS weeks,
            CASE WHEN NOT {_adopted(days, weeks)} THEN 'used it too seldom' END AS excluded_because
        FROM ({_used()}) AS u"""

    def make(tally: Tally) -> Metric:
        return Metric(
            name,
            variant,
            **value(tally),
            direction="higher is better",
            n=tally.used,
            undefined_because=None if tally.used else "nobody adopted it",
            parameters={
                "core_features": core_features,
                "days": days,
                "weeks": weeks,
                "of_days": WINDOW,
            },
            period=period,
            timezone=timezone,
            notes=("low n",) if 0 < tally.used < LOW_N else (),
            **tally.counts,
        )

    return rows.measure(make, judged, by, uses="sum(uses)", weeks="sum(weeks)")


def keep_known(rows: Rows, by: By = None) -> None:
    """Keep as `known` the customers, each once, with their first sign-up."""
    rows.keep(
        "known",
        """SELECT customer_id, min(signed_up_at) AS signed_up_at FROM customers
        WHERE customer_id IS NOT NULL GROUP BY customer_id""",
        by,
    )


def of_features(features: Features) -> str:
    """Write a further condition on usage: one of these features, or nothing."""
    return f" AND feature IN ({_words(features)})" if features else ""


def _keep_used(rows: Rows, period: Period, features: Features) -> None:
    """Keep who used which feature how often and on which of the days, as bits of `mask`."""
    window = _window(period)
    bit = f"CAST(CAST(occurred_at AS DATE) - DATE '{window.start}' AS INTEGER)"
    rows.keep(
        "used_features",
        f"""SELECT customer_id, feature, count(*) AS uses,
            bit_or(CAST(1 AS INTEGER) << {bit}) AS mask
        FROM usage WHERE {window.holds("occurred_at")}{of_features(features)}
        GROUP BY customer_id, feature""",
    )


def _used() -> str:
    """Write customer_id, uses and mask of the features together."""
    return """SELECT customer_id, CAST(sum(uses) AS BIGINT) AS uses, bit_or(mask) AS mask
        FROM used_features GROUP BY customer_id"""


def _window(period: Period) -> Period:
    return Period(period.end - timedelta(WINDOW), period.end)


def _weeks_of() -> str:
    weeks = [f"CAST((u.mask & {127 << 7 * at}) <> 0 AS INTEGER)" for at in range(WEEKS)]
    return f"({' + '.join(weeks)})"


def _adopted(days: int, weeks: int) -> str:
    if not 1 <= weeks <= WEEKS or not weeks <= days <= WINDOW:
        raise TableError(
            f"adopted should be use on 1 to {WINDOW} days in 1 to {WEEKS} weeks, and in no more "
            f"weeks than days; found days {days} and weeks {weeks}"
        )
    return f"coalesce(bit_count(u.mask) >= {days} AND {_weeks_of()} >= {weeks}, false)"


def _active(variant: str, period: Period) -> str:
    if variant != "active":
        return "SELECT CAST(NULL AS VARCHAR) AS customer_id WHERE false"
    inside = _window(period).holds("occurred_at")
    return f"SELECT DISTINCT customer_id FROM usage WHERE {inside}"


def _entitled(rows: Rows) -> str:
    if not rows.has("entitled"):
        return "SELECT CAST(NULL AS VARCHAR) AS customer_id WHERE false"
    return "SELECT DISTINCT CAST(customer_id AS VARCHAR) AS customer_id FROM entitled"


def _left_out(rows: Rows, variant: str) -> str:
    if variant == "active":
        return "WHEN a.customer_id IS NULL THEN 'not active'"
    if variant == "eligible" and rows.has("entitled"):
        return "WHEN e.customer_id IS NULL THEN 'not entitled'"
    return ""


def _words(texts: tuple[str, ...]) -> str:
    return ", ".join(map(word, texts))


ADOPTION = (
    feature_adoption,
    account_breadth,
    feature_depth,
    feature_weeks,
)
