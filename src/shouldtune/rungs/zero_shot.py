"""zero_shot: the instruction and the input, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import free_options
from shouldtune.types import Fitted, Models, Task


@dataclass(frozen=True)
class ZeroShot:
    """The off-the-shelf model as it comes."""

    name: str = "zero_shot"
    training: bool = False
    uses_llm: bool = True

    async def fit(self, task: Task, models: Models) -> Fitted:
        return Fitted(Prompted(models.prompt, task.instruction, options=free_options(task)))
