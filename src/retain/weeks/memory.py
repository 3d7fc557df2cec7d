"""Freed memory given back to the system.

Folding makes and frees many arrays of a few megabytes. The C library keeps such pieces for later,
and a process would go on holding twice what it uses.
"""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["give_back"]


def give_back() -> None:
    """Give freed memory back where the C library can be asked to (Linux); else do nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
