"""The order of reading: cast every source, find the export day, judge each row, report."""

from __future__ import annotations

import datetime as dt
import difflib
import shutil
import tempfile
from collections.abc import Mapping as AnyMapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from retain.engines import Spark
from retain.errors import TableError, some
from retain.tables.contradictions import contradictions
from retain.tables.dates import newest_day
from retain.tables.eventlog import EventLog
from retain.tables.judging import FIRST_DAY, Judge, see
from retain.tables.mapping import SEVERITIES, Counts, Finding, Mapping
from retain.tables.memory import keep_freed
from retain.tables.remarks import left_empty, remarks
from retain.tables.result import Tables
from retain.tables.server import ServerLog
from retain.tables.spec import BEHAVIOUR, SCALES, SPECS
from retain.tables.sql import open_work, quoted, rows_of
from retain.tables.staging import Staged, stage

__all__ = ["read_tables"]

EPOCH = date(1970, 1, 1)
LAST_DAY = (date(9000, 1, 1) - EPOCH).days


def read_tables(
    mappings: AnyMapping[str, Mapping],
    *,
    timezone: str,
    currency: str | None,
    data_until: date | None = None,
    work_folder: Path | None = None,
    today: date | None = None,
    summaries: Path | None = None,
    spark: AnyMapping[str, str] | None = None,
) -> Tables:
    """Read a company's tables, set aside what cannot be used, and report on all of it.

    Parameters
    ----------
    mappings
        Table name: where it is and what its columns are called.
    timezone
        The zone whose days count. Stamps without a zone are local to it, others are converted.
    currency
        The one currency of all amounts; None takes the one found in payments.
    data_until
        Last day to read, as if on its evening; None finds it (see `newest_day`).
    work_folder
        Folder for temporary files, removed on close; None uses the system's.
    today
        The present day, for dates that cannot have happened yet; None asks the clock.
    summaries
        Folder that keeps, between runs, what was learnt of each file of a long log of events;
        None reads all of them again.
    spark
        Spark's settings: usage in Parquet files is checked there, and all tables are folded there;
        None does everything here.

    Returns
    -------
    Tables
        For each table, rows in = used + set aside.

    Raises
    ------
    TableError
        When a source cannot be read, a column is missing or can never fit, currencies are mixed,
        or no behaviour is left.
    """
    for name in mappings:
        if name not in SPECS:
            near = difflib.get_close_matches(name, SPECS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {some(SPECS, 10)}"
            raise TableError(f"{name!r} is not a table of ours; {hint}")
    if not any(name in mappings for name in BEHAVIOUR):
        raise TableError(
            f"no behaviour table is given; found {some(mappings)}, expected one of "
            f"{', '.join(BEHAVIOUR)}"
        )
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise TableError(
            f"timezone {timezone!r} is not a time zone; expected a name such as Europe/Rome"
        ) from None
    keep_freed()
    if work_folder is not None:
        Path(work_folder).mkdir(parents=True, exist_ok=True)
    engine = None if spark is None else Spark(spark)
    folder = Path(tempfile.mkdtemp(prefix="tables-", dir=work_folder))
    con = open_work(folder, timezone)
    try:
        tables = _read(
            con, folder, dict(mappings), timezone, currency, data_until, today, summaries, engine
        )
        tables.spark = engine
        return tables
    except BaseException:
        con.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _read(
    con: Any,
    folder: Path,
    mappings: dict[str, Mapping],
    timezone: str,
    currency: str | None,
    data_until: date | None,
    today: date | None,
    summaries: Path | None,
    spark: Spark | None,
) -> Tables:
    con.execute(
        "CREATE TABLE quarantine (table_name VARCHAR, reason VARCHAR, row_number BIGINT, "
        "row_json VARCHAR)"
    )
    staged = {
        name: stage(con, name, mappings[name], timezone, summaries, scratch=folder, spark=spark)
        for name in SPECS
        if name in mappings
    }
    empty = _without_rows(con, staged)
    staged = {name: table for name, table in staged.items() if name not in empty}
    for name, table in staged.items():
        if table.log is not None:
            table.log.scratch = folder
            if isinstance(table.log, ServerLog):
                continue  # what is seen there is asked for when it is known until when
            con.register("seen_arrow", table.log.seen())
            con.execute(f"CREATE TABLE seen_{name} AS SELECT * FROM seen_arrow")
            con.unregister("seen_arrow")
    currency = _one_currency(con, staged.get("payments"), currency)
    here = today or dt.datetime.now(ZoneInfo(timezone)).date()
    reach, until, how = _reach(con, staged, data_until, here)
    judge = Judge(con, reach, until)
    counts: dict[str, Counts] = {}
    is_derived = "customers" not in staged
    if not is_derived:
        counts["customers"] = judge.settle(staged["customers"])
    else:
        _derive_customers(con, staged, reach, until)
        (known,) = rows_of(con, "SELECT count(*) FROM customers")[0]
        counts["customers"] = Counts(known, known, {})
    for name, table in staged.items():
        if name != "customers":
            counts[name] = judge.settle(table)
    if not is_derived:
        _fill_first_seen(con, staged)
    columns = {
        name: tuple(c for c in table.kept if c in SPECS[name].names and c not in table.attributes)
        for name, table in staged.items()
    }
    given = columns.get("customers", ("customer_id",))
    columns["customers"] = tuple(dict.fromkeys((*given, "signed_up_at")))
    columns = {name: columns[name] for name in SPECS if name in columns}
    logs = {name: table.log for name, table in staged.items() if table.log is not None}
    newest = _newest(con, columns, logs)
    people = staged.get("customers")
    surveys = staged.get("surveys")
    tables = Tables(
        con=con,
        columns=columns,
        attributes=dict(people.attributes) if people else {},
        constant=tuple(people.mapping.constant) if people else (),
        measures={n: t.mapping.measures for n, t in staged.items() if t.mapping.measures},
        counts={name: counts[name] for name in SPECS if name in counts},
        findings=(),
        data_until=until,
        newest=newest,
        fingerprints={
            name: _fingerprint(con, name, judge) if name not in logs else logs[name].fingerprint
            for name in columns
        },
        logs=logs,
        timezone=timezone,
        currency=currency,
        folder=folder,
        is_derived=is_derived,
        ces_high_means=surveys.mapping.ces_high_means if surveys else "easy",
        scales={**SCALES, **(surveys.mapping.scales if surveys else {})},
    )
    findings = [*how, *remarks(tables, staged, judge), *contradictions(tables)]
    findings += [left_empty(table) for table in empty.values()]
    order = {severity: place for place, severity in enumerate(SEVERITIES)}
    place = {name: number for number, name in enumerate(SPECS)}
    findings.sort(key=lambda f: (order[f.severity], place.get(f.table, -1)))
    tables.findings = tuple(findings)
    return tables


def _without_rows(con: Any, staged: dict[str, Staged]) -> dict[str, Staged]:
    """Find tables without a row beside behaviour that has some; they go for tables not brought.

    Whoever begins has no departures or payments yet: their table cannot be told from a faulty
    export, and nothing may be computed from it as if it had a history.
    """
    empty = {
        name: table
        for name, table in staged.items()
        if name != "customers" and not table.rejected and not _rows_of_source(con, table)
    }
    return empty if any(name in staged and name not in empty for name in BEHAVIOUR) else {}


def _rows_of_source(con: Any, table: Staged) -> int:
    if table.log is not None:
        return table.log.rows
    ((count,),) = rows_of(con, f"SELECT count(*) FROM {table.relation}")
    return int(count)


def _one_currency(con: Any, payments: Staged | None, currency: str | None) -> str | None:
    """Refuse a mix of currencies, or one that is not the configured one."""
    if payments is None or not payments.has("currency"):
        return currency
    found = rows_of(
        con,
        f"SELECT upper(currency), count(*) FROM {payments.relation} WHERE currency IS NOT NULL "
        "GROUP BY 1 ORDER BY 2 DESC, 1",
    )
    told = some(f"{name} {count:,}" for name, count in found)
    if len(found) > 1:
        raise TableError(
            f"table 'payments': amounts come in {len(found)} currencies ({told} rows); expected "
            f"one{f', {currency}' if currency else ''}. Convert them with `query`; they are never "
            "added up"
        )
    if found and currency is not None and found[0][0] != currency:
        raise TableError(
            f"table 'payments': amounts are in {told} rows, but the configured currency is "
            f"{currency}. Set currency: {found[0][0]}, or convert them with `query`"
        )
    return found[0][0] if found else currency


def _reach(
    con: Any, staged: dict[str, Staged], asked: date | None, today: date
) -> tuple[date, date, list[Finding]]:
    """Find the newest believable day, the last day to read, and what to say about it."""
    days: list[tuple[date, int]] = []
    starts: list[tuple[date, int]] = []
    for name, table in staged.items():
        for column in table.columns:
            spec = SPECS[name].column(column)
            if spec.kind != "instant":
                continue
            is_start = (name, column) in (("subscriptions", "started_at"), ("costs", "date"))
            if not spec.happened and not is_start:
                continue
            some_rows = ""
            if table.log is not None:
                first = (date.fromisoformat(FIRST_DAY) - EPOCH).days
                days += [
                    (EPOCH + timedelta(days=day), count)
                    for day, count in table.log.plain_days(column).items()
                    if first <= day < LAST_DAY
                ]
                if not table.log.has_oddities:
                    continue
                spans = [f"_row BETWEEN {low} AND {high}" for low, high in table.log.odd_spans]
                some_rows = f" AND ({' OR '.join(spans)})"
            found = rows_of(
                con,
                f"SELECT CAST({quoted(column)} AS DATE), count(*) FROM {table.relation} "
                f"WHERE _bad IS NULL AND {quoted(column)} >= TIMESTAMP '{FIRST_DAY}' "
                f"AND {quoted(column)} < TIMESTAMP '9000-01-01'{some_rows} "
                "GROUP BY 1",
            )
            (starts if is_start else days).extend(found)
    reach = newest_day(days or starts, today)
    if reach is None:
        if asked is None:
            problems = [
                f"{name}: {count:,} of {total:,} rows {reason or 'are usable'}"
                for name, table in staged.items()
                if table.relation
                for reason, count, total in rows_of(
                    con,
                    "SELECT _bad, count(*), sum(count(*)) OVER () FROM "
                    f"{table.relation} GROUP BY 1 ORDER BY 2 DESC LIMIT 3",
                )
            ]
            raise TableError(
                "no table holds a usable row with a date; found "
                f"{some(problems) if problems else 'only empty tables'}. Check the mapping and "
                "datetime_format, or export again"
            )
        reach = asked
    until = asked or reach
    how = []
    if asked is None:
        source = (
            "the newest start of a subscription or cost"
            if not days
            else ("the newest recorded_at or event of any source")
        )
        how.append(
            Finding(
                "",
                "",
                "advice",
                0,
                f"The data reach to {until}: {source}.",
                todo="Set data_until when the export was made on another day.",
            )
        )
    elif asked > reach + timedelta(days=13):
        how.append(
            Finding(
                "",
                "",
                "warning",
                (asked - reach).days,
                f"data_until is {asked}, but the newest row of any source is of {reach}.",
                todo="Export again, or set data_until to the day of the export.",
            )
        )
    return max(reach, until), until, how


def _derive_customers(con: Any, staged: dict[str, Staged], reach: date, until: date) -> None:
    """Make customers from the behaviour tables: first seen is signed up."""
    end = f"TIMESTAMP '{until + timedelta(days=1)}'"
    parts = []
    for name, table in staged.items():
        if name not in BEHAVIOUR:
            continue
        time, rows, bad = table.spec.time, table.relation, "_bad"
        if isinstance(table.log, ServerLog):
            con.register(f"early_{name}", table.log.seen_until(end))
            time, rows, bad = "first_at", f"early_{name}", "NULL"
        elif (
            table.log is not None
            and not table.log.has_oddities
            and max(table.log.days(str(time)), default=0) <= (until - EPOCH).days
        ):
            time, rows, bad = "first_at", f"seen_{name}", "NULL"
        parts.append(
            f"SELECT {table.spec.customer} AS customer_id, {time} AS seen_at "
            f"FROM {rows} WHERE {bad} IS NULL AND {time} < {end} "
            f"AND {time} >= TIMESTAMP '{FIRST_DAY}'"
        )
    con.execute(
        "CREATE TABLE customers AS SELECT customer_id, min(seen_at) AS signed_up_at FROM "
        f"({' UNION ALL '.join(parts)}) GROUP BY 1 ORDER BY 1"
    )
    con.execute("CREATE TABLE sign_ups (customer_id VARCHAR, signed_up_at TIMESTAMP)")


def _fill_first_seen(con: Any, staged: dict[str, Staged]) -> None:
    """Give customers without signed_up_at the day of their first behaviour.

    What was brought stays in ``sign_ups``: first seen is known from the behaviour only.
    """
    if not staged["customers"].has("signed_up_at"):
        con.execute("ALTER TABLE customers ADD COLUMN signed_up_at TIMESTAMP")
    parts = " UNION ALL ".join(
        f"SELECT customer_id, first_at AS seen_at FROM seen_{name}"
        if staged[name].log is not None
        else f"SELECT customer_id, {SPECS[name].time} AS seen_at FROM {name}"
        for name in BEHAVIOUR
        if name in staged
    )
    stamp = ", recorded_at" if staged["customers"].has("recorded_at") else ""
    con.execute(f"CREATE TABLE sign_ups AS SELECT customer_id, signed_up_at{stamp} FROM customers")
    if not rows_of(con, "SELECT 1 FROM customers WHERE signed_up_at IS NULL LIMIT 1"):
        return
    con.execute(
        "UPDATE customers SET signed_up_at = seen.first_at FROM (SELECT customer_id, "
        "min(seen_at) AS first_at "
        f"FROM ({parts}) GROUP BY 1) seen WHERE customers.customer_id = seen.customer_id "
        "AND customers.signed_up_at IS NULL"
    )


def _newest(
    con: Any, columns: dict[str, tuple[str, ...]], logs: AnyMapping[str, EventLog | ServerLog]
) -> dict[str, date]:
    """Find the day of each table's newest event or recorded_at."""
    newest = {}
    for name, present in columns.items():
        moments = [
            one.name
            for one in SPECS[name].columns
            if one.kind == "instant"
            and one.name in present
            and (one.happened or one.name == SPECS[name].time)
        ]
        if not moments:
            continue
        if name in logs and not len(logs[name].aside):
            day_number = max(max(logs[name].days(moment), default=0) for moment in moments)
            newest[name] = EPOCH + timedelta(days=day_number)
            continue
        asked = ", ".join(f"max({quoted(moment)})" for moment in moments)
        days = f"CAST(greatest({asked}) AS DATE)" if len(moments) > 1 else f"CAST({asked} AS DATE)"
        (day,) = rows_of(con, f"SELECT {days} FROM {name}")[0]
        if day is not None:
            newest[name] = day
    return newest


def _fingerprint(con: Any, name: str, judge: Judge) -> str:
    """Hash a table's rows, whatever their order: 16 hexadecimal digits."""
    if name not in judge.seen:
        see(con, name, name if name == "customers" else f"held_{name}")
    total, count = rows_of(
        con,
        f"SELECT CAST(coalesce(sum(added), 0) AS VARCHAR), coalesce(sum(many), 0) FROM seen_{name}",
    )[0]
    return f"{(int(total) + int(count) * 0x9E3779B97F4A7C15) % 2**64:016x}"
