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

from retain.weeks.panel import Missing, Panel
from retain.weeks.rows import FoldedWeeks

__all__ = ["History"]

Array = NDArray[np.float64]


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
