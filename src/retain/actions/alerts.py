"""What an alert is, and how alerts become messages: once each, few a day, in waking hours.

    alert      one rule met by one customer, with its evidence rows
    message    what an owner receives: one alert, or the digest of all that were over the day's cap
    delivery   one message on one channel, with its state: waiting, sending, sent or in_doubt

`raise_alerts` stores all three in one transaction; nothing is sent before it is stored.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retain.actions.alert_tables import alerts, deliveries, messages

__all__ = [
    "RULES",
    "Alert",
    "Evidence",
    "Policy",
    "Quiet",
    "Raised",
    "Rule",
    "moment_of",
    "raise_alerts",
]

REPEAT_AFTER_DAYS = 14
DIGEST_OPENS = time(8)  # a digest that waits for another day is not sent in the night


@dataclass(frozen=True)
class Rule:
    """One reason to write to an owner.

    Parameters
    ----------
    name
        As in the configuration.
    title
        Two to five words for a subject line.
    kind
        ``risk``, ``engagement`` or ``data``.
    todo
        What the owner may do first, in one sentence.
    """

    name: str
    title: str
    kind: str
    todo: str


# in the order in which they are told when several wait for the same owner
RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("cancel_page", "Cancel page visited", "risk", "Ask today what is missing."),
        Rule("failed_payment", "Payment failed", "risk", "Check the means of payment together."),
        Rule("detractor", "Detractor answer", "risk", "Answer in person within two days."),
        Rule("burst", "Burst of hard contacts", "risk", "Take the open cases into one hand."),
        Rule("silence", "Gone quiet", "risk", "Ask whether something stands in the way."),
        Rule("newly_at_risk", "Newly at risk", "risk", "Read the drivers and decide this week."),
        Rule("renewal_at_risk", "Renewal at risk", "risk", "Speak before the renewal is due."),
        Rule(
            "most_engaged",
            "Ready to expand or advocate",
            "engagement",
            "Offer the next step, or ask for a reference.",
        ),
        Rule(
            "recovered", "No longer at risk", "engagement", "Note what helped; no further action."
        ),
        Rule("data_stale", "Data stale", "data", "Check the export; scores rest on older data."),
    )
}
_ORDER = {name: place for place, name in enumerate(RULES)}


@dataclass(frozen=True)
class Evidence:
    """One row or figure behind an alert, as a person reads it.

    Parameters
    ----------
    text
        What it says, with its moment.
    source
        Where it stands: a table and the row's id where it has one, as in ``payments P123``.
    """

    text: str
    source: str


@dataclass(frozen=True)
class Alert:
    """One rule met by one customer.

    Parameters
    ----------
    rule
        A name in `RULES`.
    customer_id
        Who; None when it is about the company's data.
    happened_at
        When the rule was met, in the company's zone; not when it was noticed.
    sentence
        What happened, with numbers and what is usual, in one sentence.
    evidence
        The rows and figures behind it.
    episode
        What makes this one occasion: the same episode is never told twice.
    owner
        Who looks after the customer; None when nobody is known to.
    worth
        Orders alerts of one rule, in currency: value at risk, else MRR.

    Examples
    --------
    >>> one = Alert("silence", "C1", datetime(2026, 11, 15, 9), "Silent.", (), "2026-11-08")
    >>> two = Alert("silence", "C1", datetime(2026, 11, 16, 9), "Still so.", (), "2026-11-08")
    >>> one.key == two.key  # the same occasion
    True
    """

    rule: str
    customer_id: str | None
    happened_at: datetime
    sentence: str
    evidence: tuple[Evidence, ...]
    episode: str
    owner: str | None = None
    worth: float = 0.0

    @property
    def key(self) -> str:
        """32 hexadecimal digits, the same for the same occasion on every machine."""
        parts = (self.rule, self.customer_id or "", self.episode)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Quiet:
    """When nobody is written to.

    Parameters
    ----------
    begins, ends
        Local times of day; from the one to the other, over midnight when `begins` is later. Equal
        times: no hour is quiet.
    days
        Weekdays that are quiet as a whole, 0 is Monday.

    Examples
    --------
    >>> quiet = Quiet(time(19), time(8), frozenset({5, 6}))
    >>> quiet.next_open(datetime(2026, 11, 13, 21, 30))  # Friday night
    datetime.datetime(2026, 11, 16, 8, 0)
    >>> quiet.next_open(datetime(2026, 11, 16, 9, 30))
    datetime.datetime(2026, 11, 16, 9, 30)
    """

    begins: time = time(0)
    ends: time = time(0)
    days: frozenset[int] = frozenset()

    def is_quiet(self, at: datetime) -> bool:
        """Say whether a local moment is quiet."""
        clock = at.time()
        if at.weekday() in self.days:
            return True
        if self.begins <= self.ends:
            return self.begins <= clock < self.ends
        return clock >= self.begins or clock < self.ends

    def next_open(self, at: datetime) -> datetime:
        """Give `at`, or the first local moment after it that is not quiet."""
        for _ in range(30):  # a week of quiet days, each with a quiet night
            if not self.is_quiet(at):
                return at
            midnight = datetime.combine(at.date() + timedelta(days=1), time(), at.tzinfo)
            ends = datetime.combine(at.date(), self.ends, at.tzinfo)
            in_the_day = at.weekday() not in self.days and at < ends
            at = ends if in_the_day else midnight
        return at  # every day is quiet: refused by the configuration


@dataclass(frozen=True)
class Policy:
    """How alerts become messages.

    Parameters
    ----------
    timezone
        Whose days and nights count.
    channels
        Names of the channels that get every message.
    most_per_owner_and_day
        Messages of a single alert; what is over goes into one digest.
    repeat_after_days
        By rule, days in which it is not raised again for the same customer; default 14.
    quiet
        When nobody is written to.
    held_out
        Customers who are left alone on purpose: alerts about them are stored and not sent.
    """

    timezone: str = "UTC"
    channels: tuple[str, ...] = ()
    most_per_owner_and_day: int = 5
    repeat_after_days: Mapping[str, int] = field(default_factory=dict)
    quiet: Quiet = field(default_factory=Quiet)
    held_out: frozenset[str] = frozenset()

    def local(self, at: datetime) -> datetime:
        """Give a moment in the company's zone."""
        return at.astimezone(ZoneInfo(self.timezone))


