"""The weekly queue in a terminal: whom to contact and why, who comes next and why not yet."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from retain.report.fitting import Column, Fitted, Laid, cell
from retain.report.terminal import defined
from retain.report.wording import FIGURE_NAMES, NOTHING, chance, number, tenths

__all__ = ["next_table", "proof_tables", "queue_line", "queue_table"]

ORDERED_BY = {"uplift": "what contact is expected to save"}  # as on the review page


def queue_table(listed: pd.DataFrame, *, currency: str, owner: str | None = None) -> RenderableType:
    """Show whom to contact this week, with reason, play, owner and due date.

    Parameters
    ----------
    listed
        As `retain.jobs.queue` gives it.
    currency
        Of the amounts.
    owner
        Whose customers these are; None: everybody's.
    """
    rows = _rows(listed, "contact")
    whose = f" for {owner}" if owner else ""

    def build(wide: bool, plain: bool) -> RenderableType:
        if not rows:
            return Text(f"Nobody is on the list{whose}.", style="dim")
        columns = [
            Column("#", 0, is_right=True, style="dim"),
            Column("Customer", 0, style="bold", most=24),
            Column("Leaves", 1, is_right=True),
            Column(f"Worth {currency}", 2, is_right=True),
            Column("Owner", 3, most=14),
            Column("Due", 4),
            *([Column("Do", 6, is_words=True)] if wide else []),
            Column("Associated with", 5, is_words=True),
        ]
        lines = []
        for place, row in enumerate(rows, 1):
            called = row["name"] if isinstance(row["name"], str) else row["customer_id"]
            cells = [
                cell(place, plain),
                cell(called, plain),
                cell(chance(tenths(defined(row["churn_probability"]) or 0.0)), plain),
                cell(_amount(row["worth"]), plain),
                cell(_text(row["play_owner"]), plain),
                cell(_text(row["due_on"]), plain),
            ]
            if wide:
                cells.append(cell(_text(row["play"]), plain))
            # this week's, as the probability beside it; the item keeps that of the week it entered
            lines.append([*cells, cell(_text(row["main_sentence"]), plain)])
        said = "Associations, not causes."
        return Laid(
            f"{len(rows)} to contact{whose}", columns, lines, plain, said, "`retain handoff`"
        )

    return Fitted(build)


def next_table(listed: pd.DataFrame, most: int = 5) -> RenderableType:
    """Show who is not on the list and why: the next in line, and those left out otherwise.

    Parameters
    ----------
    listed
        As `retain.jobs.queue` gives it.
    most
        How many of each kind.
    """
    rows = [row for status in ("next", "cooling", "leave") for row in _rows(listed, status)[:most]]

    def build(wide: bool, plain: bool) -> RenderableType:
        if not rows:
            return Text("Nobody else comes into question.", style="dim")
        columns = [Column("Customer", style="bold", most=24), Column("Why not", 1, is_words=True)]
        lines = [[cell(row["customer_id"], plain), cell(row["why"], plain)] for row in rows]
        return Laid("Not on the list", columns, lines, plain)

    return Fitted(build)


def queue_line(found: Any) -> str:
    """Sum up the list in a line; those held out are counted, never named.

    Parameters
    ----------
    found
        `retain.jobs.Queued`; of one owner's part the line says what the whole list has, too.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> found = SimpleNamespace(
    ...     as_of="2026-11-15",
    ...     listed=pd.DataFrame({"status": ["contact", "holdout"]}),
    ...     capacity=40,
    ...     ordered_by="value at risk",
    ...     owner=None,
    ...     taken=1,
    ...     left_alone=1,
    ... )
    >>> queue_line(found)
    '2026-11-15: 1 of 40 places taken, ordered by value at risk; 1 left alone at random'
    """
    whole = (
        f"{found.taken} of {found.capacity} places taken, ordered by "
        f"{ORDERED_BY.get(found.ordered_by, found.ordered_by)}; "
        f"{found.left_alone} left alone at random"
    )
    if found.owner is None:
        return f"{found.as_of}: {whole}"
    mine = found.listed["status"].value_counts() if len(found.listed) else {}
    return (
        f"{found.as_of}: for {found.owner} {mine.get('contact', 0)} to contact and "
        f"{mine.get('holdout', 0)} left alone at random; "
        f"the whole list, all owners together: {whole}"
    )


def proof_tables(found: Any) -> list[RenderableType]:
    """Show precision by week, who was right, agreement by signal and misses.

    Parameters
    ----------
    found
        `retain.actions.evidence.Evidence`.
    """
    shown = (
        (
            "Each week's list: the listed, and those left alone",
            found.weeks.tail(12).drop(columns="alone_left"),
            ("precision", "alone_precision"),
        ),
        ("Who was right (0.5 is guessing)", found.right, ()),
        ("Verdicts by signal", found.agreement.head(15), ("agreement", "useful")),
        ("Left although the score was low", _seen(found.misses), ()),
    )
    return [_plain_table(title, frame, shares) for title, frame, shares in shown]


def _seen(missed: pd.DataFrame) -> pd.DataFrame:
    names = ("customer_id", "left_on", "weeks_before", "churn_probability", "percentile")
    return missed.head(10).reindex(columns=[*names, "health_score", "main_sentence"])


def _plain_table(title: str, frame: pd.DataFrame, shares: tuple[str, ...]) -> RenderableType:
    def build(wide: bool, plain: bool) -> RenderableType:
        if frame.empty:
            return Text(f"{title}: nothing yet.", style="dim")
        columns = [
            Column(
                FIGURE_NAMES.get(str(name), str(name).replace("_", " ")),
                at,
                is_words=str(name).endswith("sentence"),
            )
            for at, name in enumerate(frame.columns)
        ]
        lines = [
            [cell(_figure(row[n], n in shares), plain) for n in frame.columns]
            for row in frame.to_dict("records")
        ]
        return Laid(title, columns, lines, plain, is_spread=True)

    return Fitted(build)


def _figure(value: Any, is_share: bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if not isinstance(value, float):
        return NOTHING if value is None else str(value)
    if value != value:
        return NOTHING
    return f"{100 * value:.0f} %" if is_share else f"{value:.3g}"


def _rows(listed: pd.DataFrame, status: str) -> list[dict[str, Any]]:
    if not len(listed):
        return []
    found = listed[listed["status"] == status]
    return [{str(k): v for k, v in row.items()} for row in found.to_dict("records")]


def _amount(value: Any) -> str:
    figure = defined(value)
    return number(None if figure is None else round(figure))


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else NOTHING
