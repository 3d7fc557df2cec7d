"""The head and foot of the weekly page: one sentence, key figures, where the data stands, terms.

Counts of customers are checked here: a page whose counts do not add up is not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import RetainError, many
from retain.report.customers import UNSTABLE_PCT, Customer, as_day, has_risen, left_out
from retain.report.wording import (
    clean,
    day,
    long_day,
    money,
    money_short,
    number,
    percent,
    tenths,
)

__all__ = ["list_columns", "page_head", "terms"]

LATE_DAYS = 7
"""A source this many days behind the scored week is shown as late."""


def _count(value: Any) -> int:
    """Read a count, or sum counts by reason."""
    return sum(int(n) for n in value.values()) if isinstance(value, Mapping) else int(value or 0)


def _account(customers: Mapping[str, Any], scored: int) -> list[dict[str, str]]:
    """Check and list: in = eligible + not eligible by reason + set aside."""
    eligible, aside = int(customers["eligible"]), _count(customers.get("set_aside"))
    reasons = {clean(k): int(n) for k, n in (customers.get("not_eligible") or {}).items()}
    total = int(customers["in"])
    if total != eligible + sum(reasons.values()) + aside or scored != eligible:
        raise RetainError(
            f"the manifest's customers do not add up: in {total:,}; found eligible {eligible:,} "
            f"({scored:,} in the scores) + not eligible {sum(reasons.values()):,} "
            f"+ set aside {aside:,}. Expected in = eligible + not eligible + set aside. "
            "Score the week again."
        )
    lines = [
        {"kind": "first", "label": "Customers in", "n": number(total)},
        {"kind": "keep", "label": "Eligible, scored", "n": number(eligible)},
    ]
    for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        lines.append({"kind": "minus", "label": f"Not eligible: {reason}", "n": number(n)})
    return [*lines, {"kind": "minus", "label": "Set aside", "n": number(aside)}]


def _sources(sources: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name, source in sources.items():
        behind = source.get("stale_days")
        late = behind is not None and int(behind) >= LATE_DAYS
        rows.append(
            {
                "name": clean(name),
                "newest": day(as_day(source.get("as_of"))),
                "rows_in": number(_count(source.get("rows_in"))),
                "used": number(_count(source.get("used"))),
                "set_aside": number(_count(source.get("set_aside"))),
                "late": late,
                "freshness": "up to date"
                if not behind or int(behind) <= 0
                else f"{int(behind):,} {'day' if int(behind) == 1 else 'days'} behind",
            }
        )
    return rows


def _totals(scores: pd.DataFrame) -> tuple[int, dict[str, float], int]:
    """Add up what is known of all eligible customers, rounded nowhere before the sum.

    How many there are; their sums, without what nobody has; how many rose this week.
    """
    live = scores.loc[scores["eligible"].fillna(False).astype(bool)]

    def column(name: str) -> Any:
        values = pd.to_numeric(live[name]) if name in live else pd.Series(np.nan, live.index)
        return values.to_numpy(dtype=np.float64, na_value=np.nan)

    p, mrr = column("churn_probability"), column("mrr")
    summed = {"leavers": np.nan_to_num(p), "mrr": mrr, "mrr_at_risk": p * mrr}
    summed |= {"at_risk": column("value_at_risk"), "clv": column("clv")}
    totals = {name: float(np.nansum(v)) for name, v in summed.items() if not np.isnan(v).all()}
    return len(live), totals, int(has_risen(p - column("previous_probability")).sum())


def page_head(
    manifest: Mapping[str, Any], scores: pd.DataFrame, ordered: list[Customer]
) -> dict[str, Any]:
    """Compose the head of the page: the sentence, the figures, where the data stands."""
    currency = clean(manifest.get("currency") or "")
    horizon = int(manifest["horizon_weeks"])
    as_of = as_day(manifest["as_of"])
    assert as_of is not None
    totals = manifest.get("totals") or {}
    n, sums, rose = _totals(scores)
    known = {name: name in sums for name in ("clv", "mrr")}
    leavers = float(totals.get("expected_churners") or sums.get("leavers", 0.0))
    mrr, mrr_at_risk = sums.get("mrr", 0.0), sums.get("mrr_at_risk", 0.0)
    at_risk = float(totals.get("value_at_risk") or sums.get("at_risk", 0.0))
    clv = float(totals.get("clv") or sums.get("clv", 0.0))
    is_compared = any(c.change is not None for c in ordered)

    people = f"{leavers:,.0f} {'customer' if round(leavers) == 1 else 'customers'}"
    verb = "is" if round(leavers) == 1 else "are"
    if known["mrr"]:
        people += f" worth {money_short(mrr_at_risk * 12, currency)} a year"
    elif known["clv"]:
        people += f" worth {money_short(at_risk, currency)}"
    headline = f"{people} {verb} likely to leave within {horizon} weeks"
    first = ordered[: min(20, n)]
    held = sum(c.at_risk for c in first if c.at_risk is not None)
    lead = []
    if known["clv"] and at_risk > 0 and n > len(first):
        lead.append(
            f"The first {len(first)} of {n:,} in the list hold "
            f"{percent(tenths(min(held / at_risk, 1)))} of the value at risk."
        )
    if is_compared:
        lead.append(
            f"{many(rose, 'customer', 'customers')} rose by a point or more since last week."
        )

    def figure(label: str, value: str, hint: str) -> dict[str, str]:
        return {"label": label, "value": value, "hint": hint}

    def whole(amount: float) -> str:
        return (money_short if amount >= 1e7 else money)(round(amount), currency)

    total_in = int(manifest["customers"]["in"])
    figures = [
        figure("Eligible customers", number(n), f"of {total_in:,} in the data"),
        figure(
            "Expected to leave",
            f"{leavers:,.1f}" if leavers < 100 else f"{leavers:,.0f}",
            f"{percent(tenths(leavers / n)) if n else '–'} of eligible, in {horizon} weeks",
        ),
    ]
    if known["clv"]:
        years = manifest.get("clv_horizon_weeks")
        ahead = f"expected margin, {years} weeks ahead" if years else "expected discounted margin"
        figures.append(figure("Value at risk", whole(at_risk), "probability × CLV, summed"))
        # everyone has a value, also who cannot leave any more: who is counted is said
        whose = "CLV, eligible customers"
        if round(clv) > round(sums.get("clv", 0.0)):
            whose = "CLV, with those not eligible"
            ahead += f"; {money_short(sums.get('clv', 0.0), currency)} of it eligible"
        figures.append(figure(whose, whole(clv), ahead))
    if known["mrr"]:
        hint = f"a month, of {money_short(mrr, currency)}"
        figures.append(figure("MRR at risk", whole(mrr_at_risk), hint))

    unlisted = []
    if n > len(ordered):
        unlisted = [
            f"The list holds the first {len(ordered):,} of {n:,} eligible customers; the others "
            "are in scores.parquet. All figures above are over everyone."
        ]
    account = _account(manifest["customers"], n)
    sources = _sources(manifest.get("sources") or {})
    late = [s["name"] for s in sources if s["late"]]
    outside = _count(manifest["customers"].get("not_eligible"))
    aside = _count(manifest["customers"].get("set_aside"))
    newest = max(
        (d for s in (manifest.get("sources") or {}).values() if (d := as_day(s.get("as_of")))),
        default=None,
    )
    basis = (
        f"{total_in:,} customers in = {n:,} eligible + {outside:,} not eligible "
        f"+ {aside:,} set aside" + (f" · newest data {day(newest)}" if newest else "")
    )
    return {
        "company": clean(manifest["company"]),
        "currency": currency,
        "horizon": horizon,
        "as_of": as_of,
        "as_of_text": long_day(as_of),
        "headline": headline,
        "lead": " ".join(lead),
        "figures": figures,
        "eligible": n,
        "notes": [clean(note) for note in manifest.get("notes") or []] + unlisted,
        "basis": basis,
        "stale": f"{len(late)} late: {', '.join(late)}" if late else "",
        "account": account,
        "sources": sources,
        "left_out": left_out(scores),
        "versions": " · ".join(
            f"{label} {clean(manifest[key])}"
            for key, label in (("model_version", "model"), ("config_version", "configuration"))
            if manifest.get(key)
        ),
    }


def list_columns(has: Mapping[str, bool], currency: str, bar_top: int) -> list[dict[str, str]]:
    """Name the columns of the list in order; `key` = what it sorts by."""
    by = "at_risk" if has["value"] else "p"
    unit = f"{currency}" if currency else ""
    columns = [
        ("rank", "", "#", ""),
        ("who", "id", "Customer", ""),
        ("risk-cell", "p", "Leaves", f"bar to {bar_top // 10}%"),
        *([("num", "change", "Change", "")] if has["change"] else []),
        *(
            [("num", "at_risk", "Value at risk", unit), ("num", "clv", "CLV", unit)]
            if has["value"]
            else []
        ),
        *([("num", "mrr", "MRR", unit)] if has["mrr"] else []),
        *([("when", "renews_in", "Renews", "")] if has["renewal"] else []),
        ("why-cell", "", "Associated with", ""),
    ]
    return [
        {
            "kind": k,
            "key": key,
            "label": label,
            "unit": u,
            "sorted": "descending" if key == by else "",
        }
        for k, key, label, u in columns
    ]


def terms(
    horizon: int, interval_pct: int, bar_top: int, has: Mapping[str, bool]
) -> list[tuple[str, str]]:
    """Say what the words mean and what the numbers are not."""
    said = [
        (
            "Association, not cause",
            "A signal listed here goes together with leaving among past customers. It does not say "
            "that changing it would keep this customer. Only a test with a hold-out group can.",
        ),
        (
            "Leaves",
            f"The calibrated probability of leaving within {horizon} weeks after the date above: "
            "of a hundred customers at 20%, about twenty leave. The range is a "
            f"{interval_pct}% interval. The bar runs to {bar_top // 10}%.",
        ),
        (
            "Signals and points",
            "Every customer starts at the same base. Each signal adds or takes away percentage "
            "points; base and signals sum to the probability. “All other signals” holds the "
            "small ones and the rounding.",
        ),
        (
            "Steady, less sure",
            "How often a signal stays among the first when the model is drawn again. Below "
            f"{UNSTABLE_PCT}% the page names no single reason.",
        ),
        (
            "Can be acted on",
            "The company can do something about this signal. Others are context, such as tenure "
            "or industry.",
        ),
        (
            "Since last week",
            "The change, split into the customer's own behaviour, facts about earlier weeks that "
            "arrived late, and a new model version. “Rose this week” means one point or more.",
        ),
    ]
    if has["value"]:
        said.append(
            (
                "CLV and value at risk",
                "CLV is the discounted margin expected from a customer, with an interval. Value at "
                "risk is probability × CLV; it orders the list.",
            )
        )
    said.append(
        (
            "Nothing known is not zero",
            "A chart without a base line means that nothing was known in that week. “Signals "
            "known” says how much of what the model looks at was there.",
        )
    )
    return said
