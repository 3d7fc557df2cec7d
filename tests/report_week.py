"""A made-up scored week, as the weekly run leaves it, with odd and hostile customers in it."""

import datetime

import numpy as np
import pandas as pd

AS_OF = datetime.date(2026, 11, 15)
HOSTILE = '<script>alert("x")</script>'
ODD_IDS = [
    HOSTILE,
    "</script><!-- \u2028 -->",
    "חברת אור 7",
    "شركة النور",
    "Ünïcode & Söhne/12",
    "\"quoted\" 'id' #%?",
    "\u202eevil\x00",
    "007",
]
THEMES = {
    "active days": (
        "usage",
        True,
        "Active days fell from {c} to {b} in four weeks; similar customers: 13",
    ),
    "logins": (
        "usage",
        True,
        "Logins {a} a week over 13 weeks, {b} the 13 weeks before; similar customers: {c}",
    ),
    "repeat contacts": (
        "effort",
        True,
        "{b} of {a} contacts in 13 weeks repeated the one before; similar customers: 1",
    ),
    "resolution time": (
        "effort",
        True,
        "Half of the cases took more than {a} hours, {b} a quarter ago",
    ),
    "nps": ("survey", True, "Last NPS answer was {b} on a scale to 10, given {a} weeks ago"),
    "renewal": ("commercial", False, "The contract renews in {a} days"),
    "failed payments": (
        "commercial",
        True,
        "{b} payments failed in 26 weeks; similar customers: 0",
    ),
    "tenure": ("profile", False, "Customer for {a} months"),
    "features": ("usage", True, "Uses {b} of {a} features; similar customers: {c}"),
}


