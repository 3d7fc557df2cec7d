"""Fifty-two weeks of a customer as small drawings: the geometry of the four charts.

Nothing known and zero look different: the base line is drawn only under weeks that are known.
The script of the page draws the same shapes from the same numbers (tests compare the two).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from retain.report.wording import number

__all__ = ["WEEKS", "Spark", "draw"]

WEEKS = 52
"""How many weeks a chart shows; the last one ends on as_of."""

_STEP, _FLOOR, _ROOM = 4, 54, 48  # units per week, base line, height above it

Week = float | int | None


@dataclass(frozen=True, slots=True)
class Spark:
    """One chart: its shapes as SVG path data, and the hints around it."""

    kind: str
    title: str
    ground: str
    shape: str
    top: str
    last: str
    when: str
    says: str


def _runs(weeks: Sequence[Week]) -> list[tuple[int, int]]:
    """First and one-past-last index of every unbroken run of known weeks."""
    runs: list[tuple[int, int]] = []
    for i, value in enumerate(weeks):
        if value is None:
            continue
        if runs and runs[-1][1] == i:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def draw(kind: str, title: str, weeks: Sequence[Week], top: float | None = None) -> Spark:
    """Draw one customer's weeks.

    Parameters
    ----------
    kind
        ``bars`` (counts, amounts), ``level`` (holds until it changes) or ``dots`` (now and then).
    title
        What is shown, with its unit.
    weeks
        `WEEKS` values, oldest first; None = nothing known. Negative values are drawn as zero.
    top
        Upper end of the scale; None = the highest value.

    Returns
    -------
    Spark
        Path data on a canvas of 208 x 56 units, and texts.

    Examples
    --------
    >>> spark = draw("bars", "Events a week", [None] * 50 + [8, 4])
    >>> spark.shape, spark.ground, spark.last, spark.when
    ('M202 54v-48M206 54v-24', 'M200 55h8', '4', 'this week')
    """
    known = [value for value in weeks if value is not None]
    highest = max(known, default=0)
    scale = highest if top is None else max(top, highest)

    def height(value: float) -> int:
        share = max(value, 0) / scale if scale > 0 else 0.0
        return max(math.floor(share * _ROOM + 0.5), 1 if value > 0 else 0)

    runs = _runs(weeks)
    if kind == "bars":
        shape = "".join(
            f"M{i * _STEP + 2} {_FLOOR}v-{height(value)}"
            for i, value in enumerate(weeks)
            if value is not None and value > 0
        )
    elif kind == "level":
        shape = "".join(
            f"M{first * _STEP} {_FLOOR - height(weeks[first] or 0)}"
            + "".join(f"V{_FLOOR - height(weeks[i] or 0)}h{_STEP}" for i in range(first, past_last))
            for first, past_last in runs
        )
    else:
        shape = "".join(
            f"M{i * _STEP + 2} {_FLOOR - height(value)}h0"
            for i, value in enumerate(weeks)
            if value is not None
        )
    # an answer given now and then has no weeks in between that could be "known"
    spans = [(0, len(weeks))] if kind == "dots" and runs else runs
    ground = "".join(f"M{a * _STEP} {_FLOOR + 1}h{(b - a) * _STEP}" for a, b in spans)
    if not known:
        return Spark(kind, title, "", "", "", "–", "nothing known", f"{title}: nothing known")
    ago = len(weeks) - runs[-1][1]
    when = "this week" if ago == 0 else "1 week ago" if ago == 1 else f"{ago} weeks ago"
    last = number(known[-1])
    says = f"{title}, last {WEEKS} weeks: {last} ({when}), highest {number(highest)}"
    return Spark(kind, title, ground, shape, number(scale), last, when, says)
