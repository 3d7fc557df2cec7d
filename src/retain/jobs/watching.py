"""`retain watch`: what happened since the last weekly run, told once; and what `score` tells.

One pass raises the weekly transitions that are not raised yet, reads the rows that are new in the
sources that changed, and sends what is due. Rows and alerts are kept in one transaction, so that a
pass that is killed is simply made again.
"""

from __future__ import annotations

import json
import time as clock_room
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from retain.actions import Store as ActionStore
from retain.actions import open_store
from retain.actions.alerts import Alert, Policy, Quiet, Raised, raise_alerts
from retain.actions.channels import Channel, EmailOut, FileOut, WebhookOut
from retain.actions.reading_marks import Mark, held_out, keep_mark, mark_of
from retain.actions.sending import Pause, Sent, send_due
from retain.actions.telling import Became, alerts_line, what_became, what_is_owed
from retain.config import Config, load_config
from retain.errors import ConfigError, StoreError, TableError
from retain.jobs.store import Store

__all__ = ["Watched", "raise_and_send", "watch", "watch_every"]

WEEKS_BACK = 13  # scored weeks that the transitions look at
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WATCHED = ("usage", "interactions", "surveys", "payments")
LATE_DAYS = 3  # a row may turn up that much later than it happened
OLDEST_DAYS = 14  # older rows are for the weekly run only
ACTOR = "retain watch"


@dataclass(frozen=True)
class Watched:
    """What one pass did.

    Parameters
    ----------
    at
        The moment up to which rows were read, in the company's zone.
    raised
        Alerts stored in this pass.
    sent
        What went out, and what waits.
    became
        What became of the alerts stored in this pass.
    read
        By table, how many new rows were looked at; unchanged sources are absent.
    set_aside
        By table, how many of the new rows cannot be used; `retain check` says why.
    problems
        Sources that could not be read; they are tried again in the next pass.
    notes
        What else should be known.
    """

    at: datetime
    raised: Raised
    sent: Sent
    became: Became = field(default_factory=Became)
    read: Mapping[str, int] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Say whether every source was read and nothing is overdue."""
        return not self.problems and not self.sent.is_overdue

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person is told; nothing when nothing happened."""
        if self.raised.new or self.sent.sent:
            return (alerts_line(self.at, self.became, self.sent.sent), *self.notes)
        return self.notes

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong, a line each: sources that cannot be read, channels that owe messages."""
        return (*self.problems, *(owed for one in self.sent.waiting for owed in what_is_owed(one)))


def watch(
    config: Config | str | Path,
    *,
    at: datetime | str | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Watched:
    """Make one pass.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    at
        Read nothing later than this moment, in the company's zone; default: now.
    clock
        The time now, with its zone; for tests.

    Raises
    ------
    ConfigError
        When there is no `alerts` section, or a secret is not set.
    StoreError
        When another watch is at work, or a store cannot be used.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    if settings.alerts is None:
        raise ConfigError(
            "watch: the configuration has no `alerts` section, so nobody would be told. Add one, "
            "as in `alerts: {file: {}}`; `retain config` lists its settings."
        )
    until = _moment(at, clock, settings.timezone)
    channels = _channels(settings)
    with _sender(settings), open_store(settings.database_url(), clock=clock) as store:
        raised, notes = Raised(), []
        week = _newest_week(settings)
        found: list[Alert] = []
        marks: list[Mark] = []
        read: dict[str, int] = {}
        aside: dict[str, int] = {}
        problems: list[str] = []
        if week is None:
            notes.append("no week is scored yet, so nothing is known to be usual: retain score")
        else:
            found += _weekly(settings, store, week, marks, problems)
            found += _events(settings, store, week, until, marks, read, aside, problems)
        if found or marks:
            raised = _keep(settings, store, found, marks)
        sent = _send(settings, store, channels, clock)
        became = _became(settings, store, raised, clock())
    done = Watched(until, raised, sent, became, read, aside, tuple(problems), tuple(notes))
    _write_status(settings, done)
    return done


def watch_every(
    config: Config | str | Path,
    minutes: float,
    *,
    told: Callable[[Watched], object],
    failed: Callable[[str], None],
    sleep: Callable[[float], None] = clock_room.sleep,
) -> None:
    """Make a pass every so many minutes, and sooner when a message is due; never returns.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    minutes
        Minutes from one pass to the next.
    told, failed
        Given what each pass did, or why one could not be made: the next is made all the same.
    sleep
        How to wait; for tests.
    """
    if minutes <= 0:
        raise ConfigError(f"--every {minutes}: expected minutes above 0, as in --every 10")
    settings = config if isinstance(config, Config) else load_config(config)
    while True:
        wait = 60.0 * minutes
        try:
            done = watch(settings)
        except (StoreError, TableError) as problem:
            failed(str(problem))
        else:
            told(done)
            if done.sent.next_at is not None:
                due = (done.sent.next_at - datetime.now(UTC)).total_seconds()
                wait = min(wait, max(due, 1.0))
        sleep(wait)


