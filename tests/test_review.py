"""The review page without a browser: what it shows, who may do what, and what it refuses."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import sqlite3
import time
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from report_week import HOSTILE, make_week
from review_company import (
    AS_OF,
    HASHED,
    PASSWORD,
    desk_for,
    fill,
    form_token,
    signed_in,
    visit,
)

from retain.actions import open_store, schema
from retain.actions.evidence import note_outcomes
from retain.actions.importing import import_week
from retain.actions.keeping import keep_queue
from retain.actions.letters import write_letter
from retain.actions.queue import QueueRules
from retain.errors import ConfigError
from retain.review import place_door
from retain.review.access import MOST_BY_NAME
from retain.review.exporting import exported, harmless


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    address = f"sqlite:///{folder / 'actions.db'}"
    listed = fill(address, folder)
    desk_for(address, folder).store.close()  # the people, once: every write waits for the disk
    return folder, listed


@pytest.fixture
def place(filled, tmp_path):
    """A company's files, this test's own."""
    folder, listed = filled
    shutil.copytree(folder, tmp_path / "company")
    return f"sqlite:///{tmp_path / 'company' / 'actions.db'}", tmp_path / "company", listed


@pytest.fixture
def desk(place):
    made = desk_for(place[0], place[1])
    yield made
    made.store.close()


@pytest.fixture
def listed(place):
    return place[2]


def path_of(customer_id):
    return f"/customers/{quote(customer_id, safe='')}"


def a_driver(desk, customer_id):
    return desk.store.row(
        "SELECT * FROM drivers WHERE customer_id = :id AND target = 'churn' ORDER BY place",
        id=customer_id,
    )


def verdict_of(desk, browser, customer_id, **more):
    page = browser.get(path_of(customer_id))
    driver = a_driver(desk, customer_id)
    fields = {
        "form_token": form_token(page),
        "as_of": AS_OF,
        "target": "churn",
        "signal": driver["signal"],
        "version": "0",
        "verdict": "wrong",
        "comment": "they moved to a new team",
    }
    return browser.post(path_of(customer_id) + "/verdict", data=fields | more)


# ---- what is shown ------------------------------------------------------------------------------


def test_the_queue_shows_who_is_to_be_reached_and_never_who_is_held_out(desk, listed):
    page = signed_in(desk).get("/")

    assert 200 == page.status_code
    assert "8 customers to reach this week" in page.text
    links = {path_of(one["customer_id"]): one["status"] for one in listed}
    shown = [path for path in links if f'class="open" href="{path}"' in page.text]
    assert 8 == len(shown)
    assert {"contact"} == {links[path] for path in shown}


def test_who_is_held_out_is_in_no_list_of_the_queue(desk, listed):
    browser = signed_in(desk)
    held_out = next(path_of(o["customer_id"]) for o in listed if o["status"] == "holdout")
    for tab in ("open", "done", "dropped", "next", "cooling", "leave", "holdout"):
        assert held_out not in browser.get(f"/?tab={tab}").text
    page = browser.get(held_out).text
    assert "In this week" not in page
    assert "put into the queue" not in page
    assert "is_holdout" not in page


def test_the_queue_names_its_order_and_calls_nobody_first_who_was_scored_before(tmp_path):
    """Seen to fail: seven weeks scored, one left out, and all of them were in their first week."""
    address = f"sqlite:///{tmp_path / 'actions.db'}"
    fill(address, tmp_path, hostile=False)
    desk = desk_for(address, tmp_path, signs_in=False)
    with desk.store.writing("test") as write:  # nothing is known of the week before
        write.connection.exec_driver_sql("UPDATE scores SET change = NULL")
    page = visit(desk).get("/").text
    assert "Ordered by value at risk;" in page
    assert 8 == page.count("first week")

    with desk.store.writing("test") as write:
        copied = "as_of, " + ", ".join(
            column.name for column in schema.scores.columns if column.name != "as_of"
        )
        write.connection.exec_driver_sql(
            f"INSERT INTO scores ({copied}) SELECT "
            f"{copied.replace('as_of', chr(39) + '2026-10-04' + chr(39))} FROM scores"
        )
    page = visit(desk).get("/").text
    assert (0, 8) == (page.count("first week"), page.count("not scored last week"))
    desk.store.close()


def test_misses_show_when_each_left_and_who_left_last_comes_first(tmp_path):
    """Seen to fail: no day was noted, and the rows stood in the order of their ids."""
    address = f"sqlite:///{tmp_path / 'actions.db'}"
    listed = fill(address, tmp_path, hostile=False)
    desk = desk_for(address, tmp_path, signs_in=False)
    low = [
        row["customer_id"]
        for row in desk.store.rows(
            "SELECT customer_id FROM scores WHERE eligible AND risk_band = 'low' ORDER BY 1"
        )
    ][:3]
    assert 3 == len(low)
    assert listed
    days = ["2026-12-01", "2027-01-20", "2026-12-31"]
    note_outcomes(desk.store, {AS_OF: [(who, True, on) for who, on in zip(low, days, strict=True)]})
    page = visit(desk).get("/misses").text

    places = [page.index(path_of(low[n])) for n in (1, 2, 0)]
    assert sorted(places) == places
    assert "20 Jan 2027" in page
    assert "66 days" in page

    with desk.store.writing("test") as write:  # known of a week without a list, too
        write.connection.execute(schema.listings.delete())
    board = visit(desk).get("/scoreboard").text
    assert "not known yet" not in board
    assert '<td class="num">–</td><td class="num">3</td>' in board
    desk.store.close()


def test_a_customer_is_found_by_part_of_its_id_whatever_is_in_it(desk):
    browser = signed_in(desk)

    for part in ("c-0001", "שרת", "söhne/12", "%", "_", "'", "النور"):
        found = browser.get("/customers", params={"q": part}, follow_redirects=True)
        assert 200 == found.status_code
    assert "10 customers" in browser.get("/customers?q=c-0001").text
    assert "1 customer " in browser.get("/customers?q=%25").text  # one id holds a per cent sign
    assert "0 customers" in browser.get("/customers?q=_").text


def test_every_customer_has_a_page_with_reasons_that_add_up(desk):
    browser = signed_in(desk)
    for row in desk.store.rows("SELECT customer_id, eligible FROM scores"):
        page = browser.get(path_of(row["customer_id"]))
        assert 200 == page.status_code
        assert bool(row["eligible"]) == ("Why this probability" in page.text)


def test_the_link_of_an_alert_opens_the_page_of_its_customer(desk):
    """Seen to fail when the link held the id unquoted: a slash in it led to a page of its own."""
    browser = signed_in(desk)
    about = {"rule": "silence", "sentence": "s", "evidence": [], "happened_at": "2026-11-15"}
    people = desk.store.rows("SELECT customer_id FROM scores WHERE customer_id NOT LIKE 'C-%'")
    assert 8 == len(people)  # the odd ones
    for who in [row["customer_id"] for row in people]:
        rows = [about | {"customer_id": who}, about | {"rule": "data_stale", "customer_id": None}]
        page = "https://retain.acme.example/"
        letter = write_letter("k", "Bo", False, rows, company="acme", page=page)
        own, start = (
            line.link.removeprefix("https://retain.acme.example") for line in letter.lines
        )
        answer = browser.get(own)
        assert (200, 200) == (answer.status_code, browser.get(start).status_code)
        assert f'action="{path_of(who)}/judgement"' in answer.text


def test_three_opinions_are_kept_apart_and_shown_side_by_side(desk, listed):
    browser = signed_in(desk)
    who = listed[0]["customer_id"]
    sent = judge(browser, who, lead_risk="low", final_risk="high", comment="sponsor promoted")

    assert 303 == sent.status_code
    row = desk.store.row("SELECT * FROM judgements")
    assert ("low", "Lena", "high", "Lena") == tuple(
        row[name] for name in ("lead_risk", "lead_by", "final_risk", "final_by")
    )
    assert listed[0]["churn_probability"] == row["model_probability"]
    assert "sponsor promoted" in browser.get(path_of(who)).text


def judge(browser, who, version="0", **fields):
    page = browser.get(path_of(who))
    asked = {"form_token": form_token(page), "as_of": AS_OF, "version": version} | fields
    return browser.post(path_of(who) + "/judgement", data=asked)


def test_a_verdict_is_kept_with_what_it_was_about_and_can_be_changed(desk, listed):
    browser = signed_in(desk)
    who = listed[0]["customer_id"]
    first = verdict_of(desk, browser, who)
    assert (303, f"d-{a_driver(desk, who)['place']}-churn") == (
        first.status_code,
        first.headers["location"].split("#")[1],
    )
    verdict_of(desk, browser, who, version="1", verdict="right", comment="")

    (row,) = desk.store.rows("SELECT * FROM verdicts")
    assert ("right", None, 2, "Lena", "acme-churn 7") == tuple(
        row[name] for name in ("verdict", "comment", "version", "person", "model_version")
    )
    assert a_driver(desk, who)["sentence"] == row["sentence"]
    trail = desk.store.rows("SELECT what FROM events WHERE what LIKE '%verdicts'")
    assert 2 == len(trail)


def test_of_two_who_judge_at_once_the_second_sees_the_first_and_loses_nothing(desk, listed):
    ann, bob = signed_in(desk, "Lena"), signed_in(desk, "Ada")
    who = listed[0]["customer_id"]
    judge(ann, who, lead_risk="low", comment="Lena says <i>fine</i>")

    late = judge(bob, who, lead_risk="high", comment="Ada says no")
    assert 409 == late.status_code
    assert "Lena wrote this while you were writing" in late.text
    assert "Lena says &lt;i&gt;fine&lt;/i&gt;" in late.text
    assert "Ada says no</textarea>" in late.text
    assert "low" == desk.store.row("SELECT lead_risk FROM judgements")["lead_risk"]

    again = re.search(
        r'action="[^"]*/judgement".*?name="version" value="(\d+)"', late.text, re.DOTALL
    )[1]
    assert 303 == judge(bob, who, version=again, lead_risk="high", comment="Ada").status_code
    assert "high" == desk.store.row("SELECT lead_risk FROM judgements")["lead_risk"]


def test_an_action_is_logged_and_ends_the_open_item(desk, listed):
    browser = signed_in(desk)
    who = listed[0]["customer_id"]
    sent = browser.post(
        path_of(who) + "/treatment",
        data={
            "form_token": form_token(browser.get(path_of(who))),
            "action": "Called the sponsor",
            "channel": "call",
            "closes": "yes",
        },
    )

    assert 303 == sent.status_code
    assert (
        "done" == desk.store.row("SELECT state FROM items WHERE customer_id = :w", w=who)["state"]
    )
    assert "7 customers to reach this week" in browser.get("/").text


def test_a_list_is_saved_with_numbers_as_numbers_and_nothing_that_runs(desk):
    desk_rows = desk.store.rows("SELECT customer_id FROM scores")
    answer = signed_in(desk).get("/customers?form=csv")

    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert len(desk_rows) == len(rows)
    assert "attachment" in answer.headers["content-disposition"]
    texts = [row[name] for row in rows for name in ("customer_id", "owner", "main_sentence")]
    assert all(not text.startswith(("=", "+", "-", "@")) for text in texts)
    assert all(float(row["change"] or 0) is not None for row in rows)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@A1", "\t=1", "\n=1", "\u200b=1", " =1", "＝1", "\ufeff@x", "|calc"],
)
def test_a_text_that_a_spreadsheet_would_run_is_disarmed(text):
    """Seen to fail when texts were saved as they are."""
    assert harmless(text).startswith("'")


def test_a_number_below_zero_stays_a_number():
    assert [[-1.5, "'-1.5", None]] == exported([{"a": -1.5, "b": "-1.5"}], ("a", "b", "c"))[1]


@pytest.mark.slow
def test_every_page_reads_and_writes_alike_on_both_databases(database, tmp_path):
    listed = fill(database, tmp_path)
    desk = desk_for(database, tmp_path, signs_in=False)
    browser = visit(desk)
    who, gone = listed[0]["customer_id"], listed[-1]["customer_id"]
    outcomes = {"as_of": AS_OF, "has_left": True, "left_on": "2026-12-01"}
    with desk.store.writing("test") as write:
        write.add("outcomes", outcomes | {"customer_id": gone})
        write.add("outcomes", outcomes | {"customer_id": who, "has_left": False})
    assert 303 == verdict_of(desk, browser, who).status_code
    assert 303 == judge(browser, who, lead_risk="high", final_risk="low").status_code
    token = form_token(browser.get("/"))
    sent = {"form_token": token, "action": "call", "closes": "yes"}
    assert 303 == browser.post(path_of(who) + "/treatment", data=sent).status_code

    for path in ("/", "/?tab=done", "/?tab=next&q=c-", "/portfolio", "/pain", "/metrics"):
        assert 200 == browser.get(path).status_code, path
    for sort in ("risk", "change", "mrr", "clv", "health", "renews", "customer"):
        for way in ("up", "down"):
            assert 200 == browser.get(f"/customers?sort={sort}&way={way}").status_code
    scoreboard = browser.get("/scoreboard").text
    assert "they moved to a new team" in scoreboard
    assert "Not enough data yet." in scoreboard
    missed = browser.get("/misses")
    assert 200 == missed.status_code
    assert (path_of(gone) in missed.text) == (listed[-1]["risk_band"] == "low")
    for path in ("/misses", "/scoreboard", "/portfolio", "/customers", "/"):
        saved = browser.get(path, params={"form": "xlsx"})
        assert (200, b"PK") == (saved.status_code, saved.content[:2])
    desk.store.close()


# ---- who may do what ----------------------------------------------------------------------------


def test_nobody_sees_anything_before_signing_in(desk, listed):
    browser = visit(desk)
    for path in ("/", "/customers", path_of(listed[0]["customer_id"]), "/?form=csv"):
        answer = browser.get(path)
        assert 303 == answer.status_code
        assert answer.headers["location"].startswith("/sign-in")
    assert 403 == browser.post("/preferences", data={"form_token": ""}).status_code


def test_an_owner_sees_own_accounts_only_and_others_look_as_if_they_were_not_there(desk):
    """Seen to fail with lists that were not cut to the owner."""
    own = desk.door.people.account("Oda").owner
    browser = signed_in(desk, "Oda")
    rows = desk.store.rows("SELECT customer_id, owner FROM scores")
    mine = [row for row in rows if row["owner"] == own]
    other = next(row["customer_id"] for row in rows if row["owner"] not in (own, None))

    assert f"{len(mine)} customers" in browser.get("/customers").text
    hidden, missing = browser.get(path_of(other)), browser.get("/customers/nobody")
    assert (404, 404) == (hidden.status_code, missing.status_code)
    assert strip(hidden.text) == strip(missing.text)
    saved = csv.DictReader(io.StringIO(browser.get("/customers?form=csv").text.lstrip("\ufeff")))
    assert {own} == {row["owner"] for row in saved}
    assert "0 customers" in browser.get("/customers", params={"owner": "somebody else"}).text


def test_an_owner_cannot_write_about_somebody_elses_account(desk):
    """Seen to fail when a page did not ask whose account it is."""
    own = desk.door.people.account("Oda").owner
    browser = signed_in(desk, "Oda")
    other = desk.store.row("SELECT customer_id FROM scores WHERE owner <> :o AND eligible", o=own)[
        "customer_id"
    ]
    token = form_token(browser.get("/customers"))
    driver = a_driver(desk, other)
    for what, fields in (
        ("verdict", {"target": "churn", "signal": driver["signal"], "verdict": "right"}),
        ("judgement", {"lead_risk": "low"}),
        ("treatment", {"action": "call"}),
    ):
        sent = {"form_token": token, "as_of": AS_OF, "version": "0"} | fields
        assert 404 == browser.post(f"{path_of(other)}/{what}", data=sent).status_code
    for table in ("verdicts", "judgements", "treatments"):
        assert [] == desk.store.rows(f"SELECT * FROM {table}")


def test_the_final_decision_is_the_leads(desk):
    own = desk.door.people.account("Oda").owner
    who = desk.store.row("SELECT customer_id FROM scores WHERE owner = :o", o=own)["customer_id"]
    browser = signed_in(desk, "Oda")

    assert 303 == judge(browser, who, lead_risk="low", final_risk="high").status_code
    row = desk.store.row("SELECT * FROM judgements")
    assert ("low", None) == (row["lead_risk"], row["final_risk"])


def test_a_reader_reads_everything_and_writes_nothing(desk, listed):
    browser = signed_in(desk, "Rita")
    who = listed[0]["customer_id"]
    page = browser.get(path_of(who))

    assert 200 == page.status_code
    assert "/verdict" not in page.text
    assert 403 == verdict_of(desk, browser, who).status_code
    assert [] == desk.store.rows("SELECT * FROM verdicts")


def test_nobody_signs_in_on_this_machine_until_somebody_is_known(place):
    desk = desk_for(place[0], place[1], signs_in=False)
    page = visit(desk).get("/")

    assert (200, True) == (page.status_code, "local" in page.text)
    desk.store.close()


def test_a_page_for_others_asks_for_people_first(place):
    desk = desk_for(place[0], place[1], signs_in=False)
    for one in desk.door.people.accounts():
        desk.door.people.remove(one.name)
    with pytest.raises(ConfigError, match="nobody is known yet"):
        place_door(desk.door.people, host="0.0.0.0")
    desk.door.people.add("Lena", "lead", HASHED)
    door, hosts, is_secure = place_door(
        desk.door.people, host="0.0.0.0", url="https://retain.acme.example"
    )
    assert (True, True) == (door.must_sign_in, is_secure)
    assert "retain.acme.example" in hosts
    with pytest.raises(ConfigError, match="any visitor could send it"):
        place_door(desk.door.people, header="X-Remote-User")
    desk.store.close()


# ---- what is refused ----------------------------------------------------------------------------


def test_names_sentences_and_comments_are_text_wherever_they_are_shown(desk, listed):
    """Seen to fail with templates that do not escape."""
    browser = signed_in(desk)
    who = HOSTILE
    verdict_of(desk, browser, who, comment=HOSTILE)
    judge(browser, who, lead_risk="low", comment=HOSTILE, action_taken=HOSTILE)
    pages = [browser.get(p).text for p in ("/", "/customers", path_of(who))]

    for page in pages:
        assert HOSTILE not in page
        assert "Acme &lt;b&gt;" in page
    assert html.escape(HOSTILE, quote=False).replace('"', "&#34;") in pages[2]


def test_no_page_could_run_a_script_that_is_not_ours(desk, listed):
    """Seen to fail with 'unsafe-inline' in the policy."""
    browser = signed_in(desk)
    answer = browser.get(path_of(listed[0]["customer_id"]))

    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for part in ("frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
        assert part in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|style=|javascript:", answer.text)
    outside = set(re.findall(r'(?:src|href|action)="((?:https?:)?//[^"]*)"', answer.text))
    assert set() == outside


@pytest.mark.parametrize("token", ["", "forged", None])
def test_a_form_without_this_sessions_token_writes_nothing(desk, listed, token):
    """Seen to fail when every token fitted."""
    browser = signed_in(desk)
    answer = verdict_of(desk, browser, listed[0]["customer_id"], form_token=token or "")

    assert 403 == answer.status_code
    assert "they moved to a new team" in answer.text  # what was typed is given back
    assert [] == desk.store.rows("SELECT * FROM verdicts")


def test_the_token_of_another_session_is_refused(desk, listed):
    other = form_token(signed_in(desk, "Ada").get("/"))
    answer = verdict_of(desk, signed_in(desk), listed[0]["customer_id"], form_token=other)
    assert 403 == answer.status_code


def test_a_form_sent_from_another_site_is_refused(desk, listed):
    """Seen to fail when the headers were not looked at."""
    browser = signed_in(desk)
    token = form_token(browser.get("/"))
    for headers in (
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "null"},
    ):
        answer = browser.post(
            "/preferences", data={"form_token": token, "theme": "dark"}, headers=headers
        )
        assert 403 == answer.status_code


def test_a_forged_an_ended_and_an_old_session_open_nothing(desk):
    """Seen to fail when the stored hash opened a session, too, or signing out ended none."""
    browser = signed_in(desk)
    token = browser.cookies["retain_session"]
    for forged in ("x", "a" * 43, token[:-1], "' OR 1=1 --", desk_hash(token)):
        stranger = visit(desk)
        stranger.cookies.set("retain_session", forged)
        assert 303 == stranger.get("/").status_code
    browser.post("/sign-out", data={"form_token": form_token(browser.get("/"))})
    browser.cookies.set("retain_session", token)
    assert 303 == browser.get("/").status_code

    again = signed_in(desk)
    later = type(desk.door.people)(desk.store, now=lambda: 2**31)
    object.__setattr__(desk.door, "people", later)
    assert 303 == again.get("/").status_code


def desk_hash(token):
    import hashlib

    return hashlib.sha256(token.encode()).hexdigest()


def test_signing_in_makes_a_new_session_that_no_script_can_read(desk):
    browser = visit(desk)
    browser.cookies.set("retain_session", "fixed by somebody else")
    token = form_token(browser.get("/sign-in"))
    answer = browser.post(
        "/sign-in", data={"name": "Lena", "password": PASSWORD, "form_token": token}
    )

    cookie = next(c for c in answer.headers.get_list("set-cookie") if "retain_session" in c)
    assert "fixed" not in cookie
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    kept = desk.store.rows("SELECT token_hash FROM sessions")
    assert all(row["token_hash"] not in cookie for row in kept)


def test_guessing_a_password_ends_after_a_few_attempts_even_with_the_right_one(desk):
    """Seen to fail without the count of failures."""
    # scrypt is slow on purpose, so the failures before the last are noted directly
    for _ in range(MOST_BY_NAME - 1):
        desk.door.people.note_failure("lena", "10.0.0.9")
    browser = visit(desk)
    fields = {"name": "Lena", "form_token": form_token(browser.get("/sign-in"))}

    assert 401 == browser.post("/sign-in", data=fields | {"password": "guess"}).status_code
    answer = browser.post("/sign-in", data=fields | {"password": PASSWORD})
    assert (429, "900") == (answer.status_code, answer.headers["retry-after"])
    other = {"name": "Ada", "password": PASSWORD, "form_token": fields["form_token"]}
    assert 303 == browser.post("/sign-in", data=other).status_code


def test_an_unknown_name_and_a_wrong_password_look_alike(desk):
    browser = visit(desk)
    token = form_token(browser.get("/sign-in"))
    answers = [
        browser.post("/sign-in", data={"name": name, "password": "x", "form_token": token})
        for name in ("Lena", "Nobody")
    ]
    assert [401, 401] == [answer.status_code for answer in answers]
    assert answers[0].text.replace("Lena", "") == answers[1].text.replace("Nobody", "")


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(desk, to):
    browser = visit(desk)
    token = form_token(browser.get("/sign-in", params={"next": to}))
    fields = {"name": "Lena", "password": PASSWORD, "form_token": token, "next": to}
    assert "/" == browser.post("/sign-in", data=fields).headers["location"]


def test_the_proxys_header_is_believed_from_the_proxy_alone(place):
    trusted = desk_for(
        place[0], place[1], header="X-Remote-User", proxies=frozenset({"testclient"})
    )
    assert 200 == visit(trusted).get("/", headers={"X-Remote-User": "Lena"}).status_code
    assert 403 == visit(trusted).get("/", headers={"X-Remote-User": "Nobody"}).status_code
    assert 403 == visit(trusted).get("/").status_code
    trusted.store.close()
    other = desk_for(place[0], place[1], header="X-Remote-User", proxies=frozenset({"10.0.0.1"}))
    assert 403 == visit(other).get("/", headers={"X-Remote-User": "Lena"}).status_code
    other.store.close()


def test_a_request_under_another_name_is_refused(desk):
    """Seen to fail when the host was not looked at."""
    for host in ("evil.example", "[", "127.0.0.1.evil.example", ""):
        assert 400 == visit(desk).get("/sign-in", headers={"host": host}).status_code


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fcli.py",
        "/customers/..%2f..%2f..%2fetc%2fpasswd",
        "/metrics?period=..%2f..%2f",
        "/nothing",
    ],
)
def test_a_path_leads_nowhere_else(desk, path):
    answer = signed_in(desk).get(path)
    assert 404 == answer.status_code
    assert "root:" not in answer.text


def test_a_period_is_no_way_out_of_its_folder(desk, place):
    """Seen to fail when neither the page nor the reader of files looked for the period."""
    outside = place[1] / "outside" / "metrics.json"
    outside.parent.mkdir()
    outside.write_text('{"secret": 1}', encoding="utf-8")
    (place[1] / "metrics").mkdir(exist_ok=True)
    answer = signed_in(desk).get("/metrics", params={"period": "../outside"})
    assert 404 == answer.status_code


@pytest.mark.parametrize(
    "text", ["' OR '1'='1", "x'; DROP TABLE scores; --", '" UNION SELECT password FROM people --']
)
def test_sql_in_what_is_asked_for_is_text(desk, text):
    """Seen to fail with a filter's text written into the statement."""
    browser = signed_in(desk)
    for name in ("q", "owner", "segment", "sort", "way", "risk_band", "eligible"):
        assert 200 == browser.get("/customers", params={name: text}).status_code
        assert 200 == browser.get("/", params={name: text}).status_code
    assert "scrypt" not in browser.get("/customers", params={"q": text}).text
    assert 40 == desk.store.row("SELECT count(*) AS n FROM scores")["n"]
    who = desk.store.row("SELECT customer_id FROM scores WHERE eligible")["customer_id"]
    assert 400 == verdict_of(desk, browser, who, signal=text).status_code
    assert 400 == judge(browser, who, reason_code=text).status_code


