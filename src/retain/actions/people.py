"""Who may use the review page: people, their sessions, and sign-ins that failed.

Passwords arrive here hashed and session tokens leave as hashes: the store alone lets nobody in.
Times are whole seconds since 1970, UTC.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from retain.actions.schema import METADATA, number_key, text_type
from retain.actions.store import Store, Writing
from retain.errors import ConfigError, some

__all__ = ["ROLES", "Account", "People", "SavedSession"]

ROLES = ("admin", "lead", "owner", "reader")
"""What people may be: `owner` sees own accounts only, `reader` writes nothing."""

_PEOPLE = Table(
    "people",
    METADATA,
    Column("key", text_type(), primary_key=True),  # the name as it is compared
    Column("name", text_type(), nullable=False),
    Column("role", String(20), nullable=False),
    Column("owner", text_type(), nullable=False),  # the customers' owner that this person is
    Column("password", text_type(), nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("created_at", Integer, nullable=False),
)
_SESSIONS = Table(
    "sessions",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("key", text_type(), nullable=False, index=True),  # empty: nobody has to sign in
    Column("form_token", String(64), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False),
)
_ATTEMPTS = Table(
    "failed_sign_ins",
    METADATA,
    number_key(),
    Column("key", text_type(), nullable=False),
    Column("address", String(100), nullable=False),
    Column("at", Integer, nullable=False),
    Index("ix_failed_sign_ins_key_at", "key", "at"),
    Index("ix_failed_sign_ins_address_at", "address", "at"),
)


@dataclass(frozen=True)
class Account:
    """One person.

    Attributes
    ----------
    name, role
        As given; one of `ROLES`.
    owner
        The value of the customers' column `owner` that is this person.
    password
        The hash; empty = cannot sign in with a password (a proxy vouches for them).
    is_active
        False = may no longer come in.
    """

    name: str
    role: str
    owner: str
    password: str
    is_active: bool


@dataclass(frozen=True)
class SavedSession:
    """One browser that came in; `account` is None where nobody has to sign in."""

    account: Account | None
    form_token: str
    seen_at: int


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


class People:
    """People, sessions and failed sign-ins in the action store.

    Parameters
    ----------
    store
        Where they are kept.
    now
        The clock, in seconds since 1970.
    """

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

    def add(
        self,
        name: str,
        role: str,
        password: str,
        owner: str | None = None,
        *,
        by: str = "access",
        is_new: bool = False,
    ) -> Account:
        """Add a person, or give a known one another role, owner and password.

        Every session of a person who was there before ends.

        Parameters
        ----------
        name
            As it is typed to sign in; upper and lower case are the same.
        role
            One of `ROLES`.
        password
            Its hash, never the password.
        owner
            The customers' owner that this person is; default: the name.
        by
            Who lets them in, for the audit trail.
        is_new
            Refuse a name that is known already.

        Raises
        ------
        ConfigError
            When the name is empty or the role unknown, or the person is to be new and is not.
        """
        name = " ".join(name.split())
        if not name or len(name) > 200:
            raise ConfigError("--add-person: a name is needed, of at most 200 characters.")
        if role not in ROLES:
            raise ConfigError(f"--role {role}: not a role; there are {some(ROLES, 10)}.")
        row = {
            "name": name,
            "role": role,
            "owner": name if owner is None else owner,
            "password": password,
            "is_active": True,
        }
        with self._store.writing(by) as write:
            before = _known(write, name)
            if before is not None and is_new:
                raise ConfigError(f"{name}: somebody of that name is known already.")
            if before is not None:
                write.connection.execute(
                    update(_PEOPLE).where(_PEOPLE.c.key == _key(name)).values(row)
                )
            else:
                write.connection.execute(
                    insert(_PEOPLE).values(row | {"key": _key(name), "created_at": self._clock()})
                )
            write.connection.execute(delete(_SESSIONS).where(_SESSIONS.c.key == _key(name)))
            made = Account(name, role, str(row["owner"]), password, True)
            _note(write, before, made)
        return made

    def change(self, seen: Account, to: Account, *, by: str) -> bool:
        """Change a person's role, owner, password or whether they may come in.

        Every session of that person ends. What they wrote stays.

        Parameters
        ----------
        seen
            The person as whoever changes them saw them.
        to
            As they are to be; of the same name.
        by
            Who changes them, for the audit trail.

        Returns
        -------
        bool
            False when they are no longer as they were seen: nothing was changed.
        """
        if to.role not in ROLES:
            raise ConfigError(f"--role {to.role}: not a role; there are {some(ROLES, 10)}.")
        with self._store.writing(by) as write:
            write.alone()
            before = _known(write, seen.name)
            if before != seen:
                return False
            write.connection.execute(
                update(_PEOPLE)
                .where(_PEOPLE.c.key == _key(seen.name))
                .values(role=to.role, owner=to.owner, password=to.password, is_active=to.is_active)
            )
            write.connection.execute(delete(_SESSIONS).where(_SESSIONS.c.key == _key(seen.name)))
            _note(write, before, to)
        return True

    def remove(self, name: str, *, by: str = "access") -> bool:
        """Let a person in no longer; what they wrote stays. False = there is none of that name."""
        known = next((one for one in self.everybody() if _key(one.name) == _key(name)), None)
        return known is not None and self.change(known, replace(known, is_active=False), by=by)

    def accounts(self) -> list[Account]:
        """List the people who may come in, by name."""
        return [one for one in self.everybody() if one.is_active]

    def everybody(self) -> list[Account]:
        """List everybody who ever might come in, by name."""
        return [_account(row) for row in self._store.rows(select(_PEOPLE).order_by(_PEOPLE.c.key))]

    def account(self, name: str) -> Account | None:
        """Find a person who may come in; None when there is none of that name."""
        row = self._store.row(
            select(_PEOPLE).where(_PEOPLE.c.key == _key(name), _PEOPLE.c.is_active)
        )
        return None if row is None else _account(row)

    def open_session(self, token_hash: str, form_token: str, name: str = "") -> None:
        """Remember a browser by the hash of its token; an empty name = nobody signs in here."""
        now = self._clock()
        with self._store.writing(_ACTOR) as write:
            write.connection.execute(
                insert(_SESSIONS).values(
                    token_hash=token_hash,
                    key=_key(name),
                    form_token=form_token,
                    created_at=now,
                    seen_at=now,
                )
            )

    def session(self, token_hash: str, idle_s: int, longest_s: int) -> SavedSession | None:
        """Find a session that is neither idle for `idle_s` seconds nor older than `longest_s`.

        Returns
        -------
        SavedSession or None
            None when it is unknown or over, or its person may no longer come in.
        """
        now = self._clock()
        row = self._store.row(
            select(_SESSIONS, *(_PEOPLE.c[n].label(f"p_{n}") for n in _ACCOUNT))
            .outerjoin(_PEOPLE, _PEOPLE.c.key == _SESSIONS.c.key)
            .where(
                _SESSIONS.c.token_hash == token_hash,
                _SESSIONS.c.seen_at > now - idle_s,
                _SESSIONS.c.created_at > now - longest_s,
            )
        )
        if row is None:
            return None
        account = None
        if row["key"]:
            if not row["p_is_active"]:
                return None
            account = Account(**{n: row[f"p_{n}"] for n in _ACCOUNT})
        if row["seen_at"] < now - 60:  # a write a minute at most
            with self._store.writing(_ACTOR) as write:
                write.connection.execute(
                    update(_SESSIONS)
                    .where(_SESSIONS.c.token_hash == token_hash)
                    .values(seen_at=now)
                )
        return SavedSession(account, row["form_token"], row["seen_at"])

    def close_session(self, token_hash: str) -> None:
        """Forget one session."""
        with self._store.writing(_ACTOR) as write:
            write.connection.execute(delete(_SESSIONS).where(_SESSIONS.c.token_hash == token_hash))

    def clear(self, longest_s: int) -> None:
        """Forget sessions and failed sign-ins older than `longest_s` seconds."""
        oldest = self._clock() - longest_s
        with self._store.writing(_ACTOR) as write:
            write.connection.execute(delete(_SESSIONS).where(_SESSIONS.c.created_at < oldest))
            write.connection.execute(delete(_ATTEMPTS).where(_ATTEMPTS.c.at < oldest))

    def note_failure(self, name: str, address: str) -> None:
        """Note a sign-in that failed."""
        with self._store.writing(_ACTOR) as write:
            write.connection.execute(
                insert(_ATTEMPTS).values(
                    key=_key(name)[:200], address=address[:100], at=self._clock()
                )
            )

    def failures(self, name: str, address: str, window_s: int) -> tuple[int, int]:
        """Count failed sign-ins of the last `window_s` seconds: of this name, of this address."""
        key = _key(name)[:200]
        (found,) = self._store.rows(
            select(
                func.count().filter(_ATTEMPTS.c.key == key).label("by_name"),
                func.count().filter(_ATTEMPTS.c.address == address[:100]).label("by_address"),
            ).where(
                _ATTEMPTS.c.at > self._clock() - window_s,
                or_(_ATTEMPTS.c.key == key, _ATTEMPTS.c.address == address[:100]),
            )
        )
        return int(found["by_name"]), int(found["by_address"])

    def _clock(self) -> int:
        return int(self._now())


_ACTOR = "access"
_ACCOUNT = ("name", "role", "owner", "password", "is_active")


def _account(row: Mapping[str, Any]) -> Account:
    return Account(**{n: row[n] for n in _ACCOUNT})


def _known(write: Writing, name: str) -> Account | None:
    found = write.rows(select(_PEOPLE).where(_PEOPLE.c.key == _key(name)))
    return _account(found[0]) if found else None


def _note(write: Writing, before: Account | None, after: Account) -> None:
    """Put into the trail what became of a person; of a password only that it is another."""

    def told(one: Account) -> dict[str, Any]:
        return {"role": one.role, "owner": one.owner, "is_active": one.is_active}

    said = told(after)
    if before is not None and before.password != after.password:
        said["password"] = "another one"
    write.log(
        "added a person" if before is None else "changed a person",
        key={"name": after.name},
        before=None if before is None else told(before),
        after=said,
    )
