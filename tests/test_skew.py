"""Training and scoring see the same rows: week after week, cell for cell.

Training looks at many dates with later data at hand; scoring looks at one date on tables that end
there, week after week with the same store, as operations does. Both go through the one `matrix`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pandas as pd
import pytest
from tiny import Frames, copies, features, fold, read, tiny
from witness import ROW_DATES, cut, cut_copies, differences

from retain.features import feature
from retain.weeks import FoldedWeeks, History, history
from retain.weeks.kept import KeptWeeks
from retain.weeks.streams import Source

WEEK = dt.timedelta(weeks=1)
SCORED = tuple(dt.date(2024, 6, 30) + n * WEEK for n in (-3, 0, 1))
SNAPSHOTS = tuple(dt.date(2024, 6, 30) + n * WEEK for n in range(-30, 9))


class Skew:
    """The tables as training has them, and as they lay there on each scored evening."""

    def __init__(self) -> None:
        self.whole = read(tiny())
        self.cut = {day: read(cut(tiny(), day), data_until=day) for day in SCORED}
        self.learnt, self.seen = self.fold_whole(), self.fold_cut()

    def fold_whole(self) -> FoldedWeeks:
        return fold(self.whole, copies())

    def fold_cut(
        self, days: tuple[dt.date, ...] = SCORED, store: Path | None = None
    ) -> dict[dt.date, FoldedWeeks]:
        """Fold week after week, with one store when there is one."""
        return {day: fold(self.cut[day], cut_copies(copies(), day), store=store) for day in days}

    def found(
        self,
        learnt: FoldedWeeks | None = None,
        seen: dict[dt.date, FoldedWeeks] | None = None,
        own: tuple[Any, ...] = (),
    ) -> dict[str, str]:
        """Compare what scoring saw with the rows on which the model was trained."""
        trained = features(learnt or self.learnt, *SNAPSHOTS, own=own)
        found: dict[str, str] = {}
        for day, folded in (seen or self.seen).items():
            # as the weekly run asks: now, four weeks ago, a week ago, and that with what came since
            days = (day, day - 4 * WEEK, day - WEEK, day - WEEK)
            known = (day, day - 4 * WEEK, day - WEEK, day)
            rows = features(folded, *days, own=own, known_by=known, only=tuple(trained.columns))
            n = len(rows) // 4
            for place, then in ((0, day), (1, day - 4 * WEEK), (2, day - WEEK)):
                here, there = rows.iloc[place * n : (place + 1) * n], trained.loc[[then]]
                # who signs up later is no customer yet, and not in the tables of that evening
                both = there.index.isin(here.index)
                assert there.loc[~both, "tenure_weeks"].isna().all()
                found |= differences(there[both], here)
        return found


@pytest.fixture(scope="module")
def skew() -> Iterator[Skew]:
    made = Skew()
    yield made
    for tables in (made.whole, *made.cut.values()):
        tables.close()


def test_scoring_a_week_reproduces_the_rows_that_training_built_for_it(
    skew: Skew, tmp_path: Path
) -> None:
    assert skew.found() == {}
    assert skew.found(seen=skew.fold_cut(store=tmp_path)) == {}


def test_rows_of_a_week_ago_with_what_is_known_now_are_those_of_facts_that_arrived_at_once(
    skew: Skew,
) -> None:
    """What came late is told from what is new: the world in which it had come in time."""
    now = dt.date(2024, 7, 7)
    ago = now - WEEK
    end = pd.Timestamp(ago) + pd.Timedelta(days=1)
    seen = features(skew.learnt, ago, known_by=(now,))

    in_time: Frames = cut(tiny(), now)
    for name in ROW_DATES:
        frame = in_time[name]
        if "recorded_at" in frame:
            frame["recorded_at"] = frame["recorded_at"].where(frame["recorded_at"] < end)
    expected = features(
        fold(read(cut(in_time, ago), data_until=ago), cut_copies(copies(), ago)), ago
    )

    late = features(skew.learnt, ago)
    assert {"events_4w", "failed_payments_4w", "referrals_made_13w"} <= {*differences(late, seen)}
    assert differences(expected, seen) == {}


def test_columns_of_a_table_that_is_absent_are_nan_and_in_the_models_order(skew: Skew) -> None:
    trained = features(skew.learnt, *SNAPSHOTS)
    day = SCORED[1]
    folded = skew.seen[day].without(("surveys", "comments"))
    scored = features(folded, day, only=tuple(trained.columns[::-1]))
    there = features(folded, day)
    gone = [name for name in scored if name not in there]

    assert list(trained.columns[::-1]) == list(scored.columns)
    assert {"last_answer_nps", "comments_26w", "comments_about_love_it"} <= {*gone}
    assert scored[gone].isna().all(axis=None)
    assert {*gone} == {*differences(trained.loc[[day]], scored)}


# -- seen to fail -----------------------------------------------------------------------------


def late_rows_are_never_late(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let the fold of training, which has the later rows, believe they were known at once."""
    patch.setattr(Source, "known", lambda self, day: day)
    return ()


def the_store_keeps_what_it_had(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let weeks that have been folded stand, whatever arrives later."""
    same = property(lambda kept: ANY if kept.weeks else "")
    patch.setattr(KeptWeeks, "content", same)
    return ()


def latest_looks_at_the_newest_week_there_is(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let the newest value be that of the newest week at hand, not of as_of."""
    whole = history.Panel._latest

    def newest(self: Any, measure: str, before: int, *, positive: bool = False) -> Any:
        rows = whole(self, measure, before, positive=positive)
        return rows[[self.as_ofs.argmax()]].repeat(len(rows), 0)

    patch.setattr(history.Panel, "_latest", newest)
    return ()


def a_feature_knows_today(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let a company's own feature count the weeks up to the newest one."""

    @feature(unit="weeks", signal="today", theme="profile")
    def weeks_to_today(seen: History) -> Any:
        """Weeks until today."""
        return (seen._folded.last_week - seen.as_ofs)[:, None] + 0.0 * seen.tenure_weeks

    return (weeks_to_today,)


def todays_status_is_a_feature(patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Let the number of rows ever exported about a customer be a feature."""

    @feature(unit="rows", signal="rows", theme="usage")
    def rows_at_hand(seen: History) -> Any:
        """Rows at hand about a customer."""
        whole = seen._folded.panels["usage"].customer
        return [[float((whole == one).sum()) for one in range(seen.customers)]] * len(seen.as_ofs)

    return (rows_at_hand,)


@pytest.mark.parametrize(
    ("plant", "column"),
    [
        (late_rows_are_never_late, "failed_payments_4w"),
        (the_store_keeps_what_it_had, "events_4w"),
        (latest_looks_at_the_newest_week_there_is, "days_since_last_use"),
        (a_feature_knows_today, "weeks_to_today"),
        (todays_status_is_a_feature, "rows_at_hand"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_planted_skew_is_caught(
    plant: Callable[[pytest.MonkeyPatch], tuple[Any, ...]],
    column: str,
    skew: Skew,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Break the code as the plant's docstring says; the comparison must tell."""
    own = plant(monkeypatch)
    learnt = skew.fold_whole() if plant is late_rows_are_never_late else None
    seen = skew.fold_cut(SCORED[1:], tmp_path) if plant is the_store_keeps_what_it_had else None

    assert column in skew.found(learnt, seen, own)
