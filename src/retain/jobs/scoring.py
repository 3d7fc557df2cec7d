"""`retain score`: the weekly batch, safe to run twice, leaving a whole week or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain import explain, tracking
from retain.config import Config
from retain.errors import ModelMismatchError, SnapshotError
from retain.features import Column, Feature, load_own_features
from retain.jobs.acting import work_with
from retain.jobs.beside import (
    add_contract,
    add_people,
    coverage,
    keep_attributes,
    peer_groups,
    weekly_lines,
)
from retain.jobs.happenings import write_happenings
from retain.jobs.health import health_of, health_rule, note_version
from retain.jobs.manifest import describe_week
from retain.jobs.matching import same_columns, same_own_features, same_settings, same_tables
from retain.jobs.opening import Company, as_day, open_company, settle_as_of
from retain.jobs.panel import matrix, with_lists
from retain.jobs.progress import Listener, Steps, silent
from retain.jobs.recording import record_scored
from retain.jobs.staying import Staying
from retain.jobs.watching import Watched, raise_and_send
from retain.jobs.writing import write_week
from retain.model import Bundle, load_bundle
from retain.snapshots import ELIGIBLE, eligibility
from retain.weeks import FoldedWeeks, History

__all__ = ["Scored", "score"]

EARLIER_WEEKS = 4  # "fell from 14 to 5": against four weeks earlier
STABLE_FROM = 0.4  # below, the page says that there is no stable single reason
PANELS = ("usage", "interactions", "surveys", "payments", "subscriptions")
STEPS = {
    "reading tables": 20,
    "folding weeks": 15,
    "building features": 20,
    "scoring": 10,
    "explaining": 25,
    "writing": 10,
}


@dataclass(frozen=True)
class Scored:
    """What a weekly run gave.

    Parameters
    ----------
    as_of
        The scored week.
    folder
        Where its files lie.
    scores, drivers, weekly
        As written.
    manifest
        As written.
    alerts
        What was told of the week; None without alerts, or when a newer week is scored.
    """

    as_of: date
    folder: Path
    scores: pd.DataFrame
    drivers: pd.DataFrame
    weekly: pd.DataFrame
    manifest: dict[str, Any]
    alerts: Watched | None = None


def score(
    config: Config | str | Path,
    *,
    as_of: date | str | None = None,
    model: str | Path | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    features: tuple[Feature, ...] = (),
    without: str | Sequence[str] = (),
    progress: Listener = silent,
) -> Scored:
    """Score and explain every customer as on the evening of `as_of`.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    as_of
        Last day of a week. Default: the last complete week.
    model
        Folder of a saved model, or a version or alias in the registry; default: the champion.
    tables
        Frames that stand in for configured sources.
    features
        The company's own features, the same as at training.
    without
        Tables that the model was trained with and that are knowingly absent.
    progress
        Told what is being done.

    Raises
    ------
    ModelMismatchError
        When tables, settings or features differ from the model's own.
    SnapshotError
        When nobody is eligible: an empty week is never a success.
    """
    steps = Steps(progress, STEPS)
    steps("reading tables")
    as_of = None if as_of is None else as_day(as_of)  # a slip is told before anything is read
    without = (without,) if isinstance(without, str) else tuple(without)
    company = open_company(config, tables, without)
    with company.store.locked("score"):
        scored = _score(company, as_of, model, features, without, steps)
    # the week is written and stays, whatever becomes of the alerts
    return replace(scored, alerts=raise_and_send(company.config, scored.as_of))


def _score(
    company: Company,
    as_of: Any,
    model: str | Path | None,
    given: tuple[Feature, ...],
    without: tuple[str, ...],
    steps: Steps,
) -> Scored:
    week = settle_as_of(company, as_of)
    day = company.calendar.last_day(week)
    bundle = _model(company, model)
    same_settings(bundle, company, without)
    same_tables(bundle, company, without)
    own, own_hash = load_own_features(company.config.features)
    same_own_features(bundle, own_hash)
    own = (*own, *given)
    keep_attributes(company)  # first, so that a rerun meets what this run met

    steps("folding weeks")
    top = tuple(bundle.lists["top_features"])
    folded = with_lists(company.fold(week, top, steps.detail), bundle.lists)
    history = History(folded, [week])
    why = eligibility(history, company.churn)[0]
    there = why != "not a customer yet"
    eligible = (why == ELIGIBLE)[there]
    if not eligible.any():
        counts = pd.Series(why).value_counts()
        raise SnapshotError(
            f"as_of {day}: none of {len(why):,} customers is eligible ("
            + "; ".join(f"{n:,} x {reason}" for reason, n in counts.items())
            + "). No week was written. Check that the newest rows have arrived and that churn.kind "
            "fits the business."
        )

    steps("building features")
    only = tuple(bundle.features["columns"])
    # now, four weeks earlier, a week ago, and a week ago with what is known now
    as_ofs = [week, week - EARLIER_WEEKS, week - 1, week - 1]
    built = matrix(
        folded,
        as_ofs,
        np.broadcast_to(there, (4, len(there))),
        own,
        known_by=[week, week - EARLIER_WEEKS, week - 1, week],
        only=only,
        progress=steps.part,
    )
    same_columns(bundle, built.X.columns)
    n = int(there.sum())
    now, earlier, before, before_known = (built.X.iloc[at * n : (at + 1) * n] for at in range(4))

    steps("scoring")
    encoder = bundle.encoder
    M = encoder.transform(now)
    chance = bundle.churn.predict(M)
    low, high = bundle.churn.interval(M, company.config.clv.interval)
    shown_before = _previous(company, day)
    ids = folded.customers[there].astype(str)
    place = {column.name: column for column in built.columns}
    columns = [place[name] for name in encoder.columns_]
    B = encoder.transform(before)

    steps("explaining")
    drivers, themes = _churn_drivers(
        bundle,
        M[eligible],
        B[eligible],
        now[eligible],
        earlier[eligible],
        columns,
        ids[eligible],
        chance[eligible],
        company.config.currency,
        peer_groups(history, there)[eligible],
    )
    scores = pd.DataFrame({"customer_id": ids})
    scores["as_of"] = str(day)
    scores["eligible"] = eligible
    scores["not_eligible_because"] = [reason or None for reason in why[there]]
    for name, values in (
        ("churn_probability", chance),
        ("churn_low", low),
        ("churn_high", high),
        ("percentile", _percentile(chance, eligible)),
    ):
        scores[name] = np.where(eligible, values, np.nan)
    scores["risk_band"] = _bands(company, chance, scores["percentile"].to_numpy(), eligible)
    for theme, points in themes.items():
        scores[f"theme_{theme}"] = np.nan
        scores.loc[eligible, f"theme_{theme}"] = points
    _changes(scores, bundle, shown_before, chance, B, encoder.transform(before_known), eligible)
    if bundle.curve is not None:
        left = bundle.curve.gone_by(M, chance)
        for at, weeks in enumerate(bundle.curve.horizons):
            scores[f"churn_by_{weeks}w"] = np.where(eligible, left[:, at], np.nan)
    if bundle.clv is not None:
        staying = Staying.of(company, bundle, M, B, encoder.transform(earlier), eligible)
        value = bundle.clv.predict(M, staying.now)
        value_low, value_high = bundle.clv.interval(M, staying.now)
        scores["clv"], scores["clv_low"], scores["clv_high"] = value, value_low, value_high
        scores["value_at_risk"] = np.where(eligible, chance * value, np.nan)
        value_drivers = _clv_drivers(
            bundle,
            M,
            B,
            now,
            earlier,
            columns,
            ids,
            value,
            staying,
            company.config.currency,
            peer_groups(history, there),
        )
        drivers = pd.concat([drivers, value_drivers], ignore_index=True)
    else:
        for name in ("clv", "clv_low", "clv_high", "value_at_risk"):
            scores[name] = np.nan
    add_contract(scores, history, there, company)
    _reasons(scores, drivers)
    expected = tuple(name for name in PANELS if name in bundle.tables)
    scores["coverage"], scores["freshness_days"] = coverage(folded, history, there, expected)
    scores["health_score"] = _health(company, folded, week, ids)
    scores["model_version"] = bundle.version
    scores["config_version"] = company.config.fingerprint()
    add_people(scores, company, day)
    drivers.insert(1, "as_of", str(day))
    order = np.lexsort(
        (ids, -np.nan_to_num(scores["churn_probability"]), -np.nan_to_num(scores["value_at_risk"]))
    )
    scores = scores.iloc[order].reset_index(drop=True)
    weekly = weekly_lines(folded, there & (why == ELIGIBLE), week)
    manifest = describe_week(company, bundle, scores, why, day, without)

    steps("writing")
    folder = write_week(
        company.store,
        day,
        scores,
        drivers,
        weekly,
        manifest,
        beside=lambda part: write_happenings(company, day, part / "timeline.parquet"),
    )
    record_scored(company, bundle, day)
    if "review" in company.config.model_fields_set:  # a team works with the list
        work_with(company, folded, week)
    steps.done()
    return Scored(day, folder, scores, drivers, weekly, manifest)


def _health(company: Company, folded: FoldedWeeks, week: int, ids: Any) -> Any:
    """Give each customer's health score; nan where none is configured or too little is known."""
    rule = health_rule(company)
    if rule is None:
        return np.full(len(ids), np.nan)
    found = health_of(company, folded, [week], rule)[week]
    score = found.loc[found["band"].notna()].set_index("customer_id")["score"]
    note_version(company, rule, company.calendar.last_day(week))
    return score.reindex(ids).to_numpy(dtype=np.float64)


