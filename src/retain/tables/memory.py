"""What the C library does with freed memory: keeps it while tables are folded, gives it back after.

Folding makes and frees many arrays of a few megabytes. Given back one by one, each is asked for
again page by page, a tenth of all work; never given back, a process would go on holding twice what
it uses.
"""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["give_back", "keep_freed"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them
MOST_KEPT = 512 << 20  # bytes at the end of the heap
LARGEST_KEPT = 32 << 20  # bytes of one piece; the C library takes no more


def keep_freed() -> None:
    """Ask the C library (Linux) to keep freed pieces until `give_back`; else do nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(TRIM_THRESHOLD, MOST_KEPT)


def give_back() -> None:
    """Give freed memory back where the C library can be asked to (Linux); else do nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
