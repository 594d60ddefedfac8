"""Groups as units: against statsmodels and scipy, and in worlds where rows of one group are alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from shouldtune.judgement import Interval
from shouldtune.stats import (
    clopper_pearson,
    cluster_error,
    clustered_mean_interval,
    clustered_mean_limits,
    clustered_paired_interval,
    clustered_paired_limits,
    tango,
    wilson,
)

Array = NDArray[np.float64]


def alike(rng: np.random.Generator, groups: int, mean: float, correlation: float) -> tuple[Array, list[str]]:
    """0/1 scores in groups of 1 to 19 rows, of the given mean and intra-group correlation (beta-binomial)."""
    sizes, s = rng.integers(1, 20, groups), (1 - correlation) / correlation
    chances = np.repeat(rng.beta(mean * s, (1 - mean) * s, groups), sizes)
    return (rng.random(chances.size) < chances).astype(float), [str(g) for g in np.repeat(np.arange(groups), sizes)]


# ---------------------------------------------------------------- known values


@pytest.mark.parametrize("groups", [2, 5, 30])
def test_the_standard_error_agrees_with_statsmodels(groups: int) -> None:
    x, names = alike(np.random.default_rng(groups), groups, 0.6, 0.3)
    fit = sm.OLS(x, np.ones(x.size)).fit(cov_type="cluster", cov_kwds={"groups": np.array(names, dtype=int)})
    assert cluster_error(x, names) == pytest.approx(fit.bse[0], rel=1e-9)


def test_half_and_half_on_many_alike_groups_is_statsmodels_interval() -> None:
    """Where the normal approximation is good, design effect and Student's tails make it the textbook's interval."""
    x, names = alike(np.random.default_rng(1), 400, 0.5, 0.2)
    y, _ = alike(np.random.default_rng(2), 400, 0.5, 0.2)
    y = np.resize(y, x.size)
    for values, found in (
        (x, clustered_mean_interval(x, names, 0.05)),
        (x - y, clustered_paired_interval(x, y, names, 0.05)),
    ):
        fit = sm.OLS(values, np.ones(x.size)).fit(
            cov_type="cluster", cov_kwds={"groups": np.array(names, dtype=int)}, use_t=True
        )
        (low, high), *_ = fit.conf_int(0.05)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * (high - low))
        assert (found.estimate, found.n) == (pytest.approx(values.mean()), 400)


def test_the_mean_has_korn_and_graubards_interval() -> None:
    x, names = alike(np.random.default_rng(3), 40, 0.7, 0.3)
    codes, n, mean = np.array(names, dtype=int), x.size, x.mean()
    error = math.sqrt(40 / 39 * sum((x[codes == g] - mean).sum() ** 2 for g in range(40))) / n
    effective = n / (error**2 / (mean * (1 - mean) / (n - 1)))
    effective *= (scipy_stats.t.isf(0.025, n - 1) / scipy_stats.t.isf(0.025, 39)) ** 2
    low = scipy_stats.beta.ppf(0.025, mean * effective, effective * (1 - mean) + 1)
    high = scipy_stats.beta.isf(0.025, mean * effective + 1, effective * (1 - mean))
    found = clustered_mean_interval(x, names, 0.05)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert effective < 0.5 * n  # so that the groups mattered


def test_rows_without_a_group_are_independent_examples() -> None:
    x = [1.0] * 70 + [0.0] * 30
    found, exact = clustered_mean_interval(x, [None] * 100, 0.05), clopper_pearson(70, 100, 0.05)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    a, b = [1.0] * 40 + [0.0] * 60, [0.0] * 20 + [1.0] * 25 + [0.0] * 55
    found, score = clustered_paired_interval(a, b, [None] * 100, 0.05), tango(20, 5, 100, 0.05)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.15, score.low, score.high), abs=1e-9)
    assert found == clustered_paired_interval(a, b, list(map(str, range(100))), 0.05)


def test_the_order_of_rows_and_the_names_of_groups_do_not_matter() -> None:
    x, names = alike(np.random.default_rng(4), 20, 0.7, 0.3)
    order = np.random.default_rng(0).permutation(x.size)
    found = clustered_mean_interval(x, names, 0.05)
    other = clustered_mean_interval(x[order], [f"group {names[i]}" for i in order], 0.05)
    assert (found.low, found.high) == pytest.approx((other.low, other.high))


# ---------------------------------------------------------------- coverage


@pytest.mark.parametrize("groups", [6, 12, 40])
@pytest.mark.parametrize(("mean", "correlation"), [(0.5, 0.3), (0.8, 0.05), (0.8, 0.95), (0.95, 0.3)])
def test_each_end_of_a_mean_errs_about_its_level_however_alike_the_rows_are(
    groups: int, mean: float, correlation: float
) -> None:
    level, worlds = 0.025, 200
    found = [
        clustered_mean_interval(*alike(np.random.default_rng([groups, i]), groups, mean, correlation), 2 * level)
        for i in range(worlds)
    ]
    most = scipy_stats.binom.isf(0.005, worlds, 1.6 * level)
    assert sum(i.low > mean for i in found) <= most
    assert sum(i.high < mean for i in found) <= most


def test_rows_taken_as_independent_and_the_textbooks_interval_err_far_more_often() -> None:
    """What the test above would find, were the groups forgotten, or were Student's arms put about the mean."""
    naive = textbook = 0
    for i in range(300):
        x, names = alike(np.random.default_rng([12, i]), 12, 0.95, 0.3)
        error = cluster_error(x, names)
        assert error is not None
        naive += wilson(float(x.sum()), x.size, 0.05).low > 0.95
        textbook += float(x.mean()) - scipy_stats.t.isf(0.025, 11) * error > 0.95
    assert naive / 300 > 0.1
    assert textbook / 300 > 0.1


