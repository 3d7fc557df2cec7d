"""Learning forward in time: settings chosen on later rows, calibrated on rows never learnt from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import SnapshotError
from retain.model.calibration import LogitCalibrator, ScaleCalibrator, expit
from retain.model.heads import ChurnHead, ClvHead, log_level
from retain.model.tide import YEAR_WEEKS, Tide, yearly_tide

__all__ = [
    "SETTINGS",
    "FittedChurn",
    "FittedClv",
    "default_lightgbm",
    "discounted_weeks",
    "fit_churn",
    "fit_clv",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# From stiff to supple; which suits the panel is decided on rows later than those learnt from.
SETTINGS: tuple[dict[str, Any], ...] = (
    {"num_leaves": 6, "max_depth": 3, "min_child_samples": 200},
    {"num_leaves": 8, "max_depth": 4, "min_child_samples": 100},
    {"num_leaves": 16, "max_depth": 5, "min_child_samples": 100},
)
# where nothing can be tried; the suppler one where value follows the curve of leaving: how little
# those bring who have gone must be learnt, and on simulated companies the search takes such a one
BLIND = {**SETTINGS[1], "rounds": 80}
BLIND_ON_A_CURVE = {**SETTINGS[2], "rounds": 110}
MOST_ROUNDS = 240
LEAST_ROUNDS = 20
SEARCH_ROWS = 40_000
FOLD_ROWS = 60_000
CALIBRATION_FOLDS = 3
GROWTH, MOST_GROWTH = 0.5, 2.5
REFITS = 5
REFIT_ROWS = 40_000
LEAST_OF_A_CLASS = 30


@dataclass
class FittedChurn:
    """A churn head with its calibration and refits.

    Parameters
    ----------
    head
        Learnt from every ripe row.
    calibrator
        From raw log-odds to the probability on the page.
    refits
        The same model learnt from resampled customers: for intervals and stability.
    chosen
        Settings and rounds.
    out_of_time
        Rows scored by models that had not seen them: position, raw log-odds, period.
    out_of_bag
        Probability of each row by refits whose resample left its customer out, shape (rows,);
        nan where none did.
    tide
        Whether the base rate drifts; None: there is no telling.
    """

    head: ChurnHead
    calibrator: LogitCalibrator
    refits: list[ChurnHead] = field(default_factory=list)
    chosen: dict[str, Any] = field(default_factory=dict)
    out_of_time: dict[str, Any] = field(default_factory=dict)
    out_of_bag: Floats | None = None
    tide: Tide | None = None

    def predict(self, X: Any) -> Floats:
        """Return calibrated probabilities, shape (rows,)."""
        return self.calibrator(self.head.raw_score(X))

    def interval(self, X: Any, level: float) -> tuple[Floats, Floats]:
        """Return a confidence interval of the calibrated probability; nan without refits."""
        return self.with_interval(X, level)[1:]

    def with_interval(self, X: Any, level: float) -> tuple[Floats, Floats, Floats]:
        """Return calibrated probabilities with both ends of their confidence interval."""
        from scipy.stats import t

        raw = self.head.raw_score(X)
        chance, centre = self.calibrator(raw), self.calibrator.slope * raw + self.calibrator.shift
        if len(self.refits) < 2:
            nothing = np.full(len(centre), np.nan)
            return chance, nothing, nothing
        scores = np.array([self.calibrator.slope * one.raw_score(X) for one in self.refits])
        # few refits: their spread is itself uncertain, hence Student's quantile
        spread = scores.std(axis=0, ddof=1) * t.ppf(0.5 + level / 2.0, len(scores) - 1)
        return chance, expit(centre - spread), expit(centre + spread)


@dataclass
class FittedClv:
    """A CLV head with its level and its intervals.

    The value within so many weeks = the share of them in which the customer is expected to be
    there x the margin of a week in which he is (what the head learns) x the weeks.

    Parameters
    ----------
    head
        Learnt from every ripe row.
    calibrator
        From the raw score to margin in a week with the customer, currency.
    learnt_weeks
        Weeks of value that the labels held.
    weeks
        Discounted weeks of the whole horizon: a week in a year counts 1 / (1 + rate).
    follows_curve
        The share comes from the curve of leaving; else everyone's is 1.
    usual_log_share
        Mean log of the share over the rows learnt from: that of customers without one, and where
        its credit starts from.
    bins
        Edges of the value of a week (ascending) and, per bin, the multiples of the expected value
        between which outcomes fell.
    chosen
        Settings and rounds.
    """

    head: ClvHead
    calibrator: ScaleCalibrator
    learnt_weeks: int
    weeks: float
    follows_curve: bool = False
    usual_log_share: float = 0.0
    bins: dict[str, list[float]] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)

    def predict(self, X: Any, share: Any = None, weeks: float | None = None) -> Floats:
        """Return expected discounted margin, shape (rows,), currency.

        Parameters
        ----------
        X
            Encoded features, shape (rows, columns).
        share
            Share of the discounted weeks in which the customer is expected to be there, in
            (0, 1], nan where that has no meaning, shape (rows,); None where value does not follow
            the curve.
        weeks
            Discounted weeks to count; default: the whole horizon.
        """
        return self._a_week(X, share) * (self.weeks if weeks is None else weeks)

    def interval(
        self, X: Any, share: Any = None, weeks: float | None = None
    ) -> tuple[Floats, Floats]:
        """Return where outcomes of similar predictions fell, of customers set aside."""
        return self.with_interval(X, share, weeks)[1:]

    def with_interval(
        self, X: Any, share: Any = None, weeks: float | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return expected discounted margin with both ends of its interval, currency."""
        a_week = self._a_week(X, share)
        value = a_week * (self.weeks if weeks is None else weeks)
        if not self.bins:
            return value, np.full(len(a_week), np.nan), np.full(len(a_week), np.nan)
        at = np.searchsorted(np.array(self.bins["edges"]), a_week, side="right")
        low = np.minimum(value * np.array(self.bins["low"])[at], value)
        high = np.maximum(value * np.array(self.bins["high"])[at], value)
        return value, low, high

    def log_share(self, share: Any) -> Any:
        """Return what the share adds to the raw score: its log, the usual one where nan."""
        if share is None:
            return self.usual_log_share
        log = np.log(np.asarray(share, dtype=np.float64))
        return np.where(np.isnan(log), self.usual_log_share, log)

    def _a_week(self, X: Any, share: Any) -> Floats:
        return self.calibrator(self.head.raw_score(X) + self.log_share(share))


