"""Drift: what chance makes is not called drift, what has moved is, and history may grow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from retain.drift import share_shift, stability, stability_by_signal


def draws(n, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, n)


def test_a_worked_index():
    # half and half becomes a fifth and four fifths: .3 x ln(1.6) + .3 x ln(2.5) = .4159
    before, now = [1.0, 2.0] * 5000, [1.0] * 2000 + [2.0] * 8000

    assert 0.3 * np.log(1.6) + 0.3 * np.log(2.5) == pytest.approx(
        stability(before, now).index, abs=1e-3
    )


def test_chance_alone_stays_below_the_noise_99_times_of_100():
    over = [
        (one := stability(draws(300, seed), draws(200, 1000 + seed))).index > one.noise
        for seed in range(400)
    ]

    assert 0.0 <= np.mean(over) <= 0.03


def test_few_customers_make_more_noise_than_their_rows():
    rows = stability(draws(3000), draws(300))
    people = stability(draws(3000), draws(300), customers_before=100)

    assert people.noise > 2 * rows.noise
    assert rows.index == people.index


@pytest.mark.parametrize(("mean", "reading"), [(0.0, "stable"), (0.4, "watch"), (1.0, "shifted")])
def test_what_moves_is_read_as_such(mean, reading):
    assert reading == stability(draws(20_000), draws(20_000, 1, mean)).reading


def test_a_source_that_stops_is_drift_and_history_that_grows_is_none():
    values = draws(4000)
    holes = np.where(np.arange(4000) % 2, values, np.nan)

    assert "shifted" == stability(values, holes).reading
    assert "stable" == stability(holes, values).reading
    assert 0.0 == stability(np.full(50, np.nan), values).index


def test_the_order_of_rows_never_matters():
    a, b = draws(500), draws(400, 1, 0.5)

    assert stability(a, b) == stability(a[::-1], b[::-1])


def test_signals_are_told_by_their_most_moved_column_and_weights_are_shares():
    before = np.column_stack([draws(5000), draws(5000, 1), draws(5000, 2)])
    now = np.column_stack([draws(5000, 3), draws(5000, 4, 2.0), draws(5000, 5)])

    table = stability_by_signal(before, now, ["a", "b", "c"], ["use", "use", "bill"], [1, 2, 5])

    assert ["use", "bill"] == table["signal"].tolist()
    assert ["b", "c"] == table["column"].tolist()
    assert [3 / 8, 5 / 8] == table["weight"].tolist()
    assert ["shifted", "stable"] == table["reading"].tolist()


def test_shares_of_words_that_change_are_counted_once():
    before = pd.Series(["use"] * 60 + ["price"] * 40)
    now = pd.Series(["use"] * 30 + ["price"] * 40 + ["support"] * 30)

    shift, noise, table = share_shift(before, now)

    assert 0.3 == pytest.approx(shift)  # three of ten customers would have to change
    assert 0.0 < noise < 1.0
    assert ["support", "use", "price"] == table["word"].tolist()
