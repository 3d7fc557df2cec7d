"""Exact TreeSHAP of LightGBM models for many rows: look-ups in tables made once per model.

Take one leaf, of value v, and let feature j count as b_j = 1 where a row meets all conditions on j
along the leaf's path, else 0, and r_j be the share of training rows that those conditions let
through. A coalition S expects v prod_{S} b_i prod_{not S} r_i of that leaf; its Shapley values are

    phi_j = v (b_j - r_j) sum_S w_|S| prod_{S} b_i prod_{not S} r_i
          = v (b_j - r_j) int_0^1 prod_{i != j} (t b_i + (1 - t) r_i) dt,

the usual weights w_k = k! (d - 1 - k)! / d! being the integrals of t^k (1 - t)^(d - 1 - k). The
integrand is a polynomial of degree d - 1 in t: ceil(d / 2) Gauss-Legendre points are exact, and as
every term is positive nothing cancels.

Hence a row's SHAP values depend on nothing but its answers to the splits. Leaves that lie side by
side share most of their splits: a run of leaves whose paths meet k splits has one table of
(features x 2^k) values, and a block of rows costs one look-up per run and feature.

References
----------
Lundberg, Erion, Lee (2018), Consistent individualized feature attribution for tree ensembles, and
Lundberg et al. (2020), From local explanations to global understanding with explainable AI for
trees: path-dependent TreeSHAP, which is what is computed. Yang (2021), Fast TreeSHAP: values by
pattern of answers, made once per model. Yu, Xu, Bifet, Read (2022), Linear TreeShap: a leaf's
values by a polynomial.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.explain.trees import Tree, View, goes_left, read_forest, seen

__all__ = ["TreeShap"]

Floats = NDArray[np.float64]
SPLITS = 10  # of one run: tables of 2^10 lie in the first-level cache
FEATURES = 12  # of one leaf: the table of a path that asks more would outgrow any cache
TABLE_BYTES = 2**30
ROWS = 8192  # of one block: its columns and sums lie in the last-level cache
LOOK_UP, ANSWER, RUN = 0.8, 0.2, 1.0  # measured costs, relative to each other

Conditions = tuple[tuple[int, bool], ...]  # nodes, with whether a row has to go left there


@dataclass(frozen=True)
class _Leaf:
    """A leaf with the conditions and the share of training rows let through, per feature."""

    value: float
    nodes: int  # of the path, as bits
    conditions: dict[int, Conditions]
    shares: dict[int, float]


@dataclass(frozen=True)
class _Tables:
    """What to look up for one tree.

    Parameters
    ----------
    tree
        Whose splits are asked.
    runs
        Per run of leaves its questions: the pattern of answers is the place in its tables.
    looked_up
        Per feature the runs that it occurs in, each with its values by pattern of answers.
    """

    tree: Tree
    runs: tuple[tuple[Conditions, ...], ...]
    looked_up: tuple[tuple[int, tuple[tuple[int, Floats], ...]], ...]


class TreeShap:
    """SHAP values of a LightGBM model.

    Parameters
    ----------
    booster
        A LightGBM booster that gives one score per row.

    Attributes
    ----------
    base : float
        Expected raw score over the training rows.
    fallback_because : str
        Why LightGBM's own, slower method is used; empty where tables are: paths that ask about more
        than `FEATURES` features, tables beyond `TABLE_BYTES`, or leaves that no training row
        reached. The values are the same either way.

    Raises
    ------
    ModelMismatchError
        For multiclass models and for linear models in the leaves.

    Notes
    -----
    Missing values, zeros, categories (unseen, negative, fractional), infinite values and values on
    a threshold go the way they go in LightGBM. Sums are taken row by row in a fixed order: blocks
    and threads do not change a bit of the result. Tables of 200 trees of depth 6 take some 30 MB,
    of depth 8 some 85 MB; each thread needs two blocks of `ROWS` x features.
    """

    def __init__(self, booster: Any) -> None:
        forest = read_forest(booster.model_to_string())
        self.features = forest.features
        self.base = sum(tree.expected for tree in forest.trees)
        self._booster = booster
        self._views: tuple[View, ...] = ()
        self._trees: tuple[_Tables, ...] = ()
        trees = [tree for tree in forest.trees if tree.splits]
        cuts = [list(_cut(_leaves(tree))) for tree in trees]
        self.fallback_because = _too_much(cuts)
        if not self.fallback_because:
            self._views = tuple({split.view: 0 for tree in trees for split in tree.splits})
            self._trees = tuple(_tables(*one) for one in zip(trees, cuts, strict=True))

    def __call__(self, X: Any, threads: int | None = None) -> Floats:
        """Explain rows.

        Parameters
        ----------
        X
            Numbers of shape (rows, features).
        threads
            How many cores to use; default: all.

        Returns
        -------
        array of shape (rows, features + 1)
            In units of the raw score, the base last: each row adds up to the raw score.

        Examples
        --------
        >>> import lightgbm
        >>> X, y = np.array([[0.0, 7.0], [1.0, 7.0]] * 20), np.array([1.0, 3.0] * 20)
        >>> stump = {"verbosity": -1, "min_data_in_bin": 1, "learning_rate": 1.0}
        >>> booster = lightgbm.train(stump, lightgbm.Dataset(X, y), 1)
        >>> TreeShap(booster)(X[:2]).round(6).tolist()
        [[-1.0, 0.0, 2.0], [1.0, 0.0, 2.0]]
        """
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.features:
            raise ValueError(f"X has shape {X.shape}, expected (rows, {self.features})")
        if self.fallback_because and len(X):
            return np.asarray(self._booster.predict(X, pred_contrib=True))
        out = np.empty((len(X), self.features + 1))
        out[:, -1] = self.base

        def explain(first: int) -> None:
            block = slice(first, first + ROWS)
            out[block, :-1] = self._explain(X[block]).T

        starts = range(0, len(X), ROWS)
        with ThreadPoolExecutor(min(threads or os.cpu_count() or 1, max(len(starts), 1))) as pool:
            list(pool.map(explain, starts))
        return out

    def _explain(self, X: Any) -> Floats:
        """SHAP values of one block, shape (features, rows)."""
        rows = len(X)
        columns = {view: seen(view, X[:, view.feature].astype(np.float64)) for view in self._views}
        out = np.zeros((self.features, rows))
        most = max((len(one.tree.splits) for one in self._trees), default=0)
        left = np.empty((most, rows), dtype=bool)
        found, total = np.empty(rows), np.empty(rows)
        for one in self._trees:
            for node, split in enumerate(one.tree.splits):
                goes_left(split, columns[split.view], out=left[node])
            answers = left[: len(one.tree.splits)].astype(np.uint16)
            patterns = [_pattern(questions, answers) for questions in one.runs]
            # mode="clip" spares take() a second pass over the patterns, which are always in range
            for feature, ((run, values), *others) in one.looked_up:
                values.take(patterns[run], out=total, mode="clip")
                for run, values in others:
                    values.take(patterns[run], out=found, mode="clip")
                    np.add(total, found, out=total)
                np.add(out[feature], total, out=out[feature])
        return out


def _pattern(questions: tuple[Conditions, ...], answers: Any) -> Any:
    """Each row's answers as one number, the first question its highest bit."""
    pattern = np.zeros(answers.shape[1], dtype=np.uint16)
    for question in questions:
        pattern += pattern
        pattern += _met(question, answers)
    return pattern.astype(np.intp)


