"""retrieval: the passages nearest to each question in the prompt; how many is chosen on the training half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options, best_of, parted
from shouldtune.rungs.retrieving import chosen_retriever
from shouldtune.types import Example, Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class Retrieval:
    """BM25 over the documents, cut into passages."""

    name: str = "retrieval"
    training: bool = False
    uses_llm: bool = True
    sizes: tuple[int, ...] = (1, 3, 5)

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if not task.documents:
            return Skipped("the task has no documents")
        pool, unseen = parted(task)
        chosen = await chosen_retriever(task, pool, unseen)

        def prompt(size: int, examples: Sequence[Example]) -> Prompted:
            nearest = chosen.nearest(size, examples)
            return Prompted(models.prompt, task.instruction, passages=nearest, options=answer_options(task))

        candidates = [(f"{size} passages", prompt(size, pool)) for size in self.sizes]
        best, trials = await best_of(candidates, unseen, task.scorer, rising=True)
        notes = (*chosen.notes, candidates[best][0])
        return Fitted(prompt(self.sizes[best], task.train), (*chosen.trials, *trials), notes)
