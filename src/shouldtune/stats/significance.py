"""p-values: of no difference between paired scores, and of many tests together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shouldtune.stats.distributions import binomial_tail
from shouldtune.stats.values import Array, Scores, check_level, checked, differences

MANY = 20_000
"""From so many differences on, the normal limit of their flipped sums is nearer to the truth than 10,000 flips."""
FLIPS_TOGETHER = 1 << 20
"""About so many signs are drawn together."""


def alpha_at_look(alpha: float, look: int) -> float:
    """What of `alpha` the look-th look at the same data may err, from 1 on: the shares 6 / (pi^2 k^2) sum to 1.

    Bonferroni's inequality over a number of looks that need not be known beforehand. ValueError for a look under 1.
    """
    check_level(alpha)
    if look < 1:
        raise ValueError(f"looks are counted from 1, not {look}")
    return alpha * 6 / (math.pi * look) ** 2


def mcnemar_exact(a: Scores, b: Scores) -> float | None:
    """The two-sided exact p-value of no difference between paired 0/1 scores (McNemar 1947); None without pairs."""
    d = differences(a, b, missing=0.0)
    if np.any((d != 0) & (np.abs(d) != 1)):
        raise ValueError("McNemar's test is for 0/1 scores")
    gains, losses = int((d > 0).sum()), int((d < 0).sum())
    return min(1.0, 2 * binomial_tail(max(gains, losses), gains + losses, 0.5)) if d.size else None


def permutation_paired(a: Scores, b: Scores, seed: int, n: int = 10_000) -> float | None:
    """The two-sided p-value of no difference between paired scores, by flipping the signs of differences (Fisher 1935).

    Every flip is counted where at most 16 differences are not zero, else `n` random ones and the observed one, so
    that the p-value is never 0; the normal distribution with their variance from MANY on. None without pairs.
    """
    d = differences(a, b, missing=0.0)
    if d.size == 0:
        return None
    seen, d = abs(float(d.sum())) - 1e-9, d[d != 0]
    if d.size <= 16:
        sums: Array = np.zeros(1)
        for value in d:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= seen))
    if d.size >= MANY:
        return math.erfc(max(0.0, seen) / math.sqrt(2.0 * float(d @ d)))
    rng, together = np.random.default_rng(seed), 8 * max(1, FLIPS_TOGETHER // (8 * d.size))
    beyond = 0
    for start in range(0, n, together):
        signs = rng.integers(0, 2, (min(together, n - start), d.size), dtype=np.int8) * 2 - 1
        beyond += int(np.count_nonzero(np.abs(signs @ d) >= seen))
    return (beyond + 1) / (n + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being looked at together, in their order (Holm, Scand. J. Statistics 1979).

    To call significant what is at most alpha errs on any true hypothesis at all with a chance of at most alpha,
    whatever the dependence: the smallest of k p-values is multiplied by k, the next by k - 1, and none is adjusted to
    less than one before it. No p-values give none; ValueError for NaN and what lies outside 0 to 1.
    """
    p = checked(p_values)
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    adjusted = np.empty(p.size)
    adjusted[order] = steps
    return [float(value) for value in adjusted]
