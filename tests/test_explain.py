"""Explanations: they add up on the page, agree with the shap library, and read as sentences."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retain.explain import (
    Peers,
    Signals,
    additive_in_currency,
    additive_in_probability,
    describe,
    draft_drivers,
    format_value,
    peers_of,
    signal_contributions,
    stability_of,
    summary_figure,
    tell_drivers,
)
from retain.features import Column, Feature
from retain.model import ChurnHead, ClvHead, LogitCalibrator, ScaleCalibrator, expit

NAN = float("nan")


def column(name="logins_4w", label="Logins in the last 4 weeks", unit="events", **more):
    fixed = {"theme": "usage", "signal": name, "compute": None, **more}
    return Column(name, Feature(name, label, unit, **fixed), None, label)


def signals_of(raw, base=0.0):
    """Signals of one column each."""
    raw = np.atleast_2d(np.asarray(raw, dtype=float))
    names = tuple(f"s{at}" for at in range(raw.shape[1]))
    members = tuple((at,) for at in range(raw.shape[1]))
    return Signals(names, ("usage",) * len(names), raw, base, raw, members)


# ---- signals -----------------------------------------------------------------------------------


def test_columns_of_one_signal_share_one_credit():
    columns = [
        column("logins_4w", signal="logins"),
        column("days_4w", signal="days"),
        column("logins_13w", signal="logins"),
        column("cases_4w", signal="logins", theme="effort"),  # same word, another theme
    ]
    signals = signal_contributions(
        [[1.0, 2.0, 4.0, 8.0, -3.0], [0.0, 0.0, 0.5, 0.0, -3.0]], columns
    )

    assert signals.names == ("logins", "days", "logins")
    assert signals.themes == ("usage", "usage", "effort")
    assert signals.members == ((0, 2), (1,), (3,))
    assert signals.base == -3.0
    np.testing.assert_array_equal(signals.raw, [[5.0, 2.0, 8.0], [0.5, 0.0, 0.0]])
    np.testing.assert_array_equal(signals.columns[0], [1.0, 2.0, 4.0, 8.0])


def test_nobody_to_explain_is_no_problem():
    signals = signal_contributions(np.zeros((0, 3)), [column("a"), column("b")])
    base, points = additive_in_probability(signals, 1.0, 0.0, np.zeros(0))

    assert signals.raw.shape == points.shape == (0, 2)
    assert base == 0.5


# ---- adding up ---------------------------------------------------------------------------------

EXTREME = [
    [0.0, 0.0, 0.0],  # nothing known: the base itself
    [2.0, -2.0, 0.0],  # signals that cancel
    [1e-12, 0.0, 0.0],
    [3.0, -3.0, 1e-7],
    [40.0, 20.0, 1.0],  # a probability of one, to the last bit
    [-400.0, -300.0, 1.0],  # and of nought
    [900.0, -100.0, 0.0],
    [0.3, -0.1, 0.05],
]


def test_base_and_signals_are_the_probability_for_every_row_however_extreme():
    signals = signals_of(EXTREME, base=-2.2)
    shown = LogitCalibrator(0.7, 0.3)(signals.base + signals.raw.sum(axis=1))
    base, points = additive_in_probability(signals, 0.7, 0.3, shown)

    assert base == pytest.approx(float(expit(0.7 * -2.2 + 0.3)))
    np.testing.assert_allclose(base + points.sum(axis=1), shown, atol=1e-12)
    assert np.isfinite(points).all()


def test_base_and_signals_are_the_value_for_every_row():
    raw = [[0.0, 0.0], [8.0, 3.0], [-9.0, 1.0], [1.0, -1.0], [1e-12, 0.0], [5.0, -5.0 + 1e-7]]
    signals = signals_of(raw, base=4.0)
    shown = ScaleCalibrator(1.3)(4.0 + signals.raw.sum(axis=1))
    base, points = additive_in_currency(signals, 1.3, shown)

    assert base == pytest.approx(1.3 * np.exp(4.0))
    np.testing.assert_allclose(base + points.sum(axis=1), shown, rtol=1e-9, atol=1e-9)


def test_a_signal_is_credited_by_hand():
    # from log-odds 0 to 1 and back down by half of it: p goes from 0.5 to expit(0.5)
    base, points = additive_in_probability(signals_of([1.0, -0.5]), 1.0, 0.0, expit([0.5]))
    rise = float(expit(0.5)) - 0.5

    assert base == 0.5
    np.testing.assert_allclose(points, [[2 * rise, -rise]])


def test_every_signal_keeps_its_direction_and_nothing_stays_nothing():
    signals = signals_of(EXTREME, base=-2.2)
    shown = LogitCalibrator(0.7, 0.3)(signals.base + signals.raw.sum(axis=1))
    _, points = additive_in_probability(signals, 0.7, 0.3, shown)
    value = np.array(EXTREME)[[0, 1, 2, 3, 7]]
    _, money = additive_in_currency(signals_of(value), 2.0, 2.0 * np.exp(value.sum(axis=1)))

    np.testing.assert_array_equal(np.sign(points), np.sign(signals.raw))
    np.testing.assert_array_equal(np.sign(money), np.sign(value))


CONTRIBUTIONS = arrays(
    np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-12.0, 12.0)
)


@given(CONTRIBUTIONS, st.floats(-6.0, 6.0), st.floats(0.2, 3.0), st.floats(-3.0, 3.0))
def test_whatever_the_signals_they_add_up_to_the_probability(raw, base, slope, shift):
    signals = signals_of(raw, base)
    shown = expit(slope * (base + raw.sum(axis=1)) + shift)
    start, points = additive_in_probability(signals, slope, shift, shown)

    np.testing.assert_allclose(start + points.sum(axis=1), shown, atol=1e-9)
    assert (np.sign(points) * np.sign(raw) >= 0).all()


@given(CONTRIBUTIONS, st.floats(-3.0, 10.0), st.floats(0.1, 20.0))
def test_whatever_the_signals_they_add_up_to_the_value(raw, base, factor):
    raw = raw / 4
    signals = signals_of(raw, base)
    shown = factor * np.exp(base + raw.sum(axis=1))
    start, points = additive_in_currency(signals, factor, shown)

    np.testing.assert_allclose(start + points.sum(axis=1), shown, rtol=1e-8, atol=1e-8 * start)
    assert (np.sign(points) * np.sign(raw) >= 0).all()


@pytest.mark.parametrize("row", [0, 4, 7])
@pytest.mark.parametrize("wrong", [1e-6, -1e-6, NAN])
def test_a_tampered_probability_is_never_shown(row, wrong):
    signals = signals_of(EXTREME, base=-2.2)
    shown = expit(signals.base + signals.raw.sum(axis=1))
    shown[row] += wrong
    with pytest.raises(AssertionError, match="churn probability: base and signals add up"):
        additive_in_probability(signals, 1.0, 0.0, shown)


def test_another_calibrator_than_the_page_used_is_noticed():
    signals = signals_of([[0.5, -0.2]], base=-1.0)
    with pytest.raises(AssertionError, match="no page was written"):
        additive_in_probability(signals, 1.0, 0.001, expit([-0.7]))


def test_a_small_value_off_by_a_cent_is_noticed_beside_a_very_large_one():
    raw = np.array([[0.0, 0.1], [9.0, 6.0]])
    shown = np.exp(raw.sum(axis=1))
    additive_in_currency(signals_of(raw), 1.0, shown)
    shown[0] += 0.01
    with pytest.raises(AssertionError, match="CLV: base and signals add up"):
        additive_in_currency(signals_of(raw), 1.0, shown)


def test_our_contributions_are_those_of_the_shap_library():
    import shap

    rng = np.random.default_rng(0)
    X = np.column_stack(
        [
            rng.normal(size=(400, 2)),
            np.where(rng.random(400) < 0.3, NAN, rng.normal(size=400)),
            rng.integers(0, 5, 400),
        ]
    )
    score = X[:, 0] - 0.5 * np.nan_to_num(X[:, 2]) + (X[:, 3] == 2)
    left = (rng.random(400) < expit(score)).astype(float)
    for head, y in (
        (ChurnHead(rounds=40, min_child_samples=10, categorical=(3,)), left),
        (ClvHead(rounds=40, min_child_samples=10), np.exp(score)),
    ):
        head.fit(X, y)
        oracle = shap.TreeExplainer(head.booster_)
        explained = oracle(X)
        base = np.broadcast_to(np.ravel(explained.base_values)[-1], 400)
        values = explained.values[..., -1] if explained.values.ndim == 3 else explained.values

        np.testing.assert_allclose(head.contributions(X)[:, :-1], values, atol=1e-9)
        np.testing.assert_allclose(head.contributions(X)[:, -1], base, atol=1e-9)


def test_a_model_s_probabilities_add_up_for_every_customer():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 4))
    head = ChurnHead(rounds=40, min_child_samples=10).fit(X, X[:, 0] + rng.normal(size=500) > 0)
    calibrator = LogitCalibrator(0.8, -0.3)
    columns = [column(f"f{at}", signal=f"s{at % 2}") for at in range(4)]
    signals = signal_contributions(head.contributions(X), columns)
    shown = calibrator(head.raw_score(X))
    base, points = additive_in_probability(signals, calibrator.slope, calibrator.shift, shown)

    np.testing.assert_allclose(base + points.sum(axis=1), shown, atol=1e-10)


# ---- stability ---------------------------------------------------------------------------------


def test_stability_counts_the_refits_that_agree():
    page = signals_of([[5.0, 4.0, 3.0, 2.0, -1.0]])
    refits = [
        signals_of([[5.0, 4.0, 3.0, 2.0, -1.0]]),  # the same: the fourth is not among three
        signals_of([[-5.0, 4.0, 3.0, 2.0, -1.0]]),  # the first turned round: the fourth moves up
        signals_of([[0.0, 9.0, 1.0, 2.0, 0.0]]),  # no effect is no agreement
        signals_of([[1.0, 9.0, 8.0, 7.0, -1.0]]),
    ]
    assert stability_of(page, refits).tolist() == [[0.25, 1.0, 1.0, 0.75, 0.75]]


def test_stability_is_unknown_without_refits_and_complete_with_few_signals():
    page = signals_of([[1.0, -1.0]])

    assert np.isnan(stability_of(page, [])).all()
    assert stability_of(page, [page, page]).tolist() == [[1.0, 1.0]]
    assert stability_of(signals_of([[0.0, 1.0]]), [page]).tolist() == [[0.0, 0.0]]


# ---- sentences ---------------------------------------------------------------------------------

LOGINS = column()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (5.0, "events", "5"),
        (12.34, "days", "12.3"),
        (1234.5, "events", "1,234"),
        (0.05, "days", "0.1"),
        (-0.04, "days", "0.0"),
        (-0.0, "events", "0"),
        (-3.0, "events", "-3"),
        (0.25, "share", "25 %"),
        (-0.001, "share", "0 %"),
        (0.4, "balance", "+40 %"),
        (-0.4, "balance", "-40 %"),
        (-0.002, "balance", "+0 %"),
        (12345.6, "currency", "EUR 12,346"),
        (-0.3, "currency per month", "EUR 0"),
        (-250.0, "currency", "EUR -250"),
        (NAN, "events", "none"),
        (None, "share", "none"),
        ("Größe M", "text", "Größe M"),
        (float("inf"), "days", "inf"),
        (np.float32(0.5), "share", "50 %"),
    ],
)
def test_values_are_written_as_a_person_would(value, unit, text):
    assert format_value(value, unit, "EUR") == text


def test_without_a_currency_money_has_no_leading_space():
    assert format_value(12.0, "currency", "") == "12"


@pytest.mark.parametrize(
    ("value", "earlier", "peer", "text"),
    [
        (5.0, 14.0, 13.0, "{} fell from 14 to 5; similar customers: 13"),
        (14.0, 5.0, 13.0, "{} rose from 5 to 14; similar customers: 13"),
        (5.0, 5.0, 13.0, "{}: steady at 5; similar customers: 13"),
        (1000.0, 1010.0, NAN, "{}: steady at 1,000"),  # a hundredth is no news
        (5.0, NAN, NAN, "{}: 5"),
        (NAN, 5.0, 2.0, "{}: none known; similar customers: 2"),
        (None, None, None, "{}: none known"),
        (0.0, 3.0, 0.0, "{} fell from 3 to 0; similar customers: 0"),
        (2.0, 0.0, NAN, "{} rose from 0 to 2"),
    ],
)
def test_a_number_is_said_with_what_it_was_and_what_peers_have(value, earlier, peer, text):
    said = text.format("Logins in the last 4 weeks")

    assert describe(LOGINS, value, earlier, peer, "EUR") == said


@pytest.mark.parametrize("label", ["Weeks since the last login", "Days since the last answer"])
def test_what_grows_by_itself_is_not_said_to_rise(label):
    clock = column(label=label, unit="weeks")

    assert describe(clock, 9.0, 5.0, 2.0, "EUR") == f"{label}: 9; similar customers: 2"


def test_money_shares_and_balances_carry_their_unit():
    spend = column(label="Spend in the last 26 weeks", unit="currency")
    share = column(label="Share of weeks with use", unit="share")
    balance = column(label="Use against the weeks before", unit="balance")

    assert describe(spend, 900.0, 1500.0, 1200.0, "CHF") == (
        "Spend in the last 26 weeks fell from CHF 1,500 to CHF 900; similar customers: CHF 1,200"
    )
    assert (
        describe(share, 0.5, 0.75, NAN, "EUR") == "Share of weeks with use fell from 75 % to 50 %"
    )
    assert describe(balance, -0.5, 0.1, 0.0, "EUR") == (
        "Use against the weeks before: -50 %; similar customers: +0 %"
    )


def test_a_text_is_said_as_it_is_and_the_season_needs_no_number():
    plan = column(label="Plan", unit="text", categorical=True)

    assert describe(plan, "pro", "basic", "basic", "EUR") == "Plan: pro"
    assert (
        describe(plan, None, "basic", "basic", "EUR")
        == "Plan: none known; similar customers: basic"
    )
    assert describe(column(unit="season"), 0.3, 0.2, 0.1, "EUR") == "Time of year"


def test_a_change_is_told_as_the_level_it_is_a_change_of():
    change = column("logins_change_4w", "Change of logins", unit="balance", of="logins_4w")

    assert describe(change, -0.6, 0.0, 0.0, "EUR", (LOGINS, 5.0, 14.0, 13.0)) == (
        "Logins in the last 4 weeks fell from 14 to 5; similar customers: 13"
    )
    assert describe(change, -0.6, 0.0, 0.1, "EUR", (LOGINS, NAN, NAN, 13.0)) == (
        "Change of logins: -60 %; similar customers: +10 %"
    )


HOSTILE = [
    '<script>alert("x")</script>',
    "{0} %s {label}",
    "חברת אור",
    "\u202eevil",
    "a\x00b",
    "🎉",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_odd_and_hostile_texts_are_kept_word_for_word(text):
    plan = column(label=f"Plan {text}", unit="text")

    assert describe(plan, text, None, None, "EUR") == f"Plan {text}: {text}"
    assert describe(column(label=text), 2.0, 1.0, NAN, "EUR") == f"{text} rose from 1 to 2"


# ---- peers -------------------------------------------------------------------------------------


def test_small_groups_are_compared_with_everyone():
    X = pd.DataFrame(
        {
            "n": [1.0] * 40 + [5.0] * 40 + [9.0] * 5,
            "plan": ["a"] * 40 + ["b"] * 40 + [None] * 5,
            "silent": [NAN] * 85,
            "mute": np.array([None] * 85, dtype=object),
        }
    )
    peers = peers_of(
        X.items(), ["small business"] * 40 + ["Größe L"] * 40 + ["tiny"] * 3 + [None, NAN]
    )

    assert peers.group.tolist() == ["small business"] * 40 + ["Größe L"] * 40 + [""] * 5
    assert set(peers.typical) == {"", "small business", "Größe L"}
    assert peers.typical["small business"]["n"] == 1.0
    assert peers.typical["Größe L"]["plan"] == "b"
    assert peers.typical[""]["n"] == 5.0
    assert np.isnan(peers.typical[""]["silent"])
    assert peers.typical[""]["mute"] is None


# ---- the table ---------------------------------------------------------------------------------


def driver_table(
    target,
    signals,
    points,
    points_before,
    stability,
    X,
    earlier,
    columns,
    peers,
    ids,
    currency,
    **kw,
):
    """Choose and tell drivers in one go."""
    draft = draft_drivers(signals, points, points_before, stability, X, earlier, columns, **kw)
    return tell_drivers(target, draft, columns, peers, ids, currency)


def reference_table(
    target, signals, points, before, stability, X, earlier, columns, peers, ids, currency, **kw
):
    """The same table, straightforwardly: customer by customer, driver by driver."""
    raising, lowering, least = kw.get("raising", 5), kw.get("lowering", 2), kw.get("least", 0.0005)

    def plain(value):
        if value is None or value != value:
            return NAN
        return value if isinstance(value, str) else float(value)

    def text(value):
        value = plain(value)
        return (
            value if isinstance(value, str) else None if np.isnan(value) else repr(round(value, 6))
        )

    place = {one.name: one for one in columns}
    rows = []
    for row, customer in enumerate(ids):
        usual, count = peers.typical[peers.group[row]], {True: 0, False: 0}
        for at in np.argsort(-np.abs(points[row]), kind="stable"):
            amount = points[row, at]
            count[amount > 0] += 1
            most = raising if amount > 0 else lowering
            if abs(amount) < least or count[amount > 0] > most:
                continue
            pushes = [
                signals.columns[row, member] * np.sign(amount) for member in signals.members[at]
            ]
            one = columns[signals.members[at][int(np.argmax(pushes))]]

            def three(name, row=row, usual=usual):
                return plain(X[name].iloc[row]), plain(earlier[name].iloc[row]), usual[name]

            level = (place[one.of], *three(one.of)) if one.of in place else None
            now, then, peer = three(one.name)
            rows.append(
                {
                    "customer_id": customer,
                    "target": target,
                    "rank": count[amount > 0],
                    "theme": one.feature.theme,
                    "signal": one.feature.signal,
                    "feature": one.name,
                    "value": text(now),
                    "earlier_value": text(then),
                    "peer_value": text(peer),
                    "contribution": amount,
                    "contribution_before": before[row, at],
                    "actionable": one.feature.actionable,
                    "stability": stability[row, at],
                    "sentence": describe(one, now, then, peer, currency, level),
                }
            )
    return pd.DataFrame(rows)


def world(customers=150, signals=9, width=31, seed=0):
    """Customers with numbers, texts, gaps, ties and changes: everything a table meets."""
    rng = np.random.default_rng(seed)
    units = ["events", "share", "currency", "days", "balance", "season"]
    columns, X = [], {}
    for at in range(width):
        text = at % 11 == 10
        name, label = f"f{at}", ("Weeks since thing" if at % 7 == 6 else "Thing") + f" {at}"
        columns.append(
            column(
                name,
                label,
                "text" if text else units[at % 6],
                theme=["usage", "effort", "survey"][at % 3],
                signal=f"s{at % signals // 3 * 3 + at % 3}",
                of=f"f{at - 1}" if at % 5 == 4 else "not_here" if at % 5 == 3 else None,
                actionable=at % 4 != 0,
                categorical=text,
            )
        )
        X[name] = rng.integers(0, 9, customers).astype(float)
        if at % 2:
            X[name] = rng.normal(0.0, 60.0, customers)
        X[name][rng.random(customers) < 0.2] = NAN
        if text:
            words = np.array(["a", "<b>", "größer", None], dtype=object)
            X[name] = words[rng.integers(0, 4, customers)]
    X = pd.DataFrame(X)
    parts = rng.normal(0, 0.1, (customers, width + 1)).round(2)
    parts[:, -1] = -2.0
    found = signal_contributions(parts, columns)
    points = np.round(found.raw * 0.05, 3)  # rounded: ties and exact zeros occur
    earlier = X.iloc[rng.permutation(customers)].reset_index(drop=True)
    return {
        "signals": found,
        "points": points,
        "points_before": points[::-1].copy(),
        "stability": rng.random(points.shape),
        "X": X,
        "earlier": earlier,
        "columns": columns,
        "peers": peers_of(X.items(), rng.choice(["x", "y", "few"], customers, p=[0.5, 0.45, 0.05])),
        "ids": np.array([f"C-{at}" for at in range(customers)], dtype=object),
        "currency": "EUR",
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "keep", [{}, {"raising": 2, "lowering": 2, "least": 0.002}, {"least": 0.0}]
)
def test_the_fast_table_equals_the_straightforward_one(seed, keep):
    given = world(seed=seed)
    expected = reference_table("churn", *given.values(), **keep)

    pd.testing.assert_frame_equal(driver_table("churn", **given, **keep), expected)


def small(points, **more):
    width = np.shape(points)[1]
    columns = [column(f"f{at}", f"Thing {at}") for at in range(width)]
    X = pd.DataFrame(np.ones((len(points), width)), columns=[one.name for one in columns])
    given = {
        "signals": signals_of(points),
        "points": np.array(points),
        "points_before": np.zeros(np.shape(points)),
        "stability": np.full(np.shape(points), 0.8),
        "X": X,
        "earlier": 2 * X,
        "columns": columns,
        "peers": peers_of(X.items(), [None] * len(points)),
        "ids": [f"C{at}" for at in range(len(points))],
        "currency": "EUR",
    }
    return driver_table("churn", **(given | more))


def test_drivers_are_ranked_within_their_direction_and_listed_from_the_strongest():
    table = small([[0.01, -0.05, 0.08, 0.03, -0.02, -0.03, 0.0004, 0.02, 0.04, 0.05]])

    assert table["contribution"].tolist() == [0.08, -0.05, 0.05, 0.04, 0.03, -0.03, 0.02]
    assert table["rank"].tolist() == [1, 1, 2, 3, 4, 2, 5]
    assert table["sentence"].iloc[0] == "Thing 2 fell from 2 to 1; similar customers: 1"
    assert table["value"].iloc[0] == "1.0"
    assert table["earlier_value"].iloc[0] == "2.0"
    assert (table["target"] == "churn").all()


def test_the_column_that_pushes_its_signal_most_speaks_for_it():
    columns = [
        column("logins_4w", "Logins in 4 weeks", signal="logins"),
        column("logins_26w", "Logins in 26 weeks", signal="logins"),
    ]
    signals = signal_contributions([[-0.3, 0.9, 0.0], [-0.9, 0.3, 0.0]], columns)
    X = pd.DataFrame({"logins_4w": [1.0, 1.0], "logins_26w": [2.0, 2.0]})
    table = small(
        [[0.06], [-0.06]],
        signals=signals,
        columns=columns,
        X=X,
        earlier=X,
        peers=peers_of(X.items(), [1, 2]),
    )
    assert table["feature"].tolist() == ["logins_26w", "logins_4w"]


def test_nothing_worth_a_sentence_gives_an_empty_table_with_its_columns():
    table = small([[0.0001, -0.0002]])

    assert len(table) == 0
    assert "sentence" in table.columns
    assert len(small(np.zeros((0, 2)))) == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_the_table_keeps_texts_and_ids_word_for_word(text):
    columns = [column("plan", "Plan", "text", categorical=True)]
    X = pd.DataFrame({"plan": np.array([text], dtype=object)})
    peers = Peers(np.array([text], dtype=object), {text: {"plan": text}})
    table = small([[0.1]], columns=columns, X=X, earlier=X, peers=peers, ids=[text])

    assert (
        table.loc[0, ["customer_id", "value", "earlier_value", "peer_value"]].tolist() == [text] * 4
    )
    assert table.loc[0, "sentence"] == f"Plan: {text}"


def test_explaining_many_customers_takes_no_time_per_customer():
    """Kept from creeping back; the straightforward way needs some twenty times as long."""
    given = world(customers=800, signals=30, width=60)
    took = []
    for make in (driver_table, reference_table, driver_table):
        start = time.process_time()
        make("churn", **given) if make is driver_table else make("churn", *given.values())
        took.append(time.process_time() - start)

    assert min(took[0], took[2]) < took[1] / 5, took


# ---- the global picture ------------------------------------------------------------------------


def test_the_summary_is_drawn_by_the_shap_library():
    rng = np.random.default_rng(0)
    figure = summary_figure(rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), ["a", "b", "c"])
    said = {text.get_text() for axes in figure.axes for text in axes.get_yticklabels()}

    assert {"a", "b", "c"} <= said
