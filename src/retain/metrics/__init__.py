"""Metrics that finance can audit: calculators, one result type, and the catalogue of them all."""

from retain.metrics.adoption import (
    ADOPTION,
    account_breadth,
    feature_adoption,
    feature_depth,
    feature_weeks,
)
from retain.metrics.advocacy import ADVOCACY, EVIDENCE, advocates, referral_rate
from retain.metrics.calculator import THEMES, Calculator, metric
from retain.metrics.comments import CommentTheme, CommentThemes, comment_themes
from retain.metrics.effort import EFFORT, channel_switches, high_effort_share, repeat_contacts
from retain.metrics.feedback import FEEDBACK, answer_rate, comment_rate
from retain.metrics.health import (
    HEALTH,
    HealthPart,
    HealthRule,
    health_score,
    health_scores,
    version_changes,
)
from retain.metrics.hours import WEEKDAYS_9_TO_17, Schedule
from retain.metrics.ledger import Ledger, mrr_ledger
from retain.metrics.lifetime import clv_formula, lifetime_lift
from retain.metrics.logos import LOGOS, annualised, customer_churn_rate, customer_retention_rate
from retain.metrics.opinions import OPINIONS, ces, csat, nps
from retain.metrics.pain import LostProspects, PainPoints, lost_prospects, pain_points
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
from retain.metrics.recurring import RECURRING, monthly_amount, mrr, mrr_movement
from retain.metrics.renewals import RENEWALS, renewal_rate
from retain.metrics.result import Ids, Metric
from retain.metrics.retention import (
    RETENTION,
    gross_revenue_retention,
    mrr_churn_rate,
    net_revenue_retention,
    quick_ratio,
)
from retain.metrics.roi import ROI, CustomerLedger, customer_ledger, customer_roi
from retain.metrics.rows import NO_SEGMENT, Selected
from retain.metrics.service import (
    SERVICE,
    first_contact_resolution,
    reopened,
    sla_met,
    transferred,
)
from retain.metrics.serving import PURPOSES, SERVING, cost_to_serve
from retain.metrics.spending import SPENDING, cac, cac_payback, customer_retention_cost, ltv_to_cac
from retain.metrics.times import TIMES, first_response_time, resolution_time
from retain.metrics.trials import TRIALS, trial_conversion_rate
from retain.metrics.value import VALUE, arpa, clv, predicted_clv, retention_break_even
from retain.metrics.vendors import RULES, Rules, SameMonth, same_month
from retain.metrics.waiting import WAITING, time_to_adopt, time_to_value

METRICS = (
    *OPINIONS,
    *FEEDBACK,
    *PRODUCT,
    *ADOPTION,
    *WAITING,
    *RECURRING,
    *LOGOS,
    *RETENTION,
    *RENEWALS,
    *TRIALS,
    *VALUE,
    *SPENDING,
    *SERVICE,
    *TIMES,
    *EFFORT,
    *HEALTH,
    *SERVING,
    *ROI,
    *ADVOCACY,
)

__all__ = [
    "EVIDENCE",
    "METRICS",
    "NO_SEGMENT",
    "PURPOSES",
    "RULES",
    "THEMES",
    "WEEKDAYS_9_TO_17",
    "Calculator",
    "CommentTheme",
    "CommentThemes",
    "CustomerLedger",
    "HealthPart",
    "HealthRule",
    "Ids",
    "Ledger",
    "LostProspects",
    "Metric",
    "PainPoints",
    "Period",
    "Rules",
    "SameMonth",
    "Schedule",
    "Selected",
    "account_breadth",
    "active_days",
    "active_users",
    "advocates",
    "annualised",
    "answer_rate",
    "arpa",
    "cac",
    "cac_payback",
    "ces",
    "channel_switches",
    "clv",
    "clv_formula",
    "comment_rate",
    "comment_themes",
    "cost_to_serve",
    "csat",
    "customer_churn_rate",
    "customer_ledger",
    "customer_retention_cost",
    "customer_retention_rate",
    "customer_roi",
    "engagement_score",
    "feature_adoption",
    "feature_depth",
    "feature_weeks",
    "first_contact_resolution",
    "first_response_time",
    "gross_revenue_retention",
    "health_score",
    "health_scores",
    "high_effort_share",
    "lifetime_lift",
    "login_frequency",
    "lost_prospects",
    "ltv_to_cac",
    "metric",
    "monthly_amount",
    "mrr",
    "mrr_churn_rate",
    "mrr_ledger",
    "mrr_movement",
    "net_revenue_retention",
    "nps",
    "pain_points",
    "predicted_clv",
    "quick_ratio",
    "referral_rate",
    "renewal_rate",
    "reopened",
    "repeat_contacts",
    "resolution_time",
    "retention_break_even",
    "same_month",
    "session_length",
    "sla_met",
    "stickiness",
    "time_in_product",
    "time_to_adopt",
    "time_to_value",
    "transferred",
    "trial_conversion_rate",
    "version_changes",
]
