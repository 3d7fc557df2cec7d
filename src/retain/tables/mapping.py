"""What goes into reading a table and what comes out of it, as plain data."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Counts", "Finding", "Mapping"]

Severity = Literal["error", "warning", "advice"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "advice")


@dataclass(frozen=True)
class Mapping:
    """Where one table comes from, and what its columns and words are called there.

    Parameters
    ----------
    source
        A Parquet or CSV path, glob or folder, ``"file.duckdb::table"``, a pandas DataFrame, or a
        list of these; or ``"postgresql://server/database::table"``.
    query
        Instead of `source`: one SELECT over the names in `sources`. With the address of a
        PostgreSQL server as `source`: one SELECT that runs there.
    sources
        What `query` reads: a name for each source.
    columns
        Our column name: the source's. Empty means that the names agree.
    values
        For a column of ours, the source's words: ours; case and surrounding blanks are ignored.
    attributes, constant, measures
        Further columns kept under their own names: attributes of customers, those of them that
        never change, and further numbers to fold by week.
    datetime_format
        How text dates are written (strftime codes); None reads ISO 8601.
    drop_equal_rows
        Whether fully equal rows of a table without an id are set aside.
    scales
        Surveys: lowest and highest score by kind.
    ces_high_means
        Surveys: what a high customer effort score says.
    password_env
        Environment variable that holds the PostgreSQL server's password.
    """

    source: Any = None
    query: str | None = None
    sources: AnyMapping[str, Any] = field(default_factory=dict)
    columns: AnyMapping[str, str] = field(default_factory=dict)
    values: AnyMapping[str, AnyMapping[str, str]] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    datetime_format: str | None = None
    drop_equal_rows: bool = False
    scales: AnyMapping[str, tuple[float, float]] = field(default_factory=dict)
    ces_high_means: Literal["easy", "hard"] = "easy"
    password_env: str | None = None

    @property
    def origin(self) -> str:
        """Where the rows come from, for messages."""
        if self.query is not None and self.source is not None:
            return f"query on {self.source}"
        if self.query is not None:
            return "query over " + ", ".join(self.sources)
        if isinstance(self.source, list | tuple):
            return ", ".join(_named(one) for one in self.source)
        return _named(self.source)


@dataclass(frozen=True)
class Finding:
    """One line of the data-usability report.

    Attributes
    ----------
    table, column
        Where; `column` is empty when the whole table is meant.
    severity
        ``"error"``: the run would be impossible; ``"warning"``: someone should look;
        ``"advice"``: good to know.
    count
        How many are concerned of what the message speaks of: rows, customers, cells or columns.
    message, examples, todo
        What was found, up to five cases of it, and what to do.
    """

    table: str
    column: str
    severity: Severity
    count: int
    message: str
    examples: tuple[str, ...] = ()
    todo: str = ""


@dataclass(frozen=True)
class Counts:
    """How many rows came in, how many are used, and how many were set aside for which reason."""

    rows_in: int
    used: int
    set_aside: dict[str, int]

    def __post_init__(self) -> None:
        lost = self.rows_in - self.used - sum(self.set_aside.values())
        assert lost == 0, f"{lost} rows are neither used nor set aside"


def _named(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else f"a {type(source).__name__}"
