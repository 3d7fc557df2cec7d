"""Folded weeks kept between runs: one Parquet file a week, and a book that says what they hold."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from retain.weeks.calendar import Calendar

__all__ = ["KeptWeeks", "read_json", "write_text"]


class KeptWeeks:
    """The kept weeks of one panel.

    A week counts as kept when the book knows the hash of its facts and its file has the size that
    was written; whatever was lost, cut short or folded by another recipe is folded again.

    Parameters
    ----------
    folder
        Where its files lie; made when missing.
    calendar
        How days become weeks.
    """

    def __init__(self, folder: Path, calendar: Calendar) -> None:
        self.folder, self.calendar = folder, calendar
        self.book: dict[str, Any] = {}
        self.is_damaged = False
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def weeks(self) -> dict[str, str]:
        """Week to the hash of its facts."""
        return self.book.get("weeks", {})

    @property
    def content(self) -> str:
        """Fingerprint of the table from which all weeks were folded."""
        return self.book.get("content", "")

    @property
    def paths(self) -> list[str]:
        """The files of all weeks."""
        return sorted(str(self._path(week)) for week in self.weeks)

    def open(self, recipe: str, dictionaries: dict[str, list[str]]) -> dict[str, str]:
        """Read the book; return the weeks that can be relied on.

        Parameters
        ----------
        recipe
            Hash of how a week is folded now.
        dictionaries
            Numbering of texts now: weeks folded with another one are of no use.
        """
        book = read_json(self.folder / "weeks.json")
        sizes, texts = book.get("sizes", {}), book.get("dictionaries", {})
        same = book.get("recipe") == recipe and all(
            _hash(dictionaries.get(name, [])[:size]) == mark for name, (size, mark) in texts.items()
        )
        self.book = book if same else {}
        there = {
            week: value for week, value in self.weeks.items() if self._size(week) == sizes.get(week)
        }
        self.is_damaged = len(there) < len(self.weeks)
        return there

    def forget(self, weeks: set[str]) -> None:
        """Strike weeks from the book before their files change, lest a killed run leaves a lie."""
        left = {week: value for week, value in self.weeks.items() if week not in weeks}
        self.book = {**self.book, "content": "", "weeks": left}
        self._save()

    def write(self, table: Any) -> None:
        """Write an Arrow table of folded rows, a file a week, each aside and then moved into place.

        Parameters
        ----------
        table
            With `week` and `customer_id`; all rows of each of its weeks.
        """
        import pyarrow.parquet as pq

        weeks = table["week"].to_numpy()
        if np.any(np.diff(weeks) < 0):  # an engine that loses the order must not pass unnoticed
            table = table.sort_by(
                [("week", "ascending"), ("customer_id", "ascending"), ("lag", "ascending")]
            )
            weeks = table["week"].to_numpy()
        edges = np.flatnonzero(np.diff(weeks, prepend=weeks[:1] - 1))
        for first, end in zip(edges, [*edges[1:], len(weeks)], strict=True):
            path = self._path(str(weeks[first]))
            aside = _aside(path)
            pq.write_table(table.slice(first, end - first), aside, compression="zstd")
            aside.replace(path)

    def close(
        self,
        recipe: str,
        content: str,
        hashes: dict[str, str],
        dictionaries: dict[str, list[str]],
    ) -> None:
        """Clear away files of other weeks and write the book."""
        kept = {self._path(week) for week in hashes}
        for path in self.folder.glob("*.parquet"):
            if path not in kept:
                path.unlink()
        self.book = {
            "recipe": recipe,
            "content": content,
            "weeks": hashes,
            "sizes": {week: self._size(week) for week in hashes},
            "dictionaries": {name: [len(v), _hash(v)] for name, v in dictionaries.items()},
        }
        self._save()

    def _save(self) -> None:
        write_text(self.folder / "weeks.json", json.dumps(self.book, indent=0, sort_keys=True))

    def _path(self, week: str) -> Path:
        return self.folder / f"{self.calendar.last_day(int(week))}.parquet"

    def _size(self, week: str) -> int | None:
        path = self._path(week)
        return path.stat().st_size if path.exists() else None


def read_json(path: Path) -> dict[str, Any]:
    """Read an object; nothing when there is no such file or it was cut short."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_text(path: Path, text: str) -> None:
    """Write a file aside, then move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _aside(path: Path) -> Path:
    """Where to write first: the store clears what is called so when a run was killed."""
    return path.with_name(f".partial-{path.name}-{os.getpid()}")


def _hash(values: list[str]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
