"""Alerts: stored before they are sent, once each, few a day, in waking hours, on every channel."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from alert_sinks import HttpSink, Luck, MailSink, nobody_listens

from retain.actions import open_store
from retain.actions.alerts import RULES, Alert, Evidence, Policy, Quiet, raise_alerts
from retain.actions.channels import EmailOut, FileOut, Refused, WebhookOut
from retain.actions.letters import write_letter
from retain.actions.reading_marks import held_out
from retain.actions.sending import Pause, send_due
from retain.actions.telling import alerts_line, what_became

NINE = datetime(2026, 11, 16, 9, tzinfo=UTC)  # a Monday


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, at: datetime = NINE) -> None:
        self.at = at
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database, clock):
    with open_store(database, clock=clock) as opened:
        yield opened


@pytest.fixture
def quick(tmp_path, clock):
    """A store for tests in which the database does not matter."""
    with open_store(tmp_path / "quick.db", clock=clock) as opened:
        yield opened


def alert(no: int = 1, **changes) -> Alert:
    """One alert; the higher its number, the less it is worth."""
    plain = Alert(
        "silence",
        f"C{no}",
        datetime(2026, 11, 16, 8),
        f"C{no} has been silent for 9 days.",
        (Evidence("Last active on 6 November", "usage"),),
        "2026-11-06",
        "Ann",
        100.0 - no,
    )
    return replace(plain, **changes)


def raised(store, found, **policy):
    with store.writing("test") as write:
        return raise_alerts(write, found, Policy(**{"channels": ("file",), **policy}))


def sent(store, channels, clock, **policy):
    return send_due(
        store,
        channels,
        Policy(channels=tuple(channel.name for channel in channels), **policy),
        company="acme",
        page="https://retain.acme.example",
        pause=Pause(first_s=1, longest_s=60, patience_s=30),
        clock=clock,
        sleep=clock.sleep,
        chance=random.Random(1),
    )


def messages(store):
    return store.rows(
        "SELECT m.owner, m.day, m.is_digest, m.due_at, count(*) AS alerts FROM alert_messages m "
        "JOIN alerts a ON a.message_key = m.key GROUP BY m.key, m.owner, m.day, m.is_digest, "
        "m.due_at ORDER BY m.due_at, m.is_digest, m.owner"
    )


# ---- raising -----------------------------------------------------------------------------------


def test_the_same_alert_is_stored_once_however_often_it_is_given(store):
    first = raised(store, [alert(1), alert(2), alert(1)])
    again = raised(store, [alert(1), alert(2), alert(3)])

    assert (2, 0) == (len(first.new), first.known)
    assert (1, 2) == (len(again.new), again.known)
    assert 3 == store.row("SELECT count(*) AS n FROM alerts")["n"]


def test_the_same_rule_is_not_told_again_about_a_customer_within_the_window(quick):
    later = alert(1, episode="2026-11-20", happened_at=datetime(2026, 11, 29, 8))  # 13 days
    free = alert(1, episode="2026-11-30", happened_at=datetime(2026, 11, 30, 8))  # 14 days
    other = alert(1, rule="burst", happened_at=datetime(2026, 11, 29, 8))
    raised(quick, [alert(1)])

    assert 1 == raised(quick, [later]).repeated
    assert (free, other) == tuple(
        sorted(raised(quick, [free, other]).new, key=lambda a: a.rule, reverse=True)
    )
    assert 1 == raised(quick, [later], repeat_after_days={"silence": 20}).repeated


def test_a_late_row_of_an_earlier_day_is_a_repeat_too(quick):
    early = alert(1, episode="2026-10-30", happened_at=datetime(2026, 11, 10, 8))
    raised(quick, [alert(1)])

    assert 1 == raised(quick, [early]).repeated


def test_what_is_over_the_cap_goes_into_one_digest_the_most_valuable_singly(store):
    found = raised(store, [alert(no) for no in range(9, 0, -1)], most_per_owner_and_day=3)

    assert ["C1", "C2", "C3"] == [one.customer_id for one in found.new[:3]]
    assert 6 == found.in_digests
    assert [(False, 1)] * 3 + [(True, 6)] == [
        (bool(one["is_digest"]), one["alerts"]) for one in messages(store)
    ]


def test_each_owner_has_a_cap_of_their_own_and_nobody_is_one_too(quick):
    raised(
        quick,
        [alert(1), alert(2), alert(3, owner="Bob"), alert(4, owner=None), alert(5, owner=None)],
        most_per_owner_and_day=1,
    )

    assert [
        ("", False, 1),
        ("Ann", False, 1),
        ("Bob", False, 1),
        ("", True, 1),
        ("Ann", True, 1),
    ] == [(one["owner"], bool(one["is_digest"]), one["alerts"]) for one in messages(quick)]


def test_rules_take_turns_so_that_no_rule_uses_up_the_day(quick):
    risky = [alert(no) for no in range(1, 6)]
    engaged = [alert(9, rule="most_engaged", worth=1.0)]
    found = raised(quick, [*risky, *engaged], most_per_owner_and_day=2)

    assert ["silence", "most_engaged"] == [one.rule for one in found.new[:2]]


def test_a_digest_that_is_gone_takes_nothing_more_and_the_next_waits_a_day(store, clock, tmp_path):
    channel = FileOut(tmp_path / "out")
    raised(store, [alert(1), alert(2)], most_per_owner_and_day=1)
    sent(store, [channel], clock)
    raised(store, [alert(3)], most_per_owner_and_day=1)
    raised(store, [alert(4)], most_per_owner_and_day=1)

    assert ["2026-11-16", "2026-11-16", "2026-11-17"] == [one["day"] for one in messages(store)]
    assert 2 == messages(store)[-1]["alerts"]
    assert "2026-11-17T08:00:00.000000Z" == messages(store)[-1]["due_at"]
    assert not sent(store, [channel], clock).sent

    clock.at += timedelta(days=1)
    assert {"file": 1} == sent(store, [channel], clock).sent
    assert 4 == sum(len(json.loads(p.read_text())["alerts"]) for p in (tmp_path / "out").iterdir())


def test_nobody_is_written_to_in_quiet_hours_and_the_day_counts_on_which_it_goes(quick, clock):
    clock.at = datetime(2026, 11, 13, 20, tzinfo=UTC)  # Friday, 21:00 in Rome
    quiet = Quiet(time(19), time(8), frozenset({5, 6}))
    rome = {"timezone": "Europe/Rome", "quiet": quiet}
    raised(quick, [alert(1)], **rome)

    (one,) = messages(quick)
    assert ("2026-11-16", "2026-11-16T07:00:00.000000Z") == (one["day"], one["due_at"])


def test_a_retry_waits_for_the_end_of_the_quiet_hours(quick, clock, tmp_path):
    quiet = {"quiet": Quiet(time(12), time(14))}
    raised(quick, [alert(1)], **quiet)
    clock.at = datetime(2026, 11, 16, 12, 30, tzinfo=UTC)
    done = sent(quick, [FileOut(tmp_path)], clock, **quiet)

    assert not done.sent
    assert not done.is_overdue
    assert datetime(2026, 11, 16, 14, tzinfo=UTC) == done.next_at


@pytest.mark.parametrize(
    ("quiet", "at", "opens"),
    [
        (Quiet(time(19), time(8)), "2026-11-16 19:00", "2026-11-17 08:00"),
        (Quiet(time(19), time(8)), "2026-11-16 07:59", "2026-11-16 08:00"),
        (Quiet(time(19), time(8)), "2026-11-16 08:00", "2026-11-16 08:00"),
        (Quiet(time(12), time(14)), "2026-11-16 13:00", "2026-11-16 14:00"),
        (Quiet(days=frozenset({0})), "2026-11-16 13:00", "2026-11-17 00:00"),
        (Quiet(time(19), time(8), frozenset({1})), "2026-11-16 20:00", "2026-11-18 08:00"),
        (Quiet(), "2026-11-16 03:00", "2026-11-16 03:00"),
    ],
)
def test_the_next_open_moment(quiet, at, opens):
    assert datetime.fromisoformat(opens) == quiet.next_open(datetime.fromisoformat(at))


def test_customers_who_are_left_alone_on_purpose_are_noted_and_not_told_about(
    quick, clock, tmp_path
):
    found = raised(quick, [alert(1), alert(2)], held_out=frozenset({"C1"}))
    sent(quick, [FileOut(tmp_path)], clock)

    assert 1 == found.held_out
    assert ["C2"] == [
        json.loads(p.read_text())["alerts"][0]["customer_id"] for p in tmp_path.glob("*.json")
    ]
    assert (
        "hold-out"
        == quick.row("SELECT unsent_because AS w FROM alerts WHERE customer_id='C1'")["w"]
    )


def test_the_hold_out_is_that_of_the_newest_queue(store):
    listing = {"place": 1, "owner": "Ann", "worth": 1.0, "why_code": "holdout", "why": "by lot"}
    with store.writing("test") as write:
        for as_of, who, status in (
            ("2026-11-08", "C1", "holdout"),
            ("2026-11-15", "C2", "holdout"),
            ("2026-11-15", "C3", "contact"),
        ):
            write.add("listings", {"as_of": as_of, "customer_id": who, "status": status, **listing})

    assert {"C2"} == held_out(store)


def test_an_erased_customer_leaves_no_alert_and_no_letter(store, clock, tmp_path):
    raised(store, [alert(1), alert(2)])
    store.forget("C1", actor="ann")
    sent(store, [FileOut(tmp_path)], clock)

    (one,) = [path.read_text() for path in tmp_path.glob("*.json")]
    assert "C1" not in one


# ---- sending -----------------------------------------------------------------------------------


def test_a_message_goes_out_once_by_each_channel(store, clock, tmp_path):
    with HttpSink(Luck()) as web, MailSink(Luck()) as mail:
        channels = [
            FileOut(tmp_path / "out"),
            WebhookOut(web.url),
            EmailOut("127.0.0.1", mail.port, "none", "retain@acme.example", "team@acme.example"),
        ]
        raised(store, [alert(1), alert(2)], channels=("file", "webhook", "email"))
        first, second = sent(store, channels, clock), sent(store, channels, clock)

    assert {"file": 2, "webhook": 2, "email": 2} == first.sent
    assert {} == second.sent
    keys = {alert(1).key, alert(2).key}
    assert keys == web.effects == mail.effects
    assert keys == {path.stem for path in (tmp_path / "out").iterdir()}
    assert not web.twice
    assert not mail.twice


def test_a_channel_that_refuses_is_tried_again_with_growing_pauses(quick, clock):
    with HttpSink(Luck()) as web:
        web.luck.script = ["busy", "cut", "busy"]
        raised(quick, [alert(1)], channels=("webhook",))
        done = sent(quick, [WebhookOut(web.url)], clock)

    assert {"webhook": 1} == done.sent
    assert [alert(1).key] == web.taken
    assert [0.5, 1.0, 2.0] <= clock.slept[:3] <= [1.5, 3.0, 6.0]
    assert 4 == quick.row("SELECT attempts AS n FROM alert_deliveries")["n"]


def test_a_receiver_that_asks_for_patience_gets_it(quick, clock, tmp_path):
    asked = [20.0]

    class Asking(FileOut):
        def send(self, letter):
            if asked:
                raise Refused("answered 429", asked.pop())
            super().send(letter)

    raised(quick, [alert(1)])
    done = sent(quick, [Asking(tmp_path)], clock)

    assert {"file": 1} == done.sent
    assert [20.0] == clock.slept


def test_a_dead_channel_loses_nothing_holds_up_nobody_and_is_reported(store, clock, tmp_path):
    dead = EmailOut("127.0.0.1", nobody_listens(), "none", "a@acme.example", "b@acme.example")
    raised(
        store,
        [alert(no) for no in range(1, 9)],
        channels=("file", "email"),
        most_per_owner_and_day=50,
    )
    done = sent(store, [FileOut(tmp_path), dead], clock)

    assert {"file": 8} == done.sent
    assert done.is_overdue
    (owed,) = done.waiting
    assert ("email", 8, 0) == (owed.channel, owed.messages, owed.in_doubt)
    assert "cannot be reached" in owed.problem
    attempts = store.row("SELECT sum(attempts) AS n FROM alert_deliveries WHERE channel = 'email'")
    assert 8 <= attempts["n"] <= 24  # it is left alone after some failures in a row

    with MailSink(Luck()) as mail:
        clock.at += timedelta(hours=1)
        alive = replace(dead, port=mail.port)
        assert {"email": 8} == sent(store, [FileOut(tmp_path), alive], clock).sent
    assert not mail.twice


def test_a_lost_answer_is_asked_again_with_the_same_key(quick, clock):
    with HttpSink(Luck()) as web, MailSink(Luck()) as mail:
        web.luck.script, mail.luck.script = ["lost"], ["lost"]
        raised(quick, [alert(1)], channels=("webhook", "email"))
        to_mail = EmailOut("127.0.0.1", mail.port, "none", "a@acme.example", "b@acme.example")
        done = sent(quick, [WebhookOut(web.url), to_mail], clock)

    assert ({"webhook": 1, "email": 1}, 2) == (done.sent, done.resent)
    assert {alert(1).key: 2} == web.twice == mail.twice  # the receiver can tell
    assert {alert(1).key} == web.effects == mail.effects


def test_with_report_a_lost_answer_is_never_asked_again_and_is_told(quick, clock):
    with HttpSink(Luck()) as web:
        web.luck.script = ["lost", "busy"]
        raised(quick, [alert(1), alert(2)], channels=("webhook",))
        done = sent(quick, [WebhookOut(web.url, resends=False)], clock)

    assert not web.twice
    assert {"webhook": 1} == done.sent
    assert [1] == [one.in_doubt for one in done.waiting]
    assert done.is_overdue


@pytest.mark.parametrize("resends", [True, False])
def test_what_a_killed_process_was_sending_is_sent_again_or_reported(quick, clock, resends):
    class Killed(BaseException): ...

    class Dying(WebhookOut):
        def send(self, letter):
            super().send(letter)
            raise Killed  # the power went before the answer was stored

    with HttpSink(Luck()) as web:
        raised(quick, [alert(1)], channels=("webhook",))
        with pytest.raises(Killed):
            sent(quick, [Dying(web.url, resends=resends)], clock)
        done = sent(quick, [WebhookOut(web.url, resends=resends)], clock)

    assert {alert(1).key} == web.effects
    assert (1 if resends else 0) == len(web.twice) == done.resent
    assert (0 if resends else 1) == sum(one.in_doubt for one in done.waiting)


def test_a_channel_that_is_no_longer_configured_is_named(quick, clock, tmp_path):
    raised(quick, [alert(1)], channels=("file", "webhook"))
    done = sent(quick, [FileOut(tmp_path)], clock)

    assert [("webhook", 1, False)] == [
        (one.channel, one.messages, one.is_configured) for one in done.waiting
    ]


def test_channels_that_fail_at_random_get_everything_and_nothing_has_two_effects(store, clock):
    shares = {"taken": 0.5, "lost": 0.1, "busy": 0.2, "cut": 0.2}
    with HttpSink(Luck(1, shares)) as web, MailSink(Luck(1, shares)) as mail:
        found = [alert(no, owner=f"Owner {no % 3}") for no in range(40)]
        raised(store, found, channels=("webhook", "email"), most_per_owner_and_day=10)
        to_mail = EmailOut("127.0.0.1", mail.port, "none", "a@acme.example", "b@acme.example")
        channels = [WebhookOut(web.url), to_mail]
        for _ in range(20):
            done = sent(store, channels, clock)
            clock.at += timedelta(minutes=2)
            if not done.waiting:
                break

    keys = {row["key"] for row in store.rows("SELECT key FROM alert_messages")}
    assert 33 == len(keys)  # three times ten single ones, and a digest each
    assert keys == web.effects == mail.effects
    assert web.refused > 5
    assert not done.waiting


# ---- what is sent ------------------------------------------------------------------------------

HOSTILE = (
    "<!channel> *now* & <https://evil.example|click> \r\nBcc: all@acme.example\n.\n\u202egnp.exe"
)


def letter(**changes):
    row = {
        "rule": "detractor",
        "customer_id": HOSTILE,
        "happened_at": "2026-11-16T08:00:00",
        "sentence": f"{HOSTILE} answered 2.",
        "evidence": [[f"16 November: {HOSTILE}", "surveys"]],
    }
    return write_letter(
        "k" * 32, HOSTILE, False, [row], company="acme", page="https://r.example", **changes
    )


def test_a_letter_reads_well():
    row = {
        "rule": "silence",
        "customer_id": "C 1/2",
        "happened_at": "2026-11-16T08:00:00",
        "sentence": "C 1/2 has been silent for 9 days.",
        "evidence": [["Last active on 6 November", "usage"]],
    }
    one = write_letter("k", "Ann", False, [row], company="acme", page="https://r.example/")

    assert "Gone quiet: C 1/2" == one.subject
    assert (
        "C 1/2 has been silent for 9 days.\n"
        "  - Last active on 6 November [usage]\n"
        "Ask whether something stands in the way.\n"
        "https://r.example/customers/C%201%2F2\n"
    ) == one.text()

    two = write_letter("k", "Ann", True, [row, row], company="acme", page=None)
    assert "2 more: 2 x gone quiet" == two.subject
    assert 2 == two.text().count("Gone quiet\nC 1/2 has been silent")


def test_hostile_texts_stay_texts_on_every_channel(tmp_path):
    with HttpSink(Luck()) as web, MailSink(Luck()) as mail:
        WebhookOut(web.url).send(letter())
        EmailOut("127.0.0.1", mail.port, "none", "a@acme.example", "b@acme.example").send(letter())
        FileOut(tmp_path).send(letter())

    told = json.dumps(web.bodies[0])
    assert "<!channel>" not in told
    assert "<https://evil" not in told
    assert "&lt;!channel&gt;" in told
    (got,) = mail.bodies
    assert got["Bcc"] is None
    assert "b@acme.example" == got["To"]
    assert "\u202e" not in got["Subject"] + got.get_content()
    assert ["alerts", "company", "key", "owner", "subject"] == sorted(
        json.loads((tmp_path / f"{'k' * 32}.json").read_text())
    )


def test_the_webhook_speaks_as_slack_understands(tmp_path):
    with HttpSink(Luck()) as web:
        WebhookOut(web.url).send(letter())

    (body,) = web.bodies
    assert {"text", "blocks"} == set(body)
    assert ["section"] * 2 == [block["type"] for block in body["blocks"]]
    assert "k" * 32 == body["blocks"][0]["block_id"]
    assert all(len(block["text"]["text"]) <= 3000 for block in body["blocks"])
    assert {"mrkdwn"} == {block["text"]["type"] for block in body["blocks"]}


def test_an_owner_with_an_address_gets_the_mail_and_others_the_list():
    with MailSink(Luck()) as mail:
        out = EmailOut(
            "127.0.0.1",
            mail.port,
            "none",
            "retain@acme.example",
            "team@acme.example",
            {"Ann": "ann@acme.example"},
        )
        out.send(replace(letter(), owner="Ann"))
        out.send(replace(letter(), owner="Bob"))

    assert ["ann@acme.example", "team@acme.example"] == [one["To"] for one in mail.bodies]
    assert "auto-generated" == mail.bodies[0]["Auto-Submitted"]


def test_a_long_digest_arrives_by_mail_line_by_line():
    """Seen to fail with line ends of Unix, which make one endless line of the whole mail."""
    long = replace(letter(), lines=letter().lines * 40)
    with MailSink(Luck()) as mail:
        EmailOut("127.0.0.1", mail.port, "none", "a@x.example", "b@x.example").send(long)

    assert 40 == mail.bodies[0].get_content().count("answered 2.")


def test_no_problem_shows_an_address_or_a_password():
    port = nobody_listens()
    hook = WebhookOut(f"http://127.0.0.1:{port}/hook/s3cret")
    mail = EmailOut("127.0.0.1", port, "none", "a@x.example", "b@x.example", {}, "ann", "pa55")

    for channel in (hook, mail):
        assert "s3cret" not in repr(channel)
        assert "pa55" not in repr(channel)
        with pytest.raises(Refused, match="cannot be reached") as said:
            channel.send(letter())
        assert "s3cret" not in str(said.value)
        assert "pa55" not in str(said.value)


def test_starttls_is_never_given_up_silently():
    with MailSink(Luck()) as mail:
        out = EmailOut("127.0.0.1", mail.port, "starttls", "a@acme.example", "b@acme.example")
        with pytest.raises(Refused, match="cannot be reached"):
            out.send(letter())

    assert not mail.taken


def test_an_outbox_that_cannot_be_written_is_a_refusal(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(Refused, match="file"):
        FileOut(tmp_path / "file").send(letter())


def test_every_rule_says_what_to_do():
    assert {"risk", "engagement", "data"} == {rule.kind for rule in RULES.values()}
    for rule in RULES.values():
        assert 2 <= len(rule.title.split()) <= 5
        assert rule.todo.endswith(".")


# ---- what is said of a pass --------------------------------------------------------------------


def said_after(store, found, policy, clock, sent_by):
    became = what_became(store, [one.key for one in found.new], policy, clock())
    assert len(found.new) == sum(became.alerts.values())
    return alerts_line(datetime(2026, 11, 16, 9), became, sent_by)


def test_the_line_of_a_pass_adds_up_and_gives_the_reason_for_each_part(quick, clock, tmp_path):
    out = FileOut(tmp_path / "out")
    policy = Policy(channels=("file",), most_per_owner_and_day=2, held_out=frozenset({"C9"}))
    rules = {"most_per_owner_and_day": 2, "held_out": frozenset({"C9"})}
    first = raised(quick, [alert(no) for no in (1, 2, 3, 4, 9)], **rules)
    done = sent(quick, [out], clock)
    assert (
        "2026-11-16 09:00: 5 new alerts = 2 sent alone + 2 sent in 1 digest + 1 withheld: about "
        "customers left alone for comparison; messages sent: 3 by file"
    ) == said_after(quick, first, policy, clock, done.sent)

    used_up = raised(quick, [alert(no) for no in (5, 6)], **rules)
    done = sent(quick, [out], clock)
    assert (
        "2026-11-16 09:00: 2 new alerts = 2 kept for a later digest (their owners have had 2 "
        "single messages and that day's digest); messages sent: none"
    ) == said_after(quick, used_up, policy, clock, done.sent)

    clock.at += timedelta(days=1)
    done = sent(quick, [out], clock)
    assert "2026-11-16 09:00: 0 new alerts; messages sent: 1 by file (1 of earlier alerts)" == (
        said_after(quick, raised(quick, []), policy, clock, done.sent)
    )


def test_what_waits_for_the_night_to_end_or_was_refused_is_said_so(quick, clock, tmp_path):
    night = Policy(channels=("file",), quiet=Quiet(time(19), time(8)))
    clock.at = NINE.replace(hour=21)
    found = raised(quick, [alert(1)], quiet=night.quiet)
    done = sent(quick, [], clock, quiet=night.quiet)
    said = said_after(quick, found, night, clock, done.sent)
    assert "1 new alert = 1 kept until the quiet hours end; messages sent: none" in said

    clock.at = NINE + timedelta(days=1)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be", encoding="utf-8")
    done = sent(quick, [FileOut(blocked / "out")], clock)
    said = said_after(quick, found, night, clock, done.sent)
    assert "1 new alert = 1 not taken yet and tried again; messages sent: none" in said
