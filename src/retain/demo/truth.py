"""What nobody can know in a real company: how likely each customer was to leave, and why.

From the full state at `as_of`, hidden parts included, the weekly transition is run forward many
times. Nobody is made to leave on these paths: each carries the probability of still being there,
which takes the coin tosses out of the result and leaves only the chance in how states drift.

Without contracts, to leave is to show no behaviour for so many weeks at a stretch, whether or not
the customer has gone; see `retain.demo.visits` for what is known of those who are silent now.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from retain.demo.life import Life
from retain.demo.population import Bools, Floats, Ints, People
from retain.demo.visits import (
    ORDERS_A_VISIT,
    Silence,
    draw_visits,
    expected_orders,
    leaves_in,
    order_value,
    silent_week,
    still_there,
    visit_rate,
)
from retain.demo.weekly import (
    GONE,
    INVOLUNTARY_SHARE,
    LOST,
    NOTICE,
    NOTICE_SHARES,
    PAID,
    PAUSED,
    QUICK_RETURN,
    RETURN_RATE,
    THEMES,
    TRIAL,
    State,
    chance_of,
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
class _Now:
    """Where everyone who has joined stands at the end of a week."""

    week: int
    known: Ints  # positions of those who have joined
    people: People
    state: State
    eligible: Bools
    there: Floats | None = None  # how likely each is to be there still, without contracts


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
    silent_weeks: int = 13  # without contracts: of silence that count as having left

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
            within four weeks; without contracts no behaviour for `silent_weeks` at a stretch.
        runs
            Paths per customer; the standard error of a probability is about the probability
            divided by the square root of `runs`.

        Returns
        -------
        DataFrame
            One row per customer who has joined: customer_id; eligible (pays, no cancellation
            known; without contracts: has visited within `silent_weeks`); churn_probability in
            [0, 1], null where not eligible; expected_margin (discounted margin on what is
            collected within the CLV horizon, currency) and expected_mrr_margin (the same, accrued
            week by week; null without contracts); one column per theme and hidden: log-odds of
            churn minus the log-odds with that theme's term set, in every week ahead, to its mean
            over all eligible customers (positive raises churn; without contracts usage is also how
            often they visit, and what their silence says by now); main_theme: the theme with the
            largest raising contribution, hidden left aside, null when none raises.

        Raises
        ------
        SnapshotError
            When `as_of` does not end a simulated week.
        """
        now = self._now(as_of)
        rng = np.random.default_rng([self.life.seed, 2, now.week])
        eligible = np.flatnonzero(now.eligible)
        (probability, *without_each), *_ = self._left_by(now, (horizon_weeks,), runs, rng)
        without = np.array(without_each)
        collected, accrued = self._margin(now, max(8, runs // 8), rng)
        truth = pd.DataFrame(
            {
                "customer_id": np.asarray(self.customer_ids)[now.known],
                "eligible": now.eligible,
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

    def churned_by(
        self, as_of: dt.date, horizons: tuple[int, ...], *, runs: int = 64
    ) -> pd.DataFrame:
        """Return the probability of having left by each of several horizons.

        Parameters
        ----------
        as_of, runs
            As for `at`.
        horizons
            Weeks; without contracts none below `silent_weeks` has a meaning.

        Returns
        -------
        DataFrame
            One row per eligible customer: customer_id, and churn_by_{weeks}w for each horizon.
        """
        now = self._now(as_of)
        rng = np.random.default_rng([self.life.seed, 6, now.week])
        left = self._left_by(now, horizons, runs, rng, by_theme=False)
        table = pd.DataFrame(
            {"customer_id": np.asarray(self.customer_ids)[now.known][now.eligible]}
        )
        for at, weeks in enumerate(horizons):
            table[f"churn_by_{weeks}w"] = left[at, 0]
        return table

    def drawn_margin(self, as_of: dt.date, draws: int = 1) -> pd.DataFrame:
        """Draw what comes after `as_of`: the discounted margin that each customer then brings.

        Parameters
        ----------
        as_of
            Last day of a complete week.
        draws
            Futures per customer, none of which is the written record's.

        Returns
        -------
        DataFrame
            One row per customer who has joined, one column per future, customer_id the index:
            currency, as expected_margin in `at`.
        """
        now = self._now(as_of)
        rng = np.random.default_rng([self.life.seed, 7, now.week])
        who = np.repeat(np.arange(len(now.people)), draws)
        people, state = now.people.take(who), now.state.take(who)
        if now.there is not None:
            stays = rng.random(len(who)) < now.there[who]
            state = replace(state, status=np.where(stays, PAID, GONE))
        margin = np.zeros(len(who))
        for ahead in range(1, self.clv_weeks + 1):
            w = now.week + ahead
            state, happened = step(people, state, w, self.life.day_of(w), self.life.hazard, rng)
            if now.there is None:
                came = happened.collected * (1 - REFUND_SHARE)
            else:
                rate = visit_rate(people, state.level - state.decline)
                visits = np.maximum(rng.poisson(rate), happened.severity > 0)
                visits = visits * (state.status == PAID)
                orders = rng.binomial(visits, ORDERS_A_VISIT)
                came = order_value(people, orders, np.arange(len(who)), rng)
            margin += came * self.gross_margin * self._discount(ahead)
        ids = pd.Index(np.asarray(self.customer_ids)[now.known], name="customer_id")
        return pd.DataFrame(margin.reshape(-1, draws), index=ids)

    def _now(self, as_of: dt.date) -> _Now:
        """Live until a week again, and see who has joined by then and who is eligible."""
        week = self.week_of(as_of)
        people, state = self.life.state_at(week)
        known = np.flatnonzero(people.joins <= week)
        if self.life.hazard.has_contracts:
            state = state.take(known)
            return _Now(week, known, people.take(known), state, state.eligible)
        people, record = self.life.record()
        visits = draw_visits(self.life, people, record)
        there = still_there(self.life, people, record, visits, week)
        lately: Any = visits[max(week - self.silent_weeks + 1, 0) : week + 1].any(axis=0)
        # of those who left, too, the life that they would have lived goes on in the background
        state = replace(state, status=np.full(len(people), PAID))
        return _Now(week, known, people.take(known), state.take(known), lately[known], there[known])

    def _discount(self, weeks: int) -> float:
        return float((1.0 + self.annual_discount_rate) ** (-weeks / 52.0))

    def _left_by(
        self,
        now: _Now,
        horizons: tuple[int, ...],
        runs: int,
        rng: np.random.Generator,
        *,
        by_theme: bool = True,
    ) -> Floats:
        """Return P(churn), and the same without each theme: shape (horizons, 1 or 7, eligible)."""
        eligible = np.flatnonzero(now.eligible)
        who = np.repeat(eligible, runs)
        people, state = now.people.take(who), now.state.take(who)
        ways = 1 + len(THEMES) * by_theme
        stays, churned = np.ones((ways, len(who))), np.zeros((len(horizons), ways, len(who)))
        silences: list[Silence] = []
        if now.there is not None:
            usual = np.full(len(who), now.there[eligible].mean())
            usage = 1 + THEMES.index("usage")
            silences = [
                Silence(usual if way == usage else now.there[who], self.silent_weeks)
                for way in range(ways)
            ]
        for ahead in range(1, max(horizons) + 1):
            w = now.week + ahead
            unpaid: Any = state.unpaid > 0
            state, happened = step(
                people, state, w, self.life.day_of(w), self.life.hazard, rng, leave=False
            )
            odds = self.life.hazard.intercept(w) + happened.terms.sum(axis=0)
            chance = chance_of(odds)[None]
            if by_theme:
                without = odds - happened.terms + happened.terms.mean(axis=1, keepdims=True)
                chance = np.vstack([chance, chance_of(without)])
            if silences:
                silent = silent_week(people, state, happened)
                for way, silence in enumerate(silences):
                    usual_week = np.full(len(who), silent.mean())
                    silence.live(chance[way], usual_week if way == usage else silent)
                if ahead in horizons:
                    churned[horizons.index(ahead)] = [silence.left for silence in silences]
                continue
            for at, weeks in enumerate(horizons):
                if ahead <= weeks:
                    over = NOTICE_BY[min(weeks - ahead, len(NOTICE_BY) - 1)]
                    churned[at] += stays * chance * _for_good(unpaid, over)[1]
            stays *= 1.0 - chance * _for_good(unpaid, 1.0)[0]
        return churned.reshape(len(horizons), ways, len(eligible), runs).mean(axis=3)

    def _margin(self, now: _Now, runs: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return expected discounted margin on what is collected, and accrued, per customer."""
        if now.there is not None:
            ordered = self._ordered(now, now.there, runs, rng)
            return ordered, np.full(len(ordered), np.nan)
        people, state, week = now.people, now.state, now.week
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
            discount = self._discount(ahead)
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

    def _ordered(self, now: _Now, there: Any, runs: int, rng: np.random.Generator) -> Floats:
        """Return the expected discounted margin on orders, per customer without a contract."""
        who = np.repeat(np.arange(len(now.people)), runs)
        people, state, here = now.people.take(who), now.state.take(who), there[who]
        margin = np.zeros(len(who))
        for ahead in range(1, self.clv_weeks + 1):
            w = now.week + ahead
            state, happened = step(
                people, state, w, self.life.day_of(w), self.life.hazard, rng, leave=False
            )
            here = here * (1.0 - leaves_in(self.life.hazard, w, happened))
            orders = here * expected_orders(people, state, happened)
            margin += orders * people.first_mrr * self.gross_margin * self._discount(ahead)
        return np.asarray(margin.reshape(-1, runs).mean(axis=1))


def _for_good(unpaid: Bools, notice_over: float) -> tuple[Floats, Floats]:
    """Return P(leaves for good | decides to), and P(leaves for good within the horizon | ...)."""
    forced = np.where(unpaid, INVOLUNTARY_SHARE, 0.0)
    asked, thrown_out = (1 - forced) * (1 - QUICK_RETURN[0]), forced * (1 - QUICK_RETURN[1])
    return asked + thrown_out, asked * notice_over + thrown_out


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.log(p / (1 - p))
