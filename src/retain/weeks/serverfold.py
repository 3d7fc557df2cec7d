"""A log folded where it lies: the fold's own SQL runs there, and only folded weeks travel.

Each week carries a mark, a hash of the rows it is folded from; kept weeks whose mark is the same do
not travel again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from retain.tables.server import ServerLog
from retain.tables.sql import quoted, word
from retain.weeks.facts import usage
from retain.weeks.kept import KeptWeeks, in_time, number_customers, panel_of
from retain.weeks.rows import PanelRows, in_order
from retain.weeks.streams import MASK_VALUES, WORD_BITS, Source, day_number
from retain.weeks.tablefold import fold_sql

__all__ = ["fold_on_server"]


def fold_on_server(
    log: ServerLog,
    ids: Any,
    source: Source,
    numbers: dict[str, list[str]],
    recipe: str,
    store: Path | None,
) -> PanelRows:
    """Fold usage where it lies.

    Parameters
    ----------
    log
        The log.
    ids
        Customer ids, ascending.
    source
        The usage table as the fold sees it; its mask words are found out here.
    numbers
        Numbering ``usage_feature``, append-only: what is new is appended; and ``customers``.
    recipe
        Hash of how a week is folded.
    store
        Folder of the store; none keeps nothing.
    """
    parts: dict[str, str] = {}
    words = {}
    if source.has("feature"):
        known = numbers.setdefault("usage_feature", [])
        fresh = {
            text: min(days) for text, days in log.feature_days().items() if text not in set(known)
        }
        known.extend(sorted(fresh, key=lambda text: (fresh[text], text)))
        words["feature"] = -(-min(len(known), MASK_VALUES) // WORD_BITS) or 1
        parts["dict_usage_feature"] = _numbered(known[:MASK_VALUES])
    if source.has("user_id"):
        parts["dict_usage_user"] = _users(source)
        asked = "SELECT coalesce(max(no), 0) + 1 AS n FROM dict_usage_user"
        ((most,),) = log.ask(asked, dict_usage_user=parts["dict_usage_user"])
        words["users"] = -(-min(int(most), MASK_VALUES) // WORD_BITS)
    facts = usage(source.with_words(words))
    sql = fold_sql(facts, source)
    if store is None:
        return panel_of(in_time([log.arrow(sql, **parts)], ids), ids, facts.folded)
    number, position = number_customers(numbers.setdefault("customers", []), ids)
    kept = KeptWeeks(store / "weeks" / "usage", source.calendar)
    recipe = hashlib.sha256(f"{recipe} {sql}".encode()).hexdigest()[:16]
    there = kept.open(recipe, numbers)
    marks = {
        str(week): f"{rows}-{mixed}-{added}"
        for week, rows, mixed, added in log.ask(_marks(source), **parts)
    }
    changed = sorted(int(week) for week, mark in marks.items() if there.get(week) != mark)
    kept.forget({*map(str, changed), *(set(there) - set(marks))})
    if changed:
        only = f" HAVING week IN ({', '.join(map(str, changed))})"
        came = in_time([log.arrow(sql + only, **parts)], ids)
        kept.write_rows(panel_of(came, ids, facts.folded), number)
    names = {n: texts for n, texts in numbers.items() if n in ("customers", "usage_feature")}
    kept.close(recipe, log.fingerprint, marks, names)
    read = kept.read_rows(sorted(map(int, marks)), position)
    return in_order([read[week] for week in sorted(read)], facts.folded)


def _numbered(texts: list[str]) -> str:
    if not texts:
        return "SELECT CAST(NULL AS VARCHAR) AS value, 0 AS no WHERE 1 = 0"
    listed = ", ".join(f"({word(text)}, {no})" for no, text in enumerate(texts))
    return f"SELECT value, no FROM (VALUES {listed}) AS given(value, no)"


def _users(source: Source) -> str:
    """Write the numbers of each customer's users, by the day on which they were first known."""
    seen = source.known(day_number("occurred_at"))
    return (
        "SELECT customer_id, value, no FROM (SELECT customer_id, value, CAST(row_number() OVER "
        "(PARTITION BY customer_id ORDER BY seen, value) - 1 AS INTEGER) AS no FROM "
        f"(SELECT customer_id, user_id AS value, min({seen}) AS seen FROM usage "
        f"WHERE user_id IS NOT NULL GROUP BY customer_id, user_id)) WHERE no < {MASK_VALUES}"
    )


def _marks(source: Source) -> str:
    """Hash what each week is folded from: its rows, and the numbers of their users."""
    listed = [quoted(name) for name in (*sorted(source.columns), *source.measures)]
    rows = "usage"
    if source.has("user_id"):
        listed = [f"usage.{name}" for name in listed] + ["u.no"]
        rows = (
            "usage LEFT JOIN dict_usage_user AS u ON u.customer_id = usage.customer_id "
            "AND u.value = usage.user_id"
        )
    week = source.calendar.week_sql(day_number("occurred_at"))
    return (
        "SELECT week, count(*) AS n, bit_xor(h) AS mixed, CAST(sum(h % 1000000007) AS BIGINT) AS "
        f"added FROM (SELECT {week} AS week, hash({', '.join(listed)}) AS h FROM {rows}) "
        "GROUP BY week"
    )
