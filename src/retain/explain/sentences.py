"""One line per driver, in the reader's words: the number, its window, before, and among peers."""

from __future__ import annotations

from typing import Any

import numpy as np

from retain.features import Column

__all__ = ["describe", "format_value"]

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
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "none"
    if isinstance(value, str):
        return value
    number = float(value)
    if unit == "share":
        return f"{100 * number:.0f} %"
    if unit == "balance":
        return f"{100 * number:+.0f} %"
    if unit.startswith("currency"):
        return f"{currency} {number:,.0f}".strip()
    if abs(number) >= 100 or number == round(number):
        return f"{number:,.0f}"
    return f"{number:.1f}"


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
    unit, label = column.feature.unit, column.label

    def say(thing: Any) -> str:
        return format_value(thing, unit, currency)

    others = "" if _unknown(peer) else f"; similar customers: {say(peer)}"
    if _unknown(value):
        return f"{label}: none known{others}"
    if isinstance(value, str):
        return f"{label}: {value}"
    if unit == "season":
        return "Time of year"
    clock = label.startswith(_CLOCKS) or unit in ("balance", "season")
    if clock or _unknown(earlier) or isinstance(earlier, str):
        return f"{label}: {say(value)}{others}"
    moved = float(value) - float(earlier)
    if say(value) == say(earlier) or abs(moved) <= _ALIKE * max(abs(float(earlier)), 1e-9):
        return f"{label}: steady at {say(value)}{others}"
    verb = "rose" if moved > 0 else "fell"
    return f"{label} {verb} from {say(earlier)} to {say(value)}{others}"


def _unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
