"""The action store of a company: opened, up to date with the scored weeks, its queue made."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from retain import actions
from retain.actions.drawing import hindsight_weeks
from retain.actions.evidence import (
    Evidence,
    evidence,
    note_outcomes,
    response,
    verdicts_until,
)
from retain.actions.handoff import handoff_rows, schema_text, write_rows
from retain.actions.importing import import_week
from retain.actions.keeping import keep_queue
from retain.actions.queue import Play, QueueRules
from retain.config import Config, load_config
from retain.errors import ConfigError, RetainError, StoreError, some
from retain.jobs.opening import Company, as_day, churn_rule
from retain.jobs.outcomes import left_on, outcomes
from retain.jobs.progress import Listener, silent
from retain.jobs.store import Store
from retain.weeks import FoldedWeeks

__all__ = [
    "Queued",
    "bring_up_to_date",
    "hand_off",
    "open_actions",
    "prove",
    "queue",
    "queue_rules",
    "verdicts_on_reasons",
    "work_with",
    "works_with_lists",
]

FILES = ("scores.parquet", "drivers.parquet", "manifest.json")


@dataclass(frozen=True)
class Queued:
    """The week's list.

    Parameters
    ----------
    as_of
        The scored week.
    listed
        As `retain.actions.queue.make_queue` gives it, with name, segment, probability and MRR.
    capacity
        Customers that the team can contact in a week.
    currency
        Of the amounts.
    ordered_by
        ``value at risk`` or ``uplift``.
    owner
        Whose customers `listed` holds; None: everybody's.
    taken, left_alone
        Customers to contact, and left alone at random, on the whole list, whoever owns them.
    """

    as_of: date
    listed: pd.DataFrame
    capacity: int
    currency: str
    ordered_by: str
    owner: str | None = None
    taken: int = 0
    left_alone: int = 0


def queue_rules(config: Config) -> QueueRules:
    """Turn the `review` section into the rules of the queue."""
    review = config.review
    return QueueRules(
        capacity_per_week=review.capacity_per_week,
        capacity_per_owner=review.capacity_per_owner,
        enter_percentile=review.enter_percentile,
        stay_percentile=review.stay_percentile,
        overtake_factor=review.overtake_factor,
        cool_down_weeks=review.cool_down_weeks,
        holdout_share=review.holdout_share,
        holdout_weeks=review.holdout_weeks or config.churn.horizon_weeks,
        plays=tuple(
            Play(one.play, one.signal, one.theme, one.owner, one.due_days) for one in review.plays
        ),
        currency=config.currency,
    )


def open_actions(
    config: Config | str | Path, *, progress: Listener = silent, up_to_date: bool = True
) -> actions.Store:
    """Open a company's action store, with every scored week in it and the newest one's queue.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    progress
        Told what is being done.
    up_to_date
        Whether to import what has been scored since.

    Raises
    ------
    StoreError
        When the database cannot be reached.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    store = actions.open_store(settings.database_url())
    try:
        if up_to_date:
            bring_up_to_date(settings, store, progress)
    except BaseException:
        store.close()
        raise
    return store


def bring_up_to_date(
    config: Config, store: actions.Store, progress: Listener = silent
) -> list[date]:
    """Import weeks that were scored (again) since, oldest first; make the newest one's queue.

    Returns
    -------
    list of date
        The weeks imported.
    """
    files = Store(config.store)
    known = {row["as_of"]: row for row in store.rows("SELECT as_of, manifest_hash FROM weeks")}
    weeks = files.scored_weeks()
    imported = []
    for at, day in enumerate(weeks):
        progress(f"importing {day}", at / len(weeks))
        fingerprint = _fingerprint(files.week(day))
        if str(day) in known and known[str(day)]["manifest_hash"] == fingerprint:
            continue
        scores, drivers = (files.read_week(day, name) for name in ("scores", "drivers"))
        if scores is None or drivers is None:
            continue  # being written, or not a week of ours
        import_week(
            store,
            day,
            scores,
            drivers,
            files.read_manifest(day),
            fingerprint=fingerprint,
            names=_names(files, day),
            keep_driver_weeks=config.review.keep_driver_weeks,
        )
        imported.append(day)
        if _lost_its_list(store, day):  # now: a later week in this very run would be too late
            _make_queue(config, store, str(day))
    if not weeks:
        return imported
    last = store.row("SELECT as_of, queue FROM weeks ORDER BY as_of DESC")
    newest = str(weeks[-1])
    # not only after an import of this very run: a run before may have been killed after its own
    if last is not None and last["as_of"] == newest and last["queue"] is None:
        _make_queue(config, store, newest)
    return imported


