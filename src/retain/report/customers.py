"""What the weekly page knows of each customer: scored row, drivers and weeks as one record.

Everything is rounded here, once, to what will be printed, so that the page and its script show the
same figures and contributions add up on the printed digits.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from retain.report.sparks import WEEKS
from retain.report.wording import clean, parts_that_add_up, tenths
from retain.snapshots import NOT_SCORED

__all__ = [
    "FULL_DETAIL",
    "MOST_LISTED",
    "THEMES",
    "UNSTABLE_PCT",
    "Customer",
    "Driver",
    "ValueDriver",
    "as_day",
    "has_risen",
    "left_out",
    "packed",
    "read_customers",
    "series_named",
    "slug",
]

FULL_DETAIL = 300
"""Customers, first in the list, with charts and all their drivers: keeps 2,000 below 3 MB."""

MOST_LISTED = 10_000
"""Customers on the page, first in the list; some five megabytes. Its totals are over all."""

ROSE = 0.01
"""Share: from one point up a customer counts as risen this week."""

UNSTABLE_PCT = 40
"""Below this stability of the first driver, in percent, no single reason is named."""

THEMES: tuple[str, ...] = ("usage", "effort", "survey", "commercial", "profile")
"""The themes of signals, in the order of their badges."""

_MOST = {"raise": 5, "lower": 3, "clv": 5}
_MOST_BRIEF = {"raise": 3, "lower": 2, "clv": 2}


@dataclass(frozen=True, slots=True)
class Driver:
    """One signal's share in a churn probability; points are tenths of a percentage point."""

    theme: str
    points: int | None
    before: int | None
    actionable: bool
    stability: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class ValueDriver:
    """One signal's share in a CLV, in currency."""

    theme: str
    amount: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Customer:
    """One eligible customer, rounded as printed; probabilities in tenths of a percent."""

    id: str
    segment: str
    plan: str
    owner: str
    band: str
    p: int
    low: int | None
    high: int | None
    by: tuple[tuple[int, int], ...]
    above: int | None
    before: int | None
    change: int | None
    change_behaviour: int | None
    change_data: int | None
    change_model: int | None
    rose: bool
    clv: float | None
    clv_low: float | None
    clv_high: float | None
    mrr: float | None
    renews_in: int | None
    at_risk: float | None
    coverage: int | None
    freshness: int | None
    health: float | None
    drivers: tuple[Driver, ...] = ()
    value_drivers: tuple[ValueDriver, ...] = ()
    weeks: dict[str, list[float | int | None]] = field(default_factory=dict)
    full: bool = True
    was_scored: bool = False  # in an earlier week than the one before

    @property
    def slug(self) -> str:
        """The customer's place on the page: ``#customer-<slug>``."""
        return slug(self.id)

    @property
    def raising(self) -> tuple[Driver, ...]:
        """Drivers that go with a higher probability, largest first."""
        return tuple(d for d in self.drivers if d.points is None or d.points >= 0)

    @property
    def said(self) -> tuple[str, ...]:
        """What the raising drivers say; two that speak through the same figure say it once."""
        return tuple(dict.fromkeys(d.sentence for d in self.raising))

    @property
    def lowering(self) -> tuple[Driver, ...]:
        """Drivers that go with a lower probability, largest first."""
        return tuple(d for d in self.drivers if d.points is not None and d.points < 0)

    @property
    def unstable(self) -> bool:
        """Whether the first raising driver is too unsteady to be named as the reason."""
        first = self.raising[0].stability if self.raising else None
        return first is not None and first < UNSTABLE_PCT


def slug(customer_id: str) -> str:
    """Make an id safe inside an address.

    Examples
    --------
    >>> slug("A/7 <b>")
    'A%2F7%20%3Cb%3E'
    """
    return quote(customer_id, safe="~")


def as_day(value: object) -> datetime.date | None:
    """Read a date from whatever a frame or a manifest holds; None when there is none.

    Examples
    --------
    >>> as_day("2026-11-15"), as_day(pd.NaT)
    (datetime.date(2026, 11, 15), None)
    """
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    return pd.Timestamp(str(value)).date()


def _number(value: Any) -> float | None:
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    figure = float(value)
    return figure if math.isfinite(figure) else None


