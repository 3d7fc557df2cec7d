"""What changed between two scored weeks that somebody should hear of: risk and engagement alike.

Each function takes scored weeks (and customer-weeks) and gives alerts; none of them reads or writes
anything. All share the same manners: a state is entered above one threshold and left below a lower
one, so that nobody flaps; a move must be larger than a stated least; at most the team's capacity is
told, the most valuable first; every alert carries what it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retain.actions.alerts import Alert, Evidence
from retain.snapshots import FIRST_SCORED, NOT_SCORED
from retain.weeks import UsualWeeks

__all__ = [
    "at_risk_by_week",
    "data_stale",
    "most_engaged",
    "newly_at_risk",
    "recovered",
    "renewal_at_risk",
]

DAYS = 7
LONGEST_GAP_WEEKS = 4  # an older week before is no "since last week" any more
FEWEST_ALIKE = 30  # a segment with fewer customers is compared with everybody
EVENING = time(23, 59, 59)
MOST_DRIVERS = 5  # columns of a week that may hold sentences of one kind


def at_risk_by_week(weeks: Sequence[pd.DataFrame]) -> list[set[str]]:
    """Say who was at risk in each week: entered in band ``high``, left in band ``low``.

    Parameters
    ----------
    weeks
        Scored weeks, oldest first: customer_id, eligible, risk_band.

    Returns
    -------
    list of set of str
        One per week. Who is not eligible in a week is not at risk in it.

    Examples
    --------
    >>> bands = ["watch", "high", "watch", "low", "watch"]
    >>> weeks = [
    ...     pd.DataFrame({"customer_id": ["C1"], "eligible": [True], "risk_band": [band]})
    ...     for band in bands
    ... ]
    >>> [len(people) for people in at_risk_by_week(weeks)]
    [0, 1, 1, 0, 0]
    """
    states: list[set[str]] = []
    before: set[str] = set()
    for week in weeks:
        eligible = week[week["eligible"].astype(bool)]
        high = set(eligible.loc[eligible["risk_band"] == "high", "customer_id"])
        watch = set(eligible.loc[eligible["risk_band"] == "watch", "customer_id"])
        before = high | (before & watch)
        states.append(before)
    return states


def newly_at_risk(
    weeks: Sequence[pd.DataFrame],
    *,
    most: int,
    horizon_weeks: int,
    currency: str,
    least_rise_points: float = 2.0,
    back: int = 1,
) -> list[Alert]:
    """Tell who came into the band ``high`` since the week told about before.

    Parameters
    ----------
    weeks
        Scored weeks, oldest first; the newest is told about. With fewer than two, or a gap of more
        than four weeks, nobody is new.
    most
        How many at most, by value at risk.
    horizon_weeks, currency
        For the sentence.
    least_rise_points
        Percentage points by which the probability must have risen, what a new model makes of the
        same behaviour left out.
    back
        How many of the weeks lie behind the one told about before: 1 is the week before.

    Returns
    -------
    list of Alert
    """
    pair = _pair(weeks, back)
    if pair is None:
        return []
    states = at_risk_by_week(weeks)
    scored = [{*week.loc[week["eligible"].astype(bool), "customer_id"]} for week in weeks]
    now, before = pair
    found = []
    for who in sorted(states[-1] - states[-1 - back]):
        row: Any = now.loc[who]
        earlier = float(before["churn_probability"].to_dict().get(who, np.nan))
        rise = _moved(row, earlier)
        if not np.isnan(rise) and round(100.0 * rise, 9) < least_rise_points:
            continue
        came = f"up from {_percent(earlier)}"
        if np.isnan(rise):
            seen = next((n for n in range(2, len(weeks) + 1) if who in scored[-n]), None)
            if seen is not None and who in states[-seen]:
                continue  # was at risk when last scored: nothing is new
            is_first = seen is None and row.get("change_unknown_because") != NOT_SCORED
            came = FIRST_SCORED if is_first else NOT_SCORED
        found.append(
            _alert(
                "newly_at_risk",
                row,
                f"{who} is newly at risk: {_percent(row['churn_probability'])} to leave within "
                f"{horizon_weeks} weeks, {came}{_at_stake(row, currency)}.",
                (*_estimate(row), *_drivers(row, "driver_", 3)),
                episode=str(row["as_of"]),
                worth=_worth(row),
            )
        )
    return _most(found, most)


def recovered(
    weeks: Sequence[pd.DataFrame],
    *,
    most: int,
    horizon_weeks: int,
    currency: str,
    least_fall_points: float = 2.0,
    least_weeks_at_risk: int = 2,
    back: int = 1,
) -> list[Alert]:
    """Tell who left the state of being at risk since the week before, and is still a customer.

    Parameters
    ----------
    weeks, most, horizon_weeks, currency, back
        As for `newly_at_risk`.
    least_fall_points
        Percentage points by which the probability must have fallen since the highest of the weeks
        at risk.
    least_weeks_at_risk
        Weeks at risk in a row before it; a single week is noise.

    Returns
    -------
    list of Alert
    """
    pair = _pair(weeks, back)
    if pair is None:
        return []
    now, _ = pair
    states = at_risk_by_week(weeks)
    eligible = set(now.index[now["eligible"].astype(bool)])
    found = []
    for who in sorted((states[-1 - back] - states[-1]) & eligible):
        left = next(n for n in range(1, back + 1) if who in states[-1 - n])
        spell = 0
        while spell < len(states) - left and who in states[-1 - left - spell]:
            spell += 1
        if spell < least_weeks_at_risk:
            continue
        row: Any = now.loc[who]
        spells = pd.concat(weeks[len(weeks) - left - spell : len(weeks) - left])
        highest = float(spells.loc[spells["customer_id"] == who, "churn_probability"].max())
        fall = 100.0 * (highest - float(row["churn_probability"]))
        if round(fall, 9) < least_fall_points:
            continue
        found.append(
            _alert(
                "recovered",
                row,
                f"{who} has recovered: {_percent(row['churn_probability'])} to leave within "
                f"{horizon_weeks} weeks, down from {_percent(highest)} at worst in {spell} weeks "
                f"at risk{_at_stake(row, currency, 'mrr')}.",
                (*_estimate(row), *_drivers(row, "protective_", 2)),
                episode=str(row["as_of"]),
                worth=_worth(row, "mrr"),
            )
        )
    return _most(found, most)


def renewal_at_risk(
    weeks: Sequence[pd.DataFrame],
    *,
    most: int,
    horizon_weeks: int,
    currency: str,
    within_weeks: int = 8,
    least_term_months: float = 3.0,
    back: int = 1,
) -> list[Alert]:
    """Tell who is at risk with a renewal coming up, and was not both when last told about.

    Parameters
    ----------
    weeks, most, horizon_weeks, currency, back
        As for `newly_at_risk`.
    within_weeks
        Weeks ahead in which a renewal counts, from the last scored day.
    least_term_months
        Contracts of a shorter term renew all the time: their renewals are no occasion.

    Returns
    -------
    list of Alert
        The episode is the renewal's day: once for each.
    """
    pair = _pair(weeks, back)
    if pair is None:
        return []
    states = at_risk_by_week(weeks)

    def due(week: pd.DataFrame, people: set[str]) -> dict[str, int]:
        rows = week.loc[sorted(people)]
        found = {}
        for row in rows.to_dict("records"):
            term = row.get("term_months", np.nan)
            if isinstance(row["renews_at"], str) and not term < least_term_months:
                renews = date.fromisoformat(row["renews_at"])
                left = (renews - date.fromisoformat(str(row["as_of"]))).days
                if 0 < left <= within_weeks * DAYS:
                    found[str(row["customer_id"])] = left
        return found

    now, before = pair
    known = due(before, states[-1 - back])
    found = []
    for who, left in due(now, states[-1]).items():
        if who in known:
            continue
        row: Any = now.loc[who]
        found.append(
            _alert(
                "renewal_at_risk",
                row,
                f"{who} renews on {_day(row['renews_at'])}, in {_span(left)}, and is at risk: "
                f"{_percent(row['churn_probability'])} to leave within {horizon_weeks} weeks"
                f"{_at_stake(row, currency)}.",
                (*_estimate(row), *_drivers(row, "driver_", 3)),
                episode=row["renews_at"],
                worth=_worth(row),
            )
        )
    return _most(found, most)


def most_engaged(
    week: pd.DataFrame,
    usual: UsualWeeks,
    *,
    most: int,
    currency: str,
    enters_at_percentile: float = 90.0,
    leaves_at_percentile: float = 75.0,
    weeks_in_a_row: int = 2,
    least_growth_share: float = 0.25,
    promoter_weeks: int = 26,
    most_risk_percentile: float = 50.0,
    back: int = 1,
) -> list[Alert]:
    """Tell who has become most active among their like and ready to expand or to advocate.

    Parameters
    ----------
    week
        The newest scored week.
    usual
        Customer-weeks up to the same day.
    most
        How many at most, by MRR.
    currency
        For the sentence.
    enters_at_percentile, leaves_at_percentile
        Percentile, among eligible customers of the same segment, of the days active in four weeks:
        one is engaged from the higher one on, until below the lower one.
    weeks_in_a_row
        Weeks at or above the higher one before it counts.
    least_growth_share
        Ready to expand: events of the last 4 weeks above the mean of the 12 weeks before them by
        this share, and no failed payment in 13 weeks.
    promoter_weeks
        Ready to advocate: an NPS answer of 9 or 10 within these weeks, the newest one, and no hard
        contact in 4 weeks.
    most_risk_percentile
        Percentile of the probability of leaving above which nobody is asked for more.
    back
        Weeks since they were told about before: who was engaged and ready then is not told again.

    Returns
    -------
    list of Alert
        The episode is the week in which the customer became engaged.
    """
    if usual.active is None or usual.weeks < 4 + weeks_in_a_row + back:
        return []
    now = week[week["eligible"].astype(bool)].set_index("customer_id", drop=False)
    now = now[now.index.isin(usual.customers)]
    if now.empty:
        return []
    at = np.searchsorted(usual.customers, now.index.to_numpy(dtype=str))
    days = _days_in_four_weeks(usual.active[at])
    percentile, alike = _percentile_among_alike(days, now["segment"].to_numpy(dtype=object))
    since = _engaged_since(percentile, enters_at_percentile, leaves_at_percentile, weeks_in_a_row)
    found = []
    for place, row in enumerate(now.to_dict("records")):
        who = row["customer_id"]
        if since[place] < 0 or not row["percentile"] <= most_risk_percentile:
            continue
        ready, evidence = _ready(usual, int(at[place]), least_growth_share, promoter_weeks)
        if not ready:
            continue
        was_engaged = 0 <= since[place] < percentile.shape[1] - back
        ready_before, _ = _ready(
            usual, int(at[place]), least_growth_share, promoter_weeks, before=back
        )
        if was_engaged and set(ready) <= set(ready_before):
            continue
        running = percentile.shape[1] - int(since[place])
        began = date.fromordinal(_EPOCH + usual.last_day - (running - 1) * DAYS)
        peers = f"similar customers: {np.median(days[alike[place], -1]):.0f}"
        found.append(
            _alert(
                "most_engaged",
                row,
                f"{who} is among the most engaged and ready to {' and to '.join(ready)}: active "
                f"on {days[place, -1]:.0f} of the last 28 days ({peers})"
                f"{_at_stake(row, currency, 'mrr')}.",
                (
                    Evidence(
                        f"Above {percentile[place, -1]:.0f} % of similar customers by days active; "
                        f"for {running} {'week' if running == 1 else 'weeks'} among the top",
                        "usage",
                    ),
                    *evidence,
                ),
                episode=str(began),
                worth=_worth(row, "mrr"),
            )
        )
    return _most(found, most)


def data_stale(sources: Mapping[str, Mapping[str, Any]], as_of: date) -> list[Alert]:
    """Tell which sources end well before the scored day; once per newest day of a source.

    Parameters
    ----------
    sources
        Of a scored week's manifest: by table, ``as_of``, ``stale_days`` and ``is_stale``.
    as_of
        The scored day.

    Returns
    -------
    list of Alert
    """
    return [
        Alert(
            "data_stale",
            None,
            datetime.combine(as_of, EVENING),
            f"The table {table} ends on {_day(str(source['as_of']))}, {source['stale_days']} days "
            f"before {_day(str(as_of))}: what it would say since then is missing from the scores.",
            (Evidence(f"{source.get('used', 0):,} rows used", table),),
            episode=f"{table} {source['as_of']}",
            worth=float(source["stale_days"]),
        )
        for table, source in sorted(sources.items())
        if source.get("is_stale")
    ]


# ---- inside ------------------------------------------------------------------------------------

_EPOCH = date(1970, 1, 1).toordinal()


def _pair(weeks: Sequence[pd.DataFrame], back: int) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Give the newest week and the one told about before, by customer; None without one."""
    if len(weeks) < 1 + back:
        return None
    now, before = (
        week.set_index("customer_id", drop=False) for week in (weeks[-1], weeks[-1 - back])
    )
    if not len(now) or not len(before):
        return None
    last, first = (date.fromisoformat(str(week["as_of"].iloc[0])) for week in (now, before))
    return (now, before) if 0 < (last - first).days <= LONGEST_GAP_WEEKS * DAYS else None


