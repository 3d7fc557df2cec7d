"""What became of customers observed in past weeks, and what a saved model would have said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from retain.features import Feature, load_own_features
from retain.jobs.matching import same_columns, same_own_features, same_settings, same_tables
from retain.jobs.opening import Company
from retain.jobs.panel import matrix, with_lists
from retain.model import Bundle
from retain.snapshots import ELIGIBLE, churn_labels, eligibility, leaving_weeks
from retain.weeks import FoldedWeeks, History

__all__ = [
    "fold_for",
    "known_labels",
    "left_on",
    "outcomes",
    "own_features",
    "predicted",
    "week_of",
]
# where the day of an end stands, for those whose leaving is an event; silence has none
ENDS = {
    "contract": ("subscriptions", "ended_at", "is_trial"),
    "event": ("departures", "left_at", None),
}


def week_of(company: Company, day: Any) -> int:
    """Turn a day as bundles and scores write it into a week."""
    return company.calendar.week_of(pd.Timestamp(day).date())


def own_features(
    company: Company, given: tuple[Feature, ...], *bundles: Bundle
) -> tuple[Feature, ...]:
    """Load the company's own features and refuse when a model needs others.

    Raises
    ------
    ModelMismatchError
        When settings, tables or own features are not those that a model was trained with.
    """
    own, own_hash = load_own_features(company.config.features)
    for bundle in bundles:
        same_settings(bundle, company, ())
        same_tables(bundle, company, ())
        same_own_features(bundle, own_hash)
    return (*own, *given)


def fold_for(company: Company, bundle: Bundle, week: int) -> FoldedWeeks:
    """Fold the tables as known by `week`, with the lists that a model was trained with."""
    top = tuple(bundle.lists["top_features"])
    return with_lists(company.fold(week, top), bundle.lists)


def outcomes(company: Company, folded: FoldedWeeks, weeks: Any) -> pd.DataFrame:
    """Say who was eligible in past weeks and whether they left within the horizon.

    Parameters
    ----------
    company
        What leaving means.
    folded
        Everything known by now.
    weeks
        Weeks of observation whose labels are final.

    Returns
    -------
    DataFrame
        week, customer (position), customer_id, churned (0 or 1); one row per eligible customer and
        week with a final label, by week, then customer.
    """
    weeks = np.unique(np.asarray(weeks, dtype=np.int64))
    why = eligibility(History(folded, weeks), company.churn)
    labels, _ = churn_labels(folded, weeks, company.churn)
    at, customer = np.nonzero((why == ELIGIBLE) & ~np.isnan(labels))
    return pd.DataFrame(
        {
            "week": weeks[at],
            "customer": customer,
            "customer_id": folded.customers[customer].astype(str),
            "churned": labels[at, customer],
        }
    )


def left_on(company: Company, folded: FoldedWeeks, found: pd.DataFrame) -> pd.Series:
    """Say on which day those left who left within the horizon.

    Parameters
    ----------
    company
        What leaving means, and its tables.
    folded
        Everything known by now.
    found
        From `outcomes`.

    Returns
    -------
    Series
        Days as text, aligned with `found`; None for those who stayed. The day on which paid service
        ended or that the departure gives; where silence is leaving, the last day of the week at
        whose end it had lasted for the horizon.
    """
    weeks = np.unique(found["week"].to_numpy(dtype=np.int64))
    when = leaving_weeks(folded, weeks, company.churn)
    week = when[np.searchsorted(weeks, found["week"]), found["customer"].to_numpy(dtype=np.int64)]
    gone = np.flatnonzero(~np.isnan(week))
    days = _days_of_ends(company)
    said = np.full(len(found), None, dtype=object)
    for at, who in zip(gone, found["customer_id"].to_numpy()[gone], strict=True):
        left = int(week[at])
        said[at] = days.get((str(who), left)) or str(company.calendar.last_day(left))
    return pd.Series(said, index=found.index, dtype=object)


def _days_of_ends(company: Company) -> dict[tuple[str, int], str]:
    """Give the day of each end by customer and week, the last of a week."""
    table, column, trial = ENDS.get(company.churn.kind, ("", "", None))
    if not table or not company.tables.has(table, column):
        return {}
    paid = (
        f" AND NOT coalesce({trial}, false)" if trial and company.tables.has(table, trial) else ""
    )
    rows = company.tables.con.execute(
        f"SELECT DISTINCT CAST(customer_id AS VARCHAR), CAST({column} AS DATE) AS day FROM {table} "
        f"WHERE {column} IS NOT NULL{paid} ORDER BY day"
    ).fetchall()
    return {(who, company.calendar.week_of(day)): str(day) for who, day in rows}


def predicted(
    bundle: Bundle,
    folded: FoldedWeeks,
    rows: pd.DataFrame,
    own: tuple[Feature, ...],
    progress: Any = lambda done, of: None,
) -> tuple[Any, Any, tuple[Any, ...]]:
    """Say what a saved model makes of past weeks, each as it was known then.

    Parameters
    ----------
    bundle
        The model.
    folded
        From `fold_for`.
    rows
        week and customer of each row, ordered by week, then customer.
    own
        From `own_features`.
    progress
        Called with (customers done, customers in all).

    Returns
    -------
    probabilities : array, shape (rows,)
    matrix : array, shape (rows, columns)
        As the model sees it.
    columns : tuple of Column
        What its columns mean.
    """
    weeks = np.unique(rows["week"].to_numpy())
    keep = np.zeros((len(weeks), len(folded.customers)), dtype=bool)
    keep[np.searchsorted(weeks, rows["week"]), rows["customer"]] = True
    only = tuple(bundle.features["columns"])
    built = matrix(folded, weeks, keep, own, only=only, progress=progress)
    same_columns(bundle, built.X.columns)
    M = bundle.encoder.transform(built.X)
    place = {column.name: column for column in built.columns}
    return bundle.churn.predict(M), M, tuple(place[name] for name in bundle.encoder.columns_)


def known_labels(company: Company, folded: FoldedWeeks, weeks: Any, by: int) -> Any:
    """Give the labels of past weeks as they were known by a later one.

    Parameters
    ----------
    company
        What leaving means.
    folded
        Known by `by` or later.
    weeks
        Weeks of observation whose labels are final by then, shape (weeks,).
    by
        The later week: nothing that became known after it is used.

    Returns
    -------
    array of shape (weeks, customers)
        1 left, 0 stayed, nan as in `churn_labels`.
    """
    return churn_labels(folded.known_by(by), weeks, company.churn)[0]
