"""The fold: the one `GROUP BY customer, week, lag` that touches every raw row; its store by week.

Each panel is kept as one Parquet file per week with the hash of the facts it was made from. A later
run folds again only the weeks whose facts changed; an unchanged table is not read at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from retain.tables import Tables
from retain.weeks.calendar import Calendar
from retain.weeks.facts import FACTS
from retain.weeks.rows import FoldedWeeks, PanelRows
from retain.weeks.streams import MASK_VALUES, WORD_BITS, Facts, Source, day_number

__all__ = ["FOLDS", "fold_tables", "most_used_features"]

FOLDS = tuple(FACTS)  # panels in the order in which they are folded
FOLD_VERSION = (
    1  # raise when the meaning of a measure changes, so that stored weeks are folded again
)
_TEXT_COLUMNS = ("segment", "plan", "region", "industry")
_AGGREGATES = {
    "sum": "sum({sql})",
    "min": "min({sql})",
    "max": "max({sql})",
    "bits": "CAST(bit_or({sql}) AS BIGINT)",
    # equal stamps are settled by the value itself, never by the order of rows
    "last": "arg_max({sql}, CAST(fact_order AS DOUBLE) + 1e-9 * coalesce({sql}, 0))"
    " FILTER (WHERE {sql} IS NOT NULL)",
}


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
        source = _source(tables, name, calendar, book, top_features)
        facts = FACTS[name](source)
        panels[name] = _fold_panel(tables, name, facts, source, store)
        for measure, column in facts.dictionaries.items():
            categories[f"{name}.{measure}"] = book.values(f"{name}_{column}")
    book.save()
    start = con.sql(
        f"SELECT i.no, min({day_number('c.signed_up_at')}) AS day FROM customers AS c "
        "JOIN ids AS i ON i.id = c.customer_id GROUP BY i.no ORDER BY i.no"
        if "signed_up_at" in tables.columns["customers"] and not tables.is_derived
        else "SELECT no, CAST(NULL AS INTEGER) AS day FROM ids ORDER BY no"
    ).fetchnumpy()
    folded = FoldedWeeks(
        calendar=calendar,
        customers=ids,
        panels=panels,
        last_week=last,
        start_day=_floats(start["day"]),
        categories=categories,
        constants=_constants(tables, ids),
        lists={"top_features": tuple(top_features)},
    )
    folded = _with_attributes(folded, tables, attribute_copies)
    if "comment" in tables.columns.get("surveys", ()):
        folded = _with_comments(folded, tables)
    return folded.known_by(last)


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
    known = " AND recorded_at < DATE '{0}' + 1" if "recorded_at" in tables.columns["usage"] else ""
    rows = tables.con.sql(
        "SELECT feature, count(*) AS n FROM usage WHERE feature IS NOT NULL AND "
        f"occurred_at < DATE '{until}' + 1{known.format(until)} GROUP BY feature "
        "ORDER BY n DESC, feature"
    ).fetchall()
    total = sum(n for _, n in rows)
    return tuple(name for name, n in rows[:most] if n >= least_share * total)


class _Dictionaries:
    """Append-only numbering of texts, so that a bit means the same thing in every week."""

    def __init__(self, store: Path | None) -> None:
        self.path = store / "weeks" / "dictionaries.json" if store else None
        known = self.path is not None and self.path.exists()
        self.lists: dict[str, list[str]] = (
            json.loads(self.path.read_text("utf-8")) if known and self.path else {}
        )

    def extend(self, name: str, values: Iterable[str]) -> int:
        known = self.lists.setdefault(name, [])
        fresh = sorted(set(values) - set(known))
        known.extend(fresh)
        return len(known)

    def values(self, name: str) -> tuple[str, ...]:
        return tuple(self.lists.get(name, ()))

    def save(self) -> None:
        if self.path is not None:
            _write_text(self.path, json.dumps(self.lists, ensure_ascii=False, sort_keys=True))


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
            values = _texts(
                con, f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"
            )
            size = book.extend(f"{table}_{column}", values.tolist())
            words[column] = -(-min(size, MASK_VALUES) // WORD_BITS) or 1
            _register(con, f"dict_{table}_{column}", book.values(f"{table}_{column}"))
    if name == "usage" and "user_id" in columns:
        con.execute(
            'CREATE OR REPLACE TEMP TABLE "dict_usage_user" AS SELECT customer_id, value, '
            "CAST(row_number() OVER (PARTITION BY customer_id ORDER BY seen, value) - 1 AS INTEGER)"
            " AS no FROM (SELECT customer_id, user_id AS value, min(occurred_at) AS seen FROM usage"
            " WHERE user_id IS NOT NULL GROUP BY customer_id, user_id)"
        )
        most = con.sql('SELECT coalesce(max(no), 0) + 1 FROM "dict_usage_user"').fetchall()[0][0]
        con.execute(f'DELETE FROM "dict_usage_user" WHERE no >= {MASK_VALUES}')
        words["users"] = -(-min(most, MASK_VALUES) // WORD_BITS)
    kinds: tuple[str, ...] = ()
    if name == "surveys":
        kinds = tuple(_texts(con, "SELECT DISTINCT kind FROM surveys ORDER BY kind").tolist())
    source = Source(
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
    if "recorded_at" in columns:
        stamp = {"usage": "occurred_at", "interactions": "opened_at", "payments": "paid_at"}
        stamp |= {"subscriptions": "started_at"}
        if name in stamp:
            day = day_number(stamp[name])
            found = con.sql(
                f"SELECT DISTINCT {source.lag(day, source.known(day))} AS lag FROM {name} "
                "ORDER BY lag LIMIT 8"
            ).fetchall()
            lags = tuple(int(lag) for (lag,) in found) or (0,)
            source = replace(source, lags=lags)
    return source


def _facts_sql(facts: Facts, source: Source) -> str:
    """One row per fact: customer, week, lag, order, every measure (null where it adds nothing)."""
    selects = []
    for stream in facts.streams:
        adds = ", ".join(
            f'CAST({stream.adds.get(measure, "NULL")} AS {_kind(op)}) AS "{measure}"'
            for measure, op in facts.ops.items()
        )
        week = source.calendar.week_sql("fact_day")
        selects.append(
            f"SELECT customer_id, {week} AS week, {source.lag('fact_day', 'fact_known')} AS lag, "
            f"fact_order, {', '.join(_quoted(facts.ops))} FROM (SELECT customer_id, "
            f"{stream.day} AS fact_day, {stream.known} AS fact_known, {stream.order} AS fact_order,"
            f" {adds} FROM {stream.rows} AS r WHERE {stream.where})"
        )
    return " UNION ALL ".join(selects)


def _fold_sql(facts: Facts, source: Source, where: str) -> str:
    aggregates = ", ".join(
        _AGGREGATES[op].format(sql=f'"{measure}"') + f' AS "{measure}"'
        for measure, op in facts.ops.items()
    )
    return (
        f"SELECT customer_id, week, lag, {aggregates} FROM ({_facts_sql(facts, source)}) "
        f"WHERE {where} GROUP BY customer_id, week, lag ORDER BY week, customer_id, lag"
    )


def _fold_panel(
    tables: Tables, name: str, facts: Facts, source: Source, store: Path | None
) -> PanelRows:
    """Fold one panel, reusing stored weeks whose facts did not change."""
    con = tables.con
    if store is None:
        return _panel_rows(con, f"({_fold_sql(facts, source, 'TRUE')})", facts)
    folder = store / "weeks" / name
    folder.mkdir(parents=True, exist_ok=True)
    recipe = _hash(_fold_sql(facts, source, ""), str(FOLD_VERSION), *sorted(source.words.items()))
    book_path = folder / "weeks.json"
    book = _read_book(book_path)
    content = tables.fingerprints.get(name, "")
    fresh = book.get("recipe") != recipe
    known: dict[str, str] = {} if fresh else dict(book.get("weeks", {}))
    if fresh or not content or book.get("content") != content:
        measures = ", ".join(_quoted(facts.ops))
        hashes = {
            str(week): f"{rows}-{mixed}-{added}"
            for week, rows, mixed, added in con.sql(
                "SELECT week, count(*), bit_xor(h), CAST(sum(h % 1000000007) AS BIGINT) FROM "
                f"(SELECT week, hash(customer_id, lag, fact_order, {measures}) AS h "
                f"FROM ({_facts_sql(facts, source)})) GROUP BY week"
            ).fetchall()
        }
        changed = [week for week, value in hashes.items() if known.get(week) != value]
        if changed:
            some_weeks = f"week IN ({', '.join(changed)})"
            where = "TRUE" if len(changed) == len(hashes) else some_weeks
            _write_weeks(con, _fold_sql(facts, source, where), folder, source.calendar)
        for week in set(known) - set(hashes):
            (folder / f"{source.calendar.last_day(int(week))}.parquet").unlink(missing_ok=True)
        book = {"recipe": recipe, "content": content, "weeks": hashes}
        _write_text(book_path, json.dumps(book, indent=0, sort_keys=True))
    wanted = [
        str(folder / f"{source.calendar.last_day(int(week))}.parquet") for week in book["weeks"]
    ]
    if not wanted:
        return _panel_rows(con, f"({_fold_sql(facts, source, 'FALSE')})", facts)
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in sorted(wanted))
    return _panel_rows(con, f"read_parquet([{listed}])", facts)


def _write_weeks(con: Any, sql: str, folder: Path, calendar: Calendar) -> None:
    """Write one file per week, each aside first and then moved into place."""
    import pyarrow.parquet as pq

    table = con.sql(sql).to_arrow_table()
    weeks = table["week"].to_numpy()
    if np.any(np.diff(weeks) < 0):  # an engine that loses the order must not pass unnoticed
        table = table.sort_by([("week", "ascending"), ("customer_id", "ascending")])
        weeks = table["week"].to_numpy()
    edges = np.flatnonzero(np.diff(weeks, prepend=weeks[:1] - 1))
    for first, end in zip(edges, [*edges[1:], len(weeks)], strict=True):
        path = folder / f"{calendar.last_day(int(weeks[first]))}.parquet"
        aside = _aside(path)
        pq.write_table(table.slice(first, end - first), aside, compression="zstd")
        aside.replace(path)


def _panel_rows(con: Any, relation: str, facts: Facts) -> PanelRows:
    got = con.sql(
        f"SELECT i.no AS customer, f.week, f.lag, {', '.join(_quoted(facts.ops, 'f.'))} "
        f"FROM {relation} AS f JOIN ids AS i ON i.id = f.customer_id"
    ).fetchnumpy()
    customer, week, lag = (
        np.asarray(got[key], dtype=np.int64) for key in ("customer", "week", "lag")
    )
    order = np.lexsort((lag, week, customer))
    measures = {
        measure: (
            np.asarray(np.ma.filled(got[measure], 0), dtype=np.int64)[order]
            if op == "bits"
            else _floats(got[measure])[order]
        )
        for measure, op in facts.ops.items()
    }
    for measure, op in facts.ops.items():
        if op == "sum":
            measures[measure] = np.nan_to_num(measures[measure])
    return PanelRows(customer[order], week[order], lag[order], measures, dict(facts.ops))


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
    names = [n for n in _attribute_names(tables) if n not in tables.constant]
    if not names or (stamp is None and copies is None):
        return folded
    parts = []
    if stamp is not None:
        known = (
            "greatest(valid_from, recorded_at)"
            if "recorded_at" in columns and stamp == "valid_from"
            else stamp
        )
        listed = ", ".join(_quoted(names))
        parts.append(
            f"SELECT customer_id, {known} AS stamp, {listed} FROM customers "
            f"WHERE {known} IS NOT NULL"
        )
    if copies is not None and len(copies):
        con.register("attribute_copies", copies)
        kept = [f'"{n}"' if n in copies.columns else f'NULL AS "{n}"' for n in names]
        parts.append(
            f"SELECT customer_id, CAST(recorded_at AS TIMESTAMP) AS stamp, {', '.join(kept)} "
            "FROM attribute_copies"
        )
    if not parts:
        return folded
    calendar = folded.calendar
    got = con.sql(
        f"SELECT i.no AS customer, {calendar.week_sql(day_number('stamp'))} AS week, "
        f"{', '.join(f'arg_max({q}, stamp) AS {q}' for q in _quoted(names))} "
        f"FROM ({' UNION ALL '.join(parts)}) AS a JOIN ids AS i ON i.id = a.customer_id "
        "GROUP BY i.no, week ORDER BY customer, week"
    ).fetchnumpy()
    measures, categories = {}, dict(folded.categories)
    for name in names:
        values = _floats_or_texts(got[name], _attribute_kind(tables, name))
        if values.dtype == object:
            texts = tuple(sorted({v for v in values if v is not None}))
            codes = {text: float(no) for no, text in enumerate(texts)}
            categories[f"attributes.{name}"] = texts
            values = np.array([np.nan if v is None else codes[v] for v in values])
        measures[name] = values
    rows = PanelRows(
        np.asarray(got["customer"], dtype=np.int64),
        np.asarray(got["week"], dtype=np.int64),
        np.zeros(len(got["week"]), dtype=np.int64),
        measures,
        dict.fromkeys(names, "last"),
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
    )

    texts = np.asarray(np.ma.filled(got["comment"], ""), dtype=object)
    return replace(folded.with_panel("comments", rows), texts=texts)


def _kind(op: str) -> str:
    return "BIGINT" if op == "bits" else "DOUBLE"


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
    return np.array(sorted(row[0] for row in con.sql(sql).fetchall()), dtype=object)


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


def _read_book(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # no store yet, or a file cut short: fold everything again


def _aside(path: Path) -> Path:
    """Where to write first: the store clears what is called so when a run was killed."""
    return path.with_name(f".partial-{path.name}-{os.getpid()}")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
