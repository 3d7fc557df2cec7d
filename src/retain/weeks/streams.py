"""What a fact is, in SQL: the day it happened, the day it was known, what it adds to its week.

Plain SQL with explicit casts; what differs between engines is kept in the few functions at the top.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from retain.weeks.calendar import Calendar

__all__ = [
    "MASK_VALUES",
    "WORD_BITS",
    "Facts",
    "Source",
    "Stream",
    "bit",
    "day_number",
    "hours_between",
    "seconds",
]

WORD_BITS = 62  # bits used of each 64-bit word, so that no engine meets the sign bit
MASK_VALUES = 248  # values told apart by masks (four words); the rest set no bit and never wrap


def day_number(stamp: str) -> str:
    """Return SQL for the days from 1970-01-01 to the local timestamp `stamp`."""
    return f"CAST(date_diff('day', DATE '1970-01-01', CAST({stamp} AS DATE)) AS INTEGER)"


def seconds(stamp: str) -> str:
    """Return SQL for the seconds from 1970-01-01 to the local timestamp `stamp`."""
    return f"CAST(date_diff('second', TIMESTAMP '1970-01-01', {stamp}) AS BIGINT)"


def hours_between(first: str, last: str) -> str:
    """Return SQL for the hours from `first` to `last`, as a float."""
    return f"(CAST(date_diff('second', {first}, {last}) AS DOUBLE) / 3600.0)"


def bit(position: str, word: int) -> str:
    """Return SQL for one bit of a mask word, null when `position` lies in another word."""
    low = word * WORD_BITS
    return (
        f"CASE WHEN {position} >= {low} AND {position} < {low + WORD_BITS} "
        f"THEN CAST(1 AS BIGINT) << CAST({position} - {low} AS INTEGER) END"
    )


@dataclass(frozen=True)
class Source:
    """One clean table as the fold sees it.

    Parameters
    ----------
    table
        Name of the clean table.
    calendar
        How days become weeks.
    columns
        Its columns, ours.
    measures
        The company's own numbers to sum.
    words
        Mask words needed per dictionary, for example ``{"feature": 1, "users": 2}``.
    top_features
        Features that get a count of their own, fixed at training.
    lags
        Lags in weeks between happening and being known that occur, ascending, at most eight.
    kinds
        Survey kinds that occur.
    scales
        Survey kind to its lowest and highest answer.
    ces_high_means
        ``easy`` or ``hard``: an effort scale on which high is hard is turned round.
    """

    table: str
    calendar: Calendar
    columns: frozenset[str]
    measures: tuple[str, ...] = ()
    words: dict[str, int] = field(default_factory=dict)
    top_features: tuple[str, ...] = ()
    lags: tuple[int, ...] = (0,)
    kinds: tuple[str, ...] = ()
    scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    ces_high_means: str = "easy"

    def has(self, *names: str) -> bool:
        """Say whether all these columns were brought."""
        return all(name in self.columns for name in names)

    def known(self, day: str) -> str:
        """Return SQL for the day on which a fact of `day` was known."""
        if not self.has("recorded_at"):
            return day
        return f"greatest({day}, coalesce({day_number('recorded_at')}, {day}))"

    def lag(self, day: str = "day", known: str = "known_day") -> str:
        """Return SQL for the weeks between a fact's day and the day on which it was known."""
        return f"greatest(0, {self.calendar.week_sql(known)} - {self.calendar.week_sql(day)})"

    def before(self, value: str, partition: str, order: str, by: str | None = None) -> str:
        """Return SQL for the newest earlier `value` that was known when this row was.

        A row that became known later than this one must not change what this one says, so that only
        rows with no longer a lag count as predecessors: one ordered pass per lag that occurs.

        Parameters
        ----------
        value
            What to fetch; with `by` null its maximum over the earlier rows, else the value at the
            maximum of `by`.
        partition, order
            Rows of the same `partition` and a smaller integer `order` are earlier.
        by
            Unique order key that says which earlier row is the newest.
        """
        what = f"max({value})" if by is None else f"arg_max({value}, {by})"
        frame = (
            f"OVER (PARTITION BY {partition} ORDER BY {order} "
            "RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        )
        if self.lags == (0,):
            return f"{what} {frame}"
        cases = " ".join(
            f"WHEN lag_weeks >= {lag} THEN {what} FILTER (WHERE lag_weeks <= {lag}) {frame}"
            for lag in sorted(self.lags, reverse=True)
        )
        return f"CASE {cases} END"


@dataclass(frozen=True)
class Stream:
    """One kind of fact: where it comes from, when it happened, what it adds.

    Parameters
    ----------
    rows
        SQL after FROM, already carrying whatever ordered pass is needed.
    day
        SQL for the day number on which it happened.
    known
        SQL for the day number on which it was known.
    order
        SQL for an integer that orders facts within a week (for `last`).
    adds
        Measure name to the SQL of what one row adds.
    where
        SQL condition; rows without this fact are left out.
    """

    rows: str
    day: str
    known: str
    order: str
    adds: dict[str, str]
    where: str = "TRUE"


@dataclass(frozen=True)
class Facts:
    """All streams of one panel and how its measures combine.

    Parameters
    ----------
    streams
        The kinds of fact.
    ops
        Measure name to sum, max, min, last or bits.
    dictionaries
        Measure name to the column whose texts its codes stand for.
    """

    streams: tuple[Stream, ...]
    ops: dict[str, str]
    dictionaries: dict[str, str] = field(default_factory=dict)
