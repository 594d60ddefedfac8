"""retrieval_shots: passages for the question, and nearest examples that show what to do with them."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.prompted import NearestPassages, NearestShots, Prompted
from shouldtune.retrieval.chunks import passages
from shouldtune.rungs.choosing import answer_options, best_of, parted, shots
from shouldtune.types import Fitted, Models, Skipped, Task


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
        found = passages(task.documents)

        def prompt(pairs: tuple[tuple[str, str], ...], near: int, many: int) -> Prompted:
            return Prompted(
                models.prompt,
                task.instruction,
                nearest=NearestShots(pairs, near),
                passages=NearestPassages(found, many),
                options=answer_options(task),
            )

        names = [f"{near} nearest, {many} passages" for near, many in self.sizes]
        candidates = [(name, prompt(shots(pool), *size)) for name, size in zip(names, self.sizes, strict=True)]
        best, trials = await best_of(candidates, unseen, task.scorer, rising=True)
        return Fitted(prompt(shots(task.train), *self.sizes[best]), trials, (names[best],))
