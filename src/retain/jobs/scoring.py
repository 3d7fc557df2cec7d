"""`retain score`: the weekly batch, safe to run twice, leaving a whole week or nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from retain import tracking
from retain.config import Config
from retain.engines import Spark
from retain.errors import ModelMismatchError, SnapshotError, StoreError
from retain.features import THEMES, Feature, load_own_features
from retain.jobs.acting import work_with, works_with_lists
from retain.jobs.assembling import Assembly
from retain.jobs.beside import add_people, keep_attributes
from retain.jobs.happenings import write_happenings
from retain.jobs.health import health_of, health_rule, note_version
from retain.jobs.manifest import describe_week
from retain.jobs.matching import same_columns, same_own_features, same_settings, same_tables
from retain.jobs.opening import Company, as_day, open_company, settle_as_of
from retain.jobs.panel import with_lists
from retain.jobs.portions import Portion, Rules, portion_of, sent
from retain.jobs.progress import Listener, Steps, silent
from retain.jobs.recording import record_scored
from retain.jobs.spreading import spread
from retain.jobs.store import PARTIAL
from retain.jobs.watching import Watched, raise_and_send
from retain.jobs.writing import (
    BLOCK_ROWS,
    REASONS,
    SCORE_COLUMNS,
    TableFile,
    rows_of,
    score_columns,
    write_manifest,
    write_page,
)
from retain.model import Bundle, load_bundle
from retain.snapshots import FIRST_SCORED, NOT_SCORED
from retain.tables.memory import give_back
from retain.weeks import FoldedWeeks
from retain.weeks.laid import lay_down, let_go, size_of

__all__ = ["STEPS", "Scored", "portions", "ranked", "score", "score_folded"]

PORTION_CUSTOMERS = 5_000  # bounds memory: some 50 kB a customer while its portion is at work
LAID_BYTES = 2**30  # of folded weeks; more is laid down in files
PANELS = ("usage", "interactions", "surveys", "payments", "subscriptions")
STEPS = {
    "reading tables": 15,
    "folding weeks": 15,
    "scoring and explaining": 50,
    "telling": 10,
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
    manifest
        As written.
    alerts
        What was told of the week; None without alerts, or when a newer week is scored.
    """

    as_of: date
    folder: Path
    manifest: dict[str, Any]
    alerts: Watched | None = None

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per customer, read when first asked for."""
        return pd.read_parquet(self.folder / "scores.parquet")

    @cached_property
    def drivers(self) -> pd.DataFrame:
        """One row per customer and driver, read when first asked for."""
        return pd.read_parquet(self.folder / "drivers.parquet")

    def first(self, most: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Give what a short list shows: everyone's figures, and the drivers of the first `most`."""
        columns = [name for name in SCORE_COLUMNS if name not in REASONS[2:]]
        scores = pd.read_parquet(self.folder / "scores.parquet", columns=columns)
        live = scores.loc[scores["eligible"], "customer_id"].iloc[:most]
        return scores, rows_of(self.folder / "drivers.parquet", live, str(self.as_of))

    @cached_property
    def weekly(self) -> pd.DataFrame:
        """One row per customer and week, read when first asked for."""
        return pd.read_parquet(self.folder / "weekly.parquet")


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
    keep_attributes(company)  # first, so that a rerun meets what this run met

    steps("folding weeks")
    folded = company.fold(week, tuple(bundle.lists["top_features"]), steps.detail)
    with TemporaryDirectory(prefix=PARTIAL, dir=company.store.folder) as aside:
        if size_of(folded) > LAID_BYTES:
            every = folded
            folded = lay_down(Path(aside), lambda: [every])
            del every
        manifest = score_folded(company, bundle, folded, week, (*own, *given), without, steps)
        record_scored(company, bundle, day)
        if works_with_lists(company.config):
            work_with(company, with_lists(folded, bundle.lists), week)
    steps.done()
    return Scored(day, company.store.week(day), manifest)


