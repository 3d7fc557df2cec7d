"""`retain train`: learn, judge out of time beside baselines, save, record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain import evaluate, tracking
from retain.baselines import churn_baselines
from retain.config import Config
from retain.errors import ConfigError
from retain.features import Feature, load_own_features
from retain.jobs.health import health_as_risk
from retain.jobs.horizons import (
    Leaving,
    Observed,
    judged_curve,
    judged_interval,
    known_then,
    learnt_curve,
    longest_ripe,
)
from retain.jobs.model_card import (
    Judged,
    grade_of,
    make_model_card,
    note_run,
    write_model_card,
)
from retain.jobs.observing import enough, observe, without_trend
from retain.jobs.opening import Company, as_day, open_company, settle_as_of
from retain.jobs.panel import matrix, with_lists
from retain.jobs.progress import Listener, Steps, silent
from retain.jobs.promoting import promoted_in_passing
from retain.jobs.recording import record_run, uri_of
from retain.jobs.suspecting import stop_on_leaks
from retain.jobs.valuing import learn_value, row_of
from retain.model import (
    Bundle,
    Encoder,
    default_lightgbm,
    fit_churn,
    save_bundle,
    tune_churn,
)
from retain.model.themes import learn_themes
from retain.snapshots import ELIGIBLE
from retain.weeks.fold import most_used_features

__all__ = ["Trained", "train"]

MOST_MINUTES = 10_000
STEPS = {
    "reading tables": 10,
    "folding weeks": 8,
    "building features": 15,
    "learning churn": 35,
    "judging out of time": 10,
    "learning value": 20,
    "saving and recording": 12,
}


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Parameters
    ----------
    bundle
        The model.
    folder
        Where it was saved.
    figures
        Churn figures out of time: figure to value, low, high.
    comparison
        One dict per method (the model first): name and its figures.
    clv_figures
        CLV figures out of time, empty where none could be judged.
    clv_comparison
        One dict per CLV method.
    by_as_of
        Churn figures per test snapshot.
    run
        Where it was recorded.
    eligible
        Snapshots by reason, over all as_ofs.
    promotion
        What was decided of the new model and why, where `tracking.promote` is automatic.
    """

    bundle: Bundle
    folder: Path
    figures: dict[str, dict[str, float]]
    comparison: list[dict[str, Any]]
    clv_figures: dict[str, dict[str, float]]
    clv_comparison: list[dict[str, Any]]
    by_as_of: dict[date, dict[str, dict[str, float]]]
    run: Any
    eligible: dict[str, int]
    promotion: str = ""


def train(
    config: Config | str | Path,
    *,
    as_of: date | str | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    features: tuple[Feature, ...] = (),
    seed: int = 0,
    champion: bool | None = None,
    record: bool = True,
    allow_leaks: bool = False,
    tune_minutes: float | None = None,
    progress: Listener = silent,
) -> Trained:
    """Train a company's model as on the evening of `as_of`.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    as_of
        Last day of a week; nothing later is read. Default: the last complete week.
    tables
        Frames that stand in for configured sources.
    features
        The company's own features, beside those of the file named in the configuration.
    seed
        Same seed and data, same bytes.
    champion
        True makes the new version the one that scores; None only when there is none yet.
    record
        Keep the run in MLflow; False only saves the bundle.
    allow_leaks
        Train although something gives the outcome away; it stays noted in the model.
    tune_minutes
        Search settings for so many minutes; None: choose among the defaults, in seconds.
    progress
        Told what is being done.

    Raises
    ------
    ConfigError
        When `tune_minutes` is not above 0.
    LeakError
        When something gives the outcome away that is not allowed.
    RetainError
        When the data cannot teach a model; the message says what is missing.
    """
    if tune_minutes is not None and not 0 < tune_minutes < MOST_MINUTES:
        raise ConfigError(
            f"--tune {tune_minutes:g}: expected minutes above 0 and below {MOST_MINUTES:,}."
        )
    steps = Steps(progress, STEPS if tune_minutes is None else {**STEPS, "learning churn": 200})
    steps("reading tables")
    as_of = None if as_of is None else as_day(as_of)
    company = open_company(config, tables)
    with company.store.locked("train"):
        if record:
            tracking.check_reachable(uri_of(company))
        return _train(
            company, as_of, features, seed, champion, record, allow_leaks, tune_minutes, steps
        )


