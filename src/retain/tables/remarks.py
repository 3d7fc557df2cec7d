"""What the data-usability report says about each table by itself.

Rows set aside, empty tables and columns, how ids and stamps are written, stale and bulk-loaded
sources, and attributes without history.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from retain.errors import many
from retain.tables.casting import text_of
from retain.tables.dates import format_of
from retain.tables.judging import FIRST_DAY, Judge
from retain.tables.mapping import Finding
from retain.tables.result import Tables
from retain.tables.spec import BEHAVIOUR, SPECS
from retain.tables.sql import quoted, rows_of, word
from retain.tables.staging import Staged

__all__ = ["SPARSE_TIMES", "STALE_DAYS", "left_empty", "remarks"]

STALE_DAYS = 14
SPARSE_TIMES = 3
BULK_LAG_DAYS = 182
BULK_SHARE = 0.9
TODO = {
    "unknown customer": "Export customers again with these, or leave `customers` out to derive it.",
    "dated after the export": "Correct the date, or set data_until to the day of the export.",
    "recorded after the export": "Correct recorded_at, or set data_until to the day of the export.",
    "dated before 1971": "Correct the date: it looks like a placeholder for a missing one.",
    "score off its scale": "Correct the score, or state the scale under `scales`.",
    "answered without answered_at": "Export the day of the answer; an answer counts from then.",
    "line cannot be read": "Quote fields that hold separators, and export again.",
    "equal to an earlier row": "Nothing, when these are repeats; else leave drop_equal_rows out.",
}


def remarks(tables: Tables, staged: dict[str, Staged], judge: Judge) -> Iterator[Finding]:
    """Say what was found in each table by itself."""
    if tables.is_derived:
        count = tables.counts["customers"].used
        yield Finding(
            "customers",
            "",
            "advice",
            count,
            "No customers table is given: "
            f"{many(count, 'customer is', 'customers are')} taken from "
            f"{', '.join(n for n in BEHAVIOUR if n in staged)}; first seen counts as signed up.",
            todo="Map a customers table when there is one.",
        )
    for name, table in staged.items():
        if table.copied_because:
            yield Finding(
                name,
                "",
                "advice",
                tables.counts[name].rows_in,
                "All rows come over and are checked here, not where they lie: "
                f"{table.copied_because}.",
                todo="Bring plain types, with a `query` where they are not, and it is checked and "
                "folded there.",
            )
        yield from _usable(tables, table)
        yield from _empty_columns(tables, table)
        yield from _ids(tables, table)
        yield from _stamps(tables, table, judge)
        yield from _recorded(tables, table)
        if judge.equal.get(name):
            count = judge.equal[name]
            yield Finding(
                name,
                "",
                "warning",
                count,
                f"{'about ' if table.log is not None else ''}"
                f"{many(count, 'row equals', 'rows equal')} another row in every column; kept.",
                todo="Map an id column, or set drop_equal_rows: true if they are repeats.",
            )
    for (name, column), count in judge.later.items():
        yield Finding(
            name,
            column,
            "advice",
            count,
            f"{many(count, 'row has', 'rows have')} {column} after data_until "
            f"{tables.data_until}; there it had not happened yet, so it is read as missing.",
        )
    if judge.open_ended:
        yield Finding(
            "subscriptions",
            "ended_at",
            "advice",
            judge.open_ended,
            f"{many(judge.open_ended, 'span ends', 'spans end')} in the year 2200 or later: "
            "read as still running.",
        )
    yield from _stale(tables)
    if "customers" in staged:
        yield from _people(tables, staged["customers"], judge)
    if tables.has("subscriptions", "renews_at"):
        yield Finding(
            "subscriptions",
            "renews_at",
            "advice",
            tables.counts["subscriptions"].used,
            "renews_at as exported moves when customers renew, so it can give churn away; it is "
            "shown and never a feature. Renewals are derived from start and billing period.",
        )


def left_empty(table: Staged) -> Finding:
    """Say that a table without rows is taken as not brought."""
    return Finding(
        table.spec.name,
        "",
        "warning",
        0,
        f"{table.source.origin} is empty: it holds no rows, and all goes on as if the table had "
        "not been brought.",
        todo="Nothing, where there is nothing to tell yet; else export it again.",
    )


def _usable(tables: Tables, table: Staged) -> Iterator[Finding]:
    """Empty tables, and rows set aside by reason."""
    name, counts = table.spec.name, tables.counts[table.spec.name]
    if counts.rows_in == 0:
        yield Finding(
            name,
            "",
            "error",
            0,
            f"{table.source.origin} holds no rows.",
            todo="Export it again: no other table of behaviour holds any."
            if name in BEHAVIOUR
            else "Export it again, or leave the table out of the configuration.",
        )
        return
    if counts.used == 0:
        yield _none_usable(tables, table)
    for reason, count in counts.set_aside.items():
        column = _column_in(reason, table)
        are = "is" if count == 1 else "are"
        told = f"{count:,} of {counts.rows_in:,} rows {are} set aside: {reason}."
        examples = _examples(tables, table, reason, column)
        yield Finding(
            name, column, "warning", count, told, examples, _todo(reason, column, table, examples)
        )


def _none_usable(tables: Tables, table: Staged) -> Finding:
    """Say that no row of a table can be used, with what most of them are set aside for."""
    name, counts = table.spec.name, tables.counts[table.spec.name]
    reason, count = max(counts.set_aside.items(), key=lambda one: one[1])
    column = _column_in(reason, table)
    examples = _examples(tables, table, reason, column)
    others = len(counts.set_aside) - 1
    told = f"None of the {counts.rows_in:,} rows can be used: {reason} ({count:,} rows"
    told += f", as in {examples[0]}" if examples else ""
    told += f"; {many(others, 'other reason', 'other reasons')})." if others else ")."
    todo = _todo(reason, column, table, examples)
    return Finding(name, column, "error", counts.rows_in, told, todo=todo)


def _column_in(reason: str, table: Staged) -> str:
    """Find the column of ours that a reason speaks of, if any."""
    words = reason.split()
    for column in sorted(table.spec.names, key=len, reverse=True):
        if column in words:
            return column
    told = {
        "unknown customer": table.spec.customer or "customer_id",
        "dated after the export": table.spec.time or "signed_up_at",
        "dated before 1971": table.spec.time or "",
        "recorded after the export": "recorded_at",
        "ended before started": "ended_at",
        "returned before left": "returned_at",
        "resolved before opened": "resolved_at",
        "closed before opened": "closed_at",
        "first response before opened": "first_response_at",
        "refers to itself": "referred_id",
        "NPS is not a whole number": "score",
    }
    return told.get(reason, "")


def _examples(tables: Tables, table: Staged, reason: str, column: str) -> tuple[str, ...]:
    """Name up to five rows, each with the value in question."""
    found = rows_of(
        tables.con,
        f"SELECT row_number, row_json FROM quarantine WHERE table_name = {word(table.spec.name)} "
        f"AND reason = {word(reason)} ORDER BY row_number LIMIT 5",
    )
    theirs = table.columns.get(column)
    if reason == "line cannot be read":
        return tuple(f"line {row}: {_cut(_field(tables, text, 'line'))}" for row, text in found)
    if theirs is None:
        return tuple(f"row {row}" for row, _ in found if row is not None)
    values = [(row, _cut(_field(tables, text, theirs))) for row, text in found]
    return tuple(value if row is None else f"row {row}: {value}" for row, value in values)


def _field(tables: Tables, text: str, name: str) -> str:
    value = json.loads(text).get(name)
    return "nothing" if value is None else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _todo(reason: str, column: str, table: Staged, examples: tuple[str, ...]) -> str:
    if reason in TODO:
        return TODO[reason]
    for rule in table.spec.rules:
        if rule.reason == reason:
            return rule.todo
    values = [one.split(": ", 1)[1] for one in examples if ": " in one]
    if reason.endswith("is not a date"):
        fits = format_of(values)
        hint = f"it looks like datetime_format: '{fits}'" if fits else "state datetime_format"
        return f"Expected ISO 8601 as in 2024-01-31 or 2024-01-31T09:30:00Z; {hint}."
    if reason.endswith("is not a number"):
        return (
            "Expected digits with a decimal point, no unit or thousands sign; convert with `query`."
        )
    if reason.startswith("unknown "):
        known = ", ".join(table.spec.column(column).words)
        return f"Translate the word under `values: {{{column}: ...}}`; ours are {known}."
    if reason.startswith("repeated "):
        return "The first is kept. Export each once, or map the column that tells them apart."
    if reason.startswith("negative "):
        return "Correct it in the source; only payment amounts may be negative (returns, refunds)."
    if reason.startswith("missing "):
        return "Fill it in the source, or check that the mapping names the right column."
    return "Correct it in the source."


def _empty_columns(tables: Tables, table: Staged) -> Iterator[Finding]:
    """Find mapped columns without a single value."""
    name = table.spec.name
    used = tables.counts[name].used
    listed = [column for column in table.kept if column != "has_left"]
    if not used or not listed:
        return
    log = tables.logs.get(name)
    if log is not None and not len(log.aside):
        counts: tuple[int, ...] = tuple(log.there(c) if c in log.columns else used for c in listed)
    else:
        asked = ", ".join(f"count({quoted(c)})" for c in listed)
        rows = name if log is not None or name == "customers" else table.held  # no id made a text
        (counts,) = rows_of(tables.con, f"SELECT {asked} FROM {rows}")
    for column, there in zip(listed, counts, strict=True):
        if there:
            continue
        why = "no span has ever ended" if column == "ended_at" else "every value is missing"
        yield Finding(
            name,
            column,
            "warning",
            used,
            f"{column} (from {table.columns.get(column, column)!r}) is empty: {why}.",
            todo="Check the mapping, or leave the column out.",
        )


def _ids(tables: Tables, table: Staged) -> Iterator[Finding]:
    """Ids that came as floating numbers, with blanks around, or in two spellings."""
    name = table.spec.name
    for ours, theirs in table.columns.items():
        if table.spec.column(ours).kind != "id":
            continue
        kind = table.source.types[theirs].upper()
        column, view = quoted(theirs), quoted(table.source.view)
        if table.log is not None:
            if ours != table.spec.customer:
                continue
            view = "distinct_ids"
            tables.con.register(view, table.log.distinct_ids())
        if kind.startswith(("FLOAT", "DOUBLE")):
            lost = rows_of(
                tables.con, f"SELECT count(*) FROM {view} WHERE abs({column}) > 9007199254740992"
            )[0][0]
            yield Finding(
                name,
                ours,
                "warning" if lost else "advice",
                lost or tables.counts[name].rows_in,
                f"{theirs!r} holds whole numbers as floating ones; they are written 13085, not "
                "13085.0." + (f" {lost:,} are too long to be exact." if lost else ""),
                todo="Export ids as text." if lost else "",
            )
        elif kind == "VARCHAR":
            text = text_of(theirs, kind)
            blank, point = rows_of(
                tables.con,
                f"SELECT count(*) FILTER ({column} <> {text}), "
                f"count(*) FILTER (regexp_matches({text}, '^-?\\d+\\.0+$')) FROM {view}",
            )[0]
            if blank:
                told = f"{blank:,} values of {theirs!r} have blanks around them, which are removed."
                yield Finding(name, ours, "advice", blank, told)
            if point:
                told = (
                    f"{point:,} values of {theirs!r} end in .0, which is removed (13085.0: 13085)."
                )
                yield Finding(name, ours, "advice", point, told)
    if name == "customers":
        twins = rows_of(
            tables.con,
            "SELECT count(DISTINCT customer_id) - count(DISTINCT lower(customer_id)) "
            "FROM customers",
        )[0][0]
        if twins:
            yield Finding(
                name,
                "customer_id",
                "warning",
                twins,
                f"{many(twins, 'id differs', 'ids differ')} from another only by case; each "
                "counts as a customer.",
                todo="Export one spelling.",
            )


def _stamps(tables: Tables, table: Staged, judge: Judge) -> Iterator[Finding]:
    """Say how instants are written: with a zone, without, or as bare dates."""
    name, zone = table.spec.name, tables.timezone
    read = {
        1: f"without a zone, read as local to {zone}",
        2: f"with a zone, converted to {zone}",
        3: "bare dates, read as local midnight",
    }
    alike: dict[int, dict[str, int]] = {}
    for column in table.columns:
        ways = judge.stamps.get((name, column), {})
        if 2 in ways and len(ways) > 1:
            told = "; ".join(f"{count:,} {read[way]}" for way, count in ways.items())
            yield Finding(
                name,
                column,
                "warning",
                sum(ways.values()),
                f"Stamps with and without a zone are mixed: {told}.",
                todo=f"Write all with a zone, or check that the others are local to {zone}.",
            )
            continue
        for way, count in ways.items():
            alike.setdefault(way, {})[column] = count
    for way, columns in sorted(alike.items()):
        counted = ", ".join(f"{column} ({count:,})" for column, count in columns.items())
        only = next(iter(columns)) if len(columns) == 1 else ""
        yield Finding(name, only, "advice", sum(columns.values()), f"{counted}: {read[way]}.")


def _recorded(tables: Tables, table: Staged) -> Iterator[Finding]:
    """Bulk loads that hide a history, and rows recorded before they happened."""
    name, spec = table.spec.name, table.spec
    if not table.has("recorded_at") or spec.time is None or not tables.counts[name].used:
        return
    happened = quoted(spec.time)
    if name == "surveys" and not table.has("answered_at"):
        happened = "sent_at"
    log = tables.logs.get(name)
    if log is not None and not len(log.aside):
        days = log.days(str(spec.time))
        there, early, lag, top = log.recording()
        span = max(days) - min(days)
    else:
        there, early, lag, top, span = rows_of(
            tables.con,
            "SELECT count(recorded_at), "
            f"count(*) FILTER (recorded_at < {happened} - INTERVAL 1 DAY), "
            f"coalesce(median(date_diff('day', {happened}, recorded_at)), 0), "
            f"(SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM {name} "
            "WHERE recorded_at IS NOT NULL GROUP BY CAST(recorded_at AS DATE))), "
            f"coalesce(date_diff('day', min({happened}), max({happened})), 0) FROM {name}",
        )[0]
    if there and span >= 28 and (top >= BULK_SHARE * there or lag > BULK_LAG_DAYS):
        is_only = name in BEHAVIOUR and sum(1 for n in BEHAVIOUR if n in tables.columns) == 1
        what = (
            f"{top:,} of {there:,} rows were recorded on one day"
            if top >= BULK_SHARE * there
            else f"half the rows were recorded more than {lag:,.0f} days after they happened"
        )
        yield Finding(
            name,
            "recorded_at",
            "error" if is_only else "warning",
            there,
            f"A bulk load: {what}. A row is invisible before recorded_at, so the whole history "
            "before the load is hidden.",
            todo="Leave recorded_at out of the mapping, or load the original recording times.",
        )
    if early:
        yield Finding(
            name,
            "recorded_at",
            "warning",
            early,
            f"{many(early, 'row was', 'rows were')} recorded more than a day before happening.",
            todo=f"Check that recorded_at and {spec.time} are not swapped or in different zones.",
        )


def _stale(tables: Tables) -> Iterator[Finding]:
    """Find sources that end well before the others."""
    for name, newest in tables.newest.items():
        days = (tables.data_until - newest).days
        moment = SPECS[name].time
        if name in ("customers", "costs", "departures") or days < STALE_DAYS or moment is None:
            continue
        if moment not in tables.columns[name]:
            moment = "sent_at"  # surveys may know one of two days
        log = tables.logs.get(name)
        if log is not None and not len(log.aside):
            there = log.days(moment)
            usual = (max(there) - min(there)) / max(len(there) - 1, 1)
        else:
            (usual,) = rows_of(
                tables.con,
                f"SELECT coalesce(date_diff('day', min({quoted(moment)}), max({quoted(moment)})) / "
                f"greatest(count(DISTINCT CAST({quoted(moment)} AS DATE)) - 1, 1), 0) FROM {name}",
            )[0]
        if days < SPARSE_TIMES * usual:  # a table with a row a month is not stale after two weeks
            continue
        yield Finding(
            name,
            SPECS[name].time or "",
            "warning",
            days,
            f"The newest row is of {newest}, {days} days before {tables.data_until}.",
            todo="Export it again: a source that stops looks like customers who stop.",
        )


def _signed_up_long_ago(tables: Tables) -> Iterator[Finding]:
    """Find days of signing up that stand for a missing one, such as 1900-01-01."""
    early = f"FROM sign_ups WHERE signed_up_at < TIMESTAMP '{FIRST_DAY}'"
    ((count,),) = rows_of(tables.con, f"SELECT count(DISTINCT customer_id) {early}")
    if count:
        found = rows_of(
            tables.con,
            f"SELECT DISTINCT customer_id, CAST(CAST(signed_up_at AS DATE) AS VARCHAR) {early} "
            "ORDER BY 1, 2 LIMIT 5",
        )
        yield Finding(
            "customers",
            "signed_up_at",
            "warning",
            count,
            f"{many(count, 'customer', 'customers')} signed up before 1971, and tenure counts from "
            "then: it looks like a placeholder for a missing day.",
            tuple(f"{who}: {day}" for who, day in found),
            "Leave the day empty where it is not known: first seen counts then.",
        )


def _people(tables: Tables, table: Staged, judge: Judge) -> Iterator[Finding]:
    """Find values of customers that became unknown, and attributes without history."""
    for column, count in judge.odd.items():
        if count:
            examples = tuple(_cut(one) for one in judge.odd_values.get(column, ()))
            todo = f"Correct {table.columns[column]!r} in the source."
            if table.spec.column(column).kind == "instant":
                todo = _todo(f"{column} is not a date", column, table, examples)
            yield Finding(
                "customers",
                column,
                "warning",
                count,
                many(
                    count,
                    f"value of {column} cannot be used and is",
                    f"values of {column} cannot be used and are",
                )
                + " read as missing; the customers are kept.",
                examples,
                todo,
            )
    if table.has("signed_up_at"):
        yield from _signed_up_long_ago(tables)
    people, rows = rows_of(
        tables.con, "SELECT count(DISTINCT customer_id), count(*) FROM customers"
    )[0]
    if table.has("valid_from") or table.has("recorded_at"):
        told = f"Attributes have a history: {rows:,} rows for "
        told += f"{many(people, 'customer', 'customers')}."
        yield Finding("customers", "", "advice", rows, told)
        return
    named = ("segment", "plan", "region", "industry", "seats", "owner")
    mapped = [column for column in named if table.has(column)]
    loose = [
        column
        for column in dict.fromkeys((*mapped, *table.attributes))
        if column not in table.mapping.constant and column != "owner"
    ]
    if loose:
        yield Finding(
            "customers",
            loose[0] if len(loose) == 1 else "",
            "advice",
            len(loose),
            f"{', '.join(loose)} describe the day of the export, not the past: shown, never a "
            "feature.",
            todo="List those that never change under constant, or map valid_from.",
        )
