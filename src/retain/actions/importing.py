"""A scored week into the action store: all of it or nothing, in seconds, as often as asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from retain.actions import schema
from retain.actions.store import Store, Writing
from retain.actions.tallies import add_up_portfolio
from retain.errors import StoreError
from retain.snapshots import is_hindsight

__all__ = ["import_week"]

AT_ONCE = 20_000  # rows turned into Python values at a time
DRIVER_COLUMNS = tuple(column.name for column in schema.drivers.columns if column.name != "place")


def import_week(
    store: Store,
    as_of: date | str,
    scores: pd.DataFrame,
    drivers: pd.DataFrame,
    manifest: Mapping[str, Any],
    *,
    fingerprint: str,
    names: Mapping[str, str] | None = None,
    keep_driver_weeks: int = 26,
) -> bool:
    """Put one scored week into the store, in place of what it held of that week.

    Verdicts, judgements and treatments stay as they are; so does the queue, until `keep_queue`
    makes the newest week's again from the new scores. Outcomes go where the week is now scored in
    hindsight.

    Parameters
    ----------
    store
        Where to.
    as_of
        Last day of the week.
    scores, drivers, manifest
        As the weekly run wrote them.
    fingerprint
        Of the files; a week with the same fingerprint is not imported again.
    names
        What a customer is called, by customer_id.
    keep_driver_weeks
        Weeks back from this one whose drivers are kept; scores are kept for good.

    Returns
    -------
    bool
        False when the week was there already.
    """
    day = str(as_of)
    kept = _score_rows(scores, drivers, names or {})
    reasons = _driver_rows(drivers)
    versions = scores[["model_version", "config_version"]].iloc[0]
    week = {
        "as_of": day,
        "manifest_hash": fingerprint,
        "manifest": dict(manifest),
        "model_version": str(versions["model_version"]),
        "config_version": str(versions["config_version"]),
        "currency": str(manifest["currency"]),
        "customers": len(scores),
        "eligible": int(scores["eligible"].sum()),
    }
    oldest = str(date.fromisoformat(day) - timedelta(weeks=keep_driver_weeks))
    with store.writing("import") as write:
        write.alone()
        had = write.rows("SELECT manifest_hash FROM weeks WHERE as_of = :as_of", as_of=day)
        if had and had[0]["manifest_hash"] == fingerprint:
            return False
        run = write.connection.execute
        replaced = [schema.scores, schema.drivers]
        if is_hindsight(manifest.get("model_trained_as_of", ""), date.fromisoformat(day)):
            replaced.append(schema.outcomes)  # they prove nothing of scores that had seen them
        for table in replaced:
            run(table.delete().where(table.c.as_of == day))
        run(schema.drivers.delete().where(schema.drivers.c.as_of <= oldest))
        _insert(write, schema.scores, kept)
        if day > oldest:
            _insert(write, schema.drivers, reasons)
        values = week | {"imported_at": write.at}
        if not write.rows("SELECT 1 AS later FROM weeks WHERE as_of > :as_of", as_of=day):
            values["queue"] = None  # one made from other scores is to be made again
        if not had:
            run(schema.weeks.insert().values(values))
        else:
            run(schema.weeks.update().where(schema.weeks.c.as_of == day).values(values))
        add_up_portfolio(write, day)
        write.log("imported a week", key={"as_of": day}, after={"customers": len(scores)})
    return True


def _score_rows(
    scores: pd.DataFrame, drivers: pd.DataFrame, names: Mapping[str, str]
) -> pd.DataFrame:
    frame = scores.copy()
    ids = frame["customer_id"].astype(str)
    if ids.duplicated().any():
        raise StoreError(
            f"import: customer_id {ids[ids.duplicated()].iloc[0]} is there twice in the week's "
            "scores; expected one row per customer. Score the week again."
        )
    called = ids.map(names) if names else pd.Series(None, index=frame.index, dtype=object)
    frame["name"] = called
    searched = ids + "\n" + called.fillna("").astype(str) if names else ids
    frame["searched"] = searched.str.casefold()
    first = drivers[
        (drivers["target"] == "churn") & (drivers["rank"] == 1) & (drivers["contribution"] > 0)
    ].set_index("customer_id")
    for name in ("theme", "signal", "sentence"):
        frame[f"main_{name}"] = first[name].reindex(ids).to_numpy(dtype=object)
    frame["uplift"] = None
    return frame.reindex(columns=[column.name for column in schema.scores.columns])


def _driver_rows(drivers: pd.DataFrame) -> pd.DataFrame:
    frame = drivers.reindex(columns=list(DRIVER_COLUMNS))
    place = drivers.groupby(["customer_id", "target"], sort=False).cumcount() + 1
    return frame.assign(place=place.to_numpy())


def _insert(write: Writing, table: sa.Table, frame: pd.DataFrame) -> None:
    """Write rows by the quickest way that the database has."""
    rows = _tuples(frame)
    raw: Any = write.connection.connection.dbapi_connection
    listed = ", ".join(f'"{name}"' for name in frame.columns)
    if write.connection.dialect.name == "postgresql":
        into = f"COPY {table.name} ({listed}) FROM STDIN"
        with raw.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(frame.columns))
    into = f"INSERT INTO {table.name} ({listed}) VALUES ({marks})"
    raw.executemany(into, rows)


def _tuples(frame: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Give rows of plain Python values; what is undefined is None."""
    for start in range(0, len(frame), AT_ONCE):
        part = frame.iloc[start : start + AT_ONCE]
        columns: Sequence[list[Any]] = [_plain(part[name]) for name in part.columns]
        yield from zip(*columns, strict=True)


def _plain(values: pd.Series) -> list[Any]:
    if values.dtype == bool or pd.api.types.is_integer_dtype(values.dtype):
        return values.tolist()
    found: Any = values.astype(object).to_numpy(copy=True)
    found[values.isna().to_numpy()] = None
    if pd.api.types.is_float_dtype(values.dtype):
        found[~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))] = None
    elif values.dtype != "str" or values.str.contains("\x00", regex=False).any():
        return [v.replace("\x00", "") if isinstance(v, str) else v for v in found]
    return list(found)
