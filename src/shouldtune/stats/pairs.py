"""Intervals for the difference of two scores on the same examples."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from shouldtune.judgement import Interval
from shouldtune.stats.bootstrap import bca_low
from shouldtune.stats.distributions import crossing, normal_quantile
from shouldtune.stats.proportions import check_count
from shouldtune.stats.values import Array, MaybeScores, Scores, answered_pairs, differences

FEWEST_PAIRS = 5
"""On fewer, one end of Tango's interval may err several times as often as it should."""


def tango(gains: float, losses: float, n: int, alpha: float) -> Interval:
    """Tango's score interval for the difference of two paired proportions (Tango, Statistics in Medicine 1998).

    `gains` pairs have the first right and the second wrong, `losses` the reverse, out of `n`. Both may be
    fractional, the sums of the positive and of the negative differences: the interval is then wider than need be,
    because a difference d in [-1, 1] has d * d <= |d|, so the variance is at most E|d| - (E d)^2, that of 0/1 pairs.
    One end alone errs up to twice `alpha / 2` where one of the two gains rarely and never loses.
    """
    check_count(min(gains, losses), n, alpha)
    check_count(gains + losses, n, alpha)
    low, high = tango_low(gains, losses, n, alpha / 2), -tango_low(losses, gains, n, alpha / 2)
    return Interval((gains - losses) / n if n else None, low, high, n)


def paired_interval(a: Scores, b: Scores, alpha: float) -> Interval:
    """The interval for the mean of a - b, scores on the same examples in the same order.

    Tango's where every difference is -1, 0 or 1, else the BCa bootstrap; Tango's of the sums where `bca_low` is unsafe.
    With fewer than FEWEST_PAIRS the limits are -1 and 1.
    """
    return paired_limits(a, b, alpha / 2, alpha / 2)


def paired_limits(a: MaybeScores, b: MaybeScores, low_level: float, high_level: float) -> Interval:
    """`paired_interval` with a level for each end; a pair with a failed call is -1 below and +1 above.

    The estimate and `n` are of the pairs that both answered.
    """
    both_a, both_b = answered_pairs(a, b)
    low = _difference_low(differences(a, b, missing=-1.0), low_level)
    high = -_difference_low(-differences(a, b, missing=1.0), high_level)
    return Interval(float((both_a - both_b).mean()) if both_a.size else None, low, high, both_a.size)


@lru_cache(maxsize=8192)
def tango_low(gains: float, losses: float, n: float, level: float) -> float:
    """Where Tango's statistic, which falls as the difference grows, is as large as the level allows."""
    z = normal_quantile(level)
    return crossing(-1.0, (gains - losses) / n if n else -1.0, lambda d: _tango_score(gains, losses, n, d) > z)[0]


def _difference_low(d: Array, level: float) -> float:
    if d.size < FEWEST_PAIRS:
        return -1.0
    low = bca_low(d, -1.0, level) if np.any((d != 0) & (np.abs(d) != 1)) else None
    return tango_low(float(d[d > 0].sum()), float(-d[d < 0].sum()), d.size, level) if low is None else low


def _tango_score(gains: float, losses: float, n: float, difference: float) -> float:
    """The score statistic of a difference, its nuisance (the share of losses) at its most likely value."""
    b = -gains - losses + (2 * n - gains + losses) * difference
    c = -losses * difference * (1 - difference)
    share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n) if n else 0.0
    variance = n * (2 * share + difference * (1 - difference))
    distance = gains - losses - n * difference
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)
