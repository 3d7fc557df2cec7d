"""The process killed at any moment: what was confirmed is there, nothing is there by half.

SIGKILL to the real commands, at random times (the seeds are printed), fifty times in all. Each kill
comes after work that was really done, or while it was: that is asked for, too.
"""

from __future__ import annotations

import random
import threading
import time
from urllib.parse import quote

import httpx2
import pytest
from alert_sinks import nobody_listens
from real_process import commands, until
from review_company import AS_OF, configured, form_token, write_files, written_week

from retain.actions import open_store

pytestmark = pytest.mark.slow
SEED = 20261123
KILLS = {"sqlite": 13, "postgresql": 12}  # of each of the two


def kind_of(address):
    return address.partition(":")[0]


class Reviewer(threading.Thread):
    """Gives one verdict after the other in the page at `port`, until it no longer answers."""

    def __init__(self, port, drivers):
        super().__init__(daemon=True)
        self.drivers, self.sent, self.confirmed = drivers, None, []
        self.visitor = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)
        self.token = form_token(self.visitor.get("/"))

    def run(self):
        for driver in self.drivers:
            self.sent = (driver["customer_id"], driver["signal"])
            fields = {
                **{"form_token": self.token, "as_of": AS_OF, "target": "churn", "version": "0"},
                **{"signal": driver["signal"], "verdict": "wrong", "comment": f"of {self.sent}"},
            }
            path = f"/customers/{quote(driver['customer_id'], safe='')}/verdict"
            try:
                answer = self.visitor.post(path, data=fields)
            except httpx2.TransportError:
                return
            assert 303 == answer.status_code, answer.text
            self.confirmed.append(self.sent)


def answers(port):
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/static/review.css", timeout=1).is_success
    except httpx2.TransportError:
        return False


def test_every_confirmed_verdict_outlives_the_kill_and_none_is_there_by_half(database, tmp_path):
    """The page is killed while a browser gives verdicts.

    Seen to fail when a row was committed before its entry in the trail: a verdict without one. And
    when the page confirmed a moment before it wrote: a confirmed one missing.
    """
    path = configured(tmp_path, database)
    write_files(tmp_path, written_week(60, hostile=False))
    chance, kills = random.Random(SEED), KILLS[kind_of(database)]
    confirmed, unanswered, port = set(), set(), nobody_listens()
    with commands(str(tmp_path / "errors")) as retain:
        for _ in range(kills):
            retain.start("review", str(path), "--port", str(port))
            until(lambda: answers(port))
            with open_store(database) as store:
                drivers = store.rows(
                    "SELECT d.customer_id, d.signal FROM drivers d WHERE d.target = 'churn' AND "
                    "NOT EXISTS (SELECT 1 FROM verdicts v WHERE v.customer_id = d.customer_id AND "
                    "v.signal = d.signal) ORDER BY d.customer_id, d.place"
                )
            reviewer, least = Reviewer(port, drivers), chance.randint(1, 6)
            reviewer.start()
            until(lambda: len(reviewer.confirmed) >= least)  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.05))
            assert retain.kill()
            reviewer.join(30)
            assert len(reviewer.confirmed) >= least  # it had worked until it was killed
            assert reviewer.sent not in reviewer.confirmed  # and was at work when it was
            confirmed |= set(reviewer.confirmed)
            unanswered.add(reviewer.sent)
            with open_store(database) as store:
                # one statement sees one state: a server may still be ending what a dead one began
                rows = store.rows(
                    "SELECT v.customer_id, v.signal, v.comment, v.version, (SELECT count(*) FROM "
                    "events e WHERE e.what = 'wrote verdicts' AND e.customer_id = v.customer_id "
                    "AND e.after LIKE '%\"' || v.signal || '\"%') AS trail FROM verdicts v"
                )
            kept = {(row["customer_id"], row["signal"]) for row in rows}
            assert confirmed <= kept <= confirmed | unanswered
            for row in rows:
                assert f"of {(row['customer_id'], row['signal'])}" == row["comment"]
                assert (1, 1) == (row["version"], row["trail"])
    print(
        f"seed {SEED}: {kills} kills, {len(confirmed)} verdicts confirmed and there; of {kills} "
        f"under way {len(unanswered & kept)} were written whole, the others not at all"
    )


def test_a_week_is_there_whole_as_before_or_as_after_whenever_the_import_is_killed(
    database, tmp_path
):
    """`retain queue` is killed while it brings in a week that was scored again.

    Seen to fail when the week's sums were a transaction of their own: killed between the two, a
    week was left with the sums of the one before, and no later run made them.
    """
    path = configured(tmp_path, database)
    chance, kills = random.Random(SEED + 1), KILLS[kind_of(database)]
    sizes = [400 + n for n in range(3)]
    weeks = [written_week(size, seed=size, hostile=False) for size in sizes]
    write_files(tmp_path, weeks[0])

    def found():
        with open_store(database) as store:
            return store.row(
                "SELECT w.customers, w.eligible, w.queue, (SELECT count(*) FROM scores) AS scored, "
                "(SELECT count(*) FROM scores WHERE eligible) AS could, (SELECT "
                "sum(customers) FROM portfolio) AS added, (SELECT count(*) FROM drivers) AS "
                "reasons, (SELECT count(*) FROM judgements) AS judged, (SELECT count(*) FROM "
                "verdicts) AS said FROM weeks w"
            )

    def whole(week):
        scores, drivers = week["scores"], week["drivers"]
        eligible = int(scores["eligible"].sum())
        return (len(scores), eligible, len(scores), eligible, eligible, len(drivers), 1, 1)

    with commands(str(tmp_path / "errors")) as retain:
        took = []
        for turn in range(2):  # how long it takes, unkilled
            write_files(tmp_path, weeks[turn])
            began = time.monotonic()
            retain.start("queue", str(path))
            assert 0 == retain.ended()
            took.append(time.monotonic() - began)
        with open_store(database) as store, store.writing("ann") as write:
            key = {"customer_id": "C-00001", "as_of": AS_OF}
            write.save("judgements", key, {"lead_risk": "high"}, version=0)
            said = {"target": "churn", "signal": "logins", "person": "ann"}
            write.save(
                "verdicts", key | said, {"verdict": "wrong", "model_version": "m"}, version=0
            )
        there, struck, before, after, unmade = 1, 0, 0, 0, 0
        while struck < kills:
            coming = (there + 1 + struck % 2) % 3
            write_files(tmp_path, weeks[coming])
            retain.start("queue", str(path))
            time.sleep(chance.uniform(0.0, max(took)))
            if not retain.kill():
                there = coming
                continue  # it had ended: no kill
            struck += 1
            row = found()
            assert row["customers"] in (sizes[there], sizes[coming])
            before += row["customers"] == sizes[there]
            after += row["customers"] == sizes[coming]
            there = sizes.index(row["customers"])
            unmade += row["queue"] is None
            assert whole(weeks[there]) == tuple(v for n, v in row.items() if n != "queue")
        retain.start("queue", str(path))
        assert 0 == retain.ended()
    row = found()
    assert whole(weeks[coming]) == tuple(v for n, v in row.items() if n != "queue")
    assert row["queue"] is not None
    print(f"seed {SEED + 1}: {kills} kills, {before} before, {after} after, {unmade} no queue yet")
    assert before > 0 < after  # the kills came in the middle of it
