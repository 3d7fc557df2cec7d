"""Small drawings of judged predictions, for pages: points with intervals over weeks or bins.

Only geometry in percent of the plot; words stand around it as HTML, so that they keep their size on
a narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Plot", "Series", "draw_points"]

_ROOM = 0.06


@dataclass(frozen=True, slots=True)
class Series:
    """One line of points, each with its interval; nan leaves a gap.

    Attributes
    ----------
    name
        In the legend.
    x, y, low, high
        Equally long; `low` and `high` may be nan.
    tone
        ``ours``, ``other``, or ``expected``.
    is_joined
        Whether a line runs through the points.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    tone: str = "ours"
    is_joined: bool = True


@dataclass(frozen=True, slots=True)
class Plot:
    """Geometry in percent of the plot, and the words around it."""

    lines: tuple[tuple[str, str], ...]  # tone, path
    bars: tuple[tuple[str, str], ...]
    dots: tuple[tuple[str, str, str], ...]  # tone, path, words
    diagonal: str
    marks: tuple[str, ...]  # top, middle, bottom of the scale
    first: str
    last: str
    legend: tuple[tuple[str, str], ...]
    says: str


def draw_points(
    series: Sequence[Series],
    *,
    says: str,
    first: str,
    last: str,
    show: Any,
    diagonal: bool = False,
    words: Sequence[Sequence[str]] = (),
) -> Plot:
    """Lay out points with intervals.

    Parameters
    ----------
    series
        What is drawn, the most important first.
    says
        What a reader who cannot see it is told.
    first, last
        Words at the ends of the horizontal axis.
    show
        From a value of the vertical scale to words.
    diagonal
        Draw where y equals x, both on one scale.
    words
        For each series the words of its points; default: their values.

    Returns
    -------
    Plot

    Examples
    --------
    >>> one = Series("a", [0, 1], [0.0, 1.0], [math.nan] * 2, [math.nan] * 2)
    >>> drawn = draw_points([one], says="", first="", last="", show=str)
    >>> drawn.lines, drawn.bars
    ((('ours', 'M0.0 94.6L100.0 5.4'),), ())
    """
    xs = [x for one in series for x in one.x]
    ys = [
        value
        for one in series
        for values in (one.y, one.low, one.high)
        for value in values
        if math.isfinite(value)
    ]
    if not ys:
        return Plot((), (), (), "", ("", "", ""), first, last, (), says)
    if diagonal:
        ys += xs
    low, high = min(ys), max(ys)
    room = (high - low) * _ROOM or 0.5
    low, high = low - room, high + room
    left, right = (low, high) if diagonal else (min(xs), max(xs))

    def across(x: float) -> float:
        return round(100.0 * (x - left) / ((right - left) or 1.0), 2)

    def down(y: float) -> float:
        return round(100.0 - 100.0 * (y - low) / (high - low), 1)

    lines, bars, dots = [], [], []
    for at, one in enumerate(series):
        points = [
            (across(x), down(y)) if math.isfinite(y) else None
            for x, y in zip(one.x, one.y, strict=True)
        ]
        if one.is_joined and (path := _path(points)):
            lines.append((one.tone, path))
        for number, point in enumerate(points):
            if point is None:
                continue
            ends = one.low[number], one.high[number]
            if all(math.isfinite(end) for end in ends):
                bars.append((one.tone, f"M{point[0]} {down(ends[0])}V{down(ends[1])}"))
            said = words[at][number] if words else show(one.y[number])
            dots.append((one.tone, f"M{point[0]} {point[1]}h.01", said))
    span = f"M{across(low)} {down(low)}L{across(high)} {down(high)}" if diagonal else ""
    scale = tuple(show(value) for value in (high - room, (low + high) / 2.0, low + room))
    legend = tuple((one.tone, one.name) for one in series)
    return Plot(tuple(lines), tuple(bars), tuple(dots), span, scale, first, last, legend, says)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    text, pen = "", "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        text += f"{pen}{point[0]} {point[1]}"
        pen = "L"
    return text
