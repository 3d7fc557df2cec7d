"""A weekly run and the lists: when it keeps them, what it notes of those who left, what it leaves.

The action store's weeks are made by hand; the days of leaving are read off small tables.
"""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from action_weeks import MANIFEST, bring, day, scored_week
from small_company import BEFORE, UNTIL, branch_of, trained
from tiny import SUNDAY, fold, read, table

from retain.actions import open_store
from retain.actions.drawing import draws_of
from retain.actions.evidence import draws, evidence, note_outcomes
from retain.actions.importing import import_week
from retain.actions.keeping import keep_queue
from retain.actions.queue import QueueRules
from retain.config import load_config
from retain.jobs.acting import bring_up_to_date, works_with_lists
from retain.jobs.outcomes import left_on
from retain.snapshots import ChurnRule, churn_labels

RULES = QueueRules(capacity_per_week=5, holdout_share=0.0, enter_percentile=0, currency="EUR")
SPLIT = QueueRules(capacity_per_week=20, holdout_share=0.5, enter_percentile=0, currency="EUR")


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'actions.db'}") as opened:
        yield opened


def without_review(folder):
    """The configuration of a company that says nothing of lists."""
    path = folder / "acme.yaml"
    said = {
        **{"company": "acme", "currency": "EUR", "timezone": "UTC", "store": str(folder / "store")},
        "tables": {"usage": {"source": "usage.parquet"}},
        "churn": {"kind": "inactivity"},
    }
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return load_config(path)


# ---- when a weekly run keeps lists -------------------------------------------------------------


def test_a_weekly_run_keeps_lists_once_somebody_has_asked_for_one_and_not_for_alerts(tmp_path):
    """Seen to fail when only a `review` section counted."""
    config = without_review(tmp_path)
    assert not works_with_lists(config)
    assert not (tmp_path / "store").exists(), "asking makes no store"

    with open_store(config.database_url()) as opened:  # as alerts do
        assert not works_with_lists(config)
        bring(opened, 0)
        assert not works_with_lists(config)
        keep_queue(opened, day(0), RULES)
    assert works_with_lists(config)


def test_after_the_first_list_the_next_weekly_run_makes_one_too(tmp_path_factory, tmp_path, capsys):
    company = branch_of(trained(tmp_path_factory.getbasetemp()), tmp_path, capsys)
    assert "review" not in company.settings
    assert 0 == company.run("score", "--model", company.model, "--as-of", BEFORE).code
    assert not (company.store / "actions.db").exists()  # nobody is left alone for nothing

    assert 0 == company.run("queue").code
    assert 0 == company.run("score", "--model", company.model, "--as-of", UNTIL).code
    with open_store(f"sqlite:///{company.store / 'actions.db'}") as opened:
        made = opened.rows("SELECT as_of FROM weeks WHERE queue IS NOT NULL ORDER BY as_of")
    assert [str(BEFORE), str(UNTIL)] == [row["as_of"] for row in made]


def test_ripe_lists_without_outcomes_are_counted(store):
    for week in (0, 1, 12, 14):
        bring(store, week)
        keep_queue(store, day(week), SPLIT)
    told = evidence(store, horizon_weeks=13, ripe_weeks=13).effect
    assert 2 == told.overdue  # weeks 0 and 1: 14 and 13 weeks old
    assert told.said.startswith("2 lists are old enough for outcomes and none are noted")

    note_outcomes(store, {str(day(n)): [("C0", True, str(day(n + 3)))] for n in (0, 1)})
    assert 0 == evidence(store, horizon_weeks=13, ripe_weeks=13).effect.overdue


# ---- when somebody left ------------------------------------------------------------------------

AS_OF = dt.date(2024, 6, 30)  # a Sunday


def days_of_leaving(frames, rule, until, weeks_back=(0,)):
    """Customer to the day on which it left, as seen from each as_of."""
    who = sorted({*pd.concat([frame["customer_id"] for frame in frames.values()])})
    people = table("customer_id signed_up_at", "", *((one, "2023-01-02") for one in who))
    found = {}
    with read({"customers": people, **frames}, data_until=until) as tables:
        known = fold(tables, lists={})
        company = SimpleNamespace(tables=tables, calendar=SUNDAY, churn=rule)
        for back in weeks_back:
            week = SUNDAY.week_of(AS_OF) - back
            labels = churn_labels(known, [week], rule)[0][0]
            rows = pd.DataFrame({"week": week, "customer": np.flatnonzero(~np.isnan(labels))})
            rows["customer_id"] = known.customers[rows["customer"]].astype(str)
            said = left_on(company, known, rows)
            for one, left in zip(rows["customer_id"], said, strict=True):
                found.setdefault(one, []).append(left)
    return found


def test_a_contract_was_left_on_the_day_on_which_paid_service_ended():
    spans = table(
        "customer_id started_at ended_at mrr is_trial",
        """
        stays 2024-01-01 - 10 no
        leaves 2024-01-01 2024-07-10 10 no
        trial_after 2024-01-01 2024-07-10 10 no
        trial_after 2024-07-01 2024-07-13 0 yes
        back_late 2024-01-01 2024-07-10 10 no
        back_late 2024-08-10 2024-08-20 10 no
        """,
    )
    found = days_of_leaving(
        {"subscriptions": spans},
        ChurnRule("contract", horizon_weeks=8, grace_weeks=2),
        dt.date(2024, 9, 22),
        weeks_back=(0, 1),
    )

    assert [None, None] == found["stays"]
    assert ["2024-07-10"] * 2 == found["leaves"] == found["trial_after"] == found["back_late"]


