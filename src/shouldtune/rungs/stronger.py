"""stronger: the best prompt so far on the strongest model at hand, before any weights change."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shouldtune.models.calibrated import Calibrated
from shouldtune.models.prompted import Prompted
from shouldtune.types import Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class Stronger:
    """Another off-the-shelf model comes before a fine-tune: nothing is fitted but the choice of the prompt."""

    name: str = "stronger"
    training: bool = False
    uses_llm: bool = True

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if models.strong is None:
            return Skipped("no stronger model was named (`strong:` in the task file)")
        if models.strong.spec() == models.prompt.spec():
            return Skipped("the strong model is the one that is prompted already")
        if models.best is None:
            return Skipped("no prompt was fitted that it could be asked with")
        rung, fitted = models.best
        prompt = fitted.model if isinstance(fitted, Calibrated) else fitted
        if not isinstance(prompt, Prompted):
            return Skipped(f"the best rung, {rung}, is no prompt")
        options = replace(prompt.options, choice_logprobs=False)  # what weighed the other model's answers is left out
        return Fitted(replace(prompt, model=models.strong, options=options), notes=(f"the prompt of {rung}",))