def _train(
    company: Company,
    as_of: Any,
    given: tuple[Feature, ...],
    seed: int,
    champion: bool | None,
    record: bool,
    allow_leaks: bool,
    tune_minutes: float | None,
    steps: Steps,
) -> Trained:
    week = settle_as_of(company, as_of)
    own, own_hash = load_own_features(company.config.features)
    own = (*own, *given)
    steps("folding weeks")
    top = most_used_features(company.tables, company.calendar.last_day(week))
    folded = company.fold(week, top, steps.detail)
    seen = observe(company, folded, week, seed)
    as_ofs, split, acted = seen.as_ofs, seen.split, seen.acted
    when, who, y = seen.when, seen.who, seen.y
    churn_rows, clv_rows = seen.churn_rows, seen.clv_rows
    enough(who=who[churn_rows], y=y[churn_rows], horizon=company.churn.horizon_weeks)
    lists: dict[str, Any] = {"top_features": list(top), "comment_themes": None}
    if folded.texts is not None:
        rows = folded.panels["comments"]
        known = rows.week + rows.lag <= int(split.train.max())
        lists["comment_themes"] = learn_themes(folded.texts[known], seed=seed)
    folded = with_lists(folded, lists)

    steps("building features")
    built = matrix(folded, seen.weeks, seen.kept, own, progress=steps.part)
    X, columns = without_trend(built, as_ofs)
    suspects = stop_on_leaks(company, folded, seen, X, columns, allow_leaks)

    steps("learning churn")
    encoder = Encoder().fit(X[churn_rows | clv_rows])
    learn = churn_rows & (when <= split.train.max())
    test = churn_rows & np.isin(when, split.test)
    M = encoder.transform(X[learn])
    chosen, tuning = None, None
    if tune_minutes is not None:
        tuned = tune_churn(
            M,
            y[learn],
            when[learn],
            who[learn],
            purge=company.churn.ripe_weeks,
            minutes=tune_minutes,
            categorical=encoder.categorical,
            seed=seed,
            progress=steps.detail,
        )
        chosen = tuned.chosen
        tuning = {
            "minutes": tune_minutes,
            "trials": len(tuned.tried),
            "log_loss": tuned.log_loss,
            "log_loss_default": tuned.log_loss_default,
        }
    judged = fit_churn(
        M,
        y[learn],
        when[learn],
        who[learn],
        chosen=chosen,
        weight=acted.weight[learn],
        purge=company.churn.ripe_weeks,
        categorical=encoder.categorical,
        seed=seed,
        refits=0,
        progress=steps.detail,
    )
    T = encoder.transform(X[test])
    p = judged.predict(T)
    observed = Observed.of(
        company,
        folded,
        encoder.transform(X[churn_rows]),
        y[churn_rows],
        when[churn_rows],
        who[churn_rows],
        categorical=encoder.categorical,
        weight=acted.weight[churn_rows],
        countdown=encoder.positions([c.name for c in columns if c.feature.counts_down]),
    )
    churn = fit_churn(
        observed.X,
        observed.y,
        observed.when,
        observed.who,
        weight=observed.weight,
        purge=company.churn.ripe_weeks,
        categorical=encoder.categorical,
        seed=seed,
        chosen=judged.chosen,
        progress=steps.detail,
    )
    now = Leaving(churn, learnt_curve(observed, churn, company.churn, seed), observed)
    then = known_then(
        observed,
        min([week, *seen.clv_weeks[-1:], *longest_ripe(observed, company.churn)]),
        company.churn,
        judged.chosen,
        seed=seed,
        progress=steps.detail,
    )

    steps("judging out of time")
    names = encoder.columns_
    capacity = company.config.review.capacity_per_week
    at_work: dict[str, Any] = {"capacity": capacity, "when": when[test], "seed": seed}
    figures = evaluate.churn_figures(y[test], p, who[test], **at_work)
    by_as_of = {
        folded.calendar.last_day(int(w)): evaluate.churn_figures(
            y[rows := test & (when == w)],
            p[when[test] == w],
            who[rows],
            capacity=capacity,
            seed=seed,
        )
        for w in split.test
        if (test & (when == w)).any()
    }
    slim = slice(None, None, _slim(learn.sum()))
    others = churn_baselines(
        pd.DataFrame(M[slim], columns=names),
        y[learn][slim],
        pd.DataFrame(T, columns=names),
        categorical=[names[at] for at in encoder.categorical],
        groups=who[learn][slim],
        splits=_forward(when[learn][slim], y[learn][slim], company.churn.ripe_weeks),
        default_lightgbm=default_lightgbm,
        seed=seed,
    )
    others |= health_as_risk(company, folded, built.X, when, who, learn, y, test)
    comparison = [row_of("retain", figures)]
    for name, score in others.items():
        beside = evaluate.churn_figures(y[test], score, who[test], **at_work)
        comparison.append(row_of(name, beside))

    horizons = judged_curve(
        observed,
        company.churn,
        then,
        capacity=company.config.review.capacity_per_week,
        seed=seed,
    )
    for one in horizons:
        one["as_of"] = str(folded.calendar.last_day(one["as_of"]))
    held = judged_interval(observed, company.churn, then, company.config.clv.interval)
    if held is not None:
        held["as_of"] = str(folded.calendar.last_day(held["as_of"]))

    steps("learning value")
    clv, clv_figures, clv_comparison, valued = learn_value(
        company,
        folded,
        encoder.transform(X[clv_rows]),
        encoder.categorical,
        when[clv_rows],
        who[clv_rows],
        seen.eligible[clv_rows],
        seen.clv_weeks,
        seen.learnt,
        now,
        then,
        seed,
        steps.detail,
    )

    steps("saving and recording")
    place = {column.name: column for column in columns}
    in_matrix = [place[name] for name in names]
    on = Judged(
        y[test],
        p,
        when[test],
        who[test],
        others,
        T,
        (M, who[learn], y[learn]),
        (when[churn_rows], y[churn_rows]),
        {str(reason): int(n) for reason, n in seen.counted.items()},
    )
    leaks = [dataclasses.asdict(one) for one in suspects]
    graded = grade_of(figures, leaks, in_matrix, on, capacity=capacity, seed=seed)
    bundle = Bundle(
        settings=company.config.defining_settings(),
        features={"columns": [c.name for c in columns], "own": own_hash},
        tables={
            name: sorted(company.tables.columns[name])
            for name in company.tables.columns
            if name in folded.panels or name == "customers"
        },
        lists=lists,
        encoder=encoder,
        churn=churn,
        clv=clv,
        about={
            "as_of": str(folded.calendar.last_day(week)),
            "data": company.tables.fingerprints,
            "snapshots": [str(folded.calendar.last_day(int(w))) for w in as_ofs],
            "test_snapshots": [str(folded.calendar.last_day(int(w))) for w in split.test],
            "rows": int(churn_rows.sum()),
            "test_rows": int(test.sum()),
            "excluded_rows": seen.excluded,
            "treatments": acted.told,
            "involuntary_share": seen.involuntary_share,
            "base_rate": float(y[churn_rows].mean()),
            "figures": figures,
            "comparison": comparison,
            "clv_figures": clv_figures,
            "clv_comparison": clv_comparison,
            "horizons": horizons,
            "interval": held,
            "leaks": leaks,
            "grade": {name: graded["grade"][name] for name in ("letter", "meaning", "reason")},
            "seed": seed,
            "tuning": tuning,
        },
        curve=now.curve,
    )
    folder = company.config.models_folder / f"{company.config.model_name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    version = save_bundle(bundle, folder)
    days = {int(w): str(folded.calendar.last_day(int(w))) for w in split.test}
    judged_rows = pd.DataFrame(
        {
            "customer_id": folded.customers[who[test]].astype(str),
            "as_of": [days[int(w)] for w in when[test]],
            "p": p,
        }
    )
    company.store.keep_judged(version, judged_rows)
    card = make_model_card(
        company,
        bundle,
        folded,
        in_matrix,
        on,
        valued,
        graded,
        version=version,
        seed=seed,
    )
    write_model_card(company.store, folder, card)
    run = None
    if record:
        run = record_run(
            company,
            bundle,
            folder,
            version,
            figures,
            clv_figures,
            by_as_of,
            {
                "y": y[test],
                "p": {"retain": p, **others},
                "T": T,
                "names": names,
                "head": judged.head,
            },
            champion,
            capacity * len(split.test),
        )
    note_run(company.store, folder, run)
    promotion = ""
    if champion is None:
        run, promotion = promoted_in_passing(company, company.calendar.last_day(week), given, run)
    steps.done()
    return Trained(
        bundle,
        folder,
        figures,
        comparison,
        clv_figures,
        clv_comparison,
        by_as_of,
        run,
        {("eligible" if k == ELIGIBLE else str(k)): int(v) for k, v in seen.counted.items()},
        promotion,
    )


def _forward(when: Any, y: Any, purge: int) -> list[tuple[Any, Any]] | None:
    """Positions to choose a penalty on: the newest week, and what lies a purge before."""
    train = np.flatnonzero(when <= when.max() - purge)
    test = np.flatnonzero(when == when.max())
    both = all(len(np.unique(y[rows])) == 2 for rows in (train, test))
    return [(train, test)] if both else None


def _slim(rows: int, most: int = 30_000) -> int:
    """Return the stride that leaves about `most` rows for the slower baselines."""
    return max(int(rows) // most, 1)
