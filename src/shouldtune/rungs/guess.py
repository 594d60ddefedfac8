"""guess: what does no model at all score? The best constant, an echo, or the nearest training example's answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from shouldtune.models.plain import Constant, Echo, Nearest
from shouldtune.rungs.choosing import best_of, parted, shots
from shouldtune.types import Fitted, Models, Task


@dataclass(frozen=True)
class Guess:
    """The floor that every other rung must stand above."""

    name: str = "guess"
    training: bool = False
    uses_llm: bool = False

    async def fit(self, task: Task, models: Models) -> Fitted:
        pool, unseen = parted(task)
        common = Counter(example.target for example in pool).most_common(1)[0][0]
        settings = ("the most common answer", "the input itself", "the nearest training example's answer")
        candidates = (Constant(common), Echo(), Nearest(shots(pool)))
        best, trials = await best_of(list(zip(settings, candidates, strict=True)), unseen, task.scorer)
        final = (Constant(common), Echo(), Nearest(shots(task.train)))[best]
        return Fitted(final, trials, (settings[best],))
