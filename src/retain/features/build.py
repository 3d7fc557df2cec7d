"""`build_features`: folded weeks in, one row per snapshot out. There is no second path."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import ConfigError
from retain.features.commercial import COMMERCIAL
from retain.features.effort import EFFORT
from retain.features.feature import Column, Feature
from retain.features.profile import PROFILE
from retain.features.survey import SURVEY
from retain.features.usage import USAGE
from retain.weeks import FoldedWeeks, History, Missing

__all__ = [
    "FEATURES",
    "FeatureMatrix",
    "build_features",
    "feature_chunks",
    "load_own_features",
]

FEATURES: tuple[Feature, ...] = (*USAGE, *EFFORT, *SURVEY, *COMMERCIAL, *PROFILE)
CHUNK_CUSTOMERS = 5_000  # bounds memory: a chunk holds (weeks x customers) per measure
CHUNK_SNAPSHOTS = 60_000  # and its answers, (as_ofs x customers) per feature, stay in the cache


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of snapshots.

    Parameters
    ----------
    X
        One row per snapshot, one column per feature; floats, or texts where categorical. The index
        is (as_of week, position of the customer).
    columns
        What each column of `X` means, in order.
    """

    X: pd.DataFrame
    columns: tuple[Column, ...]

    @property
    def as_of(self) -> Any:
        """as_of week of each row."""
        return self.X.index.get_level_values("as_of").to_numpy()

    @property
    def customer(self) -> Any:
        """Position of the customer of each row."""
        return self.X.index.get_level_values("customer").to_numpy()


