"""How a calculator meets a company: which tables and parameters it is given, and as of when.

A calculator says which tables it needs; every other argument is found by its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any, get_args

import pandas as pd

from retain.config.section import Weekday
from retain.errors import ConfigError, RetainError, TableError, nearest
from retain.jobs.opening import Company
from retain.metrics import METRICS, THEMES, Metric, Period, Schedule, Selected
from retain.tables import SPECS

__all__ = ["Asked", "Calculating", "choose", "known"]

CATALOGUE: tuple[Any, ...] = METRICS
SPENT_ON = {  # which kinds of the costs table a calculator divides
    "cac": "acquisition",
    "ltv_to_cac": "acquisition",
    "cac_payback": "acquisition",
    "customer_retention_cost": "retention",
}
GIVEN = ("by", "variant", "customers")  # the job's own to give


@dataclass(frozen=True)
class Asked:
    """One calculator with the definition and the parameters it is asked for.

    Parameters
    ----------
    calculator
        Of the catalogue.
    variant
        One of its variants.
    parameters
        Set by the company, by name.
    """

    calculator: Any
    variant: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes(self) -> set[str]:
        """Names of the arguments that the calculator knows."""
        return set(inspect.signature(self.calculator.compute).parameters)


def known(names: str | Iterable[str], where: str) -> tuple[str, ...]:
    """Check names of metrics.

    Raises
    ------
    ConfigError
        When one is not in the catalogue; the nearest is named.
    """
    found = tuple(names.split(",") if isinstance(names, str) else names)
    _in_catalogue(found, [one.name for one in CATALOGUE], f"{where}: {{}} is not a metric")
    return found


def choose(
    variants: Mapping[str, str | Sequence[str]], parameters: Mapping[str, Mapping[str, Any]]
) -> list[Asked]:
    """Choose definitions: those asked for, else the first of each metric.

    Parameters
    ----------
    variants
        Metric to one or more of its definitions.
    parameters
        Metric to parameters of its calculator.

    Raises
    ------
    ConfigError
        When a metric, a definition or a parameter is not known; the nearest is named.
    """
    known(variants, "--variant")
    known(parameters, "metrics.parameters")
    asked = []
    for calculator in sorted(CATALOGUE, key=lambda one: THEMES.index(one.theme)):
        given = variants.get(calculator.name, calculator.variants[:1])
        chosen = (given,) if isinstance(given, str) else tuple(given)
        _in_catalogue(
            chosen, calculator.variants, f"--variant {calculator.name}={{}}: not one of its own"
        )
        own = parameters.get(calculator.name, {})
        for variant in chosen:
            one = Asked(calculator, variant, own)
            free = sorted(one.takes - {*GIVEN, *calculator.needs, "period"})
            _in_catalogue(
                own, free, f"metrics.parameters.{calculator.name}: {{}} is not a parameter"
            )
            asked.append(one)
    return asked


def _in_catalogue(names: Iterable[str], there: Sequence[str], complaint: str) -> None:
    for name in names:
        if name not in there:
            hint = nearest(name, there, f"there are {', '.join(there)}")
            raise ConfigError(f"{complaint.format(name)}; {hint}")


class Calculating:
    """A company's tables and parameters, handed to calculators one by one.

    Parameters
    ----------
    company
        Whose tables.
    as_of
        Tables as known on the evening of that day; None: all that is known.
    made
        Further tables, made for a period when a calculator asks for one.
    """

    def __init__(
        self,
        company: Company,
        as_of: date | None = None,
        made: Mapping[str, Callable[[Period], Any]] | None = None,
    ) -> None:
        self.company, self._as_of = company, as_of
        self._sources = {
            name: Selected(company.tables.con, _select(company, name, as_of))
            for name in company.tables.names
        }
        self._made = {"scores": self.scores, **(made or {})}
        self._parameters = _parameters(company, as_of)
        self._own = _own_parameters(company)

    def scores(self, period: Period) -> pd.DataFrame:
        """Give the newest week that was scored within a period: customer_id and clv.

        Raises
        ------
        TableError
            When none was.
        """
        store, last = self.company.store, self._as_of or date.max
        weeks = [
            day for day in store.scored_weeks() if period.start <= day < period.end and day <= last
        ]
        frame = store.read_week(weeks[-1], "scores") if weeks else None
        if frame is None:
            raise TableError(f"no week of {period.label} was scored; run retain score")
        return frame[["customer_id", "as_of", "clv"]]

    def parameters_of(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Give the parameters that a function knows, by name."""
        takes = inspect.signature(function).parameters
        return {name: value for name, value in self._parameters.items() if name in takes}

    def table(self, name: str, *otherwise: None) -> Any:
        """Give one table; `otherwise`, when given, where it is not there.

        Raises
        ------
        TableError
            When it is not there.
        """
        if name not in self._sources and not otherwise:
            raise TableError(f"there is no table {name}")
        return self._sources.get(name)

    def __call__(self, one: Asked, period: Period, by: tuple[str, ...] = ()) -> Metric:
        """Compute one metric.

        Raises
        ------
        TableError
            When a table or a column that it needs is not there.
        """
        made = {
            name: make(period) for name, make in self._made.items() if name in one.calculator.needs
        }
        sources = self._sources | made
        lacking = [name for name in one.calculator.needs if name not in sources]
        if lacking:
            raise TableError(f"there is no table {' or '.join(lacking)}")
        takes = one.takes
        given = self._parameters | self._own.get(one.calculator.name, {})
        named = {name: value for name, value in given.items() if name in takes}
        named |= dict(one.parameters)
        # tables that it can do without, by name
        named |= {
            name: source
            for name, source in self._sources.items()
            if name in takes and name not in one.calculator.needs
        }
        if "variant" in takes:
            named["variant"] = one.variant
        if "by" in takes:
            named["by"] = by or None
        tables = [sources[name] for name in one.calculator.needs]
        try:
            metric: Metric = one.calculator(*tables, period, **named)
        except AssertionError as problem:  # an identity of ours is broken: never show the number
            told = f"{one.calculator.name}: {problem}. This is a fault of retain."
            raise RetainError(told) from problem
        return metric


