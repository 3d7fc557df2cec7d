"""Customers without contracts: how often they visit, and how likely those who fell silent are gone.

A customer who is there visits every three weeks or so, oftener or more seldom by his own habit, and
more seldom while his use declines; a hard support episode is a visit, too. Nobody says so on
leaving. Whether a silent customer has gone is a coin that has been tossed already; the truth does
not look under it, for nobody could: it knows his habits, his state and the weeks of his silence,
and works out from those how likely he is to be there still.
"""

from __future__ import annotations

import numpy as np

from retain.demo.life import Life, Record
from retain.demo.population import Floats, Ints, People
from retain.demo.weekly import PAID, Happened, Hazard, State, chance_of

__all__ = [
    "ORDERS_A_VISIT",
    "Silence",
    "draw_visits",
    "expected_orders",
    "leaves_in",
    "order_value",
    "silent_week",
    "still_there",
    "visit_rate",
]

VISITS_A_WEEK = 1 / 3
HABIT, USUAL_LEVEL = 0.6, 0.75  # how far visits follow the customer's level of use, and its mean
ORDERS_A_VISIT = 0.7
ORDER_SPREAD = 0.5  # of the log of what is ordered in a week


def visit_rate(people: People, use: Floats) -> Floats:
    """Return visits a week of whoever is there; `use` is the log against the own level."""
    return VISITS_A_WEEK * np.exp(HABIT * (people.usage_level - USUAL_LEVEL) + use)


def draw_visits(life: Life, people: People, record: Record) -> Ints:
    """Return the number of visits in each week, shape (weeks, customers)."""
    rng = np.random.default_rng([life.seed, 5])
    there = record.status == PAID
    sure = (record.severity > 0) | (people.joins == np.arange(life.weeks)[:, None])
    return np.maximum(rng.poisson(visit_rate(people, record.usage.astype(float))), sure) * there


def order_value(people: People, orders: Ints, who: Ints, rng: np.random.Generator) -> Floats:
    """Return what is ordered: so many baskets of the customers at positions `who`, currency."""
    basket = people.first_mrr[who] * orders
    return basket * rng.lognormal(-0.5 * ORDER_SPREAD**2, ORDER_SPREAD, len(who))


def silent_week(people: People, after: State, happened: Happened) -> Floats:
    """Return P(no visit in the week just lived | there), given the week's hard episode or none."""
    return np.exp(-visit_rate(people, after.level - after.decline)) * (happened.severity == 0)


def expected_orders(people: People, after: State, happened: Happened) -> Floats:
    """Return the orders expected in the week just lived by whoever is there."""
    rate = visit_rate(people, after.level - after.decline)
    return ORDERS_A_VISIT * (rate + np.exp(-rate) * (happened.severity > 0))


def still_there(life: Life, people: People, record: Record, visits: Ints, week: int) -> Floats:
    """Return how likely each customer is to be there at the end of a week, by his visits so far.

    Whoever visits is there. Every week of silence after it is told by two stories, that he left
    and that he only did not come, weighed by the hazard and the rate of that very week.
    """
    there, gone = np.ones(len(people)), np.zeros(len(people))
    for w in range(week + 1):
        odds = life.hazard.intercept(w) + record.terms[w].sum(axis=0, dtype=float)
        leaves = chance_of(odds)
        rate = visit_rate(people, record.usage[w].astype(float))
        silent = np.exp(-rate) * (1.0 - record.hard[w])
        there, gone = there * (1.0 - leaves) * silent, gone + there * leaves
        seen = visits[w] > 0
        there, gone = np.where(seen, 1.0, there), np.where(seen, 0.0, gone)
        whole = there + gone
        there, gone = there / whole, gone / whole
    return there


class Silence:
    """Weeks of silence carried forward: how likely so many of them at a stretch are by now.

    Parameters
    ----------
    there
        How likely each customer is to be there at the start, shape (paths,).
    weeks
        Of silence that count as having left.
    """

    def __init__(self, there: Floats, weeks: int) -> None:
        # by weeks of silence so far: still there, and gone
        self._there, self._gone = np.zeros((2, weeks, len(there)))
        self._there[0], self._gone[0] = there, 1.0 - there
        self.left = np.zeros(len(there))

    def live(self, leaves: Floats, silent: Floats) -> None:
        """Live through a week: who leaves at its start, and who does not visit though there."""
        stays = self._there * (1.0 - leaves)
        gone = self._gone + self._there * leaves
        quiet = stays * silent
        self.left = self.left + quiet[-1] + gone[-1]
        self._there[1:], self._gone[1:] = quiet[:-1], gone[:-1]
        self._there[0], self._gone[0] = (stays - quiet).sum(axis=0), 0.0


def leaves_in(hazard: Hazard, week: int, happened: Happened) -> Floats:
    """Return P(leaves at the start of the week just lived | there)."""
    return chance_of(hazard.intercept(week) + happened.terms.sum(axis=0))
