"""One suspicion: where, why, how grave, with the numbers behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CERTAIN", "Suspect", "auc_low", "gravest_first", "share_low", "with_leave"]

Severity = Literal["error", "warning", "advice"]
GRAVITY = {"error": 0, "warning": 1, "advice": 2}
CERTAIN = 2.33  # normal quantile of 99 %: many columns are looked at, few may be accused by chance


@dataclass(frozen=True)
class Suspect:
    """A column, table or kind of event that may give the outcome away.

    Attributes
    ----------
    where
        What it is called, and what `allow` takes: a column, ``table`` or ``table.column=value``.
    kind
        In words, for example ``"too good to be true"``.
    severity
        ``"error"`` stops a training; ``"warning"``: someone should look; ``"advice"``: allowed, or
        harmless as things are.
    count
        Rows or customers that the evidence rests on.
    message
        The evidence as a sentence.
    evidence
        The numbers in it, by name.
    todo
        What to do.
    """

    where: str
    kind: str
    severity: Severity
    count: int
    message: str
    evidence: dict[str, float] = field(default_factory=dict)
    todo: str = ""

    @property
    def table(self) -> str:
        """Table that the suspect lies in; ``features`` for a column of the matrix."""
        return self.where.split(".", 1)[0].split("=", 1)[0] if self.lies_in_table else "features"

    @property
    def lies_in_table(self) -> bool:
        """Whether `where` names a table of ours rather than a column of a matrix."""
        return self.where.split(".", 1)[0] in _TABLES

    @property
    def names(self) -> frozenset[str]:
        """What it may be allowed by: `where`, and as a report prints it, table before column."""
        printed = self.where if self.lies_in_table else f"{self.table}.{self.where}"
        return frozenset({self.where, printed})


_TABLES = {
    *("customers", "subscriptions", "payments", "usage", "interactions", "surveys"),
    *("referrals", "departures", "tables"),
}


def with_leave(suspects: Iterable[Suspect], allow: Iterable[str]) -> tuple[Suspect, ...]:
    """Turn what is allowed by name into advice, and order by gravity.

    Examples
    --------
    >>> found = [Suspect("plan", "too good to be true", "error", 9, "Plan alone tells all.")]
    >>> [(one.severity, one.message) for one in with_leave(found, ["features.plan"])]
    [('advice', 'Allowed: Plan alone tells all.')]
    """
    names = set(allow)
    return gravest_first(
        replace(one, severity="advice", message=f"Allowed: {one.message}")
        if one.names & names
        else one
        for one in suspects
    )


def gravest_first(suspects: Iterable[Suspect]) -> tuple[Suspect, ...]:
    """Order suspects by gravity, then by name."""
    return tuple(sorted(suspects, key=lambda one: (GRAVITY[one.severity], one.where, one.kind)))


def auc_low(auc: float, left: float, stayed: float) -> float:
    """Lower end of the one-sided 99 % interval of an AUC: what it is at least, at this size.

    Parameters
    ----------
    auc
        As measured, in [0, 1].
    left, stayed
        Independent customers of either kind.

    Notes
    -----
    Standard error of Hanley and McNeil (1982); an AUC of 1 is taken half a pair short of it.

    Examples
    --------
    >>> round(auc_low(0.94, 1869, 5174), 2), round(auc_low(0.94, 12, 30), 2)
    (0.93, 0.82)
    """
    auc = min(auc, 1.0 - 0.5 / max(min(left, stayed), 1.0))
    first, second = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    spread = auc * (1.0 - auc) + (left - 1.0) * (first - auc**2) + (stayed - 1) * (second - auc**2)
    return float(auc - CERTAIN * np.sqrt(max(spread, 0.0) / max(left * stayed, 1.0)))


def share_low(share: float | NDArray[np.float64], n: float | NDArray[np.float64]) -> float:
    """Lower end of the one-sided 99 % Wilson interval of a share.

    Examples
    --------
    >>> round(share_low(1.0, 10), 2), round(share_low(0.9, 1000), 2)
    (0.65, 0.88)
    """
    z2 = CERTAIN**2
    middle = share + z2 / (2.0 * n)
    spread = CERTAIN * np.sqrt(share * (1.0 - share) / n + z2 / (4.0 * n**2))
    return float((middle - spread) / (1.0 + z2 / n))
