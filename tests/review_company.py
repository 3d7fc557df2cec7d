"""A company's action store with one made-up week in it, hostile names and all, and its page."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

import pandas as pd
from report_week import make_week
from starlette.testclient import TestClient

from retain.actions import open_store, schema
from retain.actions.people import People
from retain.review import Desk, hash_password
from retain.review.access import Door
from retain.review.app import create_app

PASSWORD = "correct horse battery staple"
AS_OF = "2026-11-15"
HASHED = hash_password(PASSWORD)
PEOPLE = {"Ada": "admin", "Lena": "lead", "Oda": "owner", "Rita": "reader"}
HERE = "http://127.0.0.1"


def known(value):
    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def fill(address, folder, n=40, hostile=True):
    """Bring a week into an action store and its files into a folder."""
    week = make_week(n, hostile=hostile)
    scores, drivers, weekly, manifest = (
        week[name] for name in ("scores", "drivers", "weekly", "manifest")
    )
    files = Path(folder) / "scores" / f"as_of={AS_OF}"
    files.mkdir(parents=True)
    weekly.to_parquet(files / "weekly.parquet", index=False)
    rows = scores.astype(object).to_dict("records")
    with open_store(address) as store, store.writing("import") as write:
        run = write.connection.execute
        run(
            schema.weeks.insert().values(
                as_of=AS_OF,
                imported_at=store.now(),
                manifest_hash="x",
                manifest=manifest,
                model_version="v1",
                config_version="c1",
                currency="EUR",
                customers=len(scores),
                eligible=int(scores["eligible"].sum()),
            )
        )
        main = drivers[(drivers["target"] == "churn") & (drivers["rank"] == 1)]
        main = main[main["contribution"] > 0].set_index("customer_id")
        laid = []
        for row in rows:
            one = {c.name: known(row.get(c.name)) for c in schema.scores.c}
            one |= {"as_of": AS_OF, "searched": str(row["customer_id"]).casefold()}
            one |= {"model_version": "v1", "config_version": "c1"}
            one["customer_id"] = str(row["customer_id"]).replace("\x00", "")
            one["eligible"] = bool(row["eligible"])
            one["renews_at"] = str(row["renews_at"])[:10] if known(row["renews_at"]) else None
            if row["customer_id"] in main.index:
                top = main.loc[row["customer_id"]]
                one |= {"main_theme": top["theme"], "main_signal": top["signal"]}
                one["main_sentence"] = top["sentence"]
            laid.append(one)
        run(schema.scores.insert(), laid)
        sized = drivers.assign(size=-drivers["contribution"].abs()).sort_values(
            ["customer_id", "target", "size"], kind="stable"
        )
        sized["place"] = sized.groupby(["customer_id", "target"]).cumcount() + 1
        run(
            schema.drivers.insert(),
            [
                {c.name: known(row.get(c.name)) for c in schema.drivers.c}
                | {"as_of": AS_OF, "customer_id": str(row["customer_id"]).replace("\x00", "")}
                | {k: None if known(row.get(k)) is None else str(row[k]) for k in TEXTS}
                for row in sized.astype(object).to_dict("records")
            ],
        )
        listed = sorted(
            (one for one in laid if one["eligible"]),
            key=lambda one: -(one["value_at_risk"] or 0),
        )
        for place, one in enumerate(listed[:12], 1):
            status = "holdout" if place == 3 else "contact" if place <= 8 else "next"
            item = None
            if status != "next":
                item = write.add(
                    "items",
                    {
                        "customer_id": one["customer_id"],
                        "owner": one["owner"],
                        "state": "open",
                        "is_holdout": status == "holdout",
                        "entered_week": AS_OF,
                        "seen_week": AS_OF,
                        "reason": "worth most",
                        "play": "Call the sponsor",
                        "due_on": "2026-11-20",
                        "score_version": "v1",
                    },
                )["id"]
            run(
                schema.listings.insert().values(
                    as_of=AS_OF,
                    customer_id=one["customer_id"],
                    status=status,
                    place=place,
                    owner=one["owner"],
                    worth=one["value_at_risk"],
                    why=f"place {place} of {len(listed)}",
                    item_id=item,
                )
            )
    return listed


TEXTS = ("value", "earlier_value", "peer_value")


def desk_for(address, folder, *, signs_in=True, **door):
    store = open_store(address)
    people = People(store)
    owner = store.row("SELECT owner FROM scores WHERE owner IS NOT NULL ORDER BY owner")["owner"]
    for name, role in PEOPLE.items() if signs_in else ():
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
