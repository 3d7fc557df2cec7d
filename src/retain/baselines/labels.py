"""When labels can be learnt from: zeros and ones, both present, one per snapshot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retain.errors import RetainError, some

__all__ = ["labels_of"]

Floats = npt.NDArray[np.float64]


def labels_of(y: npt.ArrayLike, rows: int, who: str) -> Floats:
    """Give the labels as 0.0 and 1.0, or say why they cannot be learnt from.

    Parameters
    ----------
    y
        Labels, 0/1 or bool.
    rows
        How many there should be.
    who
        Who asks, for the message.

    Returns
    -------
    ndarray of shape (rows,)
        Zeros and ones, both present.

    Raises
    ------
    RetainError
        When a label is neither 0 nor 1, their number is wrong, or all are alike.
    """
    labels = np.asarray(y, dtype=float)
    if labels.shape != (rows,):
        raise RetainError(
            f"{who}: {labels.shape} labels for {rows} snapshots. Give one label per row of X."
        )
    if not np.isin(labels, (0.0, 1.0)).all():
        odd = labels[~np.isin(labels, (0.0, 1.0))]
        raise RetainError(
            f"{who}: {len(odd)} labels are neither 0 nor 1 ({some(odd)}). "
            "Leave snapshots without a ripe label out."
        )
    if not 0 < labels.sum() < len(labels):
        raise RetainError(
            f"{who}: all {len(labels)} labels are {'1' if labels.any() else '0'}; both staying and "
            "leaving customers are needed. Widen the training period or the horizon."
        )
    return labels
