"""Work on portions of customers spread over processes, its results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["MOST_PROCESSES", "spread"]

MOST_PROCESSES = 4  # each holds a model's tables and a portion: some 700 MB


def spread(task: Callable[..., Any], given: Iterable[tuple[Any, ...]], count: int) -> Iterator[Any]:
    """Do a task for each of the given arguments, in a process per core when there are many.

    Parameters
    ----------
    task
        A function of a module.
    given
        Its arguments, made as they are needed.
    count
        How many there will be; few are done here.

    Yields
    ------
    object
        What the task returned, in the order of the arguments; what it raises is raised here.
    """
    from joblib import Parallel, cpu_count, delayed
    from joblib.externals.loky import get_reusable_executor

    cores = min(cpu_count(), MOST_PROCESSES, count // 2)
    if cores < 2:
        for arguments in given:
            yield task(*arguments)
        return
    pool = Parallel(
        cores, return_as="generator", pre_dispatch=cores + 1, batch_size=1, max_nbytes=None
    )
    try:
        yield from pool(delayed(task)(*arguments) for arguments in given)
    finally:
        get_reusable_executor().shutdown(wait=True)  # their memory is not kept for later
