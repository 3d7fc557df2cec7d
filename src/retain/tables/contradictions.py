"""Where tables contradict each other or themselves."""

from __future__ import annotations

from collections.abc import Iterator

from retain.tables.mapping import Finding
from retain.tables.result import Tables

__all__ = ["contradictions"]


def contradictions(tables: Tables) -> Iterator[Finding]:
    """Say where tables contradict each other."""
    yield from ()
