"""classic: machine learning as before LLMs, where the answer is a label."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.plain import Linear
from shouldtune.rungs.choosing import best_of, parted, shots
from shouldtune.types import Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class Classic:
    """TF-IDF and logistic regression; its regularisation chosen on the training half."""

    name: str = "classic"
    training: bool = False
    uses_llm: bool = False
    strengths: tuple[float, ...] = (1.0, 10.0, 100.0)

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if not task.output.labels:
            return Skipped("the answers are no closed label set")
        pool, unseen = parted(task)
        if len({example.target for example in pool}) < 2:
            return Skipped("the training half holds a single label")
        candidates = [(f"C = {strength:g}", Linear(shots(pool), strength)) for strength in self.strengths]
        best, trials = await best_of(candidates, unseen, task.scorer)
        return Fitted(Linear(shots(task.train), self.strengths[best]), trials)
