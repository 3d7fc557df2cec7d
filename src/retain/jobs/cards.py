"""The card of a period: every number with its trend and target as plain data, and as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd

from retain.jobs.opening import Company
from retain.jobs.store import Store
from retain.metrics import METRICS, Metric, Period
from retain.report import write_scorecard
from retain.report.figures import plain, record, target_met

__all__ = ["as_csv", "as_json", "logged", "make_card", "write_card"]

COLUMNS = (
    "period",
    "name",
    "variant",
    "label",
    "theme",
    "by",
    "segment",
    "value",
    "unit",
    "direction",
    "target",
    "target_met",
    "undefined_because",
    "numerator",
    "denominator",
    "n",
    "low",
    "high",
    "level",
    "rows_in",
    "used",
    "excluded",
    "parameters",
    "notes",
    "formula",
)


def make_card(
    company: Company,
    period: Period,
    periods: Sequence[Period],
    by: Sequence[str],
    found: Sequence[Metric],
    trends: Sequence[Sequence[Metric | None]],
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """Lay out what a period's metrics say.

    Parameters
    ----------
    company
        Whose.
    period, periods
        The current one; and all that are shown, oldest first, the current one last.
    by
        Columns split by.
    found
        The metrics of the period, segments attached.
    trends
        For each of them, the same of the earlier periods; None where it could not be computed.
    left_out
        Metric to the reason why it was left out.

    Returns
    -------
    dict
        Plain data, the same for the same company.
    """
    settings = company.config.metrics
    place = {one.name: one for one in METRICS}
    metrics = []
    for metric, before in zip(found, trends, strict=True):
        calculator = place[metric.name]
        one = record(
            metric,
            label=calculator.label,
            theme=calculator.theme,
            currency=company.config.currency,
        )
        target = settings.targets.get(metric.name)
        steps = [*before, metric]
        one |= {
            "target": target,
            "target_met": target_met(one["value"], target, metric.direction),
            "trend": [
                {"period": at.label, "value": None if step is None else plain(step.value)}
                for at, step in zip(periods, steps, strict=True)
            ],
        }
        metrics.append(one)
    return {
        "company": company.config.company,
        "currency": company.config.currency,
        "timezone": company.config.timezone,
        "period": _told(period),
        "data_until": str(company.tables.data_until),
        "periods": [at.label for at in periods],
        "by": list(by),
        "config_version": company.config.fingerprint(),
        "data_fingerprints": dict(company.tables.fingerprints),
        "notes": list(_notes(company, period)),
        "metrics": metrics,
        "left_out": [
            {"name": name, "label": place[name].label, "because": because}
            for name, because in left_out.items()
        ],
        "checks": list(_checks(metrics)),
    }


def write_card(
    store: Store,
    card: dict[str, Any],
    frames: Mapping[str, pd.DataFrame],
    listed: Sequence[Metric] = (),
) -> Path:
    """Write a period's files; a run that is killed leaves what was there before.

    Parameters
    ----------
    store
        Where.
    card
        From `make_card`.
    frames
        File name, without its ending, to a table.
    listed
        Metrics whose ids are written out.

    Returns
    -------
    Path
        The period's folder: metrics.json, metrics.csv, scorecard.html; ids where asked for.
    """
    target = store.metrics(card["period"]["label"])
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.replacing(target) as folder:
        text = as_json(card)
        (folder / "metrics.json").write_text(text, encoding="utf-8")
        (folder / "metrics.csv").write_text(as_csv(card), encoding="utf-8", newline="")
        for name, frame in frames.items():
            frame.map(_flat).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        for metric in listed:
            (folder / "ids").mkdir(exist_ok=True)
            path = folder / "ids" / f"{metric.name}-{metric.variant}.csv"
            path.write_text(_ids(metric), encoding="utf-8", newline="")
        write_scorecard(folder / "scorecard.html", json.loads(text))
    return target


def as_json(card: Mapping[str, Any]) -> str:
    """Write a card as JSON, the same for the same card."""
    return json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(card: Mapping[str, Any]) -> str:
    """Write a card as CSV: one line per metric, segment and period."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for one in card["metrics"]:
        for step in one["trend"][:-1]:
            kept = ("name", "variant", "label", "theme", "unit", "direction")
            writer.writerow({name: one[name] for name in kept} | step)
        for line in (one, *one["segments"]):
            by, segment = next(iter(line["by"].items()), ("", ""))
            writer.writerow(
                {name: _flat(line.get(name)) for name in COLUMNS}
                | {"period": card["period"]["label"], "by": by, "segment": segment}
            )
    return out.getvalue()


