"""Who a customer is and how long they have been there: context that nobody can act on."""

from __future__ import annotations

from typing import Any

import numpy as np

from retain.features.feature import themed
from retain.weeks import History

__all__ = ["PROFILE"]

feature = themed("profile")
DAYS_PER_YEAR = 365.25


@feature(unit="weeks", signal="tenure", actionable=False)
def tenure_weeks(history: History) -> Any:
    """Weeks since signing up."""
    return history.tenure_weeks


@feature(unit="weeks", signal="tenure", actionable=False)
def weeks_since_return(history: History) -> Any:
    """Weeks since the customer came back after leaving."""
    for panel in ("subscriptions", "departures"):
        if history.has(panel) and history.panel(panel).has("returns"):
            return history.panel(panel).weeks_since("returns")
    return history.subscriptions.weeks_since("returns")


@feature(unit="plan", signal="plan", actionable=False, categorical=True)
def plan(history: History) -> Any:
    """Plan of the running contract."""
    if not history.categories("subscriptions", "plan"):
        return history.subscriptions.latest("plan")
    return history.texts("subscriptions", "plan")


@feature(unit="value", signal="attributes", over="attributes", actionable=False, categorical=True)
def attribute_item(history: History, name: str) -> Any:
    """The customer's {item}."""
    return history.attribute(name)


@feature(unit="season", signal="season", actionable=False)
def season_cosine(history: History) -> Any:
    """Time of year: 1 at New Year, -1 in early July."""
    angle = 2.0 * np.pi * history.as_of_day / DAYS_PER_YEAR
    return np.broadcast_to(np.cos(angle), history.shape)


@feature(unit="season", signal="season", actionable=False)
def season_sine(history: History) -> Any:
    """Time of year: 1 in early April, -1 in early October."""
    angle = 2.0 * np.pi * history.as_of_day / DAYS_PER_YEAR
    return np.broadcast_to(np.sin(angle), history.shape)


PROFILE = (tenure_weeks, weeks_since_return, plan, attribute_item, season_cosine, season_sine)
