"""How well anyone could tell a simulated company's leavers apart: `ceiling.py KIND CUSTOMERS SEED`.

The tables show use and satisfaction with noise, and temperament not at all. An ideal observer knows
the laws of the simulation and weighs thousands of possible lives of each customer by what the
tables show of him (a particle filter: Gordon, Salmond and Smith 1993). What he makes of use and
satisfaction, with all other visible causes known exactly, bounds what any model can reach from such
tables. Prints one line of JSON; contract kinds only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from judged_companies import KINDS, expected_auc
from scipy.stats import norm

from retain.demo import make_company
from retain.demo.behaviour import WEEKDAYS, season
from retain.demo.weekly import LEVEL_KEPT, MOOD_KEPT, step

OBSERVED, LIVES = 1_000, 1_000  # customers, and possible lives of each
SCALES = {"nps": (7.6, 1.7, 0.0, 1.0, 0, 10), "csat": (4.4, 0.45, 0.55, 0.6, 1, 5)}
SCALES["ces"] = (6.1, 0.3, 1.1, 0.8, 1, 7)  # mean, of the mood, of the case, noise, least, most


def lived(life: Any) -> Iterator[Any]:
    """Live through the company's weeks: everyone's state at the end of each."""
    people, state, rng, _ = life._until_data_begin()
    for week in range(life.weeks):
        state, _ = step(people, state, week, life.day_of(week), life.hazard, rng)
        yield state


class Observer:
    """Possible lives of each customer, as likely as the tables seen so far make them."""

    def __init__(self, customers: int, rng: np.random.Generator, **states: Any) -> None:
        self.rng, self.states = rng, states
        self.log = np.zeros((customers, LIVES))

    @property
    def weight(self) -> Any:
        weight = np.exp(self.log - self.log.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)

    def draw_again(self, jitter: str) -> None:
        """Let likely lives stand for unlikely ones where few carry all the weight."""
        weight = self.weight
        few = np.flatnonzero(1 / (weight**2).sum(axis=1) < LIVES / 3)
        for one in few:
            steps = (self.rng.random() + np.arange(LIVES)) / LIVES
            at = np.searchsorted(np.cumsum(weight[one]), steps).clip(0, LIVES - 1)
            for values in self.states.values():
                values[one] = values[one][at]
        self.states[jitter][few] += self.rng.normal(0, 0.02, (len(few), LIVES))
        self.log[few] = 0.0


def observed_use(company: Any, some: Any, rng: np.random.Generator) -> Any:
    """Use against the customer's own level (log) as the ideal observer sees it today."""
    life, n = company.truth.life, len(some)
    people, _ = life.record()
    table = company.tables["usage"]
    who = pd.Index(company.truth.customer_ids).get_indexer(table["customer_id"])
    day = table["occurred_at"].to_numpy().astype("datetime64[D]").astype(int) - life.first_day
    there = (who >= 0) & (day >= 0) & (day < 7 * life.weeks)
    who, day = who[there], day[there]
    active = np.zeros((len(people), life.weeks, 7), dtype=bool)
    active[who, day // 7, day % 7] = True
    slices, units = np.zeros((2, len(people), life.weeks))
    np.add.at(slices, (who, day // 7), 1.0)
    np.add.at(units, (who, day // 7), table["quantity"].to_numpy(float)[there] - 1.0)
    zeros = np.zeros((n, LIVES))
    start = rng.choice(people.usage_level, (n, LIVES))
    seen = Observer(n, rng, own=start, level=zeros, decline=zeros.copy(), depth=zeros.copy())
    for week in range(life.weeks):
        now = seen.states
        use = now["own"] + now["level"] - now["decline"] + season(life.first_day + 7 * week)
        use = use + rng.normal(0.0, 0.18, use.shape)
        chance = 0.29 * np.exp(use)[:, :, None] * np.asarray(WEEKDAYS)
        days = active[some, week][:, None, :]
        told = np.where(days, np.log(-np.expm1(-chance) + 1e-12), -chance).sum(axis=2)
        many, more = slices[some, week][:, None], units[some, week][:, None]
        expected = many * 2.2 * np.exp(0.9 * use)
        told += np.where(many > 0, more * np.log(expected + 1e-12) - expected, 0.0)
        seen.log += np.where((people.joins[some] < week)[:, None], told, 0.0)
        seen.draw_again("own")
        if week == life.weeks - 1:
            break
        now, dice = seen.states, rng.random((n, LIVES))
        declining = now["depth"] > 0
        depth = np.where(declining & (dice < 0.045), 0.0, now["depth"])
        starts = ~declining & (dice < 0.006)
        depth[starts] = rng.uniform(0.6, 2.6, int(starts.sum()))
        pull, joins = np.where(depth > 0, 0.13, 0.09), (people.joins[some] == week)[:, None]
        decline = now["decline"] + pull * (now["depth"] - now["decline"])
        drift = 0.3 * np.sqrt(1 - LEVEL_KEPT**2) * rng.normal(size=(n, LIVES))
        now["decline"], now["depth"] = np.where(joins, 0, decline), np.where(joins, 0, depth)
        now["level"] = LEVEL_KEPT * now["level"] + drift
    return (seen.weight * (seen.states["level"] - seen.states["decline"])).sum(axis=1)


def observed_mood(company: Any, some: Any, rng: np.random.Generator) -> Any:
    """Satisfaction as the ideal observer sees it, who even knows effort and price rises."""
    life, n = company.truth.life, len(some)
    people, _ = life.record()
    asked = company.tables["surveys"]
    who = pd.Index(company.truth.customer_ids).get_indexer(asked["customer_id"])
    day = asked["sent_at"].to_numpy().astype("datetime64[D]").astype(int) - life.first_day
    case = company.tables["interactions"].drop_duplicates("interaction_id")
    case = case.set_index("interaction_id").reindex(asked["interaction_id"])
    took = case["resolved_at"].to_numpy() - case["opened_at"].to_numpy()
    hours = np.nan_to_num(took / np.timedelta64(1, "h")).clip(0)
    handed = np.nan_to_num((case["transfer_count"] + case["reopen_count"]).to_numpy(float))
    pain = 0.5 * handed + 0.5 * np.log1p(hours / 12)
    score, kind = asked["score"].to_numpy(float), asked["kind"].to_numpy()
    place = np.full(len(people), -1)
    place[some] = np.arange(n)
    mine = np.flatnonzero((who >= 0) & (place[np.maximum(who, 0)] >= 0))
    by_week = [mine[day[mine] // 7 == week] for week in range(life.weeks)]
    start = rng.choice(people.contentment, (n, LIVES))
    seen = Observer(n, rng, content=start, mood=start.copy())
    for week, then in enumerate(lived(life)):
        for row in by_week[week]:
            one = place[who[row]]
            mood = seen.states["mood"][one]
            answers = 1.0 / (1.0 + np.exp(-(-0.05 + 0.7 * mood)))
            if np.isnan(score[row]):
                seen.log[one] += np.log(1 - answers)
                continue
            mean, of_mood, of_case, noise, least, most = SCALES[kind[row]]
            centre, said = mean + of_mood * mood - of_case * pain[row], score[row]
            below = 0.0 if said <= least else norm.cdf(said - 0.5, centre, noise)
            above = 1.0 if said >= most else norm.cdf(said + 0.5, centre, noise)
            seen.log[one] += np.log(answers) + np.log(above - below + 1e-9)
        seen.draw_again("content")
        if week == life.weeks - 1:
            break
        target = 0.75 * seen.states["content"]
        target = target - (0.25 * then.effort[some] + 0.2 * then.price[some])[:, None]
        drift = 0.65 * np.sqrt(1 - MOOD_KEPT**2) * rng.normal(size=(n, LIVES))
        seen.states["mood"] = target + MOOD_KEPT * (seen.states["mood"] - target) + drift
    return (seen.weight * seen.states["mood"]).sum(axis=1)


def explained(true: Any, seen: Any) -> float:
    """Share of the variance of `true` that `seen` explains as it stands."""
    return float(1.0 - ((true - seen) ** 2).mean() / true.var())


def best_guess(effect: Any, seen: Any) -> Any:
    """What an effect (log-odds) is on average where the observer sees so much: a cubic."""
    return np.polyval(np.polyfit(seen, effect, 3), seen)


def bound(kind: str, customers: int, seed: int) -> dict[str, Any]:
    """Bound the share of the oracle's AUC that can be reached."""
    company, rng = make_company(customers, seed=seed, **KINDS[kind]), np.random.default_rng(0)
    life = company.truth.life
    _, state = life.state_at(life.weeks - 1)
    some = rng.permutation(np.flatnonzero(state.eligible))[:OBSERVED]
    use, mood = observed_use(company, some, rng), observed_mood(company, some, rng)
    day = np.datetime64(life.day_of(life.weeks - 1) + 6, "D").item()
    truth = company.truth.at(day, runs=64).set_index("customer_id")
    true = truth.reindex(np.asarray(company.truth.customer_ids)[some])
    chance = true["churn_probability"].to_numpy()
    seen = np.log(chance / (1 - chance)) - true["hidden"]
    exact = seen.to_numpy()
    for theme, told in (("usage", use), ("survey", mood)):
        effect = true[theme].to_numpy()
        seen = seen - effect + best_guess(effect, told)
    oracle = expected_auc(chance, chance) - 0.5
    return {
        "kind": kind,
        "customers": customers,
        "seed": seed,
        "observed": len(some),
        "use_explained": explained((state.level - state.decline)[some], use),
        "mood_explained": explained(state.mood[some], mood),
        "share_all_visible_known": (expected_auc(chance, exact) - 0.5) / oracle,
        "share_ideal_observer": (expected_auc(chance, seen.to_numpy()) - 0.5) / oracle,
    }


if __name__ == "__main__":
    print(json.dumps(bound(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
