"""`retain watch`: only what is new, nothing of the future, each alert once, killed or not."""

from __future__ import annotations

import json
import random
import shutil
import time as clock_room
from datetime import UTC, date, datetime, timedelta

import pytest
from alert_sinks import HttpSink, Luck, MailSink, nobody_listens
from real_process import commands, until
from watched_company import make_watched, names, write_week

from retain.actions import open_store
from retain.cli import main
from retain.config import load_config
from retain.errors import ConfigError, StoreError
from retain.jobs import watch
from retain.jobs.watching import raise_and_send, watch_every

SUNDAY = date(2026, 11, 15)
TUESDAY = datetime(2026, 11, 17, 12, tzinfo=UTC)
AT = datetime(2026, 11, 17, 9)  # Tuesday morning, no zone: the company's own


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_watched(tmp_path_factory.mktemp("watched"), SUNDAY)


@pytest.fixture
def company(made, tmp_path):
    """A copy of the company to let things happen in."""
    folder = tmp_path / "company"
    shutil.copytree(made.folder, folder)
    text = json.dumps(made.settings).replace(str(made.folder), str(folder))
    return type(made)(folder, made.as_of, json.loads(text), made.files)


def passed(company, at: datetime = TUESDAY):
    return watch(company.path, clock=lambda: at)


RISK = [("newly_at_risk", f"C00{n}") for n in range(4)]


def test_a_first_pass_tells_the_week_and_what_happened_since(company):
    company.fail_payment("C050", AT, 1)
    company.add(
        "surveys",
        [{"customer_id": "C051", "kind": "nps", "score": 2.0, "answered_at": AT, "comment": "No"}],
    )
    done = passed(company)

    assert sorted([*RISK, ("failed_payment", "C050"), ("detractor", "C051")]) == company.told()
    assert done.ok
    assert {"file": 6} == done.sent.sent
    assert (
        "2026-11-17 12:00: 6 new alerts = 6 sent alone; messages sent: 6 by file" == done.lines[0]
    )
    assert 0 == company.status()["repeated"]


def test_a_second_pass_opens_nothing_and_tells_nothing(company):
    company.fail_payment("C050", AT, 1)
    passed(company)
    before = company.outbox()
    again = passed(company, TUESDAY + timedelta(minutes=10))

    assert ({}, (), ()) == (dict(again.read), again.raised.new, again.lines)
    assert before == company.outbox()


def test_only_the_source_that_changed_is_read_and_only_its_new_rows(company):
    passed(company)
    company.fail_payment("C050", AT + timedelta(hours=4), 1)
    done = passed(company, TUESDAY + timedelta(hours=2))

    assert {"payments": 1} == dict(done.read)
    assert ("failed_payment", "C050") in company.told()


def test_a_row_of_a_later_moment_is_told_when_its_moment_has_come(company):
    company.fail_payment("C050", AT + timedelta(days=1), 1)
    first = passed(company)
    assert ("failed_payment", "C050") not in company.told()

    second = passed(company, TUESDAY + timedelta(days=1))  # the file has not changed
    assert ("failed_payment", "C050") in company.told()
    assert {"payments"} == set(second.read)
    assert {"payments", "usage", "surveys", "interactions"} == set(first.read)


def test_a_row_that_comes_days_late_is_told_and_an_older_one_is_not(company):
    passed(company, TUESDAY + timedelta(days=5))
    company.fail_payment("C050", AT + timedelta(days=3), 1)
    company.fail_payment("C051", AT + timedelta(days=1), 2)
    passed(company, TUESDAY + timedelta(days=5, hours=1))

    assert ("failed_payment", "C050") in company.told()
    assert ("failed_payment", "C051") not in company.told()


def test_rows_from_before_the_weekly_run_are_not_told_at_the_first_pass(company):
    company.fail_payment("C050", datetime(2026, 11, 15, 23), 1)
    passed(company)

    assert RISK == company.told()


