"""Who is observed when, what happened to them afterwards, and how time is split.

The only room that looks past `as_of`: labels come from here, and a label is given out only when its
whole window, with gap and grace, lies in the past.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import SnapshotError
from retain.weeks import FoldedWeeks, History

__all__ = [
    "ELIGIBLE",
    "FIRST_SCORED",
    "NOT_SCORED",
    "ChurnRule",
    "ClvRule",
    "Split",
    "churn_labels",
    "churned_by",
    "clv_basis",
    "clv_labels",
    "eligibility",
    "forward_split",
    "is_hindsight",
    "later_totals",
    "learnable_horizon",
    "leaving_weeks",
    "snapshot_weeks",
]

ELIGIBLE = ""
# why a change since last week is not known
FIRST_SCORED, NOT_SCORED = "first scored this week", "not scored last week"
WEEKS_PER_YEAR = 52.0
MONTHS_PER_YEAR = 12.0


@dataclass(frozen=True)
class ChurnRule:
    """What counts as leaving, and over which weeks.

    Parameters
    ----------
    kind
        ``contract`` (paid service ended and nothing replaced it), ``event`` (the company's own
        departures) or ``inactivity`` (no purchase and no use for the whole horizon).
    horizon_weeks, gap_weeks
        The label window is (as_of + gap, as_of + gap + horizon].
    grace_weeks
        Service that resumes within so many weeks never ended (contract only).
    active_weeks
        Behaviour within so many weeks makes a customer eligible (inactivity only).
    include_involuntary
        Count endings that the customer did not choose; else those customers are left out, counted.
    """

    kind: str
    horizon_weeks: int
    gap_weeks: int = 0
    grace_weeks: int = 0
    active_weeks: int = 26
    include_involuntary: bool = True

    @property
    def ripe_weeks(self) -> int:
        """Weeks after as_of by which a label is final."""
        grace = self.grace_weeks if self.kind == "contract" else 0
        return self.gap_weeks + self.horizon_weeks + grace


@dataclass(frozen=True)
class ClvRule:
    """What a customer's value is.

    Parameters
    ----------
    horizon_weeks
        Weeks of margin that count.
    gross_margin
        Share of revenue that is margin, used where rows carry no cost, in (0, 1].
    annual_discount_rate
        Margin in t weeks is divided by (1 + rate) ** (t / 52).
    basis
        ``payments``, ``mrr``, or ``auto``: payments when there are any.
    """

    horizon_weeks: int
    gross_margin: float = 1.0
    annual_discount_rate: float = 0.0
    basis: str = "auto"


def is_hindsight(trained_as_of: str, day: date) -> bool:
    """Say whether a model has seen what came after a week that it scores.

    Parameters
    ----------
    trained_as_of
        The evening whose knowledge the model learnt from, as its bundle writes it.
    day
        The scored week.

    Examples
    --------
    >>> is_hindsight("2026-10-25", date(2026, 10, 18))
    True
    >>> is_hindsight("2026-10-25", date(2026, 10, 25))
    False
    """
    return trained_as_of > str(day)


def snapshot_weeks(
    newest: int, oldest: int, every_weeks: int, most: int | None = None
) -> NDArray[np.int64]:
    """Lay the grid of as_of weeks: anchored at the newest, going back.

    Examples
    --------
    >>> snapshot_weeks(20, 5, 4)
    array([ 8, 12, 16, 20])
    """
    weeks = np.arange(newest, oldest - 1, -every_weeks, dtype=np.int64)
    return weeks[:most][::-1]


def eligibility(history: History, rule: ChurnRule) -> NDArray[Any]:
    """Say for each customer and date why they are not scored; `ELIGIBLE` where they are.

    Returns
    -------
    array of str, shape (as_ofs, customers)
        The first rule that applies, in words.
    """
    out = np.full(history.shape, ELIGIBLE, dtype=object)

    def rule_out(mask: Any, words: str) -> None:
        out[(out == ELIGIBLE) & mask] = words

    rule_out(np.isnan(history.tenure_weeks), "not a customer yet")
    if rule.kind != "inactivity" and history.has("departures"):
        rule_out(history.departures.total("left") > 0.5, "has left")
    if rule.kind != "inactivity" and history.has("subscriptions"):
        rule_out(history.subscriptions.total("paid") < 0.5, "no paid subscription")
        if history.subscriptions.has("notice"):
            rule_out(history.subscriptions.total("notice") > 0.5, "cancellation known")
    if rule.kind == "inactivity":
        active = np.zeros(history.shape, dtype=bool)
        for panel, measure in (("usage", "events"), ("payments", "orders")):
            if history.has(panel):
                # not counted in a window, which is unknown where it begins before the table
                active |= history.panel(panel).weeks_since(measure) < rule.active_weeks
        rule_out(~active, f"no behaviour in {rule.active_weeks} weeks")
    return out


def churn_labels(
    folded: FoldedWeeks, as_ofs: Any, rule: ChurnRule
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Say who left within the label window.

    Parameters
    ----------
    folded
        Everything known by the day on which the model is trained.
    as_ofs
        Weeks of observation, shape (as_ofs,).
    rule
        What counts as leaving.

    Returns
    -------
    churned : float array of shape (as_ofs, customers)
        1 left, 0 stayed, nan where the customer left within the gap, had left by as_of as became
        known only later, or left involuntarily while those are not counted.
    involuntary : bool array of the same shape
        True where the customer left without choosing to.

    Raises
    ------
    SnapshotError
        When a window runs past the newest week: an unripe label is never a zero.
    """
    as_ofs = np.asarray(as_ofs, dtype=np.int64)
    last_ripe = folded.last_week - rule.ripe_weeks
    if len(as_ofs) and as_ofs.max() > last_ripe:
        late = folded.calendar.last_day(int(as_ofs.max()))
        raise SnapshotError(
            f"labels: the window of as_of {late} runs past the data, which ends on "
            f"{folded.calendar.last_day(folded.last_week)}; the newest as_of with a final label is "
            f"{folded.calendar.last_day(last_ripe)} ({rule.ripe_weeks} weeks of gap, horizon and "
            "grace). Use an earlier as_of or a shorter horizon."
        )
    first = int(min(as_ofs.min(initial=folded.last_week), folded.first_week))
    left, forced, away = _leaving(folded, first, rule)
    ends = _cumulated(left)
    forced_ends = _cumulated(left * forced)
    shape = (len(as_ofs), len(folded.customers))
    churned, involuntary = np.zeros(shape), np.zeros(shape, dtype=bool)
    for at, as_of in enumerate(as_ofs):
        here = int(as_of) - first + 1
        opens, closes = here + rule.gap_weeks, here + rule.gap_weeks + rule.horizon_weeks
        if rule.kind == "inactivity":
            churned[at] = (ends[closes] - ends[opens]) == rule.horizon_weeks
            continue
        churned[at] = (ends[closes] - ends[opens]) > 0
        involuntary[at] = (forced_ends[closes] - forced_ends[opens]) > 0
        churned[at][((ends[opens] - ends[here]) > 0) | away[here - 1]] = np.nan
    if not rule.include_involuntary:
        churned[involuntary] = np.nan
    return churned, involuntary


