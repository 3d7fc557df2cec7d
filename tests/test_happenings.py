"""What happened to each customer, as a weekly run leaves it for the review page."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import duckdb
import pandas as pd
import pytest

from retain.jobs.happenings import write_happenings

AS_OF = dt.date(2026, 11, 15)


@pytest.fixture
def company():
    """Tables as they are after reading: ids are text, instants are naive."""
    con = duckdb.connect()
    con.execute(
        """
        CREATE TABLE customers AS SELECT 'C1' AS customer_id;
        CREATE TABLE interactions (customer_id VARCHAR, interaction_id VARCHAR,
            opened_at TIMESTAMP, channel VARCHAR, topic VARCHAR, recorded_at TIMESTAMP);
        INSERT INTO interactions VALUES
            ('C2', 'T1', '2026-11-15 23:59', 'phone', 'bug', NULL),
            ('C1', 'T2', '2026-11-16 00:00', 'phone', 'bug', NULL),
            ('C1', 'T3', '2026-11-10 09:00', NULL, 'price', '2026-11-15 10:00'),
            ('C1', 'T4', '2026-11-10 09:00', 'chat', 'price', '2026-11-16 10:00'),
            ('C1', 'T5', '2025-11-16 09:00', 'chat', 'old', NULL);
        CREATE TABLE surveys (customer_id VARCHAR, kind VARCHAR, score DOUBLE,
            sent_at TIMESTAMP, answered_at TIMESTAMP, comment VARCHAR);
        INSERT INTO surveys VALUES
            ('C1', 'nps', 3, '2026-11-01', '2026-11-09', '=1+1 <script>'),
            ('C1', 'nps', NULL, '2026-11-01', NULL, NULL);
        """
    )
    columns = {
        name: set(con.sql(f"SELECT * FROM {name} LIMIT 0").columns)
        for (name,) in con.execute("SHOW TABLES").fetchall()
    }

    def has(table, *names):
        return table in columns and set(names) <= columns[table]

    yield SimpleNamespace(tables=SimpleNamespace(con=con, has=has))
    con.close()


def test_what_was_known_by_the_evening_is_there_and_nothing_later(company, tmp_path):
    path = tmp_path / "it's a timeline.parquet"
    write_happenings(company, AS_OF, path)
    rows = pd.read_parquet(path)

    assert [
        ("C1", "2026-11-09", "survey", "nps", 3.0),
        ("C1", "2026-11-10", "contact", "contact", None),
        ("C2", "2026-11-15", "contact", "phone", None),
    ] == [
        (r.customer_id, str(r.at)[:10], r.kind, r.what, None if pd.isna(r.amount) else r.amount)
        for r in rows.itertuples()
    ]
    assert ["=1+1 <script>", "price", "bug"] == rows["detail"].tolist()


def test_the_same_tables_give_the_same_bytes_in_any_order(company, tmp_path):
    write_happenings(company, AS_OF, tmp_path / "one.parquet")
    con = company.tables.con
    con.execute("CREATE TABLE turned AS SELECT * FROM interactions ORDER BY interaction_id DESC")
    con.execute("DROP TABLE interactions; ALTER TABLE turned RENAME TO interactions")
    write_happenings(company, AS_OF, tmp_path / "two.parquet")

    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_company_without_any_events_gets_an_empty_file(company, tmp_path):
    company.tables.has = lambda *_: False
    write_happenings(company, AS_OF, tmp_path / "none.parquet")

    assert 0 == len(pd.read_parquet(tmp_path / "none.parquet"))
