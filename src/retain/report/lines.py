"""A metric over its periods, and MRR from start to end, as small drawings: the geometry.

Undefined periods leave a gap; a target is a dashed line on the same scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retain.report.wording import money, money_short

__all__ = ["Bridge", "Trend", "draw_bridge", "draw_trend", "strip"]

_WIDTH, _TOP, _FLOOR = 160, 5, 35
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Trend:
    """One metric's periods on a canvas of 160 x 40: line, dots with words, target."""

    line: str
    dots: tuple[tuple[float, float, str], ...]
    target: float | None
    says: str


@dataclass(frozen=True, slots=True)
class Bridge:
    """Steps from one total to another: each a bar in percent of the width."""

    steps: tuple[dict[str, Any], ...]
    says: str


def _scale(values: Sequence[float], target: float | None) -> tuple[float, float]:
    ends = [*values, *([] if target is None else [target])]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def draw_trend(
    values: Sequence[float | None],
    target: float | None,
    periods: Sequence[str],
    words: Sequence[str],
) -> Trend:
    """Draw a metric over its periods.

    Parameters
    ----------
    values
        One per period, oldest first; None = undefined.
    target
        Value aimed at, None = none.
    periods, words
        Name of each period, and its value as printed.

    Returns
    -------
    Trend
        Path data, and what a reader who cannot see it is told.

    Examples
    --------
    >>> drawn = draw_trend([1.0, None, 3.0], None, ["a", "b", "c"], ["1", "–", "3"])
    >>> drawn.line, [(x, y) for x, y, _ in drawn.dots]
    ('M4 32.9M156 7.1', [(4.0, 32.9), (156.0, 7.1)])
    >>> drawn.says
    'a 1, b –, c 3'
    """
    known = [value for value in values if value is not None]
    says = ", ".join(f"{name} {word}" for name, word in zip(periods, words, strict=True))
    if not known:
        return Trend("", (), None, says)
    low, high = _scale(known, target)

    def up(value: float) -> float:
        return round(_FLOOR - (value - low) / (high - low) * (_FLOOR - _TOP), 1)

    step = (_WIDTH - 8) / max(len(values) - 1, 1)
    line, dots, joined = "", [], False
    for at, value in enumerate(values):
        if value is None:
            joined = False
            continue
        x = round(4 + at * step, 1) if len(values) > 1 else float(_WIDTH - 4)
        line += f"{'L' if joined else 'M'}{x:g} {up(value):g}"
        dots.append((x, up(value), f"{periods[at]}: {words[at]}"))
        joined = True
    return Trend(line, tuple(dots), None if target is None else up(target), says)


def strip(values: Sequence[float | None], plain: bool = False) -> str:
    """Draw a metric over its periods in letters, one per period.

    Examples
    --------
    >>> strip([1.0, 2.0, None, 4.0]), strip([5.0, 5.0]), strip([1.0, 4.0], plain=True)
    ('▁▃ █', '▄▄', '_^')
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    letters = "_.-=^" if plain else _BLOCKS

    def letter(value: float) -> str:
        if high == low:
            return letters[(len(letters) - 1) // 2]
        return letters[round((value - low) / (high - low) * (len(letters) - 1))]

    return "".join(" " if value is None else letter(value) for value in values)


def draw_bridge(steps: Sequence[Mapping[str, Any]], currency: str) -> Bridge:
    """Draw the way from MRR at the start to MRR at the end.

    Parameters
    ----------
    steps
        ``label``, ``amount`` (signed) and ``kind`` (``total`` or ``move``), in order.
    currency
        Code in front of amounts.

    Returns
    -------
    Bridge
        Bars as left edge and width in percent. Totals do not begin at zero where that would hide
        the moves; the page says so.

    Examples
    --------
    >>> start, new = {"label": "Start", "amount": 80.0, "kind": "total"}, {
    ...     "label": "New", "amount": 20.0, "kind": "move"}
    >>> [(s["left"], s["width"]) for s in draw_bridge([start, new], "EUR").steps]
    [(0.0, 50.0), (50.0, 50.0)]
    """
    running, spans = 0.0, []
    for step in steps:
        amount = float(step["amount"])
        first = 0.0 if step["kind"] == "total" else running
        running = amount if step["kind"] == "total" else running + amount
        spans.append((min(first, running), max(first, running)))
    moves = [s for s, step in zip(spans, steps, strict=True) if step["kind"] == "move"]
    totals = [end for (_, end), step in zip(spans, steps, strict=True) if step["kind"] == "total"]
    low = min([low for low, _ in moves] + totals, default=0.0)
    high = max([high for _, high in spans], default=1.0)
    floor = max(low - (high - low), 0.0)
    wide = (high - floor) or 1.0
    drawn = []
    for (first, last), step in zip(spans, steps, strict=True):
        left = (max(first, floor) - floor) / wide * 100
        width = (last - max(first, floor)) / wide * 100
        amount = float(step["amount"])
        tone = "total" if step["kind"] == "total" else "gain" if amount >= 0 else "loss"
        sign = "+" if tone == "gain" and amount else ""
        drawn.append(
            {
                "label": step["label"],
                "amount": f"{sign}{money(round(amount, 2), currency)}",
                "tone": tone,
                "left": round(left, 2),
                "width": round(max(width, 0.15), 2),
            }
        )
    says = ", ".join(f"{step['label']} {step['amount']}" for step in drawn)
    if floor > 0:
        says += f"; bars begin at {money_short(floor, currency)}, not at zero"
    return Bridge(tuple(drawn), says)
