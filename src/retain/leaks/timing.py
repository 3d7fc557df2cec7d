"""Rows that appear just before customers leave, or were written after, in a company's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from retain.leaks.acts import vendor_acts, without_known_at
from retain.leaks.alone import find_leaks, too_few
from retain.leaks.suspect import CERTAIN, Suspect, share_low, with_leave
from retain.leaks.words import is_outcome
from retain.tables import Tables

__all__ = ["find_leaks_in_time"]

EXIT_DAYS = 14  # a visit so shortly before leaving is part of leaving
LAST_DAYS = 28
EARLIER_DAYS = 84  # the same customers' own weeks before their last ones
MOST_LEAVERS = 2_000
STAYERS_EACH = 3
LEAST_CUSTOMERS = 10
EXIT_SHARE = 0.5  # of the days on which it was used, those followed by leaving, at least
USUAL_TIMES = 5.0  # and so many times the table's usual
APPEARS, SUSPICIOUS = 0.5, 0.25  # more leavers than others have it in their last weeks, by share
APPEARS_TIMES = 3.0
LATE_SHARE = 0.2
MOST_VALUES = 300

# table -> when it happened, and the columns whose values are looked at one by one
_LOOKED_AT: dict[str, tuple[str, tuple[str, ...]]] = {
    "usage": ("occurred_at", ("feature",)),
    "interactions": ("opened_at", ("topic", "channel")),
    "surveys": ("answered_at", ("kind",)),
    "payments": ("paid_at", ("status",)),
}


def find_leaks_in_time(
    tables: Tables, kind: str, *, allow: Iterable[str] = (), seed: int = 0
) -> tuple[Suspect, ...]:
    """Find rows that know of leaving: exit pages, back-dated rows, acts of the company itself.

    Parameters
    ----------
    tables
        Clean tables.
    kind
        What leaving means: ``contract``, ``event``, or ``inactivity``, where silence is leaving and
        nothing can be said about the days before it.
    allow
        Names to let pass: ``table`` or ``table.column=value``.
    seed
        Of the customers drawn to compare with.

    Returns
    -------
    tuple of Suspect
        Errors first: values used nearly only by customers who leave within 14 days; rows that most
        leavers have in their last 28 days and others do not; attributes said to be constant that
        tell who has left. Warnings: the same, weaker; acts of
        the company by name or because they reach many customers in the same second; names of
        leaving; rows recorded after leaving; facts that count before they can be known.

    Notes
    -----
    A customer leaves when that is known: on the day of notice, else on the day of the end. A row is
    looked at from the day it was known (`recorded_at`), so that what a model cannot see is no
    leak. Customers are counted, not rows, and shares are lower 99 % bounds.
    """
    found = [*vendor_acts(tables), *without_known_at(tables)]
    lives = _lives(tables, kind)
    if lives is not None:
        found += _of_customers(tables, lives)
    if lives is not None and lives["left_at"].notna().sum() >= LEAST_CUSTOMERS:
        tables.con.register("leaving_lives", lives.dropna(subset=["left_at"]))
        moments = _moments(lives, tables, seed)
        tables.con.register("leaving_moments", moments)
        try:
            for name in _LOOKED_AT:
                if tables.has(name):
                    found += _of_table(tables, name, moments)
        finally:
            tables.con.unregister("leaving_lives")
            tables.con.unregister("leaving_moments")
    return with_leave(found, allow)


def _lives(tables: Tables, kind: str) -> pd.DataFrame | None:
    """Give every customer's first day and the day on which leaving became known, if ever."""
    until = f"DATE '{tables.data_until}'"
    if kind == "event":
        back = "returned_at" if tables.has("departures", "returned_at") else "NULL"
        query = (
            "SELECT customer_id, CAST(NULL AS TIMESTAMP) AS came_at, max(left_at) AS left_at "
            f"FROM departures WHERE {back} IS NULL GROUP BY 1"
        )
    elif kind == "contract" and tables.has("subscriptions", "ended_at"):
        paid = (
            "NOT coalesce(is_trial, false)" if tables.has("subscriptions", "is_trial") else "true"
        )
        notice = "cancelled_at" if tables.has("subscriptions", "cancelled_at") else "ended_at"
        query = (
            "SELECT customer_id, min(started_at) AS came_at, CASE WHEN bool_or(ended_at IS NULL OR "
            f"ended_at > {until} + 1) THEN NULL ELSE max(ended_at) END AS ended, "
            f"CASE WHEN ended IS NOT NULL THEN least(ended, coalesce(arg_max({notice}, ended_at), "
            f"ended)) END AS left_at FROM subscriptions WHERE {paid} GROUP BY 1"
        )
    else:
        return None
    lives = tables.con.sql(
        f"SELECT c.customer_id, l.came_at, l.left_at FROM (SELECT DISTINCT customer_id FROM "
        f"customers) AS c {'LEFT' if kind == 'event' else 'INNER'} JOIN ({query}) AS l "
        "USING (customer_id) ORDER BY 1"
    ).df()
    for name in ("came_at", "left_at"):
        lives[name] = pd.to_datetime(lives[name]).dt.normalize()
    return lives


