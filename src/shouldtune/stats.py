"""Statistics on a fixed number of examples: numbers in, Interval out.

Every `alpha` is two-sided: the chance that the true value lies outside, on either side. Every `level` is one-sided:
the chance that it lies beyond one end, so both ends at level `a` make the interval at `alpha = 2 * a`.
Scores lie in [0, 1] and differences of scores in [-1, 1]; anything else, and NaN, is refused with ValueError.
No interval here has zero width, and with nothing measured the estimate is None and the limits are the whole range.
Only lower ends are computed: the upper end of x is the mirrored lower end of the mirrored x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shouldtune.judgement import Interval

Array = NDArray[np.float64]
Scores = Sequence[float] | Array
MaybeScores = Sequence[float | None]
"""Scores with None where the call failed."""

MOST_RESAMPLES = 20_000
FEWEST_APART = 10
"""The bootstrap needs this many values apart from the commonest one; with fewer it has hardly seen the tail."""
FEWEST_PAIRS = 5
"""On fewer, one end of Tango's interval may err several times as often as it should."""

_NORMAL = NormalDist()


def wilson(successes: float, n: int, alpha: float) -> Interval:
    """Wilson's score interval for a proportion (Wilson, JASA 1927): for showing, not for deciding.

    `successes` may be fractional, the sum of graded scores: the interval is then wider than need be, because a
    score in [0, 1] with mean m has a variance of at most m(1 - m). Both ends together err about `alpha` of the time;
    one end alone errs up to nine times `alpha / 2` where the mean is near 0 or 1, so decisions use `clopper_pearson`.
    """
    _check_count(successes, n, alpha)
    if n == 0:
        return Interval(None, 0.0, 1.0, 0)
    z, p = -_NORMAL.inv_cdf(alpha / 2), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    arm = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(p, 0.0 if p == 0 else centre - arm, 1.0 if p == 1 else centre + arm, n)


def clopper_pearson(successes: float, n: int, alpha: float) -> Interval:
    """The exact interval for a proportion (Clopper & Pearson, Biometrika 1934): each end errs at most alpha / 2.

    A fractional count (the sum of graded scores) is rounded outwards: down for the lower end, up for the upper.
    """
    _check_count(successes, n, alpha)
    low, high = _exact_low(successes, n, alpha / 2), 1.0 - _exact_low(n - successes, n, alpha / 2)
    return Interval(successes / n if n else None, low, high, n)


def mean_interval(scores: Scores, alpha: float, seed: int) -> Interval:
    """The interval for the mean of `scores`: exact for 0/1 scores, the BCa bootstrap for graded ones.

    Graded scores on which `bca_low` is unsafe fall back on the exact interval of their sum: wide but honest.
    """
    return mean_limits(list(scores), alpha / 2, alpha / 2, seed)


def mean_limits(scores: MaybeScores, low_level: float, high_level: float, seed: int) -> Interval:
    """`mean_interval` with a level for each end, a failed call (None) being the worst case: 0 below and 1 above.

    The estimate and `n` are of the answered examples alone.
    """
    answered = [score for score in scores if score is not None]
    low = _mean_low(_checked(filled(scores, 0.0), 0.0), low_level, seed)
    high = 1.0 - _mean_low(1.0 - _checked(filled(scores, 1.0), 0.0), high_level, seed)
    return Interval(float(np.mean(answered)) if answered else None, low, high, len(answered))


def bca_low(values: Array, worst: float, level: float, seed: int) -> float | None:
    """The lower end of the bias-corrected and accelerated bootstrap of a mean (Efron, JASA 1987); None where unsafe.

    Two repairs make it honest at small n and level: `worst`, the least possible value, is added to the n values,
    so that a disaster too rare to have been seen stays possible; and the tail is widened from the normal's to
    Student's (Hesterberg, The American Statistician 2015). Unsafe means: fewer than FEWEST_APART values apart from
    the commonest one, or a level at which MOST_RESAMPLES draws leave fewer than 20 beyond it.
    """
    if values.size < 2 or values.size - int(np.unique(values, return_counts=True)[1].max()) < FEWEST_APART:
        return None
    x = np.append(values, worst)
    tail = _NORMAL.cdf(-math.sqrt(x.size / (x.size - 1)) * _student(level, x.size - 1))
    resamples = max(2_000, math.ceil(20 / tail))
    if resamples > MOST_RESAMPLES:
        return None
    mean, means = float(x.mean()), _resampled_means(x, resamples, np.random.default_rng(seed))
    below = (np.count_nonzero(means < mean) + np.count_nonzero(means == mean) / 2) / resamples
    bias = _NORMAL.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    acceleration = float(((x - mean) ** 3).sum() / (6 * ((x - mean) ** 2).sum() ** 1.5))
    z = bias + _NORMAL.inv_cdf(tail)
    rank = _NORMAL.cdf(bias + z / (1 - acceleration * z))
    return min(float(np.quantile(means, rank)), mean) if acceleration * z < 1 else None


