"""Why each customer has the number on the page: SHAP values, merged into signals, as sentences."""

from retain.explain.drivers import Peers, driver_table, peers_of
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
    "Peers",
    "Signals",
    "TreeShap",
    "additive_in_currency",
    "additive_in_probability",
    "describe",
    "driver_table",
    "format_value",
    "peers_of",
    "signal_contributions",
    "stability_of",
    "summary_figure",
    "theme_totals",
]
