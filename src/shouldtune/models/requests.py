"""A chat completion's request as JSON, and what a server is found not to take of it.

What is asked for, and so the ledger's key, stays the same whatever way of saying it a server wants.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shouldtune.types import Message, Options

_WITHOUT, _IN_WORDS = "without ", "form in words"


@dataclass(frozen=True)
class Manner:
    """How one model of one server wants to be asked, as far as its refusals have taught."""

    length: str = "max_tokens"
    """The field that limits the answer; reasoning models want `max_completion_tokens`."""
    left_out: frozenset[str] = frozenset()
    """Of temperature, seed and stop, what it does not take."""
    form_in_words: bool = False
    """Whether the form of an answer is asked for in words, because `response_format` was refused."""

    def with_(self, other: Manner) -> Manner:
        """Both together: calls under way at once may have been taught different things."""
        length = other.length if self.length == "max_tokens" else self.length
        return Manner(length, self.left_out | other.left_out, self.form_in_words or other.form_in_words)

    def words(self) -> tuple[str, ...]:
        """The same as plain words, by which an answer remembers how it was asked for."""
        length = [] if self.length == "max_tokens" else [self.length]
        left_out = [f"{_WITHOUT}{name}" for name in sorted(self.left_out)]
        return (*length, *left_out, *([_IN_WORDS] if self.form_in_words else []))

    @staticmethod
    def of(words: Sequence[str]) -> Manner:
        """The inverse of `words`."""
        left_out = frozenset(word.removeprefix(_WITHOUT) for word in words if word.startswith(_WITHOUT))
        length = next((word for word in words if word.startswith("max_")), "max_tokens")
        return Manner(length, left_out, _IN_WORDS in words)

    def taught(self, refusal: str, body: Mapping[str, Any]) -> Manner | None:
        """The manner after a 400 that names a field of this request; None where it teaches nothing new."""
        said = refusal.lower()
        if "response_format" in body and any(
            word in said for word in ("response_format", "json_schema", "structured output")
        ):
            return replace(self, form_in_words=True)
        if "max_tokens" in body and "max_completion_tokens" in said:
            return replace(self, length="max_completion_tokens")
        for name in ("temperature", "seed", "stop"):
            if name in body and name not in self.left_out and _names(said, name):
                return replace(self, left_out=self.left_out | {name})
        return None


def _names(said: str, field: str) -> bool:
    """Whether a refusal is about a field: its name in quotes."""
    return any(f"{quote}{field}{quote}" in said for quote in ("'", '"', "`", '\\"'))


def request_body(name: str, messages: Sequence[Message], options: Options, manner: Manner = Manner()) -> dict[str, Any]:
    """The JSON body; a label set is asked for as a JSON schema's enum, or in words."""
    said = [{"role": message.role, "content": message.content} for message in messages]
    schema = form_of(options)
    if schema is not None and manner.form_in_words:
        said = _with_words(said, in_words(options))
    body: dict[str, Any] = {
        "model": name,
        "messages": said,
        manner.length: options.max_tokens,
        "temperature": options.temperature,
        "seed": options.seed,
    }
    if options.stop:
        body["stop"] = list(options.stop)
    if options.tools:
        body["tools"] = [dict(tool) for tool in options.tools]
    if schema is not None and not manner.form_in_words:
        form = {"name": "answer", "schema": dict(schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return {field: value for field, value in body.items() if field not in manner.left_out}


def form_of(options: Options) -> Mapping[str, Any] | None:
    """The JSON schema that the answer must satisfy; None for free text."""
    if not options.choices:
        return options.schema
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(options.choices)}},
        "required": ["label"],
        "additionalProperties": False,
    }


def in_words(options: Options) -> str:
    """The form of the answer as one would say it."""
    if options.choices:
        return f"Answer with exactly one of these and nothing else: {json.dumps(options.choices, ensure_ascii=False)}"
    schema = json.dumps(options.schema, ensure_ascii=False, default=dict)
    return f"Answer with one JSON value that satisfies this JSON schema, and nothing else: {schema}"


def _with_words(said: list[dict[str, str]], words: str) -> list[dict[str, str]]:
    """The form told in the system's turn, which comes first; a turn of its own where there is none."""
    if said and said[0]["role"] == "system":
        return [{**said[0], "content": f"{said[0]['content']}\n\n{words}"}, *said[1:]]
    return [{"role": "system", "content": words}, *said]
