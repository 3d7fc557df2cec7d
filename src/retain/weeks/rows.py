"""Folded rows in memory: one row per customer, week and lag; cuts of them by customer or time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.weeks.calendar import Calendar
from retain.weeks.streams import ORDER_OF

__all__ = [
    "FoldedWeeks",
    "PanelRows",
    "WeekByWeek",
    "in_order",
    "kept",
    "narrowed",
    "said_when",
    "united_bits",
    "words_of",
]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PanelRows:
    """The folded rows of one panel, ordered by customer, week, lag.

    Parameters
    ----------
    customer
        Position of the customer in `FoldedWeeks.customers`, shape (rows,).
    week
        Week in which the facts happened, shape (rows,).
    lag
        Weeks between happening and being known, 0 or more, shape (rows,).
    measures
        Measure name to values of shape (rows,); null is nan, bit masks are int64.
    ops
        Measure name to how it combines: sum, max, min, last or bits.
    begins
        First week by whose end anything was known, of all customers: kept when rows are cut, and a
        row that turns up later cannot move it. Default: as these rows say.
    """

    customer: Ints
    week: Ints
    lag: Ints
    measures: dict[str, NDArray[Any]]
    ops: dict[str, str]
    begins: int = 0

    def __post_init__(self) -> None:
        if not self.begins:
            known = self.week + self.lag
            object.__setattr__(self, "begins", int(known.min()) if len(known) else 10**6)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.week)

    def take(self, keep: Any) -> PanelRows:
        """Keep the rows that `keep` (mask, slice or positions) selects."""
        if not isinstance(keep, slice) and keep.dtype == bool:
            keep = np.flatnonzero(keep)  # once for all measures
        return replace(
            self,
            customer=self.customer[keep],
            week=self.week[keep],
            lag=self.lag[keep],
            measures={name: values[keep] for name, values in self.measures.items()},
        )

    def known_by(self, week: int) -> PanelRows:
        """Keep what was known by the end of `week`."""
        return kept(self, self.week + self.lag <= week)

    def of_customers(self, first: int, last: int) -> PanelRows:
        """Cut out the customers at positions `first` to `last` (exclusive), counted from there."""
        edges = np.array([first, last], dtype=self.customer.dtype)  # else all are converted
        cut = self.take(slice(*np.searchsorted(self.customer, edges)))
        return replace(cut, customer=cut.customer - first)


def narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """Give whole numbers the smallest type that holds them; others are left as they are."""
    if values.dtype == np.int8:
        return values
    if values.dtype.kind == "f":
        if not len(values) or not np.abs(values).max() < 2**31:  # nan is not below either
            return values
        whole = values.astype(np.int32)
        if not np.array_equal(whole, values):
            return values
        values = whole
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind, copy=False)
    return values


def in_order(parts: list[PanelRows], ops: dict[str, str]) -> PanelRows:
    """Put runs of weeks together: rows ordered by customer, week, lag.

    Parameters
    ----------
    parts
        Runs of weeks that do not overlap, oldest first, or rows of different customers; each
        ordered by customer, week, lag. A measure that a part lacks is zero there. Parts are used
        up: a measure is taken out of them when it is laid down, lest memory hold everything twice.
    ops
        Measure name to how it combines.
    """
    customer = _end_to_end([one.customer for one in parts], np.int32)
    order = np.argsort(narrowed(customer), kind="stable")  # short numbers sort fast

    def laid(columns: list[NDArray[Any]], kind: Any) -> NDArray[Any]:
        return np.take(_end_to_end(columns, kind), order, mode="clip")

    measures = {}
    for name, op in ops.items():
        kinds = [one.measures[name].dtype for one in parts if name in one.measures]
        none = np.dtype(np.int64 if op == "bits" else np.float64)
        kind = np.result_type(*kinds) if kinds else none
        columns = [one.measures.pop(name, None) for one in parts]
        measures[name] = laid(
            [
                np.zeros(len(one), kind) if column is None else column
                for one, column in zip(parts, columns, strict=True)
            ],
            kind,
        )
    return PanelRows(
        customer=np.take(customer, order, mode="clip"),
        week=laid([one.week for one in parts], np.int32),
        lag=laid([one.lag for one in parts], np.int32),
        measures=measures,
        ops=ops,
    )


def _end_to_end(columns: list[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate([*columns, np.zeros(0, kind)], dtype=kind)


class WeekByWeek(PanelRows):
    """Rows that lie as they are kept, one run of weeks after another, until they are asked for.

    A cut of some customers is put in order by itself, while it fits the cache; the rows of all
    customers, only when somebody asks for those.

    Parameters
    ----------
    parts, ops
        As for `in_order`.
    begins
        As for `PanelRows`.
    """

    parts: list[PanelRows]

    def __init__(self, parts: list[PanelRows], ops: dict[str, str], begins: int = 0) -> None:
        first = (int((one.week + one.lag).min()) for one in parts if len(one))
        begins = begins or min(first, default=10**6)
        self.__dict__.update(parts=parts, ops=ops, begins=begins)

    def __reduce__(self) -> Any:
        """Travel as plain rows: parts may lie in files."""
        one = self.whole
        return PanelRows, (one.customer, one.week, one.lag, one.measures, one.ops, one.begins)

    def __len__(self) -> int:
        """Count the rows."""
        return sum(len(one) for one in self.parts)

    @cached_property
    def whole(self) -> PanelRows:
        """All rows in order."""
        parts = [replace(one, measures=dict(one.measures)) for one in self.parts]
        return replace(in_order(parts, self.ops), begins=self.begins)

    def known_by(self, week: int) -> PanelRows:
        """Keep what was known by the end of `week`."""
        if "whole" in self.__dict__:
            return self.whole.known_by(week)
        return WeekByWeek([one.known_by(week) for one in self.parts], self.ops, self.begins)

    def of_customers(self, first: int, last: int) -> PanelRows:
        """Cut out the customers at positions `first` to `last` (exclusive), counted from there."""
        if "whole" in self.__dict__:
            return self.whole.of_customers(first, last)
        cut = in_order([one.of_customers(first, last) for one in self.parts], self.ops)
        return replace(cut, begins=self.begins)

    def take(self, keep: Any) -> PanelRows:
        """Keep the rows that `keep` (mask, slice or positions) selects."""
        return self.whole.take(keep)

    @property
    def customer(self) -> Any:
        """Position of each row's customer."""
        return self.whole.customer

    @property
    def week(self) -> Any:
        """Week of each row."""
        return self.whole.week

    @property
    def lag(self) -> Any:
        """Weeks until each row was known."""
        return self.whole.lag

    @property
    def measures(self) -> Any:
        """Measure name to values."""
        return self.whole.measures


