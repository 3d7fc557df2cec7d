"""Tables in a connection, and what was found there once and serves every metric after."""

from __future__ import annotations

import functools
import itertools
import weakref
from dataclasses import dataclass
from typing import Any

__all__ = ["Kept", "Selected"]

MOST_KEPT = 100_000_000  # values kept per table; the oldest give way
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Selected:
    """A table that lives in a connection: as a relation, but asked without any detour.

    Parameters
    ----------
    con
        The connection. What several metrics are made of is kept in it as temporary tables.
    select
        A SELECT, such as ``SELECT * FROM surveys``; what it is and finds should not change while
        metrics are computed: some of it is asked once.
    """

    con: Any
    select: str

    @functools.cached_property
    def columns(self) -> dict[str, str]:
        """Give each column's type."""
        described = self.con.execute(f"DESCRIBE SELECT * FROM ({self.select})").fetchall()
        return {name: kind for name, kind, *_ in described}

    @functools.cached_property
    def found(self) -> dict[Any, Any]:
        """Give what was found here, by query, the oldest first."""
        return {}

    @functools.cached_property
    def unread(self) -> list[str]:
        """Name the tables that nobody reads any more."""
        return []

    def keep(self, query: str) -> Kept:
        """Give the table of a query, made when first asked for."""
        kept = self.found.get(query)
        if kept is None:
            while self.unread:
                self.con.execute(f"DROP TABLE IF EXISTS {self.unread.pop()}")
            kept = self.found[query] = Kept(self, query)
            tables = {key: one for key, one in self.found.items() if isinstance(one, Kept)}
            many = sum(one.values for one in tables.values())
            for key, one in tables.items():
                if many <= MOST_KEPT or one is kept:
                    break
                many -= one.values
                del self.found[key]
        found: Kept = kept
        return found


class Kept:
    """A temporary table, dropped before the next one is made when nobody can read it any more.

    Parameters
    ----------
    home
        Whose connection it is made in.
    query
        What it holds.

    Attributes
    ----------
    name
        Of the table.
    columns
        Each with its type.
    values
        Lines times columns.
    """

    def __init__(self, home: Selected, query: str) -> None:
        self.name = f"retain_kept_{next(_numbers)}"
        made = home.con.execute(f"CREATE TEMP TABLE {self.name} AS {query}")
        ((lines,),) = made.fetchall()
        described = home.con.execute(f"DESCRIBE {self.name}").fetchall()
        self.columns = {name: kind for name, kind, *_ in described}
        self.values = lines * len(self.columns)
        # not dropped at once: the connection may be in the midst of something else
        weakref.finalize(self, home.unread.append, self.name)
