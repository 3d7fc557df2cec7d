"""Portions over processes: as many as memory holds, and none that seems to leak."""

from __future__ import annotations

import os
import time
import warnings

import numpy as np
import pytest

from retain.jobs import spreading
from retain.jobs.spreading import spread

PINNED = []


def worker(shared: bytes, number: int) -> tuple[bytes, int, int]:
    return shared, number, os.getpid()


def litter(shared: bytes, number: int) -> int:
    """Take and free 400 MB in small pieces, below something that stays: malloc keeps them."""
    pieces = [np.ones(12_000) for _ in range(4_000 if number > 1 else 1)]
    PINNED.append(pieces[-1])
    del pieces
    time.sleep(1.1)  # loky looks once a second
    return number


def test_where_memory_is_short_the_work_is_done_here(monkeypatch):
    """Seen to fail when only cores were counted."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    monkeypatch.setattr(spreading, "_free_mb", lambda: 2 * spreading.PROCESS_MB - 1)

    found = list(spread(worker, b"all", ((number,) for number in range(8)), 8))

    assert found == [(b"all", number, os.getpid()) for number in range(8)]


@pytest.mark.slow
def test_memory_that_came_and_went_with_a_task_is_no_leak(monkeypatch):
    """Seen to fail when what malloc kept was not given back: loky ended the processes."""
    pytest.importorskip("psutil", reason="without psutil loky measures nothing")
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")  # as an error it would stop loky's thread, and us
        found = list(spread(litter, b"", ((number,) for number in range(8)), 8))

    assert found == list(range(8))
    assert [str(one.message) for one in said] == []
