"""What effort costs: intervals that cover the truth, and doubt that says how large it is."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
import textwrap

import duckdb
import numpy as np
import pandas as pd
import pytest
from effort_worlds import make_world

from retain.effort_value import (
    LITERATURE,
    Compared,
    EffortLine,
    EffortValue,
    HiddenCause,
    Outcome,
    adjusted_difference,
    case_costs,
    case_lines,
    cases_by_customer,
    effort_lines,
    observed_difference,
)
from retain.effort_value.adjusted import LEARNER
from retain.errors import RetainError
from retain.model import MeanHead

SEEDS = range(40)


@pytest.fixture(scope="module")
def world():
    """A world in which high effort drives customers away and every point costs margin."""
    return make_world(6, customers=400)


@pytest.fixture(scope="module")
def adjusted(world):
    return adjusted_difference(world.X, world.signals, world.points, world.margin, world.who)


# ---- as found ----------------------------------------------------------------------------------


def test_the_observed_difference_is_that_of_two_means_and_forgets_unknown_outcomes():
    found = observed_difference(
        [0, 0, 1, 1, 1], [1.0, 3.0, 6.0, 8.0, np.nan], np.array([0, 1, 2, 3, 4])
    )

    assert found.value == 5.0
    assert (found.n, found.customers) == (4, 4)


def test_the_observed_slope_is_that_of_least_squares(world):
    expected = np.polyfit(world.points, world.margin, 1)[0]
    found = observed_difference(world.points, world.margin, world.who)

    assert found.value == pytest.approx(expected, rel=1e-9)


def test_rows_of_one_customer_are_no_new_evidence(world):
    """Seen to fail when rows are drawn instead of customers."""
    once = observed_difference(world.high, world.left, world.who)
    often = observed_difference(*(np.tile(v, 9) for v in (world.high, world.left, world.who)))

    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low)


def test_effort_that_never_differs_gives_nothing():
    assert np.isnan(observed_difference([1, 1, 1], [1.0, 2.0, 3.0], [0, 1, 2]).value)


# ---- cases -------------------------------------------------------------------------------------

CONTACTS = pd.DataFrame(
    # id, case, follows, topic, channel, opened, hours, transfers, reopens, minutes
    [
        ("a", "A", None, "bug", "chat", "2026-03-02", 5, 0, 0, 10.0),
        ("b", "A", None, "bug", "chat", "2026-03-20", 5, 0, 0, 20.0),  # the same case: high
        ("c", None, None, "bug", "chat", "2026-03-02", 5, 0, 0, 7.0),  # easy
        ("d", None, "c2", "login", "mail", "2026-03-05", 5, 0, 0, 3.0),  # follows what is not there
        ("e", None, None, "bill", "mail", "2026-03-02", 5, 0, 0, 4.0),
        ("f", None, None, "bill", "mail", "2026-03-09", 5, 0, 0, 5.0),  # a week later: one case
        ("g", None, None, "bill", "mail", "2026-03-17", 5, 0, 0, 6.0),  # later still: another
        ("h", None, None, None, "mail", "2026-03-17", 73, 0, 0, 1.0),  # took long: high
        ("i", None, None, None, "mail", "2026-03-17", 5, 2, 0, 2.0),  # transferred twice: high
        ("j", None, None, None, "mail", "2026-03-17", 5, 1, 0, 2.5),  # once: easy
        ("k", None, None, None, "mail", "2026-03-17", 5, 0, 1, 8.0),  # reopened: high
        ("l", None, None, None, "mail", "2026-03-17", None, 9, 9, 9.0),  # still open: not counted
        ("m", None, None, None, "mail", "2026-03-17", 5, 0, 0, None),  # no minutes: not counted
        ("n", None, None, None, "mail", "2025-03-17", 5, 0, 0, 9.0),  # before the period
        ("o", None, None, "chat", "mail", "2026-03-01", 5, 0, 0, 1.5),
        ("p", None, "o", "call", "mail", "2026-03-25", 5, 0, 0, 1.5),
        ("q", None, "p", "talk", "mail", "2026-03-28", 5, 0, 0, 1.5),  # o, p, q: one case
    ],
    columns=[
        "interaction_id",
        "case_id",
        "follows_id",
        "topic",
        "channel",
        "opened_at",
        "hours",
        "transfer_count",
        "reopen_count",
        "handle_minutes",
    ],
)
FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 3, 31)


def contacts(**changed):
    table = CONTACTS.assign(customer_id="C1", **changed)
    table["opened_at"] = pd.to_datetime(table["opened_at"]).astype("datetime64[us]")
    table["resolved_at"] = table["opened_at"] + pd.to_timedelta(table.pop("hours"), unit="h")
    return table


def cases_of(table):
    con = duckdb.connect()
    con.register("interactions", table)
    found = cases_by_customer(con, tuple(table.columns), FIRST, LAST)
    return {
        "high" if row.is_high else "low": (row.cases, row.minutes) for row in found.itertuples()
    }


def test_contacts_become_cases_and_hard_ones_are_told_apart():
    # high: ab 30, ef 9, h 1, i 2, k 8, opq 4.5; low: c 7, d 3, g 6, j 2.5
    assert cases_of(contacts()) == {"high": (6, 54.5), "low": (4, 18.5)}


def test_the_order_of_contacts_does_not_matter():
    assert cases_of(contacts().sample(frac=1, random_state=1)) == cases_of(contacts())


def test_what_was_recorded_after_the_period_is_not_known_in_it():
    late = contacts()
    late["recorded_at"] = late["opened_at"].mask(
        late["interaction_id"] == "h", pd.Timestamp("2026-04-01")
    )

    assert cases_of(late) == {"high": (5, 53.5), "low": (4, 18.5)}


def test_a_table_with_the_least_columns_has_cases_too():
    least = contacts()[["customer_id", "interaction_id", "opened_at", "handle_minutes"]]

    assert cases_of(least) == {"low": (15, 82.0)}  # all but m (no minutes) and n (too early)


def test_cases_cost_minutes_at_the_loaded_rate():
    # 2 hard cases of 30 minutes, 3 easy ones of 10, at 0.8: 24, 8, 16
    cost = case_costs([True, False, False], [2, 1, 2], [60, 10, 20], [1, 1, 2], rate_per_minute=0.8)

    assert [24.0, 8.0, 16.0] == pytest.approx(
        [cost[k].value for k in ("high", "low", "difference")]
    )
    assert [2, 3, 5] == [cost[k].n for k in ("high", "low", "difference")]


def test_without_a_rate_cases_cost_minutes_and_without_hard_ones_nothing_is_claimed():
    cases = pd.DataFrame(
        {"customer_id": ["a"], "is_high": [False], "cases": [2], "minutes": [10.0]}
    )
    high, low, difference = case_lines(cases, "EUR", None)

    assert low.figures() == "5.00 minutes per case (95 %: 5.00 to 5.00)"
    assert high.value is None
    assert high.undefined_because == difference.undefined_because == "there are no such cases"


# ---- adjusted ----------------------------------------------------------------------------------


def test_the_figures_are_the_library_s_own_for_clusters(world, adjusted):
    """Ours add up scores by customer first; theirs goes through all rows for each customer.

    Seen to fail when scores are not added up: the interval is narrower by a tenth.
    """
    import doubleml

    n = world.X.shape[1]
    names = [f"x{number}" for number in range(n)]
    frame = pd.DataFrame(world.X, columns=names).assign(
        y=world.margin, d=world.points, who=world.who
    )
    learner = MeanHead(**LEARNER, seed=0)
    data = doubleml.DoubleMLData(frame, "y", "d", names, cluster_cols="who")
    model = doubleml.DoubleMLPLR(data, learner, learner, n_folds=5, draw_sample_splitting=False)
    customers = np.unique(world.who)
    fold = np.random.default_rng(0).permutation(len(customers)) % 5
    rows, clusters = [], []
    for number in range(5):
        inside = np.isin(world.who, customers[fold == number])
        rows.append((np.flatnonzero(~inside), np.flatnonzero(inside)))
        clusters.append(([customers[fold != number]], [customers[fold == number]]))
    model.set_sample_splitting([rows], [clusters])
    model.fit()
    model.sensitivity_analysis(level=0.975)

    assert model.coef[0] == pytest.approx(adjusted.value, rel=1e-9)
    assert model.se[0] == pytest.approx((adjusted.high - adjusted.low) / (2 * 1.959964), rel=1e-3)
    assert model.sensitivity_params["rv"][0] == pytest.approx(adjusted.hidden.to_zero, rel=1e-3)
    assert model.sensitivity_params["rva"][0] == pytest.approx(adjusted.hidden.to_doubt, rel=1e-3)


def test_equal_data_give_equal_figures(world, adjusted):
    again = adjusted_difference(world.X, world.signals, world.points, world.margin, world.who)

    assert again == adjusted


def test_the_estimate_is_nearer_to_the_truth_than_what_is_seen(world, adjusted):
    seen = observed_difference(world.points, world.margin, world.who)

    assert adjusted.low <= world.effect_on_margin <= adjusted.high
    assert not seen.low <= world.effect_on_margin <= seen.high


def test_unknown_outcomes_are_left_out_and_counted(world):
    known = world.who < 200
    margin = np.where(known, world.margin, np.nan)
    found = adjusted_difference(world.X, world.signals, world.points, margin, world.who)

    assert (found.n, found.customers) == (600, 200)


@pytest.mark.parametrize("which", ["effort", "outcome", "customers"])
def test_nothing_is_estimated_where_nothing_differs(which, world):
    d, y, who = world.points.copy(), world.margin.copy(), world.who.copy()
    {"effort": d, "outcome": y, "customers": who}[which][:] = 1

    with pytest.raises(RetainError, match="expected at least 10 customers among whom effort"):
        adjusted_difference(world.X, world.signals, d, y, who)


def test_the_extra_is_named_when_the_library_is_missing(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "doubleml", None)

    with pytest.raises(RetainError, match=r"pip install 'retain\[effort\]'"):
        adjusted_difference(world.X, world.signals, world.points, world.margin, world.who)


@pytest.mark.slow
def test_the_interval_covers_the_truth_and_what_is_seen_misses_it():
    """Simulated companies with known effects, none in every fourth: 95 % intervals, 40 seeds.

    Seen to fail with usage taken out of X: none of the first ten worlds is covered.
    """
    held = {"left": [0, 0], "margin": [0, 0]}
    for seed in SEEDS:
        world = make_world(seed, customers=2000)
        for name, effort, outcome, truth in (
            ("left", world.high, world.left, world.effect_on_leaving),
            ("margin", world.points, world.margin, world.effect_on_margin),
        ):
            found = adjusted_difference(world.X, world.signals, effort, outcome, world.who)
            seen = observed_difference(effort, outcome, world.who)
            held[name][0] += found.low <= truth <= found.high
            held[name][1] += seen.low <= truth <= seen.high

    adjusted_hits, observed_hits = zip(*held.values(), strict=True)
    assert min(adjusted_hits) >= 36, held
    assert max(observed_hits) <= 4, held


# ---- hidden causes -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 4])
def test_a_planted_hidden_cause_misleads_and_the_sensitivity_says_how_strong_it_must_be(seed):
    """No effect at all, but something unseen drives both: the estimate is wrong, and says how."""
    world = make_world(seed, hidden=0.5)
    assert world.effect_on_margin == 0.0
    wrong = adjusted_difference(world.X, world.signals, world.points, world.margin, world.who)
    told = np.column_stack([world.X, world.unseen])
    signals = (*world.signals, "unseen")
    right = adjusted_difference(told, signals, world.points, world.margin, world.who)

    assert wrong.high < 0.0  # would be believed
    assert right.low <= 0.0 <= right.high
    assert right.hidden.to_doubt == 0.0
    assert wrong.hidden.to_doubt < wrong.hidden.to_zero
    needed = wrong.hidden.to_zero / (1.0 - wrong.hidden.to_zero) ** 0.5
    assert needed == pytest.approx(planted_strength(world), rel=0.25)
    assert f"explains {100 * wrong.hidden.to_zero:.1f} %" in wrong.hidden.sentence()


def planted_strength(world) -> float:
    """How strong the unseen trait is, by least squares on what the simulator is made of."""
    usage, price, tenure, opinion, contacts, _ = world.X.T
    drive = 1.1 * np.sin(1.5 * usage) + 0.8 * (price > 0.3) + 0.6 * usage * (tenure < 0)
    level = np.exp(0.5 * (drive + 0.5 * np.abs(contacts)))
    known = [np.ones(len(usage)), drive, np.abs(contacts), level, np.tanh(opinion)]
    known.append(price * (tenure > 0))
    unseen = [world.unseen, world.unseen * level]

    def share(target, known):
        def rest(columns):
            X = np.column_stack(columns)
            return np.var(target - X @ np.linalg.lstsq(X, target, rcond=None)[0])

        return 1.0 - rest(known + unseen) / rest(known)

    effort = share(world.points, known)
    return (share(world.margin, [*known, world.points]) * effort / (1.0 - effort)) ** 0.5


def test_a_cause_as_strong_as_the_strongest_known_one_is_compared():
    weak = HiddenCause(0.05, 0.03, "logins", known_effort=0.2, known_outcome=0.2)
    strong = dataclasses.replace(weak, to_zero=0.3)

    assert weak.is_weaker_than_known
    assert not strong.is_weaker_than_known
    assert "(logins) would explain 20.0 % of effort and 20.0 % of the outcome: enough to" in (
        weak.sentence()
    )
    assert strong.sentence().endswith("not enough to explain it away.")


def test_beside_something_known_that_says_all_about_effort_no_hidden_cause_is_judged():
    told = HiddenCause(0.9, 0.8, "cases", 1.0, 0.2).sentence()

    assert told.endswith("known (cases) explains more than all that is unknown together.")


def test_the_strongest_known_signal_is_one_that_drives_both(world, adjusted):
    """Beside forty columns of noise; seen to fail when the models' own gains are asked."""
    noise = np.random.default_rng(0).normal(size=(len(world.X), 40))
    found = adjusted_difference(
        np.column_stack([world.X, noise]),
        (*world.signals, *["noise"] * 40),
        world.points,
        world.margin,
        world.who,
    )

    assert {"usage"} == {adjusted.hidden.known, found.hidden.known}


