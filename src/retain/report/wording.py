"""How numbers become words on every page: percent, points, money, dates, odds, steadiness.

Probabilities travel as whole tenths of a percent ("per mille"), so that the printed figures add up.
"""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Sequence

__all__ = [
    "FIGURE_NAMES",
    "NOTHING",
    "ODDS",
    "STEADY",
    "chance",
    "clean",
    "day",
    "figure_name",
    "long_day",
    "money",
    "money_short",
    "number",
    "odds",
    "parts_that_add_up",
    "percent",
    "points",
    "steadiness",
    "tenths",
]

NOTHING = "–"
"""What is printed where nothing is known."""

_SAID = (
    *((1, n) for n in (100, 90, 80, 70, 60, 50, 45, 40, 35, 30, 25, *range(20, 3, -1))),
    *((3, 10), (1, 3), (2, 5), (9, 20), (1, 2), (11, 20), (3, 5), (2, 3), (7, 10), (3, 4)),
    *((4, 5), (17, 20), (9, 10), (19, 20), (49, 50), (99, 100)),
)
"""The shares that people say, smallest first: neighbours are never further apart than a quarter."""


def _nearest_said() -> tuple[tuple[int, str], ...]:
    """Give, for each share that is said, where (per mille, exclusive) the next one is nearer."""
    exact = [1000 * some / of for some, of in _SAID]
    ends = [math.ceil((low + high) / 2) for low, high in itertools.pairwise(exact)]
    words = [f"about {some} in {of}" for some, of in _SAID]
    said = list(zip([*ends, round(exact[-1]) + 1], words, strict=True))
    return (round(exact[0]), "less than 1 in 100"), *said, (1001, "more than 99 in 100")


ODDS = _nearest_said()
"""Upper ends (exclusive, per mille) and the words for a probability below them."""

STEADY: tuple[tuple[int, str], ...] = ((50, "less sure"), (75, "fairly steady"), (101, "steady"))
"""Upper ends (exclusive, percent of re-draws that agree) and the words for a driver's stability."""

FIGURE_NAMES = {
    "auc": "AUC",
    "average_precision": "PR-AUC",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "calibration_error": "Calibration error",
    "lift_top_tenth": "Lift, riskiest tenth",
    "mean_predicted": "Predicted",
    "observed": "Left",
    "capture_at_capacity": "Leavers caught, riskiest first",
    "capture_by_value": "Leavers caught, most value at risk first",
    "value_captured": "Value caught, most value at risk first",
    "profit_per_week": "Profit of one week's list",
}
"""What figures are called wherever they are shown; those of lists name the order of the list."""

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: object) -> str:
    r"""Replace characters that no page can show (controls, lone surrogates) by the mark for it.

    Examples
    --------
    >>> clean("a\x00b")
    'a�b'
    """
    return _UNPRINTABLE.sub("\ufffd", str(text))


def figure_name(key: str) -> str:
    """Give what a figure is called wherever it is shown.

    Examples
    --------
    >>> figure_name("average_precision"), figure_name("normalised_gini")
    ('PR-AUC', 'Normalised gini')
    """
    return FIGURE_NAMES.get(key, key.replace("_", " ").capitalize())


def tenths(share: float) -> int:
    """Round a share to whole tenths of a percent, halves upwards.

    Examples
    --------
    >>> tenths(0.3425), tenths(-0.0004)
    (343, 0)
    """
    return math.floor(share * 1000 + 0.5)


def percent(per_mille: int | None) -> str:
    """Print tenths of a percent with one decimal.

    Examples
    --------
    >>> percent(342), percent(None)
    ('34.2%', '–')
    """
    return NOTHING if per_mille is None else f"{per_mille / 10:.1f}%".replace("-", "−")


def chance(per_mille: int | None) -> str:
    """Print a probability; never "0.0%" or "100.0%", which would claim certainty.

    Examples
    --------
    >>> chance(342), chance(0), chance(1000)
    ('34.2%', '<0.1%', '>99.9%')
    """
    if per_mille is None:
        return NOTHING
    if per_mille <= 0:
        return "<0.1%"
    return ">99.9%" if per_mille >= 1000 else percent(per_mille)


