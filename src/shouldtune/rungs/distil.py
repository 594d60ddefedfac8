"""distil: trained on the strong model's answers to the training questions, those of them that score well.

Kim and Rush, "Sequence-Level Knowledge Distillation" (2016): a small model learns more easily what a large one writes
than what people wrote. Only answers that the task's own scorer approves of are kept: its mistakes are not learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shouldtune.measure import measure
from shouldtune.models.prompted import NearestShots, Prompted
from shouldtune.rungs.choosing import Groups, answer_options, shots
from shouldtune.rungs.trained import FEWEST, Lesson, Trained, conversations, shown_beside
from shouldtune.types import (
    Completion,
    Conversation,
    Example,
    Fitted,
    Message,
    Model,
    Models,
    ModelSpec,
    Options,
    Prediction,
    Skipped,
    Task,
)


@dataclass(frozen=True)
class Distil(Trained):
    """The strong model is shown the nearest examples of each question, itself not among them."""

    name: str = "distil"
    shown: int = 4

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if models.strong is None:
            return Skipped("no stronger model was named (`strong:` in the task file)")
        tune = self.tunable(task, models)
        if isinstance(tune, Skipped):
            return tune
        pool, options = task.halves()[0], answer_options(task)
        answered = await self._ask(task, pool, models.strong)
        if any(p.completion.failure == "not_asked" for p in answered):
            return Skipped("the budget ended before the strong model had answered")
        line = good_enough(task, [p.score.value for p in answered if p.score is not None])
        kept = [
            (example, p.completion.text)
            for example, p in zip(pool, answered, strict=True)
            if p.score is not None and p.score.value >= line
        ]
        if len(kept) < FEWEST:
            return Skipped(f"only {len(kept)} of {len(pool)} answers of the strong model score {line:g} or more")

        def texts(prompt: Prompted) -> list[Conversation]:
            asked = conversations([example for example, _ in kept], prompt)
            return [Conversation(each.messages, answer) for each, (_, answer) in zip(asked, kept, strict=True)]

        lesson = Lesson(asked=lambda model, instruction: Prompted(model, instruction, options=options), texts=texts)
        fitted = await self.teach(task, tune, lesson)
        note = f"learnt from {len(kept)} of the strong model's {len(pool)} answers, those that score {line:g} or more"
        return Fitted(fitted.model, fitted.trials, (*fitted.notes, note))

    async def _ask(self, task: Task, pool: Sequence[Example], strong: Model) -> Sequence[Prediction]:
        """The strong model's answer to each training question, and its grade."""
        nearest, groups, options = NearestShots(shots(pool), self.shown), Groups(pool), answer_options(task)
        prompts = {
            e.input: Prompted(strong, task.instruction, shots=shown_beside(e, groups, nearest), options=options)
            for e in pool
        }
        return await measure(_EachItsOwn(prompts), pool, task.scorer)


@dataclass(frozen=True)
class _EachItsOwn:
    """A prompt of its own for each question."""

    prompts: Mapping[str, Prompted]

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return await self.prompts[messages[-1].content].complete(messages, options)

    def spec(self) -> ModelSpec:
        return {"kind": "each its own"}


def good_enough(task: Task, scores: Sequence[float]) -> float:
    """From which score on an answer is learnt from: 1 where all are 0 or 1, else the goal's quality, else 0.5."""
    if all(score in (0.0, 1.0) for score in scores):
        return 1.0
    return task.goal.quality if task.goal.quality is not None else 0.5
