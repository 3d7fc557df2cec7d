"""How long each customer is expected to stay, as one more driver of what he is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from retain.features import Column, Feature
from retain.jobs.horizons import Leaving
from retain.jobs.valuing import shares
from retain.model import Bundle
from retain.snapshots import ChurnRule, ClvRule

__all__ = ["Staying"]


@dataclass(frozen=True)
class Staying:
    """Shares of the weeks of the CLV horizon in which customers are expected to be there.

    Parameters
    ----------
    now, before, earlier
        As of today, a week ago, and four weeks ago: shape (rows,), nan for customers whose
        probability has no meaning; None where value does not follow the curve of leaving.
    usual_log_share
        Log of the share from which the credit starts.
    horizon_weeks
        Of CLV.
    """

    now: Any
    before: Any
    earlier: Any
    usual_log_share: float
    horizon_weeks: int

    @classmethod
    def of(
        cls,
        churn: ChurnRule,
        clv: ClvRule,
        bundle: Bundle,
        M: Any,
        before: Any,
        earlier: Any,
        eligible: Any,
        chance: Any,
        chance_before: Any,
    ) -> Staying:
        """Work out the shares from encoded features of three dates, same customers.

        Parameters
        ----------
        churn, clv, bundle
            What leaving and value mean, and the model.
        M, before, earlier
            Encoded features today, a week ago, and four weeks ago, shape (rows, columns).
        eligible
            Whether the probability has a meaning, shape (rows,).
        chance, chance_before
            Probability today and a week ago, shape (rows,).
        """
        assert bundle.clv is not None
        leaving = Leaving(bundle.churn, bundle.curve) if bundle.clv.follows_curve else None
        weeks = clv.horizon_weeks
        now, then, past = (
            shares(churn, clv, leaving, rows, eligible, weeks, known)
            for rows, known in ((M, chance), (before, chance_before), (earlier, None))
        )
        return cls(now, then, past, bundle.clv.usual_log_share, weeks)

    def credited(self, contributions: Any, share: Any) -> Any:
        """Put the credit of staying beside the features', in log of currency, the base still last.

        Parameters
        ----------
        contributions
            SHAP values of shape (rows, columns + 1), the base value last.
        share
            One of the three shares.
        """
        if share is None:
            return contributions
        credit = np.nan_to_num(np.log(share) - self.usual_log_share, nan=0.0)
        base = contributions[:, -1:] + self.usual_log_share
        return np.column_stack([contributions[:, :-1], credit, base])

    def shown(
        self, X: pd.DataFrame, earlier: pd.DataFrame, columns: list[Column]
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Put the expected weeks beside the features, now and four weeks earlier."""
        if self.now is None:
            return X, earlier
        column = self.column(self.horizon_weeks)
        names = [one.name for one in columns]
        now, then = (
            frame[names].assign(**{column.name: share * self.horizon_weeks})
            for frame, share in ((X, self.now), (earlier, self.earlier))
        )
        return now, then

    @staticmethod
    def column(horizon_weeks: int) -> Column:
        """Say what the expected weeks are."""
        label = f"Weeks expected as a customer, of the next {horizon_weeks}"
        feature = Feature(
            name="expected_weeks",
            label=label,
            unit="weeks",
            theme="commercial",
            signal="expected time as a customer",
            compute=lambda history: None,
        )
        return Column(feature.name, feature, None, label)
