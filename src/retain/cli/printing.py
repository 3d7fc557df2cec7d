"""How the commands speak: one bar of progress, tables, prose and complaints, pipes or not."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["complain", "open_ended", "print_it", "progress", "say", "write"]


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """Show one bar on a terminal; stay quiet elsewhere."""
    if not sys.stderr.isatty():
        yield lambda text, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)


def print_it(renderable: Any) -> None:
    """Print a table."""
    from rich.console import Console

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process

    console = Ours()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        columns = os.environ.get("COLUMNS", "")
        console = Ours(width=int(columns) if columns.isdigit() and int(columns) else 120)
    with open_ended():
        console.print(renderable)


def write(text: str) -> None:
    """Print prose, broken between words where the terminal ends."""
    from rich.text import Text

    print_it(Text(text))


def say(text: str) -> None:
    """Print a line as it is."""
    with open_ended():
        print(text, flush=True)


@contextlib.contextmanager
def open_ended() -> Iterator[None]:
    """Go on when the reader has closed the pipe (`| head`): the job's own result counts."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Say what went wrong, where errors belong."""
    print(f"retain: {text}", file=sys.stderr)
