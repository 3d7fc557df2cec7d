"""Misses and the scoreboard: who left unseen, which reasons hold, and who was right."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any

import pandas as pd
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from retain.actions import Store, lists, tallies
from retain.actions.evidence import Evidence, evidence
from retain.review.drawing import days_between, desk_of, draw_page
from retain.review.exporting import as_file, exported

__all__ = ["router"]

router = APIRouter()
_MISSED = (
    *("customer_id", "name", "segment", "plan", "owner", "as_of", "left_on", "churn_probability"),
    *("risk_band", "health_score", "mrr", "lead_risk", "status", "main_sentence"),
)
_TALLY = (
    *("signal", "theme", "n", "right", "already_known", "wrong", "not_useful", "agreement"),
    *("low", "high", "useful", "is_rejected"),
)


@router.get("/misses")
def misses(request: Request, page: int = 1, form: str = "") -> Response:
    """List who left although the score was low."""
    desk, only = desk_of(request), request.state.visitor.only_owner
    size = lists.MOST_EXPORTED if form else lists.PER_PAGE
    found = tallies.misses(desk.store, owner=only, page=1 if form else page, size=size)
    if form:
        return as_file(exported(found.rows, _MISSED), "misses", form)
    week = desk.week()
    known = sum(int(one["known"] or 0) for one in tallies.weeks_of_queue(desk.store))
    return draw_page(
        request,
        "misses.html",
        here="misses",
        as_of=None if week is None else week["as_of"],
        found=found,
        known=known,
        horizon=None if week is None else week["manifest"].get("horizon_weeks"),
        lead=lambda row: days_between(row["left_on"], row["as_of"]),
    )


@functools.lru_cache(maxsize=4)
def _evidence(store: Store, horizon_weeks: int, ripe_weeks: int, _stamp: Any) -> Evidence:
    return evidence(store, horizon_weeks=horizon_weeks, ripe_weeks=ripe_weeks)


@router.get("/scoreboard")
def scoreboard(request: Request, form: str = "") -> Response:
    """Show which reasons people confirm, what acting changed, who was right, week by week."""
    desk, only = desk_of(request), request.state.visitor.only_owner
    week = desk.week()
    if week is None:
        return draw_page(request, "empty.html", here="scoreboard", title="scoreboard.title")
    horizon = int(week["manifest"].get("horizon_weeks") or 13)
    ripe = int(week["manifest"].get("ripe_weeks") or horizon)
    found = _evidence(desk.store, horizon, ripe, tallies.proof_stamp(desk.store))
    signals = _rows(found.agreement)
    if form:
        return as_file(exported(signals, _TALLY), "verdicts", form)
    newest = tallies.verdicts_given(desk.store, 200 if only is not None else 20)
    return draw_page(
        request,
        "scoreboard.html",
        here="scoreboard",
        as_of=week["as_of"],
        signals=signals,
        given=sum(one["n"] for one in signals),
        agreed=sum(one["right"] + one["already_known"] for one in signals),
        flagged=[one for one in signals if one["is_rejected"]],
        effect={k: _known(v) for k, v in asdict(found.effect).items()},
        opinions=_rows(found.right),
        precision={str(row["as_of"])[:10]: row for row in _rows(found.weeks)},
        leads={k: _known(v) for k, v in found.leads.items()},
        weeks=tallies.weeks_of_queue(desk.store),
        horizon=horizon,
        newest=[one for one in newest if only is None or one["owner"] == only][:20],
    )


def _known(value: Any) -> Any:
    """Give a value; None for what is not a number."""
    return None if isinstance(value, float) and value != value else value


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): _known(value) for name, value in row.items()}
        for row in frame.to_dict("records")
    ]
