"""Tables that fit the terminal: a column goes as a whole or below its row, and no letter is lost.

Each column has a rank. In the order of their ranks columns are taken up while there is room; of the
others figures are left out and named in a line below, and sentences go below their row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from retain.report.wording import clean

__all__ = ["WIDE", "Column", "Fitted", "Laid", "cell", "in_letters"]

WIDE = 118
GAP = 2  # between two columns
HEADER_LINES = 3  # taller ones are made wider where there is room
LEAST_WORDS = 24  # sentences in a narrower column are hard to read
INDENT = 4  # of what stands below its row
_PLAIN = str.maketrans({"–": "-", "−": "-", "▲": "+", "▼": "-", "…": "~", "\xa0": " ", "·": "|"})


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name
        Above it; broken between words where the cells are narrower.
    rank
        0 always stays; of the others those with the smallest are taken up first.
    is_words
        Sentences: broken between words, and below the row where the room is too narrow.
    is_right
        Figures, which stand to the right.
    style
        Of its cells.
    most
        Cells that are longer are folded; None: as long as they are.
    """

    name: str
    rank: int = 0
    is_words: bool = False
    is_right: bool = False
    style: str = ""
    most: int | None = None


class Fitted:
    """A renderable built for the width and the letters of the terminal that shows it."""

    def __init__(self, build: Callable[[bool, bool], RenderableType]) -> None:
        self._build = build

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build for this console: (wide, plain letters only)."""
        yield self._build(options.max_width >= WIDE, options.ascii_only)


@dataclass(frozen=True)
class Laid:
    """A table whose columns are chosen for the width that it is shown at.

    Parameters
    ----------
    title, caption
        Above and below it.
    columns, rows
        What it holds; a row may have fewer cells than there are columns.
    plain
        Whether the terminal has plain letters only.
    elsewhere
        Where to find the columns left out.
    sections
        Positions of rows before which a line is drawn.
    is_spread
        Whether columns without room follow in tables below, behind the first column again, instead
        of being left out.
    has_header
        Whether the names of the columns are shown.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Text]]
    plain: bool
    caption: str = ""
    elsewhere: str = ""
    sections: tuple[int, ...] = ()
    is_spread: bool = False
    has_header: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose columns for this width, then show title, table, caption and what is left out."""
        room = options.max_width
        widths = [self._width(at) for at in range(len(self.columns))]
        shown, below, left_out = self._chosen(widths, room)
        if self.title:
            yield Text(in_letters(self.title, self.plain), style="bold")
        yield from self._tables(shown, below, widths, room)
        if self.is_spread:
            while left_out:
                shown, _, left_out = self._chosen(widths, room, (0, *left_out))
                yield Text("")
                yield from self._tables(shown, [], widths, room)
        names = [self.columns[at].name for at in left_out if self.columns[at].name]
        if below and self.has_header:
            told = ", ".join(self.columns[at].name.lower() for at in below)
            yield self._dim(f"below each line: {told}")
        if self.caption:
            yield self._dim(self.caption)
        if names:
            where = f"; all are in {self.elsewhere}" if self.elsewhere else ""
            yield self._dim(f"no room here for {'; '.join(names)}{where}")

    def _dim(self, text: str) -> Text:
        return Text(in_letters(text, self.plain), style="dim")

    def _cells(self, at: int) -> Iterable[Text]:
        return (row[at] for row in self.rows if at < len(row))

    def _width(self, at: int) -> int:
        """Give the width at which no cell of a column is broken, at most the one asked for."""
        column = self.columns[at]
        header = _longest(column.name.split()) if self.has_header else 0
        cells = _longest(line for one in self._cells(at) for line in one.plain.splitlines())
        if column.most is not None:
            cells = min(cells, column.most)
        return max(header, cells, 1)

    def _chosen(
        self, widths: Sequence[int], room: int, among: Sequence[int] | None = None
    ) -> tuple[list[int], list[int], list[int]]:
        """Give the columns shown, those below their row and those left out, by position."""
        candidates = range(len(self.columns)) if among is None else among
        taken, below, left_out = list[int](), list[int](), list[int]()
        used = -GAP
        stopped = False
        for at in sorted(candidates, key=lambda one: (self.columns[one].rank, one)):
            column = self.columns[at]
            least = min(widths[at], LEAST_WORDS) if column.is_words else widths[at]
            fits = used + GAP + least <= room and not stopped
            must = not taken or (len(taken) == 1 and self.is_spread)
            if fits or must or (column.rank == 0 and not column.is_words and not self.is_spread):
                taken.append(at)
                used += GAP + least
            elif column.is_words:
                below.append(at)
            else:
                left_out.append(at)
                stopped = self.is_spread  # the order of what follows is kept
        return sorted(taken), sorted(below), sorted(left_out)

    def _final(self, shown: Sequence[int], widths: Sequence[int], room: int) -> dict[int, int]:
        """Share what room there is: figures as wide as they are, sentences evenly."""
        out = {at: widths[at] for at in shown if not self.columns[at].is_words}
        rest = room - sum(out.values()) - GAP * (len(shown) - 1)
        words = sorted(set(shown) - set(out), key=lambda at: widths[at])
        for n, at in enumerate(words):
            out[at] = max(min(widths[at], rest // (len(words) - n)), 1)
            rest -= out[at]
        while rest < 0 and max(out.values()) > 1:  # folded, never cut
            widest = max(out, key=lambda at: out[at])
            out[widest] -= 1
            rest += 1
        while self.has_header and rest > 0:  # room left over makes headers less tall
            tallest = max(out, key=lambda at: _lines(self.columns[at].name, out[at]))
            if words or _lines(self.columns[tallest].name, out[tallest]) <= HEADER_LINES:
                break
            out[tallest] += 1
            rest -= 1
        return out

    def _tables(
        self, shown: Sequence[int], below: Sequence[int], widths: Sequence[int], room: int
    ) -> Iterable[RenderableType]:
        final = self._final(shown, widths, room)
        if not below:
            table = self._table(shown, final)
            for number, row in enumerate(self.rows):
                if number in self.sections:
                    table.add_section()
                table.add_row(*(row[at] if at < len(row) else Text("") for at in shown))
            yield table
            return
        yield self._table(shown, final)
        for row in self.rows:
            line = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
            self._add_columns(line, shown, final)
            line.add_row(*(row[at] if at < len(row) else Text("") for at in shown))
            yield line
            for at in below:
                if at < len(row) and row[at].plain.strip():
                    yield Padding(row[at], (0, 0, 0, min(INDENT, room // 8)))

    def _table(self, shown: Sequence[int], final: dict[int, int]) -> Table:
        table = Table(
            box=box.ASCII2 if self.plain else box.SIMPLE_HEAD,
            show_edge=False,
            show_header=self.has_header,
            pad_edge=False,
            padding=(0, GAP - 1, 0, 0),
            header_style="dim",
        )
        self._add_columns(table, shown, final)
        return table

    def _add_columns(self, table: Table, shown: Sequence[int], final: dict[int, int]) -> None:
        for at in shown:
            column = self.columns[at]
            table.add_column(
                Text(in_letters(column.name, self.plain)),
                justify="right" if column.is_right else "left",
                style=column.style,
                width=final[at],
                overflow="fold",
            )


def _longest(lines: Iterable[str]) -> int:
    return max((cell_len(line) for line in lines), default=0)


def _lines(name: str, width: int) -> int:
    """Count the lines that a name takes when it is broken between words."""
    lines, room = 0, 0
    for word in name.split():
        room -= cell_len(word) + 1
        if room < 0 or not lines:
            lines, room = lines + 1, width - cell_len(word)
    return lines


def in_letters(text: str, plain: bool) -> str:
    """Turn text into letters that the terminal has."""
    if not plain:
        return text
    return text.translate(_PLAIN).encode("ascii", "replace").decode()


def cell(text: object, plain: bool, style: str = "") -> Text:
    """Give text as text: whatever looks like markup in it stays as it is."""
    return Text(in_letters(clean(text).replace("\n", " "), plain), style=style)
