"""nearest_shots: the training examples nearest to each question, found anew for every prompt."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.prompted import NearestShots, Prompted
from shouldtune.rungs.choosing import answer_options, best_of, parted, shots, with_shots
from shouldtune.types import Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class NearestShotsRung:
    """BM25 over training inputs; how many is chosen on the training half."""

    name: str = "nearest_shots"
    training: bool = False
    uses_llm: bool = True
    sizes: tuple[int, ...] = (2, 4, 8)

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        pool, unseen = parted(task)
        sizes = [size for size in self.sizes if size <= len(pool)]
        if not sizes:
            return Skipped(f"fewer than {self.sizes[0]} training examples")
        options = answer_options(task)
        candidates = [
            (
                f"{size} nearest",
                Prompted(models.prompt, task.instruction, nearest=NearestShots(shots(pool), size), options=options),
            )
            for size in sizes
        ]
        best, trials = with_shots(await best_of(candidates, unseen, task.scorer, rising=True), sizes)
        nearest = NearestShots(shots(task.train), sizes[best])
        return Fitted(
            Prompted(models.prompt, task.instruction, nearest=nearest, options=options), trials, (candidates[best][0],)
        )
