"""One source cast into our columns, each row with the first thing that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from retain.engines import Address, Engine, PostgreSQL, Spark
from retain.errors import TableError, some
from retain.tables.casting import NOTHING, Cast, cast_of, is_number_type, text_of
from retain.tables.eventlog import EventLog, open_log
from retain.tables.mapping import Mapping
from retain.tables.server import ServerLog, why_copied
from retain.tables.sources import (
    ROW,
    Source,
    explain,
    one_thread,
    open_source,
    parquet_files,
    server_relation,
)
from retain.tables.spec import MEASURED, SCALES, SPECS, ColumnSpec, TableSpec
from retain.tables.sql import quoted, rows_of, word
from retain.tables.textfiles import last_scan, refuse_other_scripts, rejected_lines

__all__ = ["Staged", "stage"]


@dataclass(frozen=True)
class Staged:
    """A table whose rows are cast but not yet judged against the other tables.

    Attributes
    ----------
    relation
        Its name in the work database; columns: ours, attributes, measures, ``_row`` (place in the
        source), ``_bad`` (the first reason to set the row aside, or null), ``_z_<instant>`` (how
        the stamp was written) and ``_hash`` (of the whole source row, where there is no id).
        A view of `held`.
    columns
        Column of ours: the source's column.
    attributes
        Attribute: ``"number"`` or ``"text"``.
    rejected
        Lines of a text file that hold too many or too few fields: (line number, line, why).
    log
        Set where the table is a long log of events: `relation` is a view then, nothing is copied;
        or where it is a log on another engine: then there is no `relation`.
    copied_because
        Why a log on another engine was copied from there all the same.
    whole
        Ids that are whole numbers in the source and in `held`: counted and looked up sooner.
    """

    spec: TableSpec
    mapping: Mapping
    source: Source
    relation: str
    columns: dict[str, str]
    attributes: dict[str, str]
    rejected: tuple[tuple[int, str, str], ...]
    log: EventLog | ServerLog | None = None
    copied_because: str = ""
    whole: tuple[str, ...] = ()

    @property
    def held(self) -> str:
        """Name what holds the rows that `relation` shows; not of a log on another engine."""
        return f"held_{self.spec.name}"

    @property
    def shown(self) -> str:
        """Write the SELECT list that shows ids as text."""
        texts = ", ".join(f"CAST({quoted(c)} AS VARCHAR) AS {quoted(c)}" for c in self.whole)
        return f"* REPLACE ({texts})" if texts else "*"

    @property
    def kept(self) -> tuple[str, ...]:
        """Every output column: ours, attributes, measures."""
        own = tuple(self.columns) + (
            ("date",) if self.spec.name == "costs" and "date" not in self.columns else ()
        )
        return tuple(dict.fromkeys((*own, *self.attributes, *self.mapping.measures)))

    def has(self, *names: str) -> bool:
        """Tell whether all these columns of ours are mapped."""
        return all(name in self.columns for name in names)

    def writes_stamps_as_text(self, column: str) -> bool:
        """Tell whether an instant comes as text, so that each stamp may be written differently."""
        return _is_text(self.source.types[self.columns[column]])

    @property
    def has_id(self) -> bool:
        """Whether rows carry an id of their own."""
        return self.spec.id_column is not None and self.spec.id_column in self.columns


def stage(
    con: Any,
    table: str,
    mapping: Mapping,
    zone: str,
    summaries: Path | None = None,
    since: datetime | None = None,
    scratch: Path | None = None,
    spark: Spark | None = None,
) -> Staged:
    """Open a source and cast it into ``staged_<table>``.

    Parameters
    ----------
    con, table, mapping, zone
        The work database, one of our tables, where it is, and the zone whose days count.
    summaries
        Folder that keeps what was learnt of the files of a long log.
    since
        Leave out rows of which every instant lies before; None takes all.
    scratch
        Folder of the work database, where a long log may put things down.
    spark
        Where usage in Parquet files is read instead.

    Raises
    ------
    TableError
        When the source cannot be read, a column is missing, or its type can never fit.
    """
    spec = SPECS[table]
    last = last_scan(con)
    why = ""
    address = Address.of(mapping.source, mapping.password_env)
    if table == "usage" and since is None and (address is not None or spark is not None):
        there = _elsewhere(con, spec, mapping, address, spark, zone)
        if isinstance(there, Staged):
            return there
        why = there
    source = open_source(con, table, mapping)
    columns = _resolve(spec, mapping, source)
    extras = _extras(spec, mapping, source, columns)
    casts = {
        ours: _cast(con, spec, mapping, source, ours, theirs, zone)
        for ours, theirs in columns.items()
    }
    log = None
    if since is None:
        log = _long_log(con, spec, mapping, source, columns, zone, summaries, scratch)
    is_copied = log is None and table != "customers"
    whole = tuple(ours for ours, cast in casts.items() if cast.whole and is_copied)
    casts |= {ours: replace(casts[ours], value=casts[ours].whole) for ours in whole}
    attributes = _attribute_kinds(con, spec, mapping, source, columns, extras)
    select = _select(spec, mapping, source, columns, casts, attributes, extras)
    if since is not None:
        moments = [c for c in columns if spec.column(c).kind == "instant"]
        newest = f"greatest({', '.join(map(quoted, moments))})"
        begins = f"TIMESTAMP '{since:%Y-%m-%d %H:%M:%S}'"
        select = f"SELECT * FROM ({select}) WHERE {newest} >= {begins}"
    relation = f"staged_{table}"
    staged = Staged(spec, mapping, source, relation, columns, attributes, (), log, why, whole)
    try:
        with one_thread(con, source.is_ordered_only):
            con.execute(f"CREATE {'TABLE' if log is None else 'VIEW'} {staged.held} AS {select}")
            con.execute(f"CREATE VIEW {relation} AS SELECT {staged.shown} FROM {staged.held}")
    except duckdb.Error as problem:
        raise TableError(
            f"table {table!r}: {source.origin} cannot be read: {explain(problem)}. Export it "
            "again: it may be cut off or damaged"
        ) from None
    _refuse_epochs(con, spec, mapping, source, columns)
    rejected = rejected_lines(con, source, last)
    refuse_other_scripts(con, spec.name, source, relation, rejected)
    return replace(staged, rejected=rejected)


def _elsewhere(
    con: Any,
    spec: TableSpec,
    mapping: Mapping,
    address: Address | None,
    spark: Spark | None,
    zone: str,
) -> Staged | str:
    """Leave usage where it is, cast there; else say why it must be copied."""
    if mapping.drop_equal_rows:
        return "drop_equal_rows compares whole rows"
    if set(mapping.values) - {"feature"}:
        return "`values` translates more than features"
    server: Engine
    if address is not None:
        server = PostgreSQL(address, spec.name)
        relation, types = server_relation(server, mapping, address)
    else:
        assert spark is not None
        files = [] if mapping.query else parquet_files(spec.name, mapping.source)
        if not files:
            return "Spark reads it from Parquet files only"
        try:
            server, relation = spark, spark.files("files_usage", [path for path, _ in files])
        except TableError as problem:
            return str(problem)
        types = server.types(relation)
    source = Source(f"source_{spec.name}", types, mapping.origin, False)
    columns = _resolve(spec, mapping, source)
    extras = _extras(spec, mapping, source, columns)
    measured = {name: extras[name] for name in mapping.measures}
    kinds: dict[str, str] = {ours: spec.column(ours).kind for ours in columns}
    kinds |= dict.fromkeys(measured, "number")
    if why := why_copied(types, {**columns, **measured}, kinds):
        server.close()
        return why
    casts = {
        ours: _cast(con, spec, mapping, source, ours, theirs, zone)
        for ours, theirs in columns.items()
    }
    select = _select(spec, mapping, source, columns, casts, {}, extras, keeps_raw=True)
    is_placed = mapping.query is None
    log = ServerLog(
        server, relation, source, select, {**columns, **measured}, kinds, is_placed=is_placed
    )
    return Staged(spec, mapping, source, "", columns, {}, (), log)


def _long_log(
    con: Any,
    spec: TableSpec,
    mapping: Mapping,
    source: Source,
    columns: dict[str, str],
    zone: str,
    summaries: Path | None,
    scratch: Path | None,
) -> EventLog | None:
    """Open usage as a long log, unless it needs more than its plain values."""
    is_plain = spec.name == "usage" and not source.is_ordered_only and mapping.query is None
    if not is_plain or mapping.drop_equal_rows or set(mapping.values) - {"feature"}:
        return None
    wanted = {ours: theirs for ours, theirs in columns.items() if ours != "event_id"}
    kinds = {ours: spec.column(ours).kind for ours in wanted}
    for name in mapping.measures:
        wanted[name] = str(source.find(name))
        kinds[name] = "number"
    casts = {
        ours: cast_of(
            spec.name,
            spec.column(ours),
            theirs,
            source.types[theirs],
            zone=zone,
            words=mapping.values.get(ours),
        ).value
        for ours, theirs in wanted.items()
        if kinds[ours] in ("id", "text")
    }
    files = parquet_files(spec.name, mapping.source)
    return open_log(con, files, wanted, dict(kinds), casts, source.listed, summaries, scratch)


def _cast(
    con: Any, spec: TableSpec, mapping: Mapping, source: Source, ours: str, theirs: str, zone: str
) -> Cast:
    """Cast one column; its type does not matter when it holds nothing."""
    kind = source.types[theirs]
    for given in (kind, "NULL"):
        try:
            return cast_of(
                spec.name,
                spec.column(ours),
                theirs,
                given,
                zone=zone,
                datetime_format=mapping.datetime_format,
                words=mapping.values.get(ours),
                text=quoted("_t_" + ours),
            )
        except TableError:
            there = f"SELECT count({quoted(theirs)}) FROM {quoted(source.view)}"
            if rows_of(con, there)[0][0]:
                raise
    raise AssertionError("a column of nothing can be cast")


def _resolve(spec: TableSpec, mapping: Mapping, source: Source) -> dict[str, str]:
    """Find the source's column for each of ours that is mapped."""
    wanted = dict(mapping.columns)
    for ours in wanted:
        if ours not in spec.names:
            raise TableError(
                f"table {spec.name!r}: {ours!r} is not a column of ours; "
                f"{_near(ours, spec.names, 'columns of ours')}. Further columns belong under "
                "attributes (customers) or measures"
            )
    for name in spec.names if not wanted else (*spec.required, *spec.one_of):
        if name not in wanted and source.find(name) is not None:
            wanted[name] = name
    missing = [name for name in spec.required if name not in wanted]
    if missing:
        raise TableError(
            f"table {spec.name!r}: {some(missing)} is required and not mapped. {source.origin} has "
            f"the columns {some(source.types, 30)}. Add `columns: {{{missing[0]}: its name there}}`"
        )
    if spec.one_of and not any(name in wanted for name in spec.one_of):
        raise TableError(
            f"table {spec.name!r}: one of {' and '.join(spec.one_of)} is required and neither is "
            f"mapped. {source.origin} has the columns {some(source.types, 30)}"
        )
    return {
        ours: _find(spec.name, source, wanted[ours], f"for {ours}")
        for ours in spec.names
        if ours in wanted
    }


