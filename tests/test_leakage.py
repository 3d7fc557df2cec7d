"""The leakage battery: every feature column, in worlds that must not differ on as_of.

The clean world is cut by an independent witness (`witness.py`), so that nothing of the code under
test decides what it holds. Poison is extreme, so that no average hides it.

Every comparison has been seen to fail: the tests at the end plant a leak into the code and ask the
same comparison to report it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny import AS_OF, LISTS, SUNDAY, Frames, copies, features, fold, read, table, tiny
from witness import LATER_FIELDS, ROW_DATES, cut, cut_copies, differences

import retain.features.build as build_room
from retain.features import FEATURES, feature
from retain.snapshots import ChurnRule, eligibility
from retain.tables import Tables
from retain.weeks import FoldedWeeks, History, facts, history, streams, tablefold
from retain.weeks import fold as folding
from retain.weeks.facts import FACTS
from retain.weeks.streams import Source

END = pd.Timestamp(AS_OF) + pd.Timedelta(days=1)  # the first moment that is not known
# past the last moment of AS_OF: as soon as can be, a day, and well into the next window
AFTER = tuple(pd.Timedelta(after) for after in ("0s", "1D", "29D"))
HUGE = 1e6

# fields of a row with values far out of range, known with the row itself
EXTREME: dict[str, dict[str, Any]] = {
    "departures": {"is_voluntary": False, "reason": "poison"},
    "subscriptions": {
        "mrr": HUGE,
        "plan": "poison",
        "billing_period": "triennial",
        "is_trial": False,
        "end_reason": "involuntary",
    },
    "payments": {"amount": HUGE, "status": "paid", "cost": HUGE, "items": HUGE},
    "usage": {
        "quantity": HUGE,
        "duration_s": HUGE,
        "user_id": "poison",
        "clicks": HUGE,
    },
    "interactions": {
        "channel": "pigeon",
        "topic": "billing",
        "reopen_count": HUGE,
        "transfer_count": HUGE,
        "handle_minutes": HUGE,
        "sla_met": False,
        "messages": HUGE,
    },
    "surveys": {"score": HUGE / 10, "comment": "slow " * 500},
    "referrals": {"referred_id": "anchor"},
    "treatments": {"action": "poison"},
}
IDS = {
    "subscriptions": "subscription_id",
    "payments": "payment_id",
    "usage": "event_id",
    "interactions": "interaction_id",
}
PEOPLE = ("anchor", "ada", "bob", "cyd", "dan", "eve")


# -- worlds -------------------------------------------------------------------------------------


def append(frame: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Add rows at the end, leaving the columns and their types as they are."""
    more = pd.DataFrame(rows).reindex(columns=frame.columns)
    for column in frame.columns:
        if str(frame[column].dtype).startswith("datetime"):
            more[column] = pd.to_datetime(more[column])
    both = [one.astype(object) for one in (frame, more)]
    out = pd.concat(both, ignore_index=True)
    for column in frame.columns:
        if column.endswith("_at") or column == "at":
            out[column] = pd.to_datetime(out[column])
    return out.infer_objects()


def poison(name: str, who: str, stamp: str, when: dict[str, pd.Timestamp]) -> list[dict[str, Any]]:
    """Extreme rows of one table for one customer; `when` dates all of them."""
    row = {"customer_id": who, **EXTREME[name], **when}
    if name in IDS:
        row[IDS[name]] = f"poison-{stamp}-{who}"
    if name == "surveys":
        said = {"comment": "love " * 500} if who == "bob" else {}
        return [{**row, **said, "kind": kind} for kind in ("nps", "csat", "ces")]
    if name == "usage":
        names = ("export", "search", "poison")
        return [{**row, "event_id": f"{f}-{stamp}-{who}", "feature": f} for f in names]
    if name == "referrals":
        friend = PEOPLE[PEOPLE.index(who) - 1]
        return [{**row, "referrer_id": who, "referred_id": friend}]
    if name == "payments":
        failed = {**row, "payment_id": f"failed-{stamp}-{who}", "status": "failed"}
        back = {**row, "payment_id": f"back-{stamp}-{who}", "amount": -HUGE}
        return [row, failed, back]
    if name == "interactions":
        again = {
            name: row[name] + pd.Timedelta("1min")
            for name in row
            if name.endswith("_at") and name != "recorded_at"
        }
        again |= {"interaction_id": f"again-{stamp}-{who}", "channel": "drum"}
        return [row, {**row, **again}]
    if name == "subscriptions":
        # a price rise, a downgrade, another contract beside the one that runs
        row |= {"ada": {"plan": "pro"}, "bob": {"mrr": 0.01}}.get(who, {})
    return [row]


