"""A table of the work database folded and kept: of a changed table, only the customers who changed.

The engine says what each row adds (the SQL of `facts`), by customer number; arrays add it up. All
facts of a customer come from that customer's own rows, so that rows of others need no second look.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.engines import Spark
from retain.tables import SPECS, Tables
from retain.weeks.kept import KeptWeeks, number_customers
from retain.weeks.rows import PanelRows, in_order, narrowed
from retain.weeks.sparkfold import fold_on_spark
from retain.weeks.streams import ORDER_OF, Facts, Source, Stream, struct

__all__ = ["fold_sql", "fold_table"]

FOLD_VERSION = (
    4  # raise when the meaning of a measure changes, so that stored weeks are folded again
)
PART_ROWS = 900_000  # rows of a table that are folded in one go

Ints = NDArray[np.int64]

_COMBINED: dict[str, np.ufunc] = {
    "sum": np.add,
    "min": np.fmin,
    "max": np.fmax,
    "bits": np.bitwise_or,
}


def fold_sql(facts: Facts, source: Source) -> str:
    """Write the whole fold as one statement, for a table that stays on its engine."""
    selects = [_facts_sql(stream, source, facts.ops) for stream in facts.streams]
    aggregates = ", ".join(_aggregate(measure, op) for measure, op in facts.ops.items())
    return (
        f"SELECT customer_id, week, lag, {aggregates} FROM ({' UNION ALL '.join(selects)}) "
        "GROUP BY customer_id, week, lag"
    )


def fold_table(
    tables: Tables,
    name: str,
    facts: Facts,
    source: Source,
    ids: Any,
    *,
    numbers: dict[str, list[str]],
    store: Path | None,
) -> PanelRows:
    """Fold one table, reusing what the store keeps of customers whose rows are the same.

    Parameters
    ----------
    tables
        Clean tables, with the temporary table ``ids`` (id, no).
    name
        Which table.
    facts, source
        What each row says, and how the table is seen.
    ids
        Customer ids, ascending.
    numbers
        Numberings of texts, append-only: customers not met before are appended.
    store
        Folder of the store; none keeps nothing.
    """
    con, everyone = tables.con, np.ones(len(ids), dtype=bool)

    def made(wanted: NDArray[np.bool_]) -> PanelRows:
        if tables.spark is not None:
            return _folded_on_spark(tables.spark, con, name, facts, source, wanted)
        return _folded(con, name, facts, source, wanted)

    if store is None:
        return made(everyone)
    number, position = number_customers(numbers.setdefault("customers", []), ids)
    kept = KeptWeeks(store / "weeks" / name, source.calendar)
    recipe = _recipe(facts, source)
    content = tables.fingerprints.get(name, "")
    there = kept.open(recipe, numbers)
    is_sound = bool(kept.content) and not kept.is_damaged
    try:
        read = kept.read_rows(sorted(map(int, there)), position)
    except (OSError, ValueError):  # what cannot be read is folded again
        read, there, is_sound = {}, {}, False
    if content and is_sound and kept.content == content:
        return in_order([read[week] for week in sorted(read)], facts.folded)
    marks = _marks(con, name, len(ids))
    before = kept.read_marks(position, len(ids)) if is_sound else None
    changed = everyone if before is None else marks != before
    fresh = made(changed)
    new = _by_week(fresh)
    lying, writing = {}, set()
    for week in sorted({*read, *new}):
        rows = new.get(week) or in_order([], facts.folded)
        if week in read:
            was = read[week]
            are_theirs = changed[was.customer]
            if week not in kept.thinned and _are_equal(was.take(are_theirs), rows):
                lying[week] = was
                continue
            rows = in_order([was.take(~are_theirs), rows], facts.folded)
        writing.add(week)
        if len(rows):
            lying[week] = rows
    kept.forget({str(week) for week in writing} | (set(there) - set(map(str, lying))))
    for week in sorted(writing & set(lying)):
        kept.write_rows(lying[week], number)
    kept.write_marks(marks, number)
    hashes = {str(week): kept.mark(week) if week in writing else there[str(week)] for week in lying}
    texts = {n: v for n, v in numbers.items() if n == "customers" or n.startswith(f"{name}_")}
    kept.close(recipe, content, hashes, texts)
    return in_order(list(lying.values()), facts.folded) if read else fresh


def _recipe(facts: Facts, source: Source) -> str:
    streams = [_facts_sql(stream, source, facts.ops) for stream in facts.streams]
    words = sorted(source.words.items())
    told = (*streams, *facts.ops.values(), *facts.passes.values(), FOLD_VERSION, *words)
    return hashlib.sha256("\x1f".join(map(str, told)).encode()).hexdigest()[:16]


# -- what the engine does ---------------------------------------------------------------------


def _facts_sql(stream: Stream, source: Source, ops: dict[str, str]) -> str:
    """One row per fact: customer, week, lag, measures (null where it adds nothing), order."""
    said = {
        f'"{measure}"': f"CAST({stream.adds.get(measure, 'NULL')} AS {_kind(op)})"
        for measure, op in ops.items()
    }
    if "last" in ops.values():
        said["fact_order"] = stream.order
    adds = ", ".join(f"{sql} AS {name}" for name, sql in said.items())
    return (
        f"SELECT customer_id, {source.calendar.week_sql('fact_day')} AS week, "
        f"{source.lag('fact_day', 'fact_known')} AS lag, {', '.join(said)} FROM "
        f"(SELECT customer_id, {stream.day} AS fact_day, {stream.known} AS fact_known, "
        f"{adds} FROM {stream.rows} AS r WHERE {stream.where})"
    )


def _kind(op: str) -> str:
    return "BIGINT" if op == "bits" else "DOUBLE"


def _aggregate(measure: str, op: str) -> str:
    """Combine one measure of a customer's week; equal for every order of the rows."""
    name = f'"{measure}"'
    if op == "last":  # equal stamps are settled by the value itself
        said = f"FILTER (WHERE {name} IS NOT NULL)"
        last = f"arg_max({name}, {struct(at='fact_order', value=name)}) {said} AS {name}"
        return f'{last}, CAST(max(fact_order) {said} AS DOUBLE) AS "{ORDER_OF.format(measure)}"'
    if op == "bits":
        return f"CAST(bit_or({name}) AS BIGINT) AS {name}"
    # rounded, as the last digits of a sum depend on the order of its terms
    return f"round(sum({name}), 9) AS {name}" if op == "sum" else f"{op}({name}) AS {name}"


