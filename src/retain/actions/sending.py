"""Sending what is due: claim, send, mark; again with growing pauses until it has arrived.

What is promised, per message and channel:

- Nothing is lost. A message is stored before anything is sent, and is marked as sent only after the
  receiver has taken it. Killed at any moment, the next run goes on where this one stopped.
- Nothing has a second effect at a receiver that looks at the key (the header ``Idempotency-Key``,
  the ``Message-ID``, the file's name): whatever is sent again carries the key that it had.
- A receiver that does not look at keys may get a message twice, in one case only: this process was
  killed, or the connection broke, after the message had left and before the answer was stored.
  Nobody can then know whether it arrived. ``when_in_doubt: report`` never sends such a message
  again and reports it instead, so that it may be missing but is never there twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from retain.actions.alert_tables import alerts, deliveries, messages
from retain.actions.alerts import Policy, moment_of
from retain.actions.channels import Channel, InDoubt, Refused
from retain.actions.letters import Letter, write_letter
from retain.actions.store import Store, moment_text

__all__ = ["Pause", "Sent", "Waiting", "send_due", "what_waits"]

STRIKES = 3  # failures in a row after which a channel is left alone for a while
ACTOR = "alerts"


@dataclass(frozen=True)
class Pause:
    """How long to wait between attempts.

    Parameters
    ----------
    first_s
        Seconds after the first failure; each further one doubles it.
    longest_s
        Seconds at most.
    patience_s
        Seconds that one call of `send_due` may spend waiting for a channel to recover.

    Examples
    --------
    >>> pause = Pause(first_s=2, longest_s=3600)
    >>> [pause.after(attempts, jitter=1.0) for attempts in (1, 2, 3, 20)]
    [2.0, 4.0, 8.0, 3600.0]
    """

    first_s: float = 2.0
    longest_s: float = 3600.0
    patience_s: float = 20.0

    def after(self, attempts: int, jitter: float) -> float:
        """Give the seconds to wait after so many attempts; `jitter` around 1 spreads them."""
        return float(min(self.longest_s, self.first_s * 2.0 ** min(attempts - 1, 30)) * jitter)


@dataclass(frozen=True)
class Waiting:
    """What a channel still owes.

    Parameters
    ----------
    channel
        Its name.
    messages
        How many are due and not sent.
    later
        How many wait for their hour.
    in_doubt
        How many may have arrived or not, and are not sent again.
    since
        When the oldest of those that are due was due, in UTC; None when none is.
    problem
        What the newest failure met; None when there was none.
    is_configured
        Whether the channel is still there.
    """

    channel: str
    messages: int
    later: int
    in_doubt: int
    since: datetime | None
    problem: str | None
    is_configured: bool = True


@dataclass(frozen=True)
class Sent:
    """What one call of `send_due` did.

    Parameters
    ----------
    sent
        Channel to the number of messages taken by it.
    resent
        How many of these were in doubt before: a receiver without keys may have them twice.
    waiting
        What is left, by channel.
    next_at
        When something is due next, in UTC; None when nothing waits.
    """

    sent: Mapping[str, int] = field(default_factory=dict)
    resent: int = 0
    waiting: tuple[Waiting, ...] = ()
    next_at: datetime | None = None

    @property
    def is_overdue(self) -> bool:
        """Say whether something that should have arrived has not."""
        return any(one.messages or one.in_doubt for one in self.waiting)


@dataclass
class _Line:
    """One channel's luck in this call."""

    channel: Channel
    strikes: int = 0
    rests: int = 0
    until: datetime | None = None
    sent: int = 0


