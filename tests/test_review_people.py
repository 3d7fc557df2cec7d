"""The administrator's page of people: letting in, changing, letting in no more; nobody else's."""

from __future__ import annotations

import re
import shutil

import pytest
from report_week import HOSTILE
from review_company import (
    PASSWORD,
    desk_for,
    fill,
    form_token,
    signed_in,
    visit,
)

from retain.review.pages.people import _seen

NEW = "four or five words"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    address = f"sqlite:///{folder / 'actions.db'}"
    fill(address, folder, n=10)
    desk_for(address, folder).store.close()  # the people, once: every write waits for the disk
    return folder


@pytest.fixture
def desk(filled, tmp_path):
    folder = shutil.copytree(filled, tmp_path / "company")
    made = desk_for(f"sqlite:///{folder / 'actions.db'}", folder)
    yield made
    made.store.close()


def add(browser, **fields):
    asked = {"name": "Nia", "role": "owner", "owner": "Bo Li", "password": NEW}
    token = form_token(browser.get("/people"))
    return browser.post("/people", data={"form_token": token} | asked | fields)


def change(desk, browser, name, **fields):
    known = next(one for one in desk.door.people.everybody() if one.name == name)
    asked = {
        **{"form_token": form_token(browser.get("/people")), "name": name, "role": known.role},
        **{"owner": known.owner, "password": "", "is_active": "yes", "seen": _seen(known)},
    }
    return browser.post("/people/change", data=asked | fields)


def lets_in(desk, name, password):
    browser = visit(desk)
    token = form_token(browser.get("/sign-in"))
    fields = {"name": name, "password": password, "form_token": token}
    return 303 == browser.post("/sign-in", data=fields).status_code


def test_an_administrator_lets_somebody_in_who_then_signs_in_with_that_role(desk):
    assert 303 == add(signed_in(desk, "Ada")).status_code

    account = desk.door.people.account("nia")
    assert ("owner", "Bo Li", True) == (account.role, account.owner, account.is_active)
    assert NEW not in account.password
    assert lets_in(desk, "Nia", NEW)


def test_another_password_ends_the_sessions_and_the_old_one_fits_no_more(desk):
    rita = signed_in(desk, "Rita")
    assert 200 == rita.get("/").status_code

    assert 303 == change(desk, signed_in(desk, "Ada"), "Rita", password=NEW).status_code
    assert 303 == rita.get("/").status_code
    assert lets_in(desk, "Rita", NEW)
    assert not lets_in(desk, "Rita", PASSWORD)


def test_who_may_not_come_in_any_more_does_not_and_may_again(desk):
    ada, rita = signed_in(desk, "Ada"), signed_in(desk, "Rita")

    assert 303 == change(desk, ada, "Rita", is_active="").status_code
    assert 303 == rita.get("/").status_code
    assert not lets_in(desk, "Rita", PASSWORD)
    assert "not let in" in ada.get("/people").text
    assert 303 == change(desk, ada, "Rita", role="lead").status_code
    assert lets_in(desk, "Rita", PASSWORD)
    assert "lead" == desk.door.people.account("Rita").role


@pytest.mark.parametrize("name", ["Lena", "Oda", "Rita"])
def test_for_others_there_is_no_such_page(desk, name):
    browser = signed_in(desk, name)
    token = form_token(browser.get("/customers"))
    refused = {"Lena": 404, "Oda": 404, "Rita": 403}[name]
    sent = {"form_token": token, "name": name, "role": "admin", "is_active": "yes", "seen": ""}

    assert 404 == browser.get("/people").status_code
    assert 404 == browser.get("/people?form=csv").status_code
    assert "/people" not in browser.get("/").text
    for path in ("/people", "/people/change"):
        assert refused == browser.post(path, data=sent | {"password": NEW}).status_code
    assert "admin" != desk.door.people.account(name).role


def test_nobody_takes_away_their_own_way_in_or_role(desk):
    ada = signed_in(desk, "Ada")
    for fields in ({"is_active": ""}, {"role": "reader"}):
        answer = change(desk, ada, "Ada", **fields)
        assert (400, True) == (answer.status_code, "another administrator" in answer.text)
    assert "admin" == desk.door.people.account("Ada").role


def test_of_two_administrators_the_late_one_overwrites_nothing(desk):
    ada = signed_in(desk, "Ada")
    before = next(one for one in desk.door.people.everybody() if one.name == "Rita")
    change(desk, ada, "Rita", role="lead")

    late = change(desk, ada, "Rita", role="owner", seen=_seen(before))
    assert (409, True) == (late.status_code, "Somebody else has changed" in late.text)
    assert "lead" == desk.door.people.account("Rita").role


def test_what_cannot_be_is_refused_in_words(desk):
    ada = signed_in(desk, "Ada")
    short, known = add(ada, password="short"), add(ada, name="rita")

    assert (400, True) == (short.status_code, "12 characters or more" in short.text)
    assert (409, True) == (known.status_code, "known already" in known.text)
    for fields in ({"role": "god"}, {"name": "  "}, {"name": "x" * 201}):
        assert 400 == add(ada, **fields).status_code
    assert 400 == change(desk, ada, "Rita", role="god").status_code
    assert 403 == add(ada, form_token="forged").status_code
    assert 5 > len(desk.door.people.everybody())


def test_every_change_is_in_the_trail_and_no_password(desk):
    ada = signed_in(desk, "Ada")
    add(ada)
    change(desk, ada, "Nia", role="lead", password="another five word one")

    first, second = desk.store.rows(
        "SELECT actor, what, before, after FROM events WHERE key LIKE '%Nia%' ORDER BY id"
    )
    assert ("Ada", "added a person") == (first["actor"], first["what"])
    assert ("Ada", "changed a person") == (second["actor"], second["what"])
    assert '"role":"owner"' in second["before"]
    assert '"password":"another one"' in second["after"]
    assert "scrypt" not in str(first) + str(second)


def test_a_name_is_text_on_the_page_and_harmless_in_the_saved_list(desk):
    ada = signed_in(desk, "Ada")
    add(ada, name=HOSTILE, owner="=1+1")
    page = ada.get("/people").text

    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert "'=1+1" in ada.get("/people?form=csv").text
    assert not re.search(r"\son\w+=|style=", page)
