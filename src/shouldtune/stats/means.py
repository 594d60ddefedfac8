"""The interval of a mean of scores by which one decides: exact for 0/1 scores, the mended bootstrap for graded ones."""

from __future__ import annotations

import numpy as np

from shouldtune.judgement import Interval
from shouldtune.stats.bootstrap import bca_low
from shouldtune.stats.proportions import exact_low
from shouldtune.stats.values import Array, MaybeScores, ScoreArray, Scores


def mean_interval(scores: Scores, alpha: float) -> Interval:
    """The interval for the mean of `scores`: exact for 0/1 scores, the BCa bootstrap for graded ones.

    Graded scores on which `bca_low` is unsafe fall back on the exact interval of their sum: wide but honest.
    """
    return mean_limits(scores, alpha / 2, alpha / 2)


def mean_limits(scores: MaybeScores, low_level: float, high_level: float) -> Interval:
    """`mean_interval` with a level for each end, a failed call (None) being the worst case: 0 below and 1 above.

    The estimate and `n` are of the answered examples alone.
    """
    known = ScoreArray.of(scores)
    low = _mean_low(known.filled(0.0), low_level)
    high = 1.0 - _mean_low(1.0 - known.filled(1.0), high_level)
    answered = known.answered
    return Interval(float(np.mean(answered)) if answered.size else None, low, high, answered.size)


def _mean_low(x: Array, level: float) -> float:
    low = bca_low(x, 0.0, level) if np.any((x != 0) & (x != 1)) else None
    return exact_low(float(x.sum()), x.size, level) if low is None else low
