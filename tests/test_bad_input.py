"""Bad input as companies bring it: each case has a clear answer, and no row is lost."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from retain.errors import TableError
from retain.tables import Mapping, Tables, read_tables, write_quarantine

TODAY = dt.date(2024, 12, 31)
DAYS = pd.date_range("2024-01-01", periods=30, freq="D")


def payments(**changed: Any) -> pd.DataFrame:
    """Thirty good payments of three customers, one a day; some columns replaced."""
    good = {
        "payment_id": [f"P{n}" for n in range(30)],
        "customer_id": ["a", "b", "c"] * 10,
        "paid_at": DAYS,
        "amount": 10.0,
    }
    return pd.DataFrame({**good, **changed})


def with_value(column: str, value: Any, row: int = 4) -> pd.DataFrame:
    """The good payments with one value replaced."""
    frame = payments().astype({column: object})
    frame.loc[row, column] = value
    return frame


def read(**tables: Any) -> Tables:
    """Read frames or mappings as they are."""
    mappings = {n: t if isinstance(t, Mapping) else Mapping(source=t) for n, t in tables.items()}
    return read_tables(mappings, timezone="Europe/Rome", currency="EUR", today=TODAY)


def told(tables: Tables, table: str, part: str) -> str:
    """The one finding of a table whose message holds a part."""
    found = [f for f in tables.findings if f.table == table and part in f.message]
    assert len(found) == 1, [f.message for f in tables.findings]
    return f"{found[0].severity}: {found[0].message} {found[0].todo}"


def events(**changed: Any) -> pd.DataFrame:
    """Thirty events of three customers."""
    good = {"customer_id": ["a", "b", "c"] * 10, "occurred_at": DAYS, "quantity": 1.0}
    return pd.DataFrame({**good, **changed})


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (with_value("customer_id", None), "missing customer_id"),
        (with_value("customer_id", "  "), "missing customer_id"),
        (with_value("customer_id", "NaN"), "missing customer_id"),
        (with_value("paid_at", None), "missing paid_at"),
        (with_value("paid_at", "soon"), "paid_at is not a date"),
        (with_value("paid_at", "2024-02-30"), "paid_at is not a date"),
        (with_value("paid_at", "infinity"), "paid_at is not a date"),
        (with_value("paid_at", "1706000000"), "paid_at is not a date"),
        (with_value("paid_at", "1900-01-01"), "dated before 1971"),
        (with_value("paid_at", "2042-01-01"), "dated after the export"),
        (with_value("amount", None), "missing amount"),
        (with_value("amount", "12,50"), "amount is not a number"),
        (with_value("amount", "EUR 12"), "amount is not a number"),
        (with_value("amount", float("inf")), "amount is not a number"),
        (with_value("payment_id", "P0"), "repeated payment_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_that_cannot_be_used_sets_its_row_aside_with_the_reason(
    frame: pd.DataFrame, reason: str
) -> None:
    with read(payments=frame) as tables:
        counts = tables.counts["payments"]

        assert {reason: 1} == counts.set_aside
        assert (counts.rows_in, counts.used) == (30, 29)
        assert [("payments", reason, 5)] == [row[:3] for row in tables.quarantine.fetchall()]
        assert reason in told(tables, "payments", "set aside")
        assert not tables.errors


@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        ("usage", {"occurred_at": DAYS[0], "quantity": -1}, "negative quantity"),
        ("usage", {"occurred_at": DAYS[0], "duration_s": -1}, "negative duration_s"),
        ("subscriptions", {"started_at": DAYS[0], "mrr": -5}, "negative mrr"),
        ("subscriptions", {"started_at": DAYS[0], "mrr": None}, "missing mrr"),
        (
            "subscriptions",
            {"started_at": DAYS[5], "ended_at": DAYS[2], "mrr": 5},
            "ended before started",
        ),
        (
            "subscriptions",
            {"started_at": DAYS[5], "mrr": 5, "billing_period": "fortnightish"},
            "unknown billing_period",
        ),
        ("payments", {"paid_at": DAYS[0], "amount": 1, "status": "maybe"}, "unknown status"),
        (
            "interactions",
            {"interaction_id": "i", "opened_at": DAYS[5], "resolved_at": DAYS[1]},
            "resolved before opened",
        ),
        (
            "interactions",
            {"interaction_id": "i", "opened_at": DAYS[5], "closed_at": DAYS[1]},
            "closed before opened",
        ),
        (
            "interactions",
            {"interaction_id": "i", "opened_at": DAYS[5], "handle_minutes": -3},
            "negative handle_minutes",
        ),
        ("surveys", {"kind": "nps", "score": 11, "answered_at": DAYS[1]}, "score off its scale"),
        ("surveys", {"kind": "nps", "score": -1, "answered_at": DAYS[1]}, "score off its scale"),
        ("surveys", {"kind": "csat", "score": 0, "answered_at": DAYS[1]}, "score off its scale"),
        ("surveys", {"kind": "ces", "score": 8, "answered_at": DAYS[1]}, "score off its scale"),
        ("surveys", {"kind": "nps", "score": 7.5, "answered_at": DAYS[1]}, "NPS is not a whole"),
        ("surveys", {"kind": "mood", "score": 3, "answered_at": DAYS[1]}, "unknown kind"),
        ("surveys", {"kind": None, "score": 3, "answered_at": DAYS[1]}, "missing kind"),
        (
            "surveys",
            {"kind": "nps", "score": 9, "sent_at": DAYS[1], "answered_at": None},
            "answered without answered_at",
        ),
        ("surveys", {"kind": "nps", "score": None, "answered_at": DAYS[1]}, "missing score"),
        ("departures", {"left_at": DAYS[5], "returned_at": DAYS[2]}, "returned before left"),
        ("departures", {"left_at": None}, "missing left_at"),
        ("treatments", {"at": DAYS[1], "action": None}, "missing action"),
        ("usage", {"customer_id": "stranger", "occurred_at": DAYS[0]}, "unknown customer"),
        (
            "surveys",
            {"customer_id": "stranger", "kind": "nps", "score": 9, "answered_at": DAYS[1]},
            "unknown customer",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_that_says_the_impossible_is_set_aside(
    table: str, row: dict[str, Any], reason: str
) -> None:
    frame = pd.DataFrame([{"customer_id": "a", **row}])
    people = pd.DataFrame({"customer_id": ["a", "b", "c"]})
    others = {"payments": payments()} if table != "payments" else {"usage": events()}
    with read(customers=people, **{table: frame}, **others) as tables:
        (found,) = tables.counts[table].set_aside

        assert found.startswith(reason)
        assert tables.counts[table].used == 0


@pytest.mark.parametrize(
    ("referral", "reason"),
    [
        ({"referrer_id": "a", "referred_id": "a"}, "refers to itself"),
        ({"referrer_id": "stranger", "referred_id": "a"}, "unknown customer"),
        ({"referrer_id": None, "referred_id": "a"}, "missing referrer_id"),
    ],
)
def test_a_referral_names_another_customer(referral: dict[str, Any], reason: str) -> None:
    frame = pd.DataFrame([{**referral, "referred_at": DAYS[0]}])
    with read(payments=payments(), referrals=frame) as tables:
        assert {reason: 1} == tables.counts["referrals"].set_aside


def test_negative_payments_and_zero_orders_are_no_errors() -> None:
    with read(payments=payments(amount=[-5.0, 0.0] + [10.0] * 28)) as tables:
        assert tables.counts["payments"].set_aside == {}


def test_equal_rows_are_kept_counted_and_warned_about_or_set_aside_when_asked() -> None:
    twice = pd.concat([events(), events().iloc[:2]])
    with read(usage=twice) as kept, read(usage=Mapping(twice, drop_equal_rows=True)) as dropped:
        assert (kept.counts["usage"].rows_in, kept.counts["usage"].used) == (32, 32)
        assert "warning: 2 rows equal another row" in told(kept, "usage", "equal another")
        assert dropped.counts["usage"].set_aside == {"equal to an earlier row": 2}


def test_a_customer_twice_is_set_aside_unless_the_attributes_have_a_history() -> None:
    people = pd.DataFrame(
        {
            "customer_id": ["a", "b", "c", "a"],
            "plan": ["s", "m", "l", "xl"],
            "since": pd.to_datetime(["2024-01-01"] * 3 + ["2024-01-09"]),
        }
    )
    columns = {"customer_id": "customer_id", "plan": "plan"}
    with read(customers=Mapping(people, columns=columns), payments=payments()) as tables:
        assert tables.counts["customers"].set_aside == {"repeated customer_id": 1}
        assert tables.con.sql("SELECT plan FROM customers WHERE customer_id = 'a'").fetchall() == [
            ("s",)
        ]
    dated = Mapping(people, columns={**columns, "valid_from": "since"})
    with read(customers=dated, payments=payments()) as tables:
        assert tables.counts["customers"].used == 4


def test_odd_values_of_a_customer_become_missing_and_the_customer_stays() -> None:
    people = pd.DataFrame(
        {
            "customer_id": ["a", "b", "c"],
            "signed_up_at": ["2023-01-01", "?!", None],
            "seats": [1, -2, 3],
        }
    )
    with read(customers=people, payments=payments()) as tables:
        assert tables.counts["customers"].used == 3
        assert "1 value of signed_up_at cannot be used" in told(
            tables, "customers", "signed_up_at c"
        )
        assert "1 value of seats cannot be used" in told(tables, "customers", "seats cannot")
        assert tables.con.sql(
            "SELECT customer_id, CAST(signed_up_at AS VARCHAR) FROM customers WHERE seats IS NULL"
        ).fetchall() == [("b", "2024-01-02 00:00:00")]  # the first payment of b stands in


# --- ids -----------------------------------------------------------------------------------------


def test_ids_stay_text_however_they_were_stored(tmp_path: Path) -> None:
    people = pd.DataFrame({"customer_id": [13085.0, 2.0, None], "seats": [1, 2, 3]})
    (tmp_path / "paid.csv").write_text(
        "customer_id,paid_at,amount\n13085,2024-01-01,1\n 2.0 ,2024-01-02,1\n"
    )
    with read(customers=people, payments=Mapping(tmp_path / "paid.csv")) as tables:
        assert sorted(tables.frame("customers")["customer_id"]) == ["13085", "2"]
        assert sorted(tables.frame("payments")["customer_id"]) == ["13085", "2"]
        assert tables.counts["customers"].set_aside == {"missing customer_id": 1}
        assert "13085, not 13085.0" in told(tables, "customers", "floating")
        assert "blanks around" in told(tables, "payments", "blanks")


def test_ids_keep_leading_zeros_every_script_and_any_length(tmp_path: Path) -> None:
    ids = ["007", "Ünï-客户-🙂", "x" * 5000, "a'b\"c;--", "Müller, AG"]
    frame = pd.DataFrame({"customer_id": ids, "paid_at": DAYS[:5], "amount": 1})
    frame.to_csv(tmp_path / "paid.csv", index=False)
    with read(payments=Mapping(tmp_path / "paid.csv")) as tables:
        assert sorted(ids) == sorted(tables.frame("payments")["customer_id"])
        assert sorted(ids) == sorted(tables.frame("customers")["customer_id"])


def test_ids_that_differ_by_case_only_are_two_customers_and_warned_about() -> None:
    people = pd.DataFrame({"customer_id": ["a", "A", "b", "c"]})
    with read(customers=people, payments=payments()) as tables:
        assert "1 id differs" in told(tables, "customers", "case")


# --- instants ------------------------------------------------------------------------------------


def test_a_column_may_mix_stamps_with_and_without_a_zone_and_bare_dates() -> None:
    frame = (
        events()
        .iloc[:4]
        .assign(
            occurred_at=[
                "2024-07-01T22:30:00Z",
                "2024-07-01 22:30:00",
                "2024-07-02",
                "2024-07-01T10:00:00-08:00",
            ]
        )
    )
    with read(usage=frame) as tables:
        found = tables.con.sql(
            "SELECT CAST(occurred_at AS VARCHAR) FROM usage ORDER BY occurred_at"
        ).fetchall()
        assert found == [
            ("2024-07-01 20:00:00",),  # 10:00 in Los Angeles is 18:00 UTC is 20:00 in Rome
            ("2024-07-01 22:30:00",),  # no zone: as it stands
            ("2024-07-02 00:00:00",),  # a bare date: local midnight
            ("2024-07-02 00:30:00",),  # 22:30 UTC
        ]
        assert "2 with a zone" in told(tables, "usage", "mixed")


def test_aware_stamps_of_a_frame_are_converted() -> None:
    aware = DAYS.tz_localize("UTC") + pd.Timedelta(hours=23, minutes=30)
    with read(usage=events(occurred_at=aware)) as tables:
        assert dt.date(2024, 1, 31) == tables.data_until


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_whole_numbers_are_no_instants_and_the_error_says_how_to_convert(unit: str) -> None:
    numbers = (DAYS - pd.Timestamp("1970-01-01")) // pd.Timedelta(1, unit)
    with pytest.raises(TableError, match=r"expected a date or a time stamp.*to_timestamp"):
        read(usage=events(occurred_at=numbers))
    with pytest.raises(TableError, match=r"holds numbers such as 1.*expected dates"):
        read(usage=events(occurred_at=numbers.astype(str)))


def test_another_date_format_is_guessed_in_the_finding_and_read_when_stated() -> None:
    frame = events(occurred_at=DAYS.strftime("%d/%m/%Y"))
    with read(usage=frame, payments=payments()) as tables:
        assert "datetime_format: '%d/%m/%Y'" in told(
            tables, "usage", "set aside: occurred_at is not a date"
        )
        assert "None of the 30 rows" in tables.errors[0].message
        assert "occurred_at is not a date (30 rows" in tables.errors[0].message
    with read(usage=Mapping(frame, datetime_format="%d/%m/%Y")) as tables:
        assert tables.counts["usage"].used == 30
    numbers = events(occurred_at=DAYS.strftime("%Y%m%d").astype(int))
    with read(usage=Mapping(numbers, datetime_format="%Y%m%d")) as tables:
        assert tables.counts["usage"].used == 30


def test_an_end_in_the_year_9999_means_running() -> None:
    spans = pd.DataFrame(
        {"customer_id": ["a"], "started_at": DAYS[:1], "ended_at": ["9999-12-31"], "mrr": [5]}
    )
    with read(subscriptions=spans, payments=payments()) as tables:
        assert tables.con.sql("SELECT CAST(ended_at AS VARCHAR) FROM subscriptions").fetchall() == [
            (None,)
        ]
        assert "still running" in told(tables, "subscriptions", "2200")


# --- sources -------------------------------------------------------------------------------------


def test_a_missing_file_is_named_with_its_neighbours(tmp_path: Path) -> None:
    payments().to_parquet(tmp_path / "payments.parquet")
    with pytest.raises(TableError, match=r"paymnts.parquet is missing; did you mean payments.par"):
        read(payments=Mapping(tmp_path / "paymnts.parquet"))
    with pytest.raises(TableError, match=r"y.parquet is missing; that folder holds: payments.par"):
        read(payments=Mapping(tmp_path / "loyalty.parquet"))
    with pytest.raises(TableError, match=r"there is no folder"):
        read(payments=Mapping(tmp_path / "nowhere" / "p.parquet"))
    with pytest.raises(TableError, match=r"no file matches"):
        read(payments=Mapping(str(tmp_path / "*.csv")))


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(TableError, match=r"holds no Parquet or CSV files; found notes.md"):
        read(payments=Mapping(tmp_path))


@pytest.mark.parametrize("keep", [0, 3, 400, -20])
def test_a_truncated_parquet_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "payments.parquet"
    payments().to_parquet(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TableError, match=r"payments.parquet.*(cannot be read|holds nothing)"):
        read(payments=Mapping(path))


def test_text_under_a_parquet_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_text("customer_id,paid_at,amount\n1,2024-01-01,3\n")
    with pytest.raises(TableError, match=r"p.parquet.*cannot be read.*Export it again"):
        read(payments=Mapping(tmp_path / "p.parquet"))


def test_lines_of_a_csv_with_too_few_or_too_many_fields_are_set_aside(tmp_path: Path) -> None:
    lines = [f"{'abc'[n % 3]},2024-01-{n + 1:02d},10" for n in range(28)]
    lines[5], lines[9] = "a,2024-01-06", "a,2024-01-10,10,again,and again"
    text = "\n".join(["customer_id,paid_at,amount", *lines])
    (tmp_path / "p.csv").write_text(text + "\n")
    with read(payments=Mapping(tmp_path / "p.csv")) as tables:
        assert tables.counts["payments"].set_aside == {"line cannot be read": 2}
        assert tables.counts["payments"].rows_in == 28
        assert "a,2024-01-06" in str(tables.quarantine.fetchall())


def test_a_csv_that_is_not_utf8_is_refused_with_the_reason(tmp_path: Path) -> None:
    text = "customer_id,paid_at,amount\nMüller,2024-01-01,1\n"
    (tmp_path / "p.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(TableError, match=r"not UTF-8 text: save it as UTF-8"):
        read(payments=Mapping(tmp_path / "p.csv"))


OPTIONAL = {
    "departures": "customer_id,left_at",
    "subscriptions": "customer_id,started_at,mrr",
    "payments": "customer_id,paid_at,amount",
    "interactions": "interaction_id,customer_id,opened_at",
    "surveys": "customer_id,kind,score,sent_at",
    "referrals": "referrer_id,referred_id,referred_at",
    "treatments": "customer_id,action,at",
    "costs": "kind,amount,date",
}


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_empty_table_beside_behaviour_is_told_and_taken_as_not_brought(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "none.csv").write_text(OPTIONAL[name] + "\n")
    with read(usage=events(), **{name: Mapping(tmp_path / "none.csv")}) as tables:
        assert told(tables, name, "none.csv is empty").startswith("warning: ")
        assert not tables.errors
        assert not tables.has(name)
        assert name not in tables.counts
    with read(usage=events()) as without:
        assert without.counts == tables.counts
        assert without.fingerprints == tables.fingerprints


def test_without_a_row_of_behaviour_the_run_is_refused() -> None:
    people = pd.DataFrame({"customer_id": ["a", "b"], "signed_up_at": DAYS[:2]})
    with read(customers=people, usage=events().iloc[:0], payments=payments()[:0]) as tables:
        assert ["payments", "usage"] == sorted(finding.table for finding in tables.errors)
        assert "holds no rows" in tables.errors[0].message
        assert "no other table of behaviour holds any" in tables.errors[0].todo
    with pytest.raises(TableError, match=r"no table holds a usable row with a date"):
        read(usage=events().iloc[:0])


def test_days_of_signing_up_that_cannot_be_used_are_shown(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(
        "customer_id,signed_up_at\na,not a date\nb,31/02/2025\nc,2023-05-01\n"
    )
    with read(usage=events(), customers=Mapping(tmp_path / "people.csv")) as tables:
        said = told(tables, "customers", "2 values of signed_up_at cannot be used and are read")
        assert "Expected ISO 8601" in said
        (found,) = (one for one in tables.findings if "cannot be used" in one.message)
        assert ("row 1: not a date", "row 2: 31/02/2025") == found.examples


def test_one_of_a_kind_is_told_in_the_singular() -> None:
    one = {"customer_id": ["a"], "occurred_at": DAYS[:1], "quantity": 1.0}
    with read(usage=pd.DataFrame(one)) as tables:
        assert "1 customer is taken from usage" in told(tables, "customers", "No customers table")
    twice = pd.concat([events(), events().head(1)], ignore_index=True)
    with read(usage=twice) as tables:
        assert "1 row equals another" in told(tables, "usage", "in every column")


def test_a_placeholder_for_the_day_of_signing_up_is_told() -> None:
    people = pd.DataFrame(
        {"customer_id": ["a", "b", "c"], "signed_up_at": ["1900-01-01", "2023-01-01", None]}
    )
    with read(usage=events(), customers=people) as tables:
        said = told(tables, "customers", "before 1971")
        assert said.startswith("warning: 1 customer signed up before 1971")
        (found,) = (one for one in tables.findings if "before 1971" in one.message)
        assert ("a: 1900-01-01",) == found.examples


def test_a_column_without_a_value_is_told() -> None:
    with read(usage=events(quantity=None)) as tables:
        assert "quantity (from 'quantity') is empty" in told(tables, "usage", "is empty")
    with pytest.raises(TableError, match=r"usable row.*30 of 30 rows missing customer_id"):
        read(usage=events(customer_id=None))


def test_missing_columns_and_tables_are_named_with_what_was_meant() -> None:
    with pytest.raises(TableError, match=r"no column 'custmer' \(for customer_id\); did you mean"):
        read(
            usage=Mapping(
                events().rename(columns={"customer_id": "customer"}),
                columns={"customer_id": "custmer", "occurred_at": "occurred_at"},
            )
        )
    with pytest.raises(TableError, match=r"amount is required and not mapped.*has the columns"):
        read(payments=payments().drop(columns="amount"))
    with pytest.raises(TableError, match=r"'occured_at' is not a column of ours; did you mean"):
        read(usage=Mapping(events(), columns={"occured_at": "occurred_at"}))
    with pytest.raises(TableError, match=r"'useage' is not a table of ours; did you mean 'usage'"):
        read(useage=events())
    with pytest.raises(TableError, match=r"no behaviour table is given"):
        read(surveys=events())
    with pytest.raises(TableError, match=r"one of sent_at and answered_at is required"):
        read(
            payments=payments(),
            surveys=pd.DataFrame({"customer_id": ["a"], "kind": ["nps"], "score": [1]}),
        )


def test_types_that_can_never_fit_are_refused() -> None:
    with pytest.raises(TableError, match=r"for amount is of type TIMESTAMP.*expected a number"):
        read(payments=payments(amount=DAYS))
    nested = Mapping(
        query="SELECT * REPLACE ([customer_id] AS customer_id) FROM p", sources={"p": payments()}
    )
    with pytest.raises(TableError, match=r"for customer_id is of type VARCHAR\[\]; expected text"):
        read(payments=nested)


def test_mixed_currencies_are_refused_with_their_counts() -> None:
    with pytest.raises(TableError, match=r"2 currencies \(EUR 29, USD 1 rows\)"):
        read(payments=payments(currency=["eur "] * 29 + ["USD"]))
    with pytest.raises(TableError, match=r"in CHF 30 rows, but the configured currency is EUR"):
        read(payments=payments(currency="CHF"))


def test_a_query_is_one_select_over_its_sources(tmp_path: Path) -> None:
    payments().to_parquet(tmp_path / "p.parquet")
    ours = {"p": tmp_path / "p.parquet"}
    with read(payments=Mapping(query="SELECT * FROM p WHERE amount > 0", sources=ours)) as tables:
        assert tables.counts["payments"].used == 30
    with pytest.raises(TableError, match=r"`query` should be one SELECT, found SELECT, DROP"):
        read(payments=Mapping(query="SELECT 1; DROP TABLE p", sources=ours))
    with pytest.raises(TableError, match=r"the query over p cannot be run.*nowhere"):
        read(payments=Mapping(query="SELECT * FROM nowhere", sources=ours))
    with pytest.raises(TableError, match=r"the query is not SQL"):
        read(payments=Mapping(query="SELEKT", sources=ours))


def test_a_database_table_is_read_and_a_wrong_name_is_met_with_what_there_is(
    tmp_path: Path,
) -> None:
    frame = payments()
    with duckdb.connect(str(tmp_path / "crm.duckdb")) as con:
        con.register("frame", frame)
        con.execute("CREATE TABLE orders AS SELECT * FROM frame")
    with read(payments=Mapping(f"{tmp_path}/crm.duckdb::orders")) as tables:
        assert tables.counts["payments"].used == 30
    with pytest.raises(TableError, match=r"no table 'ordrs'; did you mean orders.*main.orders"):
        read(payments=Mapping(f"{tmp_path}/crm.duckdb::ordrs"))
    with pytest.raises(TableError, match=r"database .*erp.duckdb is missing"):
        read(payments=Mapping(f"{tmp_path}/erp.duckdb::orders"))


# --- the export day ------------------------------------------------------------------------------


def test_a_given_export_day_hides_what_came_later() -> None:
    cases = pd.DataFrame(
        {
            "interaction_id": ["1", "2"],
            "customer_id": ["a", "b"],
            "opened_at": pd.to_datetime(["2024-01-05", "2024-01-25"]),
            "resolved_at": pd.to_datetime(["2024-01-25", "2024-01-26"]),
        }
    )
    mappings = {"payments": Mapping(payments()), "interactions": Mapping(cases)}
    until = dt.date(2024, 1, 20)
    with read_tables(mappings, timezone="UTC", currency="EUR", data_until=until) as tables:
        assert tables.counts["payments"].set_aside == {"dated after the export": 10}
        assert tables.counts["interactions"].set_aside == {"dated after the export": 1}
        assert "1 row has resolved_at after" in told(tables, "interactions", "not")
        assert tables.con.sql(
            "SELECT CAST(resolved_at AS VARCHAR) FROM interactions"
        ).fetchall() == [(None,)]


def test_a_few_rows_far_in_the_future_do_not_move_the_export_day() -> None:
    log = pd.concat([events()] * 4).assign(quantity=range(120))
    typo = events().iloc[:1].assign(occurred_at=pd.Timestamp("2024-06-01"))
    with read(usage=pd.concat([log, typo])) as tables:
        assert dt.date(2024, 1, 30) == tables.data_until
        assert tables.counts["usage"].set_aside == {"dated after the export": 1}


def test_a_source_that_ends_weeks_before_the_others_is_stale() -> None:
    late = events(occurred_at=DAYS + pd.Timedelta(days=20))
    with read(usage=late, payments=payments()) as tables:
        assert "20 days before 2024-02-19" in told(tables, "payments", "newest row")


def test_a_sparse_source_is_not_stale_after_two_weeks() -> None:
    sparse = pd.DataFrame({"referrer_id": "a", "referred_at": DAYS[[0, 8, 14]]})
    with read(payments=payments(), referrals=sparse) as tables:
        assert not [f for f in tables.findings if "newest row" in f.message]


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(TableError, match=r"'Europe/Room' is not a time zone"):
        read_tables({"usage": Mapping(events())}, timezone="Europe/Room", currency=None)


def test_columns_named_like_the_readers_own_do_not_move_the_rows(tmp_path: Path) -> None:
    odd = payments(file_row_number=7, file_index=3)
    odd.loc[4, "amount"] = None
    odd.to_parquet(tmp_path / "p.parquet")
    with read(payments=Mapping(tmp_path / "p.parquet")) as tables:
        assert tables.con.sql("SELECT row_number FROM quarantine").fetchall() == [(5,)]


def test_a_bulk_load_that_hides_the_history_is_an_error_when_it_is_the_only_behaviour() -> None:
    bulk = events(recorded_at=pd.Timestamp("2024-06-01"))
    bulk["occurred_at"] = pd.date_range("2024-01-01", periods=30, freq="3D")
    with read(usage=bulk) as tables:
        assert "error: A bulk load: 30 of 30 rows" in told(tables, "usage", "bulk")
    with read(usage=bulk, payments=payments()) as tables:
        assert "warning: A bulk load" in told(tables, "usage", "bulk")


# --- nothing is lost -----------------------------------------------------------------------------


@pytest.fixture
def messy(tmp_path: Path) -> Iterator[Tables]:
    frame = pd.concat(
        [payments(), payments(customer_id=None), payments(amount="x"), payments(paid_at="?")]
    )
    with read(payments=frame.astype(str).replace("None", None)) as tables:
        yield tables


def test_every_row_is_used_or_set_aside_with_its_content(messy: Tables, tmp_path: Path) -> None:
    counts = messy.counts["payments"]

    assert 120 == counts.rows_in == counts.used + sum(counts.set_aside.values())
    assert write_quarantine(messy, tmp_path / "out" / "quarantine.parquet") == 90
    kept = pd.read_parquet(tmp_path / "out" / "quarantine.parquet")
    assert list(kept.columns) == ["table_name", "reason", "row_number", "row_json"]
    assert list(range(31, 121)) == list(kept["row_number"])
    assert {"x"} == {json.loads(text)["amount"] for text in kept["row_json"][30:60]}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["quarantine.parquet"]


def test_reading_twice_gives_the_same_fingerprints_and_quarantine(tmp_path: Path) -> None:
    half = [events().iloc[:20].assign(n=range(20)), events().iloc[15:].assign(n=range(15))]
    for number, part in enumerate(half):
        part.assign(event_id=part.index.astype(str)).to_parquet(tmp_path / f"{number}.parquet")
    seen = set()
    for _ in range(5):
        with read(usage=Mapping(tmp_path, columns={"event_id": "event_id"})) as tables:
            assert tables.counts["usage"].set_aside == {"repeated event_id": 5}
            rows = tables.con.sql(
                "SELECT row_number, row_json FROM quarantine ORDER BY 1"
            ).fetchall()
            seen.add((tables.fingerprints["usage"], str(rows)))
    assert len(seen) == 1
    assert [row for row, _ in rows] == [21, 22, 23, 24, 25]


def test_the_work_files_are_removed_when_closed_and_when_reading_fails(tmp_path: Path) -> None:
    mappings = {"payments": Mapping(payments())}
    tables = read_tables(
        mappings, timezone="UTC", currency="EUR", today=TODAY, work_folder=tmp_path / "w"
    )
    assert list((tmp_path / "w").iterdir())
    tables.close()
    with pytest.raises(TableError, match="missing"):
        read_tables(
            {"payments": Mapping("nowhere.parquet")},
            timezone="UTC",
            currency="EUR",
            work_folder=tmp_path / "w",
        )
    assert not list((tmp_path / "w").iterdir())
