"""Who is observed, what happened to them afterwards, and what they were worth: all by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny import SUNDAY, Frames, fold, read, table

from retain.errors import SnapshotError
from retain.snapshots import (
    ELIGIBLE,
    ChurnRule,
    ClvRule,
    churn_labels,
    churned_by,
    clv_basis,
    clv_labels,
    eligibility,
    forward_split,
    learnable_horizon,
    snapshot_weeks,
)
from retain.weeks import FoldedWeeks, History

AS_OF = dt.date(2024, 6, 30)  # a Sunday
WEEK = SUNDAY.week_of(AS_OF)
# the label window is (7 July, 4 August]: a gap of one week, then four; ripe on 18 August
RULE = ChurnRule("contract", horizon_weeks=4, gap_weeks=1, grace_weeks=2)
RIPE = dt.date(2024, 8, 18)


def folded(frames: Frames, until: dt.date = RIPE) -> FoldedWeeks:
    """Fold some tables whose customers all signed up long ago, unless they say otherwise."""
    who = sorted({*pd.concat([frame["customer_id"] for frame in frames.values()])})
    people = table("customer_id signed_up_at", "", *((one, "2023-01-02") for one in who))
    with read({"customers": people, **frames}, data_until=until) as tables:
        return fold(tables, lists={})


def by_customer(known: FoldedWeeks, row: Any) -> dict[str, Any]:
    return dict(zip(known.customers, row, strict=True))


def label(known: FoldedWeeks, rule: ChurnRule) -> dict[str, float]:
    return by_customer(known, churn_labels(known, [WEEK], rule)[0][0])


def reason(known: FoldedWeeks, rule: ChurnRule, as_of: int = WEEK) -> dict[str, str]:
    return by_customer(known, eligibility(History(known, [as_of]), rule)[0])


# -- contracts --------------------------------------------------------------------------------

SPANS = "customer_id started_at ended_at mrr is_trial cancelled_at end_reason recorded_at"
CONTRACTS = table(
    SPANS,
    """
    stays 2024-01-01 - 10 no - - -
    first_day 2024-01-01 2024-07-08 10 no - - -
    last_day 2024-01-01 2024-08-04 10 no - - -
    day_after 2024-01-01 2024-08-05 10 no - - -
    in_the_gap 2024-01-01 2024-07-03 10 no - - -
    replaced 2024-01-01 2024-07-10 10 no - replaced -
    replaced 2024-07-10 - 12 no - - -
    resumed 2024-01-01 2024-07-10 10 no - - -
    resumed 2024-07-28 - 10 no - - -
    too_late 2024-01-01 2024-07-10 10 no - - -
    too_late 2024-07-29 - 10 no - - -
    gap_resumed 2024-01-01 2024-07-03 10 no - - -
    gap_resumed 2024-07-21 - 10 no - - -
    one_of_two 2024-01-01 2024-07-10 10 no - - -
    one_of_two 2024-01-01 - 10 no - - -
    card_failed 2024-01-01 2024-07-10 10 no - involuntary -
    trial 2024-06-01 2024-07-10 0 yes - - -
    notice_known 2024-01-01 2024-07-10 10 no 2024-06-30T23:59:59 voluntary -
    notice_later 2024-01-01 2024-07-10 10 no 2024-07-01T00:00:00 voluntary -
    gone 2024-01-01 2024-06-30 10 no - - -
    gone_and_back 2024-01-01 2024-03-04 10 no - - -
    gone_and_back 2024-05-06 - 10 no - - -
    not_yet 2024-07-01 - 10 no - - -
    """,
)


@pytest.fixture(scope="module")
def contracts() -> FoldedWeeks:
    return folded({"subscriptions": CONTRACTS})


def test_a_contract_that_ends_in_the_window_with_nothing_after_it_is_churn(
    contracts: FoldedWeeks,
) -> None:
    found = label(contracts, RULE)

    assert {name: found[name] for name in ("stays", "first_day", "last_day", "day_after")} == {
        "stays": 0,
        "first_day": 1,
        "last_day": 1,
        "day_after": 0,
    }
    assert [found[name] for name in ("notice_known", "notice_later", "card_failed")] == [1, 1, 1]


def test_a_contract_that_is_replaced_or_resumed_within_the_grace_weeks_never_ended(
    contracts: FoldedWeeks,
) -> None:
    found = label(contracts, RULE)

    # 10 July lies in the week to the 14th; grace runs to the 28th
    assert [found[n] for n in ("replaced", "resumed", "too_late", "one_of_two")] == [0, 0, 1, 0]
    no_grace = ChurnRule("contract", horizon_weeks=4, gap_weeks=1)
    assert label(contracts, no_grace)["resumed"] == 1
    assert label(contracts, no_grace)["replaced"] == 0


def test_who_leaves_in_the_gap_is_left_out(contracts: FoldedWeeks) -> None:
    found = label(contracts, RULE)

    assert np.isnan(found["in_the_gap"])
    assert found["gap_resumed"] == 0
    assert label(contracts, ChurnRule("contract", 4, grace_weeks=2))["in_the_gap"] == 1


def test_endings_that_nobody_chose_count_or_are_left_out(contracts: FoldedWeeks) -> None:
    churned, involuntary = churn_labels(contracts, [WEEK], RULE)
    forced = by_customer(contracts, involuntary[0])
    without = ChurnRule("contract", 4, 1, 2, include_involuntary=False)

    assert [name for name, yes in forced.items() if yes] == ["card_failed"]
    assert by_customer(contracts, churned[0])["card_failed"] == 1
    assert np.isnan(label(contracts, without)["card_failed"])
    assert label(contracts, without)["first_day"] == 1


def test_an_ending_before_as_of_that_was_recorded_later_is_no_staying() -> None:
    spans = table(SPANS, "hidden 2024-01-01 - 10 no - - -\nhidden 2024-01-01 - 10 no - - -")
    spans.loc[1] = ["late", *spans.loc[1].iloc[1:]]
    spans.loc[1, "ended_at"] = pd.Timestamp("2024-06-19")
    gone = table(
        "customer_id left_at returned_at recorded_at",
        """
        late 2024-06-19 - 2024-07-09
        back 2024-06-19 2024-07-02 2024-07-09
        hidden 2023-01-02 2023-02-01 -
        """,
    )
    known = folded({"subscriptions": spans, "departures": gone})

    assert reason(known, ChurnRule("event", 4))["back"] == "no paid subscription"
    assert np.isnan(label(known, ChurnRule("event", 4))["late"])
    assert np.isnan(label(known, ChurnRule("event", 4))["back"])
    assert label(known, ChurnRule("event", 4))["hidden"] == 0
    assert np.isnan(label(known, RULE)["late"])


def test_every_reason_why_a_contract_is_not_scored(contracts: FoldedWeeks) -> None:
    found = reason(contracts, RULE)

    assert {name: why for name, why in found.items() if why != ELIGIBLE} == {
        "trial": "no paid subscription",
        "gone": "no paid subscription",
        "not_yet": "no paid subscription",
        "notice_known": "cancellation known",
    }
    # a week later notice_later's notice is known, and not_yet is there
    later = reason(contracts, RULE, WEEK + 1)
    assert later["notice_later"] == "cancellation known"
    assert later["not_yet"] == ELIGIBLE


def test_who_signs_up_later_is_no_customer_yet() -> None:
    people = table("customer_id signed_up_at", "a 2024-06-30\nb 2024-07-01")
    spans = table("customer_id started_at ended_at mrr", "a 2024-06-01 - 10\nb 2024-06-01 - 10")
    with read({"customers": people, "subscriptions": spans}, data_until=RIPE) as tables:
        known = fold(tables)

    assert reason(known, RULE) == {"a": ELIGIBLE, "b": "not a customer yet"}


# -- departures and inactivity ----------------------------------------------------------------


def test_a_departure_in_the_window_is_churn_when_the_company_says_so() -> None:
    gone = table(
        "customer_id left_at is_voluntary returned_at",
        """
        leaves 2024-07-08 yes -
        last_day 2024-08-04 - -
        day_after 2024-08-05 yes -
        gap 2024-07-07 yes -
        pushed 2024-07-20 no -
        left 2024-06-30 yes -
        back 2024-03-03 yes 2024-06-28
        again 2024-03-03 yes 2024-06-28
        again 2024-07-20 yes -
        """,
    )
    usage = table("customer_id occurred_at", "stays 2024-06-03")
    known = folded({"departures": gone, "usage": usage})
    rule = ChurnRule("event", horizon_weeks=4, gap_weeks=1)
    found = label(known, rule)

    assert reason(known, rule) == dict.fromkeys(found, ELIGIBLE) | {"left": "has left"}
    assert [name for name, one in found.items() if one == 1] == [
        "again",
        "last_day",
        "leaves",
        "pushed",
    ]
    assert [name for name, one in found.items() if np.isnan(one)] == ["gap", "left"]
    forced = churn_labels(known, [WEEK], rule)[1][0]
    assert [name for name, yes in by_customer(known, forced).items() if yes] == ["pushed"]


def test_nothing_bought_and_nothing_used_for_the_whole_horizon_is_inactivity() -> None:
    paid = table(
        "payment_id customer_id paid_at amount status",
        """
        p1 quiet 2024-06-20 10 paid
        p2 last_day 2024-06-20 10 paid
        p3 last_day 2024-07-28 10 paid
        p4 day_after 2024-06-20 10 paid
        p5 day_after 2024-07-29 10 paid
        p6 refund 2024-06-20 10 paid
        p7 refund 2024-07-10 -10 paid
        p8 failed 2024-06-20 10 paid
        p9 failed 2024-07-10 10 failed
        p10 free 2024-06-20 10 paid
        p11 free 2024-07-10 0 paid
        p12 uses 2024-06-20 10 paid
        p13 edge 2024-06-17 10 paid
        p14 stale 2024-06-16 10 paid
        p15 stale 2024-07-16 10 paid
        """,
    )
    usage = table("customer_id occurred_at", "uses 2024-07-15\nused 2024-06-18\nold 2023-02-01")
    known = folded({"payments": paid, "usage": usage})
    rule = ChurnRule("inactivity", horizon_weeks=4, active_weeks=2)
    found = label(known, rule)

    assert sorted(name for name, one in found.items() if one == 1) == [
        "day_after",
        "edge",
        "failed",
        "old",
        "quiet",
        "refund",
        "used",
    ]
    why = reason(known, rule)
    assert {name for name, one in why.items() if one != ELIGIBLE} == {"stale", "old"}
    assert why["stale"] == "no behaviour in 2 weeks"


def test_a_curve_counts_who_had_left_by_each_horizon_and_never_falls(
    contracts: FoldedWeeks,
) -> None:
    by = churned_by(contracts, [WEEK], RULE, (1, 2, RULE.horizon_weeks, 400))

    np.testing.assert_array_equal(by[2], churn_labels(contracts, [WEEK], RULE)[0])
    known = ~np.isnan(by[0])
    assert (np.diff(by[:3], axis=0)[:, known] >= 0).all()
    assert by[0][known].sum() < by[2][known].sum()
    assert np.isnan(by[3]).all()


def test_past_its_own_horizon_inactivity_is_any_silence_of_that_length() -> None:
    paid = table(
        "customer_id paid_at amount",
        """
        silent 2024-06-20 10
        steady 2024-06-20 10
        steady 2024-07-10 10
        steady 2024-07-31 10
        later 2024-06-20 10
        later 2024-07-03 10
        back 2024-06-20 10
        back 2024-08-05 10
        """,
    )
    known = folded({"payments": paid})
    rule = ChurnRule("inactivity", horizon_weeks=4)
    by = churned_by(known, [WEEK], rule, (2, 4, 5, 6))

    assert np.isnan(by[0]).all()
    np.testing.assert_array_equal(by[1], churn_labels(known, [WEEK], rule)[0])
    left = [[n for n, one in by_customer(known, row[0]).items() if one == 1] for row in by]
    assert left[1:] == [
        ["back", "silent"],
        ["back", "later", "silent"],
        ["back", "later", "silent"],
    ]


def test_behaviour_counts_although_the_table_is_younger_than_the_rule() -> None:
    usage = table("customer_id occurred_at", "a 2024-06-03\nb 2024-06-28")
    known = folded({"usage": usage})

    assert reason(known, ChurnRule("inactivity", 4, active_weeks=26)) == {"a": "", "b": ""}


# -- ripeness and time ------------------------------------------------------------------------


def test_a_label_that_is_not_ripe_is_refused(contracts: FoldedWeeks) -> None:
    assert RULE.ripe_weeks == 7
    churn_labels(contracts, [WEEK], RULE)

    with pytest.raises(SnapshotError, match=r"2024-07-07 runs past .* 2024-08-18.* 2024-06-30"):
        churn_labels(contracts, [WEEK - 1, WEEK + 1], RULE)
    assert ChurnRule("event", 4, 1, 2).ripe_weeks == 5  # grace is of contracts


def test_labels_of_many_dates_are_those_of_each(contracts: FoldedWeeks) -> None:
    many = churn_labels(contracts, [WEEK - 20, WEEK - 3, WEEK], RULE)[0]

    for at, week in enumerate((WEEK - 20, WEEK - 3, WEEK)):
        np.testing.assert_array_equal(many[at], churn_labels(contracts, [week], RULE)[0][0])


def test_what_comes_after_the_label_window_does_not_change_the_label() -> None:
    now = folded({"subscriptions": CONTRACTS})
    ended = CONTRACTS.copy()
    ended["ended_at"] = ended["ended_at"].fillna(pd.Timestamp("2024-08-19"))
    later = folded({"subscriptions": ended}, until=dt.date(2024, 12, 29))

    np.testing.assert_array_equal(
        churn_labels(now, [WEEK], RULE)[0], churn_labels(later, [WEEK], RULE)[0]
    )


def test_the_grid_is_anchored_at_the_newest_date() -> None:
    assert snapshot_weeks(20, 5, 4).tolist() == [8, 12, 16, 20]
    assert snapshot_weeks(20, 5, 4, most=2).tolist() == [16, 20]
    assert snapshot_weeks(4, 5, 4).tolist() == []


def test_no_label_of_learning_reaches_into_judging() -> None:
    split = forward_split(np.arange(0, 60, 4), purge_weeks=13, test=3)

    assert split.test.tolist() == [48, 52, 56]
    assert split.train.tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 32]
    assert split.train.max() + 13 <= split.test.min()
    assert forward_split([0, 13], purge_weeks=13).train.tolist() == [0]
    with pytest.raises(SnapshotError, match="too little history to judge out of time"):
        forward_split([0, 4, 8], purge_weeks=13)


# -- value ------------------------------------------------------------------------------------

PAID = table(
    "payment_id customer_id paid_at amount cost status",
    """
    v1 buyer 2024-06-30T23:59:59 888 400 paid
    v2 buyer 2024-07-01 100 40 paid
    v3 buyer 2024-07-21 50 20 refunded
    v4 buyer 2024-07-22 -30 - paid
    v5 buyer 2024-07-28 1000 1 failed
    v6 buyer 2024-07-29 999 1 paid
    v7 loss 2024-07-04 -60 - paid
    v8 idle 2024-01-01 10 1 paid
    """,
)
DISCOUNT = 1.10 ** (-1 / 52)


def worth(known: FoldedWeeks, rule: ClvRule, weeks: int = 4) -> dict[str, float]:
    return by_customer(known, clv_labels(known, [WEEK], rule, weeks)[0])


def test_value_is_discounted_margin_net_of_refunds() -> None:
    known = folded({"payments": PAID.drop(columns="cost")})
    found = worth(known, ClvRule(4, gross_margin=0.8, annual_discount_rate=0.10))

    assert found["buyer"] == pytest.approx(
        0.8 * (100 * DISCOUNT + 50 * DISCOUNT**3 - 30 * DISCOUNT**4)
    )
    assert found["loss"] == pytest.approx(-0.8 * 60 * DISCOUNT)
    assert found["idle"] == 0


def test_value_is_amount_less_cost_where_costs_are_brought() -> None:
    known = folded({"payments": PAID})

    assert worth(known, ClvRule(4, gross_margin=0.8)) == {
        "buyer": pytest.approx(100 - 40 + 50 - 20 - 30),
        "loss": -60,
        "idle": 0,
    }


def test_value_from_contracts_is_a_week_of_mrr_for_each_week_that_ends_served() -> None:
    spans = table(
        SPANS,
        """
        runs 2024-01-01 - 120 no - - -
        ends 2024-01-01 2024-07-10 120 no - - -
        starts 2024-07-22 - 120 no - - -
        trial 2024-01-01 - 120 yes - - -
        """,
    )
    known = folded({"subscriptions": spans})
    rule = ClvRule(4, gross_margin=0.5, annual_discount_rate=0.10)
    week = 120 * 12 / 52 * 0.5

    assert worth(known, rule) == {
        "runs": pytest.approx(week * sum(DISCOUNT**n for n in (1, 2, 3, 4))),
        "ends": pytest.approx(week * DISCOUNT),
        "starts": pytest.approx(week * DISCOUNT**4),
        "trial": 0,
    }


def test_value_is_learnt_from_payments_when_there_are_any_else_from_mrr() -> None:
    both = folded({"payments": PAID, "subscriptions": CONTRACTS})
    neither = folded({"usage": table("customer_id occurred_at", "a 2024-01-01")})

    assert clv_basis(both, ClvRule(4)) == "payments"
    assert clv_basis(both, ClvRule(4, basis="mrr")) == "mrr"
    assert clv_basis(folded({"subscriptions": CONTRACTS}), ClvRule(4)) == "mrr"
    assert clv_basis(folded({"subscriptions": CONTRACTS}), ClvRule(4, basis="payments")) is None
    assert clv_basis(neither, ClvRule(4)) is None
    with pytest.raises(SnapshotError, match="neither payments nor subscriptions"):
        clv_labels(neither, [WEEK], ClvRule(4), 4)


def test_value_past_the_data_is_refused() -> None:
    known = folded({"payments": PAID})

    clv_labels(known, [WEEK], ClvRule(52), 7)
    with pytest.raises(SnapshotError, match=r"8 weeks after 2024-06-30 run past .* 2024-08-18"):
        clv_labels(known, [WEEK], ClvRule(52), 8)


def test_the_horizon_that_can_be_learnt_is_shorter_than_the_history_by_far() -> None:
    assert [learnable_horizon(weeks, 52) for weeks in (130, 129, 65, 64, 33, 32, 3)] == [
        52,
        39,
        26,
        13,
        13,
        12,
        1,
    ]
    with pytest.raises(SnapshotError, match="too little history for CLV: 2 weeks"):
        learnable_horizon(2, 52)
