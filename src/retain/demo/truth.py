"""What nobody can know in a real company: how likely each customer was to leave, and why.

From the full state at `as_of`, hidden parts included, the weekly transition is run forward many
times. Nobody is made to leave on these paths: each carries the probability of still being there,
which takes the coin tosses out of the result and leaves only the chance in how states drift.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from retain.demo.life import Life
from retain.demo.population import Bools, Floats, Ints, People
from retain.demo.weekly import (
    GONE,
    INVOLUNTARY_SHARE,
    LOST,
    NOTICE,
    NOTICE_SHARES,
    PAUSED,
    QUICK_RETURN,
    RETURN_RATE,
    THEMES,
    TRIAL,
    State,
    step,
)
from retain.errors import SnapshotError

__all__ = ["REFUND_SHARE", "Truth"]

VISIBLE = THEMES[:-1]
REFUND_SHARE = 0.003  # of collected money that is paid back later, expected
LEAVES_AGAIN = 0.007  # a week, of those who came back: about the mean of all
SERVED_ON = 1.2  # weeks served from the week in which a customer decides to leave, on average
NOTICE_BY = np.cumsum(NOTICE_SHARES)  # probability that service has ended after 0, 1, 2 more weeks


@dataclass(frozen=True)
class Truth:
    """The true future of a simulated company, for any customer and any complete week.

    Attributes
    ----------
    life
        The simulated weeks.
    customer_ids
        Ids in the order of the simulated customers.
    clv_weeks, gross_margin, annual_discount_rate
        What the expected margin is counted over.
    """

    life: Life
    customer_ids: tuple[str, ...]
    clv_weeks: int = 52
    gross_margin: float = 0.8
    annual_discount_rate: float = 0.10

    def week_of(self, as_of: dt.date) -> int:
        """Return the index of the week that ends on `as_of`."""
        day = (as_of - dt.date(1970, 1, 1)).days
        week, beyond = divmod(day - self.life.first_day, 7)
        if beyond != 6 or not 0 <= week < self.life.weeks:
            first, last = (
                dt.date(1970, 1, 1) + dt.timedelta(days=self.life.day_of(w) + 6)
                for w in (0, self.life.weeks - 1)
            )
            raise SnapshotError(
                f"the truth has no as_of {as_of} ({as_of:%A}); it is known at the end of every week"
                f" from {first} to {last}, always a {last:%A}. Ask for one of those days."
            )
        return week

    def at(self, as_of: dt.date, horizon_weeks: int = 13, *, runs: int = 128) -> pd.DataFrame:
        """Return the truth about every customer on the evening of `as_of`.

        Parameters
        ----------
        as_of
            Last day of a complete week.
        horizon_weeks
            Churn is a paid service that ends in (as_of, as_of + horizon] and is not replaced
            within four weeks.
        runs
            Paths per customer; the standard error of a probability is about the probability
            divided by the square root of `runs`.

        Returns
        -------
        DataFrame
            One row per customer who has joined: customer_id; eligible (pays, no cancellation
            known); churn_probability in [0, 1], null where not eligible; expected_margin
            (discounted margin on invoices collected within the CLV horizon, currency) and
            expected_mrr_margin (the same, accrued week by week); one column per theme and hidden:
            log-odds of churn minus the log-odds with that theme's term set, in every week ahead,
            to its mean over all eligible customers (positive raises churn); main_theme: the
            theme with the largest raising contribution, hidden left aside, null when none raises.

        Raises
        ------
        SnapshotError
            When `as_of` does not end a simulated week.
        """
        week = self.week_of(as_of)
        people, state = self.life.state_at(week)
        rng = np.random.default_rng([self.life.seed, 2, week])
        known = np.flatnonzero(people.joins <= week)
        people, state = people.take(known), state.take(known)
        eligible = np.flatnonzero(state.eligible)
        probability, without = self._churn(people, state, eligible, week, horizon_weeks, runs, rng)
        collected, accrued = self._margin(people, state, week, max(8, runs // 8), rng)
        truth = pd.DataFrame(
            {
                "customer_id": np.asarray(self.customer_ids)[known],
                "eligible": state.eligible,
                "churn_probability": np.nan,
                "expected_margin": collected,
                "expected_mrr_margin": accrued,
            }
        )
        truth.loc[eligible, "churn_probability"] = probability
        effect = _logit(probability) - _logit(without)
        for theme, values in zip(THEMES, effect, strict=True):
            truth[theme] = np.nan
            truth.loc[eligible, theme] = values
        largest = effect[: len(VISIBLE)].argmax(axis=0)
        raising = effect[: len(VISIBLE)].max(axis=0) > 0
        truth["main_theme"] = pd.array([None] * len(truth), dtype="str")
        truth.loc[eligible[raising], "main_theme"] = np.asarray(VISIBLE)[largest[raising]]
        return truth

    def _churn(
        self,
        people: People,
        state: State,
        eligible: Ints,
        week: int,
        horizon_weeks: int,
        runs: int,
        rng: np.random.Generator,
    ) -> tuple[Floats, Floats]:
        """Return P(churn), shape (eligible,), and the same without each theme, (6, eligible)."""
        who = np.repeat(eligible, runs)
        people, state = people.take(who), state.take(who)
        stays = np.ones((1 + len(THEMES), len(who)))
        churned = np.zeros_like(stays)
        for ahead in range(1, horizon_weeks + 1):
            w, unpaid = week + ahead, state.unpaid > 0
            state, happened = step(
                people, state, w, self.life.day_of(w), self.life.hazard, rng, leave=False
            )
            odds = self.life.hazard.intercept(w) + happened.terms.sum(axis=0)
            without = odds - happened.terms + happened.terms.mean(axis=1, keepdims=True)
            chance = 1.0 / (1.0 + np.exp(-np.vstack([odds[None], without])))
            left = NOTICE_BY[min(horizon_weeks - ahead, len(NOTICE_BY) - 1)]
            for_good, seen = _for_good(unpaid, left)
            churned += stays * chance * seen
            stays *= 1.0 - chance * for_good
        shape = (len(stays), len(eligible), runs)
        result = churned.reshape(shape).mean(axis=2)
        return result[0], result[1:]

    def _margin(
        self, people: People, state: State, week: int, runs: int, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Return expected discounted margin on invoices collected, and accrued, per customer."""
        n = len(people)
        who = np.repeat(np.arange(n), runs)
        people, state = people.take(who), state.take(who)
        served_out = np.where(state.status == NOTICE, state.timer, 0)
        was_gone = state.status == GONE
        gone = np.where(was_gone, 1.0, 0.0)  # probability of having left
        gone_for = np.where(was_gone, state.timer, 0)
        here, returned = 1.0 - gone, np.zeros(len(who))
        collected, accrued = np.zeros(len(who)), np.zeros(len(who))
        for ahead in range(1, self.clv_weeks + 1):
            w, unpaid = week + ahead, state.unpaid > 0
            state, happened = step(
                people, state, w, self.life.day_of(w), self.life.hazard, rng, leave=False
            )
            chance = happened.chance * _for_good(unpaid, 1.0)[0]
            leaves = np.where(served_out == ahead, here, here * chance)
            back = gone * RETURN_RATE * (gone_for >= 8)
            gone_for = gone_for + 1
            here, gone = here - leaves, gone + leaves - back
            returned = returned * (1 - np.where(was_gone, LEAVES_AGAIN, chance)) + back
            discount = (1.0 + self.annual_discount_rate) ** (-ahead / 52.0)
            weekly = state.mrr * 12.0 / 52.0
            serves = ~np.isin(state.status, (TRIAL, GONE, PAUSED, LOST))
            paid = np.where(served_out > 0, 0.0, here * happened.collected)
            # Those who come back pay a year at once, or about evenly.
            paid += np.where(people.months == 12, back * 12.0 * state.mrr, returned * weekly)
            collected += paid * (1 - REFUND_SHARE) * discount
            accrued += weekly * discount * (serves * (here + leaves * SERVED_ON) + returned)
        margin = self.gross_margin * np.stack([collected, accrued])
        collected, accrued = margin.reshape(2, n, runs).mean(axis=2)
        return collected, accrued


def _for_good(unpaid: Bools, notice_over: float) -> tuple[Floats, Floats]:
    """Return P(leaves for good | decides to), and P(leaves for good within the horizon | ...)."""
    forced = np.where(unpaid, INVOLUNTARY_SHARE, 0.0)
    asked, thrown_out = (1 - forced) * (1 - QUICK_RETURN[0]), forced * (1 - QUICK_RETURN[1])
    return asked + thrown_out, asked * notice_over + thrown_out


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.log(p / (1 - p))