def raise_and_send(settings: Config, as_of: date) -> Watched | None:
    """Tell the transitions of a week that was just scored.

    Parameters
    ----------
    settings
        The company's.
    as_of
        The scored week.

    Returns
    -------
    Watched or None
        None when alerts are not configured, or a newer week is scored: old news is not told. When
        a `retain watch` is at work at this moment, the alerts are stored and it sends them.
    """
    if settings.alerts is None or as_of != _newest_week(settings):
        return None
    channels = _channels(settings)
    with open_store(settings.database_url()) as store:
        marks: list[Mark] = []
        problems: list[str] = []
        found = _weekly(settings, store, as_of, marks, problems)
        raised = _keep(settings, store, found, marks) if found or marks else Raised()
        notes: tuple[str, ...] = ()
        with ExitStack() as stack:
            try:
                stack.enter_context(_sender(settings))
            except StoreError:
                sent, notes = Sent(), ("`retain watch` is at work and sends the alerts",)
            else:
                sent = _send(settings, store, channels, lambda: datetime.now(UTC))
        became = _became(settings, store, raised, datetime.now(UTC))
    evening = datetime.combine(as_of, time(23, 59, 59))
    done = Watched(evening, raised, sent, became, problems=tuple(problems), notes=notes)
    _write_status(settings, done)
    return done


# ---- what is raised ----------------------------------------------------------------------------


def _weekly(
    settings: Config, store: ActionStore, as_of: date, marks: list[Mark], problems: list[str]
) -> list[Alert]:
    """Transitions into the newest scored week, unless they were raised from these very scores."""
    kept = Store(settings.store)
    manifest = kept.week(as_of) / "manifest.json"
    mark, before = Mark("week", f"{as_of} {_hash(manifest)}", None, None), mark_of(store, "week")
    if before == mark:
        return []
    marks.append(mark)
    told = "" if before is None else str(before.fingerprint)[:10]
    later = [day for day in kept.scored_weeks() if told and told < str(day) <= str(as_of)]
    from retain.actions import transitions
    from retain.weeks import Calendar, read_usual

    rules = settings.alerts
    assert rules is not None
    weeks = [
        frame
        for day in kept.scored_weeks()[-WEEKS_BACK:]
        if day <= as_of and (frame := kept.read_week(day, "scores")) is not None
    ]
    said = kept.read_manifest(as_of)
    money: dict[str, Any] = {
        "most": settings.review.capacity_per_week,
        "currency": said["currency"],
        "back": max(1, len(later)),  # weeks whose transitions nobody was told
    }
    ahead = {"horizon_weeks": said["horizon_weeks"]}
    found: dict[str, list[Alert]] = {}
    renewals = transitions.renewal_at_risk(
        weeks, **money, **ahead, **_parameters(rules.renewal_at_risk)
    )
    found["renewal_at_risk"] = renewals
    # one customer is told about once: the renewal says more
    about = set() if "renewal_at_risk" in rules.off else {alert.customer_id for alert in renewals}
    found["newly_at_risk"] = [
        alert
        for alert in transitions.newly_at_risk(
            weeks, **money, **ahead, **_parameters(rules.newly_at_risk)
        )
        if alert.customer_id not in about
    ]
    found["recovered"] = transitions.recovered(
        weeks, **money, **ahead, **_parameters(rules.recovered)
    )
    found["data_stale"] = transitions.data_stale(said["sources"], as_of)
    if "most_engaged" not in rules.off:
        calendar = Calendar(settings.week_ends_on)
        try:
            usual = read_usual(settings.store, calendar, calendar.week_of(as_of))
        except StoreError as problem:  # as after `retain forget`
            problems.append(f"{problem} It is read again in the next pass.")
            marks.remove(mark)  # so that this is made up for
        else:
            found["most_engaged"] = transitions.most_engaged(
                weeks[-1], usual, **money, **_parameters(rules.most_engaged)
            )
    return [alert for rule, told in found.items() if rule not in rules.off for alert in told]


