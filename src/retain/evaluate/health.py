"""How well health scores foretold who would leave, and who was healthy and left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain.evaluate.ranking import Floats, Ranking, auc, with_intervals

__all__ = ["HealthJudged", "judge_health"]


@dataclass(frozen=True)
class HealthJudged:
    """How well health scores foretold who would leave.

    Parameters
    ----------
    figures
        Figure to value, low, high: auc (chance that a leaver had the lower score, ties half);
        healthy_among_leavers (share of those who left that were in the healthiest band);
        leavers_among_healthy (share of that band that left).
    healthy_and_left
        Who: a customer per row that was healthy and left, in order of appearance.
    bands
        A row per band, in the order given: n, left, share_left (nan without customers).
    rows_in, used
        Scores given, and those that are known.
    """

    figures: dict[str, dict[str, float]]
    healthy_and_left: tuple[Any, ...]
    bands: pd.DataFrame
    rows_in: int
    used: int


def judge_health(
    y: Any,
    score: Any,
    band: Any,
    who: Any,
    *,
    bands: Sequence[str],
    level: float = 0.9,
    seed: int = 0,
) -> HealthJudged:
    """Judge health scores by who left afterwards.

    Parameters
    ----------
    y, score
        Outcomes 0 / 1 within the horizon after the score, and scores of 0 (poor) to 100; nan:
        nothing was known.
    band
        Band of each score; None where there was none.
    who
        Customer of each row: the intervals resample customers.
    bands
        All bands, from the poorest to the healthiest.
    level
        Level of the intervals.
    seed
        Same seed, same intervals.

    Returns
    -------
    HealthJudged
        The misses by name beside the figures.

    Raises
    ------
    SnapshotError
        When there is nothing to judge.

    Examples
    --------
    >>> found = judge_health([1, 0, 1], [10, 60, 90], ["red", "red", "green"], ["a", "b", "c"],
    ...                      bands=["red", "green"])
    >>> found.healthy_and_left, found.figures["auc"]["value"]
    (('c',), 0.5)
    """
    known = ~np.isnan(np.asarray(score, float))
    left, risk = np.asarray(y, float)[known], -np.asarray(score, float)[known]
    of, people = np.asarray(band, object)[known], np.asarray(who)[known]
    ranking = Ranking.of(risk)
    healthy = (of == bands[-1]).astype(float)

    def share(above: Floats, below: Floats) -> float:
        return float(above.sum() / below.sum()) if below.sum() > 0 else float("nan")

    def figures(weight: Floats) -> dict[str, float]:
        ranked = weight[ranking.order]
        missed = weight * left * healthy
        return {
            "auc": auc(ranking.sums(ranked), ranking.sums(ranked * left[ranking.order])),
            "healthy_among_leavers": share(missed, weight * left),
            "leavers_among_healthy": share(missed, weight * healthy),
        }

    counts = pd.DataFrame(
        [{"n": int((of == name).sum()), "left": int(left[of == name].sum())} for name in bands],
        index=pd.Index(bands, name="band"),
    )
    return HealthJudged(
        with_intervals(figures, people, level, seed),
        tuple(dict.fromkeys(people[(left == 1) & (healthy == 1)].tolist())),
        counts.assign(share_left=counts.left / counts.n.where(counts.n > 0)),
        len(known),
        int(known.sum()),
    )
