"""The customer-week: raw rows folded once, and the `History` that looks backwards along them."""

from retain.weeks.calendar import Calendar
from retain.weeks.fold import FOLDS, fold_tables
from retain.weeks.history import History
from retain.weeks.panel import Missing, Panel
from retain.weeks.rows import FoldedWeeks, PanelRows
from retain.weeks.usual import UsualWeeks, read_usual

__all__ = [
    "FOLDS",
    "Calendar",
    "FoldedWeeks",
    "History",
    "Missing",
    "Panel",
    "PanelRows",
    "UsualWeeks",
    "fold_tables",
    "read_usual",
]
