"""Scored weeks made by hand, for the action store's tests."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

from retain.actions.importing import import_week

FIRST = date(2026, 8, 2)
MANIFEST = {"currency": "EUR", "horizon_weeks": 13}


def day(week):
    return FIRST + timedelta(weeks=week)


def scored_week(week, n=20, seed=0, probability=None):
    """Scores and drivers of one week; customer C0 is the likeliest to leave."""
    rng = np.random.default_rng([seed, week])
    ids = [f"C{i}" for i in range(n)]
    p = np.linspace(0.6, 0.02, n) if probability is None else np.asarray(probability)
    scores = pd.DataFrame({"customer_id": ids, "as_of": str(day(week)), "eligible": True})
    scores["not_eligible_because"] = None
    scores["churn_probability"] = p
    scores["churn_low"], scores["churn_high"] = p * 0.8, np.minimum(p * 1.2, 1)
    scores["percentile"] = 100.0 * pd.Series(p).rank(method="max") / n
    scores["risk_band"] = np.where(scores["percentile"] > 80, "high", "low")
    scores["clv"] = 1000.0
    scores["value_at_risk"] = 1000.0 * p
    scores["mrr"] = rng.integers(50, 500, n).astype(float)
    scores["renews_at"] = str(day(week) + timedelta(days=60))
    scores["coverage"], scores["freshness_days"], scores["health_score"] = 1.0, 2.0, 70.0
    scores["segment"] = np.where(np.arange(n) % 2, "small", "large")
    scores["plan"], scores["owner"] = None, np.where(np.arange(n) % 3, "ann", "bob")
    scores["model_version"], scores["config_version"] = "m1", "c1"
    drivers = pd.DataFrame(
        [
            {
                **{"customer_id": who, "as_of": str(day(week)), "target": "churn"},
                **{"rank": rank, "theme": theme, "signal": signal, "feature": "f"},
                **{"value": "1", "earlier_value": "2", "peer_value": "3"},
                **{"contribution": points, "contribution_before": 0.0, "actionable": True},
                **{"stability": 0.9, "sentence": f"{signal} of {who}"},
            }
            for who in ids
            for rank, theme, signal, points in (
                (1, "usage", "amount of use", 0.1),
                (2, "effort", "open cases", 0.05),
                (1, "survey", "survey answers", -0.02),
            )
        ]
    )
    return scores, drivers


def bring(store, week, **more):
    """Import one week made by hand."""
    names = more.pop("names", None)
    fingerprint = more.pop("fingerprint", f"{week} {more}"[:64])
    scores, drivers = scored_week(week, **more)
    return import_week(
        store, day(week), scores, drivers, MANIFEST, fingerprint=fingerprint, names=names
    )
