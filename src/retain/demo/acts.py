"""The written record of what the company itself does: cost lines and treatments."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from retain.demo.contracts import Told, moments
from retain.demo.population import OWNERS
from retain.demo.weekly import PAID

__all__ = ["costs", "treatments"]

COST_SHARES = {  # kind -> share of the month's recurring revenue, already in the gross margin?
    "hosting": (0.12, True),
    "support": (0.08, True),
    "retention": (0.03, False),
    "customer_success": (0.05, False),
}


def costs(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per cost line: company-wide ones by month, acquisition by customer."""
    last = dt.date(1970, 1, 1) + dt.timedelta(days=told.last_day)
    start = dt.date(1970, 1, 1) + dt.timedelta(days=told.life.first_day)
    ends = pd.date_range(start, last, freq="ME")
    week = ((ends - pd.Timestamp(start)).days // 7).to_numpy()
    paid = told.record.status[week] == PAID
    revenue = (told.record.mrr[week] * paid).sum(axis=1)
    lines = [
        pd.DataFrame(
            {
                "customer_id": pd.array([None] * len(ends), dtype="str"),
                "kind": kind,
                "amount": np.round(share * revenue * rng.normal(1, 0.08, len(ends)).clip(0.5), 2),
                "already_in_cogs": in_cogs,
                "date": ends,
            }
        )
        for kind, (share, in_cogs) in COST_SHARES.items()
    ]
    joined = told.events("joined")
    joined = joined[joined["day"] >= told.life.first_day]
    who = joined["who"].to_numpy()
    lines.append(
        pd.DataFrame(
            {
                "customer_id": pd.array(told.ids[who], dtype="str"),
                "kind": "acquisition",
                "amount": told.people.acquisition_cost[who],
                "already_in_cogs": False,
                "date": pd.to_datetime(joined["day"].to_numpy(), unit="D"),
            }
        )
    )
    table = pd.concat(lines, ignore_index=True)
    table["date"] = table["date"].astype("datetime64[s]")
    return table.sort_values("date", kind="stable", ignore_index=True)


def treatments(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per action of the team, mostly towards those whose usage fell; it has no effect."""
    weeks = np.arange(min(40, told.life.weeks // 2), told.life.weeks)
    whole = told.record.status[weeks] == PAID
    whole &= (told.service()[0][weeks] == 0) & (told.service()[1][weeks] == 7)
    worry = told.record.terms[weeks, 0] + told.record.terms[weeks, 1]
    chance = np.clip(0.004 * np.exp(0.8 * worry), 0, 0.08) * whole
    week, who = np.nonzero(rng.random(chance.shape) < chance)
    holdout = rng.random(len(who)) < 0.15
    day = told.life.day_of(int(weeks[0])) + 7 * week + rng.integers(0, 5, len(week))
    outcome = rng.choice(["reached", "no_answer", "declined"], len(who), p=(0.5, 0.35, 0.15))
    return pd.DataFrame(
        {
            "customer_id": told.ids[who],
            "action": rng.choice(["call", "email", "training", "discount"], len(who)),
            "owner": np.asarray(OWNERS)[told.people.owner[who]],
            "is_holdout": holdout,
            "outcome": pd.Series(outcome, dtype="str").where(~holdout),
            "at": moments(day, rng),
        }
    ).sort_values("at", kind="stable", ignore_index=True)
