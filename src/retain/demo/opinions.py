"""The written record of opinions: surveys sent, answered or left silent, and referrals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from retain.demo.behaviour import recorded
from retain.demo.comments import write_comments
from retain.demo.contracts import Told, moments
from retain.demo.population import Floats
from retain.demo.weekly import PAID

__all__ = ["referrals", "surveys"]

NPS_EVERY_WEEKS = 13


def surveys(told: Told, contacts: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """One row per question sent; score and answered_at are null where nobody answered (yet)."""
    table = pd.concat([_nps(told, rng), _after_cases(told, contacts, rng)], ignore_index=True)
    n, who = len(table), table["who"].to_numpy()
    week = (table["day"].to_numpy() - told.life.first_day) // 7
    mood = told.record.mood[week, who].astype(float)
    sent = table["at"].to_numpy().astype("datetime64[s]")
    # The unhappy are silent more often: no answer says something too.
    answers = rng.random(n) < 1.0 / (1.0 + np.exp(-(-0.05 + 0.7 * mood)))
    days = rng.exponential(np.where(table["kind"] == "nps", 4.0, 1.5), n).clip(0.01, 40)
    answered = sent + (days * 86400).astype("timedelta64[s]")
    end = np.datetime64(told.last_day + 1, "D")
    day = answered.astype("datetime64[D]").astype(np.int64)
    later = np.minimum((day - told.life.first_day) // 7, told.life.weeks - 1)
    first, last = told.service()
    offset = day - told.life.first_day - 7 * later
    answers &= answered < end
    if told.visits is None:
        answers &= (offset >= first[later, who]) & (offset < last[later, who])
    terms = told.record.terms[week, :, who].T  # usage, effort, survey, commercial, ...
    written = write_comments(
        told.people.language[who], terms[[3, 0, 1]] * [[1.0], [0.7], [0.8]], mood, rng
    )
    comments = answers & (rng.random(n) < 0.4)
    known = np.where(answers, answered, sent).astype("datetime64[s]")
    result = pd.DataFrame(
        {
            "customer_id": told.ids[who],
            "kind": table["kind"],
            "interaction_id": table["interaction_id"],
            "score": pd.Series(_score(table, mood, rng)).where(answers),
            "comment": pd.Series(written, dtype="str").where(comments),
            "sent_at": sent,
            "answered_at": pd.Series(answered).where(answers),
            "recorded_at": recorded(known, rng),
        }
    )
    result = result[result["recorded_at"] < pd.Timestamp(end)]
    return result.sort_values("sent_at", kind="stable", ignore_index=True)


def _nps(told: Told, rng: np.random.Generator) -> pd.DataFrame:
    """Return the question to every paying customer each quarter; at some visits, to visitors."""
    n = len(told.people)
    every = NPS_EVERY_WEEKS if told.visits is None else NPS_EVERY_WEEKS // 3
    turn = (np.arange(told.life.weeks)[:, None] + np.arange(n)) % every == 0
    first, last = told.service()
    whole = (told.record.status == PAID) & (first == 0) & (last == 7)
    week, who = np.nonzero(turn & whole & told.seen())
    day = told.life.first_day + 7 * week + rng.integers(0, 5, len(week))
    return pd.DataFrame(
        {
            "who": who,
            "kind": "nps",
            "interaction_id": pd.array([None] * len(who), dtype="str"),
            "pain": 0.0,
            "day": day,
            "at": moments(day, rng),
        }
    )


def _after_cases(told: Told, contacts: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the questions that follow resolved contacts: csat or ces, for about half of them."""
    resolved = contacts["resolved_at"].notna() & (rng.random(len(contacts)) < 0.45)
    asked = contacts[resolved]
    place = pd.Series(np.arange(len(told.ids)), index=told.ids)
    who = place.loc[asked["customer_id"]].to_numpy()
    at = asked["resolved_at"].to_numpy().astype("datetime64[s]") + np.timedelta64(3600, "s")
    day = at.astype("datetime64[D]").astype(np.int64)
    pain = 0.5 * asked["transfer_count"] + 0.5 * asked["reopen_count"]
    hours = (asked["resolved_at"] - asked["opened_at"]).dt.total_seconds() / 3600
    table = pd.DataFrame(
        {
            "who": who,
            "kind": np.where(rng.random(len(asked)) < 0.5, "csat", "ces"),
            "interaction_id": asked["interaction_id"].to_numpy(),
            "pain": (pain + 0.5 * np.log1p(hours / 12)).to_numpy(),
            "day": day,
            "at": at,
        }
    )
    first, last = told.service()
    week, offset = np.divmod(day - told.life.first_day, 7)
    inside = week < told.life.weeks
    if told.visits is not None:
        return table[inside]
    week = np.where(inside, week, 0)
    return table[inside & (offset >= first[week, who]) & (offset < last[week, who])]


def _score(table: pd.DataFrame, mood: Floats, rng: np.random.Generator) -> Floats:
    """Return noisy readings: nps of the mood, csat and ces (7 = easy) also of the case."""
    noise, pain = rng.normal(0.0, 1.0, len(table)), table["pain"].to_numpy()
    nps = np.clip(np.round(7.6 + 1.7 * mood + 1.0 * noise), 0, 10)
    csat = np.clip(np.round(4.4 + 0.45 * mood - 0.55 * pain + 0.6 * noise), 1, 5)
    ces = np.clip(np.round(6.1 + 0.3 * mood - 1.1 * pain + 0.8 * noise), 1, 7)
    kind = table["kind"].to_numpy()
    return np.select([kind == "nps", kind == "csat"], [nps, csat], ces)


def referrals(told: Told, signed_up: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    """One row per referral by a happy customer; some lead to a customer weeks later."""
    first, last = told.service()
    whole = (told.record.status == PAID) & (first == 0) & (last == 7) & told.seen()
    chance = 0.0012 * np.exp(0.7 * told.record.mood) * whole
    week, who = np.nonzero(rng.random(chance.shape) < chance)
    day = told.life.first_day + 7 * week + rng.integers(0, 5, len(week))
    joined = (signed_up - pd.Timestamp(0)).dt.days.to_numpy()
    order = np.argsort(joined, kind="stable")
    ahead = np.searchsorted(joined[order], day + rng.integers(7, 50, len(day)))
    ahead = np.minimum(ahead, len(order) - 1)
    new = order[ahead]
    leads = (rng.random(len(day)) < 0.35) & (joined[new] > day) & (joined[new] <= day + 60)
    leads &= ~pd.Series(np.where(leads, new, -1 - np.arange(len(new)))).duplicated().to_numpy()
    evidence = np.where(leads, "tracked", rng.choice(["lead", "review", "reference"], len(day)))
    return pd.DataFrame(
        {
            "referrer_id": told.ids[who],
            "referred_id": pd.Series(told.ids[new], dtype="str").where(leads),
            "evidence": evidence,
            "value": np.where(leads, told.people.first_mrr[new], np.nan),
            "referred_at": moments(day, rng),
        }
    ).sort_values("referred_at", kind="stable", ignore_index=True)
