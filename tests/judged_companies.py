"""Simulated companies judged by their truth: `judged_companies.py KIND CUSTOMERS SEED`.

Prints one line of JSON. The truth (each customer's probability, expected margin and reasons) is
known to the simulator only; figures against it carry no luck of the draw of who left. Only what an
interval of CLV holds is judged by drawn futures: `FUTURES` for each customer, after the newest week
of the record.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from retain import score, train
from retain.demo import make_company
from retain.evaluate import calibration_error, interval_by_group, interval_coverage
from retain.model.calibration import expit, logit

THEMES = ("usage", "effort", "survey", "commercial", "profile")
KINDS: dict[str, dict[str, Any]] = {
    "contract": {},
    "effort": {"weights": {"effort": 2.0}},
    "price": {"weights": {"commercial": 2.0}},
    "rising": {"yearly_drift": 0.3},
    "falling": {"yearly_drift": -0.3},
    "inactivity": {"kind": "inactivity"},
}
HORIZONS = (4, 13, 26, 52)
# with 64 lives of each customer some luck passes for truth: the oracle's AUC is .003 too high
RUNS, FUTURES = 512, 4
LEAST_OF_A_SEGMENT = 300
BY = ("segment", "region")
DRAWS = 200


def expected_auc(truth: np.ndarray, shown: np.ndarray) -> float:
    """Chance that a leaver scores above a stayer, over all outcomes that the truth allows."""
    order = np.argsort(shown, kind="stable")
    p = truth[order]
    below = np.cumsum(1 - p) - (1 - p)
    return float((p * below).sum() / (p.sum() * (1 - p).sum() - (p * (1 - p)).sum()))


def judge(kind: str, customers: int, seed: int) -> dict[str, Any]:
    """Make a company, train and score on its newest week, and compare with the truth."""
    began = time.process_time()
    company = make_company(customers, seed=seed, **KINDS[kind])
    with tempfile.TemporaryDirectory() as folder:
        config = company.write(folder)
        made = time.process_time()
        trained = train(config, record=False)
        learnt = time.process_time()
        week = score(config, model=trained.folder)
        scored = time.process_time()
        rows, drivers = week.scores, week.drivers  # read from the folder while it is there
        card = json.loads((Path(trained.folder) / "model_card.json").read_text(encoding="utf-8"))
    truth = company.truth.at(week.as_of, runs=RUNS).set_index("customer_id")
    by = company.truth.churned_by(week.as_of, HORIZONS, runs=RUNS).set_index("customer_id")
    scores = rows.set_index("customer_id")
    shown = scores[scores["eligible"]]
    true = truth.reindex(shown.index)
    p, real = shown["churn_probability"].to_numpy(), true["churn_probability"].to_numpy()
    known = ~np.isnan(real)  # a row that came too late makes another customer eligible
    shown, true, p, real = shown[known], true[known], p[known], real[known]
    oracle, ours = expected_auc(real, real), expected_auc(real, p)
    people = company.tables["customers"].drop_duplicates("customer_id").set_index("customer_id")
    return {
        "kind": kind,
        "customers": customers,
        "seed": seed,
        "eligible": len(shown),
        "oracle_auc": oracle,
        "auc": ours,
        "share_of_oracle": (ours - 0.5) / (oracle - 0.5),
        "mean_predicted": float(p.mean()),
        "mean_true": float(real.mean()),
        "horizons": _horizons(shown, by.reindex(shown.index)),
        "interval": _interval(shown, real),
        "widest_gap_of_a_segment": _segments(people, shown, p - real, np.mean),
        "clv": _value(company, scores, truth, week.as_of, people),
        "reasons": _reasons(drivers, shown, true),
        "top_three_overlap": card["drivers"]["top_three_overlap"],
        "out_of_time": {row["name"]: row["auc"] for row in trained.comparison},
        "auc_minus_baselines": {
            name: [round(found["auc"][end], 4) for end in ("value", "low", "high")]
            for name, found in card["differences"].items()
        },
        "log_loss_minus_baselines": {
            name: [round(found["log_loss"][end], 4) for end in ("value", "low", "high")]
            for name, found in card["differences"].items()
        },
        "value_out_of_time": {
            row["name"]: [round(row[name], 3) for name in ("normalised_gini", "mae")]
            for row in trained.clv_comparison
        },
        "cpu_seconds": {
            "making": round(made - began, 1),
            "training": round(learnt - made, 1),
            "scoring": round(scored - learnt, 1),
            "judging": round(time.process_time() - scored, 1),
        },
    }


def _interval(shown: pd.DataFrame, real: np.ndarray) -> dict[str, Any]:
    """Say in how many of ten groups the interval held the mean of the true probabilities."""
    ends = (shown[name].to_numpy() for name in ("churn_probability", "churn_low", "churn_high"))
    groups = interval_by_group(real, *ends)
    return {
        "groups_held": int(groups["holds"].sum()),
        "customers_held": float(
            ((shown["churn_low"] <= real) & (real <= shown["churn_high"])).mean()
        ),
        "median_width": float((shown["churn_high"] - shown["churn_low"]).median()),
    }


def _horizons(shown: pd.DataFrame, by: pd.DataFrame) -> dict[str, Any]:
    """Calibration error against the truth, and what the truth itself shows against outcomes."""
    rng = np.random.default_rng(0)
    out = {}
    for weeks in HORIZONS:
        name = f"churn_by_{weeks}w"
        if name not in shown or shown[name].isna().all():
            continue  # for inactivity nothing is shorter than the silence that counts
        p, real = shown[name].to_numpy(), by[name].to_numpy()
        luck = [calibration_error(rng.random(len(real)) < real, real) for _ in range(20)]
        out[weeks] = {
            "calibration_error": calibration_error(real, p),
            "perfect_by_outcomes": float(np.mean(luck)),
            "predicted": float(p.mean()),
            "true": float(real.mean()),
        }
    return out


def _segments(people: pd.DataFrame, rows: pd.DataFrame, values: Any, figure: Any) -> dict[str, Any]:
    """A figure by segment of at least `LEAST_OF_A_SEGMENT` customers."""
    out = {}
    for column in BY:
        names = people[column].reindex(rows.index).to_numpy()
        for name in sorted(set(names)):
            mine = names == name
            if mine.sum() >= LEAST_OF_A_SEGMENT:
                out[f"{column}={name}"] = round(float(figure(values[mine])), 4)
    return out


def _value(
    company: Any, scores: pd.DataFrame, truth: pd.DataFrame, as_of: Any, people: pd.DataFrame
) -> dict[str, Any]:
    """Compare values with what is expected, and intervals with drawn futures."""
    futures = company.truth.drawn_margin(as_of, FUTURES)
    rows = scores[scores.index.isin(truth.index)]
    expected = truth["expected_margin"].reindex(rows.index).to_numpy()
    came = futures.reindex(rows.index).to_numpy()
    clv = rows["clv"].to_numpy()
    rng, n = np.random.default_rng(0), len(rows)
    ratios = []
    for _ in range(DRAWS):
        pick = rng.integers(0, n, n)
        ratios.append(clv[pick].sum() / came[pick, 0].sum() - 1)
    low, high = rows["clv_low"].to_numpy()[:, None], rows["clv_high"].to_numpy()[:, None]
    inside = ((came >= low) & (came <= high)).mean(axis=1)
    eligible = rows["eligible"].to_numpy()
    return {
        "bias": float(clv.sum() / expected.sum() - 1),
        "bias_against_a_future": [float(v) for v in np.quantile(ratios, (0.05, 0.5, 0.95))],
        "bias_of_eligible": float(clv[eligible].sum() / expected[eligible].sum() - 1),
        "coverage": interval_coverage(came, low, high),
        "coverage_of_eligible": float(inside[eligible].mean()),
        "coverage_by_segment": _segments(people, rows, inside, np.mean),
        "median_width": float(np.median((high - low)[:, 0] / np.maximum(clv, 1e-9))),
    }


def _reasons(drivers: pd.DataFrame, shown: pd.DataFrame, true: pd.DataFrame) -> dict[str, Any]:
    """Compare the reasons of the riskiest tenth, and every theme's contribution, with the truth."""
    churn = drivers[drivers["target"] == "churn"]
    tenth = shown["churn_probability"].nlargest(max(len(shown) // 10, 1)).index
    raising = churn[(churn["contribution"] > 0) & churn["customer_id"].isin(tenth)]
    by_rank = raising.sort_values("rank").groupby("customer_id")["theme"].agg(list)
    main = true.loc[tenth, "main_theme"]
    said = [by_rank.get(who, [])[:2] for who in tenth]
    # in the unit that is shown: the truth comes in log-odds, the page in points of probability
    chance = true["churn_probability"]
    points = {theme: chance - expit(logit(chance) - true[theme]) for theme in THEMES}
    return {
        "first": float(np.mean([one in two[:1] for one, two in zip(main, said, strict=True)])),
        "first_of_one_list": float(max(main.eq(theme).mean() for theme in THEMES)),
        "in_first_two": float(np.mean([one in two for one, two in zip(main, said, strict=True)])),
        "in_first_two_of_one_list": float(
            max(main.isin(pair).mean() for pair in itertools.combinations(THEMES, 2))
        ),
        "without_a_reason": float(np.mean([not two for two in said])),
        "rank_correlation": {
            theme: float(spearmanr(shown[f"theme_{theme}"], points[theme]).statistic)
            for theme in THEMES
            if f"theme_{theme}" in shown and true[theme].ne(0).any()
        },
    }


if __name__ == "__main__":
    print(json.dumps(judge(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
