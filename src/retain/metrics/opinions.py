"""What customers say when they are asked: NPS, CSAT, CES; each on its own scale, never mixed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from retain.errors import TableError
from retain.metrics.calculator import metric
from retain.metrics.intervals import mean_interval, net_interval
from retain.metrics.period import Period
from retain.metrics.result import Direction, Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted
from retain.metrics.shares import low_n, share

__all__ = ["OPINIONS", "ces", "csat", "nps"]

Answers = Literal["latest", "all"]
Scale = tuple[int, int]
CSAT = ("top2", "top_box", "mean", "mean_rescaled", "not_unhappy")
CES = ("mean", "share_easy", "net_easy")
CES_SCALES: dict[str, Scale] = {"1.0": (1, 5), "2.0": (1, 7)}
WHEN = "coalesce(answered_at, sent_at)"


@metric(
    label="Net promoter score",
    unit="points",
    direction="higher is better",
    needs=("surveys",),
    variants=("latest", "all", "customer"),
    theme="opinions",
)
def nps(
    surveys: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["latest", "all", "customer"] = "latest",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of promoters (9-10) minus share of detractors (0-6), -100 to 100 points.

    Parameters
    ----------
    surveys
        Answers; those of kind nps are read.
    period
        Answers given in it count (sent in it, where nobody answered).
    by
        Columns of surveys or customers to cut by.
    customers
        Needed to cut by their columns.
    variant
        ``"latest"`` answer of a customer to a survey (one per case where `interaction_id` is
        given), of two at the same instant the lower; ``"all"`` answers; or all answers with every
        ``"customer"`` weighing the same, however often one answered.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In points: subtracted first, rounded at display only.

    Raises
    ------
    TableError
        When a column is missing.

    Notes
    -----
    Only whole numbers from 0 to 10 are answers: others, and answers given on another scale, are
    refused and counted. Without answers it is undefined.

    References
    ----------
    reference/metrics.md 2.1.

    Examples
    --------
    >>> import pandas as pd
    >>> answers = pd.DataFrame({
    ...     "customer_id": range(11), "kind": "nps", "score": [10] * 7 + [8] * 2 + [3] * 2,
    ...     "answered_at": pd.Timestamp("2026-10-05")})
    >>> nps(answers, Period.month("2026-10")).display()
    '45'
    """
    rows = Rows(surveys=surveys, customers=customers)
    how: Answers = "latest" if variant == "latest" else "all"
    asked = answers_sql(rows, "nps", period, (0, 10), how, by)
    mine = "count(CASE WHEN excluded_because IS NULL THEN 1 END) OVER (PARTITION BY customer_id)"
    judged = f"""
        SELECT *, customer_id AS id, {mine if variant == "customer" else 1} AS shared_by,
            CASE WHEN score >= 9 THEN 'promoters' WHEN score >= 7 THEN 'passives'
                 ELSE 'detractors' END AS part,
            part <> 'passives' AS is_numerator
        FROM ({asked})"""

    def make(tally: Tally) -> Metric:
        plus, minus, n = (_weight(tally[name]) for name in ("promoters", "detractors", "answers"))
        below = f"{n} {'customers' if variant == 'customer' else 'answers'}"
        return _net(
            "nps",
            variant,
            tally,
            (plus, minus, n),
            (f"{plus} promoters", f"{minus} detractors", below),
            period=period,
            timezone=timezone,
            level=level,
            parameters={"answers": how},
            parts={"promoters": plus, "passives": n - plus - minus, "detractors": minus},
        )

    # weights are added up exactly from how many answers have each
    sums = {
        "promoters": "histogram(CASE WHEN part = 'promoters' THEN shared_by END)",
        "detractors": "histogram(CASE WHEN part = 'detractors' THEN shared_by END)",
        "answers": "histogram(shared_by)",
    }
    if variant != "customer":
        sums = {name: counted(f"part = '{name}'") for name in ("promoters", "detractors")}
        sums["answers"] = "count(*)"
    return rows.measure(make, judged, by, **sums)


