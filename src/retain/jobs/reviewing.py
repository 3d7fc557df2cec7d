"""`retain review`: what the review page needs to know of a company, from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retain.config import Config, load_config
from retain.jobs.store import Store

__all__ = ["ReviewPlace", "review_place"]


@dataclass(frozen=True)
class ReviewPlace:
    """Where a company's scored weeks, metrics and action store are.

    Parameters
    ----------
    company, currency, timezone
        As configured.
    scores, metrics
        Folders of scored weeks and of computed periods.
    plays
        Names of the company's plays.
    """

    company: str
    currency: str
    timezone: str
    scores: Path
    metrics: Path
    plays: tuple[str, ...]


def review_place(config: Config | str | Path) -> ReviewPlace:
    """Read from the configuration what the review page needs.

    Parameters
    ----------
    config
        Settings, or the path of their YAML file.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    folder = Store(settings.store).folder
    return ReviewPlace(
        settings.company,
        settings.currency,
        settings.timezone,
        folder / "scores",
        folder / "metrics",
        tuple(dict.fromkeys(one.play for one in settings.review.plays)),
    )
