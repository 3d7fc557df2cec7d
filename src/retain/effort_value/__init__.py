"""What effort costs: associations as found, estimates among customers who were alike, and doubt."""

from retain.effort_value.adjusted import Adjusted, adjusted_difference
from retain.effort_value.cases import HIGH_EFFORT, cases_by_customer
from retain.effort_value.compare import Compared, Outcome, case_lines, effort_lines
from retain.effort_value.lines import LITERATURE, EffortLine, EffortValue, HiddenCause
from retain.effort_value.observed import Interval, case_costs, observed_difference

__all__ = [
    "HIGH_EFFORT",
    "LITERATURE",
    "Adjusted",
    "Compared",
    "EffortLine",
    "EffortValue",
    "HiddenCause",
    "Interval",
    "Outcome",
    "adjusted_difference",
    "case_costs",
    "case_lines",
    "cases_by_customer",
    "effort_lines",
    "observed_difference",
]
