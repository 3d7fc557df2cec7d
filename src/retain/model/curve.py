"""When customers leave: one curve per customer through the probability on the page.

The probability of leaving within the headline horizon gives a cumulative hazard,
``L = -log(1 - p)``. Within each interval between two horizons the hazard is a multiple of a power
of it (who is at risk today is less so in half a year: the power falls below one), corrected by
trees that know the customer and how long after the interval's beginning a date lies that is known
ahead (a renewal that is due in week 20 moves the hazard there).
Hazards are never below zero, so the probability never falls with the horizon; those of the
intervals up to the headline horizon are scaled so that they add up to L, so the curve passes
through p exactly. Each interval is learnt from everyone who was there when it began and whose
interval is over: customers whose later intervals are not over yet count in the earlier ones.

What is known of the later intervals is old: who left between half a year and a year ahead is known
only of snapshots that are a year old. Where the base rate drifts, other things being equal (see
`retain.model.tide`), what these hazards grew beyond that of the headline is carried on to now.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.model.calibration import expit, logit
from retain.model.heads import ChurnHead
from retain.model.tide import YEAR_WEEKS, Tide

__all__ = ["FittedCurve", "fit_curve"]

Floats = NDArray[np.float64]
LEAST_EVENTS = 50  # in an interval, to learn it
MOST_ROUNDS, ROUNDS_STEP = 120, 20
CURVE_ROWS = 100_000
# the suppler where a date that is known ahead, as of a renewal, moves many from one interval on
SHAPES: tuple[dict[str, Any], ...] = (
    {"num_leaves": 6, "max_depth": 3},
    {"num_leaves": 16, "max_depth": 5},
)
STIFFNESS: dict[str, Any] = {"min_child_samples": 200, "l2": 20.0}
LEVELLING = 5  # steps, each of which leaves a small part of what was left
EDGE = 1e-9
POWER_PULL = 10.0  # towards one, worth some ten rows
GROWTH_STEPS, MOST_GROWTH = 8, 3.0  # Newton's; of a log in all


@dataclass
class FittedCurve:
    """Probabilities of having left by each of several horizons.

    Parameters
    ----------
    horizons
        Weeks, ascending; the headline's is one of them.
    headline
        The horizon of the probability on the page.
    multiples, powers
        Per horizon the hazard of the interval that ends there: multiple x L ** power; nan where
        nothing could be learnt and the last rate goes on.
    head
        Corrections per customer and interval, None where the multiples do as well.
    first
        Position of the first horizon that has a meaning: for inactivity that of the headline.
    chosen
        How it was learnt.
    drift
        By how much the log of the hazards past the headline grows in a week beyond the headline's;
        `multiples` are those of the evening for which the curve was learnt, called today.
    countdown
        Positions of the columns that hold weeks until a date that is known ahead.
    """

    horizons: tuple[int, ...]
    headline: int
    multiples: tuple[float, ...]
    powers: tuple[float, ...]
    head: ChurnHead | None = None
    first: int = 0
    chosen: dict[str, Any] = field(default_factory=dict)
    drift: float = 0.0
    countdown: tuple[int, ...] = ()

    @property
    def learnt_weeks(self) -> int:
        """Longest horizon that was learnt; beyond it the last rate of leaving goes on."""
        last = max(at for at, one in enumerate(self.multiples) if one == one)
        return self.horizons[last]

    def gone_by(self, X: Any, probability: Any, weeks_ago: Any = 0.0) -> Floats:
        """Return the probability of having left by each horizon, shape (rows, horizons).

        Parameters
        ----------
        X
            Encoded features, shape (rows, columns).
        probability
            Calibrated probability within the headline horizon, shape (rows,).
        weeks_ago
            How long before today the rows are of, shape (rows,) or one for all: hazards were as
            much lower then as they have grown since, the headline's too, beyond what `probability`
            knows of it.

        Returns
        -------
        array
            In [0, 1], never falling along a row, equal to `probability` of today at the headline
            horizon; nan before `first`.
        """
        X, p = np.asarray(X, dtype=np.float64), np.asarray(probability, dtype=np.float64)
        since = np.exp(-self.drift * np.broadcast_to(weeks_ago, p.shape))
        whole = -np.log1p(-np.clip(p, EDGE, 1.0 - EDGE))
        p = np.where(since == 1.0, p, -np.expm1(-whole * since))
        at_headline = self.horizons.index(self.headline)
        hazards = np.full((len(X), len(self.horizons)), np.nan)
        began = (0, *self.horizons[:-1])
        for at, (begin, end) in enumerate(zip(began, self.horizons, strict=True)):
            if at < self.first:
                continue
            if self.multiples[at] == self.multiples[at]:
                hazards[:, at] = self._hazard(X, whole, at, since)
            else:
                rate = hazards[:, at - 1] / (begin - began[at - 1])
                hazards[:, at] = rate * (end - begin)
        early = slice(self.first, at_headline + 1)
        hazards[:, early] *= (whole * since / np.maximum(hazards[:, early].sum(axis=1), EDGE))[
            :, None
        ]
        curve = np.full_like(hazards, np.nan)
        curve[:, self.first :] = -np.expm1(-np.cumsum(hazards[:, self.first :], axis=1))
        # to the last bit, where rounding would part them
        curve[:, at_headline] = p
        curve[:, :at_headline] = np.minimum(curve[:, :at_headline], p[:, None])
        curve[:, at_headline:] = np.maximum(curve[:, at_headline:], p[:, None])
        return curve

    def share_there(
        self,
        X: Any,
        probability: Any,
        weeks: int,
        annual_discount_rate: float,
        weeks_ago: Any = 0.0,
    ) -> Floats:
        """Return the share of the weeks ahead in which each customer is expected to be there.

        Between two horizons the rate of leaving is even; past the last it goes on as it was.

        Parameters
        ----------
        X, probability, weeks_ago
            As for `gone_by`.
        weeks
            Weeks ahead to count.
        annual_discount_rate
            A week in t weeks counts 1 / (1 + rate) ** (t / 52).

        Returns
        -------
        array of shape (rows,)
            In (0, 1].
        """
        left = self.gone_by(X, probability, weeks_ago)[:, self.first :]
        hazards = -np.log1p(-np.minimum(left, 1.0 - EDGE))
        ends = np.array([0, *self.horizons[self.first :]])
        hazards = np.column_stack([np.zeros(len(hazards)), hazards])
        slope = (hazards[:, -1] - hazards[:, -2]) / (ends[-1] - ends[-2])
        counts = (1.0 + annual_discount_rate) ** (-np.arange(1, weeks + 1) / 52.0)
        there = np.zeros(len(hazards))
        for week in range(1, weeks + 1):
            at = week - 0.5  # who leaves in a week is there for half of it
            if at >= ends[-1]:
                hazard = hazards[:, -1] + slope * (at - ends[-1])
            else:
                end = int(np.searchsorted(ends, at, side="right"))
                part = (at - ends[end - 1]) / (ends[end] - ends[end - 1])
                hazard = hazards[:, end - 1] + part * (hazards[:, end] - hazards[:, end - 1])
            there += counts[week - 1] * np.exp(-hazard)
        return np.maximum(there / counts.sum(), EDGE)

    def _hazard(self, X: Floats, whole: Floats, at: int, since: Floats) -> Floats:
        score = _offset(whole, self.multiples[at], self.powers[at], since)
        if self.head is not None:
            score = score + self.head.raw_score(self.beside(X, at))
        return np.logaddexp(0.0, score)  # -log(1 - expit(score))

    def beside(self, X: Floats, interval: Any) -> Floats:
        """Put beside the features which interval it is, and when dates lie counted from its begin.

        Parameters
        ----------
        X
            Encoded features, shape (rows, columns).
        interval
            Position of the horizon at which it ends, shape (rows,) or one for all.

        Returns
        -------
        array of shape (rows, columns + 1 + countdown)
            Weeks from the interval's begin to each date that is known ahead, negative before it.
        """
        at = np.broadcast_to(np.asarray(interval, dtype=np.int64), len(X))
        begins = np.array([0, *self.horizons[:-1]], dtype=np.float64)[at]
        dates = X[:, list(self.countdown)] - begins[:, None]
        return np.column_stack([X, at.astype(np.float64), dates])


def fit_curve(
    X: Any,
    by: Any,
    probability: Any,
    who: Any,
    weight: Any,
    *,
    weeks_ago: Any = 0.0,
    tide: Tide | None = None,
    horizons: tuple[int, ...],
    headline: int,
    categorical: list[int] | None = None,
    countdown: list[int] | None = None,
    seed: int = 0,
) -> FittedCurve:
    """Learn how the hazard is spread over the intervals, and how customers differ in that.

    Parameters
    ----------
    X
        Encoded features, shape (rows, columns).
    by
        1 had left by the horizon, 0 had not, nan not known; shape (rows, horizons).
    probability
        Calibrated probability within the headline horizon from models that had not learnt from
        the row's customer, shape (rows,).
    who, weight
        Customer (a whole number) and weight of each row.
    weeks_ago
        How old each row is on the evening for which the curve is learnt, shape (rows,).
    tide
        Whether the base rate drifts; None: it does not, or there is no telling.
    horizons, headline
        See `FittedCurve`.
    categorical
        Positions of categorical columns.
    countdown
        Positions of the columns that hold weeks until a date that is known ahead.
    seed
        Same seed and rows, same bytes.

    Returns
    -------
    FittedCurve
        With trees where they tell customers who were set aside better than the multiples alone.
    """
    X, by, who = np.asarray(X, dtype=np.float64), np.asarray(by, dtype=np.float64), np.asarray(who)
    whole = -np.log1p(-np.clip(probability, EDGE, 1.0 - EDGE))
    weight = np.asarray(weight, dtype=np.float64)
    ago = np.broadcast_to(np.asarray(weeks_ago, dtype=np.float64), whole.shape)
    at_headline = horizons.index(headline)
    drift, told = 0.0, dict[str, Any]()
    if tide is not None:
        growth = _growth(whole, by, ago, at_headline + 1)
        drift = tide.believed(growth)
        told = {
            "tide": {"yearly": tide.yearly, "doubt": tide.doubt, "growth": growth, "carried": drift}
        }
        drift /= YEAR_WEEKS
    since = np.exp(-drift * ago)
    first = next((at for at in range(len(horizons)) if not np.isnan(by[:, at]).all()), at_headline)
    multiples, powers = np.full((2, len(horizons)), np.nan)
    rows, intervals, left = [], [], []
    for at in range(first, len(horizons)):
        there = np.zeros(len(by)) if at == first else by[:, at - 1]
        risk = np.flatnonzero((there == 0) & ~np.isnan(by[:, at]))
        events = by[risk, at]
        if events.sum() < LEAST_EVENTS:
            if at <= at_headline:
                multiples[at] = (horizons[at] - (horizons[at - 1] if at else 0)) / headline
                powers[at] = 1.0
                continue
            break
        multiples[at], powers[at] = _spread(whole[risk], events, weight[risk], since[risk])
        rows.append(risk)
        intervals.append(np.full(len(risk), at))
        left.append(events)
    curve = FittedCurve(
        *(tuple(horizons), headline, tuple(multiples.tolist()), tuple(powers.tolist())),
        first=first,
        chosen=told,
        drift=drift,
        countdown=tuple(countdown or ()),
    )
    if not rows:
        return curve
    row, interval, y = np.concatenate(rows), np.concatenate(intervals), np.concatenate(left)
    some = np.arange(len(row))
    if len(row) > CURVE_ROWS:  # of all customers: a third of them may leave less often, by luck
        some = np.sort(np.random.default_rng(seed).choice(some, CURVE_ROWS, replace=False))
    row, interval, y = row[some], interval[some], y[some]
    offset = _offset(whole[row], multiples[interval], powers[interval], since[row])
    head, chosen = _correction(
        curve.beside(X[row], interval), y, offset, who[row], tuple(categorical or ()), seed
    )
    chosen |= told
    if head is None:
        return replace(curve, chosen=chosen)
    # the trees know whom they move, but not by how much all of them should be moved together
    count = weight[row]
    correction = head.raw_score(curve.beside(X[row], interval))
    for at in np.unique(interval):
        one = interval == at
        for _ in range(LEVELLING):
            here = row[one]
            score = _offset(whole[here], multiples[at], powers[at], since[here]) + correction[one]
            multiples[at] *= (count[one] @ y[one]) / (count[one] @ expit(score))
    return replace(curve, head=head, multiples=tuple(multiples.tolist()), chosen=chosen)


def _correction(
    X: Floats, y: Floats, offset: Floats, who: Any, categorical: tuple[int, ...], seed: int
) -> tuple[ChurnHead | None, dict[str, Any]]:
    """Grow trees as long as they help on customers set aside; none when they do not."""
    people = np.unique(who)
    aside = np.random.default_rng(seed).permutation(people)[: len(people) // 3]
    test = np.isin(who, aside)
    fixed: dict[str, Any] = {**STIFFNESS, "categorical": categorical, "seed": seed}
    chosen: dict[str, Any] = {"rows": len(y), "rounds": 0}
    if len(np.unique(y[test])) < 2 or len(np.unique(y[~test])) < 2:
        return None, chosen
    without = float(np.mean(np.logaddexp(0.0, offset[test]) - y[test] * offset[test]))
    steps = np.arange(ROUNDS_STEP, MOST_ROUNDS + 1, ROUNDS_STEP)
    tried = []
    for number, shape in enumerate(SHAPES):
        _, record = ChurnHead(**shape, **fixed, rounds=MOST_ROUNDS)._train(
            X[~test], y[~test], (X[test], y[test], offset[test]), offset=offset[~test]
        )
        losses = np.asarray(record["valid_0"]["binary_logloss"])[steps - 1]
        tried.append((float(losses.min()), number, int(steps[losses.argmin()])))
    with_trees, number, best = min(tried)
    chosen |= {"log_loss_without": without, "log_loss_with": with_trees}
    if with_trees >= without:
        return None, chosen
    chosen |= SHAPES[number]
    head = ChurnHead(**SHAPES[number], **fixed, rounds=best)
    head.booster_, _ = head._train(X, y, offset=offset)
    head.n_features_in_, head.classes_ = X.shape[1], np.array([0.0, 1.0])
    return head, chosen | {"rounds": best}


def _growth(whole: Floats, by: Floats, ago: Floats, later: int) -> float:
    """Find by how much the log of later hazards grew in a year beyond what the headline's tells."""
    parts = []
    for at in range(later, by.shape[1]):
        risk = np.flatnonzero((by[:, at - 1] == 0) & ~np.isnan(by[:, at]))
        y = by[risk, at]
        if y.sum() < LEAST_EVENTS:
            break
        every = np.ones(len(risk))
        multiple, power = _spread(whole[risk], y, every, every)
        known = multiple * whole[risk] ** power
        parts.append((y, known, -ago[risk] / YEAR_WEEKS, np.full(len(risk), at - later)))
    if not parts:
        return 0.0
    y, hazard, year, number = (np.concatenate(one) for one in zip(*parts, strict=True))
    levels, growth = np.zeros(len(parts)), 0.0
    for _ in range(GROWTH_STEPS):
        now = hazard * np.exp(np.minimum(levels[number] + growth * year, MOST_GROWTH))
        left = -np.expm1(-now)
        slope, firmness = (y - left) * now / left, now * now * (1.0 - left) / left
        there = np.bincount(number, firmness)
        apart = year - (np.bincount(number, firmness * year) / there)[number]
        levels += np.bincount(number, slope) / there
        growth += float(slope @ apart) / max(float(firmness @ apart**2), EDGE)
    return growth


def _spread(whole: Floats, events: Floats, weight: Floats, since: Floats) -> tuple[float, float]:
    """Find the multiple and the power under which those who left were likeliest to."""
    from scipy.optimize import minimize

    log_whole, grown, total = np.log(whole), np.log(since), float(weight.sum())
    centre = float((weight * log_whole).sum()) / total

    def loss(theta: Any) -> float:
        hazard = np.exp(np.clip(theta[0] + theta[1] * (log_whole - centre) + grown, -30.0, 6.0))
        left = np.log(-np.expm1(-hazard))
        fit = float((weight * (events * left - (1.0 - events) * hazard)).sum()) / total
        return -fit + POWER_PULL / len(events) * (theta[1] - 1.0) ** 2

    start = np.log(max(float((weight * events).sum()) / total, EDGE))
    found = minimize(loss, np.array([start, 1.0]), method="L-BFGS-B", bounds=[(None, None), (0, 2)])
    level, power = found.x
    return float(np.exp(level - power * centre)), float(power)


def _offset(whole: Any, multiple: Any, power: Any, since: Any) -> Floats:
    """Log-odds of leaving in an interval, from the headline's cumulative hazard."""
    return logit(-np.expm1(-multiple * whole**power * since))
