"""Doubles whose ability is known: shipped, so that tests and users need no mocks.

`Scripted` answers rightly with a set probability that depends on the prompt it gets, `Flaky` loses calls, `Priced`
puts a price on them. A run on them is labelled as simulated everywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from shouldtune.errors import InputError
from shouldtune.types import Completion, Conversation, Example, Message, Model, ModelSpec, Options, TuneSettings


@dataclass(frozen=True)
class Abilities:
    """How often a scripted model is right, as probabilities; what does not apply leaves `base`."""

    base: float = 0.0
    shots: Mapping[int, float] = field(default_factory=dict)
    """From this many shots on, at least this."""
    passages: float = 0.0
    tuned: float = 0.0
    told: float = 0.0
    """Where the instruction holds `HINT`."""
    writes: float = 0.0
    """How many of the instructions that it is asked to write hold `HINT`."""
    fails: float = 0.0
    """How many calls fail; the same ones each time."""
    takes: float = 0.0
    """Seconds that a call takes."""

    @staticmethod
    def parse(text: str) -> Abilities:
        """`base=0.1,shots@4=0.95,passages=0.5,tuned=0.9,told=0.7,writes=0.3,fails=0.1,takes=0.2`; else InputError."""
        values: dict[str, float] = {}
        shots: dict[int, float] = {}
        for part in filter(None, text.split(",")):
            match = re.fullmatch(
                r"(base|passages|tuned|told|writes|fails|takes|shots@(\d{1,6}))=([01]|0?\.\d+)", part.strip()
            )
            if match is None:
                raise InputError(
                    f"cannot read {part!r} of a scripted model",
                    hint="write scripted:base=0.1,shots@4=0.95,passages=0.5,tuned=0.9,fails=0.1",
                )
            if match[2]:
                shots[int(match[2])] = float(match[3])
            else:
                values[match[1]] = float(match[3])
        return Abilities(shots=shots, **values)


HINT = "The answer is well known."
"""What an instruction must say for a scripted model to be as good as its `told`."""
_FENCED = re.compile(r"```\n(.*?)\n```", re.DOTALL)


class Targets(Mapping[str, str]):
    """The targets of examples by their inputs, a few numbers each; of several for one input the last counts."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples
        inputs = np.array(array("q", (hash(example.input) for example in examples)), dtype=np.int64)
        self._order = np.argsort(inputs, kind="stable")
        self._inputs = inputs[self._order]
        lengths = np.array(array("q", (len(example.input) for example in examples)), dtype=np.int64)
        self._lengths = np.unique(lengths)[::-1].tolist()
        self._last: tuple[str, str] | None = None

    def __getitem__(self, asked: str) -> str:
        if self._last is None or asked != self._last[0]:  # one question is looked up several times in a row
            self._last = asked, self._found(asked)
        return self._last[1]

    def _found(self, asked: str) -> str:
        place = int(np.searchsorted(self._inputs, hash(asked), side="right")) - 1
        while place >= 0 and self._inputs[place] == hash(asked):
            example = self._examples[int(self._order[place])]
            if example.input == asked:
                return example.target
            place -= 1
        raise KeyError(asked)

    def __iter__(self) -> Iterator[str]:
        return (example.input for example in self._examples)

    def __len__(self) -> int:
        return len(self._examples)

    def longest_end(self, content: str) -> str | None:
        """The longest input that the content ends with."""
        ends = (content[len(content) - length :] for length in self._lengths if length <= len(content))
        return next((end for end in ends if end in self), None)


