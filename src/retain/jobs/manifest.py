"""What a scored week says about itself: who came in, what stood behind it, what adds up."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import StoreError, many, some
from retain.jobs.opening import Company
from retain.model import Bundle
from retain.snapshots import ELIGIBLE, is_hindsight
from retain.tables import SPECS
from retain.tables.remarks import SPARSE_TIMES, STALE_DAYS

__all__ = ["describe_week"]

NEVER_STALE = ("customers", "costs", "departures")  # quiet weeks are no sign of a broken export
FEWER = 0.01  # share of the rows that may go from one week to the next without a word
WEAK = ("D", "E")  # grades of models on which nobody should act unread


def describe_week(
    company: Company,
    bundle: Bundle,
    scores: pd.DataFrame,
    why: Any,
    day: date,
    without: tuple[str, ...],
) -> dict[str, Any]:
    """Say what was scored, from what and by what.

    Parameters
    ----------
    company, bundle
        What was scored, with which model.
    scores
        As written.
    why
        Reason not to score by customer, `ELIGIBLE` where there is none.
    day
        The scored as_of.
    without
        Tables knowingly left out.

    Returns
    -------
    dict
        customers in = eligible + not eligible + set aside; totals over the eligible ones.
    """
    tables = company.tables
    reasons = pd.Series(why[why != ELIGIBLE]).value_counts().sort_index()
    aside = sum(tables.counts["customers"].set_aside.values())
    sources, notes = _sources(company, day)
    notes += _lost(company, scores, sources, day)
    notes += [
        f"scored without {name}, with which the model was trained"
        for name in without
        if name in bundle.tables
    ]
    grade = bundle.about.get("grade")  # a model saved before there were grades has none
    if grade is not None and grade["letter"] in WEAK:
        notes.append(
            f"the model is graded {grade['letter']}, {grade['meaning']}. Decided by: "
            f"{grade['reason']}. Read its card before acting on the order of this list"
        )
    if is_hindsight(bundle.about["as_of"], day):
        notes.append(
            f"the model was trained as of {bundle.about['as_of']} and has seen what came after "
            f"{day}: hindsight, not a forecast"
        )
    if bundle.clv is None:
        notes.append(
            "CLV is left out: there are neither payments nor subscriptions to learn it from"
        )
    elif bundle.clv.learnt_weeks != company.clv.horizon_weeks:
        notes.append(
            f"CLV is learnt from {bundle.clv.learnt_weeks} weeks and extrapolated to "
            f"{company.clv.horizon_weeks}"
        )
    shown = scores[scores["eligible"]]

    def total(name: str) -> float | None:
        return None if scores[name].isna().all() else round(float(shown[name].sum()), 2)

    return {
        "company": company.config.company,
        "currency": company.config.currency,
        "as_of": str(day),
        "horizon_weeks": company.churn.horizon_weeks,
        "gap_weeks": company.churn.gap_weeks,
        "ripe_weeks": company.churn.ripe_weeks,
        "churn_kind": company.churn.kind,
        "clv_horizon_weeks": company.clv.horizon_weeks,
        "interval": company.config.clv.interval,
        "customers": {
            "in": len(why) + aside,
            "eligible": int((why == ELIGIBLE).sum()),
            "not_eligible": {str(k): int(v) for k, v in reasons.items()},
            "set_aside": aside,
        },
        "totals": {
            "mrr": total("mrr"),
            "value_at_risk": total("value_at_risk"),
            "expected_churners": round(float(shown["churn_probability"].sum()), 2),
            "clv": None if scores["clv"].isna().all() else round(float(scores["clv"].sum()), 2),
        },
        "model_version": bundle.version,
        "model_trained_as_of": bundle.about["as_of"],
        "config_version": company.config.fingerprint(),
        "base_probability": float(bundle.churn.calibrator(_base_score(bundle))),
        "data_fingerprints": tables.fingerprints,
        "sources": sources,
        "notes": notes,
    }


def _sources(company: Company, day: date) -> tuple[dict[str, Any], list[str]]:
    """Count each table's rows and days without news, as on the evening of `day`."""
    tables = company.tables
    sources, notes = {}, []
    for name, counts in tables.counts.items():
        newest, usual_gap = _newest(company, name, day)
        stale = None if newest is None else (day - newest).days
        sources[name] = {
            "as_of": None if newest is None else str(newest),
            "rows_in": counts.rows_in,
            "used": counts.used,
            "set_aside": counts.set_aside,
            "stale_days": stale,
            "is_stale": False,
        }
        if stale is None or name in NEVER_STALE or stale < STALE_DAYS:
            continue
        if stale >= SPARSE_TIMES * usual_gap:  # a row a month is not stale after two weeks
            sources[name]["is_stale"] = True
            notes.append(f"{name}: the newest row is {stale} days older than {day}")
    return sources, notes