def _select(company: Company, table: str, as_of: date | None) -> str:
    """Write one table as it was known: later rows left out, later outcomes unknown."""
    tables, spec = company.tables, SPECS[table]
    columns = tables.columns[table]
    if table == "customers":
        stamps = [name for name in ("valid_from", "recorded_at") if name in columns]
        day = as_of or tables.data_until
        shown = " AND ".join(f"({s} IS NULL OR {s} < DATE '{day}' + 1)" for s in stamps) or "true"
        newest = ", ".join([*(f"{stamp} DESC NULLS LAST" for stamp in stamps), "ALL"])
        return (
            f"SELECT * FROM customers WHERE {shown} QUALIFY row_number() OVER "
            f"(PARTITION BY customer_id ORDER BY {newest.removesuffix(', ALL')}) = 1"
            if stamps
            else "SELECT * FROM customers"
        )
    if as_of is None:
        return f"SELECT * FROM {table}"
    late = f">= DATE '{as_of}' + 1"
    times = [name for name in (spec.time, "sent_at", "recorded_at") if name in columns]
    if table == "surveys" and "sent_at" in columns:
        times.remove("answered_at") if "answered_at" in times else None
    unknown = {
        column.name: column.name
        for column in spec.columns
        if column.kind == "instant" and column.name in columns and column.name not in times
    }
    ends = {"surveys": ("answered_at", ("score", "comment")), "subscriptions": ("ended_at", ())}
    when, with_it = ends.get(table, ("", ()))
    unknown |= {name: when for name in with_it if name in columns and when in unknown}
    if table == "subscriptions":
        # an end is known from the notice, else from the day itself
        notice = "coalesce(cancelled_at, ended_at)" if "cancelled_at" in columns else "ended_at"
        unknown |= {name: notice for name in ("ended_at", "end_reason") if name in columns}
        unknown.pop("renews_at", None)
    blanked = ", ".join(
        f'CASE WHEN {at} {late} THEN NULL ELSE "{name}" END AS "{name}"'
        for name, at in unknown.items()
    )
    kept = " AND ".join(f'("{name}" IS NULL OR NOT "{name}" {late})' for name in times) or "true"
    return f"SELECT * {f'REPLACE ({blanked}) ' if blanked else ''}FROM {table} WHERE {kept}"


def _parameters(company: Company, as_of: date | None) -> dict[str, Any]:
    """Give what calculators may ask for by name."""
    settings = company.config.metrics
    return {
        "level": settings.level,
        "timezone": company.config.timezone,
        "currency": company.config.currency,
        "gross_margin": company.config.clv.gross_margin,
        "rate_per_minute": settings.costs.rate_per_minute,
        "rate_per_hour": settings.costs.rate_per_hour,
        "fee_share": settings.costs.fee_share,
        "service_in_cogs": settings.costs.service_in_cogs,
        "acquisition_years": settings.costs.acquisition_years,
        "purposes": dict(settings.costs.map),
        "evidence": settings.evidence,
        "value_feature": settings.value_feature,
        "core_features": settings.core_features,
        "data_until": as_of or company.tables.data_until,
        "schedule": None if settings.hours is None else _schedule(settings.hours),
    }


def _schedule(hours: Any) -> Schedule:
    """Turn the configured hours into a desk's schedule."""
    opens, closes = (
        time.fromisoformat(text.replace("24:00", "00:00")) for text in (hours.opens, hours.closes)
    )
    days = get_args(Weekday)
    return Schedule(
        {days.index(day): (opens, closes) for day in hours.days}, frozenset(hours.holidays)
    )


def _own_parameters(company: Company) -> dict[str, dict[str, Any]]:
    """Give what single calculators need to know about the company's data."""
    settings, tables = company.config.metrics, company.tables
    scales = {
        kind: (int(low), int(high)) for kind, (low, high) in tables.scales.items() if kind != "nps"
    }
    yearly = company.config.clv.annual_discount_rate
    ces = scales.get("ces", (1, 7))
    version = settings.ces_version or ("1.0" if ces[1] - ces[0] == 4 else "2.0")
    return {
        "csat": {"scale": scales.get("csat", (1, 5))},
        "ces": {
            "scale": ces,
            "scale_version": version,
            "direction": f"high is {tables.ces_high_means}",
        },
        "trial_conversion_rate": {"within_days": settings.trial_days},
        "clv": {"monthly_discount": round((1 + yearly) ** (1 / 12) - 1, 6)},
        **{
            name: {"kinds": tuple(kind for kind, of in settings.costs.map.items() if of == purpose)}
            for name, purpose in SPENT_ON.items()
        },
    }
