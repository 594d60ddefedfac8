"""fine_tune: change the weights, for skills that a prompt cannot teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shouldtune.measure import mean_score, measure
from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options
from shouldtune.types import Conversation, Example, Fitted, Models, Skipped, Task, Trial, TuneSettings

FEWEST = 32
"""Training examples below which a fine-tune is not tried."""


@dataclass(frozen=True)
class FineTune:
    """LoRA on all linear layers; the loss is on the answer alone.

    After each epoch the model is scored on the unseen part of the training half: training stops when two epochs in
    a row brought nothing, and the best epoch is what ships.
    """

    name: str = "fine_tune"
    training: bool = True
    uses_llm: bool = True
    settings: TuneSettings = TuneSettings()
    patience: int = 2

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if models.tune is None:
            return Skipped("no model that can be tuned here was named (`tune:` in the task file)")
        pool, unseen = task.halves()
        if len(pool) < FEWEST:
            return Skipped(f"{len(pool)} training examples; fewer than {FEWEST} teach nothing that a prompt could not")
        best: Prompted | None = None
        trials: list[Trial] = []
        async for tuned in models.tune.tune(conversations(pool, Prompted(models.tune)), self.settings):
            candidate = Prompted(tuned, options=answer_options(task))
            predictions = await measure(candidate, unseen, task.scorer)
            score = mean_score(predictions)
            trials.append(Trial(f"epoch {len(trials) + 1}", score, len(predictions)))
            if best is None or (score or 0.0) > max((trial.score or 0.0) for trial in trials[:-1]):
                best = candidate
            elif self._is_stuck(trials):
                break
        assert best is not None  # noqa: S101  there is at least one epoch
        return Fitted(best, tuple(trials))

    def _is_stuck(self, trials: Sequence[Trial]) -> bool:
        scores = [trial.score or 0.0 for trial in trials]
        return len(scores) > self.patience and max(scores[-self.patience :]) <= max(scores[: -self.patience])


def conversations(examples: Sequence[Example], prompt: Prompted) -> list[Conversation]:
    """Training texts in the very form in which the tuned model will be asked."""
    return [Conversation(prompt.messages(example.input)[0], example.target) for example in examples]
