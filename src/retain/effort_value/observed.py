"""Differences as found, unadjusted: their intervals resample customers, never rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "case_costs", "observed_difference"]

DRAWS = 500
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with its interval, and how many rows and customers it rests on."""

    value: float
    low: float
    high: float
    n: int
    customers: int


def observed_difference(
    effort: Any, outcome: Any, who: Any, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Slope of the outcome on effort; for effort of 0 and 1, the difference of the two means.

    Parameters
    ----------
    effort, outcome
        Effort and what came after it, shape (rows,); rows where the outcome is nan are left out.
    who
        Customer of each row, whole numbers.
    level
        Level of the interval.
    seed
        Same seed, same interval.

    Returns
    -------
    Interval
        In units of the outcome per unit of effort; nan where effort does not vary.

    Examples
    --------
    >>> found = observed_difference([0, 0, 1, 1], [1.0, 3.0, 6.0, 8.0], [0, 1, 2, 3])
    >>> found.value, found.n, found.customers
    (5.0, 4, 4)
    """
    d, y, who = np.asarray(effort, float), np.asarray(outcome, float), np.asarray(who)
    known = ~np.isnan(y)
    d, y, who = d[known], y[known], who[known]
    d, y = d - d.mean(), y - y.mean()  # sums of squares far from zero lose digits
    sums = _by_customer(who, np.ones(len(d)), d, y, d * y, d * d)

    def slope(of: Floats) -> Floats:
        rows, sum_d, sum_y, sum_dy, sum_dd = of
        spread = rows * sum_dd - sum_d**2
        flat = spread <= 1e-12
        return np.where(flat, np.nan, (rows * sum_dy - sum_d * sum_y) / np.where(flat, 1, spread))

    return _resampled(sums, slope, len(d), level, seed)


def case_costs(
    is_high: Any,
    cases: Any,
    minutes: Any,
    who: Any,
    *,
    rate_per_minute: float = 1.0,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Cost of a high-effort case, of a low-effort case, and their difference.

    Parameters
    ----------
    is_high
        Whether a row speaks of high-effort cases, shape (rows,).
    cases, minutes
        How many cases, and the minutes spent on them, shape (rows,).
    who
        Customer of each row, whole numbers.
    rate_per_minute
        Loaded rate, currency per minute; 1 gives minutes.
    level, seed
        Of the intervals.

    Returns
    -------
    dict
        ``high``, ``low`` and ``difference``, currency per case; nan without such cases.

    Examples
    --------
    Two hard cases of 60 and 30 minutes, one easy one of 15, at 0.80 a minute:

    >>> cost = case_costs([True, True, False], [1, 1, 1], [60, 30, 15], [0, 1, 1],
    ...                   rate_per_minute=0.8)
    >>> cost["high"].value, cost["low"].value, cost["difference"].value
    (36.0, 12.0, 24.0)
    """
    high = np.asarray(is_high, bool).astype(float)
    count, spent = np.asarray(cases, float), np.asarray(minutes, float) * rate_per_minute
    sums = _by_customer(
        np.asarray(who), count * high, spent * high, count * (1 - high), spent * (1 - high)
    )

    def ratio(over: Floats, under: Floats) -> Floats:
        return np.where(under > 0, over / np.where(under > 0, under, 1.0), np.nan)

    measures = {
        "high": lambda s: ratio(s[1], s[0]),
        "low": lambda s: ratio(s[3], s[2]),
        "difference": lambda s: ratio(s[1], s[0]) - ratio(s[3], s[2]),
    }
    n = {"high": sums[0].sum(), "low": sums[2].sum(), "difference": sums[0].sum() + sums[2].sum()}
    return {
        name: _resampled(sums, measure, int(n[name]), level, seed)
        for name, measure in measures.items()
    }


def _by_customer(who: Any, *columns: Floats) -> Floats:
    """Add up columns by customer, shape (columns, customers)."""
    _, at = np.unique(who, return_inverse=True)
    return np.stack([np.bincount(at, column) for column in columns])


def _resampled(sums: Floats, figure: Any, n: int, level: float, seed: int) -> Interval:
    rng = np.random.default_rng(seed)
    customers = sums.shape[1]
    drawn = np.empty((len(sums), DRAWS))
    for draw in range(DRAWS):
        times = np.bincount(rng.integers(0, customers, customers), minlength=customers)
        drawn[:, draw] = sums @ times
    values = figure(drawn)
    tail = (1.0 - level) / 2.0
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, [tail, 1.0 - tail]) if len(values) else (np.nan, np.nan)
    value = float(figure(sums.sum(axis=1)[:, None])[0])
    return Interval(value, float(low), float(high), n, customers)
