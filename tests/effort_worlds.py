"""Simulated customers whose effort, confounders and true effect of effort are all known.

Nothing is linear but the effect itself: usage, price and tenure drive effort and outcomes through
bends, steps and products. Two lasting traits of each customer, one behind effort and one behind
outcomes, tie a customer's quarters together without confounding anything. The effect is drawn at
random; in every fourth world there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIGNALS = ("usage", "price", "tenure", "opinion", "earlier contacts", "industry")
CUSTOMERS, QUARTERS = 1000, 3


@dataclass(frozen=True)
class World:
    """Rows are customer-quarters."""

    X: np.ndarray
    signals: tuple[str, ...]
    who: np.ndarray
    high: np.ndarray  # met high effort: 0 or 1
    points: np.ndarray  # points of effort
    left: np.ndarray  # 0 or 1, afterwards
    margin: np.ndarray  # money, afterwards
    unseen: np.ndarray  # the trait that no table shows
    effect_on_leaving: float  # probability, per high effort
    effect_on_margin: float  # money, per point


def make_world(seed: int, hidden: float = 0.0, customers: int = CUSTOMERS) -> World:
    """Draw one world; `hidden` is how strongly an unseen trait drives effort and outcomes."""
    fate = np.random.default_rng([seed, 18])
    none = seed % 4 == 0
    on_leaving = 0.0 if none else float(fate.uniform(-0.05, 0.15))
    on_margin = 0.0 if none else float(fate.uniform(-40.0, 15.0))
    rng = np.random.default_rng([seed, 17])
    n = customers * QUARTERS
    who = np.repeat(np.arange(customers), QUARTERS)
    lasting = rng.normal(size=(customers, len(SIGNALS)))[who]
    X = 0.8 * lasting + 0.6 * rng.normal(size=(n, len(SIGNALS)))
    usage, price, tenure, opinion, contacts, _ = X.T
    unseen = rng.normal(size=n)
    drive = (
        1.1 * np.sin(1.5 * usage)
        + 0.8 * (price > 0.3)
        + 0.6 * usage * (tenure < 0)
        + 0.5 * np.abs(contacts)
        - 0.8
    )
    habit = rng.normal(size=customers)[who]
    points = rng.poisson(np.exp(np.clip(0.5 * drive + 0.6 * habit + hidden * unseen, -3, 2)))
    odds = 1.2 * drive + 1.2 * habit + 1.5 * hidden * unseen
    high = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(float)
    trait = rng.normal(size=customers)[who]
    risk = 0.22 + 0.09 * np.tanh(drive) + 0.04 * np.sin(2 * opinion) + 0.06 * np.tanh(trait)
    risk = risk + hidden * 0.1 * np.tanh(unseen) + on_leaving * high
    margin = (
        400
        + 60 * np.tanh(opinion)
        - 70 * drive
        + 40 * price * (tenure > 0)
        + 90 * trait
        - hidden * 80 * unseen
        + on_margin * points
        + rng.normal(0, 60, n)
    )
    left = (rng.random(n) < np.clip(risk, 0, 1)).astype(float)
    return World(
        X, SIGNALS, who, high, points.astype(float), left, margin, unseen, on_leaving, on_margin
    )
