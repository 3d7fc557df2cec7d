"""What is kept of a period's metrics: one run per period, written over when computed again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from retain.tracking.door import opened
from retain.tracking.trainings import as_metrics, as_params, experiment_id, in_batches, key

__all__ = ["record_metrics"]

PERIOD = "retain.metrics_period"


def record_metrics(
    run_name: str,
    metrics: Mapping[str, float],
    *,
    uri: str,
    experiment: str,
    period: str,
    as_of: date,
    settings: Mapping[str, Any],
    tags: Mapping[str, str],
    artifacts: Path,
) -> str:
    """Log the metrics of one period as one run; the same period again goes into the same run.

    Parameters
    ----------
    run_name
        What the run is called in the list.
    metrics
        Values by name; undefined (nan) ones are left out.
    uri
        From `tracking_uri`.
    experiment
        Name of the experiment; made when new.
    period
        Label of the period, which tells its run from others.
    as_of
        Last day of the period; shown as the step YYYYMMDD.
    settings
        What the metrics depend on; logged as parameters, changed ones as tags.
    tags
        Any further tags.
    artifacts
        Folder kept with the run.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    StoreError
        When MLflow cannot be reached or refuses.
    """
    with opened(uri) as (mlflow, client):
        home = experiment_id(client, uri, experiment)
        found = client.search_runs(
            [home],
            f"tags.`{PERIOD}` = '{period}' and attributes.status = 'FINISHED'",
            max_results=1,
        )
        if found:
            run_id = found[0].info.run_id
        else:
            first = {"mlflow.source.name": "retain", "mlflow.source.type": "LOCAL", PERIOD: period}
            run_id = client.create_run(home, run_name=run_name, tags=first).info.run_id
        try:
            for name, text in tags.items():
                client.set_tag(run_id, key(name), text)
            if not found:  # parameters of a run never change; metrics.json tells those of a rerun
                for params in in_batches(as_params(mlflow, settings)):
                    client.log_batch(run_id, params=params)
            for figures in in_batches(as_metrics(mlflow, metrics, as_of)):
                client.log_batch(run_id, metrics=figures)
            client.log_artifacts(run_id, str(artifacts), "metrics")
            if not found:
                client.set_terminated(run_id, "FINISHED")
        except BaseException:
            if not found:
                with contextlib.suppress(Exception):
                    client.set_terminated(run_id, "FAILED")
            raise
    return str(run_id)
