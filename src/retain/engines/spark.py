"""Apache Spark: SELECTs run on its executors, and their few rows come back as Arrow."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from retain.errors import TableError

__all__ = ["Spark"]

MOST_AT_ONCE = 16  # tasks whose arguments and results this machine holds, some 50 MB each
# days are local to the company before they are counted, so that the session's zone must not matter
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
_TYPES = {
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp_ntz": "TIMESTAMP",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "string": "VARCHAR",
}


class Spark:
    """One Spark session: the one that runs already, else a new one.

    Parameters
    ----------
    options
        Spark's own settings, as in ``{"spark.master": "local[2]"}``; what they leave out comes from
        the cluster's `spark-defaults.conf`.

    Raises
    ------
    TableError
        When pyspark or Java is missing, or the cluster does not answer.
    """

    dialect = "spark"
    place = "monotonically_increasing_id()"

    def __init__(self, options: Mapping[str, str]) -> None:
        try:
            from pyspark.sql import SparkSession
        except ImportError:
            raise TableError(
                "engine: spark needs Spark's own library; pip install 'retain[spark]'"
            ) from None
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # executors run the same Python
        builder = SparkSession.builder.appName("retain")
        for name, value in {**_SETTINGS, **options}.items():
            builder = builder.config(name, value)
        try:
            with warnings.catch_warnings():
                # 2026-11: Spark 4.3 warns of pandas 3; what is used of it here is tested
                warnings.simplefilter("ignore")
                self.session: Any = builder.getOrCreate()
        except Exception as problem:  # Java missing, or whatever the cluster says
            raise TableError(
                f"engine: spark cannot be started: {str(problem).strip()[:300]}. Spark needs Java "
                "17 or newer and, for a cluster, spark.master"
            ) from None

    def files(self, name: str, paths: Sequence[Path]) -> str:
        """Make Parquet files readable under a name, and give it.

        Raises
        ------
        TableError
            When Spark cannot read them: time stamps in nanoseconds, for one.
        """
        from pyspark.errors import PySparkException

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows = self.session.read.parquet(*[str(path) for path in paths])
        except PySparkException as problem:
            told = " ".join(str(problem).partition("JVM stacktrace")[0].split())[:200]
            raise TableError(f"Spark cannot read its files: {told}") from None
        rows.createOrReplaceTempView(name)
        return name

    def put(self, name: str, table: Any) -> str:
        """Make an Arrow table readable under a name, and give it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.session.createDataFrame(table).createOrReplaceTempView(name)
        return name

    def types(self, relation: str) -> dict[str, str]:
        """Columns of a relation and the embedded engine's name for the type of each."""
        schema = self.session.sql(f"SELECT * FROM {relation}").schema
        kinds = {one.name: one.dataType.simpleString() for one in schema}
        return {
            name: "DECIMAL" if kind.startswith("decimal") else _TYPES.get(kind, "OTHER")
            for name, kind in kinds.items()
        }

    def arrow(self, query: str) -> Any:
        """Run a query; an Arrow table."""
        from pyspark.errors import PySparkException

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.session.sql(query).toArrow()
        except PySparkException as problem:
            told = " ".join(str(problem).partition("JVM stacktrace")[0].split())[:300]
            raise TableError(f"engine: spark refused a query: {told}") from None

    def batches(self, query: str) -> Any:
        """Run a query; an Arrow reader, batch by batch."""
        return self.arrow(query).to_reader()

    def close(self) -> None:
        """Leave the session running: the next table needs it, and it ends with the program."""

    def spread(
        self, task: Callable[..., Any], shared: bytes, given: Iterable[tuple[Any, ...]]
    ) -> Iterator[Any]:
        """Do a task for each of the given arguments on the executors; results in order.

        Parameters
        ----------
        task
            A function of a module that the executors have, too: ``task(shared, *arguments)``.
        shared
            Given to each; it travels once per executor.
        given
            Arguments that can be pickled, made as they are needed: so many at a time as there are
            slots, so that this machine holds no more of them.
        """
        context = self.session.sparkContext
        slots = min(int(context.defaultParallelism), MOST_AT_ONCE)
        all_share = context.broadcast(shared)

        def work(batches: Iterator[Any]) -> Iterator[Any]:
            import pyarrow as pa

            for batch in batches:
                for number, packed in zip(*(one.to_pylist() for one in batch.columns), strict=True):
                    done = pickle.dumps(task(all_share.value, *pickle.loads(packed)), protocol=5)
                    yield pa.record_batch([[number], [done]], ["number", "packed"])

        try:
            numbered = enumerate(given)
            while wave := list(itertools.islice(numbered, slots)):
                yield from self._done(work, wave)
        finally:
            all_share.destroy()

    def _done(self, work: Callable[..., Any], wave: Sequence[tuple[int, Any]]) -> list[Any]:
        """Do one wave, a partition each."""
        import pyarrow as pa
        from pyspark.errors import PySparkException

        numbers = pa.array([number for number, _ in wave], pa.int64())
        packed = pa.array([pickle.dumps(one, protocol=5) for _, one in wave], pa.large_binary())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows = self.session.createDataFrame(
                    pa.table({"number": numbers, "packed": packed.cast(pa.binary())})
                ).repartitionByRange(len(wave), "number")
                found = rows.mapInArrow(work, "number long, packed binary").toArrow()
        except PySparkException as problem:
            told = " ".join(str(problem).partition("JVM stacktrace")[0].split())[:300]
            raise TableError(f"engine: spark could not score a portion: {told}") from None
        found = found.sort_by("number")
        return [pickle.loads(one) for one in found["packed"].to_pylist()]
