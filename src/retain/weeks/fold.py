"""The fold: the one `GROUP BY customer, week, lag` that touches every raw row; its store by week.

Each panel is kept as one Parquet file per week with the hash of its rows. A later run writes only
the weeks whose rows changed; an unchanged table is not read at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from retain.errors import StoreError
from retain.tables import Tables
from retain.tables.memory import give_back
from retain.tables.server import ServerLog
from retain.weeks.calendar import Calendar
from retain.weeks.facts import FACTS
from retain.weeks.kept import read_json, write_text
from retain.weeks.logfold import fold_log
from retain.weeks.rows import FoldedWeeks, PanelRows
from retain.weeks.serverfold import fold_on_server
from retain.weeks.streams import (
    MASK_VALUES,
    ORDER_OF,
    WORD_BITS,
    Source,
    day_number,
    seconds,
    struct,
)
from retain.weeks.tablefold import FOLD_VERSION, fold_table

__all__ = ["FOLDS", "fold_tables", "most_used_features"]

FOLDS = tuple(FACTS)  # panels in the order in which they are folded
_TEXT_COLUMNS = ("segment", "plan", "region", "industry")
_STAMPS = {"usage": "occurred_at", "interactions": "opened_at", "subscriptions": "started_at"}
_SQL_TYPES = {"number": "DOUBLE", "text": "VARCHAR"}
ALWAYS = -(10**6)  # a week before all others


def fold_tables(
    tables: Tables,
    calendar: Calendar,
    *,
    store: Path | None = None,
    top_features: tuple[str, ...] = (),
    attribute_copies: Any = None,
    last_week: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> FoldedWeeks:
    """Fold clean tables into customer-weeks.

    Parameters
    ----------
    tables
        What `read_tables` returned.
    calendar
        How days become weeks.
    store
        Folder that keeps the folded weeks between runs; none keeps nothing.
    top_features
        Features that get a weekly count of their own, fixed at training.
    attribute_copies
        Frame of the attributes as earlier weekly runs saw them: customer_id, recorded_at, one
        column per attribute.
    last_week
        Newest week to speak of; default: the last complete week at ``tables.data_until``.
    progress
        Called with the name of each panel before it is folded.

    Returns
    -------
    FoldedWeeks
        Rows known by the end of `last_week` only.
    """
    con = tables.con
    last = calendar.last_complete_week(tables.data_until) if last_week is None else last_week
    ids = _texts(con, "SELECT DISTINCT customer_id FROM customers ORDER BY customer_id")
    _register_ids(con, ids)
    book = _Dictionaries(store)
    panels: dict[str, PanelRows] = {}
    categories: dict[str, tuple[str, ...]] = {}
    for name in FOLDS:
        if name not in tables.columns:
            continue
        progress(name)
        give_back()
        if name in tables.logs:
            panels[name] = _fold_log(tables, name, calendar, book, top_features, store, ids)
            continue
        source = _source(tables, name, calendar, book, top_features)
        facts = FACTS[name](source)
        panels[name] = fold_table(tables, name, facts, source, ids, numbers=book.lists, store=store)
        for measure, column in facts.dictionaries.items():
            categories[f"{name}.{measure}"] = book.values(f"{name}_{column}")
    book.save()
    give_back()
    start_day, start_known = _starts(tables, calendar)
    folded = FoldedWeeks(
        calendar=calendar,
        customers=ids,
        panels=panels,
        last_week=last,
        start_day=start_day,
        start_known=start_known,
        categories=categories,
        constants=_constants(tables, ids),
        lists={"top_features": tuple(top_features)},
    )
    folded = _with_attributes(folded, tables, attribute_copies)
    if "comment" in tables.columns.get("surveys", ()):
        folded = _with_comments(folded, tables)
    return folded.known_by(last)


def _starts(tables: Tables, calendar: Calendar) -> tuple[Any, Any]:
    """Day of signing up as brought, by customer, and the week by whose end it was known."""
    has_stamp = "recorded_at" in tables.columns["customers"]
    known = calendar.week_sql(day_number("recorded_at")) if has_stamp else "NULL"
    got = tables.con.sql(
        f"SELECT i.no, arg_min(day, {struct(known='known', day='day')}) AS day, "
        "min(known) AS known FROM ids AS i LEFT JOIN "
        f"(SELECT customer_id, {day_number('signed_up_at')} AS day, "
        f"coalesce({known}, {ALWAYS}) AS known FROM sign_ups WHERE signed_up_at IS NOT NULL) AS s "
        "ON s.customer_id = i.id GROUP BY i.no ORDER BY i.no"
    ).fetchnumpy()
    known_week = np.ma.filled(np.ma.asarray(got["known"]).astype(np.int64), ALWAYS)
    return _floats(got["day"]), known_week


def most_used_features(
    tables: Tables, until: date, most: int = 8, least_share: float = 0.01
) -> tuple[str, ...]:
    """Name the features with most events up to `until`, most used first.

    Parameters
    ----------
    tables
        Clean tables; without a usage table or its feature column the answer is empty.
    until
        Last day that counts: events known later are left out.
    most
        How many to name.
    least_share
        Features with a smaller share of all events are not named.
    """
    if "feature" not in tables.columns.get("usage", ()):
        return ()
    log = tables.logs.get("usage")
    if log is not None:
        last = (until - date(1970, 1, 1)).days
        counted = {
            text: sum(count for day, count in days.items() if day <= last)
            for text, days in log.feature_days().items()
        }
        rows = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
        return _most_used(rows, most, least_share)
    known = ""
    if "recorded_at" in tables.columns["usage"]:
        known = f" AND coalesce(recorded_at, occurred_at) < DATE '{until}' + 1"
    rows = tables.con.sql(
        "SELECT feature, count(*) AS n FROM usage WHERE feature IS NOT NULL AND "
        f"occurred_at < DATE '{until}' + 1{known} GROUP BY feature "
        "ORDER BY n DESC, feature"
    ).fetchall()
    return _most_used(rows, most, least_share)


def _most_used(rows: list[tuple[str, int]], most: int, least_share: float) -> tuple[str, ...]:
    total = sum(n for _, n in rows)
    return tuple(name for name, n in rows[:most] if n >= least_share * total)


class _Dictionaries:
    """Append-only numbering of texts, so that a bit means the same thing in every week."""

    def __init__(self, store: Path | None) -> None:
        self.path = store / "weeks" / "dictionaries.json" if store else None
        # a list that was lost is numbered anew; weeks folded with the old one are then folded again
        self.lists: dict[str, list[str]] = read_json(self.path) if self.path else {}

    def extend(self, name: str, values: Iterable[str]) -> int:
        """Give numbers to the values not met before, in their order; return how many there are."""
        known = self.lists.setdefault(name, [])
        met = set(known)
        known.extend(value for value in values if value not in met)
        return len(known)

    def values(self, name: str) -> tuple[str, ...]:
        return tuple(self.lists.get(name, ()))

    def save(self) -> None:
        if self.path is not None:
            write_text(self.path, json.dumps(self.lists, ensure_ascii=False, sort_keys=True))


def _source(
    tables: Tables, name: str, calendar: Calendar, book: _Dictionaries, top: tuple[str, ...]
) -> Source:
    """Look at what a table holds and lay out its dictionaries."""
    con = tables.con
    columns = frozenset(tables.columns[name])
    words: dict[str, int] = {}
    for table, column in (
        ("usage", "feature"),
        ("interactions", "channel"),
        ("subscriptions", "plan"),
    ):
        if table == name and column in columns:
            # by the day on which each was first known: what comes later takes no earlier number
            known = Source(table, calendar, columns).known(day_number(_STAMPS[table]))
            rows = con.sql(
                f"SELECT {column}, min({known}) AS known FROM {table} WHERE {column} IS NOT NULL "
                f"GROUP BY {column} ORDER BY known, {column}"
            ).fetchall()
            size = book.extend(f"{table}_{column}", [value for value, _ in rows])
            words[column] = -(-min(size, MASK_VALUES) // WORD_BITS) or 1
            _register(con, f"dict_{table}_{column}", book.values(f"{table}_{column}"))
    if name == "usage" and "user_id" in columns:
        seen = Source(name, calendar, columns).known(day_number("occurred_at"))
        con.execute(
            'CREATE OR REPLACE TEMP TABLE "dict_usage_user" AS SELECT i.no AS customer_id, value, '
            "CAST(row_number() OVER (PARTITION BY i.no ORDER BY seen, value) - 1 AS INTEGER)"
            f" AS no FROM (SELECT customer_id, user_id AS value, min({seen}) AS seen FROM usage"
            " WHERE user_id IS NOT NULL GROUP BY customer_id, user_id) AS u"
            " JOIN ids AS i ON i.id = u.customer_id"
        )
        most = con.sql('SELECT coalesce(max(no), 0) + 1 FROM "dict_usage_user"').fetchall()[0][0]
        con.execute(f'DELETE FROM "dict_usage_user" WHERE no >= {MASK_VALUES}')
        words["users"] = -(-min(most, MASK_VALUES) // WORD_BITS)
    kinds: tuple[str, ...] = ()
    if name == "surveys":
        kinds = tuple(_texts(con, "SELECT DISTINCT kind FROM surveys ORDER BY kind").tolist())
    return Source(
        name,
        calendar,
        columns,
        tables.measures.get(name, ()),
        words,
        top,
        kinds=kinds,
        scales=tables.scales,
        ces_high_means=tables.ces_high_means,
    )


def _fold_log(
    tables: Tables,
    name: str,
    calendar: Calendar,
    book: _Dictionaries,
    top: tuple[str, ...],
    store: Path | None,
    ids: Any,
) -> PanelRows:
    """Fold a long log from its files."""
    log = tables.logs[name]
    columns = frozenset(tables.columns[name])
    source = Source(name, calendar, columns, tables.measures.get(name, ()), top_features=top)
    recipe = _hash("log", FOLD_VERSION, calendar, sorted(columns), *source.measures, *top)
    try:
        if isinstance(log, ServerLog):
            return fold_on_server(log, ids, source, book.lists, recipe, store)
        return fold_log(log, list(ids), source, book.lists, recipe=recipe, store=store)
    except (OSError, ValueError) as problem:
        raise StoreError(
            f"store: the folded weeks of {name} cannot be read or written: {problem}. Check the "
            "disk, or delete the folder weeks in the store."
        ) from problem


def _constants(tables: Tables, ids: Any) -> dict[str, Any]:
    """Attributes that never change, aligned with `ids`."""
    values: dict[str, Any] = {}
    for name in tables.constant:
        kind = _attribute_kind(tables, name)
        values[name] = _floats_or_texts(
            tables.con.sql(
                f'SELECT i.no, min(c."{name}") AS value FROM ids AS i LEFT JOIN customers AS c '
                "ON c.customer_id = i.id GROUP BY i.no ORDER BY i.no"
            ).fetchnumpy()["value"],
            kind,
        )
    return values


def _attribute_names(tables: Tables) -> list[str]:
    named = [n for n in (*_TEXT_COLUMNS, "seats") if n in tables.columns["customers"]]
    return [*named, *(n for n in tables.attributes if n not in named)]


def _attribute_kind(tables: Tables, name: str) -> str:
    if name in _TEXT_COLUMNS:
        return "text"
    return "number" if name == "seats" else tables.attributes[name]


def _with_attributes(folded: FoldedWeeks, tables: Tables, copies: Any) -> FoldedWeeks:
    """Attributes as they were known: from rows with a date, and from copies that past runs kept."""
    con, columns = tables.con, tables.columns["customers"]
    stamp = next((c for c in ("valid_from", "recorded_at") if c in columns), None)
    kept = () if copies is None else tuple(copies.columns)
    names = [
        name
        for name in _attribute_names(tables)
        if name not in tables.constant and (stamp is not None or name in kept)
    ]
    if not names:
        return folded
    kinds = {name: _attribute_kind(tables, name) for name in names}
    parts = []
    if stamp is not None:
        valid, recorded = str(stamp), str(stamp)
        if stamp == "valid_from" and "recorded_at" in columns:
            valid = "coalesce(valid_from, recorded_at)"
            recorded = "coalesce(recorded_at, valid_from)"
        listed = ", ".join(_quoted(names))
        parts.append(
            f"SELECT customer_id, {valid} AS valid, {recorded} AS recorded, {listed} "
            f"FROM customers WHERE {valid} IS NOT NULL"
        )
    if copies is not None and len(copies):
        import pyarrow as pa

        con.register("attribute_copies", pa.Table.from_pandas(copies, preserve_index=False))
        listed = ", ".join(
            f'CAST("{n}" AS {_SQL_TYPES[kinds[n]]}) AS "{n}"'
            if n in kept
            else f'CAST(NULL AS {_SQL_TYPES[kinds[n]]}) AS "{n}"'
            for n in names
        )
        kept_at = "CAST(recorded_at AS TIMESTAMP)"
        parts.append(
            f"SELECT customer_id, {kept_at} AS valid, {kept_at} AS recorded, {listed} "
            "FROM attribute_copies"
        )
    if not parts:
        return folded
    calendar = folded.calendar
    day = day_number("valid")
    known = calendar.week_sql(f"greatest({day}, {day_number('recorded')})")
    newest = ", ".join(
        f"arg_max({q}, {struct(valid='valid', recorded='recorded', value=q)}) "
        f"FILTER (WHERE {q} IS NOT NULL) AS {q}, CAST(max({seconds('valid')}) "
        f'FILTER (WHERE {q} IS NOT NULL) AS DOUBLE) AS "{ORDER_OF.format(n)}"'
        for n, q in zip(names, _quoted(names), strict=True)
    )
    got = con.sql(
        f"SELECT i.no AS customer, {calendar.week_sql(day)} AS week, "
        f"{known} - {calendar.week_sql(day)} AS lag, {newest} "
        f"FROM ({' UNION ALL '.join(parts)}) AS a JOIN ids AS i ON i.id = a.customer_id "
        "GROUP BY customer, week, lag ORDER BY customer, week, lag"
    ).fetchnumpy()
    measures, categories = {}, dict(folded.categories)
    for name in names:
        values = _floats_or_texts(got[name], kinds[name])
        if values.dtype == object:
            texts = tuple(sorted({v for v in values if v is not None}))
            codes = {text: float(no) for no, text in enumerate(texts)}
            categories[f"attributes.{name}"] = texts
            values = np.array([np.nan if v is None else codes[v] for v in values])
        measures[name] = values
        measures[ORDER_OF.format(name)] = _floats(got[ORDER_OF.format(name)])
    ops = {name: "last" if name in kinds else "max" for name in measures}
    rows = PanelRows(
        customer=np.asarray(got["customer"], dtype=np.int64),
        week=np.asarray(got["week"], dtype=np.int64),
        lag=np.asarray(got["lag"], dtype=np.int64),
        measures=measures,
        ops=ops,
    )
    return replace(folded.with_panel("attributes", rows), categories=categories)


def _with_comments(folded: FoldedWeeks, tables: Tables) -> FoldedWeeks:
    """Comments as text, by the week in which they were written."""
    con, calendar = tables.con, folded.calendar
    columns = frozenset(tables.columns["surveys"])
    source = Source("surveys", calendar, columns)
    stamp = "answered_at" if "answered_at" in columns else "sent_at"
    day = day_number(stamp)
    got = con.sql(
        f"SELECT i.no AS customer, {calendar.week_sql(day)} AS week, "
        f"{source.lag(day, source.known(day))} AS lag, comment FROM surveys AS s "
        "JOIN ids AS i ON i.id = s.customer_id "
        f"WHERE length(trim(comment)) > 0 AND {stamp} IS NOT NULL "
        "ORDER BY customer, week, lag, comment"
    ).fetchnumpy()
    rows = PanelRows(
        customer=np.asarray(got["customer"], dtype=np.int64),
        week=np.asarray(got["week"], dtype=np.int64),
        lag=np.asarray(got["lag"], dtype=np.int64),
        measures={"comments": np.ones(len(got["week"]))},
        ops={"comments": "sum"},
        begins=folded.panels["surveys"].begins,  # silence before the first comment is known
    )
    texts = np.asarray(np.ma.filled(got["comment"], ""), dtype=object)
    return replace(folded.with_panel("comments", rows), texts=texts)


def _quoted(names: Iterable[str], prefix: str = "") -> list[str]:
    return [f'{prefix}"{name}"' for name in names]


def _floats(values: Any) -> Any:
    return np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)


def _floats_or_texts(values: Any, kind: str) -> Any:
    if kind == "number":
        return _floats(values)
    masked = np.ma.getmaskarray(np.ma.asarray(values))
    return np.array(
        [
            None if bad or v is None else str(v)
            for v, bad in zip(np.ma.getdata(values), masked, strict=True)
        ],
        dtype=object,
    )


def _texts(con: Any, sql: str) -> Any:
    (column,) = con.sql(sql).to_arrow_table().columns
    return np.array(sorted(column.to_pylist()), dtype=object)


def _register(con: Any, name: str, values: Iterable[str]) -> None:
    con.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" (value VARCHAR, no INTEGER)')
    rows = [(value, no) for no, value in enumerate(values) if no < MASK_VALUES]
    if rows:
        con.executemany(f'INSERT INTO "{name}" VALUES (?, ?)', rows)


def _register_ids(con: Any, ids: Any) -> None:
    import pyarrow as pa

    table = pa.table({"id": pa.array(ids.tolist(), pa.string()), "no": np.arange(len(ids))})
    con.register("ids_arrow", table)
    con.execute("CREATE OR REPLACE TEMP TABLE ids AS SELECT id, no FROM ids_arrow ORDER BY id")
    con.unregister("ids_arrow")


def _hash(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