@dataclass(frozen=True)
class FoldedWeeks:
    """Everything a company knows, one row per customer per week (and lag).

    Parameters
    ----------
    calendar
        How days became weeks.
    customers
        Customer ids as text, ascending, shape (customers,).
    panels
        Panel name (usage, interactions, surveys, ...) to its rows.
    last_week
        Newest week that anything here may speak of.
    start_day
        Day of signing up in days since 1970-01-01, nan where it must be derived from behaviour.
    texts
        Comments: aligned with `panels["comments"]` rows, shape (rows,).
    categories
        ``panel.measure`` to the texts behind its codes, for categorical `last` measures.
    constants
        Attribute that never changes to its value per customer, text or number, shape (customers,).
    lists
        Names fixed at training: for example ``{"top_features": ("export", "search")}``.
    start_known
        Week by whose end `start_day` was known, shape (customers,); default: always.
    """

    calendar: Calendar
    customers: NDArray[Any]
    panels: dict[str, PanelRows]
    last_week: int
    start_day: NDArray[np.float64]
    texts: NDArray[Any] | None = None
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    start_known: Ints | None = None

    def known_by(self, week: int) -> FoldedWeeks:
        """Forget everything that became known after `week`."""
        panels, texts = (
            {name: rows.known_by(week) for name, rows in self.panels.items()},
            self.texts,
        )
        if texts is not None and "comments" in panels:
            rows = self.panels["comments"]
            texts = texts[rows.week + rows.lag <= week]
        last = min(self.last_week, week)
        return replace(self, panels=panels, texts=texts, last_week=last)

    def without(self, names: tuple[str, ...]) -> FoldedWeeks:
        """Leave out whole panels, as if their tables had never been brought."""
        kept = {name: rows for name, rows in self.panels.items() if name not in names}
        return replace(self, panels=kept, texts=None if "comments" in names else self.texts)

    def of_customers(self, first: int, last: int) -> FoldedWeeks:
        """Cut out the customers at positions `first` to `last` (exclusive)."""
        panels, texts = {}, self.texts
        for name, rows in self.panels.items():
            panels[name] = rows.of_customers(first, last)
            if name == "comments" and texts is not None:
                texts = texts[slice(*np.searchsorted(rows.customer, [first, last]))]
        return replace(
            self,
            customers=self.customers[first:last],
            panels=panels,
            texts=texts,
            start_day=self.start_day[first:last],
            start_known=None if self.start_known is None else self.start_known[first:last],
            constants={name: values[first:last] for name, values in self.constants.items()},
        )

    def of_these(self, chosen: Ints) -> FoldedWeeks:
        """Cut out the customers at these positions, ascending."""
        panels, texts = {}, self.texts
        for name, rows in self.panels.items():
            at = np.flatnonzero(np.isin(rows.customer, chosen))
            cut = rows.take(at)
            panels[name] = replace(cut, customer=np.searchsorted(chosen, cut.customer))
            if name == "comments" and texts is not None:
                texts = texts[at]
        return replace(
            self,
            customers=self.customers[chosen],
            panels=panels,
            texts=texts,
            start_day=self.start_day[chosen],
            start_known=None if self.start_known is None else self.start_known[chosen],
            constants={name: values[chosen] for name, values in self.constants.items()},
        )

    def with_panel(self, name: str, rows: PanelRows) -> FoldedWeeks:
        """Add or replace one panel."""
        return replace(self, panels={**self.panels, name: rows})

    @property
    def recorded_from(self) -> int:
        """Week from which behaviour is on record, for everyone.

        Contracts are often exported with their whole past, but only of customers who are still
        there: weeks before usage, payments and cases begin hold survivors only. A table that began
        late does not cost more than half of the history.
        """
        begins = []
        for name in ("usage", "payments", "interactions"):
            rows = self.panels.get(name)
            if rows is not None and len(rows):
                # a handful of mistyped dates must not stretch the history
                begins.append(int(np.quantile(rows.week, 0.001, method="lower")))
        if not begins:
            return self.first_week
        span = self.last_week - min(begins)
        return max(week for week in begins if 2 * (self.last_week - week) >= span)

    @property
    def first_week(self) -> int:
        """Oldest week of any behaviour; `last_week` when there is none."""
        weeks = [
            int(rows.week.min())
            for name, rows in self.panels.items()
            if len(rows) and name != "attributes"
        ]
        return min(weeks, default=self.last_week)