def _met(conditions: Conditions, answers: Any) -> Any:
    """1 where all conditions are met, else 0."""
    node, left = conditions[0]
    met = answers[node] if left else 1 - answers[node]
    for node, left in conditions[1:]:
        met = met & (answers[node] if left else 1 - answers[node])
    return met


def _leaves(tree: Tree) -> list[_Leaf]:
    """Leaves from left to right."""
    found = []
    waiting: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(0, ())] if tree.splits else []
    while waiting:
        place, path = waiting.pop()
        if place >= 0:
            left, right = tree.children[place]
            waiting += [(right, (*path, (place, False))), (left, (*path, (place, True)))]
            continue
        conditions: dict[int, Conditions] = {}
        shares: dict[int, float] = {}
        below = [node for node, _ in path[1:]] + [place]
        for (node, left), child in zip(path, below, strict=True):
            feature = tree.splits[node].view.feature
            rows = tree.rows[child] if child >= 0 else tree.leaf_rows[~child]
            conditions[feature] = (*conditions.get(feature, ()), (node, left))
            shares[feature] = shares.get(feature, 1.0) * (rows / tree.rows[node])
        nodes = sum(1 << node for node, _ in path)
        found.append(_Leaf(tree.values[~place], nodes, conditions, shares))
    return found


def _cut(leaves: list[_Leaf]) -> Iterator[list[_Leaf]]:
    """Cut leaves into runs of at most `SPLITS` splits so that look-ups cost least.

    Dynamic programming from left to right: the cheapest way to cut the first n leaves ends in some
    run, before which the cut is the cheapest one, too.
    """
    features = [sum(1 << feature for feature in leaf.shares) for leaf in leaves]
    cost, begin = [0.0], [0]
    for end in range(1, len(leaves) + 1):
        nodes = told = 0
        best, start = np.inf, end
        for first in range(end - 1, -1, -1):
            nodes |= leaves[first].nodes
            told |= features[first]
            asked = nodes.bit_count()
            if asked > SPLITS and first < end - 1:
                break
            here = cost[first] + LOOK_UP * told.bit_count() + ANSWER * asked + RUN
            if here < best:
                best, start = here, first
        cost.append(best)
        begin.append(start)
    end = len(leaves)
    while end:
        yield leaves[begin[end] : end]
        end = begin[end]


