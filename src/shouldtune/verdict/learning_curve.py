"""Which learning curves may lie behind a few noisy points: a Bayesian average over all that a prior allows.

Three sizes do not identify a curve, so a fit must not pretend to: every curve that a prior allows is kept, weighted
by how well it explains the points. With x the size over the largest size seen and u = log2(x), the curve is

    score(x) = last - gap * (x^-b - 1) + height * (S((u - at) / width) - S(-at / width)),   within 0 and the ceiling,

S being the logistic function: the power law `ceiling - a * n^-b`, written by its value `last` and its distance `gap`
from its own ceiling at x = 1 so that the points fix one parameter well, and a rise beside it. The prior, and why:

| what        | prior                                         | because                                             |
|-------------|-----------------------------------------------|-----------------------------------------------------|
| last        | uniform, -0.2 to the ceiling                  | nothing is known of the task; below 0 is a task     |
|             |                                               | that has not begun to be learnt                     |
| final score | uniform, `last` to the ceiling                | at most 1, or what wrong labels leave; not below    |
|             |                                               | what was seen, for a clearly better epoch ships     |
| b           | log-uniform, 0.1 to 1.5                       | measured exponents are mostly 0.07 to 0.5 (Hestness |
|             |                                               | et al. 2017), statistics' are 0.5 and 1             |
| rise        | none 0.4; a uniform share of the way to the   | power laws break (Caballero et al. 2023): a skill   |
|             | final score 0.3; all of it 0.3                | may come late and all at once, or start slowly      |
| at, width   | u from -2 to 6, log-uniform 0.15 to 2         | no doubling is likelier than another; from a jump   |
|             |                                               | to an S over many doublings                         |
| seed noise  | log-normal around 0.025, factor 2.2, times    | fine-tunes on other rows of one size differ by some |
|             | 2 sqrt(p (1 - p))                             | points, less near 0 and 1                           |
| doubt       | normal, 0.03 sqrt(u) beyond the largest size  | no family is true: the further ahead, the less so;  |
|             |                                               | the only term by which a curve may fall             |

The shares of the rise, the doubt and the noise were tuned on the `tuning` worlds of benchmarks/verdicts, which are
drawn apart from those whose figures are reported.
A point's error is that of its rows (all points share them: what is common to them moves the curve as a whole, and is
estimated from how alike the rows' scores are over the points) and that of its seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shouldtune.curves import CurvePoint

Array = NDArray[np.float64]

BEGINS = -0.2
EXPONENTS = (0.1, 1.5)
RISES = 0.6
ALONE = 0.5
WHERE = (-2.0, 6.0)
WIDTHS = (0.15, 2.0)
SEED_NOISE, FACTOR = 0.025, 2.2
DOUBT = 0.03
UNKNOWN_LIKENESS = 0.5
"""How alike rows are over the points where only means are known."""
KEPT = 8_192
MOVES = 3
"""Steps of every curve between two temperatures."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves as likely as they are frequent: arrays of one length, a curve in each place."""

    anchor: int
    """The largest size seen, at which x = 1."""
    ceiling: float
    last: Array
    gap: Array
    exponent: Array
    height: Array
    at: Array
    width: Array
    seed_noise: Array

    def scores(self, size: float) -> Array:
        """The score of every curve after `size` examples, without any noise."""
        doublings = math.log2(size / self.anchor)
        base = self.last - self.gap * np.expm1(-math.log(2) * doublings * self.exponent)
        rise = _logistic((doublings - self.at) / self.width) - _logistic(-self.at / self.width)
        scores: Array = np.clip(base + self.height * rise, 0.0, self.ceiling)
        return scores

    def seed_spread(self, scores: Array) -> Array:
        """The standard deviation between fine-tunes whose mean score this is."""
        spread: Array = self.seed_noise * 2 * np.sqrt((scores + 0.02) * (1.02 - scores))
        return spread


@dataclass(frozen=True)
class Rows:
    """What the rows' own scores tell about the error of a mean over them."""

    dispersion: float
    """The variance of a row's score over that of a 0/1 score with the same mean; 1 at most."""
    alike: float
    """The share of a mean's variance that all points have in common."""


@lru_cache(maxsize=64)
def fit_curves(points: tuple[CurvePoint, ...], ceiling: float, seed: int) -> Curves:
    """The curves that may lie behind points at two or more sizes, every one with rows; what was seen lifts `ceiling`.

    Sequential Monte Carlo (Del Moral, Doucet & Jasra, JRSS-B 2006): KEPT curves of the prior, to which the points
    are made known little by little, so that half of the curves survive each time; survivors then move on by
    Metropolis steps along the difference of two others (ter Braak, Statistics and Computing 2006). Remembered, for
    a finished run is judged again under many goals.
    """
    behind = _Behind(points, max(ceiling, *(point.score or 0.0 for point in points)))
    rng = np.random.default_rng(seed)
    places = np.concatenate([rng.random((6, KEPT)), rng.standard_normal((1, KEPT))])
    known, likelihood = 0.0, behind.log_likelihood(places)
    while known < 1:
        more = _as_much_as_half_survive(likelihood, 1 - known)
        known += more
        survivors = _resampled(more * likelihood, rng)
        places, likelihood = places[:, survivors], likelihood[survivors]
        for step in range(MOVES):
            places, likelihood = _moved(places, likelihood, known, behind, rng, bold=step % 2 == 0)
    return behind.curves(places)


