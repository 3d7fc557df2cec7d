"""Every customer of the newest week: searched, filtered, sorted and paged by the database."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from retain.actions import lists
from retain.review.drawing import customer_path, days_between, desk_of, draw_page, go
from retain.review.exporting import as_file, exported

__all__ = ["router"]

router = APIRouter()
_COLUMNS = (
    *("customer_id", "name", "segment", "plan", "owner", "eligible", "not_eligible_because"),
    *("churn_probability", "churn_low", "churn_high", "percentile", "risk_band", "change"),
    *("value_at_risk", "clv", "mrr", "renews_at", "health_score", "coverage", "freshness_days"),
    *("main_theme", "main_signal", "main_sentence", "lead_risk", "final_risk"),
)


@router.get("/customers")
def customers(
    request: Request,
    q: str = "",
    segment: str = "",
    plan: str = "",
    owner: str = "",
    risk_band: str = "",
    eligible: str = "",
    sort: str = "value_at_risk",
    way: str = "down",
    page: int = 1,
    form: str = "",
) -> Response:
    """List customers, or give the list as a file."""
    desk, visitor = desk_of(request), request.state.visitor
    week = desk.week()
    if week is None:
        return draw_page(request, "empty.html", here="customers", title="customers.title")
    as_of = str(week["as_of"])
    sort = sort if sort in lists.SORTS else "value_at_risk"
    filters = {"segment": segment, "plan": plan, "owner": owner}
    filters |= {"risk_band": risk_band, "eligible": eligible}
    found = lists.customers(
        desk.store,
        as_of,
        owner=visitor.only_owner,
        q=q[:100],
        filters=filters,
        sort=sort,
        descending=way != "up",
        page=page if not form else 1,
        size=lists.PER_PAGE if not form else lists.MOST_EXPORTED,
    )
    if form:
        return as_file(exported(found.rows, _COLUMNS), f"customers-{as_of}", form)
    if q and found.total == 1 and found.rows[0]["customer_id"].casefold() == q.strip().casefold():
        return go(customer_path(found.rows[0]["customer_id"]))
    return draw_page(
        request,
        "customers.html",
        here="customers",
        as_of=as_of,
        found=found,
        sort=sort,
        way="up" if way == "up" else "down",
        sorts=tuple(lists.SORTS),
        choices=lists.choices(desk.store, as_of, visitor.only_owner),
        asked={"q": q, **filters},
        until=lambda day: days_between(day, as_of),
    )
