"""Use of the product: worked examples first, then oracles in pandas on drawn companies."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

import duckdb
import numpy as np
import pandas as pd
import pytest

from retain.errors import TableError
from retain.metrics import Period, Selected
from retain.metrics.adoption import (
    account_breadth,
    feature_adoption,
    feature_depth,
    feature_weeks,
)
from retain.metrics.kept import Kept
from retain.metrics.product import (
    active_days,
    active_users,
    engagement_score,
    login_frequency,
    session_length,
    stickiness,
    time_in_product,
)
from retain.metrics.waiting import time_to_adopt, time_to_value

OCTOBER = Period.month("2026-10")
FOUR_WEEKS = Period(date(2026, 10, 4), date(2026, 11, 1))


def events(rows, **columns):
    """Usage from (customer, instant) pairs."""
    customers, instants = zip(*rows, strict=True) if rows else ((), ())
    return pd.DataFrame(
        {
            "customer_id": customers,
            "occurred_at": pd.to_datetime([pd.Timestamp(at) for at in instants]),
            **columns,
        }
    )


def on(day, hour=12):
    return pd.Timestamp(day) + pd.Timedelta(hours=hour)


def drawn(seed, users=40, many=900, start="2026-08-20", days=73):
    """Customers of up to four users who come in bursts, some rows without a user."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, users, many)
    at = rng.integers(0, days * 24 * 4, many) // rng.integers(1, 9, many)
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{one // 4}" for one in who],
            "user_id": [f"u{one % 4}" for one in who],
            "occurred_at": pd.Timestamp(start) + pd.to_timedelta(at * 15, unit="min"),
            "feature": rng.choice(["login", "export", "search"], many),
        }
    )
    frame.loc[rng.random(many) < 0.03, "user_id"] = None
    return frame


def customers_of(usage, signed_up_at="2026-07-01"):
    ids = sorted(usage.customer_id.unique())
    return pd.DataFrame(
        {
            "customer_id": ids,
            "signed_up_at": pd.Timestamp(signed_up_at),
            "segment": [("gold", "lead", None)[at % 3] for at in range(len(ids))],
        }
    )


# ---- active users and stickiness -----------------------------------------------------------------


def a_quarter_every_day():
    """1,200 users, each there every fourth day: 300 a day."""
    days = [OCTOBER.end - timedelta(at + 1) for at in range(32)]
    return events([(f"u{at}", on(day)) for at in range(1200) for day in days[at % 4 :: 4]])


def test_300_of_1200_users_a_day_is_a_stickiness_of_25_percent():
    usage = a_quarter_every_day()

    assert 1200 == active_users(usage, OCTOBER, variant="mau").value
    assert 300 == active_users(usage, OCTOBER, variant="dau").value
    found = stickiness(usage, OCTOBER, variant="mean_dau_over_mau")
    assert Fraction(25) == found.value
    assert (300, 1200) == (found.numerator, found.denominator)


def test_ten_new_users_a_day_who_never_return_are_the_floor_of_3_3_percent():
    days = [OCTOBER.end - timedelta(at + 1) for at in range(60)]
    usage = events([(f"{day}-{at}", on(day)) for day in days for at in range(10)])

    assert Fraction(10, 3) == stickiness(usage, OCTOBER, variant="mean_dau_over_mau").value
    assert "3.3" == stickiness(usage, OCTOBER, variant="mean_of_days").display()
    assert Fraction(100, 7) == stickiness(usage, OCTOBER, variant="mean_dau_over_wau").value


def test_a_month_is_30_days_and_not_the_calendar_month():
    usage = events([("a", "2026-10-01T23:59"), ("b", "2026-10-02T00:00"), ("c", "2026-11-01")])

    assert 1 == active_users(usage, OCTOBER).value
    assert 2 == active_users(usage, OCTOBER, variant="dau").numerator


def test_weekdays_alone_may_be_averaged():
    usage = events([("a", "2026-10-03"), ("b", "2026-10-05"), ("c", "2026-10-06")])  # a Saturday
    found = active_users(usage, OCTOBER, variant="dau", weekdays_only=True)

    assert Fraction(2, 22) == found.value
    weekend = Period(date(2026, 10, 3), date(2026, 10, 5))
    none = active_users(usage, weekend, variant="dau", weekdays_only=True)
    assert "no weekday in the period" == none.undefined_because


