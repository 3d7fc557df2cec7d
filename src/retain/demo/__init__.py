"""A simulated company whose truth is known: to show, to test and to judge everything else with."""

from __future__ import annotations

from retain.demo.company import Company, make_company
from retain.demo.truth import Truth

__all__ = ["Company", "Truth", "make_company"]
