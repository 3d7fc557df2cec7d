"""How a job says where it stands, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["Listener", "Steps", "silent"]

Listener = Callable[[str, float], None]  # what is being done, share of the whole in [0, 1]


def silent(text: str, share: float) -> None:
    """Listen to nothing."""


class Steps:
    """A job's steps with their usual share of its time.

    Parameters
    ----------
    listener
        Told at every step.
    shares
        Step to its share of the time; need not add up to one.
    first, last
        Part of the listener's whole that this job fills.

    Examples
    --------
    >>> heard = []
    >>> steps = Steps(lambda text, share: heard.append((text, round(share, 2))), {"a": 1, "b": 3})
    >>> steps("a"); steps("b"); steps.done()
    >>> heard
    [('a', 0.0), ('b', 0.25), ('done', 1.0)]
    """

    def __init__(
        self, listener: Listener, shares: Mapping[str, float], first: float = 0.0, last: float = 1.0
    ) -> None:
        self._listener, self._shares = listener, shares
        self._first, self._span = first, last - first
        self._total = sum(shares.values())
        self._now, self._at = "", 0.0

    def __call__(self, step: str) -> None:
        """Begin a step."""
        names = list(self._shares)
        before = names[: names.index(step)]
        self._now = step
        self._at = sum(self._shares[name] for name in before) / self._total
        self._listener(step, self._first + self._span * self._at)

    def detail(self, text: str, within: float = 0.0) -> None:
        """Say more about the step that runs; `within` is how much of it is done."""
        at = self._at + within * self._shares[self._now] / self._total
        self._listener(f"{self._now}: {text}", self._first + self._span * at)

    def part(self, done: int, of: int) -> None:
        """Say how much of the step that runs is done."""
        self.detail(f"{done:,} of {of:,}", done / max(of, 1))

    def done(self) -> None:
        """Say that everything is done."""
        self._listener("done", self._first + self._span)
