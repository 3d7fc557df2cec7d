"""`retain review`: start the customer-success lead's page, and say who may use it."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import Any

from retain.cli.printing import say
from retain.errors import ConfigError

__all__ = ["describe_review", "run_review"]

PASSWORD = "RETAIN_PASSWORD"


def describe_review(one: argparse.ArgumentParser) -> None:
    """Declare the options of `retain review`."""
    one.add_argument("config", metavar="CONFIG", help="the company's YAML file")
    one.add_argument("--port", metavar="N", type=int, default=8000, help="default: 8000")
    one.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="default: 127.0.0.1, this machine only; any other one asks people to sign in",
    )
    one.add_argument(
        "--url",
        metavar="URL",
        help="the address that people type, as in https://retain.acme.example",
    )
    one.add_argument("--certificate", metavar="FILE", help="serve https with this certificate")
    one.add_argument("--key", metavar="FILE", help="its private key")
    one.add_argument(
        "--trust-header",
        metavar="NAME",
        help="the company's proxy names the person in this header, as in X-Remote-User",
    )
    one.add_argument(
        "--proxy",
        metavar="ADDRESS",
        action="append",
        default=[],
        help="address of that proxy (may be repeated); from any other the header is not read",
    )
    people = one.add_argument_group("people, instead of starting the page")
    people.add_argument("--add-person", metavar="NAME", help="let somebody in, or change them")
    people.add_argument(
        "--role",
        metavar="ROLE",
        default="lead",
        help="admin, lead, owner (own accounts only) or reader; default: lead",
    )
    people.add_argument(
        "--owner", metavar="NAME", help="the customers' owner that this person is; default: NAME"
    )
    people.add_argument(
        "--no-password", action="store_true", help="only the company's proxy lets this person in"
    )
    people.add_argument("--remove-person", metavar="NAME", help="let somebody in no longer")
    people.add_argument("--people", action="store_true", help="list who may come in")


def run_review(given: Any) -> int:
    """Start the page, or change who may use it; return the exit code."""
    from retain.actions.people import People
    from retain.config import load_config
    from retain.jobs import open_actions
    from retain.jobs.reviewing import review_place

    config = load_config(given.config)
    place = review_place(config)
    about_people = given.add_person or given.remove_person or given.people
    with open_actions(config, up_to_date=not about_people) as store:
        people = People(store)
        if given.add_person is not None:
            return _add(given, people)
        if given.remove_person is not None:
            if not people.remove(given.remove_person):
                raise ConfigError(
                    f"--remove-person {given.remove_person}: nobody of that name is known. "
                    "retain review CONFIG --people lists them."
                )
            say(f"{given.remove_person} may no longer come in; what they wrote stays")
            return 0
        if given.people:
            for one in people.accounts():
                owns = f"  (accounts of {one.owner})" if one.role == "owner" else ""
                say(f"{one.role:8s} {one.name}{owns}")
            return 0
        from retain.review import Desk, place_door, serve

        door, hosts, is_secure = place_door(
            people,
            host=given.host,
            url=given.url,
            certificate=given.certificate,
            header=given.trust_header,
            proxies=given.proxy,
            local_name=getpass.getuser(),
        )
        desk = Desk(
            place.company,
            place.currency,
            place.timezone,
            store,
            door,
            place.scores,
            place.metrics,
            hosts=hosts,
            is_secure=is_secure,
            plays=place.plays,
        )
        scheme = "https" if given.certificate else "http"
        shown = given.url or f"{scheme}://{given.host}:{given.port}/"
        asks = "people sign in" if door.must_sign_in else "open to whoever uses this machine"
        say(f"review page: {shown}  ({asks}; stop with Ctrl-C)")
        serve(desk, host=given.host, port=given.port, certificate=given.certificate, key=given.key)
    return 0


def _add(given: Any, people: Any) -> int:
    from retain.review import hash_password

    hashed = "" if given.no_password else hash_password(_password())
    account = people.add(given.add_person, given.role, hashed, given.owner)
    owns = f", sees the accounts of {account.owner}" if account.role == "owner" else ""
    say(f"{account.name} may come in as {account.role}{owns}")
    return 0


def _password() -> str:
    """Ask for a password; without a terminal it comes from the environment."""
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if not sys.stdin.isatty():
        raise ConfigError(
            f"--add-person: no terminal to ask for a password. Set {PASSWORD}, or give "
            "--no-password when the company's proxy signs people in."
        )
    first = getpass.getpass("password: ")
    if first != getpass.getpass("once more: "):
        raise ConfigError("--add-person: the two passwords differ; nothing was changed.")
    return first
