"""What tuning made a model forget: the tuned model beside its base on questions that are not of the task.

Weights that were changed for one task may do worse at everything else (McCloskey and Cohen, "Catastrophic
Interference in Connectionist Networks", 1989). That matters where the same model is to answer other things too, so
it is shown beside the gain; it decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from shouldtune.causes import Forgetting, Kept
from shouldtune.measure import measure
from shouldtune.models.calibrated import Calibrated
from shouldtune.models.paying import paying
from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options
from shouldtune.scorers.text import contains
from shouldtune.stats import paired_limits
from shouldtune.types import Example, Fitted, Model, Models, Options, Scorer, Task

PAYER = "forgetting"
LEVEL = 0.025
"""Of each end of an interval: 95% in all."""
GENERAL = "general questions"
MOST_ROWS = 64
MOST_TOKENS = 24
"""Of an answer to a general question: a right one is a word or two."""


@cache
def general_questions() -> tuple[Example, ...]:
    """Sixty questions that small models mostly get right: facts, reading, form, small numbers."""
    text = files("shouldtune.forgetting").joinpath("general.jsonl").read_text(encoding="utf-8")
    rows = (json.loads(line) for line in text.splitlines())
    return tuple(Example(row["id"], row["input"], row["target"], accepted=tuple(row["accepted"])) for row in rows)


async def forgotten(rung: str, fitted: Fitted, models: Models, others: Sequence[Task] = ()) -> Forgetting | None:
    """The tuned model of a rung and its base, on the general questions and on the training rows of other tasks.

    Both are asked without the rung's own prompt; other tasks with their instruction alone. None where the rung is no
    prompt around a tuned model. On the bill of `forgetting`; a call that fails is left out of the estimate and counts
    as the worst case in the interval.
    """
    inner = fitted.model.model if isinstance(fitted.model, Calibrated) else fitted.model
    if models.tune is None or not isinstance(inner, Prompted):
        return None
    base, tuned, short = models.tune, inner.model, Options(max_tokens=MOST_TOKENS)
    with paying(PAYER, "measure"):
        rows = general_questions()
        kept = [await _beside(GENERAL, Prompted(base, options=short), Prompted(tuned, options=short), rows, contains)]
        for task in others:
            before = Prompted(base, task.instruction, options=answer_options(task))
            after = replace(before, model=tuned)
            kept.append(await _beside(task.name, before, after, task.train[:MOST_ROWS], task.scorer))
    return Forgetting(rung, tuple(kept))


async def _beside(what: str, base: Model, tuned: Model, rows: Sequence[Example], scorer: Scorer) -> Kept:
    before, after = [await measure(model, rows, scorer) for model in (base, tuned)]
    was = [None if p.score is None else p.score.value for p in before]
    became = [None if p.score is None else p.score.value for p in after]
    return Kept(what, _mean(was), _mean(became), paired_limits(became, was, LEVEL, LEVEL))


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None
