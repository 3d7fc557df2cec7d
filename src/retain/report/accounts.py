"""The chapters of a scorecard that are accounts rather than single numbers, laid out as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["chapters"]


def chapters(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lay out the accounts that a card holds."""
    return []
