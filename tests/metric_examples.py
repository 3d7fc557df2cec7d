"""One small source for each metric: what the battery needs to try a calculator, and no more.

A new metric joins the battery by an entry here, or in a module of its own that is listed at the
foot. Keep frames under fifty rows; every used table should reach a customer without a segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd

from retain.metrics import Period

OCTOBER = Period.month("2026-10")
Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Example:
    """Tables and arguments under which a calculator has something to say.

    Parameters
    ----------
    tables
        Every table it needs, and `customers` with a column `segment` that is null for somebody.
    given
        Arguments it insists on.
    variants
        Further arguments that a variant insists on; a variant not named here needs none.
    doubled
        What duplicating every row of every table but customers does to the value: ``"same"``, or
        ``"twice"`` for sums of rows without ids, ``"half"`` for what is divided by such a sum.
    empty
        Value of empty tables: None for undefined.
    refused
        Table to rows that must be set aside for `refused_because`, such as answers off the scale.
    foreign
        Table to rows that are none of its business, such as answers to another question.
    is_cut
        Whether it can be cut by segment.
    """

    tables: Frames
    given: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    doubled: str = "same"
    empty: float | None = None
    refused: Frames = field(default_factory=dict)
    refused_because: str = ""
    foreign: Frames = field(default_factory=dict)
    is_cut: bool = True
    period: Period = OCTOBER


CUSTOMERS = pd.DataFrame(
    {
        "customer_id": [f"c{at:02}" for at in range(12)],
        "segment": ["gold", "gold", "lead", "lead", "lead", None] * 2,
    }
)


def answers(kind: str, scores: list[float], **columns: Any) -> pd.DataFrame:
    """Answers of one kind, one per customer, a day apart."""
    given = {
        "customer_id": CUSTOMERS.customer_id[: len(scores)].to_list(),
        "kind": kind,
        "score": [float(score) for score in scores],
        "answered_at": pd.date_range("2026-10-03", periods=len(scores), freq="D"),
        **columns,
    }
    return pd.DataFrame(given)


def off_the_scale(kind: str, scores: list[float]) -> pd.DataFrame:
    """Answers that no customer could have given, from customers of their own."""
    return answers(kind, scores).assign(customer_id=[f"x{at}" for at in range(len(scores))])


OTHER_QUESTION = {"surveys": off_the_scale("another question", [1, 5, 10, 1e6])}

RATED = [5, 4, 4, 3, 2, 5, 1, 5, 4, float("nan"), 3, 5]
FELT = [7, 6, 5, 4, 2, 7, 1, 6, 5, float("nan"), 3, 7]

OPINION_EXAMPLES = {
    "csat": Example(
        {"surveys": answers("csat", RATED), "customers": CUSTOMERS},
        refused={"surveys": off_the_scale("csat", [0, 6, 4.5, 1e6])},
        refused_because="off the scale",
        foreign=OTHER_QUESTION,
    ),
    "ces": Example(
        {"surveys": answers("ces", FELT), "customers": CUSTOMERS},
        {"scale_version": "2.0", "direction": "high is easy"},
        refused={"surveys": off_the_scale("ces", [0, 8, 4.5, 1e6])},
        refused_because="off the scale",
        foreign=OTHER_QUESTION,
    ),
    "nps": Example(
        {
            "surveys": answers("nps", [10, 9, 8, 7, 6, 0, 10, 9, 9, 3, float("nan"), 10]),
            "customers": CUSTOMERS,
        },
        refused={"surveys": off_the_scale("nps", [11, -1, 9.5, 1e6])},
        refused_because="off the scale",
        foreign=OTHER_QUESTION,
    ),
}

SENT = answers("nps", [9, 8, float("nan"), 3, 10, float("nan"), 7, 9, 2, 10, 6, 9])
SENT = SENT.assign(sent_at=SENT.answered_at, answered_at=SENT.answered_at.where(SENT.score.notna()))
FEEDBACK_EXAMPLES = {
    "answer_rate": Example(
        {"surveys": SENT, "customers": CUSTOMERS},
        {"kind": "nps", "data_until": date(2026, 10, 31)},
        refused={"surveys": off_the_scale("nps", [9, 9]).assign(sent_at=pd.NaT)},
        refused_because="no date of sending",
        foreign={"surveys": off_the_scale("csat", [1, 5]).assign(sent_at=SENT.sent_at[:2])},
    ),
    "comment_rate": Example(
        {
            "surveys": SENT.assign(comment=["fine", None, None, " ", "slow", None] * 2),
            "customers": CUSTOMERS,
        },
        {"kind": "nps"},
        refused={"surveys": off_the_scale("nps", [float("nan")] * 2)},
        refused_because="no answer",
        foreign={"surveys": off_the_scale("csat", [1, 5]).assign(comment="fine")},
    ),
}

from metric_examples_money import MONEY_EXAMPLES  # noqa: E402  it needs the above
from product_examples import HEALTH_EXAMPLES, PRODUCT_EXAMPLES, VALUE_EXAMPLES  # noqa: E402
from service_examples import SERVICE_EXAMPLES  # noqa: E402

EXAMPLES: Mapping[str, Example] = {
    **OPINION_EXAMPLES,
    **FEEDBACK_EXAMPLES,
    **SERVICE_EXAMPLES,
    **PRODUCT_EXAMPLES,
    **MONEY_EXAMPLES,
    **HEALTH_EXAMPLES,
    **VALUE_EXAMPLES,
}
