# ruff: noqa: E501 (the SQL reads better in whole lines)
"""Companies to measure on: their tables written once as Parquet, the same for the same numbers.

All randomness comes from hashes of what is drawn, so that neither threads nor order matter.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

FIRST_DAY = date(2024, 1, 1)  # a Monday; weeks end on Sundays
WEEKS_PER_FILE = 4


@dataclass(frozen=True)
class Size:
    """How big a company to make.

    Attributes
    ----------
    customers, weeks, events
        How many; of events about so many.
    whale
        Events that the first customer has beside its own.
    is_shuffled
        Whether the events of all weeks lie in all files, in no order.
    """

    customers: int
    weeks: int
    events: int
    whale: int = 0
    is_shuffled: bool = False

    @property
    def label(self) -> str:
        odd = f"+{self.whale}{'s' * self.is_shuffled}" if self.whale or self.is_shuffled else ""
        return f"{self.customers}x{self.weeks}x{self.events}{odd}"

    @property
    def last_day(self) -> date:
        return FIRST_DAY + timedelta(days=7 * self.weeks - 1)


SHUFFLED_INTO = 8  # files
SIZES = {
    "tiny": Size(600, 80, 200_000),
    "small": Size(4_000, 104, 2_500_000),
    "tenth": Size(10_000, 104, 5_000_000),
    "uneven": Size(10_000, 104, 5_000_000, whale=5_000_000, is_shuffled=True),
    "half": Size(100_000, 104, 25_000_000),  # as many customers, half the events
    "full": Size(100_000, 104, 50_000_000),
}
SCORED = {  # how often, and who: what is scored from stored weeks
    "tiny": (2, Size(400, 104, 20_000)),
    "small": (4, Size(10_000, 104, 250_000)),
    "full": (10, Size(100_000, 104, 2_500_000)),
}


def make_company(folder: Path, size: Size) -> Path:
    """Write the tables of a company below `folder`, unless they are there already."""
    home = folder / size.label
    if (home / "done").exists():
        return home
    (home / "usage").mkdir(parents=True, exist_ok=True)
    con = duckdb.connect(config={"threads": 2})
    con.execute("SET enable_progress_bar = false")
    con.execute("CREATE MACRO u(a, b) AS (hash(a, b) % 1000003)::DOUBLE / 1000003.0")
    con.execute(
        f"CREATE MACRO moment(day) AS TIMESTAMP '{FIRST_DAY}' + to_seconds((day*86400)::BIGINT)"
    )
    days = 7 * size.weeks
    con.execute(
        f"""CREATE TABLE person AS SELECT *, 1 + floor(u(no, 5) * u(no, 6) * 20)::INTEGER AS users
        FROM (SELECT no, CASE WHEN u(no, 8) < 0.6 THEN -floor(u(no, 9) * 800)
            ELSE floor(u(no, 1) * {days - 60}) END::INTEGER AS first,
          CASE WHEN u(no, 2) < 0.25 THEN floor(28 + u(no, 3) * {days - 28}) ELSE {days} END::INTEGER
            AS leaves, exp(2.2 * (u(no, 4) - 0.5) * 2) AS intensity FROM range({size.customers}) t(no))
        """
    )
    con.execute(f"UPDATE person SET leaves = least({days}, greatest(leaves, first + 28))")
    if size.whale:
        con.execute(f"UPDATE person SET first = -1, leaves = {days} WHERE no = 0")
    copy = "(FORMAT parquet, COMPRESSION zstd)"
    con.execute(
        f"""COPY (SELECT no AS customer_id, moment(first) AS signed_up_at, (['small', 'medium', 'large'])
        [1 + floor(u(no, 7) * 3)::INTEGER] AS segment FROM person) TO '{home}/customers.parquet' {copy}"""
    )
    con.execute(
        f"""COPY (SELECT no AS subscription_id, no AS customer_id, moment(first) AS started_at,
        CASE WHEN leaves < {days} THEN moment(leaves) END AS ended_at, 20 + floor(u(no, 31) * 300) AS mrr,
        (['basic', 'plus', 'pro'])[1 + floor(u(no, 32) * 3)::INTEGER] AS plan, 'monthly' AS
        billing_period FROM person) TO '{home}/subscriptions.parquet' {copy}"""
    )
    (per_day,) = con.execute(
        "SELECT sum(intensity * (leaves - greatest(first, 0))) FROM person"
    ).fetchone()
    rate = size.events / per_day
    last = size.weeks - 1  # the newest week comes in a file of its own
    for begin in [*range(0, last, WEEKS_PER_FILE), last]:
        con.execute(
            f"""COPY (WITH week AS (SELECT person.*, w, intensity * 7 * {rate} + CASE WHEN no = 0 THEN
              {size.whale / size.weeks} ELSE 0 END AS expected FROM person,
            range({begin}, {begin + 1 if begin == last else min(begin + WEEKS_PER_FILE, last)}) r(w)
            WHERE leaves > w * 7 AND first < w * 7 + 7),
            event AS (SELECT *, unnest(range(floor(expected + u(no, 1000 + w))::INTEGER)) AS k FROM week)
            SELECT no AS customer_id, moment(w * 7 + u(no * 1000 + k, 2000 + w) * 7) AS occurred_at,
              'f' || lpad(floor(pow(u(no * 1000 + k, 3000 + w), 3) * 40)::INTEGER::VARCHAR, 2, '0')
                AS feature,
              1 + floor(u(no * 1000 + k, 4000 + w) * 20)::INTEGER AS quantity,
              floor(u(no * 1000 + k, 5000 + w) * 900)::INTEGER AS duration_s,
              no * 100 + floor(pow(u(no * 1000 + k, 6000 + w), 2) * users)::INTEGER AS user_id
            FROM event ORDER BY occurred_at) TO '{home}/usage/{begin:03d}.parquet'
            (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 500000)"""
        )
    if size.is_shuffled:
        for part in range(SHUFFLED_INTO):
            mixed = "hash(occurred_at, customer_id, quantity)"
            con.execute(
                f"""COPY (SELECT * FROM '{home}/usage/*.parquet' WHERE {mixed} % {SHUFFLED_INTO} = {part}
                ORDER BY {mixed}) TO '{home}/shuffled_{part}.parquet' {copy}"""
            )
        for path in (home / "usage").glob("*.parquet"):
            path.unlink()
        for part in range(SHUFFLED_INTO):
            (home / f"shuffled_{part}.parquet").rename(home / "usage" / f"{part}.parquet")
    con.execute(
        f"""COPY (SELECT no AS interaction_id, customer_id, moment(d) AS opened_at,
        moment(d + 0.05 + u(no, 16)) AS first_response_at, CASE WHEN u(no, 17) < 0.97 THEN
        moment(d + 0.06 + u(no, 16) + 5 * u(no, 18)) END AS resolved_at,
        (['email', 'chat', 'phone', 'web'])[1 + floor(u(no, 15) * 4)::INTEGER] AS channel,
        (['billing', 'bug', 'howto', 'account', 'outage'])[1 + floor(u(no, 19) * 5)::INTEGER] AS topic,
        floor(u(no, 20) * 1.4)::INTEGER AS transfer_count, floor(u(no, 21) * 1.2)::INTEGER AS reopen_count,
        floor(5 + u(no, 22) * 60) AS handle_minutes FROM (SELECT t.no, p.no AS customer_id,
          greatest(first, 0) + (leaves - greatest(first, 0) - 7) * u(t.no, 11) AS d
          FROM range({size.customers * 5}) t(no) JOIN person p
          ON p.no = floor(u(t.no, 12) * {size.customers})::INTEGER % {size.customers})
        ORDER BY opened_at) TO '{home}/interactions.parquet' {copy}"""
    )
    con.execute(
        f"""COPY (SELECT customer_id, kind, CASE WHEN kind = 'nps' THEN floor(u(no, 26) * 11)
          WHEN kind = 'csat' THEN 1 + floor(u(no, 26) * 5) ELSE 1 + floor(u(no, 26) * 7) END AS score,
        moment(d) AS sent_at, moment(d + 3 * u(no, 27)) AS answered_at FROM (SELECT t.no, p.no AS customer_id,
          (['nps', 'csat', 'ces'])[1 + floor(u(t.no, 25) * 3)::INTEGER] AS kind,
          greatest(first, 0) + (leaves - greatest(first, 0) - 4) * u(t.no, 21) AS d
          FROM range({size.customers * 3}) t(no) JOIN person p
          ON p.no = floor(u(t.no, 22) * {size.customers})::INTEGER % {size.customers})
        ORDER BY answered_at) TO '{home}/surveys.parquet' {copy}"""
    )
    con.execute(
        f"""COPY (SELECT no * 1000 + row_number() OVER (PARTITION BY no ORDER BY d) AS payment_id,
        no AS customer_id, moment(d) AS paid_at, round(20 + u(no, 31) * 300, 2) AS amount,
        CASE WHEN u(no * 1000 + d, 33) < 0.02 THEN 'failed' ELSE 'paid' END AS status
        FROM (SELECT no, unnest(range(greatest(first, 0) + (no % 21), leaves, 21)) AS d FROM person)
        ORDER BY paid_at) TO '{home}/payments.parquet' {copy}"""
    )
    (home / "last_day").write_text(str(size.last_day))
    (home / "done").touch()
    return home


TIMES = {
    "customers": "signed_up_at",
    "subscriptions": "started_at",
    "payments": "paid_at",
    "interactions": "opened_at",
    "surveys": "answered_at",
}


def make_week_before(home: Path, size: Size) -> Path:
    """Write the exports as they were a week earlier; the files of the log are the same ones."""
    there = home / "week_by_week"
    (there / "usage").mkdir(parents=True, exist_ok=True)
    end = f"TIMESTAMP '{size.last_day - timedelta(days=6)}'"
    for name, time in TIMES.items():
        _copy(there / f"{name}.parquet", f"'{home}/{name}.parquet' WHERE {time} < {end}")
    *older, newest = sorted((home / "usage").glob("*.parquet"))
    (there / "usage" / newest.name).unlink(missing_ok=True)
    for path in older:
        if not (there / "usage" / path.name).exists():
            (there / "usage" / path.name).hardlink_to(path)
    return there


def bring_newest_week(home: Path, there: Path) -> None:
    """Bring what has arrived within the newest week: a file of the log, the other tables anew."""
    for name in TIMES:
        shutil.copy(home / f"{name}.parquet", there / f"{name}.parquet")
    newest = max((home / "usage").glob("*.parquet"))
    (there / "usage" / newest.name).hardlink_to(newest)


def make_slice(home: Path, size: Size, customers: int) -> Path:
    """Write a company of some of the customers."""
    there = home / f"slice_{customers}"
    if not (there / "done").exists():
        (there / "usage").mkdir(parents=True, exist_ok=True)
        mine = f"WHERE customer_id < {customers}"
        for name in TIMES:
            _copy(there / f"{name}.parquet", f"'{home}/{name}.parquet' {mine}")
        for path in sorted((home / "usage").glob("*.parquet")):
            _copy(there / "usage" / path.name, f"'{path}' {mine}")
        (there / "last_day").write_text(str(size.last_day))
        (there / "done").touch()
    return there


def _copy(path: Path, rows: str) -> None:
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT * FROM {rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
