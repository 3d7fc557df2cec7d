"""`retain metrics` from end to end: the command, its files, periods, segments, what goes wrong."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_company import contents, run

from retain import measure
from retain.config import Config, load_config
from retain.errors import ConfigError, SnapshotError
from retain.jobs.calculating import Calculating, choose
from retain.jobs.opening import open_company
from retain.metrics import METRICS, Period

UNTIL = dt.date(2026, 11, 15)


@pytest.fixture(scope="module")
def company(tmp_path_factory) -> Path:
    """A small company's configuration file."""
    from retain.demo import make_company

    folder = tmp_path_factory.mktemp("company")
    return make_company(300, weeks=40, seed=5, until=UNTIL).write(folder)


@pytest.fixture(scope="module")
def month(company):
    """October, by segment, with the ids of one metric; not recorded."""
    return measure(company, period="2026-10", by="segment", ids="nps", record=False)


def branch(company: Path, folder: Path, **changes) -> Path:
    """The same company under other settings, with a store of its own."""
    settings = yaml.safe_load(company.read_text("utf-8"))
    for mapping in settings["tables"].values():
        mapping["source"] = str(company.parent / mapping["source"])
    settings |= {"store": str(folder / "store")} | changes
    path = folder / "retain.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return path


def lines_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text("utf-8"))))


# ---- the files -----------------------------------------------------------------------------------


def test_a_period_leaves_a_scorecard_json_csv_and_the_ids_asked_for(month):
    there = set(contents(month.folder))

    assert {"ids/nps-latest.csv", "metrics.csv", "metrics.json", "scorecard.html"} <= there
    assert month.folder.name == "2026-10"
    assert json.loads((month.folder / "metrics.json").read_text("utf-8")) == month.card


def test_every_metric_is_computed_or_left_out_with_its_reason(month):
    named = [one["name"] for one in month.card["metrics"]]
    left = [one["name"] for one in month.card["left_out"]]

    assert {one.name for one in METRICS} == {*named, *left}
    assert all(one["because"] for one in month.card["left_out"])
    for one in month.card["metrics"]:
        assert (one["value"] is None) == bool(one["undefined_because"]), one["name"]


def test_the_csv_says_what_the_json_says(month):
    lines = [line for line in lines_of(month.folder) if line["period"] == "2026-10"]
    found = {(line["name"], line["variant"], line["by"], line["segment"]): line for line in lines}
    told = [line for one in month.card["metrics"] for line in (one, *one["segments"])]

    assert len(told) == len(found) == len(lines)
    for one in told:
        by, segment = next(iter(one["by"].items()), ("", ""))
        line = found[one["name"], one["variant"], by, segment]
        assert ("" if one["value"] is None else str(one["value"])) == line["value"]
        assert str(one["n"]) == line["n"]


def test_ids_are_as_many_as_the_denominator_says(month):
    (nps,) = (one for one in month.card["metrics"] if one["name"] == "nps")
    listed = pd.read_csv(month.folder / "ids" / "nps-latest.csv")
    roles = listed["role"].value_counts()

    assert nps["denominator"] == roles["denominator"]
    assert sum(nps["excluded"].values()) == roles["left out"]


def test_a_rerun_leaves_the_same_bytes(company, tmp_path):
    path = branch(company, tmp_path)
    first = contents(measure(path, period="2026-10", by="segment", record=False).folder)
    again = contents(measure(path, period="2026-10", by="segment", record=False).folder)

    assert first == again
    assert not list((tmp_path / "store").rglob(".partial-*"))


def test_segments_add_up_and_the_card_says_so(month):
    assert [True] * len(month.card["checks"]) == [one["holds"] for one in month.card["checks"]]
    for one in month.card["metrics"]:
        for what in ("rows_in", "used"):
            if one["segments"]:
                assert one[what] == sum(line[what] for line in one["segments"]), one["name"]


def test_the_trend_ends_with_the_value_itself(month):
    assert "2026-10" == month.card["periods"][-1]
    for one in month.card["metrics"]:
        assert month.card["periods"] == [step["period"] for step in one["trend"]]
        assert one["value"] == one["trend"][-1]["value"]


def test_the_page_says_how_every_number_was_computed_and_needs_no_network(month):
    page = (month.folder / "scorecard.html").read_text("utf-8")

    assert page.count("<summary>How was this computed") >= len(month.card["metrics"])
    for one in month.card["metrics"]:
        assert f"{one['label']}" in page.replace("&#39;", "'").replace("&amp;", "&")
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", page)
    assert "<script" not in page


# ---- what is asked for ---------------------------------------------------------------------------


def test_the_command_prints_a_table_json_or_csv(company, tmp_path, capsys):
    path = branch(company, tmp_path, metrics={"targets": {"nps": -100}, "periods": 2})
    table = run(capsys, "metrics", path, "--period", "2026-10")
    told = run(capsys, "metrics", path, "--period", "2026-10", "--json")
    lines = run(capsys, "metrics", path, "--period", "2026-10", "--csv")

    assert [0, 0, 0] == [table.code, told.code, lines.code], table.err + told.err + lines.err
    assert "1 of 1 targets met" in table.out
    assert "Net promoter score" in table.out
    assert "2026-10" == json.loads(told.out)["period"]["label"]
    assert "period,name,variant" == lines.out[:19]


