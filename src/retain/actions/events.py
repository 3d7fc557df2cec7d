"""Sudden signals between two weekly runs: rules over new rows and the customer's usual behaviour.

Each rule is a pure function of rows (ours by name and type, as `retain.tables.read_news` gives
them), of who the customers are and of what is usual for them. Thresholds are stated with their
units where they are defaults; each alert carries the rows that it rests on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pandas as pd

from retain.actions.alerts import Alert, Evidence
from retain.weeks import UsualWeeks

__all__ = [
    "CANCEL_WORDS",
    "LOOK_BACK_DAYS",
    "burst",
    "cancel_page",
    "detractor",
    "failed_payment",
    "hard_contacts",
    "silence",
]

DAYS = 7
SILENCE_WEEKS = 13
REPEAT_DAYS, SWITCH_DAYS, LONG_HOURS = 7, 14, 72  # as in the customer-weeks
LOOK_BACK_DAYS = 7 + SWITCH_DAYS  # of contacts that `burst` needs to see
CANCEL_WORDS = ("*cancel*", "*unsubscribe*", "*close*account*", "*delete*account*", "*terminate*")
QUOTED = 280  # characters of a comment that are shown
LISTED = 5  # evidence rows of one alert


def silence(
    last_seen: pd.Series[Any],
    usual: UsualWeeks,
    people: pd.DataFrame,
    until: datetime,
    *,
    least_days: int = 7,
    times_longest_pause: float = 1.5,
    least_active_weeks: int = 12,
    most_chance: float = 0.001,
) -> list[Alert]:
    """Tell who is usually active and has been silent for longer than ever, and than by chance.

    Parameters
    ----------
    last_seen
        Newest use since the last weekly run, by customer_id; who was not seen is absent.
    usual
        Customer-weeks up to the last weekly run.
    people
        Eligible customers by customer_id: owner, value_at_risk, mrr.
    until
        Newest moment for which use is known at all: of a late source nothing is silence.
    least_days
        Days of silence below which nobody is told about.
    times_longest_pause
        Silence must be at least this many times the customer's longest pause between two active
        days in the 13 weeks before.
    least_active_weeks
        Of those 13 weeks, how many must hold an active day: who comes seldom is not usually active.
    most_chance
        Chance of so long a silence by the customer's own share of active days, 0 to 1, from which
        on it is told: whoever comes on two days a week is away for ten days now and then.

    Returns
    -------
    list of Alert
        The episode is the last active day, so that one silence is told once.

    Examples
    --------
    Active every Monday to Friday, last on Friday 6 November; it is Monday 16 November:

    >>> days = np.tile([True] * 5 + [False] * 2, 13)[None, :]
    >>> days[0, -7:] = False
    >>> last_day = (date(2026, 11, 15) - date(1970, 1, 1)).days
    >>> usual = UsualWeeks(np.array(["C1"]), last_day, days, {})
    >>> people = pd.DataFrame({"owner": ["Ann"], "value_at_risk": [1.0], "mrr": 1.0}, index=["C1"])
    >>> nothing = pd.Series(dtype="datetime64[us]")
    >>> silence(nothing, usual, people, datetime(2026, 11, 16, 9))[0].sentence
    'C1 has been silent for 9 days; usually active on 4.6 days a week, never away for more than 2.'
    """
    if usual.active is None or usual.weeks < SILENCE_WEEKS:
        return []
    window = usual.active[:, -SILENCE_WEEKS * DAYS :]
    first = usual.last_day - window.shape[1] + 1
    today = (until.date() - _EPOCH).days
    found = []
    for at, who in enumerate(usual.customers.astype(object)):
        if who not in people.index:
            continue
        active = np.flatnonzero(window[at])
        weeks_active = len(np.unique(active // DAYS))
        new = last_seen.get(who)
        weeks_needed = least_active_weeks
        if len(active) < 2 or weeks_active < weeks_needed:
            continue
        last = first + int(active[-1])
        longest = int(np.diff(active).max()) - 1
        if new is not None and not pd.isna(new):
            newest = (pd.Timestamp(new).date() - _EPOCH).days
            if newest > last:
                longest, last = max(longest, newest - last - 1), newest
        silent = today - last - 1  # whole days: today is not over
        least = max(
            least_days,
            math.ceil(times_longest_pause * longest),
            _days_by_chance(len(active) / window.shape[1], most_chance),
        )
        if silent < least:
            continue
        row = people.loc[who]
        per_week = len(active) / SILENCE_WEEKS
        day = _EPOCH + timedelta(days=last)
        found.append(
            _alert(
                "silence",
                who,
                row,
                # when the limit was reached, whenever that was noticed
                datetime.combine(_EPOCH + timedelta(days=last + least + 1), time()),
                f"{who} has been silent for {silent} days; usually active on {per_week:.1f} days "
                f"a week, never away for more than {longest}.",
                (
                    Evidence(f"Last active on {_moment(day)}", "usage"),
                    Evidence(
                        f"Active on {len(active)} of the {window.shape[1]} days up to "
                        f"{_moment(_EPOCH + timedelta(days=usual.last_day))}, in {weeks_active} of "
                        f"{SILENCE_WEEKS} weeks",
                        "usage",
                    ),
                ),
                episode=str(day),
            )
        )
    return found


def _days_by_chance(share: float, most_chance: float) -> int:
    """Count the days without use that are as unlikely as `most_chance` at a share of active days.

    Examples
    --------
    >>> _days_by_chance(0.5, 0.001), _days_by_chance(1.0, 0.001)  # 0.5 ** 10 = 1 / 1024
    (10, 1)
    """
    return 1 if share >= 1 else math.ceil(math.log(most_chance) / math.log1p(-share))


def hard_contacts(contacts: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """Say of each contact whether it was one of high effort, and why, as known at a moment.

    Parameters
    ----------
    contacts
        Rows of interactions: interaction_id, customer_id, opened_at and what else there is.
    until
        What happened later is not known: a resolution, and with it transfers and reopens.

    Returns
    -------
    DataFrame
        The rows opened by then, by opened_at, with `why`: empty where the effort was usual.

    Notes
    -----
    The same things count as in the customer-weeks: contacting again about the same issue within 7
    days or as a follow-up, another channel within 14 days, open or resolved after more than 72
    hours, transferred twice or reopened. Issues are told apart by case, else by what the contact
    follows, else by topic.
    """
    rows = contacts[contacts["opened_at"] <= until].sort_values(["opened_at", "interaction_id"])
    rows = rows.reset_index(drop=True)
    none = pd.Series([None] * len(rows), dtype=object)

    def column(name: str) -> pd.Series[Any]:
        return rows[name].astype(object).where(rows[name].notna(), None) if name in rows else none

    issue = column("case_id").combine_first(column("follows_id")).combine_first(column("topic"))
    keys = pd.Series(list(zip(rows["customer_id"], issue, strict=True)), dtype=object)
    known_issue = issue.notna()
    before_at = rows["opened_at"].groupby(keys).shift().where(known_issue)
    before_way = column("channel").groupby(keys).shift().where(known_issue)
    gap = (rows["opened_at"] - before_at).dt.total_seconds() / 86400.0
    follows = column("follows_id").notna()
    way = column("channel")
    switched = (gap <= SWITCH_DAYS) & way.notna() & before_way.notna() & (way != before_way)
    done = [name for name in ("resolved_at", "closed_at") if name in rows]
    ended = rows[done].min(axis=1) if done else pd.Series(pd.NaT, index=rows.index)
    ended = ended.where(ended <= until)
    hours = (ended.fillna(pd.Timestamp(until)) - rows["opened_at"]).dt.total_seconds() / 3600.0
    is_over = ended.notna()

    def at_least(name: str, least: int) -> pd.Series[Any]:
        return (rows[name].fillna(0) >= least) & is_over if name in rows else is_over & False

    reasons = {
        "contacted again about the same": (gap <= REPEAT_DAYS) | follows,
        "another channel": switched,
        f"open or resolved after more than {LONG_HOURS} hours": (hours > LONG_HOURS) & bool(done),
        "handed on twice or more": at_least("transfer_count", 2),
        "reopened": at_least("reopen_count", 1),
    }
    told: list[list[str]] = [[] for _ in range(len(rows))]
    for reason, holds in reasons.items():
        for place in np.flatnonzero(holds.to_numpy(dtype=bool)):
            told[place].append(reason)
    rows["why"] = [", ".join(parts) for parts in told]
    return rows


def burst(
    contacts: pd.DataFrame,
    usual: UsualWeeks,
    people: pd.DataFrame,
    until: datetime,
    *,
    within_days: int = 7,
    least_contacts: int = 3,
    most_chance: float = 0.01,
) -> list[Alert]:
    """Tell who had more contacts of high effort within a few days than is usual for them.

    Parameters
    ----------
    contacts
        Rows of interactions of the last `LOOK_BACK_DAYS`, see `hard_contacts`.
    usual, people, until
        As for `silence`.
    within_days
        Length of the window in days, up to `until`.
    least_contacts
        Contacts of high effort in it.
    most_chance
        Chance of as many in a window by the customer's own rate (that of all customers where it is
        higher), as a Poisson count: above it the burst is nothing unusual for them.

    Returns
    -------
    list of Alert
        The episode is the newest of the contacts.
    """
    rows = hard_contacts(contacts, until)
    start = until - timedelta(days=within_days)
    rows = rows[(rows["why"] != "") & (rows["opened_at"] > start)]
    weekly = usual.sums.get("hard")
    share = within_days / DAYS
    everyone = float(weekly.mean()) if weekly is not None and weekly.size else 0.0
    found = []
    for who, mine in rows.groupby("customer_id", sort=True):
        if who not in people.index or len(mine) < least_contacts:
            continue
        own = 0.0
        if weekly is not None:
            at = int(np.searchsorted(usual.customers, str(who)))
            if at < len(usual.customers) and usual.customers[at] == who:
                own = float(weekly[at].mean())
        expected = max(own, everyone) * share
        if _poisson_tail(len(mine), expected) > most_chance:
            continue
        newest = mine.iloc[-1]
        found.append(
            _alert(
                "burst",
                str(who),
                people.loc[who],
                newest["opened_at"],
                f"{who} had {len(mine)} hard contacts within {within_days} days; usually "
                f"{own * 4:.1f} in four weeks.",
                tuple(
                    Evidence(
                        f"{_moment(one.opened_at)}: {_about(one)}{one.why}",
                        f"interactions {one.interaction_id}",
                    )
                    for one in mine.iloc[::-1].head(LISTED).itertuples()
                ),
                episode=str(newest["interaction_id"]),
            )
        )
    return found


def detractor(
    answers: pd.DataFrame, usual: UsualWeeks, people: pd.DataFrame, since: datetime, until: datetime
) -> list[Alert]:
    """Tell who gave an NPS answer of 0 to 6 since a moment.

    Parameters
    ----------
    answers
        Rows of surveys: customer_id, kind, score, answered_at (else sent_at), comment.
    usual, people
        As for `silence`; `usual.nps` is the answer before.
    since, until
        From after which moment, up to which.

    Returns
    -------
    list of Alert
        One per customer, for the newest answer.
    """
    stamp = "answered_at" if "answered_at" in answers else "sent_at"
    if stamp not in answers:
        return []
    at = answers[stamp]
    new = answers[
        (answers["kind"] == "nps") & answers["score"].between(0, 6) & (at > since) & (at <= until)
    ].sort_values(stamp)
    found = []
    for who, mine in new.groupby("customer_id", sort=True):
        if who not in people.index:
            continue
        row = mine.iloc[-1]
        before = _answer_before(usual, str(who))
        came = "" if before is None else f"; the answer before was {before:.0f}"
        comment = row.get("comment")
        said = f': "{_short(comment)}"' if isinstance(comment, str) and comment.strip() else ""
        found.append(
            _alert(
                "detractor",
                str(who),
                people.loc[who],
                row[stamp],
                f"{who} answered {row['score']:.0f} of 10 to how likely they are to recommend you"
                f"{came}.",
                (Evidence(f"{_moment(row[stamp])}{said or ': no comment'}", "surveys"),),
                episode=f"{row[stamp]:%Y-%m-%dT%H:%M:%S}",
            )
        )
    return found


def failed_payment(
    payments: pd.DataFrame,
    usual: UsualWeeks,
    people: pd.DataFrame,
    since: datetime,
    until: datetime,
    *,
    currency: str,
    least_amount: float = 0.0,
) -> list[Alert]:
    """Tell whose payment failed since a moment, and has not been made up for.

    Parameters
    ----------
    payments
        Rows of payments: customer_id, paid_at, amount, status, payment_id.
    usual, people
        As for `silence`; `usual.sums["failed"]` tells how often it happens to them.
    since, until
        From after which moment, up to which.
    currency
        For the sentence.
    least_amount
        Smaller amounts are not told about, in currency.

    Returns
    -------
    list of Alert
        One per customer, for the newest failure that no later payment followed.
    """
    if "status" not in payments:
        return []
    new = payments[(payments["paid_at"] > since) & (payments["paid_at"] <= until)]
    paid = new[new["status"] == "paid"].groupby("customer_id")["paid_at"].max()
    failed = new[(new["status"] == "failed") & (new["amount"] >= least_amount)]
    failed = failed.sort_values("paid_at")
    found = []
    for who, mine in failed.groupby("customer_id", sort=True):
        row = mine.iloc[-1]
        if who not in people.index or paid.get(who, pd.Timestamp.min) >= row["paid_at"]:
            continue
        times = _total(usual, "failed", str(who))
        often = "for the first time" if not times else f"as {times:.0f} times before"
        found.append(
            _alert(
                "failed_payment",
                str(who),
                people.loc[who],
                row["paid_at"],
                f"A payment of {who} over {currency} {row['amount']:,.2f} failed, {often} in "
                f"{usual.weeks} weeks.",
                tuple(
                    Evidence(
                        f"{_moment(one['paid_at'])}: {currency} {one['amount']:,.2f} failed",
                        f"payments {one['payment_id']}" if "payment_id" in mine else "payments",
                    )
                    for _, one in mine.iloc[::-1].head(LISTED).iterrows()
                ),
                episode=str(row.get("payment_id", f"{row['paid_at']:%Y-%m-%dT%H:%M:%S}")),
            )
        )
    return found


def cancel_page(
    usage: pd.DataFrame,
    people: pd.DataFrame,
    since: datetime,
    until: datetime,
    *,
    features: Iterable[str] = CANCEL_WORDS,
) -> list[Alert]:
    """Tell who has looked at how to leave since a moment.

    Parameters
    ----------
    usage
        Rows of usage: customer_id, occurred_at, feature, event_id.
    people
        As for `silence`.
    since, until
        From after which moment, up to which.
    features
        Names of the pages, `*` for anything; whatever the case.

    Returns
    -------
    list of Alert
        One per customer, for the newest visit.
    """
    if "feature" not in usage:
        return []
    names = [name.lower() for name in features]
    new = usage[(usage["occurred_at"] > since) & (usage["occurred_at"] <= until)]
    wanted = new["feature"].map(
        lambda one: isinstance(one, str) and any(fnmatch(one.lower(), name) for name in names)
    )
    wanted = wanted.astype(bool)
    found = []
    for who, mine in new[wanted].sort_values("occurred_at").groupby("customer_id", sort=True):
        if who not in people.index:
            continue
        row = mine.iloc[-1]
        visits = "once" if len(mine) == 1 else f"{len(mine)} times"
        found.append(
            _alert(
                "cancel_page",
                str(who),
                people.loc[who],
                row["occurred_at"],
                f"{who} visited {_short(row['feature'], 60)} {visits}, last on "
                f"{_moment(row['occurred_at'])}.",
                tuple(
                    Evidence(
                        f"{_moment(one['occurred_at'])}: {_short(one['feature'], 60)}",
                        f"usage {one['event_id']}" if "event_id" in mine else "usage",
                    )
                    for _, one in mine.iloc[::-1].head(LISTED).iterrows()
                ),
                episode=f"{row['occurred_at']:%Y-%m-%dT%H:%M:%S}",
            )
        )
    return found


# ---- inside ------------------------------------------------------------------------------------

_EPOCH = date(1970, 1, 1)


def _alert(
    rule: str,
    who: str,
    row: Any,
    happened_at: Any,
    sentence: str,
    evidence: tuple[Evidence, ...],
    *,
    episode: str,
) -> Alert:
    worth = next((float(row[n]) for n in ("value_at_risk", "mrr") if pd.notna(row[n])), 0.0)
    owner = row["owner"] if isinstance(row["owner"], str) else None
    at = pd.Timestamp(happened_at).to_pydatetime().replace(microsecond=0)
    return Alert(rule, who, at, sentence, evidence, episode, owner, worth)


def _moment(at: Any) -> str:
    if isinstance(at, datetime) and (at.hour or at.minute or at.second):
        return f"{at.day} {at:%B, %H:%M}"
    return f"{at.day} {at:%B}"


def _about(contact: Any) -> str:
    said = [getattr(contact, name, None) for name in ("channel", "topic")]
    told = [_short(one, 40) for one in said if isinstance(one, str)]
    return f"{', '.join(told)}; " if told else ""


def _short(text: str, most: int = QUOTED) -> str:
    """One line of a text that somebody else wrote."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


def _answer_before(usual: UsualWeeks, who: str) -> float | None:
    if usual.nps is None:
        return None
    at = int(np.searchsorted(usual.customers, who))
    there = at < len(usual.customers) and usual.customers[at] == who
    return float(usual.nps[at]) if there and not np.isnan(usual.nps[at]) else None


def _total(usual: UsualWeeks, name: str, who: str) -> float:
    at = int(np.searchsorted(usual.customers, who))
    if name not in usual.sums or at >= len(usual.customers) or usual.customers[at] != who:
        return 0.0
    return float(usual.sums[name][at].sum())


def _poisson_tail(count: int, expected: float) -> float:
    """Chance of `count` or more when `expected` are usual."""
    term = total = math.exp(-expected)
    for n in range(1, count):
        term *= expected / n
        total += term
    return 1.0 - total
