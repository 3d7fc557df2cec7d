"""Formulas of customer lifetime value: nine definitions in use, each with its parameters, exact.

They answer different questions and differ by a factor of three on one customer, so none of them is
called "the" lifetime value: the variant is part of the name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal, get_args

from retain.errors import TableError, some
from retain.metrics.result import Metric

__all__ = ["ClvVariant", "Number", "clv_formula", "exact", "lifetime_lift"]

Number = int | float | Decimal | Fraction | str
ClvVariant = Literal[
    "revenue_years",
    "arpa_over_churn",
    "margin_over_churn",
    "net_of_service",
    "discounted_end",
    "discounted_now",
    "finite_horizon",
    "cohort_to_date",
    "dynamics_baseline",
]


def exact(number: Number, name: str = "number") -> Fraction:
    """Read a number as it is written: 0.05 is one twentieth, not the nearest binary fraction.

    Parameters
    ----------
    number
        A whole number, a decimal, a fraction, a float, or text such as ``"0.05"``.
    name
        What it is called in an error.

    Raises
    ------
    TableError
        When it is not a finite number.

    Examples
    --------
    >>> exact(0.05)
    Fraction(1, 20)
    """
    if isinstance(number, Fraction):
        return number
    try:
        return Fraction(Decimal(str(number)))
    except (InvalidOperation, ValueError, OverflowError):
        raise TableError(f"{name} should be a finite number; found {number!r}") from None


def clv_formula(variant: ClvVariant, **parameters: Number | str | Sequence[Number]) -> Metric:
    """Compute a lifetime value by a named formula from numbers that are given.

    Parameters
    ----------
    variant
        Which formula:

        - ``revenue_years(yearly_revenue, years)``: revenue, undiscounted, nobody leaves.
        - ``arpa_over_churn(arpa, monthly_churn)``: revenue per account ÷ monthly churn.
        - ``margin_over_churn(arpa, gross_margin, monthly_churn)``.
        - ``net_of_service(arpa, cost_to_serve, monthly_churn)``: (ARPA - cost to serve) ÷ churn.
        - ``discounted_end(margin, retention, discount)``: m·r/(1 + d - r), payment at the end of
          each period, the first after one period survived.
        - ``discounted_now(margin, retention, discount)``: the same and one margin at once.
        - ``finite_horizon(margin, discount, retention or survival, periods, first_payment)``: the
          sum over `periods`; `survival` lists the share alive after 1, 2, ... periods instead of
          `retention`; `first_payment` is ``"end"`` (default) or ``"now"``.
        - ``cohort_to_date(margins, cohort_size)``: margin so far ÷ cohort; a lower bound.
        - ``dynamics_baseline(monthly_purchase, months, retention)``.
    **parameters
        What the formula needs, by name. Shares (churn, retention, margin, discount per period) are
        in [0, 1], money in one currency, all per the same period (a month unless named a year).

    Returns
    -------
    Metric
        In currency per customer, exact; undefined where the formula divides by zero (nobody
        leaves and nothing is discounted).

    Raises
    ------
    TableError
        When a parameter is missing, unknown or out of its range.

    Notes
    -----
    Cost of acquisition is never subtracted. One blended churn rate understates the mean over
    customers who differ: half at 1 % and half at 9 % are worth 5,556 each on the mean, not the
    2,000 of their mean churn of 5 %.

    References
    ----------
    Gupta and Lehmann, "Managing Customers as Investments" (2005), for the discounted forms.

    Examples
    --------
    >>> clv_formula("margin_over_churn", arpa=100, gross_margin=0.8, monthly_churn=0.05).value
    Fraction(1600, 1)
    >>> clv_formula("arpa_over_churn", arpa=100, monthly_churn=0).display()
    'undefined: nobody leaves: at a churn of 0 the formula has no end'
    """
    if variant not in FORMULAS:
        raise TableError(
            f"lifetime value: no variant {variant!r}; expected one of {', '.join(FORMULAS)}"
        )
    formula, written = FORMULAS[variant]
    _same_names(variant, formula, parameters)
    try:
        value, undefined = formula(**parameters), None
    except ZeroDivisionError as reason:
        value, undefined = None, str(reason)
    return Metric(
        "clv_formula",
        variant,
        value,
        "currency",
        "higher is better",
        undefined_because=undefined,
        parameters=dict(parameters),
        notes=("revenue, not margin",) if variant in REVENUE else (),
        formula=f"{written}, with " + ", ".join(f"{k} = {v}" for k, v in parameters.items()),
    )


def lifetime_lift(
    retention: Number, *, points: Number | None = None, relative: Number | None = None
) -> Fraction:
    """Tell how much longer customers stay when a period's retention rises.

    Parameters
    ----------
    retention
        Share that stays each period, in [0, 1).
    points
        Rise in points, as a share: 0.05 is five points.
    relative
        Rise relative to `retention`, as a share; give this or `points`.

    Returns
    -------
    Fraction
        Relative gain in expected lifetime, 1/(1 - retention): 1 is twice as long.

    Raises
    ------
    TableError
        When neither or both rises are given, or retention would reach 1 (lifetime without end).

    Notes
    -----
    This is all that there is behind "5 % more retention, 95 % more profit": the gain depends on
    where a company stands.

    Examples
    --------
    >>> [round(float(lifetime_lift(r, points=0.05)), 2) for r in (0.6, 0.8, 0.9)]
    [0.14, 0.33, 1.0]
    >>> lifetime_lift(0.8, relative=0.05)
    Fraction(1, 4)
    """
    if (points is None) == (relative is None):
        raise TableError(
            "lifetime lift: give the rise either in points or relative, found both or neither"
        )
    before = _share(retention, "retention")
    after = before + (exact(points) if points is not None else before * exact(relative or 0))
    if not 0 <= after < 1 or before == 1:
        raise TableError(
            f"lifetime lift: retention should stay below 1; found {float(before):g} rising to "
            f"{float(after):g}. Ask for a smaller rise"
        )
    return (1 - before) / (1 - after) - 1


# ---- the formulas; a division by zero says what it means ---------------------------------------


def _revenue_years(yearly_revenue: Number, years: Number) -> Fraction:
    return _money(yearly_revenue, "yearly_revenue") * _money(years, "years")


def _arpa_over_churn(arpa: Number, monthly_churn: Number) -> Fraction:
    return _money(arpa, "arpa") / _churn(monthly_churn)


def _margin_over_churn(arpa: Number, gross_margin: Number, monthly_churn: Number) -> Fraction:
    margin = _money(arpa, "arpa") * _at_most_one(gross_margin, "gross_margin")
    return margin / _churn(monthly_churn)


def _net_of_service(arpa: Number, cost_to_serve: Number, monthly_churn: Number) -> Fraction:
    net = _money(arpa, "arpa") - _money(cost_to_serve, "cost_to_serve")
    return net / _churn(monthly_churn)


def _discounted_end(margin: Number, retention: Number, discount: Number) -> Fraction:
    kept = _share(retention, "retention")
    left = 1 + _money(discount, "discount") - kept
    if left == 0:
        raise ZeroDivisionError("nobody leaves and nothing is discounted: the sum has no end")
    return exact(margin, "margin") * kept / left


def _discounted_now(margin: Number, retention: Number, discount: Number) -> Fraction:
    return exact(margin, "margin") + _discounted_end(margin, retention, discount)


def _finite_horizon(
    margin: Number,
    discount: Number,
    retention: Number | None = None,
    periods: int | None = None,
    survival: Sequence[Number] | None = None,
    first_payment: str = "end",
) -> Fraction:
    if first_payment not in ("end", "now"):
        raise TableError(
            f"lifetime value: first_payment should be 'end' or 'now'; found {first_payment!r}"
        )
    if (survival is None) == (retention is None) or (retention is not None and periods is None):
        raise TableError(
            "lifetime value over a finite horizon: give retention and periods, or survival after "
            "1, 2, ... periods"
        )
    if survival is None:
        kept = _share(retention or 0, "retention")
        alive = [kept**t for t in range(1, _count(periods or 0, "periods") + 1)]
    else:
        alive = [_share(share, "survival") for share in survival]
    if first_payment == "now":  # one period earlier each: all pay at once, the last one not
        alive = [Fraction(1), *alive][: len(alive)]
    per_period = 1 + _money(discount, "discount")
    first = 1 if first_payment == "end" else 0
    worth = sum((share / per_period**t for t, share in enumerate(alive, first)), Fraction(0))
    return exact(margin, "margin") * worth


def _cohort_to_date(margins: Sequence[Number], cohort_size: int) -> Fraction:
    if _count(cohort_size, "cohort_size") == 0:
        raise ZeroDivisionError("the cohort is empty")
    return sum((exact(margin, "margins") for margin in margins), Fraction(0)) / cohort_size


def _dynamics_baseline(monthly_purchase: Number, months: Number, retention: Number) -> Fraction:
    spent = _money(monthly_purchase, "monthly_purchase") * _money(months, "months")
    return spent * _share(retention, "retention")


FORMULAS: dict[str, tuple[Callable[..., Fraction], str]] = {
    "revenue_years": (_revenue_years, "yearly revenue × years"),
    "arpa_over_churn": (_arpa_over_churn, "ARPA ÷ monthly churn"),
    "margin_over_churn": (_margin_over_churn, "ARPA × gross margin ÷ monthly churn"),
    "net_of_service": (_net_of_service, "(ARPA − cost to serve) ÷ monthly churn"),
    "discounted_end": (_discounted_end, "m·r/(1 + d − r)"),
    "discounted_now": (_discounted_now, "m + m·r/(1 + d − r)"),
    "finite_horizon": (_finite_horizon, "Σ m·S(t)/(1 + d)^t"),
    "cohort_to_date": (_cohort_to_date, "Σ margin so far ÷ cohort size"),
    "dynamics_baseline": (_dynamics_baseline, "mean monthly purchase × months × retention"),
}
REVENUE = ("revenue_years", "arpa_over_churn", "dynamics_baseline")
assert tuple(FORMULAS) == get_args(ClvVariant)


# ---- reading parameters ------------------------------------------------------------------------


def _same_names(variant: str, formula: Callable[..., Fraction], given: Iterable[str]) -> None:
    given = set(given)
    known = inspect.signature(formula).parameters
    missing = [n for n, p in known.items() if p.default is p.empty and n not in given]
    unknown = sorted(given - set(known))
    if missing or unknown:
        raise TableError(
            f"lifetime value, {variant}: missing {some(missing)}; unknown {some(unknown)}. "
            f"The formula takes {', '.join(known)}"
        )


def _money(number: Number, name: str) -> Fraction:
    value = exact(number, name)
    if value < 0:
        raise TableError(f"lifetime value: {name} should not be negative; found {number}")
    return value


def _share(number: Number, name: str) -> Fraction:
    value = exact(number, name)
    if not 0 <= value <= 1:
        raise TableError(f"lifetime value: {name} should be a share from 0 to 1; found {number}")
    return value


def _at_most_one(number: Number, name: str) -> Fraction:
    value = exact(number, name)  # a margin may be negative
    if value > 1:
        raise TableError(f"lifetime value: {name} should be a share, at most 1; found {number}")
    return value


def _churn(number: Number) -> Fraction:
    value = _share(number, "monthly_churn")
    if value == 0:
        raise ZeroDivisionError("nobody leaves: at a churn of 0 the formula has no end")
    return value


def _count(number: Number, name: str) -> int:
    value = exact(number, name)
    if value.denominator != 1 or value < 0:
        raise TableError(f"lifetime value: {name} should be a whole number; found {number}")
    return value.numerator
