"""How SQL written for the embedded engine reads in another one.

One definition, rendered: sqlglot knows the dialects, and what it leaves to us is below. Whether the
answers agree is for tests to say, on the engines themselves.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

__all__ = ["Engine", "rendered"]


class Engine(Protocol):
    """Another engine that runs SELECTs and gives their rows as Arrow."""

    @property
    def dialect(self) -> str:
        """Its name for `rendered`."""

    @property
    def place(self) -> str:
        """Name of its own for the place of a row in its table, written for it."""

    def types(self, relation: str) -> dict[str, str]:
        """Columns of a relation and the embedded engine's name for the type of each."""

    def arrow(self, query: str) -> Any:
        """Run a query in the engine's own dialect; an Arrow table."""

    def batches(self, query: str) -> Any:
        """Run a query in the engine's own dialect; an Arrow reader, batch by batch."""

    def close(self) -> None:
        """Let go of it."""


@functools.cache
def rendered(query: str, dialect: str) -> str:
    """Write a query of the embedded engine's for another one.

    Parameters
    ----------
    query
        One SELECT in DuckDB's dialect.
    dialect
        ``postgres`` or ``spark``.

    Examples
    --------
    >>> rendered("SELECT round(sum(x), 9) AS x FROM (SELECT 7 // 2 AS x)", "postgres")
    'SELECT CAST(ROUND(CAST(SUM(x) AS DECIMAL), 9) AS DOUBLE PRECISION) AS x \
FROM (SELECT 7 / 2 AS x) AS part_0'
    """
    import sqlglot

    tree = sqlglot.parse_one(query, read="duckdb")
    for number, inner in enumerate(_nameless(tree)):
        inner.set("alias", sqlglot.exp.TableAlias(this=sqlglot.exp.to_identifier(f"part_{number}")))
    change = {"postgres": _for_postgres, "spark": _for_spark}[dialect]
    return tree.transform(change).sql(dialect=dialect)


def _nameless(tree: Any) -> list[Any]:
    """Subqueries read FROM that have no name: PostgreSQL wants one."""
    from sqlglot import exp

    return [
        one
        for one in tree.find_all(exp.Subquery)
        if isinstance(one.parent, exp.From | exp.Join) and not one.alias
    ]


def _for_postgres(node: Any) -> Any:
    from sqlglot import exp

    if isinstance(node, exp.Round) and node.args.get("decimals") is not None:
        number = exp.cast(node.this.copy(), "DECIMAL")
        return exp.cast(exp.Round(this=number, decimals=node.args["decimals"].copy()), "DOUBLE")
    if isinstance(node, exp.IntDiv):  # whole numbers divide whole, and none here is negative
        return exp.Div(this=node.this, expression=node.expression, typed=True)
    if isinstance(node, exp.IsNan):
        return exp.EQ(this=node.this, expression=exp.cast(exp.Literal.string("NaN"), "DOUBLE"))
    if _called(node) == "HASH":
        parts = ", ".join(
            f"coalesce(CAST({one.sql('postgres')} AS TEXT), '~')" for one in _of(node)
        )
        return exp.maybe_parse(f"HASHTEXTEXTENDED(CONCAT_WS('|', {parts}), 0)", dialect="postgres")
    return node


def _for_spark(node: Any) -> Any:
    from sqlglot import exp

    is_point = isinstance(node, exp.Literal) and not node.is_string and "." in node.this
    if is_point and not isinstance(node.parent, exp.Cast):
        return exp.cast(node.copy(), "DOUBLE")  # there a number with a point is a decimal
    if isinstance(node, exp.DateDiff):
        first, last = (one.copy() for one in (node.expression, node.this))
        if node.args["unit"].name.upper() == "DAY":  # days of the calendar, not of 24 hours
            return exp.DateDiff(
                this=exp.cast(last, "DATE"), expression=exp.cast(first, "DATE"), unit=exp.var("DAY")
            )
        return exp.Paren(
            this=exp.Sub(
                this=exp.func("UNIX_SECONDS", exp.cast(last, "TIMESTAMPLTZ")),
                expression=exp.func("UNIX_SECONDS", exp.cast(first, "TIMESTAMPLTZ")),
            )
        )
    if _called(node) == "TIMEZONE":
        zone, moment = _of(node)
        local = exp.Anonymous(this="FROM_UTC_TIMESTAMP", expressions=[moment.copy(), zone.copy()])
        return exp.cast(local, "TIMESTAMPNTZ")
    if _called(node) == "ISFINITE":  # there a moment is always finite
        return exp.EQ(this=_of(node)[0].copy(), expression=_of(node)[0].copy())
    if _called(node) == "HASH":
        return exp.Anonymous(this="XXHASH64", expressions=[one.copy() for one in _of(node)])
    return node


def _called(node: Any) -> str:
    from sqlglot import exp

    return str(node.this).upper() if isinstance(node, exp.Anonymous) else ""


def _of(node: Any) -> list[Any]:
    found: list[Any] = node.expressions
    return found
