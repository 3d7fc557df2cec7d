"""What stands beside a score on the page: contract, people, peers, coverage, weekly lines."""

from __future__ import annotations

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
    "weekly_lines",
]

CHART_WEEKS = 52
DAYS_PER_MONTH = 365.25 / 12.0


def peer_groups(history: History, there: Any) -> Any:
    """Group customers with their like: by segment, else by plan, else all together."""
    for name in ("segment", *history.attribute_names()):
        if name == "segment" and name in history.attribute_names():
            return np.asarray(history.attribute(name)[0], dtype=object)[there]
    if history.has("subscriptions") and history.categories("subscriptions", "plan"):
        return history.texts("subscriptions", "plan")[0][there]
    return np.full(int(there.sum()), None, dtype=object)


def add_contract(scores: pd.DataFrame, history: History, there: Any, company: Company) -> None:
    """Show MRR, plan and the derived renewal date."""
    scores["mrr"], scores["renews_at"], scores["plan"] = np.nan, None, None
    if not history.has("subscriptions"):
        return
    contracts = history.subscriptions
    scores["mrr"] = contracts.total("mrr")[0][there]
    if history.categories("subscriptions", "plan"):
        scores["plan"] = history.texts("subscriptions", "plan")[0][there]
    if contracts.has("billing_months"):
        term = contracts.latest("billing_months")[0][there] * DAYS_PER_MONTH
        start = contracts.latest("start_day")[0][there]
        today = float(history.as_of_day[0, 0])
        left = term - np.mod(today - start, term)
        running = contracts.total("paid")[0][there] > 0.5
        due = np.where(running, np.round(today + left), np.nan)
        scores["renews_at"] = [
            None if np.isnan(d) else str(date.fromordinal(int(d) + 719163)) for d in due
        ]


def add_people(scores: pd.DataFrame, company: Company) -> None:
    """Show segment, plan and owner as exported today: for reading, never for learning."""
    brought = company.tables.columns["customers"]
    names = [name for name in ("segment", "owner", "plan") if name in brought]
    for name in ("segment", "owner"):
        scores[name] = None
    if not names:
        return
    listed = ", ".join(f'last("{name}") AS "{name}"' for name in names)
    frame = company.tables.con.sql(
        f"SELECT customer_id, {listed} FROM customers GROUP BY customer_id"
    ).df()
    frame = frame.set_index(frame["customer_id"].astype(str))
    for name in names:
        if name == "plan" and scores["plan"].notna().any():
            continue
        found = frame[name].reindex(scores["customer_id"]).to_numpy(dtype=object)
        scores[name] = [v if isinstance(v, str) else None for v in found]


def coverage(folded: FoldedWeeks, history: History, there: Any) -> tuple[Any, Any]:
    """Share of the panels that know the customer, and days since anything was last known."""
    panels = ("usage", "interactions", "surveys", "payments", "subscriptions")
    present = [n for n in panels if n in folded.panels]
    seen = np.zeros(len(there))
    newest = np.full(len(there), -np.inf)
    for name in present:
        rows = folded.panels[name]
        known = np.bincount(rows.customer, minlength=len(there)) > 0
        seen += known
        if "last_day" in rows.measures:
            newest = np.fmax(
                newest, np.nan_to_num(history.panel(name).latest("last_day")[0], nan=-np.inf)
            )
    fresh = float(history.as_of_day[0, 0]) - newest
    return (
        (seen / max(len(present), 1))[there],
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


def keep_attributes(company: Company, day: date) -> None:
    """Keep this week's attributes, so that a later training knows their history."""
    tables = company.tables
    brought = tables.columns["customers"]
    known = ("segment", "plan", "region", "industry", "seats")
    names: list[str] = [n for n in known if n in brought]
    names += [n for n in tables.attributes if n not in names]
    names = [n for n in names if n not in tables.constant]
    if names and day >= company.calendar.last_day(
        company.calendar.last_complete_week(tables.data_until)
    ):
        listed = ", ".join(f'last("{n}") AS "{n}"' for n in names)
        frame = tables.con.sql(
            f"SELECT customer_id, {listed} FROM customers GROUP BY customer_id ORDER BY customer_id"
        ).df()
        company.store.keep_attributes(day, frame)
