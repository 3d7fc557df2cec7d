"""Who may use the page: an administrator lets people in, changes them, or lets them in no more."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from retain.actions.people import ROLES, Account
from retain.errors import ConfigError
from retain.report.wording import clean
from retain.review.drawing import desk_of, draw_page, go
from retain.review.exporting import as_file, exported
from retain.review.guard import Refused, form_of
from retain.review.passwords import LEAST, hash_password

__all__ = ["router"]

router = APIRouter()
_LONGEST = 200


def _people(request: Request, *, status: int = 200, problem: str = "", typed: Any = None) -> Any:
    desk = desk_of(request)
    return draw_page(
        request,
        "people.html",
        here="people",
        status=status,
        everybody=[
            {
                "name": one.name,
                "role": one.role,
                "owner": one.owner,
                "is_active": one.is_active,
                "has_password": bool(one.password),
                "seen": _seen(one),
                "is_you": one.name == request.state.visitor.name,
            }
            for one in desk.door.people.everybody()
        ],
        roles=ROLES,
        least=LEAST,
        by_proxy=bool(desk.door.header),
        problem=problem,
        typed={name: clean((typed or {}).get(name, "")) for name in ("name", "role", "owner")},
    )


def _seen(one: Account) -> str:
    """Give a mark of a person as shown, so that a later change by somebody else is noticed."""
    told = "\x1f".join((one.name, one.role, one.owner, one.password, str(one.is_active)))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _administers(request: Request) -> None:
    """Refuse whoever is no administrator, as if there were no such page."""
    if request.state.visitor.role != "admin":
        raise Refused(404, "refused.missing")


@router.get("/people")
def people(request: Request, form: str = "") -> Response:
    """List everybody, or give the list as a file."""
    _administers(request)
    if form:
        rows = [
            {"name": one.name, "role": one.role, "owner": one.owner, "is_active": one.is_active}
            for one in desk_of(request).door.people.everybody()
        ]
        return as_file(exported(rows, ("name", "role", "owner", "is_active")), "people", form)
    found: Response = _people(request)
    return found


@router.post("/people")
def let_in(request: Request) -> Response:
    """Let somebody in who is not known yet."""
    _administers(request)
    desk, form = desk_of(request), form_of(request)
    name, role = " ".join(form.get("name", "").split()), form.get("role", "")
    if not name or len(name) > _LONGEST or role not in ROLES:
        raise Refused(400, "refused.wrong")
    password, owner = form.get("password", ""), form.get("owner", "").strip()[:_LONGEST]
    hashed = _hashed(password) if password or not desk.door.header else ""
    if hashed is None:
        found: Response = _people(request, status=400, problem="people.short", typed=form)
        return found
    try:
        desk.door.people.add(
            name, role, hashed, owner or None, by=request.state.visitor.name, is_new=True
        )
    except ConfigError:  # somebody of that name
        known: Response = _people(request, status=409, problem="people.known", typed=form)
        return known
    return go("/people", said="person")


@router.post("/people/change")
def change(request: Request) -> Response:
    """Give somebody another role, owner or password, or take away or give back the way in."""
    _administers(request)
    desk, form = desk_of(request), form_of(request)
    visitor = request.state.visitor.name
    named = form.get("name", "")
    known = next((one for one in desk.door.people.everybody() if one.name == named), None)
    role = form.get("role", "")
    if known is None or role not in ROLES:
        raise Refused(400, "refused.wrong")
    hashed = _hashed(form["password"]) if form.get("password") else known.password
    is_active = form.get("is_active", "") == "yes"
    problem = ""
    if hashed is None:
        problem = "people.short"
    elif known.name == visitor and (role != known.role or not is_active):
        problem = "people.yourself"  # so that there is always one administrator left
    elif _seen(known) != form.get("seen", ""):
        problem = "people.stale"
    if not problem:
        assert hashed is not None
        owner = form.get("owner", "").strip()[:_LONGEST] or known.name
        to = replace(known, role=role, owner=owner, password=hashed, is_active=is_active)
        if desk.door.people.change(known, to, by=visitor):
            return go("/people", said="person")
        problem = "people.stale"
    status = 409 if problem == "people.stale" else 400
    found: Response = _people(request, status=status, problem=problem)
    return found


def _hashed(password: str) -> str | None:
    """Hash a password; None when it is too short or longer than any is."""
    return hash_password(password) if LEAST <= len(password) <= 1024 else None
