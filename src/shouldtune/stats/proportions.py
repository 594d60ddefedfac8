"""Intervals for the share of successes among n independent examples."""

from __future__ import annotations

import math
from functools import lru_cache

from shouldtune.judgement import Interval
from shouldtune.stats.distributions import binomial_tail, crossing, normal_quantile


def wilson(successes: float, n: int, alpha: float) -> Interval:
    """Wilson's score interval for a proportion (Wilson, JASA 1927): for showing, not for deciding.

    `successes` may be fractional, the sum of graded scores: the interval is then wider than need be, because a
    score in [0, 1] with mean m has a variance of at most m(1 - m). Both ends together err about `alpha` of the time;
    one end alone errs up to nine times `alpha / 2` where the mean is near 0 or 1, so decisions use `clopper_pearson`.
    """
    check_count(successes, n, alpha)
    if n == 0:
        return Interval(None, 0.0, 1.0, 0)
    z, p = normal_quantile(alpha / 2), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    arm = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(p, 0.0 if p == 0 else centre - arm, 1.0 if p == 1 else centre + arm, n)


def clopper_pearson(successes: float, n: int, alpha: float) -> Interval:
    """The exact interval for a proportion (Clopper & Pearson, Biometrika 1934): each end errs at most alpha / 2.

    A fractional count (the sum of graded scores) is rounded outwards: down for the lower end, up for the upper.
    """
    check_count(successes, n, alpha)
    low, high = exact_low(successes, n, alpha / 2), 1.0 - exact_low(n - successes, n, alpha / 2)
    return Interval(successes / n if n else None, low, high, n)


@lru_cache(maxsize=8192)
def exact_low(successes: float, n: int, level: float) -> float:
    """The p at which this many successes or more are seen with probability `level`; a fraction is rounded down."""
    count = math.floor(successes + 1e-9)
    if count in (0, n):
        return float(level ** (1 / n)) if count else 0.0
    return crossing(0.0, count / n, lambda p: binomial_tail(count, n, p) < level)[0]


def check_count(successes: float, n: float, alpha: float) -> None:
    """ValueError unless there are 0 to n successes and `alpha` lies between 0 and 1."""
    if not (0 < alpha < 1 and -1e-9 <= successes <= n + 1e-9):
        raise ValueError(f"{successes} successes among {n} at alpha {alpha}")
