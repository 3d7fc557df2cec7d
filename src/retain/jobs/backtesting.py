"""`retain backtest`: past weeks as if live: learn from what was known, score, see what happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retain import evaluate
from retain.baselines import churn_baselines
from retain.config import Config
from retain.errors import ConfigError, SnapshotError
from retain.features import Feature, load_own_features
from retain.jobs.opening import Company, as_day, open_company, settle_as_of
from retain.jobs.outcomes import known_labels
from retain.jobs.panel import matrix, with_lists
from retain.jobs.progress import Listener, Steps, silent
from retain.model import Encoder, default_lightgbm, fit_churn
from retain.model.themes import learn_themes
from retain.report.backtest import meanings, write_backtest
from retain.snapshots import ELIGIBLE, clv_basis, eligibility, snapshot_weeks
from retain.weeks import FoldedWeeks, History
from retain.weeks.fold import most_used_features

__all__ = ["Backtested", "backtest", "yearly_margin"]

OURS = "retain"
WARMUP_WEEKS = 8
SEASON_WEEKS = 104
LEAST_LEAVERS = 30  # a model learns from no fewer
MOST_ROWS = 200_000
BASELINE_ROWS = 30_000
ANEW = 2  # settings are searched again when there is so many times more to learn from
SPEND_WEEKS = 52
NO_PROFIT = (
    "Expected profit is not shown: it needs the company's own contact cost, incentive cost and "
    "share of customers whom the offer keeps. Published defaults are somebody else's figures. Give "
    "yours: money: {contact_cost: ..., incentive_cost: ..., acceptance_share: ...}."
)
STEPS = {"reading tables": 10, "folding weeks": 10, "building features": 20, "replaying": 60}


@dataclass(frozen=True)
class Backtested:
    """What replaying past weeks gave.

    Parameters
    ----------
    as_of
        Newest week replayed.
    weeks
        One row per week, method and figure: as_of, known (whether outcomes are final), method,
        figure, value, low, high. Where outcomes are not final the figures are what to expect if
        the probabilities are right, and only for ``retain``.
    learnt
        One row per week: as_of, known, customers, left (None where not known), learnt_rows,
        learnt_left.
    overall
        One dict per method over all known weeks: name and figures.
    differences
        ``retain`` minus the baseline with the lowest log loss, on the same customers.
    best_baseline
        Its name.
    too_early
        Weeks left out because too few had left by then to learn from.
    chosen
        What to know of the weeks chosen: that newer ones were passed over since none of them was
        final, or that none is final; empty where there is nothing to say.
    profit
        Why there is no profit among the figures; empty where there is.
    horizon_weeks
        Weeks within which the leavers of one week leave.
    folder
        backtest.json, weeks.csv and backtest.html.
    """

    as_of: date
    weeks: pd.DataFrame
    learnt: pd.DataFrame
    overall: list[dict[str, Any]]
    differences: dict[str, dict[str, float]]
    best_baseline: str
    too_early: int
    chosen: str
    profit: str
    horizon_weeks: int
    folder: Path


def backtest(
    config: Config | str | Path,
    *,
    as_of: date | str | None = None,
    every_weeks: int | None = None,
    most: int | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    features: tuple[Feature, ...] = (),
    seed: int = 0,
    progress: Listener = silent,
) -> Backtested:
    """Replay past weeks as if live, at the team's capacity, beside the baselines.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    as_of
        As if on the evening of that day. Default: the last complete week.
    every_weeks, most
        Weeks between replayed weeks, and how many, newest first; default: `backtest` settings.
        When none of so many is final, the newest that are final are replayed instead.
    tables
        Frames that stand in for configured sources.
    features
        The company's own features, beside those of the file named in the configuration.
    seed
        Same seed and data, same figures.
    progress
        Told what is being done.

    Raises
    ------
    ConfigError
        When `every_weeks` is no multiple of the weeks between snapshots, or below 1, as `most`.
    SnapshotError
        When no past week can be replayed; the message says what is missing.

    Notes
    -----
    For each week a model is chosen, learnt and calibrated from the snapshots whose labels were
    final on that evening, facts that became known later left out, and scores everybody eligible.
    Leavers captured: the share of all who left that the team would have met among its first
    customers, the list ordered by probability (``capture_at_capacity``) or by probability times
    yearly margin (``capture_by_value``); value captured: the share of their margin, in the latter
    order. ``profit_per_week`` is the profit of one week's list, whose leavers leave over the whole
    horizon: weeks do not add up. Lists of most used
    features and themes of comments are those of the first week replayed; settings are searched
    anew when what can be learnt from has doubled, else those of an earlier week serve.
    """
    for option, value in (("--every", every_weeks), ("--most", most)):
        if value is not None and value < 1:
            raise ConfigError(
                f"backtest: {option} is {value}; expected 1 or more weeks. Leave it out for the "
                "`backtest` settings."
            )
    steps = Steps(progress, STEPS)
    steps("reading tables")
    as_of = None if as_of is None else as_day(as_of)
    company = open_company(config, tables)
    with company.store.locked("backtest"):
        return _backtest(company, as_of, every_weeks, most, features, seed, steps)


def _about_choice(company: Company, week: int, replayed: Any, learnt: list[Any]) -> str:
    """Say when newer weeks were passed over, or when no outcome is known yet."""
    ripe = company.churn.ripe_weeks
    final = company.calendar.last_day(week - ripe)
    if not any(one["known"] for one in learnt):
        first = company.calendar.last_day(company.calendar.week_of(_day(learnt[0])) + ripe)
        return (
            f"No replayed week is judged: outcomes are final up to the week of {final}. Those of "
            f"the first replayed one, {_day(learnt[0])}, will be on {first}."
        )
    if replayed[-1] == week:
        return ""
    return (
        f"Weeks after {company.calendar.last_day(int(replayed[-1]))} are passed over: outcomes are "
        f"final up to the week of {final}. Ask for more weeks to see what to expect of them."
    )


def _day(row: Mapping[str, Any]) -> date:
    return date.fromisoformat(row["as_of"])


@dataclass(frozen=True)
class _Panel:
    """Everything that all replayed weeks share."""

    folded: FoldedWeeks
    X: pd.DataFrame
    when: Any
    who: Any


@dataclass
class _Searched:
    """Settings of the last search and the rows it had: a past that later weeks may use."""

    settings: dict[str, Any] | None = None
    rows: int = 0


def _backtest(
    company: Company,
    as_of: Any,
    every_weeks: int | None,
    most: int | None,
    given: tuple[Feature, ...],
    seed: int,
    steps: Steps,
) -> Backtested:
    week = settle_as_of(company, as_of)
    settings = company.config.backtest
    grid = company.config.snapshots.every_weeks
    stride = every_weeks or settings.every_weeks or grid
    count = settings.most if most is None else most
    if stride % grid:
        raise ConfigError(
            f"backtest: every {stride} weeks is no multiple of snapshots.every_weeks ({grid}): "
            f"weeks to replay are among the snapshots. Use {stride // grid * grid + grid}."
        )
    own, _ = load_own_features(company.config.features)
    steps("folding weeks")
    panel, replayed = _laid_out(company, week, grid, stride, count, (*own, *given), seed, steps)

    steps("replaying")
    rows, learnt, scored, too_early = [], [], [], 0
    searched = _Searched()
    for number, at in enumerate(replayed):
        day = company.calendar.last_day(int(at))
        steps.detail(f"{day} ({number + 1} of {len(replayed)})", number / len(replayed))
        one = _replayed(company, panel, int(at), week, searched, seed)
        if one is None:
            too_early += 1
            continue
        told, methods, frame = one
        learnt.append({"as_of": str(day), **told})
        rows += [{"as_of": str(day), "known": told["known"], **row} for row in methods]
        if told["known"]:
            scored.append(frame)
    if not learnt:
        raise SnapshotError(
            f"backtest: none of {len(replayed)} weeks can be replayed: by then fewer than "
            f"{LEAST_LEAVERS} customers were known to have left. Bring more history or shorten "
            "churn.horizon_weeks."
        )
    overall, differences, best = _overall(company, scored, seed)
    out = Backtested(
        company.calendar.last_day(week),
        pd.DataFrame(rows),
        pd.DataFrame(learnt),
        overall,
        differences,
        best,
        too_early,
        _about_choice(company, week, replayed, learnt),
        "" if company.config.money else NO_PROFIT,
        company.churn.horizon_weeks,
        company.store.folder / "backtest" / f"as_of={company.calendar.last_day(week)}",
    )
    _write(company, out)
    steps.done()
    return out


def _weeks_to_replay(week: int, oldest: int, stride: int, count: int, ripe_weeks: int) -> Any:
    """Give the newest weeks; when none of them is final, the newest that are, if there are any.

    Examples
    --------
    >>> _weeks_to_replay(100, 20, 4, 6, 17), _weeks_to_replay(100, 20, 4, 2, 17)
    (array([ 80,  84,  88,  92,  96, 100]), array([76, 80]))
    """
    weeks = snapshot_weeks(week, oldest, stride)
    if not (weeks[-count:] + ripe_weeks <= week).any() and (weeks + ripe_weeks <= week).any():
        weeks = weeks[weeks + ripe_weeks <= week]
    return weeks[-count:]


def _laid_out(
    company: Company,
    week: int,
    grid: int,
    stride: int,
    count: int,
    own: tuple[Feature, ...],
    seed: int,
    steps: Steps,
) -> tuple[_Panel, Any]:
    """Build the features of every snapshot once: they look back only, whoever learns from them."""
    # the earliest week that could be replayed has one snapshot with a final label behind it
    bare = company.fold(week, ())
    oldest = bare.recorded_from + WARMUP_WEEKS
    replayed = _weeks_to_replay(
        week, oldest + company.churn.ripe_weeks + grid, stride, count, company.churn.ripe_weeks
    )
    if len(replayed) == 0:
        raise SnapshotError(
            f"backtest: too little history: {week - bare.recorded_from + 1} weeks, at least "
            f"{WARMUP_WEEKS + company.churn.ripe_weeks + grid + 1} are needed before the first "
            "week that can be replayed. Bring more history or shorten churn.horizon_weeks."
        )
    first = int(replayed[0])
    top = most_used_features(company.tables, company.calendar.last_day(first))
    folded = company.fold(week, top, steps.detail)
    lists: dict[str, Any] = {"top_features": list(top), "comment_themes": None}
    if folded.texts is not None:
        comments = folded.panels["comments"]
        known = comments.week + comments.lag <= first
        lists["comment_themes"] = learn_themes(folded.texts[known], seed=seed)
    folded = with_lists(folded, lists)
    as_ofs = snapshot_weeks(week, oldest, grid)
    steps("building features")
    rows = eligibility(History(folded, as_ofs), company.churn) == ELIGIBLE
    if rows.sum() > MOST_ROWS:  # whole customers; all of them where weeks are replayed
        kept = np.random.default_rng(seed).random(rows.shape[1]) < MOST_ROWS / rows.sum()
        rows &= kept[None, :] | np.isin(as_ofs, replayed)[:, None]
    if not rows.any():
        raise SnapshotError("backtest: no customer is eligible on any snapshot. Run retain check.")
    built = matrix(folded, as_ofs, rows, own, progress=steps.part)
    names = [
        column.name
        for column in built.columns
        if column.feature.signal != "season" or as_ofs.max() - as_ofs.min() >= SEASON_WEEKS
    ]
    return _Panel(folded, built.X[names], built.as_of, built.customer), replayed


def _replayed(
    company: Company, panel: _Panel, at: int, today: int, searched: _Searched, seed: int
) -> tuple[dict[str, Any], list[dict[str, Any]], pd.DataFrame] | None:
    """Live one week again; None when too few had left by then to learn from."""
    ripe = company.churn.ripe_weeks
    weeks = np.unique(panel.when[panel.when + ripe <= at])
    if len(weeks) == 0:
        return None
    labels = known_labels(company, panel.folded, weeks, at)
    learn = np.flatnonzero(panel.when + ripe <= at)
    y = labels[np.searchsorted(weeks, panel.when[learn]), panel.who[learn]]
    learn, y = learn[~np.isnan(y)], y[~np.isnan(y)]
    if min(y.sum(), len(y) - y.sum()) < LEAST_LEAVERS:
        return None
    now = np.flatnonzero(panel.when == at)
    known = at + ripe <= today
    if known:
        outcome = known_labels(company, panel.folded, np.array([at]), today)[0, panel.who[now]]
        now, outcome = now[~np.isnan(outcome)], outcome[~np.isnan(outcome)]
    if len(now) == 0:
        return None
    encoder = Encoder().fit(panel.X.iloc[learn])
    M, T = (encoder.transform(panel.X.iloc[rows]) for rows in (learn, now))
    when, who = panel.when[learn], panel.who[learn]
    fitted = fit_churn(
        *(M, y, when, who),
        purge=ripe,
        categorical=encoder.categorical,
        seed=seed,
        refits=0,
        chosen=searched.settings if len(y) < ANEW * searched.rows else None,
    )
    if fitted.chosen is not searched.settings:
        searched.settings, searched.rows = fitted.chosen, len(y)
    frame = pd.DataFrame({"customer": panel.who[now], "week": at})
    frame["worth"] = yearly_margin(company, panel.folded.known_by(at), at)[panel.who[now]]
    frame[OURS] = fitted.predict(T)
    told: dict[str, Any] = {"known": known, "customers": len(now), "left": None}
    told |= {"learnt_rows": len(learn), "learnt_left": int(y.sum())}
    if not known:
        return told, _expected(company, frame, seed), frame
    told["left"] = int(outcome.sum())
    frame["churned"] = outcome
    slim = slice(None, None, max(len(learn) // BASELINE_ROWS, 1))
    names = encoder.columns_
    others = churn_baselines(
        pd.DataFrame(M[slim], columns=names),
        y[slim],
        pd.DataFrame(T, columns=names),
        categorical=[names[one] for one in encoder.categorical],
        groups=who[slim],
        splits=_newest_against_before(when[slim], y[slim], ripe),
        default_lightgbm=default_lightgbm,
        seed=seed,
    )
    frame = frame.assign(**others)
    rows = [
        {"method": method, "figure": figure, **value}
        for method in (OURS, *others)
        for figure, value in _figures(company, frame, method, 1, seed).items()
    ]
    return told, rows, frame


def _newest_against_before(when: Any, y: Any, purge: int) -> list[tuple[Any, Any]] | None:
    """Positions to choose a penalty on: the newest week, and what lies a purge before."""
    train = np.flatnonzero(when <= when.max() - purge)
    test = np.flatnonzero(when == when.max())
    both = all(len(np.unique(y[rows])) == 2 for rows in (train, test))
    return [(train, test)] if both else None


def yearly_margin(company: Company, known: FoldedWeeks, at: int) -> Any:
    """Yearly margin of each customer at today's rate, in currency, as known then; at least 0."""
    history = History(known, [at])
    basis = clv_basis(known, company.clv)
    if basis == "mrr":
        yearly = history.subscriptions.total("mrr")[0] * 12.0
    elif basis == "payments":
        tenure = np.nan_to_num(history.tenure_weeks[0], nan=1.0)
        spent = np.nan_to_num(history.payments.total("spend")[0])
        yearly = spent / np.maximum(tenure, 1.0) * SPEND_WEEKS
    else:
        return np.full(len(known.customers), np.nan)
    return np.maximum(np.nan_to_num(yearly) * company.clv.gross_margin, 0.0)


