"""Companies without contracts: visits, silence, and a truth that agrees with futures drawn."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from retain import load_config
from retain.demo import make_company
from retain.demo.visits import Silence, draw_visits, still_there, visit_rate
from retain.demo.weekly import PAID, chance_of, step

UNTIL = dt.date(2026, 11, 15)
WEEKS = 60
THEN = 26  # weeks before the export


@pytest.fixture(scope="module")
def company():
    return make_company(900, weeks=WEEKS, seed=2, kind="inactivity")


@pytest.fixture(scope="module")
def truth(company):
    return company.truth.at(UNTIL - dt.timedelta(weeks=THEN), runs=24).set_index("customer_id")


@pytest.fixture(scope="module")
def seen(company):
    """Customer by week: whether anything was seen, from the written record alone."""
    usage, orders = company.tables["usage"], company.tables["payments"]
    rows = pd.concat(
        [
            usage[["customer_id", "occurred_at"]].set_axis(["who", "at"], axis=1),
            orders[["customer_id", "paid_at"]].set_axis(["who", "at"], axis=1),
        ]
    ).dropna()
    first = pd.Timestamp(UNTIL) + pd.Timedelta(days=1) - pd.Timedelta(weeks=WEEKS)
    rows["week"] = (rows["at"] - first).dt.days // 7
    rows = rows[rows["week"].between(0, WEEKS - 1)]
    return rows.pivot_table(index="who", columns="week", aggfunc="size", fill_value=0) > 0


def test_a_company_without_contracts_has_six_tables_and_no_word_of_who_has_left(company):
    assert list(company.tables) == [
        *("customers", "payments", "usage", "interactions", "surveys", "referrals"),
    ]
    assert all(len(table) for table in company.tables.values())
    people = company.tables["customers"]
    assert not {"plan", "account_status"} & set(people)
    assert people["owner"].notna().all()


def test_its_configuration_is_read_and_means_thirteen_weeks_of_silence(company, tmp_path):
    config = load_config(company.write(tmp_path / "demo"))
    assert (config.churn.kind, config.churn.horizon_weeks, config.churn.active_weeks) == (
        *("inactivity", 13),
        13,
    )


def test_customers_visit_every_few_weeks_and_order_only_when_they_do(company, seen):
    life = company.truth.life
    people, record = life.record()
    visits = draw_visits(life, people, record)
    assert 0.2 < (visits > 0)[record.status == PAID].mean() < 0.45
    assert (visits[record.status != PAID] == 0).all()
    written = seen.reindex(company.truth.customer_ids, fill_value=False).to_numpy().T
    assert (written & (visits == 0)).sum() == 0
    assert (~written & (visits > 0)).mean() < 0.001  # loaded after the export


@pytest.mark.slow
def test_who_is_eligible_has_been_seen_within_thirteen_weeks(truth, seen):
    week = WEEKS - 1 - THEN
    lately = seen.loc[:, week - 12 : week].any(axis=1).reindex(truth.index, fill_value=False)
    assert (lately == truth["eligible"]).mean() > 0.998


@pytest.mark.slow
def test_true_probabilities_of_silence_add_up_to_those_who_fell_silent(truth, seen):
    week = WEEKS - 1 - THEN
    silent = ~seen.loc[:, week + 1 : week + 13].any(axis=1).reindex(truth.index, fill_value=False)
    mine = truth[truth["eligible"]]
    p = mine["churn_probability"]
    for rows in (p < 0.1, p >= 0.1):
        error = np.sqrt((p * (1 - p))[rows].sum())
        assert abs(silent.reindex(mine.index)[rows].sum() - p[rows].sum()) < 3.5 * error


@pytest.mark.slow
def test_those_likely_to_be_there_still_are_there_that_often(company):
    """Of every customer and week of silence, and against the coin that the truth does not see."""
    life = company.truth.life
    people, record = life.record()
    visits = draw_visits(life, people, record)
    said, is_there = [], []
    for week in range(20, WEEKS, 8):
        there = still_there(life, people, record, visits, week)
        joined = people.joins <= week
        said.append(there[joined])
        is_there.append(record.status[week, joined] == PAID)
    p, y = np.concatenate(said), np.concatenate(is_there)
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 0.995)):
        rows = (p >= low) & (p < high)
        assert rows.sum() > 50
        # the same customer in other weeks: twice the error of independent rows
        error = 2 * np.sqrt((p * (1 - p))[rows].sum() + 1) / rows.sum()
        assert abs(y[rows].mean() - p[rows].mean()) < 3 * error


@pytest.mark.slow
def test_silence_carried_along_paths_equals_visits_and_endings_drawn_on_them(company, truth):
    """Seen to fail: with the hazard of a week left out of `Silence.live`."""
    as_of, runs = UNTIL - dt.timedelta(weeks=THEN), 60
    carried = company.truth.churned_by(as_of, (13, 26), runs=24).set_index("customer_id")
    now, life = company.truth._now(as_of), company.truth.life
    who = np.repeat(np.flatnonzero(now.eligible), runs)
    people, state = now.people.take(who), now.state.take(who)
    rng = np.random.default_rng(8)
    state.status[rng.random(len(who)) >= now.there[who]] = 5
    silent, left, drawn = np.zeros(len(who), dtype=int), np.zeros(len(who), dtype=bool), {}
    for ahead in range(1, 27):
        week = now.week + ahead
        state, happened = step(people, state, week, life.day_of(week), life.hazard, rng)
        rate = visit_rate(people, state.level - state.decline)
        comes = (state.status == PAID) & ((rng.poisson(rate) > 0) | (happened.severity > 0))
        silent = np.where(comes, 0, silent + 1)
        left |= silent >= 13
        drawn[ahead] = left.copy()
    for weeks in (13, 26):
        p = carried[f"churn_by_{weeks}w"].to_numpy()
        share = drawn[weeks].reshape(-1, runs).mean(axis=1)
        assert share.mean() == pytest.approx(p.mean(), rel=0.04)
        for rows in (p < np.median(p), p >= np.quantile(p, 0.9)):
            assert share[rows].mean() == pytest.approx(p[rows].mean(), rel=0.08)


def test_silence_of_two_weeks_by_hand():
    """There for sure; leaves with 1/4 each week, and does not come in half of the others.

    Silent in both weeks: left in the first 1/4; stayed, silent, then left 3/4 x 1/2 x 1/4; stayed
    and silent twice (3/8) x (3/8).
    """
    silence = Silence(np.ones(1), 2)
    for _ in range(2):
        silence.live(np.full(1, 0.25), np.full(1, 0.5))

    assert silence.left[0] == pytest.approx(1 / 4 + 3 / 8 * 1 / 4 + 3 / 8 * 3 / 8)


@pytest.mark.slow
def test_expected_margin_is_the_mean_of_drawn_futures(company, truth):
    futures = company.truth.drawn_margin(UNTIL - dt.timedelta(weeks=THEN), 8)

    assert list(futures.index) == list(truth.index)
    assert futures.to_numpy().mean() == pytest.approx(truth["expected_margin"].mean(), rel=0.06)
    assert truth["expected_mrr_margin"].isna().all()


@pytest.mark.slow
def test_drawn_futures_of_contracts_bring_what_is_expected_too():
    truth = make_company(300, weeks=40, seed=5).truth
    expected = truth.at(UNTIL, runs=64)["expected_margin"]

    assert truth.drawn_margin(UNTIL, 8).to_numpy().mean() == pytest.approx(
        expected.mean(), rel=0.06
    )


@pytest.mark.slow
def test_probabilities_by_several_horizons_are_those_of_one_at_a_time():
    truth = make_company(200, weeks=40, seed=5).truth
    many = truth.churned_by(UNTIL, (4, 13), runs=64).set_index("customer_id")
    one = truth.at(UNTIL, 13, runs=64).set_index("customer_id")["churn_probability"].dropna()

    assert list(many.index) == list(one.index)
    assert many["churn_by_13w"].mean() == pytest.approx(one.mean(), rel=0.02)
    assert (many["churn_by_4w"] <= many["churn_by_13w"] + 0.02).all()


def test_chance_of_even_odds_is_a_half():
    assert chance_of(np.zeros(1)) == 0.5
