"""The race: which rung is asked which rows next, and when nothing more needs to be asked. Pure, and without memory.

What has been scored so far goes in, one column a rung, each a prefix of the holdout's seeded order; one step comes
out. Only scores in that order decide, never the order in which answers arrive, so a climb that was cut off takes the
same steps again and finds its calls in the ledger.

First, rung by rung from the cheapest, each one *finds its place*: with a goal, rows are asked until it has reached the
goal, stays below it, or is beaten by a cheaper rung; without a goal, one batch. A rung that reaches the goal ends the
race, because every cheaper one has been found wanting. Then the rungs run on side by side, the one least asked first,
while more of its rows could change the answer; all others rest, and go on should they come to matter again.
Rungs without an LLM are free and run whole.

No rule here needs a level of its own: a rung rests because of limits that hold at every prefix, and whatever is
claimed in the end is claimed from limits that no way of stopping can spoil (limits.py says why).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shouldtune.types import Goal
from shouldtune.verdict.bounds import Evidence, gather
from shouldtune.verdict.columns import Column
from shouldtune.verdict.limits import RACED
from shouldtune.verdict.rows import Finding, below_goal, findings, meets_goal

BATCH = 32
"""Rows of a first batch. A later one is half of what was asked before, so that a local engine's batches stay full."""
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
    goal: Goal, columns: Sequence[Column], waiting: int, *, all_rungs: bool = False, seed: int = 0
) -> Ask | Open | Done:
    """What to do after what was scored so far.

    `columns` are the rungs fitted so far in ladder order, their `asked` the rows scored; the scores of rows not yet
    asked are None. `waiting` is how many rungs have not been looked at. `all_rungs` opens each of them also when a
    cheaper one settles the answer.
    """
    for c in columns:
        if not c.whole and not c.uses_llm:
            return Ask(c.name, _asked(c), len(c.scores))
    e = gather_raced(goal, columns, waiting, seed)
    newest = columns[-1] if columns else None
    if newest and not _has_its_place(e, newest):
        return _ask(newest)
    first = next(iter(findings(e)), None)
    if first and first.reason in ENDS_THE_CLIMB and not all_rungs:
        return Done()
    if waiting:
        return Open()
    racing = [] if first and first.reason in ENDS_THE_RACE else [c for c in columns if _matters(e, c)]
    return _ask(min(racing, key=_asked)) if racing else Done()


def next_step_whole(
    goal: Goal, columns: Sequence[Column], waiting: int, *, all_rungs: bool = False, seed: int = 0
) -> Ask | Open | Done:
    """`next_step` where every rung that is opened is asked the whole holdout, whatever it scores."""
    for c in columns:
        if not c.whole:
            return Ask(c.name, _asked(c), len(c.scores))
    found = findings(_gather_whole(goal, columns, waiting, seed))
    settled = bool(found) and found[0].reason in ENDS_THE_CLIMB and not all_rungs
    return Open() if waiting and not settled else Done()


def gather_raced(goal: Goal, columns: Sequence[Column], waiting: int, seed: int = 0) -> Evidence:
    """The evidence in a race with this many rungs not looked at."""
    return gather(goal, columns, waiting + sum(not c.training for c in columns), seed, RACED)


def _gather_whole(goal: Goal, columns: Sequence[Column], waiting: int, seed: int = 0) -> Evidence:
    return gather(goal, columns, waiting + sum(not c.training for c in columns), seed)


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
    if budget_ended and _matters(e, c):
        return "the budget ended"
    return "more of it could not change the answer"


def rehearse(
    goal: Goal, whole: Sequence[Column], *, all_rungs: bool = False, stop_early: bool = True
) -> tuple[Finding | None, list[Column]]:
    """Climb over scores that are all known: what is found, and what was asked. This is how the race is tried out.

    Without `stop_early` every rung that is opened is asked everything, as with `next_step_whole`.
    """
    columns: list[Column] = []
    stepping = next_step if stop_early else next_step_whole
    while True:
        waiting = len(whole) - len(columns)
        step = stepping(goal, columns, waiting, all_rungs=all_rungs)
        if isinstance(step, Done):
            e = (gather_raced if stop_early else _gather_whole)(goal, columns, waiting)
            return next(iter(findings(e)), None), columns
        if isinstance(step, Open):
            columns.append(_first_rows(whole[len(columns)], 0))
        else:
            at = [c.name for c in columns].index(step.rung)
            columns[at] = _first_rows(whole[at], step.stop)


# ---------------------------------------------------------------- who goes on


def _has_its_place(e: Evidence, c: Column) -> bool:
    """Whether enough is known of a rung to look at the next one."""
    if c.whole:
        return True
    return bool(c.asked) and not _may_meet_goal(e, c) and c.limits != "broken"


def _matters(e: Evidence, c: Column) -> bool:
    """Whether more rows of a rung could change the answer, or what is advised with it."""
    if c.whole:
        return False
    if c.limits == "broken":  # known from what its answers cost so far: the rest may be cheaper
        return True
    if c.training:
        return (c in e.candidates and not _is_out(e, c)) or _may_meet_goal(e, c) or _blocks_a_free_rung(e, c)
    if c.name in e.beaten and not _may_meet_goal(e, c):
        return False
    running = [t for t in e.candidates if not _is_out(e, t)]
    unbeaten = any(e.gains[t.name, c.name].low <= e.goal.worthwhile_gain for t in running)
    ranks = not e.candidates and e.goal.quality is None  # nothing to compare with: at least, which one is best
    return unbeaten or ranks or _may_meet_goal(e, c) or _blocks_a_free_rung(e, c)


def _may_meet_goal(e: Evidence, c: Column) -> bool:
    """Whether it is open that a rung reaches the goal, and would be the cheapest of those known to.

    A rung that a cheaper one beats is not: where it reaches the goal, so does the cheaper one.
    """
    if e.goal.quality is None or meets_goal(e, c) or below_goal(e, c):
        return False
    cheaper = [b.name for b in e.columns[: e.columns.index(c)]]
    return not any(name in cheaper for name in e.beaten.get(c.name, ()))


def _is_out(e: Evidence, tuned: Column) -> bool:
    """Whether a candidate can no longer win: some rung is nearly as good, and the goal is beyond it."""
    if e.goal.quality is not None and not below_goal(e, tuned):
        return False
    return any(e.gains[tuned.name, c.name].high < e.goal.worthwhile_gain for c in e.shippable)


def _blocks_a_free_rung(e: Evidence, c: Column) -> bool:
    """Whether a rung without an LLM would be as good as any, but for what is not known of this one."""
    worthwhile = e.goal.worthwhile_gain
    for free in {name for name, _ in e.relative}:
        gaps = {other: gap for (name, other), gap in e.relative.items() if name == free}
        possible = all(gap.high > -worthwhile for gap in gaps.values())
        if possible and c.name in gaps and gaps[c.name].low <= -worthwhile:
            return True
    return False


def _ask(c: Column) -> Ask:
    asked, size = _asked(c), len(c.scores)
    stop = asked + BATCH * max(1, asked // (2 * BATCH))
    return Ask(c.name, asked, stop if size - stop >= BATCH else size)


def _asked(c: Column) -> int:
    return len(c.asked_scores)


def _first_rows(c: Column, asked: int) -> Column:
    return replace(c, scores=c.scores[:asked] + (None,) * (len(c.scores) - asked), asked=asked)
