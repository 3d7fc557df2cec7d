"""What customers write about: themes found in the comments themselves, in any language.

A comment is a bag of short runs of letters; comments that share many rare runs form a theme. No
word list, no model of a language: so the same matter in two languages is two themes.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pandas as pd

from retain.metrics.intervals import share_interval
from retain.metrics.period import Period
from retain.metrics.rows import Rows, Source, word

__all__ = ["CommentTheme", "CommentThemes", "comment_themes"]

LEAST_COMMENTS = 30  # distinct ones; with fewer, read them
LEARNT_FROM = 3_000  # distinct ones
MOST_READ = 20_000  # distinct ones
SCALES: Mapping[str, tuple[float, float]] = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
NAME_CHARACTERS = 60


@dataclass(frozen=True)
class CommentTheme:
    """One theme of the comments of a period.

    Parameters
    ----------
    name
        Its most typical comment, shortened.
    words
        Words that are commoner here than elsewhere, the most telling first.
    n, share, low, high
        Comments in it; their share of all comments read, in percent, with its interval.
    mean_scores
        Kind of survey to the mean score beside these comments, exact; each kind on its own scale.
    previous_n, previous_share
        The same in the period before; share None when that had no comments.
    change
        Share minus previous share, in points; None when there is none.
    ids
        Reads the customers who wrote them when called, in ascending order.
    """

    name: str
    words: tuple[str, ...]
    n: int
    share: Fraction
    low: float
    high: float
    mean_scores: Mapping[str, Fraction]
    previous_n: int
    previous_share: Fraction | None
    change: Fraction | None
    ids: Callable[[], tuple[str, ...]] = field(repr=False, compare=False)


@dataclass(frozen=True)
class CommentThemes:
    """The themes of a period, the largest first.

    Parameters
    ----------
    themes
        Of comments that belong to one.
    comments, previous_comments
        Comments read, in this period and the one before.
    without_theme
        Comments of this period that share nothing with others.
    undefined_because
        Why there are no themes.
    notes
        What a reader should know.
    """

    themes: tuple[CommentTheme, ...]
    comments: int
    previous_comments: int
    without_theme: int = 0
    undefined_because: str | None = None
    notes: tuple[str, ...] = ()


def comment_themes(
    surveys: Source,
    period: Period,
    *,
    kind: str | None = None,
    themes: int = 6,
    scales: Mapping[str, tuple[float, float]] = SCALES,
    level: float = 0.95,
) -> CommentThemes:
    """Find what comments are about: themes, their share, mean score and change.

    Parameters
    ----------
    surveys
        Answers with their comments.
    period
        Of answering; the period before it gives the change.
    kind
        Only comments of this kind of survey; default: of every kind.
    themes
        How many to tell apart, at least 2; fewer when there are few comments.
    scales
        Kind to lowest and highest score; other scores do not enter a mean.
    level
        Of the intervals of shares, in (0, 1).

    Returns
    -------
    CommentThemes
        The same for the same comments, whatever the order of rows: no clock, no random start.

    Raises
    ------
    TableError
        When there is no column `comment`.

    Notes
    -----
    Non-negative factors of character 3- to 5-grams weighted by rarity, from up to 3,000 distinct
    comments of both periods; each comment belongs to the factor that it is nearest to. Beyond
    20,000 distinct comments, those with the smallest hash are read, and the notes say so.
    """
    rows = Rows(surveys=surveys)
    rows.require("surveys", "comment")
    before = period.previous()
    when = "coalesce(answered_at, sent_at)"
    written = f"""
        SELECT customer_id, kind, score, {period.holds(when)} AS is_now,
            regexp_replace(trim(comment), '\\s+', ' ', 'g') AS said, lower(said) AS text
        FROM surveys
        WHERE trim(coalesce(comment, '')) <> '' AND {_of_kind(kind)}
            AND ({period.holds(when)} OR {before.holds(when)})"""
    lines = rows.fetch(
        f"SELECT text, min(said) FROM ({written}) GROUP BY text "
        f"ORDER BY md5(text) LIMIT {MOST_READ + 1}"
    )
    notes = (f"only {MOST_READ:,} distinct comments were read",) if len(lines) > MOST_READ else ()
    texts = [text for text, _ in lines[:MOST_READ]]
    found = _learn(texts, themes) if len(texts) >= LEAST_COMMENTS else None
    if found is None:
        ((now, earlier),) = rows.fetch(
            f"SELECT count(CASE WHEN is_now THEN 1 END), count(CASE WHEN NOT is_now THEN 1 END) "
            f"FROM ({written})"
        )
        why = f"fewer than {LEAST_COMMENTS} different comments, or nothing that they share"
        return CommentThemes((), now, earlier, now, why)
    belongs, typical = found
    names = {theme: (_shortened(lines[at][1]), words) for theme, (at, words) in typical.items()}
    assigned = pd.DataFrame({"text": texts, "theme": belongs})
    rows = Rows(surveys=surveys, assigned=assigned)
    joined = f"SELECT * FROM ({written}) JOIN assigned USING (text)"
    valid = " OR ".join(
        f"(kind = {word(one)} AND score BETWEEN {low} AND {high})"
        for one, (low, high) in scales.items()
    )
    lines = rows.fetch(f"""
        SELECT theme, is_now, kind, count(*),
            count(CASE WHEN {valid or "false"} THEN 1 END),
            sum(CASE WHEN {valid or "false"} THEN CAST(score AS DECIMAL(18, 6)) END)
        FROM ({joined}) GROUP BY ALL ORDER BY ALL""")
    counts = {is_now: Counter[int]() for is_now in (True, False)}
    means: dict[int, dict[str, Fraction]] = {}
    for theme, is_now, of_kind, many, scored, total in lines:
        counts[is_now][theme] += many
        if is_now and scored:
            means.setdefault(theme, {})[of_kind] = Fraction(total) / scored
    now, earlier = counts[True].total(), counts[False].total()
    made = []
    for theme, (name, words) in names.items():
        n, previous = counts[True][theme], counts[False][theme]
        interval = share_interval(n, now, level)
        if interval is None or not n + previous:
            continue
        share = Fraction(100 * n, now)
        share_before = Fraction(100 * previous, earlier) if earlier else None
        made.append(
            CommentTheme(
                name,
                words,
                n,
                share,
                100 * interval[0],
                100 * interval[1],
                means.get(theme, {}),
                previous,
                share_before,
                None if share_before is None else share - share_before,
                _reader(rows, joined, theme),
            )
        )
    made.sort(key=lambda one: (-one.n, one.name))
    return CommentThemes(tuple(made), now, earlier, counts[True][-1], notes=notes)


def _reader(rows: Rows, joined: str, theme: int) -> Callable[[], tuple[str, ...]]:
    def read() -> tuple[str, ...]:
        select = f"SELECT DISTINCT customer_id FROM ({joined}) WHERE is_now AND theme = {theme}"
        return tuple(one for (one,) in rows.fetch(f"{select} ORDER BY 1"))

    return read


def _learn(
    texts: Sequence[str], themes: int
) -> tuple[list[int], dict[int, tuple[int, tuple[str, ...]]]] | None:
    """Give each text its theme (-1: none), and each theme its typical text and words."""
    import numpy as np
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer

    bags = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=2, max_features=12_000, sublinear_tf=True
    )
    learnt = sorted(texts[:LEARNT_FROM])
    try:
        counted: Any = bags.fit_transform(learnt)
    except ValueError:  # no run of letters occurs twice
        return None
    many = max(2, min(themes, len(learnt) // 10))
    factors = NMF(many, init="nndsvda", random_state=0, max_iter=400, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is near enough
        factors.fit(counted)
    directions = factors.components_
    length = np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    near = bags.transform(texts) @ (directions / length).T
    belongs = np.where(near.max(axis=1) > 1e-9, near.argmax(axis=1), -1)
    everywhere = Counter(one for text in texts for one in _words(text))
    typical: dict[int, tuple[int, tuple[str, ...]]] = {}
    for theme in range(many):
        inside = np.flatnonzero(belongs == theme).tolist()
        if not inside:
            continue
        best = min(inside, key=lambda at: (-near[at, theme], texts[at]))
        here = Counter(one for at in inside for one in _words(texts[at]))
        lift = {one: count * (count / everywhere[one]) for one, count in here.items() if count >= 2}
        told = sorted(lift, key=lambda one: (-lift[one], one))[:5]
        typical[theme] = (int(best), tuple(told))
    return [int(theme) for theme in belongs], typical


def _words(text: str) -> set[str]:
    return {one for one in re.findall(r"\w+", text) if len(one) > 2}


def _shortened(text: str) -> str:
    if len(text) <= NAME_CHARACTERS:
        return text
    return text[: NAME_CHARACTERS - 1].rstrip() + "…"


def _of_kind(kind: str | None) -> str:
    return "true" if kind is None else f"kind = {word(kind)}"
