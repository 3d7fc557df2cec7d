"""A long log of events: never copied, and yet the same tables, findings and folded weeks."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from retain.errors import StoreError
from retain.features import build_features
from retain.tables import Mapping, eventlog, read_tables
from retain.weeks import Calendar, History, fold_tables, read_usual, sweep
from retain.weeks.kept import KeptWeeks

CALENDAR = Calendar("sunday")
START = datetime(2026, 1, 5)


def events(rows=4_000, seed=1, weeks=12):
    """Events in the order of time, with nothing wrong."""
    draw = np.random.default_rng(seed)
    seconds = np.sort(draw.integers(0, weeks * 7 * 86400, rows))
    who = draw.integers(0, 30, rows)
    return pd.DataFrame(
        {
            "customer_id": who,
            "occurred_at": pd.to_datetime(START) + pd.to_timedelta(seconds, "s"),
            "feature": [f"f{number:02d}" for number in draw.integers(0, 70, rows)],
            "quantity": draw.integers(0, 9, rows),
            "duration_s": np.where(draw.random(rows) < 0.1, np.nan, draw.integers(0, 900, rows)),
            "user_id": who * 10 + draw.integers(0, 5, rows),
            "points": draw.normal(size=rows).round(3),
        }
    ).astype({"occurred_at": "datetime64[us]"})


def people(number=30):
    return pd.DataFrame({"customer_id": range(number), "signed_up_at": [START] * number})


def write(folder, frame, files=3, row_groups=300):
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), files)):
        part = frame.iloc[rows]
        part.to_parquet(folder / f"{number}.parquet", index=False, row_group_size=row_groups)
    return folder


def read(folder, monkeypatch, long, *, customers=None, summaries=None, **more):
    monkeypatch.setattr(eventlog, "LONG_ROWS", 0 if long else 10**9)
    measures = more.pop("measures", ("points",))
    tables = read_tables(
        {
            "customers": Mapping(source=people() if customers is None else customers),
            "usage": Mapping(source=str(folder), measures=measures, **more),
        },
        timezone="UTC",
        currency="EUR",
        summaries=summaries,
        today=date(2026, 6, 1),
    )
    assert ("usage" in tables.logs) == long
    return tables


def told(tables):
    return [
        (f.table, f.column, f.severity, f.count, f.message, f.examples)
        for f in tables.findings
        if "blanks" not in f.message  # counted by id in a long log, by row otherwise
    ]


def same_tables(one, other):
    assert one.counts == other.counts
    assert told(one) == told(other)
    assert one.data_until == other.data_until
    assert one.newest == other.newest
    listed = "SELECT * FROM usage ORDER BY ALL"
    pd.testing.assert_frame_equal(one.con.sql(listed).df(), other.con.sql(listed).df())
    quarantined = "SELECT * FROM quarantine ORDER BY ALL"
    assert one.con.sql(quarantined).fetchall() == other.con.sql(quarantined).fetchall()


def distinct(folded, measure):
    as_ofs = [folded.last_week - 5, folded.last_week]
    panel = History(folded, as_ofs).usage
    return np.concatenate([panel.distinct(measure, weeks) for weeks in (1, 4, 8)])


def same_folds(one, other, numbered=("users",)):
    """Equal, but for the numbers given to users (and, between runs, features): as they come."""
    for measure in numbered:
        np.testing.assert_array_equal(distinct(one, measure), distinct(other, measure))
    assert one.customers.tolist() == other.customers.tolist()
    assert set(one.panels) == set(other.panels)
    for name, rows in one.panels.items():
        mine = other.panels[name]
        assert rows.ops == mine.ops
        for part in ("customer", "week", "lag"):
            np.testing.assert_array_equal(getattr(rows, part), getattr(mine, part))
        for measure in rows.ops:
            if measure.rpartition("_")[0] in numbered:
                continue
            np.testing.assert_allclose(
                rows.measures[measure], mine.measures[measure], rtol=1e-12, atol=1e-9
            )


@pytest.mark.parametrize("kind", ["plain", "recorded", "texts", "shuffled", "shared users"])
def test_a_long_log_folds_to_the_rows_of_the_sql_fold(tmp_path, monkeypatch, kind):
    frame = events()
    more = {}
    if kind == "recorded":
        late = np.random.default_rng(2).integers(0, 20, len(frame)) ** 2 // 20
        frame["recorded_at"] = frame["occurred_at"] + pd.to_timedelta(late, "D")
        frame = frame[frame["recorded_at"] < datetime(2026, 3, 28)].reset_index(drop=True)
        frame.loc[::7, "recorded_at"] = None
    if kind == "texts":
        frame["customer_id"] = [f"  C{one}" if one % 2 else f"C{one}" for one in frame.customer_id]
        frame["user_id"] = frame["user_id"].map("u{}".format)
        frame.loc[::11, ["feature", "user_id"]] = None
        more["customers"] = people().assign(customer_id=[f"C{one}" for one in range(30)])
    if kind == "shuffled":
        frame = frame.sample(frac=1, random_state=3).reset_index(drop=True)
        monkeypatch.setattr(sweep, "MOST_WAITING", 500)
        monkeypatch.setattr(sweep, "CELLS", 60)
    if kind == "shared users":
        frame["user_id"] %= 10
    folder = write(tmp_path / "usage", frame)
    with (
        read(folder, monkeypatch, True, **more) as long,
        read(folder, monkeypatch, False, **more) as short,
    ):
        same_tables(long, short)
        top = ("f01", "f02", "gone")
        folds = [fold_tables(one, CALENDAR, top_features=top) for one in (long, short)]
    same_folds(*folds)


@pytest.mark.parametrize("texts", [False, True])
def test_what_was_decoded_to_judge_a_file_is_not_decoded_again(tmp_path, monkeypatch, texts):
    """Seen to fail when what was put down named customers by their numbers in another file."""
    frame = dirty(events())
    if texts:
        frame[["feature", "user_id"]] = frame[["feature", "user_id"]].astype(str)
    folder = write(tmp_path / "usage", frame.sample(frac=1, random_state=3))
    top = ("f01", "f02")
    with monkeypatch.context() as patch:
        patch.setattr(eventlog, "MOST_DOWN", 0)
        with read(folder, patch, True) as twice:
            other = fold_tables(twice, CALENDAR, top_features=top)
    with read(folder, monkeypatch, True) as once, monkeypatch.context() as patch:
        patch.setattr(eventlog.EventLog, "_decoded", None)
        folded = fold_tables(once, CALENDAR, top_features=top)
        assert not [*once.folder.glob("log_*.arrow")]  # their room is given up
        patch.undo()
        again = fold_tables(once, CALENDAR, top_features=top)
    same_folds(folded, other)
    same_folds(again, other)


def test_what_is_usual_is_read_from_the_weeks_of_a_long_log_too(tmp_path, monkeypatch):
    folder = write(tmp_path / "usage", events())
    found = []
    for long in (True, False):
        store = tmp_path / str(long)
        with read(folder, monkeypatch, long) as tables:
            week = fold_tables(tables, CALENDAR, store=store).last_week
        found.append(read_usual(store, CALENDAR, week, weeks=8))
    one, other = found
    assert one.customers.tolist() == other.customers.tolist()
    assert 30 == len(one.customers)
    np.testing.assert_array_equal(one.active, other.active)
    np.testing.assert_array_equal(one.sums["events"], other.sums["events"])

    next((store / "weeks" / "usage").glob("2026-03-1*.arrow")).unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        read_usual(store, CALENDAR, week, weeks=8)


def dirty(frame):
    frame = frame.copy()
    frame["customer_id"] = frame["customer_id"].astype("Int64")
    frame.loc[5, "customer_id"] = None
    frame.loc[6:9, "customer_id"] = 99
    frame.loc[10, "quantity"] = -1
    frame.loc[11, "duration_s"] = np.inf
    frame.loc[12, "occurred_at"] = None
    frame.loc[13, "occurred_at"] = datetime(1970, 3, 1)
    frame.loc[len(frame) - 1, "occurred_at"] = datetime(2042, 1, 1)
    return frame


def test_rows_that_cannot_be_used_are_set_aside_like_those_of_any_table(tmp_path, monkeypatch):
    folder = write(tmp_path / "usage", dirty(events()))
    with read(folder, monkeypatch, True) as long, read(folder, monkeypatch, False) as short:
        assert {
            "unknown customer": 4,
            "dated after the export": 1,
            "dated before 1971": 1,
            "duration_s is not a number": 1,
            "missing customer_id": 1,
            "missing occurred_at": 1,
            "negative quantity": 1,
        } == long.counts["usage"].set_aside
        same_tables(long, short)
        same_folds(fold_tables(long, CALENDAR), fold_tables(short, CALENDAR))


def both_ways(folder, monkeypatch, **more):
    """Read and fold as a long log and as any table: the same."""
    with (
        read(folder, monkeypatch, True, **more) as long,
        read(folder, monkeypatch, False, **more) as short,
    ):
        same_tables(long, short)
        folds = [fold_tables(one, CALENDAR) for one in (long, short)]
    same_folds(*folds)
    return folds[0]


def test_users_written_with_blanks_or_as_nothing_are_read_like_any_id(tmp_path, monkeypatch):
    """Seen to fail when users of a long log were counted as they came."""
    frame = events().astype({"user_id": str})
    odd = np.random.default_rng(3).integers(0, 6, len(frame))
    frame["user_id"] = np.select(
        [odd == 0, odd == 1, odd == 2], [" " + frame["user_id"], "n/a", ""], frame["user_id"]
    )
    both_ways(write(tmp_path / "usage", frame), monkeypatch)


def test_a_log_without_features_can_set_rows_aside(tmp_path, monkeypatch):
    frame = events().drop(columns="feature")
    frame.loc[7, "customer_id"] = 999
    both_ways(write(tmp_path / "usage", frame), monkeypatch)


def test_a_file_without_rows_changes_nothing(tmp_path, monkeypatch):
    folder = write(tmp_path / "usage", events())
    plain = both_ways(folder, monkeypatch)
    events().iloc[:0].to_parquet(folder / "9.parquet", index=False)
    same_folds(plain, both_ways(folder, monkeypatch))
    for _ in range(2):  # the second time from its summary
        folded = fold_kept(folder, tmp_path / "store", monkeypatch)[0]
        assert 4_000 == folded.panels["usage"].measures["events"].sum()


@pytest.mark.parametrize("number", [1, 3])
def test_a_company_may_have_few_customers(tmp_path, monkeypatch, number):
    frame = events(600).assign(customer_id=lambda f: f["customer_id"] % number)
    both_ways(write(tmp_path / "usage", frame), monkeypatch, customers=people(number))


@pytest.mark.parametrize("column", ["customer_id", "user_id"])
def test_whole_numbers_far_apart_are_each_one_id(tmp_path, monkeypatch, column):
    """Seen to fail when what came after a far number was looked up among those before."""
    frame, far = events(900), 10**10
    ids = [1 + 19 * (n % 2) for n in range(300)]
    ids += [11 if n % 2 else far for n in range(300)] + [11 + n % 10 for n in range(300)]
    frame[column] = ids
    if column == "user_id":
        frame["customer_id"] = 1
    there = pd.DataFrame({"customer_id": [*range(1, 21), far]})
    folder = write(tmp_path / "usage", frame, files=1)
    with (
        read(folder, monkeypatch, True, customers=there) as long,
        read(folder, monkeypatch, False, customers=there) as short,
    ):
        asked = "SELECT customer_id, signed_up_at FROM customers ORDER BY 1"
        assert long.con.sql(asked).fetchall() == short.con.sql(asked).fetchall()
        same_folds(fold_tables(long, CALENDAR), fold_tables(short, CALENDAR))


@pytest.mark.parametrize(("column", "value"), [("customer_id", None), ("quantity", -5)])
def test_rows_that_cannot_be_used_do_not_move_the_last_day(tmp_path, monkeypatch, column, value):
    frame = events().astype({"customer_id": "Int64"})
    tail = frame.iloc[-40:].assign(
        occurred_at=lambda f: f["occurred_at"] + pd.Timedelta(days=7), **{column: value}
    )
    frame = pd.concat([frame, tail]).astype({"customer_id": "Int64"})
    both_ways(write(tmp_path / "usage", frame), monkeypatch)


def test_a_summary_that_another_run_takes_away_is_made_again(tmp_path, monkeypatch):
    folder, store = write(tmp_path / "usage", events()), tmp_path / "store"
    plain = fold_kept(folder, store, monkeypatch)[0]

    def gone(path):
        path.unlink()
        raise FileNotFoundError(path)

    monkeypatch.setattr(eventlog, "load", gone)
    same_results(plain, fold_kept(folder, store, monkeypatch)[0])


def test_repeated_event_ids_are_set_aside(tmp_path, monkeypatch):
    frame = events().assign(event_id=lambda f: np.arange(len(f)) % 3_990)
    folder = write(tmp_path / "usage", frame)
    with read(folder, monkeypatch, True) as long, read(folder, monkeypatch, False) as short:
        assert {"repeated event_id": 10} == long.counts["usage"].set_aside
        same_tables(long, short)
        same_folds(fold_tables(long, CALENDAR), fold_tables(short, CALENDAR))


def test_equal_rows_are_estimated_from_some_customers(tmp_path, monkeypatch):
    frame = pd.concat([events()] * 2).sort_values("occurred_at", ignore_index=True)
    folder = write(tmp_path / "usage", frame)
    with read(folder, monkeypatch, True) as long:
        (found,) = [f for f in long.findings if "equal another row" in f.message]
    assert found.message.startswith("about ")
    assert 4_000 * 0.3 < found.count < 4_000 * 3


def test_customers_are_derived_from_a_long_log(tmp_path, monkeypatch):
    folder = write(tmp_path / "usage", events())
    monkeypatch.setattr(eventlog, "LONG_ROWS", 0)
    found = []
    for rows in (0, 10**9):
        monkeypatch.setattr(eventlog, "LONG_ROWS", rows)
        mapping = {"usage": Mapping(source=str(folder))}
        with read_tables(mapping, timezone="UTC", currency=None) as tables:
            found.append(tables.con.sql("SELECT * FROM customers ORDER BY ALL").fetchall())
    assert found[0] == found[1]
    assert len(found[0]) == 30


# ---- kept between runs -------------------------------------------------------------------------


def fold_kept(folder, store, monkeypatch, *, customers=None):
    """Fold with a store; also say which weeks were written and which files were read."""
    written, scanned = [], []
    write_rows, sum_up = KeptWeeks.write_rows, eventlog.sum_up
    with monkeypatch.context() as patch:

        def note_weeks(self, rows, numbers):
            write_rows(self, rows, numbers)
            written.extend(np.unique(rows.week).tolist())

        def note_file(path, *arguments):
            scanned.append(path.name)
            return sum_up(path, *arguments)

        patch.setattr(KeptWeeks, "write_rows", note_weeks)
        patch.setattr(eventlog, "sum_up", note_file)
        with read(folder, patch, True, summaries=store / "reads", customers=customers) as tables:
            folded = fold_tables(tables, CALENDAR, store=store, top_features=("f01",))
    return folded, sorted(written), sorted(scanned)


def same_results(one, other):
    same_folds(one, other, ("users", "features"))


def rebuilt(folder, tmp_path, monkeypatch, **more):
    return fold_kept(folder, tmp_path / "emptied", monkeypatch, **more)[0]


FIRST_WEEK = CALENDAR.week_of(START.date())


def test_a_new_file_is_read_alone_and_reopens_its_weeks_alone(tmp_path, monkeypatch):
    frame = events()
    cut = frame["occurred_at"] < START + timedelta(weeks=11)
    folder, store = write(tmp_path / "usage", frame[cut]), tmp_path / "store"
    first = fold_kept(folder, store, monkeypatch)
    assert (list(range(FIRST_WEEK, FIRST_WEEK + 11)), ["0.parquet", "1.parquet", "2.parquet"]) == (
        first[1:]
    )
    assert ([], []) == fold_kept(folder, store, monkeypatch)[1:]

    frame[~cut].to_parquet(folder / "3.parquet", index=False)
    folded, written, scanned = fold_kept(folder, store, monkeypatch)
    assert ([FIRST_WEEK + 11], ["3.parquet"]) == (written, scanned)
    same_results(folded, rebuilt(folder, tmp_path, monkeypatch))


def test_late_rows_reopen_exactly_the_weeks_that_they_touch(tmp_path, monkeypatch):
    frame = events()
    late = frame["occurred_at"].dt.day_of_year.isin([20, 50]) & (frame["customer_id"] == 7)
    assert late.sum() >= 2
    folder, store = write(tmp_path / "usage", frame[~late]), tmp_path / "store"
    fold_kept(folder, store, monkeypatch)
    frame[late].to_parquet(folder / "late.parquet", index=False)
    folded, written, scanned = fold_kept(folder, store, monkeypatch)

    days = frame.loc[late, "occurred_at"].dt.date
    assert sorted({CALENDAR.week_of(day) for day in days}) == written
    assert ["late.parquet"] == scanned
    same_results(folded, rebuilt(folder, tmp_path, monkeypatch))
    same_results(folded, rebuilt(write(tmp_path / "other", frame), tmp_path / "2", monkeypatch))


def test_a_file_that_is_overwritten_or_taken_away_reopens_its_weeks(tmp_path, monkeypatch):
    frame = events()
    folder, store = write(tmp_path / "usage", frame, files=12), tmp_path / "store"
    fold_kept(folder, store, monkeypatch)
    part = pd.read_parquet(folder / "5.parquet")
    part.assign(quantity=part["quantity"] + 1).to_parquet(folder / "5.parquet", index=False)
    (folder / "9.parquet").unlink()
    folded, written, scanned = fold_kept(folder, store, monkeypatch)

    assert ["5.parquet"] == scanned
    assert 2 <= len(written) <= 6
    same_results(folded, rebuilt(folder, tmp_path, monkeypatch))


def test_a_customer_who_turns_up_later_brings_the_events_set_aside(tmp_path, monkeypatch):
    folder, store = write(tmp_path / "usage", events()), tmp_path / "store"
    few = people().drop(index=7)
    fold_kept(folder, store, monkeypatch, customers=few)
    folded, written, scanned = fold_kept(folder, store, monkeypatch)

    assert 12 == len(written)
    assert [] == scanned
    same_results(folded, rebuilt(folder, tmp_path, monkeypatch))
    gone, _, _ = fold_kept(folder, store, monkeypatch, customers=few)
    same_results(gone, rebuilt(folder, tmp_path / "2", monkeypatch, customers=few))


@pytest.mark.parametrize("damage", ["lost", "cut short", "summary cut short", "no book"])
def test_what_was_damaged_in_the_store_is_made_again(tmp_path, monkeypatch, damage):
    folder, store = write(tmp_path / "usage", events()), tmp_path / "store"
    before = fold_kept(folder, store, monkeypatch)[0]
    weeks = sorted((store / "weeks" / "usage").glob("*.arrow"))
    if damage == "lost":
        weeks[3].unlink()
    if damage == "cut short":
        weeks[3].write_bytes(weeks[3].read_bytes()[:-50])
    if damage == "summary cut short":
        summary = next((store / "reads").glob("*.npz"))
        summary.write_bytes(summary.read_bytes()[:-50])
    if damage == "no book":
        (store / "weeks" / "dictionaries.json").unlink()
    folded, written, scanned = fold_kept(folder, store, monkeypatch)

    assert {"lost": 1, "cut short": 1, "summary cut short": 0, "no book": 12}[damage] == len(
        written
    )
    assert (damage == "summary cut short") == len(scanned)
    same_results(folded, before)


def test_a_week_in_which_nothing_usable_is_left_is_empty(tmp_path, monkeypatch):
    """Seen to fail when the week's old file stayed: rows were counted that were no more."""
    folder, store = tmp_path / "usage", tmp_path / "store"
    frame = events(500)
    far = frame.iloc[:2].assign(occurred_at=pd.Timestamp("2025-03-05"), customer_id=[1, 999])
    write(folder, pd.concat([far, frame]), files=1)
    fold_kept(folder, store, monkeypatch)
    write(folder, pd.concat([far.iloc[1:], frame]), files=1)

    for _ in range(2):
        folded = fold_kept(folder, store, monkeypatch)[0]
        assert 500 == folded.panels["usage"].measures["events"].sum()
        same_results(folded, rebuilt(folder, tmp_path, monkeypatch))


