"""A long log of events in Parquet files: checked file by file, never copied, read as arrays.

What a file holds is summed up once and kept, so that a later run reads only files that are new or
were changed. A file in which anything looks wrong is judged row by row in SQL, like a small table.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.tables.numbering import Numbering
from retain.tables.summaries import DAY, NONE, SAMPLED, Summary, load, microseconds, save, sum_up

__all__ = ["LONG_ROWS", "Batch", "EventLog", "Piece", "open_log"]

LONG_ROWS = 2_000_000  # a shorter log is copied into the work database like any other table
MOST_DOWN = 100_000_000  # events that are put down between judging and folding
SUMMARY_VERSION = 2

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """One row group of one file, and the days that its events span."""

    part: int
    group: int
    first_row: int
    rows: int
    low_day: int
    high_day: int


@dataclass(frozen=True)
class Batch:
    """Usable events as arrays, shape (events,) each.

    Attributes
    ----------
    who
        Position of the customer among the ids given to `EventLog.number`.
    day, known
        Days from 1970 to when it happened and was known; `known` is None without recorded_at.
    numbers
        Column of ours: values, null is nan; whole numbers are of the type that they came in.
    feature
        Position among the features given there, -1 for none; None when there is no such column.
    user
        The source's user ids as Arrow; None when there is no such column.
    """

    who: NDArray[np.int32]
    day: NDArray[Any]
    known: NDArray[Any] | None
    numbers: dict[str, NDArray[Any]]
    feature: NDArray[np.int16] | None
    user: Any


class EventLog:
    """The files of one long log.

    Parameters
    ----------
    con
        Connection of the work database: casts the few distinct ids and texts.
    files
        File, and the place of its first row in the source.
    columns
        Column of ours: the file's.
    kinds
        Column of ours: id, instant, number or text.
    casts
        Column of ours: SELECT list item that turns the source's column into ours.
    listed
        Every column of the source, written for SQL.
    folder
        Where the summaries are kept between runs; none keeps nothing.
    scratch
        Where things may be put down meanwhile: what is decoded to judge a file is not decoded again
        to fold it. None puts nothing down.
    """

    def __init__(
        self,
        con: Any,
        files: list[tuple[Path, int]],
        columns: dict[str, str],
        kinds: dict[str, str],
        casts: dict[str, str],
        listed: str,
        folder: Path | None,
        scratch: Path | None = None,
    ) -> None:
        self.con, self.files, self.columns, self.kinds = con, files, columns, kinds
        self.casts, self.listed, self.folder = casts, listed, folder
        self.people, self.texts = Numbering(), Numbering()
        self.first, self.last = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self.scratch = scratch
        self._down: dict[tuple[int, int], Path] = {}  # what was put down of each row group
        self._down_rows = 0
        self._renumberings: dict[int, tuple[NDArray[np.int32], NDArray[np.int16]]] = {}
        self.aside = np.zeros(0, dtype=np.int64)  # places of rows that are set aside, ascending
        self.summaries = [self._summary(part) for part in range(len(files))]
        self.present = [self._add(one) for one in self.summaries]
        self.ids = self._cast("customer_id", self.people.values)
        self._position, self._place = np.zeros(0, np.int32), np.zeros(0, np.int16)
        self._tidy()

    # -- what the log holds ------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Count the rows, usable or not."""
        return sum(one.rows for one in self.summaries)

    @property
    def marks(self) -> list[str]:
        """Fingerprint of each file's content and of which of its rows are set aside."""
        marks = []
        for one, (_, begin) in zip(self.summaries, self.files, strict=True):
            low, high = np.searchsorted(self.aside, [begin, begin + one.rows])
            dropped = (self.aside[low:high] - begin).tobytes()
            marks.append(hashlib.sha256(one.mark.encode() + dropped).hexdigest()[:16])
        return marks

    @property
    def fingerprint(self) -> str:
        """Hash of the rows used, of whole files: 16 hexadecimal digits."""
        return hashlib.sha256("".join(sorted(self.marks)).encode()).hexdigest()[:16]

    def there(self, column: str) -> int:
        """Count the rows in which a column holds anything."""
        return sum(one.there[column] for one in self.summaries)

    def span(self, column: str) -> tuple[int, int] | None:
        """Tell the least and the greatest of a column of whole numbers; None when there is none."""
        spans = [one.spans[column] for one in self.summaries if column in one.spans]
        return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None

    def days(self, column: str, part: int | None = None) -> dict[int, int]:
        """Count the rows of each day (days since 1970) of an instant, of one file or of all."""
        return _by_day(self.summaries if part is None else [self.summaries[part]], column)

    def plain_days(self, column: str) -> dict[int, int]:
        """Count the rows of each day of an instant in the files in which nothing is odd."""
        return _by_day([one for one in self.summaries if not one.is_odd], column)

    @property
    def odd_spans(self) -> list[tuple[int, int]]:
        """Places of the first and last row of each file that holds what cannot be used."""
        return [self.rows_of_part(part) for part, one in enumerate(self.summaries) if one.is_odd]

    def recording(self) -> tuple[int, int, float, int]:
        """Tell how rows were recorded: how many, how many a day early, median lag, most on one day.

        The lag is in days; (0, 0, 0.0, 0) when no row says when it was recorded.
        """
        lags: dict[int, int] = {}
        for one in self.summaries:
            for lag, count in one.lags.items():
                lags[lag] = lags.get(lag, 0) + count
        by_day = self.days("recorded_at")
        if not lags:
            return 0, 0, 0.0, 0
        order = sorted(lags)
        below = np.cumsum([lags[lag] for lag in order])
        middle = [order[int(np.searchsorted(below, at, side="right"))] for at in _middle(below[-1])]
        early = sum(one.early for one in self.summaries)
        return sum(by_day.values()), early, sum(middle) / 2, max(by_day.values())

    def feature_days(self) -> dict[str, dict[int, int]]:
        """Count the events of each feature by the day on which they were known."""
        total: dict[str, dict[int, int]] = {}
        if "feature" not in self.columns:
            return total
        if len(self.aside):  # the summaries count all rows
            on = "CAST(occurred_at AS DATE)"
            if "recorded_at" in self.columns:
                on = f"greatest({on}, coalesce(CAST(recorded_at AS DATE), {on}))"
            counted = self.con.sql(
                f"SELECT feature, date_diff('day', DATE '1970-01-01', {on}) AS day, count(*) "
                "FROM usage WHERE feature IS NOT NULL GROUP BY feature, day"
            ).fetchall()
            for name, number, rows in counted:
                total.setdefault(name, {})[number] = rows
            return total
        raw = list(dict.fromkeys(name for one in self.summaries for name in one.features))
        texts = dict(zip(raw, self._cast("feature", _strings(raw)), strict=True))
        for one in self.summaries:
            for name, counts in one.features.items():
                text = texts[name]
                if text is None:
                    continue
                mine = total.setdefault(text, {})
                for day, count in counts.items():
                    mine[day] = mine.get(day, 0) + count
        return total

    @property
    def has_oddities(self) -> bool:
        """Whether any file holds a value that cannot be used as it is."""
        return any(one.is_odd for one in self.summaries)

    def rows_of_part(self, part: int) -> tuple[int, int]:
        """Places of a file's first and last row."""
        _, begin = self.files[part]
        return begin, begin + self.summaries[part].rows - 1

    def odd_parts(self, known: list[str], until_day: int) -> list[int]:
        """Name the files in which any row may have to be set aside.

        Parameters
        ----------
        known
            The customers.
        until_day
            First day (from 1970) that is not read any more.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(_strings(self.ids), value_set=pa.array(known, pa.string()))
        unknown = found.is_null().to_numpy(zero_copy_only=False)
        return [
            number
            for number, one in enumerate(self.summaries)
            if one.is_odd
            or unknown[self.present[number]].any()
            or any(max(days, default=0) >= until_day for days in one.days.values())
        ]

    def set_aside(self, places: Any) -> None:
        """Leave out these rows, by their ascending places in the source, from now on."""
        self.aside = np.asarray(places, dtype=np.int64)

    def equal_rows(self) -> int:
        """Estimate how many rows equal an earlier one, from the events of some customers."""
        # those of each file are in order: a stable sort merges them
        hashes = np.sort(np.concatenate([one.equal for one in self.summaries]), kind="stable")
        return int((hashes[1:] == hashes[:-1]).sum()) * SAMPLED

    def distinct_ids(self) -> Any:
        """Arrow table of the source's customer ids as they came, each once."""
        import pyarrow as pa

        return pa.table({self.columns["customer_id"]: self.people.values})

    def seen(self) -> Any:
        """Arrow table of the first and last event of each customer: all rows, usable or not."""
        import pyarrow as pa

        named = [place for place, one in enumerate(self.ids) if one is not None]
        return pa.table(
            {
                "customer_id": pa.array([self.ids[place] for place in named], pa.string()),
                "first_at": pa.array(self.first[named], pa.timestamp("us")),
                "last_at": pa.array(self.last[named], pa.timestamp("us")),
            }
        )

    # -- reading -----------------------------------------------------------------------------

    def number(self, ids: list[str], features: list[str]) -> None:
        """Fix the positions of customers and features in all batches."""
        import pyarrow as pa
        import pyarrow.compute as pc

        def positions(texts: list[str | None], among: list[str], kind: Any) -> Any:
            found = pc.index_in(_strings(texts), value_set=pa.array(among, pa.string()))
            return np.append(found.fill_null(-1).to_numpy(), -1).astype(kind)

        self._position = positions(self.ids, ids, np.int32)
        self.texts.of(_strings({text: 0 for one in self.summaries for text in one.features}))
        self._place = positions(self._cast("feature", self.texts.values), features, np.int16)
        self._renumberings = {}

    def pieces(self, part: int) -> list[Piece]:
        """List the row groups of a file, with the days of each from the file's own statistics."""
        import pyarrow.parquet as pq

        path, begin = self.files[part]
        meta = pq.read_metadata(path)
        days = self.summaries[part].days["occurred_at"]
        low, high = min(days, default=0), max(days, default=0)
        names = [meta.schema.column(number).path for number in range(meta.num_columns)]
        place = names.index(self.columns["occurred_at"])
        found = []
        for group in range(meta.num_row_groups):
            rows = meta.row_group(group).num_rows
            if not rows:
                continue
            stats = meta.row_group(group).column(place).statistics
            span = (low, high)
            if stats is not None and stats.has_min_max:
                span = (_day(stats.min), _day(stats.max))
            found.append(Piece(part, group, begin, rows, *span))
            begin += rows
        return found

    def read(self, piece: Piece) -> Batch:
        """Read the usable events of one row group."""
        low, high = np.searchsorted(self.aside, [piece.first_row, piece.first_row + piece.rows])
        keep = None
        if high > low:
            keep = np.ones(piece.rows, dtype=bool)
            keep[self.aside[low:high] - piece.first_row] = False
        if (piece.part, piece.group) in self._down:
            return self._taken_up(piece, keep)
        table = self._decoded(piece)
        if keep is not None:
            table = table.filter(keep)
        column = {ours: table[theirs] for ours, theirs in self.columns.items()}
        day = microseconds(column["occurred_at"])[0] // DAY
        known = None
        if "recorded_at" in column:
            known = np.maximum(day, microseconds(column["recorded_at"])[0] // DAY)
        return Batch(
            who=np.take(self._position, self.people.of(column["customer_id"]), mode="wrap"),
            day=day,
            known=known,
            numbers={name: column[name].to_numpy() for name in self._numbers},
            feature=self._place[self.texts.of(column["feature"])] if "feature" in column else None,
            user=self._users(column.get("user_id")),
        )

    def _users(self, column: Any) -> Any:
        """Read users as any id is read: of texts, blanks go and what stands for nothing is null."""
        import pyarrow as pa

        if column is None or pa.types.is_integer(column.type):
            return column
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        texts = self._casted("user_id", column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, texts)

    def _decoded(self, piece: Piece) -> Any:
        import pyarrow.parquet as pq

        path, _ = self.files[piece.part]
        with pq.ParquetFile(path, read_dictionary=self._texts_of()) as file:
            wanted = list(self.columns.values())
            return file.read_row_group(piece.group, columns=wanted, use_threads=False)

    @property
    def _numbers(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind == "number"]

    def _put_down(self, part: int, group: int, there: dict[str, Any]) -> None:
        """Put a row group down as it was decoded, narrow: 16 bytes an event or so."""
        import pyarrow as pa

        self._down_rows += len(there["who"])
        if self.scratch is None or self._down_rows > MOST_DOWN:
            return
        table = pa.table(
            {
                name: _narrow(values) if isinstance(values, np.ndarray) else values
                for name, values in there.items()
            }
        )
        path = self.scratch / f"log_{part}_{group}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)
        self._down[part, group] = path

    def _taken_up(self, piece: Piece, keep: Any) -> Batch:
        import pyarrow as pa

        path = self._down.pop((piece.part, piece.group))
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        with contextlib.suppress(OSError):  # where a mapped file cannot go it goes with its folder
            path.unlink()  # its pages take what is folded next, new ones would cost more
        if keep is not None:
            table = table.filter(keep)
        there = set(table.column_names)
        position, texts = self._renumbered(piece.part)
        feature = None
        if "feature" in there:
            feature = np.take(texts, table["feature"].to_numpy(), mode="wrap")
        return Batch(
            who=np.take(position, table["who"].to_numpy(), mode="wrap"),
            day=table["day"].to_numpy(),
            known=table["known"].to_numpy() if "known" in there else None,
            numbers={name: table[name].to_numpy() for name in self._numbers},
            feature=feature,
            user=self._users(table["user_id"] if "user_id" in there else None),
        )

    def _renumbered(self, part: int) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
        """From the numbers put down of a file to positions of customers and of features."""
        if part not in self._renumberings:
            one = self.summaries[part]
            codes = np.zeros(0, np.int32) if one.people is None else self.people.of(one.people)
            beyond = np.full(max(len(self.people) + 1 - len(self._position), 0), np.int32(-1))
            position = np.append(self._position, beyond)[np.append(codes, -1)]
            texts = np.zeros(0, np.int32) if one.texts is None else self.texts.of(one.texts)
            # what is missing has the number -1: the last place
            self._renumberings[part] = position, self._place[np.append(texts, -1)]
        return self._renumberings[part]

    # -- inside ------------------------------------------------------------------------------

    def _texts_of(self) -> list[str]:
        return [self.columns["feature"]] if "feature" in self.columns else []

    def _cast(self, ours: str, values: Any) -> list[str | None]:
        """Turn distinct values of the source into ours, by the same SQL as any other table."""
        if values is None or not len(values):
            return []
        texts: list[str | None] = self._casted(ours, values).to_pylist()
        return texts

    def _casted(self, ours: str, values: Any) -> Any:
        import pyarrow as pa

        self.con.register(
            "distinct_values",
            pa.table({self.columns[ours]: values, "_n": np.arange(len(values))}),
        )
        found = self.con.sql(f"SELECT {self.casts[ours]} FROM distinct_values ORDER BY _n")
        (column,) = found.to_arrow_table().columns
        self.con.unregister("distinct_values")
        return column.combine_chunks()

    def _add(self, one: Summary) -> NDArray[np.int32]:
        """Add one file's customers to those of the log; return their numbers."""
        if one.raw is None or not len(one.raw):
            return np.zeros(0, dtype=np.int32)
        codes = self.people.of(one.raw)
        more = len(self.people) - len(self.first)
        if more > 0:
            self.first = np.append(self.first, np.full(more, -NONE - 1))
            self.last = np.append(self.last, np.full(more, NONE))
        self.first[codes] = np.minimum(self.first[codes], one.first)
        self.last[codes] = np.maximum(self.last[codes], one.last)
        return codes

    def _summary(self, part: int) -> Summary:
        path, _ = self.files[part]
        kept = self._kept_at(path)
        if kept is not None and kept.exists():
            try:
                return load(kept)
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):
                kept.unlink(missing_ok=True)  # cut short: summed up again
        put_down = partial(self._put_down, part)
        one = sum_up(path, self.columns, self.kinds, self._hashed, put_down)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            save(one, kept)
        return one

    def _kept_at(self, path: Path) -> Path | None:
        """Where a file's summary lies; another size, time or mapping is another place."""
        if self.folder is None:
            return None
        there = path.stat()
        told = [
            *(str(path.resolve()), there.st_size, there.st_mtime_ns, SUMMARY_VERSION),
            *sorted(self.columns.items()),
            *sorted(self.casts.items()),
        ]
        key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]
        return self.folder / f"{key}.npz"

    def _tidy(self) -> None:
        if self.folder is not None and self.folder.exists():
            current = {self._kept_at(path) for path, _ in self.files}
            for old in set(self.folder.glob("*.npz")) - current:
                old.unlink(missing_ok=True)  # another run may clear away, too

    def _hashed(self, table: Any) -> NDArray[np.uint64]:
        self.con.register("sampled_rows", table)
        found = self.con.sql(f"SELECT hash({self.listed}) AS h FROM sampled_rows").fetchnumpy()["h"]
        self.con.unregister("sampled_rows")
        return np.asarray(found, dtype=np.uint64)


