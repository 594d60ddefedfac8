"""retrieval_shots: passages for the question, and nearest examples that show what to do with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shouldtune.models.prompted import NearestShots, Prompted
from shouldtune.rungs.choosing import answer_options, best_of, parted, shots
from shouldtune.rungs.retrieving import chosen_retriever
from shouldtune.types import Example, Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class RetrievalShots:
    """Both kinds of retrieval together, at sizes (shots, passages) chosen on the training half."""

    name: str = "retrieval_shots"
    training: bool = False
    uses_llm: bool = True
    sizes: tuple[tuple[int, int], ...] = ((4, 1), (4, 3))

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if not task.documents:
            return Skipped("the task has no documents")
        pool, unseen = parted(task)
        chosen = await chosen_retriever(task, pool, unseen)

        def prompt(examples: Sequence[Example], near: int, many: int) -> Prompted:
            return Prompted(
                models.prompt,
                task.instruction,
                nearest=NearestShots(shots(examples), near),
                passages=chosen.nearest(many, examples),
                options=answer_options(task),
            )

        names = [f"{near} nearest, {many} passages" for near, many in self.sizes]
        candidates = [(name, prompt(pool, *size)) for name, size in zip(names, self.sizes, strict=True)]
        best, trials = await best_of(candidates, unseen, task.scorer, rising=True)
        notes = (*chosen.notes, names[best])
        return Fitted(prompt(task.train, *self.sizes[best]), trials, notes)
