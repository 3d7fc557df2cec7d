"""The same month under four vendors' rules: what each counts, and who makes the difference."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from money_tables import OCTOBER, contracts, random_contracts

from retain.errors import TableError
from retain.metrics import RULES, same_month
from retain.metrics.vendors import FIGURES, VENDORS


def random_company(seed, n=120):
    """Contracts with notices and discounts, payments some of which fail."""
    rng = np.random.default_rng(seed)
    planted = contracts(
        ("twice", "2026-09-01", "2026-10-03", 10),
        ("twice", "2026-10-05", "2026-10-09", 10),
        ("back", "2026-09-01", "2026-10-03", 10),
        ("back", "2026-10-20", None, 10),
        ("again", "2025-09-01", "2025-10-03", 10),
        ("again", "2026-10-20", None, 10),
    )
    n += len(planted)
    frame = pd.concat([random_contracts(seed, n - len(planted)), planted], ignore_index=True)
    ahead = pd.to_timedelta(rng.integers(0, 40, n), unit="D")
    frame["cancelled_at"] = (frame["ended_at"] - ahead).where(
        (rng.random(n) < 0.6) & frame["customer_id"].str.startswith("c")
    )
    frame["end_reason"] = np.where(rng.random(n) < 0.1, "replaced", "voluntary")
    frame["promotion"] = np.where(rng.random(n) < 0.3, 5.0, 0.0)
    payments = pd.DataFrame(
        {
            "customer_id": rng.choice(frame["customer_id"], n),
            "paid_at": pd.Timestamp("2026-08-01") + pd.to_timedelta(rng.integers(0, 92, n), "D"),
            "amount": 10.0,
            "status": rng.choice(["paid", "failed"], n),
        }
    )
    return frame, payments


def month(*spans, vendors=VENDORS, **given):
    return same_month(contracts(*spans), OCTOBER, vendors=vendors, **given)


def figures(found, name):
    return [found.figures[vendor][name] for vendor in VENDORS]


def test_one_month_of_leavers_returners_and_joiners_has_four_churn_rates():
    spans = [(f"a{at}", "2026-01-01", "2026-10-10" if at < 25 else None, 10) for at in range(500)]
    spans += [(f"a{at}", "2026-10-20", None, 10) for at in range(2)]
    spans += [(f"n{at}", "2026-10-05", "2026-10-25" if at < 5 else None, 10) for at in range(100)]
    found = month(*spans)

    assert [5, Fraction(23, 5), 5, 6] == figures(found, "customer_churn_rate")
    assert [30, 23, 25, 30] == figures(found, "customers_churned")
    assert [1000, 1000, 950, 1000] == figures(found, "new_mrr")
    assert [300, 300, 250, 300] == figures(found, "churn_mrr")
    assert [5720] * 4 == figures(found, "mrr_end")


def test_a_finite_discount_is_revenue_for_stripe_alone():
    frame = contracts(("a", "2026-01-01", None, 50)).assign(promotion=50)
    found = same_month(frame, OCTOBER, finite_discount="promotion")

    assert [100, 50, 50, 50] == figures(found, "mrr_end")


def test_a_notice_ends_revenue_at_once_for_stripe_alone():
    frame = contracts(("a", "2026-01-01", "2026-12-01", 50), ("b", "2026-01-01", None, 50))
    frame["cancelled_at"] = [pd.Timestamp("2026-10-20"), pd.NaT]
    found = same_month(frame, OCTOBER)
    lines = found.differences("stripe", "chartmogul")

    assert [50, 100, 100, 100] == figures(found, "mrr_end")
    assert [50, 0, 0, 0] == figures(found, "customer_churn_rate")
    assert [("counts_until: cancellation -> end of service", "a", 50)] == [
        tuple(line) for line in lines[lines["figure"] == "mrr_end"].values[:, 1:]
    ]


def test_a_contract_that_was_replaced_is_not_cancelled_by_its_notice():
    frame = contracts(("a", "2026-01-01", "2026-12-01", 50))
    frame["cancelled_at"], frame["end_reason"] = pd.Timestamp("2026-10-20"), "replaced"

    assert [50] * 4 == figures(same_month(frame, OCTOBER), "mrr_end")


def test_a_customer_past_due_for_thirty_days_is_gone_for_baremetrics_until_it_pays():
    payments = pd.DataFrame(
        {
            "customer_id": ["never", "never", "late", "late", "soon", "soon"],
            "paid_at": pd.to_datetime(
                ["2026-09-10", "2026-09-20", "2026-08-25", "2026-10-25", "2026-09-25", "2026-10-02"]
            ),
            "amount": 50,
            "status": ["failed", "failed", "failed", "paid", "failed", "paid"],
        }
    )
    spans = [(who, "2026-01-01", None, 50) for who in ("never", "late", "soon")]
    found = month(*spans, payments=payments)

    assert [150, 150, 150, 100] == figures(found, "mrr_end")
    assert [150, 150, 150, 100] == figures(found, "mrr_start")
    assert 50 == found.figures["baremetrics"]["reactivation_mrr"]
    assert 50 == found.figures["baremetrics"]["churn_mrr"]


@pytest.mark.parametrize("seed", range(2))
def test_every_difference_is_the_sum_of_what_customers_make_of_it(seed):
    frame, payments = random_company(seed)
    found = same_month(frame, OCTOBER, payments=payments, finite_discount="promotion")
    table = found.table()

    assert list(FIGURES) == list(table.index)
    assert ["unit", *VENDORS] == list(table.columns)
    seen = set()
    for one, other in itertools.permutations(VENDORS, 2):
        lines = found.differences(one, other)
        sums = lines.groupby("figure")["amount"].agg(lambda amounts: sum(amounts, Fraction(0)))
        assert dict(table[other] - table[one]) == {
            name: sums.get(name, Fraction(0)) for name in FIGURES
        }
        assert not lines[["figure", "rule", "customer_id"]].duplicated().any()
        seen |= {rule.split(":")[0] for rule in lines["rule"]}
    assert set(RULES["stripe"].__dataclass_fields__) == seen


def test_an_account_that_does_not_add_up_is_refused():
    found = month(("a", "2026-01-01", "2026-10-05", 50), ("b", "2026-01-01", None, 50))
    stripe = {**found.figures["stripe"], "mrr_end": Fraction(51)}
    wrong = replace(found, figures={**found.figures, "stripe": stripe})

    with pytest.raises(AssertionError, match="mrr_end: customers account for 0 of the diff"):
        wrong.differences("stripe", "profitwell")


def test_what_the_tables_cannot_show_is_said():
    found = month(("a", "2026-01-01", None, 50))

    for vendor in VENDORS:
        said = " ".join(found.not_shown[vendor])
        assert "no cancelled_at" in said
        assert "no column of finite discounts" in said
        assert "no payments with a status" in said
    assert "last 30 days" in " ".join(found.not_shown["stripe"])


def test_a_month_without_customers_has_no_rates_and_no_differences():
    found = month(("a", "2026-12-01", None, 50))

    assert [None] * 4 == figures(found, "customer_churn_rate")
    assert [0] * 4 == figures(found, "mrr_end")
    assert found.differences("stripe", "profitwell").empty


def test_unknown_vendors_and_columns_are_refused():
    with pytest.raises(TableError, match="vendors should be among stripe, chartmogul"):
        month(("a", "2026-12-01", None, 50), vendors=("recurly",))
    with pytest.raises(TableError, match="no figures of 'stripe'"):
        month(("a", "2026-12-01", None, 50), vendors=("profitwell",)).differences(
            "profitwell", "stripe"
        )
    with pytest.raises(TableError, match="column promo is missing"):
        month(("a", "2026-12-01", None, 50), finite_discount="promo")