def leaving_weeks(folded: FoldedWeeks, as_ofs: Any, rule: ChurnRule) -> NDArray[np.float64]:
    """Say in which week those left who left within the label window.

    Parameters
    ----------
    folded, as_ofs, rule
        As for `churn_labels`.

    Returns
    -------
    array of shape (as_ofs, customers)
        The first week of the window in which service ended, or of departing. For inactivity the
        week at whose end the silence had lasted for the rule's horizon, counted from the last sign
        of the customer: the same for every as_of that sees this silence. nan where nobody left.
    """
    as_ofs = np.asarray(as_ofs, dtype=np.int64)
    churned, _ = churn_labels(folded, as_ofs, rule)
    first = int(min(as_ofs.min(initial=folded.last_week), folded.first_week))
    left = _leaving(folded, first, rule)[0]
    out = np.full(churned.shape, np.nan)
    if rule.kind == "inactivity":  # these are the quiet weeks
        rows = np.arange(1, len(left) + 1)[:, None]
        signs = np.maximum.accumulate(np.where(left > 0, 0, rows), axis=0)
    for at, as_of in enumerate(as_ofs):
        opens = int(as_of) - first + 1 + rule.gap_weeks
        if rule.kind == "inactivity":
            weeks = signs[opens - 1] + rule.horizon_weeks - 1
        else:
            weeks = opens + (left[opens : opens + rule.horizon_weeks] > 0).argmax(axis=0)
        gone = churned[at] > 0
        out[at, gone] = first + weeks[gone]
    return out


