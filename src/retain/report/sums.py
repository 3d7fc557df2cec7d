"""One customer's section as sums: base + signals = probability, parts = CLV, last week to this.

Every sum is made of the printed, rounded figures: a reader who adds them up finds no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retain.report.customers import FULL_DETAIL, Customer
from retain.report.wording import chance, money, number, percent, points, steadiness

__all__ = ["BANDS", "Step", "facts", "fixed_words", "in_days", "moved", "steps", "worth"]

BANDS = {"low": "low", "watch": "watch", "high": "high"}
"""How risk bands are printed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the sum from the base to the probability."""

    kind: str
    theme: str
    text: str
    size: str
    notes: tuple[tuple[str, str], ...]
    x: int
    width: int
    zero: int


def fixed_words(horizon_weeks: int) -> dict[str, Any]:
    """Give the fixed phrases that markup and script share."""
    return {
        "bands": BANDS,
        "new": "first week",
        "not_scored": "not scored last week",
        "unchanged": "unchanged",
        "unstable": "No stable single reason",
        "no_reason": "No signal stands out",
        "unstable_long": "No stable single reason: when the model is drawn again, other "
        "signals come first. Read the list as a whole.",
        "leaves": f"likely to leave within {horizon_weeks} weeks",
        "why": "Signals associated with this probability",
        "moved": "Since last week",
        "charts": "The last 52 weeks",
        "worth": "Expected value (CLV)",
        "no_weeks": "No weekly history is known for this customer.",
        "brief": f"Weekly charts are drawn for the first {FULL_DETAIL} customers of the list.",
        "base": "Where every customer starts (base)",
        "no_base": "Base and all other signals",
        "others": "All other signals",
        "total": "Probability on this page",
        "last_week": "Last week",
        "behaviour": "Behaviour",
        "data": "Newly arrived data",
        "model": "New model",
        "not_split": "Change",
        "rounding": "Rounding",
        "this_week": "This week",
        "act": "can be acted on",
        "was": "last week",
        "worth_rest": "Typical customer and all other signals",
        "worth_total": "CLV on this page",
    }


def steps(c: Customer, base: int | None, words: Mapping[str, Any]) -> list[Step]:
    """Write the sum as printed: base + shown signals + all others = probability, in tenths."""
    listed = [d for d in (*c.raising, *c.lowering) if d.points is not None]
    others = c.p - (base or 0) - sum(d.points or 0 for d in listed)
    lines: list[tuple[str, str, str, int | None, tuple[tuple[str, str], ...]]] = []
    if base is not None:
        lines.append(("base", "", words["base"], base, ()))
    for d in (*c.raising, *c.lowering):
        notes = []
        if d.actionable:
            notes.append(("act", words["act"]))
        if d.stability is not None:
            sure = "unsure" if d.stability < 50 else "sure"
            notes.append((sure, steadiness(d.stability)))
        if d.before is not None:
            notes.append(("was", f"{words['was']} {points(d.before)}"))
        kind = "said" if d.points is None else "up" if d.points >= 0 else "down"
        lines.append(
            (kind, d.theme if d.points is not None else "", d.sentence, d.points, tuple(notes))
        )
    if base is None:
        lines.append(("base", "", words["no_base"], others, ()))
    else:
        lines.append(("rest up" if others >= 0 else "rest down", "", words["others"], others, ()))

    ends, at = [0, c.p], 0
    for line in lines:
        at += line[3] or 0
        ends.append(at)
    low, high = min(ends), max(max(ends), 1)

    def place(value: int) -> int:
        return int((value - low) / (high - low) * 1000 + 0.5)

    lines_drawn, at = [], 0
    for kind, theme, text, size, marks in lines:
        start, at = at, at + (size or 0)
        x, end = place(min(start, at)), place(max(start, at))
        shown = "" if size is None else percent(size) if kind == "base" else points(size)
        width = 0 if size is None else max(end - x, 4)
        lines_drawn.append(Step(kind, theme, text, shown, marks, x, width, place(0)))
    width = max(place(c.p) - place(0), 4)
    total = Step("total", "", words["total"], chance(c.p), (), place(0), width, place(0))
    return [*lines_drawn, total]


def moved(c: Customer, words: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Write last week + behaviour + data + model = this week, exact in tenths."""
    parts = [("from", words["last_week"], chance(c.before))]
    split = (
        ("behaviour", c.change_behaviour),
        ("data", c.change_data),
        ("model", c.change_model),
    )
    if c.change_behaviour is None:
        parts.append(("part", words["not_split"], points(c.change)))
    else:
        parts += [
            ("part" if size else "part nil", words[name], points(size)) for name, size in split
        ]
    rounding = c.p - (c.before or 0) - (c.change or 0)
    if rounding:
        parts.append(("part", words["rounding"], points(rounding)))
    return [*parts, ("to", words["this_week"], chance(c.p))]


def worth(c: Customer, currency: str, words: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Write the CLV as a sum in currency."""
    if c.clv is None:
        return []
    rest = c.clv - sum(d.amount for d in c.value_drivers)
    lines = [
        (
            "up" if d.amount >= 0 else "down",
            d.theme,
            d.sentence,
            money(d.amount, currency, signed=True),
        )
        for d in c.value_drivers
    ]
    if lines:
        lines.append(
            ("rest", "", words["worth_rest"], money(round(rest, 2), currency, signed=True))
        )
    return [*lines, ("total", "", words["worth_total"], money(c.clv, currency))]


def facts(c: Customer, interval_pct: int) -> list[str]:
    """Say what else is known about the probability, in short phrases."""
    known = []
    if c.low is not None and c.high is not None:
        known.append(f"{interval_pct}% interval {percent(c.low)} – {percent(c.high)}")
    if c.above is not None:
        known.append(f"higher than {c.above}% of eligible customers")
    if c.health is not None:
        known.append(f"health score {number(c.health)}")
    if c.coverage is not None:
        known.append(f"{c.coverage}% of the signals known")
    if c.freshness is not None:
        known.append(
            "data up to this week"
            if c.freshness <= 0
            else f"newest data {c.freshness} {'day' if c.freshness == 1 else 'days'} old"
        )
    return known


def in_days(days: int) -> str:
    """Say how far away a day is.

    Examples
    --------
    >>> in_days(16), in_days(1), in_days(-3)
    ('in 16 days', 'tomorrow', '3 d ago')
    """
    if days == 0:
        return "today"
    ago = abs(days)
    return f"in {ago:,} days" if days > 1 else "tomorrow" if days == 1 else f"{ago:,} d ago"
