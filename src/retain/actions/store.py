"""The action store: one database of weeks, queue, verdicts and treatments; nothing is lost in it.

    store = open_store("sqlite:///out/acme/actions.db")          # or postgresql://...
    store.rows("SELECT * FROM scores WHERE as_of = :as_of", as_of="2026-11-15")   # list of dicts
    with store.writing("ann@acme.example") as write:             # one transaction: all or nothing
        write.save("judgements", {"customer_id": "C1", "as_of": "2026-11-15"},
                   {"lead_risk": "high"}, version=0)             # 0: I saw none; else what I saw
        write.add("treatments", {"customer_id": "C1", ...})      # a new numbered row
        write.log("exported", customer_id=None, after={"rows": 40})
    store.forget("C1", actor="ann@acme.example")                 # {"scores": 4, ...}

`save` refuses a stale write with `StaleWrite`, which carries the row as the other one left it.
Every write through `writing` is in the audit trail (`events`) in the same transaction, with what
was there before and after. A Store is safe to share between threads; processes share the database.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from retain.actions.schema import METADATA, events, schema_version
from retain.errors import ConfigError, StoreError

__all__ = ["StaleWrite", "Store", "Writing", "moment_text", "open_store"]

SCHEMA = 2  # counts up with each change of the tables; MIGRATIONS say how to get there
MIGRATIONS: dict[int, tuple[str, ...]] = {  # version reached -> statements that lead there
    2: (
        "CREATE INDEX outcomes_by_week ON outcomes (as_of, has_left)",
        "CREATE INDEX outcomes_of_leavers ON outcomes (customer_id, as_of) WHERE has_left",
    ),
}
# modules that declare tables
TABLE_MODULES = (
    "retain.actions.schema",
    "retain.actions.people",
    "retain.actions.tallies",
    "retain.actions.alert_tables",
)
OUR_LOCK = 7382951  # a number of ours among PostgreSQL's advisory locks
PATIENCE_S = 30  # how long a writer waits for the others
LONGEST_TEXT = 20_000  # characters of one value
UNAUDITED = {"events", "schema_version", "weeks", "scores", "drivers", "listings", "outcomes"}


class StaleWrite(StoreError):
    """Somebody else wrote the row first; nothing was changed.

    Parameters
    ----------
    table
        The table's name.
    theirs
        The row as it is now; None when it is gone.
    """

    def __init__(self, table: str, theirs: Mapping[str, Any] | None) -> None:
        self.table = table
        self.theirs = None if theirs is None else dict(theirs)
        if theirs is None:
            said = f"{table}: the row was erased meanwhile. Nothing was written; look again."
        else:
            said = (
                f"{table}: {theirs['written_by']} wrote this at {theirs['written_at']}, after it "
                "was shown to you. Nothing was overwritten; look at what they wrote, then write "
                "again."
            )
        super().__init__(said)


def moment_text(at: datetime) -> str:
    """Write a moment as the store keeps it: UTC, to the microsecond.

    Examples
    --------
    >>> moment_text(datetime(2026, 11, 15, 9, 30, tzinfo=UTC))
    '2026-11-15T09:30:00.000000Z'
    """
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def open_store(url: str | Path, *, clock: Callable[[], datetime] | None = None) -> Store:
    """Open an action store; make it, or bring it up to date, when needed.

    Parameters
    ----------
    url
        ``sqlite:///path/of/file``, ``postgresql://user:password@host/name``, or a file's path.
    clock
        Gives the time now, with its zone; default: the system's.

    Raises
    ------
    ConfigError
        When the address is not one of these.
    StoreError
        When the database cannot be reached or was made by a newer version.

    Examples
    --------
    >>> store = open_store("sqlite://")
    >>> with store.writing("ann") as write:
    ...     row = write.save(
    ...         "judgements",
    ...         {"customer_id": "C1", "as_of": "2026-11-15"},
    ...         {"lead_risk": "high"},
    ...         version=0,
    ...     )
    >>> row["version"], store.rows("SELECT lead_risk FROM judgements")
    (1, [{'lead_risk': 'high'}])
    >>> store.close()
    """
    for module in TABLE_MODULES:
        import_module(module)
    engine = _engine(str(url) if "://" in str(url) else f"sqlite:///{url}")
    store = Store(engine, clock or (lambda: datetime.now(UTC)))
    try:
        store._prepare()
    except BaseException:
        store.close()
        raise
    return store


class Store:
    """One company's action store; see `open_store`."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self.engine = engine
        self._clock = clock
        self.is_gone = True  # of whatever the last `forget` erased, to the last byte

    @property
    def database(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    def now(self) -> str:
        """Tell the time, as the store keeps moments."""
        return moment_text(self._clock())

    def rows(self, query: Any, **parameters: Any) -> list[dict[str, Any]]:
        """Read rows.

        Parameters
        ----------
        query
            SQL with ``:name`` for parameters, in what both databases understand, or a SQLAlchemy
            select. JSON columns come as text from SQL and as values from a select.
        parameters
            Values for the names; a list for ``IN :name``.

        Returns
        -------
        list of dict
            One per row, by column name.
        """
        with self._reaching(), self.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(_query(query, parameters))]

    def row(self, query: Any, **parameters: Any) -> dict[str, Any] | None:
        """Read the first row, or None; see `rows`."""
        found = self.rows(query, **parameters)
        return found[0] if found else None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of everything and changes nothing."""
        with self.engine.connect() as connection, connection.begin() as transaction:
            try:
                yield connection
            finally:
                transaction.rollback()

    @contextlib.contextmanager
    def writing(self, actor: str) -> Iterator[Writing]:
        """Give one transaction: everything in it is kept when the block ends well, else nothing.

        Parameters
        ----------
        actor
            Who writes: a person's sign-in name, or the command.
        """
        with (
            self._reaching(),
            self.engine.connect().execution_options(retain_writes=True) as connection,
            connection.begin(),
        ):
            yield Writing(connection, actor, self.now())

    def forget(self, customer_id: str, *, actor: str) -> dict[str, int]:
        """Erase one customer from every table; the trail keeps that somebody was erased, not who.

        Where somebody is at an SQLite file all the while, `is_gone` is False afterwards: bytes of
        the old rows may then lie in the file, or in the log beside it, until another call.

        Parameters
        ----------
        customer_id
            Whom to forget.
        actor
            Who asks for it.

        Returns
        -------
        dict
            Rows erased by table; only tables that held any.
        """
        erased = {}
        with self.writing(actor) as write:
            # what refers to items goes before them
            for table in reversed(METADATA.sorted_tables):
                if "customer_id" in table.c:
                    gone = write.connection.execute(
                        table.delete().where(table.c.customer_id == customer_id)
                    )
                    if gone.rowcount:
                        erased[table.name] = int(gone.rowcount)
            if erased:
                write.log("forgot a customer", after=erased)
        # also when nothing was erased now: a call before may have found the file in use
        self.is_gone = self._wipe_leftovers()
        return erased

    def _wipe_leftovers(self) -> bool:
        """Write an SQLite file anew, without what its pages held before, and empty its log.

        Rows that are erased are overwritten with zeros (secure_delete), but not the copies that
        stay in the gaps of pages when rows move between them; the log holds the old pages, too.

        Returns
        -------
        bool
            False: somebody has been at it for longer than we wait, so that something may be left.
        """
        if self.database != "sqlite":
            return True
        with self.engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            try:
                raw.execute("VACUUM")
            except sqlite3.OperationalError:  # another writer, or no room for a second copy
                return False
            is_held, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_held

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Say in plain words that the database cannot be reached, is full or is not ours."""
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as problem:
            said = " ".join(str(problem.orig).split())[:300]
            where = self.engine.url.render_as_string(hide_password=True)
            raise StoreError(
                f"store: {where}: {said}. Check that the database runs, that the address and "
                "password are right and that the disk is not full; nothing was half-written."
            ) from problem

    def _prepare(self) -> None:
        """Make the tables that are missing; change those of an older version."""
        with (
            self._reaching(),
            self.engine.connect().execution_options(retain_writes=True) as connection,
            connection.begin(),
        ):
            Writing(connection, "schema", self.now()).alone()  # two processes may start at once
            there = set(sa.inspect(connection).get_table_names())
            found = None
            if schema_version.name in there:
                found = connection.execute(sa.select(schema_version.c.number)).scalar()
            if found is not None and found > SCHEMA:
                raise StoreError(
                    f"store: its tables are of version {found}, this retain knows up to {SCHEMA}. "
                    "Install the newer retain that made them; nothing was changed."
                )
            for version in range((SCHEMA if found is None else found) + 1, SCHEMA + 1):
                for statement in MIGRATIONS[version]:
                    connection.execute(sa.text(statement))
            missing = [table for table in METADATA.sorted_tables if table.name not in there]
            if missing:
                METADATA.create_all(connection, tables=missing, checkfirst=False)
            if found is None:
                connection.execute(schema_version.insert().values(number=SCHEMA))
            elif found < SCHEMA:
                connection.execute(schema_version.update().values(number=SCHEMA))


