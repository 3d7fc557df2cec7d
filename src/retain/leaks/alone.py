"""Columns of a plain frame that are too good to be true: each alone, and in one model of all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retain.errors import RetainError, nearest, some
from retain.evaluate import area_under_curve
from retain.leaks.suspect import Suspect, auc_low, gravest_first, with_leave
from retain.leaks.words import is_model_output, is_outcome

__all__ = ["find_leaks", "too_few"]

Floats = NDArray[np.float64]
TOO_GOOD = 0.90  # AUC that one honest column is not known to reach; peers report .68 to .85
GOOD = 0.80  # enough for a column whose very name tells
TOGETHER = 0.95  # so good is taken for a leak until it is shown not to be one
LEAST_ROWS = 20  # without which nothing is said ...
LEAST_OF_A_CLASS = 10  # ... and customers of either kind
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
CONTRADICTED = "the outcome"
TODO = (
    "Find out when it is written. If after the outcome, leave it out; if it is truly known before, "
    "allow it by name (leaks.allow)."
)


def find_leaks(
    X: Any,
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
        One row per customer (or snapshot): a frame of numbers, flags, texts and dates, missing
        allowed; or an array, shape (rows, columns), whose columns go by number.
    y
        1 for those who left, 0 for those who stayed, shape (rows,). A Series is put in the order of
        the index of `X`; what has no index is taken to be in the order of its rows.
    who
        Customer of each row where customers have several, as `y`; default: every row is another.
    allow
        Columns known to be honest, as a report prints them or without `features.` before: found all
        the same, but only as advice.
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
        When `X` is no table, `y` is not 0 and 1, is missing somewhere, or does not fit `X` or its
        index; when there are fewer than 20 rows, or fewer than 10 customers of either kind; when
        `allow` names no column of `X`.

    Notes
    -----
    A column alone is judged by the out-of-fold rate of leaving of each of its values (numbers in 32
    bins, missing as a value of its own), so that ids and free text come out at .5. It is an error
    from a lower 99 % bound of .90, or .80 when its name speaks of leaving or of another model's
    score.

    Examples
    --------
    >>> X = pd.DataFrame({"age": [30, 50] * 50, "reason": ["price"] * 30 + [None] * 70})
    >>> found = find_leaks(X, [1] * 30 + [0] * 70)
    >>> [(one.where, one.severity, one.evidence["auc_alone"]) for one in found]
    [('reason', 'error', 1.0)]
    """
    X = _table(X)
    allow = _columns_named(allow, X)
    outcome = _outcome(X, _in_order("y", y, X))
    given = outcome
    if who is not None:
        who = np.asarray(_in_order("who", who, X))
        if len(who) != len(X):
            raise RetainError(
                f"leaks: X has {len(X):,} rows and who {len(who):,}. Give one customer per row."
            )
    people = pd.factorize(np.arange(len(X)) if who is None else who)[0]
    if why := too_few(outcome, people):
        raise RetainError(why)
    frame, outcome, people = _drawn(X, outcome, people, seed)
    left = len(np.unique(people[outcome == 1]))
    stayed = len(np.unique(people[outcome == 0]))
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
        found |= {one.where: one for one in _contradictions(X, given)}
    return with_leave(gravest_first(found.values()), allow)


