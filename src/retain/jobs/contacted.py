"""Who was contacted before the outcome was known: what became of them is not theirs alone.

A customer who was called and stayed says little of those whom nobody calls. As long as customers
drawn to be left alone can stand for the contacted, the latter are not learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain import actions
from retain.jobs.opening import Company
from retain.weeks import FoldedWeeks

__all__ = ["Contacted", "contacted"]

LEAST_HELD_OUT = 30  # customers left alone, before they stand for those who were contacted
SQLITE = "sqlite:///"
# a list on which nobody did anything changed nobody
WORKED_ON = """
    SELECT customer_id, entered_week AS day, is_holdout FROM items WHERE entered_week IN (
        SELECT entered_week FROM items
        WHERE (state = 'done' AND NOT is_holdout) OR id IN (SELECT item_id FROM treatments))"""


@dataclass(frozen=True)
class Contacted:
    """What acting did to the snapshots that a model could learn from.

    Parameters
    ----------
    set_aside
        Snapshots that are not learnt from, shape (rows,).
    weight
        How many snapshots each stands for where the level is learnt, shape (rows,).
    told
        For the card: how many were contacted and held out, and what was done about it; None where
        nobody was.
    """

    set_aside: Any
    weight: Any
    told: dict[str, Any] | None = None


def contacted(company: Company, folded: FoldedWeeks, when: Any, who: Any, rows: Any) -> Contacted:
    """Find the snapshots whose customers were acted upon before their label was known.

    Parameters
    ----------
    company
        Its treatments table and its action store are looked at, as far as there are any.
    folded
        Everything known by the evening of the training.
    when, who
        Week and customer of each snapshot, shape (rows,).
    rows
        Which of them churn could be learnt from, shape (rows,).
    """
    acts = _acts(company, folded)
    nothing = np.zeros(len(when), dtype=bool)
    if acts.empty:
        return Contacted(nothing, np.ones(len(when)))
    reached = {
        held: _within(acts[acts["is_holdout"] == held], when, who, company.churn.ripe_weeks)
        for held in (False, True)
    }
    treated, held = reached[False] & rows, reached[True] & ~reached[False] & rows
    customers = len(np.unique(who[held]))
    told = {
        "contacted": int(treated.sum()),
        "held_out": int(held.sum()),
        "held_out_customers": customers,
    }
    if not treated.any():
        return Contacted(nothing, np.ones(len(when)))
    if customers < LEAST_HELD_OUT:
        says = (
            f"On {told['contacted']:,} snapshots the customer was on a list that the team worked "
            f"on, or was contacted, before the outcome was known. Only {customers} were left alone "
            f"on purpose, and it takes {LEAST_HELD_OUT} to stand for them: the probability is that "
            "of leaving although the team acts as it did."
        )
        return Contacted(nothing, np.ones(len(when)), {**told, "is_set_aside": False, "says": says})
    stands_for = (treated.sum() + held.sum()) / held.sum()
    says = (
        f"{told['contacted']:,} snapshots whose customer was on a list that the team worked on, or "
        f"was contacted, before the outcome was known are not learnt from; {told['held_out']:,} of "
        f"{customers:,} customers left alone on purpose stand for them, each for {stands_for:.1f} "
        "where the level is learnt. The probability is that of leaving when nobody acts."
    )
    return Contacted(
        treated,
        np.where(held, stands_for, 1.0),
        {**told, "is_set_aside": True, "stands_for": float(stands_for), "says": says},
    )


def _acts(company: Company, folded: FoldedWeeks) -> pd.DataFrame:
    """Give customer (a number), week in which the act could first tell, and whether it was none."""
    found = [*_from_table(company), *_from_store(company)]
    if not found:
        return pd.DataFrame({"customer": [], "week": [], "is_holdout": []})
    acts = pd.concat(found, ignore_index=True)
    place = pd.Series(np.arange(len(folded.customers)), index=folded.customers.astype(str))
    acts["customer"] = place.reindex(acts["customer_id"].astype(str)).to_numpy()
    acts = acts.dropna(subset="customer").astype({"customer": np.int64, "is_holdout": bool})
    return acts[acts["week"] <= folded.last_week]


def _from_table(company: Company) -> list[pd.DataFrame]:
    """Read the company's own record of what it did."""
    tables = company.tables
    if not tables.has("treatments"):
        return []
    drawn = "is_holdout" in tables.columns["treatments"]
    rows = tables.con.sql(
        'SELECT customer_id, CAST("at" AS DATE) AS day, '
        f"{'coalesce(is_holdout, false)' if drawn else 'false'} AS is_holdout FROM treatments"
    ).df()
    rows["week"] = [company.calendar.week_of(one) for one in pd.to_datetime(rows["day"]).dt.date]
    return [rows]


def _from_store(company: Company) -> list[pd.DataFrame]:
    """Read what the lists asked for and what was done beside them."""
    url = company.config.database_url()
    if url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists():
        return []
    with actions.open_store(url) as store:
        listed = pd.DataFrame(
            store.rows(WORKED_ON),
            columns=["customer_id", "day", "is_holdout"],
        )
        done = pd.DataFrame(
            store.rows("SELECT customer_id, at AS day, was_holdout AS is_holdout FROM treatments"),
            columns=["customer_id", "day", "is_holdout"],
        )
    done["is_holdout"] = False  # whatever was drawn, this customer was contacted
    # a list made on the last evening of a week is worked on from the week after
    for rows, later in ((listed, 1), (done, 0)):
        rows["week"] = [
            company.calendar.week_of(date.fromisoformat(str(day)[:10])) + later
            for day in rows["day"]
        ]
    return [one for one in (listed, done) if len(one)]


def _within(acts: pd.DataFrame, when: Any, who: Any, weeks: int) -> Any:
    """Say of each snapshot whether an act fell on its customer within the weeks after it."""
    if acts.empty:
        return np.zeros(len(when), dtype=bool)
    apart = int(max(when.max(), acts["week"].max())) + weeks + 2
    acted = np.sort(acts["customer"].to_numpy() * apart + acts["week"].to_numpy())
    asked = who * apart + when
    after = np.searchsorted(acted, asked, side="right")  # the first act later than the snapshot
    return (after < len(acted)) & (acted[np.minimum(after, len(acted) - 1)] <= asked + weeks)
