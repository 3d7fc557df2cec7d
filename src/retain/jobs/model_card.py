"""The model card: what a model is for, what it learnt from, how far it can be relied on.

Gathers what a training knows into plain data; `retain.report.model_card` lays it out. The same
training gives the same bytes; where the run was recorded goes into a file of its own.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain import drift, evaluate, explain
from retain.features import Column
from retain.jobs.acting import verdicts_on_reasons
from retain.jobs.backtesting import yearly_margin
from retain.jobs.beside import people
from retain.jobs.monitoring import LEANS_ON_SHIFTED, OFF_BY, OFF_BY_POINTS, OLD_WEEKS
from retain.jobs.opening import Company
from retain.jobs.store import Store, partial
from retain.jobs.valuing import JudgedValue
from retain.model import Bundle
from retain.report.model_card import CARD_FILES, write_model_page
from retain.snapshots import ELIGIBLE, clv_basis
from retain.weeks import FoldedWeeks

__all__ = ["Judged", "grade_of", "make_model_card", "note_run", "run_file", "write_model_card"]

SEGMENTS = ("segment", "plan", "region", "industry")
MOST_SEGMENTS = 12  # of one column; a column with more is an id
TENURES = ((52.0, "first year"), (104.0, "second year"), (math.inf, "third year or later"))
TENURE_STEPS = (0.2, 0.4, 0.6, 0.8)
CAPACITIES = (0.5, 1.0, 2.0, 5.0)  # times the team's
DRIVEN_ROWS = 2_000
DRIFT_ROWS = 20_000
TOP = 3


@dataclass(frozen=True)
class Judged:
    """The rows that a model was judged on, out of time.

    Parameters
    ----------
    y, p, when, who
        Outcome, probability, week and customer (position) of each row.
    others
        Baseline to its probabilities.
    matrix
        As the model sees the rows.
    learnt
        The matrix of the rows that the judged model had learnt from, their customers and outcomes.
    history
        Week and outcome of every ripe row, judged or learnt from.
    eligible
        Snapshots by reason, `ELIGIBLE` among them.
    """

    y: Any
    p: Any
    when: Any
    who: Any
    others: Mapping[str, Any]
    matrix: Any
    learnt: tuple[Any, Any, Any]
    history: tuple[Any, Any]
    eligible: Mapping[str, int]


def grade_of(
    figures: Mapping[str, Any],
    leaks: Iterable[Mapping[str, Any]],
    columns: Sequence[Column],
    judged: Judged,
    *,
    capacity: int,
    seed: int,
) -> dict[str, Any]:
    """Grade a model beside the simpler methods.

    Parameters
    ----------
    figures, leaks
        Of the model, and what the leak check found.
    columns, judged
        What the columns of the matrix mean, and what the model was judged on.
    capacity
        Customers that the team can act on in a week.
    seed
        Of the intervals.

    Returns
    -------
    dict
        grade (letter, meaning, reason, rule, conditions), differences (baseline to the model minus
        it), chance (calibration error of right probabilities), beyond_tenure.
    """

    def minus(other: Any) -> dict[str, dict[str, float]]:
        return evaluate.churn_differences(
            judged.y,
            judged.p,
            other,
            judged.who,
            capacity=capacity,
            when=judged.when,
            seed=seed,
        )

    differences = {name: minus(other) for name, other in judged.others.items()}
    chance = evaluate.calibration_by_chance(judged.p, judged.who, seed=seed)
    tenure = _by_tenure(columns, judged)
    beyond = None if tenure is None else minus(tenure)["auc"]
    grade = evaluate.grade_churn(
        figures,
        differences,
        chance_calibration_error=chance,
        left=int(judged.y.sum()),
        beyond_tenure=beyond,
        leaks_let_through=sum(one["severity"] == "error" for one in leaks),
    )
    return {
        "grade": {
            "letter": grade.letter,
            "meaning": grade.meaning,
            "reason": grade.reason,
            "rule": evaluate.RULE,
            "conditions": [dataclasses.asdict(one) for one in grade.conditions],
        },
        "differences": differences,
        "chance": {"calibration_error": chance},
        "beyond_tenure": beyond,
    }


def make_model_card(
    company: Company,
    bundle: Bundle,
    folded: FoldedWeeks,
    columns: Sequence[Column],
    judged: Judged,
    value: JudgedValue | None,
    graded: Mapping[str, Any],
    *,
    version: str,
    seed: int,
) -> dict[str, Any]:
    """Gather everything that a card must hold.

    Parameters
    ----------
    company, bundle, folded
        Whose model it is, the model, and what it was learnt from.
    columns
        What the columns of the matrix mean, in its order.
    judged, value
        What it was judged on; `value` is None where no CLV could be judged.
    graded
        From `grade_of`.
    version
        The model's name.
    seed
        Of the intervals.

    Returns
    -------
    dict
        The same for the same training.
    """
    about = bundle.about
    capacity = company.config.review.capacity_per_week
    weeks = np.unique(judged.when)
    return {
        "company": company.config.company,
        "currency": company.config.currency,
        "model": company.config.model_name,
        "model_version": version,
        "config_version": company.config.fingerprint(),
        "trained_as_of": about["as_of"],
        **graded,
        "definition": _definition(company),
        "data": _data(company, bundle, folded, judged, columns),
        "leaks": about["leaks"],
        "split": {
            "snapshots": about["snapshots"],
            "test_snapshots": about["test_snapshots"],
            "purge_weeks": company.churn.ripe_weeks,
            "rows": about["rows"],
            "test_rows": about["test_rows"],
        },
        "learning": {"chosen": bundle.churn.chosen, "tuning": about.get("tuning")},
        "figures": about["figures"],
        "calibration": {
            "curve": _records(evaluate.calibration_curve(judged.y, judged.p, judged.who)),
            "line": evaluate.calibration_line(judged.y, judged.p, judged.who, seed=seed),
            "interval": about.get("interval"),
        },
        "by_snapshot": [
            {
                "as_of": _day(folded, week),
                "n": int(rows.sum()),
                "left": int(judged.y[rows].sum()),
                "figures": evaluate.churn_figures(
                    judged.y[rows], judged.p[rows], judged.who[rows], capacity=capacity, seed=seed
                ),
            }
            for week in weeks
            if (rows := judged.when == week).any()
        ],
        "segments": _segments(company, bundle, folded, columns, judged, value, seed),
        "horizons": about.get("horizons", []),
        "tide": None if bundle.curve is None else bundle.curve.chosen.get("tide"),
        "capacity_per_week": capacity,
        "capacity": _capacity(company, folded, judged, weeks, capacity, seed),
        "comparison": about["comparison"],
        "drivers": _drivers(bundle, columns, judged),
        "clv": _value(company, bundle, value),
        "drift": _drift(bundle, columns, judged, weeks),
        "base_rates": _base_rates(folded, judged),
        "treatments": about.get("treatments"),
        "verdicts": verdicts_on_reasons(company.config, date.fromisoformat(about["as_of"])),
        "retrain": _retrain(),
        "approved_by": None,
        "approved_on": None,
        "tracking": {
            "experiment": company.config.experiment,
            "registered_model": company.config.model_name,
            "tag": f"model_version = {version}",
            "file": run_file(company.config.models_folder / company.config.model_name).name,
        },
    }


def write_model_card(store: Store, folder: Path, card: Mapping[str, Any]) -> Path:
    """Write the card beside the model, as JSON and as a page; each whole or not at all.

    Returns
    -------
    Path
        The page.
    """
    data, page = (folder / name for name in CARD_FILES)
    store.write_json(data, card)
    aside = partial(page)
    write_model_page(aside, json.loads(data.read_text(encoding="utf-8")))
    aside.replace(page)
    return page


def note_run(store: Store, folder: Path, run: Any) -> None:
    """Note beside a model where its training was recorded: the one thing that differs each time."""
    if run is not None:
        store.write_json(run_file(folder), dataclasses.asdict(run))


def run_file(folder: Path) -> Path:
    """Give the file that holds the run of the model in `folder`.

    Examples
    --------
    >>> run_file(Path("models/acme-churn")).name
    'acme-churn.run.json'
    """
    return folder.with_name(f"{folder.name}.run.json")


def _definition(company: Company) -> dict[str, Any]:
    churn, clv = company.config.churn, company.config.clv
    return {
        "kind": churn.kind,
        "horizon_weeks": churn.horizon_weeks,
        "gap_weeks": churn.gap_weeks,
        "grace_weeks": churn.grace_weeks if churn.kind == "contract" else 0,
        "active_weeks": churn.active_weeks if churn.kind == "inactivity" else None,
        "include_involuntary": churn.include_involuntary,
        "clv_horizon_weeks": clv.horizon_weeks,
        "gross_margin": clv.gross_margin,
        "annual_discount_rate": clv.annual_discount_rate,
    }


def _data(
    company: Company,
    bundle: Bundle,
    folded: FoldedWeeks,
    judged: Judged,
    columns: Sequence[Column],
) -> dict[str, Any]:
    tables, about = company.tables, bundle.about
    missing = np.isnan(judged.matrix).mean(axis=0)
    gaps = pd.DataFrame({"signal": [c.feature.signal for c in columns], "missing": missing})
    worst = gaps.groupby("signal")["missing"].mean().sort_values(ascending=False, kind="stable")
    learnt = judged.history[1]
    return {
        "from": _day(folded, folded.recorded_from),
        "until": about["as_of"],
        "sources": [
            {
                "table": name,
                "rows_in": counts.rows_in,
                "used": counts.used,
                "set_aside": dict(counts.set_aside),
                "newest": str(tables.newest[name]) if name in tables.newest else None,
                "is_learnt_from": name in bundle.tables,
                "fingerprint": tables.fingerprints.get(name),
            }
            for name, counts in sorted(tables.counts.items())
        ],
        "customers": len(folded.customers),
        "customers_judged": len(np.unique(judged.who)),
        "rows": len(learnt),
        "left_rows": int(np.sum(learnt)),
        "base_rate": about["base_rate"],
        "base_rate_judged": float(np.mean(judged.y)),
        "involuntary_share": about["involuntary_share"],
        "rows_without_final_label": about["excluded_rows"],
        "not_eligible": {k: int(v) for k, v in judged.eligible.items() if k != ELIGIBLE},
        "eligible": int(judged.eligible.get(ELIGIBLE, 0)),
        "features": len(columns),
        "missing": [
            {"signal": str(name), "share": float(share)} for name, share in worst.items() if share
        ],
    }


def _by_tenure(columns: Sequence[Column], judged: Judged) -> Any:
    """Give everybody the share that left among those there about as long; None where none is."""
    if not _has(columns, "tenure_weeks"):
        return None
    at = [column.name for column in columns].index("tenure_weeks")
    before, _, y = judged.learnt
    known = before[:, at][~np.isnan(before[:, at])]
    if not len(known) or np.ptp(known) == 0:
        return None
    edges = np.unique(np.quantile(known, TENURE_STEPS))
    group = np.searchsorted(edges, before[:, at])
    left, rows = (np.bincount(group, one, len(edges) + 1) for one in (y, np.ones(len(y))))
    return ((left + 1.0) / (rows + 2.0))[np.searchsorted(edges, judged.matrix[:, at])]


def _segments(
    company: Company,
    bundle: Bundle,
    folded: FoldedWeeks,
    columns: Sequence[Column],
    judged: Judged,
    value: JudgedValue | None,
    seed: int,
) -> list[dict[str, Any]]:
    """Judge by segment as exported today, and by how long the customer has been there."""
    brought = company.tables.columns["customers"]
    names = [name for name in SEGMENTS if name in brought]
    day = folded.calendar.last_day(int(judged.when.max()))
    known = people(company, names, day).reindex(folded.customers.astype(str)) if names else None
    found = []
    for name in names:
        assert known is not None
        of = known[name].to_numpy(dtype=object)
        if len({one for one in of if isinstance(one, str)}) > MOST_SEGMENTS:
            continue
        rows = evaluate.segment_figures(judged.y, judged.p, judged.who, of[judged.who], seed=seed)
        worth = {} if value is None else _covered(value, of[value.who])
        found.append(
            {"by": name, "rows": [{**one, "clv": worth.get(one["segment"])} for one in rows]}
        )
    at = [c.name for c in columns].index("tenure_weeks") if _has(columns, "tenure_weeks") else None
    if at is not None:
        weeks = judged.matrix[:, at]
        ends = np.array([end for end, _ in TENURES])
        bands = [TENURES[one][1] for one in np.searchsorted(ends[:-1], weeks, side="right")]
        rows = evaluate.segment_figures(judged.y, judged.p, judged.who, bands, seed=seed)
        found.append({"by": "time as a customer", "rows": [{**one, "clv": None} for one in rows]})
    return found


def _covered(value: JudgedValue, segment: Any) -> dict[str, dict[str, Any]]:
    """Share of outcomes inside the CLV interval, by segment of enough customers."""
    named = np.array([s if isinstance(s, str) else "not known" for s in segment], dtype=object)
    out: dict[str, dict[str, Any]] = {}
    for name in sorted(set(named)):
        rows = named == name
        inside = value.low[rows], value.high[rows]
        if rows.sum() >= evaluate.LEAST_CUSTOMERS and not np.isnan(inside[0]).all():
            out[str(name)] = {
                "n": int(rows.sum()),
                "coverage": evaluate.interval_coverage(value.y[rows], *inside),
                "predicted": float(value.p[rows].mean()),
                "actual": float(value.y[rows].mean()),
            }
    return out


def _has(columns: Iterable[Column], name: str) -> bool:
    return any(one.name == name for one in columns)


def _capacity(
    company: Company, folded: FoldedWeeks, judged: Judged, weeks: Any, capacity: int, seed: int
) -> list[dict[str, Any]]:
    """Say what the team would have found, at its capacity and around it."""
    worth = None
    if clv_basis(folded, company.clv) is not None:
        worth = np.full(len(judged.y), np.nan)
        for week in weeks:
            rows = judged.when == week
            margin = yearly_margin(company, folded.known_by(int(week)), int(week))
            worth[rows] = margin[judged.who[rows]]
    smallest = min(int((judged.when == week).sum()) for week in weeks)
    sizes = sorted({max(round(capacity * times), 1) for times in CAPACITIES} | {capacity})
    sizes = [size for size in sizes if size <= smallest] or [smallest]
    table = evaluate.capacity_table(
        judged.y, judged.p, judged.when, judged.who, sizes, value=worth, seed=seed
    )
    return _records(table)


def _drivers(bundle: Bundle, columns: Sequence[Column], judged: Judged) -> dict[str, Any]:
    """Say what the model leans on, and whether refits on other customers lean on the same."""
    newest = np.flatnonzero(judged.when == judged.when.max())
    rows = newest[:: max(len(newest) // DRIVEN_ROWS, 1)]
    M = judged.matrix[rows]
    heads = [bundle.churn.head, *bundle.churn.refits]
    signals = [
        explain.signal_contributions(explain.TreeShap(head.booster_)(M), columns) for head in heads
    ]
    ours, refits = signals[0], signals[1:]
    weight = np.abs(ours.raw).mean(axis=0)
    share = weight / max(float(weight.sum()), 1e-12)
    leaning = [np.abs(one.raw).mean(axis=0) for one in refits]
    order = np.argsort(-share, kind="stable")
    stable = [set(np.argsort(-one, kind="stable")[:5].tolist()) for one in leaning]
    themes = pd.Series(share).groupby(pd.Series(ours.themes)).sum().sort_values(ascending=False)
    p = bundle.churn.predict(M)
    tenth = np.argsort(-p, kind="stable")[: max(len(p) // 10, 1)]
    tops = [_top(one.raw[tenth]) for one in refits]
    pairs = [
        float(np.mean([len(a & b) / TOP for a, b in zip(one, other, strict=True)]))
        for at, one in enumerate(tops)
        for other in tops[at + 1 :]
    ]
    first = np.argmax(ours.raw[tenth], axis=1)
    steady = explain.stability_of(ours, refits)[tenth, first] if refits else np.zeros(0)
    return {
        "rows": len(M),
        "refits": len(refits),
        "signals": [
            {
                "signal": ours.names[at],
                "theme": ours.themes[at],
                "weight": float(share[at]),
                "in_top_five_of_refits": float(np.mean([at in one for one in stable]))
                if stable
                else None,
            }
            for at in order
            if share[at] > 0
        ],
        "themes": [{"theme": str(k), "weight": float(v)} for k, v in themes.items()],
        "top_three_overlap": float(np.mean(pairs)) if pairs else None,
        "first_reason_stability": float(np.mean(steady)) if len(steady) else None,
    }


def _top(raw: Any) -> list[set[int]]:
    """Give the strongest raising signals of each row."""
    order = np.argsort(-raw, axis=1, kind="stable")[:, :TOP]
    return [set(one.tolist()) for one in order]


def _value(company: Company, bundle: Bundle, value: JudgedValue | None) -> dict[str, Any] | None:
    if bundle.clv is None:
        return None
    return {
        "basis": company.config.clv.basis,
        "learnt_weeks": bundle.clv.learnt_weeks,
        "interval": company.config.clv.interval,
        "figures": bundle.about["clv_figures"],
        "comparison": bundle.about["clv_comparison"],
        "deciles": [] if value is None else _records(evaluate.decile_table(value.y, value.p)),
    }


def _drift(
    bundle: Bundle, columns: Sequence[Column], judged: Judged, weeks: Any
) -> list[dict[str, Any]]:
    """Compare the newest weeks judged with what was learnt from before them."""
    before, who, _ = judged.learnt
    if len(before) > DRIFT_ROWS:  # whole customers
        kept = who % (len(before) // DRIFT_ROWS + 1) == 0
        before, who = before[kept], who[kept]
    now = judged.matrix[judged.when == weeks.max()][:DRIFT_ROWS]
    if not len(before):
        return []
    leaning = np.abs(bundle.churn.head.contributions(now[:500])[:, :-1]).mean(axis=0)
    moved = drift.stability_by_signal(
        before,
        now,
        [column.name for column in columns],
        [column.feature.signal for column in columns],
        leaning,
        customers_before=len(np.unique(who)),
    )
    return _records(moved)


def _base_rates(folded: FoldedWeeks, judged: Judged) -> list[dict[str, Any]]:
    when, y = judged.history
    weeks, at = np.unique(when, return_inverse=True)
    rows, left = np.bincount(at), np.bincount(at, y)
    tested = set(judged.when.tolist())
    return [
        {
            "as_of": _day(folded, week),
            "n": int(rows[one]),
            "observed": float(left[one] / rows[one]),
            "is_test": int(week) in tested,
        }
        for one, week in enumerate(weeks)
    ]


def _retrain() -> list[str]:
    """Repeat the rule of `retain monitor`, from its own limits."""
    return [
        f"{OLD_WEEKS} weeks of outcomes have become final that the model has not learnt from",
        "the signals that have shifted since the newest weeks it has learnt from carry "
        f"{LEANS_ON_SHIFTED:.0%} of its weight or more",
        "AUC of a scored week, once final, has its whole interval below the one promised here",
        f"the observed share of leavers is off the predicted one beyond noise, by more than "
        f"{OFF_BY:.0%} of it and {OFF_BY_POINTS * 100:.0f} percentage point",
    ]


def _day(folded: FoldedWeeks, week: Any) -> str:
    return str(folded.calendar.last_day(int(week)))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
