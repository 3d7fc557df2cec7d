"""`retain promote`: a challenger takes over when it is better than the champion beyond noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain import evaluate, tracking
from retain.config import Config
from retain.errors import RetainError
from retain.features import Feature
from retain.jobs.opening import Company, open_company, settle_as_of
from retain.jobs.outcomes import fold_for, outcomes, own_features, predicted, week_of
from retain.jobs.progress import Listener, Steps, silent
from retain.jobs.recording import uri_of
from retain.model import Bundle, load_bundle
from retain.snapshots import snapshot_weeks

__all__ = ["Promoted", "promote", "promote_if_better", "promoted_in_passing"]

MOST_WEEKS = 6  # newest ripe weeks that the two are compared on
LEAST_LEAVERS = 30  # fewer leavers than that decide nothing
STEPS = {"reading tables": 20, "fetching models": 10, "comparing": 60, "deciding": 10}


@dataclass(frozen=True)
class Promoted:
    """What a comparison of challenger and champion gave.

    Parameters
    ----------
    promoted
        Whether the challenger is the champion now.
    why
        The decision and its reason.
    champion, challenger
        Names of the two models before the decision.
    weeks
        One dict per week compared on: as_of, customers, left, and what spoke for the challenger:
        ``model`` or ``judged``, its twin that had not learnt from that week.
    comparison
        One dict per model, challenger first: name and its figures.
    differences
        Figure to value, low, high: challenger minus champion, on the same customers.
    file
        Where all this is kept.
    """

    promoted: bool
    why: str
    champion: str
    challenger: str
    weeks: list[dict[str, Any]]
    comparison: list[dict[str, Any]]
    differences: dict[str, dict[str, float]]
    file: Path


def promote(
    config: Config | str | Path,
    *,
    model: str = tracking.CHALLENGER,
    anyway: bool = False,
    tables: Mapping[str, pd.DataFrame] | None = None,
    features: tuple[Feature, ...] = (),
    progress: Listener = silent,
) -> Promoted:
    """Compare a model with the champion on the same ripe weeks; make it champion if better.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    model
        A version, our own name of it or an alias; default: the challenger.
        ``"previous_champion"`` with `anyway` goes back.
    anyway
        Make it champion whatever the comparison says.
    tables
        Frames that stand in for configured sources.
    features
        The company's own features, the same as at training.
    progress
        Told what is being done.

    Raises
    ------
    RetainError
        When there is no champion or no such model, or the two are the same.
    ModelMismatchError
        When one of them was trained with other settings: what they say cannot be compared.

    Notes
    -----
    Compared are weeks that neither had learnt from. Where the challenger learnt from a week in the
    end, the twin speaks that was judged out of time when it was trained. The challenger is better
    when the 90 % interval of its log loss minus the champion's lies below zero, customers drawn
    anew for both at once, and its AUC is not worse beyond noise.
    """
    steps = Steps(progress, STEPS)
    steps("reading tables")
    company = open_company(config, tables)
    with company.store.locked("promote"):
        return promote_if_better(company, None, features, model=model, anyway=anyway, steps=steps)


def promote_if_better(
    company: Company,
    as_of: Any,
    given: tuple[Feature, ...],
    *,
    model: str = tracking.CHALLENGER,
    anyway: bool = False,
    steps: Steps | None = None,
) -> Promoted:
    """Do what `promote` does for a company that is open, its store locked."""
    steps = steps or Steps(silent, STEPS)
    steps("fetching models")
    uri, name = uri_of(company), company.config.model_name
    champion, challenger = (_fetched(company, one) for one in (tracking.CHAMPION, model))
    if champion.version == challenger.version:
        raise RetainError(
            f"promote: {challenger.version} is the champion already. Train another, or name a "
            "version with --model."
        )
    own = own_features(company, given, champion, challenger)
    steps("comparing")
    rows = _both(company, settle_as_of(company, as_of), champion, challenger, own, steps)
    steps("deciding")
    at_work: dict[str, Any] = {"capacity": company.config.review.capacity_per_week}
    comparison: list[dict[str, Any]] = []
    differences: dict[str, dict[str, float]] = {}
    if len(rows):
        shown = rows["churned"], rows["customer"]
        at_work["when"] = rows["week"]
        for one, p in ((challenger, rows["p"]), (champion, rows["q"])):
            figures = evaluate.churn_figures(shown[0], p, shown[1], **at_work)
            role = "challenger" if one is challenger else "champion"
            comparison.append({"name": f"{role} {one.version}", **_flat(figures)})
        differences = evaluate.churn_differences(
            shown[0], rows["p"], rows["q"], shown[1], **at_work
        )
    is_better, why = _decided(company, rows, differences, champion)
    if anyway and not is_better:
        why = f"Promoted all the same, as asked. {why}"
    if is_better or anyway:
        tracking.promote(challenger.version, uri=uri, registered_model=name)
    weeks = [
        {
            "as_of": str(company.calendar.last_day(int(week))),
            "customers": len(here),
            "left": int(here["churned"].sum()),
            "spoke": str(here["spoke"].iloc[0]),
        }
        for week in rows["week"].unique()
        for here in (rows[rows["week"] == week],)
    ]
    file = company.store.folder / "promotions" / f"{challenger.version}-for-{champion.version}.json"
    out = Promoted(
        is_better or anyway,
        why,
        champion.version,
        challenger.version,
        weeks,
        comparison,
        differences,
        file,
    )
    company.store.write_json(file, asdict(out))
    steps.done()
    return out


def promoted_in_passing(
    company: Company, as_of: Any, given: tuple[Feature, ...], run: Any
) -> tuple[Any, str]:
    """Let a new challenger take over where `tracking.promote` is automatic and it is better.

    Parameters
    ----------
    company
        Open, its store locked.
    as_of
        Day of the training.
    given
        The company's own features.
    run
        Where the training was recorded, if it was.

    Returns
    -------
    run
        The same, told whether it is the champion now.
    why : str
        The decision and its reason; empty when nothing was to be decided.
    """
    if run is None or run.is_champion or company.config.tracking.promote != "automatic":
        return run, ""
    try:
        found = promote_if_better(company, as_of, given)
    except RetainError as why:  # the training stands, whatever comes of the comparison
        return run, f"Not decided: {why}"
    return replace(run, is_champion=found.promoted), found.why


def _fetched(company: Company, version: str) -> Bundle:
    """Fetch a registered model."""
    folder = tracking.champion_bundle(
        company.store.folder / "champions",
        uri=uri_of(company),
        registered_model=company.config.model_name,
        version=version,
    )
    return load_bundle(folder)


def _both(
    company: Company,
    week: int,
    champion: Bundle,
    challenger: Bundle,
    own: tuple[Feature, ...],
    steps: Steps,
) -> pd.DataFrame:
    """Lay both models' probabilities beside what happened, in weeks that neither learnt from."""
    theirs, ours = (week_of(company, one.about["as_of"]) for one in (champion, challenger))
    newest = week - company.churn.ripe_weeks
    every = company.config.snapshots.every_weeks
    fresh = snapshot_weeks(newest, max(theirs, ours), every, MOST_WEEKS)
    judged = company.store.judged(challenger.version)
    judged = judged.assign(week=[week_of(company, day) for day in judged["as_of"]])
    judged = judged[(judged["week"] >= theirs) & (judged["week"] < ours)]
    weeks = np.union1d(fresh, judged["week"].unique()).astype(np.int64)[-MOST_WEEKS:]
    nothing = pd.DataFrame(columns=["week", "customer", "customer_id", "churned", "p", "q"])
    if len(weeks) == 0:
        return nothing
    folded = fold_for(company, champion, week)
    rows = outcomes(company, folded, weeks)
    rows["q"] = predicted(champion, folded, rows, own, steps.part)[0]
    rows = rows.merge(judged[["week", "customer_id", "p"]], on=["week", "customer_id"], how="left")
    is_fresh = np.isin(rows["week"], fresh)
    rows = rows[is_fresh | rows["p"].notna()].reset_index(drop=True)
    is_fresh = np.isin(rows["week"], fresh)
    if is_fresh.any():
        folded = fold_for(company, challenger, week)
        p = predicted(challenger, folded, rows[is_fresh], own, steps.part)[0]
        rows.loc[is_fresh, "p"] = p
    rows["spoke"] = np.where(is_fresh, "model", "judged")
    return rows if len(rows) else nothing


