"""One customer: three opinions side by side, reasons to check and contradict, history, trail."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from retain.actions import StaleWrite, lists
from retain.actions.schema import JUDGEMENTS, VERDICTS
from retain.report import sums
from retain.report.customers import Customer, read_customers
from retain.report.sparks import Spark, draw
from retain.report.wording import chance, points, tenths
from retain.review.desk import Desk
from retain.review.drawing import (
    customer_path,
    days_between,
    desk_of,
    draw_page,
    go,
    plain,
    words_of,
)
from retain.review.guard import Refused, form_of
from retain.review.weekfiles import customer_rows, roi_of
from retain.review.words import Words

__all__ = ["router"]

router = APIRouter()
_SERIES = {
    "events": "bars",
    "contacts": "bars",
    "nps": "dots",
    "mrr": "level",
    "spend": "bars",
}
_CODES = ("agree", "data_wrong", "sponsor", "contract", "product", "price", "support", "other")
_JUDGED = ("reason_code", "comment", "action_taken", "action_on", "outcome", "outcome_on")
_OUTCOMES = ("renewed", "expanded", "reduced", "left", "paused", "unknown")
_MOST_TIMELINE = 60


def _theirs(desk: Desk, request: Request, customer_id: str) -> None:
    """Refuse a customer who is not there, or not this person's, in the same words."""
    only = request.state.visitor.only_owner
    try:
        owner = lists.customer_owner(desk.store, customer_id)
    except KeyError:
        raise Refused(404, "refused.missing") from None
    if only is not None and owner != only:
        raise Refused(404, "refused.missing")


@router.get("/customers/{customer_id:path}")
def customer(request: Request, customer_id: str) -> Response:
    """Show one customer."""
    return _page(request, customer_id)


def _page(
    request: Request,
    customer_id: str,
    *,
    status: int = 200,
    conflict: dict[str, Any] | None = None,
) -> Response:
    desk, t = desk_of(request), words_of(request)
    _theirs(desk, request, customer_id)
    held = lists.customer_file(desk.store, customer_id)
    assert held is not None
    row = plain(held["weeks"][0])
    as_of = str(row["as_of"])
    manifest = lists.week_manifest(desk.store, as_of)
    folder = desk.folder(as_of)
    weekly = customer_rows(folder, "weekly", customer_id)
    drivers = [plain(one) for one in held["drivers"]]
    shown = _shown(row, drivers, as_of)
    timeline = _timeline(desk, folder, customer_id, held)
    judgement = next((one for one in held["judgements"] if one["as_of"] == as_of), None)
    before = {
        (one["signal"], one["target"]): one for one in held["verdicts"] if one["as_of"] == as_of
    }
    mine = {
        (one["signal"], one["target"]): one
        for one in held["verdicts"]
        if one["as_of"] == as_of and one["person"] == request.state.visitor.name
    }
    item = next((i for i in held["items"] if i["state"] == "open" and not i["is_holdout"]), None)
    return draw_page(
        request,
        "customer.html",
        here="customers",
        status=status,
        as_of=as_of,
        c=row,
        horizon=manifest.get("horizon_weeks"),
        interval=round(float(manifest.get("interval") or 0.9) * 100),
        steps=_steps(shown, manifest, drivers, t) if shown else [],
        moved=_moved(shown, t) if shown else [],
        worth=_worth(shown, desk, t) if shown else [],
        shifted=_shifted(drivers),
        unstable=bool(shown and shown.unstable),
        sparks=_sparks(weekly, as_of, desk, t),
        trend=_trend(held["weeks"], t),
        timeline=timeline[:_MOST_TIMELINE],
        more=max(len(timeline) - _MOST_TIMELINE, 0),
        roi=roi_of(desk.metrics, customer_id),
        judgement=judgement,
        judgements=[one for one in held["judgements"] if one["as_of"] != as_of],
        verdicts=held["verdicts"],
        mine=mine,
        anybody=before,
        treatments=held["treatments"],
        item=item,
        listing=next((one for one in held["listings"] if one["as_of"] == as_of), None),
        outcomes=held["outcomes"],
        events=_trail(held),
        conflict=conflict or {"on": ""},
        verdict_words=VERDICTS,
        bands=JUDGEMENTS,
        codes=_CODES,
        outcome_words=_OUTCOMES,
        plays=desk.plays,
        until=lambda day: days_between(day, as_of),
        back=customer_path(customer_id),
    )


