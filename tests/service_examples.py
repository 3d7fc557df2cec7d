"""The contacts on which every service metric is tried by the battery."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pandas as pd
from metric_examples import CUSTOMERS, Example

AT = pd.date_range("2026-10-05 09:00", periods=12, freq="D")
CASES = pd.DataFrame(
    {
        "customer_id": CUSTOMERS.customer_id,
        "interaction_id": [f"i{at:02}" for at in range(12)],
        "opened_at": AT,
        "first_response_at": AT + pd.to_timedelta([1, 2, 3, 4, 5, 6] * 2, unit="h"),
        "resolved_at": (AT + pd.to_timedelta([2, 90, 6, 8, 10, 12] * 2, unit="h")).where(
            [at % 7 != 5 for at in range(12)]
        ),
        "channel": ["mail", "phone", "chat"] * 4,
        "topic": ["bill", "login", "law", "bug"] * 3,
        "transfer_count": [0, 0, 2, 1, 0, 0] * 2,
        "reopen_count": [0, 0, 1, 0] * 3,
        "sla_met": [True, True, False] * 4,
    }
)
# of one customer: the same topic again after two days, through another channel
AGAIN = CASES[:1].assign(interaction_id="i99", opened_at=AT[2], channel="phone")
SERVED = {"interactions": pd.concat([CASES, AGAIN], ignore_index=True), "customers": CUSTOMERS}
# the same contacts told again: by their ids they are known
TOLD_TWICE = {"interactions": CASES[3:5].assign(transfer_count=0, reopen_count=0, topic="other")}
NEXT_YEAR = pd.DateOffset(years=1)
LATER = CASES[:3].assign(interaction_id=["l1", "l2", "l3"], opened_at=AT[:3] + NEXT_YEAR)
LATER = LATER.assign(first_response_at=pd.NaT, resolved_at=pd.NaT)
UNTIL = {"data_until": date(2026, 11, 30)}


def served(given: Mapping[str, Any] | None = None, **more: Any) -> Example:
    """Every service metric is tried on the same contacts."""
    return Example(
        SERVED,
        given or {},
        refused=TOLD_TWICE,
        refused_because="repeated id",
        foreign={"interactions": LATER},
        **more,
    )


SERVICE_EXAMPLES = {
    "first_contact_resolution": served(UNTIL, variants={"net": {"beyond_first_level": ["law"]}}),
    "sla_met": served(),
    "reopened": served(),
    "transferred": served(),
    "repeat_contacts": served(),
    "channel_switches": served(),
    "high_effort_share": served(),
    "first_response_time": served(UNTIL),
    "resolution_time": served(UNTIL),
}
