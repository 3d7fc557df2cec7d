"""The model card: what it must hold, figures by hand, the grade's rule, a page from JSON."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
from small_company import trained

from retain.errors import SnapshotError
from retain.evaluate import (
    GRADES,
    calibration_by_chance,
    calibration_curve,
    calibration_line,
    capacity_table,
    grade_churn,
    segment_figures,
)
from retain.jobs.observing import enough
from retain.report.document import render_document
from retain.report.model_card import model_document

AUC = {"value": 0.80, "low": 0.75, "high": 0.85}
BETTER = {"value": -0.05, "low": -0.08, "high": -0.02}
ALIKE = {"value": 0.00, "low": -0.01, "high": 0.01}
WORSE = {"value": 0.03, "low": 0.01, "high": 0.05}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained(tmp_path_factory.getbasetemp()).model


@pytest.fixture(scope="module")
def card(folder):
    return json.loads((folder / "model_card.json").read_text("utf-8"))


# ---- figures by hand ----------------------------------------------------------------------------


def test_meeting_the_first_of_each_week_by_hand():
    # two weeks, one met in each: a leaver at the top of the first, a stayer of the second
    y, p = [1, 0, 0, 0, 1, 0], [0.9, 0.5, 0.1, 0.8, 0.7, 0.2]
    weeks, who = [1, 1, 1, 2, 2, 2], range(6)

    (row,) = capacity_table(y, p, weeks, who, [1], value=[30, 1, 1, 1, 10, 1]).to_dict("records")

    assert row["met"] == 2
    assert row["found"] == 1
    assert row["precision"] == pytest.approx(1 / 2)
    assert row["recall"] == pytest.approx(1 / 2)
    assert row["lift"] == pytest.approx((1 / 2) / (2 / 6))
    assert row["value_captured"] == pytest.approx(30 / 40)


def test_equal_probabilities_share_a_place_evenly():
    (row,) = capacity_table([1, 0], [0.5, 0.5], [1, 1], range(2), [1]).to_dict("records")

    assert row["found"] == pytest.approx(0.5)


def test_probabilities_twice_too_bold_have_half_the_slope():
    rng = np.random.default_rng(0)
    truth = rng.normal(-1, 1, 40_000)
    y = rng.random(40_000) < 1 / (1 + np.exp(-truth))
    bold = 1 / (1 + np.exp(-2 * truth))

    line = calibration_line(y, bold, np.arange(40_000))

    assert line["slope"]["value"] == pytest.approx(0.5, abs=0.03)
    assert line["slope"]["low"] < 0.5 < line["slope"]["high"]


def test_the_slope_of_too_few_leavers_is_undefined():
    line = calibration_line([1] * 9 + [0] * 90, np.linspace(0.1, 0.9, 99), range(99))

    assert math.isnan(line["slope"]["value"])
    assert math.isnan(line["slope"]["high"])


def test_the_curve_holds_everybody_once_and_its_intervals_hold_its_points():
    rng = np.random.default_rng(1)
    p = rng.random(500).round(1)  # many ties
    y = rng.random(500) < p

    curve = calibration_curve(y, p, np.arange(500))

    assert curve["n"].sum() == 500
    assert (curve["n"] * curve["observed"]).sum() == pytest.approx(y.sum())
    assert (curve["low"] <= curve["observed"]).all()
    assert (curve["observed"] <= curve["high"]).all()
    assert curve["predicted"].is_monotonic_increasing


def test_rows_of_the_same_customers_are_less_to_judge_by_than_rows_of_others():
    p = np.tile(np.linspace(0.05, 0.5, 200), 5)
    apart = calibration_by_chance(p, np.arange(1000))
    same = calibration_by_chance(p, np.tile(np.arange(200), 5))

    assert same > 1.5 * apart


def test_a_small_segment_says_why_it_has_no_figures():
    rng = np.random.default_rng(2)
    segment = np.array(["large"] * 400 + ["quiet"] * 60 + ["tiny"] * 20 + [None] * 60, object)
    y = np.where(segment == "quiet", 0, rng.random(540) < 0.3)
    y[400] = 1

    found = {
        one["segment"]: one for one in segment_figures(y, rng.random(540), range(540), segment)
    }

    assert ["large", "not known", "quiet", "tiny"] == list(found)
    assert "auc" in found["large"]["figures"]
    assert found["large"]["undefined_because"] == {}
    assert found["quiet"]["undefined_because"]["auc"] == "only 1 left; needs 10"
    assert "gap" in found["quiet"]["figures"]
    assert found["tiny"]["figures"] == {}
    assert "20 customers" in found["tiny"]["undefined_because"]["all"]
    assert sum(one["n"] for one in found.values()) == 540


# ---- the grade ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letter", "auc", "error", "baselines", "left", "leaks"),
    [
        ("A", AUC, 0.02, {"base rate": BETTER, "recency rule": BETTER, "logistic": ALIKE}, 100, 0),
        ("B", AUC, 0.02, {"base rate": BETTER}, 99, 0),
        ("B", {**AUC, "low": 0.69}, 0.02, {"base rate": BETTER}, 100, 0),
        ("B", AUC, 0.02, {"base rate": BETTER, "recency rule": ALIKE}, 100, 0),
        ("C", AUC, 0.021, {"base rate": BETTER}, 100, 0),
        ("C", {**AUC, "low": 0.59}, 0.02, {"base rate": BETTER}, 100, 0),
        ("D", AUC, 0.02, {"base rate": BETTER, "logistic": WORSE}, 100, 0),
        ("D", AUC, 0.02, {"base rate": BETTER}, 29, 0),
        ("D", AUC, 0.02, {"base rate": BETTER}, 100, 1),
        ("E", {**AUC, "low": 0.5}, 0.02, {"base rate": BETTER}, 100, 0),
        ("E", AUC, 0.02, {"base rate": ALIKE}, 100, 0),
        ("D", AUC, 0.02, {"base rate": ALIKE}, 29, 0),  # too few to tell: not the same as E
        ("D", {"value": math.nan, "low": math.nan, "high": math.nan}, 0.0, {}, 0, 0),
    ],
)
def test_the_grade_follows_its_rule(letter, auc, error, baselines, left, leaks):
    found = grade_churn(
        {"auc": auc, "calibration_error": {"value": error, "low": 0.0, "high": 1.0}},
        {name: {"log_loss": one} for name, one in baselines.items()},
        chance_calibration_error=0.01,
        left=left,
        leaks_let_through=leaks,
    )

    assert letter == found.letter
    assert GRADES[letter] == found.meaning
    assert (letter == "A") == (found.reason == "every condition is met")


@pytest.mark.parametrize(
    ("letter", "tenure"),
    [
        ("A", {"value": 0.10, "low": 0.05, "high": 0.15}),
        ("C", {"value": 0.10, "low": -0.05, "high": 0.25}),
        ("E", {"value": -0.02, "low": -0.06, "high": 0.02}),  # as on a set known to hold no signal
    ],
)
def test_what_time_as_a_customer_tells_alone_is_no_signal(letter, tenure):
    figures = {"auc": AUC, "calibration_error": {"value": 0.01, "low": 0.0, "high": 1.0}}
    better = {"base rate": {"log_loss": BETTER}}

    found = grade_churn(
        figures, better, chance_calibration_error=0.01, left=200, beyond_tenure=tenure
    )

    assert letter == found.letter


def test_what_chance_alone_would_show_is_no_reason_for_a_worse_grade():
    figures = {"auc": AUC, "calibration_error": {"value": 0.04, "low": 0.0, "high": 1.0}}
    better = {"base rate": {"log_loss": BETTER}}

    few = grade_churn(figures, better, chance_calibration_error=0.05, left=200)
    many = grade_churn(figures, better, chance_calibration_error=0.01, left=200)

    assert ("A", "C") == (few.letter, many.letter)


# ---- too few to learn from ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("customers", "left", "said"),
    [
        (100, 29, "too few leavers to learn from: 29 of 100"),
        (99, 30, "too few customers to learn from: 30 of 99"),
    ],
)
def test_a_handful_is_refused_with_its_numbers(customers, left, said):
    # seen four times each: rows are many, customers are few
    who = np.repeat(np.arange(customers), 4)

    with pytest.raises(SnapshotError, match=said):
        enough(who, (who < left).astype(float), 13)


def test_a_hundred_customers_of_whom_thirty_left_are_enough():
    who = np.repeat(np.arange(100), 4)

    enough(who, (who < 30).astype(float), 13)


# ---- the card of a training ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_training_leaves_a_card_with_everything_it_must_hold(card):
    held = {
        *("grade", "definition", "data", "leaks", "split", "learning", "figures", "calibration"),
        *("by_snapshot", "segments", "horizons", "capacity", "comparison", "differences"),
        *("drivers", "clv", "drift", "base_rates", "treatments", "retrain", "approved_by"),
        *("approved_on", "tracking", "verdicts", "tide"),
    }

    assert held <= set(card)
    assert card["approved_by"] is None
    assert {"base rate", "logistic regression", "default LightGBM"} <= set(card["differences"])
    assert 10 == len(card["clv"]["deciles"])
    assert len(card["split"]["test_snapshots"]) == len(card["by_snapshot"])
    assert {"segment", "plan", "region", "time as a customer"} <= {
        one["by"] for one in card["segments"]
    }
    assert any(one["capacity"] == card["capacity_per_week"] for one in card["capacity"])
    assert card["calibration"]["interval"] is None  # too short a history to look back so far


@pytest.mark.slow
def test_the_cards_numbers_add_up(card):
    judged = sum(one["n"] for one in card["by_snapshot"])
    left = sum(one["left"] for one in card["by_snapshot"])

    assert card["split"]["test_rows"] == judged
    for split in card["segments"]:
        assert judged == sum(one["n"] for one in split["rows"])
        assert left == sum(one["left"] for one in split["rows"])
    assert judged == sum(one["n"] for one in card["calibration"]["curve"])
    assert card["data"]["rows"] == sum(one["n"] for one in card["base_rates"])
    assert 1 == pytest.approx(sum(one["weight"] for one in card["drivers"]["themes"]))
    for one in card["data"]["sources"]:
        assert one["rows_in"] == one["used"] + sum(one["set_aside"].values())
    ours = {row["name"]: row for row in card["comparison"]}
    for name, found in card["differences"].items():
        difference = ours["retain"]["log_loss"] - ours[name]["log_loss"]
        assert difference == pytest.approx(found["log_loss"]["value"])


class _Outside(HTMLParser):
    """Everything that a page would fetch, and its scripts."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        address = given.get("src") or given.get("href") or ""
        if tag in ("script", "link", "img", "iframe") or address.startswith(("http", "//")):
            self.found.append((tag, address))


