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
from retain.tables.numbering import numbering_for
from retain.weeks.calendar import DAYS_PER_WEEK, Calendar
from retain.weeks.kept import mark_of
from retain.weeks.rows import PanelRows
from retain.weeks.streams import MASK_VALUES, WORD_BITS

__all__ = ["Users", "sweep"]

CELLS = 100_000  # customers x weeks that are counted into at a time
SLICE = 4_000_000  # events looked at in one go
MOST_WAITING = 6_000_000  # events that may wait in memory for their weeks' turn
NUMBER_BITS = 8  # of a user's number beside its owner
MOST_NUMBER = (1 << NUMBER_BITS) - 1  # beyond the masks

Ints = NDArray[np.signedinteger[Any]]


class Users:
    """Numbers for the users of each customer, append-only: first come, first numbered.

    Parameters
    ----------
    ids
        Customer ids; positions in it are what `of` takes.
    span
        Least and greatest of users that are whole numbers; None: they are texts.
    kept
        What an earlier run saved; none begins anew. Where users were whole numbers then and are
        texts now, or the other way round, all are texts.
    """

    def __init__(
        self, ids: list[str], span: tuple[int, int] | None, kept: Path | None = None
    ) -> None:
        self.ids = ids
        before = None
        if kept is not None:
            import pyarrow.parquet as pq

            before = pq.read_table(kept)
            span = _widened(span, before["user"])
        self._are_texts = span is None
        if before is not None and self._are_texts:
            place = before.column_names.index("user")
            before = before.set_column(place, "user", _as_texts(before["user"]))
        self.names = numbering_for(span)
        # of each name: its first owner and the number there, side by side in one integer
        self._first: Ints = np.full(
            1, -1, np.int32 if len(ids) < 1 << 31 - NUMBER_BITS else np.int64
        )
        self._pairs, self._pair_number = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._next = np.zeros(len(ids), dtype=np.int64)
        self._known: list[tuple[Any, Any, Any]] = []
        self._lost: list[tuple[str, Any, int]] = []  # of customers who are not there just now
        if before is not None:
            self._load(before)

    @property
    def most(self) -> int:
        """How many users the customer with most of them has; at most `MASK_VALUES`."""
        return int(min(self._next.max(initial=0), MASK_VALUES))

    def of(self, who: Ints, users: Any, days: Ints) -> NDArray[np.int16]:
        """Give each event's user a number within its customer; -1: none, or beyond the masks."""
        names = self.names.of(_as_texts(users) if self._are_texts else users)
        number = self._find(who, names)
        if number.min(initial=0) < 0:
            fresh = np.flatnonzero(number < 0)
            fresh = fresh[names[fresh] >= 0]
            if len(fresh):
                self._meet(*(one[fresh].astype(np.int64) for one in (who, names, days)))
                number[fresh] = self._find(who[fresh], names[fresh])
        if self._next.max(initial=0) > MASK_VALUES:
            number[number >= MASK_VALUES] = -1
        return number.astype(np.int16)

    def _find(self, who: Ints, names: Ints) -> Ints:
        """Most names belong to one customer; pairs are looked up for the others."""
        self._make_room()
        if len(self._first) == 1:
            return np.full(len(names), -1)
        first = np.take(self._first, names, mode="wrap")  # twice as fast as by narrow indices
        number = first & MOST_NUMBER
        first >>= NUMBER_BITS
        others = np.flatnonzero(first != who)
        if len(others):
            number[others] = -1
            if len(self._pairs):
                keys = _pair(who[others], names[others])
                at = np.minimum(np.searchsorted(self._pairs, keys), len(self._pairs) - 1)
                number[others] = np.where(self._pairs[at] == keys, self._pair_number[at], -1)
        return number

    def _make_room(self) -> None:
        """Hold a place for each name, and a last one for none: nobody owns it."""
        if len(self._first) <= len(self.names):
            wider = np.full(len(self.names) + 1, self._first.dtype.type(-1))
            wider[: len(self._first) - 1] = self._first[:-1]
            self._first = wider

    def _meet(self, who: Ints, names: Ints, days: Ints) -> None:
        order = np.lexsort((days, names, who))
        who, names, days = who[order], names[order], days[order]
        first = np.flatnonzero(np.diff(who, prepend=-1) | np.diff(names, prepend=-1))
        who, names, days = who[first], names[first], days[first]
        texts = np.asarray(self.names.named(names).to_numpy(zero_copy_only=False))
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
        both = who << NUMBER_BITS | np.minimum(number, MOST_NUMBER)
        self._first[names[free]] = both[free]
        mine = self._first[names] == both  # of several new owners one wins
        if not mine.all():
            pairs = np.append(self._pairs, _pair(who[~mine], names[~mine]))
            numbers = np.append(self._pair_number, number[~mine])
            order = np.argsort(pairs)
            self._pairs, self._pair_number = pairs[order], numbers[order]

    def _load(self, kept: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(kept["customer_id"], value_set=pa.array(self.ids, pa.string()))
        who = found.fill_null(-1).to_numpy().astype(np.int64)
        number = kept["number"].to_numpy().astype(np.int64)
        gone = who < 0
        if gone.any():
            rows = kept.filter(gone).to_pydict()
            self._lost = list(zip(*(rows[k] for k in kept.column_names), strict=True))
        names = self.names.of(kept["user"]).astype(np.int64)
        self._learn(who[~gone], names[~gone], number[~gone])

    def save(self, path: Path) -> str:
        """Keep the numbers for the next run; return the hash of the file."""
        if not self._known:
            path.unlink(missing_ok=True)
            return mark_of(path)
        import pyarrow as pa
        import pyarrow.parquet as pq

        who, names, number = (np.concatenate(parts) for parts in zip(*self._known, strict=True))
        order = np.lexsort((number, who))
        ids = pa.array(self.ids, pa.string())
        table = pa.table(
            {
                "customer_id": ids.take(who[order]),
                "user": self.names.named(names[order]),
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
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".partial-{path.name}")
        # plain: packing, and counting which values are equal, costs more than all the rest
        pq.write_table(table, aside, compression="none", use_dictionary=False)
        aside.replace(path)
        return mark_of(path)


def _as_texts(users: Any) -> Any:
    """Write whole numbers as texts; texts stay as they are."""
    import pyarrow as pa

    return users.cast(pa.string()) if pa.types.is_integer(users.type) else users


def _widened(span: tuple[int, int] | None, users: Any) -> tuple[int, int] | None:
    """Widen a span of whole numbers to the users of earlier runs; None when they are texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if span is None or not pa.types.is_integer(users.type):
        return None
    met = pc.min_max(users).as_py()
    return span if met["min"] is None else (min(span[0], met["min"]), max(span[1], met["max"]))


def _pair(who: Ints, names: Ints) -> Ints:
    return who.astype(np.int64) * (1 << 31) + names


@dataclass
class _Events:
    """Events of some weeks, ready to be counted; all arrays of shape (events,).

    Attributes
    ----------
    cell
        Position of the customer times the weeks of a run, and which of these weeks.
    weekday
        Days since the week began.
    lag
        Weeks between happening and being known; None where all are 0.
    numbers
        Column to its values, nan where missing.
    feature, user
        Position in the features' dictionary; number within the customer; -1 for none.
    """

    cell: Ints
    weekday: NDArray[np.int8]
    lag: Ints | None
    numbers: dict[str, NDArray[Any]]
    feature: NDArray[np.int16] | None
    user: NDArray[np.int16] | None

    def __len__(self) -> int:
        return len(self.cell)

    def arrays(self) -> dict[str, Any]:
        """Every array by name."""
        names = ("cell", "weekday", "lag", "feature", "user")
        there = {name: getattr(self, name) for name in names}
        there = {name: values for name, values in there.items() if values is not None}
        return there | {f"number {name}": values for name, values in self.numbers.items()}

    @classmethod
    def of(cls, there: dict[str, Any]) -> _Events:
        """Put the arrays together again."""
        numbers = {k[7:]: v for k, v in there.items() if k.startswith("number ")}
        lag, feature, user = (there.get(name) for name in ("lag", "feature", "user"))
        return cls(there["cell"], there["weekday"], lag, numbers, feature, user)

    def take(self, keep: Any) -> _Events:
        return _Events.of({name: values[keep] for name, values in self.arrays().items()})


def sweep(
    log: EventLog,
    calendar: Calendar,
    *,
    parts: list[int],
    weeks: set[int] | None,
    customers: int,
    top: tuple[int, ...],
    users: Users | None,
) -> Iterator[PanelRows]:
    """Fold the events of some weeks, a few weeks at a time, oldest first.

    Parameters
    ----------
    log
        The log, its customers and features numbered.
    calendar
        How days become weeks.
    parts
        Files to read.
    weeks
        Weeks to fold; None folds all that occur in `parts`.
    customers
        How many customers there are.
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
                week, events = _events(batch, calendar, users, span)
                if wanted is not None and not _all_in(week, wanted):
                    is_wanted = np.isin(week, wanted)
                    week, events = week[is_wanted], events.take(is_wanted)
                waiting.add(week, events)
            run = waiting.pop(block)
            if run is not None:
                yield _count(run, block * span, span, customers, top, calendar)


class _Run:
    """The events of one run of weeks, a slice at a time, as often as they are asked for."""

    def __init__(self) -> None:
        self.parts: list[_Events | Path] = []
        self.rows = 0
        self.lags = {0}

    def __iter__(self) -> Iterator[_Events]:
        """Join parts up to a slice: counting into cells costs the same for few as for many."""
        if self.rows <= SLICE:
            self.parts = [_joined([_loaded(part) for part in self.parts])]
        joined: list[_Events] = []
        for part in self.parts:
            one = _loaded(part)
            if joined and sum(map(len, joined)) + len(one) > SLICE:
                yield _joined(joined)
                joined = []
            joined.append(one)
        yield _joined(joined)

    def add(self, events: _Events) -> None:
        """Add events, and the weeks between their happening and their being known."""
        self.parts.append(events)
        self.rows += len(events)
        if events.lag is not None:
            self.lags |= set(np.flatnonzero(np.bincount(events.lag)).tolist())

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

    def add(self, week: Ints, events: _Events) -> None:
        """Sort events into runs of weeks."""
        if not len(events):
            return
        low, high = int(week.min()) // self.span, int(week.max()) // self.span
        edges = np.array([0, len(events)])
        if low < high:
            blocks = week // self.span - low
            if np.any(blocks[1:] < blocks[:-1]):  # few bits are sorted by counting
                order = np.argsort(blocks.astype(np.min_scalar_type(high - low)), kind="stable")
                events, blocks = events.take(order), blocks[order]
            edges = np.searchsorted(blocks, np.arange(high - low + 2))
        for block, begin, end in zip(range(low, high + 1), edges, edges[1:], strict=False):
            if end > begin:
                self.blocks.setdefault(block, _Run()).add(events.take(slice(begin, end)))
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


def _loaded(part: _Events | Path) -> _Events:
    if isinstance(part, _Events):
        return part
    with np.load(part, allow_pickle=False) as kept:
        return _Events.of(dict(kept))


def _week(day: Any, calendar: Calendar) -> Any:
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


def _events(
    batch: Batch, calendar: Calendar, users: Users | None, span: int
) -> tuple[Ints, _Events]:
    """Give the week of each event, and the events."""
    known = batch.day if batch.known is None else batch.known
    day = batch.day - calendar.anchor
    week = day // DAYS_PER_WEEK
    if span > np.iinfo(week.dtype).max:  # few customers: their days are of a short type
        week = week.astype(np.int32)
    return week, _Events(
        cell=batch.who * np.int32(span) + (week - week // span * span),
        weekday=(day - week * DAYS_PER_WEEK).astype(np.int8),
        lag=None if batch.known is None else _week(known, calendar) - week,
        numbers=batch.numbers,
        feature=batch.feature,
        user=None if users is None else users.of(batch.who, batch.user, known),
    )


def _count(
    run: _Run, low: int, span: int, customers: int, top: tuple[int, ...], calendar: Calendar
) -> PanelRows:
    """Count the events of a run of weeks into a row per customer, week and lag that is met."""
    lags = np.array(sorted(run.lags))
    is_met = np.zeros(customers * span * len(lags), dtype=bool)
    for one in run:
        is_met[_place(one, lags).astype(np.intp, copy=False)] = True
    met = np.flatnonzero(is_met)
    row_of = np.empty(len(is_met), dtype=np.intp)  # only what is met is written and read
    row_of[met] = np.arange(len(met))
    rows: _Rows | None = None
    for one in run:
        rows = rows or _Rows(len(met), one, top)
        rows.add(np.take(row_of, _place(one, lags), mode="clip"), one)
    assert rows is not None
    cell = met // len(lags)
    week = cell % span + low
    return PanelRows(
        customer=(cell // span).astype(np.int32),
        week=week.astype(np.int32),
        lag=lags[met % len(lags)].astype(np.int32),
        measures=rows.measures(week * DAYS_PER_WEEK + calendar.anchor),
        ops={},
    )


def _place(events: _Events, lags: Ints) -> Ints:
    """Place of each event among cells and lags."""
    if events.lag is None or len(lags) == 1:
        return events.cell
    turn = np.searchsorted(lags, np.arange(lags[-1] + 1))
    return events.cell.astype(np.intp) * len(lags) + turn[events.lag]


def _joined(parts: list[_Events]) -> _Events:
    if len(parts) == 1:
        return parts[0]
    every = [one.arrays() for one in parts]
    return _Events.of({name: np.concatenate([one[name] for one in every]) for name in every[0]})


_MASKS = np.arange(1 << DAYS_PER_WEEK)
_IS_IN = _MASKS[:, None] >> np.arange(DAYS_PER_WEEK) & 1  # day of the week in mask
_FIRST_BIT = _IS_IN.argmax(axis=1)
_LAST_BIT = DAYS_PER_WEEK - 1 - _IS_IN[:, ::-1].argmax(axis=1)


class _Rows:
    """What is counted of each customer, week and lag."""

    def __init__(self, size: int, like: _Events, top: tuple[int, ...]) -> None:
        self.size, self.top = size, top
        self.events = np.zeros(size, dtype=np.int64)
        self.sums = {name: np.zeros(size) for name in like.numbers}
        self.is_whole = dict.fromkeys(like.numbers, True)
        self.days = np.zeros(size * 8, dtype=np.uint8)
        self.sets: dict[str, Any] = {}
        self.tops = np.zeros((len(top) + 1, size), dtype=np.int64)

    def add(self, row: Ints, events: _Events) -> None:
        """Count events into their rows."""
        self.events += np.bincount(row, minlength=self.size)
        for name, values in events.numbers.items():
            if values.dtype.kind == "f":
                self.is_whole[name] = False
                missing = np.isnan(values)
                if missing.any():
                    values = np.where(missing, 1.0 if name == "quantity" else 0.0, values)
            self.sums[name] += np.bincount(row, values, minlength=self.size)
        place = row * 8
        place += events.weekday
        self.days[place] = 1
        if events.feature is not None:
            self._flag("features", row, events.feature)
            if self.top:
                begins = np.full(MASK_VALUES + 1, len(self.top) * self.size)  # the last: of none
                for number, position in enumerate(self.top):
                    if 0 <= position < MASK_VALUES:
                        begins[position] = number * self.size
                place = np.take(begins, events.feature, mode="wrap")
                place += row
                counts = np.bincount(place, minlength=self.tops.size)
                self.tops += counts.reshape(self.tops.shape)
        if events.user is not None:
            self._flag("users", row, events.user)

    def _flag(self, name: str, row: Ints, position: NDArray[np.int16]) -> None:
        """Set a flag per row and position; what has no position sets one that is dropped."""
        words = int(position.max(initial=0)) // WORD_BITS + 1
        flags = self.sets.get(name)
        if flags is None or flags.shape[1] < 64 * words:
            wider = np.zeros((self.size, 64 * words), dtype=np.uint8)
            if flags is not None:
                wider[:, : flags.shape[1]] = flags
            self.sets[name] = flags = wider
        place = row * flags.shape[1]
        if words == 1 and position.min(initial=0) >= 0:
            place += position
        else:  # the last bit of a word means nothing
            numbers = np.arange(words * WORD_BITS)
            bits = np.append(numbers + numbers // WORD_BITS * (64 - WORD_BITS), 63)
            place += np.take(bits, position, mode="wrap")
        flags.reshape(-1)[place] = 1

    def measures(self, first_day: Ints) -> dict[str, Any]:
        """Measure name to values of the rows, whose weeks begin on these days."""
        out: dict[str, Any] = {"events": self.events, "quantity": self.events}
        for name, sums in self.sums.items():
            if name == "duration_s":
                out["hours"] = np.round(sums / 3600.0, 9)
            else:
                out[name] = sums if self.is_whole[name] else np.round(sums, 9)
        days = np.packbits(self.days, bitorder="little")
        # bits count from Monday whatever the week begins with
        monday = (int(first_day[0]) + 3) % DAYS_PER_WEEK
        out["days"] = (days << monday | days >> DAYS_PER_WEEK - monday) & (1 << DAYS_PER_WEEK) - 1
        out["first_day"] = first_day + _FIRST_BIT[days]
        out["last_day"] = first_day + _LAST_BIT[days]
        for name, flags in self.sets.items():
            packed = np.packbits(flags.reshape(-1), bitorder="little").view("<i8")
            packed &= (1 << WORD_BITS) - 1
            for word, values in enumerate(packed.reshape(self.size, -1).T):
                out[f"{name}_{word}"] = values
        if "features" in self.sets:
            for number in range(len(self.top)):
                out[f"top_feature_{number}"] = self.tops[number]
        return out
