"""`retain monitor`: has the world moved away from the model, did its promises hold, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain import drift, evaluate, tracking
from retain.config import Config
from retain.errors import RetainError, many
from retain.features import Feature
from retain.jobs.acting import verdicts_on_reasons
from retain.jobs.opening import Company, as_day, open_company, settle_as_of
from retain.jobs.outcomes import fold_for, outcomes, own_features, predicted, week_of
from retain.jobs.progress import Listener, Steps, silent
from retain.jobs.recording import uri_of
from retain.model import Bundle, load_bundle
from retain.report.wording import figure_name
from retain.snapshots import ELIGIBLE, eligibility, is_hindsight
from retain.weeks import History

__all__ = ["Advice", "Monitored", "monitor"]

REFERENCE_SNAPSHOTS = 3  # newest ones learnt from: what the model takes for usual
MOST_ROWS = 20_000
SAMPLE_ROWS = 2_000  # on which the model's leaning on each signal is measured
LEANS_ON_SHIFTED = 0.25  # share of the model's weight on signals that have shifted
OFF_BY = 0.2  # observed share of leavers off the predicted one, as a share of it ...
OFF_BY_POINTS = 0.01  # ... and in probability
REASONS_SHIFTED = 0.25  # customers whose first signal would have to change
OLD_WEEKS = 13  # a quarter of outcomes that the model has not learnt from
FIGURES = (
    *("auc", "average_precision", "brier", "log_loss", "calibration_error"),
    *("mean_predicted", "observed", "lift_top_tenth", "capture_at_capacity"),
)
STEPS = {"reading tables": 25, "fetching the model": 5, "features then and now": 40, "results": 30}


@dataclass(frozen=True)
class Advice:
    """One thing to know or do.

    Attributes
    ----------
    kind
        ranking, level, features, scores, reasons, verdicts, age or challenger.
    severity
        ``"retrain"``, ``"watch"`` or ``"fine"``.
    message
        What was found, in numbers.
    """

    kind: str
    severity: str
    message: str


@dataclass(frozen=True)
class Monitored:
    """What monitoring found.

    Parameters
    ----------
    as_of
        Newest week looked at.
    model
        Name of the champion.
    retrain
        Whether to train again now.
    advice
        Why, gravest first.
    weeks
        One row per week scored as if live: as_of, model, customers, ``known`` (whether its outcomes
        are final), and per figure the realised (or, where not final, expected) value with its
        interval and what the model promised at training.
    hindsight
        Weeks left out, oldest first: scored by a model that had seen what came after them.
    features
        As `retain.drift.stability_by_signal`.
    scores
        Stability of the probabilities: index, noise, reading, mean_before, mean_now.
    reasons
        First signals: word, before, now (shares), or no rows.
    folder
        Where it is kept.
    """

    as_of: date
    model: str
    retrain: bool
    advice: tuple[Advice, ...]
    weeks: pd.DataFrame
    hindsight: tuple[date, ...]
    features: pd.DataFrame
    scores: dict[str, Any]
    reasons: pd.DataFrame
    folder: Path


def monitor(
    config: Config | str | Path,
    *,
    as_of: date | str | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    features: tuple[Feature, ...] = (),
    progress: Listener = silent,
) -> Monitored:
    """Compare today with what the champion learnt, and its past scores with what happened.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    as_of
        As if on the evening of that day. Default: the last complete week.
    tables
        Frames that stand in for configured sources.
    features
        The company's own features, the same as at training.
    progress
        Told what is being done.

    Returns
    -------
    Monitored
        Also written to the store, under ``monitor``.

    Raises
    ------
    RetainError
        When there is no champion, or it learnt from no week before `as_of`.
    ModelMismatchError
        When the data or settings are not those that it was trained with.
    """
    steps = Steps(progress, STEPS)
    steps("reading tables")
    as_of = None if as_of is None else as_day(as_of)
    company = open_company(config, tables)
    with company.store.locked("monitor"):
        return _monitor(company, as_of, features, steps)


def _monitor(company: Company, as_of: Any, given: tuple[Feature, ...], steps: Steps) -> Monitored:
    steps("fetching the model")
    uri, name = uri_of(company), company.config.model_name
    folder = tracking.champion_bundle(
        company.store.folder / "champions", uri=uri, registered_model=name
    )
    bundle = load_bundle(folder)
    versions = tracking.list_versions(uri=uri, registered_model=name)
    own = own_features(company, given, bundle)
    week = settle_as_of(company, as_of)
    day = company.calendar.last_day(week)
    if week <= week_of(company, bundle.about["snapshots"][0]):
        raise RetainError(
            f"monitor: {day} lies before the first week that the model learnt from, "
            f"{bundle.about['snapshots'][0]}: nothing has moved since. Ask for a later week."
        )
    folded = fold_for(company, bundle, week)

    steps("features then and now")
    moved, scores = _moved(company, bundle, folded, week, own, steps)

    steps("results")
    live, hindsight = _live_weeks(company, week)
    weeks = _results(company, folded, week, list(live), versions)
    mine = [one for one, version in live.items() if version == bundle.version]
    shift, noise, reasons = _reasons(company, mine)
    advice = _advice(company, bundle, week, weeks, moved, scores, (shift, noise, reasons), versions)
    target = company.store.folder / "monitor" / f"as_of={day}"
    out = Monitored(
        day,
        bundle.version,
        any(one.severity == "retrain" for one in advice),
        advice,
        weeks,
        hindsight,
        moved,
        scores,
        reasons,
        target,
    )
    told = {**{key: value for key, value in vars(out).items() if key != "folder"}}
    told["meanings"] = {name: figure_name(name) for name in FIGURES}
    told["advice"] = [asdict(one) for one in advice]
    company.store.write_json(target / "monitor.json", told)
    steps.done()
    return out


def _moved(
    company: Company, bundle: Bundle, folded: Any, week: int, own: tuple[Feature, ...], steps: Steps
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compare features and probabilities of today with those of the newest weeks learnt from."""
    learnt = [at for at in map(partial(week_of, company), bundle.about["snapshots"]) if at < week]
    learnt = learnt[-REFERENCE_SNAPSHOTS:]
    weeks = np.union1d(learnt, [week]).astype(np.int64)
    why = eligibility(History(folded, weeks), company.churn)
    at, customer = np.nonzero(why == ELIGIBLE)
    if len(at) > MOST_ROWS:  # whole customers
        some = np.random.default_rng(0).random(len(folded.customers)) < MOST_ROWS / len(at)
        at, customer = at[some[customer]], customer[some[customer]]
    rows = pd.DataFrame({"week": weeks[at], "customer": customer})
    p, M, columns = predicted(bundle, folded, rows, own, steps.part)
    is_now = (rows["week"] == week).to_numpy()
    is_then = np.isin(rows["week"], learnt)
    before, now = M[is_then], M[is_now]
    people = rows["customer"][is_then].nunique()
    leaning = np.abs(bundle.churn.head.contributions(before[:SAMPLE_ROWS])[:, :-1]).mean(axis=0)
    moved = drift.stability_by_signal(
        before,
        now,
        list(bundle.encoder.columns_),
        [column.feature.signal for column in columns],
        leaning,
        customers_before=people,
    )
    found = drift.stability(p[is_then], p[is_now], customers_before=people)
    return moved, {
        "index": found.index,
        "noise": found.noise,
        "reading": found.reading,
        "mean_before": float(p[is_then].mean()),
        "mean_now": float(p[is_now].mean()) if is_now.any() else float("nan"),
    }


