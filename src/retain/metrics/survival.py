"""Waiting that is not over yet: Kaplan-Meier medians, which drop nobody."""

from __future__ import annotations

from dataclasses import dataclass

from retain.metrics.intervals import z_of
from retain.metrics.rows import By, Rows, columns_of

__all__ = ["KaplanMeier", "kaplan_meier"]


@dataclass(frozen=True)
class KaplanMeier:
    """The median wait of one segment, in the unit of the durations.

    Parameters
    ----------
    median
        First duration by which at least half are over; None when that is never seen.
    low, high
        Its interval; None where an end is never seen.
    over, waiting
        How many waits are over, and how many go on.
    """

    median: float | None = None
    low: float | None = None
    high: float | None = None
    over: int = 0
    waiting: int = 0


def kaplan_meier(
    rows: Rows, judged: str, by: By = None, /, level: float = 0.95
) -> dict[tuple[tuple[str, str], ...], KaplanMeier]:
    """Estimate median waits for the whole and every segment, in one pass.

    Parameters
    ----------
    rows, judged, by
        As for `Rows.tally`; the judged rows also give `waited` (a number, 0 or more) and `is_over`
        (false: still waiting after so long). Only rows that are used enter.
    level
        Of the intervals, in (0, 1).

    Returns
    -------
    dict
        ``tuple(tally.by.items())`` to its estimate.

    Notes
    -----
    S(t) is the product over waits up to t of 1 - over / at risk; of ends at the same time those
    that are over come first. The interval is Brookmeyer and Crowley's on the log(-log) scale with
    Greenwood's variance.

    References
    ----------
    Kaplan and Meier (1958), JASA 53; Brookmeyer and Crowley (1982), Biometrics 38.
    """
    columns = columns_of(by)
    cuts = [f"by_{at}" for at in range(len(columns))]
    sets = ", ".join(["(waited)", *(f"({cut}, waited)" for cut in cuts)])
    group = ", ".join(cuts)
    each = f"PARTITION BY {group} " if cuts else ""
    z = z_of(level)
    lines = rows.fetch(f"""
        WITH waits AS (
            SELECT {group + "," if cuts else ""} waited,
                count(CASE WHEN is_over THEN 1 END) AS ended, count(*) AS all_of_them
            FROM ({rows.cut(judged, by)}) WHERE excluded_because IS NULL
            GROUP BY GROUPING SETS ({sets})),
        risks AS (
            SELECT *, sum(all_of_them) OVER ({each}ORDER BY waited DESC) AS at_risk FROM waits),
        curve AS (
            SELECT *, at_risk = ended AS is_last,
                sum(CASE WHEN at_risk > ended THEN ln(1 - ended / at_risk) END)
                    OVER ({each}ORDER BY waited) AS log_s,
                sum(CASE WHEN at_risk > ended THEN ended / (at_risk * (at_risk - ended)) END)
                    OVER ({each}ORDER BY waited) AS variance
            FROM risks),
        bands AS (
            SELECT *, CASE WHEN variance > 0 AND log_s < 0
                THEN exp({z!r} * sqrt(variance) / -log_s) ELSE 1 END AS spread FROM curve)
        SELECT {group + "," if cuts else ""}
            min(CASE WHEN is_last OR exp(log_s) <= 0.5 + 1e-9 THEN waited END),
            min(CASE WHEN is_last OR exp(log_s * spread) <= 0.5 + 1e-9 THEN waited END),
            min(CASE WHEN NOT is_last AND exp(log_s / spread) <= 0.5 + 1e-9 THEN waited END),
            sum(ended), sum(all_of_them - ended)
        FROM bands GROUP BY {group or "()"}""")
    found = {}
    for line in lines:
        labels = tuple(
            (column, label)
            for column, label in zip(columns, line, strict=False)
            if label is not None
        )
        median, low, high, over, waiting = line[len(cuts) :]
        found[labels] = KaplanMeier(median, low, high, int(over or 0), int(waiting or 0))
    return found
