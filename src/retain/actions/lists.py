"""What the review page reads: pages of lists, one customer's file, and choices for its filters.

Every list is filtered, sorted and cut by the database; nothing here reads a whole week.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retain.actions.store import Store

__all__ = [
    "MOST_EXPORTED",
    "PER_PAGE",
    "SORTS",
    "Page",
    "choices",
    "customer_file",
    "customer_owner",
    "customers",
    "driver",
    "judgement",
    "listed_week",
    "open_item",
    "queue",
    "queue_figures",
    "scored",
    "scored_weeks",
    "week_manifest",
]

PER_PAGE = 50
MOST_EXPORTED = 200_000
SORTS = {
    "value_at_risk": "s.value_at_risk",
    "risk": "s.churn_probability",
    "change": "s.change",
    "mrr": "s.mrr",
    "clv": "s.clv",
    "health": "s.health_score",
    "renews": "s.renews_at",
    "customer": "s.customer_id",
}
"""What a list of customers can be sorted by."""

_CUSTOMER = """s.customer_id, s.name, s.owner, s.segment, s.plan, s.eligible,
    s.not_eligible_because, s.churn_probability, s.churn_low, s.churn_high, s.percentile,
    s.risk_band, s.change, s.clv, s.mrr, s.renews_at, s.value_at_risk, s.health_score, s.coverage,
    s.freshness_days, s.main_theme, s.main_signal, s.main_sentence,
    EXISTS (SELECT 1 FROM scores e WHERE e.customer_id = s.customer_id AND e.as_of < s.as_of
        AND e.eligible) AS was_scored"""


@dataclass(frozen=True)
class Page:
    """One page of a list: its rows, how many there are in all, and which page this is."""

    rows: Sequence[Mapping[str, Any]]
    total: int
    number: int
    size: int = PER_PAGE

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.size))


def scored_weeks(store: Store, most: int = 60) -> list[dict[str, Any]]:
    """List imported weeks, newest first: as_of, currency, customers, eligible, manifest, queue."""
    from retain.actions.schema import weeks

    return store.rows(weeks.select().order_by(weeks.c.as_of.desc()).limit(most))


def listed_week(store: Store) -> dict[str, Any] | None:
    """Return the newest imported week; None when there is none."""
    found = scored_weeks(store, 1)
    return found[0] if found else None


def _where(
    as_of: str,
    owner: str | None,
    q: str,
    filters: Mapping[str, str],
    said: list[str],
    given: dict[str, Any],
) -> None:
    """Collect conditions and their parameters; text of the reader's is only ever a parameter."""
    said.append("s.as_of = :as_of")
    given["as_of"] = as_of
    if owner is not None:
        said.append("s.owner = :only_owner")
        given["only_owner"] = owner
    if q:
        said.append("s.searched LIKE :q ESCAPE '!'")
        escaped = q.casefold().replace("!", "!!").replace("%", "!%").replace("_", "!_")
        given["q"] = f"%{escaped}%"
    for name in ("segment", "plan", "owner", "risk_band"):
        if filters.get(name):
            said.append(f"s.{name} = :{name}")
            given[name] = filters[name]


