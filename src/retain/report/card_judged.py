"""Chapters of a model card: how the model did out of time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retain.report.card_words import (
    FIGURES,
    between,
    flat,
    or_nan,
    percent,
    side_of_zero,
    signed,
    with_range,
)
from retain.report.document import Cell, Chapter, Drawn, Grid
from retain.report.plots import Series, draw_points
from retain.report.wording import NOTHING

__all__ = [
    "beside_chapter",
    "capacity_chapter",
    "grade_chapter",
    "level_chapter",
    "segments_chapter",
    "verdict",
]


def verdict(card: Mapping[str, Any]) -> str:
    """Say which baselines the model beats, loses to, or is not told apart from."""
    sides: dict[str, list[str]] = {}
    for name, one in card["differences"].items():
        sides.setdefault(side_of_zero(one["log_loss"]), []).append(name)
    said = [
        f"{words} {_listed(sides[side])}"
        for side, words in (
            ("worse", "worse than"),
            ("better", "better than"),
            ("not told apart", "not told apart from"),
        )
        if side in sides
    ]
    return f"By log loss, beyond noise, {'; '.join(said)}." if said else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def grade_chapter(card: Mapping[str, Any]) -> Chapter:
    """Show the rule and every condition."""
    grade = card["grade"]
    rows: list[list[Cell]] = [
        [
            one["name"],
            one["says"],
            "yes" if one["met"] else "no",
            f"{one['needed_for']} or better" if one["needed_for"] != "A" else "A",
        ]
        for one in grade["conditions"]
    ]
    missing = [at for at, one in enumerate(grade["conditions"]) if not one["met"]]
    return Chapter(
        "grade",
        f"Why {grade['letter']}",
        (f"The rule. {grade['rule']}",),
        grids=[
            Grid(
                "Every condition with the figures that answer it; those not met stand out",
                ("Condition", "Found", "Met", "Needed for"),
                rows,
                left=4,
                marked=missing,
            )
        ],
        short="Grade",
    )


def level_chapter(card: Mapping[str, Any]) -> Chapter:
    """Show all figures, the calibration curve and the base rates."""
    curve, line = card["calibration"]["curve"], card["calibration"]["line"]
    ends = {name: [or_nan(row[name]) for row in curve] for name in ("observed", "low", "high")}
    predicted = [or_nan(row["predicted"]) for row in curve]
    plot = draw_points(
        [
            Series(
                "customers of similar probability",
                predicted,
                ends["observed"],
                ends["low"],
                ends["high"],
            )
        ],
        says="Share that left against predicted probability in ten groups; the table holds it",
        first="predicted: lowest",
        last="highest",
        show=percent,
        diagonal=True,
        words=[
            [
                f"predicted {percent(row['predicted'])}, left {percent(row['observed'])}"
                for row in curve
            ]
        ],
    )
    rates = card["base_rates"]
    without = [math.nan] * len(rates)
    by_week = [
        Series(
            name,
            list(range(len(rates))),
            [one["observed"] if one["is_test"] is tested else math.nan for one in rates],
            without,
            without,
            tone,
        )
        for name, tested, tone in (("learnt from", False, "other"), ("judged on", True, "ours"))
    ]
    moving = draw_points(
        by_week,
        says="Share that left after each observed week",
        first=rates[0]["as_of"] if rates else "",
        last=rates[-1]["as_of"] if rates else "",
        show=percent,
    )
    grids = [
        Grid(
            "All weeks judged together",
            ("Figure", "Value", "90 % interval", "Better is"),
            [
                [name, *with_range(card["figures"][key], share), better]
                for key, name, share, better in FIGURES
            ]
            + [
                [f"Calibration {name}", *with_range(line[name]), right]
                for name, right in (("slope", "1"), ("shift", "0"))
            ],
        ),
        Grid(
            "Week by week",
            ("Week", "Customers", "Left", *(name for _, name, _, _ in FIGURES)),
            [
                [
                    one["as_of"],
                    f"{one['n']:,}",
                    f"{one['left']:,}",
                    *(with_range(one["figures"][key], share) for key, _, share, _ in FIGURES),
                ]
                for one in card["by_snapshot"]
            ],
        ),
    ]
    if card["horizons"]:
        grids.append(_horizons(card["horizons"]))
    grids.append(
        Grid(
            "Groups of similar probability",
            ("Group", "Snapshots", "Predicted", "Left", "90 % interval"),
            [
                [
                    f"{at + 1}",
                    f"{row['n']:,}",
                    percent(row["predicted"]),
                    percent(row["observed"]),
                    between(row, percent),
                ]
                for at, row in enumerate(curve)
            ],
        )
    )
    held = card["calibration"].get("interval")
    if held is not None:
        grids.append(_interval(held))
    return Chapter(
        "level",
        "How good the probabilities are",
        [*_top(curve), *([_tide(card["tide"])] if card.get("tide") else [])],
        drawings=[
            Drawn("Calibration: share that left, by predicted probability", plot),
            Drawn("Base rate: share that left after each observed week", moving),
        ],
        grids=grids,
        short="Probabilities",
    )


def _top(curve: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say how the probabilities held where a team acts on them."""
    if curve:
        top = curve[-1]
        yield (
            f"Of the group at highest risk {percent(top['predicted'])} were expected to leave and "
            f"{percent(top['observed'])} left ({between(top, percent)}). Teams act on these first; "
            "calibration error weighs all groups alike."
        )


def _tide(tide: Mapping[str, float]) -> str:
    found = (
        f"Other things being equal, the log-odds of leaving changed by {tide['yearly']:+.2f} "
        f"a year (standard error {tide['doubt']:.2f})"
    )
    if not tide["carried"]:
        return f"{found}: not beyond noise, or not so on the whole. No drift is carried on."
    return (
        f"{found}. What leaves later than the headline horizon is known of older weeks only; it is "
        f"carried on to today with {tide['carried']:+.2f} a year."
    )


