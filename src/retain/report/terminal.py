"""The same results for a terminal: rich tables that fit 80 columns and use 140.

Nothing here prints. Where the terminal has no colours or only plain letters, marks turn into signs
that it can show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from retain.report.customers import UNSTABLE_PCT
from retain.report.fitting import Column, Fitted, Laid, cell, in_letters
from retain.report.wording import NOTHING, chance, figure_name, number, points, tenths
from retain.snapshots import NOT_SCORED

__all__ = [
    "counts_table",
    "defined",
    "findings_table",
    "metrics_table",
    "riskiest_table",
]

NAME_WIDTH = 20  # of figures; longer names are broken between words
_SEVERITY = {
    "error": ("✗", "x", "bold red"),
    "warning": ("!", "!", "yellow"),
    "advice": ("·", "-", "cyan"),
}
_SMALL_IS_GOOD = ("brier", "loss", "mae", "rmse", "error", "ece", "deviance")


class _FindingLike(Protocol):
    """What a data-usability finding must offer to be shown."""

    @property
    def table(self) -> str: ...
    @property
    def column(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def examples(self) -> tuple[str, ...]: ...
    @property
    def todo(self) -> str: ...


class _CountsLike(Protocol):
    """What the counts of one table must offer to be shown."""

    @property
    def rows_in(self) -> int: ...
    @property
    def used(self) -> int: ...
    @property
    def set_aside(self) -> Mapping[str, int]: ...


def defined(value: Any) -> float | None:
    """Give a number, or None where there is none."""
    missing = value is None or value is pd.NA or value is pd.NaT
    figure = math.nan if missing else float(value)
    return figure if math.isfinite(figure) else None


def _bar(share: float, top: float, width: int, plain: bool) -> Text:
    """Draw a share as a bar of eighths (or of signs) on a track."""
    full = min(max(share / top, 0.0), 1.0) * width if top > 0 else 0.0
    if plain:
        n = round(full)
        return Text("#" * n + "." * (width - n))
    n, rest = int(full), int((full - int(full)) * 8)
    drawn = "█" * n + ("" if not rest else " ▏▎▍▌▋▊▉"[rest])
    return Text(drawn.ljust(width))


def riskiest_table(
    scores: pd.DataFrame, n: int = 10, currency: str = "", drivers: pd.DataFrame | None = None
) -> RenderableType:
    """Show the customers with the most value at risk and the signals that go with it.

    Parameters
    ----------
    scores
        The scored rows of one week; those not eligible are left out and counted below.
    n
        How many customers.
    currency
        Code in front of amounts.
    drivers
        When given, a customer whose first raising driver has a stability below 0.4 gets no single
        reason.

    Returns
    -------
    rich renderable
        One line per customer; at 118 columns and more with CLV, MRR and a second reason.
    """
    live = scores.loc[scores["eligible"].fillna(False).astype(bool)]
    by_value = bool(live["value_at_risk"].notna().any()) if "value_at_risk" in live else False
    keys = (["value_at_risk"] if by_value else []) + ["churn_probability", "customer_id"]
    first = live.sort_values(keys, ascending=[k == "customer_id" for k in keys]).head(n)
    rows: list[Mapping[str, Any]] = [dict(row) for _, row in first.iterrows()]
    unsteady: set[str] = set()
    if drivers is not None and "stability" in drivers:
        raising = drivers.loc[(drivers["target"] == "churn") & (drivers["contribution"] > 0)]
        top = raising.sort_values("contribution", ascending=False).drop_duplicates("customer_id")
        unsteady = set(top.loc[top["stability"] < UNSTABLE_PCT / 100, "customer_id"].astype(str))
    highest = max((defined(row["churn_probability"]) or 0.0 for row in rows), default=0.0)
    unit = f" {currency}" if currency else ""

    def reason(row: Mapping[str, Any], wide: bool) -> str:
        if str(row["customer_id"]) in unsteady:
            return "No stable single reason"
        said = [row.get(f"driver_{i}") for i in range(1, 6)]
        # two signals may speak through the same figure: it is said once
        known = dict.fromkeys(str(text) for text in said if isinstance(text, str) and text)
        return "\n".join(list(known)[: 2 if wide else 1]) or "No signal stands out"

    def build(wide: bool, plain: bool) -> RenderableType:
        left_out = len(scores) - len(live)
        caption = f"{len(live):,} eligible, {left_out:,} not; signals are associations, not causes."
        order = "value at risk" if by_value else "churn probability"
        columns = [
            Column("#", 0, is_right=True, style="dim"),
            Column("Customer", 0, style="bold", most=24 if wide else 13),
            *([Column("Owner", 6, most=14)] if wide else []),
            Column("Leaves", 1, is_right=True),
            *([Column("", 8)] if wide else []),
            Column("Change", 3, is_right=True),
            *([Column(f"At risk{unit}", 2, is_right=True)] if by_value else []),
            *([Column(f"CLV{unit}", 7, is_right=True)] if wide and by_value else []),
            Column("Associated with", 4, is_words=True),
        ]
        lines = []
        for rank, row in enumerate(rows, 1):
            probability = defined(row["churn_probability"]) or 0.0
            p, before = tenths(probability), defined(row.get("previous_probability"))
            change = None if before is None else tenths(probability - before)
            band = str(row.get("risk_band"))
            hue = {"high": "bold red", "watch": "yellow"}.get(band, "")
            # a dash where only the week before is missing: nobody is new after a gap
            unknown = NOTHING if row.get("change_unknown_because") == NOT_SCORED else "new"
            moved = "red" if (change or 0) > 0 else "green" if (change or 0) < 0 else "dim"
            bar = _bar(p / 1000, highest, 10, plain)
            bar.stylize(hue or "dim")
            cells = [cell(rank, plain), cell(row["customer_id"], plain)]
            if wide:
                owner = row.get("owner")
                cells.append(cell(owner if isinstance(owner, str) else NOTHING, plain))
            cells.append(cell(chance(p), plain, hue))
            if wide:
                cells.append(bar)
            shift = unknown if change is None else points(change).removesuffix(" pts")
            cells.append(cell(shift, plain, moved))
            if by_value:
                risk = defined(row["value_at_risk"])
                cells.append(cell(number(None if risk is None else round(risk)), plain, "bold"))
            if wide and by_value:
                clv = defined(row.get("clv"))
                cells.append(cell(number(None if clv is None else round(clv)), plain))
            text = Text("\n").join(cell(line, plain) for line in reason(row, wide).split("\n"))
            lines.append([*cells, text])
        if not rows:
            return Text("Nobody was eligible this week.", style="dim")
        title = f"{len(rows)} of {len(live):,} customers, by {order}"
        return Laid(title, columns, lines, plain, caption, "scores.parquet and on the page")

    return Fitted(build)


def findings_table(findings: Iterable[_FindingLike]) -> RenderableType:
    """Show what a check found, errors first: where, how often, what, and what to do.

    Parameters
    ----------
    findings
        Objects with table, column, severity (error, warning, advice), count, message, examples and
        todo.

    Returns
    -------
    rich renderable
    """
    weight = {name: i for i, name in enumerate(_SEVERITY)}
    ordered = sorted(
        findings, key=lambda f: (weight.get(f.severity, 9), f.table, f.column, -f.count)
    )
    tally = {name: sum(f.severity == name for f in ordered) for name in _SEVERITY}

    def build(wide: bool, plain: bool) -> RenderableType:
        if not ordered:
            return Text("Nothing to mend: every table can be used as it is.", style="green")
        title = "   ".join(
            f"{n:,} {name if n == 1 or name == 'advice' else name + 's'}"
            for name, n in tally.items()
        )
        columns = [
            Column(""),
            Column("Where", most=34 if wide else 20),
            Column("Count", is_right=True),
            Column("Found", 1, is_words=True),
            *([Column("What to do", 2, is_words=True)] if wide else []),
        ]
        lines = []
        for f in ordered:
            mark, letter, style = _SEVERITY.get(f.severity, ("?", "?", ""))
            where = Text.assemble(cell(f.table, plain, "bold"))
            if f.column:
                where.append("." if wide else "\n")
                where.append_text(cell(f.column, plain))
            found = cell(f.message, plain)
            if f.examples:
                found.append_text(cell("  e.g. " + ", ".join(f.examples[:3]), plain, "dim"))
            if not wide and f.todo:
                found.append("\n")
                found.append_text(cell(("> " if plain else "→ ") + f.todo, plain, "italic"))
            cells = [
                Text(letter if plain else mark, style=style),
                where,
                cell(f"{f.count:,}" if f.count else "", plain, style),
                found,
            ]
            lines.append([*cells, *([cell(f.todo, plain, "italic")] if wide else [])])
        return Laid(title, columns, lines, plain)

    return Fitted(build)


def counts_table(counts: Mapping[str, _CountsLike]) -> RenderableType:
    """Show per table that rows in = used + set aside, with the reasons.

    Parameters
    ----------
    counts
        Table -> object with rows_in, used and set_aside (reason -> rows).

    Returns
    -------
    rich renderable
    """

    def build(wide: bool, plain: bool) -> RenderableType:
        columns = [
            Column("Table", style="bold"),
            *(Column(name, is_right=True) for name in ("In", "Used", "Set aside")),
            *([Column("", 2)] if wide else []),
            Column("Why", 1, is_words=True, style="dim"),
        ]
        lines = []
        for name, c in counts.items():
            aside = sum(c.set_aside.values())
            why = ", ".join(
                f"{reason} {n:,}"
                for reason, n in sorted(c.set_aside.items(), key=lambda item: (-item[1], item[0]))
                if n
            )
            share = c.used / c.rows_in if c.rows_in else 0.0
            cells = [
                cell(name, plain),
                cell(f"{c.rows_in:,}", plain),
                cell(f"{c.used:,}", plain),
                cell(f"{aside:,}", plain, "yellow" if aside else "dim"),
            ]
            if wide:
                bar = _bar(share, 1.0, 10, plain)
                bar.stylize("cyan")
                cells.append(bar)
            lines.append([*cells, cell(why, plain)])
        total = sum(c.rows_in for c in counts.values())
        used = sum(c.used for c in counts.values())
        if len(counts) > 1:
            ends = [cell(text, plain) for text in (f"{total:,}", f"{used:,}", f"{total - used:,}")]
            lines.append([cell("together", plain), *ends])
        together = (len(lines) - 1,) if len(counts) > 1 else ()
        title = "Rows read: in = used + set aside"
        return Laid(title, columns, lines, plain, sections=together)

    return Fitted(build)


def metrics_table(
    rows: Sequence[Mapping[str, Any]], title: str = "The model beside its baselines"
) -> RenderableType:
    """Show metrics by model, the best of each marked.

    Parameters
    ----------
    rows
        One dict per model: ``name`` and metrics by name; ``<metric>_low`` and ``<metric>_high``,
        where given, are its interval. Small is good for losses and errors (brier, log_loss, mae,
        rmse, ...); nearest to zero for bias, nearest to one for slopes and for one thing over
        another; else large is good.
    title
        What is compared, and on what.

    Returns
    -------
    rich renderable
        Metrics in rows; models for which there is no room follow below.
    """
    names = [str(row["name"]) for row in rows]
    metrics: list[str] = []
    for row in rows:
        for key in row:
            ends = key.endswith(("_low", "_high")) and key.rsplit("_", 1)[0] in row
            if key != "name" and not ends and key not in metrics:
                metrics.append(key)

    def best(metric: str) -> float | None:
        known = [v for row in rows if (v := defined(row.get(metric))) is not None]
        if len(known) < 2:
            return None
        if "bias" in metric:
            return min(known, key=abs)
        if "slope" in metric or "_over_" in metric:
            return min(known, key=lambda v: abs(v - 1))
        small = any(part in metric for part in _SMALL_IS_GOOD)
        return min(known) if small else max(known)

    def figure(value: float) -> str:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}".replace("-", "−")

    def build(wide: bool, plain: bool) -> RenderableType:
        caption = ("*" if plain else "●") + " best of its line; intervals below the figure"
        has_interval = any(f"{metric}_low" in row for row in rows for metric in metrics)
        columns = [Column("", most=NAME_WIDTH), *(Column(name, 1, is_right=True) for name in names)]
        lines = []
        for metric in metrics:
            top = best(metric)
            cells = [cell(figure_name(metric), plain)]
            for row in rows:
                value = defined(row.get(metric))
                if value is None:
                    cells.append(cell(NOTHING, plain, "dim"))
                    continue
                wins = top is not None and value == top
                text = cell(figure(value), plain, "bold green" if wins else "")
                mark = ("*" if plain else "●") if wins else " "
                text.append(f" {mark}", style="green")
                low, high = defined(row.get(f"{metric}_low")), defined(row.get(f"{metric}_high"))
                if low is not None and high is not None:
                    between = f"\n{figure(low)} – {figure(high)}  "
                    text.append(in_letters(between, plain), style="dim")
                cells.append(text)
            lines.append(cells)
        said = caption if has_interval else caption.split(";")[0]
        return Laid(title, columns, lines, plain, said, is_spread=True)

    return Fitted(build)
