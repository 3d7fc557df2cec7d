"""How files, folders, databases and frames become one relation to read from."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from retain.engines import Address, Engine, PostgreSQL
from retain.errors import TableError, some
from retain.tables.mapping import Mapping
from retain.tables.sql import quoted, rows_of, word

__all__ = [
    "ROW",
    "Source",
    "explain",
    "one_thread",
    "open_source",
    "parquet_files",
    "server_relation",
]

ROW = "_retain_row"  # place in the source: which of its parts, then which row of it, from 0
PART = 1 << 44
COUNTED = "row_number() OVER () - 1"

PARQUET = (".parquet", ".pq", ".parq")
CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".txt", ".txt.gz")
DATABASES = (".duckdb", ".ddb", ".db")
BLANK = " \t\r\n\u00a0\u2003\ufeff"


@dataclass(frozen=True)
class Source:
    """A relation in the work database that gives the rows of one table as they came.

    Attributes
    ----------
    view
        Its name in the work database. Beside its own columns it has `ROW`, because the engine does
        not keep the order of rows when several threads write a table.
    types
        Its columns, in their order, and the type of each.
    origin
        Where it came from, for messages.
    is_ordered_only
        Whether only the order of rows tells their place: text files, queries, database tables.
    """

    view: str
    types: dict[str, str]
    origin: str
    is_ordered_only: bool

    @property
    def listed(self) -> str:
        """Every column, written for SQL."""
        return ", ".join(quoted(name) for name in self.types)

    @property
    def as_json(self) -> str:
        """A whole row as JSON text, written for SQL."""
        pairs = ", ".join(f"{word(name)}, {quoted(name)}" for name in self.types)
        return f"CAST(json_object({pairs}) AS VARCHAR)"

    def find(self, name: str) -> str | None:
        """Find a column by its name, whatever its case."""
        if name in self.types:
            return name
        alike = [column for column in self.types if column.lower() == name.lower()]
        return alike[0] if len(alike) == 1 else None


def open_source(con: Any, table: str, mapping: Mapping) -> Source:
    """Make one table's source readable as the view ``source_<table>``.

    Raises
    ------
    TableError
        When a file is missing, unreadable or of an unknown kind, a folder holds no files, or a
        query is not one SELECT over its sources.
    """
    view = f"source_{table}"
    address = Address.of(mapping.source, mapping.password_env)
    if address is not None:
        _copy_from_server(con, table, mapping, address, view)
        is_ordered_only = False
    elif mapping.query is not None:
        _run_query(con, table, mapping, view)
        is_ordered_only = True
    else:
        is_ordered_only = _make_view(con, table, view, mapping.source)
    types = _types(con, table, view, mapping.origin)
    types.pop(ROW)
    if not types:
        raise TableError(f"table {table!r}: {mapping.origin} has no columns")
    return Source(view, types, mapping.origin, is_ordered_only)


def server_relation(
    server: Engine, mapping: Mapping, address: Address
) -> tuple[str, dict[str, str]]:
    """Write what to select from on a server, and name its columns and their types.

    A type that the embedded engine has no name for comes as text.
    """
    query = mapping.query
    asked = "" if query is None else f"({query.rstrip().rstrip(';')}) AS asked"
    relation = asked or address.relation
    types = server.types(relation)
    if "OTHER" not in types.values():
        return relation, types
    listed = ", ".join(
        f"CAST({quoted(name)} AS text) AS {quoted(name)}" if kind == "OTHER" else quoted(name)
        for name, kind in types.items()
    )
    place = ", ctid" if query is None else ""
    told = {name: "VARCHAR" if kind == "OTHER" else kind for name, kind in types.items()}
    return f"(SELECT {listed}{place} FROM {relation}) AS plain", told


def parquet_files(table: str, source: Any) -> list[tuple[Path, int]]:
    """List the Parquet files behind a source, each with the place of its first row.

    Empty when anything else is among them, or when only their order tells a place.
    """
    many = list(source) if isinstance(source, list | tuple) else [source]
    found: list[tuple[Path, int]] = []
    for number, one in enumerate(many):
        path = str(one)
        if not isinstance(one, str | Path) or "::" in path or path.lower().endswith(DATABASES):
            return []
        begin = number * PART
        for file in _files(table, path):
            if not str(file).lower().endswith(PARQUET):
                return []
            found.append((file, begin))
            begin += _rows_in(file)
    return found


def _rows_in(file: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(file).num_rows)


def explain(problem: Exception) -> str:
    """Give the first telling line of a database error."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] if lines else type(problem).__name__


