"""Whom contact keeps: the response to being on the list, learnt from past random draws.

The learner is econml's doubly robust one with the known chance of being drawn. It decides nothing
before it has proved itself: on customers that it has not seen, its order must save more margin than
the order by risk, beyond noise. Until then the list stays in the order of risk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import ConfigError

__all__ = ["RESPONSE_FEATURES", "Response", "learn_response"]

RESPONSE_FEATURES = (
    *("churn_probability", "percentile", "change", "clv", "mrr", "days_to_renewal"),
    *("theme_usage", "theme_effort", "theme_survey", "theme_commercial", "theme_profile"),
    *("coverage", "freshness_days", "health_score"),
)
FOLDS = 4
LEAST_HELD_OUT = 100  # with a known outcome
LEAST_LEAVERS = 50
SHARES = (0.1, 0.2, 0.3)  # of those compared, how many the orders may choose
DRAWS = 400
LEVEL = 0.90


@dataclass(frozen=True)
class Response:
    """What is known about who responds.

    Parameters
    ----------
    uplift
        Expected fall of the probability of leaving when contacted, by customer_id, for the
        customers asked about; None while the order by risk is not beaten.
    gain, low, high
        Margin per customer chosen that the order by response saves beyond the order by risk, on
        customers not learnt from, with its 90 % interval; nan while nothing could be compared.
    said
        All that in a sentence.
    """

    uplift: dict[str, float] | None
    gain: float
    low: float
    high: float
    said: str


def learn_response(past: pd.DataFrame, now: pd.DataFrame, *, seed: int = 0) -> Response:
    """Learn from past draws who responds; predict it for this week's customers if it is proven.

    Parameters
    ----------
    past
        One row per past draw, with columns of `RESPONSE_FEATURES` as they stood then, customer_id,
        is_holdout, has_left (0 or 1; nan while not known), value_at_risk, clv.
    now
        This week's eligible customers: customer_id and the same columns.
    seed
        Of folds and trees.

    Returns
    -------
    Response
        With `uplift` None when there is too little to learn from or the order by risk is not
        beaten beyond noise.

    Raises
    ------
    ConfigError
        When the library is not installed.
    """
    known = past[past["has_left"].notna()].reset_index(drop=True)
    held = int(known["is_holdout"].astype(bool).sum()) if len(known) else 0
    leavers = int(known["has_left"].sum()) if len(known) else 0
    if held < LEAST_HELD_OUT or len(known) - held < LEAST_HELD_OUT or leavers < LEAST_LEAVERS:
        return _not_yet(
            f"the response is not estimated yet: {held} left alone with a known outcome, "
            f"{leavers} leavers; needed {LEAST_HELD_OUT} and {LEAST_LEAVERS}"
        )
    X = _features(known)
    treated = ~known["is_holdout"].to_numpy(dtype=bool)
    left = known["has_left"].to_numpy(dtype=np.float64)
    people = known["customer_id"].astype(str).to_numpy()
    unseen, saved = _unseen(X, treated, left, people, seed)
    clv = pd.to_numeric(known["clv"]).fillna(0.0).to_numpy(dtype=np.float64)
    risk = pd.to_numeric(known["value_at_risk"]).fillna(0.0).to_numpy(dtype=np.float64)
    gain, low, high = _beyond_risk(unseen * clv, risk, clv * saved, people, seed)
    figures = (
        f"on customers not learnt from, choosing by response instead of by risk saves {gain:,.0f} "
        f"more per customer chosen ({low:,.0f} to {high:,.0f})"
    )
    if not low > 0:
        return Response(None, gain, low, high, f"the list stays in the order of risk: {figures}")
    model = _fitted(X, treated, left, seed)
    fall = -np.asarray(model.effect(_features(now))).reshape(-1)
    ids = now["customer_id"].astype(str)
    return Response(
        dict(zip(ids, fall.tolist(), strict=True)),
        gain,
        low,
        high,
        f"the list is in the order of response: {figures}",
    )


def _not_yet(said: str) -> Response:
    return Response(None, math.nan, math.nan, math.nan, said)


def _features(rows: pd.DataFrame) -> Any:
    """Give numbers; what is not known stands at the middle, as the learner takes no gaps."""
    frame = rows.reindex(columns=list(RESPONSE_FEATURES)).apply(pd.to_numeric)
    return frame.fillna(frame.median()).fillna(0.0).to_numpy(dtype=np.float64)


def _trees(rows: int, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=60,
        max_leaf_nodes=6,
        min_samples_leaf=max(30, rows // 50),
        learning_rate=0.08,
        early_stopping=False,
        random_state=seed,
    )


def _fitted(X: Any, treated: Any, left: Any, seed: int) -> Any:
    from sklearn.dummy import DummyClassifier

    try:
        from econml.dr import DRLearner
    except ImportError:
        raise ConfigError(
            "estimating the response to contact needs the package econml; pip install "
            "'retain[uplift]'"
        ) from None
    model = DRLearner(
        model_propensity=DummyClassifier(strategy="prior"),  # drawn at random: no model needed
        model_regression=_trees(len(left), seed),
        model_final=_trees(len(left), seed),
        cv=3,
        random_state=seed,
    )
    model.fit(left, treated.astype(int), X=X)
    return model


def _unseen(X: Any, treated: Any, left: Any, people: Any, seed: int) -> tuple[Any, Any]:
    """Predict each draw's fall by models that have not seen its customer, and say what it was.

    What it was: the fall expected of the two groups, corrected by what happened, weighed by the
    chance of the draw's group. On average that is the true fall, whatever the models are worth.
    """
    names, at = np.unique(people, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    found, fell = np.zeros(len(left)), np.zeros(len(left))
    share = treated.mean()
    for number in range(FOLDS):
        out = fold[at] == number
        if not out.any():
            continue
        model = _fitted(X[~out], treated[~out], left[~out], seed)
        found[out] = -np.asarray(model.effect(X[out])).reshape(-1)
        alone, acted = (
            _trees((~out).sum(), seed).fit(X[~out & group], left[~out & group]).predict(X[out])
            for group in (~treated, treated)
        )
        fell[out] = (
            alone
            - acted
            + ~treated[out] * (left[out] - alone) / (1 - share)
            - treated[out] * (left[out] - acted) / share
        )
    return found, fell


def _beyond_risk(
    by_response: Any, by_risk: Any, saved: Any, people: Any, seed: int
) -> tuple[float, float, float]:
    """Margin saved per customer chosen by response beyond that chosen by risk, with interval."""
    ranks = [np.argsort(np.argsort(-order, kind="stable")) for order in (by_response, by_risk)]
    n = len(saved)
    per = np.zeros(n)
    for size in SHARES:
        k = max(int(size * n), 1)
        chosen = (ranks[0] < k) & (by_response > 0)
        per += (chosen * saved - (ranks[1] < k) * saved) / (k / n) / len(SHARES)
    _, at = np.unique(people, return_inverse=True)
    total = np.bincount(at, weights=per)
    count = np.bincount(at)
    rng, found = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        drawn = rng.integers(0, len(total), len(total))
        found.append(total[drawn].sum() / count[drawn].sum())
    low, high = np.quantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(per.mean()), float(low), float(high)
