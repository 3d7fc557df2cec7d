"""Rows that are new since a moment, read between two full readings; and whether a source changed.

The weekly run reads everything and judges every row. In between only what is new is cast, by the
same mapping, and rows that cannot be used are counted; nothing else of the check is repeated.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping as AnyMapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from retain.errors import TableError
from retain.tables.mapping import Mapping
from retain.tables.sources import _files
from retain.tables.spec import SPECS
from retain.tables.sql import open_work, quoted, rows_of, word
from retain.tables.staging import Staged, stage

__all__ = ["News", "fingerprint_of", "read_news"]


def fingerprint_of(table: str, mapping: Mapping) -> str | None:
    """Fingerprint the files behind a table by name, size and time of change, without opening them.

    Returns
    -------
    str or None
        16 hexadecimal digits; None when a frame is among the sources, which cannot be told apart.

    Raises
    ------
    TableError
        When a file is missing.
    """
    told = hashlib.sha256(repr((mapping.columns, mapping.values, mapping.query)).encode())
    for source in mapping.sources.values() if mapping.query is not None else [mapping.source]:
        for one in source if isinstance(source, list | tuple) else [source]:
            if not isinstance(one, str | Path):
                return None
            path = str(one).partition("::")[0]
            for file in [Path(path)] if "::" in str(one) else _files(table, path):
                try:
                    there = file.stat()
                except OSError as problem:
                    raise TableError(
                        f"table {table!r}: {file} cannot be read: {problem.strerror or problem}"
                    ) from None
                told.update(f"{file} {there.st_size} {there.st_mtime_ns}\n".encode())
    return told.hexdigest()[:16]


class News:
    """New rows of some tables; a context manager that removes its work database.

    Parameters
    ----------
    con, folder
        The work database.
    staged
        What was read, by table.
    until
        What happened or became known later is not given.

    Attributes
    ----------
    set_aside
        By table, how many new rows cannot be used.
    """

    def __init__(self, con: Any, folder: Path, staged: dict[str, Staged], until: datetime) -> None:
        self.con, self.folder, self.until = con, folder, until
        self._staged = staged
        self.set_aside: dict[str, int] = {}
        end = f"TIMESTAMP '{until:%Y-%m-%d %H:%M:%S.%f}'"
        for name, table in staged.items():
            recorded = (
                f" AND coalesce(recorded_at <= {end}, true)" if table.has("recorded_at") else ""
            )
            (bad,) = rows_of(con, f"SELECT count(_bad) FROM {table.relation}")[0]
            self.set_aside[name] = int(bad)
            once = "_row"
            if table.has_id and table.spec.id_column is not None:
                once = quoted(table.spec.id_column)
            time = _first_instant(table)
            con.execute(
                f"CREATE VIEW {quoted(name)} AS SELECT * FROM {table.relation} WHERE _bad IS NULL "
                f"AND {time} <= {end}{recorded} "
                f"QUALIFY row_number() OVER (PARTITION BY {once} ORDER BY _row) = 1"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The tables that were read."""
        return tuple(self._staged)

    def rows(self, table: str, where: str = "true") -> pd.DataFrame:
        """Fetch new rows under our names; later instants of a row are blank, as not yet known."""
        staged = self._staged[table]
        end = f"TIMESTAMP '{self.until:%Y-%m-%d %H:%M:%S.%f}'"
        listed = [
            f"CASE WHEN {quoted(c)} <= {end} THEN {quoted(c)} END AS {quoted(c)}"
            if staged.spec.column(c).kind == "instant"
            else quoted(c)
            for c in staged.columns
        ]
        frame: pd.DataFrame = self.con.sql(
            f"SELECT {', '.join(listed)} FROM {quoted(table)} WHERE {where} ORDER BY _row"
        ).df()
        return frame

    def counts(self, table: str) -> tuple[int, bool]:
        """Count the new rows, and say whether none of the source's speaks of a later moment."""
        staged = self._staged[table]
        end = f"TIMESTAMP '{self.until:%Y-%m-%d %H:%M:%S.%f}'"
        moments = [c for c in staged.columns if _happened(staged, c)]
        later = " OR ".join(f"coalesce({quoted(c)} > {end}, false)" for c in moments)
        rows, ahead = rows_of(
            self.con,
            f"SELECT (SELECT count(*) FROM {quoted(table)}), "
            f"(SELECT count(*) FROM {staged.relation} WHERE {later})",
        )[0]
        return int(rows), not ahead

    def newest(self, table: str) -> datetime | None:
        """Give the newest moment that any row of a table speaks of, up to `until`."""
        staged = self._staged[table]
        end = f"TIMESTAMP '{self.until:%Y-%m-%d %H:%M:%S.%f}'"
        moments = [c for c in staged.columns if _happened(staged, c)]
        asked = ", ".join(f"max({quoted(c)}) FILTER ({quoted(c)} <= {end})" for c in moments)
        found = rows_of(self.con, f"SELECT {asked} FROM {quoted(table)}")[0]
        return max((one for one in found if one is not None), default=None)

    def last_seen(self) -> pd.Series[Any]:
        """Give each customer's newest use, by customer_id; nothing without the usage table."""
        if "usage" not in self._staged:
            return pd.Series(dtype="datetime64[us]")
        frame = self.con.sql(
            "SELECT customer_id, max(occurred_at) AS seen FROM usage GROUP BY 1 ORDER BY 1"
        ).df()
        return frame.set_index("customer_id")["seen"]

    def words(self, table: str, column: str) -> list[str]:
        """List the different texts of a column; none when it is not there."""
        if table not in self._staged or not self._staged[table].has(column):
            return []
        query = f"SELECT DISTINCT {quoted(column)} FROM {quoted(table)} ORDER BY 1"
        return [text for (text,) in rows_of(self.con, query) if text is not None]

    def rows_with(self, table: str, column: str, texts: list[str]) -> pd.DataFrame:
        """Fetch the rows whose text in a column is one of these."""
        listed = ", ".join(word(text) for text in texts)
        return self.rows(table, f"{quoted(column)} IN ({listed})" if texts else "false")

    def close(self) -> None:
        """Close the work database and remove its files."""
        self.con.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> News:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_news(
    mappings: AnyMapping[str, Mapping],
    since: AnyMapping[str, datetime],
    until: datetime,
    *,
    timezone: str,
) -> News:
    """Read the rows of some tables that are new since a moment.

    Parameters
    ----------
    mappings
        Table name: where it is and what its columns are called.
    since
        For each of these tables, the moment: rows of which every instant lies before are left out.
    until
        The present, in the company's zone: nothing later is given.
    timezone
        The zone whose days count.

    Raises
    ------
    TableError
        When a source cannot be read or a column is missing.
    """
    folder = Path(tempfile.mkdtemp(prefix="news-"))
    con = open_work(folder, timezone)
    try:
        staged = {
            name: stage(con, name, mapping, timezone, since=since[name])
            for name, mapping in mappings.items()
            if name in since and name in SPECS
        }
        return News(con, folder, staged, until)
    except BaseException:
        con.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _first_instant(table: Staged) -> str:
    """Name the moment at which a row came to be: asked before answered."""
    names = (table.spec.time, "sent_at")
    there = [quoted(name) for name in names if name and table.has(name)]
    return f"least({', '.join(there)})"


def _happened(table: Staged, column: str) -> bool:
    spec = table.spec.column(column)
    return spec.kind == "instant" and spec.happened
