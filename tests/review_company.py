"""A company's action store with one made-up week in it, hostile names and all, and its page."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

import pandas as pd
from report_week import make_week
from starlette.testclient import TestClient

from retain.actions import open_store
from retain.actions.importing import import_week
from retain.actions.keeping import keep_queue
from retain.actions.people import People
from retain.actions.queue import Play, QueueRules
from retain.actions.tallies import keep_portfolio
from retain.review import Desk, hash_password
from retain.review.access import Door
from retain.review.app import create_app

PASSWORD = "correct horse battery staple"
AS_OF = "2026-11-15"
HASHED = hash_password(PASSWORD)
PEOPLE = {"Ada": "admin", "Lena": "lead", "Oda": "owner", "Rita": "reader"}
RULES = QueueRules(8, holdout_share=0.5, enter_percentile=0, plays=(Play("Call the sponsor"),))
HERE = "http://127.0.0.1"


def fill(address, folder, n=40, hostile=True):
    """Bring a week into an action store and its files into a folder."""
    week = make_week(n, hostile=hostile)
    scores, drivers, weekly, manifest = (
        week[name] for name in ("scores", "drivers", "weekly", "manifest")
    )
    # as the weekly run writes them: days are text, percentiles count to 100
    scores = scores.assign(
        as_of=AS_OF,
        renews_at=[None if pd.isna(day) else str(day)[:10] for day in scores["renews_at"]],
        percentile=scores["percentile"] * 100,
    )
    drivers = drivers.assign(as_of=AS_OF)
    files = Path(folder) / "scores" / f"as_of={AS_OF}"
    files.mkdir(parents=True)
    weekly.to_parquet(files / "weekly.parquet", index=False)
    with open_store(address) as store:
        import_week(store, AS_OF, scores, drivers, manifest, fingerprint="x")
        keep_portfolio(store, AS_OF)
        keep_queue(store, AS_OF, RULES)
        return store.rows(
            "SELECT s.*, l.status, l.place FROM listings l JOIN scores s ON s.as_of = l.as_of "
            "AND s.customer_id = l.customer_id ORDER BY l.place"
        )


def desk_for(address, folder, *, signs_in=True, **door):
    store = open_store(address)
    people = People(store)
    owner = store.row("SELECT owner FROM scores WHERE owner IS NOT NULL ORDER BY owner")["owner"]
    for name, role in PEOPLE.items() if signs_in else ():
        if people.account(name):
            continue
        people.add(name, role, HASHED, owner if role == "owner" else None)
    door = Door(people, signs_in, "local", **door)
    return Desk(
        "Acme <b>&</b> Söhne",
        "EUR",
        "Europe/Rome",
        store,
        door,
        Path(folder) / "scores",
        Path(folder) / "metrics",
    )


def visit(desk):
    """A browser that has not signed in."""
    return TestClient(create_app(desk), base_url=HERE, follow_redirects=False)


def form_token(page):
    return re.search(r'name="form_token" value="([^"]+)"', page.text)[1]


def signed_in(desk, name="Lena"):
    """A browser with a session; made without the password, which is slow to check on purpose."""
    browser, token = visit(desk), secrets.token_urlsafe(32)
    desk.door.people.open_session(
        hashlib.sha256(token.encode()).hexdigest(), secrets.token_urlsafe(32), name
    )
    browser.cookies.set("retain_session", token)
    return browser
