"""Baselines: published fits, hand-sized examples, and the edges where simple methods break."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from retain.baselines import (
    BgNbd,
    GammaGamma,
    RecencyRule,
    churn_baselines,
    clv_baselines,
    fit_bg_nbd,
    fit_gamma_gamma,
    fit_logistic,
    naive_rate,
    purchase_baselines,
    purchase_clv,
    rfm_from_payments,
)
from retain.errors import ModelMismatchError, RetainError

CDNOW = Path(__file__).parents[1] / ".." / "shared" / "data" / "cdnow"
needs_cdnow = pytest.mark.skipif(not CDNOW.exists(), reason="public CDNOW data not present")
CALIBRATION_END = pd.Timestamp("1997-09-30")


@pytest.fixture(scope="module")
def tenth() -> pd.DataFrame:
    log = pd.read_parquet(CDNOW / "cdnow_elog_tenth.parquet")
    return rfm_from_payments(log["masterid"], log["date"], log["sales"], CALIBRATION_END)


@pytest.fixture(scope="module")
def master_log() -> pd.DataFrame:
    return pd.read_parquet(CDNOW / "cdnow_master_1997.parquet")


def normalised_gini(predicted: np.ndarray, actual: np.ndarray) -> float:
    def area(order: np.ndarray) -> float:
        return float(np.cumsum(actual[order]).sum() / actual.sum() - (len(actual) + 1) / 2)

    return area(np.argsort(-predicted, kind="stable")) / area(np.argsort(-actual, kind="stable"))


# --- purchase histories ----------------------------------------------------------------------


@needs_cdnow
def test_bg_nbd_finds_the_published_parameters_of_the_cdnow_sample(tenth):
    fitted = fit_bg_nbd(tenth["frequency"], tenth["recency"], tenth["T"])

    assert pytest.approx([fitted.r, fitted.alpha, fitted.a, fitted.b], rel=0.005) == [
        0.243,
        4.414,
        0.793,
        2.426,
    ]
    assert fitted.log_likelihood == pytest.approx(-9582.4, abs=0.1)


@needs_cdnow
def test_gamma_gamma_finds_the_published_parameters_of_the_cdnow_sample(tenth):
    fitted = fit_gamma_gamma(tenth["frequency"], tenth["monetary_value"])

    assert pytest.approx([fitted.p, fitted.q, fitted.v], rel=0.005) == [6.25, 3.74, 15.44]
    assert ((tenth["frequency"] > 0) & (tenth["monetary_value"] > 0)).sum() == 946


@needs_cdnow
def test_the_full_cdnow_master_is_fitted_and_scored_within_seconds(master_log):
    started = time.process_time()
    rfm = rfm_from_payments(
        master_log["customer_id"], master_log["date"], master_log["sales"], CALIBRATION_END
    )
    purchases = fit_bg_nbd(rfm["frequency"], rfm["recency"], rfm["T"])
    value = fit_gamma_gamma(rfm["frequency"], rfm["monetary_value"])
    clv = purchase_clv(purchases, value, rfm, horizon_weeks=39)
    spent = time.process_time() - started

    assert pytest.approx([purchases.r, purchases.alpha, purchases.a, purchases.b], rel=0.005) == [
        0.252,
        4.789,
        0.723,
        2.161,
    ]
    assert pytest.approx([value.p, value.q, value.v], rel=0.005) == [6.275, 3.624, 14.983]
    assert spent < 5

    later = master_log[master_log["date"] > CALIBRATION_END]
    later = later[later["date"] <= CALIBRATION_END + pd.Timedelta(weeks=39)]
    actual = later.groupby("customer_id")["sales"].sum().reindex(rfm["customer_id"]).fillna(0.0)
    actual = actual.to_numpy()
    assert np.abs(clv - actual).mean() == pytest.approx(32.68, abs=0.02)
    assert normalised_gini(clv, actual) == pytest.approx(0.672, abs=0.001)
    assert clv.sum() / actual.sum() == pytest.approx(0.83, abs=0.005)

    naive = naive_rate(rfm["frequency"] * rfm["monetary_value"], rfm["T"], 39)
    assert np.abs(naive - actual).mean() == pytest.approx(42.32, abs=0.02)
    assert naive.sum() / actual.sum() == pytest.approx(1.44, abs=0.005)


def test_expected_purchases_agree_with_the_published_worked_example():
    # Fader, Hardie, Lee: note on implementing BG/NBD in Excel; x=2, t_x=30.43, T=38.86, 39 weeks
    published = BgNbd(r=0.242594, alpha=4.413602, a=0.792920, b=2.425895, log_likelihood=-9582.4)

    assert published.expected_purchases(39, [2], [30.43], [38.86])[0] == pytest.approx(
        1.226, abs=5e-4
    )


def test_expected_purchases_are_the_sum_of_the_model_simulated_by_hand():
    model = BgNbd(r=2.0, alpha=10.0, a=1.5, b=4.0, log_likelihood=0.0)
    rng = np.random.default_rng(7)
    n = 200_000
    rate, dropout = rng.gamma(2.0, 1 / 10.0, n), rng.beta(1.5, 4.0, n)
    clock, alive, purchases = np.zeros(n), np.ones(n, dtype=bool), np.zeros(n)
    while alive.any():
        clock = clock + rng.exponential(1.0, n) / rate
        alive &= clock <= 26
        purchases += alive
        alive &= rng.random(n) > dropout

    # a customer who has just come: frequency 0, T 0
    expected = model.expected_purchases(26, [0], [0], [0])[0]
    assert expected == pytest.approx(purchases.mean(), abs=4 * purchases.std() / np.sqrt(n))


@pytest.mark.parametrize(
    ("a", "b", "x", "T"),
    [(0.8, 2.4, 2, 39.0), (0.1, 3.0, 0, 10.0), (8.0, 150.0, 0, 5.0), (1.2, 0.3, 700, 5.0)],
)
def test_expected_purchases_equal_the_integral_over_the_unknown_dropout(a, b, x, T):
    # the last two make scipy's hypergeometric function nan, or wrong by half
    model = BgNbd(r=3.0, alpha=0.43, a=a, b=b, log_likelihood=0.0)
    density = beta(a, b + x)

    def purchases(dropout):
        return -np.expm1(-(3.0 + x) * np.log1p(dropout * 52 / (0.43 + T))) / dropout

    integral, _ = quad(lambda u: purchases(density.ppf(u)), 0, 1, limit=500, epsrel=1e-8)
    got = model.expected_purchases(52, [x], [T if x else 0.0], [T])
    alive = model.p_alive([x], [T if x else 0.0], [T])
    assert got == pytest.approx(alive * integral, rel=2e-4)


def test_several_horizons_at_once_equal_one_at_a_time():
    model = BgNbd(r=0.25, alpha=4.4, a=0.8, b=2.4, log_likelihood=0.0)
    histories = [3, 0, 3], [5.0, 0.0, 9.0], [10.0, 2.0, 12.0]
    both = model.expected_purchases([4, 13], *histories)

    assert both.shape == (2, 3)
    assert (both[0] == model.expected_purchases(4, *histories)).all()
    assert (both[1] == model.expected_purchases(13, *histories)).all()


@pytest.mark.parametrize("a", [0.3, 1.0, 1.0000001, 4.0])
def test_expected_purchases_are_finite_and_rise_with_the_horizon(a):
    model = BgNbd(r=0.25, alpha=4.4, a=a, b=0.7, log_likelihood=0.0)
    frequency = np.array([0, 1, 50, 5_000])
    recency = np.array([0.0, 10.0, 40.0, 199.9])
    age = np.array([40.0, 40.0, 41.0, 200.0])
    curve = np.array([model.expected_purchases(w, frequency, recency, age) for w in (0, 1, 13, 52)])

    assert np.isfinite(curve).all()
    assert curve[0] == pytest.approx(0, abs=1e-9)
    assert (np.diff(curve, axis=0) > 0).all()


def test_somebody_overdue_is_less_likely_to_be_alive():
    model = BgNbd(r=0.25, alpha=4.4, a=0.8, b=2.4, log_likelihood=0.0)
    alive = model.p_alive([0, 10, 10, 10], [0, 39, 20, 5], [40, 40, 40, 40])

    assert alive[0] == 1
    assert (np.diff(alive[1:]) < 0).all()
    assert ((alive > 0) & (alive <= 1)).all()


def test_gamma_gamma_shrinks_a_short_history_towards_the_mean_of_all():
    model = GammaGamma(p=6.25, q=3.74, v=15.44, log_likelihood=0.0)
    mean_of_all = 6.25 * 15.44 / 2.74
    never, once, often = model.expected_value([0, 1, 1000], [0.0, 100.0, 100.0])

    assert never == pytest.approx(mean_of_all)
    assert mean_of_all < once < often
    assert often == pytest.approx(100, abs=0.1)


def test_the_fit_recovers_the_parameters_that_made_the_histories():
    rng = np.random.default_rng(3)
    n = 20_000
    rate, dropout = rng.gamma(0.8, 1 / 6.0, n), rng.beta(1.0, 3.0, n)
    age = rng.uniform(20, 60, n)
    clock, alive = np.zeros(n), np.ones(n, dtype=bool)
    frequency, recency = np.zeros(n), np.zeros(n)
    while alive.any():
        clock = clock + rng.exponential(1.0, n) / rate
        alive &= clock <= age
        frequency += alive
        recency = np.where(alive, clock, recency)
        alive &= rng.random(n) > dropout
    fitted = fit_bg_nbd(frequency, recency, age)

    assert pytest.approx([fitted.r, fitted.alpha, fitted.a, fitted.b], rel=0.12) == [
        0.8,
        6.0,
        1.0,
        3.0,
    ]


def test_fits_do_not_depend_on_the_order_of_rows_or_on_doubling_them():
    rng = np.random.default_rng(0)
    frequency = rng.poisson(1.0, 400)
    age = rng.uniform(10, 50, 400)
    recency = np.where(frequency > 0, age * rng.random(400), 0.0)
    money = np.where(frequency > 0, rng.gamma(4.0, 8.0, 400), 0.0)
    one = fit_bg_nbd(frequency, recency, age)
    turned = fit_bg_nbd(frequency[::-1], recency[::-1], age[::-1])
    double = fit_bg_nbd(np.tile(frequency, 2), np.tile(recency, 2), np.tile(age, 2))
    value = fit_gamma_gamma(frequency, money)
    cents = fit_gamma_gamma(frequency, money * 100)

    assert one == turned
    assert one.r == pytest.approx(double.r, rel=1e-4)
    assert 100 * value.v == pytest.approx(cents.v, rel=1e-4)
    assert value.p == pytest.approx(cents.p, rel=1e-4)


def test_nobody_who_ever_stops_still_gives_finite_expectations():
    weeks = np.full(60, 50.0)
    fitted = fit_bg_nbd(np.full(60, 25), weeks - 0.5, weeks)
    expected = fitted.expected_purchases(50, [25], [49.5], [50.0])[0]

    assert expected == pytest.approx(25, rel=0.1)


def test_a_history_is_summed_up_by_day_without_the_first_day():
    payments = pd.DataFrame(
        [
            ("a", "2024-01-01", 10.0),
            ("a", "2024-01-01", 5.0),  # the same day: one purchase
            ("a", "2024-01-15", 20.0),
            ("a", "2024-01-29", 40.0),
            ("a", "2024-03-01", 99.0),  # after the end: not seen
            ("b", "2024-01-08", 0.0),  # a free order is an order
            ("c", "2024-03-01", 7.0),  # not yet a customer
        ],
        columns=["customer_id", "paid_at", "amount"],
    )
    rfm = rfm_from_payments(
        payments["customer_id"], payments["paid_at"], payments["amount"], "2024-02-05"
    ).set_index("customer_id")

    assert list(rfm.index) == ["a", "b"]
    assert rfm.loc["a"].tolist() == [2, 4.0, 5.0, 30.0]
    assert rfm.loc["b"].tolist() == [0, 0.0, 4.0, 0.0]


def test_a_refund_is_no_purchase_and_lowers_the_value_of_purchases():
    rfm = rfm_from_payments(["a"] * 4, [0, 7, 14, 20], [50.0, 30.0, 20.0, -25.0], 21)

    assert rfm["frequency"][0] == 2
    assert rfm["recency"][0] == 2
    assert rfm["monetary_value"][0] == pytest.approx(25 * 0.75)


def test_payments_without_amount_or_day_are_refused_and_counted():
    with pytest.raises(RetainError, match="1 of 2 payments have no amount"):
        rfm_from_payments(["a", "b"], [0, 1], [np.nan, 1.0], 5)
    with pytest.raises(RetainError, match="1 of 2 payments have no day"):
        rfm_from_payments(["a", "b"], [0, np.nan], [1.0, 1.0], 5)


def test_fits_without_any_repeat_say_what_is_needed():
    with pytest.raises(RetainError, match="none of 3 customers has a repeat purchase"):
        fit_bg_nbd([0, 0, 0], [0, 0, 0], [5, 6, 7])
    with pytest.raises(RetainError, match="0 of 2 customers have a repeat purchase of positive"):
        fit_gamma_gamma([0, 3], [0.0, 0.0])


def test_impossible_histories_are_named_by_row():
    with pytest.raises(RetainError, match=r"1 of 2 rows are impossible \(rows 1\)"):
        fit_bg_nbd([1, 1], [2, 9], [5, 6])


def test_discounting_lowers_the_value_by_about_half_a_horizon():
    rfm = rfm_from_payments(
        ["a", "a", "b", "c", "c"], [0, 70, 3, 0, 14], [9.0, 9.0, 5.0, 4.0, 6.0], 140
    )
    purchases = BgNbd(r=0.5, alpha=8.0, a=0.8, b=3.0, log_likelihood=0.0)
    value = GammaGamma(p=6.0, q=4.0, v=15.0, log_likelihood=0.0)
    plain = purchase_clv(purchases, value, rfm, horizon_weeks=52, gross_margin=0.5)
    later = purchase_clv(
        purchases, value, rfm, horizon_weeks=52, gross_margin=0.5, annual_discount_rate=0.1
    )

    assert later / plain == pytest.approx(np.full(3, 1.1**-0.5), abs=0.01)
    full = purchase_clv(purchases, value, rfm, horizon_weeks=52)
    assert plain == pytest.approx(full / 2)


def test_a_customer_without_purchases_is_worth_nothing_to_the_purchase_model():
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 50, 400).astype(str)
    rfm = rfm_from_payments(ids, rng.integers(0, 300, 400), rng.gamma(3.0, 5.0, 400), 330)
    valued = clv_baselines(
        ["never", rfm["customer_id"][0]], [0.0, 50.0], [10.0, 0.2], horizon_weeks=26, rfm=rfm
    )

    assert list(valued.columns) == ["naive rate", "BG/NBD + Gamma-Gamma"]
    assert valued.loc["never"].tolist() == [0.0, 0.0]
    assert valued["naive rate"].iloc[1] == 50 * 26  # less than a week counts as a week
    assert valued["BG/NBD + Gamma-Gamma"].iloc[1] > 0

    straight = purchase_baselines(
        ids, rng.integers(0, 300, 400), np.full(400, 4.0), 330, horizon_weeks=26
    )
    assert len(straight) == len(set(ids))


# --- churn -----------------------------------------------------------------------------------


def snapshots(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "weeks_since_use": rng.integers(0, 30, n).astype(float),
            "spend_13w": rng.lognormal(3, 2, n),
            "effort": np.where(rng.random(n) < 0.6, np.nan, rng.normal(size=n)),
            "plan": rng.integers(0, 3, n),
        }
    )
    log_odds = 0.1 * X["weeks_since_use"] - 0.4 * np.log(X["spend_13w"]) + (X["plan"] == 1)
    y = rng.random(n) < 1 / (1 + np.exp(-log_odds))
    return X, y.to_numpy() if hasattr(y, "to_numpy") else y


def test_the_rule_says_gone_from_its_threshold_on():
    X = pd.DataFrame({"weeks_since_use": [3.0, 4.0, np.nan]})
    rule = RecencyRule().fit(X, [0, 1, 1])

    assert rule.leaves(X, weeks=4).tolist() == [False, True, True]
    assert rule.decision_function(X).tolist() == [21.0, 28.0, 29.0]


def test_the_family_of_rules_counts_hits_by_hand():
    X = pd.DataFrame({"days_since_use": [1.0, 10.0, 20.0, 40.0]})
    rule = RecencyRule().fit(X, [0, 1, 0, 1])
    family = rule.family(X, [0, 1, 0, 1], weeks=(1, 4, 13))

    assert family["flagged_share"].tolist() == [0.75, 0.25, 0.0]
    assert [pytest.approx(2 / 3), 1.0] == family["precision"].tolist()[:2]
    assert np.isnan(family["precision"].iloc[2])
    assert family["recall"].tolist() == [1.0, 0.5, 0.0]


def test_the_rules_probability_keeps_the_recency_ordering_and_its_ties():
    X, y = snapshots()
    rule = RecencyRule().fit(X, y)
    probability = rule.predict_proba(X)[:, 1]

    recency_auc = roc_auc_score(y, X["weeks_since_use"])
    assert recency_auc == roc_auc_score(y, probability)
    by_recency = pd.Series(probability).groupby(X["weeks_since_use"])
    assert (by_recency.nunique() == 1).all()
    assert probability.mean() == pytest.approx(y.mean(), abs=0.001)


def test_the_ordering_stays_that_of_recency_when_frequent_use_means_leaving():
    X = pd.DataFrame({"days_since_use": np.arange(100.0)})
    rule = RecencyRule().fit(X, np.arange(100) < 50)

    assert (np.diff(rule.predict_proba(X)[:, 1]) > 0).all()


def test_another_recency_column_steps_in_when_the_first_is_empty():
    X = pd.DataFrame({"days_since_use": [np.nan] * 4, "weeks_since_payment": [1.0, 2, 8, 9]})

    assert RecencyRule().fit(X, [0, 0, 1, 1]).column_ == "weeks_since_payment"
    assert (
        RecencyRule(["lost", "weeks_since_payment"]).fit(X, [0, 0, 1, 1]).column_
        == "weeks_since_payment"
    )
    with pytest.raises(RetainError, match="no recency column with a value; looked for lost"):
        RecencyRule(["lost"]).fit(X, [0, 0, 1, 1])


def test_the_literatures_recency_is_not_taken_for_time_since():
    # in the CLV literature "recency" is first to last purchase: it runs the other way
    with pytest.raises(RetainError, match="looked for none among 1 features"):
        RecencyRule().fit(pd.DataFrame({"recency": [1.0, 2.0]}), [0, 1])


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("days_since_last_use", True),
        ("weeks_since_contact", True),
        ("days_since_purchase", True),
        ("weeks_since_downgrade", False),
        ("weeks_since_failed_payment", False),
        ("weeks_since_answer", False),
    ],
)
def test_only_time_since_behaviour_is_taken_for_recency(name, taken):
    X = pd.DataFrame({name: [1.0, 2.0, 8.0, 9.0]})
    assert taken == ("recency rule" in churn_baselines(X, [0, 1, 0, 1], X))


def test_a_rule_refuses_features_without_its_column():
    X, y = snapshots(50)
    rule = RecencyRule().fit(X, y)
    with pytest.raises(ModelMismatchError, match="'weeks_since_use', which is not among the 3"):
        rule.predict_proba(X.drop(columns="weeks_since_use"))


def test_logistic_regression_finds_a_log_linear_truth():
    X, y = snapshots(4000)
    fresh, truth = snapshots(4000, seed=1)
    fitted = fit_logistic(X, y, categorical=["plan"])
    probability = fitted.predict_proba(fresh)[:, 1]

    ideal = 0.1 * fresh["weeks_since_use"] - 0.4 * np.log(fresh["spend_13w"]) + (fresh["plan"] == 1)
    assert roc_auc_score(truth, probability) > roc_auc_score(truth, ideal) - 0.01
    assert probability.mean() == pytest.approx(truth.mean(), abs=0.03)
    assert "effort is missing" in fitted.terms
    assert "plan = 1" in fitted.terms
    assert "plan" not in fitted.terms


def test_logistic_regression_does_not_depend_on_column_order_and_repeats_itself():
    X, y = snapshots(600)
    one = fit_logistic(X, y, categorical=["plan"])
    two = fit_logistic(X, y, categorical=["plan"])

    assert (one.predict_proba(X) == two.predict_proba(X)).all()
    assert (one.predict_proba(X) == one.predict_proba(X[X.columns[::-1]])).all()


def test_extreme_and_unseen_values_stay_within_bounds():
    X, y = snapshots(600)
    fitted = fit_logistic(X, y, categorical=["plan"])
    odd = pd.DataFrame(
        {"weeks_since_use": [1e12, -1e12], "spend_13w": np.nan, "effort": 1e300, "plan": [77, -1]}
    )
    probability = fitted.predict_proba(odd)

    assert np.isfinite(probability).all()
    assert probability.sum(axis=1) == pytest.approx(np.ones(2))


def test_constant_empty_and_equally_missing_columns_add_nothing():
    X, y = snapshots(300)
    X = X.assign(
        constant=1.0,
        empty=np.nan,
        effort_twin=X["effort"] * 2,
        flag=pd.array([True, False, None] * 100, dtype="boolean"),
    )
    fitted = fit_logistic(X, y)

    assert not {"constant", "empty", "effort_twin is missing"} & set(fitted.terms)
    assert {"flag", "flag is missing", "effort_twin"} <= set(fitted.terms)


def test_the_penalty_is_chosen_on_the_splits_that_are_given():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"days_since_use": rng.normal(size=600), "noise": rng.normal(size=600)})
    y = (X["days_since_use"] + 0.3 * rng.normal(size=600) > 0).to_numpy()
    y_turned = y.copy()
    y_turned[300:] = ~y[300:]  # in the validation half the relation is the opposite
    forward = [(np.arange(300), np.arange(300, 600))]

    assert fit_logistic(X, y, splits=forward).C == 1.0
    assert fit_logistic(X, y_turned, splits=forward).C == 0.0003


def test_groups_are_kept_together_when_the_penalty_is_chosen():
    rng = np.random.default_rng(0)
    customer = np.repeat(np.arange(60), 10)
    X = pd.DataFrame(np.eye(60)[customer], columns=[f"is_{i}" for i in range(60)])
    y = np.repeat(rng.random(60) < 0.5, 10)

    assert fit_logistic(X, y).C > fit_logistic(X, y, groups=customer).C


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 1, 1], "all 3 labels are 1; both staying and leaving"),
        ([0, 0, 0], "all 3 labels are 0; both staying and leaving"),
        ([0, 1, np.nan], r"1 labels are neither 0 nor 1 \(nan\)"),
        ([0, 1], r"\(2,\) labels for 3 snapshots"),
    ],
)
def test_labels_that_teach_nothing_are_refused(y, message):
    X = pd.DataFrame({"days_since_use": [1.0, 2.0, 3.0]})
    for fit in (fit_logistic, RecencyRule().fit, lambda X, y: churn_baselines(X, y, X)):
        with pytest.raises(RetainError, match=message):
            fit(X, y)


def test_columns_that_cannot_be_used_are_named():
    X = pd.DataFrame({"days_since_use": [1.0, 2.0], "plan": ["pro", "free"]})
    with pytest.raises(RetainError, match="columns plan are not numbers"):
        fit_logistic(X, [0, 1])
    with pytest.raises(RetainError, match="categorical columns tier are not among the 2"):
        fit_logistic(X, [0, 1], categorical=["tier"])
    with pytest.raises(RetainError, match="infinite values in days_since_use"):
        fit_logistic(pd.DataFrame({"days_since_use": [1.0, np.inf]}), [0, 1])
    with pytest.raises(RetainError, match="none of 1 features varies"):
        fit_logistic(pd.DataFrame({"one": [1.0, 1.0]}), [0, 1])


def test_missing_and_extra_columns_are_both_listed():
    X, y = snapshots(100)
    fitted = fit_logistic(X, y)
    with pytest.raises(ModelMismatchError, match=r"1 features.*\(effort\) and 1.*\(plam\)"):
        fitted.predict_proba(X.drop(columns="effort").assign(plam=1))


def test_the_panel_holds_every_baseline_under_its_printed_name():
    X, y = snapshots(300)

    class Default:
        def predict_proba(self, X):
            assert isinstance(X, np.ndarray)
            return np.column_stack([np.full(len(X), 0.75), np.full(len(X), 0.25)])

    scored = churn_baselines(
        X[:200],
        y[:200],
        X[200:],
        categorical=["plan"],
        default_lightgbm=lambda X, y: Default(),
    )

    assert list(scored) == ["base rate", "recency rule", "logistic regression", "default LightGBM"]
    assert all(
        p.shape == (100,) and np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()
        for p in scored.values()
    )
    assert (scored["default LightGBM"] == 0.25).all()
    bare = churn_baselines(X[["spend_13w"]][:200], y[:200], X[["spend_13w"]][200:])
    assert list(bare) == ["base rate", "logistic regression"]


@needs_cdnow
def test_logistic_regression_reaches_the_known_level_on_cdnow_churn(master_log):
    def observe(cut):
        rfm = rfm_from_payments(
            master_log["customer_id"], master_log["date"], master_log["sales"], cut
        )
        rfm["weeks_since_purchase"] = rfm["T"] - rfm["recency"]
        rfm = rfm[rfm["weeks_since_purchase"] <= 180 / 7]
        ahead = master_log[master_log["date"] > cut]
        ahead = ahead[ahead["date"] <= cut + pd.Timedelta(days=91)]
        y = ~rfm["customer_id"].isin(ahead["customer_id"])
        return rfm.drop(columns="customer_id"), y.to_numpy()

    X, y = observe(pd.Timestamp("1997-10-15"))
    fresh, truth = observe(pd.Timestamp("1998-01-15"))
    scored = churn_baselines(X, y, fresh)

    assert truth.mean() == pytest.approx(0.594, abs=0.002)
    assert roc_auc_score(truth, scored["logistic regression"]) > 0.68
    assert roc_auc_score(truth, scored["recency rule"]) > 0.6
