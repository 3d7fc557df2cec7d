"""Pain points and lost prospects: by hand, then against pandas on drawn companies."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from retain.errors import TableError
from retain.metrics import Period
from retain.metrics.pain import _compared, lost_prospects, pain_points

OCTOBER = Period.month("2026-10")


def day(text):
    return pd.Timestamp(text)


def company(seed=0, many=400, people=80):
    """Contacts about two topics; who came about the dark one leaves more often."""
    rng = np.random.default_rng(seed)
    ids = [f"c{at}" for at in range(people)]
    contacts = pd.DataFrame(
        {
            "customer_id": rng.choice(ids[: people * 3 // 4], many),
            "interaction_id": [f"i{at}" for at in range(many)],
            "opened_at": day("2026-09-15") + pd.to_timedelta(rng.integers(0, 60 * 24, many), "h"),
            "topic": rng.choice(["billing", "login", "dark", None], many, p=[0.5, 0.3, 0.15, 0.05]),
            "channel": rng.choice(["mail", "phone"], many),
            "reopen_count": rng.integers(0, 2, many) * rng.integers(0, 2, many),
            "transfer_count": rng.integers(0, 3, many),
            "handle_minutes": rng.integers(1, 60, many).astype(float),
        }
    )
    contacts["resolved_at"] = contacts.opened_at + pd.to_timedelta(rng.integers(1, 90, many), "h")
    customers = pd.DataFrame(
        {
            "customer_id": ids,
            "signed_up_at": day("2025-06-01") + pd.to_timedelta(rng.integers(0, 560, people), "D"),
        }
    )
    dark = set(contacts.customer_id[contacts.topic == "dark"])
    gone = [one for one in ids if rng.random() < (0.5 if one in dark else 0.1)]
    departures = pd.DataFrame(
        {
            "customer_id": gone,
            "left_at": day("2026-10-10") + pd.to_timedelta(rng.integers(0, 90, len(gone)), "D"),
        }
    )
    subscriptions = pd.DataFrame(
        {
            "customer_id": ids,
            "started_at": customers.signed_up_at,
            "ended_at": pd.Series(pd.NaT, index=range(people)).astype("datetime64[us]"),
            "mrr": rng.integers(10, 99, people),
        }
    )
    return contacts, customers, departures, subscriptions


# ---- by hand -------------------------------------------------------------------------------------


def test_topics_are_ranked_by_effort_volume_money_and_association():
    contacts = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b", "c", "d"],
            "interaction_id": list("12345"),
            "opened_at": day("2026-10-05"),
            "topic": ["billing", "billing", "login", "login", "login"],
            "transfer_count": [2, 0, 0, 1, 0],
            "case_id": ["x", "y", None, "z", "z"],
            "handle_minutes": [10.0, 5.5, None, 1, 2],
        }
    )
    subscriptions = pd.DataFrame(
        {
            "customer_id": ["a", "b", "c", "c", "d"],
            "started_at": pd.to_datetime(["2026-01-01"] * 4 + ["2026-10-20"]),
            "ended_at": pd.to_datetime([None, None, "2026-09-01", None, None]),
            "mrr": [500, 10, 90, 20, 7],
        }
    )
    customers = pd.DataFrame({"customer_id": list("abcdef")})
    departures = pd.DataFrame({"customer_id": ["a"], "left_at": [day("2026-12-01")]})
    found = pain_points(
        contacts,
        OCTOBER,
        customers=customers,
        subscriptions=subscriptions,
        departures=departures,
    ).table.set_index("name")

    assert ["billing", "login"] == found.index.tolist()
    assert [2, 3] == found.cases.tolist()
    assert [1, 0] == found.hard_cases.tolist()
    assert [15.5, 3] == found.minutes.tolist()
    assert [500, 37] == found.mrr_touched.astype(int).tolist()
    assert (1.0, 0.0) == tuple(found.loc["billing", ["churn_with", "churn_without"]])
    assert (0.0, 1 / 3) == tuple(found.loc["login", ["churn_with", "churn_without"]])
    ranks = found.filter(like="rank_")
    assert {"rank_effort": 1, "rank_volume": 2, "rank_mrr": 1, "rank_churn": 1} == dict(
        ranks.loc["billing"]
    )


@pytest.mark.parametrize(
    ("how", "hard"),
    [
        ({"reopen_count": [1]}, 1),
        ({"transfer_count": [1]}, 0),
        ({"transfer_count": [2]}, 1),
        ({"follows_id": ["x"]}, 1),
        ({"resolved_at": [day("2026-10-08T00:00")]}, 0),
        ({"resolved_at": [day("2026-10-08T00:01")]}, 1),
        ({}, 0),
    ],
)
def test_what_makes_a_contact_hard(how, hard):
    contacts = pd.DataFrame(
        {
            "customer_id": ["a"],
            "interaction_id": ["1"],
            "opened_at": day("2026-10-05"),
            "topic": "t",
        }
    )
    assert hard == pain_points(contacts.assign(**how), OCTOBER).table.hard_cases.item()


def test_two_contacts_of_one_case_are_hard():
    contacts = pd.DataFrame(
        {"customer_id": ["a", "a", "b"], "interaction_id": list("123"), "case_id": ["k", "k", "k"]}
    ).assign(opened_at=day("2026-10-05"), topic="t")
    assert 2 == pain_points(contacts, OCTOBER).table.hard_cases.item()


def test_stages_are_by_days_since_sign_up():
    customers = pd.DataFrame(
        {
            "customer_id": list("abc"),
            "signed_up_at": pd.to_datetime(
                ["2026-10-05T18:00", "2026-07-07T00:00", "2025-10-05T00:00"]
            ),
        }
    )
    contacts = pd.DataFrame({"customer_id": [*"abcd"], "interaction_id": [*"1234"]}).assign(
        opened_at=day("2026-10-05")
    )
    found = pain_points(contacts, OCTOBER, of="stage", customers=customers).table

    assert {"(none)", "onboarding", "first year", "established"} == set(found.name)
    with pytest.raises(TableError, match="stages should begin at 0 days and rise; found \\[5\\]"):
        pain_points(contacts, OCTOBER, of="stage", customers=customers, stages=[("x", 5)])
    with pytest.raises(TableError, match="by topic, channel or stage; found 'mood'"):
        pain_points(contacts, OCTOBER, of="mood")


def test_why_there_is_no_association_is_said():
    contacts, customers, departures, _ = company()
    asked = {"customers": customers, "departures": departures}

    assert "nobody to compare with" in pain_points(contacts, OCTOBER).no_churn_because
    found = pain_points(contacts, OCTOBER, customers=customers)
    assert "neither departures nor subscriptions" in found.no_churn_because
    early = pain_points(contacts, OCTOBER, **asked, data_until=date(2026, 12, 31))
    assert "who leaves after the period is known on 2027-01-29 only" == early.no_churn_because
    assert early.table.difference.isna().all()
    ripe = pain_points(contacts, OCTOBER, **asked, data_until=date(2027, 1, 29))
    assert ripe.no_churn_because is None


def test_nothing_came_nothing_hurts():
    contacts, *_ = company()
    assert pain_points(contacts[:0], OCTOBER).table.empty


def test_the_interval_of_a_difference_is_newcombes():
    # his first example: 56 of 70 against 48 of 80
    found = _compared(56, 70, 48, 80, 0.95)
    assert 0.2 == pytest.approx(found["difference"])
    assert (0.0524, 0.3339) == pytest.approx((found["low"], found["high"]), abs=5e-5)


# ---- against pandas ------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("seed", range(3))
def test_pain_points_agree_with_pandas(seed, shift):
    contacts, customers, departures, subscriptions = company(seed)
    contacts["opened_at"] += pd.Timedelta(days=shift)
    contacts["resolved_at"] += pd.Timedelta(days=shift)
    given = {"customers": customers, "departures": departures, "subscriptions": subscriptions}
    table = pain_points(contacts, OCTOBER, **given).table.set_index("name")

    asked = contacts[(contacts.opened_at >= "2026-10-01") & (contacts.opened_at < "2026-11-01")]
    asked = asked.assign(topic=asked.topic.fillna("(none)"))
    long = asked.resolved_at - asked.opened_at > pd.Timedelta(hours=72)
    hard = (asked.reopen_count >= 1) | (asked.transfer_count >= 2) | long
    gone = departures[departures.left_at < "2026-11-01"].customer_id
    later = departures[departures.left_at < day("2026-11-01") + pd.Timedelta(days=90)].customer_id
    there = customers[(customers.signed_up_at < "2026-11-01") & ~customers.customer_id.isin(gone)]
    leaves = there.customer_id.isin(later)
    for topic, rows in asked.groupby("topic"):
        line = table.loc[topic]
        came = there.customer_id.isin(rows.customer_id)
        assert len(rows) == line.cases
        assert hard[rows.index].sum() == line.hard_cases
        assert leaves[came].mean() == pytest.approx(line.churn_with)
        assert leaves[~came].mean() == pytest.approx(line.churn_without)
        who = subscriptions[subscriptions.customer_id.isin(rows.customer_id)]
        assert who.mrr.sum() == line.mrr_touched
        assert rows.handle_minutes.sum() == line.minutes
    by_order = pain_points(contacts[::-1], OCTOBER, **{k: v[::-1] for k, v in given.items()}).table
    pd.testing.assert_frame_equal(table.reset_index(), by_order)


def test_without_departures_who_left_is_whose_paid_spans_are_all_over():
    contacts, customers, departures, subscriptions = company(1)
    ends = subscriptions.customer_id.map(departures.set_index("customer_id").left_at)
    ended = subscriptions.assign(ended_at=ends)
    asked = {"customers": customers}
    first = pain_points(contacts, OCTOBER, **asked, departures=departures).table
    other = pain_points(contacts, OCTOBER, **asked, subscriptions=ended).table
    assert first.churn_with.tolist() == other.churn_with.tolist()


# ---- lost prospects ------------------------------------------------------------------------------


def trials(rows):
    """Trials of two weeks in October: (customer, days of use, days until paid or None)."""
    spans, uses = [], []
    for who, days, until_paid in rows:
        start = day("2026-10-01")
        spans.append((who, start, start + timedelta(14), 0, True))
        if until_paid is not None:
            spans.append((who, start + timedelta(14 + until_paid), None, 50, False))
        uses += [(who, start + timedelta(at), feature) for at, feature in days]
    names = ["customer_id", "started_at", "ended_at", "mrr", "is_trial"]
    usage = pd.DataFrame(uses, columns=["customer_id", "occurred_at", "feature"])
    usage["occurred_at"] = pd.to_datetime(usage.occurred_at)
    return pd.DataFrame(spans, columns=names), usage


SIX = [
    ("never", [], None),
    ("too late", [(14, "login")], None),
    ("once", [(0, "login"), (0, "login")], None),
    ("back", [(0, "login"), (3, "export")], None),
    ("skipped", [(1, "export"), (2, "export")], None),
    ("bought", [(0, "login"), (1, "export")], 30),
    ("dawdled", [(0, "login"), (1, "export")], 31),
]


@pytest.mark.parametrize("copies", [1, 4])
def test_prospects_are_lost_where_they_stopped(copies):
    rows = [(f"{who} {at}", *rest) for at in range(copies) for who, *rest in SIX]
    found = lost_prospects(*trials(rows), OCTOBER)

    assert ["started", "came", "came back"] == found.table.stage.tolist()
    assert [7 * copies, 5 * copies, 4 * copies] == found.table.reached.tolist()
    assert [copies, copies, copies] == found.table.converted.tolist()
    assert [2 * copies, copies, 3 * copies] == found.table.lost.tolist()
    assert 1 == sum(found.table.share_of_lost)


def test_a_step_counts_only_after_those_before_it():
    steps = [("logged in", ("login", "sso")), ("exported", ("export",))]
    table = lost_prospects(*trials(SIX), OCTOBER, steps=steps).table.set_index("stage")

    assert ("never", "skipped", "too late") == table.customers["started"]
    assert ("once",) == table.customers["logged in"]
    assert ("back", "dawdled") == table.customers["exported"]


def test_a_trial_that_may_still_convert_is_not_lost_yet():
    spans, usage = trials(SIX)
    found = lost_prospects(spans, usage, OCTOBER, data_until=date(2026, 11, 13))
    assert {"may still convert": 6} == found.excluded
    ripe = lost_prospects(spans, usage, OCTOBER, data_until=date(2026, 11, 14))
    assert ({}, 7) == (ripe.excluded, ripe.used)


def test_only_the_last_trial_that_ended_in_the_period_counts():
    spans, usage = trials([("a", [(0, "login")], None)])
    earlier = spans.assign(
        started_at=day("2026-08-01"),
        ended_at=pd.to_datetime(["2026-09-30"]).astype("datetime64[us]"),
    )
    assert 1 == lost_prospects(pd.concat([spans, earlier]), usage, OCTOBER).rows_in
    assert 0 == lost_prospects(earlier, usage, OCTOBER).rows_in
