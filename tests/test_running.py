"""Limits that grow with their sequence are the limits of the whole prefix, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from shouldtune.stats.running import Running
from shouldtune.stats.sequences import exceeds, lower_limits

Array = NDArray[np.float64]
KINDS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "0/1": lambda rng, n: (rng.random(n) < 0.8).astype(float),
    "rare": lambda rng, n: (rng.random(n) < 0.02).astype(float),
    "all right": lambda rng, n: np.ones(n),
    "all wrong": lambda rng, n: np.zeros(n),
    "pairs": lambda rng, n: np.select([rng.random(n) < 0.2, rng.random(n) < 0.1], [1.0, 0.0], 0.5),
    "graded": lambda rng, n: rng.beta(2, 1, n),
    "graded after 0/1": lambda rng, n: np.where(np.arange(n) < n / 2, 1.0, rng.random(n)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batches", [[32, 32, 64, 96, 76], [7, 20, 5, 100, 1, 200], [333]])
def test_a_sequence_that_grows_has_the_limits_of_its_prefix(kind: str, batches: list[int]) -> None:
    x = KINDS[kind](np.random.default_rng(len(batches)), sum(batches))
    grown, n = Running(), 0
    for batch in batches:
        grown.add(x[n : n + batch])
        n += batch
        assert len(grown) == n
        for level in (0.05, 0.0007):
            assert grown.low(level) == lower_limits(x[None, :n], level)[0]
            for line in (-0.1, 0.0, 0.3, 0.7, 1.0):
                assert grown.exceeds(line, level) == exceeds(x[None, :n], line, level)[0]


def test_a_level_first_asked_for_late_is_as_if_it_had_been_asked_for_always() -> None:
    x = KINDS["0/1"](np.random.default_rng(1), 400)
    grown = Running()
    for start in range(0, 400, 100):
        grown.add(x[start : start + 100])
    assert grown.low(0.01) == lower_limits(x[None], 0.01)[0]
    assert grown.exceeds(0.7, 0.01) == exceeds(x[None], 0.7, 0.01)[0]


def test_nothing_is_known_before_the_first_row_and_a_score_that_is_none_is_refused() -> None:
    grown = Running()
    assert grown.low(0.05) == 0.0
    assert not grown.exceeds(0.0, 0.05)
    assert grown.exceeds(-0.1, 0.05)
    for wrong in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="0 to 1"):
            grown.add(np.array([0.5, wrong]))
    with pytest.raises(ValueError, match="level"):
        grown.low(0.0)