@dataclass(frozen=True)
class Raised:
    """What `raise_alerts` did with what it was given.

    Parameters
    ----------
    new
        Alerts stored now, in the order in which they are told.
    known
        How many were stored before.
    repeated
        How many came too soon after the same rule and customer.
    held_out
        How many of the new ones are about customers left alone on purpose.
    in_digests
        How many of the new ones were over an owner's cap.
    """

    new: tuple[Alert, ...] = ()
    known: int = 0
    repeated: int = 0
    held_out: int = 0
    in_digests: int = 0


def moment_of(text: str) -> datetime:
    """Read a moment as the store keeps it.

    Examples
    --------
    >>> moment_of("2026-11-15T09:30:00.000000Z")
    datetime.datetime(2026, 11, 15, 9, 30, tzinfo=datetime.timezone.utc)
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def raise_alerts(write: Any, found: Iterable[Alert], policy: Policy) -> Raised:
    """Store alerts that are new, and plan their messages; part of one transaction.

    Parameters
    ----------
    write
        An open `Writing` of the action store.
    found
        Alerts as the rules gave them, in any order; the same ones may be given again and again.
    policy
        Cap, quiet hours, channels.

    Returns
    -------
    Raised
        Every alert given is new, known or repeated.
    """
    given = list({alert.key: alert for alert in found}.values())
    known = _known(write, [alert.key for alert in given])
    fresh = told_in_order(alert for alert in given if alert.key not in known)
    recent = _recent(write, fresh)
    kept: list[Alert] = []
    for alert in fresh:
        about = (alert.rule, alert.customer_id)
        days = policy.repeat_after_days.get(alert.rule, REPEAT_AFTER_DAYS)
        if _is_repeat(alert, recent.get(about, ()), days):
            continue
        kept.append(alert)
        recent.setdefault(about, []).append(alert.happened_at)
    planner = _Planner(write, policy)
    held_out = 0
    for alert in kept:
        held = alert.customer_id in policy.held_out
        held_out += held
        planner.store(alert, unsent_because="hold-out" if held else None)
    return Raised(
        new=tuple(kept),
        known=len(known),
        repeated=len(fresh) - len(kept),
        held_out=held_out,
        in_digests=planner.in_digests,
    )


def told_in_order(found: Iterable[Alert]) -> list[Alert]:
    """Order alerts so that each rule's most valuable come first, rules taking turns."""
    ranked: Counter[str] = Counter()
    ordered = []
    for alert in sorted(found, key=lambda a: (-a.worth, a.customer_id or "", a.key)):
        ordered.append((ranked[alert.rule], _ORDER[alert.rule], alert.key, alert))
        ranked[alert.rule] += 1
    return [entry[-1] for entry in sorted(ordered, key=lambda entry: entry[:3])]


