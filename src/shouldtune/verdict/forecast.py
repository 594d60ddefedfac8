"""Forecast before paying: what would more examples (or shots) bring? From a few cheap points, with the doubt in it.

The curves that may lie behind the points come from learning_curve.py, which states the model and its prior. Here they
become predictive intervals: of the score that one fine-tune on so many examples would have, of its gain over a rung
without training, and of how many examples a goal takes. Whatever is not seen is in the interval: the curve, the
seed of that one fine-tune, the rows that the points were scored on, and the doubt that no family of curves is true.
Everything is deterministic by `seed`; a forecast takes a tenth of a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shouldtune.causes import ExamplesUntil
from shouldtune.curves import CurvePoint
from shouldtune.judgement import Interval
from shouldtune.stats import MaybeScores, differences, filled
from shouldtune.types import Goal
from shouldtune.verdict.learning_curve import (
    DOUBT,
    KEPT,
    Array,
    Curves,
    Rows,
    describe_rows,
    fit_curves,
    mean_variance,
)

TIMES = (1, 2, 5, 10)
"""The examples at hand times these are what a report shows."""
FEWEST_BEYOND = 10
"""An end of an interval with fewer curves beyond it is not known: it is then the end of the range."""
DOUBLINGS_AHEAD = 7
"""How far `examples_until` looks beyond the largest size seen."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """Predictive distributions, each a draw a curve."""

    points: tuple[CurvePoint, ...]
    curves: Curves
    rows: Rows
    noise: Array = field(repr=False)
    """Standard normal draws, shape (4, curves): doubt, seed, rows in common, rows of one point."""

    def score(self, size: float, alpha: float, *, same_rows: bool = False) -> Interval:
        """The interval of the mean score of one fine-tune on `size` examples.

        Over all rows there may be; with `same_rows`, the mean that will be *measured* on the rows of the points.
        """
        mean = self._mean(size)
        count = min(point.rows for point in self.points)
        variance = mean_variance(mean, count, self.rows.dispersion)
        share = 1 - self.rows.alike if same_rows else self.rows.alike
        drawn = self._one_tune(mean) + self.noise[3 if same_rows else 2] * np.sqrt(share * variance)
        return self._interval(np.clip(drawn, 0.0, 1.0), alpha / 2, alpha / 2, (0.0, 1.0))

    def gain(self, size: float, lower: MaybeScores, low_level: float, high_level: float) -> Interval:
        """The interval of what one fine-tune on `size` examples gains over a rung with these scores, over all rows.

        `lower` are the rung's scores on the very rows of the points, in the same order; where the points hold means
        alone, on any rows. A failed call of the rung is 1 for the low end and 0 for the high end. The levels are
        one-sided. With nothing measured of the rung the limits are -1 and 1.
        """
        answered = [score for score in lower if score is not None]
        if not answered:
            return Interval(None, -1.0, 1.0, 0)
        tuned = self._one_tune(self._mean(size))
        ends = []
        for worst, side in ((1.0, 0), (0.0, 1)):
            scores = filled(lower, worst)
            drawn = tuned - float(np.mean(scores)) + self.noise[2] * self._gain_error(scores)
            interval = self._interval(np.clip(drawn, -1.0, 1.0), low_level, high_level, (-1.0, 1.0))
            ends.append((interval.low, interval.high)[side])
        middle = float(np.median(tuned)) - float(np.mean(answered))
        return Interval(min(max(middle, ends[0]), ends[1]), ends[0], ends[1], len(answered))

    def examples_until(self, goal: float, alpha: float) -> ExamplesUntil:
        """How many examples it takes until a fine-tune's expected score over all rows is `goal`."""
        count, reached = min(point.rows for point in self.points), np.full(KEPT, math.inf)
        first = min(point.size for point in self.points)
        most = self.curves.anchor * 2**DOUBLINGS_AHEAD
        for size in reversed(np.geomspace(first, most, 8 * math.ceil(math.log2(most / first)) + 1)):
            mean = self._mean(float(size))
            error = np.sqrt(self.rows.alike * mean_variance(mean, count, self.rows.dispersion))
            reached = np.where(mean + self.noise[2] * error >= goal, math.ceil(size - 1e-6), reached)
        ends = np.quantile(reached, [alpha / 2, 0.5, 1 - alpha / 2], method="nearest")
        low, estimate, high = (int(end) if math.isfinite(end) else None for end in ends)
        return ExamplesUntil(goal, estimate, low, high, float(np.isfinite(reached).mean()), most)

    def _mean(self, size: float) -> Array:
        """The expected score after `size` examples, with the doubt that grows beyond what was seen."""
        if not size > 0:
            raise ValueError(f"a forecast for {size} examples")
        ahead = math.sqrt(max(0.0, math.log2(size / self.curves.anchor)))
        mean: Array = np.clip(self.curves.scores(size) + DOUBT * ahead * self.noise[0], 0.0, self.curves.ceiling)
        return mean

    def _one_tune(self, mean: Array) -> Array:
        drawn: Array = np.clip(mean + self.noise[1] * self.curves.seed_spread(mean), 0.0, 1.0)
        return drawn

    def _gain_error(self, lower: Array) -> float:
        """The standard error of the mean difference that the rows leave, from the points at the largest size."""
        largest = [point for point in self.points if point.size == self.curves.anchor]
        if not all(point.scores for point in self.points):
            mean = float(np.mean([point.score for point in largest if point.score is not None]))
            both = [
                mean_variance(np.array(p), n, 1.0) for p, n in ((mean, largest[0].rows), (np.mean(lower), len(lower)))
            ]
            return math.sqrt(float(sum(both)))
        tuned = [differences(point.scores, lower, missing=0.0) for point in largest]
        apart = np.append(np.mean(tuned, axis=0), (-1.0, 1.0))  # what was never seen stays possible
        return float(apart.std() / math.sqrt(len(lower)))

    def _interval(self, drawn: Array, low_level: float, high_level: float, ends: tuple[float, float]) -> Interval:
        if not (0 < low_level < 1 and 0 < high_level < 1):
            raise ValueError(f"levels of {low_level} and {high_level}")
        low = float(np.quantile(drawn, low_level)) if low_level * KEPT >= FEWEST_BEYOND else ends[0]
        high = float(np.quantile(drawn, 1 - high_level)) if high_level * KEPT >= FEWEST_BEYOND else ends[1]
        middle = float(np.median(drawn))
        return Interval(min(max(middle, low), high), low, high, min(point.rows for point in self.points))