def _events(
    settings: Config,
    store: ActionStore,
    as_of: date,
    until: datetime,
    marks: list[Mark],
    read: dict[str, int],
    aside: dict[str, int],
    problems: list[str],
) -> list[Alert]:
    """Event rules over the new rows of the sources that changed."""
    from retain.jobs.opening import table_mappings
    from retain.tables import fingerprint_of

    mappings = table_mappings(settings)
    week_ended = datetime.combine(as_of + timedelta(days=1), time())
    if until <= week_ended:
        return []
    found: list[Alert] = []
    usual = people = None
    for table in WATCHED:
        if table not in mappings:
            continue
        try:
            files = fingerprint_of(table, mappings[table])
            fingerprint = None if files is None else f"{files} {as_of}"
            mark = mark_of(store, table)
            if fingerprint is not None and mark is not None and mark.fingerprint == fingerprint:
                continue
            began = week_ended if mark is None or mark.began_at is None else mark.began_at
            last = began if mark is None or mark.read_until is None else mark.read_until
            since = max(
                began, last - timedelta(days=LATE_DAYS), until - timedelta(days=OLDEST_DAYS)
            )
            if people is None or usual is None:
                people, usual = _known(settings, as_of)
            told, is_all = _of_table(
                settings,
                table,
                mappings[table],
                since,
                week_ended,
                until,
                people,
                usual,
                read,
                aside,
            )
        except (TableError, StoreError) as problem:
            said = f"{problem} It is read again in the next pass."
            problems += [said] if said not in problems else []
            continue
        found += told
        # rows of a moment yet to come are met again, although the file stays as it is
        marks.append(Mark(table, fingerprint if is_all else None, max(last, until), began))
    assert settings.alerts is not None
    return [alert for alert in found if alert.rule not in settings.alerts.off]


def _of_table(
    settings: Config,
    table: str,
    mapping: Any,
    since: datetime,
    week_ended: datetime,
    until: datetime,
    people: Any,
    usual: Any,
    read: dict[str, int],
    aside: dict[str, int],
) -> tuple[list[Alert], bool]:
    """Alerts from one table's new rows, and whether the source holds nothing of a later moment."""
    from fnmatch import fnmatch

    from retain.actions import events
    from retain.tables import read_news

    rules = settings.alerts
    assert rules is not None
    begins = since
    if table == "usage":
        begins = min(since, week_ended)  # silence is counted from the last weekly run on
    if table == "interactions":
        begins = until - timedelta(days=events.LOOK_BACK_DAYS)
    with read_news({table: mapping}, {table: begins}, until, timezone=settings.timezone) as news:
        read[table], is_all = news.counts(table)
        if news.set_aside[table]:
            aside[table] = news.set_aside[table]
        if table == "surveys":
            return events.detractor(news.rows(table), usual, people, since, until), is_all
        if table == "payments":
            found = events.failed_payment(
                news.rows(table),
                usual,
                people,
                since,
                until,
                currency=settings.currency,
                **_parameters(rules.failed_payment),
            )
            return found, is_all
        if table == "interactions":
            found = events.burst(news.rows(table), usual, people, until, **_parameters(rules.burst))
            return found, is_all
        pages = [
            feature
            for feature in news.words(table, "feature")
            if any(fnmatch(feature.lower(), name.lower()) for name in rules.cancel_page.features)
        ]
        found = events.cancel_page(
            news.rows_with(table, "feature", pages), people, since, until, features=pages
        )
        newest = news.newest(table)
        if newest is not None:
            found += events.silence(
                news.last_seen(), usual, people, newest, **_parameters(rules.silence)
            )
        return found, is_all


def _known(settings: Config, as_of: date) -> tuple[Any, Any]:
    """Eligible customers of the newest scored week, and what is usual for them."""
    from retain.weeks import Calendar, read_usual

    scores = Store(settings.store).read_week(as_of, "scores")
    if scores is None:
        raise StoreError(
            f"store: the scored week {as_of} has no scores. Score it again: "
            f"retain score CONFIG --as-of {as_of}"
        )
    people = scores[scores["eligible"].astype(bool)].set_index("customer_id")
    calendar = Calendar(settings.week_ends_on)
    return people, read_usual(settings.store, calendar, calendar.week_of(as_of))


def _keep(settings: Config, store: ActionStore, found: list[Alert], marks: list[Mark]) -> Raised:
    """Store alerts and how far was read, together or not at all."""
    policy = _policy(settings, held_out(store))
    with store.writing(ACTOR) as write:
        raised = raise_alerts(write, found, policy)
        for mark in marks:
            keep_mark(write, mark)
        if raised.new:
            write.log("raised alerts", after={"alerts": len(raised.new)})
    return raised