@dataclass(frozen=True)
class Scripted:
    """Knows every answer and gives it as often as its abilities say; otherwise it says `wrong answer`.

    Shown a fenced text and no question that it knows, it writes that text anew, with `HINT` as often as it is said to;
    it never writes where that is 0.
    Which examples it gets right is a fixed draw: one that is right at 0.3 is right at 0.9 too, as with real models.
    """

    answers: Mapping[str, str]
    abilities: Abilities = Abilities()
    is_tuned: bool = False
    seed: int = 0

    @staticmethod
    def knowing(examples: Sequence[Example], abilities: Abilities) -> Scripted:
        return Scripted(Targets(examples), abilities)

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        if self.abilities.takes:
            await asyncio.sleep(self.abilities.takes)
        asked = self._input(messages[-1].content)
        size = sum(len(message.content) for message in messages)
        if self._draw("fails", asked, repr(messages)) < self.abilities.fails:
            return Completion(text="", finish_reason="error", engine="scripted", error="scripted failure")
        right = self._draw("answer", asked) < self._ability(messages, asked)
        text = self.answers.get(asked, "") if right else "wrong answer"
        fenced = None if asked in self.answers else _FENCED.search(asked)
        if fenced:
            text = self._written(fenced[1], asked, options)
        return Completion(
            text, size // 4, len(text) // 4 + 1, latency_s=0.01, compute_s=0.01, cost_usd=0.0, engine="scripted"
        )

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        for _ in range(settings.epochs):
            yield replace(self, is_tuned=True)

    def spec(self) -> ModelSpec:
        abilities = {**asdict(self.abilities), "shots": {str(k): v for k, v in self.abilities.shots.items()}}
        del abilities["takes"]  # no answer hangs on it
        return {"kind": "scripted", "abilities": abilities, "tuned": self.is_tuned, "seed": self.seed}

    def _ability(self, messages: Sequence[Message], asked: str) -> float:
        shots = sum(message.role == "assistant" for message in messages)
        found = [self.abilities.base]
        found += [value for size, value in self.abilities.shots.items() if shots >= size]
        found += [self.abilities.passages] if messages[-1].content != asked else []
        found += [self.abilities.told] if messages[0].role == "system" and HINT in messages[0].content else []
        found += [self.abilities.tuned] if self.is_tuned else []
        return max(found)

    def _written(self, before: str, asked: str, options: Options) -> str:
        """The instruction anew; nothing where it does not write at all."""
        if not self.abilities.writes:
            return ""
        number = self._draw("write", asked, str(options.seed))
        added = HINT if number < self.abilities.writes else f"Remember {int(number * 1e6)}."
        return f"```\n{before}\n{added}\n```"

    def _input(self, content: str) -> str:
        """The example's input at the end of a message that may hold passages above it."""
        if content in self.answers:
            return content
        if isinstance(self.answers, Targets):
            return self.answers.longest_end(content) or content
        ends = [known for known in self.answers if content.endswith(known)]
        return max(ends, key=len, default=content)

    def _draw(self, *what: str) -> float:
        """A number in [0, 1) that is the same for the same question in every process."""
        text = "\x1f".join((str(self.seed), *what)).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64


@dataclass(frozen=True)
class Flaky:
    """Loses every call whose fixed draw falls below `rate`; the rest goes through."""

    model: Model
    rate: float

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        drawn = hashlib.sha256(repr(messages).encode("utf-8", "surrogatepass")).digest()[0] / 256
        if drawn < self.rate:
            return Completion(text="", finish_reason="error", error="connection lost")
        return await self.model.complete(messages, options)

    def spec(self) -> ModelSpec:
        return {"kind": "flaky", "rate": self.rate, "model": self.model.spec()}


@dataclass(frozen=True)
class Priced:
    """Puts a price in dollars per million tokens, read and written, on a model that has none."""

    model: Model
    per_million_read: float
    per_million_written: float

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        completion = await self.model.complete(messages, options)
        if completion.prompt_tokens is None or completion.completion_tokens is None:
            return replace(completion, cost_usd=None)
        read = completion.prompt_tokens * self.per_million_read
        written = completion.completion_tokens * self.per_million_written
        return replace(completion, cost_usd=(read + written) / 1e6)

    def spec(self) -> ModelSpec:
        return {
            "kind": "priced",
            "read": self.per_million_read,
            "written": self.per_million_written,
            "model": self.model.spec(),
        }
