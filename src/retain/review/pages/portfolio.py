"""The portfolio: what is at risk by segment and by owner, how it moved, and what drives it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from retain.actions import lists, tallies
from retain.review.desk import Desk
from retain.review.drawing import desk_of, draw_page
from retain.review.exporting import as_file, exported

__all__ = ["router"]

router = APIRouter()
WEEKS = 12
_SUMS = ("customers", "high", "watch", "mrr", "mrr_at_risk", "value_at_risk", "expected_leavers")
_COLUMNS = ("by", "name", *_SUMS)


@functools.lru_cache(maxsize=200)
def _cells(store: Any, as_of: str, _imported: str) -> Sequence[Mapping[str, Any]]:
    return tallies.portfolio_cells(store, as_of)


def _added(
    cells: Iterable[Mapping[str, Any]], by: str, only: str | None
) -> dict[Any, dict[str, float]]:
    """Add cells up by segment or owner; `None` in the result is the total."""
    sums: dict[Any, dict[str, float]] = {}
    for cell in cells:
        if only is not None and cell["owner"] != only:
            continue
        for name in ((cell[by] or ""), None):
            one = sums.setdefault(name, dict.fromkeys(_SUMS, 0.0))
            for key in _SUMS:
                one[key] += float(cell[key] or 0)
    return sums


def _line(values: Sequence[float]) -> Markup:
    """Draw a row of values as a small line, from nothing to the highest."""
    if len(values) < 2:
        return Markup("")
    top = max(values) or 1.0
    step = 100 / (len(values) - 1)
    points = [(2 + i * step, 25 - 22 * value / top) for i, value in enumerate(values)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    x, y = points[-1]
    return Markup(
        f'<svg class="mini" viewBox="0 0 104 28" aria-hidden="true"><path d="{path}"></path>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4"></circle></svg>'
    )


@router.get("/portfolio")
def portfolio(request: Request, form: str = "") -> Response:
    """Show the portfolio, or give it as a file."""
    desk: Desk = desk_of(request)
    weeks = lists.scored_weeks(desk.store, WEEKS)
    if not weeks:
        return draw_page(request, "empty.html", here="portfolio", title="portfolio.title")
    only, as_of = request.state.visitor.only_owner, str(weeks[0]["as_of"])
    tables: list[dict[str, Any]] = []
    saved: list[dict[str, Any]] = []
    for by in ("segment", "owner"):
        history = [
            _added(_cells(desk.store, str(w["as_of"]), str(w["imported_at"])), by, only)
            for w in reversed(weeks)
        ]
        signals: dict[str, dict[tuple[str, str], int]] = {}
        for cell in _cells(desk.store, as_of, str(weeks[0]["imported_at"])):
            if only is None or cell["owner"] == only:
                mine = signals.setdefault(cell[by] or "", {})
                for theme, signal, n in cell["signals"] or ():
                    mine[theme, signal] = mine.get((theme, signal), 0) + int(n)
        rows = []
        for name, sums in history[-1].items():
            if name is None:
                continue
            line = [week.get(name, {}).get("mrr_at_risk", 0.0) for week in history]
            top = sorted(signals.get(name, {}).items(), key=lambda s: (-s[1], s[0]))[:3]
            before = line[-2] if len(line) > 1 else None
            rows.append(
                {
                    "name": name,
                    **sums,
                    "line": _line(line),
                    "moved": None if before is None else line[-1] - before,
                    "signals": [(theme, signal, n) for (theme, signal), n in top],
                }
            )
        rows.sort(key=lambda row: (-row["mrr_at_risk"], row["name"]))
        saved += [{"by": by, **row} for row in rows]
        tables.append({"by": by, "rows": rows})
    if form:
        return as_file(exported(saved, _COLUMNS), f"portfolio-{as_of}", form)
    total = history[-1].get(None, dict.fromkeys(_SUMS, 0.0))
    return draw_page(
        request,
        "portfolio.html",
        here="portfolio",
        as_of=as_of,
        tables=tables,
        total=total,
        most=max((row["mrr_at_risk"] for t in tables for row in t["rows"]), default=0.0),
        weeks=len(weeks),
    )
