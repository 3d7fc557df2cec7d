"""What effort costs a company, from its tables to the words: through the one path of features."""

from __future__ import annotations

import datetime as dt
import sys

import numpy as np
import pandas as pd
import pytest

from retain import load_config
from retain.demo import make_company
from retain.errors import SnapshotError
from retain.jobs.effort import effort_costs
from retain.jobs.measuring import measure
from retain.snapshots import later_totals
from retain.weeks import Calendar, FoldedWeeks
from retain.weeks.rows import PanelRows

UNTIL = dt.date(2026, 11, 15)
pytestmark = pytest.mark.slow  # most tests fold and compare a whole company


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    folder = tmp_path_factory.mktemp("effort")
    return make_company(900, weeks=104, seed=11, until=UNTIL).write(folder)


def without_rate(path):
    config = load_config(path)
    costs = config.metrics.costs.model_copy(update={"rate_per_minute": None})
    metrics = config.metrics.model_copy(update={"costs": costs})
    return config.model_copy(update={"metrics": metrics})


@pytest.fixture
def without_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "doubleml", None)


def test_without_the_library_what_is_seen_is_shown_and_the_extra_is_named(company, without_library):
    value = effort_costs(company, rate_per_minute=0.8)

    assert {"observed", "literature"} == {line.kind for line in value.lines}
    assert any("pip install 'retain[effort]'" in text for text in value.not_computed)
    names = [line.name for line in value.lines if line.kind == "observed"]
    assert names == [
        "case_cost_high",
        "case_cost_low",
        "case_cost_difference",
        "churn",
        "spend",
        "referrals",
        "recommendation",
        "point_handling",
        "point_worth",
    ]
    for line in value.lines:
        assert line.value is None or np.isfinite(line.value)
        if line.low is not None:
            assert line.low <= line.value <= line.high


def test_the_cost_of_cases_is_the_sum_of_their_minutes(company, without_library):
    """Recomputed with pandas from the file, of cases that ended in the 52 weeks."""
    table = pd.read_parquet(company.parent / "data" / "interactions.parquet")
    table = table.drop_duplicates("interaction_id").dropna(subset=["customer_id"])
    value = effort_costs(without_rate(company))
    per_minute = effort_costs(company, rate_per_minute=2.0)

    # every contact of the simulation belongs to a case with an id
    ended = table[["resolved_at", "closed_at"]].min(axis=1)
    table = table.assign(ended=ended, open=ended.isna())
    cases = table.groupby(["customer_id", "case_id"]).agg(
        contacts=("interaction_id", "size"),
        channels=("channel", "nunique"),
        transfers=("transfer_count", "sum"),
        reopens=("reopen_count", "sum"),
        minutes=("handle_minutes", "sum"),
        begun=("opened_at", "min"),
        ended=("ended", "max"),
        open=("open", "any"),
    )
    end = pd.Timestamp(UNTIL) + pd.Timedelta(days=1)
    cases = cases[~cases["open"] & (cases["ended"] >= end - pd.Timedelta(weeks=52))]
    high = (
        (cases["contacts"] > 1)
        | (cases["transfers"] >= 2)
        | (cases["reopens"] >= 1)
        | (cases["ended"] - cases["begun"] > pd.Timedelta(hours=72))
    )
    found = value["case_cost_high.observed"]
    assert found.unit == "minutes per case"
    # a few faulty rows are set aside, which this recount does not know
    assert found.value == pytest.approx(cases.loc[high, "minutes"].mean(), rel=0.02)
    assert found.n == pytest.approx(high.sum(), rel=0.02)
    assert per_minute["case_cost_high.observed"].value == pytest.approx(2 * found.value)
    assert "handling in money: metrics.costs.rate_per_minute is not set" in value.not_computed
    assert "point_handling" not in {line.name for line in value.lines}


def test_the_same_week_seen_later_gives_the_same_figures(company, without_library):
    """What came after `as_of` is not looked at, though the tables hold it."""
    day = UNTIL - dt.timedelta(weeks=6)
    before = effort_costs(company, as_of=day)
    end = pd.Timestamp(day) + pd.Timedelta(days=1)
    table = pd.read_parquet(company.parent / "data" / "interactions.parquet")
    spoilt = table.assign(
        handle_minutes=table["handle_minutes"].where(table["resolved_at"] < end, 9999.0),
        reopen_count=table["reopen_count"].where(table["resolved_at"] < end, 9),
    )

    assert effort_costs(company, as_of=day, tables={"interactions": spoilt}) == before


