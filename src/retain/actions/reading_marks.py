"""How far each source has been read between weekly runs, and who is left alone on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from retain.actions.alert_tables import marks
from retain.actions.schema import items, listings
from retain.actions.store import Store

__all__ = ["Mark", "held_out", "keep_mark", "mark_of"]

FORM = "%Y-%m-%dT%H:%M:%S.%f"


@dataclass(frozen=True)
class Mark:
    """How far one source has been read.

    Parameters
    ----------
    name
        A table's name; ``week`` for scored weeks.
    fingerprint
        Of what was read; None when it must be read again although nothing changes.
    read_until
        The moment up to which rows were read, in the company's zone.
    began_at
        Rows known before this moment belong to weekly runs.
    """

    name: str
    fingerprint: str | None
    read_until: datetime | None
    began_at: datetime | None


def mark_of(store: Store, name: str) -> Mark | None:
    """Return a source's mark; None when it has not been read."""
    row = store.row(sa.select(marks).where(marks.c.name == name))
    if row is None:
        return None
    return Mark(name, row["fingerprint"], _read(row["read_until"]), _read(row["began_at"]))


def keep_mark(write: Any, mark: Mark) -> None:
    """Keep a source's mark, as part of the transaction that stores what was found in it."""
    named = marks.c.name == mark.name
    values = {
        "fingerprint": mark.fingerprint,
        "read_until": None if mark.read_until is None else mark.read_until.strftime(FORM),
        "began_at": None if mark.began_at is None else mark.began_at.strftime(FORM),
    }
    changed = write.connection.execute(marks.update().where(named).values(**values))
    if not changed.rowcount:
        write.connection.execute(marks.insert().values(name=mark.name, **values))


def held_out(store: Store) -> frozenset[str]:
    """Name the customers who are left alone on purpose, to measure what acting does."""
    newest = sa.select(sa.func.max(listings.c.as_of)).scalar_subquery()
    listed = sa.select(listings.c.customer_id).where(
        listings.c.as_of == newest, listings.c.status == "holdout"
    )
    still = sa.select(items.c.customer_id).where(items.c.state == "open", items.c.is_holdout)
    return frozenset(row["customer_id"] for query in (listed, still) for row in store.rows(query))


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.strptime(text, FORM)
