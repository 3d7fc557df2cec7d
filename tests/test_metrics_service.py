"""First contact, waiting times, promises, effort: worked examples first, then an oracle."""

from __future__ import annotations

from datetime import date, time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retain.errors import TableError
from retain.metrics import (
    WEEKDAYS_9_TO_17,
    Period,
    Schedule,
    channel_switches,
    first_contact_resolution,
    first_response_time,
    high_effort_share,
    reopened,
    repeat_contacts,
    resolution_time,
    sla_met,
    transferred,
)

OCTOBER = Period.month("2026-10")
MONDAY = pd.Timestamp("2026-10-05 09:00")  # a Monday
LATE = date(2026, 12, 31)


def contacts(many, **columns):
    """Contacts by customers of their own, opened on Monday, resolved an hour later."""
    given = {
        "customer_id": [f"c{at:03}" for at in range(many)],
        "interaction_id": [f"i{at:03}" for at in range(many)],
        "opened_at": MONDAY,
        "resolved_at": MONDAY + pd.Timedelta("1h"),
    }
    return pd.DataFrame({**given, **columns})


# ---- first contact resolution --------------------------------------------------------------------


def two_hundred():
    """200 contacts: 160 resolved at once, 30 of the others beyond the first level."""
    resolved = [MONDAY + pd.Timedelta("1h")] * 160 + [pd.NaT] * 40
    topics = ["bill"] * 160 + ["law"] * 30 + ["bill"] * 10
    return contacts(200, resolved_at=resolved, topic=topics, follows_id=None)


def come_back(many):
    """The first customers come back five days later, each naming the contact it follows."""
    later = contacts(many, opened_at=MONDAY + pd.Timedelta("5D"), topic="bill")
    later = later.assign(
        follows_id=later.interaction_id,
        interaction_id=later.interaction_id + "b",
        resolved_at=later.opened_at,
    )
    return pd.concat([two_hundred(), later])


def test_of_200_contacts_160_are_resolved_at_once_gross_80_percent():
    found = first_contact_resolution(two_hundred(), OCTOBER)

    assert (Fraction(80), 160, 200) == (found.value, found.numerator, found.denominator)


def test_without_30_that_the_first_level_cannot_resolve_net_94_percent():
    found = first_contact_resolution(
        two_hundred(), OCTOBER, variant="net", beyond_first_level=["law"]
    )

    assert (Fraction(16000, 170), "94.1") == (found.value, found.display())
    assert {"beyond the first level": 30} == found.excluded


def test_when_20_of_the_160_come_back_within_a_week_windowed_70_percent():
    found = first_contact_resolution(come_back(20), OCTOBER, variant="windowed", data_until=LATE)

    assert Fraction(70) == found.value
    assert {"follow-up of an earlier contact": 20} == found.excluded
    shorter = first_contact_resolution(
        come_back(20), OCTOBER, variant="windowed", window_days=4, data_until=LATE
    )
    assert Fraction(80) == shorter.value


def test_coming_back_with_the_same_topic_counts_where_no_case_is_named():
    again = contacts(20, opened_at=MONDAY + pd.Timedelta("7D"), topic="bill", follows_id=None)
    again = again.assign(interaction_id=again.interaction_id + "b", resolved_at=again.opened_at)
    given = pd.concat([two_hundred(), again]).drop(columns="follows_id")
    ask = {"variant": "windowed", "data_until": LATE}

    assert Fraction(160, 220) * 100 == first_contact_resolution(given, OCTOBER, **ask).value
    other = given.assign(
        topic=given.topic.mask(given.interaction_id.str.endswith("b"), "another topic")
    )
    assert Fraction(180, 220) * 100 == first_contact_resolution(other, OCTOBER, **ask).value
    assert (
        Fraction(160, 220) * 100
        == first_contact_resolution(other, OCTOBER, same="any", **ask).value
    )


def test_what_is_younger_than_the_window_is_left_out_and_counted():
    ask = {"variant": "windowed", "window_days": 7}
    found = first_contact_resolution(two_hundred(), OCTOBER, data_until=date(2026, 10, 11), **ask)
    assert {"younger than 7 days": 200} == found.excluded

    found = first_contact_resolution(two_hundred(), OCTOBER, data_until=date(2026, 10, 12), **ask)
    assert {} == found.excluded


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (Fraction(14000, 200), "received"),
        (Fraction(14000, 160), "resolved"),
        (Fraction(14000, 220), "contacts"),
    ],
)
def test_the_denominator_is_what_is_asked_for(value, of):
    assert value == first_contact_resolution(come_back(20), OCTOBER, of=of).value


