"""Until when the data reach, and which dates are typing mistakes rather than news."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, datetime

__all__ = ["format_of", "newest_day"]

SHORTEST_HOLE_DAYS = 28
TIMES_OTHER_HOLES = 4
MOST_TYPOS_SHARE = 0.001
FEWEST_ROWS = 20
FORMATS = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y%m%d", "%d %b %Y", "%b %d, %Y"),
    *("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S"),
    *("%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%d-%b-%Y", "%d-%b-%y"),
)


def newest_day(days: Sequence[tuple[date, int]], today: date | None) -> date | None:
    """Find the newest day that the data reach, leaving out far-future typing mistakes.

    Parameters
    ----------
    days
        Each day with the number of rows dated on it, in any order; all sources together.
    today
        The present day in the company's zone; None leaves the first rule out.

    Returns
    -------
    date or None
        None when there are no days.

    Notes
    -----
    Two rules, both about what cannot have happened. A date after today has not happened, so it is
    left out, unless such dates are at least half of all (then the world is a simulated one). And a
    few last rows (one, or a thousandth of all rows, whichever is more) are mistakes when they
    follow a hole of at least four weeks without a single row in any source, four times longer than
    any hole before it, given at least 20 rows. Rows left out are set aside as "dated after the
    export", never dropped in silence.

    Examples
    --------
    >>> log = [(date(2024, 1, day), 9) for day in range(1, 31)]
    >>> newest_day([*log, (date(2042, 1, 3), 1)], None)
    datetime.date(2024, 1, 30)
    """
    counted = sorted((day, count) for day, count in days if count > 0)
    if not counted:
        return None
    total = sum(count for _, count in counted)
    if today is not None:
        past = [(day, count) for day, count in counted if day <= today]
        if sum(count for _, count in past) > total / 2:
            counted = past
    most = max(1, int(total * MOST_TYPOS_SHARE)) if total >= FEWEST_ROWS else 0
    holes = [(later[0] - earlier[0]).days for earlier, later in itertools.pairwise(counted)]
    longest = [0]  # the longest hole before each day
    for hole in holes:
        longest.append(max(longest[-1], hole))
    tail, end = 0, len(counted) - 1
    for place in range(len(counted) - 1, 0, -1):
        tail += counted[place][1]
        if tail > most:
            break
        hole, before = holes[place - 1], longest[place - 1]
        if hole >= SHORTEST_HOLE_DAYS and hole >= TIMES_OTHER_HOLES * before:
            end = place - 1
    return counted[end][0]


def format_of(values: Sequence[str]) -> str | None:
    """Guess how dates are written that are not ISO 8601.

    Parameters
    ----------
    values
        Some of them, trimmed.

    Returns
    -------
    str or None
        The first common format that fits every value; None when there is none, or no value.

    Examples
    --------
    >>> format_of(["31/01/2024", "02/02/2024"])
    '%d/%m/%Y'
    """
    return next((f for f in FORMATS if values and all(_fits(value, f) for value in values)), None)


def _fits(value: str, written: str) -> bool:
    try:
        datetime.strptime(value, written)  # only whether it parses matters, no zone is meant
    except ValueError:
        return False
    return True
