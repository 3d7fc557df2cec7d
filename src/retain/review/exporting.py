"""Lists as files: CSV and Excel in which no cell can become a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from retain.errors import ConfigError
from retain.report.wording import clean
from retain.review.guard import Refused

__all__ = ["FORMS", "as_file", "exported", "harmless"]

FORMS = ("csv", "xlsx")
_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_LONGEST_CELL = 32_000
Cell = str | float | int | bool | None


def harmless(text: str) -> str:
    """Disarm a text that a spreadsheet would take for a formula, by an apostrophe in front.

    Examples
    --------
    >>> harmless("=1+1"), harmless("ACME"), harmless("  @SUM(A1)"), harmless("")
    ("'=1+1", 'ACME', "'  @SUM(A1)", '')
    """
    text = clean(text.replace("\r\n", "\n"))[:_LONGEST_CELL]
    # some programs skip what stands before the sign: blanks, and marks that cannot be seen
    bare = text.lstrip(" \u00a0\u200b\u200e\u200f\ufeff")
    first = bare[:1]
    full_width = first in ("＝", "＋", "－", "＠")
    return "'" + text if first in _TRIGGERS or full_width else text


def exported(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> tuple[Sequence[str], list[list[Cell]]]:
    """Lay rows out under their columns; numbers stay numbers, texts are made harmless."""
    laid = []
    for row in rows:
        cells: list[Cell] = []
        for name in columns:
            value = row.get(name)
            known = value is None or isinstance(value, bool | int | float)
            cells.append(value if known else harmless(str(value)))
        laid.append(cells)
    return columns, laid


def as_file(table: tuple[Sequence[str], list[list[Cell]]], name: str, form: str) -> Response:
    """Give a table as a file to save.

    Parameters
    ----------
    table
        Columns and rows, as `exported` lays them out.
    name
        The file's name without its ending.
    form
        One of `FORMS`.
    """
    columns, rows = table
    if form == "csv":
        written = io.StringIO()
        writer = csv.writer(written, quoting=csv.QUOTE_MINIMAL)
        writer.writerow(columns)
        writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
        # the mark at the start lets Excel know that it is UTF-8
        return _download(
            ("\ufeff" + written.getvalue()).encode(), "text/csv; charset=utf-8", f"{name}.csv"
        )
    if form == "xlsx":
        return _download(
            _workbook(columns, rows),
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            f"{name}.xlsx",
        )
    raise Refused(400, "refused.wrong")


def _workbook(columns: Sequence[str], rows: list[list[Cell]]) -> bytes:
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError:
        raise ConfigError(
            "Excel files need openpyxl: pip install 'retain[excel]'. CSV needs nothing."
        ) from None

    book = Workbook(write_only=True)
    sheet = book.create_sheet("retain")
    sheet.freeze_panes = "A2"

    def cell(value: Cell) -> Any:
        made = WriteOnlyCell(sheet, value)
        if isinstance(value, str):
            made.data_type = "s"  # openpyxl takes a text that starts with = for a formula
        return made

    sheet.append([cell(name) for name in columns])
    for row in rows:
        sheet.append([cell(value) for value in row])
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def _download(content: bytes, kind: str, name: str) -> Response:
    return Response(
        content,
        media_type=kind,
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
    )
