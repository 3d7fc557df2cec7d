"""How good predictions and health scores are: figures with intervals, beside baselines."""

from retain.evaluate.calibration import (
    calibration_by_chance,
    calibration_curve,
    calibration_line,
    interval_by_group,
)
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
from retain.evaluate.grading import GRADES, RULE, Condition, Grade, grade_churn
from retain.evaluate.health import HealthJudged, judge_health
from retain.evaluate.slices import LEAST_CUSTOMERS, capacity_table, segment_figures

__all__ = [
    "GRADES",
    "LEAST_CUSTOMERS",
    "RULE",
    "Condition",
    "Grade",
    "HealthJudged",
    "area_under_curve",
    "average_precision",
    "calibration_by_chance",
    "calibration_curve",
    "calibration_error",
    "calibration_line",
    "calibration_table",
    "campaign_profit",
    "capacity_table",
    "capture",
    "churn_differences",
    "churn_figures",
    "clv_figures",
    "decile_table",
    "expected_figures",
    "grade_churn",
    "interval_by_group",
    "interval_coverage",
    "judge_health",
    "normalised_gini",
    "segment_figures",
    "value_captured",
]