class Writing:
    """One open transaction of a Store; every change through it is audited.

    Parameters
    ----------
    connection
        SQLAlchemy's, for rooms inside `actions`; changes made through it are not audited.
    actor
        Who writes.
    at
        When, as the store keeps moments; one for the whole transaction.
    """

    def __init__(self, connection: Connection, actor: str, at: str) -> None:
        self.connection = connection
        self.actor = actor
        self.at = at

    def alone(self) -> None:
        """Wait until nobody else is in a transaction that asked for this, too."""
        if self.connection.dialect.name == "postgresql":  # on SQLite there is one writer anyway
            self.connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({OUR_LOCK})"))

    def rows(self, query: Any, **parameters: Any) -> list[dict[str, Any]]:
        """Read inside the transaction; see `Store.rows`."""
        result = self.connection.execute(_query(query, parameters))
        return [dict(row._mapping) for row in result]

    def save(
        self, table: str, key: Mapping[str, Any], changes: Mapping[str, Any], *, version: int
    ) -> dict[str, Any]:
        """Write columns of one row, unless somebody else wrote it first.

        Parameters
        ----------
        table
            A table with a `version` column.
        key
            Columns that name the row, as its id or its unique columns.
        changes
            Columns to set; others stay.
        version
            The version that the writer saw; 0 when there was no such row.

        Returns
        -------
        dict
            The row as written, with its new version.

        Raises
        ------
        StaleWrite
            When the row has another version by now; it is left as it is.
        """
        target = _table(table)
        changes, key = _clean(target, changes), _clean(target, key)
        stamp = {"version": version + 1, "written_by": self.actor, "written_at": self.at}
        named = sa.and_(*(target.c[name] == value for name, value in key.items()))
        before = None
        if version == 0:
            values = {**key, **changes, **stamp}
            insert: Any = {"sqlite": sqlite, "postgresql": postgresql}[
                self.connection.dialect.name
            ].insert(target)
            statement = insert.values(values).on_conflict_do_nothing()
        else:
            before = self._one(target, named)
            seen = target.update().where(named, target.c.version == version)
            statement = seen.values({**changes, **stamp})
        done = self.connection.execute(statement.returning(target.c.version)).first()
        after = self._one(target, named)
        if done is None or after is None:
            raise StaleWrite(table, after)
        changed = {n: v for n, v in after.items() if before is None or before.get(n) != v}
        was = None if before is None else {name: before[name] for name in changed}
        self._audit(target, "wrote", after, was, changed)
        return after

    def add(self, table: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a new row to a numbered table.

        Returns
        -------
        dict
            The row with its id.
        """
        target = _table(table)
        values = dict(_clean(target, values))
        if "version" in target.c:
            values |= {"version": 1, "written_by": self.actor, "written_at": self.at}
        result = self.connection.execute(target.insert().values(values))
        if "id" in target.c and result.inserted_primary_key is not None:
            values = {"id": result.inserted_primary_key[0], **values}
        self._audit(target, "added", values, None, values)
        return values

    def log(
        self,
        what: str,
        *,
        customer_id: str | None = None,
        key: Any = None,
        before: Any = None,
        after: Any = None,
    ) -> None:
        """Note something in the audit trail."""
        self.connection.execute(
            events.insert().values(
                at=self.at,
                actor=self.actor,
                what=what,
                customer_id=customer_id,
                key=key,
                before=before,
                after=after,
            )
        )

    def _one(self, target: sa.Table, named: Any) -> dict[str, Any] | None:
        found = self.connection.execute(target.select().where(named)).first()
        return None if found is None else dict(found._mapping)

    def _audit(
        self, target: sa.Table, verb: str, row: Mapping[str, Any], before: Any, after: Any
    ) -> None:
        if target.name in UNAUDITED:
            return
        names = [c.key for c in target.primary_key.columns]
        self.log(
            f"{verb} {target.name}",
            customer_id=row.get("customer_id"),
            key={name: row[name] for name in names if name in row},
            before=before,
            after={n: v for n, v in after.items() if n not in _SECRET},
        )


_SECRET = {"password_hash", "token_hash", "secret"}  # never in the trail


def _table(name: str) -> sa.Table:
    if name not in METADATA.tables:
        raise StoreError(f"store: {name!r} is not a table; there are {', '.join(METADATA.tables)}")
    return METADATA.tables[name]


def _clean(target: sa.Table, given: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse what a database cannot hold; drop NUL, which PostgreSQL has no room for."""
    cleaned = {}
    for name, value in given.items():
        if name not in target.c:
            raise StoreError(f"store: {target.name} has no column {name!r}")
        if isinstance(value, str):
            value = value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
            if len(value) > LONGEST_TEXT:
                raise StoreError(
                    f"{target.name}.{name}: {len(value):,} characters, at most {LONGEST_TEXT:,}. "
                    "Shorten it; nothing was written."
                )
        cleaned[name] = value
    return cleaned


def _query(query: Any, parameters: Mapping[str, Any]) -> Any:
    if not isinstance(query, str):
        return query.params(**parameters) if parameters else query
    statement = sa.text(query)
    lists = [name for name, value in parameters.items() if isinstance(value, list | tuple | set)]
    if lists:
        statement = statement.bindparams(*(sa.bindparam(n, expanding=True) for n in lists))
    return statement.bindparams(**{n: list(v) if n in lists else v for n, v in parameters.items()})


def _engine(url: str) -> Engine:
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigError(
            "review.database: not an address of a database; expected sqlite:///path/of/file or "
            "postgresql://user@host/name"
        ) from None
    kind = address.get_backend_name()
    if kind == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
        try:
            return sa.create_engine(
                address, pool_pre_ping=True, pool_size=5, max_overflow=20, pool_timeout=PATIENCE_S
            )
        except ImportError:
            raise ConfigError(
                "review.database: PostgreSQL needs the driver psycopg; "
                "pip install 'retain[postgresql]'"
            ) from None
    if kind != "sqlite":
        raise ConfigError(
            f"review.database: {kind} is not a database that retain works on; use sqlite:///path "
            "or postgresql://user@host/name"
        )
    memory = address.database in (None, "", ":memory:")
    if not memory:
        _folder_of(str(address.database))
    engine = sa.create_engine(
        address,
        connect_args={"timeout": PATIENCE_S, "check_same_thread": False},
        **({"poolclass": sa.StaticPool} if memory else {"pool_size": 5, "max_overflow": 20}),
    )

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are ours, begun below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # a commit survives a power cut
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute(f"PRAGMA busy_timeout={PATIENCE_S * 1000}")

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # a writer asks for its turn at once: one that began by reading could not get it later
        writes = connection.get_execution_options().get("retain_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _folder_of(database: str) -> None:
    folder = Path(database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise StoreError(
            f"store: {folder} cannot be made: {problem.strerror or problem}. Choose another "
            "address under review.database."
        ) from problem
