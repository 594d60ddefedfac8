"""Tails and quantiles of the normal, Student's, the binomial and the beta distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from shouldtune.stats.values import Array

NORMAL = NormalDist()


def normal_quantile(level: float) -> float:
    """What a standard normal exceeds with the chance `level`."""
    return -NORMAL.inv_cdf(level)


@lru_cache(maxsize=4096)
def student_quantile(level: float, freedom: float) -> float:
    """What Student's t with `freedom` degrees, whole or not, exceeds with the chance `level`, at most one half.

    More degrees than 100,000 count as that many: it is then within a few 1e-5 of the normal's.
    """
    freedom = min(freedom, 100_000.0)

    def likelier(angle: float) -> bool:  # t as an angle, so that every t up to infinity lies within a bracket
        return beta_below(math.cos(angle) ** 2, freedom / 2, 0.5) / 2 > level

    return math.sqrt(freedom) * math.tan(crossing(0.0, math.pi / 2, likelier)[0])


def binomial_tail(successes: int, n: int, p: float) -> float:
    """P(X >= successes) of a binomial."""
    k = np.arange(successes, n + 1)
    logs = _log_factorials(n)
    choose = logs[n] - logs[k] - logs[n - k]
    return float(np.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p)).sum())


def beta_below(x: float, a: float, b: float) -> float:
    """P(X <= x) of a beta distribution, the regularised incomplete beta function; `a` and `b` above 0.

    By the continued fraction 8.17.22 of the Digital Library of Mathematical Functions, from the side on which it
    converges within about sqrt(max(a, b)) terms, and from its last term to its first.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_below(1.0 - x, b, a)
    value = 1.0
    for m in range(20 + math.ceil(math.sqrt(max(a, b))), -1, -1):
        value = 1.0 - (a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)) / value
        if m:
            value = 1.0 + m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)) / value
    logarithm = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(logarithm) / (a * value)


def crossing(low: float, high: float, below: Callable[[float], bool]) -> tuple[float, float]:
    """Bisect to where `below`, true on the left, turns false: the ends of a very short interval around it."""
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low, high


@lru_cache(maxsize=64)
def _log_factorials(n: int) -> Array:
    logs: Array = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return logs