def churned_by(
    folded: FoldedWeeks, as_ofs: Any, rule: ChurnRule, horizons: Any
) -> NDArray[np.float64]:
    """Say who had left by each of several horizons: what a survival curve is learnt from.

    Parameters
    ----------
    folded
        Everything known by the day on which the model is trained.
    as_ofs
        Weeks of observation, shape (as_ofs,).
    rule
        What counts as leaving; its own horizon is that of `churn_labels`.
    horizons
        Weeks after the gap, ascending.

    Returns
    -------
    array of shape (horizons, as_ofs, customers)
        1 had left, 0 had not, never falling with the horizon; nan as in `churn_labels`, where the
        window is not ripe, and for inactivity before the rule's horizon: nobody can have been
        silent for 13 weeks after 4. Past it, whoever was silent for the rule's horizon at a
        stretch has left, also when they came back later.
    """
    as_ofs = np.asarray(as_ofs, dtype=np.int64)
    out = np.full((len(horizons), len(as_ofs), len(folded.customers)), np.nan)
    for at, weeks in enumerate(horizons):
        one = replace(rule, horizon_weeks=int(weeks))
        ripe = as_ofs + one.ripe_weeks <= folded.last_week
        if not ripe.any():
            continue
        if rule.kind != "inactivity":
            out[at, ripe] = churn_labels(folded, as_ofs[ripe], one)[0]
        elif weeks >= rule.horizon_weeks:
            out[at, ripe] = _fell_silent(folded, as_ofs[ripe], rule, int(weeks))
    return out


def _fell_silent(folded: FoldedWeeks, as_ofs: Any, rule: ChurnRule, weeks: int) -> Any:
    """Tell who was silent for the rule's horizon at a stretch within so many weeks of as_of."""
    first = int(min(as_ofs.min(), folded.first_week))
    quiet = _cumulated(_leaving(folded, first, rule)[0])
    stretch = rule.horizon_weeks
    ends = _cumulated(quiet[stretch:] - quiet[:-stretch] == stretch)  # of a silence, by first week
    here = as_ofs - first + 1 + rule.gap_weeks
    return (ends[here + weeks - stretch + 1] - ends[here]) > 0


def _leaving(folded: FoldedWeeks, first: int, rule: ChurnRule) -> tuple[Any, Any, Any]:
    """Weeks in which a customer left (for inactivity: showed nothing), and was away at their end.

    Leaving, leaving without choosing to, being away: each of shape (weeks, customers).
    """
    if rule.kind == "inactivity":
        quiet = np.ones((folded.last_week - first + 1, len(folded.customers)))
        for panel, measure in (("usage", "events"), ("payments", "orders")):
            if panel in folded.panels:
                quiet[_weekly(folded, panel, measure, first) > 0] = 0.0
        return quiet, np.zeros_like(quiet), np.zeros(quiet.shape, dtype=bool)
    if rule.kind == "event":
        gone, pushed, away = (
            _weekly(folded, "departures", name, first)
            for name in ("departures", "involuntary", "left")
        )
        return np.sign(gone), np.sign(pushed), np.cumsum(away, axis=0) > 0.5
    paid = np.cumsum(_weekly(folded, "subscriptions", "paid", first), axis=0) > 0.5
    ended = np.zeros(paid.shape)
    ended[1:] = paid[:-1] & ~paid[1:]
    # served again within the grace weeks: it never ended
    again = _cumulated(paid.astype(float))
    for week in range(len(ended)):
        until = min(week + 1 + rule.grace_weeks, len(ended))
        ended[week][(again[until] - again[week + 1]) > 0] = 0.0
    forced = np.zeros(paid.shape)
    if "involuntary" in folded.panels["subscriptions"].measures:
        forced = (_weekly(folded, "subscriptions", "involuntary", first) > 0).astype(float)
    return ended, forced, ~paid


