"""What all rungs that change weights share: ways to train, tried in turn, and which epoch of what was trained ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shouldtune.measure import mean_score, measure
from shouldtune.models.prompted import NearestShots, Prompted, Shot
from shouldtune.rungs.choosing import FALLEN, Groups, is_behind, rank
from shouldtune.spool import figure
from shouldtune.tuning.provider_tunable import trains_elsewhere
from shouldtune.types import (
    Conversation,
    Example,
    Fitted,
    Model,
    Models,
    Prediction,
    Skipped,
    Task,
    Trial,
    Tunable,
    TuneSettings,
)

FEWEST = 32
"""Training examples below which a fine-tune is not tried."""

FEWEST_EPOCHS, MOST_EPOCHS = 2, 6
CLEARLY = 2.0
"""Standard errors that an earlier epoch must be ahead by to ship in the last one's place."""


@dataclass(frozen=True)
class Setting:
    """One way to train."""

    learning_rate: float | None
    """None where whoever trains chooses it."""
    instructed: bool
    """Whether the instruction stands in the prompt. Without it a tuned model's prompt is the input alone: cheaper."""

    def __str__(self) -> str:
        rate = "the provider's rate" if self.learning_rate is None else f"rate {self.learning_rate:g}"
        return f"{rate}, {'with the instruction' if self.instructed else 'the input alone'}"

    def to_tune(self, epochs: int) -> TuneSettings:
        """The same for whoever trains."""
        return (
            TuneSettings(epochs=epochs)
            if self.learning_rate is None
            else TuneSettings(learning_rate=self.learning_rate, epochs=epochs)
        )


ELSEWHERE = Setting(None, instructed=True)
"""At a provider: its large model has learnt to follow instructions, and every further try is a job with a price."""
EPOCHS_ELSEWHERE = 3
"""What OpenAI's cookbook plans with where the examples are not very few."""


@dataclass(frozen=True)
class Lesson:
    """What a model is to learn."""

    asked: Callable[[Model, str], Prompted]
    """(model, instruction) to the prompt that the tuned model will be asked with."""
    texts: Callable[[Prompted], list[Conversation]]
    """Training texts in the form in which that prompt asks."""


@dataclass(frozen=True)
class Trained:
    """LoRA on all linear layers; the loss is on the answer alone.

    After each epoch the model is scored on the unseen part of the training half: training stops when two epochs in
    a row got nothing right or fell clearly behind. What ships is the last epoch, or an earlier one that was clearly
    better: the rate falls to zero at the end, which is where training settles, and the best of several epochs on some
    thirty rows is the luckiest. The shortest prompt at the usual rate comes first; only where that got stuck is the
    next setting tried.
    """

    name: str = "trained"
    training: bool = True
    uses_llm: bool = True
    settings: tuple[Setting, ...] = (Setting(2e-3, instructed=False), Setting(6e-4, instructed=True))
    patience: int = 2
    readings: int = 1150
    """About how many examples are read in all, each 2 to 6 times."""
    characters: int = 1_600_000
    """About how much text is read in all, some 400,000 tokens: long texts are read less often, twice at least."""

    def tunable(self, task: Task, models: Models) -> Tunable | Skipped:
        """The model to train, or why nothing can be trained here."""
        if models.tune is None:
            return Skipped("no model that can be tuned here was named (`tune:` in the task file)")
        pool = len(task.halves()[0])
        if pool < FEWEST:
            return Skipped(f"{pool} training examples; fewer than {FEWEST} teach nothing that a prompt could not")
        return models.tune

    async def teach(self, task: Task, tune: Tunable, lesson: Lesson) -> Fitted:
        """Train by one setting after another and keep the epoch that ships. Errors as those of `tune`."""
        unseen = task.halves()[1]
        candidates: list[Prompted] = []
        trials: list[Trial] = []
        settled: list[int] = []
        elsewhere = trains_elsewhere(tune.spec())
        for setting in self.settings_for(tune):
            first = len(trials)
            seen: list[Sequence[Prediction]] = []
            instruction = task.instruction if setting.instructed else ""
            texts = lesson.texts(lesson.asked(tune, instruction))
            async for tuned in tune.tune(texts, setting.to_tune(self.epochs_at(tune, texts))):
                candidates.append(lesson.asked(tuned, instruction))
                seen.append(predictions := await measure(candidates[-1], unseen, task.scorer))
                what = f"{'checkpoint' if elsewhere else 'epoch'} {len(trials) - first + 1}"
                answered = sum(prediction.score is not None for prediction in predictions)
                trials.append(Trial(f"{setting}, {what}", mean_score(predictions), answered))
                if self._is_stuck(trials[first:]) and not elsewhere:  # there it is trained, and paid, to its end
                    break
            settled.append(first + settled_at(seen))
            if not self._is_stuck(trials[first:], ended=True):
                break
        best = max(settled, key=lambda index: (rank(trials[index].score), index))
        return Fitted(candidates[best], tuple(trials), (trials[best].setting,))

    def settings_for(self, tune: Model) -> tuple[Setting, ...]:
        """The ways to train this model, tried in turn."""
        return (ELSEWHERE,) if trains_elsewhere(tune.spec()) else self.settings

    def epochs_at(self, tune: Model, texts: Sequence[Conversation]) -> int:
        """Epochs over these texts where this model is trained."""
        return EPOCHS_ELSEWHERE if trains_elsewhere(tune.spec()) else self.epochs_for(texts)

    def epochs_for(self, texts: Sequence[Conversation]) -> int:
        """Epochs over these texts that come nearest to so many readings, of no more than so many characters."""
        once = sum(len(text.answer) + sum(len(said.content) for said in text.messages) for text in texts)
        epochs = min(round(self.readings / len(texts)), self.characters // max(1, once))
        return min(MOST_EPOCHS, max(FEWEST_EPOCHS, epochs))

    def _is_stuck(self, trials: Sequence[Trial], *, ended: bool = False) -> bool:
        """Whether the last epochs got nothing right, or fell clearly behind the ones before them.

        While training goes on, the first epochs alone may get nothing right.
        """
        scores = [trial.score for trial in trials if trial.score is not None]
        before, last = scores[: -self.patience], scores[-self.patience :]
        if len(last) < self.patience or not (before or ended):
            return False
        return max(last) == 0.0 or (bool(before) and max(last) < max(before) - FALLEN)


def settled_at(seen: Sequence[Sequence[Prediction]]) -> int:
    """The last epoch that is not behind the best one by more than `CLEARLY` standard errors, on the same rows."""
    scores = [figure(answers, "score") for answers in seen]
    best = scores[max(range(len(seen)), key=lambda epoch: (rank(mean_score(seen[epoch])), epoch))]
    return max(epoch for epoch, each in enumerate(scores) if each is best or not is_behind(each, best, CLEARLY))


def conversations(examples: Sequence[Example], prompt: Prompted) -> list[Conversation]:
    """Training texts in the very form in which the tuned model will be asked."""
    return [Conversation(prompt.messages(example.input)[0], example.target) for example in examples]


def shown_beside(example: Example, pool: Groups, nearest: NearestShots) -> tuple[Shot, ...]:
    """The k shots that a training example is shown with: the nearest ones, none of them itself or of its own group."""
    own = {(each.input, each.target) for each in pool.relatives(example)}
    found = [shot for shot in replace(nearest, k=nearest.k + len(own)).find(example.input) if shot not in own]
    return tuple(found[-nearest.k :])
