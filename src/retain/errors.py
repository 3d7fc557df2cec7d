"""The error tree: everything a user can meet, and the exit code it ends with.

    RetainError              1   something about the data, a check or a model
    ├── ConfigError          2   the configuration cannot be used as written
    ├── TableError           1   a source cannot be read, or what it holds cannot be used
    ├── SnapshotError        1   nobody to observe, or a window that runs past the data
    ├── ModelMismatchError   1   a model met tables, settings or features that are not its own
    ├── LeakError            1   a column or table gives the outcome away
    └── StoreError           1   the store is locked, damaged or not writable

Every message says what is wrong and where, what was found, what was expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "LeakError",
    "ModelMismatchError",
    "RetainError",
    "SnapshotError",
    "StoreError",
    "TableError",
    "many",
    "nearest",
    "some",
]


class RetainError(ValueError):
    """A problem that the user can mend; shown without a traceback."""

    exit_code = 1


class ConfigError(RetainError):
    """The configuration cannot be used as written."""

    exit_code = 2


class TableError(RetainError):
    """A source cannot be read, or what it holds cannot be used."""


class SnapshotError(RetainError):
    """Nobody to observe, or a window that runs past the data."""


class ModelMismatchError(RetainError):
    """A model met tables, settings or features that are not its own."""


class LeakError(RetainError):
    """A column or table gives the outcome away; a model of it would be worthless."""


class StoreError(RetainError):
    """The store is locked, damaged or not writable."""


def many(n: int, one: str, several: str) -> str:
    """Write a number with the words that agree with it.

    Examples
    --------
    >>> many(1, "customer has", "customers have"), many(1200, "customer has", "customers have")
    ('1 customer has', '1,200 customers have')
    """
    return f"{n:,} {one if n == 1 else several}"


def nearest(name: str, among: Iterable[str], otherwise: str, most: int = 1) -> str:
    """Ask whether a name that is like a mistyped one was meant; without any say what to go by.

    Parameters
    ----------
    name, among
        What was given, and the names that there are.
    otherwise
        Said when none of them is like it.
    most
        How many names to offer.

    Examples
    --------
    >>> nearest("segmnt", ["plan", "segment"], "there are plan, segment")
    'did you mean segment?'
    >>> nearest("colour", ["plan", "segment"], "there are plan, segment")
    'there are plan, segment'
    """
    from difflib import get_close_matches  # nobody pays for it who mistypes nothing

    near = get_close_matches(name, list(among), most)
    return f"did you mean {some(near)}?" if near else otherwise


def some(items: Iterable[object], most: int = 5) -> str:
    """List up to `most` offenders, then a count of the rest.

    Parameters
    ----------
    items
        What to name; the order is kept.
    most
        How many to name before counting.

    Returns
    -------
    str
        For example ``"a, b, c, d, e and 3 more"``; ``"none"`` when there is nothing to name.

    Examples
    --------
    >>> some("abcdefgh")
    'a, b, c, d, e and 3 more'
    >>> some([])
    'none'
    """
    named = [str(item) for item in items]
    if not named:
        return "none"
    head = ", ".join(named[:most])
    return head if len(named) <= most else f"{head} and {len(named) - most} more"
