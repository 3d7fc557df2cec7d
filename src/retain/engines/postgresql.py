"""A PostgreSQL server: SELECTs run there, and their rows come over as Arrow (ADBC)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from retain.errors import TableError

__all__ = ["SCHEMES", "Address", "PostgreSQL"]

SCHEMES = ("postgresql://", "postgres://")
# Arrow's types as the driver gives them: the embedded engine's names
_TYPES = {
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "timestamp[us]": "TIMESTAMP",
    "timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE",
    "string": "VARCHAR",
}


@dataclass(frozen=True)
class Address:
    """Where a table lies: a server's address and a table of it.

    Parameters
    ----------
    server
        As in ``postgresql://ann@db.example.com/crm``, without the password.
    table
        ``table`` or ``schema.table``; empty when a query says what to read.
    password_env
        Environment variable that holds the password.
    """

    server: str
    table: str = ""
    password_env: str | None = None

    @classmethod
    def of(cls, source: Any, password_env: str | None = None) -> Address | None:
        """Read ``postgresql://server/database::schema.table``; None for any other source.

        >>> Address.of("postgresql://ann@db/crm::public.clicks")
        Address(server='postgresql://ann@db/crm', table='public.clicks', password_env=None)
        """
        if not isinstance(source, str) or not source.startswith(SCHEMES):
            return None
        server, _, table = source.partition("::")
        return cls(server, table.strip(), password_env)

    @property
    def relation(self) -> str:
        """The table, written for SQL.

        >>> Address("postgresql://db/crm", "public.my clicks").relation
        '"public"."my clicks"'
        """
        parts = self.table.split(".", 1)
        return ".".join('"' + part.replace('"', '""') + '"' for part in parts)

    @property
    def password(self) -> str | None:
        """Read the password, if it needs one.

        Raises
        ------
        TableError
            When the variable is not set.
        """
        if self.password_env is None:
            return None
        if not os.environ.get(self.password_env):
            raise TableError(
                f"password_env names {self.password_env}, which is not set; export "
                f"{self.password_env}=... first"
            )
        return os.environ[self.password_env]

    def with_password(self) -> str:
        """Write the address to connect to."""
        if self.password is None:
            return self.server
        scheme, _, rest = self.server.partition("://")
        before, mark, after = rest.rpartition("@")
        if not mark:
            before = ""
        return f"{scheme}://{before}:{quote(self.password, safe='')}@{after or rest}"


class PostgreSQL:
    """One connection, one transaction: all that is read is of the same moment.

    Parameters
    ----------
    address
        The server.
    table
        Our table, for messages.

    Raises
    ------
    TableError
        When the driver is not installed or the server does not let us in.
    """

    dialect = "postgres"
    place = (
        "((CAST(ctid AS text)::point)[0]::bigint << 16) + (CAST(ctid AS text)::point)[1]::bigint"
    )

    def __init__(self, address: Address, table: str) -> None:
        self.address, self.table = address, table
        try:
            import adbc_driver_postgresql.dbapi as adbc
        except ImportError:
            raise TableError(
                f"table {table!r}: a PostgreSQL source needs its driver; "
                "pip install 'retain[postgresql]'"
            ) from None
        self._errors: type[Exception] = adbc.Error
        try:
            self._connection: Any = adbc.connect(address.with_password())
            with self._connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SET LOCAL TimeZone = 'UTC'")
        except adbc.Error as problem:
            raise TableError(
                f"table {table!r}: {address.server} cannot be opened: {self._told(problem)}. Check "
                "the address, and password_env when it asks for a password"
            ) from None

    def types(self, relation: str) -> dict[str, str]:
        """Columns of a relation and the embedded engine's name for the type of each."""
        schema = self.arrow(f"SELECT * FROM {relation} LIMIT 0").schema
        return {one.name: _type_of(one) for one in schema}

    def arrow(self, query: str) -> Any:
        """Run a query; an Arrow table."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(query)
                return cursor.fetch_arrow_table()
            except self._errors as problem:
                raise self._refused(problem) from None

    def batches(self, query: str) -> Any:
        """Run a query; an Arrow reader, batch by batch."""
        import pyarrow as pa

        cursor = self._connection.cursor()
        try:
            cursor.execute(query)
            reader = cursor.fetch_record_batch()
        except self._errors as problem:
            raise self._refused(problem) from None

        def batch_by_batch() -> Iterator[Any]:
            with cursor:  # open until the last batch is read
                yield from reader

        return pa.RecordBatchReader.from_batches(reader.schema, batch_by_batch())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _refused(self, problem: Exception) -> TableError:
        return TableError(
            f"table {self.table!r}: {self.address.server} cannot be read: {self._told(problem)}"
        )

    def _told(self, problem: Exception) -> str:
        text = " ".join(str(problem).partition("Query was:")[0].split())
        if self.address.password:
            text = text.replace(self.address.password, "***")
        return re.sub(r"\bSQLSTATE: \w+\b", "", text)[:300].rstrip(". ")


def _type_of(column: Any) -> str:
    told = (column.metadata or {}).get(b"POSTGRESQL:type", b"")
    return "DECIMAL" if told == b"numeric" else _TYPES.get(str(column.type), "OTHER")
