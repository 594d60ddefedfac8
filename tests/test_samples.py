"""pass@k: known values, right on average, and what it says of answers that never came."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from shouldtune.measure import pass_at
from shouldtune.stats import mean_pass_at_k, pass_at_k
from shouldtune.types import Completion, Prediction, Score


@pytest.mark.parametrize(
    ("answers", "right", "k", "wanted"),
    [(10, 3, 1, 0.3), (10, 3, 10, 1.0), (5, 2, 2, 0.7), (10, 0, 5, 0.0), (4, 3, 2, 1.0), (200, 1, 100, 0.5)],
)
def test_pass_at_k_has_known_values(answers: int, right: int, k: int, wanted: float) -> None:
    assert pass_at_k(answers, right, k) == pytest.approx(wanted)


def test_pass_at_k_is_the_share_of_all_draws_of_k_that_hold_a_right_answer() -> None:
    for right in range(7):
        draws = list(combinations([True] * right + [False] * (6 - right), 3))
        assert pass_at_k(6, right, 3) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_is_right_on_average_where_the_plain_formula_is_too_low() -> None:
    draw = np.random.default_rng(0)
    found = [(int(right), 5) for right in draw.binomial(5, 0.2, 20_000)]
    truth = 1 - 0.8**4
    assert np.mean([pass_at_k(n, right, 4) or 0.0 for right, n in found]) == pytest.approx(truth, abs=0.01)
    assert np.mean([1 - (1 - right / n) ** 4 for right, n in found]) < truth - 0.05


def test_what_cannot_be_known_is_none_and_what_cannot_be_is_refused() -> None:
    assert pass_at_k(3, 1, 4) is None
    assert mean_pass_at_k([], 1) is None
    assert mean_pass_at_k([(3, 1), (2, 2)], 3) is None
    for answers, right, k in ((3, 4, 1), (3, -1, 1), (3, 1, 0)):
        with pytest.raises(ValueError, match="answers"):
            pass_at_k(answers, right, k)


def test_predictions_of_several_times_are_put_together_by_example() -> None:
    def answered(name: str, value: float | None) -> Prediction:
        return Prediction(name, Completion(""), None if value is None else Score(value))

    twice = [answered("a", 1.0), answered("a", 0.0), answered("b", 0.0), answered("b", 0.0)]
    assert pass_at(1, twice) == pytest.approx(0.25)
    assert pass_at(2, twice) == pytest.approx(0.5)
    assert pass_at(2, [*twice, answered("c", 1.0), answered("c", None)]) is None
