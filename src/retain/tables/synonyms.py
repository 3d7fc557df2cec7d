"""What companies call the tables and columns that we know: the words behind a mapping proposal."""

from __future__ import annotations

import re

__all__ = ["COLUMNS", "CUSTOMER", "FILES", "RECORDED", "SCORES", "WORDS", "plain"]

CUSTOMER = (
    *("customer_id", "account_id", "acct_id", "acct_no", "account_no", "account_number"),
    *("customer_no", "customer_number", "client_id", "client_no", "cust_id", "customerid"),
    *("company_id", "organization_id", "organisation_id", "org_id", "tenant_id", "workspace_id"),
    *("subscriber_id", "member_id", "customer", "account", "client", "masterid", "user_id"),
)

FILES: dict[str, tuple[str, ...]] = {
    "customers": ("customer", "account", "client", "company", "companies", "member", "subscriber"),
    "departures": ("departure", "churn", "churned", "cancellation", "left", "exit", "attrition"),
    "subscriptions": ("subscription", "contract", "license", "licence", "membership"),
    "payments": ("payment", "invoice", "order", "transaction", "purchase", "billing", "sale"),
    "usage": ("usage", "event", "click", "activity", "activities", "session", "login", "log"),
    "interactions": ("interaction", "ticket", "case", "support", "call", "contact", "incident"),
    "surveys": ("survey", "feedback", "nps", "csat", "ces", "answer", "response", "rating"),
    "referrals": ("referral", "refer"),
    "costs": ("cost", "spend", "expense"),
    "treatments": ("treatment", "action", "outreach", "play", "intervention", "campaign"),
}

COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "customers": {
        "signed_up_at": (
            *(
                "signed_up_at",
                "signup_date",
                "sign_up_date",
                "signup_at",
                "signed_up",
                "created_at",
            ),
            *(
                "created",
                "created_on",
                "registered_at",
                "registration_date",
                "joined_at",
                "join_date",
            ),
            *("customer_since", "start_date", "onboarded_at"),
        ),
        "segment": ("segment", "tier", "customer_segment", "size_segment", "account_tier"),
        "plan": ("plan", "plan_tier", "plan_name", "package", "product_plan"),
        "region": ("region", "market", "territory", "area"),
        "industry": ("industry", "sector", "vertical", "branch"),
        "seats": ("seats", "seat_count", "n_seats", "licenses", "number_of_seats"),
        "acquisition_cost": ("acquisition_cost", "cac", "cost_of_acquisition"),
        "owner": ("owner", "csm", "account_manager", "account_owner", "customer_success_manager"),
        "has_left": ("has_left", "churn_flag", "churned", "is_churned", "churn", "has_churned"),
        "valid_from": ("valid_from", "effective_from", "effective_date"),
    },
    "departures": {
        "left_at": (
            *(
                "left_at",
                "churn_date",
                "churned_at",
                "churned_on",
                "cancel_date",
                "cancellation_date",
            ),
            *("departed_at", "departure_date", "left_on", "end_date", "cancelled_at", "date"),
        ),
        "reason": ("reason", "reason_code", "churn_reason", "cancellation_reason", "why"),
        "is_voluntary": ("is_voluntary", "voluntary"),
        "returned_at": ("returned_at", "reactivated_at", "reactivation_date", "returned_on"),
    },
    "subscriptions": {
        "subscription_id": ("subscription_id", "contract_id", "contract_no", "license_id", "id"),
        "started_at": (
            *(
                "started_at",
                "start_date",
                "begin",
                "begins_at",
                "start",
                "valid_from",
                "begin_date",
            ),
            *("started_on", "contract_start", "activation_date"),
        ),
        "ended_at": (
            *("ended_at", "end_date", "finish", "end", "ends_at", "valid_to", "valid_until"),
            *("ended_on", "contract_end", "expires_at", "expiry_date"),
        ),
        "mrr": (
            *("mrr", "mrr_amount", "monthly_fee", "monthly_price", "monthly_amount"),
            *("monthly_recurring_revenue", "monthly_charges", "price_per_month"),
        ),
        "plan": ("plan", "plan_tier", "plan_name", "product", "package"),
        "billing_period": (
            *(
                "billing_period",
                "billing_frequency",
                "billing",
                "billing_cycle",
                "billing_interval",
            ),
            "term",
        ),
        "renews_at": ("renews_at", "renews_on", "renewal_date", "next_renewal"),
        "is_trial": ("is_trial", "trial", "trial_flag"),
        "cancelled_at": ("cancelled_at", "canceled_at", "notice_date", "cancellation_date"),
        "end_reason": ("end_reason", "ended_because", "termination_reason"),
    },
    "payments": {
        "payment_id": (
            *("payment_id", "invoice_id", "order_id", "transaction_id", "invoice_no", "order_no"),
            *("invoice_number", "order_number", "id"),
        ),
        "paid_at": (
            *("paid_at", "paid_on", "payment_date", "invoice_date", "order_date", "purchased_at"),
            *(
                "transaction_date",
                "purchase_date",
                "invoiced_at",
                "ordered_at",
                "billed_at",
                "date",
            ),
            *("created_at", "timestamp"),
        ),
        "amount": (
            *("amount", "total", "amount_paid", "sales", "revenue", "net_amount", "total_amount"),
            *("invoice_amount", "order_value", "value", "price"),
        ),
        "status": ("status", "payment_status", "invoice_status", "state"),
        "cost": ("cost", "cost_of_goods", "cogs"),
        "currency": ("currency", "currency_code"),
    },
    "usage": {
        "event_id": ("event_id", "usage_id", "log_id", "id", "uuid"),
        "occurred_at": (
            *(
                "occurred_at",
                "usage_date",
                "event_time",
                "event_date",
                "event_at",
                "ts",
                "timestamp",
            ),
            *("time", "datetime", "date", "created_at", "happened_at", "logged_at", "day"),
        ),
        "feature": (
            *("feature", "feature_name", "module", "event_name", "event_type", "event", "action"),
            *("page", "screen"),
        ),
        "quantity": (
            "quantity",
            "usage_count",
            "count",
            "n",
            "events",
            "n_events",
            "clicks",
            "units",
        ),
        "duration_s": (
            *("duration_s", "usage_duration_secs", "duration_seconds", "duration_secs", "seconds"),
            *("secs", "duration_sec", "session_seconds"),
        ),
        "user_id": ("user_id", "user", "end_user_id", "seat_id"),
    },
    "interactions": {
        "interaction_id": (
            *("interaction_id", "ticket_id", "case_number", "ticket_no", "ticket_number", "number"),
            *("case_id", "contact_id", "call_id", "incident_id", "id"),
        ),
        "opened_at": (
            *(
                "opened_at",
                "submitted_at",
                "created_at",
                "opened_on",
                "open_date",
                "created",
                "date",
            ),
            *("started_at", "received_at", "contacted_at"),
        ),
        "first_response_at": ("first_response_at", "first_reply_at", "responded_at"),
        "resolved_at": ("resolved_at", "solved_at", "resolution_date", "closed_at", "closed_on"),
        "closed_at": ("closed_at", "closed_on", "close_date"),
        "channel": ("channel", "contact_type", "via", "source", "medium"),
        "topic": ("topic", "category", "subject", "issue_type", "reason"),
        "case_id": ("case_id",),
        "follows_id": ("follows_id", "parent_id"),
        "reopen_count": ("reopen_count", "reopens", "n_reopens"),
        "transfer_count": ("transfer_count", "reassignment_count", "transfers", "handoffs"),
        "handle_minutes": ("handle_minutes", "handling_minutes", "aht_minutes"),
        "sla_met": ("sla_met", "made_sla", "within_sla"),
        "owner": ("owner", "agent", "assigned_to", "assignee"),
    },
    "surveys": {
        "kind": ("kind", "survey_type", "type", "survey", "question", "metric"),
        "score": ("score", "rating", "answer", "value", "response"),
        "sent_at": ("sent_at", "sent_on", "sent_ts", "asked_at", "sent", "survey_date"),
        "answered_at": (
            *("answered_at", "answered_on", "responded_at", "response_date", "answered_ts"),
            *("completed_at", "submitted_at", "answered", "date", "created_at"),
        ),
        "scale": ("scale",),
        "comment": ("comment", "feedback_text", "verbatim", "free_text", "remark", "text"),
        "interaction_id": ("interaction_id", "ticket_id", "case_id"),
    },
    "referrals": {
        "referrer_id": ("referrer_id", "referrer", "referred_by", "advocate_id"),
        "referred_at": ("referred_at", "referral_date", "referred_on", "date", "created_at"),
        "referred_id": ("referred_id", "referee_id", "referred_customer_id", "new_customer_id"),
        "evidence": ("evidence", "how_known"),
        "value": ("value", "amount"),
    },
    "costs": {
        "period": ("period", "month", "quarter", "year"),
        "date": ("date", "booked_at", "booked_on", "spent_at", "cost_date"),
        "kind": ("kind", "type", "category", "cost_type", "cost_kind"),
        "amount": ("amount", "cost", "spend", "value", "total"),
        "customer_id": CUSTOMER,
        "already_in_cogs": ("already_in_cogs", "in_cogs"),
    },
    "treatments": {
        "at": ("at", "treated_at", "acted_at", "action_date", "date", "created_at", "done_at"),
        "action": ("action", "treatment", "play", "campaign", "kind", "type"),
        "owner": ("owner", "csm", "by", "agent"),
        "is_holdout": ("is_holdout", "holdout", "control", "is_control"),
        "outcome": ("outcome", "result"),
    },
}
RECORDED = (
    "recorded_at",
    "loaded_at",
    "ingested_at",
    "inserted_at",
    "imported_at",
    "etl_loaded_at",
)

