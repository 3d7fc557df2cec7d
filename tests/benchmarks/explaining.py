"""What explaining every customer costs, beside LightGBM's own way and the shap library.

    python tests/benchmarks/explaining.py [--rows 100000] [--features 120] [--trees 200]

For each depth one model is trained, the same rows are explained by each way in this process, and
the CPU seconds per 100,000 rows are printed with their ratio and the largest difference. The slow
ways explain a part of the rows (`--judged`): their cost grows with the rows, nothing else. The
median of three runs counts for the fast way.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not count as work

import lightgbm as lgb
import numpy as np

from retain.explain import TreeShap

SHAPES = ((6, 31), (8, 63))  # depth and leaves
PER = 100_000


@dataclass(frozen=True)
class Cost:
    """What explaining took; CPU seconds per 100,000 rows but for `build`."""

    depth: int
    build: float
    tables: float
    wall: float
    lightgbm: float
    shap: float
    predict: float
    difference: float

    @property
    def ratio(self) -> float:
        """How many times less than the cheaper of the two others."""
        return min(self.lightgbm, self.shap) / self.tables


def rows_of(rows: int, features: int, seed: int = 1) -> tuple[Any, Any]:
    """Measurements, counts and gaps, as customers have them, and who left."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, features))
    third = features // 3
    X[:, third:] = np.floor(np.abs(X[:, third:]) * 8)
    X[:, 2 * third :] = np.floor(X[:, 2 * third :] / 3)
    gaps = slice(third // 8, third // 3)
    X[:, gaps][rng.random(X[:, gaps].shape) < 0.3] = np.nan
    weight = np.random.default_rng(7).standard_normal(features) * np.geomspace(1, 0.05, features)
    Z = np.nan_to_num(X)
    Z = (Z - Z.mean(axis=0)) / np.maximum(Z.std(axis=0), 1e-9)
    score = Z @ weight + Z[:, 0] * Z[:, 1] - np.abs(Z[:, 2])
    return X, (rng.random(rows) < 1 / (1 + np.exp(2 - score / 2))).astype(float)


def cpu(work: Callable[[], Any], rows: int) -> tuple[float, float, Any]:
    """CPU and wall seconds per 100,000 rows, and the result."""
    wall, start = time.perf_counter(), time.process_time()
    result = work()
    used = time.process_time() - start
    return used * PER / rows, (time.perf_counter() - wall) * PER / rows, result


def measure(depth: int, leaves: int, X: Any, y: Any, trees: int, judged: int) -> Cost:
    """Train one model and explain rows by all ways."""
    import shap

    learnt = min(len(X), 60_000)
    parameters = {
        "objective": "binary",
        "max_depth": depth,
        "num_leaves": leaves,
        "feature_fraction": 0.5,
        "learning_rate": 0.05,
        "verbosity": -1,
    }
    booster = lgb.train(parameters, lgb.Dataset(X[:learnt], y[:learnt]), trees)
    start = time.process_time()
    explain = TreeShap(booster)
    build = time.process_time() - start
    assert not explain.fallback_because
    few = X[:judged]
    own, _, expected = cpu(lambda: booster.predict(few, pred_contrib=True), judged)
    theirs, _, explained = cpu(lambda: shap.TreeExplainer(booster)(few), judged)
    predict, _, _ = cpu(lambda: booster.predict(X, raw_score=True), len(X))
    runs = [cpu(lambda: explain(X), len(X)) for _ in range(3)]
    values = runs[0][2][:judged]
    return Cost(
        depth,
        build,
        statistics.median(used for used, _, _ in runs),
        statistics.median(wall for _, wall, _ in runs),
        own,
        theirs,
        predict,
        max(np.abs(values - expected).max(), np.abs(values[:, :-1] - explained.values).max()),
    )


def main(arguments: list[str] | None = None) -> list[Cost]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=120)
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--judged", type=int, default=5_000)
    asked = parser.parse_args(arguments)
    X, y = rows_of(asked.rows, asked.features)
    print(
        f"{asked.rows:,} rows x {asked.features} features, {asked.trees} trees; CPU s per 100,000"
    )
    print("depth  tables  (wall)  build  pred_contrib  shap    predict  ratio  difference")
    costs = []
    for depth, leaves in SHAPES:
        one = measure(depth, leaves, X, y, asked.trees, min(asked.judged, asked.rows))
        costs.append(one)
        print(
            f"{one.depth:<5}  {one.tables:<6.2f}  {one.wall:<6.2f}  {one.build:<5.2f}  "
            f"{one.lightgbm:<12.1f}  {one.shap:<6.1f}  {one.predict:<7.2f}  {one.ratio:<5.1f}  "
            f"{one.difference:.1e}",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"peak memory {peak:,.0f} MB")
    return costs


if __name__ == "__main__":
    main()
