"""How hard it is to be a customer: contacts, repeats, switches, transfers, waiting, open cases."""

from __future__ import annotations

from typing import Any

import numpy as np

from retain.features.feature import themed
from retain.weeks import History
from retain.weeks.panel import balance

__all__ = ["EFFORT"]

feature = themed("effort")
SPANS = (4, 13, 26)


@feature(unit="contacts", signal="support contacts", over=(1, *SPANS))
def contacts(history: History, weeks: int) -> Any:
    """Support contacts in the last {weeks}."""
    return history.interactions.total("contacts", weeks)


@feature(unit="cases", signal="support contacts", over=SPANS)
def cases(history: History, weeks: int) -> Any:
    """New support cases in the last {weeks}."""
    return history.interactions.total("cases", weeks)


@feature(unit="balance", signal="support contacts", over=(4, 13), of="contacts_")
def contacts_change(history: History, weeks: int) -> Any:
    """Change of support contacts, last {weeks} against the same time before."""
    return history.interactions.change("contacts", weeks)


@feature(unit="contacts", signal="repeated and switched contacts", over=SPANS)
def repeat_contacts(history: History, weeks: int) -> Any:
    """Contacts within 7 days on the same issue in the last {weeks}."""
    return history.interactions.total("repeats", weeks)


@feature(unit="switches", signal="repeated and switched contacts", over=SPANS)
def channel_switches(history: History, weeks: int) -> Any:
    """Changes of channel on the same issue in the last {weeks}."""
    return history.interactions.total("switches", weeks)


@feature(unit="channels", signal="repeated and switched contacts", over=(13,))
def channels_used(history: History, weeks: int) -> Any:
    """Different support channels used in the last {weeks}."""
    return history.interactions.distinct("channels", weeks)


@feature(unit="transfers", signal="transfers and reopened cases", over=SPANS)
def transfers(history: History, weeks: int) -> Any:
    """Transfers in cases resolved in the last {weeks}."""
    return history.interactions.total("transfers", weeks)


@feature(unit="reopens", signal="transfers and reopened cases", over=SPANS)
def reopens(history: History, weeks: int) -> Any:
    """Reopened cases among those resolved in the last {weeks}."""
    return history.interactions.total("reopens", weeks)


@feature(unit="hours", signal="waiting for support", over=(13, 26))
def first_response_hours(history: History, weeks: int) -> Any:
    """Mean hours to the first response in the last {weeks}."""
    return history.interactions.ratio("response_hours", "responses", weeks)


@feature(unit="balance", signal="waiting for support", of="first_response_hours_13w")
def first_response_against_own_past(history: History) -> Any:
    """First response time of the last 13 weeks against the customer's own year before."""
    cases = history.interactions
    now = cases.ratio("response_hours", "responses", 13)
    return balance(now, cases.ratio("response_hours", "responses", 52, before=13))


@feature(unit="hours", signal="waiting for support", over=(13, 26))
def resolution_hours(history: History, weeks: int) -> Any:
    """Mean hours to resolution in the last {weeks}."""
    return history.interactions.ratio("resolution_hours", "resolved", weeks)


@feature(unit="balance", signal="waiting for support", of="resolution_hours_13w")
def resolution_against_own_past(history: History) -> Any:
    """Resolution time of the last 13 weeks against the customer's own year before."""
    cases = history.interactions
    now = cases.ratio("resolution_hours", "resolved", 13)
    return balance(now, cases.ratio("resolution_hours", "resolved", 52, before=13))


@feature(unit="cases", signal="open cases")
def open_cases(history: History) -> Any:
    """Support cases open now."""
    return history.interactions.total("open")


@feature(unit="days", signal="open cases")
def open_cases_age(history: History) -> Any:
    """Mean age in days of the support cases open now."""
    opened = history.interactions.total("open")
    age = history.as_of_day - np.divide(
        history.interactions.total("open_day"),
        opened,
        out=np.full(opened.shape, np.nan),
        where=opened > 0,
    )
    return np.where(opened > 0, age, np.nan)


@feature(unit="minutes", signal="support contacts", over=SPANS)
def handle_minutes(history: History, weeks: int) -> Any:
    """Minutes spent on cases resolved in the last {weeks}."""
    return history.interactions.total("handle_minutes", weeks)


@feature(unit="cases", signal="hard cases", over=SPANS)
def hard_cases(history: History, weeks: int) -> Any:
    """High-effort cases resolved in the last {weeks}."""
    return history.interactions.total("hard", weeks)


@feature(unit="share", signal="hard cases", over=(13, 26))
def hard_case_share(history: History, weeks: int) -> Any:
    """Share of high-effort cases among those resolved in the last {weeks}."""
    return history.interactions.ratio("hard", "resolved", weeks)


@feature(unit="weeks", signal="hard cases")
def weeks_since_hard_case(history: History) -> Any:
    """Weeks since a high-effort case was last resolved."""
    return history.interactions.weeks_since("hard")


@feature(unit="weeks", signal="repeated and switched contacts")
def weeks_since_repeat_contact(history: History) -> Any:
    """Weeks since the customer last had to contact support again."""
    return history.interactions.weeks_since("repeats")


@feature(unit="weeks", signal="support contacts")
def weeks_since_contact(history: History) -> Any:
    """Weeks since the last support contact."""
    return history.interactions.weeks_since("contacts")


@feature(unit="cases", signal="waiting for support", over=(13, 26))
def missed_service_levels(history: History, weeks: int) -> Any:
    """Missed service levels among cases resolved in the last {weeks}."""
    return history.interactions.total("sla_missed", weeks)


@feature(unit="signs", signal="effort lately", over=(4, 8, 16))
def effort_faded(history: History, half_life: int) -> Any:
    """Recent signs of effort (repeats, switches, transfers), older ones fading every {weeks}."""
    cases = history.interactions
    signs = [name for name in ("repeats", "switches", "transfers", "reopens") if cases.has(name)]
    return sum(cases.faded(name, half_life) for name in signs)


@feature(unit="cases", signal="effort lately", over=(4, 8, 16))
def hard_cases_faded(history: History, half_life: int) -> Any:
    """Recent high-effort cases, older ones fading every {weeks}."""
    return history.interactions.faded("hard", half_life)


@feature(unit="share", signal="effort lately")
def effort_per_contact(history: History) -> Any:
    """Repeats and switches per contact in the last 13 weeks."""
    cases = history.interactions
    signs = cases.total("repeats", 13) + cases.total("switches", 13)
    contacted = cases.total("contacts", 13)
    return np.divide(signs, contacted, out=np.full(signs.shape, np.nan), where=contacted > 0)


EFFORT = (
    contacts,
    cases,
    contacts_change,
    repeat_contacts,
    channel_switches,
    channels_used,
    transfers,
    reopens,
    first_response_hours,
    first_response_against_own_past,
    resolution_hours,
    resolution_against_own_past,
    open_cases,
    open_cases_age,
    handle_minutes,
    hard_cases,
    hard_case_share,
    weeks_since_hard_case,
    weeks_since_repeat_contact,
    weeks_since_contact,
    missed_service_levels,
    effort_faded,
    hard_cases_faded,
    effort_per_contact,
)