def make_week(n=60, seed=4, hostile=True):
    """One scored week: scores, drivers, weekly and manifest as the weekly run leaves them."""
    rng = np.random.default_rng(seed)
    ids = [f"C-{i:05d}" for i in range(n)]
    if hostile:
        ids[: len(ODD_IDS)] = ODD_IDS
    base, scores, drivers, weekly = 0.08, [], [], []
    sundays = [AS_OF - datetime.timedelta(weeks=int(w)) for w in range(55, -1, -1)]
    for i, customer_id in enumerate(ids):
        eligible = i % 10 != 9
        clv = 0.0 if i % 17 == 5 else float(np.exp(rng.normal(8.6, 0.9)))
        row = {"customer_id": customer_id, "as_of": AS_OF, "eligible": eligible}
        row["not_eligible_because"] = (
            None if eligible else ["notice given", "no paid subscription"][i % 20 == 19]
        )
        row |= {
            "clv": clv,
            "clv_low": clv * 0.7,
            "clv_high": clv * 1.4,
            "mrr": round(float(np.exp(rng.normal(6, 0.8))), 2),
        }
        if i % 13 == 7:
            row |= {"clv": np.nan, "clv_low": np.nan, "clv_high": np.nan}
        row |= {
            "segment": [None, "Enterprise", "Mid-market", "Small"][i % 4],
            "plan": ["Basic", "Plus", "Pro"][i % 3],
            "owner": ["Ana Gómez", "Bo Li", HOSTILE, None, "Dita Novák"][i % 5],
            "renews_at": pd.NaT
            if i % 6 == 2
            else pd.Timestamp(AS_OF) + pd.Timedelta(days=int(rng.integers(-3, 330))),
            "coverage": float(rng.choice([1.0, 0.92, 0.61])),
            "freshness_days": int(rng.choice([0, 0, 1, 9])),
            "health_score": float(rng.integers(20, 95)) if i % 2 else np.nan,
            "model_version": "acme-churn 7",
            "config_version": "3f9a",
        }
        if eligible:
            names = list(rng.permutation(list(THEMES)))
            raw = np.where(rng.random(9) < 0.55, 1, -0.35) * rng.exponential(
                0.014 + 0.05 * (rng.random() < 0.2), 9
            )
            raw *= min(1.0, (0.93 - base) / max(raw.clip(0).sum(), 1e-9))
            raw = np.where(
                raw < 0, raw * min(1.0, (base - 0.004) / max(-raw.clip(max=0).sum(), 1e-9)), raw
            )
            p = base + raw.sum()
            known_before = i % 11 != 3
            before = max(p - rng.normal(0.012, 0.03), 0.002) if known_before else np.nan
            change = p - before
            row |= {
                "churn_probability": p,
                "churn_low": max(p - 0.25 * p - 0.01, 0.001),
                "churn_high": min(p + 0.3 * p + 0.01, 0.999),
                "risk_band": "high" if p > 0.3 else "watch" if p > 0.12 else "low",
                "previous_probability": before,
                "change": change,
                "change_behaviour": change * 0.7,
                "change_data": change * 0.3,
                "change_model": 0.0 * change,
                "change_unknown_because": None
                if known_before
                else ("not scored last week", "first scored this week")[i // 11 % 2],
                "value_at_risk": p * row["clv"],
            }
            for sign in (1, -1):
                order = [k for k in np.argsort(-np.abs(raw)) if sign * raw[k] > 0]
                for rank, k in enumerate(order, 1):
                    theme, actionable, text = THEMES[names[k]]
                    a, b, c = rng.integers(8, 40), rng.integers(0, 8), rng.integers(8, 20)
                    text = text.format(a=a, b=b, c=c)
                    if hostile and i == 0 and rank == 1:
                        text = f"Wrote {HOSTILE} & left \u2028 in a comment"
                    drivers.append(
                        {
                            "customer_id": customer_id,
                            "as_of": AS_OF,
                            "target": "churn",
                            "rank": rank,
                            "theme": theme,
                            "signal": names[k],
                            "feature": names[k].replace(" ", "_") + "_4w",
                            "value": float(a),
                            "earlier_value": float(b),
                            "peer_value": float(c),
                            "contribution": raw[k],
                            "contribution_before": raw[k] * (0.4 if k % 3 == 0 else 1),
                            "actionable": actionable,
                            "stability": float(rng.beta(5, 2)),
                            "sentence": text,
                        }
                    )
                    if rank <= 5:
                        row[f"driver_{rank}" if sign > 0 else f"protective_{min(rank, 2)}"] = text
        for rank, (theme, share, text) in enumerate(
            [
                ("commercial", 0.3, "Pays more each month than similar customers"),
                ("usage", -0.12, "Logins fell over 13 weeks"),
            ],
            1,
        ):
            drivers.append(
                {
                    "customer_id": customer_id,
                    "as_of": AS_OF,
                    "target": "clv",
                    "rank": rank,
                    "theme": theme,
                    "signal": text[:5],
                    "contribution": clv * share,
                    "sentence": text,
                    "actionable": False,
                }
            )
        scores.append(row)
        level, fall, start = (
            rng.integers(5, 90),
            rng.random() < 0.4,
            int(rng.integers(0, 30)) if i % 5 == 0 else 0,
        )
        for w, sunday in enumerate(sundays):
            if w < start:
                continue
            shape = 1 - 0.75 * fall * max(w - 35, 0) / 20
            weekly.append(
                {
                    "customer_id": customer_id,
                    "week_ends_on": sunday,
                    "events": None
                    if w in (20, 21) and i % 7 == 0
                    else int(rng.poisson(level * shape)),
                    "contacts": int(rng.poisson(0.5 + fall * 0.8 * (w > 40))),
                    "nps": int(rng.integers(2, 11)) if rng.random() < 0.06 and i % 4 else None,
                    "mrr": row["mrr"] * (0.8 if w < 25 else 1.0),
                    "spend": None,
                }
            )
    scores = pd.DataFrame(scores)
    live = scores[scores["eligible"]]
    scores.loc[live.index, "percentile"] = live["churn_probability"].rank(pct=True)
    outside = scores.loc[~scores["eligible"], "not_eligible_because"].value_counts().to_dict()
    manifest = {
        "company": "Acme & Söhne <b>",
        "currency": "EUR",
        "as_of": AS_OF.isoformat(),
        "horizon_weeks": 13,
        "customers": {"in": n + 3, "eligible": len(live), "not_eligible": outside, "set_aside": 3},
        "totals": {
            "mrr": float(scores["mrr"].sum()),
            "value_at_risk": float(live["value_at_risk"].sum()),
            "expected_churners": float(live["churn_probability"].sum()),
            "clv": float(scores["clv"].sum()),
        },
        "model_version": "acme-churn 7",
        "config_version": "3f9a",
        "base_probability": base,
        "clv_horizon_weeks": 52,
        "sources": {
            "usage": {
                "as_of": "2026-11-15",
                "rows_in": 1204311,
                "used": 1204180,
                "set_aside": 131,
                "stale_days": 0,
            },
            "surveys": {
                "as_of": "2026-11-02",
                "rows_in": 2210,
                "used": 2210,
                "set_aside": {},
                "stale_days": 13,
            },
            "interactions": {
                "as_of": "2026-11-14",
                "rows_in": 9120,
                "used": 9112,
                "set_aside": {"unknown customer": 8},
                "stale_days": 1,
            },
        },
        "notes": ["Trained without payments: CLV is learnt from MRR."],
    }
    return {
        "scores": scores,
        "drivers": pd.DataFrame(drivers),
        "weekly": pd.DataFrame(weekly),
        "manifest": manifest,
    }
