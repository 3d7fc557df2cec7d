"""What stands beside a score on the page: contract, people, peers, coverage, weekly lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from retain.jobs.opening import Company
from retain.weeks import FoldedWeeks, History

__all__ = [
    "add_contract",
    "add_people",
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


def add_contract(scores: pd.DataFrame, history: History, there: Any, company: Company) -> None:
    """Show MRR, plan and the derived renewal date."""
    scores["mrr"], scores["renews_at"], scores["plan"] = np.nan, None, None
    scores["term_months"] = np.nan
    if not history.has("subscriptions"):
        return
    contracts = history.subscriptions
    scores["mrr"] = contracts.total("mrr")[0][there]
    if history.categories("subscriptions", "plan"):
        scores["plan"] = history.texts("subscriptions", "plan")[0][there]
    if contracts.has("billing_months"):
        months = contracts.latest("billing_months")[0][there]
        scores["term_months"] = months
        term = months * DAYS_PER_MONTH
        start = contracts.latest("start_day")[0][there]
        today = float(history.as_of_day[0, 0])
        left = term - np.mod(today - start, term)
        running = contracts.total("paid")[0][there] > 0.5
        due = np.where(running, np.round(today + left), np.nan)
        scores["renews_at"] = [
            None if np.isnan(d) else str(date.fromordinal(int(d) + 719163)) for d in due
        ]


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


def weekly_lines(folded: FoldedWeeks, keep: Any, week: int) -> pd.DataFrame:
    """Lay out the weeks of the page's charts, one row per customer and week with anything."""
    first = week - CHART_WEEKS + 1
    frames = []
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
        frames.append(
            pd.DataFrame({"at": rows.customer[use], "week": rows.week[use], name: values[use]})
            .groupby(["at", "week"], sort=True)[name]
            .agg("last" if name == "nps" else "sum")
        )
    if "subscriptions" in folded.panels:
        rows = folded.panels["subscriptions"]
        grid = np.zeros(
            (max(week - min(int(rows.week.min(initial=week)), first), 0) + 1, len(keep))
        )
        start = week - len(grid) + 1
        use = rows.week <= week
        np.add.at(grid, (rows.week[use] - start, rows.customer[use]), rows.measures["mrr"][use])
        mrr = np.cumsum(grid, axis=0)[first - start :]
        who = np.flatnonzero(keep)
        weeks, people = np.meshgrid(np.arange(first, week + 1), who, indexing="ij")
        frames.append(
            pd.Series(
                mrr[:, who].ravel(),
                index=pd.MultiIndex.from_arrays(
                    [people.ravel(), weeks.ravel()], names=["at", "week"]
                ),
                name="mrr",
            )
        )
    if not frames:
        return pd.DataFrame(columns=["customer_id", "week_ends_on"])
    table = pd.concat(frames, axis=1).sort_index().reset_index()
    days = {int(w): str(folded.calendar.last_day(int(w))) for w in table["week"].unique()}
    table.insert(0, "customer_id", folded.customers[table["at"]].astype(str))
    table.insert(1, "week_ends_on", table["week"].map(days))
    return table.drop(columns=["at", "week"])


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
