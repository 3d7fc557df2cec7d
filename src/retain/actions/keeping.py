"""The week's queue in the store: made from what earlier weeks left, kept as items and listings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa

from retain.actions import schema
from retain.actions.drawing import draws_of
from retain.actions.queue import QueueRules, Standing, decide_queue, say_queue
from retain.actions.store import Store, Writing
from retain.errors import StoreError

__all__ = ["keep_queue"]

QUEUE = "queue"  # who writes
AT_ONCE = 10_000  # customers named in one query


def keep_queue(
    store: Store,
    as_of: date | str,
    rules: QueueRules,
    *,
    uplift: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Make the queue of the newest week and keep it; making it again gives the same.

    Parameters
    ----------
    store
        Which has the week (see `import_week`).
    as_of
        The week.
    rules
        How the queue is made.
    uplift
        Expected fall of the probability of leaving when contacted, by customer_id; when given it
        decides the order.

    Returns
    -------
    DataFrame
        As `make_queue` gives it.

    Raises
    ------
    StoreError
        When the week is not in the store, or is not the newest: what has been acted on since
        cannot be listed as if it had not.
    """
    day = str(as_of)
    with store.writing(QUEUE) as write:
        write.alone()
        newest = write.rows("SELECT max(as_of) AS as_of FROM weeks")[0]["as_of"]
        if newest != day:
            raise StoreError(
                f"queue: {day} is not the newest week in the store, which is {newest}. A queue is "
                "made for the newest week only."
            )
        if uplift is not None:
            _note_uplift(write, day, uplift)
        scores = _frame(write, sa.select(schema.scores).where(schema.scores.c.as_of == day))
        items = _items_before(write, day)
        on = date.fromisoformat(day)
        decided = decide_queue(scores, on, rules, _standing(write, items, day, rules))
        made = say_queue(decided, _reasons(write, day, decided), on, rules)
        _keep(write, day, made, scores, items, rules)
        summary = {
            **{str(k): int(v) for k, v in made["status"].value_counts().items()},
            "capacity": rules.capacity_per_week,
            "ordered_by": "uplift" if scores["uplift"].notna().any() else "value at risk",
        }
        write.connection.execute(
            schema.weeks.update().where(schema.weeks.c.as_of == day).values(queue=summary)
        )
        write.log("made the queue", key={"as_of": day}, after=summary)
    return made


def _frame(write: Writing, statement: Any) -> pd.DataFrame:
    result = write.connection.execute(statement)
    names = list(result.keys())
    return pd.DataFrame([tuple(row) for row in result], columns=names)