def _interval(held: Mapping[str, Any]) -> Grid:
    groups = held["groups"]
    return Grid(
        f"{held['level']:.0%} interval: held in {sum(row['holds'] for row in groups)} of "
        f"{len(groups)} groups, {held['as_of']}",
        ("Group", "Customers", "Predicted", "Interval, on average", "Left", ""),
        [
            [
                f"{at + 1}",
                f"{row['n']:,}",
                percent(row["predicted"]),
                between(row, percent),
                percent(row["observed"]),
                "" if row["holds"] else "outside",
            ]
            for at, row in enumerate(groups)
        ],
    )


def _horizons(horizons: Sequence[Mapping[str, Any]]) -> Grid:
    shown = [one for one in FIGURES if one[0] not in ("brier", "lift_top_tenth")]
    return Grid(
        "Leaving within other horizons, on the curve through the headline's",
        ("Horizon", "Judged on", "Customers", *(name for _, name, _, _ in shown)),
        [
            [
                (f"{one['horizon_weeks']} weeks", "extrapolated" if one["is_extrapolated"] else ""),
                one["as_of"],
                f"{one['n']:,}",
                *(with_range(one["figures"].get(key), share) for key, _, share, _ in shown),
            ]
            for one in horizons
        ],
    )


def beside_chapter(card: Mapping[str, Any]) -> Chapter:
    """Show the baselines and the paired differences."""
    shown = [one for one in FIGURES if one[0] not in ("mean_predicted", "observed")]
    methods = Grid(
        "The same rows and features for all",
        ("Method", *(name for _, name, _, _ in shown)),
        [
            [row["name"], *(flat(row, key, share) for key, _, share, _ in shown)]
            for row in card["comparison"]
        ],
        marked=[0],
    )
    keys = (("auc", "AUC"), ("log_loss", "Log loss"), ("brier", "Brier score"))
    rows: list[list[Cell]] = []
    for name, found in card["differences"].items():
        rows.append(
            [
                name,
                *((signed(found[key]["value"]), between(found[key], signed)) for key, _ in keys),
                side_of_zero(found["log_loss"]),
            ]
        )
    differences = Grid(
        "The model minus each method, paired on the same customers",
        ("Method", *(name for _, name in keys), "By log loss"),
        rows,
        "AUC: above zero is better. Log loss and Brier score: below zero is better.",
    )
    return Chapter(
        "beside",
        "Beside simpler methods",
        (verdict(card),),
        grids=[methods, differences],
        short="Baselines",
    )


def capacity_chapter(card: Mapping[str, Any]) -> Chapter:
    """Show what the team would have found."""
    rows, marked = [], []
    with_value = any("value_captured" in one for one in card["capacity"])
    for at, one in enumerate(card["capacity"]):
        if one["capacity"] == card["capacity_per_week"]:
            marked.append(at)
        cells: list[Cell] = [
            f"{one['capacity']:,}",
            f"{one['found']:,.0f} of {one['met']:,.0f}",
            flat(one, "precision", True),
            flat(one, "recall", True),
            flat(one, "lift", False),
        ]
        if with_value:
            cells.append(flat(one, "value_captured", True))
        rows.append(cells)
    names = ["A week", "Left, of those met", "Precision", "Recall", "Lift"]
    return Chapter(
        "capacity",
        "At the team's capacity",
        (
            f"review.capacity_per_week is {card['capacity_per_week']:,}; every week judged has a "
            "list of its own, the riskiest first, which is what a model of leaving is judged by. "
            "The team's own list is by value at risk: it meets fewer leavers and more of their "
            "value; `retain backtest` shows both. There is no threshold: whom to meet is settled "
            "by capacity, and its cost by `retain backtest` with the company's own money figures.",
        ),
        grids=[
            Grid(
                "What meeting the riskiest first would have found",
                [*names, "Value of leavers"] if with_value else names,
                rows,
                marked=marked,
            )
        ],
        short="Capacity",
    )


def segments_chapter(card: Mapping[str, Any]) -> Chapter:
    """Show every segment apart."""
    grids = []
    for split in card["segments"]:
        rows: list[list[Cell]] = []
        with_value = any(one["clv"] for one in split["rows"])
        for one in split["rows"]:
            found, why = one["figures"], one["undefined_because"]
            all_ = why.get("all", "")
            name: Cell = (one["segment"], all_) if all_ else one["segment"]
            cells: list[Cell] = [name, f"{one['customers']:,}", f"{one['left']:,}"]
            for key, share in (
                ("auc", False),
                ("calibration_error", False),
                ("mean_predicted", True),
                ("observed", True),
                ("gap", True),
            ):
                reason = why.get(key, "")
                cells.append(
                    (NOTHING, reason) if key not in found else with_range(found[key], share)
                )
            if with_value:
                worth = one["clv"]
                cells.append(
                    (NOTHING, "")
                    if not worth
                    else (percent(worth["coverage"]), f"{worth['n']:,} customers")
                )
            rows.append(cells)
        names = [
            "Segment",
            "Customers",
            "Left",
            "AUC",
            "Calibration error",
            "Predicted",
            "Observed",
            "Predicted − observed",
        ]
        grids.append(
            Grid(
                f"By {split['by']}",
                [*names, "CLV interval holds"] if with_value else names,
                rows,
            )
        )
    about = (
        "Segments as exported today; small ones have wide intervals, and where a figure cannot be "
        "had the reason stands in its place."
        if grids
        else "No segment was brought: nothing can be told apart.",
    )
    return Chapter("segments", "Segment by segment", about, grids=grids, short="Segments")
