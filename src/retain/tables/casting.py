"""How a source's value becomes one of ours: text, number, flag, word or local instant, in SQL.

All is tried, nothing is forced: a value that cannot be used is told apart from a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass

from retain.errors import TableError
from retain.tables.spec import ColumnSpec
from retain.tables.sql import quoted, word

__all__ = ["Cast", "cast_of", "is_number_type", "text_of"]

NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
BLANKS = "' \t\n\r\u00a0\ufeff\u2003'"
MOST = "1.7976931348623157e308"  # the greatest finite number: no engine calls it by the same name
NOTHING = "('', 'nan', 'nat', 'none', 'null', '<na>', 'n/a', '\\n', 'na')"
NO_ID = "('', 'nan', 'nat', 'none', 'null', '<na>')"
CLOCK = r"\d{1,2}:\d{2}"
AWARE = CLOCK + r".*?(?:[Zz]|[+-]\d{2}(?::?\d{2})?|\s[A-Za-z][A-Za-z_]+(?:/[A-Za-z_/]+)?)$"
TRUE = "('true', 't', 'yes', 'y', '1', '1.0', 'on')"
FALSE = "('false', 'f', 'no', 'n', '0', '0.0', 'off')"
EXPECTED = {
    "id": "text or a whole number",
    "text": "text",
    "word": "text",
    "instant": "a date or a time stamp",
    "number": "a number",
    "flag": "yes or no",
}


@dataclass(frozen=True)
class Cast:
    """One column of ours in SQL.

    Attributes
    ----------
    value
        The typed value; null when missing or unusable.
    unusable
        True where something is there that cannot be used; empty when that cannot happen.
    reason
        Why such a row is set aside.
    stamp
        For instants: 1 without a zone, 2 with a zone, 3 a bare date; empty for other kinds.
    whole
        For ids that are whole numbers of up to 64 bits: the number; empty for others.
    """

    value: str
    unusable: str
    reason: str
    stamp: str = ""
    whole: str = ""


def is_number_type(kind: str) -> bool:
    """Tell whether a database type is a number."""
    return kind.upper().removeprefix("U").startswith(NUMBERS)


def is_whole_type(kind: str) -> bool:
    """Tell whether a database type holds whole numbers only."""
    return kind.upper().removeprefix("U") in WHOLE


def text_of(column: str, kind: str) -> str:
    """Write a source's value as trimmed text, null when nothing is there."""
    name = quoted(column)
    upper = kind.upper()
    if upper.startswith(("FLOAT", "DOUBLE")):
        plain = (
            f"CASE WHEN isnan({name}) THEN NULL WHEN isfinite({name}) AND {name} = trunc({name}) "
            f"AND abs({name}) < 1e18 THEN CAST(CAST({name} AS BIGINT) AS VARCHAR) "
            f"ELSE CAST({name} AS VARCHAR) END"
        )
        return f"({plain})"
    if upper.startswith("DECIMAL"):
        return (
            f"(CASE WHEN {name} = trunc({name}) THEN CAST(CAST({name} AS HUGEINT) AS VARCHAR) "
            f"ELSE CAST({name} AS VARCHAR) END)"
        )
    if upper == "BLOB":
        name = f"TRY(decode({name}))"
    if is_number_type(upper) or upper.startswith(("UUID", "BOOL")):
        return f"CAST({name} AS VARCHAR)"
    plain = f"CAST({name} AS VARCHAR)"
    # Trimming a set of blanks is dear, so it is done only where a blank may be: at the ends.
    # (The last sign as the first of the text turned round: `right` costs six times as much.)
    return (
        f"nullif(CASE WHEN ascii({plain}) BETWEEN 33 AND 126 AND ascii(reverse({plain})) BETWEEN "
        f"33 AND 126 THEN {plain} ELSE trim({plain}, {BLANKS}) END, '')"
    )


