"""What is kept of a training: parameters, figures, fingerprints, artifacts, a registered model."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from retain.errors import RetainError, StoreError, some
from retain.tracking.door import artifact_root, opened, redacted
from retain.tracking.versions import BUNDLE, CHALLENGER, CHAMPION, aliases_of, crown

__all__ = [
    "RunRef",
    "TrainingRecord",
    "as_metrics",
    "as_params",
    "experiment_id",
    "flattened",
    "in_batches",
    "key",
    "record_results",
    "record_training",
]

_MOST_CHARACTERS = 500
_BATCH = 100
_SECRET_NAME = re.compile(r"passw|secret|token|credential|api_?key|access_?key|private_?key", re.I)
_NOT_IN_KEYS = re.compile(r"[^\w\-. :/]")


@dataclass(frozen=True)
class TrainingRecord:
    """All that is worth keeping about one training.

    Attributes
    ----------
    run_name
        What the run is called in the list, for example ``"acme 2026-11-15"``.
    model_version, config_version
        Our own names of the bundle and of the settings; kept as tags.
    settings
        The resolved settings, nested as they are; flattened to parameters, secrets left out.
    metrics
        Figures of the whole test, by name. Undefined (nan) ones are named in a tag, not logged.
    bundle
        Folder of the saved model; kept whole, given back by `champion_bundle`.
    boosters
        LightGBM boosters by head; each is logged, the first one is registered.
    metrics_by_as_of
        Figures per test snapshot; the step shown by MLflow is the date as YYYYMMDD.
    fingerprints
        Content hash per source table; kept as tags ``data.<table>``.
    tags
        Any further tags.
    artifacts
        Files or folders to keep, by the folder they get in the run (``""`` is its top).
    pip_requirements
        What is needed to load the booster; by default lightgbm, numpy and pandas as installed.
    """

    run_name: str
    model_version: str
    config_version: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    bundle: Path
    boosters: Mapping[str, Any]
    metrics_by_as_of: Mapping[date, Mapping[str, float]] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    pip_requirements: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRef:
    """Where a training was recorded.

    Attributes
    ----------
    run_id, experiment_id
        MLflow's own ids.
    registered_model, version
        The registered model and the number of its new version.
    is_champion
        Whether this version is now the one that scores.
    uri
        The tracking URI without its secrets.
    """

    run_id: str
    experiment_id: str
    registered_model: str
    version: int
    is_champion: bool
    uri: str


def record_training(
    record: TrainingRecord,
    *,
    uri: str,
    experiment: str,
    registered_model: str,
    champion: bool | None = None,
) -> RunRef:
    """Log a training as one run and register its model as a new version.

    Parameters
    ----------
    record
        What to keep.
    uri
        From `tracking_uri`. Beside an SQLite file artifacts go to the folder ``mlartifacts``; a
        server decides for itself.
    experiment
        Name of the experiment; made when new.
    registered_model
        Name of the registered model; made when new.
    champion
        True makes the new version the champion, False never does. `None` does so only when there
        is none yet; otherwise it becomes the challenger, unless it is the very model that is
        champion: then that stays so.

    Returns
    -------
    RunRef
        Where to find it.

    Raises
    ------
    StoreError
        When MLflow cannot be reached or refuses. A run that was begun is left marked FAILED.
    RetainError
        When there is nothing to register.
    """
    if not record.boosters:
        raise RetainError(
            f"training {record.run_name!r}: no booster to register. Give at least one head."
        )
    lost = [path for path in (record.bundle, *record.artifacts.values()) if not path.exists()]
    if lost or not record.bundle.is_dir():
        raise RetainError(
            f"training {record.run_name!r}: {some(lost or [record.bundle])} should be kept but is "
            "not there, or the bundle is not a folder. Save the model before recording it."
        )
    with opened(uri) as (mlflow, client):
        home = experiment_id(client, uri, experiment)
        run = client.create_run(home, run_name=record.run_name, tags=_tags(record))
        run_id = run.info.run_id
        try:
            _log_batches(mlflow, client, run_id, record)
            client.log_text(run_id, json.dumps(_shown(record.settings), indent=2), "settings.json")
            client.log_artifacts(run_id, str(record.bundle), BUNDLE)
            for folder, path in record.artifacts.items():
                log = client.log_artifacts if path.is_dir() else client.log_artifact
                log(run_id, str(path), folder or None)
            models = [
                _log_booster(mlflow, client, run, head, booster, record.pip_requirements)
                for head, booster in record.boosters.items()
            ]
            version = _register(mlflow, models[0], registered_model, record)
            before = aliases_of(client, registered_model)
            reigns = champion is None and _reigns(client, registered_model, before, record)
            is_champion = reigns or (CHAMPION not in before if champion is None else champion)
            if reigns:
                pass  # the champion once more: nobody to challenge, no other one to remember
            elif is_champion:
                crown(client, registered_model, version, before)
            else:
                client.set_registered_model_alias(registered_model, CHALLENGER, str(version))
            client.set_terminated(run_id, "FINISHED")
        except BaseException:
            with contextlib.suppress(Exception):
                client.set_terminated(run_id, "FAILED")
            raise
    return RunRef(run_id, home, registered_model, version, is_champion, redacted(uri))


def record_results(
    run_id: str, metrics: Mapping[str, float], *, uri: str, as_of: date | None = None
) -> None:
    """Add figures that became known later to a training, for example realised results.

    Parameters
    ----------
    run_id
        From a `RunRef` or a `ModelVersion`.
    metrics
        Figures by name; undefined (nan) ones are left out.
    uri
        From `tracking_uri`.
    as_of
        The week they belong to; shown as the step YYYYMMDD.

    Raises
    ------
    StoreError
        When MLflow cannot be reached or does not know the run.
    """
    with opened(uri) as (mlflow, client):
        client.log_batch(run_id, metrics=as_metrics(mlflow, metrics, as_of))


def flattened(settings: Mapping[str, Any]) -> dict[str, str]:
    """Flatten nested settings to ``section.name``, fit for parameters.

    Parameters
    ----------
    settings
        Nested mappings with plain values. Sequences become text.

    Returns
    -------
    dict
        Text values of fewer than 500 characters, cut where longer; secrets replaced by ``***``
        (the name of an environment variable, under a key that ends in ``_env``, is none).

    Examples
    --------
    >>> flattened({"churn": {"horizon_weeks": 13}, "tracking": {"token": "abc", "token_env": "T"}})
    {'churn.horizon_weeks': '13', 'tracking.token': '***', 'tracking.token_env': 'T'}
    """
    flat: dict[str, str] = {}
    for key, value in _shown(settings).items():
        if isinstance(value, dict) and value:
            flat.update({f"{key}.{name}": text for name, text in flattened(value).items()})
        else:
            text = str(value)
            long = len(text) >= _MOST_CHARACTERS
            flat[key] = text[: _MOST_CHARACTERS - 4] + "..." if long else text
    return flat


def _shown(settings: Any, name: str = "") -> Any:
    """Give settings as JSON can hold them, secrets replaced at every depth."""
    if isinstance(settings, Mapping):
        return {str(key): _shown(value, str(key)) for key, value in settings.items()}
    if settings is not None and _SECRET_NAME.search(name) and not name.endswith("_env"):
        return "***"
    if isinstance(settings, list | tuple | set | frozenset):
        return [_shown(item) for item in settings]
    if settings is None or isinstance(settings, bool | int | float):
        return settings
    return redacted(str(settings))


def experiment_id(client: Any, uri: str, name: str) -> str:
    """Find or make the experiment; beside SQLite its artifacts stay in the store."""
    root = artifact_root(uri)
    found = client.get_experiment_by_name(name)
    if found is None:
        if not root and urlsplit(uri).scheme not in ("http", "https", "databricks"):
            raise StoreError(
                f"tracking at {redacted(uri)}: a bare database has no place for artifacts. Put an "
                "MLflow server in front of it, or set tracking.uri to null."
            )
        location = root.as_uri() if root else None
        return str(client.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage != "active":
        raise StoreError(
            f"tracking at {redacted(uri)}: experiment {name!r} was deleted. "
            "Restore it in MLflow, or choose another name in tracking.experiment."
        )
    kept = str(found.artifact_location)
    if root and kept.startswith("file:") and not Path(unquote(urlsplit(kept).path)).exists():
        raise StoreError(
            f"tracking at {redacted(uri)}: experiment {name!r} keeps its artifacts in {kept}, "
            "which is not there any more: the store was moved. Choose another name in "
            "tracking.experiment, or move the store back."
        )
    return str(found.experiment_id)


def _tags(record: TrainingRecord) -> dict[str, str]:
    """Give the tags of a run."""
    undefined = [name for name, value in record.metrics.items() if not _is_defined(value)]
    return {
        "mlflow.source.name": "retain",
        "mlflow.source.type": "LOCAL",
        "model_version": record.model_version,
        "config_version": record.config_version,
        **{f"data.{key(table)}": text for table, text in record.fingerprints.items()},
        **({"undefined_metrics": some(undefined, 50)} if undefined else {}),
        **{key(name): redacted(str(value)) for name, value in record.tags.items()},
    }


def _log_batches(mlflow: Any, client: Any, run_id: str, record: TrainingRecord) -> None:
    """Log parameters and metrics, a hundred at a time as MLflow's interface allows."""
    params = as_params(mlflow, record.settings)
    figures = as_metrics(mlflow, record.metrics, None)
    for as_of, metrics in record.metrics_by_as_of.items():
        figures += as_metrics(mlflow, {f"by_as_of/{k}": v for k, v in metrics.items()}, as_of)
    for some_params in in_batches(params):
        client.log_batch(run_id, params=some_params)
    for some_figures in in_batches(figures):
        client.log_batch(run_id, metrics=some_figures)


