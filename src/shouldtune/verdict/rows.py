"""The table: one function a row, each from Evidence to a Finding, or None where it does not hold.

The first row that holds wins. A failed call is the worst case in every limit here, so filling it in could only
add findings; `finding_if_filled` looks for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from shouldtune.judgement import Answer, Interval, Reason
from shouldtune.stats import ScoreArray
from shouldtune.verdict.bounds import Evidence
from shouldtune.verdict.columns import Column

Path = Literal[
    "data",
    "goal",
    "relative",
    "passage",
    "beats",
    "only_one",
    "gain",
    "ceiling",
    "forecast",
    "limits",
    "money",
    "budget",
    "none",
]


@dataclass(frozen=True)
class Finding:
    """A row that holds: what it answers, and by which of its paths."""

    answer: Answer
    reason: Reason
    rung: str | None
    path: Path


def fix_data(e: Evidence) -> Finding | None:
    """Something is wrong with the data in too large a share of the rows."""
    return Finding("not_yet", "fix_data", None, "data") if e.flaws else None


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


def tune_to_save(e: Evidence) -> Finding | None:
    """A candidate is as good as what would be shipped without it, and costs less than each rung that may be as good."""
    goal = e.goal.quality is not None
    if goal and not any(meets_goal(e, c) for c in e.shippable):
        return None
    for tuned in e.candidates:
        beside = rivals(e, tuned)
        good = meets_goal(e, tuned) if goal else tuned.limits == "within"
        no_worse = all(e.gains[tuned.name, c.name].low > -e.goal.worthwhile_gain for c in beside)
        if good and beside and no_worse and all(saves(e, tuned, c) for c in beside) and affordable(e, tuned):
            return Finding("yes", "tune_to_save", tuned.name, "money")
    return None


def goal_met(e: Evidence) -> Finding | None:
    """A rung without training meets the goal."""
    for c in e.shippable:
        if meets_goal(e, c):
            return Finding("no", "goal_met", c.name, "goal")
    return None


def fix_retrieval(e: Evidence) -> Finding | None:
    """The right passage in the prompt would meet the goal, and no trained rung does."""
    if e.right_passage is None or any(meets_goal(e, c) for c in e.trained):
        return None
    best = e.best(e.shippable)
    return Finding("not_yet", "fix_retrieval", best.name if best else None, "passage")


def tune(e: Evidence) -> Finding | None:
    """A candidate beats every rung without training, or alone meets the goal; and it pays where that can be told."""
    for tuned in e.candidates:
        path = better(e, tuned)
        if path and affordable(e, tuned):
            return Finding("yes", "tune", tuned.name, path)
    return None


def does_not_pay(e: Evidence) -> Finding | None:
    """Every trained rung breaks a limit; or it would be tuning but for the money, or it is no better and costs more."""
    best = e.best(e.shippable)
    if e.trained and not e.candidates:
        return Finding("no", "does_not_pay", best.name, "limits") if best else None
    instead = [c for c in e.shippable if e.candidates and all(too_dear(e, tuned, c) for tuned in e.candidates)]
    ship = max(instead, key=lambda c: _net(e, c), default=None) if e.money.worth else e.best(instead)
    return Finding("no", "does_not_pay", ship.name, "money") if ship else None


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
    if e.skip and not e.trained and e.skip[0] in (c.name for c in e.shippable):
        return Finding("no", "no_gain", ship, "forecast")
    if e.goal.quality is not None and not (e.candidates and all(below_goal(e, c) for c in e.candidates)):
        return None
    if best and e.quality[best.name].low > 1 - e.goal.worthwhile_gain:
        return Finding("no", "no_gain", ship, "ceiling")
    over = [lowest_gain(e, tuned) for tuned in e.candidates]
    if over and all(gain is not None and gain.high < e.goal.worthwhile_gain for _, gain in over):
        return Finding("no", "no_gain", ship, "gain")
    return None


ROWS: tuple[Callable[[Evidence], Finding | None], ...] = (
    fix_data,
    no_model_needed,
    tune_to_save,
    goal_met,
    fix_retrieval,
    tune,
    does_not_pay,
    out_of_reach,
    no_gain,
)


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


def better(e: Evidence, tuned: Column) -> Path | None:
    """By which path a candidate is better than every rung without training, whatever it costs; None where it is not.

    With a goal, no rung without training may still be able to meet it: were it met, the answer would be no.
    """
    if len(e.trained) == len(e.columns) or (e.goal.quality is not None and not all(below_goal(e, c) for c in e.lower)):
        return None
    if tuned.limits == "within" and e.lower and all(_beats(e, tuned, c) for c in e.lower):
        return "beats"
    return "only_one" if meets_goal(e, tuned) else None


def _beats(e: Evidence, tuned: Column, c: Column) -> bool:
    return e.gains[tuned.name, c.name].low > e.goal.worthwhile_gain


# ---------------------------------------------------------------- money


def pays(e: Evidence, tuned: Column, c: Column) -> bool:
    """Whether it is proven that a candidate's gain over a rung is worth more than it costs beyond it."""
    more = e.more.get((tuned.name, c.name))
    return (
        more is not None and e.money.worth is not None and e.money.worth * e.gains[tuned.name, c.name].low > more.high
    )


