"""Figures by hand, against scikit-learn, and as properties: order, doubling, ties, one class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from retain.errors import SnapshotError
from retain.evaluate import (
    area_under_curve,
    average_precision,
    calibration_error,
    calibration_table,
    capture,
    churn_figures,
    clv_figures,
    decile_table,
    interval_coverage,
    judge_health,
    normalised_gini,
)

Y = [1, 0, 0, 1, 0]
P = [0.9, 0.8, 0.3, 0.3, 0.1]


def values(figures):
    return {name: figure["value"] for name, figure in figures.items()}


def churn_values(y, p, capacity=10):
    with pytest.MonkeyPatch.context() as patch:  # the values need no intervals
        patch.setattr("retain.evaluate.ranking.DRAWS", 1)
        return values(churn_figures(y, p, np.arange(len(y)), capacity=capacity))


def clv_values(y, p):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retain.evaluate.ranking.DRAWS", 1)
        return values(clv_figures(y, p, np.arange(len(y))))


# ---- worked examples ---------------------------------------------------------------------------


def test_area_under_curve_by_hand():
    # pairs of a leaver and a stayer: .9 beats all three; .3 loses to .8, ties with .3, beats .1
    assert area_under_curve(Y, P) == pytest.approx((3 + 0 + 0.5 + 1) / 6)


def test_average_precision_by_hand():
    # recall goes to 1/2 at precision 1, and to 1 at the two tied rows with precision 2/4
    assert average_precision(Y, P) == pytest.approx(0.5 * 1.0 + 0.5 * 0.5)


def test_capture_by_hand_and_by_value():
    assert capture(Y, P, most=1) == 0.5
    assert capture(Y, P, most=3) == 0.75  # the third place is shared by a leaver and a stayer
    assert capture(Y, P, most=4) == 1.0
    assert capture(Y, P, most=99) == 1.0
    assert capture(Y, P, most=0) == 0.0
    assert capture(Y, P, most=1, value=[30.0, 0, 0, 10.0, 0]) == 0.75


def test_capture_with_everybody_tied_is_the_share_contacted():
    assert capture([1, 1, 0, 0, 0, 0, 0, 0], [0.5] * 8, most=2) == 0.25


def test_lift_by_hand():
    y = np.r_[np.ones(3), np.zeros(17)]  # 15 % leave; both of the top two do
    p = np.linspace(1, 0, 20)

    assert churn_values(y, p)["lift_top_tenth"] == pytest.approx(1.0 / 0.15)
    assert churn_values(y, np.full(20, 0.15))["lift_top_tenth"] == pytest.approx(1.0)


def test_a_lift_is_not_conjured_from_ties():
    """Scores unrelated to leaving, three in ten tied at the top: a lift of one, not three."""
    rng = np.random.default_rng(0)
    p = np.where(rng.random(5000) < 0.3, 0.9, rng.random(5000) * 0.8)
    y = (rng.random(5000) < 0.1).astype(float)
    for order in (np.argsort(y, kind="stable"), np.argsort(-y, kind="stable")):
        assert churn_values(y[order], p[order])["lift_top_tenth"] == pytest.approx(1.0, abs=0.2)


def test_normalised_gini_by_hand():
    # worth 0, 1, 3: gains of the best order 3/4, 1, 1; of p (the 1 first) 1/4, 1, 1
    best, ours = (3 / 4 + 2) - 2, (1 / 4 + 2) - 2

    assert normalised_gini([0.0, 1.0, 3.0], [0.1, 9.0, 5.0]) == pytest.approx(ours / best)
    assert normalised_gini([0.0, 1.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    assert normalised_gini([0.0, 1.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)
    assert normalised_gini([0.0, 1.0, 3.0], [1.0, 1.0, 1.0]) == pytest.approx(0.0)


def test_calibration_by_hand():
    y, p = [0, 0, 1, 0, 1, 1], [0.1, 0.1, 0.2, 0.6, 0.7, 0.8]
    table = calibration_table(y, p, bins=2)

    assert table["n"].tolist() == [3, 3]
    np.testing.assert_allclose(table["predicted"], [0.4 / 3, 0.7])
    np.testing.assert_allclose(table["observed"], [1 / 3, 2 / 3])
    assert calibration_error(y, p, bins=2) == pytest.approx((0.2 + 0.7 - 2 / 3 + 0.0) / 2, abs=0.01)


def test_bins_hold_about_as_many_rows_each_and_equal_predictions_stay_together():
    rng = np.random.default_rng(0)
    table = calibration_table(rng.integers(0, 2, 1003), rng.random(1003))
    assert table["n"].sum() == 1003
    assert table["n"].min() >= 100
    assert table["n"].max() <= 101

    tied = calibration_table([0, 1, 0, 1, 1, 0], [0.2, 0.2, 0.2, 0.2, 0.9, 0.9], bins=3)
    assert tied["n"].tolist() == [4, 2]
    assert tied.index.tolist() == [1, 2]
    assert calibration_table([0, 1], [0.5, 0.5])["n"].tolist() == [2]


def test_deciles_count_from_the_highest_prediction():
    table = decile_table(np.arange(20.0), np.arange(20.0))

    assert table["decile"].tolist() == list(range(1, 11))
    assert table["actual"].tolist() == [18.5, 16.5, 14.5, 12.5, 10.5, 8.5, 6.5, 4.5, 2.5, 0.5]
    assert decile_table([0, 0, 0, 5], [0, 0, 0, 5])["decile"].tolist() == [2, 7]


def test_value_figures_by_hand():
    found = clv_values([0.0, 100.0, 50.0], [10.0, 80.0, 60.0])

    assert found["mae"] == pytest.approx(40 / 3)
    assert found["rmse"] == pytest.approx(np.sqrt(600 / 3))
    assert found["spearman"] == 1.0
    assert found["normalised_gini"] == 1.0
    assert found["sum_predicted_over_actual"] == 1.0


def test_coverage_counts_both_ends_in():
    assert (
        interval_coverage([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 3.5, 0.0], [1.0, 2.0, 4.0, 9.0]) == 0.75
    )

    figures = clv_figures(Y, P, np.arange(5), low=np.zeros(5), high=[0.5, 0.5, 0.5, 1.0, 1.0])
    assert figures["interval_coverage"]["value"] == 0.8
    assert figures["interval_median_width"]["value"] == 0.5
    assert "interval_coverage" not in clv_figures(Y, P, np.arange(5), low=[np.nan] * 5, high=P)


# ---- scikit-learn as the oracle ----------------------------------------------------------------

SAMPLES = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda y: 0 < sum(y) < len(y)),
        st.lists(st.sampled_from([0.01, 0.2, 0.25, 0.5, 0.77, 0.99]), min_size=n, max_size=n),
    )
)


@given(SAMPLES)
def test_figures_agree_with_scikit_learn(sample):
    y, p = np.array(sample[0], dtype=float), np.array(sample[1])
    found = churn_values(y, p)

    assert found["auc"] == pytest.approx(metrics.roc_auc_score(y, p))
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(y, p))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(y, p))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y, p))
    assert found["observed"] == pytest.approx(y.mean())
    assert found["mean_predicted"] == pytest.approx(p.mean())


# ---- properties --------------------------------------------------------------------------------


@given(SAMPLES, st.randoms())
def test_the_order_of_rows_changes_nothing(sample, random):
    y, p = np.array(sample[0], dtype=float), np.array(sample[1])
    order = list(range(len(y)))
    random.shuffle(order)
    worth = 50.0 * y + np.arange(len(y)) % 3

    assert churn_values(y, p) == pytest.approx(churn_values(y[order], p[order]))
    assert clv_values(worth, p) == pytest.approx(clv_values(worth[order], p[order]), nan_ok=True)


@given(SAMPLES)
def test_every_row_twice_changes_nothing(sample):
    y, p = np.array(sample[0], dtype=float), np.array(sample[1])
    worth = 50.0 * y + np.arange(len(y)) % 3
    twice = (np.r_[y, y], np.r_[p, p])

    assert churn_values(*twice, capacity=20) == pytest.approx(churn_values(y, p))
    assert clv_values(np.r_[worth, worth], twice[1]) == pytest.approx(
        clv_values(worth, p), nan_ok=True
    )


@given(SAMPLES)
def test_only_the_order_of_predictions_counts_for_ranking_figures(sample):
    y, p = np.array(sample[0], dtype=float), np.array(sample[1])
    before, after = churn_values(y, p), churn_values(y, p**3)
    for name in ("auc", "average_precision", "lift_top_tenth", "capture_at_capacity"):
        assert after[name] == pytest.approx(before[name])


def test_perfect_predictions_give_the_stated_values():
    y = np.r_[np.ones(10), np.zeros(90)]
    found = churn_values(y, y)

    assert found["auc"] == found["average_precision"] == found["capture_at_capacity"] == 1.0
    assert found["brier"] == found["calibration_error"] == 0.0
    assert found["log_loss"] == pytest.approx(0.0, abs=1e-9)
    assert found["lift_top_tenth"] == pytest.approx(10.0)


def test_one_prediction_for_all_gives_the_stated_values():
    y = np.r_[np.ones(10), np.zeros(90)]
    found = churn_values(y, np.full(100, 0.1))

    assert found["auc"] == 0.5
    assert found["average_precision"] == pytest.approx(0.1)
    assert found["lift_top_tenth"] == pytest.approx(1.0)
    assert found["capture_at_capacity"] == pytest.approx(0.1)
    assert found["calibration_error"] == pytest.approx(0.0)
    value = clv_values(y, np.full(100, 0.1))
    assert np.isnan(value["spearman"])
    assert value["normalised_gini"] == pytest.approx(0.0)


@pytest.mark.parametrize("left", [0.0, 1.0])
def test_with_one_class_only_what_is_undefined_is_nan(left):
    figures = churn_figures(np.full(8, left), np.linspace(0.1, 0.8, 8), np.arange(8), capacity=2)
    found = values(figures)
    undefined = {name for name, value in found.items() if np.isnan(value)}

    assert {"auc", "average_precision"} <= undefined
    assert undefined <= {"auc", "average_precision", "lift_top_tenth", "capture_at_capacity"}
    assert ("capture_at_capacity" in undefined) == (left == 0.0)
    assert np.isnan([figures["auc"]["low"], figures["auc"]["high"]]).all()
    assert np.isfinite([found["brier"], found["log_loss"]]).all()


def test_value_of_nothing_is_nan_where_it_cannot_be_judged():
    found = clv_values(np.zeros(5), np.linspace(0, 1, 5))

    assert {name for name, value in found.items() if np.isnan(value)} == {
        "spearman",
        "normalised_gini",
        "sum_predicted_over_actual",
    }
    assert np.isnan(normalised_gini([2.0, 2.0], [1.0, 2.0]))


def test_nothing_to_judge_is_said_not_averaged():
    with pytest.raises(SnapshotError, match="nothing to judge"):
        churn_figures([], [], [], capacity=10)
    with pytest.raises(SnapshotError, match="nothing to judge"):
        clv_figures([], [], [])


# ---- intervals ---------------------------------------------------------------------------------


def world(customers=300, rows_each=4, alike=False, seed=0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(customers), rows_each)
    draws = customers if alike else customers * rows_each
    p = rng.uniform(0.05, 0.6, draws)
    y = (rng.random(draws) < p).astype(float)
    return (np.repeat(y, rows_each), np.repeat(p, rows_each), who) if alike else (y, p, who)


def width(figure):
    return figure["high"] - figure["low"]


@pytest.mark.parametrize("name", ["auc", "brier", "observed", "capture_at_capacity"])
def test_intervals_resample_customers_not_rows(name):
    """Four rows of a customer that say the same are worth one: twice the width."""
    independent = churn_figures(*world(), capacity=100)
    alike = churn_figures(*world(alike=True), capacity=100)

    assert width(alike[name]) > 1.5 * width(independent[name])


def test_intervals_hold_the_figure_and_narrow_with_evidence():
    few, many = churn_figures(*world(100), capacity=50), churn_figures(*world(1000), capacity=50)
    for figures in (few, many):
        for name in ("auc", "brier", "observed", "log_loss"):
            assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]
    assert width(many["auc"]) < 0.6 * width(few["auc"])


def test_intervals_hold_the_true_figure_about_as_often_as_they_say():
    held = [
        figure["low"] <= 0.3 <= figure["high"]
        for seed in range(60)
        if (rng := np.random.default_rng(seed))
        and (y := (rng.random(200) < 0.3).astype(float)) is not None
        and (figure := churn_figures(y, rng.random(200), np.arange(200), capacity=20)["observed"])
    ]
    assert 0.8 <= np.mean(held) <= 0.98


def test_a_higher_level_gives_a_wider_interval_and_a_seed_the_same_one():
    given = world()
    usual = churn_figures(*given, capacity=100)
    wide = churn_figures(*given, capacity=100, level=0.99)

    assert width(wide["auc"]) > width(usual["auc"])
    assert churn_figures(*given, capacity=100) == usual
    assert churn_figures(*given, capacity=100, seed=1)["auc"] != usual["auc"]


def test_customers_may_be_named_by_texts_in_any_order():
    y, p, who = world(50)
    names = np.array([f"C-{at}" for at in who], dtype=object)
    order = np.random.default_rng(0).permutation(len(y))
    straight = churn_figures(y, p, names, capacity=10)
    shuffled = churn_figures(y[order], p[order], names[order], capacity=10)

    assert pd.Series(values(shuffled)).sub(pd.Series(values(straight))).abs().max() < 1e-12
    assert width(shuffled["auc"]) == pytest.approx(width(straight["auc"]))


# ---- health scores -------------------------------------------------------------------------------


def health(many=300, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.uniform(0, 100, many)
    left = (rng.random(many) < (110 - score) / 200).astype(int)
    band = np.where(score < 50, "red", np.where(score < 75, "yellow", "green"))
    return left, score, band, np.arange(many)


def test_health_by_hand():
    left = [1, 1, 1, 0, 0, 0]
    score = [10, 80, 90, 20, 80, np.nan]
    band = ["red", "green", "green", "red", "green", None]
    found = judge_health(left, score, band, list("abcdef"), bands=["red", "yellow", "green"])

    # leavers 10, 80, 90 against stayers 20, 80: 10 beats both, 80 ties one, the rest lose
    assert (1 + 1 + 0 + 0.5) / 6 == pytest.approx(found.figures["auc"]["value"])
    assert 2 / 3 == pytest.approx(found.figures["healthy_among_leavers"]["value"])
    assert 2 / 3 == pytest.approx(found.figures["leavers_among_healthy"]["value"])
    assert ("b", "c") == found.healthy_and_left
    assert [2, 0, 3] == found.bands.n.tolist()
    assert [1, 0, 2] == found.bands.left.tolist()
    assert np.isnan(found.bands.share_left["yellow"])
    assert (6, 5) == (found.rows_in, found.used)


def test_the_auc_of_health_is_that_of_risk_and_lies_in_its_interval():
    left, score, band, who = health()
    found = judge_health(left, score, band, who, bands=["red", "yellow", "green"]).figures["auc"]

    assert metrics.roc_auc_score(left, -score) == pytest.approx(found["value"])
    assert found["low"] < found["value"] < found["high"]


def test_intervals_of_health_resample_customers_and_not_rows():
    left, score, band, who = health()
    bands = ["red", "yellow", "green"]
    one = judge_health(left, score, band, who, bands=bands).figures["auc"]
    again = [np.tile(part, 9) for part in (left, score, band, who)]
    nine = judge_health(*again, bands=bands).figures["auc"]

    assert one == pytest.approx(nine)


def test_the_order_of_health_scores_does_not_matter_and_nothing_to_judge_is_said():
    left, score, band, who = health()
    bands = ["red", "yellow", "green"]
    order = np.random.default_rng(1).permutation(len(left))
    first = judge_health(left, score, band, who, bands=bands)
    other = judge_health(left[order], score[order], band[order], who[order], bands=bands)

    assert values(first.figures) == pytest.approx(values(other.figures))
    assert set(first.healthy_and_left) == set(other.healthy_and_left)
    with pytest.raises(SnapshotError, match="nothing to judge"):
        judge_health([1], [np.nan], [None], ["a"], bands=bands)


def test_the_interval_of_a_calibration_error_holds_the_error_itself():
    """Seen to fail with plain percentiles: drawing customers again adds noise to every group."""
    rng = np.random.default_rng(4)
    p = rng.uniform(0.02, 0.3, 2_000)
    found = churn_figures(rng.random(2_000) < p, p, np.arange(2_000), capacity=10)
    error = found["calibration_error"]

    assert 0.0 <= error["low"] < error["value"] < error["high"] < 0.05
