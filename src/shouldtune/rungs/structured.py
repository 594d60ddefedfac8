"""structured: the answer held to its form, where it has one."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.calibrated import Calibrated, usual_logprobs
from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options, best_of, parted, shots, varied
from shouldtune.types import Example, Fitted, Model, Models, Skipped, Task

_INPUTS = 48
"""Training inputs that a label's usual probability is taken from."""


@dataclass(frozen=True)
class Structured:
    """A JSON schema as a constraint on decoding, or a choice among labels; shots are chosen on the training half."""

    name: str = "structured"
    training: bool = False
    uses_llm: bool = True
    sizes: tuple[int, ...] = (0, 4, 8)

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if not task.output.labels and task.output.schema is None:
            return Skipped("the answers are free text: there is no form to hold them to")
        options = answer_options(task)
        pool, unseen = parted(task)
        prompts = []
        candidates: list[tuple[str, Model]] = []
        for instruction, said in instructions(task):
            for size in (size for size in self.sizes if size <= len(pool)):
                shown = varied(pool, size, 0)
                prompts.append(Prompted(models.prompt, instruction, shots(shown), options=options))
                name = f"{size} shots{said}"
                candidates.append((name, await _calibrated(prompts[-1], [e for e in pool if e not in shown])))
        best, trials = await best_of(candidates, unseen, task.scorer)
        if candidates[best][1] is not prompts[best]:
            again = [candidates[best], (f"{candidates[best][0]}, not calibrated", prompts[best])]
            better, more = await best_of(again, unseen, task.scorer)  # the same calls: they are in the ledger
            return Fitted(again[better][1], (*trials, *more[1:]), (again[better][0],))
        return Fitted(candidates[best][1], trials, (candidates[best][0],))


async def _calibrated(prompt: Prompted, others: list[Example]) -> Model:
    """The prompt's choice among labels, calibrated; the prompt itself where there are no labels to weigh."""
    if not prompt.options.choice_logprobs:
        return prompt
    usual = await usual_logprobs(prompt, [example.input for example in others[:_INPUTS]])
    return Calibrated(prompt, prompt.options.choices, usual) if usual else prompt


def instructions(task: Task) -> list[tuple[str, str]]:
    """The task's instruction, and where it does not list the labels, another that does; with a word for each."""
    found = [(task.instruction, "")]
    if any(label not in task.instruction for label in task.output.labels):
        found.append((f"{task.instruction}\nLabels: {', '.join(task.output.labels)}", ", labels listed"))
    return found
