"""What customers are worth: learnt along the curve of leaving, judged as of a past evening."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain import evaluate
from retain.baselines import (
    fit_bg_nbd,
    fit_gamma_gamma,
    naive_rate,
    purchase_clv,
    rfm_from_payments,
)
from retain.errors import RetainError
from retain.jobs.horizons import Leaving, Observed
from retain.jobs.opening import Company
from retain.model import FittedClv, fit_clv
from retain.snapshots import (
    ChurnRule,
    ClvRule,
    clv_basis,
    clv_labels,
)
from retain.weeks import FoldedWeeks, History

__all__ = ["JudgedValue", "learn_value", "row_of", "shares"]


@dataclass(frozen=True)
class JudgedValue:
    """The customers whose value was judged out of time: outcome, prediction, interval, currency."""

    y: Any
    p: Any
    low: Any
    high: Any
    who: Any


def learn_value(
    company: Company,
    folded: FoldedWeeks,
    M: Any,
    categorical: list[int],
    when: Any,
    who: Any,
    eligible: Any,
    weeks: Any,
    learnt: int,
    now: Leaving,
    then: Leaving | None,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[FittedClv | None, dict[str, Any], list[dict[str, Any]], JudgedValue | None]:
    """Learn CLV; judge it on the newest as_of whose value is known, beside simple methods.

    Parameters
    ----------
    company, folded
        The company and its weeks.
    M, when, who, eligible
        Encoded features, week, customer, and whether the probability has a meaning: shape (rows,).
    categorical
        Positions of categorical columns.
    weeks, learnt
        As from the snapshots observed.
    now, then
        What is known of leaving, and what was known on the newest of `weeks`.
    seed, progress
        As for training.
    """
    if learnt == 0:
        return None, {}, [], None
    values = clv_labels(folded, weeks, company.clv, learnt)
    y = values[np.searchsorted(weeks, when), who]
    fixed: dict[str, Any] = {
        "learnt_weeks": learnt,
        "annual_discount_rate": company.clv.annual_discount_rate,
        "level": company.config.clv.interval,
        "categorical": categorical,
        "seed": seed,
        "progress": progress,
    }

    def share(leaving: Leaving | None, rows: Any) -> Any:
        if leaving is None or leaving.rows is None:
            return None
        fair = _fair(leaving.rows, leaving.churn.out_of_bag, when[rows], who[rows])
        ago = leaving.rows.weeks_ago(when[rows], company.churn)
        given = M[rows], eligible[rows], learnt, fair, ago
        return shares(company.churn, company.clv, leaving, *given)

    test = when == weeks.max()
    learn = when <= weeks.max() - learnt
    figures: dict[str, Any] = {}
    comparison: list[dict[str, Any]] = []
    chosen, valued = None, None
    if learn.any() and np.maximum(y[learn], 0).sum() > 0:
        judged = fit_clv(
            M[learn], y[learn], when[learn], who[learn], share=share(then, learn), **fixed
        )
        chosen = judged.chosen
        there = shares(company.churn, company.clv, then, M[test], eligible[test], learnt)
        low, high = judged.interval(M[test], there)
        valued = JudgedValue(y[test], judged.predict(M[test], there), low, high, who[test])
        figures = evaluate.clv_figures(
            valued.y, valued.p, valued.who, low=low, high=high, seed=seed
        )
        comparison.append(row_of("retain", figures))
        for name, value in _value_baselines(company, folded, int(weeks.max()), learnt).items():
            beside = evaluate.clv_figures(y[test], value[who[test]], who[test], seed=seed)
            comparison.append(row_of(name, beside))
    fitted = fit_clv(
        M,
        y,
        when,
        who,
        horizon_weeks=company.clv.horizon_weeks,
        # what could not be judged is not used: without a curve then, none now
        share=share(now if then is not None else None, slice(None)),
        chosen=chosen,
        **fixed,
    )
    return fitted, figures, comparison, valued


def shares(
    churn: ChurnRule,
    clv: ClvRule,
    leaving: Leaving | None,
    M: Any,
    eligible: Any,
    weeks: int,
    probability: Any = None,
    weeks_ago: Any = 0.0,
) -> Any:
    """Return the share of the weeks ahead in which each customer is expected to be there.

    Parameters
    ----------
    churn, clv
        What leaving and value mean.
    leaving
        What is known of leaving; None: nothing.
    M, eligible
        Encoded features, and whether the probability has a meaning, shape (rows,).
    weeks
        How many weeks ahead.
    probability
        Where it is not to be the model's own: shape (rows,), nan for the model's own.
    weeks_ago
        How long before the evening of the curve the rows are of, shape (rows,).

    Returns
    -------
    array of shape (rows,)
        In (0, 1], nan where the probability has no meaning. None where value does not follow the
        curve: without one, and for inactivity, where customers who fell silent come back and buy.
    """
    if leaving is None or leaving.curve is None or churn.kind == "inactivity":
        return None
    out = np.full(len(M), np.nan)
    at = np.flatnonzero(eligible)
    if len(at):
        p = np.full(len(at), np.nan) if probability is None else probability[at]
        if np.isnan(p).any():
            p = np.where(np.isnan(p), leaving.churn.predict(M[at]), p)
        ago = np.broadcast_to(weeks_ago, out.shape)[at]
        out[at] = leaving.curve.share_there(M[at], p, weeks, clv.annual_discount_rate, ago)
    return out


def _fair(rows: Observed, out_of_bag: Any, when: Any, who: Any) -> Any:
    """Look up probabilities by models that had not learnt from the row's customer; nan if none."""
    out = np.full(len(when), np.nan)
    if out_of_bag is None:
        return out
    wide = int(max(rows.who.max(initial=0), who.max(initial=0))) + 1
    key, asked = rows.when * wide + rows.who, when * wide + who
    order = np.argsort(key)
    at = order[np.minimum(np.searchsorted(key, asked, sorter=order), len(key) - 1)]
    found = key[at] == asked
    out[found] = out_of_bag[at[found]]
    return out