def _extras(
    spec: TableSpec, mapping: Mapping, source: Source, columns: dict[str, str]
) -> dict[str, str]:
    """Find the source's column for each attribute and measure."""
    if mapping.attributes and spec.name != "customers":
        raise TableError(
            f"table {spec.name!r}: attributes belong to customers; use measures for further numbers"
        )
    if mapping.measures and spec.name == "customers":
        raise TableError("table 'customers': measures belong to behaviour; use attributes here")
    if mapping.measures and spec.name not in MEASURED:
        raise TableError(
            f"table {spec.name!r}: measures are folded for {', '.join(MEASURED)}, and found here: "
            f"{some(mapping.measures)}. Leave them out, or bring them with one of those tables"
        )
    extras = {}
    for name in (*mapping.attributes, *mapping.measures):
        theirs = _find(spec.name, source, name, "listed as an attribute or measure")
        if name in columns and columns[name] != theirs:
            raise TableError(
                f"table {spec.name!r}: {name!r} is both a column of ours (from {columns[name]!r}) "
                "and a further column; rename one with `query`"
            )
        if name == spec.customer or name.startswith("_"):
            raise TableError(f"table {spec.name!r}: {name!r} cannot be an attribute or measure")
        extras[name] = theirs
    for name in mapping.constant:
        if name not in extras and name not in columns:
            raise TableError(
                f"table {spec.name!r}: constant names {name!r}, which is neither an attribute nor "
                f"mapped; {_near(name, (*extras, *columns), 'there are')}"
            )
    for name in mapping.values:
        if name not in columns and name not in extras:
            raise TableError(
                f"table {spec.name!r}: values are given for {name!r}, which is not mapped; "
                f"{_near(name, tuple(columns), 'mapped are')}"
            )
    return extras


