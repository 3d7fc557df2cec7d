"""Whether a model may score: its settings, tables and features must be those it meets now."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from retain.errors import ConfigError, ModelMismatchError, some
from retain.jobs.opening import NEEDED, Company
from retain.model import Bundle

__all__ = ["same_columns", "same_own_features", "same_settings", "same_tables"]

TRAINING_ONLY = ("snapshots", "features_sha256")  # the latter is told by `same_own_features`


def same_settings(bundle: Bundle, company: Company, without: tuple[str, ...]) -> None:
    """Refuse settings that would give features, labels or money another meaning.

    Raises
    ------
    ModelMismatchError
        Naming each differing setting with both of its values.
    """
    left_out = {*TRAINING_ONLY, *(["surveys"] if "surveys" in without else [])}
    ours = json.loads(json.dumps(company.config.defining_settings()))
    differing = [
        f"{name}: model {theirs!r}, configuration {mine!r}"
        for name, theirs, mine in _differences(bundle.settings, ours)
        if name.split(".")[0] not in left_out
    ]
    if differing:
        raise ModelMismatchError(
            f"settings differ from the model's own ({bundle.version}, trained as of "
            f"{bundle.about['as_of']}): {some(differing)}. Put the model's values back, or train "
            "again with the new ones."
        )


def same_tables(bundle: Bundle, company: Company, without: tuple[str, ...]) -> None:
    """Refuse when a table or column is absent that the model was trained with.

    Raises
    ------
    ModelMismatchError
        Unless the absent table is listed in `without`.
    ConfigError
        When the table that says who can leave is listed there.
    """
    here = company.tables.columns
    needed = NEEDED.get(company.churn.kind)
    if needed in without:
        raise ConfigError(
            f"--without {needed}: churn.kind {company.churn.kind} needs this table to tell who can "
            "leave; without it nobody can be scored. Bring it back."
        )
    absent = [name for name in bundle.tables if name not in here and name not in without]
    if absent:
        told = [
            name if getattr(company.config.tables, name) is None else f"{name} (brought, but empty)"
            for name in absent
        ]
        raise ModelMismatchError(
            f"the model {bundle.version} was trained with the tables {some(bundle.tables, 10)}; "
            f"missing now: {some(told)}; found: {some(here, 10)}. Bring them back, or "
            f"run once with --without {absent[0]} (its features become null, coverage falls, the "
            "page says so)."
        )
    lost = [
        f"{name}.{column}"
        for name, columns in bundle.tables.items()
        if name in here and name not in without
        for column in columns
        if column not in here[name]
    ]
    if lost:
        raise ModelMismatchError(
            f"the model {bundle.version} was trained with columns that are missing now: "
            f"{some(lost)}. Map them again, or train again without them."
        )


def same_own_features(bundle: Bundle, own_hash: str) -> None:
    """Refuse when the file of own features is not the one the model was trained with.

    Raises
    ------
    ModelMismatchError
        When it was changed, added or removed since.
    """
    theirs = bundle.features["own"]
    if theirs != own_hash:
        raise ModelMismatchError(
            f"the company's own features differ from the model's: the model {bundle.version} was "
            f"trained {_with(theirs)}, the configuration comes {_with(own_hash)}. Put the file "
            "back as it was (setting `features`), or train again."
        )


def same_columns(bundle: Bundle, built: Iterable[str]) -> None:
    """Refuse when columns that the model needs could not be built.

    Raises
    ------
    ModelMismatchError
        Naming them.
    """
    there = set(built)
    missing = [name for name in bundle.features["columns"] if name not in there]
    if missing:
        raise ModelMismatchError(
            f"features differ from the model's: missing {some(missing)}; the model has "
            f"{len(bundle.features['columns'])}, built now {len(there)}. Map the attributes and "
            "bring the features that the model was trained with, or train again."
        )


def _with(mark: str) -> str:
    return f"with a file of content {mark}" if mark else "without one"


def _differences(theirs: Any, mine: Any, at: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(theirs, dict) and isinstance(mine, dict):
        return [
            found
            for name in sorted({*theirs, *mine})
            for found in _differences(theirs.get(name), mine.get(name), f"{at}.{name}".lstrip("."))
        ]
    return [] if theirs == mine else [(at, theirs, mine)]
