"""Where trainings are kept on record: runs, registered versions, the champion, all in MLflow.

The only room that knows MLflow, behind verbs of ours: record a training, list its versions,
promote one, fetch the champion's bundle, record a period's metrics. No autologging, no telemetry,
and no network unless the tracking URI is one.
"""

from retain.tracking.door import check_reachable, redacted, tracking_uri
from retain.tracking.periods import record_metrics
from retain.tracking.trainings import (
    RunRef,
    TrainingRecord,
    flattened,
    record_results,
    record_training,
)
from retain.tracking.versions import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS_CHAMPION,
    ModelVersion,
    champion_bundle,
    list_versions,
    promote,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS_CHAMPION",
    "ModelVersion",
    "RunRef",
    "TrainingRecord",
    "champion_bundle",
    "check_reachable",
    "flattened",
    "list_versions",
    "promote",
    "record_metrics",
    "record_results",
    "record_training",
    "redacted",
    "tracking_uri",
]
