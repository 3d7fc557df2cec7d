"""What a case is, when contacts are rows, and which cases were hard on the customer."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

import pandas as pd

from retain.weeks.facts import LONG_RESOLUTION_HOURS, REPEAT_DAYS

__all__ = ["HIGH_EFFORT", "cases_by_customer"]

HIGH_EFFORT = (
    "more than one contact, a change of channel, two transfers, a reopening, or over "
    f"{LONG_RESOLUTION_HOURS} hours until it was resolved"
)


def cases_by_customer(con: Any, columns: Collection[str], first: date, last: date) -> pd.DataFrame:
    """Count the cases that ended between two days, and the minutes spent on them.

    Contacts are one case when they share a `case_id` or follow one another (`follows_id`); without
    either, when they are of one topic and at most a week apart.

    Parameters
    ----------
    con
        DuckDB connection that knows the table `interactions`.
    columns
        Its columns; `handle_minutes` must be there.
    first, last
        Days, both included.

    Returns
    -------
    DataFrame
        customer_id, is_high, cases, minutes: one row per customer and kind of case. Cases without
        minutes are left out.
    """

    def given(name: str, otherwise: str) -> str:
        return name if name in columns else otherwise

    done = [name for name in ("resolved_at", "closed_at") if name in columns]
    ended = f"least({', '.join(done)})" if len(done) == 2 else "".join(done) or "opened_at"
    known = f"AND recorded_at < DATE '{last}' + 1" if "recorded_at" in columns else ""
    chain, root = "", "NULL"
    if "follows_id" in columns:
        chain = """RECURSIVE chain AS (
          SELECT interaction_id, interaction_id AS root FROM interactions WHERE follows_id IS NULL
          UNION ALL SELECT i.interaction_id, c.root FROM interactions AS i
          JOIN chain AS c ON i.follows_id = c.interaction_id),
        led AS (SELECT DISTINCT follows_id AS id FROM interactions WHERE follows_id IS NOT NULL),"""
        # a contact that nothing leads to or from is in no chain
        root = """CASE WHEN follows_id IS NOT NULL OR interaction_id IN (SELECT id FROM led)
          THEN coalesce((SELECT min(c.root) FROM chain AS c
            WHERE c.interaction_id = i.interaction_id), follows_id) END"""
    # decimals add up to the same in whatever order the threads come
    return con.sql(
        f"""WITH {chain} named AS (SELECT customer_id, interaction_id, opened_at,
          {ended} AS ended_at, {given("channel", "NULL")} AS channel,
          {given("transfer_count", "0")} AS transfers, {given("reopen_count", "0")} AS reopens,
          CAST(handle_minutes AS DECIMAL(24, 6)) AS minutes,
          coalesce({given("case_id", "NULL")}, {root}) AS thread,
          {given("topic", "NULL")} AS topic
        FROM interactions AS i WHERE opened_at < DATE '{last}' + 1 {known}),
        parted AS (SELECT *, coalesce('case ' || thread, 'topic ' || topic,
            'alone ' || interaction_id) AS issue FROM named),
        begun AS (SELECT *, CASE WHEN thread IS NULL AND opened_at - lag(opened_at) OVER one
            > INTERVAL {REPEAT_DAYS} DAY THEN 1 ELSE 0 END AS is_new
          FROM parted WINDOW one AS
            (PARTITION BY customer_id, issue ORDER BY opened_at, interaction_id)),
        numbered AS (SELECT *, sum(is_new) OVER (PARTITION BY customer_id, issue
            ORDER BY opened_at, interaction_id) AS part FROM begun),
        cases AS (SELECT customer_id, sum(minutes) AS minutes, max(ended_at) AS ended_at,
            count(*) > 1 OR count(DISTINCT channel) > 1
            OR coalesce(sum(transfers), 0) >= 2 OR coalesce(sum(reopens), 0) >= 1
            OR max(ended_at) - min(opened_at) > INTERVAL {LONG_RESOLUTION_HOURS} HOUR AS is_high
          FROM numbered GROUP BY customer_id, issue, part
          HAVING bool_and(ended_at IS NOT NULL) AND sum(minutes) IS NOT NULL)
        SELECT customer_id, is_high, count(*) AS cases, CAST(sum(minutes) AS DOUBLE) AS minutes
        FROM cases WHERE ended_at >= DATE '{first}' AND ended_at < DATE '{last}' + 1
        GROUP BY ALL ORDER BY ALL"""
    ).df()
