"""Who is at the door: sessions, form tokens, roles, and the brake on guessing passwords.

Every request passes `Door.admit` or is refused; a page never decides for itself who is reading it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from retain.actions.people import Account, People
from retain.review.passwords import password_fits

__all__ = ["Admitted", "Door", "SignIn", "Visitor", "local_path", "same_token"]

IDLE_S = 12 * 3600
LONGEST_S = 7 * 24 * 3600
WINDOW_S = 15 * 60
MOST_BY_NAME = 10
MOST_BY_ADDRESS = 20


@dataclass(frozen=True)
class Visitor:
    """The person behind a request."""

    name: str
    role: str
    owner: str = ""

    @property
    def may_write(self) -> bool:
        """Whether this person may change anything."""
        return self.role != "reader"

    @property
    def may_decide(self) -> bool:
        """Whether the final decision on a customer is this person's."""
        return self.role in ("admin", "lead")

    @property
    def only_owner(self) -> str | None:
        """The owner whose customers alone are shown; None = everybody's."""
        return self.owner if self.role == "owner" else None


@dataclass(frozen=True)
class Admitted:
    """What the door found: who it is, and the secrets of the session.

    Attributes
    ----------
    visitor
        None = has to sign in.
    form_token
        What every form of this session has to bring.
    token
        The session's token when it was made just now, to be kept in a cookie; else empty.
    """

    visitor: Visitor | None
    form_token: str
    token: str = ""


@dataclass(frozen=True)
class SignIn:
    """How a sign-in went: the token of the new session, or why there is none."""

    token: str = ""
    refused: str = ""  # "wrong" or "wait"


@dataclass(frozen=True)
class Door:
    """Who is let in, and how.

    Attributes
    ----------
    people
        The people and their sessions.
    must_sign_in
        False = whoever reaches the page is `local_name`; only ever true of this machine.
    local_name
        Who writes where nobody signs in.
    header, proxies
        Header in which the company's proxy names the person, and the addresses it may come from;
        from any other address the header is not read.
    """

    people: People
    must_sign_in: bool
    local_name: str = "local"
    header: str = ""
    proxies: frozenset[str] = field(default_factory=frozenset)

    def admit(self, token: str, named: str, address: str) -> Admitted:
        """Find out who a request comes from.

        Parameters
        ----------
        token
            The session cookie; may be anything.
        named
            What the proxy's header says; read only when `address` is a proxy of ours.
        address
            The peer's address as the socket knows it.
        """
        saved = self.people.session(_hashed(token), IDLE_S, LONGEST_S) if token else None
        if not self.must_sign_in:
            local = Visitor(self.local_name, "admin")
            if saved is not None and saved.account is None:
                return Admitted(local, saved.form_token)
            return self._opened("", local)
        if self.header and address in self.proxies:
            account = self.people.account(named) if named else None
            if account is None:
                return Admitted(None, "")
            if saved is not None and saved.account == account:
                return Admitted(_visitor(account), saved.form_token)
            return self._opened(account.name, _visitor(account))
        if saved is None or saved.account is None:
            return Admitted(None, "")
        return Admitted(_visitor(saved.account), saved.form_token)

    def sign_in(self, name: str, password: str, address: str) -> SignIn:
        """Check a name and a password; too many failures close the door for a while."""
        by_name, by_address = self.people.failures(name, address, WINDOW_S)
        if by_name >= MOST_BY_NAME or by_address >= MOST_BY_ADDRESS:
            return SignIn(refused="wait")
        account = self.people.account(name)
        if not password_fits(password, "" if account is None else account.password):
            self.people.note_failure(name, address)
            return SignIn(refused="wrong")
        assert account is not None
        self.people.clear(LONGEST_S)
        return SignIn(self._opened(account.name, _visitor(account)).token)

    def sign_out(self, token: str) -> None:
        """End a session."""
        self.people.close_session(_hashed(token))

    def _opened(self, name: str, visitor: Visitor) -> Admitted:
        token, form_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.people.open_session(_hashed(token), form_token, name)
        return Admitted(visitor, form_token, token)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _visitor(account: Account) -> Visitor:
    return Visitor(account.name, account.role, account.owner)


def same_token(given: str, expected: str) -> bool:
    """Compare two tokens in constant time; an empty one is never right.

    Examples
    --------
    >>> same_token("abc", "abc"), same_token("abc", "abd"), same_token("", "")
    (True, False, False)
    """
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def local_path(asked: str) -> str:
    r"""Give a path of this page to go on to; anything that could lead elsewhere becomes the start.

    Examples
    --------
    >>> local_path("/customers?q=a"), local_path("//evil.example"), local_path("/\\evil.example")
    ('/customers?q=a', '/', '/')
    """
    safe = asked.startswith("/") and not asked.startswith("//") and "\\" not in asked
    return asked if safe and asked.isprintable() else "/"
