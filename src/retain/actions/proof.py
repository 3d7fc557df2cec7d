"""Proof: what acting changed, what the list caught and missed, and who was right.

Nothing here decides anything: plain frames in, figures with intervals out. What is not known yet is
said to be not known, with how long it will take.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import many
from retain.metrics.intervals import share_interval

__all__ = [
    "Effect",
    "agreement",
    "effect_of_acting",
    "false_alarms",
    "lead_times",
    "misses",
    "precision_by_week",
    "who_was_right",
]

LEVEL = 0.95
CLAIM_ERROR = 0.01  # chance that an effect is ever claimed, in all the weeks, where there is none
WORTH_FINDING = 0.05  # a fall of the share that leaves, when nothing better is known to aim for
LEAST_LEAVERS = 5  # in both groups together, before a difference is looked at
FOREVER_WEEKS = 520
MORE_WEEKS = ("more week", "more weeks")
LEVELS = {"low": 0, "watch": 1, "high": 2}


@dataclass(frozen=True)
class Effect:
    """What acting changed.

    Parameters
    ----------
    contacted, held_out
        Customers of each group whose outcome is known.
    left_contacted, left_held_out
        Shares of them that left, 0 to 1; nan for nobody.
    kept
        Fall of the share that leaves when a customer is put on the list, -1 to 1: above 0 acting
        keeps customers. nan when a group is empty.
    low, high
        95 % interval of `kept`; see Notes of `effect_of_acting`.
    is_certain
        Whether a difference is claimed: only when an interval that stays true however often one
        looks leaves out 0.
    saved
        Customers kept so far: `kept` times those contacted; nan unless `is_certain`.
    more_weeks
        Weeks until a difference of this size could be told from chance, at today's pace; 0 when
        it can be now; None when it cannot be foreseen.
    overdue
        Lists that are old enough for their outcomes, none of which is noted.
    said
        All that in a sentence.
    """

    contacted: int
    held_out: int
    left_contacted: float
    left_held_out: float
    kept: float
    low: float
    high: float
    is_certain: bool
    saved: float
    more_weeks: int | None
    overdue: int
    said: str


def effect_of_acting(
    units: pd.DataFrame,
    *,
    horizon_weeks: int = 13,
    newest: str | None = None,
    overdue: int = 0,
) -> Effect:
    """Compare those put on the list with those drawn to be left alone.

    Everybody is counted in the group that was drawn, whatever was done afterwards: what is compared
    is random, what was done is not.

    Parameters
    ----------
    units
        One row per draw: customer_id, entered_week (a date), is_holdout, has_left (0 or 1; nan
        while the horizon has not passed).
    horizon_weeks
        Weeks after which the outcome of a draw is known.
    newest
        The newest scored week; default: the newest draw.
    overdue
        Lists that are old enough for their outcomes, none of which is noted.

    Returns
    -------
    Effect
        Of a customer's several draws all count; the intervals count customers, not draws.

    Notes
    -----
    The interval shown is Newcombe's: each share's Wilson interval, and of their far ends the
    difference. It stays honest where nobody of a group has left: of 0 in 4 it does not conclude
    that nobody ever would. A group counts as many as its customers; where their draws go together
    the interval is widened about the difference by as much as the spread is. The claim uses a
    confidence sequence, which holds at every look together, because the figure is looked at every
    week: its half-width is
    ``s * sqrt(2 (n r² + 1) / (n² r²) * log(sqrt(n r² + 1) / 0.01))`` with s the spread of the
    difference per customer and r tuned to 200 customers.

    References
    ----------
    Newcombe (1998), Interval estimation for the difference between independent proportions,
    Statistics in Medicine 17, method 10. Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024),
    Time-uniform central limit theory and asymptotic confidence sequences, Annals of Statistics
    52(6).

    Examples
    --------
    >>> units = pd.DataFrame(
    ...     {
    ...         "customer_id": [f"C{n}" for n in range(400)],
    ...         "entered_week": "2026-01-04",
    ...         "is_holdout": [n % 2 == 0 for n in range(400)],
    ...         "has_left": [float(n % 2 == 0 and n % 4 == 0) for n in range(400)],
    ...     }
    ... )
    >>> found = effect_of_acting(units)
    >>> found.left_held_out, found.left_contacted, found.kept, found.is_certain
    (0.5, 0.0, 0.5, True)
    """
    known = units[units["has_left"].notna()]
    held = known["is_holdout"].to_numpy(dtype=bool)
    left = known["has_left"].to_numpy(dtype=np.float64)
    n_held, n_contact = int(held.sum()), int((~held).sum())
    if n_held == 0 or n_contact == 0:
        return _nothing_yet(units, n_contact, n_held, left, held, horizon_weeks, newest, overdue)
    share_held, share_contact = float(left[held].mean()), float(left[~held].mean())
    kept = share_held - share_contact
    people, at = np.unique(known["customer_id"].astype(str).to_numpy(), return_inverse=True)
    low, high = _difference_interval(left, held, at, len(people))
    half = _sequence_half_width(left, held, at, len(people))
    leavers = int(left.sum())
    is_certain = leavers >= LEAST_LEAVERS and abs(kept) > half
    more = 0 if is_certain else _more_weeks(units, kept, half)
    figures = (
        f"of {n_held:,} left alone {100 * share_held:.1f} % left, of {n_contact:,} on the list "
        f"{100 * share_contact:.1f} %: of 100 on the list {_moved(kept)} left "
        f"({_moved(low)} to {_moved(high)})"
    )
    if is_certain:
        said = figures
    else:
        wait = (
            "no end in sight at this pace" if more is None else f"about {many(more, *MORE_WEEKS)}"
        )
        said = f"no effect is claimed; {figures}; not enough data yet: {wait}"
    if overdue:
        said = f"{said}; {_told_overdue(overdue)}"
    return Effect(
        n_contact,
        n_held,
        share_contact,
        share_held,
        kept,
        low,
        high,
        is_certain,
        kept * n_contact if is_certain else math.nan,
        more,
        overdue,
        said,
    )


def _moved(kept: float) -> str:
    """Say a fall of the share that leaves, in 100 customers, so that a rise reads as one.

    Examples
    --------
    >>> _moved(0.05), _moved(-0.165)
    ('5.0 fewer', '16.5 more')
    """
    return f"{abs(100 * kept):.1f} {'more' if round(1000 * kept) < 0 else 'fewer'}"


def _told_overdue(overdue: int) -> str:
    return (
        f"{many(overdue, 'list is', 'lists are')} old enough for outcomes and none are noted: they "
        "come with the next weekly run; score once more (`retain score CONFIG`)"
    )


def _nothing_yet(
    units: pd.DataFrame,
    n_contact: int,
    n_held: int,
    left: Any,
    held: Any,
    horizon_weeks: int,
    newest: str | None,
    overdue: int,
) -> Effect:
    waiting = units[units["has_left"].isna()]
    both = waiting["is_holdout"].nunique() == 2 or (n_contact + n_held > 0 and len(waiting) > 0)
    more = None
    if units.empty:
        said = "not enough data yet: nobody has been on the list"
    elif overdue:
        said = _told_overdue(overdue)
    elif not units["is_holdout"].any():
        said = (
            "nothing to compare with: nobody was drawn to be left alone yet (review.holdout_share "
            "says how many are)"
        )
    else:
        after = f"{horizon_weeks} weeks after the list"
        said = f"not enough data yet: the first outcomes are known {after}"
    if len(units) and both and not overdue:
        day = pd.to_datetime(units["entered_week"])
        now = day.max() if newest is None else pd.Timestamp(newest)
        more = max(horizon_weeks - int((now - day.min()).days // 7), 1)
        said = f"{said}; at least {many(more, *MORE_WEEKS)}"
    return Effect(
        n_contact,
        n_held,
        float(left[~held].mean()) if n_contact else math.nan,
        float(left[held].mean()) if n_held else math.nan,
        math.nan,
        math.nan,
        math.nan,
        False,
        math.nan,
        more,
        overdue,
        said,
    )


def _difference_interval(
    left: Any, held: Any, at: Any, people: int, level: float = LEVEL
) -> tuple[float, float]:
    """Give Newcombe's interval of the difference, groups counted as their customers are worth.

    Examples
    --------
    0 of 4 left alone and 13 of 79 on the list left, a difference of -0.1646. Wilson's intervals are
    0 to 0.4899 and 0.0988 to 0.2615; -0.1646 - sqrt((0 - 0)² + (0.2615 - 0.1646)²) = -0.2615 and
    -0.1646 + sqrt((0.4899 - 0)² + (0.1646 - 0.0988)²) = 0.3297:

    >>> held = np.arange(83) < 4
    >>> left = (np.arange(83) >= 70).astype(float)
    >>> low, high = _difference_interval(left, held, np.arange(83), 83)
    >>> round(low, 4), round(high, 4)
    (-0.2615, 0.3297)
    """
    worth = 1 / _design(left, held, at, people) ** 2  # of one draw
    (low1, p1, high1), (low0, p0, high0) = (
        _wilson(left[group].mean(), group.sum() * worth, level) for group in (held, ~held)
    )
    return (
        p1 - p0 - math.hypot(p1 - low1, high0 - p0),
        p1 - p0 + math.hypot(high1 - p1, p0 - low0),
    )


def _wilson(share: float, n: float, level: float) -> tuple[float, float, float]:
    low, high = share_interval(float(share * n), float(n), level) or (0.0, 1.0)
    return low, float(share), high


def _sequence_half_width(left: Any, held: Any, at: Any, people: int) -> float:
    """Half-width of the interval that stays true however often one looks."""
    share = held.mean()
    # what each draw adds to the difference, once centred; a little is added to each group so that
    # a group in which nobody has left yet is not taken for certain
    means = {g: (left[held == g].sum() + 1.0) / ((held == g).sum() + 2.0) for g in (True, False)}
    spread = math.sqrt(
        means[True] * (1 - means[True]) / share + means[False] * (1 - means[False]) / (1 - share)
    )
    n, repeated = people, len(left) / people
    doubt = 2 * math.log(1 / CLAIM_ERROR)
    r2 = (doubt + math.log(doubt + 1)) / 200
    look = math.log(math.sqrt(n * r2 + 1) / CLAIM_ERROR)
    width = math.sqrt(2 * (n * r2 + 1) / (n * n * r2) * look)
    return spread * width / math.sqrt(max(repeated, 1.0)) * _design(left, held, at, people)


def _design(left: Any, held: Any, at: Any, people: int) -> float:
    """How much wider the spread is because one customer's draws go together; at least 1."""
    if people == len(left):
        return 1.0
    centred = np.where(held, left - left[held].mean(), -(left - left[~held].mean()))
    alone = float((centred**2).sum())
    together = float((np.bincount(at, weights=centred, minlength=people) ** 2).sum())
    if alone == 0:  # nothing tells how far they go together: as if altogether
        return math.sqrt(len(left) / people)
    return math.sqrt(max(together / alone, 1.0))


