"""The written record of behaviour: usage slices and support contacts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retain.demo.contracts import Told, moments
from retain.demo.population import FEATURES_USED, Floats, Ints
from retain.demo.visits import ORDERS_A_VISIT, order_value
from retain.demo.weekly import NOTICE

__all__ = ["interactions", "orders", "recorded", "usage"]

CHANNELS = ("email", "chat", "phone", "portal")
TOPICS = ("how_to", "bug", "billing", "access", "integration")
WEEKDAYS = (1.0, 1.05, 1.1, 1.05, 0.9, 0.16, 0.1)  # Monday to Sunday
LATE_SHARE = 0.025


def recorded(
    at: npt.NDArray[np.datetime64], rng: np.random.Generator
) -> npt.NDArray[np.datetime64]:
    """Return when each row was loaded: the same evening, or for a few days to weeks later."""
    evening = at.astype("datetime64[D]") + np.timedelta64(22 * 3600, "s")
    late = rng.random(len(at)) < LATE_SHARE
    days = np.where(late, np.ceil(rng.exponential(9.0, len(at))).clip(1, 45), 0).astype(np.int64)
    return np.maximum(evening, at.astype("datetime64[s]")) + days.astype("timedelta64[D]")


def usage(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per customer, day, feature and user: a slice of events added up."""
    first, last = told.service()
    week, who = np.nonzero((first < last) & told.seen())
    log = (
        told.people.usage_level[who]
        + told.record.usage[week, who]
        + season(told.life.first_day + 7 * week)
        + rng.normal(0.0, 0.18, len(week))
        - 0.8 * (told.record.status[week, who] == NOTICE)
    )
    if told.visits is None:
        rate = 0.29 * np.exp(log)[:, None] * np.asarray(WEEKDAYS)
        offset = np.arange(7)
        served = (offset >= first[week, who][:, None]) & (offset < last[week, who][:, None])
        cell, day = np.nonzero(served & (rng.random(rate.shape) < -np.expm1(-rate)))
    else:
        cell = np.repeat(np.arange(len(week)), told.visits[week, who])
        day = rng.integers(first[week, who][cell], 7)
    slices = 1 + (rng.random(len(cell)) < 0.3)
    cell, day = np.repeat(cell, slices), np.repeat(day, slices)
    week, who, log = week[cell], who[cell], log[cell]
    at = moments(told.life.first_day + 7 * week + day, rng)
    # Narrower use goes with declining use: fewer features are reached.
    narrow = 0.32 + 0.14 * np.clip(-told.record.usage[week, who], 0.0, 2.0)
    depth = np.minimum(rng.geometric(np.clip(narrow, 0.05, 0.95)) - 1, len(FEATURES_USED) - 1)
    taste = rng.random((len(told.people), len(FEATURES_USED))).argsort(axis=1)
    seats = np.minimum(told.people.seats, 15)[who]
    user = np.minimum(rng.geometric(3.0 / (3.0 + seats)), seats)
    quantity = 1 + rng.poisson(2.2 * np.exp(0.9 * log))
    table = pd.DataFrame(
        {
            "customer_id": pd.array(told.ids, dtype="str").take(who),
            "feature": pd.array(FEATURES_USED, dtype="str").take(taste[who, depth]),
            "user_id": _users(told, who, user),
            "quantity": quantity,
            "duration_s": np.round(quantity * rng.lognormal(4.0, 0.6, len(who)), 0),
            "occurred_at": at,
            "recorded_at": recorded(at, rng),
        }
    )
    table = _known(table, told).sort_values("occurred_at", kind="stable", ignore_index=True)
    table.insert(0, "event_id", np.arange(1, len(table) + 1))
    return table


