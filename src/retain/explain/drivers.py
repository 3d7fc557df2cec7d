"""The long table of drivers: for each customer the signals that matter, with their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain.explain.sentences import describe
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
    points, before = np.asarray(points), np.asarray(points_before)
    place = {column.name: at for at, column in enumerate(columns)}
    values = {column.name: X[column.name].to_numpy(dtype=object) for column in columns}
    past = {column.name: earlier[column.name].to_numpy(dtype=object) for column in columns}
    rows: list[tuple[Any, ...]] = []
    order = np.argsort(-np.abs(points), axis=1, kind="stable")
    for row in range(len(points)):
        usual = peers.typical[peers.group[row]]
        up = down = 0
        for at in order[row]:
            amount = points[row, at]
            if abs(amount) < least or (up >= raising and down >= lowering):
                break
            if amount > 0:
                if up >= raising:
                    continue
                up += 1
                rank = up
            else:
                if down >= lowering:
                    continue
                down += 1
                rank = down
            members = signals.members[at]
            pushes = signals.columns[row, list(members)] * np.sign(amount)
            column = columns[members[int(np.argmax(pushes))]]
            name = column.name
            level = None
            if column.of in place:
                other = columns[place[column.of]]
                level = (
                    other,
                    _plain(values[other.name][row]),
                    _plain(past[other.name][row]),
                    usual.get(other.name),
                )
            now, then, peer = _plain(values[name][row]), _plain(past[name][row]), usual.get(name)
            rows.append(
                (
                    ids[row],
                    target,
                    rank,
                    column.feature.theme,
                    column.feature.signal,
                    name,
                    _as_text(now),
                    _as_text(then),
                    _as_text(peer),
                    float(amount),
                    float(before[row, at]),
                    column.feature.actionable,
                    float(stability[row, at]),
                    describe(column, now, then, peer, currency, level),
                )
            )
    return pd.DataFrame(
        rows,
        columns=[
            "customer_id",
            "target",
            "rank",
            "theme",
            "signal",
            "feature",
            "value",
            "earlier_value",
            "peer_value",
            "contribution",
            "contribution_before",
            "actionable",
            "stability",
            "sentence",
        ],
    )


def _plain(value: Any) -> Any:
    """Numbers as floats, texts as texts, nothing as nan."""
    if value is None:
        return float("nan")
    return value if isinstance(value, str) else float(value)


def _as_text(value: Any) -> str | None:
    """One column for numbers and texts alike: exact text, null when not known."""
    if value is None or value != value:
        return None
    return value if isinstance(value, str) else repr(round(float(value), 6))