def fit_churn(
    X: Any,
    y: Any,
    when: Any,
    who: Any,
    *,
    purge: int,
    categorical: list[int] | None = None,
    seed: int = 0,
    refits: int = REFITS,
    chosen: dict[str, Any] | None = None,
    weight: Any = None,
    progress: Callable[[str], None] = lambda _: None,
) -> FittedChurn:
    """Choose settings forward in time, learn from every row, calibrate on rows not learnt from.

    Parameters
    ----------
    X
        Encoded features, shape (rows, columns).
    y
        Outcomes 0 / 1, shape (rows,).
    when, who
        Week and customer of each row, whole numbers.
    purge
        Weeks that must lie between a row learnt from and a row judged on.
    categorical
        Positions of categorical columns.
    seed
        Same seed and rows, same bytes.
    refits
        How many models to learn from resampled customers.
    chosen
        Settings and rounds from an earlier search, to skip it.
    weight
        How many rows each stands for where the level is learnt, shape (rows,); None: one.
    progress
        Called with what is being done.

    Raises
    ------
    SnapshotError
        When one of the classes is missing or too rare.
    """
    X, y, when, who = np.asarray(X), np.asarray(y, float), np.asarray(when), np.asarray(who)
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    _enough(y)
    fixed: dict[str, Any] = {"categorical": tuple(categorical or ()), "seed": seed}
    folds = _folds(when, purge)
    if chosen is None:
        chosen = _search(ChurnHead, "binary_logloss", X, y, when, who, folds, fixed, progress)
    # the same settings in the folds and at last: what the folds teach about level must carry over
    settings = _for_rows(chosen, len(y))
    head = ChurnHead(**settings, **fixed)
    raw, seen = np.full(len(y), np.nan), np.zeros(len(y), dtype=bool)
    for train, test in folds:
        if len(np.unique(y[train])) < 2:
            continue
        progress("calibrating out of time")
        train = _thinned(train, who, seed, FOLD_ROWS)
        raw[test] = ChurnHead(**settings, **fixed).fit(X[train], y[train]).raw_score(X[test])
        seen[test] = True
    if seen.any() and len(np.unique(y[seen])) == 2:
        periods = (when[seen].max() - when[seen].min()) / max(purge, 1) + 1.0
        count = _recent(when[seen], purge) * weight[seen]
        calibrator = LogitCalibrator.fit(raw[seen], y[seen], count, periods)
    else:
        calibrator = LogitCalibrator()
    progress("looking for a drift of the base rate")
    tide = yearly_tide(X, y, when, who, categorical=categorical, seed=seed)
    if tide is not None and seen.any():  # from the weeks of the level to the evening of today
        level_at = float(np.average(when[seen], weights=_recent(when[seen], purge)))
        years = (when.max() + purge - level_at) / YEAR_WEEKS
        calibrator = calibrator.moved(tide.believed(tide.unexplained) * years)
    progress("learning from every snapshot")
    head.fit(X, y)
    others, left_out = [], np.zeros((2, len(y)))  # sum of scores, and of how many
    for number in range(refits):
        progress(f"refit {number + 1} of {refits}")
        rows = _resampled(who, seed + 1000 + number, REFIT_ROWS)
        if len(np.unique(y[rows])) < 2:
            continue
        other = ChurnHead(**_for_rows(chosen, len(rows)), **{**fixed, "seed": seed + 1 + number})
        others.append(other.fit(X[rows], y[rows]))
        apart = np.flatnonzero(~np.isin(who, who[rows]))
        left_out[:, apart] += np.stack([other.raw_score(X[apart]), np.ones(len(apart))])
    with np.errstate(invalid="ignore"):
        out_of_bag = calibrator(left_out[0] / left_out[1])
    return FittedChurn(
        head,
        calibrator,
        others,
        chosen,
        {"rows": np.flatnonzero(seen), "raw": raw[seen]},
        out_of_bag,
        tide,
    )


