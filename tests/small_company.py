"""A small simulated company, trained once a session, and branches of it to spoil and to run.

A branch has its own configuration and its own copy of the store; tables that a test does not touch
are read where the company wrote them.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock

from retain.cli import main

CUSTOMERS, WEEKS, SEED = 600, 78, 3
UNTIL = dt.date(2026, 11, 15)
BEFORE = dt.date(2026, 11, 8)
FILES = (
    *("drivers.parquet", "manifest.json", "report.html", "scores.parquet"),
    *("timeline.parquet", "weekly.parquet"),
)


@dataclass
class Ran:
    """What one command left on the screen."""

    code: int
    out: str
    err: str


@dataclass
class Branch:
    """A company's configuration as plain data, written out when it is run."""

    folder: Path
    settings: dict[str, Any]
    model: Path  # the saved model of the training that all branches share
    capsys: Any = None

    @property
    def path(self) -> Path:
        """The configuration file, written anew."""
        path = self.folder / "retain.yaml"
        path.write_text(yaml.safe_dump(self.settings, sort_keys=False), encoding="utf-8")
        return path

    @property
    def store(self) -> Path:
        return Path(self.settings["store"])

    def table(self, name: str) -> pd.DataFrame:
        """Read a table as the file has it."""
        source = Path(self.settings["tables"][name]["source"])
        return pd.concat(
            [pd.read_parquet(path) for path in sorted(source.parent.glob(source.name))],
            ignore_index=True,
        )

    def replace(self, name: str, table: pd.DataFrame | bytes) -> Path:
        """Point the configuration at another file for a table."""
        path = self.folder / f"{name}.parquet"
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            table.to_parquet(path, index=False)
        self.settings["tables"][name]["source"] = str(path)
        return path

    def change(self, name: str, spoil: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Put a changed copy in the place of a table."""
        self.replace(name, spoil(self.table(name)))

    def run(self, *words: Any) -> Ran:
        """Run one command on this company, in this process."""
        return run(self.capsys, words[0], self.path, *words[1:])

    def week(self, day: dt.date = UNTIL) -> Path:
        return self.store / "scores" / f"as_of={day}"

    def scores(self, day: dt.date = UNTIL) -> pd.DataFrame:
        return pd.read_parquet(self.week(day) / "scores.parquet")

    def manifest(self, day: dt.date = UNTIL) -> dict[str, Any]:
        return json.loads((self.week(day) / "manifest.json").read_text("utf-8"))


def run(capsys: Any, *words: Any) -> Ran:
    """Run one command in this process; whoever sees a traceback has found a bug."""
    capsys.readouterr()
    try:
        code = main([str(word) for word in words])
    except SystemExit as left:  # argparse leaves like this
        code = int(left.code or 0)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return Ran(code, said.out, said.err)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@functools.cache
def trained(root: Path) -> Branch:
    """Make the company and train it through the command line, once for all workers."""
    return _once(root, "small-company", _train)


@functools.cache
def weekly(root: Path) -> Branch:
    """The company after two weekly runs of the command line, once for all workers."""
    return _once(root, "two-weeks", lambda folder: _score_two_weeks(root, folder))


def _once(root: Path, name: str, make: Callable[[Path], Branch]) -> Branch:
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    kept = shared / f"{name}.json"
    with FileLock(shared / f"{name}.lock"):
        if not kept.exists():
            (shared / name).mkdir()
            made = make(shared / name)
            kept.write_text(json.dumps([made.settings, str(made.model)], default=str))
    settings, model = json.loads(kept.read_text())
    return Branch(shared / name, settings, Path(model))


def _train(folder: Path) -> Branch:
    from retain.demo import make_company

    company = make_company(CUSTOMERS, weeks=WEEKS, seed=SEED, until=UNTIL)
    company.tables["usage"] = company.tables["usage"].iloc[::6]  # enough to learn from, and quick
    for name in ("treatments", "costs"):  # no feature comes from these
        del company.tables[name]
    settings = yaml.safe_load(company.write(folder).read_text("utf-8"))
    settings["store"] = str(folder / "store")
    settings["snapshots"] = {"every_weeks": 8}
    del settings["alerts"]  # tests of alerts ask for them
    for mapping in settings["tables"].values():
        mapping["source"] = str(folder / mapping["source"])
    branch = Branch(folder, settings, folder / "store" / "models" / "demo-churn")
    assert main(["train", str(branch.path)]) == 0
    return branch


def _score_two_weeks(root: Path, folder: Path) -> Branch:
    branch = branch_of(trained(root), folder, with_store=True)
    for day in (BEFORE, UNTIL):
        assert main(["score", str(branch.path), "--as-of", str(day)]) == 0
    return branch


def branch_of(
    branch: Branch, folder: Path, capsys: Any = None, *, with_store: bool = False
) -> Branch:
    """Copy a company's configuration, and its store when asked to, for a test to play with.

    Folded weeks come along in any case: they are found again or folded again, and save time.
    """
    settings = copy.deepcopy(branch.settings)
    settings["store"] = str(folder / "store")
    part = "." if with_store else "weeks"
    shutil.copytree(branch.store / part, folder / "store" / part)
    return Branch(folder, settings, branch.model, capsys)


def left_within(branch: Branch, day: dt.date, weeks: int = 13, grace: int = 4) -> set[str]:
    """Who left within the horizon, worked out from the contracts by hand."""
    spans = branch.table("subscriptions")
    spans = spans[~spans["is_trial"].astype("boolean").fillna(False).to_numpy(dtype=bool)]
    first = pd.Timestamp(day) + pd.Timedelta(days=1)
    gone = set()
    for who, own in spans.groupby("acct_no"):
        for end in own["finish"].dropna():
            runs = (own["begin"] <= end + pd.Timedelta(weeks=grace)) & ~(own["finish"] <= end)
            if first <= end < first + pd.Timedelta(weeks=weeks) and not runs.any():
                gone.add(who)
    return gone
