"""What people read: the weekly page, the terminal's tables and the model's plots.

One door: `write_report` for the page; `retain.report.terminal` builds rich tables, and
`retain.report.charts` matplotlib figures.
"""

from retain.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
