"""Counts over the action store: the portfolio, misses, verdicts, and each week's queue.

Each is one grouped query that the database answers; the portfolio's is asked once a week.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Double, String, Table

from retain.actions.lists import PER_PAGE, Page
from retain.actions.schema import METADATA, JsonText, number_key, text_type
from retain.actions.store import Store, Writing

__all__ = [
    "add_up_portfolio",
    "misses",
    "portfolio_cells",
    "proof_stamp",
    "verdicts_given",
    "weeks_of_queue",
]


_SUMS = ("customers", "high", "watch", "mrr", "mrr_at_risk", "value_at_risk", "expected_leavers")
_PORTFOLIO = Table(
    "portfolio",
    METADATA,
    number_key(),
    Column("as_of", String(10), nullable=False, index=True),
    Column("segment", text_type()),
    Column("owner", text_type()),
    *(Column(name, Double) for name in _SUMS),
    Column("signals", JsonText),
)


def add_up_portfolio(write: Writing, as_of: str) -> None:
    """Add a week up once by segment and owner, so that no page has to.

    Parameters
    ----------
    write
        The transaction that brings the week in: the sums are there when its scores are.
    as_of
        The week.
    """
    cells = {
        (cell["segment"], cell["owner"]): cell | {"as_of": as_of, "signals": []}
        for cell in write.rows(
            "SELECT segment, owner, count(*) AS customers, "
            "sum(CASE WHEN risk_band = 'high' THEN 1 ELSE 0 END) AS high, "
            "sum(CASE WHEN risk_band = 'watch' THEN 1 ELSE 0 END) AS watch, "
            "sum(mrr) AS mrr, sum(mrr * churn_probability) AS mrr_at_risk, "
            "sum(value_at_risk) AS value_at_risk, sum(churn_probability) AS expected_leavers "
            "FROM scores WHERE as_of = :as_of AND eligible GROUP BY segment, owner",
            as_of=as_of,
        )
    }
    for row in write.rows(
        "SELECT segment, owner, main_theme, main_signal, count(*) AS n FROM scores "
        "WHERE as_of = :as_of AND eligible AND main_signal IS NOT NULL "
        "AND risk_band IN ('high', 'watch') GROUP BY segment, owner, main_theme, main_signal "
        "ORDER BY n DESC, main_signal",
        as_of=as_of,
    ):
        cell = cells[row["segment"], row["owner"]]
        cell["signals"].append([row["main_theme"], row["main_signal"], int(row["n"])])
    write.connection.execute(_PORTFOLIO.delete().where(_PORTFOLIO.c.as_of == as_of))
    if cells:
        write.connection.execute(_PORTFOLIO.insert(), list(cells.values()))


def portfolio_cells(store: Store, as_of: str) -> list[dict[str, Any]]:
    """Return a week added up by segment and owner, as `add_up_portfolio` left it.

    Returns
    -------
    list of dict
        segment, owner, customers (eligible), high, watch, mrr, mrr_at_risk (probability x MRR),
        value_at_risk, expected_leavers (amounts in currency), and signals: theme, signal and
        number of customers whose risk it raises most, of those at high or watch.
    """
    return store.rows(_PORTFOLIO.select().where(_PORTFOLIO.c.as_of == as_of))


def misses(store: Store, *, owner: str | None = None, page: int = 1, size: int = PER_PAGE) -> Page:
    """List who left although the risk was low, with what was visible then.

    Parameters
    ----------
    owner
        Only this owner's customers; None = everybody's.
    page, size
        Which page, from 1, and how many rows it has.

    Returns
    -------
    Page
        Who left last first; of each customer the last scored week before leaving: as_of, left_on
        (none where it was noted before days were), probability, band, health, lead's judgement,
        main reason, whether it was in the queue.
    """
    mine = "" if owner is None else " AND s.owner = :owner"
    given: dict[str, Any] = {} if owner is None else {"owner": owner}
    tables = (
        "FROM outcomes o JOIN (SELECT customer_id, max(as_of) AS as_of FROM outcomes "
        "WHERE has_left GROUP BY customer_id) n "
        "ON n.customer_id = o.customer_id AND n.as_of = o.as_of "
        "JOIN scores s ON s.customer_id = o.customer_id AND s.as_of = o.as_of "
        "LEFT JOIN judgements j ON j.customer_id = o.customer_id AND j.as_of = o.as_of "
        "LEFT JOIN listings l ON l.customer_id = o.customer_id AND l.as_of = o.as_of "
        f"WHERE s.eligible AND s.risk_band = 'low'{mine}"
    )
    (counted,) = store.rows(f"SELECT count(*) AS n {tables}", **given)
    total = int(counted["n"])
    page = max(1, min(page, max(1, -(-total // size))))
    rows = store.rows(
        "SELECT s.customer_id, s.name, s.segment, s.plan, s.owner, s.as_of, o.left_on, "
        "s.churn_probability, s.churn_low, s.churn_high, s.risk_band, s.health_score, s.mrr, "
        "s.main_theme, s.main_sentence, s.coverage, j.lead_risk, l.status "
        f"{tables} ORDER BY o.left_on DESC NULLS LAST, s.as_of DESC, s.customer_id "
        "LIMIT :size OFFSET :skip",
        **given,
        size=size,
        skip=(page - 1) * size,
    )
    return Page(rows, total, page, size)


def verdicts_given(store: Store, most: int = 20) -> list[dict[str, Any]]:
    """List the newest verdicts, with who gave them on whom."""
    return store.rows(
        "SELECT v.*, s.name, s.owner FROM verdicts v LEFT JOIN scores s "
        "ON s.customer_id = v.customer_id AND s.as_of = v.as_of "
        "ORDER BY v.written_at DESC, v.id DESC LIMIT :most",
        most=most,
    )


def weeks_of_queue(store: Store, most: int = 26) -> list[dict[str, Any]]:
    """Count each week's queue and what became of it, newest first.

    Returns
    -------
    list of dict
        as_of, model_version, eligible, listed (to be reached), done, known (outcomes known) and
        left_all (who left, listed or not).
    """
    return store.rows(
        "SELECT w.as_of, w.model_version, w.eligible, "
        "(SELECT count(*) FROM listings l WHERE l.as_of = w.as_of AND l.status = 'contact') "
        "AS listed, "
        "(SELECT count(*) FROM listings l JOIN items i ON i.id = l.item_id WHERE "
        "l.as_of = w.as_of AND l.status = 'contact' AND i.state = 'done') AS done, "
        "(SELECT count(*) FROM outcomes o WHERE o.as_of = w.as_of) AS known, "
        "(SELECT count(*) FROM outcomes o WHERE o.as_of = w.as_of AND o.has_left = true) AS "
        "left_all "
        "FROM weeks w ORDER BY w.as_of DESC LIMIT :most",
        most=most,
    )


def proof_stamp(store: Store) -> tuple[str, int, int, int]:
    """Tell what the evidence rests on: newest import, and how many outcomes, judgements, verdicts.

    While it is the same, the evidence is.
    """
    (row,) = store.rows(
        "SELECT (SELECT max(imported_at) FROM weeks) AS imported, "
        "(SELECT count(*) FROM outcomes) AS outcomes, "
        "(SELECT coalesce(sum(version), 0) FROM judgements) AS judgements, "
        "(SELECT coalesce(sum(version), 0) FROM verdicts) AS verdicts"
    )
    return (
        str(row["imported"]),
        int(row["outcomes"]),
        int(row["judgements"]),
        int(row["verdicts"]),
    )