def cast_of(
    table: str,
    spec: ColumnSpec,
    column: str,
    kind: str,
    *,
    zone: str,
    datetime_format: str | None = None,
    words: AnyMapping[str, str] | None = None,
    text: str | None = None,
) -> Cast:
    """Write the SQL that turns a source column into one of ours.

    Parameters
    ----------
    table, spec
        The table, and the column of ours.
    column, kind
        The source's column and its type.
    zone
        Where stamps without a zone are local.
    datetime_format
        How text dates are written; None reads ISO 8601.
    words
        The source's words: ours.
    text
        SQL that already gives the source's value as trimmed text; None writes it out.

    Raises
    ------
    TableError
        When the column's type can never hold what is expected, such as numbers for instants.
    """
    plain = text or text_of(column, kind)
    text = _translated(plain, {**dict(spec.synonyms), **(words or {})})
    name, upper = quoted(column), kind.upper()
    nested = upper.endswith("]") or upper.startswith(("STRUCT", "MAP", "UNION"))
    if nested or (
        upper.startswith(("TIME", "INTERVAL", "DATE")) and spec.kind in ("number", "flag")
    ):
        raise TableError(
            f"table {table!r}: column {column!r} for {spec.name} is of type {kind}; expected "
            f"{EXPECTED[spec.kind]}. Map another column, or convert it with `query`"
        )
    if spec.kind == "id":
        if is_whole_type(upper) and not words:  # nothing to trim, no word for nothing, no point
            return Cast(
                f"CAST({name} AS VARCHAR)",
                "",
                f"missing {spec.name}",
                whole=name if "HUGE" not in upper else "",
            )
        return _id(text, spec)
    if spec.kind == "text":
        return Cast(text, "", "")
    if spec.kind == "word":
        known = ", ".join(word(one) for one in spec.words)
        value = f"CASE WHEN lower({text}) IN ({known}) THEN lower({text}) END"
        unknown = (
            f"{text} IS NOT NULL AND lower({text}) NOT IN ({known}) "
            f"AND lower({text}) NOT IN {NOTHING}"
        )
        others = {**dict(spec.synonyms), **(words or {})}
        if not {one.strip().lower() for one in others} & set(spec.words):
            # most are our words already, and no list of others needs to be gone through
            value = f"CASE WHEN {plain} IN ({known}) THEN {plain} ELSE {value} END"
            unknown = f"CASE WHEN {plain} IN ({known}) THEN false ELSE {unknown} END"
        return Cast(value, unknown, f"unknown {spec.name}")
    if spec.kind == "number":
        return _number(name, upper, text, spec)
    if spec.kind == "flag":
        if upper == "BOOLEAN" and not words:
            return Cast(name, "", "")
        low = f"lower({text})"
        return Cast(
            f"CASE WHEN {low} IN {TRUE} THEN true WHEN {low} IN {FALSE} THEN false END",
            f"{text} IS NOT NULL AND {low} NOT IN {TRUE} AND {low} NOT IN {FALSE} "
            f"AND {low} NOT IN {NOTHING}",
            f"{spec.name} is not yes or no",
        )
    return _instant(table, spec, column, upper, plain, zone, datetime_format)


def _id(text: str, spec: ColumnSpec) -> Cast:
    """Ids are text; an integer that went through a float column loses its point again."""
    whole = (
        f"CASE WHEN right({text}, 2) = '.0' AND regexp_matches({text}, '^-?[0-9]+[.]0+$') "
        f"THEN regexp_replace({text}, '[.]0+$', '') ELSE {text} END"
    )
    value = f"CASE WHEN length({text}) > 4 OR lower({text}) NOT IN {NO_ID} THEN {whole} END"
    return Cast(value, "", f"missing {spec.name}")


def _number(name: str, upper: str, text: str, spec: ColumnSpec) -> Cast:
    reason = f"{spec.name} is not a number"
    if upper == "BOOLEAN":
        return Cast(f"CAST(CAST({name} AS INTEGER) AS DOUBLE)", "", reason)
    if upper.startswith(("FLOAT", "DOUBLE")):
        # what is not a number compares as the greatest of all
        value = f"CASE WHEN abs({name}) <= {MOST} THEN CAST({name} AS DOUBLE) END"
        return Cast(value, f"abs({name}) > {MOST} AND NOT isnan({name})", reason)
    if is_number_type(upper):
        return Cast(f"CAST({name} AS DOUBLE)", "", reason)
    number = f"TRY_CAST({text} AS DOUBLE)"
    return Cast(
        f"CASE WHEN isfinite({number}) THEN {number} END",
        f"{text} IS NOT NULL AND lower({text}) NOT IN {NOTHING} "
        f"AND coalesce(NOT isfinite({number}), true)",
        reason,
    )


