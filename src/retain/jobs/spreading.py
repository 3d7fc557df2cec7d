"""Work on portions of customers spread over processes, its results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from retain.engines import Spark

__all__ = ["MOST_PROCESSES", "spread"]

MOST_PROCESSES = 4  # each holds a model's tables and a portion: some 700 MB


def spread(
    task: Callable[..., Any],
    shared: bytes,
    given: Iterable[tuple[Any, ...]],
    count: int,
    spark: Spark | None = None,
) -> Iterator[Any]:
    """Do a task for each of the given arguments, in a process per core when there are many.

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

    cores = min(cpu_count(), MOST_PROCESSES, count // 2)
    if cores < 2:
        for arguments in given:
            yield task(shared, *arguments)
        return
    pool = Parallel(
        cores, return_as="generator", pre_dispatch=cores + 1, batch_size=1, max_nbytes=None
    )
    try:
        yield from pool(delayed(task)(shared, *arguments) for arguments in given)
    finally:
        get_reusable_executor().shutdown(wait=True)  # their memory is not kept for later
