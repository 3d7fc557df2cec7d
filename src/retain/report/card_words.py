"""How a model card says its figures: with their intervals, a dash where there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from retain.report.terminal import defined
from retain.report.wording import NOTHING

__all__ = [
    "FIGURES",
    "between",
    "flat",
    "number",
    "or_nan",
    "percent",
    "side_of_zero",
    "signed",
    "with_range",
]

FIGURES = (  # name, what it is called, share or not, which direction is good
    ("auc", "AUC", False, "higher"),
    ("average_precision", "PR-AUC", False, "higher"),
    ("log_loss", "Log loss", False, "lower"),
    ("brier", "Brier score", False, "lower"),
    ("calibration_error", "Calibration error", False, "lower"),
    ("lift_top_tenth", "Lift of the riskiest tenth", False, "higher"),
    ("mean_predicted", "Predicted to leave", True, ""),
    ("observed", "Left", True, ""),
)


def number(value: Any, places: int = 3) -> str:
    """Show a figure, or a dash where there is none."""
    known = defined(value)
    if known is None:
        return NOTHING
    return f"{known:,.0f}" if abs(known) >= 100 else f"{known:.{places}f}"


def percent(value: Any) -> str:
    """Show a share in percent, or a dash."""
    known = defined(value)
    return NOTHING if known is None else f"{known:.1%}"


def signed(value: Any) -> str:
    """Show a difference with its sign, or a dash."""
    known = defined(value)
    return NOTHING if known is None else f"{known:+.4f}"


def or_nan(value: Any) -> float:
    """Give a number to draw; nan where there is none."""
    known = defined(value)
    return math.nan if known is None else known


def between(one: Mapping[str, Any], show: Any = number) -> str:
    """Show the ends of an interval; nothing where there is none."""
    ends = [show(one.get(end)) for end in ("low", "high")]
    return "" if NOTHING in ends else " – ".join(ends)


def with_range(one: Mapping[str, Any] | None, is_share: bool = False) -> tuple[str, str]:
    """Show a value, and its interval as the hint below it."""
    if one is None:
        return NOTHING, ""
    show = percent if is_share else number
    return show(one["value"]), between(one, show)


def flat(row: Mapping[str, Any], name: str, is_share: bool) -> tuple[str, str]:
    """Show a figure whose ends stand beside it in a row."""
    ends = {"value": row.get(name), "low": row.get(f"{name}_low"), "high": row.get(f"{name}_high")}
    return with_range(ends, is_share)


def side_of_zero(one: Mapping[str, Any]) -> str:
    """Say on which side of zero a difference of losses lies: below is better."""
    low, high = defined(one["low"]), defined(one["high"])
    if low is None or high is None:
        return "undefined"
    return "better" if high < 0 else "worse" if low > 0 else "not told apart"
