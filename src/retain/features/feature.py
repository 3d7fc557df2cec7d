"""What a feature is: a function of a `History`, a sentence, a unit, and the signal it serves."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from retain.weeks import History

__all__ = ["THEMES", "WINDOWS", "Column", "Feature", "feature", "themed"]

THEMES = ("usage", "effort", "survey", "commercial", "profile")
WINDOWS = (1, 4, 13, 26)
Over = tuple[Any, ...] | str | None


@dataclass(frozen=True)
class Feature:
    """One definition; with `over` it gives a column per window or per item.

    Parameters
    ----------
    name
        The column, or its beginning when there is one column per window or item.
    label
        What a CS lead reads; ``{weeks}`` or ``{item}`` stands for the window or item.
    unit
        Unit of the values, in words.
    theme
        One of `THEMES`.
    signal
        Columns of one signal are explained together.
    compute
        ``compute(history)`` or ``compute(history, argument)`` to an array (as_ofs, customers).
    over
        Windows in weeks, items, or the name of a list that is fixed at training.
    of
        Name (or beginning) of the level that a change is a change of: shown in its sentence.
    actionable
        Whether the company can act on it.
    categorical
        Whether values are texts.
    counts_down
        Whether values are weeks until a date that is known ahead.
    source
        Python source, part of the catalogue's fingerprint.
    """

    name: str
    label: str
    unit: str
    theme: str
    signal: str
    compute: Callable[..., Any]
    over: Over = None
    of: str | None = None
    actionable: bool = True
    categorical: bool = False
    counts_down: bool = False
    source: str = ""

    def columns(self, history: History) -> list[Column]:
        """Lay out the columns for the lists that `history` carries."""
        if self.over is None:
            return [Column(self.name, self, None, self.label)]
        if isinstance(self.over, tuple):
            items: tuple[Any, ...] = self.over
        elif self.over == "attributes":
            items = history.attribute_names()
        else:
            items = history.lists.get(self.over, ())
        columns = []
        for number, item in enumerate(items):
            if isinstance(item, int):
                name, words = f"{self.name}_{item}w", {"weeks": weeks_in_words(item)}
            else:
                name = self.name.replace("item", _plain(str(item)))
                name = f"{self.name}_{_plain(str(item))}" if name == self.name else name
                words = {"item": str(item), "ITEM": str(item).upper()}
            argument = number if self.over == "top_features" else item
            columns.append(Column(name, self, argument, self.label.format(**words)))
        return columns


@dataclass(frozen=True)
class Column:
    """One column of the feature matrix.

    Parameters
    ----------
    name
        Column name.
    feature
        Its definition.
    argument
        Window or item handed to the definition, None for neither.
    label
        The sentence with window or item filled in.
    """

    name: str
    feature: Feature
    argument: Any
    label: str

    def compute(self, history: History) -> Any:
        """Compute the column, shape (as_ofs, customers)."""
        if self.feature.over is None:
            return self.feature.compute(history)
        return self.feature.compute(history, self.argument)

    @property
    def of(self) -> str | None:
        """Name of the level column that this one is a change of."""
        if self.feature.of is None:
            return None
        if self.feature.of.endswith("_") and isinstance(self.argument, int):
            return f"{self.feature.of}{self.argument}w"
        return self.feature.of


def feature(
    *,
    unit: str,
    signal: str,
    theme: Literal["usage", "effort", "survey", "commercial", "profile"],
    over: Over = None,
    of: str | None = None,
    actionable: bool = True,
    categorical: bool = False,
    counts_down: bool = False,
) -> Callable[[Callable[..., Any]], Feature]:
    """Turn a function of a `History` into a `Feature`: name the column, docstring the label.

    Parameters
    ----------
    unit
        Unit of the values, in words.
    signal
        Columns of one signal are explained together.
    theme
        Theme of the signal.
    over
        Windows in weeks, items, or the name of a list fixed at training: one column for each.
    of
        Level column that a change is a change of; ending in ``_`` it takes the same window.
    actionable
        Whether the company can act on it.
    categorical
        Whether values are texts.
    counts_down
        Whether values are weeks until a date that is known ahead: what happens then is looked for
        in the weeks in which it lies.

    Examples
    --------
    >>> @feature(unit="events", signal="my signal", theme="usage", over=(4,))
    ... def my_events(history, weeks):
    ...     '''Events of mine in the last {weeks}.'''
    ...     return history.usage.total("events", weeks)
    >>> my_events.name, my_events.label
    ('my_events', 'Events of mine in the last {weeks}')
    """

    def wrap(compute: Callable[..., Any]) -> Feature:
        label = (compute.__doc__ or "").strip().split("\n")[0].rstrip(".")
        assert label, f"{compute.__name__}: the docstring is what a CS lead reads"
        try:
            source = inspect.getsource(compute)
        except OSError:  # typed into a console
            source = compute.__code__.co_code.hex()
        return Feature(
            compute.__name__,
            label,
            unit,
            theme,
            signal,
            compute,
            over,
            of,
            actionable,
            categorical,
            counts_down,
            source,
        )

    return wrap


def themed(theme: str) -> Callable[..., Callable[[Callable[..., Any]], Feature]]:
    """Return the `feature` decorator with its theme filled in."""

    def of_theme(**given: Any) -> Callable[[Callable[..., Any]], Feature]:
        def wrap(compute: Callable[..., Any]) -> Feature:
            return replace(feature(theme="usage", **given)(compute), theme=theme)

        return wrap

    return of_theme


def weeks_in_words(weeks: int) -> str:
    """Write a number of weeks as a person would.

    Examples
    --------
    >>> weeks_in_words(1), weeks_in_words(13)
    ('week', '13 weeks')
    """
    return "week" if weeks == 1 else f"{weeks} weeks"


def _plain(text: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split()) or "item"
