"""The weeks for which a customer is expected to stay, as a reason for the value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from retain.explain import additive_in_currency, signal_contributions
from retain.features import FEATURES, Column
from retain.jobs.staying import Staying

MRR = next(one for one in FEATURES if one.name == "mrr")


@pytest.fixture
def staying() -> Staying:
    """Half of the weeks usual; one customer stays, one is likely gone, one cannot leave."""
    now, before = np.array([1.0, 0.25, np.nan]), np.array([1.0, 0.5, np.nan])
    return Staying(now, before, before, np.log(0.5), 52)


def test_twice_the_usual_weeks_double_the_value_and_the_credits_add_up(staying: Staying) -> None:
    of_features = np.array([[0.0, np.log(1000.0)]] * 3)  # one column without effect, and the base
    columns = [Column("mrr", MRR, None, "MRR"), staying.column(staying.horizon_weeks)]

    signals = signal_contributions(staying.credited(of_features, staying.now), columns)
    base, points = additive_in_currency(signals, 1.0, np.array([1000.0, 250.0, 500.0]))

    assert base == pytest.approx(500.0)  # half of the weeks, at a thousand for all
    np.testing.assert_allclose(points[:, 0], 0.0)
    np.testing.assert_allclose(points[:, 1], [500.0, -250.0, 0.0])


def test_the_weeks_are_told_now_and_four_weeks_earlier(staying: Staying) -> None:
    X = pd.DataFrame({"mrr": [10.0, 20.0, 30.0], "left out of the model": 1.0})
    now, earlier = staying.shown(X, X, [Column("mrr", MRR, None, "MRR")])

    assert list(now.columns) == ["mrr", staying.column(52).name] == ["mrr", "expected_weeks"]
    np.testing.assert_array_equal(now["expected_weeks"], [52.0, 13.0, np.nan])
    np.testing.assert_array_equal(earlier["expected_weeks"], [52.0, 26.0, np.nan])
    assert staying.column(52).label == "Weeks expected as a customer, of the next 52"


def test_where_value_does_not_follow_the_curve_nothing_is_added() -> None:
    flat = Staying(None, None, None, 0.0, 52)
    X, columns = pd.DataFrame({"mrr": [1.0]}), [Column("mrr", MRR, None, "MRR")]

    assert [one is X for one in flat.shown(X, X, columns)] == [True, True]
    assert flat.credited(X, None) is X
