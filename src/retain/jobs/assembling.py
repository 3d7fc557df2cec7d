"""Portions put together: ranks, what is usual among peers, the order of the list, the files.

What is kept of each portion in memory is a few dozen numbers a customer; drafted drivers and the
values that peers are compared by wait in files until everybody has been seen.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import pandas as pd

from retain import explain
from retain.explain import Draft, Peers
from retain.features import Column
from retain.jobs.portions import Portion, Rules
from retain.jobs.spreading import spread
from retain.jobs.writing import TableFile, as_written
from retain.snapshots import ELIGIBLE

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Assembly"]

RAISING, LOWERING = 5, 2  # sentences in a scored row
EPOCH = 719163  # ordinal of 1970-01-01


class Assembly:
    """A week in the making.

    Parameters
    ----------
    folder
        Where the week's files are being written; what waits lies in a folder inside.
    rules
        What scoring took.
    columns
        What the columns of the features are, in the order of the model's encoder.
    """

    def __init__(self, folder: Path, rules: Rules, columns: list[Column]) -> None:
        self.folder, self.rules, self.columns = folder, rules, columns
        self._waiting = folder / "waiting"
        self._waiting.mkdir(parents=True)
        self._weekly = TableFile(folder / "weekly.parquet")
        self._sizes: list[int] = []  # customers there, per portion
        self._why: list[Any] = []
        self._figures: dict[str, list[Any]] = {}
        self._plans: list[Any] = []
        self._groups: list[Any] = []
        self._seen: dict[str, list[Any]] = {}  # where in its portion's file, or texts themselves
        self._said: Any = None  # sentences of all, mapped

    def add(self, portion: Portion) -> None:
        """Take in the next portion, in the order of customers."""
        number = len(self._sizes)
        self._sizes.append(int(portion.there.sum()))
        self._why.append(portion.why)
        for name, values in portion.figures.items():
            self._figures.setdefault(name, []).append(values)
        self._plans.append(portion.plans)
        self._groups.append(portion.groups)
        with self._path("seen", number).open("wb") as file:
            for name, values in portion.seen.items():
                is_number = values.dtype.kind == "f"
                self._seen.setdefault(name, []).append(file.tell() if is_number else values)
                if is_number:
                    np.ascontiguousarray(values).tofile(file)
        for target, draft in (("churn", portion.churn), ("clv", portion.clv)):
            if draft is not None:
                with self._path(target, number).open("wb") as file:
                    pickle.dump(draft, file, protocol=5)  # our own file, gone with this run
        self._weekly.add(portion.weekly)

    @property
    def why(self) -> Any:
        """Reason not to score of every customer, shape (customers,)."""
        return np.concatenate(self._why)

    @property
    def eligible(self) -> Any:
        """Whether each customer who is there is scored, shape (rows,)."""
        return np.concatenate(self._why)[self.there] == ELIGIBLE

    @property
    def there(self) -> Any:
        """Whether each is a customer at all, shape (customers,)."""
        return np.concatenate(
            [why != "not a customer yet" for why in self._why] or [np.zeros(0, dtype=bool)]
        )

    def figure(self, name: str) -> Any:
        """Give one figure of all customers who are there; nan where nothing was found."""
        if name not in self._figures:
            return np.full(sum(self._sizes), np.nan)
        return np.concatenate(self._figures[name])

    @property
    def horizons(self) -> list[str]:
        """Name the figures of the curve."""
        return [name for name in self._figures if name.startswith("churn_by_")]

    @property
    def plans(self) -> Any:
        """Plans as text, None where none is known."""
        return np.concatenate(self._plans)

    @property
    def renewals(self) -> list[str | None]:
        """Days of renewal as text."""
        days = self.figure("renewal_day")
        found, at = np.unique(days[~np.isnan(days)], return_inverse=True)
        said = np.array([str(date.fromordinal(int(day) + EPOCH)) for day in found], dtype=object)
        out = np.full(len(days), None, dtype=object)
        out[~np.isnan(days)] = said[at]
        return out.tolist()

    def tell(
        self,
        ids: Any,
        day: date,
        currency: str,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """Write the drivers: all of churn, then all of CLV, each in the order of customers.

        Parameters
        ----------
        ids
            Of the customers who are there, shape (rows,).
        day
            The scored as_of.
        currency
            Code shown with money.
        progress
            Called with (portions done, portions in all).
        """
        table = TableFile(self.folder / "drivers.parquet")
        eligible = self.eligible
        kinds = [("churn", self.columns, eligible)]
        if self.rules.bundle.clv is not None:
            columns = self.rules.value_columns(self.columns)
            kinds.append(("clv", columns, np.ones(len(eligible), dtype=bool)))
        parts, done = len(self._sizes), 0
        for target, columns, use in kinds:
            peers = explain.peers_of(
                ((name, values[use]) for name, values in self._seen_by_all()),
                np.concatenate(self._groups)[use],
            )
            packed = cloudpickle.dumps((target, columns, peers.typical, currency, str(day)))
            group = np.full(len(use), None, dtype=object)
            group[use] = peers.group
            given = (
                (
                    self._path(target, number),
                    self._path("reasons", number),
                    ids[first:last],
                    group[first:last],
                    use[first:last],
                )
                for number, first, last in self._spans()
            )
            for told in spread(_told, packed, given, parts):
                table.add(told)
                done += 1
                progress(done, parts * len(kinds))
        table.close()

    def reasons(self, places: Any) -> dict[str, Any]:
        """Give the sentences of some customers.

        Parameters
        ----------
        places
            Positions among the customers who are there, in any order.

        Returns
        -------
        dict
            driver_1 ... protective_2 to an Arrow array of str, null where there is none.
        """
        import pyarrow as pa

        if self._said is None:
            tables = [
                pa.ipc.open_file(pa.memory_map(str(self._path("reasons", number)))).read_all()
                for number in range(len(self._sizes))
            ]
            self._said = pa.concat_tables(tables)
        taken = self._said.take(pa.array(places))
        return {name: taken[name].combine_chunks() for name in taken.column_names}

    def close(self) -> None:
        """Finish the weekly lines and clear away what waited, in files and in memory."""
        self._weekly.close()
        self._figures, self._seen, self._said = {}, {}, None
        shutil.rmtree(self._waiting)

    def _spans(self) -> Iterator[tuple[int, int, int]]:
        """Each portion with the span of its customers among all who are there."""
        first = 0
        for number, size in enumerate(self._sizes):
            yield number, first, first + size
            first += size

    def _seen_by_all(self) -> Iterator[tuple[str, Any]]:
        """Each column that can speak, with today's values of everybody."""
        for name, places in self._seen.items():
            parts = [
                np.fromfile(self._path("seen", number), np.float64, size, offset=place)
                if isinstance(place, int)
                else place
                for number, (place, size) in enumerate(zip(places, self._sizes, strict=True))
            ]
            yield name, np.concatenate(parts)

    def _path(self, what: str, number: int) -> Path:
        return self._waiting / f"{what}-{number:05d}"


