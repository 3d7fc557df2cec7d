"""Themes of comments, learnt from the comments themselves: any language, no word list.

A comment is a bag of character trigrams inside words, weighted by how rare they are; comments that
share many rare trigrams form a theme, named after its most typical comment.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["assign_themes", "learn_themes"]

THEMES = 6
LEAST_COMMENTS = 200
VOCABULARY = 1500
LEARNT_FROM = 5_000
NAME_CHARACTERS = 48


def learn_themes(texts: Any, themes: int = THEMES, seed: int = 0) -> dict[str, Any] | None:
    """Find themes in comments.

    Parameters
    ----------
    texts
        Comments, shape (comments,).
    themes
        How many themes to tell apart.
    seed
        Same seed and comments, same themes.

    Returns
    -------
    dict or None
        Plain JSON for `assign_themes`; None with fewer than `LEAST_COMMENTS` comments.
    """
    texts = np.asarray(texts, dtype=object)
    if len(texts) < LEAST_COMMENTS:
        return None
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) > LEARNT_FROM:
        texts = texts[np.random.default_rng(seed).permutation(len(texts))[:LEARNT_FROM]]
    words = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 3), max_features=VOCABULARY, min_df=3, sublinear_tf=True
    )
    try:
        bags = words.fit_transform(texts)
    except ValueError:  # comments without any repeated trigram: nothing to tell apart
        return None
    distinct = len({str(text) for text in texts})
    found = KMeans(min(themes, distinct), n_init=3, random_state=seed).fit(bags)
    centres = found.cluster_centers_ / np.maximum(
        np.linalg.norm(found.cluster_centers_, axis=1, keepdims=True), 1e-12
    )
    near = bags @ centres.T
    names: list[str] = []
    for at in range(len(centres)):
        for best in np.argsort(-near[:, at], kind="stable"):
            name = _shortened(str(texts[best]))
            if name not in names:
                names.append(name)
                break
        else:
            names.append(f"theme {at + 1}")
    return {
        "names": names,
        "grams": [str(gram) for gram in words.get_feature_names_out()],
        "weights": [round(float(w), 8) for w in words.idf_],
        "centres": [[round(float(v), 8) for v in centre] for centre in centres],
    }


def assign_themes(learnt: dict[str, Any], texts: Any) -> Any:
    """Return the nearest theme of each comment, shape (comments,); -1 where nothing matches."""
    from sklearn.feature_extraction.text import CountVectorizer

    texts = np.asarray(texts, dtype=object)
    if len(texts) == 0:
        return np.zeros(0, dtype=np.int64)
    counter = CountVectorizer(
        analyzer="char_wb",
        ngram_range=(3, 3),
        vocabulary={gram: at for at, gram in enumerate(learnt["grams"])},
    )
    bags = counter.transform(texts).astype(np.float64)
    bags.data = 1.0 + np.log(bags.data)
    near = (bags.multiply(np.array(learnt["weights"])[None, :]).tocsr()) @ np.array(
        learnt["centres"]
    ).T
    return np.where(near.max(axis=1) > 0, near.argmax(axis=1), -1)


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= NAME_CHARACTERS else flat[: NAME_CHARACTERS - 1].rstrip() + "…"
