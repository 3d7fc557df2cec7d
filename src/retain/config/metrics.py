"""Settings of the customer-success metrics: targets, variants, hours, costs, the health score."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from retain.config.section import Section, Texts, Weekday
from retain.errors import some

__all__ = ["Costs", "Health", "HealthPart", "Hours", "Metrics"]

Days = Annotated[tuple[Weekday, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
Purpose = Literal["acquisition", "retention", "service", "other"]
KINDS: dict[str, Purpose] = {
    "acquisition": "acquisition",
    "sales": "acquisition",
    "marketing": "acquisition",
    "retention": "retention",
    "customer_success": "retention",
    "support": "service",
    "hosting": "service",
}
CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d|24:00")


class Hours(Section):
    """When the team is there."""

    days: Days = Field(
        default=("monday", "tuesday", "wednesday", "thursday", "friday"),
        description="Weekdays that count as business days.",
    )
    opens: str = Field(default="09:00", description="Start of a business day, local time HH:MM.")
    closes: str = Field(default="17:00", description="End of a business day, local time HH:MM.")
    holidays: tuple[date, ...] = Field(
        default=(), description="Days without business hours, as in 2026-12-25."
    )

    @field_validator("opens", "closes", mode="before")
    @classmethod
    def _a_time(cls, given: Any) -> Any:
        if isinstance(given, int):  # YAML reads an unquoted 17:00 as minutes
            given = f"{given // 60:02d}:{given % 60:02d}"
        if not isinstance(given, str) or not CLOCK.fullmatch(given):
            raise ValueError(f"expected a time like '09:00', in quotes; found {given!r}")
        return given.zfill(5)

    @model_validator(mode="after")
    def _in_order(self) -> Hours:
        if self.opens >= self.closes:
            raise ValueError(f"opens ({self.opens}) should be before closes ({self.closes})")
        if not self.days:
            raise ValueError("days names no weekday; give at least one")
        return self


class Costs(Section):
    """What serving, keeping and winning customers costs."""

    rate_per_minute: Decimal | None = Field(
        default=None,
        ge=0,
        description="Loaded cost of one minute of handling, in currency; null: cost to serve is "
        "left out.",
    )
    rate_per_hour: Decimal = Field(
        default=Decimal(0),
        ge=0,
        description="Loaded cost of an hour of the people who look after customers, in currency.",
    )
    fee_share: Decimal = Field(
        default=Decimal(0), ge=0, le=1, description="Share of a payment that collecting it costs."
    )
    service_in_cogs: bool = Field(
        default=False,
        description="Whether the gross margin already holds handling, hours and fees: then they "
        "are shown and not deducted again.",
    )
    acquisition_years: int = Field(
        default=5, ge=1, le=50, description="Years over which winning a customer is written off."
    )
    map: dict[str, Purpose] = Field(
        default=KINDS,
        description="For each kind in the costs table, what it was spent on; a kind that is not "
        "named is `other`.",
    )


class HealthPart(Section):
    """One part of the health score: a measure, its scale and its weight."""

    measure: str = Field(
        min_length=1, description="Column of the catalogue of features, as in active_days_4w."
    )
    floor: float = Field(description="Value of the measure that scores 0, in its own unit.")
    target: float = Field(description="Value of the measure that scores 100, in its own unit.")
    weight: float = Field(default=1.0, ge=0, description="Weight among the parts measured.")

    @model_validator(mode="after")
    def _a_scale(self) -> HealthPart:
        if self.floor == self.target:
            raise ValueError("floor and target are equal; the part would have no scale")
        return self


class Health(Section):
    """The health score: an opinion with weights, beside the model's probability."""

    parts: dict[str, HealthPart] = Field(
        default_factory=dict, description="Parts by name; none: no health score."
    )
    profiles: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="For a segment, the weight of each part there instead of its own.",
    )
    missing: Literal["redistribute", "zero", "neutral"] = Field(
        default="redistribute",
        description="A part that is not known: its weight goes to the others, or it scores 0, "
        "or 50.",
    )
    least_coverage: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the weight that must be known for a colour; below there is none.",
    )
    bands: dict[str, float] = Field(
        default_factory=lambda: {"red": 0.0, "yellow": 50.0, "green": 75.0},
        description="Where each band begins; the first at 0, each up to the next, which it "
        "excludes.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Health:
        edges = list(self.bands.values())
        if not edges or edges[0] != 0 or edges != sorted(set(edges)) or edges[-1] >= 100:
            raise ValueError(f"bands should begin at 0 and rise below 100, found {edges}")
        if self.parts and not sum(part.weight for part in self.parts.values()):
            raise ValueError("every part has weight 0; give one of them a weight")
        for segment, weights in self.profiles.items():
            lost = [name for name in weights if name not in self.parts]
            if lost:
                raise ValueError(
                    f"profiles.{segment} names {some(lost)}; parts are {some(self.parts, 10)}"
                )
            if min(weights.values(), default=1) < 0:
                raise ValueError(f"profiles.{segment} holds a weight below 0")
        return self


class Metrics(Section):
    """How the customer-success metrics are computed and what is aimed at."""

    targets: dict[str, float] = Field(
        default_factory=dict,
        description="For a metric, the value aimed at, in its unit; which way is good is known.",
    )
    variants: dict[str, Texts] = Field(
        default_factory=dict,
        description="For a metric, the definitions shown instead of its first one.",
    )
    parameters: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="For a metric, further parameters of its calculator by name.",
    )
    by: Texts = Field(
        default=(), description="Columns of customers to split by: segment, plan, owner, ..."
    )
    periods: int = Field(
        default=6, ge=1, le=36, description="Periods shown as a trend, the current one included."
    )
    level: float = Field(
        default=0.95, ge=0.5, le=0.999, description="Coverage of the intervals, as a share."
    )
    ces_version: Literal["1.0", "2.0"] | None = Field(
        default=None,
        description="Which effort question is asked: 1.0 asks how much effort it was, 2.0 whether "
        "it was made easy; null: 1.0 on a scale of five, else 2.0.",
    )
    evidence: dict[str, Decimal] = Field(
        default={"tracked": Decimal(1), "reference": Decimal("0.5"), "promoter": Decimal(0)},
        description="For each word of evidence in referrals, the share of a referral's margin that "
        "is credited; other words are no evidence.",
    )
    hours: Hours | None = Field(
        default=None,
        description="When the team is there; response and resolution times then count those hours "
        "only. null: the clock runs day and night.",
    )
    costs: Costs = Field(default_factory=Costs, description="What customers cost.")
    trial_days: int = Field(
        default=30, ge=1, le=365, description="Days after its start in which a trial may convert."
    )
    value_feature: str | None = Field(
        default=None,
        description="Product feature whose first use is the first value; null: any use.",
    )
    core_features: Texts = Field(
        default=(), description="Product features that count for adoption; none: every feature."
    )
    effort: bool = Field(
        default=True,
        description="Whether to estimate what effort costs, which takes longer than all else.",
    )
    health: Health = Field(default_factory=Health, description="The health score.")
