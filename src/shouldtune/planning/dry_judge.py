"""A stand-in for the model that grades answers: it counts what it would be asked."""

from __future__ import annotations

from itertools import count

from shouldtune.planning.dry import DryModel
from shouldtune.scorers import grade
from shouldtune.scorers.judge import FIRST, NO, SECOND, TIE, YES, Judge, comparing, grading
from shouldtune.scorers.people import human_grade
from shouldtune.scorers.trials import tried
from shouldtune.task import LoadedTask
from shouldtune.types import Completion, Example, Options, Score, Scorer


class DryJudge:
    """Each answer that is to be graded counts as one that no other is like, about as long as its target."""

    def __init__(self, judge: Judge, model: DryModel) -> None:
        self.judge, self.model = judge, model
        self._graded = count()

    async def grade(self, example: Example) -> None:
        """One more answer to this example would be graded."""
        answer = f"{example.target} {next(self._graded)}"
        if not self.judge.pairwise:
            asked = [grading(self.judge.rubric, answer, example)]
        else:
            pair = (answer, example.target)
            asked = [comparing(self.judge.rubric, *each, example) for each in (pair, pair[::-1])]
        verdicts = (FIRST, SECOND, TIE) if self.judge.pairwise else (YES, NO)
        for messages in asked:
            await self.model.complete(messages, Options(max_tokens=16, choices=verdicts))

    def beside(self, scorer: Scorer) -> Scorer:
        """The scorer, with each of its grades asked for here too."""

        async def graded(completion: Completion, example: Example) -> Score:
            await self.grade(example)
            return await grade(scorer, completion, example)

        return graded

    async def vetted(self, loaded: LoadedTask) -> None:
        """What it is asked before anything rests on it."""
        await tried(self.judge.with_model(self.model), loaded.task.train)
        rows = [*loaded.task.train, *loaded.holdout]
        if any(human_grade(example) is not None for example in rows):
            for example in rows:
                if human_grade(example) is not None or isinstance(example.meta.get("answer"), str):
                    await self.grade(example)