def _make_queue(config: Config, store: actions.Store, newest: str) -> None:
    rules = queue_rules(config)
    uplift = None
    if config.review.order == "response":
        uplift = response(store, newest, rules.holdout_weeks).uplift
    keep_queue(store, newest, rules, uplift=uplift)


def _lost_its_list(store: actions.Store, day: date) -> bool:
    """Say whether a week, the newest so far, had a list that was made from other scores."""
    waits = store.row(
        "SELECT 1 AS yes FROM weeks w WHERE w.as_of = :day AND w.queue IS NULL AND EXISTS "
        "(SELECT 1 FROM listings l WHERE l.as_of = w.as_of) AND NOT EXISTS "
        "(SELECT 1 FROM weeks later WHERE later.as_of > w.as_of)",
        day=str(day),
    )
    return waits is not None


def works_with_lists(config: Config) -> bool:
    """Say whether a weekly run keeps lists and outcomes, too.

    It does where the configuration says how lists are made, and as soon as somebody has once asked
    for a list. Alerts lie in the same store and do not count: nobody is to be left alone for a team
    that works with no list.
    """
    if "review" in config.model_fields_set:
        return True
    url = config.database_url()
    if not _may_exist(url):
        return False
    with actions.open_store(url) as store:
        return store.row("SELECT as_of FROM weeks WHERE queue IS NOT NULL") is not None


def _may_exist(url: str) -> bool:
    """Say whether there may be an action store; asking makes none."""
    kind, _, place = url.partition(":///")
    return kind != "sqlite" or Path(place).exists()


def work_with(company: Company, folded: FoldedWeeks, week: int) -> None:
    """Bring a company's action store up to date after a weekly run, outcomes first.

    Parameters
    ----------
    company
        Whose week has just been scored and written.
    folded
        Everything known by that week.
    week
        The scored week.
    """
    with actions.open_store(company.config.database_url()) as store:
        hindsight = hindsight_weeks(store)  # what was known already proves nothing of a list
        days = {
            row["as_of"]: company.calendar.week_of(date.fromisoformat(row["as_of"]))
            for row in store.rows("SELECT as_of FROM weeks")
            if row["as_of"] not in hindsight
        }
        ripe = {day: at for day, at in days.items() if at + company.churn.ripe_weeks <= week}
        if ripe:
            known = outcomes(company, folded, list(ripe.values()))
            known["left_on"] = left_on(company, folded, known)
            note_outcomes(
                store,
                {
                    day: list(
                        zip(
                            mine["customer_id"], mine["churned"] > 0.5, mine["left_on"], strict=True
                        )
                    )
                    for day, at in ripe.items()
                    for mine in [known[known["week"] == at]]
                },
            )
        bring_up_to_date(company.config, store)


def verdicts_on_reasons(config: Config, until: date) -> dict[str, Any]:
    """Say what people made of the reasons that they were given, for whoever builds the model.

    Parameters
    ----------
    config
        Settings.
    until
        The newest scored week that counts.

    Returns
    -------
    dict
        As `retain.actions.evidence.verdicts_until` gives it, and `not_known_because`: None, or why
        the action store could not be asked; a training does not fail for it.
    """
    nobody = {"given": 0, "customers": 0, "people": 0, "signals": []}
    try:
        url = config.database_url()
        if not _may_exist(url):
            return nobody | {"not_known_because": None}
        with actions.open_store(url) as store:
            return verdicts_until(store, str(until)) | {"not_known_because": None}
    except RetainError as problem:
        return nobody | {"not_known_because": str(problem)}