def _listed(frame: pd.DataFrame, score: Any) -> Any:
    """Order within each week, so that as many customers are taken from every one of them."""
    return (
        -pd.Series(np.asarray(score))
        .groupby(frame["week"].to_numpy())
        .rank(ascending=False, method="average")
    )


def _figures(
    company: Company, frame: pd.DataFrame, method: str, weeks: int, seed: int
) -> dict[str, dict[str, float]]:
    """Judge one method on known weeks, at the team's capacity in each of them."""
    capacity = company.config.review.capacity_per_week * weeks
    y, p, who = frame["churned"], frame[method], frame["customer"]
    figures = evaluate.churn_figures(
        y,
        p,
        who,
        capacity=company.config.review.capacity_per_week,
        when=frame["week"],
        seed=seed,
    )
    if frame["worth"].notna().all():
        order = _listed(frame, p * frame["worth"])
        figures["capture_by_value"] = evaluate.value_captured(
            y, order, np.ones(len(frame)), who, capacity=capacity, seed=seed
        )
        figures["value_captured"] = evaluate.value_captured(
            y, order, frame["worth"], who, capacity=capacity, seed=seed
        )
        if company.config.money is not None:
            profit = evaluate.campaign_profit(
                *(y, order, frame["worth"] * _years(company), who),
                capacity=capacity,
                seed=seed,
                **company.config.money.model_dump(),
            )
            figures["profit_per_week"] = {end: value / weeks for end, value in profit.items()}
    return figures


