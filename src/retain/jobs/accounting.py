"""The accounts behind a period's metrics: lists that add up, each as a table and as a summary.

What a metric says in one number an account says customer by customer: the MRR ledger, the same
month under other vendors' rules, what each customer brings and costs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from retain import __version__
from retain.errors import TableError
from retain.jobs.calculating import Calculating
from retain.jobs.opening import Company
from retain.jobs.store import partial
from retain.metrics import (
    Period,
    comment_themes,
    customer_ledger,
    lost_prospects,
    mrr_ledger,
    pain_points,
    same_month,
)
from retain.report.figures import plain

__all__ = ["ACCOUNTS", "Account", "accounts_of"]

MOST_LISTED = 8  # customers at either end of a list
MOST_NAMED = 5  # customers named in a summary; the table has them all


@dataclass(frozen=True)
class Account:
    """One account of a period.

    Parameters
    ----------
    summary
        Plain data, for the card.
    tables
        File name, without its ending, to a table with every line.
    """

    summary: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def ledger(calculating: Calculating, period: Period) -> Account:
    """List every movement of MRR, and how they lead from its start to its end."""
    book = mrr_ledger(calculating.table("subscriptions"), period)
    movements = {kind: plain(amount) for kind, amount in book.totals.items()}
    return Account(
        {"start": plain(book.start), "end": plain(book.end), "movements": movements},
        {"ledger": book.rows()},
    )


def vendors(calculating: Calculating, period: Period) -> Account:
    """Compute the period as four vendors would, and account for the differences."""
    month = same_month(
        calculating.table("subscriptions"), period, payments=calculating.table("payments", None)
    )
    all_of = month.vendors
    base, *others = all_of
    parts, lines = [], []
    for other in others:
        differences = month.differences(base, other)
        differences.insert(0, "vendor", other)
        parts.append(differences)
        for (figure, rule), some in differences.groupby(["figure", "rule"], sort=False):
            largest = some.reindex(
                some["amount"].abs().sort_values(ascending=False, kind="stable").index
            )
            lines.append(
                {
                    "vendor": other,
                    "figure": figure,
                    "rule": rule,
                    "amount": plain(sum(some["amount"])),
                    "customers": len(some),
                    "largest": [str(one) for one in largest["customer_id"][:MOST_NAMED]],
                }
            )
    table = month.table()
    summary = {
        "base": base,
        "vendors": list(all_of),
        "figures": {
            str(name): {"unit": unit}
            | {v: plain(month.figures[v][str(name)]) for v in month.vendors}
            for name, unit in table["unit"].items()
        },
        "differences": lines,
        "not_shown": {vendor: list(said) for vendor, said in month.not_shown.items()},
    }
    return Account(
        summary,
        {
            "vendors": table.rename_axis("figure").reset_index(),
            "vendors-differences": pd.concat(parts, ignore_index=True),
        },
    )


def roi(calculating: Calculating, period: Period) -> Account:
    """Draw up what every customer brought and cost, reconciled with the cost table."""
    future, as_of = _expected_value(calculating, period)
    names = ("customers", "interactions", "costs", "referrals", "surveys")
    book = customer_ledger(
        calculating.table("payments"),
        period,
        **{name: calculating.table(name, None) for name in names},
        clv=future,
        **calculating.parameters_of(customer_ledger),
    )
    customers = book.customers
    ordered = customers.sort_values(
        ["contribution", "customer_id"], ascending=[False, True], kind="stable"
    )
    lines = _records(ordered)
    summary = {
        "totals": {name: plain(amount) for name, amount in book.totals.items()},
        "customers": len(customers),
        "losing": int((customers["contribution"] < 0).sum()),
        "reconciliation": _records(book.reconciliation),
        "rows_in": book.rows_in,
        "used": book.used,
        "excluded": dict(book.excluded),
        "most": lines[:MOST_LISTED],
        "least": lines[MOST_LISTED:][-MOST_LISTED:],
        "expected_value_as_of": as_of,
    }
    return Account(summary, {"roi": customers, "roi-lines": book.lines(None)})


def _expected_value(
    calculating: Calculating, period: Period
) -> tuple[pd.DataFrame | None, str | None]:
    """Give the CLV of the newest week scored in the period, when there is one."""
    try:
        scores = calculating.scores(period)
    except TableError:
        return None, None
    known = scores.loc[scores["clv"].notna(), ["customer_id", "clv"]]
    if known.empty:
        return None, None
    return known.reset_index(drop=True), str(scores["as_of"].iloc[0])


def pain(calculating: Calculating, period: Period) -> Account:
    """Rank what customers came for: topics, channels, stages of the journey."""
    names = ("customers", "subscriptions", "departures")
    tables = {name: calculating.table(name, None) for name in names}
    found: list[pd.DataFrame] = []
    summary: dict[str, Any] = {}
    for of in ("topic", "channel", "stage"):
        try:
            points = pain_points(
                calculating.table("interactions"),
                period,
                of=of,
                **tables,
                **calculating.parameters_of(pain_points),
            )
        except TableError as problem:
            summary[of] = {"because": str(problem), "lines": []}
            continue
        lines = points.table.astype(object).where(points.table.notna(), None)
        summary[of] = {
            "no_churn_because": points.no_churn_because,
            "level": points.level,
            "lines": [
                {str(k): plain(v) for k, v in one.items()} for one in lines.to_dict("records")
            ],
        }
        found.append(points.table.assign(of=of))
    if not found:
        raise TableError("; ".join(str(one["because"]) for one in summary.values()))
    table = pd.concat(found, ignore_index=True)
    return Account(
        summary, {"pain-points": table[["of", *(c for c in table.columns if c != "of")]]}
    )


def prospects(calculating: Calculating, period: Period) -> Account:
    """Tell where trials that did not convert stopped."""
    lost = lost_prospects(
        calculating.table("subscriptions"),
        calculating.table("usage"),
        period,
        **calculating.parameters_of(lost_prospects),
    )
    return Account(
        {
            "stages": _records(lost.table.drop(columns="customers")),
            "rows_in": lost.rows_in,
            "used": lost.used,
            "excluded": dict(lost.excluded),
        },
        {"lost-prospects": lost.table},
    )


def comments(calculating: Calculating, period: Period) -> Account:
    """Tell what customers write about: themes, their share, the scores beside them, the change."""
    surveys = calculating.table("surveys")
    scales = calculating.company.tables.scales
    found = comment_themes(
        surveys,
        period,
        scales={kind: (float(low), float(high)) for kind, (low, high) in scales.items()},
        **calculating.parameters_of(comment_themes),
    )
    if found.undefined_because:
        raise TableError(found.undefined_because)
    lines = [
        {
            "name": one.name,
            "words": list(one.words),
            "n": one.n,
            "share": plain(one.share),
            "low": one.low,
            "high": one.high,
            "mean_scores": {kind: plain(mean) for kind, mean in sorted(one.mean_scores.items())},
            "previous_n": one.previous_n,
            "previous_share": plain(one.previous_share),
            "change": plain(one.change),
        }
        for one in found.themes
    ]
    summary = {
        "themes": lines,
        "comments": found.comments,
        "previous_comments": found.previous_comments,
        "without_theme": found.without_theme,
        "scales": {kind: list(scale) for kind, scale in scales.items()},
        "notes": list(found.notes),
    }
    return Account(summary, {"comment-themes": pd.DataFrame(lines)})


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Write a table as plain lines."""
    return [{str(k): plain(v) for k, v in one.items()} for one in frame.to_dict("records")]


