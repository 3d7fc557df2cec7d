"""The ways out: a file, a webhook, an e-mail; each carries the message's key.

So a receiver can tell one that was sent again from a new one. A channel's `send` returns when the
receiver has the message, raises `Refused` when it certainly has not, and `InDoubt` when nobody can
know: the connection broke after the message had left.
"""

from __future__ import annotations

import functools
import http.client
import json
import smtplib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from retain.actions.letters import Letter, one_line

__all__ = ["Channel", "EmailOut", "FileOut", "InDoubt", "Refused", "WebhookOut"]

MOST_BLOCKS = 45  # Slack takes fifty


class Refused(Exception):
    """The receiver certainly does not have the message.

    Parameters
    ----------
    why
        For people; never holds an address or a password.
    retry_after_s
        Seconds that the receiver asks for; None when it does not say.
    """

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class InDoubt(Exception):
    """The receiver may have the message or not."""


class Channel(Protocol):
    """One way out.

    Attributes
    ----------
    name
        As in the configuration.
    resends
        What happens to a message in doubt: True sends it again with the same key (at least once),
        False never does and reports it (at most once).
    """

    @property
    def name(self) -> str:
        """See the class."""

    @property
    def resends(self) -> bool:
        """See the class."""

    def send(self, letter: Letter) -> None:
        """Send one letter; see the module."""


@dataclass(frozen=True)
class FileOut:
    """One JSON file per message in a folder, named by its key.

    A file that is there already is the same message, and is replaced by the same bytes: however
    often it is sent, there is one.

    Parameters
    ----------
    folder
        Made when missing.
    """

    folder: Path
    name: str = "file"
    resends: bool = True

    def send(self, letter: Letter) -> None:
        """Write the file aside, then move it into place."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            target = self.folder / f"{letter.key}.json"
            aside = self.folder / f".writing-{letter.key}"
            text = json.dumps(_plain(letter), indent=1, ensure_ascii=False) + "\n"
            with aside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
            aside.replace(target)
        except OSError as problem:
            raise Refused(f"{self.folder}: {problem.strerror or problem}") from None


@dataclass(frozen=True)
class WebhookOut:
    """One POST per message, as JSON that Slack's incoming webhooks take.

    The key travels as the header ``Idempotency-Key`` and as the first block's ``block_id``.

    Parameters
    ----------
    url
        http or https address; a secret, as whoever knows it can write.
    timeout_s
        Seconds to wait for an answer.
    resends
        See `Channel`.
    """

    url: str = field(repr=False)
    timeout_s: float = 10.0
    resends: bool = True
    name: str = "webhook"

    def send(self, letter: Letter) -> None:
        """Post it; any answer of 200 to 299 means taken."""
        address = urlsplit(self.url)
        body = json.dumps(_slack(letter)).encode()
        host, port = address.hostname or "", address.port
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, port, timeout=self.timeout_s, context=_trusted()
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        try:
            try:
                connection.connect()
            except OSError as problem:
                raise Refused(f"cannot be reached: {_said(problem)}") from None
            path = (address.path or "/") + (f"?{address.query}" if address.query else "")
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "Idempotency-Key": letter.key,
                "User-Agent": "retain",
                "Connection": "close",
            }
            try:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                answer.read(10_000)
            except (OSError, http.client.HTTPException) as problem:
                raise InDoubt(f"no answer: {_said(problem)}") from None
            if answer.status in (502, 504):  # a gateway that heard nothing from behind it
                raise InDoubt(f"answered {answer.status}")
            if not 200 <= answer.status < 300:
                raise Refused(
                    f"answered {answer.status} {one_line(answer.reason, 80)}",
                    _retry_after(answer.getheader("Retry-After")),
                )
        finally:
            connection.close()


@dataclass(frozen=True)
class EmailOut:
    """One e-mail per message over SMTP; its Message-ID is made from the key.

    Parameters
    ----------
    host, port
        The mail server.
    security
        ``starttls``, ``tls`` (from the first byte) or ``none``.
    sender
        Address in From.
    to
        Address for messages of owners without one of their own.
    owners
        Owner's name to e-mail address.
    username, password
        For signing in; None does not.
    timeout_s
        Seconds to wait for each answer.
    resends
        See `Channel`.
    """

    host: str
    port: int
    security: str
    sender: str
    to: str
    owners: Mapping[str, str] = field(default_factory=dict)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 20.0
    resends: bool = True
    name: str = "email"

    def send(self, letter: Letter) -> None:
        """Hand it to the mail server; its answer to the whole text counts."""
        to = self.owners.get(letter.owner, self.to)
        mail = self._mail(letter, to)
        try:
            server = self._signed_in()
        except (OSError, smtplib.SMTPException) as problem:
            raise Refused(f"cannot be reached: {_said(problem)}") from None
        try:
            try:
                for answer in (server.mail(self.sender), server.rcpt(to)):
                    if answer[0] not in (250, 251):
                        raise Refused(f"answered {answer[0]} {_bytes(answer[1])}")
            except (OSError, smtplib.SMTPException) as problem:
                raise Refused(f"hung up: {_said(problem)}") from None
            try:
                code, said = server.data(mail.as_bytes(policy=SMTP))
            except smtplib.SMTPDataError as problem:  # refused before the text was sent
                raise Refused(f"answered {problem.smtp_code}") from None
            except (OSError, smtplib.SMTPException) as problem:
                raise InDoubt(f"no answer: {_said(problem)}") from None
            if code != 250:
                raise Refused(f"answered {code} {_bytes(said)}")
        finally:
            try:
                server.quit()
            except (OSError, smtplib.SMTPException):
                server.close()

    def _signed_in(self) -> smtplib.SMTP:
        if self.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=self.timeout_s, context=_trusted()
            )
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
        try:
            if self.security == "starttls":
                server.starttls(context=_trusted())  # refuses when the server offers none
            else:
                server.ehlo_or_helo_if_needed()
            if self.username is not None:
                server.login(self.username, self.password or "")
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, letter: Letter, to: str) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = f"[{letter.company}] {letter.subject}"
        mail["From"] = self.sender
        mail["To"] = to
        mail["Date"] = format_datetime(datetime.now(UTC))
        domain = self.sender.rpartition("@")[2] or "localhost"
        mail["Message-ID"] = f"<{letter.key}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # no out-of-office answers
        mail.set_content(letter.text())
        return mail


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Certificates are checked, as the system trusts them; reading those takes a while."""
    return ssl.create_default_context()


