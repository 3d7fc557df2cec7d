"""LightGBM's saved text as arrays, and its rules of which way a row goes at a split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retain.errors import ModelMismatchError

__all__ = ["Forest", "Split", "Tree", "View", "goes_left", "read_forest", "seen"]

Floats = NDArray[np.float64]
ZERO = float(np.float32(1e-35))  # LightGBM takes anything this close to zero for zero
_CATEGORY, _DEFAULT_LEFT = 1, 2  # bits of its decision_type; the two above tell what is missing
_MISSING = ("number", "zero", "nan")


class View(NamedTuple):
    """A column as some splits see it.

    Parameters
    ----------
    feature
        Position of the column.
    kind
        ``number``: nan counts as 0. ``nan left``, ``nan right``: nan goes that way whatever the
        threshold. ``zero left``, ``zero right``: nan and 0 go that way. ``category``: a code.
    """

    feature: int
    kind: str


class Split(NamedTuple):
    """One question to a row, whether it goes left.

    Parameters
    ----------
    view
        What is looked at.
    threshold
        Rows up to and including it go left.
    left
        For a category, whether it goes left: shape (codes + 2,), the first place for what is no
        code, the last for all larger ones; None for numbers.
    """

    view: View
    threshold: float
    left: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Tree:
    """One tree; nodes and leaves are numbered as LightGBM numbers them.

    Parameters
    ----------
    splits
        Per node.
    children
        Per node its left and right child: a node, or the leaf ~child below zero.
    rows
        Per node the training rows that came by.
    values, leaf_rows
        Per leaf.
    """

    splits: tuple[Split, ...]
    children: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]
    values: tuple[float, ...]
    leaf_rows: tuple[int, ...]

    @property
    def expected(self) -> float:
        """Mean of the leaves over the training rows."""
        if not self.splits:
            return self.values[0]
        pairs = zip(self.values, self.leaf_rows, strict=True)
        return sum(rows / self.rows[0] * value for value, rows in pairs)


@dataclass(frozen=True)
class Forest:
    """A boosted model with one score per row.

    Parameters
    ----------
    features
        How many columns a row has.
    trees
        Whose values add up to the raw score. (Of a random forest, too: LightGBM divides by the
        number of trees only where it predicts.)
    """

    features: int
    trees: tuple[Tree, ...]


def read_forest(text: str) -> Forest:
    """Read LightGBM's text format.

    Parameters
    ----------
    text
        As `Booster.model_to_string` gives it.

    Raises
    ------
    ModelMismatchError
        When the model gives several scores per row (multiclass) or has linear models in its
        leaves: no SHAP values of trees are defined for those, and LightGBM gives none either.

    References
    ----------
    ``Tree::ToString`` and ``Tree::NumericalDecision`` / ``CategoricalDecision`` of LightGBM 4.
    """
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    told = _fields(head)
    scores = int(told["num_tree_per_iteration"])
    if scores > 1:
        raise ModelMismatchError(
            f"model: it gives {scores} scores per row (objective {told['objective']}); "
            "explanations are for models of one score. Train one model per class."
        )
    trees = tuple(_tree(_fields(block), number) for number, block in enumerate(blocks))
    return Forest(int(told["max_feature_idx"]) + 1, trees)


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _tree(told: dict[str, str], number: int) -> Tree:
    if told.get("is_linear", "0") != "0":
        raise ModelMismatchError(
            f"model: tree {number} has linear models in its leaves (linear_tree); SHAP values are "
            "defined for constant leaves only. Train with linear_tree=false."
        )

    def numbers(name: str, kind: Any) -> list[Any]:
        return [kind(one) for one in told[name].split()]

    values = tuple(numbers("leaf_value", float))
    if len(values) == 1:
        return Tree((), (), (), values, (1,))
    edges = words = []
    if int(told["num_cat"]):
        edges, words = numbers("cat_boundaries", int), numbers("cat_threshold", int)
    splits = []
    for feature, threshold, how in zip(
        numbers("split_feature", int),
        numbers("threshold", float),
        numbers("decision_type", int),
        strict=True,
    ):
        if how & _CATEGORY:
            first, last = edges[int(threshold)], edges[int(threshold) + 1]
            bits = np.array(words[first:last], dtype="<u4").view(np.uint8)
            left = np.unpackbits(bits, bitorder="little").astype(bool)
            splits.append(Split(View(feature, "category"), np.nan, np.pad(left, 1)))
            continue
        kind = _MISSING[how >> 2]
        if kind != "number":
            kind += " left" if how & _DEFAULT_LEFT else " right"
        splits.append(Split(View(feature, kind), threshold, None))
    return Tree(
        tuple(splits),
        tuple(zip(numbers("left_child", int), numbers("right_child", int), strict=True)),
        tuple(numbers("internal_count", int)),
        values,
        tuple(numbers("leaf_count", int)),
    )


def seen(view: View, column: Floats) -> Any:
    """Return a column as a view shows it: what is missing is moved to where it has to go.

    Parameters
    ----------
    view
        How to look.
    column
        Values as given, shape (rows,).

    Examples
    --------
    >>> column = np.array([np.nan, 0.0, 1e-36, -2.5])
    >>> seen(View(0, "nan left"), column), seen(View(0, "zero right"), column)
    (array([-inf,  0. ,  0. , -2.5]), array([ nan,  nan,  nan, -2.5]))
    >>> seen(View(0, "category"), np.array([np.nan, -1.0, -0.5, 0.0, 3.9]))
    array([0, 0, 1, 1, 4])
    """
    if view.kind == "category":
        known = np.where(column > -1.0, np.minimum(column, 2.0**31), -1.0)
        return np.trunc(known).astype(np.intp) + 1
    values = np.where(np.abs(column) <= ZERO, 0.0, column)
    what, _, way = view.kind.partition(" ")
    if what != "nan":
        values[np.isnan(values)] = 0.0
    if what != "number":
        missing = np.isnan(values) if what == "nan" else values == 0.0
        values[missing] = -np.inf if way == "left" else np.nan
    return values


def goes_left(split: Split, looked_at: Any, out: Any = None) -> NDArray[np.bool_]:
    """Say for every row whether it goes left.

    Parameters
    ----------
    split
        The question.
    looked_at
        The split's column as its view shows it, shape (rows,).
    out
        Where to write the answers.
    """
    if split.left is not None:
        return split.left.take(looked_at, out=out, mode="clip")
    return np.less_equal(looked_at, split.threshold, out=out)