def _of_customers(tables: Tables, lives: pd.DataFrame) -> Iterator[Suspect]:
    """Accuse attributes said never to change that tell who has left by the end of the data."""
    names = [name for name in tables.constant if tables.has("customers", name)]
    if not names:
        return
    listed = ", ".join(f'any_value("{name}") AS "{name}"' for name in names)
    people = tables.con.sql(f"SELECT customer_id, {listed} FROM customers GROUP BY 1 ORDER BY 1")
    both = lives.merge(people.df(), on="customer_id")
    has_left = both["left_at"].notna()
    if too_few(has_left, both.index):
        return
    for one in find_leaks(both[names], has_left, together=False):
        if one.where in names:
            told = f"Said never to change, yet of who has left by {tables.data_until}: "
            yield replace(one, where=f"customers.{one.where}", message=told + one.message)


def _moments(lives: pd.DataFrame, tables: Tables, seed: int) -> pd.DataFrame:
    """Lay out the leavers' days of leaving, and the same days of customers who stayed on."""
    rng = np.random.default_rng(seed)
    left = lives["left_at"].to_numpy(dtype="datetime64[D]")
    came = lives["came_at"].to_numpy(dtype="datetime64[D]")
    came = np.where(np.isnat(came), np.datetime64("1900-01-01"), came)
    room = np.timedelta64(LAST_DAYS + EARLIER_DAYS, "D")
    gone = np.flatnonzero(~np.isnat(left) & (came + room <= left))
    gone = rng.permutation(gone)[:MOST_LEAVERS]
    stays = np.where(np.isnat(left), np.datetime64("2200-01-01"), left)
    frames = [pd.DataFrame({"at": gone, "day": left[gone], "is_leaver": True})]
    for _ in range(STAYERS_EACH):
        other = rng.integers(0, len(lives), len(gone))
        fits = (came[other] + room <= left[gone]) & (
            stays[other] > left[gone] + np.timedelta64(LAST_DAYS, "D")
        )
        frames.append(
            pd.DataFrame({"at": other[fits], "day": left[gone][fits], "is_leaver": False})
        )
    moments = pd.concat(frames, ignore_index=True)
    moments["customer_id"] = lives["customer_id"].to_numpy()[moments.pop("at")]
    moments["moment"] = np.arange(len(moments))
    return moments


@dataclass(frozen=True)
class _Rows:
    """Rows of one table (or of its values in one column) as SQL."""

    table: str
    column: str
    query: str  # customer_id, value, day (when it was visible), happened, recorded

    def where(self, value: str) -> str:
        return f"{self.table}.{self.column}={value}" if self.column else self.table


def _rows(tables: Tables, name: str, column: str) -> _Rows:
    happened = _LOOKED_AT[name][0]
    if name == "surveys" and not tables.has(name, "answered_at"):
        happened = "sent_at"
    recorded = "recorded_at" if tables.has(name, "recorded_at") else "CAST(NULL AS TIMESTAMP)"
    kept = f"{happened} IS NOT NULL" + (" AND score IS NOT NULL" if name == "surveys" else "")
    value = f'CAST("{column}" AS VARCHAR)' if column else "''"
    return _Rows(
        name,
        column,
        f"SELECT customer_id, {value} AS value, CAST({happened} AS DATE) AS happened, "
        f"CAST(greatest({happened}, coalesce({recorded}, {happened})) AS DATE) AS day, "
        f"CAST({recorded} AS DATE) AS recorded FROM {name} WHERE {kept}"
        + (f' AND "{column}" IS NOT NULL' if column else ""),
    )


