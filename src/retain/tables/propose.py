"""A first configuration for files nobody has mapped yet: guessed from names, types and values.

The proposal is text with comments, made to be read and corrected; it loads and reads as it is.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retain.errors import TableError, some
from retain.tables.casting import is_number_type, text_of
from retain.tables.dates import format_of
from retain.tables.mapping import Mapping
from retain.tables.sources import CSV, PARQUET, Source, open_source
from retain.tables.spec import BEHAVIOUR, MEASURED, SCALES, SPECS, TABLES
from retain.tables.sql import open_work, quoted, rows_of
from retain.tables.synonyms import COLUMNS, CUSTOMER, FILES, RECORDED, SCORES, WORDS, plain

__all__ = ["propose_config"]

MOST_EXAMPLES = 3
STORE = "retain-store"
STORE_HOLDS = ("weeks", "scores", "models", "metrics")  # beside a lock: what we wrote, no exports
SAMPLE_ROWS = 1000


@dataclass
class _Column:
    """What a look at one column shows."""

    name: str
    kind: str  # instant, number, flag or text
    examples: list[str]
    words: list[str]
    datetime_format: str | None = None


@dataclass
class _File:
    """A file, or several alike, and what it was taken for."""

    path: Path
    rows: int
    columns: dict[str, _Column]
    table: str = ""
    mapping: dict[str, str] = field(default_factory=dict)
    join: tuple[str, _File] | None = None
    lacks: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The file's name without its ending, or its folder's for several files."""
        name = self.path.parent.name if "*" in self.path.name else self.path.name
        return name.split(".")[0]


