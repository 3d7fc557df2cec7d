"""Small sources for the metrics of contracts, costs and trials."""

from __future__ import annotations

from datetime import date

import pandas as pd
from metric_examples import CUSTOMERS, Example


def spans(*lines, **columns):
    """Contract spans: number of the customer, first day, first day without service, MRR."""
    frame = pd.DataFrame(lines, columns=["customer_id", "started_at", "ended_at", "mrr"])
    frame["customer_id"] = [f"c{at:02}" for at in frame["customer_id"]]
    frame["subscription_id"] = [f"s{at:02}" for at in range(len(frame))]
    for column in ("started_at", "ended_at"):
        frame[column] = pd.to_datetime(frame[column])
    return frame.assign(mrr=frame["mrr"].astype(float), **columns)


CONTRACTS = spans(
    *[(at, "2026-02-01", None, 100 + at) for at in range(10)],
    (8, "2025-02-01", "2025-05-01", 20),
    (10, "2026-02-01", "2026-10-10", 80),
    (11, "2026-02-01", "2026-10-12", 60),
    (11, "2026-10-12", None, 30),
    (0, "2026-10-14", None, 25.5),
    (1, "2026-10-20", None, 10),
    (2, "2026-10-20", None, 5),
    (3, "2026-10-02", "2026-10-20", 7),
    (5, "2026-10-02", "2026-10-20", 7),
    (12, "2026-10-15", None, 44),
    (4, "2026-02-01", "2026-05-01", 20),
    (12, "2026-02-01", "2026-07-01", 44),
    (6, "2025-02-01", "2025-11-01", 20),
    (13, "2026-10-15", "2026-10-25", 12),
    (14, "2025-02-01", "2025-04-01", 12),
    (14, "2026-10-03", None, 15),
    end_reason="voluntary",
)
NEGATIVE = spans((40, "2026-01-01", None, -5), (41, "2026-01-01", "2026-10-10", -1)).assign(
    subscription_id=["x0", "x1"]
)
ON_CONTRACTS = {
    "tables": {"subscriptions": CONTRACTS, "customers": CUSTOMERS},
    "refused": {"subscriptions": NEGATIVE},
    "refused_because": "negative MRR",
}
# terms end in the middle of October; the first of them goes on, the next is renewed, two are not
TERMS = spans(
    *[(at, "2025-10-15", None, 100 + at) for at in range(4)],
    (4, "2025-10-15", "2026-10-15", 80),
    (4, "2026-10-15", None, 90),
    (5, "2025-10-15", "2026-10-15", 60),
    (6, "2025-10-15", "2026-10-15", 60),
    (7, "2025-10-15", "2026-10-15", 60),
    (7, "2026-10-20", None, 50),
    billing_period="annual",
)
TRIED = spans(
    *[(at, "2026-10-02", "2026-10-16", 0) for at in range(12)],
    *[(at, "2026-10-16", None, 50) for at in (0, 2, 5)],
)
TRIED["is_trial"] = TRIED["mrr"] == 0
UNSOUND_TRIALS = spans((40, "2026-10-05", "2026-10-01", 0), is_trial=True).assign(
    subscription_id="x0"
)
SPENT = pd.DataFrame(
    {
        "date": pd.Timestamp("2026-10-05"),
        "kind": ["acquisition", "retention", "acquisition", "retention"],
        "amount": [500.0, 200.0, 100.0, 50.0],
        "customer_id": [None, None, "c00", "c01"],
    }
)
BAD_COSTS = pd.DataFrame({"kind": ["acquisition", "retention"], "amount": 10.0, "date": pd.NaT})
ON_COSTS = {
    "tables": {"costs": SPENT, "subscriptions": CONTRACTS, "customers": CUSTOMERS},
    "doubled": "twice",  # cost lines have no ids
    "refused": {"costs": BAD_COSTS.loc[:0]},
    "refused_because": "no day",
}
SCORES = pd.DataFrame(
    {"customer_id": CUSTOMERS["customer_id"], "clv": [100.5, 20, 0, 7, 8, 9.25] * 2}
)
NOTED = {"data_until": date(2026, 12, 31)}

MONEY_EXAMPLES = {
    "renewal_rate": Example(
        {"subscriptions": TERMS, "customers": CUSTOMERS},
        NOTED,
        refused={"subscriptions": NEGATIVE},
        refused_because="negative MRR",
    ),
    "trial_conversion_rate": Example(
        {"subscriptions": TRIED, "customers": CUSTOMERS},
        NOTED,
        refused={"subscriptions": UNSOUND_TRIALS},
        refused_because="ended before it started",
    ),
    "arpa": Example(**ON_CONTRACTS),
    "clv": Example(**ON_CONTRACTS, given={"gross_margin": 0.8, "cost_to_serve": 3}),
    "retention_break_even": Example(**ON_CONTRACTS, given={"gross_margin": 0.8}),
    "predicted_clv": Example(
        {"scores": SCORES, "customers": CUSTOMERS},
        refused={"scores": pd.DataFrame({"customer_id": ["x0"], "clv": [float("nan")]})},
        refused_because="no prediction",
    ),
    "cac": Example(**ON_COSTS),
    "ltv_to_cac": Example(**{**ON_COSTS, "doubled": "half"}, given={"gross_margin": 0.8}),
    "cac_payback": Example(**ON_COSTS, given={"gross_margin": 0.8}),
    "customer_retention_cost": Example(
        **{**ON_COSTS, "refused": {"costs": BAD_COSTS.loc[1:]}},
    ),
    "mrr": Example(**ON_CONTRACTS, empty=0),
    "mrr_movement": Example(**ON_CONTRACTS, empty=0),
    "customer_churn_rate": Example(**ON_CONTRACTS),
    "customer_retention_rate": Example(**ON_CONTRACTS),
    "mrr_churn_rate": Example(**ON_CONTRACTS),
    "gross_revenue_retention": Example(**ON_CONTRACTS),
    "net_revenue_retention": Example(**ON_CONTRACTS),
    "quick_ratio": Example(**ON_CONTRACTS),
}
