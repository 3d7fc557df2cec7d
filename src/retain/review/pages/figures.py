"""Pain points and metrics, as `retain metrics` left them: read, never computed while one waits."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from retain.report.figures import shown
from retain.report.wording import clean
from retain.review.drawing import desk_of, draw_page
from retain.review.exporting import as_file, exported
from retain.review.guard import Refused
from retain.review.weekfiles import metrics_card, metrics_periods

__all__ = ["router"]

router = APIRouter()
_PAIN = (
    *("of", "name", "cases", "share_of_cases", "customers", "hard_cases", "hard_share", "minutes"),
    *("mrr_touched", "churn_with", "churn_without", "rank_effort", "rank_volume", "rank_mrr"),
)
_METRICS = (
    *("theme", "name", "label", "variant", "segment", "value", "unit", "low", "high", "n"),
    *("direction", "undefined_because", "formula"),
)
_OF = ("topic", "channel", "stage")


def _chosen(request: Request, period: str) -> tuple[list[str], str, dict[str, Any] | None]:
    desk = desk_of(request)
    periods = metrics_periods(desk.metrics)
    if period and period not in periods:
        raise Refused(404, "refused.missing")
    period = period or (periods[0] if periods else "")
    return periods, period, metrics_card(desk.metrics, period) if period else None


@router.get("/pain")
def pain(request: Request, period: str = "", by: str = "effort", form: str = "") -> Response:
    """Show what customers struggle with: by topic, channel and stage of life."""
    periods, period, card = _chosen(request, period)
    by = by if by in ("effort", "volume", "mrr", "churn") else "effort"
    account = (card or {}).get("accounts", {}).get("pain")
    tables = []
    for of in _OF:
        part = (account or {}).get(of)
        if part is None:
            continue
        lines = sorted(
            part["lines"], key=lambda row: (row[f"rank_{by}"] or 10**6, clean(row["name"]))
        )
        tables.append({"of": of, "lines": lines, "why": part.get("no_churn_because")})
    if form:
        rows = [{"of": t["of"], **row} for t in tables for row in t["lines"]]
        return as_file(exported(rows, _PAIN), f"pain-points-{period}", form)
    return draw_page(
        request,
        "pain.html",
        here="pain",
        periods=periods,
        period=period,
        tables=tables,
        by=by,
        most=max((row["minutes"] or 0 for t in tables for row in t["lines"]), default=0),
    )


@router.get("/metrics")
def metrics(request: Request, period: str = "", form: str = "") -> Response:
    """Show a period's metrics with their intervals, formulas and segments."""
    periods, period, card = _chosen(request, period)
    found = (card or {}).get("metrics", [])
    if form:
        rows = []
        for one in found:
            rows += [
                {**part, "segment": " / ".join(map(str, part["by"].values()))}
                for part in (one, *one["segments"])
            ]
        return as_file(exported(rows, _METRICS), f"metrics-{period}", form)
    themes: dict[str, list[dict[str, Any]]] = {}
    currency = (card or {}).get("currency", "")

    def unit(one: dict[str, Any]) -> str:
        return currency if one["unit"] == "currency" else str(one["unit"])

    for one in found:
        interval = one["low"] is not None and one["high"] is not None
        themes.setdefault(str(one["theme"]), []).append(
            {
                "label": one["label"],
                "variant": one["variant"],
                "value": shown(one["value"], unit(one)),
                "low": shown(one["low"], unit(one)) if interval else "",
                "high": shown(one["high"], unit(one)) if interval else "",
                "level": one["level"],
                "n": one["n"],
                "why": one["undefined_because"],
                "formula": one["formula"],
                "segments": [
                    (" / ".join(map(str, part["by"].values())), shown(part["value"], unit(part)))
                    for part in one["segments"]
                ],
            }
        )
    return draw_page(
        request,
        "metrics.html",
        here="metrics",
        periods=periods,
        period=period,
        title=(card or {}).get("period", {}).get("title", ""),
        themes=themes,
        left_out=(card or {}).get("left_out", []),
    )
