"""How far today lies from what was learnt: stability, with the noise that chance makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["SHIFTED", "WATCHED", "Stability", "share_shift", "stability", "stability_by_signal"]

Floats = NDArray[np.float64]
WATCHED, SHIFTED = 0.10, 0.25  # the usual readings of a stability index
BINS = 10
LEVELS = 20  # columns with fewer values are compared value by value
SURE = 0.99


@dataclass(frozen=True)
class Stability:
    """How far a column's distribution has moved.

    Parameters
    ----------
    index
        Population stability index: sum over bins of (now - before) x ln(now / before); 0 is alike.
    noise
        What chance alone stays below 99 times of 100 with so few customers.
    """

    index: float
    noise: float

    @property
    def reading(self) -> str:
        """Return ``stable``, ``watch`` or ``shifted``; within noise everything is stable."""
        if self.index <= max(WATCHED, self.noise):
            return "stable"
        return "shifted" if self.index > SHIFTED else "watch"


def stability(
    before: Any, now: Any, *, customers_before: int | None = None, bins: int = BINS
) -> Stability:
    """Compare a column's values then and now.

    Parameters
    ----------
    before, now
        Values, shape (rows,). Missing (nan) is a bin of its own when there is more of it now; less
        of it is history that grew, and the known values alone are compared.
    customers_before
        Independent customers among the rows of `before`; default: every row is one.
    bins
        Bins of equal count before.

    Notes
    -----
    Half a row is added to every bin, so that an empty one does not make the index infinite. Under
    no change the index is about chi-square with one degree less than bins, times (1/n + 1/m).

    Examples
    --------
    >>> alike = stability([1.0, 2.0] * 500, [1.0, 2.0] * 500)
    >>> alike.index, alike.reading
    (0.0, 'stable')
    >>> round(stability([1.0, 2.0] * 500, [1.0] * 200 + [2.0] * 800).index, 3)
    0.415
    """
    old, new = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
    known = old[~np.isnan(old)]
    uniques = np.unique(known)
    if len(uniques) <= LEVELS:
        edges = (uniques[1:] + uniques[:-1]) / 2.0
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
    n, m = _counts(old, edges), _counts(new, edges)
    if np.isnan(new).mean() <= np.isnan(old).mean():
        n, m = n[:-1], m[:-1]  # more is known as history grows: that is no drift
    used = (n + m) > 0
    n, m = n[used], m[used]
    if not n.sum() or not m.sum():
        return Stability(0.0, 0.0)  # nothing was known then, or nothing is now: nothing to compare
    p, q = (n + 0.5) / (n + 0.5).sum(), (m + 0.5) / (m + 0.5).sum()
    size = min(n.sum(), customers_before or n.sum())
    return Stability(float(np.sum((q - p) * np.log(q / p))), _noise(len(n), size, m.sum()))


def _counts(values: Floats, edges: Floats) -> Floats:
    at = np.searchsorted(edges, values, side="right")
    at[np.isnan(values)] = len(edges) + 1
    return np.bincount(at, minlength=len(edges) + 2).astype(np.float64)


def _noise(bins: int, n: float, m: float) -> float:
    if bins < 2 or not n or not m:
        return 0.0
    from scipy.stats import chi2

    return float(chi2.ppf(SURE, bins - 1) * (1.0 / n + 1.0 / m))


def stability_by_signal(
    before: Any,
    now: Any,
    names: list[str],
    signals: list[str],
    weights: Any,
    *,
    customers_before: int | None = None,
) -> pd.DataFrame:
    """Compare every column, and tell signal by signal which moved most.

    Parameters
    ----------
    before, now
        Matrices as the model sees them, shape (rows, columns).
    names, signals
        Of the columns.
    weights
        How much the model leans on each column, 0 or more; they are turned into shares.
    customers_before
        As for `stability`.

    Returns
    -------
    DataFrame
        One row per signal, the most moved first: signal, weight (share), column (the most moved of
        it), index, noise, reading, mean_before, mean_now, missing_before, missing_now (shares).
    """
    share = np.asarray(weights, float) / max(float(np.sum(weights)), 1e-12)
    rows = []
    for at, (name, signal) in enumerate(zip(names, signals, strict=True)):
        found = stability(before[:, at], now[:, at], customers_before=customers_before)
        rows.append(
            {
                "signal": signal,
                "weight": share[at],
                "column": name,
                "index": found.index,
                "noise": found.noise,
                "reading": found.reading,
                "mean_before": _mean(before[:, at]),
                "mean_now": _mean(now[:, at]),
                "missing_before": float(np.isnan(before[:, at]).mean()),
                "missing_now": float(np.isnan(now[:, at]).mean()),
            }
        )
    table = pd.DataFrame(rows)
    total = table.groupby("signal")["weight"].sum()
    # what is within its own noise is not what moved, however large it looks
    moved = table.assign(beyond=(table["index"] - table["noise"]))
    top = moved.sort_values(["beyond", "column"], ascending=[False, True]).drop_duplicates("signal")
    return (
        top.assign(weight=top["signal"].map(total))
        .drop(columns="beyond")
        .sort_values(["index", "signal"], ascending=[False, True])
        .reset_index(drop=True)
    )


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def share_shift(before: pd.Series[Any], now: pd.Series[Any]) -> tuple[float, float, pd.DataFrame]:
    """Compare how often each word occurs: for example which signal is named first.

    Parameters
    ----------
    before, now
        One word per customer.

    Returns
    -------
    shift : float
        Half the sum of the changes of shares, in [0, 1]: customers who would have to change.
    noise : float
        What chance alone stays below 99 times of 100 (bounded by the stability index's noise).
    table : DataFrame
        word, before, now (shares), the greatest change first.

    Examples
    --------
    >>> shift, noise, table = share_shift(pd.Series(["a"] * 50 + ["b"] * 50), pd.Series(["a"] * 80))
    >>> round(shift, 2), table["word"].tolist()
    (0.5, ['a', 'b'])
    """
    shares = pd.DataFrame(
        {
            "before": before.value_counts(normalize=True),
            "now": now.value_counts(normalize=True),
        }
    ).fillna(0.0)
    change = shares["now"] - shares["before"]
    order = pd.DataFrame({"size": -change.abs(), "word": shares.index}).sort_values(
        ["size", "word"]
    )
    table = shares.loc[order["word"]].rename_axis("word").reset_index()
    # shift <= sqrt(chi-square distance) / 2, and that distance is the index's own scale
    noise = float(np.sqrt(_noise(len(shares), len(before), len(now))) / 2.0)
    return float(change.abs().sum() / 2.0), noise, table