def _customer(name: str) -> str:
    return str(SPECS[name].customer)


def _marks(con: Any, name: str, customers: int) -> Ints:
    """Hash each customer's rows, whatever their order; zero without any."""
    got = con.sql(
        "SELECT i.no, CAST(hash(many, added) >> 1 AS BIGINT) AS mark "
        f"FROM seen_{name} AS s JOIN ids AS i ON i.id = s.customer_id"
    ).fetchnumpy()
    marks = np.zeros(customers, dtype=np.int64)
    marks[got["no"]] = got["mark"]
    return marks


def _folded(
    con: Any, name: str, facts: Facts, source: Source, wanted: NDArray[np.bool_]
) -> PanelRows:
    """Fold the rows of some customers, as many at a time as memory is meant for."""
    parts = []
    with _numbered(con, name, facts, source, wanted) as (view, rows):
        chosen = np.flatnonzero(wanted)
        for some in np.array_split(chosen, min(rows // PART_ROWS + 1, max(len(chosen), 1))):
            if not len(some):
                continue
            only = f"WHERE {_customer(name)} BETWEEN {some[0]} AND {some[-1]}"
            con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM {view} {only}")
            with _passes(con, facts, source):
                parts.append(_added_up(con, facts, source))
    return _chained(parts, facts.folded)


def _folded_on_spark(
    spark: Spark, con: Any, name: str, facts: Facts, source: Source, wanted: NDArray[np.bool_]
) -> PanelRows:
    """Fold the rows of some customers by one statement, on Spark."""
    with _numbered(con, name, facts, source, wanted) as (rows, _):
        table = fold_on_spark(spark, con, name, rows, facts, fold_sql(facts, source))
    keys = [table[c].to_numpy().astype(np.int32) for c in ("customer_id", "week", "lag")]
    order = np.lexsort(keys[::-1])
    measures = {
        measure: narrowed(_values(table[measure], op)[order])
        for measure, op in facts.folded.items()
    }
    who, week, lag = (key[order] for key in keys)
    return PanelRows(who, week, lag, measures, facts.folded)


@contextlib.contextmanager
def _numbered(
    con: Any, name: str, facts: Facts, source: Source, wanted: NDArray[np.bool_]
) -> Iterator[tuple[str, int]]:
    """Lay out the rows of some customers, who are numbers there; clear them away afterwards.

    A view of the table's own name stands before it meanwhile, so that facts need not know. Columns
    that no fact names stay behind.
    """
    import pyarrow as pa

    ((work,),) = con.sql("SELECT current_database()").fetchall()
    customer, copy = _customer(name), f"numbered_{name}"
    con.register("wanted_arrow", pa.table({"no": np.flatnonzero(wanted)}))
    some = "" if wanted.all() else " SEMI JOIN wanted_arrow AS w ON w.no = i.no"
    keys = f"SELECT s.key, i.no FROM seen_{name} AS s JOIN ids AS i ON i.id = s.customer_id{some}"
    asked = " ".join([*facts.passes.values(), fold_sql(facts, source)])
    described = f'SELECT column_name, column_type FROM (DESCRIBE "{work}".main.{name})'
    others = "".join(
        f', CAST(t."{c}" AS {kind}) AS "{c}"'
        for c, kind in con.sql(described).fetchall()
        if c != customer and c in asked
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {copy} AS SELECT CAST(i.no AS INTEGER) AS {customer}{others}"
        f' FROM "{work}".main.held_{name} AS t JOIN ({keys}) AS i ON i.key = t.{customer}'
    )
    con.unregister("wanted_arrow")
    try:
        yield copy, con.sql(f"SELECT count(*) FROM {copy}").fetchall()[0][0]
    finally:
        con.execute(f"DROP VIEW IF EXISTS temp.main.{name}")
        con.execute(f"DROP TABLE {copy}")


@contextlib.contextmanager
def _passes(con: Any, facts: Facts, source: Source) -> Iterator[None]:
    """Lay out the ordered passes that the facts read, and clear them away.

    A pass that is read once is a view, so that only what is asked of it is made; of another the
    columns stay behind that nothing later names.
    """
    later = [*facts.passes.values(), *(_facts_sql(one, source, facts.ops) for one in facts.streams)]
    made = []
    for name, sql in facts.passes.items():
        later.pop(0)
        kind, listed = "VIEW", "*"
        if name in facts.once:
            con.register(name, _with_before(con.sql(facts.once[name]).to_arrow_table()))
            made.append(f"DROP VIEW {name}")
            continue
        if sum(one.count(name) for one in later) > 1:
            kind, columns = "TABLE", con.sql(f"SELECT column_name FROM (DESCRIBE {sql})").fetchall()
            listed = ", ".join(f'"{c}"' for (c,) in columns if any(c in one for one in later))
        con.execute(f"CREATE OR REPLACE TEMP {kind} {name} AS SELECT {listed} FROM ({sql})")
        made.append(f"DROP {kind} {name}")
    yield
    for drop in reversed(made):
        con.execute(drop)


# -- what arrays do ---------------------------------------------------------------------------


def _added_up(con: Any, facts: Facts, source: Source) -> PanelRows:
    """Add up what the facts of some customers say, by customer, week and lag."""
    said = []
    for stream in facts.streams:
        mine = {m: op for m, op in facts.ops.items() if m in stream.adds}
        table = con.sql(_facts_sql(stream, source, mine)).to_arrow_table()
        if len(table):
            said.append((table, mine))
    if not said:
        return _chained([], facts.folded)
    place = [
        tuple(table[c].to_numpy().astype(np.int64) for c in ("customer_id", "week", "lag"))
        for table, _ in said
    ]
    low = min(int(week.min()) for _, week, _ in place)
    weeks = max(int(week.max()) for _, week, _ in place) - low + 1
    lags = max(int(lag.max()) for _, _, lag in place) + 1
    keys = [(who * weeks + week - low) * lags + lag for who, week, lag in place]
    grouped = [_Groups(key) for key in keys]
    every, places = _united([one.keys for one in grouped])
    measures: dict[str, NDArray[Any]] = {}
    for name, op in facts.ops.items():
        out = _nothing(op, len(every))
        at = np.full(len(every) if op == "last" else 0, np.nan)
        for (table, mine), groups, there in zip(said, grouped, places, strict=True):
            if name in mine:
                values = _values(table[name], op)
                if op == "last":
                    order = table["fact_order"].to_numpy().astype(np.float64)
                    _later(out, at, there, *groups.last(values, order))
                else:
                    _both(op, out, there, groups.combined(op, values))
        measures[name] = narrowed(out)
        if op == "sum" and measures[name].dtype.kind == "f":  # whole numbers are round already
            measures[name] = narrowed(np.round(out, 9))
        if op == "last":
            measures[ORDER_OF.format(name)] = narrowed(at)
    return PanelRows(
        customer=(every // (weeks * lags)).astype(np.int32),
        week=(every // lags % weeks + low).astype(np.int32),
        lag=(every % lags).astype(np.int32),
        measures={name: measures[name] for name in facts.folded},
        ops=facts.folded,
    )


def _with_before(rows: Any) -> Any:
    """Give each customer's days once, and the one before: as `with_earlier` does in SQL."""
    import pyarrow as pa

    who, day = (rows[name].to_numpy().astype(np.int64) for name in ("customer_id", "day"))
    low, span = (day.min(), np.ptp(day) + 1) if len(day) else (0, 1)
    key = _Groups(who * span + day - low).keys
    who, day = key // span, key % span + low
    before = pa.array(np.roll(day, 1), mask=np.diff(who, prepend=-1) != 0)
    return pa.table({"customer_id": who, "day": day, "known_day": day, "before": before})


def _sorting(key: Ints) -> Any:
    """Say how to put numbers of 0 or more in order: equal ones stay as they are."""
    if not np.any(key[1:] < key[:-1]):
        return slice(None)
    order = np.argsort(key.astype(np.uint16), kind="stable")  # short numbers sort fast
    top, shift = int(key.max()), 16
    while top >> shift:
        digit = _ordered((key >> shift).astype(np.uint16), order)
        order = _ordered(order, np.argsort(digit, kind="stable"))
        shift += 16
    return order


def _ordered(values: NDArray[Any], order: Any) -> NDArray[Any]:
    """Put values in an order: all are there, so that no place needs a check."""
    return values if isinstance(order, slice) else np.take(values, order, mode="clip")


class _Groups:
    """Rows by their keys: what equal ones say together."""

    def __init__(self, key: Ints) -> None:
        self.order = _sorting(key)
        key = _ordered(key, self.order)
        self.begins = np.append(0, np.flatnonzero(key[1:] != key[:-1]) + 1)[: len(key)]
        self.is_single = len(self.begins) == len(key)
        self.keys = key if self.is_single else key[self.begins]

    def combined(self, op: str, values: NDArray[Any]) -> NDArray[Any]:
        """Sum, smallest, greatest or union of each group."""
        values = _ordered(values, self.order)
        if self.is_single:
            return values
        return np.asarray(_COMBINED[op].reduceat(values, self.begins))

    def last(self, values: NDArray[Any], order: NDArray[Any]) -> tuple[Any, Any]:
        """Value said last by each group and when; of equal stamps the greatest. nan: nothing."""
        values, order = values[self.order], np.where(np.isnan(values), np.nan, order)[self.order]
        group = np.repeat(np.arange(len(self.keys)), np.diff(np.append(self.begins, len(values))))
        if not self.is_single:
            given = np.flatnonzero(~np.isnan(values))
            several = given[np.bincount(group[given])[group[given]] > 1]  # few: only these are put
            several = several[np.lexsort((values[several], order[several], group[several]))]
            out, at = (np.full(len(self.keys), np.nan) for _ in range(2))
            for some in (given, several):  # in order of time, so that the last one stays
                out[group[some]], at[group[some]] = values[some], order[some]
            return out, at
        return values, order


def _united(keys: list[Ints]) -> tuple[Ints, list[Any]]:
    """Put keys together, each once and in order; say where those of each run of keys are."""
    every = max(keys, key=len)  # often it has all of them

    def places() -> list[Any]:
        return [
            slice(None) if len(one) == len(every) else np.searchsorted(every[:-1], one)
            for one in keys
        ]

    found = places()
    if not all(np.array_equal(every[at], one) for at, one in zip(found, keys, strict=True)):
        every = _Groups(np.concatenate(keys)).keys
        found = places()
    return every, found


def _values(column: Any, op: str) -> NDArray[Any]:
    if op in ("sum", "bits") and column.null_count:
        column = column.fill_null(0)
    return np.asarray(column.to_numpy())


def _nothing(op: str, rows: int) -> NDArray[Any]:
    if op == "bits":
        return np.zeros(rows, dtype=np.int64)
    return np.zeros(rows) if op == "sum" else np.full(rows, np.nan)


def _both(op: str, out: NDArray[Any], there: Any, values: NDArray[Any]) -> None:
    """Combine what is there with further values, in place where all of it is concerned."""
    if isinstance(there, slice):
        _COMBINED[op](out, values, out=out)
    else:
        out[there] = _COMBINED[op](np.take(out, there, mode="clip"), values)


def _later(out: Any, at: Any, there: Any, values: Any, order: Any) -> None:
    """Let what was said later stand; of equal stamps the greater value."""
    stands, since = out[there], at[there]
    later = ~np.isnan(order) & (
        np.isnan(since) | (order > since) | ((order == since) & (values > stands))
    )
    out[there], at[there] = np.where(later, values, stands), np.where(later, order, since)


# -- old rows and new -------------------------------------------------------------------------


def _chained(parts: list[PanelRows], ops: dict[str, str]) -> PanelRows:
    """Put customers together, one group of them after the other, which are used up."""
    if not parts:
        return in_order([], ops)
    return PanelRows(
        np.concatenate([one.customer for one in parts]),
        np.concatenate([one.week for one in parts]),
        np.concatenate([one.lag for one in parts]),
        {name: np.concatenate([one.measures.pop(name) for one in parts]) for name in ops},
        ops,
    )


def _by_week(rows: PanelRows) -> dict[int, PanelRows]:
    """Divide rows into weeks, each ordered by customer and lag."""
    rows = rows.take(np.argsort(narrowed(rows.week), kind="stable"))  # short numbers sort fast
    edges = np.flatnonzero(np.diff(rows.week, prepend=rows.week[:1] - 1, append=rows.week[-1:] + 1))
    return {
        int(rows.week[first]): rows.take(slice(first, end))
        for first, end in itertools.pairwise(edges)
    }


def _are_equal(old: PanelRows, new: PanelRows) -> bool:
    """Tell whether two weeks hold the same rows."""
    one, other = (
        {**rows.measures, "customer": rows.customer, "lag": rows.lag} for rows in (old, new)
    )
    return one.keys() == other.keys() and all(
        np.array_equal(values, other[name], equal_nan=True) for name, values in one.items()
    )