SCORES: dict[str, tuple[str, ...]] = {
    "csat": ("csat", "csat_score", "satisfaction_score", "satisfaction", "satisfaction_rating"),
    "nps": ("nps", "nps_score", "likelihood_to_recommend"),
    "ces": ("ces", "ces_score", "effort_score", "customer_effort_score"),
}

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "end_reason": {
        "involuntary": (
            *("payment_failed", "failed_payment", "non_payment", "nonpayment", "unpaid", "dunning"),
            *("fraud", "card_expired", "expired_card", "bankruptcy", "insolvency"),
        ),
        "replaced": (
            *("renewed", "renewal", "upgrade", "upgraded", "downgrade", "downgraded", "switched"),
            *("migrated", "converted", "price_change"),
        ),
        "voluntary": (
            *("customer", "customer_request", "cancelled", "canceled", "churn", "churned"),
            *("terminated", "not_renewed", "by_customer"),
        ),
    },
    "status": {
        "paid": ("ok", "captured", "cleared", "closed"),
        "failed": ("chargeback", "rejected", "error", "bounced"),
        "refunded": ("returned", "reversed"),
        "pending": ("processing", "sent", "draft", "overdue"),
    },
    "kind": {"nps": ("recommend", "loyalty"), "csat": ("satisfied",), "ces": ("ease", "easy")},
}


def plain(name: str) -> str:
    """Write a column's name the way the lists above are written.

    >>> [plain(name) for name in ("AccountID", "Signup Date", "mrr-amount")]
    ['account_id', 'signup_date', 'mrr_amount']
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    return re.sub(r"[^0-9a-z]+", "_", apart.lower()).strip("_")
