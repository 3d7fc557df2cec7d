"""What stands beside a score on the page: contract, people, peers, coverage, weekly lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from retain.jobs.opening import Company
from retain.weeks import FoldedWeeks, History

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "add_people",
    "contract_of",
    "coverage",
    "keep_attributes",
    "peer_groups",
    "people",
    "weekly_lines",
]

CHART_WEEKS = 52
DAYS_PER_MONTH = 365.25 / 12.0


def peer_groups(history: History, there: Any) -> Any:
    """Group customers with their like: by segment, else by plan, else all together."""
    if "segment" in history.attribute_names():
        return np.asarray(history.attribute("segment")[0], dtype=object)[there]
    if history.has("subscriptions") and history.categories("subscriptions", "plan"):
        return history.texts("subscriptions", "plan")[0][there]
    return np.full(int(there.sum()), None, dtype=object)


def contract_of(history: History, there: Any) -> tuple[dict[str, Any], Any]:
    """Give MRR, term, derived day of renewal and plan of the customers there.

    Returns
    -------
    figures : dict
        mrr, term_months and renewal_day (days since 1970-01-01), shape (rows,); nan where there is
        none.
    plans : array of str or None, shape (rows,)
    """
    n = int(there.sum())
    figures = {name: np.full(n, np.nan) for name in ("mrr", "term_months", "renewal_day")}
    plans = np.full(n, None, dtype=object)
    if not history.has("subscriptions"):
        return figures, plans
    contracts = history.subscriptions
    figures["mrr"] = contracts.total("mrr")[0][there]
    if history.categories("subscriptions", "plan"):
        plans = history.texts("subscriptions", "plan")[0][there]
    if contracts.has("billing_months"):
        months = contracts.latest("billing_months")[0][there]
        figures["term_months"] = months
        term = months * DAYS_PER_MONTH
        start = contracts.latest("start_day")[0][there]
        today = float(history.as_of_day[0, 0])
        left = term - np.mod(today - start, term)
        running = contracts.total("paid")[0][there] > 0.5
        figures["renewal_day"] = np.where(running, np.round(today + left), np.nan)
    return figures, plans


def add_people(scores: pd.DataFrame, company: Company, day: date) -> None:
    """Show segment, plan and owner as exported, newest known on `day`: for reading only."""
    for name in ("segment", "owner"):
        scores[name] = None
    brought = company.tables.columns["customers"]
    names = [name for name in ("segment", "owner", "plan") if name in brought]
    if not names:
        return
    frame = _newest_rows(company, names, day).set_index("customer_id")
    for name in names:
        if name == "plan" and scores["plan"].notna().any():
            continue
        found = frame[name].reindex(scores["customer_id"]).to_numpy(dtype=object)
        scores[name] = [v if isinstance(v, str) else None for v in found]


def coverage(
    folded: FoldedWeeks, history: History, there: Any, expected: tuple[str, ...]
) -> tuple[Any, Any]:
    """Share of the expected panels that know the customer, and days since anything was known."""
    seen = np.zeros(len(there))
    newest = np.full(len(there), -np.inf)
    for name in expected:
        if name not in folded.panels:
            continue
        rows = folded.panels[name]
        seen += np.bincount(rows.customer, minlength=len(there)) > 0
        if "last_day" in rows.measures:
            newest = np.fmax(
                newest, np.nan_to_num(history.panel(name).latest("last_day")[0], nan=-np.inf)
            )
    fresh = float(history.as_of_day[0, 0]) - newest
    return (
        (seen / max(len(expected), 1))[there],
        np.where(np.isfinite(fresh), fresh, np.nan)[there],
    )


def weekly_lines(folded: FoldedWeeks, keep: Any, week: int) -> pa.Table:
    """Lay out the weeks of the page's charts, one row per customer and week with anything."""
    import pyarrow as pa

    first = week - CHART_WEEKS + 1
    shape = (len(keep), CHART_WEEKS)
    grids = {}
    for panel, measure, name in (
        ("usage", "events", "events"),
        ("interactions", "contacts", "contacts"),
        ("surveys", "nps_last", "nps"),
        ("payments", "spend", "spend"),
    ):
        rows = folded.panels.get(panel)
        if rows is None or measure not in rows.measures:
            continue
        values = rows.measures[measure]
        use = (rows.week >= first) & (rows.week <= week) & keep[rows.customer] & ~np.isnan(values)
        place = rows.customer[use].astype(np.int64) * CHART_WEEKS + (rows.week[use] - first)
        grid = np.full(shape, np.nan)
        if name == "nps":
            grid.reshape(-1)[place] = values[use]  # of several answers the last one stays
        else:
            there = np.bincount(place, minlength=grid.size) > 0
            total = np.bincount(place, values[use], minlength=grid.size)
            grid.reshape(-1)[there] = total[there]
        grids[name] = grid
    if "subscriptions" in folded.panels:
        rows = folded.panels["subscriptions"]
        use = rows.week <= week
        at = np.maximum(rows.week[use].astype(np.int64) - first, -1) + 1  # what was before, in one
        place = rows.customer[use].astype(np.int64) * (CHART_WEEKS + 1) + at
        size = len(keep) * (CHART_WEEKS + 1)
        moved = np.bincount(place, rows.measures["mrr"][use], minlength=size)
        mrr = np.cumsum(moved.reshape(len(keep), -1), axis=1)[:, 1:]
        grids["mrr"] = np.where(keep[:, None], mrr, np.nan)
    known = np.zeros(shape, dtype=bool)
    for grid in grids.values():
        known |= ~np.isnan(grid)
    who, when = np.nonzero(known)
    days = [str(folded.calendar.last_day(first + number)) for number in range(CHART_WEEKS)]
    found = {
        name: pa.DictionaryArray.from_arrays(pa.array(at, pa.int32()), pa.array(texts, pa.string()))
        for name, at, texts in (
            ("customer_id", who, [str(one) for one in folded.customers]),
            ("week_ends_on", when, days),
        )
    }
    return pa.table(found | {name: grid[who, when] for name, grid in grids.items()})


