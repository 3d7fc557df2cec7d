"""Small sources for the metrics of use: what the battery needs to try them, and no more."""

from __future__ import annotations

import pandas as pd
from metric_examples import CUSTOMERS, Example

SINCE = pd.date_range("2026-07-20", periods=12, freq="8D")
WHO = CUSTOMERS.assign(signed_up_at=SINCE)


def use(customers: list[int], first: str, every: int, times: int, features: str) -> pd.DataFrame:
    """Use by customers, every so many hours, features in turn."""
    names = features.split()
    rows = [
        (f"c{who:02}", f"u{at % 2}", pd.Timestamp(first) + pd.Timedelta(hours=every * at), at)
        for who in customers
        for at in range(times)
    ]
    frame = pd.DataFrame(rows, columns=["customer_id", "user_id", "occurred_at", "feature"])
    return frame.assign(feature=frame.feature.map(lambda at: names[at % len(names)]))


USAGE = pd.concat(
    [
        use([0, 1], "2026-10-12T09:00", 100, 4, "login export"),
        use([2, 5], "2026-10-25T09:00", 20, 3, "search login"),
        use([6], "2026-09-15T09:00", 600, 2, "export"),
    ],
    ignore_index=True,
)
NOBODY = USAGE[:5].assign(user_id=None, occurred_at=pd.Timestamp("2026-10-27"))
# a row per customer and day is what is left out
LOST = {"usage": NOBODY[:1]}
OTHER_TIMES = {
    "usage": pd.concat(
        [
            use([7, 8], "2026-11-01T00:00", 1, 2, "login"),
            use([7, 8], "2025-10-12T09:00", 1, 2, "login"),
        ]
    )
}
TABLES = {"usage": USAGE, "customers": WHO}
LATER = {
    "customers": WHO[:2].assign(customer_id=["x1", "x2"], signed_up_at=pd.Timestamp("2026-11-01"))
}


def of_user_days(**given: object) -> Example:
    """An example of a metric that is read from user-days."""
    return Example(TABLES, refused=LOST, refused_because="no user", foreign=OTHER_TIMES, **given)


PRODUCT_EXAMPLES = {
    "active_users": of_user_days(empty=0),
    "stickiness": of_user_days(),
    "active_days": of_user_days(),
    "login_frequency": of_user_days(doubled="twice"),
    "session_length": of_user_days(),
    "time_in_product": of_user_days(),
    "feature_adoption": Example(
        TABLES, refused=LATER, refused_because="signed up later", foreign=OTHER_TIMES
    ),
    "account_breadth": Example(TABLES, foreign=OTHER_TIMES),
    "feature_depth": Example(TABLES, foreign=OTHER_TIMES, doubled="twice"),
    "feature_weeks": Example(TABLES, foreign=OTHER_TIMES),
    "time_to_adopt": Example(TABLES, foreign=OTHER_TIMES),
    "time_to_value": Example(TABLES, foreign=OTHER_TIMES),
}

HEALTH_EXAMPLES = {
    "health_score": Example(
        {
            "health": pd.DataFrame(
                {
                    "customer_id": CUSTOMERS.customer_id[:8],
                    "score": [10.0, 20.5, 80.0, 90.0, 33.3, 100.0, 0.0, 55.5],
                    "band": ["red", "red", "green", "green", None, "green", "red", "yellow"],
                }
            ),
            "customers": CUSTOMERS,
        },
        refused={
            "health": pd.DataFrame({"customer_id": ["x1"], "score": [float("nan")], "band": [None]})
        },
        refused_because="no score",
    )
}

DAY = pd.Timestamp("2026-10-05")
CASES = pd.DataFrame(
    {
        "customer_id": [f"c{at:02}" for at in (0, 1, 2, 5, 5, 6)],
        "interaction_id": [f"i{at}" for at in range(6)],
        "opened_at": DAY,
        "handle_minutes": [10.0, 20.5, 3.0, None, 8.0, 9.0],
    }
)
COSTS = pd.DataFrame(
    {
        "kind": ["support", "hosting", "retention", "rent"],
        "amount": [100.0, 25.5, 30.0, 7.0],
        "customer_id": [None, "c00", "c05", "c01"],
        "date": DAY,
        "already_in_cogs": False,
    }
)
PAYMENTS = pd.DataFrame(
    {
        "customer_id": ["c00", "c01", "c05", "c06"],
        "paid_at": DAY,
        "amount": [100.0, 250.5, 80.0, -20.0],
        "status": "paid",
    }
)
REFERRALS = pd.DataFrame(
    {
        "referrer_id": ["c00", "c00", "c05", "c07", "c05"],
        "referred_id": ["n1", "n2", "n3", "n4", "n5"],
        "referred_at": DAY,
        "evidence": ["tracked", "tracked", "tracked", "reference", "reference"],
    }
)
ANSWERS = pd.DataFrame(
    {"customer_id": ["c00", "c01", "c05"], "kind": "nps", "score": [9.0, 10.0, 9.0]}
).assign(answered_at=DAY)
NOT_PAID = PAYMENTS[:2].assign(customer_id=["x1", "x2"], status="failed")


VALUE_EXAMPLES = {
    "cost_to_serve": Example(
        {"interactions": CASES, "customers": WHO, "costs": COSTS},
        {"rate_per_minute": "0.8"},
        doubled="twice",
    ),
    "customer_roi": Example(
        {"payments": PAYMENTS, "customers": CUSTOMERS, "interactions": CASES, "costs": COSTS},
        {"rate_per_minute": "0.8"},
        refused={"payments": NOT_PAID},
        refused_because="not paid",
    ),
    "advocates": Example(
        {"surveys": ANSWERS, "referrals": REFERRALS, "customers": CUSTOMERS}, empty=0
    ),
    "referral_rate": Example(
        {"referrals": REFERRALS, "customers": WHO},
        refused=LATER,
        refused_because="signed up later",
        foreign={"referrals": REFERRALS.assign(referred_at=pd.Timestamp("2026-11-01"))},
    ),
}
