"""Names that give themselves away: of leaving, of other models, of the company's own acts."""

from __future__ import annotations

import re

__all__ = ["is_model_output", "is_outcome", "is_vendor_act"]

# ends are looked for in words, so that "exit" is found in "exit_page" and not in "flexitime"
_OUTCOME = (
    r"churn\w*|cancel\w*|attrit\w*|terminat\w*|offboard\w*|unsubscri\w*|leav(?:e|es|er|ers|ing)|left|"
    r"departure|exit\w*|lapsed|winback|win back|retention (?:call|desk|offer)|save desk|"
    r"(?:close|delete|closing|deleting)(?: \w+)? account|account (?:closed|deleted|closure)|"
    r"customer status|account status"
)
_MODEL = (
    r"cltv|clv|ltv|life ?time value|propensity|(?:risk|health|churn|lead) (?:score|band|level)|"
    r"predict\w*|probability|forecast"
)
_VENDOR = (
    r"e?mails? (?:sent|delivered)|sent e?mails?|newsletter|campaign\w*|reminder\w*|dunning|"
    r"outreach|outbound|invoice sent|notifications?(?: sent)?|push(?: sent)?|marketing|"
    r"auto (?:close|reply)|csm (?:call|visit|touch)|account review|qbr"
)


def is_outcome(name: str) -> bool:
    """Say whether a name speaks of leaving.

    Examples
    --------
    >>> is_outcome("Churn Reason"), is_outcome("cancel_page"), is_outcome("Tenure in Months")
    (True, True, False)
    """
    return _speaks(_OUTCOME, name)


def is_model_output(name: str) -> bool:
    """Say whether a name is that of a figure which another model works out.

    Examples
    --------
    >>> is_model_output("CLTV"), is_model_output("risk_score"), is_model_output("TotalCharges")
    (True, True, False)
    """
    return _speaks(_MODEL, name)


def is_vendor_act(name: str) -> bool:
    """Say whether a name is that of something the company does, not the customer.

    Examples
    --------
    >>> is_vendor_act("email_sent"), is_vendor_act("email")
    (True, False)
    """
    return _speaks(_VENDOR, name)


def _speaks(words: str, name: str) -> bool:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # ChurnReason
    plain = " ".join(re.sub(r"[^0-9A-Za-z]+", " ", apart).lower().split())
    return re.search(rf"\b(?:{words})\b", plain) is not None
