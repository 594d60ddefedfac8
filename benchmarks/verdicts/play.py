"""One world played: a climb over its arrays by the race's own stepper, beside everything measured.

The climb is ladder.py's without models: the data come first, then the rungs, then, before training, why prompts fail
and a forecast. What it would see there is simulated (looked_into.py) and judged by the product's own rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from looked_into import curve_of, data_of, failures_of
from truth import is_false, true_finding
from worlds import GAIN, Rng, World, measured

from shouldtune.conclusion import FEWEST_ROWS
from shouldtune.stats import smallest_visible_gain
from shouldtune.verdict.before_tuning import why_not_to_train
from shouldtune.verdict.bounds import Evidence, gather
from shouldtune.verdict.case import Case
from shouldtune.verdict.columns import Column
from shouldtune.verdict.decide import with_inquiry
from shouldtune.verdict.inquiry import Inquiry
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.questions import ENDS_THE_CLIMB
from shouldtune.verdict.race import Ask, Done, gather_raced, next_step
from shouldtune.verdict.rows import Finding, findings


@dataclass(frozen=True)
class Game:
    """What came of one world."""

    found: str
    """Answer and reason, `not_yet open` where nothing is."""
    whole: str
    """The same, with everything measured."""
    true: str
    false: str | None
    """The answer, where it is false."""
    false_goal_met: bool
    false_whole: bool
    calls: float
    """Share of asking every rung on every held-out example."""
    clear: bool
    """The true gain exceeds what is worthwhile by twice the smallest visible gain."""


def play(world: World, rng: Rng) -> Game:
    """Race through one world, and measure all of it."""
    columns = measured(world, rng)
    data = data_of(world, rng)
    failures = failures_of(world, data, rng)
    raced, asked = climb(world, columns, data, curve_of(world, failures, rng))
    whole = _everything(world, columns, failures)
    false = raced is not None and is_false(world, raced)
    visible = smallest_visible_gain(world.n, 1 - world.goal.confidence)
    return Game(
        found=_said(raced),
        whole=_said(whole),
        true=_said(true_finding(world)),
        false=raced.answer if raced and false else None,
        false_goal_met=false and raced is not None and raced.path == "goal" and raced.answer == "no",
        false_whole=whole is not None and is_false(world, whole),
        calls=sum(len(c.asked_scores) for c in asked if c.uses_llm) / (world.n * sum(c.uses_llm for c in columns)),
        clear=visible is not None and world.gain > GAIN + 2 * visible,
    )


def climb(world: World, whole: list[Column], data: Inquiry, looked: Inquiry) -> tuple[Finding | None, list[Column]]:
    """Take the race's steps over scores that are all known.

    `data` is what is known before anything is asked, `looked` what is known where training would be next.
    """
    columns: list[Column] = []
    if world.rows is not None and world.rows < FEWEST_ROWS:
        return None, columns
    if {flaw.kind for flaw in data.flaws(world.goal)} - {"wrong"}:  # doubts alone wait for the probes
        return _first(world, gather_raced(world.goal, columns, 0), data), columns
    memory, known, ladder = Memory(), data, list(whole)
    while True:
        waiting = len(ladder) - len(columns)
        step = next_step(world.goal, columns, waiting, memory=memory, money=world.money)
        if isinstance(step, Ask):
            at = [c.name for c in columns].index(step.rung)
            columns[at] = whole[at].as_of(step.stop)
        elif isinstance(step, Done):
            e = gather_raced(world.goal, columns, waiting, memory=memory, money=world.money)
            found = _first(world, e, known)
            settled = found is not None and found.reason in ENDS_THE_CLIMB
            return (found if settled else _first(world, e, looked)), columns
        else:
            known = looked if ladder[len(columns)].training else known
            if ladder[len(columns)].training and why_not_to_train(known, world.goal):
                del ladder[len(columns)]
            else:
                columns.append(whole[len(columns)].as_of(0))


def _everything(world: World, columns: list[Column], looked: Inquiry) -> Finding | None:
    if world.rows is not None and world.rows < FEWEST_ROWS:
        return None
    return _first(world, gather(world.goal, columns, len(columns) - 1, money=world.money), looked)


def _first(world: World, e: Evidence, looked: Inquiry) -> Finding | None:
    return next(iter(findings(with_inquiry(e, Case(world.goal, (), inquiry=looked)))), None)


def _said(found: Finding | None) -> str:
    return f"{found.answer} {found.reason}" if found else "not_yet open"