def orders(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per order of a customer without a contract: some visits bring one."""
    assert told.visits is not None
    first, _ = told.service()
    week, who = np.nonzero(told.visits)
    again = np.repeat(np.arange(len(week)), rng.binomial(told.visits[week, who], ORDERS_A_VISIT))
    week, who = week[again], who[again]
    day = told.life.day_of(0) + 7 * week + rng.integers(first[week, who], 7)
    table = pd.DataFrame(
        {
            "customer_id": told.ids[who],
            "amount": order_value(told.people, np.ones_like(who), who, rng).round(2),
            "status": "paid",
            "paid_at": moments(day, rng),
            "currency": "EUR",
        }
    ).sort_values("paid_at", kind="stable", ignore_index=True)
    table.insert(0, "payment_id", [f"P{number:07d}" for number in range(1, len(table) + 1)])
    return table


def interactions(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """One row per contact; the contacts of one case share `case_id`."""
    first, last = told.service()
    week, who = np.nonzero((first < last) & told.seen())
    strain = told.record.severity[week, who]
    easy = rng.poisson(told.people.case_rate[who])
    cell = np.concatenate([np.repeat(np.arange(len(week)), easy), np.flatnonzero(strain > 0)])
    hard = np.concatenate([np.zeros(easy.sum()), strain[strain > 0]])
    week, who = week[cell], who[cell]
    span = last[week, who] - first[week, who]
    day = told.life.first_day + 7 * week + first[week, who]
    at = moments(day + (rng.random(len(day)) * span).astype(np.int64), rng)
    cases = pd.DataFrame({"who": who, "hard": hard, "at": at})
    cases["topic"] = np.where(
        (hard > 0) & (rng.random(len(cases)) < 0.6), 1, rng.integers(0, len(TOPICS), len(cases))
    )
    cases = cases.sort_values("at", kind="stable").reset_index(drop=True)
    contacts = _contacts(cases, rng)
    contacts = contacts[_served(told, contacts["who"].to_numpy(), contacts["at"].to_numpy())]
    contacts = contacts.sort_values("at", kind="stable").reset_index(drop=True)
    return _known(_as_table(contacts, told, rng), told)


def _contacts(cases: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the first contact of each case and those that follow a hard one within days."""
    hard = cases["hard"].to_numpy()
    more = np.where(
        hard > 0, np.minimum(1 + rng.poisson(1.2 * hard), 6), rng.random(len(hard)) < 0.04
    )
    row = np.repeat(np.arange(len(cases)), 1 + more.astype(np.int64))
    contacts = cases.iloc[row].reset_index(drop=True).assign(case=row)
    contacts["follow"] = contacts.groupby("case").cumcount()
    gap = np.where(contacts["follow"] > 0, rng.uniform(0.4, 2.8, len(contacts)), 0.0)
    later = pd.Series(gap).groupby(row).cumsum().to_numpy()
    shifted = contacts["at"].to_numpy() + (later * 86400).astype("timedelta64[s]")
    contacts["at"] = shifted
    favourite = rng.choice(len(CHANNELS), len(cases), p=(0.4, 0.3, 0.15, 0.15))[row]
    switch = (contacts["follow"] > 0) & (rng.random(len(contacts)) < 0.45)
    contacts["channel"] = np.where(switch, rng.integers(0, len(CHANNELS), len(row)), favourite)
    contacts["more"] = more[row]
    return contacts


def _as_table(contacts: pd.DataFrame, told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """Return the contacts with their handling, as far as it is known on the export day."""
    n = len(contacts)
    hard, opening = contacts["hard"].to_numpy(), contacts["follow"].to_numpy() == 0
    at = contacts["at"].to_numpy().astype("datetime64[s]")
    pain = np.where(hard > 0, 1.0 + hard, 0.0)
    first_hours = rng.lognormal(np.where(hard > 0, 2.3, 0.9), 0.7)
    hours = first_hours + rng.lognormal(np.where(hard > 0, 3.9, 2.0) + 0.25 * pain * opening, 0.6)
    responded = at + (first_hours * 3600).astype("timedelta64[s]")
    resolved = at + (hours * 3600).astype("timedelta64[s]")
    closed = resolved + (rng.exponential(1.2, n) * 86400).astype("timedelta64[s]")
    number = pd.Series(np.arange(1, n + 1))
    opener = number[opening].set_axis(contacts.loc[opening, "case"])
    case = contacts["case"].map(opener).fillna(number).astype(int)
    table = pd.DataFrame(
        {
            "interaction_id": number.map("T{:07d}".format),
            "case_id": case.map("T{:07d}".format),
            "customer_id": told.ids[contacts["who"].to_numpy()],
            "channel": np.asarray(CHANNELS)[contacts["channel"].to_numpy()],
            "topic": np.asarray(TOPICS)[contacts["topic"].to_numpy()],
            "reopen_count": np.where(opening, rng.poisson(0.02 + 0.4 * pain), 0),
            "transfer_count": rng.poisson(0.06 + 0.45 * pain * opening),
            "handle_minutes": np.round(rng.lognormal(2.4, 0.5, n) * (1 + 0.5 * pain), 1),
            "sla_met": first_hours < 8.0,
            "opened_at": at,
            "first_response_at": responded,
            "resolved_at": resolved,
            "closed_at": closed,
            "recorded_at": recorded(at, rng),
        }
    )
    end = pd.Timestamp(told.last_day + 1, unit="D")
    for column in ("first_response_at", "resolved_at", "closed_at"):
        table[column] = table[column].where(table[column] < end)
    return table


def season(day: Ints) -> Floats:
    """Return the log change of usage by the time of year: quiet Augusts and turns of the year."""
    of_year = np.asarray(day) % 365.25  # day number 0 is a 1 January

    def near(centre: float, width: float) -> Floats:
        away = np.abs((of_year - centre + 182.625) % 365.25 - 182.625)
        return np.exp(-0.5 * (away / width) ** 2)

    return -0.45 * near(225.0, 16.0) - 0.5 * near(0.0, 9.0)


def _users(told: Told, who: Ints, user: Ints) -> Any:
    """Return ids of the people behind the events, repeated without building each text anew."""
    key = who * 100 + user
    unique, place = np.unique(key, return_inverse=True)
    names = [f"{told.ids[k // 100]}-{k % 100:02d}" for k in unique.tolist()]
    return pd.array(names, dtype="str").take(place)


def _served(told: Told, who: Ints, at: npt.NDArray[np.datetime64]) -> npt.NDArray[np.bool_]:
    """Return which moments fall on a day with service, up to the export."""
    day = at.astype("datetime64[D]").astype(np.int64)
    week, offset = np.divmod(day - told.life.first_day, 7)
    inside = (week >= 0) & (week < told.life.weeks)
    week = np.where(inside, week, 0)
    if told.visits is not None:
        return inside  # a case goes on, whether or not its customer has left for good
    first, last = told.service()
    return inside & (offset >= first[week, who]) & (offset < last[week, who])


def _known(table: pd.DataFrame, told: Told) -> pd.DataFrame:
    """Leave out what had not been loaded by the export day."""
    end = pd.Timestamp(told.last_day + 1, unit="D")
    return table[table["recorded_at"] < end].reset_index(drop=True)
