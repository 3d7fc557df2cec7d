"""Which rows are set aside, and the account that shows that none is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from retain.errors import TableError
from retain.tables.eventlog import EventLog
from retain.tables.mapping import Counts
from retain.tables.server import ServerLog
from retain.tables.sources import PART, ROW, explain, one_thread
from retain.tables.spec import SPECS
from retain.tables.sql import quoted, rows_of, word
from retain.tables.staging import Staged

__all__ = ["FIRST_DAY", "Judge", "see"]

FIRST_DAY = "1971-01-01"
OPEN_ENDED = "2200-01-01"


class Judge:
    """Sets rows aside against the export day and the known customers, and keeps the account."""

    def __init__(self, con: Any, reach: date, until: date) -> None:
        self.con = con
        self.reach = f"TIMESTAMP '{reach + timedelta(days=1)}'"
        self.until = f"TIMESTAMP '{until + timedelta(days=1)}'"
        self.later: dict[tuple[str, str], int] = {}
        self.stamps: dict[tuple[str, str], dict[int, int]] = {}
        self.equal: dict[str, int] = {}
        self.odd: dict[str, int] = {}
        self.odd_values: dict[str, tuple[str, ...]] = {}
        self.open_ended = 0
        self.seen: set[str] = set()  # tables of which `see` has told who is there

    def settle(self, table: Staged) -> Counts:
        """Turn ``staged_<table>`` into the table itself; what is set aside goes to quarantine."""
        name = table.spec.name
        if isinstance(table.log, ServerLog):
            return self._settle_server(table, table.log)
        if table.log is not None:
            return self._settle_log(table, table.log)
        reason, unknown = self._reason(table), self._unknown(table)
        total = rows_of(self.con, f"SELECT count(*) FROM {table.relation}")[0][0]
        self.con.execute(
            f"CREATE TABLE reasons_{name} AS SELECT _row AS n, {reason} AS reason "
            f"FROM {table.relation} WHERE ({reason}) IS NOT NULL"
        )
        if unknown and not self._knows_all(table):
            self.con.execute(
                f"INSERT INTO reasons_{name} SELECT _row, 'unknown customer' FROM {table.relation} "
                f"WHERE {unknown} AND _row NOT IN (SELECT n FROM reasons_{name})"
            )
        self._repeats(table)
        aside = self._account(name)
        if aside:
            self._keep_aside(table, f"SELECT n, reason FROM reasons_{name}")
            self.con.execute(
                f"DELETE FROM {table.held} WHERE _row IN (SELECT n FROM reasons_{name})"
            )
        for number, (line, text, why) in enumerate(table.rejected):
            if number == 0:
                aside["line cannot be read"] = len(table.rejected)
            self.con.execute(
                "INSERT INTO quarantine VALUES (?, 'line cannot be read', ?, "
                "json_object('line', ?, 'problem', ?))",
                [name, line, text, why],
            )
        self.con.execute(f"DROP TABLE reasons_{name}")
        self._count_oddities(table)
        if (self._not_yet(table) or aside) and name in self.seen:
            self.seen.remove(name)
            self.con.execute(f"DROP TABLE seen_{name}")
        helpers = [
            column
            for (column,) in rows_of(self.con, f"SELECT column_name FROM (DESCRIBE {table.held})")
            if column not in table.kept
        ]
        self.con.execute(f"DROP VIEW {table.relation}")
        for column in helpers:
            self.con.execute(f"ALTER TABLE {table.held} DROP COLUMN {quoted(column)}")
        if name == "customers":  # gets a column more
            self.con.execute(f"ALTER TABLE {table.held} RENAME TO {name}")
        else:
            self.con.execute(f"CREATE VIEW {name} AS SELECT {table.shown} FROM {table.held}")
        used = rows_of(self.con, f"SELECT count(*) FROM {name}")[0][0]
        return Counts(total + len(table.rejected), used, aside)

    def _settle_log(self, table: Staged, log: EventLog) -> Counts:
        """Make the table a view of a long log's files, without the rows set aside."""
        name = table.spec.name
        asked = "SELECT DISTINCT customer_id FROM customers"
        known = self.con.sql(asked).to_arrow_table()["customer_id"].to_pylist()
        odd = log.odd_parts(known, self._limit(self.until))
        self.con.execute(f"CREATE TABLE reasons_{name} (n BIGINT, reason VARCHAR)")
        if odd:
            reason = self._reason(table, self._unknown(table))
            spans = " OR ".join(
                f"_row BETWEEN {first} AND {last}" for first, last in map(log.rows_of_part, odd)
            )
            self.con.execute(
                f"INSERT INTO reasons_{name} SELECT _row, {reason} FROM {table.relation} "
                f"WHERE ({spans}) AND ({reason}) IS NOT NULL"
            )
        if table.has_id:
            self._repeats(table)
        aside = self._account(name)
        without = ""
        if aside:
            self._keep_aside(table, f"SELECT n, reason FROM reasons_{name}")
            without = f" WHERE _row NOT IN (SELECT n FROM reasons_{name})"
            found = self.con.sql(f"SELECT n FROM reasons_{name} ORDER BY n").fetchnumpy()["n"]
            log.set_aside(found)
            kept = "SELECT customer_id, min(occurred_at) AS first_at, max(occurred_at) AS last_at"
            self.con.execute(
                f"CREATE OR REPLACE TABLE seen_{name} AS {kept} FROM {table.relation}{without} "
                "GROUP BY 1"
            )
        listed = ", ".join(quoted(column) for column in table.kept)
        self.con.execute(f"CREATE VIEW {name} AS SELECT {listed} FROM {table.relation}{without}")
        for column, theirs in table.columns.items():
            if table.spec.column(column).kind == "instant":
                how = 3 if table.source.types[theirs].upper() == "DATE" else 1
                there = log.there(column)
                if aside:
                    asked = f"SELECT count({quoted(column)}) FROM {name}"
                    ((there,),) = rows_of(self.con, asked)
                self.stamps[name, column] = {how: there} if there else {}
        if not table.has_id:
            self.equal[name] = log.equal_rows()
        return Counts(log.rows, log.rows - sum(aside.values()), aside)

    def _settle_server(self, table: Staged, log: ServerLog) -> Counts:
        """Judge a log where it lies; only what is set aside comes over."""
        name = table.spec.name
        known = {who for (who,) in rows_of(self.con, "SELECT customer_id FROM customers")}
        unknown = log.ids() - known
        reason = self._reason(table, "customer_id IN (SELECT customer_id FROM unknown)")
        aside, rows = log.settle(reason, unknown)
        if aside:
            self.con.register("aside_rows", rows)
            self.con.execute(
                f"INSERT INTO quarantine SELECT {word(name)}, _why, NULL, {table.source.as_json} "
                "FROM aside_rows"
            )
            self.con.unregister("aside_rows")
        self.con.register(name, log)
        self.con.register("seen_arrow", log.seen())
        self.con.execute(f"CREATE OR REPLACE TABLE seen_{name} AS SELECT * FROM seen_arrow")
        self.con.unregister("seen_arrow")
        for column, theirs in table.columns.items():
            if table.spec.column(column).kind == "instant":
                kind = table.source.types[theirs]
                how = 3 if kind == "DATE" else 2 if kind.endswith("ZONE") else 1
                there = log.there(column)
                self.stamps[name, column] = {how: there} if there else {}
        if not table.has_id:
            self.equal[name] = log.equal_rows()
        return Counts(log.rows, log.rows - sum(aside.values()), aside)

    @staticmethod
    def _limit(moment: str) -> int:
        day = date.fromisoformat(moment.removeprefix("TIMESTAMP '")[:10])
        return (day - date(1970, 1, 1)).days

    def _count_oddities(self, table: Staged) -> None:
        """Count how stamps were written and how many rows equal an earlier one."""
        name, relation = table.spec.name, table.relation
        for column in table.columns:
            kind = table.source.types[table.columns[column]].upper()
            if table.spec.column(column).kind != "instant":
                continue
            if table.writes_stamps_as_text(column):
                stamp = quoted("_z_" + column)
                found = rows_of(
                    self.con,
                    f"SELECT {stamp}, count(*) FROM {relation} WHERE {quoted(column)} IS NOT NULL "
                    "GROUP BY 1 ORDER BY 1",
                )
                self.stamps[name, column] = {int(how): count for how, count in found}
            else:
                there = rows_of(self.con, f"SELECT count({quoted(column)}) FROM {relation}")[0][0]
                how = 3 if kind == "DATE" else 2 if "ZONE" in kind or kind.endswith("TZ") else 1
                self.stamps[name, column] = {how: there} if there else {}
        if name == "customers":
            listed = rows_of(self.con, f"SELECT column_name FROM (DESCRIBE {relation})")
            odd = [column for (column,) in listed if column.startswith("_odd_")]
            if odd:
                asked = ", ".join(f"count(*) FILTER ({quoted(column)})" for column in odd)
                (counts,) = rows_of(self.con, f"SELECT {asked} FROM {relation}")
                self.odd = {c.removeprefix("_odd_"): n for c, n in zip(odd, counts, strict=True)}
                self.odd_values = {
                    column: self._odd_values(table, column) for column, n in self.odd.items() if n
                }
        elif not table.has_id:
            self.equal[name] = rows_of(
                self.con, f"SELECT count(*) - count(DISTINCT _hash) FROM {relation}"
            )[0][0]

    def _odd_values(self, table: Staged, column: str) -> tuple[str, ...]:
        """Name up to five rows whose value cannot be used, each with it as it came."""
        with self._read_again(table):
            found = rows_of(
                self.con,
                f"SELECT {ROW} % {PART} + 1, CAST({quoted(table.columns[column])} AS VARCHAR) FROM "
                f"{quoted(table.source.view)} WHERE {ROW} IN (SELECT _row FROM {table.relation} "
                f"WHERE {quoted('_odd_' + column)}) ORDER BY {ROW} LIMIT 5",
            )
        return tuple(f"row {row}: {value}" for row, value in found)

    @contextmanager
    def _read_again(self, table: Staged) -> Iterator[None]:
        try:
            with one_thread(self.con, table.source.is_ordered_only):
                yield
        except duckdb.Error as problem:
            raise TableError(
                f"table {table.spec.name!r}: {table.source.origin} was read once but not again: "
                f"{explain(problem)}"
            ) from None

    def _reason(self, table: Staged, unknown: str = "") -> str:
        """Write why a row is set aside, or null; `unknown` says that nobody knows the customer."""
        spec = table.spec
        told = [("_bad", "_bad IS NOT NULL")]
        for column in table.columns:
            one = spec.column(column)
            if one.kind != "instant":
                continue
            is_main = column in (spec.time, "signed_up_at") or (
                spec.name == "surveys" and column == "sent_at"
            )
            if one.happened:
                limit = self.until if is_main or column == "recorded_at" else self.reach
                if spec.name == "surveys" and column == "answered_at" and table.has("sent_at"):
                    limit = self.reach
                why = (
                    "recorded after the export"
                    if column == "recorded_at"
                    else ("dated after the export")
                )
                told.append((word(why), f"{quoted(column)} >= {limit}"))
            if column == spec.time and spec.name != "customers":
                told.append(
                    (word("dated before 1971"), f"{quoted(column)} < TIMESTAMP '{FIRST_DAY}'")
                )
        if unknown:
            told.append((word("unknown customer"), unknown))
        return "CASE " + " ".join(f"WHEN {sql} THEN {why}" for why, sql in told) + " END"

    def _unknown(self, table: Staged) -> str:
        """Write that nobody knows a row's customer; empty where none is named."""
        known = "(SELECT customer_id FROM customers)"
        if table.spec.name == "costs" and table.has("customer_id"):
            return f"customer_id IS NOT NULL AND customer_id NOT IN {known}"
        if table.spec.name == "customers" or table.spec.customer is None:
            return ""
        return f"{quoted(table.spec.customer)} NOT IN {known}"

    def _knows_all(self, table: Staged) -> bool:
        """Tell whether no row is set aside so far and all who are named are customers.

        Who is named in a table without a fault is asked for later anyway.
        """
        name = table.spec.name
        if table.spec.customer is None or rows_of(self.con, f"FROM reasons_{name} LIMIT 1"):
            return False
        see(self.con, name, table.held)
        self.seen.add(name)
        strangers = f"FROM seen_{name} WHERE customer_id NOT IN (SELECT customer_id FROM customers)"
        return not rows_of(self.con, f"{strangers} LIMIT 1")

    def _repeats(self, table: Staged) -> None:
        """Set aside repeated ids, repeated customers and, when asked to, equal rows."""
        spec = table.spec
        if spec.name == "customers":
            has_history = table.has("valid_from") or table.has("recorded_at")
            moments = [c for c in ("valid_from", "recorded_at") if table.has(c)]
            keys = ["customer_id", *(moments if has_history else [])]
            why = "repeated customer_id" + (" at one moment" if has_history else "")
        elif table.has_id:
            keys, why = [str(spec.id_column)], f"repeated {spec.id_column}"
        elif table.mapping.drop_equal_rows:
            keys, why = ["_hash", *table.kept], "equal to an earlier row"
        else:
            return
        key = ", ".join(quoted(one) for one in keys)
        if table.has_id and not self._has_repeats(table, key):
            return
        there = f"AND {quoted(keys[0])} IS NOT NULL" if table.has_id else ""
        self.con.execute(
            f"INSERT INTO reasons_{spec.name} SELECT n, {word(why)} FROM (SELECT _row AS n, "
            f"row_number() OVER (PARTITION BY {key} ORDER BY _row) AS place FROM {table.relation} "
            f"WHERE _row NOT IN (SELECT n FROM reasons_{spec.name}) {there}) WHERE place > 1"
        )

    def _has_repeats(self, table: Staged, key: str) -> bool:
        """Tell whether any id occurs twice: counting them is cheaper than putting rows in order."""
        if table.log is None:  # cheaper still, and small beside the table: all hashes differ
            one = key if table.spec.id_column in table.whole else f"hash({key})"
            asked = f"SELECT {one} AS h FROM {table.held} WHERE {key} IS NOT NULL"
            if _all_differ(self.con.sql(asked).to_arrow_table()["h"].to_numpy()):
                return False
        ((there, different),) = rows_of(
            self.con, f"SELECT count({key}), count(DISTINCT {key}) FROM {table.relation}"
        )
        return bool(there > different)

    def _account(self, name: str) -> dict[str, int]:
        return dict(
            rows_of(
                self.con,
                f"SELECT reason, count(*) FROM reasons_{name} GROUP BY 1 ORDER BY 2 DESC, 1",
            )
        )

    def _keep_aside(self, table: Staged, reasons: str) -> None:
        """Copy the rows set aside, as they came, to quarantine."""
        with self._read_again(table):
            self.con.execute(
                f"INSERT INTO quarantine SELECT {word(table.spec.name)}, _why, "
                f"{ROW} % {PART} + 1, {table.source.as_json} "
                f"FROM {quoted(table.source.view)} JOIN (SELECT n AS _place, reason AS _why "
                f"FROM ({reasons}) WHERE reason IS NOT NULL) ON {ROW} = _place"
            )

    def _not_yet(self, table: Staged) -> bool:
        """Forget what happened after the last day to read, such as a later answer or resolution.

        Tells whether there was anything.
        """
        spec, has_changed = table.spec, False
        if spec.name == "subscriptions" and table.has("ended_at"):
            where = f"ended_at >= TIMESTAMP '{OPEN_ENDED}'"  # 9999-12-31 and its like
            self.open_ended = rows_of(
                self.con, f"SELECT count(*) FROM {table.relation} WHERE {where}"
            )[0][0]
            if self.open_ended:
                has_changed = True
                self.con.execute(f"UPDATE {table.held} SET ended_at = NULL WHERE {where}")
        for column in table.columns:
            one = spec.column(column)
            if one.kind != "instant" or not one.happened:
                continue
            where = f"{quoted(column)} >= {self.until}"
            count = rows_of(self.con, f"SELECT count(*) FROM {table.relation} WHERE {where}")[0][0]
            if count:
                also = [c for c in ("score", "comment") if column == "answered_at" and table.has(c)]
                sets = ", ".join(f"{quoted(c)} = NULL" for c in (column, *also))
                self.con.execute(f"UPDATE {table.held} SET {sets} WHERE {where}")
                self.later[(spec.name, column)] = count
                has_changed = True
        return has_changed


