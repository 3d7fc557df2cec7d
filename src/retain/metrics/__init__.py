"""Metrics that finance can audit: calculators, one result type, and the catalogue of them all."""

from retain.metrics.adoption import (
    ADOPTION,
    account_breadth,
    feature_adoption,
    feature_depth,
    feature_weeks,
)
from retain.metrics.calculator import THEMES, Calculator, metric
from retain.metrics.comments import CommentTheme, CommentThemes, comment_themes
from retain.metrics.feedback import FEEDBACK, answer_rate, comment_rate
from retain.metrics.opinions import OPINIONS, ces, csat, nps
from retain.metrics.period import Period
from retain.metrics.product import (
    PRODUCT,
    active_days,
    active_users,
    engagement_score,
    login_frequency,
    session_length,
    stickiness,
    time_in_product,
)
from retain.metrics.result import Ids, Metric
from retain.metrics.rows import NO_SEGMENT
from retain.metrics.user_days import UserDays, user_days
from retain.metrics.waiting import WAITING, Waiting, time_to_adopt, time_to_value

METRICS = (*OPINIONS, *FEEDBACK, *PRODUCT, *ADOPTION, *WAITING)

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
    "UserDays",
    "Waiting",
    "account_breadth",
    "active_days",
    "active_users",
    "answer_rate",
    "ces",
    "comment_rate",
    "comment_themes",
    "csat",
    "engagement_score",
    "feature_adoption",
    "feature_depth",
    "feature_weeks",
    "login_frequency",
    "metric",
    "nps",
    "session_length",
    "stickiness",
    "time_in_product",
    "time_to_adopt",
    "time_to_value",
    "user_days",
]
