"""The process killed at any moment: what was confirmed is there, nothing is there by half.

SIGKILL to a real process, at random times (the seed is printed), fifty times in all.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from action_weeks import bring, day

from retain.actions import open_store

HERE = Path(__file__).parent
SEED = 20261122
KILLS = 25  # each of importing and writing verdicts

VERDICTS = """
import sys
from retain.actions import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
n = int(sys.argv[2])
while True:
    key = {"customer_id": f"C{n}", "as_of": "2026-08-02", "target": "churn",
           "signal": "open cases", "person": "ann"}
    with store.writing("ann") as write:
        write.save("verdicts", key, {"verdict": "right", "model_version": "m1"}, version=0)
        write.save("judgements", {"customer_id": f"C{n}", "as_of": "2026-08-02"},
                   {"lead_risk": "low"}, version=0)
    print(n, flush=True)
    n += 1
"""

WEEKS = """
import sys
from action_weeks import bring
from retain.actions import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
turn = int(sys.argv[2])
while True:
    bring(store, 0, n=60 + turn % 2, fingerprint=f"turn {turn}")
    print(turn, flush=True)
    turn += 1
"""


def run_and_kill(script, address, first, after_s):
    """Start a real process, kill it `after_s` after it is ready; give what it had confirmed."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, address, str(first)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
    )
    assert "ready\n" == process.stdout.readline()
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    said = process.stdout.read().split()
    process.wait()
    return [int(word) for word in said]


@pytest.mark.slow
def test_every_confirmed_verdict_outlives_the_kill_and_none_is_there_by_half(database):
    """Seen to fail: with a commit between the two writes, a judgement was missing after a kill."""
    print("seed", SEED)
    chance, confirmed = random.Random(SEED), set()
    open_store(database).close()
    for kill in range(KILLS // 2 if "postgresql" in database else KILLS - KILLS // 2):
        confirmed |= set(run_and_kill(VERDICTS, database, 10_000 * kill, chance.uniform(0.0, 0.3)))
        with open_store(database) as store:
            # one statement sees one state: a server may still be ending what the dead one began
            there = store.row(
                "SELECT (SELECT count(*) FROM verdicts) AS verdicts, (SELECT count(*) FROM "
                "judgements) AS judgements, (SELECT count(*) FROM events) AS trail"
            )
            kept = {row["customer_id"] for row in store.rows("SELECT customer_id FROM verdicts")}
        assert {f"C{n}" for n in confirmed} <= kept
        assert there["verdicts"] == there["judgements"]
        assert 2 * there["verdicts"] == there["trail"]
    assert confirmed  # the kills came in the middle of work


@pytest.mark.slow
def test_a_week_is_there_whole_as_before_or_as_after_whenever_the_import_is_killed(database):
    """Seen to fail: with a commit after the deletion, a week without scores was found."""
    print("seed", SEED)
    chance, turn = random.Random(SEED + 1), 0
    with open_store(database) as store:
        bring(store, 0, n=60, fingerprint="turn 0")
        with store.writing("ann") as write:
            write.save(
                "judgements",
                {"customer_id": "C1", "as_of": str(day(0))},
                {"lead_risk": "high"},
                version=0,
            )
    for _ in range(KILLS // 2 if "postgresql" in database else KILLS - KILLS // 2):
        done = run_and_kill(WEEKS, database, turn + 1, chance.uniform(0.0, 0.5))
        with open_store(database) as store:
            week = store.row(
                "SELECT *, (SELECT count(*) FROM scores) AS scored, (SELECT count(*) FROM drivers) "
                "AS reasons, (SELECT count(*) FROM judgements) AS judged FROM weeks"
            )
        turn = int(week["manifest_hash"].removeprefix("turn "))
        people = 60 + turn % 2
        assert (people, 3 * people, 1) == (week["scored"], week["reasons"], week["judged"])
        assert people == week["customers"]
        assert turn >= max(done, default=0)
    assert turn > 0  # some imports had ended before the kill
