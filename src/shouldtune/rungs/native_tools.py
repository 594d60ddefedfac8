"""native_tools: the functions at hand as the model's own tools, where it has been taught to call some."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.tool_calling import ToolCalling, read_offer
from shouldtune.rungs.choosing import best_of, free_options, parted
from shouldtune.types import Fitted, Model, Models, ModelSpec, Skipped, Task

MOST = 0.95
"""The share of inputs that must offer functions."""


@dataclass(frozen=True)
class NativeTools:
    """With the task's instruction or without it, for that may ask for a form of its own."""

    name: str = "native_tools"
    training: bool = False
    uses_llm: bool = True

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        offers = sum(read_offer(example.input) is not None for example in task.train)
        if offers < MOST * len(task.train):
            return Skipped("the inputs offer no functions")
        if not takes_tools(models.prompt.spec()):
            return Skipped("this model is asked here, and takes no tools: a server's may")
        options = free_options(task)
        candidates: list[tuple[str, Model]] = [
            ("without the instruction", ToolCalling(models.prompt, "", options)),
            ("with the instruction", ToolCalling(models.prompt, task.instruction, options)),
        ]
        best, trials = await best_of(candidates, parted(task)[1], task.scorer)
        return Fitted(candidates[best][1], trials, (candidates[best][0],))


def takes_tools(spec: ModelSpec) -> bool:
    """Whether a model can be handed tools: one behind a server. Doubles that stand around one are looked through."""
    inner = spec.get("model")
    return spec["kind"] in ("remote", "any_llm") or (isinstance(inner, dict) and takes_tools(inner))