def poisoned_future(frames: Frames) -> Frames:
    """Extreme rows that happen after AS_OF, and every later date of the rows that were known."""
    out = dict(frames)
    for name, dates in ROW_DATES.items():
        if name not in frames:
            continue
        out[name] = append(
            frames[name],
            [
                row
                for after in AFTER
                for who in PEOPLE
                for row in poison(name, who, after, dict.fromkeys(dates, END + after))
            ],
        )
    if "subscriptions" in out:  # one customer leaves and comes back
        gone = {"customer_id": "cyd", **EXTREME["subscriptions"]}
        spans = [
            {
                **gone,
                "subscription_id": "g1",
                "started_at": END + AFTER[0],
                "ended_at": END + AFTER[1],
            },
            {**gone, "subscription_id": "g2", "started_at": END + AFTER[1] + pd.Timedelta("2D")},
        ]
        whose = out["subscriptions"]["customer_id"] != "cyd"
        whose |= out["subscriptions"]["started_at"] < END
        out["subscriptions"] = append(out["subscriptions"][whose], spans)
    # what was still open on AS_OF gets its later dates, as soon as they may be
    for name, later in LATER_FIELDS.items():
        if name not in out:
            continue
        frame = out[name].copy()
        for moments, fields in later:
            still = frame[list(moments)].isna().all(axis=1)
            still &= frame[list(ROW_DATES[name])].min(axis=1) < END
            frame.loc[still, moments[0]] = END + AFTER[0]
            for one in fields:
                frame[one] = frame[one].astype(object)
                frame.loc[still, one] = EXTREME[name][one]
        out[name] = frame.infer_objects()
    # and the company wins a customer
    new = {"customer_id": "new", "signed_up_at": END + AFTER[0], "country": "poison", "size": HUGE}
    if "customers" in frames:
        out["customers"] = append(frames["customers"], [new])
    return out


def poisoned_late(frames: Frames) -> Frames:
    """Extreme rows that happened before AS_OF and were recorded after it."""
    backs = [pd.Timedelta(back) for back in ("1s", "3D", "40D", "300D", "600D")]
    out = dict(frames)
    for name, dates in ROW_DATES.items():
        if name == "treatments" or name not in frames:
            continue
        rows = []
        for after in AFTER:
            for back in backs:
                for who in PEOPLE:
                    when = dict.fromkeys(dates, END - back)
                    for moments, _ in LATER_FIELDS.get(name, ()):
                        if moments != ("ended_at",) or who == "cyd":
                            when[moments[0]] = END - back
                    when["recorded_at"] = END + after
                    rows += poison(name, who, f"{after}-{back}", when)
        out[name] = append(frames[name], rows)
    return out


def overwritten(frames: Frames) -> Frames:
    """Export the same past once more, months later: what is overwritten tells who left."""
    out = {name: frame.copy() for name, frame in frames.items()}
    left = ["bob", "cyd", "eve"]
    people = out["customers"]
    gone = people["customer_id"].isin(left)
    for column in ("segment", "plan", "owner", "tier"):
        people[column] = people[column].astype(object)
        people.loc[gone, column] = "left"
    people.loc[gone, "seats"] = 0
    people.loc[gone, "has_left"] = True
    spans = out["subscriptions"]
    gone = spans["customer_id"].isin(left)
    running = gone & ~(spans["ended_at"] < END)
    spans.loc[running, "ended_at"] = END + pd.Timedelta("40D")
    spans.loc[running & ~(spans["cancelled_at"] < END), "cancelled_at"] = END + pd.Timedelta("20D")
    spans["end_reason"] = spans["end_reason"].astype(object)
    spans.loc[gone, "end_reason"] = "involuntary"
    spans["renews_at"] = spans["renews_at"].astype("datetime64[us]")
    spans.loc[:, "renews_at"] = END + pd.Timedelta("700D")
    spans.loc[gone, "renews_at"] = pd.NaT
    paid = out["payments"]
    gone = paid["customer_id"].isin(left) & (paid["status"] == "paid") & (paid["amount"] > 0)
    paid.loc[gone, "status"] = "refunded"
    return out


# -- the comparison ---------------------------------------------------------------------------


