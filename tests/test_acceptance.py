"""What the main job must reach, on real input and on simulated companies whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import judged_companies
import numpy as np
import pytest
import real_input

from retain import load_config, train

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
HAS_DATA = pytest.mark.skipif(
    not DATA.exists(), reason="the public data sets are not beside the repository"
)


@HAS_DATA
@pytest.mark.slow
def test_cdnow_churn_holds_at_the_cut_of_january_1998():
    figures = real_input.judge_churn("1998-01-18")

    assert figures["auc"]["value"] >= 0.695
    assert figures["calibration_error"]["value"] <= 0.03


@HAS_DATA
@pytest.mark.slow
def test_cdnow_value_of_39_weeks_is_ordered_and_level():
    figures = real_input.judge_value()

    assert figures["customers"]["value"] == 23_570
    assert figures["normalised_gini"]["value"] >= 0.70
    assert figures["mae"]["value"] <= 34
    assert 0.90 <= figures["sum_predicted_over_actual"]["value"] <= 1.10


@HAS_DATA
@pytest.mark.slow
def test_ravenstack_carries_no_signal_and_none_is_found(tmp_path):
    config = load_config(ROOT / "configs" / "ravenstack.yaml")
    config = config.model_copy(update={"store": tmp_path / "store", "models": tmp_path / "models"})

    trained = train(config, record=False)

    leavers = trained.figures["observed"]["value"] * trained.bundle.about["test_rows"]
    assert leavers >= 100
    assert 0.40 <= trained.figures["auc"]["value"] <= 0.65
    card = json.loads((trained.folder / "model_card.json").read_text(encoding="utf-8"))
    assert card["grade"]["letter"] == "E"
    assert card["grade"]["meaning"].startswith("no signal")
    signals = set(trained.bundle.features["columns"])
    one_of_each = {"events_13w", "contacts_13w", "last_answer_csat", "mrr", "tenure_weeks"}
    assert one_of_each <= signals


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), [("inactivity", 3)])
def test_a_company_without_contracts_gets_most_of_what_its_truth_allows(kind, seed):
    figures = judged_companies.judge(kind, 2000, seed)

    assert 0.78 <= figures["oracle_auc"] <= 0.92
    assert figures["share_of_oracle"] >= 0.75
    assert figures["horizons"][13]["calibration_error"] <= 0.025
    assert figures["interval"]["groups_held"] >= 9
    low, _, high = figures["clv"]["bias_against_a_future"]
    assert low <= 0.02
    assert high >= -0.02
    assert 0.86 <= figures["clv"]["coverage"] <= 0.96
    for _, low, _ in figures["auc_minus_baselines"].values():
        assert low > -0.01
    assert figures["reasons"]["in_first_two"] >= 0.75
    assert figures["reasons"]["rank_correlation"]["usage"] >= 0.5
    assert figures["top_three_overlap"] >= 0.6


def test_the_expected_auc_of_a_coin_is_a_half():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.01, 0.5, 4000)

    assert abs(judged_companies.expected_auc(truth, rng.uniform(size=4000)) - 0.5) < 0.02
    assert judged_companies.expected_auc(truth, truth) > 0.6
