"""MRR, churn and retention: the reference's examples, then an oracle that counts every day."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from money_tables import OCTOBER, contracts, oracle, random_contracts

from retain.errors import TableError
from retain.metrics import Period
from retain.metrics.ledger import KINDS, Ledger, mrr_ledger
from retain.metrics.logos import annualised, customer_churn_rate, customer_retention_rate
from retain.metrics.recurring import monthly_amount, mrr, mrr_movement
from retain.metrics.retention import (
    gross_revenue_retention,
    mrr_churn_rate,
    net_revenue_retention,
    quick_ratio,
)


def logo_month(times=1, shift=0):
    """The month of 2.7: 500 at the start; 25 of them leave, 2 return; 100 join, 5 of those leave.

    `times` as many of each, everything `shift` days later.
    """
    spans = []
    for at in range(500 * times):
        spans.append((f"a{at}", "2026-01-01", "2026-10-10" if at < 25 * times else None, 10))
        if at < 2 * times:
            spans.append((f"a{at}", "2026-10-20", None, 10))
    for at in range(100 * times):
        spans.append((f"n{at}", "2026-10-05", "2026-10-25" if at < 5 * times else None, 10))
    frame = contracts(*spans)
    for column in ("started_at", "ended_at"):
        frame[column] += pd.Timedelta(days=shift)
    return frame


def revenue_month(times=1):
    """The month of 2.8: 10,000 + 1,200 new + 300 back + 800 up - 400 down - 600 gone = 11,300."""
    return contracts(
        ("steady", "2026-01-01", None, 8000 * times),
        ("up", "2026-01-01", "2026-10-05", 900 * times),
        ("up", "2026-10-05", None, 1700 * times),
        ("down", "2026-01-01", "2026-10-05", 500 * times),
        ("down", "2026-10-05", None, 100 * times),
        ("gone", "2026-01-01", "2026-10-31", 600 * times),
        ("back", "2025-01-01", "2025-06-01", 250 * times),
        ("back", "2026-10-02", None, 300 * times),
        ("new", "2026-10-01", None, 1200 * times),
    )


# ---- customers who leave -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "percent", "numerator", "denominator"),
    [
        ("start_cohort_net", "4.6", 23, 500),
        ("start_cohort_gross", "5.0", 25, 500),
        ("stripe", "5.0", 30, 600),
        ("average_base", "5.6", 30, 536),
        ("mixed", "6.0", 30, 500),
    ],
)
@pytest.mark.parametrize(("times", "shift"), [(1, 0), (1, 5), (3, 0)])
def test_one_month_has_a_churn_rate_for_every_definition(
    variant, percent, numerator, denominator, times, shift
):
    found = customer_churn_rate(logo_month(times, shift), OCTOBER, variant=variant)

    assert (percent, numerator * times, denominator * times) == (
        found.display(),
        found.numerator,
        found.denominator,
    )
    assert numerator * times == len(found.ids().numerator)


def test_daily_churn_divides_each_day_by_the_customers_of_that_morning():
    # 25 of 500 on the 10th, 100 joined on the 5th; 2 back on the 20th; 5 leave on the 25th
    expected = 100 * (Fraction(25, 600) + Fraction(5, 577))
    assert expected == customer_churn_rate(logo_month(), OCTOBER, variant="daily_sum").value


def test_a_definition_that_is_wrong_is_not_offered():
    with pytest.raises(TableError, match="variant should be one of start_cohort_gross"):
        customer_churn_rate(logo_month(), OCTOBER, variant="leavers_over_new")


def test_retention_is_what_churn_of_the_same_cohort_leaves():
    for variant in ("start_cohort_gross", "start_cohort_net"):
        churn = customer_churn_rate(logo_month(), OCTOBER, variant=variant)
        stay = customer_retention_rate(logo_month(), OCTOBER, variant=variant)
        assert 100 == churn.value + stay.value
        assert 100 == pytest.approx(churn.low + stay.high)


def test_a_month_of_five_percent_is_a_year_of_forty_six_and_not_of_sixty():
    yearly = customer_churn_rate(logo_month(), OCTOBER, per="year")

    assert "45.96" == yearly.display(2)
    assert 100 * (1 - Fraction(19, 20) ** 12) == yearly.value
    assert yearly.low < yearly.value < yearly.high


def test_other_periods_compound_by_their_length():
    quarter = Period(date(2026, 1, 1), date(2026, 4, 1))
    thirty_days = Period(date(2026, 1, 1), date(2026, 1, 31))

    assert Fraction(15, 16) == annualised(Fraction(1, 2), quarter)
    assert 0.5 == pytest.approx(1 - (1 - annualised(Fraction(1, 2), thirty_days)) ** (30 / 365.25))


def test_losing_more_than_were_there_does_not_compound():
    frame = contracts(
        ("a", "2026-01-01", None, 1),
        *[(f"n{at}", "2026-10-02", "2026-10-03", 1) for at in range(2)],
    )
    assert "undefined: more left than were there, so nothing compounds" == (
        customer_churn_rate(frame, OCTOBER, variant="mixed", per="year").display()
    )


def test_voluntary_and_involuntary_departures_add_up():
    frame = logo_month()
    frame["end_reason"] = np.where(np.arange(len(frame)) % 3, "voluntary", "involuntary")
    for variant in ("start_cohort_gross", "start_cohort_net", "stripe", "mixed"):
        whole, *pieces = (
            customer_churn_rate(frame, OCTOBER, variant=variant, reason=reason)
            for reason in ("all", "voluntary", "involuntary", "unstated")
        )
        assert whole.value == sum(piece.value for piece in pieces)
        assert [whole.parts[piece.parameters["reason"]] for piece in pieces] == [
            piece.numerator for piece in pieces
        ]
        assert 0 < pieces[1].value


def test_of_contracts_that_end_on_one_day_a_voluntary_one_decides():
    frame = contracts(("a", "2026-01-01", "2026-10-02", 5), ("a", "2026-01-01", "2026-10-02", 5))
    frame["end_reason"] = ["involuntary", "voluntary"]

    assert 1 == customer_churn_rate(frame, OCTOBER).parts["voluntary"]


def test_the_exact_interval_is_wider_than_wilson_s():
    wilson, exact = (
        customer_churn_rate(logo_month(), OCTOBER, interval=name) for name in ("wilson", "exact")
    )
    from scipy.stats import binomtest

    expected = binomtest(25, 500).proportion_ci(0.95, method="exact")
    assert [100 * bound for bound in expected] == pytest.approx([exact.low, exact.high])
    assert exact.high - exact.low > wilson.high - wilson.low


def test_a_rate_that_is_no_share_has_no_interval():
    for variant in ("average_base", "mixed", "daily_sum"):
        found = customer_churn_rate(logo_month(), OCTOBER, variant=variant)
        assert (None, None, None) == (found.low, found.high, found.level)


def test_a_second_departure_counts_for_stripe_alone():
    frame = contracts(
        ("a", "2026-01-01", "2026-10-02", 1),
        ("a", "2026-10-05", "2026-10-08", 1),
        ("b", "2026-01-01", None, 1),
    )
    assert [2, 1, 1] == [
        customer_churn_rate(frame, OCTOBER, variant=variant).numerator
        for variant in ("stripe", "mixed", "start_cohort_gross")
    ]
    assert customer_churn_rate(frame, OCTOBER, variant="stripe").low is None


def test_one_of_two_subscriptions_ended_and_a_plan_replaced_on_the_day_are_no_churn():
    frame = contracts(
        ("two", "2026-01-01", "2026-10-10", 10),
        ("two", "2026-01-01", None, 30),
        ("plan", "2026-01-01", "2026-10-10", 10),
        ("plan", "2026-10-10", None, 10),
    )
    assert 0 == customer_churn_rate(frame, OCTOBER).value
    assert 10 == mrr_movement(frame, OCTOBER, variant="contraction").value
    assert ["contraction"] == list(mrr_ledger(frame, OCTOBER).rows()["kind"])


def test_a_contract_that_ends_on_the_first_day_was_there_at_the_start():
    frame = contracts(("a", "2026-01-01", "2026-10-01", 10), ("b", "2026-01-01", "2026-11-01", 10))
    found = customer_churn_rate(frame, OCTOBER)

    assert (1, 2, ("a",)) == (found.numerator, found.denominator, found.ids().numerator)


# ---- recurring revenue ---------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 7])
def test_start_and_movements_give_the_end(times):
    frame = revenue_month(times)
    ledger = mrr_ledger(frame, OCTOBER)

    assert 11_300 * times == mrr(frame, OCTOBER).value == ledger.end
    assert 10_000 * times == mrr(frame, OCTOBER, variant="period_start").value == ledger.start
    expected = {"new": 1200, "expansion": 800, "contraction": 400, "churn": 600}
    expected["reactivation"] = 300
    assert {kind: amount * times for kind, amount in expected.items()} == ledger.totals
    for kind, amount in expected.items():
        assert amount * times == mrr_movement(frame, OCTOBER, variant=kind).value
    assert 1_300 * times == mrr_movement(frame, OCTOBER).value


def test_a_ledger_that_does_not_add_up_is_refused():
    with pytest.raises(AssertionError, match="should give the end, which is 5"):
        Ledger(OCTOBER, Decimal(1), Decimal(5), dict.fromkeys(KINDS, Decimal(0)), pd.DataFrame)


def test_a_vendor_s_own_example_of_movements():
    yearly = round(2000 / 12, 6)
    frame = contracts(
        ("sync", "2026-01-05", "2027-01-05", yearly),
        ("sync", "2026-01-10", "2026-01-24", 60),
        ("sync", "2027-03-01", None, 150),
    )
    ledgers = [mrr_ledger(frame, Period.month(m)) for m in ("2026-01", "2027-01", "2027-03")]
    found = [
        list(zip(*ledger.rows()[["kind", "amount"]].T.values, strict=True)) for ledger in ledgers
    ]

    assert [("new", yearly), ("expansion", 60), ("contraction", 60)] == [
        (kind, float(amount)) for kind, amount in found[0]
    ]
    assert [("churn", yearly)] == [(kind, float(amount)) for kind, amount in found[1]]
    assert [("reactivation", 150)] == found[2]
    assert "166.67" == mrr(frame, Period.month("2026-01")).display()


def test_the_price_that_is_charged_once_is_not_the_price_per_month():
    # 12 -> 24 a month after a week: 33 on the next invoice, MRR is 24
    frame = contracts(("a", "2026-10-01", "2026-10-08", 12), ("a", "2026-10-08", None, 24))
    assert 24 == mrr(frame, OCTOBER).value


@pytest.mark.parametrize(
    ("amount", "period", "named", "expected"),
    [
        (2000, "annual", {}, Fraction(500, 3)),
        (30, "quarterly", {}, 10),
        (30, "monthly", {}, 30),
        (10, "weekly", {}, Fraction(130, 3)),
        (10, "weekly", {"weeks_a_year": "365.25/7"}, Fraction(36525, 840)),
        (122, "monthly", {"tax": 22, "recurring_discount": 10}, 90),
        (50, "monthly", {"prorate_factor": 2}, 100),
    ],
)
def test_what_is_billed_becomes_an_amount_per_month(amount, period, named, expected):
    assert expected == monthly_amount(amount, period, **named)


def test_an_unknown_billing_period_is_refused():
    with pytest.raises(TableError, match="billing_period should be one of weekly, monthly"):
        monthly_amount(1, "fortnightly")
    with pytest.raises(TableError, match="weeks_a_year should be"):
        monthly_amount(1, "weekly", weeks_a_year="51")


def test_trials_free_spans_and_what_cannot_be_used_are_left_out_and_counted():
    frame = contracts(
        ("paid", "2026-01-01", None, 10),
        ("trial", "2026-01-01", None, 10),
        ("free", "2026-01-01", None, 0),
        ("minus", "2026-01-01", None, -1),
        ("none", "2026-01-01", None, None),
        (None, "2026-01-01", None, 10),
        ("late", "2026-11-01", None, 10),
        ("odd", "2026-05-01", "2026-04-01", 10),
        ("day", "2026-10-05", "2026-10-05", 10),
        ("undated", None, None, 10),
    )
    frame["is_trial"] = frame["customer_id"] == "trial"
    found = mrr(frame, OCTOBER)

    assert (10, 10, 1) == (found.value, found.rows_in, found.used)
    assert {
        "ended before it started": 1,
        "free": 1,
        "negative MRR": 1,
        "no MRR": 1,
        "no customer": 1,
        "no day of service": 1,
        "no start": 1,
        "starts after the period": 1,
        "trial": 1,
    } == found.excluded


def test_a_contract_said_twice_counts_once_where_its_id_tells():
    frame = revenue_month()
    frame["subscription_id"] = [f"s{at}" for at in range(len(frame))]
    twice = pd.concat([frame, frame])

    assert mrr(frame, OCTOBER).value == mrr(twice, OCTOBER).value
    assert {"repeated subscription_id": len(frame)} == mrr(twice, OCTOBER).excluded
    # another span of the same subscription is no repeat
    renewed = frame.assign(subscription_id="s")
    assert mrr(frame, OCTOBER).value == mrr(renewed, OCTOBER).value


def test_money_is_exact_where_floats_are_not():
    frame = contracts(*[(f"c{at}", "2026-01-01", None, 0.1) for at in range(3)])
    assert Decimal("0.3") == mrr(frame, OCTOBER).value


# ---- revenue that leaves and stays ---------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 7])
@pytest.mark.parametrize(
    ("metric", "variant", "percent"),
    [
        (mrr_churn_rate, "gross", 10),
        (mrr_churn_rate, "cancelled", 6),
        (mrr_churn_rate, "net_with_reactivation", -1),
        (mrr_churn_rate, "net_cohort", 2),
        (gross_revenue_retention, "cohort", 90),
        (net_revenue_retention, "cohort", 98),
        (net_revenue_retention, "with_reactivation", 101),
        (quick_ratio, "without_reactivation", 2),
        (quick_ratio, "with_reactivation", Fraction(23, 10)),
    ],
)
def test_the_same_month_in_rates(metric, variant, percent, times):
    assert percent == metric(revenue_month(times), OCTOBER, variant=variant).value


def test_retention_is_capped_for_each_customer_before_it_is_added_up():
    frame = contracts(
        ("a", "2026-01-01", "2026-10-05", 100),
        ("a", "2026-10-05", None, 150),
        ("b", "2026-01-01", "2026-10-05", 100),
        ("b", "2026-10-05", None, 60),
        ("c", "2026-01-01", "2026-10-05", 100),
    )
    assert Fraction(160, 3) == gross_revenue_retention(frame, OCTOBER).value
    assert 70 == net_revenue_retention(frame, OCTOBER).value


def test_who_left_and_came_back_counts_by_the_variant():
    frame = contracts(
        ("a", "2026-01-01", "2026-10-05", 100),
        ("a", "2026-10-15", None, 120),
        ("b", "2026-01-01", None, 100),
    )
    assert [50, 110] == [
        net_revenue_retention(frame, OCTOBER, variant=v).value for v in ("cohort", "point_to_point")
    ]
    assert [50, 100] == [
        gross_revenue_retention(frame, OCTOBER, variant=v).value
        for v in ("cohort", "point_to_point")
    ]


def test_without_anything_below_the_line_there_is_no_value():
    frame = contracts(("a", "2026-10-02", None, 100))
    for metric in (mrr_churn_rate, gross_revenue_retention, net_revenue_retention):
        assert "undefined: no MRR at the start" == metric(frame, OCTOBER).display()
    assert "undefined: nothing was lost" == quick_ratio(frame, OCTOBER).display()
    assert "undefined: no customers to lose" == customer_churn_rate(frame, OCTOBER).display()


def test_an_unknown_variant_is_refused():
    for metric in (mrr_churn_rate, gross_revenue_retention, net_revenue_retention, quick_ratio):
        with pytest.raises(TableError, match=f"{metric.name}: variant should be one of"):
            metric(revenue_month(), OCTOBER, variant="best")


# ---- against an oracle ---------------------------------------------------------------------------

FIGURES = {
    **{kind: lambda f, p, kind=kind: mrr_movement(f, p, variant=kind).value for kind in KINDS},
    "start": lambda f, p: mrr(f, p, variant="period_start").value,
    "end": lambda f, p: mrr(f, p).value,
    "left": lambda f, p: customer_churn_rate(f, p).numerator,
    "gone": lambda f, p: customer_churn_rate(f, p, variant="start_cohort_net").numerator,
    "departures": lambda f, p: customer_churn_rate(f, p, variant="stripe").numerator,
    "leavers": lambda f, p: customer_churn_rate(f, p, variant="mixed").numerator,
    "base": lambda f, p: customer_churn_rate(f, p, variant="stripe").denominator,
    "daily": lambda f, p: customer_churn_rate(f, p, variant="daily_sum").value,
    "gross": lambda f, p: gross_revenue_retention(f, p).numerator,
    "net": lambda f, p: net_revenue_retention(f, p).numerator,
    "point": lambda f, p: net_revenue_retention(f, p, variant="point_to_point").numerator,
    "all_but_new": lambda f, p: net_revenue_retention(f, p, variant="with_reactivation").numerator,
}


def differing(frame):
    """Figures on which the oracle and the product disagree."""
    expected = oracle(frame, OCTOBER)
    found = {name: figure(frame, OCTOBER) for name, figure in FIGURES.items()}
    return {name: (expected[name], found[name]) for name in found if expected[name] != found[name]}


@pytest.mark.parametrize("seed", range(3))
def test_every_figure_is_that_of_counting_day_by_day(seed):
    assert {} == differing(random_contracts(seed, 120))


def test_the_examples_agree_with_the_oracle_when_shifted_and_resampled():
    both = pd.concat([logo_month().iloc[::7], revenue_month()], ignore_index=True)
    resampled = both.sample(len(both), replace=True, random_state=4)
    resampled["mrr"] *= 3
    resampled["started_at"] += pd.Timedelta(days=9)
    resampled["ended_at"] += pd.Timedelta(days=9)

    assert {} == differing(resampled)


def test_the_oracle_notices_a_wrong_figure():
    # planted: a departure that is not there
    frame = random_contracts(0, 120)
    frame.loc[frame["ended_at"].between("2026-10-02", "2026-10-30"), "ended_at"] = pd.NaT
    assert oracle(random_contracts(0, 120), OCTOBER)["left"] != FIGURES["left"](frame, OCTOBER)


DAYS = st.integers(0, 70)
SPAN = st.tuples(
    st.sampled_from("abc"), DAYS, st.one_of(st.none(), DAYS), st.integers(0, 300), st.booleans()
)


@given(st.lists(SPAN, max_size=12))
@settings(max_examples=20)
def test_identities_hold_on_any_history(spans):
    first = pd.Timestamp("2026-09-10")
    frame = contracts(
        *[
            (
                c,
                first + pd.Timedelta(days=a),
                None if b is None else first + pd.Timedelta(days=b),
                m / 7,
            )
            for c, a, b, m, _ in spans
        ]
    )
    frame["is_trial"] = [trial for *_, trial in spans]
    ledger = mrr_ledger(frame, OCTOBER)  # asserts its own identity, for each customer too
    rows = ledger.rows()

    assert ledger.end - ledger.start == sum(rows["mrr_to"] - rows["mrr_from"], Decimal(0))
    assert (rows["mrr_to"] - rows["mrr_from"]).abs().tolist() == rows["amount"].tolist()
    gross, net = (m(frame, OCTOBER).value for m in (gross_revenue_retention, net_revenue_retention))
    assert gross is None or (0 <= gross <= 100 and gross <= net)
    half = Period(date(2026, 10, 1), date(2026, 10, 16))
    rest = Period(date(2026, 10, 16), date(2026, 11, 1))
    first, second = (mrr_ledger(frame, part).totals for part in (half, rest))
    assert ledger.totals == {kind: first[kind] + second[kind] for kind in KINDS}


def test_the_order_of_rows_and_the_kind_of_source_do_not_matter():
    frame = random_contracts(5, 200)
    con = duckdb.connect()
    con.register("shuffled", frame.sample(frac=1, random_state=1))
    for metric in (mrr, customer_churn_rate, net_revenue_retention, quick_ratio):
        assert metric(frame, OCTOBER) == metric(con.table("shuffled"), OCTOBER)


def test_segments_add_up_and_a_contract_s_own_column_can_cut():
    frame = random_contracts(6, 200)
    frame["plan"] = np.where(np.arange(200) % 2, "gold", "lead")
    known = pd.DataFrame({"customer_id": [f"c{at}" for at in range(20)], "segment": "first"})
    for metric in (mrr, mrr_movement, customer_churn_rate, net_revenue_retention, quick_ratio):
        found = metric(frame, OCTOBER, by=["segment", "plan"], customers=known)
        assert ["(none)", "first", "gold", "lead"] == [
            label for one in found.segments for label in one.by.values()
        ]
        for column in ("segment", "plan"):
            pieces = [one for one in found.segments if column in one.by]
            assert found.numerator == sum(one.numerator for one in pieces)
            assert found.rows_in == sum(one.rows_in for one in pieces)


def test_no_rows_give_no_revenue_and_no_rates():
    empty = contracts(("a", "2026-01-01", None, 1)).iloc[:0]

    assert 0 == mrr(empty, OCTOBER).value
    assert 0 == mrr(empty, OCTOBER).rows_in
    assert customer_churn_rate(empty, OCTOBER).value is None


def test_the_ids_are_those_above_and_below_the_line():
    found = mrr_churn_rate(revenue_month(), OCTOBER, variant="cancelled").ids()

    assert ("gone",) == found.numerator
    assert ("down", "gone", "steady", "up") == found.denominator
    assert ("new",) == mrr_movement(revenue_month(), OCTOBER, variant="new").ids().numerator
