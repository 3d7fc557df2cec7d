"""A page of chapters, tables and drawings, for whoever judges a model: one HTML file, no scripts.

Knows the frame that the back-test and the model card share, in the look of the weekly page.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from retain.report.plots import Plot
from retain.report.wording import clean

__all__ = [
    "Cell",
    "Chapter",
    "Document",
    "Drawn",
    "Grid",
    "Mark",
    "render_document",
    "write_document",
]

_FOLDER = Path(__file__).parent
Cell = str | tuple[str, str]  # text, or text with a hint below it


@dataclass(frozen=True)
class Grid:
    """A table: the first `left` columns hold words, the others figures.

    Attributes
    ----------
    caption, columns, rows, note
        What it shows; a cell is a text, or a text and a hint.
    marked
        Numbers of the rows that stand out.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    left: int = 1
    marked: Sequence[int] = ()

    @property
    def cells(self) -> list[list[tuple[str, str]]]:
        """Every cell as text and hint."""
        return [
            [(clean(c), "") if isinstance(c, str) else (clean(c[0]), clean(c[1])) for c in row]
            for row in self.rows
        ]


@dataclass(frozen=True)
class Drawn:
    """A drawing with its caption."""

    caption: str
    plot: Plot


@dataclass(frozen=True)
class Chapter:
    """One part of the page.

    Attributes
    ----------
    id, title, short
        Anchor, heading, and its name in the list of parts.
    about
        Paragraphs.
    drawings, grids
        What it shows.
    """

    id: str
    title: str
    about: Sequence[str] = ()
    drawings: Sequence[Drawn] = ()
    grids: Sequence[Grid] = ()
    short: str = ""


@dataclass(frozen=True)
class Mark:
    """A grade or the like beside the headline: a letter, what it is called, and how good it is."""

    letter: str
    name: str
    tone: str


@dataclass(frozen=True)
class Document:
    """A whole page.

    Attributes
    ----------
    company, kind, when
        The line on top.
    headline, lead
        The finding in one sentence, and what to know about it.
    figures
        Term, value and hint of what is read first.
    notes
        Warnings above everything.
    chapters
        The parts.
    terms
        Term and meaning, at the foot.
    versions
        What it was made from.
    mark
        A letter beside the headline.
    """

    company: str
    kind: str
    when: str
    headline: str
    lead: str
    figures: Sequence[tuple[str, str, str]]
    chapters: Sequence[Chapter]
    notes: Sequence[str] = ()
    terms: Sequence[tuple[str, str]] = ()
    versions: str = ""
    mark: Mark | None = None


def render_document(document: Document, *, theme: str = "") -> str:
    """Render a page.

    Parameters
    ----------
    document
        What it holds.
    theme
        ``light`` or ``dark`` to fix the colours; empty = as the reader's system prefers.

    Returns
    -------
    str
        HTML; the same document gives the same text.
    """
    css = "\n".join(
        (_FOLDER / name).read_text(encoding="utf-8").strip()
        for name in ("page.css", "scorecard.css", "document.css")
    )
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("document.html").render(
        theme=theme,
        css=Markup(css),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'",
        d=document,
        clean=clean,
    )
    return text.strip() + "\n"


def write_document(path: str | Path, document: Document) -> Path:
    """Write a page; the same document gives the same bytes.

    Returns
    -------
    Path
        The file written.
    """
    path = Path(path)
    path.write_text(render_document(document), encoding="utf-8", newline="\n")
    return path
