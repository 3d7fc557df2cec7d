"""Tables of alerts, of the messages that carry them, and of how far sources have been read."""

from __future__ import annotations

import sqlalchemy as sa

from retain.actions.schema import METADATA, JsonText, day, moment, text_type

__all__ = ["alerts", "deliveries", "marks", "messages"]

alerts = sa.Table(
    "alerts",
    METADATA,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("rule", text_type(), nullable=False),
    sa.Column("customer_id", text_type()),
    sa.Column("owner", text_type()),
    sa.Column("happened_at", sa.String(19), nullable=False),  # in the company's zone
    moment("raised_at", nullable=False),
    sa.Column("sentence", text_type(), nullable=False),
    sa.Column("evidence", JsonText, nullable=False),
    sa.Column("worth", sa.Double, nullable=False),
    sa.Column("place", sa.Integer, nullable=False),  # within its message
    sa.Column("unsent_because", text_type()),  # null: it is sent
    sa.Column("message_key", sa.ForeignKey("alert_messages.key")),
)
sa.Index("alerts_by_customer", alerts.c.customer_id, alerts.c.rule, alerts.c.happened_at)
sa.Index("alerts_by_message", alerts.c.message_key)
sa.Index("alerts_by_moment", alerts.c.raised_at)

messages = sa.Table(
    "alert_messages",
    METADATA,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("owner", text_type(), nullable=False),  # empty: nobody is known to look after it
    day("day", nullable=False),  # whose cap it counts for, in the company's zone
    sa.Column("is_digest", sa.Boolean, nullable=False),
    sa.Column("is_closed", sa.Boolean, nullable=False),  # sending has begun: nothing may be added
    moment("due_at", nullable=False),
)
sa.Index("messages_by_owner", messages.c.owner, messages.c.day)

deliveries = sa.Table(
    "alert_deliveries",
    METADATA,
    sa.Column("message_key", sa.ForeignKey("alert_messages.key"), nullable=False),
    sa.Column("channel", text_type(), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),  # waiting, sending, sent, in_doubt
    sa.Column("attempts", sa.Integer, nullable=False),
    moment("next_at", nullable=False),
    # somebody was told and the answer is not known: the receiver may have it already
    sa.Column("may_be_there", sa.Boolean, nullable=False),
    moment("sent_at"),
    sa.Column("problem", text_type()),  # what the last attempt met
    sa.PrimaryKeyConstraint("message_key", "channel"),
)
sa.Index("deliveries_by_state", deliveries.c.state, deliveries.c.next_at)

# how far each source has been read between weekly runs
marks = sa.Table(
    "alert_marks",
    METADATA,
    sa.Column("name", text_type(), primary_key=True),
    sa.Column("fingerprint", text_type()),
    sa.Column("read_until", sa.String(26)),  # in the company's zone
    sa.Column("began_at", sa.String(26)),  # rows known before are of weekly runs
)