def _share(value: Any) -> int | None:
    figure = _number(value)
    return None if figure is None else tenths(figure)


def _pct(value: Any) -> int | None:
    figure = _number(value)
    return None if figure is None else math.floor(figure * 100 + 0.5)


def _rounded(value: Any) -> float | None:
    """Round an amount as it will be printed: whole from 100 up, else cents."""
    figure = _number(value)
    if figure is None:
        return None
    if abs(figure) >= 99.995 or figure == int(figure):
        return math.floor(figure + 0.5)
    return math.floor(figure * 100 + 0.5) / 100


def _text(value: Any) -> str:
    missing = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    return "" if missing else clean(value)


def _compact(value: Any) -> float | int | None:
    """Keep a weekly value to about four figures."""
    figure = _number(value)
    if figure is None:
        return None
    if abs(figure) >= 100 or figure == int(figure):
        return math.floor(figure + 0.5)
    return round(figure, 1)


def _per_customer(drivers: pd.DataFrame | None) -> dict[str, list[dict[str, Any]]]:
    """Driver rows by customer, largest contribution first, ties in order of signal."""
    if drivers is None or drivers.empty:
        return {}
    order = drivers.assign(
        customer_id=drivers["customer_id"].astype(str),
        _size=drivers["contribution"].astype(float).abs(),
        _name=drivers["signal"].astype(str) if "signal" in drivers else "",
    ).sort_values(["customer_id", "_size", "_name"], ascending=[True, False, True], kind="stable")
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in order.to_dict("records"):
        rows.setdefault(row["customer_id"], []).append({str(k): v for k, v in row.items()})
    return rows


def _churn_drivers(
    rows: Iterable[Mapping[str, Any]], scored: Mapping[str, Any], most: Mapping[str, int]
) -> tuple[Driver, ...]:
    shown: dict[bool, list[Driver]] = {True: [], False: []}
    for row in rows:
        size = _share(row.get("contribution"))
        if row.get("target") != "churn" or size is None or not _text(row.get("sentence")):
            continue
        was = _share(row.get("contribution_before"))
        shown[size >= 0].append(
            Driver(
                theme=_text(row.get("theme")) or THEMES[-1],
                points=size,
                before=was if was is not None and abs(was - size) >= 5 else None,
                actionable=row.get("actionable") is True or str(row.get("actionable")) == "True",
                stability=_pct(row.get("stability")),
                sentence=_text(row["sentence"]),
            )
        )
    if not shown[True] and not shown[False]:  # the scored row alone: sentences without their size
        names = [f"driver_{i}" for i in range(1, 6)]
        said = [_text(scored.get(name)) for name in names]
        return tuple(Driver(THEMES[-1], None, None, False, None, text) for text in said if text)
    return (*shown[True][: most["raise"]], *shown[False][: most["lower"]])


def _value_drivers(rows: Iterable[Mapping[str, Any]], most: int) -> tuple[ValueDriver, ...]:
    found = []
    for row in rows:
        amount = _rounded(row.get("contribution")) if row.get("target") == "clv" else None
        if amount and _text(row.get("sentence")):
            theme = _text(row.get("theme")) or THEMES[-1]
            found.append(ValueDriver(theme, amount, _text(row["sentence"])))
    return tuple(found[:most])


def series_named(weekly: pd.DataFrame | None) -> tuple[str, ...]:
    """Name the weekly series that a page can draw, money as MRR or else as spend.

    Examples
    --------
    >>> series_named(pd.DataFrame({"events": [1], "mrr": [None], "spend": [9.5]}))
    ('events', 'spend')
    """
    if weekly is None:
        return ()
    known = [
        name
        for name in ("events", "contacts", "nps", "mrr", "spend")
        if name in weekly.columns and bool(weekly[name].notna().any())
    ]
    return tuple(name for name in known if not (name == "spend" and "mrr" in known))


