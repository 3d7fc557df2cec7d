"""Contracts as literals, at random, and an oracle that looks at every customer on every day."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd

from retain.metrics import Period

OCTOBER = Period.month("2026-10")


def contracts(*spans):
    """Spans written as customer, first day, first day without service or None, MRR."""
    frame = pd.DataFrame(spans, columns=["customer_id", "started_at", "ended_at", "mrr"])
    frame["mrr"] = frame["mrr"].astype(float)
    for column in ("started_at", "ended_at"):
        frame[column] = pd.to_datetime(frame[column])
    return frame.astype({"customer_id": object})


def random_contracts(seed, n):
    """Contracts of few customers around October 2026, so that everything happens to them."""
    rng = np.random.default_rng(seed)
    first = pd.Timestamp("2026-08-15") + pd.to_timedelta(rng.integers(0, 90, n), unit="D")
    end = pd.Series(first + pd.to_timedelta(rng.integers(1, 60, n), unit="D"))
    return pd.DataFrame(
        {
            "customer_id": [f"c{at}" for at in rng.integers(0, max(n // 4, 1), n)],
            "started_at": first,
            "ended_at": end.where(rng.random(n) < 0.7),
            "mrr": rng.integers(1, 40, n) * 2.5,
        }
    )


def oracle(frame, period):
    """Count day by day, customer by customer, with nothing shared with the product."""
    days = list(pd.date_range(frame["started_at"].min(), period.end)[:-1])
    first = days.index(pd.Timestamp(period.start))
    never = pd.Timestamp("2100-01-01")
    frame = frame.assign(ended_at=frame["ended_at"].fillna(never), mrr=frame["mrr"].map(repr))
    found = defaultdict(Decimal)
    daily = {}
    for _, spans in frame.groupby("customer_id"):
        runs = list(spans[["started_at", "ended_at", "mrr"]].itertuples(index=False))
        paid = [sum((Decimal(m) for a, b, m in runs if a <= d < b), Decimal(0)) for d in days]
        start, end, churns, joined, is_new = paid[first - 1], paid[-1], 0, False, False
        for at in range(first, len(days)):
            before, after = paid[at - 1], paid[at]
            morning, gone = daily.get(days[at], (0, 0))
            daily[days[at]] = morning + (before > 0), gone + (before > 0 == after)
            if before == after:
                continue
            kind = "expansion" if after > before else "contraction"
            if before == 0:
                kind = "reactivation" if any(paid[:at]) else "new"
            kind = "churn" if after == 0 else kind
            found[kind] += abs(after - before)
            churns, joined = churns + (kind == "churn"), joined or before == 0
            is_new = is_new or kind == "new"
        kept = end if start and not churns else Decimal(0)
        for name, amount in {
            "start": start, "end": end, "departures": churns, "leavers": churns > 0,
            "left": start > 0 and churns > 0, "gone": start > 0 == end, "base": start > 0 or joined,
            "gross": min(start, kept), "net": kept, "point": end if start else 0,
            "all_but_new": 0 if is_new else end,
        }.items():  # fmt: skip
            found[name] += amount
    found["daily"] = 100 * sum(Fraction(gone, there) for there, gone in daily.values() if there)
    return found
