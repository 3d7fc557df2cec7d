"""The health score: an opinion with weights, from measured parts; what is not known is never good.

It is no churn probability. Whether it foresaw churn is for `evaluate` to say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retain.errors import TableError, some
from retain.metrics.calculator import metric
from retain.metrics.period import Period
from retain.metrics.result import LOW_N, Metric
from retain.metrics.rows import By, Rows, Source, Tally

__all__ = [
    "HEALTH",
    "HealthPart",
    "HealthRule",
    "Missing",
    "health_score",
    "health_scores",
    "version_changes",
]

Missing = Literal["redistribute", "zero", "neutral", "totango"]
INSTEAD = {"redistribute": np.nan, "zero": 0.0, "neutral": 50.0, "totango": np.nan}
BANDS = {"red": 0.0, "yellow": 50.0, "green": 75.0}


@dataclass(frozen=True)
class HealthPart:
    """One part of the score: its scale and its weight.

    Parameters
    ----------
    floor, target
        Values that score 0 and 100, in the part's own unit; between them it is a line, beyond them
        0 or 100. A floor above the target means that less is better.
    weight
        Among the parts that are known.

    Examples
    --------
    >>> float(HealthPart(7, 30).scaled(np.array([18.0]))[0].round(1))
    47.8
    """

    floor: float
    target: float
    weight: float = 1.0

    def scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put values on the scale of 0 to 100, nan where nothing is known."""
        share = (values - self.floor) / (self.target - self.floor)
        return 100.0 * np.clip(share, 0.0, 1.0)


