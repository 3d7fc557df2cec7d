"""The usage panel from a long log, without a `GROUP BY`: weeks swept in the order of time.

The same measures as `facts.usage`, equal row for row (a test compares them). Events are counted
into arrays with one cell per customer and week, a few weeks at a time, so that memory does not grow
with the number of events.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.tables.eventlog import Batch, EventLog, Piece
from retain.tables.numbering import Numbering
from retain.weeks.calendar import DAYS_PER_WEEK, Calendar
from retain.weeks.rows import PanelRows
from retain.weeks.streams import MASK_VALUES, WORD_BITS

__all__ = ["Users", "sweep"]

CELLS = 100_000  # customers x weeks that are counted into at a time
SLICE = 4_000_000  # events looked at in one go
MOST_WAITING = 6_000_000  # events that may wait in memory for their weeks' turn
MOST_LAG = 1 << 20  # weeks
OWNER_BITS = 24  # of a user's number beside its owner
OF_OWNER = (1 << OWNER_BITS) - 1

Ints = NDArray[np.int64]


class Users:
    """Numbers for the users of each customer, append-only: first come, first numbered.

    Parameters
    ----------
    path
        Where they are kept between runs; none keeps nothing.
    ids
        Customer ids; positions in it are what `of` takes.
    """

    def __init__(self, path: Path | None, ids: list[str]) -> None:
        self.path, self.ids = path, ids
        self.names = Numbering()
        # of each name: its first owner and the number there, side by side in one integer
        self._first = np.zeros(0, np.int64)
        self._pairs, self._pair_number = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._next = np.zeros(len(ids), dtype=np.int64)
        self._known: list[tuple[Any, Any, Any]] = []
        self._lost: list[tuple[str, Any, int]] = []  # of customers who are not there just now
        if path is not None and path.exists():
            self._load(path)

    @property
    def most(self) -> int:
        """How many users the customer with most of them has; at most `MASK_VALUES`."""
        return int(min(self._next.max(initial=0), MASK_VALUES))

    def of(self, who: Ints, users: Any, days: Ints) -> Ints:
        """Give each event's user a number within its customer; -1: none, or beyond the masks."""
        names = self.names.of(users).astype(np.int64)
        number = self._find(who, names)
        if len(number) and number.min() < 0:
            fresh = np.flatnonzero(number < 0)
            fresh = fresh[names[fresh] >= 0]
            if len(fresh):
                self._meet(who[fresh], names[fresh], days[fresh])
                number[fresh] = self._find(who[fresh], names[fresh])
        if self._next.max(initial=0) > MASK_VALUES:
            number[number >= MASK_VALUES] = -1
        return number

    def _find(self, who: Ints, names: Ints) -> Ints:
        """Most names belong to one customer; pairs are looked up for the others."""
        self._make_room()
        if len(self._first) == 1:
            return np.full(len(names), -1)
        first = self._first[names]
        number = first & OF_OWNER
        first >>= OWNER_BITS
        others = first != who
        if others.any():
            rest = np.flatnonzero(others)
            number[rest] = -1
            if len(self._pairs):
                keys = _pair(who[rest], names[rest])
                at = np.minimum(np.searchsorted(self._pairs, keys), len(self._pairs) - 1)
                number[rest] = np.where(self._pairs[at] == keys, self._pair_number[at], -1)
        return number

    def _make_room(self) -> None:
        """Hold a place for each name, and a last one for none: nobody owns it."""
        more = len(self.names) + 1 - len(self._first)
        if more > 0:
            self._first = np.append(self._first[:-1], np.full(more + (len(self._first) > 0), -1))

    def _meet(self, who: Ints, names: Ints, days: Ints) -> None:
        order = np.lexsort((days, names, who))
        who, names, days = who[order], names[order], days[order]
        first = np.flatnonzero(np.diff(who, prepend=-1) | np.diff(names, prepend=-1))
        who, names, days = who[first], names[first], days[first]
        texts = np.asarray(self.names.values.take(names).to_numpy(zero_copy_only=False))
        rank = np.argsort(np.argsort(texts.astype(str) if texts.dtype == object else texts))
        order = np.lexsort((rank, days, who))
        who, names = who[order], names[order]
        begin = np.flatnonzero(np.diff(who, prepend=-1))
        turn = np.arange(len(who)) - np.repeat(begin, np.diff(np.append(begin, len(who))))
        self._learn(who, names, self._next[who] + turn)

    def _learn(self, who: Ints, names: Ints, number: Ints) -> None:
        self._known.append((who, names, number))
        np.maximum.at(self._next, who, number + 1)
        self._make_room()
        free = self._first[names] < 0
        self._first[names[free]] = who[free] << OWNER_BITS | number[free]
        mine = self._first[names] == who << OWNER_BITS | number  # of several new owners one wins
        if not mine.all():
            pairs = np.append(self._pairs, _pair(who[~mine], names[~mine]))
            numbers = np.append(self._pair_number, number[~mine])
            order = np.argsort(pairs)
            self._pairs, self._pair_number = pairs[order], numbers[order]

    def _load(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        kept = pq.read_table(path)
        found = pc.index_in(kept["customer_id"], value_set=pa.array(self.ids, pa.string()))
        who = found.fill_null(-1).to_numpy().astype(np.int64)
        number = kept["number"].to_numpy().astype(np.int64)
        gone = who < 0
        if gone.any():
            rows = kept.filter(gone).to_pydict()
            self._lost = list(zip(*(rows[k] for k in kept.column_names), strict=True))
        names = self.names.of(kept["user"]).astype(np.int64)
        self._learn(who[~gone], names[~gone], number[~gone])

    def save(self) -> None:
        """Keep the numbers for the next run."""
        if self.path is None or self.names.values is None:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        who, names, number = (np.concatenate(parts) for parts in zip(*self._known, strict=True))
        order = np.lexsort((number, who))
        ids = pa.array(self.ids, pa.string())
        users = self.names.values
        table = pa.table(
            {
                "customer_id": ids.take(who[order]),
                "user": users.take(names[order]),
                "number": number[order],
            }
        )
        if self._lost:
            columns = [list(one) for one in zip(*self._lost, strict=True)]
            lost = pa.table(
                {
                    name: pa.array(column, table.schema.field(name).type)
                    for name, column in zip(table.column_names, columns, strict=True)
                }
            )
            table = pa.concat_tables([table, lost])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f".partial-{self.path.name}")
        pq.write_table(table, aside, compression="zstd")
        aside.replace(self.path)