def _weeks(
    weekly: pd.DataFrame | None, ids: set[str], as_of: datetime.date
) -> dict[str, dict[str, list[float | int | None]]]:
    """Lay out the last `WEEKS` weeks of these customers, oldest first; None = nothing known."""
    names = series_named(weekly)
    if weekly is None or not names:
        return {}
    mine = weekly.loc[weekly["customer_id"].astype(str).isin(ids)]
    days = (pd.Timestamp(as_of) - pd.to_datetime(mine["week_ends_on"])).dt.days
    found: dict[str, dict[str, list[float | int | None]]] = {}
    columns = [mine[name].tolist() for name in names]
    for customer_id, age, *values in zip(mine["customer_id"], days, *columns, strict=True):
        ago = int(age) // 7
        if not 0 <= ago < WEEKS:
            continue
        series = found.setdefault(str(customer_id), {name: [None] * WEEKS for name in names})
        for name, value in zip(names, values, strict=True):
            series[name][WEEKS - 1 - ago] = _compact(value)
    return found


def read_customers(
    scores: pd.DataFrame,
    drivers: pd.DataFrame | None,
    weekly: pd.DataFrame | None,
    as_of: datetime.date,
) -> list[Customer]:
    """Bring the eligible customers of one week into the order of the page.

    Parameters
    ----------
    scores, drivers, weekly
        The scored output of one week (one row per customer; one per driver; one per customer-week).
    as_of
        Last day of the scored week.

    Returns
    -------
    list of Customer
        The first `MOST_LISTED` by value at risk, then probability (both descending), then id.
        Beyond `FULL_DETAIL` they carry fewer drivers and no weeks.
    """
    live = scores.loc[scores["eligible"].fillna(False).astype(bool)]
    amounts = [
        -np.nan_to_num(pd.to_numeric(live[name]).to_numpy(dtype=np.float64, na_value=np.nan))
        if name in live
        else np.zeros(len(live))
        for name in ("churn_probability", "value_at_risk")
    ]
    order = np.lexsort((live["customer_id"].astype(str).to_numpy(dtype=object), *amounts))
    shares = pd.to_numeric(live["percentile"]) if "percentile" in live else pd.Series([0.0])
    as_share = not shares.max() > 1.0
    first = live.iloc[order[:MOST_LISTED]]
    rows = [{str(k): v for k, v in row.items()} for row in first.to_dict("records")]
    above = [_number(row.get("percentile")) for row in rows]
    by_customer = _per_customer(drivers)
    weeks = _weeks(weekly, {str(row["customer_id"]) for row in rows[:FULL_DETAIL]}, as_of)
    return [
        _customer(
            row,
            by_customer.get(str(row["customer_id"]), []),
            weeks.get(str(row["customer_id"]), {}),
            as_of,
            full=place < FULL_DETAIL,
            above=None if share is None else share * (1.0 if as_share else 0.01),
        )
        for place, (row, share) in enumerate(zip(rows, above, strict=True))
    ]


def has_risen(moved: Any) -> Any:
    """Say of changes of probability, one or many, whether they count as a rise."""
    return np.round(moved, 9) >= ROSE


def _customer(
    row: Mapping[str, Any],
    drivers: list[dict[str, Any]],
    weeks: dict[str, list[float | int | None]],
    as_of: datetime.date,
    *,
    full: bool,
    above: float | None,
) -> Customer:
    most = _MOST if full else _MOST_BRIEF
    probability, before = (
        _number(row["churn_probability"]) or 0.0,
        _share(row.get("previous_probability")),
    )
    p = tenths(probability)
    # of the figures themselves: a difference of rounded ones is up to a tenth of a point off
    moved = probability - (_number(row.get("previous_probability")) or 0.0)
    change = None if before is None else tenths(moved)
    parts = [_number(row.get(f"change_{name}")) for name in ("behaviour", "data", "model")]
    split: list[int | None] = [None, None, None]
    if change is not None and any(part is not None for part in parts):
        split = list(parts_that_add_up([part or 0.0 for part in parts], change))
    renews = as_day(row.get("renews_at"))
    freshness = _number(row.get("freshness_days"))
    return Customer(
        id=clean(row["customer_id"]),
        segment=_text(row.get("segment")),
        plan=_text(row.get("plan")),
        owner=_text(row.get("owner")),
        band=_text(row.get("risk_band")) or "low",
        p=p,
        low=_share(row.get("churn_low")),
        high=_share(row.get("churn_high")),
        by=_by_horizon(row) if full else (),
        above=None if above is None else min(int(above * 100), 99),
        before=before,
        change=change,
        change_behaviour=split[0],
        change_data=split[1],
        change_model=split[2],
        rose=before is not None and bool(has_risen(moved)),
        clv=_rounded(row.get("clv")),
        clv_low=_rounded(row.get("clv_low")),
        clv_high=_rounded(row.get("clv_high")),
        mrr=_rounded(row.get("mrr")),
        renews_in=None if renews is None else (renews - as_of).days,
        at_risk=_rounded(row.get("value_at_risk")),
        coverage=_pct(row.get("coverage")),
        freshness=None if freshness is None else math.floor(freshness + 0.5),
        health=_rounded(row.get("health_score")),
        drivers=_churn_drivers(drivers, row, most),
        value_drivers=_value_drivers(drivers, most["clv"]),
        weeks=weeks,
        full=full,
        was_scored=row.get("change_unknown_because") == NOT_SCORED,
    )


