"""What must be measured again: the very climb, made from the ledger, with a stand-in where the ledger has no answer.

No model is asked and nothing is written but in a folder that is gone afterwards. What is not known is answered by a
stand-in that answers as the rung did in the run; where models answer otherwise, the climb asks more or less.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from shouldtune.asked import Climb, Ground, OpenModels, open_models
from shouldtune.errors import ShouldTuneError
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
from shouldtune.rechecking.guess import Guess
from shouldtune.rechecking.places import Places
from shouldtune.run import RunRecord, ledger_path
from shouldtune.task import LoadedTask
from shouldtune.task.file import training_price_of
from shouldtune.tuning.job_journal import JobJournal
from shouldtune.tuning.lora import LocalTunable
from shouldtune.tuning.provider_client import JobPatience
from shouldtune.tuning.provider_tunable import order_of
from shouldtune.tuning.vllm_tunable import VllmTunable
from shouldtune.types import (
    Completion,
    Conversation,
    Message,
    Model,
    Models,
    ModelSpec,
    Options,
    TuneSettings,
)

ELSEWHERE = ("remote", "any_llm")
"""Kinds of models whose calls somebody bills."""
COUNTED_AS = {"measure": "to_measure", "grade": "to_grade"}
"""What a call is for, and where it counts; all others are made on the training half."""


@dataclass(frozen=True)
class Needed:
    """What one rung, or what is looked into beside the rungs, asks that no ledger holds."""

    name: str
    to_choose: int = 0
    """Calls on the training half."""
    to_measure: int = 0
    """Calls on held-out examples."""
    to_grade: int = 0
    """Calls of a judge: on answers to whichever examples, and on those that it is tried with beforehand."""
    epochs: int = 0
    """Of training."""
    usd_most: float | None = 0.0
    """Dollars, every answer as long as it may be; None where a price is unknown. A model here costs none."""

    @property
    def calls(self) -> int:
        return self.to_choose + self.to_measure + self.to_grade


async def needed(loaded: LoadedTask, how: Climb, record: RunRecord, places: Places) -> tuple[Needed, ...]:
    """By who would pay, in the order of the climb; only who needs anything. Errors as `climb`."""
    heard = _Heard()
    no_limits = {"budget": None, "max_calls": None, "max_minutes": None}
    plain = replace(loaded, file=loaded.file.model_copy(update=no_limits))
    with tempfile.TemporaryDirectory(prefix="shouldtune-") as name:
        copied = looks_path(Path(name))
        copied.parent.mkdir(parents=True)
        if places.looks.exists():
            copied.write_bytes(places.looks.read_bytes())
        ledgers = (ledger_path(loaded.folder), *places.ledgers)
        ground = Ground(Path(name), ledgers, _opener(loaded, record, heard, places))
        try:
            await climb(plain, replace(how, may_send=True), None, ground)
        except ShouldTuneError as error:
            if error.where is not None:  # the user has never seen that folder
                error.where = error.where.replace(name, str(loaded.folder))
            raise
    return tuple(heard.found.values())


@dataclass
class _Heard:
    """Counts what is not in the ledger, by who would pay."""

    found: dict[str, Needed] = field(default_factory=dict)

    def asked(self, usd: float | None, model: ModelSpec) -> None:
        """A call that nobody has answered."""
        name, purpose = payer()
        usd = 0.0 if usd is None and model.get("kind") not in ELSEWHERE else usd
        self._add(Needed(name, **{COUNTED_AS.get(purpose, "to_choose"): 1}, usd_most=usd))

    def untrained(self, usd: float | None = 0.0) -> None:
        """An epoch that nobody has trained."""
        self._add(Needed(payer()[0], epochs=1, usd_most=usd))

    def _add(self, more: Needed) -> None:
        now = self.found.get(more.name, Needed(more.name))
        known = now.usd_most is not None and more.usd_most is not None
        self.found[more.name] = Needed(
            now.name,
            now.to_choose + more.to_choose,
            now.to_measure + more.to_measure,
            now.to_grade + more.to_grade,
            now.epochs + more.epochs,
            (now.usd_most or 0.0) + (more.usd_most or 0.0) if known else None,
        )


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

    def __init__(self, tune: Ledgered, guess: Guess, loaded: LoadedTask, heard: _Heard, places: Places) -> None:
        self.real, self.guess, self.loaded, self.heard, self.places = tune, guess, loaded, heard, places

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return await self._behind(self.spec()).complete(messages, options)

    def spec(self) -> ModelSpec:
        return self.real.spec()

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        ended = self._ended(conversations, settings.epochs)
        if ended:
            for name in ended:
                yield self._behind(name)
            return
        for epoch in range(1, settings.epochs + 1):
            request = epoch_request(self.spec(), conversations, settings, epoch)
            known = self.real.ledger.find(sha256(request)) is not None
            found = self._trained(conversations, settings, epoch, known=known)
            if found is None or not known:
                self.heard.untrained(self._price_of_job(conversations, settings) if epoch == 1 else 0.0)
            yield self._behind(found or self._untrained(sha256(request)))

    def _untrained(self, what: str) -> ModelSpec:
        """In place of the spec of a model that is yet to be trained."""
        spec = {"kind": "untrained", "what": what}
        return {**self.spec(), "name": f"untrained {what}"} if isinstance(self.real.model, Remote) else spec

    def _ended(self, conversations: Sequence[Conversation], epochs: int) -> list[ModelSpec]:
        """What a provider's job has left behind: its checkpoints, and its result last; nothing where there was none."""
        base = self.real.model
        if not isinstance(base, Remote):
            return []
        journal = JobJournal.open(self.places.jobs)
        first = order_of(base, conversations, epochs)
        ended = journal.ended(order_of(base, conversations, epochs, journal.attempts(first.mark)).mark)
        if ended is None or ended.model is None:
            return []
        return [Remote(name, base.base_url, base.key_variable).spec() for name in (*ended.checkpoints, ended.model)]

    def _trained(
        self, conversations: Sequence[Conversation], settings: TuneSettings, epoch: int, *, known: bool
    ) -> ModelSpec | None:
        """The spec of the model after an epoch; None where nobody has trained it."""
        base = self.real.model
        if isinstance(base, LocalTunable | VllmTunable):
            folder = self.places.adapters / base.folder_for(conversations, settings).name
            adapter = folder / f"epoch-{epoch}"
            return base.model.with_adapter(adapter).spec() if known and (adapter / WEIGHTS).exists() else None
        if isinstance(base, Remote):
            return None
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
        return Ledgered(Absent(spec, self.guess, self.heard, price), self.real.ledger, price)


def _opener(loaded: LoadedTask, record: RunRecord, heard: _Heard, places: Places) -> OpenModels:
    """Opens the task's own models, and puts stand-ins in their place that ask nothing."""
    guess = Guess.of(loaded, record)

    def absent(model: Model) -> Model:
        if isinstance(model, PaidBy):
            return replace(model, model=absent(model.model))
        assert isinstance(model, Ledgered)  # noqa: S101  as all models of a task
        return replace(model, model=Absent(model.spec(), guess, heard, model.price))

    def opened(task: LoadedTask, ledger: Ledger, progress: Progress, patience: JobPatience) -> Models:
        real = open_models(task, ledger, progress, patience, describe_model)
        return Models(
            prompt=absent(real.prompt),
            tune=AbsentTunable(real.tune, guess, loaded, heard, places) if isinstance(real.tune, Ledgered) else None,
            strong=None if real.strong is None else absent(real.strong),
            judge=None if real.judge is None else absent(real.judge),
            budget=loaded.file.budget,
        )

    return opened
