"""The bias-corrected and accelerated bootstrap of a mean (Efron, JASA 1987): as published, and mended for deciding.

What is shown is resampled. What decides is the distribution that resampling aims at, by its saddlepoint approximation
(Davison & Hinkley, Biometrika 1988), right to about a hundredth of a tail's chance where thousands of draws are not:
nothing is left to a seed, and it takes a thousandth of the time.
"""

from __future__ import annotations

import math

import numpy as np

from shouldtune.judgement import Interval
from shouldtune.stats.distributions import NORMAL, student_quantile
from shouldtune.stats.values import Array, Scores, check_level, checked

SMALLEST_TAIL = 1e-3
"""Further out the bootstrap's tail says more of the values that were seen than of those that were not."""
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


def bca_low(values: Array, worst: float, level: float) -> float | None:
    """The lower end of the bootstrap of a mean, mended so that one may decide by it; None where unsafe.

    Two repairs make it honest at small n and level: `worst`, the least possible value, is added to the n values,
    so that a disaster too rare to have been seen stays possible; and the tail is widened from the normal's to
    Student's (Hesterberg, The American Statistician 2015). Unsafe means: fewer than FEWEST_APART values apart from
    the commonest one, or a tail beyond SMALLEST_TAIL.
    """
    if values.size < 2 or apart(values) < FEWEST_APART:
        return None
    x = np.append(values, worst)
    tail = NORMAL.cdf(-math.sqrt(x.size / (x.size - 1)) * student_quantile(level, x.size - 1))
    if tail < SMALLEST_TAIL:
        return None
    skew = _acceleration(x)  # also the bias: the normal quantile of how often a resampled mean lies below the mean
    z = skew + NORMAL.inv_cdf(tail)
    low = _resampled_quantile(x, skew + z / (1 - skew * z)) if skew * z < 1 else None
    return None if low is None else min(low, float(x.mean()))


def apart(values: Array) -> int:
    """How many values differ from the commonest one."""
    return values.size - int(np.unique(values, return_counts=True)[1].max()) if values.size else 0


def _corrected_end(x: Array, means: Array, tail: float) -> float | None:
    """The quantile of the resampled means that is the lower end; None where the acceleration leaves none."""
    mean, resamples = float(x.mean()), means.size
    below = (np.count_nonzero(means < mean) + np.count_nonzero(means == mean) / 2) / resamples
    bias = NORMAL.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    acceleration = _acceleration(x)
    z = bias + NORMAL.inv_cdf(tail)
    rank = NORMAL.cdf(bias + z / (1 - acceleration * z))
    return float(np.quantile(means, rank)) if acceleration * z < 1 else None


def _acceleration(x: Array) -> float:
    off = x - x.mean()
    return float((off**3).sum() / (6 * (off**2).sum() ** 1.5))


def _resampled_quantile(x: Array, z: float) -> float | None:
    """The mean of a resample that lies at the normal quantile `z` of all of them; None where it is not found.

    With K the cumulant generating function of one drawn value, the tilt t puts the resampled mean at K'(t), and at
    r + log(v / r) / r in normal quantiles, where r^2 / 2 = n * (t * K'(t) - K(t)) and v^2 = n * t^2 * K''(t)
    (Barndorff-Nielsen's form of the saddlepoint). It grows with t, nearly in a straight line: the secant finds it.
    """
    root, spread, middle = math.sqrt(x.size), float(x.std()), float(x.mean())
    y = (x - middle) / spread

    def tilted(t: float) -> tuple[float, float]:
        """(normal quantile, tilted mean) at t."""
        top = max(t * float(y.min()), t * float(y.max()))
        weights = np.exp(t * y - top)
        total = float(weights.sum())
        mean = float(weights @ y) / total
        if abs(t) < 1e-4:  # where numerator and denominator both vanish, the limit
            return root * t + _acceleration(x), mean
        variance = max(1e-300, float(weights @ (y - mean) ** 2) / total)
        r = math.copysign(root * math.sqrt(2 * max(1e-300, t * mean - top - math.log(total / x.size))), t)
        return r + math.log(t * root * math.sqrt(variance) / r) / r, mean

    before, t = (z - 0.1) / root, z / root
    at, (now, mean) = tilted(before)[0], tilted(t)
    for _ in range(30):
        if abs(now - z) < 1e-9 or now == at:
            break
        before, t, at = t, t + (z - now) * (t - before) / (now - at), now
        now, mean = tilted(t)
    return middle + spread * mean if abs(now - z) < 1e-6 else None


def _resampled_means(x: Array, resamples: int, rng: np.random.Generator) -> Array:
    rows = max(1, 1_000_000 // x.size)  # a few megabytes at a time
    counts = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([x[rng.integers(0, x.size, (count, x.size))].mean(axis=1) for count in counts])