def rivals(e: Evidence, tuned: Column) -> list[Column]:
    """The rungs without training that may do as well as a candidate: not below the goal, or else not beaten by it."""
    if e.goal.quality is not None:
        return [c for c in e.lower if not below_goal(e, c)]
    return [c for c in e.lower if not _beats(e, tuned, c)]


def affordable(e: Evidence, tuned: Column) -> bool:
    """Whether a candidate pays beside every rung without training, as far as that can be told."""
    return e.money.worth is None or all(pays(e, tuned, c) for c in e.lower if (tuned.name, c.name) in e.more)


def saves(e: Evidence, tuned: Column, c: Column) -> bool:
    """Whether it is proven that a candidate costs less, what a gain or a loss is worth included where that is known."""
    more = e.more.get((tuned.name, c.name))
    return more is not None and (more.high < 0 if e.money.worth is None else pays(e, tuned, c))


def too_dear(e: Evidence, tuned: Column, c: Column) -> bool:
    """Whether it is proven that a candidate costs more beyond a rung than its gain is worth.

    What a gain is worth is unknown without the value of a correct answer. Then money decides alone, and only
    between two that are as good: where the gain is proven to be less than would be worth it.
    """
    more, gain = e.more.get((tuned.name, c.name)), e.gains[tuned.name, c.name]
    no_better = gain.high < e.goal.worthwhile_gain and (e.goal.quality is None or below_goal(e, tuned))
    if more is None or not (no_better or better(e, tuned)):
        return False
    if e.money.worth is None:
        return no_better and more.low > 0
    return e.money.worth * gain.high < more.low


def _net(e: Evidence, c: Column) -> float:
    """Dollars that a rung brings over the horizon, as measured."""
    total, quality = e.money.total(c.name), e.quality[c.name].estimate
    return (e.money.worth or 0.0) * (quality or 0.0) - (total or 0.0)


# ---------------------------------------------------------------- what failed calls and missing prices hide


def finding_if_filled(columns: Sequence[Column], evidence_of: Callable[[Sequence[Column]], Evidence]) -> Finding | None:
    """What would be found if the failed calls were all 0 or all 1, rung by rung, and unknown limits were kept.

    Every row is monotone in each rung's scores, so the few fillings that favour a row most stand for all of them.
    """
    if not any(c.failed or c.limits == "unknown" for c in columns):
        return None
    known = [replace(c, limits="within" if c.limits == "unknown" else c.limits) for c in columns]
    for ones in _fillings(columns):
        trial = [replace(c, scores=_filled(c, 1.0 if c.name in ones else 0.0)) for c in known]
        found = findings(evidence_of(trial))
        if found:
            return found[0]
    return None


def _fillings(columns: Sequence[Column]) -> Iterator[frozenset[str]]:
    """Which rungs' failed calls to set to 1, the rest being 0."""
    untrained = frozenset(c.name for c in columns if not c.training)
    trained = frozenset(c.name for c in columns if c.training)
    free = [frozenset([c.name]) for c in columns if not c.uses_llm and not c.training]
    yield from dict.fromkeys([untrained, trained, frozenset[str](), untrained | trained, *free])


def _filled(c: Column, value: float) -> ScoreArray:
    """Its failed calls set to `value`; rows that were never asked stay open."""
    asked = c.asked_scores.filled(value)
    return ScoreArray(np.concatenate([asked, c.scores.values[len(asked) :]]))
