"""The forecast: curves that are known, worlds in which its intervals must hold, and what must not break it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from shouldtune.curves import CurvePoint
from shouldtune.types import Goal
from shouldtune.verdict import learning_curve
from shouldtune.verdict.forecast import FEWEST_BEYOND, KEPT, forecast, may_skip

N = 320
Means = tuple[tuple[float, float], ...]
RISING: Means = ((0.20, 0.22), (0.30, 0.33), (0.40, 0.42))
FLAT: Means = ((0.40, 0.42), (0.41, 0.40), (0.41, 0.42))


def points(means: Means, rows: int = 150) -> list[CurvePoint]:
    sizes = (N // 16, N // 8, N // 4)
    return [
        CurvePoint(size, mean, rows, subset)
        for size, pair in zip(sizes, means, strict=True)
        for subset, mean in enumerate(pair)
    ]


def scored(means: Means, rows: int = 150) -> list[CurvePoint]:
    """The same with a score a row: the first rows are right."""
    return [
        CurvePoint.scored(point.size, right(round((point.score or 0) * rows), rows), point.subset)
        for point in points(means, rows)
    ]


def right(count: int, rows: int = 150) -> tuple[float, ...]:
    return (1.0,) * count + (0.0,) * (rows - count)


# ---------------------------------------------------------------- known values


def test_the_curves_are_those_that_plain_sampling_of_the_prior_finds() -> None:
    """Plain importance sampling of the same prior, which needs no moves and no temperatures."""
    behind = learning_curve._Behind(points(RISING), 1.0)
    rng = np.random.default_rng(5)
    places = np.concatenate([rng.random((6, 300_000)), rng.standard_normal((1, 300_000))])
    likelihood = behind.log_likelihood(places)
    weights = np.exp(likelihood - likelihood.max())
    scores = behind.curves(places).scores(N)
    order = np.argsort(scores)
    chances = weights[order].cumsum() / weights.sum()
    exact = [scores[order][np.searchsorted(chances, share)] for share in (0.05, 0.25, 0.5, 0.75, 0.95)]
    found = learning_curve.fit_curves(tuple(points(RISING)), 1.0, 0).scores(N)
    assert np.quantile(found, [0.05, 0.25, 0.5, 0.75, 0.95]) == pytest.approx(exact, abs=0.03)


def test_the_likelihood_of_a_curve_is_the_normal_one_of_every_point() -> None:
    seen = points(RISING)
    behind = learning_curve._Behind(seen, 1.0)
    places = np.concatenate([np.random.default_rng(0).random((6, 5)), np.zeros((1, 5))])
    curves, total = behind.curves(places), np.zeros(5)
    for point in seen:
        mean = curves.scores(point.size)
        rows = learning_curve.mean_variance(mean, point.rows, 1.0) * (1 - learning_curve.UNKNOWN_LIKENESS)
        spread = np.sqrt(rows + curves.seed_spread(mean) ** 2)
        total += scipy_stats.norm.logpdf(point.score, mean, spread) + math.log(2 * math.pi) / 2
    assert behind.log_likelihood(places) == pytest.approx(total)


def test_a_power_law_is_what_it_says_beside_its_rise() -> None:
    one = np.ones(1)
    curves = learning_curve.Curves(80, 1.0, 0.4 * one, 0.3 * one, 0.5 * one, 0.2 * one, 1.0 * one, 0.01 * one, one)
    # At four times the anchor the gap is halved (4 ** -0.5) and the sharp rise at twice the anchor is over.
    assert curves.scores(320)[0] == pytest.approx(0.4 + 0.3 * 0.5 + 0.2)
    assert curves.scores(80)[0] == pytest.approx(0.4)
    assert curves.scores(20)[0] == pytest.approx(0.4 - 0.3)


def test_rows_that_are_alike_over_the_points_are_found_to_be() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(4000)
    same = [CurvePoint.scored(size, tuple(map(float, hard < 0.5))) for size in (20, 40, 80)]
    apart = [CurvePoint.scored(size, tuple(map(float, rng.random(4000) < 0.5))) for size in (20, 40, 80)]
    assert learning_curve.describe_rows(same) == learning_curve.Rows(1.0, 0.9)
    assert learning_curve.describe_rows(apart).alike == pytest.approx(0, abs=0.05)
    narrow = [CurvePoint.scored(size, tuple(rng.beta(20, 20, 4000))) for size in (20, 40)]
    assert learning_curve.describe_rows(narrow).dispersion == pytest.approx(0.05, abs=0.01)  # variance 1/164 of 1/4


# ---------------------------------------------------------------- how it behaves


def test_a_rising_curve_is_forecast_to_rise_and_less_surely_the_further_ahead() -> None:
    made = forecast(points(RISING))
    assert made is not None
    ahead = [made.score(times * N, 0.1) for times in (1, 2, 5, 10)]
    middles, widths = [a.estimate or 0.0 for a in ahead], [a.high - a.low for a in ahead]
    assert middles == sorted(middles)
    assert widths == sorted(widths)
    assert 0.45 < middles[0] < 0.62
    assert ahead[0].high > 0.6, "as much again for every doubling stays possible"


def test_more_rows_and_less_alpha_make_it_narrower_and_wider() -> None:
    def width(rows: int, alpha: float) -> float:
        made = forecast(points(RISING, rows))
        assert made is not None
        return made.score(N, alpha).high - made.score(N, alpha).low

    assert width(600, 0.1) < width(60, 0.1)
    assert width(60, 0.1) < width(60, 0.02)


def test_the_same_points_give_the_same_forecast_in_any_call() -> None:
    learning_curve.fit_curves.cache_clear()
    first = forecast(points(RISING))
    learning_curve.fit_curves.cache_clear()
    second = forecast(points(RISING))
    assert first is not None
    assert second is not None
    assert first.score(N, 0.1) == second.score(N, 0.1)


def test_a_ceiling_holds_and_what_was_seen_lifts_it() -> None:
    made = forecast(points(RISING), ceiling=0.5)
    assert made is not None
    assert np.all(made.curves.scores(100 * N) <= 0.5)
    seen = forecast(points(RISING), ceiling=0.3)
    assert seen is not None
    assert seen.curves.ceiling == 0.42


def test_rows_that_were_seen_make_a_measured_score_surer_than_the_score_over_all_rows() -> None:
    alike = forecast(scored(FLAT))  # every point has the very same rows right
    assert alike is not None
    measured, all_rows = alike.score(N, 0.1, same_rows=True), alike.score(N, 0.1)
    assert measured.high - measured.low < all_rows.high - all_rows.low


def test_the_number_of_examples_until_a_goal_lies_within_what_was_asked() -> None:
    made = forecast(points(((0.40, 0.41), (0.55, 0.56), (0.66, 0.67)), rows=400))
    assert made is not None
    near, far = made.examples_until(0.72, 0.1), made.examples_until(0.99, 0.1)
    assert near.estimate is not None
    assert near.low is not None
    assert N // 4 < near.low <= near.estimate < 2 * N
    assert far.high is None
    assert far.chance < near.chance
    reached = made.examples_until(0.3, 0.1)
    assert (reached.estimate, reached.chance) == (N // 16, 1.0)


def test_the_same_code_reads_a_curve_over_shots() -> None:
    shots = [CurvePoint(size, score, 96) for size, score in ((2, 0.30), (4, 0.38), (8, 0.44))]
    made = forecast(shots)
    assert made is not None
    assert 0.44 < (made.score(16, 0.1).estimate or 0) < 0.6


# ---------------------------------------------------------------- gain and skip


def test_a_gain_over_the_same_rows_is_surer_where_the_rungs_are_alike() -> None:
    made = forecast(scored(FLAT, 150))
    assert made is not None
    alike = made.gain(N, right(60), 0.05, 0.05)
    apart = made.gain(N, right(60)[::-1], 0.05, 0.05)
    assert alike.estimate == apart.estimate
    assert apart.high - apart.low > alike.high - alike.low


def test_failed_calls_of_the_rung_below_count_against_both_ends() -> None:
    made = forecast(scored(FLAT))
    assert made is not None
    lower = right(60)
    torn = (*lower[:50], *[None] * 20, *lower[70:])
    whole, holed = made.gain(N, lower, 0.05, 0.05), made.gain(N, torn, 0.05, 0.05)
    assert holed.low < whole.low
    assert holed.high > whole.high


def test_a_flat_curve_far_below_a_prompt_skips_the_full_tune() -> None:
    skip = may_skip(scored(FLAT), right(147), N, Goal(), 0.0125)
    assert skip is not None
    assert skip.gain.high < 0.03


def test_a_prompt_just_above_a_flat_curve_skips_nothing_for_the_rise_may_come_late() -> None:
    assert may_skip(scored(FLAT), right(66), N, Goal(), 0.0125) is None


def test_a_goal_that_the_full_tune_may_still_reach_forbids_the_skip() -> None:
    assert may_skip(scored(FLAT), right(147), N, Goal(quality=0.45), 0.0125) is None
    assert may_skip(scored(FLAT), right(147), N, Goal(quality=0.995), 0.0125) is not None


def test_failed_calls_of_the_small_tunes_are_taken_as_right() -> None:
    holed = [replace_last(point, 100) for point in scored(FLAT)]
    assert may_skip(holed, right(147), N, Goal(), 0.0125) is None


def replace_last(point: CurvePoint, count: int) -> CurvePoint:
    return CurvePoint.scored(point.size, (*point.scores[:-count], *[None] * count), point.subset)


# ---------------------------------------------------------------- degenerate inputs


def test_fewer_than_two_sizes_are_no_forecast() -> None:
    assert forecast([]) is None
    assert forecast([CurvePoint(20, 0.5, 100), CurvePoint(20, 0.6, 100, 1)]) is None
    assert forecast([CurvePoint(20, 0.5, 100), CurvePoint.scored(40, (None, None))]) is None
    assert may_skip([], right(10), N, Goal(), 0.01) is None


@pytest.mark.parametrize(
    "means",
    [
        ((0, 0),) * 3,
        ((1, 1),) * 3,
        ((0, 1), (1, 0), (0, 1)),
        ((0.9, 0.9), (0.5, 0.5), (0.1, 0.1)),
        ((0, 0), (0, 0), (1, 1)),
    ],
)
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_odd_points_give_intervals_within_the_range_and_never_a_point(means: Means, rows: int) -> None:
    made = forecast(points(means, rows))
    assert made is not None
    for times in (1, 10):
        found = made.score(times * N, 0.1)
        assert found.estimate is not None
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        assert found.high - found.low > 0.0005
        gain = made.gain(times * N, [0.5], 0.05, 0.05)
        assert -1 <= gain.low < gain.high <= 1


def test_a_level_that_too_few_curves_lie_beyond_gives_the_end_of_the_range() -> None:
    made = forecast(points(FLAT))
    assert made is not None
    level = FEWEST_BEYOND / KEPT / 2
    assert (made.score(N, 2 * level).low, made.score(N, 2 * level).high) == (0.0, 1.0)
    assert (made.gain(N, right(60), level, 0.05).low, made.gain(N, [], 0.05, 0.05).high) == (-1.0, 1.0)


def test_what_is_no_point_is_refused() -> None:
    for wrong in (math.nan, math.inf, -0.1, 1.1):
        with pytest.raises(ValueError, match="not from 0 to 1"):
            CurvePoint(20, wrong, 10)
        with pytest.raises(ValueError, match="not from 0 to 1"):
            CurvePoint.scored(20, (wrong, 0.5))
    for size, score, rows in ((0, 0.5, 10), (20, None, 10), (20, 0.5, 0), (20, 0.5, -1)):
        with pytest.raises(ValueError, match="no point of a curve"):
            CurvePoint(size, score, rows)


def test_what_cannot_be_forecast_is_refused() -> None:
    made = forecast(scored(FLAT))
    assert made is not None
    with pytest.raises(ValueError, match="0 examples"):
        made.score(0, 0.1)
    with pytest.raises(ValueError, match="levels"):
        made.score(N, 0.0)
    with pytest.raises(ValueError):
        made.gain(N, right(5, 10), 0.05, 0.05)
    with pytest.raises(ValueError, match="the same rows"):
        forecast([CurvePoint.scored(20, right(1, 3)), CurvePoint.scored(40, right(1, 4))])
    with pytest.raises(ValueError, match="ceiling"):
        forecast(points(FLAT), ceiling=math.nan)


# ---------------------------------------------------------------- coverage


def coverage(curve: object, worlds: int) -> tuple[float, float, float]:
    """The share of worlds whose score at n, and whose gain, lies in the 90% interval; and the mean width."""
    rng, inside, gains, widths = np.random.default_rng(1), 0, 0, 0.0
    for _ in range(worlds):
        skill = curve(rng)  # type: ignore[operator]
        hard, seeds = rng.random(120), 0.02

        def tuned(x: float, skill=skill, seeds=seeds) -> float:  # type: ignore[no-untyped-def]
            return float(np.clip(skill(x) + seeds * rng.standard_normal(), 0, 1))

        def rows(mean: float, hard=hard) -> tuple[float, ...]:  # type: ignore[no-untyped-def]
            mixed = np.where(rng.random(120) < 0.5, hard, rng.random(120))  # half of them as hard as they ever are
            return tuple(map(float, mixed < mean))

        sizes = (N // 16, N // 8, N // 4)
        seen = [CurvePoint.scored(size, rows(tuned(size / N)), k) for size in sizes for k in (0, 1)]
        made, lower, truth = forecast(seen), float(rng.uniform(0.1, 0.9)), tuned(1.0)
        assert made is not None
        found, gain = made.score(N, 0.1), made.gain(N, rows(lower), 0.05, 0.05)
        inside += found.low <= truth <= found.high
        gains += gain.low <= truth - lower <= gain.high
        widths += found.high - found.low
    return inside / worlds, gains / worlds, widths / worlds


def power_law(rng: np.random.Generator) -> object:
    top, start, power = rng.uniform(0.5, 1), rng.uniform(0.3, 0.9), rng.uniform(0.1, 1)
    return lambda x: top * (1 - start * (16 * x) ** -power)


def plateau_then_jump(rng: np.random.Generator) -> object:
    level, jump = rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.5)
    return lambda x: level + jump * (x > 0.5)


@pytest.mark.slow
def test_nine_of_ten_forecasts_of_power_laws_hold() -> None:
    inside, gains, width = coverage(power_law, 150)
    assert inside >= 0.86
    assert gains >= 0.86
    assert width < 0.5


@pytest.mark.slow
def test_a_jump_after_every_point_is_often_missed_and_without_its_prior_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This can fail: nothing in the points speaks of the jump, so that only the prior's doubt can hold it."""
    with_rise = coverage(plateau_then_jump, 60)[0]
    monkeypatch.setattr(learning_curve, "RISES", 1e-9)
    learning_curve.fit_curves.cache_clear()
    without = coverage(plateau_then_jump, 60)[0]
    learning_curve.fit_curves.cache_clear()
    assert without < 0.2 < with_rise


@pytest.mark.slow
def test_a_skip_is_rarely_false() -> None:
    rng, false, skipped = np.random.default_rng(2), 0, 0
    for _ in range(150):
        skill, hard = power_law(rng), rng.random(120)
        seen = [
            CurvePoint.scored(size, tuple(map(float, hard < skill(size / N) + 0.02 * rng.standard_normal())))  # type: ignore[operator]
            for size in (N // 16, N // 8, N // 4)
            for _ in (0, 1)
        ]
        lower, truth = float(rng.uniform(0, 1)), skill(1.0) + 0.02 * rng.standard_normal()  # type: ignore[operator]
        skip = may_skip(seen, tuple(map(float, hard < lower)), N, Goal(), 0.0125)
        skipped += skip is not None
        false += skip is not None and truth - lower >= 0.03
    assert skipped >= 15
    assert false <= 2
