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

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shouldtune.stats.values import Array, MaybeScores, check_level, differences, filled

BETS = (0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 0.75, 0.99)
"""Shares of the largest possible bet, 1 / m. A bet within a factor of sqrt(2) of the best grows 0.91 times as fast."""
LOOK_EVERY = 32
"""The capital is looked at after every so many rows, and after the last: any set of prefixes is as valid."""
BISECTIONS = 18
AT_ONCE = 32
"""Sequences worked on together: a few megabytes."""
FEW_VALUES = 5
"""Up to so many different values, as of 0/1 scores or their differences, are counted, not multiplied one by one."""

Growth = Callable[[Array], Array]
"""From the mean supposed for each sequence, shape (sequences,), 0 to 1 exclusive, to the logarithm of what each bet
makes of 1 between two looks: shape (sequences, bets, looks)."""


def lower_limits(sequences: Array, level: float) -> Array:
    """The lower limit of the mean of each row of `sequences` (shape (sequences, n), values 0 to 1), at its last value.

    The chance that a limit lies above the mean at any prefix is at most `level`. Shape (sequences,); 0 where n is 0.
    Raises ValueError for NaN, other values or another shape, and for a level outside (0, 1).
    """
    _check(sequences, level)
    parts = [limits_of(_growth(rows), len(rows), level) for rows in _parts(sequences)]
    return np.concatenate([np.zeros(0), *parts])


def upper_limits(sequences: Array, level: float) -> Array:
    """The upper limit of the mean of each row: the mirrored lower limit of the mirrored values."""
    _check(sequences, level)
    return 1.0 - lower_limits(1.0 - sequences, level)


def two_sided_limits(sequences: Array, alpha: float) -> tuple[Array, Array]:
    """Both limits of each row: the chance that the mean ever lies outside, on either side, is at most `alpha`."""
    return lower_limits(sequences, alpha / 2), upper_limits(sequences, alpha / 2)


def exceeds(sequences: Array, line: float, level: float) -> NDArray[np.bool_]:
    """Whether each row's lower limit lies above `line`, in a twentieth of the time that the limit takes."""
    _check(sequences, level)
    if line <= 0 or sequences.shape[1] == 0:
        return np.full(len(sequences), line < 0)
    if line >= 1:
        return np.zeros(len(sequences), dtype=bool)
    parts = [reached(_growth(rows), np.full(len(rows), line), level) for rows in _parts(sequences)]
    return np.concatenate([np.zeros(0, dtype=bool), *parts])


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


def limits_of(growth: Growth, sequences: int, level: float) -> Array:
    """The lower limit of each sequence by bisection of all at once; the left end, where the line has been reached."""
    low, high = np.zeros(sequences), np.ones(sequences)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = reached(growth, middle, level)
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low


def reached(growth: Growth, mean: Array, level: float) -> NDArray[np.bool_]:
    """Whether the capital of each sequence, were its mean `mean`, is 1 / level or more at any look."""
    grown = np.minimum(growth(mean).cumsum(axis=2), 700.0)  # e^700 is rich enough, and still a number
    richest: Array = np.exp(grown).sum(axis=1).max(axis=1, initial=0.0)
    return np.asarray(richest >= len(BETS) / level)


@lru_cache(maxsize=4096)
def _low_of(values: bytes, level: float) -> float:
    """Remembered, for whoever asks again after every batch, when all rungs but one are as they were."""
    return float(lower_limits(np.frombuffer(values, dtype=np.float64).reshape(1, -1), level)[0])


@lru_cache(maxsize=4096)
def _exceeds(values: bytes, line: float, level: float) -> bool:
    return bool(exceeds(np.frombuffer(values, dtype=np.float64).reshape(1, -1), line, level)[0])


def _parts(sequences: Array) -> list[Array]:
    return [sequences[at : at + AT_ONCE] for at in range(0, len(sequences), AT_ONCE)]


def _growth(x: Array) -> Growth:
    values = np.unique(x[:, :64])
    if 0 < values.size <= FEW_VALUES:
        counts = np.stack([_in_blocks((x == value).astype(np.float64)).sum(axis=2) for value in values], axis=1)
        if counts.sum() == x.size:
            return _counted(values, counts)
    return _multiplied(x)


def _counted(values: Array, counts: Array) -> Growth:
    """From how often each value stands in each block: shape (sequences, values, blocks)."""
    bets = np.array(BETS)[:, None]

    def growth(mean: Array) -> Array:
        logs: Array = np.log((1.0 - bets) + bets * (values / mean[:, None])[:, None, :])
        return logs @ counts

    return growth


def _multiplied(x: Array) -> Growth:
    bets, rows = np.array(BETS), _in_blocks(x).reshape(len(x), -1)

    def growth(mean: Array) -> Array:
        rows[:, x.shape[1] :] = mean[:, None]  # at the mean itself a bet wins and loses nothing
        factors = rows[:, None, :] * (bets / mean[:, None])[:, :, None]
        factors += (1.0 - bets)[:, None]
        logs: Array = np.log(factors.reshape(len(rows), len(bets), -1, LOOK_EVERY).prod(axis=3))
        return logs

    return growth


def _in_blocks(x: Array) -> Array:
    """Shape (sequences, blocks, LOOK_EVERY), zeros after the last row."""
    blocks = np.zeros((len(x), -(-x.shape[1] // LOOK_EVERY) * LOOK_EVERY))
    blocks[:, : x.shape[1]] = x
    return blocks.reshape(len(x), -1, LOOK_EVERY)


def _check(sequences: Array, level: float) -> None:
    check_level(level)
    if sequences.ndim != 2 or not bool(np.all((sequences >= 0) & (sequences <= 1))):
        raise ValueError("expected rows of numbers from 0 to 1")
