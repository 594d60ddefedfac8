"""Stand-ins that answer nothing and count what they are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from shouldtune.models.ledger import request_of, sha256
from shouldtune.models.open import is_local, is_simulated, open_model
from shouldtune.models.past_calls import PastCall
from shouldtune.models.prices import is_remote
from shouldtune.models.remote import remote_of
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.task import LoadedTask
from shouldtune.types import (
    Completion,
    Conversation,
    Example,
    Message,
    Model,
    Models,
    ModelSpec,
    Options,
    Rung,
    Score,
    Scorer,
    Skipped,
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
    read: list[int] = field(default_factory=list)
    """For each epoch of training, the bytes of its texts."""

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """An empty answer; all choices are equally likely, where their log-probabilities are asked for."""
        key = sha256(request_of(self.plain, messages, options))
        size = sum(len(message.content.encode("utf-8", "surrogatepass")) for message in messages)
        self.asked.setdefault(key, Counted(size, len(messages), options.max_tokens, key in self.known))
        equal = (0.0,) * len(options.choices) if options.choice_logprobs else ()
        return Completion("", engine="none", choice_logprobs=equal)

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        """Itself after each epoch; nothing is trained."""
        texts = [text for each in conversations for text in (*(m.content for m in each.messages), each.answer)]
        for _ in range(settings.epochs):
            self.read.append(sum(len(text.encode("utf-8", "surrogatepass")) for text in texts))
            yield self

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


def level(completion: Completion, example: Example) -> Score:
    """All answers score the same: of settings the first, which is the cheapest, is chosen."""
    return Score(0.5)


@dataclass(frozen=True)
class Dry:
    """What one rung would ask, at its dearest and at its cheapest setting."""

    fit: tuple[Counted, ...] = ()
    """To choose between its settings, all of them tried."""
    dear: tuple[Counted, ...] = ()
    """On the held-out examples."""
    cheap: tuple[Counted, ...] = ()
    epochs: int = 0
    """Of one training."""
    settings: int = 1
    """How many trainings there are at most: where one got stuck the next setting is tried."""


async def dry_run(rung: Rung, loaded: LoadedTask, past: Sequence[PastCall]) -> Dry | Skipped:
    """Fit a rung twice with a stand-in, and ask it every held-out example's input. Errors as the rung's own."""
    if not rung.uses_llm:
        free = await rung.fit(replace(loaded.task, scorer=level), Models(DryModel({})))
        return free if isinstance(free, Skipped) else Dry()
    known, spec, found = frozenset(call.key for call in past), _spec(loaded), []
    for scorer in (rising(), level):
        model = DryModel(spec, known)
        tune = DryModel({"kind": "tuned"}) if can_tune(loaded) else None
        fitted = await rung.fit(replace(loaded.task, scorer=scorer), Models(model, tune))
        if isinstance(fitted, Skipped):
            return fitted
        asked = tune if rung.training and tune is not None else model
        fit = asked.taken()
        for example in loaded.holdout:
            await fitted.model.complete([Message("user", example.input)])
        found.append((fit, asked.taken(), len(asked.read)))
    (fit, dear, epochs), (_, cheap, _) = found
    return Dry(fit, dear, cheap, epochs, len(rung.settings) if isinstance(rung, FineTune) else 1)


def can_tune(loaded: LoadedTask) -> bool:
    """Whether a model is named that can be fine-tuned here."""
    named = loaded.file.tune
    return named is not None and (is_local(named) or is_simulated(named))


def _spec(loaded: LoadedTask) -> ModelSpec:
    """What the prompted model says of itself, so that its answers in the ledger are known.

    A local one is not opened for that, which could take minutes the first time: its answers count as new.
    """
    named = loaded.file.model
    if is_remote(named):
        return remote_of(named).spec()
    return open_model(named).spec() if is_simulated(named) else {"kind": "unopened", "model": named}
