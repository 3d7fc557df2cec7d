"""What each customer is worth, who is about to leave, why, and what it would pay to keep them.

The verbs of the command line are functions here: DataFrames in and out. Nothing heavy is imported
until a verb is used. `demo` and `report` are in `retain.jobs`: here rooms go by these names. What
`retain metrics` does is `measure`: `retain.metrics` are the calculators.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retain.config import Config, load_config
    from retain.errors import RetainError
    from retain.features import FEATURES, Feature, feature
    from retain.jobs import (
        Backtested,
        Checked,
        Demonstrated,
        Measured,
        Monitored,
        Promoted,
        Scored,
        Trained,
        backtest,
        check,
        measure,
        monitor,
        promote,
        score,
        train,
    )
    from retain.weeks import History

__version__ = "0.1.0"

_HOMES = {
    "Config": "config",
    "load_config": "config",
    "RetainError": "errors",
    "FEATURES": "features",
    "Feature": "features",
    "feature": "features",
    "History": "weeks",
    **dict.fromkeys(
        (
            "Backtested",
            "Checked",
            "Demonstrated",
            "Measured",
            "Monitored",
            "Promoted",
            "Scored",
            "Trained",
            "backtest",
            "check",
            "measure",
            "monitor",
            "promote",
            "score",
            "train",
        ),
        "jobs",
    ),
}
__all__ = [
    "FEATURES",
    "Backtested",
    "Checked",
    "Config",
    "Demonstrated",
    "Feature",
    "History",
    "Measured",
    "Monitored",
    "Promoted",
    "RetainError",
    "Scored",
    "Trained",
    "backtest",
    "check",
    "feature",
    "load_config",
    "measure",
    "monitor",
    "promote",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'retain' has no attribute {name!r}")
    return getattr(import_module(f"retain.{_HOMES[name]}"), name)
