"""A model with a prompt around it: instruction, shots, retrieved shots, retrieved passages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Any

from shouldtune.models.streaming import stream
from shouldtune.retrieval.bm25 import Bm25, index_of
from shouldtune.retrieval.chunks import Passage
from shouldtune.retrieval.search import Questions, Way, search_of
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
    """The k passages nearest to the question, the nearest first."""

    passages: tuple[Passage, ...]
    k: int
    way: Way = Way()
    """How they are searched: BM25 where nothing else is said."""
    questions: Questions = ()
    """The training questions that each passage answers, passage by passage; empty where none teach it."""

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return tuple(f"{passage.title}\n{passage.text}" for passage in self.passages)

    def find(self, text: str, hidden: Collection[str] = ()) -> tuple[Passage, ...]:
        """The passages for one question; `hidden` are inputs of examples that may teach it nothing this once."""
        return tuple(self.passages[place] for place in self.places(text, hidden))

    def places(self, text: str, hidden: Collection[str] = ()) -> list[int]:
        """Where in `passages` they stand."""
        if self.way == Way():
            return index_of(self._texts).search(text, self.k)
        questions = self.questions or ((),) * len(self.passages)
        return search_of(self._texts, questions, self.way).search(text, self.k, hidden)

    def spec(self) -> dict[str, Any]:
        """As plain data."""
        plain: dict[str, Any] = {"k": self.k, "passages": [list(astuple(passage)) for passage in self.passages]}
        if self.way != Way():
            taught = {str(place): list(asked) for place, asked in enumerate(self.questions) if asked}
            plain |= {"mode": self.way.mode, "teaching": self.way.teaching, "questions": taught}
        return plain

    @staticmethod
    def from_spec(plain: dict[str, Any]) -> NearestPassages:
        """The inverse of `spec`; also of older ones, which say nothing of places in documents or of ways."""
        found = tuple(Passage(*fields) for fields in plain["passages"])
        taught = plain.get("questions", {})
        return NearestPassages(
            found,
            plain["k"],
            Way(plain.get("mode", "bm25"), plain.get("teaching", "none")),
            tuple(tuple(taught.get(str(place), ())) for place in range(len(found))) if taught else (),
        )


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

    def messages(self, text: str, hidden: Collection[str] = ()) -> tuple[tuple[Message, ...], tuple[Passage, ...]]:
        """(messages to send, the passages among them) for one input.

        `hidden` are inputs of examples that may teach the retriever nothing this once: a training row's own.
        """
        shots = self.shots + (self.nearest.find(text) if self.nearest else ())
        found = self.passages.find(text, hidden) if self.passages else ()
        sent = [Message("system", self.instruction)] if self.instruction else []
        for asked, answer in shots:
            sent += [Message("user", asked), Message("assistant", answer)]
        sent.append(Message("user", with_passages(text, found)))
        return tuple(sent), found

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """Answer the last user message; its form (schema, choices) stays this prompt's own."""
        sent, found = self.messages(messages[-1].content)
        return _with_sources(await self.model.complete(sent, self._asked(options)), found)

    async def stream(
        self, messages: Sequence[Message], options: Options = Options()
    ) -> AsyncGenerator[str | Completion, None]:
        """The same as it is made, where the model can."""
        sent, found = self.messages(messages[-1].content)
        async with aclosing(stream(self.model, sent, self._asked(options))) as pieces:
            async for piece in pieces:
                yield _with_sources(piece, found) if isinstance(piece, Completion) else piece

    def _asked(self, options: Options) -> Options:
        own = self.options
        if options == Options():
            return own
        return replace(options, schema=own.schema, choices=own.choices, choice_logprobs=own.choice_logprobs)

    def spec(self) -> ModelSpec:
        return {
            "kind": "prompted",
            "model": self.model.spec(),
            "instruction": self.instruction,
            "shots": [list(shot) for shot in self.shots],
            "nearest": self.nearest and {"k": self.nearest.k, "shots": [list(shot) for shot in self.nearest.shots]},
            "passages": self.passages and self.passages.spec(),
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
            passages=NearestPassages.from_spec(passages) if passages else None,
            options=options_from_dict(spec["options"]),
        )


def _with_sources(completion: Completion, found: Sequence[Passage]) -> Completion:
    if not found:
        return completion
    documents = tuple(dict.fromkeys(passage.document_id for passage in found))
    return replace(completion, passages=documents, cited=tuple(dict.fromkeys(passage.cited for passage in found)))


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