def test_reopened_and_handed_on_cases_are_not_resolved_at_first_contact():
    given = contacts(4, reopen_count=[0, 1, 0, None], transfer_count=[0, 0, 2, None])

    assert Fraction(50) == first_contact_resolution(given, OCTOBER).value


def test_a_case_of_two_contacts_is_one_case_and_not_resolved_at_the_first():
    given = contacts(3, customer_id="a", case_id=["k", "k", None])
    given["opened_at"] += pd.to_timedelta([0, 40, 0], unit="D")  # the second lies in November
    found = first_contact_resolution(given, OCTOBER)

    assert (Fraction(50), 2) == (found.value, found.denominator)
    assert ("i002",) == found.ids().numerator


def test_net_without_topics_and_windowed_without_issues_are_refused():
    with pytest.raises(TableError, match="give its topics as beyond_first_level"):
        first_contact_resolution(two_hundred(), OCTOBER, variant="net")
    with pytest.raises(TableError, match="expected case_id, follows_id or topic"):
        first_contact_resolution(contacts(2), OCTOBER, variant="windowed")


# ---- waiting -------------------------------------------------------------------------------------


def test_from_friday_five_to_monday_half_past_nine_is_half_an_hour_of_opening():
    given = contacts(
        1,
        opened_at=pd.Timestamp("2026-10-02 17:00"),
        first_response_at=pd.Timestamp("2026-10-05 09:30"),
    )

    assert Fraction(129, 2) == first_response_time(given, OCTOBER).value
    found = first_response_time(given, OCTOBER, schedule=WEEKDAYS_9_TO_17)
    assert Fraction(1, 2) == found.value
    assert "business" == found.parameters["clock"]


def test_the_median_of_five_answers_is_not_moved_by_the_slow_one():
    minutes = pd.to_timedelta([10, 20, 30, 40, 400], unit="min")
    given = contacts(5, first_response_at=MONDAY + minutes)

    assert Fraction(1, 2) == first_response_time(given, OCTOBER).value
    p90 = first_response_time(given, OCTOBER, variant="p90").value
    assert np.quantile([10, 20, 30, 40, 400], 0.9) / 60 == pytest.approx(float(p90))


def test_reopened_on_monday_solved_on_wednesday_first_6_full_51_hours():
    given = contacts(
        1,
        resolved_at=pd.Timestamp("2026-10-05 15:00"),
        closed_at=pd.Timestamp("2026-10-07 12:00"),
        reopen_count=1,
    )

    assert Fraction(6) == resolution_time(given, OCTOBER).value
    assert Fraction(51) == resolution_time(given, OCTOBER, until="full").value


def test_open_cases_are_counted_and_the_kaplan_meier_median_keeps_them():
    hours = pd.to_timedelta([3, 5, 8, 40, np.nan], unit="h")
    given = contacts(5, resolved_at=MONDAY + hours)
    ask = {"data_until": date(2026, 10, 8)}
    found = resolution_time(given, OCTOBER, **ask)
    kept = resolution_time(given, OCTOBER, variant="km_median", **ask)

    assert Fraction(13, 2) == found.value
    assert {"not resolved yet": 1} == found.excluded
    assert "Kaplan-Meier median is 8.0 hours" in found.notes[-1]
    assert (Fraction(8), 5, {}) == (kept.value, kept.used, kept.excluded)
    assert {"resolved": 4, "still waiting": 1} == kept.parts


def test_what_is_resolved_after_the_data_end_is_open():
    given = contacts(2, resolved_at=[MONDAY + pd.Timedelta("1h"), MONDAY + pd.Timedelta("9D")])
    found = resolution_time(given, OCTOBER, data_until=date(2026, 10, 10))

    assert (Fraction(1), {"not resolved yet": 1}) == (found.value, found.excluded)


def test_when_fewer_than_half_are_resolved_the_kaplan_meier_median_is_undefined():
    given = contacts(3, resolved_at=[MONDAY + pd.Timedelta("1h"), pd.NaT, pd.NaT])
    found = resolution_time(given, OCTOBER, variant="km_median", data_until=LATE)

    assert (None, "fewer than half are resolved yet") == (found.value, found.undefined_because)


def test_an_answer_before_the_opening_is_left_out():
    given = contacts(2, first_response_at=[MONDAY, MONDAY - pd.Timedelta("1min")])

    assert {"answered before it was opened": 1} == first_response_time(given, OCTOBER).excluded


