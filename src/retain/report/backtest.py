"""The back-test as a page and as terminal tables: week by week what would have been caught."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import RenderableType

from retain.report.document import Cell, Chapter, Document, Drawn, Grid, write_document
from retain.report.fitting import Column
from retain.report.plots import Series, draw_points
from retain.report.terminal import defined
from retain.report.watching import rows_table
from retain.report.wording import NOTHING, figure_name

__all__ = ["PROFIT_OF_ONE_LIST", "backtest_document", "meanings", "weeks_table", "write_backtest"]

OURS = "retain"
_SHOWN = tuple(  # figure, its name, whether it is a share
    (key, figure_name(key), key in ("capture_at_capacity", "capture_by_value", "value_captured"))
    for key in (
        *("auc", "average_precision", "brier", "lift_top_tenth"),
        *("capture_at_capacity", "capture_by_value", "value_captured", "profit_per_week"),
    )
)
_RANKS = {  # in a terminal that has no room for all: which are taken up first, after AUC
    "capture_by_value": 3,
    "capture_at_capacity": 4,
    "value_captured": 6,
    "profit_per_week": 7,
    "average_precision": 9,
    "brier": 10,
    "lift_top_tenth": 11,
}
PROFIT_OF_ONE_LIST = (
    "Profit is that of one week's list: its leavers leave over the whole horizon of {horizon} "
    "weeks, and next week's list holds mostly the same customers. Weeks must not be added up."
)
TERMS = (
    (
        "As if live",
        "For each week a model learnt only from what was known on that evening, then everybody "
        "eligible was scored, and the outcomes of the following weeks were waited for.",
    ),
    (
        "Leavers caught",
        "Share of all who left within the horizon who were among the first customers of the list, "
        "as many as the team can act on in a week.",
    ),
    (
        "Riskiest first, most value at risk first",
        "The order of the list that is cut at the team's capacity: by probability, or by "
        "probability times the customer's yearly margin. The list that the team works on, "
        "`retain queue`, is ordered by value at risk: it leaves out leavers of little value for "
        "those of much.",
    ),
    (
        "Value caught",
        "Share of the yearly margin of all who left within the horizon that was on the list.",
    ),
    ("Interval", "Nine of ten samples of customers would give a figure within the range."),
    (
        "Expected",
        "Of weeks whose outcomes are not final: what would come out if the probabilities are "
        "right. A model that is wrong will miss it.",
    ),
    (
        "Not persuasion",
        "Who is at risk is not who can be kept. Only a hold-out shows what reaching out changes.",
    ),
)


def _shown(value: Any, is_share: bool) -> str:
    known = defined(value)
    if known is None:
        return NOTHING
    if is_share:
        return f"{known:.0%}"
    return f"{known:,.0f}" if abs(known) >= 100 else f"{known:.3f}"


def _between(one: Mapping[str, Any], is_share: bool) -> str:
    ends = [_shown(one.get(end), is_share) for end in ("low", "high")]
    return "" if NOTHING in ends else " – ".join(ends)


def _by_week(weeks: Sequence[Mapping[str, Any]], method: str) -> dict[str, dict[str, Any]]:
    """Give week to figure to its row, for one method."""
    out: dict[str, dict[str, Any]] = {}
    for row in weeks:
        if row["method"] == method:
            out.setdefault(str(row["as_of"]), {})[str(row["figure"])] = row
    return out


def weeks_table(weeks: pd.DataFrame, learnt: pd.DataFrame, best: str = "") -> RenderableType:
    """Show every replayed week for a terminal: as many figures as there is room for.

    Parameters
    ----------
    weeks, learnt
        From `retain.jobs.backtest`.
    best
        The baseline that AUC is shown beside.

    Returns
    -------
    rich renderable
    """
    records = _records(weeks)
    found, others = _by_week(records, OURS), _by_week(records, best)
    shown = [one for one in _SHOWN[1:] if any(one[0] in figures for figures in found.values())]
    rows = []
    for week in learnt.to_dict("records"):
        day, known = str(week["as_of"]), bool(week["known"])
        figures = found[day]
        rows.append(
            [
                day,
                "known" if known else "expected",
                f"{week['customers']:,}",
                f"{int(week['left']):,}" if known else NOTHING,
                _with_ends(figures["auc"]),
                *([_with_ends(others.get(day, {}).get("auc"))] if best else []),
                *(_shown(figures[name]["value"], is_share) for name, _, is_share in shown),
            ]
        )
    columns = [
        Column("week"),
        Column("outcomes", 1),
        Column("customers", 8, is_right=True),
        Column("left", 5, is_right=True),
        Column("AUC", 0, is_right=True),
        *([Column(f"AUC of {best}", 2, is_right=True)] if best else []),
        *(Column(name, _RANKS[key], is_right=True) for key, name, _ in shown),
    ]
    return rows_table("Past weeks as if live", columns, rows, elsewhere="backtest.html")


def _with_ends(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return NOTHING
    between = _between(one, False).replace(" ", "")
    return f"{_shown(one['value'], False)} ({between})" if between else _shown(one["value"], False)


def meanings(horizon_weeks: int) -> dict[str, str]:
    """Say what each figure of ``backtest.json`` is, in the words of the page."""
    said = {key: name for key, name, _ in _SHOWN}
    return said | {"profit_per_week": PROFIT_OF_ONE_LIST.format(horizon=horizon_weeks)}


def backtest_document(told: Mapping[str, Any]) -> Document:
    """Lay out the page.

    Parameters
    ----------
    told
        What ``backtest.json`` holds, or the result as a mapping.

    Returns
    -------
    Document
    """
    weeks = _records(told["weeks"])
    learnt = _records(told["learnt"])
    overall = {row["name"]: row for row in told["overall"]}
    final = [row for row in learnt if row["known"]]
    open_ = [row for row in learnt if not row["known"]]
    ours = overall.get(OURS, {})
    best = told["best_baseline"]
    capacity, horizon = told["capacity_per_week"], told["horizon_weeks"]
    if ours:
        by_value = "capture_by_value" in ours
        caught = _shown(ours["capture_by_value" if by_value else "capture_at_capacity"], True)
        order = "most value at risk first" if by_value else "riskiest first"
        headline = (
            f"With {capacity:,} customers a week, {order}, the team would have met {caught} of "
            f"those who left within {horizon} weeks"
        )
        loss = told["differences"]["log_loss"]
        verdict = (
            "better beyond noise than"
            if loss["high"] < 0
            else "worse beyond noise than"
            if loss["low"] > 0
            else "not told apart from"
        )
        lead = (
            f"{len(final)} past weeks with known outcomes, {len(open_)} not final yet. By log loss "
            f"the model is {verdict} the best baseline, {best}."
        )
    else:
        headline = "No replayed week has final outcomes yet"
        lead = f"{len(open_)} weeks are replayed; below is what to expect of them."
    figures = [
        (
            name,
            _shown(ours.get(key), is_share),
            _between({"low": ours.get(f"{key}_low"), "high": ours.get(f"{key}_high")}, is_share),
        )
        for key, name, is_share in _SHOWN
        if ours and key in ours and key != "lift_top_tenth"  # in the tables below
    ]
    chapters = [
        Chapter(
            "weeks",
            "Week by week",
            drawings=_drawings(weeks, learnt, best),
            grids=[_week_grid(weeks, learnt)],
        )
    ]
    if overall:
        chapters.append(
            Chapter(
                "methods",
                "Beside simpler methods",
                ("The same weeks, rows and features for all; everything together.",),
                grids=[_method_grid(overall), _difference_grid(told["differences"], best)],
            )
        )
    chapters.append(Chapter("profit", "Profit", _about_profit(told)))
    notes = [told["chosen"]] if told["chosen"] else []
    if told["too_early"]:
        notes.append(
            f"{told['too_early']} earlier weeks are left out: too few customers had left by then "
            "to learn from."
        )
    return Document(
        told["company"],
        "Back-test",
        f"as of {told['as_of']}",
        headline,
        lead,
        figures,
        chapters,
        notes,
        TERMS,
        "",
    )


def write_backtest(path: str | Path, told: Mapping[str, Any]) -> Path:
    """Write the page of a back-test; see `backtest_document` for what it takes.

    Returns
    -------
    Path
        The file written.
    """
    return write_document(path, backtest_document(told))


def _records(rows: Any) -> list[dict[str, Any]]:
    listed = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    return [{str(name): value for name, value in row.items()} for row in listed]


def _drawings(
    weeks: Sequence[Mapping[str, Any]], learnt: Sequence[Mapping[str, Any]], best: str
) -> list[Drawn]:
    days = [str(row["as_of"]) for row in learnt]
    known = {str(row["as_of"]): bool(row["known"]) for row in learnt}
    ours, other = _by_week(weeks, OURS), _by_week(weeks, best)
    drawn = []
    for key, name, is_share in _SHOWN:
        if key not in ("auc", "capture_at_capacity", "capture_by_value", "value_captured"):
            continue
        if not any(key in ours[day] for day in days):
            continue
        series = []
        for label, found, want_known, tone in (
            (OURS, ours, True, "ours"),
            ("expected, not final", ours, False, "expected"),
            (best, other, True, "other"),
        ):
            rows = [
                found.get(day, {}).get(key) if known[day] is want_known else None for day in days
            ]
            if not any(rows):
                continue
            ends = {
                end: [math.nan if row is None else _number(row[end]) for row in rows]
                for end in ("value", "low", "high")
            }
            without = [math.nan] * len(days)
            series.append(
                Series(
                    label,
                    list(range(len(days))),
                    ends["value"],
                    without if tone == "other" else ends["low"],
                    without if tone == "other" else ends["high"],
                    tone,
                )
            )
        plot = draw_points(
            series,
            says=f"{name} by week, {days[0]} to {days[-1]}; the table below holds the figures",
            first=days[0],
            last=days[-1],
            show=lambda value, is_share=is_share: _shown(value, is_share),
        )
        drawn.append(Drawn(name, plot))
    return drawn


def _number(value: Any) -> float:
    known = defined(value)
    return math.nan if known is None else known


def _week_grid(weeks: Sequence[Mapping[str, Any]], learnt: Sequence[Mapping[str, Any]]) -> Grid:
    found = _by_week(weeks, OURS)
    shown = [one for one in _SHOWN if any(one[0] in figures for figures in found.values())]
    rows: list[list[Cell]] = []
    for week in learnt:
        figures = found[str(week["as_of"])]
        is_known = bool(week["known"])
        rows.append(
            [
                (str(week["as_of"]), "" if is_known else "expected, not final"),
                f"{week['customers']:,}",
                f"{int(week['left']):,}" if is_known else NOTHING,
                f"{week['learnt_rows']:,}",
                *(
                    (_shown(figures[key]["value"], share), _between(figures[key], share))
                    for key, _, share in shown
                ),
            ]
        )
    return Grid(
        "Each week with a model that had learnt only from what was known",
        ("Week", "Customers", "Left", "Learnt from", *(name for _, name, _ in shown)),
        rows,
    )


def _method_grid(overall: Mapping[str, Mapping[str, Any]]) -> Grid:
    keys = [
        *_SHOWN[:3],
        *((key, figure_name(key), False) for key in ("log_loss", "calibration_error")),
    ]
    keys += _SHOWN[3:]
    keys = [one for one in keys if any(one[0] in row for row in overall.values())]
    rows: list[list[Cell]] = [
        [
            name,
            *(
                (
                    _shown(row.get(key), share),
                    _between({"low": row.get(f"{key}_low"), "high": row.get(f"{key}_high")}, share),
                )
                for key, _, share in keys
            ),
        ]
        for name, row in overall.items()
    ]
    return Grid("All known weeks together", ("Method", *(name for _, name, _ in keys)), rows)


def _difference_grid(differences: Mapping[str, Mapping[str, float]], best: str) -> Grid:
    rows = []
    for name, one in differences.items():
        value = _number(one["value"])
        sure = not (_number(one["low"]) <= 0 <= _number(one["high"]))
        rows.append(
            [
                figure_name(name),
                f"{value:+.4f}",
                f"{_number(one['low']):+.4f} – {_number(one['high']):+.4f}",
                "beyond noise" if sure and not math.isnan(value) else "within noise",
            ]
        )
    return Grid(
        f"The model minus {best}, on the same customers",
        ("Figure", "Difference", "Interval", ""),
        rows,
    )


def _about_profit(told: Mapping[str, Any]) -> list[str]:
    if told["profit"]:
        return [told["profit"]]
    money, currency = told["money"], told["currency"]
    return [
        PROFIT_OF_ONE_LIST.format(horizon=told["horizon_weeks"]),
        f"With the company's own figures: reaching a customer costs {money['contact_cost']:,.2f} "
        f"{currency}, what is offered {money['incentive_cost']:,.2f} {currency}, and "
        f"{money['acceptance_share']:.0%} of those about to leave are kept by it.",
        "Kept customers are counted with their margin at today's rate over the CLV horizon; "
        "customers who stay anyway take the offer all the same. It is against reaching nobody, "
        "and a sum under these assumptions: a hold-out says what reaching out really changes.",
    ]
