"""A model under watch, for a terminal: champion and challenger, drift, promises and results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from retain.errors import many, some
from retain.report.fitting import Column, Fitted, Laid, cell
from retain.report.terminal import NAME_WIDTH, defined
from retain.report.wording import NOTHING, figure_name

__all__ = [
    "advice_table",
    "differences_table",
    "drift_table",
    "hindsight_line",
    "results_table",
    "rows_table",
]

_MARKS = {"retrain": ("✗", "x", "bold red"), "watch": ("!", "!", "yellow"), "fine": ("·", "-", "")}


def rows_table(
    title: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    elsewhere: str = "",
) -> RenderableType:
    """Show rows as they are, with as many columns as there is room for.

    Parameters
    ----------
    title, columns, rows, caption
        What is shown; cells are text already.
    elsewhere
        Where columns without room are found.

    Returns
    -------
    rich renderable
    """
    kept = [list(row) for row in rows]

    def build(wide: bool, plain: bool) -> RenderableType:
        lines = [[cell(one, plain) for one in row] for row in kept]
        return Laid(title, columns, lines, plain, caption, elsewhere)

    return Fitted(build)


def differences_table(differences: Mapping[str, Mapping[str, float]]) -> RenderableType:
    """Show challenger minus champion, figure by figure, with intervals.

    Parameters
    ----------
    differences
        Figure to value, low, high.

    Returns
    -------
    rich renderable
    """
    rows = []
    for name, one in differences.items():
        value, low, high = (defined(one[end]) for end in ("value", "low", "high"))
        between = NOTHING if low is None or high is None else f"{low:+.4f} – {high:+.4f}"
        verdict = "" if low is None or high is None or low <= 0 <= high else "beyond noise"
        shown = NOTHING if value is None else f"{value:+.4f}"
        rows.append((figure_name(name), shown, between, verdict))
    columns = (
        Column("", most=NAME_WIDTH),
        Column("difference", 0, is_right=True),
        Column("90 %", 2, is_right=True),
        Column("", 1),
    )
    return rows_table(
        "Challenger minus champion, on the same customers", columns, rows, elsewhere="the JSON file"
    )


def advice_table(advice: Iterable[Any]) -> RenderableType:
    """Show what monitoring advises: kind, severity, message; the gravest first.

    Parameters
    ----------
    advice
        Objects with kind, severity (retrain, watch, fine) and message.

    Returns
    -------
    rich renderable
    """
    kept = list(advice)

    def build(wide: bool, plain: bool) -> RenderableType:
        columns = (Column(""), Column("", style="bold"), Column("", 1, is_words=True))
        lines = []
        for one in kept:
            mark, letter, style = _MARKS[one.severity]
            sign = Text(letter if plain else mark, style=style)
            lines.append([sign, cell(one.kind, plain), cell(one.message, plain)])
        return Laid("What to do about the model", columns, lines, plain, has_header=False)

    return Fitted(build)


def drift_table(features: pd.DataFrame, most: int = 12) -> RenderableType:
    """Show the signals that have moved most.

    Parameters
    ----------
    features
        From `retain.drift.stability_by_signal`.
    most
        How many.

    Returns
    -------
    rich renderable
    """
    rows = [
        (
            row["signal"],
            row["column"],
            row["reading"],
            f"{row['index']:.2f}",
            f"{row['noise']:.2f}",
            f"{row['weight']:.0%}",
            _pair(row["mean_before"], row["mean_now"]),
        )
        for _, row in features.head(most).iterrows()
    ]
    columns = (
        Column("signal"),
        Column("column", 5),
        Column("reading", 1),
        Column("index", 2, is_right=True),
        Column("chance", 3, is_right=True),
        Column("weight", 4, is_right=True),
        Column("mean then, now", 6, is_right=True),
    )
    return rows_table(
        "Features then and now: stability index by signal",
        columns,
        rows,
        caption="index: 0 alike, from 0.10 to be watched, from 0.25 shifted, unless chance alone "
        "reaches it; weight: how much the model leans on the signal",
        elsewhere="monitor.json",
    )


def results_table(weeks: pd.DataFrame) -> RenderableType:
    """Show every scored week: what happened, or what is to be expected, beside what was promised.

    Parameters
    ----------
    weeks
        From `retain.jobs.monitor`.

    Returns
    -------
    rich renderable
    """
    rows = []
    for _, row in weeks.iterrows():
        is_known = bool(row["known"])
        rows.append(
            (
                row["as_of"],
                row["model"],
                "known" if is_known else "expected",
                f"{row['customers']:,}",
                _figure(row, "auc", _points),
                _ends(row, "auc", _points),
                _figure(row, "auc_promised", _points),
                _figure(row, "capture_at_capacity", _share),
                _figure(row, "capture_at_capacity_promised", _share),
                _figure(row, "mean_predicted", _share),
                _figure(row, "observed", _share) if is_known else NOTHING,  # not left: expected
            )
        )
    columns = (
        Column("week"),
        Column("model", 10),
        Column("outcomes", 1),
        Column("customers", 9, is_right=True),
        Column("AUC", 0, is_right=True),
        Column("interval", 6, is_right=True),
        Column("promised AUC", 2, is_right=True),
        Column("leavers caught", 5, is_right=True),
        Column("promised to catch", 7, is_right=True),
        Column("predicted", 4, is_right=True),
        Column("left", 3, is_right=True),
    )
    return rows_table(
        "Scored weeks: outcomes where final, else what to expect if the probabilities are right",
        columns,
        rows,
        caption="leavers caught: share of them among the customers that the team can act on in a "
        "week, riskiest first; promised: when the model was trained",
        elsewhere="monitor.json",
    )


def hindsight_line(days: Sequence[date]) -> str:
    """Say how many scored weeks are left out since their model knew how they ended.

    Examples
    --------
    >>> hindsight_line([date(2024, 6, 2)])
    '1 week is left out (2024-06-02): scored in hindsight, by a model that had seen its outcomes'
    """
    count = many(len(days), "week is", "weeks are")
    whose = "its" if len(days) == 1 else "their"
    return (
        f"{count} left out ({some(days)}): scored in hindsight, by a model that had seen "
        f"{whose} outcomes"
    )


def _points(value: float) -> str:
    return f"{value:.3f}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _figure(row: Any, name: str, show: Callable[[float], str]) -> str:
    value = defined(row.get(name))
    return NOTHING if value is None else show(value)


def _ends(row: Any, name: str, show: Callable[[float], str]) -> str:
    ends = [_figure(row, f"{name}_{end}", show) for end in ("low", "high")]
    return NOTHING if NOTHING in ends else " – ".join(ends)


def _pair(before: float, now: float) -> str:
    then, today = defined(before), defined(now)
    return ", ".join(NOTHING if one is None else f"{one:,.4g}" for one in (then, today))