def score_folded(
    company: Company,
    bundle: Bundle,
    folded: FoldedWeeks,
    week: int,
    own: tuple[Feature, ...],
    without: tuple[str, ...],
    steps: Steps,
) -> dict[str, Any]:
    """Score and explain customers from their folded weeks, and write the week.

    Parameters
    ----------
    company, bundle
        The company and its model, found to fit each other.
    folded
        Everything known by the week.
    week
        The scored week.
    own
        The company's own features.
    without
        Tables knowingly left out.
    steps
        Told what is being done.

    Returns
    -------
    dict
        The manifest.
    """
    day = company.calendar.last_day(week)
    rules = Rules(
        bundle,
        company.churn,
        company.clv,
        company.config.clv.interval,
        own,
        week,
        tuple(name for name in PANELS if name in bundle.tables),
    )
    built = rules.columns_of(folded)
    same_columns(bundle, [column.name for column in built])
    with company.store.replacing(company.store.week(day)) as folder:
        assembly = Assembly(folder, rules, rules.model_columns(built))
        give_back()  # what reading and folding took
        steps("scoring and explaining")
        for portion in portions(rules, folded, steps.part, company.tables.spark):
            assembly.add(portion)
        manifest = _assembled(company, assembly, folded, day, without, steps)
        steps("writing")
        assembly.close()
        give_back()
        write_happenings(company, day, folder / "timeline.parquet")
        write_manifest(folder, manifest)
        write_page(folder, folder / "report.html")
    return manifest


def portions(
    rules: Rules,
    folded: FoldedWeeks,
    progress: Callable[[int, int], None] = lambda done, of: None,
    spark: Spark | None = None,
) -> Iterator[Portion]:
    """Score customers a portion at a time, in their order.

    Parameters
    ----------
    rules
        What scoring takes.
    folded
        Everything known by the scored week.
    progress
        Called with (customers done, customers in all).
    spark
        Whose executors do it instead of this machine.
    """
    packed, of = sent(rules), len(folded.customers)
    ends = [(at, min(at + PORTION_CUSTOMERS, of)) for at in range(0, of, PORTION_CUSTOMERS)]

    def parts() -> Iterator[tuple[FoldedWeeks]]:
        for span in ends:
            yield (folded.of_customers(*span),)
            let_go(folded)
            give_back()

    found = spread(portion_of, packed, parts(), len(ends), spark)
    for (_, last), portion in zip(ends, found, strict=True):
        yield portion
        progress(last, of)


