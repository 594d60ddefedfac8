"""fine_tune_shots: trained on prompts that show the nearest examples, to make more of them than an untrained model.

Min et al., "MetaICL: Learning to Learn In Context" (2022), train on many tasks shown by examples; here it is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shouldtune.models.prompted import NearestShots, Prompted
from shouldtune.rungs.choosing import Groups, answer_options, shots
from shouldtune.rungs.trained import Lesson, Trained, conversations, shown_beside
from shouldtune.tuning.lora import TooLong
from shouldtune.types import Conversation, Example, Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class FineTuneShots(Trained):
    """Every training text shows the `shown` examples nearest to it, itself not among them."""

    name: str = "fine_tune_shots"
    shown: int = 3

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        tune = self.tunable(task, models)
        if isinstance(tune, Skipped):
            return tune
        pool, options = task.halves()[0], answer_options(task)
        nearest, groups = NearestShots(shots(pool), self.shown), Groups(pool)
        lesson = Lesson(
            asked=lambda model, instruction: Prompted(model, instruction, nearest=nearest, options=options),
            texts=lambda prompt: [_text(example, groups, prompt, nearest) for example in pool],
        )
        try:
            fitted = await self.teach(task, tune, lesson)
        except TooLong as error:
            return Skipped(f"its prompts are too long to train on: {error}")
        if isinstance(fitted.model, Prompted):  # what was kept apart from training may be shown from now on
            nearest = NearestShots(shots(task.train), self.shown)
            return replace(fitted, model=replace(fitted.model, nearest=nearest))
        return fitted


def _text(example: Example, pool: Groups, prompt: Prompted, nearest: NearestShots) -> Conversation:
    """The prompt with fixed shots in place of found ones: among those found would be the example itself."""
    shown = Prompted(prompt.model, prompt.instruction, shots=shown_beside(example, pool, nearest))
    return conversations([example], shown)[0]