@contextmanager
def one_thread(con: Any, needed: bool) -> Iterator[None]:
    """Keep the order of rows where only it tells them apart: text files and queries."""
    if not needed:
        yield
        return
    (before,) = rows_of(con, "SELECT current_setting('threads')")[0]
    con.execute("SET threads = 1")
    try:
        yield
    finally:
        con.execute(f"SET threads = {before}")


def _make_view(con: Any, table: str, view: str, source: Any) -> bool:
    """Create a view over one source or a list of them; tell whether only order tells a place."""
    many = list(source) if isinstance(source, list | tuple) else [source]
    if not many:
        raise TableError(f"table {table!r}: the list of sources is empty; name at least one file")
    found = [
        part
        for number, one in enumerate(many)
        for part in _relations(con, table, f"{view}_{number}", one)
    ]
    body = " UNION ALL BY NAME ".join(
        f"SELECT *{f' EXCLUDE ({ROW})' if place == ROW else ''}, "
        f"CAST({number * PART} + {place} AS BIGINT) AS {ROW} FROM {sql}"
        for number, (sql, place) in enumerate(found)
    )
    try:
        con.execute(f"CREATE VIEW {quoted(view)} AS {body}")
    except duckdb.Error as problem:
        raise TableError(_unreadable(table, source, problem)) from None
    return any(place == COUNTED for _, place in found)


def _relations(con: Any, table: str, name: str, source: Any) -> list[tuple[str, str]]:
    """Write what to select FROM, and the place of a row in it, for one source."""
    if isinstance(source, pd.DataFrame):
        con.register(name, _plain_frame(table, source))
        return [(quoted(name), ROW)]
    if not isinstance(source, str | Path):
        raise TableError(
            f"table {table!r}: a source should be a path or a pandas DataFrame, found "
            f"{type(source).__name__}"
        )
    path, mark, inner = str(source).partition("::")
    if mark or path.lower().endswith(DATABASES):
        return [(_database_table(con, table, name, path, inner), COUNTED)]
    files = _files(table, path)
    kinds = {"parquet" if str(file).lower().endswith(PARQUET) else "csv" for file in files}
    if len(kinds) > 1:
        raise TableError(
            f"table {table!r}: {path} mixes Parquet and CSV files; name one kind, as in *.parquet"
        )
    empty = [file for file in files if file.stat().st_size == 0]
    if empty:
        raise TableError(
            f"table {table!r}: {some(empty)} holds nothing (0 bytes). Export it again, or name the "
            "files to read"
        )
    if kinds == {"parquet"}:
        listed = ", ".join(word(str(file)) for file in files)
        sql = f"read_parquet([{listed}], union_by_name = true)"
        return [(sql, _place(con, table, files))]
    how = "all_varchar = true, header = true, quote = '\"', escape = '\"', store_rejects = true"
    return [(f"read_csv({word(str(file))}, {how})", COUNTED) for file in files]


