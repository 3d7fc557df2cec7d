"""The hand-off file: one row per scored customer, for whatever the company works with.

`HANDOFF` is its documented schema: each column with its meaning. The same rows go out as CSV,
Parquet or an Excel workbook; texts that a spreadsheet would run as a formula are disarmed.
"""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain.actions.store import Store
from retain.errors import ConfigError, StoreError

__all__ = ["HANDOFF", "SCHEMA_VERSION", "disarmed", "handoff_rows", "schema_text", "write_rows"]

SCHEMA_VERSION = 1
REASONS = 5
HANDOFF: dict[str, str] = {
    # identity
    "run_id": "company, week and model version of the scored row",
    "customer_id": "as in the company's tables",
    "name": "what the customer is called, where the company brings it",
    "segment": "as exported, newest known",
    "plan": "as exported, newest known",
    "owner": "who looks after the customer",
    # validity
    "as_of": "last day of the scored week",
    "data_until": "newest row of any source, as of that week",
    "valid_until": "last day before the next weekly run is due",
    "horizon_weeks": "weeks ahead within which leaving is predicted",
    "churn_definition": "contract, event or inactivity",
    "eligible": "whether the customer can leave",
    "not_eligible_because": "why it was not scored",
    "model_version": "which model",
    "config_version": "hash of the settings that define features, labels and money",
    # risk
    "churn_probability": "calibrated probability of leaving within the horizon, 0 to 1",
    "churn_low": "lower end of its interval",
    "churn_high": "upper end of its interval",
    "percentile": "share of eligible customers with a lower or equal probability, 0 to 100",
    "risk_band": "low, watch or high",
    "rank_within_owner": "1: the owner's customer with the most value at risk",
    "previous_probability": "as shown a week before",
    "change": "probability minus the one a week before",
    "change_behaviour": "of that, what the customer did",
    "change_data": "of that, data that arrived or was corrected",
    "change_model": "of that, a new model",
    "weeks_in_band": "scored weeks in a row with this band, up to and with this one",
    "first_flagged_on": "first week in which the customer was listed or held out",
    # value
    "mrr": "monthly recurring revenue, in currency",
    "arr": "12 x mrr",
    "renews_at": "day on which the contract is due",
    "days_to_renewal": "from as_of",
    "clv": "expected discounted margin within clv_horizon_weeks, in currency",
    "clv_low": "lower end of its interval",
    "clv_high": "upper end of its interval",
    "clv_horizon_weeks": "weeks ahead whose margin is summed",
    "high_value": "whether clv is among the top fifth of those who have one",
    "value_at_risk": "churn_probability x clv, in currency",
    "currency": "of all amounts",
    # reasons: associations, not causes
    **{
        f"{name}_{rank}": text
        for rank in range(1, REASONS + 1)
        for name, text in (
            ("reason", f"signal number {rank} that raises the probability, as a sentence"),
            ("reason_theme", "usage, effort, survey, commercial or profile"),
            ("reason_value", "the value now"),
            ("reason_earlier", "four weeks earlier"),
            ("reason_peers", "of similar customers"),
            ("reason_points", "its part of the probability, in percentage points"),
            ("reason_actionable", "whether the company can act on it"),
        )
    },
    "protective_1": "signal that lowers the probability most, as a sentence",
    "protective_2": "the next one",
    "clv_reason_1": "signal that raises the CLV most, as a sentence",
    "clv_reason_2": "signal that lowers the CLV most, as a sentence",
    # quality
    "coverage": "share of the expected tables that know the customer, 0 to 1",
    "freshness_days": "days since anything was known about the customer",
    "health_score": "the company's own score, 0 to 100, beside the model's",
    # action
    "queue_status": "contact, holdout (leave alone), next, cooling, leave (expected to do no good)",
    "queue_place": "place in the week's list",
    "queue_reason": "why on the list, or why not yet",
    "play": "what to do",
    "play_owner": "who does it",
    "due_on": "until when",
    "is_holdout": "left alone on purpose, to measure what acting does: do not contact",
    "uplift": "expected fall of the probability when contacted; null: not estimated",
    "last_contact_on": "day of the last contact that was logged",
    "last_contact": "what was done then",
    # review: three opinions, kept apart
    "verdicts_right": "verdicts `right` on this week's reasons",
    "verdicts_wrong": "verdicts `wrong`",
    "lead_risk": "the lead's own judgement: low, watch or high",
    "final_risk": "the final decision",
    "reason_code": "why it differs",
    "comment": "in the lead's words",
    "action_taken": "what was done",
    "action_on": "when",
    "outcome": "what came of it",
    "outcome_on": "when",
}
_FORMULA = re.compile(r"^[\s\x00-\x1f]*[=+\-@\t\r|%＝＋－＠]")


def disarmed(value: Any) -> Any:
    """Keep a text from being run as a formula by a spreadsheet.

    Examples
    --------
    >>> disarmed("=HYPERLINK(1)"), disarmed("Tom"), disarmed(-3.5)
    ("'=HYPERLINK(1)", 'Tom', -3.5)
    """
    if not isinstance(value, str):
        return value
    return f"'{value}" if _FORMULA.match(value) else value


