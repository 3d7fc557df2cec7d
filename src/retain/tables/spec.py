"""The ten tables a company may bring: their grain, their columns, and what each column must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["BEHAVIOUR", "MEASURED", "SCALES", "SPECS", "TABLES", "ColumnSpec", "Rule", "TableSpec"]

Kind = Literal["id", "text", "word", "instant", "number", "flag"]

SCALES = {"nps": (0.0, 10.0), "csat": (1.0, 5.0), "ces": (1.0, 7.0)}

PERIODS = {
    "weekly": ("week", "weeks", "1w", "7d"),
    "monthly": ("month", "months", "mo", "1m", "m", "per month", "month-to-month"),
    "quarterly": ("quarter", "3m", "3 months", "q"),
    "semiannual": ("semi-annual", "half-yearly", "biannual", "6m", "6 months", "half year"),
    "annual": (
        *("annually", "yearly", "year", "1y", "12m", "12 months", "y", "one year", "per year"),
    ),
    "biennial": ("2y", "24m", "24 months", "two year", "two years", "two-year"),
    "triennial": ("3y", "36m", "36 months", "three year", "three years", "three-year"),
}


@dataclass(frozen=True)
class ColumnSpec:
    """One column of ours: its kind, whether a row needs it, and its limits."""

    name: str
    kind: Kind
    meaning: str
    required: bool = False
    lowest: float | None = None
    happened: bool = False  # an instant that has taken place, so it cannot lie after the export
    words: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Rule:
    """What no row may say; `sql` is true for a row that says it."""

    reason: str
    needs: tuple[str, ...]
    sql: str
    todo: str


@dataclass(frozen=True)
class TableSpec:
    """One table: its grain, its columns, and the rules every row of it keeps."""

    name: str
    grain: str
    columns: tuple[ColumnSpec, ...]
    customer: str | None = "customer_id"
    time: str | None = None
    id_column: str | None = None
    behaviour: bool = False
    one_of: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()

    def column(self, name: str) -> ColumnSpec:
        """Find a column by name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """Every column name, in our order."""
        return tuple(column.name for column in self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that must be mapped."""
        return tuple(column.name for column in self.columns if column.required)


def _id(name: str, meaning: str, *, required: bool = False) -> ColumnSpec:
    return ColumnSpec(name, "id", meaning, required)


def _text(name: str, meaning: str, *, required: bool = False) -> ColumnSpec:
    return ColumnSpec(name, "text", meaning, required)


def _at(name: str, meaning: str, *, required: bool = False, happened: bool = True) -> ColumnSpec:
    return ColumnSpec(name, "instant", meaning, required, happened=happened)


def _number(
    name: str, meaning: str, *, required: bool = False, lowest: float | None = None
) -> ColumnSpec:
    return ColumnSpec(name, "number", meaning, required, lowest)


def _flag(name: str, meaning: str) -> ColumnSpec:
    return ColumnSpec(name, "flag", meaning)


def _word(
    name: str,
    meaning: str,
    words: tuple[str, ...],
    synonyms: dict[str, tuple[str, ...]] | None = None,
    *,
    required: bool = False,
) -> ColumnSpec:
    pairs = tuple((word, ours) for ours, told in (synonyms or {}).items() for word in told)
    return ColumnSpec(name, "word", meaning, required, words=words, synonyms=pairs)


def _before(later: str, earlier: str, reason: str) -> Rule:
    """Forbid `later` to precede `earlier`; a bare date counts for its whole day."""
    return Rule(
        reason,
        (later, earlier),
        f"{later} < {earlier} AND NOT ({later} = date_trunc('day', {later}) "
        f"AND CAST({later} AS DATE) = CAST({earlier} AS DATE))",
        f"Correct {later} or {earlier} in the source, or look for swapped columns and mixed zones.",
    )


_CUSTOMER = _id("customer_id", "who", required=True)
_RECORDED = _at("recorded_at", "when the row became known; invisible before")

TABLES: tuple[TableSpec, ...] = (
    TableSpec(
        "customers",
        "one row per customer (several, when valid_from or recorded_at is mapped)",
        (
            _CUSTOMER,
            _at("signed_up_at", "when the customer came; else first seen"),
            _text("segment", "segment as exported"),
            _text("plan", "plan as exported"),
            _text("region", "region as exported"),
            _text("industry", "industry as exported"),
            _number("seats", "seats as exported", lowest=0),
            _number("acquisition_cost", "what winning the customer cost", lowest=0),
            _text("owner", "who looks after the customer"),
            _flag("has_left", "an exported flag, compared with departures, never a feature"),
            _at("valid_from", "from when these attributes hold", happened=False),
            _RECORDED,
        ),
    ),
    TableSpec(
        "departures",
        "one row per customer who left",
        (
            _CUSTOMER,
            _at("left_at", "when the customer left", required=True),
            _text("reason", "why, as told"),
            _flag("is_voluntary", "whether the customer chose to leave"),
            _at("returned_at", "when the customer came back"),
            _RECORDED,
        ),
        time="left_at",
        rules=(_before("returned_at", "left_at", "returned before left"),),
    ),
    TableSpec(
        "subscriptions",
        "one row per contract span",
        (
            _id("subscription_id", "the span"),
            _CUSTOMER,
            _at("started_at", "first day with service", required=True, happened=False),
            _at("ended_at", "first day without service; null: running", happened=False),
            _number("mrr", "currency per month", required=True, lowest=0),
            _text("plan", "plan of this span"),
            _word("billing_period", "how often it is billed", tuple(PERIODS), PERIODS),
            _at("renews_at", "renewal date as exported, shown only", happened=False),
            _flag("is_trial", "whether the span is a free trial"),
            _at("cancelled_at", "when notice was given"),
            _word("end_reason", "how it ended", ("voluntary", "involuntary", "replaced")),
            _RECORDED,
        ),
        time="started_at",
        id_column="subscription_id",
        behaviour=True,
        rules=(_before("ended_at", "started_at", "ended before started"),),
    ),
    TableSpec(
        "payments",
        "one row per invoice or order",
        (
            _id("payment_id", "the payment"),
            _CUSTOMER,
            _at("paid_at", "when it was paid or ordered", required=True),
            _number("amount", "currency; negative is a return or refund", required=True),
            _word(
                "status",
                "what became of it",
                ("paid", "failed", "refunded", "pending"),
                {
                    "paid": ("success", "succeeded", "settled", "complete", "completed"),
                    "failed": ("failure", "declined", "unpaid"),
                    "refunded": ("refund",),
                    "pending": ("open", "due"),
                },
            ),
            _number("cost", "what it cost the company", lowest=0),
            _text("currency", "currency of the amount"),
            _RECORDED,
        ),
        time="paid_at",
        id_column="payment_id",
        behaviour=True,
    ),
    TableSpec(
        "usage",
        "one row per event, or per pre-summed slice of events",
        (
            _id("event_id", "the event"),
            _CUSTOMER,
            _at("occurred_at", "when it happened", required=True),
            _text("feature", "what was used"),
            _number("quantity", "how often or how much", lowest=0),
            _number("duration_s", "seconds", lowest=0),
            _id("user_id", "which of the customer's people"),
            _RECORDED,
        ),
        time="occurred_at",
        id_column="event_id",
        behaviour=True,
    ),
    TableSpec(
        "interactions",
        "one row per support case or contact",
        (
            _id("interaction_id", "the case", required=True),
            _CUSTOMER,
            _at("opened_at", "when the customer came", required=True),
            _at("first_response_at", "first human answer"),
            _at("resolved_at", "when it was solved; known from then"),
            _text("channel", "phone, mail, chat, ..."),
            _text("topic", "what it was about"),
            _id("case_id", "the case that several contacts belong to"),
            _id("follows_id", "the contact that this one follows"),
            _number("reopen_count", "times reopened", lowest=0),
            _number("transfer_count", "times handed on", lowest=0),
            _number("handle_minutes", "minutes of work", lowest=0),
            _at("closed_at", "when it was closed; known from then"),
            _flag("sla_met", "whether the promised time was kept"),
            _text("owner", "who handled it"),
            _RECORDED,
        ),
        time="opened_at",
        id_column="interaction_id",
        behaviour=True,
        rules=(
            _before("resolved_at", "opened_at", "resolved before opened"),
            _before("closed_at", "opened_at", "closed before opened"),
            _before("first_response_at", "opened_at", "first response before opened"),
        ),
    ),
    TableSpec(
        "surveys",
        "one row per question sent to a customer",
        (
            _CUSTOMER,
            _word(
                "kind",
                "which question",
                ("nps", "csat", "ces"),
                {
                    "nps": ("net promoter score", "net promoter"),
                    "csat": ("satisfaction", "customer satisfaction"),
                    "ces": ("effort", "customer effort", "customer effort score"),
                },
                required=True,
            ),
            _number("score", "the answer; null: not answered", required=True),
            _at("sent_at", "when it was asked"),
            _at("answered_at", "when it was answered; known from then"),
            _text("scale", "scale of this answer, as in 1-5"),
            _text("comment", "free text"),
            _id("interaction_id", "the case it is about"),
            _RECORDED,
        ),
        time="answered_at",
        one_of=("sent_at", "answered_at"),
    ),
    TableSpec(
        "referrals",
        "one row per referral",
        (
            _id("referrer_id", "the customer who referred", required=True),
            _at("referred_at", "when", required=True),
            _id("referred_id", "who came"),
            _text("evidence", "how it is known"),
            _number("value", "what it brought", lowest=0),
            _RECORDED,
        ),
        customer="referrer_id",
        time="referred_at",
        rules=(
            Rule(
                "refers to itself",
                ("referrer_id", "referred_id"),
                "referrer_id = referred_id",
                "A customer cannot bring itself; correct referrer_id or referred_id.",
            ),
        ),
    ),
    TableSpec(
        "costs",
        "one row per cost line",
        (
            _text("period", "the month, quarter or year, as in 2026-10, 2026-Q3, 2026"),
            _at("date", "the day; else the first day of the period", happened=False),
            _text("kind", "acquisition, retention, support, ...", required=True),
            _number("amount", "currency", required=True),
            _id("customer_id", "for whom, when it is for one"),
            _flag("already_in_cogs", "whether the gross margin already holds it"),
            _RECORDED,
        ),
        customer=None,
        time="date",
        one_of=("date", "period"),
    ),
    TableSpec(
        "treatments",
        "one row per action taken towards a customer",
        (
            _CUSTOMER,
            _at("at", "when", required=True),
            _text("action", "what was done", required=True),
            _text("owner", "by whom"),
            _flag("is_holdout", "whether the customer was left alone on purpose"),
            _text("outcome", "what came of it"),
            _RECORDED,
        ),
        time="at",
    ),
)

SPECS: dict[str, TableSpec] = {spec.name: spec for spec in TABLES}
BEHAVIOUR: tuple[str, ...] = tuple(spec.name for spec in TABLES if spec.behaviour)
MEASURED: tuple[str, ...] = ("payments", "usage", "interactions")  # whose further numbers we fold