def clv_basis(folded: FoldedWeeks, rule: ClvRule) -> str | None:
    """Say what value is learnt from: ``payments``, ``mrr`` or nothing."""
    has_orders = "payments" in folded.panels and len(folded.panels["payments"]) > 0
    has_mrr = "subscriptions" in folded.panels and len(folded.panels["subscriptions"]) > 0
    if rule.basis != "mrr" and has_orders:
        return "payments"
    return "mrr" if has_mrr and rule.basis != "payments" else None


def clv_labels(
    folded: FoldedWeeks, as_ofs: Any, rule: ClvRule, horizon_weeks: int
) -> NDArray[np.float64]:
    """Add up the discounted margin of the weeks after as_of, in currency.

    Parameters
    ----------
    folded
        Everything known by the day on which the model is trained.
    as_ofs
        Weeks of observation, shape (as_ofs,).
    rule
        Margin, discount and basis.
    horizon_weeks
        Weeks to add up; may be shorter than the rule's, see `learnable_horizon`.

    Returns
    -------
    array of shape (as_ofs, customers)
        Discounted margin in (as_of, as_of + horizon], refunds taken off.
    """
    as_ofs = np.asarray(as_ofs, dtype=np.int64)
    if len(as_ofs) and as_ofs.max() + horizon_weeks > folded.last_week:
        raise SnapshotError(
            f"CLV labels: {horizon_weeks} weeks after "
            f"{folded.calendar.last_day(int(as_ofs.max()))} run past the data, which ends on "
            f"{folded.calendar.last_day(folded.last_week)}. Use an earlier as_of."
        )
    basis = clv_basis(folded, rule)
    if basis is None:
        raise SnapshotError(
            "CLV labels: there are neither payments nor subscriptions to learn value from. "
            "Bring one of the two tables, or leave CLV out."
        )
    first = int(min(as_ofs.min(initial=folded.last_week), folded.first_week))
    if basis == "payments":
        weekly = _weekly(folded, "payments", "spend", first)
        weekly = weekly - _weekly(folded, "payments", "returned", first)
        if "cost" in folded.panels["payments"].measures:
            weekly = weekly - _weekly(folded, "payments", "cost", first)
        else:
            weekly = weekly * rule.gross_margin
    else:
        mrr = np.cumsum(_weekly(folded, "subscriptions", "mrr", first), axis=0)
        weekly = mrr * MONTHS_PER_YEAR / WEEKS_PER_YEAR * rule.gross_margin
    factor = (1.0 + rule.annual_discount_rate) ** (-1.0 / WEEKS_PER_YEAR)
    weights = factor ** np.arange(len(weekly))[:, None]
    discounted = _cumulated(weekly * weights)
    out = np.empty((len(as_ofs), len(folded.customers)))
    for at, as_of in enumerate(as_ofs):
        here = int(as_of) - first + 1
        out[at] = (discounted[here + horizon_weeks] - discounted[here]) / weights[here - 1, 0]
    return out


