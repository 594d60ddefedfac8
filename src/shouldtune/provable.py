"""What this many held-out examples can prove, said before anything is spent.

The levels are those at which a run decides: verdict/bounds.py divides its alpha, verdict/limits.py once more where
rungs may be stopped early, and looks.py says what alpha this look at the holdout has.
"""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.looks import goal_at_look, look_at, looks_path
from shouldtune.scorers import grade, model_needed
from shouldtune.spool import together
from shouldtune.stats import (
    examples_for_goal,
    examples_needed,
    graded_examples_needed,
    perfect_proves,
    smallest_visible_gain,
    smallest_visible_graded_gain,
)
from shouldtune.task import LoadedTask
from shouldtune.types import Completion

RUNGS = 11
"""Rungs without training on the whole ladder, over which the goal's share of alpha is divided."""
FIXED = 13 / 16
"""What limits of a fixed number of rows keep of a level where rungs may be stopped early."""
GOAL, GAIN, NO_GAIN = (2 * share * FIXED for share in (1 / 2, 1 / 2, 1 / 8))
"""Shares of a run's alpha, two-sided, that a proof is held to: the goal is met; a candidate gains more than the
worthwhile gain; it gains less, over the rung that was best on the training half."""
DISAGREEMENT = 0.2
"""The share of 0/1 answers in which two rungs are taken to differ."""
SPREAD = 0.25
"""The standard deviation that differences of graded scores are taken to have."""
ROWS_TRIED = 100


@dataclass(frozen=True)
class Provable:
    """What a holdout can show, four times in five where it is about a gain."""

    n: int
    look: int
    """Which look at this holdout the next new question would be."""
    alpha: float
    """What that look may err."""
    graded: bool
    """Whether answers can score between 0 and 1."""
    goal: float | None
    perfect_proves: bool | None
    """Whether a perfect score would prove the goal; None without a goal."""
    rows_for_goal: int | None
    """On how many rows it would."""
    visible_gain: float | None
    """The smallest true gain over another rung that is shown to be one at all; None where none can be."""
    tuning_gain: float | None
    """The smallest true gain that is shown to be more than the worthwhile one; None where none can be."""
    rows_to_settle: int
    """On how many rows it is shown on which side of the worthwhile gain a true gain lies that is 0 or twice as much."""

    @property
    def assumed(self) -> str:
        """What the figures on gains rest on."""
        if self.graded:
            return f"if the differences of scores spread by {SPREAD:g}"
        return "if a fifth of the answers differ"


async def provable(loaded: LoadedTask, rungs: int = RUNGS) -> Provable:
    """What the next new look at this holdout can prove, `rungs` without training sharing the goal's part."""
    goal, n = loaded.task.goal, len(loaded.holdout)
    look = look_at(looks_path(loaded.folder), loaded.holdout).number
    alpha = round(1 - goal_at_look(goal, look).confidence, 12)
    graded = await is_graded(loaded)
    strict, quality, worthwhile = GOAL * alpha / max(1, rungs), goal.quality, goal.worthwhile_gain
    visible = _visible(n, GAIN * alpha, graded)
    reached = None if visible is None or worthwhile + visible > 1 else worthwhile + visible
    return Provable(
        n=n,
        look=look,
        alpha=alpha,
        graded=graded,
        goal=quality,
        perfect_proves=None if quality is None else perfect_proves(n, quality, strict),
        rows_for_goal=None if quality is None else examples_for_goal(quality, strict),
        visible_gain=visible,
        tuning_gain=reached,
        rows_to_settle=max(_rows(worthwhile, share * alpha, graded) for share in (GAIN, NO_GAIN)),
    )


async def is_graded(loaded: LoadedTask) -> bool:
    """Whether the scorer gives anything between 0 and 1, tried with the targets of other examples as answers."""
    if model_needed(loaded.task.scorer) is not None:
        return loaded.file.scoring.pairwise or isinstance(loaded.file.scorer, dict)  # known without asking
    examples = list(together(loaded.task.train, loaded.holdout)[:ROWS_TRIED])
    for one, other in zip(examples, (*examples[1:], *examples[:1]), strict=True):
        value = (await grade(loaded.task.scorer, Completion(other.target), one)).value
        if 0.0 < value < 1.0:
            return True
    return False


def _visible(n: int, alpha: float, graded: bool) -> float | None:
    if graded:
        return smallest_visible_graded_gain(n, alpha, SPREAD)
    return smallest_visible_gain(n, alpha, disagreement=DISAGREEMENT)


def _rows(gain: float, alpha: float, graded: bool) -> int:
    if graded:
        return graded_examples_needed(gain, alpha, SPREAD)
    return examples_needed(gain, alpha, disagreement=DISAGREEMENT)
