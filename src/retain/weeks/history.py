"""`History`: everything known about some customers on some dates, with trailing operations only.

A feature is a function of a `History`. It can total, average, compare and look up what lies behind
`as_of`; it has no way to name a later week, so that a leak cannot be written by accident. Every
answer is an array of shape (as_ofs, customers).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.weeks.rows import FoldedWeeks, PanelRows, kept, said_when, united_bits, words_of

__all__ = ["History", "Missing", "Panel", "balance"]

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
        if weeks is None:  # what came and went again (as MRR) leaves no dust
            out = np.round(out, 6)
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
        key = ("faded", measure, half_life_weeks, before)
        ends = [self._span(int(as_of), None, before)[0] for as_of in self.as_ofs]
        if key not in self._cache:
            grid, memory = self._grid(measure), np.zeros(self.customers)
            self._cache[key] = {0: memory.copy()}
            for week in range(max(ends, default=0)):
                memory *= keep
                memory += grid[week]
                if week + 1 in ends:
                    self._cache[key][week + 1] = memory.copy()
        out = np.empty((len(self.as_ofs), self.customers))
        for at, as_of in enumerate(self.as_ofs):
            out[at] = self._cache[key][ends[at]]
            late = self._late_rows(at, None, before)
            if late.any():
                rows = self._late.take(late)
                age = int(as_of) - before - rows.week
                weight = np.nan_to_num(rows.measures[measure]) * keep**age
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
        return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)

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
        for at in range(len(self.as_ofs)):
            late = self._late_rows(at, weeks, before) & (self._late.measures[measure] > 0)
            if not late.any():
                continue
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
        for at in range(len(self.as_ofs)):
            late = self._late_rows(at, weeks, before)
            if not late.any():
                continue
            rows = self._late.take(late)
            masks = united_bits(rows.customer, rows.week, rows.measures[measure])
            known = self._bits_at(measure, masks[1], masks[0])
            np.add.at(out[at], masks[0], np.bitwise_count(masks[2] & ~known))
        return self._observed(out, weeks, before)

    def distinct(self, measure: str, weeks: int, before: int = 0) -> Array:
        """Count the different values met in a window, from bit masks."""
        out = np.zeros((len(self.as_ofs), self.customers))
        for word in self._words(measure):
            for at, as_of in enumerate(self.as_ofs):
                met = self._met(word, *self._span(int(as_of), weeks, before))
                late = self._late_rows(at, weeks, before)
                if late.any():
                    np.bitwise_or.at(
                        met, self._late.customer[late], self._late.measures[word][late]
                    )
                out[at] += np.bitwise_count(met)
        return self._observed(out, weeks, before)

    def latest(self, measure: str, before: int = 0) -> Array:
        """Return the newest value that is not null, as of `before` weeks ago; nan when none."""
        return self._latest(measure, before)[0]

    def weeks_since(self, measure: str) -> Array:
        """Count the weeks since a measure was last above zero (or, for values, last given)."""
        week = self._latest(measure, 0, positive=self.rows.ops.get(measure) != "last")[1]
        since = self.as_ofs[:, None] - week
        return np.where(week == _NEVER, np.nan, since)

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
        grid = self._grid(measure)
        out = np.zeros((len(self.as_ofs), self.customers))
        for at, as_of in enumerate(self.as_ofs):
            run = np.zeros(self.customers)
            late = self._late.take(self._late_rows(at, weeks, 0))
            for week in range(int(as_of) - weeks + 1, int(as_of) + 1):
                row = week - self._first
                active = grid[row] > 0 if row >= 0 else np.zeros(self.customers, dtype=bool)
                if len(late):
                    here = (late.week == week) & (late.measures[measure] > 0)
                    active = active.copy()
                    active[late.customer[here]] = True
                if self._start is not None:
                    active = active | (week < self._start[at])
                run = np.where(active, 0, run + 1)
                np.maximum(out[at], run, out=out[at])
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

    @cached_property
    def _by_week(self) -> NDArray[np.int64]:
        return np.argsort(self._now.week - self._first, kind="stable")

    def _lay(self, values: Any, flat: Array) -> None:
        """Lay values of rows into a flat grid of zeros, null as zero; rows of one place add up."""
        if values.dtype.kind == "f":
            values = np.nan_to_num(values)
        if self._is_single:
            flat[self._place] = values
        else:
            flat += np.bincount(self._place, values, minlength=len(flat))

    def _grid(self, measure: str) -> Array:
        """Weekly values of rows known in their own week, shape (weeks, customers)."""
        key = ("grid", measure)
        if key not in self._cache:
            grid = np.zeros((self._weeks, self.customers))
            self._lay(self._now.measures[measure], grid.reshape(-1))
            self._cache[key] = grid
        return self._cache[key]

    def _cumulated(self, key: tuple[Any, ...], values: Any) -> Array:
        """Add up all weeks before each week, shape (weeks + 1, customers)."""
        if key not in self._cache:
            out = self._cache[key] = np.zeros((self._weeks + 1, self.customers))
            self._lay(values, out[1:].reshape(-1))
            for week in range(1, self._weeks):
                out[week + 1] += out[week]
        return self._cache[key]

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """First row of each week or later, of rows by customer; shape (weeks + 1, customers)."""
        rows = self._cumulated(("rows",), np.ones(len(self._now), dtype=np.int8))
        ids = np.arange(self.customers, dtype=self._now.customer.dtype)
        begins = np.searchsorted(self._now.customer, ids)
        return rows.astype(np.int64) + begins

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
            grid = np.zeros((self._weeks, self.customers), dtype=np.int64)
            grid.reshape(-1)[self._place] = self._now.measures[word]
            self._cache[key] = grid
        return self._cache[key]

    def _bits_at(self, word: str, week: Any, customer: Any) -> NDArray[np.int64]:
        row = week - self._first
        inside = row >= 0
        out = np.zeros(len(row), dtype=np.int64)
        out[inside] = self._bits(word)[row[inside], customer[inside]]
        return out

    def _window(self, key: tuple[Any, ...], values: Any, weeks: int | None, before: int) -> Array:
        """Add up values of rows over a window; `key` names them."""
        out = np.empty((len(self.as_ofs), self.customers))
        # whole numbers add up alike in any order: for a few dates along the rows, without a grid
        by_row = len(self.as_ofs) < FEW_DATES and values.dtype.kind in "bui"
        if by_row and ("rows", key) not in self._cache:
            self._cache["rows", key] = np.append(0, np.cumsum(values, dtype=np.int64))
        for at, as_of in enumerate(self.as_ofs):
            last, first = self._span(int(as_of), weeks, before)
            if by_row:
                summed = self._cache["rows", key]
                out[at] = summed[self._bounds[last]] - summed[self._bounds[first]]
            else:
                summed = self._cumulated(key, values)
                np.subtract(summed[last], summed[first], out=out[at])
        return out

    def _sum(self, measure: str, weeks: int | None, before: int, power: int) -> Array:
        values = self._now.measures[measure]
        if power:
            values = values * self._now.week.astype(np.int64)
        out = self._window(("sum", measure, power), values, weeks, before)
        if len(self._late):
            values = np.nan_to_num(self._late.measures[measure])
            if power:
                values = values * self._late.week
            for at in range(len(self.as_ofs)):
                late = self._late_rows(at, weeks, before)
                if late.any():
                    out[at] += np.bincount(
                        self._late.customer[late], values[late], minlength=self.customers
                    )
        return out

    def _latest(self, measure: str, before: int, *, positive: bool = False) -> tuple[Array, Array]:
        """Newest value and its week; the value is nan and the week `_NEVER` where there is none."""
        self._need(measure)
        rows, values = self._now, self._now.measures[measure]
        is_few = len(self.as_ofs) < FEW_DATES
        if is_few:
            said_now = self._given(rows, measure, positive)
        else:
            weeks, last_said = self._given_by_week(measure, positive)
        given = self._given(self._late, measure, positive)
        value = np.full((len(self.as_ofs), self.customers), np.nan)
        found = np.full((len(self.as_ofs), self.customers), float(_NEVER))
        newest = np.full(self.customers, -1)  # row of each customer's newest value so far
        done = 0
        for at in np.argsort(self.as_ofs, kind="stable"):
            as_of = int(self.as_ofs[at])
            if is_few:
                span = np.flatnonzero(said_now & (rows.week <= as_of - before))
            else:
                end = int(np.searchsorted(weeks, as_of - before, side="right"))
                span, done = last_said[done:end], max(done, end)
            newest[rows.customer[span]] = span  # in the order of weeks: the last one stays
            who = np.flatnonzero(newest >= 0)
            value[at, who], found[at, who] = values[newest[who]], rows.week[newest[who]]
            late = self._late_rows(at, None, before) & given
            if late.any():
                tardy = self._late.take(late)
                said, last = np.append(said_when(rows, measure), 0.0), said_when(tardy, measure)
                ranks = np.lexsort((tardy.lag, last, tardy.week))  # newest last, so that it wins
                best = np.full(self.customers, -1)
                best[tardy.customer[ranks]] = ranks
                who = np.flatnonzero(best >= 0)
                mine = best[who]
                order = said[newest[who]]  # the last one stands for none
                newer = (tardy.week[mine] > found[at, who]) | (
                    (tardy.week[mine] == found[at, who]) & (last[mine] >= order)
                )
                who, mine = who[newer], mine[newer]
                value[at, who] = tardy.measures[measure][mine]
                found[at, who] = tardy.week[mine]
        return value, found

    def _given_by_week(self, measure: str, positive: bool) -> tuple[Any, Any]:
        """Weeks and positions of the rows that hold a value, in the order of weeks."""
        key = ("given", measure, positive)
        if key not in self._cache:
            given = self._given(self._now, measure, positive)
            order = self._by_week if given.all() else self._by_week[given[self._by_week]]
            self._cache[key] = self._now.week[order], order
        return self._cache[key]

    @staticmethod
    def _given(rows: PanelRows, measure: str, positive: bool) -> NDArray[np.bool_]:
        values = rows.measures[measure]
        return values > 0 if positive else ~np.isnan(values)


class History:
    """Everything known about some customers on some dates.

    Parameters
    ----------
    folded
        The customers' weeks (already cut to a chunk of customers).
    as_ofs
        Week numbers from whose last evening to look back, shape (as_ofs,).
    known_by
        Later weeks by whose end a row must be known, shape (as_ofs,); default: `as_ofs`. Used only
        to tell newly arrived old facts from new behaviour.
    lists
        Names fixed at training, such as the most used features.
    """

    def __init__(
        self,
        folded: FoldedWeeks,
        as_ofs: Any,
        known_by: Any = None,
        lists: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.as_ofs = np.asarray(as_ofs, dtype=np.int64)
        self.known_by = self.as_ofs if known_by is None else np.asarray(known_by, dtype=np.int64)
        assert np.all(self.known_by >= self.as_ofs), "known_by lies before as_of"
        self._folded = folded.known_by(int(self.known_by.max()))
        self.customers = len(folded.customers)
        self.lists = folded.lists if lists is None else lists
        self._panels: dict[str, Panel] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """(as_ofs, customers): the shape of every answer."""
        return len(self.as_ofs), self.customers

    def has(self, panel: str) -> bool:
        """Say whether the company brought this panel."""
        return panel in self._folded.panels

    def panel(self, name: str) -> Panel:
        """Return a panel by name; raises `Missing` where the company did not bring it."""
        if name not in self._folded.panels:
            raise Missing(name)
        if name not in self._panels:
            self._panels[name] = Panel(
                self._folded.panels[name],
                self.customers,
                self.as_ofs,
                self.known_by,
                self.start_week,
            )
        return self._panels[name]

    @property
    def usage(self) -> Panel:
        """Events, quantities, days, features, users."""
        return self.panel("usage")

    @property
    def interactions(self) -> Panel:
        """Contacts, cases, repeats, switches, waiting."""
        return self.panel("interactions")

    @property
    def surveys(self) -> Panel:
        """Questions sent and answers given."""
        return self.panel("surveys")

    @property
    def subscriptions(self) -> Panel:
        """Paid service, price, changes."""
        return self.panel("subscriptions")

    @property
    def payments(self) -> Panel:
        """Orders, money in and out."""
        return self.panel("payments")

    @property
    def referrals(self) -> Panel:
        """Referrals made."""
        return self.panel("referrals")

    @property
    def departures(self) -> Panel:
        """Leaving and coming back."""
        return self.panel("departures")

    @property
    def as_of_day(self) -> Array:
        """Last day of each as_of week in days since 1970-01-01, shape (as_ofs, 1)."""
        days = [self._folded.calendar.last_day_number(int(week)) for week in self.as_ofs]
        return np.array(days, dtype=np.float64)[:, None]

    @cached_property
    def start_day(self) -> Array:
        """Day of signing up, else of the first thing known, in days since 1970-01-01."""
        given = np.broadcast_to(self._folded.start_day, self.shape)
        if self._folded.start_known is not None:
            given = np.where(self._folded.start_known <= self.known_by[:, None], given, np.nan)
        if not np.isnan(given).any():
            return given
        first = np.full(self.shape, np.inf)
        for rows in self._folded.panels.values():
            if "first_day" in rows.measures:
                seen = Panel(rows, self.customers, self.as_ofs, self.known_by)
                first = np.fmin(first, seen.earliest("first_day"))
        return np.where(np.isnan(given), np.where(np.isinf(first), np.nan, first), given)

    @cached_property
    def start_week(self) -> Array:
        """Week of `start_day`; nan where nothing is known yet."""
        return np.floor((self.start_day - self._folded.calendar.anchor) / 7.0)

    @property
    def tenure_weeks(self) -> Array:
        """Weeks since the customer was first there; nan before."""
        weeks = (self.as_of_day - self.start_day) / 7.0
        return np.where(weeks >= 0, weeks, np.nan)

    def categories(self, panel: str, measure: str) -> tuple[str, ...]:
        """Return the texts behind the codes of a categorical measure, or nothing for a number."""
        return self._folded.categories.get(f"{panel}.{measure}", ())

    def texts(self, panel: str, measure: str) -> NDArray[Any]:
        """Return the newest text of a categorical measure, None where there is none."""
        codes = self.panel(panel).latest(measure)
        names = np.array([*self.categories(panel, measure), None], dtype=object)
        return names[np.where(np.isnan(codes), len(names) - 1, codes).astype(np.int64)]

    def attribute_names(self) -> tuple[str, ...]:
        """Name the customers' attributes that are known with their history or never change."""
        rows = self._folded.panels.get("attributes")
        with_history = [name for name, op in rows.ops.items() if op == "last"] if rows else ()
        return (*self._folded.constants, *with_history)

    def attribute(self, name: str) -> NDArray[Any]:
        """Return one attribute: floats, or texts with None where it is not known."""
        if name in self._folded.constants:
            values = self._folded.constants[name]
            return np.broadcast_to(values, self.shape)
        if self.categories("attributes", name):
            return self.texts("attributes", name)
        return self.panel("attributes").latest(name)


def balance(now: Array, before: Array) -> Array:
    """Compare two amounts: (now - before) / (|now| + |before|), nan when both are zero.

    Examples
    --------
    >>> balance(np.array([5.0]), np.array([14.0])).round(3)
    array([-0.474])
    """
    size = np.abs(now) + np.abs(before)
    return np.divide(now - before, size, out=np.full(size.shape, np.nan), where=size > 0)