@dataclass(frozen=True)
class _Look:
    """One column as the check sees it.

    Parameters
    ----------
    codes
        Number of each row's value or bin, missing among them.
    names
        What each number stands for; of a bin of figures its lowest and its highest.
    auc
        Of the out-of-fold rates of leaving.
    rows, gone
        Rows, and rows of those who left, by number.
    """

    codes: NDArray[np.int64]
    names: list[tuple[str, ...]]
    auc: float
    rows: Floats
    gone: Floats

    @classmethod
    def at(cls, column: pd.Series[Any], y: Floats, fold: NDArray[np.int64]) -> _Look:
        codes, names = _levels(column)
        total, mean = len(names), float(y.mean())
        rows, gone = np.bincount(codes, minlength=total), np.bincount(codes, y, total)
        rate = np.empty(len(y))
        for one in range(FOLDS):
            held = fold == one
            n = rows - np.bincount(codes[held], minlength=total)
            g = gone - np.bincount(codes[held], y[held], total)
            rate[held] = ((g + PRIOR * mean) / (n + PRIOR))[codes[held]]
        auc = area_under_curve(y, rate) if total > 1 else HALF
        return cls(codes, names, auc, rows.astype(np.float64), np.asarray(gone, np.float64))

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
        """Name values, those of most rows first; bins that lie side by side as one range."""
        named: list[tuple[float, str]] = []
        run: list[int] = []
        for one in [*np.flatnonzero(chosen), -1]:
            if run and not (one == run[-1] + 1 and len(self.names[one]) == 2):
                is_wide = any(len(set(self.names[at])) > 1 for at in run)
                if is_wide or len(run) > 2:
                    low, high = self.names[run[0]][0], self.names[run[-1]][-1]
                    named.append((self.rows[run].sum(), f"{low} to {high}"))
                else:
                    named += [(self.rows[at], self.names[at][0]) for at in run]
                run = []
            run.append(int(one))
        return some([words for _, words in sorted(named, key=lambda pair: -pair[0])], 3)


def _levels(column: pd.Series[Any]) -> tuple[NDArray[np.int64], list[tuple[str, ...]]]:
    """Give numbers to values: figures in bins, texts as they are, missing as one of its own."""
    shown: Callable[[float], str] = _as_figure
    if pd.api.types.is_datetime64_any_dtype(column):
        # as days since 1970: enough to tell, and shown as the days they are
        moments = column.dt.tz_localize(None) if column.dt.tz is not None else column
        column = (moments - pd.Timestamp(0)) / pd.Timedelta(days=1)
        shown = _as_day
    values = pd.to_numeric(column, errors="coerce") if _is_number(column) else None
    names: list[tuple[str, ...]]
    if values is None:
        texts_or_none = column.astype(object).where(column.notna(), None)
        try:
            codes, texts = pd.factorize(texts_or_none)
        except TypeError:  # no value of a column: lists, dicts, arrays
            odd = next(one for one in column if not isinstance(one, Hashable))
            raise RetainError(
                f"leaks: column {column.name!r} holds a {type(odd).__name__} ({str(odd)[:40]}) in "
                "a cell; expected a number, a flag, a text or a date. Count, join or split what "
                "is in it, or leave the column out."
            ) from None
        names = [(repr(str(one)),) for one in texts]
    else:
        plain = values.to_numpy(dtype=np.float64, na_value=np.nan)
        known = plain[~np.isnan(plain)]
        uniques = np.unique(known)
        if len(uniques) > BINS:
            edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
            # a bin goes by the lowest and the highest value in it, not by its edges
            starts = np.unique(np.r_[0, np.searchsorted(uniques, edges)])
            starts = starts[starts < len(uniques)]
            codes = np.searchsorted(uniques[starts], plain, side="right") - 1
            low, high = uniques[starts], uniques[np.r_[starts[1:], len(uniques)] - 1]
        else:
            codes, low, high = np.searchsorted(uniques, plain), uniques, uniques
        names = [(shown(a), shown(b)) for a, b in zip(low, high, strict=True)]
        codes[np.isnan(plain)] = -1
    codes = codes.astype(np.int64)
    if (codes < 0).any():
        codes[codes < 0] = len(names)
        names = [*names, ("no value",)]
    return codes, names


def _as_figure(value: float) -> str:
    return f"{value:.6g}"


def _as_day(days: float) -> str:
    return f"{pd.Timestamp(0) + pd.Timedelta(days=days):%Y-%m-%d}"


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


