"""A judge beside people: rows whose `meta.human` grades a given answer.

`meta.human` is a number from 0 to 1, true or false, or yes or no; it grades `meta.answer`, or the target where there is
none. Agreement speaks about those answers. Their mean grade by people, corrected by prediction-powered inference, needs
further answers of the same kind that people have not graded: rows with `meta.answer` alone. What another model answers
is another kind, and its scores are not corrected by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from shouldtune.errors import InputError, Ungraded
from shouldtune.judgement import Interval
from shouldtune.scorers.judge import Judge
from shouldtune.stats.agreement import cohen_kappa
from shouldtune.stats.judged import Judged, judged_mean
from shouldtune.stats.proportions import clopper_pearson
from shouldtune.types import Completion, Example

PASSES = 0.5
"""The grade from which people, or the judge, say yes."""
_WORDS = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Agreement:
    """How a judge's yes and no stand to people's."""

    share: Interval
    """Of the answers that both graded, those on which they agree."""
    kappa: Interval
    """Cohen's: 0 is what chance would give, 1 is the same throughout. None where both say one thing of all."""
    mean: Judged
    """The mean grade that people would give to all the given answers."""
    ungraded: int
    """Answers that people graded and the judge did not."""


def human_grade(example: Example) -> float | None:
    """What people gave the answer, 0 to 1; None where they were not asked. InputError for anything else."""
    given = example.meta.get("human")
    if given is None:
        return None
    if isinstance(given, str):
        given = _WORDS.get(given.strip().lower(), given)
    if not isinstance(given, bool | int | float) or not 0 <= given <= 1:
        raise InputError(
            f"meta.human of the example {example.id} is {given!r}", hint="a number from 0 to 1, or yes or no"
        )
    return float(given)


async def beside_people(judge: Judge, examples: Sequence[Example], alpha: float) -> Agreement | None:
    """Grade the answers that people graded, and those like them; None where people graded none."""
    rows = [(example, human_grade(example)) for example in examples]
    rows = [(e, human) for e, human in rows if human is not None or isinstance(e.meta.get("answer"), str)]
    if all(human is None for _, human in rows):
        return None
    found = await asyncio.gather(*(_grade(judge, example) for example, _ in rows))
    both = [(h, j) for (_, h), j in zip(rows, found, strict=True) if h is not None and j is not None]
    people, judged = [h for h, _ in both], [j for _, j in both]
    alone = [j for (_, h), j in zip(rows, found, strict=True) if h is None and j is not None]
    yes = [(h >= PASSES, j >= PASSES) for h, j in both]
    return Agreement(
        clopper_pearson(sum(h == j for h, j in yes), len(yes), alpha),
        cohen_kappa([h for h, _ in yes], [j for _, j in yes], alpha),
        judged_mean(people, judged, alone, alpha),
        sum(h is not None and j is None for (_, h), j in zip(rows, found, strict=True)),
    )


async def _grade(judge: Judge, example: Example) -> float | None:
    given = example.meta.get("answer")
    answer = given if isinstance(given, str) else example.target
    try:
        return (await judge(Completion(answer), example)).value
    except Ungraded:
        return None