def _model(company: Company, model: str | Path | None) -> Bundle:
    """Load the champion of the registry, a version of it, or a folder."""
    if model is not None:
        if Path(model).is_dir():
            return load_bundle(Path(model))
        if isinstance(model, Path) or len(Path(model).parts) > 1:
            raise ModelMismatchError(
                f"model: {model} is not a folder. Name the folder of a saved model, a version or "
                "an alias; default: the champion."
            )
    cache = company.store.folder / "champions"

    def fetched() -> Path:
        return tracking.champion_bundle(
            cache,
            uri=tracking.tracking_uri(company.config.store, company.config.tracking_uri()),
            registered_model=company.config.model_name,
            **({} if model is None else {"version": str(model)}),
        )

    folder = fetched()
    try:
        return load_bundle(folder)
    except ModelMismatchError:
        shutil.rmtree(folder, ignore_errors=True)  # our copy was damaged: fetch it once more
        return load_bundle(fetched())


def _previous(company: Company, day: date) -> pd.Series | None:
    """Return what last week's page showed, by customer."""
    frame = company.store.read_week(day - timedelta(days=7), "scores")
    if frame is None:
        return None
    kept = frame[frame["eligible"]].set_index("customer_id")
    return pd.DataFrame({"p": kept["churn_probability"], "model": kept["model_version"]})  # type: ignore[return-value]


