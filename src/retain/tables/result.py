"""Tables that have been read: what a run may rely on, and what was set aside on the way."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from retain.engines import Engine, Spark
from retain.errors import TableError, some
from retain.tables.eventlog import EventLog
from retain.tables.mapping import Counts, Finding
from retain.tables.server import ServerLog
from retain.tables.sql import quoted, rows_of, word

__all__ = ["Tables", "write_quarantine"]


@dataclass
class Tables:
    """A company's tables in one work database, under our names and types.

    Attributes
    ----------
    con
        The connection. For each table present it holds a table or view of that name: ids and text
        VARCHAR, instants TIMESTAMP (naive, local to `timezone`), numbers DOUBLE, flags BOOLEAN.
        Rows are in no particular order. `customers` is always there.
    columns
        Table: our columns that are there (attributes and measures excluded).
    attributes
        Attribute of customers: ``"number"`` (DOUBLE) or ``"text"`` (VARCHAR).
    constant
        Attributes or columns of customers that never change.
    measures
        Table: its further numbers.
    counts
        Table: rows in = used + set aside, by reason.
    findings
        The data-usability report, errors first.
    data_until
        Last day the data describe, in the company's zone.
    newest
        Table: day of its newest event or recorded_at.
    fingerprints
        Table: hash of the rows used, whatever their order; equal for equal content (of a long log:
        of its files).
    logs
        Table: its files, where it is a long log that was not copied; the relation is a view then.
        Or where it is a log on another engine: reading the relation fetches its rows.
    is_derived
        Whether `customers` was made from the behaviour tables.
    spark
        Where the tables are folded, when not here.
    """

    con: Any
    columns: dict[str, tuple[str, ...]]
    attributes: dict[str, str]
    constant: tuple[str, ...]
    measures: dict[str, tuple[str, ...]]
    counts: dict[str, Counts]
    findings: tuple[Finding, ...]
    data_until: date
    newest: dict[str, date]
    fingerprints: dict[str, str]
    timezone: str
    currency: str | None
    folder: Path
    logs: Mapping[str, EventLog | ServerLog] = field(default_factory=dict)
    is_derived: bool = False
    ces_high_means: str = "easy"
    scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    spark: Spark | None = None

    def __post_init__(self) -> None:
        engines = [log.engine for log in self.logs.values() if isinstance(log, ServerLog)]
        self._finalizer = weakref.finalize(self, _remove, self.con, self.folder, engines)

    @property
    def names(self) -> tuple[str, ...]:
        """The tables that are there."""
        return tuple(self.columns)

    @property
    def quarantine(self) -> Any:
        """Relation of the rows set aside: table_name, reason, row_number (from 1), row_json."""
        return self.con.sql("SELECT table_name, reason, row_number, row_json FROM quarantine")

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make a run impossible."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def has(self, table: str, *columns: str) -> bool:
        """Tell whether a table is there, with these columns."""
        return table in self.columns and set(columns) <= {
            *self.columns[table],
            *self.measures.get(table, ()),
            *(self.attributes if table == "customers" else ()),
        }

    def ask(self, table: str, query: str) -> list[tuple[Any, ...]]:
        """Run a query over one table where its rows lie, and fetch its few rows.

        Parameters
        ----------
        table
            The only one that the query reads.
        query
            One SELECT; each of its columns has a name.
        """
        log = self.logs.get(table)
        if isinstance(log, ServerLog):
            return log.ask(query)
        return rows_of(self.con, query)

    def frame(self, table: str) -> pd.DataFrame:
        """Fetch a whole table; for small ones.

        Raises
        ------
        TableError
            When there is no such table.
        """
        if table not in self.columns and table != "quarantine":
            raise TableError(f"there is no table {table!r}; there are: {some(self.columns, 10)}")
        fetched: pd.DataFrame = self.con.sql(f"SELECT * FROM {quoted(table)}").df()
        return fetched

    def close(self) -> None:
        """Close the work database and remove its files."""
        self._finalizer()

    def __enter__(self) -> Tables:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def write_quarantine(tables: Tables, path: str | Path) -> int:
    """Write the rows that were set aside to a Parquet file.

    Parameters
    ----------
    tables
        What `read_tables` gave.
    path
        The file; it is written aside and moved into place, so it is never half there.

    Returns
    -------
    int
        Rows written: table_name, reason, row_number (from 1, in the source), row_json.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    tables.con.execute(
        "COPY (SELECT table_name, reason, row_number, row_json FROM quarantine "
        f"ORDER BY table_name, row_number, reason) TO {word(str(aside))} "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    aside.replace(path)
    (count,) = tables.con.sql("SELECT count(*) FROM quarantine").fetchall()[0]
    return int(count)


def _remove(con: Any, folder: Path, engines: list[Engine]) -> None:
    con.close()
    for engine in engines:
        engine.close()
    shutil.rmtree(folder, ignore_errors=True)
