"""A model that answers and trains on workers; to everything above it a model like any other.

A call whose worker was lost is asked again by our own retry layer, and counts as one whose outcome nobody knows.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.models.adapter import WEIGHTS, adapter_sha256
from shouldtune.models.concurrency import Places
from shouldtune.models.keys import completion_from_dict, digest, identity
from shouldtune.models.open import is_local, is_simulated
from shouldtune.models.prompted import options_to_dict
from shouldtune.models.replies import failed
from shouldtune.models.retrying import Attempt, CallPatience, ask_patiently
from shouldtune.tuning.lora import training_key
from shouldtune.types import Completion, Conversation, Message, ModelSpec, Options, TuneSettings
from shouldtune.workers.lane import BATCHES, Lost, OnStep, Variant
from shouldtune.workers.pool import BATCH, Pool
from shouldtune.workers.wire import (
    Files,
    Lesson,
    conversations_to_json,
    messages_to_json,
    raise_told,
    read_folder,
    write_folder,
)

PATIENCE = CallPatience(attempts=6, billed=6, unknown=6, limit_s=86_400.0)
"""What is lost with a worker is time, not money: it is asked again at once."""
TRIES = 3
"""How often an epoch is begun whose worker is lost."""


@dataclass(frozen=True)
class Spread:
    """A model on the workers of a pool, or what training made of it."""

    pool: Pool
    variant: Variant | None = None

    @property
    def concurrency(self) -> int:
        """Calls under way at once, at most."""
        return BATCH * BATCHES * self.pool.size

    @property
    def most_billed(self) -> int:
        return PATIENCE.billed

    @cached_property
    def _places(self) -> Places:
        places = Places(self.concurrency)
        places.size = float(places.most)  # nobody refuses here
        return places

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """An answer. Raises CannotMeasure where no worker can be had, or no call can succeed."""
        start = perf_counter()
        said, wanted = messages_to_json(messages), options_to_dict(options)

        async def ask(_: float) -> Attempt:
            try:
                answer = await self.pool.ask(self.variant, said, wanted)
            except Lost as error:
                return Attempt(failed(str(error), "unknown", perf_counter() - start), at_once=True)
            return Attempt(_completion(answer))

        return await ask_patiently(ask, self._places, PATIENCE)

    def spec(self) -> ModelSpec:
        return self.pool.spec() if self.variant is None else self.variant.spec

    async def aclose(self) -> None:
        await self.pool.aclose()


@dataclass(frozen=True)
class SpreadTunable(Spread):
    """A model that is trained on a worker; what comes of it is kept here, as what is trained in this process is."""

    store: Path = Path()
    on_step: OnStep | None = None

    @property
    def trains_at_once(self) -> int:
        """Trainings that need not wait for one another."""
        return self.pool.size

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Spread]:
        """Train, yielding the tuned model after each epoch; epochs that are on disk already are not trained.

        Each epoch is a piece of work by itself: where its worker is lost, another one begins it again from the end of
        the one before. Errors as those of training here, and CannotMeasure where workers are lost again and again.
        """
        if not conversations:
            raise InputError("there are no examples to train on")
        folder = self.store / training_key(self.spec(), conversations, settings)
        text = conversations_to_json(conversations)
        for epoch in range(1, settings.epochs + 1):
            adapter = folder / f"epoch-{epoch}"
            spec = self._tuned(adapter) if (adapter / WEIGHTS).exists() else None
            if spec is None:
                made = await self._trained(folder, Lesson(text, asdict(settings), epoch))
                spec = made["spec"]
                if made["adapter"]:
                    _keep(folder, epoch, made)
                    spec = self._tuned(adapter)
            files = read_folder(adapter) if adapter.exists() else {}
            yield Spread(self.pool, Variant(digest(identity(spec)), spec, self.pool.cluster.put(files)))

    async def _trained(self, folder: Path, lesson: Lesson) -> dict[str, Any]:
        """One epoch, by whichever worker is free."""
        before = self.pool.cluster.put(_left_by(folder, lesson.epoch - 1))
        for _ in range(TRIES):
            try:
                made = await self.pool.train(lesson, before, self.on_step)
            except Lost:
                continue
            raise_told(made)
            return made
        raise CannotMeasure(
            f"{TRIES} workers were lost while they trained",
            hint="is there memory enough for training? Ray's logs on that node say more",
        )

    def _tuned(self, adapter: Path) -> ModelSpec:
        """The spec of the base with an adapter that lies here."""
        return {
            **self.spec(),
            "adapter": {"sha256": adapter_sha256(adapter), "path": str(adapter.resolve())},
        }


def can_be_spread(model_id: str) -> bool:
    """Whether workers help: not where a server does the work, whose client has one place for its patience."""
    return is_local(model_id) or is_simulated(model_id)


def _left_by(folder: Path, epoch: int) -> tuple[Files, Files]:
    """The adapter and the state after an epoch; nothing where there are none."""
    adapter, state = folder / f"epoch-{epoch}", folder / f"state-{epoch}.safetensors"
    if not (adapter.exists() and state.exists()):
        return {}, {}
    return read_folder(adapter), {state.name: state.read_bytes()}


def _keep(folder: Path, epoch: int, made: dict[str, Any]) -> None:
    """Write the state, then the adapter, its weights last: an epoch that exists is whole, with its state beside it."""
    write_folder(folder, made["state"])
    adapter = made["adapter"]
    write_folder(folder / f"epoch-{epoch}", {name: adapter[name] for name in sorted(adapter, key=WEIGHTS.__eq__)})
    (folder / f"state-{epoch - 1}.safetensors").unlink(missing_ok=True)


def _completion(answer: str) -> Completion:
    fields = json.loads(answer)
    raise_told(fields)
    return completion_from_dict(fields)