def _more_weeks(units: pd.DataFrame, kept: float, half: float) -> int | None:
    days = pd.to_datetime(units["entered_week"])
    weeks = max((days.max() - days.min()).days // 7 + 1, 1)
    aim = max(abs(kept), WORTH_FINDING)
    more = math.ceil(weeks * ((half / aim) ** 2 - 1)) if half > aim else 1
    return None if more > FOREVER_WEEKS else max(more, 1)


def precision_by_week(listed: pd.DataFrame) -> pd.DataFrame:
    """Say of each week's list how many left within the horizon.

    Parameters
    ----------
    listed
        as_of, customer_id, status (contact or holdout), has_left (0, 1 or nan).

    Returns
    -------
    DataFrame
        as_of; of those listed to be contacted: listed, known, left, precision with low and high
        (Wilson, 90 %); of those left alone, whom no contact could have kept: left_alone,
        alone_known, alone_left, alone_precision.

    Examples
    --------
    >>> listed = pd.DataFrame(
    ...     {
    ...         "as_of": "2026-01-04",
    ...         "customer_id": list("abcd"),
    ...         "status": ["contact"] * 3 + ["holdout"],
    ...         "has_left": [1.0, 0.0, None, 1.0],
    ...     }
    ... )
    >>> precision_by_week(listed)[["listed", "known", "left", "precision"]].iloc[0].tolist()
    [3.0, 2.0, 1.0, 0.5]
    """
    rows: list[dict[str, Any]] = []
    for day, week in listed.groupby("as_of", sort=True):
        is_alone = week["status"] == "holdout"
        known, alone = (week.loc[mine, "has_left"].dropna() for mine in (~is_alone, is_alone))
        left, n = int(known.sum()), len(known)
        low, high = share_interval(left, n, 0.90) or (math.nan, math.nan)
        rows.append(
            {
                **{"as_of": str(day), "listed": int((~is_alone).sum()), "known": n, "left": left},
                **{"precision": left / n if n else math.nan, "low": low, "high": high},
                **{"left_alone": int(is_alone.sum()), "alone_known": len(alone)},
                "alone_left": int(alone.sum()),
                "alone_precision": float(alone.mean()) if len(alone) else math.nan,
            }
        )
    names = ["as_of", "listed", "known", "left", "precision", "low", "high", "left_alone"]
    return pd.DataFrame(rows, columns=[*names, "alone_known", "alone_left", "alone_precision"])


def false_alarms(listed: pd.DataFrame) -> dict[str, float]:
    """Share of those listed who stayed, of those left alone and of those contacted.

    Only the first is a false alarm for certain: who stayed after a contact may have been kept.

    Parameters
    ----------
    listed
        As for `precision_by_week`.
    """
    known = listed[listed["has_left"].notna()]
    found = {}
    for status in ("holdout", "contact"):
        mine = known.loc[known["status"] == status, "has_left"]
        found[status] = float(1 - mine.mean()) if len(mine) else math.nan
        found[f"{status}_n"] = float(len(mine))
    return found


def misses(scores: pd.DataFrame, left: pd.DataFrame, *, most: int = 100) -> pd.DataFrame:
    """List customers who left although the score was low, with what was visible then.

    Parameters
    ----------
    scores
        as_of, customer_id, churn_probability, percentile, risk_band, and whatever was visible.
    left
        customer_id, left_on (a date) of those who left.
    most
        How many, by value at risk lost, or by percentile.

    Returns
    -------
    DataFrame
        The newest row before each left, of those whose band was `low` in it; with `left_on` and
        `weeks_before`, weeks between that row and the end.
    """
    day = pd.to_datetime(scores["as_of"])
    both = scores.assign(_day=day).merge(left[["customer_id", "left_on"]], on="customer_id")
    both["_left"] = pd.to_datetime(both["left_on"])
    before = (both["_day"] < both["_left"]) | both["_left"].isna()
    both = both[before & both["churn_probability"].notna()]
    last = both.sort_values("_day").drop_duplicates("customer_id", keep="last")
    missed = last[last["risk_band"] == "low"].copy()
    missed["weeks_before"] = (missed["_left"] - missed["_day"]).dt.days / 7
    by = "mrr" if "mrr" in missed and missed["mrr"].notna().any() else "percentile"
    missed = missed.sort_values([by, "customer_id"], ascending=[by == "percentile", True])
    return missed.drop(columns=["_day", "_left"]).head(most).reset_index(drop=True)


def lead_times(flagged: pd.DataFrame, left: pd.DataFrame) -> dict[str, Any]:
    """Say how long before the end those who left were first on the list.

    Parameters
    ----------
    flagged
        customer_id, first_on (first week on the list or held out).
    left
        customer_id, left_on.

    Returns
    -------
    dict
        left, flagged (of them), share_flagged, median_weeks, share_four_weeks (flagged at least
        four weeks ahead, of all who left).

    Examples
    --------
    >>> lead_times(
    ...     pd.DataFrame({"customer_id": ["a", "b"], "first_on": ["2026-01-04", "2026-02-01"]}),
    ...     pd.DataFrame({"customer_id": ["a", "c"], "left_on": ["2026-03-01", "2026-03-01"]}),
    ... )["median_weeks"]
    8.0
    """
    both = left.merge(flagged, on="customer_id", how="left")
    weeks = (pd.to_datetime(both["left_on"]) - pd.to_datetime(both["first_on"])).dt.days / 7
    ahead = weeks[weeks > 0]
    n = len(both)
    return {
        "left": n,
        "flagged": len(ahead),
        "share_flagged": len(ahead) / n if n else math.nan,
        "median_weeks": float(ahead.median()) if len(ahead) else math.nan,
        "share_four_weeks": float((weeks >= 4).sum() / n) if n else math.nan,
    }


def who_was_right(judged: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Compare model, health score, lead and final decision on the same customers.

    Parameters
    ----------
    judged
        customer_id, model_probability, health_score, lead_risk and final_risk (low, watch, high),
        has_left (0, 1 or nan). Only rows with an outcome count; each opinion is judged where it
        was given.
    seed
        Of the resampling.

    Returns
    -------
    DataFrame
        opinion, n, left, auc with low and high (90 %, resampling customers): chance that one who
        left was held to be at higher risk than one who stayed; 0.5 is guessing. `n_all` and
        `auc_all` on the rows on which every opinion that was given at all is there.

    Examples
    --------
    >>> judged = pd.DataFrame(
    ...     {
    ...         "customer_id": list("abcd"),
    ...         "model_probability": [0.9, 0.8, 0.2, 0.1],
    ...         "health_score": [80.0, 20.0, 60.0, 90.0],
    ...         "lead_risk": ["high", "low", "low", "low"],
    ...         "final_risk": None,
    ...         "has_left": [1.0, 1.0, 0.0, 0.0],
    ...     }
    ... )
    >>> dict(who_was_right(judged)[["opinion", "auc"]].to_numpy().tolist())
    {'model': 1.0, 'health score': 0.75, 'lead': 0.75, 'final': nan}
    """
    known = judged[judged["has_left"].notna()].reset_index(drop=True)
    y = known["has_left"].to_numpy(dtype=np.float64)
    opinions = {
        "model": pd.to_numeric(known["model_probability"]).to_numpy(dtype=np.float64),
        "health score": -pd.to_numeric(known["health_score"]).to_numpy(dtype=np.float64),
        "lead": known["lead_risk"].map(LEVELS).to_numpy(dtype=np.float64),
        "final": known["final_risk"].map(LEVELS).to_numpy(dtype=np.float64),
    }
    given = [np.isfinite(p) for p in opinions.values() if np.isfinite(p).any()]
    everywhere = np.logical_and.reduce(given) if given else np.zeros(len(y), dtype=bool)
    rows: list[dict[str, Any]] = []
    for name, p in opinions.items():
        here = np.isfinite(p)
        low, high = _auc_interval(y[here], p[here], known["customer_id"].to_numpy()[here], seed)
        rows.append(
            {
                **{"opinion": name, "n": int(here.sum()), "left": int(y[here].sum())},
                **{"auc": _auc(y[here], p[here]), "low": low, "high": high},
                "n_all": int(everywhere.sum()),
                "auc_all": _auc(y[everywhere], p[everywhere]) if here.any() else math.nan,
            }
        )
    return pd.DataFrame(rows)


def _auc(y: Any, p: Any) -> float:
    from scipy.stats import rankdata

    ones = float(y.sum())
    zeros = len(y) - ones
    if ones == 0 or zeros == 0:
        return math.nan
    return float((rankdata(p)[y == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _auc_interval(y: Any, p: Any, who: Any, seed: int) -> tuple[float, float]:
    people, at = np.unique(who.astype(str), return_inverse=True)
    if not len(people):
        return math.nan, math.nan
    rows = [np.flatnonzero(at == n) for n in range(len(people))]
    rng, found = np.random.default_rng(seed), []
    for _ in range(200):
        drawn = np.concatenate([rows[n] for n in rng.integers(0, len(people), len(people))])
        found.append(_auc(y[drawn], p[drawn]))
    kept = np.array(found)[~np.isnan(found)]
    if not len(kept):
        return math.nan, math.nan
    low, high = np.quantile(kept, (0.05, 0.95))
    return float(low), float(high)


def agreement(verdicts: pd.DataFrame, *, least: int = 5) -> pd.DataFrame:
    """Say how often people agree with each signal as a reason.

    Parameters
    ----------
    verdicts
        customer_id, signal, theme, verdict (right, wrong, not_useful, already_known).
    least
        Verdicts on different customers before a signal is flagged.

    Returns
    -------
    DataFrame
        signal, theme, n, right, wrong, not_useful, already_known, agreement (right or already
        known, of those and wrong), low and high (Wilson, 90 %), useful (right, of all), and
        `is_rejected`: even the upper end of the interval is below one half, so that the data
        scientist should look at the signal. By verdicts, most first.

    Examples
    --------
    >>> verdicts = pd.DataFrame(
    ...     {
    ...         "customer_id": [f"C{n}" for n in range(12)],
    ...         "signal": ["tenure"] * 8 + ["open cases"] * 4,
    ...         "theme": ["profile"] * 8 + ["effort"] * 4,
    ...         "verdict": ["wrong"] * 7 + ["right"] * 5,
    ...     }
    ... )
    >>> agreement(verdicts)[["signal", "n", "agreement", "is_rejected"]].to_numpy().tolist()
    [['tenure', 8, 0.125, True], ['open cases', 4, 1.0, False]]
    """
    kinds = ("right", "wrong", "not_useful", "already_known")
    rows: list[dict[str, Any]] = []
    for signal, mine in verdicts.groupby("signal", sort=True):
        count = {kind: int((mine["verdict"] == kind).sum()) for kind in kinds}
        agreed = count["right"] + count["already_known"]
        said = agreed + count["wrong"]
        low, high = share_interval(agreed, said, 0.90) or (math.nan, math.nan)
        enough = mine["customer_id"].nunique() >= least and said >= least
        rows.append(
            {
                **{"signal": signal, "theme": mine["theme"].iloc[-1], "n": len(mine), **count},
                **{"agreement": agreed / said if said else math.nan, "low": low, "high": high},
                "useful": count["right"] / len(mine),
                "is_rejected": bool(enough and high < 0.5),
            }
        )
    names = ["signal", "theme", "n", *kinds, "agreement", "low", "high", "useful", "is_rejected"]
    found = pd.DataFrame(rows, columns=names)
    return found.sort_values(["n", "signal"], ascending=[False, True]).reset_index(drop=True)
