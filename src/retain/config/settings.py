"""Every setting with its default, unit, bounds and meaning: one frozen object."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from retain.config.alerts import Alerts
from retain.config.metrics import Metrics
from retain.config.review import Review
from retain.config.section import Section, Texts, Weekday, one_open_address
from retain.errors import ConfigError, some

__all__ = ["Config", "Section", "TableConfig", "TablesConfig"]

SERVERS = ("postgresql://", "postgres://")
DEFAULT_SCALES = {"nps": (0.0, 10.0), "csat": (1.0, 5.0), "ces": (1.0, 7.0)}


class TableConfig(Section):
    """Where one table comes from and what its columns are called there."""

    source: str | tuple[str, ...] | None = Field(
        default=None,
        description="Parquet or CSV path, glob, folder or list of them, file.duckdb::table, or "
        "postgresql://server/database::table.",
    )
    password_env: str | None = Field(
        default=None, description="Environment variable holding the PostgreSQL server's password."
    )
    query: str | None = Field(
        default=None,
        description="One SELECT over the named `sources`, instead of `source`; with a server's "
        "address as `source`, one that runs there.",
    )
    sources: dict[str, str | tuple[str, ...]] = Field(
        default_factory=dict, description="Names that `query` may read, each a path."
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Our column name: the file's column name; empty means the names agree.",
    )
    values: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="For a column of ours, the file's words: ours (case and blanks are ignored).",
    )
    attributes: Texts = Field(
        default=(), description="Further columns of customers to keep, under the file's own names."
    )
    constant: Texts = Field(
        default=(),
        description="Attributes that never change, so today's value may stand for the past.",
    )
    measures: Texts = Field(
        default=(), description="Further numbers to sum by week, under the file's own names."
    )
    datetime_format: str | None = Field(
        default=None,
        description="How text dates are written, as in %d/%m/%Y %H:%M; default: ISO 8601.",
    )
    drop_equal_rows: bool = Field(
        default=False, description="Set aside fully equal rows of a table that has no id column."
    )
    scales: dict[Literal["nps", "csat", "ces"], tuple[float, float]] = Field(
        default_factory=dict,
        description="Surveys: lowest and highest score; nps 0-10, csat 1-5, ces 1-7 by default.",
    )
    ces_high_means: Literal["easy", "hard"] = Field(
        default="easy", description="Surveys: what a high customer effort score says."
    )

    @field_validator("values", mode="before")
    @classmethod
    def _words_are_text(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            column: {_word(theirs): _word(ours) for theirs, ours in words.items()}
            if isinstance(words, dict)
            else words
            for column, words in given.items()
        }

    @model_validator(mode="after")
    def _one_origin(self) -> TableConfig:
        is_server = isinstance(self.source, str) and self.source.startswith(SERVERS)
        if is_server:
            self._on_server(str(self.source))
        elif self.password_env is not None:
            raise ValueError("`password_env` belongs to a postgresql:// source")
        elif (self.source is None) == (self.query is None):
            raise ValueError("give either `source` or `query` (with `sources`), and not both")
        if self.query is not None and not is_server and not self.sources:
            raise ValueError("`query` needs `sources`: the names it reads, each with a path")
        if self.source is not None and self.sources:
            raise ValueError("`sources` belongs to `query`; with `source` leave it out")
        lost = [name for name in self.constant if name not in {*self.attributes, *self.columns}]
        if lost:
            raise ValueError(f"constant names {some(lost)}, which is no attribute or mapped column")
        for kind, (low, high) in self.scales.items():
            if low >= high:
                raise ValueError(f"scales.{kind} should go from lowest to highest score")
        return self

    def _on_server(self, address: str) -> None:
        """Say what is wrong with a server as source."""
        if re.search(r"://[^/@\s]*:[^/@\s]+@|[?&]password=", address):
            raise ValueError(
                "source holds a password; put it in a variable, name that in password_env"
            )
        if ("::" in address) == (self.query is not None):
            raise ValueError(
                "a server's address is followed by ::table, or goes with a `query`; not both"
            )


class TablesConfig(Section):
    """The tables a company has; one behaviour table is enough."""

    customers: TableConfig | None = Field(default=None, description="One row per customer.")
    departures: TableConfig | None = Field(
        default=None, description="One row per customer who left."
    )
    subscriptions: TableConfig | None = Field(
        default=None, description="One row per contract span."
    )
    payments: TableConfig | None = Field(default=None, description="One row per invoice or order.")
    usage: TableConfig | None = Field(
        default=None, description="One row per event or slice of events."
    )
    interactions: TableConfig | None = Field(default=None, description="One row per support case.")
    surveys: TableConfig | None = Field(default=None, description="One row per question sent.")
    referrals: TableConfig | None = Field(default=None, description="One row per referral.")
    costs: TableConfig | None = Field(default=None, description="One row per cost line.")
    treatments: TableConfig | None = Field(
        default=None, description="One row per action of the company."
    )

    def items(self) -> Iterator[tuple[str, TableConfig]]:
        """Name and mapping of every table given, in our order."""
        for name in type(self).model_fields:
            mapping = getattr(self, name)
            if mapping is not None:
                yield name, mapping

    @model_validator(mode="after")
    def _some_behaviour(self) -> TablesConfig:
        behaviour = ("usage", "payments", "subscriptions", "interactions")
        if all(getattr(self, name) is None for name in behaviour):
            raise ValueError(f"give at least one behaviour table: {', '.join(behaviour)}")
        return self


class Churn(Section):
    """What leaving means."""

    kind: Literal["contract", "event", "inactivity"] = Field(
        default="contract",
        description="contract: a subscription ended and nothing replaced it; event: the departures "
        "table; inactivity: no behaviour in the whole horizon.",
    )
    horizon_weeks: int = Field(
        default=13, ge=1, le=260, description="Weeks after the gap in which leaving counts."
    )
    curve_weeks: tuple[Annotated[int, Field(ge=1, le=260)], ...] = Field(
        default=(4, 13, 26, 52),
        description="Horizons told beside horizon_weeks, on one curve: weeks after the gap.",
    )
    gap_weeks: int = Field(
        default=0,
        ge=0,
        le=52,
        description="Weeks between the observation day and the horizon's start.",
    )
    grace_weeks: int = Field(
        default=4, ge=0, le=52, description="Weeks after an end in which a new contract undoes it."
    )
    active_weeks: int = Field(
        default=26,
        ge=1,
        le=260,
        description="Inactivity: weeks back in which behaviour makes eligible.",
    )
    include_involuntary: bool = Field(
        default=True,
        description="Whether involuntary endings, such as failed payments, count as churn.",
    )

    @property
    def horizons(self) -> tuple[int, ...]:
        """All horizons in weeks, ascending, the headline's among them."""
        return tuple(sorted({self.horizon_weeks, *self.curve_weeks}))


