"""Folded weeks laid down in files and read in place: memory holds what is being looked at.

The folded weeks of a hundred thousand customers are a few hundred megabytes; those of millions do
not fit. Rows lie ordered by customer: `FoldedWeeks.of_customers` reads one run of each file.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.weeks.rows import FoldedWeeks, PanelRows, WeekByWeek

__all__ = ["lay_down", "let_go", "size_of"]


def size_of(folded: FoldedWeeks) -> int:
    """Count the bytes that the rows of all panels hold."""
    return sum(array.nbytes for array in _held(folded))


def lay_down(folder: Path, parts: Callable[[], Iterable[FoldedWeeks]]) -> FoldedWeeks:
    """Write folded weeks into files, and give them as they are read from there.

    Parameters
    ----------
    folder
        Where the files go, some 2.5 kB a customer and year; must stay as long as the weeks are
        used.
    parts
        Gives the same weeks whenever it is called: customers in their order, a run of them at a
        time, all with the same panels and measures.

    Returns
    -------
    FoldedWeeks
        All customers; the rows of its panels are mapped from the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds: dict[tuple[str, str], Any] = {}
    begins: dict[str, int] = {}
    heads: list[FoldedWeeks] = []
    for part in parts():
        for name, rows in part.panels.items():
            begins[name] = min(begins.get(name, rows.begins), rows.begins)
            for measure, values in _arrays(rows).items():
                key = (name, measure)
                kinds[key] = np.result_type(values.dtype, kinds.get(key, values.dtype))
        heads.append(replace(part, panels={}))
    customers = 0
    files = {key: (folder / f"{number:04d}.rows").open("wb") for number, key in enumerate(kinds)}
    panels: dict[str, PanelRows] = {}
    for part in parts():
        panels = part.panels
        for name, rows in panels.items():
            for measure, values in _arrays(rows).items():
                if measure == "customer":
                    values = values.astype(np.int64) + customers
                values.astype(kinds[name, measure]).tofile(files[name, measure])
        customers += len(part.customers)
    for file in files.values():
        file.close()
    read = {
        key: np.memmap(file.name, kinds[key], "r")
        if Path(file.name).stat().st_size
        else np.zeros(0, kinds[key])
        for key, file in files.items()
    }
    return _joined(
        heads,
        {
            name: PanelRows(
                read[name, "customer"],
                read[name, "week"],
                read[name, "lag"],
                {measure: read[name, measure] for measure in rows.measures},
                rows.ops,
                begins[name],
            )
            for name, rows in panels.items()
        },
    )


def let_go(folded: FoldedWeeks) -> None:
    """Let go of what was read of laid-down rows; it is read again when it is asked for.

    Otherwise everything read so far counts as this process's memory until the system is short of
    it. Rows that are held in memory stay.
    """
    if not hasattr(mmap.mmap, "madvise"):
        return  # Windows trims by itself
    for array in _held(folded):
        held: Any = array.base
        if isinstance(held, mmap.mmap):
            held.madvise(mmap.MADV_DONTNEED)


def _held(folded: FoldedWeeks) -> Iterator[NDArray[Any]]:
    """Give what the rows of all panels hold, as it lies."""
    for rows in folded.panels.values():
        for part in rows.parts if isinstance(rows, WeekByWeek) else [rows]:
            yield from _arrays(part).values()


def _arrays(rows: PanelRows) -> dict[str, NDArray[Any]]:
    return {"customer": rows.customer, "week": rows.week, "lag": rows.lag, **rows.measures}


def _joined(heads: list[FoldedWeeks], panels: dict[str, PanelRows]) -> FoldedWeeks:
    first = heads[0]

    def all_of(values: list[Any]) -> Any:
        return None if values[0] is None else np.concatenate(values)

    return replace(
        first,
        customers=all_of([one.customers for one in heads]),
        panels=panels,
        start_day=all_of([one.start_day for one in heads]),
        start_known=all_of([one.start_known for one in heads]),
        texts=all_of([one.texts for one in heads]),
        constants={
            name: all_of([one.constants[name] for one in heads]) for name in first.constants
        },
    )