# ---- how it is sent ----------------------------------------------------------------------------


def _policy(settings: Config, held: frozenset[str] = frozenset()) -> Policy:
    rules = settings.alerts
    assert rules is not None
    quiet = Quiet(
        time.fromisoformat(rules.quiet_from or "00:00"),
        time.fromisoformat(rules.quiet_until or "00:00"),
        frozenset(WEEKDAYS.index(day) for day in rules.quiet_days),
    )
    again = {
        name: section.repeat_after_days
        for name in type(rules).model_fields
        if hasattr(section := getattr(rules, name), "repeat_after_days")
    }
    names = [name for name in ("file", "webhook", "email") if getattr(rules, name) is not None]
    return Policy(settings.timezone, tuple(names), rules.most_per_owner_and_day, again, quiet, held)


def _channels(settings: Config) -> list[Channel]:
    rules = settings.alerts
    assert rules is not None
    channels: list[Channel] = []
    if rules.file is not None:
        channels.append(FileOut(rules.file.folder or settings.store / "outbox"))
    if rules.webhook is not None:
        hook = rules.webhook
        resends = hook.when_in_doubt == "resend"
        channels.append(WebhookOut(hook.url(), hook.timeout_seconds, resends))
    if rules.email is not None:
        mail = rules.email
        channels.append(
            EmailOut(
                mail.host,
                mail.port,
                mail.security,
                mail.sender,
                mail.to,
                mail.owners,
                mail.username,
                mail.password(),
                mail.timeout_seconds,
                mail.when_in_doubt == "resend",
            )
        )
    return channels


def _send(
    settings: Config,
    store: ActionStore,
    channels: list[Channel],
    clock: Callable[[], datetime],
) -> Sent:
    rules = settings.alerts
    assert rules is not None
    pause = Pause(
        rules.first_retry_seconds, 60.0 * rules.longest_retry_minutes, rules.patience_seconds
    )
    return send_due(
        store,
        channels,
        _policy(settings),
        company=settings.company,
        page=rules.page,
        pause=pause,
        clock=clock,
    )


def _became(settings: Config, store: ActionStore, raised: Raised, now: datetime) -> Became:
    return what_became(store, [alert.key for alert in raised.new], _policy(settings), now)


@contextmanager
def _sender(settings: Config) -> Iterator[None]:
    """Keep other senders of this store out: what they claimed would look like a killed one's."""
    with Store(settings.store / "alerts").locked("watch"):
        yield


def _write_status(settings: Config, done: Watched) -> None:
    """Leave what an operator or a monitor may ask for beside the alerts."""
    # not aside under the name that a weekly run clears away, as one may begin at this moment
    path = settings.store / "alerts" / "status.json"
    aside = path.with_name(".writing-status.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(
        {
            "at": f"{done.at:%Y-%m-%dT%H:%M:%S}",
            "new_alerts": len(done.raised.new),
            "became": dict(done.became.alerts),
            "repeated": done.raised.repeated,
            "held_out": done.raised.held_out,
            "in_digests": done.raised.in_digests,
            "sent": dict(done.sent.sent),
            "sent_again": done.sent.resent,
            "channels": [
                {
                    "channel": one.channel,
                    "overdue": one.messages,
                    "for_later": one.later,
                    "in_doubt": one.in_doubt,
                    "overdue_since": None if one.since is None else one.since.isoformat(),
                    "problem": one.problem,
                }
                for one in done.sent.waiting
            ],
            "rows_read": dict(done.read),
            "rows_set_aside": dict(done.set_aside),
            "problems": list(done.complaints),
        },
        indent=1,
        ensure_ascii=False,
    )
    aside.write_text(text + "\n", encoding="utf-8")
    aside.replace(path)


# ---- small things ------------------------------------------------------------------------------


def _newest_week(settings: Config) -> date | None:
    weeks = Store(settings.store).scored_weeks()
    return weeks[-1] if weeks else None


def _moment(at: datetime | str | None, clock: Callable[[], datetime], timezone: str) -> datetime:
    if at is None:
        return clock().astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    except ValueError:
        raise ConfigError(
            f"--at {at}: not a moment; expected one like '2026-11-17 10:00'"
        ) from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    return moment


def _parameters(section: Any) -> dict[str, Any]:
    """Give a rule's settings as arguments."""
    return {
        name: getattr(section, name)
        for name in type(section).model_fields
        if name != "repeat_after_days"
    }


def _hash(path: Path) -> str:
    import hashlib

    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return "absent"