def _moved(row: Any, earlier: float) -> float:
    """Change of the probability since the week before, without what a new model adds."""
    by_model = row["change_model"]
    return float(row["churn_probability"] - earlier - (0.0 if pd.isna(by_model) else by_model))


def _estimate(row: Any) -> tuple[Evidence, ...]:
    low, high = row["churn_low"], row["churn_high"]
    if pd.isna(low) or pd.isna(high):
        return ()
    return (
        Evidence(
            f"The estimate lies between {_percent(low)} and {_percent(high)}",
            f"scores {row['as_of']}",
        ),
    )


def _drivers(row: Any, prefix: str, most: int) -> tuple[Evidence, ...]:
    said = [row.get(f"{prefix}{rank}") for rank in range(1, MOST_DRIVERS + 1)]
    # two signals may speak through the same figure: it is said once
    distinct = list(dict.fromkeys(text for text in said if isinstance(text, str)))[:most]
    return tuple(Evidence(text, f"drivers {row['as_of']}") for text in distinct)


def _alert(
    rule: str,
    row: Any,
    sentence: str,
    evidence: tuple[Evidence, ...],
    *,
    episode: str,
    worth: float,
) -> Alert:
    owner = row["owner"]
    return Alert(
        rule,
        str(row["customer_id"]),
        datetime.combine(date.fromisoformat(str(row["as_of"])), EVENING),
        sentence,
        evidence,
        episode,
        owner if isinstance(owner, str) else None,
        worth,
    )