def test_kaplan_meier_agrees_with_a_table_worked_by_hand_and_brackets_its_median():
    """Ends at 1, 2, 2, 3+ (open), 4, 5+, 6, 8 hours: S = 7/8, 5/8, 15/32 at 4, ..."""
    hours = [1, 2, 2, 3, 4, 5, 6, 8]
    is_open = [False, False, False, True, False, True, False, False]
    end = MONDAY.normalize() + pd.Timedelta("1D")
    given = contacts(8)
    opened = [
        end - pd.Timedelta(hours=h) if waits else MONDAY
        for h, waits in zip(hours, is_open, strict=True)
    ]
    resolved = [
        pd.NaT if waits else MONDAY + pd.Timedelta(hours=h)
        for h, waits in zip(hours, is_open, strict=True)
    ]
    given = given.assign(opened_at=opened, resolved_at=resolved)
    found = resolution_time(given, OCTOBER, variant="km_median", data_until=date(2026, 10, 5))

    assert Fraction(4) == found.value
    assert found.low is None or found.low <= found.value <= found.high


def test_opening_hours_of_another_zone_are_brought_over_with_their_summer_time():
    """Rome is two hours ahead of UTC until 25 October 2026, then one."""
    rome = Schedule(WEEKDAYS_9_TO_17.hours, timezone="Europe/Rome")
    opened = pd.to_datetime(["2026-10-23 06:00:00", "2026-10-26 07:00:00"])
    answered = pd.to_datetime(["2026-10-23 07:30:00", "2026-10-26 08:30:00"])
    given = contacts(2, opened_at=opened, first_response_at=answered, resolved_at=pd.NaT)
    found = first_response_time(given, OCTOBER, schedule=rome, by="interaction_id")

    assert [Fraction(1, 2), Fraction(1, 2)] == [one.value for one in found.segments]


def test_holidays_are_closed_and_midnight_ends_the_day():
    desk = Schedule({day: (time(9), time(17)) for day in range(5)}, {date(2026, 10, 5)})
    given = contacts(
        1,
        opened_at=pd.Timestamp("2026-10-02 16:00"),
        first_response_at=pd.Timestamp("2026-10-06 10:00"),
    )
    assert Fraction(2) == first_response_time(given, OCTOBER, schedule=desk).value

    always = Schedule(dict.fromkeys(range(7), (time(0), time(0))))
    assert Fraction(90) == first_response_time(given, OCTOBER, schedule=always).value


def test_a_schedule_that_makes_no_sense_is_refused():
    with pytest.raises(TableError, match="closing time after the opening time"):
        Schedule({0: (time(17), time(9))})
    with pytest.raises(TableError, match="never open"):
        Schedule({})
    with pytest.raises(TableError, match="no time zone"):
        Schedule(WEEKDAYS_9_TO_17.hours, timezone="Mars/Olympus")


# ---- promises, reopening, handing on -------------------------------------------------------------


def test_shares_of_cases_leave_out_what_is_not_known():
    given = contacts(
        4,
        sla_met=[True, True, False, None],
        reopen_count=[0, 2, None, 0],
        transfer_count=[1, 1, 0, -1],
    )

    assert Fraction(200, 3) == sla_met(given, OCTOBER).value
    assert {"not known": 1} == sla_met(given, OCTOBER).excluded
    assert Fraction(100, 3) == reopened(given, OCTOBER).value
    assert (Fraction(200, 3), {"not a count": 1}) == (
        transferred(given, OCTOBER).value,
        transferred(given, OCTOBER).excluded,
    )


def test_a_repeated_id_counts_once_in_its_newest_state():
    given = contacts(2, interaction_id="i", reopen_count=[0, 1])
    given["resolved_at"] += pd.to_timedelta([0, 5], unit="h")
    found = reopened(given, OCTOBER)

    assert (Fraction(100), {"repeated id": 1}) == (found.value, found.excluded)


# ---- effort --------------------------------------------------------------------------------------


def sequence():
    """One customer: a bill by mail, again by phone after 7 days, after 7.1 days, another topic."""
    days = pd.to_timedelta([0, 7, 14.1, 14.1], unit="D")
    return contacts(
        4,
        customer_id="a",
        topic=["bill", "bill", "bill", "login"],
        channel=["mail", "phone", "mail", "mail"],
        opened_at=MONDAY + days,
        resolved_at=MONDAY + days + pd.Timedelta("1h"),
    )


def test_coming_back_with_the_same_topic_within_seven_days_is_a_repeat():
    found = repeat_contacts(sequence(), OCTOBER)

    assert (Fraction(25), ("i001",)) == (found.value, found.ids().numerator)
    assert Fraction(50) == repeat_contacts(sequence(), OCTOBER, variant="any").value
    assert Fraction(50) == repeat_contacts(sequence(), OCTOBER, window_days=8).value


