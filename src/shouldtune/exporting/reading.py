"""Exports read back from their files, as somebody else would use them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from shouldtune.exporting.parity import Rendered
from shouldtune.exporting.prompt_files import Chat, read_options, run_prompt
from shouldtune.exporting.source import Source
from shouldtune.types import Completion, Message, Model, ModelSpec, Options

if TYPE_CHECKING:
    from shouldtune.models.chat_tokenizer import ChatTokenizer


def render(tokenizer: ChatTokenizer, chats: Sequence[Chat]) -> list[Rendered]:
    """Each chat through a template and a tokenizer, ready for the answer."""
    made = []
    for chat in chats:
        text = tokenizer.render(messages_of(chat), for_answer=True)
        made.append(Rendered(text, tuple(tokenizer.encode(text))))
    return made


def messages_of(chat: Chat) -> list[Message]:
    return [Message(cast("Any", turn["role"]), turn["content"]) for turn in chat]


def read_prompt_back(source: Source, folder: Path) -> PromptReadback:
    """A prompt's export; a model behind an address is not asked anew, for that costs money."""
    if source.is_local:
        return PromptReadback(folder, source.model, "the exported function's messages, sent to the run's model")
    said = "the exported function's messages, answered as the run recorded; a server would bill new calls"
    return PromptReadback(folder, Recorded(source), said)


@dataclass(frozen=True)
class Recorded:
    """Gives the run's own answer to a request that is the run's own, and to no other."""

    source: Source

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        known = self._known.get(tuple(messages)) if options == self.source.prompt.options else None
        return known or Completion("", finish_reason="error", error="the run never sent this request")

    def spec(self) -> ModelSpec:
        return {"kind": "recorded", "model": self.source.model.spec()}

    @cached_property
    def _known(self) -> dict[tuple[Message, ...], Completion]:
        return {self.source.prompt.messages(e.input)[0]: p.completion for e, p in self.source.pairs()}


@dataclass(frozen=True)
class PromptReadback:
    """The exported function's messages, sent to the model that the run asked."""

    folder: Path
    model: Model
    through: str

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        return run_prompt(self.folder, inputs)

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        return None  # the model that reads them is the run's own

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]:
        options = read_options(self.folder)
        return list(await asyncio.gather(*(self.model.complete(messages_of(chat), options) for chat in chats)))
