"""Texts to whole numbers: rare and unseen categories share one code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import ModelMismatchError, some

__all__ = ["OTHER", "Encoder"]

OTHER = 0.0  # code of rare and unseen texts; nothing known is nan


@dataclass
class Encoder:
    """Turn a feature frame into a float matrix.

    Parameters
    ----------
    least_rows
        A text met in fewer rows is pooled with the unseen ones.

    Attributes
    ----------
    columns_ : list of str
        Columns kept, in order: those with one value only are left out.
    texts_ : dict
        Categorical column to its texts; the code of a text is its position plus one.

    Examples
    --------
    >>> frame = pd.DataFrame({"plan": ["basic", "pro", "basic", None], "n": [1.0, 2.0, 3.0, 4.0]})
    >>> Encoder(least_rows=2).fit(frame).transform(frame)
    array([[ 1.,  1.],
           [ 0.,  2.],
           [ 1.,  3.],
           [nan,  4.]])
    """

    least_rows: int = 20
    columns_: list[str] = field(default_factory=list)
    texts_: dict[str, list[str]] = field(default_factory=dict)

    def fit(self, X: pd.DataFrame) -> Encoder:
        """Learn the categories and which columns say anything."""
        self.columns_, self.texts_ = [], {}
        for name in X.columns:
            column = X[name]
            if _is_text(column):
                counts = column.dropna().astype(str).value_counts()
                common = sorted(counts.index[counts >= self.least_rows])
                if not common:
                    continue
                self.texts_[name] = common
            elif column.nunique(dropna=False) < 2:
                continue
            self.columns_.append(str(name))
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return a float array of shape (rows, columns kept).

        Raises
        ------
        ModelMismatchError
            When columns are missing; lists what was found beside what was expected.
        """
        missing = [name for name in self.columns_ if name not in X.columns]
        if missing:
            unexpected = [name for name in X.columns if name not in self.columns_]
            raise ModelMismatchError(
                f"features differ from the model's: missing {some(missing)}; not known to the "
                f"model: {some(unexpected)}. Bring the tables that the model was trained with, or "
                "train again."
            )
        out = np.empty((len(X), len(self.columns_)))
        for at, name in enumerate(self.columns_):
            if name in self.texts_:
                codes = {text: no + 1.0 for no, text in enumerate(self.texts_[name])}
                out[:, at] = [
                    np.nan if value is None or value != value else codes.get(str(value), OTHER)
                    for value in X[name].to_numpy(dtype=object)
                ]
            else:
                out[:, at] = X[name].to_numpy(dtype=np.float64)
        return out

    @property
    def categorical(self) -> list[int]:
        """Positions of the categorical columns."""
        return [at for at, name in enumerate(self.columns_) if name in self.texts_]

    def positions(self, names: list[str]) -> list[int]:
        """Positions of those of some columns that are kept."""
        return [at for at, name in enumerate(self.columns_) if name in names]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs."""
        return {"least_rows": self.least_rows, "columns": self.columns_, "texts": self.texts_}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Encoder:
        """Rebuild a fitted encoder."""
        return cls(saved["least_rows"], list(saved["columns"]), dict(saved["texts"]))


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column)
