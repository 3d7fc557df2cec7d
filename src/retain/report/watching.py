"""A model under watch, for a terminal: champion and challenger, drift, promises and results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from retain.errors import some
from retain.report.terminal import Fitted, cell, defined, table_for
from retain.report.wording import NOTHING

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
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    left: int = 1,
) -> RenderableType:
    """Show rows as they are: the first `left` columns to the left, figures to the right.

    Parameters
    ----------
    title, header, rows, caption
        What is shown; cells are text already.
    left
        How many columns hold words.

    Returns
    -------
    rich renderable
    """
    kept = [list(row) for row in rows]

    def build(wide: bool, plain: bool) -> RenderableType:
        table = table_for(plain, title, caption)
        for number, name in enumerate(header):
            words = number < left
            table.add_column(
                name, justify="left" if words else "right", overflow="ellipsis", no_wrap=True
            )
        for row in kept:
            table.add_row(*(one if isinstance(one, Text) else cell(one, plain) for one in row))
        return table

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
        rows.append((name.replace("_", " "), shown, between, verdict))
    return rows_table(
        "Challenger minus champion, on the same customers", ("", "difference", "90 %", ""), rows
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
        table = table_for(plain, "What to do about the model")
        for name in ("", "", ""):
            table.add_column(name, overflow="fold")
        for one in kept:
            mark, letter, style = _MARKS[one.severity]
            sign = Text(letter if plain else mark, style=style)
            table.add_row(sign, cell(one.kind, plain, "bold"), cell(one.message, plain))
        return table

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
    return rows_table(
        "Features then and now: stability index by signal",
        ("signal", "column", "reading", "index", "chance", "weight", "mean then, now"),
        rows,
        caption="index: 0 alike, from 0.10 to be watched, from 0.25 shifted, unless chance alone "
        "reaches it; weight: how much the model leans on the signal",
        left=3,
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
                *(
                    _figure(row, name, share)
                    for name, share in (
                        ("auc", False),
                        ("capture_at_capacity", True),
                        ("mean_predicted", True),
                        ("observed", True),
                    )
                ),
            )
        )
    return rows_table(
        "Scored weeks: outcomes where final, else what to expect if the probabilities are right",
        (*("week", "model", "outcomes", "customers", "AUC", "captured"), "predicted", "left"),
        rows,
        caption="captured: share of leavers among the customers that the team can act on; in "
        "brackets what the model promised when it was trained",
        left=3,
    )


def hindsight_line(days: Sequence[date]) -> str:
    """Say how many scored weeks are left out since their model knew how they ended.

    Examples
    --------
    >>> hindsight_line([date(2024, 6, 2)])
    '1 week is left out (2024-06-02): scored in hindsight, by a model that had seen its outcomes'
    """
    count = "1 week is" if len(days) == 1 else f"{len(days):,} weeks are"
    whose = "its" if len(days) == 1 else "their"
    return (
        f"{count} left out ({some(days)}): scored in hindsight, by a model that had seen "
        f"{whose} outcomes"
    )


def _figure(row: Any, name: str, is_share: bool) -> str:
    show: Callable[[float], str] = (lambda v: f"{v:.1%}") if is_share else (lambda v: f"{v:.3f}")
    value, promised = defined(row[name]), defined(row.get(f"{name}_promised"))
    text = NOTHING if value is None else show(value)
    named = name in ("auc", "capture_at_capacity")
    return f"{text} ({show(promised)})" if named and promised is not None else text


def _pair(before: float, now: float) -> str:
    then, today = defined(before), defined(now)
    return ", ".join(NOTHING if one is None else f"{one:,.4g}" for one in (then, today))
