"""Settings of the alerts: which, how many, when, and by which channels."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from retain.config.metrics import CLOCK, Days
from retain.config.section import Section, Texts
from retain.errors import ConfigError

__all__ = ["Alerts", "EmailChannel", "FileChannel", "WebhookChannel"]

RuleName = Literal[
    "newly_at_risk",
    "recovered",
    "renewal_at_risk",
    "most_engaged",
    "data_stale",
    "silence",
    "burst",
    "detractor",
    "failed_payment",
    "cancel_page",
]
ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")
InDoubt = Literal["resend", "report"]
_DOUBT = (
    "When nobody can know whether a message arrived: resend it with the same key (at least once), "
    "or report it and never send it again (at most once)."
)
_AGAIN = "Days in which it is not told again about the same customer."


class FileChannel(Section):
    """One JSON file per message."""

    folder: Path | None = Field(
        default=None, description="Where the files go; null: outbox in the store."
    )


class WebhookChannel(Section):
    """A POST per message, as JSON that Slack's incoming webhooks take."""

    url_env: str = Field(
        min_length=1,
        description="Environment variable holding the address: whoever knows it can write there.",
    )
    timeout_seconds: float = Field(
        default=10.0, gt=0, le=300, description="Seconds to wait for an answer."
    )
    when_in_doubt: InDoubt = Field(default="resend", description=_DOUBT)

    def url(self) -> str:
        """Read the address from the environment.

        Raises
        ------
        ConfigError
            When the variable is not set, or holds no http or https address.
        """
        address = _from_environment("alerts.webhook.url_env", self.url_env)
        if not re.fullmatch(r"https?://[^\s/@]+(?:/[\x21-\x7e]*)?", address):
            raise ConfigError(
                f"alerts.webhook.url_env: {self.url_env} does not hold an address; expected "
                "https://host/path"
            )
        return address


class EmailChannel(Section):
    """An e-mail per message."""

    host: str = Field(min_length=1, description="Mail server.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="tls: from the first byte; none: only on a trusted network."
    )
    username: str | None = Field(default=None, description="For signing in; null: without.")
    password_env: str | None = Field(
        default=None, description="Environment variable holding the password."
    )
    sender: str = Field(description="Address that the messages come from.")
    to: str = Field(description="Address for owners who have none below, as the team's list.")
    owners: dict[str, str] = Field(
        default_factory=dict, description="Owner, as in customers.owner: e-mail address."
    )
    timeout_seconds: float = Field(
        default=20.0, gt=0, le=300, description="Seconds to wait for each answer."
    )
    when_in_doubt: InDoubt = Field(default="resend", description=_DOUBT)

    @field_validator("sender", "to")
    @classmethod
    def _an_address(cls, given: str) -> str:
        if not ADDRESS.fullmatch(given):
            raise ValueError(f"{given!r} is not one e-mail address")
        return given

    @model_validator(mode="after")
    def _addresses(self) -> EmailChannel:
        for owner, address in self.owners.items():
            if not ADDRESS.fullmatch(address):
                raise ValueError(f"owners.{owner}: {address!r} is not one e-mail address")
        if (self.username is None) != (self.password_env is None):
            raise ValueError("give both `username` and `password_env`, or neither")
        if self.username is not None and self.security == "none":
            raise ValueError("a password is never sent without tls: set security")
        return self

    def password(self) -> str | None:
        """Read the password from the environment; None without signing in."""
        if self.password_env is None:
            return None
        return _from_environment("alerts.email.password_env", self.password_env)


class NewlyAtRisk(Section):
    """Into the band `high` since the week before."""

    least_rise_points: float = Field(
        default=2.0, ge=0, le=100, description="Rise of the probability, in percentage points."
    )
    repeat_after_days: int = Field(default=28, ge=1, le=366, description=_AGAIN)


