"""How a customer uses the product: how much, how often, how broadly, and how that is changing."""

from __future__ import annotations

from typing import Any

import numpy as np

from retain.features.feature import WINDOWS, themed
from retain.weeks import History
from retain.weeks.panel import balance

__all__ = ["USAGE"]

feature = themed("usage")
PAST_WEEKS = 26
YEAR_WEEKS = 52
LEAST_PAST_WEEKS = 4


def _usual(history: History, total: Any, weeks: int) -> Any:
    """Weekly level of a past window, over the weeks in which the customer was there."""
    there = np.minimum(weeks, history.tenure_weeks - 4)
    enough = there >= LEAST_PAST_WEEKS
    return np.divide(total, there, out=np.full(history.shape, np.nan), where=enough)


@feature(unit="events", signal="amount of use", over=WINDOWS)
def events(history: History, weeks: int) -> Any:
    """Product events in the last {weeks}."""
    return history.usage.total("events", weeks)


@feature(unit="units", signal="amount of use", over=WINDOWS)
def quantity(history: History, weeks: int) -> Any:
    """Quantity used in the last {weeks}."""
    return history.usage.total("quantity", weeks)


@feature(unit="hours", signal="amount of use", over=WINDOWS)
def time_in_product(history: History, weeks: int) -> Any:
    """Hours in the product in the last {weeks}."""
    return history.usage.total("hours", weeks)


@feature(unit="days", signal="regularity of use", over=WINDOWS)
def active_days(history: History, weeks: int) -> Any:
    """Active days in the last {weeks}."""
    return history.usage.active_days("days", weeks)


@feature(unit="weeks", signal="regularity of use", over=(4, 13, 26))
def active_weeks(history: History, weeks: int) -> Any:
    """Weeks with any use among the last {weeks}."""
    return history.usage.active_weeks("events", weeks)


@feature(unit="features", signal="breadth of use", over=WINDOWS)
def distinct_features(history: History, weeks: int) -> Any:
    """Different features used in the last {weeks}."""
    return history.usage.distinct("features", weeks)


@feature(unit="users", signal="people using it", over=WINDOWS)
def distinct_users(history: History, weeks: int) -> Any:
    """Different people using the product in the last {weeks}."""
    return history.usage.distinct("users", weeks)


@feature(unit="balance", signal="change in use", over=(1, 4, 13), of="events_")
def events_change(history: History, weeks: int) -> Any:
    """Change of product events, last {weeks} against the same time before."""
    return history.usage.change("events", weeks)


@feature(unit="balance", signal="change in use", over=(4, 13), of="active_days_")
def active_days_change(history: History, weeks: int) -> Any:
    """Change of active days, last {weeks} against the same time before."""
    usage = history.usage
    return balance(usage.active_days("days", weeks), usage.active_days("days", weeks, before=weeks))


@feature(unit="balance", signal="people using it", over=(4, 13), of="distinct_users_")
def distinct_users_change(history: History, weeks: int) -> Any:
    """Change of people using the product, last {weeks} against the same time before."""
    usage = history.usage
    return balance(usage.distinct("users", weeks), usage.distinct("users", weeks, before=weeks))


@feature(unit="balance", signal="breadth of use", over=(4, 13), of="distinct_features_")
def distinct_features_change(history: History, weeks: int) -> Any:
    """Change of different features used, last {weeks} against the same time before."""
    usage = history.usage
    now, past = usage.distinct("features", weeks), usage.distinct("features", weeks, before=weeks)
    return balance(now, past)


@feature(unit="events per week", signal="change in use", over=(13,), of="events_4w")
def events_slope(history: History, weeks: int) -> Any:
    """Trend of product events per week over the last {weeks}."""
    return history.usage.trend("events", weeks)


@feature(unit="balance", signal="change in use", over=(26, 52), of="events_4w")
def events_against_own_past(history: History, weeks: int) -> Any:
    """Product events of the last 4 weeks against the customer's own {weeks} before."""
    usage = history.usage
    usual = _usual(history, usage.total("events", weeks, before=4), weeks)
    return balance(usage.mean("events", 4), usual)


