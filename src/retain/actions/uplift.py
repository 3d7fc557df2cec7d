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
FOLDS = 5
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
    unseen = _unseen(X, treated, left, people, seed)
    clv = pd.to_numeric(known["clv"]).fillna(0.0).to_numpy(dtype=np.float64)
    risk = pd.to_numeric(known["value_at_risk"]).fillna(0.0).to_numpy(dtype=np.float64)
    gain, low, high = _beyond_risk(unseen * clv, risk, clv, treated, left, people, seed)
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


def _fitted(X: Any, treated: Any, left: Any, seed: int) -> Any:
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import HistGradientBoostingRegressor

    try:
        from econml.dr import DRLearner
    except ImportError:
        raise ConfigError(
            "estimating the response to contact needs the package econml; pip install "
            "'retain[uplift]'"
        ) from None

    def trees() -> Any:
        return HistGradientBoostingRegressor(
            max_iter=60,
            max_leaf_nodes=6,
            min_samples_leaf=max(30, len(left) // 50),
            learning_rate=0.08,
            early_stopping=False,
            random_state=seed,
        )

    model = DRLearner(
        model_propensity=DummyClassifier(strategy="prior"),  # drawn at random: no model needed
        model_regression=trees(),
        model_final=trees(),
        cv=3,
        random_state=seed,
    )
    model.fit(left, treated.astype(int), X=X)
    return model


def _unseen(X: Any, treated: Any, left: Any, people: Any, seed: int) -> Any:
    """Predict each draw's fall by models that have not seen its customer."""
    names, at = np.unique(people, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    found = np.zeros(len(left))
    for number in range(FOLDS):
        out = fold[at] == number
        if out.any():
            model = _fitted(X[~out], treated[~out], left[~out], seed)
            found[out] = -np.asarray(model.effect(X[out])).reshape(-1)
    return found


def _beyond_risk(
    by_response: Any, by_risk: Any, clv: Any, treated: Any, left: Any, people: Any, seed: int
) -> tuple[float, float, float]:
    """Margin saved per customer chosen by response beyond that chosen by risk, with interval.

    As who was contacted is random, weighing each draw by the chance of its group tells what
    contact saves in any chosen set.
    """
    share = treated.mean()
    saved = clv * left * np.where(treated, -1.0 / share, 1.0 / (1.0 - share))
    ranks = [np.argsort(np.argsort(-order, kind="stable")) for order in (by_response, by_risk)]
    n = len(left)
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
