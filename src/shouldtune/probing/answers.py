"""The calls that probes make, and what their answers say: passes, fails, or unknown where the call failed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shouldtune.causes import Probe
from shouldtune.doubts import Doubts
from shouldtune.judgement import Interval
from shouldtune.measure import AT_ONCE
from shouldtune.probing.changes import Asked, readings, warm
from shouldtune.retrieval.chunks import Passage
from shouldtune.retrieval.gold import holds_answer
from shouldtune.scorers import grade
from shouldtune.stats import mean_interval
from shouldtune.types import Completion, Example, Message, Task
from shouldtune.verdict.probes import LEVEL, Tried

Kind = Literal["placebo", "form", "passage", "shots", "stronger", "closed_book"]
TRIES = 4
"""How often `again` asks."""
TEMPERATURE = 0.7
MOST_WORDS = 30
"""An answer of more words is no sentence or two around the right one."""


@dataclass(frozen=True)
class Row:
    """One training row, how it was asked, and what came of it."""

    example: Example
    asked: Asked
    completion: Completion
    score: float | None


async def complete(asks: Sequence[Asked]) -> list[Completion]:
    """Ask them all, many at once; raises what no call survives, as `measure` does."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(asked: Asked) -> Completion:
        async with places:
            return await asked.whole().complete([Message("user", asked.content)])

    try:
        async with asyncio.TaskGroup() as group:
            under_way = [group.create_task(one(asked)) for asked in asks]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [each.result() for each in under_way]


async def score_of(task: Task, example: Example, completion: Completion) -> float | None:
    """The grade of an answer; None where the call failed."""
    return None if completion.failed else (await grade(task.scorer, completion, example)).value


@dataclass(frozen=True)
class Found:
    """What the changed prompts answered."""

    task: Task
    line: float
    scores: Mapping[tuple[str, Kind], float | None]
    answers: Mapping[tuple[str, Kind], Completion]
    doubts: Doubts
    alone: frozenset[str]
    """Answers in plain form that were given to one row only; none where answers are labels."""

    async def failure(self, row: Row, probes: Sequence[Probe]) -> Tried:
        passes = self._calls(row, probes)
        lenient = readings(row.completion.text, self.task.output)
        read = [await score_of(self.task, row.example, replace(row.completion, text=text)) for text in lenient]
        readable = any(score is not None and score >= self.line for score in read) or self._says_too_much(row)
        if readable:
            passes["form"] = True
        elif lenient:
            passes.setdefault("form", False)
        if "label" in probes:
            passes["label"] = row.example.id in self.doubts or (self._agree(row) and not readable)
        return Tried(row.example.id, passes, self._placebo(row))

    def success(self, row: Row, probes: Sequence[Probe]) -> Tried:
        passes = self._calls(row, probes)
        if "label" in probes:
            passes["label"] = row.example.id not in self.doubts
        return Tried(row.example.id, passes, self._placebo(row))

    def with_right_passage(self, row: Row, right: Mapping[str, Sequence[Passage]]) -> float | None:
        """The score with the right passage in the prompt; as it was where that is the same prompt."""
        if (row.example.id, "passage") in self.scores:
            return self.scores[row.example.id, "passage"]
        return row.score if right.get(row.example.id) else None

    def passed(self, name: str, kind: Kind) -> bool | None:
        score = self.scores[name, kind]
        return None if score is None else score >= self.line

    def _calls(self, row: Row, probes: Sequence[Probe]) -> dict[Probe, bool | None]:
        name = row.example.id
        return {p: self.passed(name, p) for p in probes if p != "label" and (name, p) in self.scores}

    def _placebo(self, row: Row) -> tuple[bool | None, ...]:
        return (self.passed(row.example.id, "placebo"),)

    def _says_too_much(self, row: Row) -> bool:
        """Whether the right answer is there, in a sentence or two around it: then only the form fails.

        A longer text may be the passage itself, in which any answer stands.
        """
        text, output = row.completion.text, self.task.output
        free = not output.labels and output.schema is None
        return free and len(text.split()) <= MOST_WORDS and holds_answer(text, row.example)

    def _agree(self, row: Row) -> bool:
        """Whether the stronger model gives the very answer that the target says is wrong, and no other row got it.

        An answer that many rows get is a refusal or a habit; on labels the neighbours speak instead.
        """
        strong = self.answers.get((row.example.id, "stronger"))
        if strong is None or strong.failed or self.passed(row.example.id, "stronger"):
            return False
        return plain(strong.text) == plain(row.completion.text) and plain(strong.text) in self.alone


def plain(text: str) -> str:
    """An answer with case and whitespace aside."""
    return " ".join(text.casefold().split())


async def again(task: Task, rows: Sequence[Row], line: float) -> dict[str, Interval]:
    """How much more often one of several tries at a temperature passes than one try does."""
    asks = [warm(row.asked, draw, TEMPERATURE) for row in rows for draw in range(1, TRIES + 1)]
    answers = await complete(asks)
    gains = []
    for i, row in enumerate(rows):
        tries = [await score_of(task, row.example, c) for c in answers[i * TRIES : (i + 1) * TRIES]]
        passes = [score >= line for score in tries if score is not None]
        if len(passes) == TRIES:
            gains.append(any(passes) - sum(passes) / len(passes))
    return {"again": mean_interval(gains, 1 - LEVEL)} if gains else {}


def closed_book_score(found: Found, rows: Sequence[Row]) -> dict[str, Interval]:
    """Mean score without the documents, of the rows that had any in their prompt."""
    scores = [found.scores.get((row.example.id, "closed_book")) for row in rows]
    known = [score for score in scores if score is not None]
    return {"closed_book": mean_interval(known, 1 - LEVEL)} if known else {}