def _find(table: str, source: Source, name: str, use: str) -> str:
    found = source.find(name)
    if found is None:
        raise TableError(
            f"table {table!r}: {source.origin} has no column {name!r} ({use}); "
            f"{_near(name, tuple(source.types), 'it has')}"
        )
    return found


def _near(name: str, known: Iterable[str], lead: str) -> str:
    """Say what was meant, else what there is."""
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), lower, 1, 0.6)
    told = f"{lead}: {some(lower.values(), 30)}"
    return f"did you mean {lower[near[0]]!r}? {told[0].upper()}{told[1:]}" if near else told


def _attribute_kinds(
    con: Any,
    spec: TableSpec,
    mapping: Mapping,
    source: Source,
    columns: dict[str, str],
    extras: dict[str, str],
) -> dict[str, str]:
    """Tell numbers from text: by type, else by whether every value is a plain number."""
    kinds: dict[str, str] = {}
    unsure = {}
    for name in mapping.attributes:
        theirs = extras[name]
        if name in columns:
            kinds[name] = "number" if spec.column(name).kind == "number" else "text"
        elif is_number_type(source.types[theirs]):
            kinds[name] = "number"
        else:
            kinds[name] = "text"
            if _is_text(source.types[theirs]) and name not in mapping.values:
                unsure[name] = text_of(theirs, source.types[theirs])
    if unsure:
        asked = ", ".join(
            f"count({text}) > 0 AND coalesce(bool_and(TRY_CAST({text} AS DOUBLE) IS NOT NULL "
            f"AND NOT regexp_matches({text}, '^-?0\\d')) FILTER (lower({text}) NOT IN {NOTHING}), "
            "false)"
            for text in unsure.values()
        )
        (answers,) = rows_of(con, f"SELECT {asked} FROM {quoted(source.view)}")
        kinds.update({name: "number" for name, yes in zip(unsure, answers, strict=True) if yes})
    return kinds