def test_of_few_users_the_counts_are_to_be_read():
    assert ("fewer than 10 users: read the counts",) == stickiness(
        events([("a", "2026-10-20")]), OCTOBER
    ).notes


def test_events_without_a_user_are_left_out_and_counted_where_users_are_named():
    usage = events([("a", "2026-10-20"), ("a", "2026-10-20"), ("b", "2026-10-20")])
    named = usage.assign(user_id=["u", None, None])

    assert 2 == active_users(usage, OCTOBER).value
    assert 1 == active_users(named, OCTOBER).value
    assert {"no user": 2} == active_users(named, OCTOBER).excluded
    assert ("a", "b") == active_users(named, OCTOBER).ids().excluded["no user"]


def test_users_of_two_customers_with_the_same_name_are_two():
    usage = events([("a", "2026-10-20"), ("b", "2026-10-20")], user_id="admin")
    assert 2 == active_users(usage, OCTOBER).value


def users_by_day(usage, days):
    """Write the days of each user, slowly."""
    named = usage.dropna(subset="user_id")
    pairs = zip(named.customer_id + "/" + named.user_id, named.occurred_at.dt.date, strict=True)
    return {
        day: {who for who, on_day in pairs_ if on_day == day}
        for pairs_ in [list(pairs)]
        for day in days
    }


def active_oracle(usage, period, window):
    days = [period.end - timedelta(at + 1) for at in range(period.days + window)]
    by_day = users_by_day(usage, days)
    daily, within = [], []
    for at in range(period.days):
        day = period.end - timedelta(at + 1)
        daily.append(len(by_day[day]))
        span = [day - timedelta(back) for back in range(window)]
        within.append(len(set().union(*(by_day[one] for one in span))))
    return daily, within


@pytest.mark.parametrize("shift", [0, 5])
@pytest.mark.parametrize("seed", range(4))
def test_active_users_and_stickiness_agree_with_sets_of_users(seed, shift):
    usage = drawn(seed)
    usage["occurred_at"] += pd.Timedelta(days=shift)
    period = Period(OCTOBER.start + timedelta(shift), OCTOBER.end + timedelta(shift))
    daily, month = active_oracle(usage, period, 30)
    last = Period(period.end - timedelta(30), period.end)
    month_daily, _ = active_oracle(usage, last, 1)
    week_daily, week = active_oracle(usage, Period(period.end - timedelta(7), period.end), 7)
    ratios = [Fraction(d, m) for d, m in zip(daily, month, strict=True) if m]

    assert Fraction(sum(daily), 31) == active_users(usage, period, variant="dau").value
    assert month[0] == active_users(usage, period, variant="mau").value
    assert week[0] == active_users(usage, period, variant="wau").value
    assert 100 * sum(ratios) / len(ratios) == stickiness(usage, period).value
    found = stickiness(usage, period, variant="mean_dau_over_mau").value
    assert 100 * Fraction(sum(month_daily), 30 * month[0]) == found
    found = stickiness(usage, period, variant="mean_dau_over_wau").value
    assert 100 * Fraction(sum(week_daily), 7 * week[0]) == found


def test_a_period_whose_days_fill_several_numbers_agrees_with_sets_of_users():
    # seen to fail with every day written into the first number
    usage = drawn(1, users=12, many=500, start="2026-04-01", days=200)
    period = Period(date(2026, 5, 1), date(2026, 10, 18))
    daily, month = active_oracle(usage, period, 30)
    ratios = [Fraction(d, m) for d, m in zip(daily, month, strict=True) if m]
    begun, _ = sessions_oracle(usage, period, 30)

    assert Fraction(sum(daily), 170) == active_users(usage, period, variant="dau").value
    assert month[0] == active_users(usage, period, variant="mau").value
    assert 100 * sum(ratios) / len(ratios) == stickiness(usage, period).value
    assert begun == session_length(usage, period).denominator


def test_a_segment_is_what_it_would_be_alone():
    usage = drawn(9)
    customers = customers_of(usage)
    whole = stickiness(usage, OCTOBER, by="segment", customers=customers)
    assert {"gold", "lead", "(none)"} == {one.by["segment"] for one in whole.segments}
    for one in whole.segments:
        label = one.by["segment"]
        inside = customers[customers.segment.fillna("(none)") == label].customer_id
        alone = stickiness(usage[usage.customer_id.isin(inside)], OCTOBER)
        assert (alone.value, alone.n, alone.rows_in) == (one.value, one.n, one.rows_in)