def mean_variance(scores: Array, rows: float, dispersion: float) -> Array:
    """The variance of a mean over rows when its expectation is `scores`; never 0, as with half a row right or wrong."""
    smoothed = (rows * scores + 0.5) / (rows + 1)
    variance: Array = dispersion * smoothed * (1 - smoothed) / rows
    return variance


def describe_rows(points: Sequence[CurvePoint]) -> Rows:
    """Dispersion and likeness, from the scores of rows that every point answered; what is not known is assumed."""
    table = np.array([[math.nan if s is None else s for s in p.scores] for p in points if p.scores], dtype=np.float64)
    if len(table) < 2 or len(table) < len(points):
        return Rows(1.0, UNKNOWN_LIKENESS)
    table = table[:, ~np.isnan(table).any(axis=0)]
    if table.shape[1] < 8:
        return Rows(1.0, UNKNOWN_LIKENESS)
    covariance, means = np.cov(table), table.mean(axis=1)
    own, most = float(np.trace(covariance)), float((means * (1 - means)).sum())
    if own <= 0 or most <= 0:
        return Rows(1.0, UNKNOWN_LIKENESS)
    pairs = (float(covariance.sum()) - own) / (len(table) - 1)
    return Rows(min(1.0, max(0.05, own / most)), min(0.9, max(0.0, pairs / own)))


class _Behind:
    """What the points say of curves given by their places: shape (7, curves), six from 0 to 1 and a normal one."""

    def __init__(self, points: Sequence[CurvePoint], ceiling: float) -> None:
        self.anchor, self.ceiling = max(point.size for point in points), ceiling
        self.rows = describe_rows(points)
        self.by_size: dict[int, list[tuple[float, int]]] = {}
        for point in points:
            self.by_size.setdefault(point.size, []).append((point.score or 0.0, point.rows))

    def curves(self, places: Array) -> Curves:
        """The curves in these places of the prior."""
        last = BEGINS + (self.ceiling - BEGINS) * places[0]
        ahead = (self.ceiling - last) * places[1]
        # One place stands for all: no rise beside the power law, a rise with some share, a rise alone.
        share = np.clip((places[2] - 1 + RISES) / RISES / (1 - ALONE), 0.0, 1.0)
        at = WHERE[0] + (WHERE[1] - WHERE[0]) * places[3]
        width = WIDTHS[0] * (WIDTHS[1] / WIDTHS[0]) ** places[4]
        height = np.minimum(share * ahead / np.maximum(1 - _logistic(-at / width), 1e-9), self.ceiling - BEGINS)
        exponent = EXPONENTS[0] * (EXPONENTS[1] / EXPONENTS[0]) ** places[5]
        noise = SEED_NOISE * FACTOR ** places[6]
        return Curves(self.anchor, self.ceiling, last, (1 - share) * ahead, exponent, height, at, width, noise)

    def log_likelihood(self, places: Array) -> Array:
        """Of all points, for each curve."""
        curves, total = self.curves(places), np.zeros(places.shape[1])
        for size, seen in self.by_size.items():
            scores = curves.scores(size)
            seeds = curves.seed_spread(scores) ** 2
            for mean, count in seen:
                variance = seeds + (1 - self.rows.alike) * mean_variance(scores, count, self.rows.dispersion)
                total -= (mean - scores) ** 2 / (2 * variance) + np.log(variance) / 2
        return total


def _as_much_as_half_survive(likelihood: Array, most: float) -> float:
    """How much more of the points may be made known so that the curves are worth at least half their number."""

    def worth_half(more: float) -> bool:
        weights = np.exp(more * (likelihood - likelihood.max()))
        return bool(weights.sum() ** 2 >= KEPT / 2 * (weights**2).sum())

    if worth_half(most):
        return most
    low, high = 0.0, most
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if worth_half(middle) else (low, middle)
    return high


def _resampled(weights: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Systematic resampling, in random order."""
    chances = np.exp(weights - weights.max()).cumsum()
    ladder = (np.arange(KEPT) + rng.random()) / KEPT * chances[-1]
    return rng.permutation(np.minimum(np.searchsorted(chances, ladder), KEPT - 1))


def _moved(
    places: Array, likelihood: Array, known: float, behind: _Behind, rng: np.random.Generator, *, bold: bool
) -> tuple[Array, Array]:
    """Every curve after one Metropolis step, and its likelihood."""
    one, other = rng.integers(0, KEPT, (2, KEPT))
    stride = 0.64 if bold else 0.25
    tried = places + stride * (places[:, one] - places[:, other]) + 0.01 * rng.standard_normal(places.shape)
    tried[:6] = 1 - np.abs(1 - np.abs(tried[:6]) % 2)  # reflected at both walls
    found = behind.log_likelihood(tried)
    better = known * (found - likelihood) + (places[6] ** 2 - tried[6] ** 2) / 2
    accepted = np.log(rng.random(KEPT)) < better
    return np.where(accepted, tried, places), np.where(accepted, found, likelihood)


def _logistic(x: Array) -> Array:
    curve: Array = 0.5 * (1 + np.tanh(x / 2))
    return curve
