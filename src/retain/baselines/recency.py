"""The rule of thumb: nothing for t weeks, so gone; as a rule and as a probability."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from retain.baselines.labels import labels_of
from retain.errors import ModelMismatchError, RetainError, some

__all__ = ["RecencyRule"]

Floats = npt.NDArray[np.float64]

_BEHAVIOUR = "use|usage|login|activity|event|visit|purchase|order|payment|contact"
_SINCE = re.compile(rf"^(days|weeks)_since_(last_|any_)?({_BEHAVIOUR})$")
_TILT = 1e-6  # share of the strictly increasing part that keeps the ordering on plateaus


class RecencyRule:
    """No behaviour for t weeks means gone: the rule a spreadsheet would use.

    Parameters
    ----------
    columns
        Recency columns in order of preference. `None` means those named after behaviour, such as
        ``days_since_last_use`` or ``weeks_since_purchase`` (a downgrade or a survey is none), in
        the order of the frame. The first that has any value in training is used, alone.
    days_per_unit
        Days in one unit of the column. `None` means 7 when its name speaks of weeks, else 1.

    Attributes
    ----------
    column_ : str
        The recency column in use.
    longest_ : float
        Recency in days given to a missing value (never any behaviour): one day more than the
        longest in training.
    recencies_, rates_ : ndarray
        Recency in days and isotonic (non-falling) frequency of churn in training there.

    Notes
    -----
    `predict_proba` joins the isotonic frequencies by straight lines and tilts plateaus by one
    millionth, so its ordering *is* the recency ordering: equal recency, equal probability, longer
    recency, higher probability. AUC with averaged ties is that of recency itself.

    Examples
    --------
    >>> X = pd.DataFrame({"days_since_use": [1.0, 2.0, 30.0, 60.0]})
    >>> rule = RecencyRule().fit(X, [0, 0, 1, 1])
    >>> rule.leaves(X, weeks=4).tolist()
    [False, False, True, True]
    >>> rule.predict_proba(X)[:, 1].round(3).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """

    def __init__(
        self, columns: Sequence[str] | None = None, *, days_per_unit: float | None = None
    ) -> None:
        self.columns = columns
        self.days_per_unit = days_per_unit

    def fit(self, X: pd.DataFrame, y: npt.ArrayLike) -> Self:
        """Learn how often customers of each recency churn.

        Parameters
        ----------
        X
            Features, one row per snapshot; only the recency column is read.
        y
            1 or True where the customer churned, shape (n_snapshots,).

        Returns
        -------
        RecencyRule
            Itself.

        Raises
        ------
        RetainError
            When no recency column has a value, or the labels are of one class.
        """
        from sklearn.isotonic import IsotonicRegression

        churned = labels_of(y, len(X), "recency rule")
        wanted = (
            list(self.columns)
            if self.columns is not None
            else [str(name) for name in X.columns if _SINCE.search(str(name))]
        )
        alive = [name for name in wanted if name in X.columns and X[name].notna().any()]
        if not alive:
            raise RetainError(
                f"recency rule: no recency column with a value; looked for {some(wanted)} among "
                f"{X.shape[1]} features. Name a column of days or weeks since the last behaviour."
            )
        self.column_ = alive[0]
        self.longest_ = float(np.nanmax(self._days(X))) + 1.0
        days = self.decision_function(X)
        self.recencies_, where, counts = np.unique(days, return_inverse=True, return_counts=True)
        share = np.bincount(where.ravel(), weights=churned) / counts
        self.rates_ = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(
            self.recencies_, share, sample_weight=counts
        )
        return self

    def decision_function(self, X: pd.DataFrame) -> Floats:
        """Give the recency itself, in days; missing counts as longer than any seen in training.

        Parameters
        ----------
        X
            Features, one row per snapshot.

        Returns
        -------
        ndarray of shape (n_snapshots,)
            Days, higher means more likely gone.
        """
        if self.column_ not in X.columns:
            raise ModelMismatchError(
                f"recency rule: learnt from {self.column_!r}, which is not among the "
                f"{X.shape[1]} features given. Build the same features as in training."
            )
        days = self._days(X)
        return np.where(np.isnan(days), self.longest_, days)

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Give the training frequency of churn at each recency.

        Parameters
        ----------
        X
            Features, one row per snapshot.

        Returns
        -------
        ndarray of shape (n_snapshots, 2)
            Probability to stay and to churn, as scikit-learn orders them.
        """
        days = self.decision_function(X)
        tilt = np.maximum(days, 0.0) / (1.0 + np.maximum(days, 0.0))
        churn = (1.0 - _TILT) * np.interp(days, self.recencies_, self.rates_) + _TILT * tilt
        return np.column_stack([1.0 - churn, churn])

    def leaves(self, X: pd.DataFrame, weeks: float) -> npt.NDArray[np.bool_]:
        """Say who is taken to leave: at least `weeks` weeks without behaviour.

        Parameters
        ----------
        X
            Features, one row per snapshot.
        weeks
            The threshold.

        Returns
        -------
        ndarray of bool of shape (n_snapshots,)
            True where the rule says gone.
        """
        return self.decision_function(X) >= 7.0 * weeks

    def family(
        self, X: pd.DataFrame, y: npt.ArrayLike, weeks: Sequence[float] = (1, 2, 4, 8, 13, 26, 52)
    ) -> pd.DataFrame:
        """Judge the rule at several thresholds.

        Parameters
        ----------
        X, y
            Snapshots and what became of them.
        weeks
            Thresholds.

        Returns
        -------
        DataFrame
            One row per threshold: `weeks`, `flagged_share` (of all), `precision` (churners among
            the flagged; nan when nobody is flagged) and `recall` (flagged among the churners).
        """
        churned = labels_of(y, len(X), "recency rule")
        rows = []
        for threshold in weeks:
            flagged = self.leaves(X, threshold)
            hits = float(churned[flagged].sum())
            rows.append(
                {
                    "weeks": float(threshold),
                    "flagged_share": float(flagged.mean()),
                    "precision": hits / flagged.sum() if flagged.any() else np.nan,
                    "recall": hits / churned.sum(),
                }
            )
        return pd.DataFrame(rows)

    def _days(self, X: pd.DataFrame) -> Floats:
        """Read the recency column in days."""
        unit = self.days_per_unit
        if unit is None:
            unit = 7.0 if "week" in self.column_ else 1.0
        return X[self.column_].to_numpy(dtype=float, na_value=np.nan) * unit
