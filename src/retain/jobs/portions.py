"""Some customers scored on their own: everything about them that needs nobody else.

A weekly run takes its customers a portion at a time, so that memory is bounded by the portion; what
needs everybody (ranks, what is usual among peers, the order of the list) is left to `assembling`.
Each row's figures are the same bits whatever the portion it came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from retain import explain
from retain.explain import Draft
from retain.features import Column, Feature
from retain.jobs.beside import contract_of, coverage, peer_groups, weekly_lines
from retain.jobs.panel import matrix, with_lists
from retain.jobs.staying import Staying
from retain.model import Bundle
from retain.snapshots import ELIGIBLE, ChurnRule, ClvRule, eligibility
from retain.weeks import FoldedWeeks, History

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Portion", "PortionScorer", "Rules", "portion_of", "sent"]

EARLIER_WEEKS = 4  # "fell from 14 to 5": against four weeks earlier
NOT_YET = "not a customer yet"


@dataclass(frozen=True)
class Rules:
    """What scoring some customers takes; nothing in it is bound to this process.

    Parameters
    ----------
    bundle
        The model.
    churn, clv
        What leaving and value mean.
    level
        Of the intervals, in (0, 1).
    own
        The company's own features.
    week
        The scored week.
    panels
        Whose weeks a customer is expected to be known by.
    """

    bundle: Bundle
    churn: ChurnRule
    clv: ClvRule
    level: float
    own: tuple[Feature, ...]
    week: int
    panels: tuple[str, ...]

    @property
    def as_ofs(self) -> list[int]:
        """Now, four weeks earlier, a week ago, and a week ago with what is known now."""
        return [self.week, self.week - EARLIER_WEEKS, self.week - 1, self.week - 1]

    def built(self, folded: FoldedWeeks, there: Any, names: tuple[str, ...] | None = None) -> Any:
        """Build the features that the model asks for, on the four dates."""
        return matrix(
            folded,
            self.as_ofs,
            np.broadcast_to(there, (4, len(there))),
            self.own,
            known_by=[self.week, self.week - EARLIER_WEEKS, self.week - 1, self.week],
            only=tuple(self.bundle.features["columns"]) if names is None else names,
        )

    def columns_of(self, folded: FoldedWeeks) -> tuple[Column, ...]:
        """Say what the columns of the features are, from nobody's."""
        nobody = with_lists(folded.of_customers(0, 0), self.bundle.lists)
        return self.built(nobody, np.zeros(0, dtype=bool)).columns

    def model_columns(self, built: tuple[Column, ...]) -> list[Column]:
        """Order columns as the model's encoder does."""
        place = {column.name: column for column in built}
        return [place[name] for name in self.bundle.encoder.columns_]

    def value_columns(self, columns: list[Column]) -> list[Column]:
        """Give the columns that speak for value: with the expected weeks, where it follows them."""
        clv = self.bundle.clv
        follows = clv is not None and clv.follows_curve and self.bundle.curve is not None
        if not follows or self.churn.kind == "inactivity":
            return columns
        return [*columns, Staying.column(self.clv.horizon_weeks)]

    def spoken(self, columns: list[Column]) -> tuple[str, ...]:
        """Name the columns that can speak for a driver: asked by a tree, or a level of one."""
        heads = [self.bundle.churn.head]
        heads += [self.bundle.clv.head] if self.bundle.clv is not None else []
        asked = np.sum([head.booster_.feature_importance("split") for head in heads], axis=0) > 0
        names = {column.name for column in columns}
        used = [column for column, is_used in zip(columns, asked, strict=True) if is_used]
        levels = {column.of for column in used if column.of in names}
        kept = {column.name for column in used} | levels
        return tuple(column.name for column in columns if column.name in kept)


@dataclass(frozen=True)
class Portion:
    """What was found of some customers.

    Parameters
    ----------
    why
        Reason not to score, `ELIGIBLE` where there is none, shape (customers,).
    figures
        Of the customers who are there: name to numbers, shape (rows,).
    plans
        Their plan as text; None where none is known.
    groups
        Whom they are compared with.
    churn, clv
        Drafted drivers: of the eligible, and of all who are there; the latter None without a CLV.
    seen
        Today's values of the columns that can speak, name to shape (rows,).
    weekly
        Lines of the page's charts of the eligible.
    """

    why: Any
    figures: dict[str, Any]
    plans: Any
    groups: Any
    churn: Draft
    clv: Draft | None
    seen: dict[str, Any]
    weekly: pa.Table

    @property
    def there(self) -> Any:
        """Whether each is a customer at all, shape (customers,)."""
        return self.why != NOT_YET

    @property
    def eligible(self) -> Any:
        """Whether each who is there is scored, shape (rows,)."""
        return (self.why == ELIGIBLE)[self.there]


