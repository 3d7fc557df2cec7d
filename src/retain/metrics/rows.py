"""How calculators read tables: one door for frames and relations, one pass that counts everything.

A calculator judges each row in SQL (used, or left out and why); the counting is done here, for the
whole and for every segment at once. Rows stay in the engine; one line per segment comes back.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from retain.errors import TableError, some
from retain.metrics.columns import TEXT, TYPES, check_columns, quoted, refuse_zones, typed
from retain.metrics.kept import Kept, Selected
from retain.metrics.result import Ids, Metric

__all__ = [
    "NO_SEGMENT",
    "By",
    "Rows",
    "Selected",
    "Source",
    "Tally",
    "columns_of",
    "counted",
    "quoted",
    "word",
]

Source = Any  # pandas DataFrame, Arrow table, DuckDB relation or `Selected`; our column names
By = str | Sequence[str] | None  # columns to cut by, each on its own
MOST_LABELS = 1000  # of one column for which segments are numbered inside the engine
COUNTS = ("count(", "coalesce(count_if(")  # aggregates that are 0 over no rows
MIXES = {"JOIN", "UNION", "WITH", "GROUP", "EXCLUDE", "PIVOT", "UNPIVOT", "UNNEST"}
STARS = re.compile(r"(?:(?!SELECT|select\b).|SELECT\s+(?:\w+\.)?\*)*", re.DOTALL)
NO_SEGMENT = "(none)"  # where the rows belong that have no segment


@dataclass(frozen=True)
class Tally:
    """What one pass counted, for the whole or one segment.

    Parameters
    ----------
    by
        ``{}`` for the whole, else column and segment.
    rows_in, used, excluded
        Rows, those used, the others by reason.
    sums
        The aggregates asked for, over the rows used; None over no rows unless it is a count.
    ids
        Reads the ids behind it when called.
    """

    by: Mapping[str, str]
    rows_in: int
    used: int
    excluded: Mapping[str, int]
    sums: Mapping[str, Any]
    ids: Callable[[], Ids]

    def __getitem__(self, aggregate: str) -> Any:
        return self.sums[aggregate]

    @property
    def counts(self) -> dict[str, Any]:
        """What a `Metric` takes over as it is."""
        names = ("by", "rows_in", "used", "excluded", "ids")
        return {name: getattr(self, name) for name in names}


class Rows:
    """Tables opened for calculators: each can be selected from by its name.

    Columns that we know have our types and are there even when the source lacks them (as nulls);
    other columns come as they are.

    Parameters
    ----------
    **tables
        Name of a table to its source; None for a table that is not there.

    Raises
    ------
    TableError
        When a table lacks a column that it must have, mixes types in one, or holds instants with
        a time zone.

    Examples
    --------
    >>> import pandas as pd
    >>> answers = pd.DataFrame({"customer_id": [7, 8], "kind": "nps", "score": [9, 3]})
    >>> Rows(surveys=answers).fetch("SELECT customer_id, score, comment FROM surveys ORDER BY 1")
    [('7', 9.0, None), ('8', 3.0, None)]
    """

    def __init__(self, **tables: Source | None) -> None:
        given = {name: one for name, one in tables.items() if one is not None}
        self._objects = {
            _python_name(name): _readable(name, one)
            for name, one in given.items()
            if not isinstance(one, Selected)
        }
        # rows can be joined only where they live: in the connection of one that has its own
        self._given = given
        self._held: dict[str, Kept] = {}  # as long as somebody may read them
        engines = [one.con for one in given.values() if isinstance(one, Selected)]
        relations = [one for one in given.values() if isinstance(one, duckdb.DuckDBPyRelation)]
        self._anchor = relations[0] if relations and not engines else None
        self._engine = engines[0] if engines else _engine().cursor()
        self._own: dict[str, dict[str, str]] = {}  # columns by table; in `_lacks` those of nulls
        self._lacks: dict[str, set[str]] = {}
        self._views: dict[str, str] = {}
        for name, one in given.items():
            place = f"({one.select})" if isinstance(one, Selected) else _python_name(name)
            self._own[name] = (
                one.columns if isinstance(one, Selected) else self._columns(f"FROM {place}")
            )
            self._views[name] = typed(name, place, self._own[name])
            ours = " ".join(TYPES.get(name, {}).values()).split()
            self._lacks[name] = {column for column in ours if column not in self._own[name]}

    def has(self, table: str, *columns: str) -> bool:
        """Tell whether a table is there and came with these columns."""
        return table in self._own and set(columns) <= set(self._own[table])

    def require(self, table: str, *columns: str) -> None:
        """Insist on columns that only some calculators need.

        Raises
        ------
        TableError
            When one is missing.
        """
        check_columns(table, tuple(columns), self._own.get(table, {}))

    def sql(self, select: str) -> duckdb.DuckDBPyRelation:
        """Write a query over the tables by name; nothing runs before it is fetched."""
        return self._ask("sql", self._with_views(select))

    def fetch(self, select: str) -> list[tuple[Any, ...]]:
        """Run a query over the tables by name, for few lines."""
        try:
            return self._fetch(self._with_views(select))
        except duckdb.ConversionException as problem:
            first = str(problem).split("\n")[0]
            raise TableError(
                f"{some(self._own)}: a column does not hold what its name says: {first}. "
                "Read the file with `retain check`, which sets such rows aside"
            ) from None

    def once(self, select: str) -> list[tuple[Any, ...]]:
        """Run a query as `fetch` does; over tables that are `Selected`, only the first time."""
        home, query = self._home(select), self._with_views(select)
        if home is None:
            return self.fetch(select)
        if query not in home.found:
            home.found[query] = self.fetch(select)
        lines: list[tuple[Any, ...]] = home.found[query]
        return lines

    def keep(self, name: str, select: str, by: By = None) -> None:
        """Have the lines of a query as a further table, for what several metrics are made of.

        Over tables that are `Selected` it runs for the first metric only.

        Parameters
        ----------
        name
            Under which later queries read it.
        select
            The query.
        by
            Columns to cut by; those of `customers` are added, so that no metric need join them.
        """
        described, gaps = self._described(select), self._gaps(select)
        own = {one: kind for one, kind in described.items() if one not in gaps}
        of_customers = [
            one for one in columns_of(by) if one not in own and self.has("customers", one)
        ]
        lines = self._with_segments(select, of_customers)
        self._lacks[name] = gaps & described.keys()
        nulls = [
            f"CAST(NULL AS {described[one]}) AS {quoted(one)}" for one in sorted(self._lacks[name])
        ]
        home = self._home(lines)
        if home and nulls:  # they are written again when they are read: storing them costs as well
            gone = ", ".join(quoted(one) for one in sorted(self._lacks[name]))
            lines = f"SELECT * EXCLUDE ({gone}) FROM ({lines})"
        query = self._with_views(lines)
        self._own[name] = own | {_ready(column): TEXT for column in of_customers}
        if home is None:
            self._views[name] = lines
            return
        kept = home.keep(query)
        self._own[name] |= {_ready(column): kept.columns[_ready(column)] for column in of_customers}
        self._views[name] = f"SELECT {', '.join(['*', *nulls])} FROM {kept.name}"
        self._given[name], self._held[name] = home, kept

    def find(self, name: str, select: str) -> None:
        """Have the lines of a query as a further table as `keep` does, found once in any case."""
        if self._home(select):
            self.keep(name, select)
        else:
            self.hold(name, self.sql(select).to_arrow_table())

    def hold(self, name: str, found: Source) -> None:
        """Have what was found in Python as a further table, its columns as they are."""
        self._objects[_python_name(name)] = _readable(name, found)
        self._views[name] = f"FROM {_python_name(name)}"
        self._own[name] = self._columns(self._views[name])
        self._lacks[name] = set()

    def _home(self, select: str) -> Selected | None:
        """Give the table with which answers are kept: none unless all that it reads can keep."""
        sources = [self._given.get(name) for name in self._read_in(select)]
        homes = [one for one in sources if isinstance(one, Selected)]
        return homes[0] if homes and len(homes) == len(sources) else None

    def _read_in(self, select: str) -> list[str]:
        """Name the tables that a query reads, those before that others are made of."""
        found: list[str] = []
        words = _words_of(select)
        for name in reversed(self._views):
            if name in words:
                found.insert(0, name)
                words |= _words_of(self._views[name])
        return found

    def _gaps(self, select: str) -> set[str]:
        """Name the columns that a query has only because we fill gaps with nulls."""
        tables = _words_of(select) & self._views.keys()
        lacks = set[str]().union(*(self._lacks[name] for name in tables))
        return lacks.difference(*(self._own[name] for name in tables))

    def tally(
        self,
        judged: str,
        by: By = None,
        /,
        *,
        times: str = "",
        listed: str = "",
        **aggregates: str,
    ) -> list[Tally]:
        """Count judged rows in one pass: the whole first, then every segment.

        Parameters
        ----------
        judged
            A SELECT that gives one line per row that the question is about, with `id`,
            `excluded_because` (null where the row is used), optionally `is_numerator` and `part`
            for the ids, `customer_id` (or the column itself) when it is cut by a column, and
            whatever the aggregates need.
        by
            Columns to cut by, each on its own: of the judged rows, else of `customers`.
        times
            Column with how many rows a line stands for, where it stands for several; then
            `is_numerator` is how many of them are.
        listed
            Where `judged` was folded from them: the single rows, judged in the same way, whose ids
            are read.
        **aggregates
            Name to one call of an aggregate function, over the rows used.

        Returns
        -------
        list of Tally
            The whole, then the segments of each column in alphabetical order.

        Raises
        ------
        TableError
            When there is no such column to cut by, or a customer is in two segments.
        """
        columns = columns_of(by)
        rows = self.cut(judged, by)
        cuts = [f"by_{at}" for at in range(len(columns))]
        many = f"CAST(sum({times}) AS BIGINT)" if times else "count(*)"
        # a line for each reason: filtering every aggregate by it costs several times as much
        sets = ", ".join(["(excluded_because)", *(f"({cut}, excluded_because)" for cut in cuts)])
        wanted = ", ".join([*cuts, "excluded_because", many, *aggregates.values()])
        lines = self.once(f"SELECT {wanted} FROM ({rows}) GROUP BY GROUPING SETS ({sets})")
        nothing = [0 if call.startswith(COUNTS) else None for call in aggregates.values()]
        used: dict[tuple[tuple[str, str], ...], tuple[int, list[Any]]] = {(): (0, nothing)}
        excluded: dict[tuple[tuple[str, str], ...], dict[str, int]] = {}
        for line in lines:
            found = tuple(
                (column, label)
                for column, label in zip(columns, line, strict=False)
                if label is not None
            )
            reason, how_many, *sums = line[len(cuts) :]
            used.setdefault(found, (0, nothing))
            if reason is None:
                used[found] = (how_many, sums)
            else:
                excluded.setdefault(found, {})[reason] = how_many
        each = "1" if listed or not times else times

        @functools.cache
        def single() -> tuple[str, str]:
            lines = self.cut(listed, by) if listed else rows
            there = self._columns(self._with_views(lines))
            part = "part" if "part" in there else "NULL"
            above = "is_numerator" if "is_numerator" in there else "false"
            return f"id, excluded_because, {part}, {above}, {each}", lines

        tallies = []
        for found, (how_many, sums) in used.items():
            reasons = dict(sorted(excluded.get(found, {}).items()))
            tallies.append(
                Tally(
                    dict(found),
                    how_many + sum(reasons.values()),
                    how_many,
                    reasons,
                    dict(zip(aggregates, sums, strict=True)),
                    self._reader(single, columns, dict(found)),
                )
            )
        return sorted(tallies, key=lambda one: [(columns.index(k), v) for k, v in one.by.items()])

    def measure(
        self, make: Callable[[Tally], Metric], judged: str, by: By = None, /, **given: str
    ) -> Metric:
        """Make the metric of the whole with its segments attached, from one `tally`."""
        whole, *segments = map(make, self.tally(judged, by, **given))
        return whole.divided_into(segments)

    def _with_views(self, select: str) -> str:
        # a view that is not read is bound all the same, and files are opened for it
        views = ", ".join(
            f"{name} AS NOT MATERIALIZED ({self._views[name]})" for name in self._read_in(select)
        )
        return f"WITH {views} SELECT * FROM ({select})" if views else select

    def _fetch(self, select: str) -> list[tuple[Any, ...]]:
        return self._ask("execute", select).fetchall()

    def _ask(self, how: str, select: str) -> Any:
        # the engine finds Python objects by the names in the frame that calls it: this one's
        names = {**self._objects, "anchor": self._anchor, "engine": self._engine, "select": select}
        if self._anchor is None:
            return eval(f"engine.{how}(select)", {}, names)
        return eval("anchor.query('retain_anchor', select)", {}, names)

    def cut(self, judged: str, by: By) -> str:
        """Write judged rows with their segments as ``by_0``, ``by_1``, ...; see `tally`."""
        columns = columns_of(by)
        if not columns:
            return judged
        own = self._passed_on(judged, columns)
        if own is None:
            own = self._described(judged).keys() - self._gaps(judged)
        cuts, joined = [], []
        for at, column in enumerate(columns):
            label = quoted(_ready(column))
            if column in own:
                label = f"coalesce({_label(column)}, '{NO_SEGMENT}')"
            elif _ready(column) not in own and self.has("customers", column):
                joined.append(column)
            elif _ready(column) not in own:
                known = [*own, *self._own.get("customers", {})]
                near = difflib.get_close_matches(column, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TableError(
                    f"cannot cut by {column!r}: neither these rows nor `customers` have such a "
                    f"column{hint} Customers have: {some(self._own.get('customers', {}), 20)}"
                )
            cuts.append(f"{label} AS by_{at}")
        return f"SELECT *, {', '.join(cuts)} FROM ({self._with_segments(judged, joined)})"

    def _passed_on(self, select: str, columns: Sequence[str]) -> set[str] | None:
        """Give what a query has of a table all of whose columns it hands on; None: ask the engine.

        Asking takes as long as many a metric. A query that names none of the columns has none of
        them when no table that it reads does. A chain of ``SELECT *`` over one table, in which none
        of the columns is named, has those of them that the table has.
        """
        words = _words_of(select)
        tables = words & self._views.keys()
        there = set[str]().union(*(self._own[table] for table in tables))
        if self.has("customers", *columns) and not any(
            column in select or there & {column, _ready(column)} for column in columns
        ):
            return set()
        mixes = any(one.upper() in MIXES for one in words)
        if len(tables) != 1 or mixes or words & set(columns) or not STARS.fullmatch(select):
            return None
        (table,) = tables
        return set(self._own[table])

    def _with_segments(self, lines: str, columns: Sequence[str]) -> str:
        """Add the segments of customers to lines, ready to be cut by."""
        if not columns:
            return lines
        of = {column: self._segments(column) for column in columns}
        named = ", ".join(
            f"coalesce(s{at}.label, CAST('{NO_SEGMENT}' AS {kind})) AS {quoted(_ready(column))}"
            for at, (column, (_, kind)) in enumerate(of.items())
        )
        joins = " ".join(
            f"LEFT JOIN {name} AS s{at} USING (customer_id)"
            for at, (name, _) in enumerate(of.values())
        )
        return f"SELECT j.*, {named} FROM ({lines}) AS j {joins}"

    def _segments(self, column: str) -> tuple[str, str]:
        """Give the table of customers with their segment, and the type of the segment."""
        name = f"segments_{column.encode().hex()}"  # a column may be called anything
        label = f"coalesce({_label(column)}, '{NO_SEGMENT}')"
        if name not in self._views:
            counts = "count(customer_id) > count(DISTINCT customer_id)"
            ((is_repeated,),) = self.once(f"SELECT {counts} FROM customers")
            if is_repeated:
                self._check_segments(column)
            kind = TEXT
            if self._home("FROM customers"):
                labels = self.once(
                    f"SELECT DISTINCT {label} AS label FROM customers ORDER BY 1 "
                    f"LIMIT {MOST_LABELS + 1}"
                )
                if len(labels) <= MOST_LABELS:  # numbers are grouped by faster than words
                    every = sorted({NO_SEGMENT, *(one for (one,) in labels)})
                    kind = f"ENUM({', '.join(map(word, every))})"
            self.keep(
                name,
                f"SELECT {'DISTINCT' if is_repeated else ''} customer_id, "
                f"CAST({label} AS {kind}) AS label FROM customers",
            )
        return name, self._own[name]["label"]

    def _described(self, select: str) -> dict[str, str]:
        """Give each column of a query with its type."""
        home, query = self._home(select), f"DESCRIBE {self._with_views(select)}"
        if home is None:
            return self._columns(self._with_views(select))
        if query not in home.found:
            home.found[query] = self._columns(self._with_views(select))
        found: dict[str, str] = home.found[query]
        return found

    def _columns(self, select: str) -> dict[str, str]:
        return {name: kind for name, kind, *_ in self._fetch(f"DESCRIBE {select}")}

    def _check_segments(self, column: str) -> None:
        """Refuse a customer who is in two segments: the segments would not add up."""
        several = self.fetch(
            f"SELECT customer_id FROM customers GROUP BY customer_id HAVING "
            f"count(DISTINCT coalesce({_label(column)}, '{NO_SEGMENT}')) > 1 ORDER BY 1 LIMIT 6"
        )
        if several:
            raise TableError(
                f"customers: {some(one for (one,) in several)} have more than one {column}; "
                "give one row per customer"
            )

    def _reader(
        self,
        single: Callable[[], tuple[str, str]],
        columns: tuple[str, ...],
        found: Mapping[str, str],
    ) -> Callable[[], Ids]:
        """Make what reads the ids of one segment."""

        def read() -> Ids:
            wanted, rows = single()
            where = " AND ".join(
                f"by_{columns.index(column)} = {word(label)}" for column, label in found.items()
            )
            lines = self.fetch(
                f"SELECT {wanted} FROM ({rows}) WHERE {where or 'true'} ORDER BY id NULLS LAST"
            )
            excluded: dict[str, list[str]] = {}
            parts: dict[str, list[str]] = {}
            above_line: list[str] = []
            below_line: list[str] = []
            for one, reason, of, how_often_above, how_often in lines:
                if reason is not None:
                    excluded.setdefault(reason, []).extend([one] * how_often)
                    continue
                above_line += [one] * int(how_often_above or 0)
                below_line += [one] * how_often
                if of is not None:
                    parts.setdefault(of, []).append(one)
            return Ids(
                tuple(above_line),
                tuple(below_line),
                {name: tuple(ids) for name, ids in sorted(excluded.items())},
                {name: tuple(ids) for name, ids in sorted(parts.items())},
            )

        return read


def columns_of(by: By) -> tuple[str, ...]:
    """List the columns to cut by.

    Examples
    --------
    >>> columns_of(None), columns_of("plan"), columns_of(["plan", "owner"])
    ((), ('plan',), ('plan', 'owner'))
    """
    return () if by is None else (by,) if isinstance(by, str) else tuple(dict.fromkeys(by))


def counted(condition: str) -> str:
    """Write the aggregate that counts the rows where a condition holds: 0 over no rows.

    Examples
    --------
    >>> counted("score >= 9")
    'coalesce(count_if(score >= 9), 0)'
    """
    return f"coalesce(count_if({condition}), 0)"


def word(text: str) -> str:
    """Write a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


@functools.lru_cache(maxsize=1000)
def _words_of(select: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", select))


def _ready(column: str) -> str:
    """Name a segment that lines have ready to be cut by."""
    return f"cut {column}"


def _label(column: str) -> str:
    """Write a segment as text: null when there is none."""
    return f"nullif(trim(CAST({quoted(column)} AS VARCHAR)), '')"


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    """Open an engine for frames, once: nothing is ever stored in it, and opening takes 20 ms."""
    return duckdb.connect()


def _readable(table: str, source: Source) -> Source:
    """Give a frame as an Arrow table: read faithfully whatever its index, strides and types."""
    import pandas as pd
    import pyarrow as pa

    if not isinstance(source, pd.DataFrame):
        return source
    refuse_zones(table, list(source.select_dtypes("datetimetz").columns))
    try:
        return pa.Table.from_pandas(source, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as problem:
        raise TableError(
            f"{table}: a column mixes kinds of values: {problem.args[0]}. Make it one type"
        ) from None


def _python_name(table: str) -> str:
    return f"retain_source_{table}"
