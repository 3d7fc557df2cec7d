"""Who the simulated customers are: what is fixed about each of them when they join."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

__all__ = [
    "BILLING",
    "FEATURES_USED",
    "INDUSTRIES",
    "LANGUAGES",
    "OWNERS",
    "PLANS",
    "REGIONS",
    "SEGMENTS",
    "Bools",
    "Floats",
    "Ints",
    "People",
    "draw_people",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SEGMENTS = ("smb", "mid", "enterprise")
PLANS = ("starter", "team", "business")
BILLING = {"monthly": 1, "quarterly": 3, "annual": 12}  # name -> months in a term
REGIONS = ("north", "south", "east", "west", "islands")
INDUSTRIES = ("retail", "software", "health", "manufacturing", "education", "logistics")
LANGUAGES = ("en", "it", "de")
OWNERS = ("Ada", "Bruno", "Chiara", "Dieter", "Elif", "Franca", "Goran", "Hanna")
FEATURES_USED = (
    "dashboard",
    "reports",
    "search",
    "export",
    "api",
    "integrations",
    "admin",
    "mobile",
)

SEGMENT_SHARES = (0.60, 0.30, 0.10)
PLAN_SHARES = ((0.65, 0.30, 0.05), (0.20, 0.55, 0.25), (0.05, 0.35, 0.60))  # by segment
BILLING_SHARES = ((0.72, 0.10, 0.18), (0.42, 0.16, 0.42), (0.12, 0.14, 0.74))  # by segment
SEAT_PRICE = (9.0, 15.0, 24.0)  # per month, by plan
SEATS = ((2.1, 0.5), (3.6, 0.5), (5.0, 0.5))  # mean and spread of log seats, by segment
CASE_RATE = (0.035, 0.06, 0.11)  # easy cases a week, by segment


@dataclass(frozen=True)
class People:
    """What is fixed about each customer; every field is an array with one entry per customer."""

    joins: Ints  # week of the first span; weeks before the data begin are negative
    segment: Ints
    plan: Ints  # the first plan; upgrades are in the state
    months: Ints  # months in a term: 1, 3 or 12
    seats: Ints
    region: Ints
    industry: Ints
    language: Ints
    owner: Ints
    trial_weeks: Ints  # 0 = starts as a paying customer
    usage_level: Floats  # log of events on an ordinary day
    case_rate: Floats  # easy cases a week
    frailty: Floats  # part of the hidden term that never changes
    contentment: Floats  # where satisfaction returns to
    card_risk: Floats  # probability that an invoice fails
    acquisition_cost: Floats

    @property
    def first_mrr(self) -> Floats:
        """Recurring revenue of the first paid span, currency per month."""
        return np.round(self.seats * np.asarray(SEAT_PRICE)[self.plan], 2)

    def __len__(self) -> int:
        return len(self.joins)

    def take(self, which: Ints) -> People:
        """Return the same facts for some customers only."""
        return People(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


def draw_people(n: int, first_week: int, last_week: int, rng: np.random.Generator) -> People:
    """Draw `n` candidates who join at any week in [first_week, last_week), evenly spread."""
    segment = rng.choice(3, n, p=SEGMENT_SHARES)
    plan = _by_segment(segment, PLAN_SHARES, rng)
    billing = _by_segment(segment, BILLING_SHARES, rng)
    centre, spread = np.asarray(SEATS)[segment].T
    seats = np.maximum(1, np.exp(rng.normal(centre, spread)).round()).astype(np.int64)
    region = rng.choice(len(REGIONS), n, p=(0.32, 0.22, 0.16, 0.2, 0.1))
    trial_share = np.asarray((0.40, 0.30, 0.12))[segment]
    trial_weeks = np.where(rng.random(n) < trial_share, rng.choice((2, 4), n), 0)
    language = rng.choice(3, n, p=(0.3, 0.5, 0.2))
    return People(
        joins=rng.integers(first_week, last_week, n),
        segment=segment,
        plan=plan,
        months=np.asarray(tuple(BILLING.values()))[billing],
        seats=seats,
        region=region,
        industry=rng.integers(0, len(INDUSTRIES), n),
        language=language,
        owner=rng.integers(0, len(OWNERS), n),
        trial_weeks=trial_weeks,
        usage_level=rng.normal(np.asarray((0.55, 0.9, 1.25))[segment], 0.32),
        case_rate=np.asarray(CASE_RATE)[segment] * rng.gamma(3.0, 1 / 3, n),
        frailty=rng.normal(0.0, 1.0, n),
        contentment=rng.normal(0.0, 1.0, n),
        card_risk=0.03 * rng.gamma(1.5, 1 / 1.5, n),
        acquisition_cost=np.round(
            np.asarray((150.0, 900.0, 6000.0))[segment] * rng.gamma(4.0, 0.25, n), 2
        ),
    )


def _by_segment(
    segment: Ints, shares: tuple[tuple[float, ...], ...], rng: np.random.Generator
) -> Ints:
    """Draw one of three for each customer, with the shares of the customer's segment."""
    edges = np.cumsum(np.asarray(shares), axis=1)[segment]
    return (rng.random(len(segment))[:, None] > edges[:, :2]).sum(axis=1).astype(np.int64)