def _assembled(
    company: Company,
    assembly: Assembly,
    folded: FoldedWeeks,
    day: date,
    without: tuple[str, ...],
    steps: Steps,
) -> dict[str, Any]:
    """Work out what needs everybody, write drivers and scores; give the manifest."""
    bundle = assembly.rules.bundle
    why, there, eligible = assembly.why, assembly.there, assembly.eligible
    if not eligible.any():
        counts = pd.Series(why).value_counts()
        raise SnapshotError(
            f"as_of {day}: none of {len(why):,} customers is eligible ("
            + "; ".join(f"{n:,} x {reason}" for reason, n in counts.items())
            + "). No week was written. Check that the newest rows have arrived and that churn.kind "
            "fits the business."
        )
    ids = folded.customers[there].astype(str).astype(object)
    steps("telling")
    assembly.tell(ids, day, company.config.currency, steps.part)

    scores = pd.DataFrame({"customer_id": ids, "eligible": eligible})
    scores["not_eligible_because"] = pd.Series(
        [reason or None for reason in why[there]], dtype=object
    )

    def shown(name: str, values: Any) -> None:
        scores[name] = np.where(eligible, values, np.nan)

    chance = assembly.figure("churn_probability")
    for name in ("churn_probability", "churn_low", "churn_high", *assembly.horizons):
        shown(name, assembly.figure(name))
    scores["percentile"] = ranked(chance, eligible)
    scores["risk_band"] = _bands(company, chance, scores["percentile"].to_numpy(), eligible)
    _changes(scores, bundle, _previous(company, day), chance, assembly, eligible)
    unknown = eligible & scores["change"].isna().to_numpy()
    earlier = _scored_before(company, day, {*ids[unknown]})
    scores["change_unknown_because"] = pd.Series(
        [
            (NOT_SCORED if who in earlier else FIRST_SCORED) if is_unknown else None
            for who, is_unknown in zip(ids, unknown, strict=True)
        ],
        dtype=object,
    )
    for name in ("clv", "clv_low", "clv_high", "mrr", "term_months", "coverage", "freshness_days"):
        scores[name] = assembly.figure(name)
    shown("value_at_risk", chance * scores["clv"])
    scores["renews_at"], scores["plan"] = assembly.renewals, assembly.plans
    for theme in THEMES:
        scores[f"theme_{theme}"] = assembly.figure(f"theme_{theme}")
    scores["health_score"] = _health(company, folded, bundle, assembly.rules.week, ids)
    add_people(scores, company, day)
    order = np.lexsort(
        (ids, -np.nan_to_num(scores["churn_probability"]), -np.nan_to_num(scores["value_at_risk"]))
    )
    scores = scores.iloc[order].reset_index(drop=True)
    same = {
        "as_of": str(day),
        "model_version": bundle.version,
        "config_version": company.config.fingerprint(),
    }
    table, names = TableFile(assembly.folder / "scores.parquet"), score_columns(assembly.horizons)
    for first in range(0, len(scores), BLOCK_ROWS):
        rows = scores.iloc[first : first + BLOCK_ROWS]
        block = {**rows, **assembly.reasons(order[first : first + BLOCK_ROWS])}
        block |= {name: np.full(len(rows), text, dtype=object) for name, text in same.items()}
        table.add({name: block[name] for name in names})
    table.close()
    return describe_week(company, bundle, scores, why, day, without)


def _health(company: Company, folded: FoldedWeeks, bundle: Bundle, week: int, ids: Any) -> Any:
    """Give each customer's health score; nan where none is configured or too little is known."""
    rule = health_rule(company)
    if rule is None:
        return np.full(len(ids), np.nan)
    scores = []
    for first in range(0, len(folded.customers), PORTION_CUSTOMERS):
        part = with_lists(folded.of_customers(first, first + PORTION_CUSTOMERS), bundle.lists)
        found = health_of(company, part, [week], rule)[week]
        scores.append(found.loc[found["band"].notna()].set_index("customer_id")["score"])
    note_version(company, rule, company.calendar.last_day(week))
    return pd.concat(scores).reindex(ids).to_numpy(dtype=np.float64)


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


def _previous(company: Company, day: date) -> pd.DataFrame | None:
    """Return what last week's page showed, by customer."""
    columns = ["customer_id", "eligible", "churn_probability", "model_version"]
    frame = company.store.read_week(day - timedelta(days=7), "scores", columns)
    if frame is None:
        return None
    kept = frame[frame["eligible"]].set_index("customer_id")
    return pd.DataFrame({"p": kept["churn_probability"], "model": kept["model_version"]})


def _scored_before(company: Company, day: date, wanted: set[str]) -> set[str]:
    """Say who of some customers was scored in any earlier week."""
    found = set[str]()
    for week in reversed([one for one in company.store.scored_weeks() if one < day]):
        if found == wanted:
            break
        sought = [("eligible", "==", True), ("customer_id", "in", sorted(wanted - found))]
        with contextlib.suppress(StoreError):  # an old week that was damaged stops no new one
            frame = company.store.read_week(week, "scores", ["customer_id"], sought)
            found |= set() if frame is None else {*frame["customer_id"]}
    return found


def _changes(
    scores: pd.DataFrame,
    bundle: Bundle,
    shown: pd.DataFrame | None,
    chance: Any,
    assembly: Assembly,
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
    recomputed, with_new = assembly.figure("recomputed"), assembly.figure("recomputed_known")
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


def ranked(chance: Any, eligible: Any) -> Any:
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
