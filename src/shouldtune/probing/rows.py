"""The training rows that are probed: asked as they are, and told apart into failures and successes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from shouldtune.doubts import Doubts
from shouldtune.models.calibrated import Calibrated
from shouldtune.models.prompted import Prompted
from shouldtune.probing.answers import Row, complete, score_of
from shouldtune.probing.changes import take_apart
from shouldtune.rungs.choosing import Groups, parted
from shouldtune.types import Example, Model, Task

FEWEST, BATCH = 8, 64
"""Rows asked at once; as few as may be enough."""
HALF = 0.5
"""The score from which a graded answer passes where the goal names no line."""


@dataclass(frozen=True)
class Sample:
    """Rows, how they fared, and what is doubted of them."""

    rows: tuple[Row, ...]
    failed: tuple[Row, ...]
    passed: tuple[Row, ...]
    doubts: Doubts

    @property
    def calls(self) -> int:
        return len(self.rows)


async def first_answers(task: Task, fitted: Model, *, failures: int, rows: int, most: int) -> list[Row]:
    """Ask rows in their order until so many of them fail and so many are asked, `most` at most."""
    pool, groups = parted(task)[0], Groups(task.train)
    apart = ((example, take_apart(fitted, example, groups)) for example in pool)
    usable = list(islice(((example, ask) for example, ask in apart if ask is not None), most))
    asked: list[Row] = []
    lacking = max(failures, rows)
    while lacking > 0 and len(asked) < len(usable):
        part = usable[len(asked) :][: min(BATCH, max(FEWEST, lacking))]
        answers = await complete([ask for _, ask in part])
        scores = await asyncio.gather(*(score_of(task, e, c) for (e, _), c in zip(part, answers, strict=True)))
        asked += [Row(e, a, c, s) for (e, a), c, s in zip(part, answers, scores, strict=True)]
        line = passing(task, [row.score for row in asked])
        failed = sum(row.score is not None and row.score < line for row in asked)
        lacking = max(failures - failed, rows - len(asked))
    return asked


def passing(task: Task, scores: Sequence[float | None]) -> float:
    """From which score on an answer passes: 1 where all scores are 0 or 1, else the goal's quality, else HALF.

    Where more scores show that they are graded after all, rows of 0 and of 1 stay on their sides of the line.
    """
    if all(score in (0, 1, None) for score in scores):
        return 1.0
    return task.goal.quality if task.goal.quality is not None else HALF


async def mean_without_itself(task: Task, fitted: Model, rows: Sequence[Example]) -> float | None:
    """A fitted prompt's mean score on training rows, none of them among its own shots; None where none was answered."""
    groups = Groups(task.train)
    asked = [(row, ask) for row in rows if (ask := take_apart(fitted, row, groups)) is not None]
    answers = await complete([ask for _, ask in asked])
    scores = [await score_of(task, row, answer) for (row, _), answer in zip(asked, answers, strict=True)]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def prompt_of(fitted: Model) -> Prompted | None:
    """The prompt in a fitted model; None where it is none."""
    inner = fitted.model if isinstance(fitted, Calibrated) else fitted
    return inner if isinstance(inner, Prompted) else None
