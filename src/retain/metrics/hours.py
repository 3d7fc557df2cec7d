"""When the desk is open: a week of hours, holidays and a zone, laid out as spans of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd

from retain.errors import TableError

__all__ = ["WEEKDAYS_9_TO_17", "Schedule"]

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Schedule:
    """Hours in which the desk is open.

    Parameters
    ----------
    hours
        Weekday (Monday 0 to Sunday 6) to opening and closing time; a day that is not named is
        closed. Closing at 00:00 means midnight, the end of that day.
    holidays
        Days on which it stays closed.
    timezone
        Zone of these hours, as ``"Europe/Rome"``; None: that of the tables.

    Raises
    ------
    TableError
        When a day is unknown or closes before it opens, or the zone is unknown.

    Examples
    --------
    >>> desk = Schedule({day: (time(9), time(17)) for day in range(5)}, {date(2026, 12, 25)})
    >>> spans = desk.spans(date(2026, 12, 24), date(2026, 12, 28))  # a Thursday to a Monday
    >>> spans.starts.dt.day.to_list(), spans.before_us.to_list()
    ([24, 28], [0, 28800000000])
    """

    hours: Mapping[int, tuple[time, time]]
    holidays: frozenset[date] | set[date] = field(default_factory=frozenset)
    timezone: str | None = None

    def __post_init__(self) -> None:
        for day, (opens, closes) in self.hours.items():
            if day not in range(7) or (closes <= opens and closes != time(0)):
                raise TableError(
                    f"schedule: weekday {day} from {opens} to {closes}; expected a weekday from 0 "
                    "(Monday) to 6 and a closing time after the opening time (00:00: midnight)"
                )
        if not self.hours:
            raise TableError("schedule: it is never open; name the hours of at least one weekday")
        _zone(self.timezone)

    def spans(self, first: date, last: date, timezone: str = "UTC") -> pd.DataFrame:
        """Lay out the open spans of some days, in the tables' local time.

        Parameters
        ----------
        first, last
            Days, both included.
        timezone
            Zone of the tables.

        Returns
        -------
        DataFrame
            One row per span, ascending: `starts` (naive, local to the tables), `length_us` and
            `before_us`, the microseconds open in earlier spans.
        """
        desk, tables = _zone(self.timezone or timezone), _zone(timezone)
        rows = []
        before = 0
        day = first
        while day <= last:
            if day.weekday() in self.hours and day not in self.holidays:
                opens, closes = self.hours[day.weekday()]
                end = day + timedelta(1) if closes == time(0) else day
                ends = [
                    datetime.combine(at, clock, desk).astimezone(tables).replace(tzinfo=None)
                    for at, clock in ((day, opens), (end, closes))
                ]
                length = (ends[1] - ends[0]) // MICROSECOND
                rows.append((ends[0], length, before))
                before += length
            day += timedelta(1)
        made = pd.DataFrame(rows, columns=["starts", "length_us", "before_us"])
        return made.astype({"starts": "datetime64[us]", "length_us": "int64", "before_us": "int64"})

    @property
    def plain(self) -> dict[str, object]:
        """What to write down of it."""
        return {
            "hours": {day: f"{a:%H:%M}-{b:%H:%M}" for day, (a, b) in sorted(self.hours.items())},
            "holidays": sorted(map(str, self.holidays)),
            "timezone": self.timezone,
        }


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise TableError(
            f"schedule: {name!r} is no time zone; write one as Europe/Rome or UTC"
        ) from None


WEEKDAYS_9_TO_17 = Schedule({day: (time(9), time(17)) for day in range(5)})