def test_the_contact_before_may_lie_before_the_period():
    given = sequence().assign(opened_at=lambda t: t.opened_at - pd.Timedelta("5D"))

    assert ("i001",) == repeat_contacts(given, OCTOBER).ids().numerator
    assert 3 == repeat_contacts(given, Period(date(2026, 10, 3), OCTOBER.end)).rows_in


def test_another_channel_than_the_time_before_is_a_switch():
    found = channel_switches(sequence(), OCTOBER)

    assert (Fraction(50), ("i001", "i002")) == (found.value, found.ids().numerator)
    with pytest.raises(TableError, match="column channel is missing"):
        channel_switches(sequence().drop(columns="channel"), OCTOBER)


def test_a_contact_that_names_the_one_it_follows_is_a_repeat_however_late():
    given = contacts(2, customer_id="a", follows_id=[None, "i000"], channel=["mail", "phone"])
    given["opened_at"] += pd.to_timedelta([0, 10], unit="D")

    assert ("i001",) == repeat_contacts(given, OCTOBER).ids().numerator
    assert ("i001",) == channel_switches(given, OCTOBER).ids().numerator


def test_any_sign_makes_a_contact_one_of_high_effort_and_each_is_counted():
    given = contacts(
        5, transfer_count=[0, 1, 2, 0, 2], reopen_count=[0, 0, 0, 1, 1], topic=list("abcde")
    )
    given.loc[0, "resolved_at"] = MONDAY + pd.Timedelta("72h")
    given.loc[1, "resolved_at"] = MONDAY + pd.Timedelta("72h 1s")
    found = high_effort_share(given, OCTOBER)

    assert (Fraction(80), ("i001", "i002", "i003", "i004")) == (
        found.value,
        found.ids().numerator,
    )
    assert {"repeats": 0, "long": 1, "handed on": 2, "reopened": 2} == found.parts


def test_without_any_column_of_effort_there_is_no_share():
    given = contacts(2).drop(columns="resolved_at")
    with pytest.raises(TableError, match="no sign of effort can be read"):
        high_effort_share(given, OCTOBER)


# ---- an oracle of a few lines in pandas ----------------------------------------------------------


