"""What a calculator is: a pure function of tables and a period, with a place in the catalogue."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Generic, Literal, ParamSpec

from retain.errors import TableError
from retain.metrics.result import Direction, Metric

__all__ = ["THEMES", "Calculator", "Theme", "check_choice", "metric"]

Given = ParamSpec("Given")
Theme = Literal["opinions", "service", "revenue", "customers", "product", "value"]
THEMES: tuple[Theme, ...] = ("opinions", "service", "revenue", "customers", "product", "value")


class Calculator(Generic[Given]):
    """A calculator: called as the function that it is, described for the catalogue.

    It is called as ``calculator(*tables, period, *, by=None, variant=..., customers=None, ...)``,
    the tables in the order of `needs`.

    Attributes
    ----------
    name
        Name of the function and of its metric.
    label
        What a reader sees.
    unit, direction
        Of the default variant; the `Metric` says those of each.
    needs
        Tables, in the order of its first arguments.
    variants
        Named definitions, the default first.
    theme
        Where it stands on a scorecard.
    """

    def __init__(
        self,
        compute: Callable[Given, Metric],
        label: str,
        unit: str,
        direction: Direction,
        needs: tuple[str, ...],
        variants: tuple[str, ...],
        theme: Theme,
    ) -> None:
        functools.update_wrapper(self, compute)
        self.compute = compute
        self.name = compute.__name__
        self.label, self.unit, self.direction = label, unit, direction
        self.needs, self.variants, self.theme = needs, variants, theme

    def __call__(self, *given: Given.args, **named: Given.kwargs) -> Metric:
        """Compute the metric, by a variant that is known."""
        check_choice(self.name, "variant", named.get("variant", self.variants[0]), self.variants)
        return self.compute(*given, **named)

    def __repr__(self) -> str:
        return f"<metric {self.name}>"


def check_choice(name: str, argument: str, found: object, choices: Iterable[object]) -> None:
    """Refuse an argument of a calculator that is none of its choices.

    Raises
    ------
    TableError
        Naming the choices.

    Examples
    --------
    >>> check_choice("nps", "variant", "latest", ("latest", "all"))
    """
    if found not in tuple(choices):
        raise TableError(
            f"{name}: {argument} should be one of {', '.join(map(str, choices))}; found {found!r}"
        )


def metric(
    *,
    label: str,
    unit: str,
    direction: Direction,
    needs: tuple[str, ...],
    variants: tuple[str, ...],
    theme: Theme,
) -> Callable[[Callable[Given, Metric]], Calculator[Given]]:
    """Turn a function of tables and a period into a `Calculator`; it registers nothing.

    Parameters
    ----------
    label
        What a reader sees.
    unit, direction
        Of the default variant.
    needs
        Tables, in the order of the function's first arguments.
    variants
        Named definitions, the default first.
    theme
        One of `THEMES`.

    Examples
    --------
    >>> @metric(label="Answers", unit="count", direction="higher is better", needs=("surveys",),
    ...         variants=("all",), theme="opinions")
    ... def answers(surveys, period):
    ...     return Metric("answers", "all", len(surveys), "count", "higher is better")
    >>> answers, answers.needs, answers(["yes", "no"], None).value
    (<metric answers>, ('surveys',), 2)
    """

    def wrap(compute: Callable[Given, Metric]) -> Calculator[Given]:
        return Calculator(compute, label, unit, direction, needs, variants, theme)

    return wrap