class World:
    """One telling of the company's tables, read once and folded once unless asked to again."""

    def __init__(self, frames: Frames, attributes: pd.DataFrame | None, **given: Any) -> None:
        self.tables: Tables = read(frames, **given)
        self.attributes = attributes

    def fold(self, **given: Any) -> FoldedWeeks:
        return fold(self.tables, self.attributes, **given)

    @cached_property
    def folded(self) -> FoldedWeeks:
        return self.fold()

    def look(
        self, *as_ofs: dt.date, own: tuple[Any, ...] = (), again: bool = False
    ) -> pd.DataFrame:
        return look(self.fold() if again else self.folded, *(as_ofs or (AS_OF,)), own=own)


def look(folded: FoldedWeeks, *as_ofs: dt.date, own: tuple[Any, ...] = ()) -> pd.DataFrame:
    """Every feature column, and why each customer would not be scored, under each rule."""
    X = features(folded, *as_ofs, own=own)
    seen = History(folded, [SUNDAY.week_of(day) for day in as_ofs])
    for kind in ("contract", "event", "inactivity"):
        X[f"eligibility {kind}"] = eligibility(seen, ChurnRule(kind, 4, active_weeks=2)).ravel()
    return X


@pytest.fixture(scope="module")
def worlds() -> Iterator[Callable[[str], World]]:
    """The same moment told in worlds that must not differ, each read once."""
    whole, kept = tiny(), copies()
    clean = cut(whole)
    dirty_copies = pd.concat(
        [
            cut_copies(kept),
            pd.DataFrame(
                {
                    "customer_id": PEOPLE,
                    "recorded_at": END,
                    "tier": "poison",
                    "seats": HUGE,
                }
            ),
        ]
    )
    alone = ("anchor", "ada")
    tellings: dict[str, Callable[[], World]] = {
        "clean": lambda: World(clean, cut_copies(kept), data_until=AS_OF),
        "poisoned future": lambda: World(poisoned_future(clean), dirty_copies),
        "known after": lambda: World(poisoned_late(clean), dirty_copies),
        "what really came": lambda: World(whole, kept),
        "overwritten": lambda: World(overwritten(whole), kept),
        "reversed rows": lambda: World(
            {name: frame.iloc[::-1] for name, frame in clean.items()},
            cut_copies(kept).iloc[::-1],
            data_until=AS_OF,
        ),
        "one customer": lambda: World(
            {
                name: frame[
                    frame[next(iter({"customer_id", "referrer_id"} & {*frame}))].isin(alone)
                ]
                for name, frame in clean.items()
            },
            cut_copies(kept),
            data_until=AS_OF,
        ),
    }
    made: dict[str, World] = {}

    def telling(name: str) -> World:
        if name not in made:
            made[name] = tellings[name]()
        return made[name]

    yield telling
    for world in made.values():
        world.tables.close()


@pytest.fixture(scope="module")
def clean(worlds: Callable[[str], World]) -> pd.DataFrame:
    return worlds("clean").look()


# -- the battery ------------------------------------------------------------------------------


def test_the_battery_holds_every_feature_and_every_variant(clean: pd.DataFrame) -> None:
    seen = History(fold_of_nothing(), [0])
    seen.lists = {**LISTS, "comment_themes": tuple(LISTS["comment_themes"]["names"])}
    expected = {
        column.name for one in FEATURES if one.over != "attributes" for column in one.columns(seen)
    }
    expected |= {f"attribute_{name}" for name in ("country", "size", "tier", "seats")}

    assert expected == {name for name in clean if not name.startswith("eligibility")}


def fold_of_nothing() -> FoldedWeeks:
    return FoldedWeeks(SUNDAY, np.zeros(0, dtype=object), {}, 0, np.zeros(0))


def test_every_column_says_something_in_the_clean_world(clean: pd.DataFrame) -> None:
    silent = [name for name in clean if clean[name].isna().all()]

    assert silent == []


SAME = ("poisoned future", "known after", "what really came", "overwritten", "reversed rows")


@pytest.mark.parametrize("world", SAME)
def test_no_column_differs_in_a_world_that_is_the_same_on_as_of(
    world: str, worlds: Callable[[str], World], clean: pd.DataFrame
) -> None:
    assert differences(clean, worlds(world).look()) == {}


def test_no_row_of_any_world_was_set_aside_so_that_the_poison_is_there(
    worlds: Callable[[str], World],
) -> None:
    for world in SAME:
        aside = {n: c.set_aside for n, c in worlds(world).tables.counts.items() if c.set_aside}
        assert aside == {}, world


