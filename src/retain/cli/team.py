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

    one = command(
        "proof",
        _proof,
        "say what acting changed, what the list caught and missed, and who was right",
        "retain proof acme.yaml",
    )
    config(one)

    one = command(
        "handoff",
        _handoff,
        "write a scored week as one file for other systems, with its schema beside it",
        "retain handoff acme.yaml --out week.xlsx",
    )
    config(one)
    one.add_argument("--out", metavar="FILE", help=".csv, .parquet or .xlsx; default: in the store")
    one.add_argument("--as-of", metavar="DATE", help="default: the newest scored week")

    one = command(
        "forget",
        _forget,
        "erase one customer from everything that is kept, and say what was erased",
        "retain forget acme.yaml C00465",
    )
    config(one)
    one.add_argument("customer_id", metavar="CUSTOMER_ID", help="as in the outputs")


def _queue(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import queue

        found = queue(given.config, owner=given.owner, progress=listener)
    from retain.report import queues

    _print(queues.queue_table(found.listed, currency=found.currency, owner=found.owner))
    _say("")
    _print(queues.next_table(found.listed))
    _say("")
    _write(queues.queue_line(found))
    return DONE


def _proof(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import prove

        found = prove(given.config, progress=listener)
    from retain.report import queues

    for table in queues.proof_tables(found):
        _print(table)
        _say("")
    _write(found.effect.said[0].upper() + found.effect.said[1:] + ".")
    return DONE


def _handoff(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import hand_off

        path = hand_off(given.config, out=given.out, as_of=given.as_of, progress=listener)
    _say(f"{path}\n{path.with_suffix('.schema.txt')}")
    return DONE


def _forget(given: Any) -> int:
    with _progress() as listener:
        from retain.jobs import forget

        found = forget(given.config, given.customer_id, progress=listener)
    for where, n in found.erased.items():
        _say(f"{n:>6,}  {where}")
    for note in found.notes:
        _write(f"note: {note}")
    return DONE