def open_log(
    con: Any,
    files: list[tuple[Path, int]],
    columns: dict[str, str],
    kinds: dict[str, str],
    casts: dict[str, str],
    listed: str,
    folder: Path | None,
    scratch: Path | None = None,
) -> EventLog | None:
    """Open a log when it is long and of plain types; else it is read like any other table.

    Parameters
    ----------
    con, files, columns, kinds, casts, listed, folder, scratch
        As for `EventLog`.
    """
    import pyarrow.parquet as pq

    if not files or sum(pq.read_metadata(path).num_rows for path, _ in files) < LONG_ROWS:
        return None
    types: dict[str, Any] = {}
    for path, _ in files:
        schema = pq.read_schema(path)
        for ours, theirs in columns.items():
            if theirs not in schema.names:
                return None
            kind = types.setdefault(ours, schema.field(theirs).type)
            if kind != schema.field(theirs).type or not _is_plain(kinds[ours], kind):
                return None
    return EventLog(con, files, columns, kinds, casts, listed, folder, scratch)


def _is_plain(kind: str, found: Any) -> bool:
    import pyarrow.types as types

    if kind == "instant":
        return types.is_date32(found) or (types.is_timestamp(found) and found.tz is None)
    if kind == "number":
        return types.is_integer(found) or types.is_floating(found)
    if kind == "id" and types.is_integer(found):
        return not types.is_uint64(found)
    return types.is_string(found) or types.is_large_string(found)


def _by_day(summaries: list[Summary], column: str) -> dict[int, int]:
    total: Counter[int] = Counter()
    for one in summaries:
        total.update(one.days[column])
    return dict(total)


def _strings(values: Any) -> Any:
    import pyarrow as pa

    return pa.array(list(values), pa.string())


def _middle(count: int) -> tuple[int, int]:
    return (count - 1) // 2, count // 2


def _day(moment: Any) -> int:
    return int(np.datetime64(moment, "D").astype(np.int64))


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind, copy=False)
    return values