def effort(calculating: Calculating, period: Period) -> Account:
    """Say what effort costs: as found, and among customers who were alike."""
    from retain.jobs.effort import effort_costs_of

    company = calculating.company
    settings = company.config.metrics
    if not settings.effort:
        raise TableError("not asked for: metrics.effort is false")
    last = min(period.end - timedelta(1), company.tables.data_until)
    rate = settings.costs.rate_per_minute
    asked: dict[str, Any] = {
        "week": company.calendar.last_complete_week(last),
        "rate_per_minute": None if rate is None else float(rate),
        "level": settings.level,
    }
    kept = _kept_path(company, asked)
    if kept.exists():  # equal data, equal settings: equal figures, and a minute saved
        summary = json.loads(kept.read_text(encoding="utf-8"))
        return Account(summary, {"effort": pd.DataFrame(summary["lines"])})
    found = effort_costs_of(company, **asked)
    lines = [
        {
            "name": one.name,
            "label": one.label,
            "kind": one.kind,
            "status": one.status,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "unit": one.unit,
            "level": one.level,
            "n": one.n,
            "customers": one.customers,
            "assumptions": list(one.assumptions),
            "hidden": None if one.hidden is None else one.hidden.sentence(),
            "undefined_because": one.undefined_because,
        }
        for one in found.lines
    ]
    summary = {
        "lines": lines,
        "definitions": list(found.definitions),
        "not_computed": list(found.not_computed),
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = partial(kept)
    aside.write_text(json.dumps(summary, ensure_ascii=False), encoding="utf-8")
    aside.replace(kept)
    return Account(summary, {"effort": pd.DataFrame(lines)})


def _kept_path(company: Company, asked: Mapping[str, Any]) -> Path:
    """Say where figures are kept that depend on nothing but these data and settings."""
    given = [
        __version__,
        company.config.fingerprint(),
        dict(sorted(company.tables.fingerprints.items())),
        dict(asked),
        find_spec("doubleml") is not None,  # what makes the adjusted figures
    ]
    key = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
    return company.store.folder / "effort" / f"{key}.json"


ACCOUNTS: dict[str, Callable[[Calculating, Period], Account]] = {
    "ledger": ledger,
    "vendors": vendors,
    "roi": roi,
    "pain": pain,
    "comments": comments,
    "prospects": prospects,
    "effort": effort,
}


def accounts_of(
    calculating: Calculating, period: Period
) -> tuple[dict[str, Account], dict[str, str]]:
    """Draw up every account whose tables are there.

    Returns
    -------
    tuple
        Accounts by name; and for the others the reason why they were left out.
    """
    made, left_out = {}, {}
    for name, draw_up in ACCOUNTS.items():
        try:
            made[name] = draw_up(calculating, period)
        except TableError as problem:
            left_out[name] = str(problem)
    return made, left_out