@feature(unit="balance", signal="change in use", over=(26, 52), of="quantity_4w")
def quantity_against_own_past(history: History, weeks: int) -> Any:
    """Quantity used in the last 4 weeks against the customer's own {weeks} before."""
    usage = history.usage
    usual = _usual(history, usage.total("quantity", weeks, before=4), weeks)
    return balance(usage.mean("quantity", 4), usual)


@feature(unit="balance", signal="change in use", over=(26, 52), of="time_in_product_4w")
def time_against_own_past(history: History, weeks: int) -> Any:
    """Hours in the product in the last 4 weeks against the customer's own {weeks} before."""
    usage = history.usage
    usual = _usual(history, usage.total("hours", weeks, before=4), weeks)
    return balance(usage.mean("hours", 4), usual)


@feature(unit="balance", signal="change in use", over=(26, 52), of="active_days_4w")
def active_days_against_own_past(history: History, weeks: int) -> Any:
    """Active days of the last 4 weeks against the customer's own {weeks} before."""
    usage = history.usage
    usual = _usual(history, usage.active_days("days", weeks, before=4), weeks)
    return balance(usage.active_days("days", 4) / 4, usual)


@feature(unit="balance", signal="change in use", of="quantity_13w")
def quarter_against_own_past(history: History) -> Any:
    """Quantity used in the last 13 weeks against the customer's own year before."""
    usage = history.usage
    there = np.minimum(YEAR_WEEKS, history.tenure_weeks - 13)
    past = usage.total("quantity", YEAR_WEEKS, before=13)
    enough = there >= LEAST_PAST_WEEKS
    usual = np.divide(past, there, out=np.full(history.shape, np.nan), where=enough)
    return balance(usage.mean("quantity", 13), usual)


@feature(unit="balance", signal="change in use", of="quantity_4w")
def quantity_lately(history: History) -> Any:
    """Quantity used lately against the customer's long-run level."""
    usage = history.usage
    return balance(usage.level("quantity", 2), usage.level("quantity", 26))


@feature(unit="balance", signal="change in use", of="time_in_product_4w")
def time_lately(history: History) -> Any:
    """Hours in the product lately against the customer's long-run level."""
    usage = history.usage
    return balance(usage.level("hours", 2), usage.level("hours", 26))


@feature(unit="days", signal="time since last use")
def days_since_last_use(history: History) -> Any:
    """Days since the product was last used."""
    return history.as_of_day - history.usage.latest("last_day")


@feature(unit="weeks", signal="time since last use")
def longest_silence(history: History) -> Any:
    """Longest run of weeks without use in the last half year."""
    return history.usage.longest_silence("events", PAST_WEEKS)


@feature(unit="share", signal="features used most", over="top_features")
def share_of_item(history: History, item: int) -> Any:
    """Share of events spent on {item} in the last 13 weeks."""
    return history.usage.ratio(f"top_feature_{item}", "events", 13)


@feature(unit="weeks", signal="features used most", over="top_features")
def weeks_since_item(history: History, item: int) -> Any:
    """Weeks since {item} was last used."""
    return history.usage.weeks_since(f"top_feature_{item}")


@feature(unit="balance", signal="features used most", over="top_features")
def change_of_item(history: History, item: int) -> Any:
    """Change of the use of {item}, last 4 weeks against the quarter before."""
    usage = history.usage
    now = usage.mean(f"top_feature_{item}", 4)
    return balance(now, usage.mean(f"top_feature_{item}", 13, before=4))


@feature(unit="events per user", signal="amount of use", over=(4,))
def events_per_user(history: History, weeks: int) -> Any:
    """Product events per person in the last {weeks}."""
    users = history.usage.distinct("users", weeks)
    total = history.usage.total("events", weeks)
    return np.divide(total, users, out=np.full(total.shape, np.nan), where=users > 0)


USAGE = (
    events,
    quantity,
    time_in_product,
    active_days,
    active_weeks,
    distinct_features,
    distinct_users,
    events_change,
    active_days_change,
    distinct_users_change,
    distinct_features_change,
    events_slope,
    events_against_own_past,
    quantity_against_own_past,
    time_against_own_past,
    active_days_against_own_past,
    quarter_against_own_past,
    quantity_lately,
    time_lately,
    days_since_last_use,
    longest_silence,
    share_of_item,
    weeks_since_item,
    change_of_item,
    events_per_user,
)
