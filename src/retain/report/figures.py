"""A metric as plain data, and as words: what JSON, CSV, terminal and scorecard all say alike.

Exact values are rounded here and only here, once, for showing; the plain record keeps them exact
beside the number that a program reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from retain.metrics import Metric
from retain.report.wording import NOTHING, money, number

__all__ = [
    "change",
    "currency_of",
    "good",
    "interval",
    "plain",
    "record",
    "shown",
    "since",
    "target_met",
]

SIGNS = {"percent": "%", "points": "", "count": "", "hours": " h", "days": " d", "minutes": " min"}
RELATIVE = 1000  # changes are told as a share of the earlier value, in tenths of a percent


def plain(value: Any) -> Any:
    """Turn what a metric holds into what JSON holds: exact numbers become numbers.

    Examples
    --------
    >>> plain(Fraction(1, 4)), plain(Decimal("12.50")), plain({"window_days": 7, "hours": None})
    (0.25, 12.5, {'window_days': 7, 'hours': None})
    """
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Fraction) and value.denominator == 1:
        return int(value)
    if isinstance(value, Fraction | Decimal | float):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    return str(value)


def record(metric: Metric, *, label: str, theme: str, currency: str) -> dict[str, Any]:
    """Write a metric, its segments beside it, as plain data.

    Parameters
    ----------
    metric
        What a calculator answered.
    label, theme
        What the catalogue calls it, and under which heading.
    currency
        Code that stands for the unit ``"currency"``.

    Returns
    -------
    dict
        Everything but the ids; `value` is a number or None, `exact` the same without rounding.
    """
    exact = metric.value
    return {
        "name": metric.name,
        "label": label,
        "theme": theme,
        "variant": metric.variant,
        "unit": currency if metric.unit == "currency" else metric.unit,
        "direction": metric.direction,
        "by": dict(metric.by),
        "value": plain(exact),
        "exact": str(exact) if isinstance(exact, Fraction | Decimal) else None,
        "undefined_because": metric.undefined_because,
        "numerator": plain(metric.numerator),
        "denominator": plain(metric.denominator),
        "n": metric.n,
        "low": plain(metric.low),
        "high": plain(metric.high),
        "level": metric.level,
        "rows_in": metric.rows_in,
        "used": metric.used,
        "excluded": dict(metric.excluded),
        "parts": plain(metric.parts),
        "parameters": plain(metric.parameters),
        "notes": list(metric.notes),
        "formula": metric.formula,
        "timezone": metric.timezone,
        "segments": [
            record(one, label=label, theme=theme, currency=currency) for one in metric.segments
        ],
    }


def currency_of(unit: str) -> str:
    """Give the currency in which a unit counts, or nothing.

    Examples
    --------
    >>> currency_of("EUR"), currency_of("EUR per customer"), currency_of("users")
    ('EUR', 'EUR', '')
    """
    first = unit.partition(" ")[0]
    return first if len(first) == 3 and first.isupper() else ""


def shown(value: float | None, unit: str) -> str:
    r"""Print a value in its unit; a unit of three capitals is a currency.

    Examples
    --------
    >>> shown(98.25, "percent"), shown(145.93, "hours"), shown(11300, "EUR"), shown(None, "points")
    ('98.2%', '145.9 h', 'EUR\xa011,300', '–')
    >>> shown(30.0, "points"), shown(-4.2, "points"), shown(2.0, "ratio"), shown(1204, "customers")
    ('+30', '−4', '2.00', '1,204')
    """
    if value is None:
        return NOTHING
    exact = Fraction(str(value))
    if currency := currency_of(unit):
        digits = 0 if abs(value) >= 100 else 2
        return money(float(round(exact, digits)), currency)
    if unit == "points":
        whole = round(exact)
        return f"+{whole}" if whole > 0 else number(whole)
    if unit in ("percent", "hours", "days", "minutes"):
        return f"{float(round(exact, 1)):,.1f}{SIGNS[unit]}".replace("-", "−")
    if exact.denominator == 1 and unit != "ratio":
        return number(int(exact))
    return f"{float(round(exact, 2)):,.2f}".replace("-", "−")


def interval(low: float | None, high: float | None, unit: str) -> str:
    """Print an interval, the unit once.

    Examples
    --------
    >>> interval(14.7, 45.3, "points"), interval(97.1, 99.0, "percent"), interval(None, None, "x")
    ('+15 to +45', '97.1 to 99.0%', '')
    """
    if low is None or high is None:
        return ""
    first = shown(low, unit)
    return f"{first.removesuffix(SIGNS.get(unit) or chr(0))} to {shown(high, unit)}"


def change(now: float | None, before: float | None, unit: str) -> str:
    """Print what changed since the period before: points for shares, else a share of it.

    Examples
    --------
    >>> change(98.25, 97.0, "percent"), change(30, 33, "points"), change(110.0, 100.0, "EUR")
    ('+1.2 pts', '−3', '+10.0%')
    >>> change(1.0, None, "count"), change(5, 0, "count"), change(7, 7, "count")
    ('', '', 'unchanged')
    """
    if now is None or before is None:
        return ""
    moved = Fraction(str(now)) - Fraction(str(before))
    if unit not in ("percent", "points"):
        if not before:
            return ""
        moved = moved / abs(Fraction(str(before))) * 100
    digits = 0 if unit == "points" else 1
    moved = round(moved, digits)
    if not moved:
        return "unchanged"
    text = f"{float(moved):+,.{digits}f}"
    text += {"percent": " pts", "points": ""}.get(unit, "%")
    return text.replace("-", "−")


def since(one: Mapping[str, Any]) -> tuple[str, bool | None]:
    """Print what changed since the period before, and tell whether it was for the better.

    Parameters
    ----------
    one
        A record with its trend.

    Returns
    -------
    tuple
        The words; and True, False, or None: no better is known, or the earlier value lies within
        the interval of this one, so that chance alone could have moved it.

    Examples
    --------
    >>> one = {"value": 36, "low": 26, "high": 46, "unit": "points",
    ...        "direction": "higher is better", "trend": [{"value": 41}, {"value": 36}]}
    >>> since(one), since(one | {"low": None})
    (('−5', None), ('−5', False))
    """
    before = one["trend"][-2]["value"] if len(one["trend"]) > 1 else None
    words = change(one["value"], before, one["unit"])
    if not words or words == "unchanged":
        return words, None
    if one["low"] is not None and one["low"] <= before <= one["high"]:
        return words, None
    return words, good(one["value"], before, one["direction"])


def good(now: float | None, before: float | None, direction: str) -> bool | None:
    """Tell whether a change was for the better; None where there is none, or no better.

    Examples
    --------
    >>> good(4.0, 5.0, "lower is better"), good(1, 1, "higher is better"), good(2, 1, "neither")
    (True, None, None)
    """
    if now is None or before is None or now == before or direction == "neither":
        return None
    return (now > before) == (direction == "higher is better")


def target_met(value: float | None, target: float | None, direction: str) -> bool | None:
    """Tell whether a target is met; None where there is no value, no target or no better.

    Examples
    --------
    >>> target_met(4.0, 5.0, "lower is better"), target_met(39, 40, "higher is better")
    (True, False)
    """
    if value is None or target is None or direction == "neither":
        return None
    return value <= target if direction == "lower is better" else value >= target