def _changes(
    scores: pd.DataFrame,
    bundle: Bundle,
    shown: Any,
    chance: Any,
    before: Any,
    before_known: Any,
    eligible: Any,
) -> None:
    """Split the change since last week into behaviour, newly arrived data and a new model."""
    for name in (
        "previous_probability",
        "change",
        "change_behaviour",
        "change_data",
        "change_model",
    ):
        scores[name] = np.nan
    if shown is None:
        return
    last = shown["p"].reindex(scores["customer_id"]).to_numpy(dtype=np.float64)
    same_model = (
        shown["model"].reindex(scores["customer_id"]).to_numpy(dtype=object) == bundle.version
    )
    recomputed, with_new = bundle.churn.predict(before), bundle.churn.predict(before_known)
    known = eligible & ~np.isnan(last)
    # a new model explains what it makes of the same old rows; what is left of the same model's
    # difference is data that arrived or was corrected since
    model = np.where(same_model, 0.0, recomputed - last)
    data = np.where(same_model, with_new - last, with_new - recomputed)
    scores["previous_probability"] = np.where(eligible, last, np.nan)
    for name, values in (
        ("change", chance - last),
        ("change_behaviour", chance - with_new),
        ("change_data", data),
        ("change_model", model),
    ):
        scores[name] = np.where(known, values, np.nan)


