"""The expected score of a fine-tune over its random seeds, from a few seeds scored on the same examples.

A seed is one training run, and its examples are no news about other runs: S seeds on N examples are S values of the
seeds' luck and N of the examples', not S * N of anything. Pooled as S * N independent rows, an interval that should err
5% of the time errs far more often (a test shows how often). So two arms are built and put together:

- *examples*: each example's score is averaged over the seeds, and the interval of these N averages is taken (means.py,
  pairs.py);
- *seeds*: Student's quantile with S - 1 degrees of freedom times the standard deviation of the seeds' means over
  sqrt(S). The examples' share in the differences between seeds is in both arms, which errs on the wide side.

The arm of the whole is sqrt(examples^2 + seeds^2), each side by itself: the method of variance estimates recovery (Zou
& Donner, Statistics in Medicine 2008). From one seed nothing is known about others: the limits are the whole range.

What no few seeds can show is a rare one that fails altogether: where one training run in ten does, three seeds show
none nearly three times in four. The interval takes the seeds' means to be about normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shouldtune.judgement import Interval
from shouldtune.stats.distributions import student_quantile
from shouldtune.stats.means import mean_limits
from shouldtune.stats.pairs import paired_limits
from shouldtune.stats.values import Array, MaybeScores, check_level, checked, filled


def seed_mean_interval(scores: Sequence[MaybeScores], alpha: float) -> Interval:
    """The interval for the expected score over seeds and examples; `n` is the number of seeds.

    `scores` has one list a seed, all over the same examples in the same order; a failed call (None) is 0 below and 1
    above, and the estimate is of the examples that every seed answered.
    """
    check_level(alpha)
    worst, best = _table(scores, 0.0), _table(scores, 1.0)
    if worst.size == 0:
        return Interval(None, 0.0, 1.0, len(worst))
    low = mean_limits(_averaged(worst), alpha / 2, alpha / 2).low
    high = mean_limits(_averaged(best), alpha / 2, alpha / 2).high
    low = _joined(float(worst.mean()), low, _seeds_arm(worst, alpha))
    high = _joined(float(best.mean()), high, _seeds_arm(best, alpha))
    return Interval(_estimate(worst, scores), max(0.0, low), min(1.0, high), len(worst))


def seed_gain_interval(scores: Sequence[MaybeScores], other: MaybeScores, alpha: float) -> Interval:
    """The interval for the expected gain over `other`, the scores of an approach without seeds on the same examples.

    Failed calls are filled against the gain below and for it above; the estimate is of what all answered.
    """
    check_level(alpha)
    worst, best = _table(scores, 0.0), _table(scores, 1.0)
    if worst.size == 0:
        return Interval(None, -1.0, 1.0, len(worst))
    most, least = filled(other, 1.0), filled(other, 0.0)
    low = paired_limits(_averaged(worst), most, alpha / 2, alpha / 2).low
    high = paired_limits(_averaged(best), least, alpha / 2, alpha / 2).high
    low = _joined(float(worst.mean() - np.mean(most)), low, _seeds_arm(worst, alpha))
    high = _joined(float(best.mean() - np.mean(least)), high, _seeds_arm(best, alpha))
    estimate = _estimate(worst - np.asarray(most), [*scores, other])
    return Interval(estimate, max(-1.0, low), min(1.0, high), len(worst))


def between_seeds(scores: Sequence[MaybeScores]) -> float | None:
    """The standard deviation of the seeds' means on the examples that all answered; None for fewer than two seeds."""
    table = _table(scores, 0.0)[:, _answered(scores)]
    return float(table.mean(axis=1).std(ddof=1)) if len(table) > 1 and table.size else None


def _joined(mean: float, limit: float, arm: float) -> float:
    """The limit moved away from the mean by another, independent arm; infinite arms stay so."""
    return mean + math.copysign(math.hypot(limit - mean, arm), limit - mean)


def _seeds_arm(table: Array, alpha: float) -> float:
    if len(table) < 2:
        return math.inf
    spread = float(table.mean(axis=1).std(ddof=1))
    return student_quantile(alpha / 2, len(table) - 1) * spread / math.sqrt(len(table))


def _table(scores: Sequence[MaybeScores], missing: float) -> Array:
    """Shape (seeds, examples), failed calls set to `missing`. ValueError where the seeds have not the same examples."""
    if len({len(of_one) for of_one in scores}) > 1:
        raise ValueError("every seed must be scored on the same examples")
    rows = [checked(filled(of_one, missing)) for of_one in scores]
    return np.stack(rows) if rows else np.zeros((0, 0))


def _averaged(table: Array) -> list[float | None]:
    return [float(value) for value in np.minimum(table.mean(axis=0), 1.0)]


def _answered(scores: Sequence[MaybeScores]) -> NDArray[np.bool_]:
    """Which examples nothing failed on."""
    return np.array([None not in of_all for of_all in zip(*scores, strict=True)], dtype=bool)


def _estimate(table: Array, scores: Sequence[MaybeScores]) -> float | None:
    """The mean over the examples on which nothing failed."""
    answered = table[:, _answered(scores)]
    return float(answered.mean()) if answered.size else None
