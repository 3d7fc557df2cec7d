"""Metrics that finance can audit: calculators, one result type, and the catalogue of them all."""

from retain.metrics.calculator import THEMES, Calculator, metric
from retain.metrics.comments import CommentTheme, CommentThemes, comment_themes
from retain.metrics.feedback import FEEDBACK, answer_rate, comment_rate
from retain.metrics.opinions import OPINIONS, ces, csat, nps
from retain.metrics.period import Period
from retain.metrics.result import Ids, Metric
from retain.metrics.rows import NO_SEGMENT

METRICS = (*OPINIONS, *FEEDBACK)

__all__ = [
    "METRICS",
    "NO_SEGMENT",
    "THEMES",
    "Calculator",
    "CommentTheme",
    "CommentThemes",
    "Ids",
    "Metric",
    "Period",
    "answer_rate",
    "ces",
    "comment_rate",
    "comment_themes",
    "csat",
    "metric",
    "nps",
]
