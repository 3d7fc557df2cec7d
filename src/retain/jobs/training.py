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
from retain.errors import ConfigError, SnapshotError
from retain.features import Feature, load_own_features
from retain.jobs.contacted import contacted
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
from retain.jobs.opening import Company, as_day, open_company, settle_as_of
from retain.jobs.panel import matrix, with_lists
from retain.jobs.progress import Listener, Steps, silent
from retain.jobs.promoting import promoted_in_passing
from retain.jobs.recording import record_run, uri_of
from retain.jobs.suspecting import stop_on_leaks
from retain.jobs.valuing import learn_value, row_of, value_grid
from retain.model import (
    Bundle,
    Encoder,
    default_lightgbm,
    fit_churn,
    save_bundle,
    tune_churn,
)
from retain.model.themes import learn_themes
from retain.snapshots import (
    ELIGIBLE,
    churn_labels,
    eligibility,
    forward_split,
    snapshot_weeks,
)
from retain.weeks import FoldedWeeks, History
from retain.weeks.fold import most_used_features

__all__ = ["Trained", "train"]

WARMUP_WEEKS = 8  # weeks of history before the first snapshot, so that windows hold something
SEASON_WEEKS = 104  # less than two years cannot tell a season from a trend
MOST_ROWS = 300_000  # snapshots learnt from; more are thinned by whole customers
TEST_SNAPSHOTS = 3
LEAST_CUSTOMERS, LEAST_LEAVERS = 100, 30  # who were eligible, and who left
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
    as_ofs, split_weeks = _grid(company, folded, week)
    split = forward_split(as_ofs, company.churn.ripe_weeks, split_weeks)
    lists: dict[str, Any] = {"top_features": list(top), "comment_themes": None}
    if folded.texts is not None:
        rows = folded.panels["comments"]
        known = rows.week + rows.lag <= int(split.train.max())
        lists["comment_themes"] = learn_themes(folded.texts[known], seed=seed)
    folded = with_lists(folded, lists)

    steps("building features")
    clv_weeks, learnt = value_grid(company, folded, WARMUP_WEEKS, int(as_ofs.max()))
    union = np.union1d(as_ofs, clv_weeks)
    why = eligibility(History(folded, union), company.churn)
    there = why != "not a customer yet"
    in_churn = (why == ELIGIBLE) & np.isin(union, as_ofs)[:, None]
    in_clv = there & np.isin(union, clv_weeks)[:, None]
    keep = _thinned(in_churn | in_clv, seed)
    in_churn, in_clv = in_churn & keep, in_clv & keep
    counted = pd.Series(why[np.isin(union, as_ofs)].ravel()).value_counts()
    if not in_churn.any():
        raise SnapshotError(
            "no customer is eligible on any snapshot: "
            + ", ".join(f"{n:,} x {reason}" for reason, n in counted.items())
            + ". Check churn.kind and the tables it needs."
        )
    built = matrix(folded, union, in_churn | in_clv, own, progress=steps.part)
    X, columns = _without_trend(built, folded, as_ofs)
    churn_rows, clv_rows = in_churn[in_churn | in_clv], in_clv[in_churn | in_clv]
    labels = np.full(why.shape, np.nan)
    at = np.searchsorted(union, as_ofs)
    labels[at], involuntary = churn_labels(folded, as_ofs, company.churn)
    y = labels[in_churn | in_clv]
    excluded = int((churn_rows & np.isnan(y)).sum())
    churn_rows &= ~np.isnan(y)
    acted = contacted(company, folded, built.as_of, built.customer, churn_rows)
    churn_rows &= ~acted.set_aside
    _enough(who=built.customer[churn_rows], y=y[churn_rows], horizon=company.churn.horizon_weeks)
    suspects = stop_on_leaks(
        company,
        folded,
        as_ofs,
        X,
        columns,
        (built.as_of, built.customer),
        y,
        churn_rows,
        allow_leaks,
    )

    steps("learning churn")
    when, who = built.as_of, built.customer
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
        min([week, *clv_weeks[-1:], *longest_ripe(observed, company.churn)]),
        company.churn,
        judged.chosen,
        seed=seed,
        progress=steps.detail,
    )

    steps("judging out of time")
    names = encoder.columns_
    capacity = company.config.review.capacity_per_week * len(split.test)
    figures = evaluate.churn_figures(y[test], p, who[test], capacity=capacity, seed=seed)
    by_as_of = {
        folded.calendar.last_day(int(w)): evaluate.churn_figures(
            y[rows := test & (when == w)],
            p[when[test] == w],
            who[rows],
            capacity=company.config.review.capacity_per_week,
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
        beside = evaluate.churn_figures(y[test], score, who[test], capacity=capacity, seed=seed)
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
        (why == ELIGIBLE)[in_churn | in_clv][clv_rows],
        clv_weeks,
        learnt,
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
        {str(reason): int(n) for reason, n in counted.items()},
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
            "excluded_rows": excluded,
            "treatments": acted.told,
            "involuntary_share": _share(involuntary[labels[at] == 1]),
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
            capacity,
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
        {("eligible" if k == ELIGIBLE else str(k)): int(v) for k, v in counted.items()},
        promotion,
    )


def _grid(company: Company, folded: FoldedWeeks, week: int) -> tuple[Any, int]:
    """Lay out the ripe as_ofs, the newest first in mind, and how many of them to judge on."""
    every, ripe = company.config.snapshots.every_weeks, company.churn.ripe_weeks
    oldest = folded.recorded_from + WARMUP_WEEKS
    as_ofs = snapshot_weeks(week - ripe, oldest, every, company.config.snapshots.most)
    need = WARMUP_WEEKS + 2 * ripe + 1
    have = week - folded.recorded_from + 1
    if len(as_ofs) == 0 or have < need:
        raise SnapshotError(
            f"too little history: {have} weeks up to {folded.calendar.last_day(week)}; at least "
            f"{need} are needed ({WARMUP_WEEKS} to look back on, and twice the {ripe} weeks of "
            "gap, horizon and grace to learn and to judge). Bring more history or shorten "
            "churn.horizon_weeks."
        )
    # judge on several snapshots where enough remain to learn from
    tests = 1
    for count in range(2, TEST_SNAPSHOTS + 1):
        first = as_ofs[-count] if len(as_ofs) >= count else None
        if first is not None and (as_ofs <= first - ripe).sum() >= 6:
            tests = count
    return as_ofs, tests


def _enough(who: Any, y: Any, horizon: int) -> None:
    """Refuse to learn from a handful: what is seen once or twice is luck."""
    customers, left = len(np.unique(who)), len(np.unique(who[y == 1]))
    if customers < LEAST_CUSTOMERS or left < LEAST_LEAVERS:
        short = "leavers" if left < LEAST_LEAVERS else "customers"
        raise SnapshotError(
            f"churn: too few {short} to learn from: {left} of {customers} eligible customers left "
            f"within {horizon} weeks of an observed week; a model needs at least {LEAST_LEAVERS} "
            f"who left among at least {LEAST_CUSTOMERS}. Bring more history or a longer "
            "churn.horizon_weeks, and check that churn.kind fits the business."
        )


def _without_trend(built: Any, folded: FoldedWeeks, as_ofs: Any) -> tuple[pd.DataFrame, Any]:
    """Leave out the season when there are not two years to tell it from a trend."""
    if as_ofs.max() - as_ofs.min() >= SEASON_WEEKS:
        return built.X, built.columns
    columns = tuple(c for c in built.columns if c.feature.signal != "season")
    return built.X[[c.name for c in columns]], columns


def _thinned(mask: Any, seed: int) -> Any:
    """Keep whole customers until about `MOST_ROWS` snapshots are left."""
    total = int(mask.sum())
    if total <= MOST_ROWS:
        return np.ones_like(mask)
    customers = mask.shape[1]
    kept = np.random.default_rng(seed).permutation(customers)[: customers * MOST_ROWS // total]
    return np.broadcast_to(np.isin(np.arange(customers), kept), mask.shape).copy()


def _forward(when: Any, y: Any, purge: int) -> list[tuple[Any, Any]] | None:
    """Positions to choose a penalty on: the newest week, and what lies a purge before."""
    train = np.flatnonzero(when <= when.max() - purge)
    test = np.flatnonzero(when == when.max())
    both = all(len(np.unique(y[rows])) == 2 for rows in (train, test))
    return [(train, test)] if both else None


def _slim(rows: int, most: int = 30_000) -> int:
    """Return the stride that leaves about `most` rows for the slower baselines."""
    return max(int(rows) // most, 1)


def _share(mask: Any) -> float:
    return float(np.mean(mask)) if len(mask) else 0.0