def _select(
    spec: TableSpec,
    mapping: Mapping,
    source: Source,
    columns: dict[str, str],
    casts: dict[str, Cast],
    attributes: dict[str, str],
    extras: dict[str, str],
    *,
    keeps_raw: bool = False,
) -> str:
    """Write the SELECT that casts the source and names the first thing wrong with each row.

    With `keeps_raw` the source's own columns come along, for the engine that has no view of it.
    """
    innermost = [
        f"{text_of(theirs, source.types[theirs])} AS {quoted('_t_' + ours)}"
        for ours, theirs in columns.items()
        if spec.column(ours).kind != "number" or not is_number_type(source.types[theirs])
    ]
    inner, outer = [f"{ROW} AS _row"], ["_row"]
    for ours, cast in casts.items():
        lowest = spec.column(ours).lowest
        is_soft = spec.name == "customers" and not spec.column(ours).required
        bad = [cast.unusable] if cast.unusable and spec.column(ours).kind != "id" else []
        value = cast.value
        if is_soft and lowest is not None:
            value = f"CASE WHEN ({cast.value}) >= {lowest} THEN {cast.value} END"
            bad.append(f"({cast.value}) < {lowest}")
        if is_soft and bad:  # the customer stays, the value becomes missing, and is counted
            told = " OR ".join(f"coalesce({one}, false)" for one in bad)
            inner.append(f"{told} AS {quoted('_odd_' + ours)}")
            outer.append(quoted("_odd_" + ours))
        inner.append(f"{value} AS {quoted(ours)}")
        outer.append(quoted(ours))
    wrong: list[tuple[str, str]] = []
    for ours, cast in casts.items():
        column = spec.column(ours)
        if cast.unusable and column.kind != "id" and (spec.name != "customers" or column.required):
            inner.append(f"{cast.unusable} AS {quoted('_x_' + ours)}")
            wrong.append((cast.reason, quoted("_x_" + ours)))
        if cast.stamp and _is_text(source.types[columns[ours]]):
            inner.append(f"{cast.stamp} AS {quoted('_z_' + ours)}")
            outer.append(quoted("_z_" + ours))
    for name, theirs in extras.items():
        if name in columns:
            continue
        kind = source.types[theirs]
        text = came = text_of(theirs, kind)
        if mapping.values.get(name):
            whens = " ".join(
                f"WHEN {word(one.strip().lower())} THEN {word(to)}"
                for one, to in mapping.values[name].items()
            )
            text = f"(CASE lower({text}) {whens} ELSE {text} END)"
        number = f"TRY_CAST({text} AS DOUBLE)"
        plain = f"CASE WHEN isfinite({number}) THEN {number} END"
        unusable = (
            f"{text} IS NOT NULL AND lower({text}) NOT IN {NOTHING} AND "
            f"coalesce(NOT isfinite({number}), true)"
        )
        if name in mapping.measures and is_number_type(source.types[theirs]) and text == came:
            cast = cast_of(spec.name, ColumnSpec(name, "number", ""), theirs, kind, zone="UTC")
            plain, unusable = cast.value, cast.unusable or "false"
        is_number = attributes.get(name) == "number" or name in mapping.measures
        inner.append(f"{plain if is_number else text} AS {quoted(name)}")
        outer.append(quoted(name))
        if name in mapping.measures:
            inner.append(f"{unusable} AS {quoted('_x_' + name)}")
            wrong.append((f"{name} is not a number", quoted("_x_" + name)))
    if spec.name == "costs":
        if "date" not in columns:
            outer.append(f"{_period_start('period')} AS date")
            wrong.append(
                (
                    "period is not a month, quarter or year",
                    f"period IS NOT NULL AND {_period_start('period')} IS NULL",
                )
            )
            wrong.append(("missing period", "period IS NULL"))
        elif "period" not in columns:
            wrong.append(("missing date", "date IS NULL"))
    outer.append(f"CASE {_whens(spec, mapping, columns, wrong)} END AS _bad")
    if keeps_raw:
        kept = [quoted(f"_raw_{name}") for name in source.types]
        inner += [f"{quoted(name)} AS {raw}" for name, raw in zip(source.types, kept, strict=True)]
        outer += kept
    elif spec.id_column not in columns and spec.name != "customers":
        inner.append(f"hash({source.listed}) AS _hash")
        outer.append("_hash")
    return (
        f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM "
        f"(SELECT {', '.join(['*', *innermost])} FROM {quoted(source.view)}))"
    )


