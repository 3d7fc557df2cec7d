"""What a purchase history alone says a customer is worth: naive rate, BG/NBD, Gamma-Gamma.

Knows the closed forms of Fader, Hardie and Lee (2005) and of Fader and Hardie (2013), written so
that they neither overflow for busy customers nor divide by zero for quiet ones.

References
----------
P. Fader, B. Hardie, K. Lee, "Counting your customers" the easy way: an alternative to the
Pareto/NBD model. Marketing Science 24 (2), 2005.
P. Fader, B. Hardie, The Gamma-Gamma model of monetary value, brucehardie.com/notes/025, 2013.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retain.errors import RetainError, some

__all__ = [
    "BgNbd",
    "GammaGamma",
    "fit_bg_nbd",
    "fit_gamma_gamma",
    "naive_rate",
    "purchase_clv",
    "rfm_from_payments",
]

Floats = npt.NDArray[np.float64]

_WEEKS_PER_YEAR = 365.25 / 7
_LOG_BOUND = 12.0  # parameters stay within e^-12 .. e^12 of their unit: far beyond any real fit
_DISCOUNT_STEPS = 13
_NODES = 96  # exact to 1e-6 for histories as seen in practice, to 1e-4 for absurd ones
_CHUNK = 20_000  # customers x nodes held at a time


def rfm_from_payments(
    customer_id: npt.ArrayLike,
    day: npt.ArrayLike,
    amount: npt.ArrayLike,
    until_day: Any,
) -> pd.DataFrame:
    """Sum up purchase histories as the CLV literature does: recency, frequency, monetary value.

    Parameters
    ----------
    customer_id
        One id per payment, shape (n_payments,).
    day
        Day of each payment: whole day numbers, or anything pandas reads as dates.
    amount
        Amount of each payment in currency. Negative amounts are refunds: no activity of their
        own, they shrink the customer's monetary value to the share of gross spend that was kept.
        A zero amount is a purchase.
    until_day
        Last day that is looked at, in the same form as `day`. Later payments are not used.

    Returns
    -------
    DataFrame
        One row per customer with a purchase up to `until_day`, sorted by `customer_id`:
        `frequency` (days with a purchase after the first such day), `recency` (weeks from first
        to last purchase day), `T` (weeks from first purchase day to `until_day`) and
        `monetary_value` (mean kept spend of a repeat purchase day; 0 when there is none).

    Raises
    ------
    RetainError
        When an amount or a day is missing.

    Examples
    --------
    >>> rfm_from_payments(["a", "a", "a", "b"], [0, 7, 7, 7], [5.0, 10.0, 20.0, 9.0], 14)
      customer_id  frequency  recency    T  monetary_value
    0           a          1      1.0  2.0            30.0
    1           b          0      0.0  1.0             0.0
    """
    rows = pd.DataFrame(
        {
            "customer_id": np.asarray(customer_id),
            "day": _day_numbers(day),
            "amount": np.asarray(amount, dtype=float),
        }
    )
    if unreadable := int(rows["amount"].isna().sum()):
        raise RetainError(
            f"rfm_from_payments: {unreadable} of {len(rows)} payments have no amount. "
            "Every payment needs a number; set the others aside first."
        )
    last_day = int(_day_numbers([until_day])[0])
    rows = rows[rows["day"] <= last_day]
    purchases = rows[rows["amount"] >= 0]
    days = purchases.groupby(["customer_id", "day"])["amount"].sum().reset_index()
    customers = days.groupby("customer_id", sort=True)
    first, last, gross = (
        customers["day"].min(),
        customers["day"].max(),
        customers["amount"].sum(),
    )
    frequency = customers.size() - 1
    at_first = days.drop_duplicates("customer_id").set_index("customer_id")["amount"]
    repeat_spend = gross - at_first.reindex(gross.index)
    net = rows.groupby("customer_id")["amount"].sum().reindex(gross.index)
    kept = (net.clip(lower=0.0) / gross.where(gross > 0)).fillna(1.0)
    monetary = (repeat_spend * kept / frequency.where(frequency > 0)).fillna(0.0)
    return pd.DataFrame(
        {
            "customer_id": gross.index.to_numpy(),
            "frequency": frequency.to_numpy(dtype=np.int64),
            "recency": (last - first).to_numpy(dtype=float) / 7.0,
            "T": (last_day - first).to_numpy(dtype=float) / 7.0,
            "monetary_value": monetary.to_numpy(dtype=float),
        }
    )


def naive_rate(
    spend_total: npt.ArrayLike,
    tenure_weeks: npt.ArrayLike,
    horizon_weeks: float,
    gross_margin: float = 1.0,
) -> Floats:
    """Carry the spend so far forward: spend per week x horizon x margin.

    Parameters
    ----------
    spend_total
        Spend within the tenure, currency, shape (n_customers,). For purchase histories give the
        repeat spend (`frequency * monetary_value`): the first purchase is how the customer came.
    tenure_weeks
        Weeks over which it was spent. Less than one week counts as one week.
    horizon_weeks
        Weeks to carry it forward.
    gross_margin
        Margin as a share of revenue, 0 to 1.

    Returns
    -------
    ndarray of shape (n_customers,)
        Expected margin within the horizon, currency. Undiscounted.

    Examples
    --------
    >>> naive_rate([100.0, 0.0], [50.0, 10.0], 25, gross_margin=0.5)
    array([25.,  0.])
    """
    weeks = np.maximum(np.asarray(tenure_weeks, dtype=float), 1.0)
    return np.asarray(spend_total, dtype=float) / weeks * horizon_weeks * gross_margin


@dataclass(frozen=True)
class BgNbd:
    """A fitted BG/NBD model: Poisson purchases with gamma rates, beta-geometric dropout.

    Attributes
    ----------
    r, alpha
        Shape and rate (weeks) of the gamma distribution of purchase rates across customers.
    a, b
        Parameters of the beta distribution of the dropout probability after a purchase.
    log_likelihood
        Of the training histories; higher is better.
    """

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float

    def p_alive(self, frequency: npt.ArrayLike, recency: npt.ArrayLike, T: npt.ArrayLike) -> Floats:
        """Give the probability that each customer has not dropped out yet.

        Parameters
        ----------
        frequency, recency, T
            As `rfm_from_payments` gives them; weeks.

        Returns
        -------
        ndarray of shape (n_customers,)
            In (0, 1]; 1 by construction for customers with a single purchase, who have had no
            occasion to drop out in this model.
        """
        x, recency_weeks, age = _histories(frequency, recency, T)
        log_odds_gone = (
            np.log(self.a)
            - np.log(np.where(x > 0, self.b + x - 1.0, 1.0))
            + (self.r + x) * np.log((self.alpha + age) / (self.alpha + recency_weeks))
        )
        from scipy.special import expit

        return np.where(x > 0, expit(-log_odds_gone), 1.0)

    def expected_purchases(
        self,
        weeks: npt.ArrayLike,
        frequency: npt.ArrayLike,
        recency: npt.ArrayLike,
        T: npt.ArrayLike,
    ) -> Floats:
        """Give the expected number of purchase days in the next `weeks` weeks.

        Parameters
        ----------
        weeks
            Length of the horizon that begins where the history ends, 0 or more; or several, of
            shape (n_horizons,).
        frequency, recency, T
            As `rfm_from_payments` gives them; weeks.

        Returns
        -------
        ndarray of shape (n_customers,) or (n_horizons, n_customers)
            Non-negative, rising with `weeks`.

        Notes
        -----
        Equation 10 of Fader, Hardie and Lee is an average over the customer's unknown dropout
        probability d, which given the history is beta(a, b + frequency):
        ``P(alive) * E[(1 - (1 + d weeks / (alpha + T)) ** -(r + frequency)) / d]``. It is taken
        by Gauss-Jacobi quadrature. The hypergeometric function of the textbook form, as SciPy
        computes it, is nan or plainly wrong for busy customers and for a large `b`.
        """
        x, recency_weeks, age = _histories(frequency, recency, T)
        horizons = np.atleast_1d(np.asarray(weeks, dtype=float))
        expected = np.empty((len(horizons), len(x)))
        by_frequency = np.argsort(x, kind="stable")
        starts = np.flatnonzero(np.diff(x[by_frequency], prepend=-1.0))
        for same in np.split(by_frequency, starts[1:]):
            dropout, weights = _beta_nodes(self.a, self.b + x[same[0]])
            shape = self.r + x[same[0]]
            for rows in np.array_split(same, 1 + len(same) // _CHUNK):
                for i, horizon in enumerate(horizons):
                    grown = np.log1p(np.outer(horizon / (self.alpha + age[rows]), dropout))
                    expected[i, rows] = -np.expm1(-shape * grown) @ (weights / dropout)
        expected *= self.p_alive(x, recency_weeks, age)
        return expected if np.ndim(weeks) else expected[0]


@dataclass(frozen=True)
class GammaGamma:
    """A fitted Gamma-Gamma model: how much a purchase day brings, shrunk towards everyone's mean.

    Attributes
    ----------
    p
        Shape of the spread of one customer's purchases around that customer's mean.
    q, v
        Shape and scale (currency) of the spread of means across customers; q > 1.
    log_likelihood
        Of the training histories; higher is better.
    """

    p: float
    q: float
    v: float
    log_likelihood: float

    def expected_value(self, frequency: npt.ArrayLike, monetary_value: npt.ArrayLike) -> Floats:
        """Give the expected spend of a future purchase day of each customer.

        Parameters
        ----------
        frequency
            Number of repeat purchase days.
        monetary_value
            Mean spend of these days, currency; not used where `frequency` is 0.

        Returns
        -------
        ndarray of shape (n_customers,)
            Currency; the population mean `p v / (q - 1)` for customers without a repeat.
        """
        x = np.asarray(frequency, dtype=float)
        total = np.where(x > 0, x * np.asarray(monetary_value, dtype=float), 0.0)
        return self.p * (self.v + total) / (self.p * x + self.q - 1.0)


def fit_bg_nbd(frequency: npt.ArrayLike, recency: npt.ArrayLike, T: npt.ArrayLike) -> BgNbd:
    """Fit BG/NBD by maximum likelihood.

    Parameters
    ----------
    frequency, recency, T
        As `rfm_from_payments` gives them, shape (n_customers,); weeks.

    Returns
    -------
    BgNbd
        Deterministic: the same histories give the same parameters, in any order of rows.

    Raises
    ------
    RetainError
        When nobody came back (nothing to learn from), or the histories are impossible.
    """
    from scipy.special import digamma, gammaln

    x, recency_weeks, age = _histories(frequency, recency, T)
    if not (x > 0).any():
        raise RetainError(
            f"fit_bg_nbd: none of {len(x)} customers has a repeat purchase; at least one is "
            "needed to learn a rate. Use a longer history, or leave this baseline out."
        )
    rows, counts = np.unique(np.column_stack([x, recency_weeks, age]), axis=0, return_counts=True)
    x, recency_weeks, age = rows.T
    unit = float(age.max()) / 10.0 or 1.0
    recency_weeks, age = recency_weeks / unit, age / unit
    came_back = x > 0
    b_x = np.where(came_back, x - 1.0, 1.0)  # b + x - 1, with a harmless value where unused

    def loss(logs: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = np.exp(logs)
        log_alive = -(r + x) * np.log(alpha + age)
        log_gone = np.where(
            came_back,
            np.log(a) - np.log(b + b_x) - (r + x) * np.log(alpha + recency_weeks),
            -np.inf,
        )
        log_both = np.logaddexp(log_alive, log_gone)
        value = (
            gammaln(r + x)
            - gammaln(r)
            + r * np.log(alpha)
            + gammaln(a + b)
            + gammaln(b + x)
            - gammaln(b)
            - gammaln(a + b + x)
            + log_both
        )
        alive, gone = np.exp(log_alive - log_both), np.exp(log_gone - log_both)
        slopes = np.array(
            [
                counts
                @ (
                    digamma(r + x)
                    - digamma(r)
                    + np.log(alpha)
                    - alive * np.log(alpha + age)
                    - gone * np.log(alpha + recency_weeks)
                ),
                counts
                @ (r / alpha - (r + x) * (alive / (alpha + age) + gone / (alpha + recency_weeks))),
                counts @ (digamma(a + b) - digamma(a + b + x) + gone / a),
                counts
                @ (
                    digamma(a + b)
                    + digamma(b + x)
                    - digamma(b)
                    - digamma(a + b + x)
                    - gone / (b + b_x)
                ),
            ]
        )
        n = counts.sum()
        return -float(counts @ value) / n, -slopes * np.exp(logs) / n

    logs, mean_loss = _minimise(loss, np.array([0.0, 0.0, 0.0, 0.5]), "BG/NBD")
    r, alpha, a, b = (float(value) for value in np.exp(logs))
    # the density is per unit of time to the power x: undo the change of unit
    log_likelihood = -mean_loss * float(counts.sum()) - float(counts @ x) * np.log(unit)
    return BgNbd(r, alpha * unit, a, b, float(log_likelihood))


def fit_gamma_gamma(frequency: npt.ArrayLike, monetary_value: npt.ArrayLike) -> GammaGamma:
    """Fit Gamma-Gamma by maximum likelihood on the customers who came back.

    Parameters
    ----------
    frequency, monetary_value
        As `rfm_from_payments` gives them, shape (n_customers,). Customers without a repeat, or
        whose repeats brought nothing, carry no information about amounts and are not used.

    Returns
    -------
    GammaGamma
        With q > 1, so that the population mean exists.

    Raises
    ------
    RetainError
        When fewer than two customers have a repeat purchase with a positive value.
    """
    from scipy.special import digamma, gammaln

    x = np.asarray(frequency, dtype=float)
    money = np.asarray(monetary_value, dtype=float)
    used = (x > 0) & (money > 0)
    if used.sum() < 2:
        raise RetainError(
            f"fit_gamma_gamma: {int(used.sum())} of {len(x)} customers have a repeat purchase of "
            "positive value; at least two are needed. Use a longer history, or leave it out."
        )
    x, money = x[used], money[used]
    unit = float(money.mean())
    money = money / unit
    total, log_total = x * money, np.log(x * money)

    def loss(logs: Floats) -> tuple[float, Floats]:
        p, q, v = np.exp(logs[0]), 1.0 + np.exp(logs[1]), np.exp(logs[2])
        shape, log_sum = p * x + q, np.log(v + total)
        value = (
            gammaln(shape)
            - gammaln(p * x)
            - gammaln(q)
            + q * np.log(v)
            + p * x * log_total
            - np.log(money)
            - shape * log_sum
        )
        slopes = np.array(
            [
                (x * (digamma(shape) - digamma(p * x) + log_total - log_sum)).mean() * p,
                (digamma(shape) - digamma(q) + np.log(v) - log_sum).mean() * (q - 1.0),
                (q / v - shape / (v + total)).mean() * v,
            ]
        )
        return -float(value.mean()), -slopes

    logs, mean_loss = _minimise(loss, np.array([1.0, 1.0, 0.5]), "Gamma-Gamma")
    p, q, v = float(np.exp(logs[0])), float(1.0 + np.exp(logs[1])), float(np.exp(logs[2]))
    log_likelihood = -(mean_loss + np.log(unit)) * len(x)
    return GammaGamma(p, q, v * unit, float(log_likelihood))


def purchase_clv(
    bg_nbd: BgNbd,
    gamma_gamma: GammaGamma,
    rfm: pd.DataFrame,
    *,
    horizon_weeks: float,
    gross_margin: float = 1.0,
    annual_discount_rate: float = 0.0,
) -> Floats:
    """Give the margin that each purchase history promises within the horizon.

    Parameters
    ----------
    bg_nbd, gamma_gamma
        The fitted models.
    rfm
        As `rfm_from_payments` gives it; one row per customer.
    horizon_weeks
        Weeks after the end of the history; more than 0.
    gross_margin
        Margin as a share of revenue, 0 to 1.
    annual_discount_rate
        For example 0.10; purchases are discounted from the middle of the step they fall in.

    Returns
    -------
    ndarray of shape (n_customers,)
        Expected (discounted) margin, currency, in the order of `rfm`.
    """
    history = [rfm[name].to_numpy(dtype=float) for name in ("frequency", "recency", "T")]
    rows, where = np.unique(np.column_stack(history), axis=0, return_inverse=True)
    steps = _DISCOUNT_STEPS if annual_discount_rate else 1
    ends = np.linspace(0.0, horizon_weeks, steps + 1)
    per_step = np.diff(bg_nbd.expected_purchases(ends, *rows.T), axis=0)
    years = (ends[:-1] + ends[1:]) / 2.0 / _WEEKS_PER_YEAR
    purchases = (1.0 + annual_discount_rate) ** -years @ per_step
    value = gamma_gamma.expected_value(history[0], rfm["monetary_value"].to_numpy(dtype=float))
    return purchases[where.ravel()] * value * gross_margin


def _beta_nodes(a: float, b: float) -> tuple[Floats, Floats]:
    """Give points in (0, 1) and weights of sum 1 that average smooth functions over beta(a, b)."""
    from scipy.linalg import eigh_tridiagonal

    low, high = a - 1.0, b - 1.0  # Jacobi exponents at 0 and at 1
    k = np.arange(1.0, _NODES)
    s = 2.0 * k + low + high
    diagonal = np.empty(_NODES)
    diagonal[0] = (low - high) / (low + high + 2.0)
    diagonal[1:] = (low - high) * (low + high) / (s * (s + 2.0))
    beside = np.empty(_NODES - 1)
    beside[0] = 4.0 * a * b / ((a + b) ** 2 * (a + b + 1.0))
    n, t = k[1:], s[1:]
    beside[1:] = 4.0 * n * (n + low) * (n + high) * (n + low + high)
    beside[1:] /= t**2 * (t + 1.0) * (t - 1.0)
    at, vectors = eigh_tridiagonal(diagonal, np.sqrt(beside))
    return np.maximum((1.0 + at) / 2.0, 1e-300), vectors[0] ** 2


def _minimise(
    loss: Callable[[Floats], tuple[float, Floats]], start: Floats, name: str
) -> tuple[Floats, float]:
    """Minimise over log parameters: L-BFGS with exact slopes, Nelder-Mead where that gives up."""
    from scipy import optimize

    minimize: Any = optimize.minimize  # its published types do not know functions without extras
    bounds = [(-_LOG_BOUND, _LOG_BOUND)] * len(start)
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-8},
    )
    if not np.isfinite(found.fun) or np.abs(found.jac).max() > 1e-3:
        begin = found.x if np.isfinite(found.fun) else start
        second = minimize(
            lambda logs: loss(logs)[0],
            begin,
            method="Nelder-Mead",
            bounds=bounds,
            options={"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-11},
        )
        found = second if second.fun < found.fun or not np.isfinite(found.fun) else found
    if not np.isfinite(found.fun):
        raise RetainError(
            f"{name}: the likelihood of these histories is not a number anywhere near the start. "
            "Check frequencies and amounts for absurd values."
        )
    return np.asarray(found.x, dtype=float), float(found.fun)


def _histories(
    frequency: npt.ArrayLike, recency: npt.ArrayLike, T: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Give the three columns as floats, or refuse histories that cannot be."""
    x, last, age = (np.atleast_1d(np.asarray(c, dtype=float)) for c in (frequency, recency, T))
    wrong = ~((x >= 0) & (last >= 0) & (age >= last) & np.isfinite(age) & ((x > 0) | (last == 0)))
    if wrong.any():
        raise RetainError(
            f"purchase histories: {int(wrong.sum())} of {len(x)} rows are impossible (rows "
            f"{some(np.flatnonzero(wrong))}). Expected 0 <= recency <= T, frequency >= 0, and "
            "recency 0 where frequency is 0; all in weeks. Use rfm_from_payments."
        )
    return x, last, age


def _day_numbers(day: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Give whole day numbers for numbers or dates."""
    values = pd.Series(np.asarray(day))
    if missing := int(values.isna().sum()):
        raise RetainError(
            f"rfm_from_payments: {missing} of {len(values)} payments have no day. "
            "Every payment needs one; set the others aside first."
        )
    if pd.api.types.is_numeric_dtype(values):
        return np.floor(values.to_numpy(dtype=float)).astype(np.int64)
    return pd.to_datetime(values).to_numpy().astype("datetime64[D]").astype(np.int64)
