"""Work on portions of customers spread over processes, its results in order."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from retain.engines import Spark
from retain.tables.memory import give_back

__all__ = ["MOST_PROCESSES", "spread"]

MOST_PROCESSES = 4  # so many and the one that they work for hold less than 4 GB in all
PROCESS_MB = 700  # of each at most: the libraries, a model's tables and a portion at work


def spread(
    task: Callable[..., Any],
    shared: bytes,
    given: Iterable[tuple[Any, ...]],
    count: int,
    spark: Spark | None = None,
) -> Iterator[Any]:
    """Do a task for each of the given arguments, in a process per core when there are many.

    There are no more processes than the memory that is free now holds; results are the same.

    Parameters
    ----------
    task
        A function of a module: ``task(shared, *arguments)``.
    shared
        What all of them need.
    given
        Arguments, made as they are needed.
    count
        How many there will be; few are done here.
    spark
        Whose executors do it instead.

    Yields
    ------
    object
        What the task returned, in the order of the arguments; what it raises is raised here.
    """
    if spark is not None:
        yield from spark.spread(task, shared, given)
        return
    from joblib import Parallel, cpu_count, delayed
    from joblib.externals.loky import get_reusable_executor

    cores = min(cpu_count(), MOST_PROCESSES, count // 2, _free_mb() // PROCESS_MB)
    if cores < 2:
        for arguments in given:
            yield task(shared, *arguments)
        return
    pool = Parallel(
        cores, return_as="generator", pre_dispatch=cores + 1, batch_size=1, max_nbytes=None
    )
    try:
        yield from pool(delayed(_done)(task, shared, *arguments) for arguments in given)
    finally:
        get_reusable_executor().shutdown(wait=True)  # their memory is not kept for later


def _done(task: Callable[..., Any], shared: bytes, *arguments: Any) -> Any:
    """Do a task in a process of its own.

    Hundreds of megabytes come and go with each. What malloc kept of them looked like a leak to
    loky, which measures a process after its first task, and ends it once it holds 300 MB more.
    """
    try:
        return task(shared, *arguments)
    finally:
        give_back()


def _free_mb() -> int:
    """Memory that can be had without pushing others out; without end where it is not told."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return sys.maxsize
