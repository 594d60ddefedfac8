"""The bias-corrected and accelerated bootstrap of a mean (Efron, JASA 1987): as published, and mended for deciding."""

from __future__ import annotations

import math

import numpy as np

from shouldtune.judgement import Interval
from shouldtune.stats.distributions import NORMAL, student_quantile
from shouldtune.stats.values import Array, Scores, check_level, checked

MOST_RESAMPLES = 20_000
FEWEST_APART = 10
"""The bootstrap needs this many values apart from the commonest one; with fewer it has hardly seen the tail."""


def bca_interval(values: Scores, alpha: float, seed: int, *, least: float = 0.0, resamples: int = 10_000) -> Interval:
    """The interval for the mean of `values`, from `least` to 1, as Efron has it: for showing, not for deciding.

    For scores near 0.95 with 2% zeros an end errs up to 17 times its level at n = 40; decisions use `mean_limits`.
    Where all values are equal, one value or none at all, nothing can be resampled and the limits are the whole range.
    """
    check_level(alpha)
    x = checked(values, least)
    estimate = float(x.mean()) if x.size else None
    if x.size < 2 or bool(np.all(x == x[0])):
        return Interval(estimate, least, 1.0, x.size)
    means = _resampled_means(x, resamples, np.random.default_rng(seed))
    low, mirrored = _corrected_end(x, means, alpha / 2), _corrected_end(-x, -means, alpha / 2)
    return Interval(estimate, least if low is None else low, 1.0 if mirrored is None else -mirrored, x.size)


def bca_low(values: Array, worst: float, level: float, seed: int) -> float | None:
    """The lower end of the bootstrap of a mean, mended so that one may decide by it; None where unsafe.

    Two repairs make it honest at small n and level: `worst`, the least possible value, is added to the n values,
    so that a disaster too rare to have been seen stays possible; and the tail is widened from the normal's to
    Student's (Hesterberg, The American Statistician 2015). Unsafe means: fewer than FEWEST_APART values apart from
    the commonest one, or a level at which MOST_RESAMPLES draws leave fewer than 20 beyond it.
    """
    if values.size < 2 or apart(values) < FEWEST_APART:
        return None
    x = np.append(values, worst)
    tail = NORMAL.cdf(-math.sqrt(x.size / (x.size - 1)) * student_quantile(level, x.size - 1))
    resamples = max(2_000, math.ceil(20 / tail))
    if resamples > MOST_RESAMPLES:
        return None
    low = _corrected_end(x, _resampled_means(x, resamples, np.random.default_rng(seed)), tail)
    return None if low is None else min(low, float(x.mean()))


def apart(values: Array) -> int:
    """How many values differ from the commonest one."""
    return values.size - int(np.unique(values, return_counts=True)[1].max()) if values.size else 0


def _corrected_end(x: Array, means: Array, tail: float) -> float | None:
    """The quantile of the resampled means that is the lower end; None where the acceleration leaves none."""
    mean, resamples = float(x.mean()), means.size
    below = (np.count_nonzero(means < mean) + np.count_nonzero(means == mean) / 2) / resamples
    bias = NORMAL.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    acceleration = float(((x - mean) ** 3).sum() / (6 * ((x - mean) ** 2).sum() ** 1.5))
    z = bias + NORMAL.inv_cdf(tail)
    rank = NORMAL.cdf(bias + z / (1 - acceleration * z))
    return float(np.quantile(means, rank)) if acceleration * z < 1 else None


def _resampled_means(x: Array, resamples: int, rng: np.random.Generator) -> Array:
    rows = max(1, 1_000_000 // x.size)  # a few megabytes at a time
    counts = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([x[rng.integers(0, x.size, (count, x.size))].mean(axis=1) for count in counts])
