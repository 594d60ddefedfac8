"""Chats to token ids and back: a model folder's tokenizer.json and chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shouldtune.errors import ModelUnavailable
from shouldtune.models.llama_config import LlamaConfig
from shouldtune.types import Message


class ChatTokenizer:
    """What turns a chat into a prompt, and a model's tokens into text."""

    def __init__(self, folder: Path, tokenizer: Path | None = None, template: Path | None = None) -> None:
        """Read the tokenizer and the template of a model's folder, or of the folders that hold others in their place.

        Raises ModelUnavailable when one cannot be read.
        """
        from tokenizers import Tokenizer

        self.path = (tokenizer or folder) / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(self.path))
        except Exception as error:  # the Rust side raises bare Exception
            raise ModelUnavailable(f"the tokenizer cannot be read: {error}", where=self.path) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.config = LlamaConfig.read(folder)
        self._template = _compile(template_of(template or tokenizer or folder), folder)

    def encode(self, text: str) -> list[int]:
        """Token ids of the text as it stands: nothing is put before or after."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the chat, ready for the assistant's answer.

        Raises ModelUnavailable when the model's template refuses the chat.
        """
        return self.encode(self.render(messages, for_answer=True))

    def render(self, messages: Sequence[Message], *, for_answer: bool) -> str:
        """The chat as the template writes it."""
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text: str = self._template.render(
                messages=plain,
                add_generation_prompt=for_answer,
                bos_token=self.token(self.config.bos),
                eos_token=self.token(self.config.eos[0] if self.config.eos else None),
            )
        except Exception as error:  # a template may fail in any way; it is the model's, not our bug
            raise ModelUnavailable(f"the model's chat template failed: {error}") from None
        return text

    def end_of_turn(self) -> int:
        """The token that ends an assistant's turn in the template; the model learns to say it."""
        marker = "ANSWER"
        chat = [Message("user", marker), Message("assistant", marker)]
        tail = self.render(chat, for_answer=False).rpartition(marker)[2]
        ids = self.encode(tail)
        for token in ids:
            if token in self.config.eos:
                return token
        if self.config.eos:
            return self.config.eos[0]
        raise ModelUnavailable("the model has no token that ends an answer", where=self.path)

    def to_json(self) -> str:
        """The tokenizer in `tokenizers`' own format."""
        text: str = self._tokenizer.to_str()
        return text

    def token(self, index: int | None) -> str:
        """A token as the vocabulary writes it; empty where there is none."""
        return "" if index is None else str(self._tokenizer.id_to_token(index) or "")


TODAY = "1 January 2025"
"""What templates that print the day are told: a prompt that changes daily could never be replayed."""
CLOCK = "strftime_now"
"""The function that they ask."""


def template_of(folder: Path) -> str:
    """A model folder's chat template. Raises ModelUnavailable where there is none."""
    beside = folder / "chat_template.jinja"
    if beside.exists():
        return beside.read_text(encoding="utf-8")
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        template = settings.get("chat_template")
    except (OSError, ValueError, AttributeError):
        template = None
    if not isinstance(template, str):
        raise ModelUnavailable(
            "the model has no chat template", where=folder, hint="name an instruct model, not a base model"
        )
    return template


def fixed_template(folder: Path) -> str:
    """The same for who renders it elsewhere: one that prints the day prints TODAY. Raises ModelUnavailable."""
    text = template_of(folder)
    return f"{{% macro {CLOCK}(form) %}}{TODAY}{{% endmacro %}}{text}" if CLOCK in text else text


def _compile(text: str, folder: Path) -> Any:
    """Compile the template in jinja's sandbox: it comes with the model and may be hostile."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    environment.globals[CLOCK] = lambda form: TODAY
    try:
        return environment.from_string(text)
    except jinja2.TemplateError as error:
        raise ModelUnavailable(f"the model's chat template cannot be read: {error}", where=folder) from None
