"""Every baseline at once, under the names that the reports print.

Knows which simple methods stand beside the churn head and beside the CLV head, and nothing about
how the models of ours work: the default gradient boosting comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retain.baselines.clv import (
    fit_bg_nbd,
    fit_gamma_gamma,
    naive_rate,
    purchase_clv,
    rfm_from_payments,
)
from retain.baselines.labels import labels_of
from retain.baselines.logistic import Splits, fit_logistic
from retain.baselines.recency import RecencyRule
from retain.errors import RetainError

__all__ = ["churn_baselines", "clv_baselines", "purchase_baselines"]

Floats = npt.NDArray[np.float64]


def churn_baselines(
    X_train: pd.DataFrame,
    y_train: npt.ArrayLike,
    X_test: pd.DataFrame,
    *,
    categorical: Sequence[str] = (),
    recency_columns: Sequence[str] | None = None,
    groups: npt.ArrayLike | None = None,
    splits: Splits | None = None,
    default_lightgbm: Callable[[Floats, Floats], Any] | None = None,
    seed: int = 0,
) -> dict[str, Floats]:
    """Fit every churn baseline on the training snapshots and score the test snapshots.

    Parameters
    ----------
    X_train, y_train
        Features and labels (0/1) of the training snapshots.
    X_test
        Features of the snapshots to score.
    categorical
        Columns that hold integer codes.
    recency_columns
        Recency columns in order of preference; `None` finds them by name.
    groups, splits
        As for `fit_logistic`.
    default_lightgbm
        Takes the matrix of float64 (nan where unknown) and the labels, gives a fitted object
        whose `predict_proba` takes such a matrix. Left out when `None`.
    seed
        For the choice of the penalty.

    Returns
    -------
    dict
        Churn probabilities of shape (n_test,) under ``"base rate"``, ``"recency rule"``,
        ``"logistic regression"`` and ``"default LightGBM"``. The recency rule is left out when
        the features hold no recency; nothing else is ever left out silently.
    """
    churned = labels_of(y_train, len(X_train), "churn baselines")
    scored = {"base rate": np.full(len(X_test), churned.mean())}
    try:
        rule = RecencyRule(recency_columns).fit(X_train, churned)
    except RetainError:
        if recency_columns is not None:
            raise
    else:
        scored["recency rule"] = rule.predict_proba(X_test)[:, 1]
    logistic = fit_logistic(
        X_train, churned, categorical=categorical, groups=groups, splits=splits, seed=seed
    )
    scored["logistic regression"] = logistic.predict_proba(X_test)[:, 1]
    if default_lightgbm is not None:
        train, test = (X.to_numpy(dtype=float, na_value=np.nan) for X in (X_train, X_test))
        scored["default LightGBM"] = default_lightgbm(train, churned).predict_proba(test)[:, 1]
    return scored


def clv_baselines(
    customer_id: npt.ArrayLike,
    spend_total: npt.ArrayLike,
    tenure_weeks: npt.ArrayLike,
    *,
    horizon_weeks: float,
    gross_margin: float = 1.0,
    annual_discount_rate: float = 0.0,
    rfm: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Give the naive rate and, where there is a purchase history, BG/NBD + Gamma-Gamma.

    Parameters
    ----------
    customer_id
        Customers to value, shape (n_customers,).
    spend_total, tenure_weeks
        Per customer, for the naive rate: spend so far in currency, and the weeks it took.
    horizon_weeks
        Weeks ahead.
    gross_margin
        Margin as a share of revenue, 0 to 1.
    annual_discount_rate
        Used by BG/NBD + Gamma-Gamma; the naive rate stays undiscounted.
    rfm
        Purchase histories from `rfm_from_payments`. `None` leaves the second column out.

    Returns
    -------
    DataFrame
        Columns `naive rate` and `BG/NBD + Gamma-Gamma`, currency, indexed by `customer_id` in
        the order given. A customer without a purchase is worth 0 to BG/NBD, which knows no other
        way to begin.
    """
    customers = pd.Index(np.asarray(customer_id), name="customer_id")
    valued = pd.DataFrame(
        {"naive rate": naive_rate(spend_total, tenure_weeks, horizon_weeks, gross_margin)},
        index=customers,
    )
    if rfm is not None:
        history = [rfm[name].to_numpy() for name in ("frequency", "recency", "T")]
        value = purchase_clv(
            fit_bg_nbd(*history),
            fit_gamma_gamma(rfm["frequency"].to_numpy(), rfm["monetary_value"].to_numpy()),
            rfm,
            horizon_weeks=horizon_weeks,
            gross_margin=gross_margin,
            annual_discount_rate=annual_discount_rate,
        )
        by_customer = pd.Series(value, index=pd.Index(rfm["customer_id"]))
        valued["BG/NBD + Gamma-Gamma"] = by_customer.reindex(customers).fillna(0.0).to_numpy()
    return valued


def purchase_baselines(
    customer_id: npt.ArrayLike,
    day: npt.ArrayLike,
    amount: npt.ArrayLike,
    until_day: Any,
    *,
    horizon_weeks: float,
    gross_margin: float = 1.0,
    annual_discount_rate: float = 0.0,
) -> pd.DataFrame:
    """Give both CLV baselines straight from payments.

    Parameters
    ----------
    customer_id, day, amount, until_day
        As for `rfm_from_payments`.
    horizon_weeks, gross_margin, annual_discount_rate
        As for `clv_baselines`.

    Returns
    -------
    DataFrame
        As `clv_baselines`, one row per customer with a purchase up to `until_day`. The naive rate
        is that of repeat purchases.
    """
    rfm = rfm_from_payments(customer_id, day, amount, until_day)
    return clv_baselines(
        rfm["customer_id"].to_numpy(),
        (rfm["frequency"] * rfm["monetary_value"]).to_numpy(),
        rfm["T"].to_numpy(),
        horizon_weeks=horizon_weeks,
        gross_margin=gross_margin,
        annual_discount_rate=annual_discount_rate,
        rfm=rfm,
    )
