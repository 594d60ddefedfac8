"""Limits of a mean that hold at every prefix of a sequence at once: one may look after every row and stop at will.

A gambler who starts with 1 and bets that the mean is above m, on values in [0, 1] in a given order, has after t rows

    capital_t(m) = product over i <= t of (1 + bet * (x_i - m)),   0 <= bet <= 1 / m.

Were the mean m or less, no bet makes money on average, so the capital ever reaches 1 / level with a chance of at most
`level` (Ville's inequality). The lower limit is the least m at which it has never done so; the upper limit is that of
the mirrored values. (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024.)

Of that paper's bets this is the diversified grid: the capital is spread over bets that are fixed shares of 1 / m.
Against its predictable plug-in bets, which must guess the spread and dare less and less, the arm is a fifth to two
fifths shorter at 1,000 rows; a limit at a smaller level always lies outside one at a larger level, because the bets
do not depend on the level; and the capital falls as m grows, so that bisection finds the limit.
What was claimed after a multiple of LOOK_EVERY rows stays claimed: limits never widen as rows are added.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shouldtune.stats import MaybeScores, differences, filled

Array = NDArray[np.float64]

BETS = (0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 0.75, 0.99)
"""Shares of the largest possible bet, 1 / m. A bet within a factor of sqrt(2) of the best grows 0.91 times as fast."""
LOOK_EVERY = 32
"""The capital is looked at after every so many rows, and after the last: any set of prefixes is as valid."""
BISECTIONS = 18
AT_ONCE = 32
"""Sequences worked on together: a few megabytes."""


def lower_limits(sequences: Array, level: float) -> Array:
    """The lower limit of the mean of each row of `sequences` (shape (sequences, n), values 0 to 1), at its last value.

    The chance that a limit lies above the mean at any prefix is at most `level`. Shape (sequences,); 0 where n is 0.
    Raises ValueError for NaN, other values or another shape, and for a level outside (0, 1).
    """
    _check(sequences, level)
    parts = [_lower_limits(sequences[at : at + AT_ONCE], level) for at in range(0, len(sequences), AT_ONCE)]
    return np.concatenate([np.zeros(0), *parts])


def exceeds(sequences: Array, line: float, level: float) -> NDArray[np.bool_]:
    """Whether each row's lower limit lies above `line`, in a twentieth of the time that the limit takes."""
    _check(sequences, level)
    if line <= 0 or sequences.shape[1] == 0:
        return np.full(len(sequences), line < 0)
    if line >= 1:
        return np.zeros(len(sequences), dtype=bool)
    return _most_capital(sequences, np.full(len(sequences), line)) >= -math.log(level)


def mean_low(scores: MaybeScores, level: float) -> float:
    """The lower limit of the mean of `scores` in their order; a failed call (None) counts as 0."""
    return _low_of(np.asarray(filled(scores, 0.0), dtype=np.float64).tobytes(), level)


def mean_high(scores: MaybeScores, level: float) -> float:
    """The upper limit of the mean of `scores` in their order; a failed call (None) counts as 1."""
    return 1.0 - _low_of((1.0 - np.asarray(filled(scores, 1.0), dtype=np.float64)).tobytes(), level)


def gain_low(a: MaybeScores, b: MaybeScores, level: float) -> float:
    """The lower limit of the mean of a - b, on the same examples in one order; a pair with a failed call is -1."""
    return 2.0 * _low_of(((differences(a, b, missing=-1.0) + 1.0) / 2.0).tobytes(), level) - 1.0


def gain_high(a: MaybeScores, b: MaybeScores, level: float) -> float:
    """The upper limit of the mean of a - b; a pair with a failed call is +1."""
    return -gain_low(b, a, level)


def gains_more_than(a: MaybeScores, b: MaybeScores, line: float, level: float) -> bool:
    """Whether the lower limit of the mean of a - b lies above `line`."""
    moved = (differences(a, b, missing=-1.0) + 1.0) / 2.0
    return _exceeds(moved.tobytes(), (line + 1.0) / 2.0, level)


@lru_cache(maxsize=4096)
def _low_of(values: bytes, level: float) -> float:
    """Remembered, because a race asks again after every batch and all rungs but one are as they were."""
    return float(lower_limits(np.frombuffer(values, dtype=np.float64).reshape(1, -1), level)[0])


@lru_cache(maxsize=4096)
def _exceeds(values: bytes, line: float, level: float) -> bool:
    return bool(exceeds(np.frombuffer(values, dtype=np.float64).reshape(1, -1), line, level)[0])


def _lower_limits(x: Array, level: float) -> Array:
    """Bisect every row at once; the left end is taken, where the capital has reached its line."""
    low, high = np.zeros(len(x)), np.ones(len(x))
    if x.shape[1] == 0:
        return low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        reached = _most_capital(x, middle) >= -math.log(level)
        low, high = np.where(reached, middle, low), np.where(reached, high, middle)
    return low


def _most_capital(x: Array, mean: Array) -> Array:
    """The logarithm of the largest capital at any look, were the mean `mean` (one value a row, 0 to 1 exclusive)."""
    blocks = -(-x.shape[1] // LOOK_EVERY)
    rows = np.empty((len(x), blocks * LOOK_EVERY))
    rows[:, : x.shape[1]], rows[:, x.shape[1] :] = x, mean[:, None]  # at the mean itself a bet wins and loses nothing
    bets = np.array(BETS)
    factors = rows[:, None, :] * (bets / mean[:, None])[:, :, None]
    factors += (1.0 - bets)[:, None]
    grown = np.log(factors.reshape(len(x), len(bets), blocks, LOOK_EVERY).prod(axis=3)).cumsum(axis=2)
    most: Array = np.logaddexp.reduce(grown, axis=1).max(axis=1) - math.log(len(bets))
    return most


def _check(sequences: Array, level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"a level of {level}")
    if sequences.ndim != 2 or not bool(np.all((sequences >= 0) & (sequences <= 1))):
        raise ValueError("expected rows of numbers from 0 to 1")
