"""Who pays: on whose bill a call is that is made now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from shouldtune.types import Completion, Message, Model, ModelSpec, Options

Purpose = tuple[str, str]
"""(rung, what for): `("few_shot", "fit")`."""

_paying: ContextVar[Purpose] = ContextVar("paying", default=("", ""))


@contextmanager
def paying(rung: str, purpose: str) -> Iterator[None]:
    """Everything that is asked inside is on this rung's bill; tasks started inside inherit it."""
    token = _paying.set((rung, purpose))
    try:
        yield
    finally:
        _paying.reset(token)


def payer() -> Purpose:
    """Whose bill it is on now."""
    return _paying.get()


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
