"""A scored week as files: written aside, moved into place last, the same bytes every time."""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from retain.features import THEMES
from retain.jobs.store import damaged
from retain.report import FULL_DETAIL, MOST_LISTED, write_report

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BLOCK_ROWS",
    "REASONS",
    "SCORE_COLUMNS",
    "TableFile",
    "as_written",
    "rows_of",
    "score_columns",
    "write_manifest",
    "write_page",
]

BLOCK_ROWS = 50_000
REASONS = (*(f"driver_{rank}" for rank in range(1, 6)), "protective_1", "protective_2")

SCORE_COLUMNS = (
    "customer_id",
    "as_of",
    "eligible",
    "not_eligible_because",
    "churn_probability",
    "churn_low",
    "churn_high",
    "percentile",
    "risk_band",
    "previous_probability",
    "change",
    "change_behaviour",
    "change_data",
    "change_model",
    "change_unknown_because",
    "clv",
    "clv_low",
    "clv_high",
    "mrr",
    "renews_at",
    "term_months",
    "value_at_risk",
    *REASONS,
    *(f"theme_{theme}" for theme in THEMES),
    "coverage",
    "freshness_days",
    "health_score",
    "model_version",
    "config_version",
    "segment",
    "plan",
    "owner",
)
_TEXTS = {
    "customer_id",
    "as_of",
    "not_eligible_because",
    "change_unknown_because",
    "risk_band",
    "renews_at",
    "model_version",
    "config_version",
    "segment",
    "plan",
    "owner",
    "target",
    "theme",
    "signal",
    "feature",
    "value",
    "earlier_value",
    "peer_value",
    "sentence",
    "week_ends_on",
    *REASONS,
}


class TableFile:
    """A Parquet file written block by block: the same bytes however its rows are brought.

    Columns have the same types whether or not they hold anything.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._rows = 0

    def add(self, rows: Any) -> None:
        """Add rows, each time with the same columns: a frame, an Arrow table, arrays by name."""
        table = as_written(rows)
        self._waiting.append(table)
        self._rows += len(table)
        if self._rows >= BLOCK_ROWS:
            self._flush(self._rows - self._rows % BLOCK_ROWS)

    def close(self) -> None:
        """Write what is left; a file that got no rows at all is written by `add` with none."""
        self._flush(self._rows)
        if self._writer is not None:
            self._writer.close()

    def _flush(self, rows: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        for first in range(0, rows, BLOCK_ROWS):
            block = table.slice(first, min(BLOCK_ROWS, rows - first)).combine_chunks()
            self._writer.write_table(block, row_group_size=BLOCK_ROWS)
        rest = table.slice(rows)
        self._waiting, self._rows = ([rest] if len(rest) else []), len(rest)


def as_written(rows: Any) -> pa.Table:
    """Turn a frame, an Arrow table or arrays by name into the columns that are written."""
    import pyarrow as pa

    names = list(rows.column_names if isinstance(rows, pa.Table) else rows)
    return pa.table([_typed(name, rows[name]) for name in names], names=names)


def _typed(name: str, values: Any) -> Any:
    """Turn a column into the Arrow array it is written as."""
    import pyarrow as pa

    if isinstance(values, pa.Array | pa.ChunkedArray):
        if pa.types.is_floating(values.type):  # not known is null
            return pa.array(values.to_numpy(), pa.float64(), from_pandas=True)
        return values.cast(pa.string()) if name in _TEXTS else values
    if name in _TEXTS:
        listed = values.to_numpy(dtype=object) if isinstance(values, pd.Series) else values
        try:
            return pa.array(listed, pa.string(), from_pandas=True)
        except pa.ArrowException:  # numbers as ids
            texts = [None if v is None or v != v else str(v) for v in listed]
            return pa.array(texts, pa.string())
    values = np.asarray(values)
    if values.dtype == bool:
        return pa.array(values)
    if name == "rank":
        return pa.array(values.astype("int64"))
    return pa.array(values.astype("float64"), pa.float64(), from_pandas=True)


def score_columns(horizons: Iterable[str]) -> list[str]:
    """Name the columns of `scores.parquet`: one per horizon after the headline's interval."""
    after = SCORE_COLUMNS.index("churn_high") + 1
    return [*SCORE_COLUMNS[:after], *horizons, *SCORE_COLUMNS[after:]]


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write what a week says about itself."""
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def write_page(folder: Path, path: Path) -> None:
    """Write the page of a week from its files, which may still lie aside.

    Parameters
    ----------
    folder
        With scores, drivers, weekly and the manifest.
    path
        The page. It lists the first `MOST_LISTED` customers; its totals are over all.

    Raises
    ------
    StoreError
        When one of the files is damaged.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    as_of = manifest["as_of"]
    with _reading(folder / "scores.parquet", as_of) as file:
        names = [name for name in file.schema_arrow.names if name not in REASONS]
        scores = file.read(names).to_pandas()
    live = scores.loc[scores["eligible"].to_numpy(dtype=bool), "customer_id"]
    listed = None if len(live) <= MOST_LISTED else live.iloc[:MOST_LISTED]
    charted = None if len(live) <= FULL_DETAIL else live.iloc[:FULL_DETAIL]
    write_report(
        path,
        scores=scores,
        drivers=rows_of(folder / "drivers.parquet", listed, as_of),
        weekly=rows_of(folder / "weekly.parquet", charted, as_of),
        manifest=manifest,
    )


@contextlib.contextmanager
def _reading(path: Path, as_of: str) -> Iterator[Any]:
    """Open a Parquet file; say so when it is damaged."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, ValueError) as problem:  # Arrow's errors are of these
        raise damaged(as_of, path, problem) from problem


def rows_of(path: Path, customers: Any, as_of: str) -> pd.DataFrame:
    """Read the rows of some customers from a table of a week; None reads all.

    Blocks whose range of ids holds none of them are skipped.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    with _reading(path, as_of) as file:
        if customers is None:
            return file.read().to_pandas()
        wanted = sorted(customers)
        values = pa.array(wanted, pa.string())
        at = file.schema_arrow.names.index("customer_id")
        found = [file.schema_arrow.empty_table()]
        for number in range(file.num_row_groups):
            known = file.metadata.row_group(number).column(at).statistics
            place = bisect_left(wanted, known.min)
            if place == len(wanted) or wanted[place] > known.max:
                continue
            table = file.read_row_group(number)
            found.append(table.filter(pc.is_in(table["customer_id"], value_set=values)))
        return pa.concat_tables(found).to_pandas()
