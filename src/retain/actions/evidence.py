"""What the store knows about its own worth: draws with outcomes, lists with outcomes, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa

from retain.actions import schema
from retain.actions.drawing import draws_of, hindsight_weeks
from retain.actions.proof import (
    Effect,
    agreement,
    effect_of_acting,
    false_alarms,
    lead_times,
    misses,
    precision_by_week,
    who_was_right,
)
from retain.actions.store import Store
from retain.actions.uplift import RESPONSE_FEATURES, Response, learn_response

__all__ = ["Evidence", "draws", "evidence", "note_outcomes", "response", "verdicts_until"]


@dataclass(frozen=True)
class Evidence:
    """Everything that speaks for or against the list; see `retain.actions.proof`.

    Parameters
    ----------
    effect
        What acting changed, against the hold-out.
    weeks
        Precision of each week's list.
    alarms
        Shares of those listed who stayed.
    misses
        Who left although the score was low.
    leads
        How long before the end those who left were listed.
    right
        Model, health score, lead and final decision on the same customers.
    agreement
        Verdicts by signal.
    """

    effect: Effect
    weeks: pd.DataFrame
    alarms: dict[str, float]
    misses: pd.DataFrame
    leads: dict[str, Any]
    right: pd.DataFrame
    agreement: pd.DataFrame


def note_outcomes(store: Store, outcomes: Mapping[str, Iterable[tuple[Any, ...]]]) -> int:
    """Keep what became of the customers of past weeks, in place of what was known of those weeks.

    Parameters
    ----------
    store
        The action store.
    outcomes
        By as_of: customer_id, whether the customer left within the horizon and, where it is known,
        on which day (as text), of every eligible customer whose outcome is final.

    Returns
    -------
    int
        Rows kept.
    """
    n = 0
    table = schema.outcomes
    with store.writing("outcomes") as write:
        write.alone()
        for day, known in outcomes.items():
            rows = [
                {
                    **{"as_of": day, "customer_id": who, "has_left": bool(left)},
                    "left_on": on[0] if left and on else None,
                }
                for who, left, *on in known
            ]
            write.connection.execute(table.delete().where(table.c.as_of == day))
            if rows:
                write.connection.execute(table.insert(), rows)
            n += len(rows)
        write.log("noted outcomes", after={"weeks": sorted(outcomes), "customers": n})
    return n


def draws(store: Store, holdout_weeks: int) -> pd.DataFrame:
    """Give each random draw with what became of it; see `retain.actions.drawing`.

    Returns
    -------
    DataFrame
        customer_id, entered_week, is_holdout, has_left (nan while not known), and the scored row of
        that week as it stood.
    """
    found = draws_of(store, holdout_weeks)
    units = pd.DataFrame(
        [(one.customer_id, one.as_of, one.is_holdout) for one in found],
        columns=["customer_id", "entered_week", "is_holdout"],
    ).astype({"is_holdout": bool})
    known = _scored_and_known(store, sorted({one.as_of for one in found}))
    units = units.merge(
        known.rename(columns={"as_of": "entered_week"}),
        on=["customer_id", "entered_week"],
        how="left",
    )
    units["has_left"] = _share(units["has_left"])
    return units


def response(store: Store, as_of: str, holdout_weeks: int) -> Response:
    """Learn who responds to contact, for the eligible customers of a week; see `learn_response`."""
    past = _renewal(draws(store, holdout_weeks), "entered_week")
    now = _renewal(
        _frame(store, "SELECT * FROM scores WHERE as_of = :d AND eligible", d=as_of), "as_of"
    )
    return learn_response(past, now)


def evidence(
    store: Store,
    *,
    horizon_weeks: int,
    holdout_weeks: int | None = None,
    ripe_weeks: int | None = None,
) -> Evidence:
    """Put together what the store can say about the worth of acting on its lists.

    Parameters
    ----------
    store
        The action store.
    horizon_weeks
        Of leaving.
    holdout_weeks
        For which a draw holds; default: the horizon.
    ripe_weeks
        Weeks after which an outcome is final: gap, horizon and grace; default: the horizon.
    """
    units = draws(store, holdout_weeks or horizon_weeks)
    listed = _frame(
        store,
        "SELECT l.as_of, l.customer_id, l.status, o.has_left FROM listings l LEFT JOIN outcomes o "
        "ON o.as_of = l.as_of AND o.customer_id = l.customer_id "
        "WHERE l.status IN ('contact', 'holdout')",
    )
    # what was known already proves nothing of a list
    listed = listed[~listed["as_of"].isin(hindsight_weeks(store))].reset_index(drop=True)
    listed["has_left"] = _share(listed["has_left"])
    left = _left(store)
    judged = _frame(
        store,
        "SELECT j.customer_id, j.model_probability, j.health_score, j.lead_risk, j.final_risk, "
        "o.has_left FROM judgements j LEFT JOIN outcomes o ON o.as_of = j.as_of AND "
        "o.customer_id = j.customer_id",
    )
    judged["has_left"] = _share(judged["has_left"])
    seen = _frame(
        store,
        "SELECT s.as_of, s.customer_id, s.churn_probability, s.percentile, s.risk_band, s.mrr, "
        "s.value_at_risk, s.health_score, s.coverage, s.main_theme, s.main_sentence "
        "FROM scores s JOIN outcomes o ON o.as_of = s.as_of AND "
        "o.customer_id = s.customer_id WHERE o.has_left",
    )
    newest = _newest(store)
    ripe = ripe_weeks or horizon_weeks
    return Evidence(
        effect_of_acting(
            units,
            horizon_weeks=ripe,
            newest=newest,
            overdue=_overdue(listed, newest, ripe),
        ),
        precision_by_week(listed),
        false_alarms(listed),
        misses(seen, left),
        lead_times(
            listed.groupby("customer_id", as_index=False).agg(first_on=("as_of", "min")), left
        ),
        who_was_right(judged),
        agreement(_frame(store, "SELECT customer_id, signal, theme, verdict FROM verdicts")),
    )


def verdicts_until(store: Store, day: str) -> dict[str, Any]:
    """Say what people made of the reasons given in weeks up to a day, signal by signal.

    Parameters
    ----------
    store
        The action store.
    day
        The newest week that counts.

    Returns
    -------
    dict
        given, customers and people (counts), and signals: rows of `retain.actions.proof.agreement`.
    """
    said = _frame(
        store,
        "SELECT customer_id, signal, theme, verdict, person FROM verdicts WHERE as_of <= :day",
        day=day,
    )
    return {
        "given": len(said),
        "customers": int(said["customer_id"].nunique()),
        "people": int(said["person"].nunique()),
        "signals": agreement(said).to_dict("records"),
    }


def _left(store: Store) -> pd.DataFrame:
    """Give who left, with the day (nan: noted before days were)."""
    return _frame(
        store,
        "SELECT customer_id, max(left_on) AS left_on FROM outcomes WHERE has_left "
        "GROUP BY customer_id",
    )


def _newest(store: Store) -> str | None:
    """Give the newest week that was scored."""
    row = store.row("SELECT max(as_of) AS as_of FROM weeks")
    return None if row is None else row["as_of"]


def _overdue(listed: pd.DataFrame, newest: str | None, ripe_weeks: int) -> int:
    """Count the lists whose outcomes could be known by the newest week, and none is noted."""
    if newest is None or listed.empty:
        return 0
    ripe = str(date.fromisoformat(newest) - timedelta(weeks=ripe_weeks))
    known = listed[listed["as_of"] <= ripe].groupby("as_of")["has_left"].count()
    return int((known == 0).sum())


def _scored_and_known(store: Store, days: Sequence[str]) -> pd.DataFrame:
    """Give the scored rows of the lists of some weeks, with what became of each customer."""
    rows, names = list[tuple[Any, ...]](), list[str]()
    with store.reading() as connection:
        for day in days or ("",):
            result = connection.execute(
                sa.text(
                    "SELECT s.*, o.has_left FROM listings l JOIN scores s ON s.as_of = l.as_of "
                    "AND s.customer_id = l.customer_id LEFT JOIN outcomes o ON o.as_of = l.as_of "
                    "AND o.customer_id = l.customer_id WHERE l.as_of = :day "
                    "AND l.status IN ('contact', 'holdout')"
                ),
                {"day": day},
            )
            names = list(result.keys())
            rows += [tuple(row) for row in result]
    return pd.DataFrame(rows, columns=names)


def _share(has_left: pd.Series) -> pd.Series:
    """Turn what a database knows of leaving into 0, 1 and nan."""
    return pd.to_numeric(has_left.astype("object")).astype("float64")


def _renewal(frame: pd.DataFrame, day: str) -> pd.DataFrame:
    due = pd.to_datetime(frame["renews_at"]) - pd.to_datetime(frame[day])
    columns = ["customer_id", "value_at_risk", *RESPONSE_FEATURES]
    columns += [name for name in ("is_holdout", "has_left") if name in frame]
    return frame.assign(days_to_renewal=due.dt.days).reindex(columns=columns)


def _frame(store: Store, query: str, **parameters: Any) -> pd.DataFrame:
    with store.reading() as connection:
        result = connection.execute(sa.text(query), parameters)
        return pd.DataFrame([tuple(row) for row in result], columns=list(result.keys()))
