"""A logistic regression given a fair chance: heavy tails tamed, holes marked, penalty chosen."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retain.baselines.labels import labels_of
from retain.errors import ModelMismatchError, RetainError, some

__all__ = ["LogisticBaseline", "Splits", "fit_logistic"]

Floats = npt.NDArray[np.float64]
Splits = Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]

_CLIP = 8.0  # standard deviations a signed-log feature may be away from its mean
_RARE = 10  # categories seen less often than this share the coefficient "none of these"
_SEARCH_ROWS = 20_000
_STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class LogisticBaseline:
    """A fitted logistic regression with its own preparation of the features.

    Attributes
    ----------
    feature_names
        Columns of the training frame, in order.
    terms
        What each coefficient belongs to: ``"name"``, ``"name is missing"`` or ``"name = code"``.
    coefficients
        Log-odds per standard deviation of each term, shape (n_terms,).
    intercept
        Log-odds at the mean of all terms.
    C
        Inverse strength of the penalty, chosen on held-out rows.
    """

    feature_names: tuple[str, ...]
    terms: tuple[str, ...]
    coefficients: Floats
    intercept: float
    C: float
    _preparation: _Preparation = field(repr=False)

    def decision_function(self, X: pd.DataFrame) -> Floats:
        """Give the log-odds of churn.

        Parameters
        ----------
        X
            Features, one row per snapshot; columns in any order.

        Returns
        -------
        ndarray of shape (n_snapshots,)
            Higher means more likely to churn.

        Raises
        ------
        ModelMismatchError
            When columns are missing or unknown; both are listed.
        """
        _refuse_other_columns(X, self.feature_names)
        return self._preparation.apply(X) @ self.coefficients + self.intercept

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Give the probability to stay and to churn.

        Parameters
        ----------
        X
            Features, one row per snapshot; columns in any order.

        Returns
        -------
        ndarray of shape (n_snapshots, 2)
            As scikit-learn orders them; not calibrated further.
        """
        from scipy.special import expit

        churn = expit(self.decision_function(X))
        return np.column_stack([1.0 - churn, churn])


def fit_logistic(
    X: pd.DataFrame,
    y: npt.ArrayLike,
    *,
    categorical: Sequence[str] = (),
    splits: Splits | None = None,
    groups: npt.ArrayLike | None = None,
    C: Sequence[float] = _STRENGTHS,
    seed: int = 0,
) -> LogisticBaseline:
    """Fit a strong regularised logistic regression on the model's own features.

    Parameters
    ----------
    X
        Features, one row per snapshot, all numbers or booleans; nan where unknown.
    y
        1 or True where the customer churned, shape (n_snapshots,).
    categorical
        Columns that hold integer codes of categories; one-hot encoded. Codes seen fewer than ten
        times, or not at all in training, get no coefficient.
    splits
        (train, validate) row positions on which `C` is chosen; give forward splits with a purge.
        `None` means three folds.
    groups
        One label per snapshot, for example the customer id, kept together in the three folds.
    C
        Inverse penalty strengths to choose from; the smallest log loss wins, the stronger penalty
        among equals.
    seed
        For the folds and for the 20,000 rows at most that the choice of `C` looks at.

    Returns
    -------
    LogisticBaseline
        Fitted on all rows with the `C` found.

    Raises
    ------
    RetainError
        When the labels are of one class, or `X` has no usable column.

    Notes
    -----
    Numbers are scaled by their median absolute value, taken to the inverse hyperbolic sine (a log
    with a sign and a zero), missing values set to the median, then standardised and bounded at
    eight standard deviations. Each distinct pattern of missing values adds one indicator.

    Examples
    --------
    >>> X = pd.DataFrame({"weeks_since_use": range(40)})
    >>> fitted = fit_logistic(X, X["weeks_since_use"] > 20)
    >>> bool(fitted.predict_proba(X)[39, 1] > 0.9)
    True
    """
    churned = labels_of(y, len(X), "logistic regression")
    unknown = [name for name in categorical if name not in X.columns]
    if unknown:
        raise RetainError(
            f"logistic regression: categorical columns {some(unknown)} are not among the "
            f"{X.shape[1]} features. Name columns of X."
        )
    preparation = _Preparation.learn(X, tuple(categorical))
    if not preparation.terms:
        raise RetainError(
            f"logistic regression: none of {X.shape[1]} features varies. "
            "Give at least one feature with two different values."
        )
    Z = preparation.apply(X)
    strengths = sorted(float(c) for c in C)
    best = strengths[0]
    if len(strengths) > 1:
        losses = np.zeros(len(strengths))
        for train, validate in _splits(churned, splits, groups, seed):
            losses += _path_losses(Z, churned, train, validate, strengths)
        best = strengths[int(np.argmin(losses.round(12)))]
    fitted = _logistic(best)
    _fit_quietly(fitted, Z, churned)
    return LogisticBaseline(
        feature_names=tuple(str(name) for name in X.columns),
        terms=preparation.terms,
        coefficients=np.asarray(fitted.coef_[0], dtype=float),
        intercept=float(fitted.intercept_[0]),
        C=best,
        _preparation=preparation,
    )


