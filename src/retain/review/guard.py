"""What every request passes: host, size, session, form token, role; and every answer's headers.

Refusals are decided here once, so that a new page is safe without doing anything for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retain.review.access import Door, Visitor, same_token

__all__ = ["SESSION", "VISIT", "Guard", "Refused", "form_of"]

SESSION, VISIT = "retain_session", "retain_visit"
MOST_BYTES = 256 * 1024
OPEN = frozenset({"/sign-in"})
FOR_READERS = frozenset({"/sign-in", "/sign-out", "/preferences"})
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Refused(Exception):
    """A request that is not answered; `key` names the text that says why."""

    def __init__(self, status: int, key: str) -> None:
        super().__init__(key)
        self.status = status
        self.key = key


def form_of(request: Request) -> dict[str, str]:
    """Give the fields of the form that was sent; of a repeated one the last."""
    found: dict[str, str] = request.state.form
    return found


@dataclass(frozen=True)
class Guard:
    """The middleware.

    Attributes
    ----------
    door
        Who is let in.
    hosts
        Names under which this page is known; a request for another one is a trick.
    is_secure
        Whether browsers reach the page by https, so that cookies are kept off plain http.
    refuse
        Makes the page that says why.
    """

    door: Door
    hosts: frozenset[str]
    is_secure: bool
    refuse: Callable[[Request, int, str], Response]

    async def __call__(
        self, request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Answer one request."""
        request.state.visitor, request.state.form_token, request.state.form = None, "", {}
        fresh = ""
        if request.url.path.startswith("/static/"):
            response = await go_on(request)
        else:
            try:
                fresh = await self._admit(request)
                response = await go_on(request)
            except Refused as no:
                response = self.refuse(request, no.status, no.key)
            except _SignInFirst as first:
                response = RedirectResponse(first.to, status_code=303)
            response.headers.setdefault("Cache-Control", "no-store")
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if self.is_secure:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        if fresh:
            self.keep(response, SESSION, fresh)
        return response

    def keep(self, response: Response, name: str, value: str, days: int = 7) -> None:
        """Keep a cookie that no script can read and no other site can send along."""
        response.set_cookie(
            name,
            value,
            max_age=days * 86400,
            httponly=True,
            secure=self.is_secure,
            samesite="lax",
            path="/",
        )

    async def _admit(self, request: Request) -> str:
        try:
            host = (urlsplit(f"//{request.headers.get('host', '')}").hostname or "").lower()
        except ValueError:  # no address at all
            host = ""
        if host not in self.hosts:
            raise Refused(400, "refused.host")
        if request.method not in ("GET", "HEAD", "POST"):
            raise Refused(405, "refused.method")
        address = request.client.host if request.client else ""
        header = self.door.header
        admitted = await run_in_threadpool(
            self.door.admit,
            request.cookies.get(SESSION, ""),
            request.headers.get(header, "") if header else "",
            address,
        )
        visitor: Visitor | None = admitted.visitor
        request.state.visitor, request.state.form_token = visitor, admitted.form_token
        path = request.url.path
        if request.method == "POST":
            await self._read_form(request)
            expected = admitted.form_token or (
                request.cookies.get(VISIT, "") if path in OPEN else ""
            )
            if not self._is_ours(request) or not same_token(
                request.state.form.get("form_token", ""), expected
            ):
                raise Refused(403, "refused.form")
        if visitor is None and path not in OPEN:
            if self.door.header:
                raise Refused(403, "refused.unknown")
            if request.method == "POST":
                raise Refused(401, "refused.signed_out")
            here = path + (f"?{request.url.query}" if request.url.query else "")
            raise _SignInFirst("/sign-in" + ("" if here == "/" else f"?next={quote(here)}"))
        if (
            request.method == "POST"
            and visitor is not None
            and not visitor.may_write
            and path not in FOR_READERS
        ):
            raise Refused(403, "refused.reader")
        return admitted.token

    async def _read_form(self, request: Request) -> None:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise Refused(415, "refused.form")
        pieces, size = [], 0
        async for piece in request.stream():
            size += len(piece)
            if size > MOST_BYTES:
                raise Refused(413, "refused.size")
            pieces.append(piece)
        try:
            fields = parse_qs(
                b"".join(pieces).decode("utf-8"),
                keep_blank_values=True,
                max_num_fields=200,
                errors="strict",
            )
        except ValueError as wrong:
            raise Refused(400, "refused.form") from wrong
        request.state.form = {name: values[-1] for name, values in fields.items()}

    def _is_ours(self, request: Request) -> bool:
        """Tell whether a form was sent from a page of ours, as far as the browser says."""
        site = request.headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            return False
        origin = request.headers.get("origin")
        if origin is None:
            return True
        return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


class _SignInFirst(Exception):
    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to
