"""What a pass says: what became of each alert, so that the line adds up, and what is owed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retain.actions.alert_tables import alerts, deliveries, messages
from retain.actions.alerts import Policy, moment_of
from retain.actions.sending import Waiting
from retain.actions.store import Store, moment_text

__all__ = ["FATES", "Became", "alerts_line", "what_became", "what_is_owed"]

FATES = {
    "alone": "sent alone",
    "in_digests": "sent in {digests}",
    "next_digest": "kept for a later digest (their owners have had {most} single messages and "
    "that day's digest)",
    "quiet": "kept until the quiet hours end",
    "due": "due and not sent yet",
    "refused": "not taken yet and tried again",
    "in_doubt": "in doubt: may have arrived, not sent again",
    "held_out": "withheld: about customers left alone for comparison",
}
"""What can become of an alert, in the order in which it is said."""

IN_BATCHES = 500  # keys in one question to the store


@dataclass(frozen=True)
class Became:
    """What became of the alerts of a pass.

    Parameters
    ----------
    alerts
        Alerts by fate, a name in `FATES`; each alert has one, that of its slowest channel.
    digests
        Digests that hold those of ``in_digests``.
    most_alone
        Messages of a single alert that an owner gets a day.
    messages
        By channel, how many of the messages sent hold one of these alerts.
    """

    alerts: Mapping[str, int] = field(default_factory=dict)
    digests: int = 0
    most_alone: int = 0
    messages: Mapping[str, int] = field(default_factory=dict)


def what_became(store: Store, keys: Collection[str], policy: Policy, now: datetime) -> Became:
    """Find what became of alerts that were just stored.

    Parameters
    ----------
    store
        The action store, after sending.
    keys
        Of the alerts.
    policy
        Whose zone, quiet hours and daily limit count.
    now
        The moment, with its zone.
    """
    by_alert: dict[str, list[str]] = {}
    digests: set[str] = set()
    sent: set[tuple[str, str]] = set()
    asked = list(keys)
    for at in range(0, len(asked), IN_BATCHES):
        for row in store.rows(_deliveries_of(asked[at : at + IN_BATCHES])):
            fate = _fate(row, policy, now)
            by_alert.setdefault(row["key"], []).append(fate)
            if row["state"] == "sent":
                sent.add((row["channel"], row["message_key"]))
            if fate == "in_digests":
                digests.add(row["message_key"])
    order = list(FATES)
    fates = Counter(max(told, key=order.index) for told in by_alert.values())
    return Became(
        {fate: fates[fate] for fate in order if fates[fate]},
        len(digests),
        policy.most_per_owner_and_day,
        Counter(channel for channel, _ in sent),
    )


def _deliveries_of(keys: list[str]) -> sa.Select[tuple[object, ...]]:
    joined = alerts.outerjoin(messages, messages.c.key == alerts.c.message_key).outerjoin(
        deliveries, deliveries.c.message_key == messages.c.key
    )
    told = (messages.c.is_digest, messages.c.due_at, messages.c.key.label("message_key"))
    way = (deliveries.c.channel, deliveries.c.state, deliveries.c.next_at, deliveries.c.problem)
    asked = sa.select(alerts.c.key, alerts.c.unsent_because, *told, *way).select_from(joined)
    return asked.where(alerts.c.key.in_(keys))


def _fate(row: Mapping[str, object], policy: Policy, now: datetime) -> str:
    if row["unsent_because"] is not None:
        return "held_out"
    if row["state"] == "sent":
        return "in_digests" if row["is_digest"] else "alone"
    if row["state"] == "in_doubt":
        return "in_doubt"
    if row["problem"]:
        return "refused"
    opens = policy.quiet.next_open(policy.local(now).replace(tzinfo=None))
    due = policy.local(moment_of(str(row["due_at"]))).replace(tzinfo=None)
    if due.date() > opens.date():
        return "next_digest"
    opens_at = moment_text(opens.replace(tzinfo=ZoneInfo(policy.timezone)))
    is_early = opens_at > moment_text(now) or str(row["next_at"] or "") > moment_text(now)
    return "quiet" if is_early else "due"


def alerts_line(at: datetime, became: Became, sent: Mapping[str, int]) -> str:
    """Say in a line what became of a pass's alerts and how many messages went out.

    Parameters
    ----------
    at
        The moment of the pass.
    became
        As `what_became` gives it.
    sent
        By channel, how many messages went out, those of earlier alerts included.

    Examples
    --------
    >>> became = Became({"alone": 1, "in_digests": 3}, 1, 1, {"file": 2})
    >>> alerts_line(datetime(2026, 11, 15, 12), became, {"file": 2})
    '2026-11-15 12:00: 4 new alerts = 1 sent alone + 3 sent in 1 digest; messages sent: 2 by file'
    """
    count = sum(became.alerts.values())
    digests = f"{became.digests} digest{'s' * (became.digests != 1)}"
    parts = [
        f"{n} " + FATES[fate].format(digests=digests, most=became.most_alone)
        for fate, n in became.alerts.items()
    ]
    said = f"{at:%Y-%m-%d %H:%M}: {count} new alert{'s' * (count != 1)}"
    if parts:
        said += " = " + " + ".join(parts)
    out = []
    for name, n in sent.items():
        earlier = n - became.messages.get(name, 0)
        out.append(f"{n} by {name}" + (f" ({earlier} of earlier alerts)" if earlier else ""))
    return f"{said}; messages sent: {', '.join(out) or 'none'}"


def what_is_owed(one: Waiting) -> Iterator[str]:
    """Say what a channel owes, a line each; nothing when nothing is overdue or in doubt."""
    if one.messages:
        since = f" since {one.since:%Y-%m-%d %H:%M} UTC" if one.since else ""
        if one.is_configured:
            why = one.problem or "not tried yet"
            rest = "They are kept and sent when it answers."
        else:
            why, rest = "no longer configured", "Configure it again, or leave them."
        yield f"{one.channel}: {one.messages} messages waiting{since} ({why}). {rest}"
    if one.in_doubt:
        yield (
            f"{one.channel}: {one.in_doubt} messages may have arrived or not, and are not sent "
            "again (when_in_doubt: report). Look for them where they should have arrived."
        )