@pytest.mark.parametrize("groups", [6, 12, 40])
@pytest.mark.parametrize("gain", [0.0, 0.1])
@pytest.mark.parametrize("correlation", [0.05, 0.5])
def test_each_end_of_a_gain_errs_about_its_level(groups: int, gain: float, correlation: float) -> None:
    level, worlds, s = 0.025, 200, (1 - correlation) / correlation
    shares = np.array([0.1 + gain / 2, 0.1 - gain / 2, 0.8])
    low = high = 0
    for i in range(worlds):
        rng = np.random.default_rng([groups, i])
        sizes = rng.integers(1, 20, groups)
        chances = np.repeat(rng.dirichlet(shares * s, groups), sizes, axis=0)
        u, names = rng.random(len(chances)), [str(g) for g in np.repeat(np.arange(groups), sizes)]
        a, b = (u < chances[:, 0]), (u >= chances[:, 0]) & (u < chances[:, 0] + chances[:, 1])
        found = clustered_paired_interval(a.astype(float), b.astype(float), names, 2 * level)
        low, high = low + (found.low > gain + 1e-9), high + (found.high < gain - 1e-9)
    most = scipy_stats.binom.isf(0.005, worlds, 1.6 * level)
    assert low <= most
    assert high <= most


# ---------------------------------------------------------------- degenerate cases


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("groups", [1, 2, 30])
def test_where_all_is_equal_a_group_counts_as_one_example(value: float, groups: int) -> None:
    names = [str(g) for g in range(groups) for _ in range(50)]
    found = clustered_mean_interval([value] * len(names), names, 0.05)
    assert found.low <= value <= found.high
    if value == 1.0:
        assert (found.low, found.high) == pytest.approx((0.025 ** (1 / groups), 1.0))
    assert found.high - found.low > 0.1
    gain = clustered_paired_interval([value] * len(names), [value] * len(names), names, 0.05)
    assert gain.low < 0 < gain.high
    assert groups >= 5 or (gain.low, gain.high) == (-1.0, 1.0)


def test_one_failing_group_among_few_says_little_of_the_groups_not_seen() -> None:
    names = [str(g) for g in range(20) for _ in range(10)]
    x = [0.0] + [1.0] * 199  # one row wrong: were rows independent, an upper limit of failures of 3%
    assert clustered_mean_interval(x, names, 0.05).low < 0.84


def test_without_examples_the_limits_are_the_whole_range() -> None:
    assert clustered_mean_interval([], [], 0.05) == Interval(None, 0.0, 1.0, 0)
    assert clustered_paired_interval([], [], [], 0.05) == Interval(None, -1.0, 1.0, 0)
    assert clustered_mean_limits([None, None], ["a", "b"], 0.05, 0.05).estimate is None
    assert cluster_error([0.5, 0.7], ["a", "a"]) is None
    assert cluster_error([], []) is None


def test_a_failed_call_is_the_worst_case_at_either_end() -> None:
    x, names = alike(np.random.default_rng(5), 25, 0.7, 0.2)
    holed: list[float | None] = [None if i % 9 == 0 else float(value) for i, value in enumerate(x)]
    zeros, ones = ([fill if v is None else v for v in holed] for fill in (0.0, 1.0))
    found = clustered_mean_limits(holed, names, 0.025, 0.025)
    assert found.low == clustered_mean_interval(zeros, names, 0.05).low
    assert found.high == clustered_mean_interval(ones, names, 0.05).high
    gain = clustered_paired_limits(holed, list(map(float, x)), names, 0.025, 0.025)
    assert gain.estimate == 0.0
    assert gain.low < -0.05 < 0.05 < gain.high


def test_what_is_no_score_no_group_or_no_level_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        clustered_mean_interval([0.5, math.nan], ["a", "b"], 0.05)
    with pytest.raises(ValueError, match="to 1"):
        clustered_paired_interval([0.5, math.nan], [0.5, 0.5], ["a", "b"], 0.05)
    with pytest.raises(ValueError, match="2 scores and the groups of 1"):
        clustered_mean_interval([0.5, 0.5], ["a"], 0.05)
    with pytest.raises(ValueError, match="level"):
        clustered_mean_interval([0.5, 0.5], ["a", "b"], 0.0)