def _all_differ(numbers: NDArray[Any]) -> bool:
    """Tell whether no number occurs twice."""
    low, high = (int(edge(numbers)) for edge in (np.min, np.max)) if len(numbers) else (0, 0)
    if high - low < numbers.nbytes:  # faster than sorting, in no more room
        met = np.zeros(high - low + 1, dtype=bool)
        met[numbers - low] = True
        return bool(np.count_nonzero(met) == len(numbers))
    numbers = np.sort(numbers)
    return not (numbers[1:] == numbers[:-1]).any()


def see(con: Any, name: str, relation: str) -> None:
    """Lay out ``seen_<table>``: who is in a table, and what is there of each.

    Per customer the first and last moment, how many rows, and the sum of their hashes; `key` is
    the customer as the rows have it.

    Parameters
    ----------
    con
        The work database.
    name, relation
        The table, and what holds its rows; columns that begin with _ do not count.
    """
    spec = SPECS[name]
    listed = [
        quoted(column)
        for (column,) in rows_of(con, f"SELECT column_name FROM (DESCRIBE {relation})")
        if not column.startswith("_")
    ]
    is_timed = spec.time is not None and quoted(spec.time) in listed
    moment = quoted(str(spec.time)) if is_timed else "CAST(NULL AS TIMESTAMP)"
    con.execute(
        f"CREATE TABLE seen_{name} AS SELECT CAST(key AS VARCHAR) AS customer_id, * FROM "
        f"(SELECT {spec.customer or 'NULL'} AS key, "
        f"min({moment}) AS first_at, max({moment}) AS last_at, count(*) AS many, "
        f"sum(hash({', '.join(listed)})) AS added FROM {relation} GROUP BY 1)"
    )