def kept(rows: PanelRows, keep: NDArray[np.bool_]) -> PanelRows:
    """Keep some rows; all of them at no cost."""
    return rows if keep.all() else rows.take(keep)


def said_when(rows: PanelRows, measure: str) -> NDArray[np.float64]:
    """Rank the rows of one week that were known at different times: the last, or the greatest."""
    said = rows.measures.get(ORDER_OF.format(measure))
    if said is None and rows.ops[measure] == "max":
        said = rows.measures[measure]
    return np.zeros(len(rows)) if said is None else np.nan_to_num(said)


def words_of(measures: Iterable[str], measure: str) -> list[str]:
    """Name the words of a mask that is several words wide, or the measure itself."""
    heads = {name: name.rpartition("_") for name in measures}
    return [
        name
        for name, (head, _, tail) in heads.items()
        if name == measure or (head == measure and tail.isdigit())
    ]


def united_bits(customer: Any, week: Any, masks: Any) -> tuple[Any, Any, Any]:
    """OR the masks of the same customer and week, so that late days are counted once."""
    order = np.lexsort((week, customer))
    customer, week, masks = customer[order], week[order], masks[order]
    new = np.flatnonzero(np.diff(customer, prepend=-1) | np.diff(week, prepend=-(10**6)))
    return customer[new], week[new], np.bitwise_or.reduceat(masks, new)
