"""Folded weeks kept between runs: one Arrow file a week, and a book that says what they hold."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.weeks.calendar import Calendar
from retain.weeks.rows import PanelRows, in_order, narrowed

__all__ = ["KeptWeeks", "mark_of", "number_customers", "read_json", "read_week", "write_text"]

BOOK, MARKS = "weeks.json", "customers.marks"
GATHERED = 1 << 20  # bytes of small columns that are written in one go


class KeptWeeks:
    """The kept weeks of one panel.

    A week counts as kept when the book knows the hash of its facts and its file has the size that
    was written; whatever was lost, cut short or folded by another recipe is folded again.

    Parameters
    ----------
    folder
        Where its files lie; made when missing.
    calendar
        How days become weeks.
    """

    def __init__(self, folder: Path, calendar: Calendar) -> None:
        self.folder, self.calendar = folder, calendar
        self.book: dict[str, Any] = {}
        self.is_damaged = False
        self.thinned: set[int] = set()  # weeks read in which someone is who is no customer now
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def weeks(self) -> dict[str, str]:
        """Week to the hash of its facts."""
        return self.book.get("weeks", {})

    @property
    def content(self) -> str:
        """Fingerprint of the table from which all weeks were folded."""
        return self.book.get("content", "")

    def open(self, recipe: str, dictionaries: dict[str, list[str]]) -> dict[str, str]:
        """Read the book; return the weeks that can be relied on.

        Parameters
        ----------
        recipe
            Hash of how a week is folded now.
        dictionaries
            Numbering of texts now: weeks folded with another one are of no use.
        """
        book = read_json(self.folder / BOOK)
        sizes, texts = book.get("sizes", {}), book.get("dictionaries", {})
        same = book.get("recipe") == recipe and all(
            _hash(dictionaries.get(name, [])[:size]) == mark for name, (size, mark) in texts.items()
        )
        self.book = book if same else {}
        there = {
            week: value for week, value in self.weeks.items() if self._size(week) == sizes.get(week)
        }
        self.is_damaged = len(there) < len(self.weeks)
        return there

    def forget(self, weeks: set[str]) -> None:
        """Strike weeks from the book, lest a killed run leaves a lie, and then take them away.

        A week in which nobody is left is not written again: its old file must not stay.
        """
        left = {week: value for week, value in self.weeks.items() if week not in weeks}
        self.book = {**self.book, "content": "", "weeks": left}
        self._save()
        for week in weeks:
            self._path(week).unlink(missing_ok=True)

    def write_rows(self, rows: PanelRows, numbers: NDArray[np.int32]) -> None:
        """Write all rows of a run of weeks, a file a week.

        Parameters
        ----------
        rows
            Ordered by customer, week, lag.
        numbers
            Number in the files of each customer.
        """
        import pyarrow as pa

        if np.any(rows.week[1:] < rows.week[:-1]):
            # short numbers sort fast
            rows = rows.take(np.argsort(narrowed(rows.week), kind="stable"))
        edges = np.flatnonzero(np.diff(rows.week, prepend=rows.week[:1] - 1))
        weeks = rows.week[edges]
        ends = np.append(edges, len(rows))[1:]
        for week, first, end in zip(weeks.tolist(), edges, ends, strict=True):
            one = rows.take(slice(first, end))
            measures = {name: narrowed(values) for name, values in one.measures.items()}
            table = {"customer": numbers[one.customer], "lag": one.lag, **measures}
            _write(self._path(str(week)), pa.table(table))

    def read_rows(self, weeks: Iterable[int], positions: NDArray[np.int32]) -> dict[int, PanelRows]:
        """Read what `write_rows` wrote, by week.

        Parameters
        ----------
        weeks
            Which weeks; one of which nothing could be used is left out.
        positions
            Position of each number in the files, -1 for customers who are not there just now.
        """
        read = {}
        for week in weeks:
            if self._size(str(week)) is None:
                continue
            table = _read(self._path(str(week)))
            columns = {name: table[name].to_numpy() for name in table.column_names}
            who = positions[columns.pop("customer")]
            rows = PanelRows(
                who,
                np.broadcast_to(np.int32(week), len(who)),
                columns.pop("lag"),
                columns,
                {},
            )
            if len(who) and (np.any(who < 0) or np.any(np.diff(who) < 0)):
                if np.any(who < 0):
                    self.thinned.add(int(week))
                rows = rows.take(np.flatnonzero(who >= 0))
                rows = rows.take(np.lexsort((rows.lag, rows.customer)))
            read[week] = rows
        return read

    def mark(self, week: int) -> str:
        """Hash a week's file."""
        return mark_of(self._path(str(week)))

    def write_marks(self, marks: NDArray[np.int64], numbers: NDArray[np.int32]) -> None:
        """Keep a hash of each customer's rows in the table."""
        import pyarrow as pa

        order = np.argsort(numbers)
        _write(self.folder / MARKS, pa.table({"customer": numbers[order], "mark": marks[order]}))

    def read_marks(self, positions: NDArray[np.int32], customers: int) -> NDArray[np.int64] | None:
        """Read what `write_marks` wrote, zero for whom was not there; None when it is lost."""
        try:
            table = _read(self.folder / MARKS)
            who, marks = positions[table["customer"].to_numpy()], table["mark"].to_numpy()
        except (OSError, ValueError, KeyError, IndexError):
            return None
        found = np.zeros(customers, dtype=np.int64)
        found[who[who >= 0]] = marks[who >= 0]
        return found

    def close(
        self,
        recipe: str,
        content: str,
        hashes: dict[str, str],
        dictionaries: dict[str, list[str]],
        files: dict[str, list[int]] | None = None,
        users: str = "",
    ) -> None:
        """Clear away files of other weeks and write the book.

        Parameters
        ----------
        recipe, content, hashes, dictionaries
            How the weeks were folded, from what table, week to what it was made from, numberings.
        files
            Of a long log: file by content to the weeks that it touches.
        users
            Of a long log: hash of the numbers of users that its weeks were folded with.
        """
        kept = {self._path(week) for week in hashes}
        for path in self.folder.iterdir():
            if path not in kept and path.name not in (BOOK, MARKS):
                path.unlink()
        self.book = {
            "recipe": recipe,
            "content": content,
            "weeks": hashes,
            "sizes": {week: self._size(week) for week in hashes},
            "dictionaries": {name: [len(v), _hash(v)] for name, v in dictionaries.items()},
            "files": files or {},
            "users": users,
        }
        self._save()

    def _save(self) -> None:
        write_text(self.folder / BOOK, json.dumps(self.book, indent=0, sort_keys=True))

    def _path(self, week: str) -> Path:
        return self.folder / f"{self.calendar.last_day(int(week))}.arrow"

    def _size(self, week: str) -> int | None:
        path = self._path(week)
        return path.stat().st_size if path.exists() else None


