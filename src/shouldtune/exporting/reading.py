"""Exports read back from their files, as somebody else would use them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from shouldtune.exporting.asking import Chat, Request, sent
from shouldtune.exporting.parity import Readback, Rendered
from shouldtune.exporting.prompt_files import read_options, run_prompt, run_request
from shouldtune.exporting.source import Source
from shouldtune.models.keys import canonical
from shouldtune.types import Completion, Message, Model

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


def read_prompt_back(source: Source, folder: Path) -> Readback:
    """A prompt's export; a model behind an address is not asked anew, for that costs money."""
    if source.is_local:
        return PromptReadback(folder, source.model, "the exported function's messages, sent to the run's model")
    return RecordedReadback(folder, source)


@dataclass(frozen=True)
class PromptReadback:
    """The exported function's messages, sent to the model that the run asked."""

    folder: Path
    model: Model
    through: str

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        return run_prompt(self.folder, inputs)

    def request(self) -> Request:
        return run_request(self.folder)

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        return None  # the model that reads them is the run's own

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]:
        options = read_options(self.folder)
        return list(await asyncio.gather(*(self.model.complete(messages_of(chat), options) for chat in chats)))


@dataclass(frozen=True)
class RecordedReadback:
    """The exported requests, each answered as the run's own was, where it is the run's own."""

    folder: Path
    source: Source
    through: str = "the exported function's requests, answered as the run recorded; a server would bill new calls"

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        return run_prompt(self.folder, inputs)

    def request(self) -> Request:
        return run_request(self.folder)

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        return None  # its server alone knows

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]:
        request = self.request()
        unknown = Completion("", finish_reason="error", error="the run never sent this request")
        return [self._known.get(canonical([chat, request]), unknown) for chat in chats]

    @cached_property
    def _known(self) -> dict[str, Completion]:
        return {canonical([*sent(self.source, e.input, p)]): p.completion for e, p in self.source.pairs()}
