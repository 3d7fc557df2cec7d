"""Customers who were acted upon: found on both records, and replaced by those left alone."""

from __future__ import annotations

from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pytest

from retain import actions
from retain.evaluate import calibration_error
from retain.jobs.contacted import LEAST_HELD_OUT, contacted
from retain.model import expit, fit_churn
from retain.weeks import Calendar

CALENDAR = Calendar("sunday")
RIPE = 4
QUICK = {"num_leaves": 8, "max_depth": 4, "min_child_samples": 50, "rounds": 80}
CUSTOMERS = np.array([f"C{n:03d}" for n in range(100)])


def evening(week):
    return str(CALENDAR.last_day(week))


def a_company(folder, table=None):
    """As much of a company as is asked: a treatments table, and where its action store lies."""
    con = duckdb.connect()
    tables = SimpleNamespace(has=lambda name: table is not None, con=con, columns={})
    if table is not None:
        con.register("given", table)
        con.execute("CREATE TABLE treatments AS SELECT * FROM given")
        tables.columns["treatments"] = tuple(table.columns)
    address = f"sqlite:///{folder / 'actions.db'}"
    return SimpleNamespace(
        tables=tables,
        calendar=CALENDAR,
        churn=SimpleNamespace(ripe_weeks=RIPE),
        config=SimpleNamespace(database_url=lambda: address),
    )


def note(folder, listed=(), done=(), state="done"):
    """Keep list items (customer, week, is_holdout) and actions (customer, day) in the store."""
    written = {"version": 1, "written_by": "test", "written_at": "2026-01-01T00:00:00.000000Z"}
    rows = {
        actions.schema.items: [
            {
                "customer_id": who,
                "state": state,
                "is_holdout": is_holdout,
                "entered_week": evening(week),
                "seen_week": evening(week),
                "reason": "risk",
                "score_version": "1",
                **written,
            }
            for who, week, is_holdout in listed
        ],
        actions.schema.treatments: [
            {
                "customer_id": who,
                "at": f"{day}T10:00:00.000000Z",
                "done_by": "ann",
                "action": "call",
                "was_holdout": True,
                **written,
            }
            for who, day in done
        ],
    }
    with (
        actions.open_store(f"sqlite:///{folder / 'actions.db'}") as store,
        store.writing("test") as write,
    ):
        for table, mine in rows.items():
            if mine:
                write.connection.execute(table.insert(), mine)


def asked(company, pairs, last_week=2900):
    """Ask about snapshots given as (week, number of the customer), all of which could be learnt."""
    when, who = (np.array(one, dtype=np.int64) for one in zip(*pairs, strict=True))
    folded = SimpleNamespace(customers=CUSTOMERS, last_week=last_week)
    return contacted(company, folded, when, who, np.ones(len(when), dtype=bool))


def held_out(week, first=50):
    return [(CUSTOMERS[first + n], week, True) for n in range(LEAST_HELD_OUT)]


def test_without_any_record_every_snapshot_is_learnt_from_for_itself(tmp_path):
    found = asked(a_company(tmp_path), [(2800, 0), (2804, 1)])
    assert found.told is None
    assert not found.set_aside.any()
    assert found.weight.tolist() == [1.0, 1.0]
    assert not (tmp_path / "actions.db").exists(), "asking makes no store"


def test_a_listed_customer_is_set_aside_from_the_week_of_the_list_back_to_the_horizon(tmp_path):
    note(tmp_path, listed=[("C000", 2810, False), *held_out(2810)])
    mine = [(week, 0) for week in range(2804, 2813)]
    others = [(2810, 50 + n) for n in range(LEAST_HELD_OUT)]
    found = asked(a_company(tmp_path), mine + others)
    # the list of an evening is worked on from the week after: 2811 is within 4 weeks of 2807..2810
    assert found.set_aside[:9].tolist() == [False] * 3 + [True] * 4 + [False] * 2
    assert not found.set_aside[9:].any()


