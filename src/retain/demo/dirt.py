"""What is wrong in the written record, on purpose and counted: real exports are like this.

Every faulty row is a copy of a good one with one fault, so setting it aside restores the company.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["FAULTS", "add_dirt"]

Fault = Callable[[pd.DataFrame, pd.Timestamp], pd.DataFrame]


def _stranger(column: str) -> Fault:
    return lambda rows, _: rows.assign(**{column: [f"X{n:05d}" for n in range(len(rows))]})


def _with(rows: pd.DataFrame, faults: Mapping[str, Any]) -> pd.DataFrame:
    return rows.assign(**faults)


def _value(column: str, value: float) -> Fault:
    return lambda rows, _: _with(rows, {column: value})


def _negative(column: str) -> Fault:
    return lambda rows, _: rows.assign(**{column: -rows[column].abs() - 1})


def _no_date(*columns: str) -> Fault:
    return lambda rows, _: _with(rows, dict.fromkeys(columns, pd.NaT))


def _future(*columns: str) -> Fault:
    return lambda rows, end: _with(rows, dict.fromkeys(columns, end + pd.Timedelta(days=40)))


def _again(rows: pd.DataFrame, _: pd.Timestamp) -> pd.DataFrame:
    return rows


ID_COLUMNS = {
    "customers": "customer_id",
    "subscriptions": "subscription_id",
    "payments": "payment_id",
    "usage": "event_id",
    "interactions": "interaction_id",
}

FAULTS: dict[tuple[str, str], tuple[float, Fault]] = {
    # (table, why it cannot be used): share of the table's rows (at least two), and the fault
    ("customers", "repeated customer_id"): (0.001, _again),
    ("subscriptions", "unknown customer"): (0.0005, _stranger("customer_id")),
    ("subscriptions", "repeated subscription_id"): (0.0005, _again),
    ("payments", "unknown customer"): (0.0005, _stranger("customer_id")),
    ("payments", "missing paid_at"): (0.0002, _no_date("paid_at")),
    ("payments", "repeated payment_id"): (0.0005, _again),
    ("usage", "unknown customer"): (0.0004, _stranger("customer_id")),
    ("usage", "missing occurred_at"): (0.0001, _no_date("occurred_at")),
    ("usage", "dated after the export"): (0.0001, _future("occurred_at", "recorded_at")),
    ("usage", "negative duration_s"): (0.0001, _negative("duration_s")),
    ("usage", "repeated event_id"): (0.0004, _again),
    ("interactions", "unknown customer"): (0.0005, _stranger("customer_id")),
    ("interactions", "negative handle_minutes"): (0.0003, _negative("handle_minutes")),
    ("interactions", "repeated interaction_id"): (0.0005, _again),
    ("surveys", "unknown customer"): (0.0005, _stranger("customer_id")),
    ("surveys", "score off its scale"): (0.0005, _value("score", 11.0)),
    ("surveys", "answered without answered_at"): (0.0003, _no_date("sent_at", "answered_at")),
    ("referrals", "unknown customer"): (0.002, _stranger("referrer_id")),
}


def add_dirt(
    tables: dict[str, pd.DataFrame], end: pd.Timestamp, rng: np.random.Generator
) -> tuple[dict[str, pd.DataFrame], dict[tuple[str, str], int]]:
    """Return the tables with faulty copies of rows mixed in, and how many of each kind.

    Parameters
    ----------
    tables
        The clean record, by table.
    end
        First instant after the export day.
    rng
        Source of chance.
    """
    added: dict[str, list[pd.DataFrame]] = {name: [] for name in tables}
    dirty: dict[tuple[str, str], int] = {}
    for (name, reason), (share, fault) in FAULTS.items():
        if name not in tables:
            continue
        table = tables[name]
        if name == "surveys":  # a fault in an unanswered question would go unseen
            table = table[table["score"].notna() & (table["kind"] == "nps")]
        n = min(len(table), max(2, round(share * len(tables[name]))))
        if not n:
            continue
        rows = fault(table.iloc[rng.choice(len(table), n, replace=False)].copy(), end)
        if fault is not _again and name in ID_COLUMNS:
            rows[ID_COLUMNS[name]] = _fresh_ids(tables[name][ID_COLUMNS[name]], reason, n)
        added[name].append(rows)
        dirty[name, reason] = n
    mixed = {}
    for name, table in tables.items():
        if added[name]:
            # Behind the good rows: of two with one id, the first is the one to keep.
            mixed[name] = pd.concat([table, *added[name]], ignore_index=True)
        else:
            mixed[name] = table
    return mixed, dirty


def _fresh_ids(ids: pd.Series, reason: str, n: int) -> Any:
    """Return ids that no good row has, of the same type."""
    reasons = [why for _, why in FAULTS]
    if pd.api.types.is_integer_dtype(ids):
        first = int(ids.max()) + 1 + 10_000_000 * (1 + reasons.index(reason))
        return list(range(first, first + n))
    return [f"{ids.iloc[0][0]}{1 + reasons.index(reason)}-{number:05d}" for number in range(n)]
