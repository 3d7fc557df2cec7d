"""Worked examples of every family: the customers are scenes, the expected numbers are by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny import features, fold, read, table, value

from retain.errors import ConfigError
from retain.features import FEATURES, THEMES, Feature, feature, load_own_features
from retain.tables import Mapping
from retain.weeks import Calendar, FoldedWeeks, History

AS_OF = dt.date(2024, 6, 30)  # a Sunday; its week begins on Monday the 24th
LISTS = {"top_features": ("export", "search"), "comment_themes": None}


def of(frame: pd.DataFrame, who: str, *names: str, as_of: dt.date | None = None) -> list[Any]:
    return [value(frame, who, name, as_of) for name in names]


# -- usage ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def used() -> Iterator[FoldedWeeks]:
    """Use of the product; the table begins long before, with the customer called old."""
    rows: list[tuple[Any, ...]] = [
        ("old", "2022-01-03", "export", 1, 60, "u", None),
        # the edges of the windows of 1, 4 and 13 weeks
        ("edges", "2024-06-30T23:59:59", "export", 1, 3600, "u", None),
        ("edges", "2024-07-01T00:00:00", "search", 1000, 3600, "v", None),
        ("edges", "2024-06-24T00:00:00", "search", 2, 1800, "u", None),
        ("edges", "2024-06-23T23:59:59", "search", 4, None, "w", None),
        ("edges", "2024-06-03T00:00:00", "export", 8, 1800, "u", None),
        ("edges", "2024-06-02T23:59:59", "print", 16, 1800, "x", None),
        # silent but for four weeks, the last of them that of AS_OF
        ("quiet", "2024-06-27", "export", 1, 60, "u", None),
        ("quiet", "2024-05-22", "export", 1, 60, "u", None),
        ("quiet", "2024-04-05", "export", 1, 60, "u", None),
        ("quiet", "2024-01-03", "export", 1, 60, "u", None),
        # one week, known in three portions
        ("late", "2024-05-08T09:00", "export", 1, 60, "u", "2024-05-08"),
        ("late", "2024-05-09T09:00", "search", 1, 60, "v", "2024-05-15"),
        ("late", "2024-05-09T10:00", "print", 1, 60, "v", "2024-05-20"),
        ("late", "2024-05-08T11:00", "export", 1, 60, "u", "2024-05-20"),
        # known late within the same week: not late at all
        ("late", "2024-06-24T09:00", "export", 1, 60, "u", "2024-06-30T23:59:59"),
    ]
    # more features and more people than one word of a mask holds
    week, before = dt.datetime(2024, 6, 25), dt.datetime(2024, 5, 1)
    rows += [("wide", week, f"f{n:03}", 1, 60, f"u{n:03}", None) for n in range(70)]
    rows += [("wide", before, f"f{n:03}", 1, 60, f"u{n:03}", None) for n in range(40, 130)]
    # one event in the week 12 weeks ago, two in the next, ... thirteen in the last
    rows += [
        ("climbing", dt.datetime(2024, 4, 3) + dt.timedelta(weeks=n), "export", 1, 60, "u", None)
        for n in range(13)
        for _ in range(n + 1)
    ]
    frame = table(
        "customer_id occurred_at feature quantity duration_s user_id recorded_at", "", *rows
    )
    people = table(
        "customer_id signed_up_at",
        *("",),
        *((who, "2022-01-03") for who in ("old", "edges", "quiet", "late", "wide", "climbing")),
    )
    with read({"usage": frame, "customers": people}) as tables:
        yield fold(tables, lists=LISTS)


@pytest.fixture(scope="module")
def usage(used: FoldedWeeks) -> pd.DataFrame:
    return features(used, AS_OF)


def test_the_last_second_of_as_of_counts_and_the_next_does_not(usage: pd.DataFrame) -> None:
    assert of(usage, "edges", "events_1w", "events_4w", "events_13w", "events_26w") == [2, 4, 5, 5]
    assert of(usage, "edges", "quantity_1w", "quantity_4w", "quantity_13w") == [3, 15, 31]


def test_hours_are_seconds_by_3600_and_missing_ones_add_nothing(usage: pd.DataFrame) -> None:
    assert of(
        usage, "edges", "time_in_product_1w", "time_in_product_4w", "time_in_product_13w"
    ) == [1.5, 2.0, 2.5]


def test_active_days_and_weeks_are_counted_once(usage: pd.DataFrame) -> None:
    assert of(usage, "edges", "active_days_1w", "active_days_4w", "active_days_13w") == [2, 4, 5]
    assert of(usage, "edges", "active_weeks_4w", "active_weeks_13w") == [3, 4]
    assert of(usage, "wide", "active_days_1w", "active_days_13w") == [1, 2]


def test_distinct_values_are_told_apart_beyond_one_word_of_bits(usage: pd.DataFrame) -> None:
    assert of(
        usage, "edges", "distinct_features_1w", "distinct_features_4w", "distinct_features_13w"
    ) == [2, 2, 3]
    assert of(usage, "wide", "distinct_features_1w", "distinct_features_13w") == [70, 130]
    assert of(usage, "wide", "distinct_users_1w", "distinct_users_13w") == [70, 130]
    assert of(usage, "wide", "events_per_user_4w") == [1.0]


def test_change_compares_a_window_with_the_one_before(usage: pd.DataFrame) -> None:
    # 13 + 12 + 11 + 10 = 46 against 9 + 8 + 7 + 6 = 30, and nothing at all against 91
    assert of(usage, "climbing", "events_change_4w", "events_change_13w") == [16 / 76, 1.0]
    # one active day in each of four weeks, then and now
    assert of(usage, "climbing", "active_days_change_4w") == [0.0]
    # 70 features against none, 70 people against 90
    assert of(usage, "wide", "distinct_features_change_4w") == [1.0]
    assert of(usage, "wide", "distinct_users_change_4w") == [1.0]
    assert np.isnan(value(usage, "old", "events_change_4w"))


def test_the_trend_of_a_straight_line_is_its_slope(usage: pd.DataFrame) -> None:
    assert value(usage, "climbing", "events_slope_13w") == pytest.approx(1.0)
    assert value(usage, "climbing", "events_13w") == 91
    assert value(usage, "old", "events_slope_13w") == 0.0


def test_silence_is_counted_in_whole_weeks(usage: pd.DataFrame) -> None:
    # active in the weeks 0, 5, 12 and 25 back: 12 silent weeks between the last two
    assert of(
        usage, "quiet", "longest_silence", "active_weeks_4w", "active_weeks_13w", "active_weeks_26w"
    ) == [12, 1, 3, 4]
    assert of(usage, "old", "longest_silence") == [26]
    assert [value(usage, who, "days_since_last_use") for who in ("quiet", "old")] == [3, 909]


def test_shares_and_age_of_the_features_used_most(usage: pd.DataFrame) -> None:
    # export 2, search 2, print 1 of five events
    assert of(usage, "edges", "share_of_export", "share_of_search") == [2 / 5, 2 / 5]
    assert of(usage, "edges", "weeks_since_export", "weeks_since_search") == [0, 0]
    assert of(usage, "old", "weeks_since_export") == [129]
    assert np.isnan(value(usage, "old", "share_of_export"))
    # 46 of 4 weeks against 45 of the 13 before: 11.5 a week against 45 / 13
    assert value(usage, "climbing", "change_of_export") == pytest.approx(
        (11.5 - 45 / 13) / (11.5 + 45 / 13)
    )


def test_a_late_row_is_invisible_until_known_and_then_counts_at_its_own_date(
    used: FoldedWeeks,
) -> None:
    days = tuple(dt.date(2024, 5, d) for d in (5, 12, 19, 26))
    seen = features(used, *days)

    def told(name: str) -> list[float]:
        return [value(seen, "late", name, day) for day in days]

    assert told("events_4w") == [0, 1, 2, 4]
    assert told("events_1w") == [0, 1, 0, 0]
    assert told("active_days_4w") == [0, 1, 2, 2]
    assert told("active_weeks_4w") == [0, 1, 1, 1]
    assert told("distinct_features_4w") == [0, 1, 2, 3]
    assert told("distinct_users_4w") == [0, 1, 2, 2]
    np.testing.assert_array_equal([np.nan, 4, 10, 17], told("days_since_last_use"))
    np.testing.assert_array_equal([np.nan, 0, 1, 2], told("weeks_since_export"))
    assert [max(x, 0) for x in told("longest_silence")] == [26, 25, 24, 23]
    assert value(features(used, AS_OF), "late", "events_1w") == 1


def test_a_week_that_ends_on_another_day_moves_every_window() -> None:
    rows = [("a", "2024-06-26"), ("a", "2024-06-27"), ("a", "2024-06-20"), ("a", "2022-01-03")]
    frame = table("customer_id occurred_at", "", *rows)
    with read({"usage": frame}) as tables:
        by_wednesday = features(fold(tables, calendar=Calendar("wednesday")), dt.date(2024, 6, 26))
        by_thursday = features(fold(tables, calendar=Calendar("thursday")), dt.date(2024, 6, 27))

    # Thursday the 20th to Wednesday the 26th; Friday the 21st to Thursday the 27th
    assert of(by_wednesday, "a", "events_1w", "active_days_1w") == [2, 2]
    assert of(by_thursday, "a", "events_1w", "events_4w") == [2, 3]


# -- effort -----------------------------------------------------------------------------------

CASES = (
    "interaction_id customer_id opened_at first_response_at resolved_at closed_at channel topic "
    "case_id follows_id transfer_count reopen_count handle_minutes sla_met recorded_at"
)


@pytest.fixture(scope="module")
def served() -> Iterator[FoldedWeeks]:
    frame = table(
        CASES,
        """
        o1 old 2022-01-03 - 2022-01-03 - mail login - - 0 0 5 yes -
        r1 again 2024-06-10T10 - - - mail login - - 0 0 - - -
        r2 again 2024-06-17T10 - - - mail login - - 0 0 - - -
        r3 again 2024-06-24T10:00:01 - - - mail login - - 0 0 - - -
        r4 again 2024-06-24T11 - - - mail price - - 0 0 - - -
        w1 switch 2024-06-03T10 - - - mail login - - 0 0 - - -
        w2 switch 2024-06-17T10 - - - phone login - - 0 0 - - -
        w3 switch 2024-06-24T10 - - - phone login - - 0 0 - - -
        w4 stay 2024-06-03T10 - - - mail login - - 0 0 - - -
        w5 stay 2024-06-17T10:00:01 - - - phone login - - 0 0 - - -
        w6 stay 2024-06-18T10 - - - chat price - - 0 0 - - -
        f1 follow 2024-06-03T10 - - - mail login - - 0 0 - - -
        f2 follow 2024-06-13T10 - - - phone - - f1 0 0 - - -
        k1 case 2024-06-03T10 - - - mail login C1 - 0 0 - - -
        k2 case 2024-06-05T10 - - - mail price C1 - 0 0 - - -
        k3 case 2024-06-20T10 - - - mail login C1 - 0 0 - - -
        k4 case 2024-06-20T11 - - - mail login C2 - 0 0 - - -
        p1 open 2024-06-10T10 - 2024-07-02 - mail login - - 9 9 9 no -
        p2 open 2024-06-20T10 - - - mail price - - 9 9 9 no -
        p3 open 2024-06-21T10 - 2024-06-30T23:59:59 - mail bill - - 0 0 9 yes -
        p4 open 2024-06-20T10 - - - mail sso - - 9 9 9 no 2024-07-03
        s1 solved 2024-06-03T10 2024-06-03T11 2024-06-04T12 - mail a - - 1 0 10 yes -
        s2 solved 2024-06-10T10 2024-06-10T13 2024-06-12T08 - mail b - - 2 0 20 no -
        s3 solved 2024-06-17T10 2024-06-17T12 2024-06-20T11 - mail c - - 0 0 30 - -
        s4 solved 2024-03-04T10 2024-03-04T18 2024-03-05T10 - mail d - - 0 1 40 yes -
        s5 solved 2023-06-05T10 2023-06-05T14 2023-06-06T10 - mail e - - 0 0 50 yes -
        d1 dates 2024-06-10T10 2024-06-10 2024-06-10 - mail a - - 0 0 10 yes -
        d2 dates 2024-06-10T10 - 2024-06-20 2024-06-12T10 mail b - - 0 0 10 yes -
        d3 dates 2024-06-10T10 - - 2024-06-14T10 mail c - - 0 0 10 yes -
        l1 latecase 2024-06-03T10 - - - mail login - - 0 0 - - 2024-06-03
        l2 latecase 2024-06-09T10 - - - phone login - - 0 0 - - 2024-06-10
        l3 latecase 2024-06-12T10 - - - phone login - - 0 0 - - 2024-06-12
        l4 latecase 2024-06-11T10 - - - chat login - - 0 0 - - 2024-06-25
        """,
    )
    whole = table(
        "customer_id signed_up_at",
        "",
        *((who, "2022-01-03") for who in frame["customer_id"].unique()),
    )
    with read({"interactions": frame, "customers": whole}) as tables:
        yield fold(tables, lists=LISTS)


@pytest.fixture(scope="module")
def effort(served: FoldedWeeks) -> pd.DataFrame:
    return features(served, AS_OF)


def test_a_contact_within_exactly_seven_days_is_a_repeat_and_a_second_later_not(
    effort: pd.DataFrame,
) -> None:
    assert of(effort, "again", "contacts_4w", "repeat_contacts_4w", "cases_4w") == [4, 1, 3]
    assert of(effort, "again", "weeks_since_repeat_contact") == [1]
    assert of(effort, "again", "effort_per_contact") == [0.25]


def test_another_channel_within_fourteen_days_is_a_switch(effort: pd.DataFrame) -> None:
    # mail, then phone after 14 days: a switch but no repeat; phone after phone: a repeat only
    assert of(effort, "switch", "channel_switches_4w", "repeat_contacts_4w") == [1, 1]
    # a second later; and another topic on another channel
    assert of(effort, "stay", "channel_switches_4w", "repeat_contacts_4w", "channels_used_13w") == [
        0,
        0,
        3,
    ]


def test_a_follow_up_is_a_repeat_of_the_contact_it_names(effort: pd.DataFrame) -> None:
    assert of(effort, "follow", "repeat_contacts_4w", "channel_switches_4w", "cases_4w") == [
        1,
        1,
        1,
    ]


def test_contacts_of_one_case_are_one_case_however_far_apart(effort: pd.DataFrame) -> None:
    assert of(effort, "case", "contacts_4w", "cases_4w", "repeat_contacts_4w") == [4, 2, 1]


def test_open_cases_and_their_age_know_nothing_of_a_later_end(effort: pd.DataFrame) -> None:
    # open since the 10th and the 20th; what is over on the last second is over
    assert of(effort, "open", "open_cases", "open_cases_age") == [2, 15.0]
    assert of(
        effort,
        "open",
        "transfers_4w",
        "reopens_4w",
        "handle_minutes_4w",
        "missed_service_levels_13w",
    ) == [0, 0, 9, 0]
    assert np.isnan(value(effort, "solved", "open_cases_age"))


def test_times_are_means_over_the_cases_that_ended(effort: pd.DataFrame) -> None:
    # 26, 46 and 73 hours; first responses after 1, 3 and 2 hours
    assert value(effort, "solved", "resolution_hours_13w") == pytest.approx((26 + 46 + 73) / 3)
    assert value(effort, "solved", "first_response_hours_13w") == pytest.approx(2.0)
    # and with the case of March: 24 hours and 8 hours
    assert value(effort, "solved", "resolution_hours_26w") == pytest.approx(169 / 4)
    assert value(effort, "solved", "first_response_hours_26w") == pytest.approx(14 / 4)
    # against the year before: (24 + 24) / 2 hours, and (8 + 4) / 2 to the first response
    assert value(effort, "solved", "resolution_against_own_past") == pytest.approx(
        (145 / 3 - 24) / (145 / 3 + 24)
    )
    assert value(effort, "solved", "first_response_against_own_past") == pytest.approx(-4 / 8)


def test_hard_cases_are_those_with_a_sign_of_effort(effort: pd.DataFrame) -> None:
    # two transfers; 73 hours; and, 17 weeks ago, reopened
    assert of(
        effort,
        "solved",
        "hard_cases_4w",
        "hard_case_share_13w",
        "hard_cases_26w",
        "hard_case_share_26w",
        "weeks_since_hard_case",
    ) == [2, 2 / 3, 3, 3 / 4, 1]
    assert of(
        effort,
        "solved",
        "transfers_4w",
        "reopens_26w",
        "handle_minutes_4w",
        "missed_service_levels_13w",
    ) == [3, 1, 60, 1]


def test_a_bare_date_ends_a_case_of_that_day_and_the_earlier_end_counts(
    effort: pd.DataFrame,
) -> None:
    # 0 hours, 48 until closed (resolved later), 96 until closed
    assert of(
        effort, "dates", "open_cases", "resolution_hours_13w", "first_response_hours_13w"
    ) == [0, 48.0, 0.0]


def test_a_contact_repeats_only_what_was_known_when_it_was(served: FoldedWeeks) -> None:
    seen = features(served, dt.date(2024, 6, 9), dt.date(2024, 6, 16), dt.date(2024, 6, 30))

    def told(name: str) -> list[float]:
        return [value(seen, "latecase", name, day) for day in seen.index.unique("as_of")]

    assert told("contacts_4w") == [1, 3, 4]
    # Sunday's phone call, known on Monday, repeats the mail; Wednesday's repeats Sunday's, as both
    # are known by then; the chat in between turns up two weeks later, and repeats Sunday's call
    assert told("repeat_contacts_4w") == [0, 2, 3]
    assert told("channel_switches_4w") == [0, 1, 2]


def test_nothing_is_said_of_weeks_before_the_table_began() -> None:
    frame = table(
        "interaction_id customer_id opened_at topic",
        """
        i1 early 2024-05-06 a
        i2 young 2024-06-04 a
        i3 early 2024-06-25 a
        """,
    )
    people = table(
        "customer_id signed_up_at", "early 2022-01-03\nyoung 2024-06-03\nnobody 2022-01-03"
    )
    with read({"interactions": frame, "customers": people}) as tables:
        seen = features(fold(tables), AS_OF)

    # the table holds eight weeks: thirteen are not known of those who were there before
    assert of(seen, "early", "contacts_4w", "contacts_1w") == [1, 1.0]
    assert np.isnan(value(seen, "early", "contacts_13w"))
    assert np.isnan(value(seen, "nobody", "contacts_13w"))
    assert of(seen, "young", "contacts_4w", "contacts_13w", "contacts_26w") == [1, 1, 1]
    assert of(seen, "nobody", "contacts_4w") == [0]
    # four weeks against the four before lie within the table
    assert of(seen, "early", "contacts_change_4w") == [0.0]


def test_without_an_end_of_cases_nothing_that_is_known_at_their_end_is_told() -> None:
    frame = table(
        "interaction_id customer_id opened_at topic transfer_count reopen_count",
        "i1 a 2024-06-25 x 3 1\ni2 a 2024-06-26 x 0 0",
    )
    with read({"interactions": frame}) as tables:
        seen = features(fold(tables), AS_OF)

    assert not [name for name in seen if name.startswith(("transfers", "reopens", "open_cases"))]
    assert of(seen, "a", "hard_cases_4w", "contacts_4w") == [1, 2]  # the repeat


# -- surveys ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked() -> Iterator[FoldedWeeks]:
    frame = table(
        "customer_id kind score sent_at answered_at comment recorded_at",
        """
        old nps 5 2022-01-03 2022-01-03 - -
        mixed nps 6 2024-06-01 2024-06-05 good -
        mixed nps - 2024-06-10 - - -
        mixed nps 10 2024-06-20 2024-07-01T00:00:00 late -
        mixed csat 4 2024-06-25 2024-06-30T23:59:59 fine_so_far -
        mixed nps 2 2023-12-01 2023-12-03 - -
        mixed nps 4 2023-11-01 2023-11-03 - -
        tie nps 3 2024-06-20 2024-06-21 - -
        tie nps 9 2024-06-20 2024-06-21 - -
        late nps 8 2024-06-17 2024-06-18T10 - 2024-06-25
        late nps 1 2024-06-17 2024-06-19T10 - -
        late nps 5 2024-06-17 2024-06-17T10 - 2024-06-24
        """,
    )
    frame["comment"] = frame["comment"].str.replace("_", " ")
    people = table(
        "customer_id signed_up_at",
        "",
        *((who, "2022-01-03") for who in frame["customer_id"].unique()),
    )
    frames = {
        "surveys": frame,
        "customers": people,
        "usage": table("customer_id occurred_at", "old 2022-01-03"),
    }
    frames["surveys"] = Mapping(source=frame)
    with read(frames) as tables:
        yield fold(tables, lists=LISTS)


@pytest.fixture(scope="module")
def answers(asked: FoldedWeeks) -> pd.DataFrame:
    return features(asked, AS_OF)


def test_an_answer_counts_from_when_it_was_given(answers: pd.DataFrame) -> None:
    assert of(
        answers,
        "mixed",
        "last_answer_nps",
        "weeks_since_nps",
        "last_answer_csat",
        "weeks_since_csat",
    ) == [6, 3, 4, 0]
    assert of(answers, "mixed", "weeks_since_answer") == [0]


def test_means_and_changes_of_answers(answers: pd.DataFrame) -> None:
    # 6 in the last 13 weeks, (2 + 4) / 2 in the year before them
    assert of(answers, "mixed", "mean_nps_26w", "change_in_nps") == [6.0, 3.0]
    assert np.isnan(value(answers, "old", "mean_nps_26w"))


def test_answered_share_and_silence(answers: pd.DataFrame) -> None:
    # four asked since January, two answered by AS_OF; two more answered in the year before
    assert of(
        answers,
        "mixed",
        "answered_share_26w",
        "answered_share_52w",
        "unanswered_surveys_13w",
        "unanswered_surveys_26w",
    ) == [2 / 4, 4 / 6, 2, 2]


def test_comments_and_their_length(answers: pd.DataFrame) -> None:
    assert of(answers, "mixed", "comments_26w", "comment_length_26w") == [2, (4 + 11) / 2]
    assert of(answers, "tie", "comments_26w") == [0]


def test_equal_stamps_are_settled_by_the_value(answers: pd.DataFrame) -> None:
    assert of(answers, "tie", "last_answer_nps") == [9]


def test_the_last_answer_is_the_newest_by_its_own_stamp_however_late_it_was_known(
    asked: FoldedWeeks,
) -> None:
    seen = features(asked, dt.date(2024, 6, 23), AS_OF)

    # the answers of the 17th and the 18th turn up in the week after; the 19th's stays the last
    assert [
        value(seen, "late", "last_answer_nps", day) for day in (dt.date(2024, 6, 23), AS_OF)
    ] == [1, 1]
    assert value(seen, "late", "mean_nps_26w", AS_OF) == pytest.approx((8 + 1 + 5) / 3)


# -- commercial -------------------------------------------------------------------------------

SPANS = (
    "subscription_id customer_id started_at ended_at mrr plan billing_period is_trial cancelled_at "
    "recorded_at"
)


@pytest.fixture(scope="module")
def billed() -> Iterator[FoldedWeeks]:
    spans = table(
        SPANS,
        """
        s0 old 2022-01-03 - 10 a monthly no - -
        s1 climb 2023-06-05 2023-07-03 0 a monthly yes - -
        s2 climb 2023-07-03 2023-10-02 100 a annual no - -
        s3 climb 2023-10-02 2024-01-01 120 a annual no - -
        s4 climb 2024-01-01 2024-05-06 150 b annual no - -
        s5 climb 2024-05-06 - 90 b annual no - -
        t1 back 2023-01-02 2023-06-05 50 a weekly no - -
        t2 back 2024-03-04 - 50 a triennial no - -
        n1 notice 2024-01-01 2024-07-01 70 a semiannual no 2024-06-28 -
        n2 later 2024-01-01 2024-07-01 70 a quarterly no 2024-07-01 -
        a1 addon 2024-01-01 - 70 a monthly no - -
        a2 addon 2024-06-10 - 30 b monthly no - -
        x1 swap 2024-01-01 2024-06-10 70 a monthly no - -
        x2 swap 2024-02-01 - 20 b monthly no - -
        x3 swap 2024-06-10 - 80 a monthly no - -
        l1 lateone 2024-01-01 2024-06-17 70 a monthly no - -
        l2 lateone 2024-06-17 - 99 a monthly no - 2024-06-26
        c1 cents 2024-01-01 2024-02-01 49.99 a monthly no - -
        c2 cents 2024-01-01 - 30.01 a monthly no - -
        """,
    )
    paid = table(
        "payment_id customer_id paid_at amount status recorded_at",
        """
        p0 old 2022-01-03 10 paid -
        g1 gaps 2024-05-01T08 30 paid -
        g2 gaps 2024-05-11T08 30 paid -
        g3 gaps 2024-05-11T20 0 paid -
        g4 gaps 2024-05-31 60 refunded -
        g5 gaps 2024-06-15 -20 paid -
        g6 gaps 2024-06-20 99 failed -
        g7 gaps 2024-06-21 99 pending -
        g8 gaps 2024-07-01 1000 paid -
        l1 split 2024-06-03 10 paid -
        l2 split 2024-06-11 10 paid -
        l3 split 2024-06-07 10 paid 2024-06-18
        l4 split 2024-06-11 10 paid 2024-06-25
        s1 sunday 2024-06-02 10 paid 2024-06-03
        s2 sunday 2024-06-09 10 paid 2024-06-10
        s3 sunday 2024-06-12 10 paid 2024-06-12
        """,
    )
    who = {*spans["customer_id"], *paid["customer_id"]}
    people = table("customer_id signed_up_at", "", *((one, "2022-01-03") for one in sorted(who)))
    with read({"subscriptions": spans, "payments": paid, "customers": people}) as tables:
        yield fold(tables, lists=LISTS)


@pytest.fixture(scope="module")
def money(billed: FoldedWeeks) -> pd.DataFrame:
    return features(billed, AS_OF)


def test_mrr_is_what_runs_on_as_of(money: pd.DataFrame) -> None:
    assert [value(money, who, "mrr") for who in ("climb", "back", "notice", "later", "addon")] == [
        90,
        50,
        70,
        70,
        100,
    ]
    assert of(money, "cents", "mrr") == [30.01]
    # 13 weeks ago 150; 52 weeks ago on trial
    assert of(money, "climb", "mrr_change_13w", "mrr_change_52w", "mrr_change_4w") == [
        -60 / 240,
        1.0,
        0.0,
    ]
    assert of(money, "cents", "mrr_change_13w") == [0.0]


def test_price_rise_upgrade_and_downgrade_are_told_apart(money: pd.DataFrame) -> None:
    # Monday 2 October, 1 January and 6 May: 38, 25 and 7 weeks before that of AS_OF
    assert of(
        money, "climb", "weeks_since_price_rise", "weeks_since_upgrade", "weeks_since_downgrade"
    ) == [38, 25, 7]
    # a second contract beside the first is more, and the first of all is nothing
    assert of(money, "addon", "weeks_since_upgrade") == [2]
    assert all(np.isnan(value(money, "old", name)) for name in ("weeks_since_upgrade",))
    # what is replaced is what ended that day, not what began last
    assert of(money, "swap", "weeks_since_price_rise") == [2]
    assert np.isnan(value(money, "later", "weeks_since_price_rise"))


def test_a_return_follows_a_gap(money: pd.DataFrame) -> None:
    assert of(money, "back", "weeks_since_return") == [16]  # Monday 4 March
    assert np.isnan(value(money, "climb", "weeks_since_return"))


def test_the_renewal_date_is_derived_from_start_and_term(money: pd.DataFrame) -> None:
    month = 365.25 / 12
    # annual from 6 May: 55 days run; triennial from 4 March: 118 days run
    assert value(money, "climb", "weeks_to_renewal") == pytest.approx((12 * month - 55) / 7)
    assert value(money, "back", "weeks_to_renewal") == pytest.approx((36 * month - 118) / 7)
    # semiannual from 1 January: 181 days run of 182.625
    assert value(money, "notice", "weeks_to_renewal") == pytest.approx((6 * month - 181) / 7)
    assert [
        value(money, who, "billing_period_months")
        for who in ("climb", "back", "notice", "later", "addon")
    ] == [12, 36, 6, 3, 1]
    assert [value(money, who, "plan") for who in ("climb", "back")] == ["b", "a"]


def test_a_span_recorded_late_changes_price_and_state_only_then(billed: FoldedWeeks) -> None:
    seen = features(billed, dt.date(2024, 6, 23), AS_OF)

    assert [value(seen, "lateone", "mrr", day) for day in seen.index.unique("as_of")] == [0, 99]
    assert np.isnan(value(seen, "lateone", "weeks_since_price_rise", dt.date(2024, 6, 23)))
    assert value(seen, "lateone", "weeks_since_price_rise", AS_OF) == 1


def test_orders_money_and_returns(money: pd.DataFrame) -> None:
    # a row overwritten as refunded was an order when it was made; nothing for pending or failed
    assert of(
        money,
        "gaps",
        "orders_13w",
        "spend_13w",
        "purchase_days_ever",
        "returns_13w",
        "failed_payments_4w",
    ) == [4, 120, 3, 1, 1]
    assert of(
        money,
        "gaps",
        "orders_4w",
        "average_order_value",
        "returned_share_52w",
        "weeks_since_failed_payment",
    ) == [0, 30.0, 20 / 120, 1]


def test_gaps_between_purchases(money: pd.DataFrame) -> None:
    # 1, 11 and 31 May: gaps of 10 and 20 days; 30 days since
    assert of(
        money,
        "gaps",
        "days_since_purchase",
        "purchase_gap",
        "purchase_gap_deviation",
        "purchase_gap_against_own",
    ) == [30, 15.0, 5.0, 2.0]
    assert np.isnan(value(money, "old", "purchase_gap"))


def test_a_purchase_that_turns_up_late_splits_the_gap_it_fell_into(billed: FoldedWeeks) -> None:
    days = tuple(dt.date(2024, 6, d) for d in (16, 23, 30))
    seen = features(billed, *days)

    def told(who: str, name: str) -> list[float]:
        return [value(seen, who, name, day) for day in days]

    # 3 and 11 June; then 7 June as well; then one more on the 11th, which is no new day
    assert told("split", "purchase_gap") == [8, 4, 4]
    assert told("split", "purchase_days_ever") == [2, 3, 3]
    assert told("split", "orders_ever") == [2, 3, 4]
    np.testing.assert_array_equal([np.nan, 0, 0], told("split", "purchase_gap_deviation"))
    # Sunday's purchases are known on Monday: Wednesday's gap counts from the last of them
    assert told("sunday", "purchase_gap") == [5.0, 5.0, 5.0]
    assert told("sunday", "purchase_gap_deviation") == [2.0, 2.0, 2.0]


def test_referrals_and_departures() -> None:
    frames = {
        "usage": table("customer_id occurred_at", "a 2022-01-03\nb 2022-01-03\nc 2024-06-03"),
        "referrals": table(
            "referrer_id referred_at", "b 2022-01-03\na 2024-06-25\na 2024-02-01\na 2024-07-01"
        ),
        "departures": table(
            "customer_id left_at returned_at", "b 2023-01-02 2024-05-06\na 2022-02-01 2024-07-02"
        ),
    }
    with read(frames) as tables:
        seen = features(fold(tables), AS_OF)

    assert of(seen, "a", "referrals_made_13w", "referrals_made_52w") == [1, 2]
    assert of(seen, "b", "weeks_since_return") == [7]
    assert np.isnan(value(seen, "a", "weeks_since_return"))


# -- profile ----------------------------------------------------------------------------------


def test_tenure_counts_from_signing_up_else_from_the_first_thing_known() -> None:
    frames = {
        "customers": table("customer_id signed_up_at", "a 2024-06-02\nb -\nc 2024-07-01"),
        "usage": table(
            "customer_id occurred_at recorded_at",
            """
            a 2024-06-25 -
            b 2024-06-16 -
            b 2024-06-02 2024-06-28
            b 2024-01-01 2024-07-03
            c 2024-06-20 -
            """,
        ),
    }
    with read(frames) as tables:
        seen = features(fold(tables), dt.date(2024, 6, 23), AS_OF)

    assert value(seen, "a", "tenure_weeks", AS_OF) == 4
    assert [value(seen, "b", "tenure_weeks", d) for d in seen.index.unique("as_of")] == [1, 4]
    assert np.isnan(value(seen, "c", "tenure_weeks", AS_OF))  # signs up tomorrow


def test_a_sign_up_recorded_late_counts_from_then_and_the_first_that_was_told_stands() -> None:
    frames = {
        "customers": table(
            "customer_id signed_up_at recorded_at",
            "a 2024-01-07 2024-06-26\na 2023-12-31 2024-07-03\nb 2024-01-07 -",
        ),
        "usage": table("customer_id occurred_at", "a 2024-06-16\nb 2024-06-16"),
    }
    with read(frames) as tables:
        seen = features(fold(tables), dt.date(2024, 6, 23), AS_OF, dt.date(2024, 7, 7))

    assert [value(seen, "a", "tenure_weeks", d) for d in seen.index.unique("as_of")] == [1, 25, 26]
    assert value(seen, "b", "tenure_weeks", AS_OF) == 25


def test_an_attribute_with_history_is_what_was_valid_and_known_then() -> None:
    people = Mapping(
        source=table(
            "customer_id valid_from recorded_at segment seats tier country",
            """
            a 2024-01-01 2024-01-01 small 3 x IT
            a 2024-05-01 2024-05-01 middle 5 x IT
            a 2024-06-10 2024-06-26 large 9 y IT
            a 2024-04-01 2024-06-27 wrong 1 z IT
            b 2024-07-01 2024-07-01 small 3 x FR
            """,
        ),
        attributes=("tier", "country"),
        constant=("country",),
    )
    usage = table("customer_id occurred_at", "a 2024-01-02\nb 2024-01-02")
    with read({"customers": people, "usage": usage}) as tables:
        days = tuple(dt.date(2024, *d) for d in ((4, 7), (6, 23), (6, 30), (7, 7)))
        seen = features(fold(tables), *days)

    def told(who: str, name: str) -> list[Any]:
        return [value(seen, who, name, day) for day in days]

    # what became valid on 10 June was known on the 26th; what was valid from April never ruled
    assert told("a", "attribute_segment") == ["small", "middle", "large", "large"]
    assert told("a", "attribute_seats") == [3, 5, 9, 9]
    assert told("a", "attribute_country") == ["IT"] * 4
    assert [one if isinstance(one, str) else None for one in told("b", "attribute_segment")] == [
        None,
        None,
        None,
        "small",
    ]


def test_attributes_as_exported_are_features_only_with_history_or_when_constant() -> None:
    people = Mapping(
        source=table("customer_id segment seats tier country", "a small 3 x IT\nb large 9 y FR"),
        attributes=("tier", "country"),
        constant=("country",),
    )
    usage = table("customer_id occurred_at", "a 2024-01-02\nb 2024-01-02")
    kept = table("customer_id recorded_at tier", "a 2024-06-24 w\nb 2024-07-01 w")
    with read({"customers": people, "usage": usage}) as tables:
        bare = features(fold(tables), AS_OF)
        known = features(fold(tables, kept), AS_OF)

    assert [name for name in bare if name.startswith("attribute_")] == ["attribute_country"]
    assert [name for name in known if name.startswith("attribute_")] == [
        "attribute_country",
        "attribute_tier",
    ]
    assert value(known, "a", "attribute_tier") == "w"
    assert not isinstance(value(known, "b", "attribute_tier"), str)


def test_the_season_goes_round_once_a_year(usage: pd.DataFrame) -> None:
    assert value(usage, "old", "season_cosine") == pytest.approx(-1, abs=0.01)
    assert value(usage, "old", "season_sine") == pytest.approx(0, abs=0.05)


# -- the catalogue ----------------------------------------------------------------------------


@pytest.mark.parametrize("one", FEATURES, ids=lambda one: one.name)
def test_a_feature_speaks_plainly(one: Feature) -> None:
    assert one.unit
    assert one.signal
    assert one.theme in THEMES
    assert 2 <= len(one.label.split()) <= 16
    assert not one.label.endswith(".")


def test_columns_have_names_of_their_own_and_labels_without_holes(usage: pd.DataFrame) -> None:
    history = History(FoldedWeeks(Calendar(), np.zeros(0, object), {}, 0, np.zeros(0)), [0])
    history.lists = {"top_features": ("export",), "comment_themes": ("slow",)}
    columns = [column for one in FEATURES for column in one.columns(history)]

    assert len(columns) == len({column.name for column in columns})
    assert [column.label for column in columns if "{" in column.label] == []
    known = {column.name for column in columns}
    assert [column.name for column in columns if column.of and column.of not in known] == []


@pytest.mark.parametrize("name", ["usage", "interactions", "payments", "subscriptions"])
def test_features_survive_a_table_without_a_row_in_time(name: str) -> None:
    rows = {
        "usage": table("customer_id occurred_at feature user_id", "a 2024-08-01 x u"),
        "interactions": table(CASES, "i a 2024-08-01 - - - m t - - 0 0 1 yes -"),
        "payments": table("payment_id customer_id paid_at amount", "p a 2024-08-01 5"),
        "subscriptions": table(SPANS, "s a 2024-08-01 - 5 p monthly no - -"),
    }
    people = table("customer_id signed_up_at", "a 2024-01-01\nb 2024-01-01")
    with read({name: rows[name], "customers": people}) as tables:
        seen = features(fold(tables), AS_OF)

    assert len(seen) == 2
    numbers = seen.select_dtypes("number").drop(columns=["tenure_weeks"])
    numbers = numbers[[c for c in numbers if not c.startswith("season")]]
    assert numbers.isin([0.0, np.nan]).all(axis=None)


def test_a_companys_own_feature_is_built_beside_ours(used: FoldedWeeks) -> None:
    @feature(unit="events", signal="my own", theme="usage", over=(2,))
    def my_events(history: History, weeks: int) -> Any:
        """Events of mine in the last {weeks}."""
        return history.usage.total("events", weeks)

    seen = features(used, AS_OF, own=(my_events,))

    assert of(seen, "edges", "my_events_2w") == [3]


def test_a_file_of_own_features_is_loaded_and_a_bad_one_explained(tmp_path: Any) -> None:
    good = tmp_path / "good.py"
    good.write_text(
        "from retain.features import feature\n"
        "@feature(unit='events', signal='mine', theme='usage')\n"
        "def mine(history):\n    '''Mine.'''\n    return history.usage.total('events')\n"
        "FEATURES = (mine,)\n"
    )
    own, mark = load_own_features(good)
    assert ([one.name for one in own], len(mark)) == (["mine"], 16)

    with pytest.raises(ConfigError, match="does not exist"):
        load_own_features(tmp_path / "none.py")
    bad = tmp_path / "bad.py"
    bad.write_text("FEATURES = (1,)\n")
    with pytest.raises(ConfigError, match="not a feature"):
        load_own_features(bad)
    bad.write_text("import nowhere_at_all\n")
    with pytest.raises(ConfigError, match="could not be used"):
        load_own_features(bad)


def test_columns_that_would_share_a_name_are_numbered() -> None:
    frames = {
        "usage": table(
            "customer_id occurred_at feature",
            "a 2024-06-25 contact\na 2024-06-18 Contact!\na 2022-01-03 search",
        ),
        "interactions": table("interaction_id customer_id opened_at", "i a 2024-06-11"),
    }
    lists = {"top_features": ("contact", "Contact!"), "comment_themes": None}
    with read(frames) as tables:
        seen = features(fold(tables, lists=lists), AS_OF)

    assert seen.columns.is_unique
    names = ("weeks_since_contact", "weeks_since_contact_2", "weeks_since_contact_3")
    assert of(seen, "a", *names) == [0, 1, 2]
