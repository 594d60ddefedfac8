"""How many holdout rows would settle what is open."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

from shouldtune.judgement import Interval
from shouldtune.verdict.bounds import Evidence
from shouldtune.verdict.columns import Column


def rows_needed(e: Evidence) -> int | None:
    """How many holdout rows would settle the answer four times in five, if the truth is what is estimated now.

    An interval's arm shrinks with the square root of n; the arm needed is the distance from the estimate to the
    line, less what chance takes away one time in five. Rounded up to two figures; None where every estimate lies on its
    line.
    """
    ratios = [ratio for ratio in _paths(e) if math.isfinite(ratio)]
    if not ratios:
        return None
    needed = max(e.n + 1, math.ceil(e.n * min(ratios)))
    coarse = int(10 ** max(0, len(str(needed)) - 2))
    return math.ceil(needed / coarse) * coarse


def _paths(e: Evidence) -> Iterator[float]:
    """For each way to an answer, by what factor the holdout must grow."""
    levels, worthwhile, goal = e.levels, e.goal.worthwhile_gain, e.goal.quality
    within = [c for c in e.candidates if c.limits == "within"]
    short = {c.name: 0.0 for c in e.columns}  # until a rung is proven to be below the goal
    if goal is not None:
        high = {c.name: levels.tuned_high if c.training else levels.high for c in e.columns}
        short = {c.name: _below(e.quality[c.name], goal, high[c.name]) for c in e.columns if c.limits != "broken"}
        yield from (_above(e.quality[c.name], goal, levels.low[c.name]) for c in e.shippable)
        yield max(short.values(), default=math.inf)
        for c in within:
            yield max([_above(e.quality[c.name], goal, levels.tuned_low), *(short[lower.name] for lower in e.lower)])
    for c in within:
        lines = {lower.name: max(worthwhile, _worth_it(e, c, lower)) for lower in e.lower}
        beaten = [_above(e.gains[c.name, name], line, levels.gain) for name, line in lines.items()]
        yield max([*beaten, *(short[lower.name] for lower in e.lower)], default=math.inf)
    small = [
        min(
            (_below(e.gains[c.name, s.name], worthwhile, levels.no_gain[s.name]) for s in e.shippable), default=math.inf
        )
        for c in e.candidates
    ]
    yield max([*small, *(short[c.name] for c in e.candidates)], default=math.inf)


def _worth_it(e: Evidence, tuned: Column, c: Column) -> float:
    """The gain that brings what a candidate costs beyond a rung; 0 where that is not known."""
    more = e.more.get((tuned.name, c.name))
    return more.high / e.money.worth if more is not None and e.money.worth else 0.0


def _above(interval: Interval, line: float, level: float) -> float:
    if interval.low > line:  # what a beaten rung inherits may say more than its own rows
        return 0.0
    if interval.estimate is None or interval.estimate <= line:
        return math.inf
    return _growth(interval.estimate - interval.low, interval.estimate - line, level)


def _below(interval: Interval, line: float, level: float) -> float:
    if interval.high < line:
        return 0.0
    if interval.estimate is None or interval.estimate >= line:
        return math.inf
    return _growth(interval.high - interval.estimate, line - interval.estimate, level)


def _growth(arm: float, distance: float, level: float) -> float:
    normal = NormalDist()
    chance = 1 + normal.inv_cdf(0.8) / normal.inv_cdf(1 - level)
    return (arm * chance / distance) ** 2