def _of_table(tables: Tables, name: str, moments: pd.DataFrame) -> list[Suspect]:
    """Look at a table as a whole, then at the values of its telling columns."""
    whole = _rows(tables, name, "")
    found = list(_recorded_late(tables, whole))
    usual = _exits(tables, whole).get("", (0, 0.0))[1]
    single: list[Suspect] = []
    for column in _LOOKED_AT[name][1]:
        if not tables.has(name, column):
            continue
        rows = _rows(tables, name, column)
        for value, (people, share) in _exits(tables, rows).items():
            single += _exit(rows.where(value), value, people, share, usual)
        single += _appearing(tables, rows, moments)
    names = {one.where for one in single}
    found += single
    # a table is accused as a whole when none of its values stands out
    if not any(one.severity == "error" for one in single):
        found += [one for one in _appearing(tables, whole, moments) if one.where not in names]
    return _one_each(found)


def _one_each(found: list[Suspect]) -> list[Suspect]:
    """Keep the gravest suspicion of each place and kind; an exit page also appears late."""
    kept: dict[str, Suspect] = {}
    for one in sorted(found, key=lambda s: s.severity != "error"):
        kept.setdefault(one.where if one.kind != "written after the outcome" else one.kind, one)
    return list(kept.values())


def _exits(tables: Tables, rows: _Rows) -> dict[str, tuple[int, float]]:
    """Say by value how many customers used it, and on what share of their days left soon after."""
    last = f"DATE '{tables.data_until}' - {EXIT_DAYS}"
    found = tables.con.sql(
        "WITH days AS (SELECT DISTINCT r.customer_id, r.value, r.day, "
        f"coalesce(date_diff('day', r.day, CAST(l.left_at AS DATE)) BETWEEN 0 AND {EXIT_DAYS}, "
        f"false) AS soon FROM ({rows.query}) AS r LEFT JOIN leaving_lives AS l USING (customer_id) "
        f"WHERE r.day <= {last} AND (l.left_at IS NULL OR r.day <= CAST(l.left_at AS DATE))), "
        "own AS (SELECT customer_id, value, avg(CAST(soon AS INTEGER)) AS share FROM days "
        "GROUP BY ALL) SELECT value, count(*), avg(share) FROM own GROUP BY 1 "
        f"HAVING count(*) >= {LEAST_CUSTOMERS} ORDER BY 2 DESC, 1 LIMIT {MOST_VALUES}"
    ).fetchall()
    return {str(value): (int(people), float(share)) for value, people, share in found}


def _exit(where: str, value: str, people: int, share: float, usual: float) -> Iterator[Suspect]:
    """Accuse a value that is used nearly only by customers who are leaving."""
    low = share_low(share, people)
    evidence = {
        "customers": float(people),
        "share_leaving_soon": round(share, 4),
        "share_at_least": round(low, 4),
        "usual_share": round(usual, 4),
    }
    numbers = (
        f"of the days on which {people:,} customers had it, {share:.0%} were followed by leaving "
        f"within {EXIT_DAYS} days (at least {low:.0%}; in the whole table {usual:.1%})"
    )
    if low >= EXIT_SHARE and share >= USUAL_TIMES * usual:
        yield Suspect(
            where,
            "part of leaving",
            "error",
            people,
            f"{value!r} is part of leaving, not a sign of it: {numbers}.",
            evidence,
            "Leave these rows out (with `query`), or allow them by name (leaks.allow): a warning "
            "that comes with the leaving itself leaves nobody time to act.",
        )
    elif is_outcome(value):
        yield Suspect(
            where,
            "named after the outcome",
            "warning",
            people,
            f"{value!r} speaks of leaving; {numbers}, so the numbers alone do not convict it.",
            evidence,
            "Find out when it is written; leave it out if only leavers have it.",
        )


