"""Exact TreeSHAP by tables: equal to LightGBM's own and to the shap library, whatever the model.

Seen to fail: `<` for `<=` at a threshold, nan sent by its value, -0.5 as no category, a share taken
over the whole tree, one Gauss point too few, conditions on one feature taken apart.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.errors import ModelMismatchError
from retain.explain import TreeShap, treeshap
from retain.explain.trees import View, seen

NAN, INF = float("nan"), float("inf")
ODD = [NAN, 0.0, -0.0, INF, -INF, 1e-36, -1e-36, 1e-35, 2e-35, 1e300, -1e300, -0.5, -1.0, -7.0]
ODD += [0.5, 1.0, 2.9, 31.0, 32.0, 63.0, 64.0, 999.0, 2.0**31 - 1, 2.0**31, 1e18]
QUIET = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 3, "min_data_in_bin": 1}


def rows_of(rng, rows, wide, missing=0.2, zeros=0.2, categories=0):
    """Numbers of several kinds, with gaps; the last column holds codes when asked for."""
    X = rng.normal(size=(rows, wide))
    X[:, ::3] = np.round(X[:, ::3] * 2)
    X[rng.random(X.shape) < missing] = NAN
    X[rng.random(X.shape) < zeros] = 0.0
    if categories:
        X[:, -1] = rng.integers(0, categories, rows)
    return X


def outcomes(rng, X):
    Z = np.nan_to_num(X)
    steps = np.where(Z[:, 0] > 0, Z[:, 1], -Z[:, 2])
    return steps + np.isnan(X[:, 0]) + np.sin(Z[:, -1]) + 0.3 * rng.normal(size=len(X))


def chain(X):
    """Outcomes that only a long path tells: how many columns in a row hold no low value."""
    steps = np.linspace(-1.9, -0.9, X.shape[1])
    return 2.0 ** np.argmax(np.column_stack([steps > X, np.ones(len(X), dtype=bool)]), axis=1)


def trained(parameters, X, y, rounds=8, categorical=(), **more):
    data = lgb.Dataset(X, y, categorical_feature=list(categorical), **more)
    return lgb.train({**QUIET, **parameters}, data, rounds)


def odd_rows(rng, booster, X):
    """Rows as trained on, mixed with odd values and with values exactly on the thresholds."""
    X = X[rng.integers(0, len(X), 300)].copy()
    at = rng.random(X.shape) < 0.3
    X[at] = rng.choice(ODD, int(at.sum()))
    frame = booster.trees_to_dataframe()
    for feature, threshold, kind in zip(
        frame["split_feature"], frame["threshold"], frame["decision_type"], strict=True
    ):
        if kind == "<=":
            column = booster.feature_name().index(feature)
            X[rng.integers(0, len(X), 2), column] = float(threshold)
    return X


def assert_equal_to_lightgbm(booster, X):
    shap_values = TreeShap(booster)
    assert shap_values.fallback_because == ""
    expected, score = booster.predict(X, pred_contrib=True), booster.predict(X, raw_score=True)
    near = {"rtol": 0, "atol": 1e-12 * max(np.abs(expected).max(), 1.0)}
    np.testing.assert_allclose(shap_values(X), expected, **near)
    np.testing.assert_allclose(shap_values(X).sum(axis=1), score, **near)


# ---- what is computed --------------------------------------------------------------------------


def by_definition(booster, row):
    """Shapley values as their definition says, over all subsets of features: 2^features walks."""
    model = booster.dump_model()
    wide = model["max_feature_idx"] + 1

    def expected(node, known):
        if "leaf_value" in node:
            return node["leaf_value"]
        left, right = node["left_child"], node["right_child"]
        if node["split_feature"] in known:
            goes = row[node["split_feature"]] <= node["threshold"]
            return expected(left if goes else right, known)
        rows = [one.get("internal_count", one.get("leaf_count")) for one in (left, right)]
        return (rows[0] * expected(left, known) + rows[1] * expected(right, known)) / sum(rows)

    def value(known):
        return sum(expected(tree["tree_structure"], known) for tree in model["tree_info"])

    shares = np.zeros(wide + 1)
    shares[-1] = value(set())
    for feature in range(wide):
        others = [one for one in range(wide) if one != feature]
        for size in range(wide):
            weight = math.factorial(size) * math.factorial(wide - 1 - size) / math.factorial(wide)
            for chosen in itertools.combinations(others, size):
                shares[feature] += weight * (value({*chosen, feature}) - value(set(chosen)))
    return shares


def test_a_stump_is_explained_by_hand():
    # three of four rows lie left and hold 2, one lies right and holds 10: on average 4
    X, y = np.array([[0.0], [0.0], [0.0], [1.0]] * 5), np.array([2.0, 2.0, 2.0, 10.0] * 5)
    booster = trained({"learning_rate": 1.0}, X, y, 1)

    expected = [[-2.0, 4.0], [6.0, 4.0]]
    np.testing.assert_allclose(TreeShap(booster)(np.array([[0.0], [1.0]])), expected, atol=1e-6)


def test_the_values_are_shapley_s_by_definition():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 5))
    y = X[:, 0] * X[:, 1] + np.abs(X[:, 2]) + X[:, 3]
    booster = trained({"num_leaves": 12}, X, y, 3)
    shap_values = TreeShap(booster)(X[:6])
    for row, got in zip(X[:6], shap_values, strict=True):
        np.testing.assert_allclose(got, by_definition(booster, row), atol=1e-12)


def test_the_shap_library_says_the_same():
    import shap

    rng = np.random.default_rng(6)
    X = rows_of(rng, 400, 6, categories=9)
    booster = trained({"num_leaves": 20}, X, outcomes(rng, X), 20, [5])
    explained = shap.TreeExplainer(booster)(X)

    got = TreeShap(booster)(X)
    np.testing.assert_allclose(got[:, :-1], explained.values, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got[:, -1], explained.base_values, rtol=0, atol=1e-9)


# ---- every case of LightGBM --------------------------------------------------------------------

MISSING = {
    "nan": {},
    "none": {"use_missing": False},
    "zero": {"zero_as_missing": True},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("missing", MISSING)
def test_missing_values_of_each_kind_go_where_lightgbm_sends_them(missing, dtype):
    rng = np.random.default_rng(1)
    X = rows_of(rng, 500, 6)
    booster = trained({"num_leaves": 15, **MISSING[missing]}, X, outcomes(rng, X), 20)
    # the rows as they are: after rounding to float32 the thresholds are no longer exact
    with np.errstate(over="ignore"):
        odd = odd_rows(rng, booster, X).astype(dtype)

    kinds = {view.kind for view in TreeShap(booster)._views}
    assert any(missing in kind for kind in kinds) or missing == "none"
    assert_equal_to_lightgbm(booster, odd)


@pytest.mark.parametrize("categories", [2, 5, 33, 300])
@pytest.mark.parametrize("one_hot_up_to", [4, 400])
def test_categories_seen_unseen_negative_fractional_and_missing(categories, one_hot_up_to):
    rng = np.random.default_rng(2)
    X = rows_of(rng, 900, 4, categories=categories)
    X[rng.random(900) < 0.1, -1] = NAN
    parameters = {"num_leaves": 15, "max_cat_to_onehot": one_hot_up_to, "cat_smooth": 1.0}
    y = outcomes(rng, X) + 3 * (X[:, -1] % 3 == 1)
    booster = trained({**parameters, "min_data_per_group": 5}, X, y, 10, [3])

    kinds = {view.kind for view in TreeShap(booster)._views}
    assert "category" in kinds
    assert_equal_to_lightgbm(booster, odd_rows(rng, booster, X))


@pytest.mark.parametrize(
    "parameters",
    [
        {"objective": "binary"},
        {"objective": "tweedie"},
        {"objective": "binary", "is_unbalance": True},
        {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
        {"boosting": "dart", "drop_rate": 0.5},
        {"data_sample_strategy": "goss"},
        {"objective": "l1"},
        {"extra_trees": True, "path_smooth": 2.0},
        {"monotone_constraints": [1, -1, 0, 0, 0], "monotone_constraints_method": "advanced"},
        {"max_bin": 3},
        {"use_quantized_grad": True},
    ],
    ids=lambda p: "-".join(map(str, itertools.islice(p.values(), 2))),
)
def test_any_way_of_boosting(parameters):
    rng = np.random.default_rng(3)
    X = rows_of(rng, 600, 5)
    y = outcomes(rng, X)
    y = (y > 0.5).astype(float) if parameters.get("objective") == "binary" else np.abs(y)
    booster = trained({"num_leaves": 11, **parameters}, X, y, 12, weight=rng.random(600) + 0.1)

    assert_equal_to_lightgbm(booster, odd_rows(rng, booster, X))


def test_trees_that_never_ask_anything():
    X = np.random.default_rng(4).normal(size=(60, 3))
    booster = trained({}, X, np.full(60, 2.5))

    assert TreeShap(booster)(X[:2]).tolist() == [[0.0, 0.0, 0.0, 2.5]] * 2
    assert_equal_to_lightgbm(booster, X)


def test_one_leaf_trees_among_others():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 3))
    booster = trained({"min_gain_to_split": 2.0, "learning_rate": 0.5}, X, X[:, 0], 12)
    leaves = [tree["num_leaves"] for tree in booster.dump_model()["tree_info"]]

    assert min(leaves) < max(leaves) or len(leaves) < 12
    assert_equal_to_lightgbm(booster, X)


def test_a_refitted_model_with_its_best_rounds_only():
    rng = np.random.default_rng(7)
    X = rows_of(rng, 500, 4)
    y = outcomes(rng, X)
    booster = trained({"num_leaves": 9}, X, y, 12)
    assert_equal_to_lightgbm(booster.refit(X[:200], y[:200], decay_rate=0.3), X)

    booster.best_iteration = 5
    assert_equal_to_lightgbm(booster, X)
    assert len(TreeShap(booster)._trees) == 5


def test_a_long_path_over_few_features_needs_no_table_per_split():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(3000, 3))
    X[:, 0] = rng.integers(0, 16, 3000)
    y = 3.0 ** X[:, 0] + 2 * X[:, 1] * X[:, 2]  # the highest is split off again and again
    booster = trained({"num_leaves": 40}, X, y, 2)
    depth = max(booster.trees_to_dataframe()["node_depth"])

    assert depth > treeshap.SPLITS + 2
    assert_equal_to_lightgbm(booster, odd_rows(rng, booster, X))


def test_a_single_column_and_very_many_leaves():
    rng = np.random.default_rng(9)
    X = rng.normal(size=(2000, 1))
    booster = trained({"num_leaves": 200, "max_depth": 8}, X, np.sin(9 * X[:, 0]), 3)

    assert_equal_to_lightgbm(booster, X)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    wide=st.integers(1, 12),
    leaves=st.integers(2, 40),
    depth=st.sampled_from([-1, 1, 2, 3, 6, 8]),
    missing=st.sampled_from(sorted(MISSING)),
    gaps=st.sampled_from([0.0, 0.3, 0.9]),
    zeros=st.sampled_from([0.0, 0.5]),
    categories=st.sampled_from([0, 3, 40]),
)
def test_whatever_the_model_the_values_are_lightgbm_s(
    seed, wide, leaves, depth, missing, gaps, zeros, categories
):
    rng = np.random.default_rng(seed)
    X = rows_of(rng, 250, max(wide, 3), gaps, zeros, categories)
    y = outcomes(rng, X)
    parameters = {"num_leaves": leaves, "max_depth": depth, **MISSING[missing], "seed": seed}
    booster = trained(parameters, X, y, 5, [X.shape[1] - 1] if categories else [])
    odd = odd_rows(rng, booster, X)
    np.testing.assert_allclose(
        TreeShap(booster)(odd), booster.predict(odd, pred_contrib=True), rtol=0, atol=1e-11
    )


# ---- where tables are not used, or not possible ------------------------------------------------


def test_paths_over_very_many_features_are_left_to_lightgbm():
    X = np.random.default_rng(10).normal(size=(3000, 16))
    booster = trained({"num_leaves": 20}, X, chain(X), 2)
    shap_values = TreeShap(booster)

    assert "features; tables are made for up to 12" in shap_values.fallback_because
    np.testing.assert_allclose(shap_values(X), booster.predict(X, pred_contrib=True), atol=1e-12)


def test_tables_that_would_not_fit_are_not_made(monkeypatch):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(500, 4))
    booster = trained({}, X, X[:, 0] + X[:, 1] * X[:, 2])
    small = TreeShap(booster)
    assert small.fallback_because == ""

    monkeypatch.setattr(treeshap, "TABLE_BYTES", 1000)
    big = TreeShap(booster)
    assert "bytes; at most 1,000 are made" in big.fallback_because
    np.testing.assert_allclose(big(X), small(X), rtol=0, atol=1e-12)


def test_leaves_without_training_rows_are_left_to_lightgbm():
    rng = np.random.default_rng(12)
    X = rng.normal(size=(200, 3))
    booster = trained({"num_leaves": 4}, X, X[:, 0] + X[:, 1], 1)
    text = booster.model_to_string()
    count = next(line for line in text.splitlines() if line.startswith("leaf_count"))
    first = count.partition("=")[2].split()[0]
    doctored = lgb.Booster(model_str=text.replace(count, count.replace(f"={first} ", "=0 ", 1)))

    assert "no training row" in TreeShap(doctored).fallback_because


def test_several_scores_per_row_are_refused():
    rng = np.random.default_rng(13)
    X = rng.normal(size=(90, 2))
    booster = trained({"objective": "multiclass", "num_class": 3}, X, np.arange(90) % 3, 2)
    with pytest.raises(ModelMismatchError, match=r"3 scores per row .*Train one model per class"):
        TreeShap(booster)


def test_linear_leaves_are_refused():
    rng = np.random.default_rng(14)
    X = rng.normal(size=(90, 2))
    booster = trained({"linear_tree": True}, X, X[:, 0], 2)
    with pytest.raises(ModelMismatchError, match=r"linear models in its leaves.*linear_tree=false"):
        TreeShap(booster)


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 4), (2, 4, 3)])
def test_rows_of_another_shape_are_refused(shape):
    X = np.random.default_rng(15).normal(size=(60, 3))
    with pytest.raises(ValueError, match=r"expected \(rows, 3\)"):
        TreeShap(trained({}, X, X[:, 0]))(np.zeros(shape))


# ---- many rows ---------------------------------------------------------------------------------


def test_blocks_threads_and_neighbours_do_not_change_a_bit(monkeypatch):
    rng = np.random.default_rng(17)
    X = rows_of(rng, 1000, 5)
    shap_values = TreeShap(trained({"num_leaves": 15}, X, outcomes(rng, X)))
    whole = shap_values(X, threads=1)
    monkeypatch.setattr(treeshap, "ROWS", 64)

    np.testing.assert_array_equal(shap_values(X, threads=3), whole)
    np.testing.assert_array_equal(shap_values(X[::-1])[::-1], whole)
    np.testing.assert_array_equal(shap_values(np.asfortranarray(X)), whole)
    np.testing.assert_array_equal(shap_values(X[500:501]), whole[500:501])


def test_nobody_to_explain_is_no_problem():
    X = np.random.default_rng(18).normal(size=(60, 3))
    assert TreeShap(trained({}, X, X[:, 0]))(np.zeros((0, 3))).shape == (0, 4)


def test_what_was_given_is_not_changed():
    X = rows_of(np.random.default_rng(19), 100, 3)
    shap_values = TreeShap(trained({"zero_as_missing": True}, X, np.nan_to_num(X[:, 0])))
    before = X.copy()
    shap_values(X)
    np.testing.assert_array_equal(X, before)
    seen(View(0, "zero left"), X[:, 0])
    np.testing.assert_array_equal(X, before)


@pytest.mark.slow
def test_explaining_costs_a_small_part_of_what_lightgbm_needs():
    """The benchmark at a small size: at full size it is some fifty times less."""
    folder = Path(__file__).parent / "benchmarks"
    spec = importlib.util.spec_from_file_location("explaining", folder / "explaining.py")
    explaining = importlib.util.module_from_spec(spec)
    sys.modules["explaining"] = explaining
    spec.loader.exec_module(explaining)
    size = ["--rows", "10000", "--features", "60", "--trees", "60", "--judged", "1500"]
    for cost in explaining.main(size):
        assert cost.ratio > 12, cost
        assert cost.difference < 1e-11, cost