@pytest.mark.parametrize("damage", ["lost", "of another day"])
def test_weeks_are_folded_again_when_their_users_numbers_are_others(tmp_path, monkeypatch, damage):
    """Seen to fail when numbers began anew beside weeks that had the old ones."""
    folder, store = write(tmp_path / "usage", events()), tmp_path / "store"
    kept = store / "weeks" / "users.parquet"
    fold_kept(folder, store, monkeypatch)
    old = kept.read_bytes()
    more = events(200, seed=5).assign(user_id=lambda f: f["user_id"] + 1_000)
    more.iloc[-20:].to_parquet(folder / "3.parquet", index=False)
    if damage == "lost":
        kept.unlink()
    else:
        fold_kept(folder, store, monkeypatch)
        kept.write_bytes(old)
        more.iloc[-40:].to_parquet(folder / "3.parquet", index=False)
    folded = fold_kept(folder, store, monkeypatch)[0]

    same_results(folded, rebuilt(folder, tmp_path, monkeypatch))


@pytest.mark.parametrize(
    "kinds", [("int", "text"), ("text", "int"), ("int", "digits"), ("digits", "int")]
)
def test_users_may_become_texts_or_numbers_from_one_export_to_the_next(
    tmp_path, monkeypatch, kinds
):
    folder, store = tmp_path / "usage", tmp_path / "store"
    for kind in kinds:
        frame = events()
        if kind != "int":
            frame["user_id"] = frame["user_id"].map(("u{}" if kind == "text" else "{}").format)
        write(folder, frame)
        folded = fold_kept(folder, store, monkeypatch)[0]

    same_results(folded, rebuilt(folder, tmp_path, monkeypatch))