def test_at_reads_nothing_later(company):
    company.fail_payment("C050", AT, 1)
    watch(company.path, at="2026-11-17 08:59", clock=lambda: TUESDAY)
    assert RISK == company.told()

    watch(company.path, at="2026-11-17 09:00", clock=lambda: TUESDAY)
    assert ("failed_payment", "C050") in company.told()


def test_silence_is_counted_from_what_the_source_knows(company):
    """On Tuesday of the second week everybody is silent; the export of that day names ten."""
    quiet_since = datetime(2026, 11, 13)  # Friday: the last day of use
    later = datetime(2026, 11, 24, 12, tzinfo=UTC)
    passed(company, later)
    assert RISK == company.told()  # a late export is no silence

    company.add(
        "usage",
        [
            {"event_id": f"x{who}", "customer_id": who, "occurred_at": AT, "feature": "reports"}
            for who in names()[:90]
        ]
        + [
            {
                "event_id": "newest",
                "customer_id": "C000",
                "occurred_at": datetime(2026, 11, 24, 11),
                "feature": "reports",
            }
        ],
    )
    done = passed(company, later)
    silent = [who for rule, who in company.told() if rule == "silence"]
    assert names()[90:] == silent
    assert all(
        f"Last active on {quiet_since.day} November" == alert.evidence[0].text
        for alert in done.raised.new
    )


def test_a_burst_and_a_cancel_page_are_told(company):
    company.add(
        "interactions",
        [
            {
                "interaction_id": f"B{n}",
                "customer_id": "C060",
                "opened_at": AT - timedelta(hours=n),
                "topic": "bug",
                "case_id": "one",
            }
            for n in range(4)
        ],
    )
    company.add(
        "usage",
        [
            {"event_id": "c", "customer_id": "C061", "occurred_at": AT, "feature": "Cancel_Page"},
            {"event_id": "d", "customer_id": "C062", "occurred_at": AT, "feature": "reports"},
        ],
    )
    passed(company)

    assert sorted([*RISK, ("burst", "C060"), ("cancel_page", "C061")]) == company.told()


def test_what_is_off_is_not_told_and_thresholds_are_those_of_the_settings(company):
    company.fail_payment("C050", AT, 1)
    company.alerts(file={}, off=["newly_at_risk"], failed_payment={"least_amount": 100})
    passed(company)

    assert [] == company.told()


def test_rows_that_cannot_be_used_are_counted_and_tell_nothing(company):
    company.add(
        "surveys",
        [
            {"customer_id": "C050", "kind": "nps", "score": 12.0, "answered_at": AT},
            {"customer_id": "C051", "kind": "smile", "score": 1.0, "answered_at": AT},
        ],
    )
    done = passed(company)

    assert {"surveys": 2} == dict(done.set_aside)
    assert RISK == company.told()


def test_a_source_that_cannot_be_read_is_reported_and_read_again(company):
    company.fail_payment("C050", AT, 1)
    broken = company.folder / "data" / "surveys" / "99999.parquet"
    broken.write_bytes(b"half an exp")
    done = passed(company)

    assert not done.ok
    assert "table 'surveys'" in done.complaints[0]
    assert "read again in the next pass" in done.complaints[0]
    assert ("failed_payment", "C050") in company.told()

    broken.unlink()
    company.add(
        "surveys", [{"customer_id": "C051", "kind": "nps", "score": 2.0, "answered_at": AT}]
    )
    assert passed(company).ok
    assert ("detractor", "C051") in company.told()


def test_a_week_scored_again_and_the_next_week_tell_only_what_is_new(company):
    passed(company)
    write_week(company, SUNDAY, 0)
    path = company.store / "scores" / f"as_of={SUNDAY}" / "manifest.json"
    path.write_text(path.read_text("utf-8") + "\n")
    assert () == passed(company).raised.new

    write_week(company, SUNDAY + timedelta(weeks=1), 0)  # the same four, still at risk
    assert () == passed(company, TUESDAY + timedelta(weeks=1)).raised.new
    assert RISK == company.told()


