"""`retain report`: the page of a scored week, made again from its files."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from retain.config import Config, load_config
from retain.errors import ConfigError, StoreError, some
from retain.jobs.store import Store, partial
from retain.report import write_report

__all__ = ["report"]


def report(config: Config | str | Path, *, as_of: date | str | None = None) -> Path:
    """Write the page of a scored week again.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    as_of
        The week; default: the newest scored one.

    Returns
    -------
    Path
        The page.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    store = Store(settings.store)
    weeks = store.scored_weeks()
    try:
        day = date.fromisoformat(as_of) if isinstance(as_of, str) else as_of
    except ValueError:
        raise ConfigError(f"--as-of {as_of}: not a date; expected one like 2026-11-15.") from None
    if day is None and weeks:
        day = weeks[-1]
    if day is None or day not in weeks:
        raise StoreError(
            f"store {settings.store}: {'no week' if day is None else f'the week {day}'} has been "
            f"scored; there are {some(weeks[-5:])}. Run `retain score` first."
        )
    with store.locked("report"):
        scores, drivers, weekly = (
            store.read_week(day, name) for name in ("scores", "drivers", "weekly")
        )
        if scores is None:
            raise StoreError(f"store: {store.week(day)} is damaged. Score the week again.")
        path = store.week(day) / "report.html"
        aside = partial(path)
        write_report(
            aside,
            scores=scores,
            drivers=drivers,
            weekly=weekly,
            manifest=store.read_manifest(day),
        )
        return aside.replace(path)