def _instant(
    table: str,
    spec: ColumnSpec,
    column: str,
    upper: str,
    text: str,
    zone: str,
    datetime_format: str | None,
) -> Cast:
    name, place, reason = quoted(column), word(zone), f"{spec.name} is not a date"
    if upper.startswith("TIMESTAMP WITH") or upper == "TIMESTAMPTZ":
        value = f"CASE WHEN isfinite({name}) THEN timezone({place}, {name}) END"
        return Cast(
            value, f"NOT isfinite({name})", reason, f"CASE WHEN {name} IS NOT NULL THEN 2 END"
        )
    if upper.startswith(("TIMESTAMP", "DATETIME")):
        plain = f"CAST({name} AS TIMESTAMP)"
        value = f"CASE WHEN isfinite({plain}) THEN {plain} END"
        return Cast(
            value, f"NOT isfinite({plain})", reason, f"CASE WHEN {name} IS NOT NULL THEN 1 END"
        )
    if upper == "DATE":
        value = f"CASE WHEN isfinite({name}) THEN CAST({name} AS TIMESTAMP) END"
        return Cast(
            value, f"NOT isfinite({name})", reason, f"CASE WHEN {name} IS NOT NULL THEN 3 END"
        )
    if (
        upper == "BOOLEAN"
        or upper.startswith("TIME")
        or (is_number_type(upper) and not datetime_format)
    ):
        raise TableError(
            f"table {table!r}: column {column!r} for {spec.name} is of type {upper}; expected a "
            "date or a time stamp. Seconds since 1970 need `query: SELECT *, to_timestamp(...) AS "
            "...` (nanoseconds: make_timestamp_ns(...)); whole numbers like 20240131 need "
            "datetime_format: '%Y%m%d'"
        )
    there = f"{text} IS NOT NULL AND lower({text}) NOT IN {NOTHING}"
    if datetime_format:
        parsed = f"try_strptime({text}, {word(datetime_format)})"
        has_zone = "%z" in datetime_format or "%Z" in datetime_format
        value = f"timezone({place}, {parsed})" if has_zone else parsed
        clock = "%H" in datetime_format or "%I" in datetime_format
        stamp = "2" if has_zone else "1" if clock else "3"
        return Cast(
            value,
            f"{there} AND {parsed} IS NULL",
            reason,
            f"CASE WHEN {value} IS NOT NULL THEN {stamp} END",
        )
    aware = f"regexp_matches({text}, {word(AWARE)})"
    dated = f"regexp_matches({text}, '^\\d{{4}}[-/]')"  # keeps words such as epoch and infinity out
    value = (
        f"CASE WHEN NOT {dated} THEN NULL WHEN {aware} "
        f"THEN timezone({place}, TRY_CAST({text} AS TIMESTAMPTZ)) "
        f"ELSE TRY_CAST({text} AS TIMESTAMP) END"
    )
    stamp = (
        f"CASE WHEN {aware} THEN 2 WHEN regexp_matches({text}, {word(CLOCK)}) THEN 1 "
        f"WHEN {text} IS NOT NULL THEN 3 END"
    )
    return Cast(value, f"{there} AND ({value}) IS NULL", reason, stamp)


def _translated(text: str, words: AnyMapping[str, str]) -> str:
    """Words of the source replaced by ours; case and surrounding blanks do not matter."""
    if not words:
        return text
    whens = " ".join(
        f"WHEN {word(theirs.strip().lower())} THEN {word(ours)}" for theirs, ours in words.items()
    )
    return f"(CASE lower({text}) {whens} ELSE {text} END)"
