"""Where the tables contradict each other, or a table contradicts itself.

Each check is a function that finds one kind of contradiction; `CHECKS` lists them. Rows stay: which
side is right is for the company to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from retain.errors import many
from retain.tables.mapping import Finding
from retain.tables.result import Tables
from retain.tables.spec import BEHAVIOUR
from retain.tables.sql import quoted, rows_of

__all__ = ["contradictions"]

NEAR_DAYS = 31
TELLING_ERROR = 0.01
MOST_WORDS = 50
CUSTOMERS, HAVE = ("customer", "customers"), ("customer has", "customers have")


def contradictions(tables: Tables) -> Iterator[Finding]:
    """Say where the tables contradict each other or themselves."""
    for check in CHECKS:
        yield from check(tables)


def behaviour_after_leaving(tables: Tables) -> Iterator[Finding]:
    """Departed customers who keep behaving."""
    if not tables.has("departures"):
        return
    for name in BEHAVIOUR:
        if not tables.has(name) or name == "subscriptions":
            continue
        count, examples = _people(
            tables,
            f"SELECT l.customer_id FROM {_last_left(tables)} l JOIN seen_{name} b "
            "USING (customer_id) WHERE l.returned_at IS NULL "
            "AND b.last_at >= l.left_at + INTERVAL 7 DAY",
        )
        if count:
            yield Finding(
                "departures",
                "left_at",
                "warning",
                count,
                f"{many(count, *HAVE)} {name} more than a week after they left for good.",
                examples,
                "Check what left_at means, or map returned_at.",
            )


def subscribed_after_leaving(tables: Tables) -> Iterator[Finding]:
    """Departed customers whose paid subscription runs on."""
    if not tables.has("departures") or not tables.has("subscriptions"):
        return
    until = f"TIMESTAMP '{tables.data_until}'"
    count, examples = _people(
        tables,
        f"SELECT DISTINCT l.customer_id FROM {_last_left(tables)} l JOIN "
        f"subscriptions s USING (customer_id) WHERE l.returned_at IS NULL AND {_paid(tables)} "
        f"AND s.started_at <= {until} AND {_ended(tables)} > {until} AND l.left_at <= {until}",
    )
    if count:
        yield Finding(
            "departures",
            "left_at",
            "warning",
            count,
            f"{many(count, *CUSTOMERS)} left for good, yet a paid subscription of theirs "
            "still runs.",
            examples,
            "Decide which table says who left: churn.kind contract or event.",
        )


def departures_and_subscriptions_disagree(tables: Tables) -> Iterator[Finding]:
    """Departures without an end of a subscription, and ends of the last one without a departure."""
    if not tables.has("departures") or not tables.has("subscriptions", "ended_at"):
        return
    near = f"BETWEEN -{NEAR_DAYS} AND {NEAR_DAYS}"
    count, examples = _people(
        tables,
        "SELECT DISTINCT d.customer_id FROM departures d WHERE d.customer_id IN (SELECT "
        "s.customer_id FROM subscriptions s) AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE "
        f"s.customer_id = d.customer_id AND date_diff('day', s.ended_at, d.left_at) {near})",
    )
    if count:
        yield Finding(
            "departures",
            "left_at",
            "warning",
            count,
            f"{many(count, *HAVE)} a departure with no subscription ending "
            f"within {NEAR_DAYS} days of it.",
            examples,
            "Decide which table says who left: churn.kind contract or event.",
        )
    count, examples = _people(
        tables,
        "SELECT e.customer_id FROM (SELECT s.customer_id, max(s.ended_at) AS ended_at FROM "
        f"subscriptions s WHERE {_paid(tables)} GROUP BY 1 HAVING count(*) = count(s.ended_at)) e "
        f"WHERE e.ended_at <= TIMESTAMP '{tables.data_until}' - INTERVAL {NEAR_DAYS} DAY "
        "AND NOT EXISTS (SELECT 1 FROM departures d WHERE d.customer_id = e.customer_id AND "
        f"date_diff('day', e.ended_at, d.left_at) {near})",
    )
    if count:
        yield Finding(
            "subscriptions",
            "ended_at",
            "warning",
            count,
            f"{count:,} customers' last paid subscription ended with no departure within "
            f"{NEAR_DAYS} days of it.",
            examples,
            "Decide which table says who left: churn.kind contract or event.",
        )


def flag_contradicts_events(tables: Tables) -> Iterator[Finding]:
    """Compare the exported flag with what the events say."""
    if not tables.has("customers", "has_left"):
        return
    if tables.has("departures"):
        gone, other = "SELECT DISTINCT customer_id FROM departures", "departures"
    elif tables.has("subscriptions", "ended_at"):
        gone = (
            "SELECT customer_id FROM subscriptions GROUP BY 1 HAVING count(*) = count(ended_at) "
            f"AND max(ended_at) <= TIMESTAMP '{tables.data_until}'"
        )
        other = "subscriptions"
    else:
        return
    base = (
        "FROM (SELECT customer_id, bool_or(has_left) AS flag FROM customers WHERE has_left IS NOT "
        f"NULL GROUP BY 1) c LEFT JOIN ({gone}) g ON c.customer_id = g.customer_id"
    )
    total, said, silent = rows_of(
        tables.con,
        "SELECT count(*), count(*) FILTER (c.flag AND g.customer_id IS NULL), "
        f"count(*) FILTER (NOT c.flag AND g.customer_id IS NOT NULL) {base}",
    )[0]
    wrong = said + silent
    if wrong:
        _, examples = _people(
            tables, f"SELECT c.customer_id {base} WHERE c.flag <> (g.customer_id IS NOT NULL)"
        )
        yield Finding(
            "customers",
            "has_left",
            "warning",
            wrong,
            f"The flag contradicts {other} for {wrong:,} of {total:,} customers "
            f"({wrong / total:.0%}): {said:,} are flagged as left without a departure there, "
            f"{silent:,} have one without the flag.",
            examples,
            "The flag is never used; trust the dated events, or correct them.",
        )


def overlapping_spans(tables: Tables) -> Iterator[Finding]:
    """Spans of one customer that run at the same time."""
    if not tables.has("subscriptions"):
        return
    trial = "s.is_trial" if tables.has("subscriptions", "is_trial") else "CAST(NULL AS BOOLEAN)"
    spans = (
        f"(SELECT row_number() OVER () AS n, s.customer_id, s.started_at, {_ended(tables)} AS "
        f"ended_at, coalesce({trial}, false) AS is_trial FROM subscriptions s)"
    )
    over = (
        f"FROM {spans} a JOIN {spans} b ON a.customer_id = b.customer_id AND {{which}} "
        "AND a.started_at < b.ended_at AND b.started_at < a.ended_at"
    )
    count, examples = _people(
        tables,
        "SELECT DISTINCT a.customer_id " + over.format(which="a.is_trial AND NOT b.is_trial"),
    )
    if count:
        yield Finding(
            "subscriptions",
            "is_trial",
            "warning",
            count,
            f"{many(count, *HAVE)} a trial that overlaps a paid span.",
            examples,
            "A paid span decides: they count as paying. Check that trials end when paying starts.",
        )
    paid = "NOT a.is_trial AND NOT b.is_trial AND a.n < b.n"
    count, examples = _people(tables, "SELECT DISTINCT a.customer_id " + over.format(which=paid))
    if count:
        yield Finding(
            "subscriptions",
            "started_at",
            "advice",
            count,
            f"{many(count, *HAVE)} paid spans that overlap; their MRR is added up.",
            examples,
            "Fine for several products; else end the old span when the new one starts.",
        )


def left_twice(tables: Tables) -> Iterator[Finding]:
    """Several departures of a customer without a return between them."""
    if not tables.has("departures"):
        return
    count, examples = _people(
        tables,
        "SELECT DISTINCT customer_id FROM (SELECT customer_id, left_at, "
        "lead(left_at) OVER w AS next_left, "
        f"{_returned(tables)} AS returned_at FROM departures "
        "WINDOW w AS (PARTITION BY customer_id ORDER BY left_at)) WHERE next_left IS NOT NULL "
        "AND (returned_at IS NULL OR returned_at > next_left)",
    )
    if count:
        yield Finding(
            "departures",
            "left_at",
            "warning",
            count,
            f"{many(count, *CUSTOMERS)} left several times without a return in between.",
            examples,
            "Map returned_at, or keep one departure per customer.",
        )


def events_in_impossible_order(tables: Tables) -> Iterator[Finding]:
    """Dates of one row that cannot follow each other, though the row can be used."""
    for table, later, earlier, told, todo in _ORDERS:
        if not tables.has(table, later, earlier):
            continue
        where = (
            f"{later} < {earlier} AND NOT ({later} = date_trunc('day', {later}) AND "
            f"CAST({later} AS DATE) = CAST({earlier} AS DATE))"
        )
        count = _count(tables, f"FROM {table} WHERE {where}")
        if count:
            examples = tuple(
                f"{who}: {one} before {two}"
                for who, one, two in rows_of(
                    tables.con,
                    f"SELECT customer_id, CAST({later} AS VARCHAR), CAST({earlier} AS VARCHAR) "
                    f"FROM {table} WHERE {where} LIMIT 5",
                )
            )
            yield Finding(
                table,
                later,
                "warning",
                count,
                f"{many(count, 'row', 'rows')}: {told}.",
                examples,
                todo,
            )


def behaviour_before_signing_up(tables: Tables) -> Iterator[Finding]:
    """Find customers who behaved, or left, before they came."""
    if tables.is_derived:
        return
    known = _count(tables, "FROM (SELECT DISTINCT customer_id FROM customers)")
    came = "(SELECT customer_id, min(signed_up_at) AS came FROM customers GROUP BY 1)"
    for name in (*BEHAVIOUR, "departures"):
        if not tables.has(name):
            continue
        count, examples = _people(
            tables,
            f"SELECT c.customer_id FROM {came} c JOIN seen_{name} b USING (customer_id) "
            "WHERE b.first_at < date_trunc('day', c.came)",
        )
        if count:
            yield Finding(
                "customers",
                "signed_up_at",
                "warning" if name == "departures" or count > known / 10 else "advice",
                count,
                f"{many(count, *HAVE)} {name} before they signed up.",
                examples,
                "Check what signed_up_at means; tenure counts from it.",
            )


def customers_without_behaviour(tables: Tables) -> Iterator[Finding]:
    """Find customers who appear in no behaviour table."""
    if tables.is_derived:
        return
    seen = " UNION ALL ".join(
        f"SELECT customer_id FROM seen_{name}" for name in BEHAVIOUR if tables.has(name)
    )
    count, examples = _people(
        tables,
        f"SELECT DISTINCT customer_id FROM customers WHERE customer_id NOT IN ({seen})",
    )
    if count:
        yield Finding(
            "customers",
            "",
            "advice",
            count,
            f"{many(count, 'customer appears', 'customers appear')} in no behaviour table.",
            examples,
            "Check that the ids of the tables agree.",
        )


def ends_without_an_end(tables: Tables) -> Iterator[Finding]:
    """End reasons of spans that run, refunds that are positive, and the like."""
    if tables.has("subscriptions", "ended_at", "end_reason"):
        count = _count(
            tables, "FROM subscriptions WHERE end_reason IS NOT NULL AND ended_at IS NULL"
        )
        if count:
            yield Finding(
                "subscriptions",
                "end_reason",
                "warning",
                count,
                f"{count:,} spans have an end_reason and no ended_at.",
                todo="Export ended_at, or clear the reason; without ended_at a span runs.",
            )
    if tables.has("payments", "status"):
        count = _count(tables, "FROM payments WHERE status = 'refunded' AND amount > 0")
        if count:
            yield Finding(
                "payments",
                "amount",
                "warning",
                count,
                f"{count:,} refunded payments have a positive amount.",
                todo="A refund should be a row of its own, negative, on the day of the refund.",
            )
    if tables.has("surveys", "interaction_id") and tables.has("interactions"):
        count = _count(
            tables,
            "FROM surveys WHERE interaction_id IS NOT NULL AND interaction_id NOT IN "
            "(SELECT interaction_id FROM interactions)",
        )
        if count:
            yield Finding(
                "surveys",
                "interaction_id",
                "advice",
                count,
                f"{count:,} answers name an interaction that is not there.",
            )


def attributes_that_tell_who_left(tables: Tables) -> Iterator[Finding]:
    """Attributes whose value alone says who has left: written after the fact."""
    names = [n for n in tables.attributes if n not in tables.constant]
    names += [n for n in ("segment", "plan", "region", "industry") if tables.has("customers", n)]
    if tables.has("departures"):
        left = "customer_id IN (SELECT customer_id FROM departures)"
    elif tables.has("customers", "has_left"):
        left = "coalesce(has_left, false)"
    else:
        return
    for name in dict.fromkeys((*names, *tables.constant)):
        if not tables.has("customers", name):
            continue
        total, gone, wrong, words = rows_of(
            tables.con,
            "SELECT coalesce(sum(n), 0), coalesce(sum(gone), 0), "
            "coalesce(sum(least(gone, n - gone)), 0), count(*) "
            f"FROM (SELECT {quoted(name)}, count(*) AS n, count(*) FILTER ({left}) AS gone "
            "FROM customers GROUP BY 1)",
        )[0]
        few = min(gone, total - gone)
        if words <= MOST_WORDS and few >= 10 and wrong <= TELLING_ERROR * total < few:
            yield Finding(
                "customers",
                name,
                "warning",
                int(total - wrong),
                f"{name} alone tells who has left for {1 - wrong / total:.0%} of customers: it was "
                "probably written after they left.",
                todo="Leave it out, or map valid_from so that its history is known.",
            )


CHECKS: tuple[Callable[[Tables], Iterator[Finding]], ...] = (
    flag_contradicts_events,
    behaviour_after_leaving,
    subscribed_after_leaving,
    departures_and_subscriptions_disagree,
    left_twice,
    overlapping_spans,
    ends_without_an_end,
    events_in_impossible_order,
    behaviour_before_signing_up,
    attributes_that_tell_who_left,
    customers_without_behaviour,
)

_ORDERS = (
    (
        *("surveys", "answered_at", "sent_at", "answered before sent"),
        "Check that sent_at and answered_at are not swapped or in different zones.",
    ),
    (
        *("interactions", "resolved_at", "first_response_at", "resolved before the first response"),
        "Check what first_response_at means.",
    ),
    (
        *("interactions", "closed_at", "resolved_at", "closed before resolved"),
        "Check that resolved_at and closed_at are not swapped.",
    ),
    (
        *("subscriptions", "ended_at", "cancelled_at", "ended before notice was given"),
        "An end is known from cancelled_at; check that the two are not swapped.",
    ),
)


def _last_left(tables: Tables) -> str:
    return (
        f"(SELECT customer_id, max(left_at) AS left_at, arg_max({_returned(tables)}, left_at) AS "
        "returned_at FROM departures GROUP BY 1)"
    )


def _returned(tables: Tables) -> str:
    has_returns = tables.has("departures", "returned_at")
    return "returned_at" if has_returns else "CAST(NULL AS TIMESTAMP)"


def _paid(tables: Tables) -> str:
    is_told = tables.has("subscriptions", "is_trial")
    return "NOT coalesce(s.is_trial, false)" if is_told else "true"


def _ended(tables: Tables) -> str:
    is_told = tables.has("subscriptions", "ended_at")
    return "coalesce(s.ended_at, TIMESTAMP '9999-12-31')" if is_told else "TIMESTAMP '9999-12-31'"


def _people(tables: Tables, query: str) -> tuple[int, tuple[str, ...]]:
    """Count the customers that a query names, and give the first five."""
    found: list[Any] = rows_of(
        tables.con,
        f"WITH found AS ({query}) SELECT count(*), (SELECT list(customer_id ORDER BY customer_id) "
        "FROM (SELECT customer_id FROM found ORDER BY customer_id LIMIT 5)) FROM found",
    )
    count, examples = found[0]
    return int(count), tuple(examples or ())


def _count(tables: Tables, query: str) -> int:
    return int(rows_of(tables.con, f"SELECT count(*) {query}")[0][0])
