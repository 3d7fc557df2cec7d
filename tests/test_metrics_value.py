"""Cost to serve, the customer's ledger and advocacy: by hand, then in pandas and decimals."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.errors import TableError
from retain.metrics import Period
from retain.metrics.advocacy import advocates, referral_rate
from retain.metrics.roi import customer_ledger, customer_roi
from retain.metrics.serving import cost_to_serve, factor

OCTOBER = Period.month("2026-10")
YEAR = Period(date(2026, 1, 1), date(2027, 1, 1))
DAY = pd.Timestamp("2026-10-05")


def cases(minutes, customer="a", opened=DAY):
    return pd.DataFrame(
        {
            "customer_id": customer,
            "interaction_id": [f"i{at}" for at in range(len(minutes))],
            "opened_at": opened,
            "handle_minutes": minutes,
        }
    )


def spent(*rows, on=DAY):
    columns = ["kind", "amount", "customer_id", "already_in_cogs"]
    lines = [(*row, *[None, False][len(row) - 2 :]) for row in rows]
    return pd.DataFrame(lines, columns=columns).assign(date=on)


def paid(*amounts, customer="a", on=DAY, **columns):
    return pd.DataFrame({"customer_id": customer, "paid_at": on, "amount": amounts, **columns})


# ---- cost to serve -------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 7])
def test_minutes_hours_hosting_and_fees_come_to_529(times):
    found = cost_to_serve(
        cases([25] * 10 * times),
        OCTOBER,
        payments=paid(*[1000] * times),
        costs=spent(*[("hosting", 120, "a")] * times, ("support", 5000)),
        work=pd.DataFrame({"customer_id": "a", "at": DAY, "hours": [2.0] * times}),
        rate_per_minute="0.80",
        rate_per_hour=90,
        fee_share=0.029,
    )

    assert 529 * times == found.value
    parts = {"minutes": 200, "hours": 180, "cost lines": 120, "fees": 29}
    assert {one: many * times for one, many in parts.items()} == {
        one: found.parts[one] for one in parts
    }
    assert 5000 + 120 * times == found.parts["cost table"]
    assert 5000 - 409 * times == found.parts["residual"]


@pytest.mark.parametrize("scale", [1, 3])
def test_the_average_of_120000_over_3000_customers_is_40(scale):
    customers = pd.DataFrame(
        {"customer_id": range(3000 * scale), "segment": ["x", None, "y"] * 1000 * scale}
    )
    found = cost_to_serve(
        cases([]).astype({"handle_minutes": float}),
        OCTOBER,
        customers=customers,
        costs=spent(("support", 100_000 * scale), ("hosting", 20_000 * scale), ("rent", 9)),
        variant="average",
        by="segment",
    )

    assert 40 == found.value
    assert [40, 40, 40] == [one.value for one in found.segments]


def test_who_is_divided_by_was_a_customer_or_caused_a_cost():
    customers = pd.DataFrame(
        {
            "customer_id": ["idle", "gone", "back", "new", "served though gone"],
            "signed_up_at": pd.to_datetime(["2026-01-01"] * 3 + ["2026-11-01", "2026-01-01"]),
        }
    )
    departures = pd.DataFrame(
        {
            "customer_id": ["gone", "back", "served though gone"],
            "left_at": pd.to_datetime(["2026-05-01"] * 3),
            "returned_at": pd.to_datetime([None, "2026-07-01", None]),
        }
    )
    found = cost_to_serve(
        cases([10, 20], ["served though gone", "unknown"]),
        OCTOBER,
        customers=customers,
        departures=departures,
        rate_per_minute=1,
    )

    assert Fraction(30, 4) == found.value
    assert {"had left": 1, "signed up later": 1} == found.excluded
    assert ("served though gone", "unknown") == found.ids().numerator


def test_what_is_missing_for_a_cost_to_serve_is_said():
    with pytest.raises(TableError, match="needs rate_per_minute"):
        cost_to_serve(cases([1]), OCTOBER)
    with pytest.raises(TableError, match="needs the costs table"):
        cost_to_serve(cases([1]), OCTOBER, variant="average")
    for wrong in (-1, "much", float("nan"), "0.0000001", None):
        with pytest.raises(TableError, match="rate should be a number from 0, with at most six"):
            factor(wrong, "rate")
    with pytest.raises(TableError, match="fee_share should be a number from 0 and at most 1"):
        cost_to_serve(cases([1]), OCTOBER, rate_per_minute=1, fee_share=2.9)


# ---- the ledger ----------------------------------------------------------------------------------


def the_example(**more):
    """Revenue 12,000 at 80 %; service 1,500; retention 400; 3,000 over five years."""
    given = {
        "customers": pd.DataFrame(
            {
                "customer_id": ["a"],
                "signed_up_at": pd.to_datetime(["2024-02-10"]),
                "acquisition_cost": [3000],
            }
        ),
        "costs": spent(("support", 1500, "a"), ("retention", 400, "a")),
        "gross_margin": 0.8,
        **more,
    }
    return paid(*[1000] * 12), given


REFERRAL = pd.DataFrame(
    {
        "referrer_id": ["a"],
        "referred_id": ["b"],
        "referred_at": [DAY],
        "evidence": ["tracked"],
        "value": [1125],
    }
)


def test_a_contribution_of_7100_on_2500_is_284_percent_and_320_with_a_referral_of_900():
    payments, given = the_example(referrals=REFERRAL)
    found = customer_ledger(payments, YEAR, **given)
    account = found.customers.iloc[0]

    assert (12000, 9600) == (account.revenue, account.gross_margin)
    assert (1500, 400, 600, 2500) == (
        account.service,
        account.retention,
        account.acquisition,
        account.costs,
    )
    assert (7100, Fraction(284)) == (account.contribution, account.roi)
    assert (900, Fraction(320)) == (account.advocacy, account.roi_with_advocacy)
    assert Fraction(284) == customer_roi(payments, YEAR, **given).value
    assert Fraction(320) == customer_roi(payments, YEAR, variant="with_advocacy", **given).value


def test_every_line_knows_its_row():
    payments, given = the_example(referrals=REFERRAL, interactions=cases([25]), rate_per_minute=2)
    payments = payments.assign(payment_id=[f"p{at}" for at in range(12)])
    lines = customer_ledger(payments, YEAR, **given).lines("a")

    assert {"payments", "costs", "customers", "referrals", "interactions"} == set(lines.source)
    revenue = lines[lines.line == "revenue"]
    assert {f"p{at}" for at in range(12)} == set(revenue.id)
    assert Decimal(12000) == sum(revenue.amount)
    assert ["i0"] == lines[lines.source == "interactions"].id.tolist()
    assert "payments p0" in customer_roi(payments, YEAR, **given).ids().numerator
    assert lines.equals(customer_ledger(payments, YEAR, **given).lines(None))


def test_evidence_is_graded_and_a_promoter_is_worth_nothing_yet():
    referrals = pd.DataFrame(
        {
            "referrer_id": "a",
            "referred_id": ["b", "c", "d", "e"],
            "referred_at": DAY,
            "evidence": ["tracked", " Reference ", "hearsay", "promoter"],
            "value": 1000,
        }
    )
    surveys = pd.DataFrame({"customer_id": ["a"], "kind": "nps", "score": [10], "answered_at": DAY})
    found = customer_ledger(paid(100), OCTOBER, referrals=referrals, surveys=surveys)

    assert 1500 == found.totals["advocacy"]
    assert {"no evidence": 1} == found.excluded
    lines = found.lines("a")
    assert 0 == lines.amount[lines.source == "surveys"].item()


def test_one_referral_is_credited_once_to_the_best_evidence_then_the_earliest():
    def rows(*of):
        return pd.DataFrame(
            of, columns=["referrer_id", "referred_id", "evidence", "referred_at"]
        ).assign(referred_at=lambda t: pd.to_datetime(t.referred_at), value=100)

    referrals = rows(
        ("early", "n", "reference", "2026-10-01"),
        ("tracker", "n", "tracked", "2026-10-03"),
        ("late", "n", "tracked", "2026-10-09"),
        ("again", "m", "tracked", "2026-10-02"),
        ("again", "m", "tracked", "2026-10-03"),
    )
    found = customer_ledger(paid(1), OCTOBER, referrals=referrals)
    credit = found.customers.set_index("customer_id").advocacy

    assert {"a": 0, "again": 100, "early": 0, "late": 0, "tracker": 100} == credit.to_dict()
    assert {"credited once already": 3} == found.excluded
    before = rows(("first", "n", "tracked", "2026-08-01"), ("second", "n", "tracked", "2026-10-01"))
    assert 0 == customer_ledger(paid(1), OCTOBER, referrals=before).totals["advocacy"]


def test_costs_already_in_the_cost_of_goods_are_not_counted_twice():
    costs = spent(
        ("support", 50, "a", True), ("support", 30, "a", False), ("hosting", 9, None, True)
    )
    found = customer_ledger(paid(100), OCTOBER, costs=costs)
    assert 30 == found.totals["service"]
    assert {"already in cost of goods": 1} == found.excluded
    table = found.reconciliation.set_index("purpose")
    assert 59 == table.cost_table["already in cost of goods"]

    minutes = {"interactions": cases([10]), "rate_per_minute": 2}
    assert 20 == customer_ledger(paid(100), OCTOBER, **minutes).totals["service"]
    inside = customer_ledger(paid(100), OCTOBER, **minutes, service_in_cogs=True)
    assert (0, {"already in cost of goods": 1}) == (inside.totals["service"], inside.excluded)


def test_refunds_count_and_what_was_not_paid_does_not():
    payments = paid(100, -30, 50, 7, status=["paid", "refunded", "failed", "pending"])
    found = customer_ledger(payments, OCTOBER, gross_margin=0.5)
    assert (70, 35) == (found.totals["revenue"], found.totals["gross_margin"])
    assert {"not paid": 4} == found.excluded


def test_a_payments_own_cost_goes_before_the_margin():
    found = customer_ledger(paid(100, 100, cost=[70, None]), OCTOBER, gross_margin=0.9)
    assert 80 == found.totals["cost_of_goods"]


def test_without_costs_the_roi_is_undefined_and_never_infinite():
    assert "no costs to divide by" == customer_roi(paid(100), OCTOBER).undefined_because
    assert customer_ledger(paid(100), OCTOBER).customers.roi[0] is None


@pytest.mark.parametrize(
    ("signed_up", "start", "end", "charged"),
    [
        ("2026-10-20", "2026-10-01", "2026-11-01", 100),  # the month of sign-up is the first
        ("2026-11-01", "2026-10-01", "2026-11-01", 0),
        ("2026-03-20", "2026-01-01", "2027-01-01", 1000),
        ("2025-11-30", "2026-10-01", "2026-11-01", 100),  # the twelfth and last
        ("2025-10-01", "2026-10-01", "2026-11-01", 0),
        ("2025-04-10", "2026-01-01", "2027-01-01", 300),
        ("2026-10-01", "2026-10-03", "2026-10-10", Decimal(1200 * 7) / 365),
        ("2026-10-05", "2026-10-03", "2026-10-10", Decimal(1200 * 5) / 365),
    ],
)
def test_an_acquisition_of_1200_is_written_off_in_a_year(signed_up, start, end, charged):
    customers = pd.DataFrame(
        {
            "customer_id": ["a"],
            "signed_up_at": [pd.Timestamp(signed_up)],
            "acquisition_cost": [1200],
        }
    )
    period = Period(date.fromisoformat(start), date.fromisoformat(end))
    found = customer_ledger(paid(1), period, customers=customers, acquisition_years=1)
    assert float(charged) == pytest.approx(float(found.totals["acquisition"]), abs=2e-6)


def test_the_expected_future_value_is_shown_beside():
    scores = pd.DataFrame({"customer_id": ["a", "z"], "clv": [512.25, float("nan")]})
    found = customer_ledger(paid(1), OCTOBER, clv=scores)
    assert Decimal("512.25") == found.customers.expected_future_value[0]
    with pytest.raises(TableError, match="clv: a come more than once"):
        customer_ledger(paid(1), OCTOBER, clv=pd.concat([scores, scores]))


def test_a_wrong_number_of_years_is_refused():
    with pytest.raises(TableError, match="acquisition_years should be a whole number from 1"):
        customer_ledger(paid(1), OCTOBER, acquisition_years=0)


def ledger_oracle(payments, costs, interactions, margin, rate):
    """The sums of each customer, row by row in decimals."""
    sums = defaultdict(lambda: defaultdict(Decimal))
    for one in payments.itertuples():
        if one.status in ("paid", "refunded"):
            sums[one.customer_id]["revenue"] += Decimal(str(one.amount))
            sums[one.customer_id]["goods"] += Decimal(str(one.amount)) * (1 - margin)
    for one in interactions.dropna(subset="handle_minutes").itertuples():
        sums[one.customer_id]["service"] += Decimal(str(one.handle_minutes)) * rate
    purposes = {"support": "service", "retention": "retention", "sales": "acquisition"}
    for one in costs[~costs.already_in_cogs].dropna(subset="customer_id").itertuples():
        if one.kind in purposes:
            sums[one.customer_id][purposes[one.kind]] += Decimal(str(one.amount))
    return sums


amounts = st.decimals(-500, 5000, places=2)
who = st.sampled_from(["a", "b", "c"])


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(who, amounts, st.sampled_from(["paid", "failed", "refunded"])),
        min_size=1,
        max_size=8,
    ),
    st.lists(
        st.tuples(
            st.sampled_from(["support", "retention", "sales", "rent"]),
            amounts,
            st.none() | who,
            st.booleans(),
        ),
        max_size=8,
    ),
    st.lists(st.tuples(who, st.none() | st.integers(0, 300)), max_size=6),
    st.decimals(0, 1, places=3),
    st.decimals(0, 3, places=2),
)
def test_the_ledger_and_its_residual_are_the_cost_table(bought, lines, handled, margin, rate):
    payments = pd.DataFrame(bought, columns=["customer_id", "amount", "status"]).assign(paid_at=DAY)
    costs = pd.DataFrame(lines, columns=["kind", "amount", "customer_id", "already_in_cogs"])
    costs = costs.astype({"customer_id": "str" if len(lines) else object}).assign(date=DAY)
    costs["customer_id"] = [line[2] for line in lines]
    costs["already_in_cogs"] = costs.already_in_cogs.astype(bool)
    interactions = cases([m for _, m in handled], [w for w, _ in handled])
    interactions["handle_minutes"] = interactions.handle_minutes.astype("float64")
    found = customer_ledger(
        payments,
        OCTOBER,
        costs=costs if len(lines) else None,
        interactions=interactions if handled else None,
        gross_margin=margin,
        rate_per_minute=rate,
    )
    expected = ledger_oracle(payments, costs, interactions, margin, rate)

    for account in found.customers.itertuples():
        own = expected[account.customer_id]
        deducted = own["service"] + own["retention"] + own["acquisition"]
        assert own["revenue"] == account.revenue
        assert own["revenue"] - own["goods"] - deducted == account.contribution
        assert account.contribution == account.gross_margin - account.costs
    for name in ("revenue", "contribution", "service", "retention", "acquisition"):
        assert sum(found.customers[name]) == found.totals[name]
    for row in found.reconciliation.itertuples():
        of_lines = [
            Decimal(str(a)) for k, a, _, inside in lines if purpose_of(k, inside) == row.purpose
        ]
        assert sum(of_lines, Decimal(0)) == row.cost_table
        assert row.cost_table == row.in_ledger + row.residual
    assert sum((Decimal(str(a)) for _, a, _, _ in lines), Decimal(0)) == sum(
        found.reconciliation.cost_table
    )
    assert found.rows_in == found.used + sum(found.excluded.values()) == len(found.lines(None))


def purpose_of(kind, inside):
    if inside:
        return "already in cost of goods"
    return {"support": "service", "sales": "acquisition", "rent": "other"}.get(kind, kind)


@pytest.mark.parametrize("seed", range(3))
def test_segments_of_the_ledger_are_ledgers_of_segments(seed):
    rng = np.random.default_rng(seed)
    payments = paid(
        *rng.integers(-50, 900, 60).tolist(), customer=[f"c{at % 7}" for at in range(60)]
    )
    costs = spent(*[("support", int(rng.integers(1, 90)), f"c{at % 7}") for at in range(20)])
    customers = pd.DataFrame(
        {"customer_id": [f"c{at}" for at in range(7)], "segment": [*"xxyyz", None, None]}
    )
    whole = customer_roi(payments, OCTOBER, customers=customers, costs=costs, by="segment")
    for one in whole.segments:
        inside = customers[customers.segment.fillna("(none)") == one.by["segment"]].customer_id
        alone = customer_roi(
            payments[payments.customer_id.isin(inside)],
            OCTOBER,
            costs=costs[costs.customer_id.isin(inside)],
        )
        assert (alone.value, alone.numerator) == (one.value, one.numerator)


# ---- advocacy ------------------------------------------------------------------------------------


def spoke():
    referrals = pd.DataFrame(
        {
            "referrer_id": ["a", "a", "b", "c", "d"],
            "referred_id": ["n1", "n2", "n3", "n3", "n4"],
            "referred_at": [DAY] * 4 + [pd.Timestamp("2026-09-30")],
            "evidence": ["tracked", "tracked", "reference", "tracked", "tracked"],
        }
    )
    surveys = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b", "c", "d"],
            "kind": ["nps", "nps", "nps", "csat", "nps"],
            "score": [9.0, 3.0, 10.0, 5.0, 11.0],
            "answered_at": [DAY, DAY + pd.Timedelta(days=1), DAY, DAY, DAY],
        }
    )
    return surveys, referrals


def test_advocates_are_customers_by_what_is_known_of_them():
    surveys, referrals = spoke()
    found = {v: advocates(surveys, referrals, OCTOBER, variant=v) for v in advocates.variants}

    assert {"tracked_referrals": 2, "references": 0, "promoters": 1} == {
        name: one.value for name, one in found.items()
    }
    assert {"rows": 3} == found["tracked_referrals"].parts
    assert {"credited once already": 1} == found["tracked_referrals"].excluded
    assert ("b",) == found["promoters"].ids().numerator


@pytest.mark.parametrize("copies", [1, 5])
def test_2_of_8_customers_referred_somebody(copies):
    _, referrals = spoke()
    customers = pd.DataFrame(
        {"customer_id": [f"{at}" for at in range(8 * copies - 5)] + list("abcde")}
    )
    found = referral_rate(referrals, customers, OCTOBER)

    assert Fraction(100 * 2, 8 * copies) == found.value
    assert {"referrals": 3} == found.parts
    assert found.low < found.value < found.high
    assert 2 == referral_rate(referrals, customers, OCTOBER, variant="any_evidence").numerator
