"""The tables of the action store, for SQLite and PostgreSQL alike.

Days and moments are ISO text and structured values are JSON text, so that a row reads the same from
either database; text compares byte by byte in both. Rooms inside `actions` may declare further
tables on `METADATA` (see `store.TABLE_MODULES`).
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

__all__ = [
    "JUDGEMENTS",
    "METADATA",
    "VERDICTS",
    "JsonText",
    "day",
    "drivers",
    "events",
    "items",
    "judgements",
    "listings",
    "moment",
    "number_key",
    "outcomes",
    "schema_version",
    "scores",
    "text_type",
    "treatments",
    "verdicts",
    "versioned",
    "weeks",
]

METADATA = MetaData()
VERDICTS = ("right", "wrong", "not_useful", "already_known")
JUDGEMENTS = ("low", "watch", "high")  # risk as a person states it


def text_type() -> TypeEngine[str]:
    """Text that sorts byte by byte on both databases."""
    return Text().with_variant(Text(collation="C"), "postgresql")


class JsonText(TypeDecorator[Any]):
    """A structured value kept as JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """Write compact JSON with sorted keys."""
        if value is None:
            return None
        return json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str
        )

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """Read it back."""
        return None if value is None else json.loads(value)


def number_key() -> Column[Any]:
    """Give a numbered `id`; SQLite numbers rows only when the type is exactly INTEGER."""
    return Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)


def versioned() -> tuple[Column[Any], ...]:
    """Give what optimistic locking needs: counts up at each write; by whom and when last."""
    return (
        Column("version", Integer, nullable=False),
        Column("written_by", text_type(), nullable=False),
        Column("written_at", String(27), nullable=False),
    )


def day(name: str, **more: Any) -> Column[Any]:
    """YYYY-MM-DD."""
    return Column(name, String(10), **more)


def moment(name: str, **more: Any) -> Column[Any]:
    """YYYY-MM-DDTHH:MM:SS.ffffffZ, in UTC."""
    return Column(name, String(27), **more)


schema_version = Table("schema_version", METADATA, Column("number", Integer, nullable=False))