def schema_text() -> str:
    """Describe the columns of the hand-off file, one a line."""
    width = max(map(len, HANDOFF))
    lines = [f"hand-off file, schema {SCHEMA_VERSION}; one row per scored customer"]
    return "\n".join([*lines, *(f"{name:<{width}}  {text}" for name, text in HANDOFF.items())])


def handoff_rows(store: Store, as_of: date | str | None = None) -> pd.DataFrame:
    """Put a week's hand-off together.

    Parameters
    ----------
    store
        The action store.
    as_of
        The week; default: the newest.

    Returns
    -------
    DataFrame
        The columns of `HANDOFF`, by value at risk.

    Raises
    ------
    StoreError
        When the week is not in the store.
    """
    asked = None if as_of is None else str(as_of)
    week = store.row(
        "SELECT * FROM weeks WHERE as_of = coalesce(:as_of, (SELECT max(as_of) FROM weeks))",
        as_of=asked,
    )
    if week is None:
        raise StoreError(
            f"hand-off: the week of {asked} is not in the action store. Score it first: retain "
            f"score CONFIG --as-of {asked}"
            if asked
            else "hand-off: no week is in the action store. Score one first: retain score CONFIG"
        )
    day, manifest = week["as_of"], json.loads(week["manifest"])
    frame = pd.DataFrame(
        store.rows("SELECT * FROM scores WHERE as_of = :d ORDER BY customer_id", d=day)
    ).set_index("customer_id", drop=False)
    frame["run_id"] = [f"{manifest.get('company', '')}/{day}/{v}" for v in frame["model_version"]]
    newest = [s.get("as_of") for s in manifest.get("sources", {}).values() if s.get("as_of")]
    frame["data_until"] = max(newest, default=None)
    frame["valid_until"] = str(date.fromisoformat(day) + timedelta(days=7))
    for ours, theirs in (
        ("horizon_weeks", "horizon_weeks"),
        ("churn_definition", "churn_kind"),
        ("clv_horizon_weeks", "clv_horizon_weeks"),
    ):
        frame[ours] = manifest.get(theirs)
    frame["currency"] = week["currency"]
    _add_value(frame, day)
    _add_history(store, frame, day)
    _add_reasons(store, frame, day)
    _add_action(store, frame, day)
    _add_review(store, frame, day)
    for name in ("eligible", "is_holdout", "high_value"):
        frame[name] = frame[name].astype(bool)
    keys = ["value_at_risk", "churn_probability", "customer_id"]
    for name in keys[:2]:
        frame[name] = pd.to_numeric(frame[name])
    frame = frame.reset_index(drop=True).sort_values(keys, ascending=[False, False, True])
    return frame.reindex(columns=list(HANDOFF)).reset_index(drop=True)


