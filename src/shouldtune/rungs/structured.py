"""structured: the answer held to its form while it is decoded, where it has one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options, best_of, shots, varied
from shouldtune.types import Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class Structured:
    """A label set or a JSON schema as a constraint on decoding; its shots are chosen on the training half."""

    name: str = "structured"
    training: bool = False
    uses_llm: bool = True
    sizes: tuple[int, ...] = (0, 4, 8)

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if not task.output.labels and task.output.schema is None:
            return Skipped("the answers are free text: there is no form to hold them to")
        options = replace(answer_options(task), choices=task.output.labels, schema=task.output.schema)
        pool, unseen = task.halves()
        candidates = [
            (f"{size} shots{said}", Prompted(models.prompt, instruction, shots(varied(pool, size, 0)), options=options))
            for instruction, said in instructions(task)
            for size in self.sizes
            if size <= len(pool)
        ]
        best, trials = await best_of(candidates, unseen, task.scorer)
        return Fitted(candidates[best][1], trials, (candidates[best][0],))


def instructions(task: Task) -> list[tuple[str, str]]:
    """The task's instruction, and where it does not list the labels, another that does; with a word for each."""
    found = [(task.instruction, "")]
    if any(label not in task.instruction for label in task.output.labels):
        found.append((f"{task.instruction}\nLabels: {', '.join(task.output.labels)}", ", labels listed"))
    return found
