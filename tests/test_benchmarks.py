"""The benchmark runs at a small size, and what its stages find is what the naive way finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "benchmarks"
STAGES = ("fold", "build", "features12", "features52", "week", "pandas", "naive", "score")


@pytest.mark.slow
def test_every_stage_of_the_benchmark_finds_what_the_naive_way_finds(tmp_path: Path) -> None:
    """Seen to fail when `naive.py` joined windows one day longer."""
    asked = [sys.executable, str(HERE), "--size", "tiny", "--repeats", "1", "--folder"]
    ran = subprocess.run([*asked, str(tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = {line.split()[0]: line for line in ran.stdout.splitlines() if line}
    for stage in STAGES:
        assert lines[stage].endswith("= naive")
        wall, cpu, megabytes, cells = lines[stage].split()[1:5]
        assert min(float(wall), float(cpu), float(megabytes)) > 0
        assert int(cells.replace(",", "")) > (5_000 if stage == "score" else 100_000)
    assert "x L2 (1.8)" in lines["fold"]
    assert "191 features" in lines["build"]
    assert "x bare predictions (1.5)" in lines["predict"]
    assert "800 customers in" in lines["score"]
    (held,) = [line for line in ran.stdout.splitlines() if "all processes at one moment" in line]
    assert float(held.split(":")[1].split()[0]) > 100