def test_several_metrics_of_a_connection_fold_usage_once_and_agree_with_frames():
    con, usage = duckdb.connect(), drawn(1)
    con.register("events", usage)
    selected = Selected(con, "SELECT * FROM events")
    asked = [active_users, stickiness, active_days, login_frequency, session_length]
    for period in (OCTOBER, FOUR_WEEKS):
        for calculator in [*asked, time_in_product]:
            assert calculator(usage, period) == calculator(selected, period)
    assert 2 == len([one for one in selected.found.values() if isinstance(one, Kept)])
    with pytest.raises(TableError, match="timeout_minutes should be at least 1; found 0"):
        session_length(usage, OCTOBER, timeout_minutes=0)


def test_only_what_counts_as_use_is_counted():
    usage = events([("a", "2026-10-20"), ("b", "2026-10-20")], feature=["export", "mail sent"])
    assert 1 == active_users(usage, OCTOBER, features=("export",)).value


def test_relations_and_their_customers_stay_in_their_database():
    con = duckdb.connect()
    usage, frame = con.from_df(drawn(3)), customers_of(drawn(3))
    customers = con.from_df(frame.astype({"segment": "str"}))
    found = active_users(usage, OCTOBER, by="segment", customers=customers)
    assert active_users(drawn(3), OCTOBER).value == found.value


# ---- logins, active days, sessions ---------------------------------------------------------------


def test_84_logins_of_12_users_in_4_weeks_are_1_75():
    logins = [(f"u{at % 12}", on(FOUR_WEEKS.start, at)) for at in range(84)]
    usage = events([*logins, ("u0", "2026-10-30")], feature=["login"] * 84 + ["export"])
    found = login_frequency(usage, FOUR_WEEKS)

    assert Fraction(7, 4) == found.value
    assert (84, 48) == (found.numerator, found.denominator)


def test_without_a_recorded_login_the_frequency_is_undefined_and_not_zero():
    usage = events([("a", "2026-10-20")], feature="export")
    assert "no login was recorded" == login_frequency(usage, OCTOBER).undefined_because
    assert "nobody was active" == login_frequency(events([], feature=[]), OCTOBER).undefined_because


def test_active_days_of_28():
    usage = events([("a", on("2026-10-30", h)) for h in (1, 2)] + [("a", on("2026-10-04"))])
    assert Fraction(200, 28) == active_days(usage, OCTOBER).value
    before = events([("a", "2026-10-03"), ("a", "2026-10-04")])
    assert Fraction(100, 28) == active_days(before, OCTOBER).value


FOUR_EVENTS = ["2026-10-01T09:00", "2026-10-01T09:10", "2026-10-01T09:35", "2026-10-01T10:20"]


@pytest.mark.parametrize("days", [0, 17])
@pytest.mark.parametrize(("timeout", "minutes", "sessions"), [(30, 17.5, 2), (60, 80, 1)])
def test_four_events_are_two_sessions_of_17_5_minutes_or_one_of_80(
    timeout, minutes, sessions, days
):
    usage = events([("a", pd.Timestamp(at) + pd.Timedelta(days=days)) for at in FOUR_EVENTS])
    found = session_length(usage, OCTOBER, timeout_minutes=timeout)

    assert minutes == found.value
    assert sessions == found.denominator
    hours = time_in_product(usage, OCTOBER, timeout_minutes=timeout)
    assert Fraction(int(minutes * sessions), 60) == hours.value


def test_a_pause_equal_to_the_timeout_stays_in_the_session():
    usage = events([("a", "2026-10-01T09:00"), ("a", "2026-10-01T09:30")])
    assert 30 == session_length(usage, OCTOBER).value
    later = events([("a", "2026-10-01T09:00"), ("a", "2026-10-01T09:30:00.000001")])
    assert 0 == session_length(later, OCTOBER).value


def test_a_session_over_midnight_is_one():
    usage = events([("a", "2026-10-01T23:50"), ("a", "2026-10-02T00:10")])
    found = session_length(usage, OCTOBER)
    assert (20, 1) == (found.value, found.denominator)


