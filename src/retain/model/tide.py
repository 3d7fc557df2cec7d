"""Whether customers leave more often from year to year than their features explain.

Trees that know the features know much of the time, too: long tenures are found in late weeks only.
So who left and when he was seen are both explained by the features first, each by trees that had
not learnt from the customer; what is left of the one is then laid beside what is left of the other
(double machine learning: Chernozhukov et al. 2018, doi:10.1111/ectj.12097).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.model.calibration import expit
from retain.model.heads import ChurnHead, MeanHead

__all__ = ["Tide", "yearly_tide"]

Floats = NDArray[np.float64]
YEAR_WEEKS = 52
MOST_ROWS = 40_000
LEARNER: dict[str, Any] = {"num_leaves": 8, "max_depth": 3, "min_child_samples": 100}


@dataclass(frozen=True)
class Tide:
    """By how much the log-odds of leaving grow in a year, other things being equal.

    Parameters
    ----------
    yearly
        As found; 0.3 is about a third more leavers where few leave.
    doubt
        Its standard error, customers counted and not their rows.
    unexplained
        By how much they grew in a year beyond what the features tell, which know a part of the
        time: the growth that a model leaves undone which learns from old rows.
    """

    yearly: float
    doubt: float
    unexplained: float = 0.0

    def believed(self, growth: float) -> float:
        """Return as much of a growth as is believed: the less, the less the tide is beyond doubt.

        Examples
        --------
        >>> tide = Tide(0.4, 0.2)
        >>> round(tide.believed(0.4), 9), tide.believed(-0.4), Tide(0.1, 0.2).believed(0.4)
        (0.3, 0.0, 0.0)
        """
        if abs(self.yearly) <= self.doubt or growth * self.yearly < 0:
            return 0.0
        return growth * (1.0 - (self.doubt / self.yearly) ** 2)


def yearly_tide(
    X: Any, y: Any, when: Any, who: Any, *, categorical: list[int] | None = None, seed: int = 0
) -> Tide | None:
    """Find the drift of the base rate that the features do not explain.

    Parameters
    ----------
    X, y, when, who
        As for `fit_churn`. Columns that are the same for everyone in a week tell the date and
        nothing of a customer; they are left out.
    categorical
        Positions of categorical columns.
    seed
        Same seed and rows, same bytes.

    Returns
    -------
    Tide
        None where the rows lie within a year, in which the season could be taken for a drift, or
        where nobody left, or everybody.
    """
    X, y, who = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(who)
    year = np.asarray(when, dtype=np.float64) / YEAR_WEEKS
    if not len(y) or np.ptp(year) < 1.0:
        return None
    # what everyone has in common in each week tells the date
    _, some, week = np.unique(year, return_index=True, return_inverse=True)
    told = [at for at in range(X.shape[1]) if not _are_equal(X[:, at], X[some, at][week])]
    codes = {at: place for place, at in enumerate(told)}
    coded = tuple(codes[at] for at in categorical or () if at in codes)
    X = X[:, told]
    rng = np.random.default_rng(seed)
    people, number = np.unique(who, return_inverse=True)
    half = rng.permutation(len(people))[number] % 2
    chance, time = np.full((2, len(y)), np.nan)
    for one in (0, 1):
        learn, other = np.flatnonzero(half == one), half != one
        learn = np.sort(rng.permutation(learn)[:MOST_ROWS])
        if len(np.unique(y[learn])) < 2:
            return None
        fixed: dict[str, Any] = {**LEARNER, "categorical": coded, "seed": seed}
        left = ChurnHead(**fixed, rounds=100).fit(X[learn], y[learn])
        chance[other] = expit(left.raw_score(X[other]))
        seen = MeanHead(**fixed, rounds=60, learning_rate=0.1).fit(X[learn], year[learn])
        time[other] = seen.predict(X[other])
    apart = year - time
    apart -= apart.mean()
    firmness = float(apart**2 @ (chance * (1.0 - chance)))
    moved = apart * (y - chance)
    doubt = float(np.sqrt((np.bincount(number, moved) ** 2).sum()))
    plain = year - year.mean()
    unexplained = float(plain @ (y - chance)) / float(plain**2 @ (chance * (1.0 - chance)))
    return Tide(float(moved.sum()) / firmness, doubt / firmness, unexplained)


def _are_equal(one: Floats, other: Floats) -> bool:
    return bool(((one == other) | (np.isnan(one) & np.isnan(other))).all())