@dataclass(frozen=True)
class _Preparation:
    """How raw features become standardised terms; learnt in training only."""

    numbers: tuple[str, ...]
    scales: Floats
    medians: Floats
    holes: tuple[str, ...]
    categories: tuple[tuple[str, tuple[float, ...]], ...]
    terms: tuple[str, ...]
    kept: npt.NDArray[np.intp]
    means: Floats
    deviations: Floats

    @classmethod
    def learn(cls, X: pd.DataFrame, categorical: tuple[str, ...]) -> _Preparation:
        """Learn scales, medians, patterns of holes and categories from training rows."""
        numbers = tuple(str(name) for name in X.columns if name not in categorical)
        values = _floats(X, numbers)
        missing = np.isnan(values)
        scales, medians = np.ones(len(numbers)), np.zeros(len(numbers))
        for i in range(len(numbers)):
            known = values[~missing[:, i], i]
            sizes = np.abs(known[known != 0.0])
            scales[i] = np.median(sizes) if sizes.size else 1.0
            medians[i] = np.median(known) if known.size else 0.0
        patterns: dict[bytes, str] = {}
        for i, name in enumerate(numbers):
            if missing[:, i].any():
                patterns.setdefault(np.packbits(missing[:, i]).tobytes(), name)
        categories = []
        for name in categorical:
            codes, counts = np.unique(_floats(X, (name,))[:, 0], return_counts=True)
            often = codes[(counts >= min(_RARE, len(X) // 4)) & ~np.isnan(codes)]
            categories.append((name, tuple(float(code) for code in often)))
        holes = tuple(patterns.values())
        terms = (
            *numbers,
            *(f"{name} is missing" for name in holes),
            *(f"{name} = {code:g}" for name, codes in categories for code in codes),
        )
        raw = cls(
            numbers=numbers,
            scales=scales,
            medians=medians,
            holes=holes,
            categories=tuple(categories),
            terms=terms,
            kept=np.arange(len(terms)),
            means=np.zeros(len(terms)),
            deviations=np.ones(len(terms)),
        )
        Z = raw._spread(X)
        kept = np.flatnonzero(Z.std(axis=0) > 1e-12)
        return cls(
            **{
                **raw.__dict__,
                "terms": tuple(terms[i] for i in kept),
                "kept": kept,
                "means": Z[:, kept].mean(axis=0),
                "deviations": Z[:, kept].std(axis=0),
            }
        )

    def apply(self, X: pd.DataFrame) -> Floats:
        """Give the standardised terms, shape (n_snapshots, n_terms)."""
        Z = (self._spread(X)[:, self.kept] - self.means) / self.deviations
        return np.clip(Z, -_CLIP, _CLIP, out=Z)

    def _spread(self, X: pd.DataFrame) -> Floats:
        """Give all terms before standardisation."""
        values = _floats(X, self.numbers)
        filled = np.where(np.isnan(values), self.medians, values)
        columns = [np.arcsinh(filled / self.scales)]
        columns += [X[[name]].isna().to_numpy(dtype=float) for name in self.holes]
        for name, codes in self.categories:
            columns.append((_floats(X, (name,)) == np.asarray(codes)[None, :]).astype(float))
        return np.hstack(columns)


def _floats(X: pd.DataFrame, names: tuple[str, ...]) -> Floats:
    """Give columns as floats with nan; infinite values are refused."""
    try:
        values = X[list(names)].to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as trouble:
        words = [name for name in names if not pd.api.types.is_numeric_dtype(X[name])]
        raise RetainError(
            f"logistic regression: columns {some(words)} are not numbers. "
            "Encode categories as integer codes and name them in `categorical`."
        ) from trouble
    if np.isinf(values).any():
        endless = [name for i, name in enumerate(names) if np.isinf(values[:, i]).any()]
        raise RetainError(
            f"logistic regression: infinite values in {some(endless)}. Use nan for the unknown."
        )
    return values


def _splits(
    churned: Floats, splits: Splits | None, groups: npt.ArrayLike | None, seed: int
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Give the (train, validate) positions on which C is chosen, thinned where they are many."""
    rng = np.random.default_rng(seed)

    def thin(rows: Any) -> npt.NDArray[np.intp]:
        positions = np.asarray(rows)
        positions = np.flatnonzero(positions) if positions.dtype == bool else positions
        if len(positions) > _SEARCH_ROWS:
            positions = np.sort(rng.choice(positions, _SEARCH_ROWS, replace=False))
        return positions.astype(np.intp)

    if splits is not None:
        pairs = [(thin(train), thin(validate)) for train, validate in splits]
    else:
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        rows = thin(np.arange(len(churned)))
        some_of = churned[rows]
        smaller = int(min(some_of.sum(), len(some_of) - some_of.sum()))
        if smaller < 2:
            return []
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        together = None if groups is None else np.asarray(groups)[rows]
        if together is not None and len(np.unique(together)) < 3:
            kind, together = StratifiedKFold, None
        folds = kind(n_splits=min(3, smaller), shuffle=True, random_state=seed)
        pairs = [(rows[a], rows[b]) for a, b in folds.split(rows, some_of, together)]
    return [(a, b) for a, b in pairs if 0 < churned[a].sum() < len(a) and len(b)]


def _path_losses(
    Z: Floats,
    churned: Floats,
    train: npt.NDArray[np.intp],
    validate: npt.NDArray[np.intp],
    strengths: Sequence[float],
) -> Floats:
    """Give the total log loss on held-out rows for each C, each fit starting from the last."""
    signs = 2.0 * churned[validate] - 1.0
    losses = np.zeros(len(strengths))
    model = _logistic(strengths[0])
    for i, strength in enumerate(strengths):
        model.set_params(C=strength)
        _fit_quietly(model, Z[train], churned[train])
        losses[i] = np.logaddexp(0.0, -signs * model.decision_function(Z[validate])).sum()
    return losses


def _logistic(strength: float) -> Any:
    """Give an unfitted ridge logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=500, warm_start=True)


def _fit_quietly(model: Any, Z: Floats, churned: Floats) -> None:
    """Fit; a last digit that has not settled is no news for a baseline."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(Z, churned)


def _refuse_other_columns(X: pd.DataFrame, expected: tuple[str, ...]) -> None:
    """Raise with both lists when the columns are not those of training."""
    given = [str(name) for name in X.columns]
    missing = [name for name in expected if name not in set(given)]
    unexpected = [name for name in given if name not in set(expected)]
    if missing or unexpected:
        raise ModelMismatchError(
            f"logistic regression: {len(missing)} features of training are missing "
            f"({some(missing)}) and {len(unexpected)} are unexpected ({some(unexpected)}). "
            "Build the same features as in training."
        )
