"""Resting what is hopeless: the chance that the rest of the rows would prove something, against what they do prove."""

from __future__ import annotations

import numpy as np
import pytest

from shouldtune.stats import clopper_pearson
from shouldtune.stats.proportions import exact_low
from shouldtune.verdict.outlook import chance_above


@pytest.mark.parametrize("seen", [64, 160, 256])
def test_the_chance_is_how_often_the_rest_of_the_rows_does_prove_it(seen: int) -> None:
    """The true mean is itself drawn from all there may be, so that what was seen is all that is known of it."""
    size, line, level, expected, proven = 320, 0.7, 0.02, [], []
    for i in range(3000):
        rng = np.random.default_rng([seen, i])
        x = (rng.random(size) < rng.random()).astype(float)
        if abs(x[:seen].mean() - line) < 0.15:  # elsewhere it is nearly certain either way
            expected.append(chance_above(x[:seen], size, line, level, 0.0))
            proven.append(exact_low(float(x.sum()), size, level) > line)
    assert np.mean(proven) == pytest.approx(np.mean(expected), abs=0.05)
    hopeless = [is_it for is_it, chance in zip(proven, expected, strict=True) if chance <= 0.03]
    assert clopper_pearson(sum(hopeless), len(hopeless), 0.01).low <= 0.03


def test_nothing_seen_may_become_anything_and_what_all_rows_have_not_proven_stays_unproven() -> None:
    assert chance_above(np.zeros(0), 100, 0.5, 0.01, 0.0) == 1.0
    assert chance_above(np.ones(100), 100, 0.5, 0.01, 0.0) == 0.0


def test_the_chance_grows_with_the_mean_and_falls_with_the_line_and_with_a_stricter_level() -> None:
    x = (np.arange(100) % 10 < 7).astype(float)
    chances = [chance_above(x, 300, line, 0.02, 0.0) for line in (0.5, 0.6, 0.65, 0.7, 0.8)]
    assert chances == sorted(chances, reverse=True)
    assert chance_above(x, 300, 0.65, 0.0001, 0.0) < chance_above(x, 300, 0.65, 0.02, 0.0)
    assert chance_above(1 - x, 300, 0.65, 0.02, 0.0) < 1e-6
    gains = np.where(np.arange(64) % 8 == 0, 1.0, 0.0)
    assert 0.2 < chance_above(gains, 300, 0.07, 0.02, -1.0) < 0.95


def test_a_few_rows_that_are_all_alike_are_no_certainty() -> None:
    assert 0.05 < chance_above(np.zeros(32), 1000, 0.03, 0.02, -1.0) < 0.6