def _columns_named(allow: Iterable[str], X: pd.DataFrame) -> list[str]:
    """Refuse names of no column: a mistyped one would leave its column under suspicion unsaid."""
    names = [allow] if isinstance(allow, str) else [str(one) for one in allow]
    known = {CONTRADICTED, *(text for name in X for text in (str(name), f"features.{name}"))}
    for name in names:
        if name not in known:
            hint = nearest(name, sorted(known), f"columns: {some(map(str, X))}.", 3)
            raise RetainError(f"leaks: allow names {name!r}, which is no column of X; {hint}")
    return names


def _contradictions(X: pd.DataFrame, y: Floats) -> Iterator[Suspect]:
    """Find rows that are alike in every column and differ in the outcome."""
    groups = pd.Series(y).groupby(pd.util.hash_pandas_object(X, index=False).to_numpy())
    n = int(groups.transform("nunique").gt(1).sum())
    if n >= CONTRADICTING * len(y):
        share = n / len(y)
        yield Suspect(
            CONTRADICTED,
            "labels contradict each other",
            "warning",
            n,
            f"{n:,} rows ({share:.0%}) equal another row in every column but not in the outcome.",
            {"share": round(share, 4)},
            "Look for repeated customers whose label changed, or for a column that is missing.",
        )


def too_few(y: Any, who: Any) -> str:
    """Say why nothing can be said about so few; empty when there are enough.

    Parameters
    ----------
    y
        1 for those who left, 0 for those who stayed, shape (rows,).
    who
        Customer of each row.

    Examples
    --------
    >>> too_few(np.zeros(3), np.arange(3))
    'leaks: 3 rows; at least 20 are needed to tell a leak from chance. Bring more rows.'
    >>> too_few(np.arange(40) > 10, np.arange(40))
    ''
    """
    y, who = np.asarray(y), np.asarray(who)
    if len(y) < LEAST_ROWS:
        return (
            f"leaks: {len(y)} rows; at least {LEAST_ROWS} are needed to tell a leak from chance. "
            "Bring more rows."
        )
    left, stayed = len(np.unique(who[y == 1])), len(np.unique(who[y == 0]))
    if min(left, stayed) >= LEAST_OF_A_CLASS:
        return ""
    return (
        f"leaks: {left:,} who left and {stayed:,} who stayed; at least {LEAST_OF_A_CLASS} of "
        "either kind are needed to tell a leak from chance. Bring rows of both, and check that y "
        "is what happened."
    )


def _table(X: Any) -> pd.DataFrame:
    """Read a frame or an array of two dimensions, refusing what is no table."""
    if isinstance(X, pd.DataFrame):
        return X
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return pd.DataFrame(X).infer_objects()
    found = f"an array of shape {X.shape}" if isinstance(X, np.ndarray) else type(X).__name__
    raise RetainError(
        f"leaks: X is {found}; expected a frame or an array of shape (rows, columns). Put what "
        "you know of each customer in columns."
    )


def _in_order(what: str, values: Any, X: pd.DataFrame) -> Any:
    """Put what has an index of its own in the order of the rows of `X`."""
    if isinstance(values, pd.DataFrame) and values.shape[1] == 1:
        values = values.iloc[:, 0]
    if not isinstance(values, pd.Series) or len(values) != len(X) or values.index.equals(X.index):
        return values
    own, rows = values.index, X.index
    if not (own.is_unique and rows.is_unique and rows.isin(own).all()):
        strange = own[~own.isin(rows)]
        found = f"{len(strange):,} of its labels are not in X ({some(strange, 3)})"
        if not len(strange):
            found = "labels occur more than once, in another order"
        raise RetainError(
            f"leaks: the index of {what} is not that of X: {found}. Give both the same index, or "
            f"{what}.to_numpy() where the rows are in the same order."
        )
    return values.reindex(rows)


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
    if too_few(y[keep], people[keep]):  # where few left among very many, all are looked at
        return X, y, people
    return X[keep], y[keep], pd.factorize(people[keep])[0]
