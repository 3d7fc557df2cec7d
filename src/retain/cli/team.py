"""Commands of the customer-success team: its list, what it hands on, whom it must forget."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from retain.cli import DONE, _print, _progress, _say, _write

__all__ = ["add_commands"]


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the team's commands.

    Parameters
    ----------
    command
        Makes one, given its name, what runs it, what it does and an example.
    """

    def config(one: argparse.ArgumentParser) -> None:
        one.add_argument("config", metavar="CONFIG", help="the company's YAML file")

    one = command(
        "queue",
        _queue,
        "show this week's list: whom to contact, why, and who comes next",
        "retain queue acme.yaml --owner Anna",
    )
    config(one)
    one.add_argument("--owner", metavar="NAME", help="only this owner's customers")


def _queue(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import queue

        found = queue(given.config, owner=given.owner, progress=listener)
    from retain.report import queues

    _print(queues.queue_table(found.listed, currency=found.currency))
    _say("")
    _print(queues.next_table(found.listed))
    _say("")
    _write(queues.queue_line(found.as_of, found.listed, found.capacity, found.ordered_by))
    return DONE
