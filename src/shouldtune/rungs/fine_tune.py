"""fine_tune: change the weights, for skills that a prompt cannot teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shouldtune.measure import mean_score, measure
from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import FALLEN, answer_options
from shouldtune.types import Conversation, Example, Fitted, Models, Skipped, Task, Trial, TuneSettings

FEWEST = 32
"""Training examples below which a fine-tune is not tried."""

FEWEST_EPOCHS, MOST_EPOCHS = 3, 8


@dataclass(frozen=True)
class Setting:
    """One way to train."""

    learning_rate: float
    instructed: bool
    """Whether the instruction stands in the prompt. Without it a tuned model's prompt is the input alone: cheaper."""

    def __str__(self) -> str:
        return f"rate {self.learning_rate:g}, {'with the instruction' if self.instructed else 'the input alone'}"


@dataclass(frozen=True)
class FineTune:
    """LoRA on all linear layers; the loss is on the answer alone.

    After each epoch the model is scored on the unseen part of the training half: training stops when two epochs in
    a row got nothing right or fell clearly behind, and the best epoch is what ships. The shortest prompt at the usual
    rate comes first; only where that got stuck is the next setting tried.
    """

    name: str = "fine_tune"
    training: bool = True
    uses_llm: bool = True
    settings: tuple[Setting, ...] = (Setting(1e-3, instructed=False), Setting(3e-4, instructed=True))
    patience: int = 2
    readings: int = 1700
    """About how many examples are read in all, each 3 to 8 times."""

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if models.tune is None:
            return Skipped("no model that can be tuned here was named (`tune:` in the task file)")
        pool, unseen = task.halves()
        if len(pool) < FEWEST:
            return Skipped(f"{len(pool)} training examples; fewer than {FEWEST} teach nothing that a prompt could not")
        candidates: list[Prompted] = []
        trials: list[Trial] = []
        for setting in self.settings:
            first = len(trials)
            instruction = task.instruction if setting.instructed else ""
            texts = conversations(pool, Prompted(models.tune, instruction))
            rates = TuneSettings(learning_rate=setting.learning_rate, epochs=self.epochs_for(len(pool)))
            async for tuned in models.tune.tune(texts, rates):
                candidates.append(Prompted(tuned, instruction, options=answer_options(task)))
                score = mean_score(predictions := await measure(candidates[-1], unseen, task.scorer))
                trials.append(Trial(f"{setting}, epoch {len(trials) - first + 1}", score, len(predictions)))
                if self._is_stuck(trials[first:]):
                    break
            if not self._is_stuck(trials[first:]):
                break
        # Of equals the later one: the rate falls to zero at the end, which is where training settles.
        best = max(range(len(trials)), key=lambda index: (trials[index].score or 0.0, index))
        return Fitted(candidates[best], tuple(trials), (trials[best].setting,))

    def epochs_for(self, n: int) -> int:
        """Epochs over n examples that come nearest to so many readings."""
        return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(self.readings / n)))

    def _is_stuck(self, trials: Sequence[Trial]) -> bool:
        """Whether the last epochs got nothing right, or fell clearly behind the ones before them."""
        scores = [trial.score or 0.0 for trial in trials]
        if len(scores) <= self.patience:
            return False
        last = max(scores[-self.patience :])
        return last == 0.0 or last < max(scores[: -self.patience]) - FALLEN


def conversations(examples: Sequence[Example], prompt: Prompted) -> list[Conversation]:
    """Training texts in the very form in which the tuned model will be asked."""
    return [Conversation(prompt.messages(example.input)[0], example.target) for example in examples]