def prove(config: Config | str | Path, *, progress: Listener = silent) -> Evidence:
    """Say what acting changed, what the list caught and missed, and who was right.

    Outcomes are as the newest weekly run knew them.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    progress
        Told what is being done.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    rules = queue_rules(settings)
    with open_actions(settings, progress=progress) as store:
        return evidence(
            store,
            horizon_weeks=settings.churn.horizon_weeks,
            holdout_weeks=rules.holdout_weeks,
            ripe_weeks=churn_rule(settings).ripe_weeks,
        )


def queue(
    config: Config | str | Path, *, owner: str | None = None, progress: Listener = silent
) -> Queued:
    """Give the newest week's list, after importing what has been scored since.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    owner
        Only this owner's customers.
    progress
        Told what is being done.

    Raises
    ------
    StoreError
        When nothing has been scored yet.
    ConfigError
        When no customer has that owner and no play names it; the nearest name is given.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    with open_actions(settings, progress=progress) as store:
        week = store.row(
            "SELECT as_of, queue FROM weeks WHERE queue IS NOT NULL ORDER BY as_of DESC"
        )
        if week is None:
            raise StoreError(
                f"queue: {settings.store} holds no scored week. Score one first: retain score "
                "CONFIG"
            )
        rows = store.rows(
            "SELECT l.*, s.name, s.segment, s.churn_probability, s.churn_low, s.churn_high, "
            "s.change, s.mrr, s.renews_at, s.value_at_risk, s.main_sentence, "
            "i.reason, i.play, i.owner AS play_owner, i.due_on, i.entered_week, i.state "
            "FROM listings l JOIN scores s ON s.as_of = l.as_of AND s.customer_id = l.customer_id "
            "LEFT JOIN items i ON i.id = l.item_id WHERE l.as_of = :as_of ORDER BY l.place",
            as_of=week["as_of"],
        )
        owned = store.rows(
            "SELECT DISTINCT owner FROM scores WHERE as_of = :as_of", as_of=week["as_of"]
        )
    if owner is not None:
        listed_owners = {row[who] for row in rows for who in ("owner", "play_owner")}
        _must_be_an_owner(owner, {row["owner"] for row in owned} | listed_owners)
    frame = pd.DataFrame(rows)
    whole = Counter(row["status"] for row in rows)
    if owner is not None and len(frame):
        frame = frame[(frame["owner"] == owner) | (frame["play_owner"] == owner)]
    summary: dict[str, Any] = json.loads(week["queue"])
    return Queued(
        date.fromisoformat(week["as_of"]),
        frame.reset_index(drop=True),
        summary["capacity"],
        settings.currency,
        summary["ordered_by"],
        owner,
        whole["contact"],
        whole["holdout"],
    )


def _must_be_an_owner(owner: str, known: set[str | None]) -> None:
    """Refuse a name that nobody has, rather than show an empty list."""
    names = sorted(name for name in known if name)
    if owner in names:
        return
    near = {name.lower(): name for name in names}
    found = difflib.get_close_matches(owner.lower(), near, 1)
    hint = f"Did you mean {near[found[0]]}? " if found else ""
    there = f"Owners this week: {some(names, 20)}." if names else "This week nobody has an owner."
    raise ConfigError(f"--owner {owner}: no customer and no play has that owner. {hint}{there}")


def hand_off(
    config: Config | str | Path,
    *,
    out: str | Path | None = None,
    as_of: date | str | None = None,
    progress: Listener = silent,
) -> Path:
    """Write the hand-off file of a scored week, and its schema beside it.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    out
        Ending in .csv, .parquet or .xlsx; default: handoff/as_of=DATE.csv in the store.
    as_of
        The week; default: the newest.
    progress
        Told what is being done.

    Returns
    -------
    Path
        The file.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    with open_actions(settings, progress=progress) as store:
        rows = handoff_rows(store, None if as_of is None else as_day(as_of))
    named = settings.store / "handoff" / f"as_of={rows['as_of'].iloc[0]}.csv"
    target = write_rows(rows, out or named)
    target.with_suffix(".schema.txt").write_text(schema_text() + "\n", encoding="utf-8")
    return target


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        path = folder / name
        if path.exists():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _names(files: Store, day: date) -> dict[str, str]:
    """Give what customers are called, where the company brings `name` as an attribute."""
    found = sorted(files.attributes.glob("as_of=*.parquet"))
    if not found:
        return {}
    newest = [p for p in found if p.stem.removeprefix("as_of=") <= str(day)] or found[:1]
    frame = pd.read_parquet(newest[-1])
    if "name" not in frame:
        return {}
    frame = frame.dropna(subset=["name"])
    return dict(zip(frame["customer_id"].astype(str), frame["name"].astype(str), strict=True))
