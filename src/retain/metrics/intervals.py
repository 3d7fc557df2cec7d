"""Intervals of quantities that are samples: shares, net shares, means."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt
from statistics import NormalDist

from retain.errors import TableError

__all__ = ["exact_share_interval", "mean_interval", "net_interval", "share_interval", "z_of"]


def z_of(level: float) -> float:
    """Give how many standard errors a two-sided level takes: 1.96 for 0.95.

    Raises
    ------
    TableError
        When the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise TableError(f"level should lie between 0 and 1, for example 0.95; found {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def share_interval(k: float, n: float, level: float = 0.95) -> tuple[float, float] | None:
    """Wilson's interval of a share, in [0, 1]; None without trials.

    Examples
    --------
    >>> low, high = share_interval(80, 100)
    >>> round(low, 4), round(high, 4)
    (0.7112, 0.8666)

    References
    ----------
    Wilson (1927), JASA 22, 209-212.
    """
    z = z_of(level)
    if n == 0:
        return None
    centre = (k + z * z / 2) / (n + z * z)
    half = z * sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def exact_share_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float] | None:
    """Clopper and Pearson's interval of a share, in [0, 1]; None without trials.

    It covers at least at its level whatever the share, and is wider than Wilson's.

    Examples
    --------
    >>> low, high = exact_share_interval(80, 100)
    >>> round(low, 4), round(high, 4)
    (0.7082, 0.8733)

    References
    ----------
    Clopper and Pearson (1934), Biometrika 26, 404-413.
    """
    from scipy.special import betaincinv

    z_of(level)  # refuses a level that is none
    if n == 0:
        return None
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def net_interval(
    plus: Fraction | int, minus: Fraction | int, n: Fraction | int, level: float = 0.95
) -> tuple[float, float, str] | None:
    """Interval of the share of `plus` minus the share of `minus`, in [-1, 1]; None without trials.

    Notes
    -----
    With p and d the two shares, the variance of p - d is (p + d - (p - d)^2) / n. With fewer than
    30 trials, or when one of the two is 0, three trials are added first (3/4 to each side, the
    rest to neither), which keeps the level where the plain formula falls far below it.

    Returns
    -------
    tuple or None
        Low, high, and ``"normal"`` or ``"adjusted"``.

    Examples
    --------
    >>> low, high, how = net_interval(50, 20, 100)
    >>> round(low, 3), round(high, 3), how
    (0.147, 0.453, 'normal')
    >>> net_interval(5, 0, 5)[2]
    'adjusted'

    References
    ----------
    Rocks (2016), Interval estimation for the "Net Promoter Score", The American Statistician 70.
    """
    z = z_of(level)
    if n == 0:
        return None
    is_small = n < 30 or plus == 0 or minus == 0
    total = n + (3 if is_small else 0)
    p, d = (float((count + (Fraction(3, 4) if is_small else 0)) / total) for count in (plus, minus))
    half = z * sqrt((p + d - (p - d) ** 2) / total)
    return max(p - d - half, -1.0), min(p - d + half, 1.0), "adjusted" if is_small else "normal"


def mean_interval(
    mean: float, variance: float | None, n: int, level: float = 0.95
) -> tuple[float, float] | None:
    """Student's interval of a mean from the sample variance; None below two trials.

    Examples
    --------
    >>> low, high = mean_interval(4.0, 1.0, 100)
    >>> round(low, 3), round(high, 3)
    (3.802, 4.198)
    """
    z_of(level)
    if n < 2 or variance is None:
        return None
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + level) / 2)) * sqrt(variance / n)
    return mean - half, mean + half
