"""What every page of the review works with: the company, its action store, its door, its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from retain.actions import Store
from retain.actions.lists import listed_week
from retain.review.access import Door

__all__ = ["Desk"]


@dataclass(frozen=True)
class Desk:
    """One company's review page.

    Attributes
    ----------
    company, currency, timezone
        As configured.
    store
        The action store.
    door
        Who is let in.
    scores, metrics
        Folders of scored weeks and of computed periods.
    hosts
        Names under which the page is reached.
    is_secure
        Whether browsers reach it by https.
    plays
        Names of the company's plays, for the form that logs an action.
    """

    company: str
    currency: str
    timezone: str
    store: Store
    door: Door
    scores: Path
    metrics: Path
    hosts: frozenset[str] = field(
        default_factory=lambda: frozenset({"127.0.0.1", "localhost", "::1"})
    )
    is_secure: bool = False
    plays: tuple[str, ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        """The zone that times are shown in."""
        return ZoneInfo(self.timezone)

    def week(self) -> dict[str, Any] | None:
        """Return the newest imported week; None when there is none."""
        return listed_week(self.store)

    def folder(self, as_of: str) -> Path:
        """Folder of a scored week."""
        return self.scores / f"as_of={as_of}"