def _by_horizon(row: Any) -> tuple[tuple[int, int], ...]:
    """Weeks, and the probability of having left by then, as far as they are known."""
    found = []
    for name in row:
        weeks = str(name).removeprefix("churn_by_").removesuffix("w")
        share = _share(row[name]) if weeks.isdigit() else None
        if share is not None:
            found.append((int(weeks), share))
    return tuple(sorted(found))


def left_out(scores: pd.DataFrame, most: int = 200) -> dict[str, tuple[int, list[str]]]:
    """Count the customers that are not eligible by reason, and name up to `most` of each.

    Returns
    -------
    dict of str to (int, list of str)
        Reason -> (how many, ids in order), the largest reason first.
    """
    rest = scores.loc[~scores["eligible"].fillna(False).astype(bool)]
    if rest.empty:
        return {}
    found: dict[str, list[str]] = {}
    for customer_id, reason in zip(rest["customer_id"], rest["not_eligible_because"], strict=True):
        found.setdefault(_text(reason) or "no reason given", []).append(clean(customer_id))
    order = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {reason: (len(ids), sorted(ids)[:most]) for reason, ids in order}


def packed(customers: list[Customer]) -> dict[str, Any]:
    """Write the customers as compact arrays for the page's script.

    Returns
    -------
    dict
        ``fields`` (names of the columns of ``rows``), ``rows``, ``lists`` (the words that segment,
        plan, owner and band index into) and ``sentences`` (those used more than once, by index).
        Weeks are written as text ("3,4,,7"), an empty place for nothing known.
    """
    names = [f.name for f in fields(Customer)]
    words: dict[str, list[str]] = {
        name: sorted({getattr(c, name) for c in customers})
        for name in ("segment", "plan", "owner", "band")
    }
    place = {name: {word: i for i, word in enumerate(known)} for name, known in words.items()}
    uses: dict[str, int] = {}
    for customer in customers:
        said_of = [d.sentence for d in customer.drivers]
        for text in said_of + [d.sentence for d in customer.value_drivers]:
            uses[text] = uses.get(text, 0) + 1
    sentences = [text for text, n in uses.items() if n > 1]
    said = {text: i for i, text in enumerate(sentences)}
    themes = list(THEMES)

    def theme(name: str) -> int:
        if name not in themes:
            themes.append(name)
        return themes.index(name)

    rows = []
    for customer in customers:
        row: list[Any] = []
        for name in names:
            value = getattr(customer, name)
            if name in place:
                value = place[name][value]
            elif name == "drivers":
                value = [
                    [
                        theme(d.theme),
                        d.points,
                        d.before,
                        int(d.actionable),
                        d.stability,
                        said.get(d.sentence, d.sentence),
                    ]
                    for d in value
                ]
            elif name == "value_drivers":
                value = [
                    [theme(d.theme), d.amount, said.get(d.sentence, d.sentence)] for d in value
                ]
            elif name == "weeks":
                value = {
                    key: ",".join("" if v is None else str(v) for v in series)
                    for key, series in value.items()
                }
            elif name == "full":
                value = int(value)
            row.append(value)
        rows.append(row)
    return {"fields": names, "rows": rows, "lists": words, "sentences": sentences, "themes": themes}