def test_wrong_numbers_and_too_much_text_are_refused_in_words(desk, listed):
    browser = signed_in(desk)
    who = listed[0]["customer_id"]

    assert 400 == browser.get("/customers?page=x").status_code
    assert 200 == browser.get("/customers?page=99999999").status_code
    assert 400 == verdict_of(desk, browser, who, version="-1").status_code
    assert 413 == verdict_of(desk, browser, who, comment="x" * 300_000).status_code
    assert 400 == judge(browser, who, action_on="31.12.2026").status_code
    assert 405 == browser.delete("/").status_code
    sent = browser.post("/preferences", json={"theme": "dark"})
    assert 415 == sent.status_code


def strip(page):
    """A page without what differs by session and address."""
    page = re.sub(r'name="(form_token|back)" value="[^"]*"', "", page)
    return re.sub(r"/customers/[^\"]*", "", page)


# ---- speed --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_list_answers_within_a_second_with_a_hundred_thousand_customers(tmp_path):
    n = 100_000
    rng = np.random.default_rng(5)
    small, drivers = make_week(8, hostile=False)["scores"], make_week(8)["drivers"].iloc[:8]
    scores = pd.DataFrame({name: [None] * n for name in small}).astype(object)
    scores["customer_id"] = [f"C{i:06d}" for i in range(n)]
    scores["as_of"], scores["eligible"] = AS_OF, True
    chance, value = rng.beta(1, 8, n), rng.lognormal(7, 1, n)
    scores["churn_probability"], scores["clv"] = chance, value
    scores["value_at_risk"], scores["mrr"] = chance * value, rng.lognormal(5, 1, n)
    scores["percentile"] = 100 * pd.Series(chance).rank(pct=True)
    scores["risk_band"] = np.where(scores["percentile"] > 95, "high", "low")
    scores["segment"] = rng.choice(["large", "mid", "small"], n)
    scores["owner"] = rng.choice([f"owner {i}" for i in range(40)], n)
    scores["model_version"] = scores["config_version"] = "v"
    drivers = pd.concat([drivers] * n, ignore_index=True).assign(
        customer_id=np.repeat(scores["customer_id"].to_numpy(), 8),
        as_of=AS_OF,
        rank=np.tile(np.arange(1, 9), n),
    )
    address = f"sqlite:///{tmp_path / 'actions.db'}"
    with open_store(address) as store:
        manifest = {"currency": "EUR", "horizon_weeks": 13}
        # what the machine is worth at this moment: the same rows into a bare table
        bare = sqlite3.connect(tmp_path / "bare.db")
        bare.execute(f"CREATE TABLE drivers ({', '.join(drivers)})")
        marks = ", ".join("?" * len(drivers.columns))
        before = time.process_time()
        rows = drivers.astype(object).itertuples(index=False)
        bare.executemany(f"INSERT INTO drivers VALUES ({marks})", rows)
        bare.commit()
        pace = time.process_time() - before
        bare.close()
        before = time.process_time()
        import_week(store, AS_OF, scores, drivers, manifest, fingerprint="x")
        keep_queue(store, AS_OF, QueueRules(400))
        brought_in = time.process_time() - before
        left = zip(scores["customer_id"], rng.random(n) < chance / 4, strict=True)
        note_outcomes(store, {AS_OF: list(left)})
    desk = desk_for(address, tmp_path, signs_in=False)
    browser = visit(desk)
    browser.get("/sign-in")
    took = {}
    for path in (
        *("/", "/?tab=next&q=c09", "/customers", "/customers?page=1900", "/customers?q=99"),
        *("/customers?sort=mrr&way=up", "/customers?owner=owner+3&sort=risk", "/portfolio"),
        *("/customers/C050000", "/misses", "/scoreboard"),
    ):
        before = time.process_time()  # of this process: others on the machine do not count
        assert 200 == browser.get(path).status_code
        took[path] = time.process_time() - before
    desk.store.close()

    print(f"brought in within {brought_in:.1f} s of CPU, bare rows within {pace:.1f}; {took}")
    assert brought_in < 3.3 * pace
    assert {} == {path: seconds for path, seconds in took.items() if seconds > max(1.0, pace / 4)}
