"""A company's action store with one made-up week in it, hostile names and all, and its page."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from pathlib import Path

import pandas as pd
import yaml
from report_week import make_week
from starlette.testclient import TestClient

from retain.actions import open_store
from retain.actions.importing import import_week
from retain.actions.keeping import keep_queue
from retain.actions.people import People
from retain.actions.queue import Play, QueueRules
from retain.review import Desk, hash_password
from retain.review.access import Door
from retain.review.app import create_app

PASSWORD = "correct horse battery staple"
AS_OF = "2026-11-15"
HASHED = hash_password(PASSWORD)
PEOPLE = {"Ada": "admin", "Lena": "lead", "Oda": "owner", "Rita": "reader"}
RULES = QueueRules(8, holdout_share=0.5, enter_percentile=0, plays=(Play("Call the sponsor"),))
HERE = "http://127.0.0.1"


def written_week(n=40, seed=4, hostile=True):
    """One scored week as the weekly run writes it: days are text, percentiles count to 100."""
    week = make_week(n, seed=seed, hostile=hostile)
    scores = week["scores"]
    week["scores"] = scores.assign(
        as_of=AS_OF,
        renews_at=[None if pd.isna(day) else str(day)[:10] for day in scores["renews_at"]],
        percentile=scores["percentile"] * 100,
    )
    week["drivers"] = week["drivers"].assign(as_of=AS_OF)
    # texts in every row, as a score's file holds them
    for name in ("value", "earlier_value", "peer_value"):
        week["drivers"][name] = week["drivers"][name].map(str)
    return week


def write_files(store, week):
    """Put a scored week's files into a company's store, all of them at once."""
    folder = Path(store) / "scores" / f"as_of={AS_OF}"
    aside = folder.with_name(".partial-week")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name in ("scores", "drivers", "weekly"):
        week[name].to_parquet(aside / f"{name}.parquet", index=False)
    (aside / "manifest.json").write_text(json.dumps(week["manifest"]), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def configured(folder, address):
    """Write the configuration of a company whose store is `folder`; give its path."""
    path = Path(folder) / "acme.yaml"
    said = {
        "company": "Acme & Söhne",
        "currency": "EUR",
        "timezone": "Europe/Rome",
        "store": str(folder),
        "tables": {"usage": {"source": "usage.parquet"}},
        "churn": {"kind": "inactivity"},
        "review": {
            "database": address,
            "capacity_per_week": RULES.capacity_per_week,
            "holdout_share": RULES.holdout_share,
            "enter_percentile": RULES.enter_percentile,
            "stay_percentile": 0,
            "plays": [{"play": RULES.plays[0].play}],
        },
    }
    path.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    return path


def fill(address, folder, n=40, hostile=True):
    """Bring a week into an action store and its files into a folder."""
    week = written_week(n, hostile=hostile)
    scores, drivers, weekly, manifest = (
        week[name] for name in ("scores", "drivers", "weekly", "manifest")
    )
    files = Path(folder) / "scores" / f"as_of={AS_OF}"
    files.mkdir(parents=True)
    weekly.to_parquet(files / "weekly.parquet", index=False)
    with open_store(address) as store:
        import_week(store, AS_OF, scores, drivers, manifest, fingerprint="x")
        keep_queue(store, AS_OF, RULES)
        return store.rows(
            "SELECT s.*, l.status, l.place FROM listings l JOIN scores s ON s.as_of = l.as_of "
            "AND s.customer_id = l.customer_id ORDER BY l.place"
        )


def add_people(store):
    """Let everybody of `PEOPLE` in; the owner is whoever comes first among the customers'."""
    people = People(store)
    owner = store.row("SELECT owner FROM scores WHERE owner IS NOT NULL ORDER BY owner")["owner"]
    for name, role in PEOPLE.items():
        if not people.account(name):
            people.add(name, role, HASHED, owner if role == "owner" else None)


def desk_for(address, folder, *, signs_in=True, **door):
    store = open_store(address)
    people = People(store)
    if signs_in:
        add_people(store)
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
