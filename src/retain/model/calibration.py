"""Strictly increasing maps from a raw score to what the page shows, fitted out of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LogitCalibrator", "ScaleCalibrator", "expit", "logit"]

Floats = NDArray[np.float64]
_EDGE = 1e-9
LEAST_SLOPE = 0.2  # a flatter curve would hide every signal


def expit(score: Any) -> Floats:
    """Turn log-odds into probabilities."""
    # no overflow however extreme the score
    return np.exp(-np.logaddexp(0.0, -np.asarray(score, dtype=np.float64)))


def logit(probability: Any) -> Floats:
    """Turn probabilities into log-odds; 0 and 1 are moved a hair inwards."""
    p = np.clip(np.asarray(probability, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.log(p / (1.0 - p))


@dataclass(frozen=True)
class LogitCalibrator:
    """Calibrated log-odds = slope x raw log-odds + shift.

    Parameters
    ----------
    slope
        Above zero, so that no signal disappears; below one where the raw score was over-confident.
    shift
        How much the base rate moved between learning and judging, in log-odds.

    Examples
    --------
    >>> float(LogitCalibrator(1.0, 0.0)(0.0))
    0.5
    """

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, raw: Any) -> Floats:
        """Return calibrated probabilities for raw log-odds."""
        return expit(self.slope * np.asarray(raw, dtype=np.float64) + self.shift)

    def moved(self, log_odds: float) -> LogitCalibrator:
        """Return the same map with all log-odds moved.

        Examples
        --------
        >>> LogitCalibrator(1.0, 0.5).moved(0.25)
        LogitCalibrator(slope=1.0, shift=0.75)
        """
        return replace(self, shift=self.shift + log_odds)

    @classmethod
    def fit(cls, raw: Any, y: Any, weight: Any, periods: float) -> LogitCalibrator:
        """Fit slope and shift on scores that the model had never seen.

        Parameters
        ----------
        raw, y, weight
            Raw log-odds, outcomes 0 / 1 and row weights, shape (rows,).
        periods
            How many periods that do not overlap the rows span. A shift seen once may be chance: it
            is followed to the extent periods / (periods + 1).
        """
        from scipy.optimize import minimize

        raw, y, weight = (np.asarray(v, dtype=np.float64) for v in (raw, y, weight))
        weight = weight / weight.sum()
        centre = float(np.sum(weight * raw))
        rows = len(raw)

        def loss(theta: Any) -> float:
            score = theta[0] * (raw - centre) + theta[1] + centre
            fit = np.sum(weight * (np.logaddexp(0.0, score) - y * score))
            # a weak pull towards "as it is", worth some hundred rows
            return float(fit + 100.0 / rows * ((theta[0] - 1.0) ** 2 + 0.02 * theta[1] ** 2))

        found = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B")
        trust = periods / (periods + 1.0)
        slope = float(max(1.0 + (found.x[0] - 1.0) * max(trust, 0.5), LEAST_SLOPE))
        shift = float(found.x[1] * trust)
        return cls(slope, centre + shift - slope * centre)


@dataclass(frozen=True)
class ScaleCalibrator:
    """Calibrated value = factor x exp(raw); the factor follows the level out of time.

    Parameters
    ----------
    factor
        Above zero.
    """

    factor: float = 1.0

    def __call__(self, raw: Any) -> Floats:
        """Return values in currency for raw log-values."""
        return self.factor * np.exp(np.asarray(raw, dtype=np.float64))

    @classmethod
    def fit(cls, raw: Any, y: Any, weight: Any, periods: float) -> ScaleCalibrator:
        """Fit the factor: sum of outcomes / sum of predictions, followed as far as trusted."""
        raw, y, weight = (np.asarray(v, dtype=np.float64) for v in (raw, y, weight))
        predicted, seen = float(np.sum(weight * np.exp(raw))), float(np.sum(weight * y))
        if predicted <= 0 or seen <= 0:
            return cls(1.0)
        return cls(float((seen / predicted) ** (periods / (periods + 1.0))))
