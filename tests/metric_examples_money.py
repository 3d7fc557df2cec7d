"""Small sources for the metrics of contracts, costs and trials."""

from __future__ import annotations

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
    (10, "2026-02-01", "2026-10-10", 80),
    (11, "2026-02-01", "2026-10-12", 60),
    (11, "2026-10-12", None, 30),
    (0, "2026-10-14", None, 25.5),
    (1, "2026-10-20", None, 10),
    (2, "2026-10-20", None, 5),
    (3, "2026-10-02", "2026-10-20", 7),
    (5, "2026-10-02", "2026-10-20", 7),
    (12, "2026-10-15", None, 44),
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

MONEY_EXAMPLES = {
    "mrr": Example(**ON_CONTRACTS, empty=0),
    "mrr_movement": Example(**ON_CONTRACTS, empty=0),
    "customer_churn_rate": Example(**ON_CONTRACTS),
    "customer_retention_rate": Example(**ON_CONTRACTS),
    "mrr_churn_rate": Example(**ON_CONTRACTS),
    "gross_revenue_retention": Example(**ON_CONTRACTS),
    "net_revenue_retention": Example(**ON_CONTRACTS),
    "quick_ratio": Example(**ON_CONTRACTS),
}
