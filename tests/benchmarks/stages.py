"""What is timed, one stage a process: `python stages.py STAGE HOME STORE` prints one line of JSON.

The parent measures CPU and memory of the whole process, imports included.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

SNAPSHOTS, EVERY = 12, 4
TABLES = ("subscriptions", "payments", "interactions", "surveys")
TOP = tuple(f"f{number:02d}" for number in range(8))
WEEK_SQL = "CAST(floor(date_diff('day', DATE '2024-01-01', occurred_at::DATE) / 7) AS INTEGER)"
CHECKED = ("events", "quantity", "active_days", "distinct_features")
WINDOWS = (1, 4, 13, 26)


def scan(home: Path) -> Any:
    """Open DuckDB with the threads that everything here has."""
    import duckdb

    con = duckdb.connect(config={"threads": 2})
    con.execute("SET enable_progress_bar = false")
    con.execute(f"CREATE VIEW usage AS SELECT * FROM read_parquet('{home}/usage/*.parquet')")
    return con


def yardstick(home: Path, store: Path) -> dict[str, Any]:
    """L2: the bare GROUP BY over the same files."""
    ((groups, events, quantity),) = (
        scan(home)
        .sql(
            "SELECT count(*), sum(n), sum(q) FROM (SELECT customer_id, "
            f"{WEEK_SQL} AS week, count(*) AS n, sum(quantity) AS q FROM usage GROUP BY 1, 2)"
        )
        .fetchall()
    )
    return {"cells": groups, "checksum": int(events + quantity)}


def opened(home: Path, store: Path, tables: tuple[str, ...] = TABLES) -> Any:
    """Read and check the tables."""
    from retain.tables import Mapping, read_tables

    mappings = {name: Mapping(source=str(home / f"{name}.parquet")) for name in tables}
    mappings["customers"] = Mapping(source=str(home / "customers.parquet"))
    mappings["usage"] = Mapping(source=str(home / "usage"))
    return read_tables(
        mappings,
        timezone="UTC",
        currency="EUR",
        summaries=store / "reads",
        work_folder=store / "work",
    )


def folded(tables: Any, store: Path) -> Any:
    """Fold them into the store."""
    from retain.weeks import Calendar, fold_tables

    return fold_tables(tables, Calendar("sunday"), store=store, top_features=TOP)


def fold(home: Path, store: Path) -> dict[str, Any]:
    """Check and fold usage alone, with all weekly measures."""
    with opened(home, store, ()) as tables:
        rows = folded(tables, store).panels["usage"]
    total = rows.measures["events"].sum(dtype=np.int64) + rows.measures["quantity"].sum(
        dtype=np.int64
    )
    return {"cells": len(rows), "checksum": int(total)}


def weeks_of(weeks: Any, snapshots: int, every: int) -> list[int]:
    """Name the weeks from which the snapshots look back, oldest first."""
    return [weeks.last_week - every * back for back in range(snapshots)][::-1]


def features(weeks: Any, snapshots: int, every: int) -> dict[str, Any]:
    """Every feature of the catalogue for every customer, a few thousand customers at a time."""
    from retain.features import feature_chunks

    at = weeks_of(weeks, snapshots, every)
    rows = np.ones((snapshots, len(weeks.customers)), dtype=bool)
    cells, columns, total, missing = 0, 0, 0.0, 0
    for chunk in feature_chunks(weeks, at, rows):
        cells, columns = cells + chunk.X.size, chunk.X.shape[1]
        for name in ("events_4w", "active_days_13w", "spend_26w"):
            values = chunk.X[name].to_numpy()
            total += float(np.nansum(values))
            missing += int(np.isnan(values).sum())
    return {"cells": cells, "columns": columns, "checksum": round(total, 2), "missing": missing}


def build(home: Path, store: Path) -> dict[str, Any]:
    """All tables from the log to the full feature matrix."""
    with opened(home, store) as tables:
        weeks = folded(tables, store)
    return features(weeks, SNAPSHOTS, EVERY)


def week(home: Path, store: Path) -> dict[str, Any]:
    """One week more than the store knows, and one snapshot."""
    with opened(home, store) as tables:
        weeks = folded(tables, store)
    return features(weeks, 1, 1)


def stored(snapshots: int, every: int) -> Callable[[Path, Path], dict[str, Any]]:
    """Features from weeks that are in the store already."""

    def run(home: Path, store: Path) -> dict[str, Any]:
        import time

        with opened(home, store) as tables:
            weeks = folded(tables, store)
        begun = time.process_time()
        found = features(weeks, snapshots, every)
        return found | {"cpu": time.process_time() - begun}

    return run


# ---- the obvious ways, and ours, for the same columns ------------------------------------------


def snapshot_days(home: Path) -> list[date]:
    last = date.fromisoformat((home / "last_day").read_text())
    return [last - timedelta(days=7 * EVERY * back) for back in range(SNAPSHOTS)][::-1]


def told(frames: Iterator[Any]) -> dict[str, Any]:
    """Sum the columns of all snapshots: equal for whoever computes the same."""
    cells, sums = 0, np.zeros(len(CHECKED) * len(WINDOWS))
    for frame in frames:
        cells += frame.size
        sums += frame.sum(axis=0)
    return {"cells": cells, "checksum": [int(one) for one in sums]}


def ours(home: Path, store: Path) -> dict[str, Any]:
    """The checked columns, from the log."""
    from dataclasses import replace

    from retain.features import FEATURES, build_features

    with opened(home, store, ()) as tables:
        weeks = folded(tables, store)
    weeks = replace(weeks, start_day=np.full(len(weeks.customers), 1e6))  # nothing is unknown
    made = build_features(
        weeks,
        weeks_of(weeks, SNAPSHOTS, EVERY),
        np.ones((SNAPSHOTS, len(weeks.customers)), dtype=bool),
        features=tuple(one for one in FEATURES if one.name in CHECKED),
    )
    names = [f"{name}_{window}w" for name in CHECKED for window in WINDOWS]
    return told(iter([made.X[names].to_numpy()]))


def pandas(home: Path, store: Path) -> dict[str, Any]:
    """Read the log into a frame, group it once per snapshot and window."""
    import pandas as pd

    log = pd.read_parquet(
        home / "usage", columns=["customer_id", "occurred_at", "feature", "quantity"]
    )
    log["day"] = log["occurred_at"].dt.normalize()
    people = pd.read_parquet(home / "customers.parquet")["customer_id"].to_numpy()

    def frames() -> Iterator[Any]:
        for last in snapshot_days(home):
            end, made = pd.Timestamp(last) + pd.Timedelta(days=1), {}
            for window in WINDOWS:
                cut = log[(log["day"] < end) & (log["day"] >= end - pd.Timedelta(days=7 * window))]
                by = cut.groupby("customer_id")
                made["events", window] = by.size()
                made["quantity", window] = by["quantity"].sum()
                made["active_days", window] = by["day"].nunique()
                made["distinct_features", window] = by["feature"].nunique()
            frame = pd.DataFrame(made).reindex(people).fillna(0)
            yield frame[[(name, window) for name in CHECKED for window in WINDOWS]].to_numpy()

    return told(frames())


def naive(home: Path, store: Path) -> dict[str, Any]:
    """One range join of snapshots with the raw log."""
    con = scan(home)
    days = ", ".join(f"(DATE '{day}')" for day in snapshot_days(home))
    con.execute(f"CREATE TABLE snapshot (as_of DATE); INSERT INTO snapshot VALUES {days}")
    parts = {
        "events": "count(*) FILTER ({now})",
        "quantity": "coalesce(sum(quantity) FILTER ({now}), 0)",
        "active_days": "count(DISTINCT occurred_at::DATE) FILTER ({now})",
        "distinct_features": "count(DISTINCT feature) FILTER ({now})",
    }
    asked = ", ".join(
        parts[name].format(now=f"occurred_at >= as_of + 1 - {7 * window}")
        for name in CHECKED
        for window in WINDOWS
    )
    found = con.sql(
        f"SELECT {asked} FROM snapshot JOIN usage ON occurred_at < as_of + 1 "
        f"AND occurred_at >= as_of + 1 - {7 * max(WINDOWS)} GROUP BY as_of, customer_id"
    ).fetchnumpy()
    people = len(con.sql(f"SELECT * FROM '{home}/customers.parquet'").fetchall())
    sums = [int(np.sum(values)) for values in found.values()]
    return {"cells": SNAPSHOTS * people * len(sums), "checksum": sums}


STAGES: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "L2": yardstick,
    "fold": fold,
    "build": build,
    "features12": stored(12, 4),
    "features52": stored(52, 1),
    "before": build,
    "week": week,
    "ours": ours,
    "pandas": pandas,
    "naive": naive,
}


if __name__ == "__main__":
    stage, home, store = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps(STAGES[stage](home, store)))
