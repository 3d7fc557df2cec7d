"""Who was drawn to be contacted or left alone, and when: read off the lists as they now stand.

A list that was made again counts as it was made last, whatever was done on the one before it: who
is no longer on it was not drawn, contacted or not, so that both groups lose alike. The list of a
week scored in hindsight draws nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa

from retain.actions import schema
from retain.actions.store import Store, Writing
from retain.snapshots import is_hindsight

__all__ = ["Draw", "draws_of", "hindsight_weeks"]

LISTED = ("contact", "holdout")


@dataclass(frozen=True)
class Draw:
    """One customer's draw: in which week, and whether to be left alone."""

    customer_id: str
    as_of: str
    is_holdout: bool


def hindsight_weeks(store: Store | Writing) -> frozenset[str]:
    """Name the imported weeks that were scored by a model that had seen what came after them."""
    rows = store.rows(sa.select(schema.weeks.c.as_of, schema.weeks.c.manifest))
    return frozenset(
        row["as_of"]
        for row in rows
        if is_hindsight(
            row["manifest"].get("model_trained_as_of", ""), date.fromisoformat(row["as_of"])
        )
    )


def draws_of(
    store: Store | Writing, holdout_weeks: int, *, before: str | None = None
) -> list[Draw]:
    """List the draws of every customer, oldest first.

    Parameters
    ----------
    store
        With the lists.
    holdout_weeks
        For which a draw holds: lists within that time go with it.
    before
        Only lists of weeks before this one; None: all of them.
    """
    listings = schema.listings.c
    asked = sa.select(listings.as_of, listings.customer_id, listings.status).where(
        listings.status.in_(LISTED)
    )
    if before is not None:
        asked = asked.where(listings.as_of < before)
    proves_nothing = hindsight_weeks(store)
    found, until = list[Draw](), dict[str, str]()
    for row in store.rows(asked.order_by(listings.as_of, listings.customer_id)):
        day, who = row["as_of"], row["customer_id"]
        if day in proves_nothing or day < until.get(who, ""):
            continue
        found.append(Draw(who, day, row["status"] == "holdout"))
        until[who] = str(date.fromisoformat(day) + timedelta(weeks=holdout_weeks))
    return found
