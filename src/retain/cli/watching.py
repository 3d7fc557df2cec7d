"""Commands that tell people what happened: each alert once, and what could not be told."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from retain.cli import DONE, FAILED, _complain, _write

__all__ = ["add_commands", "show_watched"]


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands.

    Parameters
    ----------
    command
        Makes one, given its name, what runs it, what it does and an example.
    """
    one = command(
        "watch",
        _watch,
        "tell owners what happened since the weekly run, each alert once",
        "retain watch acme.yaml --every 10",
    )
    one.add_argument("config", metavar="CONFIG", help="the company's YAML file")
    how = one.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="one pass, as from cron (the default)")
    how.add_argument("--every", metavar="MINUTES", type=float, help="a pass every so often")
    how.add_argument("--at", metavar="MOMENT", help="one pass that reads nothing later")


def show_watched(done: Any) -> int:
    """Say what was told and what is owed, nothing when nothing happened; give the exit code."""
    for line in done.lines:
        _write(line)
    for complaint in done.complaints:
        _complain(complaint)
    return DONE if done.ok else FAILED


def _watch(given: Any) -> int:
    from retain.jobs import watch, watch_every

    if given.every is None:
        return show_watched(watch(given.config, at=given.at))
    watch_every(given.config, given.every, told=show_watched, failed=_complain)
    return DONE
