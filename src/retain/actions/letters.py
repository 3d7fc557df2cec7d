"""How a message reads: subject, lines and link, the same on every channel.

Names, comments and ids come from outside: each is one line of plain text here, and every channel
escapes it in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from retain.actions.alerts import RULES

__all__ = ["Letter", "Line", "one_line", "write_letter"]

LONGEST = 500  # characters of one line


@dataclass(frozen=True)
class Line:
    """One alert in a letter.

    Parameters
    ----------
    title
        The rule in words.
    sentence
        What happened.
    evidence
        (text, source) of each row behind it.
    todo
        What may be done first.
    link
        Address of the customer's page; empty where there is none.
    rule, customer_id, happened_at
        For machines.
    """

    title: str
    sentence: str
    evidence: tuple[tuple[str, str], ...]
    todo: str
    link: str
    rule: str
    customer_id: str | None
    happened_at: str


@dataclass(frozen=True)
class Letter:
    """One message, ready for any channel.

    Parameters
    ----------
    key
        The same for the same message, however often it is sent: receivers can tell.
    company
        Who writes.
    owner
        To whom; empty when nobody is known to look after the customer.
    subject
        One line.
    lines
        Its alerts.
    """

    key: str
    company: str
    owner: str
    subject: str
    lines: tuple[Line, ...]

    def text(self) -> str:
        """Write the whole letter as plain text."""
        parts = []
        for line in self.lines:
            said = [line.title if len(self.lines) > 1 else "", line.sentence]
            said += [f"  - {text} [{source}]" for text, source in line.evidence]
            said += [line.todo, line.link]
            parts.append("\n".join(one for one in said if one))
        return "\n\n".join(parts) + "\n"


def one_line(text: Any, most: int = LONGEST) -> str:
    r"""Make one line of plain text of anything: no breaks, no control characters, not endless.

    Examples
    --------
    >>> one_line("Bob\r\nBcc: all@acme.example\u202e")
    'Bob Bcc: all@acme.example'
    """
    plain = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


def write_letter(
    key: str,
    owner: str,
    is_digest: bool,
    rows: Sequence[dict[str, Any]],
    *,
    company: str,
    page: str | None,
) -> Letter:
    """Write the letter of one message.

    Parameters
    ----------
    key, owner, is_digest
        Of the message.
    rows
        Its alerts as stored, in their order.
    company
        Its short name.
    page
        Address of the review page, for links; None leaves them out.
    """
    lines = tuple(_line(row, page) for row in rows)
    if is_digest:
        counts: dict[str, int] = {}
        for line in lines:
            counts[line.title] = counts.get(line.title, 0) + 1
        told = ", ".join(f"{n} x {title.lower()}" for title, n in counts.items())
        subject = f"{len(lines)} more: {told}"
    else:
        about = f": {lines[0].customer_id}" if lines[0].customer_id else ""
        subject = f"{lines[0].title}{about}"
    return Letter(key, one_line(company), one_line(owner, 100), one_line(subject, 150), lines)


def _line(row: dict[str, Any], page: str | None) -> Line:
    rule, who = RULES[row["rule"]], row["customer_id"]
    link = ""
    if page:
        base = page.rstrip("/")
        link = base if who is None else f"{base}/customers/{quote(who, safe='')}"
    return Line(
        title=rule.title,
        sentence=one_line(row["sentence"]),
        evidence=tuple((one_line(text), one_line(source, 120)) for text, source in row["evidence"]),
        todo=rule.todo,
        link=link,
        rule=rule.name,
        customer_id=None if who is None else one_line(who, 120),
        happened_at=row["happened_at"],
    )
