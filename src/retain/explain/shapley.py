"""From SHAP values in log-odds to signals that add up to the number on the page.

The score is additive in log-odds (or log of currency); the page shows probabilities (or currency).
Walking in a straight line from the base score to the customer's score, each signal is credited
with its share of the slope at every step. Every share keeps its sign, a signal without effect gets
nothing, and base plus shares is the number shown, exactly (Aumann-Shapley along the diagonal;
Friedman 2004).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.features import THEMES, Column
from retain.model.calibration import expit

__all__ = [
    "Signals",
    "additive_in_currency",
    "additive_in_probability",
    "signal_contributions",
    "stability_of",
    "summary_figure",
    "theme_totals",
]

Floats = NDArray[np.float64]
TOLERANCE = 1e-8
TOP = 3


@dataclass(frozen=True)
class Signals:
    """Contributions of signals to a raw score.

    Parameters
    ----------
    names, themes
        Signal and its theme, in the catalogue's order.
    raw
        Shape (rows, signals), in log-odds or log of currency.
    base
        Raw score of nobody in particular.
    columns
        Contributions of single columns, shape (rows, columns).
    members
        Per signal the positions of its columns.
    """

    names: tuple[str, ...]
    themes: tuple[str, ...]
    raw: Floats
    base: float
    columns: Floats
    members: tuple[tuple[int, ...], ...]


def signal_contributions(contributions: Any, columns: Sequence[Column]) -> Signals:
    """Merge the columns of one signal: correlated windows share one credit.

    Parameters
    ----------
    contributions
        SHAP values of shape (rows, columns + 1), the base value last.
    columns
        What the columns mean, in order.
    """
    values = np.asarray(contributions, dtype=np.float64)
    place: dict[tuple[str, str], list[int]] = {}
    for at, column in enumerate(columns):
        place.setdefault((column.feature.theme, column.feature.signal), []).append(at)
    members = tuple(tuple(at) for at in place.values())
    # column by column: the order of the terms, and so the last bit, is that of any number of rows
    raw = np.column_stack(
        [sum((values[:, one] for one in at), np.zeros(len(values))) for at in members]
    )
    base = float(values[0, -1]) if len(values) else 0.0
    return Signals(
        tuple(signal for _, signal in place),
        tuple(theme for theme, _ in place),
        raw.reshape(len(values), len(members)),
        base,
        values[:, :-1],
        members,
    )


def additive_in_probability(
    signals: Signals, slope: float, shift: float, probability: Any
) -> tuple[float, Floats]:
    """Express signals in probability, so that base + signals = the calibrated probability.

    Parameters
    ----------
    signals
        Contributions in log-odds.
    slope, shift
        The calibrator: calibrated log-odds = slope x raw + shift.
    probability
        What the page shows, shape (rows,): every row is checked against it.

    Returns
    -------
    base : float
        Calibrated probability of the base score.
    points : array of shape (rows, signals)
        0.05 means five percentage points.
    """
    start = slope * signals.base + shift
    score = start + slope * signals.raw.sum(axis=1)
    p0, p = expit(start), expit(score)
    steepness = _slope_between(p0, p, start, score, p0 * (1.0 - p0))
    points = slope * signals.raw * steepness[:, None]
    _check(p0 + points.sum(axis=1), probability, 1.0, "churn probability")
    return float(p0), points


def theme_totals(signals: Signals, points: Any) -> dict[str, Floats]:
    """Add up the signals of each theme: base + themes = the number shown.

    Parameters
    ----------
    signals
        What the columns of `points` are.
    points
        Contributions of shape (rows, signals), in probability or currency.

    Returns
    -------
    dict
        Per theme an array of shape (rows,), zero where the model uses nothing of it.
    """
    points = np.asarray(points)
    totals = {theme: np.zeros(len(points)) for theme in THEMES}
    for at, theme in enumerate(signals.themes):
        totals[theme] += points[:, at]
    return totals


def additive_in_currency(signals: Signals, factor: float, value: Any) -> tuple[float, Floats]:
    """Express signals in currency, so that base + signals = the CLV on the page.

    Parameters
    ----------
    signals
        Contributions in log of currency.
    factor
        CLV = factor x exp(raw).
    value
        What the page shows, shape (rows,): every row is checked against it.
    """
    score = signals.base + signals.raw.sum(axis=1)
    v0, v = factor * np.exp(signals.base), factor * np.exp(score)
    steepness = _slope_between(v0, v, signals.base, score, v0)
    points = signals.raw * steepness[:, None]
    _check(v0 + points.sum(axis=1), value, np.maximum(np.maximum(v, v0), 1.0), "CLV")
    return float(v0), points


def stability_of(signals: Signals, refits: Sequence[Signals]) -> Floats:
    """Say how often refits agree that a signal is among the strongest of its direction.

    Parameters
    ----------
    signals
        Of the model on the page.
    refits
        Of the same model learnt from resampled customers, same rows.

    Returns
    -------
    array of shape (rows, signals) in [0, 1]
        Share of refits in which the signal pushes the same way and is among the `TOP` of that way;
        nan without refits.
    """
    if not refits:
        return np.full(signals.raw.shape, np.nan)
    agreed = np.zeros(signals.raw.shape)
    for one in refits:
        for sign in (1.0, -1.0):
            mine = np.where(sign * signals.raw > 0, 1.0, 0.0)
            theirs = np.where(sign * one.raw > 0, sign * one.raw, -np.inf)
            floor = -np.partition(-theirs, min(TOP, theirs.shape[1]) - 1, axis=1)[
                :, min(TOP, theirs.shape[1]) - 1
            ]
            agreed += mine * ((theirs >= floor[:, None]) & np.isfinite(theirs))
    return agreed / len(refits)


def summary_figure(contributions: Any, X: Any, names: Sequence[str]) -> Any:
    """Draw the SHAP summary of a model with the shap library.

    Parameters
    ----------
    contributions
        SHAP values, shape (rows, columns).
    X
        Values of the same shape.
    names
        Column names.

    Returns
    -------
    matplotlib Figure
    """
    import shap

    explanation = shap.Explanation(
        values=np.asarray(contributions), data=np.asarray(X), feature_names=list(names)
    )
    draw = shap.plots.beeswarm
    # shap 0.52 asks for its own source of jitter; 0.51, the last for Python 3.11, knows none
    jitter = {"rng": 0} if "rng" in inspect.signature(draw).parameters else {}
    axes = draw(explanation, max_display=20, show=False, plot_size=(9, 7), **jitter)
    figure = axes.figure
    figure.tight_layout()
    return figure


def _slope_between(y0: Any, y: Any, x0: Any, x: Any, at_start: Any) -> Floats:
    """(y - y0) / (x - x0), with its limit where both points meet."""
    gap = np.asarray(x - x0, dtype=np.float64)
    small = np.abs(gap) < 1e-9
    return np.where(small, at_start, (y - y0) / np.where(small, 1.0, gap))


def _check(total: Any, shown: Any, scale: Any, what: str) -> None:
    gap = np.abs(total - np.asarray(shown))
    if not np.all(gap <= TOLERANCE * scale):
        raise AssertionError(
            f"{what}: base and signals add up to something else than the number on the page "
            f"(largest difference {np.max(gap):.3g}). A defect of retain; no page was written."
        )
