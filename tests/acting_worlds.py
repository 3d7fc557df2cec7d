"""Companies in which the effect of acting is known, because it was put there."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

from retain.actions.queue import QueueRules, Standing, make_queue

START = date(2026, 1, 4)
NO_REASONS = pd.DataFrame(
    columns=["customer_id", "target", "rank", "theme", "signal", "sentence", "contribution"]
)


def worked_company(seed, *, effect, customers=700, weeks=12, capacity=60, share=0.2):
    """Let a team work the real queue for `weeks`; acting keeps a share of the persuadable half.

    Returns the draws as `effect_of_acting` takes them, and the true mean fall of the probability of
    leaving among those drawn.
    """
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 5, customers)
    persuadable = rng.random(customers) < 0.5
    fall = np.where(persuadable, effect, 0.0) * p
    ids = np.array([f"C{n}" for n in range(customers)])
    scores = pd.DataFrame(
        {
            "customer_id": ids,
            "eligible": True,
            "not_eligible_because": None,
            "churn_probability": p,
            "value_at_risk": p * rng.lognormal(6, 0.5, customers),
            "owner": None,
        }
    )
    rules = QueueRules(
        capacity,
        enter_percentile=0,
        stay_percentile=0,
        holdout_share=share,
        cool_down_weeks=weeks + 1,
        holdout_weeks=weeks + 1,
    )
    gone = np.zeros(customers, dtype=bool)
    drawn, contacted, units = {}, {}, []
    for week in range(weeks):
        day = START + timedelta(weeks=week)
        here = scores[~gone].assign(
            percentile=lambda f: 100 * f["churn_probability"].rank(pct=True)
        )
        made = make_queue(
            here, NO_REASONS, day, rules, Standing(drawn=drawn, contacted_on=contacted)
        )
        for who, status in zip(made["customer_id"], made["status"], strict=True):
            if status not in ("contact", "holdout") or who in drawn:
                continue
            n = int(who[1:])
            drawn[who] = status == "holdout"
            if status == "contact":
                contacted[who] = day
            chance = p[n] - (fall[n] if status == "contact" else 0.0)
            left = float(rng.random() < chance)
            units.append((who, str(day), drawn[who], left, fall[n]))
            gone[n] = gone[n] or left == 1.0
    frame = pd.DataFrame(
        units, columns=["customer_id", "entered_week", "is_holdout", "has_left", "fall"]
    )
    return frame.drop(columns="fall"), float(frame["fall"].mean())


def drawn_customers(seed, n, *, effect=1.0, share=0.3):
    """Past draws in a company where the likeliest to leave are beyond keeping.

    Those with many hard cases can be kept; some only notice that they could leave when called.
    """
    rng = np.random.default_rng(seed)
    theme = rng.normal(0, 1, (n, 5))
    lost = theme[:, 0] > 0.8
    keepable = (theme[:, 1] > 0.3) & ~lost
    woken = (theme[:, 2] > 1.0) & ~lost & ~keepable
    p = np.clip(0.12 + 0.45 * lost + 0.18 * keepable + rng.normal(0, 0.02, n), 0.02, 0.9)
    fall = effect * (0.7 * p * keepable - 0.1 * woken)
    held = rng.random(n) < share
    clv = rng.lognormal(6.5, 0.4, n)
    frame = pd.DataFrame(
        theme,
        columns=[
            f"theme_{name}" for name in ("usage", "effort", "survey", "commercial", "profile")
        ],
    )
    frame["customer_id"] = [f"C{i}" for i in range(n)]
    frame["churn_probability"], frame["clv"], frame["value_at_risk"] = p, clv, p * clv
    frame["is_holdout"] = held
    frame["has_left"] = (rng.random(n) < p - np.where(held, 0.0, fall)).astype(float)
    return frame, fall
