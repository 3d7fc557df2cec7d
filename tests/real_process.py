"""The real commands in processes of their own, to be killed.

Each is forked from a parent that has imported everything and done nothing, so that it is at work
after a moment instead of seconds: fifty of them cost what five would.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PARENT = """
import json, os, signal, sys
import pandas, pyarrow.parquet, sqlalchemy.dialects.sqlite, uvicorn
with __import__("contextlib").suppress(ImportError):
    import psycopg
import retain.cli.review, retain.cli.team, retain.jobs.acting, retain.jobs.reviewing
import retain.jobs.watching, retain.review.app
from retain.cli import main
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        out = os.open(os.devnull, os.O_WRONLY)
        os.dup2(out, 1)
        code = main(json.loads(line))
        sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Commands:
    """Starts `retain` commands, one after the other."""

    def __init__(self, errors: str) -> None:
        self._errors = Path(errors).open("w", encoding="utf-8")  # noqa: SIM115
        self._parent = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PARENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert "ready\n" == self._parent.stdout.readline()
        self.pid = 0

    def start(self, *words: str) -> None:
        """Start one; `self.pid` is its process."""
        self._parent.stdin.write(json.dumps(words) + "\n")
        self._parent.stdin.flush()
        self.pid = int(self._parent.stdout.readline())

    def is_running(self) -> bool:
        """Tell whether it has neither ended nor been killed."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def ended(self) -> int:
        """Wait for its end; give the exit code, or minus the signal."""
        return int(self._parent.stdout.readline())

    def kill(self) -> bool:
        """Kill it; tell whether it was still at work."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.ended() == -signal.SIGKILL

    def close(self) -> None:
        self._parent.stdin.close()
        self._parent.wait(30)
        self._errors.close()


@contextlib.contextmanager
def commands(errors: str) -> Iterator[Commands]:
    """Give a starter of commands whose complaints go to the file `errors`."""
    made = Commands(errors)
    try:
        yield made
    finally:
        made.close()


def until(holds, seconds=60.0, every=0.005):
    """Wait until something holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(every)
    return found