def _appearing(tables: Tables, rows: _Rows, moments: pd.DataFrame) -> Iterator[Suspect]:
    """Accuse rows that most leavers have in their last days, and others on the same days do not."""
    leavers = int(moments["is_leaver"].sum())
    others = len(moments) - leavers
    if min(leavers, others) < LEAST_CUSTOMERS:
        return
    found = tables.con.sql(
        "SELECT value, count(DISTINCT moment) FILTER (is_leaver AND late), "
        "count(DISTINCT moment) FILTER (NOT is_leaver AND late), "
        "count(DISTINCT (moment, part)) FILTER (is_leaver AND NOT late) FROM ("
        "SELECT r.value, m.moment, m.is_leaver, "
        f"r.day >= CAST(m.day AS DATE) - {LAST_DAYS} AS late, "
        f"date_diff('day', r.day, CAST(m.day AS DATE)) // {LAST_DAYS} AS part "
        f"FROM ({rows.query}) AS r JOIN leaving_moments AS m USING (customer_id) "
        f"WHERE r.day < CAST(m.day AS DATE) AND r.day >= CAST(m.day AS DATE) - "
        f"{LAST_DAYS + EARLIER_DAYS}) GROUP BY 1 ORDER BY 1"
    ).fetchall()
    windows = EARLIER_DAYS // LAST_DAYS
    for value, late, usual, before in found:
        have, have_not = late / leavers, usual / others
        own = before / (windows * leavers)
        spread = np.sqrt(have * (1 - have) / leavers + have_not * (1 - have_not) / others)
        more = have - have_not - CERTAIN * spread
        is_new = have >= APPEARS_TIMES * have_not and have >= APPEARS_TIMES * own
        if late < LEAST_CUSTOMERS or not is_new or more < SUSPICIOUS:
            continue
        what = rows.where(str(value))
        yield Suspect(
            what,
            "appears with leaving",
            "error" if more >= APPEARS else "warning",
            int(late),
            f"{have:.0%} of {leavers:,} leavers have such a row in their last {LAST_DAYS} days, "
            f"{have_not:.0%} of customers who stayed on the same days, and {own:.0%} of the same "
            f"leavers in each {LAST_DAYS} days before: written because they left, or dated back.",
            {
                "leavers": float(leavers),
                "share_of_leavers": round(have, 4),
                "share_of_others": round(have_not, 4),
                "share_of_leavers_earlier": round(own, 4),
                "difference_at_least": round(float(more), 4),
            },
            "Find out when these rows are written; map recorded_at, leave them out, or allow them "
            "by name (leaks.allow).",
        )


def _recorded_late(tables: Tables, rows: _Rows) -> Iterator[Suspect]:
    """Tell of rows that were recorded after the customer had left, though dated before."""
    if not tables.has(rows.table, "recorded_at"):
        return
    last = f"happened BETWEEN gone - {EARLIER_DAYS} AND gone - 1"
    ((people, share, usual),) = tables.con.sql(
        "WITH rows_ AS (SELECT r.*, CAST(l.left_at AS DATE) AS gone FROM "
        f"({rows.query}) AS r LEFT JOIN leaving_lives AS l USING (customer_id)) SELECT "
        f"count(DISTINCT customer_id) FILTER ({last}), "
        f"coalesce(avg(CAST(recorded >= gone AS INTEGER)) FILTER ({last}), 0), "
        f"coalesce(avg(CAST(recorded >= happened + {EXIT_DAYS} AS INTEGER)) "
        "FILTER (gone IS NULL), 0) FROM rows_"
    ).fetchall()
    if people >= LEAST_CUSTOMERS and share >= LATE_SHARE and share >= USUAL_TIMES * usual:
        yield Suspect(
            rows.table,
            "written after the outcome",
            "warning",
            int(people),
            f"{share:.0%} of the rows that {people:,} leavers have in their last {EARLIER_DAYS} "
            f"days were recorded after they had left (of others' rows, {usual:.0%} came more than "
            f"{EXIT_DAYS} days late). They are invisible until recorded, so they give nothing away "
            "as long as recorded_at stays mapped.",
            {"share_after_leaving": round(share, 4), "usual_share_late": round(usual, 4)},
            "Keep recorded_at mapped.",
        )
