"""Where it hurts: what customers struggle with, whom it touches, and where prospects stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from typing import Any, Literal

import pandas as pd

from retain.errors import TableError
from retain.metrics.intervals import share_interval
from retain.metrics.period import Period
from retain.metrics.rows import NO_SEGMENT, Rows, Source, counted, word

__all__ = ["LostProspects", "PainPoints", "lost_prospects", "pain_points"]

STAGES = (("onboarding", 0), ("first year", 90), ("established", 365))
Of = Literal["topic", "channel", "stage"]
RANKS = {"effort": "hard_cases", "volume": "cases", "mrr": "mrr_touched", "churn": "difference"}


@dataclass(frozen=True)
class PainPoints:
    """What customers came for, worst first.

    Parameters
    ----------
    table
        A row per topic, channel or stage, those with most hard contacts first: name; cases,
        share_of_cases (0-1), customers; hard_cases, hard_share (0-1): effort; minutes (sum of
        handling, None where none is known); mrr_touched (currency a month of the customers who
        came, None without subscriptions); churn_with, churn_without (shares, 0-1, of customers who
        came and who did not that left afterwards), difference, low, high: an association, nobody
        tried what would happen without; rank_effort, rank_volume, rank_mrr, rank_churn: 1 is worst.
    no_churn_because
        Why there is no association, where there is none.
    level
        Of the intervals.
    period
        In which contacts were opened.
    """

    table: pd.DataFrame
    no_churn_because: str | None
    level: float
    period: Period


@dataclass(frozen=True)
class LostProspects:
    """Trials that ended, by how far they came.

    Parameters
    ----------
    table
        A row per stage, in order: stage; reached (trials that came at least so far), converted (of
        those), lost (stopped here), share_of_lost (0-1, None when nobody was lost), customers
        (tuple of those lost here).
    rows_in, used, excluded
        Trials that ended in the period, those ripe, the others by reason.
    period
        In which they ended.
    """

    table: pd.DataFrame
    rows_in: int
    used: int
    excluded: dict[str, int]
    period: Period


def pain_points(
    interactions: Source,
    period: Period,
    *,
    of: Of = "topic",
    customers: Source | None = None,
    subscriptions: Source | None = None,
    departures: Source | None = None,
    data_until: date | None = None,
    outcome_days: int = 90,
    hard_hours: int = 72,
    stages: Sequence[tuple[str, int]] = STAGES,
    level: float = 0.95,
) -> PainPoints:
    """Rank what customers came for by effort, volume, MRR touched and association with churn.

    Parameters
    ----------
    interactions
        Contacts opened in the period.
    period
        Which days.
    of
        ``"topic"``, ``"channel"``, or ``"stage"``: of the customer's journey, by days since
        sign-up, as `stages` name them.
    customers
        Whom contacts are compared over, with signed_up_at.
    subscriptions
        For the MRR on the period's first day (on the first own day for who came later); and,
        without departures, for who left: all paid spans over.
    departures
        Who left.
    data_until
        Last day of the data: without `outcome_days` after the period there is no association yet.
    outcome_days
        Leaving within so many days after the period counts.
    hard_hours
        A contact is hard when it was reopened, handed on twice, follows another, is one of several
        of its case, or took longer than this to be resolved.
    stages
        Names with the days since sign-up from which they hold, the first at 0.
    level
        Of the intervals, in (0, 1).

    Returns
    -------
    PainPoints
        Ranked; contacts without a topic stand under ``"(none)"``.

    Raises
    ------
    TableError
        When a column or table that the question needs is missing.

    Notes
    -----
    The interval of the difference of two shares is Newcombe's (1998, method 10), from Wilson's of
    each.

    Examples
    --------
    >>> contacts = pd.DataFrame({"customer_id": ["a", "a", "b"], "interaction_id": ["1", "2", "3"],
    ...     "opened_at": pd.Timestamp("2026-10-05"), "topic": ["billing", "login", "login"],
    ...     "reopen_count": [1, 0, 0]})
    >>> found = pain_points(contacts, Period.month("2026-10")).table
    >>> found[["name", "cases", "hard_cases", "rank_effort", "rank_volume"]].values.tolist()
    [['billing', 1, 1, 1, 2], ['login', 2, 0, 2, 1]]
    """
    rows = Rows(
        interactions=interactions,
        customers=customers,
        subscriptions=subscriptions,
        departures=departures,
    )
    named = _named(rows, of, stages)
    contacts = f"""
        SELECT i.*, {named} AS name,
            coalesce(reopen_count, 0) >= 1 OR coalesce(transfer_count, 0) >= 2
                OR follows_id IS NOT NULL
                OR (case_id IS NOT NULL AND count(*) OVER (PARTITION BY i.customer_id, case_id) > 1)
                OR coalesce(resolved_at - opened_at > INTERVAL {int(hard_hours)} HOUR, false)
                AS is_hard
        FROM interactions AS i LEFT JOIN ({_first_sign_up(rows)}) AS k USING (customer_id)
        WHERE {period.holds("opened_at")}"""
    came = f"SELECT DISTINCT name, customer_id FROM ({contacts})"
    volume = rows.fetch(f"""
        SELECT name, count(*), count(DISTINCT customer_id), {counted("is_hard")},
            sum(CAST(handle_minutes AS DECIMAL(18, 6)))
        FROM ({contacts}) GROUP BY 1 ORDER BY 1""")
    touched = {}
    if rows.has("subscriptions"):
        touched = dict(
            rows.fetch(f"""SELECT name, sum(mrr) FROM ({came})
                JOIN ({_mrr_sql(period)}) USING (customer_id) GROUP BY 1""")
        )
    after = Period(period.end, period.end + timedelta(outcome_days))
    reason = _no_churn(rows, after, data_until)
    left = {} if reason else _churn_beside(rows, came, period, after)
    total = sum(line[1] for line in volume)
    lines = []
    for name, cases, who, hard, minutes in volume:
        line: dict[str, Any] = {
            "name": name,
            "cases": cases,
            "share_of_cases": cases / total,
            "customers": who,
            "hard_cases": hard,
            "hard_share": hard / cases,
            "minutes": None if minutes is None else float(minutes),
            "mrr_touched": touched.get(name, 0) if rows.has("subscriptions") else None,
        }
        lines.append(line | _compared(*left.get(name, (0, 0, 0, 0)), level))
    columns = [*lines[0]] if lines else ["name", *RANKS.values()]
    table = pd.DataFrame(lines, columns=columns)
    for name, column in RANKS.items():
        worst_first = pd.to_numeric(table[column]).rank(method="min", ascending=False)
        table[f"rank_{name}"] = worst_first.astype("Int64")
    table = table.sort_values(["hard_cases", "cases", "name"], ascending=[False, False, True])
    return PainPoints(table.reset_index(drop=True), reason, level, period)


def lost_prospects(
    subscriptions: Source,
    usage: Source,
    period: Period,
    *,
    steps: Sequence[tuple[str, tuple[str, ...]]] = (),
    grace_days: int = 30,
    data_until: date | None = None,
) -> LostProspects:
    """Tell where trials that did not convert stopped.

    Parameters
    ----------
    subscriptions
        Spans; those with is_trial are trials, one per customer: its last.
    usage
        Events; those during the trial count.
    period
        In which trials ended.
    steps
        Name and features of each step to take, in order; a prospect stops before the first step
        not taken. None: ``came`` on a day, and ``came back`` on another.
    grace_days
        Converted is a paid span that starts by so many days after the trial ended.
    data_until
        Last day of the data: a trial whose grace runs past it is not ripe.

    Returns
    -------
    LostProspects
        By stage.

    Examples
    --------
    >>> spans = pd.DataFrame({"customer_id": ["a", "b", "b"],
    ...     "started_at": pd.to_datetime(["2026-10-01", "2026-10-01", "2026-10-15"]),
    ...     "ended_at": pd.to_datetime(["2026-10-15", "2026-10-15", None]), "mrr": [0, 0, 50],
    ...     "is_trial": [True, True, False]})
    >>> used = pd.DataFrame({"customer_id": ["a"], "occurred_at": [pd.Timestamp("2026-10-02")]})
    >>> found = lost_prospects(spans, used, Period.month("2026-10")).table
    >>> found[["stage", "reached", "converted", "lost"]].values.tolist()
    [['started', 2, 1, 0], ['came', 1, 0, 1], ['came back', 0, 0, 0]]
    """
    rows = Rows(subscriptions=subscriptions, usage=usage)
    rows.require("subscriptions", "is_trial")
    if steps:
        rows.require("usage", "feature")
        taken = [f"feature IN ({', '.join(map(word, features))})" for _, features in steps]
        reached = [f"coalesce(bool_or({one}), false)" for one in taken]
    else:
        days = "count(DISTINCT CAST(occurred_at AS DATE))"
        reached = [f"{days} >= 1", f"{days} >= 2"]
    names = ["started", *([name for name, _ in steps] or ["came", "came back"])]
    # a step counts only after all before it
    far = " + ".join(
        f"CAST({' AND '.join(f'step_{at}' for at in range(until + 1))} AS INTEGER)"
        for until in range(len(reached))
    )
    listed = ", ".join(f"{sql} AS step_{at}" for at, sql in enumerate(reached))
    unripe = "false"
    if data_until is not None:
        after = data_until + timedelta(1)
        unripe = f"ended_at + INTERVAL {int(grace_days)} DAY >= TIMESTAMP '{after}'"
    found = rows.fetch(f"""
        WITH trials AS (
            SELECT customer_id, started_at, ended_at FROM subscriptions
            WHERE is_trial AND {period.holds("ended_at")}
            QUALIFY row_number() OVER (
                PARTITION BY customer_id ORDER BY ended_at DESC, started_at) = 1),
        paid AS (
            SELECT DISTINCT t.customer_id FROM trials AS t JOIN subscriptions AS s
            ON s.customer_id = t.customer_id AND NOT coalesce(s.is_trial, false) AND s.mrr > 0
                AND s.started_at >= t.started_at
                AND s.started_at <= t.ended_at + INTERVAL {int(grace_days)} DAY),
        walked AS (
            SELECT t.customer_id, {listed} FROM trials AS t LEFT JOIN usage AS u
            ON u.customer_id = t.customer_id AND u.occurred_at >= t.started_at
                AND u.occurred_at < t.ended_at
            GROUP BY t.customer_id)
        SELECT customer_id, {far} AS far, customer_id IN (FROM paid) AS converted, {unripe}
        FROM trials JOIN walked USING (customer_id) ORDER BY customer_id""")
    ripe = [(who, far, converted) for who, far, converted, late in found if converted or not late]
    lost = [(who, far) for who, far, converted in ripe if not converted]
    table = pd.DataFrame(
        [
            {
                "stage": name,
                "reached": sum(far >= at for _, far, _ in ripe),
                "converted": sum(far >= at and converted for _, far, converted in ripe),
                "lost": sum(far == at for _, far in lost),
                "share_of_lost": sum(far == at for _, far in lost) / len(lost) if lost else None,
                "customers": tuple(who for who, far in lost if far == at),
            }
            for at, name in enumerate(names)
        ]
    )
    unripe_many = len(found) - len(ripe)
    excluded = {"may still convert": unripe_many} if unripe_many else {}
    return LostProspects(table, len(found), len(ripe), excluded, period)


def _named(rows: Rows, of: Of, stages: Sequence[tuple[str, int]]) -> str:
    """Write the name under which a contact is counted."""
    if of in ("topic", "channel"):
        rows.require("interactions", of)
        return f"coalesce(nullif(trim({of}), ''), '{NO_SEGMENT}')"
    if of != "stage":
        raise TableError(f"pain points are by topic, channel or stage; found {of!r}")
    rows.require("customers", "signed_up_at")
    edges = [days for _, days in stages]
    if not edges or edges[0] != 0 or edges != sorted(set(edges)):
        raise TableError(f"stages should begin at 0 days and rise; found {edges}")
    cases = " ".join(
        f"WHEN opened_at >= signed_up_at + INTERVAL {int(days)} DAY THEN {word(name)}"
        for name, days in reversed(stages)
    )
    return f"CASE {cases} ELSE '{NO_SEGMENT}' END"


def _first_sign_up(rows: Rows) -> str:
    if not rows.has("customers"):
        return "SELECT CAST(NULL AS VARCHAR) AS customer_id, NULL AS signed_up_at WHERE false"
    return """SELECT customer_id, min(date_trunc('day', signed_up_at)) AS signed_up_at
        FROM customers GROUP BY customer_id"""


def _mrr_sql(period: Period) -> str:
    """Write the MRR of each customer on the period's first day, or its own first if later."""
    return f"""
        SELECT customer_id, sum(mrr) AS mrr
        FROM (SELECT *, greatest(TIMESTAMP '{period.start}',
                min(started_at) OVER (PARTITION BY customer_id)) AS day
            FROM subscriptions WHERE NOT coalesce(is_trial, false))
        WHERE started_at <= day AND coalesce(ended_at > day, true) GROUP BY customer_id"""


