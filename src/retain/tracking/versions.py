"""Which versions of a model are registered, which one scores, and where its bundle is."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retain.errors import RetainError, StoreError, some
from retain.tracking.door import artifact_root, opened

__all__ = [
    "BUNDLE",
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS_CHAMPION",
    "ModelVersion",
    "aliases_of",
    "champion_bundle",
    "crown",
    "list_versions",
    "promote",
]

BUNDLE = "bundle"
CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous_champion"


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of a model.

    Attributes
    ----------
    version
        Its number, from 1.
    run_id
        The training it came from.
    model_version, config_version
        Our own names of bundle and settings.
    created_at
        Instant of registration, UTC.
    aliases
        ``champion``, ``challenger``, ``previous_champion`` or others given by hand.
    metrics
        Figures of its training.
    """

    version: int
    run_id: str
    model_version: str
    config_version: str
    created_at: datetime
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]


def list_versions(*, uri: str, registered_model: str) -> tuple[ModelVersion, ...]:
    """List the registered versions of a model, newest first.

    Parameters
    ----------
    uri
        From `tracking_uri`.
    registered_model
        Its name.

    Returns
    -------
    tuple of ModelVersion
        Empty when the model has never been registered.

    Raises
    ------
    StoreError
        When MLflow cannot be reached.
    """
    with opened(uri) as (_, client):
        return _versions(client, registered_model)


def promote(version: int | str, *, uri: str, registered_model: str) -> ModelVersion:
    """Make a version the champion, the one that scores from now on.

    Parameters
    ----------
    version
        Its number, our own name of it (`model_version`), or an alias such as ``"challenger"`` or
        ``"previous_champion"`` (to go back).
    uri
        From `tracking_uri`.
    registered_model
        Its name.

    Returns
    -------
    ModelVersion
        The new champion. The one before keeps the alias ``previous_champion``.

    Raises
    ------
    RetainError
        When there is no such version; those that exist are listed.
    StoreError
        When MLflow cannot be reached.
    """
    with opened(uri) as (_, client):
        chosen = _chosen(client, registered_model, version)
        crown(client, registered_model, chosen.version, aliases_of(client, registered_model))
        return _chosen(client, registered_model, chosen.version)


def champion_bundle(
    into_folder: Path, *, uri: str, registered_model: str, version: int | str = CHAMPION
) -> Path:
    """Fetch the saved model of the champion (or of another version) to a local folder.

    Parameters
    ----------
    into_folder
        Where to put it; made when missing.
    uri
        From `tracking_uri`.
    registered_model
        Its name.
    version
        As for `promote`.

    Returns
    -------
    Path
        The bundle's own folder inside `into_folder`. Versions never change: one that is there
        already is not fetched again, and one that is there is whole.

    Raises
    ------
    RetainError
        When there is no champion yet, or no such version.
    StoreError
        When MLflow cannot be reached, or the run no longer holds the bundle.
    """
    with opened(uri) as (mlflow, client):
        chosen = _chosen(client, registered_model, version)
        safe = re.sub(r"[^\w.-]", "_", registered_model)
        target = Path(into_folder) / f"{safe}-v{chosen.version}-{chosen.run_id[:8]}"
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
            fetched = Path(scratch) / BUNDLE
            root = artifact_root(uri)
            beside = root / chosen.run_id / "artifacts" / BUNDLE if root else None
            if beside is not None and beside.is_dir():  # also when the store was moved as a whole
                shutil.copytree(beside, fetched)
            else:
                mlflow.artifacts.download_artifacts(
                    artifact_uri=f"runs:/{chosen.run_id}/{BUNDLE}", dst_path=scratch
                )
            if not fetched.is_dir():
                raise StoreError(
                    f"model {registered_model!r} version {chosen.version}: its run "
                    f"{chosen.run_id} holds no folder {BUNDLE!r}. Train again, or promote "
                    "another version."
                )
            with contextlib.suppress(OSError):
                fetched.rename(target)  # somebody else may have been faster
        if not target.is_dir():
            raise StoreError(f"{target} could not be written. Check the folder's permissions.")
        return target


def crown(client: Any, name: str, version: int, before: Mapping[str, int]) -> None:
    """Move the alias of the champion; remember the one before; a champion is no challenger.

    Parameters
    ----------
    client
        From `opened`.
    name
        The registered model.
    version
        Number of the new champion.
    before
        As `aliases_of` gives it.
    """
    reigning = before.get(CHAMPION)
    client.set_registered_model_alias(name, CHAMPION, str(version))
    if reigning is not None and reigning != version:
        client.set_registered_model_alias(name, PREVIOUS_CHAMPION, str(reigning))
    if before.get(CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def aliases_of(client: Any, name: str) -> dict[str, int]:
    """Give the number of the version behind each alias.

    Parameters
    ----------
    client
        From `opened`.
    name
        The registered model.

    Returns
    -------
    dict
        Empty when nothing is registered under this name.
    """
    found = client.search_registered_models(filter_string=f"name = {_quoted(name)}")
    return {alias: int(version) for model in found for alias, version in model.aliases.items()}


def _quoted(name: str) -> str:
    """Quote a name for a filter."""
    return f'"{name}"' if "'" in name else f"'{name}'"


def _versions(client: Any, name: str) -> tuple[ModelVersion, ...]:
    """Give all versions, newest first."""
    aliases = aliases_of(client, name)
    listed: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = {_quoted(name)}", page_token=token)
        listed += list(page)
        token = page.token
        if not token:
            break
    return tuple(
        sorted(
            (
                ModelVersion(
                    version=int(found.version),
                    run_id=str(found.run_id),
                    model_version=str(found.tags.get("model_version", "")),
                    config_version=str(found.tags.get("config_version", "")),
                    created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
                    aliases=tuple(sorted(a for a, v in aliases.items() if v == int(found.version))),
                    metrics=dict(client.get_run(found.run_id).data.metrics),
                )
                for found in listed
            ),
            key=lambda one: -one.version,
        )
    )


def _chosen(client: Any, name: str, version: int | str) -> ModelVersion:
    """Find a version by number, alias or our own name of it; else say which exist."""
    versions = _versions(client, name)
    wanted = str(version)
    for one in versions:
        if wanted in (str(one.version), *one.aliases):
            return one
    for one in versions:
        if wanted == one.model_version:
            return one
    if not versions:
        raise RetainError(
            f"model {name!r}: nothing registered under this name yet. Run `retain train` first."
        )
    exist = [f"version {v.version} ({', '.join((v.model_version, *v.aliases))})" for v in versions]
    if wanted == CHAMPION:
        raise RetainError(
            f"model {name!r}: no version is the champion; registered: {some(exist)}. "
            "Make one with `retain train --champion`, or name a version with --model."
        )
    raise RetainError(
        f"model {name!r}: no version {wanted!r}; registered: {some(exist)}. Name one of these."
    )
