"""Measure the fold, the features and the weekly run: `python tests/benchmarks [--size small]`.

Each stage runs in a fresh process, from an emptied store unless it says otherwise, with two threads
like its yardstick. CPU is user and system time of that process, imports included; ratios are of CPU
in this run. See `companies.py` for the data and `stages.py` for what is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from companies import SIZES, Size, make_company, make_slice, make_week_before  # noqa: E402

ENVIRONMENT = {
    "OMP_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "TZ": "UTC",
}


def measure(stage: str, home: Path, store: Path) -> dict[str, Any]:
    """Run one stage in its own process; wall and CPU seconds, peak memory, and what it says."""
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, str(HERE / "stages.py"), stage, str(home), str(store)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    ) as run:
        assert run.stdout is not None
        said = run.stdout.read()
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode != 0:
        sys.exit(f"stage {stage} failed with exit code {run.returncode}")
    return {
        "stage": stage,
        "wall": time.perf_counter() - begun,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    } | {
        f"said_{name}" if name == "cpu" else name: value for name, value in json.loads(said).items()
    }


def emptied(store: Path) -> Path:
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    return store


def told(found: dict[str, Any], ratio: str) -> None:
    checksum = str(found["checksum"])
    print(
        f"{found['stage']:<12}{found['wall']:>8.1f}{found['cpu']:>8.1f}{found['peak_mb']:>8.0f}"
        f"{found['cells']:>13,}  {ratio:<44}{checksum[:40]}",
        flush=True,
    )


def run(folder: Path, size: Size, repeats: int, stages: set[str]) -> None:
    """Run all stages on one company and print a line for each."""
    home = make_company(folder, size)
    store = folder / "store"
    print(f"{size.customers:,} customers, {size.weeks} weeks, {size.events:,} events (about)")
    print(
        f"{'stage':<12}{'wall s':>8}{'CPU s':>8}{'MB':>8}{'cells':>13}  "
        f"{'ratio of CPU (target)':<44}checksum"
    )
    yards = [measure("L2", home, emptied(store)) for _ in range(repeats)]
    yard = min(yards, key=lambda one: one["cpu"]) | {
        "cpu": statistics.median(one["cpu"] for one in yards)
    }
    told(yard, f"the yardstick, median of {repeats}")
    l2 = yard["cpu"]
    if "fold" in stages:
        found = measure("fold", home, emptied(store))
        assert found["checksum"] == yard["checksum"], "the fold lost or invented events"
        told(found, f"{found['cpu'] / l2:.2f} x L2 (1.8)")
    full = None
    if "build" in stages:
        full = measure("build", home, emptied(store))
        told(full, f"{full['cpu'] / l2:.2f} x L2 (3.0)")
        for name in ("features12", "features52"):
            found = measure(name, home, store)  # from the weeks that the build stored
            each = found["said_cpu"] / found["cells"] / (l2 / size.events)
            told(
                found | {"cpu": found["said_cpu"]}, f"{each:.2f} x L2's cost per event a cell (0.5)"
            )
            if name == "features12":
                assert found["checksum"] == full["checksum"], "stored weeks give other features"
    if "week" in stages and full is not None:
        measure("before", make_week_before(home, size), emptied(store))
        found = measure("week", home, store)
        told(found, f"1/{full['cpu'] / found['cpu']:.1f} of the full build (1/8)")
    if "obvious" in stages:
        part = make_slice(home, size, min(size.customers, 20_000))
        mine = measure("ours", part, emptied(store))
        told(mine, "16 columns of 20,000 customers, ours")
        for name, most in (("pandas", 7), ("naive", 8)):
            found = measure(name, part, store)
            told(found, f"{found['cpu'] / mine['cpu']:.1f} x ours ({most})")
            assert found["checksum"] == mine["checksum"], f"{name} finds something else"
    shutil.rmtree(store)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full", help="how big a company")
    parser.add_argument("--folder", type=Path, default=Path("out/benchmarks"), help="for its files")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the yardstick")
    parser.add_argument(
        "--stages", default="fold,build,week,obvious", help="which groups of stages to run"
    )
    given = parser.parse_args()
    run(given.folder, SIZES[given.size], given.repeats, set(given.stages.split(",")))


if __name__ == "__main__":
    main()