def as_metrics(mlflow: Any, metrics: Mapping[str, float], as_of: date | None) -> list[Any]:
    """Give MLflow's metrics for the defined figures; the step is the date as YYYYMMDD."""
    step = 0 if as_of is None else int(as_of.strftime("%Y%m%d"))
    now = int(time.time() * 1000)
    return [
        mlflow.entities.Metric(key(name), float(value), now, step)
        for name, value in metrics.items()
        if _is_defined(value)
    ]


def as_params(mlflow: Any, settings: Mapping[str, Any]) -> list[Any]:
    """Give MLflow's parameters for settings."""
    return [mlflow.entities.Param(key(name), text) for name, text in flattened(settings).items()]


def _log_booster(
    mlflow: Any,
    client: Any,
    run: Any,
    head: str,
    booster: Any,
    pip_requirements: Sequence[str],
) -> Any:
    """Log a booster as LightGBM text with a signature of doubles only."""
    from mlflow.types import ColSpec, Schema

    signature = mlflow.models.ModelSignature(
        inputs=Schema([ColSpec("double", name) for name in booster.feature_name()]),
        outputs=Schema([ColSpec("double")]),
    )
    # without the requirements MLflow spends a quarter of a minute on finding them out
    needed = list(pip_requirements) or [
        f"{name}=={installed_version(name)}" for name in ("lightgbm", "numpy", "pandas")
    ]
    # made by us, else MLflow files it under the experiment that is active in this process
    model = client.create_logged_model(
        run.info.experiment_id, name=head, source_run_id=run.info.run_id
    )
    return mlflow.lightgbm.log_model(
        booster,
        name=head,
        signature=signature,
        pip_requirements=needed,
        run_id=run.info.run_id,
        model_id=model.model_id,
    )


def _register(mlflow: Any, model: Any, name: str, record: TrainingRecord) -> int:
    """Register a logged model as a new version and give its number."""
    with contextlib.redirect_stderr(io.StringIO()):  # it announces itself there
        registered = mlflow.register_model(
            model.model_uri,
            name,
            tags={"model_version": record.model_version, "config_version": record.config_version},
        )
    return int(registered.version)


def _reigns(client: Any, name: str, before: Mapping[str, int], record: TrainingRecord) -> bool:
    """Say whether the same training gave the champion already."""
    if CHAMPION not in before:
        return False
    tags = client.get_model_version(name, str(before[CHAMPION])).tags
    return bool(tags.get("model_version") == record.model_version)


def _is_defined(value: float | None) -> bool:
    """Say whether a figure is a number."""
    return value is not None and math.isfinite(float(value))


def key(name: str) -> str:
    """Give a name that MLflow takes as a key."""
    return _NOT_IN_KEYS.sub("_", str(name))[:250]


def in_batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut a list into pieces of a hundred."""
    rest = list(items)
    for start in range(0, len(rest), _BATCH):
        yield rest[start : start + _BATCH]
