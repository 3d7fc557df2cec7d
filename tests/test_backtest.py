"""The back-test: past weeks as if live, against outcomes by hand, at the team's capacity."""

from __future__ import annotations

import datetime as dt
import html
import json

import numpy as np
import pandas as pd
import pytest
from small_company import UNTIL, branch_of, left_within, trained
from test_report_terminal import shown

from retain.config import load_config
from retain.errors import ConfigError
from retain.evaluate import (
    campaign_profit,
    capacity_table,
    churn_differences,
    churn_figures,
    expected_figures,
    value_captured,
)
from retain.jobs.backtesting import STEPS, _laid_out, _replayed, _Searched, _weeks_to_replay
from retain.jobs.opening import open_company, settle_as_of
from retain.jobs.progress import Steps, silent
from retain.report.backtest import backtest_document, weeks_table
from retain.report.document import render_document

MONEY = {"contact_cost": 20, "incentive_cost": 50, "acceptance_share": 0.3}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """The small company's last weeks, replayed once."""
    from retain.cli import main

    branch = branch_of(trained(tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("past"))
    branch.settings["money"] = MONEY
    branch.settings["review"] = {"capacity_per_week": 30}
    command = ["backtest", str(branch.path), "--every", "8", "--most", "5"]
    assert main(command) == 0
    return branch


def kept(branch):
    folder = branch.store / "backtest" / f"as_of={UNTIL}"
    return folder, json.loads((folder / "backtest.json").read_text("utf-8"))


def one(told, day, figure, method="retain"):
    (row,) = (
        row
        for row in told["weeks"]
        if (row["as_of"], row["figure"], row["method"]) == (str(day), figure, method)
    )
    return row


# ---- the figures --------------------------------------------------------------------------------


def test_profit_by_hand():
    # reached: a leaver worth 1000 and a stayer; not reached: a leaver worth 400
    # .3 x (1000 - 50) - 20, and - 50 - 20
    found = campaign_profit([1, 0, 1], [3, 2, 1], [1000, 700, 400], [0, 1, 2], capacity=2, **MONEY)

    assert 0.3 * 950 - 20 - 70 == pytest.approx(found["value"])
    assert found["low"] <= found["value"] <= found["high"]


def test_profit_of_reaching_nobody_is_nothing_and_everybody_is_the_sum():
    rng = np.random.default_rng(0)
    y, worth = rng.random(50) < 0.2, rng.uniform(10, 1000, 50)
    gains = np.where(y, 0.3 * (worth - 50), -50) - 20

    nobody = campaign_profit(y, worth, worth, range(50), capacity=0, **MONEY)
    everybody = campaign_profit(y, worth, worth, range(50), capacity=50, **MONEY)

    assert 0.0 == nobody["value"]
    assert gains.sum() == pytest.approx(everybody["value"])


def test_ties_on_the_line_share_evenly():
    assert 0.5 == value_captured([1, 1], [1, 1], [30, 70], [0, 1], capacity=1)["value"]


def test_what_is_expected_comes_true_for_outcomes_drawn_from_the_probabilities():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 9, 4000)
    expected = expected_figures(p, capacity=200)

    y = rng.random(4000) < p
    found = churn_figures(y, p, np.arange(4000), capacity=200)

    for name in ("auc", "brier", "log_loss", "capture_at_capacity", "observed"):
        assert expected[name]["low"] <= found[name]["value"] <= expected[name]["high"], name


def test_a_paired_difference_is_narrower_than_two_intervals_apart():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 4, 1500)
    y = rng.random(1500) < p
    blurred = np.clip(p + rng.normal(0, 0.05, 1500), 0.001, 0.999)
    apart = churn_figures(y, p, np.arange(1500), capacity=100)["log_loss"]
    paired = churn_differences(y, p, blurred, np.arange(1500), capacity=100)["log_loss"]

    assert paired["value"] < 0
    assert paired["high"] - paired["low"] < 0.5 * (apart["high"] - apart["low"])
    same = churn_differences(y, p, p, np.arange(1500), capacity=100)
    assert {0.0} == {end for figure in same.values() for end in figure.values()}


# ---- as if live ---------------------------------------------------------------------------------


