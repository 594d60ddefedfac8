"""How often an interval misses the truth that a world was drawn from, each end by itself, beside the textbook's way.

Both ends are at a level of 2.5%. Prints a Markdown table: in each cell the share of worlds in which the lower end
lies above the truth, the share in which the upper end lies below it, and the mean width.

    python benchmarks/statistics/coverage.py means|gains|sequences|seeds|judge [worlds, 1000 unless said]
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from shouldtune.stats import (
    clustered_mean_interval,
    clustered_paired_interval,
    judged_mean,
    mean_interval,
    seed_mean_interval,
    wilson,
)
from shouldtune.stats.clusters import cluster_error
from shouldtune.stats.distributions import student_quantile
from shouldtune.stats.group_sequences import group_mean_high, group_mean_low
from shouldtune.stats.sequences import mean_high, mean_low

ALPHA = 0.05
Rng = np.random.Generator
Array = NDArray[np.float64]
Limits = Mapping[str, tuple[float, float]]
"""What each way of making an interval says."""
World = tuple[str, float, Callable[[Rng, int], Limits]]
"""A name, the truth, and what a draw and its seed lead to."""


def alike(rng: Rng, groups: int, mean: float, correlation: float) -> tuple[Array, list[str]]:
    """0/1 scores in groups of 1 to 19 rows with an intra-group correlation (beta-binomial)."""
    sizes, s = rng.integers(1, 20, groups), (1 - correlation) / correlation
    chances = np.repeat(rng.beta(mean * s, (1 - mean) * s, groups), sizes)
    return (rng.random(chances.size) < chances).astype(float), [str(g) for g in np.repeat(np.arange(groups), sizes)]


def about(x: Array, names: list[str], groups: int) -> tuple[float, float]:
    """The textbook's: the mean, and Student's arms of cluster-robust errors."""
    arm = student_quantile(ALPHA / 2, groups - 1) * (cluster_error(x, names) or 0.0)
    return float(x.mean()) - arm, float(x.mean()) + arm


def means() -> Iterator[World]:
    """Means over rows in groups."""
    for groups, mean, correlation in itertools.product((6, 12, 30, 80), (0.5, 0.8, 0.95), (0.05, 0.3, 0.95)):

        def drawn(rng: Rng, _: int, g: int = groups, m: float = mean, c: float = correlation) -> Limits:
            x, names = alike(rng, g, m, c)
            ours, rows = clustered_mean_interval(x, names, ALPHA), wilson(float(x.sum()), x.size, ALPHA)
            return {
                "ours": (ours.low, ours.high),
                "cluster-robust t": about(x, names, g),
                "rows as independent": (rows.low, rows.high),
            }

        yield f"{groups} groups, mean {mean}, correlation {correlation}", mean, drawn


def gains() -> Iterator[World]:
    """Paired differences of rows in groups; three rows in ten differ."""
    for groups, gain, correlation in itertools.product((6, 12, 30, 80), (0.0, 0.1), (0.05, 0.5)):

        def drawn(rng: Rng, _: int, g: int = groups, d: float = gain, c: float = correlation) -> Limits:
            sizes, s = rng.integers(1, 20, g), (1 - c) / c
            chances = np.repeat(rng.dirichlet(np.array([0.15 + d / 2, 0.15 - d / 2, 0.7]) * s, g), sizes, axis=0)
            u, names = rng.random(len(chances)), [str(i) for i in np.repeat(np.arange(g), sizes)]
            a = (u < chances[:, 0]).astype(float)
            b = ((u >= chances[:, 0]) & (u < chances[:, 0] + chances[:, 1])).astype(float)
            ours = clustered_paired_interval(a, b, names, ALPHA)
            return {"ours": (ours.low, ours.high), "cluster-robust t": about(a - b, names, g)}

        yield f"{groups} groups, gain {gain}, correlation {correlation}", gain, drawn


def sequences() -> Iterator[World]:
    """The last of limits that hold after every group; the chance of ever being wrong is that of its being wrong."""
    for groups, mean, correlation in itertools.product((30, 100), (0.5, 0.9), (0.05, 0.95)):

        def drawn(rng: Rng, _: int, g: int = groups, m: float = mean, c: float = correlation) -> Limits:
            x, names = alike(rng, g, m, c)
            scores, level = x.tolist(), ALPHA / 2
            ours = group_mean_low(scores, names, 19, level), group_mean_high(scores, names, 19, level)
            return {"ours": ours, "rows as independent": (mean_low(scores, level), mean_high(scores, level))}

        yield f"{groups} groups, mean {mean}, correlation {correlation}", mean, drawn


def seeds() -> Iterator[World]:
    """The expected score over the seeds of a fine-tune; 0.5 but where one seed in ten collapses to 0.1."""
    for spread, (count, examples), collapsing in (
        *itertools.product((0.0, 0.3, 0.8), ((2, 200), (3, 200), (5, 200), (5, 1000)), (0.0,)),
        (0.3, (3, 200), 0.1),
    ):

        def drawn(
            rng: Rng, seed: int, spread: float = spread, s: int = count, n: int = examples, c: float = collapsing
        ) -> Limits:
            logits = rng.normal(0, 1.5, n) + rng.normal(0, spread, s)[:, None]
            chances = np.where(rng.random(s)[:, None] < c, 0.1, 1 / (1 + np.exp(-logits)))
            x = (rng.random((s, n)) < chances).astype(float)
            found = {
                "ours": seed_mean_interval(x.tolist(), ALPHA),
                "seeds pooled as rows": wilson(float(x.sum()), x.size, ALPHA),
                "seeds forgotten": wilson(float(x.sum()) / s, n, ALPHA),
            }
            return {way: (interval.low, interval.high) for way, interval in found.items()}

        rare = ", one in ten collapses" if collapsing else ""
        yield f"{count} seeds, {examples} rows, spread {spread}{rare}", 0.5 - 0.4 * collapsing, drawn


def judge() -> Iterator[World]:
    """The mean that people would give, 0.6, by a judge who passes a share of what they find wrong."""
    for passed, (labelled, others) in itertools.product((0.05, 0.4), ((20, 500), (50, 100), (50, 2000), (200, 2000))):

        def drawn(rng: Rng, seed: int, p: float = passed, n: int = labelled, more: int = others) -> Limits:
            human = (rng.random(n + more) < 0.6).astype(float)
            says = np.where((human == 0) & (rng.random(n + more) < p), 1.0, human)
            found = judged_mean(human[:n], says[:n], says[n:], ALPHA)
            middle = found.weight * says[n:].mean() + (human[:n] - found.weight * says[:n]).mean()
            arm = student_quantile(ALPHA / 2, math.inf) * (found.error or 0.0)
            alone = mean_interval(human[:n], ALPHA)
            return {
                "ours": (found.mean.low, found.mean.high),
                "PPI++ as published": (middle - arm, middle + arm),
                "labels alone": (alone.low, alone.high),
            }

        yield f"passes {passed:.0%}, {labelled} labels, {others} others", 0.6, drawn


SUBJECTS = {"means": means, "gains": gains, "sequences": sequences, "seeds": seeds, "judge": judge}


def main() -> None:
    subject, worlds = SUBJECTS[sys.argv[1]], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    for number, (name, truth, drawn) in enumerate(subject()):
        missed: dict[str, list[tuple[bool, bool, float]]] = {}
        for i in range(worlds):
            for way, (low, high) in drawn(np.random.default_rng([number, i]), i).items():
                missed.setdefault(way, []).append((low > truth + 1e-9, high < truth - 1e-9, high - low))
        if number == 0:
            print("| world | " + " | ".join(missed) + " |\n|" + "---|" * (len(missed) + 1))
        cells = [" / ".join(f"{share:.3f}" for share in np.mean(found, axis=0)) for found in missed.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