# ---- the lines ---------------------------------------------------------------------------------


def compared(world):
    return Compared(world.X, world.signals, world.who, world.high, world.points)


def test_every_outcome_is_shown_as_found_and_adjusted_each_called_what_it_is(world):
    margin = Outcome("worth", "One point less", "EUR per point", world.margin, "points", -1)
    found, estimate = effort_lines(compared(world), [margin])

    assert ["observed", "adjusted"] == [found.kind, estimate.kind]
    assert ["association", "estimate"] == [found.status, estimate.status]
    assert found.hidden is None
    assert estimate.hidden is not None
    assert estimate.low <= -world.effect_on_margin <= estimate.high  # a point less, not more
    assert "resamples customers" in found.assumptions[0]
    assert any("Every point counts alike" in text for text in estimate.assumptions)
    assert (1200, 400) == (estimate.n, estimate.customers)


def test_the_word_cause_is_never_used_of_a_figure(world):
    lines = effort_lines(compared(world), [Outcome("churn", "Leaving", "points", world.left)])
    for line in (*lines, *LITERATURE):
        assert "cause" not in f"{line.label} {line.status} {line.figures()}"


def test_with_too_few_customers_the_reason_stands_in_the_place_of_a_figure(world):
    few = dataclasses.replace(compared(world), high=(world.who < 20).astype(float))
    lines = effort_lines(few, [Outcome("churn", "Leaving", "points", world.left)])

    reason = "20 customers with effort and 380 without; at least 30 of each are needed"
    assert [reason, reason] == [line.undefined_because for line in lines]
    assert [None, None] == [line.value for line in lines]
    assert lines[0].figures() == f"not known: {reason}"


