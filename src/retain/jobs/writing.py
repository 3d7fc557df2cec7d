"""A scored week as files: written aside, moved into place last, the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from retain.features import THEMES
from retain.jobs.store import Store
from retain.report import write_report

__all__ = ["SCORE_COLUMNS", "write_week"]

SCORE_COLUMNS = (
    "customer_id",
    "as_of",
    "eligible",
    "not_eligible_because",
    "churn_probability",
    "churn_low",
    "churn_high",
    "percentile",
    "risk_band",
    "previous_probability",
    "change",
    "change_behaviour",
    "change_data",
    "change_model",
    "clv",
    "clv_low",
    "clv_high",
    "mrr",
    "renews_at",
    "term_months",
    "value_at_risk",
    *(f"driver_{rank}" for rank in range(1, 6)),
    "protective_1",
    "protective_2",
    *(f"theme_{theme}" for theme in THEMES),
    "coverage",
    "freshness_days",
    "health_score",
    "model_version",
    "config_version",
    "segment",
    "plan",
    "owner",
)
_TEXTS = {
    "customer_id",
    "as_of",
    "not_eligible_because",
    "risk_band",
    "renews_at",
    "model_version",
    "config_version",
    "segment",
    "plan",
    "owner",
    "target",
    "theme",
    "signal",
    "feature",
    "value",
    "earlier_value",
    "peer_value",
    "sentence",
    "week_ends_on",
    *(f"driver_{rank}" for rank in range(1, 6)),
    "protective_1",
    "protective_2",
}


def write_week(
    store: Store,
    as_of: date,
    scores: pd.DataFrame,
    drivers: pd.DataFrame,
    weekly: pd.DataFrame,
    manifest: dict[str, Any],
    beside: Callable[[Path], None] = lambda folder: None,
) -> Path:
    """Write one scored week; a run that is killed leaves what was there before.

    Parameters
    ----------
    store, as_of
        Where, and the last day of the week.
    scores, drivers, weekly, manifest
        What was found.
    beside
        Writes what else belongs into the folder.

    Returns
    -------
    Path
        The week's folder: scores, drivers and weekly as Parquet, the manifest, the page.
    """
    target = store.week(as_of)
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.replacing(target) as folder:
        _write(scores[_columns(scores)], folder / "scores.parquet")
        _write(drivers, folder / "drivers.parquet")
        _write(weekly, folder / "weekly.parquet")
        beside(folder)
        text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
        (folder / "manifest.json").write_text(text, encoding="utf-8")
        write_report(
            folder / "report.html",
            scores=scores,
            drivers=drivers,
            weekly=weekly,
            manifest=json.loads(text),  # as `retain report` will read it: the same page
        )
    return target


def _columns(scores: pd.DataFrame) -> list[str]:
    """Name the columns to write: one per horizon asked for stands after the headline's interval."""
    after = SCORE_COLUMNS.index("churn_high") + 1
    horizons = [name for name in scores.columns if str(name).startswith("churn_by_")]
    return [*SCORE_COLUMNS[:after], *horizons, *SCORE_COLUMNS[after:]]


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Write Parquet with the same types whether or not a column holds anything."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = []
    for name in frame.columns:
        values = frame[name]
        if name in _TEXTS:
            listed = [
                None if v is None or v != v else str(v) for v in values.to_numpy(dtype=object)
            ]
            arrays.append(pa.array(listed, pa.string()))
        elif values.dtype == bool:
            arrays.append(pa.array(values.to_numpy()))
        elif name == "rank":
            arrays.append(pa.array(values.to_numpy(dtype="int64")))
        else:
            floats = values.to_numpy(dtype="float64", na_value=float("nan"))
            arrays.append(pa.array(floats, pa.float64(), from_pandas=True))
    pq.write_table(
        pa.table(arrays, names=list(frame.columns)), path, compression="zstd", row_group_size=50_000
    )
