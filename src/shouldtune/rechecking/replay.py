"""What must be measured again: the very climb, made from the ledger, with a stand-in where the ledger has no answer.

No model is asked and nothing is written but in a folder that is gone afterwards. What is not known is answered by a
stand-in that is right as often as the rung was in the run; where that matters, the climb itself may ask more or less.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from shouldtune.asked import Climb, Ground, OpenModels, open_models
from shouldtune.ladder import climb
from shouldtune.looks import looks_path
from shouldtune.models.adapter import WEIGHTS
from shouldtune.models.ledger import Ledger, payer
from shouldtune.models.keys import sha256
from shouldtune.models.ledgered import Ledgered, epoch_request
from shouldtune.models.paid_by import PaidBy
from shouldtune.models.remote import Remote
from shouldtune.progress import Progress
from shouldtune.run import RunRecord, adapters_path, jobs_path
from shouldtune.task import LoadedTask
from shouldtune.tuning.job_journal import JobJournal
from shouldtune.tuning.lora import LocalTunable, training_key
from shouldtune.tuning.provider_api import Patience
from shouldtune.tuning.provider_tunable import order_of
from shouldtune.types import (
    Completion,
    Conversation,
    Example,
    Message,
    Model,
    Models,
    ModelSpec,
    Options,
    TuneSettings,
)

UNKNOWN = 0.5
"""How often a stand-in is right for a rung of which nothing is known."""


@dataclass(frozen=True)
class Needed:
    """What one rung, or what is looked into beside the rungs, asks that no ledger holds."""

    name: str
    to_choose: int = 0
    """Calls on the training half."""
    to_measure: int = 0
    """Calls on held-out examples."""
    epochs: int = 0
    """Of training."""

    @property
    def calls(self) -> int:
        return self.to_choose + self.to_measure


async def needed(loaded: LoadedTask, how: Climb, record: RunRecord, beside: Path) -> tuple[Needed, ...]:
    """By who would pay, in the order of the climb; only who needs anything. `beside`: the ledger. Errors as `climb`."""
    heard = _Heard()
    plain = replace(loaded, file=loaded.file.model_copy(update={"budget": None, "max_calls": None, "max_minutes": None}))
    with tempfile.TemporaryDirectory(prefix="shouldtune-") as name:
        looks = looks_path(loaded.folder)
        copied = looks_path(Path(name))
        copied.parent.mkdir(parents=True)
        if looks.exists():
            copied.write_bytes(looks.read_bytes())
        ground = Ground(Path(name), beside, _opener(loaded, record, heard))
        await climb(plain, replace(how, may_send=True), heard, ground)
    return heard.needed()


class _Heard(Progress):
    """Counts what is not in the ledger."""

    def __init__(self) -> None:
        self._new: Counter[tuple[str, str]] = Counter()

    def untrained(self, rung: str) -> None:
        """An epoch that nobody has trained."""
        self._new[rung, "train"] += 1

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        self._new[rung, purpose] += new

    def needed(self) -> tuple[Needed, ...]:
        found = []
        for name in dict.fromkeys(rung for rung, _ in self._new):
            of = {purpose: count for (rung, purpose), count in self._new.items() if rung == name}
            measure, epochs = of.pop("measure", 0), of.pop("train", 0)
            found.append(Needed(name, sum(of.values()), measure, epochs))
        return tuple(each for each in found if each.calls or each.epochs)


@dataclass(frozen=True)
class Guess:
    """How often whoever asks is right, and what would be right."""

    examples: tuple[Example, ...]
    quality: Mapping[str, float]

    @cached_property
    def _targets(self) -> dict[str, str]:
        return {example.input: example.target for example in self.examples}

    def answer(self, messages: Sequence[Message], options: Options) -> Completion:
        asked = messages[-1].content
        known = asked if asked in self._targets else max(filter(asked.endswith, self._targets), key=len, default="")
        drawn = int.from_bytes(hashlib.sha256(known.encode("utf-8", "surrogatepass")).digest()[:4], "big") / 2**32
        right = drawn < self.quality.get(payer()[0], UNKNOWN)
        target = self._targets.get(known, "")
        if options.choices:
            others = [choice for choice in options.choices if choice != target]
            text = target if (right and target in options.choices) or not others else others[0]
            logprobs = tuple(0.0 if choice == text else -9.0 for choice in options.choices)
            return Completion(text, engine="none", choice_logprobs=logprobs if options.choice_logprobs else ())
        return Completion(target if right else "", engine="none")


@dataclass(frozen=True)
class Absent:
    """In place of a model whose answers are not in the ledger: its spec, and a guess."""

    plain: ModelSpec
    guess: Guess

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return self.guess.answer(messages, options)

    def spec(self) -> ModelSpec:
        return self.plain


class AbsentTunable:
    """Trains nothing: what was trained before is found, and an epoch that was not is told as a new one."""

    def __init__(self, tune: Ledgered, guess: Guess, loaded: LoadedTask, heard: _Heard) -> None:
        self.real, self.guess, self.loaded, self.heard = tune, guess, loaded, heard

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return await self._behind(self.spec()).complete(messages, options)

    def spec(self) -> ModelSpec:
        return self.real.spec()

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        for epoch in range(1, settings.epochs + 1):
            request = epoch_request(self.spec(), conversations, settings, epoch)
            known = self.real.ledger.find(sha256(request)) is not None
            found = self._trained(conversations, settings, epoch, known=known)
            if found is None or not (known or isinstance(self.real.model, Remote)):
                self.heard.untrained(payer()[0])
            yield self._behind(found or {"kind": "untrained", "what": sha256(request)})

    def _trained(
        self, conversations: Sequence[Conversation], settings: TuneSettings, epoch: int, *, known: bool
    ) -> ModelSpec | None:
        """The spec of the model after an epoch; None where nobody has trained it."""
        base = self.real.model
        if isinstance(base, LocalTunable):
            folder = adapters_path(self.loaded.folder) / training_key(base.spec(), conversations, settings)
            adapter = folder / f"epoch-{epoch}"
            return base.model.with_adapter(adapter).spec() if known and (adapter / WEIGHTS).exists() else None
        if isinstance(base, Remote):
            order = order_of(base, conversations, settings.epochs)
            ended = JobJournal.open(jobs_path(self.loaded.folder)).ended(order.mark)
            names = [] if ended is None else [name for name in (*ended.checkpoints, ended.model) if name]
            return Remote(names[epoch - 1], base.base_url, base.key_variable).spec() if epoch <= len(names) else None
        return {**self.spec(), "tuned": True}  # a scripted one, which knows its answers untrained

    def _behind(self, spec: ModelSpec) -> Ledgered:
        return Ledgered(Absent(spec, self.guess), self.real.ledger)


def _opener(loaded: LoadedTask, record: RunRecord, heard: _Heard) -> OpenModels:
    """Opens the task's own models, and puts stand-ins in their place that ask nothing."""
    quality = {rung.name: rung.quality for rung in record.verdict.rungs if rung.quality is not None}
    guess = Guess((*loaded.task.train, *loaded.holdout), quality)

    def absent(model: Model) -> Model:
        if isinstance(model, PaidBy):
            return replace(model, model=absent(model.model))
        assert isinstance(model, Ledgered)  # noqa: S101  as all models of a task
        return replace(model, model=Absent(model.spec(), guess))

    def opened(task: LoadedTask, ledger: Ledger, progress: Progress, patience: Patience) -> Models:
        real = open_models(task, ledger, progress, patience)
        return Models(
            prompt=absent(real.prompt),
            tune=AbsentTunable(real.tune, guess, loaded, heard) if isinstance(real.tune, Ledgered) else None,
            strong=None if real.strong is None else absent(real.strong),
            judge=None if real.judge is None else absent(real.judge),
            budget=loaded.file.budget,
        )

    return opened