def send_due(
    store: Store,
    channels: Sequence[Channel],
    policy: Policy,
    *,
    company: str,
    page: str | None = None,
    pause: Pause | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] | None = None,
    chance: random.Random | None = None,
) -> Sent:
    """Send every message that is due, waiting a little for a channel that stumbles.

    Only one process may do this for one store at a time; whatever it finds claimed was claimed by
    a process that is no more.

    Parameters
    ----------
    store
        The action store.
    channels
        The ways out.
    policy
        For the quiet hours.
    company, page
        See `write_letter`.
    pause
        How long to wait between attempts.
    clock, sleep, chance
        The time now, how to wait, and what spreads the attempts; for tests.
    """
    pause = pause or Pause()
    chance = chance or random.Random()
    if sleep is None:
        import time

        sleep = time.sleep
    lines = {channel.name: _Line(channel) for channel in channels}
    _take_up(store, lines, clock())
    ends = clock() + timedelta(seconds=pause.patience_s)
    resent = 0
    while True:
        now = clock()
        for line in lines.values():
            if line.until is not None and line.until <= now:
                line.until, line.strikes = None, 0
        due = _due(store, [name for name, line in lines.items() if line.until is None], now)
        for row in due:
            line = lines[row["channel"]]
            if line.until is not None:
                continue  # it failed too often a moment ago
            local = policy.local(clock()).replace(tzinfo=None)
            if policy.quiet.is_quiet(local):
                _postpone(store, row, policy)
                continue
            resent += _deliver(store, line, row, company, page, pause, clock, chance)
        next_at = _next(store, lines)
        if next_at is None or next_at > ends:
            break
        wait = (next_at - clock()).total_seconds()
        if wait > 0:
            sleep(wait)
    return Sent(
        sent={name: line.sent for name, line in lines.items() if line.sent},
        resent=resent,
        waiting=what_waits(store, [channel.name for channel in channels], clock()),
        next_at=next_at,
    )


def what_waits(store: Store, configured: Sequence[str], now: datetime) -> tuple[Waiting, ...]:
    """Say what each channel still owes; channels that owe nothing are left out."""
    found = store.rows(
        sa.select(
            deliveries.c.channel,
            deliveries.c.state,
            deliveries.c.problem,
            deliveries.c.next_at,
            messages.c.due_at,
        )
        .join(messages, messages.c.key == deliveries.c.message_key)
        .where(deliveries.c.state != "sent")
        .order_by(deliveries.c.channel, messages.c.due_at)
    )
    text = moment_text(now)
    by_channel: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_channel.setdefault(row["channel"], []).append(row)
    waiting = []
    for name, rows in by_channel.items():
        open_rows = [row for row in rows if row["state"] != "in_doubt"]
        # quiet hours move `next_at` without a problem; a failure leaves one
        due = [
            r for r in open_rows if r["due_at"] <= text and (r["problem"] or r["next_at"] <= text)
        ]
        problems = [row["problem"] for row in rows if row["problem"]]
        waiting.append(
            Waiting(
                name,
                len(due),
                len(open_rows) - len(due),
                len(rows) - len(open_rows),
                moment_of(due[0]["due_at"]) if due else None,
                problems[-1] if problems else None,
                name in configured,
            )
        )
    return tuple(waiting)


# ---- inside ------------------------------------------------------------------------------------


def _take_up(store: Store, lines: Mapping[str, _Line], now: datetime) -> None:
    """Decide about what a killed process had claimed: send again, or report."""
    for name, line in lines.items():
        mine = (deliveries.c.state == "sending") & (deliveries.c.channel == name)
        if not store.rows(sa.select(deliveries.c.message_key).where(mine).limit(1)):
            continue
        with store.writing(ACTOR) as write:
            write.connection.execute(
                deliveries.update()
                .where(mine)
                .values(
                    state="waiting" if line.channel.resends else "in_doubt",
                    next_at=moment_text(now),
                    may_be_there=True,
                    problem="stopped while sending",
                )
            )


def _due(store: Store, names: list[str], now: datetime) -> list[dict[str, Any]]:
    return store.rows(
        sa.select(
            deliveries.c.message_key,
            deliveries.c.channel,
            deliveries.c.attempts,
            messages.c.owner,
            messages.c.is_digest,
        )
        .join(messages, messages.c.key == deliveries.c.message_key)
        .where(
            deliveries.c.state == "waiting",
            deliveries.c.channel.in_(names),
            deliveries.c.next_at <= moment_text(now),
        )
        .order_by(messages.c.due_at, deliveries.c.next_at, messages.c.key)
    )


