"""classic: what was done before LLMs, where the answer is a label or a redacted text."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.models.plain import Linear
from shouldtune.models.redactor import learn
from shouldtune.rungs.choosing import best_of, parted, shots
from shouldtune.scorers import part_of
from shouldtune.scorers.redaction import Redaction
from shouldtune.types import Fitted, Models, Skipped, Task


@dataclass(frozen=True)
class Classic:
    """Labels: TF-IDF and logistic regression. Redaction: rules, and dictionaries of what the examples mark.

    How much to regularise, and how often a rule or a text must be right to be trusted, are chosen on the training half.
    """

    name: str = "classic"
    training: bool = False
    uses_llm: bool = False
    strengths: tuple[float, ...] = (1.0, 10.0, 100.0)
    trusts: tuple[float, ...] = (0.9, 0.5)

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        scorer = part_of(task.scorer, Redaction)
        if scorer is not None:
            return await self._redactor(task, scorer)
        if not task.output.labels:
            return Skipped("the answers are neither a closed label set nor redacted texts")
        pool, unseen = parted(task)
        if len({example.target for example in pool}) < 2:
            return Skipped("the training half holds a single label")
        candidates = [(f"C = {strength:g}", Linear(shots(pool), strength)) for strength in self.strengths]
        best, trials = await best_of(candidates, unseen, task.scorer)
        return Fitted(Linear(shots(task.train), self.strengths[best]), trials)

    async def _redactor(self, task: Task, scorer: Redaction) -> Fitted | Skipped:
        pool, unseen = parted(task)
        if not any(scorer.marked(example) for example in pool):
            return Skipped("the training half marks nothing that is to be replaced")
        settings = [(trust, words) for words in (False, True) for trust in self.trusts]
        candidates = [
            (f"trust {trust:g}{', single words' if words else ''}", learn(pool, scorer, trust, words=words))
            for trust, words in settings
        ]
        best, trials = await best_of(candidates, unseen, task.scorer)
        trust, words = settings[best]
        return Fitted(learn(task.train, scorer, trust, words=words), trials)
