"""The time-limited search of settings: defaults first, never worse than they, repeatable."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from small_company import branch_of, run, trained

from retain.errors import RetainError, SnapshotError
from retain.model import SETTINGS, fit_churn, tune_churn


@pytest.fixture(scope="module")
def panel():
    """Eight weeks of 150 customers; two of six columns matter."""
    rng = np.random.default_rng(0)
    when, who = (grid.ravel() for grid in np.meshgrid(np.arange(0, 32, 4), np.arange(150)))
    X = rng.normal(size=(len(when), 6))
    y = rng.random(len(when)) < 1 / (1 + np.exp(1.5 - X[:, 0] + X[:, 1]))
    return X, y.astype(float), when, who


def found(panel, **given):
    return tune_churn(*panel, purge=8, **{"minutes": 5, "most_trials": 4, **given})


@pytest.fixture(scope="module")
def tuned(panel):
    return found(panel)


def test_the_defaults_are_tried_first_and_what_is_found_is_no_worse(tuned):
    assert 4 == len(tuned.tried)
    for setting, trial in zip(SETTINGS, tuned.tried, strict=False):
        assert setting == {name: trial[name] for name in setting}
    assert tuned.log_loss_default == min(one["log_loss"] for one in tuned.tried[: len(SETTINGS)])
    assert tuned.log_loss == min(one["log_loss"] for one in tuned.tried)
    assert tuned.log_loss <= tuned.log_loss_default


def test_the_same_seed_and_number_of_trials_find_the_same(panel, tuned):
    again = found(panel)

    assert tuned == again


def test_when_the_time_is_up_at_once_only_the_defaults_are_tried(panel):
    heard = []
    none = found(panel, minutes=1e-9, most_trials=None, progress=lambda said, at: heard.append(at))

    assert len(SETTINGS) == len(none.tried)
    assert heard == sorted(heard)
    assert 1.0 == heard[-1]


def test_what_is_found_can_be_learnt_with(panel, tuned):
    fitted = fit_churn(*panel, purge=8, refits=0, chosen=tuned.chosen)

    assert tuned.chosen == fitted.chosen
    assert tuned.chosen["learning_rate"] == fitted.head.learning_rate


def test_a_trial_is_judged_on_later_weeks_only(panel):
    # the outcome stands in a column of the early weeks: judged on those, nothing would be lost
    X, y, when, who = panel
    spoilt = np.column_stack([X, np.where(when <= 12, y, 0.5)])

    assert found((spoilt, y, when, who), most_trials=3).log_loss > 0.4


def test_without_optuna_the_message_says_what_to_install(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(RetainError, match=r"pip install 'retain\[tune\]'"):
        found(panel)


def test_a_history_too_short_to_look_ahead_is_refused(panel):
    X, y, when, who = panel
    with pytest.raises(SnapshotError, match="no two observed weeks lie 40 weeks apart"):
        tune_churn(X, y, when, who, purge=40, minutes=1)


@pytest.mark.slow
@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "1e9"])
def test_minutes_that_make_no_sense_are_wrong_use(minutes, tmp_path_factory, tmp_path, capsys):
    branch = branch_of(trained(tmp_path_factory.getbasetemp()), tmp_path)

    ran = run(capsys, "train", branch.path, "--tune", minutes)

    assert 2 == ran.code
    assert "expected minutes above 0" in ran.err


@pytest.mark.slow
def test_a_tuned_training_says_so_on_its_card(tmp_path_factory, tmp_path, capsys):
    branch = branch_of(trained(tmp_path_factory.getbasetemp()), tmp_path)

    ran = run(capsys, "train", branch.path, "--tune", "0.001")

    assert 0 == ran.code
    page = (branch.store / "models" / "demo-churn" / "model_card.html").read_text("utf-8")
    assert "trials in at most 0.001 minutes" in page
