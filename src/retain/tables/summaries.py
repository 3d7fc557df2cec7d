"""What one file of a long log holds: summed up in one reading, kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.tables.numbering import WIDEST, Numbering

__all__ = ["DAY", "NONE", "SAMPLED", "Summary", "load", "microseconds", "save", "sum_up"]

DAY = 86_400_000_000  # microseconds
NONE = np.iinfo(np.int64).min  # where an instant is null
SAMPLED = 16  # equal rows are counted among the events of one customer in so many
FIRST = 365 * DAY  # 1971, before which dates are placeholders
LAST = 2_567_709 * DAY  # the year 9000

Ints = NDArray[np.int64]


@dataclass
class Summary:
    """What one file holds.

    Attributes
    ----------
    mark
        Hash of the whole file.
    rows, is_odd
        How many rows; whether any value cannot be used as it is.
    there
        Column of ours: rows in which it holds anything.
    days
        Instant: day (from 1970) to rows.
    lags, early
        Days between happening and being recorded to rows; rows recorded a day early.
    features
        Feature as it came: day on which it was known to rows.
    raw, first, last
        Customer ids as they came (Arrow), and microseconds of each one's first and last event.
    equal
        Hashes of the rows of one customer in `SAMPLED`.
    spans
        Column of whole numbers: the least and the greatest.
    people, texts
        Ids and features (Arrow) behind the numbers that were put down; not kept between runs.
    """

    mark: str
    rows: int = 0
    is_odd: bool = False
    there: dict[str, int] = field(default_factory=dict)
    days: dict[str, dict[int, int]] = field(default_factory=dict)
    lags: dict[int, int] = field(default_factory=dict)
    early: int = 0
    features: dict[str, dict[int, int]] = field(default_factory=dict)
    raw: Any = None
    first: Any = None
    last: Any = None
    equal: Any = None
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    people: Any = None
    texts: Any = None


def sum_up(
    path: Path,
    columns: dict[str, str],
    kinds: dict[str, str],
    hash_rows: Callable[[Any], NDArray[np.uint64]],
    put_down: Callable[[int, dict[str, Any]], None] = lambda group, there: None,
) -> Summary:
    """Read a file once and sum it up.

    Parameters
    ----------
    path
        A Parquet file.
    columns, kinds
        Column of ours: the file's; and its kind: id, instant, number or text.
    hash_rows
        From an Arrow table of whole rows to a hash of each.
    put_down
        Called with each row group and its columns as they were decoded: numbers and users (Arrow,
        as narrow as they fit), numbers of customers (`who`) and of features, and the `day` and day
        `known` of each event.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as opened:
        one = Summary(hashlib.file_digest(opened, "sha256").hexdigest())
    one.there = dict.fromkeys(columns, 0)
    people, features = Numbering(), Numbering()
    first, last = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    sampled = np.zeros(0, dtype=bool)
    by_feature: dict[tuple[int, int], int] = {}
    looked_at = []
    one.days = {name: {} for name, kind in kinds.items() if kind == "instant"}
    texts = [columns["feature"]] if "feature" in columns else []
    spanned = [name for name, kind in kinds.items() if kind == "number" or name == "user_id"]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            one.rows += table.num_rows
            for ours, theirs in columns.items():
                one.there[ours] += table.num_rows - table[theirs].null_count
            customers = table[columns["customer_id"]]
            codes = people.of(customers)
            who = codes.astype(np.intp)
            at, is_whole = microseconds(table[columns["occurred_at"]])
            there: dict[str, Any] = {"who": codes}
            for name in spanned:
                there[name], is_odd = _narrowest(table[columns[name]], name, one.spans)
                one.is_odd |= is_odd
            more = len(people) - len(first)
            first = np.append(first, np.full(more, -NONE - 1))
            last = np.append(last, np.full(more, NONE))
            sampled = np.append(sampled, _sampled(people.values, len(sampled)))
            if is_whole and not customers.null_count:
                _extremes(first, last, who, at)
            else:
                is_whole = False
                usable = (who >= 0) & (at > NONE)
                _extremes(first, last, who[usable], at[usable])
            one.is_odd |= not is_whole
            day = at // DAY
            there["day"] = day
            dated = slice(None) if is_whole else at > NONE
            _count(one.days["occurred_at"], day[dated])
            if "recorded_at" in one.days:
                known, is_whole = microseconds(table[columns["recorded_at"]])
                told = known > NONE
                one.is_odd |= not is_whole and _are_odd(known[told])
                _count(one.days["recorded_at"], known[told] // DAY)
                told &= at > NONE
                _count(one.lags, known[told] // DAY - day[told])
                one.early += int((known[told] < at[told] - DAY).sum())
                there["known"] = day = np.maximum(day, known // DAY)
            if "feature" in columns:
                there["feature"] = which = features.of(table[columns["feature"]])
                for key, count in _pairs(which[dated], day[dated]):
                    by_feature[key] = by_feature.get(key, 0) + count
            put_down(group, there)
            del there
            rows = np.flatnonzero(np.take(np.append(sampled, False), who, mode="wrap"))
            if len(rows):
                looked_at.append(table.take(rows))
            del table
    names = [] if features.values is None else features.values.to_pylist()
    one.features = {str(name): {} for name in names}
    for (code, day_number), count in sorted(by_feature.items()):
        one.features[str(names[code])][day_number] = count
    seen = np.flatnonzero(last > NONE)
    if people.values is not None:
        one.raw = people.values.take(seen)
    one.first, one.last = first[seen], last[seen]
    one.people, one.texts = people.values, features.values
    one.equal = np.zeros(0, dtype=np.uint64)
    if looked_at:  # together: a statement costs more than the few rows of a group
        one.equal = np.sort(hash_rows(pa.concat_tables(looked_at)))
    return one


def _narrowest(column: Any, name: str, spans: dict[str, tuple[int, int]]) -> tuple[Any, bool]:
    """Give whole numbers the smallest type that holds them, and widen their span.

    Tells also whether any number is infinite, or negative where that is an error.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    is_whole = pa.types.is_integer(column.type)
    if not (is_whole or pa.types.is_floating(column.type)):
        return column, False
    span = pc.min_max(column).as_py()
    low, high = span["min"], span["max"]
    if low is None:
        return column, False
    if is_whole:
        least, most = spans.get(name, (low, high))
        spans[name] = min(low, least), max(high, most)
        for kind in (np.int8, np.int16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                column = column.cast(pa.from_numpy_dtype(kind), safe=False)  # it fits
                break
    is_negative = low < 0 and name in ("quantity", "duration_s")
    return column, bool(np.isinf(low) or np.isinf(high) or is_negative)


def _sampled(values: Any, first: int) -> NDArray[np.bool_]:
    """Say of each customer from the `first` on whether equal rows are looked for: by the id."""
    import pyarrow as pa

    if values is None or len(values) <= first:
        return np.zeros(0, dtype=bool)
    values = values.slice(first)
    if pa.types.is_integer(values.type):
        mixed = values.to_numpy().astype(np.uint64)
    else:
        letters = np.array([one.encode() for one in values.to_pylist()])
        letters = letters.view(np.uint8).reshape(len(letters), -1)
        weights = 31 ** np.arange(letters.shape[1], dtype=np.uint64)
        mixed = (letters * weights).sum(axis=1, dtype=np.uint64)
    return (mixed * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(60)) == 0


def microseconds(column: Any) -> tuple[Ints, bool]:
    """Return microseconds since 1970, `NONE` for null; and whether all are plausible dates."""
    import pyarrow as pa

    column = column.cast(pa.timestamp("us"), safe=False)
    is_whole = column.null_count == 0
    values = column.cast(pa.int64())
    at = (values if is_whole else values.fill_null(NONE)).to_numpy()
    return at, is_whole and not _are_odd(at)


def _are_odd(at: Ints) -> bool:
    return len(at) > 0 and bool(at.min() < FIRST or at.max() >= LAST)


def _extremes(first: Ints, last: Ints, who: Any, at: Ints) -> None:
    """Lower `first` and raise `last` to what each customer's events say."""
    if len(at) and bool((at[1:] >= at[:-1]).all()) and at[0] >= last.max():
        # all in the order of time: the last one stays, and only who is new has a first
        last[who] = at
        unseen = first == -NONE - 1
        if unseen.any():
            fresh = np.flatnonzero(np.take(unseen, who, mode="clip"))[::-1]
            first[who[fresh]] = at[fresh]
    else:
        np.maximum.at(last, who, at)
        np.minimum.at(first, who, at)


def _count(into: dict[int, int], days: Ints) -> None:
    if not len(days):
        return
    low = int(days.min())
    if int(days.max()) - low < WIDEST:
        counts = np.bincount(days - low)
        found: Any = zip((np.flatnonzero(counts) + low).tolist(), counts[counts > 0], strict=True)
    else:
        found = zip(*np.unique(days, return_counts=True), strict=True)
    for day, count in found:
        into[int(day)] = into.get(int(day), 0) + int(count)


def _pairs(which: Any, days: Ints) -> Iterator[tuple[tuple[int, int], int]]:
    """Count the rows of each (text, day)."""
    there = which >= 0
    if not there.all():
        which, days = which[there], days[there]
    if not len(days):
        return
    low, texts = int(days.min()), int(which.max()) + 1
    if (int(days.max()) - low + 1) * texts < WIDEST:
        counts = np.bincount((days - low) * texts + which)
        for key in np.flatnonzero(counts).tolist():
            yield (key % texts, key // texts + low), int(counts[key])
    else:
        keys, found = np.unique(days * texts + which, return_counts=True)
        for key, count in zip(keys.tolist(), found.tolist(), strict=True):
            yield (key % texts, key // texts), count


def save(one: Summary, path: Path) -> None:
    """Write a summary aside, then move it into place."""
    told = {
        **{"mark": one.mark, "rows": one.rows, "is_odd": one.is_odd, "there": one.there},
        **{"lags": sorted(one.lags.items()), "early": one.early, "spans": one.spans},
        "days": {name: sorted(counts.items()) for name, counts in one.days.items()},
        "features": [[name, sorted(counts.items())] for name, counts in one.features.items()],
    }
    raw = np.zeros(0, dtype=np.int64)
    if one.raw is not None:
        raw = one.raw.to_numpy(zero_copy_only=False)
        raw = raw if raw.dtype != object else raw.astype(str)
    aside = path.with_name(f".partial-{path.name}-{os.getpid()}")
    with aside.open("wb") as file:
        np.savez(
            file,
            told=np.array(json.dumps(told)),
            raw=raw,
            first=one.first,
            last=one.last,
            equal=one.equal,
        )
    aside.replace(path)


def load(path: Path) -> Summary:
    """Read what `save` wrote; ValueError, OSError or KeyError when it is damaged."""
    import pyarrow as pa

    with np.load(path, allow_pickle=False) as kept:
        told = json.loads(str(kept["told"]))
        return Summary(
            mark=told["mark"],
            rows=told["rows"],
            is_odd=told["is_odd"],
            there=told["there"],
            lags=dict(told["lags"]),
            early=told["early"],
            spans={name: (low, high) for name, (low, high) in told["spans"].items()},
            days={name: dict(counts) for name, counts in told["days"].items()},
            features={name: dict(counts) for name, counts in told["features"]},
            raw=pa.array(kept["raw"]),
            first=kept["first"],
            last=kept["last"],
            equal=kept["equal"],
        )
