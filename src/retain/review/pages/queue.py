"""The queue of this week: whom to reach, why, with which play, and who would have been next."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from retain.actions import lists
from retain.review.drawing import days_between, desk_of, draw_page
from retain.review.exporting import as_file, exported

__all__ = ["router"]

router = APIRouter()
_TABS = ("open", "done", "dropped", "next", "cooling", "leave")
_COLUMNS = (
    *("place", "customer_id", "name", "segment", "plan", "owner", "churn_probability", "churn_low"),
    *("churn_high", "risk_band", "value_at_risk", "mrr", "renews_at", "health_score", "worth"),
    *("main_theme", "main_signal", "main_sentence", "why", "play", "due_on", "state"),
)


@router.get("/")
def queue(
    request: Request,
    tab: str = "open",
    q: str = "",
    owner: str = "",
    segment: str = "",
    page: int = 1,
    form: str = "",
) -> Response:
    """Show the queue, or give it as a file."""
    desk, visitor = desk_of(request), request.state.visitor
    week = desk.week()
    if week is None:
        return draw_page(request, "empty.html", here="queue", title="queue.title")
    as_of, mine = str(week["as_of"]), visitor.only_owner
    tab = tab if tab in _TABS else "open"
    is_state = tab in ("open", "done", "dropped")
    size = lists.PER_PAGE if not form else lists.MOST_EXPORTED
    found = lists.queue(
        desk.store,
        as_of,
        status="contact" if is_state else tab,
        state=tab if is_state else "",
        owner=mine,
        q=q[:100],
        filters={"owner": owner, "segment": segment},
        page=page if not form else 1,
        size=size,
    )
    if form:
        return as_file(exported(found.rows, _COLUMNS), f"queue-{tab}-{as_of}", form)
    figures = lists.queue_figures(desk.store, as_of, mine)
    following = lists.queue(desk.store, as_of, status="next", owner=mine, size=1)
    return draw_page(
        request,
        "queue.html",
        here="queue",
        as_of=as_of,
        week=week,
        tab=tab,
        tabs=[(name, figures[name]) for name in _TABS if figures[name] or name in ("open", "done")],
        figures=figures,
        found=found,
        following=following.rows[0] if following.rows else None,
        choices=lists.choices(desk.store, as_of, mine),
        asked={"q": q, "owner": owner, "segment": segment},
        late=lambda day: bool(day) and (days_between(day, as_of) or 0) < 0,
        until=lambda day: days_between(day, as_of),
    )
