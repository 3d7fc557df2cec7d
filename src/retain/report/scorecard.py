"""The scorecard of one period: one HTML file without scripts, every number with how it was made.

It is drawn from the same plain card that is written as JSON, so that both say the same.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from retain.metrics import NO_SEGMENT
from retain.report.accounts import chapters
from retain.report.figures import currency_of, good, interval, shown, since
from retain.report.lines import Bridge, draw_bridge, draw_trend
from retain.report.wording import clean, day, number

__all__ = ["render_scorecard", "write_scorecard"]

_FOLDER = Path(__file__).parent
_HEADLINES = 6
PLAIN = ("percent", "points", "hours", "days", "minutes", "count", "ratio")  # seen in the number
_FIRST = (  # what a board asks first; those that are there become the figures at the top
    "mrr",
    "net_revenue_retention",
    "gross_revenue_retention",
    "customer_churn_rate",
    "renewal_rate",
    "nps",
    "csat",
    "ces",
    "first_contact_resolution",
    "stickiness",
)


def _parameter(value: Any) -> str:
    """Write a parameter as a reader would."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{clean(k)}: {_parameter(v)}" for k, v in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_parameter(one) for one in value) or "none"
    return clean(value)


def _amount(value: float | None, unit: str) -> str:
    """Print a numerator or a denominator: money where the metric is money, else a number."""
    if value is None:
        return "–"
    return shown(value, unit) if currency_of(unit) else number(round(value, 2))


