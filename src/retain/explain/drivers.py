"""The long table of drivers: for each customer the signals that matter, with their evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain.explain.sentences import describe_all
from retain.explain.shapley import Signals
from retain.features import Column

__all__ = ["Draft", "Peers", "Spoken", "draft_drivers", "peers_of", "tell_drivers"]

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


def peers_of(columns: Iterable[tuple[Any, Any]], group: Any) -> Peers:
    """Find the typical value of each column in each group; small groups fall back to everyone.

    Parameters
    ----------
    columns
        Name and values, shape (rows,), of each column, as `DataFrame.items` gives them.
    group
        Segment or plan of each row, None where not known.
    """
    codes, found = pd.factorize(
        np.array(["" if g is None or g != g else str(g) for g in group], dtype=object)
    )
    counts = np.bincount(codes, minlength=len(found))
    big = sorted(g for g, n in zip(found, counts, strict=True) if n >= LEAST_PEERS and g)
    names = np.array([g if g in set(big) else "" for g in found], dtype=object)[codes]
    rows = {one: np.flatnonzero(names == one) for one in big}
    typical: dict[Any, dict[str, Any]] = {one: {} for one in ("", *big)}
    for name, values in columns:
        column = pd.Series(values)
        typical[""][str(name)] = _typical(column)
        for one, mine in rows.items():
            typical[one][str(name)] = _typical(column.iloc[mine])
    return Peers(names, typical)


def _typical(column: pd.Series) -> Any:
    if pd.api.types.is_numeric_dtype(column):
        return float(column.median()) if column.notna().any() else float("nan")
    common = column.dropna().astype(str).mode()
    return str(common.iloc[0]) if len(common) else None


@dataclass(frozen=True)
class Spoken:
    """The drivers that one column speaks for: their places in the draft, and its values.

    Parameters
    ----------
    column
        Position of the column.
    at
        Places in the draft.
    now, then
        Its values today and four weeks earlier: floats; texts and None where it holds texts.
    level
        Position of the column that it is a change of, -1 where there is none.
    level_now, level_then
        That column's values.
    """

    column: int
    at: Any
    now: Any
    then: Any
    level: int = -1
    level_now: Any = None
    level_then: Any = None


@dataclass(frozen=True)
class Draft:
    """The strongest drivers of some customers, before it is known what is usual among others.

    Parameters
    ----------
    row
        Position of each driver's customer among these, by customer, then from the strongest down.
    rank
        Within its direction, 1 the strongest.
    points, before
        Contributions as shown now and a week ago.
    stability
        In [0, 1], nan where there are no refits.
    spoken
        Which column speaks for which drivers.
    """

    row: Any
    rank: Any
    points: Any
    before: Any
    stability: Any
    spoken: tuple[Spoken, ...]


def draft_drivers(
    signals: Signals,
    points: Any,
    points_before: Any,
    stability: Any,
    X: pd.DataFrame,
    earlier: pd.DataFrame,
    columns: Sequence[Column],
    raising: int = 5,
    lowering: int = 2,
    least: float = LEAST_POINTS,
) -> Draft:
    """Choose each customer's strongest drivers and note their evidence.

    Parameters
    ----------
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
    raising, lowering
        How many drivers of each direction to keep at most.
    least
        Smaller contributions are not listed.
    """
    points, before, stability = (np.asarray(v) for v in (points, points_before, stability))
    row, at, rank = _strongest(points, raising, lowering, least)
    amount = points[row, at]
    chosen = np.zeros(len(row), dtype=np.int64)
    for number, mine in _by_value(at):
        members = signals.members[number]
        pushes = signals.columns[row[mine][:, None], members] * np.sign(amount[mine])[:, None]
        chosen[mine] = np.array(members)[pushes.argmax(axis=1)]
    place = {column.name: number for number, column in enumerate(columns)}
    spoken = []
    for number, mine in _by_value(chosen):
        one, who = columns[number], row[mine]
        now, then = (_plain(frame[one.name].to_numpy()[who]) for frame in (X, earlier))
        level = place.get(one.of, -1) if one.of else -1
        if level < 0:
            spoken.append(Spoken(number, mine, now, then))
            continue
        name = columns[level].name
        beside = (_plain(frame[name].to_numpy()[who]) for frame in (X, earlier))
        spoken.append(Spoken(number, mine, now, then, level, *beside))
    return Draft(row, rank, amount, before[row, at], stability[row, at], tuple(spoken))


def tell_drivers(
    target: str,
    draft: Draft,
    columns: Sequence[Column],
    peers: Peers,
    ids: Any,
    currency: str,
) -> pd.DataFrame:
    """Tell drafted drivers beside what is usual among similar customers.

    Parameters
    ----------
    target
        ``churn`` or ``clv``.
    draft, columns
        As given by and to `draft_drivers`.
    peers
        What is usual among similar customers; its groups are those of the draft's customers.
    ids
        Customer ids, shape (rows,).
    currency
        Code shown with money.

    Returns
    -------
    DataFrame
        One row per customer and driver; contributions above zero raise the target.
    """
    chosen = np.zeros(len(draft.row), dtype=np.int64)
    told: dict[str, Any] = {
        name: np.full(len(chosen), None, dtype=object)
        for name in ("value", "earlier_value", "peer_value", "sentence")
    }
    groups, group = np.unique(peers.group, return_inverse=True)

    def usual_of(column: Column, at: Any) -> Any:
        usual = np.array([peers.typical[g].get(column.name) for g in groups], dtype=object)
        return _plain(usual)[group[draft.row[at]]]

    for one in draft.spoken:
        column, at = columns[one.column], one.at
        chosen[at] = one.column
        usual = usual_of(column, at)
        told["value"][at] = _as_texts(one.now)
        told["earlier_value"][at] = _as_texts(one.then)
        told["peer_value"][at] = _as_texts(usual)
        told["sentence"][at] = describe_all(column, one.now, one.then, usual, currency)
        if one.level >= 0:
            # a change is told as the level it is a change of, where that is known
            level, now, then = columns[one.level], one.level_now, one.level_then
            known = np.flatnonzero([text is not None for text in _as_texts(now)])
            usual = usual_of(level, at[known])
            sentences = describe_all(level, now[known], then[known], usual, currency)
            told["sentence"][at[known]] = sentences

    def said(what: Callable[[Column], Any], kind: Any = "str") -> Any:
        return pd.array([what(column) for column in columns], dtype=kind).take(chosen)

    return pd.DataFrame(
        {
            "customer_id": np.asarray(ids, dtype=object)[draft.row],
            "target": pd.array([target], dtype="str").take(np.zeros(len(chosen), dtype=int)),
            "rank": draft.rank,
            "theme": said(lambda column: column.feature.theme),
            "signal": said(lambda column: column.feature.signal),
            "feature": said(lambda column: column.name),
            "value": told["value"],
            "earlier_value": told["earlier_value"],
            "peer_value": told["peer_value"],
            "contribution": draft.points,
            "contribution_before": draft.before,
            "actionable": said(lambda column: column.feature.actionable, "bool"),
            "stability": draft.stability,
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
