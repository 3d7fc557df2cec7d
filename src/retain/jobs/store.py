"""The store: where everything we write lies, one run at a time, nothing half-written."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Store", "damaged", "partial"]

PARTIAL = ".partial-"
_MOVED = re.compile(re.escape(PARTIAL) + r"old-(?P<name>.+)-\d+")


def partial(target: Path) -> Path:
    """Return where to write what will be moved to `target`: cleared when the run is killed.

    Examples
    --------
    >>> partial(Path("store/page.html")).name.startswith(".partial-page.html-")
    True
    """
    return target.with_name(f"{PARTIAL}{target.name}-{os.getpid()}")


def damaged(as_of: object, path: Path, problem: Exception) -> StoreError:
    """Say that a file of a scored week cannot be read, and what to do."""
    said = " ".join(str(problem).split())[:200].rstrip(".")
    return StoreError(
        f"store: {path} is damaged ({said}). Score the week again: "
        f"retain score CONFIG --as-of {as_of}"
    )


@dataclass(frozen=True)
class Store:
    """Paths and promises of one company's store.

    Parameters
    ----------
    folder
        Where everything lies; made when first written to.
    """

    folder: Path

    @contextlib.contextmanager
    def locked(self, job: str) -> Iterator[None]:
        """Keep other runs out; clear what a killed run left behind.

        Raises
        ------
        StoreError
            When another run is at work, or the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise StoreError(
                f"store: {self.folder} cannot be made: {problem.strerror or problem}. Choose "
                "another folder under `store`, or free the path."
            ) from problem
        note = self.folder / ".lock-holder"
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as problem:
            holder = "another run"
            with contextlib.suppress(OSError):  # it may end this very moment
                holder = note.read_text(encoding="utf-8") or holder
            raise StoreError(
                f"store: {self.folder} is in use by {holder}. Wait for it to end, then run again; "
                "two runs never share a store."
            ) from problem
        except OSError as problem:
            raise self._unwritable(problem) from problem
        try:
            try:
                note.write_text(f"`retain {job}` (process {os.getpid()})", encoding="utf-8")
                self._clear()
            except OSError as problem:
                raise self._unwritable(problem) from problem
            yield
        finally:
            with contextlib.suppress(OSError):
                note.unlink(missing_ok=True)
            lock.release()

    def _unwritable(self, problem: OSError) -> StoreError:
        return StoreError(
            f"store: {self.folder} cannot be written: {problem.strerror or problem}. Check who "
            "owns the folder and whether the disk is full."
        )

    def _clear(self) -> None:
        """Clear what killed runs left; put back what one had moved away but not yet replaced."""
        for leftover in sorted(self.folder.rglob(f"{PARTIAL}*"), key=lambda path: len(path.parts)):
            if not leftover.exists():
                continue  # went with the folder around it
            moved = _MOVED.fullmatch(leftover.name)
            if moved and not (home := leftover.with_name(moved["name"])).exists():
                leftover.replace(home)
            elif leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def replacing(self, target: Path) -> Iterator[Path]:
        """Give a folder to write into; move it to `target` only when all went well."""
        aside = partial(target)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            yield aside
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        old = target.with_name(f"{PARTIAL}old-{target.name}-{os.getpid()}")
        if target.exists():
            target.replace(old)
        aside.replace(target)
        shutil.rmtree(old, ignore_errors=True)

    @property
    def attributes(self) -> Path:
        """Copies of the customers' attributes as each weekly run saw them."""
        return self.folder / "attributes"

    def week(self, as_of: date) -> Path:
        """Folder of one scored week."""
        return self.folder / "scores" / f"as_of={as_of}"

    def metrics(self, label: str) -> Path:
        """Folder of one period's metrics."""
        return self.folder / "metrics" / label

    def scored_weeks(self) -> list[date]:
        """Weeks that have been scored, oldest first."""
        found = []
        for folder in (self.folder / "scores").glob("as_of=*"):
            with contextlib.suppress(ValueError):
                found.append(date.fromisoformat(folder.name.removeprefix("as_of=")))
        return sorted(found)

    def read_week(
        self,
        as_of: date,
        name: str,
        columns: list[str] | None = None,
        where: list[tuple[str, str, Any]] | None = None,
    ) -> pd.DataFrame | None:
        """Read one table of a scored week, or some of it; None when it is not there.

        Parameters
        ----------
        as_of, name
            Week and table.
        columns
            None: all of them.
        where
            Column, comparison and value, all of which must hold; None: all rows.

        Raises
        ------
        StoreError
            When it was damaged.
        """
        import pandas as pd  # a pass of `watch` with nothing new needs none

        path = self.week(as_of) / f"{name}.parquet"
        try:
            if not path.exists():
                return None
            return pd.read_parquet(path, columns=columns, filters=where)
        except (OSError, ValueError) as problem:  # Arrow's errors are of these
            raise damaged(as_of, path, problem) from problem

    def read_manifest(self, as_of: date) -> dict[str, Any]:
        """Read what a scored week says about itself.

        Raises
        ------
        StoreError
            When it is missing or was damaged.
        """
        path = self.week(as_of) / "manifest.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise damaged(as_of, path, problem) from problem

    def keep_attributes(self, as_of: date, frame: pd.DataFrame) -> None:
        """Keep this week's copy of the attributes, so that their history grows."""
        self.attributes.mkdir(parents=True, exist_ok=True)
        path = self.attributes / f"as_of={as_of}.parquet"
        aside = partial(path)
        frame.to_parquet(aside, index=False)
        aside.replace(path)

    def attribute_copies(self, until: date) -> pd.DataFrame | None:
        """Return the copies kept up to `until`, with the day of each as recorded_at."""
        import pandas as pd

        frames = []
        for path in sorted(self.attributes.glob("as_of=*.parquet")):
            with contextlib.suppress(ValueError):  # not one of ours
                day = date.fromisoformat(path.stem.removeprefix("as_of="))
                if day <= until:
                    frames.append(pd.read_parquet(path).assign(recorded_at=pd.Timestamp(day)))
        return pd.concat(frames, ignore_index=True) if frames else None

    def keep_judged(self, version: str, frame: pd.DataFrame) -> None:
        """Keep what a model's twin said of weeks that it was judged on: customer_id, as_of, p."""
        path = self.folder / "judged" / f"{version}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = partial(path)
        frame.to_parquet(aside, index=False)
        aside.replace(path)

    def judged(self, version: str) -> pd.DataFrame:
        """Return what `keep_judged` kept of a model; no rows when nothing was."""
        import pandas as pd

        path = self.folder / "judged" / f"{version}.parquet"
        if not path.exists():
            return pd.DataFrame({"customer_id": [], "as_of": [], "p": []})
        return pd.read_parquet(path)

    def write_json(self, path: Path, content: Any) -> None:
        """Write a JSON file aside and move it into place; undefined numbers become null."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = partial(path)
        text = json.dumps(_plain(content), indent=1, sort_keys=True, ensure_ascii=False)
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(path)


def _plain(content: Any) -> Any:
    """Turn nested results into what JSON can hold."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if hasattr(content, "to_dict"):  # a frame
        return _plain(content.to_dict("records"))
    if hasattr(content, "item"):  # a number of numpy's
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if content is None or isinstance(content, bool | int | float | str):
        return content
    return str(content)
