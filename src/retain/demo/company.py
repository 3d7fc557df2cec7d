"""`make_company`: the tables of one simulated company, with the truth behind them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from retain.demo import acts, behaviour, contracts, opinions
from retain.demo.contracts import Told
from retain.demo.dirt import add_dirt
from retain.demo.life import Life
from retain.demo.truth import Truth
from retain.demo.visits import draw_visits
from retain.demo.weekly import THEMES, Hazard
from retain.errors import RetainError, some

__all__ = ["Company", "make_company"]

KINDS = ("contract", "inactivity")
TABLES = (
    "customers",
    "departures",
    "subscriptions",
    "payments",
    "usage",
    "interactions",
    "surveys",
    "referrals",
    "costs",
    "treatments",
)

RENAMED = {  # table -> our column: the file's column; the others keep our names
    "customers": {"customer_id": "acct_no", "signed_up_at": "created", "segment": "tier"},
    "subscriptions": {
        "customer_id": "acct_no",
        "started_at": "begin",
        "ended_at": "finish",
        "mrr": "monthly_fee",
        "billing_period": "billing",
        "renews_at": "renews_on",
    },
    "usage": {
        "customer_id": "acct_no",
        "occurred_at": "ts",
        "feature": "module",
        "quantity": "n",
        "duration_s": "secs",
        "recorded_at": "loaded_at",
    },
    "surveys": {"score": "value", "sent_at": "sent_ts", "answered_at": "answered_ts"},
}
WORDS = {  # (table, column) -> the file's word: ours
    ("subscriptions", "end_reason"): {
        "customer": "voluntary",
        "payment_failed": "involuntary",
        "renewed": "replaced",
    },
    ("surveys", "kind"): {"NPS": "nps", "CSAT": "csat", "CES": "ces"},
}
FILES = {"customers": "accounts", "subscriptions": "contracts", "surveys": "feedback"}
METRICS = """\
metrics:
  by: [segment]
  targets: {nps: 40, csat: 80, customer_churn_rate: 2.5, gross_revenue_retention: 97,
            net_revenue_retention: 100, stickiness: 8, answer_rate: 50}
  hours: {days: [monday, tuesday, wednesday, thursday, friday], opens: '09:00', closes: '18:00'}
  costs: {rate_per_minute: 0.85, acquisition_years: 5}
  health:
    parts:  # a column of the catalogue of features; what scores 0, and what 100
      use: {measure: active_days_4w, floor: 0, target: 12, weight: 30}
      momentum: {measure: quantity_lately, floor: -0.4, target: 0.2, weight: 25}
      effort: {measure: hard_cases_faded_4w, floor: 4, target: 0, weight: 20}
      opinion: {measure: nps_faded, floor: 3, target: 9, weight: 15}
      payment: {measure: failed_payments_13w, floor: 2, target: 0, weight: 10}
    profiles:
      enterprise: {use: 20, momentum: 20, effort: 30, opinion: 20, payment: 10}
