"""The race: which rung is asked which rows next, and when nothing more needs to be asked. Pure, and without memory.

What has been scored so far goes in, one column a rung, each a prefix of the holdout's seeded order; one step comes
out. Only scores in that order decide, never the order in which answers arrive, so a climb that was cut off takes the
same steps again and finds its calls in the ledger.

First, rung by rung from the cheapest, each one *finds its place*: with a goal, rows are asked until it has reached the
goal, stays below it, is beaten by a cheaper rung, or the rest of the rows would hardly tell; without a goal, one batch.
A rung that reaches the goal ends the race, because every cheaper one has been found wanting. Then one question after
another is put to the rungs that it is about, the one least asked first: can the tuned rung still beat the rung that
is hardest to beat (if not, what the others score need not be known), does it reach the goal, is it too dear, is it
nearly as good as some other rung, is one without an LLM as good as any? A question that the rest of the rows would
hardly settle is let be (outlook.py). Whoever is not asked rests, and goes on should it come to matter again.
Rungs without an LLM are free and run whole.

No rule here needs a level of its own: a rung rests because of limits that hold at every prefix, or because it looks
hopeless, which claims nothing; and whatever is claimed in the end is claimed from limits that no way of stopping can
spoil (limits.py says why).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shouldtune.types import Goal
from shouldtune.verdict.bounds import Evidence, gather
from shouldtune.verdict.columns import Column
from shouldtune.verdict.economics import Money
from shouldtune.verdict.limits import RACED
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.rows import Finding, below_goal, findings, meets_goal

BATCH = 32
"""Rows of a first batch. A later one is a quarter of what was asked before, in whole batches."""
HOPELESS = 0.03
"""Where the rest of the rows would settle a question with no more chance than this, it is let be."""
ENDS_THE_GAIN = ("does_not_pay", "no_gain")
"""With these, what tuning gains is settled."""
ENDS_THE_CLIMB = ("no_model_needed", "goal_met")
ENDS_THE_RACE = (*ENDS_THE_CLIMB, "tune")
"""No row of the table above these can come to hold by asking more; below them one may."""


@dataclass(frozen=True)
class Ask:
    """Ask this rung the rows from `start` up to, not including, `stop`."""

    rung: str
    start: int
    stop: int


@dataclass(frozen=True)
class Open:
    """Fit the next rung of the ladder."""


@dataclass(frozen=True)
class Done:
    """Nothing more is to be asked."""


def next_step(
    goal: Goal,
    columns: Sequence[Column],
    waiting: int,
    *,
    all_rungs: bool = False,
    seed: int = 0,
    money: Money = Money(),
    memory: Memory | None = None,
) -> Ask | Open | Done:
    """What to do after what was scored so far.

    `columns` are the rungs fitted so far in ladder order, their `asked` the rows scored; the scores of rows not yet
    asked are None. `waiting` is how many rungs have not been looked at. `all_rungs` opens each of them also when a
    cheaper one settles the answer.
    """
    for c in columns:
        if not c.whole and not c.uses_llm:
            return Ask(c.name, _asked(c), len(c.scores))
    newest = columns[-1] if columns else None
    if newest and not newest.whole and not newest.asked:
        return _ask(newest)
    if waiting and goal.quality is None and newest and newest.limits != "broken" and not newest.training:
        return Open()  # without a goal nothing can be found before a trained rung
    memory = memory or Memory()
    e = gather_raced(goal, columns, waiting, seed, money=money, memory=memory)
    if newest and not _has_its_place(e, newest, memory):
        return _ask(newest)
    first = next(iter(findings(e)), None)
    if first and first.reason in ENDS_THE_CLIMB and not all_rungs:
        return Done()
    if waiting:
        return Open()
    racing = [] if first and first.reason in ENDS_THE_RACE else _racing(e, memory, first)
    return _ask(min(racing, key=_asked)) if racing else Done()


def next_step_whole(
    goal: Goal,
    columns: Sequence[Column],
    waiting: int,
    *,
    all_rungs: bool = False,
    seed: int = 0,
    money: Money = Money(),
    memory: Memory | None = None,
) -> Ask | Open | Done:
    """`next_step` where every rung that is opened is asked the whole holdout, whatever it scores."""
    for c in columns:
        if not c.whole:
            return Ask(c.name, _asked(c), len(c.scores))
    found = findings(_gather_whole(goal, columns, waiting, seed, money=money, memory=memory))
    settled = bool(found) and found[0].reason in ENDS_THE_CLIMB and not all_rungs
    return Open() if waiting and not settled else Done()


def gather_raced(
    goal: Goal,
    columns: Sequence[Column],
    waiting: int,
    seed: int = 0,
    *,
    money: Money = Money(),
    memory: Memory | None = None,
) -> Evidence:
    """The evidence in a race with this many rungs not looked at."""
    return gather(goal, columns, waiting + sum(not c.training for c in columns), seed, RACED, money, memory)


def _gather_whole(
    goal: Goal,
    columns: Sequence[Column],
    waiting: int,
    seed: int = 0,
    *,
    money: Money = Money(),
    memory: Memory | None = None,
) -> Evidence:
    return gather(goal, columns, waiting + sum(not c.training for c in columns), seed, money=money, memory=memory)


def why_stopped(e: Evidence, c: Column, *, budget_ended: bool = False) -> str | None:
    """Why a rung was not asked the whole holdout; None where it was."""
    if c.whole:
        return None
    if c.name in e.beaten:
        return f"{e.beaten[c.name][0]} is better by more than {e.goal.worthwhile_gain:g}"
    if meets_goal(e, c):
        return "it reaches the goal"
    if below_goal(e, c):
        return "it stays below the goal"
    if budget_ended and c in _racing(e, Memory(), next(iter(findings(e)), None)):
        return "the budget ended"
    return "more of it would hardly change the answer"


def rehearse(
    goal: Goal, whole: Sequence[Column], *, all_rungs: bool = False, stop_early: bool = True
) -> tuple[Finding | None, list[Column]]:
    """Climb over scores that are all known: what is found, and what was asked. This is how the race is tried out.

    Without `stop_early` every rung that is opened is asked everything, as with `next_step_whole`.
    """
    columns: list[Column] = []
    memory = Memory()
    stepping = next_step if stop_early else next_step_whole
    while True:
        waiting = len(whole) - len(columns)
        step = stepping(goal, columns, waiting, all_rungs=all_rungs, memory=memory)
        if isinstance(step, Done):
            e = (gather_raced if stop_early else _gather_whole)(goal, columns, waiting, memory=memory)
            return next(iter(findings(e)), None), columns
        if isinstance(step, Open):
            columns.append(replace(_first_rows(whole[len(columns)], 0), behind=waiting - 1))
        else:
            at = [c.name for c in columns].index(step.rung)
            columns[at] = replace(_first_rows(whole[at], step.stop), behind=columns[at].behind)


# ---------------------------------------------------------------- who goes on


def _has_its_place(e: Evidence, c: Column, memory: Memory) -> bool:
    """Whether enough is known of a rung to look at the next one."""
    if c.whole:
        return True
    return bool(c.asked) and not _may_meet_goal(e, c, memory) and c.limits != "broken"


def _racing(e: Evidence, memory: Memory, first: Finding | None) -> list[Column]:
    """The rungs of which more rows may well change the answer: those of the first question that is open."""
    running = [] if first and first.reason in ENDS_THE_GAIN else [t for t in e.candidates if not _is_out(e, t)]
    questions = [
        *(_to_win(e, t, memory) for t in running),
        [c for c in e.columns if _may_meet_goal(e, c, memory)],
        *(_to_be_too_dear(e, t, memory) for t in running),
        *(_to_lose(e, t, memory) for t in running),
        *(_to_spare_a_model(e, free, memory) for free in {name for name, _ in e.relative}),
        [c for c in e.columns if c.limits == "broken"],  # by what its answers cost so far: the rest may be cheaper
        _to_rank(e),
    ]
    return next((found for rungs in questions if (found := [c for c in rungs if not c.whole])), [])


def _may_meet_goal(e: Evidence, c: Column, memory: Memory) -> bool:
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
    hardest = _hardest(e, tuned, {c.name: max(e.goal.worthwhile_gain, _price(e, tuned, c)) for c in e.lower}, memory)
    return [tuned, hardest] if hardest and _may_all_be_below(e, memory) else []


def _to_be_too_dear(e: Evidence, tuned: Column, memory: Memory) -> list[Column]:
    """A candidate and a rung, where it may come to beat every one, and one of them by less than it costs more."""
    if not e.money.worth or not _may_all_be_below(e, memory):
        return []
    lines = dict.fromkeys((c.name for c in e.lower), e.goal.worthwhile_gain)
    hardest = _hardest(e, tuned, lines, memory)
    open_ = [c for c in e.lower if e.gains[tuned.name, c.name].low <= lines[c.name]]
    chances = [(_chance_of_less(e, tuned, c, _price(e, tuned, c), memory), c) for c in e.shippable]
    chance, c = max(chances, key=lambda pair: pair[0], default=(0.0, tuned))
    if chance <= HOPELESS or (open_ and not hardest):
        return []
    return [tuned, hardest or c]


def _to_lose(e: Evidence, tuned: Column, memory: Memory) -> list[Column]:
    """A candidate and the rung over which it is likeliest to be shown to gain too little."""
    goal, level = e.goal.quality, e.levels.tuned_high * e.shares.fixed
    if goal is not None and not below_goal(e, tuned) and memory.chance_below(tuned, goal, level) <= HOPELESS:
        return []
    chances = [(_chance_of_less(e, tuned, c, e.goal.worthwhile_gain, memory), c) for c in e.shippable]
    likeliest = max(chances, key=lambda pair: pair[0], default=(0.0, tuned))[1]
    return [tuned, likeliest] if sum(chance for chance, _ in chances) > HOPELESS else []  # any one of them will do


def _hardest(e: Evidence, tuned: Column, lines: Mapping[str, float], memory: Memory) -> Column | None:
    """Of the rungs that a candidate has not yet been shown to beat by these lines, the one hardest to beat.

    If that one is not beaten, what the others score need not be known. None where there is no such rung, or where one
    of them will hardly be beaten.
    """
    open_ = [c for c in e.lower if e.gains[tuned.name, c.name].low <= lines[c.name]]
    level = e.levels.gain * e.shares.fixed
    if any(memory.chance_of_gain(tuned, c, lines[c.name], level) <= HOPELESS for c in open_):
        return None
    return max(open_, key=lambda c: lines[c.name] + _estimate(e, c), default=None)


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


def _to_rank(e: Evidence) -> list[Column]:
    """With no goal and nothing to compare with: at least, which rung is best."""
    return [c for c in e.lower if c.name not in e.beaten] if e.goal.quality is None and not e.candidates else []


def _may_all_be_below(e: Evidence, memory: Memory) -> bool:
    """With a goal, whether every rung without training may be shown to be below it: else tuning cannot win."""
    goal, level = e.goal.quality, e.levels.high * e.shares.fixed
    return goal is None or all(below_goal(e, c) or memory.chance_below(c, goal, level) > HOPELESS for c in e.lower)


def _price(e: Evidence, tuned: Column, c: Column) -> float:
    """The gain that brings what a candidate costs beyond a rung; 0 where that is not known."""
    more = e.more.get((tuned.name, c.name))
    return more.estimate / e.money.worth if more and more.estimate is not None and e.money.worth else 0.0


def _estimate(e: Evidence, c: Column) -> float:
    quality = e.quality[c.name]
    return 0.0 if quality.estimate is None else quality.estimate


def _ask(c: Column) -> Ask:
    asked, size = _asked(c), len(c.scores)
    stop = asked + BATCH * max(1, asked // (4 * BATCH))
    return Ask(c.name, asked, stop if size - stop >= BATCH else size)


def _asked(c: Column) -> int:
    return len(c.scores) if c.asked is None else c.asked


def _first_rows(c: Column, asked: int) -> Column:
    return replace(c, scores=c.scores[:asked] + (None,) * (len(c.scores) - asked), asked=asked)