class Recovered(Section):
    """Below the band `watch` after having been at risk."""

    least_fall_points: float = Field(
        default=2.0, ge=0, le=100, description="Fall since the worst week, in percentage points."
    )
    least_weeks_at_risk: int = Field(
        default=2, ge=1, le=52, description="Weeks at risk in a row before it."
    )
    repeat_after_days: int = Field(default=28, ge=1, le=366, description=_AGAIN)


class RenewalAtRisk(Section):
    """At risk, and the contract renews soon."""

    within_weeks: int = Field(default=8, ge=1, le=52, description="Weeks until the renewal.")
    least_term_months: float = Field(
        default=3.0, ge=0, le=36, description="Contracts that renew more often are not told about."
    )
    repeat_after_days: int = Field(default=28, ge=1, le=366, description=_AGAIN)


class MostEngaged(Section):
    """Among the most active of their like, and ready to expand or to advocate."""

    enters_at_percentile: float = Field(
        default=90.0, gt=0, le=100, description="Percentile of days active in four weeks to enter."
    )
    leaves_at_percentile: float = Field(
        default=75.0, ge=0, lt=100, description="Percentile below which one is out again."
    )
    weeks_in_a_row: int = Field(
        default=2, ge=1, le=13, description="Weeks at the higher percentile before it counts."
    )
    least_growth_share: float = Field(
        default=0.25, ge=0, le=10, description="Ready to expand: growth of use, 0.25 is a quarter."
    )
    promoter_weeks: int = Field(
        default=26, ge=1, le=52, description="Ready to advocate: age of the NPS answer, in weeks."
    )
    most_risk_percentile: float = Field(
        default=50.0, gt=0, le=100, description="Who is at more risk of leaving is not asked."
    )
    repeat_after_days: int = Field(default=91, ge=1, le=366, description=_AGAIN)

    @model_validator(mode="after")
    def _lower_out(self) -> MostEngaged:
        if self.leaves_at_percentile >= self.enters_at_percentile:
            raise ValueError("leaves_at_percentile should be below enters_at_percentile")
        return self


class Silence(Section):
    """Usually active, and away for much longer than ever."""

    least_days: int = Field(default=7, ge=1, le=90, description="Whole days without any use.")
    times_longest_pause: float = Field(
        default=1.5, ge=1, le=20, description="Times the longest pause of the 13 weeks before."
    )
    least_active_weeks: int = Field(
        default=12, ge=1, le=13, description="Of 13 weeks, those with use: else not usually active."
    )
    most_chance: float = Field(
        default=0.001, gt=0, le=0.5, description="Chance of as long by the customer's usual rate."
    )
    repeat_after_days: int = Field(default=14, ge=1, le=366, description=_AGAIN)


class Burst(Section):
    """Contacts of high effort, more than usual for the customer."""

    within_days: int = Field(default=7, ge=1, le=7, description="Days in which they are counted.")
    least_contacts: int = Field(default=3, ge=2, le=100, description="Contacts of high effort.")
    most_chance: float = Field(
        default=0.01, gt=0, le=0.5, description="Chance of as many by the customer's usual rate."
    )
    repeat_after_days: int = Field(default=14, ge=1, le=366, description=_AGAIN)


class Detractor(Section):
    """An NPS answer of 0 to 6."""

    repeat_after_days: int = Field(default=28, ge=1, le=366, description=_AGAIN)


class FailedPayment(Section):
    """A payment failed and no later one made up for it."""

    least_amount: float = Field(default=0.0, ge=0, description="Smaller ones are not told about.")
    repeat_after_days: int = Field(default=14, ge=1, le=366, description=_AGAIN)


class CancelPage(Section):
    """The customer looked at how to leave."""

    features: Texts = Field(
        default=(
            "*cancel*",
            "*unsubscribe*",
            "*close*account*",
            "*delete*account*",
            "*terminate*",
        ),
        description="Names in usage.feature that mean it; * stands for anything.",
    )
    repeat_after_days: int = Field(default=14, ge=1, le=366, description=_AGAIN)


