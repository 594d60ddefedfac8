"""Do the probes find the causes? Worlds whose causes were planted, and the shares that `diagnose` finds in them.

Every world draws the true shares of the causes (even, uneven, or nearly one cause alone), the number of failures (64
to 300), how often a placebo repairs (0 to 0.3) and whether that sticks to examples, how often `label` doubts a right
target (0 to 0.1), and how often a later probe would have repaired an earlier one's failures too. The truth is the
shares that the failures were drawn from, so the draw of the failures is part of the error. Probes are perfect here: a
cause's own probe always repairs. The last table tells what happens where it repairs only four times in five.

    python benchmarks/verdicts/probes.py [worlds, 600 unless said]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shouldtune.stats import clopper_pearson
from shouldtune.verdict.probes import PROBES, SEGMENTS, Tried, diagnose

NAMES = (*SEGMENTS.values(), "unexplained")
SUCCESSES = 64
Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    shares: Array
    failures: tuple[Tried, ...]
    successes: tuple[Tried, ...]
    chance: float


def draw(seed: int, n: int | None = None, chance: float | None = None, power: float = 1.0) -> World:
    """A world; `power` is how often a cause's own probe repairs."""
    rng = np.random.default_rng([20_240, seed])
    n = int(rng.integers(64, 301)) if n is None else n
    shares = rng.dirichlet(np.full(len(NAMES), rng.choice([0.4, 1.0, 3.0])))
    rate = float(rng.uniform(0.0, 0.3)) if chance is None else chance
    alike, false_alarms = rng.choice([0.3, 2.0, np.inf]), rng.uniform(0.0, 0.1)
    cause = rng.choice(len(NAMES), size=n, p=shares)
    chances = np.full(n, rate) if np.isinf(alike) or rate == 0 else rng.beta(rate * alike, (1 - rate) * alike, n)
    if rng.random() < 0.5:  # no rewording finds an answer that is not so
        chances = np.where(cause == 0, 0.0, chances)
    also = rng.uniform(0, 1, (len(NAMES), len(PROBES))) * (rng.random((len(NAMES), len(PROBES))) < 0.5)
    repaired = rng.random((n, len(PROBES))) < chances[:, None]
    repaired[:, 0] = rng.random(n) < false_alarms
    for place in range(1, len(PROBES)):
        repaired[:, place] |= (cause < place) & (rng.random(n) < also[cause, place])
    own = cause < len(PROBES)
    repaired[np.flatnonzero(own), cause[own]] = rng.random(int(own.sum())) < power
    placebo = rng.random((n, 1)) < chances[:, None]
    doubted = rng.random(SUCCESSES) < false_alarms
    return World(shares, rows("failure", repaired, placebo), rows("success", ~doubted[:, None], None), rate)


def rows(kind: str, passes: NDArray[np.bool_], placebo: NDArray[np.bool_] | None) -> tuple[Tried, ...]:
    return tuple(
        Tried(
            f"{kind}-{i}",
            dict(zip(PROBES, map(bool, row), strict=False)),
            () if placebo is None else tuple(map(bool, placebo[i])),
        )
        for i, row in enumerate(passes)
    )


def judged(world: World) -> tuple[Array, NDArray[np.bool_], Array]:
    """(signed error, whether the interval covers, its width) of each segment."""
    found = [each.share for each in diagnose(world.failures, world.successes, PROBES).shares]
    error = np.array([each.estimate for each in found], dtype=float) - world.shares
    covers = [each.low <= truth <= each.high for each, truth in zip(found, world.shares, strict=True)]
    return error, np.array(covers), np.array([each.high - each.low for each in found])


def by_segment(worlds: Sequence[World]) -> str:
    errors, covers, widths = (np.array(each) for each in zip(*map(judged, worlds), strict=True))
    lines = ["| segment | mean absolute error | bias | 90% intervals cover | their width |", "|---|---|---|---|---|"]
    for i, name in enumerate(NAMES):
        count = clopper_pearson(float(covers[:, i].sum()), len(worlds), 0.05)
        lines.append(
            f"| {name} | {100 * abs(errors[:, i]).mean():.1f} points | {100 * errors[:, i].mean():+.1f} |"
            f" {count.estimate:.3f} ({count.low:.3f} to {count.high:.3f}) | {100 * widths[:, i].mean():.0f} points |"
        )
    lines.append(
        f"| **all** | **{100 * abs(errors).mean():.1f} points** | | **{covers.mean():.3f}** |"
        f" {100 * widths.mean():.0f} points |"
    )
    return "\n".join(lines)


def by_size(worlds: int) -> str:
    sizes, chances = (32, 64, 96, 150, 300), (0.0, 0.1, 0.2, 0.3)
    lines = [f"| failures | {' | '.join(f'placebo {c:g}' for c in chances)} |", "|---" * (len(chances) + 1) + "|"]
    for n in sizes:
        cells = []
        for chance in chances:
            found = [judged(draw(seed, n, chance)) for seed in range(worlds)]
            cells.append(
                f"{100 * np.mean([abs(e) for e, _, _ in found]):.1f} ({np.mean([c for _, c, _ in found]):.2f})"
            )
        lines.append(f"| {n} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    worlds = int(arguments[0]) if arguments else 600
    print(f"{worlds} worlds, 64 to 300 failures, placebo 0 to 0.3\n\n{by_segment([draw(s) for s in range(worlds)])}\n")
    print(f"Mean absolute error in points (coverage), {worlds // 6} worlds a cell\n\n{by_size(worlds // 6)}\n")
    imperfect = [draw(seed, power=0.8) for seed in range(worlds // 2)]
    print(f"{worlds // 2} worlds whose probes repair four in five of what they are for\n\n{by_segment(imperfect)}")


if __name__ == "__main__":
    main(sys.argv[1:])
