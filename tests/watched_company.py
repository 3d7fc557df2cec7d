"""A company small enough to be watched many times: two scored weeks, kept weeks, files of rows.

The scored weeks are written by hand, so that no model is trained; what is usual is folded from the
rows by the product itself. A hundred customers use the product every working day.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from retain.config import load_config
from retain.jobs.opening import company_of, read_company

CUSTOMERS = 100
OWNERS = ("Ada", "Bruno", "Chiara", "Dieter")
SAID = {"currency": "EUR", "horizon_weeks": 13}


@dataclass
class WatchedCompany:
    """Where it lies, and how to let something happen in it."""

    folder: Path
    as_of: date  # a Sunday
    settings: dict[str, Any] = field(default_factory=dict)
    files: int = 0

    @property
    def path(self) -> Path:
        path = self.folder / "acme.yaml"
        path.write_text(yaml.safe_dump(self.settings, sort_keys=False), encoding="utf-8")
        return path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def alerts(self, **more: Any) -> None:
        """Set the `alerts` section."""
        self.settings["alerts"] = more

    def add(self, table: str, rows: list[dict[str, Any]]) -> Path:
        """Let rows arrive in a new file, moved into place whole."""
        self.files += 1
        path = self.folder / "data" / table / f"{self.files:05d}.parquet"
        aside = self.folder / f"{self.files}.tmp"
        frame = pd.DataFrame(rows)
        for name in ("paid_at", "answered_at", "opened_at", "occurred_at"):
            if name in frame:
                frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]")
        frame.to_parquet(aside, index=False)
        aside.replace(path)
        return path

    def fail_payment(self, who: str, at: datetime, no: int) -> None:
        row = {"payment_id": f"N{no}", "customer_id": who, "paid_at": at, "amount": 99.0}
        self.add("payments", [{**row, "status": "failed"}])

    def outbox(self) -> dict[str, dict[str, Any]]:
        """Every file of the outbox by its key."""
        files = sorted((self.store / "outbox").glob("*.json"))
        return {path.stem: json.loads(path.read_text("utf-8")) for path in files}

    def told(self) -> list[tuple[str, str | None]]:
        """Rule and customer of everything in the outbox."""
        return sorted(
            (one["rule"], one["customer_id"])
            for letter in self.outbox().values()
            for one in letter["alerts"]
        )

    def status(self) -> dict[str, Any]:
        return json.loads((self.store / "alerts" / "status.json").read_text("utf-8"))


def names() -> list[str]:
    return [f"C{n:03d}" for n in range(CUSTOMERS)]


def make_watched(folder: Path, as_of: date) -> WatchedCompany:
    """Make the company as on the evening of `as_of`."""
    made = WatchedCompany(folder, as_of)
    tables = ("customers", "usage", "payments", "surveys", "interactions")
    for table in tables:
        (folder / "data" / table).mkdir(parents=True)
    made.settings = {
        "company": "acme",
        "currency": "EUR",
        "timezone": "UTC",
        "store": str(folder / "store"),
        "tables": {name: {"source": str(folder / "data" / name / "*.parquet")} for name in tables},
        "churn": {"kind": "inactivity"},
        "alerts": {"file": {}, "patience_seconds": 0},
    }
    people = pd.DataFrame({"customer_id": names()})
    people["owner"] = [OWNERS[n % len(OWNERS)] for n in range(CUSTOMERS)]
    made.add("customers", people.to_dict("records"))
    first = as_of - timedelta(days=7 * 26 - 1)
    days = [first + timedelta(days=n) for n in range(7 * 26)]
    made.add(
        "usage",
        [
            {
                "event_id": f"{who}-{day}",
                "customer_id": who,
                "occurred_at": datetime.combine(day, time(10)),
                "feature": "reports",
            }
            for day in days
            if day.weekday() < 5
            for who in names()
        ],
    )
    for table, stamp, more in (
        ("payments", "paid_at", {"payment_id": "P0", "amount": 99.0, "status": "paid"}),
        ("surveys", "answered_at", {"kind": "nps", "score": 9.0, "comment": "fine"}),
        ("interactions", "opened_at", {"interaction_id": "T0", "topic": "bug", "case_id": "T0"}),
    ):
        made.add(table, [{"customer_id": "C000", stamp: datetime.combine(first, time(9)), **more}])
    config, store, read = read_company(load_config(made.path))
    company = company_of(config, store, read)
    company.fold(company.calendar.week_of(as_of), ())
    read.close()
    for back in (1, 0):
        write_week(made, as_of - timedelta(weeks=back), back)
    return made


def write_week(made: WatchedCompany, as_of: date, back: int) -> None:
    """Write one scored week: in the newest, the first four customers came into the band high."""
    chance = np.full(CUSTOMERS, 0.05)
    band = np.full(CUSTOMERS, "low", dtype=object)
    if back == 0:
        chance[:4], band[:4] = 0.30, "high"
    scores = pd.DataFrame({"customer_id": names(), "as_of": str(as_of), "eligible": True})
    scores["risk_band"], scores["churn_probability"] = band, chance
    scores["churn_low"], scores["churn_high"] = chance / 2, chance * 2
    scores["percentile"] = np.where(band == "high", 98.0, 40.0)
    scores["change_model"], scores["mrr"], scores["term_months"] = 0.0, 100.0, 12.0
    scores["value_at_risk"] = 1000.0 * chance + np.arange(CUSTOMERS) / 100.0
    scores["owner"] = [OWNERS[n % len(OWNERS)] for n in range(CUSTOMERS)]
    scores["driver_1"] = "Logins fell from 14 to 5; similar customers: 13"
    for name in ("renews_at", "segment", "driver_2", "driver_3", "protective_1", "protective_2"):
        scores[name] = pd.Series([None] * CUSTOMERS, dtype=object)
    week = made.store / "scores" / f"as_of={as_of}"
    week.mkdir(parents=True, exist_ok=True)
    scores.to_parquet(week / "scores.parquet", index=False)
    source = {"as_of": str(as_of), "stale_days": 0, "is_stale": False, "used": 1}
    said = {**SAID, "as_of": str(as_of), "sources": {"usage": source}}
    (week / "manifest.json").write_text(json.dumps(said), encoding="utf-8")
