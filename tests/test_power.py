"""What n examples can show: against statsmodels where it has the same, and against draws of what really is shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower, normal_sample_size_one_tail

from shouldtune.stats import (
    examples_for_goal,
    examples_needed,
    graded_examples_needed,
    paired_interval,
    perfect_proves,
    smallest_visible_gain,
    smallest_visible_graded_gain,
    tango,
)


def test_a_gain_of_five_points_with_a_fifth_disagreeing_takes_626_examples() -> None:
    assert examples_needed(0.05, alpha=0.05, power=0.8, disagreement=0.2) == 626
    assert smallest_visible_gain(626, alpha=0.05, power=0.8, disagreement=0.2) == pytest.approx(0.05, abs=1e-4)


def test_the_examples_needed_show_the_gain_four_times_in_five() -> None:
    n, rng = examples_needed(0.1, alpha=0.05, disagreement=0.3), np.random.default_rng(0)
    seen = rng.multinomial(n, [0.2, 0.1, 0.7], 400)
    shown = [tango(int(gains), int(losses), n, 0.05).low > 0 for gains, losses, _ in seen]
    assert 0.74 < np.mean(shown) < 0.87


def test_no_gain_is_visible_on_a_handful() -> None:
    assert smallest_visible_gain(3, alpha=0.05) is None
    assert smallest_visible_gain(0, alpha=0.05) is None
    with pytest.raises(ValueError, match="gain 0"):
        examples_needed(0.0, alpha=0.05)


def test_fifty_of_fifty_right_cannot_prove_ninety_percent_at_a_tenth_of_alpha() -> None:
    assert not perfect_proves(50, 0.90, alpha=2 * 0.05 / 10)
    assert perfect_proves(51, 0.90, alpha=2 * 0.05 / 10)
    assert examples_for_goal(0.90, alpha=2 * 0.05 / 10) == 51


@pytest.mark.parametrize("goal", [0.0, 0.3, 0.5, 0.8, 0.95, 0.999])
def test_examples_for_goal_is_the_fewest_that_prove_it(goal: float) -> None:
    n = examples_for_goal(goal, alpha=0.01)
    assert n is not None
    assert perfect_proves(n, goal, 0.01)
    assert n == 1 or not perfect_proves(n - 1, goal, 0.01)
    assert examples_for_goal(1.0, alpha=0.01) is None


@pytest.mark.parametrize(("gain", "disagreement"), [(0.02, 0.1), (0.05, 0.2), (0.1, 0.5), (0.3, 0.3)])
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9)])
def test_examples_for_right_and_wrong_agree_with_statsmodels(
    gain: float, disagreement: float, alpha: float, power: float
) -> None:
    theirs = normal_sample_size_one_tail(
        gain, power, alpha / 2, std_null=math.sqrt(disagreement), std_alternative=math.sqrt(disagreement - gain**2)
    )
    assert examples_needed(gain, alpha, power, disagreement) == math.ceil(theirs)


@pytest.mark.parametrize(("gain", "spread"), [(0.02, 0.1), (0.03, 0.35), (0.1, 0.3), (0.2, 0.25)])
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9)])
def test_examples_for_graded_scores_agree_with_statsmodels(
    gain: float, spread: float, alpha: float, power: float
) -> None:
    theirs = TTestPower().solve_power(gain / spread, alpha=alpha, power=power, alternative="two-sided")
    assert abs(graded_examples_needed(gain, alpha, spread, power, by_student=True) - theirs) <= 1.5


@pytest.mark.parametrize(("disagreement", "gain"), [(0.15, 0.05), (0.4, 0.08)])
def test_the_smallest_visible_gain_is_shown_as_often_as_it_says(disagreement: float, gain: float) -> None:
    n, rng = examples_needed(gain, alpha=0.05, disagreement=disagreement), np.random.default_rng(1)
    visible = smallest_visible_gain(n, alpha=0.05, disagreement=disagreement)
    assert visible == pytest.approx(gain, abs=1e-3)
    shares = [(disagreement + visible) / 2, (disagreement - visible) / 2, 1 - disagreement]
    shown = [tango(int(g), int(k), n, 0.05).low > 0 for g, k, _ in rng.multinomial(n, shares, 1000)]
    assert 0.76 < np.mean(shown) < 0.85


@pytest.mark.parametrize(("n", "spread", "alpha"), [(30, 0.2, 0.05), (60, 0.2, 0.005), (150, 0.35, 0.05)])
def test_the_smallest_visible_graded_gain_is_shown_as_often_as_it_says(n: int, spread: float, alpha: float) -> None:
    gain = smallest_visible_graded_gain(n, alpha, spread)
    assert gain is not None
    shown, worlds = 0, 250
    for i in range(worlds):
        d = np.clip(np.random.default_rng([n, i]).normal(gain, spread, n), -1, 1)
        shown += paired_interval(np.maximum(d, 0), np.maximum(-d, 0), alpha).low > 0
    assert 0.73 < shown / worlds < 0.9
    assert graded_examples_needed(gain, alpha, spread) == pytest.approx(n, abs=1)


def test_what_decides_takes_more_graded_examples_than_students_test() -> None:
    """3 points with a spread of 0.2: Student's test sees only what is there, and no disaster beyond."""
    assert graded_examples_needed(0.03, 0.05, 0.2, by_student=True) == 351
    assert 400 < graded_examples_needed(0.03, 0.05, 0.2) < 460


def test_a_handful_shows_no_graded_gain_and_what_is_no_share_is_refused() -> None:
    assert graded_examples_needed(0.1, 0.05, 0.0, by_student=True) == 2
    assert graded_examples_needed(0.1, 0.05, 0.0) > 10
    assert smallest_visible_graded_gain(1, 0.05, 0.2) is None
    assert smallest_visible_graded_gain(0, 0.05, 0.2) is None
    for gain, spread in ((0.0, 0.1), (math.nan, 0.1), (0.1, math.nan), (0.1, 1.1), (1.1, 0.2)):
        with pytest.raises(ValueError, match="gain"):
            graded_examples_needed(gain, 0.05, spread)