def points(per_mille: int | None) -> str:
    """Print a difference of probabilities in percentage points, always signed.

    Examples
    --------
    >>> points(42), points(-3), points(0)
    ('+4.2 pts', '−0.3 pts', '0.0 pts')
    """
    if per_mille is None:
        return NOTHING
    sign = "+" if per_mille > 0 else "−" if per_mille < 0 else ""
    return f"{sign}{abs(per_mille) / 10:.1f} pts"


def number(value: float | None) -> str:
    """Print a number with thousands separators; two decimals only for small fractions.

    Examples
    --------
    >>> number(41234.4), number(9.5), number(-1200), number(None)
    ('41,234', '9.50', '−1,200', '–')
    """
    if value is None:
        return NOTHING
    whole = abs(value) >= 100 or float(value).is_integer()
    return (f"{value:,.0f}" if whole else f"{value:,.2f}").replace("-", "−")


def money(value: float | None, currency: str = "", signed: bool = False) -> str:
    r"""Print an amount with its currency code in front.

    Examples
    --------
    >>> money(41234.0, "EUR"), money(1200, "EUR", signed=True), money(-80, "EUR")
    ('EUR\xa041,234', '+EUR\xa01,200', '−EUR\xa080')
    """
    if value is None:
        return NOTHING
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return (
        f"{sign}{currency}\xa0{number(abs(value))}" if currency else f"{sign}{number(abs(value))}"
    )


def money_short(value: float | None, currency: str = "") -> str:
    r"""Print an amount for a headline: three figures at most.

    Examples
    --------
    >>> money_short(41234, "EUR"), money_short(1_234_000, "EUR"), money_short(812, "EUR")
    ('EUR\xa041k', 'EUR\xa01.2M', 'EUR\xa0812')
    """
    if value is None:
        return NOTHING
    size = abs(value)
    for least, unit in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if size >= least * 0.9995:
            scaled = size / least
            text = f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:,.0f}{unit}"
            text = text.replace(f".0{unit}", unit)
            break
    else:
        text = f"{size:,.0f}"
    sign = "−" if value < 0 else ""
    return f"{sign}{currency}\xa0{text}" if currency else f"{sign}{text}"


def day(date: datetime.date | None) -> str:
    """Print a date the same way in every locale.

    Examples
    --------
    >>> day(datetime.date(2026, 11, 15))
    '15 Nov 2026'
    """
    return NOTHING if date is None else f"{date.day} {_MONTHS[date.month - 1][:3]} {date.year}"


def long_day(date: datetime.date) -> str:
    """Print a date with its weekday.

    Examples
    --------
    >>> long_day(datetime.date(2026, 11, 15))
    'Sunday 15 November 2026'
    """
    return f"{_DAYS[date.weekday()]} {date.day} {_MONTHS[date.month - 1]} {date.year}"


def _word(value: int, table: Sequence[tuple[int, str]]) -> str:
    return next((word for end, word in table if value < end), table[-1][1])


def odds(per_mille: int) -> str:
    """Say a probability as people say it.

    Examples
    --------
    >>> odds(342), odds(74), odds(3)
    ('about 1 in 3', 'about 1 in 14', 'less than 1 in 100')
    """
    return _word(per_mille, ODDS)


def steadiness(stability_pct: int | None) -> str:
    """Say how often a driver stays among the first when the model is drawn again.

    Examples
    --------
    >>> steadiness(92), steadiness(49), steadiness(None)
    ('steady', 'less sure', '')
    """
    return "" if stability_pct is None else _word(stability_pct, STEADY)


def parts_that_add_up(parts: Sequence[float], total: int) -> list[int]:
    """Round shares to tenths of a point so that the printed parts sum to the printed total.

    Parameters
    ----------
    parts
        Shares of probability; their sum is the total up to rounding.
    total
        The printed total, in tenths of a point.

    Returns
    -------
    list of int
        One per part, in tenths of a point; the part nearest to it takes the difference.

    Examples
    --------
    >>> parts_that_add_up([0.0314, 0.0094, 0.0014], 42)
    [31, 10, 1]
    """
    exact = [part * 1000 for part in parts]
    rounded = [math.floor(value + 0.5) for value in exact]
    missing = total - sum(rounded)
    if not parts or not missing:
        return rounded
    step = 1 if missing > 0 else -1
    order = sorted(range(len(parts)), key=lambda i: (step * (rounded[i] - exact[i]), i))
    for turn in range(abs(missing)):
        rounded[order[turn % len(order)]] += step
    return rounded
