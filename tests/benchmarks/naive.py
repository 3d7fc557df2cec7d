"""The same figures the obvious ways: one range join with the raw rows, or a frame per window.

Correct and slow. What the stages find for the first customers must equal what is found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

WINDOWS = (1, 4, 13, 26)
USAGE = ("events", "quantity", "active_days", "distinct_features")
CHECKED = (*USAGE, "distinct_users", "time_in_product", "contacts", "spend", "orders")
TOP = tuple(f"f{number:02d}" for number in range(8))
WEEK = "CAST(floor(date_diff('day', DATE '2024-01-01', occurred_at::DATE) / 7) AS INTEGER)"

_PARTS = {  # measure: table, when, what is counted of the rows {now}
    "events": ("usage", "occurred_at", "count(*) FILTER ({now})"),
    "quantity": ("usage", "occurred_at", "coalesce(sum(quantity) FILTER ({now}), 0)"),
    "active_days": ("usage", "occurred_at", "count(DISTINCT occurred_at::DATE) FILTER ({now})"),
    "distinct_features": ("usage", "occurred_at", "count(DISTINCT feature) FILTER ({now})"),
    "distinct_users": ("usage", "occurred_at", "count(DISTINCT user_id) FILTER ({now})"),
    "time_in_product": (
        "usage",
        "occurred_at",
        "coalesce(sum(duration_s) FILTER ({now}), 0) / 3600.0",
    ),
    "contacts": ("interactions", "opened_at", "count(*) FILTER ({now})"),
    "spend": ("payments", "paid_at", "coalesce(sum(amount) FILTER ({now} AND {paid}), 0)"),
    "orders": ("payments", "paid_at", "count(*) FILTER ({now} AND {paid})"),
}


def scan(home: Path) -> Any:
    """Open DuckDB with the threads that everything here has."""
    import duckdb

    con = duckdb.connect(config={"threads": 2})
    con.execute("SET enable_progress_bar = false")
    con.execute(f"CREATE VIEW usage AS SELECT * FROM read_parquet('{home}/usage/*.parquet')")
    for name in ("interactions", "payments"):
        if (home / f"{name}.parquet").exists():
            con.execute(
                f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{home}/{name}.parquet')"
            )
    return con


def names_of(measures: tuple[str, ...]) -> list[str]:
    """Name the columns of some measures, as the catalogue names them."""
    return [f"{measure}_{window}w" for measure in measures for window in WINDOWS]


def days_of(home: Path, snapshots: int, every: int) -> list[date]:
    """Last days of the weeks from which the snapshots look back, oldest first."""
    last = date.fromisoformat((home / "last_day").read_text())
    return [last - timedelta(days=7 * every * back) for back in range(snapshots)][::-1]


def range_join(home: Path, days: list[date], measures: tuple[str, ...]) -> dict[str, float]:
    """Join snapshots with the raw rows behind them; the sum of each column."""
    con = scan(home)
    listed = ", ".join(f"(DATE '{day}')" for day in days)
    con.execute(f"CREATE TABLE snapshot (as_of DATE); INSERT INTO snapshot VALUES {listed}")
    sums: dict[str, float] = {}
    for table, when in dict.fromkeys(_PARTS[measure][:2] for measure in measures):
        mine = tuple(measure for measure in measures if _PARTS[measure][0] == table)
        asked = ", ".join(
            _PARTS[measure][2].format(
                now=f"{when} >= as_of + 1 - {7 * window}", paid="status = 'paid'"
            )
            for measure in mine
            for window in WINDOWS
        )
        found = con.sql(
            f"SELECT {asked} FROM snapshot JOIN {table} ON {when} < as_of + 1 "
            f"AND {when} >= as_of + 1 - {7 * max(WINDOWS)} GROUP BY as_of, customer_id"
        ).fetchnumpy()
        sums |= {
            name: float(np.sum(values))
            for name, values in zip(names_of(mine), found.values(), strict=True)
        }
    return sums


def frame_by_frame(home: Path, days: list[date]) -> dict[str, float]:
    """Read the log into a frame and group it once per snapshot and window: usage alone."""
    import pandas as pd

    columns = ["customer_id", "occurred_at", "feature", "quantity"]
    log = pd.read_parquet(home / "usage", columns=columns)
    log["day"] = log["occurred_at"].dt.normalize()
    people = pd.read_parquet(home / "customers.parquet")["customer_id"].to_numpy()

    def frames() -> Iterator[Any]:
        for last in days:
            end, made = pd.Timestamp(last) + pd.Timedelta(days=1), {}
            for window in WINDOWS:
                cut = log[(log["day"] < end) & (log["day"] >= end - pd.Timedelta(days=7 * window))]
                by = cut.groupby("customer_id")
                made[f"events_{window}w"] = by.size()
                made[f"quantity_{window}w"] = by["quantity"].sum()
                made[f"active_days_{window}w"] = by["day"].nunique()
                made[f"distinct_features_{window}w"] = by["feature"].nunique()
            yield pd.DataFrame(made).reindex(people).fillna(0).sum()

    total = sum(frames())
    return {name: float(total[name]) for name in names_of(USAGE)}


def weeks(home: Path) -> dict[str, float]:
    """All weekly measures of the log by the obvious GROUP BY; the sum of each."""
    tops = ", ".join(f"count(*) FILTER (feature = '{one}') AS t_{one}" for one in TOP)
    told = ", ".join(f"sum(t_{one}) AS {one}" for one in TOP)
    (found,) = (
        scan(home)
        .sql(
            "SELECT count(*) AS rows, sum(n) AS events, sum(q) AS quantity, sum(s) / 3600.0 AS "
            "hours, sum(days) AS days, sum(features) AS features, sum(users) AS users, "
            f"sum(last) AS last_day, {told} FROM (SELECT customer_id, {WEEK} AS week, "
            "count(*) AS n, sum(quantity) AS q, sum(duration_s) AS s, "
            "count(DISTINCT occurred_at::DATE) AS days, count(DISTINCT feature) AS features, "
            "count(DISTINCT user_id) AS users, date_diff('day', DATE '1970-01-01', "
            f"max(occurred_at)::DATE) AS last, {tops} FROM usage GROUP BY 1, 2)"
        )
        .df()
        .to_dict("records")
    )
    return {name: float(value) for name, value in found.items()}