def _most(found: list[Alert], most: int) -> list[Alert]:
    return sorted(found, key=lambda alert: (-alert.worth, alert.customer_id or ""))[:most]


def _worth(row: Any, *names: str) -> float:
    for name in (*names, "value_at_risk", "mrr"):
        if pd.notna(row[name]):
            return float(row[name])
    return 0.0


def _at_stake(row: Any, currency: str, name: str = "value_at_risk") -> str:
    said = {"value_at_risk": "at risk", "mrr": "MRR"}
    return "" if pd.isna(row[name]) else f"; {currency} {row[name]:,.0f} {said[name]}"


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"


def _day(text: str) -> str:
    at = date.fromisoformat(text)
    return f"{at.day} {at:%B %Y}"


def _span(days: int) -> str:
    if days < DAYS:
        return "1 day" if days == 1 else f"{days} days"
    return "1 week" if days < 2 * DAYS else f"{days // DAYS} weeks"


def _days_in_four_weeks(active: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Days active in the four weeks up to each week's end, shape (customers, weeks - 3)."""
    weekly = active.reshape(len(active), -1, DAYS).sum(axis=2)
    totals = np.cumsum(np.pad(weekly, ((0, 0), (1, 0))), axis=1)
    return (totals[:, 4:] - totals[:, :-4]).astype(np.float64)


def _percentile_among_alike(
    values: NDArray[np.float64], segments: NDArray[Any]
) -> tuple[NDArray[np.float64], list[NDArray[np.bool_]]]:
    """Share of similar customers with fewer days, in [0, 100], by week; and who is similar."""
    out = np.zeros(values.shape)
    alike: list[NDArray[np.bool_]] = [np.ones(len(values), dtype=bool)] * len(values)
    names = pd.Series(segments, dtype=object)
    small = names.groupby(names).transform("size") < FEWEST_ALIKE
    names = names.where(~small.fillna(True).astype(bool), None)
    groups = [(names == name).to_numpy() for name in sorted(set(names.dropna()))]
    for members in groups:
        for place in np.flatnonzero(members):
            alike[place] = members
    rest = names.isna().to_numpy()
    for members, among in [*((g, g) for g in groups), (rest, np.ones(len(values), dtype=bool))]:
        for week in range(values.shape[1]):
            ordered = np.sort(values[among, week])
            below = np.searchsorted(ordered, values[members, week], side="left")
            out[members, week] = 100.0 * below / max(len(ordered), 1)
    return out, alike


def _engaged_since(
    percentile: NDArray[np.float64], enters: float, leaves: float, in_a_row: int
) -> NDArray[np.int64]:
    """Give the week in which each customer became engaged, -1 for who is not."""
    since = np.full(len(percentile), -1)
    run = np.zeros(len(percentile), dtype=np.int64)
    for week in range(percentile.shape[1]):
        run = np.where(percentile[:, week] >= enters, run + 1, 0)
        since = np.where(percentile[:, week] < leaves, -1, since)
        since = np.where((since < 0) & (run >= in_a_row), week, since)
    return since


def _ready(
    usual: UsualWeeks, at: int, least_growth: float, promoter_weeks: int, before: int = 0
) -> tuple[list[str], list[Evidence]]:
    """Say what a customer is ready for, or was some weeks before, and on what that rests."""
    ago = before

    def total(name: str, weeks: int, before: int = 0) -> float:
        if name not in usual.sums:
            return 0.0
        end = usual.sums[name].shape[1] - before - ago
        return float(usual.sums[name][at, max(end - weeks, 0) : end].sum())

    ready, evidence = [], []
    now, usually = total("events", 4), total("events", 12, before=4) / 3.0
    if usually > 0 and now >= (1.0 + least_growth) * usually and not total("failed", 13):
        ready.append("expand")
        evidence.append(
            Evidence(f"{now:,.0f} events in the last 4 weeks; usually {usually:,.0f}", "usage")
        )
    if usual.nps is not None and usual.nps_week is not None:
        answer, weeks_ago = usual.nps[at], usual.nps_week[at] - ago
        if answer >= 9 and 0 <= weeks_ago < promoter_weeks and not total("hard", 4):
            ready.append("advocate")
            said = "this week" if weeks_ago < 1 else _span(int(weeks_ago) * DAYS) + " ago"
            evidence.append(
                Evidence(
                    f"Newest NPS answer: {answer:.0f}, {said}; no hard contact in 4 weeks",
                    "surveys",
                )
            )
    return ready, evidence