# one row per imported week
weeks = Table(
    "weeks",
    METADATA,
    day("as_of", primary_key=True),
    moment("imported_at", nullable=False),
    Column("manifest_hash", String(64), nullable=False),
    Column("manifest", JsonText, nullable=False),
    Column("model_version", text_type(), nullable=False),
    Column("config_version", text_type(), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("customers", Integer, nullable=False),
    Column("eligible", Integer, nullable=False),
    Column("queue", JsonText),  # how the week's queue was made; null: not made yet
)

# one row per customer-week: as the week was scored, never edited
scores = Table(
    "scores",
    METADATA,
    day("as_of"),
    Column("customer_id", text_type(), nullable=False),
    Column("name", text_type()),
    Column("owner", text_type()),
    Column("segment", text_type()),
    Column("plan", text_type()),
    Column("searched", text_type(), nullable=False),  # id and name, case-folded
    Column("eligible", Boolean, nullable=False),
    Column("not_eligible_because", text_type()),
    Column("churn_probability", Double),
    Column("churn_low", Double),
    Column("churn_high", Double),
    Column("percentile", Double),
    Column("risk_band", text_type()),
    Column("previous_probability", Double),
    Column("change", Double),
    Column("change_behaviour", Double),
    Column("change_data", Double),
    Column("change_model", Double),
    Column("clv", Double),
    Column("clv_low", Double),
    Column("clv_high", Double),
    Column("mrr", Double),
    day("renews_at"),
    Column("value_at_risk", Double),
    Column("theme_usage", Double),
    Column("theme_effort", Double),
    Column("theme_survey", Double),
    Column("theme_commercial", Double),
    Column("theme_profile", Double),
    Column("coverage", Double),
    Column("freshness_days", Double),
    Column("health_score", Double),
    Column("main_theme", text_type()),  # of the strongest signal that raises the risk
    Column("main_signal", text_type()),
    Column("main_sentence", text_type()),
    Column("uplift", Double),  # fall of the probability of leaving when contacted; null: not known
    Column("model_version", text_type(), nullable=False),
    Column("config_version", text_type(), nullable=False),
    PrimaryKeyConstraint("as_of", "customer_id"),
    sqlite_with_rowid=False,  # kept once, in the order of its key
)
Index("scores_by_customer", scores.c.customer_id, scores.c.as_of)
Index("scores_by_value", scores.c.as_of, scores.c.value_at_risk)
Index("scores_by_owner", scores.c.as_of, scores.c.owner, scores.c.value_at_risk)

# `place` counts a customer's drivers of one target by size; `rank` counts the raising and the
# lowering ones apart, as on the page
drivers = Table(
    "drivers",
    METADATA,
    day("as_of"),
    Column("customer_id", text_type(), nullable=False),
    Column("target", String(5), nullable=False),
    Column("place", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("theme", text_type()),
    Column("signal", text_type(), nullable=False),
    Column("feature", text_type()),
    Column("value", text_type()),
    Column("earlier_value", text_type()),
    Column("peer_value", text_type()),
    Column("contribution", Double, nullable=False),
    Column("contribution_before", Double),
    Column("actionable", Boolean),
    Column("stability", Double),
    Column("sentence", text_type(), nullable=False),
    PrimaryKeyConstraint("as_of", "customer_id", "target", "place"),
    sqlite_with_rowid=False,
)

# the queue: at most one open item per customer
items = Table(
    "items",
    METADATA,
    number_key(),
    Column("customer_id", text_type(), nullable=False),
    Column("owner", text_type()),
    Column("state", String(12), nullable=False),  # open, done, dropped
    Column("is_holdout", Boolean, nullable=False),
    day("entered_week", nullable=False),
    day("seen_week", nullable=False),  # the newest week that listed it
    Column("reason", text_type(), nullable=False),
    Column("theme", text_type()),
    Column("signal", text_type()),
    Column("play", text_type()),
    day("due_on"),
    day("closed_on"),
    Column("closed_because", text_type()),
    Column("entered_probability", Double),
    Column("entered_value_at_risk", Double),
    Column("score_version", text_type(), nullable=False),
    *versioned(),
)
Index(
    "one_open_item",
    items.c.customer_id,
    unique=True,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)
Index("items_by_owner", items.c.state, items.c.owner)

# what each week's queue said: who was on it, held out, or next in line, and why
listings = Table(
    "listings",
    METADATA,
    day("as_of"),
    Column("customer_id", text_type(), nullable=False),
    Column("status", String(12), nullable=False),  # contact, holdout, next, cooling, leave
    Column("place", Integer, nullable=False),
    Column("owner", text_type()),
    Column("worth", Double),  # what acting is expected to be worth, in currency; null: by risk
    Column("why_code", text_type(), nullable=False),
    Column("why", text_type(), nullable=False),
    Column("why_figures", JsonText),
    Column("item_id", ForeignKey("items.id", ondelete="SET NULL")),
    PrimaryKeyConstraint("as_of", "customer_id"),
)
Index("listings_by_customer", listings.c.customer_id)

# every action taken towards a customer
treatments = Table(
    "treatments",
    METADATA,
    number_key(),
    Column("customer_id", text_type(), nullable=False),
    Column("item_id", ForeignKey("items.id", ondelete="SET NULL")),
    moment("at", nullable=False),
    Column("done_by", text_type(), nullable=False),
    Column("action", text_type(), nullable=False),
    Column("channel", text_type()),
    Column("comment", text_type()),
    Column("was_holdout", Boolean, nullable=False),  # the customer was to be left alone
    *versioned(),
)
Index("treatments_by_customer", treatments.c.customer_id, treatments.c.at)

# what a person says about one driver of one scored week
verdicts = Table(
    "verdicts",
    METADATA,
    number_key(),
    Column("customer_id", text_type(), nullable=False),
    day("as_of", nullable=False),
    Column("target", String(5), nullable=False),
    Column("signal", text_type(), nullable=False),
    Column("person", text_type(), nullable=False),
    Column("verdict", String(13), nullable=False),
    Column("comment", text_type()),
    Column("theme", text_type()),
    Column("sentence", text_type()),
    Column("contribution", Double),
    Column("model_version", text_type(), nullable=False),
    *versioned(),
    UniqueConstraint("customer_id", "as_of", "target", "signal", "person"),
)

# three opinions on one customer, kept apart and never averaged
judgements = Table(
    "judgements",
    METADATA,
    number_key(),
    Column("customer_id", text_type(), nullable=False),
    day("as_of", nullable=False),  # the scored week that the person was looking at
    Column("model_probability", Double),
    Column("model_band", text_type()),
    Column("model_version", text_type()),
    Column("health_score", Double),
    Column("lead_risk", String(5)),
    Column("lead_by", text_type()),
    moment("lead_at"),
    Column("final_risk", String(5)),
    Column("final_by", text_type()),
    moment("final_at"),
    Column("reason_code", text_type()),
    Column("comment", text_type()),
    Column("action_taken", text_type()),
    day("action_on"),
    Column("outcome", text_type()),
    day("outcome_on"),
    *versioned(),
    UniqueConstraint("customer_id", "as_of"),
)

# what became of a scored customer, once it can be known
outcomes = Table(
    "outcomes",
    METADATA,
    day("as_of"),
    Column("customer_id", text_type(), nullable=False),
    Column("has_left", Boolean, nullable=False),
    day("left_on"),
    Column("margin", Double),  # earned within the horizon, in currency; null: not known
    PrimaryKeyConstraint("as_of", "customer_id"),
)
Index("outcomes_by_customer", outcomes.c.customer_id)
Index("outcomes_by_week", outcomes.c.as_of, outcomes.c.has_left)
Index(
    "outcomes_of_leavers",
    outcomes.c.customer_id,
    outcomes.c.as_of,
    sqlite_where=text("has_left"),
    postgresql_where=text("has_left"),
)

# the audit trail: appended to, never edited, but for what `forget` erases
events = Table(
    "events",
    METADATA,
    number_key(),
    moment("at", nullable=False),
    Column("actor", text_type(), nullable=False),
    Column("what", text_type(), nullable=False),
    Column("customer_id", text_type()),
    Column("key", JsonText),
    Column("before", JsonText),
    Column("after", JsonText),
)
Index("events_by_customer", events.c.customer_id, events.c.id)
