"""Until when the data reach, and which dates are typing mistakes rather than news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

__all__ = ["newest_day"]

LONGEST_HOLE_DAYS = 91
MOST_TYPOS_SHARE = 0.001
FEWEST_ROWS = 20


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
    few last rows (one, or a thousandth of all rows, whichever is more) that follow a hole of more
    than 91 days without a single row in any source are mistakes, given at least 20 rows. Rows left
    out are set aside as "dated after the export", never dropped in silence.

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
    tail, end = 0, len(counted) - 1
    for index in range(len(counted) - 1, 0, -1):
        tail += counted[index][1]
        if tail > most:
            break
        if (counted[index][0] - counted[index - 1][0]).days > LONGEST_HOLE_DAYS:
            end = index - 1
    return counted[end][0]
