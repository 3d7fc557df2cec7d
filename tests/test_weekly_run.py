"""Bad luck: killed runs, two runs at once, a stop from the keyboard; real processes and signals."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from small_company import BEFORE, FILES, UNTIL, branch_of, contents, trained, weekly

from retain.jobs.store import PARTIAL

# where a run can be killed: what is called at that moment, and how often before
MOMENTS = {
    "features are built": ("retain.jobs.portions.matrix", 1),
    "tables of the week are written": ("retain.jobs.writing.write_report", 0),
    "the old week is about to move away": ("pathlib.Path.replace", 0),
    "the old week has moved away": ("pathlib.Path.replace", 1),
    "the new week is in place": ("retain.jobs.store.shutil.rmtree", 1),
}
FAST = ("the old week has moved away",)
KILL = """if True:
    import os, signal, sys, importlib
    import retain.jobs.portions, retain.jobs.writing, retain.jobs.store, pathlib
    where, calls, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    home, name = where.rsplit(".", 1)
    owner = None
    for part in home.split("."):
        owner = importlib.import_module(part) if owner is None else getattr(owner, part)
    real = getattr(owner, name)
    armed = [calls]
    def deadly(*given, **named):
        watched = [str(one) for one in given]
        if name in ("replace", "rmtree") and not any(f"/{words[0]}s/" in one for one in watched):
            return real(*given, **named)
        if armed[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        armed[0] -= 1
        return real(*given, **named)
    setattr(owner, name, deadly)
    from retain.cli import main
    sys.exit(main(words))
"""


@pytest.fixture
def scored(tmp_path_factory, tmp_path, capsys):
    """A company after two weekly runs, with a store of its own."""
    return branch_of(weekly(tmp_path_factory.getbasetemp()), tmp_path, capsys, with_store=True)


@pytest.fixture
def company(tmp_path_factory, tmp_path, capsys):
    """A trained company whose store is empty."""
    return branch_of(trained(tmp_path_factory.getbasetemp()), tmp_path, capsys)


def start(*words, code=None):
    """Start a process of its own: the command line, or other code."""
    program = ["-m", "retain"] if code is None else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )


def weeks(company):
    """Whatever a reader of the store would take for a scored week."""
    return sorted(path.name for path in (company.store / "scores").glob("as_of=*"))


@pytest.mark.parametrize(
    "moment",
    [m if m in FAST else pytest.param(m, marks=pytest.mark.slow) for m in MOMENTS],
)
def test_a_run_killed_when(moment, scored):
    before = contents(scored.store / "scores")
    where, calls = MOMENTS[moment]

    dead = start(where, calls, "score", scored.path, "--model", scored.model, code=KILL)
    _, said = dead.communicate(timeout=300)

    assert dead.returncode == -signal.SIGKILL, said
    left = contents(scored.store / "scores")
    mine = [name for name in before if name.startswith(f"as_of={BEFORE}/")]
    assert len(mine) == len(FILES)
    assert all(left[name] == before[name] for name in mine)
    for week in weeks(scored):  # a week is whole or it is not there
        assert all(left[f"{week}/{name}"] == before[f"{week}/{name}"] for name in FILES)
    if moment != "features are built":
        assert any(PARTIAL in name for name in left)

    ran = scored.run("report")  # the next run, whichever it is, tidies up

    assert ran.code == 0, ran
    assert contents(scored.store / "scores") == before


@pytest.mark.slow
def test_a_training_killed_while_it_saves_leaves_the_model_it_found(scored):
    before = contents(scored.store / "models")
    scored.settings["models"] = str(scored.store / "trains")  # what the killer watches
    (scored.store / "models").rename(scored.store / "trains")

    words = ("train", scored.path, "--seed", "1")
    dead = start("pathlib.Path.replace", 1, *words, code=KILL)
    _, said = dead.communicate(timeout=300)

    assert dead.returncode == -signal.SIGKILL, said
    assert not (scored.store / "trains" / "demo-churn").exists()
    assert scored.run("report").code == 0  # whichever run is next
    assert contents(scored.store / "trains") == before


@pytest.mark.slow
def test_a_run_killed_at_any_time_leaves_whole_weeks_and_the_next_run_works(scored):
    before = contents(scored.store / "scores")
    clock = time.monotonic()
    whole = start("score", scored.path)
    assert whole.wait(300) == 0
    took = time.monotonic() - clock
    chance = random.Random(0)
    for _ in range(6):
        run = start("score", scored.path)
        time.sleep(chance.uniform(0.3, 1.0) * took)
        run.kill()
        run.communicate()
        left = contents(scored.store / "scores")
        assert f"as_of={BEFORE}" in weeks(scored)
        assert all(
            left[f"{w}/{name}"] == before[f"{w}/{name}"] for w in weeks(scored) for name in FILES
        )

    last = start("score", scored.path)
    said = last.communicate(timeout=300)

    assert (last.returncode, said[1]) == (0, "")
    assert contents(scored.store / "scores") == before
    assert not list(scored.store.rglob(f"{PARTIAL}*"))


def test_a_second_run_is_refused_and_told_who_is_at_work(company):
    holder = start(
        company.store,
        code="import sys; from pathlib import Path; from retain.jobs.store import Store\n"
        "with Store(Path(sys.argv[1])).locked('train'):\n    print('held', flush=True)\n"
        "    sys.stdin.read()",
    )
    try:
        assert holder.stdout.readline() == "held\n"
        ran = company.run("score", "--model", company.model)
    finally:
        holder.communicate()

    assert ran.code == 1
    assert f"is in use by `retain train` (process {holder.pid})" in ran.err
    assert "run again" in ran.err
    assert weeks(company) == []


@pytest.mark.slow
def test_of_two_runs_started_together_one_scores_and_one_is_refused_or_follows(scored):
    before = contents(scored.store / "scores")
    runs = [start("score", scored.path) for _ in range(2)]
    said = [run.communicate(timeout=300) for run in runs]

    codes = sorted(run.returncode for run in runs)
    assert codes in ([0, 0], [0, 1]), said
    if 1 in codes:
        (loser,) = [err for run, (_, err) in zip(runs, said, strict=True) if run.returncode == 1]
        assert "is in use by `retain score`" in loser
    assert contents(scored.store / "scores") == before


@pytest.mark.slow
def test_ctrl_c_in_the_middle_leaves_the_store_as_it_was(scored):
    before = contents(scored.store / "scores")
    run = start("score", scored.path)
    holder = scored.store / ".lock-holder"
    while run.poll() is None and not holder.exists():
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=300)

    assert (run.returncode, out) == (130, ""), err
    assert err == "retain: stopped; nothing half-written was left behind\n"
    assert contents(scored.store / "scores") == before
    assert not holder.exists()


@pytest.mark.slow
def test_a_run_from_cron_says_nothing_but_the_week(scored):
    run = start("score", scored.path, "--model", scored.model)
    out, err = run.communicate(timeout=300)

    assert (run.returncode, err) == (0, "")
    assert f"written to {scored.week(UNTIL)}" in out