def test_those_left_alone_stand_for_themselves_and_those_contacted(tmp_path):
    note(tmp_path, listed=[*((CUSTOMERS[n], 2810, False) for n in range(15)), *held_out(2810)])
    pairs = [(2810, n) for n in range(15)] + [(2810, 50 + n) for n in range(LEAST_HELD_OUT)]
    found = asked(a_company(tmp_path), [*pairs, (2800, 99)])
    assert (found.told["contacted"], found.told["held_out"]) == (15, LEAST_HELD_OUT)
    assert found.weight[15:].tolist() == [1.5] * LEAST_HELD_OUT + [1.0]
    assert "each for 1.5" in found.told["says"]


def test_a_customer_to_be_left_alone_who_was_called_all_the_same_counts_as_contacted(tmp_path):
    day = CALENDAR.last_day(2812)
    note(
        tmp_path,
        listed=[("C000", 2810, True), ("C001", 2810, False), *held_out(2810)],
        done=[("C000", day)],
    )
    pairs = [(2810, 0)] + [(2810, 50 + n) for n in range(LEAST_HELD_OUT)]
    assert asked(a_company(tmp_path), pairs).set_aside[0]


def test_too_few_left_alone_change_nothing_and_the_card_says_so(tmp_path):
    note(tmp_path, listed=[("C000", 2810, False), ("C001", 2810, True)])
    found = asked(a_company(tmp_path), [(2810, 0), (2810, 1)])
    assert not found.set_aside.any()
    assert found.weight.tolist() == [1.0, 1.0]
    assert "Only 1 were left alone" in found.told["says"]


def test_a_list_on_which_nobody_did_anything_changed_nobody(tmp_path):
    note(tmp_path, listed=[("C000", 2810, False), *held_out(2810)], state="open")
    assert asked(a_company(tmp_path), [(2810, 0), (2810, 50)]).told is None


def test_the_companys_own_treatments_table_counts_too(tmp_path):
    rows = [("C000", 2811, False), *((who, 2811, True) for who, _, _ in held_out(2811))]
    table = pd.DataFrame(rows, columns=["customer_id", "week", "is_holdout"])
    table["at"] = [pd.Timestamp(CALENDAR.last_day(week)) for week in table["week"]]
    pairs = [(2810, 0), (2811, 0)] + [(2810, 50 + n) for n in range(LEAST_HELD_OUT)]
    found = asked(a_company(tmp_path, table[["customer_id", "at", "is_holdout"]]), pairs)
    assert found.set_aside[:2].tolist() == [True, False]


def test_nothing_later_than_the_training_is_looked_at(tmp_path):
    note(tmp_path, listed=[("C000", 2810, False), *held_out(2810)])
    pairs = [(2810, 0)] + [(2810, 50 + n) for n in range(LEAST_HELD_OUT)]
    assert asked(a_company(tmp_path), pairs, last_week=2810).told is None


@pytest.fixture(scope="module")
def worked():
    """Customers of whom the riskier third is called, but for a tenth of it; calls cut the odds."""
    rng = np.random.default_rng(6)
    weeks, people = 12, 1_500
    when, who = np.repeat(np.arange(weeks) * 4, people), np.tile(np.arange(people), weeks)
    X = rng.normal(size=(len(when), 3))
    score = -2.5 + 2 * np.maximum(X[:, 0], 0) * (X[:, 1] > 0)
    looks = score + 0.5 * X[:, 2]
    listed = looks > np.quantile(looks, 0.7)
    held = listed & (rng.random(people) < 0.1)[who]
    called = listed & ~held
    left = (rng.random(len(when)) < expit(score - 1.5 * called)).astype(float)
    return X, left, when, who, called, held, expit(score)


def test_the_probability_is_that_of_leaving_when_nobody_acts(worked):
    X, left, when, who, called, held, truth = worked
    now = when == when.max()

    def learnt(rows, weight=None):
        one = fit_churn(
            *(values[rows] for values in (X, left, when, who)),
            purge=8,
            chosen=QUICK,
            refits=0,
            weight=None if weight is None else weight[rows],
        )
        return one.predict(X[now])

    weight = np.where(held, (called.sum() + held.sum()) / held.sum(), 1.0)
    honest = learnt(~now & ~called, weight)
    assert calibration_error(truth[now], honest) < 0.015
    # each part is needed: those left alone count as one row only, or the contacted are learnt from
    assert calibration_error(truth[now], learnt(~now & ~called)) > 0.015
    assert calibration_error(truth[now], learnt(~now)) > 0.04