def _plain(letter: Letter) -> dict[str, Any]:
    return {
        "key": letter.key,
        "company": letter.company,
        "owner": letter.owner or None,
        "subject": letter.subject,
        "alerts": [
            {
                "rule": line.rule,
                "title": line.title,
                "customer_id": line.customer_id,
                "happened_at": line.happened_at,
                "sentence": line.sentence,
                "evidence": [{"text": text, "source": source} for text, source in line.evidence],
                "todo": line.todo,
                "link": line.link or None,
            }
            for line in letter.lines
        ],
    }


def _slack(letter: Letter) -> dict[str, Any]:
    """Lay out a letter as Slack reads it; without blocks `text` alone says it."""
    who = f" ({_escaped(letter.owner)})" if letter.owner else ""
    head = f"*{_escaped(letter.subject)}*{who}"
    sections = []
    for line in letter.lines:
        title = f"*{_escaped(line.title)}* " if len(letter.lines) > 1 else ""
        parts = [f"{title}{_escaped(line.sentence)}"]
        parts += [f"• {_escaped(text)} _[{_escaped(source)}]_" for text, source in line.evidence]
        parts.append(_escaped(line.todo))
        if line.link:
            parts.append(f"<{_escaped(line.link)}|Open the page>")
        sections.append("\n".join(parts))
    shown = sections[:MOST_BLOCKS]
    if len(sections) > len(shown):
        shown[-1] += f"\nand {len(sections) - len(shown)} more"
    blocks = [{"type": "section", "block_id": letter.key, "text": _markdown(head)}]
    blocks += [{"type": "section", "text": _markdown(text)} for text in shown]
    return {"text": f"{_escaped(letter.company)}: {_escaped(letter.subject)}", "blocks": blocks}


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text[:3000]}


def _escaped(text: str) -> str:
    """Write text so that nothing in it mentions, links or formats."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # a mark that is no mark: a word joiner keeps `*`, `_`, `~` and backticks from pairing up
    for mark in "*_~`":
        plain = plain.replace(mark, f"\u2060{mark}")
    return plain


def _retry_after(said: str | None) -> float | None:
    if not said:
        return None
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _said(problem: Exception) -> str:
    """Say what went wrong without the address, which may be a secret."""
    if isinstance(problem, smtplib.SMTPResponseException):
        return f"{problem.smtp_code} {_bytes(problem.smtp_error)}"
    if isinstance(problem, TimeoutError | socket.timeout):
        return "timed out"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({problem.verify_message})"
    if isinstance(problem, OSError) and problem.strerror:
        return one_line(problem.strerror, 120)
    return type(problem).__name__


def _bytes(said: Any) -> str:
    return one_line(said.decode("utf-8", "replace") if isinstance(said, bytes) else said, 120)
