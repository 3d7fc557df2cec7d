"""The model's plots: calibration, gain, and what the signals weigh, as matplotlib figures.

matplotlib is imported inside the functions, and figures are drawn without pyplot: nothing global
changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from retain.errors import RetainError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "calibration_bins",
    "calibration_figure",
    "contribution_figure",
    "gain_curve",
    "gain_figure",
    "write_png",
]

_INK, _SOFT, _LINE = "#191c20", "#565d66", "#dfdfd9"
_HUES = ("#1d5b79", "#b3412a", "#805400", "#5b5f97", "#4d7c4d")
_THEME_HUES = {
    "usage": "#1d5b79",
    "effort": "#b3412a",
    "survey": "#5b5f97",
    "commercial": "#805400",
    "profile": "#79828b",
}


def _checked(predicted: ArrayLike, observed: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Read both as float arrays of one length without gaps."""
    p, y = np.asarray(predicted, dtype=float), np.asarray(observed, dtype=float)
    if p.ndim != 1 or p.shape != y.shape or not len(p):
        raise RetainError(
            f"a plot needs one outcome per prediction; found shapes {p.shape} and {y.shape}, "
            "expected two equal, non-empty columns. Join them before plotting."
        )
    if np.isnan(p).any() or np.isnan(y).any():
        gaps = int(np.isnan(p).sum() + np.isnan(y).sum())
        raise RetainError(
            f"a plot needs known values; found {gaps:,} missing. "
            "Drop unripe rows first, and say so."
        )
    return p, y


def calibration_bins(
    predicted: ArrayLike, observed: ArrayLike, n_bins: int = 10, interval: float = 0.9
) -> pd.DataFrame:
    """Compare predicted and observed churn in bins of equal size.

    Parameters
    ----------
    predicted
        Probabilities in [0, 1], one per snapshot.
    observed
        0 or 1 per snapshot.
    n_bins
        At most this many bins; equal predictions are never split.
    interval
        Coverage of the Wilson interval around the observed rate, a share.

    Returns
    -------
    pandas.DataFrame
        One row per bin: n, predicted (mean), observed (rate), low, high; in order of prediction.

    Raises
    ------
    RetainError
        On empty, unequal or missing input.

    Examples
    --------
    >>> bins = calibration_bins([0.1, 0.1, 0.7, 0.7], [0, 0, 1, 1], n_bins=2)
    >>> bins[["n", "predicted", "observed"]]
       n  predicted  observed
    0  2        0.1       0.0
    1  2        0.7       1.0
    """
    p, y = _checked(predicted, observed)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1], method="higher"))
    place = np.searchsorted(edges, p, side="right")
    z = NormalDist().inv_cdf(0.5 + interval / 2)
    rows = []
    for at in np.unique(place):
        mine = place == at
        n, rate = int(mine.sum()), float(y[mine].mean())
        middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        low, high = max(middle - half, 0.0), min(middle + half, 1.0)
        rows.append((n, float(p[mine].mean()), rate, min(low, rate), max(high, rate)))
    return pd.DataFrame(rows, columns=["n", "predicted", "observed", "low", "high"])


def gain_curve(predicted: ArrayLike, observed: ArrayLike) -> pd.DataFrame:
    """Share of leavers found when customers are visited in order of prediction.

    Returns
    -------
    pandas.DataFrame
        contacted and captured, both shares from 0 to 1; ties share their gain, so that row order
        does not matter.

    Examples
    --------
    >>> gain_curve([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]).round(2).values.tolist()
    [[0.0, 0.0], [0.25, 0.5], [0.75, 1.0], [1.0, 1.0]]
    """
    p, y = _checked(predicted, observed)
    if not y.sum():
        raise RetainError(
            "a gain curve needs somebody who left; found 0 leavers. Choose a longer test period."
        )
    order = np.argsort(-p, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    captured = np.cumsum(y[order])[ends] / y.sum()
    return pd.DataFrame(
        {
            "contacted": np.concatenate([[0.0], (ends + 1) / len(p)]),
            "captured": np.concatenate([[0.0], captured]),
        }
    )


def _canvas(title: str, says: str, width: float = 6.4, height: float = 4.8) -> tuple[Figure, Axes]:
    """Give an empty, quiet figure with a title that says what is seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=_INK, pad=22)
    axes.text(0, 1.025, says, transform=axes.transAxes, fontsize=8.5, color=_SOFT, va="bottom")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_LINE)
    axes.tick_params(colors=_SOFT, labelsize=8.5, length=0)
    axes.grid(color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def calibration_figure(
    predicted: ArrayLike, observed: ArrayLike, n_bins: int = 10, interval: float = 0.9
) -> Figure:
    """Draw predicted against observed churn; on the diagonal the probability means what it says.

    Parameters are those of `calibration_bins`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.ticker import PercentFormatter

    bins = calibration_bins(predicted, observed, n_bins, interval)
    inside = int(((bins["low"] <= bins["predicted"]) & (bins["predicted"] <= bins["high"])).sum())
    says = (
        f"{int(bins['n'].sum()):,} snapshots in {len(bins)} bins; the {interval:.0%} interval of "
        f"{inside} of {len(bins)} bins holds the prediction"
    )
    figure, axes = _canvas("Predicted and observed churn", says)
    top = min(1.0, 1.12 * float(max(bins["high"].max(), bins["predicted"].max())))
    axes.plot([0, top], [0, top], color=_SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        "perfect", (top * 0.97, top * 0.97), (-10, -3), textcoords="offset points",
        ha="right", fontsize=8, color=_SOFT,
    )  # fmt: skip
    axes.vlines(bins["predicted"], bins["low"], bins["high"], color=_HUES[0], linewidth=1.4)
    area = 14 + 60 * bins["n"] / bins["n"].max()
    axes.scatter(bins["predicted"], bins["observed"], s=area, color=_HUES[0], zorder=3)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="predicted", ylabel="observed")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top > 0.1 else 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top > 0.1 else 1))
    _label_colours(axes)
    return figure