def _told(
    packed: bytes, draft_path: Path, reasons_path: Path, ids: Any, group: Any, use: Any
) -> pa.Table:
    """Tell a portion's drivers, in whatever process this is; keep what the scored rows say."""
    target, columns, typical, currency, day = _words(packed)
    with draft_path.open("rb") as file:
        draft: Draft = pickle.load(file)
    told = explain.tell_drivers(
        target, draft, columns, Peers(group[use], typical), ids[use], currency
    )
    told.insert(1, "as_of", day)
    if target == "churn":
        _keep_reasons(reasons_path, told, np.flatnonzero(use)[draft.row], len(use))
    return as_written(told)


@lru_cache(maxsize=1)
def _words(packed: bytes) -> tuple[str, list[Column], Any, str, str]:
    return pickle.loads(packed)


def _keep_reasons(path: Path, told: pd.DataFrame, where: Any, size: int) -> None:
    """Keep the sentences of a portion as they stand in the scored rows."""
    import pyarrow as pa

    sentences, rank = told["sentence"].to_numpy(dtype=object), told["rank"].to_numpy()
    rises = told["contribution"].to_numpy() > 0
    columns = {}
    for prefix, is_side, most in (("driver", rises, RAISING), ("protective", ~rises, LOWERING)):
        for one in range(1, most + 1):
            said = np.full(size, None, dtype=object)
            mine = is_side & (rank == one)
            said[where[mine]] = sentences[mine]
            columns[f"{prefix}_{one}"] = pa.array(said, pa.string())
    table = pa.table(columns)
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
