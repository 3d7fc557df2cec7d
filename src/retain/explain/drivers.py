"""The long table of drivers: for each customer the signals that matter, with their evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain.explain.sentences import describe_all
from retain.explain.shapley import Signals
from retain.features import Column

__all__ = ["Peers", "driver_table", "peers_of"]

LEAST_PEERS = 30
LEAST_POINTS = 0.0005  # half of a tenth of a percentage point: below, nobody would see it


@dataclass(frozen=True)
class Peers:
    """What is usual among similar customers.

    Parameters
    ----------
    group
        Group of each customer, shape (rows,).
    typical
        Per group the median (or most frequent text) of every column.
    """

    group: Any
    typical: dict[Any, dict[str, Any]]


def peers_of(X: pd.DataFrame, group: Any) -> Peers:
    """Find the typical value of each column in each group; small groups fall back to everyone.

    Parameters
    ----------
    X
        Features, shape (rows, columns).
    group
        Segment or plan of each row, None where not known.
    """
    names = np.array(["" if g is None or g != g else str(g) for g in group], dtype=object)
    found, counts = np.unique(names, return_counts=True)
    big = {str(g) for g, n in zip(found, counts, strict=True) if n >= LEAST_PEERS and g}
    names = np.array([g if g in big else "" for g in names], dtype=object)
    typical: dict[Any, dict[str, Any]] = {"": _typical(X)}
    for one in sorted(big):
        typical[one] = _typical(X[names == one])
    return Peers(names, typical)


def _typical(X: pd.DataFrame) -> dict[str, Any]:
    usual: dict[str, Any] = {}
    for name in X.columns:
        column = X[name]
        if pd.api.types.is_numeric_dtype(column):
            usual[str(name)] = float(column.median()) if column.notna().any() else float("nan")
        else:
            common = column.dropna().astype(str).mode()
            usual[str(name)] = str(common.iloc[0]) if len(common) else None
    return usual


def driver_table(
    target: str,
    signals: Signals,
    points: Any,
    points_before: Any,
    stability: Any,
    X: pd.DataFrame,
    earlier: pd.DataFrame,
    columns: Sequence[Column],
    peers: Peers,
    ids: Any,
    currency: str,
    raising: int = 5,
    lowering: int = 2,
    least: float = LEAST_POINTS,
) -> pd.DataFrame:
    """List each customer's strongest drivers.

    Parameters
    ----------
    target
        ``churn`` or ``clv``.
    signals
        Contributions to the raw score: they choose the column that speaks for its signal.
    points, points_before
        Contributions as shown now and a week ago, shape (rows, signals).
    stability
        As from `stability_of`, shape (rows, signals).
    X, earlier
        Features now and four weeks earlier, same rows and columns.
    columns
        What the columns of `X` mean.
    peers
        What is usual among similar customers.
    ids
        Customer ids, shape (rows,).
    currency
        Code shown with money.
    raising, lowering
        How many drivers of each direction to keep at most.
    least
        Smaller contributions are not listed.

    Returns
    -------
    DataFrame
        One row per customer and driver; contributions above zero raise the target.
    """
    points, before, stability = (np.asarray(v) for v in (points, points_before, stability))
    row, at, rank = _strongest(points, raising, lowering, least)
    amount = points[row, at]
    chosen = np.zeros(len(row), dtype=np.int64)
    for number, mine in _by_value(at):
        members = signals.members[number]
        pushes = signals.columns[row[mine][:, None], members] * np.sign(amount[mine])[:, None]
        chosen[mine] = np.array(members)[pushes.argmax(axis=1)]
    evidence = _Evidence(X, earlier, peers, columns)
    told: dict[str, Any] = {
        name: np.full(len(row), None, dtype=object)
        for name in ("value", "earlier_value", "peer_value", "sentence")
    }
    for number, mine in _by_value(chosen):
        column, who = columns[number], row[mine]
        now, then, usual = evidence.of(column, who)
        told["value"][mine] = _as_texts(now)
        told["earlier_value"][mine] = _as_texts(then)
        told["peer_value"][mine] = _as_texts(usual)
        told["sentence"][mine] = describe_all(column, now, then, usual, currency)
        if (level := evidence.level_of(column)) is not None:
            # a change is told as the level it is a change of, where that is known
            now, then, usual = evidence.of(level, who)
            known = np.flatnonzero([text is not None for text in _as_texts(now)])
            sentences = describe_all(level, now[known], then[known], usual[known], currency)
            told["sentence"][mine[known]] = sentences

    def said(what: Callable[[Column], Any], kind: Any = "str") -> Any:
        return pd.array([what(column) for column in columns], dtype=kind).take(chosen)

    return pd.DataFrame(
        {
            "customer_id": np.asarray(ids, dtype=object)[row],
            "target": pd.array([target], dtype="str").take(np.zeros(len(row), dtype=int)),
            "rank": rank,
            "theme": said(lambda column: column.feature.theme),
            "signal": said(lambda column: column.feature.signal),
            "feature": said(lambda column: column.name),
            "value": told["value"],
            "earlier_value": told["earlier_value"],
            "peer_value": told["peer_value"],
            "contribution": amount,
            "contribution_before": before[row, at],
            "actionable": said(lambda column: column.feature.actionable, "bool"),
            "stability": stability[row, at],
            "sentence": told["sentence"],
        }
    )


def _strongest(points: Any, raising: int, lowering: int, least: float) -> tuple[Any, Any, Any]:
    """Row, signal and rank of the drivers to list: by row, then from the strongest down."""
    order = np.argsort(-np.abs(points), axis=1, kind="stable")
    amount = np.take_along_axis(points, order, axis=1)
    seen = np.abs(amount) >= least
    up, down = seen & (amount > 0), seen & ~(amount > 0)
    rank = np.where(up, np.cumsum(up, axis=1), np.cumsum(down, axis=1))
    row, place = np.nonzero((up & (rank <= raising)) | (down & (rank <= lowering)))
    return row, order[row, place], rank[row, place]


def _by_value(codes: Any) -> Iterator[tuple[int, Any]]:
    """Each code that occurs, with its places."""
    order = np.argsort(codes, kind="stable")
    edges = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for first, last in zip(edges, [*edges[1:], len(codes)], strict=False):
        yield int(codes[order[first]]), order[first:last]


class _Evidence:
    """The values that stand beside a driver: now, earlier, among peers."""

    def __init__(
        self, X: pd.DataFrame, earlier: pd.DataFrame, peers: Peers, columns: Sequence[Column]
    ) -> None:
        self._now, self._then, self._peers = X, earlier, peers
        self._columns = {column.name: column for column in columns}
        self._groups, self._group = np.unique(peers.group, return_inverse=True)

    def level_of(self, column: Column) -> Column | None:
        """Return the column that this one is a change of, where the model has it."""
        return self._columns.get(column.of) if column.of else None

    def of(self, column: Column, rows: Any) -> tuple[Any, Any, Any]:
        """Return the three values for some rows, shape (rows,) each."""
        name = column.name
        usual = np.array([self._peers.typical[g].get(name) for g in self._groups], dtype=object)
        return (
            _plain(self._now[name].to_numpy()[rows]),
            _plain(self._then[name].to_numpy()[rows]),
            _plain(usual)[self._group[rows]],
        )


def _plain(values: Any) -> Any:
    """Floats; where there are texts, texts and None."""
    if values.dtype != object:
        return values.astype(np.float64)
    if not any(isinstance(value, str) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    told = [None if value is None or value != value else str(value) for value in values]
    return np.array(told, dtype=object)


def _as_texts(values: Any) -> Any:
    """One column for numbers and texts alike: exact text, null when not known."""
    if values.dtype == object:
        return values
    found, at = np.unique(values, return_inverse=True)
    told = np.full(len(found), None, dtype=object)
    known = ~np.isnan(found)
    told[known] = [repr(round(number, 6) + 0.0) for number in found[known].tolist()]
    return told[at]