def _live_weeks(company: Company, week: int) -> tuple[dict[date, str], tuple[date, ...]]:
    """Tell weeks scored as if live, with their models, from those that the model knew the end of.

    A model is neither judged on the latter nor compared with them: its promises are about weeks
    that it has not seen, and so are its scores.
    """
    live, hindsight = {}, []
    for day in company.store.scored_weeks():
        if week_of(company, day) > week:
            continue
        manifest = company.store.read_manifest(day)
        if is_hindsight(manifest.get("model_trained_as_of", ""), day):
            hindsight.append(day)
        else:
            live[day] = str(manifest.get("model_version", ""))
    return live, tuple(hindsight)


def _results(
    company: Company, folded: Any, week: int, days: list[date], versions: Any
) -> pd.DataFrame:
    """Judge every live week whose outcomes are final; say what to expect of the others."""
    promised = {one.model_version: one.metrics for one in versions}
    capacity = company.config.review.capacity_per_week
    ripe = week - company.churn.ripe_weeks
    final = [w for w in (week_of(company, day) for day in days) if w <= ripe]
    known = outcomes(company, folded, final) if final else None
    rows = []
    for day in days:
        scores = company.store.read_week(day, "scores")
        if scores is None:
            continue
        scores = scores[scores["eligible"]]
        model = str(scores["model_version"].iloc[0])
        row: dict[str, Any] = {"as_of": str(day), "model": model, "known": False}
        at = week_of(company, day)
        figures = None
        if at <= ripe and known is not None:
            here = scores.merge(known[known["week"] == at], on="customer_id")
            if len(here):
                row |= {"known": True, "customers": len(here)}
                row["left"] = int(here["churned"].sum())
                figures = evaluate.churn_figures(
                    here["churned"],
                    here["churn_probability"],
                    here["customer_id"],
                    capacity=capacity,
                )
        if figures is None:
            row |= {"customers": len(scores), "left": None}
            figures = evaluate.expected_figures(scores["churn_probability"], capacity=capacity)
        for figure in FIGURES:
            one = figures[figure]
            row |= {figure: one["value"], f"{figure}_low": one["low"]}
            row[f"{figure}_high"] = one["high"]
            row[f"{figure}_promised"] = promised.get(model, {}).get(f"churn.{figure}", np.nan)
        row["auc_promised_low"] = promised.get(model, {}).get("churn.auc.low", np.nan)
        rows.append(row)
    return pd.DataFrame(rows)


