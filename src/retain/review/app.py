"""The application: its pages put together behind the guard, and the server that runs it."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from retain.errors import RetainError
from retain.report.wording import clean
from retain.review.access import local_path
from retain.review.desk import Desk
from retain.review.drawing import draw_page, go, static_text
from retain.review.guard import SESSION, VISIT, Guard, Refused, form_of
from retain.review.pages import ROUTERS
from retain.review.words import LANGUAGES

__all__ = ["create_app"]

_STATIC = {"review.css": "text/css", "review.js": "text/javascript"}
_REFUSALS = {400: "refused.wrong", 404: "refused.missing", 405: "refused.method"}


def create_app(desk: Desk) -> FastAPI:
    """Put the review page together.

    Parameters
    ----------
    desk
        The company, its store and its door.

    Returns
    -------
    fastapi.FastAPI
        The application; every request passes the guard.
    """
    app = FastAPI(title="retain review", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk
    guard = Guard(desk.door, desk.hosts, desk.is_secure, _refuse)
    app.middleware("http")(guard)
    for router in ROUTERS:
        app.include_router(router)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in _STATIC:
            return PlainTextResponse("not found", status_code=404)
        return Response(
            static_text(name),
            media_type=_STATIC[name],
            headers={"Cache-Control": "public, max-age=31536000, immutable"},
        )

    @app.get("/sign-in")
    def sign_in_page(request: Request, next: str = "/") -> Response:
        if request.state.visitor is not None:
            return go(local_path(next))
        return _sign_in(request, local_path(next))

    @app.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        form = form_of(request)
        name, on = form.get("name", "")[:200], local_path(form.get("next", "/"))
        address = request.client.host if request.client else ""
        result = await run_in_threadpool(desk.door.sign_in, name, form.get("password", ""), address)
        if not result.token:
            status = 429 if result.refused == "wait" else 401
            return _sign_in(request, on, refused=result.refused, name=name, status=status)
        response = go(on)
        guard.keep(response, SESSION, result.token)
        response.delete_cookie(VISIT, path="/")
        return response

    @app.post("/sign-out")
    def sign_out(request: Request) -> Response:
        desk.door.sign_out(request.cookies.get(SESSION, ""))
        response = go("/sign-in")
        response.delete_cookie(SESSION, path="/")
        return response

    @app.post("/preferences")
    def preferences(request: Request) -> Response:
        form = form_of(request)
        response = go(local_path(form.get("back", "/")))
        if form.get("theme") in ("auto", "light", "dark"):
            guard.keep(response, "retain_theme", form["theme"], days=365)
        if form.get("language") in LANGUAGES:
            guard.keep(response, "retain_language", form["language"], days=365)
        return response

    def _sign_in(
        request: Request, on: str, *, refused: str = "", name: str = "", status: int = 200
    ) -> Response:
        visit = request.cookies.get(VISIT, "") or secrets.token_urlsafe(32)
        response = draw_page(
            request,
            "sign_in.html",
            status=status,
            next=on,
            refused=refused,
            name=clean(name),
            form_token=visit,
        )
        guard.keep(response, VISIT, visit, days=1)
        if status == 429:
            response.headers["Retry-After"] = "900"
        return response

    @app.exception_handler(Refused)
    def refused(request: Request, no: Any) -> Response:
        return _refuse(request, no.status, no.key)

    @app.exception_handler(HTTPException)
    def failed(request: Request, no: Any) -> Response:
        return _refuse(request, no.status_code, _REFUSALS.get(no.status_code, "refused.wrong"))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, _: Any) -> Response:
        return _refuse(request, 400, "refused.wrong")

    @app.exception_handler(RetainError)
    def broken(request: Request, problem: Any) -> Response:
        return draw_page(request, "broken.html", status=500, problem=clean(str(problem)))

    return app


def _refuse(request: Request, status: int, key: str) -> Response:
    """Say why a request is not answered; what was typed is given back, so that nothing is lost."""
    form = request.state.form
    kept = "\n\n".join(
        clean(form[name]) for name in ("comment", "action", "outcome") if form.get(name)
    )
    response = draw_page(request, "refused.html", status=status, key=key, kept=kept)
    if status == 401:
        response.headers["X-Sign-In"] = quote("/sign-in")
    return response
