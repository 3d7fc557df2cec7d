"""`retain forget`: no file and no table knows the customer; everybody else is still there."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from report_week import AS_OF, HOSTILE, make_week

from retain import actions
from retain.config import Config
from retain.errors import StoreError
from retain.jobs import forget
from retain.jobs.store import Store

WHO = "C-00020"


@pytest.fixture
def company(tmp_path):
    """A store with one scored week, a quarantine, metrics, kept weeks and a few verdicts."""
    config = Config.from_dict(
        {
            **{"company": "acme", "currency": "EUR", "store": str(tmp_path / "store")},
            "churn": {"kind": "inactivity"},
            "tables": {"usage": {"source": "usage.csv", "columns": {"customer_id": "id"}}},
        },
        folder=tmp_path,
    )
    folder = Store(config.store).week(AS_OF)
    folder.mkdir(parents=True)
    made = make_week()
    scores, drivers, weekly, manifest = (
        made[name] for name in ("scores", "drivers", "weekly", "manifest")
    )
    for name, frame in (("scores", scores), ("drivers", drivers), ("weekly", weekly)):
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    rows = [json.dumps({"id": who, "n": 1}) for who in (WHO, "C-000201", HOSTILE)]
    pd.DataFrame({"table_name": "usage", "row_json": rows}).to_parquet(
        config.store / "quarantine.parquet"
    )
    metrics = config.store / "metrics" / "2026-10"
    metrics.mkdir(parents=True)
    (metrics / "roi.csv").write_text(f"customer_id,roi\n{WHO},2\nC-00021,3\n", encoding="utf-8")
    (metrics / "metrics.json").write_text(
        json.dumps(
            {"ids": [WHO, "C-00021"], "customers": {WHO: 1}, "rows": [{"customer_id": WHO}]}
        ),
        encoding="utf-8",
    )
    (metrics / "page.html").write_text(f"<p>{WHO}</p>", encoding="utf-8")
    (config.store / "weeks" / "usage").mkdir(parents=True)
    pd.DataFrame({"customer_id": [WHO]}).to_parquet(config.store / "weeks" / "usage" / "1.parquet")
    with actions.open_store(config.database_url()) as store, store.writing("ann") as write:
        for who in (WHO, "C-00021", HOSTILE):
            key = {"customer_id": who, "as_of": str(AS_OF)}
            write.save("judgements", key, {"comment": f"about {who}"}, version=0)
    return config


def everything(config):
    """All bytes that we keep, Parquet written out as text."""
    found = {}
    for path in config.store.rglob("*"):
        if path.suffix == ".parquet":
            found[path.name] = pd.read_parquet(path).to_csv()
        elif path.is_file():
            found[path.name] = path.read_bytes().decode("utf-8", "replace")
    return found


def test_nothing_of_the_customer_is_left_and_the_others_are(company):
    before = everything(company)
    done = forget(company, WHO, actor="ann")
    after = everything(company)

    assert any(WHO in text for text in before.values())
    assert [] == [name for name, text in after.items() if f"{WHO}\n" in text or f"{WHO}," in text]
    assert [] == [name for name, text in after.items() if f'"{WHO}"' in text or f">{WHO}<" in text]
    assert WHO not in after["actions.db"]
    for name in ("scores.parquet", "roi.csv", "metrics.json", "actions.db", "report.html"):
        assert "C-00021" in after[name], name
    assert "C-000201" in after["quarantine.parquet"]
    assert (1, 1, 1, 3) == tuple(
        done.erased[name]
        for name in (
            f"scores/as_of={AS_OF}/scores.parquet",
            "quarantine.parquet",
            "metrics/2026-10/roi.csv",
            "metrics/2026-10/metrics.json",
        )
    )
    assert 1 == done.erased["action store: judgements"]
    assert not (company.store / "weeks").exists()
    assert any("own tables" in note for note in done.notes)


def kept_of(company, who=WHO):
    """How often the action store's files, the log beside it included, name a customer."""
    about = f"about {who}".encode()
    files = sorted(company.store.glob("actions.db*"))
    return sum(path.read_bytes().count(about) for path in files)


def test_an_open_page_does_not_keep_the_customer_in_the_log(company):
    with actions.open_store(company.database_url()) as page:
        assert page.rows("SELECT * FROM judgements")
        forget(company, HOSTILE)

        assert 0 == kept_of(company, HOSTILE)
        assert 0 == (company.store / "actions.db-wal").stat().st_size


def test_a_reader_who_holds_the_log_is_told_of_and_the_next_run_empties_it(company, monkeypatch):
    monkeypatch.setattr("retain.actions.store.PATIENCE_S", 0)
    with actions.open_store(company.database_url()) as page:
        with page.reading() as connection:
            assert connection.exec_driver_sql("SELECT * FROM judgements").fetchall()
            done = forget(company, HOSTILE)
            assert "(ending in -wal), may still hold bytes of what was erased" in done.notes[-1]
            assert kept_of(company, HOSTILE)
            with pytest.raises(StoreError, match=r"nothing of .* But the action store is in use"):
                forget(company, HOSTILE)
        with pytest.raises(StoreError, match=r"outputs\.$"):
            forget(company, HOSTILE)
        assert 0 == kept_of(company, HOSTILE)


def test_the_weeks_book_still_adds_up(company):
    folder = Store(company.store).week(AS_OF)
    before = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    forget(company, WHO)
    after = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    people = after["customers"]

    assert before["customers"]["in"] - 1 == people["in"]
    assert (
        people["in"]
        == people["eligible"] + sum(people["not_eligible"].values()) + people["set_aside"]
    )


def test_an_id_made_of_markup_is_forgotten_too(company):
    forget(company, HOSTILE)
    scores = pd.read_parquet(Store(company.store).week(AS_OF) / "scores.parquet")
    assert 59 == len(scores)  # others have the same text as their segment, and are still there
    assert (scores.drop(columns="customer_id") == HOSTILE).any(axis=None)
    assert HOSTILE not in "".join(
        pd.read_parquet(company.store / "quarantine.parquet")["row_json"].map(json.loads).map(str)
    )


def test_whom_nobody_knows_is_said_and_forgetting_twice_is_no_accident(company):
    with pytest.raises(StoreError, match="nothing of 'C-99999' is kept"):
        forget(company, "C-99999")
    with pytest.raises(StoreError, match="id is empty"):
        forget(company, " ")
    forget(company, WHO)
    with pytest.raises(StoreError, match="nothing of"):
        forget(company, WHO)