class _Planner:
    """Finds each alert its message: one of its own, or the day's digest."""

    def __init__(self, write: Any, policy: Policy) -> None:
        self.write, self.policy = write, policy
        now = policy.local(moment_of(write.at)).replace(tzinfo=None)
        self.due = policy.quiet.next_open(now)
        self.in_digests = 0

    def store(self, alert: Alert, unsent_because: str | None) -> None:
        message_key, place = None, 0
        if unsent_because is None:
            owner, day = alert.owner or "", self.due.date()
            if self._singles(owner, day) < self.policy.most_per_owner_and_day:
                message_key = self._open(alert.key, owner, self.due, is_digest=False)
            else:
                message_key = self._digest(owner, day)
                self.in_digests += 1
                place = self._count(alerts, alerts.c.message_key == message_key)
        self.write.connection.execute(
            alerts.insert().values(
                key=alert.key,
                rule=alert.rule,
                customer_id=alert.customer_id,
                owner=alert.owner,
                happened_at=alert.happened_at.strftime("%Y-%m-%dT%H:%M:%S"),
                raised_at=self.write.at,
                sentence=alert.sentence,
                evidence=[[one.text, one.source] for one in alert.evidence],
                worth=float(alert.worth),
                place=place,
                unsent_because=unsent_because,
                message_key=message_key,
            )
        )

    def _singles(self, owner: str, day: date) -> int:
        of_day = (messages.c.owner == owner) & (messages.c.day == str(day))
        return self._count(messages, of_day & ~messages.c.is_digest)

    def _digest(self, owner: str, day: date) -> str:
        """Find the first digest, from that day on, to which something can still be added."""
        due = self.due
        while True:
            key = hashlib.sha256(f"digest\x1f{owner}\x1f{day}".encode()).hexdigest()[:32]
            named = messages.c.key == key
            # the row stays locked until the transaction ends, so that sending cannot begin
            open_still = self.write.connection.execute(
                messages.update().where(named, ~messages.c.is_closed).values(is_closed=False)
            )
            if open_still.rowcount:
                return key
            if not self._count(messages, named):
                return self._open(key, owner, due, is_digest=True)
            day += timedelta(days=1)
            due = self.policy.quiet.next_open(datetime.combine(day, DIGEST_OPENS))

    def _open(self, key: str, owner: str, due: datetime, *, is_digest: bool) -> str:
        zone = ZoneInfo(self.policy.timezone)
        at = due.replace(tzinfo=zone).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.write.connection.execute(
            messages.insert().values(
                key=key,
                owner=owner,
                day=str(due.date()),
                is_digest=is_digest,
                is_closed=False,
                due_at=at,
            )
        )
        for channel in self.policy.channels:
            self.write.connection.execute(
                deliveries.insert().values(
                    message_key=key,
                    channel=channel,
                    state="waiting",
                    attempts=0,
                    next_at=at,
                    may_be_there=False,
                )
            )
        return key

    def _count(self, table: sa.Table, where: Any) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(where)
        return int(self.write.connection.execute(query).scalar() or 0)


def _known(write: Any, keys: Collection[str]) -> set[str]:
    query = sa.select(alerts.c.key).where(alerts.c.key.in_(list(keys)))
    return {row[0] for row in write.connection.execute(query)}


def _recent(write: Any, fresh: list[Alert]) -> dict[tuple[str, str | None], list[datetime]]:
    """When the same rules were met by the same customers before."""
    who = {alert.customer_id for alert in fresh if alert.customer_id is not None}
    query = sa.select(alerts.c.rule, alerts.c.customer_id, alerts.c.happened_at).where(
        alerts.c.customer_id.in_(who)
    )
    found: dict[tuple[str, str | None], list[datetime]] = {}
    for rule, customer, at in write.connection.execute(query):
        found.setdefault((rule, customer), []).append(datetime.fromisoformat(at))
    return found


def _is_repeat(alert: Alert, before: Iterable[datetime], days: int) -> bool:
    # by when it happened, not by when it was noticed: a rerun decides the same
    window = timedelta(days=days)
    return alert.customer_id is not None and any(
        abs(alert.happened_at - at) < window for at in before
    )
