"""The health score of a company's customers: its parts from features, and how well it foretold.

The score is an opinion with weights, the model's probability is learnt; they stay two numbers.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from retain import evaluate
from retain.baselines import rates_by_score
from retain.errors import ConfigError, StoreError, some
from retain.features import FEATURES, load_own_features
from retain.jobs.beside import people
from retain.jobs.opening import Company
from retain.jobs.panel import matrix, with_lists
from retain.jobs.store import partial
from retain.metrics import HealthPart, HealthRule, health_scores, version_changes
from retain.snapshots import ELIGIBLE, churn_labels, eligibility, snapshot_weeks
from retain.weeks import FoldedWeeks, History
from retain.weeks.fold import most_used_features

__all__ = [
    "foretold",
    "health_as_risk",
    "health_of",
    "health_rule",
    "note_version",
    "with_product_features",
]

WARMUP_WEEKS = 13  # of history before a score is judged: windows should hold something
MOST_NAMED = 8
NO_BAND = "no band"


def health_rule(company: Company) -> HealthRule | None:
    """Give the configured rule; None when there is no health score."""
    settings = company.config.metrics.health
    if not settings.parts:
        return None
    return HealthRule(
        {
            name: HealthPart(part.floor, part.target, part.weight)
            for name, part in settings.parts.items()
        },
        settings.profiles,
        settings.missing,
        settings.least_coverage,
        settings.bands,
    )


def with_product_features(company: Company, week: int) -> FoldedWeeks:
    """Fold the tables as known by the end of a week, product features named."""
    top = most_used_features(company.tables, company.calendar.last_day(week))
    return with_lists(company.fold(week, top), {"top_features": list(top)})


def health_of(
    company: Company, folded: FoldedWeeks, weeks: Sequence[int], rule: HealthRule
) -> dict[int, pd.DataFrame]:
    """Score every customer who can leave, at the end of each week.

    Parameters
    ----------
    company
        Whose parts.
    folded
        Customer-weeks that reach as far as the newest of the weeks.
    weeks
        As_of weeks.
    rule
        From `health_rule`.

    Returns
    -------
    dict
        Week to what `health_scores` gives, with `place`, the customer's position.

    Raises
    ------
    ConfigError
        When a part's measure is no column of the catalogue of features.
    """
    own, _ = load_own_features(company.config.features)
    parts = company.config.metrics.health.parts
    measures = tuple(dict.fromkeys(part.measure for part in parts.values()))
    history = History(folded, np.asarray(sorted(weeks)))
    there = eligibility(history, company.churn) == ELIGIBLE
    built = matrix(folded, sorted(weeks), there, own, only=measures)
    if lost := [name for name in measures if name not in built.X]:
        catalogue = [column.name for one in (*FEATURES, *own) for column in one.columns(history)]
        raise _no_column(lost, catalogue)
    return {
        week: _scored(company, folded, week, built.X[mine], built.customer[mine], rule)
        for week in sorted(weeks)
        for mine in [built.as_of == week]
    }


def health_as_risk(
    company: Company,
    folded: FoldedWeeks,
    X: pd.DataFrame,
    when: Any,
    who: Any,
    learn: Any,
    y: Any,
    test: Any,
) -> dict[str, Any]:
    """Give what the health score alone would have said of leaving, for the comparison.

    Parameters
    ----------
    company, folded
        Whose score.
    X
        Features of each snapshot by name.
    when, who, y
        Week, customer and outcome of each snapshot, shape (rows,).
    learn, test
        Snapshots from which the rate of each score is learnt, and those to judge on.

    Returns
    -------
    dict
        ``"health score"`` to probabilities of the snapshots judged; empty where none is configured.

    Raises
    ------
    ConfigError
        When a part's measure is no column of the catalogue of features.
    """
    rule = health_rule(company)
    if rule is None:
        return {}
    measures = [part.measure for part in company.config.metrics.health.parts.values()]
    if lost := [name for name in measures if name not in X]:
        raise _no_column(lost, [str(name) for name in X.columns])
    score = np.full(len(X), np.nan)
    for week in np.unique(when[learn | test]):
        mine = (when == week) & (learn | test)
        score[mine] = _scored(company, folded, int(week), X[mine], who[mine], rule)["score"]
    return {"health score": rates_by_score(score[learn], y[learn], score[test])}


def _no_column(lost: list[str], catalogue: list[str]) -> ConfigError:
    near = difflib.get_close_matches(lost[0], catalogue, 1)
    return ConfigError(
        f"metrics.health.parts: {some(lost)} is no column of the catalogue of features"
        + (f"; did you mean {near[0]}?" if near else "")
    )


def _scored(
    company: Company, folded: FoldedWeeks, week: int, X: pd.DataFrame, place: Any, rule: HealthRule
) -> pd.DataFrame:
    """Score the customers at `place` from their features at the end of a week."""
    values = pd.DataFrame({"customer_id": folded.customers[place].astype(str)})
    for name, part in company.config.metrics.health.parts.items():
        column = X[part.measure].reset_index(drop=True)
        values[name] = pd.to_numeric(column, errors="coerce").to_numpy()
    if rule.profiles:
        of = people(company, ["segment"], company.calendar.last_day(week))
        values["segment"] = of["segment"].reindex(values["customer_id"]).to_numpy()
    return health_scores(values, rule).assign(place=place)


def foretold(
    company: Company, folded: FoldedWeeks, rule: HealthRule, level: float
) -> dict[str, Any]:
    """Tell how well the score would have foretold who left, as far as it is known by now.

    Returns
    -------
    dict
        AUC with its interval, customers and leavers by band, and who was in the best band and left;
        ``because`` instead when there is nothing to judge on.
    """
    ripe = folded.last_week - company.churn.ripe_weeks
    oldest = folded.recorded_from + WARMUP_WEEKS
    weeks = snapshot_weeks(ripe, oldest, company.config.snapshots.every_weeks).tolist()
    if not weeks:
        return {"because": "too little history: no score is old enough to know what followed"}
    labels, _ = churn_labels(folded, weeks, company.churn)
    lines = [
        table.assign(week=week, left=labels[at][table["place"]])
        for at, (week, table) in enumerate(health_of(company, folded, weeks, rule).items())
    ]
    judged = pd.concat(lines, ignore_index=True)
    judged = judged[judged["left"].notna()]
    if judged.loc[judged["score"].notna(), "left"].nunique() < 2:
        return {"because": "nobody, or everybody, left in the weeks that can be judged"}
    bands = (*rule.bands, NO_BAND)
    # the newest first, so that misses are named in that order
    judged = judged.sort_values(["week", "score", "customer_id"], ascending=[False, False, True])
    found = evaluate.judge_health(
        judged["left"],
        judged["score"],
        judged["band"].fillna(NO_BAND),
        judged["customer_id"],
        bands=tuple(rule.bands),
        level=level,
    )
    known = judged[judged["score"].notna()].assign(band=judged["band"].fillna(NO_BAND))
    counts = known.groupby("band")["left"].agg(["size", "sum"])
    best = list(rule.bands)[-1]
    missed = known[(known["band"] == best) & (known["left"] == 1)]
    return {
        "figures": found.figures,
        "level": level,
        "horizon_weeks": company.churn.horizon_weeks,
        "first": str(company.calendar.last_day(weeks[0])),
        "last": str(company.calendar.last_day(weeks[-1])),
        "scores": found.used,
        "leavers": int(known["left"].sum()),
        "bands": {
            name: {"scores": int(counts["size"][name]), "left": int(counts["sum"][name])}
            for name in bands
            if name in counts.index
        },
        "best_band": best,
        "missed": len(missed),
        "missed_customers": [
            {
                "customer_id": str(who),
                "as_of": str(company.calendar.last_day(int(week))),
                "score": round(float(score), 1),
            }
            for who, week, score in missed.drop_duplicates("customer_id")[
                ["customer_id", "week", "score"]
            ]
            .head(MOST_NAMED)
            .to_numpy()
            .tolist()
        ],
    }


def note_version(company: Company, rule: HealthRule, day: date) -> list[dict[str, str]]:
    """Note under which rule a day was scored; give the changes up to it, oldest first."""
    path = company.store.folder / "health.json"
    try:
        noted = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as problem:
        raise StoreError(
            f"store: {path} is damaged. Delete it: it only marks changes."
        ) from problem
    noted[str(day)] = rule.version
    aside = partial(path)
    aside.write_text(json.dumps(noted, indent=1, sort_keys=True), encoding="utf-8")
    aside.replace(path)
    until = sorted((at, version) for at, version in noted.items() if at <= str(day))
    history = pd.DataFrame(until, columns=["as_of", "config_version"])
    return [
        {str(key): str(value) for key, value in line.items()}
        for line in version_changes(history).to_dict("records")
    ]
