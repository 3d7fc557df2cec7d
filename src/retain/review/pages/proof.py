"""Misses and the scoreboard: who left unseen, which reasons hold, and who was right."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from retain.actions import lists, tallies
from retain.review.drawing import days_between, desk_of, draw_page
from retain.review.exporting import as_file, exported

__all__ = ["router"]

router = APIRouter()
LEAST_VERDICTS = 5
REJECTED = 0.5
_MISSED = (
    *("customer_id", "name", "segment", "plan", "owner", "as_of", "left_on", "churn_probability"),
    *("risk_band", "health_score", "mrr", "lead_risk", "status", "main_sentence"),
)
_TALLY = ("signal", "theme", "given", "right", "already_known", "wrong", "not_useful")


@router.get("/misses")
def misses(request: Request, page: int = 1, form: str = "") -> Response:
    """List who left although the score was not high."""
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


@router.get("/scoreboard")
def scoreboard(request: Request, form: str = "") -> Response:
    """Show which reasons people confirm, who was right, and what each week's queue found."""
    desk, only = desk_of(request), request.state.visitor.only_owner
    signals = tallies.verdict_tally(desk.store)
    if form:
        return as_file(exported(signals, _TALLY), "verdicts", form)
    for one in signals:
        one["agreed"] = (one["right"] + one["already_known"]) / one["given"]
        one["flagged"] = (
            one["given"] >= LEAST_VERDICTS
            and (one["wrong"] + one["not_useful"]) / one["given"] >= REJECTED
        )
    week = desk.week()
    given = sum(one["given"] for one in signals)
    newest = tallies.verdicts_given(desk.store, 200 if only is not None else 20)
    return draw_page(
        request,
        "scoreboard.html",
        here="scoreboard",
        as_of=None if week is None else week["as_of"],
        signals=signals,
        given=given,
        agreed=sum(one["right"] + one["already_known"] for one in signals),
        flagged=[one for one in signals if one["flagged"]],
        opinions=tallies.opinions_and_outcomes(desk.store),
        weeks=tallies.weeks_of_queue(desk.store),
        horizon=None if week is None else week["manifest"].get("horizon_weeks"),
        newest=[one for one in newest if only is None or one["owner"] == only][:20],
        least=LEAST_VERDICTS,
    )
