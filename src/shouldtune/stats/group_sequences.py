"""Betting limits that hold at every prefix where the independent unit is a group of rows, of whatever size.

What is bounded is the mean over examples, E[sum of a group's scores] / E[size of a group], and a gambler's one bet is
on a whole group. With s_g the sum of its scores and k_g its size,

    capital_t(m) = product over groups g <= t of (1 + bet * (s_g - m * k_g) / largest),   0 <= bet <= 1 / m.

*Proof.* As 0 <= s_g <= k_g <= largest, the factor is at least 1 - bet * m * k_g / largest >= 0: no capital below 0.
If groups are drawn independently and alike, and the mean over examples is mu <= m, then whatever came before,
E[s_g - m * k_g] = E[s_g] - m * E[k_g] = (mu - m) * E[k_g] <= 0, so no factor is above 1 on average: the capital is a
supermartingale that starts at 1, and Ville's inequality holds as in sequences.py. Nothing is assumed of the rows
within a group. As a bet is a fixed share of 1 / m, a factor is 1 - share * k_g / largest + share * s_g / (m * largest),
which falls as m grows, so that bisection finds the limit. A group of k rows is thus one of `largest` rows of which
those that are missing score m, where a bet wins and loses nothing.

`largest` must be a number that was fixed without looking at the groups, such as a limit on how many rows of one group
are taken. Read off the very groups it tells of what is still to come: where small groups score better than large
ones, and no large one happened to be drawn, the limit is wrong far too often (a test shows it). Read off the sizes it
is right only where a group's size says nothing about its scores.

The mean over groups, each counting once, would need no such number; it is another quantity than the quality that the
verdict is about, and where groups differ in size its limit may lie on the wrong side of a goal with any number of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shouldtune.stats.sequences import BETS, Growth, limits_of, reached
from shouldtune.stats.values import Array, MaybeScores, check_level, checked, differences, filled

Groups = Sequence[str | None]
"""The name of each row's group; a row without one (None) is a group of its own."""


def group_mean_low(scores: MaybeScores, groups: Groups, largest: int, level: float) -> float:
    """The lower limit of the mean of `scores`, at any prefix of whole groups; a failed call (None) counts as 0.

    `groups` names each row's group; rows of one group stand side by side, and a last group that is not whole yet must
    be left out. Raises ValueError for a group that stands apart or has more than `largest` rows, and for no score.
    """
    return _low(checked(filled(scores, 0.0)), groups, largest, level)


def group_mean_high(scores: MaybeScores, groups: Groups, largest: int, level: float) -> float:
    """The upper limit of the mean of `scores`; a failed call (None) counts as 1."""
    return 1.0 - _low(1.0 - checked(filled(scores, 1.0)), groups, largest, level)


def group_gain_low(a: MaybeScores, b: MaybeScores, groups: Groups, largest: int, level: float) -> float:
    """The lower limit of the mean of a - b on the same rows; a pair with a failed call is -1."""
    return 2.0 * _low((differences(a, b, missing=-1.0) + 1.0) / 2.0, groups, largest, level) - 1.0


def group_gain_high(a: MaybeScores, b: MaybeScores, groups: Groups, largest: int, level: float) -> float:
    """The upper limit of the mean of a - b; a pair with a failed call is +1."""
    return -group_gain_low(b, a, groups, largest, level)


def group_mean_exceeds(scores: MaybeScores, groups: Groups, line: float, largest: int, level: float) -> bool:
    """Whether the lower limit of the mean of `scores` lies above `line`, in a twentieth of the time."""
    return _exceeds(checked(filled(scores, 0.0)), groups, line, largest, level)


def group_gains_more_than(
    a: MaybeScores, b: MaybeScores, groups: Groups, line: float, largest: int, level: float
) -> bool:
    """Whether the lower limit of the mean of a - b lies above `line`."""
    return _exceeds((differences(a, b, missing=-1.0) + 1.0) / 2.0, groups, (line + 1.0) / 2.0, largest, level)


def _low(x: Array, groups: Groups, largest: int, level: float) -> float:
    check_level(level)
    growth = _growth(x, groups, largest)
    return float(limits_of(growth, 1, level)[0]) if x.size else 0.0


def _exceeds(x: Array, groups: Groups, line: float, largest: int, level: float) -> bool:
    check_level(level)
    growth = _growth(x, groups, largest)
    if line <= 0 or line >= 1:
        return line < 0
    return bool(reached(growth, np.array([line]), level)[0])


def _growth(x: Array, groups: Groups, largest: int) -> Growth:
    """One sequence, looked at after every group."""
    found = _sizes(groups, len(x))
    if found.max(initial=0) > largest:
        raise ValueError(f"a group of {found.max()} rows, where at most {largest} were foreseen")
    bets, sizes = np.array(BETS)[:, None], found / largest
    sums = np.add.reduceat(x, np.cumsum(found) - found) / largest if x.size else x

    def growth(mean: Array) -> Array:
        logs: Array = np.log1p(bets * (sums / mean[0] - sizes))
        return logs[None]

    return growth


def _sizes(groups: Groups, rows: int) -> NDArray[np.int64]:
    """How many rows each group has, in their order."""
    if len(groups) != rows:
        raise ValueError(f"{rows} scores and the groups of {len(groups)}")
    starts = [i for i, name in enumerate(groups) if i == 0 or name is None or name != groups[i - 1]]
    names = [groups[i] for i in starts if groups[i] is not None]
    if len(set(names)) < len(names):
        raise ValueError("rows of one group must stand side by side")
    ends = np.array([*starts[1:], rows], dtype=np.int64) if starts else np.zeros(0, dtype=np.int64)
    return ends - np.array(starts, dtype=np.int64)