def sessions_oracle(usage, period, minutes):
    """Sessions begun in the period, and minutes that end in it, event by event."""
    timeout = pd.Timedelta(minutes=minutes)
    begun, busy = 0, pd.Timedelta(0)
    for _, one in usage.dropna(subset="user_id").groupby(["customer_id", "user_id"]):
        at = one.occurred_at.sort_values()
        pause = at.diff()
        inside = (at >= pd.Timestamp(period.start)) & (at < pd.Timestamp(period.end))
        begun += int((inside & ~(pause <= timeout)).sum())
        busy += pause[inside & (pause <= timeout)].sum()
    return begun, busy


def test_where_events_last_a_session_ends_with_the_last_of_them():
    usage = events([("a", f"2026-10-01T{at}") for at in ("09:00", "09:35", "09:40", "12:00")])
    usage["duration_s"] = [600, 7200, 60, 900]  # to 9:10, 11:35, 9:41 and 12:15

    found = session_length(usage, OCTOBER)
    assert (195, 1) == (found.value, found.denominator)  # 9:00 to 12:15: no pause above 25 minutes
    assert 3 == session_length(usage, OCTOBER, timeout_minutes=5).denominator
    assert Fraction(195, 60) == time_in_product(usage, OCTOBER).value
    assert 3 == session_length(usage.drop(columns="duration_s"), OCTOBER).denominator


