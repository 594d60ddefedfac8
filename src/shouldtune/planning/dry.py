"""Stand-ins that answer nothing and count what they are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from shouldtune.models.bill import BYTES_A_TOKEN
from shouldtune.models.keys import request_of, sha256
from shouldtune.tuning.training_file import TrainingFile
from shouldtune.types import (
    Completion,
    Conversation,
    Example,
    Message,
    Model,
    ModelSpec,
    Options,
    Score,
    Scorer,
    TuneSettings,
)


@dataclass(frozen=True)
class Counted:
    """One call that would be made."""

    bytes_read: int
    """UTF-8 bytes of the messages."""
    messages: int
    most_written: int
    """Tokens that the answer may have."""
    known: bool
    """Whether its answer is in the ledger, so that it costs nothing."""


@dataclass
class DryModel:
    """Gives empty answers at once, and remembers each different question."""

    plain: ModelSpec
    """What the model that it stands for says of itself."""
    known: Collection[str] = ()
    """Keys of the ledger."""
    asked: dict[str, Counted] = field(default_factory=dict)
    read: list[TrainingFile] = field(default_factory=list)
    """For each epoch of training, its texts."""

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """An empty answer, or where it is to be drawn one that is no other's, as long as it may be; all choices are
        equally likely, where their log-probabilities are asked for."""
        key = sha256(request_of(self.plain, messages, options))
        size = sum(len(message.content.encode("utf-8", "surrogatepass")) for message in messages)
        self.asked.setdefault(key, Counted(size, len(messages), options.max_tokens, key in self.known))
        equal = (0.0,) * len(options.choices) if options.choice_logprobs else ()
        drawn = f"{key} " * (BYTES_A_TOKEN * options.max_tokens // (len(key) + 1)) if options.temperature else ""
        return Completion(drawn, engine="none", choice_logprobs=equal)

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        """After each epoch another model, whose answers are no other's; nothing is trained."""
        texts = TrainingFile.of(conversations)
        for _ in range(settings.epochs):
            self.read.append(texts)
            yield replace(self, plain={**self.plain, "trained": len(self.read)})  # it counts in the same place

    def spec(self) -> ModelSpec:
        return self.plain

    def taken(self) -> tuple[Counted, ...]:
        """What was asked since the last time."""
        found = tuple(self.asked.values())
        self.asked.clear()
        return found


def rising() -> Scorer:
    """Each answer scores more than the one before: of settings the last, which is the dearest, is chosen."""
    turn: Callable[[], int] = count(1).__next__
    return lambda completion, example: Score(1 - 1 / (1 + turn()))


def mixed() -> Scorer:
    """Two answers in three fail, so that there are failures and successes to probe."""
    turn: Callable[[], int] = count(1).__next__
    return lambda completion, example: Score(float(turn() % 3 == 0))


def level(completion: Completion, example: Example) -> Score:
    """All answers score the same: of settings the first, which is the cheapest, is chosen."""
    return Score(0.5)
