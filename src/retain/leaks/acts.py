"""Acts of the company itself among the customers', and facts that count before they are known."""

from __future__ import annotations

from collections.abc import Iterator

from retain.leaks.suspect import Suspect
from retain.leaks.words import is_vendor_act
from retain.tables import Tables

__all__ = ["vendor_acts", "without_known_at"]

AT_ONCE = 5  # customers reached in the same second: a machine's doing
AT_ONCE_SHARE, AT_ONCE_USUAL = 0.5, 0.1
LEAST_ROWS = 20

_ACTS = (
    ("usage", "feature", "occurred_at"),
    ("interactions", "topic", "opened_at"),
    ("interactions", "channel", "opened_at"),
)


def vendor_acts(tables: Tables) -> Iterator[Suspect]:
    """Find kinds of events that the company makes, by name or by reaching many in one second."""
    for name, column, moment in _ACTS:
        if not tables.has(name, column):
            continue
        # bare dates and pre-summed slices say nothing about seconds
        found = tables.ask(
            name,
            f'WITH rows_ AS (SELECT customer_id, CAST("{column}" AS VARCHAR) AS value, {moment} AS '
            f"moment, CAST({moment} AS TIME) <> TIME '00:00:00' AS has_time FROM {name} WHERE "
            f'"{column}" IS NOT NULL), at_once AS (SELECT value, moment, count(*) AS n, '
            "count(DISTINCT customer_id) AS people FROM rows_ WHERE has_time GROUP BY 1, 2) "
            f"SELECT value, sum(n) AS n, coalesce(sum(n) FILTER (people >= {AT_ONCE}), 0) AS k, "
            "max(people) AS most FROM at_once GROUP BY 1 ORDER BY 1",
        )
        rows = sum(n for _, n, _, _ in found)
        together = sum(k for _, _, k, _ in found)
        machines = set()
        for value, n, k, most in found:
            others = (together - k) / max(rows - n, 1)
            if n >= LEAST_ROWS and k / n >= AT_ONCE_SHARE and others <= AT_ONCE_USUAL:
                machines.add(value)
                yield Suspect(
                    f"{name}.{column}={value}",
                    "made by the company",
                    "warning",
                    int(n),
                    f"{k / n:.0%} of {n:,} {value!r} rows reach {AT_ONCE} or more customers in the "
                    f"same second (up to {most:,}; others' rows: {others:.0%}): the company's act, "
                    "not the customer's.",
                    {"share_at_once": round(k / n, 4), "share_of_others": round(others, 4)},
                    "Leave these rows out with `query`, or map them as treatments.",
                )
        named = tables.ask(
            name,
            f'SELECT CAST("{column}" AS VARCHAR) AS value, count(*) AS n FROM {name} WHERE '
            f'"{column}" IS NOT NULL GROUP BY 1 ORDER BY 1',
        )
        for value, n in named:
            if value not in machines and is_vendor_act(value):
                yield Suspect(
                    f"{name}.{column}={value}",
                    "made by the company",
                    "warning",
                    int(n),
                    f"{n:,} {value!r} rows: by name an act of the company, not the customer.",
                    {"rows": float(n)},
                    "Leave these rows out with `query`, or map them as treatments.",
                )


def without_known_at(tables: Tables) -> Iterator[Suspect]:
    """Name facts that count from a day on which they may not have been known."""
    if tables.has("surveys", "sent_at") and not tables.has("surveys", "answered_at"):
        yield Suspect(
            "surveys",
            "no known-at time",
            "warning",
            tables.counts["surveys"].used,
            "Answers count from the day the question was sent: answered_at is not mapped, so a "
            "score is used before it was given.",
            {},
            "Map answered_at.",
        )
    undated = [
        name
        for name in ("usage", "interactions", "surveys", "payments", "subscriptions", "departures")
        if tables.has(name) and not tables.has(name, "recorded_at")
    ]
    if undated:
        yield Suspect(
            undated[0] if len(undated) == 1 else "tables",
            "no known-at time",
            "advice",
            len(undated),
            f"Without recorded_at every row counts from its own date, also one that was entered "
            f"later or dated back: {', '.join(undated)}.",
            {},
            "Map recorded_at where the source keeps it.",
        )
