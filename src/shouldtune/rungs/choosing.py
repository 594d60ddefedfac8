"""Choosing between settings on the training half: what every rung with a dial needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shouldtune.measure import mean_score, measure
from shouldtune.types import Example, Model, Options, Scorer, Task, Trial

FALLEN = 0.1
"""On the few examples that settings are chosen on, a smaller difference says nothing."""

Candidate = tuple[str, Model]
"""(the setting in words, the model with it)"""


async def best_of(
    candidates: Sequence[Candidate], unseen: Sequence[Example], scorer: Scorer, *, rising: bool = False
) -> tuple[int, tuple[Trial, ...]]:
    """Measure candidates on the unseen part of the training half.

    Returns (index of the best, the trials made). Ties go to the earlier one: candidates are listed cheapest first. A
    candidate whose every call failed has no score and cannot win unless all failed. With `rising`, for sizes that grow
    dearer, the last that is tried is the first that falls behind the best by more than `FALLEN`, or the second in a
    row that gets nothing right.
    """
    trials: list[Trial] = []
    best = 0
    if len(candidates) == 1:
        return best, ()  # there is nothing to choose
    for index, (setting, model) in enumerate(candidates):
        predictions = await measure(model, unseen, scorer)
        answered = sum(prediction.score is not None for prediction in predictions)
        trials.append(Trial(setting, mean_score(predictions), answered))
        if _rank(trials[index].score) > _rank(trials[best].score):
            best = index
        elif rising and (_fell(trials, best) or _hopeless(trials)):
            break
    return best, tuple(trials)


def _fell(trials: Sequence[Trial], best: int) -> bool:
    return _rank(trials[-1].score) < _rank(trials[best].score) - FALLEN


def _hopeless(trials: Sequence[Trial]) -> bool:
    """Whether two sizes in a row got nothing right."""
    return len(trials) > 1 and not trials[-1].score and not trials[-2].score


def _rank(score: float | None) -> float:
    return -1.0 if score is None else score


def free_options(task: Task) -> Options:
    """How answers are made for this task: as long as its targets are, with some room."""
    return Options(max_tokens=task.output.max_tokens)


def answer_options(task: Task) -> Options:
    """The same, and held to their form where they have one: the rungs above `structured` build on it."""
    labels, schema = task.output.labels, task.output.schema
    return replace(free_options(task), choices=labels, schema=schema, choice_logprobs=bool(labels))


def shots(examples: Sequence[Example]) -> tuple[tuple[str, str], ...]:
    """Examples as (input, target) pairs for a prompt."""
    return tuple((example.input, example.target) for example in examples)


def varied(pool: Sequence[Example], size: int, draw: int) -> list[Example]:
    """`size` examples in a seeded order, with as many different targets as can be had."""
    order = [pool[int(index)] for index in np.random.default_rng(draw).permutation(len(pool))]
    seen: dict[str, int] = {}
    turn = []
    for position, example in enumerate(order):
        turn.append((seen.get(example.target, 0), position))
        seen[example.target] = seen.get(example.target, 0) + 1
    return [order[position] for _, position in sorted(turn)[:size]]
