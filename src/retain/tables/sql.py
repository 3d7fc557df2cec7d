"""Names and words written into SQL, and one work database with its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

__all__ = ["open_work", "quoted", "rows_of", "word"]


def quoted(name: str) -> str:
    """Write a name as an SQL identifier.

    >>> quoted('my "own" column')
    '"my ""own"" column"'
    """
    return '"' + name.replace('"', '""') + '"'


def word(text: str) -> str:
    """Write a text as an SQL literal.

    >>> word("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def rows_of(con: Any, query: str) -> list[tuple[Any, ...]]:
    """Run a query and fetch its rows; instants must be cast to text or date inside it."""
    return con.sql(query).fetchall()


def open_work(folder: Path, timezone: str) -> Any:
    """Open a fresh work database: quiet, order kept; what does not fit goes to the folder."""
    # in memory: tables live as long as one run, and writing them out costs as much as casting them
    con = duckdb.connect()
    # in a notebook without widgets DuckDB has no bar, and refuses even to turn it off
    if rows_of(con, "SELECT current_setting('enable_progress_bar')")[0][0]:
        con.execute("SET enable_progress_bar = false")
    con.execute("SET preserve_insertion_order = true")
    con.execute(f"SET TimeZone = {word(timezone)}")
    con.execute(f"SET temp_directory = {word(str(folder / 'spill'))}")
    return con
