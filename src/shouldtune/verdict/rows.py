"""The table: one function a row, each from Evidence to a Finding, or None where it does not hold.

The first row that holds wins. A failed call is the worst case in every limit here, so filling it in could only
add findings; `finding_if_filled` looks for one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

from shouldtune.stats import filled
from shouldtune.types import Answer, Goal, Interval, Reason
from shouldtune.verdict.bounds import Evidence, gather
from shouldtune.verdict.columns import Column
from shouldtune.verdict.limits import WHOLE, Shares

Path = Literal["goal", "relative", "beats", "only_one", "gain", "ceiling", "limits", "none"]


@dataclass(frozen=True)
class Finding:
    """A row that holds: what it answers, and by which of its paths."""

    answer: Answer
    reason: Reason
    rung: str | None
    path: Path


def no_model_needed(e: Evidence) -> Finding | None:
    """A rung without an LLM meets the goal, or, where there is none, is as good as any."""
    for c in e.shippable:
        if not c.uses_llm and meets_goal(e, c):
            return Finding("no", "no_model_needed", c.name, "goal")
    for c in e.shippable:
        against = [gap.low for (free, _), gap in e.relative.items() if free == c.name]
        if against and min(against) > -e.goal.worthwhile_gain:
            return Finding("no", "no_model_needed", c.name, "relative")
    return None


def goal_met(e: Evidence) -> Finding | None:
    """A rung without training meets the goal."""
    for c in e.shippable:
        if meets_goal(e, c):
            return Finding("no", "goal_met", c.name, "goal")
    return None


def tune(e: Evidence) -> Finding | None:
    """A candidate beats every rung without training, or alone meets the goal.

    With a goal, no rung without training may still be able to meet it: were it met, the answer would be no.
    """
    if len(e.trained) == len(e.columns) or (e.goal.quality is not None and not all(below_goal(e, c) for c in e.lower)):
        return None
    for tuned in e.candidates:
        gains = [e.gains[tuned.name, c.name].low for c in e.lower]
        if tuned.limits == "within" and gains and min(gains) > e.goal.worthwhile_gain:
            return Finding("yes", "tune", tuned.name, "beats")
        if meets_goal(e, tuned):
            return Finding("yes", "tune", tuned.name, "only_one")
    return None


def out_of_reach(e: Evidence) -> Finding | None:
    """No rung at hand can reach the goal within the limits."""
    ruled_out = [c.limits == "broken" or below_goal(e, c) for c in e.columns]
    if e.goal.quality is not None and ruled_out and all(ruled_out):
        return Finding("not_yet", "out_of_reach", None, "goal")
    return None


def no_gain(e: Evidence) -> Finding | None:
    """Tuning adds less than would be worth it, and no candidate can be the only one that meets the goal."""
    best = e.best(e.shippable)
    ship = best.name if best else None
    if e.trained and not e.candidates:
        return Finding("no", "no_gain", ship, "limits")
    if e.goal.quality is not None and not (e.candidates and all(below_goal(e, c) for c in e.candidates)):
        return None
    if best and e.quality[best.name].low > 1 - e.goal.worthwhile_gain:
        return Finding("no", "no_gain", ship, "ceiling")
    over = [lowest_gain(e, tuned) for tuned in e.candidates]
    if over and all(gain is not None and gain.high < e.goal.worthwhile_gain for _, gain in over):
        return Finding("no", "no_gain", ship, "gain")
    return None


ROWS: tuple[Callable[[Evidence], Finding | None], ...] = (no_model_needed, goal_met, tune, out_of_reach, no_gain)


def findings(e: Evidence) -> list[Finding]:
    """Every row that holds, the one that wins first."""
    return [finding for row in ROWS if (finding := row(e)) is not None]


def meets_goal(e: Evidence, c: Column) -> bool:
    """Whether it is proven that a rung reaches the goal and keeps its limits."""
    return e.goal.quality is not None and c.limits == "within" and e.quality[c.name].low >= e.goal.quality


def below_goal(e: Evidence, c: Column) -> bool:
    """Whether it is proven that a rung does not reach the goal's quality."""
    return e.goal.quality is not None and e.quality[c.name].high < e.goal.quality


def lowest_gain(e: Evidence, tuned: Column) -> tuple[str, Interval | None]:
    """The rung over which a candidate is proven to gain least, and its gain; None where there is no such rung."""
    gains = {c.name: e.gains[tuned.name, c.name] for c in e.shippable}
    name = min(gains, key=lambda name: gains[name].high, default="")
    return name, gains.get(name)


# ---------------------------------------------------------------- what failed calls and missing prices hide


def finding_if_filled(
    goal: Goal, columns: Sequence[Column], sharing: int, seed: int, shares: Shares = WHOLE
) -> Finding | None:
    """What would be found if the failed calls were all 0 or all 1, rung by rung, and unknown limits were kept.

    Every row is monotone in each rung's scores, so the few fillings that favour a row most stand for all of them.
    """
    if not any(c.failed or c.limits == "unknown" for c in columns):
        return None
    known = [replace(c, limits="within" if c.limits == "unknown" else c.limits) for c in columns]
    for ones in _fillings(columns):
        trial = [replace(c, scores=_filled(c, 1.0 if c.name in ones else 0.0)) for c in known]
        found = findings(gather(goal, trial, sharing, seed, shares))
        if found:
            return found[0]
    return None


def _fillings(columns: Sequence[Column]) -> Iterator[frozenset[str]]:
    """Which rungs' failed calls to set to 1, the rest being 0."""
    untrained = frozenset(c.name for c in columns if not c.training)
    trained = frozenset(c.name for c in columns if c.training)
    free = [frozenset([c.name]) for c in columns if not c.uses_llm and not c.training]
    yield from dict.fromkeys([untrained, trained, frozenset[str](), untrained | trained, *free])


def _filled(c: Column, value: float) -> tuple[float | None, ...]:
    """Its failed calls set to `value`; rows that were never asked stay open."""
    answered = filled(c.asked_scores, value)
    return (*answered, *c.scores[len(answered) :])


# ---------------------------------------------------------------- how many rows would settle it


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
        short = {c.name: _below(e.quality[c.name], goal, levels.high) for c in e.columns if c.limits != "broken"}
        yield from (_above(e.quality[c.name], goal, levels.low) for c in e.shippable)
        yield max(short.values(), default=math.inf)
        for c in within:
            yield max([_above(e.quality[c.name], goal, levels.tuned_low), *(short[lower.name] for lower in e.lower)])
    for c in within:
        beaten = [_above(e.gains[c.name, lower.name], worthwhile, levels.gain) for lower in e.lower]
        yield max([*beaten, *(short[lower.name] for lower in e.lower)], default=math.inf)
    small = [
        min(
            (_below(e.gains[c.name, s.name], worthwhile, levels.no_gain[s.name]) for s in e.shippable), default=math.inf
        )
        for c in e.candidates
    ]
    yield max([*small, *(short[c.name] for c in e.candidates)], default=math.inf)


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
