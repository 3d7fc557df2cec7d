"""A score that people made up, taken at its word: how often customers of each score have left."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retain.baselines.labels import labels_of

__all__ = ["rates_by_score"]

Floats = npt.NDArray[np.float64]


def rates_by_score(score_train: npt.ArrayLike, y: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
    """Turn scores of health into probabilities of leaving, never rising with the score.

    Parameters
    ----------
    score_train
        Scores of the snapshots learnt from, higher is healthier, nan where not known, shape (n,).
    y
        1 or True where the customer left, shape (n,).
    score
        Scores to turn into probabilities, shape (m,).

    Returns
    -------
    ndarray of shape (m,)
        Isotonic frequencies of leaving, joined by straight lines; where the score is not known,
        the frequency among those for whom it was not known, or among all.

    Raises
    ------
    RetainError
        When the labels are of one class.

    Examples
    --------
    >>> rates_by_score([10, 10, 90, 90], [1, 0, 0, 0], [10, 50, 90, np.nan]).tolist()
    [0.5, 0.25, 0.0, 0.25]
    """
    from sklearn.isotonic import IsotonicRegression

    seen, asked = np.asarray(score_train, dtype=float), np.asarray(score, dtype=float)
    left = labels_of(y, len(seen), "health score")
    known = ~np.isnan(seen)
    unknown = float(left[~known].mean() if (~known).any() else left.mean())
    out, has_one = np.full(len(asked), unknown), ~np.isnan(asked)
    if not known.any() or not has_one.any():
        return out
    rates = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(seen[known], left[known])
    out[has_one] = rates.predict(asked[has_one])
    return out