def test_without_interactions_only_the_published_figures_are_left(company, tmp_path):
    text = company.read_text(encoding="utf-8")
    first = text.index("  interactions:")
    cut = text[:first] + text[text.index("  surveys:", first) :]
    path = company.parent / "without.yaml"
    path.write_text(cut.replace("store: store", f"store: {tmp_path}"), encoding="utf-8")
    value = effort_costs(path)

    assert {"literature"} == {line.kind for line in value.lines}
    assert value.not_computed == ("own figures: there is no interactions table",)


def test_the_whole_path_shows_every_figure_beside_its_doubt(company):
    value = effort_costs(company, rate_per_minute=0.8)
    kinds = [(line.name, line.kind) for line in value.lines]

    for name in ("churn", "spend", "referrals", "recommendation", "point_handling", "point_worth"):
        assert kinds.index((name, "adjusted")) == kinds.index((name, "observed")) + 1
    for line in value.lines:
        assert (line.hidden is not None) == (line.kind == "adjusted" and line.value is not None)
    worth, year = value["point_worth.adjusted"], value["year_worth.adjusted"]
    times = year.value / worth.value
    assert times == pytest.approx(round(times))
    assert [worth.low * times, worth.high * times] == pytest.approx([year.low, year.high])
    assert not value.not_computed
    text = value.text()
    assert "96 %" in text
    assert "Neither shows a cause" in text
    assert effort_costs(company, rate_per_minute=0.8) == value


# ---- what comes after --------------------------------------------------------------------------


def folded(week, amount, last_week=20):
    rows = PanelRows(
        customer=np.zeros(len(week), dtype=np.int64),
        week=np.array(week),
        lag=np.zeros(len(week), dtype=np.int64),
        measures={"referrals": np.array(amount, dtype=float)},
        ops={"referrals": "sum"},
    )
    return FoldedWeeks(
        Calendar("sunday"), np.array(["a"]), {"referrals": rows}, last_week, np.array([0.0])
    )


def test_the_scorecard_tells_what_effort_costs_and_keeps_the_figures(company, monkeypatch):
    first = measure(company, period="2026-10", record=False)
    account = first.card["accounts"]["effort"]

    kinds = {line["kind"] for line in account["lines"]}
    assert {"observed", "adjusted", "literature"} == kinds
    churn = {one["kind"]: one for one in account["lines"] if one["name"] == "churn"}
    for one in churn.values():
        assert one["low"] < one["value"] < one["high"]
    assert churn["adjusted"]["assumptions"]
    year = next(one for one in account["lines"] if one["name"] == "year_worth")
    assert "EUR per year" == year["unit"]
    page = (first.folder / "scorecard.html").read_text(encoding="utf-8")
    chapter = page[page.index("<h2>What effort costs</h2>") :].split("</section>")[0]
    for words in (
        "As found",
        "Adjusted",
        "an association",
        "Published elsewhere; never calculated",
    ):
        assert words in chapter
    listed = pd.read_csv(first.folder / "effort.csv")
    assert [line["name"] for line in account["lines"]] == listed["name"].tolist()

    def never(*_, **__):
        raise AssertionError("computed again, though nothing changed")

    monkeypatch.setattr("retain.jobs.effort.effort_costs_of", never)
    assert account == measure(company, period="2026-10", record=False).card["accounts"]["effort"]


def test_what_comes_after_begins_the_week_after_as_of_and_ends_with_the_last_one_counted():
    made = folded([4, 5, 6, 9, 10], [1, 10, 100, 1000, 10000])

    assert [[1110.0]] == later_totals(made, [4], "referrals", "referrals", 5).tolist()
    assert [[1110.0], [10000.0]] == later_totals(made, [4, 9], "referrals", "referrals", 5).tolist()


def test_weeks_past_the_data_are_refused():
    with pytest.raises(SnapshotError, match=r"5 weeks after .* run past the data"):
        later_totals(folded([4], [1.0], last_week=8), [4], "referrals", "referrals", 5)