def _years(company: Company) -> float:
    return company.clv.horizon_weeks / 52.0


def _expected(company: Company, frame: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Say what to expect of a week whose outcomes are not final."""
    capacity = company.config.review.capacity_per_week
    figures = evaluate.expected_figures(frame[OURS], capacity=capacity, seed=seed)
    if frame["worth"].notna().all():
        p, worth = frame[OURS], frame["worth"]
        order = _listed(frame, p * worth)
        for name, each in (("capture_by_value", np.ones(len(frame))), ("value_captured", worth)):
            figures[name] = evaluate.value_captured(
                p, order, each, frame["customer"], capacity=capacity, seed=seed
            )
        if company.config.money is not None:
            figures["profit_per_week"] = evaluate.campaign_profit(
                *(p, order, worth * _years(company), frame["customer"]),
                capacity=capacity,
                seed=seed,
                **company.config.money.model_dump(),
            )
    return [{"method": OURS, "figure": name, **value} for name, value in figures.items()]


def _overall(
    company: Company, scored: list[pd.DataFrame], seed: int
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]], str]:
    """Judge every method over all known weeks, and ours against the best of the others."""
    if not scored:
        return [], {}, ""
    both = pd.concat(scored, ignore_index=True)
    methods = [
        name
        for name in both.columns
        if name not in ("customer", "week", "worth", "churned") and both[name].notna().all()
    ]
    rows, loss = [], {}
    for method in methods:
        figures = _figures(company, both, method, len(scored), seed)
        row: dict[str, Any] = {"name": method}
        for name, one in figures.items():
            row |= {name: one["value"], f"{name}_low": one["low"], f"{name}_high": one["high"]}
        rows.append(row)
        loss[method] = figures["log_loss"]["value"]
    best = min((name for name in methods if name != OURS), key=lambda name: loss[name])
    differences = evaluate.churn_differences(
        both["churned"],
        both[OURS],
        both[best],
        both["customer"],
        capacity=company.config.review.capacity_per_week,
        when=both["week"],
        seed=seed,
    )
    return rows, differences, best


def _write(company: Company, out: Backtested) -> None:
    """Leave JSON, CSV and a page in the store."""
    told = {key: value for key, value in vars(out).items() if key != "folder"}
    told |= {
        "company": company.config.company,
        "currency": company.config.currency,
        "capacity_per_week": company.config.review.capacity_per_week,
        "meanings": meanings(company.churn.horizon_weeks),
        "money": None if company.config.money is None else company.config.money.model_dump(),
    }
    out.folder.parent.mkdir(parents=True, exist_ok=True)
    with company.store.replacing(out.folder) as folder:
        company.store.write_json(folder / "backtest.json", told)
        out.weeks.to_csv(folder / "weeks.csv", index=False)
        kept = json.loads((folder / "backtest.json").read_text(encoding="utf-8"))
        write_backtest(folder / "backtest.html", kept)
