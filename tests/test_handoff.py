"""The hand-off file: its documented columns, and texts that no spreadsheet may run."""

from __future__ import annotations

import csv

import pandas as pd
import pytest
from action_weeks import bring, day

from retain.actions import open_store
from retain.actions.handoff import HANDOFF, disarmed, handoff_rows, schema_text, write_rows
from retain.actions.keeping import keep_queue
from retain.actions.queue import Play, QueueRules
from retain.errors import ConfigError, StoreError

HOSTILE = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "|calc", "\r\n=1", " =1", "＝1+1")


@pytest.fixture
def store(database):
    with open_store(database) as opened:
        rules = QueueRules(8, holdout_share=0.5, plays=(Play("Call", theme="usage"),))
        for week in (0, 1):
            bring(opened, week, names={"C1": "=cmd|' /C calc'!A0"})
            keep_queue(opened, day(week), rules)
        with opened.writing("ann") as write:
            key = {"customer_id": "C1", "as_of": str(day(1))}
            write.save("judgements", key, {"lead_risk": "low", "comment": "fine"}, version=0)
            named = key | {"target": "churn", "signal": "open cases", "person": "ann"}
            write.save("verdicts", named, {"verdict": "wrong", "model_version": "m1"}, version=0)
        yield opened


def test_every_column_is_there_in_the_order_of_the_schema_and_is_documented(store):
    rows = handoff_rows(store)

    assert list(HANDOFF) == list(rows.columns)
    assert 20 == len(rows)
    assert all(name in schema_text() for name in HANDOFF)
    one = rows.set_index("customer_id").loc["C1"]
    assert (2.0, str(day(0)), 60, 13) == tuple(
        one[n] for n in ("weeks_in_band", "first_flagged_on", "days_to_renewal", "horizon_weeks")
    )
    assert ("amount of use of C1", "open cases of C1", "survey answers of C1") == tuple(
        one[n] for n in ("reason_1", "reason_2", "protective_1")
    )
    assert (1, 0, "low", "fine", True) == tuple(
        one[n]
        for n in ("verdicts_wrong", "verdicts_right", "lead_risk", "comment", "reason_actionable_1")
    )
    # C0, C3, C6, ... belong to bob: C3 is his second
    assert 2 == rows.set_index("customer_id").loc["C3", "rank_within_owner"]


def test_who_is_held_out_is_marked_and_has_nothing_that_reads_as_a_call_to_act(store):
    rows = handoff_rows(store)
    held = rows[rows["is_holdout"]]

    assert len(held) > 0
    assert {"holdout"} == set(held["queue_status"])
    assert held[["play", "play_owner", "due_on"]].isna().all(axis=None)
    assert {"Call"} == set(rows.loc[rows["queue_status"] == "contact", "play"])


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_a_spreadsheet_would_run_is_disarmed(text):
    assert f"'{text}" == disarmed(text)


def test_formulas_are_disarmed_in_csv_and_are_text_in_excel(store, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    rows = handoff_rows(store)
    with write_rows(rows, tmp_path / "w.csv").open(newline="", encoding="utf-8-sig") as file:
        written = {row["customer_id"]: row for row in csv.DictReader(file)}
    sheet = openpyxl.load_workbook(write_rows(rows, tmp_path / "w.xlsx")).active
    kinds = {cell.data_type for row in sheet.iter_rows() for cell in row}

    assert "'=cmd|' /C calc'!A0" == written["C1"]["name"]
    assert "f" not in kinds
    assert 21 == sheet.max_row
    back = pd.read_parquet(write_rows(rows, tmp_path / "w.parquet"))
    assert "=cmd|' /C calc'!A0" == back.set_index("customer_id").loc["C1", "name"]


def test_other_endings_and_weeks_that_are_not_there_are_refused(store, tmp_path):
    with pytest.raises(ConfigError, match=r"expected .csv, .parquet or .xlsx"):
        write_rows(pd.DataFrame(), tmp_path / "w.docx")
    with pytest.raises(StoreError, match=r"2020-01-05 .* retain score CONFIG --as-of 2020-01-05"):
        handoff_rows(store, "2020-01-05")
