"""The leak check in the flow: as findings of `retain check`, and as a gate before training.

Both judge the same customers on the same weeks, those that the training learns from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import LeakError, RetainError, nearest
from retain.features import FEATURES, Column, build_features, load_own_features
from retain.jobs.observing import Snapshots, enough, observe, without_trend
from retain.jobs.opening import Company
from retain.jobs.progress import Listener
from retain.leaks import Suspect, find_leaks, find_leaks_in_time
from retain.leaks.alone import too_few
from retain.leaks.suspect import with_leave
from retain.snapshots import churn_labels
from retain.tables import Finding
from retain.weeks import FoldedWeeks
from retain.weeks.fold import most_used_features

__all__ = ["Suspected", "findings_of_leaks", "stop_on_leaks"]

SOON_WEEKS = 2  # what is too good only so shortly before leaving comes with the leaving
MOST_ROWS = 20_000  # snapshots judged, of customers drawn from those that are learnt from
MOST_NAMED = 5
MOST_VALUES = 1_000
SILENCE = ("usage", "commercial")  # themes that define leaving where silence is leaving
THEMES = "comments_about_"  # learnt with the model: a check knows none of them


@dataclass(frozen=True)
class Suspected:
    """What a check says of a training to come.

    Parameters
    ----------
    findings
        What gives the outcome away.
    refusal
        Why `retain train` would refuse whatever leaks there are; empty where it would not.
    """

    findings: tuple[Finding, ...]
    refusal: str = ""


def stop_on_leaks(
    company: Company,
    folded: FoldedWeeks,
    seen: Snapshots,
    X: pd.DataFrame,
    columns: Sequence[Column],
    allow_all: bool = False,
) -> tuple[Suspect, ...]:
    """Refuse to learn from what gives the outcome away.

    Parameters
    ----------
    company
        With what it allows.
    folded
        Known by the day of the training.
    seen
        Snapshots and their outcomes.
    X, columns
        Matrix, one row per row of `seen`, and what its columns mean.
    allow_all
        Only report.

    Raises
    ------
    LeakError
        Naming each column or table and its evidence.
    """
    at = _drawn(seen)
    found = _in_columns(company, folded, seen, at, X.iloc[at], columns, together=True)
    found += find_leaks_in_time(
        company.tables, company.churn.kind, allow=company.config.leaks.allow
    )
    grave = [one for one in found if one.severity == "error"]
    if grave and not allow_all:
        told = "\n".join(f"  {one.where}: {one.message} {one.todo}" for one in grave[:MOST_NAMED])
        more = f"\n  and {len(grave) - MOST_NAMED} more" if len(grave) > MOST_NAMED else ""
        names = ", ".join(_in_a_list(one.where) for one in grave)
        unknown = "".join(f"\n{told}" for told in _unknown(company, columns, found))
        raise LeakError(
            f"leak check: {len(grave)} of the things that a model would learn from give the "
            f"outcome away\n{told}{more}\nLeave them out; or, where one is truly known before the "
            f"outcome, allow it by name (leaks: {{allow: [{names}]}}); or train all the same with "
            "--allow-leaks. `retain check` has the whole report (but for themes of comments)."
            f"{unknown}"
        )
    return found


def findings_of_leaks(company: Company, progress: Listener) -> Suspected:
    """Say what gives the outcome away, as lines of the data-usability report."""
    found = find_leaks_in_time(company.tables, company.churn.kind, allow=company.config.leaks.allow)
    lines = [_finding(one) for one in found]
    refusal = ""
    try:
        week = company.calendar.last_complete_week(company.tables.data_until)
        top = most_used_features(company.tables, company.calendar.last_day(week))
        progress("looking for leaks: folding weeks", 0.6)
        # without themes of comments: they are learnt, and a check waits for no model library
        lists: dict[str, tuple[str, ...]] = {"top_features": top, "comment_themes": ()}
        folded = replace(company.fold(week, top), lists=lists)
        seen = observe(company, folded, week)
        refusal = _refusal(company, seen)
        at = _drawn(seen)
        if why := too_few(seen.y[at], seen.who[at]):
            raise RetainError(why)
        progress("looking for leaks: building features", 0.7)
        X, columns = _built(company, folded, seen, at)
        progress("looking for leaks: judging columns", 0.9)
        in_columns = _in_columns(company, folded, seen, at, X, columns, together=False)
        lines += [_finding(one) for one in in_columns]
        lines += [
            Finding("leaks.allow", "", "warning", 1, told)
            for told in _unknown(company, columns, (*found, *in_columns))
        ]
    except RetainError as why:  # too little history, no leavers yet: no label, no verdict
        refusal = refusal or str(why)
        lines.append(
            Finding(
                "features",
                "",
                "advice",
                0,
                f"The columns could not be checked for leaks: {why}",
            )
        )
    return Suspected(tuple(lines), refusal)


def _refusal(company: Company, seen: Snapshots) -> str:
    """Ask what a training asks of its rows."""
    rows = seen.churn_rows
    try:
        enough(seen.who[rows], seen.y[rows], company.churn.horizon_weeks)
    except RetainError as why:
        return str(why)
    return ""


def _drawn(seen: Snapshots, seed: int = 0) -> Any:
    """Choose the rows to judge: whole customers, so many that no more than `MOST_ROWS` are left."""
    rows = np.flatnonzero(seen.churn_rows)
    customers, place, each = np.unique(seen.who[rows], return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(customers))
    is_in = np.zeros(len(customers), dtype=bool)
    is_in[order[np.cumsum(each[order]) <= MOST_ROWS]] = True
    drawn = rows[is_in[place]]
    # where few left among very many, all are looked at
    return rows if too_few(seen.y[drawn], seen.who[drawn]) else drawn


def _built(
    company: Company, folded: FoldedWeeks, seen: Snapshots, at: Any
) -> tuple[pd.DataFrame, Sequence[Column]]:
    """Build the features of some rows only, as the training does of all."""
    own, _ = load_own_features(company.config.features)
    chosen = np.unique(seen.who[at])
    kept = np.zeros(seen.kept.shape, dtype=bool)
    kept[np.searchsorted(seen.weeks, seen.when[at]), seen.who[at]] = True
    built = build_features(
        folded.of_these(chosen), seen.weeks, kept[:, chosen], features=(*FEATURES, *own)
    )
    return without_trend(built, seen.as_ofs)


def _in_columns(
    company: Company,
    folded: FoldedWeeks,
    seen: Snapshots,
    at: Any,
    X: pd.DataFrame,
    columns: Sequence[Column],
    together: bool,
) -> tuple[Suspect, ...]:
    """Judge every column alone, over the whole horizon and over its first weeks."""
    silent = company.churn.kind == "inactivity"
    names = [one.name for one in columns if not (silent and one.feature.theme in SILENCE)]
    y, who = seen.y[at], seen.who[at]
    if not names or too_few(y, who):
        return ()
    table = X[names]
    found = {
        one.where: one for one in find_leaks(table, y, who=who, by_name=False, together=together)
    }
    if not silent and company.churn.horizon_weeks > SOON_WEEKS:
        rule = replace(company.churn, horizon_weeks=SOON_WEEKS)
        soon, _ = churn_labels(folded, seen.as_ofs, rule)
        near = soon[np.searchsorted(seen.as_ofs, seen.when[at]), who]
        known = ~np.isnan(near)
        few = too_few(near[known], who[known])
        for one in (
            find_leaks(table[known], near[known], who=who[known], by_name=False, together=False)
            if not few
            else ()
        ):
            if one.kind == "too good to be true" and one.where in table.columns:
                told = f"Within {SOON_WEEKS} weeks of leaving: {one.message}"
                found.setdefault(
                    one.where, replace(one, kind="too good just before leaving", message=told)
                )
    return with_leave(found.values(), _allowed(company, columns))


def _allowed(company: Company, columns: Sequence[Column]) -> set[str]:
    """List what is allowed by name; a raw column is the feature made of just that column, too."""
    names = set(company.config.leaks.allow)
    return names | {
        one.name
        for one in columns
        if one.feature.over == "attributes" and f"customers.{one.argument}" in names
    }


def _unknown(
    company: Company, columns: Sequence[Column], found: Sequence[Suspect]
) -> Iterator[str]:
    """Tell of allowed names that are the name of nothing: most are mistyped."""
    tables = company.tables
    known = {name for one in found for name in one.names}
    known |= {name for one in columns for name in (one.name, f"features.{one.name}")}
    for table in tables.names:
        inner = (*tables.columns[table], *tables.measures.get(table, ()))
        if table == "customers":
            inner = (*inner, *tables.attributes)
        known |= {table, *(f"{table}.{column}" for column in inner)}
    for name in company.config.leaks.allow:
        of_a_column, has_value, _ = name.partition("=")
        if name in known or name.removeprefix("features.").startswith(THEMES):
            continue
        near = known
        if has_value and of_a_column in known:
            table, _, column = of_a_column.partition(".")
            near = {f"{of_a_column}={value}" for value in _values(company, table, column)}
            if name in near or len(near) >= MOST_VALUES:
                continue
        hint = nearest(name, sorted(near), "", 3) or nearest(
            name.rpartition(".")[2], sorted(near), "nothing has a name like it.", 3
        )
        yield f"leaks.allow: {name!r} is no column, table or value of these data; {hint}"


def _values(company: Company, table: str, column: str) -> list[str]:
    found = company.tables.ask(
        table,
        f'SELECT DISTINCT CAST("{column}" AS VARCHAR) AS value FROM {table} WHERE "{column}" '
        f"IS NOT NULL ORDER BY 1 LIMIT {MOST_VALUES}",
    )
    return [str(value) for (value,) in found]


def _in_a_list(name: str) -> str:
    """Write a name so that YAML reads it in a list as it is."""
    return name if re.fullmatch(r"[\w.=/-]+( [\w.=/-]+)*", name) else json.dumps(name)


def _finding(one: Suspect) -> Finding:
    column = one.where if not one.lies_in_table else one.where.partition(".")[2]
    return Finding(
        one.table,
        column,
        one.severity,
        one.count,
        f"Leak check, {one.kind}: {one.message}",
        (),
        one.todo,
    )
