"""What our tables' columns are called and which types they have, written as SQL."""

from __future__ import annotations

from collections.abc import Mapping

from retain.errors import TableError, some

__all__ = ["MONEY", "TEXT", "TYPES", "check_columns", "quoted", "refuse_zones", "typed"]

TEXT, INSTANT, NUMBER, FLAG, MONEY = "VARCHAR", "TIMESTAMP", "DOUBLE", "BOOLEAN", "DECIMAL(18, 6)"

# table: the columns that it must have; a column that may be missing is read as nulls
REQUIRED = {
    "customers": ("customer_id",),
    "departures": ("customer_id", "left_at"),
    "subscriptions": ("customer_id", "started_at", "ended_at", "mrr"),
    "payments": ("customer_id", "paid_at", "amount"),
    "usage": ("customer_id", "occurred_at"),
    "interactions": ("customer_id", "interaction_id", "opened_at"),
    "surveys": ("customer_id", "kind", "score"),
    "referrals": ("referrer_id", "referred_at"),
    "costs": ("kind", "amount"),
    "treatments": ("customer_id", "at", "action"),
}
TYPES = {
    "customers": {
        TEXT: "customer_id segment plan region industry owner",
        INSTANT: "signed_up_at",
        NUMBER: "seats",
        MONEY: "acquisition_cost",
    },
    "departures": {
        TEXT: "customer_id reason",
        INSTANT: "left_at returned_at recorded_at",
        FLAG: "is_voluntary",
    },
    "subscriptions": {
        TEXT: "customer_id subscription_id plan billing_period end_reason",
        INSTANT: "started_at ended_at renews_at cancelled_at recorded_at",
        MONEY: "mrr",
        FLAG: "is_trial",
    },
    "payments": {
        TEXT: "customer_id payment_id status currency",
        INSTANT: "paid_at recorded_at",
        MONEY: "amount cost",
    },
    "usage": {
        TEXT: "customer_id event_id feature user_id",
        INSTANT: "occurred_at recorded_at",
        NUMBER: "quantity duration_s",
    },
    "interactions": {
        TEXT: "customer_id interaction_id channel topic case_id follows_id owner",
        INSTANT: "opened_at first_response_at resolved_at closed_at recorded_at",
        NUMBER: "reopen_count transfer_count handle_minutes",
        FLAG: "sla_met",
    },
    "surveys": {
        TEXT: "customer_id kind comment interaction_id scale",
        INSTANT: "sent_at answered_at recorded_at",
        NUMBER: "score",
    },
    "referrals": {
        TEXT: "referrer_id referred_id evidence",
        INSTANT: "referred_at recorded_at",
        MONEY: "value",
    },
    "costs": {
        TEXT: "customer_id kind period",
        INSTANT: "date recorded_at",
        MONEY: "amount",
        FLAG: "already_in_cogs",
    },
    "treatments": {
        TEXT: "customer_id action owner outcome",
        INSTANT: "at recorded_at",
        FLAG: "is_holdout",
    },
}


def quoted(name: str) -> str:
    """Write a name of a column for SQL."""
    return '"' + name.replace('"', '""') + '"'


def check_columns(table: str, wanted: tuple[str, ...], found: Mapping[str, str]) -> None:
    """Insist on columns.

    Raises
    ------
    TableError
        When one is missing.
    """
    missing = [name for name in wanted if name not in found]
    if missing:
        raise TableError(
            f"{table}: column {some(missing)} is missing; found {some(found, 20)}. Rename or map "
            "the column that holds it"
        )


def refuse_zones(table: str, zoned: list[str]) -> None:
    """Refuse instants with a time zone.

    Raises
    ------
    TableError
        When there are any.
    """
    if zoned:
        raise TableError(
            f"{table}: {some(zoned)} carries a time zone; instants should be local and naive. "
            "Convert them to the company's zone and drop the zone"
        )


def typed(table: str, place: str, found: dict[str, str]) -> str:
    """Write the SELECT that gives a source our types, and nulls for what it lacks.

    Examples
    --------
    >>> typed("ours", "some_file", {"a": "VARCHAR"})  # not one of our tables: as it is
    'FROM some_file'
    """
    if table not in REQUIRED:
        return f"FROM {place}"  # not one of ours: as it is
    check_columns(table, REQUIRED[table], found)
    types = {name: kind for kind, names in TYPES[table].items() for name in names.split()}
    zoned = [name for name in types if found.get(name) == "TIMESTAMP WITH TIME ZONE"]
    refuse_zones(table, zoned)
    lines = [_cast(name, kind, found.get(name)) for name, kind in types.items()]
    lines += [quoted(name) for name in found if name not in types]
    return f"SELECT {', '.join(lines)} FROM {place}"


def _cast(name: str, kind: str, found: str | None) -> str:
    column = quoted(name)
    if found == kind and kind != NUMBER:
        return column
    if found is None:
        value = f"CAST(NULL AS {kind})"
    elif kind == TEXT and found in ("DOUBLE", "FLOAT"):
        value = f"CAST(CAST({column} AS BIGINT) AS {TEXT})"  # an id is "13085", never "13085.0"
    elif kind == NUMBER:
        value = f"nullif(CAST({column} AS DOUBLE), CAST('nan' AS DOUBLE))"
    else:
        value = f"CAST({column} AS {kind})"
    return f"{value} AS {column}"
