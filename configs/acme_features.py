"""Acme's own features: what its product is bought for, and what support costs its customers.

Named once in a configuration (`features: acme_features.py`). A function's name is the column, the
first line of its docstring is what a customer-success lead reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retain import History, feature


@feature(unit="rows", signal="exports", theme="usage", over=(4, 13))
def rows_exported(history: History, weeks: int) -> Any:
    """Rows exported in the last {weeks}."""
    return history.usage.total("rows_exported", weeks)


@feature(unit="balance", signal="exports", theme="usage", over=(4, 13), of="rows_exported_")
def rows_exported_change(history: History, weeks: int) -> Any:
    """Change of rows exported, last {weeks} against the same time before."""
    return history.usage.change("rows_exported", weeks)


@feature(unit="contacts per day", signal="support needed to work", theme="effort", over=(13,))
def contacts_per_active_day(history: History, weeks: int) -> Any:
    """Support contacts per day of use in the last {weeks}."""
    contacts = history.interactions.total("contacts", weeks)
    days = history.usage.active_days("days", weeks)
    return np.divide(contacts, days, out=np.full(days.shape, np.nan), where=days > 0)


FEATURES = (rows_exported, rows_exported_change, contacts_per_active_day)
