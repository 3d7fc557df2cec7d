"""The store: one run at a time, whole weeks or none, the same bytes every time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from report_week import AS_OF, make_week

from retain.errors import StoreError
from retain.jobs.progress import Steps
from retain.jobs.store import Store, partial
from retain.jobs.writing import (
    SCORE_COLUMNS,
    TableFile,
    score_columns,
    write_manifest,
    write_page,
)

HOLDER = """
import sys, time
from pathlib import Path
from retain.jobs.store import Store
with Store(Path(sys.argv[1])).locked("score"):
    print("holding", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def another_run(store, code=HOLDER):
    """A process of its own that has said that it holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(store.folder)], stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout.readline().strip() == "holding"
            yield run
        finally:
            run.kill()


# ---- one run at a time -------------------------------------------------------------------------


def test_a_second_run_is_refused_and_told_who_is_at_work(store):
    with another_run(store) as run:
        refusal = pytest.raises(StoreError, match="two runs never share a store")
        with refusal as refused, store.locked("train"):
            pytest.fail("two runs at work")
        assert f"in use by `retain score` (process {run.pid})" in str(refused.value)
        assert str(store.folder) in str(refused.value)


def test_a_killed_run_does_not_keep_the_next_one_out(store):
    with another_run(store) as run:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert "score" in (store.folder / ".lock-holder").read_text()  # it had no time to tidy up

    with store.locked("train"):
        assert "train" in (store.folder / ".lock-holder").read_text()
    assert ".lock-holder" not in names(store.folder)


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_a_run_that_fails_frees_the_store(store, problem):
    with pytest.raises(problem, match="on purpose"), store.locked("train"):
        raise problem("on purpose")
    with store.locked("score"):
        pass


def test_the_same_process_cannot_enter_twice_but_two_stores_are_two(store, tmp_path):
    with store.locked("train"):
        with pytest.raises(StoreError, match="in use by `retain train`"), store.locked("score"):
            pytest.fail("entered twice")
        with Store(tmp_path / "other").locked("score"):
            pass


def test_a_store_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "taken").write_text("a file")
    refusal = pytest.raises(StoreError, match=r"taken cannot be made: .+ Choose another folder")
    with refusal, Store(tmp_path / "taken").locked("train"):
        pytest.fail("made")


def test_a_store_that_cannot_be_written_is_told(store):
    store.folder.mkdir()
    (store.folder / ".lock-holder").mkdir()  # even root cannot write over a folder
    refusal = pytest.raises(StoreError, match=r"cannot be written: .+ whether the disk is full")
    with refusal, store.locked("train"):
        pytest.fail("written")


# ---- whole or not at all -----------------------------------------------------------------------


def write(store, target, text, problem=None):
    with store.replacing(target) as folder:
        (folder / "scores.txt").write_text(text)
        if problem is not None:
            raise problem


def test_a_folder_appears_when_all_went_well(store):
    target = store.folder / "scores" / "week"
    with store.replacing(target) as folder:
        (folder / "scores.txt").write_text("new")
        assert not target.exists()

    assert contents(target) == {"scores.txt": b"new"}
    assert names(target.parent) == ["week"]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_previous_folder_untouched(store, problem):
    target = store.folder / "scores" / "week"
    write(store, target, "old")
    with pytest.raises(problem, match="on purpose"):
        write(store, target, "half of it", problem("on purpose"))

    assert contents(target) == {"scores.txt": b"old"}
    assert names(target.parent) == ["week"]


def test_a_rewritten_folder_keeps_nothing_of_the_old_one(store):
    target = store.folder / "scores" / "week"
    write(store, target, "old")
    (target / "stray.txt").write_text("left by hand")
    write(store, target, "new")

    assert contents(target) == {"scores.txt": b"new"}


DIES_WRITING = """
import os, signal, sys
from pathlib import Path
from retain.jobs.store import Store
store = Store(Path(sys.argv[1]))
with store.locked("score"), store.replacing(store.folder / "scores" / "week") as folder:
    (folder / "scores.txt").write_text("half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""

DIES_MOVING = """
import os, signal, sys
from pathlib import Path
from retain.jobs.store import Store
store, move = Store(Path(sys.argv[1])), Path.replace
def replace(self, target):
    if self.name.startswith(".partial-week"):  # the old week has just been moved away
        os.kill(os.getpid(), signal.SIGKILL)
    return move(self, target)
Path.replace = replace
with store.locked("score"), store.replacing(store.folder / "scores" / "week") as folder:
    (folder / "scores.txt").write_text("new")
"""


def run_and_die(store, code):
    run = subprocess.run([sys.executable, "-c", code, str(store.folder)], check=False)
    assert run.returncode == -signal.SIGKILL


def test_a_run_killed_while_writing_leaves_the_previous_week_and_is_cleared_up_after(store):
    target = store.folder / "scores" / "week"
    write(store, target, "old")
    run_and_die(store, DIES_WRITING)
    assert contents(target) == {"scores.txt": b"old"}
    assert len(names(target.parent)) == 2

    with store.locked("score"):
        assert names(target.parent) == ["week"]
    assert contents(target) == {"scores.txt": b"old"}


def test_a_run_killed_between_two_moves_gives_the_previous_week_back(store):
    target = store.folder / "scores" / "week"
    write(store, target, "old")
    run_and_die(store, DIES_MOVING)
    assert not target.exists()

    with store.locked("score"):
        assert contents(target) == {"scores.txt": b"old"}
        assert names(target.parent) == ["week"]


def test_only_leftovers_are_cleared(store):
    deep = store.folder / "weeks" / "usage"
    deep.mkdir(parents=True)
    (deep / ".partial-2026-11-15.parquet-77").write_text("cut sh")
    (deep / "2026-11-15.parquet").write_text("whole")
    (deep / ".hidden").write_text("somebody's")
    (store.folder / ".partial-a-1" / ".partial-old-b-1" / "c").mkdir(parents=True)
    with store.locked("train"):
        assert names(deep) == [".hidden", "2026-11-15.parquet"]
        assert names(store.folder) == [".lock", ".lock-holder", "weeks"]


def test_what_is_written_aside_carries_the_process(tmp_path):
    assert partial(tmp_path / "page.html") == tmp_path / f".partial-page.html-{os.getpid()}"


# ---- attributes as each week saw them ----------------------------------------------------------


def seats(number):
    return pd.DataFrame({"customer_id": ["007", "ü"], "seats": [number, None]})


def test_attribute_copies_are_those_known_by_the_day(store):
    assert store.attribute_copies(date(2026, 11, 15)) is None
    for day, number in ((15, 3.0), (1, 1.0), (8, 2.0)):
        store.keep_attributes(date(2026, 11, day), seats(number))
    copies = store.attribute_copies(date(2026, 11, 8))

    assert copies["recorded_at"].dt.day.tolist() == [1, 1, 8, 8]
    assert copies["customer_id"].tolist() == ["007", "ü"] * 2
    assert copies["seats"].tolist()[::2] == [1.0, 2.0]
    assert store.attribute_copies(date(2026, 10, 31)) is None
    assert len(store.attribute_copies(date(2027, 1, 1))) == 6


def test_a_week_keeps_one_copy_and_foreign_files_are_passed_over(store):
    day = date(2026, 11, 15)
    store.keep_attributes(day, seats(1.0))
    store.keep_attributes(day, seats(9.0))
    (store.attributes / "as_of=notes.parquet").write_text("not a date, not a table")
    (store.attributes / ".partial-as_of=2026-11-01.parquet-1").write_text("cut short")

    assert store.attribute_copies(day)["seats"].tolist()[0] == 9.0
    assert len(store.attribute_copies(day)) == 2


# ---- a scored week as files --------------------------------------------------------------------


def scored_week():
    made = make_week()
    scores = made["scores"].reindex(columns=list(SCORE_COLUMNS))
    return scores, made["drivers"], made["weekly"], made["manifest"]


def write_week(store, as_of, scores, drivers, weekly, manifest):
    """Write a week as the weekly run does: aside, then moved into place."""
    with store.replacing(store.week(as_of)) as folder:
        tables = {"scores": scores[score_columns([])], "drivers": drivers, "weekly": weekly}
        for name, rows in tables.items():
            table = TableFile(folder / f"{name}.parquet")
            table.add(rows)
            table.close()
        write_manifest(folder, manifest)
        write_page(folder, folder / "report.html")
    return store.week(as_of)


@pytest.fixture(scope="module")
def week():
    return scored_week()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_table_has_the_same_bytes_however_its_rows_are_brought(tmp_path, week, size, monkeypatch):
    """Seen to fail when what was waiting was written as it came, without regard to blocks."""
    monkeypatch.setattr("retain.jobs.writing.BLOCK_ROWS", 20)
    drivers = week[1].head(61)
    whole, parts = (TableFile(tmp_path / name) for name in ("whole", "parts"))
    whole.add(drivers)
    for first in range(0, len(drivers), size):
        parts.add(drivers.iloc[first : first + size])
    whole.close()
    parts.close()

    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    file = pq.ParquetFile(tmp_path / "parts")
    blocks = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    assert blocks == [20, 20, 20, 1]
    pd.testing.assert_frame_equal(file.read().to_pandas(), pd.read_parquet(tmp_path / "whole"))


def test_writing_a_week_twice_gives_the_same_bytes(store, week):
    folder = write_week(store, AS_OF, *week)
    first = contents(folder)
    again = contents(write_week(store, AS_OF, *(part.copy() for part in week)))

    assert folder == store.folder / "scores" / "as_of=2026-11-15"
    assert sorted(first) == [
        "drivers.parquet",
        "manifest.json",
        "report.html",
        "scores.parquet",
        "weekly.parquet",
    ]
    assert again == first


def test_a_week_written_elsewhere_at_another_time_has_the_same_bytes(store, week, tmp_path):
    """Neither clock nor path, host or process may show in the files."""
    code = (
        "import sys; sys.path.insert(0, 'tests'); from pathlib import Path;"
        "from test_store import AS_OF, Store, scored_week, write_week;"
        "write_week(Store(Path(sys.argv[1])), AS_OF, *scored_week())"
    )
    elsewhere = tmp_path / "somewhere" / "else"
    subprocess.run(
        [sys.executable, "-c", code, str(elsewhere)],
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "HOSTNAME": "other"},
    )
    here = contents(write_week(store, AS_OF, *week))

    assert contents(Store(elsewhere).week(AS_OF)) == here


def test_a_week_reads_back_as_written(store, week):
    write_week(store, AS_OF, *week)
    scores = store.read_week(AS_OF, "scores")

    assert scores["customer_id"].tolist() == week[0]["customer_id"].tolist()
    assert "007" in set(scores["customer_id"])
    pd.testing.assert_series_equal(
        scores["churn_probability"], week[0]["churn_probability"], check_exact=True
    )
    assert list(scores.columns) == list(SCORE_COLUMNS)
    assert store.read_manifest(AS_OF) == week[3]
    assert store.read_week(AS_OF, "absent") is None
    assert store.read_week(date(2020, 1, 5), "scores") is None


def test_columns_keep_their_types_when_nothing_is_known(store, week):
    scores, drivers, weekly, manifest = week
    empty = scores.assign(clv=None, owner=None, renews_at=None, churn_probability=float("nan"))
    full = pq.read_schema(write_week(store, AS_OF, *week) / "scores.parquet")
    none = pq.read_schema(
        write_week(store, AS_OF, empty, drivers.iloc[:0], weekly.iloc[:0], manifest)
        / "scores.parquet"
    )
    assert none.equals(full)
    assert len(store.read_week(AS_OF, "drivers")) == 0


def test_a_week_that_cannot_be_written_whole_is_not_written(store, week):
    before = contents(write_week(store, AS_OF, *week))
    with pytest.raises(TypeError, match="JSON"):
        write_week(store, AS_OF, *week[:3], {**week[3], "odd": object()})
    with pytest.raises(KeyError, match="clv_high"):
        write_week(store, AS_OF, week[0].drop(columns="clv_high"), *week[1:])

    assert contents(store.week(AS_OF)) == before
    assert names(store.week(AS_OF).parent) == ["as_of=2026-11-15"]


def test_scored_weeks_are_listed_oldest_first(store):
    assert store.scored_weeks() == []
    for name in ("as_of=2026-11-15", "as_of=2026-11-08", "as_of=notes", ".partial-as_of=x-1"):
        (store.folder / "scores" / name).mkdir(parents=True)

    assert store.scored_weeks() == [date(2026, 11, 8), date(2026, 11, 15)]


# ---- progress ----------------------------------------------------------------------------------


def test_progress_never_goes_back_and_ends_at_its_end():
    heard = []
    steps = Steps(lambda text, share: heard.append((text, share)), {"a": 2, "b": 6}, 0.5, 1.0)
    steps("a")
    steps.part(1, 2)
    steps("b")
    steps.detail("half way", 0.5)
    steps.part(0, 0)
    steps.done()

    assert [share for _, share in heard] == [0.5, 0.5625, 0.625, 0.8125, 0.625, 1.0]
    assert heard[1][0] == "a: 1 of 2"
    assert heard[3][0] == "b: half way"


def test_a_step_that_was_not_announced_is_a_mistake():
    with pytest.raises(ValueError, match="'c' is not in list"):
        Steps(lambda text, share: None, {"a": 1})("c")
