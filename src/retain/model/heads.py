"""The LightGBM heads behind the scikit-learn contract."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from retain.model.calibration import expit

__all__ = ["ChurnHead", "ClvHead", "MeanHead", "log_level"]

Floats = NDArray[np.float64]


class _BoostedTrees(BaseEstimator):
    """What the heads share: parameters, the booster, contributions."""

    def __init__(
        self,
        *,
        rounds: int = 150,
        learning_rate: float = 0.05,
        num_leaves: int = 8,
        max_depth: int = 4,
        min_child_samples: int = 50,
        l2: float = 10.0,
        feature_share: float = 0.5,
        row_share: float = 0.7,
        categorical: Any = (),
        seed: int = 0,
    ) -> None:
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.l2 = l2
        self.feature_share = feature_share
        self.row_share = row_share
        self.categorical = categorical
        self.seed = seed

    def _objective(self) -> dict[str, Any]:
        raise NotImplementedError

    def _train(self, X: Any, y: Any, valid: Any = None, offset: Any = None) -> Any:
        """Grow the trees; with `offset` (of X, and third in `valid`) on top of a score given."""
        import lightgbm as lgb

        parameters = {
            **self._objective(),
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "max_depth": self.max_depth,
            "min_data_in_leaf": self.min_child_samples,
            "lambda_l2": self.l2,
            "feature_fraction": self.feature_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "cat_smooth": 50.0,
            "verbosity": -1,
            # bit-equal models from equal data, whatever the machine is doing
            "deterministic": True,
            "force_col_wise": True,
            "seed": self.seed,
        }
        data = lgb.Dataset(
            X,
            np.asarray(y, dtype=np.float64),
            categorical_feature=list(self.categorical) or "auto",
            init_score=offset,
            free_raw_data=True,
        )
        record: dict[str, Any] = {}
        if valid is None:
            return lgb.train(parameters, data, self.rounds), record
        held_out = lgb.Dataset(
            valid[0],
            np.asarray(valid[1], dtype=np.float64),
            init_score=valid[2] if len(valid) > 2 else None,
            reference=data,
        )
        booster = lgb.train(
            parameters,
            data,
            self.rounds,
            valid_sets=[held_out],
            callbacks=[lgb.record_evaluation(record)],
        )
        return booster, record

    def raw_score(self, X: Any) -> Floats:
        """Return the additive score before any link: log-odds, or log of currency."""
        check_is_fitted(self, "booster_")
        if getattr(X, "shape", (1,))[0] == 0:  # a portion of customers in which nobody is there yet
            return np.zeros(0)
        X = validate_data(self, X, reset=False, ensure_all_finite=False, dtype=np.float64)
        return np.asarray(self.booster_.predict(X, raw_score=True))

    def contributions(self, X: Any) -> Floats:
        """Return exact TreeSHAP values of the raw score, by LightGBM's own method.

        For many rows `retain.explain.TreeShap` gives the same values at a small part of the cost.

        Returns
        -------
        array of shape (rows, columns + 1)
            One column per feature, the base value last; each row adds up to `raw_score`.
        """
        check_is_fitted(self, "booster_")
        X = validate_data(self, X, reset=False, ensure_all_finite=False, dtype=np.float64)
        return np.asarray(self.booster_.predict(X, pred_contrib=True))

    def to_text(self) -> str:
        """Return the booster in LightGBM's own text format."""
        check_is_fitted(self, "booster_")
        return str(self.booster_.model_to_string(num_iteration=-1))

    def from_text(self, text: str, features: int) -> Self:
        """Take over a booster saved with `to_text`."""
        import lightgbm as lgb

        self.booster_ = lgb.Booster(model_str=text)
        self.n_features_in_ = features
        return self

    def __sklearn_tags__(self) -> Any:
        """Say that missing values are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class ChurnHead(ClassifierMixin, _BoostedTrees):
    """LightGBM classifier of leaving; probabilities as learnt, see `LogitCalibrator` for the page.

    Parameters
    ----------
    rounds, learning_rate, num_leaves, max_depth, min_child_samples, l2, feature_share, row_share
        Settings of the boosted trees.
    categorical
        Positions of columns that hold codes of categories.
    seed
        Same seed and data, same bytes.
    """

    def _objective(self) -> dict[str, Any]:
        return {"objective": "binary"}

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from X of shape (rows, columns) and two classes y."""
        X, y = validate_data(self, X, y, ensure_all_finite=False, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is multiclass."
            )
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds 1 class only ({self.classes_[0]!r}); two are needed to tell them apart."
            )
        self.booster_, _ = self._train(X, codes)
        return self

    def decision_function(self, X: Any) -> Floats:
        """Return log-odds of the second class, shape (rows,)."""
        return self.raw_score(X)

    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities of both classes, shape (rows, 2)."""
        p = expit(self.raw_score(X))
        return np.column_stack([1.0 - p, p])

    def predict(self, X: Any) -> Any:
        """Return the likelier class of each row."""
        check_is_fitted(self, "booster_")
        return self.classes_[(self.raw_score(X) > 0).astype(int)]

    def __sklearn_tags__(self) -> Any:
        """Say that there are two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class ClvHead(RegressorMixin, _BoostedTrees):
    """LightGBM Tweedie regressor of money: many zeros, a long tail, never below zero.

    Parameters
    ----------
    variance_power
        Between 1 (Poisson) and 2 (gamma).
    rounds, learning_rate, num_leaves, max_depth, min_child_samples, l2, feature_share, row_share
        Settings of the boosted trees.
    categorical
        Positions of columns that hold codes of categories.
    seed
        Same seed and data, same bytes.
    """

    def __init__(
        self,
        *,
        variance_power: float = 1.2,
        rounds: int = 150,
        learning_rate: float = 0.05,
        num_leaves: int = 8,
        max_depth: int = 4,
        min_child_samples: int = 50,
        l2: float = 10.0,
        feature_share: float = 0.5,
        row_share: float = 0.7,
        categorical: Any = (),
        seed: int = 0,
    ) -> None:
        super().__init__(
            rounds=rounds,
            learning_rate=learning_rate,
            num_leaves=num_leaves,
            max_depth=max_depth,
            min_child_samples=min_child_samples,
            l2=l2,
            feature_share=feature_share,
            row_share=row_share,
            categorical=categorical,
            seed=seed,
        )
        self.variance_power = variance_power

    level_ = 0.0  # where the trees hold it, or a factor beside a head that was loaded

    def _objective(self) -> dict[str, Any]:
        return {"objective": "tweedie", "tweedie_variance_power": self.variance_power}

    def fit(self, X: Any, y: Any, log_share: Any = None) -> Self:
        """Learn from X of shape (rows, columns) and amounts y; losses count as zero.

        With `log_share`, shape (rows,), amounts are `exp(raw_score + level_ + log_share)`: what
        the head learns is the amount that a whole share brings.
        """
        X, y = validate_data(
            self,
            X,
            y,
            ensure_all_finite=False,
            dtype=np.float64,
            y_numeric=True,
            ensure_min_samples=2,
        )
        y = np.maximum(y, 0.0)
        if log_share is None:
            self.booster_, _ = self._train(X, y)
        else:
            self.level_ = log_level(y, log_share)
            self.booster_, _ = self._train(X, y, offset=self.level_ + log_share)
        return self

    def add_up(self, X: Any, y: Any, log_share: Any) -> Self:
        """Set the level so that what was learnt from adds up, once `fit` with a share.

        Trees that are held back pull large amounts down by more than they lift small ones.
        """
        self.level_ = log_level(np.maximum(y, 0.0), log_share + self.raw_score(X))
        return self

    def predict(self, X: Any) -> Floats:
        """Return the amounts that a whole share is expected to bring, shape (rows,)."""
        return np.exp(self.raw_score(X) + self.level_)

    def __sklearn_tags__(self) -> Any:
        """Say that amounts are meant, which are not below zero."""
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags


def log_level(y: Any, log_share: Any) -> float:
    """Return the log of the amount that a whole share brings on average."""
    return float(np.log(np.sum(y) / np.sum(np.exp(log_share))))


class MeanHead(RegressorMixin, _BoostedTrees):
    """LightGBM regressor of a mean, of whatever sign: what an outcome is on average, given X.

    Parameters
    ----------
    rounds, learning_rate, num_leaves, max_depth, min_child_samples, l2, feature_share, row_share
        Settings of the boosted trees.
    categorical
        Positions of columns that hold codes of categories.
    seed
        Same seed and data, same bytes.
    """

    def _objective(self) -> dict[str, Any]:
        return {"objective": "regression"}

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from X of shape (rows, columns) and numbers y."""
        X, y = validate_data(
            self,
            X,
            y,
            ensure_all_finite=False,
            dtype=np.float64,
            y_numeric=True,
            ensure_min_samples=2,
        )
        self.booster_, _ = self._train(X, y)
        return self

    def predict(self, X: Any) -> Floats:
        """Return expected values, shape (rows,)."""
        return self.raw_score(X)