@metric(
    label="Customer satisfaction",
    unit="percent",
    direction="higher is better",
    needs=("surveys",),
    variants=CSAT,
    theme="opinions",
)
def csat(
    surveys: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["top2", "top_box", "mean", "mean_rescaled", "not_unhappy"] = "top2",
    scale: Scale = (1, 5),
    satisfied_from: int | None = None,
    unhappy_to: int | None = None,
    neutrals: Literal["counted", "left out"] = "counted",
    answers: Answers = "latest",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of satisfied ratings, 0 to 100 percent, or the mean rating on its scale.

    Parameters
    ----------
    surveys
        Ratings; those of kind csat are read.
    period
        Ratings given in it count.
    by, customers
        Columns to cut by, of surveys or of customers.
    variant
        ``"top2"`` satisfied ÷ all ratings; ``"top_box"`` best rating ÷ all; ``"mean"`` in units of
        the scale; ``"mean_rescaled"`` its place between the ends of the scale in percent;
        ``"not_unhappy"`` 100 percent minus the unhappy.
    scale
        Lowest and highest rating, whole numbers.
    satisfied_from, unhappy_to
        First satisfied and last unhappy rating. Default: the best two and the worst two, on scales
        of two or three ratings the best and the worst; what lies between is neutral.
    neutrals
        Whether neutral ratings count against (``"counted"``) or are ``"left out"`` and counted as
        such.
    answers
        ``"latest"`` of a customer to a survey (one per case where `interaction_id` is given), or
        ``"all"``.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent; for ``"mean"`` in units of the scale.

    Raises
    ------
    TableError
        When a column is missing, or the scale makes no sense.

    Notes
    -----
    Only whole numbers on the scale are ratings. Interval: Wilson for shares, normal for means.

    References
    ----------
    reference/metrics.md 2.2.

    Examples
    --------
    >>> import pandas as pd
    >>> ratings = pd.DataFrame({
    ...     "customer_id": range(4), "kind": "csat", "score": [5, 4, 3, 1],
    ...     "answered_at": pd.Timestamp("2026-10-05")})
    >>> october = Period.month("2026-10")
    >>> csat(ratings, october).display(), csat(ratings, october, variant="mean").display()
    ('50.0', '3.25')
    >>> csat(ratings, october, neutrals="left out").display()
    '66.7'
    """
    low, high = whole_scale(scale)
    extreme = 2 if high - low >= 3 else 1
    happy = high - extreme + 1 if satisfied_from is None else satisfied_from
    unhappy = low + extreme - 1 if unhappy_to is None else unhappy_to
    if not low <= unhappy < happy <= high:
        raise TableError(
            f"csat: unhappy to {unhappy} and satisfied from {happy} should follow each other on "
            f"the scale {low}-{high}; correct satisfied_from or unhappy_to"
        )
    rows = Rows(surveys=surveys, customers=customers)
    neutral = f"score > {unhappy} AND score < {happy}"
    ends = "excluded_because IS NULL AND " + (neutral if neutrals == "left out" else "false")
    judged = f"""
        SELECT * REPLACE (CASE WHEN {ends} THEN 'neutral' ELSE excluded_because END
                          AS excluded_because),
            customer_id AS id,
            CASE WHEN score >= {happy} THEN 'satisfied' WHEN {neutral} THEN 'neutral'
                 ELSE 'unhappy' END AS part,
            {_counted(variant, happy, high, unhappy)} AS is_numerator
        FROM ({answers_sql(rows, "csat", period, (low, high), answers, by)})"""

    def make(tally: Tally) -> Metric:
        n = tally.used
        given: dict[str, Any] = {
            "period": period,
            "timezone": timezone,
            "level": level,
            "parameters": {
                "scale": f"{low}-{high}",
                "satisfied_from": happy,
                "unhappy_to": unhappy,
                "neutrals": neutrals,
                "answers": answers,
            },
            "parts": {
                "satisfied": tally["satisfied"],
                "neutral": n - tally["satisfied"] - tally["unhappy"],
                "unhappy": tally["unhappy"],
            },
        }
        if variant.startswith("mean"):
            return _mean("csat", variant, tally, (low, high), **given)
        names = {"top2": f"{happy}-{high}", "top_box": f"{high}", "not_unhappy": f"over {unhappy}"}
        return share("csat", variant, tally, of=(f"rated {names[variant]}", "answers"), **given)

    return rows.measure(
        make,
        judged,
        by,
        satisfied=counted("part = 'satisfied'"),
        unhappy=counted("part = 'unhappy'"),
        **_SUMS,
    )


@metric(
    label="Customer effort score",
    unit="score",
    direction="higher is better",
    needs=("surveys",),
    variants=CES,
    theme="opinions",
)
def ces(
    surveys: Source,
    period: Period,
    *,
    scale_version: Literal["1.0", "2.0"],
    direction: Literal["high is easy", "high is hard"],
    variant: Literal["mean", "share_easy", "net_easy"],
    by: By = None,
    customers: Source | None = None,
    scale: Scale | None = None,
    answers: Answers = "latest",
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """How easy customers found it: mean score, share that found it easy, or net easy.

    Parameters
    ----------
    surveys
        Answers; those of kind ces are read.
    period
        Answers given in it count.
    scale_version
        The question asked. ``"1.0"``: "How much effort did you personally have to put forth?", 1
        very low to 5 very high, a lower mean is better. ``"2.0"``: "[Company] made it easy for me
        to handle my issue", 1 strongly disagree to 7 strongly agree, a higher mean is better.
    direction
        What a high number means as recorded. Answers recorded the other way round than their
        question are turned (low + high - x) before anything is computed.
    variant
        ``"mean"`` in units of the scale, ``"share_easy"`` beyond the middle of the scale on the
        easy side (5-7 of 1-7) in percent, ``"net_easy"`` that share minus the share on the hard
        side, in points. None is the usual one: say which.
    by, customers
        Columns to cut by, of surveys or of customers.
    scale
        Lowest and highest answer; default 1-5 for 1.0 and 1-7 for 2.0.
    answers
        ``"latest"`` of a customer to a survey (one per case where `interaction_id` is given), or
        ``"all"``.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        With its direction: a mean of version 1.0 is better when lower.

    Raises
    ------
    TableError
        When a column is missing, or version, direction or scale make no sense.

    Notes
    -----
    The versions ask different questions: they are never pooled, and neither are scales. Only whole
    numbers on the scale are answers.

    References
    ----------
    reference/metrics.md 2.3.

    Examples
    --------
    >>> import pandas as pd
    >>> felt = pd.DataFrame({
    ...     "customer_id": range(4), "kind": "ces", "score": [7, 6, 4, 1],
    ...     "answered_at": pd.Timestamp("2026-10-05")})
    >>> asked = {"scale_version": "2.0", "direction": "high is easy"}
    >>> october = Period.month("2026-10")
    >>> [ces(felt, october, variant=one, **asked).display() for one in ces.variants]
    ['4.50', '50.0', '25']
    """
    if scale_version not in CES_SCALES or direction not in ("high is easy", "high is hard"):
        raise TableError(
            f"ces: scale_version should be 1.0 or 2.0 and direction 'high is easy' or 'high is "
            f"hard'; found {scale_version!r} and {direction!r}"
        )
    low, high = whole_scale(scale or CES_SCALES[scale_version])
    natural = "high is hard" if scale_version == "1.0" else "high is easy"
    felt = "score" if direction == natural else f"{low + high} - score"
    easy, hard = (f"2 * score > {low + high}", f"2 * score < {low + high}")
    if natural == "high is hard":
        easy, hard = hard, easy
    is_numerator = {"mean": "true", "share_easy": easy, "net_easy": f"({easy}) OR ({hard})"}
    rows = Rows(surveys=surveys, customers=customers)
    judged = f"""
        SELECT *, customer_id AS id, {is_numerator[variant]} AS is_numerator,
            CASE WHEN {easy} THEN 'easy' WHEN {hard} THEN 'hard' ELSE 'neither' END AS part
        FROM (SELECT * REPLACE ({felt} AS score)
              FROM ({answers_sql(rows, "ces", period, (low, high), answers, by)}))"""

    def make(tally: Tally) -> Metric:
        n, plus, minus = tally.used, tally["easy"], tally["hard"]
        given: dict[str, Any] = {
            "period": period,
            "timezone": timezone,
            "level": level,
            "parameters": {
                "scale_version": scale_version,
                "recorded": direction,
                "scale": f"{low}-{high}",
                "answers": answers,
            },
            "parts": {"easy": plus, "neither": n - plus - minus, "hard": minus},
        }
        if variant == "mean":
            better: Direction = "lower is better" if scale_version == "1.0" else "higher is better"
            return _mean("ces", variant, tally, (low, high), direction=better, **given)
        if variant == "share_easy":
            return share("ces", variant, tally, of=("easy", "answers"), **given)
        words = (f"{plus} easy", f"{minus} hard", f"{n} answers")
        return _net("ces", variant, tally, (plus, minus, n), words, **given)

    return rows.measure(
        make, judged, by, easy=counted("part = 'easy'"), hard=counted("part = 'hard'"), **_SUMS
    )


_SUMS = {
    "above": counted("is_numerator"),
    "total": "sum(CAST(score AS BIGINT))",
    "squares": "sum(CAST(score AS BIGINT) * CAST(score AS BIGINT))",
}


def keep_given(rows: Rows, period: Period, by: By = None) -> None:
    """Keep as `given` the surveys answered in a period, or sent in it and not answered, or undated.

    Apart, each can pass over the blocks of a table that hold other days.
    """
    when = (
        period.holds("answered_at"),
        f"answered_at IS NULL AND {period.holds('sent_at')}",
        "answered_at IS NULL AND sent_at IS NULL",
    )
    rows.keep("given", " UNION ALL ".join(f"SELECT * FROM surveys WHERE {one}" for one in when), by)


def answers_sql(
    rows: Rows, kind: str, period: Period, scale: Scale, answers: Answers, by: By = None
) -> str:
    """Write the answers of one kind in a period, each used or left out with its reason.

    Parameters
    ----------
    rows
        With surveys among them.
    kind
        ``"nps"``, ``"csat"`` or ``"ces"``.
    period
        Of answering; of sending where nobody answered.
    scale
        Lowest and highest answer; others, fractions, and answers said to be on another scale are
        left out.
    answers
        ``"latest"`` per customer and case, or ``"all"``.
    by
        Columns to cut by.

    Returns
    -------
    str
        A SELECT of every column of surveys and `excluded_because`.
    """
    if not rows.has("surveys", "answered_at"):
        rows.require("surveys", "sent_at")
    keep_given(rows, period, by)
    low, high = scale
    ends = r"regexp_extract(scale, '^\s*(-?[0-9.]+)\s*(?:-|to|\.\.|/|:)\s*([0-9.]+)\s*$', {})"
    same = " AND ".join(
        f"try_cast({ends.format(at)} AS DOUBLE) = {end}" for at, end in ((1, low), (2, high))
    )
    judged = f"""
        SELECT *, CASE WHEN {WHEN} IS NULL THEN 'no date' WHEN score IS NULL THEN 'no answer'
                       WHEN scale IS NOT NULL AND NOT coalesce({same}, false)
                       THEN 'another scale'
                       WHEN score <> trunc(score) OR score NOT BETWEEN {low} AND {high}
                       THEN 'off the scale' END AS refused_because
        FROM given WHERE kind = '{kind}'"""
    if answers == "all":
        return f"SELECT *, refused_because AS excluded_because FROM ({judged})"
    return f"""
        SELECT *, CASE WHEN refused_because IS NOT NULL THEN refused_because
                       WHEN row_number() OVER (
                           PARTITION BY customer_id, interaction_id, refused_because IS NULL
                           ORDER BY {WHEN} DESC, score, comment) > 1
                       THEN 'a later answer counts' END AS excluded_because
        FROM ({judged})"""


def whole_scale(scale: Scale) -> Scale:
    """Check that a scale goes up, in whole numbers."""
    low, high = scale
    if low != int(low) or high != int(high) or low >= high:
        raise TableError(
            f"a scale should go from a lowest to a highest whole number, as (1, 5); found {scale}"
        )
    return int(low), int(high)


def _counted(variant: str, happy: int, high: int, unhappy: int) -> str:
    """Write which ratings stand above the line."""
    first = {"top2": happy, "top_box": high, "not_unhappy": unhappy + 1}
    return f"score >= {first[variant]}" if variant in first else "true"


def _weight(shared_by: dict[int, int] | int | None) -> Fraction | int:
    """Add up answers, or answers of which each is one of so many of its customer."""
    if isinstance(shared_by, int):
        return shared_by
    total = sum((Fraction(many, k) for k, many in (shared_by or {}).items()), Fraction(0))
    return int(total) if total.denominator == 1 else total


def _net(
    name: str,
    variant: str,
    tally: Tally,
    counts: tuple[Fraction | int, Fraction | int, Fraction | int],
    words: tuple[str, str, str],
    *,
    level: float,
    parameters: dict[str, Any],
    **given: Any,
) -> Metric:
    """Make the metric of (plus - minus) ÷ n, in points."""
    plus, minus, n = counts
    interval = net_interval(plus, minus, n, level) if n else None
    return Metric(
        name,
        variant,
        Fraction(100 * (plus - minus)) / n if n else None,
        "points",
        "higher is better",
        numerator=plus - minus,
        denominator=n,
        n=tally.used,
        low=100 * interval[0] if interval else None,
        high=100 * interval[1] if interval else None,
        level=level if interval else None,
        undefined_because=None if n else "no answers",
        parameters={**parameters, "interval": interval[2] if interval else None},
        notes=low_n(tally.used),
        formula=f"100 x ({words[0]} - {words[1]}) / {words[2]}",
        **given,
        **tally.counts,
    )


def _mean(
    name: str,
    variant: str,
    tally: Tally,
    scale: Scale,
    *,
    level: float,
    direction: Direction = "higher is better",
    **given: Any,
) -> Metric:
    """Make the metric of the mean answer, on its scale or rescaled to percent."""
    total, squares, n = tally["total"] or 0, tally["squares"] or 0, tally.used
    mean = Fraction(total, n) if n else None
    variance = float(Fraction(squares * n - total * total, n * (n - 1))) if n > 1 else None
    interval = mean_interval(float(mean), variance, n, level) if mean is not None else None
    ends = tuple(min(max(end, scale[0]), scale[1]) for end in interval or ())
    unit, formula = "score", f"{total} summed answers / {n} answers"
    if variant == "mean_rescaled":
        low, high = scale
        mean = None if mean is None else 100 * (mean - low) / (high - low)
        ends = tuple(100 * (end - low) / (high - low) for end in ends)
        unit, formula = "percent", f"100 x ({formula} - {low}) / {high - low}"
    return Metric(
        name,
        variant,
        mean,
        unit,
        direction,
        numerator=total,
        denominator=n,
        n=n,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        level=level if ends else None,
        undefined_because=None if n else "no answers",
        notes=low_n(n),
        formula=formula,
        **given,
        **tally.counts,
    )


OPINIONS = (nps, csat, ces)