def _reasons(company: Company, mine: list[date]) -> tuple[float, float, pd.DataFrame]:
    """Compare the signals named first in the newest live week with the model's first one."""
    if len(mine) < 2:
        return float("nan"), float("nan"), pd.DataFrame(columns=["word", "before", "now"])
    named = []
    for one in (mine[0], mine[-1]):
        drivers = company.store.read_week(one, "drivers")
        assert drivers is not None
        first = drivers[
            (drivers["target"] == "churn") & (drivers["contribution"] > 0) & (drivers["rank"] == 1)
        ]
        named.append(first["signal"])
    return drift.share_shift(*named)


def _advice(
    company: Company,
    bundle: Bundle,
    week: int,
    weeks: pd.DataFrame,
    moved: pd.DataFrame,
    scores: dict[str, Any],
    reasons: tuple[float, float, pd.DataFrame],
    versions: Any,
) -> tuple[Advice, ...]:
    """Say what the figures mean for the model, gravest first."""
    newest = week_of(company, bundle.about["snapshots"][-1])
    unlearnt = max(week - company.churn.ripe_weeks - newest, 0)
    # without new outcomes a new training would meet the same rows, and learn the same
    act = "retrain" if unlearnt >= company.config.snapshots.every_weeks else "watch"
    found = [
        *_of_results(weeks, bundle.version, act),
        *_of_drift(moved, scores, reasons, act),
        *_of_verdicts(verdicts_on_reasons(company.config, company.calendar.last_day(week))),
        Advice(
            "age",
            "retrain" if unlearnt >= OLD_WEEKS else "fine",
            f"Trained as of {bundle.about['as_of']}; "
            f"{many(unlearnt, 'week of outcomes has', 'weeks of outcomes have')} become final "
            f"that it has not learnt from (train again from {OLD_WEEKS}).",
        ),
    ]
    waiting = [one for one in versions if tracking.CHALLENGER in one.aliases]
    if waiting:
        found.append(
            Advice(
                "challenger",
                "watch",
                f"Model {waiting[0].model_version} waits as challenger: compare it with "
                "`retain promote`.",
            )
        )
    order = ("retrain", "watch", "fine")
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def _of_results(weeks: pd.DataFrame, version: str, act: str) -> list[Advice]:
    """Compare promises with what happened in the newest final week of this model."""
    final = weeks[weeks["known"] & (weeks["model"] == version)] if len(weeks) else weeks
    if not len(final):
        return [
            Advice(
                "ranking", "fine", "No week that this model scored is final yet: nothing to judge."
            )
        ]
    newest = final.iloc[-1]
    out = []
    told = (
        f"In the week of {newest['as_of']} AUC was {newest['auc']:.3f} ({newest['auc_low']:.3f} to "
        f"{newest['auc_high']:.3f}); promised {newest['auc_promised']:.3f}"
    )
    fell = newest["auc_high"] < newest["auc_promised_low"]
    out.append(Advice("ranking", act if fell else "fine", f"{told}."))
    gap = newest["observed"] - newest["mean_predicted"]
    sure = not newest["observed_low"] <= newest["mean_predicted"] <= newest["observed_high"]
    off = abs(gap) > max(OFF_BY_POINTS, OFF_BY * newest["mean_predicted"])
    out.append(
        Advice(
            "level",
            act if sure and off else "fine",
            f"In that week {newest['observed']:.1%} left ({newest['observed_low']:.1%} to "
            f"{newest['observed_high']:.1%}); predicted {newest['mean_predicted']:.1%}.",
        )
    )
    return out


