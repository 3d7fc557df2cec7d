"""Shares as metrics: so many of so many, in percent, with Wilson's interval."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from retain.metrics.intervals import share_interval
from retain.metrics.period import Period
from retain.metrics.result import LOW_N, Direction, Metric
from retain.metrics.rows import Tally

__all__ = ["low_n", "share"]


def share(
    name: str,
    variant: str,
    tally: Tally,
    *,
    of: tuple[str, str],
    period: Period,
    timezone: str,
    level: float = 0.95,
    direction: Direction = "higher is better",
    parameters: Mapping[str, Any] | None = None,
    parts: Mapping[str, int] | None = None,
) -> Metric:
    """Make the metric of `above` ÷ rows used, from a tally with an aggregate `above`.

    Parameters
    ----------
    name, variant
        Of the calculator.
    tally
        Its `above` counts the rows above the line; all rows used are below it.
    of
        What is above and below the line, in words, for the formula.
    period, timezone
        Which days, in which zone.
    level
        Of the interval, in (0, 1).
    direction
        Which way is good.
    parameters, parts
        For the record.

    Returns
    -------
    Metric
        In percent, 0 to 100; undefined without rows.
    """
    above, n = int(tally["above"]), tally.used
    interval = share_interval(above, n, level)
    return Metric(
        name,
        variant,
        Fraction(100 * above, n) if n else None,
        "percent",
        direction,
        numerator=above,
        denominator=n,
        n=n,
        low=100 * interval[0] if interval else None,
        high=100 * interval[1] if interval else None,
        level=level if interval else None,
        undefined_because=None if n else f"no {of[1]}",
        parameters=parameters or {},
        period=period,
        timezone=timezone,
        parts=parts or {},
        notes=low_n(n),
        formula=f"100 x {above} {of[0]} / {n} {of[1]}",
        **tally.counts,
    )


def low_n(n: int) -> tuple[str, ...]:
    """Say when there are few.

    Examples
    --------
    >>> low_n(29), low_n(30), low_n(0)
    (('low n: fewer than 30',), (), ())
    """
    return (f"low n: fewer than {LOW_N}",) if 0 < n < LOW_N else ()
