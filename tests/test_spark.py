"""The same definitions on Spark: folded weeks equal to the embedded engine's."""

from __future__ import annotations

import operator
import shutil
import sys
from datetime import date

import numpy as np
import pandas as pd
import pytest
from small_company import UNTIL, branch_of, trained
from test_long_log import CALENDAR, dirty, events, people, same_folds, write
from test_server_log import same_reads

from retain.config import load_config
from retain.demo import make_company
from retain.engines import Spark
from retain.errors import TableError
from retain.tables import Mapping, read_tables
from retain.weeks import fold_tables

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
OPTIONS = {
    "spark.master": "local[2]",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.log.level": "ERROR",
    # small tables: compiling what runs once would be most of the time
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


@pytest.fixture(scope="module", autouse=True)
def _java():
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java: apt-get install default-jre-headless")
    pytest.importorskip("pyspark", reason="Spark's library: pip install 'retain[spark]'")
    yield
    from pyspark.sql import SparkSession

    if (session := SparkSession.getActiveSession()) is not None:
        session.stop()


def read(source, *, spark=None, timezone="UTC", customers=None, **more):
    mappings = {"usage": Mapping(source=source, measures=("points",), **more)}
    mappings["customers"] = Mapping(source=people() if customers is None else customers)
    return read_tables(
        mappings, timezone=timezone, currency="EUR", today=date(2026, 6, 1), spark=spark
    )


def test_every_panel_folds_on_spark_as_it_does_here(tmp_path):
    company = make_company(80, weeks=40, seed=5)
    config = load_config(company.write(tmp_path))
    mappings = {
        name: Mapping(**{key: getattr(table, key) for key in type(table).model_fields})
        for name, table in config.tables.items()
    }
    folds = []
    for spark in (OPTIONS, None):
        with read_tables(
            mappings, timezone=config.timezone, currency=config.currency, spark=spark
        ) as tables:
            folds.append(fold_tables(tables, CALENDAR, top_features=("export",)))
    assert {"usage", "interactions", "surveys", "subscriptions", "payments"} <= set(folds[0].panels)
    same_folds(*folds, numbered=())


def test_usage_in_files_is_checked_and_folded_on_spark(tmp_path):
    frame = dirty(events(2_000))
    late = np.random.default_rng(2).integers(0, 20, len(frame)) ** 2 // 20
    frame["recorded_at"] = frame["occurred_at"] + pd.to_timedelta(late, "D")
    frame = frame[~(frame["recorded_at"] >= pd.Timestamp("2026-03-28"))].reset_index(drop=True)
    frame.loc[::7, "recorded_at"] = None
    frame["occurred_at"] = frame["occurred_at"].dt.tz_localize("UTC")
    folder = write(tmp_path / "usage", frame)
    zone = "America/New_York"

    with (
        read(str(folder), spark=OPTIONS, timezone=zone) as there,
        read(str(folder), timezone=zone) as here,
    ):
        same_reads(there, here)
        top = ("f01", "f02", "gone")
        folds = [fold_tables(one, CALENDAR, top_features=top) for one in (there, here)]
        assert there.logs["usage"].rows_fetched == 0
    same_folds(*folds, numbered=())


def test_tasks_on_executors_come_back_in_order():
    """Seen to fail when results were taken as they came, the last first."""
    asked = [(str(number).encode(),) for number in range(5)]
    found = Spark(OPTIONS).spread(operator.concat, b"task ", asked)

    assert list(found) == [b"task 0", b"task 1", b"task 2", b"task 3", b"task 4"]


def test_without_its_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)

    with pytest.raises(TableError, match=r"Spark's own library; pip install 'retain\[spark\]'"):
        Spark(OPTIONS)


def test_a_week_folded_scored_and_explained_on_spark_is_the_week_of_one_machine(
    tmp_path_factory, tmp_path, capsys, monkeypatch
):
    """Seen to fail when results of a wave of portions were taken the last first."""
    monkeypatch.setattr("retain.jobs.scoring.PORTION_CUSTOMERS", 150)  # five, on two slots
    company = trained(tmp_path_factory.getbasetemp())
    weeks = []
    for engine in ("spark", "duckdb"):
        branch = branch_of(company, tmp_path / engine, capsys)
        shutil.rmtree(branch.store / "weeks")
        branch.settings |= {"engine": engine, "spark": OPTIONS}
        ran = branch.run("score", "--as-of", UNTIL, "--model", company.model)
        assert ran.code == 0, ran
        weeks.append(branch.week())
    for name in ("scores", "drivers", "weekly", "timeline"):
        there, here = (pd.read_parquet(week / f"{name}.parquet") for week in weeks)
        there = there.drop(columns="config_version", errors="ignore")
        here = here[list(there.columns)]
        pd.testing.assert_frame_equal(there, here, rtol=1e-9, atol=1e-9)
    assert len(here) > 0