class Alerts(Section):
    """Which alerts are raised, how many reach an owner, when, and by which channels."""

    off: tuple[RuleName, ...] = Field(default=(), description="Rules that are not used.")
    page: str | None = Field(
        default=None, description="Address of the review page, for links in messages."
    )
    most_per_owner_and_day: int = Field(
        default=5, ge=1, le=1000, description="Single messages; what is over goes into one digest."
    )
    quiet_from: str | None = Field(
        default=None, description="Local time HH:MM, in quotes, from which nobody is written to."
    )
    quiet_until: str | None = Field(default=None, description="Local time HH:MM of its end.")
    quiet_days: Days = Field(default=(), description="Weekdays on which nobody is written to.")
    first_retry_seconds: float = Field(
        default=2.0, gt=0, le=3600, description="Pause after a first failure; it doubles."
    )
    longest_retry_minutes: float = Field(
        default=60.0, gt=0, le=1440, description="Longest pause between two attempts."
    )
    patience_seconds: float = Field(
        default=20.0, ge=0, le=600, description="How long one run waits for a failing channel."
    )
    file: FileChannel | None = Field(default=None, description="One JSON file per message.")
    webhook: WebhookChannel | None = Field(
        default=None, description="A POST per message, as for Slack."
    )
    email: EmailChannel | None = Field(default=None, description="An e-mail per message.")
    newly_at_risk: NewlyAtRisk = Field(
        default_factory=NewlyAtRisk, description="Weekly: into the band `high`."
    )
    recovered: Recovered = Field(
        default_factory=Recovered, description="Weekly: out of risk, below the band `watch`."
    )
    renewal_at_risk: RenewalAtRisk = Field(
        default_factory=RenewalAtRisk, description="Weekly: at risk with a renewal coming up."
    )
    most_engaged: MostEngaged = Field(
        default_factory=MostEngaged, description="Weekly: ready to expand or to advocate."
    )
    silence: Silence = Field(
        default_factory=Silence, description="Between runs: a usually active customer is silent."
    )
    burst: Burst = Field(
        default_factory=Burst, description="Between runs: a burst of contacts of high effort."
    )
    detractor: Detractor = Field(
        default_factory=Detractor, description="Between runs: an NPS answer of 0 to 6."
    )
    failed_payment: FailedPayment = Field(
        default_factory=FailedPayment, description="Between runs: a payment failed."
    )
    cancel_page: CancelPage = Field(
        default_factory=CancelPage, description="Between runs: a look at how to leave."
    )

    @field_validator("quiet_from", "quiet_until", mode="before")
    @classmethod
    def _a_time_of_day(cls, given: Any) -> Any:
        if given is None:
            return None
        if isinstance(given, int):  # YAML reads an unquoted 19:00 as minutes
            given = f"{given // 60:02d}:{given % 60:02d}"
        if not isinstance(given, str) or not CLOCK.fullmatch(given) or given == "24:00":
            raise ValueError(f"{given} is not a time of day; write it in quotes, as in '19:00'")
        return given.zfill(5)

    @field_validator("page")
    @classmethod
    def _an_address(cls, given: str | None) -> str | None:
        if given is not None and not re.fullmatch(r"https?://[^\s|<>\"]+", given):
            raise ValueError(f"{given!r} is not an address; expected https://host")
        return given

    @model_validator(mode="after")
    def _some_waking_hour(self) -> Alerts:
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise ValueError("give both `quiet_from` and `quiet_until`, or neither")
        if len(set(self.quiet_days)) == 7:
            raise ValueError("quiet_days names every weekday: nobody would ever be written to")
        return self

    def secrets(self) -> tuple[str, ...]:
        """Name the environment variables whose values must never be shown."""
        named = (
            self.webhook.url_env if self.webhook else None,
            self.email.password_env if self.email else None,
        )
        return tuple(name for name in named if name)


def _from_environment(setting: str, variable: str) -> str:
    if not os.environ.get(variable):
        raise ConfigError(
            f"{setting} names {variable}, which is not set; export {variable}=... first"
        )
    return os.environ[variable]
