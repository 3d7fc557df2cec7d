"""Columns of a plain frame that are too good to be true: each alone, and in one model of all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retain.errors import RetainError, some
from retain.evaluate import area_under_curve
from retain.leaks.suspect import Suspect, auc_low, gravest_first, with_leave
from retain.leaks.words import is_model_output, is_outcome

__all__ = ["find_leaks"]

Floats = NDArray[np.float64]
TOO_GOOD = 0.90  # AUC that one honest column is not known to reach; peers report .68 to .85
GOOD = 0.80  # enough for a column whose very name tells
TOGETHER = 0.95  # so good is taken for a leak until it is shown not to be one
LEAST_OF_A_CLASS = 10  # customers of either kind without which nothing is said
MOST_ROWS = 20_000
FOLDS = 5
BINS = 32
PURE = 0.99  # a value counts as pure when so many of its rows went one way ...
PURE_ROWS = 20  # ... and it has so many
HALF = 0.5
PRIOR = 2.0  # rows of the mean that steady the rate of a value
CONCENTRATED = 0.5  # share of a model's gain in one column
LOST_WITHOUT = 0.15  # AUC that goes with it
MOSTLY = 0.9
CONTRADICTING = 0.01  # share of rows
TODO = (
    "Find out when it is written. If after the outcome, leave it out; if it is truly known before, "
    "allow it by name (leaks.allow)."
)


def find_leaks(
    X: pd.DataFrame,
    y: Any,
    *,
    who: Any = None,
    allow: Iterable[str] = (),
    by_name: bool = True,
    together: bool = True,
    seed: int = 0,
) -> tuple[Suspect, ...]:
    """Find the columns of a frame that give the outcome away; no dates are needed.

    Parameters
    ----------
    X
        One row per customer (or snapshot); numbers, flags and texts, missing allowed. Column names
        are text.
    y
        1 for those who left, 0 for those who stayed, shape (rows,).
    who
        Customer of each row where customers have several; default: every row is another.
    allow
        Columns known to be honest: found all the same, but only as advice.
    by_name
        Whether names count (`churn_reason`, `ltv`): as a warning, and as an error from a lower AUC.
    together
        Whether to fit a model of all columns as well, to see how much it leans on one.
    seed
        Of the rows drawn from a long frame and of the folds.

    Returns
    -------
    tuple of Suspect
        One per column at most, errors first. ``evidence`` holds the AUC alone (out of fold) and its
        lower bound at this size, the share of those who left that have a value which nobody who
        stayed has, and where a model of all columns leans on one, its share of the gain.

    Raises
    ------
    RetainError
        When `y` is not 0 and 1, is missing somewhere, or does not fit `X`.

    Notes
    -----
    A column alone is judged by the out-of-fold rate of leaving of each of its values (numbers in 32
    bins, missing as a value of its own), so that ids and free text come out at .5. It is an error
    from a lower 99 % bound of .90, or .80 when its name speaks of leaving or of another model's
    score. Fewer than 10 customers of either kind: nothing is said.

    Examples
    --------
    >>> X = pd.DataFrame({"age": [30, 50] * 50, "reason": ["price"] * 30 + [None] * 70})
    >>> found = find_leaks(X, [1] * 30 + [0] * 70)
    >>> [(one.where, one.severity, one.evidence["auc_alone"]) for one in found]
    [('reason', 'error', 1.0)]
    """
    outcome = _outcome(X, y)
    people = pd.factorize(np.arange(len(X)) if who is None else np.asarray(who))[0]
    frame, outcome, people = _drawn(X, outcome, people, seed)
    left = len(np.unique(people[outcome == 1]))
    stayed = len(np.unique(people[outcome == 0]))
    if min(left, stayed) < LEAST_OF_A_CLASS:
        return ()
    fold = np.random.default_rng(seed).permutation(people.max() + 1)[people] % FOLDS
    looks = {str(name): _Look.at(frame.iloc[:, at], outcome, fold) for at, name in enumerate(frame)}
    found = {
        name: one
        for name, look in looks.items()
        if (one := _judged(name, look, left, stayed, by_name)) is not None
    }
    honest = [name for name in looks if name not in found or found[name].severity != "error"]
    if together:
        for one in _leaning(looks, honest, outcome, fold, left, stayed, seed):
            found.setdefault(one.where, one)
    if who is None:
        found |= {one.where: one for one in _contradictions(X, np.asarray(y, float))}
    return with_leave(gravest_first(found.values()), allow)


@dataclass(frozen=True)
class _Look:
    """One column as the check sees it.

    Parameters
    ----------
    codes
        Number of each row's value or bin, missing among them.
    names
        What each number stands for.
    is_number
        Whether the values have an order.
    auc
        Of the out-of-fold rates of leaving.
    rows, gone
        Rows, and rows of those who left, by number.
    """

    codes: NDArray[np.int64]
    names: list[str]
    is_number: bool
    auc: float
    rows: Floats
    gone: Floats

    @classmethod
    def at(cls, column: pd.Series[Any], y: Floats, fold: NDArray[np.int64]) -> _Look:
        codes, names, is_number = _levels(column)
        total, mean = len(names), float(y.mean())
        rows, gone = np.bincount(codes, minlength=total), np.bincount(codes, y, total)
        rate = np.empty(len(y))
        for one in range(FOLDS):
            held = fold == one
            n = rows - np.bincount(codes[held], minlength=total)
            g = gone - np.bincount(codes[held], y[held], total)
            rate[held] = ((g + PRIOR * mean) / (n + PRIOR))[codes[held]]
        auc = area_under_curve(y, rate) if total > 1 else HALF
        return cls(
            codes, names, is_number, auc, rows.astype(np.float64), np.asarray(gone, np.float64)
        )

    @property
    def pure_share(self) -> float:
        """Share of those who left that have a value (nearly) nobody who stayed has."""
        pure = (self.rows >= PURE_ROWS) & (self.gone >= PURE * self.rows)
        return float(self.gone[pure].sum() / self.gone.sum())

    def told(self) -> str:
        """Describe the values that tell most, in numbers."""
        big = self.rows >= PURE_ROWS
        share = self.gone / np.maximum(self.rows, 1.0)
        parts = []
        for is_pure, words in (
            (big & (share >= PURE), "left"),
            (big & (share <= 1.0 - PURE), "stayed"),
        ):
            if is_pure.any():
                n = int(self.rows[is_pure].sum())
                parts.append(f"{n:,} rows with {self._named(is_pure)} {words}")
        return "; ".join(parts)

    def _named(self, chosen: NDArray[np.bool_]) -> str:
        at = np.flatnonzero(chosen)
        if self.is_number and len(at) > 2:
            return f"{self.names[at[0]]} ... {self.names[at[-1]]}"
        return some([self.names[one] for one in at[np.argsort(-self.rows[at], kind="stable")]], 3)


def _levels(column: pd.Series[Any]) -> tuple[NDArray[np.int64], list[str], bool]:
    """Give numbers to values: figures in bins, texts as they are, missing as one of its own."""
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.astype("int64").where(column.notna()).astype("float64")
    values = pd.to_numeric(column, errors="coerce") if _is_number(column) else None
    if values is None:
        codes, texts = pd.factorize(column.astype(object).where(column.notna(), None))
        names = [repr(str(one)) for one in texts]
    else:
        plain = values.to_numpy(dtype=np.float64, na_value=np.nan)
        known = plain[~np.isnan(plain)]
        uniques = np.unique(known)
        if len(uniques) > BINS:
            edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
            codes = np.searchsorted(edges, plain, side="right")
            codes[np.isnan(plain)] = -1
            low, high = np.r_[known.min(), edges], np.r_[edges, known.max()]
            names = [f"{a:.6g} to {b:.6g}" for a, b in zip(low, high, strict=True)]
        else:
            codes = np.searchsorted(uniques, plain)
            codes[np.isnan(plain)] = -1
            names = [f"{one:.6g}" for one in uniques]
    codes = codes.astype(np.int64)
    if (codes < 0).any():
        codes[codes < 0] = len(names)
        names = [*names, "nothing"]
    return codes, names, values is not None


def _is_number(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_numeric_dtype(column):  # flags too
        return True
    known = column.dropna()
    if not len(known):
        return False
    # a column of figures with a few blanks or words in it is one of figures
    return bool(pd.to_numeric(known, errors="coerce").notna().mean() >= MOSTLY)


def _judged(name: str, look: _Look, left: int, stayed: int, by_name: bool) -> Suspect | None:
    """Accuse a column, or let it go."""
    low = auc_low(look.auc, left, stayed)
    telling = by_name and is_outcome(name)
    modelled = by_name and is_model_output(name)
    evidence = {
        "auc_alone": round(look.auc, 4),
        "auc_at_least": round(low, 4),
        "left_with_values_of_leavers_only": round(look.pure_share, 4),
    }
    rows = int(look.rows.sum())
    numbers = f"alone it ranks leavers above stayers with AUC {look.auc:.3f} (at least {low:.3f})"
    if look.pure_share >= HALF:
        numbers += f"; {look.pure_share:.0%} of those who left have values that nobody else has"
    if told := look.told():
        numbers += f"; {told}"
    if low >= TOO_GOOD or (look.pure_share >= HALF and low >= GOOD):
        return Suspect(
            name, "too good to be true", "error", rows, _sentence(numbers), evidence, TODO
        )
    if (telling or modelled) and low >= GOOD:
        why = "its name speaks of leaving" if telling else "its name is that of a model's output"
        numbers = f"{why}, and {numbers}"
        return Suspect(
            name, "named after the outcome", "error", rows, _sentence(numbers), evidence, TODO
        )
    if telling or modelled:
        why = (
            "its name speaks of leaving"
            if telling
            else "its name is that of a figure worked out from customers' whole lives"
        )
        numbers = f"{why}; {numbers}, so the numbers alone do not convict it"
        return Suspect(
            name, "named after the outcome", "warning", rows, _sentence(numbers), evidence, TODO
        )
    return None


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _leaning(
    looks: dict[str, _Look],
    names: list[str],
    y: Floats,
    fold: NDArray[np.int64],
    left: int,
    stayed: int,
    seed: int,
) -> Iterator[Suspect]:
    """Fit one model of the columns that are left: too good, or leaning on one of them."""
    names = [name for name in names if 1 < len(looks[name].names) <= len(y) / 2]
    if not names:
        return
    auc, gain = _fitted(np.column_stack([looks[name].codes for name in names]), y, fold, seed)
    low = auc_low(auc, left, stayed)
    top = int(gain.argmax())
    share = float(gain[top] / max(gain.sum(), 1e-12))
    if low < GOOD or len(names) < 2:
        return
    if share >= CONCENTRATED:
        others = [looks[name].codes for at, name in enumerate(names) if at != top]
        without, _ = _fitted(np.column_stack(others), y, fold, seed)
        if auc - without >= LOST_WITHOUT:
            told = (
                f"A model of {len(names)} columns owes {share:.0%} of its gain to it: AUC "
                f"{auc:.3f} with it, {without:.3f} without."
            )
            evidence = {"gain_share": round(share, 4), "auc_with": round(auc, 4)}
            evidence["auc_without"] = round(without, 4)
            yield Suspect(
                names[top], "importance in one column", "warning", len(y), told, evidence, TODO
            )
            return
    if low >= TOGETHER:
        strongest = some([names[at] for at in np.argsort(-gain, kind="stable")[:3]])
        yield Suspect(
            "all columns together",
            "too good to be true",
            "warning",
            len(y),
            f"No column alone, but {len(names)} together reach AUC {auc:.3f} (at least {low:.3f}); "
            f"the strongest are {strongest}.",
            {"auc_with": round(auc, 4), "auc_at_least": round(low, 4)},
            "Look at the strongest: when is each of them written?",
        )


def _fitted(X: Any, y: Floats, fold: NDArray[np.int64], seed: int) -> tuple[float, Floats]:
    """Out-of-fold AUC and gain by column; two folds are enough for a suspicion."""
    from retain.model import default_lightgbm  # `retain check` does without

    half = fold % 2 == 0
    p, gain = np.empty(len(y)), np.zeros(X.shape[1])
    for held in (half, ~half):
        model = default_lightgbm(X[~held], y[~held], seed)
        p[held] = model.predict_proba(X[held])[:, 1]
        gain += model.booster_.feature_importance("gain")
    return area_under_curve(y, p), gain


def _contradictions(X: pd.DataFrame, y: Floats) -> Iterator[Suspect]:
    """Find rows that are alike in every column and differ in the outcome."""
    groups = pd.Series(y).groupby(pd.util.hash_pandas_object(X, index=False).to_numpy())
    n = int(groups.transform("nunique").gt(1).sum())
    if n >= CONTRADICTING * len(y):
        share = n / len(y)
        yield Suspect(
            "the outcome",
            "labels contradict each other",
            "warning",
            n,
            f"{n:,} rows ({share:.0%}) equal another row in every column but not in the outcome.",
            {"share": round(share, 4)},
            "Look for repeated customers whose label changed, or for a column that is missing.",
        )


def _outcome(X: pd.DataFrame, y: Any) -> Floats:
    """Read the outcome, refusing what is not 0 and 1."""
    values = pd.to_numeric(pd.Series(np.asarray(y).ravel()), errors="coerce")
    plain = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if len(plain) != len(X):
        raise RetainError(f"leaks: X has {len(X):,} rows and y {len(plain):,}. Give one y per row.")
    odd = ~np.isin(plain, (0.0, 1.0))
    if odd.any():
        found = some(pd.unique(pd.Series(np.asarray(y).ravel()[odd])))
        raise RetainError(
            f"leaks: {int(odd.sum()):,} of {len(plain):,} values of y are neither 0 nor 1 (found "
            f"{found}); expected 1 for those who left, 0 for those who stayed. Translate them."
        )
    return plain


def _drawn(
    X: pd.DataFrame, y: Floats, people: NDArray[np.int64], seed: int
) -> tuple[pd.DataFrame, Floats, NDArray[np.int64]]:
    """Keep whole customers until about `MOST_ROWS` rows are left."""
    if len(X) <= MOST_ROWS:
        return X, y, people
    order = np.random.default_rng(seed).permutation(int(people.max()) + 1)
    keep = order[people] < len(order) * MOST_ROWS // len(X)
    return X[keep], y[keep], pd.factorize(people[keep])[0]
