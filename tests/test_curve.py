"""One survival curve per customer, against customers whose hazards are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from retain.model import FittedCurve, fit_curve

HORIZONS = (4, 13, 26, 52)
HEADLINE = 13


@dataclass
class Customers:
    """Hazard by week, what came of it, and the truth at each horizon."""

    X: Any
    by: Any
    true: Any

    @property
    def chance(self) -> Any:
        return self.true[:, HORIZONS.index(HEADLINE)]

    def learn(self, **more: Any) -> FittedCurve:
        fixed: dict[str, Any] = {"horizons": HORIZONS, "headline": HEADLINE, **more}
        n = len(self.X)
        return fit_curve(self.X, self.by, self.chance, np.arange(n), np.ones(n), **fixed)


def customers(n: int = 6000, renewals: bool = True, seed: int = 0) -> Customers:
    """Customers whose level is X0; with renewals, those with X1 > 0 leave more after week 13."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    later = (np.arange(52) >= 13) & (X[:, 1:2] > 0) & renewals
    hazard = np.cumsum(np.where(later, 3.0, 1.0) * 0.006 * np.exp(0.8 * X[:, :1]), axis=1)
    left_in = (hazard < rng.exponential(size=n)[:, None]).sum(axis=1) + 1
    by = np.stack([(left_in <= weeks).astype(float) for weeks in HORIZONS], axis=1)
    return Customers(X, by, -np.expm1(-hazard[:, np.array(HORIZONS) - 1]))


@pytest.fixture(scope="module")
def known() -> Customers:
    return customers()


@pytest.fixture(scope="module")
def curve(known: Customers) -> FittedCurve:
    return known.learn()


def test_with_one_hazard_for_all_weeks_the_multiples_are_the_lengths() -> None:
    curve = customers(30_000, renewals=False).learn()

    # 4, 9, 13 and 26 weeks of a hazard that adds up to one in 13
    np.testing.assert_allclose(curve.multiples, [4 / 13, 9 / 13, 1, 2], rtol=0.1)
    np.testing.assert_allclose(curve.powers, 1.0, atol=0.1)


def test_who_is_at_risk_today_may_be_less_so_later() -> None:
    known = customers(20_000, renewals=False)
    rng = np.random.default_rng(1)
    # after week 13 everyone leaves at the same rate, whatever they were before
    later = rng.random(len(known.X)) < 0.2
    by = known.by.copy()
    by[:, 2] = by[:, 3] = np.maximum(by[:, 1], later)
    curve = Customers(known.X, by, known.true).learn()

    assert abs(curve.powers[2]) < 0.1
    stays = -np.log1p(-curve.gone_by(known.X, known.chance))
    np.testing.assert_allclose(stays[:, 2] - stays[:, 1], -np.log(0.8), atol=0.05)


def test_the_curve_never_falls_and_passes_through_the_probability_on_the_page(known, curve):
    shown = curve.gone_by(known.X, known.chance)

    assert (np.diff(shown, axis=1) >= 0).all()
    np.testing.assert_array_equal(shown[:, 1], known.chance)
    assert ((shown >= 0) & (shown <= 1)).all()


def test_trees_follow_whom_but_the_level_stays_that_of_the_weighted_rows(known):
    """Seen to fail with the multiples left as they were before the trees were grown."""
    rng = np.random.default_rng(2)
    old = rng.random(len(known.X)) < 0.5
    by = known.by.copy()
    by[old, 3] = np.maximum(by[old, 2], rng.random(old.sum()) < 0.5)  # it was worse once
    weight = np.where(old, 0.01, 1.0)
    n = np.arange(len(by))
    fixed: dict[str, Any] = {"horizons": HORIZONS, "headline": HEADLINE}
    curve = fit_curve(known.X, by, known.chance, n, weight, **fixed)
    there = by[:, 2] == 0
    gone = curve.gone_by(known.X, known.chance)[there]
    within = 1.0 - (1.0 - gone[:, 3]) / (1.0 - gone[:, 2])  # of those who were there at 26 weeks

    assert curve.head is not None
    assert np.average(within, weights=weight[there]) == pytest.approx(
        np.average(by[there, 3], weights=weight[there]), rel=0.01
    )


