"""The weekly queue as a pure function: who is on it, in which order, why, and why not the next.

Every customer above a threshold of risk is a candidate, ordered by what acting is expected to be
worth. From the top down each gets a place while the team and its owner have room. A small share,
drawn at random, is held out instead: left alone, so that acting can be compared with not acting.
Whoever is on the list stays until clearly overtaken or well below the threshold (no flapping).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "LISTED",
    "Play",
    "QueueRules",
    "Standing",
    "decide_queue",
    "draw",
    "make_queue",
    "play_for",
    "say_queue",
]

LISTED = (
    *("customer_id", "status", "place", "owner", "worth", "why_code", "why", "why_figures"),
    *("theme", "signal", "sentence", "play", "play_owner", "due_on", "is_new"),
)

DECIDING = (
    *("customer_id", "owner", "churn_probability", "percentile", "worth", "uplift"),
    *("on_list", "below", "expected_nothing"),
)


@dataclass(frozen=True)
class Play:
    """What to do about one kind of reason.

    Parameters
    ----------
    play
        What to do, in words.
    signal, theme
        Which drivers it answers: the signal named, else any of the theme; neither: any driver.
    owner
        Who does it; None: the customer's own owner.
    due_days
        Days after the end of the scored week.
    """

    play: str
    signal: str | None = None
    theme: str | None = None
    owner: str | None = None
    due_days: int = 7


@dataclass(frozen=True)
class QueueRules:
    """How the queue is made.

    Parameters
    ----------
    capacity_per_week
        Customers that the team can contact in a week.
    capacity_per_owner
        Customers that one owner can contact in a week; None: only the team's limit counts.
    enter_percentile, stay_percentile
        Percentile of risk, 0 to 100, at which a customer may come onto the list, and below which
        one leaves it.
    overtake_factor
        How many times the worth of one on the list a newcomer needs to take the place.
    cool_down_weeks
        Weeks after a contact in which the customer is not listed again.
    holdout_share
        Share of those who reach the list that is left alone, 0 to 1.
    holdout_weeks
        Weeks for which a draw holds.
    plays
        What to do about which reason; the first that fits counts.
    currency
        For the sentences.
    """

    capacity_per_week: int
    capacity_per_owner: int | None = None
    enter_percentile: float = 60.0
    stay_percentile: float = 50.0
    overtake_factor: float = 1.25
    cool_down_weeks: int = 4
    holdout_share: float = 0.1
    holdout_weeks: int = 13
    plays: Sequence[Play] = ()
    currency: str = ""


@dataclass(frozen=True)
class Standing:
    """What earlier weeks left behind, by customer.

    Parameters
    ----------
    on_list
        Customers with an open item from an earlier week.
    drawn
        Whether a customer was held out, for those drawn within `holdout_weeks`.
    contacted_on
        Day of the last contact.
    """

    on_list: frozenset[str] = frozenset()
    drawn: Mapping[str, bool] = field(default_factory=dict)
    contacted_on: Mapping[str, date] = field(default_factory=dict)


def draw(customer_id: str, period: str, *, salt: str = "hold-out") -> float:
    """Draw a number in [0, 1) that is always the same for a customer and a period.

    Parameters
    ----------
    customer_id
        Who.
    period
        As in "2026-11-15".
    salt
        What it is drawn for.

    Examples
    --------
    >>> draw("C1", "2026-11-15") == draw("C1", "2026-11-15")
    True
    >>> draw("C1", "2026-11-15") == draw("C1", "2026-11-22")
    False
    """
    digest = hashlib.sha256(f"{salt}\x1f{period}\x1f{customer_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def play_for(
    plays: Sequence[Play], reasons: Sequence[Mapping[str, Any]]
) -> tuple[Play | None, Mapping[str, Any] | None]:
    """Choose the play, and the reason that it answers.

    Parameters
    ----------
    plays
        In the company's order.
    reasons
        A customer's drivers that raise the risk, strongest first, with `signal` and `theme`.

    Returns
    -------
    tuple
        The first reason that a play names, with that play; else the play without signal and
        theme, with the strongest reason; a signal's own play comes before its theme's.

    Examples
    --------
    >>> plays = (Play("Call"), Play("Train", theme="usage"), Play("Card", signal="failed payments"))
    >>> reasons = [
    ...     {"signal": "tenure", "theme": "profile"},
    ...     {"signal": "failed payments", "theme": "commercial"},
    ... ]
    >>> play_for(plays, reasons)[0].play, play_for(plays, reasons[:1])[0].play
    ('Card', 'Call')
    """
    for reason in reasons:
        own = [play for play in plays if play.signal == reason["signal"]]
        own += [p for p in plays if p.signal is None and p.theme == reason["theme"]]
        if own:
            return own[0], reason
    anyway = next((p for p in plays if p.signal is None and p.theme is None), None)
    return anyway, reasons[0] if reasons else None


def make_queue(
    scores: pd.DataFrame,
    drivers: pd.DataFrame,
    as_of: date,
    rules: QueueRules,
    standing: Standing | None = None,
) -> pd.DataFrame:
    """Decide who is on the week's list.

    Parameters
    ----------
    scores
        One row per customer: customer_id, eligible, not_eligible_because, churn_probability,
        percentile (0 to 100), value_at_risk, owner; with `uplift` (fall of the probability of
        leaving when contacted) and `clv` the order is by uplift x CLV.
    drivers
        customer_id, target, rank, theme, signal, sentence, contribution.
    as_of
        Last day of the week.
    rules
        How it is made.
    standing
        What earlier weeks left behind.

    Returns
    -------
    DataFrame
        One row per customer worth a word, by status and place. Status `contact`: on the list;
        `holdout`: left alone on purpose; `next`: would come next, with the reason why not yet;
        `cooling`: contacted lately; `leave`: contact is expected to do no good. `next` holds at
        most as many as the team can contact. `worth` is in currency: value at risk, or what
        contact is expected to save. `why_code` and `why_figures` say the same as `why`.

    Examples
    --------
    >>> scores = pd.DataFrame(
    ...     {
    ...         "customer_id": ["A", "B", "C"],
    ...         "eligible": True,
    ...         "not_eligible_because": None,
    ...         "churn_probability": [0.5, 0.4, 0.1],
    ...         "percentile": [100.0, 90.0, 85.0],
    ...         "value_at_risk": [500.0, 800.0, 100.0],
    ...         "owner": None,
    ...     }
    ... )
    >>> drivers = pd.DataFrame(
    ...     columns=[
    ...         *("customer_id", "target", "rank", "theme", "signal", "sentence", "contribution")
    ...     ]
    ... )
    >>> rules = QueueRules(capacity_per_week=2, holdout_share=0)
    >>> made = make_queue(scores, drivers, date(2026, 11, 15), rules)
    >>> list(zip(made["customer_id"], made["status"], made["place"]))
    [('B', 'contact', 1), ('A', 'contact', 2), ('C', 'next', 3)]
    """
    return say_queue(decide_queue(scores, as_of, rules, standing), drivers, as_of, rules)


def decide_queue(
    scores: pd.DataFrame, as_of: date, rules: QueueRules, standing: Standing | None = None
) -> list[dict[str, Any]]:
    """Decide who is on the week's list, without the words; see `make_queue` for what it takes.

    Returns
    -------
    list of dict
        One per customer worth a word: what `DECIDING` names, status, why_code and why_figures.
    """
    standing = standing or Standing()
    pool = _candidates(scores, rules, standing)
    team = rules.capacity_per_week
    full: dict[Any, int] = {}
    cooled = as_of - timedelta(weeks=rules.cool_down_weeks)
    decided: list[dict[str, Any]] = []
    waiting = 0
    keys = ["pull", "churn_probability", "customer_id"]
    by_place = pool.sort_values(keys, ascending=[False, False, True])
    for found in by_place[list(DECIDING)].to_dict("records"):
        row: dict[str, Any] = {str(name): value for name, value in found.items()}
        who, owner = row["customer_id"], row["owner"]
        last = standing.contacted_on.get(who)
        code, figures, status = "", dict[str, Any](), "next"
        if last is not None and last > cooled:
            until = last + timedelta(weeks=rules.cool_down_weeks)
            status, code = "cooling", "contacted_lately"
            figures = {"contacted_on": str(last), "until": str(until)}
        elif row["expected_nothing"]:
            status, code, figures = "leave", "no_good_expected", {"uplift": row["uplift"]}
        elif row["below"]:
            code = "below_threshold"
            figures = {"percentile": row["percentile"], "needed": rules.enter_percentile}
        elif team <= 0:
            code, figures = "team_full", {"capacity": rules.capacity_per_week}
        elif (
            rules.capacity_per_owner is not None and full.get(owner, 0) >= rules.capacity_per_owner
        ):
            code, figures = "owner_full", {"owner": owner, "capacity": rules.capacity_per_owner}
        elif _held_out(who, as_of, rules, standing):
            status, code = "holdout", "held_out"
            figures = {"share": rules.holdout_share, "weeks": rules.holdout_weeks}
        else:
            status = "contact"
            code = "stays" if row["on_list"] else "enters"
            team -= 1
            full[owner] = full.get(owner, 0) + 1
        if status == "next":
            waiting += 1
            if waiting > rules.capacity_per_week:
                continue
        decided.append(row | {"status": status, "why_code": code, "why_figures": figures})
    return decided


def _candidates(scores: pd.DataFrame, rules: QueueRules, standing: Standing) -> pd.DataFrame:
    """Give everyone eligible, with what decides the order."""
    pool = scores[scores["eligible"].astype(bool)].copy()
    for name in ("uplift", "value_at_risk", "clv", "owner"):
        if name not in pool:
            pool[name] = np.nan if name != "owner" else None
    numbers = pool[["uplift", "value_at_risk", "clv", "churn_probability", "percentile"]]
    pool[numbers.columns] = numbers.apply(pd.to_numeric)
    pool["customer_id"] = pool["customer_id"].astype(str)
    pool["owner"] = [owner if isinstance(owner, str) else None for owner in pool["owner"]]
    estimated = bool(pool["uplift"].notna().any())
    if estimated:
        pool["worth"] = pool["uplift"] * pool["clv"]
    else:
        pool["worth"] = pool["value_at_risk"]
    # without any value the order is by risk alone
    order = pool["worth"] if pool["worth"].notna().any() else pool["churn_probability"]
    order = order.fillna(0.0)
    pool["on_list"] = pool["customer_id"].isin(standing.on_list)
    pool["pull"] = order * np.where(pool["on_list"] & (order > 0), rules.overtake_factor, 1.0)
    pool["expected_nothing"] = ~(pool["uplift"] > 0) if estimated else False
    needed = np.where(pool["on_list"], rules.stay_percentile, rules.enter_percentile)
    # whom contact keeps need not be among the likeliest to leave
    pool["below"] = False if estimated else pool["percentile"].fillna(0.0) < needed
    return pool


def _held_out(who: str, as_of: date, rules: QueueRules, standing: Standing) -> bool:
    if rules.holdout_share <= 0:
        return False
    if who in standing.drawn:
        return standing.drawn[who]
    return draw(who, str(as_of)) < rules.holdout_share


def say_queue(
    decided: Sequence[dict[str, Any]], drivers: pd.DataFrame, as_of: date, rules: QueueRules
) -> pd.DataFrame:
    """Put the decisions in order and add to each its reason, its play and its sentence.

    Parameters
    ----------
    decided
        As `decide_queue` gives it.
    drivers, as_of, rules
        As for `make_queue`; drivers of customers decided upon are enough.

    Returns
    -------
    DataFrame
        As `make_queue` gives it.
    """
    status_order = {"contact": 0, "holdout": 1, "next": 2, "cooling": 3, "leave": 4}
    decided = sorted(
        decided,
        key=lambda row: (
            status_order[row["status"]],
            -_number(row["worth"]),
            -_number(row["churn_probability"]),
            row["customer_id"],
        ),
    )
    shown = {row["customer_id"] for row in decided}
    churn = drivers[drivers["target"].eq("churn")]
    churn = churn[churn["customer_id"].isin(list(shown))]
    mine = churn[pd.to_numeric(churn["contribution"]) > 0].sort_values("rank")
    reasons: dict[str, list[Any]] = {}
    for reason in mine[["customer_id", "theme", "signal", "sentence"]].to_dict("records"):
        reasons.setdefault(str(reason["customer_id"]), []).append(reason)
    rows, last = [], None
    for place, row in enumerate(decided, 1):
        if row["status"] == "contact":
            last = row["worth"]
        figures = row["why_figures"]
        if row["why_code"] in ("enters", "stays"):
            figures = {
                "probability": row["churn_probability"],
                "percentile": row["percentile"],
                "worth": _or_none(row["worth"]),
            }
        elif row["why_code"] == "team_full":
            figures = figures | {"worth": _or_none(row["worth"]), "last": _or_none(last)}
        play, answered = play_for(rules.plays, reasons.get(row["customer_id"], []))
        rows.append(
            {
                **{name: row[name] for name in ("customer_id", "status", "owner", "why_code")},
                "place": place,
                "worth": _or_none(row["worth"]),
                "why": _sentence(row["why_code"], figures, rules.currency),
                "why_figures": figures,
                "theme": answered["theme"] if answered else None,
                "signal": answered["signal"] if answered else None,
                "sentence": answered["sentence"] if answered else None,
                "play": play.play if play else None,
                "play_owner": (play.owner if play else None) or row["owner"],
                "due_on": str(as_of + timedelta(days=play.due_days if play else 7)),
                "is_new": not row["on_list"],
            }
        )
    return pd.DataFrame(rows, columns=list(LISTED))


def _sentence(code: str, figures: Mapping[str, Any], currency: str) -> str:
    """Say in English why a customer is where it is."""

    def money(value: Any) -> str:
        return "no value known" if value is None else f"{currency} {value:,.0f}".strip()

    if code in ("enters", "stays"):
        top = max(100.0 - figures["percentile"], 0.0)
        verb = "Stays" if code == "stays" else "New"
        return (
            f"{verb}: leaves with {100 * figures['probability']:.0f} %, "
            f"among the top {max(top, 0.1):.1f} %; {money(figures['worth'])} at stake"
        )
    if code == "held_out":
        return (
            f"Left alone on purpose for {figures['weeks']} weeks: drawn at random "
            f"({100 * figures['share']:.0f} %), to measure what acting does"
        )
    if code == "contacted_lately":
        return f"Contacted on {figures['contacted_on']}; not again before {figures['until']}"
    if code == "no_good_expected":
        return "Contact is expected to do no good"
    if code == "below_threshold":
        return (
            f"Risk percentile {figures['percentile']:.0f}, below the {figures['needed']:.0f} "
            "that is needed to come onto the list"
        )
    if code == "owner_full":
        who = figures["owner"] or "nobody in particular"
        return f"{who} has {figures['capacity']} customers on the list already"
    return (
        f"The team's {figures['capacity']} places are taken; {money(figures['worth'])} at stake, "
        f"the last on the list {money(figures['last'])}"
    )


def _number(value: Any) -> float:
    return float(value) if value is not None and value == value else 0.0


def _or_none(value: Any) -> float | None:
    return float(value) if value is not None and value == value else None
