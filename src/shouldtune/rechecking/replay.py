"""What must be measured again: the very climb, made from the ledger, with a stand-in where the ledger has no answer.

No model is asked and nothing is written but in a folder that is gone afterwards. What is not known is answered by a
stand-in that answers as the rung did in the run; where models answer otherwise, the climb asks more or less.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from shouldtune.asked import Climb, Ground, OpenModels, open_models
from shouldtune.judgement import Price
from shouldtune.ladder import climb
from shouldtune.looks import looks_path
from shouldtune.models.adapter import WEIGHTS
from shouldtune.models.bill import Size
from shouldtune.models.keys import sha256
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered, epoch_request
from shouldtune.models.open import describe_model
from shouldtune.models.paying import PaidBy, payer
from shouldtune.models.remote import Remote
from shouldtune.progress import Progress
from shouldtune.run import RunRecord, adapters_path, jobs_path
from shouldtune.task import LoadedTask
from shouldtune.task.contents import hash_of
from shouldtune.task.file import training_price_of
from shouldtune.tuning.job_journal import JobJournal
from shouldtune.tuning.lora import LocalTunable, training_key
from shouldtune.tuning.provider_client import JobPatience
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

ELSEWHERE = ("remote", "any_llm")
"""Kinds of models whose calls somebody bills."""
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
    usd_most: float | None = 0.0
    """Dollars, every answer as long as it may be; None where a price is unknown. A model here costs none."""

    @property
    def calls(self) -> int:
        return self.to_choose + self.to_measure


async def needed(loaded: LoadedTask, how: Climb, record: RunRecord, beside: tuple[Path, ...]) -> tuple[Needed, ...]:
    """By who would pay, in the order of the climb; only who needs anything. `beside`: ledgers. Errors as `climb`."""
    heard = _Heard()
    no_limits = {"budget": None, "max_calls": None, "max_minutes": None}
    plain = replace(loaded, file=loaded.file.model_copy(update=no_limits))
    with tempfile.TemporaryDirectory(prefix="shouldtune-") as name:
        looks = looks_path(loaded.folder)
        copied = looks_path(Path(name))
        copied.parent.mkdir(parents=True)
        if looks.exists():
            copied.write_bytes(looks.read_bytes())
        ground = Ground(Path(name), beside, _opener(loaded, record, heard))
        await climb(plain, replace(how, may_send=True), None, ground)
    return tuple(heard.found.values())


@dataclass
class _Heard:
    """Counts what is not in the ledger, by who would pay."""

    found: dict[str, Needed] = field(default_factory=dict)

    def asked(self, usd: float | None, model: ModelSpec) -> None:
        """A call that nobody has answered."""
        name, purpose = payer()
        measured = purpose == "measure"
        usd = 0.0 if usd is None and model.get("kind") not in ELSEWHERE else usd
        self._add(name, usd, to_measure=int(measured), to_choose=int(not measured))

    def untrained(self, usd: float | None = 0.0) -> None:
        """An epoch that nobody has trained."""
        self._add(payer()[0], usd, epochs=1)

    def _add(self, name: str, usd: float | None, *, to_choose: int = 0, to_measure: int = 0, epochs: int = 0) -> None:
        now = self.found.get(name, Needed(name))
        self.found[name] = Needed(
            name,
            now.to_choose + to_choose,
            now.to_measure + to_measure,
            now.epochs + epochs,
            None if usd is None or now.usd_most is None else now.usd_most + usd,
        )


@dataclass(frozen=True)
class Guess:
    """What whoever asks probably answers: as in the run where it was asked this, else right as often as there."""

    examples: tuple[Example, ...]
    quality: Mapping[str, float]
    answered: Mapping[tuple[str, str], str]
    """By rung and input."""

    @cached_property
    def _targets(self) -> dict[str, str]:
        return {example.input: example.target for example in self.examples}

    def answer(self, messages: Sequence[Message], options: Options) -> Completion:
        asked, (rung, _) = messages[-1].content, payer()
        known = asked if asked in self._targets else max(filter(asked.endswith, self._targets), key=len, default="")
        drawn = int.from_bytes(hashlib.sha256(known.encode("utf-8", "surrogatepass")).digest()[:4], "big") / 2**32
        target = self._targets.get(known, "")
        text = self.answered.get((rung, known), target if drawn < self.quality.get(rung, UNKNOWN) else "")
        if options.choices and text not in options.choices:
            text = next((choice for choice in options.choices if choice != target), target)
        logprobs = tuple(0.0 if choice == text else -9.0 for choice in options.choices)
        return Completion(text, engine="none", choice_logprobs=logprobs if options.choice_logprobs else ())


def _guess(loaded: LoadedTask, record: RunRecord) -> Guess:
    by_content = {hash_of(example): example for example in loaded.holdout}
    by_id = {example.id: example for example in loaded.holdout}
    then = {example.id: example for example in record.holdout}
    answered = {}
    for measurement in record.measurements:
        for each in measurement.predictions:
            old = then[each.example_id]
            same = by_content.get(hash_of(old))
            now = same or by_id.get(old.id)
            if now is not None and each.score is not None:
                right = same is None and each.score.value >= UNKNOWN
                answered[measurement.rung, now.input] = now.target if right else each.completion.text
    quality = {rung.name: rung.quality for rung in record.verdict.rungs if rung.quality is not None}
    return Guess((*loaded.task.train, *loaded.holdout), quality, answered)


@dataclass(frozen=True)
class Absent:
    """In place of a model whose answers are not in the ledger: its spec, and a guess."""

    plain: ModelSpec
    guess: Guess
    heard: _Heard
    price: Price | None = None

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        most = None if self.price is None else Size.of(messages, options).dollars(self.price)
        self.heard.asked(most, self.plain)
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
                self.heard.untrained(self._price_of_job(conversations, settings) if epoch == 1 else 0.0)
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

    def _price_of_job(self, conversations: Sequence[Conversation], settings: TuneSettings) -> float | None:
        """Dollars that a provider asks at most; training here costs none."""
        base, named = self.real.model, self.loaded.file.tune
        if not isinstance(base, Remote) or named is None:
            return 0.0
        price = training_price_of(self.loaded.file, named)
        return None if price is None else price.of(order_of(base, conversations, settings.epochs).most_tokens)

    def _behind(self, spec: ModelSpec) -> Ledgered:
        price = self.loaded.economics.tuned_price if isinstance(self.real.model, Remote) else None
        kind = "remote" if isinstance(self.real.model, Remote) else spec.get("kind")
        return Ledgered(Absent({**spec, "kind": kind}, self.guess, self.heard, price), self.real.ledger, price)


def _opener(loaded: LoadedTask, record: RunRecord, heard: _Heard) -> OpenModels:
    """Opens the task's own models, and puts stand-ins in their place that ask nothing."""
    guess = _guess(loaded, record)

    def absent(model: Model) -> Model:
        if isinstance(model, PaidBy):
            return replace(model, model=absent(model.model))
        assert isinstance(model, Ledgered)  # noqa: S101  as all models of a task
        return replace(model, model=Absent(model.spec(), guess, heard, model.price))

    def opened(task: LoadedTask, ledger: Ledger, progress: Progress, patience: JobPatience) -> Models:
        real = open_models(task, ledger, progress, patience, describe_model)
        return Models(
            prompt=absent(real.prompt),
            tune=AbsentTunable(real.tune, guess, loaded, heard) if isinstance(real.tune, Ledgered) else None,
            strong=None if real.strong is None else absent(real.strong),
            judge=None if real.judge is None else absent(real.judge),
            budget=loaded.file.budget,
        )

    return opened
