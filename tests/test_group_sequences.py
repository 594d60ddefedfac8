"""Betting limits over groups: wrong no more often than they may be, wherever one stops, however alike rows are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shouldtune.stats import clopper_pearson
from shouldtune.stats.group_sequences import (
    group_gain_high,
    group_gain_low,
    group_gains_more_than,
    group_mean_exceeds,
    group_mean_high,
    group_mean_low,
)
from shouldtune.stats.sequences import BETS, LOOK_EVERY, exceeds, mean_high, mean_low

Rows = tuple[list[float], list[str]]


def large_ones_fail(rng: np.random.Generator, groups: int, small: float) -> Rows:
    """Groups of one row that is right, and of ten that are wrong: their mean is small / (small + 10 (1 - small))."""
    sizes = np.where(rng.random(groups) < small, 1, 10)
    names = np.repeat(np.arange(groups), sizes)
    return [float(sizes[g] == 1) for g in names], [str(g) for g in names]


def of_any_size(rng: np.random.Generator, groups: int, mean: float) -> Rows:
    """Groups of 1 to 9 rows that are all right or all wrong: an intra-group correlation of one."""
    names = np.repeat(np.arange(groups), rng.integers(1, 10, groups))
    right = rng.random(groups) < mean
    return [float(right[g]) for g in names], [str(g) for g in names]


# ---------------------------------------------------------------- the chance of ever being wrong


@pytest.mark.parametrize("groups", [5, 60])
def test_a_limit_is_right_though_large_groups_score_worse(groups: int) -> None:
    small, worlds, level = 0.9, 1000, 0.05
    truth = small / (small + 10 * (1 - small))
    wrong = 0
    for i in range(worlds):
        x, names = large_ones_fail(np.random.default_rng([groups, i]), groups, small)
        wrong += group_mean_exceeds(x, names, truth, 10, level)
    assert clopper_pearson(wrong, worlds, 0.002).low <= level


def test_a_largest_size_read_off_the_groups_would_be_wrong_far_too_often() -> None:
    """Of seven groups none is large in nearly every second world, and seven rows right prove little."""
    small, worlds, wrong = 0.9, 300, 0
    for i in range(worlds):
        x, names = large_ones_fail(np.random.default_rng([5, i]), 7, small)
        seen = max(names.count(name) for name in set(names))
        wrong += group_mean_exceeds(x, names, small / (small + 10 * (1 - small)), seen, 0.05)
    assert wrong / worlds > 0.3


@pytest.mark.parametrize("mean", [0.2, 0.5, 0.9])
def test_either_limit_is_ever_wrong_no_more_often_than_its_level(mean: float) -> None:
    """The running limit passes the mean at some group exactly where the last one does: it never widens."""
    worlds, level, low, high = 800, 0.05, 0, 0
    for i in range(worlds):
        x, names = of_any_size(np.random.default_rng([7, i]), 80, mean)
        low += group_mean_exceeds(x, names, mean, 9, level)
        high += group_mean_exceeds([1 - v for v in x], names, 1 - mean, 9, level)
    assert clopper_pearson(low, worlds, 0.002).low <= level
    assert clopper_pearson(high, worlds, 0.002).low <= level


def test_rows_taken_as_independent_are_wrong_far_more_often() -> None:
    wrong = 0
    for i in range(300):
        x, _ = of_any_size(np.random.default_rng([8, i]), 80, 0.5)
        wrong += exceeds(np.array([x]), 0.5, 0.05)[0]
    assert wrong / 300 > 0.1


def test_a_gain_over_groups_is_ever_wrong_no_more_often_than_its_level() -> None:
    worlds, level, wrong = 600, 0.05, 0
    for i in range(worlds):
        rng = np.random.default_rng([9, i])
        a, names = of_any_size(rng, 60, 0.5)
        better = rng.permutation(60) < 30
        b = [float(better[int(g)]) for g in names]
        wrong += group_gains_more_than(a, b, names, 0.0, 9, level)
    assert clopper_pearson(wrong, worlds, 0.002).low <= level


# ---------------------------------------------------------------- known values


def test_groups_of_one_are_rows_looked_at_more_often() -> None:
    x = (np.random.default_rng(0).random(40 * LOOK_EVERY) < 0.7).astype(float).tolist()
    of_rows, of_groups = mean_low(x, 0.05), group_mean_low(x, [None] * len(x), 1, 0.05)
    assert of_rows <= of_groups + 1e-5 < of_rows + 0.01
    assert group_mean_high(x, [None] * len(x), 1, 0.05) == pytest.approx(mean_high(x, 0.05), abs=0.01)


def test_the_limit_agrees_with_a_loop_over_a_grid_of_means() -> None:
    x, names = of_any_size(np.random.default_rng(3), 30, 0.7)
    whole = [(sum(v for v, n in zip(x, names, strict=True) if n == g), names.count(g)) for g in dict.fromkeys(names)]

    def most(mean: float) -> float:
        capital, looked = [1.0] * len(BETS), []
        for total, size in whole:
            capital = [c * (1 + bet / mean * (total - mean * size) / 12) for c, bet in zip(capital, BETS, strict=True)]
            looked.append(sum(capital) / len(BETS))
        return max(looked)

    refused = [mean for mean in np.linspace(0.001, 0.999, 999) if most(mean) >= 1 / 0.05]
    assert group_mean_low(x, names, 12, 0.05) == pytest.approx(max(refused), abs=0.0011)


def test_all_right_in_equal_groups_is_as_many_rows_as_groups() -> None:
    names = [str(g) for g in range(64) for _ in range(3)]
    assert group_mean_low([1.0] * 192, names, 3, 0.05) == pytest.approx(mean_low([1.0] * 64, 0.05), abs=1e-5)
    assert group_mean_high([1.0] * 192, names, 3, 0.05) == 1.0


def test_a_gain_is_seen_and_mirrors() -> None:
    x, names = of_any_size(np.random.default_rng(4), 200, 0.9)
    zeros = [0.0] * len(x)
    low, high = group_gain_low(x, zeros, names, 9, 0.05), group_gain_high(x, zeros, names, 9, 0.05)
    assert 0.5 < low < np.mean(x) < high
    assert group_gain_low(zeros, x, names, 9, 0.05) == -high


def test_a_line_is_exceeded_exactly_where_the_limit_lies_above_it() -> None:
    x, names = of_any_size(np.random.default_rng(6), 60, 0.8)
    low, gain = group_mean_low(x, names, 9, 0.05), group_gain_low(x, [0.1] * len(x), names, 9, 0.05)
    for line in (-0.5, low - 1e-4, low + 1e-4, 1.0):
        assert group_mean_exceeds(x, names, line, 9, 0.05) == (low > line)
    for line in (-1.1, gain - 1e-4, gain + 1e-4, 1.0):
        assert group_gains_more_than(x, [0.1] * len(x), names, line, 9, 0.05) == (gain > line)
    assert not group_mean_exceeds([], [], 0.5, 9, 0.05)


# ---------------------------------------------------------------- degenerate cases, failed calls, what is refused


def test_no_group_and_one_group_say_nearly_nothing() -> None:
    assert group_mean_low([], [], 5, 0.05) == 0.0
    assert group_mean_high([], [], 5, 0.05) == 1.0
    assert group_mean_low([1.0] * 5, ["a"] * 5, 5, 0.05) < 0.05
    assert group_gain_low([], [], [], 5, 0.05) == -1.0
    assert group_gain_high([1.0], [0.0], ["a"], 5, 0.05) == 1.0


def test_a_failed_call_is_the_worst_case_at_either_end() -> None:
    names = [str(g) for g in range(50) for _ in range(2)]
    x: list[float | None] = [1.0, None] * 50
    assert group_mean_low(x, names, 2, 0.05) == group_mean_low([1.0, 0.0] * 50, names, 2, 0.05)
    assert group_mean_high(x, names, 2, 0.05) == 1.0
    assert group_gain_low(x, [0.0, 0.0] * 50, names, 2, 0.05) < 0 < group_gain_high(x, [0.0] * 100, names, 2, 0.05)


def test_what_breaks_the_proof_is_refused() -> None:
    with pytest.raises(ValueError, match="a group of 3 rows, where at most 2"):
        group_mean_low([1.0] * 3, ["a"] * 3, 2, 0.05)
    with pytest.raises(ValueError, match="side by side"):
        group_mean_low([1.0] * 3, ["a", "b", "a"], 2, 0.05)
    with pytest.raises(ValueError, match="3 scores and the groups of 2"):
        group_mean_low([1.0] * 3, ["a", "b"], 2, 0.05)
    with pytest.raises(ValueError, match="from 0 to 1"):
        group_mean_low([1.0, math.nan], ["a", "b"], 2, 0.05)
    with pytest.raises(ValueError, match="level"):
        group_mean_low([1.0], ["a"], 2, 1.0)