def _value_baselines(
    company: Company, folded: FoldedWeeks, week: int, learnt: int
) -> dict[str, Any]:
    """Value each customer by simple methods, as on the evening of `week`."""
    history = History(folded.known_by(week), [week])
    tenure = np.maximum(np.nan_to_num(history.tenure_weeks[0], nan=0.0), 1.0)
    if clv_basis(folded, company.clv) == "mrr":
        monthly = history.subscriptions.total("mrr")[0]
        rate = monthly * 12.0 / 52.0 * company.clv.gross_margin
        return {"today's MRR goes on": rate * learnt}
    spent = history.payments.total("spend")[0]
    out: dict[str, Any] = {
        "naive rate": naive_rate(spent, tenure, learnt, company.clv.gross_margin)
    }
    if "subscriptions" in folded.panels:
        return out  # BG/NBD is for purchases without contracts
    day = company.calendar.last_day(week)
    known = "recorded_at" in company.tables.columns["payments"]
    bought = company.tables.con.sql(
        "SELECT customer_id, paid_at, amount FROM payments WHERE amount >= 0 "
        f"AND paid_at < DATE '{day}' + 1"
        + (f" AND recorded_at < DATE '{day}' + 1" if known else "")
    ).df()
    rfm = rfm_from_payments(bought["customer_id"], bought["paid_at"], bought["amount"], day)
    try:
        value = purchase_clv(
            fit_bg_nbd(rfm["frequency"], rfm["recency"], rfm["T"]),
            fit_gamma_gamma(rfm["frequency"], rfm["monetary_value"]),
            rfm,
            horizon_weeks=learnt,
            gross_margin=company.clv.gross_margin,
            annual_discount_rate=company.clv.annual_discount_rate,
        )
    except RetainError:
        return out  # nobody bought twice: BG/NBD has nothing to fit
    by_id = pd.Series(np.asarray(value), index=rfm["customer_id"].astype(str).to_numpy())
    out["BG/NBD + Gamma-Gamma"] = by_id.reindex(folded.customers.astype(str)).fillna(0.0).to_numpy()
    return out


def row_of(name: str, figures: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Lay one method's figures side by side: one row of the comparison."""
    row: dict[str, Any] = {"name": name}
    for figure, value in figures.items():
        row[figure] = value["value"]
        row[f"{figure}_low"], row[f"{figure}_high"] = value["low"], value["high"]
    return row
