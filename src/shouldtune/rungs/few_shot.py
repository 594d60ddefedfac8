"""few_shot: the same few examples in every prompt; how many and which, chosen on the training half."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options, best_of, parted, shots, varied, with_shots
from shouldtune.types import Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class FewShot:
    """Sizes are tried with one draw of examples, then the best size with other draws."""

    name: str = "few_shot"
    training: bool = False
    uses_llm: bool = True
    sizes: tuple[int, ...] = (2, 4, 8, 16)
    draws: int = 3

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        pool, unseen = parted(task)
        sizes = [size for size in self.sizes if size <= len(pool)]
        if not sizes:
            return Skipped(f"fewer than {self.sizes[0]} training examples")

        def prompt(size: int, draw: int) -> Prompted:
            return Prompted(
                models.prompt, task.instruction, shots(varied(pool, size, draw)), options=answer_options(task)
            )

        by_size = [(f"{size} shots", prompt(size, 0)) for size in sizes]
        best, first = with_shots(await best_of(by_size, unseen, task.scorer, rising=True), sizes)
        size = sizes[best]
        by_draw = [(f"{size} shots, draw {draw + 1}", prompt(size, draw)) for draw in range(self.draws)]
        draw, second = await best_of(by_draw, unseen, task.scorer)  # draw 0 is in the ledger: it is not paid twice
        return Fitted(prompt(size, draw), (*first, *second[1:]), (by_draw[draw][0],))
