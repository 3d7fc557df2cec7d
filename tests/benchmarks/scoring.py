"""A week scored and explained from stored weeks, and what predicting alone would have cost.

A company with few events each is made and folded, and its weeks are stored; a model is learnt from
its first customers. Neither is timed. Scored are all customers several times over, under new ids:
portions, which is how work is done, never hold two of the same.
"""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from companies import SCORED, Size, make_company

LEARNT_FROM = 4_000  # customers
EVENTS_LEARNT_FROM = 25  # a customer and year
JUDGED = 2_000  # customers whose figures are worked out plainly, too
TABLES = ("customers", "subscriptions", "payments", "interactions", "surveys")


def config_of(home: Path, store: Path) -> Any:
    """Configure a company of the benchmark."""
    from retain.config import Config

    tables: dict[str, Any] = {name: {"source": str(home / f"{name}.parquet")} for name in TABLES}
    tables["usage"] = {"source": str(home / "usage")}
    return Config(
        company="bench",
        currency="EUR",
        timezone="UTC",
        store=store,
        tables=tables,
        churn={"kind": "contract"},
    )


def store_weeks(home: Path, store: Path) -> dict[str, Any]:
    """Learn a model and store the folded weeks; what is there already stays."""
    import retain
    from retain.jobs.opening import open_company

    size = SCORED[home.name][1]
    few = min(LEARNT_FROM, size.customers)
    learnt = Size(few, size.weeks, few * EVENTS_LEARNT_FROM * size.weeks // 52)
    model = home / "model"
    if not model.exists():
        made = make_company(home, learnt)
        trained = retain.train(config_of(made, home / "trained"), record=False)
        trained.folder.rename(model)
    if not (home / "weeks").exists():
        top = tuple(json.loads((model / "bundle.json").read_text())["lists"]["top_features"])
        company = open_company(config_of(make_company(home, size), home / "work"))
        week = company.calendar.last_complete_week(company.tables.data_until)
        aside = home / "weeks.partial"
        aside.write_bytes(pickle.dumps(company.fold(week, top), protocol=5))
        aside.rename(home / "weeks")
        company.tables.close()
        shutil.rmtree(home / "work")
    return {"cells": 0}


def stored(home: Path) -> Any:
    """Read the folded weeks."""
    return pickle.loads((home / "weeks").read_bytes())


def parts_of(home: Path) -> Iterator[Any]:
    """Give the stored weeks several times over, each time under ids of its own."""
    for copy in range(SCORED[home.name][0]):
        part = stored(home)
        ids = np.array([f"{copy:02d}-{one}" for one in part.customers], dtype=object)
        yield replace(part, customers=ids)


def score(home: Path, store: Path) -> dict[str, Any]:
    """Score and explain everybody from stored weeks: all files of the week but the timeline's."""
    import pyarrow.parquet as pq

    from retain.jobs.opening import open_company
    from retain.jobs.progress import Steps
    from retain.jobs.scoring import STEPS, score_folded
    from retain.model import load_bundle
    from retain.weeks.laid import lay_down

    begun, seconds = time.perf_counter(), {}
    at = ["start", begun]

    def heard(text: str, share: float) -> None:
        step, now = text.partition(":")[0], time.perf_counter()
        if step != at[0]:
            seconds[at[0]] = seconds.get(at[0], 0.0) + now - at[1]
            at[:] = [step, now]

    bundle = load_bundle(home / "model")
    made = make_company(home, Size(300, SCORED[home.name][1].weeks, 30_000))
    company = open_company(config_of(made, store))  # small tables: only weeks count
    heard("laying down", 0.0)
    folded = lay_down(store / "laid", lambda: parts_of(home))
    steps = Steps(heard, STEPS)
    manifest = score_folded(company, bundle, folded, folded.last_week, (), (), steps)
    heard("", 1.0)
    week = company.store.week(company.calendar.last_day(folded.last_week))
    drivers = pq.read_metadata(week / "drivers.parquet").num_rows
    scores = pq.read_table(
        week / "scores.parquet", columns=["customer_id", "churn_probability", "clv"]
    ).to_pandas()
    people = manifest["customers"]
    assert people["in"] == len(folded.customers)
    assert people["in"] == people["eligible"] + sum(people["not_eligible"].values())
    few = folded.customers[: min(JUDGED, SCORED[home.name][1].customers)]
    mine = scores[scores["customer_id"].isin(set(few))]
    return {
        "cells": drivers,
        "customers": people["in"],
        "eligible": people["eligible"],
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "checked": {
            "probabilities": float(mine["churn_probability"].sum()),
            "values": float(mine["clv"].sum()),
        },
    }


def plainly(home: Path, store: Path) -> dict[str, Any]:
    """Work out the figures of the first customers in one go, by LightGBM's own predictions."""
    from retain.features import build_features
    from retain.model import load_bundle
    from retain.snapshots import ELIGIBLE, ChurnRule, eligibility
    from retain.weeks import History

    bundle = load_bundle(home / "model")
    few = stored(home).of_customers(0, JUDGED)
    week = few.last_week
    why = eligibility(History(few, [week]), ChurnRule("contract", 13))[0]
    there = (why != "not a customer yet")[None, :]
    X = build_features(few, [week], there, only=tuple(bundle.features["columns"])).X
    M = bundle.encoder.transform(X)
    raw = bundle.churn.head.booster_.predict(M, raw_score=True)
    calibrator = bundle.churn.calibrator
    p = 1.0 / (1.0 + np.exp(-(calibrator.slope * raw + calibrator.shift)))
    eligible = why[there[0]] == ELIGIBLE
    share = np.full(len(M), np.nan)
    if bundle.clv.follows_curve:
        rate = bundle.settings["clv"]["annual_discount_rate"]
        horizon = bundle.settings["clv"]["horizon_weeks"]
        share[eligible] = bundle.curve.share_there(M[eligible], p[eligible], horizon, rate)
    value = bundle.clv.predict(M, share if bundle.clv.follows_curve else None)
    return {"checked": {"probabilities": float(p[eligible].sum()), "values": float(value.sum())}}


def predict(home: Path, store: Path) -> dict[str, Any]:
    """CPU of all figures without explanations, and of the bare predictions that they rest on."""
    from retain.features import feature_chunks
    from retain.jobs.portions import Rules, scored_figures
    from retain.jobs.scoring import ranked
    from retain.model import load_bundle
    from retain.snapshots import ChurnRule, ClvRule

    bundle = load_bundle(home / "model")
    weeks, names = stored(home), tuple(bundle.features["columns"])
    every = np.ones((1, len(weeks.customers)), dtype=bool)
    rows = [one.X for one in feature_chunks(weeks, [weeks.last_week], every, only=names)]
    rules = Rules(bundle, ChurnRule("contract", 13), ClvRule(52), 0.9, (), 0, ())
    M = [bundle.encoder.transform(X) for X in rows]
    boosters = [bundle.churn.head, *bundle.churn.refits]
    took = {"pipeline": 0.0, "bare": 0.0}
    for X, matrix in zip(rows, M, strict=True):
        begun = time.process_time()
        encoded = bundle.encoder.transform(X)
        found = scored_figures(rules, encoded, encoded, encoded)
        bundle.clv.with_interval(encoded)
        ranked(found["churn_probability"], np.ones(len(encoded), dtype=bool))
        took["pipeline"] += time.process_time() - begun
        begun = time.process_time()
        for head in [*boosters, bundle.churn.head, bundle.churn.head, bundle.clv.head]:
            head.booster_.predict(matrix, raw_score=True)
        took["bare"] += time.process_time() - begun
    return {"cells": sum(len(matrix) for matrix in M), **took}
