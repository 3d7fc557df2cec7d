"""What the data-usability report says about single tables: rows set aside, stamps, stale sources."""

from __future__ import annotations

from collections.abc import Iterator

from retain.tables.mapping import Finding
from retain.tables.result import Tables
from retain.tables.staging import Staged

__all__ = ["remarks"]


def remarks(
    tables: Tables, staged: dict[str, Staged], later: dict[tuple[str, str], int]
) -> Iterator[Finding]:
    """Say what was found in each table by itself."""
    for name, counts in tables.counts.items():
        for reason, count in counts.set_aside.items():
            yield Finding(name, "", "warning", count, f"{count:,} rows set aside: {reason}.")