def test_score_tells_the_newest_week_only(company):
    settings = load_config(company.path)

    assert raise_and_send(settings, SUNDAY - timedelta(weeks=1)) is None
    done = raise_and_send(settings, SUNDAY)
    assert {"file": 4} == done.sent.sent
    assert RISK == company.told()
    assert {} == raise_and_send(settings, SUNDAY).sent.sent


def test_while_watch_is_at_work_score_leaves_the_sending_to_it(company):
    settings = load_config(company.path)
    from retain.jobs.store import Store

    with Store(settings.store / "alerts").locked("watch"):
        done = raise_and_send(settings, SUNDAY)
        assert 4 == len(done.raised.new)
        assert ("`retain watch` is at work and sends the alerts",) == done.notes
        with pytest.raises(StoreError, match="in use by `retain watch`"):
            passed(company)
    assert [] == company.told()
    passed(company, datetime.now(UTC))
    assert RISK == company.told()


def test_a_dead_channel_ends_with_1_says_so_and_loses_nothing(company, capsys, monkeypatch):
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{nobody_listens()}/s3cret")
    company.alerts(
        file={}, webhook={"url_env": "HOOK"}, patience_seconds=0, first_retry_seconds=0.01
    )
    code = main(["watch", str(company.path)])
    said = capsys.readouterr()

    assert 1 == code
    assert "retain: webhook: 4 messages waiting since" in said.err
    assert "cannot be reached" in said.err
    assert "s3cret" not in said.err + said.out + json.dumps(company.status())
    assert RISK == company.told()

    with HttpSink(Luck()) as web:
        monkeypatch.setenv("HOOK", web.url)
        clock_room.sleep(0.1)
        assert 0 == main(["watch", str(company.path)])
    assert 4 == len(web.effects) == len(web.taken)


def test_nothing_happened_is_quiet_and_0(company, capsys):
    main(["watch", str(company.path)])
    capsys.readouterr()

    assert 0 == main(["watch", str(company.path), "--once"])
    assert ("", "") == capsys.readouterr()


def test_without_alerts_or_with_a_wrong_moment_watch_says_what_to_do(company):
    with pytest.raises(ConfigError, match="not a moment; expected one like"):
        watch(company.path, at="noon")
    with pytest.raises(ConfigError, match="expected minutes above 0"):
        watch_every(company.path, 0, told=print, failed=print)
    company.alerts(webhook={"url_env": "UNSET_HOOK"})
    with pytest.raises(ConfigError, match="UNSET_HOOK, which is not set"):
        watch(company.path)
    del company.settings["alerts"]
    with pytest.raises(ConfigError, match="no `alerts` section"):
        watch(company.path)


def test_before_the_first_week_there_is_nothing_usual(company):
    shutil.rmtree(company.store / "scores")
    done = passed(company)

    assert done.ok
    assert "no week is scored yet" in done.lines[0]


def test_without_kept_weeks_the_rest_is_told_and_all_of_it_when_they_are_back(company):
    company.fail_payment("C050", AT, 1)
    weeks = company.store / "weeks"
    weeks.rename(company.folder / "aside")
    done = passed(company)

    assert RISK == company.told()
    assert 1 == len(done.complaints)
    assert "no weeks are kept" in done.complaints[0]

    (company.folder / "aside").rename(weeks)
    assert passed(company).ok
    assert sorted([*RISK, ("failed_payment", "C050")]) == company.told()


def test_every_makes_passes_on_and_on_whatever_one_of_them_meets(company):
    waits, told, failed = [], [], []

    class Enough(Exception): ...

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 1:  # before the second pass: somebody else is at work
            from retain.jobs.store import Store

            lock = Store(company.store / "alerts").locked("watch")
            lock.__enter__()
            sleep.lock = lock
        elif len(waits) == 2:
            sleep.lock.__exit__(None, None, None)
        else:
            raise Enough

    with pytest.raises(Enough):
        watch_every(company.path, 10, told=told.append, failed=failed.append, sleep=sleep)

    assert [600.0] * 3 == waits
    assert [4, 0] == [len(one.raised.new) for one in told]
    assert "in use by `retain watch`" in failed[0]