def test_a_departure_is_dated_by_its_own_row_and_a_silence_by_when_it_had_lasted_long_enough():
    gone = table("customer_id left_at", "leaves 2024-07-18\nearlier 2023-02-01")
    usage = table("customer_id occurred_at", "leaves 2024-06-03\nquiet 2024-06-20\nbusy 2024-07-20")
    event = ChurnRule("event", horizon_weeks=4)
    dated = days_of_leaving({"departures": gone, "usage": usage}, event, dt.date(2024, 8, 18))
    assert ["2024-07-18"] == dated["leaves"]

    silence = ChurnRule("inactivity", horizon_weeks=4, active_weeks=4)
    dated = days_of_leaving({"usage": usage}, silence, dt.date(2024, 8, 18), weeks_back=(0, 1))
    # the last sign fell into the week to 23 June; four silent weeks later it is 21 July, from
    # whichever week one looks
    assert ["2024-07-21", "2024-07-21"] == dated["quiet"]
    assert [None] == list({*dated["busy"]})


# ---- hindsight and weeks that were scored again ------------------------------------------------


def in_hindsight(store, week, trained, **more):
    scores, drivers = scored_week(week, **more)
    said = {**MANIFEST, "model_trained_as_of": str(trained)}
    import_week(store, day(week), scores, drivers, said, fingerprint=f"{week} {trained}")


def test_a_week_scored_again_in_hindsight_loses_its_outcomes(store):
    """C0 to C2 left with low scores; a model that had seen it puts them first: no miss, it said."""
    bring(store, 0, probability=np.linspace(0.02, 0.6, 20))
    keep_queue(store, day(0), RULES)
    bring(store, 14)
    note_outcomes(store, {str(day(0)): [(f"C{n}", n < 3, str(day(5))) for n in range(20)]})
    assert {"C0", "C1", "C2"} == {*evidence(store, horizon_weeks=13).misses["customer_id"]}

    in_hindsight(store, 0, day(14))
    assert [] == store.rows("SELECT * FROM outcomes")
    assert 0 == evidence(store, horizon_weeks=13).leads["left"]


def test_a_list_made_in_hindsight_draws_nobody_and_warns_of_nobody(store):
    in_hindsight(store, 0, day(14))
    keep_queue(store, day(0), RULES)
    for week in (14, 15):
        bring(store, week)
        keep_queue(store, day(week), RULES)
    note_outcomes(store, {str(day(14)): [(f"C{n}", n < 3, str(day(20))) for n in range(20)]})
    found, units = evidence(store, horizon_weeks=13), draws(store, 13)

    assert {str(day(14))} == {*units["entered_week"]}  # their items were entered in week 0
    assert 5 == len(units)
    assert [str(day(14)), str(day(15))] == list(found.weeks["as_of"])
    assert 6.0 == found.leads["median_weeks"]  # of week 14, not 20 of week 0


def half_of_them(week=1):
    """A bad run's scores: the first half of the customers is missing."""
    scores, drivers = scored_week(week)
    return scores.iloc[10:], drivers[drivers["customer_id"].isin(scores["customer_id"][10:])]


def test_who_is_not_on_the_list_that_was_made_again_is_in_no_proof(store):
    """Seen to fail: those drawn on the bad run's list stayed in the comparison, held out or not."""
    few = QueueRules(capacity_per_week=4, holdout_share=0.5, enter_percentile=0, currency="EUR")
    import_week(store, day(1), *half_of_them(), MANIFEST, fingerprint="half")
    keep_queue(store, day(1), few)
    bad = {row["customer_id"] for row in store.rows("SELECT customer_id FROM items")}
    held = store.row("SELECT * FROM items WHERE is_holdout")
    with store.writing("ann") as write:  # somebody has acted on it meanwhile
        item = write.rows("SELECT * FROM items WHERE NOT is_holdout ORDER BY id")[0]
        write.save("items", {"id": item["id"]}, {"state": "done"}, version=item["version"])
    bring(store, 1)
    made = keep_queue(store, day(1), few)
    listed = {*made.loc[made["status"].isin(["contact", "holdout"]), "customer_id"]}

    assert bad.isdisjoint(listed)
    assert listed == {*draws(store, 13)["customer_id"]}
    states = {row["id"]: row["state"] for row in store.rows("SELECT id, state FROM items")}
    assert ("done", "dropped") == (states[item["id"]], states[held["id"]])  # what was done stays
    assert bad.isdisjoint(one.customer_id for one in draws_of(store, 13))


def test_a_list_made_from_other_scores_is_made_again_although_a_later_week_is_there(tmp_path):
    """Both weeks are brought in by one run: it made only the newest list."""
    config = without_review(tmp_path)

    def write(week, scores, drivers):
        folder = config.store / "scores" / f"as_of={day(week)}"
        folder.mkdir(parents=True, exist_ok=True)
        scores.to_parquet(folder / "scores.parquet", index=False)
        drivers.to_parquet(folder / "drivers.parquet", index=False)
        (folder / "manifest.json").write_text(json.dumps(MANIFEST), encoding="utf-8")

    write(1, *half_of_them())
    with open_store(config.database_url()) as opened:
        bring_up_to_date(config, opened)
        write(1, *scored_week(1))
        write(2, *scored_week(2))
        bring_up_to_date(config, opened)
        asked = "SELECT customer_id FROM listings WHERE as_of = :day AND status <> 'next'"
        first = {row["customer_id"] for row in opened.rows(asked, day=str(day(1)))}
    assert "C0" in first
