"""How a customer's week leads to the next one: the states, the hazard, and `step`.

`step` is the only transition. The company is generated with it, and the truth about the future is
found by running it forward from a given week (see `retain.demo.truth`), so the two cannot differ.

The weekly log-odds of deciding to leave are `INTERCEPT` + one term per theme:

==========  =====================================================================
usage       use below the customer's own level: a decline, or slow drift
effort      a memory of hard support episodes; half of it is gone after 6 weeks
survey      low satisfaction; surveys see it with noise, and only when answered
commercial  a recent price rise, a renewal coming near, an invoice that failed
profile     segment, term and tenure
hidden      temperament, and a sponsor who left: no table shows either
==========  =====================================================================

Without contracts the commercial term is nothing, nobody is on trial or says so before leaving, and
whoever has left stays away; what is seen of a customer are visits, see `retain.demo.visits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from retain.demo.population import Bools, Floats, Ints, People

__all__ = [
    "DAYS",
    "GONE",
    "LOST",
    "NOTICE",
    "NOTICE_SHARES",
    "PAID",
    "PAUSED",
    "THEMES",
    "TRIAL",
    "WAITING",
    "Happened",
    "Hazard",
    "State",
    "add_months",
    "chance_of",
    "first_state",
    "step",
]

THEMES = ("usage", "effort", "survey", "commercial", "profile", "hidden")

WAITING, TRIAL, PAID, NOTICE, PAUSED, GONE, LOST = range(7)
"""Not joined; on trial; paying; cancelled but served; back within weeks; left; never converted."""

INTERCEPT = -6.05
NOTICE_SHARES = (0.5, 0.3, 0.2)  # served 0, 1 or 2 more weeks after cancelling
INVOLUNTARY_SHARE = 0.75  # of those who leave while an invoice is unpaid
QUICK_RETURN = (0.02, 0.25)  # back within three weeks after a voluntary, an involuntary end
RETURN_RATE = 0.0025  # a week, from eight weeks after the end
DUNNING_WEEKS = 4

DAYS = (
    "joined",
    "converted",
    "not_converted",
    "resumed",
    "changed",
    "cancelled",
    "ended",
    "invoiced",
    "retried",
)
"""What can happen on a day of a week, each once at most."""


def half_life(weeks: float) -> float:
    """Return the share of a memory that is left after one week."""
    return float(0.5 ** (1.0 / weeks))


EFFORT_KEPT, PRICE_KEPT, SPONSOR_KEPT = half_life(6), half_life(9), half_life(12)
LEVEL_KEPT, MOOD_KEPT, TEMPER_KEPT = 0.97, 0.98, 0.985


@dataclass
class State:
    """Where every customer stands at the end of a week; one entry per customer in each array."""

    status: Ints
    timer: Ints  # weeks left on trial, in notice or paused; weeks gone
    tenure: Ints  # paid weeks
    plan: Ints
    mrr: Floats
    renews: Ints  # day number of the next renewal (and invoice)
    unpaid: Ints  # weeks for which the last invoice has been unpaid
    price: Floats  # memory of price rises; 1 = ten per cent just now
    level: Floats  # slow drift of usage around the customer's own level, log
    decline: Floats  # how far usage has declined, log
    depth: Floats  # where the running decline leads; 0 = none is running
    trouble: Bools  # the product fails this customer: hard cases are likely
    effort: Floats  # memory of hard episodes
    mood: Floats  # satisfaction
    temper: Floats  # slow hidden drift
    sponsor: Floats  # memory of a sponsor change

    def take(self, which: Ints) -> State:
        """Return the same state for some customers, repeated as asked."""
        return State(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @property
    def eligible(self) -> Bools:
        """Paying, with no cancellation known."""
        return self.status == PAID


@dataclass(frozen=True)
class Hazard:
    """Weights of the themes (1 = as designed) and a drift of the base rate in log-odds a year."""

    weights: Mapping[str, float] = field(default_factory=dict)
    yearly_drift: float = 0.0
    has_contracts: bool = True

    def terms(self, people: People, state: State, day: int) -> Floats:
        """Return each theme's log-odds for the week that begins on `day`; shape (6, customers)."""
        ahead = np.maximum(0, (state.renews - day) // 7)
        annual, quarterly = people.months == 12, people.months == 3
        near = np.select([ahead <= 3, ahead <= 8, ahead <= 13], [2.3, 1.4, 0.3], -1.2)
        renewal = np.where(annual, near, np.where(quarterly, np.where(ahead <= 2, 0.5, -0.2), 0.0))
        terms = np.stack(
            [
                1.4 * (state.decline - state.level),
                1.45 * np.log1p(1.6 * state.effort),
                -0.75 * state.mood,
                1.4 * np.minimum(state.price, 2.5) + 2.6 * (state.unpaid > 0) + renewal,
                np.asarray((0.25, -0.1, -0.5))[people.segment]
                + np.where(annual, -0.15, 0.1)
                - 0.38 * (np.log1p(state.tenure / 13.0) - 1.9),
                0.3 * people.frailty + 0.35 * state.temper + 1.4 * state.sponsor,
            ]
        )
        weights = np.asarray([self.weights.get(theme, 1.0) for theme in THEMES])
        if not self.has_contracts:
            weights[THEMES.index("commercial")] = 0.0
        return terms * weights[:, None]

    def intercept(self, week: int) -> float:
        """Return the log-odds that every customer starts from in a week."""
        return INTERCEPT + self.yearly_drift * week / 52.0


@dataclass(frozen=True)
class Happened:
    """What one week brought; days are day numbers, -1 where the thing did not happen."""

    terms: Floats  # log-odds the week began with, shape (6, customers)
    chance: Floats  # probability of deciding to leave this week; 0 where the customer cannot
    joined: Ints
    converted: Ints
    not_converted: Ints
    resumed: Ints  # back after a pause or after having left
    cancelled: Ints
    ended: Ints
    involuntary: Bools
    changed: Ints  # a new span replaced the old one
    invoiced: Ints  # an invoice fell due
    retried: Ints  # an unpaid one was tried again
    collected: Floats  # money that arrived this week
    failed: Floats  # money that was asked for and did not
    severity: Floats  # of this week's hard support episode; 0 = none
    hard: Floats  # how likely one was, for whoever is there


def first_state(people: People) -> State:
    """Return the state before anyone has joined."""
    n = len(people)
    zero, none = np.zeros(n), np.zeros(n, dtype=np.int64)
    return State(
        status=none.copy(),
        timer=none.copy(),
        tenure=none.copy(),
        plan=people.plan.copy(),
        mrr=people.first_mrr.copy(),
        renews=none.copy(),
        unpaid=none.copy(),
        price=zero.copy(),
        level=zero.copy(),
        decline=zero.copy(),
        depth=zero.copy(),
        trouble=np.zeros(n, dtype=bool),
        effort=zero.copy(),
        mood=people.contentment.copy(),
        temper=zero.copy(),
        sponsor=zero.copy(),
    )


def step(
    people: People,
    state: State,
    week: int,
    day: int,
    hazard: Hazard,
    rng: np.random.Generator,
    *,
    leave: bool = True,
) -> tuple[State, Happened]:
    """Live through one week.

    Parameters
    ----------
    people, state
        The customers and where they stood at the end of the week before.
    week, day
        Index of the week and day number of its first day.
    hazard
        The weights of the themes.
    rng
        Source of chance.
    leave
        False lets nobody decide to leave; `Happened.chance` then says how likely it was. The truth
        uses that to carry probabilities along a path instead of drawing endings.

    Returns
    -------
    tuple of State and Happened
        Where everyone stands at the end of the week, and what happened in it.
    """
    n = len(state.status)
    status, timer, renews, mrr = (
        getattr(state, name).copy() for name in ("status", "timer", "renews", "mrr")
    )
    days: dict[str, Any] = {name: np.full(n, -1) for name in DAYS}

    def some_day(mask: Bools, lowest: int = 0, highest: int = 6) -> Ints:
        return day + rng.integers(lowest, highest + 1, int(mask.sum()))

    # 1. who decides to leave, on what was known when the week began
    terms = hazard.terms(people, state, day)
    odds = hazard.intercept(week) + terms.sum(axis=0)
    paying = state.status == PAID
    chance = np.where(paying, chance_of(odds), 0.0)
    involuntary = np.zeros(n, dtype=bool)
    ends = np.zeros(n, dtype=bool)
    if leave:
        ends = (state.status == NOTICE) & (state.timer <= 1)
        days["ended"][ends] = some_day(ends)
        timer[(state.status == NOTICE) & ~ends] -= 1
        leaving = rng.random(n) < chance
        if not hazard.has_contracts:  # nothing is said, nothing comes after
            status[leaving], timer[leaving] = GONE, 0
            leaving = np.zeros(n, dtype=bool)
        involuntary = leaving & (state.unpaid > 0) & (rng.random(n) < INVOLUNTARY_SHARE)
        days["ended"][involuntary] = some_day(involuntary)
        asked = leaving & ~involuntary
        days["cancelled"][asked] = some_day(asked, 0, 5)
        served = np.searchsorted(np.cumsum(NOTICE_SHARES)[:2], rng.random(n), side="right")
        at_once = asked & (served == 0)
        room = day + 6 - days["cancelled"][at_once]
        days["ended"][at_once] = days["cancelled"][at_once] + rng.integers(1, room + 1)
        notice = asked & (served > 0)
        status[notice], timer[notice] = NOTICE, served[notice]
        ends |= involuntary | at_once
        quick = ends & (rng.random(n) < np.where(involuntary, QUICK_RETURN[1], QUICK_RETURN[0]))
        status[ends], timer[ends] = GONE, 0
        status[quick], timer[quick] = PAUSED, rng.integers(1, 4, int(quick.sum()))

    # 2. who starts: joins, converts, comes back
    joins = (state.status == WAITING) & (people.joins == week)
    days["joined"][joins] = some_day(joins)
    on_trial = joins & (people.trial_weeks > 0)
    status[joins] = np.where(on_trial[joins], TRIAL, PAID)
    timer[joins] = people.trial_weeks[joins]
    trying = state.status == TRIAL
    timer[trying] -= 1
    decides = trying & (timer <= 0)
    likes = rng.random(n) < 1.0 / (1.0 + np.exp(-(0.5 + 0.9 * state.level + 0.5 * state.mood)))
    status[decides] = np.where(likes[decides], PAID, LOST)
    days["converted"][decides & likes] = some_day(decides & likes)
    days["not_converted"][decides & ~likes] = some_day(decides & ~likes)
    paused, gone = state.status == PAUSED, state.status == GONE
    timer[paused] -= 1
    timer[gone] += 1
    back = (paused & (timer <= 0)) | (gone & (timer >= 8) & (rng.random(n) < RETURN_RATE))
    back &= hazard.has_contracts
    days["resumed"][back] = some_day(back)
    status[back] = PAID
    begins = (joins & ~on_trial) | (decides & likes) | back
    started = np.maximum(np.maximum(days["joined"], days["converted"]), days["resumed"])
    renews[begins] = started[begins]

    # 3. renewals, price rises, other plans; every change opens a new span with its own term
    price = state.price * PRICE_KEPT
    plan = state.plan.copy()
    going = (status == PAID) & ~begins & hazard.has_contracts
    renewing = going & (renews < day + 7)
    dice = rng.random(n)
    rise = renewing & (dice < np.where(people.months == 12, 0.55, 0.022 * people.months))
    by = rng.uniform(0.03, 0.16, n)
    mrr[rise] = np.round(mrr[rise] * (1 + by[rise]), 2)
    price[rise] += 10 * by[rise]
    dice = rng.random(n)
    per_term = np.where(people.months == 12, 0.06, 0.004 * people.months)
    grows = (renewing & (dice < per_term)) | (
        going & (people.months == 12) & (dice < 0.004) & (state.mood > -0.5)
    )
    shrinks = renewing & (dice > 1 - per_term * (1 + np.minimum(2, state.decline)))
    plan[grows] = np.minimum(plan[grows] + 1, 2)
    mrr[grows] = np.round(mrr[grows] * 1.3, 2)
    plan[shrinks] = np.maximum(plan[shrinks] - 1, 0)
    mrr[shrinks] = np.round(mrr[shrinks] * 0.75, 2)
    midterm = grows & ~renewing
    renews[midterm] = some_day(midterm)
    changed = rise | grows | shrinks | (renewing & (people.months == 12))
    days["changed"][changed] = renews[changed]

    # 4. invoices at the start of every term; failed ones are tried again each week
    due = begins | renewing | midterm
    days["invoiced"][due] = renews[due]
    renews[due] = add_months(renews[due], people.months[due])
    amount = np.round(mrr * people.months, 2)
    works = rng.random(n)
    fails = due & (works < people.card_risk)
    waiting = (status == PAID) & (state.unpaid > 0) & ~due
    recovers = waiting & ((works < 0.45) | (state.unpaid >= DUNNING_WEEKS))
    days["retried"][waiting] = some_day(waiting)
    unpaid = np.where(fails, 1, np.where(waiting & ~recovers, state.unpaid + 1, 0))

    # 5. behaviour and feelings drift on
    dice = rng.random(n)
    declining = state.depth > 0
    depth = np.where(declining & (dice < 0.045), 0.0, state.depth)
    starts = ~declining & (dice < 0.006)
    depth[starts] = rng.uniform(0.6, 2.6, int(starts.sum()))
    pull = np.where(depth > 0, 0.13, 0.09)
    dice = rng.random(n)
    trouble = np.where(state.trouble, dice > 0.11, dice < 0.007)
    how_hard = np.where(trouble, 0.38, 0.006)
    hard = rng.random(n) < how_hard
    serves = (status == PAID) | (status == TRIAL) | (status == NOTICE)
    severity = np.zeros(n)
    hard &= serves
    severity[hard] = rng.gamma(2.0, 0.5, int(hard.sum()))
    leaves_sponsor = rng.random(n) < 0.004
    drift = rng.normal(size=(3, n))
    target = 0.75 * people.contentment - 0.25 * state.effort - 0.2 * state.price
    after = State(
        status=status,
        timer=timer,
        # without contracts nobody is told that a customer has left, so tenure goes on
        tenure=state.tenure + ((status == PAID) | ((status == GONE) & (not hazard.has_contracts))),
        plan=plan,
        mrr=mrr,
        renews=renews,
        unpaid=unpaid,
        price=price,
        level=LEVEL_KEPT * state.level + 0.3 * np.sqrt(1 - LEVEL_KEPT**2) * drift[0],
        decline=np.where(joins, 0.0, state.decline + pull * (depth - state.decline)),
        depth=np.where(joins, 0.0, depth),
        trouble=trouble,
        effort=state.effort * EFFORT_KEPT + severity,
        mood=target
        + MOOD_KEPT * (state.mood - target)
        + 0.65 * np.sqrt(1 - MOOD_KEPT**2) * drift[1],
        temper=TEMPER_KEPT * state.temper + np.sqrt(1 - TEMPER_KEPT**2) * drift[2],
        sponsor=state.sponsor * SPONSOR_KEPT + leaves_sponsor,
    )
    happened = Happened(
        terms=terms,
        chance=chance,
        involuntary=involuntary,
        collected=np.where((due & ~fails) | recovers, amount, 0.0),
        failed=np.where(fails | (waiting & ~recovers), amount, 0.0),
        severity=severity,
        hard=how_hard,
        **days,
    )
    return after, happened


def chance_of(odds: Floats) -> Floats:
    """Turn log-odds into a probability."""
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def add_months(day: Ints, months: Ints) -> Ints:
    """Return the day number the given months later; a missing day becomes the month's last.

    Examples
    --------
    >>> add_months(np.array([30]), np.array([1])).astype("datetime64[D]").astype(str).tolist()
    ['1970-02-28']
    """
    start = np.asarray(day).astype("datetime64[D]")
    month = start.astype("datetime64[M]")
    of_month = (start - month.astype("datetime64[D]")).astype(np.int64)
    target = month + np.asarray(months).astype("timedelta64[M]")
    first = target.astype("datetime64[D]").astype(np.int64)
    last = (target + np.timedelta64(1, "M")).astype("datetime64[D]").astype(np.int64) - 1
    return np.minimum(first + of_month, last)
