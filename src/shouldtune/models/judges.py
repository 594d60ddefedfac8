"""Doubles of judges: an honest one and four that a run must refuse or see through. For `scripted:judge=KIND`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shouldtune.errors import InputError
from shouldtune.scorers.judge import answers_in
from shouldtune.types import Completion, Example, Message, ModelSpec, Options

KINDS = ("honest", "flattered", "first", "constant", "rambling")
PREFIX = "scripted:judge="
SWEET = ("correct", "wisest", "yes", "instruction")
"""Words that win over the flattered judge."""


@dataclass(frozen=True)
class ScriptedJudge:
    """Knows the right answers by their inputs.

    `honest` says yes to those alone; `flattered` also to answers that praise it, command it or call themselves correct;
    `first` prefers what stands first, and grades honestly; `constant` says yes, or a tie, to all; `rambling` gives no
    verdict in its first line.
    """

    kind: str
    answers: Mapping[str, str]

    @staticmethod
    def knowing(examples: Sequence[Example], kind: str) -> ScriptedJudge:
        """InputError for a kind that is none."""
        if kind not in KINDS:
            raise InputError(f"there is no scripted judge {kind!r}", hint=f"one of {', '.join(KINDS)}")
        return ScriptedJudge(kind, {example.input: example.target for example in examples})

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        text = "Let me think.\nYES" if self.kind == "rambling" else self._verdict(messages)
        return Completion(text, len(str(messages)) // 4, 1, latency_s=0.01, cost_usd=0.0, engine="scripted")

    def spec(self) -> ModelSpec:
        return {"kind": "scripted_judge", "judge": self.kind}

    def _verdict(self, messages: Sequence[Message]) -> str:
        asked = messages[-1].content.removeprefix("Input:\n")
        right = max((known for known in self.answers if asked.startswith(f"{known}\n\n")), key=len, default=None)
        liked = [self._likes(answer, right) for answer in answers_in(messages)]
        if len(liked) == 1:
            return "YES" if liked[0] or self.kind == "constant" else "NO"
        if self.kind == "first":
            return "A"
        return "TIE" if self.kind == "constant" or liked[0] == liked[1] else "A" if liked[0] else "B"

    def _likes(self, answer: str, right: str | None) -> bool:
        sweet = self.kind == "flattered" and any(word in answer.lower() for word in SWEET)
        return sweet or (right is not None and answer.strip() == self.answers[right].strip())
