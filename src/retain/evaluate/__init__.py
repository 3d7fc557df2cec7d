"""How good predictions and health scores are: figures with intervals, beside baselines."""

from retain.evaluate.figures import (
    area_under_curve,
    average_precision,
    calibration_error,
    calibration_table,
    campaign_profit,
    capture,
    churn_differences,
    churn_figures,
    clv_figures,
    decile_table,
    expected_figures,
    interval_coverage,
    normalised_gini,
    value_captured,
)
from retain.evaluate.health import HealthJudged, judge_health

__all__ = [
    "HealthJudged",
    "area_under_curve",
    "average_precision",
    "calibration_error",
    "calibration_table",
    "campaign_profit",
    "capture",
    "churn_differences",
    "churn_figures",
    "clv_figures",
    "decile_table",
    "expected_figures",
    "interval_coverage",
    "judge_health",
    "normalised_gini",
    "value_captured",
]