def test_leavers_caught_are_those_of_each_weeks_list_wherever_they_are_counted():
    """Seen to fail when one list was made of all weeks: risky weeks took the others' places."""
    rng = np.random.default_rng(0)
    when = np.repeat([1, 5, 9], 400)
    p = np.clip(rng.beta(1, 6, 1200) * np.repeat([0.02, 0.30, 0.05], 400) * 7, 0, 0.95)
    y, who, other = rng.random(1200) < p, np.arange(1200), rng.random(1200)
    at_work = {"capacity": 30, "when": when}

    ours = churn_figures(y, p, who, **at_work)["capture_at_capacity"]["value"]
    theirs = churn_figures(y, other, who, **at_work)["capture_at_capacity"]["value"]
    minus = churn_differences(y, p, other, who, **at_work)["capture_at_capacity"]["value"]

    assert ours == pytest.approx(capacity_table(y, p, when, who, [30])["recall"].iloc[0])
    assert minus == pytest.approx(ours - theirs)
    assert churn_figures(y, p, who, capacity=90)["capture_at_capacity"]["value"] > ours + 0.1


def test_outcomes_are_those_of_the_contracts(replayed):
    _, told = kept(replayed)

    known = [week for week in told["learnt"] if week["known"]]
    assert [False, False, False] == [week["known"] for week in told["learnt"][-3:]]
    assert known
    for week in known:
        day = dt.date.fromisoformat(week["as_of"])
        gone = left_within(replayed, day)
        assert 0 < week["left"] <= len(gone)  # of those eligible: notice known is no hit
        assert week["left"] / week["customers"] == pytest.approx(
            one(told, day, "observed")["value"]
        )


def test_a_replayed_week_knows_nothing_of_later_ones(replayed):
    day = UNTIL - dt.timedelta(weeks=24)
    company = open_company(replayed.path)
    frames = []
    with company.tables:
        for today in (day, UNTIL):
            steps = Steps(silent, STEPS)
            steps("folding weeks")
            week = settle_as_of(company, today)
            at = settle_as_of(company, day)
            count = (week - at) // 8 + 1
            panel, weeks = _laid_out(company, week, 8, 8, count, (), 0, steps)
            assert at == weeks[0]
            told, _, frame = _replayed(company, panel, at, at, _Searched(), 0)
            assert not told["known"]
            frames.append((told, frame.set_index("customer")["retain"]))
    then, later = frames

    assert then[0] == later[0]
    pd.testing.assert_series_equal(then[1], later[1])


def test_every_known_week_stands_beside_the_baselines_with_intervals(replayed):
    _, told = kept(replayed)

    methods = {"retain", "base rate", "recency rule", "logistic regression", "default LightGBM"}
    assert methods == {row["name"] for row in told["overall"]}
    assert told["best_baseline"] in methods - {"retain"}
    for week in told["learnt"]:
        auc = one(told, week["as_of"], "auc")
        assert auc["low"] <= auc["value"] <= auc["high"]
        found = {row["method"] for row in told["weeks"] if row["as_of"] == week["as_of"]}
        assert (methods if week["known"] else {"retain"}) == found
    for figure in ("average_precision", "brier", "lift_top_tenth", "value_captured"):
        assert figure in told["overall"][0]


def test_leavers_caught_over_all_weeks_are_the_weeks_added_up(replayed):
    _, told = kept(replayed)

    known = [week for week in told["learnt"] if week["known"]]
    caught = sum(one(told, w["as_of"], "capture_at_capacity")["value"] * w["left"] for w in known)
    everybody = sum(week["left"] for week in known)

    assert caught / everybody == pytest.approx(told["overall"][0]["capture_at_capacity"], abs=0.01)


def test_json_table_and_page_say_the_same(replayed):
    folder, told = kept(replayed)

    table = pd.read_csv(folder / "weeks.csv")
    assert len(told["weeks"]) == len(table)
    page = (folder / "backtest.html").read_text("utf-8")
    assert "<script" not in page
    for week in told["learnt"]:
        assert week["as_of"] in page
    assert page == render_document(backtest_document(told))
    assert "With the company" in page


def test_profit_needs_the_companys_own_figures(replayed, tmp_path):
    _, told = kept(replayed)
    assert one(told, told["learnt"][-1]["as_of"], "profit_per_week")["value"] != 0

    bare = {**told, "profit": "Expected profit is not shown: it needs ...", "money": None}
    assert "it needs" in render_document(backtest_document(bare))

    other = branch_of(replayed, tmp_path)
    del other.settings["money"]["acceptance_share"]
    with pytest.raises(ConfigError, match=r"money\.acceptance_share"):
        load_config(other.path)


