"""What people read: the weekly page, the scorecard, the terminal's tables and the model's plots.

`write_report` writes the page, `write_scorecard` the scorecard; `retain.report.terminal` builds
rich tables, and `retain.report.charts` matplotlib figures.
"""

from retain.report.customers import FULL_DETAIL, MOST_LISTED
from retain.report.page import render_report, write_report
from retain.report.scorecard import render_scorecard, write_scorecard

__all__ = [
    "FULL_DETAIL",
    "MOST_LISTED",
    "render_report",
    "render_scorecard",
    "write_report",
    "write_scorecard",
]