class Clv(Section):
    """What a customer's value means."""

    horizon_weeks: int = Field(
        default=52, ge=1, le=520, description="Weeks ahead whose expected margin is summed."
    )
    gross_margin: float = Field(
        default=1.0, gt=0, le=1, description="Share of revenue that is margin, between 0 and 1."
    )
    annual_discount_rate: float = Field(
        default=0.10, ge=0, le=1, description="Discount per year, as a share: 0.10 is ten percent."
    )
    basis: Literal["auto", "payments", "mrr"] = Field(
        default="auto",
        description="Learn from payments or from MRR; auto: payments when there are any.",
    )
    interval: float = Field(
        default=0.90,
        ge=0.5,
        le=0.99,
        description="Share of customers whose value the interval holds.",
    )


class Snapshots(Section):
    """Which weeks are observed for training."""

    every_weeks: int = Field(
        default=4,
        ge=1,
        le=52,
        description="Weeks between observation days, going back from the newest.",
    )
    most: int | None = Field(
        default=None,
        ge=2,
        le=520,
        description="Number of observation days kept, newest first; null: all.",
    )


class Leaks(Section):
    """What the leak check lets pass."""

    allow: Texts = Field(
        default=(),
        description="Columns, tables or table.column=value that are known before the outcome.",
    )


class Tracking(Section):
    """Where runs and models are recorded."""

    uri: str | None = Field(
        default=None, description="MLflow tracking address; null: an SQLite file in the store."
    )
    uri_env: str | None = Field(
        default=None,
        description="Environment variable holding the address, when it carries a secret.",
    )
    experiment: str | None = Field(
        default=None, min_length=1, description="MLflow experiment; null: the company's name."
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Registered model name; null: the company's name + -churn.",
    )
    promote: Literal["manual", "automatic"] = Field(
        default="manual",
        description="automatic: a challenger that is better beyond noise scores from then on.",
    )

    @model_validator(mode="after")
    def _one_address(self) -> Tracking:
        one_open_address("uri", self.uri, self.uri_env)
        return self


