"""Customers with high effort beside those with low effort: the lines, and what they assume."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from retain.effort_value.adjusted import adjusted_difference
from retain.effort_value.lines import EffortLine
from retain.effort_value.observed import Interval, case_costs, observed_difference

__all__ = ["LEAST_CUSTOMERS", "Compared", "Outcome", "case_lines", "effort_lines"]

LEAST_CUSTOMERS = 30
AS_FOUND = (
    "As found. Customers who met more effort differ in other ways, too, and nothing is adjusted "
    "for. The interval resamples customers."
)
CLUSTERS = "Customers do not influence one another; one customer's quarters count as one draw."
WEIGHTS = (
    "Customers differ: this is their mean, weighted by how little their effort could be foreseen."
)
LINEAR = "Every point counts alike, the first as much as the tenth."
BY_DEFINITION = (
    "As found. Part of it holds by definition: a case with more contacts takes more minutes. The "
    "interval resamples customers."
)


@dataclass(frozen=True)
class Compared:
    """Who is compared: rows are customers in some weeks of effort.

    Parameters
    ----------
    X
        What was known before the effort, float array of shape (rows, columns).
    signals
        Name of the signal of each column.
    who
        Customer of each row, whole numbers.
    high
        Whether the customer met a high-effort case in those weeks: 0 or 1, shape (rows,).
    points
        Points of effort met in those weeks, shape (rows,).
    """

    X: Any
    signals: tuple[str, ...]
    who: Any
    high: Any
    points: Any


@dataclass(frozen=True)
class Outcome:
    """What became of the customers.

    Parameters
    ----------
    name, label, unit
        For programs, for readers, and the unit of the values.
    values
        Shape (rows,); nan where it is not known.
    by
        ``high``: compared between high and low effort; ``points``: per point of effort.
    sign
        -1 turns "per point more" into "per point less".
    """

    name: str
    label: str
    unit: str
    values: Any
    by: str = "high"
    sign: int = 1


def effort_lines(
    compared: Compared,
    outcomes: Iterable[Outcome],
    *,
    level: float = 0.95,
    seed: int = 0,
    adjust: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> list[EffortLine]:
    """Compare each outcome as found, then among customers who were alike.

    Parameters
    ----------
    compared
        Who is compared.
    outcomes
        What became of them.
    level, seed
        Of the intervals.
    adjust
        False leaves the adjusted lines out.
    progress
        Told the label of each outcome before it is estimated.

    Returns
    -------
    list of EffortLine
        One observed line per outcome and, with `adjust`, an adjusted one.

    Raises
    ------
    RetainError
        When adjusted lines are asked for and the library is not installed.
    """
    lines = []
    for outcome in outcomes:
        progress(outcome.label)
        known = ~np.isnan(outcome.values)
        effort = compared.high if outcome.by == "high" else compared.points
        d, y, who = effort[known], outcome.sign * outcome.values[known], compared.who[known]
        why = _too_few(d, y, who)
        if why:
            lines += [_line(outcome, "observed", None, why, level)]
            lines += [_line(outcome, "adjusted", None, why, level)] if adjust else []
            continue
        seen = observed_difference(d, y, who, level=level, seed=seed)
        lines.append(_line(outcome, "observed", seen, "", level, (AS_FOUND,)))
        if not adjust:
            continue
        X = compared.X[known]
        found = adjusted_difference(X, compared.signals, d, y, who, level=level, seed=seed)
        kinds = len(set(compared.signals))
        assumed = (
            "Compared among customers who were alike in what was known before those weeks and "
            f"raised as many cases in them ({X.shape[1]} columns of {kinds} signals). Whatever "
            "else drives both effort and outcome is not taken out: see the hidden cause.",
            WEIGHTS if outcome.by == "high" else LINEAR,
            CLUSTERS,
            f"What was known foresaw {_share(found.effort_explained)} of effort and "
            f"{_share(found.outcome_explained)} of the outcome, for customers whom the models "
            "had not seen.",
        )
        held = Interval(found.value, found.low, found.high, found.n, found.customers)
        lines.append(_line(outcome, "adjusted", held, "", level, assumed, found.hidden))
    return lines


def case_lines(
    cases: Any, currency: str, rate_per_minute: float | None, *, level: float = 0.95, seed: int = 0
) -> list[EffortLine]:
    """Say what a high-effort case costs beside a low-effort one.

    Parameters
    ----------
    cases
        What `cases_by_customer` returned.
    currency
        Unit of money.
    rate_per_minute
        Loaded rate, currency per minute; None gives minutes.
    level, seed
        Of the intervals.
    """
    unit = "minutes per case" if rate_per_minute is None else f"{currency} per case"
    rate = 1.0 if rate_per_minute is None else rate_per_minute
    at = "" if rate_per_minute is None else f" (minutes x {rate_per_minute:g} {currency})"
    found = case_costs(
        cases["is_high"],
        cases["cases"],
        cases["minutes"],
        cases["customer_id"],
        rate_per_minute=rate,
        level=level,
        seed=seed,
    )
    labels = {
        "high": f"Handling a high-effort case{at}",
        "low": f"Handling a low-effort case{at}",
        "difference": "A high-effort case costs more than a low-effort one by",
    }
    lines = []
    for kind, label in labels.items():
        of = Outcome(f"case_cost_{kind}", label, unit, None)
        missing = np.isnan(found[kind].value)
        why = "there are no such cases" if missing else ""
        held = None if missing else found[kind]
        line = _line(of, "observed", held, why, level, (BY_DEFINITION,))
        lines.append(replace(line, n_of="cases"))
    return lines


def _line(
    outcome: Outcome,
    kind: Any,
    held: Interval | None,
    why: str,
    level: float,
    assumptions: tuple[str, ...] = (),
    hidden: Any = None,
) -> EffortLine:
    if held is None:
        return EffortLine(
            outcome.name,
            outcome.label,
            kind,
            None,
            None,
            None,
            outcome.unit,
            level,
            undefined_because=why,
        )
    return EffortLine(
        outcome.name,
        outcome.label,
        kind,
        held.value,
        held.low,
        held.high,
        outcome.unit,
        level,
        held.n,
        held.customers,
        assumptions=assumptions,
        hidden=hidden,
    )


def _too_few(effort: Any, outcome: Any, who: Any) -> str:
    """Say why nothing can be compared; nothing where it can."""
    more, less = (len(np.unique(who[rows])) for rows in (effort > 0, effort <= 0))
    if min(more, less) < LEAST_CUSTOMERS:
        return (
            f"{more} customers with effort and {less} without; at least {LEAST_CUSTOMERS} of each "
            "are needed"
        )
    if np.ptp(outcome) == 0:
        return f"the outcome was {outcome[0]:g} for everyone"
    return ""


def _share(explained: float) -> str:
    return f"{100 * max(explained, 0.0):.0f} %"