def later_totals(
    folded: FoldedWeeks, as_ofs: Any, panel: str, measure: str, weeks: int
) -> NDArray[np.float64]:
    """Add up a measure over the weeks after as_of: (as_of, as_of + weeks].

    Parameters
    ----------
    folded
        Everything known by the day of looking back.
    as_ofs
        Weeks of observation, shape (as_ofs,).
    panel, measure
        What to add up.
    weeks
        How many weeks.

    Returns
    -------
    array of shape (as_ofs, customers)
        Sums in the measure's own unit.

    Raises
    ------
    SnapshotError
        When the weeks run past the data.
    """
    as_ofs = np.asarray(as_ofs, dtype=np.int64)
    if len(as_ofs) and as_ofs.max() + weeks > folded.last_week:
        raise SnapshotError(
            f"{panel}.{measure}: {weeks} weeks after "
            f"{folded.calendar.last_day(int(as_ofs.max()))} run past the data, which ends on "
            f"{folded.calendar.last_day(folded.last_week)}. Use an earlier as_of."
        )
    first = int(as_ofs.min(initial=folded.last_week))
    summed = _cumulated(_weekly(folded, panel, measure, first))
    here = as_ofs - first + 1
    return summed[here + weeks] - summed[here]


def learnable_horizon(history_weeks: int, horizon_weeks: int) -> int:
    """Choose how many weeks of value the data can teach.

    The whole horizon when the history holds it two and a half times (to learn, to judge, and some
    weeks to look back on), else the longest number of quarters that it does, else of weeks.

    Examples
    --------
    >>> learnable_horizon(160, 52), learnable_horizon(130, 52), learnable_horizon(39, 39)
    (52, 52, 13)
    """
    for weeks in range(horizon_weeks, 0, -1):
        stepped = weeks == horizon_weeks or weeks % 13 == 0 or weeks < 13
        if stepped and 2 * history_weeks >= 5 * weeks:
            return weeks
    raise SnapshotError(
        f"too little history for CLV: {history_weeks} weeks, at least 3 are needed. Bring more "
        "history."
    )


@dataclass(frozen=True)
class Split:
    """Weeks to learn from and weeks to be judged on, no label of the former reaching the latter.

    Parameters
    ----------
    train, test
        as_of weeks, ascending; ``train.max() + purge_weeks <= test.min()``.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def forward_split(as_ofs: Any, purge_weeks: int, test: int = 1) -> Split:
    """Keep the newest `test` as_ofs for judging and learn from those whose labels end before.

    Parameters
    ----------
    as_ofs
        Ripe weeks, ascending.
    purge_weeks
        gap + horizon + grace: a training label may not reach into the test period.
    test
        How many as_ofs to judge on.

    Examples
    --------
    >>> split = forward_split([0, 4, 8, 12, 16, 20], purge_weeks=13, test=1)
    >>> split.train.tolist(), split.test.tolist()
    ([0, 4], [20])
    """
    weeks = np.asarray(as_ofs, dtype=np.int64)
    chosen = weeks[-test:]
    train = weeks[weeks + purge_weeks <= chosen.min()]
    if len(train) == 0:
        raise SnapshotError(
            f"too little history to judge out of time: {len(weeks)} ripe as_ofs over "
            f"{int(weeks.max() - weeks.min())} weeks, but {purge_weeks} weeks must lie between "
            "learning and judging. Bring more history or shorten the horizon."
        )
    return Split(train, chosen)


def _weekly(folded: FoldedWeeks, panel: str, measure: str, first: int) -> NDArray[np.float64]:
    """Weekly sums of a measure from week `first` to the newest, late rows at their own week."""
    rows = folded.panels[panel]
    out = np.zeros((folded.last_week - first + 1, len(folded.customers)))
    keep = (rows.week >= first) & (rows.week <= folded.last_week)
    values = np.nan_to_num(rows.measures[measure][keep])
    np.add.at(out, (rows.week[keep] - first, rows.customer[keep]), values)
    return out


def _cumulated(grid: Any) -> Any:
    out = np.zeros((grid.shape[0] + 1, grid.shape[1]))
    np.cumsum(grid, axis=0, out=out[1:])
    return out