def fit_clv(
    X: Any,
    y: Any,
    when: Any,
    who: Any,
    *,
    learnt_weeks: int,
    annual_discount_rate: float = 0.0,
    horizon_weeks: int | None = None,
    share: Any = None,
    categorical: list[int] | None = None,
    level: float = 0.9,
    seed: int = 0,
    chosen: dict[str, Any] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> FittedClv:
    """Learn the margin of a week with the customer, with its level and interval out of time.

    Parameters
    ----------
    X, y, when, who
        As for `fit_churn`; y in currency.
    learnt_weeks
        Weeks of value in y; also the purge between learning and judging.
    annual_discount_rate
        As y is discounted.
    horizon_weeks
        Weeks of value asked for; default: those learnt.
    share
        Share of the learnt weeks, discounted, in which each row's customer was expected to be
        there by a model that had not learnt from that customer, shape (rows,), nan where that has
        no meaning; None where value does not follow the curve of leaving.
    categorical
        Positions of categorical columns.
    level
        Share of outcomes that the interval is to hold.
    seed
        Same seed and rows, same bytes.
    chosen
        Settings and rounds from an earlier search, to skip it.
    progress
        Called with what is being done.
    """
    X, y, when, who = np.asarray(X), np.asarray(y, float), np.asarray(when), np.asarray(who)
    gains = np.maximum(y, 0.0)
    if not gains.sum() > 0:
        raise SnapshotError(
            "CLV: no snapshot was followed by any revenue, so there is no value to learn. "
            "Check the payments or subscriptions table and clv.horizon_weeks."
        )
    log_share, usual = np.zeros(len(y)), 0.0
    if share is not None and not np.isnan(share).all():
        usual = float(np.nanmean(np.log(share)))
        log_share = np.where(np.isnan(share), usual, np.log(share))
    fixed: dict[str, Any] = {"categorical": tuple(categorical or ()), "seed": seed}
    folds = _folds(when, learnt_weeks)
    follows = share is not None
    if chosen is None:
        blind = BLIND_ON_A_CURVE if follows else BLIND
        chosen = _search(
            *(ClvHead, "tweedie", X, gains, when, who, folds, fixed, progress),
            offset=log_share,
            blind=blind,
        )
    settings = _for_rows(chosen, len(y))

    def learnt(rows: Any) -> ClvHead:
        given = X[rows], gains[rows], log_share[rows]
        one = ClvHead(**settings, **fixed).fit(*given)
        return one.add_up(*given) if follows else one

    def judged(splits: list[tuple[Any, Any]], doing: str) -> tuple[Floats, Any]:
        raw, seen = np.full(len(y), np.nan), np.zeros(len(y), dtype=bool)
        for train, test in splits:
            if gains[train].sum() > 0:
                progress(doing)
                one = learnt(_thinned(train, who, seed, FOLD_ROWS))
                raw[test] = one.raw_score(X[test]) + one.level_ + log_share[test]
                seen[test] = True
        return raw, seen

    # How the level drifts, from later weeks. Where value follows the curve of leaving, most of what
    # may drift is in the curve: what is left of it in one period is rather luck, and the interval
    # is that of customers set aside, over all the weeks; else it is that of the later weeks, too.
    raw, seen = judged(folds, "levelling out of time")
    whole = discounted_weeks(learnt_weeks, annual_discount_rate)
    calibrator, bins = ScaleCalibrator(), {}
    if seen.any():
        periods = (when[seen].max() - when[seen].min()) / max(learnt_weeks, 1) + (not follows)
        weight = _recent(when[seen], learnt_weeks)
        calibrator = ScaleCalibrator.fit(raw[seen], y[seen], weight, periods)
    if follows or not seen.any():
        apart, met = judged(_set_aside(who, seed), "intervals from other customers")
        if met.any():
            bins = _interval_bins(np.exp(apart[met]) / whole, y[met] / whole, level)
    else:
        bins = _interval_bins(calibrator(raw[seen]) / whole, y[seen] / whole, level)
    progress("learning value from every snapshot")
    head = learnt(slice(None))
    return FittedClv(
        head,
        ScaleCalibrator(calibrator.factor * float(np.exp(head.level_)) / whole),
        learnt_weeks,
        discounted_weeks(horizon_weeks or learnt_weeks, annual_discount_rate),
        share is not None,
        usual,
        bins,
        chosen,
    )


def discounted_weeks(weeks: int, annual_discount_rate: float) -> float:
    """Add up the weeks, a later one counting less: week t is divided by (1 + rate) ** (t / 52).

    Examples
    --------
    >>> discounted_weeks(52, 0.0), round(discounted_weeks(52, 0.10), 2)
    (52.0, 49.55)
    """
    return float(np.sum((1.0 + annual_discount_rate) ** (-np.arange(1, weeks + 1) / 52.0)))


def default_lightgbm(X: Any, y: Any, seed: int = 0) -> Any:
    """Fit LightGBM as it comes, the baseline that ours must not lose to.

    Returns
    -------
    object with ``predict_proba``.
    """
    import lightgbm as lgb

    model = lgb.LGBMClassifier(random_state=seed, verbosity=-1, deterministic=True, n_jobs=2)
    return model.fit(np.asarray(X), np.asarray(y))


def _enough(y: Floats) -> None:
    left, stayed = int(y.sum()), int(len(y) - y.sum())
    if min(left, stayed) < LEAST_OF_A_CLASS:
        which = "leavers" if left <= stayed else "customers who stayed"
        raise SnapshotError(
            f"churn: too few {which} to learn from: {min(left, stayed)} of {len(y)} ripe "
            f"snapshots, at least {LEAST_OF_A_CLASS} are needed. Bring more history, widen "
            "churn.horizon_weeks, or check that the churn kind fits the business."
        )


def _folds(when: Ints, purge: int) -> list[tuple[Any, Any]]:
    """Latest periods to judge on, each with all rows that lie at least a purge before it."""
    weeks = np.unique(when)
    folds = []
    for week in weeks[::-1]:
        train = np.flatnonzero(when <= week - purge)
        if len(train) == 0:
            break
        folds.append((train, np.flatnonzero(when == week)))
    if len(folds) <= CALIBRATION_FOLDS:
        return folds
    # spread over up to two purges, the newest always in
    reach = [
        fold for fold, week in zip(folds, weeks[::-1], strict=False) if week > weeks[-1] - 2 * purge
    ]
    picks = np.unique(np.linspace(0, len(reach) - 1, CALIBRATION_FOLDS).round().astype(int))
    return [reach[at] for at in picks]


def _set_aside(who: Ints, seed: int) -> list[tuple[Any, Any]]:
    """Set aside a third of the customers, and another: rows to learn from, and rows of theirs."""
    people = np.random.default_rng(seed).permutation(np.unique(who))
    thirds = [np.isin(who, part) for part in np.array_split(people, 3)[:2]]
    return [(np.flatnonzero(~one), np.flatnonzero(one)) for one in thirds if one.any()]


def _search(
    head: type[Any],
    metric: str,
    X: Any,
    y: Floats,
    when: Ints,
    who: Ints,
    folds: list[tuple[Any, Any]],
    fixed: dict[str, Any],
    progress: Callable[[str], None],
    offset: Floats | None = None,
    blind: dict[str, Any] = BLIND,
) -> dict[str, Any]:
    """Try each setting on rows later than those learnt from; take the best with its rounds."""
    if not folds:  # too little history to look ahead: what suits most, and it is said on the card
        return {**blind, "found_on_rows": len(y)}
    usable = _usable(folds, y)
    scores: list[tuple[float, int, int]] = []
    for number, setting in enumerate(SETTINGS):
        progress(f"trying setting {number + 1} of {len(SETTINGS)}")
        one = head(**setting, **fixed, rounds=MOST_ROUNDS)
        loss, best = _tried(one, metric, X, y, who, usable[:2], offset)
        scores.append((loss, number, best))
    _, number, rounds = min(scores)
    rows = int(np.mean([len(_thinned(train, who, fixed["seed"])) for train, _ in usable[:2]]))
    return {**SETTINGS[number], "rounds": rounds, "found_on_rows": rows}


def _usable(folds: list[tuple[Any, Any]], y: Floats) -> list[tuple[Any, Any]]:
    """Keep the folds that have something to tell apart where they learn."""
    both = [(train, test) for train, test in folds if y[train].sum() > 0 and np.ptp(y[train]) > 0]
    return both or folds


def _tried(
    one: Any,
    metric: str,
    X: Any,
    y: Floats,
    who: Ints,
    folds: list[tuple[Any, Any]],
    offset: Floats | None = None,
) -> tuple[float, int]:
    """Learn with one setting, fold by fold: the loss on later rows at its best round, and that."""
    curves = []
    for train, test in folds:
        train, test = _thinned(train, who, one.seed), _thinned(test, who, one.seed)
        if offset is None:
            _, record = one._train(X[train], y[train], (X[test], y[test]))
        else:
            level = log_level(y[train], offset[train])
            _, record = one._train(
                X[train],
                y[train],
                (X[test], y[test], level + offset[test]),
                offset=level + offset[train],
            )
        curves.append(np.array(record["valid_0"][metric]))
    mean = np.mean(curves, axis=0)
    best = max(int(mean.argmin()) + 1, LEAST_ROUNDS)
    return float(mean[best - 1]), best


def _for_rows(chosen: dict[str, Any], rows: int) -> dict[str, Any]:
    """Let the rounds grow with the rows: what held for few rows stops too early for many."""
    more = max(rows / max(chosen.get("found_on_rows", rows), 1), 1.0)
    rounds = round(chosen["rounds"] * min(more**GROWTH, MOST_GROWTH))
    kept = {name: value for name, value in chosen.items() if name != "found_on_rows"}
    return {**kept, "rounds": rounds}


def _thinned(rows: Ints, who: Ints, seed: int, most: int = SEARCH_ROWS) -> Ints:
    """Keep whole customers until about `most` rows are left."""
    if len(rows) <= most:
        return rows
    people = np.unique(who[rows])
    keep = np.random.default_rng(seed).permutation(people)[: len(people) * most // len(rows)]
    return rows[np.isin(who[rows], keep)]


def _resampled(who: Ints, seed: int, most: int) -> Ints:
    """Draw customers with replacement and take all their rows."""
    rng = np.random.default_rng(seed)
    people, first = np.unique(who, return_inverse=True)
    draws = len(people) if len(who) <= most else max(len(people) * most // len(who), 1)
    times = np.bincount(rng.integers(0, len(people), draws), minlength=len(people))
    return np.repeat(np.arange(len(who)), times[first])


def _recent(when: Ints, purge: int) -> Floats:
    """Weights that halve with every purge of age."""
    return 0.5 ** ((when.max() - when) / max(purge, 1))


def _interval_bins(value: Floats, y: Floats, level: float) -> dict[str, list[float]]:
    """Multiples of the prediction between which outcomes fell, per bin of similar predictions."""
    order = np.argsort(value, kind="stable")
    groups = np.array_split(order, max(min(20, len(value) // 100), 1))
    tail = (1.0 - level) / 2.0
    edges, low, high = [], [], []
    for number, rows in enumerate(groups):
        multiples = y[rows] / np.maximum(value[rows], 1e-9)
        n = len(rows)
        # the conformal rank: one more row than were seen
        below = np.quantile(multiples, max(np.floor(tail * (n + 1)) / n, 0.0), method="lower")
        # where so many bring nothing that 0 is the lower end, nobody is left to fall below it
        above = level if below == 0.0 else 1.0 - tail
        low.append(float(below))
        high.append(
            float(np.quantile(multiples, min(np.ceil(above * (n + 1)) / n, 1.0), method="higher"))
        )
        if number:
            edges.append(float(value[rows[0]]))
    return {"edges": edges, "low": low, "high": high}
