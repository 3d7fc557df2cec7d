"""One line per driver, in the reader's words: the number, its window, before, and among peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from retain.features import Column

__all__ = ["describe", "describe_all", "format_value"]

EARLIER_WEEKS = 4
# these grow by themselves as time passes: saying that they rose would say nothing
_CLOCKS = ("Weeks since", "Days since", "Weeks until", "Mean age")
_ALIKE = 0.02


def format_value(value: Any, unit: str, currency: str) -> str:
    """Write a value as a person would.

    Examples
    --------
    >>> format_value(0.4, "share", "EUR"), format_value(1234.5, "currency", "EUR")
    ('40 %', 'EUR 1,234')
    >>> format_value(float("nan"), "days", "EUR"), format_value(12.25, "days", "EUR")
    ('none', '12.2')
    """
    if _unknown(value):
        return "none"
    if isinstance(value, str):
        return value
    return str(_numbers_said(np.array([float(value)]), unit, currency)[0])


def _numbers_said(numbers: Any, unit: str, currency: str) -> Any:
    """Write numbers, nan as none, equal ones once; an object array of the same shape."""
    found, at = np.unique(numbers, return_inverse=True)
    said = np.full(len(found), "none", dtype=object)
    known = ~np.isnan(found)
    if unit in ("share", "balance"):
        scaled = _without_minus_zero(100.0 * found[known], 0.5)
        form = "{:+.0f} %" if unit == "balance" else "{:.0f} %"
        said[known] = [form.format(v) for v in scaled.tolist()]
    elif unit.startswith("currency"):
        before = f"{currency} ".lstrip()
        whole = _without_minus_zero(found[known], 0.5)
        said[known] = [f"{before}{v:,.0f}" for v in whole.tolist()]
    else:
        big = known & ((np.abs(found) >= 100) | (found == np.rint(found)))
        said[big] = [f"{v + 0.0:,.0f}" for v in found[big].tolist()]
        small = known & ~big
        said[small] = [f"{v:.1f}" for v in _without_minus_zero(found[small], 0.05).tolist()]
    return said[at]


def _without_minus_zero(numbers: Any, half: float) -> Any:
    """Zero where a number would be rounded to it from below: nobody says -0."""
    return np.where((numbers < 0) & (numbers >= -half), 0.0, numbers)


def describe(
    column: Column,
    value: Any,
    earlier: Any,
    peer: Any,
    currency: str,
    level: tuple[Column, Any, Any, Any] | None = None,
) -> str:
    """Say one driver in one line.

    Parameters
    ----------
    column
        What the driver is.
    value, earlier, peer
        Now, four weeks earlier, and of similar customers.
    currency
        Code shown with money.
    level
        For a change: the level it is a change of, with its own three values.

    Examples
    --------
    >>> from retain.features.usage import active_days
    >>> from retain.features import Column
    >>> column = Column("active_days_4w", active_days, 4, "Active days in the last 4 weeks")
    >>> describe(column, 5.0, 14.0, 13.0, "EUR")
    'Active days in the last 4 weeks fell from 14 to 5; similar customers: 13'
    """
    if level is not None and not _unknown(level[1]):
        column, value, earlier, peer = level
    now, then, usual = (np.array([thing], dtype=object) for thing in (value, earlier, peer))
    return str(describe_all(column, now, then, usual, currency)[0])


def describe_all(column: Column, values: Any, earlier: Any, peers: Any, currency: str) -> Any:
    """Say one column's drivers of many customers, one line each.

    Parameters
    ----------
    column
        What the drivers are.
    values, earlier, peers
        Now, four weeks earlier, and of similar customers: numbers, texts or nothing known, shape
        (customers,).
    currency
        Code shown with money.

    Returns
    -------
    object array of str, shape (customers,)
    """
    unit, label = column.feature.unit, column.label
    said, before, usual = (_say_all(given, unit, currency) for given in (values, earlier, peers))
    others = np.where(_unknown_all(peers), "", "; similar customers: " + usual)
    now, then = _numbers(values), _numbers(earlier)
    with np.errstate(invalid="ignore"):
        moved = now - then
        alike = np.abs(moved) <= _ALIKE * np.maximum(np.abs(then), 1e-9)
    if label.startswith(_CLOCKS) or unit == "balance":
        then = np.full(len(now), np.nan)
    told = np.full(len(said), None, dtype=object)
    left = np.ones(len(said), dtype=bool)

    def tell(where: Any, form: Callable[[Any, Any, Any], str]) -> None:
        rows = np.flatnonzero(left & where)
        told[rows] = [
            form(*one) for one in zip(said[rows], before[rows], others[rows], strict=True)
        ]
        left[rows] = False

    # the first that applies
    tell(_unknown_all(values), lambda now, then, other: f"{label}: none known{other}")
    tell(_texts(values), lambda now, then, other: f"{label}: {now}")
    tell(unit == "season", lambda now, then, other: "Time of year")
    tell(np.isnan(then), lambda now, then, other: f"{label}: {now}{other}")
    tell((said == before) | alike, lambda now, then, other: f"{label}: steady at {now}{other}")
    tell(moved > 0, lambda now, then, other: f"{label} rose from {then} to {now}{other}")
    tell(True, lambda now, then, other: f"{label} fell from {then} to {now}{other}")
    return told


def _say_all(values: Any, unit: str, currency: str) -> Any:
    if values.dtype != object:
        return _numbers_said(values, unit, currency)
    return np.array([format_value(v, unit, currency) for v in values], dtype=object)


def _numbers(values: Any) -> Any:
    """Floats, nan for texts and where nothing is known."""
    if values.dtype != object:
        return values
    return np.array([np.nan if v is None or isinstance(v, str) else float(v) for v in values])


def _texts(values: Any) -> Any:
    return values.dtype == object and np.array([isinstance(v, str) for v in values])


def _unknown_all(values: Any) -> Any:
    if values.dtype != object:
        return np.isnan(values)
    return np.array([_unknown(value) for value in values])


def _unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
