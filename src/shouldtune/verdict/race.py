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

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shouldtune.types import Goal
from shouldtune.verdict.bounds import Evidence, gather
from shouldtune.verdict.columns import Column
from shouldtune.verdict.economics import Money
from shouldtune.verdict.limits import RACED
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.questions import ENDS_THE_CLIMB, may_meet_goal, to_be_asked
from shouldtune.verdict.rows import Finding, below_goal, findings, meets_goal

BATCH = 32
"""Rows of a first batch. A later one is a quarter of what was asked before, in whole batches."""


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
    e = gather_raced(goal, columns, waiting, money=money, memory=memory)
    if newest and not _has_its_place(e, newest, memory):
        return _ask(newest)
    first = next(iter(findings(e)), None)
    if first and first.reason in ENDS_THE_CLIMB and not all_rungs:
        return Done()
    if waiting:
        return Open()
    racing = to_be_asked(e, memory, first)
    return _ask(min(racing, key=_asked)) if racing else Done()


def next_step_whole(
    goal: Goal,
    columns: Sequence[Column],
    waiting: int,
    *,
    all_rungs: bool = False,
    money: Money = Money(),
    memory: Memory | None = None,
) -> Ask | Open | Done:
    """`next_step` where every rung that is opened is asked the whole holdout, whatever it scores."""
    for c in columns:
        if not c.whole:
            return Ask(c.name, _asked(c), len(c.scores))
    found = findings(_gather_whole(goal, columns, waiting, money=money, memory=memory))
    settled = bool(found) and found[0].reason in ENDS_THE_CLIMB and not all_rungs
    return Open() if waiting and not settled else Done()


def gather_raced(
    goal: Goal,
    columns: Sequence[Column],
    waiting: int,
    *,
    money: Money = Money(),
    memory: Memory | None = None,
) -> Evidence:
    """The evidence in a race with this many rungs not looked at."""
    return gather(goal, columns, waiting + sum(not c.training for c in columns), RACED, money, memory)


def _gather_whole(
    goal: Goal,
    columns: Sequence[Column],
    waiting: int,
    *,
    money: Money = Money(),
    memory: Memory | None = None,
) -> Evidence:
    return gather(goal, columns, waiting + sum(not c.training for c in columns), money=money, memory=memory)


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
    if budget_ended and c in to_be_asked(e, Memory(), next(iter(findings(e)), None)):
        return "the budget ended"
    return "more of it would hardly change the answer"


def trained_enough(goal: Goal, columns: Sequence[Column]) -> str | None:
    """Why no other kind of fine-tune is tried; None where one is.

    Only the training half is asked, so that no error has to be shared over the kinds: one that is better there than
    every rung without training, or reaches the goal there, is enough.
    """
    trained = [c for c in columns if c.training and c.trial is not None]
    if not trained:
        return None
    best = max(trained, key=lambda c: c.trial or 0.0)
    score = best.trial or 0.0
    if goal.quality is not None and score >= goal.quality:
        return f"on the training half {best.name} reaches the goal"
    beside = max((c.trial for c in columns if not c.training and c.trial is not None), default=0.0)
    if score > beside + goal.worthwhile_gain:
        return f"on the training half {best.name} is better than every rung without training"
    return None


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
        rest = whole[len(columns) :]
        if not all_rungs and trained_enough(goal, columns) is not None:
            rest = [c for c in rest if not c.training]
        waiting = sum(not c.training for c in rest) + any(c.training for c in rest)  # as a climb counts them
        step = stepping(goal, columns, waiting, all_rungs=all_rungs, memory=memory)
        if isinstance(step, Done):
            e = (gather_raced if stop_early else _gather_whole)(goal, columns, waiting, memory=memory)
            return next(iter(findings(e)), None), columns
        if isinstance(step, Open):
            columns.append(replace(whole[len(columns)].as_of(0), behind=waiting - 1))
        else:
            at = [c.name for c in columns].index(step.rung)
            columns[at] = replace(whole[at].as_of(step.stop), behind=columns[at].behind)


# ---------------------------------------------------------------- who goes on


def _has_its_place(e: Evidence, c: Column, memory: Memory) -> bool:
    """Whether enough is known of a rung to look at the next one."""
    if c.whole:
        return True
    return bool(c.asked) and not may_meet_goal(e, c, memory) and c.limits != "broken"


def _ask(c: Column) -> Ask:
    asked, size = _asked(c), len(c.scores)
    stop = asked + BATCH * max(1, asked // (4 * BATCH))
    return Ask(c.name, asked, stop if size - stop >= BATCH else size)


def _asked(c: Column) -> int:
    return len(c.scores) if c.asked is None else c.asked