@pytest.mark.parametrize("seed", range(3))
def test_lasting_events_agree_with_a_walk_through_them(seed):
    usage = drawn(seed, many=3000)
    rng = np.random.default_rng(seed)
    usage["duration_s"] = np.where(rng.random(3000) < 0.2, np.nan, rng.integers(0, 9000, 3000))
    period, timeout = Period(date(2026, 9, 21), date(2026, 10, 5)), pd.Timedelta(minutes=30)
    begun, busy = 0, pd.Timedelta(0)
    for _, one in usage.dropna(subset="user_id").groupby(["customer_id", "user_id"]):
        over = None
        for at, lasts in one.sort_values("occurred_at")[["occurred_at", "duration_s"]].values:
            ends = at + pd.Timedelta(seconds=0 if np.isnan(lasts) else lasts)
            is_new = over is None or at - over > timeout
            if pd.Timestamp(period.start) <= at < pd.Timestamp(period.end):
                begun += is_new
                busy += ends - at if is_new else max(ends - over, pd.Timedelta(0))
            over = ends if over is None else max(over, ends)
    found = session_length(usage, period)

    assert begun == found.denominator
    assert Fraction(busy // pd.Timedelta(microseconds=1), 60_000_000) == found.numerator


@pytest.mark.parametrize("minutes", [7, 30, 45, 100, 1440, 3000])
@pytest.mark.parametrize("seed", range(3))
def test_sessions_agree_with_a_walk_through_the_events(seed, minutes):
    usage = drawn(seed, many=3000)
    period = Period(date(2026, 9, 21), date(2026, 10, 5))
    begun, busy = sessions_oracle(usage, period, minutes)
    found = session_length(usage, period, timeout_minutes=minutes)

    assert begun == found.denominator
    assert Fraction(busy // pd.Timedelta(microseconds=1), 60_000_000) == found.numerator


@pytest.mark.parametrize("seed", range(3))
def test_logins_and_days_agree_with_pandas(seed):
    usage = drawn(seed)
    named = usage.dropna(subset="user_id")
    inside = named[(named.occurred_at >= "2026-10-04") & (named.occurred_at < "2026-11-01")]
    users = inside.groupby(["customer_id", "user_id"]).ngroups
    logins = int((inside.feature == "login").sum())
    days = inside.assign(day=inside.occurred_at.dt.date)
    many = len(days[["customer_id", "user_id", "day"]].drop_duplicates())

    assert Fraction(logins, 4 * users) == login_frequency(usage, FOUR_WEEKS).value
    assert Fraction(100 * many, 28 * users) == active_days(usage, FOUR_WEEKS).value


def test_the_engagement_score_is_the_mean_of_three_shares():
    assert 40 == engagement_score(40, 25, 55)


# ---- adoption ------------------------------------------------------------------------------------


def twelve_adopters():
    """12 adopters; 8 more who use something else; 100 customers of whom 40 are entitled."""
    twice = [(f"c{at}", day) for at in range(12) for day in ("2026-10-10", "2026-10-20")]
    once = [(f"c{at}", "2026-10-10") for at in range(12, 20)]
    usage = events([*twice, *once], feature=["export"] * 24 + ["search"] * 8)
    customers = pd.DataFrame({"customer_id": [f"c{at}" for at in range(100)]})
    return usage, customers, customers[:40]


def test_twelve_adopters_are_30_or_12_or_60_percent():
    usage, customers, entitled = twelve_adopters()
    found = {
        variant: feature_adoption(
            usage, customers, OCTOBER, variant=variant, core_features=("export",), entitled=entitled
        )
        for variant in ("eligible", "all", "active")
    }

    assert {"eligible": 30, "all": 12, "active": 60} == {k: v.value for k, v in found.items()}
    assert {12} == {one.numerator for one in found.values()}
    assert {"not entitled": 60} == found["eligible"].excluded


def test_one_look_or_one_busy_week_is_no_adoption():
    customers = pd.DataFrame({"customer_id": ["looked", "busy", "came back"]})
    usage = events(
        [
            ("looked", "2026-10-30"),
            *[("busy", f"2026-10-{day}") for day in (26, 27, 28, 29)],
            ("came back", "2026-10-10"),
            ("came back", "2026-10-30"),
        ]
    )
    found = feature_adoption(usage, customers, OCTOBER)
    assert ("came back",) == found.ids().numerator
    assert Fraction(100, 3) == found.value
    assert 100 == feature_adoption(usage, customers, OCTOBER, days=1, weeks=1).value
    with pytest.raises(TableError, match="no more weeks than days; found days 1 and weeks 2"):
        feature_adoption(usage, customers, OCTOBER, days=1)


def test_who_signed_up_after_the_period_is_not_asked_about():
    customers = pd.DataFrame(
        {"customer_id": ["a", "b"], "signed_up_at": pd.to_datetime(["2026-01-01", "2026-11-01"])}
    )
    found = feature_adoption(events([("a", "2026-10-30")]), customers, OCTOBER)
    assert {"signed up later": 1} == found.excluded


def test_six_of_ten_features_are_60_percent():
    usage = events([("a", "2026-10-20")] * 7, feature=[*"abcdef", "not core"])
    customers = pd.DataFrame({"customer_id": ["a", "idle"]})
    core = tuple("abcdefghij")
    found = account_breadth(usage, customers, OCTOBER, variant="active", core_features=core)

    assert (60, 6, 10) == (found.value, found.numerator, found.denominator)
    assert {"not active": 10} == found.excluded
    assert 30 == account_breadth(usage, customers, OCTOBER, core_features=core).value
    assert Fraction(50) == account_breadth(usage, customers, OCTOBER).value  # 7 of 2 x 7 seen
    entitled = pd.DataFrame({"customer_id": "a", "feature": list("abx")})
    some = account_breadth(usage, customers, OCTOBER, entitled=entitled)
    assert (2, 3) == (some.numerator, some.denominator)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("days", "weeks"), [(2, 2), (3, 2), (5, 4)])
def test_adoption_and_depth_agree_with_pandas(seed, days, weeks):
    usage = drawn(seed, many=700)
    customers = customers_of(usage)
    used = usage[(usage.occurred_at >= "2026-10-04") & (usage.occurred_at < "2026-11-01")]
    used = used[used.feature == "export"]
    used = used.assign(day=(used.occurred_at - pd.Timestamp("2026-10-04")).dt.days)
    grouped = used.assign(week=used.day // 7).groupby("customer_id")
    table = grouped.agg(days=("day", "nunique"), weeks=("week", "nunique"), uses=("day", "size"))
    adopters = table[(table.days >= days) & (table.weeks >= weeks)]
    given = {"core_features": ("export",), "days": days, "weeks": weeks}

    share = feature_adoption(usage, customers, OCTOBER, **given).value
    assert Fraction(100 * len(adopters), len(customers)) == share
    depth = feature_depth(usage, OCTOBER, **given)
    assert int(adopters.uses.sum()) == depth.numerator
    assert (Fraction(depth.numerator, 4 * len(adopters)) if len(adopters) else None) == depth.value
    assert int(adopters.weeks.sum()) == feature_weeks(usage, OCTOBER, **given).numerator
    assert len(table) - len(adopters) == depth.excluded.get("used it too seldom", 0)


# ---- waiting times -------------------------------------------------------------------------------


def waits(*days, waiting=1, start="2026-08-20"):
    start = pd.Timestamp(start)
    ids = [f"c{at}" for at in range(len(days) + waiting)]
    customers = pd.DataFrame({"customer_id": ids, "signed_up_at": start})
    rows = [(f"c{at}", start + pd.Timedelta(days=day)) for at, day in enumerate(days)]
    return events(rows), customers


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("start", ["2026-08-20", "2026-09-02"])
def test_the_median_with_those_who_wait_is_8_days_and_6_5_without(copies, start):
    usage, customers = waits(*[3, 5, 8, 40] * copies, waiting=copies, start=start)

    found = time_to_value(usage, customers, OCTOBER)
    assert 8 == found.value
    assert "nobody" not in found.formula
    assert {
        "customers who reached it": 4 * copies,
        "customers who wait": copies,
        "median, kaplan_meier": 8,
        "median, reached": Fraction(13, 2),
    } == found.parts
    assert Fraction(13, 2) == time_to_value(usage, customers, OCTOBER, variant="reached").value
    adopted = time_to_adopt(usage, customers, OCTOBER)
    assert (8, found.low, found.high) == (adopted.value, adopted.low, adopted.high)


def test_what_happens_later_is_not_known_yet():
    usage, customers = waits(3, 60, 70, waiting=0, start="2026-09-20")
    found = time_to_value(usage, customers, OCTOBER)
    assert "more than half wait still" == found.undefined_because
    assert 3 == time_to_value(usage, customers, OCTOBER, variant="reached").value


def test_the_clock_is_named_and_value_before_it_is_left_out():
    usage, customers = waits(3, 5, waiting=0)
    customers = customers.assign(kickoff_at=pd.to_datetime(["2026-08-24", "2026-08-24"]))
    found = time_to_value(usage, customers, OCTOBER, clock="kickoff_at")

    assert (1, {"before the clock starts": 1}) == (found.value, found.excluded)
    with pytest.raises(TableError, match="column signature is missing"):
        time_to_value(usage, customers, OCTOBER, clock="signature")
    nobody = time_to_value(usage, customers, OCTOBER, cohort_days=7)
    assert ("nobody started", 0) == (nobody.undefined_because, nobody.rows_in)
    with pytest.raises(TableError, match="cohort_days should be at least 1; found 0"):
        time_to_value(usage, customers, OCTOBER, cohort_days=0)


def test_entitlement_starts_the_clock_of_adoption():
    usage, customers = waits(30, waiting=0)
    entitled = pd.DataFrame({"customer_id": ["c0"], "since": pd.to_datetime(["2026-09-15"])})
    assert 4 == time_to_adopt(usage, customers, OCTOBER, entitled=entitled).value


def curve_oracle(days, came):
    """Kaplan and Meier's estimate as a product over every day."""
    share, out = Fraction(1), {}
    for day in range(max(days) + 1):
        at_risk = int((days >= day).sum())
        now = int(((days == day) & came).sum())
        if now:
            share *= 1 - Fraction(now, at_risk)
            out[day] = share
    return out


@pytest.mark.parametrize("seed", range(8))
def test_the_median_is_where_the_product_over_every_day_falls_to_a_half(seed):
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2026-11-01") - pd.to_timedelta(rng.integers(1, 60, 80), "D")
    ids = [f"c{at}" for at in range(80)]
    first = start + pd.to_timedelta(rng.integers(0, 70, 80), "D")
    customers = pd.DataFrame({"customer_id": ids, "signed_up_at": start})
    usage = pd.DataFrame({"customer_id": ids, "occurred_at": first})
    came = first < "2026-11-01"
    days = (first.where(came, pd.Timestamp("2026-10-31")) - start).days.to_numpy()
    expected = curve_oracle(days, np.asarray(came))
    found = time_to_value(usage, customers, OCTOBER)

    assert next((day for day, share in expected.items() if 2 * share <= 1), None) == found.value
    flattering = time_to_value(usage, customers, OCTOBER, variant="reached").value
    assert np.median(days[came]) == flattering