def build_features(
    folded: FoldedWeeks,
    as_ofs: Any,
    rows: Any,
    *,
    features: tuple[Feature, ...] = FEATURES,
    known_by: Any = None,
    only: tuple[str, ...] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> FeatureMatrix:
    """Build the features of snapshots.

    Parameters
    ----------
    folded
        Customer-weeks; `folded.lists` names what was fixed at training.
    as_ofs
        Weeks of observation, shape (as_ofs,).
    rows
        Which (as_of, customer) pairs to keep: bool array of shape (as_ofs, customers).
    features
        The catalogue, with a company's own features after ours.
    known_by
        Later weeks by which rows must be known, shape (as_ofs,); default: each as_of itself.
    only
        Names of the columns a model was trained with: the others are not built, those whose table
        is absent are nan.
    progress
        Called with (customers done, customers in all).

    Returns
    -------
    FeatureMatrix
        Rows ordered by as_of, then customer.
    """
    as_ofs = np.asarray(as_ofs, dtype=np.int64)
    at, customer = np.nonzero(rows)
    place = np.cumsum(rows.ravel()).reshape(rows.shape) - 1  # row in the result of each kept pair
    columns: tuple[Column, ...] = ()
    numbers: Any = None
    texts: dict[int, Any] = {}
    for first, last, columns, chunk in _chunks(folded, as_ofs, rows, features, known_by, only):
        where = place[:, first:last][rows[:, first:last]]
        if numbers is None:
            chunk = list(chunk)
            texts = {
                number: np.empty(len(at), dtype=object)
                for number, values in enumerate(chunk)
                if values.dtype.kind != "f"
            }
            numbers = np.empty((len(columns) - len(texts), len(at)))
        row = iter(numbers)
        for number, values in enumerate(chunk):
            (texts[number] if number in texts else next(row))[where] = values
        progress(last, len(folded.customers))
    index = pd.MultiIndex.from_arrays([as_ofs[at], customer], names=["as_of", "customer"])
    return _matrix(index, columns, numbers, texts)


def _matrix(
    index: Any, columns: tuple[Column, ...], numbers: Any, texts: dict[int, Any]
) -> FeatureMatrix:
    """Frame numbers, shape (columns that are numbers, rows), and columns of texts by place."""
    names = [column.name for number, column in enumerate(columns) if number not in texts]
    X = pd.DataFrame(numbers.T, index=index, columns=names, copy=False)
    for number, values in texts.items():
        X.insert(number, columns[number].name, values)
    return FeatureMatrix(X, columns)


def feature_chunks(
    folded: FoldedWeeks,
    as_ofs: Any,
    rows: Any,
    *,
    features: tuple[Feature, ...] = FEATURES,
    known_by: Any = None,
    only: tuple[str, ...] | None = None,
) -> Iterator[FeatureMatrix]:
    """Build the features of snapshots a few thousand customers at a time.

    Together the same rows as `build_features`, for whoever cannot hold all of them at once.

    Parameters
    ----------
    folded, as_ofs, rows, features, known_by, only
        As for `build_features`.

    Yields
    ------
    FeatureMatrix
        All snapshots of some customers, ordered by as_of, then customer.
    """
    as_ofs = np.asarray(as_ofs, dtype=np.int64)
    for first, last, columns, chunk in _chunks(folded, as_ofs, rows, features, known_by, only):
        at, customer = np.nonzero(rows[:, first:last])
        index = pd.MultiIndex.from_arrays(
            [as_ofs[at], customer + first], names=["as_of", "customer"]
        )
        texts: dict[int, Any] = {}
        numbers = np.empty((len(columns), len(at)))
        for number, values in enumerate(chunk):
            if values.dtype.kind == "f":
                numbers[number - len(texts)] = values
            else:
                texts[number] = values
        yield _matrix(index, columns, numbers[: len(columns) - len(texts)], texts)


def _chunks(
    folded: FoldedWeeks,
    as_ofs: Any,
    rows: Any,
    features: tuple[Feature, ...],
    known_by: Any,
    only: tuple[str, ...] | None,
) -> Iterator[tuple[int, int, tuple[Column, ...], Iterable[Any]]]:
    """Compute every column for the kept pairs of a few customers: first, last, columns, values.

    Values come one by one: each is put in its place while it is at hand.
    """
    total = len(folded.customers)
    size = max(1, min(CHUNK_CUSTOMERS, CHUNK_SNAPSHOTS // max(len(as_ofs), 1)))
    columns: tuple[Column, ...] = ()
    for first in range(0, max(total, 1), size):
        last = min(first + size, total)
        history = History(folded.of_customers(first, last), as_ofs, known_by)
        keep = None if rows.all() else rows[:, first:last]
        made: dict[str, Any] = {}
        if not columns:
            columns, made = _columns(history, features, only, keep)
        chunk = (
            made[column.name] if column.name in made else _kept(_compute(column, history), keep)
            for column in columns
        )
        yield first, last, columns, chunk


def _kept(values: Any, keep: Any) -> Any:
    return values.reshape(-1) if keep is None else values[keep]


def _columns(
    history: History, features: tuple[Feature, ...], only: tuple[str, ...] | None, keep: Any
) -> tuple[tuple[Column, ...], dict[str, Any]]:
    """Lay out the columns whose tables were brought (or that a model asks for).

    Returns what had to be computed to find that out, too.
    """
    columns: list[Column] = []
    made: dict[str, Any] = {}
    for column in _named_apart(one for feature in features for one in feature.columns(history)):
        if only is not None:
            if column.name in only:
                columns.append(column)
            continue
        try:
            made[column.name] = _kept(_shaped(column.compute(history), history), keep)
        except Missing:
            continue
        columns.append(column)
    if only is not None:
        place = {name: at for at, name in enumerate(only)}
        columns.sort(key=lambda column: place[column.name])
    return tuple(columns), made


def _named_apart(columns: Iterable[Column]) -> Iterator[Column]:
    """Number names that occur again: product features may be called "csv" and "CSV"."""
    taken: set[str] = set()
    for column in columns:
        name, number = column.name, 1
        while name in taken:
            number += 1
            name = f"{column.name}_{number}"
        taken.add(name)
        yield column if name == column.name else replace(column, name=name)


def _compute(column: Column, history: History) -> Any:
    try:
        return _shaped(column.compute(history), history)
    except Missing:
        return np.full(history.shape, np.nan)


def _shaped(values: Any, history: History) -> Any:
    return np.broadcast_to(np.asarray(values), history.shape)


def load_own_features(path: Path | None) -> tuple[tuple[Feature, ...], str]:
    """Load a company's own features from a Python file that lists them in ``FEATURES``.

    Parameters
    ----------
    path
        The file named under ``features:`` in the configuration; none gives no features.

    Returns
    -------
    features : tuple of Feature
        As listed.
    fingerprint : str
        Hash of the file, part of what a model carries.
    """
    if path is None:
        return (), ""
    if not path.exists():
        raise ConfigError(f"features: {path} does not exist. Correct the path or remove the key.")
    spec = importlib.util.spec_from_file_location(f"own_features_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        own = tuple(module.FEATURES)
    except Exception as problem:
        raise ConfigError(
            f"features: {path} could not be used: {type(problem).__name__}: {problem}. It must "
            "define FEATURES, a tuple of functions decorated with retain.features.feature."
        ) from problem
    if not all(isinstance(one, Feature) for one in own):
        raise ConfigError(
            f"features: FEATURES of {path} holds something that is not a feature. Decorate each "
            "function with @feature(unit=..., signal=..., theme=...)."
        )
    return own, hashlib.sha256(path.read_bytes()).hexdigest()[:16]
