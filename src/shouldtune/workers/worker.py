"""A worker: one process somewhere that holds a model, answers batches of calls and trains. It knows no Ray."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shouldtune import __version__
from shouldtune.errors import CannotMeasure, ShouldTuneError
from shouldtune.models.doubles import Scripted
from shouldtune.models.engine import CUDA
from shouldtune.models.keys import canonical
from shouldtune.models.open import is_local, is_served_here, open_model
from shouldtune.models.prompted import options_from_dict
from shouldtune.types import Example, Model, ModelSpec, TuneSettings
from shouldtune.workers.wire import (
    LEFT,
    Call,
    Files,
    Lesson,
    Recipe,
    conversations_from_json,
    messages_from_json,
    read_folder,
    told,
    write_folder,
)

if TYPE_CHECKING:
    from shouldtune.tuning.lora import LocalTunable
    from shouldtune.tuning.vllm_tunable import VllmTunable

    Trains = LocalTunable | VllmTunable
    """A model of this machine that a worker can train."""


class Worker:
    """What runs as a Ray actor; all its methods share one event loop. References come in lists: Ray resolves bare ones
    with every call."""

    def __init__(self, recipe: dict[str, Any], known: Sequence[Any]) -> None:
        """`known`: a reference to the (input, target) pairs that a scripted model knows; nothing for a real one."""
        self._recipe, self._known = Recipe(**recipe), known
        self._opening: asyncio.Future[Trains | Model] | None = None
        self._variants: dict[str, Model] = {}
        self._under_way: dict[int, asyncio.Task[str]] = {}
        self._made_scratch: tempfile.TemporaryDirectory[str] | None = None
        self._steps: tuple[int, int, float] | None = None

    async def who(self) -> dict[str, Any]:
        """What it is, once its model is open: its spec and version, or an error."""
        try:
            base = await self._base()
        except ShouldTuneError as error:
            return told(error)
        return {"spec": base.spec(), "version": __version__}

    async def learn(self, variant: str, spec: ModelSpec, files: Sequence[Any]) -> None:
        """Take in a tuned model under a name: its spec, and a reference to the files of its adapter."""
        base = await self._base()
        if isinstance(base, Scripted):
            self._variants[variant] = replace(base, is_tuned=spec["tuned"])
            return
        sha256 = spec["adapter"]["sha256"]
        folder = write_folder(self._scratch / "adapters" / sha256, await files[0])
        self._variants[variant] = self._tunable(base).model.with_adapter(folder, expected_sha256=sha256)

    async def answer(self, variant: str, calls: Sequence[Call]) -> list[str]:
        """The completions as JSON, in order: LEFT where nobody waits any more, an error where no call can succeed."""
        model = self._variants[variant] if variant else await self._base()
        tasks = {number: asyncio.ensure_future(_completed(model, said, options)) for number, said, options in calls}
        self._under_way |= tasks
        try:
            done = await asyncio.gather(*tasks.values(), return_exceptions=True)
        finally:
            for number, task in tasks.items():
                task.cancel()
                del self._under_way[number]
        return [_line(each) for each in done]

    async def leave(self, numbers: Sequence[int]) -> None:
        """Compute calls no further that nobody waits for any more."""
        for number in numbers:
            if number in self._under_way:
                self._under_way[number].cancel()

    async def train(self, lesson: dict[str, Any], before: Sequence[Any]) -> dict[str, Any]:
        """Train one epoch: `{"spec": ..., "adapter": Files, "state": Files}`, or an error.

        `before`: a reference to the adapter and the state that the epoch before left, so that it does not matter where
        that was trained.
        """
        try:
            return await self._trained(Lesson(**lesson), await before[0] if before else ({}, {}))
        except ShouldTuneError as error:
            return told(error)
        finally:
            self._steps = None

    async def steps(self) -> tuple[int, int, float] | None:
        """(steps done, steps in all, loss) of the training under way."""
        return self._steps

    async def tidy(self) -> None:
        """Leave no files behind, and no server."""
        if self._made_scratch is not None:
            self._made_scratch.cleanup()
        for task in self._under_way.values():
            task.cancel()
        if self._opening is not None and self._opening.done() and not self._opening.exception():
            close = getattr(self._opening.result(), "aclose", None)
            if close is not None:
                await close()

    @property
    def _scratch(self) -> Path:
        if self._made_scratch is None:
            self._made_scratch = tempfile.TemporaryDirectory(prefix="shouldtune-worker-", ignore_cleanup_errors=True)
        return Path(self._made_scratch.name)

    async def _trained(self, lesson: Lesson, before: tuple[Files, Files]) -> dict[str, Any]:
        base = await self._base()
        conversations, settings = conversations_from_json(lesson.conversations), TuneSettings(**lesson.settings)
        if isinstance(base, Scripted):
            return {"spec": replace(base, is_tuned=True).spec(), "adapter": {}, "state": {}}
        tunable, epoch = self._tunable(base), lesson.epoch
        folder = tunable.folder_for(conversations, settings)
        if epoch > 1:
            write_folder(folder / f"epoch-{epoch - 1}", before[0])
            write_folder(folder, before[1])
        tuned = await tunable.train_to(conversations, settings, epoch)
        state = folder / f"state-{epoch}.safetensors"
        kept = {state.name: state.read_bytes()} if state.exists() else {}
        return {"spec": tuned.spec(), "adapter": read_folder(folder / f"epoch-{epoch}"), "state": kept}

    def _tunable(self, base: object) -> Trains:
        from shouldtune.tuning.lora import LocalTunable
        from shouldtune.tuning.vllm_tunable import VllmTunable

        if not isinstance(base, LocalTunable | VllmTunable):
            raise CannotMeasure("this model cannot be tuned on a worker")
        return base

    async def _base(self) -> Trains | Model:
        """The model, opened with the first call and kept."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._opened())
        return await asyncio.shield(self._opening)

    async def _opened(self) -> Trains | Model:
        if is_local(self._recipe.model_id):
            return await asyncio.to_thread(self._open_local)
        pairs = await self._known[0] if self._known else ()
        return open_model(self._recipe.model_id, [Example("", asked, answer) for asked, answer in pairs])

    def _open_local(self) -> Trains | Model:
        name, engine = self._recipe.model_id, CUDA if self._recipe.on_gpu else None
        if is_served_here(name):
            from shouldtune.tuning.vllm_tunable import tunable_or_model

            return tunable_or_model(name, self._scratch / "trained", self._stepped, engine)
        from shouldtune.models.local import open_local
        from shouldtune.tuning.lora import LocalTunable

        return LocalTunable(open_local(name, engine), self._scratch / "trained", self._stepped)

    def _stepped(self, done: int, total: int, loss: float) -> None:
        self._steps = (done, total, loss)


async def _completed(model: Model, said: str, options: dict[str, Any]) -> str:
    completion = await model.complete(messages_from_json(said), options_from_dict(options))
    return canonical(completion.plain())


def _line(done: str | BaseException) -> str:
    if isinstance(done, ShouldTuneError):
        return canonical(told(done))
    if isinstance(done, asyncio.CancelledError):
        return LEFT
    if isinstance(done, BaseException):
        raise done
    return done
