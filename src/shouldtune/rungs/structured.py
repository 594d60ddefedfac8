"""structured: the answer held to its form while it is decoded, where it has one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options, best_of, shots
from shouldtune.types import Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class Structured:
    """A label set or a JSON schema as a constraint on decoding; how many shots go with it is chosen on the training half."""

    name: str = "structured"
    training: bool = False
    uses_llm: bool = True
    sizes: tuple[int, ...] = (0, 4, 8)

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if not task.output.labels and task.output.schema is None:
            return Skipped("the answers are free text: there is no form to hold them to")
        options = replace(answer_options(task), choices=task.output.labels, schema=task.output.schema)
        pool, unseen = task.halves()
        sizes = [size for size in self.sizes if size <= len(pool)]
        prompts = [Prompted(models.prompt, task.instruction, shots(pool[:size]), options=options) for size in sizes]
        best, trials = await best_of([(f"{size} shots", p) for size, p in zip(sizes, prompts, strict=True)], unseen, task.scorer)
        return Fitted(prompts[best], trials)
