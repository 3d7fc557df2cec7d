"""Usage on a PostgreSQL server: checked and folded there, equal to the embedded engine's."""

from __future__ import annotations

import uuid
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from postgres import fresh_database
from test_long_log import CALENDAR, dirty, events, people, same_folds

from retain.engines import Address
from retain.errors import TableError
from retain.tables import Mapping, read_tables
from retain.tables.news import read_news
from retain.weeks import fold_tables

TYPES = {
    "customer_id": "bigint",
    "occurred_at": "timestamp",
    "recorded_at": "timestamp",
    "feature": "text",
    "quantity": "integer",
    "duration_s": "double precision",
    "user_id": "bigint",
    "points": "numeric(12,3)",
}


@pytest.fixture
def server(postgres):
    """The address of an empty database."""
    return fresh_database(postgres, f"u{uuid.uuid4().hex}")


def put(server, frame, name="usage", **types):
    """Write a frame into a table of the server's."""
    import psycopg

    kinds = {column: types.get(column, TYPES.get(column, "text")) for column in frame.columns}
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    with psycopg.connect(server) as connection, connection.cursor() as cursor:
        columns = ", ".join(f'"{column}" {kind}' for column, kind in kinds.items())
        cursor.execute(f'CREATE TABLE IF NOT EXISTS "{name}" ({columns})')
        with cursor.copy(f'COPY "{name}" FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
    return f"{server}::{name}"


def read(source, *, timezone="UTC", customers=None, query=None, **more):
    mappings = {"usage": Mapping(source=source, query=query, measures=("points",), **more)}
    if customers is not False:
        mappings["customers"] = Mapping(source=people() if customers is None else customers)
    return read_tables(mappings, timezone=timezone, currency="EUR", today=date(2026, 6, 1))


def told(tables):
    return [(f.table, f.column, f.severity, f.count, f.message) for f in tables.findings]


def same_reads(there, here):
    assert there.counts == here.counts
    assert there.data_until == here.data_until
    assert there.newest == here.newest
    assert told(there) == told(here)


@pytest.mark.parametrize("kind", ["plain", "recorded", "derived", "zone"])
def test_usage_on_a_server_folds_to_the_rows_of_the_embedded_engine(server, kind):
    frame = events()
    timezone, customers, types = "UTC", None, {}
    if kind == "recorded":
        late = np.random.default_rng(2).integers(0, 20, len(frame)) ** 2 // 20
        frame["recorded_at"] = frame["occurred_at"] + pd.to_timedelta(late, "D")
        frame = frame[frame["recorded_at"] < datetime(2026, 3, 28)].reset_index(drop=True)
        frame.loc[::7, "recorded_at"] = None
    if kind == "derived":
        customers = False
    if kind == "zone":
        timezone = "America/New_York"
        frame["occurred_at"] = frame["occurred_at"].dt.tz_localize("UTC")
        types = {"occurred_at": "timestamptz"}
    source = put(server, frame, **types)
    top = ("f01", "f02", "gone")

    with (
        read(source, timezone=timezone, customers=customers) as there,
        read(frame, timezone=timezone, customers=customers) as here,
    ):
        same_reads(there, here)
        folds = [fold_tables(one, CALENDAR, top_features=top) for one in (there, here)]
        assert there.logs["usage"].rows_fetched == 0  # no event came over
    same_folds(*folds, numbered=())


def test_rows_are_set_aside_there_and_come_over_with_their_reasons(server):
    frame = dirty(events(800))
    frame["event_id"] = [f"e{number}" for number in range(len(frame))]
    frame.loc[20:22, "event_id"] = "e19"
    frame = pd.concat([frame, frame.iloc[30:33]], ignore_index=True)
    source = put(server, frame)

    with read(source) as there, read(frame) as here:
        assert there.counts == here.counts
        assert there.counts["usage"].set_aside["repeated event_id"] == 6
        asked = "SELECT reason, count(*) FROM quarantine GROUP BY 1 ORDER BY 1"
        assert there.con.sql(asked).fetchall() == here.con.sql(asked).fetchall()
        raw = there.con.sql("SELECT row_json FROM quarantine WHERE reason = 'negative quantity'")
        assert '"quantity":-1' in raw.fetchall()[0][0]
        folds = [fold_tables(one, CALENDAR) for one in (there, here)]
        assert there.logs["usage"].rows_fetched == 0
    same_folds(*folds, numbered=())


def test_only_changed_weeks_travel_again(server, tmp_path, monkeypatch):
    frame = events()
    source = put(server, frame)
    folded = []

    def fold(store):
        with read(source) as tables:
            log = tables.logs["usage"]
            asked = log.arrow

            def counted(query, **parts):
                found = asked(query, **parts)
                if "bit_or" in query and "GROUP BY customer_id, week" in query:
                    folded.append(sorted(set(found["week"].to_pylist())))
                return found

            monkeypatch.setattr(log, "arrow", counted)
            return fold_tables(tables, CALENDAR, store=store)

    first = fold(tmp_path)
    again = fold(tmp_path)
    late = frame.iloc[[100]].assign(quantity=5)  # a row more in the first week
    put(server, late)
    third = fold(tmp_path)

    assert len(folded) == 2  # an unchanged log is not folded again
    assert len(folded[0]) == 12
    assert folded[1] == folded[0][:1]
    same_folds(first, again, numbered=())
    same_folds(third, fold(None), numbered=())


def test_a_query_runs_on_the_server(server):
    frame = events(500)
    put(server, frame.assign(kept=frame["quantity"] > 3), kept="boolean")
    query = "SELECT * FROM usage WHERE kept"

    with read(server, query=query) as there, read(frame[frame["quantity"] > 3]) as here:
        assert there.counts == here.counts
        folds = [fold_tables(one, CALENDAR) for one in (there, here)]
    same_folds(*folds, numbered=())


def test_a_log_whose_types_are_not_plain_is_copied_and_says_so(server):
    frame = events(300).assign(occurred_at=lambda rows: rows["occurred_at"].astype("str"))
    source = put(server, frame, occurred_at="text")

    with read(source) as tables:
        assert tables.counts["usage"].used == 300
        (finding,) = [f for f in tables.findings if "All rows come over" in f.message]
        assert "column 'occurred_at' for occurred_at" in finding.message


def test_other_tables_come_over_and_are_checked_here(server):
    frame = events(300)
    address = put(server, people(), name="people", signed_up_at="timestamp", customer_id="numeric")

    with read(frame, customers=None) as here:
        expected = here.frame("customers")
    mappings = {
        "usage": Mapping(source=frame, measures=("points",)),
        "customers": Mapping(source=address),
    }
    with read_tables(mappings, timezone="UTC", currency="EUR", today=date(2026, 6, 1)) as there:
        found = there.frame("customers")
    pd.testing.assert_frame_equal(
        found.sort_values("customer_id", ignore_index=True),
        expected.sort_values("customer_id", ignore_index=True),
    )


def test_metrics_and_leak_checks_may_fetch_the_rows_once(server):
    frame = events(300)
    with read(put(server, frame)) as there, read(frame) as here:
        listed = "SELECT customer_id, occurred_at, feature, quantity FROM usage ORDER BY ALL"
        assert there.con.sql(listed).fetchall() == here.con.sql(listed).fetchall()
        assert there.con.sql("SELECT count(*) FROM usage").fetchall() == [(300,)]
        assert there.logs["usage"].rows_fetched == 300


def test_what_is_wrong_with_a_server_is_said_without_its_password(server, monkeypatch):
    monkeypatch.setenv("CRM_PASSWORD", "p@ss:word")
    with pytest.raises(TableError, match=r"cannot be read: .*no_such.* does not exist"):
        read(f"{server}::no_such")
    wrong = "postgresql://ann@127.0.0.1:1/crm::usage"
    with pytest.raises(TableError, match="cannot be opened") as problem:
        read(wrong, password_env="CRM_PASSWORD")
    assert "p@ss" not in str(problem.value)
    assert "p%40ss" not in str(problem.value)
    with pytest.raises(TableError, match="OTHER_PASSWORD, which is not set"):
        read(wrong, password_env="OTHER_PASSWORD")
    address = Address.of("postgresql://ann@db/crm::usage", "CRM_PASSWORD")
    assert address.with_password() == "postgresql://ann:p%40ss%3Aword@db/crm"
    assert "p@ss" not in repr(address)


def test_what_is_new_can_be_read_from_a_server(server):
    frame = events(300)
    source = put(server, frame)
    since, until = frame["occurred_at"].iloc[200], frame["occurred_at"].iloc[-1]
    mappings = {"usage": Mapping(source=source, measures=("points",))}

    moments = {"usage": since.to_pydatetime().replace(microsecond=0)}
    with read_news(mappings, moments, until.to_pydatetime(), timezone="UTC") as news:
        assert len(news.rows("usage")) == 100