def _decided(
    company: Company,
    rows: pd.DataFrame,
    differences: dict[str, dict[str, float]],
    champion: Bundle,
) -> tuple[bool, str]:
    """Say whether the challenger is better, and why."""
    left = int(rows["churned"].sum()) if len(rows) else 0
    if left < LEAST_LEAVERS:
        first = week_of(company, champion.about["as_of"]) + company.churn.ripe_weeks
        return False, (
            f"Not decided: in weeks that neither model learnt from, {left} customers are known to "
            f"have left; at least {LEAST_LEAVERS} are needed. The first such week is final on "
            f"{company.calendar.last_day(first)}."
        )
    loss, auc = differences["log_loss"], differences["auc"]
    told = (
        f"log loss {loss['value']:+.4f} ({loss['low']:+.4f} to {loss['high']:+.4f}) and AUC "
        f"{auc['value']:+.3f} ({auc['low']:+.3f} to {auc['high']:+.3f}) against the champion on "
        f"the same {len(rows):,} customer-weeks"
    )
    if loss["high"] < 0 and not auc["high"] < 0:
        return True, f"The challenger is better beyond noise: {told}."
    if loss["high"] < 0:
        return False, f"Not better: its probabilities fit more closely, but it ranks worse: {told}."
    if loss["low"] > 0:
        return False, f"Worse beyond noise: {told}."
    return False, f"Not better beyond noise: {told}."


def _flat(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, one in figures.items():
        out |= {name: one["value"], f"{name}_low": one["low"], f"{name}_high": one["high"]}
    return out
