"""Metrics that finance can audit: calculators, one result type, and the catalogue of them all."""

from retain.metrics.calculator import THEMES, Calculator, metric
from retain.metrics.opinions import OPINIONS, ces, csat, nps
from retain.metrics.period import Period
from retain.metrics.result import Ids, Metric
from retain.metrics.rows import NO_SEGMENT

METRICS = (*OPINIONS,)

__all__ = [
    "METRICS",
    "NO_SEGMENT",
    "THEMES",
    "Calculator",
    "Ids",
    "Metric",
    "Period",
    "ces",
    "csat",
    "metric",
    "nps",
]