def test_an_outcome_that_was_the_same_for_everyone_says_so(world):
    lines = effort_lines(
        compared(world), [Outcome("churn", "Leaving", "points", 0.0 * world.left)], adjust=False
    )

    assert ["the outcome was 0 for everyone"] == [line.undefined_because for line in lines]


def test_published_figures_are_shown_and_never_calculated_with():
    assert [96.0, 9.0, 37.0] == [line.value for line in LITERATURE]
    assert {"literature"} == {line.kind for line in LITERATURE}
    assert all("No figure here uses it." in line.assumptions[0] for line in LITERATURE)


def test_the_text_shows_each_figure_beside_its_kind_and_lists_assumptions_once():
    line = EffortLine("churn", "Leaving", "observed", 2.5, 1.0, 4.0, "points", n=9, customers=3)
    told = EffortValue(
        (
            dataclasses.replace(line, assumptions=("As found.",)),
            dataclasses.replace(
                line,
                kind="adjusted",
                assumptions=("Alike.", "As found."),
                hidden=HiddenCause(0.1, 0.0, "", 0.0, 0.0),
            ),
        ),
        ("A point: a repeat.",),
        ("spend: no money on record",),
    )

    assert told.text() == textwrap.dedent(
        """\
        * A point: a repeat.

        Leaving
          association: 2.50 points (95 %: 1.00 to 4.00), 9 quarters of 3 customers [1]
          estimate: 2.50 points (95 %: 1.00 to 4.00), 9 quarters of 3 customers [2][1]
            Its interval holds zero: no hidden cause is needed to doubt it.

        [1] As found.
        [2] Alike.

        Not computed:
        * spend: no money on record"""
    )
    assert told["churn.adjusted"].hidden is not None
    with pytest.raises(KeyError, match=r"churn\.literature"):
        told["churn.literature"]