def _of_verdicts(told: dict[str, Any]) -> list[Advice]:
    """Name the signals that the people who know the customers keep rejecting as reasons."""
    if told["not_known_because"]:
        return [Advice("verdicts", "watch", f"Verdicts: {told['not_known_because']}")]
    if not told["given"]:
        return []
    rejected = [
        f"{one['signal']} (right or known {one['right'] + one['already_known']} of "
        f"{one['right'] + one['already_known'] + one['wrong']}, {one['low']:.0%} to "
        f"{one['high']:.0%})"
        for one in told["signals"]
        if one["is_rejected"]
    ]
    said = f"{told['given']:,} verdicts on reasons of {told['customers']:,} customers: "
    if not rejected:
        return [Advice("verdicts", "fine", f"{said}no signal is rejected beyond chance.")]
    return [
        Advice("verdicts", "watch", f"{said}people keep rejecting {'; '.join(rejected)}."),
    ]


def _of_drift(
    moved: pd.DataFrame,
    scores: dict[str, Any],
    reasons: tuple[float, float, pd.DataFrame],
    act: str,
) -> list[Advice]:
    shifted = moved[moved["reading"] == "shifted"]
    weight = float(shifted["weight"].sum())
    watched = moved[moved["reading"] == "watch"]
    names = ", ".join(
        f"{r.signal} ({r.index_:.2f})"
        for r in shifted.head(3).rename(columns={"index": "index_"}).itertuples()
    )
    grave = weight >= LEANS_ON_SHIFTED
    out = [
        Advice(
            "features",
            act if grave else "watch" if len(shifted) or len(watched) else "fine",
            f"{len(shifted)} of {len(moved)} signals have shifted, {len(watched)} "
            f"{'is' if len(watched) == 1 else 'are'} to be watched; the model "
            f"puts {weight:.0%} of its weight on the shifted ones"
            + (f": {names}." if names else "."),
        ),
        Advice(
            "scores",
            {"shifted": "watch", "watch": "watch", "stable": "fine"}[scores["reading"]],
            f"The mean probability goes from {scores['mean_before']:.1%} to "
            f"{scores['mean_now']:.1%}; stability index {scores['index']:.2f} (chance alone: up to "
            f"{scores['noise']:.2f}).",
        ),
    ]
    shift, noise, table = reasons
    if len(table):
        far = shift > max(REASONS_SHIFTED, noise)
        first = table.iloc[0]
        out.append(
            Advice(
                "reasons",
                "watch" if far else "fine",
                f"{shift:.0%} of first signals have changed since the model's first week (chance "
                f"alone: up to {noise:.0%}); most: {first['word']} from {first['before']:.0%} to "
                f"{first['now']:.0%}.",
            )
        )
    return out
