"""A few seeds of one fine-tune: what they say of seeds that were not trained."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from shouldtune.judgement import Interval
from shouldtune.stats import (
    between_seeds,
    mean_interval,
    paired_interval,
    seed_gain_interval,
    seed_mean_interval,
    wilson,
)

Array = NDArray[np.float64]


def trained(rng: np.random.Generator, seeds: int, examples: int, spread: float) -> Array:
    """0/1 scores, shape (seeds, examples): a luck for each seed, a difficulty for each example; 0.5 in expectation."""
    logits = rng.normal(0, 1.5, examples) + rng.normal(0, spread, seeds)[:, None]
    return (rng.random((seeds, examples)) < 1 / (1 + np.exp(-logits))).astype(float)


def test_both_arms_are_put_together() -> None:
    table = trained(np.random.default_rng(0), 4, 200, 0.5)
    alone = mean_interval(table.mean(axis=0), 0.05)
    found = seed_mean_interval(table.tolist(), 0.05)
    arm = scipy_stats.t.isf(0.025, 3) * table.mean(axis=1).std(ddof=1) / 2
    mean = table.mean()
    assert found.low == pytest.approx(mean - math.sqrt((mean - alone.low) ** 2 + arm**2))
    assert found.high == pytest.approx(mean + math.sqrt((alone.high - mean) ** 2 + arm**2))
    assert (found.estimate, found.n) == (pytest.approx(mean), 4)


def test_a_gain_has_the_same_seeds_arm_beside_the_paired_one() -> None:
    rng = np.random.default_rng(1)
    table, other = trained(rng, 3, 200, 0.3), rng.random(200) * 0.6
    alone = paired_interval(table.mean(axis=0), other, 0.05)
    found = seed_gain_interval(table.tolist(), other.tolist(), 0.05)
    arm = scipy_stats.t.isf(0.025, 2) * table.mean(axis=1).std(ddof=1) / math.sqrt(3)
    gain = table.mean() - other.mean()
    assert found.low == pytest.approx(max(-1.0, gain - math.sqrt((gain - alone.low) ** 2 + arm**2)))
    assert found.high == pytest.approx(min(1.0, gain + math.sqrt((alone.high - gain) ** 2 + arm**2)))
    assert found.estimate == pytest.approx(gain)


def test_the_spread_is_that_of_the_means_where_all_answered() -> None:
    assert between_seeds([[1.0, 0.0, None], [1.0, 1.0, 1.0]]) == pytest.approx(np.std([0.5, 1.0], ddof=1))
    assert between_seeds([[1.0, 0.0]]) is None
    assert between_seeds([]) is None
    assert between_seeds([[None], [1.0]]) is None


@pytest.mark.parametrize(("seeds", "examples"), [(2, 100), (3, 100), (5, 300)])
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_the_expected_score_over_seeds_is_covered(seeds: int, examples: int, spread: float) -> None:
    worlds, missed = 150, 0
    for i in range(worlds):
        table = trained(np.random.default_rng([seeds, i]), seeds, examples, spread)
        found = seed_mean_interval(table.tolist(), 0.05)
        missed += not found.low <= 0.5 <= found.high
    assert missed <= scipy_stats.binom.isf(0.01, worlds, 0.05)


def test_seeds_pooled_as_examples_or_forgotten_miss_it_far_more_often() -> None:
    worlds, pooled, forgotten = 300, 0, 0
    for i in range(worlds):
        table = trained(np.random.default_rng([3, i]), 3, 200, 0.6)
        as_rows, as_one = wilson(table.sum(), table.size, 0.05), wilson(table.sum() / 3, 200, 0.05)
        pooled += not as_rows.low <= 0.5 <= as_rows.high
        forgotten += not as_one.low <= 0.5 <= as_one.high
    assert pooled / worlds > 0.3
    assert forgotten / worlds > 0.1


def test_the_gain_over_another_approach_is_covered() -> None:
    worlds, missed = 150, 0
    for i in range(worlds):
        rng = np.random.default_rng([4, i])
        table, other = trained(rng, 3, 150, 0.4), (rng.random(150) < 0.4).astype(float)
        found = seed_gain_interval(table.tolist(), other.tolist(), 0.05)
        missed += not found.low <= 0.1 <= found.high
    assert missed <= scipy_stats.binom.isf(0.01, worlds, 0.05)


# ---------------------------------------------------------------- degenerate cases


def test_one_seed_says_nothing_of_others() -> None:
    assert seed_mean_interval([[1.0, 0.0, 1.0, 1.0]], 0.05) == Interval(0.75, 0.0, 1.0, 1)
    assert seed_gain_interval([[1.0] * 8], [0.0] * 8, 0.05) == Interval(1.0, -1.0, 1.0, 1)


def test_seeds_that_agree_leave_the_interval_of_the_examples() -> None:
    perfect, exact = seed_mean_interval([[1.0] * 50] * 3, 0.05), mean_interval([1.0] * 50, 0.05)
    assert (perfect.low, perfect.high) == pytest.approx((exact.low, exact.high))
    equal = seed_mean_interval([[0.5] * 50] * 3, 0.05)
    assert equal.high - equal.low > 0.1
    one_example = seed_mean_interval([[1.0], [0.0]], 0.05)
    assert (one_example.low, one_example.high) == (0.0, 1.0)


def test_nothing_measured_leaves_the_whole_range() -> None:
    assert seed_mean_interval([], 0.05) == Interval(None, 0.0, 1.0, 0)
    assert seed_mean_interval([[], []], 0.05) == Interval(None, 0.0, 1.0, 2)
    assert seed_gain_interval([], [], 0.05) == Interval(None, -1.0, 1.0, 0)
    assert seed_mean_interval([[None], [None]], 0.05).estimate is None


def test_a_failed_call_is_the_worst_case_at_either_end() -> None:
    table = trained(np.random.default_rng(5), 3, 100, 0.3).tolist()
    whole = seed_mean_interval(table, 0.05)
    table[1][:10] = [None] * 10
    holed = seed_mean_interval(table, 0.05)
    assert holed.low < whole.low < whole.high < holed.high
    assert holed.estimate == pytest.approx(np.mean([row[10:] for row in table]))
    other: list[float | None] = [None] * 5 + [0.5] * 95
    gain = seed_gain_interval(table, other, 0.05)
    assert gain.estimate == pytest.approx(np.mean([row[10:] for row in table]) - 0.5)


def test_what_is_no_score_or_another_set_of_examples_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        seed_mean_interval([[0.5, math.nan], [0.5, 0.5]], 0.05)
    with pytest.raises(ValueError, match="same examples"):
        seed_mean_interval([[0.5, 0.5], [0.5]], 0.05)
    with pytest.raises(ValueError, match="level"):
        seed_mean_interval([[0.5, 0.5]] * 2, 1.5)