class Backtest(Section):
    """Which past weeks are replayed as if live."""

    every_weeks: int | None = Field(
        default=None,
        ge=1,
        le=52,
        description="Weeks between replayed weeks, a multiple of snapshots.every_weeks; null: it.",
    )
    most: int = Field(
        default=12, ge=1, le=260, description="Number of weeks replayed, newest first."
    )


class Money(Section):
    """What reaching a customer costs and brings: the company's own figures, without defaults."""

    contact_cost: float = Field(ge=0, description="Cost of reaching one customer, in currency.")
    incentive_cost: float = Field(
        ge=0, description="Cost of what is offered, to whoever takes it, in currency."
    )
    acceptance_share: float = Field(
        gt=0, le=1, description="Share of customers about to leave whom the offer keeps."
    )


class Bands(Section):
    """Where the risk bands begin."""

    by: Literal["percentile", "probability"] = Field(
        default="percentile",
        description="percentile: among this week's eligible customers; probability: as calibrated.",
    )
    watch: float = Field(
        default=0.80,
        gt=0,
        lt=1,
        description="Share (percentile) or probability where `watch` begins.",
    )
    high: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="Share (percentile) or probability where `high` begins.",
    )

    @model_validator(mode="after")
    def _rising(self) -> Bands:
        if self.watch >= self.high:
            raise ValueError(f"watch ({self.watch}) should be below high ({self.high})")
        return self