# ---- killed ------------------------------------------------------------------------------------

KILLS, SEED = {"sqlite": 50, "postgresql": 12}, 20261122


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_sent_twice(
    database, tmp_path, monkeypatch
):
    """SIGKILL at random moments of real passes, while rows arrive and both receivers stumble.

    The webhook resends what is in doubt under its key, the mail reports it: so the one has every
    message, once by key, and the other has none twice, and names those that it may lack. Seen to
    fail when mail had the line ends of Unix: the digests, too long a line, never arrived.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    as_of = (now - timedelta(days=2)).date()
    as_of -= timedelta(days=(as_of.weekday() + 1) % 7)
    company = make_watched(tmp_path / "company", as_of)
    company.settings["review"] = {"database": database}
    chance, kills = random.Random(SEED), KILLS[database.partition(":")[0]]
    shares = {"taken": 0.55, "slow": 0.2, "lost": 0.05, "busy": 0.1, "cut": 0.1}
    unused = names()[4:]
    chance.shuffle(unused)
    struck = 0
    with HttpSink(Luck(SEED, shares)) as web, MailSink(Luck(SEED + 1, shares)) as mail:
        monkeypatch.setenv("HOOK", web.url)
        company.alerts(
            file={},
            webhook={"url_env": "HOOK"},
            email={
                "host": "127.0.0.1",
                "port": mail.port,
                "security": "none",
                "sender": "retain@acme.example",
                "to": "team@acme.example",
                "when_in_doubt": "report",
            },
            most_per_owner_and_day=8,
            first_retry_seconds=0.05,
            longest_retry_minutes=0.01,
            patience_seconds=20,
        )
        path = str(company.path)
        holder = company.store / "alerts" / ".lock-holder"
        with commands(str(tmp_path / "errors")) as retain:
            for _ in range(kills):
                for _ in range(chance.randint(0, 3)):
                    if unused:
                        company.fail_payment(unused.pop(), now - timedelta(hours=1), len(unused))
                holder.unlink(missing_ok=True)
                retain.start("watch", path, "--every", "0.001")
                until(lambda: holder.exists() or not retain.is_running(), every=0.002)
                clock_room.sleep(chance.uniform(0.0, 0.6))
                struck += retain.kill()
        # what is over the day's cap is told on another day, when its first digest has gone
        for later in (timedelta(0), timedelta(days=2)):
            for _ in range(30):
                done = watch(company.path, clock=lambda later=later: datetime.now(UTC) + later)
                if not any(one.messages for one in done.sent.waiting):
                    break
        assert not any(one.later for one in done.sent.waiting)

    with open_store(database) as store:
        stored = store.rows("SELECT key, customer_id, message_key FROM alerts")
        keys = {row["key"] for row in store.rows("SELECT key FROM alert_messages")}
        doubt = {
            row["message_key"]
            for row in store.rows("SELECT message_key FROM alert_deliveries WHERE state='in_doubt'")
        }
    expected = {*names()[:4], *(set(names()[4:]) - set(unused))}
    print(
        f"seed {SEED}: {struck} kills, {len(stored)} alerts in {len(keys)} messages; webhook took "
        f"{len(web.taken)}, {sum(web.twice.values()) - len(web.twice)} of them again under the "
        f"same key; mail took {len(mail.taken)}, in doubt {len(doubt)}"
    )
    assert kills == struck  # none had ended by itself
    assert expected == {row["customer_id"] for row in stored}  # nothing lost before it was stored
    assert len(expected) == len(stored)  # nor raised twice
    assert all(row["message_key"] in keys for row in stored)
    assert keys == web.effects == set(company.outbox())
    assert expected == {who for _, who in company.told()}
    assert not mail.twice
    assert keys == mail.effects | doubt
    assert len(doubt) <= struck + len(mail.taken) // 5  # few: those cut off while being sent
    again = sum(web.twice.values()) - len(web.twice)
    assert again <= struck + web.luck.drawn["lost"]
