"""Answers that are handed out while they are made.

A model may have `stream(messages, options)`: pieces of text as they come, and last the whole Completion, whose text is
the pieces together. It is optional: of a model without it the text comes in one piece.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from shouldtune.types import Completion, Message, Model, Options


@runtime_checkable
class Streaming(Model, Protocol):
    """A model that can hand out its answer while it makes it."""

    def stream(
        self, messages: Sequence[Message], options: Options = Options()
    ) -> AsyncGenerator[str | Completion, None]:
        """Pieces of text, none of them empty, then the Completion. Closing the iterator gives the answer up."""
        ...


async def stream(
    model: Model, messages: Sequence[Message], options: Options = Options()
) -> AsyncGenerator[str | Completion, None]:
    """The model's answer piece by piece, and last the Completion. Close it (`aclosing`): what is left is given up."""
    if isinstance(model, Streaming):
        async with aclosing(model.stream(messages, options)) as pieces:
            async for piece in pieces:
                yield piece
        return
    completion = await model.complete(messages, options)
    if completion.text and not completion.failed:
        yield completion.text
    yield completion


class Spoken:
    """What of an answer can already be said: whole characters, and nothing that may turn out to be a stop string."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode, self._stop = decode, stop
        self._ids: list[int] = []
        self._from = self._read = 0
        self._held = ""
        self._over = False

    def hear(self, token: int) -> str:
        """The text that is certain with one more token; it may be empty."""
        self._ids.append(token)
        before, now = self._decode(self._ids[self._from : self._read]), self._decode(self._ids[self._from :])
        # Some tokenizers drop the space that a text begins with: the new text is what the last tokens say beyond those
        # before them, and half a character is not yet text.
        if self._over or now.endswith("\ufffd") or len(now) <= len(before):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return self._certain(now[len(before) :])

    def _certain(self, text: str) -> str:
        self._held += text
        found = [place for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if found:
            self._over = True
            return self._held[: min(found)]
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        said = self._held[: len(self._held) - keep]
        self._held = self._held[len(said) :]
        return said


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text may be the beginning of the stop string."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