def logged(card: Mapping[str, Any]) -> dict[str, float]:
    """Name every defined value of a card for a record of runs.

    Returns
    -------
    dict
        ``metrics.<name>.<variant>``, segments with ``/column/segment`` behind it.
    """
    values = {}
    for one in card["metrics"]:
        for line in (one, *one["segments"]):
            if line["value"] is not None:
                tail = "".join(f"/{column}/{segment}" for column, segment in line["by"].items())
                values[f"metrics.{line['name']}.{line['variant']}{tail}"] = float(line["value"])
    return values


def _told(period: Period) -> dict[str, Any]:
    """Name a period for readers: October 2026, Q4 2026, 2026, or its first and last day."""
    last = period.end - timedelta(1)
    months = 12 * (period.end.year - period.start.year) + period.end.month - period.start.month
    title = f"{period.start} to {last}"
    if period.start.day == period.end.day == 1:
        if months == 1:
            title = f"{period.start:%B %Y}"
        elif months == 3 and period.start.month % 3 == 1:
            title = f"Q{period.start.month // 3 + 1} {period.start.year}"
        elif months == 12 and period.start.month == 1:
            title = str(period.start.year)
    return {
        "label": period.label,
        "title": title,
        "start": str(period.start),
        "last": str(last),
        "days": period.days,
    }


def _notes(company: Company, period: Period) -> Iterator[str]:
    """Say what a reader of the whole card must know."""
    until = company.tables.data_until
    if period.end > until + timedelta(1):
        yield (
            f"The period is not over: the data end on {until}. What is counted will still grow, "
            "and what takes time to show (renewals, answers, solved cases) is low."
        )
    aside = sum(sum(counts.set_aside.values()) for counts in company.tables.counts.values())
    if aside:
        yield (
            f"{aside:,} rows could not be used and were set aside before anything was computed; "
            "retain check lists them with their reason."
        )


def _checks(metrics: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Check what must hold among the values, whatever they are."""
    lines = [line for one in metrics for line in (one, *one["segments"])]
    broken = [one for one in lines if one["rows_in"] != one["used"] + sum(one["excluded"].values())]
    yield {
        "holds": not broken,
        "says": f"Rows in = rows used + rows left out by reason, for {len(lines):,} numbers",
    }
    summed = [one for one in metrics if one["segments"]]
    if summed:
        yield {
            "holds": all(_adds_up(one) for one in summed),
            "says": f"Rows read and rows used of the segments of {len(summed):,} metrics "
            "add up to the whole",
        }


def _adds_up(one: Mapping[str, Any]) -> bool:
    for column in dict.fromkeys(key for line in one["segments"] for key in line["by"]):
        pieces = [line for line in one["segments"] if column in line["by"]]
        for what in ("rows_in", "used"):
            if one[what] != sum(line[what] for line in pieces):
                return False
    return True


def _flat(value: Any) -> Any:
    """Write a value into one cell."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}={_flat(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(str(inner) for inner in value)
    if isinstance(value, Fraction | Decimal):
        return plain(value)
    return "" if value is None else value


def _ids(metric: Metric) -> str:
    """List the rows or customers behind a metric: in what part each stands."""
    ids = metric.ids()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("role", "of", "id"))
    named = [("numerator", "", ids.numerator), ("denominator", "", ids.denominator)]
    named += [("part", name, found) for name, found in ids.parts.items()]
    named += [("left out", reason, found) for reason, found in ids.excluded.items()]
    for role, of, found in named:
        writer.writerows((role, of, one) for one in found)
    return out.getvalue()
