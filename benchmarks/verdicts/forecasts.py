"""Does a 90% forecast hold what comes later? Curve worlds of known truth, and real curves where they were measured.

Every world is a learning curve that the forecast's own family does not generate (curve_worlds.py): six points are
seen, and the true scores of one fine-tune on n, 2n, 5n and 10n examples are drawn. Beside each forecast stands the
baseline: the last point (both subsets at the largest size) and its own 90% interval. The interval score is the width
and 20 times what the truth lies outside (Gneiting & Raftery, JASA 2007): less is better. A skip is false where the
fine-tune that it spares would have gained `worthwhile_gain` or more. In brackets: two-sided 95% limits.

    python benchmarks/verdicts/forecasts.py [worlds a class, 250 unless said; 0 for the real ones alone] [tuning]

Below stand the curves of curves.json, where curves.py has measured them: the points up to a quarter of the examples are
seen, and the scores measured later, on the same rows, are foretold.

The prior's settings were tuned on the worlds of the purpose `tuning` alone; what is reported comes from `evaluation`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from curve_worlds import CLASSES, draw, one_tune, row_scores, see

from shouldtune.curves import CurvePoint
from shouldtune.judgement import Interval
from shouldtune.stats import clopper_pearson, mean_interval
from shouldtune.types import Goal
from shouldtune.verdict.forecast import TIMES, Forecast, forecast, may_skip

CURVES = Path(__file__).parent / "curves.json"
ALPHA = 0.1
SKIP_LEVEL = 0.05 / 4
"""The forecast's share of a run's alpha."""
GOALS = Goal(worthwhile_gain=0.03)


@dataclass(frozen=True)
class Found:
    """What one world showed; lists run over TIMES."""

    inside: list[bool]
    scores: list[float]
    inside_baseline: list[bool]
    scores_baseline: list[float]
    gain_inside: bool
    until_inside: bool
    skipped: bool
    false_skip: bool
    tried_in_vain: bool
    """A full fine-tune that brings too little was not spared."""


def interval_score(interval: Interval, truth: float, alpha: float = ALPHA) -> float:
    """Gneiting & Raftery (2007), equation 43."""
    outside = max(0.0, interval.low - truth) + max(0.0, truth - interval.high)
    return interval.high - interval.low + 2 / alpha * outside


def baseline(points: Sequence[CurvePoint]) -> Interval:
    """The last point and its interval, whatever the size asked about."""
    largest = max(point.size for point in points)
    rows = np.array([point.scores for point in points if point.size == largest], dtype=np.float64)
    return mean_interval(rows.mean(axis=0), ALPHA)


def contains(interval: Interval, truth: float) -> bool:
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


def look(number: int, i: int, purpose: str) -> Found:
    """Forecast one world and compare with its truth."""
    world, rng = draw(number, i, purpose)
    hard = rng.standard_normal(world.rows)
    points = see(world, hard, rng)
    truths = [one_tune(world, np.log2(times), rng) for times in TIMES]
    skill = float(rng.uniform(0, 1))
    lower = row_scores(world, skill, hard, rng)
    made = forecast(points)
    assert made is not None
    ahead = [made.score(times * world.n, ALPHA) for times in TIMES]
    last, gain = baseline(points), truths[0] - skill
    worth = gain >= GOALS.worthwhile_gain
    skipped = may_skip(points, lower, world.n, GOALS, SKIP_LEVEL) is not None
    return Found(
        inside=[contains(a, t) for a, t in zip(ahead, truths, strict=True)],
        scores=[interval_score(a, t) for a, t in zip(ahead, truths, strict=True)],
        inside_baseline=[contains(last, t) for t in truths],
        scores_baseline=[interval_score(last, t) for t in truths],
        gain_inside=contains(made.gain(world.n, lower, ALPHA / 2, ALPHA / 2), gain),
        until_inside=until_holds(made, world.curve, world.n, float(rng.uniform(0.3, 0.95))),
        skipped=skipped,
        false_skip=skipped and worth,
        tried_in_vain=not skipped and not worth,
    )


def until_holds(made: Forecast, curve: object, n: int, goal: float) -> bool:
    """Whether the number of examples that the goal truly takes lies within what is foretold, to within a tenth.

    The forecast looks at eight sizes a doubling, so that its own answer is no finer than that.
    """
    found = made.examples_until(goal, ALPHA)
    sizes = np.geomspace(min(p.size for p in made.points), found.most, 2000)
    reached = [size for size in sizes if curve(np.log2(size / n)) >= goal]  # type: ignore[operator]
    truth = reached[0] if reached else np.inf
    low = np.inf if found.low is None else found.low
    return bool(low <= truth * 1.1 and (found.high is None or truth <= found.high * 1.1))


def share(flags: Sequence[bool]) -> str:
    """A rate with its two-sided 95% limits."""
    found = clopper_pearson(sum(flags), len(flags), 0.05)
    return f"{sum(flags) / len(flags):.3f} ({found.low:.3f}-{found.high:.3f})"


def line(name: str, found: Sequence[Found]) -> str:
    """One row of the table."""
    by_time = [f"{np.mean([f.inside[k] for f in found]):.2f}" for k in range(len(TIMES))]
    n = len(found)
    held = sum(float(np.mean(f.inside)) for f in found)
    limits = clopper_pearson(held, n, 0.05)
    last = float(np.mean([f.inside_baseline for f in found]))
    scores = np.mean([f.scores for f in found]), np.mean([f.scores_baseline for f in found])
    cells = [
        name,
        f"{held / n:.3f} ({limits.low:.3f}-{limits.high:.3f})",
        *by_time,
        f"{last:.2f}",
        f"{scores[0]:.2f}",
        f"{scores[1]:.2f}",
        f"{np.mean([f.gain_inside for f in found]):.2f}",
        f"{np.mean([f.until_inside for f in found]):.2f}",
        f"{np.mean([f.skipped for f in found]):.2f}",
        share([f.false_skip for f in found]),
        f"{np.mean([f.tried_in_vain for f in found]):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEADINGS = (
    "curves",
    "inside 90%",
    *("n" if times == 1 else f"{times}n" for times in TIMES),
    "last point's",
    "interval score",
    "last point's",
    "gain inside",
    "until inside",
    "skipped",
    "false skip",
    "not skipped in vain",
)


def simulate(worlds: int, purpose: str) -> None:
    """Print the table of the simulated worlds."""
    print(f"{worlds} worlds a class, {purpose}; skips at level {SKIP_LEVEL}\n")
    print(f"| {' | '.join(HEADINGS)} |\n{'|---' * len(HEADINGS)}|")
    everything: list[Found] = []
    for number, kind in enumerate(CLASSES):
        found = [look(number, i, purpose) for i in range(worlds)]
        everything += found
        print(line(kind.__name__.replace("_", " "), found), flush=True)
    print(line("all, equal shares", everything))


def replay(path: Path) -> list[str]:
    """A line for every later point of every real curve, and how many lie inside."""
    lines, inside, scores = [], 0, []
    for name, curve in json.loads(path.read_text(encoding="utf-8")).items():
        measured = [CurvePoint.scored(p["size"], tuple(p["scores"]), p["subset"]) for p in curve["points"]]
        seen = [point for point in measured if point.size <= curve["n"] / 4]
        made = forecast(seen)
        if made is None:
            continue
        last, found = baseline(seen), ", ".join(f"{p.size}: {p.score:.2f}" for p in seen)
        for point in measured:
            if point in seen or point.score is None:
                continue
            ahead = made.score(point.size, ALPHA, same_rows=True)
            held = contains(ahead, point.score)
            inside += held
            scores.append((interval_score(ahead, point.score), interval_score(last, point.score)))
            foretold = f"{ahead.estimate:.2f} ({ahead.low:.2f}-{ahead.high:.2f})"
            before = f"{last.low:.2f}-{last.high:.2f}"
            lines.append(f"| {name} | {found} | {point.size} | {foretold} | {before} | {point.score:.2f} | {held} |")
    ours, theirs = np.mean(scores, axis=0) if scores else (np.nan, np.nan)
    return [*lines, f"\n{inside} of {len(scores)} inside; interval score {ours:.2f}, of the last point {theirs:.2f}"]


def main(arguments: list[str]) -> None:
    worlds = int(arguments[0]) if arguments else 250
    purpose = arguments[1] if len(arguments) > 1 else "evaluation"
    if worlds:
        simulate(worlds, purpose)
    if CURVES.exists():
        headings = ("real curve", "seen", "examples", "foretold", "last point's", "measured", "inside")
        print(f"\n| {' | '.join(headings)} |\n{'|---' * len(headings)}|")
        print("\n".join(replay(CURVES)))


if __name__ == "__main__":
    main(sys.argv[1:])
