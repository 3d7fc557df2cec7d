"""What a text file may hold that is no row: lines cut short, bytes that are not text."""

from __future__ import annotations

from typing import Any

import duckdb

from retain.errors import TableError
from retain.tables.sources import Source
from retain.tables.sql import rows_of

__all__ = ["last_scan", "refuse_other_scripts", "rejected_lines"]

MOST_STRAY_LINES = 0.001


def refuse_other_scripts(
    con: Any,
    table: str,
    source: Source,
    relation: str,
    rejected: tuple[tuple[int, str, str], ...],
) -> None:
    """Refuse text files that are not UTF-8; a stray byte only sets its line aside."""
    wrong = sum("unicode" in why.lower() or "utf-8" in why.lower() for _, _, why in rejected)
    if not wrong:
        return
    total = rows_of(con, f"SELECT count(*) FROM {relation}")[0][0] + len(rejected)
    if wrong > total * MOST_STRAY_LINES:
        raise TableError(
            f"table {table!r}: {wrong:,} of {total:,} lines of {source.origin} are not UTF-8 "
            "text: save it as UTF-8"
        )


def last_scan(con: Any) -> int:
    """Give the number of the newest reading of a text file, -1 when there was none."""
    try:
        return int(rows_of(con, "SELECT coalesce(max(scan_id), -1) FROM reject_scans")[0][0])
    except duckdb.Error:
        return -1  # no text file was read yet


def rejected_lines(con: Any, source: Source, last: int) -> tuple[tuple[int, str, str], ...]:
    """List the lines that the text reader refused: (line number, line, why)."""
    if not source.is_ordered_only:
        return ()
    try:
        found = rows_of(
            con,
            "SELECT line, min(csv_line), min(error_message) FROM reject_errors JOIN reject_scans "
            f"USING (scan_id, file_id) WHERE scan_id > {last} GROUP BY file_path, line ORDER BY "
            "file_path, line",
        )
    except duckdb.Error:
        return ()
    return tuple((int(line), str(text), str(why)) for line, text, why in found)