class Config(Section):
    """One company's settings; see `load_config`."""

    company: str = Field(min_length=1, max_length=100, description="Short name of the company.")
    currency: str = Field(
        pattern=r"^[A-Z]{3}$", description="The one currency of all amounts, as in EUR."
    )
    timezone: str = Field(
        default="UTC", description="Zone whose days and weeks count, as in Europe/Rome."
    )
    store: Path = Field(description="Folder for everything we write.")
    models: Path | None = Field(
        default=None, description="Folder of saved bundles; null: in the store."
    )
    week_ends_on: Weekday = Field(default="sunday", description="Last day of a week.")
    data_until: date | None = Field(
        default=None, description="Last day the data describe; null: the newest date of any source."
    )
    features: Path | None = Field(
        default=None, description="Python file with the company's own features."
    )
    engine: Literal["duckdb", "spark"] = Field(
        default="duckdb",
        description="What folds the tables into weeks: the embedded DuckDB, or Apache Spark.",
    )
    spark: dict[str, str] = Field(
        default_factory=dict,
        description="Spark's own settings, as in spark.master; what is left out: the cluster's.",
    )
    tables: TablesConfig = Field(description="Where the data come from, table by table.")
    churn: Churn = Field(default_factory=Churn, description="What leaving means.")
    clv: Clv = Field(default_factory=Clv, description="What value means.")
    snapshots: Snapshots = Field(default_factory=Snapshots, description="Which weeks are observed.")
    leaks: Leaks = Field(default_factory=Leaks, description="What the leak check lets pass.")
    tracking: Tracking = Field(default_factory=Tracking, description="Where runs are recorded.")
    review: Review = Field(default_factory=Review, description="What the team can handle.")
    alerts: Alerts | None = Field(
        default=None, description="What owners are told about, and how; null: no alerts."
    )
    backtest: Backtest = Field(
        default_factory=Backtest, description="Which past weeks are replayed as if live."
    )
    money: Money | None = Field(
        default=None, description="What reaching a customer costs and brings; null: no profit."
    )
    bands: Bands = Field(default_factory=Bands, description="Where the risk bands begin.")
    metrics: Metrics = Field(
        default_factory=Metrics, description="How the customer-success metrics are computed."
    )

    @field_validator("company")
    @classmethod
    def _a_name_for_folders(cls, given: str) -> str:
        if re.search(r"[/\\\x00-\x1f]", given) or given.strip(". ") != given:
            raise ValueError("company names folders: no slashes, no dot or blank at either end")
        return given

    @field_validator("timezone")
    @classmethod
    def _a_known_zone(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (KeyError, ValueError, OSError):
            from zoneinfo import available_timezones

            near = difflib.get_close_matches(given, available_timezones(), 1)
            hint = f"; did you mean {near[0]}?" if near else ", as in Europe/Rome"
            raise ValueError(f"{given!r} is not a time zone{hint}") from None
        return given

    @model_validator(mode="after")
    def _what_churn_needs(self) -> Config:
        tables = self.tables
        if self.churn.kind == "contract" and tables.subscriptions is None:
            raise ValueError(
                "churn.kind contract needs the subscriptions table; give it, or set churn.kind to "
                "event (with departures) or inactivity"
            )
        if self.churn.kind == "event" and tables.departures is None:
            raise ValueError(
                "churn.kind event needs the departures table; give it, or set churn.kind"
            )
        if self.clv.basis == "payments" and tables.payments is None:
            raise ValueError("clv.basis payments needs the payments table")
        if self.clv.basis == "mrr" and tables.subscriptions is None:
            raise ValueError("clv.basis mrr needs the subscriptions table")
        return self

    @property
    def models_folder(self) -> Path:
        """Where bundles are saved: `models`, else a folder in the store."""
        return self.models or self.store / "models"

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment."""
        return self.tracking.experiment or self.company

    @property
    def model_name(self) -> str:
        """Name of the registered model."""
        return self.tracking.model or f"{self.company}-churn"

    def tracking_uri(self) -> str | None:
        """Address of the tracking server, read from the environment when it is secret.

        Returns
        -------
        str or None
            None when an SQLite file in the store should be used.

        Raises
        ------
        ConfigError
            When `tracking.uri_env` names a variable that is not set.
        """
        return _from_environment("tracking.uri_env", self.tracking.uri_env) or self.tracking.uri

    def database_url(self) -> str:
        """Address of the action store, read from the environment when it is secret.

        Returns
        -------
        str
            Default: an SQLite file in the store.

        Raises
        ------
        ConfigError
            When `review.database_env` names a variable that is not set.
        """
        given = _from_environment("review.database_env", self.review.database_env)
        return given or self.review.database or f"sqlite:///{self.store / 'actions.db'}"

    @classmethod
    def from_dict(
        cls, given: Mapping[str, Any], *, folder: str | Path = ".", name: str = "config"
    ) -> Config:
        """Build a configuration from plain data.

        Parameters
        ----------
        given
            The settings, nested as in the YAML file.
        folder
            What relative paths start from.
        name
            How error messages call it.

        Raises
        ------
        ConfigError
            When a setting is unknown, missing, of the wrong type or out of bounds.
        """
        from retain.config.reading import build  # it needs this class

        return build(dict(given), Path(folder), name, {})

    def defining_settings(self) -> dict[str, Any]:
        """Give the settings that define features, labels and money, as plain JSON data.

        Returns
        -------
        dict
            What a model bundle carries, and what scoring compares with its own configuration.
        """
        surveys = self.tables.surveys
        scales: dict[str, tuple[float, float]] = {**DEFAULT_SCALES}
        scales.update(surveys.scales if surveys else {})  # type: ignore[arg-type]
        return {
            "churn": self.churn.model_dump(mode="json"),
            "clv": self.clv.model_dump(mode="json"),
            "currency": self.currency,
            "features_sha256": _hash_of(self.features),
            "snapshots": self.snapshots.model_dump(mode="json"),
            "surveys": {
                "ces_high_means": surveys.ces_high_means if surveys else "easy",
                "scales": {kind: list(scale) for kind, scale in sorted(scales.items())},
            },
            "timezone": self.timezone,
            "week_ends_on": self.week_ends_on,
        }

    def fingerprint(self) -> str:
        """Hash the defining settings: 16 hexadecimal digits, equal on every machine."""
        text = json.dumps(self.defining_settings(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _from_environment(setting: str, variable: str | None) -> str | None:
    """Read a secret from the variable that a setting names; None when it names none."""
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise ConfigError(
            f"{setting} names {variable}, which is not set; export {variable}=... first"
        )
    return os.environ[variable]


def _hash_of(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def field_at(at: tuple[str, ...]) -> tuple[type[Section], Any]:
    """Find the section and field that a path of names leads to."""
    section: type[Section] = Config
    field: Any = None
    for part in at:
        field = section.model_fields.get(part)
        if field is None:
            return section, None
        kinds = (field.annotation, *get_args(field.annotation))
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, Section)]
        if inner:
            section = inner[0]
    return section, field


def settings_at(at: tuple[str, ...]) -> list[str]:
    """Name the settings of the section that a path leads to."""
    return list(field_at(at)[0].model_fields)


def meaning_of(at: tuple[str, ...]) -> str:
    """Give the one-sentence meaning of a setting, or nothing."""
    field = field_at(at)[1]
    return field.description if field is not None and field.description else ""
