"""Renewals and trials: the reference's examples first, then oracles in pandas."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from money_tables import contracts

from retain.errors import TableError
from retain.metrics import Period
from retain.metrics.renewals import renewal_rate
from retain.metrics.trials import trial_conversion_rate

YEAR_END = date(2026, 12, 31)
MARCH = Period.month("2026-03")
OCTOBER = Period.month("2026-10")


def annual(*spans, **columns):
    return contracts(*spans).assign(billing_period="annual", **columns)


def renewals(frame, period=OCTOBER, **given):
    return renewal_rate(frame, period, **{"data_until": YEAR_END, **given})


def book(due, renewed, pending=0, others=0, times=1):
    """Contracts due in mid October, so many renewed by a new one, and others not due."""
    spans = []
    for at in range(due * times):
        spans.append((f"d{at}", "2025-10-15", "2026-10-15", 100))
        if at < renewed * times:
            spans.append((f"d{at}", "2026-10-15", "2027-10-15", 120))
        elif at < (renewed + pending) * times:
            spans[-1] = (f"d{at}", "2025-10-25", "2026-10-25", 100)
    spans += [(f"o{at}", "2026-05-15", None, 100) for at in range(others * times)]
    return annual(*spans)


# ---- renewals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
def test_eighty_of_a_hundred_renewed_is_eighty_percent(times):
    found = renewals(book(100, 80, times=times))

    assert (80, 80 * times, 100 * times) == (found.value, found.numerator, found.denominator)
    assert found.low < 80 < found.high


def test_of_forty_due_of_a_hundred_customers_thirty_four_renewed():
    frame = book(40, 34, others=60)

    assert 85 == renewals(frame).value
    base = renewals(frame, variant="base_retention")
    assert (94, 94, 100) == (base.value, base.numerator, base.denominator)


def test_pending_renewals_give_two_bounds_and_a_decided_share():
    frame = book(40, 30, pending=4)
    # those due on the 25th may come until 24 November; those of the 15th could until the 14th
    given = {"data_until": date(2026, 11, 20)}

    assert 75 == renewals(frame, **given).value
    assert 85 == renewals(frame, pending="renewed", **given).value
    decided = renewals(frame, pending="left_out", **given)
    assert ("83.3", 36, {"pending": 4}) == (decided.display(), decided.n, decided.excluded)
    assert {"renewed": 30, "pending": 4, "lost": 6} == renewals(frame, **given).parts
    assert "4 of 40 contracts are pending: between 75.0 and 85.0 %" in (
        renewals(frame, **given).notes
    )


def test_value_renewed_is_at_most_what_was_due():
    frame = annual(
        ("up", "2025-10-15", "2026-10-15", 100),
        ("up", "2026-10-15", None, 150),
        ("down", "2025-10-15", "2026-10-15", 100),
        ("down", "2026-10-15", None, 60),
        ("gone", "2025-10-15", "2026-10-15", 200),
    )
    found = renewals(frame, variant="value")

    assert (40, 160, 400) == (found.value, found.numerator, found.denominator)


def test_early_and_late_renewals_count_when_they_were_due():
    # a hundred due in January, booked in February: 0 % and 200 % by booking, 100 % by due date
    spans = []
    for at in range(10):
        for place, due in (("jan", "01-20"), ("feb", "02-10")):
            spans.append((f"{place}{at}", f"2025-{due}", f"2026-{due}", 100))
            spans.append((f"{place}{at}", "2026-02-15", None, 100))
    spans.append(("early", "2025-03-20", "2026-02-01", 100))
    spans.append(("early", "2026-02-01", None, 100))
    frame = annual(*spans)

    for month in ("2026-01", "2026-02"):
        found = renewals(frame, Period.month(month))
        assert (100, 10) == (found.value, found.denominator)
    assert (100, 1) == (renewals(frame, MARCH).value, renewals(frame, MARCH).denominator)
    quarter = renewals(frame, Period(date(2026, 1, 1), date(2026, 4, 1)))
    assert (100, 21) == (quarter.value, quarter.denominator)
    assert 0 == renewals(frame, Period.month("2026-01"), grace_days=20).value


def test_a_contract_of_three_years_is_due_once():
    frame = contracts(("a", "2023-10-15", None, 100)).assign(billing_period="triennial")
    due = [
        renewals(frame, Period.month(f"{year}-10"), data_until=date(2030, 1, 1)).denominator
        for year in (2024, 2025, 2026, 2027, 2029)
    ]
    assert [0, 0, 1, 0, 1] == due
    own_term = frame.assign(billing_period="monthly", term_months=36)
    assert 1 == renewals(own_term).denominator
    assert 0 == renewals(own_term, Period.month("2026-09")).denominator


def test_a_contract_that_is_changed_long_before_its_term_is_not_due():
    frame = annual(("a", "2025-10-15", "2026-03-01", 100), ("a", "2026-03-01", None, 150))
    found = renewals(frame)

    assert ("undefined: no contract was due", {"changed before its term": 1}) == (
        found.display(),
        found.excluded,
    )
    assert 1 == renewals(frame, Period.month("2027-03"), data_until=date(2027, 5, 1)).denominator


def test_a_contract_ended_before_its_term_is_lost_when_it_was_due():
    frame = annual(("a", "2025-10-15", "2026-03-01", 100))

    assert (0, 1) == (renewals(frame).value, renewals(frame).denominator)
    assert renewals(frame, MARCH).value is None


def test_one_renewal_renews_one_contract():
    frame = annual(
        ("a", "2025-10-05", "2026-10-05", 100),
        ("a", "2025-10-15", "2026-10-15", 100),
        ("a", "2026-10-15", None, 200),
    )
    assert (1, 2) == (renewals(frame).numerator, renewals(frame).denominator)


def test_a_contract_that_goes_on_is_renewed_and_one_due_after_the_data_is_pending():
    frame = annual(("a", "2025-10-15", None, 100))

    assert {"renewed": 1, "pending": 0, "lost": 0} == renewals(frame).parts
    assert {"renewed": 0, "pending": 1, "lost": 0} == (
        renewals(frame, data_until=date(2026, 10, 14)).parts
    )


def test_a_replaced_contract_may_overlap_with_what_replaces_it():
    frame = annual(("a", "2025-10-15", "2026-10-15", 100), ("a", "2026-10-01", None, 100))
    assert 0 == renewals(frame).value
    assert 100 == renewals(frame.assign(end_reason="replaced")).value


def test_month_to_month_it_is_the_retention_of_contracts():
    frame = contracts(
        *[(f"c{at}", "2026-01-01", "2026-10-01" if at < 3 else None, 10) for at in range(20)]
    ).assign(billing_period="monthly")
    assert (85, 85) == (
        renewals(frame).value,
        renewals(frame, variant="base_retention").value,
    )


def test_the_last_day_of_a_month_is_due_on_the_last_day_of_a_shorter_one():
    frame = contracts(("a", "2026-01-31", None, 10)).assign(billing_period="monthly")
    assert [1, 1, 1] == [
        renewals(frame, Period.month(month)).denominator
        for month in ("2026-02", "2026-03", "2026-04")
    ]


def test_a_contract_without_a_term_is_left_out():
    frame = annual(("a", "2025-10-15", None, 10), ("b", "2025-10-15", None, 10))
    frame["billing_period"] = ["annual", "weekly"]

    assert ({"no term in months": 1}, ("b",)) == (
        renewals(frame).excluded,
        renewals(frame.assign(subscription_id=["a", "b"])).ids().excluded["no term in months"],
    )
    assert 2 == renewals(frame, term_months=12).denominator
    with pytest.raises(TableError, match="column billing_period is missing"):
        renewals(frame.drop(columns="billing_period"))


def test_terms_and_days_out_of_range_are_refused():
    for given in ({"grace_days": -1}, {"early_days": -1}, {"term_months": 0}):
        with pytest.raises(TableError, match="should not be negative and term_months at least 1"):
            renewals(book(1, 1), **given)
    with pytest.raises(TableError, match="renewal_rate: pending should be one of lost, renewed"):
        renewals(book(1, 1), pending="unknown")


def renewals_oracle(frame, period):
    """Annual contracts, one per customer at a time: who is there a year after the start?"""
    due = renewed = 0
    for _, spans in frame.groupby("customer_id"):
        for one in spans.itertuples():
            for years in range(1, 5):
                day = one.started_at + pd.DateOffset(years=years)
                goes_on = pd.isna(one.ended_at) or one.ended_at > day
                if pd.Timestamp(period.start) <= day < pd.Timestamp(period.end):
                    later = spans.started_at.between(one.ended_at, day + pd.Timedelta(days=30))
                    due, renewed = due + 1, renewed + (goes_on or later.any())
                if not goes_on:
                    break
    return Fraction(100 * int(renewed), due)


@pytest.mark.parametrize(("seed", "shift"), [(0, 0), (1, 0), (1, 50), (2, 400)])
def test_renewals_are_those_of_looking_at_each_contract(seed, shift):
    rng = np.random.default_rng(seed)
    n = 300
    first = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 720, n), unit="D")
    length = rng.choice([365, 200, 340, 730, 5000], n, p=[0.5, 0.05, 0.15, 0.1, 0.2])
    end = pd.Series(first + pd.to_timedelta(length, unit="D"))
    again = end + pd.to_timedelta(rng.integers(0, 60, n), unit="D")
    who = np.array([f"c{at}" for at in range(n)])
    back = rng.random(n) < 0.7
    frame = pd.DataFrame(
        {
            "customer_id": [*who, *who[back]],
            "started_at": [*first, *again[back]],
            "ended_at": [*end.where(length < 5000), *[pd.NaT] * back.sum()],
            "mrr": 10.0,
            "billing_period": "annual",
        }
    )
    frame = frame.drop(index=frame.index[frame["started_at"] > "2030-01-01"])
    for column in ("started_at", "ended_at"):
        frame[column] = pd.to_datetime(frame[column]) + pd.Timedelta(days=shift)
    period = Period(date(2026, 1, 1), date(2026, 10, 1))
    # a contract that starts long before the other was due is a change, and the oracle knows none
    found = renewals(frame, period, data_until=date(2030, 1, 1), early_days=400)

    assert renewals_oracle(frame, period) == found.value
    assert found.n > 50


# ---- trials --------------------------------------------------------------------------------------


def trials(*lines, **columns):
    """Spans written as customer, first day, first day without, MRR; 0 is a trial."""
    frame = contracts(*lines)
    return frame.assign(is_trial=frame["mrr"] == 0, **columns)


def converted(frame, period=MARCH, **given):
    return trial_conversion_rate(frame, period, **{"data_until": YEAR_END, **given})


def many_trials(n, pays, start="2026-03-04", days=30, times=1, gap=0):
    first = pd.Timestamp(start)
    end = first + pd.Timedelta(days=days)
    lines = [(f"t{at}", first, end, 0) for at in range(n * times)]
    lines += [(f"t{at}", end + pd.Timedelta(days=gap), None, 10) for at in range(pays * times)]
    return trials(*lines)


@pytest.mark.parametrize("times", [1, 4])
def test_twenty_of_a_hundred_trials_by_day_thirty_are_twenty_percent(times):
    frame = many_trials(100, 20, times=times)

    assert (20, 100 * times) == (converted(frame).value, converted(frame).denominator)
    assert 0 == converted(frame, within_days=29).value
    assert 0 == converted(many_trials(100, 20, gap=1)).value


def test_of_eighty_trials_that_ended_eighteen_paid():
    frame = many_trials(80, 18, days=14)

    assert Fraction(45, 2) == converted(frame, variant="ended_window").value
    late = many_trials(80, 18, days=14, gap=3)
    assert [0, Fraction(45, 2)] == [
        converted(late, variant="ended_window", grace_days=days).value for days in (2, 3)
    ]


def test_conversions_over_new_trials_of_the_same_month_can_pass_a_hundred():
    older = many_trials(18, 18, start="2026-02-20", days=14)
    new = many_trials(120, 0, start="2026-03-10", days=60)
    new["customer_id"] = "n" + new["customer_id"]
    found = converted(pd.concat([older, new]), variant="same_window")

    assert (15, 18, 120) == (found.value, found.numerator, found.denominator)
    few = converted(pd.concat([older, new.iloc[:10]]), variant="same_window")
    assert (180, None) == (few.value, few.low)
    assert "undefined: no trials to convert" == converted(older, variant="same_window").display()


def test_trials_too_young_to_tell_are_left_out_whether_they_paid_or_not():
    frame = trials(
        ("young", "2026-03-20", None, 0),
        ("quick", "2026-03-20", "2026-03-22", 0),
        ("quick", "2026-03-22", None, 10),
        ("old", "2026-03-01", None, 0),
    )
    found = converted(frame, data_until=date(2026, 4, 1))

    assert (0, 1, {"immature": 2}) == (found.value, found.n, found.excluded)
    assert "2 trials are too young to tell" in found.notes
    ended = converted(frame, variant="ended_window", grace_days=20, data_until=date(2026, 4, 1))
    assert {"immature": 1, "still running": 2} == ended.excluded


def test_running_trials_have_not_ended():
    frame = trials(
        ("runs", "2026-03-01", None, 0),
        ("later", "2026-03-01", "2026-04-10", 0),
        ("over", "2026-03-01", "2026-03-10", 0),
    )
    found = converted(frame, variant="ended_window")

    assert (1, {"still running": 2}) == (found.n, found.excluded)


def test_a_customer_has_one_trial_and_an_extension_keeps_its_start():
    frame = trials(
        ("ext", "2026-02-20", "2026-03-06", 0),
        ("ext", "2026-03-06", "2026-03-20", 0),
        ("ext", "2026-03-20", None, 10),
        ("again", "2026-01-01", "2026-01-15", 0),
        ("again", "2026-03-01", "2026-03-15", 0),
        ("again", "2026-03-15", None, 10),
    )
    start = converted(frame)
    assert (0, {"not the first trial of the customer": 2}) == (start.n, start.excluded)
    ended = converted(frame, variant="ended_window")
    assert (1, 1) == (ended.numerator, ended.denominator)
    assert ("ext",) == ended.ids().numerator


def test_who_paid_before_is_no_trial_and_who_cancels_right_after_has_converted():
    frame = trials(
        ("before", "2025-01-01", "2025-06-01", 10),
        ("before", "2026-03-01", "2026-03-15", 0),
        ("short", "2026-03-01", "2026-03-15", 0),
        ("short", "2026-03-15", "2026-03-16", 10),
    )
    found = converted(frame)

    assert (100, 1, {"had paid before": 1}) == (found.value, found.n, found.excluded)


def test_a_trial_that_is_paid_for_early_ended_then():
    frame = trials(("a", "2026-03-01", "2026-04-15", 0), ("a", "2026-03-10", None, 10))
    assert 100 == converted(frame, variant="ended_window").value


def test_what_is_needed_for_trials_is_asked_for():
    with pytest.raises(TableError, match="column is_trial is missing"):
        converted(contracts(("a", "2026-03-01", None, 0)))
    with pytest.raises(TableError, match="within_days and grace_days should not be negative"):
        converted(many_trials(1, 1), within_days=-1)


def trials_oracle(frame, days):
    """First trial per customer; paid within so many days of its start?"""
    started = frame[frame["is_trial"]].groupby("customer_id")["started_at"].min()
    paid = frame[~frame["is_trial"]].groupby("customer_id")["started_at"].min()
    both = pd.DataFrame({"started": started, "paid": paid}).dropna(subset="started")
    asked = both[both["started"].between("2026-03-01", "2026-03-31")]
    asked = asked[~(asked["paid"] < asked["started"])]
    within = asked["paid"] <= asked["started"] + pd.Timedelta(days=days)
    return int(within.sum()), len(asked)


@pytest.mark.parametrize(("seed", "shift", "days"), [(0, 0, 30), (1, 3, 10), (2, -4, 14)])
def test_conversions_are_those_of_looking_at_each_first_trial(seed, shift, days):
    rng = np.random.default_rng(seed)
    n = 200
    first = pd.Timestamp("2026-02-10") + pd.to_timedelta(rng.integers(0, 60, n) + shift, unit="D")
    end = first + pd.to_timedelta(rng.integers(1, 30, n), unit="D")
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{at}" for at in rng.integers(0, 90, n)],
            "started_at": first,
            "ended_at": end,
            "is_trial": rng.random(n) < 0.6,
        }
    )
    frame["mrr"] = np.where(frame["is_trial"], 0.0, 10.0)
    found = converted(frame, within_days=days)

    assert trials_oracle(frame, days) == (found.numerator, found.denominator)
    assert found.denominator > 5