def keep_attributes(company: Company) -> None:
    """Keep a copy of the attributes as exported, so that a later training knows their history.

    A copy counts from the last day of the data it came with: it tells nothing about earlier weeks.
    """
    tables = company.tables
    brought = tables.columns["customers"]
    known = ("segment", "plan", "region", "industry", "seats")
    names = [name for name in known if name in brought]
    names += [name for name in tables.attributes if name not in names]
    names = [name for name in names if name not in tables.constant]
    if names:
        day = tables.data_until
        company.store.keep_attributes(day, _newest_rows(company, names, day))


def people(company: Company, names: Sequence[str], day: date) -> pd.DataFrame:
    """Give what is exported about customers, newest known on `day`, by customer_id.

    Columns that were not brought hold nothing.
    """
    brought = [name for name in names if name in company.tables.columns["customers"]]
    frame = _newest_rows(company, brought, day).set_index("customer_id")
    return frame.reindex(columns=list(names)).astype(object)


def _newest_rows(company: Company, names: Sequence[str], day: date) -> pd.DataFrame:
    """Give each customer's newest row known on the evening of `day`, whatever the order of rows."""
    brought = company.tables.columns["customers"]
    stamps = [name for name in ("valid_from", "recorded_at") if name in brought]
    known = " AND ".join(f"({s} IS NULL OR {s} < DATE '{day}' + 1)" for s in stamps) or "true"
    listed = ", ".join(f'"{name}"' for name in names)
    newest_first = ", ".join([*(f"{stamp} DESC NULLS LAST" for stamp in stamps), listed])
    return company.tables.con.sql(
        f"SELECT customer_id, {listed} FROM customers WHERE {known} QUALIFY row_number() OVER "
        f"(PARTITION BY customer_id ORDER BY {newest_first}) = 1 ORDER BY customer_id"
    ).df()
