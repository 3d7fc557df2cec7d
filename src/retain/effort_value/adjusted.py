"""Differences among customers who were alike, as far as is known: double machine learning.

Two models learn, from what was known before, how much effort a customer would meet and what would
become of it; what neither foresaw is compared. Every customer is predicted by models that never saw
that customer. The method, its interval and its robustness values are those of the DoubleML library
(Chernozhukov and others, 2018 and 2022); here are our folds, our learner and our clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retain.effort_value.lines import HiddenCause
from retain.errors import RetainError
from retain.model import MeanHead

__all__ = ["Adjusted", "adjusted_difference"]

FOLDS = 5
# little held back: what the learner smooths away of a confounder stays in the estimate
LEARNER: dict[str, Any] = {
    "rounds": 150,
    "learning_rate": 0.1,
    "min_child_samples": 20,
    "l2": 1.0,
    "feature_share": 1.0,
}
EXTRA = (
    "the estimates adjusted for what is known about customers need the DoubleML library, which is "
    "not installed. Install the extra: pip install 'retain[effort]'."
)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Adjusted:
    """An adjusted difference.

    Parameters
    ----------
    value, low, high
        Units of the outcome per unit of effort, with its interval.
    n, customers
        Rows and customers that it rests on.
    effort_explained, outcome_explained
        Share of the variation of each that was foreseen from what was known, out of fold; below 0
        when the forecast was worse than the mean.
    hidden
        How strong a hidden cause would have to be.
    """

    value: float
    low: float
    high: float
    n: int
    customers: int
    effort_explained: float
    outcome_explained: float
    hidden: HiddenCause


def adjusted_difference(
    X: Any,
    signals: Any,
    effort: Any,
    outcome: Any,
    who: Any,
    *,
    level: float = 0.95,
    folds: int = FOLDS,
    seed: int = 0,
) -> Adjusted:
    """Estimate what one unit of effort goes with, among customers who were alike.

    Partially linear regression: outcome = effect x effort + g(X) + noise, effort = m(X) + noise, g
    and m learnt by boosted trees, cross-fitted over folds of whole customers.

    Parameters
    ----------
    X
        What was known before the effort, float array of shape (rows, columns); nan is welcome.
    signals
        Name of the signal that each column belongs to, shape (columns,).
    effort, outcome
        Shape (rows,); rows where the outcome is nan are left out.
    who
        Customer of each row: whole in one fold, one cluster in the interval.
    level
        Level of the interval.
    folds
        Number of folds.
    seed
        Same seed and data, same figures.

    Raises
    ------
    RetainError
        When the library is not installed, or there are fewer customers than folds, or effort or
        outcome do not vary.

    Notes
    -----
    Where the effect differs between customers, the estimate is their mean weighted by how little
    their effort could be foreseen. Scores are added up by customer before the library's variance
    and robustness values are taken: what it gives for clusters, without a pass over all rows for
    each of them.
    """
    try:
        import doubleml
    except ImportError as problem:
        raise RetainError(EXTRA) from problem
    X, d, y = np.asarray(X, float), np.asarray(effort, float), np.asarray(outcome, float)
    known = ~np.isnan(y)
    X, d, y = X[known], d[known], y[known]
    names, customer = np.unique(np.asarray(who)[known], return_inverse=True)
    if len(names) < 2 * folds or np.ptp(d) == 0 or np.ptp(y) == 0:
        raise RetainError(
            f"adjusted difference: found {len(names)} customers, effort from {d.min(initial=0):g} "
            f"to {d.max(initial=0):g}; expected at least {2 * folds} customers among whom effort "
            "and outcome differ. Use a longer history."
        )
    columns = [f"x{number}" for number in range(X.shape[1])]
    frame = pd.DataFrame(X, columns=columns).assign(y=y, d=d)
    fold = np.random.default_rng(seed).permutation(len(names)) % folds
    parts = [np.flatnonzero(fold[customer] == number) for number in range(folds)]
    splits = [(np.setdiff1d(np.arange(len(y)), part), part) for part in parts]
    learner = MeanHead(**LEARNER, seed=seed)
    model = doubleml.DoubleMLPLR(
        doubleml.DoubleMLData(frame, "y", "d", columns, force_all_x_finite="allow-nan"),
        ml_l=learner,
        ml_m=learner,
        n_folds=folds,
        draw_sample_splitting=False,
    )
    model.set_sample_splitting([splits])
    model.fit(store_models=True)
    whole = _by_customer(doubleml, model, customer, len(names))
    tail = (1.0 - level) / 2.0
    whole.sensitivity_analysis(level=1.0 - tail)  # one-sided there
    (low, high) = whole.confint(level=level).to_numpy()[0]
    found = whole.sensitivity_params
    strongest, gain = "", {"cf_d": 0.0, "cf_y": 0.0}
    certain = not low <= 0.0 <= high
    if certain and len(set(signals)) > 1:
        strongest = _strongest(model, X, d, y, np.asarray(signals), parts, seed)
        left_out = [name for name, of in zip(columns, signals, strict=True) if of == strongest]
        gain = model.sensitivity_benchmark(left_out).iloc[0].to_dict()
    predicted = model.predictions
    return Adjusted(
        value=float(whole.thetas[0]),
        low=float(low),
        high=float(high),
        n=len(y),
        customers=len(names),
        effort_explained=_explained(d, predicted["ml_m"][:, 0, 0]),
        outcome_explained=_explained(y, predicted["ml_l"][:, 0, 0]),
        hidden=HiddenCause(
            to_zero=float(found["rv"][0]),
            to_doubt=float(found["rva"][0]) if certain else 0.0,
            known=strongest,
            known_effort=float(gain["cf_d"]),
            known_outcome=float(gain["cf_y"]),
        ),
    )


def _by_customer(doubleml: Any, model: Any, customer: Any, customers: int) -> Any:
    """Add up the scores by customer, so that one customer's rows count as one draw."""
    rows = model.framework
    weight = customers / len(customer)

    def summed(scores: Any) -> Any:
        return (np.bincount(customer, scores[:, 0, 0], customers) * weight)[:, None, None]

    psi = summed(rows.scaled_psi)
    elements = rows.sensitivity_elements
    return doubleml.DoubleMLFramework(
        doubleml.DoubleMLCore(
            all_thetas=rows.all_thetas,
            all_ses=np.sqrt(np.mean(psi**2, axis=0) / customers),
            var_scaling_factors=np.array([customers]),
            scaled_psi=psi,
            sensitivity_elements={
                "max_bias": elements["max_bias"],
                "psi_max_bias": summed(elements["psi_max_bias"]),
            },
        )
    )