def _place(con: Any, table: str, files: list[Path]) -> str:
    """Write the place of a row among all rows of several Parquet files."""
    starts = [0]
    for file in files:
        try:
            ((count,),) = rows_of(
                con, f"SELECT num_rows FROM parquet_file_metadata({word(str(file))})"
            )
        except duckdb.Error as problem:
            raise TableError(_unreadable(table, file, problem)) from None
        starts.append(starts[-1] + int(count))
        own = rows_of(con, f"SELECT name FROM parquet_schema({word(str(file))})")
        if {"file_row_number", "file_index"} & {str(name).lower() for (name,) in own}:
            return COUNTED  # columns of their own hide the places that the reader offers
    if len(files) == 1:
        return "file_row_number"
    return f"{starts}[CAST(file_index AS BIGINT) + 1] + file_row_number"


def _files(table: str, path: str) -> list[Path]:
    """Find the files behind a path, glob or folder, in a stable order."""
    place = Path(path).expanduser()
    if place.is_dir():
        inside = [file for file in sorted(place.rglob("*")) if file.is_file()]
        for kind in (PARQUET, CSV):
            files = [file for file in inside if file.name.lower().endswith(kind)]
            if files:
                return files
        raise TableError(
            f"table {table!r}: folder {place} holds no Parquet or CSV files; found "
            f"{some(file.name for file in inside)}"
        )
    if any(sign in path for sign in "*?["):
        stem = Path(
            *[part for part in place.parts if not any(s in part for s in "*?[")][:1] or ["."]
        )
        for part in place.parts[1:]:
            if any(sign in part for sign in "*?["):
                break
            stem = stem / part
        rest = str(place.relative_to(stem)) if str(stem) != "." else str(place)
        files = (
            [file for file in sorted(stem.glob(rest)) if file.is_file()] if stem.is_dir() else []
        )
        if not files:
            raise TableError(
                f"table {table!r}: no file matches {path}; check the folder and the pattern "
                "(paths are relative to the configuration file)"
            )
        return files
    if not place.is_file():
        beside = (
            sorted(file.name for file in place.parent.iterdir()) if place.parent.is_dir() else []
        )
        # by their names before the dot: one ending makes any two files look alike
        stems = {name.split(".", 1)[0].lower(): name for name in reversed(beside)}
        near = difflib.get_close_matches(place.name.split(".", 1)[0].lower(), stems, 1)
        hint = f"did you mean {stems[near[0]]}?" if near else f"that folder holds: {some(beside)}"
        if not place.parent.is_dir():
            hint = f"there is no folder {place.parent} either"
        raise TableError(
            f"table {table!r}: file {place} is missing; {hint} "
            "(paths are relative to the configuration file)"
        )
    if not place.name.lower().endswith((*PARQUET, *CSV)):
        raise TableError(
            f"table {table!r}: {place.name} is of an unknown kind; expected Parquet "
            f"({', '.join(PARQUET)}), CSV ({', '.join(CSV)}) or file.duckdb::table"
        )
    return [place]


