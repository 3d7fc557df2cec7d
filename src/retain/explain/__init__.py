"""Why each customer has the number on the page: SHAP values, merged into signals, as sentences."""

from retain.explain.drivers import Draft, Peers, draft_drivers, peers_of, tell_drivers
from retain.explain.sentences import describe, format_value
from retain.explain.shapley import (
    Signals,
    additive_in_currency,
    additive_in_probability,
    signal_contributions,
    stability_of,
    summary_figure,
    theme_totals,
)
from retain.explain.treeshap import TreeShap

__all__ = [
    "Draft",
    "Peers",
    "Signals",
    "TreeShap",
    "additive_in_currency",
    "additive_in_probability",
    "describe",
    "draft_drivers",
    "format_value",
    "peers_of",
    "signal_contributions",
    "stability_of",
    "summary_figure",
    "tell_drivers",
    "theme_totals",
]
