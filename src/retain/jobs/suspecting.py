"""The leak check in the flow: as findings of `retain check`, and as a gate before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from retain.errors import LeakError, RetainError
from retain.features import FEATURES, Column, build_features, load_own_features
from retain.jobs.opening import Company
from retain.jobs.progress import Listener
from retain.leaks import Suspect, find_leaks, find_leaks_in_time
from retain.snapshots import ELIGIBLE, churn_labels, eligibility, snapshot_weeks
from retain.tables import Finding
from retain.weeks import FoldedWeeks, History
from retain.weeks.fold import most_used_features

__all__ = ["findings_of_leaks", "stop_on_leaks"]

SOON_WEEKS = 2  # what is too good only so shortly before leaving comes with the leaving
CHECKED_SNAPSHOTS = 3
MOST_NAMED = 5
SILENCE = ("usage", "commercial")  # themes that define leaving where silence is leaving


def stop_on_leaks(
    company: Company,
    folded: FoldedWeeks,
    as_ofs: Any,
    X: pd.DataFrame,
    columns: Sequence[Column],
    place: tuple[Any, Any],
    y: Any,
    rows: Any,
    allow_all: bool = False,
) -> tuple[Suspect, ...]:
    """Refuse to learn from what gives the outcome away.

    Parameters
    ----------
    company
        With what it allows.
    folded
        Known by the day of the training.
    as_ofs
        Weeks observed.
    X, columns
        Matrix and what its columns mean.
    place
        Week and customer of each row.
    y, rows
        Outcome of each row, and which rows have one.
    allow_all
        Only report.

    Raises
    ------
    LeakError
        Naming each column or table and its evidence.
    """
    found = _in_columns(company, folded, as_ofs, X, columns, place, y, rows, together=True)
    found += find_leaks_in_time(
        company.tables, company.churn.kind, allow=company.config.leaks.allow
    )
    grave = [one for one in found if one.severity == "error"]
    if grave and not allow_all:
        told = "\n".join(f"  {one.where}: {one.message} {one.todo}" for one in grave[:MOST_NAMED])
        more = f"\n  and {len(grave) - MOST_NAMED} more" if len(grave) > MOST_NAMED else ""
        names = ", ".join(one.where for one in grave[:MOST_NAMED])
        raise LeakError(
            f"leak check: {len(grave)} of the things that a model would learn from give the "
            f"outcome away\n{told}{more}\nLeave them out; or, where one is truly known before the "
            f"outcome, allow it by name (leaks: {{allow: [{names}]}}); or train all the same with "
            "--allow-leaks. `retain check` has the whole report."
        )
    return found


def findings_of_leaks(company: Company, progress: Listener) -> tuple[Finding, ...]:
    """Say what gives the outcome away, as lines of the data-usability report."""
    found = find_leaks_in_time(company.tables, company.churn.kind, allow=company.config.leaks.allow)
    lines = [_finding(one) for one in found]
    try:
        lines += [_finding(one) for one in _in_features(company, progress)]
    except RetainError as why:  # too little history, no leavers yet: no label, no verdict
        lines.append(
            Finding(
                "features",
                "",
                "advice",
                0,
                f"The columns could not be checked for leaks: {why}",
            )
        )
    return tuple(lines)


def _in_features(company: Company, progress: Listener) -> tuple[Suspect, ...]:
    """Build the features of a few ripe snapshots and look at them."""
    week = company.calendar.last_complete_week(company.tables.data_until)
    top = most_used_features(company.tables, company.calendar.last_day(week))
    own, _ = load_own_features(company.config.features)
    progress("looking for leaks: folding weeks", 0.6)
    # without themes of comments: they are learnt, and a check waits for no model library
    lists: dict[str, tuple[str, ...]] = {"top_features": top, "comment_themes": ()}
    folded = replace(company.fold(week, top), lists=lists)
    newest = week - company.churn.ripe_weeks
    step = max(company.config.snapshots.every_weeks, company.churn.horizon_weeks // 2)
    as_ofs = snapshot_weeks(newest, folded.recorded_from, step, CHECKED_SNAPSHOTS)
    if len(as_ofs) == 0:
        raise RetainError(
            f"no label is final yet: {week - folded.recorded_from + 1} weeks of data, more than "
            f"{company.churn.ripe_weeks} are needed."
        )
    why = eligibility(History(folded, as_ofs), company.churn)
    labels, _ = churn_labels(folded, as_ofs, company.churn)
    rows = (why == ELIGIBLE) & ~np.isnan(labels)
    progress("looking for leaks: building features", 0.7)
    built = build_features(folded, as_ofs, rows, features=(*FEATURES, *own))
    progress("looking for leaks: judging columns", 0.9)
    return _in_columns(
        company,
        folded,
        as_ofs,
        built.X,
        built.columns,
        (built.as_of, built.customer),
        labels[rows],
        np.ones(int(rows.sum()), dtype=bool),
        together=False,
    )


def _in_columns(
    company: Company,
    folded: FoldedWeeks,
    as_ofs: Any,
    X: pd.DataFrame,
    columns: Sequence[Column],
    place: tuple[Any, Any],
    y: Any,
    rows: Any,
    together: bool,
) -> tuple[Suspect, ...]:
    """Judge every column alone, over the whole horizon and over its first weeks."""
    when, who = place
    allow = company.config.leaks.allow
    silent = company.churn.kind == "inactivity"
    names = [one.name for one in columns if not (silent and one.feature.theme in SILENCE)]
    if not names or not rows.any():
        return ()
    table = X.loc[rows, names]
    found = {
        one.where: one
        for one in find_leaks(
            table, y[rows], who=who[rows], allow=allow, by_name=False, together=together
        )
    }
    if not silent and company.churn.horizon_weeks > SOON_WEEKS:
        soon, _ = churn_labels(folded, as_ofs, replace(company.churn, horizon_weeks=SOON_WEEKS))
        at = np.searchsorted(as_ofs, when[rows])
        near = soon[at, who[rows]]
        known = ~np.isnan(near)
        for one in find_leaks(
            table[known],
            near[known],
            who=who[rows][known],
            allow=allow,
            by_name=False,
            together=False,
        ):
            if one.kind == "too good to be true" and one.where in table.columns:
                told = f"Within {SOON_WEEKS} weeks of leaving: {one.message}"
                found.setdefault(
                    one.where, replace(one, kind="too good just before leaving", message=told)
                )
    return tuple(found.values())


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