def _strongest(
    model: Any, X: Floats, d: Floats, y: Floats, signals: Any, parts: Any, seed: int
) -> str:
    """Name the signal whose shuffling hurts the forecasts of effort and of the outcome most.

    Judged on customers that the models had not seen: what a model took for a signal by chance in
    learning, of hundreds of columns, counts for nothing.
    """
    rng = np.random.default_rng(seed)
    targets = {"ml_m": d, "ml_l": y}
    harm: dict[str, float] = {}
    for signal in dict.fromkeys(signals.tolist()):
        at = np.flatnonzero(signals == signal)
        lost = dict.fromkeys(targets, 0.0)
        for number, part in enumerate(parts):
            shuffled = X[part]
            shuffled[:, at] = shuffled[rng.permutation(len(part))][:, at]
            for learner, target in targets.items():
                known = model.predictions[learner][part, 0, 0]
                guessed = model.models[learner]["d"][0][number].predict(shuffled)
                errors = (target[part] - guessed) ** 2 - (target[part] - known) ** 2
                lost[learner] += float(errors.sum()) / float(np.var(target))
        harm[signal] = max(lost["ml_m"], 0.0) * max(lost["ml_l"], 0.0)
    return max(harm, key=lambda signal: harm[signal])


def _explained(true: Floats, predicted: Floats) -> float:
    return float(1.0 - np.mean((true - predicted) ** 2) / np.var(true))