def propose_config(folder: str | Path, *, relative_to: str | Path | None = None) -> str:
    """Propose a configuration for the Parquet and CSV files of a folder.

    Parameters
    ----------
    folder
        Where the files are; folders inside it are looked at too.
    relative_to
        The folder the configuration will be saved in; None means `folder`. Paths start from it.

    Returns
    -------
    str
        A commented YAML text: every mapped column with example values, and what was left unmapped.

    Raises
    ------
    TableError
        When there is no such folder, no file in it, or no file that could be behaviour.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TableError(f"{folder} is not a folder; name the one that holds the data files")
    if _is_store(folder):
        raise TableError(
            f"{folder} is a store: retain wrote what it holds. Name the folder of the data files"
        )
    groups = _groups(folder)
    if not groups:
        raise TableError(
            f"{folder} holds no Parquet or CSV files; found "
            f"{some(sorted(path.name for path in folder.iterdir()))}"
        )
    with tempfile.TemporaryDirectory(prefix="propose-") as work:
        con = open_work(Path(work), "UTC")
        try:
            files, unread = _look_at_all(con, groups)
        finally:
            con.close()
    customer = _customer_name(files)
    for file in files:
        _recognise(file, customer, files)
    _one_file_per_table(files)
    if not any(file.table in BEHAVIOUR and not file.lacks for file in files):
        seen = [f"{file.path.name} ({some(file.columns)})" for file in files]
        raise TableError(
            f"{folder}: no file looks like behaviour ({', '.join(BEHAVIOUR)}) of customers; found "
            f"{some(seen)}. Write the configuration by hand: retain config lists the settings"
        )
    base = Path(relative_to) if relative_to is not None else folder
    return _written(files, folder, base.resolve(), customer, unread)


def _is_store(folder: Path) -> bool:
    """Tell a folder that our own runs write into, whatever its name."""
    return (folder / ".lock").is_file() and any((folder / name).is_dir() for name in STORE_HOLDS)


def _groups(folder: Path) -> list[tuple[Path, Path]]:
    """Find files: (one of them, a path or pattern for all that are alike)."""
    found: dict[tuple[Path, str, str], list[Path]] = {}
    stores = {lock.parent for lock in folder.rglob(".lock") if _is_store(lock.parent)}
    for path in sorted(folder.rglob("*")):
        if not stores.isdisjoint(path.parents):
            continue
        inside = path.relative_to(folder).parts
        if not path.is_file() or any(p.startswith((".", "_", STORE)) for p in inside):
            continue
        if path.name.lower().endswith((*PARQUET, *CSV)) and path.stat().st_size:
            stem, _, ending = path.name.partition(".")
            alike = re.sub(r"[\d_\-]+", "#", stem)
            found.setdefault((path.parent, alike, ending), []).append(path)
    groups = []
    for (parent, alike, ending), paths in found.items():
        if len(paths) == 1:
            groups.append((paths[0], paths[0]))
        else:
            pattern = re.sub(r"#+", "*", alike) + "." + ending
            groups.append((paths[0], parent / (pattern if "*" in pattern else f"*.{ending}")))
    return groups


def _look_at_all(
    con: Any, groups: list[tuple[Path, Path]]
) -> tuple[list[_File], list[tuple[Path, str]]]:
    files, unread = [], []
    for number, (first, path) in enumerate(groups):
        try:
            source = open_source(con, f"look_{number}", Mapping(first))
            files.append(_look(con, source, path))
        except TableError as problem:
            unread.append((path, str(problem)))
    return files, unread


def _look(con: Any, source: Source, path: Path) -> _File:
    """Look at the first rows of a file: types, examples, words."""
    view = f"sample_{source.view}"
    con.execute(
        f"CREATE TABLE {quoted(view)} AS SELECT * FROM {quoted(source.view)} LIMIT {SAMPLE_ROWS}"
    )
    (rows,) = rows_of(con, f"SELECT count(*) FROM {quoted(source.view)}")[0]
    columns = {}
    for name, kind in source.types.items():
        if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
            continue
        text = text_of(name, kind)
        values = [
            str(value)
            for (value,) in rows_of(
                con,
                f"SELECT v FROM (SELECT {text} AS v, count(*) AS n FROM {quoted(view)} GROUP BY 1) "
                "WHERE v IS NOT NULL ORDER BY n DESC, v LIMIT 50",
            )
        ]
        is_what, written = _kind(con, view, text, kind, values)
        columns[name] = _Column(name, is_what, values[:MOST_EXAMPLES], values, written)
    return _File(path, int(rows), columns)


def _kind(con: Any, view: str, text: str, kind: str, values: list[str]) -> tuple[str, str | None]:
    """Tell an instant, a number, a flag or text by type and by values."""
    upper = kind.upper()
    if upper.startswith(("TIMESTAMP", "DATE")):
        return "instant", None
    if upper == "BOOLEAN":
        return "flag", None
    if not values:
        return "text", None
    if is_number_type(upper):
        is_day = all(re.fullmatch(r"(19|20)\d{6}", value) for value in values)
        return ("instant", "%Y%m%d") if is_day and format_of(values) else ("number", None)
    ((there, dates, numbers),) = rows_of(
        con,
        f"SELECT count({text}), count(*) FILTER (regexp_matches({text}, '^\\d{{4}}[-/]') AND "
        f"TRY_CAST({text} AS TIMESTAMP) IS NOT NULL), count(TRY_CAST({text} AS DOUBLE)) "
        f"FROM {quoted(view)}",
    )
    if dates >= 0.8 * there:
        return "instant", None
    if numbers >= 0.8 * there:
        return "number", None
    if {value.lower() for value in values} <= {"true", "false", "yes", "no", "y", "n", "t", "f"}:
        return "flag", None
    written = format_of(values[:20])
    return ("instant", written) if written else ("text", None)


def _customer_name(files: list[_File]) -> str | None:
    """Find the plain name that most files have for the customer."""
    counts: dict[str, int] = {}
    for file in files:
        for name in {plain(column) for column in file.columns}:
            counts[name] = counts.get(name, 0) + 1
    known = [name for name in CUSTOMER if name in counts]
    if known:
        return max(known, key=lambda name: (counts[name], -CUSTOMER.index(name)))
    shared = [n for n, c in counts.items() if c > 1 and re.search(r"(_id|_no|_number)$", n)]
    return max(shared, key=lambda name: counts[name]) if shared else None


def _recognise(file: _File, customer: str | None, files: list[_File]) -> None:
    """Take a file for the table that its name and columns fit best."""
    best: tuple[float, str, dict[str, str], tuple[str, ...]] | None = None
    for spec in TABLES:
        mapping = _match(spec.name, file, customer)
        needed = [*spec.required]
        if spec.one_of and not any(name in mapping for name in spec.one_of):
            needed.append(spec.one_of[-1])
        lacks = tuple(name for name in needed if name not in mapping)
        words = re.split(r"[^a-z]+", plain(file.stem))
        named = any(
            re.fullmatch(rf"{word}(s|es)?", one) for word in FILES[spec.name] for one in words
        )
        score = 4.0 * named + 2.0 * (not lacks) + len(mapping) / len(spec.columns) - len(lacks)
        if spec.name == "customers":
            score -= 1.0 if not named else 0.0
        if best is None or score > best[0]:
            best = (score, spec.name, mapping, lacks)
    assert best is not None
    _, file.table, file.mapping, file.lacks = best
    who = SPECS[file.table].customer
    if who is not None and who in file.lacks:
        link = _link(file, customer, files)
        if link is not None:
            key, other, column = link
            file.join = (key, other)
            file.mapping = {who: column, **file.mapping}
            file.lacks = tuple(name for name in file.lacks if name != who)


def _match(table: str, file: _File, customer: str | None) -> dict[str, str]:
    """Match the columns of one table by name and by kind, each source column once."""
    spec = SPECS[table]
    by_name = {plain(name): column for name, column in file.columns.items()}
    taken: set[str] = set()
    mapping: dict[str, str] = {}
    for column in spec.columns:
        names = COLUMNS[table].get(column.name, ())
        if column.name == "customer_id" and customer is not None:
            names = (customer, *CUSTOMER) if table != "costs" else (customer,)
        elif column.name == "recorded_at":
            names = RECORDED
        for name in names:
            found = by_name.get(name)
            if found is None or found.name in taken or not _suits(column.kind, found):
                continue
            mapping[column.name] = found.name
            taken.add(found.name)
            break
    if spec.time is not None and spec.time not in mapping:
        only = [c for c in file.columns.values() if c.kind == "instant" and c.name not in taken]
        if len(only) == 1 and not spec.one_of:
            mapping[spec.time] = only[0].name
    return {column.name: mapping[column.name] for column in spec.columns if column.name in mapping}


def _suits(kind: str, column: _Column) -> bool:
    """Tell whether values of this kind may stand in a column of ours."""
    if not column.examples:
        return kind != "number"
    allowed = {
        "id": ("text", "number"),
        "text": ("text", "number", "flag"),
        "word": ("text",),
        "instant": ("instant",),
        "number": ("number",),
        "flag": ("flag", "number"),
    }
    return column.kind in allowed[kind]


def _link(file: _File, customer: str | None, files: list[_File]) -> tuple[str, _File, str] | None:
    """Find another file that knows the customer of a row: (shared key, file, its customer)."""
    for other in files:
        if other is file or "*" in other.path.name:
            continue
        who = next((n for n in other.columns if plain(n) == customer), None)
        if who is None or who in file.columns:
            continue
        for name in file.columns:
            if name in other.columns and plain(name).endswith(("_id", "_no")) and name != who:
                return name, other, who
    return None


def _one_file_per_table(files: list[_File]) -> None:
    """Keep the fullest file for each table; the others are only mentioned."""
    for spec in TABLES:
        rivals = [file for file in files if file.table == spec.name and not file.lacks]
        rivals.sort(key=lambda file: (-len(file.mapping), -file.rows))
        for file in rivals[1:]:
            file.lacks = (f"{spec.name} is taken by {rivals[0].path.name}",)


# --- writing -------------------------------------------------------------------------------------


def _written(
    files: list[_File],
    folder: Path,
    base: Path,
    customer: str | None,
    unread: list[tuple[Path, str]],
) -> str:
    used = {file.table: file for file in files if not file.lacks}
    has_end = "subscriptions" in used and "ended_at" in used["subscriptions"].mapping
    kind = "contract" if has_end else "event" if "departures" in used else "inactivity"
    has_both = has_end and "departures" in used
    other = "   # or event: your departures table" if has_both else ""
    company = re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-").lower() or "company"
    currency, why = _currency(files)
    lines = [
        f"# Proposed by `retain init` for {folder.name}. Read every line, correct it, then run",
        "# `retain check` on this file. Examples stand behind each column.",
        f"company: {company}",
        f"currency: {currency}   # {why}",
        "timezone: UTC   # the zone whose days count, as in Europe/Rome",
        f"store: {STORE}   # everything we write",
        "week_ends_on: sunday",
        "tables:",
    ]
    for spec in TABLES:
        if spec.name in used:
            lines += _table_lines(used[spec.name], base)
        elif spec.name == "surveys":
            lines += _score_lines(used, base)
    for file in files:
        if file.lacks:
            lines.append(
                f"# not used: {_place(file.path, base)} (most like {file.table}, but "
                f"{some(file.lacks)} is missing)"
                if not file.lacks[0].startswith(file.table)
                else f"# not used: {_place(file.path, base)} ({file.lacks[0]})"
            )
            lines.append(f"#   its columns: {', '.join(file.columns)}")
    lines += [f"# not read: {_place(path, base)}: {_one_line(why)}" for path, why in unread]
    margin = "0.8" if "subscriptions" in used else "1.0"
    return "\n".join(
        [
            *lines,
            f"churn: {{kind: {kind}, horizon_weeks: 13, gap_weeks: 0}}{other}",
            f"clv: {{horizon_weeks: 52, gross_margin: {margin}, annual_discount_rate: 0.10}}"
            "   # your margin and rate",
            "snapshots: {every_weeks: 4}",
            *_metrics_lines(used),
            "",
        ]
    )


def _metrics_lines(used: dict[str, _File]) -> list[str]:
    """Write what `retain metrics` would like to know."""
    there = used["customers"].mapping if "customers" in used else {}
    by = [name for name in ("segment", "plan", "region") if name in there][:2]
    return [
        "metrics:   # retain metrics; `retain config` lists every setting",
        *([f"  by: [{', '.join(by)}]   # split every number by these"] if by else []),
        "  # targets: {nps: 40, customer_churn_rate: 2.5}   # what you aim at",
        "  # costs: {rate_per_minute: 0.80, acquisition_years: 5}   # your minute of support",
    ]


def _table_lines(file: _File, base: Path) -> list[str]:
    """Write one table, column by column."""
    count = "" if "*" in file.path.name else f"; {file.rows:,} rows"
    lines = [f"  {file.table}:   # {SPECS[file.table].grain}{count}"]
    if file.join is None:
        lines.append(f"    source: {_yaml(_place(file.path, base))}")
    else:
        key, other = file.join
        who = file.mapping[str(SPECS[file.table].customer)]
        mine, theirs = _name(file), _name(other)
        lines += [
            "    query: |   # the customer of a row is known by another file",
            f"      SELECT {mine}.*, {theirs}.{quoted(who)}",
            f"      FROM {mine} JOIN (SELECT DISTINCT {quoted(key)}, {quoted(who)} FROM {theirs}) "
            f"AS {theirs} USING ({quoted(key)})",
            "    sources:",
            f"      {mine}: {_yaml(_place(file.path, base))}",
            f"      {theirs}: {_yaml(_place(other.path, base))}",
        ]
    lines.append("    columns:")
    for ours, theirs_name in file.mapping.items():
        column = file.columns.get(theirs_name)
        shown = f"   # {_shown(column)}" if column else "   # from the other file"
        # An optional column with words nobody knows would set its rows aside: left out for now.
        is_open = _words(file, ours)[1] and ours not in SPECS[file.table].required
        lines.append(f"      {'# ' if is_open else ''}{ours}: {_yaml(theirs_name)}{shown}")
    lines += _value_lines(file)
    formats = {
        file.columns[name].datetime_format
        for ours, name in file.mapping.items()
        if name in file.columns and SPECS[file.table].column(ours).kind == "instant"
    } - {None}
    if formats:
        lines.append(f"    datetime_format: '{sorted(map(str, formats))[0]}'")
    rest = [c for c in file.columns.values() if c.name not in file.mapping.values()]
    if rest and file.table == "customers":
        lines.append("    # further columns that could be kept:")
        named = ", ".join(_yaml(c.name) for c in rest if c.kind in ("text", "number", "flag"))
        lines.append(f"    # attributes: [{named}]   # and `constant:` for those that never change")
    numbers = [c for c in rest if c.kind in ("number", "flag")]
    if numbers and file.table in MEASURED:
        named = ", ".join(_yaml(column.name) for column in numbers)
        lines.append(f"    # measures: [{named}]   # further numbers to fold by week")
    lines += [f"    #   not mapped: {c.name}: {_shown(c)}" for c in rest]
    return lines


def _words(file: _File, ours: str) -> tuple[dict[str, str], list[str]]:
    """Translate the words of a column: (theirs: ours where they can be guessed, the others)."""
    spec = SPECS[file.table].column(ours)
    column = file.columns.get(file.mapping[ours])
    if spec.kind != "word" or column is None:
        return {}, []
    known = {*spec.words, *dict(spec.synonyms)}
    strange = [word for word in column.words if word.lower() not in known]
    told = {theirs: one for one, many in WORDS.get(ours, {}).items() for theirs in many}
    guessed = {}
    for word in strange:
        inside = [one for one in spec.words if one in plain(word).split("_")]
        if plain(word) in told or inside:
            guessed[word] = told.get(plain(word)) or inside[0]
    return guessed, [word for word in strange if word not in guessed]


def _value_lines(file: _File) -> list[str]:
    """Write the words that were guessed, and ask about the others."""
    lines, asked = [], []
    for ours in file.mapping:
        guessed, unknown = _words(file, ours)
        if guessed:
            pairs = ", ".join(f"{_yaml(word)}: {to}" for word, to in guessed.items())
            lines.append(f"      {ours}: {{{pairs}}}   # guessed")
        if unknown:
            asked.append(
                f"    # {ours}: say what {some(unknown)} mean, each one of "
                f"{', '.join(SPECS[file.table].column(ours).words)}, under values"
            )
    return [*asked, *(["    values:", *lines] if lines else [])]


def _score_lines(used: dict[str, _File], base: Path) -> list[str]:
    """Propose surveys from scores that stand in the support cases."""
    file = used.get("interactions")
    if file is None:
        return []
    day = file.mapping.get("resolved_at") or file.mapping["opened_at"]
    for kind, names in SCORES.items():
        low, high = SCALES[kind]
        for column in file.columns.values():
            if plain(column.name) not in names or column.kind != "number":
                continue
            values = [float(word) for word in column.words]
            if not values or min(values) < low or max(values) > high:
                continue
            mine, who = _name(file), file.mapping["customer_id"]
            case = file.mapping["interaction_id"]
            return [
                f"  surveys:   # the {kind} score of a case, known when the case was",
                "    query: |",
                f"      SELECT {quoted(case)}, {quoted(who)}, '{kind}' AS kind, "
                f"{quoted(column.name)}, {quoted(day)}",
                f"      FROM {mine} WHERE {quoted(column.name)} IS NOT NULL",
                "    sources:",
                f"      {mine}: {_yaml(_place(file.path, base))}",
                "    columns:",
                f"      customer_id: {_yaml(who)}",
                "      kind: kind",
                f"      score: {_yaml(column.name)}   # {_shown(column)}",
                f"      answered_at: {_yaml(day)}",
                f"      interaction_id: {_yaml(case)}",
            ]
    return []


def _currency(files: list[_File]) -> tuple[str, str]:
    """Guess the currency from a column of codes, else from a column's name."""
    for file in files:
        name = file.mapping.get("currency")
        if name and file.columns[name].words:
            return file.columns[name].words[0].upper(), f"from {file.path.name}"
    for file in files:
        for column in file.columns:
            last = plain(column).split("_")[-1].upper()
            if last in ("USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD", "SEK", "INR", "BRL"):
                return last, f"from the column {column}"
    return "EUR", "not found in the data: set it"


def _name(file: _File) -> str:
    return re.sub(r"\W", "_", plain(file.stem)) or "rows"


def _place(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path.resolve(), base)).as_posix()


def _shown(column: _Column) -> str:
    shown = [one.removesuffix(" 00:00:00") for one in column.examples]
    told = ", ".join(one if len(one) <= 30 else one[:27] + "..." for one in shown)
    return _one_line(told) or "empty"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _yaml(text: str) -> str:
    """Write a text so that YAML reads it back as that text."""
    is_plain = re.fullmatch(r"[A-Za-z_./][\w./ -]*[\w./]|[A-Za-z_]", text)
    is_word = text.lower() in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if is_plain and not is_word else "'" + text.replace("'", "''") + "'"