def _how(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say how a value was computed: term and text, what does not apply left out."""
    left_out = one["excluded"]
    lines = [
        ("Computed as", one["formula"]),
        ("Definition", one["variant"].replace("_", " ")),
        *(
            (term, _amount(one[term.lower()], one["unit"]))
            for term in ("Numerator", "Denominator")
            if one[term.lower()] is not None
        ),
        ("Exactly", one["exact"] or ""),
        ("n", number(one["n"])),
        (
            "Interval",
            f"{interval(one['low'], one['high'], one['unit'])}, {one['level']:.0%}"
            if one["low"] is not None and one["level"]
            else "",
        ),
        (
            "Rows",
            f"{number(one['rows_in'])} in = {number(one['used'])} used + "
            f"{number(sum(left_out.values()))} left out",
        ),
        (
            "Left out",
            ", ".join(f"{clean(why)} {number(n)}" for why, n in left_out.items() if n),
        ),
        (
            "Made of",
            ", ".join(f"{clean(k).replace('_', ' ')} {number(v)}" for k, v in one["parts"].items()),
        ),
        (
            "Parameters",
            "; ".join(
                f"{clean(k).replace('_', ' ')}: {_parameter(v)}"
                for k, v in one["parameters"].items()
            ),
        ),
        ("Note", "; ".join(clean(note) for note in one["notes"])),
    ]
    return [(term, text) for term, text in lines if text]


def _apart(one: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    """Tell whether a segment differs from the whole by more than its interval allows."""
    if None in (one["low"], one["high"], whole["value"]):
        return ""
    if one["low"] <= whole["value"] <= one["high"]:
        return ""
    better = good(one["value"], whole["value"], one["direction"])
    return "" if better is None else "better" if better else "worse"


def _segment(one: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "names": " · ".join(clean(value) for value in one["by"].values()),
        "value": shown(one["value"], one["unit"]),
        "because": one["undefined_because"] or "",
        "between": interval(one["low"], one["high"], one["unit"]),
        "numerator": _amount(one["numerator"], one["unit"]),
        "denominator": _amount(one["denominator"], one["unit"]),
        "n": number(one["n"]),
        "left_out": number(sum(one["excluded"].values())),
        "apart": _apart(one, whole),
    }


def _line(one: Mapping[str, Any], place: int, periods: Sequence[str]) -> dict[str, Any]:
    """Write one metric of the list."""
    unit, direction = one["unit"], one["direction"]
    values = [step["value"] for step in one["trend"]]
    moved, better = since(one)
    met = one["target_met"]
    return {
        "id": f"m{place}-{one['name']}",
        "label": clean(one["label"]),
        "variant": one["variant"].replace("_", " ")
        + ("" if unit in PLAIN or currency_of(unit) == unit else f", {unit}"),
        "value": shown(one["value"], unit),
        "because": clean(one["undefined_because"] or ""),
        "between": interval(one["low"], one["high"], unit),
        "target": "" if one["target"] is None else shown(one["target"], unit),
        "aim": {"lower is better": "at most", "higher is better": "at least"}.get(direction, ""),
        "met": met,
        "change": moved,
        "better": better,
        "low_n": any("low n" in note for note in one["notes"]),
        "trend": draw_trend(
            values, one["target"], periods, [shown(value, unit) for value in values]
        ),
        "n": number(one["n"]),
        "how": _how(one),
        "by": {
            column: [_segment(s, one) for s in one["segments"] if column in s["by"]]
            for column in dict.fromkeys(key for s in one["segments"] for key in s["by"])
        },
    }


def _matrices(card: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lay out metrics by segment, one table per column asked for."""
    tables = []
    for column in card["by"]:
        rows = []
        for line in lines:
            found = {s["names"]: s for s in line["by"].get(column, [])}
            if found:
                rows.append({"line": line, "found": found})
        # nobody's place is shown where it holds anything
        names = list(
            dict.fromkeys(
                name
                for row in rows
                for name, one in row["found"].items()
                if name != NO_SEGMENT or not one["because"]
            )
        )
        if rows:
            tables.append({"column": column, "names": names, "rows": rows})
    return tables


def _headline(card: Mapping[str, Any], judged: Sequence[bool]) -> tuple[str, str]:
    """Say the period in one sentence, and what to know about it in another."""
    met = sum(judged)
    by_name = {one["name"]: one for one in card["metrics"]}
    said = []
    for name, words in (
        ("mrr", "MRR of {}"),
        ("net_revenue_retention", "{} net revenue retention"),
        ("customer_churn_rate", "{} of customers lost"),
        ("nps", "NPS {}"),
    ):
        one = by_name.get(name)
        if one is not None and one["value"] is not None:
            said.append(words.format(shown(one["value"], one["unit"])))
    title = card["period"]["title"]
    sentence = f"{title}: {', '.join(said[:3])}" if said else f"{title} in numbers"
    defined = sum(one["value"] is not None for one in card["metrics"])
    lead = f"{defined:,} metrics"
    if len(card["metrics"]) > defined:
        lead += f", {len(card['metrics']) - defined:,} more undefined with their reason"
    if judged:
        lead = f"{met:,} of {len(judged):,} targets met. {lead}"
    return sentence, f"{lead}. Open any number to see how it was computed."


def _figures(lines: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    chosen = [lines[name] for name in _FIRST if name in lines and not lines[name]["because"]]
    rest = [line for line in lines.values() if line not in chosen and not line["because"]]
    return [*chosen, *rest][:_HEADLINES]


def _bridge(card: Mapping[str, Any]) -> Bridge | None:
    """Draw the way from MRR at the start to MRR at the end, when there is a ledger."""
    book = card["accounts"].get("ledger")
    if book is None:
        return None
    signs = {"contraction": -1, "churn": -1}
    moves = book["movements"]
    order = ("new", "reactivation", "expansion", "contraction", "churn")
    return draw_bridge(
        [
            {"label": "MRR at the start", "amount": book["start"], "kind": "total"},
            *(
                {"label": k.capitalize(), "amount": signs.get(k, 1) * moves[k], "kind": "move"}
                for k in order
            ),
            {"label": "MRR at the end", "amount": book["end"], "kind": "total"},
        ],
        card["currency"],
    )


def render_scorecard(card: Mapping[str, Any], *, theme: str = "") -> str:
    """Render one period as a self-contained page.

    Parameters
    ----------
    card
        What `metrics.json` holds.
    theme
        ``light`` or ``dark`` to fix the colours; empty = as the reader's system prefers.

    Returns
    -------
    str
        HTML; the same card gives the same text.
    """
    periods = card["periods"]
    lines = [_line(one, at, periods) for at, one in enumerate(card["metrics"])]
    themes: dict[str, list[dict[str, Any]]] = {}
    for one, line in zip(card["metrics"], lines, strict=True):
        themes.setdefault(clean(one["theme"]), []).append(line)
    judged = [line["met"] for line in lines if line["met"] is not None]
    headline, lead = _headline(card, judged)
    by_name = {
        one["name"]: line for one, line in reversed(list(zip(card["metrics"], lines, strict=True)))
    }
    css = "\n".join(
        (_FOLDER / name).read_text(encoding="utf-8").strip()
        for name in ("page.css", "scorecard.css")
    )
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("scorecard.html").render(
        theme=theme,
        css=Markup(css),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'",
        company=clean(card["company"]),
        period=card["period"],
        days=f"{day(date.fromisoformat(card['period']['start']))} to "
        f"{day(date.fromisoformat(card['period']['last']))}, {card['timezone']}",
        headline=headline,
        lead=lead,
        figures=_figures(dict(reversed(by_name.items()))),
        notes=[clean(note) for note in card["notes"]],
        themes=themes,
        shows_targets=any(line["target"] for line in lines),
        bridge=_bridge(card),
        matrices=_matrices(card, lines),
        chapters=chapters(card),
        left_out=[
            *card["left_out"],
            *(
                {"label": f"Chapter: {clean(name)}", "because": because}
                for name, because in card.get("accounts_left_out", {}).items()
            ),
        ],
        checks=card["checks"],
        first_period=periods[0],
        last_period=periods[-1],
        versions=f"data until {day(date.fromisoformat(card['data_until']))} · configuration "
        f"{card['config_version']}",
    )
    return text.strip() + "\n"


def write_scorecard(path: str | Path, card: Mapping[str, Any]) -> Path:
    """Write the scorecard of one period; see `render_scorecard` for what it takes.

    Returns
    -------
    Path
        The file written; the same card gives the same bytes.
    """
    path = Path(path)
    path.write_text(render_scorecard(card), encoding="utf-8", newline="\n")
    return path
