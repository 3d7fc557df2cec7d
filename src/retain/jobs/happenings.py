"""What happened to each customer in every channel, one row per event, for the review page.

Written by each weekly run beside its scores; usage is left to the weekly charts.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from retain.jobs.opening import Company

__all__ = ["WEEKS", "write_happenings"]

WEEKS = 52
"""How many weeks back from the scored one."""


def write_happenings(company: Company, as_of: date, path: Path) -> None:
    """Write the events of the last `WEEKS` weeks that were known by the evening of `as_of`.

    Parameters
    ----------
    company
        With its tables open.
    as_of
        Last day of the scored week.
    path
        The Parquet file: customer_id, at (day), kind (contact, survey, payment, contract, referral,
        treatment, departure), what, detail, amount (score or currency), ref (the row's own id);
        in the order of customer_id and at, the same bytes for the same tables.
    """
    parts = _parts(company)
    if not parts:
        parts = [_select("customers", "customer_id", "NULL", "''") + " WHERE false"]
    first = as_of - timedelta(weeks=WEEKS)
    # both days are ours, not the reader's: they can stand in the text
    target = str(path).replace("'", "''")
    company.tables.con.execute(
        f"COPY (SELECT customer_id, day AS at, kind, what, detail, amount, ref FROM ("
        f"{' UNION ALL '.join(parts)}) WHERE day > DATE '{first}' AND day <= DATE '{as_of}' "
        f"AND (known IS NULL OR known < TIMESTAMP '{as_of + timedelta(days=1)}') "
        f"ORDER BY ALL) TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20000)"
    )


def _select(
    table: str,
    who: str,
    at: str,
    what: str,
    *,
    kind: str = "",
    detail: str = "NULL",
    amount: str = "NULL",
    ref: str = "NULL",
    known: str = "NULL",
    where: str = "",
) -> str:
    return (
        f"SELECT CAST({who} AS VARCHAR) AS customer_id, CAST({at} AS DATE) AS day, "
        f"'{kind}' AS kind, CAST({what} AS VARCHAR) AS what, CAST({detail} AS VARCHAR) AS detail, "
        f"CAST({amount} AS DOUBLE) AS amount, CAST({ref} AS VARCHAR) AS ref, "
        f"CAST({known} AS TIMESTAMP) AS known FROM {table}" + (f" WHERE {where}" if where else "")
    )


def _parts(company: Company) -> list[str]:
    """Give one SELECT for each kind of event that the company's tables hold."""
    tables = company.tables

    def col(table: str, *names: str) -> str:
        """Name the first of these columns that is there."""
        return next((name for name in names if tables.has(table, name)), "NULL")

    parts = []
    if tables.has("interactions"):
        t = "interactions"
        words = [n for n in ("topic", "owner") if tables.has(t, n)]
        parts.append(
            _select(
                t,
                "customer_id",
                "opened_at",
                f"coalesce({col(t, 'channel')}, 'contact')",
                kind="contact",
                detail=f"concat_ws(', ', {', '.join(words)})" if words else "NULL",
                ref="interaction_id",
                known=col(t, "recorded_at"),
            )
        )
    if tables.has("surveys"):
        t = "surveys"
        at = f"coalesce({col(t, 'answered_at')}, {col(t, 'sent_at')})"
        parts.append(
            _select(
                t,
                "customer_id",
                at,
                "kind",
                kind="survey",
                detail=col(t, "comment"),
                amount="score",
                ref=col(t, "interaction_id"),
                known=col(t, "recorded_at"),
                where="score IS NOT NULL",
            )
        )
    if tables.has("payments"):
        t = "payments"
        status = f"coalesce({col(t, 'status')}, 'paid')"
        parts.append(
            _select(
                t,
                "customer_id",
                "paid_at",
                status,
                kind="payment",
                amount="amount",
                ref=col(t, "payment_id"),
                known=col(t, "recorded_at"),
            )
        )
    if tables.has("subscriptions"):
        t = "subscriptions"
        ref, known, plan = col(t, "subscription_id"), col(t, "recorded_at"), col(t, "plan")
        for at, what in (("started_at", "started"), ("cancelled_at", "cancelled")):
            if tables.has(t, at):
                parts.append(
                    _select(
                        t,
                        "customer_id",
                        at,
                        f"'{what}'",
                        kind="contract",
                        detail=plan,
                        amount="mrr",
                        ref=ref,
                        known=known,
                    )
                )
        reason = col(t, "end_reason")
        ended = f"CASE WHEN {reason} = 'replaced' THEN 'replaced' ELSE 'ended' END"
        parts.append(
            _select(
                t,
                "customer_id",
                "ended_at",
                "'ended'" if reason == "NULL" else ended,
                kind="contract",
                detail=plan,
                amount="mrr",
                ref=ref,
                known=known,
            )
        )
    if tables.has("referrals"):
        parts.append(
            _select(
                "referrals",
                "referrer_id",
                "referred_at",
                "'referred'",
                kind="referral",
                detail=col("referrals", "evidence"),
                ref=col("referrals", "referred_id"),
                known=col("referrals", "recorded_at"),
            )
        )
    if tables.has("treatments"):
        parts.append(
            _select(
                "treatments",
                "customer_id",
                '"at"',
                "action",
                kind="treatment",
                detail=col("treatments", "owner"),
                known=col("treatments", "recorded_at"),
            )
        )
    if tables.has("departures"):
        parts.append(
            _select(
                "departures",
                "customer_id",
                "left_at",
                "'left'",
                kind="departure",
                detail=col("departures", "reason"),
                known=col("departures", "recorded_at"),
            )
        )
    return parts