def customers(
    store: Store,
    as_of: str,
    *,
    owner: str | None = None,
    q: str = "",
    filters: Mapping[str, str] | None = None,
    sort: str = "value_at_risk",
    descending: bool = True,
    page: int = 1,
    size: int = PER_PAGE,
) -> Page:
    """Give one page of a week's customers.

    Parameters
    ----------
    as_of
        The week, YYYY-MM-DD.
    owner
        Only this owner's customers; None = everybody's.
    q
        Part of an id or name, in any case.
    filters
        segment, plan, owner, risk_band: exactly this; and ``eligible``: "yes" or "no".
    sort, descending
        One of `SORTS`; customers without the value come last either way.
    page, size
        Which page, from 1, and how many rows it has.
    """
    filters = filters or {}
    said: list[str] = []
    given: dict[str, Any] = {}
    _where(as_of, owner, q, filters, said, given)
    if filters.get("eligible") in ("yes", "no"):
        said.append("s.eligible = :eligible")
        given["eligible"] = filters["eligible"] == "yes"
    where = " AND ".join(said)
    by, way = SORTS.get(sort, SORTS["value_at_risk"]), "DESC" if descending else "ASC"
    total = _count(store, _imported(store, as_of), where, tuple(sorted(given.items())))
    page = max(1, min(page, max(1, -(-total // size))))
    rows = store.rows(
        f"SELECT {_CUSTOMER}, i.state AS item_state, j.lead_risk, j.final_risk FROM ("
        f"SELECT s.as_of, s.customer_id FROM scores s WHERE {where} "
        f"ORDER BY {by} {way} NULLS LAST, s.customer_id LIMIT :size OFFSET :skip) chosen "
        "JOIN scores s ON s.as_of = chosen.as_of AND s.customer_id = chosen.customer_id "
        "LEFT JOIN items i ON i.customer_id = s.customer_id AND i.state = 'open' "
        "AND NOT i.is_holdout "
        "LEFT JOIN judgements j ON j.customer_id = s.customer_id AND j.as_of = s.as_of "
        f"ORDER BY {by} {way} NULLS LAST, s.customer_id",
        **given,
        size=size,
        skip=(page - 1) * size,
    )
    return Page(rows, total, page, size)


def _imported(store: Store, as_of: str) -> str:
    """Tell when a week was brought in: until it is again, its scores do not change."""
    row = store.row("SELECT imported_at FROM weeks WHERE as_of = :as_of", as_of=as_of)
    return "" if row is None else str(row["imported_at"])


@functools.lru_cache(maxsize=256)
def _count(store: Store, _imported_at: str, where: str, given: tuple[tuple[str, Any], ...]) -> int:
    (counted,) = store.rows(f"SELECT count(*) AS n FROM scores s WHERE {where}", **dict(given))
    return int(counted["n"])


def choices(store: Store, as_of: str, owner: str | None = None) -> dict[str, list[str]]:
    """List the segments, plans and owners of a week, for its filters."""
    return _choices(store, _imported(store, as_of), as_of, owner)


@functools.lru_cache(maxsize=64)
def _choices(
    store: Store, _imported_at: str, as_of: str, owner: str | None
) -> dict[str, list[str]]:
    found = {}
    for name in ("segment", "plan", "owner"):
        rows = store.rows(
            f"SELECT DISTINCT {name} AS v FROM scores WHERE as_of = :as_of AND {name} IS NOT NULL"
            + (" AND owner = :owner" if owner is not None else "")
            + " ORDER BY v LIMIT 200",
            as_of=as_of,
            **({} if owner is None else {"owner": owner}),
        )
        found[name] = [str(row["v"]) for row in rows]
    return found


def queue(
    store: Store,
    as_of: str,
    *,
    status: str = "contact",
    state: str = "",
    owner: str | None = None,
    q: str = "",
    filters: Mapping[str, str] | None = None,
    page: int = 1,
    size: int = PER_PAGE,
) -> Page:
    """Give one page of a week's queue, in its order.

    Parameters
    ----------
    status
        contact (to be reached), next (in line), cooling (reached lately) or leave (better left
        alone). Who is held out is in no list: their customers are to be treated as if not listed.
    state
        open, done or dropped; empty = any. Only of those to be reached.
    owner, q, filters, page, size
        As for `customers`.

    Returns
    -------
    Page
        Rows with the customer, why it is here, worth, and the item: play, due_on, state.
    """
    said = ["l.status = :status", "l.status <> 'holdout'"]
    given: dict[str, Any] = {"status": status}
    _where(as_of, owner, q, filters or {}, said, given)
    if state:
        said.append("i.state = :state")
        given["state"] = state
    tables = (
        "FROM listings l JOIN scores s ON s.as_of = l.as_of AND s.customer_id = l.customer_id "
        "LEFT JOIN items i ON i.id = l.item_id AND NOT i.is_holdout "
        f"WHERE {' AND '.join(said)}"
    )
    (counted,) = store.rows(f"SELECT count(*) AS n {tables}", **given)
    total = int(counted["n"])
    page = max(1, min(page, max(1, -(-total // size))))
    rows = store.rows(
        f"SELECT {_CUSTOMER}, l.place, l.worth, l.why, l.why_code, l.why_figures, l.status, "
        "i.id AS item_id, i.state, i.play, "
        "i.due_on, i.entered_week, i.closed_on, i.closed_because, i.version AS item_version, "
        "i.written_by "
        f"{tables} ORDER BY l.place, s.customer_id LIMIT :size OFFSET :skip",
        **given,
        size=size,
        skip=(page - 1) * size,
    )
    return Page(rows, total, page, size)


def queue_figures(store: Store, as_of: str, owner: str | None = None) -> dict[str, Any]:
    """Count a week's queue: by status, by state, overdue on that day, and what is at risk in it."""
    given: dict[str, Any] = {"as_of": as_of}
    mine = ""
    if owner is not None:
        mine, given["owner"] = " AND s.owner = :owner", owner
    rows = store.rows(
        "SELECT l.status, coalesce(i.state, '') AS state, count(*) AS n, "
        "sum(s.value_at_risk) AS value_at_risk, sum(s.mrr) AS mrr, "
        "sum(CASE WHEN i.state = 'open' AND i.due_on < :as_of THEN 1 ELSE 0 END) AS overdue "
        "FROM listings l JOIN scores s ON s.as_of = l.as_of AND s.customer_id = l.customer_id "
        f"LEFT JOIN items i ON i.id = l.item_id WHERE l.as_of = :as_of{mine} "
        "GROUP BY l.status, coalesce(i.state, '')",
        **given,
    )
    figures: dict[str, Any] = {
        name: sum(int(row["n"]) for row in rows if row["status"] == name)
        for name in ("contact", "holdout", "next", "cooling", "leave")
    }
    here = [row for row in rows if row["status"] == "contact"]
    for state in ("open", "done", "dropped"):
        figures[state] = sum(int(row["n"]) for row in here if row["state"] == state)
    figures["overdue"] = sum(int(row["overdue"] or 0) for row in here)
    figures["value_at_risk"] = sum(float(row["value_at_risk"] or 0) for row in here)
    figures["mrr"] = sum(float(row["mrr"] or 0) for row in here)
    return figures


def customer_owner(store: Store, customer_id: str) -> str | None:
    """Return whose customer this is by the newest week that has it.

    Raises
    ------
    KeyError
        When no week has such a customer.
    """
    row = store.row(
        "SELECT owner FROM scores WHERE customer_id = :id ORDER BY as_of DESC LIMIT 1",
        id=customer_id,
    )
    if row is None:
        raise KeyError(customer_id)
    return None if row["owner"] is None else str(row["owner"])


def customer_file(store: Store, customer_id: str) -> dict[str, Any] | None:
    """Return everything the store holds of one customer; None when no week has it.

    Returns
    -------
    dict
        weeks (its scored rows, newest first, at most 104), drivers (of the newest week, both
        targets), listings, items, treatments, verdicts, judgements, outcomes, events (newest
        first, at most 200).
    """
    from retain.actions import schema

    def of(table: Any, *order: Any, most: int = 200) -> list[dict[str, Any]]:
        chosen = table.select().where(table.c.customer_id == customer_id)
        return store.rows(chosen.order_by(*order).limit(most))

    weeks = of(schema.scores, schema.scores.c.as_of.desc(), most=104)
    if not weeks:
        return None
    newest = weeks[0]["as_of"]
    drivers = schema.drivers
    return {
        "weeks": weeks,
        "drivers": store.rows(
            drivers.select()
            .where(drivers.c.customer_id == customer_id, drivers.c.as_of == newest)
            .order_by(drivers.c.target, drivers.c.place)
        ),
        "listings": of(schema.listings, schema.listings.c.as_of.desc()),
        "items": of(schema.items, schema.items.c.id.desc()),
        "treatments": of(schema.treatments, schema.treatments.c.at.desc()),
        "verdicts": of(schema.verdicts, schema.verdicts.c.written_at.desc()),
        "judgements": of(schema.judgements, schema.judgements.c.as_of.desc()),
        "outcomes": of(schema.outcomes, schema.outcomes.c.as_of.desc()),
        "events": of(schema.events, schema.events.c.id.desc()),
    }


def week_manifest(store: Store, as_of: str) -> dict[str, Any]:
    """Return what a scored week says about itself; empty when it is not known."""
    from retain.actions.schema import weeks

    row = store.row(weeks.select().where(weeks.c.as_of == as_of))
    return {} if row is None else dict(row["manifest"])


def driver(
    store: Store, customer_id: str, as_of: str, target: str, signal: str
) -> dict[str, Any] | None:
    """Return one driver of a scored week with the model's version; None when there is none."""
    return store.row(
        "SELECT d.*, s.model_version FROM drivers d JOIN scores s ON s.as_of = d.as_of "
        "AND s.customer_id = d.customer_id WHERE d.customer_id = :id AND d.as_of = :as_of "
        "AND d.target = :target AND d.signal = :signal",
        id=customer_id,
        as_of=as_of,
        target=target,
        signal=signal,
    )


def scored(store: Store, customer_id: str, as_of: str) -> dict[str, Any] | None:
    """Return a customer's scored row of one week; None when there is none."""
    return store.row(
        "SELECT * FROM scores WHERE customer_id = :id AND as_of = :as_of",
        id=customer_id,
        as_of=as_of,
    )


def judgement(store: Store, customer_id: str, as_of: str) -> dict[str, Any] | None:
    """Return the opinions on a customer in one week; None when nobody gave any."""
    return store.row(
        "SELECT * FROM judgements WHERE customer_id = :id AND as_of = :as_of",
        id=customer_id,
        as_of=as_of,
    )


def open_item(store: Store, customer_id: str) -> dict[str, Any] | None:
    """Return the customer's open item in the queue; None when there is none."""
    return store.row(
        "SELECT * FROM items WHERE customer_id = :id AND state = 'open'", id=customer_id
    )