def gain_figure(
    predictions: Mapping[str, ArrayLike], observed: ArrayLike, capacity: float | None = None
) -> Figure:
    """Draw how many leavers each ranking finds, the first one being the model.

    Parameters
    ----------
    predictions
        Name -> scores (higher = more likely to leave), one per snapshot; the model first.
    observed
        0 or 1 per snapshot.
    capacity
        Share of customers that the team can visit; marked when given.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.ticker import PercentFormatter

    curves = {name: gain_curve(scores, observed) for name, scores in predictions.items()}
    if not curves:
        raise RetainError("a gain chart needs at least one ranking; found none. Pass the model's.")
    says = "share of leavers found when customers are visited from the highest prediction down"
    first = next(iter(curves))
    if capacity is not None:
        found = np.interp(capacity, curves[first]["contacted"], curves[first]["captured"])
        says = f"{first}: the riskiest {capacity:.0%} of customers hold {found:.0%} of the leavers"
    figure, axes = _canvas("Leavers found by visiting the highest first", says)
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle=(0, (4, 3)), label="by chance")
    for i, (name, curve) in enumerate(curves.items()):
        axes.plot(
            curve["contacted"],
            curve["captured"],
            color=_HUES[i % len(_HUES)],
            label=name,
            linewidth=1.3 if i else 2.4,
        )
    if capacity is not None:
        axes.axvline(capacity, color=_INK, linewidth=0.8)
        axes.annotate(
            "capacity", (capacity, 0.02), (4, 0), textcoords="offset points", fontsize=8, color=_INK
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="customers visited", ylabel="leavers found")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="lower right", frameon=False, fontsize=8.5, labelcolor=_INK)
    _label_colours(axes)
    return figure


def contribution_figure(drivers: pd.DataFrame, n: int = 15, target: str = "churn") -> Figure:
    """Draw the mean size of each signal's contribution, largest first, coloured by theme.

    Parameters
    ----------
    drivers
        Long form: customer_id, target, theme, signal, contribution (probability, or currency for
        CLV). A signal without a row for a customer counts as zero there.
    n
        How many signals.
    target
        ``churn`` (percentage points) or ``clv`` (currency).

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    RetainError
        When there is no driver of that target.
    """
    mine = drivers.loc[drivers["target"] == target]
    if mine.empty:
        raise RetainError(
            f"no drivers of {target!r} to draw; found targets "
            f"{sorted(set(drivers['target'].astype(str)))}. Explain the scores first."
        )
    customers = mine["customer_id"].nunique()
    size = mine.assign(size=mine["contribution"].abs()).groupby(["signal", "theme"])["size"].sum()
    mean = (size / customers).sort_values(ascending=False, kind="stable").head(n)[::-1]
    signals = [str(label[0]) for label in mean.index]
    themes = [str(label[1]) for label in mean.index]
    scale, unit = (100, "percentage points") if target == "churn" else (1, "currency")
    title = f"What the {'probability' if target == 'churn' else 'CLV'} goes together with"
    says = f"mean size of the contribution over {customers:,} customers, {unit}; not a cause"
    figure, axes = _canvas(title, says, height=1.6 + 0.27 * len(mean))
    widths = mean.to_numpy() * scale
    axes.barh(signals, widths, color=[_THEME_HUES.get(t, _SOFT) for t in themes], height=0.62)
    for y, width in enumerate(widths):
        text = f"{width:,.1f}" if scale == 100 else f"{width:,.0f}"
        axes.annotate(
            text,
            (width, y),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_INK,
        )
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, max(float(widths.max()) * 1.14, 1e-9))
    axes.tick_params(axis="y", labelcolor=_INK)
    from matplotlib.patches import Patch

    shown = [theme for theme in _THEME_HUES if theme in themes]
    axes.legend(
        handles=[Patch(color=_THEME_HUES[theme], label=theme) for theme in shown],
        loc="lower right", frameon=False, fontsize=8.5, labelcolor=_INK,
    )  # fmt: skip
    return figure


def _label_colours(axes: Axes) -> None:
    axes.xaxis.label.set(color=_SOFT, fontsize=9)
    axes.yaxis.label.set(color=_SOFT, fontsize=9)


def write_png(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG; the same figure gives the same bytes.

    A figure that pyplot manages, as those of shap, is closed: a notebook would show it once more.

    Returns
    -------
    Path
        The file written.
    """
    path = Path(path)
    figure.savefig(path, format="png", metadata={"Software": None})
    if figure.canvas.manager is not None:
        from matplotlib import pyplot

        pyplot.close(figure)
    return path
