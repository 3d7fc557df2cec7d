"""The model card as a page: grade and figures first, then everything they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retain.report.card_judged import (
    beside_chapter,
    capacity_chapter,
    grade_chapter,
    level_chapter,
    segments_chapter,
    verdict,
)
from retain.report.card_learnt import data_chapter, drivers_chapter, use_chapter, value_chapter
from retain.report.card_words import flat, number, percent, with_range
from retain.report.document import Document, Mark, write_document

__all__ = ["CARD_FILES", "model_document", "write_model_page"]

CARD_FILES = ("model_card.json", "model_card.html")
TONES = {"A": "good", "B": "good", "C": "warn", "D": "bad", "E": "bad"}
TERMS = (
    (
        "AUC",
        "Chance that a leaver gets a higher probability than a customer who stays: 0.5 is a "
        "coin, 1 perfect.",
    ),
    (
        "Calibration error",
        "Mean distance between predicted and observed share over ten groups of "
        "similar predictions.",
    ),
    (
        "Slope",
        "1: differences between probabilities are as large as they should be; below 1 too "
        "bold, above 1 too timid.",
    ),
    ("Lift", "How many times more leavers among those met than among as many drawn at random."),
    ("Interval", "Ninety of a hundred samples of customers would give a figure within the range."),
    (
        "Beyond noise",
        "The interval of the paired difference, the same customers for both, does not reach zero.",
    ),
    (
        "Out of time",
        "Judged on later weeks than any label that was learnt from, a gap of horizon "
        "and grace between.",
    ),
)


def model_document(card: Mapping[str, Any]) -> Document:
    """Lay out a model card.

    Parameters
    ----------
    card
        What ``model_card.json`` holds; see `retain.jobs.model_card.make_model_card`.

    Returns
    -------
    Document
    """
    grade, figures = card["grade"], card["figures"]
    chapters = [
        grade_chapter(card),
        level_chapter(card),
        beside_chapter(card),
        capacity_chapter(card),
        segments_chapter(card),
        drivers_chapter(card),
        *value_chapter(card),
        data_chapter(card),
        use_chapter(card),
    ]
    notes = [
        f"{one['where']}: {one['message']} (let through)"
        for one in card["leaks"]
        if one["severity"] == "error"
    ]
    horizon = card["definition"]["horizon_weeks"]
    tests = ", ".join(card["split"]["test_snapshots"])
    return Document(
        card["company"],
        "Model card",
        f"trained as of {card['trained_as_of']}",
        f"{grade['meaning'][0].upper()}{grade['meaning'][1:]}",
        f"Churn within {horizon} weeks, judged out of time on {figures_count(card)} of {tests}. "
        + verdict(card)
        + f" Decided by: {grade['reason']}.",
        [
            ("Order: AUC", *with_range(figures["auc"])),
            (
                "Level: predicted against left",
                f"{percent(figures['mean_predicted']['value'])} : "
                f"{percent(figures['observed']['value'])}",
                f"calibration error {number(figures['calibration_error']['value'])}; right "
                f"probabilities, by chance: {number(card['chance']['calibration_error'])}",
            ),
            _met(card),
        ],
        chapters,
        notes,
        TERMS,
        f"Model {card['model']}, version {card['model_version']}; configuration "
        f"{card['config_version']}.",
        Mark(grade["letter"], f"Grade {grade['letter']}", TONES[grade["letter"]]),
    )


def figures_count(card: Mapping[str, Any]) -> str:
    """Say how many customers and leavers the figures rest on."""
    left = sum(one["left"] for one in card["by_snapshot"])
    rows = card["split"]["test_rows"]
    people = card["data"]["customers_judged"]
    return f"{rows:,} snapshots of {people:,} customers ({left:,} followed by leaving)"


def write_model_page(path: str | Path, card: Mapping[str, Any]) -> Path:
    """Write the page of a model; see `model_document` for what it takes.

    Returns
    -------
    Path
        The file written.
    """
    return write_document(path, model_document(card))


def _met(card: Mapping[str, Any]) -> tuple[str, str, str]:
    capacity = card["capacity_per_week"]
    row = min(card["capacity"], key=lambda one: abs(one["capacity"] - capacity))
    value, _ = flat(row, "recall", True)
    return (
        f"Leavers met with {row['capacity']:,} a week, riskiest first",
        value,
        f"{percent(row['precision'])} of those met leave, {number(row['lift'], 1)} times chance",
    )
