"""The flow: what `retain check`, `metrics`, `train`, `score`, `report` and `demo` do, step by step.

Jobs are plain functions that return frozen results. Each opens the company (`opening`), asks the
rooms below in order, and leaves files behind only when everything has worked (`store`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retain.jobs.acting import Queued, hand_off, open_actions, prove, queue
    from retain.jobs.backtesting import Backtested, backtest
    from retain.jobs.checking import Checked, check
    from retain.jobs.demonstrating import Demonstrated, demo
    from retain.jobs.effort import effort_costs
    from retain.jobs.forgetting import Forgotten, forget
    from retain.jobs.measuring import Measured, measure
    from retain.jobs.monitoring import Monitored, monitor
    from retain.jobs.promoting import Promoted, promote
    from retain.jobs.reporting import report
    from retain.jobs.scoring import Scored, score
    from retain.jobs.training import Trained, train
    from retain.jobs.watching import Watched, watch, watch_every

__all__ = [
    "Backtested",
    "Checked",
    "Demonstrated",
    "Forgotten",
    "Measured",
    "Monitored",
    "Promoted",
    "Queued",
    "Scored",
    "Trained",
    "Watched",
    "backtest",
    "check",
    "demo",
    "effort_costs",
    "forget",
    "hand_off",
    "measure",
    "monitor",
    "open_actions",
    "promote",
    "prove",
    "queue",
    "report",
    "score",
    "train",
    "watch",
    "watch_every",
]

_HOMES = {
    "Backtested": "backtesting",
    "backtest": "backtesting",
    "Checked": "checking",
    "check": "checking",
    "Demonstrated": "demonstrating",
    "demo": "demonstrating",
    "effort_costs": "effort",
    "Forgotten": "forgetting",
    "forget": "forgetting",
    "hand_off": "acting",
    "Measured": "measuring",
    "measure": "measuring",
    "Monitored": "monitoring",
    "monitor": "monitoring",
    "Promoted": "promoting",
    "open_actions": "acting",
    "promote": "promoting",
    "prove": "acting",
    "Queued": "acting",
    "queue": "acting",
    "report": "reporting",
    "Scored": "scoring",
    "score": "scoring",
    "Trained": "training",
    "train": "training",
    "Watched": "watching",
    "watch": "watching",
    "watch_every": "watching",
}


def __getattr__(name: str) -> Any:
    """Load a job when it is asked for: `check` must not wait for a model library."""
    if name not in _HOMES:
        raise AttributeError(f"module 'retain.jobs' has no attribute {name!r}")
    return getattr(import_module(f"retain.jobs.{_HOMES[name]}"), name)
