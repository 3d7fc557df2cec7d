"""What a customer pays, how that changes, when it is due again, and how purchases follow on."""

from __future__ import annotations

from typing import Any

import numpy as np

from retain.features.feature import WINDOWS, themed
from retain.weeks import History
from retain.weeks.panel import balance

__all__ = ["COMMERCIAL"]

feature = themed("commercial")
DAYS_PER_MONTH = 365.25 / 12.0


@feature(unit="currency per month", signal="price and plan")
def mrr(history: History) -> Any:
    """Monthly recurring revenue."""
    return history.subscriptions.total("mrr")


@feature(unit="balance", signal="price changes", over=(4, 13, 52), of="mrr")
def mrr_change(history: History, weeks: int) -> Any:
    """Change of monthly recurring revenue against {weeks} ago."""
    now = history.subscriptions.total("mrr")
    return balance(now, history.subscriptions.total("mrr", before=weeks))


@feature(unit="weeks", signal="price and plan")
def weeks_since_upgrade(history: History) -> Any:
    """Weeks since the last upgrade."""
    return history.subscriptions.weeks_since("upgrades")


@feature(unit="weeks", signal="price and plan")
def weeks_since_downgrade(history: History) -> Any:
    """Weeks since the last downgrade."""
    return history.subscriptions.weeks_since("downgrades")


@feature(unit="weeks", signal="price changes")
def weeks_since_price_rise(history: History) -> Any:
    """Weeks since the last price rise."""
    return history.subscriptions.weeks_since("price_rises")


@feature(unit="weeks", signal="renewal date", counts_down=True)
def weeks_to_renewal(history: History) -> Any:
    """Weeks until the contract is due for renewal."""
    term = history.subscriptions.latest("billing_months") * DAYS_PER_MONTH
    running = history.as_of_day - history.subscriptions.latest("start_day")
    return np.where(term > 0, (term - np.mod(running, term)) / 7.0, np.nan)


@feature(unit="months", signal="renewal date", actionable=False)
def billing_period_months(history: History) -> Any:
    """Months between two bills."""
    return history.subscriptions.latest("billing_months")


@feature(unit="payments", signal="failed payments", over=(4, 13, 26))
def failed_payments(history: History, weeks: int) -> Any:
    """Failed payments in the last {weeks}."""
    return history.payments.total("failed", weeks)


@feature(unit="weeks", signal="failed payments")
def weeks_since_failed_payment(history: History) -> Any:
    """Weeks since a payment last failed."""
    return history.payments.weeks_since("failed")


@feature(unit="currency", signal="spending", over=(*WINDOWS, 52))
def spend(history: History, weeks: int) -> Any:
    """Money spent in the last {weeks}."""
    return history.payments.total("spend", weeks)


@feature(unit="orders", signal="purchases", over=(*WINDOWS, 52))
def orders(history: History, weeks: int) -> Any:
    """Orders in the last {weeks}."""
    return history.payments.total("orders", weeks)


@feature(unit="orders", signal="purchases")
def orders_ever(history: History) -> Any:
    """Orders since the customer is with us."""
    return history.payments.lifetime("orders")


@feature(unit="days", signal="purchases")
def purchase_days_ever(history: History) -> Any:
    """Different days with a purchase since the customer is with us."""
    payments = history.payments
    return payments.lifetime("gaps") + (payments.total("orders") > 0)


@feature(unit="currency", signal="spending")
def spend_ever(history: History) -> Any:
    """Money spent since the customer is with us."""
    return history.payments.lifetime("spend")


@feature(unit="balance", signal="spending", over=(4, 13, 26), of="spend_")
def spend_change(history: History, weeks: int) -> Any:
    """Change of money spent, last {weeks} against the same time before."""
    return history.payments.change("spend", weeks)


@feature(unit="days", signal="gap between purchases")
def days_since_purchase(history: History) -> Any:
    """Days since the last purchase."""
    return history.as_of_day - history.payments.latest("last_day")


@feature(unit="days", signal="gap between purchases")
def purchase_gap(history: History) -> Any:
    """Mean days between two purchases."""
    return history.payments.ratio("gap_days", "gaps")


@feature(unit="days", signal="gap between purchases")
def purchase_gap_deviation(history: History) -> Any:
    """Standard deviation of the days between two purchases."""
    mean = history.payments.ratio("gap_days", "gaps")
    square = history.payments.ratio("gap_squares", "gaps")
    enough = history.payments.total("gaps") >= 2
    return np.where(enough, np.sqrt(np.maximum(square - mean**2, 0.0)), np.nan)


@feature(unit="times", signal="gap between purchases")
def purchase_gap_against_own(history: History) -> Any:
    """Days since the last purchase as a multiple of the customer's usual gap."""
    now = history.as_of_day - history.payments.latest("last_day")
    usual = history.payments.ratio("gap_days", "gaps")
    return np.divide(now, usual, out=np.full(now.shape, np.nan), where=usual > 0)


@feature(unit="currency", signal="spending")
def average_order_value(history: History) -> Any:
    """Average value of an order."""
    return history.payments.ratio("spend", "orders")


@feature(unit="returns", signal="returns and refunds", over=(13, 26))
def returns(history: History, weeks: int) -> Any:
    """Returns and refunds in the last {weeks}."""
    return history.payments.total("returns", weeks)


@feature(unit="share", signal="returns and refunds", over=(52,))
def returned_share(history: History, weeks: int) -> Any:
    """Share of the money spent in the last {weeks} that was given back."""
    return history.payments.ratio("returned", "spend", weeks)


@feature(unit="referrals", signal="referrals", over=(13, 52))
def referrals_made(history: History, weeks: int) -> Any:
    """Referrals made in the last {weeks}."""
    return history.referrals.total("referrals", weeks)


COMMERCIAL = (
    mrr,
    mrr_change,
    weeks_since_upgrade,
    weeks_since_downgrade,
    weeks_since_price_rise,
    weeks_to_renewal,
    billing_period_months,
    failed_payments,
    weeks_since_failed_payment,
    spend,
    orders,
    orders_ever,
    purchase_days_ever,
    spend_ever,
    spend_change,
    days_since_purchase,
    purchase_gap,
    purchase_gap_deviation,
    purchase_gap_against_own,
    average_order_value,
    returns,
    returned_share,
    referrals_made,
)
