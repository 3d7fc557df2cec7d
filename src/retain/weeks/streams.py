"""What a fact is, in SQL: the day it happened, the day it was known, what it adds to its week.

Plain SQL with explicit casts; what differs between engines is kept in the few functions at the top.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from retain.weeks.calendar import Calendar

__all__ = [
    "MASK_VALUES",
    "ORDER_OF",
    "WORD_BITS",
    "Facts",
    "Source",
    "Stream",
    "bit",
    "day_number",
    "hours_between",
    "seconds",
    "struct",
]

WORD_BITS = 62  # bits used of each 64-bit word, so that no engine meets the sign bit
MASK_VALUES = 248  # values told apart by masks (four words); the rest set no bit and never wrap
ORDER_OF = "{}__order"  # beside each `last` measure: when it was said, to settle rows known later


def day_number(stamp: str) -> str:
    """Return SQL for the days from 1970-01-01 to the local timestamp `stamp`."""
    return f"CAST(date_diff('day', DATE '1970-01-01', CAST({stamp} AS DATE)) AS INTEGER)"


def seconds(stamp: str) -> str:
    """Return SQL for the seconds from 1970-01-01 to the local timestamp `stamp`."""
    return f"CAST(date_diff('second', TIMESTAMP '1970-01-01', {stamp}) AS BIGINT)"


def hours_between(first: str, last: str) -> str:
    """Return SQL for the hours from `first` to `last`, as a float."""
    return f"(CAST(date_diff('second', {first}, {last}) AS DOUBLE) / 3600.0)"


def struct(**fields: str) -> str:
    """Return SQL for one value that compares field by field and never ties by the order of rows."""
    return "{" + ", ".join(f"'{name}': {sql}" for name, sql in fields.items()) + "}"


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
    kinds: tuple[str, ...] = ()
    scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    ces_high_means: str = "easy"

    def has(self, *names: str) -> bool:
        """Say whether all these columns were brought."""
        return all(name in self.columns for name in names)

    def with_words(self, words: dict[str, int]) -> Source:
        """Return the same table with these mask words."""
        return replace(self, words=words)

    def known(self, day: str) -> str:
        """Return SQL for the day on which a fact of `day` was known."""
        if not self.has("recorded_at"):
            return day
        return f"greatest({day}, coalesce({day_number('recorded_at')}, {day}))"

    def lag(self, day: str = "day", known: str = "known_day") -> str:
        """Return SQL for the weeks between a fact's day and the day on which it was known."""
        return f"greatest(0, {self.calendar.week_sql(known)} - {self.calendar.week_sql(day)})"

    def with_earlier(
        self,
        name: str,
        rows: str,
        partition: tuple[str, ...],
        order: str,
        newest: str,
        most: str = "NULL",
        *,
        is_once: bool = False,
    ) -> dict[str, str]:
        """Return the pass that tells each row what was known of the rows before it.

        A row that became known in a later week than this one must not change what this one says. So
        the ordered pass looks at all earlier rows, and only where one of them was not known yet the
        others are looked up by hand.

        Parameters
        ----------
        name
            The pass; other tables that it needs begin with the same name.
        rows
            SELECT of the rows, with `day`, `known_day` and the columns named below.
        partition, order
            Rows of the same `partition` and a smaller integer `order` are earlier.
        newest
            Struct beginning with `order`: of the earlier rows its greatest is fetched.
        most
            Number of which the maximum over the earlier rows is fetched.
        is_once
            Whether of rows that share `partition` and `order` only the one known first counts; they
            hold these columns and `known_day` alone, `newest` is the order, and there is no `most`.

        Returns
        -------
        dict
            Name to SELECT, in the order in which they must run. The last adds `known_week`,
            `before` (the struct) and `before_most` to the rows.
        """
        keys = ", ".join(partition)
        frame = (
            f"OVER (PARTITION BY {keys} ORDER BY {order} "
            f"{'ROWS' if is_once else 'RANGE'} BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        )
        known = f"{self.calendar.week_sql('known_day')} AS known_week"
        if not self.has("recorded_at"):
            if is_once:  # the row before is the greatest of the earlier ones, or another like this
                last = f"lag({order}) OVER (PARTITION BY {keys} ORDER BY {order})"
                return {
                    name: f"SELECT * FROM (SELECT r.*, {known}, {last} AS before, NULL AS "
                    f"before_most FROM ({rows}) AS r) WHERE before IS NULL OR before < {order}"
                }
            most = most if most == "NULL" else f"max({most}) {frame}"
            return {
                name: f"SELECT r.*, {known}, max({newest}) {frame} AS before, "
                f"{most} AS before_most FROM ({rows}) AS r"
            }
        if is_once:
            rows = (
                f"SELECT {keys}, {order}, min(known_day) AS known_day FROM ({rows}) AS r "
                f"GROUP BY {keys}, {order}"
            )
        same = " AND ".join(f"e.{key} = l.{key}" for key in partition)
        row = f"{', '.join(f'l.{key}' for key in partition)}, l.{order}, l.known_week"
        return {
            f"{name}_rows": f"SELECT r.*, {known}, {newest} AS this, {most} AS this_most "
            f"FROM ({rows}) AS r",
            f"{name}_seen": f"SELECT r.*, max(this) {frame} AS any_before, max(this_most) {frame} "
            f"AS any_most, max(known_week) {frame} AS any_known FROM {name}_rows AS r",
            f"{name}_late": f"SELECT {row}, max(e.this) AS before, max(e.this_most) AS before_most "
            f"FROM (SELECT DISTINCT {keys}, {order}, known_week FROM {name}_seen "
            f"WHERE any_known > known_week) AS l JOIN {name}_rows AS e ON {same} "
            f"AND e.{order} < l.{order} AND e.known_week <= l.known_week GROUP BY {row}",
            name: "SELECT e.*, CASE WHEN any_known > e.known_week THEN l.before ELSE any_before "
            "END AS before, CASE WHEN any_known > e.known_week THEN l.before_most ELSE any_most "
            f"END AS before_most FROM {name}_seen AS e LEFT JOIN {name}_late AS l ON {same} "
            f"AND e.{order} = l.{order} AND e.known_week = l.known_week",
        }


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
    passes
        Temporary tables that the streams read: name to SELECT, in the order in which they run.
    once
        Passes that add to each day of a customer the one before, where all days are known at once:
        name to SELECT of the rows. Arrays find it faster than an ordered pass.
    """

    streams: tuple[Stream, ...]
    ops: dict[str, str]
    dictionaries: dict[str, str] = field(default_factory=dict)
    passes: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)

    @property
    def folded(self) -> dict[str, str]:
        """Every measure of a folded row and how it combines: `ops`, and when each last was said."""
        said = {ORDER_OF.format(m): "max" for m, op in self.ops.items() if op == "last"}
        return self.ops | said
