"""How much customers say: who answers when asked, and who writes a comment."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from retain.metrics.calculator import metric
from retain.metrics.opinions import keep_given
from retain.metrics.period import Period
from retain.metrics.result import Metric
from retain.metrics.rows import By, Rows, Source, Tally, counted, word
from retain.metrics.shares import share

__all__ = ["FEEDBACK", "answer_rate", "comment_rate"]


@metric(
    label="Answer rate of surveys",
    unit="percent",
    direction="higher is better",
    needs=("surveys",),
    variants=("within",),
    theme="opinions",
)
def answer_rate(
    surveys: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["within"] = "within",
    kind: str | None = None,
    wait_days: int = 14,
    data_until: date | None = None,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of the questions sent in a period that were answered in time, 0 to 100 percent.

    Parameters
    ----------
    surveys
        Questions sent, answered or not.
    period
        Of sending.
    by, customers
        Columns to cut by, of surveys or of customers.
    variant
        ``"within"`` so many days of sending; later answers do not count.
    kind
        Only questions of this kind; default: of every kind.
    wait_days
        How long an answer is waited for. Questions that were sent later than this before the data
        end are left out and counted: nobody can know yet.
    data_until
        Last day that the data describe; default: the newest day in surveys.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent.

    Raises
    ------
    TableError
        When `sent_at` is missing: without it, nobody knows who was asked.

    Examples
    --------
    >>> import pandas as pd
    >>> sent = pd.Timestamp("2026-10-05")
    >>> asked = pd.DataFrame({"customer_id": range(4), "kind": "nps", "score": [9, 3, None, None],
    ...                       "sent_at": sent, "answered_at": [sent, sent, None, None]})
    >>> found = answer_rate(asked, Period.month("2026-10"), data_until=date(2026, 10, 31))
    >>> found.display(), found.formula
    ('50.0', '100 x 2 answered within 14 days / 4 questions')
    """
    rows = Rows(surveys=surveys, customers=customers)
    rows.require("surveys", "sent_at")
    end = data_end(rows, "surveys", ("sent_at", "answered_at"), data_until)
    wait = f"sent_at + INTERVAL {int(wait_days)} DAY"
    judged = f"""
        SELECT *, customer_id AS id,
            CASE WHEN sent_at IS NULL THEN 'no date of sending'
                 WHEN answered_at < sent_at THEN 'answered before it was sent'
                 WHEN {wait} > TIMESTAMP '{end + timedelta(1)}'
                 THEN 'younger than {int(wait_days)} days' END AS excluded_because,
            score IS NOT NULL AND (answered_at IS NULL OR answered_at <= {wait}) AS is_numerator
        FROM (SELECT * FROM surveys WHERE {_of_kind(kind)} AND {period.holds("sent_at")}
            UNION ALL SELECT * FROM surveys WHERE {_of_kind(kind)} AND sent_at IS NULL
                AND (answered_at IS NULL OR {period.holds("answered_at")}))"""

    def make(tally: Tally) -> Metric:
        return share(
            "answer_rate",
            variant,
            tally,
            of=(f"answered within {wait_days} days", "questions"),
            period=period,
            timezone=timezone,
            level=level,
            parameters={"kind": kind, "wait_days": wait_days, "data_until": str(end)},
        )

    return rows.measure(make, judged, by, above=counted("is_numerator"))


@metric(
    label="Answers with a comment",
    unit="percent",
    direction="neither",
    needs=("surveys",),
    variants=("of_answers",),
    theme="opinions",
)
def comment_rate(
    surveys: Source,
    period: Period,
    *,
    by: By = None,
    customers: Source | None = None,
    variant: Literal["of_answers"] = "of_answers",
    kind: str | None = None,
    level: float = 0.95,
    timezone: str = "UTC",
) -> Metric:
    """Share of the answers that carry a comment, 0 to 100 percent.

    Parameters
    ----------
    surveys
        Answers, with their `comment`.
    period
        Answers given in it count.
    by, customers
        Columns to cut by, of surveys or of customers.
    variant
        ``"of_answers"``: whoever did not answer is left out and counted.
    kind
        Only answers of this kind; default: of every kind.
    level
        Of the interval, in (0, 1).
    timezone
        Of the instants, for the record.

    Returns
    -------
    Metric
        In percent. A comment of blanks is none; a comment without a score is an answer.

    Raises
    ------
    TableError
        When there is no column `comment`.
    """
    rows = Rows(surveys=surveys, customers=customers)
    rows.require("surveys", "comment")
    keep_given(rows, period, by)
    when = "coalesce(answered_at, sent_at)"
    judged = f"""
        SELECT *, customer_id AS id, trim(coalesce(comment, '')) <> '' AS is_numerator,
            CASE WHEN {when} IS NULL THEN 'no date'
                 WHEN score IS NULL AND NOT is_numerator THEN 'no answer' END AS excluded_because
        FROM given WHERE {_of_kind(kind)}"""

    def make(tally: Tally) -> Metric:
        return share(
            "comment_rate",
            variant,
            tally,
            of=("with a comment", "answers"),
            period=period,
            timezone=timezone,
            level=level,
            direction="neither",
            parameters={"kind": kind},
        )

    return rows.measure(make, judged, by, above=counted("is_numerator"))


def data_end(rows: Rows, table: str, columns: tuple[str, ...], said: date | None) -> date:
    """Find the last day that the data describe: as said, else the newest day in the table.

    Parameters
    ----------
    rows
        With the table among them.
    table, columns
        Where to look; columns that are not there are nulls.
    said
        What the caller knows; it wins.

    Returns
    -------
    date
        1970-01-01 of an empty table.
    """
    if said is not None:
        return said
    newest = ", ".join(f"max({column})" for column in columns)
    ((found,),) = rows.fetch(f"SELECT CAST(greatest({newest}) AS DATE) FROM {table}")
    return found or date(1970, 1, 1)


def _of_kind(kind: str | None) -> str:
    return "true" if kind is None else f"kind = {word(kind)}"


FEEDBACK = (answer_rate, comment_rate)
