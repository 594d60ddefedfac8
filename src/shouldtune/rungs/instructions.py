"""instructions: the instruction improved from its own mistakes on the training half, by a model that reads them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec

from shouldtune.models.prompted import Prompted
from shouldtune.rungs.choosing import answer_options, best_of, parted
from shouldtune.rungs.reflecting import Limits, Rows, Writer, search
from shouldtune.types import Fitted, Models, PromptSearch, Skipped, Task

INSTALL = 'pip install "shouldtune[prompt-search]"'
FEWEST = 32
"""Training examples below which there are too few to read, to weigh and to compare on."""


@dataclass(frozen=True)
class Instructions:
    """GEPA with `strong:` as the writer where one is named, else with the model itself.

    The training half is cut in three: rows whose mistakes are read, rows that new instructions are weighed on, and
    the part that every rung chooses its settings on, where the best one found is compared with the task's own. Where it
    is no better there, the rung is left out: it would be `zero_shot`, or `structured` without shots.
    The search grades at most `calls_a_row` answers for each training example, `most_calls` at most, ends after
    `patience` instructions in a row that did not raise the best score, and spends at most `share` of the budget: no
    call is begun that could pass it. The comparison in the end comes on top, and grades that a model gives are paid for
    elsewhere. A model that writes for itself is given `patience_alone`: who fails at a task seldom knows how to ask for
    it.
    """

    name: str = "instructions"
    training: bool = False
    uses_llm: bool = True
    calls_a_row: int = 4
    most_calls: int = 600
    patience: int = 20
    patience_alone: int = 5
    share: float = 0.25
    minibatch: int = 4
    weighed: int = 32
    most_tokens: int = 1_024
    """That a new instruction may have."""

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        if find_spec("gepa") is None:
            return Skipped(f"the search for a better instruction needs gepa: {INSTALL}")
        if len(task.train) < FEWEST:
            return Skipped(f"fewer than {FEWEST} training examples")
        if not task.instruction:
            return Skipped("there is no instruction to improve")

        def prompt(instruction: str) -> Prompted:
            return Prompted(models.prompt, instruction, options=answer_options(task))

        pool, unseen = parted(task)
        shown, weighed = replace(task, train=pool).halves(self.weighed, 3)
        rows, writer = Rows(shown, weighed, self.minibatch), Writer(models.strong or models.prompt, self.most_tokens)
        limits = self.limits(task, models)
        if limits.usd is not None and writer.most_usd(task.instruction) > limits.usd:
            return Skipped(f"its share of the budget, ${limits.usd:.2g}, may not pay for one new instruction")
        found = await search(task.instruction, prompt, task.scorer, rows, writer, limits)
        if isinstance(found, Skipped):
            return found
        if found.found == 0:
            return Skipped(f"none was better than the task's own: {_effort(found)}")
        better = prompt(found.kept[found.found].text)
        candidates = [("the task's instruction", prompt(task.instruction)), ("the instruction found", better)]
        best, trials = await best_of(candidates, unseen, task.scorer)
        if best == 0:
            own, other = (trial.score for trial in trials)
            if own is None or other is None:
                return Skipped(f"the one found could not be compared with the task's own: {_effort(found)}")
            scores = (
                f"{other:.3f} on the first {trials[1].n} training examples kept apart, {own:.3f} with the task's own"
            )
            return Skipped(f"the best one found scores {scores}: {_effort(found)}")
        return Fitted(better, trials, (_effort(found),), found)

    def most(self, task: Task, *, alone: bool) -> tuple[int, int]:
        """(answers graded, the comparison in the end among them; instructions written) that fitting can take.

        `alone`: the model writes for itself.
        """
        patience = self._patience(alone)
        unseen = len(parted(task)[1])
        calls = min(self.most_calls, self.calls_a_row * len(task.train))
        least = (patience + 1) * self.minibatch + min(self.weighed, unseen)  # of a series that ends in a success
        return calls + 2 * unseen, patience * (1 + calls // least)

    def limits(self, task: Task, models: Models) -> Limits:
        """Where the search ends for this task."""
        calls = min(self.most_calls, self.calls_a_row * len(task.train))
        usd = None if models.budget is None else self.share * models.budget
        return Limits(calls, self._patience(alone=models.strong is None), usd)

    def _patience(self, alone: bool) -> int:
        return min(self.patience, self.patience_alone) if alone else self.patience


def _effort(found: PromptSearch) -> str:
    done = f"{found.written} new instructions were written, {len(found.kept) - 1} kept, {found.asked} answers graded"
    return f"{done}, until {found.ended}"
