"""The weeks as lived: `step` run from long before the data begin to the export, and recorded.

Simulating is cheap, so a state of the past is not stored but lived again (`Life.state_at`): the
same seed gives the same weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retain.demo.population import Floats, Ints, People, draw_people
from retain.demo.weekly import DAYS, GONE, LOST, Happened, Hazard, State, first_state, step

__all__ = ["Life", "Record"]

BURN_IN_WEEKS = 208
CANDIDATES = 1.9  # per customer wanted; those gone before the data begin are left out


@dataclass(frozen=True)
class Record:
    """What the tables are written from; arrays have shape (weeks, customers)."""

    events: pd.DataFrame  # who, kind, day, week, mrr, plan, involuntary, collected, failed
    status: Ints
    usage: Floats  # log of usage against the customer's own level
    severity: Floats
    hard: Floats  # how likely an episode was
    mood: Floats
    mrr: Floats
    terms: Floats  # (weeks, themes, customers): the log-odds each week began with
    final: State


@dataclass(frozen=True)
class Life:
    """One company's whole life, repeatable from its seed."""

    n_customers: int
    weeks: int
    first_day: int  # day number of the first day of week 0, where the data begin
    seed: int
    hazard: Hazard

    def day_of(self, week: int) -> int:
        """Return the day number on which a week begins."""
        return self.first_day + 7 * week

    def state_at(self, week: int) -> tuple[People, State]:
        """Return the customers and their states at the end of a week, by living it again."""
        people, state, rng, _ = self._until_data_begin()
        for w in range(week + 1):
            state, _ = step(people, state, w, self.day_of(w), self.hazard, rng)
        return people, state

    def record(self) -> tuple[People, Record]:
        """Return the customers and everything the tables are written from."""
        people, state, rng, events = self._until_data_begin()
        kept: dict[str, list[npt.NDArray[Any]]] = {}
        for w in range(self.weeks):
            state, happened = step(people, state, w, self.day_of(w), self.hazard, rng)
            events.append(_events(w, state, happened))
            for name, value in (
                ("status", state.status.astype(np.int8)),
                ("usage", state.level - state.decline),
                ("severity", happened.severity),
                ("hard", happened.hard),
                ("mood", state.mood),
                ("mrr", state.mrr),
                ("terms", happened.terms),
            ):
                kept.setdefault(name, []).append(
                    value.astype(np.float32) if value.dtype == float else value
                )
        arrays: dict[str, Any] = {name: np.stack(values) for name, values in kept.items()}
        return people, Record(events=pd.concat(events, ignore_index=True), final=state, **arrays)

    def _until_data_begin(self) -> tuple[People, State, np.random.Generator, list[pd.DataFrame]]:
        """Live the weeks before the data begin, and keep the customers still of interest."""
        n = int(CANDIDATES * self.n_customers) + 50
        people = draw_people(n, -BURN_IN_WEEKS, self.weeks, np.random.default_rng([self.seed, 0]))
        if not self.hazard.has_contracts:
            people = replace(people, trial_weeks=np.zeros(n, dtype=np.int64))
        rng = np.random.default_rng([self.seed, 1])
        state, events = first_state(people), []
        for w in range(-BURN_IN_WEEKS, 0):
            state, happened = step(people, state, w, self.day_of(w), self.hazard, rng)
            events.append(_events(w, state, happened))
        wanted = np.flatnonzero(~np.isin(state.status, (GONE, LOST)))[: self.n_customers]
        place = np.full(n, -1)
        place[wanted] = np.arange(len(wanted))
        before = pd.concat(events, ignore_index=True)
        before["who"] = place[before["who"].to_numpy()]
        return people.take(wanted), state.take(wanted), rng, [before[before["who"] >= 0]]


def _events(week: int, state: State, happened: Happened) -> pd.DataFrame:
    """Return one row per thing that happened on a day of the week."""
    parts = []
    for order, name in enumerate(DAYS):
        day = getattr(happened, name)
        who = np.flatnonzero(day >= 0)
        parts.append((who, np.full(len(who), order), day[who]))
    who, kind, day = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return pd.DataFrame(
        {
            "who": who,
            "kind": pd.Categorical.from_codes(kind, pd.Index(DAYS)),
            "day": day,
            "week": week,
            "mrr": state.mrr[who],
            "plan": state.plan[who],
            "involuntary": happened.involuntary[who],
            "collected": happened.collected[who],
            "failed": happened.failed[who],
        }
    )
