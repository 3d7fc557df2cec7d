"""The health score as a baseline: only what had been scored and seen by then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.baselines import rates_by_score
from retain.errors import RetainError

SCORES = st.one_of(st.floats(0, 100), st.just(float("nan")))


def test_customers_of_a_score_leave_as_often_as_those_who_had_it():
    assert rates_by_score([20, 20, 80, 80], [1, 1, 1, 0], [20, 80]).tolist() == [1.0, 0.5]


def test_scores_outside_those_seen_count_as_the_nearest():
    assert rates_by_score([20, 80], [1, 0], [0, 100]).tolist() == [1.0, 0.0]


def test_who_has_no_score_leaves_as_often_as_others_without_one():
    assert rates_by_score([20, np.nan, np.nan], [0, 1, 0], [np.nan]).tolist() == [0.5]


def test_when_nobody_has_a_score_everybody_gets_the_base_rate():
    assert rates_by_score([np.nan] * 4, [1, 0, 0, 0], [50, np.nan]).tolist() == [0.25, 0.25]


def test_labels_of_one_class_are_refused():
    with pytest.raises(RetainError, match="health score"):
        rates_by_score([20, 80], [0, 0], [20])


# seen to fail with the scale turned round (increasing=True)
@given(st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=30), st.lists(SCORES))
def test_a_healthier_score_never_means_a_higher_rate(learnt, asked):
    score, left = zip(*learnt, strict=True)
    if len(set(left)) < 2:
        return
    rates = rates_by_score(score, left, asked)
    assert ((rates >= 0) & (rates <= 1)).all()
    known = ~np.isnan(np.array(asked, dtype=float))
    order = np.argsort(np.array(asked, dtype=float)[known], kind="stable")
    assert (np.diff(rates[known][order]) <= 1e-12).all()
