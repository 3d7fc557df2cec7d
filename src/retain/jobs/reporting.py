"""`retain report`: the page of a scored week, made again from its files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from retain.config import Config, load_config
from retain.errors import StoreError
from retain.jobs.opening import as_day
from retain.jobs.store import Store, partial
from retain.jobs.writing import write_page

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
    day = None if as_of is None else as_day(as_of)
    if day is None and weeks:
        day = weeks[-1]
    if day is None:
        raise StoreError(
            f"store {settings.store}: no week has been scored yet. Score one first: retain score "
            "CONFIG"
        )
    if day not in weeks:
        raise StoreError(
            f"store {settings.store}: the week {day} has not been scored; the scored ones are "
            f"{_newest(weeks)}. Name one of these, or score it: retain score CONFIG --as-of {day}"
        )
    with store.locked("report"):
        folder = store.week(day)
        path = folder / "report.html"
        aside = partial(path)
        store.read_manifest(day)  # says so when it is damaged
        for name in ("scores", "drivers", "weekly"):
            if not (folder / f"{name}.parquet").exists():
                raise StoreError(
                    f"store: {folder} is damaged ({name}.parquet is missing). Score the "
                    f"week again: retain score CONFIG --as-of {day}"
                )
        write_page(folder, aside)
        return aside.replace(path)


def _newest(weeks: Sequence[date], most: int = 5) -> str:
    """Name the newest weeks, and count those before."""
    said = ", ".join(str(day) for day in weeks[-most:])
    before = len(weeks) - most
    return f"{said} and {before} before" if before > 0 else said or "none"
