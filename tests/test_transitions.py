"""Weekly transitions: worked examples of who is told about, and who is not."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from retain.actions.transitions import (
    at_risk_by_week,
    data_stale,
    most_engaged,
    newly_at_risk,
    recovered,
    renewal_at_risk,
)
from retain.weeks import UsualWeeks

LAST = date(2026, 11, 15)
TOLD = {"most": 10, "currency": "EUR"}
AHEAD = {**TOLD, "horizon_weeks": 13}


def row(who: str, band: str = "low", chance: float = 0.05, **more) -> dict:
    return {
        "customer_id": who,
        "eligible": True,
        "risk_band": band,
        "churn_probability": chance,
        "churn_low": chance / 2,
        "churn_high": min(1.0, chance * 2),
        "percentile": {"low": 30.0, "watch": 85.0, "high": 97.0}[band],
        "change_model": 0.0,
        "value_at_risk": 1000.0 * chance,
        "mrr": 500.0,
        "renews_at": None,
        "term_months": 12.0,
        "owner": "Ann",
        "segment": None,
        "driver_1": f"Logins of {who} fell from 14 to 5; similar customers: 13",
        "driver_2": None,
        "driver_3": None,
        "protective_1": f"NPS of {who} rose from 6 to 9",
        "protective_2": None,
        **more,
    }


def weeks(*rows_by_week: list[dict]) -> list[pd.DataFrame]:
    """Scored weeks, the last of them of `LAST`."""
    n = len(rows_by_week)
    return [
        pd.DataFrame(rows).assign(as_of=str(LAST - timedelta(weeks=n - 1 - at)))
        for at, rows in enumerate(rows_by_week)
    ]


def who(found) -> list[str]:
    return [alert.customer_id for alert in found]


# ---- risk --------------------------------------------------------------------------------------


def test_a_rise_into_the_high_band_is_told_with_numbers_and_drivers():
    (one,) = newly_at_risk(weeks([row("C1")], [row("C1", "high", 0.23)]), **AHEAD)

    assert (
        "C1 is newly at risk: 23.0 % to leave within 13 weeks, up from 5.0 %; EUR 230 at risk."
        == one.sentence
    )
    assert ("newly_at_risk", "Ann", "2026-11-15", 230.0) == (
        one.rule,
        one.owner,
        one.episode,
        one.worth,
    )
    assert [
        ("The estimate lies between 11.5 % and 46.0 %", "scores 2026-11-15"),
        ("Logins of C1 fell from 14 to 5; similar customers: 13", "drivers 2026-11-15"),
    ] == [(e.text, e.source) for e in one.evidence]


def test_two_signals_that_speak_through_one_figure_are_evidence_once():
    said = {f"driver_{n}": text for n, text in enumerate(["Use fell", "Use fell", "No NPS"], 1)}
    more = {"driver_4": "Renewal near", "driver_5": "Few users"}
    (one,) = newly_at_risk(weeks([row("C1")], [row("C1", "high", 0.23, **said, **more)]), **AHEAD)

    texts = [evidence.text for evidence in one.evidence]
    assert ["Use fell", "No NPS", "Renewal near"] == texts[1:]


def test_who_was_at_risk_before_is_not_new_even_after_a_week_in_watch():
    flapping = weeks([row("C1", "high", 0.2)], [row("C1", "watch", 0.1)], [row("C1", "high", 0.2)])

    assert [] == newly_at_risk(flapping, **AHEAD)
    assert [{"C1"}] * 3 == at_risk_by_week(flapping)


def test_a_small_rise_and_one_of_the_model_alone_are_not_told():
    before = [row("C1", "watch", 0.19), row("C2", "watch", 0.10), row("C3", "watch", 0.10)]
    now = [
        row("C1", "high", 0.205),  # 1.5 points
        row("C2", "high", 0.20, change_model=0.09),  # 1 point of its own
        row("C3", "high", 0.12),  # exactly 2 points
    ]

    assert ["C3"] == who(newly_at_risk(weeks(before, now), **AHEAD))


def test_only_the_most_valuable_are_told_up_to_the_capacity():
    before = [row(f"C{n}") for n in range(9)]
    now = [row(f"C{n}", "high", 0.2, value_at_risk=float(n)) for n in range(9)]

    assert ["C8", "C7"] == who(newly_at_risk(weeks(before, now), **{**AHEAD, "most": 2}))


def test_without_a_week_before_or_after_a_long_gap_nobody_is_new():
    now = weeks([row("C1", "high", 0.2)])
    gap = [weeks([row("C1")])[0].assign(as_of="2026-10-11"), now[0]]

    assert [] == newly_at_risk(now, **AHEAD)
    assert [] == newly_at_risk(gap, **AHEAD)


def test_who_was_missing_from_last_week_is_not_first_scored_now():
    """A run in which half of the customers were missing made them all new."""
    seen = weeks([row("C1"), row("C2", "high", 0.2)], [row("C0")], [row("C1", "high", 0.2)])
    (told,) = newly_at_risk(seen, **AHEAD)
    assert "not scored last week" in told.sentence

    first = weeks([row("C0")], [row("C0"), row("C9", "high", 0.2)])
    assert "first scored this week" in newly_at_risk(first, **AHEAD)[0].sentence
    # scored longer ago than these weeks tell: the week itself says so
    long_ago = row("C9", "high", 0.2, change_unknown_because="not scored last week")
    (told,) = newly_at_risk(weeks([row("C0")], [row("C0"), long_ago]), **AHEAD)
    assert "not scored last week" in told.sentence

    again = weeks([row("C2", "high", 0.2)], [row("C0")], [row("C2", "high", 0.2)])
    assert [] == newly_at_risk(again, **AHEAD)  # at risk when it was last scored


def test_weeks_that_nobody_was_told_about_are_caught_up():
    three = weeks([row("C1")], [row("C1", "high", 0.2)], [row("C1", "high", 0.25)])

    assert [] == newly_at_risk(three, **AHEAD)
    assert ["C1"] == who(newly_at_risk(three, **AHEAD, back=2))


def test_who_is_not_eligible_is_not_at_risk():
    gone = row("C1", "high", 0.3, eligible=False)

    assert [] == newly_at_risk(weeks([row("C1")], [gone]), **AHEAD)


def test_recovered_is_told_after_two_weeks_at_risk_below_the_lower_threshold():
    high, low = row("C1", "high", 0.30), row("C1", "low", 0.04)
    watch = row("C1", "watch", 0.12)

    assert [] == recovered(weeks([high], [low]), **AHEAD)  # one week is noise
    assert [] == recovered(weeks([high], [high], [watch]), **AHEAD)  # not out yet
    (one,) = recovered(weeks([row("C1")], [high], [watch], [low]), **AHEAD)
    assert (
        "C1 has recovered: 4.0 % to leave within 13 weeks, down from 30.0 % at worst in 2 weeks "
        "at risk; EUR 500 MRR." == one.sentence
    )
    assert "NPS of C1 rose from 6 to 9" == one.evidence[-1].text


def test_recovered_needs_a_fall_and_a_customer():
    high, gone = row("C1", "high", 0.05), row("C1", "low", 0.01, eligible=False)

    assert [] == recovered(weeks([high], [high], [row("C1", "low", 0.04)]), **AHEAD)
    assert [] == recovered(weeks([high], [high], [gone]), **AHEAD)


def test_a_renewal_is_told_once_when_it_comes_near_at_risk():
    far = row("C1", "high", 0.2, renews_at="2027-01-11")  # 64 days from 8 November, 57 from 15
    near = row("C1", "high", 0.2, renews_at="2027-01-10")  # 56 days from 15 November
    (one,) = renewal_at_risk(weeks([far], [near]), **AHEAD)

    assert (
        "C1 renews on 10 January 2027, in 8 weeks, and is at risk: 20.0 % to leave within 13 "
        "weeks; EUR 200 at risk." == one.sentence
    )
    assert "2027-01-10" == one.episode
    assert [] == renewal_at_risk(weeks([far], [far]), **AHEAD)  # 57 days are too many
    again = weeks([near | {"renews_at": "2026-12-20"}], [near | {"renews_at": "2026-12-20"}])
    assert [] == renewal_at_risk(again, **AHEAD)  # told a week ago


def test_a_renewal_near_is_told_when_the_risk_comes_to_it():
    calm = row("C1", "low", 0.05, renews_at="2026-12-20")
    high = row("C1", "high", 0.2, renews_at="2026-12-20")

    assert ["C1"] == who(renewal_at_risk(weeks([calm], [high]), **AHEAD))
    monthly = high | {"term_months": 1.0}
    assert [] == renewal_at_risk(weeks([calm], [monthly]), **AHEAD)


def test_a_stale_source_is_told_once_per_newest_day():
    sources = {
        "usage": {"as_of": "2026-10-30", "stale_days": 16, "is_stale": True, "used": 1200},
        "surveys": {"as_of": "2026-11-14", "stale_days": 1, "is_stale": False, "used": 10},
    }
    (one,) = data_stale(sources, LAST)

    assert (
        "The table usage ends on 30 October 2026, 16 days before 15 November 2026: what it would "
        "say since then is missing from the scores." == one.sentence
    )
    assert (None, None) == (one.customer_id, one.owner)
    (later,) = data_stale(
        {"usage": sources["usage"] | {"stale_days": 23}}, LAST + timedelta(weeks=1)
    )
    assert one.key == later.key


# ---- engagement --------------------------------------------------------------------------------


def usual(active_days_by_week: dict[str, list[int]], **more) -> UsualWeeks:
    """Customer-weeks with so many active days in each week, counted from its first day."""
    names = sorted(active_days_by_week)
    days = np.array(
        [[[day < n for day in range(7)] for n in active_days_by_week[name]] for name in names]
    ).reshape(len(names), -1)
    weeks_held = days.shape[1] // 7
    sums = {
        "events": np.ones((len(names), weeks_held)),
        "hard": np.zeros((len(names), weeks_held)),
        "failed": np.zeros((len(names), weeks_held)),
    }
    sums |= more.pop("sums", {})
    return UsualWeeks(np.array(names), (LAST - date(1970, 1, 1)).days, days, sums, **more)


def crowd(star: list[int]) -> dict[str, list[int]]:
    """Twenty customers with two days a week, and one star."""
    return {**{f"C{n:02d}": [2] * len(star) for n in range(20)}, "STAR": star}


def scored(names) -> pd.DataFrame:
    return weeks([row(name) for name in sorted(names)])[0]


def growing(names, weeks_held: int) -> dict:
    events = np.full((len(names), weeks_held), 10.0)
    events[sorted(names).index("STAR"), -4:] = 20.0
    return {"sums": {"events": events}}


def test_who_came_among_the_most_active_and_grows_is_ready_to_expand():
    people = crowd([2] * 24 + [7, 7])
    (one,) = most_engaged(scored(people), usual(people, **growing(people, 26)), **TOLD)

    assert (
        "STAR is among the most engaged and ready to expand: active on 18 of the last 28 days "
        "(similar customers: 8); EUR 500 MRR." == one.sentence
    )
    assert [
        "Above 95 % of similar customers by days active; for 1 week among the top",
        "80 events in the last 4 weeks; usually 40",
    ] == [e.text for e in one.evidence]
    assert "2026-11-15" == one.episode  # two weeks in a row, the second of them now


def test_one_week_among_the_top_is_not_enough_and_a_second_one_is():
    one_week, two_weeks = crowd([2] * 25 + [7]), crowd([2] * 24 + [7, 7])

    assert [] == most_engaged(scored(one_week), usual(one_week, **growing(one_week, 26)), **TOLD)
    assert ["STAR"] == who(
        most_engaged(scored(two_weeks), usual(two_weeks, **growing(two_weeks, 26)), **TOLD)
    )


def test_who_was_engaged_and_ready_a_week_ago_is_not_told_again():
    people = crowd([2] * 23 + [7, 7, 7])
    assert [] == most_engaged(scored(people), usual(people, **growing(people, 26)), **TOLD)
    caught_up = most_engaged(scored(people), usual(people, **growing(people, 26)), **TOLD, back=2)
    assert ["STAR"] == who(caught_up)


def test_a_promoter_without_hard_contacts_is_ready_to_advocate():
    people = crowd([2] * 24 + [7, 7])
    at = sorted(people).index("STAR")
    nps, ago = np.full(21, np.nan), np.full(21, np.nan)
    nps[at], ago[at] = 9.0, 3.0
    (one,) = most_engaged(scored(people), usual(people, nps=nps, nps_week=ago), **TOLD)
    assert "ready to advocate" in one.sentence
    assert "Newest NPS answer: 9, 3 weeks ago; no hard contact in 4 weeks" == one.evidence[-1].text

    hard = np.zeros((21, 26))
    hard[at, -2] = 1.0
    troubled = usual(people, nps=nps, nps_week=ago, sums={"hard": hard})
    assert [] == most_engaged(scored(people), troubled, **TOLD)
    passive = usual(people, nps=np.where(np.isnan(nps), nps, 8.0), nps_week=ago)
    assert [] == most_engaged(scored(people), passive, **TOLD)


def test_nobody_is_asked_for_more_while_at_risk_or_after_a_failed_payment():
    people = crowd([2] * 24 + [7, 7])
    week = scored(people)
    week.loc[week["customer_id"] == "STAR", "percentile"] = 60.0
    assert [] == most_engaged(week, usual(people, **growing(people, 26)), **TOLD)

    failed = np.zeros((21, 26))
    failed[sorted(people).index("STAR"), -9] = 1.0
    sums = growing(people, 26)["sums"] | {"failed": failed}
    assert [] == most_engaged(scored(people), usual(people, sums=sums), **TOLD)


def test_engaged_is_left_below_the_lower_threshold_only():
    """In the middle weeks the star falls to the 80th percentile: still engaged, no new spell."""
    days = {**{f"C{n:02d}": [1 + n % 2] * 26 for n in range(20)}}
    star = [2] * 16 + [7] * 4 + [2, 2, 1, 2] + [7, 7]
    people = {**days, "STAR": star}
    found = most_engaged(
        scored(people), usual(people, **growing(people, 26)), leaves_at_percentile=40.0, **TOLD
    )
    assert [] == found  # engaged and ready all along


def test_peers_are_those_of_the_segment_when_there_are_thirty():
    small = {f"S{n:02d}": [1] * 26 for n in range(40)}
    large = {f"L{n:02d}": [5] * 26 for n in range(40)}
    people = {**small, **large, "STAR": [1] * 24 + [4, 4]}
    week = scored(people)
    week["segment"] = ["large" if name.startswith("L") else "small" for name in sorted(people)]
    found = most_engaged(week, usual(people, **growing(people, 26)), **TOLD)

    assert ["STAR"] == who(found)  # 10 days: far below the large ones, far above the small ones
    assert "similar customers: 4" in found[0].sentence


@pytest.mark.parametrize("held", [1, 4, 6])
def test_too_short_a_history_tells_nothing(held):
    people = crowd([2] * held)

    assert [] == most_engaged(scored(people), usual(people), **TOLD)
