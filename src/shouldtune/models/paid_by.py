"""A model on one bill, whoever asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shouldtune.models.ledger import paying
from shouldtune.types import Completion, Message, Model, ModelSpec, Options


@dataclass(frozen=True)
class PaidBy:
    """A model whose calls are on one bill, whoever makes them: a judge's are no part of what a rung costs."""

    model: Model
    rung: str
    purpose: str

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        with paying(self.rung, self.purpose):
            return await self.model.complete(messages, options)

    def spec(self) -> ModelSpec:
        return self.model.spec()

    async def aclose(self) -> None:
        close = getattr(self.model, "aclose", None)
        if close is not None:
            await close()
