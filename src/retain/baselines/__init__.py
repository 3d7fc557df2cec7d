"""The simple methods that every model must be seen beside.

For churn a recency rule, a logistic regression and (handed in) a default LightGBM; for value a
naive rate and BG/NBD + Gamma-Gamma. All take plain arrays and frames.
"""

from retain.baselines.clv import (
    BgNbd,
    GammaGamma,
    fit_bg_nbd,
    fit_gamma_gamma,
    naive_rate,
    purchase_clv,
    rfm_from_payments,
)
from retain.baselines.logistic import LogisticBaseline, fit_logistic
from retain.baselines.opinion import rates_by_score
from retain.baselines.panel import churn_baselines, clv_baselines, purchase_baselines
from retain.baselines.recency import RecencyRule

__all__ = [
    "BgNbd",
    "GammaGamma",
    "LogisticBaseline",
    "RecencyRule",
    "churn_baselines",
    "clv_baselines",
    "fit_bg_nbd",
    "fit_gamma_gamma",
    "fit_logistic",
    "naive_rate",
    "purchase_baselines",
    "purchase_clv",
    "rates_by_score",
    "rfm_from_payments",
]
