"""fine_tune: change the weights, for skills that a prompt cannot teach."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options
from shouldtune.rungs.trained import Lesson, Trained, conversations
from shouldtune.types import Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class FineTune(Trained):
    """The input alone, and the answer: what is asked later is as short as can be."""

    name: str = "fine_tune"

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        tune = self.tunable(task, models)
        if isinstance(tune, Skipped):
            return tune
        pool, options = task.halves()[0], answer_options(task)
        lesson = Lesson(
            asked=lambda model, instruction: Prompted(model, instruction, options=options),
            texts=lambda prompt: conversations(pool, prompt),
        )
        return await self.teach(task, tune, lesson)