def test_no_column_depends_on_the_other_customers(
    worlds: Callable[[str], World], clean: pd.DataFrame
) -> None:
    # the anchor stays, as it is with its rows that every table begins
    mine = clean.loc[(slice(None), ["ada"]), :]

    assert differences(mine, worlds("one customer").look().loc[(slice(None), ["ada"]), :]) == {}


def test_no_column_depends_on_the_other_dates(
    worlds: Callable[[str], World], clean: pd.DataFrame
) -> None:
    days = [AS_OF + dt.timedelta(weeks=n) for n in (-60, -5, 0, 1, 8)]
    many = worlds("what really came").look(*days)

    assert differences(clean, many.loc[[AS_OF]]) == {}


@pytest.mark.parametrize("customers", [1, 4])
def test_no_column_depends_on_how_customers_are_put_into_chunks(
    customers: int,
    worlds: Callable[[str], World],
    clean: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = worlds("what really came").folded
    monkeypatch.setattr(build_room, "CHUNK_CUSTOMERS", customers)

    assert differences(clean, look(whole, AS_OF)) == {}


def test_no_column_depends_on_whether_the_weeks_come_from_the_store(
    worlds: Callable[[str], World], clean: pd.DataFrame, tmp_path: Any
) -> None:
    for telling in ("what really came", "clean", "known after"):
        stored = look(worlds(telling).fold(store=tmp_path), AS_OF)
        assert differences(clean, stored) == {}, telling


def test_the_poison_moves_every_column_once_it_is_known(worlds: Callable[[str], World]) -> None:
    """So that a column that stays as it is on AS_OF holds its tongue, and is not deaf."""
    later = AS_OF + dt.timedelta(weeks=1)
    expected = worlds("clean").look(later)
    moved: set[str] = set()
    for world in ("poisoned future", "known after"):
        moved |= {*differences(expected, worlds(world).look(later))}

    # the calendar, and what never changes
    assert {"season_cosine", "season_sine", "attribute_country", "attribute_size"} == (
        {*expected} - moved
    )


# -- companies that bring other tables --------------------------------------------------------

FEW = ("usage", "payments", "departures", "surveys")
HISTORY = "customer_id signed_up_at valid_from recorded_at segment seats tier country size"


def few(frames: Frames) -> Frames:
    return {name: frames[name] for name in FEW}


def test_no_column_differs_where_customers_come_with_their_history_and_without_contracts() -> None:
    known = table(
        HISTORY,
        """
        anchor 2023-01-02 2023-01-02 2023-01-02 gold 9 a IT 1
        ada 2023-03-08 2023-03-08 2023-03-08 gold 9 a IT 1
        ada 2023-03-08 2024-05-01 2024-06-28 iron 4 b IT 1
        bob 2023-09-04 2023-09-04 - tin 3 c FR 2
        cyd - 2023-02-20 2024-06-30T23:59:59 tin 2 - FR 3
        dan 2024-06-11 2024-06-11 2024-06-11 tin 1 a DE 4
        eve - 2023-10-01 2023-10-01 tin 5 b DE 5
        """,
    )
    poison = table(
        HISTORY,
        """
        ada 2020-01-01 2024-06-02 2024-07-01 poison 1000000 poison IT 1
        bob 2020-01-01 2024-07-01 2024-06-01 poison 1000000 poison FR 2
        cyd 2020-01-01 2023-02-20 2024-07-02 poison 1000000 poison FR 3
        eve 2020-01-01 2024-07-20 2024-07-20 poison 1000000 poison DE 5
        eve 2020-01-01 2023-11-01 2024-07-29 poison 1000000 poison DE 5
        """,
    )
    both = pd.concat([known, poison], ignore_index=True)
    clean = few(cut(tiny()))
    tellings = [
        World({**clean, "customers": known}, None, data_until=AS_OF),
        World({**poisoned_late(clean), "customers": both}, None),
        World({**poisoned_future(clean), "customers": both.iloc[::-1]}, None),
    ]
    expected = tellings[0].look()

    assert {"attribute_segment", "attribute_seats", "attribute_tier"} <= {*expected}
    assert differences(expected, tellings[1].look()) == {}
    assert differences(expected, tellings[2].look()) == {}
    later = AS_OF + dt.timedelta(weeks=1)
    moved = differences(tellings[0].look(later), tellings[1].look(later))
    assert {"attribute_segment", "attribute_seats", "attribute_tier", "tenure_weeks"} <= {*moved}
    for world in tellings:
        world.tables.close()


def test_no_column_differs_where_customers_are_derived_from_their_behaviour() -> None:
    clean = few(cut(tiny()))
    tellings = [
        World(clean, None, data_until=AS_OF),
        World(few(tiny()), None),
        World({n: f for n, f in poisoned_late(clean).items() if n in FEW}, None),
    ]
    expected = tellings[0].look()

    assert not expected["tenure_weeks"].isna().any()
    assert expected["weeks_since_return"].notna().any()
    assert differences(expected, tellings[1].look()) == {}
    assert differences(expected, tellings[2].look()) == {}
    for world in tellings:
        world.tables.close()


# -- each comparison seen to fail -------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], tuple[Any, ...]]


def late_rows_are_shown(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let a window see rows whatever the week by which they were known."""

    def shown(self: Any, at: int, weeks: int | None, before: int) -> Any:
        rows, last = self._late, int(self.as_ofs[at]) - before
        seen = rows.week <= last
        return seen if weeks is None else seen & (rows.week > last - weeks)

    patch.setattr(history.Panel, "_late_rows", shown)
    patch.setattr(FoldedWeeks, "known_by", lambda self, week: self)
    whole = history.Panel.__init__

    def opened(self: Any, rows: Any, n: int, as_ofs: Any, known_by: Any, *rest: Any) -> None:
        whole(self, rows, n, as_ofs, known_by + 1000, *rest)

    patch.setattr(history.Panel, "__init__", opened)
    return ()


def recorded_at_is_ignored(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let the fold believe that a fact is known when it happens."""
    patch.setattr(Source, "known", lambda self, day: day)
    return ()


def a_week_starts_a_day_later(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let the day after AS_OF count as part of its week, but only in the fold."""
    for module in (facts, folding, streams):
        day = module.day_number
        patch.setattr(module, "day_number", lambda stamp, day=day: f"({day(stamp)} - 1)")
    return ()


def as_of_lies_a_week_later(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let every history look from a week later."""
    whole = History.__init__

    def later(self: Any, folded: Any, as_ofs: Any, known_by: Any = None, lists: Any = None) -> None:
        whole(self, folded, np.asarray(as_ofs) + 1, known_by, lists)

    patch.setattr(History, "__init__", later)
    return ()


def windows_reach_a_week_further(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let sums and masks end a week after AS_OF."""
    span, newest = history.Panel._span, history.Panel.__init__
    patch.setattr(FoldedWeeks, "known_by", lambda self, week: self)

    def wider(self: Any, rows: Any, n: int, as_ofs: Any, known_by: Any, *rest: Any) -> None:
        newest(self, rows, n, as_ofs + 1, known_by + 1, *rest)
        self.as_ofs = as_ofs

    patch.setattr(history.Panel, "__init__", wider)
    patch.setattr(
        history.Panel,
        "_span",
        lambda self, as_of, weeks, before: span(self, as_of + 1, weeks, before),
    )
    return ()


def a_case_tells_its_end_at_its_opening(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let the number of transfers be known when the case is opened."""
    return (_restreamed(patch, "interactions", 2, "day", "known_day"),)[1:]


def an_answer_counts_from_when_it_was_asked(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let a survey's answer be known from the day on which it was sent."""
    sent = facts.day_number("sent_at")
    return (_restreamed(patch, "surveys", 1, sent, sent),)[1:]


def an_end_is_known_from_the_start(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let notice be known from the day on which the contract began."""
    start = facts.day_number("started_at")
    return (_restreamed(patch, "subscriptions", 1, start, start),)[1:]


def _restreamed(patch: pytest.MonkeyPatch, table: str, which: int, day: str, known: str) -> None:
    whole = FACTS[table]

    def changed(source: Source) -> Any:
        made = whole(source)
        streams = list(made.streams)
        streams[which] = dataclasses.replace(streams[which], day=day, known=known)
        return dataclasses.replace(made, streams=tuple(streams))

    patch.setitem(FACTS, table, changed)


def todays_attributes_describe_the_past(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let segment and seats as exported stand for every date."""
    whole = folding._constants

    def all_of_them(tables: Any, ids: Any) -> Any:
        told = SimpleNamespace(con=tables.con, constant=("country", "size", "owner"))
        return whole(told, ids)

    def kind(tables: Any, name: str) -> str:
        return "number" if name == "size" else "text"

    patch.setattr(folding, "_constants", all_of_them)
    patch.setattr(folding, "_attribute_kind", kind)
    return ()


def first_seen_is_taken_from_all_rows(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let the start of a customer without a date be the first row, whenever that was recorded."""
    whole = folding._starts

    def filled(tables: Any, calendar: Any) -> Any:
        tables.con.execute("CREATE OR REPLACE TEMP TABLE sign_ups AS SELECT * FROM customers")
        try:
            return whole(tables, calendar)
        finally:
            tables.con.execute("DROP TABLE temp.sign_ups")

    patch.setattr(folding, "_starts", filled)
    return ()


def equal_stamps_are_told_apart_by_their_rows(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let the last of two answers of one second be the one whose row stands last."""
    whole = tablefold._Groups.last

    def careless(self: Any, values: Any, order: Any) -> Any:
        return whole(self, values, order + np.arange(len(order)) / len(order))

    patch.setattr(tablefold._Groups, "last", careless)
    return ()


def a_feature_peeks(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let a company's own feature reach past History to rows that its Panel does not show."""
    patch.setattr(FoldedWeeks, "known_by", lambda self, week: self)

    @feature(unit="events", signal="peeking", theme="usage")
    def events_to_come(seen: History) -> Any:
        """Events of the weeks to come."""
        rows = seen._folded.panels["usage"]
        out = np.zeros(seen.shape)
        for at, as_of in enumerate(seen.as_ofs):
            late = rows.week > as_of
            np.add.at(out[at], rows.customer[late], rows.measures["quantity"][late])
        return out

    return (events_to_come,)


LEAKS: list[tuple[Plant, str, str]] = [
    (late_rows_are_shown, "known after", "spend_ever"),
    (recorded_at_is_ignored, "known after", "events_1w"),
    (recorded_at_is_ignored, "what really came", "tenure_weeks"),
    (a_week_starts_a_day_later, "poisoned future", "mean_nps_26w"),
    (a_week_starts_a_day_later, "known after", "mrr"),
    (as_of_lies_a_week_later, "poisoned future", "attribute_tier"),
    (as_of_lies_a_week_later, "what really came", "last_answer_ces"),
    (windows_reach_a_week_further, "poisoned future", "distinct_users_13w"),
    (windows_reach_a_week_further, "what really came", "active_days_4w"),
    (a_case_tells_its_end_at_its_opening, "poisoned future", "transfers_26w"),
    (an_answer_counts_from_when_it_was_asked, "poisoned future", "last_answer_nps"),
    (an_end_is_known_from_the_start, "what really came", "eligibility contract"),
    (todays_attributes_describe_the_past, "overwritten", "attribute_owner"),
    (first_seen_is_taken_from_all_rows, "known after", "tenure_weeks"),
    (equal_stamps_are_told_apart_by_their_rows, "reversed rows", "last_answer_nps"),
    (a_feature_peeks, "poisoned future", "events_to_come"),
]
# these break what is done with folded weeks, so that the weeks need not be folded again
IN_MEMORY = {late_rows_are_shown, as_of_lies_a_week_later, windows_reach_a_week_further}
IN_MEMORY |= {a_feature_peeks}


@pytest.mark.parametrize(
    ("plant", "world", "column"), LEAKS, ids=[f"{p.__name__}-{w}" for p, w, _ in LEAKS]
)
def test_a_planted_leak_is_caught(
    plant: Plant,
    world: str,
    column: str,
    worlds: Callable[[str], World],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Break the code as the plant's docstring says; the battery's own comparison must tell."""
    one, other = worlds("clean"), worlds(world)
    assert differences(one.look(), other.look()) == {}
    own = plant(monkeypatch)
    again = plant not in IN_MEMORY

    assert column in differences(one.look(own=own, again=again), other.look(own=own, again=again))


def test_a_leak_between_customers_is_caught(
    worlds: Callable[[str], World], clean: pd.DataFrame
) -> None:
    """Rank customers against each other, which a feature must not."""

    @feature(unit="rank", signal="rank", theme="usage")
    def rank_of_events(seen: History) -> Any:
        """Rank of the events of the last 4 weeks."""
        return seen.usage.total("events", 4).argsort(axis=1).argsort(axis=1)

    own = (rank_of_events,)
    mine = worlds("clean").look(own=own).loc[(slice(None), ["ada"]), :]
    alone = worlds("one customer").look(own=own).loc[(slice(None), ["ada"]), :]

    assert set(differences(mine, alone)) == {"rank_of_events"}
