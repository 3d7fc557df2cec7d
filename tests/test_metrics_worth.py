"""Value of a customer and what it costs: the reference's examples first."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from money_tables import OCTOBER, contracts, random_contracts

from retain.errors import TableError
from retain.metrics import Period
from retain.metrics.lifetime import clv_formula, exact, lifetime_lift
from retain.metrics.logos import customer_churn_rate
from retain.metrics.spending import cac, cac_payback, customer_retention_cost, ltv_to_cac
from retain.metrics.value import arpa, clv, predicted_clv, retention_break_even

# ---- formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("variant", "money", "others", "shown"),
    [
        ("revenue_years", {"yearly_revenue": 1000}, {"years": 5}, "5,000.00"),
        ("arpa_over_churn", {"arpa": 100}, {"monthly_churn": 0.05}, "2,000.00"),
        (
            "margin_over_churn",
            {"arpa": 100},
            {"gross_margin": 0.8, "monthly_churn": 0.05},
            "1,600.00",
        ),
        ("net_of_service", {"arpa": 99, "cost_to_serve": 10}, {"monthly_churn": 0.1}, "890.00"),
        ("discounted_end", {"margin": 80}, {"retention": 0.95, "discount": 0.01}, "1,266.67"),
        ("discounted_now", {"margin": 80}, {"retention": 0.95, "discount": 0.01}, "1,346.67"),
        (
            "finite_horizon",
            {"margin": 80},
            {"retention": 0.95, "discount": 0.01, "periods": 12},
            "659.25",
        ),
        (
            "finite_horizon",
            {"margin": 80},
            {"retention": 0.95, "discount": 0.01, "periods": 12, "first_payment": "now"},
            "700.88",
        ),
        ("dynamics_baseline", {"monthly_purchase": 50}, {"months": 12, "retention": 0.8}, "480.00"),
    ],
)
def test_every_formula_gives_the_figure_of_its_author(variant, money, others, shown, times):
    once = clv_formula(variant, **money, **others)
    scaled = clv_formula(variant, **{name: times * m for name, m in money.items()}, **others)

    assert shown == once.display()
    assert times * once.value == scaled.value


def test_a_cohort_has_brought_what_it_has_brought_so_far():
    found = clv_formula("cohort_to_date", margins=[8000, 7600, 7200], cohort_size=100)
    assert 228 == found.value


def test_the_value_at_the_mean_churn_is_not_the_mean_value():
    low, high = (clv_formula("arpa_over_churn", arpa=100, monthly_churn=c) for c in (0.01, 0.09))

    assert 2000 == clv_formula("arpa_over_churn", arpa=100, monthly_churn=0.05).value
    assert Fraction(50000, 9) == (low.value + high.value) / 2


def test_the_discounted_forms_are_the_limits_of_the_finite_sum():
    given = {"margin": 80, "retention": 0.9, "discount": 0.01}
    for variant, payment in (("discounted_end", "end"), ("discounted_now", "now")):
        finite = clv_formula("finite_horizon", **given, periods=300, first_payment=payment)
        assert float(clv_formula(variant, **given).value) == pytest.approx(float(finite.value))


def test_survival_may_be_given_instead_of_one_retention():
    curve = clv_formula("finite_horizon", margin=80, discount=0.01, survival=["0.9", "0.81"])
    rate = clv_formula("finite_horizon", margin=80, discount=0.01, retention=0.9, periods=2)

    assert rate.value == curve.value


@given(
    st.integers(0, 10**6), st.integers(1, 99), st.integers(0, 30), st.integers(0, 24), st.booleans()
)
def test_the_finite_sum_is_that_of_paying_month_by_month(margin, kept, discount, periods, now):
    total = Fraction(0)
    for month in range(periods):
        paid_at = month if now else month + 1
        alive_then = Fraction(kept, 100) ** paid_at
        total += margin * alive_then / Fraction(100 + discount, 100) ** paid_at
    found = clv_formula(
        "finite_horizon",
        margin=margin,
        retention=Fraction(kept, 100),
        discount=Fraction(discount, 100),
        periods=periods,
        first_payment="now" if now else "end",
    )
    assert total == found.value


def test_without_churn_or_discount_there_is_no_end_and_no_value():
    for variant, given_ in (
        ("arpa_over_churn", {"arpa": 1, "monthly_churn": 0}),
        ("discounted_end", {"margin": 1, "retention": 1, "discount": 0}),
        ("cohort_to_date", {"margins": [1], "cohort_size": 0}),
    ):
        assert clv_formula(variant, **given_).value is None


@pytest.mark.parametrize(
    ("variant", "parameters", "said"),
    [
        ("arpa_over_churn", {"arpa": 1}, "missing monthly_churn; unknown none"),
        ("revenue_years", {"yearly_revenue": 1, "years": 1, "churn": 1}, "unknown churn"),
        ("arpa_over_churn", {"arpa": 1, "monthly_churn": 5}, "monthly_churn should be a share"),
        ("arpa_over_churn", {"arpa": -1, "monthly_churn": 0.5}, "arpa should not be negative"),
        ("arpa_over_churn", {"arpa": "x", "monthly_churn": 0.5}, "should be a finite number"),
        ("arpa_over_churn", {"arpa": float("inf"), "monthly_churn": 0.5}, "a finite number"),
        (
            "margin_over_churn",
            {"arpa": 1, "gross_margin": 80, "monthly_churn": 0.5},
            "gross_margin should be a share, at most 1",
        ),
        ("finite_horizon", {"margin": 1, "discount": 0}, "give retention and periods, or survival"),
        (
            "finite_horizon",
            {"margin": 1, "discount": 0, "survival": [1], "first_payment": "later"},
            "first_payment should be 'end' or 'now'",
        ),
        ("cohort_to_date", {"margins": [1], "cohort_size": 1.5}, "should be a whole number"),
        ("leavers", {}, "no variant 'leavers'"),
    ],
)
def test_a_formula_refuses_what_it_cannot_use(variant, parameters, said):
    with pytest.raises(TableError, match=said):
        clv_formula(variant, **parameters)


def test_a_number_is_read_as_it_is_written():
    assert Fraction(1, 20) == exact(0.05) == exact("0.05") == exact(Decimal("0.05"))


@pytest.mark.parametrize(
    ("stay", "rise", "longer"),
    [
        ("0.6", {"points": "0.05"}, Fraction(1, 7)),
        ("0.8", {"points": "0.05"}, Fraction(1, 3)),
        ("0.9", {"points": "0.05"}, 1),
        ("0.8", {"relative": "0.05"}, Fraction(1, 4)),
    ],
)
def test_five_points_more_retention_are_worth_what_the_base_makes_of_them(stay, rise, longer):
    assert longer == lifetime_lift(stay, **rise)


def test_a_lift_without_end_or_of_two_kinds_is_refused():
    with pytest.raises(TableError, match="retention should stay below 1"):
        lifetime_lift(0.97, points=0.05)
    with pytest.raises(TableError, match="either in points or relative"):
        lifetime_lift(0.9)


# ---- on data -------------------------------------------------------------------------------------


def base(n=100, price=100, lost=5):
    """So many who pay in October, and so many lost in each of the six months before."""
    spans = [(f"c{at}", "2025-01-01", None, price) for at in range(n)]
    for month in range(4, 10):
        spans += [
            (f"l{month}-{at}", "2025-01-01", f"2026-{month:02}-20", price) for at in range(lost)
        ]
    return contracts(*spans)


def costs(*lines):
    frame = pd.DataFrame(lines, columns=["date", "kind", "amount"])
    return frame.assign(date=pd.to_datetime(frame["date"]))


def test_revenue_per_account_divides_by_those_who_pay():
    frame = contracts(*[(f"c{at}", "2026-01-01", None, 100) for at in range(113)])
    free = contracts(("free", "2026-01-01", None, 0))
    found = arpa(pd.concat([frame, free]), OCTOBER)

    assert (100, 11_300, 113) == (found.value, found.numerator, found.denominator)
    assert "undefined: nobody pays" == arpa(free, OCTOBER).display()


def test_lifetime_value_takes_churn_from_the_months_before():
    # 30, 25, 20, 15, 10, 5 who will leave stood beside the 100 at the start of the months
    expected_churn = Fraction(30, 600 + 105)
    found = clv(base(), OCTOBER)

    assert expected_churn == found.parts["monthly_churn"]
    assert 100 / expected_churn == found.value
    assert 80 / expected_churn == (
        clv(base(), OCTOBER, variant="margin_over_churn", gross_margin=0.8).value
    )
    assert 90 / expected_churn == (
        clv(base(), OCTOBER, variant="net_of_service", cost_to_serve=10).value
    )
    for variant in ("discounted_end", "discounted_now", "finite_horizon"):
        given_ = {"gross_margin": 0.8, "monthly_discount": 0.01, "horizon_months": 12}
        formula = {"margin": 80, "retention": 1 - expected_churn, "discount": 0.01}
        if variant == "finite_horizon":
            formula["periods"] = 12
        assert clv_formula(variant, **formula).value == (
            clv(base(), OCTOBER, variant=variant, **given_).value
        )


@pytest.mark.parametrize("months", [1, 3])
def test_the_churn_behind_lifetime_value_is_that_of_the_months(months):
    frame = random_contracts(3, 150)
    by_month = [customer_churn_rate(frame, OCTOBER.previous(n + 1)) for n in range(months)]
    expected = Fraction(
        sum(one.numerator for one in by_month), sum(one.denominator for one in by_month)
    )
    assert expected == clv(frame, OCTOBER, churn_months=months).parts["monthly_churn"]


def test_the_current_month_s_churn_is_not_in_lifetime_value():
    frame = base()
    frame.loc[0, "ended_at"] = pd.Timestamp("2026-10-10")

    before, after = clv(base(), OCTOBER), clv(frame, OCTOBER)
    assert before.parts["monthly_churn"] == after.parts["monthly_churn"]


def test_lifetime_value_is_undefined_where_something_is_missing():
    assert "undefined: gross_margin is not given" == (
        clv(base(), OCTOBER, variant="discounted_end").display()
    )
    assert "nobody leaves" in clv(base(lost=0), OCTOBER).undefined_because
    young = contracts(("a", "2026-10-02", None, 10))
    assert "no churn rate" in clv(young, OCTOBER).undefined_because
    with pytest.raises(TableError, match="churn_months should be at least 1"):
        clv(base(), OCTOBER, churn_months=0)


def test_segments_show_what_one_rate_for_all_hides():
    steady = base(lost=1)
    restless = base(lost=9).assign(customer_id=lambda t: "r" + t["customer_id"])
    both = pd.concat([steady, restless])
    known = pd.DataFrame({"customer_id": both["customer_id"].unique()})
    known["segment"] = np.where(known["customer_id"].str.startswith("r"), "restless", "steady")
    found = clv(both, OCTOBER, by="segment", customers=known)

    values = {one.by["segment"]: one.value for one in found.segments}
    assert clv(steady, OCTOBER).value == values["steady"]
    assert found.value < sum(values.values()) / 2
    assert any("one churn rate for all" in note for note in found.notes)


def test_predictions_are_added_up_and_a_customer_counts_once():
    scores = pd.DataFrame(
        {"customer_id": [1, 2, 2, 3], "clv": [10.5, 20.0, 20.0, None], "band": ["a", "b", "b", "a"]}
    )
    found = predicted_clv(scores, OCTOBER, by="band")

    assert Decimal("30.5") == found.value
    assert {"no prediction": 1, "repeated customer": 1} == found.excluded
    assert {"a": Decimal("10.5"), "b": 20} == {o.by["band"]: o.value for o in found.segments}
    assert Fraction(61, 4) == predicted_clv(scores, OCTOBER, variant="mean").value
    assert predicted_clv(scores[:0], OCTOBER, variant="mean").value is None


def test_one_point_of_churn_is_worth_what_this_base_makes_of_it():
    frame = base()
    monthly = Fraction(30, 705)
    yearly = 1 - (1 - monthly) ** 12
    margin = 100 * 100 * 12 * Fraction(4, 5)
    found = retention_break_even(frame, OCTOBER, gross_margin="0.8")

    assert margin * (1 / (yearly - Fraction(1, 100)) - 1 / yearly) == found.value
    assert lifetime_lift(1 - yearly, points=0.01) == found.parts["lifetime_lift"]
    assert found.value / 100 == found.parts["per_customer"]
    year = retention_break_even(frame, OCTOBER, gross_margin="0.8", variant="next_year")
    assert 960 == year.value


def test_what_a_point_is_worth_is_undefined_where_churn_is_smaller_or_unknown():
    for frame, given_, said in (
        (base(), {}, "gross_margin is not given"),
        (base(lost=0), {"gross_margin": 1}, "nobody left"),
        (base(), {"gross_margin": 1, "points": 90}, "is not above 90 points"),
        (base()[:0], {"gross_margin": 1}, "nobody pays"),
    ):
        assert said in retention_break_even(frame, OCTOBER, **given_).undefined_because
    with pytest.raises(TableError, match="points should be above 0"):
        retention_break_even(base(), OCTOBER, gross_margin=1, points=0)


# ---- what winning and keeping costs --------------------------------------------------------------


def winning(n=1000, spent=200_000, price=100):
    frame = contracts(*[(f"n{at}", "2026-10-05", None, price) for at in range(n)])
    return costs(("2026-10-03", "acquisition", spent), ("2026-10-03", "support", 5)), frame


def test_winning_a_thousand_customers_for_two_hundred_thousand():
    spent, frame = winning()

    assert 200 == cac(spent, frame, OCTOBER).value
    assert Fraction(5, 2) == cac_payback(spent, frame, OCTOBER, gross_margin=0.8).value
    assert 2 == cac_payback(spent, frame, OCTOBER, variant="revenue").value
    assert "undefined: gross_margin is not given" == cac_payback(spent, frame, OCTOBER).display()


def test_value_to_cost_says_on_which_basis():
    # a price of 100, 1 of 20 lost in each month, 200 per new customer: 1,600 and 2,000 over 200
    spans = [(f"c{at}", "2025-01-01", None, 100) for at in range(19)]
    spans += [("l", "2025-01-01", "2026-09-10", 100), ("n", "2026-10-10", None, 100)]
    spent = costs(("2026-10-03", "acquisition", 200))

    frame = contracts(*spans)
    assert 8 == ltv_to_cac(spent, frame, OCTOBER, gross_margin=0.8, churn_months=1).value
    assert 10 == ltv_to_cac(spent, frame, OCTOBER, variant="revenue", churn_months=1).value
    nothing = ltv_to_cac(spent.assign(amount=0), frame, OCTOBER, gross_margin=0.8, churn_months=1)
    assert "undefined: nothing was spent on winning customers" == nothing.display()


def test_nobody_won_has_no_cost_and_the_kinds_and_the_lag_are_chosen():
    spent, frame = winning(n=10)
    spent = pd.concat([spent, costs(("2026-08-20", "acquisition", 700))])
    old = frame.assign(started_at=pd.Timestamp("2026-01-01"))

    assert "undefined: no new customers" == cac(spent, old, OCTOBER).display()
    assert Fraction(200_005, 10) == (
        cac(spent, frame, OCTOBER, kinds=("acquisition", "support")).value
    )
    assert 70 == cac(spent, frame, OCTOBER, lag_months=2).value
    with pytest.raises(TableError, match="needs a period of whole months"):
        cac(spent, frame, Period(date(2026, 10, 2), date(2026, 10, 9)), lag_months=1)


def keeping(times=1):
    """2.12 in small: 400 at the end of 370 kept; 20,000 spent."""
    spans = [(f"k{at}", "2025-01-01", None, 10) for at in range(37 * times)]
    spans += [(f"n{at}", "2026-10-01", None, 10) for at in range(3 * times)]
    spans += [(f"g{at}", "2025-01-01", "2026-10-01", 10) for at in range(2 * times)]
    return costs(("2026-10-03", "retention", 2000 * times)), contracts(*spans)


@pytest.mark.parametrize("times", [1, 5])
def test_keeping_customers_is_divided_by_those_kept_or_by_all(times):
    spent, frame = keeping(times)

    assert Fraction(2000, 37) == customer_retention_cost(spent, frame, OCTOBER).value
    assert 50 == customer_retention_cost(spent, frame, OCTOBER, variant="per_customer").value
    assert 500 == customer_retention_cost(spent, frame, OCTOBER, variant="of_revenue").value


def test_two_hundred_thousand_for_five_thousand_kept():
    spans = contracts(
        *[(f"c{at}", "2025-01-01", None, Fraction(2_500_000, 5400 * 12)) for at in range(54)]
    ).sample(frac=1, random_state=1)
    spans["customer_id"] = [f"c{at}" for at in range(54)]
    spans.iloc[:4, 1] = pd.Timestamp("2026-02-01")
    spent = costs(("2026-05-01", "retention", 2000))
    year = Period(date(2026, 1, 1), date(2027, 1, 1))

    assert 40 == customer_retention_cost(spent, spans, year).value
    assert "37.04" == customer_retention_cost(spent, spans, year, variant="per_customer").display()
    whole = spans.assign(started_at=pd.Timestamp("2025-01-01"))
    ratio = customer_retention_cost(spent, whole, year, variant="of_revenue")
    assert ("8.0", "25,000.00") == (ratio.display(), f"{float(ratio.denominator):,.2f}")


def test_revenue_of_a_period_is_mrr_by_days_of_service():
    frame = contracts(("a", "2026-09-16", "2026-11-16", 30), ("b", "2026-10-31", None, 31))
    spent = costs(("2026-10-03", "retention", 1))
    period = Period(date(2026, 9, 1), date(2026, 12, 1))
    found = customer_retention_cost(spent, frame, period, variant="of_revenue")

    # a: 15 of 30 days, a month, 15 of 30; b: a day of 31, a month
    assert 15 + 30 + 15 + 1 + 31 == found.denominator


def test_costs_that_the_margin_holds_already_are_not_counted_again():
    spent, frame = keeping()
    twice = pd.concat([spent.assign(already_in_cogs=False), spent.assign(already_in_cogs=True)])
    found = customer_retention_cost(twice, frame, OCTOBER)

    assert customer_retention_cost(spent, frame, OCTOBER).value == found.value
    assert {"already in cost of goods": 1} == found.excluded


@pytest.mark.parametrize(
    ("period", "belongs"), [("2026-10", 1), ("2026-Q4", 1), ("2026", 0), ("2026-11", 0)]
)
def test_a_cost_of_a_month_quarter_or_year_belongs_to_its_first_day(period, belongs):
    spent = pd.DataFrame({"period": [period], "kind": "acquisition", "amount": 10})
    _, frame = winning(n=1)

    assert 10 * belongs == cac(spent, frame, OCTOBER).value


def test_costs_without_a_day_or_an_amount_are_left_out():
    spent = pd.DataFrame(
        {"period": ["soon", "2026-10"], "kind": "acquisition", "amount": [10, None]}
    )
    _, frame = winning(n=1)
    assert {"no amount": 1, "no day": 1} == cac(spent, frame, OCTOBER).excluded
    with pytest.raises(TableError, match="column period is missing"):
        cac(spent.drop(columns="period"), frame, OCTOBER)


@pytest.mark.parametrize("seed", range(2))
def test_rates_of_costs_are_those_of_adding_up_by_hand(seed):
    frame = random_contracts(seed, 150)
    rng = np.random.default_rng(seed)
    spent = costs(
        *[
            (pd.Timestamp("2026-09-15") + pd.Timedelta(days=int(d)), "acquisition", int(a))
            for d, a in zip(rng.integers(0, 60, 40), rng.integers(1, 99, 40), strict=True)
        ]
    )
    first = frame.groupby("customer_id")["started_at"].min()
    won = first.between("2026-10-01", "2026-10-31").sum()
    money = spent.loc[spent["date"].between("2026-10-01", "2026-10-31"), "amount"].sum()
    runs = frame[(frame.started_at < "2026-11-01") & ~(frame.ended_at < "2026-11-01")]

    assert Fraction(int(money), int(won)) == cac(spent, frame, OCTOBER).value
    assert Fraction(runs["mrr"].sum()) / runs["customer_id"].nunique() == arpa(frame, OCTOBER).value


@pytest.mark.parametrize("metric", [cac, customer_retention_cost])
def test_a_segment_has_no_cost_of_its_own_where_some_costs_name_no_customer(metric):
    spans = contracts(("a", "2026-10-02", None, 10), ("b", "2026-10-03", None, 10),
                      ("c", "2026-01-01", None, 10), ("d", "2026-01-01", None, 10))  # fmt: skip
    known = pd.DataFrame({"customer_id": ["a", "b", "c", "d"], "tier": ["x", "y", "x", "y"]})
    spent = pd.DataFrame({"kind": "acquisition" if metric is cac else "retention",
                          "period": "2026-10", "amount": [30, 50, 20],
                          "customer_id": ["a", "b", None]})  # fmt: skip
    by = {"by": "tier", "customers": known}

    whole = metric(spent, spans, OCTOBER, **by)
    assert 50 == whole.value
    assert {None} == {one.value for one in whole.segments if one.by["tier"] in ("x", "y")}
    assert "20.00 of the costs name no customer, so no segment has its own" == (
        whole.segments[-1].undefined_because
    )
    named = metric(spent[:2], spans, OCTOBER, **by)
    assert {"x": 30, "y": 50} == {one.by["tier"]: one.value for one in named.segments}
