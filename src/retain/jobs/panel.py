"""The matrix that training and scoring share: fixed lists, comment themes, own features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from retain.features import FEATURES, Feature, FeatureMatrix, build_features
from retain.model.themes import assign_themes
from retain.weeks import FoldedWeeks

__all__ = ["matrix", "with_lists"]


def with_lists(folded: FoldedWeeks, lists: dict[str, Any]) -> FoldedWeeks:
    """Give the folded weeks the lists that were fixed at training, and comments their themes."""
    named = {name: tuple(value) for name, value in lists.items() if name != "comment_themes"}
    themes = lists.get("comment_themes")
    if themes is None or "comments" not in folded.panels or folded.texts is None:
        named["comment_themes"] = tuple(themes["names"]) if themes else ()
        return replace(folded, lists=named)
    rows = folded.panels["comments"]
    at = assign_themes(themes, folded.texts)
    measures = {f"theme_{no}": (at == no).astype(float) for no in range(len(themes["names"]))}
    rows = replace(
        rows,
        measures={**rows.measures, **measures},
        ops={**rows.ops, **dict.fromkeys(measures, "sum")},
    )
    named["comment_themes"] = tuple(themes["names"])
    return replace(folded.with_panel("comments", rows), lists=named)


def matrix(
    folded: FoldedWeeks,
    as_ofs: Any,
    rows: Any,
    own: tuple[Feature, ...],
    *,
    known_by: Any = None,
    only: tuple[str, ...] | None = None,
    progress: Any = lambda done, of: None,
) -> FeatureMatrix:
    """Build the features of snapshots, ours and the company's own: the one path."""
    return build_features(
        folded,
        np.asarray(as_ofs),
        rows,
        features=(*FEATURES, *own),
        known_by=known_by,
        only=only,
        progress=progress,
    )