@pytest.mark.parametrize("step", [1, -1, 1 << 27])
def test_users_keep_their_numbers_however_far_apart_their_ids_lie(tmp_path, step):
    """Seen to fail when the users of earlier runs did not widen the range of ids."""
    who, day = np.array([0, 0, 1, 0], dtype=np.int32), np.array([3, 2, 2, 2], dtype=np.int32)
    kept = tmp_path / "users.parquet"

    def numbers(*ids):
        there = [one for one in ids if one is not None]
        span = (min(there), max(there))
        users = sweep.Users(["a", "b"], span, kept if kept.exists() else None)
        found = users.of(who, pa.array(ids, pa.int64()), day)
        users.save(kept)
        return found.tolist()

    assert numbers(5 * step, 6 * step, 5 * step, None) == [1, 0, 0, -1]
    assert numbers(8 * step, 9 * step, 8 * step, None) == [3, 2, 1, -1]
    assert numbers(5 * step, 6 * step, 8 * step, 9 * step) == [1, 0, 1, 2]


def test_a_customer_with_most_of_the_events_costs_no_more_cells(tmp_path, monkeypatch):
    frame = events(20_000)
    frame.loc[np.random.default_rng(4).random(len(frame)) < 0.95, "customer_id"] = 3
    frame = frame.sample(frac=1, random_state=5)
    folder = write(tmp_path / "usage", frame)
    with read(folder, monkeypatch, True) as long, read(folder, monkeypatch, False) as short:
        same_folds(fold_tables(long, CALENDAR), fold_tables(short, CALENDAR))