def _reasons(write: Writing, day: str, decided: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Give what raises the risk of those decided upon; of a large company they are few."""
    table, who = schema.drivers, [row["customer_id"] for row in decided]
    told = sa.select(table).where(
        table.c.as_of == day, table.c.target == "churn", table.c.contribution > 0
    )
    parts = [
        _frame(write, told.where(table.c.customer_id.in_(who[at : at + AT_ONCE])))
        for at in range(0, max(len(who), 1), AT_ONCE)
    ]
    return pd.concat(parts, ignore_index=True)


def _note_uplift(write: Writing, day: str, uplift: Mapping[str, float]) -> None:
    scores = schema.scores
    write.connection.execute(
        scores.update()
        .where(scores.c.as_of == day, scores.c.customer_id == sa.bindparam("who"))
        .values(uplift=sa.bindparam("fall")),
        [{"who": who, "fall": float(fall)} for who, fall in uplift.items()] or [{}],
    )


def _items_before(write: Writing, day: str) -> list[dict[str, Any]]:
    """Give every item, newest first, as the week before left them."""
    items = write.rows(schema.items.select().order_by(schema.items.c.id.desc()))
    for item in items:
        # dropped by this very week's queue: a rerun decides again
        again = item["state"] == "dropped" and item["closed_on"] == day
        item["was_open"] = item["state"] == "open" or again
    return items


def _standing(write: Writing, items: list[dict[str, Any]], day: str, rules: QueueRules) -> Standing:
    since = str(date.fromisoformat(day) - timedelta(weeks=rules.holdout_weeks))
    drawn = {
        one.customer_id: one.is_holdout
        for one in draws_of(write, rules.holdout_weeks, before=day)
        if one.as_of > since
    }
    contacts = write.rows(
        "SELECT customer_id, max(at) AS at FROM treatments WHERE at < :after GROUP BY customer_id",
        after=str(date.fromisoformat(day) + timedelta(days=365)),
    )
    return Standing(
        frozenset(
            item["customer_id"]
            for item in items
            if item["was_open"] and item["entered_week"] < day and not item["is_holdout"]
        ),
        drawn,
        {row["customer_id"]: datetime.fromisoformat(row["at"]).date() for row in contacts},
    )


def _keep(
    write: Writing,
    day: str,
    made: pd.DataFrame,
    scores: pd.DataFrame,
    items: list[dict[str, Any]],
    rules: QueueRules,
) -> None:
    score = scores.set_index("customer_id")
    existing: dict[str, dict[str, Any]] = {}
    for item in items:
        if item["was_open"]:
            existing.setdefault(item["customer_id"], item)
    listings = []
    wanted = {}
    for row in made.to_dict("records"):
        who = row["customer_id"]
        listed = row["status"] in ("contact", "holdout")
        item_id = None
        if listed:
            wanted[who] = True
            held = existing.get(who)
            if held is not None and held["is_holdout"] == (row["status"] == "holdout"):
                item_id = held["id"]
                _see(write, held, day)
            else:
                if held is not None:
                    _close(write, held, day, "dropped", "drawn again")
                item_id = _enter(write, day, row, score.loc[who])
        listings.append(
            {
                "as_of": day,
                "item_id": item_id,
                **{
                    name: _plain(row[name])
                    for name in (
                        *("customer_id", "status", "place", "owner", "worth"),
                        *("why_code", "why", "why_figures"),
                    )
                },
            }
        )
    over = str(date.fromisoformat(day) - timedelta(weeks=rules.holdout_weeks))
    for who, item in existing.items():
        if who in wanted:
            continue
        if item["is_holdout"]:  # stays left alone until the draw has run out
            if item["entered_week"] <= over:
                _close(write, item, day, "done", "the weeks of the hold-out are over")
            elif item["entered_week"] == day:  # by a list that is being made again
                _close(write, item, day, "dropped", "not on the list that was made again")
        else:
            _close(write, item, day, "dropped", _why_dropped(score, who, made))
    write.connection.execute(schema.listings.delete().where(schema.listings.c.as_of == day))
    if listings:
        write.connection.execute(schema.listings.insert(), listings)


def _enter(write: Writing, day: str, row: Mapping[Any, Any], score: Any) -> int:
    item = write.add(
        "items",
        {
            "customer_id": row["customer_id"],
            "owner": _plain(row["play_owner"]),
            "state": "open",
            "is_holdout": row["status"] == "holdout",
            "entered_week": day,
            "seen_week": day,
            "reason": _plain(row["sentence"]) or row["why"],
            **{name: _plain(row[name]) for name in ("theme", "signal", "play", "due_on")},
            "entered_probability": _plain(score["churn_probability"]),
            "entered_value_at_risk": _plain(score["value_at_risk"]),
            "score_version": score["model_version"],
        },
    )
    return int(item["id"])


def _see(write: Writing, item: Mapping[str, Any], day: str) -> None:
    changes = {"seen_week": day, "state": "open", "closed_on": None, "closed_because": None}
    if any(item[name] != value for name, value in changes.items()):
        write.save("items", {"id": item["id"]}, changes, version=item["version"])


def _close(write: Writing, item: Mapping[str, Any], day: str, state: str, why: str) -> None:
    changes = {"state": state, "closed_on": day, "closed_because": why}
    if any(item[name] != value for name, value in changes.items()):
        write.save("items", {"id": item["id"]}, changes, version=item["version"])


def _why_dropped(score: pd.DataFrame, who: str, made: pd.DataFrame) -> str:
    if who not in score.index:
        return "not in the week's scores"
    if not score.loc[who, "eligible"]:
        return str(score.loc[who, "not_eligible_because"])
    said = made.loc[made["customer_id"] == who, "why"]
    return str(said.iloc[0]) if len(said) else "others are worth more"


def _plain(value: Any) -> Any:
    return None if not isinstance(value, dict) and value != value else value