def forecast(points: Sequence[CurvePoint], *, ceiling: float = 1.0, seed: int = 0) -> Forecast | None:
    """What may lie behind these points; None where fewer than two sizes were answered on any row.

    `ceiling` is the best score there can be, where wrong labels leave less than 1; what was seen lifts it. Raises
    ValueError where points that hold their rows' scores do not share the rows, or the ceiling is not in (0, 1].
    """
    if not 0 < ceiling <= 1:
        raise ValueError(f"a ceiling of {ceiling}")
    lengths = {len(point.scores) for point in points if point.scores}
    if len(lengths) > 1:
        raise ValueError(f"the points of one curve are scored on the same rows, not on {sorted(lengths)} of them")
    answered = tuple(point for point in points if point.score is not None)
    if len({point.size for point in answered}) < 2:
        return None
    noise = np.random.default_rng([seed, 1]).standard_normal((4, KEPT))
    return Forecast(answered, fit_curves(answered, ceiling, seed), describe_rows(answered), noise)


@dataclass(frozen=True)
class Skip:
    """Why a full fine-tune need not be paid for: `no_gain`, with basis `forecast`."""

    gain: Interval
    """Of a fine-tune on all examples over the rung; its upper end is below the worthwhile gain."""
    score: Interval
    """Of that fine-tune; where there is a goal, its upper end is below it."""
    level: float
    """The chance that the skip is wrong, were the prior true."""


def may_skip(
    points: Sequence[CurvePoint],
    lower: MaybeScores,
    size: int,
    goal: Goal,
    level: float,
    *,
    ceiling: float = 1.0,
    seed: int = 0,
) -> Skip | None:
    """The reason to skip a full fine-tune on `size` examples, or None where it may be worth its price.

    `lower` are the scores, on the points' rows, of *one* rung without training that was chosen on other rows and
    took its shots from other rows; `level` is the forecast's share of alpha, and with a goal half of it goes to
    the claim that the fine-tune does not reach it. Failed calls are the worst case: right where the fine-tune made
    them, wrong where the rung did.
    """
    worst = [point.filled(1.0) if point.scores else point for point in points]
    ahead = forecast(worst, ceiling=ceiling, seed=seed)
    if ahead is None or not 0 < level < 1:
        return None
    share = level if goal.quality is None else level / 2
    gain = ahead.gain(size, lower, share, share)
    score = ahead.score(size, 2 * share)
    closed = goal.quality is None or score.high < goal.quality
    return Skip(gain, score, level) if closed and gain.high < goal.worthwhile_gain else None
