"""The weekly page for a customer-success lead: one HTML file that needs nothing but a browser.

The first `STATIC_ROWS` customers and their sections are in the file as markup; all of them are in
it as compact data that a small script shows on demand. The page's own policy forbids every outside
address and every script but that one.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from retain.errors import RetainError
from retain.report import sums
from retain.report.customers import (
    UNSTABLE_PCT,
    Customer,
    as_day,
    packed,
    read_customers,
    series_named,
)
from retain.report.headline import list_columns, page_head, terms
from retain.report.sparks import Spark, draw
from retain.report.sums import BANDS, fixed_words
from retain.report.wording import ODDS, STEADY, chance, day, number, odds, percent, points, tenths

__all__ = ["STATIC_ROWS", "render_report", "write_report"]

STATIC_ROWS = 50
"""Customers shown at first, and without any script."""

_FOLDER = Path(__file__).parent
_SERIES = {
    "events": ("bars", "Usage, events a week"),
    "contacts": ("bars", "Support contacts a week"),
    "nps": ("dots", "Survey answers, NPS 0–10"),
    "mrr": ("level", "MRR"),
    "spend": ("bars", "Spend a week"),
}


def _data_block(payload: Mapping[str, Any]) -> Markup:
    """JSON that cannot end its own script block, nor break a line of script."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _environment(filters: Mapping[str, Callable[..., object]]) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=False,
    )
    environment.filters.update(filters)
    return environment


def render_report(
    *,
    scores: pd.DataFrame,
    drivers: pd.DataFrame | None = None,
    weekly: pd.DataFrame | None = None,
    manifest: Mapping[str, Any],
    theme: str = "",
) -> str:
    """Render one scored week as a self-contained page.

    Parameters
    ----------
    scores
        One row per customer, as `score` writes it; probabilities in [0, 1], amounts in currency.
    drivers
        One row per customer, target and signal: churn contributions in probability (0.05 = 5
        points), CLV contributions in currency. None = the sentences of the scored row alone.
    weekly
        One row per customer-week with any of events, contacts, nps, mrr, spend. None = no charts.
    manifest
        Company, as_of, horizon_weeks, customers, totals, sources, notes, versions and
        base_probability; optional: interval (share, 0.9) and clv_horizon_weeks.
    theme
        ``light`` or ``dark`` to fix the colours; empty = as the reader's system prefers.

    Returns
    -------
    str
        HTML; the same inputs give the same text (there is no clock in it).

    Raises
    ------
    RetainError
        When the manifest's counts do not add up.
    """
    as_of = as_day(manifest["as_of"])
    if as_of is None:
        raise RetainError(
            "the manifest has no as_of; expected the last day of the scored week. Score again."
        )
    ordered = read_customers(scores, drivers, weekly, as_of)
    frame = page_head(manifest, scores, ordered)
    horizon, currency = int(frame["horizon"]), str(frame["currency"])
    base_share = manifest.get("base_probability")
    base = None if base_share is None else tenths(float(base_share))
    interval_pct = round(float(manifest.get("interval") or 0.9) * 100)
    words = fixed_words(horizon)
    names = series_named(weekly)
    nps_top = 10.0
    highest = max((c.high or c.p for c in ordered), default=0)
    bar_top = next(top for top in (100, 250, 500, 1000) if highest <= top or top == 1000)
    has = {
        "change": any(c.change is not None for c in ordered),
        "value": any(c.clv is not None for c in ordered),
        "mrr": any(c.mrr is not None for c in ordered),
        "renewal": any(c.renews_in is not None for c in ordered),
    }
    titles = {
        name: f"{title}, {currency}" if name in ("mrr", "spend") and currency else title
        for name, (_, title) in _SERIES.items()
    }

    def sparks(c: Customer) -> list[Spark]:
        return [
            draw(_SERIES[name][0], titles[name], c.weeks[name], nps_top if name == "nps" else None)
            for name in names
        ]

    columns = list_columns(has, currency, bar_top)
    data = packed(ordered)
    lists: dict[str, list[str]] = data["lists"]
    choices = {
        name: [
            (i, (BANDS.get(w, w) if name == "band" else w) or "(none)") for i, w in enumerate(known)
        ]
        for name, known in lists.items()
    }
    choices["band"].sort(key=lambda choice: {"high": 0, "watch": 1, "low": 2}.get(choice[1], 3))
    payload = data | {
        "words": words,
        "odds": ODDS,
        "steady": STEADY,
        "unstable": UNSTABLE_PCT,
        "first": STATIC_ROWS,
        "base": base,
        "bar_top": bar_top,
        "interval": interval_pct,
        "horizon": horizon,
        "currency": currency,
        "as_of": as_of.isoformat(),
        "has": has,
        "by": "at_risk" if has["value"] else "p",
        "series": [
            [name, _SERIES[name][0], titles[name], nps_top if name == "nps" else None]
            for name in names
        ],
        "columns": len(columns),
    }
    css, js = (
        (_FOLDER / name).read_text(encoding="utf-8").strip() for name in ("page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = _environment(
        {
            "chance": chance,
            "points": points,
            "number": number,
            "odds": odds,
            "date_in": lambda days: day(as_of + datetime.timedelta(days=days)),
            "in_days": sums.in_days,
        }
    )
    left = int(frame["eligible"]) - STATIC_ROWS
    text = environment.get_template("page.html").render(
        **frame,
        theme=theme,
        policy=policy,
        css=Markup(css),
        js=Markup(js),
        payload=_data_block(payload),
        customers=ordered,
        static_rows=STATIC_ROWS,
        columns=columns,
        choices=choices,
        sorts=[(c["key"], c["label"]) for c in columns if c["key"] not in ("", "rank")],
        has=has,
        words=words,
        terms=terms(horizon, interval_pct, bar_top, has),
        no_script=(
            f"Without scripts the first {STATIC_ROWS} customers are shown; {left:,} more are in "
            "scores.parquet."
            if left > 0
            else "Searching and sorting need scripts; every customer is shown below."
        ),
        percent=percent,
        number=number,
        bar_at=lambda p: min(1000, int(p / bar_top * 1000 + 0.5)),
        steps=lambda c: sums.steps(c, base, words),
        moved=lambda c: sums.moved(c, words),
        worth=lambda c: sums.worth(c, currency, words),
        facts=lambda c: sums.facts(c, interval_pct),
        sparks=sparks,
    )
    return text.strip() + "\n"


def write_report(
    path: str | Path,
    *,
    scores: pd.DataFrame,
    drivers: pd.DataFrame | None = None,
    weekly: pd.DataFrame | None = None,
    manifest: Mapping[str, Any],
) -> Path:
    """Write one scored week as a self-contained page; see `render_report` for what it takes.

    Returns
    -------
    Path
        The file written; the same inputs give the same bytes.
    """
    path = Path(path)
    text = render_report(scores=scores, drivers=drivers, weekly=weekly, manifest=manifest)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
