"""A period's metrics for a terminal: by theme, readable in ten seconds, 80 columns or 140."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from retain.metrics import NO_SEGMENT
from retain.report.figures import interval, shown, since
from retain.report.fitting import Column, Fitted, Laid, cell
from retain.report.lines import strip
from retain.report.wording import NOTHING

__all__ = ["scoreboard"]

_HUES = {True: "green", False: "red", None: "dim"}


def scoreboard(card: Mapping[str, Any]) -> RenderableType:
    """Show every metric of a period.

    Parameters
    ----------
    card
        What `metrics.json` holds.

    Returns
    -------
    rich renderable
        One line per metric: value, target, change, trend; at 118 columns and more also interval
        and n. Then a table for each column split by.
    """

    def build(wide: bool, plain: bool) -> RenderableType:
        judged = [one["target_met"] for one in card["metrics"] if one["target_met"] is not None]
        title = f"{card['company']}, {card['period']['title']}"
        if judged:
            title += f": {sum(judged)} of {len(judged)} targets met"
        left_out = f"{len(card['left_out'])} left out; " if card["left_out"] else ""
        since = card["periods"][0]
        caption = f"{left_out}trend from {since}; how each was computed: scorecard.html"
        columns = [
            Column("Metric", most=34 if wide else 30),
            *([Column("Definition", 6, style="dim", most=14)] if wide else []),
            Column("Value", is_right=True),
            *([Column("Interval", 4, is_right=True, style="dim")] if wide else []),
            *([Column("Target", 1, is_right=True)] if judged else []),
            Column("Before", 2, is_right=True),
            Column("Trend", 3),
            *([Column("n", 5, is_right=True, style="dim")] if wide else []),
        ]
        lines, sections = list[list[Text]](), list[int]()
        theme = None
        for one in card["metrics"]:
            if one["theme"] != theme:
                if theme is not None:
                    sections.append(len(lines))
                theme = one["theme"]
                lines.append([cell(str(theme).upper(), plain, "bold cyan")])
            lines.append(_row(one, wide, plain, bool(judged)))
        table = Laid(
            title, columns, lines, plain, caption, "scorecard.html", sections=tuple(sections)
        )
        return Group(table, *(_split(card, by, wide, plain) for by in card["by"]))

    return Fitted(build)


def _split(card: Mapping[str, Any], by: str, wide: bool, plain: bool) -> RenderableType:
    """Show every metric by the segments of one column, as many as fit."""
    found = {
        at: {line["by"][by]: line for line in one["segments"] if by in line["by"]}
        for at, one in enumerate(card["metrics"])
    }
    names = list(
        dict.fromkeys(
            name
            for lines in found.values()
            for name, line in lines.items()
            if name != NO_SEGMENT or line["value"] is not None
        )
    )
    shown_names = names[: 6 if wide else 3]
    more = len(names) - len(shown_names)
    columns = [
        Column("Metric", most=44 if wide else 30),
        *(Column(name, at, is_right=True) for at, name in enumerate(("All", *shown_names))),
    ]
    lines = [
        [
            cell(one["label"], plain),
            *(
                cell("" if line is None else shown(line["value"], line["unit"]), plain)
                for line in (one, *(found[at].get(name) for name in shown_names))
            ),
        ]
        for at, one in enumerate(card["metrics"])
        if found[at]
    ]
    caption = f"{more} more in scorecard.html" if more else ""
    return Laid(f"\nBy {by}", columns, lines, plain, caption, "scorecard.html")


def _row(one: Mapping[str, Any], wide: bool, plain: bool, targets: bool) -> list[Text]:
    unit = one["unit"]
    values = [step["value"] for step in one["trend"]]
    known = one["value"] is not None
    name = cell(one["label"], plain)
    if not known:
        name.append_text(cell(f"  {one['undefined_because']}", plain, "dim"))
    row = [name]
    if wide:
        row.append(cell(one["variant"].replace("_", " "), plain))
    row.append(cell(shown(one["value"], unit), plain, "bold" if known else "dim"))
    if wide:
        row.append(cell(interval(one["low"], one["high"], unit), plain))
    if targets:
        row.append(_target(one, plain))
    moved, better = since(one)
    row.append(cell(moved or NOTHING, plain, _HUES[better]))
    row.append(Text(strip(values, plain), style="cyan"))
    if wide:
        low = "!" if any("low n" in note for note in one["notes"]) else ""
        row.append(cell(f"{one['n']:,}{low}", plain))
    return row


def _target(one: Mapping[str, Any], plain: bool) -> Text:
    if one["target"] is None:
        return Text("")
    aim = {"lower is better": "<= " if plain else "≤ "}.get(
        one["direction"], ">= " if plain else "≥ "
    )
    text = cell(aim + shown(one["target"], one["unit"]), plain)
    met = one["target_met"]
    if met is not None:
        mark = ("ok" if met else "no") if plain else ("✓" if met else "✗")
        text.append(f" {mark}", style="green" if met else "red")
    return text
