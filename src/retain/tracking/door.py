"""The way to MLflow: where the record is, how to open it quietly, what its troubles mean.

Knows how to keep MLflow from phoning home, from talking, and from quoting passwords.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from retain.errors import RetainError, StoreError

__all__ = ["artifact_root", "check_reachable", "opened", "redacted", "tracking_uri"]

_SQLITE = "sqlite:///"
_USERINFO = re.compile(r"(\b[A-Za-z][\w+.-]*://)[^/\s@]+@")
_SECRET_QUERY = re.compile(
    r"([?&;](?:password|passwd|pwd|token|secret|api_?key|access_?key|sig|signature)=)[^&;\s'\"]+",
    re.I,
)

# Said to MLflow before it is imported. DO_NOT_TRACK takes nothing but the word "true".
_OFF = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
_UNLESS_SET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its own 7 keep a dead server waiting for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def tracking_uri(store: Path, configured: str | None = None) -> str:
    """Give the tracking URI: the configured one, else an SQLite file in the store.

    Parameters
    ----------
    store
        The store's folder.
    configured
        A tracking server or database URI, or `None`.

    Returns
    -------
    str
        For MLflow; it may hold a password: show `redacted(uri)` instead.

    Examples
    --------
    >>> tracking_uri(Path("/data/store"))
    'sqlite:////data/store/mlflow.db'
    >>> tracking_uri(Path("/data/store"), "https://mlflow.example.com")
    'https://mlflow.example.com'
    """
    return configured or f"{_SQLITE}{(Path(store).resolve() / 'mlflow.db').as_posix()}"


def redacted(text: str) -> str:
    """Replace user names, passwords and tokens inside URIs by three stars.

    Parameters
    ----------
    text
        A URI, or a message that quotes some.

    Returns
    -------
    str
        The same without secrets.

    Examples
    --------
    >>> redacted("postgresql://ann:pa55@db.example.com/mlflow?password=x&ssl=1")
    'postgresql://***@db.example.com/mlflow?password=***&ssl=1'
    """
    return _SECRET_QUERY.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


def check_reachable(uri: str) -> None:
    """Ask the tracking store one question, so that a long training does not end in vain.

    Parameters
    ----------
    uri
        From `tracking_uri`.

    Raises
    ------
    StoreError
        When it does not answer.
    """
    with opened(uri) as (_, client):
        client.search_experiments(max_results=1)


@contextlib.contextmanager
def opened(uri: str) -> Iterator[tuple[Any, Any]]:
    """Open the tracking store, quietly; whatever goes wrong in there is a StoreError.

    Parameters
    ----------
    uri
        From `tracking_uri`.

    Yields
    ------
    tuple
        The mlflow module, pointed at `uri` for this while, and a client.

    Raises
    ------
    StoreError
        When MLflow cannot be reached or refuses; secrets of the URI are not in the message.
    """
    if uri.startswith(_SQLITE):
        _check_sqlite(_sqlite_file(uri))
    with warnings.catch_warnings():
        # SQLAlchemy 2.1 deprecates what MLflow's mappers use; alembic and pydantic likewise
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            for module in ("mlflow", "sqlalchemy", "alembic", "pydantic"):
                warnings.filterwarnings("ignore", category=category, module=rf"{module}(\.|$)")
        # its progress bars would like a notebook to have widgets; nobody is shown one
        warnings.filterwarnings("ignore", message="IProgress not found")
        mlflow = _imported()
        with _hushed("mlflow", "alembic"), _pointed_at(mlflow, uri):
            try:
                yield mlflow, mlflow.MlflowClient(uri, uri)
            except RetainError:
                raise
            except _troubles(mlflow) as trouble:
                # from None: the trouble and its causes may quote the URI with its password
                raise StoreError(_told(uri, trouble)) from None


def _imported() -> Any:
    """Import MLflow with telemetry off; also off when somebody imported it before us."""
    os.environ.update(_OFF)
    for name, value in _UNLESS_SET.items():
        os.environ.setdefault(name, value)
    import mlflow
    import mlflow.lightgbm
    import mlflow.telemetry

    mlflow.telemetry.set_telemetry_client()  # looks at the variables again
    return mlflow


@contextlib.contextmanager
def _hushed(*names: str) -> Iterator[None]:
    """Let loggers speak of errors only, for this while."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _pointed_at(mlflow: Any, uri: str) -> Iterator[None]:
    """Point MLflow's process-wide URIs at ours, and back again afterwards."""
    runs, models = map(os.environ.get, ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"))
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield
    finally:
        mlflow.set_tracking_uri(runs)
        mlflow.set_registry_uri(models)
        if models is None:
            os.environ.pop("MLFLOW_REGISTRY_URI", None)


def _troubles(mlflow: Any) -> tuple[type[BaseException], ...]:
    """List what MLflow and what it stands on raise when the store cannot be used."""
    from sqlalchemy.exc import SQLAlchemyError

    return (mlflow.exceptions.MlflowException, SQLAlchemyError, OSError, ImportError)


def _told(uri: str, trouble: BaseException) -> str:
    """Say what happened at the tracking store and what to do, without secrets."""
    text = str(trouble)
    for secret in filter(None, (unquote(urlsplit(uri).password or ""), urlsplit(uri).password)):
        text = text.replace(secret, "***")
    text = redacted(" ".join(text.split()))
    text = text if len(text) < 400 else text[:397] + "..."
    if uri.startswith("http"):
        todo = (
            "Check that the server runs and that this machine reaches it, or set tracking.uri to "
            "null to keep the record in the store"
        )
    elif uri.startswith(_SQLITE):
        todo = "Check that the folder can be written and that this MLflow is not older than the one"
        todo += " that made the file"
    else:
        todo = "Use an http(s) server, a database URI, or null for an SQLite file in the store"
    return f"tracking at {redacted(uri)}: {type(trouble).__name__}: {text.rstrip('.')}. {todo}."


def _sqlite_file(uri: str) -> Path:
    """Give the file that an SQLite URI names."""
    return Path(uri.removeprefix(_SQLITE).split("?")[0])


def artifact_root(uri: str) -> Path | None:
    """Give the folder that keeps artifacts, beside an SQLite file; None for servers.

    Parameters
    ----------
    uri
        From `tracking_uri`.

    Returns
    -------
    Path or None
        Absolute. A server decides for itself.
    """
    if not uri.startswith(_SQLITE):
        return None
    return _sqlite_file(uri).resolve().parent / "mlartifacts"


def _check_sqlite(file: Path) -> None:
    """Refuse a file that SQLite could not use, which MLflow would retry for minutes."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        begins = b""
        if file.exists():
            with file.open("rb") as opened:
                begins = opened.read(16)
    except OSError as trouble:
        raise StoreError(
            f"tracking file {file}: {trouble.strerror or trouble}. "
            "Choose a store that can be written, or mend its permissions."
        ) from trouble
    if begins and begins != b"SQLite format 3\x00":
        raise StoreError(
            f"tracking file {file}: found something that is no SQLite database. "
            "Move it away (a new one is made), or restore it from a backup."
        )
    writable = os.access(file if begins else file.parent, os.W_OK)
    if not writable:
        raise StoreError(
            f"tracking file {file}: not writable. "
            "Choose a store that can be written, or mend its permissions."
        )
