"""Champion and challenger, and what monitoring says of a model, through the command line."""

from __future__ import annotations

import datetime as dt
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from small_company import UNTIL, Branch, branch_of, left_within, run, trained

from retain import tracking
from retain.cli import main
from retain.evaluate import area_under_curve

FIRST = UNTIL - dt.timedelta(weeks=20)
SECOND = UNTIL - dt.timedelta(weeks=18)


pytestmark = pytest.mark.slow  # a company is trained twice and scored three times


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    """A model of twenty weeks ago that scored, and a newer one that waits."""
    branch = branch_of(trained(tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("again"))
    branch.settings["tracking"] = {"promote": "automatic"}
    assert main(["train", str(branch.path), "--as-of", str(FIRST)]) == 0
    for day in (FIRST, SECOND, UNTIL):
        assert main(["score", str(branch.path), "--as-of", str(day)]) == 0
    assert main(["train", str(branch.path)]) == 0
    return branch


@pytest.fixture
def company(retrained, tmp_path, capsys):
    """A copy of it to play with; its record moves along."""
    shutil.copytree(retrained.store, tmp_path / "store")
    settings = json.loads(json.dumps(retrained.settings, default=str))
    settings["store"] = str(tmp_path / "store")
    return Branch(tmp_path, settings, retrained.model, capsys)


def versions(branch):
    uri = tracking.tracking_uri(branch.store)
    listed = tracking.list_versions(uri=uri, registered_model="demo-churn")
    return {alias: one.model_version for one in listed for alias in one.aliases}


def monitored(branch, *words):
    ran = branch.run("monitor", *words)
    assert 0 == ran.code
    text = (branch.store / "monitor" / f"as_of={UNTIL}" / "monitor.json").read_text("utf-8")
    return ran, json.loads(text)


def test_a_new_model_is_challenger_and_stays_it_while_it_is_not_better(company):
    before = versions(company)
    assert {"champion", "challenger"} == set(before)

    ran = company.run("promote")

    assert 1 == ran.code
    assert "against the champion on the same" in " ".join(ran.out.split())
    assert before == versions(company)


def test_a_challenger_that_is_better_beyond_noise_takes_over(company):
    before = versions(company)
    path = company.store / "judged" / f"{before['challenger']}.parquet"
    judged = pd.read_parquet(path)
    (day,) = judged["as_of"].unique()
    gone = left_within(company, dt.date.fromisoformat(day))
    judged["p"] = np.where(judged["customer_id"].isin(gone), 0.9, 0.02)
    judged.to_parquet(path)

    ran = company.run("promote")

    assert 0 == ran.code, ran.out
    assert "better beyond noise" in ran.out
    after = versions(company)
    assert before["challenger"] == after["champion"]
    assert before["champion"] == after["previous_champion"]
    (kept,) = (company.store / "promotions").glob("*.json")
    told = json.loads(kept.read_text("utf-8"))
    assert told["promoted"] is True
    assert told["differences"]["log_loss"]["high"] < 0


def test_going_back_needs_no_comparison(company):
    assert 0 == company.run("promote", "--anyway").code
    assert 0 == company.run("promote", "--model", "previous_champion", "--anyway").code
    again = company.run("promote", "--model", "champion", "--anyway")
    assert 1 == again.code
    assert "is the champion already" in again.err


def test_where_neither_has_seen_nothing_is_decided(company):
    shutil.rmtree(company.store / "judged")

    ran = company.run("promote")

    assert 1 == ran.code
    assert "Not decided" in ran.out


def test_training_decides_by_itself_where_it_is_told_to(company):
    (kept,) = (company.store / "promotions").glob("*.json")  # written by the second training

    assert json.loads(kept.read_text("utf-8"))["promoted"] is False


def test_a_challenger_with_other_settings_is_not_compared(company):
    company.settings["churn"]["grace_weeks"] = 5

    ran = company.run("promote")

    assert 1 == ran.code
    assert "churn.grace_weeks" in ran.err


def test_results_of_scored_weeks_are_what_happened_in_them(company):
    _, told = monitored(company)

    weeks = {one["as_of"]: one for one in told["weeks"]}
    assert [True, True, False] == [one["known"] for one in told["weeks"]]
    scores = company.scores(SECOND)
    scores = scores[scores["eligible"]]
    gone = left_within(company, SECOND)
    y = scores["customer_id"].isin(gone).to_numpy()
    week = weeks[str(SECOND)]
    assert int(y.sum()) == week["left"]
    assert area_under_curve(y, scores["churn_probability"]) == pytest.approx(week["auc"])
    assert y.mean() == pytest.approx(week["observed"])
    assert {scores["model_version"].iloc[0]} == {week["model"]}
    # of the newest week nothing is known: the probabilities say what to expect
    now = company.scores(UNTIL)
    assert now["churn_probability"].mean() == pytest.approx(weeks[str(UNTIL)]["mean_predicted"])


def test_weeks_scored_in_hindsight_are_neither_judged_nor_a_reference(company):
    before = monitored(company)[1]
    day = FIRST - dt.timedelta(weeks=8)  # the champion has learnt from what came after it
    assert "hindsight" in company.run("score", "--as-of", day).out

    ran, told = monitored(company)

    assert [str(day)] == told.pop("hindsight")
    assert [] == before.pop("hindsight")
    assert before == told  # results, reasons, advice: as if that week had not been scored
    assert f"note: 1 week is left out ({day}): scored in hindsight" in ran.out


def test_monitoring_says_when_to_train_again_and_why(company):
    ran, told = monitored(company)

    assert "train again" in ran.out
    assert told["retrain"] is True
    age = next(one for one in told["advice"] if one["kind"] == "age")
    assert "retrain" == age["severity"]
    assert "20 weeks of outcomes" in age["message"]
    assert "challenger" in {one["kind"] for one in told["advice"]}
    again = monitored(company)[1]
    assert told == again


def test_a_source_that_falls_away_shows_as_drift_of_its_signals(company):
    calm = {one["signal"]: one for one in monitored(company)[1]["features"]}

    def thinned(table):
        late = table["ts"] > pd.Timestamp(UNTIL - dt.timedelta(weeks=8))
        return table[~late | (np.arange(len(table)) % 8 == 0)]

    company.change("usage", thinned)
    spoilt = {one["signal"]: one for one in monitored(company)[1]["features"]}

    assert "shifted" == spoilt["amount of use"]["reading"]
    assert spoilt["amount of use"]["index"] > 3 * calm["amount of use"]["index"]
    assert spoilt["waiting for support"]["index"] == calm["waiting for support"]["index"]


def test_without_a_champion_there_is_nothing_to_watch(company):
    shutil.rmtree(company.store)

    ran = run(company.capsys, "monitor", company.path)

    assert 1 == ran.code
    assert "nothing registered under this name yet" in ran.err


def test_a_day_before_all_that_the_model_learnt_from_is_refused(company):
    ran = company.run("monitor", "--as-of", "2025-02-02")

    assert 1 == ran.code
    assert "lies before the first week that the model learnt from" in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
