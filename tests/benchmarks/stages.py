"""What is timed, one stage a process: `python stages.py STAGE HOME STORE` prints one line of JSON.

The parent measures CPU and memory of the whole process, imports included. Every stage sums up what
it found for the first customers, so that it can be compared with `naive.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from naive import (
    CHECKED,
    TOP,
    USAGE,
    WEEK,
    days_of,
    frame_by_frame,
    names_of,
    range_join,
    scan,
    weeks,
)

SNAPSHOTS, EVERY = 12, 4
SLICE = 2_000  # customers whose figures are compared
NEEDED = ("customer_id", "occurred_at", "feature", "quantity")  # by the obvious ways
TABLES = ("subscriptions", "payments", "interactions", "surveys")


def yardstick(home: Path, store: Path) -> dict[str, Any]:
    """L2: the bare GROUP BY over the same files."""
    ((groups, events, quantity),) = (
        scan(home)
        .sql(
            "SELECT count(*), sum(n), sum(q) FROM (SELECT customer_id, "
            f"{WEEK} AS week, count(*) AS n, sum(quantity) AS q FROM usage GROUP BY 1, 2)"
        )
        .fetchall()
    )
    return {"cells": 2 * groups, "events": int(events), "quantity": int(quantity)}


def opened(
    home: Path,
    store: Path,
    tables: tuple[str, ...] = TABLES,
    columns: tuple[str, ...] = (),
) -> Any:
    """Read and check the tables; the log is read as a long one, even of a small size."""
    from retain.tables import Mapping, eventlog, read_tables

    eventlog.LONG_ROWS = 0
    mappings = {name: Mapping(source=str(home / f"{name}.parquet")) for name in tables}
    mappings["customers"] = Mapping(source=str(home / "customers.parquet"))
    mappings["usage"] = Mapping(source=str(home / "usage"), columns={one: one for one in columns})
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


def is_in_slice(folded_weeks: Any) -> Any:
    """Say of each customer whether the id is among the first."""
    return folded_weeks.customers.astype(np.int64) < SLICE


def check(home: Path, store: Path) -> dict[str, Any]:
    """Read the log once and judge every row; what is learnt of each file is kept in the store."""
    with opened(home, store, ()) as tables:
        counts = tables.counts["usage"]
    return {"cells": counts.rows_in, "events": counts.used}


def fold(home: Path, store: Path) -> dict[str, Any]:
    """Fold usage alone, with all weekly measures, after `check`: no week is in the store."""
    with opened(home, store, ()) as tables:
        every = folded(tables, store)
    rows = every.panels["usage"]
    mine = rows.take(is_in_slice(every)[rows.customer])

    def total(name: str) -> float:
        return float(mine.measures[name].sum(dtype=np.float64))

    def bits(head: str) -> float:
        words = (v for name, v in mine.measures.items() if name.rpartition("_")[0] == head)
        return float(sum(int(np.bitwise_count(word).sum()) for word in words))

    return {
        "cells": len(rows) * len(rows.measures),
        "events": int(rows.measures["events"].sum(dtype=np.int64)),
        "quantity": int(rows.measures["quantity"].sum(dtype=np.int64)),
        "checked": {
            **{"rows": float(len(mine))},
            **{name: total(name) for name in ("events", "quantity", "hours", "last_day")},
            "days": float(np.bitwise_count(mine.measures["days"]).sum()),
            **{name: bits(name) for name in ("features", "users")},
            **{one: total(f"top_feature_{number}") for number, one in enumerate(TOP)},
        },
    }


def features(weeks_there: Any, snapshots: int, every: int) -> dict[str, Any]:
    """Every feature of the catalogue for every customer, a few thousand customers at a time."""
    from retain.features import feature_chunks

    at = [weeks_there.last_week - every * back for back in range(snapshots)][::-1]
    rows = np.ones((snapshots, len(weeks_there.customers)), dtype=bool)
    mine, names = is_in_slice(weeks_there), names_of(CHECKED)
    cells, columns, sums = 0, 0, np.zeros(len(names))
    for chunk in feature_chunks(weeks_there, at, rows):
        cells, columns = cells + chunk.X.size, chunk.X.shape[1]
        sums += np.nansum(chunk.X[names].to_numpy()[mine[chunk.customer]], axis=0)
    return {
        "cells": cells,
        "columns": columns,
        "checked": dict(zip(names, sums.tolist(), strict=True)),
    }


def build(home: Path, store: Path) -> dict[str, Any]:
    """All tables from the log to the full feature matrix."""
    with opened(home, store) as tables:
        there = folded(tables, store)
    return features(there, SNAPSHOTS, EVERY)


def week(home: Path, store: Path) -> dict[str, Any]:
    """One week more than the store knows, and one snapshot."""
    with opened(home, store) as tables:
        there = folded(tables, store)
    return features(there, 1, 1)


def stored(snapshots: int, every: int) -> Callable[[Path, Path], dict[str, Any]]:
    """Features from weeks that are in the store already; `cpu` is of the features alone."""

    def run(home: Path, store: Path) -> dict[str, Any]:
        with opened(home, store) as tables:
            there = folded(tables, store)
        begun = time.process_time()
        found = features(there, snapshots, every)
        return found | {"said_cpu": time.process_time() - begun}

    return run


def ours(home: Path, store: Path) -> dict[str, Any]:
    """The columns that the obvious ways compute, from the columns that they read, for all."""
    from retain.features import FEATURES, build_features

    with opened(home, store, (), NEEDED) as tables:
        there = folded(tables, store)
    there = replace(there, start_day=np.full(len(there.customers), 1e6))  # nothing is unknown
    at = [there.last_week - EVERY * back for back in range(SNAPSHOTS)][::-1]
    made = build_features(
        there,
        at,
        np.ones((SNAPSHOTS, len(there.customers)), dtype=bool),
        features=tuple(one for one in FEATURES if one.name in USAGE),
    )
    sums = made.X[names_of(USAGE)].sum()
    return {"cells": SNAPSHOTS * len(there.customers) * len(sums), "checked": sums.to_dict()}


def obvious(way: Callable[..., dict[str, float]]) -> Callable[[Path, Path], dict[str, Any]]:
    """One of the obvious ways, for all customers of a slice."""

    def run(home: Path, store: Path) -> dict[str, Any]:
        import pyarrow.parquet as pq

        days = days_of(home, SNAPSHOTS, EVERY)
        found = way(home, days, USAGE) if way is range_join else way(home, days)
        people = pq.read_metadata(home / "customers.parquet").num_rows
        return {"cells": SNAPSHOTS * people * len(found), "checked": found}

    return run


def truth(snapshots: int, every: int) -> Callable[[Path, Path], dict[str, Any]]:
    """What the naive range join finds for the first customers; not timed."""
    return lambda home, store: {
        "checked": range_join(home, days_of(home, snapshots, every), CHECKED)
    }


def later(name: str) -> Callable[[Path, Path], dict[str, Any]]:
    """One of the stages of scoring."""

    def run(home: Path, store: Path) -> dict[str, Any]:
        import scoring

        found: dict[str, Any] = getattr(scoring, name)(home, store)
        return found

    return run


STAGES: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "L2": yardstick,
    "check": check,
    "fold": fold,
    "build": build,
    "features12": stored(12, 4),
    "features52": stored(52, 1),
    "before": build,
    "week": week,
    "ours": ours,
    "pandas": obvious(frame_by_frame),
    "naive": obvious(range_join),
    "store weeks": later("store_weeks"),
    "score": later("score"),
    "predict": later("predict"),
    "truth of score": later("plainly"),
    "truth of fold": lambda home, store: {"checked": weeks(home)},
    "truth of 12": truth(12, 4),
    "truth of 52": truth(52, 1),
    "truth of 1": truth(1, 1),
}


if __name__ == "__main__":
    stage, home, store = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps(STAGES[stage](home, store)))