class PortionScorer:
    """Scores portions with one model, whose tables for explaining are made once.

    Parameters
    ----------
    rules
        What scoring takes.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        bundle = rules.bundle
        self._churn = explain.TreeShap(bundle.churn.head.booster_)
        self._refits = [explain.TreeShap(refit.booster_) for refit in bundle.churn.refits]
        self._clv = None if bundle.clv is None else explain.TreeShap(bundle.clv.head.booster_)

    def __call__(self, folded: FoldedWeeks) -> Portion:
        """Score some customers, cut out with `of_customers`.

        Raises
        ------
        AssertionError
            When signals do not add up to the number shown: a defect of ours.
        """
        rules, bundle = self.rules, self.rules.bundle
        folded = with_lists(folded, bundle.lists)
        history = History(folded, [rules.week])
        why = eligibility(history, rules.churn)[0]
        there = why != NOT_YET
        eligible = (why == ELIGIBLE)[there]
        built = rules.built(folded, there)
        columns = rules.model_columns(built.columns)
        n = int(there.sum())
        X = built.X.set_axis(range(len(built.X)))  # looked up by place from here on
        now, earlier, before, before_known = (X.iloc[at * n : (at + 1) * n] for at in range(4))
        encoded = bundle.encoder.transform
        M, B = encoded(now), encoded(before)
        figures = scored_figures(rules, M, B, encoded(before_known))
        chance = figures["churn_probability"]
        groups = peer_groups(history, there)
        seen = {name: now[name].to_numpy() for name in rules.spoken(columns)}
        churn, themes = self._churn_draft(
            M[eligible],
            B[eligible],
            now[eligible],
            earlier[eligible],
            columns,
            chance[eligible],
            figures["recomputed"][eligible],
        )
        for theme, points in themes.items():
            figures[f"theme_{theme}"] = np.full(n, np.nan)
            figures[f"theme_{theme}"][eligible] = points
        clv = None
        if bundle.clv is not None:
            staying = Staying.of(
                rules.churn,
                rules.clv,
                bundle,
                M,
                B,
                encoded(earlier),
                eligible,
                chance,
                figures["recomputed"],
            )
            value, low, high = bundle.clv.with_interval(M, staying.now)
            figures |= {"clv": value, "clv_low": low, "clv_high": high}
            if staying.now is not None:
                expected = Staying.column(rules.clv.horizon_weeks).name
                seen[expected] = staying.now * rules.clv.horizon_weeks
            clv = self._clv_draft(M, B, now, earlier, columns, value, staying)
        contract, plans = contract_of(history, there)
        figures |= contract
        figures["coverage"], figures["freshness_days"] = coverage(
            folded, history, there, rules.panels
        )
        weekly = weekly_lines(folded, why == ELIGIBLE, rules.week)
        return Portion(why, figures, plans, groups, churn, clv, seen, weekly)

    def _churn_draft(
        self,
        M: Any,
        before: Any,
        X: pd.DataFrame,
        earlier: pd.DataFrame,
        columns: list[Column],
        chance: Any,
        chance_before: Any,
    ) -> tuple[Draft, dict[str, Any]]:
        calibrator = self.rules.bundle.churn.calibrator
        signals = explain.signal_contributions(self._churn(M), columns)
        _, points = explain.additive_in_probability(
            signals, calibrator.slope, calibrator.shift, chance
        )
        past = explain.signal_contributions(self._churn(before), columns)
        _, points_before = explain.additive_in_probability(
            past, calibrator.slope, calibrator.shift, chance_before
        )
        refits = [explain.signal_contributions(one(M), columns) for one in self._refits]
        stability = explain.stability_of(signals, refits)
        draft = explain.draft_drivers(
            signals, points, points_before, stability, X, earlier, columns
        )
        return draft, explain.theme_totals(signals, points)

    def _clv_draft(
        self,
        M: Any,
        before: Any,
        X: pd.DataFrame,
        earlier: pd.DataFrame,
        columns: list[Column],
        value: Any,
        staying: Staying,
    ) -> Draft:
        clv = self.rules.bundle.clv
        assert clv is not None
        assert self._clv is not None
        factor = clv.weeks * clv.calibrator.factor
        now, past = (
            staying.credited(self._clv(rows), share)
            for rows, share in ((M, staying.now), (before, staying.before))
        )
        X, earlier = staying.shown(X, earlier, columns)
        columns = self.rules.value_columns(columns)
        signals = explain.signal_contributions(now, columns)
        _, points = explain.additive_in_currency(signals, factor, value)
        signals_before = explain.signal_contributions(past, columns)
        _, points_before = explain.additive_in_currency(
            signals_before, factor, clv.predict(before, staying.before)
        )
        return explain.draft_drivers(
            signals,
            points,
            points_before,
            np.full(points.shape, np.nan),
            X,
            earlier,
            columns,
            raising=2,
            lowering=2,
            least=0.01,
        )


def scored_figures(rules: Rules, M: Any, before: Any, before_known: Any) -> dict[str, Any]:
    """Work out the probability, its interval, its curve, and what it would have been last week.

    Parameters
    ----------
    rules
        What scoring takes.
    M, before, before_known
        Encoded features now, a week ago, and a week ago with what is known now, shape (rows,
        columns).

    Returns
    -------
    dict
        Name to numbers, shape (rows,), of all customers, whether the probability has a meaning or
        not.
    """
    bundle = rules.bundle
    chance, low, high = bundle.churn.with_interval(M, rules.level)
    figures = {
        "churn_probability": chance,
        "churn_low": low,
        "churn_high": high,
        "recomputed": bundle.churn.predict(before),
        "recomputed_known": bundle.churn.predict(before_known),
    }
    if bundle.curve is not None:
        left = bundle.curve.gone_by(M, chance)
        for at, weeks in enumerate(bundle.curve.horizons):
            figures[f"churn_by_{weeks}w"] = left[:, at]
    return figures


def sent(rules: Rules) -> bytes:
    """Pack rules for another process, the company's own features with them."""
    import cloudpickle

    return bytes(cloudpickle.dumps(rules))


def portion_of(packed: bytes, folded: FoldedWeeks) -> Portion:
    """Score some customers in whatever process this is; rules as packed by `sent`."""
    return _scorer(packed)(folded)


@lru_cache(maxsize=1)
def _scorer(packed: bytes) -> PortionScorer:
    import cloudpickle

    return PortionScorer(cloudpickle.loads(packed))