@pytest.mark.slow
def test_the_page_fetches_nothing_and_says_the_grade_and_the_lines_to_sign(folder, card):
    text = (folder / "model_card.html").read_text("utf-8")
    outside = _Outside()
    outside.feed(text)

    assert [] == outside.found
    assert f"Grade {card['grade']['letter']}" in text
    assert "Of the group at highest risk" in text
    assert "Approved by" in text
    assert "nan" not in text.replace("finance", "")
    assert text == render_document(model_document(card))  # from the JSON alone, to the byte


@pytest.mark.slow
def test_where_the_run_was_recorded_stands_in_a_file_of_its_own(folder, card):
    run = json.loads(folder.with_name("demo-churn.run.json").read_text("utf-8"))

    assert run["run_id"] not in (folder / "model_card.json").read_text("utf-8")
    assert card["tracking"]["file"] == "demo-churn.run.json"


@pytest.mark.slow
def test_a_drift_of_the_rate_of_leaving_is_said_with_its_doubt(card):
    drifting = card | {"tide": {"yearly": 0.3, "doubt": 0.05, "growth": 0.2, "carried": 0.19}}
    steady = card | {"tide": {"yearly": 0.02, "doubt": 0.05, "growth": 0.2, "carried": 0.0}}

    assert card["tide"] is None  # less than a year, in which it could be the season
    assert "+0.30 a year (standard error 0.05)" in render_document(model_document(drifting))
    assert "carried on to today with +0.19 a year" in render_document(model_document(drifting))
    assert "No drift is carried on" in render_document(model_document(steady))


@pytest.mark.slow
def test_a_customers_own_words_are_text_on_the_card(card):
    hostile = "<script>alert(1)</script>"
    spoilt = json.loads(json.dumps(card))
    spoilt["segments"][0]["rows"][0]["segment"] = hostile
    spoilt["data"]["sources"][0]["table"] = hostile

    assert hostile not in render_document(model_document(spoilt))