def write_rows(rows: pd.DataFrame, path: str | Path) -> Path:
    """Write rows as CSV, Parquet or Excel, by the name's ending; aside, then moved into place.

    Parameters
    ----------
    rows
        Any table; texts are kept from being formulas in CSV and Excel.
    path
        Ending in .csv, .parquet or .xlsx.

    Raises
    ------
    ConfigError
        When the ending is another one.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in (".csv", ".parquet", ".xlsx"):
        raise ConfigError(
            f"{target}: ends in {kind or 'nothing'}; expected .csv, .parquet or .xlsx"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".partial-{target.name}{target.suffix}")
    if kind == ".parquet":
        rows.to_parquet(aside, index=False)
    else:
        safe = rows.map(disarmed).rename(columns=disarmed)
        if kind == ".csv":
            safe.to_csv(aside, index=False, encoding="utf-8-sig", lineterminator="\r\n")
        else:
            _write_workbook(safe, aside)
    aside.replace(target)
    return target


def _write_workbook(rows: pd.DataFrame, path: Path) -> None:
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    except ImportError:
        raise ConfigError(
            "Excel files need the package openpyxl; pip install 'retain[excel]', or write .csv"
        ) from None
    book = Workbook(write_only=True)
    sheet = book.create_sheet("retain")
    sheet.freeze_panes = "A2"

    def cell(value: Any) -> Any:
        if value is None or value != value:
            return None
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, str):
            return value
        one = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value)[:32_767])
        one.data_type = "s"  # text, whatever it looks like
        return one

    sheet.append([cell(str(name)) for name in rows.columns])
    for row in rows.itertuples(index=False, name=None):
        sheet.append([cell(value) for value in row])
    book.save(path)


def _add_value(frame: pd.DataFrame, day: str) -> None:
    frame["arr"] = 12 * pd.to_numeric(frame["mrr"])
    due = pd.to_datetime(frame["renews_at"])
    frame["days_to_renewal"] = (due - pd.Timestamp(day)).dt.days
    clv = pd.to_numeric(frame["clv"])
    frame["high_value"] = clv >= clv.quantile(0.8) if clv.notna().any() else False
    worth = pd.to_numeric(frame["value_at_risk"])
    frame["rank_within_owner"] = worth.groupby(frame["owner"].fillna("")).rank(
        method="first", ascending=False
    )


def _add_history(store: Store, frame: pd.DataFrame, day: str) -> None:
    bands = store.rows(
        "SELECT customer_id, as_of, risk_band FROM scores WHERE as_of <= :d AND as_of > :first "
        "ORDER BY as_of DESC",
        d=day,
        first=str(date.fromisoformat(day) - timedelta(weeks=53)),
    )
    now = frame["risk_band"].to_dict()
    runs: dict[str, int] = {}
    ended: set[str] = set()
    for row in bands:
        who = row["customer_id"]
        if who in ended or who not in now:
            continue
        if row["risk_band"] is not None and row["risk_band"] == now[who]:
            runs[who] = runs.get(who, 0) + 1
        else:
            ended.add(who)
    frame["weeks_in_band"] = pd.Series(runs, dtype="float64").reindex(frame.index)
    flagged = store.rows(
        "SELECT customer_id, min(as_of) AS first FROM listings WHERE as_of <= :d AND "
        "status IN ('contact', 'holdout') GROUP BY customer_id",
        d=day,
    )
    _take(frame, {row["customer_id"]: {"first_flagged_on": row["first"]} for row in flagged})


def _add_reasons(store: Store, frame: pd.DataFrame, day: str) -> None:
    found: dict[str, dict[str, Any]] = {}
    for row in store.rows(
        "SELECT * FROM drivers WHERE as_of = :d ORDER BY customer_id, target, place", d=day
    ):
        mine = found.setdefault(row["customer_id"], {})
        raises, rank = row["contribution"] > 0, row["rank"]
        if row["target"] == "clv":
            if rank == 1:
                mine[f"clv_reason_{1 if raises else 2}"] = row["sentence"]
        elif not raises:
            mine[f"protective_{rank}"] = row["sentence"]
        elif rank <= REASONS:
            mine[f"reason_{rank}"] = row["sentence"]
            mine[f"reason_theme_{rank}"] = row["theme"]
            mine[f"reason_value_{rank}"] = row["value"]
            mine[f"reason_earlier_{rank}"] = row["earlier_value"]
            mine[f"reason_peers_{rank}"] = row["peer_value"]
            mine[f"reason_points_{rank}"] = 100.0 * row["contribution"]
            mine[f"reason_actionable_{rank}"] = bool(row["actionable"])
    _take(frame, found)


def _add_action(store: Store, frame: pd.DataFrame, day: str) -> None:
    listed = store.rows(
        "SELECT l.customer_id, l.status AS queue_status, l.place AS queue_place, "
        "l.why AS queue_reason, i.play, i.owner AS play_owner, i.due_on FROM listings l "
        "LEFT JOIN items i ON i.id = l.item_id WHERE l.as_of = :d",
        d=day,
    )
    for row in listed:
        row["is_holdout"] = row["queue_status"] == "holdout"
        if row["is_holdout"]:  # nothing in the row may read as a call to act
            row |= {"play": None, "play_owner": None, "due_on": None}
    _take(frame, {row.pop("customer_id"): row for row in listed})
    if "is_holdout" not in frame:
        frame["is_holdout"] = False
    frame["is_holdout"] = frame["is_holdout"].eq(True)
    last = store.rows(
        "SELECT t.customer_id, t.at, t.action FROM treatments t JOIN (SELECT customer_id, "
        "max(id) AS id FROM treatments GROUP BY customer_id) m ON m.id = t.id"
    )
    _take(
        frame,
        {
            row["customer_id"]: {"last_contact_on": row["at"][:10], "last_contact": row["action"]}
            for row in last
        },
    )


def _add_review(store: Store, frame: pd.DataFrame, day: str) -> None:
    said = store.rows(
        "SELECT customer_id, sum(CASE WHEN verdict = 'right' THEN 1 ELSE 0 END) AS verdicts_right, "
        "sum(CASE WHEN verdict = 'wrong' THEN 1 ELSE 0 END) AS verdicts_wrong FROM verdicts "
        "WHERE as_of = :d GROUP BY customer_id",
        d=day,
    )
    _take(frame, {row.pop("customer_id"): row for row in said})
    judged = store.rows(
        "SELECT customer_id, lead_risk, final_risk, reason_code, comment, action_taken, action_on, "
        "outcome, outcome_on FROM judgements WHERE as_of <= :d ORDER BY as_of",
        d=day,
    )
    _take(frame, {row.pop("customer_id"): row for row in judged})


def _take(frame: pd.DataFrame, found: dict[str, dict[str, Any]]) -> None:
    """Put values by customer into columns of the frame."""
    names = dict.fromkeys(name for row in found.values() for name in row)
    for name in names:
        values = [found.get(who, {}).get(name) for who in frame.index]
        frame[name] = pd.Series(values, index=frame.index, dtype=object)
