"""What a customer says when asked, and what silence says."""

from __future__ import annotations

from typing import Any

import numpy as np

from retain.features.feature import themed
from retain.weeks import History

__all__ = ["SURVEY"]

feature = themed("survey")
KINDS = ("nps", "csat", "ces")


@feature(unit="score", signal="survey answers", over=KINDS)
def last_answer_item(history: History, kind: str) -> Any:
    """Last {ITEM} answer."""
    return history.surveys.latest(f"{kind}_last")


@feature(unit="weeks", signal="survey answers", over=KINDS)
def weeks_since_item(history: History, kind: str) -> Any:
    """Weeks since the last {ITEM} answer."""
    return history.surveys.weeks_since(f"{kind}_answers")


@feature(unit="score", signal="survey answers", over=KINDS)
def mean_item_26w(history: History, kind: str) -> Any:
    """Mean {ITEM} answer of the last 26 weeks."""
    return history.surveys.ratio(f"{kind}_sum", f"{kind}_answers", 26)


@feature(unit="score", signal="survey answers", over=KINDS)
def change_in_item(history: History, kind: str) -> Any:
    """Change of the {ITEM} answers, last 13 weeks against the year before."""
    surveys = history.surveys
    now = surveys.ratio(f"{kind}_sum", f"{kind}_answers", 13)
    return now - surveys.ratio(f"{kind}_sum", f"{kind}_answers", 52, before=13)


@feature(unit="share", signal="survey silence", over=(26, 52))
def answered_share(history: History, weeks: int) -> Any:
    """Share of the surveys sent in the last {weeks} that were answered."""
    return np.minimum(history.surveys.ratio("answers", "sent", weeks), 1.0)


@feature(unit="surveys", signal="survey silence", over=(13, 26))
def unanswered_surveys(history: History, weeks: int) -> Any:
    """Surveys sent and not answered in the last {weeks}."""
    surveys = history.surveys
    return np.maximum(surveys.total("sent", weeks) - surveys.total("answers", weeks), 0.0)


@feature(unit="weeks", signal="survey silence")
def weeks_since_answer(history: History) -> Any:
    """Weeks since the last answer to any survey."""
    return history.surveys.weeks_since("answers")


@feature(unit="comments", signal="comments", over=(26,))
def comments(history: History, weeks: int) -> Any:
    """Comments written in surveys in the last {weeks}."""
    return history.surveys.total("comments", weeks)


@feature(unit="characters", signal="comments", over=(26,))
def comment_length(history: History, weeks: int) -> Any:
    """Mean length of the comments of the last {weeks}, in characters."""
    return history.surveys.ratio("comment_characters", "comments", weeks)


@feature(unit="comments", signal="comments", over="comment_themes")
def comments_about_item(history: History, theme: str) -> Any:
    """Comments like “{item}” in the last 26 weeks."""
    themes = history.lists["comment_themes"]
    return history.panel("comments").total(f"theme_{themes.index(theme)}", 26)


@feature(unit="share", signal="survey answers", over=(8, 26, 52))
def satisfaction_faded(history: History, half_life: int) -> Any:
    """Satisfaction across all surveys, older answers fading every {weeks}."""
    surveys = history.surveys
    weight = surveys.faded("answers", half_life)
    total = surveys.faded("satisfaction", half_life)
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 1e-6)


@feature(unit="score", signal="survey answers", over=KINDS)
def item_faded(history: History, kind: str) -> Any:
    """Recent {ITEM} answers, on average."""
    surveys = history.surveys
    weight = surveys.faded(f"{kind}_answers", 13)
    total = surveys.faded(f"{kind}_sum", 13)
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 1e-2)


@feature(unit="share", signal="survey silence", over=(26, 52))
def silence_faded(history: History, half_life: int) -> Any:
    """Share of recent surveys left unanswered, older ones fading every {weeks}."""
    sent = history.surveys.faded("sent", half_life)
    missed = np.maximum(sent - history.surveys.faded("answers", half_life), 0.0)
    return missed / (sent + 0.5)


@feature(unit="share", signal="survey answers")
def satisfaction_shrunk(history: History) -> Any:
    """Satisfaction in recent surveys."""
    surveys = history.surveys
    weight, total = surveys.faded("answers", 13), surveys.faded("satisfaction", 13)
    return (total + 0.7) / (weight + 1.0)


SURVEY = (
    last_answer_item,
    weeks_since_item,
    mean_item_26w,
    change_in_item,
    answered_share,
    unanswered_surveys,
    weeks_since_answer,
    comments,
    comment_length,
    comments_about_item,
    satisfaction_faded,
    satisfaction_shrunk,
    item_faded,
    silence_faded,
)
