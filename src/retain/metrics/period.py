"""Periods of whole days: which instants belong to one, its name, and the ones before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

from retain.errors import TableError

__all__ = ["Period"]


@dataclass(frozen=True, order=True)
class Period:
    """Days from `start` up to, and without, `end`; instants are local to the tables' zone.

    Parameters
    ----------
    start
        First day.
    end
        First day that no longer belongs.

    Raises
    ------
    TableError
        When no day belongs to it.

    Examples
    --------
    >>> october = Period.month("2026-10")
    >>> october.label, october.days, october.previous().label
    ('2026-10', 31, '2026-09')
    >>> Period(date(2026, 10, 5), date(2026, 10, 12)).previous(2).label
    '2026-09-21..2026-09-27'
    """

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise TableError(
                f"a period should end after it starts; found start {self.start} and end {self.end} "
                "(the end is the first day that no longer belongs)"
            )

    @classmethod
    def month(cls, text: str) -> Period:
        """Make the calendar month that is written as ``"2026-10"``."""
        if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
            raise TableError(
                f"a month should be written as YYYY-MM, for example 2026-10; found {text!r}"
            )
        start = date.fromisoformat(f"{text}-01")
        return cls(start, _months_later(start, 1))

    @property
    def days(self) -> int:
        """How many days belong to it."""
        return (self.end - self.start).days

    @property
    def label(self) -> str:
        """Its name: a calendar month as ``2026-10``, else first and last day."""
        if self.months:
            return (
                f"{self.start:%Y-%m}"
                if self.months == 1
                else f"{self.start:%Y-%m}.." + (f"{self.end - timedelta(1):%Y-%m}")
            )
        return f"{self.start}..{self.end - timedelta(1)}"

    def previous(self, n: int = 1) -> Period:
        """Step back `n` periods: calendar months where it is made of them, else equal days."""
        if months := self.months:
            start = _months_later(self.start, -n * months)
            return Period(start, _months_later(start, months))
        back = timedelta(self.days * n)
        return Period(self.start - back, self.end - back)

    def holds(self, instant: str) -> str:
        """Write the SQL condition that the instant, an SQL expression, belongs to the period."""
        return (
            f"({instant} >= TIMESTAMP '{self.start} 00:00:00' "
            f"AND {instant} < TIMESTAMP '{self.end} 00:00:00')"
        )

    @property
    def months(self) -> int:
        """How many whole calendar months it is made of; 0 when it is not."""
        if self.start.day != 1 or self.end.day != 1:
            return 0
        return 12 * (self.end.year - self.start.year) + self.end.month - self.start.month


def _months_later(first: date, months: int) -> date:
    at = 12 * first.year + first.month - 1 + months
    return date(at // 12, at % 12 + 1, 1)
