"""What n examples can show, before anything is measured: power, in closed forms that are quick enough to print.

With the true gain d, the standard deviation s of the differences where there is a gain and s0 where there is none, a
two-sided test at `alpha` shows it with probability `power` on about ((z_alpha/2 * s0 + z_power * s) / d)^2 examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from shouldtune.stats.distributions import NORMAL, crossing, normal_quantile
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


def graded_examples_needed(gain: float, alpha: float, spread: float, power: float = 0.8) -> int:
    """How many paired graded examples show a true `gain` with probability `power`.

    `spread` is the standard deviation of the differences, up to 1 for scores in [0, 1]. The spread has to be estimated
    too, which takes half of z_alpha/2 squared more than a known one would (Guenther, The American Statistician 1981);
    so a spread of 0 takes that many, and never fewer than two, because one example shows no spread.
    """
    check_level(alpha)
    if not 0 < gain <= 1 or not 0 < power < 1 or not 0 <= spread <= 1:
        raise ValueError(f"gain {gain} and power {power} must be shares above 0, the spread {spread} at most 1")
    z = normal_quantile(alpha / 2)
    known = (max(0.0, z + NORMAL.inv_cdf(power)) * spread / gain) ** 2
    return max(2, math.ceil(known + z * z / 2))


def smallest_visible_graded_gain(n: int, alpha: float, spread: float, power: float = 0.8) -> float | None:
    """The smallest true gain that `n` paired graded examples show with probability `power`; None where none is."""
    return _smallest(n, lambda gain: graded_examples_needed(gain, alpha, spread, power))


def perfect_proves(n: int, goal: float, alpha: float) -> bool:
    """Whether a perfect score on `n` examples would prove that the mean reaches `goal`."""
    return clopper_pearson(n, n, alpha).low >= goal


def examples_for_goal(goal: float, alpha: float) -> int | None:
    """The fewest examples on which a perfect score proves that the mean reaches `goal`; None for a goal of 1."""
    if goal >= 1:
        return None
    n = 1 if goal == 0 else max(1, math.ceil(math.log(alpha / 2) / math.log(goal)))
    return n if perfect_proves(n, goal, alpha) else n + 1  # the logarithms may be off by a rounding


def _smallest(n: int, needed: Callable[[float], int]) -> float | None:
    if needed(1.0) > n:
        return None
    return crossing(0.0, 1.0, lambda gain: needed(gain) > n)[1]
