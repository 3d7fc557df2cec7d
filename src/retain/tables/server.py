"""A log of events on another engine: checked there, and only what is asked for comes over.

Everything is one SELECT above the next: the source as it lies there, each row cast and judged, the
rows that are used. The SQL is that of any other table, rendered for the engine. What travels are
counts by day and feature, first and last moments by customer, the rows set aside, and (see
`retain.weeks.serverfold`) folded weeks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retain.engines import Engine, rendered
from retain.tables.sources import Source
from retain.tables.sql import quoted, word

__all__ = ["ServerLog", "why_copied"]

SAMPLED = 16  # of so many customers one is looked at for equal rows, when the log is long
LONG_ROWS = 2_000_000
PLAIN = {
    "id": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "VARCHAR"),
    "text": ("VARCHAR",),
    "instant": ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE"),
    "number": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE"),
}


class ServerLog:
    """A log of events that stays where it is.

    Parameters
    ----------
    engine
        Where it is.
    relation
        What to select from there, in the engine's own dialect.
    source
        Its columns and types.
    select
        SELECT of the cast rows from the source's view, in the embedded engine's dialect.
    columns
        Column of ours: the source's; measures under their own names.
    kinds
        Column of ours: id, instant, number or text.
    is_placed
        Whether the engine can tell the place of a row: of a table, not of a query.
    """

    def __init__(
        self,
        engine: Engine,
        relation: str,
        source: Source,
        select: str,
        columns: dict[str, str],
        kinds: dict[str, str],
        *,
        is_placed: bool,
    ) -> None:
        self.engine, self.source, self.columns, self.kinds = engine, source, columns, kinds
        self.scratch: Path | None = None  # where rows are put down when anyone asks for rows
        self.aside = np.zeros(0, dtype=np.int64)  # what is told below leaves out what is set aside
        self.has_oddities = False
        self.rows_fetched = 0  # rows of the log that came over, to be shown that they do not
        dialect = engine.dialect
        place = engine.place if is_placed else "CAST(0 AS bigint)"
        self._parts = {
            source.view: f"SELECT *, {place} AS _retain_row FROM {relation}",
            "staged_usage": rendered(select, dialect),
        }
        self._days: dict[str, dict[int, int]] = {}
        for column, kind in kinds.items():
            if kind == "instant":
                self._days[column] = self._by_day(column, "staged_usage")
        ((self.rows,),) = self.ask("SELECT count(*) AS n FROM staged_usage")

    # -- asking ------------------------------------------------------------------------------

    def query(self, query: str, **parts: str) -> str:
        """Write a query over `usage` (or what comes before it) for the engine.

        Parameters
        ----------
        query
            In the embedded engine's dialect.
        parts
            Name to SELECT, in that dialect too, of what it reads besides.
        """
        dialect = self.engine.dialect
        own = {name: rendered(sql, dialect) for name, sql in parts.items()}
        named = ", ".join(
            f"{name} AS {'NOT MATERIALIZED ' if dialect == 'postgres' else ''}({sql})"
            for name, sql in {**self._parts, **own}.items()
        )
        asked = rendered(query, dialect)
        if asked.startswith("WITH "):
            return f"WITH {named}, {asked.removeprefix('WITH ')}"
        return f"WITH {named} {asked}"

    def arrow(self, query: str, **parts: str) -> Any:
        """Run a query over `usage`; an Arrow table. Parameters as for `query`."""
        return self.engine.arrow(self.query(query, **parts))

    def ask(self, query: str, **parts: str) -> list[tuple[Any, ...]]:
        """Run a query over `usage` and give its few rows. Parameters as for `query`."""
        table = self.arrow(query, **parts)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    # -- judging -----------------------------------------------------------------------------

    def ids(self) -> set[str]:
        """Every customer of a row that has one, usable or not."""
        found = self.arrow("SELECT DISTINCT customer_id FROM staged_usage")
        return {one for one in found["customer_id"].to_pylist() if one is not None}

    def seen_until(self, end: str) -> Any:
        """Arrow table of the first and last event of each customer before `end`, an SQL moment."""
        return self._seen(f"staged_usage WHERE _bad IS NULL AND occurred_at < {end}")

    def settle(self, reason: str, unknown: set[str]) -> tuple[dict[str, int], Any]:
        """Leave out every row that has a reason, from now on.

        Parameters
        ----------
        reason
            SQL that gives it or null; customers in the relation ``unknown`` are nobody's.
        unknown
            Customer ids that are not known.

        Returns
        -------
        tuple
            How many rows for which reason, most first; and an Arrow table of them with every
            column of the source, ``_why`` and ``_retain_row``.
        """
        dialect = self.engine.dialect
        self._parts["unknown"] = rendered(_values("customer_id", sorted(unknown)), dialect)
        why = f"SELECT *, {reason} AS _first_why FROM staged_usage"
        told = "_first_why"
        if "event_id" in self.columns and self._has_repeats(reason):
            told = (
                "CASE WHEN _first_why IS NULL AND event_id IS NOT NULL AND row_number() OVER "
                "(PARTITION BY _first_why IS NULL, event_id ORDER BY _row, occurred_at) > 1 "
                "THEN 'repeated event_id' ELSE _first_why END"
            )
        self._parts["judged_usage"] = rendered(f"SELECT *, {told} AS _why FROM ({why})", dialect)
        listed = ", ".join(quoted(name) for name in self.columns)
        self._parts["usage"] = rendered(
            f"SELECT {listed} FROM judged_usage WHERE _why IS NULL", dialect
        )
        counted = self.ask("SELECT _why, count(*) AS n FROM judged_usage GROUP BY _why")
        aside = {why: n for why, n in counted if why is not None}
        for column in self._days:
            self._days[column] = self._by_day(column, "usage")
        return dict(sorted(aside.items(), key=lambda one: (-one[1], one[0]))), self._set_aside(
            aside
        )

    def _set_aside(self, aside: dict[str, int]) -> Any:
        raw = ", ".join(quoted(f"_raw_{name}") for name in self.source.types)
        found = self.arrow(
            f"SELECT _why, _row AS _retain_row, {raw} FROM judged_usage WHERE _why IS NOT NULL"
            f"{'' if aside else ' AND 1 = 0'} ORDER BY _row"
        )
        return found.rename_columns(["_why", "_retain_row", *self.source.types])

    def _has_repeats(self, reason: str) -> bool:
        ((there, different),) = self.ask(
            "SELECT count(event_id) AS n, count(DISTINCT event_id) AS d FROM staged_usage "
            f"WHERE ({reason}) IS NULL"
        )
        return bool(there != different)

    # -- what the log holds ------------------------------------------------------------------

    def there(self, column: str) -> int:
        """Count the rows in which a column holds anything."""
        ((count,),) = self.ask(f"SELECT count({quoted(column)}) AS n FROM usage")
        return int(count)

    def days(self, column: str) -> dict[int, int]:
        """Count the rows of each day (days since 1970) of an instant."""
        return self._days[column]

    plain_days = days

    @property
    def odd_spans(self) -> list[tuple[int, int]]:
        """None: its rows were judged where they are."""
        return []

    def recording(self) -> tuple[int, int, float, int]:
        """As `EventLog.recording`."""
        lag = f"{_day('recorded_at')} - {_day('occurred_at')}"
        found = self.ask(
            f"SELECT {lag} AS lag, count(*) AS n, count(*) FILTER (WHERE recorded_at < occurred_at "
            "- INTERVAL 1 DAY) AS early FROM usage WHERE recorded_at IS NOT NULL GROUP BY 1"
        )
        if not found:
            return 0, 0, 0.0, 0
        lags = np.repeat([one[0] for one in found], [one[1] for one in found])
        early = sum(one[2] for one in found)
        return len(lags), early, float(np.median(lags)), max(self.days("recorded_at").values())

    def feature_days(self) -> dict[str, dict[int, int]]:
        """Count the events of each feature by the day on which they were known."""
        day = _day("occurred_at")
        if "recorded_at" in self.columns:
            day = f"greatest({day}, coalesce({_day('recorded_at')}, {day}))"
        total: dict[str, dict[int, int]] = {}
        for name, number, rows in self.ask(
            f"SELECT feature, {day} AS day, count(*) AS n FROM usage WHERE feature IS NOT NULL "
            "GROUP BY 1, 2"
        ):
            total.setdefault(name, {})[number] = rows
        return total

    def equal_rows(self) -> int:
        """Count the rows that equal an earlier one; of a long log from some customers."""
        times = SAMPLED if self.rows > LONG_ROWS else 1
        some = quoted(self.columns["customer_id"])
        where = "" if times == 1 else f" WHERE hash({some}) % {times} = 0"
        ((more,),) = self.ask(
            "SELECT CAST(coalesce(sum(n - 1), 0) AS BIGINT) AS more FROM (SELECT count(*) AS n "
            f"FROM {quoted(self.source.view)}{where} GROUP BY {self.source.listed} "
            "HAVING count(*) > 1)"
        )
        return int(more) * times

    def distinct_ids(self) -> Any:
        """Arrow table of the source's customer ids as they came, each once."""
        name = quoted(self.columns["customer_id"])
        return self.arrow(f"SELECT DISTINCT {name} FROM {quoted(self.source.view)}")

    def seen(self) -> Any:
        """Arrow table of the first and last event of each customer."""
        return self._seen("usage")

    @property
    def fingerprint(self) -> str:
        """Hash of the rows used, whatever their order: 16 hexadecimal digits."""
        if not hasattr(self, "_fingerprint"):
            listed = ", ".join(quoted(name) for name in self.columns)
            ((count, mixed, added),) = self.ask(
                "SELECT count(*) AS n, bit_xor(h) AS mixed, CAST(coalesce(sum(h % 1000000007), 0) "
                f"AS BIGINT) AS added FROM (SELECT hash({listed}) AS h FROM usage)"
            )
            total = (mixed or 0) ^ (int(added) << 1) ^ (int(count) * 0x9E3779B97F4A7C15)
            self._fingerprint = f"{total % 2**64:016x}"
        return self._fingerprint

    def _seen(self, rows: str) -> Any:
        return self.arrow(
            "SELECT customer_id, min(occurred_at) AS first_at, max(occurred_at) AS last_at "
            f"FROM {rows} GROUP BY customer_id"
        )

    def _by_day(self, column: str, rows: str) -> dict[int, int]:
        found = self.ask(
            f"SELECT {_day(column)} AS day, count(*) AS n FROM {rows} "
            f"WHERE {quoted(column)} IS NOT NULL GROUP BY 1"
        )
        return {day: n for day, n in found if day is not None}

    # -- rows, for whoever cannot do without -------------------------------------------------

    def __arrow_c_schema__(self) -> Any:
        """Tell the columns of `usage` without asking for a row."""
        import pyarrow as pa

        arrow = {"instant": pa.timestamp("us"), "number": pa.float64()}
        schema = pa.schema([(c, arrow.get(kind, pa.string())) for c, kind in self.kinds.items()])
        return schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Give the rows of `usage`: fetched once, kept in the work folder for the next reader."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        assert self.scratch is not None
        path = self.scratch / "usage-rows.parquet"
        if not path.exists():
            listed = ", ".join(quoted(name) for name in self.columns)
            reader = self.engine.batches(self.query(f"SELECT {listed} FROM usage"))
            with pq.ParquetWriter(path, reader.schema) as writer:
                for batch in reader:
                    self.rows_fetched += len(batch)
                    writer.write_batch(batch)
        file = pq.ParquetFile(path)
        reader = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
        return reader.__arrow_c_stream__(requested_schema)


def why_copied(types: dict[str, str], columns: dict[str, str], kinds: dict[str, str]) -> str:
    """Say which column keeps a log from being checked where it lies; nothing when none does."""
    for ours, theirs in columns.items():
        if types[theirs] not in PLAIN[kinds[ours]]:
            told = {"instant": "a date or a time stamp", "id": "text or a whole number"}
            expected = told.get(kinds[ours], "text" if kinds[ours] == "text" else "a number")
            return f"column {theirs!r} for {ours} is not of a type that is {expected}"
    return ""


def _day(stamp: str) -> str:
    return f"CAST(date_diff('day', DATE '1970-01-01', CAST({stamp} AS DATE)) AS INTEGER)"


def _values(name: str, texts: list[str]) -> str:
    if not texts:
        return f"SELECT CAST(NULL AS VARCHAR) AS {name} WHERE 1 = 0"
    listed = ", ".join(f"({word(one)})" for one in texts)
    return f"SELECT {name} FROM (VALUES {listed}) AS given({name})"
