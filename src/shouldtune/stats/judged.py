"""The mean score that people would give, from many scores of a judge and few of people: prediction-powered inference.

With human scores Y and the judge's F on the labelled rows, and the judge's alone on many unlabelled ones,

    mean = weight * mean of F on the unlabelled + mean of (Y - weight * F) on the labelled rows

is right on average for every weight, however wrong the judge; the weight with the least variance is
cov(Y, F) / ((1 + n / N) * var(F)), with n labelled and N unlabelled rows (PPI++: Angelopoulos, Duchi & Zrnic 2023,
arXiv 2311.01453), here held to 0..1. A useless judge gets a weight near 0 and costs nothing.

Their interval is the estimate +- z * sqrt(weight^2 var(F) / N + var(Y - weight * F) / n). It rests on having seen how
the judge errs: one that is wrong in a twentieth of the rows, always the same way, is seen without fault on 30 rows one
time in five, and then the interval is narrow and wrong. So each of the two parts gets the interval by which everything
else is decided (means.py for the judge's mean, pairs.py for human against judge on the same rows), and their arms are
put together as sqrt(a^2 + b^2), each side by itself (Zou & Donner, Statistics in Medicine 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shouldtune.judgement import Interval
from shouldtune.stats.means import mean_limits
from shouldtune.stats.pairs import FEWEST_PAIRS, paired_limits
from shouldtune.stats.values import Array, Scores, check_level, checked


@dataclass(frozen=True)
class Judged:
    """The mean human score on all rows, and how much the judge had to do with it."""

    mean: Interval
    """`n` is the number of labelled rows."""
    weight: float
    """How far the judge was trusted, 0 to 1; at 0 only the human labels count."""
    error: float | None
    """The standard error by which PPI++ makes its interval; None with fewer than two labels."""


def judged_mean(human: Scores, judge: Scores, unlabelled: Scores, alpha: float) -> Judged:
    """The mean human score: `human` and `judge` on the labelled rows, in one order, the judge's on the `unlabelled`.

    The unlabelled rows must be other rows of the same kind: draw those to be labelled at random. Without them, with
    fewer than FEWEST_PAIRS labels, or where people or the judge say the same of every labelled row, the weight is 0 and
    the interval that of the human scores alone; without labels nothing corrects the judge: the estimate is None and the
    limits are 0 and 1.
    Raises ValueError for NaN, scores outside 0 to 1, and labels and judgements of different number.
    """
    check_level(alpha)
    y, f, others = checked(human), checked(judge), checked(unlabelled)
    if y.size != f.size:
        raise ValueError(f"{y.size} human scores and {f.size} of the judge on the same rows")
    weight = _weight(y, f, others)
    error = _error(y, f, others, weight) if y.size > 1 else None
    alone = mean_limits(y.tolist(), alpha / 2, alpha / 2)
    if weight == 0:
        return Judged(alone, 0.0, error)
    much = mean_limits(others.tolist(), alpha / 2, alpha / 2)
    left = paired_limits(y.tolist(), (weight * f).tolist(), alpha / 2, alpha / 2)
    of_judge, correction = float(others.mean()), float((y - weight * f).mean())
    mean = weight * of_judge + correction
    low = mean - math.hypot(weight * (of_judge - much.low), correction - left.low)
    high = mean + math.hypot(weight * (much.high - of_judge), left.high - correction)
    mean, low, high = (min(1.0, max(0.0, value)) for value in (mean, low, high))
    return Judged(Interval(mean, low, high, y.size), weight, error)


def _weight(y: Array, f: Array, others: Array) -> float:
    if others.size == 0 or y.size < FEWEST_PAIRS or np.ptp(y) == 0 or np.ptp(f) == 0:
        return 0.0
    spread = float(np.concatenate([f, others]).var(ddof=1))
    together = float(np.cov(y, f)[0, 1])
    return min(1.0, max(0.0, together / ((1 + y.size / others.size) * spread)))


def _error(y: Array, f: Array, others: Array, weight: float) -> float:
    of_judge = weight**2 * float(others.var(ddof=1)) / others.size if others.size > 1 else 0.0
    return math.sqrt(of_judge + float((y - weight * f).var(ddof=1)) / y.size)