def test_the_default_period_is_the_last_month_that_the_data_hold_whole(month, company, tmp_path):
    path = branch(company, tmp_path)

    assert month.period == measure(path, record=False).period


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ({"period": "2026q4"}, "2026-10-01", "2026-12-31"),
        ({"period": "2026"}, "2026-01-01", "2026-12-31"),
        ({"start": "2026-10-05", "end": "2026-10-11"}, "2026-10-05", "2026-10-11"),
    ],
)
def test_quarters_years_and_days_are_periods_too(company, tmp_path, asked, first, last):
    path = branch(company, tmp_path, metrics={"periods": 1})
    made = measure(path, record=False, **asked)

    assert (first, last) == (made.card["period"]["start"], made.card["period"]["last"])
    not_over = made.period.end > UNTIL + dt.timedelta(1)
    assert not_over == any("not over" in note for note in made.card["notes"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--variant", "npss=all"], "npss is not a metric; did you mean nps?"),
        (["--variant", "nps=lates"], "--variant nps=lates: not one of its own; did you mean late"),
        (["--variant", "nps"], "expected NAME=VARIANT"),
        (["--by", "segmnt"], "customers have no such column; did you mean segment?"),
        (["--ids", "nsp"], "--ids: nsp is not a metric; did you mean nps?"),
        (["--period", "October"], "not a period; expected a month like 2026-10"),
        (["--period", "2026-10", "--from", "2026-10-01"], "and not both"),
        (["--from", "2026-10-01"], "go together"),
        (["--from", "2026-10-09", "--to", "2026-10-01"], "swap them"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(company, tmp_path, capsys, words, told):
    said = run(capsys, "metrics", branch(company, tmp_path), *words)

    assert 2 == said.code
    assert told in said.err


def test_an_unknown_metric_or_parameter_in_the_configuration_is_told(company, tmp_path):
    for settings, told in (
        ({"targets": {"npss": 3}}, "metrics.targets: npss is not a metric; did you mean nps"),
        ({"parameters": {"nps": {"leve": 1}}}, "leve is not a parameter; did you mean level"),
    ):
        with pytest.raises(ConfigError, match=told):
            measure(branch(company, tmp_path, metrics=settings), record=False)


def test_a_definition_asked_for_is_shown_and_two_stand_side_by_side(company, tmp_path):
    path = branch(company, tmp_path, metrics={"periods": 1})
    made = measure(path, variants={"nps": ["latest", "all"]}, record=False)

    shown = [one["variant"] for one in made.card["metrics"] if one["name"] == "nps"]
    assert ["latest", "all"] == shown


def test_a_period_after_the_data_is_refused_and_one_without_data_is_undefined(company, tmp_path):
    path = branch(company, tmp_path, metrics={"periods": 1})
    with pytest.raises(SnapshotError, match="begins after the data, which end on 2026-11-15"):
        measure(path, period="2027-01", record=False)

    long_ago = measure(path, period="2019-01", record=False)
    (nps,) = (one for one in long_ago.card["metrics"] if one["name"] == "nps")
    assert nps["value"] is None
    assert "nobody answered" == nps["undefined_because"]


def test_a_table_that_is_absent_leaves_its_metrics_out_and_says_so(company, tmp_path):
    settings = yaml.safe_load(company.read_text("utf-8"))["tables"]
    del settings["surveys"]
    for mapping in settings.values():
        mapping["source"] = str(company.parent / mapping["source"])
    made = measure(branch(company, tmp_path, tables=settings), record=False)

    assert "there is no table surveys" == made.left_out["nps"]
    assert "nps" not in [one["name"] for one in made.card["metrics"]]
    page = (made.folder / "scorecard.html").read_text("utf-8")
    assert "there is no table surveys" in page


# ---- as it was known -----------------------------------------------------------------------------


def test_what_came_later_does_not_change_what_was_known_then(company, tmp_path):
    """Seen to fail when `_select` kept rows recorded later."""
    config = load_config(branch(company, tmp_path))
    day, month = dt.date(2026, 9, 20), Period.month("2026-08")
    whole = open_company(config)
    cut = {}
    for name in whole.tables.names:
        frame = whole.tables.frame(name)
        if "recorded_at" in frame:
            frame = frame[frame["recorded_at"] < pd.Timestamp(day) + pd.Timedelta(days=1)]
        cut[name] = frame
    plain = Config.from_dict(
        {
            "company": "cut",
            "currency": "EUR",
            "store": str(tmp_path / "cut"),
            "timezone": "Europe/Rome",
            "data_until": str(UNTIL),
            "tables": {name: {"source": "unused.parquet"} for name in cut},
        }
    )
    earlier = open_company(plain, cut)
    for one in choose({}, {}):
        left, right = (
            _or_reason(Calculating(company, day), one, month) for company in (whole, earlier)
        )
        assert left == right, one.calculator.name


def _or_reason(calculating, one, month):
    try:
        return calculating(one, month)
    except ValueError as problem:
        return str(problem)
