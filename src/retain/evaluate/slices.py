"""Where a model holds and where it does not: by segment, and by how many customers are met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from retain.evaluate.figures import churn_figures
from retain.evaluate.ranking import Floats, first_of_each, with_intervals

__all__ = ["LEAST_CUSTOMERS", "LEAST_LEFT", "capacity_table", "segment_figures"]

LEAST_CUSTOMERS = 50  # a segment is judged from so many customers on
LEAST_LEFT = 10  # and ranked or levelled from so many who left, and who stayed
NOT_SHOWN = ("lift_top_tenth", "capture_at_capacity")


def segment_figures(
    y: Any, p: Any, who: Any, segment: Any, *, level: float = 0.9, seed: int = 0
) -> list[dict[str, Any]]:
    """Judge every segment of enough customers apart.

    Parameters
    ----------
    y, p
        Outcomes 0 / 1 and probabilities, shape (rows,).
    who
        Customer of each row: the intervals resample customers.
    segment
        Segment of each row, None where not known.
    level
        Level of the intervals.
    seed
        Same seed, same intervals.

    Returns
    -------
    list of dict
        Per segment, by name: segment, customers, n (rows), left, undefined_because (figure to the
        reason why it is nan), figures (as of `churn_figures`, and ``gap``: mean predicted minus
        observed). Segments of fewer than 50 customers come with a reason and without figures.

    Examples
    --------
    >>> one, = segment_figures([0, 1], [0.1, 0.9], ["a", "b"], ["small", "small"])
    >>> one["customers"], one["undefined_because"]
    (2, {'all': '2 customers; figures begin at 50'})
    """
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    who = np.asarray(who)
    named = np.array(["not known" if s is None or s != s else str(s) for s in segment], object)
    found = []
    for name in sorted(set(named)):
        rows = np.flatnonzero(named == name)
        customers, left = len(np.unique(who[rows])), int(y[rows].sum())
        one: dict[str, Any] = {
            "segment": name,
            "customers": customers,
            "n": len(rows),
            "left": left,
            "undefined_because": {},
            "figures": {},
        }
        found.append(one)
        if customers < LEAST_CUSTOMERS:
            why = f"{customers} customers; figures begin at {LEAST_CUSTOMERS}"
            one["undefined_because"]["all"] = why
            continue
        figures = churn_figures(
            y[rows], p[rows], who[rows], capacity=len(rows), level=level, seed=seed
        )
        gap = with_intervals(_mean_of(p[rows] - y[rows]), who[rows], level, seed)["mean"]
        one["figures"] = {k: v for k, v in figures.items() if k not in NOT_SHOWN} | {"gap": gap}
        fewer, which = min((left, "left"), (len(rows) - left, "stayed"))
        if fewer < LEAST_LEFT:
            why = f"only {fewer} {which}; needs {LEAST_LEFT}"
            for figure in ("auc", "average_precision", "calibration_error"):
                one["figures"].pop(figure)
                one["undefined_because"][figure] = why
    return found


def capacity_table(
    y: Any,
    p: Any,
    when: Any,
    who: Any,
    capacities: Sequence[int],
    *,
    value: Any = None,
    level: float = 0.9,
    seed: int = 0,
) -> pd.DataFrame:
    """Say what meeting the first customers of each week's list would have found.

    Parameters
    ----------
    y, p
        Outcomes 0 / 1 and probabilities, shape (rows,).
    when, who
        Week and customer of each row; every week has a list of its own, by probability.
    capacities
        Customers met in each week.
    value
        What each row is worth, 0 or more, for the share of leavers' value; None leaves it out.
    level, seed
        As for `segment_figures`.

    Returns
    -------
    DataFrame
        Per capacity: capacity, met (in all weeks), found (leavers among them); precision, recall,
        lift (precision over the share of all that left), value_captured, each with ``_low`` and
        ``_high``. Ties share evenly.

    Examples
    --------
    >>> table = capacity_table([1, 0, 0, 1], [0.9, 0.1, 0.2, 0.8], [1, 1, 2, 2], "abcd", [1])
    >>> table[["met", "found", "precision", "recall", "lift"]].to_numpy().tolist()
    [[2.0, 2.0, 1.0, 1.0, 2.0]]
    """
    y, p, when = np.asarray(y, float), np.asarray(p, float), np.asarray(when)
    who = np.asarray(list(who))
    worth = None if value is None else y * np.nan_to_num(np.asarray(value, float))
    rows = []
    for capacity in capacities:
        chosen = first_of_each(p, when, capacity)
        figures = _found(y, chosen, worth)
        found = with_intervals(figures, who, level, seed)
        row: dict[str, Any] = {
            "capacity": capacity,
            "met": float(chosen.sum()),
            "found": float((chosen * y).sum()),
        }
        for name, one in found.items():
            row[name], row[f"{name}_low"], row[f"{name}_high"] = (
                one["value"],
                one["low"],
                one["high"],
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _found(y: Floats, chosen: Floats, worth: Floats | None) -> Any:
    def figures(weight: Floats) -> dict[str, float]:
        met, left = float((weight * chosen).sum()), float((weight * y).sum())
        hit = float((weight * chosen * y).sum())
        share = left / float(weight.sum())
        precision = hit / met if met > 0 else float("nan")
        out = {
            "precision": precision,
            "recall": hit / left if left > 0 else float("nan"),
            "lift": precision / share if share > 0 else float("nan"),
        }
        if worth is not None:
            total = float((weight * worth).sum())
            caught = float((weight * chosen * worth).sum())
            out["value_captured"] = caught / total if total > 0 else float("nan")
        return out

    return figures


def _mean_of(values: Floats) -> Any:
    def figures(weight: Floats) -> dict[str, float]:
        return {"mean": float((weight * values).sum() / weight.sum())}

    return figures
