"""A customer's usual behaviour, read from the weeks that the last run kept: without folding again.

What happens between two weekly runs is judged against this: on which days a customer is usually
active, how often there is a contact, how hard those are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import StoreError
from retain.weeks.calendar import DAYS_PER_WEEK, Calendar
from retain.weeks.kept import read_json, read_week

__all__ = ["UsualWeeks", "read_usual"]

_MONDAY_SHIFT = 3  # 1970-01-01 was a Thursday; bit 0 of a day mask is Monday
_SUMS = {
    "usage": ("events",),
    "interactions": ("contacts", "hard"),
    "payments": ("failed",),
}


@dataclass(frozen=True)
class UsualWeeks:
    """The last weeks of every customer, as known at the end of the newest.

    Parameters
    ----------
    customers
        Ids as text, ascending, shape (customers,).
    last_day
        The newest week's last day, in days since 1970-01-01.
    active
        Whether there was any use on a day, oldest day first, shape (customers, 7 x weeks); None
        when the company has no usage.
    sums
        Measure (events, contacts, hard, failed) to its weekly totals, oldest week first, shape
        (customers, weeks); a measure that the company does not have is absent.
    nps
        Newest NPS answer, nan where none, shape (customers,); None without surveys.
    nps_week
        How many weeks ago it was given, nan where none.
    """

    customers: NDArray[Any]
    last_day: int
    active: NDArray[np.bool_] | None
    sums: dict[str, NDArray[np.float64]]
    nps: NDArray[np.float64] | None = None
    nps_week: NDArray[np.float64] | None = None

    @property
    def weeks(self) -> int:
        """How many weeks are held."""
        if self.active is not None:
            return self.active.shape[1] // DAYS_PER_WEEK
        return next((totals.shape[1] for totals in self.sums.values()), 0)


def read_usual(store: Path, calendar: Calendar, last_week: int, weeks: int = 26) -> UsualWeeks:
    """Read the newest weeks of every customer from the store.

    Parameters
    ----------
    store
        The folder given to `fold_tables`.
    calendar
        How days become weeks.
    last_week
        Newest week to read; what became known after its end is not read.
    weeks
        How many weeks back, that one included.

    Raises
    ------
    StoreError
        When no week is kept there, or one cannot be read.
    """
    columns = {
        "usage": ("days", "events"),
        "interactions": ("contacts", "hard"),
        "payments": ("failed",),
        "surveys": ("nps_last", "nps_last__order"),
    }
    numbered = np.array(read_json(store / "weeks" / "dictionaries.json").get("customers", []), str)
    panels = {
        panel: _panel(store / "weeks" / panel, calendar, last_week, weeks, wanted, numbered)
        for panel, wanted in columns.items()
    }
    brought = {panel: rows for panel, rows in panels.items() if rows is not None}
    if not brought:
        raise StoreError(
            f"store: no weeks are kept in {store / 'weeks'}, so what is usual is not known. Score "
            "a week first: retain score CONFIG"
        )
    ids = [rows["customer_id"] for rows in brought.values()]
    customers = np.unique(np.concatenate(ids).astype(str))
    first = last_week - weeks + 1
    sums: dict[str, NDArray[np.float64]] = {}
    for panel, names in _SUMS.items():
        for name in names:
            if panel in brought and name in brought[panel]:
                sums[name] = _totals(brought[panel], name, customers, first, weeks)
    active = None
    if "usage" in brought:
        active = _days(brought["usage"], customers, calendar, first, weeks)
    nps = week = None
    if "surveys" in brought and "nps_last" in brought["surveys"]:
        nps, week = _newest_answer(brought["surveys"], customers, last_week)
    return UsualWeeks(customers, calendar.last_day_number(last_week), active, sums, nps, week)


def _panel(
    folder: Path,
    calendar: Calendar,
    last_week: int,
    weeks: int,
    wanted: tuple[str, ...],
    customers: NDArray[Any],
) -> dict[str, Any] | None:
    """Rows of one panel's newest weeks; None when the company does not have it."""
    if not (folder / "weeks.json").exists():
        return None
    book = read_json(folder / "weeks.json").get("weeks", {})
    parts: dict[str, list[Any]] = {}
    for week in range(last_week - weeks + 1, last_week + 1):
        path = folder / f"{calendar.last_day(week)}.arrow"
        if not path.exists() and str(week) not in book:
            continue  # a week without a single row
        try:
            there = read_week(path, ("customer", "lag", *wanted))
            there["customer_id"] = customers[there.pop("customer")]
        except (OSError, ValueError, IndexError) as problem:  # Arrow's errors are of these
            raise StoreError(
                f"store: the kept week {path} cannot be read ({str(problem)[:200]}). Score again: "
                "the week is then folded anew."
            ) from problem
        known = week + there["lag"] <= last_week
        there["week"] = np.full(len(known), week)
        for name, values in there.items():
            parts.setdefault(name, []).append(values[known])
    if not parts:
        return {"customer_id": np.zeros(0, dtype=str), "week": np.zeros(0), "lag": np.zeros(0)}
    rows = {name: np.concatenate(values) for name, values in parts.items()}
    if "days" in rows:
        rows["days"] = rows["days"].astype(np.int64)
    return rows


def _totals(
    rows: dict[str, Any], name: str, customers: Any, first: int, weeks: int
) -> NDArray[np.float64]:
    """Add up a measure by customer and week."""
    out = np.zeros((len(customers), weeks))
    at = np.searchsorted(customers, rows["customer_id"])
    values = np.nan_to_num(rows[name].astype(np.float64))
    np.add.at(out, (at, rows["week"].astype(np.int64) - first), values)
    return out


def _days(
    rows: dict[str, Any], customers: Any, calendar: Calendar, first: int, weeks: int
) -> NDArray[np.bool_]:
    """Unfold the day masks of weeks into days, oldest first."""
    masks = np.zeros((len(customers), weeks), dtype=np.int64)
    if "days" in rows:
        at = np.searchsorted(customers, rows["customer_id"])
        np.bitwise_or.at(masks, (at, rows["week"].astype(np.int64) - first), rows["days"])
    begins = calendar.last_day_number(first) - DAYS_PER_WEEK + 1
    bits = (begins + np.arange(DAYS_PER_WEEK) + _MONDAY_SHIFT) % DAYS_PER_WEEK
    days = (masks[:, :, None] >> bits[None, None, :]) & 1
    return days.reshape(len(customers), weeks * DAYS_PER_WEEK).astype(bool)


def _newest_answer(
    rows: dict[str, Any], customers: Any, last_week: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find each customer's newest NPS answer and how many weeks ago it was given."""
    score, week = np.full(len(customers), np.nan), np.full(len(customers), np.nan)
    values = rows["nps_last"].astype(np.float64)
    order = rows.get("nps_last__order", rows["week"]).astype(np.float64)
    given = np.flatnonzero(~np.isnan(values))
    given = given[np.argsort(order[given], kind="stable")]  # the newest is written last
    at = np.searchsorted(customers, rows["customer_id"][given])
    score[at], week[at] = values[given], last_week - rows["week"][given]
    return score, week