def _trail(held: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the audit trail without what would tell that a customer is held out."""
    silent = {one["id"] for one in held["items"] if one["is_holdout"]}
    return [
        one
        for one in held["events"]
        if not (str(one["what"]).endswith(" items") and (one["key"] or {}).get("id") in silent)
    ]


def _shown(row: dict[str, Any], drivers: list[dict[str, Any]], as_of: str) -> Customer | None:
    """Round as the weekly page does, so that both show the same figures."""
    if not row["eligible"] or row["churn_probability"] is None:
        return None
    listed = pd.DataFrame(drivers) if drivers else None
    found = read_customers(pd.DataFrame([row]), listed, None, date.fromisoformat(as_of))
    return found[0]


def _steps(
    c: Customer, manifest: dict[str, Any], drivers: list[dict[str, Any]], t: Words
) -> list[dict[str, Any]]:
    """Lay out base + signals = probability, each signal with the driver that verdicts are on."""
    base = manifest.get("base_probability")
    words = {key: t(f"sum.{key}") for key in ("base", "others", "total", "act", "was", "no_base")}
    by_sentence = {one["sentence"]: one for one in drivers if one["target"] == "churn"}
    return [
        {"step": step, "driver": by_sentence.get(step.text)}
        for step in sums.steps(c, None if base is None else tenths(float(base)), words)
    ]


def _moved(c: Customer, t: Words) -> list[tuple[str, str, str]]:
    if c.before is None:
        return []
    keys = ("last_week", "behaviour", "data", "model", "not_split", "rounding", "this_week")
    return sums.moved(c, {key: t(f"sum.{key}") for key in keys})


def _worth(c: Customer, desk: Desk, t: Words) -> list[tuple[str, str, str, str]]:
    keys = ("worth_rest", "worth_total")
    return sums.worth(c, desk.currency, {key: t(f"sum.{key}") for key in keys})


def _shifted(drivers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Name the signals whose part moved most since last week, in points."""
    found: list[dict[str, Any]] = []
    for one in drivers:
        if one["target"] == "churn" and one["contribution_before"] is not None:
            moved = tenths(one["contribution"] - one["contribution_before"])
            if abs(moved) >= 2:
                found.append({"driver": one, "moved": moved, "text": points(moved)})
    return sorted(found, key=lambda f: -abs(f["moved"]))[:4]


def _sparks(weekly: pd.DataFrame | None, as_of: str, desk: Desk, t: Words) -> list[Spark]:
    """Draw the last 52 weeks of usage, effort, survey answers and money."""
    if weekly is None or weekly.empty:
        return []
    end, drawn = pd.Timestamp(as_of), []
    ago = ((end - pd.to_datetime(weekly["week_ends_on"])).dt.days // 7).to_numpy()
    for name, kind in _SERIES.items():
        if name not in weekly or weekly[name].isna().all():
            continue
        weeks: list[float | int | None] = [None] * 52
        for at, value in zip(ago, weekly[name], strict=True):
            if 0 <= at < 52 and value == value:
                weeks[51 - int(at)] = float(value)
        title = t(f"chart.{name}", currency=desk.currency)
        made = draw(kind, title, weeks, 10.0 if name == "nps" else None)
        drawn.append(_said(made, weeks, t))
    return drawn


def _said(made: Spark, weeks: list[float | int | None], t: Words) -> Spark:
    """Say a chart in the reader's language."""
    known = [i for i, value in enumerate(weeks) if value is not None]
    if not known:
        when = t("chart.nothing")
    else:
        ago = 51 - known[-1]
        when = t("chart.this_week") if ago == 0 else t.n("chart.ago", ago)
    says = t("chart.says", title=made.title, last=made.last, when=when, top=made.top)
    return Spark(made.kind, made.title, made.ground, made.shape, made.top, made.last, when, says)


def _trend(weeks: list[dict[str, Any]], t: Words) -> list[Spark]:
    """Draw model probability and health score over the scored weeks, one scale each."""
    newest = date.fromisoformat(weeks[0]["as_of"])
    drawn = []
    for name in ("churn_probability", "health_score"):
        line: list[float | int | None] = [None] * 52
        for row in weeks:
            ago = (newest - date.fromisoformat(row["as_of"])).days // 7
            if ago < 52 and row[name] is not None:
                line[51 - ago] = round(row[name] * (100 if name == "churn_probability" else 1))
        if sum(value is not None for value in line) > 1:
            made = draw("level", t(f"chart.{name}"), line, 100.0)
            drawn.append(_said(made, line, t))
    return drawn


def _timeline(
    desk: Desk, folder: Any, customer_id: str, held: dict[str, Any]
) -> list[dict[str, Any]]:
    """Bring what happened in every channel into one order, newest first."""
    found: list[dict[str, Any]] = []
    events = customer_rows(folder, "timeline", customer_id)
    if events is not None:
        for row in events.astype(object).where(events.notna(), None).to_dict("records"):
            found.append(
                {
                    "at": str(row["at"])[:10],
                    "kind": row["kind"],
                    "what": row["what"] or "",
                    "detail": row["detail"] or "",
                    "amount": row["amount"],
                    "ref": row["ref"] or "",
                }
            )
    for row in held["treatments"]:
        found.append(
            {
                "at": row["at"][:10],
                "kind": "treatment",
                "what": row["action"],
                "detail": " ".join(filter(None, (row["done_by"], row["comment"]))),
                "amount": None,
                "ref": "",
            }
        )
    for row in held["weeks"]:
        if row["churn_probability"] is not None:
            found.append(
                {
                    "at": row["as_of"],
                    "kind": "score",
                    "what": chance(tenths(row["churn_probability"])),
                    "detail": row["risk_band"] or "",
                    "amount": None,
                    "ref": "",
                }
            )
    found.sort(key=lambda one: (one["at"], one["kind"], one["ref"]), reverse=True)
    return [plain(one) for one in found]


@router.post("/customers/{customer_id:path}/verdict")
def verdict(request: Request, customer_id: str) -> Response:
    """Keep what a person says about one driver."""
    desk, form, visitor = desk_of(request), form_of(request), request.state.visitor
    _theirs(desk, request, customer_id)
    as_of, target, signal = (form.get(name, "") for name in ("as_of", "target", "signal"))
    said = form.get("verdict", "")
    driver = lists.driver(desk.store, customer_id, as_of, target, signal)
    if said not in VERDICTS or driver is None:
        raise Refused(400, "refused.wrong")
    key = {
        "customer_id": customer_id,
        "as_of": as_of,
        "target": target,
        "signal": signal,
        "person": visitor.name,
    }
    changes = {
        "verdict": said,
        "comment": form.get("comment", "").strip() or None,
        "theme": driver["theme"],
        "sentence": driver["sentence"],
        "contribution": driver["contribution"],
        "model_version": driver["model_version"],
    }
    try:
        with desk.store.writing(visitor.name) as write:
            write.save("verdicts", key, changes, version=_version(form))
    except StaleWrite as stale:
        conflict = {"on": f"{target}:{signal}", "theirs": stale.theirs, "mine": form}
        return _page(request, customer_id, status=409, conflict=conflict)
    return go(customer_path(customer_id), said="verdict", at=f"d-{driver['place']}-{target}")


@router.post("/customers/{customer_id:path}/judgement")
def judgement(request: Request, customer_id: str) -> Response:
    """Keep a person's own judgement, the final decision, what was done and what came of it."""
    desk, form, visitor = desk_of(request), form_of(request), request.state.visitor
    _theirs(desk, request, customer_id)
    as_of, version = form.get("as_of", ""), _version(form)
    score = lists.scored(desk.store, customer_id, as_of)
    if score is None:
        raise Refused(400, "refused.wrong")
    changes: dict[str, Any] = {name: form.get(name, "").strip() or None for name in _JUDGED}
    for name in ("action_on", "outcome_on"):
        if changes[name] is not None and not _is_day(changes[name]):
            raise Refused(400, "refused.wrong")
    if changes["reason_code"] not in (None, *_CODES) or changes["outcome"] not in (
        None,
        *_OUTCOMES,
    ):
        raise Refused(400, "refused.wrong")
    key = {"customer_id": customer_id, "as_of": as_of}
    now = desk.store.now()
    kept = lists.judgement(desk.store, customer_id, as_of) or {}
    opinions = ("lead", "final") if visitor.may_decide else ("lead",)
    for opinion in opinions:
        risk = form.get(f"{opinion}_risk", "") or None
        if risk not in (None, *JUDGEMENTS):
            raise Refused(400, "refused.wrong")
        if risk != kept.get(f"{opinion}_risk"):
            changes |= {
                f"{opinion}_risk": risk,
                f"{opinion}_by": visitor.name if risk else None,
                f"{opinion}_at": now if risk else None,
            }
    if version == 0:
        changes |= {
            "model_probability": score["churn_probability"],
            "model_band": score["risk_band"],
            "model_version": score["model_version"],
            "health_score": score["health_score"],
        }
    try:
        with desk.store.writing(visitor.name) as write:
            write.save("judgements", key, changes, version=version)
    except StaleWrite as stale:
        conflict = {"on": "judgement", "theirs": stale.theirs, "mine": form}
        return _page(request, customer_id, status=409, conflict=conflict)
    return go(customer_path(customer_id), said="judgement", at="judgement")


@router.post("/customers/{customer_id:path}/treatment")
def treatment(request: Request, customer_id: str) -> Response:
    """Log an action taken towards a customer; the open item in the queue may end with it."""
    desk, form, visitor = desk_of(request), form_of(request), request.state.visitor
    _theirs(desk, request, customer_id)
    action = form.get("action", "").strip()
    if not action:
        raise Refused(400, "refused.wrong")
    items = lists.open_item(desk.store, customer_id)
    try:
        with desk.store.writing(visitor.name) as write:
            write.add(
                "treatments",
                {
                    "customer_id": customer_id,
                    "item_id": None if items is None else items["id"],
                    "at": desk.store.now(),
                    "done_by": visitor.name,
                    "action": action[:200],
                    "channel": form.get("channel", "").strip() or None,
                    "comment": form.get("comment", "").strip() or None,
                    "was_holdout": bool(items and items["is_holdout"]),
                },
            )
            if items is not None and form.get("closes") == "yes" and not items["is_holdout"]:
                write.save(
                    "items",
                    {"id": items["id"]},
                    {
                        "state": "done",
                        "closed_on": desk.store.now()[:10],
                        "closed_because": action[:200],
                    },
                    version=items["version"],
                )
    except StaleWrite as stale:
        conflict = {"on": "treatment", "theirs": stale.theirs, "mine": form}
        return _page(request, customer_id, status=409, conflict=conflict)
    return go(customer_path(customer_id), said="treatment", at="act")


def _version(form: dict[str, str]) -> int:
    text = form.get("version", "")
    if not text.isdecimal() or len(text) > 9:
        raise Refused(400, "refused.wrong")
    return int(text)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