def _next(store: Store, lines: Mapping[str, _Line]) -> datetime | None:
    """When the next attempt may be made on any channel."""
    soonest = None
    for name, line in lines.items():
        first = store.row(
            sa.select(sa.func.min(deliveries.c.next_at).label("at")).where(
                deliveries.c.state == "waiting", deliveries.c.channel == name
            )
        )
        if first is None or first["at"] is None:
            continue
        at = moment_of(first["at"])
        if line.until is not None:
            at = max(at, line.until)
        soonest = at if soonest is None else min(soonest, at)
    return soonest


def _named(row: Mapping[str, Any]) -> Any:
    return (deliveries.c.message_key == row["message_key"]) & (
        deliveries.c.channel == row["channel"]
    )


def _postpone(store: Store, row: Mapping[str, Any], policy: Policy) -> None:
    from zoneinfo import ZoneInfo

    with store.writing(ACTOR) as write:
        local = policy.local(moment_of(write.at)).replace(tzinfo=None)
        opens = policy.quiet.next_open(local).replace(tzinfo=ZoneInfo(policy.timezone))
        write.connection.execute(
            deliveries.update().where(_named(row)).values(next_at=moment_text(opens))
        )


def _claim(
    store: Store, row: Mapping[str, Any], company: str, page: str | None
) -> tuple[Letter, bool] | None:
    """Mark a delivery as being sent; give its letter, and whether it may have arrived before."""
    key = row["message_key"]
    with store.writing(ACTOR) as write:
        before = write.connection.execute(
            sa.select(deliveries.c.may_be_there).where(_named(row))
        ).scalar()
        claimed = write.connection.execute(
            deliveries.update()
            .where(_named(row), deliveries.c.state == "waiting")
            .values(state="sending", attempts=deliveries.c.attempts + 1)
        )
        if claimed.rowcount != 1:
            return None
        write.connection.execute(
            messages.update().where(messages.c.key == key).values(is_closed=True)
        )
        told = write.connection.execute(
            alerts.select()
            .where(alerts.c.message_key == key)
            .order_by(alerts.c.place, alerts.c.key)
        )
        rows = [dict(one._mapping) for one in told]
        if not rows:  # the customer was erased: there is nothing left to say
            write.connection.execute(
                deliveries.update().where(_named(row)).values(state="sent", sent_at=write.at)
            )
            return None
    letter = write_letter(key, row["owner"], row["is_digest"], rows, company=company, page=page)
    return letter, bool(before)


def _deliver(
    store: Store,
    line: _Line,
    row: Mapping[str, Any],
    company: str,
    page: str | None,
    pause: Pause,
    clock: Callable[[], datetime],
    chance: random.Random,
) -> int:
    """Claim, send, mark; count 1 when it was in doubt before and has arrived now."""
    claimed = _claim(store, row, company, page)
    if claimed is None:
        return 0
    letter, may_be_there = claimed
    problem, asked = None, 0.0
    try:
        line.channel.send(letter)
    except Refused as said:
        problem, asked = str(said), said.retry_after_s or 0.0
    except InDoubt as said:
        problem, may_be_there = str(said), True
    if problem is None:
        line.sent, line.strikes, line.rests = line.sent + 1, 0, 0
        values: dict[str, Any] = {"state": "sent", "sent_at": moment_text(clock()), "problem": None}
    else:
        line.strikes += 1
        if line.strikes >= STRIKES:
            line.rests += 1
            rest = pause.after(line.rests, chance.uniform(0.5, 1.5))
            line.until = clock() + timedelta(seconds=max(rest, asked))
        wait = pause.after(row["attempts"] + 1, chance.uniform(0.5, 1.5))
        values = {
            "state": "in_doubt" if may_be_there and not line.channel.resends else "waiting",
            "next_at": moment_text(clock() + timedelta(seconds=max(wait, asked))),
            "may_be_there": may_be_there,
            "problem": problem,
        }
    with store.writing(ACTOR) as write:
        write.connection.execute(deliveries.update().where(_named(row)).values(**values))
    return int(problem is None and may_be_there)
