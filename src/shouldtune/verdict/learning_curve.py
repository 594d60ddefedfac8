"""Which learning curves may lie behind a few noisy points: a Bayesian average, drawn by importance sampling.

Three sizes do not identify a curve, so a fit must not pretend to: every curve that a prior allows is kept, weighted
by how well it explains the points. With x the size over the largest size seen and u = log2(x), the curve is

    score(x) = last - gap * (x^-b - 1) + height * (S((u - at) / width) - S(-at / width)),   within 0 and the ceiling,

S being the logistic function: the power law `ceiling - a * n^-b` written by its value `last` and its distance `gap`
from its own ceiling at x = 1, so that what the points fix is one parameter, and a rise beside it. The prior, and why:

| what        | prior                                        | because                                              |
|-------------|----------------------------------------------|------------------------------------------------------|
| last        | uniform, -0.2 to the ceiling                 | nothing is known of the task; below 0 is a task that |
|             |                                              | has not begun to be learnt                           |
| final score | uniform from `last` to the ceiling           | at most 1, or what wrong labels leave; never below   |
|             |                                              | what was seen, for training has a best epoch to ship |
| b           | log-uniform, 0.1 to 1.5                      | measured exponents are mostly 0.07 to 0.5 (Hestness  |
|             |                                              | et al. 2017); statistical rates are 0.5 and 1        |
| late rise   | has a share of the distance to the final     | power laws break (Caballero et al. 2023): a skill    |
|             | score with chance LATE, any share alike      | may come all at once, after a plateau                |
| at, width   | u from -1 to 7, log-uniform 0.15 to 1.5      | no size is likelier than another; from a jump to a   |
|             |                                              | slow S over several doublings                        |
| seed noise  | log-normal around SEED_NOISE, factor 2.2,    | two fine-tunes on other rows of one size differ by   |
|             | times 2 sqrt(p (1 - p))                      | points, less near 0 and 1                            |
| doubt       | normal, DOUBT times sqrt(u) ahead of the     | no family is true: the further ahead, the less so;   |
|             | largest size                                 | the only term by which a curve may fall              |

A point's error is that of its rows (all points share them: what is common to them moves the curve as a whole, and is
estimated from how alike the rows' scores are over the points) and that of its seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shouldtune.curves import CurvePoint

Array = NDArray[np.float64]

LATE = 0.3
SEED_NOISE = 0.02
DOUBT = 0.02
BEGINS = -0.2
EXPONENTS = (0.1, 1.5)
WHERE = (-1.0, 7.0)
WIDTHS = (0.15, 1.5)
SPREAD = 0.8
"""Of the logarithm of the seed noise: a factor of 2.2."""
DRAWN, KEPT = 150_000, 8_192
ALIKE = 0.5
"""How alike rows are over the points where only means are known."""


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
    effective: float = math.inf
    """How many independent curves they are worth."""

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

    def only(self, places: NDArray[np.intp], effective: float) -> Curves:
        """The curves in these places."""
        parts = (self.last, self.gap, self.exponent, self.height, self.at, self.width, self.seed_noise)
        return Curves(self.anchor, self.ceiling, *(part[places] for part in parts), effective=effective)


@dataclass(frozen=True)
class Rows:
    """What the rows' own scores tell about the error of a mean over them."""

    dispersion: float
    """The variance of a row's score over that of a 0/1 score with the same mean; 1 at most."""
    alike: float
    """The share of a mean's variance that all points have in common."""


