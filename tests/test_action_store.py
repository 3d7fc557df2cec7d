"""The action store: the same promises on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import random
import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from retain.actions import StaleWrite, open_store
from retain.actions import store as store_module
from retain.errors import ConfigError, StoreError

KEY = {"customer_id": "C1", "as_of": "2026-11-15"}


@pytest.fixture
def store(database):
    with open_store(database) as opened:
        yield opened


def test_what_is_saved_is_read_back_and_counts_its_versions(store):
    with store.writing("ann") as write:
        first = write.save("judgements", KEY, {"lead_risk": "high"}, version=0)
    with store.writing("bob") as write:
        second = write.save("judgements", KEY, {"final_risk": "watch"}, version=1)

    assert (1, "ann") == (first["version"], first["written_by"])
    assert (2, "bob", "high", "watch") == tuple(
        second[name] for name in ("version", "written_by", "lead_risk", "final_risk")
    )


def test_a_stale_write_is_refused_with_what_the_other_one_wrote(store):
    with store.writing("ann") as write:
        write.save("judgements", KEY, {"lead_risk": "high"}, version=0)
    with store.writing("bob") as write:
        write.save("judgements", KEY, {"comment": "spoke to them"}, version=1)

    with (
        pytest.raises(StaleWrite, match="bob wrote this") as refused,
        store.writing("ann") as write,
    ):
        write.save("judgements", KEY, {"comment": "no answer"}, version=1)

    assert "spoke to them" == refused.value.theirs["comment"]
    assert "spoke to them" == store.row("SELECT comment FROM judgements")["comment"]


def test_two_who_both_saw_nothing_do_not_overwrite_each_other(store):
    with store.writing("ann") as write:
        write.save("judgements", KEY, {"lead_risk": "high"}, version=0)

    with pytest.raises(StaleWrite, match="ann wrote this"), store.writing("bob") as write:
        write.save("judgements", KEY, {"lead_risk": "low"}, version=0)

    assert "high" == store.row("SELECT lead_risk FROM judgements")["lead_risk"]


def test_a_row_erased_meanwhile_is_said_to_be_gone(store):
    with pytest.raises(StaleWrite, match="erased meanwhile"), store.writing("ann") as write:
        write.save("judgements", KEY, {"lead_risk": "low"}, version=3)


def test_a_transaction_that_fails_leaves_nothing(store):
    def midway(write):
        write.save("judgements", KEY, {"lead_risk": "high"}, version=0)
        write.save("judgements", KEY, {"mood": "bad"}, version=1)

    with pytest.raises(StoreError, match="no column 'mood'"), store.writing("ann") as write:
        midway(write)

    assert [] == store.rows("SELECT * FROM judgements")
    assert [] == store.rows("SELECT * FROM events")


def test_every_write_is_in_the_trail_with_what_was_there_before(store):
    with store.writing("ann") as write:
        write.save("judgements", KEY, {"lead_risk": "high"}, version=0)
    with store.writing("bob") as write:
        write.save("judgements", KEY, {"lead_risk": "low"}, version=1)
    trail = store.rows(sa.select(sa.table("events", *map(sa.column, ("actor", "customer_id")))))
    changed = store.rows(store_module.events.select().order_by(store_module.events.c.id))[-1]

    assert [("ann", "C1"), ("bob", "C1")] == [(e["actor"], e["customer_id"]) for e in trail]
    assert ("high", "low") == (changed["before"]["lead_risk"], changed["after"]["lead_risk"])


def test_twenty_writers_at_once_lose_no_update(store):
    """Each adds one to the same counter until it succeeds; without the version 35 were lost."""
    with store.writing("start") as write:
        write.save("judgements", KEY, {"comment": "0"}, version=0)
    turns, failures = 5, []

    def add(writer: int) -> None:
        try:
            for _ in range(turns):
                while True:
                    seen = store.row("SELECT comment, version FROM judgements")
                    try:
                        with store.writing(f"w{writer}") as write:
                            more = {"comment": str(int(seen["comment"]) + 1)}
                            write.save("judgements", KEY, more, version=seen["version"])
                        break
                    except StaleWrite:
                        continue
        except Exception as problem:  # a thread's failure must reach the test
            failures.append(problem)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == failures
    assert str(20 * turns) == store.row("SELECT comment FROM judgements")["comment"]
    assert 20 * turns + 1 == store.row("SELECT count(*) AS n FROM events")["n"]


def test_one_customer_has_at_most_one_open_item(store):
    item = {
        **{"customer_id": "C1", "state": "open", "is_holdout": False, "reason": "r"},
        **{"entered_week": "2026-11-15", "seen_week": "2026-11-15", "score_version": "m"},
    }
    with store.writing("queue") as write:
        write.add("items", item | {"state": "done"})
        write.add("items", item)

    with pytest.raises(sa.exc.IntegrityError, match=r"(?i)unique"), store.writing("q") as write:
        write.add("items", item)


def test_opening_again_keeps_everything_and_a_newer_store_is_refused(database):
    with open_store(database) as store, store.writing("ann") as write:
        write.save("judgements", KEY, {"lead_risk": "high"}, version=0)
    with open_store(database) as store:
        assert 1 == len(store.rows("SELECT * FROM judgements"))
        with store.writing("future") as write:
            write.connection.execute(store_module.schema_version.update().values(number=99))

    with pytest.raises(StoreError, match="version 99, this retain knows up to"):
        open_store(database)


def test_an_older_store_is_brought_up_to_date(database, monkeypatch):
    open_store(database).close()
    monkeypatch.setattr(store_module, "SCHEMA", store_module.SCHEMA + 1)
    step = {store_module.SCHEMA: ("ALTER TABLE weeks ADD COLUMN mood TEXT",)}
    monkeypatch.setattr(store_module, "MIGRATIONS", store_module.MIGRATIONS | step)
    with open_store(database) as store:
        assert [] == store.rows("SELECT mood FROM weeks")
        assert store_module.SCHEMA == store.row("SELECT number FROM schema_version")["number"]


def test_lists_and_quotes_go_in_as_parameters(store):
    hostile = "C'; DROP TABLE judgements; --"
    with store.writing("ann") as write:
        write.save("judgements", KEY | {"customer_id": hostile}, {"comment": "a\x00b"}, version=0)

    found = store.rows("SELECT comment FROM judgements WHERE customer_id IN :ids", ids=[hostile])
    assert [{"comment": "ab"}] == found


def test_texts_without_end_and_columns_that_are_not_there_are_refused(store):
    with pytest.raises(StoreError, match=r"30,000 characters, at most"), store.writing("a") as w:
        w.save("judgements", KEY, {"comment": "x" * 30_000}, version=0)
    with pytest.raises(StoreError, match="no column 'mood'"), store.writing("a") as w:
        w.save("judgements", KEY, {"mood": "x"}, version=0)
    with pytest.raises(StoreError, match="'moods' is not a table"), store.writing("a") as w:
        w.save("moods", KEY, {}, version=0)


def test_forgetting_erases_one_customer_from_every_table_and_keeps_the_others(store):
    with store.writing("ann") as write:
        for who in ("C1", "C2"):
            write.save("judgements", KEY | {"customer_id": who}, {"comment": who * 40}, version=0)

    assert {"events": 1, "judgements": 1} == store.forget("C1", actor="ann")
    assert ["C2"] == [r["customer_id"] for r in store.rows("SELECT customer_id FROM judgements")]
    assert [("C2", "wrote judgements"), (None, "forgot a customer")] == [
        (r["customer_id"], r["what"]) for r in store.rows("SELECT * FROM events ORDER BY id")
    ]
    assert {} == store.forget("C1", actor="ann")


def test_what_was_forgotten_is_in_no_file_any_more(tmp_path):
    with open_store(tmp_path / "a.db") as store:
        with store.writing("ann") as write:
            write.save("judgements", KEY, {"comment": "unforgettable" * 50}, version=0)
        store.forget("C1", actor="ann")
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"unforgettable" not in kept


def test_no_gap_of_a_page_keeps_what_was_forgotten(tmp_path):
    """Rows that move between pages leave copies, which overwriting the rows does not reach."""
    chance = random.Random(1)
    people = [f"W{n:03d}Q" for n in range(60)]
    with open_store(tmp_path / "a.db") as store:
        with store.writing("ann") as write:
            for day, who in itertools.product(range(30), people):
                key = {"customer_id": who, "as_of": f"2026-{1 + day // 28:02}-{1 + day % 28:02}"}
                write.save(
                    "judgements", key, {"comment": "x" * chance.randrange(5, 700)}, version=0
                )
        for who in people[:20]:
            store.forget(who, actor="ann")
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [] == [who for who in people[:20] if who.encode() in kept]
    assert all(who.encode() in kept for who in people[20:])


def test_the_clock_is_given_and_moments_are_utc(tmp_path):
    noon = datetime(2026, 11, 15, 13, 0, tzinfo=UTC) + timedelta(microseconds=5)
    with open_store(tmp_path / "a.db", clock=lambda: noon) as store:
        assert "2026-11-15T13:00:00.000005Z" == store.now()


def test_addresses_that_cannot_be_used_are_refused_without_their_password(tmp_path):
    with pytest.raises(ConfigError, match="mysql is not a database"):
        open_store("mysql://u@h/x")
    with pytest.raises(ConfigError, match="not an address"):
        open_store("://")
    with pytest.raises(StoreError, match=r"\*\*\*") as refused:
        open_store(f"postgresql://u:pa55@/x?host={tmp_path}")
    assert "pa55" not in str(refused.value)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(tmp_path / "file" / "a.db")
