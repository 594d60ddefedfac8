"""Model x examples -> predictions. Failure is data; the order of the examples is kept."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

from shouldtune.errors import InputError
from shouldtune.scorers import grade
from shouldtune.types import Example, Graded, Message, Model, Overall, Prediction, Scorer

AT_ONCE = 96
"""Calls under way together: a local engine makes batches of them, a server's client sets its own limit below."""

OnPrediction = Callable[[Prediction], None]


async def measure(
    model: Model, examples: Sequence[Example], scorer: Scorer, on_prediction: OnPrediction | None = None
) -> tuple[Prediction, ...]:
    """Ask the model every example's input and grade the answers, in the examples' order.

    The model is given the input alone. A call that fails gives a Prediction without a score. Raises what the model
    raises for trouble that no call survives (CannotMeasure), after the calls under way were cancelled.
    """
    places = asyncio.Semaphore(AT_ONCE)

    async def one(example: Example) -> Prediction:
        async with places:
            completion = await model.complete([Message("user", example.input)])
        score = None if completion.failed else await grade(scorer, completion, example)
        prediction = Prediction(example.id, completion, score)
        if on_prediction is not None:
            on_prediction(prediction)
        return prediction

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(example)) for example in examples]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return tuple(task.result() for task in tasks)


def mean_score(predictions: Sequence[Prediction]) -> float | None:
    """Mean over the answered examples; None when nothing was answered."""
    values = [prediction.score.value for prediction in predictions if prediction.score is not None]
    return sum(values) / len(values) if values else None


def overall(scorer: Scorer, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """What the scorer says of all answers together; nothing where it offers no such measure, or nothing was answered.

    `examples` hold those of the predictions. Raises InputError where a measure of the user's own scorer is no number.
    """
    offered: object = scorer
    if not isinstance(offered, Overall):
        return {}
    known = {example.id: example for example in examples}
    rows: list[Graded] = [(known[p.example_id], p.completion, p.score) for p in predictions if p.score is not None]
    found = offered.overall(rows) if rows else {}
    for name, value in found.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"the scorer's overall {name!r} is {value!r}", hint="leave out what is not known")
    return {name: float(value) for name, value in found.items()}
