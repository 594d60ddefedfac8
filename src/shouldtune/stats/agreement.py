"""How far two raters agree beyond chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shouldtune.judgement import Interval
from shouldtune.stats.distributions import normal_quantile
from shouldtune.stats.values import check_level


def cohen_kappa(a: Sequence[bool], b: Sequence[bool], alpha: float) -> Interval:
    """Cohen's kappa of two raters' yes and no on the same things, (agreement - chance) / (1 - chance), from -1 to 1.

    Cohen, Educational and Psychological Measurement 1960; the standard error for large samples is that of Fleiss, Cohen
    & Everitt, Psychological Bulletin 1969. That error is 0 where the raters agree throughout, and too small near it:
    so the limits are worked out with half an answer more in each of the four cells.
    The estimate is None, and the limits are -1 and 1, where chance alone gives full agreement: one answer throughout.
    Raises ValueError for different numbers of answers.
    """
    check_level(alpha)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} answers of one rater and {len(b)} of the other")
    counts = np.zeros((2, 2))
    for first, second in zip(a, b, strict=True):
        counts[int(first), int(second)] += 1
    kappa = _kappa(counts)
    if kappa is None:
        return Interval(None, -1.0, 1.0, len(a))
    middle, arm = _kappa(counts + 0.5) or 0.0, normal_quantile(alpha / 2) * _error(counts + 0.5)
    return Interval(kappa, max(-1.0, min(kappa, middle - arm)), min(1.0, max(kappa, middle + arm)), len(a))


def _kappa(counts: np.typing.NDArray[np.float64]) -> float | None:
    n = counts.sum()
    chance = float(counts.sum(axis=0) @ counts.sum(axis=1)) / n**2 if n else 1.0
    return None if chance >= 1 else (float(np.trace(counts)) / n - chance) / (1 - chance)


def _error(counts: np.typing.NDArray[np.float64]) -> float:
    """The standard error of Fleiss, Cohen & Everitt, their formula for the hypothesis that kappa is what it is."""
    n = counts.sum()
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    agreed, chance = float(np.trace(p)), float(rows @ columns)
    kappa = (agreed - chance) / (1 - chance)
    same = sum(p[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(2))
    other = (1 - kappa) ** 2 * sum(p[i, j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j)
    variance = (same + other - (kappa - chance * (1 - kappa)) ** 2) / ((1 - chance) ** 2 * n)
    return math.sqrt(max(0.0, float(variance)))
