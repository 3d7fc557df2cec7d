"""Folded weeks laid down in files are the folded weeks."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import fold, read, tiny

from retain.weeks.laid import lay_down, let_go, size_of
from retain.weeks.rows import PanelRows, WeekByWeek


@pytest.fixture(scope="module")
def folded():
    with read(tiny()) as tables:
        return fold(tables)


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_weeks_laid_down_in_parts_are_the_same_weeks(tmp_path: Path, folded, cut) -> None:
    """Seen to fail when the customers of the second part kept their own positions."""
    of = len(folded.customers)
    parts = [folded.of_customers(0, cut), folded.of_customers(cut, of)]
    laid = lay_down(tmp_path / "laid", lambda: parts)

    assert laid.customers.tolist() == folded.customers.tolist()
    np.testing.assert_array_equal(laid.start_day, folded.start_day)
    assert list(laid.panels) == list(folded.panels)
    for name, rows in folded.panels.items():
        found = laid.panels[name]
        assert (found.ops, found.begins) == (rows.ops, rows.begins)
        for what in ("customer", "week", "lag"):
            np.testing.assert_array_equal(getattr(found, what), getattr(rows, what))
        for measure, values in rows.measures.items():
            np.testing.assert_array_equal(found.measures[measure], values)
    cuts = [one.of_customers(1, of) for one in (laid, folded)]
    assert len(cuts[0].panels["usage"]) == len(cuts[1].panels["usage"]) > 0


def test_a_type_that_holds_the_numbers_of_all_parts_is_chosen(tmp_path: Path, folded) -> None:
    usage = folded.panels["usage"]
    wide = replace(usage, measures=usage.measures | {"events": usage.measures["events"] * 1e10})
    parts = [folded, folded.with_panel("usage", wide)]
    laid = lay_down(tmp_path, lambda: parts).panels["usage"]

    n = len(usage)
    np.testing.assert_array_equal(laid.measures["events"][:n], usage.measures["events"])
    np.testing.assert_array_equal(laid.measures["events"][n:], wide.measures["events"])
    assert laid.customer[n] == usage.customer[0] + len(folded.customers)
    assert 0 < size_of(folded) < size_of(lay_down(tmp_path, lambda: parts))


@pytest.mark.parametrize("is_whole", [False, True])
def test_rows_that_lie_week_by_week_are_the_rows_in_order(folded, is_whole) -> None:
    """Seen to fail when a cut said by itself in which week the table begins."""
    usage = folded.panels["usage"]
    first = int(usage.week.min())
    late = replace(usage, lag=usage.lag + np.arange(len(usage)) % 5, begins=first - 1)
    parts = [late.take(late.week == week) for week in np.unique(late.week)]
    assert WeekByWeek(parts, late.ops).begins == replace(late, begins=0).begins
    lying = WeekByWeek(parts, late.ops, late.begins)
    if is_whole:
        assert lying.whole.begins == late.begins
    week, of = int(usage.week.max()), len(folded.customers)
    pairs: list[tuple[PanelRows, PanelRows]] = [
        *((lying.of_customers(*cut), late.of_customers(*cut)) for cut in ((0, 1), (1, of))),
        (lying.known_by(week), late.known_by(week)),
        (lying.known_by(week).of_customers(1, of), late.known_by(week).of_customers(1, of)),
        (lying.take(late.lag > 0), late.take(late.lag > 0)),
        (pickle.loads(pickle.dumps(lying)), late),
    ]
    for one, other in pairs:
        assert len(one) == len(other) > 0
        assert (one.ops, one.begins) == (other.ops, other.begins)
        for what in ("customer", "week", "lag"):
            np.testing.assert_array_equal(getattr(one, what), getattr(other, what))
        for measure, values in other.measures.items():
            np.testing.assert_array_equal(one.measures[measure], values)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is in memory")
def test_what_was_read_of_laid_down_rows_is_let_go_and_read_again(tmp_path: Path, folded) -> None:
    """Seen to fail when nothing was let go."""
    usage = folded.panels["usage"]
    long = replace(usage.take(np.resize(np.arange(len(usage)), 2**18)), customer=np.zeros(2**18))
    laid = lay_down(tmp_path, lambda: [folded.with_panel("usage", long)])
    before = laid.panels["usage"].week.sum()
    held = mapped_kb(tmp_path)

    let_go(laid)

    assert mapped_kb(tmp_path) < held / 10
    assert laid.panels["usage"].week.sum() == before


def mapped_kb(folder: Path) -> int:
    """What this process holds of the files of a folder."""
    said = Path("/proc/self/smaps").read_text().splitlines()
    found, is_ours = 0, False
    for line in said:
        if "-" in line.split()[0]:
            is_ours = str(folder) in line
        elif is_ours and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found
