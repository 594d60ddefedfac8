"""Intervals for a mean over examples that come in groups, such as the turns of one conversation.

Rows of one group are alike, so n of them tell less than n independent ones. How much less is measured: the variance of
the mean with the group as unit, over what it would be were the rows independent, is the design effect (Kish 1965), and
n over the design effect, corrected for the few groups from which it was estimated, is the *effective number of
examples*. The interval is that of independent examples, Clopper and Pearson's or Tango's, on that many (Korn &
Graubard, Survey Methodology 1998, for proportions in surveys).

Why not the textbook's mean +- t * cluster-robust error: near the ends of the range it errs on one side far more often
than its level of 2.5%: with 12 groups of 1 to 19 rows, a mean of 0.8 and an intra-group correlation of 0.3, 10% of
the time; with 30 groups and a mean of 0.95, 15%. The same simulation (benchmarks/statistics/coverage.py) found 1.8% and
less than 0.1% for what is here, and at most 4.4% anywhere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shouldtune.judgement import Interval
from shouldtune.stats.bootstrap import FEWEST_APART, apart
from shouldtune.stats.distributions import beta_below, crossing, student_quantile
from shouldtune.stats.group_sequences import Groups
from shouldtune.stats.pairs import FEWEST_PAIRS, tango_low
from shouldtune.stats.values import (
    Array,
    MaybeScores,
    Scores,
    answered_pairs,
    check_level,
    checked,
    differences,
    filled,
)


def clustered_mean_interval(scores: Scores, groups: Groups, alpha: float) -> Interval:
    """The interval for the mean over examples of `scores`, with the group as unit; `n` is the number of groups.

    `groups` names each row's group, in any order; a row without one (None) is a group of its own, and where every row
    is, the interval is that of independent examples. With fewer than FEWEST_APART groups (or half of all, if that is
    less) apart from the commonest group mean the spread has hardly been seen, and each group counts as one example at
    most; so it does where all scores are equal. One group is one example. Without examples the limits are 0 and 1.
    """
    return clustered_mean_limits(list(scores), groups, alpha / 2, alpha / 2)


def clustered_mean_limits(scores: MaybeScores, groups: Groups, low_level: float, high_level: float) -> Interval:
    """`clustered_mean_interval` with a level for each end, a failed call (None) being the worst case: 0 or 1.

    The estimate is of the answered examples alone.
    """
    codes, answered = _codes(groups, len(scores)), [score for score in scores if score is not None]
    low = _mean_low(checked(filled(scores, 0.0)), codes, low_level)
    high = 1.0 - _mean_low(1.0 - checked(filled(scores, 1.0)), codes, high_level)
    return Interval(float(np.mean(answered)) if answered else None, low, high, len(set(codes.tolist())))


def clustered_paired_interval(a: Scores, b: Scores, groups: Groups, alpha: float) -> Interval:
    """The interval for the mean over examples of a - b, as `clustered_mean_interval` has it; by Tango's interval.

    With fewer than FEWEST_PAIRS groups the limits are -1 and 1.
    """
    return clustered_paired_limits(list(a), list(b), groups, alpha / 2, alpha / 2)


def clustered_paired_limits(
    a: MaybeScores, b: MaybeScores, groups: Groups, low_level: float, high_level: float
) -> Interval:
    """`clustered_paired_interval` with a level for each end; a pair with a failed call is -1 below and +1 above."""
    codes, (both_a, both_b) = _codes(groups, len(a)), answered_pairs(a, b)
    low = _difference_low(differences(a, b, missing=-1.0), codes, low_level)
    high = -_difference_low(-differences(a, b, missing=1.0), codes, high_level)
    estimate = float((both_a - both_b).mean()) if both_a.size else None
    return Interval(estimate, low, high, len(set(codes.tolist())))


def cluster_error(values: Scores, groups: Groups, least: float = -1.0) -> float | None:
    """The cluster-robust standard error of the mean over rows; None with fewer than two groups.

    Liang and Zeger's (Biometrika 1986) of a regression on a constant, times G / (G - 1) for the few groups.
    """
    x = checked(values, least)
    return _error(x, _codes(groups, x.size))


Codes = NDArray[np.int64]


def _mean_low(x: Array, codes: Codes, level: float) -> float:
    check_level(level)
    mean = float(x.mean()) if x.size else 0.0
    if mean == 0:
        return 0.0
    n = _effective(x, codes, mean * (1 - mean), level)
    return crossing(0.0, mean, lambda p: beta_below(p, mean * n, n - mean * n + 1) < level)[0]


def _difference_low(d: Array, codes: Codes, level: float) -> float:
    check_level(level)
    if len(set(codes.tolist())) < FEWEST_PAIRS:
        return -1.0
    gains, losses = float(np.maximum(d, 0.0).mean()), float(np.maximum(-d, 0.0).mean())
    n = _effective(d, codes, gains + losses - (gains - losses) ** 2, level)
    return tango_low(gains * n, losses * n, n, level)


def _effective(x: Array, codes: Codes, variance: float, level: float) -> float:
    """The effective number of examples, at most all; `variance` is the most that one independent example could have."""
    n, error = x.size, _error(x, codes)
    if error is None:
        return 1.0
    groups = int(codes.max()) + 1
    few = student_quantile(level, n - 1) / student_quantile(level, groups - 1)
    effective = min(n, n * variance / (n - 1) / error**2 * few**2) if error > 0 else n
    means = np.bincount(codes, x) / np.bincount(codes)
    return min(effective, groups) if apart(means) < min(FEWEST_APART, groups / 2) else effective


def _error(x: Array, codes: Codes) -> float | None:
    groups = int(codes.max()) + 1 if codes.size else 0
    if groups < 2:
        return None
    sums = np.bincount(codes, x - x.mean())
    return math.sqrt(groups / (groups - 1) * float((sums**2).sum())) / x.size


def _codes(groups: Groups, rows: int) -> Codes:
    """A whole number for each row's group, from 0 on."""
    if len(groups) != rows:
        raise ValueError(f"{rows} scores and the groups of {len(groups)}")
    found: dict[str | int, int] = {}
    return np.array([found.setdefault(i if g is None else g, len(found)) for i, g in enumerate(groups)], dtype=np.int64)