def tango(gains: float, losses: float, n: int, alpha: float) -> Interval:
    """Tango's score interval for the difference of two paired proportions (Tango, Statistics in Medicine 1998).

    `gains` pairs have the first right and the second wrong, `losses` the reverse, out of `n`. Both may be
    fractional, the sums of the positive and of the negative differences: the interval is then wider than need be,
    because a difference d in [-1, 1] has d * d <= |d|, so the variance is at most E|d| - (E d)^2, that of 0/1 pairs.
    One end alone errs up to twice `alpha / 2` where one of the two gains rarely and never loses.
    """
    _check_count(min(gains, losses), n, alpha)
    _check_count(gains + losses, n, alpha)
    low, high = _tango_low(gains, losses, n, alpha / 2), -_tango_low(losses, gains, n, alpha / 2)
    return Interval((gains - losses) / n if n else None, low, high, n)


def paired_interval(a: Scores, b: Scores, alpha: float, seed: int) -> Interval:
    """The interval for the mean of a - b, scores on the same examples in the same order.

    Tango's where every difference is -1, 0 or 1, else the BCa bootstrap; Tango's of the sums where `bca_low` is unsafe.
    With fewer than FEWEST_PAIRS the limits are -1 and 1.
    """
    return paired_limits(list(a), list(b), alpha / 2, alpha / 2, seed)


def paired_limits(a: MaybeScores, b: MaybeScores, low_level: float, high_level: float, seed: int) -> Interval:
    """`paired_interval` with a level for each end; a pair with a failed call is -1 below and +1 above.

    The estimate and `n` are of the pairs that both answered.
    """
    both_a, both_b = answered_pairs(a, b)
    low = _difference_low(differences(a, b, missing=-1.0), low_level, seed)
    high = -_difference_low(-differences(a, b, missing=1.0), high_level, seed)
    return Interval(float((both_a - both_b).mean()) if both_a.size else None, low, high, both_a.size)


def mcnemar_exact(a: Scores, b: Scores) -> float | None:
    """The two-sided exact p-value of no difference between paired 0/1 scores (McNemar 1947); None without pairs."""
    d = differences(list(a), list(b), missing=0.0)
    if np.any((d != 0) & (np.abs(d) != 1)):
        raise ValueError("McNemar's test is for 0/1 scores")
    gains, losses = int((d > 0).sum()), int((d < 0).sum())
    return min(1.0, 2 * _tail(max(gains, losses), gains + losses, 0.5)) if d.size else None


def permutation_paired(a: Scores, b: Scores, seed: int, n: int = 10_000) -> float | None:
    """The two-sided p-value of no difference between paired scores, by flipping the signs of differences (Fisher 1935).

    Every flip is counted where at most 16 differences are not zero, else `n` random ones and the observed one, so
    that the p-value is never 0. None without pairs.
    """
    d = differences(list(a), list(b), missing=0.0)
    if d.size == 0:
        return None
    seen, d = abs(float(d.sum())) - 1e-9, d[d != 0]
    if d.size <= 16:
        sums: Array = np.zeros(1)
        for value in d:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= seen))
    signs = np.random.default_rng(seed).integers(0, 2, (n, d.size), dtype=np.int8) * 2 - 1
    return (int(np.count_nonzero(np.abs(signs @ d) >= seen)) + 1) / (n + 1)


def filled(scores: MaybeScores, value: float) -> list[float]:
    """The scores with every failed call set to `value`."""
    return [value if score is None else score for score in scores]


def differences(a: MaybeScores, b: MaybeScores, missing: float) -> Array:
    """a - b on the same examples, `missing` where either call failed. ValueError where the lengths differ."""
    failed = np.array([x is None or y is None for x, y in zip(a, b, strict=True)], dtype=bool)
    return np.where(failed, missing, _checked(filled(a, 0.0), 0.0) - _checked(filled(b, 0.0), 0.0))