def _no_churn(rows: Rows, after: Period, data_until: date | None) -> str | None:
    """Say why there is no association with churn yet, or at all."""
    if not rows.has("customers"):
        return "customers are not given: nobody to compare with"
    if not (rows.has("departures") or rows.has("subscriptions")):
        return "neither departures nor subscriptions tell who left"
    if data_until is not None and data_until < after.end - timedelta(1):
        return f"who leaves after the period is known on {after.end - timedelta(1)} only"
    return None


def _churn_beside(
    rows: Rows, came: str, period: Period, after: Period
) -> dict[str, tuple[int, int, int, int]]:
    """Count who came and left, who came, who did not come and left, who did not come."""
    left = "SELECT customer_id, left_at, returned_at FROM departures"
    if not rows.has("departures"):
        left = """SELECT customer_id, max(ended_at) AS left_at, NULL::TIMESTAMP AS returned_at
            FROM subscriptions WHERE NOT coalesce(is_trial, false)
            GROUP BY customer_id HAVING count(*) = count(ended_at)"""
    there = f"""
        SELECT customer_id, customer_id IN (SELECT customer_id FROM ({left})
            WHERE {after.holds("left_at")}) AS leaves
        FROM (SELECT customer_id, min(signed_up_at) AS since FROM customers GROUP BY 1)
        WHERE coalesce(since < TIMESTAMP '{period.end}', true) AND customer_id NOT IN (
            SELECT customer_id FROM ({left}) WHERE customer_id IS NOT NULL
            AND left_at < TIMESTAMP '{period.end}'
            AND coalesce(returned_at >= TIMESTAMP '{period.end}', true))"""
    ((everybody, leaving),) = rows.fetch(f"SELECT count(*), {counted('leaves')} FROM ({there})")
    lines = rows.fetch(f"""SELECT name, count(*), {counted("leaves")} FROM ({came})
        JOIN ({there}) USING (customer_id) GROUP BY 1""")
    return {name: (k, n, leaving - k, everybody - n) for name, n, k in lines}


def _compared(k: int, n: int, other_k: int, other_n: int, level: float) -> dict[str, float | None]:
    """Compare two shares, with Newcombe's interval of their difference."""
    one, other = share_interval(k, n, level), share_interval(other_k, other_n, level)
    names = ("churn_with", "churn_without", "difference", "low", "high")
    p, q = (k / n if n else None), (other_k / other_n if other_n else None)
    if p is None or q is None or one is None or other is None:
        return dict(zip(names, (p, q, None, None, None), strict=True))
    low = p - q - sqrt((p - one[0]) ** 2 + (other[1] - q) ** 2)
    high = p - q + sqrt((one[1] - p) ** 2 + (q - other[0]) ** 2)
    return dict(zip(names, (p, q, p - q, low, high), strict=True))
