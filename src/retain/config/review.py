"""Settings of acting on scores: the queue, its hold-out and plays, and their store."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from retain.config.section import Section, one_open_address

__all__ = ["PlayConfig", "Review"]


class PlayConfig(Section):
    """What to do about one kind of reason."""

    play: str = Field(min_length=1, max_length=500, description="What to do, in words.")
    signal: str | None = Field(
        default=None, description="The driver it answers, by its signal's name, as on the page."
    )
    theme: Literal["usage", "effort", "survey", "commercial", "profile"] | None = Field(
        default=None, description="Or any driver of this theme; neither: whatever the driver."
    )
    owner: str | None = Field(
        default=None, description="Who does it; null: the customer's own owner."
    )
    due_days: int = Field(
        default=7, ge=0, le=365, description="Days after the end of the scored week."
    )

    @model_validator(mode="after")
    def _one_reason(self) -> PlayConfig:
        if self.signal is not None and self.theme is not None:
            raise ValueError("give `signal` or `theme`, and not both")
        return self


class Review(Section):
    """What the customer-success team can handle."""

    capacity_per_week: int = Field(
        default=40, ge=1, le=1_000_000, description="Customers the team can act on in one week."
    )
    capacity_per_owner: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Customers one owner can act on in one week; null: the team's limit only.",
    )
    enter_percentile: float = Field(
        default=60.0, ge=0, le=100, description="Percentile of risk at which one may be listed."
    )
    stay_percentile: float = Field(
        default=50.0,
        ge=0,
        le=100,
        description="Percentile of risk below which one on the list leaves it.",
    )
    overtake_factor: float = Field(
        default=1.25,
        ge=1,
        le=10,
        description="How many times the worth of one on the list a newcomer needs to replace it.",
    )
    order: Literal["risk", "response"] = Field(
        default="risk",
        description="risk: value at risk; response: what contact saves, once that is proven.",
    )
    cool_down_weeks: int = Field(
        default=4, ge=0, le=52, description="Weeks after a contact without being listed again."
    )
    holdout_share: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share of the queue left alone, to measure what acting does; 0: nobody.",
    )
    holdout_weeks: int | None = Field(
        default=None,
        ge=1,
        le=104,
        description="Weeks for which a draw holds; null: churn.horizon_weeks.",
    )
    plays: tuple[PlayConfig, ...] = Field(
        default=(), description="What to do about which reason; the first that fits counts."
    )
    keep_driver_weeks: int = Field(
        default=26, ge=1, le=520, description="Weeks whose drivers the action store keeps."
    )
    database: str | None = Field(
        default=None,
        description="Address of the action store; null: an SQLite file in the company's store.",
    )
    database_env: str | None = Field(
        default=None,
        description="Environment variable holding the address, when it carries a password.",
    )

    @model_validator(mode="after")
    def _one_address(self) -> Review:
        one_open_address("database", self.database, self.database_env)
        if self.stay_percentile > self.enter_percentile:
            raise ValueError("stay_percentile should not be above enter_percentile")
        return self