def _pair(who: Ints, names: Ints) -> Ints:
    return who * (1 << 31) + names


@dataclass
class _Events:
    """Events of some weeks, ready to be counted; all arrays of shape (events,)."""

    who: Ints
    week: Ints
    lag: Ints
    weekday: NDArray[np.int8]
    numbers: dict[str, NDArray[np.float64]]
    feature: NDArray[np.int32] | None
    user: Ints | None

    def __len__(self) -> int:
        return len(self.week)

    def arrays(self) -> dict[str, Any]:
        """Every array by name."""
        there = {"who": self.who, "week": self.week, "lag": self.lag, "weekday": self.weekday}
        if self.feature is not None:
            there["feature"] = self.feature
        if self.user is not None:
            there["user"] = self.user
        return there | {f"number {name}": values for name, values in self.numbers.items()}

    @classmethod
    def of(cls, there: dict[str, Any]) -> _Events:
        """Put the arrays together again."""
        numbers = {k[7:]: v for k, v in there.items() if k.startswith("number ")}
        who, week, lag, weekday = (there[k] for k in ("who", "week", "lag", "weekday"))
        return cls(who, week, lag, weekday, numbers, there.get("feature"), there.get("user"))

    def take(self, keep: Any) -> _Events:
        return _Events(
            self.who[keep],
            self.week[keep],
            self.lag[keep],
            self.weekday[keep],
            {name: values[keep] for name, values in self.numbers.items()},
            None if self.feature is None else self.feature[keep],
            None if self.user is None else self.user[keep],
        )


