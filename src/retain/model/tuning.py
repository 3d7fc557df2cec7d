"""A search of settings that goes on until the time is up, judged forward in time.

Optuna proposes, LightGBM learns from earlier rows and is judged on later ones, as when the defaults
are chosen between. The defaults are tried first, so that what is found is never worse than they are
on these rows. How many trials fit into the time depends on the machine; which trial comes when
depends on the seed alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from retain.errors import RetainError, SnapshotError
from retain.model.fitting import SETTINGS, _enough, _folds, _thinned, _tried, _usable
from retain.model.heads import ChurnHead

__all__ = ["Tuned", "tune_churn"]

MOST_ROUNDS = 400
SPACE: dict[str, tuple[float, float, bool]] = {  # lowest, highest, whether in steps of a factor
    "num_leaves": (3, 48, True),
    "max_depth": (2, 8, False),
    "min_child_samples": (20, 500, True),
    "learning_rate": (0.02, 0.12, True),
    "l2": (0.1, 100.0, True),
    "feature_share": (0.15, 1.0, False),
    "row_share": (0.5, 1.0, False),
}
WHOLE = ("num_leaves", "max_depth", "min_child_samples")


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Parameters
    ----------
    chosen
        Settings and rounds, as `fit_churn` takes them.
    tried
        Every trial in its order: settings, ``rounds`` and ``log_loss``; the defaults first.
    log_loss, log_loss_default
        Forward in time, of the best trial and of the best default.
    """

    chosen: dict[str, Any]
    tried: list[dict[str, Any]]
    log_loss: float
    log_loss_default: float


def tune_churn(
    X: Any,
    y: Any,
    when: Any,
    who: Any,
    *,
    purge: int,
    minutes: float,
    categorical: list[int] | None = None,
    seed: int = 0,
    most_trials: int | None = None,
    progress: Callable[[str, float], None] = lambda said, share: None,
) -> Tuned:
    """Search settings of the churn head until the time is up.

    Parameters
    ----------
    X, y, when, who, purge, categorical
        As for `fit_churn`.
    minutes
        Above 0. The defaults are tried whatever it is, and a trial that runs is finished.
    seed
        Same seed, rows and number of trials, same result.
    most_trials
        Stop after so many; None: only when the time is up.
    progress
        Called with what is being done and the share of the time that is over.

    Returns
    -------
    Tuned

    Raises
    ------
    RetainError
        When Optuna is not installed.
    SnapshotError
        When one of the classes is too rare, or the history too short to look ahead.
    """
    try:
        import optuna
    except ImportError as problem:
        raise RetainError(
            "tuning needs Optuna, which is not installed. Install it with: "
            "pip install 'retain[tune]', or train without --tune."
        ) from problem
    X, y, when, who = np.asarray(X), np.asarray(y, float), np.asarray(when), np.asarray(who)
    _enough(y)
    folds = _usable(_folds(when, purge), y)
    if not folds:
        raise SnapshotError(
            f"tuning: no two observed weeks lie {purge} weeks apart, so no setting can be judged "
            "on later rows. Bring more history, or train without --tune."
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    for setting in SETTINGS:
        plain = ChurnHead(**setting).get_params()
        study.enqueue_trial({name: plain[name] for name in SPACE})
    space = {name: _distribution(optuna, name) for name in SPACE}
    began = time.monotonic()
    tried: list[dict[str, Any]] = []
    while True:
        over = (time.monotonic() - began) / (60.0 * minutes)
        if len(tried) >= len(SETTINGS) and (over >= 1.0 or len(tried) == most_trials):
            break
        best = f"; best log loss {min(t['log_loss'] for t in tried):.4f}" if tried else ""
        progress(f"trial {len(tried) + 1}{best}", min(over, 1.0))
        trial = study.ask(space)
        head = ChurnHead(
            **trial.params, rounds=MOST_ROUNDS, categorical=tuple(categorical or ()), seed=seed
        )
        loss, rounds = _tried(head, "binary_logloss", X, y, who, folds)
        study.tell(trial, loss)
        tried.append({**trial.params, "rounds": rounds, "log_loss": loss})
    found = min(tried, key=lambda one: one["log_loss"])
    rows = int(np.mean([len(_thinned(train, who, seed)) for train, _ in folds]))
    settings = {name: value for name, value in found.items() if name != "log_loss"}
    return Tuned(
        {**settings, "found_on_rows": rows},
        tried,
        found["log_loss"],
        min(one["log_loss"] for one in tried[: len(SETTINGS)]),
    )


def _distribution(optuna: Any, name: str) -> Any:
    low, high, by_factor = SPACE[name]
    if name in WHOLE:
        return optuna.distributions.IntDistribution(int(low), int(high), log=by_factor)
    return optuna.distributions.FloatDistribution(low, high, log=by_factor)
