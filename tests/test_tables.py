"""What `read_tables` promises: canonical tables, an account that adds up, contradictions named."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from retain.config import load_config
from retain.demo import make_company
from retain.errors import TableError
from retain.tables import BEHAVIOUR, SPECS, TABLES, Counts, Mapping, Tables, read_tables
from retain.tables.dates import newest_day
from retain.tables.spec import MEASURED

TODAY = dt.date(2024, 12, 31)
ROOT = Path(__file__).parents[1]
PUBLIC = ROOT.parent / "shared" / "data"


def at(*days: str | None) -> list[pd.Timestamp]:
    return [pd.NaT if day is None else pd.Timestamp(f"2024-{day}") for day in days]


def read(**tables: Any) -> Tables:
    mappings = {n: t if isinstance(t, Mapping) else Mapping(source=t) for n, t in tables.items()}
    return read_tables(mappings, timezone="Europe/Rome", currency="EUR", today=TODAY)


def read_config(path: Path) -> Tables:
    config = load_config(path)
    mappings = {
        name: Mapping(**{key: getattr(table, key) for key in type(table).model_fields})
        for name, table in config.tables.items()
    }
    return read_tables(
        mappings,
        timezone=config.timezone,
        currency=config.currency,
        data_until=config.data_until,
    )


def messages(tables: Tables, table: str) -> str:
    return "\n".join(f"{f.severity}: {f.message}" for f in tables.findings if f.table == table)


PAYMENTS = pd.DataFrame(
    {"customer_id": ["a", "a", "b"], "paid_at": at("01-10", "06-01", "05-01"), "amount": [5, 7, -2]}
)
PEOPLE = pd.DataFrame({"customer_id": ["a", "b", "c"], "signed_up_at": at("01-01", "01-02", None)})


def test_every_table_has_a_grain_and_each_behaviour_table_a_customer_and_a_time() -> None:
    assert len(TABLES) == 10
    for spec in TABLES:
        assert spec.grain.startswith("one row per"), spec.name
        assert len(set(spec.names)) == len(spec.names)
        assert all(column.meaning for column in spec.columns)
    assert BEHAVIOUR == ("subscriptions", "payments", "usage", "interactions")
    assert all(SPECS[name].customer and SPECS[name].time for name in BEHAVIOUR)


@pytest.mark.parametrize("name", [n for n in SPECS if n not in (*MEASURED, "customers")])
def test_a_number_that_nobody_would_fold_is_refused(name: str) -> None:
    columns = dict.fromkeys((*SPECS[name].required, *SPECS[name].one_of[:1]), "it")
    theirs = pd.DataFrame({"it": ["2024-01-02"], "more": [2]})
    mapping = Mapping(theirs, columns=columns, measures=("more",))
    with pytest.raises(TableError, match=f"'{name}': measures are folded for .*usage.*: more"):
        read(payments=PAYMENTS, **{name: mapping})


def test_tables_come_under_our_names_and_types() -> None:
    theirs = pd.DataFrame(
        {
            "acct": [1, 2],
            "ts": ["2024-05-01T10:00:00Z", "2024-05-02"],
            "what": [" Search ", None],
            "n": ["3", None],
            "errors": [0, 2],
        }
    )
    columns = {"customer_id": "acct", "occurred_at": "ts", "feature": "what", "quantity": "n"}
    with read(usage=Mapping(theirs, columns=columns, measures=("errors",))) as tables:
        assert tables.columns["usage"] == ("customer_id", "occurred_at", "feature", "quantity")
        assert tables.measures == {"usage": ("errors",)}
        found = tables.con.sql(
            "SELECT customer_id, CAST(occurred_at AS VARCHAR), feature, quantity, errors "
            "FROM usage ORDER BY customer_id"
        ).fetchall()
        assert found == [
            ("1", "2024-05-01 12:00:00", "Search", 3.0, 0.0),
            ("2", "2024-05-02 00:00:00", None, None, 2.0),
        ]
        types = tables.con.sql("SELECT column_type FROM (DESCRIBE usage)").fetchall()
        assert [kind for (kind,) in types] == [
            "VARCHAR",
            "TIMESTAMP",
            "VARCHAR",
            "DOUBLE",
            "DOUBLE",
        ]


def test_customers_are_derived_from_behaviour_when_not_given() -> None:
    with read(payments=PAYMENTS) as tables:
        assert tables.is_derived
        assert tables.con.sql(
            "SELECT customer_id, CAST(signed_up_at AS VARCHAR) FROM customers ORDER BY 1"
        ).fetchall() == [("a", "2024-01-10 00:00:00"), ("b", "2024-05-01 00:00:00")]
        assert Counts(2, 2, {}) == tables.counts["customers"]
        assert "No customers table is given: 2 customers" in messages(tables, "customers")


def test_customers_without_a_start_get_the_day_of_their_first_behaviour() -> None:
    with read(customers=PEOPLE.iloc[2:].assign(customer_id="a"), payments=PAYMENTS) as tables:
        (first,) = tables.frame("customers")["signed_up_at"]
        assert pd.Timestamp("2024-01-10") == first


def test_attributes_are_numbers_or_text_by_what_they_hold() -> None:
    people = PEOPLE.assign(
        size=["10", "20", None], code=["007", "12", "9"], city=["Rome", "Bonn", "x"], vip=True
    )
    mapping = Mapping(people, attributes=("size", "code", "city", "vip"), constant=("city",))
    with read(customers=mapping, payments=PAYMENTS) as tables:
        kinds = {"size": "number", "code": "text", "city": "text", "vip": "text"}
        assert kinds == tables.attributes
        assert tables.constant == ("city",)
        assert "size, code, vip describe the day of the export" in messages(tables, "customers")


def test_words_are_translated_whatever_their_case_and_blanks() -> None:
    spans = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b"],
            "started_at": at("01-01", "02-01", "03-01"),
            "ended_at": at("02-01", "03-01", None),
            "mrr": 5,
            "end_reason": [" Bounced ", "voluntary", None],
            "billing_period": ["Yearly", "P1M", "MONTHLY"],
        }
    )
    values = {"end_reason": {"bounced": "involuntary"}, "billing_period": {"p1m": "monthly"}}
    with read(subscriptions=Mapping(spans, values=values)) as tables:
        found = tables.frame("subscriptions").sort_values("started_at")
        assert list(found["end_reason"])[:2] == ["involuntary", "voluntary"]
        assert list(found["billing_period"]) == ["annual", "monthly", "monthly"]


def test_costs_are_dated_by_day_or_by_period() -> None:
    costs = pd.DataFrame(
        {"period": ["2024-03", "2024-Q3", "2024", "spring"], "kind": "support", "amount": 1}
    )
    with read(payments=PAYMENTS, costs=costs) as tables:
        days = sorted(str(day.date()) for day in tables.frame("costs")["date"])
        assert days == ["2024-01-01", "2024-03-01", "2024-07-01"]
        reason = "period is not a month, quarter or year"
        assert {reason: 1} == tables.counts["costs"].set_aside


def test_a_question_without_an_answer_is_a_row_and_a_scale_may_stand_in_the_row() -> None:
    surveys = pd.DataFrame(
        {
            "customer_id": "a",
            "kind": ["NPS", "csat", "csat"],
            "score": [None, 9, 6],
            "scale": [None, "1-10", None],
            "sent_at": at("02-01", "02-01", "02-01"),
            "answered_at": at(None, "02-03", "02-03"),
        }
    )
    with read(payments=PAYMENTS, surveys=surveys) as tables:
        assert Counts(3, 2, {"score off its scale": 1}) == tables.counts["surveys"]


def test_sources_may_be_lists_folders_and_frames(tmp_path: Path) -> None:
    for number in range(3):
        PAYMENTS.assign(amount=number).to_parquet(tmp_path / f"{number}.parquet")
    PAYMENTS.to_csv(tmp_path / "more.csv", index=False)
    for source, rows in (
        (tmp_path, 9),
        (str(tmp_path / "*.parquet"), 9),
        ([tmp_path / "0.parquet", tmp_path / "more.csv", PAYMENTS], 9),
    ):
        with read(payments=Mapping(source)) as tables:
            assert rows == tables.counts["payments"].used


def test_the_account_of_rows_cannot_be_wrong() -> None:
    with pytest.raises(AssertionError, match="1 rows are neither used nor set aside"):
        Counts(3, 1, {"missing score": 1})


def test_the_fingerprint_is_of_the_rows_that_are_left() -> None:
    """Seen to fail when it was taken before repeats were set aside and open ends forgotten."""
    paid = PAYMENTS.assign(payment_id=["1", "2", "3"])
    spans = pd.DataFrame({"customer_id": ["a", "b"], "started_at": at("01-01", "01-02"), "mrr": 9})
    spans["ended_at"] = at("03-01", None)
    endless = spans.assign(ended_at=[pd.Timestamp("2024-03-01"), pd.Timestamp("2999-12-31")])
    for name, one, other in (
        ("payments", paid[:2], paid.assign(payment_id=["1", "2", "1"])),
        ("payments", paid[:2], paid.assign(customer_id=["a", "a", "stranger"])),
        ("subscriptions", spans, endless),
    ):
        with (
            read(customers=PEOPLE, **{name: one}) as clean,
            read(customers=PEOPLE, **{name: other}) as mended,
        ):
            seen = [t.con.sql(f"FROM seen_{name} ORDER BY 1").fetchall() for t in (clean, mended)]
            assert clean.fingerprints[name] == mended.fingerprints[name]
            assert seen[0] == seen[1]


def test_findings_come_errors_first_and_say_what_to_do() -> None:
    empty = pd.DataFrame({"customer_id": [], "occurred_at": [], "quantity": []})
    with read(payments=PAYMENTS, usage=empty, customers=PEOPLE) as tables:
        severities = [finding.severity for finding in tables.findings]
        order = ["error", "warning", "advice"]
        assert sorted(severities, key=order.index) == severities
        assert all(f.todo for f in tables.findings if f.severity != "advice")


@pytest.mark.parametrize("count", [1, 40])
def test_the_export_day_leaves_typing_mistakes_out_but_not_a_real_future(count: int) -> None:
    log = [(dt.date(2024, 1, 1) + dt.timedelta(days=day), 10) for day in range(60)]
    late = dt.date(2024, 5, 1)
    expected = dt.date(2024, 2, 29) if count == 1 else late
    assert expected == newest_day([*log, (late, count)], None)
    assert dt.date(2024, 2, 29) == newest_day([*log, (late, count)], dt.date(2024, 4, 1))
    assert newest_day([], TODAY) is None


# --- contradictions ------------------------------------------------------------------------------


def test_a_flag_that_contradicts_the_departures_is_counted_both_ways() -> None:
    people = PEOPLE.assign(has_left=[True, False, False])
    gone = pd.DataFrame({"customer_id": ["b"], "left_at": at("05-20")})
    with read(customers=people, payments=PAYMENTS, departures=gone) as tables:
        told = messages(tables, "customers")
        assert "contradicts departures for 2 of 3 customers (67%): 1 are flagged" in told
        assert "has_left" in tables.columns["customers"]


def test_departed_customers_who_keep_behaving_or_paying_are_named() -> None:
    gone = pd.DataFrame({"customer_id": ["a", "b"], "left_at": at("02-01", "05-20")})
    spans = pd.DataFrame(
        {
            "customer_id": ["a", "b"],
            "started_at": at("01-01", "01-01"),
            "ended_at": at(None, "05-20"),
            "mrr": 5,
        }
    )
    with read(payments=PAYMENTS, departures=gone, subscriptions=spans) as tables:
        told = messages(tables, "departures")
        assert "1 customer has payments more than a week after they left" in told
        assert "1 customer left for good, yet a paid subscription" in told
        assert "1 customer has a departure with no subscription ending" in told
    back = gone.assign(returned_at=at("04-01", None))
    with read(payments=PAYMENTS, departures=back, subscriptions=spans) as tables:
        assert "after they left" not in messages(tables, "departures")


def test_ends_without_a_departure_and_departures_without_a_return_are_named() -> None:
    gone = pd.DataFrame({"customer_id": ["a", "a"], "left_at": at("02-01", "04-01")})
    spans = pd.DataFrame(
        {"customer_id": ["b"], "started_at": at("01-01"), "ended_at": at("03-01"), "mrr": 5}
    )
    with read(payments=PAYMENTS, departures=gone, subscriptions=spans) as tables:
        assert "1 customer left several times without a return" in messages(tables, "departures")
        assert "1 customers' last paid subscription ended" in messages(tables, "subscriptions")


def test_overlapping_trial_and_paid_spans_are_named() -> None:
    spans = pd.DataFrame(
        {
            "customer_id": ["a", "a", "a"],
            "started_at": at("01-01", "01-10", "02-01"),
            "ended_at": at("02-01", "03-01", None),
            "mrr": [0, 5, 6],
            "is_trial": [True, False, False],
        }
    )
    with read(subscriptions=spans) as tables:
        told = messages(tables, "subscriptions")
        assert "warning: 1 customer has a trial that overlaps a paid span" in told
        assert "advice: 1 customer has paid spans that overlap" in told
    with read(subscriptions=spans.iloc[[0, 2]]) as tables:
        assert "overlap" not in messages(tables, "subscriptions")  # the next starts as one ends


def test_dates_in_an_impossible_order_are_told_and_the_rows_stay() -> None:
    surveys = pd.DataFrame(
        {
            "customer_id": ["a"],
            "kind": ["nps"],
            "score": [9],
            "sent_at": at("03-02"),
            "answered_at": at("03-01"),
        }
    )
    with read(payments=PAYMENTS, surveys=surveys) as tables:
        assert "warning: 1 row: answered before sent" in messages(tables, "surveys")
        assert tables.counts["surveys"].used == 1


def test_renewals_as_exported_reasons_without_ends_and_positive_refunds_are_told() -> None:
    spans = pd.DataFrame(
        {
            "customer_id": ["a"],
            "started_at": at("01-01"),
            "ended_at": [None],
            "mrr": 5,
            "end_reason": ["voluntary"],
            "renews_at": at("12-01"),
        }
    )
    refunded = PAYMENTS.assign(status=["refunded", "paid", "paid"])
    with read(subscriptions=spans, payments=refunded) as tables:
        told = messages(tables, "subscriptions")
        assert "1 spans have an end_reason and no ended_at" in told
        assert "advice: renews_at as exported moves" in told
        assert "1 refunded payments have a positive amount" in messages(tables, "payments")


def test_an_attribute_that_knows_who_left_is_named() -> None:
    people = pd.DataFrame({"customer_id": [f"c{n}" for n in range(60)]})
    people["account_status"] = ["closed" if n < 20 else "open" for n in range(60)]
    people["city"] = ["Rome", "Bonn"] * 30
    paid = pd.DataFrame(
        {"customer_id": people["customer_id"], "paid_at": at("03-01")[0], "amount": 1}
    )
    gone = pd.DataFrame({"customer_id": people["customer_id"][:20], "left_at": at("04-01")[0]})
    mapping = Mapping(people, attributes=("account_status", "city"))
    with read(customers=mapping, payments=paid, departures=gone) as tables:
        told = messages(tables, "customers")
        assert "account_status alone tells who has left for 100% of customers" in told
        assert "city alone" not in told


def test_behaviour_before_signing_up_and_customers_without_any_are_told() -> None:
    late = PEOPLE.assign(signed_up_at=at("01-20", "01-02", "01-03"))
    with read(customers=late, payments=PAYMENTS) as tables:
        told = messages(tables, "customers")
        assert "1 customer has payments before they signed up" in told
        assert "1 customer appears in no behaviour table" in told


# --- whole companies -----------------------------------------------------------------------------


def test_a_simulated_company_is_read_and_exactly_its_faulty_rows_are_set_aside(
    tmp_path: Path,
) -> None:
    company = make_company(120, weeks=40)
    with read_config(company.write(tmp_path)) as tables:
        found = {
            (name, reason): count
            for name, counts in tables.counts.items()
            for reason, count in counts.set_aside.items()
        }
        assert company.dirty == found
        assert company.until == tables.data_until
        assert not tables.errors


@pytest.mark.skipif(
    not PUBLIC.is_dir(), reason="the public data sets are not beside the repository"
)
def test_ravenstack_is_read_and_its_contradictions_are_named() -> None:
    with read_config(ROOT / "configs" / "ravenstack.yaml") as tables:
        assert tables.counts["usage"].set_aside == {"repeated event_id": 21}
        assert tables.counts["surveys"].used == 1175
        assert "contradicts departures for 312 of 500 customers (62%)" in messages(
            tables, "customers"
        )
        assert "403 customers have a trial that overlaps" in messages(tables, "subscriptions")
        told = messages(tables, "departures")
        assert "175 customers left several times without a return" in told
        assert "276 customers have usage more than a week after they left" in told
        assert "352 customers left for good, yet a paid subscription" in told
        assert "resolved before the first response" in messages(tables, "interactions")
        assert not tables.errors


@pytest.mark.skipif(
    not PUBLIC.is_dir(), reason="the public data sets are not beside the repository"
)
def test_cdnow_is_read_whole_with_its_orders_of_nothing() -> None:
    with read_config(ROOT / "configs" / "cdnow.yaml") as tables:
        assert Counts(69659, 69659, {}) == tables.counts["payments"]
        assert tables.counts["customers"].used == 23570
        assert dt.date(1998, 6, 30) == tables.data_until
        free = tables.con.sql("SELECT count(*) FROM payments WHERE amount = 0").fetchall()
        assert free == [(80,)]
