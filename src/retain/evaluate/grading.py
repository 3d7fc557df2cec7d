"""A grade for a churn model: a printed rule, each condition answered with its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["GRADES", "RULE", "Condition", "Grade", "grade_churn"]

STRONG_AUC, USEFUL_AUC = 0.70, 0.60
LEVEL = 0.02  # a calibration error that nobody acts on differently
MANY_LEFT, LEAST_LEFT = 100, 30
GRADES = {
    "A": "strong: order and level can both be relied on",
    "B": "useful: order and level hold, with less to spare",
    "C": "limited: it knows something; read the conditions that are not met before acting on it",
    "D": "not to be relied on: a simpler method does better, something gave the outcome away, or "
    "too few left to tell",
    "E": "no signal: what customers do does not tell who leaves",
}
RULE = (
    f"E: {LEAST_LEFT} or more left in the weeks judged, and the model is not told apart from "
    "chance (AUC's interval reaches 0.5, or log loss not below the base rate's beyond noise), "
    "or how long customers have been there orders them at least as well by itself. "
    f"D: fewer than {LEAST_LEFT} left, a simpler method is better beyond noise, or a leak was let "
    "through. "
    "C: none of these. "
    f"B: besides, AUC's lower end is at least {USEFUL_AUC:.2f} and the probabilities are level: "
    f"calibration error at most {LEVEL:.2f}, or no more than right probabilities would show with "
    "so few customers; and it orders better, beyond noise, than time as a customer alone. "
    f"A: besides, AUC's lower end is at least {STRONG_AUC:.2f}, at least {MANY_LEFT} left in the "
    "weeks judged, and the model is better beyond noise than the base rate and the recency rule. "
    "Beyond noise: the 90 % interval of the paired difference in log loss, customers drawn again, "
    "lies on one side of zero."
)


@dataclass(frozen=True)
class Condition:
    """One condition of the rule.

    Parameters
    ----------
    name, says
        What is asked, and the figures that answer it.
    met
        The answer.
    needed_for
        The grade that cannot be reached without it.
    """

    name: str
    says: str
    met: bool
    needed_for: str


@dataclass(frozen=True)
class Grade:
    """A grade with its reasons.

    Parameters
    ----------
    letter
        A (best) to E.
    meaning, reason
        What the letter stands for, and what decided it.
    conditions
        All of the rule, in its order.
    """

    letter: str
    meaning: str
    reason: str
    conditions: tuple[Condition, ...]


def grade_churn(
    figures: Mapping[str, Mapping[str, float]],
    differences: Mapping[str, Mapping[str, Mapping[str, float]]],
    *,
    chance_calibration_error: float,
    left: int,
    beyond_tenure: Mapping[str, float] | None = None,
    leaks_let_through: int = 0,
) -> Grade:
    """Grade a churn model by the rule in `RULE`.

    Parameters
    ----------
    figures
        From `churn_figures`, of the model.
    differences
        Baseline to `churn_differences` of the model minus it.
    chance_calibration_error
        From `calibration_by_chance`.
    left
        How many left in the weeks judged.
    beyond_tenure
        AUC of the model minus that of an order by time as a customer alone, paired; None where
        nobody's time is known or all have been there equally long.
    leaks_let_through
        Findings that would have stopped the training, had they not been let pass.

    Returns
    -------
    Grade

    Examples
    --------
    >>> auc = {"value": 0.8, "low": 0.75, "high": 0.85}
    >>> one = grade_churn(
    ...     {"auc": auc, "calibration_error": {"value": 0.01, "low": 0.0, "high": 0.02}},
    ...     {"base rate": {"log_loss": {"value": -0.1, "low": -0.2, "high": -0.05}}},
    ...     chance_calibration_error=0.01, left=400)
    >>> one.letter
    'A'
    """
    auc, error = figures["auc"], figures["calibration_error"]["value"]
    loss = {name: one["log_loss"] for name, one in differences.items()}
    worse = [name for name, one in loss.items() if one["low"] > 0]
    base = loss.get("base rate")
    simple = {name: loss[name] for name in ("base rate", "recency rule") if name in loss}
    not_beaten = [name for name, one in simple.items() if not one["high"] < 0]
    allowed = max(LEVEL, chance_calibration_error)
    between = f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
    conditions = (
        Condition("Tells leavers from stayers", f"AUC {between}", auc["low"] > 0.5, "D"),
        Condition(
            "Better than the base rate",
            "no base rate beside it" if base is None else f"log loss {_signed(base)} against it",
            base is not None and base["high"] < 0,
            "D",
        ),
        *_beyond(beyond_tenure),
        Condition(
            "No simpler method is better",
            "better beyond noise: " + ", ".join(worse)
            if worse
            else f"none of {len(loss)} is better beyond noise",
            not worse,
            "C",
        ),
        Condition(
            "Nothing gave the outcome away",
            f"{leaks_let_through} findings were let through"
            if leaks_let_through
            else "no finding was let through",
            not leaks_let_through,
            "C",
        ),
        Condition(
            "Enough left to tell", f"{left:,} left; at least {LEAST_LEFT}", left >= LEAST_LEFT, "C"
        ),
        Condition(
            "Orders usefully",
            f"lower end of AUC {auc['low']:.3f}; at least {USEFUL_AUC:.2f}",
            auc["low"] >= USEFUL_AUC,
            "B",
        ),
        Condition(
            "Probabilities are level",
            f"calibration error {error:.3f}; at most {allowed:.3f}",
            error <= allowed,
            "B",
        ),
        Condition(
            "Orders strongly",
            f"lower end of AUC {auc['low']:.3f}; at least {STRONG_AUC:.2f}",
            auc["low"] >= STRONG_AUC,
            "A",
        ),
        Condition("Many left", f"{left:,} left; at least {MANY_LEFT}", left >= MANY_LEFT, "A"),
        Condition(
            "Better than simple rules",
            "not beyond noise: " + ", ".join(not_beaten)
            if not_beaten
            else "better beyond noise than " + ", ".join(simple),
            not not_beaten,
            "A",
        ),
    )
    letters = list(GRADES)
    missing = [one for one in conditions if not one.met]
    worst = max((letters.index(one.needed_for) + 1 for one in missing), default=0)
    if left < LEAST_LEFT:
        worst = letters.index("D")  # too few to tell is not the same as no signal
    letter = letters[worst]
    decided = [one for one in missing if letters.index(one.needed_for) + 1 == worst]
    reason = "; ".join(f"{one.name.lower()}: no ({one.says})" for one in decided)
    return Grade(letter, GRADES[letter], reason or "every condition is met", conditions)


def _beyond(tenure: Mapping[str, float] | None) -> tuple[Condition, ...]:
    if tenure is None or tenure["value"] != tenure["value"]:
        return ()
    says = f"AUC {_signed(tenure)} against it"
    return (
        Condition("Says more than time as a customer", says, tenure["value"] > 0, "D"),
        Condition("Says so beyond noise", says, tenure["low"] > 0, "B"),
    )


def _signed(one: Mapping[str, Any]) -> str:
    return f"{one['value']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f})"