def fit_curves(points: Sequence[CurvePoint], ceiling: float, seed: int) -> Curves:
    """The curves that may lie behind points at two or more sizes, every one with rows."""
    rows = describe_rows(points)
    sizes = np.array([point.size for point in points], dtype=np.float64)
    seen = np.array([point.score for point in points], dtype=np.float64)
    counts = np.array([point.rows for point in points], dtype=np.float64)
    largest = sizes == sizes.max()
    level, ceiling = float(seen[largest].mean()), max(ceiling, float(seen.max()))
    rng = np.random.default_rng(seed)
    error = math.sqrt(rows.dispersion * (level * (1 - level) + 0.1) / counts[largest].sum() + SEED_NOISE**2)
    curves, weights = _drawn(rng, int(sizes.max()), ceiling, level, error)
    for size in np.unique(sizes):
        scores = curves.scores(float(size))
        seeds = curves.seed_spread(scores) ** 2
        for mean, count in zip(seen[sizes == size], counts[sizes == size], strict=True):
            variance = seeds + (1 - rows.alike) * mean_variance(scores, count, rows.dispersion)
            weights -= (mean - scores) ** 2 / (2 * variance) + np.log(variance) / 2
    chances = np.exp(weights - weights.max())
    chances /= chances.sum()
    ladder = (np.arange(KEPT) + rng.random()) / KEPT
    places = np.minimum(np.searchsorted(chances.cumsum(), ladder), DRAWN - 1)
    return curves.only(rng.permutation(places), effective=float(1 / (chances**2).sum()))


def mean_variance(scores: Array, rows: float, dispersion: float) -> Array:
    """The variance of a mean over rows when its expectation is `scores`; never 0, as with half a row right or wrong."""
    smoothed = (rows * scores + 0.5) / (rows + 1)
    variance: Array = dispersion * smoothed * (1 - smoothed) / rows
    return variance


def describe_rows(points: Sequence[CurvePoint]) -> Rows:
    """Dispersion and likeness, from the scores of rows that every point answered; what is not known is assumed."""
    table = np.array([[math.nan if s is None else s for s in p.scores] for p in points if p.scores], dtype=np.float64)
    if len(table) < 2 or len(table) < len(points):
        return Rows(1.0, ALIKE)
    table = table[:, ~np.isnan(table).any(axis=0)]
    if table.shape[1] < 8:
        return Rows(1.0, ALIKE)
    covariance, means = np.cov(table), table.mean(axis=1)
    own, most = float(np.trace(covariance)), float((means * (1 - means)).sum())
    if own <= 0 or most <= 0:
        return Rows(1.0, ALIKE)
    pairs = (float(covariance.sum()) - own) / (len(table) - 1)
    return Rows(min(1.0, max(0.05, own / most)), min(0.9, max(0.0, pairs / own)))


def _drawn(rng: np.random.Generator, anchor: int, ceiling: float, level: float, error: float) -> tuple[Curves, Array]:
    """Curves from the prior, but `last` mostly near the level seen; with the logarithm of prior over proposal."""
    near = rng.random(DRAWN) < 0.75
    last = np.where(near, level + error * rng.standard_t(3, DRAWN), rng.uniform(BEGINS, ceiling, DRAWN))
    student = 2 / (math.pi * math.sqrt(3)) / (1 + ((last - level) / error) ** 2 / 3) ** 2 / error
    proposed = 0.75 * student + 0.25 / (ceiling - BEGINS)
    allowed = (last >= BEGINS) & (last <= ceiling)
    final = last + (ceiling - last) * rng.random(DRAWN)
    share = np.where(rng.random(DRAWN) < LATE, rng.random(DRAWN), 0.0)
    at, width = rng.uniform(*WHERE, DRAWN), np.exp(rng.uniform(*np.log(WIDTHS), DRAWN))
    ahead = np.maximum(1 - _logistic(-at / width), 1e-9)
    height = share * (final - last) / ahead
    allowed &= height <= ceiling - BEGINS
    exponent = np.exp(rng.uniform(*np.log(EXPONENTS), DRAWN))
    noise = SEED_NOISE * np.exp(SPREAD * rng.standard_normal(DRAWN))
    curves = Curves(anchor, ceiling, last, (1 - share) * (final - last), exponent, height, at, width, noise)
    with np.errstate(divide="ignore"):
        return curves, np.where(allowed, -np.log(proposed), -np.inf)


def _logistic(x: Array) -> Array:
    curve: Array = 0.5 * (1 + np.tanh(x / 2))
    return curve
