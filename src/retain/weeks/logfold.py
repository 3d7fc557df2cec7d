"""A long log folded and kept: which files are new, and which weeks they touch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from retain.tables.eventlog import EventLog
from retain.tables.memory import give_back
from retain.weeks.calendar import DAYS_PER_WEEK, Calendar
from retain.weeks.facts import usage
from retain.weeks.kept import KeptWeeks, mark_of, number_customers
from retain.weeks.rows import PanelRows, WeekByWeek, narrowed
from retain.weeks.streams import MASK_VALUES, WORD_BITS, Facts, Source
from retain.weeks.sweep import Users, sweep

__all__ = ["fold_log"]


def fold_log(
    log: EventLog,
    ids: list[str],
    source: Source,
    numbers: dict[str, list[str]],
    *,
    recipe: str,
    store: Path | None,
) -> PanelRows:
    """Fold the usage of a long log, reusing the weeks that no new or changed file touches.

    Parameters
    ----------
    log
        The files.
    ids
        Customer ids, ascending.
    source
        The usage table as the fold sees it; its mask words are found out here.
    numbers
        Numberings ``usage_feature`` and ``customers``, append-only: what is new is appended.
    recipe
        Hash of how a week is folded.
    store
        Folder of the store; none keeps nothing.

    Returns
    -------
    PanelRows
        All folded rows.
    """
    features = numbers.setdefault("usage_feature", [])
    _extend(features, log.feature_days())
    log.number(ids, features[:MASK_VALUES])
    top = tuple(features.index(one) if one in features else -1 for one in source.top_features)
    users = Users(ids, log.span("user_id")) if source.has("user_id") else None
    calendar = source.calendar

    def runs_of(parts: list[int], weeks: set[int] | None) -> Iterator[PanelRows]:
        swept = sweep(
            log,
            calendar,
            parts=parts,
            weeks=weeks,
            customers=len(ids),
            top=top,
            users=users,
        )
        return map(_narrow, swept)

    if store is None:
        parts = list(range(len(log.files)))
        runs = list(runs_of(parts, None))
    else:
        kept = KeptWeeks(store / "weeks" / "usage", calendar)
        there = kept.open(recipe, numbers)
        path = store / "weeks" / "users.parquet"
        if users is not None:
            if there and kept.book.get("users") == mark_of(path):
                users = Users(ids, log.span("user_id"), path if path.exists() else None)
            else:  # other numbers than those that the weeks were folded with
                there = {}
        files = _weeks_of_files(log, calendar)
        expected = {week for weeks in files.values() for week in weeks}
        before = {name: set(weeks) for name, weeks in kept.book.get("files", {}).items()}
        other = {*files, *before} - (set(files) & set(before))
        touched = set[int]().union(*(files.get(name, before.get(name, ())) for name in other))
        touched &= expected
        touched |= expected - set(map(int, there))
        number, position = number_customers(numbers.setdefault("customers", []), ids)
        if touched or set(map(int, there)) != expected:
            kept.forget({str(week) for week in touched | set(map(int, there)) - expected})
            parts = [at for at, weeks in enumerate(files.values()) if touched & weeks]
            for run in runs_of(parts, touched):
                kept.write_rows(run, number)
            made_of: dict[int, list[str]] = {}
            for name, weeks in files.items():
                for week in weeks:
                    made_of.setdefault(week, []).append(name)
            marks = {str(w): _hash(sorted(names)) for w, names in sorted(made_of.items())}
            listed = {name: sorted(weeks) for name, weeks in files.items()}
            mark = "" if users is None else users.save(path)
            kept.close(
                recipe,
                log.fingerprint,
                marks,
                {n: v for n, v in numbers.items() if n == "customers" or n.startswith("usage_")},
                listed,
                mark,
            )
        give_back()
        runs = list(kept.read_rows(sorted(expected), position).values())
    facts = _facts(source, features, 0 if users is None else users.most)
    return WeekByWeek(runs, facts.folded)


def _facts(source: Source, features: list[str], most_users: int) -> Facts:
    """Tell how the measures combine, once the dictionaries are known."""
    words = {
        "feature": -(-min(len(features), MASK_VALUES) // WORD_BITS) or 1,
        "users": -(-most_users // WORD_BITS) or 1,
    }
    return usage(source.with_words(words))


def _extend(features: list[str], by_day: dict[str, dict[int, int]]) -> None:
    """Append the features not met before, by the day on which each was first known."""
    fresh = [(min(days, default=0), text) for text, days in by_day.items() if text not in features]
    features.extend(text for _, text in sorted(fresh))


def _narrow(run: PanelRows) -> PanelRows:
    """Derive what the day masks say, and give every measure its smallest type."""
    measures = {name: narrowed(values) for name, values in run.measures.items()}
    return PanelRows(run.customer, run.week, run.lag, measures, run.ops)


def _weeks_of_files(log: EventLog, calendar: Calendar) -> dict[str, set[int]]:
    """Name each file by its content and list the weeks that it touches."""
    met: Counter[str] = Counter()
    found = {}
    for part, mark in enumerate(log.marks):
        met[mark] += 1
        weeks = {(day - calendar.anchor) // DAYS_PER_WEEK for day in log.days("occurred_at", part)}
        found[f"{mark}#{met[mark]}"] = weeks
    return found


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
