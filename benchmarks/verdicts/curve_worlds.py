"""Worlds for the forecast: learning curves that its own family of curves does not generate, and their noise.

A curve is a function of u = log2(size / n), n being the examples at hand: points are seen at u = -4, -3 and -2, and
what is to be foretold lies at u = 0 and beyond. The classes, their ranges and their equal shares were fixed before
anything was measured. `purpose` keeps the worlds that settings were tuned on apart from those that are reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from shouldtune.curves import CurvePoint

Rng = np.random.Generator
Curve = Callable[[float], float]
Purpose = str
SEEDS = {"tuning": 7919, "evaluation": 104_729}
SHARES = (16, 8, 4)
SUBSETS = 2


@dataclass(frozen=True)
class World:
    """One task's learning curve, how it is seen, and what is true later."""

    curve: Curve
    n: int
    rows: int
    alike: float
    """How alike the rows' scores are over all models."""
    graded: bool
    seed_noise: float
    """Standard deviation between fine-tunes at a score of 0.5 and n examples."""
    noise_growth: float
    """By what factor it grows when the examples are halved."""


def broken_power_law(rng: Rng) -> Curve:
    """Two regimes with a smooth break between them (Caballero et al. 2023): slower or quicker afterwards."""
    top = rng.uniform(0.5, 1.0)
    start, first = rng.uniform(0.3, 1.0) * top, rng.uniform(0.05, 0.5)
    change, at, sharp = rng.uniform(-0.9 * first, 1.0), rng.uniform(-4, 2), rng.uniform(0.1, 1.0)
    return lambda u: top - start * 2 ** (-first * (u + 4)) * (1 + 2 ** ((u - at) / sharp)) ** (-change * sharp)


def plateau(rng: Rng) -> Curve:
    """A power law that stops dead."""
    start, power, stop = rng.uniform(0.4, 1.0), rng.uniform(0.1, 0.8), rng.uniform(-3.5, 2)
    return lambda u: 1 - start * 2 ** (-power * (min(u, stop) + 4))


def sigmoid(rng: Rng) -> Curve:
    """Slow, quick, slow in the logarithm of the size."""
    low = rng.uniform(0, 0.4)
    high, at, width = rng.uniform(low, 1), rng.uniform(-5, 2), rng.uniform(0.3, 1.5)
    return lambda u: low + (high - low) / (1 + np.exp(-(u - at) / width))


def dip(rng: Rng) -> Curve:
    """More examples make it worse for a while, as in double descent (Nakkiran et al. 2021)."""
    under, depth = saturating(rng), rng.uniform(0.03, 0.15)
    at, width = rng.uniform(-4, 3), rng.uniform(0.3, 1.0)
    return lambda u: under(u) - depth * np.exp(-(((u - at) / width) ** 2) / 2)


def flat(rng: Rng) -> Curve:
    """Training teaches nothing that more examples would deepen."""
    level = rng.uniform(0, 1)
    return lambda u: level


def late_rise(rng: Rng) -> Curve:
    """A plateau, then a jump somewhere between the last size seen and eight times the examples at hand."""
    level, slope = rng.uniform(0, 0.6), rng.uniform(0, 0.02)
    height, at, width = rng.uniform(0.05, 1 - level), rng.uniform(-2, 3), rng.uniform(0.05, 0.5)
    return lambda u: level + slope * (u + 4) + height / (1 + np.exp(-(u - at) / width))


def logarithmic(rng: Rng) -> Curve:
    """Every doubling brings as much, up to a top."""
    level, slope, top = rng.uniform(0, 0.6), rng.uniform(0.01, 0.08), rng.uniform(0.8, 1.0)
    return lambda u: min(top, level + slope * (u + 4))


def saturating(rng: Rng) -> Curve:
    """Exponential in the size."""
    top = rng.uniform(0.4, 1.0)
    start, at = rng.uniform(0.2, 1.0) * top, rng.uniform(-4, 1)
    return lambda u: top - start * np.exp(-(2 ** (u - at)))


CLASSES: tuple[Callable[[Rng], Curve], ...] = (
    broken_power_law,
    plateau,
    sigmoid,
    dip,
    flat,
    late_rise,
    logarithmic,
    saturating,
)


def draw(number: int, i: int, purpose: Purpose) -> tuple[World, Rng]:
    """World `i` of class `number`, and the generator for what is drawn in it."""
    rng = np.random.default_rng([number, i, SEEDS[purpose]])
    curve = CLASSES[number](rng)
    made = World(
        curve,
        n=int(rng.choice([128, 256, 512, 1024, 2048])),
        rows=int(rng.choice([64, 100, 150, 250])),
        alike=float(rng.uniform(0.1, 0.95)),
        graded=bool(rng.random() < 0.25),
        seed_noise=float(0.02 * np.exp(0.6 * rng.standard_normal())),
        noise_growth=float(rng.uniform(1.0, 1.25)),
    )
    return made, rng


def one_tune(world: World, u: float, rng: Rng) -> float:
    """The true mean score of one fine-tune: the curve and the luck of its seed."""
    mean = float(np.clip(world.curve(u), 0, 1))
    spread = world.seed_noise * world.noise_growth ** max(0.0, -u) * 2 * np.sqrt(mean * (1 - mean))
    return float(np.clip(mean + spread * rng.standard_normal(), 0, 1))


def row_scores(world: World, skill: float, hard: np.ndarray, rng: Rng) -> tuple[float, ...]:
    """What each row scores where the mean is `skill`: rows that are hard for one are hard for all, more or less."""
    drawn = np.sqrt(world.alike) * hard + np.sqrt(1 - world.alike) * rng.standard_normal(hard.size)
    scores = (drawn < NormalDist().inv_cdf(min(max(skill, 1e-9), 1 - 1e-9))).astype(float)
    if world.graded and 0.01 < skill < 0.99:
        scores = np.where(rng.random(hard.size) < 0.5, scores, rng.beta(2 * skill, 2 * (1 - skill), hard.size))
    return tuple(map(float, scores))


def see(world: World, hard: np.ndarray, rng: Rng) -> list[CurvePoint]:
    """The points: two subsets at each size, on the same rows."""
    return [
        CurvePoint.scored(
            max(1, world.n // share), row_scores(world, one_tune(world, -np.log2(share), rng), hard, rng), subset
        )
        for share in SHARES
        for subset in range(SUBSETS)
    ]