"""
ATTRIBUTES = ("industry", "language", "account_status")
CONSTANT = ("segment", "region", "industry", "language")


@dataclass(frozen=True)
class Company:
    """A simulated company: what it would export, and what only the simulation knows.

    Attributes
    ----------
    tables
        The tables, under our own column names, faulty rows included: all ten of a company of
        contract.
    truth
        The true probabilities, margins and reasons; see `Truth.at`.
    dirty
        Number of faulty rows by (table, reason).
    until
        Last day the tables describe: the export day.
    """

    tables: dict[str, pd.DataFrame]
    truth: Truth
    dirty: dict[tuple[str, str], int]
    until: dt.date

    def write(self, folder: str | Path) -> Path:
        """Write Parquet files and a `retain.yaml` that maps them.

        Some columns, words and file names differ from ours in the files, as they would in a
        company's own, and usage is split over several files.

        Parameters
        ----------
        folder
            Where to write; created when absent.

        Returns
        -------
        Path
            The configuration file.
        """
        folder = Path(folder)
        data = folder / "data"
        (data / "clicks").mkdir(parents=True, exist_ok=True)
        for name, table in self.tables.items():
            told = table.rename(columns=RENAMED.get(name, {}))
            for (of, column), words in WORDS.items():
                if of == name:
                    theirs = {ours: word for word, ours in words.items()}
                    told[column] = told[column].map(theirs).astype("str")
            if name == "usage":
                half = len(told) // 2
                told.iloc[:half].to_parquet(data / "clicks" / "part-1.parquet", index=False)
                told.iloc[half:].to_parquet(data / "clicks" / "part-2.parquet", index=False)
            else:
                told.to_parquet(data / f"{FILES.get(name, name)}.parquet", index=False)
        config = folder / "retain.yaml"
        config.write_text(self._yaml(), encoding="utf-8")
        return config

    def _yaml(self) -> str:
        """Return the configuration as text."""
        truth = self.truth
        lines = [
            "# A simulated company, written by `retain demo`.",
            "company: demo",
            "currency: EUR",
            "timezone: Europe/Rome",
            "store: store",
            f"week_ends_on: {self.until:%A}".lower(),
            f"data_until: {self.until}",
            "tables:",
        ]
        for name, table in self.tables.items():
            file = "clicks/*" if name == "usage" else FILES.get(name, name)
            renamed = RENAMED.get(name, {})
            pairs = [f"{c}: {renamed.get(c, c)}" for c in table.columns if c not in ATTRIBUTES]
            lines += [f"  {name}:", f"    source: data/{file}.parquet"]
            lines += [f"    columns: {{{', '.join(pairs)}}}"]
            if name == "customers":
                attributes = [name for name in ATTRIBUTES if name in table]
                lines += [f"    attributes: [{', '.join(attributes)}]"]
                lines += [f"    constant: [{', '.join(CONSTANT)}]  # never change"]
            for (of, column), words in WORDS.items():
                if of == name:
                    told = ", ".join(f"{theirs}: {ours}" for theirs, ours in words.items())
                    lines += [f"    values: {{{column}: {{{told}}}}}"]
            if name == "surveys":
                lines += ["    scales: {nps: [0, 10], csat: [1, 5], ces: [1, 7]}"]
                lines += ["    ces_high_means: easy"]
        churn = "kind: contract, horizon_weeks: 13, gap_weeks: 0, grace_weeks: 4"
        if not truth.life.hazard.has_contracts:
            weeks = truth.silent_weeks
            churn = f"kind: inactivity, horizon_weeks: {weeks}, active_weeks: {weeks}"
        return "\n".join(
            [
                *lines,
                f"churn: {{{churn}}}",
                f"clv: {{horizon_weeks: {truth.clv_weeks}, gross_margin: {truth.gross_margin}, "
                f"annual_discount_rate: {truth.annual_discount_rate}}}",
                "snapshots: {every_weeks: 4}",
                "alerts: {file: {}}  # a JSON file per message, in the store's outbox",
                *([METRICS] if truth.life.hazard.has_contracts else []),
            ]
        )


def make_company(
    n_customers: int = 5000,
    weeks: int = 130,
    seed: int = 0,
    kind: str = "contract",
    until: dt.date = dt.date(2026, 11, 15),
    *,
    weights: Mapping[str, float] | None = None,
    yearly_drift: float = 0.0,
) -> Company:
    """Simulate one company whose truth is known.

    Parameters
    ----------
    n_customers
        Rows of the customers table that are not repeated; about 55 % pay at any one time.
    weeks
        Weeks of data; contracts reach further back.
    seed
        The same seed gives the same company.
    kind
        What leaving means: "contract", a subscription that ends; or "inactivity": customers
        without contracts who visit and order every three weeks or so, and have left when nothing
        is seen of them for 13 weeks. These have six tables: customers, payments (their orders),
        usage, interactions, surveys, referrals.
    until
        Export day, the last day of the last week: a Sunday.
    weights
        How much a theme weighs in leaving, 1 as designed: usage, effort, survey, commercial,
        profile, hidden. For example ``{"effort": 2.0}``.
    yearly_drift
        Change of the weekly log-odds of leaving per year, from the first week of the data on.

    Returns
    -------
    Company
        The tables, the truth and the count of faulty rows.

    Raises
    ------
    RetainError
        When an argument is outside of what can be simulated.
    """
    unknown = sorted(set(weights or {}) - set(THEMES))
    for wrong, found, expected in (
        (kind not in KINDS, f"kind={kind!r}", " or ".join(repr(one) for one in KINDS)),
        (n_customers < 1, f"n_customers={n_customers}", "at least 1"),
        (weeks < 14, f"weeks={weeks}", "at least 14, so that one horizon fits"),
        (until.weekday() != 6, f"until={until}, a {until:%A}", "a Sunday, the last day of a week"),
        (bool(unknown), f"weights for {some(unknown)}", f"themes among {', '.join(THEMES)}"),
    ):
        if wrong:
            raise RetainError(f"make_company: found {found}; expected {expected}. Change it.")
    last_day = (until - dt.date(1970, 1, 1)).days
    hazard = Hazard(dict(weights or {}), yearly_drift, kind == "contract")
    life = Life(n_customers, weeks, last_day + 1 - 7 * weeks, seed, hazard)
    people, record = life.record()
    ids = np.asarray([f"C{number:05d}" for number in range(1, len(people) + 1)])
    visits = None if hazard.has_contracts else draw_visits(life, people, record)
    told = Told(life, people, record, ids, visits)

    def chance(table: str) -> np.random.Generator:
        return np.random.default_rng([seed, 3, TABLES.index(table)])

    accounts = contracts.customers(told, chance("customers"))
    cases = behaviour.interactions(told, chance("interactions"))
    tables = {"customers": accounts}
    if visits is None:
        tables |= {
            "departures": contracts.departures(told, chance("departures")),
            "subscriptions": contracts.subscriptions(told, chance("subscriptions")),
        }
    pay = contracts.payments if visits is None else behaviour.orders
    tables |= {
        "payments": pay(told, chance("payments")),
        "usage": behaviour.usage(told, chance("usage")),
        "interactions": cases,
        "surveys": opinions.surveys(told, cases, chance("surveys")),
        "referrals": opinions.referrals(told, accounts["signed_up_at"], chance("referrals")),
    }
    if visits is None:
        tables |= {
            "costs": acts.costs(told, chance("costs")),
            "treatments": acts.treatments(told, chance("treatments")),
        }
    end = pd.Timestamp(until) + pd.Timedelta(days=1)
    tables, dirty = add_dirt(tables, end, np.random.default_rng([seed, 4]))
    return Company(tables, Truth(life, tuple(ids.tolist())), dirty, until)
