"""Trailing operations by hand, and an oracle that knows only raw rows and pandas."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny import SUNDAY, Frames, features, fold, read, value
from witness import cut

from retain.features import feature
from retain.weeks import FoldedWeeks, History, Missing, Panel, PanelRows

NAN = np.nan

# -- operations by hand -----------------------------------------------------------------------


def rows(*given: tuple[Any, ...], **ops: str) -> PanelRows:
    """Lay out folded rows: customer, week, lag, then one value per measure."""
    columns = list(zip(*sorted(given), strict=True))
    customer, week, lag = (np.array(column, dtype=np.int64) for column in columns[:3])
    measures = {
        name: np.array(column, dtype=np.int64 if op == "bits" else np.float64)
        for (name, op), column in zip(ops.items(), columns[3:], strict=True)
    }
    return PanelRows(customer, week, lag, measures, ops)


def panel(given: PanelRows, *as_ofs: int, known_by: Any = None, start: Any = None) -> Panel:
    weeks = np.array(as_ofs)
    return Panel(given, 2, weeks, weeks if known_by is None else np.array(known_by), start)


# customer 0: weeks 10, 12 and 13, and of week 11 something that was known two weeks later
SOME = rows((0, 10, 0, 1), (0, 12, 0, 4), (0, 13, 0, 8), (0, 11, 2, 2), (1, 13, 0, 16), n="sum")


def test_totals_end_with_the_week_of_as_of() -> None:
    seen = panel(SOME, 12, 13, 20)

    np.testing.assert_array_equal(seen.total("n"), [[5, 0], [15, 16], [15, 16]])
    np.testing.assert_array_equal(seen.total("n", 2), [[4, 0], [12, 16], [0, 0]])
    np.testing.assert_array_equal(seen.total("n", 2, before=1), [[1, 0], [6, 0], [0, 0]])
    np.testing.assert_array_equal(seen.mean("n", 2), [[2, 0], [6, 8], [0, 0]])


def test_what_was_known_later_is_seen_when_it_is_asked_for() -> None:
    seen = panel(SOME, 12, 12, known_by=[12, 13])

    np.testing.assert_array_equal(seen.total("n"), [[5, 0], [7, 0]])
    np.testing.assert_array_equal(seen.active_weeks("n", 3), [[2, 0], [3, 0]])


def test_a_date_before_all_rows_sees_nothing() -> None:
    seen = panel(SOME, 3, 13)

    np.testing.assert_array_equal(seen.total("n", 4), [[0, 0], [15, 16]])
    np.testing.assert_array_equal(seen.weeks_since("n"), [[NAN, NAN], [0, 0]])
    np.testing.assert_array_equal(seen.active_weeks("n", 4), [[0, 0], [4, 1]])


def test_ratio_change_and_trend() -> None:
    two = rows((0, 12, 0, 3, 2), (0, 13, 0, 9, 4), (1, 13, 0, 5, 0), a="sum", b="sum")
    seen = panel(two, 13)

    np.testing.assert_array_equal(seen.ratio("a", "b", 2), [[2, NAN]])
    np.testing.assert_array_equal(seen.change("a", 1), [[(9 - 3) / 12, 1]])
    # 3 then 9: up by 6 a week; 0 then 5
    np.testing.assert_allclose(seen.trend("a", 2), [[6, 5]])


def test_a_trend_holds_great_amounts_that_are_known_late() -> None:
    """Seen to fail: amount times week did not fit 32 bits."""
    week, lag = np.array([2_802, 2_803], dtype=np.int32), np.array([1, 0], dtype=np.int8)
    money = {"money": np.array([2_000_000, 1_000], dtype=np.int32)}
    late = PanelRows(np.zeros(2, dtype=np.int32), week, lag, money, {"money": "sum"})

    np.testing.assert_allclose(panel(late, 2_803).trend("money", 2)[0, 0], -1_999_000)


def test_fading_halves_a_week_per_half_life() -> None:
    seen = panel(SOME, 12, 13, 15)

    # 13: 8 + 4 / 2 + 2 / 4 + 1 / 8
    np.testing.assert_allclose(
        seen.faded("n", 1.0), [[4 + 1 / 4, 0], [10.625, 16], [10.625 / 4, 4]]
    )


def test_customers_without_any_row_have_faded_to_nothing() -> None:
    """Seen to fail: of nothing at all whole numbers come back, to which no part can be added."""
    none = SOME.take(np.zeros(len(SOME), dtype=bool))

    np.testing.assert_array_equal(panel(none, 12, 13, 15).faded("n", 1.0), np.zeros((3, 2)))
    np.testing.assert_array_equal(panel(none, 12).total("n", 4), [[0, 0]])
    np.testing.assert_array_equal(panel(none, 12, 13).mean("n", 4), np.zeros((2, 2)))


def test_active_weeks_counts_a_week_once_whatever_its_lags() -> None:
    many = rows((0, 12, 0, 1), (0, 12, 1, 1), (0, 12, 3, 1), (0, 11, 2, 1), (0, 11, 3, 1), n="sum")
    seen = panel(many, 12, 13, 14, 15)

    np.testing.assert_array_equal(seen.active_weeks("n", 5)[:, 0], [1, 2, 2, 2])
    np.testing.assert_array_equal(seen.total("n", 5)[:, 0], [1, 3, 4, 5])


def test_days_and_values_are_counted_once_across_weeks_and_lags() -> None:
    masks = rows(
        (0, 12, 0, 0b11, 0b0011),
        (0, 12, 1, 0b110, 0b0110),
        (0, 12, 2, 0b110, 0b1000),
        (0, 13, 0, 0b1, 0b0001),
        days="bits",
        kinds_0="bits",
    )
    seen = panel(masks, 12, 13, 14)

    np.testing.assert_array_equal(seen.active_days("days", 2)[:, 0], [2, 4, 1])
    np.testing.assert_array_equal(seen.active_days("days", 3)[:, 0], [2, 4, 4])
    np.testing.assert_array_equal(seen.distinct("kinds", 3)[:, 0], [2, 3, 4])


def test_the_latest_value_is_the_newest_said_across_lags() -> None:
    said = rows(
        (0, 12, 0, 5.0, 300.0),
        (0, 12, 2, 7.0, 200.0),  # said earlier in the week, known later
        (0, 13, 3, 9.0, 100.0),
        (0, 13, 0, NAN, NAN),
        (1, 10, 0, 1.0, 0.0),
        score="last",
        score__order="max",
    )
    seen = panel(said, 12, 13, 14, 16)

    np.testing.assert_array_equal(seen.latest("score"), [[5, 1], [5, 1], [5, 1], [9, 1]])
    np.testing.assert_array_equal(seen.weeks_since("score")[:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(seen.latest("score", before=3)[:, 0], [NAN, NAN, NAN, 9])


def test_the_greatest_value_of_a_week_wins_however_late_the_others_are_known() -> None:
    days = rows((0, 12, 0, 90.0), (0, 12, 1, 88.0), (0, 11, 2, 83.0), last_day="max")

    np.testing.assert_array_equal(panel(days, 12, 13).latest("last_day")[:, 0], [90, 90])


def test_the_earliest_value_is_of_rows_that_were_known() -> None:
    first = rows((0, 12, 0, 84.0), (0, 10, 3, 70.0), first_day="min")

    np.testing.assert_array_equal(
        panel(first, 11, 12, 13).earliest("first_day"), [[NAN, NAN], [84, NAN], [70, NAN]]
    )


def test_the_longest_silence_begins_when_the_customer_does() -> None:
    start = np.array([[10.0, 12.0]])
    seen = panel(rows((0, 10, 0, 1), (0, 14, 0, 1), n="sum"), 16, start=start)

    # active 10 | 11, 12, 13 | active 14 | 15, 16; and 12 to 16
    np.testing.assert_array_equal(seen.longest_silence("n", 10), [[3, 5]])
    np.testing.assert_array_equal(seen.longest_silence("n", 2), [[2, 2]])


def test_a_window_that_begins_before_the_table_is_unknown_for_those_who_were_there() -> None:
    start = np.array([[5.0, 11.0]])
    seen = panel(SOME, 13, start=start)

    np.testing.assert_array_equal(seen.total("n", 4), [[15, 16]])
    np.testing.assert_array_equal(seen.total("n", 5), [[NAN, 16]])
    np.testing.assert_array_equal(seen.total("n", 3, before=2), [[NAN, 0]])
    np.testing.assert_array_equal(seen.total("n"), [[15, 16]])


def test_what_a_customer_brought_before_the_table_begins_is_unknown_and_so_is_the_sum() -> None:
    seen = panel(SOME, 12, 13, start=np.array([[9.0, 10.0], [9.0, 10.0]]))

    np.testing.assert_array_equal(seen.lifetime("n"), [[NAN, 0], [NAN, 16]])
    np.testing.assert_array_equal(seen.total("n"), [[5, 0], [15, 16]])


def test_a_row_that_turns_up_late_does_not_move_where_the_table_begins() -> None:
    early = rows((0, 10, 0, 1), (0, 2, 10, 1), n="sum")
    start = np.zeros((2, 2))

    # what happened in week 2 is counted, but of week 5 nothing is known still
    seen = panel(early, 11, 12, start=start)
    np.testing.assert_array_equal(seen.total("n", 2)[:, 0], [1, 0])
    np.testing.assert_array_equal(seen.total("n", 8)[:, 0], [NAN, NAN])


def test_the_beginning_of_a_table_is_kept_when_customers_are_cut_out() -> None:
    folded = FoldedWeeks(
        SUNDAY,
        np.array(["a", "b"], dtype=object),
        {"usage": rows((0, 3, 0, 1), (1, 12, 0, 1), events="sum")},
        13,
        np.array([0.0, 0.0]),
    )
    whole = History(folded, [13]).usage.total("events", 6)
    alone = History(folded.of_customers(1, 2), [13]).usage.total("events", 6)

    np.testing.assert_array_equal(whole, [[0, 1]])
    np.testing.assert_array_equal(alone, [[1]])


@pytest.mark.parametrize("days", [(13,), tuple(range(4, 14))])
def test_of_no_customers_every_operation_gives_no_answers(days: tuple[int, ...]) -> None:
    """Seen to fail when fading added up no rows as whole numbers."""
    given = rows((0, 13, 0, 1.5, 1, 2.0), n="sum", days="bits", score="last")
    none = Panel(given.take(slice(0, 0)), 0, np.array(days), np.array(days))
    answers = (
        none.total("n", 4),
        none.lifetime("n"),
        none.trend("n", 4),
        none.level("n", 4),
        none.active_weeks("n", 4),
        none.active_days("days", 4),
        none.distinct("days", 4),
        none.weeks_since("n"),
        none.latest("score"),
        none.earliest("score"),
        none.longest_silence("n", 4),
    )

    assert [(len(days), 0)] * len(answers) == [answer.shape for answer in answers]


def test_what_was_not_brought_is_missing() -> None:
    folded = FoldedWeeks(SUNDAY, np.array(["a"], dtype=object), {}, 13, np.array([0.0]))
    history = History(folded, [13])

    assert not history.has("usage")
    with pytest.raises(Missing, match="usage"):
        _ = history.usage
    with pytest.raises(Missing, match="hours"):
        panel(SOME, 13).total("hours")
    with pytest.raises(Missing, match="users"):
        panel(SOME, 13).distinct("users", 4)


def test_a_history_cannot_be_asked_what_was_known_before_its_date() -> None:
    folded = FoldedWeeks(SUNDAY, np.array(["a"], dtype=object), {}, 13, np.array([0.0]))

    with pytest.raises(AssertionError, match="known_by lies before as_of"):
        History(folded, [13], [12])


# -- the oracle -------------------------------------------------------------------------------

END_DAY = pd.Timestamp("2024-06-30")
FIRST_DAY = pd.Timestamp("2023-01-02")  # a Monday
PEOPLE = [f"c{n:02}" for n in range(14)]
DAY = pd.Timedelta(days=1)


def random_company(seed: int) -> Frames:
    """Rows at random, most of them known at once, many days, weeks or months later."""
    draw = np.random.default_rng(seed)
    span = (END_DAY - FIRST_DAY).days

    def moments(n: int) -> pd.Series:
        return pd.Series(
            FIRST_DAY + pd.to_timedelta(draw.integers(0, span * 86400, n), unit="s")
        ).astype("datetime64[us]")

    def recorded(when: pd.Series) -> pd.Series:
        late = draw.choice([0, 0, 0, 1, 3, 7, 12, 25, 90], len(when))
        return (when + pd.to_timedelta(late, unit="D")).where(draw.random(len(when)) < 0.8)

    def who(n: int) -> Any:
        return draw.choice(PEOPLE, n, p=_uneven(len(PEOPLE)))

    n = 900
    usage = pd.DataFrame({"event_id": [f"e{i}" for i in range(n)], "customer_id": who(n)})
    usage["occurred_at"] = moments(n)
    usage["feature"] = draw.choice(["search", "export", "admin", "audit", None], n)
    usage["quantity"] = draw.integers(0, 9, n).astype(float)
    usage["user_id"] = draw.choice([f"u{i}" for i in range(70)], n)
    usage["recorded_at"] = recorded(usage["occurred_at"])
    n = 220
    cases = pd.DataFrame({"interaction_id": [f"i{i}" for i in range(n)], "customer_id": who(n)})
    cases["opened_at"] = moments(n)
    hours = pd.to_timedelta(draw.integers(1, 400, n), unit="h")
    cases["resolved_at"] = (cases["opened_at"] + hours).where(draw.random(n) < 0.8)
    cases["channel"] = draw.choice(["mail", "phone", "chat"], n)
    cases["topic"] = draw.choice(["login", "price"], n)
    cases["transfer_count"] = draw.integers(0, 4, n).astype(float)
    cases["recorded_at"] = recorded(cases["opened_at"])
    n = 150
    surveys = pd.DataFrame({"customer_id": who(n), "kind": draw.choice(["nps", "csat"], n)})
    surveys["sent_at"] = moments(n)
    waited = pd.to_timedelta(draw.integers(0, 40 * 86400, n), unit="s")
    surveys["answered_at"] = (surveys["sent_at"] + waited).where(draw.random(n) < 0.6)
    surveys["score"] = pd.Series(draw.integers(1, 6, n).astype(float)).where(
        surveys["answered_at"].notna()
    )
    surveys["recorded_at"] = recorded(surveys["sent_at"])
    n = 260
    paid = pd.DataFrame({"payment_id": [f"p{i}" for i in range(n)], "customer_id": who(n)})
    paid["paid_at"] = moments(n)
    paid["amount"] = draw.integers(-20, 90, n).astype(float)
    paid["status"] = draw.choice(["paid", "paid", "paid", "failed"], n)
    paid["recorded_at"] = recorded(paid["paid_at"])
    n = 60
    spans = pd.DataFrame({"subscription_id": [f"s{i}" for i in range(n)], "customer_id": who(n)})
    spans["started_at"] = moments(n).dt.normalize()
    spans["ended_at"] = (
        spans["started_at"] + pd.to_timedelta(draw.integers(1, 300, n), unit="D")
    ).where(draw.random(n) < 0.7)
    spans["mrr"] = draw.integers(10, 90, n) + 0.99
    spans["is_trial"] = draw.random(n) < 0.2
    spans["recorded_at"] = recorded(spans["started_at"])
    signed = pd.Series(FIRST_DAY + pd.to_timedelta(draw.integers(0, 300, len(PEOPLE)), unit="D"))
    customers = pd.DataFrame({"customer_id": PEOPLE, "signed_up_at": signed})
    customers["signed_up_at"] = customers["signed_up_at"].where(draw.random(len(PEOPLE)) < 0.7)
    return {
        "customers": customers,
        "usage": usage,
        "interactions": cases,
        "surveys": surveys,
        "payments": paid,
        "subscriptions": spans,
    }


def _uneven(n: int) -> Any:
    weights = np.arange(1, n + 1) ** 1.5
    return weights / weights.sum()


def week_of(when: pd.Series) -> pd.Series:
    return (when.dt.normalize() - FIRST_DAY).dt.days // 7


class Oracle:
    """One customer on one evening, from raw rows that were known then."""

    def __init__(self, whole: Frames, who: str, as_of: dt.date) -> None:
        self.end = pd.Timestamp(as_of) + DAY
        self.whole = whole
        self.mine = {n: f[f["customer_id"] == who] for n, f in self.whole.items()}
        self.start = self._start()

    def _start(self) -> pd.Timestamp:
        given = self.mine["customers"]["signed_up_at"].iloc[0]
        if pd.notna(given):
            return given
        firsts = [
            self.mine["usage"]["occurred_at"],
            self.mine["interactions"]["opened_at"],
            self.mine["surveys"]["answered_at"],
            self.mine["subscriptions"]["started_at"],
            self.bought()["paid_at"],
        ]
        return pd.concat(firsts).dropna().dt.normalize().min()

    def bought(self) -> pd.DataFrame:
        paid = self.mine["payments"]
        return paid[(paid["status"] != "failed") & (paid["amount"] >= 0)]

    def within(self, name: str, stamp: str, weeks: int, before: int = 0) -> pd.DataFrame | None:
        """Rows of a window; None where it begins before the table does, for who was there."""
        last = self.end - 7 * before * DAY
        first = last - 7 * weeks * DAY
        frame = self.mine[name]
        if first < self.begins(name) and self.start < self.begins(name):
            return None
        return frame[(frame[stamp] >= first) & (frame[stamp] < last)]

    def begins(self, name: str) -> pd.Timestamp:
        """First day of the first week by whose end anything of the table was known."""
        stamps = {
            "usage": ["occurred_at"],
            "interactions": ["opened_at"],
            "surveys": ["sent_at"],
            "payments": ["paid_at"],
        }
        frame = self.whole[name]
        known = frame[[*stamps[name], "recorded_at"]].max(axis=1)
        return FIRST_DAY + 7 * int(week_of(known).min()) * DAY

    def repeats(self, weeks: int) -> float | None:
        """Contacts within 7 days after one on the same topic, known by the week of the later's."""
        contacts = self.mine["interactions"]
        known = week_of(contacts[["opened_at", "recorded_at"]].max(axis=1))
        window = self.within("interactions", "opened_at", weeks)
        if window is None:
            return None
        found = 0
        for row in window.index:
            gap = contacts.loc[row, "opened_at"] - contacts["opened_at"]
            same = contacts["topic"] == contacts.loc[row, "topic"]
            near = (gap > pd.Timedelta(0)) & (gap <= 7 * DAY)
            found += bool((same & near & (known <= known[row])).any())
        return float(found)

    def answers(self, kind: str) -> pd.DataFrame:
        told = self.mine["surveys"]
        told = told[(told["kind"] == kind) & told["answered_at"].notna()]
        return told.sort_values(["answered_at", "score"])

    def gaps(self) -> Any:
        days = self.bought()["paid_at"].dt.normalize().drop_duplicates().sort_values()
        return days.diff().dropna().dt.days.to_numpy(dtype=float)

    def silence(self) -> float | None:
        rows = self.within("usage", "occurred_at", 26)
        if rows is None:
            return None
        active = {*week_of(rows["occurred_at"])}
        newest = (self.end - DAY - FIRST_DAY).days // 7
        start = (self.start - FIRST_DAY).days // 7
        longest = run = 0
        for week in range(max(newest - 25, start), newest + 1):
            run = 0 if week in active else run + 1
            longest = max(longest, run)
        return longest

    def tell(self) -> dict[str, float | None]:
        """Every column the oracle knows."""
        out: dict[str, float | None] = {}
        used = self.mine["usage"]
        for weeks in (1, 4, 13):
            rows = self.within("usage", "occurred_at", weeks)
            past = self.within("usage", "occurred_at", weeks, weeks)
            none = rows is None
            out[f"events_{weeks}w"] = None if none else len(rows)
            out[f"quantity_{weeks}w"] = None if none else rows["quantity"].sum()
            out[f"active_days_{weeks}w"] = (
                None if none else rows["occurred_at"].dt.normalize().nunique()
            )
            out[f"distinct_features_{weeks}w"] = None if none else rows["feature"].nunique()
            out[f"distinct_users_{weeks}w"] = None if none else rows["user_id"].nunique()
            if none or past is None or len(rows) + len(past) == 0:
                out[f"events_change_{weeks}w"] = None
            else:
                out[f"events_change_{weeks}w"] = (len(rows) - len(past)) / (len(rows) + len(past))
        rows = self.within("usage", "occurred_at", 13)
        if rows is None:
            out["active_weeks_13w"] = out["events_slope_13w"] = out["share_of_search"] = None
        else:
            per_week = np.bincount(
                12 - ((self.end - DAY - rows["occurred_at"].dt.normalize()).dt.days // 7),
                minlength=13,
            )
            out["active_weeks_13w"] = (per_week > 0).sum()
            out["events_slope_13w"] = np.polyfit(np.arange(13), per_week, 1)[0]
            out["share_of_search"] = (rows["feature"] == "search").mean() if len(rows) else None
        out["longest_silence"] = self.silence()
        last = used["occurred_at"].max()
        out["days_since_last_use"] = (
            None if pd.isna(last) else (self.end - DAY - last.normalize()).days
        )
        searched = used.loc[used["feature"] == "search", "occurred_at"].max()
        out["weeks_since_search"] = (
            None if pd.isna(searched) else (self.end - DAY - searched.normalize()).days // 7
        )
        opened = self.within("interactions", "opened_at", 13)
        out["contacts_13w"] = None if opened is None else len(opened)
        out["channels_used_13w"] = None if opened is None else opened["channel"].nunique()
        out["repeat_contacts_13w"] = self.repeats(13)
        over = self.within("interactions", "resolved_at", 13)
        hours = None
        if over is not None and len(over):
            hours = ((over["resolved_at"] - over["opened_at"]).dt.total_seconds() / 3600).mean()
        out["resolution_hours_13w"] = hours
        out["transfers_13w"] = None if over is None else float(over["transfer_count"].sum())
        still = self.mine["interactions"]
        still = still[still["resolved_at"].isna()]
        out["open_cases"] = len(still)
        age = (self.end - DAY - still["opened_at"].dt.normalize()).dt.days
        out["open_cases_age"] = age.mean() if len(still) else None
        for kind in ("nps", "csat"):
            told = self.answers(kind)
            out[f"last_answer_{kind}"] = told["score"].iloc[-1] if len(told) else None
            asked = self.within("surveys", "answered_at", 26)
            if asked is not None:
                asked = asked[asked["kind"] == kind]
            out[f"mean_{kind}_26w"] = (
                None if asked is None or len(asked) == 0 else float(asked["score"].mean())
            )
        sent = self.within("surveys", "sent_at", 26)
        told = self.within("surveys", "answered_at", 26)
        out["answered_share_26w"] = (
            None if sent is None or len(sent) == 0 else min(len(told) / len(sent), 1.0)
        )
        spans = self.mine["subscriptions"]
        running = spans[~spans["is_trial"] & spans["ended_at"].isna()]
        out["mrr"] = running["mrr"].sum()
        bought = self.bought()
        whole = self.start >= self.begins("payments")  # else what came earlier is unknown
        out["orders_ever"] = len(bought) if whole else None
        days = bought["paid_at"].dt.normalize().nunique()
        out["purchase_days_ever"] = days if whole else None
        gaps = self.gaps()
        out["purchase_gap"] = gaps.mean() if len(gaps) else None
        out["purchase_gap_deviation"] = gaps.std() if len(gaps) > 1 else None
        spent = self.within("payments", "paid_at", 13)
        if spent is None:
            out["spend_13w"] = out["returns_13w"] = out["failed_payments_13w"] = None
        else:
            good = spent[spent["status"] != "failed"]
            out["spend_13w"] = good["amount"].clip(lower=0).sum()
            out["returns_13w"] = (good["amount"] < 0).sum()
            out["failed_payments_13w"] = (spent["status"] == "failed").sum()
        out["tenure_weeks"] = (
            None if pd.isna(self.start) else (self.end - DAY - self.start).days / 7
        )
        return out


@pytest.mark.parametrize("seed", [1, 2])
def test_features_equal_those_of_an_oracle_on_raw_rows(seed: int) -> None:
    frames = random_company(seed)
    lists = {"top_features": ("search",), "comment_themes": None}
    days = (dt.date(2023, 7, 2), dt.date(2024, 1, 7), dt.date(2024, 6, 23))
    with read(frames, data_until=END_DAY.date() + dt.timedelta(days=100)) as tables:
        seen = features(fold(tables, lists=lists), *days)
        assert sum(count.used for count in tables.counts.values()) == sum(map(len, frames.values()))
    wrong = []
    compared = 0
    for day in days:
        known = cut(frames, day)
        for who in PEOPLE:
            oracle = Oracle(known, who, day)
            if not oracle.start < oracle.end:
                assert np.isnan(value(seen, who, "tenure_weeks", day))
                continue
            for name, expected in oracle.tell().items():
                got = value(seen, who, name, day)
                compared += 1
                want = NAN if expected is None else float(expected)
                if not np.isclose(want, got, rtol=1e-9, atol=1e-7, equal_nan=True):
                    wrong.append(f"{day} {who} {name}: expected {want}, got {got}")

    assert wrong == []
    assert compared > 1000


# -- numbers of the company's own -------------------------------------------------------------


def test_the_companys_own_numbers_are_summed_when_they_were_known() -> None:
    @feature(unit="clicks", signal="own", theme="usage", over=(4,))
    def clicks(history: History, weeks: int) -> Any:
        """Clicks in the last {weeks}."""
        return history.usage.total("clicks", weeks)

    @feature(unit="messages", signal="own", theme="effort", over=(4,))
    def messages(history: History, weeks: int) -> Any:
        """Messages in cases that ended in the last {weeks}."""
        return history.interactions.total("messages", weeks)

    usage = pd.DataFrame(
        {
            "customer_id": ["old", "a", "a", "a"],
            "occurred_at": pd.to_datetime(["2022-01-03", "2024-06-25", "2024-06-26", "2024-07-02"]),
            "clicks": [1.0, 3.0, None, 50.0],
        }
    )
    cases = pd.DataFrame(
        {
            "interaction_id": ["i0", "i1", "i2"],
            "customer_id": ["old", "a", "a"],
            "opened_at": pd.to_datetime(["2022-01-03", "2024-06-10", "2024-06-20"]),
            "resolved_at": pd.to_datetime(["2022-01-04", "2024-06-21", "2024-07-03"]),
            "messages": [1.0, 4.0, 70.0],
        }
    )
    with read({"usage": usage, "interactions": cases}) as tables:
        seen = features(
            fold(tables), dt.date(2024, 6, 30), dt.date(2024, 7, 7), own=(clicks, messages)
        )

    assert [value(seen, "a", "clicks_4w", day) for day in seen.index.unique("as_of")] == [3, 53]
    assert [value(seen, "a", "messages_4w", day) for day in seen.index.unique("as_of")] == [4, 74]
