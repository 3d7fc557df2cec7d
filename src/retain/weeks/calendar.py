"""How days become weeks: the only place that knows on which weekday a week ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

__all__ = ["DAYS_PER_WEEK", "WEEKDAYS", "Calendar"]

DAYS_PER_WEEK = 7
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EPOCH = date(1970, 1, 1)  # a Thursday


@dataclass(frozen=True)
class Calendar:
    """Whole weeks counted from a fixed anchor.

    Parameters
    ----------
    week_ends_on
        Name of the weekday that closes a week, for example ``"sunday"``.

    Examples
    --------
    >>> calendar = Calendar("sunday")
    >>> week = calendar.week_of(date(1998, 1, 18))
    >>> calendar.last_day(week), calendar.week_of(date(1998, 1, 19)) - week
    (datetime.date(1998, 1, 18), 1)
    """

    week_ends_on: str = "sunday"

    @property
    def anchor(self) -> int:
        """First day of week 0, in days since 1970-01-01."""
        return (WEEKDAYS.index(self.week_ends_on) + 1 - _EPOCH.weekday()) % DAYS_PER_WEEK

    def week_of(self, day: date) -> int:
        """Return the number of the week that holds `day`."""
        return ((day - _EPOCH).days - self.anchor) // DAYS_PER_WEEK

    def last_day(self, week: int) -> date:
        """Return the last day of `week`: the `as_of` of that week."""
        return _EPOCH + timedelta(days=self.last_day_number(week))

    def last_day_number(self, week: int) -> int:
        """Return the last day of `week` in days since 1970-01-01."""
        return int(week) * DAYS_PER_WEEK + self.anchor + DAYS_PER_WEEK - 1

    def last_complete_week(self, day: date) -> int:
        """Return the newest week that has fully passed on the evening of `day`."""
        week = self.week_of(day)
        return week if self.last_day(week) == day else week - 1

    def week_sql(self, day: str) -> str:
        """Return SQL for the week number of `day`, an expression in days since 1970-01-01."""
        # shifted far above zero so that integer division floors in every dialect
        return f"(CAST((({day}) - {self.anchor} + 7000000) // 7 AS INTEGER) - 1000000)"
