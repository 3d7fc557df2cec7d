"""What the store knows about its own worth: draws with outcomes, lists with outcomes, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa

from retain.actions import schema
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


def note_outcomes(store: Store, outcomes: Mapping[str, Iterable[tuple[str, bool]]]) -> int:
    """Keep what became of the customers of past weeks, in place of what was known of those weeks.

    Parameters
    ----------
    store
        The action store.
    outcomes
        By as_of: customer_id and whether the customer left within the horizon, of every eligible
        customer whose outcome is final.

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
                {"as_of": day, "customer_id": who, "has_left": bool(left), "left_on": None}
                for who, left in known
            ]
            write.connection.execute(table.delete().where(table.c.as_of == day))
            if rows:
                write.connection.execute(table.insert(), rows)
            n += len(rows)
        write.log("noted outcomes", after={"weeks": sorted(outcomes), "customers": n})
    return n


def draws(store: Store, holdout_weeks: int) -> pd.DataFrame:
    """Give each random draw with what became of it.

    A draw is a customer's first item for `holdout_weeks`; items within that time go with it.

    Returns
    -------
    DataFrame
        customer_id, entered_week, is_holdout, has_left (nan while not known), and the scored row of
        that week as it stood.
    """
    found = _frame(
        store,
        "SELECT i.customer_id, i.entered_week, i.is_holdout, o.has_left, s.* FROM items i "
        "LEFT JOIN scores s ON s.customer_id = i.customer_id AND s.as_of = i.entered_week "
        "LEFT JOIN outcomes o ON o.customer_id = i.customer_id AND o.as_of = i.entered_week "
        "ORDER BY i.entered_week, i.id",
    )
    found = found.loc[:, ~found.columns.duplicated()]
    kept, until = [], dict[str, str]()
    for at, (who, day) in enumerate(zip(found["customer_id"], found["entered_week"], strict=True)):
        if day >= until.get(who, ""):
            kept.append(at)
            until[who] = str(date.fromisoformat(day) + timedelta(weeks=holdout_weeks))
    units = found.iloc[kept].reset_index(drop=True)
    units["is_holdout"] = units["is_holdout"].astype(bool)
    units["has_left"] = pd.to_numeric(units["has_left"].astype("object")).astype("float64")
    return units


def response(store: Store, as_of: str, holdout_weeks: int) -> Response:
    """Learn who responds to contact, for the eligible customers of a week; see `learn_response`."""
    past = _renewal(draws(store, holdout_weeks), "entered_week")
    now = _renewal(
        _frame(store, "SELECT * FROM scores WHERE as_of = :d AND eligible", d=as_of), "as_of"
    )
    return learn_response(past, now)


def evidence(store: Store, *, horizon_weeks: int, holdout_weeks: int | None = None) -> Evidence:
    """Put together what the store can say about the worth of acting on its lists.

    Parameters
    ----------
    store
        The action store.
    horizon_weeks
        Of leaving.
    holdout_weeks
        For which a draw holds; default: the horizon.
    """
    units = draws(store, holdout_weeks or horizon_weeks)
    listed = _frame(
        store,
        "SELECT l.as_of, l.customer_id, l.status, o.has_left FROM listings l LEFT JOIN outcomes o "
        "ON o.as_of = l.as_of AND o.customer_id = l.customer_id "
        "WHERE l.status IN ('contact', 'holdout')",
    )
    listed["has_left"] = pd.to_numeric(listed["has_left"].astype("object")).astype("float64")
    left = _left(store, horizon_weeks)
    judged = _frame(
        store,
        "SELECT j.customer_id, j.model_probability, j.health_score, j.lead_risk, j.final_risk, "
        "o.has_left FROM judgements j LEFT JOIN outcomes o ON o.as_of = j.as_of AND "
        "o.customer_id = j.customer_id",
    )
    judged["has_left"] = pd.to_numeric(judged["has_left"].astype("object")).astype("float64")
    seen = _frame(
        store,
        "SELECT s.as_of, s.customer_id, s.churn_probability, s.percentile, s.risk_band, s.mrr, "
        "s.value_at_risk, s.health_score, s.coverage, s.main_theme, s.main_sentence "
        "FROM scores s JOIN outcomes o ON o.as_of = s.as_of AND "
        "o.customer_id = s.customer_id WHERE o.has_left",
    )
    return Evidence(
        effect_of_acting(units, horizon_weeks=horizon_weeks),
        precision_by_week(listed),
        false_alarms(listed),
        misses(seen, left),
        lead_times(
            _frame(
                store,
                "SELECT customer_id, min(as_of) AS first_on FROM listings WHERE status IN "
                "('contact', 'holdout') GROUP BY customer_id",
            ),
            left,
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


def _left(store: Store, horizon_weeks: int) -> pd.DataFrame:
    """Give who left, with the first week whose scores no longer counted them as a customer."""
    found = _frame(
        store,
        "SELECT o.customer_id, max(o.as_of) AS last_on, (SELECT min(s.as_of) FROM scores s WHERE "
        "s.customer_id = o.customer_id AND s.as_of > max(o.as_of) AND NOT s.eligible) AS left_on "
        "FROM outcomes o WHERE o.has_left GROUP BY o.customer_id",
    )
    by = pd.to_datetime(found["last_on"]) + pd.Timedelta(weeks=horizon_weeks)
    found["left_on"] = found["left_on"].fillna(by.dt.strftime("%Y-%m-%d"))
    return found[["customer_id", "left_on"]]


def _renewal(frame: pd.DataFrame, day: str) -> pd.DataFrame:
    due = pd.to_datetime(frame["renews_at"]) - pd.to_datetime(frame[day])
    columns = ["customer_id", "value_at_risk", *RESPONSE_FEATURES]
    columns += [name for name in ("is_holdout", "has_left") if name in frame]
    return frame.assign(days_to_renewal=due.dt.days).reindex(columns=columns)


def _frame(store: Store, query: str, **parameters: Any) -> pd.DataFrame:
    with store.reading() as connection:
        result = connection.execute(sa.text(query), parameters)
        return pd.DataFrame([tuple(row) for row in result], columns=list(result.keys()))