def _churn_drivers(
    bundle: Bundle,
    M: Any,
    before: Any,
    X: pd.DataFrame,
    earlier: pd.DataFrame,
    columns: list[Column],
    ids: Any,
    chance: Any,
    currency: str,
    groups: Any,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    calibrator = bundle.churn.calibrator
    shap_values = explain.TreeShap(bundle.churn.head.booster_)
    signals = explain.signal_contributions(shap_values(M), columns)
    _, points = explain.additive_in_probability(signals, calibrator.slope, calibrator.shift, chance)
    past = explain.signal_contributions(shap_values(before), columns)
    _, points_before = explain.additive_in_probability(
        past, calibrator.slope, calibrator.shift, bundle.churn.predict(before)
    )
    refits = [
        explain.signal_contributions(explain.TreeShap(refit.booster_)(M), columns)
        for refit in bundle.churn.refits
    ]
    drivers = explain.driver_table(
        "churn",
        signals,
        points,
        points_before,
        explain.stability_of(signals, refits),
        X,
        earlier,
        columns,
        explain.peers_of(X, groups),
        ids,
        currency,
    )
    return drivers, explain.theme_totals(signals, points)


def _clv_drivers(
    bundle: Bundle,
    M: Any,
    before: Any,
    X: pd.DataFrame,
    earlier: pd.DataFrame,
    columns: list[Column],
    ids: Any,
    value: Any,
    staying: Staying,
    currency: str,
    groups: Any,
) -> pd.DataFrame:
    assert bundle.clv is not None
    factor = bundle.clv.weeks * bundle.clv.calibrator.factor
    shap_values = explain.TreeShap(bundle.clv.head.booster_)
    now, past = (
        staying.credited(shap_values(rows), share)
        for rows, share in ((M, staying.now), (before, staying.before))
    )
    X, earlier, columns = staying.shown(X, earlier, columns)
    signals = explain.signal_contributions(now, columns)
    _, points = explain.additive_in_currency(signals, factor, value)
    signals_before = explain.signal_contributions(past, columns)
    _, points_before = explain.additive_in_currency(
        signals_before, factor, bundle.clv.predict(before, staying.before)
    )
    return explain.driver_table(
        "clv",
        signals,
        points,
        points_before,
        np.full(points.shape, np.nan),
        X,
        earlier,
        columns,
        explain.peers_of(X, groups),
        ids,
        currency,
        raising=2,
        lowering=2,
        least=0.01,
    )


def _percentile(chance: Any, eligible: Any) -> Any:
    """Share of eligible customers with a lower or equal probability, in [0, 100]."""
    from scipy.stats import rankdata

    out = np.full(len(chance), np.nan)
    out[eligible] = 100.0 * rankdata(chance[eligible], method="max") / eligible.sum()
    return out


def _bands(company: Company, chance: Any, percentile: Any, eligible: Any) -> Any:
    bands = company.config.bands
    height = percentile / 100.0 if bands.by == "percentile" else chance
    names: Any = np.where(height > bands.watch, "watch", "low").astype(object)
    names[height > bands.high] = "high"
    names[~eligible] = None
    return names


def _reasons(scores: pd.DataFrame, drivers: pd.DataFrame) -> None:
    churn = drivers[drivers["target"] == "churn"]
    for prefix, sign, most in (("driver", 1, 5), ("protective", -1, 2)):
        mine = churn[np.sign(churn["contribution"]) == sign]
        for rank in range(1, most + 1):
            said = mine[mine["rank"] == rank].set_index("customer_id")["sentence"]
            found = said.reindex(scores["customer_id"]).to_numpy(dtype=object)
            scores[f"{prefix}_{rank}"] = [s if isinstance(s, str) else None for s in found]