@dataclass(frozen=True)
class HealthRule:
    """How a health score is made, whole: another rule is another version.

    Parameters
    ----------
    parts
        Name of a column to its part.
    profiles
        Segment to the weights there, by part, instead of the parts' own.
    missing
        A part that is not known: ``"redistribute"`` its weight to the others, ``"zero"``,
        ``"neutral"`` (50), or ``"totango"``: as redistribute, and the band is that of the worst
        part (one poor part is poor, only all good is good).
    least_coverage
        Share of the weight that must be known for a band, 0 to 1.
    bands
        Where each begins: the first at 0, each up to the next, which it excludes; the last holds
        100.

    Raises
    ------
    TableError
        When a part has no scale, weights are negative or add up to nothing, a profile names a part
        that is not there, or the bands leave gaps.
    """

    parts: Mapping[str, HealthPart]
    profiles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    missing: Missing = "redistribute"
    least_coverage: float = 0.5
    bands: Mapping[str, float] = field(default_factory=lambda: dict(BANDS))

    def __post_init__(self) -> None:
        flat = [name for name, part in self.parts.items() if part.floor == part.target]
        if flat:
            raise TableError(f"health: floor and target of {some(flat)} are equal: no scale")
        if self.missing not in get_args(Missing):
            raise TableError(
                f"health: missing should be one of {some(get_args(Missing))}; found {self.missing}"
            )
        if not 0 <= self.least_coverage <= 1:
            raise TableError(
                f"health: least_coverage should lie between 0 and 1; found {self.least_coverage}"
            )
        edges = list(self.bands.values())
        if not edges or edges[0] != 0 or edges != sorted(set(edges)) or edges[-1] >= 100:
            raise TableError(f"health: bands should begin at 0 and rise below 100; found {edges}")
        for segment, weights in {"": {}, **self.profiles}.items():
            if lost := [name for name in weights if name not in self.parts]:
                raise TableError(
                    f"health: profile {segment} names {some(lost)}; parts are "
                    f"{some(self.parts, 20)}"
                )
            given = list(self.weights(segment).values())
            if min(given, default=0) < 0 or sum(given) <= 0:
                raise TableError(
                    f"health: weights{f' of {segment}' if segment else ''} should be 0 or more and "
                    f"one above 0; found {given}"
                )

    def weights(self, segment: str | None) -> dict[str, float]:
        """Give the weight of each part in a segment."""
        own = {name: part.weight for name, part in self.parts.items()}
        return own | dict(self.profiles.get(segment or "", {}))

    @property
    def version(self) -> str:
        """Twelve signs that change with anything in the rule."""
        plain = {
            "parts": {
                name: [float(one.floor), float(one.target), float(one.weight)]
                for name, one in self.parts.items()
            },
            "profiles": {
                segment: {name: float(weight) for name, weight in weights.items()}
                for segment, weights in self.profiles.items()
            },
            "missing": self.missing,
            "least_coverage": float(self.least_coverage),
            "bands": [[name, float(edge)] for name, edge in self.bands.items()],
        }
        text = json.dumps(plain, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def health_scores(
    values: pd.DataFrame, rule: HealthRule, *, segment: str = "segment"
) -> pd.DataFrame:
    """Score customers.

    Parameters
    ----------
    values
        A row per customer: customer_id, a column per part in its own unit (nan: not known), and the
        segment where there are profiles.
    rule
        How it is made.
    segment
        Column whose value chooses the profile.

    Returns
    -------
    DataFrame
        customer_id; score, 0 (poor) to 100 (healthy), nan when nothing is known; coverage, the
        share of the weight that is known, 0 to 1; band, None where there is no score or coverage is
        below the least; no_band_because; a column ``part_<name>`` per part, 0 to 100, nan where not
        known; config_version.

    Raises
    ------
    TableError
        When a column is missing or a customer comes twice.

    Notes
    -----
    score = sum(weight x part) / sum(weight), over the parts that are known.

    References
    ----------
    reference/metrics.md 2.20.

    Examples
    --------
    >>> parts = {"a": HealthPart(0, 100, 50), "b": HealthPart(0, 100, 30),
    ...          "c": HealthPart(0, 100, 20)}
    >>> seen = pd.DataFrame({"customer_id": ["x"], "a": [80.0], "b": [40.0], "c": [np.nan]})
    >>> [float(health_scores(seen, HealthRule(parts, missing=one)).score[0])
    ...  for one in ("redistribute", "zero", "neutral")]
    [65.0, 52.0, 62.0]
    """
    wanted = ["customer_id", *rule.parts, *([segment] if rule.profiles else [])]
    if lost := [name for name in wanted if name not in values]:
        raise TableError(
            f"health: column {some(lost)} is missing; found {some(values.columns, 20)}"
        )
    if twice := list(values.customer_id[values.customer_id.duplicated()].unique()):
        raise TableError(f"health: {some(twice)} come more than once; give one row per customer")
    names = list(rule.parts)
    scaled = np.column_stack(
        [rule.parts[one].scaled(values[one].to_numpy(np.float64, na_value=np.nan)) for one in names]
    )
    places, found = np.zeros(len(values), dtype=np.intp), pd.Index([""])
    if rule.profiles:
        of = values[segment]
        places, found = pd.factorize(of.where(of.notna(), ""))
    weights = np.array([list(rule.weights(one).values()) for one in found], dtype=np.float64)
    weights = weights.reshape(len(found), len(names))[places]
    known = np.isfinite(scaled)
    coverage = (weights * known).sum(axis=1) / weights.sum(axis=1)
    filled = np.where(known, scaled, INSTEAD[rule.missing])
    counting = weights * np.isfinite(filled)
    with np.errstate(invalid="ignore"):
        score = (np.nan_to_num(filled) * counting).sum(axis=1) / counting.sum(axis=1)
    score[coverage == 0] = np.nan
    judged = score
    if rule.missing == "totango":
        worst = np.where(known & (weights > 0), scaled, np.inf).min(axis=1, initial=np.inf)
        judged = np.where(np.isfinite(worst), worst, np.nan)
    labels, edges = list(rule.bands), list(rule.bands.values())
    at = np.searchsorted(edges, np.nan_to_num(judged), side="right") - 1
    little = f"less than {rule.least_coverage:.0%} is known"
    reason = np.full(len(values), None, dtype=object)
    reason[coverage < rule.least_coverage] = little
    reason[coverage == 0] = "nothing is known"
    band = np.array(labels, dtype=object)[at]
    band[(coverage == 0) | (coverage < rule.least_coverage)] = None
    return pd.DataFrame(
        {
            "customer_id": values.customer_id.to_numpy(),
            "score": score,
            "coverage": coverage,
            "band": pd.Series(band, dtype=object),
            "no_band_because": pd.Series(reason, dtype=object),
            **{f"part_{name}": scaled[:, at] for at, name in enumerate(names)},
            "config_version": rule.version,
        }
    )


def version_changes(history: pd.DataFrame) -> pd.DataFrame:
    """Find where a history of scores came under another rule, to be marked on it.

    Parameters
    ----------
    history
        as_of and config_version, any number of rows per as_of, in any order.

    Returns
    -------
    DataFrame
        as_of, config_version, earlier_version: a row per change, oldest first.

    Examples
    --------
    >>> weeks = pd.DataFrame({"as_of": ["w1", "w2", "w3"], "config_version": ["a", "a", "b"]})
    >>> version_changes(weeks).to_dict("records")
    [{'as_of': 'w3', 'config_version': 'b', 'earlier_version': 'a'}]
    """
    one_each = (
        history[["as_of", "config_version"]]
        .drop_duplicates()
        .sort_values(["as_of", "config_version"])
    )
    earlier = one_each.config_version.shift()
    changed = earlier.notna() & (earlier != one_each.config_version)
    return one_each.assign(earlier_version=earlier)[changed].reset_index(drop=True)


@metric(
    label="Health of the customers",
    unit="points of 100",
    direction="higher is better",
    needs=("health",),
    variants=("mean",),
    theme="customers",
)
def health_score(
    health: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["mean"] = "mean",
    timezone: str = "UTC",
) -> Metric:
    """Mean health score of customers who have one, 0 to 100, 100 is healthy.

    Parameters
    ----------
    health
        What `health_scores` gave at the period's end.
    period
        For the record.
    by, customers
        Columns of customers to cut by.
    variant
        There is one.
    timezone
        For the record.

    Returns
    -------
    Metric
        In points; `parts` count the customers of each band, those without a band under
        ``"no band"``. Its rows are customers. Undefined when nobody has a score.
    """
    rows = Rows(health=health, customers=customers)
    rows.require("health", "customer_id", "score", "band")
    # decimals add up to the same in any order
    judged = """
        SELECT CAST(customer_id AS VARCHAR) AS customer_id, CAST(customer_id AS VARCHAR) AS id,
            true AS is_numerator, band,
            CAST(CASE WHEN isfinite(score) THEN score END AS DECIMAL(12, 9)) AS points,
            CASE WHEN score IS NULL OR isnan(score) THEN 'no score' END AS excluded_because
        FROM health"""

    def make(tally: Tally) -> Metric:
        n, total = tally.used, Decimal(tally["total"] or 0)
        bands = {name or "no band": many for name, many in (tally["bands"] or {}).items()}
        return Metric(
            "health_score",
            variant,
            float(total) / n if n else None,
            "points of 100",
            "higher is better",
            numerator=total,
            denominator=n,
            n=n,
            undefined_because=None if n else "nobody has a score",
            period=period,
            timezone=timezone,
            parts=dict(sorted(bands.items())),
            notes=("low n",) if 0 < n < LOW_N else (),
            formula=f"{total:f} points / {n} customers",
            **tally.counts,
        )

    return rows.measure(
        make, judged, by, total="sum(points)", bands="histogram(coalesce(band, ''))"
    )


HEALTH = (health_score,)