def in_time(parts: list[Any], ids: Any) -> Any:
    """Put Arrow tables of folded rows together, ordered by week, customer, lag.

    Parameters
    ----------
    parts
        With `customer_id`, `week` and `lag`. The list is emptied, and what it held is given up
        column by column.
    ids
        Customer ids, ascending; rows of others are left out.
    """
    import pyarrow as pa

    table = pa.concat_tables(parts)
    parts.clear()
    if not len(table):
        return table
    who = _positions(table, ids)
    week, lag = (table[name].to_numpy().astype(np.int64) for name in ("week", "lag"))
    lags = int(lag.max()) + 1
    key = ((week - week.min()) * (len(ids) + 1) + who) * lags + lag
    order = np.argsort(key)
    order = pa.array(order[who[order] >= 0])
    names, columns = table.column_names, table.columns
    del table
    for at in range(len(columns)):
        columns[at] = columns[at].take(order)
    return pa.table(columns, names=names)


def panel_of(table: Any, ids: Any, ops: dict[str, str]) -> PanelRows:
    """Turn an Arrow table that is ordered by week, customer, lag into the rows of a panel.

    Parameters
    ----------
    table
        With `customer_id`, `week`, `lag` and the measures; None holds no rows.
    ids
        Customer ids, ascending; rows of others are left out.
    ops
        Measure name to how it combines.
    """
    if table is None or not len(table):
        return in_order([], ops)
    who = _positions(table, ids)
    if np.any(who < 0):
        table, who = table.filter(who >= 0), who[who >= 0]
    measures = {}
    for name, op in ops.items():
        column = table[name]
        if op in ("sum", "bits") and column.null_count:
            column = column.fill_null(0)
        measures[name] = narrowed(column.to_numpy())
    week, lag = (table[name].to_numpy().astype(np.int32) for name in ("week", "lag"))
    rows = PanelRows(who.astype(np.int32), week, lag, measures, ops)
    edges = np.flatnonzero(np.diff(week, prepend=week[:1] - 1))
    ends = [*edges[1:], len(week)]
    return in_order([rows.take(slice(*edge)) for edge in zip(edges, ends, strict=True)], ops)


def number_customers(known: list[str], ids: Any) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Append the customers not met before; give each one's number, each number's position."""
    given = list(ids)
    if not known:
        known.extend(given)
    if known[: len(given)] == given:
        number = np.arange(len(given), dtype=np.int32)
    else:
        at = {one: place for place, one in enumerate(known)}
        for one in given:
            if one not in at:
                at[one] = len(known)
                known.append(one)
        number = np.array([at[one] for one in given], dtype=np.int32)
    position = np.full(len(known), -1, dtype=np.int32)
    position[number] = np.arange(len(given), dtype=np.int32)
    return number, position


def _positions(table: Any, ids: Any) -> NDArray[np.int64]:
    """Position of each row's customer, -1 for others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.index_in(table["customer_id"], value_set=pa.array(list(ids), pa.string()))
    return found.fill_null(-1).to_numpy().astype(np.int64)


def mark_of(path: Path) -> str:
    """Hash a file; empty when there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any]:
    """Read an object; nothing when there is no such file or it was cut short."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_text(path: Path, text: str) -> None:
    """Write a file aside, then move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _write(path: Path, table: Any) -> None:
    """Write an Arrow file aside, then move it into place; not packed, so that it reads in place."""
    import pyarrow as pa

    aside = _aside(path)
    with aside.open("wb", GATHERED) as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    aside.replace(path)


def read_week(path: Path, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read some columns of a week's file, those that it has.

    Raises
    ------
    OSError, ValueError
        When it cannot be read.
    """
    table = _read(path)
    return {name: table[name].to_numpy() for name in wanted if name in table.column_names}


def _read(path: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _aside(path: Path) -> Path:
    """Where to write first: the store clears what is called so when a run was killed."""
    return path.with_name(f".partial-{path.name}-{os.getpid()}")


def _hash(values: list[str]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
