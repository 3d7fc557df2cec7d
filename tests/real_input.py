"""CDNOW, cut physically at a date and judged on what came after: `python tests/real_input.py`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain import load_config, score, train
from retain.evaluate import churn_figures, clv_figures

ROOT = Path(__file__).parents[1]
CDNOW = ROOT.parent / "shared" / "data" / "cdnow" / "cdnow_master_1997.parquet"
CHURN_CUTS = ("1998-01-18", "1997-11-23", "1997-12-21", "1998-02-15", "1998-03-15")
VALUE_CUT, VALUE_WEEKS = "1997-09-28", 39


def run(cut: str, folder: Path) -> Any:
    """Train and score on a file that ends at the cut; nothing in it is younger."""
    known = pd.read_parquet(CDNOW)
    known = known[known["date"] < pd.Timestamp(cut) + pd.Timedelta(days=1)]
    config = load_config(ROOT / "configs" / "cdnow.yaml")
    config = config.model_copy(update={"store": folder / "store", "models": folder / "models"})
    trained = train(config, tables={"payments": known}, record=False)
    return score(config, model=trained.folder, tables={"payments": known}).scores


def later(cut: str, weeks: int) -> pd.DataFrame:
    """Return what happened in the weeks after the cut."""
    rows = pd.read_parquet(CDNOW)
    start = pd.Timestamp(cut) + pd.Timedelta(days=1)
    return rows[(rows["date"] >= start) & (rows["date"] < start + pd.Timedelta(weeks=weeks))]


def judge_churn(cut: str, horizon_weeks: int = 13) -> dict[str, dict[str, float]]:
    """Judge the churn probabilities of one cut on the weeks after it."""
    with tempfile.TemporaryDirectory() as folder:
        scores = run(cut, Path(folder))
    shown = scores[scores["eligible"]]
    bought = set(later(cut, horizon_weeks)["customer_id"].astype(str))
    left = ~shown["customer_id"].isin(bought)
    return churn_figures(left, shown["churn_probability"], shown["customer_id"], capacity=40)


def judge_value(cut: str = VALUE_CUT, weeks: int = VALUE_WEEKS) -> dict[str, dict[str, float]]:
    """Judge CLV of one cut on the spend of the weeks after it."""
    with tempfile.TemporaryDirectory() as folder:
        scores = run(cut, Path(folder))
    spent = later(cut, weeks).assign(customer_id=lambda t: t["customer_id"].astype(str))
    spent = spent.groupby("customer_id")["sales"].sum()
    actual = spent.reindex(scores["customer_id"]).fillna(0.0).to_numpy()
    return clv_figures(
        actual,
        scores["clv"],
        scores["customer_id"],
        low=scores["clv_low"],
        high=scores["clv_high"],
    ) | {"customers": {"value": float(len(scores)), "low": np.nan, "high": np.nan}}


def main() -> None:
    """Print every figure."""
    for cut in CHURN_CUTS:
        figures = judge_churn(cut)
        told = ", ".join(
            f"{name} {figures[name]['value']:.4f} [{figures[name]['low']:.4f}, "
            f"{figures[name]['high']:.4f}]"
            for name in ("auc", "calibration_error", "mean_predicted", "observed", "brier")
        )
        print(f"churn {cut}: {told}", flush=True)
    told = ", ".join(f"{k} {v['value']:.4f}" for k, v in judge_value().items())
    print(f"value {VALUE_CUT}: {told}")


if __name__ == "__main__":
    main()
