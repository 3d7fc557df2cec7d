"""Pages from templates: the environment, what every page is given, and the ways of writing values.

Values are formatted as on the weekly page; everything put into a template is escaped.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from retain.report.wording import NOTHING, chance, clean, money, money_short, number, points, tenths
from retain.review.desk import Desk
from retain.review.reasons import say_reason, say_signal
from retain.review.words import LANGUAGES, Words, preferred, words

__all__ = [
    "PAGES",
    "SHORTCUTS",
    "customer_path",
    "days_between",
    "desk_of",
    "draw_page",
    "environment",
    "go",
    "placed",
    "plain",
    "static_text",
    "words_of",
]

_FOLDER = Path(__file__).parent
PAGES = (
    ("queue", "/"),
    ("customers", "/customers"),
    ("portfolio", "/portfolio"),
    ("pain", "/pain"),
    ("misses", "/misses"),
    ("scoreboard", "/scoreboard"),
    ("metrics", "/metrics"),
)
"""The pages in the bar: name and path."""

SHORTCUTS = (
    (("/",), "search"),
    (("j", "k"), "rows"),
    (("Enter",), "open"),
    (("1", "2", "3", "4"), "verdict"),
    (("g", "q"), "queue"),
    (("g", "c"), "customers"),
    (("g", "p"), "portfolio"),
    (("g", "s"), "scoreboard"),
    (("?",), "help"),
)
"""Keys, and the text that says what they do."""


def desk_of(request: Request) -> Desk:
    """Give the desk that this request is for."""
    desk: Desk = request.app.state.desk
    return desk


def words_of(request: Request) -> Words:
    """Give the texts in the reader's language."""
    return words(
        preferred(
            request.cookies.get("retain_language", ""), request.headers.get("accept-language", "")
        )
    )


def customer_path(customer_id: str) -> str:
    """Give the path of a customer's page, whatever the id holds.

    Examples
    --------
    >>> customer_path("a/b?c")
    '/customers/a%2Fb%3Fc'
    """
    return f"/customers/{quote(str(customer_id), safe='')}"


@functools.cache
def static_text(name: str) -> str:
    """Read a file that browsers fetch; the style sheet starts with that of the weekly page."""
    if name == "review.css":
        shared = _FOLDER.parent / "report" / "page.css"
        return (
            shared.read_text(encoding="utf-8")
            + "\n"
            + (_FOLDER / "static" / name).read_text(encoding="utf-8")
        )
    return (_FOLDER / "static" / name).read_text(encoding="utf-8")


@functools.cache
def _stamp() -> str:
    both = static_text("review.css") + static_text("review.js")
    return hashlib.sha256(both.encode()).hexdigest()[:12]


def _share(value: float | None) -> str:
    return NOTHING if value is None else chance(tenths(value))


def _percent(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value * 100:.{digits}f}%".replace("-", "−")


@pass_context
def _points(context: Any, value: float | None) -> str:
    return NOTHING if value is None else _unit(context, points(tenths(value)))


@pass_context
def _unit(context: Any, text: str) -> str:
    """Say "points" in the reader's language."""
    return text.replace(" pts", f" {context['t']('unit.points')}")


def placed(row: Mapping[str, Any], t: Words, currency: str) -> str:
    """Say why a customer is on the list, or is not, in the reader's language."""
    key, figures = f"placed.{row['why_code']}", row["why_figures"]
    if isinstance(figures, str):
        figures = json.loads(figures)
    if not t.has(key) or figures is None:
        return clean(row["why"])

    def worth(name: str) -> str:
        value = figures.get(name)
        return t("placed.no_value") if value is None else money(float(round(value)), currency)

    probability, percentile = figures.get("probability"), figures.get("percentile")
    return t(
        key,
        probability=NOTHING if probability is None else f"{100 * probability:.0f}%",
        top=NOTHING if percentile is None else f"{max(100 - percentile, 0.1):.1f}%",
        percentile=NOTHING if percentile is None else f"{percentile:.0f}",
        worth=worth("worth"),
        last=worth("last"),
        weeks=figures.get("weeks", NOTHING),
        share=f"{100 * (figures.get('share') or 0):.0f}%",
        contacted_on=t.day(figures.get("contacted_on")),
        until=t.day(figures.get("until")),
        needed=f"{figures.get('needed') or 0:.0f}",
        owner=clean(figures.get("owner") or NOTHING),
        capacity=figures.get("capacity", NOTHING),
    )


