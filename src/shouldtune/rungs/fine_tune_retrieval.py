"""fine_tune_retrieval: trained with retrieved passages, some of them wrong, so that it learns which ones to heed.

Zhang et al., "RAFT: Adapting Language Model to Domain Specific RAG" (2024): most training texts hold the right passage
among wrong ones, the rest hold wrong ones alone. Their answers reason aloud before they answer; ours are the targets.
A model that was tuned without passages may do worse once it is given some, so that is tried too, and reported.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shouldtune.measure import mean_score, measure
from shouldtune.models.prompted import NearestPassages, Prompted, with_passages
from shouldtune.retrieval.chunks import Passage
from shouldtune.rungs.choosing import answer_options, parted
from shouldtune.rungs.retrieving import ChosenRetriever, chosen_retriever
from shouldtune.rungs.trained import Lesson, Setting, Trained
from shouldtune.tuning.lora import TooLong
from shouldtune.types import Conversation, Example, Fitted, Message, Models, Skipped, Task

MOST_RIGHT = 8
"""Right passages that are looked past; one of them is shown."""


@dataclass(frozen=True)
class FineTuneRetrieval(Trained):
    """Every training text shows `shown` passages, the best found ones and the right one where it is known."""

    name: str = "fine_tune_retrieval"
    settings: tuple[Setting, ...] = (Setting(2e-3, instructed=True),)
    """With the instruction: it says what the passages are for."""
    shown: int = 3
    with_right: float = 0.8
    """In which share of the texts the right passage stands; in the others it is left out."""
    seed: int = 0

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if not task.documents:
            return Skipped("the task has no documents")
        tune = self.tunable(task, models)
        if isinstance(tune, Skipped):
            return tune
        pool, options = task.halves()[0], answer_options(task)
        chosen = await chosen_retriever(task, *parted(task))
        found = chosen.nearest(self.shown, pool)
        shown = await asyncio.to_thread(self._shown, pool, found, chosen)
        lesson = Lesson(
            asked=lambda model, instruction: Prompted(model, instruction, passages=found, options=options),
            texts=lambda prompt: [
                _text(prompt.instruction, example, its) for example, its in zip(pool, shown, strict=True)
            ],
        )
        without = await _tuned_without(task, models, found)
        try:
            fitted = await self.teach(task, tune, lesson)
        except TooLong as error:
            return Skipped(f"its prompts are too long to train on: {error}")
        model = fitted.model
        if isinstance(model, Prompted):  # what was kept apart from training may teach the search from now on
            model = replace(model, passages=chosen.nearest(self.shown, task.train))
        return Fitted(model, fitted.trials, (*chosen.notes, *fitted.notes, *without))

    def _shown(
        self, pool: Sequence[Example], found: NearestPassages, chosen: ChosenRetriever
    ) -> list[tuple[Passage, ...]]:
        """The passages of each training text, nearest first; a right one that was not found takes a place by lot."""
        draw = random.Random(self.seed)
        wider = replace(found, k=found.k + MOST_RIGHT)  # so that enough wrong ones are left
        made = []
        for example in pool:
            right = [chosen.passages[place] for place in chosen.right.get(example.id, ())]
            near = wider.find(example.input, [example.input])
            wrong = [passage for passage in near if passage not in right]
            place = next((i for i, p in enumerate(near[: found.k]) if p in right), draw.randrange(found.k))
            if right and draw.random() < self.with_right:
                wrong[place:place] = right[:1]
            made.append(tuple(wrong[: found.k]))
        return made


def _text(instruction: str, example: Example, shown: Sequence[Passage]) -> Conversation:
    """The messages that the prompt would send, had it found these passages."""
    system = (Message("system", instruction),) if instruction else ()
    return Conversation((*system, Message("user", with_passages(example.input, shown))), example.target)


async def _tuned_without(task: Task, models: Models, found: NearestPassages) -> tuple[str, ...]:
    """How the model that was tuned without passages does when it is given some."""
    tuned = models.trained.get("fine_tune")
    if not isinstance(tuned, Prompted):
        return ()
    unseen = task.halves()[1]
    alone, given = [await measure(model, unseen, task.scorer) for model in (tuned, replace(tuned, passages=found))]
    before, after = mean_score(alone), mean_score(given)
    if before is None or after is None:
        return ()
    return (f"fine_tune given passages that it never learnt to read: {after:.3f}, without them {before:.3f}",)
