"""What a calculator answers: the value, what it was made of, and what was left out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any, Literal

from retain.metrics.period import Period

__all__ = ["LOW_N", "Direction", "Exact", "Ids", "Metric"]

Exact = int | Fraction | Decimal  # counts, ratios of counts, money
Direction = Literal["higher is better", "lower is better", "neither"]
LOW_N = 30  # fewer than this is said beside the value
DECIMALS = {"points": 0, "percent": 1, "hours": 1, "days": 1, "count": 0, "customers": 0}


@dataclass(frozen=True)
class Ids:
    """The rows or customers behind a value, by id, in ascending order.

    Parameters
    ----------
    numerator, denominator
        What was counted above and below the line; above it also what counted against.
    excluded
        Reason to what was left out for it.
    parts
        Name of a part, such as promoters, to what is in it.
    """

    numerator: tuple[str, ...] = ()
    denominator: tuple[str, ...] = ()
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One number that can be audited.

    Two are equal when everything but the road to their ids is equal.

    Parameters
    ----------
    name, variant
        Which calculator, and which of its definitions.
    value
        Exact where it is a count, a ratio of counts or money (Fraction, Decimal, int); float where
        it is estimated. None when it is undefined: never 0, infinity or nan.
    unit
        Of value and interval: ``"percent"`` is 0-100, ``"points"``, ``"hours"``, a currency, ...
    direction
        Which way is good.
    numerator, denominator
        What was divided, before any factor of 100; None where nothing is divided (a median).
    n
        How many answers, cases or customers the value speaks for.
    low, high, level
        Interval and its level in (0, 1), for a quantity that is a sample; None where there is none.
    undefined_because
        Why there is no value.
    parameters
        Every choice that the value depends on.
    period, timezone
        Which days, in which zone.
    rows_in, used, excluded
        Rows that the question is about, those used, and the others by reason: they add up.
    by
        ``{}`` for the whole; ``{"segment": "gold"}`` for a segment.
    parts
        Named counts or amounts that the value was made of, such as promoters and detractors.
    notes
        What a reader should know, such as ``"low n"``.
    formula
        One line: how this value was computed, with its numbers.
    ids
        Reads the ids behind the value when it is called.
    segments
        The same metric for each segment asked for; per column of `by` they add up to the whole.

    Examples
    --------
    >>> from datetime import date
    >>> month = Period(date(2026, 10, 1), date(2026, 11, 1))
    >>> score = Metric("nps", "latest", Fraction(500, 11), "points", "higher is better",
    ...                period=month, rows_in=12, used=11, excluded={"no answer": 1})
    >>> score.display()
    '45'
    >>> replace(score, value=None, undefined_because="nobody answered").display()
    'undefined: nobody answered'
    """

    name: str
    variant: str
    value: Exact | float | None
    unit: str
    direction: Direction
    numerator: Exact | float | None = None
    denominator: Exact | float | None = None
    n: int = 0
    low: Exact | float | None = None
    high: Exact | float | None = None
    level: float | None = None
    undefined_because: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    period: Period | None = None
    timezone: str = "UTC"
    rows_in: int = 0
    used: int = 0
    excluded: Mapping[str, int] = field(default_factory=dict)
    by: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Exact] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    formula: str = ""
    ids: Callable[[], Ids] = field(default=Ids, repr=False, compare=False)
    segments: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        called = f"{self.name} ({self.variant}) {dict(self.by) or ''}".strip()
        if self.rows_in != self.used + sum(self.excluded.values()):
            raise AssertionError(
                f"{called}: {self.rows_in} rows in, but {self.used} used and {self.excluded} left "
                "out; they should add up"
            )
        if (self.value is None) != bool(self.undefined_because):
            raise AssertionError(
                f"{called}: a value is undefined exactly when the reason is given; found value "
                f"{self.value} and reason {self.undefined_because!r}"
            )
        numbers = (self.value, self.low, self.high, self.numerator, self.denominator)
        if not all(number is None or isfinite(number) for number in numbers):
            raise AssertionError(f"{called}: infinite or not a number: {numbers}")

    def divided_into(self, segments: Iterable[Metric]) -> Metric:
        """Attach the segments, having checked that they add up to the whole.

        Parameters
        ----------
        segments
            The same metric for each segment of one or more columns.

        Raises
        ------
        AssertionError
            When rows, numerators or denominators of a column's segments do not add up.
        """
        segments = tuple(segments)
        for column in dict.fromkeys(key for one in segments for key in one.by):
            of_column = [one for one in segments if column in one.by]
            for what in ("rows_in", "used", "numerator", "denominator"):
                whole = getattr(self, what)
                pieces = [getattr(one, what) for one in of_column]
                if isinstance(whole, float) or whole is None or None in pieces:
                    continue  # medians have none; estimates are not sums
                if whole != sum(pieces):
                    raise AssertionError(
                        f"{self.name} ({self.variant}): {what} by {column} add up to {sum(pieces)},"
                        f" the whole is {whole}"
                    )
        return replace(self, segments=segments)

    def display(self, decimals: int | None = None) -> str:
        """Write the value as a reader sees it, rounded here and only here, ties to even.

        Parameters
        ----------
        decimals
            How many; by default as usual for the unit (2 where nothing is usual).
        """
        if self.value is None:
            return f"undefined: {self.undefined_because}"
        digits = DECIMALS.get(self.unit, 2) if decimals is None else decimals
        return f"{rounded(self.value, digits):,}"


def rounded(value: Exact | float, decimals: int) -> Decimal:
    """Round half to even, from the exact value.

    Examples
    --------
    >>> rounded(Fraction(5, 2), 0), rounded(Decimal("0.125"), 2), rounded(Fraction(1, 3), 3)
    (Decimal('2'), Decimal('0.12'), Decimal('0.333'))
    """
    whole = round(Fraction(value) * 10**decimals)
    return Decimal(whole).scaleb(-decimals)
