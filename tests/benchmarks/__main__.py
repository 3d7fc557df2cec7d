"""Measure the fold, the features and the weekly run: `python tests/benchmarks [--size small]`.

Each stage runs in a fresh process, from an emptied store unless its line says otherwise, with two
threads like its yardstick L2 (DuckDB's bare GROUP BY customer, week over the same files). CPU is
user and system time of that process, imports included; ratios are of CPU in this run, to L2
measured before and after each run of a stage: where others use the machine, L2 wavers most. What
each stage finds for the first 2,000 customers must equal what the naive way finds, or the run
fails; the checksum is a hash of it. See `companies.py` for the data, `stages.py` for what is timed,
`naive.py` for the truth.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from companies import (  # noqa: E402
    SCORED,
    SIZES,
    Size,
    bring_newest_week,
    make_company,
    make_slice,
    make_week_before,
)
from naive import USAGE, names_of  # noqa: E402
from stages import SLICE  # noqa: E402

ENVIRONMENT = {
    "OMP_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "TZ": "UTC",
}
WATCHED = ("score",)  # more processes than one; looking costs a little
OBVIOUS = (  # way, customers on whom it is timed beside ours, what ours should cost less at least
    ("pandas", 100_000, 7),
    ("naive", 20_000, 8),  # more do not fit into memory
)


@dataclass
class Held:
    """Most memory that a stage's processes held at one moment, in MB: all of them, and each.

    Shares of pages (PSS): what several have mapped counts once. Looked at ten times a second.
    """

    in_all: float = 0.0
    each: tuple[float, ...] = ()
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self, root: int) -> None:
        """Look until told to end."""
        while not self.ended.wait(0.1):
            shares = [one for one in map(_share_mb, _family(root)) if one]
            if sum(shares) > self.in_all:
                self.in_all, self.each = sum(shares), tuple(shares)


def _family(root: int) -> list[int]:
    """A process and all that descend from it; where there is no /proc, it alone."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for one in found:
        found += children.get(one, [])
    return found


