"""Model x examples -> predictions. Failure is data; the order of the examples is kept."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shouldtune.errors import InputError
from shouldtune.scorers import graded
from shouldtune.spool import Answers
from shouldtune.stats.samples import mean_pass_at_k
from shouldtune.types import Example, Graded, Message, Model, Overall, Prediction, Scorer

AT_ONCE = 96
"""Calls under way together: a local engine makes batches of them, a server's client sets its own limit below."""
TIMES = 3
"""How many times what a server's client has under way are at least begun: each waits for the disk before and after."""

BEGUN = 4
"""How many times as many are begun as are asked: the others are being graded, which holds no place."""

OnPrediction = Callable[[Prediction], None]


async def measure(
    model: Model,
    examples: Sequence[Example],
    scorer: Scorer,
    on_prediction: OnPrediction | None = None,
    before: Answers | None = None,
) -> Answers:
    """Ask the model every example's input and grade the answers; those `before` and these, in the examples' order.

    The model is given the input alone. A call that fails, and an answer
    that the scorer could not grade, give a Prediction without a score. Raises what the model
    raises for trouble that no call survives (CannotMeasure), after the calls under way were cancelled.
    """
    answers = Answers() if before is None else before
    found = np.full(len(examples), -1, dtype=np.int64)  # where each was written down, as soon as it was there
    waiting = iter(enumerate(examples))

    async def one(example: Example) -> Prediction:
        async with places:
            completion = await model.complete([Message("user", example.input)])
        prediction = Prediction(example.id, completion, await graded(scorer, completion, example))
        if on_prediction is not None:
            on_prediction(prediction)
        return prediction

    async def one_after_another() -> None:
        for place, example in waiting:
            found[place] = answers.add(await one(example))

    at_once = max(AT_ONCE, TIMES * _under_way(model))
    places = asyncio.Semaphore(at_once)
    try:
        async with asyncio.TaskGroup() as group:  # not a task for each example: 100,000 would take gigabytes
            for _ in range(min(len(examples), BEGUN * at_once)):
                group.create_task(one_after_another())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if bool((found < 0).any()):  # whoever answers was ended, and so was this
        raise asyncio.CancelledError
    return answers.and_at(found)


def _under_way(model: Model) -> int:
    """How many calls the client inside a model has under way at most; 0 where there is none."""
    inner: object = model
    while inner is not None and not hasattr(inner, "concurrency"):
        inner = getattr(inner, "model", None)
    return int(getattr(inner, "concurrency", 0))


def mean_score(predictions: Sequence[Prediction]) -> float | None:
    """Mean over the answered examples; None when nothing was answered."""
    values = [prediction.score.value for prediction in predictions if prediction.score is not None]
    return sum(values) / len(values) if values else None


def pass_at(k: int, predictions: Sequence[Prediction]) -> float | None:
    """pass@k where examples were answered several times: their predictions, of all the times, share an example's id.

    An answer is right at a score of 1; a failed call is no answer. None where an example has fewer than k answers.
    A run asks once, at temperature 0; ask a model at another temperature with a seed for each time to have more.
    """
    answered, right = Counter[str](), Counter[str]()
    for prediction in predictions:
        answered[prediction.example_id] += prediction.score is not None
        right[prediction.example_id] += prediction.score is not None and prediction.score.value == 1
    return mean_pass_at_k([(answered[name], right[name]) for name in answered], k)


def overall(scorer: Scorer, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """What the scorer says of all answers together; nothing where it offers no such measure, or nothing was answered.

    `examples` hold those of the predictions. Raises InputError where a measure of the user's own scorer is no number.
    """
    offered: object = scorer
    if not isinstance(offered, Overall):
        return {}
    asked = examples[: len(predictions)]
    if len(asked) < len(predictions) or any(e.id != p.example_id for e, p in zip(asked, predictions, strict=True)):
        known = {example.id: example for example in examples}
        asked = [known[p.example_id] for p in predictions]
    both = zip(asked, predictions, strict=True)
    rows: list[Graded] = [(example, p.completion, p.score) for example, p in both if p.score is not None]
    found = offered.overall(rows) if rows else {}
    for name, value in found.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"the scorer's overall {name!r} is {value!r}", hint="leave out what is not known")
    return {name: float(value) for name, value in found.items()}