def test_who_leaves_later_than_others_is_told_apart(known, curve):
    shown = curve.gone_by(known.X, known.chance)

    np.testing.assert_allclose(shown.mean(axis=0), known.true.mean(axis=0), atol=0.015)
    for late in (known.X[:, 1] > 0, known.X[:, 1] <= 0):
        np.testing.assert_allclose(shown[late].mean(0), known.true[late].mean(0), atol=0.03)
    assert curve.chosen["log_loss_with"] < curve.chosen["log_loss_without"]


def test_customers_whose_later_weeks_are_not_over_count_in_the_earlier_ones(known):
    young = np.arange(len(known.X)) % 3 > 0
    by = known.by.copy()
    by[young, 2:] = np.nan
    curve = Customers(known.X, by, known.true).learn()

    assert curve.chosen["rows"] > len(known.X) + (~young).sum()
    shown = curve.gone_by(known.X, known.chance)
    np.testing.assert_allclose(shown.mean(axis=0), known.true.mean(axis=0), atol=0.02)


def test_past_what_was_learnt_the_last_rate_goes_on_and_it_is_said(known):
    by = known.by.copy()
    by[:, 3] = np.nan
    curve = Customers(known.X, by, known.true).learn()

    assert curve.learnt_weeks == 26
    assert np.isnan(curve.multiples[3])
    stays = -np.log1p(-curve.gone_by(known.X, known.chance))
    # 26 weeks at the rate of the 13 before
    np.testing.assert_allclose(stays[:, 3] - stays[:, 2], 2 * (stays[:, 2] - stays[:, 1]))


def test_horizons_without_a_meaning_stay_empty(known):
    by = known.by.copy()
    by[:, 0] = np.nan
    curve = Customers(known.X, by, known.true).learn()
    shown = curve.gone_by(known.X, known.chance)

    assert curve.first == 1
    assert np.isnan(shown[:, 0]).all()
    np.testing.assert_array_equal(shown[:, 1], known.chance)


def test_certainties_stay_finite(curve):
    shown = curve.gone_by(np.zeros((3, 4)), np.array([0.0, 1.0, 1e-15]))

    assert np.isfinite(shown).all()
    assert (np.diff(shown, axis=1) >= 0).all()


def test_too_few_leavers_give_equal_rates_rather_than_noise(known):
    few = Customers(known.X[:100], known.by[:100] * 0, known.true[:100]).learn()

    np.testing.assert_allclose(few.multiples[:2], [4 / 13, 9 / 13])
    assert few.learnt_weeks == 13
    assert few.head is None


def test_an_even_rate_of_leaving_gives_the_share_that_can_be_worked_out_by_hand() -> None:
    even = FittedCurve(HORIZONS, HEADLINE, (4 / 13, 9 / 13, 1.0, 2.0), (1.0, 1.0, 1.0, 1.0))
    p = -np.expm1(-0.01 * np.array([13.0]))  # one in a hundred leaves each week
    X = np.zeros((1, 4))

    # half of a week's leavers are gone by its middle: exp(-.005), then exp(-.015)
    assert even.share_there(X, p, 2, 0.0) == pytest.approx([(0.99501 + 0.98511) / 2], abs=1e-5)
    # past the last horizon the rate goes on: (1 - exp(-1.04)) / 1.04 over 104 weeks, all but
    assert even.share_there(X, p, 104, 0.0) == pytest.approx([0.62169], abs=1e-4)
    assert even.share_there(X, np.zeros(1), 52, 0.1) == pytest.approx([1.0], abs=1e-6)
    # what comes later counts less, and later fewer are left
    assert even.share_there(X, p, 104, 0.1) > even.share_there(X, p, 104, 0.0)


def test_the_share_falls_with_the_probability_and_with_the_weeks(
    known: Customers, curve: FittedCurve
) -> None:
    short, long = (curve.share_there(known.X, known.chance, weeks, 0.1) for weeks in (13, 80))
    worse = curve.share_there(known.X, 0.5 + known.chance / 2.0, 13, 0.1)

    assert ((0 < long) & (long < short) & (worse < short) & (short <= 1)).all()