def _lost(company: Company, scores: pd.DataFrame, sources: Any, day: date) -> list[str]:
    """Tell what the week before had and this one has not: what an export that broke looks like."""
    earlier = [one for one in company.store.scored_weeks() if one < day]
    if not earlier:
        return []
    last, notes = earlier[-1], []
    try:
        before = company.store.read_manifest(last).get("sources", {})
        columns = ["customer_id", "eligible", "value_at_risk"]
        shown = company.store.read_week(last, "scores", columns)
    except StoreError:  # damaged: no reason to refuse a new week
        return []
    if shown is not None:
        gone = shown[shown["eligible"] & ~shown["customer_id"].isin(scores["customer_id"])]
        if len(gone):
            gone = gone.sort_values(["value_at_risk", "customer_id"], ascending=[False, True])
            notes.append(
                f"{many(len(gone), 'customer', 'customers')} of {int(shown['eligible'].sum()):,} "
                f"scored in the week of {last} "
                f"{'is' if len(gone) == 1 else 'are'} no longer among the customers: "
                f"{some(gone['customer_id'])}"
            )
    for name, now in sources.items():
        unread = now["set_aside"].get("line cannot be read", 0)
        if unread:
            notes.append(f"{name}: {many(unread, 'line', 'lines')} cannot be read; was it cut off?")
        if name not in before or not before[name]["rows_in"] or not now["rows_in"]:
            continue
        had = before[name]["rows_in"]
        if now["rows_in"] < (1 - FEWER) * had:
            notes.append(
                f"{name}: {now['rows_in']:,} rows, {had:,} in the week of {last}; was it cut off?"
            )
        share = sum(now["set_aside"].values()) / now["rows_in"]
        usual = sum(before[name]["set_aside"].values()) / had
        if share > usual + FEWER:
            reason, n = max(now["set_aside"].items(), key=lambda one: one[1])
            notes.append(
                f"{name}: {share:.1%} of the rows are set aside, {usual:.1%} in the week of "
                f"{last}; most often: {reason} ({n:,})"
            )
    return notes


def _newest(company: Company, name: str, day: date) -> tuple[date | None, float]:
    """Give the day of a table's newest row up to `day`, and its usual days between rows."""
    tables, spec = company.tables, SPECS[name]
    columns = tables.columns[name]
    # surveys may know one of two days; customers happen when they sign up
    named = (spec.time, "sent_at", "signed_up_at")
    moment = next((m for m in named if m in columns), None)
    newest = tables.newest.get(name)
    if moment is None:
        return newest, 0.0
    known = f" AND recorded_at < DATE '{day}' + 1" if "recorded_at" in columns else ""
    at = f'"{moment}"'
    ((found, gap),) = tables.ask(
        name,
        f"SELECT CAST(max({at}) AS DATE) AS newest, coalesce(date_diff('day', min({at}), max({at}))"
        f" / greatest(count(DISTINCT CAST({at} AS DATE)) - 1, 1), 0) AS gap FROM {name} "
        f"WHERE {at} < DATE '{day}' + 1{known}",
    )
    return newest if newest is not None and newest <= day else found, float(gap)


def _base_score(bundle: Bundle) -> float:
    """Return the raw score of nobody in particular."""
    nobody = np.full((1, len(bundle.encoder.columns_)), np.nan)
    return float(bundle.churn.head.contributions(nobody)[0, -1])