def sweep(
    log: EventLog,
    calendar: Calendar,
    *,
    parts: list[int],
    weeks: set[int] | None,
    customers: int,
    number_feature: Any,
    top: tuple[int, ...],
    users: Users | None,
) -> Iterator[PanelRows]:
    """Fold the events of some weeks, a few weeks at a time, oldest first.

    Parameters
    ----------
    log
        The log, its customers numbered.
    calendar
        How days become weeks.
    parts
        Files to read.
    weeks
        Weeks to fold; None folds all that occur in `parts`.
    customers
        How many customers there are.
    number_feature
        From `Batch.feature` codes and days known to positions in the features' dictionary.
    top
        Positions of the features that get a count of their own.
    users
        Numbering of users; None when there are none.

    Yields
    ------
    PanelRows
        All rows of a run of weeks, ordered by customer, week, lag.
    """
    pieces = [piece for part in parts for piece in log.pieces(part)]
    span = max(1, CELLS // max(customers, 1))
    wanted = sorted(weeks) if weeks is not None else None
    if wanted is not None:
        pieces = [piece for piece in pieces if _meets(piece, wanted, calendar)]
    pieces.sort(key=lambda piece: (piece.low_day, piece.first_row))
    with (
        tempfile.TemporaryDirectory(dir=log.scratch) as aside,
        ThreadPoolExecutor(1) as ahead,  # reads the next piece while this one is counted
    ):
        waiting = _Waiting(span, Path(aside))
        coming = ahead.submit(log.read, pieces[0]) if pieces else None
        while pieces or waiting.blocks:
            block = min(
                [_week(piece.low_day, calendar) // span for piece in pieces[:1]]
                + list(waiting.blocks)
            )
            while pieces and _week(pieces[0].low_day, calendar) // span <= block:
                assert coming is not None
                batch, _ = coming.result(), pieces.pop(0)
                coming = ahead.submit(log.read, pieces[0]) if pieces else None
                events = _events(batch, calendar, number_feature, users)
                if wanted is not None and not _all_in(events.week, wanted):
                    events = events.take(np.isin(events.week, wanted))
                waiting.add(events)
            run = waiting.pop(block)
            if run is not None:
                yield _count(run, block * span, span, customers, top, calendar.anchor)


class _Run:
    """The events of one run of weeks, a slice at a time, as often as they are asked for."""

    def __init__(self) -> None:
        self.parts: list[_Events | Path] = []
        self.is_late = False

    def __iter__(self) -> Iterator[_Events]:
        """Join parts up to a slice: counting into cells costs the same for few as for many."""
        joined: list[_Events] = []
        for part in self.parts:
            one = _Events.of(_loaded(part)) if isinstance(part, Path) else part
            if joined and sum(map(len, joined)) + len(one) > SLICE:
                yield _joined(joined)
                joined = []
            joined.append(one)
        if joined:
            yield _joined(joined)

    def add(self, events: _Events) -> None:
        """Add events; tell whether any was known in a later week than its own."""
        self.parts.append(events)
        self.is_late |= bool(events.lag.any())

    def put_down(self, path: Path) -> int:
        """Move what is held in memory into a file; return how many events that were."""
        there = [one for one in self.parts if isinstance(one, _Events)]
        if not there:
            return 0
        whole = _joined(there)
        with path.open("wb") as file:
            np.savez(file, **whole.arrays())
        self.parts = [*(one for one in self.parts if isinstance(one, Path)), path]
        return len(whole)


class _Waiting:
    """Events that were read before their weeks' turn; on disk when there are too many."""

    def __init__(self, span: int, folder: Path) -> None:
        self.span, self.folder = span, folder
        self.blocks: dict[int, _Run] = {}
        self._rows = self._put = 0

    def add(self, events: _Events) -> None:
        """Sort events into runs of weeks."""
        if not len(events):
            return
        blocks = events.week // self.span
        low, high = int(blocks.min()), int(blocks.max())
        if low < high and np.any(np.diff(blocks) < 0):
            order = np.argsort((blocks - low).astype(np.int32), kind="stable")
            events, blocks = events.take(order), blocks[order]
        edges = np.flatnonzero(np.diff(blocks, prepend=low - 1))
        for begin, end in zip(edges, [*edges[1:], len(blocks)], strict=True):
            cut = events if low == high else events.take(slice(begin, end))
            self.blocks.setdefault(int(blocks[begin]), _Run()).add(cut)
        self._rows += len(events)
        if self._rows > MOST_WAITING:
            for run in self.blocks.values():
                self._put += 1
                self._rows -= run.put_down(self.folder / f"{self._put}.npz")

    def pop(self, block: int) -> _Run | None:
        """Hand out the events of one run of weeks; None when there are none."""
        run = self.blocks.pop(block, None)
        if run is not None:
            self._rows -= sum(len(one) for one in run.parts if isinstance(one, _Events))
        return run


def _loaded(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as kept:
        return dict(kept)


def _week(day: int, calendar: Calendar) -> int:
    return (day - calendar.anchor) // DAYS_PER_WEEK


def _meets(piece: Piece, weeks: list[int], calendar: Calendar) -> bool:
    at = np.searchsorted(weeks, _week(piece.low_day, calendar))
    return bool(at < len(weeks) and weeks[at] <= _week(piece.high_day, calendar))


def _all_in(weeks: Ints, wanted: list[int]) -> bool:
    """Say whether every week between the first and the last is wanted."""
    if not len(weeks):
        return True
    low, high = int(weeks.min()), int(weeks.max())
    at = bisect_left(wanted, low)
    return wanted[at : at + high - low + 1] == list(range(low, high + 1))


def _events(batch: Batch, calendar: Calendar, number_feature: Any, users: Users | None) -> _Events:
    day = batch.day
    known = day if batch.known is None else batch.known
    week = (day - calendar.anchor) // DAYS_PER_WEEK
    return _Events(
        who=batch.who,
        week=week,
        lag=np.zeros_like(week)
        if known is day
        else (known - calendar.anchor) // DAYS_PER_WEEK - week,
        weekday=((day + 3) % DAYS_PER_WEEK).astype(np.int8),
        numbers=batch.numbers,
        feature=None if batch.feature is None else number_feature(batch.feature, known),
        user=None if users is None else users.of(batch.who, batch.user, known),
    )


def _count(
    run: _Run, low: int, span: int, customers: int, top: tuple[int, ...], anchor: int
) -> PanelRows:
    """Count the events of a run of weeks into cells, then keep the cells that were met."""
    cells: _Cells | None = None
    if run.is_late:  # a cell for each customer, week and lag that is met
        met = np.unique(np.concatenate([np.unique(_keys(one, low, span)) for one in run]))
        for one in run:
            cells = cells or _Cells(len(met), one, top, anchor)
            cells.add(np.searchsorted(met, _keys(one, low, span)), one)
        place, lag = met // MOST_LAG, met % MOST_LAG
        kept = np.arange(len(met))
    else:
        for one in run:
            cells = cells or _Cells(customers * span, one, top, anchor)
            cells.add(one.who * span + one.week - low, one)
        assert cells is not None
        kept = np.flatnonzero(cells.events)
        place, lag = kept, np.zeros(len(kept), dtype=np.int64)
    assert cells is not None
    week = place % span + low
    return PanelRows(
        customer=(place // span).astype(np.int32),
        week=week.astype(np.int32),
        lag=lag.astype(np.int32),
        measures=cells.measures(kept, week),
        ops={},
    )


def _keys(events: _Events, low: int, span: int) -> Ints:
    return (events.who * span + events.week - low) * MOST_LAG + events.lag


def _joined(parts: list[_Events]) -> _Events:
    if len(parts) == 1:
        return parts[0]
    every = [one.arrays() for one in parts]
    return _Events.of({name: np.concatenate([one[name] for one in every]) for name in every[0]})


def _bits_of(last: bool) -> NDArray[np.int64]:
    """For each first weekday of a week and each day mask: days from the week's first day."""
    table = np.zeros((DAYS_PER_WEEK, 128), dtype=np.int64)
    for first in range(DAYS_PER_WEEK):
        for mask in range(1, 128):
            days = [(day - first) % DAYS_PER_WEEK for day in range(7) if mask >> day & 1]
            table[first, mask] = max(days) if last else min(days)
    return table


_FIRST_BIT, _LAST_BIT = _bits_of(False), _bits_of(True)


class _Cells:
    """What is counted of each cell."""

    def __init__(self, size: int, like: _Events, top: tuple[int, ...], anchor: int) -> None:
        self.size, self.top, self.anchor = size, top, anchor
        self.events = np.zeros(size)
        self.sums = {name: np.zeros(size) for name in like.numbers}
        self.days = np.zeros(size * 8, dtype=np.uint8)
        self.sets: dict[str, Any] = {}
        self.tops = np.zeros(size * (len(top) + 1)) if top and like.feature is not None else None

    def add(self, cell: Ints, events: _Events) -> None:
        """Count events into their cells."""
        self.events += np.bincount(cell, minlength=self.size)
        for name, values in events.numbers.items():
            missing = np.isnan(values)
            if missing.any():
                values = np.where(missing, 1.0 if name == "quantity" else 0.0, values)
            self.sums[name] += np.bincount(cell, values, minlength=self.size)
        self.days[cell * 8 + events.weekday] = 1
        if events.feature is not None:
            self._flag("features", cell, events.feature.astype(np.int64))
            if self.tops is not None:
                slots = np.full(int(events.feature.max(initial=0)) + 2, len(self.top))
                for number, place in enumerate(self.top):
                    if 0 <= place < len(slots) - 1:
                        slots[place] = number
                width = len(self.top) + 1
                self.tops += np.bincount(
                    cell * width + slots[events.feature], minlength=self.size * width
                )
        if events.user is not None:
            self._flag("users", cell, events.user)

    def _flag(self, name: str, cell: Ints, position: Ints) -> None:
        """Set a flag per cell and position; what has no position sets one that is dropped."""
        words = int(position.max(initial=0)) // WORD_BITS + 1
        flags = self.sets.get(name)
        if flags is None or flags.shape[1] < 64 * words:
            wider = np.zeros((self.size, 64 * words), dtype=np.uint8)
            if flags is not None:
                wider[:, : flags.shape[1]] = flags
            self.sets[name] = flags = wider
        place = cell * flags.shape[1]
        place += position
        if words > 1:
            place += position // WORD_BITS * (64 - WORD_BITS)
        if len(position) and position.min() < 0:  # the last bit of a word means nothing
            none = np.flatnonzero(position < 0)
            place[none] = cell[none] * flags.shape[1] + 63
        flags.reshape(-1)[place] = 1

    def measures(self, kept: Ints, week: Ints) -> dict[str, Any]:
        """Measure name to values of the cells that are kept, which lie in these weeks."""
        out: dict[str, Any] = {"events": self.events[kept]}
        out["quantity"] = self.events[kept]
        for name, values in self.sums.items():
            sums = values[kept]
            if name == "duration_s":
                name, sums = "hours", sums / 3600.0
            out[name] = np.round(sums, 9)
        days = np.packbits(self.days.reshape(-1, 8)[kept], axis=1, bitorder="little")[:, 0]
        out["days"] = days
        first_day = week * DAYS_PER_WEEK + self.anchor
        turn = (first_day[0] + 3) % DAYS_PER_WEEK if len(first_day) else 0
        out["first_day"] = first_day + _FIRST_BIT[turn][days]
        out["last_day"] = first_day + _LAST_BIT[turn][days]
        for name, flags in self.sets.items():
            packed = np.packbits(flags.reshape(-1), bitorder="little").view("<i8")
            words = flags.shape[1] // 64
            packed = packed.reshape(self.size, words)[kept] & ((1 << WORD_BITS) - 1)
            for word in range(words):
                out[f"{name}_{word}"] = packed[:, word].copy()
        if self.tops is not None:
            tops = self.tops.reshape(-1, len(self.top) + 1)[kept]
            for number in range(len(self.top)):
                out[f"top_feature_{number}"] = tops[:, number].copy()
        return out