def matrix(folded):
    as_ofs = [folded.last_week - back for back in (5, 2, 1, 0)]
    return build_features(folded, as_ofs, np.ones((4, len(folded.customers)), dtype=bool)).X


def test_weeks_folded_as_they_came_give_the_features_of_a_full_rebuild(tmp_path, monkeypatch):
    """To the last bit. Seen to fail when a late file did not reopen the weeks that it touches."""
    frame = events(6_000)
    draw = np.random.default_rng(6)
    arrives = (frame["occurred_at"] - START).dt.days // 7 + draw.geometric(0.8, len(frame)) - 1
    frame["recorded_at"] = frame["occurred_at"] + pd.to_timedelta(draw.integers(0, 9, 6_000), "D")
    folder, store = tmp_path / "usage", tmp_path / "store"
    folder.mkdir()
    for week in range(12):
        part = frame[arrives == week]
        part.to_parquet(folder / f"{week:02d}.parquet", index=False, row_group_size=200)
        folded, written, scanned = fold_kept(folder, store, monkeypatch)
        touched = {CALENDAR.week_of(day) for day in part["occurred_at"].dt.date}
        assert (sorted(touched), [f"{week:02d}.parquet"]) == (written, scanned)
    assert 3 <= len(touched) < 12
    pd.testing.assert_frame_equal(
        matrix(rebuilt(folder, tmp_path, monkeypatch)), matrix(folded), check_exact=True
    )
