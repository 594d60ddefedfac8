"""A model with a prompt around it: instruction, shots, retrieved shots, retrieved passages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from shouldtune.retrieval.bm25 import Bm25, index_of
from shouldtune.retrieval.chunks import Passage
from shouldtune.types import Completion, Message, Model, ModelSpec, Options

Shot = tuple[str, str]
"""(input, target) of an example that is shown in the prompt."""


@dataclass(frozen=True)
class NearestShots:
    """The k shots whose inputs are nearest to the question by BM25, the nearest last."""

    shots: tuple[Shot, ...]
    k: int

    @cached_property
    def _index(self) -> Bm25:
        return index_of(tuple(text for text, _ in self.shots))

    def find(self, text: str) -> tuple[Shot, ...]:
        return tuple(self.shots[i] for i in reversed(self._index.search(text, self.k)))


@dataclass(frozen=True)
class NearestPassages:
    """The k passages nearest to the question by BM25, the nearest first."""

    passages: tuple[Passage, ...]
    k: int

    @cached_property
    def _index(self) -> Bm25:
        return index_of(tuple(f"{passage.title}\n{passage.text}" for passage in self.passages))

    def find(self, text: str, hidden: Collection[str] = ()) -> tuple[Passage, ...]:
        """The passages for one question; `hidden` are inputs of examples that may teach it nothing this once."""
        return tuple(self.passages[i] for i in self._index.search(text, self.k))


@dataclass(frozen=True)
class Prompted:
    """Puts what it holds around the last user message, then asks `model`.

    The messages are: a system message with the instruction (none when it is empty), one user and one assistant
    message for each shot, and a user message with the passages above the input. Only the input is ever looked at,
    so no target of the example at hand can slip in.
    """

    model: Model
    instruction: str = ""
    shots: tuple[Shot, ...] = ()
    nearest: NearestShots | None = None
    passages: NearestPassages | None = None
    options: Options = Options()

    def messages(self, text: str) -> tuple[tuple[Message, ...], tuple[str, ...]]:
        """(messages to send, ids of the documents among them) for one input."""
        shots = self.shots + (self.nearest.find(text) if self.nearest else ())
        found = self.passages.find(text) if self.passages else ()
        sent = [Message("system", self.instruction)] if self.instruction else []
        for asked, answer in shots:
            sent += [Message("user", asked), Message("assistant", answer)]
        sent.append(Message("user", with_passages(text, found)))
        return tuple(sent), tuple(dict.fromkeys(passage.document_id for passage in found))

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """Answer the last user message; its form (schema, choices) stays this prompt's own."""
        sent, documents = self.messages(messages[-1].content)
        asked = self.options
        if options != Options():
            own = self.options
            asked = replace(options, schema=own.schema, choices=own.choices, choice_logprobs=own.choice_logprobs)
        completion = await self.model.complete(sent, asked)
        return replace(completion, passages=documents) if documents else completion

    def spec(self) -> ModelSpec:
        return {
            "kind": "prompted",
            "model": self.model.spec(),
            "instruction": self.instruction,
            "shots": [list(shot) for shot in self.shots],
            "nearest": self.nearest and {"k": self.nearest.k, "shots": [list(shot) for shot in self.nearest.shots]},
            "passages": self.passages
            and {
                "k": self.passages.k,
                "passages": [[p.document_id, p.title, p.text] for p in self.passages.passages],
            },
            "options": options_to_dict(self.options),
        }

    @staticmethod
    def from_spec(spec: ModelSpec, model: Model) -> Prompted:
        """The prompt that `spec()` described, around `model`."""
        nearest, passages = spec["nearest"], spec["passages"]
        return Prompted(
            model,
            instruction=spec["instruction"],
            shots=_shots(spec["shots"]),
            nearest=NearestShots(_shots(nearest["shots"]), nearest["k"]) if nearest else None,
            passages=NearestPassages(tuple(Passage(*fields) for fields in passages["passages"]), passages["k"])
            if passages
            else None,
            options=options_from_dict(spec["options"]),
        )


def with_passages(text: str, passages: Sequence[Passage]) -> str:
    """The user message: passages first, the input last, so that it ends with what is asked."""
    if not passages:
        return text
    blocks = [f"[{number}] {passage.title}\n{passage.text}" for number, passage in enumerate(passages, 1)]
    return "Passages that may help:\n\n" + "\n\n".join(blocks) + f"\n\nRequest:\n{text}"


def options_to_dict(options: Options) -> dict[str, Any]:
    """Options as plain data, without what is at its default, so that a new option changes no old key."""
    default = Options()
    plain = {name: getattr(options, name) for name in Options.__dataclass_fields__}
    changed = {name: value for name, value in plain.items() if value != getattr(default, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def options_from_dict(plain: dict[str, Any]) -> Options:
    """The inverse of `options_to_dict`."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return Options(**fields)


def _shots(rows: Sequence[Sequence[str]]) -> tuple[Shot, ...]:
    return tuple((asked, answer) for asked, answer in rows)
