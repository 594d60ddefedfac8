"""What is still open in a race, and which rungs could settle it: the questions, one after another. Pure.

A question is put only where an answer to it could change what is found, and where the rest of the rows may well give
one (outlook.py). It names the rungs that it is about; those measured whole have nothing more to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from shouldtune.verdict.bounds import Evidence
from shouldtune.verdict.columns import Column
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.rows import Finding, below_goal, meets_goal, rivals

HOPELESS = 0.03
"""Where the rest of the rows would settle a question with no more chance than this, it is let be."""
ENDS_THE_CLIMB = ("no_model_needed", "goal_met")
ENDS_THE_RACE = (*ENDS_THE_CLIMB, "tune")
"""No row of the table above these can come to hold by asking more, but for a saving where prices are known."""
ENDS_THE_GAIN = ("does_not_pay", "no_gain")
"""With these, what tuning gains is settled."""


def to_be_asked(e: Evidence, memory: Memory, first: Finding | None) -> list[Column]:
    """The rungs of which more rows may well change the answer: those of the first question that is open."""
    if first and first.reason in ENDS_THE_RACE:
        saving = e.candidates if first.reason == "goal_met" else ()  # the only row above that may come to hold
        return next((found for t in saving if (found := _not_whole(_to_save(e, t, memory)))), [])
    running = [] if first and first.reason in ENDS_THE_GAIN else [t for t in e.candidates if not _is_out(e, t)]
    questions = [
        *(_to_win(e, t, memory) for t in running),
        *(_to_save(e, t, memory) for t in e.candidates),
        [c for c in e.columns if may_meet_goal(e, c, memory)],
        *(_to_be_too_dear(e, t, memory) for t in running),
        *(_to_lose(e, t, memory) for t in running),
        *(_to_spare_a_model(e, free, memory) for free in dict.fromkeys(name for name, _ in e.relative)),
        [c for c in e.columns if c.limits == "broken"],  # by what its answers cost so far: the rest may be cheaper
        _to_rank(e, memory),
    ]
    return next((found for rungs in questions if (found := _not_whole(rungs))), [])


def may_meet_goal(e: Evidence, c: Column, memory: Memory) -> bool:
    """Whether it is open, and may well be settled, that a rung reaches the goal and would be the cheapest to do so.

    A rung that a cheaper one beats would not: where it reaches the goal, so does the cheaper one.
    """
    goal = e.goal.quality
    if goal is None or meets_goal(e, c) or below_goal(e, c):
        return False
    cheaper = [b.name for b in e.columns[: e.columns.index(c)]]
    if any(name in cheaper for name in e.beaten.get(c.name, ())):
        return False
    low, high = e.levels.ends(c)
    chances = memory.chance_above(c, goal, low * e.shares.fixed), memory.chance_below(c, goal, high * e.shares.fixed)
    return max(chances) > HOPELESS


def _is_out(e: Evidence, tuned: Column) -> bool:
    """Whether a candidate can no longer win: some rung is nearly as good, and the goal is beyond it."""
    if e.goal.quality is not None and not below_goal(e, tuned):
        return False
    return any(e.gains[tuned.name, c.name].high < e.goal.worthwhile_gain for c in e.shippable)


def _to_win(e: Evidence, tuned: Column, memory: Memory) -> list[Column]:
    """A candidate and the rung that stands most in its way, where it may yet come to beat every one, and to pay."""
    if not _may_all_be_below(e, memory):
        return []
    lines = [(c, max(e.goal.worthwhile_gain, _price(e, tuned, c))) for c in e.lower]
    return _and_hardest(e, tuned, lines, memory)


def _to_be_too_dear(e: Evidence, tuned: Column, memory: Memory) -> list[Column]:
    """A candidate and a rung, where it may come to beat every one, and one of them by less than it costs more."""
    if not e.money.worth or not _may_all_be_below(e, memory):
        return []
    chances = [(_chance_of_less(e, tuned, c, _price(e, tuned, c), memory), c) for c in e.shippable]
    chance, c = max(chances, key=lambda pair: pair[0], default=(0.0, tuned))
    if chance <= HOPELESS:
        return []
    lines = [(lower, e.goal.worthwhile_gain) for lower in e.lower]
    beats_all = all(e.gains[tuned.name, lower.name].low > line for lower, line in lines)
    return [tuned, c] if beats_all else _and_hardest(e, tuned, lines, memory)


def _to_save(e: Evidence, tuned: Column, memory: Memory) -> list[Column]:
    """A candidate and the rung nearest to it, where it may turn out to be as good as any and to cost less."""
    beside = rivals(e, tuned)
    if any((tuned.name, c.name) not in e.more or _price(e, tuned, c) > 0 for c in beside) or below_goal(e, tuned):
        return []
    if e.money.worth is None and any((e.more[tuned.name, c.name].estimate or 0.0) >= 0 for c in beside):
        return []
    lines = [(c, max(-e.goal.worthwhile_gain, _price(e, tuned, c))) for c in beside]
    if e.goal.quality is not None:
        level = e.levels.tuned_low * e.shares.fixed
        hopeful = meets_goal(e, tuned) or memory.chance_above(tuned, e.goal.quality, level) > HOPELESS
        if not hopeful or not any(meets_goal(e, c) for c in e.shippable):
            return []
        if not meets_goal(e, tuned) and not tuned.whole:
            return [tuned]
    return _and_hardest(e, tuned, lines, memory)


def _to_lose(e: Evidence, tuned: Column, memory: Memory) -> list[Column]:
    """A candidate and the rung over which it is likeliest to be shown to gain too little."""
    goal, level = e.goal.quality, e.levels.tuned_high * e.shares.fixed
    if goal is not None and not below_goal(e, tuned) and memory.chance_below(tuned, goal, level) <= HOPELESS:
        return []
    chances = [(_chance_of_less(e, tuned, c, e.goal.worthwhile_gain, memory), c) for c in e.shippable]
    likeliest = max(chances, key=lambda pair: pair[0], default=(0.0, tuned))[1]
    return [tuned, likeliest] if sum(chance for chance, _ in chances) > HOPELESS else []  # any one of them will do


def _and_hardest(e: Evidence, tuned: Column, lines: Sequence[tuple[Column, float]], memory: Memory) -> list[Column]:
    """A candidate and, of the rungs that it has not yet been shown to beat by these lines, the one hardest to beat.

    If that one is not beaten, what the others score need not be known. None where there is no such rung, or where one
    of them will hardly be beaten.
    """
    open_ = [(c, line) for c, line in lines if e.gains[tuned.name, c.name].low <= line]
    level = e.levels.gain * e.shares.fixed
    if not open_ or any(memory.chance_of_gain(tuned, c, line, level) <= HOPELESS for c, line in open_):
        return []
    return [tuned, max(open_, key=lambda pair: pair[1] + _estimate(e, pair[0]))[0]]


def _chance_of_less(e: Evidence, tuned: Column, c: Column, line: float, memory: Memory) -> float:
    """How likely it would be shown that a candidate gains less than this over a rung; 1 where it is."""
    if e.gains[tuned.name, c.name].high < line:
        return 1.0
    return memory.chance_of_gain(c, tuned, -line, e.levels.no_gain[c.name] * e.shares.fixed)


def _to_spare_a_model(e: Evidence, free: str, memory: Memory) -> list[Column]:
    """The rung that stands most in the way of one without an LLM that may turn out to be as good as any."""
    worthwhile, columns = e.goal.worthwhile_gain, {c.name: c for c in e.columns}
    level, open_ = (e.levels.relative or 0.0) * e.shares.fixed, []
    for (name, other), gap in e.relative.items():
        if name != free or gap.low > -worthwhile:
            continue
        if memory.chance_of_gain(columns[free], columns[other], -worthwhile, level) <= HOPELESS:
            return []
        open_.append(columns[other])
    return [max(open_, key=lambda c: _estimate(e, c))] if open_ else []


def _to_rank(e: Evidence, memory: Memory) -> list[Column]:
    """Without a goal and a tuned rung: the best so far, and one that may be better by what is worthwhile."""
    if e.goal.quality is not None or e.candidates or not e.lower:
        return []
    best, level = max(e.lower, key=lambda c: _estimate(e, c)), e.levels.alpha / 2 * e.shares.fixed
    others = [c for c in e.lower if c is not best and c.name not in e.beaten]
    chances = [(memory.chance_of_gain(c, best, e.goal.worthwhile_gain, level), c) for c in others]
    chance, c = max(chances, key=lambda pair: pair[0], default=(0.0, best))
    return [best, c] if chance > HOPELESS else []


def _may_all_be_below(e: Evidence, memory: Memory) -> bool:
    """With a goal, whether every rung without training may be shown to be below it: else tuning cannot win."""
    goal, level = e.goal.quality, e.levels.high * e.shares.fixed
    return goal is None or all(below_goal(e, c) or memory.chance_below(c, goal, level) > HOPELESS for c in e.lower)


def _not_whole(rungs: Sequence[Column]) -> list[Column]:
    return [c for c in rungs if not c.whole]


def _price(e: Evidence, tuned: Column, c: Column) -> float:
    """The gain that brings what a candidate costs beyond a rung, below 0 where it costs less; 0 where not known."""
    more = e.more.get((tuned.name, c.name))
    return more.estimate / e.money.worth if more and more.estimate is not None and e.money.worth else 0.0


def _estimate(e: Evidence, c: Column) -> float:
    quality = e.quality[c.name]
    return 0.0 if quality.estimate is None else quality.estimate
