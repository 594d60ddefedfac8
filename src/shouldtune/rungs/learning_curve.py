"""The learning curve of fine_tune: fine-tunes on small parts of the training half, for a forecast of larger ones.

It is measured where the user asks for it, and not to save a fine-tune on this machine: two subsets each of 1/16, 1/8
and 1/4 hold 7/8 of the examples that one full fine-tune reads, and small subsets are read more often, so that the
curve takes at least as long as the full fine-tune. It pays where a fine-tune is a provider's job with a price, or
several are planned, and where the question is what more examples would bring.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from shouldtune.curves import CurvePoint
from shouldtune.measure import measure
from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options, parted
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.trained import conversations
from shouldtune.tuning.subsets import CurveParts, Subset, curve_parts
from shouldtune.types import Example, Model, Models, Prediction, Rung, Skipped, Task, Tunable

FEWEST = 128
"""Training examples below which there is no curve: a sixteenth would teach nothing."""
SMALL_SHARE = 0.1
"""A full fine-tune that costs less than this share of the budget is not worth a forecast."""
FEWEST_UNSEEN = 32


def why_no_curve(task: Task, models: Models, price: float | None = None, budget: float | None = None) -> str | None:
    """Why a curve is not measured, in one line; None where it can be.

    `price` is of a full fine-tune and `budget` of the run, both in dollars; with either unknown money says nothing.
    """
    if models.tune is None:
        return "no model that can be tuned here was named"
    full, unseen = len(task.halves()[0]), len(parts_of(task).unseen)
    if full < FEWEST or unseen < FEWEST_UNSEEN:
        return f"{full} training examples; a curve takes {FEWEST}"
    if price is not None and budget is not None and price < SMALL_SHARE * budget:
        return f"a full fine-tune costs ${price:g}, less than a tenth of the budget: it tells more than a forecast"
    return None


def parts_of(task: Task) -> CurveParts:
    """The subsets, and rows to score them on that neither trained on nor served to choose a rung or its settings."""
    return curve_parts(task, len(parted(task)[1]))


async def learning_curve(task: Task, models: Models, how: FineTune, parts: CurveParts) -> AsyncIterator[CurvePoint]:
    """Train on each subset, the smallest first, and score it on the unseen part: a point for each.

    The rung's first setting and the last epoch, where the rate has fallen to zero: nothing is chosen on the rows that
    score. Adapters lie on disk by what they were made from and answers in the ledger, so that a curve that was cut
    off goes on where it stood. `parts` are those of `parts_of(task)`. Raises ValueError where `why_no_curve` gives
    a reason without money in it.
    """
    reason = why_no_curve(task, models)
    if models.tune is None or reason is not None:
        raise ValueError(reason)
    places, tune = asyncio.Semaphore(at_once(models.tune)), models.tune

    async def point(subset: Subset) -> CurvePoint:
        async with places:
            tuned = await fine_tuned(subset.examples, task, tune, how)
            return point_of(await measure(tuned, parts.unseen, task.scorer), len(subset.examples), subset.chain)

    points = [asyncio.create_task(point(subset)) for subset in parts.subsets]
    try:
        for each in points:
            yield await each
    finally:
        for each in points:
            each.cancel()
        await asyncio.gather(*points, return_exceptions=True)


def at_once(model: Tunable) -> int:
    """How many trainings of a model need not wait for one another: one, unless it says otherwise."""
    inner: object = model
    while inner is not None and not hasattr(inner, "trains_at_once"):
        inner = getattr(inner, "model", None)
    return int(getattr(inner, "trains_at_once", 1))


async def fine_tuned(examples: Sequence[Example], task: Task, model: Tunable, how: FineTune) -> Prompted:
    """The model after its last epoch on these examples, with the prompt that it learnt. Errors as the model's."""
    setting = how.settings_for(model)[0]
    instruction = task.instruction if setting.instructed else ""
    texts = conversations(examples, Prompted(model, instruction))
    rates = setting.to_tune(how.epochs_at(model, texts))
    last: Model = model
    async for tuned in model.tune(texts, rates):
        last = tuned
    return Prompted(last, instruction, options=answer_options(task))


async def scores_beside(rung: Rung, models: Models, parts: CurveParts, task: Task) -> tuple[float | None, ...] | None:
    """A rung without training on the rows of the curve's points, fitted on other rows; None where it cannot apply."""
    fitted = await rung.fit(parts.rest, models)
    if isinstance(fitted, Skipped):
        return None
    return scores_of(await measure(fitted.model, parts.unseen, task.scorer))


def point_of(predictions: Sequence[Prediction], size: int, chain: int) -> CurvePoint:
    return CurvePoint.scored(size, scores_of(predictions), chain)


def scores_of(predictions: Sequence[Prediction]) -> tuple[float | None, ...]:
    """One value a row; None where the call failed."""
    return tuple(None if p.score is None else p.score.value for p in predictions)