def _whole(value: float | None) -> str:
    return NOTHING if value is None else number(round(value))


def _bar(p: float | None, low: float | None, high: float | None, band: str | None) -> Markup:
    """Draw a probability with its interval as a bar."""
    if p is None:
        return Markup("")

    def at(value: float) -> int:
        return max(0, min(1000, int(value * 1000 + 0.5)))

    span = ""
    if low is not None and high is not None:
        span = (
            f'<rect class="span" x="{at(low)}" y="10" width="{max(at(high) - at(low), 0)}" '
            'height="60"></rect>'
        )
    return Markup(
        f'<svg class="risk {escape(band or "")}" viewBox="0 0 1000 80" preserveAspectRatio="none" '
        'aria-hidden="true"><rect class="track" x="0" y="30" width="1000" height="20"></rect>'
        f'{span}<rect class="fill" x="0" y="30" width="{at(p)}" height="20"></rect>'
        f'<rect class="mark" x="{max(at(p) - 6, 0)}" y="0" width="12" height="80"></rect></svg>'
    )


def _moment(text: str | None, zone: ZoneInfo, t: Words) -> str:
    """Print a stored moment in the company's zone."""
    if not text:
        return NOTHING
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return clean(text)
    return t.moment((at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(zone))


@functools.cache
def environment() -> Environment:
    """Give the environment of all templates; autoescaped, and strict about names."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        share=_share,
        percent=_percent,
        points=_points,
        unit=_unit,
        number=number,
        whole=_whole,
        money=money,
        short=money_short,
        clean=clean,
        path=customer_path,
    )
    made.globals.update(risk_bar=_bar)
    return made


def draw_page(
    request: Request, template: str, *, here: str = "", status: int = 200, **values: Any
) -> Response:
    """Draw a page.

    Parameters
    ----------
    template
        Its file.
    here
        The page's name in the bar.
    status
        HTTP status.
    values
        What the template shows.
    """
    desk, t = desk_of(request), words_of(request)
    token = values.pop("form_token", request.state.form_token)

    def hidden() -> Markup:
        return Markup('<input type="hidden" name="form_token" value="{}">').format(token)

    def link(**changes: Any) -> str:
        """Give this page's own address with other parameters."""
        asked = dict(request.query_params) | changes
        asked = {k: v for k, v in asked.items() if v not in ("", None)}
        asked.pop("said", None)
        return request.url.path + (f"?{urlencode(asked)}" if asked else "")

    said = request.query_params.get("said", "")
    shown: dict[str, Any] = {
        "t": t,
        "company": clean(desk.company),
        "currency": desk.currency,
        "visitor": request.state.visitor,
        "signs_in": desk.door.must_sign_in and not desk.door.header,
        "pages": PAGES,
        "shortcuts": SHORTCUTS,
        "here": here,
        "hidden": hidden,
        "link": link,
        "back": "/"
        if request.method == "POST"
        else request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "theme": _theme(request),
        "languages": [words(name) for name in LANGUAGES],
        "stamp": _stamp(),
        "said": t(f"said.{said}") if t.has(f"said.{said}") else "",
        "as_of": None,
        "placed": lambda row: placed(row, t, desk.currency),
        "reason": lambda text: clean(say_reason(text or "", t.language)),
        "signal_name": lambda name: clean(say_signal(name or "", t.language)),
        "moment": lambda text: _moment(text, desk.zone, t),
        "today": datetime.now(desk.zone).date().isoformat(),
    }
    text = environment().get_template(template).render(shown | values)
    return HTMLResponse(text, status_code=status)


def _theme(request: Request) -> str:
    theme = request.cookies.get("retain_theme", "")
    return theme if theme in ("light", "dark") else ""


def go(path: str, *, said: str = "", at: str = "") -> RedirectResponse:
    """Send the browser on after something was written; `said` names the text that confirms it."""
    if said:
        path += ("&" if "?" in path else "?") + urlencode({"said": said})
    return RedirectResponse(path + (f"#{at}" if at else ""), status_code=303)


def days_between(first: str | None, second: str) -> int | None:
    """Count the days from `second` to `first`, both ISO dates; None when there is no first."""
    if not first:
        return None
    return (date.fromisoformat(first[:10]) - date.fromisoformat(second[:10])).days


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row whose texts can be shown."""
    return {k: clean(v) if isinstance(v, str) else v for k, v in row.items()}
