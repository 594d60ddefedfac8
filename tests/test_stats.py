"""Every statistic against a trusted value, and every interval against a world whose truth is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from shouldtune.judgement import Interval
from shouldtune.stats import (
    ScoreArray,
    bca_interval,
    bootstrap,
    clopper_pearson,
    holm,
    mcnemar_exact,
    mean_interval,
    mean_limits,
    paired_interval,
    paired_limits,
    permutation_paired,
    significance,
    tango,
    wilson,
)
from shouldtune.stats.bootstrap import bca_low
from shouldtune.stats.distributions import NORMAL, beta_below, student_quantile

COUNTS = [(0, 10), (1, 10), (9, 10), (10, 10), (37, 192), (175, 192), (500, 1000)]


def pairs(gains: int, losses: int, n: int) -> tuple[list[float], list[float]]:
    same = n - gains - losses
    return [1.0] * gains + [0.0] * losses + [1.0] * same, [0.0] * gains + [1.0] * losses + [1.0] * same


# ---------------------------------------------------------------- known values


@pytest.mark.parametrize(("successes", "n"), COUNTS)
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_wilson_and_clopper_pearson_agree_with_statsmodels(successes: int, n: int, alpha: float) -> None:
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "beta")):
        found = ours(successes, n, alpha)
        assert (found.low, found.high) == pytest.approx(proportion_confint(successes, n, alpha, method), abs=1e-9)
        assert (found.estimate, found.n) == (successes / n, n)


def test_wilson_takes_a_sum_of_graded_scores() -> None:
    assert wilson(2, 10, 0.05).low < wilson(2.5, 10, 0.05).low < wilson(3, 10, 0.05).low


def test_clopper_pearson_rounds_a_fractional_sum_outwards() -> None:
    found = clopper_pearson(98.5, 100, 0.05)
    assert found.low == clopper_pearson(98, 100, 0.05).low
    assert found.high == clopper_pearson(99, 100, 0.05).high


def test_tango_gives_the_published_interval_for_airway_hyperresponsiveness() -> None:
    """1 child of 21 improved one way and 7 the other: -0.517 to -0.026 (Fagerland, Lydersen & Laake 2014)."""
    found = tango(1, 7, 21, 0.05)
    assert (round(found.low, 3), round(found.high, 3)) == (-0.517, -0.026)


def test_tango_with_no_disagreement_is_the_closed_form() -> None:
    z2 = 1.959963984540054**2
    found = tango(0, 0, 100, 0.05)
    assert (found.low, found.high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)), abs=1e-9)


@pytest.mark.parametrize(("gains", "losses", "n"), [(12, 3, 40), (3, 12, 40), (5, 0, 60), (0, 7, 30), (30, 30, 200)])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_tango_inverts_the_score_test_whose_likelihood_is_maximised_by_brute_force(
    gains: int, losses: int, n: int, alpha: float
) -> None:
    found = tango(gains, losses, n, alpha)
    for end in (found.low, found.high):

        def surprise(share: float, end: float = end) -> float:
            cells = [(gains, share + end), (losses, share), (n - gains - losses, 1 - 2 * share - end)]
            return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

        least, most = max(0.0, -end), (1 - end) / 2
        share = optimize.minimize_scalar(surprise, bounds=(least, most), method="bounded", options={"xatol": 1e-10}).x
        score = (gains - losses - n * end) / math.sqrt(n * (2 * share + end - end * end))
        assert abs(score) == pytest.approx(scipy_stats.norm.isf(alpha / 2), rel=1e-3)


def test_tango_mirrors_when_the_two_change_places() -> None:
    one, other = tango(12, 3, 40, 0.05), tango(3, 12, 40, 0.05)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.parametrize("shape", [(4, 1), (1, 5), (2, 2)])
def test_bca_agrees_with_scipy_but_for_the_worst_value_and_student(shape: tuple[float, float]) -> None:
    x = np.random.default_rng(3).beta(*shape, 200)
    theirs = scipy_stats.bootstrap((np.append(x, 0.0),), np.mean, confidence_level=0.95, rng=1, n_resamples=20_000)
    ours = bca_low(x, 0.0, 0.025)
    arm = np.append(x, 0.0).mean() - theirs.confidence_interval.low
    assert ours == pytest.approx(theirs.confidence_interval.low, abs=0.1 * arm)


@pytest.mark.parametrize(("shape", "n"), [((4, 1), 30), ((1, 5), 80), ((2, 2), 400)])
@pytest.mark.parametrize("alpha", [0.1, 0.01])
def test_bca_as_published_agrees_with_scipy(shape: tuple[float, float], n: int, alpha: float) -> None:
    x = np.random.default_rng(n).beta(*shape, n)
    theirs = scipy_stats.bootstrap((x,), np.mean, confidence_level=1 - alpha, rng=1, n_resamples=40_000)
    ours, (low, high) = bca_interval(x, alpha, seed=2, resamples=40_000), theirs.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.03 * (high - low))
    assert (ours.estimate, ours.n) == (x.mean(), n)


def test_bca_as_published_says_nothing_where_nothing_can_be_resampled() -> None:
    assert bca_interval([], 0.05, seed=0) == Interval(None, 0.0, 1.0, 0)
    assert bca_interval([0.4], 0.05, seed=0) == Interval(0.4, 0.0, 1.0, 1)
    assert bca_interval([1.0] * 90, 0.05, seed=0) == Interval(1.0, 0.0, 1.0, 90)
    assert bca_interval([-0.5] * 9, 0.05, seed=0, least=-1.0) == Interval(-0.5, -1.0, 1.0, 9)
    with pytest.raises(ValueError, match="from 0 to 1"):
        bca_interval([0.5, math.nan], 0.05, seed=0)


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 9, 30, 5000])
@pytest.mark.parametrize("level", [0.4, 0.025, 0.005, 1e-6])
def test_students_quantile_agrees_with_scipy(freedom: float, level: float) -> None:
    assert student_quantile(level, freedom) == pytest.approx(scipy_stats.t.isf(level, freedom), rel=1e-7)


@pytest.mark.parametrize("a", [0.01, 0.5, 1, 3.3, 100, 3000])
@pytest.mark.parametrize("b", [0.2, 0.5, 1, 7, 900])
def test_the_beta_distribution_agrees_with_scipy(a: float, b: float) -> None:
    for x in (0.0, 1e-5, 0.1, 0.5, 0.9, 0.999, 1.0):
        assert beta_below(x, a, b) == pytest.approx(scipy_stats.beta.cdf(x, a, b), abs=1e-11)


@pytest.mark.parametrize("p", [[0.01], [0.01, 0.04, 0.03], [0.5, 0.5, 0.001, 0.9], [0.02] * 6, [0.0, 1.0]])
def test_holm_agrees_with_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_rarely_calls_any_true_hypothesis_significant() -> None:
    """Six tests of nothing, beside two of something, so that the small p-values do not shield the others."""
    rng, worlds = np.random.default_rng(0), 4000
    p = np.column_stack([rng.random((worlds, 6)), rng.random((worlds, 2)) * 1e-4])
    wrong = sum(min(holm(row)[:6]) <= 0.05 for row in p)
    assert clopper_pearson(wrong, worlds, 0.002).low <= 0.05 < (p[:, :6].min(axis=1) <= 0.05).mean()
    assert wrong / worlds > 0.04  # not by saying nothing


def test_holm_of_nothing_is_nothing_and_refuses_what_is_no_p_value() -> None:
    assert holm([]) == []
    for wrong in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="from 0 to 1"):
            holm([0.5, wrong])


@pytest.mark.parametrize(("gains", "losses"), [(0, 0), (3, 1), (9, 2), (40, 25)])
def test_mcnemar_agrees_with_statsmodels_and_scipy(gains: int, losses: int) -> None:
    ours = mcnemar_exact(*pairs(gains, losses, 100))
    assert ours == pytest.approx(mcnemar([[50, gains], [losses, 50]], exact=True).pvalue)
    if gains + losses:
        assert ours == pytest.approx(scipy_stats.binomtest(gains, gains + losses).pvalue)


def test_permutation_counts_every_flip_when_they_are_few_and_draws_when_they_are_many() -> None:
    rng = np.random.default_rng(0)
    for n in (8, 60):
        a, b = rng.random(n), rng.random(n) * 0.8
        theirs = scipy_stats.permutation_test(
            (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20_000, rng=1
        ).pvalue
        assert permutation_paired(a, b, seed=0) == pytest.approx(theirs, abs=1e-9 if n == 8 else 0.01)


def test_permutation_of_right_and_wrong_is_mcnemar() -> None:
    a, b = pairs(9, 2, 50)
    assert permutation_paired(a, b, seed=0) == pytest.approx(mcnemar_exact(a, b))


def test_signs_drawn_a_few_at_a_time_are_the_same_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.random.default_rng(3).random((2, 101))
    found = []
    for together in (1 << 20, 2_000, 1):
        monkeypatch.setattr(significance, "FLIPS_TOGETHER", together)
        found.append(permutation_paired(a, b, seed=5, n=999))
    assert found[0] == found[1] == found[2]
    signs = np.random.default_rng(5).integers(0, 2, (999, 101), dtype=np.int8) * 2 - 1
    beyond = np.count_nonzero(np.abs(signs @ (a - b)) >= abs((a - b).sum()) - 1e-9)
    assert found[0] == (beyond + 1) / 1_000


@pytest.mark.parametrize("shift", [0.0, 0.002, 0.005])
def test_of_many_differences_the_normal_limit_is_what_flips_say(shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    a = rng.random(significance.MANY)
    b = np.clip(a + rng.normal(shift, 0.2, len(a)), 0, 1)
    limit = permutation_paired(a, b, seed=1)
    assert limit == permutation_paired(a, b, seed=2)
    monkeypatch.setattr(significance, "MANY", len(a) + 1)
    flipped = permutation_paired(a, b, seed=1, n=2_000)
    assert limit is not None
    assert flipped == pytest.approx(limit, abs=5 * math.sqrt(limit * (1 - limit) / 2_000) + 0.001)


def test_without_pairs_there_is_no_p_value() -> None:
    assert mcnemar_exact([], []) is None
    assert permutation_paired([], [], seed=0) is None


# ---------------------------------------------------------------- degenerate cases


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_equal_scores_never_give_a_point(value: float, n: int) -> None:
    found = mean_interval([value] * n, 0.05)
    assert found.estimate == pytest.approx(value)
    assert 0 <= found.low <= value <= found.high <= 1
    assert found.high - found.low > 0.03


@pytest.mark.parametrize("difference", [0.0, 0.25, -1.0])
@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_equal_differences_never_give_a_point(difference: float, n: int) -> None:
    a, b = [max(0.0, difference)] * n, [max(0.0, -difference)] * n
    found = paired_interval(a, b, 0.05)
    assert -1 <= found.low <= difference <= found.high <= 1
    assert found.high - found.low > 0.03
    assert n > 2 or (found.low, found.high) == (-1, 1)


def test_a_few_differences_among_many_equals_fall_back_on_tango() -> None:
    a, b = [0.9] * 4 + [0.5] * 196, [0.4] * 4 + [0.5] * 196
    assert paired_interval(a, b, 0.05).low == tango(2.0, 0.0, 200, 0.05).low


def test_a_level_too_small_for_the_bootstrap_falls_back_on_the_exact_interval() -> None:
    x = np.random.default_rng(0).beta(4, 2, 100)
    assert mean_interval(x, 1e-4).low == clopper_pearson(float(x.sum()), 100, 1e-4).low


def test_nothing_measured_leaves_the_whole_range() -> None:
    assert mean_interval([], 0.05) == Interval(None, 0.0, 1.0, 0)
    assert paired_interval([], [], 0.05) == Interval(None, -1.0, 1.0, 0)
    assert mean_limits([None, None], 0.05, 0.05) == Interval(None, 0.0, 1.0, 0)
    assert wilson(0, 0, 0.05) == Interval(None, 0.0, 1.0, 0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_score_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        mean_interval([0.5, wrong], 0.05)
    with pytest.raises(ValueError, match="from 0 to 1"):
        paired_interval([0.5, wrong], [0.5, 0.5], 0.05)
    with pytest.raises(ValueError, match="from 0 to 1"):
        mcnemar_exact([1.0, wrong], [1.0, 1.0])


def test_what_cannot_be_counted_is_refused() -> None:
    for wrong in (lambda: wilson(11, 10, 0.05), lambda: tango(-1, 2, 10, 0.05), lambda: clopper_pearson(1, 10, 0.0)):
        with pytest.raises(ValueError, match="among 10"):
            wrong()
    with pytest.raises(ValueError, match="2 scores beside 1"):
        paired_interval([1.0, 0.0], [1.0], 0.05)
    with pytest.raises(ValueError, match="0/1"):
        mcnemar_exact([0.5], [1.0])


def test_the_same_seed_shows_the_same_interval() -> None:
    x = np.random.default_rng(0).random(60)
    assert bca_interval(x, 0.05, seed=7) == bca_interval(x, 0.05, seed=7) != bca_interval(x, 0.05, seed=8)


@pytest.mark.parametrize("n", [30, 200])
@pytest.mark.parametrize("shape", [(2, 2), (8, 1), (0.3, 0.6)])
@pytest.mark.parametrize("z", [-3.0, -2.0, -1.0, 0.0, 1.5])
def test_the_saddlepoint_lies_where_many_resamples_do(n: int, shape: tuple[float, float], z: float) -> None:
    rng = np.random.default_rng(n)
    x = np.append(np.where(rng.random(n) < 0.3, 1.0, rng.beta(*shape, n)), 0.0)
    found = bootstrap._resampled_quantile(x, z)
    means = bootstrap._resampled_means(x, 200_000, rng)
    assert found is not None
    error = float(x.std()) / math.sqrt(x.size)
    assert found == pytest.approx(float(np.quantile(means, NORMAL.cdf(z))), abs=0.04 * error)


# ---------------------------------------------------------------- failed calls


def test_a_failed_call_is_the_worst_case_at_either_end() -> None:
    scores = [1.0] * 80 + [0.0] * 10 + [None] * 10
    found = mean_limits(scores, 0.025, 0.025)
    assert found.low == clopper_pearson(80, 100, 0.05).low
    assert found.high == clopper_pearson(90, 100, 0.05).high
    assert (found.estimate, found.n) == (80 / 90, 90)


def test_a_pair_with_a_failed_call_is_the_worst_difference_at_either_end() -> None:
    a, b = [1.0] * 30 + [None] * 5 + [0.0] * 65, [0.0] * 30 + [1.0] * 3 + [None] * 4 + [0.0] * 63
    found = paired_limits(a, b, 0.025, 0.025)
    assert found.low == pytest.approx(tango(30, 7, 100, 0.05).low)
    assert found.high == pytest.approx(tango(37, 0, 100, 0.05).high)
    assert (found.estimate, found.n) == (30 / 93, 93)


def test_scores_in_an_array_are_the_scores_of_a_list() -> None:
    a, b = [1.0, None, 0.25, 0.0, None, 1.0, 0.5], [0.0, 1.0, None, 0.0, None, 1.0, 1.0]
    x, y = ScoreArray.of(a), ScoreArray.of(b)
    assert (list(x), list(x[1:3]), x[1], x[-1]) == (a, a[1:3], None, 0.5)
    assert x == ScoreArray.of(a) != y
    assert mean_limits(x, 0.05, 0.01) == mean_limits(a, 0.05, 0.01)
    assert paired_limits(x, y, 0.05, 0.01) == paired_limits(a, b, 0.05, 0.01)
    assert x.filled(0.75).tolist() == [1.0, 0.75, 0.25, 0.0, 0.75, 1.0, 0.5]
    for wrong in (math.nan, 1.5):
        with pytest.raises(ValueError, match="from 0 to 1"):
            ScoreArray.of([None, wrong])


def test_one_more_failed_call_never_narrows_an_interval() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = [*map(float, rng.integers(0, 2, 40))]
        before = mean_limits(scores, 0.025, 0.01)
        scores[int(rng.integers(40))] = None  # type: ignore[call-overload]
        after = mean_limits(scores, 0.025, 0.01)
        assert after.low <= before.low <= before.high <= after.high


# ---------------------------------------------------------------- coverage


@pytest.mark.parametrize("n", [12, 50, 200])
@pytest.mark.parametrize("level", [0.025, 0.005])
def test_each_end_of_clopper_pearson_errs_at_most_its_level(n: int, level: float) -> None:
    found = [clopper_pearson(k, n, 2 * level) for k in range(n + 1)]
    for p in (0.02, 0.1, 0.5, 0.8, 0.95, 0.99):
        chance = scipy_stats.binom.pmf(np.arange(n + 1), n, p)
        assert sum(c for c, i in zip(chance, found, strict=True) if i.low > p) <= level
        assert sum(c for c, i in zip(chance, found, strict=True) if i.high < p) <= level


def test_wilson_covers_on_average_but_one_end_alone_does_not() -> None:
    n, alpha = 68, 0.025
    found = [wilson(k, n, alpha) for k in range(n + 1)]
    shares = np.linspace(0.01, 0.99, 99)
    chances = [scipy_stats.binom.pmf(np.arange(n + 1), n, p) for p in shares]
    misses = [
        sum(c[k] for k in range(n + 1) if not found[k].low <= p <= found[k].high)
        for c, p in zip(chances, shares, strict=True)
    ]
    assert np.mean(misses) < 1.1 * alpha
    below = sum(chances[97][k] for k in range(n + 1) if found[k].high < 0.98)
    assert below > 3 * alpha / 2  # why nothing is decided by it


@pytest.mark.parametrize("n", [40, 120])
@pytest.mark.parametrize("losing", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("gain", [0.0, 0.03, 0.1])
def test_tango_errs_at_most_twice_its_level_below_and_hardly_more_than_it_above(
    gain: float, losing: float, n: int
) -> None:
    level = 0.025
    low, high = errors_of_tango(gain, losing, n, level)
    assert low <= 2.05 * level
    assert high <= (2.05 if gain == 0 else 1.2) * level


def errors_of_tango(gain: float, losing: float, n: int, level: float) -> tuple[float, float]:
    """How often each end errs, by adding up every outcome that is not very rare."""
    chances = [losing + gain, losing, 1 - gain - 2 * losing]
    most = [int(scipy_stats.binom.isf(1e-7, n, p)) for p in chances[:2]]
    low = high = 0.0
    for gains, losses in itertools.product(range(most[0] + 1), range(most[1] + 1)):
        if gains + losses <= n:
            chance = float(scipy_stats.multinomial.pmf([gains, losses, n - gains - losses], n, chances))
            found = tango(gains, losses, n, 2 * level) if chance > 1e-7 else None
            low += chance if found and found.low > gain + 1e-12 else 0
            high += chance if found and found.high < gain - 1e-12 else 0
    return low, high


Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def mostly(value: float, zeros: float) -> Draw:
    """Scores near `value` with a share of zeros: the disaster that a small sample may not show."""
    return lambda rng, n: np.where(rng.random(n) < zeros, 0.0, np.clip(rng.normal(value, 0.02, n), 0, 1))


GRADED: dict[str, tuple[Draw, float]] = {
    "low": (lambda rng, n: rng.beta(1, 9, n), 0.1),
    "high": (lambda rng, n: rng.beta(8, 2, n), 0.8),
    "parts": (lambda rng, n: rng.choice([0.0, 0.5, 1.0], n, p=[0.1, 0.1, 0.8]), 0.85),
    "rarely nothing": (mostly(0.85, 0.02), 0.85 * 0.98),
    "mostly equal": (lambda rng, n: np.where(rng.random(n) < 0.95, 1.0, rng.random(n)), 0.975),
}


@pytest.mark.parametrize("kind", GRADED)
@pytest.mark.parametrize("n", [30, 100])
def test_each_end_for_graded_scores_errs_about_its_level(kind: str, n: int) -> None:
    draw, mean = GRADED[kind]
    level, worlds = 0.05, 200
    found = [mean_interval(draw(np.random.default_rng([n, i]), n), 2 * level) for i in range(worlds)]
    most = scipy_stats.binom.isf(0.01, worlds, 1.2 * level) / worlds
    assert np.mean([i.low > mean for i in found]) <= most
    assert np.mean([i.high < mean for i in found]) <= most


@pytest.mark.parametrize("n", [30, 120])
def test_each_end_for_graded_differences_errs_about_its_level(n: int) -> None:
    level, worlds = 0.05, 200
    low = high = 0
    for i in range(worlds):
        rng = np.random.default_rng([n, i])
        b = rng.beta(4, 2, n)
        a = np.clip(np.where(rng.random(n) < 0.02, 0.0, b + (1 - b) * rng.beta(1, 3, n)), 0, 1)
        truth = 0.98 * (2 / 3 + 1 / 12) - 2 / 3
        found = paired_interval(a, b, 2 * level)
        low, high = low + (found.low > truth), high + (found.high < truth)
    most = scipy_stats.binom.isf(0.01, worlds, 1.2 * level)
    assert low <= most
    assert high <= most
