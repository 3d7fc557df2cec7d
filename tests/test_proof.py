"""Proof that acting helps, judged in companies where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from acting_worlds import drawn_customers, worked_company

from retain.actions.proof import (
    agreement,
    effect_of_acting,
    false_alarms,
    lead_times,
    misses,
    precision_by_week,
    who_was_right,
)
from retain.actions.uplift import learn_response


def units(held, held_left, contact, contact_left, week="2026-01-04"):
    rows = [(True, float(n < held_left)) for n in range(held)]
    rows += [(False, float(n < contact_left)) for n in range(contact)]
    frame = pd.DataFrame(rows, columns=["is_holdout", "has_left"])
    return frame.assign(customer_id=[f"C{n}" for n in range(len(frame))], entered_week=week)


def test_the_effect_is_the_difference_of_the_shares_that_left():
    found = effect_of_acting(units(100, 40, 900, 180))

    assert (0.4, 0.2, 0.2) == pytest.approx((found.left_held_out, found.left_contacted, found.kept))
    # by hand: sqrt(0.24/100 + 0.16/900) = 0.0508, times 1.96
    assert (0.1005, 0.2995) == pytest.approx((found.low, found.high), abs=0.006)
    assert "of 100 left alone 40.0 % left, of 900 on the list 20.0 %" in found.said
    assert "of 100 on the list 20.0 fewer left (10.5 fewer to 30.1 fewer)" in found.said


def test_a_group_in_which_nobody_left_is_not_taken_for_certain_and_a_rise_reads_as_one():
    """0 of 4 left alone and 13 of 79 on the list: resampled, the interval left out no effect."""
    found = effect_of_acting(units(4, 0, 79, 13))

    # by hand: Wilson 0 to 0.4899 and 0.0989 to 0.2615, put together as Newcombe does
    assert (-0.2615, 0.3297) == pytest.approx((found.low, found.high), abs=1e-4)
    assert "of 100 on the list 16.5 more left (26.1 more to 33.0 fewer)" in found.said
    assert "no effect is claimed" in found.said


def test_lists_that_are_ripe_without_outcomes_are_told_with_what_to_do():
    """22 weeks later it said that the first outcomes come 13 weeks after, in at least 1 week."""
    waiting = units(10, 0, 90, 0).assign(has_left=np.nan)
    found = effect_of_acting(waiting, newest="2026-06-07", overdue=4)

    assert "4 lists are old enough for outcomes and none are noted" in found.said
    assert "score once more (`retain score CONFIG`)" in found.said
    assert found.more_weeks is None
    soon = effect_of_acting(waiting, newest="2026-03-29")  # 12 weeks after the list
    assert "weeks after the list; at least 1 more week" in soon.said


def test_what_is_not_certain_is_not_claimed_and_says_how_long_it_takes():
    found = effect_of_acting(units(20, 5, 180, 40))

    assert not found.is_certain
    assert math.isnan(found.saved)
    assert found.more_weeks > 0
    assert "no effect is claimed" in found.said
    assert f"not enough data yet: about {found.more_weeks} more weeks" in found.said


def test_without_outcomes_or_hold_out_it_says_what_is_missing():
    waiting = units(10, 0, 90, 0).assign(has_left=np.nan)
    assert 13 == effect_of_acting(waiting, horizon_weeks=13).more_weeks
    assert "13 weeks after" in effect_of_acting(waiting, horizon_weeks=13).said
    assert "at least 13 more weeks" in effect_of_acting(waiting, horizon_weeks=13).said
    assert effect_of_acting(waiting, horizon_weeks=1).said.endswith("; at least 1 more week")
    assert "nobody was drawn to be left alone" in effect_of_acting(units(0, 0, 50, 5)).said
    assert "nobody has been on the list" in effect_of_acting(units(0, 0, 0, 0)).said


def test_a_customers_several_draws_are_resampled_together():
    """Ten draws of each of 40 customers, all alike: as uncertain as 40 draws, not as 400."""
    once = units(20, 10, 20, 2)
    ten = pd.concat([once] * 10, ignore_index=True)
    one, many = effect_of_acting(once), effect_of_acting(ten)

    assert one.high - one.low == pytest.approx(many.high - many.low, rel=0.1)
    assert one.is_certain == many.is_certain


@pytest.mark.slow
def test_the_interval_covers_the_truth_in_companies_that_work_the_real_queue():
    """Seen to fail: with a shuffled hold-out it covers in 12 of 40."""
    covered, widths = 0, []
    for seed in range(40):
        drawn, truth = worked_company(seed, effect=0.6)
        found = effect_of_acting(drawn)
        covered += found.low <= truth <= found.high
        widths.append(found.high - found.low)

    assert covered >= 36, covered
    assert 0.2 > np.mean(widths)


@pytest.mark.slow
def test_where_acting_does_nothing_none_is_claimed():
    claims = []
    for seed in range(40):
        drawn, truth = worked_company(1000 + seed, effect=0.0)
        assert 0.0 == truth
        claims.append(effect_of_acting(drawn).is_certain)

    assert 0 == sum(claims)


@pytest.mark.slow
def test_a_real_effect_is_claimed_in_the_end():
    drawn, truth = worked_company(5, effect=0.9, customers=6000, capacity=250)
    found = effect_of_acting(drawn)

    assert found.is_certain
    assert found.low <= truth <= found.high
    assert found.saved == pytest.approx(found.kept * found.contacted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_ordered_by_response_the_list_saves_more_margin_than_ordered_by_risk(seed):
    pytest.importorskip("econml")
    past, _ = drawn_customers(seed, 6000)
    now, fall = drawn_customers(100 + seed, 3000)
    found = learn_response(past, now, seed=seed)
    assert found.uplift is not None, found.said
    worth = now["customer_id"].map(found.uplift) * now["clv"]
    saved = fall * now["clv"].to_numpy()
    capacity = 200

    by_response = saved[np.argsort(-worth.to_numpy())[:capacity]].sum()
    by_risk = saved[np.argsort(-now["value_at_risk"].to_numpy())[:capacity]].sum()
    alone = now["customer_id"].map(found.uplift).to_numpy() <= 0
    assert by_response > 1.5 * by_risk
    # those to be left alone gain nothing by contact, on average
    assert fall[alone].mean() < 0.02 < fall[~alone].mean()


@pytest.mark.slow
def test_where_acting_does_nothing_the_order_stays_by_risk():
    pytest.importorskip("econml")
    past, _ = drawn_customers(7, 4000, effect=0.0)
    now, _ = drawn_customers(107, 500)
    found = learn_response(past, now)
    assert found.uplift is None
    assert "stays in the order of risk" in found.said


def test_too_few_draws_are_not_learnt_from():
    past, _ = drawn_customers(7, 150)
    found = learn_response(past, past)
    assert found.uplift is None
    assert "not estimated yet" in found.said


def test_precision_counts_known_outcomes_and_keeps_the_left_alone_apart():
    listed = pd.DataFrame(
        [("2026-01-04", f"C{n}", "contact", left) for n, left in enumerate([1, 0, 0, None])]
        + [("2026-01-04", "H", "holdout", 1), ("2026-01-11", "X", "contact", None)],
        columns=["as_of", "customer_id", "status", "has_left"],
    )
    first, second = precision_by_week(listed).to_dict("records")

    # listed is who is to be contacted; the one left alone stands apart
    assert (4, 3, 1, 1 / 3) == tuple(first[n] for n in ("listed", "known", "left", "precision"))
    assert (1, 1, 1, 1.0) == tuple(
        first[n] for n in ("left_alone", "alone_known", "alone_left", "alone_precision")
    )
    assert (1, 0) == (second["listed"], second["known"])
    assert math.isnan(second["precision"])
    alarms = {"holdout": 0.0, "holdout_n": 1, "contact": 2 / 3, "contact_n": 3}
    assert alarms == pytest.approx(false_alarms(listed))


def test_misses_show_the_last_row_before_the_end_and_only_low_ones():
    scores = pd.DataFrame(
        [
            ("2026-01-04", "A", 0.02, "low", 10.0),
            ("2026-01-11", "A", 0.03, "low", 10.0),
            ("2026-01-18", "A", 0.90, "high", 10.0),  # after the end: not seen then
            ("2026-01-11", "B", 0.60, "high", 99.0),
            ("2026-01-04", "C", 0.01, "low", 50.0),
        ],
        columns=["as_of", "customer_id", "churn_probability", "risk_band", "mrr"],
    )
    left = pd.DataFrame({"customer_id": ["A", "B", "C"], "left_on": "2026-01-15"})
    left.loc[2, "left_on"] = "2026-02-01"
    found = misses(scores, left)

    assert ["C", "A"] == list(found["customer_id"])  # by MRR lost
    assert [4.0, 4 / 7] == pytest.approx(found["weeks_before"].tolist())
    assert [0.01, 0.03] == found["churn_probability"].tolist()


def test_lead_time_counts_only_flags_before_the_end():
    flagged = pd.DataFrame({"customer_id": ["a", "b"], "first_on": ["2026-01-04", "2026-03-08"]})
    left = pd.DataFrame({"customer_id": ["a", "b", "c"], "left_on": "2026-03-01"})
    found = lead_times(flagged, left)

    assert (3, 1, 1 / 3, 8.0, 1 / 3) == pytest.approx(
        tuple(
            found[n]
            for n in ("left", "flagged", "share_flagged", "median_weeks", "share_four_weeks")
        )
    )


def test_opinions_are_judged_apart_and_on_common_ground():
    judged = pd.DataFrame(
        {
            "customer_id": [f"C{n}" for n in range(6)],
            "model_probability": [0.9, 0.8, 0.7, 0.3, 0.2, 0.1],
            "health_score": [10.0, 90.0, 50.0, 60.0, 70.0, 80.0],
            "lead_risk": ["high", None, "low", "watch", "low", "low"],
            "final_risk": [None] * 6,
            "has_left": [1.0, 1.0, 0.0, 0.0, 0.0, None],
        }
    )
    found = who_was_right(judged).set_index("opinion")

    assert (1.0, 5) == (found.loc["model", "auc"], found.loc["model", "n"])
    assert 0.5 == found.loc["health score", "auc"]  # first of all, and last of all
    assert (1.0, 4) == (found.loc["lead", "auc"], found.loc["lead", "n"])
    assert {4} == set(found["n_all"])
    assert math.isnan(found.loc["final", "auc"])


def test_a_signal_that_people_keep_rejecting_is_flagged_and_one_loud_voice_is_not_enough():
    def said(signal, verdicts, customers):
        return pd.DataFrame(
            {
                "customer_id": customers,
                "signal": signal,
                "theme": "usage",
                "verdict": verdicts,
            }
        )

    verdicts = pd.concat(
        [
            said("rejected", ["wrong"] * 6 + ["right"], [f"C{n}" for n in range(7)]),
            said("loud", ["wrong"] * 6, ["C1"] * 6),
            said("useless", ["not_useful"] * 6, [f"C{n}" for n in range(6)]),
            said("good", ["right"] * 3 + ["already_known"] * 2, [f"C{n}" for n in range(5)]),
        ]
    )
    found = agreement(verdicts).set_index("signal")

    assert {"rejected": True, "loud": False, "useless": False, "good": False} == dict(
        found["is_rejected"]
    )
    assert 1.0 == found.loc["good", "agreement"]
    assert math.isnan(found.loc["useless", "agreement"])
    assert (0.0, 6) == (found.loc["useless", "useful"], found.loc["useless", "not_useful"])
