"""The model that is served: what it takes, what it can be told, and its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from shouldtune.errors import CannotMeasure
from shouldtune.models.calibrated import Calibrated
from shouldtune.models.keys import digest
from shouldtune.models.open import open_fitted
from shouldtune.models.prompted import Prompted
from shouldtune.models.streaming import stream
from shouldtune.models.tool_calling import ToolCalling, read_offer
from shouldtune.run import RunRecord, load_run, models_folder, rung_to_ship
from shouldtune.types import Completion, Message, Model, ModelSpec, Options

_APART = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shouldtune-plain")
"""Where models without an LLM compute, so that a long text holds up nobody else."""


@dataclass(frozen=True)
class Winner:
    """A fitted model under the name that it is served by."""

    name: str
    rung: str
    model: Model
    offers: str | None = None
    """Where the task's inputs offer functions: the key that they stand under (`functions`, `tools`)."""
    created: int = 0
    """Seconds since 1970."""
    sample: str = "hello"
    """An input of the task, to warm up with."""

    @cached_property
    def engine(self) -> ModelSpec:
        """What computes in the end: the spec inside all others."""
        spec = self.model.spec()
        while isinstance(spec.get("model"), dict):
            spec = spec["model"]
        return spec

    @property
    def decodes(self) -> bool:
        """Whether a language model writes the answers, which can be held to a form."""
        return str(self.engine["kind"]) not in ("constant", "echo", "nearest", "linear", "redactor")

    @property
    def is_here(self) -> bool:
        """Whether nothing leaves this machine."""
        return str(self.engine["kind"]) not in ("remote", "any_llm")

    @cached_property
    def own(self) -> Options:
        """How it was measured."""
        model = self.model
        while isinstance(model, Calibrated):
            model = model.model
        return model.options if isinstance(model, Prompted | ToolCalling) else Options()

    @cached_property
    def fingerprint(self) -> str:
        """Changes with everything that can change an answer."""
        return f"st_{digest(self.model.spec())[:12]}"

    async def answer(self, text: str, options: Options) -> AsyncGenerator[str | Completion, None]:
        """Pieces of the answer, then all of it. Closing the iterator gives it up. CannotMeasure."""
        asked, messages = with_options(self.model, options), [Message("user", text)]
        if self.decodes:
            async with aclosing(stream(asked, messages, options)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        completion = await asyncio.get_running_loop().run_in_executor(_APART, _alone, asked, messages)
        if completion.text:
            yield completion.text
        yield completion

    async def warm(self) -> None:
        """Load weights and build indexes; a server elsewhere is not asked, for that costs money. CannotMeasure."""
        if self.engine["kind"] == "vllm":  # its connections belong to the loop that asks
            asked = with_options(self.model, replace(self.own, max_tokens=1))
            _must_have_answered(await asked.complete([Message("user", self.sample)]))
        else:
            await asyncio.to_thread(self._warm)

    def _warm(self) -> None:
        if self.is_here:
            asked = with_options(self.model, replace(self.own, max_tokens=1))
            _must_have_answered(_alone(asked, [Message("user", self.sample)]))
        elif isinstance(self.model, Prompted):
            self.model.messages(self.sample)

    async def aclose(self) -> None:
        """Close connections, of a model that has any."""
        model = self.model
        while isinstance(model, Prompted | ToolCalling | Calibrated):
            model = model.model
        close = getattr(model, "aclose", None)
        if close is not None:
            await close()


def _must_have_answered(made: Completion) -> None:
    if made.failed and made.failure != "permanent":  # permanent: this one input is more than it can read
        raise CannotMeasure(f"the model cannot answer: {made.error}")


def _alone(model: Model, messages: Sequence[Message]) -> Completion:
    return asyncio.run(_completed(model, messages))


async def _completed(model: Model, messages: Sequence[Message]) -> Completion:
    return await model.complete(messages)


def with_options(model: Model, options: Options) -> Model:
    """The model with its prompt's options replaced."""
    if isinstance(model, Prompted | ToolCalling):
        return replace(model, options=options)
    if isinstance(model, Calibrated):
        return replace(model, model=with_options(model.model, options))
    return model


def open_winner(run: Path, rung: str | None = None, name: str | None = None) -> Winner:
    """The model that a finished run would ship, or another of its rungs. InputError, ModelUnavailable."""
    record = load_run(run)
    chosen = rung_to_ship(record, rung)
    inputs = [example.input for example in record.holdout[:20]]
    return Winner(
        name=name or str(record.asked["name"]),
        rung=chosen,
        model=open_fitted(models_folder(record.folder, chosen)),
        offers=next(filter(None, map(_offers, inputs)), None),
        created=_created(record),
        sample=inputs[0] if inputs else "hello",
    )


def _created(record: RunRecord) -> int:
    try:
        when = datetime.fromisoformat(str(record.asked.get("created")))
    except ValueError:
        when = datetime.now(UTC)
    return int(when.timestamp())


def _offers(text: str) -> str | None:
    if read_offer(text) is None:
        return None
    return "functions" if json.loads(text).get("functions") else "tools"
