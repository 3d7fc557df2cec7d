"""The churn head, the CLV head and their calibration; saved as LightGBM text and JSON.

This room knows only X and y: rows, when they were observed (a whole number) and to whom they belong
(a whole number), so that learning and judging can go forward in time and keep customers together.
"""

from retain.model.bundle import Bundle, load_bundle, save_bundle
from retain.model.calibration import LogitCalibrator, ScaleCalibrator, expit, logit
from retain.model.curve import FittedCurve, fit_curve
from retain.model.encoding import Encoder
from retain.model.fitting import (
    SETTINGS,
    FittedChurn,
    FittedClv,
    default_lightgbm,
    discounted_weeks,
    fit_churn,
    fit_clv,
)
from retain.model.heads import ChurnHead, ClvHead, MeanHead
from retain.model.tide import Tide, yearly_tide
from retain.model.tuning import Tuned, tune_churn

__all__ = [
    "SETTINGS",
    "Bundle",
    "ChurnHead",
    "ClvHead",
    "Encoder",
    "FittedChurn",
    "FittedClv",
    "FittedCurve",
    "LogitCalibrator",
    "MeanHead",
    "ScaleCalibrator",
    "Tide",
    "Tuned",
    "default_lightgbm",
    "discounted_weeks",
    "expit",
    "fit_churn",
    "fit_clv",
    "fit_curve",
    "load_bundle",
    "logit",
    "save_bundle",
    "tune_churn",
    "yearly_tide",
]