def _share_mb(process: int) -> float:
    """Its share of the pages it uses; 0 when it has ended, or where Linux does not tell."""
    with contextlib.suppress(OSError):
        told = Path(f"/proc/{process}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in told.splitlines() if line[:4] == "Pss:") / 1024
    return 0.0


def measure(stage: str, home: Path, store: Path) -> dict[str, Any]:
    """Run one stage in its own process; wall and CPU seconds, peak memory, and what it says."""
    begun, held = time.perf_counter(), Held()
    with subprocess.Popen(
        [sys.executable, str(HERE / "stages.py"), stage, str(home), str(store)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    ) as run:
        assert run.stdout is not None
        watcher = threading.Thread(target=held.watch, args=(run.pid,))
        if stage in WATCHED:
            watcher.start()
        said = run.stdout.read()
        held.ended.set()
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode != 0:
        sys.exit(f"stage {stage} failed with exit code {run.returncode}")
    return {
        "stage": stage,
        "wall": time.perf_counter() - begun,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        "held": held,
    } | json.loads(said)


def emptied(store: Path, keep: str = "") -> Path:
    """Empty a store, but for one of its folders."""
    store.mkdir(parents=True, exist_ok=True)
    for path in store.iterdir():
        if path.name != keep:
            shutil.rmtree(path)
    return store


def told(found: dict[str, Any], ratio: str, expected: dict[str, float] | None = None) -> None:
    """Print one line; stop when a figure is not the naive one."""
    checked = found.get("checked", {})
    for name, value in (expected or {}).items():
        if abs(checked[name] - value) > 1e-9 * max(1.0, abs(value)):
            sys.exit(f"{found['stage']}: {name} is {checked[name]}; the naive way finds {value}")
    rounded = {name: f"{value:.6g}" for name, value in sorted(checked.items())}
    checksum = hashlib.sha256(json.dumps(rounded).encode()).hexdigest()[:12] if checked else ""
    print(
        f"{found['stage']:<12}{found['wall']:>8.1f}{found['cpu']:>8.1f}{found['peak_mb']:>8.0f}"
        f"{found['cells']:>13,}  {ratio:<46}{checksum}{' = naive' if expected else ''}",
        flush=True,
    )


def run(folder: Path, size: Size, repeats: int, stages: set[str]) -> None:
    """Run all stages on one company and print a line for each."""
    home = make_company(folder, size)
    slice_ = make_slice(home, size, min(size.customers, SLICE))
    store = folder / f"store_{size.label}"
    print(f"{size.customers:,} customers, {size.weeks} weeks, {size.events:,} events (about)")
    print(
        f"{'stage':<12}{'wall s':>8}{'CPU s':>8}{'MB':>8}{'cells':>13}  "
        f"{'ratio of CPU (target)':<46}checksum"
    )

    def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
        at = statistics.median_low(one["cpu"] for one in runs)
        return next(one for one in runs if one["cpu"] == at)

    def beside_l2(stage: str, keep: str = "") -> dict[str, Any]:
        """Find the middle run, and the middle of its ratios to L2 measured before and after it."""
        runs, ratios = [], []
        for _ in range(repeats):
            runs.append(measure(stage, home, emptied(store, keep)))
            yards.append(measure("L2", home, store))
            around = statistics.mean(one["cpu"] for one in yards[-2:])
            ratios.append(runs[-1]["cpu"] / around)
        return middle(runs) | {"ratio": statistics.median(ratios)}

    def truth(of: str) -> dict[str, float]:
        found: dict[str, float] = measure(f"truth of {of}", slice_, store)["checked"]
        return found

    emptied(store)
    yards = [measure("L2", home, store) for _ in range(repeats)]
    yard = middle(yards)
    told(yard, f"the yardstick, median of {repeats}")
    if "fold" in stages:
        checked = beside_l2("check")
        told(checked, f"{checked['ratio']:.2f} x L2, every row judged; in build, too")
        found = beside_l2("fold", keep="reads")
        assert found["events"] == yard["events"], "the fold lost or invented events"
        assert found["quantity"] == yard["quantity"], "the fold lost or invented quantities"
        told(found, f"{found['ratio']:.2f} x L2 (1.8)", truth("fold"))
    full = None
    if "build" in stages:
        full = beside_l2("build")
        told(full, f"{full['ratio']:.2f} x L2 (3.0), {full['columns']} features", truth("12"))
        for snapshots in ("12", "52"):
            found = measure(f"features{snapshots}", home, store)  # from what the build stored
            each = found["said_cpu"] / found["cells"] / (middle(yards)["cpu"] / yard["events"])
            told(
                found | {"cpu": found["said_cpu"]},
                f"{each:.2f} x L2's cost per event a cell (0.5)",
                truth(snapshots),
            )
    if "week" in stages and full is not None:
        there = make_week_before(home, size)
        measure("before", there, emptied(store))
        bring_newest_week(home, there)
        before = folder / f"store_before_{size.label}"
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(store, before)
        weeks = []
        for _ in range(repeats):
            shutil.rmtree(store)
            shutil.copytree(before, store)
            weeks.append(measure("week", there, store))
        shutil.rmtree(before)
        found = middle(weeks)
        told(found, f"1/{full['cpu'] / found['cpu']:.1f} of the full build (1/8)", truth("1"))
    if "obvious" in stages:
        for name, most, aim in OBVIOUS:
            customers = min(size.customers, most)
            part = home if customers == size.customers else make_slice(home, size, customers)
            mine = measure("ours", part, emptied(store))
            told(mine, f"{len(names_of(USAGE))} columns of {customers:,} customers")
            found = measure(name, part, store)
            told(found, f"{found['cpu'] / mine['cpu']:.1f} x ours ({aim})", mine["checked"])
    shutil.rmtree(store)


def run_scoring(folder: Path, name: str) -> None:
    """Score a week from stored weeks and print a line for each stage."""
    home, store = folder / "scored" / name, folder / f"store_scored_{name}"
    home.mkdir(parents=True, exist_ok=True)
    measure("store weeks", home, store)
    bare = measure("predict", home, emptied(store))
    ratio = bare["pipeline"] / bare["bare"]
    told(bare | {"cpu": bare["pipeline"]}, f"{ratio:.2f} x bare predictions (1.5)")
    found = measure("score", home, emptied(store))
    truth = measure("truth of score", home, store)["checked"]
    minutes = found["wall"] / 60
    told(found, f"{found['customers']:,} customers in {minutes:.1f} minutes (6)", truth)
    print("  wall s: " + ", ".join(f"{k} {v}" for k, v in found["seconds"].items() if k))
    held = found["held"]
    each = ", ".join(f"{one:.0f}" for one in held.each)
    print(f"  most memory of all processes at one moment: {held.in_all:.0f} MB ({each}; aim 4,096)")
    shutil.rmtree(store)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full", help="how big a company")
    parser.add_argument("--folder", type=Path, default=Path("out/benchmarks"), help="for its files")
    parser.add_argument("--repeats", type=int, default=3, help="runs of a stage; the median counts")
    parser.add_argument(
        "--stages", default="fold,build,week,obvious,score", help="which groups of stages to run"
    )
    given = parser.parse_args()
    stages = set(given.stages.split(","))
    if stages - {"score"}:
        run(given.folder, SIZES[given.size], given.repeats, stages)
    if "score" in stages and given.size in SCORED:
        run_scoring(given.folder, given.size)


if __name__ == "__main__":
    main()
