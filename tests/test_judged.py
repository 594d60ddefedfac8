"""A judge corrected by people: the published estimate by hand, and what is covered with a judge that is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from shouldtune.judgement import Interval
from shouldtune.stats import judged_mean, mean_interval

Array = NDArray[np.float64]


def lenient(rng: np.random.Generator, labelled: int, others: int, passed: float) -> tuple[Array, Array, Array]:
    """People find 0.6 right; the judge agrees, but passes this share of what is wrong."""
    human = (rng.random(labelled + others) < 0.6).astype(float)
    judge = np.where((human == 0) & (rng.random(human.size) < passed), 1.0, human)
    return human[:labelled], judge[:labelled], judge[labelled:]


def graded(rng: np.random.Generator, labelled: int, others: int) -> tuple[Array, Array, Array]:
    """People grade 0.5 on average; the judge adds 0.1 and noise."""
    human = rng.beta(3, 3, labelled + others)
    judge = np.clip(human + 0.1 + rng.normal(0, 0.1, human.size), 0, 1)
    return human[:labelled], judge[:labelled], judge[labelled:]


def test_the_estimate_the_weight_and_the_error_agree_with_the_formulas_by_hand() -> None:
    """Angelopoulos, Duchi & Zrnic 2023, the mean: written out in sums."""
    human, judge, others = graded(np.random.default_rng(0), 60, 240)
    found = judged_mean(human, judge, others, 0.05)
    all_f = [*judge, *others]
    middle = sum(all_f) / 300
    variance = sum((f - middle) ** 2 for f in all_f) / 299
    covariance = sum((y - human.sum() / 60) * (f - judge.sum() / 60) for y, f in zip(human, judge, strict=True)) / 59
    weight = covariance / ((1 + 60 / 240) * variance)
    assert 0.3 < weight < 1
    assert found.weight == pytest.approx(weight)
    rest = [y - weight * f for y, f in zip(human, judge, strict=True)]
    assert found.mean.estimate == pytest.approx(weight * sum(others) / 240 + sum(rest) / 60)
    of_others = sum((f - sum(others) / 240) ** 2 for f in others) / 239
    of_rest = sum((r - sum(rest) / 60) ** 2 for r in rest) / 59
    assert found.error == pytest.approx(math.sqrt(weight**2 * of_others / 240 + of_rest / 60))
    assert found.mean.n == 60


def test_with_many_labels_the_interval_is_the_published_one() -> None:
    human, judge, others = graded(np.random.default_rng(1), 3000, 9000)
    found = judged_mean(human, judge, others, 0.05)
    assert found.error is not None
    assert found.mean.estimate is not None
    arm = 1.96 * found.error
    assert found.mean.low == pytest.approx(found.mean.estimate - arm, abs=0.12 * arm)
    assert found.mean.high == pytest.approx(found.mean.estimate + arm, abs=0.12 * arm)


def test_a_good_judge_is_worth_many_labels_and_a_useless_one_costs_next_to_nothing() -> None:
    rng = np.random.default_rng(2)
    human, judge, others = lenient(rng, 200, 4000, 0.1)
    alone = mean_interval(human, 0.05)
    helped = judged_mean(human, judge, others, 0.05)
    assert helped.mean.high - helped.mean.low < 0.75 * (alone.high - alone.low)
    useless = judged_mean(human, rng.random(200), rng.random(4000), 0.05)
    assert useless.weight < 0.2
    assert useless.mean.high - useless.mean.low < 1.2 * (alone.high - alone.low)


def test_a_judge_that_says_the_contrary_gets_no_weight() -> None:
    human, judge, others = lenient(np.random.default_rng(3), 100, 500, 0.1)
    found = judged_mean(human, 1 - judge, 1 - others, 0.05)
    assert (found.weight, found.mean) == (0.0, mean_interval(human, 0.05))


# ---------------------------------------------------------------- coverage


@pytest.mark.parametrize("passed", [0.05, 0.4])
@pytest.mark.parametrize(("labelled", "others"), [(20, 500), (60, 100), (60, 2000)])
def test_each_end_errs_at_most_about_its_level_with_a_lenient_judge(passed: float, labelled: int, others: int) -> None:
    level, worlds = 0.025, 200
    low = high = 0
    for i in range(worlds):
        rows = lenient(np.random.default_rng([labelled, others, i]), labelled, others, passed)
        found = judged_mean(*rows, 2 * level).mean
        low, high = low + (found.low > 0.6), high + (found.high < 0.6)
    most = scipy_stats.binom.isf(0.005, worlds, 1.2 * level)
    assert low <= most
    assert high <= most


def test_the_judge_alone_and_the_published_interval_on_few_labels_err_far_more_often() -> None:
    worlds, alone, published = 300, 0, 0
    for i in range(worlds):
        human, judge, others = lenient(np.random.default_rng([1, i]), 30, 2000, 0.05)
        found = judged_mean(human, judge, others, 0.05)
        assert found.error is not None
        estimate = found.weight * others.mean() + (human - found.weight * judge).mean()
        published += abs(estimate - 0.6) > 1.96 * found.error
        alone += mean_interval(others, 0.05).low > 0.6
    assert alone / worlds > 0.3
    assert published / worlds > 0.1


def test_each_end_errs_about_its_level_for_graded_scores() -> None:
    level, worlds = 0.05, 150
    low = high = 0
    for i in range(worlds):
        found = judged_mean(*graded(np.random.default_rng([5, i]), 60, 300), 2 * level).mean
        low, high = low + (found.low > 0.5), high + (found.high < 0.5)
    most = scipy_stats.binom.isf(0.01, worlds, 1.2 * level)
    assert low <= most
    assert high <= most


# ---------------------------------------------------------------- degenerate cases


def test_without_unlabelled_rows_the_human_scores_stand_alone() -> None:
    human, judge, _ = lenient(np.random.default_rng(4), 40, 1, 0.2)
    found = judged_mean(human, judge, [], 0.05)
    assert (found.weight, found.mean) == (0.0, mean_interval(human, 0.05))
    assert found.error == pytest.approx(human.std(ddof=1) / math.sqrt(40))


def test_one_label_corrects_nothing_and_none_leaves_the_whole_range() -> None:
    one = judged_mean([1.0], [1.0], [1.0] * 900, 0.05)
    assert (one.weight, one.mean, one.error) == (0.0, mean_interval([1.0], 0.05), None)
    none = judged_mean([], [], [1.0] * 900, 0.05)
    assert (none.weight, none.mean, none.error) == (0.0, Interval(None, 0.0, 1.0, 0), None)


def test_where_all_is_right_the_judge_adds_nothing() -> None:
    found = judged_mean([1.0] * 50, [1.0] * 50, [1.0] * 5000, 0.05)
    assert found.mean == mean_interval([1.0] * 50, 0.05)
    assert judged_mean([0.3] * 50, [0.6] * 50, [0.6, 0.5] * 90, 0.05).weight == 0.0


def test_a_judge_never_seen_wrong_is_still_not_taken_for_granted() -> None:
    human, _, _ = lenient(np.random.default_rng(6), 50, 1, 0.0)
    found = judged_mean(human, human, np.repeat([0.0, 1.0], [4000, 6000]), 0.05)
    assert found.mean.high - found.mean.low > 0.05  # 1 in 20 may be judged wrong, and 50 labels would not show it


def test_one_unlabelled_row_is_enough_to_be_counted() -> None:
    human, judge, others = lenient(np.random.default_rng(7), 50, 1, 0.1)
    found = judged_mean(human, judge, others, 0.05)
    assert 0 < found.weight < 0.05
    assert 0 <= found.mean.low < found.mean.high <= 1


def test_what_is_no_score_is_refused() -> None:
    for human, judge, others in (([math.nan], [1.0], [1.0]), ([1.0], [math.nan], []), ([1.0], [1.0], [1.1])):
        with pytest.raises(ValueError, match="from 0 to 1"):
            judged_mean(human, judge, others, 0.05)
    with pytest.raises(ValueError, match="2 human scores and 1"):
        judged_mean([1.0, 0.0], [1.0], [], 0.05)
    with pytest.raises(ValueError, match="level"):
        judged_mean([1.0], [1.0], [], 0.0)
