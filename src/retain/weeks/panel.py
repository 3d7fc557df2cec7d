"""`Panel`: the weeks of one panel seen from some dates, with trailing operations only.

Rows lie by customer and week, so that what lies between two dates is a run of them: a window is two
look-ups in running sums, the newest value is the last row before a date.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.weeks.rows import PanelRows, kept, said_when, united_bits, words_of

__all__ = ["Missing", "Panel", "balance"]

Array = NDArray[np.float64]
_NEVER = -(10**6)
FEW_DATES = 8  # for fewer, what pays off by being asked for often is not laid out


class Missing(Exception):
    """A panel or measure that was not brought: the feature is left out, the run goes on."""


class Panel:
    """One panel's weeks for some customers, seen from some dates.

    Parameters
    ----------
    rows
        Folded rows of the customers at hand.
    customers
        How many customers.
    as_ofs
        Week numbers from whose last evening to look back, shape (as_ofs,).
    known_by
        Week by whose end a row must be known to be seen, per as_of; never before that as_of.
    start_week
        Week in which each customer was first there, shape (as_ofs, customers).
    """

    def __init__(
        self,
        rows: PanelRows,
        customers: int,
        as_ofs: NDArray[np.int64],
        known_by: NDArray[np.int64],
        start_week: Array | None = None,
    ) -> None:
        self.rows, self.customers, self.as_ofs, self.known_by = rows, customers, as_ofs, known_by
        self._start = start_week
        newest = int(as_ofs.max(initial=0))
        # rows that no date can see are dropped at once; what stays is cut again date by date
        seen = (rows.week <= newest) & (rows.week + rows.lag <= int(known_by.max(initial=0)))
        rows = kept(rows, seen)
        on_time = rows.lag == 0
        self._now, self._late = kept(rows, on_time), rows.take(~on_time)
        self._first = min(int(self._now.week.min()) if len(self._now) else newest, newest)
        self._weeks = newest - self._first + 1
        self._cache: dict[tuple[Any, ...], Any] = {}

    # -- what is brought ---------------------------------------------------------------------

    def has(self, measure: str) -> bool:
        """Say whether the company brought this measure."""
        return measure in self.rows.measures

    def _need(self, measure: str) -> None:
        if measure not in self.rows.measures:
            raise Missing(measure)

    def _words(self, measure: str) -> list[str]:
        words = words_of(self.rows.measures, measure)
        if not words:
            raise Missing(measure)
        return words

    # -- trailing operations -----------------------------------------------------------------

    def total(self, measure: str, weeks: int | None = None, before: int = 0) -> Array:
        """Sum a measure over the last `weeks` weeks (None: ever), ending `before` weeks ago.

        The answer is nan where the window begins before the table does and the customer was there
        already: what happened then is not known.
        """
        self._need(measure)
        out = self._sum(measure, weeks, before, power=0)
        if weeks is None and self.rows.measures[measure].dtype.kind == "f":
            out = np.round(out, 6)  # what came and went again (as MRR) leaves no dust
        return self._observed(out, weeks, before)

    def lifetime(self, measure: str) -> Array:
        """Sum a measure over all weeks; nan where the customer was there before the table."""
        out = self.total(measure)
        # such a sum tells how long the record is by now: what it teaches does not hold later
        return out if self._start is None else np.where(self._start < self.rows.begins, np.nan, out)

    def mean(self, measure: str, weeks: int, before: int = 0) -> Array:
        """Average a measure per week over a window."""
        return self.total(measure, weeks, before) / weeks

    def faded(self, measure: str, half_life_weeks: float, before: int = 0) -> Array:
        """Sum a measure over all weeks, each week weighing half as much per half-life of age."""
        self._need(measure)
        keep = 0.5 ** (1.0 / half_life_weeks)
        ends, ages, cell = self._stretches(before)
        weighed = self._filled(measure) * (keep**ages)[self._now.week - self._first]
        size = (len(ends) + 1, self.customers)
        added = np.bincount(cell, weighed, size[0] * size[1]).astype(np.float64, copy=False)
        added = added.reshape(size)  # (of nothing, whole numbers come back)
        for at in range(1, len(ends)):
            added[at] += added[at - 1] * keep ** int(ends[at] - ends[at - 1])
        out: Array = added[np.searchsorted(ends, self.as_ofs - before)]
        for at, late in self._late_seen(None, before):
            rows = self._late.take(late)
            weeks_ago = int(self.as_ofs[at]) - before - rows.week
            weight = np.nan_to_num(rows.measures[measure]) * keep**weeks_ago
            out[at] += np.bincount(rows.customer, weight, minlength=self.customers)
        return out

    def level(self, measure: str, half_life_weeks: float) -> Array:
        """Average a measure per week, old weeks fading, over the weeks the customer was there."""
        keep = 0.5 ** (1.0 / half_life_weeks)
        there = np.full((len(self.as_ofs), self.customers), np.inf)
        if self._start is not None:
            there = np.maximum(self.as_ofs[:, None] - self._start + 1, 1.0)
        weight = (1.0 - keep**there) / (1.0 - keep)
        return self.faded(measure, half_life_weeks) / weight

    def ratio(self, over: str, under: str, weeks: int | None = None, before: int = 0) -> Array:
        """Divide two totals of the same window; nan where `under` is zero."""
        top, bottom = self.total(over, weeks, before), self.total(under, weeks, before)
        with np.errstate(divide="ignore", invalid="ignore"):  # masked division takes thrice as long
            return np.where(bottom > 0, top / bottom, np.nan)

    def change(self, measure: str, weeks: int) -> Array:
        """Compare a window with the one before it: (now - before) / (now + before), in [-1, 1]."""
        return balance(self.total(measure, weeks), self.total(measure, weeks, before=weeks))

    def trend(self, measure: str, weeks: int) -> Array:
        """Fit a line to the weekly totals of a window: change per week, in the own unit."""
        self._need(measure)
        total = self._sum(measure, weeks, 0, power=0)
        moment = self._sum(measure, weeks, 0, power=1)
        centre = (self.as_ofs - (weeks - 1) / 2.0)[:, None]
        spread = weeks * (weeks**2 - 1) / 12.0
        return self._observed((moment - centre * total) / spread, weeks, 0)

    def active_weeks(self, measure: str, weeks: int, before: int = 0) -> Array:
        """Count the weeks of a window in which a measure is above zero."""
        self._need(measure)
        key, is_active = ("active", measure), self._now.measures[measure] > 0
        out = self._window(key, is_active, weeks, before)
        for at, late in self._late_seen(weeks, before, self._late.measures[measure] > 0):
            rows = self._late.take(late)
            who, week, _ = united_bits(rows.customer, rows.week, np.ones(len(rows), np.int64))
            before_that, known = np.maximum(week - self._first, 0), self._cumulated(key, is_active)
            active = known[before_that + 1, who] > known[before_that, who]
            np.add.at(out[at], who, ~(active & (week >= self._first)))
        return self._observed(out, weeks, before)

    def active_days(self, measure: str, weeks: int, before: int = 0) -> Array:
        """Count the days of a window whose bit is set in a weekly day mask."""
        self._need(measure)
        days = np.bitwise_count(self._now.measures[measure])
        out = self._window(("popcount", measure), days, weeks, before)
        for at, late in self._late_seen(weeks, before):
            rows = self._late.take(late)
            masks = united_bits(rows.customer, rows.week, rows.measures[measure])
            known = self._bits_at(measure, masks[1], masks[0])
            np.add.at(out[at], masks[0], np.bitwise_count(masks[2] & ~known))
        return self._observed(out, weeks, before)

    def distinct(self, measure: str, weeks: int, before: int = 0) -> Array:
        """Count the different values met in a window, from bit masks."""
        out = np.zeros((len(self.as_ofs), self.customers))
        tardy = dict(self._late_seen(weeks, before))
        for word in self._words(measure):
            for at, as_of in enumerate(self.as_ofs):
                met = self._met(word, *self._span(int(as_of), weeks, before))
                if at in tardy:
                    late = self._late.take(tardy[at])
                    np.bitwise_or.at(met, late.customer, late.measures[word])
                out[at] += np.bitwise_count(met)
        return self._observed(out, weeks, before)

    def latest(self, measure: str, before: int = 0) -> Array:
        """Return the newest value that is not null, as of `before` weeks ago; nan when none."""
        newest = self._latest(measure, before)
        return self._of_rows(newest, self._now.measures[measure], self._late.measures[measure])

    def weeks_since(self, measure: str) -> Array:
        """Count the weeks since a measure was last above zero (or, for values, last given)."""
        newest = self._latest(measure, 0, positive=self.rows.ops.get(measure) != "last")
        return self.as_ofs[:, None] - self._of_rows(newest, self._now.week, self._late.week)

    def earliest(self, measure: str) -> Array:
        """Return the smallest value ever seen; nan when none."""
        self._need(measure)
        out = np.full((len(self.as_ofs), self.customers), np.inf)
        rows = self.rows
        values = rows.measures[measure]
        for at, as_of in enumerate(self.as_ofs):
            seen = (rows.week <= as_of) & (rows.week + rows.lag <= self.known_by[at])
            seen &= ~np.isnan(values)
            np.minimum.at(out[at], rows.customer[seen], values[seen])
        return np.where(np.isinf(out), np.nan, out)

    def longest_silence(self, measure: str, weeks: int) -> Array:
        """Count the longest run of weeks in a window without a measure above zero."""
        self._need(measure)
        out = np.empty((len(self.as_ofs), self.customers))
        came = np.full(out.shape, _NEVER) if self._start is None else self._start
        came = np.nan_to_num(came, nan=_NEVER).astype(np.int32)  # an unknown start hides no week
        rows = self._now.measures[measure] > 0
        is_active = np.zeros((self._weeks, self.customers), dtype=bool)
        is_active.reshape(-1)[self._place[rows]] = True
        nobody = np.zeros(self.customers, dtype=bool)
        for at, as_of in enumerate(self.as_ofs):
            run, longest = (np.zeros(self.customers, dtype=np.int32) for _ in range(2))
            late = self._late.take(self._late_rows(at, weeks, 0))
            for week in range(int(as_of) - weeks + 1, int(as_of) + 1):
                row = week - self._first
                counts = is_active[row] if row >= 0 else nobody
                counts = counts | (came[at] > week)
                if len(late):
                    here = (late.week == week) & (late.measures[measure] > 0)
                    counts[late.customer[here]] = True
                run += 1
                run *= ~counts
                np.maximum(longest, run, out=longest)
            out[at] = longest
        return self._observed(out, weeks, 0)

    # -- inside ------------------------------------------------------------------------------

    def _observed(self, out: Array, weeks: int | None, before: int) -> Array:
        if weeks is None or self._start is None:
            return out
        first = self.rows.begins
        for at in np.flatnonzero(self.as_ofs - before - weeks + 1 < first):
            out[at, self._start[at] < first] = np.nan
        return out

    def _span(self, as_of: int, weeks: int | None, before: int) -> tuple[int, int]:
        """Rows (end, start) of a window in the grid of weeks."""
        last = min(max(as_of - before - self._first + 1, 0), self._weeks)
        first = 0 if weeks is None else max(as_of - before - weeks - self._first + 1, 0)
        return last, min(first, last)

    def _late_rows(self, at: int, weeks: int | None, before: int) -> NDArray[np.bool_]:
        rows, last = self._late, int(self.as_ofs[at]) - before
        seen = (rows.week <= last) & (rows.week + rows.lag <= int(self.known_by[at]))
        return seen if weeks is None else seen & (rows.week > last - weeks)

    def _late_seen(
        self, weeks: int | None, before: int, given: Any = True
    ) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Dates that see any of the `given` late rows in their window, and which of them."""
        for at in range(len(self.as_ofs) if len(self._late) else 0):
            seen = self._late_rows(at, weeks, before) & given
            if seen.any():
                yield at, seen

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """Place of each row known in its own week in a flat grid (weeks, customers)."""
        week = (self._now.week - self._first).astype(np.int64)
        return week * self.customers + self._now.customer

    @cached_property
    def _is_single(self) -> bool:
        """Whether no customer has two such rows in one week; comments come one row each."""
        customer, week = self._now.customer, self._now.week
        return not np.any((customer[1:] == customer[:-1]) & (week[1:] == week[:-1]))

    def _filled(self, measure: str) -> Any:
        """Values of the rows known in their own week, null as zero."""
        values = self._now.measures[measure]
        if values.dtype.kind != "f":
            return values
        if ("filled", measure) not in self._cache:
            self._cache["filled", measure] = np.where(np.isnan(values), 0.0, values)
        return self._cache["filled", measure]

    def _lay(self, values: Any, flat: Array) -> None:
        """Lay values of rows into a flat grid of zeros; rows of one place add up."""
        if self._is_single:
            flat[self._place] = values
        else:
            flat += np.bincount(self._place, values, minlength=len(flat))

    def _cumulated(self, key: tuple[Any, ...], values: Any) -> Array:
        """Add up all weeks before each week, shape (weeks + 1, customers)."""
        if key not in self._cache:
            out = self._cache[key] = np.zeros((self._weeks + 1, self.customers))
            self._lay(values, out[1:].reshape(-1))
            _running(out)
        return self._cache[key]

    @cached_property
    def _counts(self) -> NDArray[np.int32]:
        """Count the rows before each week of the grid, shape (weeks + 1, customers)."""
        out = np.zeros((self._weeks + 1, self.customers), dtype=np.int32)
        if self._is_single:
            out[1:].reshape(-1)[self._place] = 1
        else:
            out[1:].reshape(-1)[:] = np.bincount(self._place, minlength=out[1:].size)
        return _running(out)

    @cached_property
    def _begins(self) -> NDArray[np.int64]:
        """First row of each customer."""
        ids = np.arange(self.customers, dtype=self._now.customer.dtype)
        return np.searchsorted(self._now.customer, ids)

    def _ends(self, back: int | None) -> list[int]:
        """Place in the grid of what follows the week `back` weeks before each date; None: ever."""
        if back is None:
            return [0] * len(self.as_ofs)
        if ("ends", back) not in self._cache:
            self._cache["ends", back] = [self._span(int(one), None, back)[0] for one in self.as_ofs]
        return self._cache["ends", back]

    def _bound(self, end: int) -> NDArray[np.int64]:
        """First row of each customer of a week of the grid, or later."""
        if ("bound", end) not in self._cache:
            self._cache["bound", end] = self._counts[end] + self._begins
        return self._cache["bound", end]

    def _stretches(self, before: int) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
        """Cut time at the dates: their weeks, each week's age at the next, each row's place.

        Places are those of a flat grid (dates + 1, customers); a week after all dates has no age.
        """
        key = ("stretches", before)
        if key not in self._cache:
            ends = np.unique(self.as_ofs) - before
            weeks = np.arange(self._first, self._first + self._weeks)
            stretch = np.searchsorted(ends, weeks)
            cell = stretch[self._now.week - self._first] * self.customers + self._now.customer
            self._cache[key] = ends, np.append(ends, np.inf)[stretch] - weeks, cell
        return self._cache[key]

    def _met(self, word: str, last: int, first: int) -> NDArray[np.int64]:
        """Union of the masks of the weeks from `first` to `last` (exclusive), per customer."""
        grid = self._bits(word)
        if len(self.as_ofs) < FEW_DATES or last - first < 2:
            return np.bitwise_or.reduce(grid[first:last], axis=0)
        # two runs of a power of two weeks cover the window, whatever its length
        size = (last - first).bit_length() - 1
        for level in range(1, size + 1):
            if ("union", word, level) not in self._cache:
                shorter = self._cache["union", word, level - 1] if level > 1 else grid
                half = 1 << (level - 1)
                self._cache["union", word, level] = shorter[:-half] | shorter[half:]
        runs = self._cache["union", word, size]
        return runs[first] | runs[last - (1 << size)]

    def _bits(self, word: str) -> NDArray[np.int64]:
        key = ("bits", word)
        if key not in self._cache:
            masks = self._now.measures[word]
            grid = self._cache[key] = np.zeros((self._weeks, self.customers), dtype=masks.dtype)
            grid.reshape(-1)[self._place] = masks
        return self._cache[key]

    def _bits_at(self, word: str, week: Any, customer: Any) -> NDArray[np.int64]:
        row = week - self._first
        inside = row >= 0
        out = np.zeros(len(row), dtype=np.int64)
        out[inside] = self._bits(word)[row[inside], customer[inside]]
        return out

    def _window(self, key: tuple[Any, ...], values: Any, weeks: int | None, before: int) -> Array:
        """Add up values of rows over a window; `key` names them."""
        ends, starts = self._ends(before), self._ends(None if weeks is None else before + weeks)
        if values.dtype.kind not in "bui":
            # such sums depend on their order in the last digit: the same whatever dates are asked
            summed = self._cumulated(key, values)
            return summed[ends] - summed[starts]
        # whole numbers add up alike in any order: along the rows, whoever they are of
        if ("rows", key) not in self._cache:
            self._cache["rows", key] = _sums_before(values)
        out = np.empty((len(ends), self.customers))
        for at, (end, start) in enumerate(zip(ends, starts, strict=True)):
            np.subtract(self._until(key, end), self._until(key, start), out=out[at])
        return out

    def _until(self, key: tuple[Any, ...], end: int) -> NDArray[Any]:
        """Sum of all rows before each customer's first one of a week of the grid, or later."""
        if ("until", key, end) not in self._cache:
            sums = self._cache["rows", key]
            # twice as fast as by an index in brackets
            self._cache["until", key, end] = np.take(sums, self._bound(end), mode="clip")
        return self._cache["until", key, end]

    def _sum(self, measure: str, weeks: int | None, before: int, power: int) -> Array:
        values = self._filled(measure)
        if power:
            values = values * self._now.week.astype(np.int64)
        out = self._window(("sum", measure, power), values, weeks, before)
        if len(self._late):
            values = np.nan_to_num(self._late.measures[measure])
            if power:
                values = values * self._late.week.astype(np.int64)
            for at, late in self._late_seen(weeks, before):
                who = self._late.customer[late]
                out[at] += np.bincount(who, values[late], minlength=self.customers)
        return out

    def _latest(self, measure: str, before: int, *, positive: bool = False) -> NDArray[np.int64]:
        """Find the row of the newest value among those known in time, then the late; -1: none."""
        self._need(measure)
        rows, (places, counts) = self._now, self._given_rows(measure, positive)
        newest = np.empty((len(self.as_ofs), self.customers), dtype=np.int64)
        for at, end in enumerate(self._ends(before)):
            there = np.take(counts, self._bound(end), mode="clip")
            np.take(places, there, mode="clip", out=newest[at])
        newest[newest < self._begins] = -1  # of another customer
        given = self._given(self._late, measure, positive)
        for at, late in self._late_seen(None, before, given):
            tardy = self._late.take(late)
            said, last = np.append(said_when(rows, measure), 0.0), said_when(tardy, measure)
            ranks = np.lexsort((tardy.lag, last, tardy.week))  # newest last, so that it wins
            best = np.full(self.customers, -1)
            best[tardy.customer[ranks]] = ranks
            who = np.flatnonzero(best >= 0)
            mine = best[who]
            order = said[newest[at, who]]  # the last one stands for none
            found = np.append(rows.week, _NEVER)[newest[at, who]]
            newer = (tardy.week[mine] > found) | (
                (tardy.week[mine] == found) & (last[mine] >= order)
            )
            newest[at, who[newer]] = len(rows) + np.flatnonzero(late)[mine[newer]]
        return newest

    @staticmethod
    def _of_rows(newest: NDArray[np.int64], now: Any, late: Any) -> Array:
        """Look up what rows found by `_latest` hold; nan where there is none."""
        values = np.concatenate([now, late]) if len(late) else now
        if not len(values):
            return np.full(newest.shape, np.nan)
        out = np.take(values, newest, mode="wrap").astype(np.float64)
        out[newest < 0] = np.nan
        return out

    def _given_rows(self, measure: str, positive: bool) -> tuple[Any, Any]:
        """Positions of the rows that hold a value after a -1, how many lie before each row."""
        key = ("given", measure, positive)
        if key not in self._cache:
            given = self._given(self._now, measure, positive)
            self._cache[key] = np.append(-1, np.flatnonzero(given)), _sums_before(given)
        return self._cache[key]

    @staticmethod
    def _given(rows: PanelRows, measure: str, positive: bool) -> NDArray[np.bool_]:
        values = rows.measures[measure]
        return values > 0 if positive else ~np.isnan(values)


def _sums_before(values: Any) -> NDArray[Any]:
    """Add up the whole numbers before each place, and all of them.

    Small ones in half the memory: where the sum of all rows overflows, the difference of two is
    right still, as a customer's own rows do not add up to that much.
    """
    out = np.zeros(len(values) + 1, dtype=np.int32 if values.dtype.itemsize < 4 else np.int64)
    np.cumsum(values, out=out[1:])
    return out


def _running(grid: Any) -> Any:
    """Add up week by week, in place."""
    for week in range(1, len(grid)):
        grid[week] += grid[week - 1]
    return grid


def balance(now: Array, before: Array) -> Array:
    """Compare two amounts: (now - before) / (|now| + |before|), nan when both are zero.

    Examples
    --------
    >>> balance(np.array([5.0]), np.array([14.0])).round(3)
    array([-0.474])
    """
    size = np.abs(now) + np.abs(before)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > 0, (now - before) / size, np.nan)
