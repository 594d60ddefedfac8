"""retrieval: the passages nearest to each question in the prompt; how many is chosen on the training half."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.prompted import NearestPassages, Prompted
from shouldtune.retrieval.chunks import passages
from shouldtune.rungs.choosing import answer_options, best_of, parted
from shouldtune.types import Fitted, Models, Skipped, Task


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
        _, unseen = parted(task)
        found = passages(task.documents)
        prompts = [
            Prompted(
                models.prompt, task.instruction, passages=NearestPassages(found, size), options=answer_options(task)
            )
            for size in self.sizes
        ]
        names = [f"{size} passages" for size in self.sizes]
        best, trials = await best_of(list(zip(names, prompts, strict=True)), unseen, task.scorer, rising=True)
        return Fitted(prompts[best], trials, (names[best],))