def _whens(
    spec: TableSpec,
    mapping: Mapping,
    columns: dict[str, str],
    wrong: list[tuple[str, str]],
) -> str:
    """Write reason after reason, the first true one counts."""
    told: list[tuple[str, str]] = []
    for column in spec.columns:
        if column.required and column.kind == "id":
            told.append((f"missing {column.name}", f"{quoted(column.name)} IS NULL"))
    told += wrong
    for column in spec.columns:
        if (
            column.required
            and column.kind != "id"
            and (spec.name, column.name) != ("surveys", "score")
        ):
            told.append((f"missing {column.name}", f"{quoted(column.name)} IS NULL"))
        if column.lowest is not None and column.name in columns and spec.name != "customers":
            told.append((f"negative {column.name}", f"{quoted(column.name)} < {column.lowest}"))
    if spec.name == "surveys":
        told += _survey_rules(mapping, columns)
    for rule in spec.rules:
        if all(name in columns for name in rule.needs):
            told.append((rule.reason, rule.sql))
    if not told:
        return "WHEN false THEN ''"
    return " ".join(f"WHEN {sql} THEN {word(reason)}" for reason, sql in told)


def _survey_rules(mapping: Mapping, columns: dict[str, str]) -> list[tuple[str, str]]:
    """Write what an answer must be: dated, on its scale."""
    told = []
    if "answered_at" in columns:
        asked = "sent_at IS NULL" if "sent_at" in columns else "true"
        told.append(("answered without answered_at", "score IS NOT NULL AND answered_at IS NULL"))
        told.append(("missing score", "score IS NULL AND answered_at IS NOT NULL"))
        told.append(("neither sent nor answered", f"answered_at IS NULL AND {asked}"))
    else:
        told.append(("missing sent_at", "sent_at IS NULL"))
    scales = {**SCALES, **mapping.scales}
    low = "CASE kind " + " ".join(f"WHEN {word(k)} THEN {s[0]}" for k, s in scales.items()) + " END"
    top = "CASE kind " + " ".join(f"WHEN {word(k)} THEN {s[1]}" for k, s in scales.items()) + " END"
    if "scale" in columns:
        ends = "regexp_extract(scale, '^(-?[0-9.]+)\\s*(?:-|to|\\.\\.|/|:)\\s*([0-9.]+)$', {})"
        low = f"coalesce(TRY_CAST({ends.format(1)} AS DOUBLE), {low})"
        top = f"coalesce(TRY_CAST({ends.format(2)} AS DOUBLE), {top})"
    told.append(("score off its scale", f"score < {low} OR score > {top}"))
    told.append(("NPS is not a whole number", "kind = 'nps' AND score <> trunc(score)"))
    return told