def messy(seed, many):
    rng = np.random.default_rng(seed)
    opened = pd.Timestamp("2026-09-10") + pd.to_timedelta(rng.integers(0, 86400 * 60, many), "s")
    resolved = opened + pd.to_timedelta(rng.exponential(40, many).round(2), "h")
    answered = opened + pd.to_timedelta(rng.exponential(20, many).round(2), "h")
    return pd.DataFrame(
        {
            "interaction_id": [f"i{at}" for at in range(many)],
            "customer_id": rng.integers(0, many // 3 + 1, many).astype(str),
            "opened_at": opened.round("s"),
            "resolved_at": resolved.round("s").where(rng.random(many) < 0.85),
            "first_response_at": answered.round("s").where(rng.random(many) < 0.9),
            "topic": rng.choice(["bill", "login", "bug"], many),
            "channel": rng.choice(["mail", "phone"], many),
            "transfer_count": rng.integers(0, 3, many),
            "reopen_count": rng.integers(0, 2, many),
        }
    )


def scaled(table):
    """Three companies like this one."""
    copies = [
        table.assign(
            interaction_id=table.interaction_id + f" of {at}",
            customer_id=table.customer_id + f" of {at}",
        )
        for at in range(3)
    ]
    return pd.concat(copies, ignore_index=True)


def shifted(table):
    back = pd.Timedelta("7D")
    columns = ["opened_at", "resolved_at", "first_response_at"]
    return table.assign(**{name: table[name] - back for name in columns})


def resampled(table):
    drawn = table.sample(frac=1, replace=True, random_state=5)
    return drawn.drop_duplicates("interaction_id").reset_index(drop=True)


WORLDS = {"as it is": lambda t: t, "scaled": scaled, "shifted": shifted, "resampled": resampled}
WEEKS = Period(date(2026, 9, 28), date(2026, 10, 26))


def business_hours(start, end):
    """Count hours from 9 to 17 on weekdays, span by span."""
    total = pd.Timedelta(0)
    for day in pd.date_range(start.normalize(), end.normalize()):
        if day.weekday() < 5:
            opens, closes = day + pd.Timedelta("9h"), day + pd.Timedelta("17h")
            total += max(min(end, closes) - max(start, opens), pd.Timedelta(0))
    return total / pd.Timedelta("1h")


def kaplan_meier(waited, is_over):
    survival = 1.0
    for at in sorted(set(waited[is_over])):
        survival *= 1 - (is_over & (waited == at)).sum() / (waited >= at).sum()
        if survival <= 0.5 + 1e-9:
            return at
    return None


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("seed", "many"), [(1, 60), (2, 500)])
def test_service_metrics_agree_with_the_oracle_in_every_world(world, seed, many):
    table = WORLDS[world](messy(seed, many))
    period = Period(date(2026, 9, 21), date(2026, 10, 19)) if world == "shifted" else WEEKS
    end = pd.Timestamp(period.end)
    ask = {"data_until": (end - pd.Timedelta("1D")).date()}
    t = table[(table.opened_at >= pd.Timestamp(period.start)) & (table.opened_at < end)]
    hour = pd.Timedelta("1h")

    is_over = t.resolved_at < end
    waited = (t.resolved_at.where(is_over, end) - t.opened_at) / hour
    for variant, expected in (
        ("median", waited[is_over].median()),
        ("p90", waited[is_over].quantile(0.9)),
        ("km_median", kaplan_meier(waited, is_over)),
    ):
        found = resolution_time(table, period, variant=variant, **ask)
        assert expected == pytest.approx(float(found.value)), variant

    answered = t[t.first_response_at < end]
    expected = [
        business_hours(a, b)
        for a, b in zip(answered.opened_at, answered.first_response_at, strict=True)
    ]
    found = first_response_time(table, period, schedule=WEEKDAYS_9_TO_17, **ask)
    assert np.median(expected) == pytest.approx(float(found.value))
    assert len(t) - len(answered) == found.excluded.get("not answered yet", 0)

    first = t.resolved_at.notna() & (t.transfer_count == 0) & (t.reopen_count == 0)
    assert Fraction(100 * int(first.sum()), len(t)) == first_contact_resolution(table, period).value

    ordered = table.sort_values(["opened_at", "interaction_id"])
    group = ordered.groupby(["customer_id", "topic"])
    near = ordered.opened_at - group.opened_at.shift(1)
    repeat = (near <= pd.Timedelta("7D")).loc[t.index]
    switch = (near <= pd.Timedelta("14D")) & (ordered.channel != group.channel.shift(1))
    switch = switch.loc[t.index]
    assert 100 * repeat.mean() == pytest.approx(float(repeat_contacts(table, period).value))
    assert 100 * switch.mean() == pytest.approx(float(channel_switches(table, period).value))


# ---- real input ----------------------------------------------------------------------------------

INCIDENTS = Path(__file__).parents[2] / "shared" / "data" / "incident_event_log"


@pytest.fixture(scope="module")
def incidents():
    """The last state of each of 24,918 tickets, under our names."""
    if not INCIDENTS.exists():
        pytest.skip("the incident log is not here: ../shared/data/incident_event_log")
    log = pd.read_parquet(INCIDENTS / "incident_event_log.parquet")
    last = log.groupby("number", sort=False).tail(1)
    at = {"format": "%d/%m/%Y %H:%M", "errors": "coerce"}  # "?" is no date
    return pd.DataFrame(
        {
            "customer_id": last.caller_id,
            "interaction_id": last.number,
            "opened_at": pd.to_datetime(last.opened_at, **at),
            "resolved_at": pd.to_datetime(last.resolved_at, **at),
            "closed_at": pd.to_datetime(last.closed_at, **at),
            "transfer_count": last.reassignment_count,
            "reopen_count": last.reopen_count,
            "sla_met": last.made_sla,
            "topic": last.category,
            "channel": last.contact_type,
        }
    )


ALWAYS = Period(date(2016, 1, 1), date(2018, 1, 1))


def test_the_incident_log_gives_its_published_figures(incidents):
    assert 24_918 == len(incidents)
    assert "54.13" == first_contact_resolution(incidents, ALWAYS).display(2)
    assert "63.42" == sla_met(incidents, ALWAYS).display(2)
    assert "1.10" == reopened(incidents, ALWAYS).display(2)
    assert "145.9" == resolution_time(incidents, ALWAYS, until="full").display(1)


def test_real_tickets_by_channel_add_up_and_no_row_is_lost(incidents):
    found = first_contact_resolution(incidents, ALWAYS, by="channel", variant="windowed")

    assert 24_918 == found.rows_in == sum(one.rows_in for one in found.segments)
    assert found.value < first_contact_resolution(incidents, ALWAYS).value
    assert 0 < found.excluded["younger than 7 days"]
