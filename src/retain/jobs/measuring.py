"""`retain metrics`: every calculator whose tables are there, checked, traced, written, recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from retain import tracking
from retain.config import Config, load_config, place_of
from retain.errors import ConfigError, SnapshotError, TableError, nearest, some
from retain.jobs.accounting import Account, accounts_of
from retain.jobs.calculating import Asked, Calculating, choose, known
from retain.jobs.cards import logged, make_card, write_card
from retain.jobs.health import (
    foretold,
    health_of,
    health_rule,
    note_version,
    with_product_features,
)
from retain.jobs.opening import Company, as_day, open_company
from retain.jobs.progress import Listener, silent
from retain.jobs.recording import last_month, uri_of
from retain.metrics import Metric, Period

__all__ = ["Measured", "measure"]

QUARTER = re.compile(r"(\d{4})-?[Qq]([1-4])")


@dataclass(frozen=True)
class Measured:
    """What a period's metrics are.

    Parameters
    ----------
    period
        Which days.
    folder
        Where the files lie.
    metrics
        The whole of each, in catalogue order; segments are attached to it.
    left_out
        Metric to why it could not be computed.
    card
        Everything that is written, as plain data.
    """

    period: Period
    folder: Path
    metrics: tuple[Metric, ...]
    left_out: Mapping[str, str]
    card: dict[str, Any]


def measure(
    config: Config | str | Path,
    *,
    period: str | None = None,
    start: date | str | None = None,
    end: date | str | None = None,
    by: str | Sequence[str] | None = None,
    variants: Mapping[str, str | Sequence[str]] | None = None,
    ids: str | Sequence[str] = (),
    tables: Mapping[str, pd.DataFrame] | None = None,
    record: bool = True,
    progress: Listener = silent,
) -> Measured:
    """Compute the customer-success metrics of a period and write its scorecard.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    period
        A month (``2026-10``), a quarter (``2026-Q4``) or a year (``2026``). Default: the last
        month that the data hold whole.
    start, end
        First and last day, both included, instead of `period`.
    by
        Columns of customers to split by; default: as configured.
    variants
        Metric to one or more of its definitions; goes before the configured ones.
    ids
        Metrics whose rows or customers are written out, by id.
    tables
        Frames that stand in for configured sources.
    record
        Keep the values in MLflow.
    progress
        Told what is being done.

    Raises
    ------
    ConfigError
        When a metric, a variant, a column to split by or a period is not known.
    SnapshotError
        When the period lies past the data.
    """
    progress("reading tables", 0.0)
    # slips are told before anything is read
    wanted = _period(period, start, end)
    resolved = config if isinstance(config, Config) else load_config(config)
    settings = resolved.metrics
    asked = choose({**settings.variants, **(variants or {})}, settings.parameters)
    named = known(ids, "--ids")
    known(settings.targets, "metrics.targets")
    company = open_company(resolved, tables)
    with company.store.locked("metrics"):
        wanted = wanted or last_month(company.tables.data_until)
        if wanted.start > company.tables.data_until:
            raise SnapshotError(
                f"period {wanted.label}: begins after the data, which end on "
                f"{company.tables.data_until}. Name an earlier one, or bring newer data."
            )
        columns = _columns(company, settings.by if by is None else by, _named_by(config, by))
        whole = [wanted.previous(n) for n in range(settings.periods - 1, 0, -1)] + [wanted]
        health = _Health(company, whole)
        calculating = Calculating(company, made=health.tables)
        found: list[Metric] = []
        trends: list[list[Metric | None]] = []
        left_out: dict[str, str] = {}
        for done, one in enumerate(asked):
            progress(f"computing {one.calculator.label}", 0.2 + 0.6 * done / len(asked))
            try:
                metric = calculating(one, wanted, columns)
            except TableError as problem:
                left_out[one.calculator.name] = str(problem)
                continue
            found.append(metric)
            trends.append([_if_possible(calculating, one, at) for at in whole[:-1]])
        progress("drawing up the accounts", 0.8)
        accounts, without = accounts_of(calculating, wanted)
        if health.rule is not None:
            accounts["health"] = health.account()
        progress("writing", 0.9)
        card = make_card(company, wanted, whole, columns, found, trends, left_out)
        card |= {
            "accounts": {name: one.summary for name, one in accounts.items()},
            "accounts_left_out": without,
        }
        frames = {name: table for one in accounts.values() for name, table in one.tables.items()}
        folder = write_card(company.store, card, frames, [m for m in found if m.name in named])
        if record:
            progress("recording", 0.95)
            _record(company, card, folder)
    progress("done", 1.0)
    return Measured(wanted, folder, tuple(found), left_out, card)


class _Health:
    """The health scores of a company at the end of each period, when they are configured."""

    def __init__(self, company: Company, periods: Sequence[Period]) -> None:
        self._company, self.rule = company, health_rule(company)
        self.tables: dict[str, Any] = {}
        if self.rule is None:
            return
        self._weeks = {period: self._week(period) for period in periods}
        self._last = periods[-1]
        self._folded = with_product_features(company, max(self._weeks.values()))
        known = [w for w in self._weeks.values() if w >= self._folded.recorded_from]
        self._scored = health_of(company, self._folded, sorted({*known}), self.rule)
        self.tables = {"health": self._at}

    def _week(self, period: Period) -> int:
        """Give the last complete week of a period."""
        last = min(period.end - timedelta(1), self._company.tables.data_until)
        return self._company.calendar.last_complete_week(last)

    def _at(self, period: Period) -> pd.DataFrame:
        if self._weeks[period] not in self._scored:
            raise TableError("nothing was recorded by then")
        return self._scored[self._weeks[period]]

    def account(self) -> Account:
        """Say what the score is made of, how it foretold, and where its rule changed."""
        assert self.rule is not None
        company, week = self._company, self._weeks[self._last]
        day = company.calendar.last_day(week)
        newest = company.calendar.last_complete_week(company.tables.data_until)
        folded = self._folded if newest == week else with_product_features(company, newest)
        summary = {
            "as_of": str(day),
            "version": self.rule.version,
            "rule": company.config.metrics.health.model_dump(mode="json"),
            "changes": note_version(company, self.rule, day),
            "foretold": foretold(company, folded, self.rule, company.config.metrics.level),
        }
        table = self._scored.get(week)
        return Account(summary, {} if table is None else {"health": table.drop(columns="place")})


def _if_possible(calculating: Calculating, one: Asked, period: Period) -> Metric | None:
    try:
        return calculating(one, period)
    except TableError:
        return None


def _period(period: str | None, start: date | str | None, end: date | str | None) -> Period | None:
    """Read the period that is asked for; None when none is."""
    if period is not None and (start is not None or end is not None):
        raise ConfigError("give --period, or --from and --to, and not both")
    if period is not None:
        if quarter := QUARTER.fullmatch(period):
            year, number = int(quarter[1]), int(quarter[2])
            first = date(year, 3 * number - 2, 1)
            return Period(first, date(year + number // 4, (3 * number) % 12 + 1, 1))
        if re.fullmatch(r"\d{4}", period):
            return Period(date(int(period), 1, 1), date(int(period) + 1, 1, 1))
        try:
            return Period.month(period)
        except TableError:
            raise ConfigError(
                f"--period {period}: not a period; expected a month like 2026-10, a quarter like "
                "2026-Q4 or a year; for other days give --from and --to."
            ) from None
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise ConfigError("--from and --to go together: the first and the last day")
    first, last = as_day(start), as_day(end)
    if last < first:
        raise ConfigError(f"--from {first} lies after --to {last}; swap them")
    return Period(first, last + timedelta(1))


def _named_by(config: Config | str | Path, by: object) -> Callable[[str], str]:
    """Give what says where a column to split by was named: as an option, or in the settings."""
    if by is not None:
        return lambda name: f"--by {name}"
    if isinstance(config, Config):
        return lambda name: f"metrics.by: {name!r}"

    def in_the_file(name: str) -> str:
        at = [word.strip() for word in load_config(config).metrics.by].index(name)
        return f"{place_of(config, 'metrics', 'by', str(at))}: metrics.by: {name!r}"

    return in_the_file


def _columns(
    company: Company, by: str | Sequence[str], named: Callable[[str], str]
) -> tuple[str, ...]:
    """Check the columns to split by; `named` says where one was named."""
    words = by.split(",") if isinstance(by, str) else by
    names = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
    brought = (*company.tables.columns["customers"], *company.tables.attributes)
    for name in names:
        if name not in brought or name == "customer_id":
            hint = nearest(name, brought, f"there are {some(brought, 20)}")
            raise ConfigError(f"{named(name)}: customers have no such column; {hint}")
    return names


def _record(company: Company, card: dict[str, Any], folder: Path) -> None:
    """Keep the values in MLflow, one run per period."""
    tracking.record_metrics(
        f"{company.config.company} metrics {card['period']['label']}",
        logged(card),
        uri=uri_of(company),
        experiment=company.config.experiment,
        period=card["period"]["label"],
        as_of=date.fromisoformat(card["period"]["last"]),
        settings=company.config.metrics.model_dump(mode="json"),
        tags={"config_version": card["config_version"]},
        artifacts=folder,
    )
