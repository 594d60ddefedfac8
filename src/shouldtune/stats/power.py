"""What n examples can show, before anything is measured: power, in closed forms that are quick enough to print.

With the true gain d, the standard deviation s of the differences where there is a gain and s0 where there is none, a
two-sided test at `alpha` shows it with probability `power` on about ((z_alpha/2 * s0 + z_power * s) / d)^2 examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from shouldtune.stats.bootstrap import FEWEST_APART
from shouldtune.stats.distributions import NORMAL, crossing, normal_quantile, student_quantile
from shouldtune.stats.proportions import clopper_pearson
from shouldtune.stats.values import check_level


def examples_needed(gain: float, alpha: float, power: float = 0.8, disagreement: float = 0.2) -> int:
    """How many paired 0/1 examples show a true `gain` with probability `power` (Connor, Biometrics 1987).

    `disagreement` is the share of examples that one gets right and the other wrong; it is at least the gain.
    """
    if not 0 < gain <= 1 or not 0 < power < 1 or not 0 <= disagreement <= 1:
        raise ValueError(f"gain {gain}, power {power} and disagreement {disagreement} must be shares above 0")
    apart = max(disagreement, gain)
    spread = normal_quantile(alpha / 2) * math.sqrt(apart) + NORMAL.inv_cdf(power) * math.sqrt(apart - gain * gain)
    return max(1, math.ceil((spread / gain) ** 2))


def smallest_visible_gain(n: int, alpha: float, power: float = 0.8, disagreement: float = 0.2) -> float | None:
    """The smallest true gain that `n` paired 0/1 examples show with probability `power`; None where none is."""
    return _smallest(n, lambda gain: examples_needed(gain, alpha, power, disagreement))


def graded_examples_needed(
    gain: float, alpha: float, spread: float, power: float = 0.8, *, by_student: bool = False
) -> int:
    """How many paired graded examples show a true `gain` with probability `power`, by the interval that decides.

    `spread` is the standard deviation of the differences, at most 1. `paired_limits` adds the worst possible difference
    to those seen; for small gains that takes several times the examples that Student's test needs on well-behaved
    differences, which `by_student` gives. At levels that are too small for the bootstrap it takes more still.
    """
    _check_graded(gain, alpha, spread, power)
    if by_student:
        z = normal_quantile(alpha / 2)  # to estimate the spread takes z^2 / 2 more (Guenther, Am. Statistician 1981)
        return max(2, math.ceil((max(0.0, z + NORMAL.inv_cdf(power)) * spread / gain) ** 2 + z * z / 2))
    few, enough = FEWEST_APART - 1, 2 * FEWEST_APART
    while not _shows(enough, gain, alpha, spread, power):
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if _shows(middle, gain, alpha, spread, power) else (middle, enough)
    return enough


def smallest_visible_graded_gain(n: int, alpha: float, spread: float, power: float = 0.8) -> float | None:
    """The smallest true gain that `n` paired graded examples show with probability `power`; None where none is."""
    _check_graded(1.0, alpha, spread, power)
    if n < FEWEST_APART or not _shows(n, 1.0, alpha, spread, power):
        return None
    return crossing(0.0, 1.0, lambda gain: not _shows(n, gain, alpha, spread, power))[1]


def perfect_proves(n: int, goal: float, alpha: float) -> bool:
    """Whether a perfect score on `n` examples would prove that the mean reaches `goal`."""
    return clopper_pearson(n, n, alpha).low >= goal


def examples_for_goal(goal: float, alpha: float) -> int | None:
    """The fewest examples on which a perfect score proves that the mean reaches `goal`; None for a goal of 1."""
    if goal >= 1:
        return None
    n = 1 if goal == 0 else max(1, math.ceil(math.log(alpha / 2) / math.log(goal)))
    return n if perfect_proves(n, goal, alpha) else n + 1  # the logarithms may be off by a rounding


def _check_graded(gain: float, alpha: float, spread: float, power: float) -> None:
    check_level(alpha)
    if not 0 < gain <= 1 or not 0 < power < 1 or not 0 <= spread <= 1:
        raise ValueError(f"gain {gain} and power {power} must be shares above 0, the spread {spread} at most 1")


def _shows(n: int, gain: float, alpha: float, spread: float, power: float) -> bool:
    """Whether `bca_low` lies above 0 when the mean seen is as low as it is in all but `power` of draws.

    From the first three moments of n differences of that mean and spread, symmetric, and of the worst one added; the
    quantile of the resampled means is that of a normal with their skewness (Cornish & Fisher).
    """
    seen, all_n = gain - NORMAL.inv_cdf(power) * spread / math.sqrt(n), n + 1
    mean = (n * seen - 1) / all_n
    off, worst = seen - mean, -1 - mean
    variance = (n * (spread**2 + off**2) + worst**2) / all_n
    third = (n * (off**3 + 3 * off * spread**2) + worst**3) / all_n
    skew = third / (6 * variance * math.sqrt(variance * all_n))
    from_bias = skew - math.sqrt(all_n / n) * student_quantile(alpha / 2, n)
    if skew * from_bias >= 1:
        return False
    z = skew + from_bias / (1 - skew * from_bias)
    return mean + math.sqrt(variance / all_n) * (z + skew * (z * z - 1)) > 0


def _smallest(n: int, needed: Callable[[float], int]) -> float | None:
    if needed(1.0) > n:
        return None
    return crossing(0.0, 1.0, lambda gain: needed(gain) > n)[1]
