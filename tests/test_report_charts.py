"""The model's plots: the figures behind them by hand, and that they are drawn the same twice."""

import sys

import numpy as np
import pandas as pd
import pytest
from report_week import make_week

from retain.errors import RetainError
from retain.report.charts import (
    calibration_bins,
    calibration_figure,
    contribution_figure,
    gain_curve,
    gain_figure,
    write_png,
)


@pytest.fixture(scope="module")
def outcome():
    rng = np.random.default_rng(3)
    p = rng.beta(1.2, 9, 3_000)
    return p, (rng.random(3_000) < p).astype(int)


def test_bins_compare_the_mean_prediction_with_the_rate_and_its_wilson_interval():
    bins = calibration_bins([0.2] * 10, [1, 1] + [0] * 8, interval=0.95)

    assert bins.loc[0, ["n", "predicted", "observed"]].tolist() == pytest.approx([10, 0.2, 0.2])
    assert bins.loc[0, ["low", "high"]].tolist() == pytest.approx([0.0567, 0.5098], abs=1e-4)


def test_bins_hold_every_snapshot_once_and_do_not_split_ties(outcome):
    p, y = outcome
    bins = calibration_bins(np.round(p, 2), y)

    assert bins["n"].sum() == len(p)
    assert bins["predicted"].is_monotonic_increasing
    assert ((bins["low"] <= bins["observed"]) & (bins["observed"] <= bins["high"])).all()


def test_gain_does_not_depend_on_the_order_of_ties():
    there = gain_curve([0.9, 0.5, 0.5, 0.1], [0, 1, 0, 1])
    back = gain_curve([0.9, 0.5, 0.5, 0.1], [0, 0, 1, 1])

    pd.testing.assert_frame_equal(there, back)
    assert there["captured"].tolist() == [0.0, 0.0, 0.5, 1.0]


def test_what_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(RetainError, match=r"found shapes \(2,\) and \(1,\)"):
        calibration_bins([0.1, 0.2], [1])
    with pytest.raises(RetainError, match="found 1 missing"):
        gain_curve([0.1, np.nan], [0, 1])
    with pytest.raises(RetainError, match="found 0 leavers"):
        gain_curve([0.1, 0.2], [0, 0])
    with pytest.raises(RetainError, match="no drivers of 'clv'"):
        contribution_figure(make_week(20)["drivers"].query("target == 'churn'"), target="clv")


def test_figures_are_drawn_without_pyplot_and_the_same_bytes_twice(outcome, tmp_path):
    before = "matplotlib.pyplot" in sys.modules
    p, y = outcome
    drivers = make_week(40)["drivers"]
    for name, draw in {
        "calibration": lambda: calibration_figure(p, y),
        "gain": lambda: gain_figure({"model": p, "recency rule": np.round(p, 1)}, y, capacity=0.1),
        "signals": lambda: contribution_figure(drivers),
        "clv": lambda: contribution_figure(drivers, target="clv"),
    }.items():
        first = write_png(draw(), tmp_path / f"{name}.png").read_bytes()
        again = write_png(draw(), tmp_path / f"{name}_again.png").read_bytes()

        assert first[:4] == b"\x89PNG"
        assert first == again
    assert before == ("matplotlib.pyplot" in sys.modules)


def test_the_mean_contribution_counts_a_missing_signal_as_zero():
    drivers = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b"],
            "target": "churn",
            "theme": "usage",
            "signal": ["logins", "days", "logins"],
            "contribution": [0.10, 0.04, -0.02],
        }
    )
    bars = contribution_figure(drivers).axes[0].patches

    assert [bar.get_width() for bar in bars] == pytest.approx([2.0, 6.0])


def test_a_figure_of_pyplot_is_closed_once_it_is_written(tmp_path):
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    figure, _ = pyplot.subplots()
    number = figure.number

    write_png(figure, tmp_path / "of_pyplot.png")

    assert not pyplot.fignum_exists(number)