def _period_start(column: str) -> str:
    """Write the first day of a month (2026-10), quarter (2026-Q3) or year (2026)."""
    month = f"TRY_CAST(regexp_extract({column}, '^(\\d{{4}}-\\d{{2}})', 1) || '-01' AS TIMESTAMP)"
    year = f"TRY_CAST(regexp_extract({column}, '^(\\d{{4}})', 1) AS INTEGER)"
    quarter = f"TRY_CAST(regexp_extract({column}, 'Q([1-4])$', 1) AS INTEGER)"
    return (
        f"CASE WHEN regexp_matches({column}, '^\\d{{4}}-\\d{{2}}(-\\d{{2}})?$') THEN {month} "
        f"WHEN regexp_matches({column}, '^\\d{{4}}-?Q[1-4]$') THEN "
        f"CAST(make_date({year}, {quarter} * 3 - 2, 1) AS TIMESTAMP) "
        f"WHEN regexp_matches({column}, '^\\d{{4}}$') THEN "
        f"CAST(make_date({year}, 1, 1) AS TIMESTAMP) END"
    )


def _refuse_epochs(
    con: Any, spec: TableSpec, mapping: Mapping, source: Source, columns: dict[str, str]
) -> None:
    """Refuse text columns that mostly hold seconds or nanoseconds since 1970."""
    if mapping.datetime_format:
        return
    for ours, theirs in columns.items():
        if spec.column(ours).kind != "instant" or not _is_text(source.types[theirs]):
            continue
        text = text_of(theirs, source.types[theirs])
        ((epochs, there, example),) = rows_of(
            con,
            f"SELECT count(*) FILTER (regexp_matches({text}, '^\\d{{8,19}}(\\.\\d+)?$')), "
            f"count({text}), min({text}) FROM {quoted(source.view)}",
        )
        if there and epochs > there / 2:
            raise TableError(
                f"table {spec.name!r}: column {theirs!r} for {ours} holds numbers such as {example}"
                "; expected dates. Seconds since 1970 need `query: SELECT *, to_timestamp(...) AS "
                "...`; whole numbers like 20240131 need datetime_format: '%Y%m%d'"
            )


def _is_text(kind: str) -> bool:
    return kind.upper().startswith(("VARCHAR", "ENUM", "NULL", "BLOB", "JSON"))