def _database_table(con: Any, table: str, name: str, path: str, inner: str) -> str:
    """Attach a DuckDB file read-only and name the table in it."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise TableError(f"table {table!r}: database {file} is missing")
    alias = quoted(f"{name}_db")
    try:
        con.execute(f"ATTACH {word(str(file))} AS {alias} (READ_ONLY)")
        found = rows_of(
            con,
            "SELECT table_schema, table_name FROM information_schema.tables "
            f"WHERE table_catalog = {word(f'{name}_db')} ORDER BY 1, 2",
        )
    except duckdb.Error as problem:
        raise TableError(
            f"table {table!r}: {file} cannot be opened as a DuckDB database: {explain(problem)}"
        ) from None
    known = {f"{schema}.{one}": (schema, one) for schema, one in found}
    key = inner if inner in known else f"main.{inner}"
    if key not in known:
        near = difflib.get_close_matches(inner, [one for _, one in found], 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise TableError(
            f"table {table!r}: {file.name} has no table {inner!r}{hint} It holds: {some(known)}. "
            "Write file.duckdb::table"
        )
    schema, one = known[key]
    return f"{alias}.{quoted(schema)}.{quoted(one)}"


def _copy_from_server(con: Any, table: str, mapping: Mapping, address: Address, view: str) -> None:
    """Copy a table of a PostgreSQL server into the work database, as Arrow."""
    server = PostgreSQL(address, table)
    try:
        relation, types = server_relation(server, mapping, address)
        listed = ", ".join(
            f"CAST({quoted(name)} AS text) AS {quoted(name)}" if kind == "DECIMAL" else quoted(name)
            for name, kind in types.items()
        )
        con.register("server_rows", server.batches(f"SELECT {listed} FROM {relation}"))
        with one_thread(con, True):
            con.execute(
                f"CREATE TABLE {quoted(view)} AS SELECT *, row_number() OVER () - 1 AS {ROW} "
                "FROM server_rows"
            )
        con.unregister("server_rows")
    finally:
        server.close()


def _run_query(con: Any, table: str, mapping: Mapping, view: str) -> None:
    """Run one SELECT over named sources into a table."""
    assert mapping.query is not None
    if not mapping.sources:
        raise TableError(f"table {table!r}: `query` needs `sources`, the names it reads")
    try:
        statements = con.extract_statements(mapping.query)
        kinds = [str(one.type).rsplit(".", 1)[-1] for one in statements]
    except duckdb.Error as problem:
        raise TableError(f"table {table!r}: the query is not SQL: {explain(problem)}") from None
    if kinds not in (["SELECT"], ["SELECT_STATEMENT"]):
        raise TableError(f"table {table!r}: `query` should be one SELECT, found {some(kinds)}")
    schema = quoted(f"query_{table}")
    con.execute(f"CREATE SCHEMA {schema}")
    for number, (name, source) in enumerate(mapping.sources.items()):
        inner = f"{view}_q{number}"
        _make_view(con, table, inner, source)
        con.execute(
            f"CREATE VIEW {schema}.{quoted(name)} AS SELECT * EXCLUDE ({ROW}) "
            f"FROM main.{quoted(inner)}"
        )
    try:
        con.execute(f"SET search_path = {word(f'query_{table},main')}")
        with one_thread(con, True):
            con.execute(
                f"CREATE TABLE main.{quoted(view)} AS SELECT *, row_number() OVER () - 1 AS {ROW} "
                f"FROM ({mapping.query.rstrip().rstrip(';')})"
            )
    except duckdb.Error as problem:
        raise TableError(
            f"table {table!r}: the query over {some(mapping.sources)} cannot be run: "
            f"{explain(problem)}"
        ) from None
    finally:
        con.execute("SET search_path = 'main'")


def _types(con: Any, table: str, view: str, origin: str) -> dict[str, str]:
    try:
        found = rows_of(
            con, f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {quoted(view)})"
        )
    except duckdb.Error as problem:
        raise TableError(_unreadable(table, origin, problem)) from None
    return {str(name): str(kind).strip('"') for name, kind in found}


def _unreadable(table: str, source: Any, problem: Exception) -> str:
    told = explain(problem)
    hint = "Export it again: it may be cut off or of another format than its name says"
    if "unicode" in told.lower() or "utf-8" in told.lower():
        hint = "It is not UTF-8 text: save it as UTF-8"
    elif "binder" in told.lower() or "type" in told.lower():
        hint = "Check that all its files have the same columns and types"
    named = source if isinstance(source, str | Path) else "the source"
    return f"table {table!r}: {named} cannot be read: {told}. {hint}"


def _plain_frame(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Give a frame that the database reads faithfully: text names, mixed columns as text."""
    repeated = [str(name) for name in frame.columns[frame.columns.duplicated()]]
    if repeated:
        raise TableError(f"table {table!r}: the frame has {some(repeated)} twice; rename one")
    plain = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) != "string":
            column = column.map(str, na_action="ignore").astype("str")
        elif isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(column.cat.categories.dtype)
        plain[str(name)] = column.reset_index(drop=True)
    return pd.DataFrame({**plain, ROW: range(len(frame))})