def _questions(leaves: list[_Leaf]) -> tuple[Conditions, ...]:
    """List what a run asks: its splits, or of one long path all conditions on a feature at once."""
    nodes = leaves[0].nodes
    for leaf in leaves[1:]:
        nodes |= leaf.nodes
    if nodes.bit_count() > SPLITS:
        return tuple(leaves[0].conditions.values())
    return tuple(((node, True),) for node in range(nodes.bit_length()) if nodes >> node & 1)


def _too_much(cuts: list[list[list[_Leaf]]]) -> str:
    """Say why tables cannot be used; empty where they can."""
    leaves = [leaf for cut in cuts for run in cut for leaf in run]
    most = max((len(leaf.shares) for leaf in leaves), default=0)
    if most > FEATURES:
        return f"a path asks about {most} features; tables are made for up to {FEATURES}"
    if any(not min(leaf.shares.values()) > 0.0 for leaf in leaves):
        return "no training row reached some of the leaves"
    size = sum(
        8 * len({feature for leaf in run for feature in leaf.shares}) << len(_questions(run))
        for cut in cuts
        for run in cut
    )
    if size > TABLE_BYTES:
        return f"tables would take {size:,} bytes; at most {TABLE_BYTES:,} are made"
    return ""


def _tables(tree: Tree, cut: list[list[_Leaf]]) -> _Tables:
    held: dict[int, list[tuple[int, Floats]]] = {}
    runs = tuple(_questions(leaves) for leaves in cut)
    for number, (leaves, questions) in enumerate(zip(cut, runs, strict=True)):
        for feature, values in _values_by_pattern(leaves, questions).items():
            held.setdefault(feature, []).append((number, values))
    return _Tables(tree, runs, tuple((feature, tuple(where)) for feature, where in held.items()))


def _values_by_pattern(leaves: list[_Leaf], questions: tuple[Conditions, ...]) -> dict[int, Floats]:
    """Per feature the SHAP values that a run of leaves gives, shape (2^questions,) each."""
    bit = {asked: 1 << at for at, asked in enumerate(reversed(questions))}
    features = sorted({feature for leaf in leaves for feature in leaf.shares})
    place = {feature: at for at, feature in enumerate(features)}
    # shorter paths are filled up with a feature that lets everyone through: it changes nothing
    shape = (len(leaves), max(len(leaf.shares) for leaf in leaves))
    shares, at = np.ones(shape), np.full(shape, len(features))
    asked, wanted = np.zeros((2, *shape), dtype=np.int16)
    for no, leaf in enumerate(leaves):
        for j, (feature, conditions) in enumerate(leaf.conditions.items()):
            shares[no, j], at[no, j] = leaf.shares[feature], place[feature]
            if conditions in bit:
                asked[no, j] = wanted[no, j] = bit[conditions]
                continue
            asked[no, j] = sum(bit[(node, True),] for node, _ in conditions)
            wanted[no, j] = sum(bit[(node, True),] for node, left in conditions if left)
    patterns = np.arange(1 << len(questions), dtype=np.int16)
    met = (patterns & asked[:, :, None]) == wanted[:, :, None]
    which = (met << np.arange(shape[1], dtype=np.int16)[:, None]).sum(axis=1, dtype=np.intp)
    parts = _leaf_values(np.array([leaf.value for leaf in leaves]), shares)
    values = np.zeros((len(features) + 1, len(patterns)))
    for no in range(len(leaves)):
        values[at[no]] += parts[no].take(which[no], axis=1)
    return dict(zip(features, values[:-1], strict=True))


def _leaf_values(value: Floats, shares: Floats) -> Floats:
    """SHAP values of leaves by pattern of features met.

    Parameters
    ----------
    value
        Of each leaf, shape (leaves,).
    shares
        Of the training rows that the conditions on a feature let through, shape (leaves, d).

    Returns
    -------
    array of shape (leaves, d, 2^d)
    """
    d = shares.shape[1]
    met = np.arange(1 << d) >> np.arange(d)[:, None] & 1
    points, weights = _gauss_legendre((d + 1) // 2)
    share = shares[:, :, None]
    out = np.zeros((len(value), d, 1 << d))
    for t, weight in zip(points, weights, strict=True):
        terms = t * met + (1.0 - t) * share
        out += weight * terms.prod(axis=1, keepdims=True) / terms
    return value[:, None, None] * (met - share) * out


@lru_cache(maxsize=16)
def _gauss_legendre(count: int) -> tuple[Floats, Floats]:
    """Points and weights on [0, 1]: exact for polynomials of degree 2 count - 1."""
    points, weights = np.polynomial.legendre.leggauss(count)
    return (points + 1.0) / 2.0, weights / 2.0
