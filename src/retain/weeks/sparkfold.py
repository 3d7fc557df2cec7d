"""A table of the work database folded on Spark: its rows go there, folded rows come back."""

from __future__ import annotations

from typing import Any

from retain.engines import Spark, rendered
from retain.tables.sql import quoted
from retain.weeks.streams import Facts

__all__ = ["fold_on_spark"]


def fold_on_spark(spark: Spark, con: Any, name: str, rows: str, facts: Facts, sql: str) -> Any:
    """Run a table's passes and its fold on Spark, rendered for it.

    Parameters
    ----------
    spark, con
        Where to fold, and the work database that holds the rows and their dictionaries.
    name, rows
        The table, and what holds its rows.
    facts, sql
        Its facts, and the fold that `fold_sql` wrote.

    Returns
    -------
    pyarrow.Table
        Folded rows: customer_id, week, lag and the measures.
    """
    listed = "SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, ?)"
    numbered = [one for (one,) in con.execute(listed, [f"dict_{name}_"]).fetchall()]
    for view, held in ((name, rows), *((one, one) for one in numbered)):
        spark.put(view, con.sql(f"SELECT * FROM {quoted(held)}").to_arrow_table())
    passes = [f"{one} AS ({rendered(pass_, 'spark')})" for one, pass_ in facts.passes.items()]
    first = f"WITH {', '.join(passes)} " if passes else ""
    return spark.arrow(first + rendered(sql, "spark"))
