"""A choice among labels, with each label's usual probability taken out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shouldtune.types import Completion, Message, Model, ModelSpec, Options


@dataclass(frozen=True)
class Calibrated:
    """Answers with the choice whose log-probability stands highest above what it is on the whole.

    A small model likes some labels whatever is asked; subtracting their mean log-probability over other inputs takes
    that out (batch calibration, https://arxiv.org/abs/2309.17249). No target is needed for it.
    """

    model: Model
    """Asks for `choices` and their log-probabilities."""
    choices: tuple[str, ...]
    usual: tuple[float, ...]
    """Mean log-probability of each choice, in nats."""

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """The model's answer, chosen anew; as it is where the model tells no log-probabilities."""
        completion = await self.model.complete(messages, options)
        if completion.failed or len(completion.choice_logprobs) != len(self.choices):
            return completion
        above = [score - usual for score, usual in zip(completion.choice_logprobs, self.usual, strict=True)]
        return replace(completion, text=self.choices[above.index(max(above))])

    def spec(self) -> ModelSpec:
        return {
            "kind": "calibrated",
            "model": self.model.spec(),
            "choices": list(self.choices),
            "usual": list(self.usual),
        }


async def usual_logprobs(model: Model, inputs: Sequence[str]) -> tuple[float, ...]:
    """Mean log-probability of each of the model's choices over some inputs; empty where the model tells none."""
    answers = await asyncio.gather(*(model.complete([Message("user", text)]) for text in inputs))
    rows = [answer.choice_logprobs for answer in answers if answer.choice_logprobs]
    return tuple(round(sum(column) / len(rows), 4) for column in zip(*rows, strict=True))
