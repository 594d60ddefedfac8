"""Limits that hold at every prefix: against worlds of known truth, and against a slower way to compute them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from shouldtune.stats import clopper_pearson
from shouldtune.stats.sequences import (
    BETS,
    exceeds,
    gain_high,
    gain_low,
    gains_more_than,
    lower_limits,
    mean_high,
    mean_low,
)

Array = NDArray[np.float64]


def draws(kind: str, mean: float, sequences: int, n: int) -> Array:
    rng = np.random.default_rng(round(mean * 1000))
    if kind == "0/1":
        return (rng.random((sequences, n)) < mean).astype(float)
    if kind == "graded":
        return rng.beta(2 * mean, 2 * (1 - mean), (sequences, n))
    apart = rng.random((sequences, n))  # paired differences, moved to 0..1: mostly equal, sometimes apart
    return np.select([apart < 0.1 + (mean - 0.5) * 2, apart < 0.2 + (mean - 0.5) * 2], [1.0, 0.0], 0.5)


# ---------------------------------------------------------------- the chance of ever being wrong


@pytest.mark.parametrize(
    ("kind", "mean"),
    [("0/1", 0.05), ("0/1", 0.5), ("0/1", 0.9), ("0/1", 0.99), ("graded", 0.3), ("graded", 0.8), ("pairs", 0.515)],
)
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_a_limit_is_ever_wrong_no_more_often_than_its_level(kind: str, mean: float, level: float) -> None:
    """The running limit passes the mean at some prefix exactly where the one at the end lies above it."""
    sequences = 4000
    wrong = int(exceeds(draws(kind, mean, sequences, 512), mean, level).sum())
    assert clopper_pearson(wrong, sequences, 0.002).low <= level


def test_a_mean_at_the_line_is_never_exceeded_when_there_is_no_noise() -> None:
    assert not exceeds(np.full((1, 2000), 0.7), 0.7, 0.05)[0]
    assert exceeds(np.full((1, 2000), 0.7), 0.69, 0.05)[0]


# ---------------------------------------------------------------- known values


def test_all_right_has_the_closed_form_of_capital_that_only_grows() -> None:
    found = lower_limits(np.ones((1, 60)), 0.01)[0]
    capital = sum((1 + bet * (1 / found - 1)) ** 60 for bet in BETS) / len(BETS)
    assert math.log(capital) == pytest.approx(math.log(100), abs=0.01)
    assert found < clopper_pearson(60, 60, 0.02).low  # what looking after every row costs
    assert found > 0.89


@pytest.mark.parametrize("kind", ["0/1", "graded"])
def test_the_limit_agrees_with_a_loop_over_a_grid_of_means(kind: str) -> None:
    x = draws(kind, 0.7, 1, 96)[0]
    grid = np.linspace(0.001, 0.999, 999)

    def most(mean: float) -> float:
        capital, looked = [1.0] * len(BETS), []
        for row, value in enumerate(x, 1):
            capital = [c * (1 + bet / mean * (value - mean)) for c, bet in zip(capital, BETS, strict=True)]
            looked += [sum(capital) / len(BETS)] if row % 32 == 0 else []
        return max(looked)

    refused = [mean for mean in grid if most(mean) >= 1 / 0.05]
    assert lower_limits(x[None, :], 0.05)[0] == pytest.approx(max(refused), abs=0.0011)
    assert refused == list(grid[: len(refused)])  # falls as the mean grows, so that bisection is right


def test_all_equal_closes_in_on_the_value_and_never_reaches_it() -> None:
    for value in (0.0, 0.25, 1.0):
        low, high = mean_low([value] * 1000, 0.005), mean_high([value] * 1000, 0.005)
        assert low <= value <= high
        assert high - low < 0.15
    assert mean_low([0.0] * 50, 0.05) == 0.0
    assert mean_high([1.0] * 50, 0.05) == 1.0


def test_one_row_and_none_say_nearly_nothing() -> None:
    assert mean_low([], 0.05) == 0.0
    assert mean_high([], 0.05) == 1.0
    assert mean_low([1.0], 0.05) < 0.05
    assert gain_low([], [], 0.05) == -1.0
    assert gain_high([1.0], [0.0], 0.05) == 1.0


def test_a_limit_never_widens_as_rows_are_added_and_is_wider_at_a_smaller_level() -> None:
    x = draws("0/1", 0.6, 1, 300)[0]
    lows = [mean_low(list(x[:n]), 0.05) for n in range(0, 301, 32)]
    assert lows == sorted(lows)
    assert mean_low(list(x), 0.001) < mean_low(list(x), 0.01) < mean_low(list(x), 0.1)


def test_the_upper_limit_mirrors_the_lower_one() -> None:
    x = list(draws("graded", 0.4, 1, 200)[0])
    assert mean_high(x, 0.02) == pytest.approx(1 - mean_low([1 - v for v in x], 0.02))
    assert gain_high(x, [0.5] * 200, 0.02) == pytest.approx(-gain_low([0.5] * 200, x, 0.02))


def test_a_paired_gain_is_seen_with_fewer_rows_than_two_means_apart() -> None:
    b = draws("0/1", 0.5, 1, 400)[0]
    a = np.maximum(b, draws("0/1", 0.2, 1, 400)[0])
    gain = float((a - b).mean())
    low, high = gain_low(list(a), list(b), 0.01), gain_high(list(a), list(b), 0.01)
    assert low < gain < high
    assert low > mean_low(list(a), 0.005) - mean_high(list(b), 0.005)
    assert gains_more_than(list(a), list(b), low - 0.001, 0.01)
    assert not gains_more_than(list(a), list(b), low + 0.001, 0.01)


# ---------------------------------------------------------------- failed calls, and what is refused


def test_a_failed_call_is_the_worst_case_at_either_end() -> None:
    x: list[float | None] = [1.0, 0.0] * 60
    holed = [None if i % 20 == 0 else value for i, value in enumerate(x)]
    zeros, ones = ([v if v is not None else fill for v in holed] for fill in (0.0, 1.0))
    assert mean_low(holed, 0.05) == mean_low(zeros, 0.05)
    assert mean_high(holed, 0.05) == mean_high(ones, 0.05)
    assert gain_low(holed, x, 0.05) < gain_low(x, x, 0.05)
    assert gain_high(holed, x, 0.05) > gain_high(x, x, 0.05)


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_what_is_no_score_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        lower_limits(np.array([[0.5, bad]]), 0.05)
    with pytest.raises(ValueError, match="to 1"):
        gain_low([bad], [0.5], 0.05)


def test_a_level_or_a_shape_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="level"):
        lower_limits(np.ones((1, 3)), 0.0)
    with pytest.raises(ValueError, match="rows of numbers"):
        lower_limits(np.ones(3), 0.05)
    with pytest.raises(ValueError, match="1 scores beside 2"):
        gain_low([1.0], [1.0, 0.0], 0.05)
