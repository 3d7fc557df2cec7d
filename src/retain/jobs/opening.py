"""Opening a company: its configuration turned into plain arguments, its tables read and folded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from retain import tables as table_room
from retain.config import Config, TableConfig, load_config
from retain.errors import ConfigError, SnapshotError, TableError, many, nearest, some
from retain.jobs.store import Store
from retain.snapshots import ChurnRule, ClvRule
from retain.tables import Finding, Tables, read_tables
from retain.weeks import Calendar, FoldedWeeks, fold_tables

__all__ = [
    "Company",
    "as_day",
    "churn_rule",
    "company_of",
    "open_company",
    "read_company",
    "settle_as_of",
    "table_mappings",
]

OLDEST_YEAR = 1971  # rows dated earlier are set aside
NEEDED = {"contract": "subscriptions", "event": "departures"}  # to tell who can leave


@dataclass(frozen=True)
class Company:
    """A company as the jobs see it.

    Parameters
    ----------
    config
        The settings as given.
    store
        Where everything we write lies.
    tables
        Clean tables.
    calendar
        How days become weeks.
    churn, clv
        What leaving and value mean.
    """

    config: Config
    store: Store
    tables: Tables
    calendar: Calendar
    churn: ChurnRule
    clv: ClvRule

    def fold(
        self, week: int, top_features: tuple[str, ...], progress: Any = lambda _: None
    ) -> FoldedWeeks:
        """Fold the tables into customer-weeks known by the end of `week`."""
        as_of = self.calendar.last_day(week)
        return fold_tables(
            self.tables,
            self.calendar,
            store=self.store.folder,
            top_features=top_features,
            attribute_copies=self.store.attribute_copies(as_of),
            last_week=week,
            progress=progress,
        )


def read_company(
    config: Config | str | Path,
    frames: Mapping[str, pd.DataFrame] | None = None,
    without: tuple[str, ...] = (),
) -> tuple[Config, Store, Tables]:
    """Read a company's tables, whatever is found in them.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    frames
        Tables given as frames instead of the configured sources.
    without
        Tables to leave out.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    _known_tables("tables", frames or {})
    mappings = table_mappings(settings, frames or {})
    _known_tables("--without", without)
    for name in without:
        mappings.pop(name, None)
    store = Store(settings.store)
    tables = read_tables(
        mappings,
        timezone=settings.timezone,
        currency=settings.currency,
        data_until=settings.data_until,
        summaries=store.folder / "reads",
        spark=settings.spark if settings.engine == "spark" else None,
    )
    needed = NEEDED.get(settings.churn.kind)
    if needed in mappings and needed not in tables.columns:
        tables.findings = _not_without(needed, settings.churn.kind, tables)
    return settings, store, tables


def _not_without(needed: str, kind: str, tables: Tables) -> tuple[Finding, ...]:
    """Make an error of it that the table is empty which says who leaves."""
    others = tuple(one for one in tables.findings if one.table != needed)
    return (
        Finding(
            needed,
            "",
            "error",
            0,
            f"{needed} holds no rows, and churn.kind {kind} takes from it who has left.",
            todo="Export it again; or set churn.kind to what the other tables tell.",
        ),
        *others,
    )


def open_company(
    config: Config | str | Path,
    frames: Mapping[str, pd.DataFrame] | None = None,
    without: tuple[str, ...] = (),
) -> Company:
    """Read a company's tables; parameters as for `read_company`.

    Raises
    ------
    TableError
        When the tables cannot be used at all.
    """
    settings, store, tables = read_company(config, frames, without)
    if tables.errors:
        raise TableError(_impossible(tables))
    return company_of(settings, store, tables)


def company_of(settings: Config, store: Store, tables: Tables) -> Company:
    """Put a company together from tables that have been read, whatever was found in them."""
    return Company(
        settings,
        store,
        tables,
        Calendar(settings.week_ends_on),
        churn_rule(settings),
        ClvRule(
            settings.clv.horizon_weeks,
            settings.clv.gross_margin,
            settings.clv.annual_discount_rate,
            settings.clv.basis,
        ),
    )


def churn_rule(settings: Config) -> ChurnRule:
    """Say what leaving means, as configured."""
    return ChurnRule(
        settings.churn.kind,
        settings.churn.horizon_weeks,
        settings.churn.gap_weeks,
        settings.churn.grace_weeks,
        settings.churn.active_weeks,
        settings.churn.include_involuntary,
    )


def as_day(as_of: date | str) -> date:
    """Read a day.

    Raises
    ------
    ConfigError
        When it is not a date.

    Examples
    --------
    >>> as_day("2026-11-15")
    datetime.date(2026, 11, 15)
    """
    if isinstance(as_of, datetime):
        return as_of.date()
    try:
        return as_of if isinstance(as_of, date) else date.fromisoformat(as_of)
    except (TypeError, ValueError):
        raise ConfigError(f"--as-of {as_of}: not a date; expected one like 2026-11-15.") from None


def settle_as_of(company: Company, as_of: date | str | None) -> int:
    """Turn the day asked for into a week; default: the last complete week of the data.

    Raises
    ------
    ConfigError
        When it is not a date, or a day that does not end a week.
    SnapshotError
        When the day lies past the data.
    """
    calendar, until = company.calendar, company.tables.data_until
    newest = calendar.last_complete_week(until)
    if as_of is None:
        return newest
    day = as_day(as_of)
    if day > until or day.year < OLDEST_YEAR:
        where = "past" if day > until else "before"
        raise SnapshotError(
            f"as_of {day} lies {where} the data, whose last complete week ends on "
            f"{calendar.last_day(newest)}. Use that day or bring other data."
        )
    week = calendar.week_of(day)
    if calendar.last_day(week) != day:
        raise ConfigError(
            f"--as-of {day}: is a {day:%A}; weeks end on {company.config.week_ends_on}. Use "
            f"{calendar.last_day(week - 1)} or {calendar.last_day(week)}."
        )
    return week


def _known_tables(what: str, names: Iterable[str]) -> None:
    """Refuse names that are not tables of ours."""
    for name in names:
        if name not in table_room.SPECS:
            hint = nearest(name, table_room.SPECS, f"there are {some(table_room.SPECS, 10)}")
            raise ConfigError(f"{what}: {name!r} is not a table; {hint}")


def table_mappings(
    config: Config, frames: Mapping[str, pd.DataFrame] | None = None
) -> dict[str, Any]:
    """Turn the tables section into plain mappings; a frame stands in for its source."""
    mappings = {}
    for name in type(config.tables).model_fields:
        given: TableConfig | None = getattr(config.tables, name)
        if given is None and name not in (frames or {}):
            continue
        plain = {} if given is None else {f: getattr(given, f) for f in type(given).model_fields}
        if frames and name in frames:
            plain |= {"source": frames[name], "query": None, "sources": {}}
        mappings[name] = table_room.Mapping(**plain)
    return mappings


def _impossible(tables: Tables) -> str:
    """Say in one line what stops the run, where several do the first; the others by table."""
    first, *others = tables.errors
    said = f"the data cannot be used: {_told(first)}"
    if others:
        where = some(dict.fromkeys(one.table for one in others if one.table), 10)
        errors = many(len(others), "more error", "more errors")
        said += f" {errors}, in {where}: see `retain check`."
    return said


def _told(finding: Any) -> str:
    where = f"{finding.table}.{finding.column}" if finding.column else finding.table
    return f"{where}: {finding.message} {finding.todo}".strip()
