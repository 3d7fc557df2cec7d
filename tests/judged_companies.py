"""Simulated companies judged by their truth: `python tests/judged_companies.py SEED [CUSTOMERS]`.

The truth (each customer's probability, expected margin and reasons) is known to the simulator only;
figures against it carry no luck of the draw of who left.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from retain import score, train
from retain.demo import make_company
from retain.evaluate import calibration_error
from retain.model.calibration import expit, logit

THEMES = ("usage", "effort", "survey", "commercial", "profile")
CUSTOMERS = 10_000


def expected_auc(truth: np.ndarray, shown: np.ndarray) -> float:
    """Chance that a leaver scores above a stayer, over all outcomes that the truth allows."""
    order = np.argsort(shown, kind="stable")
    p = truth[order]
    below = np.cumsum(1 - p) - (1 - p)
    return float((p * below).sum() / (p.sum() * (1 - p).sum() - (p * (1 - p)).sum()))


def judge(seed: int, customers: int = CUSTOMERS) -> dict[str, Any]:
    """Make a company, train and score on its newest week, and compare with the truth."""
    company = make_company(customers, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        config = company.write(folder)
        trained = train(config, record=False)
        week = score(config, model=trained.folder)
    truth = company.truth.at(week.as_of).set_index("customer_id")
    shown = week.scores[week.scores["eligible"]].set_index("customer_id")
    true = truth.reindex(shown.index)
    p = shown["churn_probability"].to_numpy()
    real = true["churn_probability"].to_numpy()
    oracle, ours = expected_auc(real, real), expected_auc(real, p)
    methods = {row["name"]: row["auc"] for row in trained.comparison}
    return {
        "seed": seed,
        "customers": customers,
        "eligible": len(shown),
        "oracle_auc": oracle,
        "auc": ours,
        "share_of_oracle": (ours - 0.5) / (oracle - 0.5),
        "calibration_error": calibration_error(real, p),
        "mean_predicted": float(p.mean()),
        "mean_true": float(real.mean()),
        "clv_sum_over_true": float(shown["clv"].sum() / true["expected_margin"].sum()),
        "out_of_time_auc": methods,
        **_reasons(week.drivers, shown, true),
    }


def _reasons(drivers: pd.DataFrame, shown: pd.DataFrame, true: pd.DataFrame) -> dict[str, Any]:
    """Compare the reasons of the riskiest tenth, and every theme's contribution, with the truth."""
    churn = drivers[drivers["target"] == "churn"]
    tenth = shown["churn_probability"].nlargest(max(len(shown) // 10, 1)).index
    raising = churn[(churn["contribution"] > 0) & churn["customer_id"].isin(tenth)]
    first_two = raising[raising["rank"] <= 2].groupby("customer_id")["theme"].agg(set)
    main = true.loc[tenth, "main_theme"]
    found = [theme in first_two.get(who, ()) for who, theme in main.items()]
    fixed = max(main.isin(pair).mean() for pair in itertools.combinations(THEMES, 2))
    # in the unit that is shown: the truth comes in log-odds, the page in points of probability
    chance = true["churn_probability"]
    points = {theme: chance - expit(logit(chance) - true[theme]) for theme in THEMES}
    return {
        "main_theme_in_first_two": float(np.mean(found)),
        "one_fixed_list": float(fixed),
        "without_a_reason": float(np.mean([who not in first_two for who in tenth])),
        **{
            f"rank_correlation_{theme}": float(
                spearmanr(shown[f"theme_{theme}"], points[theme]).statistic
            )
            for theme in THEMES
        },
    }


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    print(json.dumps(judge(*given), indent=1))