def answered_pairs(a: MaybeScores, b: MaybeScores) -> tuple[Array, Array]:
    """The scores of the examples that both answered: two arrays of one length."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    table = np.array(both, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def examples_needed(gain: float, alpha: float, power: float = 0.8, disagreement: float = 0.2) -> int:
    """How many paired 0/1 examples show a true `gain` with probability `power` (Connor, Biometrics 1987).

    `disagreement` is the share of examples that one gets right and the other wrong; it is at least the gain.
    """
    if not 0 < gain <= 1 or not 0 < power < 1 or not 0 <= disagreement <= 1:
        raise ValueError(f"gain {gain}, power {power} and disagreement {disagreement} must be shares above 0")
    apart = max(disagreement, gain)
    spread = -_NORMAL.inv_cdf(alpha / 2) * math.sqrt(apart) + _NORMAL.inv_cdf(power) * math.sqrt(apart - gain * gain)
    return max(1, math.ceil((spread / gain) ** 2))


def smallest_visible_gain(n: int, alpha: float, power: float = 0.8, disagreement: float = 0.2) -> float | None:
    """The smallest true gain that `n` paired 0/1 examples show with probability `power`; None where none is."""
    if examples_needed(1.0, alpha, power, disagreement) > n:
        return None
    return _crossing(0.0, 1.0, lambda gain: examples_needed(gain, alpha, power, disagreement) > n)[1]


def perfect_proves(n: int, goal: float, alpha: float) -> bool:
    """Whether a perfect score on `n` examples would prove that the mean reaches `goal`."""
    return clopper_pearson(n, n, alpha).low >= goal


def examples_for_goal(goal: float, alpha: float) -> int | None:
    """The fewest examples on which a perfect score proves that the mean reaches `goal`; None for a goal of 1."""
    if goal >= 1:
        return None
    n = 1 if goal == 0 else max(1, math.ceil(math.log(alpha / 2) / math.log(goal)))
    return n if perfect_proves(n, goal, alpha) else n + 1  # the logarithms may be off by a rounding


def _mean_low(x: Array, level: float, seed: int) -> float:
    low = bca_low(x, 0.0, level, seed) if np.any((x != 0) & (x != 1)) else None
    return _exact_low(float(x.sum()), x.size, level) if low is None else low


def _difference_low(d: Array, level: float, seed: int) -> float:
    if d.size < FEWEST_PAIRS:
        return -1.0
    low = bca_low(d, -1.0, level, seed) if np.any((d != 0) & (np.abs(d) != 1)) else None
    return _tango_low(float(d[d > 0].sum()), float(-d[d < 0].sum()), d.size, level) if low is None else low


@lru_cache(maxsize=8192)
def _exact_low(successes: float, n: int, level: float) -> float:
    """The p at which this many successes or more are seen with probability `level`."""
    count = math.floor(successes + 1e-9)
    if count in (0, n):
        return float(level ** (1 / n)) if count else 0.0
    return _crossing(0.0, count / n, lambda p: _tail(count, n, p) < level)[0]


@lru_cache(maxsize=8192)
def _tango_low(gains: float, losses: float, n: int, level: float) -> float:
    """Where Tango's statistic, which falls as the difference grows, is as large as the level allows."""
    z = -_NORMAL.inv_cdf(level)
    return _crossing(-1.0, (gains - losses) / n if n else -1.0, lambda d: _tango_score(gains, losses, n, d) > z)[0]


def _tango_score(gains: float, losses: float, n: int, difference: float) -> float:
    """The score statistic of a difference, its nuisance (the share of losses) at its most likely value."""
    b = -gains - losses + (2 * n - gains + losses) * difference
    c = -losses * difference * (1 - difference)
    share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n) if n else 0.0
    variance = n * (2 * share + difference * (1 - difference))
    distance = gains - losses - n * difference
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def _crossing(low: float, high: float, below: Callable[[float], bool]) -> tuple[float, float]:
    """Bisect to where `below`, true on the left, turns false: the ends of a very short interval around it."""
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low, high


def _resampled_means(x: Array, resamples: int, rng: np.random.Generator) -> Array:
    rows = max(1, 1_000_000 // x.size)  # a few megabytes at a time
    counts = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([x[rng.integers(0, x.size, (count, x.size))].mean(axis=1) for count in counts])


def _check_count(successes: float, n: int, alpha: float) -> None:
    if not (0 < alpha < 1 and -1e-9 <= successes <= n + 1e-9):
        raise ValueError(f"{successes} successes among {n} at alpha {alpha}")


def _checked(values: Scores, least: float) -> Array:
    x: Array = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not bool(np.all((x >= least) & (x <= 1))):
        raise ValueError(f"expected a list of numbers from {least:g} to 1")
    return x


def _student(level: float, freedom: int) -> float:
    """Student's upper quantile by Cornish and Fisher's expansion (Abramowitz & Stegun 26.7.5); from 8 degrees on."""
    z = -_NORMAL.inv_cdf(level)
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))


def _tail(successes: int, n: int, p: float) -> float:
    """P(X >= successes) of a binomial."""
    k = np.arange(successes, n + 1)
    logs = _log_factorials(n)
    choose = logs[n] - logs[k] - logs[n - k]
    return float(np.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p)).sum())


@lru_cache(maxsize=64)
def _log_factorials(n: int) -> Array:
    logs: Array = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return logs
