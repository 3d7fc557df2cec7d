"""What weekly runs and metric runs left as files, read for one customer or one page at a time."""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path
from typing import Any

import pandas as pd

from retain.report.wording import clean

__all__ = ["customer_rows", "metrics_card", "metrics_periods", "roi_of", "small_table"]


def customer_rows(folder: Path, name: str, customer_id: str) -> pd.DataFrame | None:
    """Read one customer's rows of a week's Parquet file.

    Only the blocks whose range of ids holds the customer are read; the files are in their order.

    Returns
    -------
    pandas.DataFrame or None
        None when the week left no such file.
    """
    import pyarrow.parquet as pq

    path = folder / f"{name}.parquet"
    if not path.exists():
        return None
    return pq.read_table(path, filters=[("customer_id", "=", customer_id)]).to_pandas()


@functools.lru_cache(maxsize=64)
def _table(path: str, _stamp: int) -> pd.DataFrame:
    return pd.read_parquet(path)


def small_table(folder: Path, name: str) -> pd.DataFrame | None:
    """Read a small table of a week, kept in memory until the file changes; None = there is none."""
    path = folder / f"{name}.parquet"
    try:
        return _table(str(path), path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None


def metrics_periods(folder: Path) -> list[str]:
    """List the periods whose metrics have been computed, newest first."""
    found = [path.parent.name for path in folder.glob("*/metrics.json")]
    return sorted((name for name in found if not name.startswith(".")), reverse=True)


@functools.lru_cache(maxsize=8)
def _card(path: str, _stamp: int) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return card


def metrics_card(folder: Path, period: str) -> dict[str, Any] | None:
    """Read the metrics of a period; None when they have not been computed."""
    if period not in metrics_periods(folder):  # also keeps a path from leading out
        return None
    path = folder / period / "metrics.json"
    return _card(str(path), path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _roi(path: str, _stamp: int) -> dict[str, dict[str, float | None]]:
    with Path(path).open(encoding="utf-8", newline="") as lines:
        return {
            row.pop("customer_id"): {k: float(v) if v else None for k, v in row.items()}
            for row in csv.DictReader(lines)
        }


@functools.lru_cache(maxsize=4)
def _roi_lines(path: str, _stamp: int) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with Path(path).open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row.pop("customer_id"), []).append(row)
    return found


def roi_of(folder: Path, customer_id: str) -> dict[str, Any] | None:
    """Return a customer's ledger of the newest period that has one.

    Returns
    -------
    dict or None
        period, totals (currency, by line) and lines (line, source, id, amount); None when no
        metrics were computed or the customer is not in them.
    """
    for period in metrics_periods(folder):
        path, lines = folder / period / "roi.csv", folder / period / "roi-lines.csv"
        if not path.exists():
            continue
        totals = _roi(str(path), path.stat().st_mtime_ns).get(customer_id)
        if totals is None:
            return None
        rows = (
            _roi_lines(str(lines), lines.stat().st_mtime_ns).get(customer_id, [])
            if lines.exists()
            else []
        )
        shown = [{k: clean(v) for k, v in row.items()} for row in rows]
        return {"period": period, "totals": totals, "lines": shown}
    return None