def test_without_money_profit_is_refused_with_the_reason(replayed, tmp_path, capsys):
    other = branch_of(replayed, tmp_path, capsys)
    del other.settings["money"]

    ran = other.run("backtest", "--every", "8", "--most", "1")

    assert 0 == ran.code
    said = " ".join(ran.out.split())
    assert "it needs the company's own" in said
    _, told = kept(other)
    assert not [row for row in told["weeks"] if row["figure"] == "profit_per_week"]
    # the newest three have no final outcomes: one that has is replayed, and this is said
    day = str(UNTIL - dt.timedelta(weeks=24))
    assert [(day, True)] == [(week["as_of"], week["known"]) for week in told["learnt"]]
    assert f"note: Weeks after {day} are passed over" in said
    assert told["overall"]


def test_few_weeks_are_ones_with_final_outcomes_where_there_are_any():
    assert [80, 84, 88, 92, 96, 100] == list(_weeks_to_replay(100, 20, 4, 6, 17))
    assert [76, 80] == list(_weeks_to_replay(100, 20, 4, 2, 17))
    assert [96, 100] == list(_weeks_to_replay(100, 90, 4, 2, 17))  # none is final


def test_a_back_test_without_a_final_week_says_so(replayed):
    _, told = kept(replayed)
    open_ = {week["as_of"] for week in told["learnt"] if not week["known"]}
    few = {
        **told,
        "overall": [],
        "learnt": [week for week in told["learnt"] if week["as_of"] in open_],
        "weeks": [row for row in told["weeks"] if row["as_of"] in open_],
        "chosen": "No replayed week is judged",
    }

    page = render_document(backtest_document(few))

    assert "No replayed week has final outcomes" in page
    assert "No replayed week is judged" in page


@pytest.mark.parametrize("words", [("--most", "0"), ("--most", "-2"), ("--every", "0")])
def test_no_weeks_at_all_is_no_way_to_replay_any(replayed, tmp_path, capsys, words):
    ran = branch_of(replayed, tmp_path, capsys).run("backtest", *words)

    assert 2 == ran.code
    assert f"backtest: {words[0]} is {words[1]}; expected 1 or more weeks" in ran.err


def test_leavers_are_counted_in_the_order_that_the_team_works_in_too(replayed):
    _, told = kept(replayed)

    for week in told["learnt"]:
        by_value = one(told, week["as_of"], "capture_by_value")["value"]
        riskiest = one(told, week["as_of"], "capture_at_capacity")["value"]
        assert 0 <= by_value <= 1
        if not week["known"]:  # of a sure probability no other order meets more
            assert by_value <= riskiest
    page = (kept(replayed)[0] / "backtest.html").read_text("utf-8")
    ours = told["overall"][0]["capture_by_value"]
    assert f"most value at risk first, the team would have met {ours:.0%}" in page
    assert "Leavers caught, riskiest first" in page
    assert "Leavers caught, riskiest first" == told["meanings"]["capture_at_capacity"]


def test_profit_is_said_to_be_that_of_one_list(replayed):
    folder, told = kept(replayed)
    page = (folder / "backtest.html").read_text("utf-8")

    assert "Profit of one week's list" in html.unescape(page)
    assert "Profit a week" not in page
    for text in (html.unescape(page), told["meanings"]["profit_per_week"]):
        assert "whole horizon of 13 weeks" in text
        assert "must not be added up" in text


def test_the_terminals_weeks_carry_auc_with_its_interval_beside_the_best_baselines(replayed):
    _, told = kept(replayed)
    best = told["best_baseline"]
    table = weeks_table(pd.DataFrame(told["weeks"]), pd.DataFrame(told["learnt"]), best)
    week = next(week for week in told["learnt"] if week["known"])
    pairs = [
        "{value:.3f} ({low:.3f}–{high:.3f})".format(**one(told, week["as_of"], "auc", method))
        for method in ("retain", best)
    ]

    for width in (120, 80):
        (line,) = (x for x in shown(table, width).splitlines() if x.startswith(week["as_of"]))
        assert all(pair in line for pair in pairs)
    narrow = shown(table, 50)
    assert pairs[0] in narrow
    assert "…" not in narrow
    said = " ".join(narrow.split())
    assert "no room here for customers; " in said
    assert f"AUC of {best}; " in said
    assert "all are in backtest.html" in said


def test_weeks_to_replay_are_among_the_snapshots(replayed, tmp_path, capsys):
    ran = branch_of(replayed, tmp_path, capsys).run("backtest", "--every", "3")

    assert 2 == ran.code
    assert "no multiple of snapshots.every_weeks (8)" in ran.err
    assert "Use 8." in ran.err


def test_too_little_history_is_refused_with_numbers(replayed, tmp_path, capsys):
    day = UNTIL - dt.timedelta(weeks=60)

    ran = branch_of(replayed, tmp_path, capsys).run("backtest", "--as-of", day)

    assert 1 == ran.code
    assert "too little history" in ran.err
