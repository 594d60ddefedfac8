"""A model that vLLM serves and our own engine trains: every epoch's adapter is asked through one base."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.models.engine import CUDA, Engine, torch_knows_cuda
from shouldtune.models.local import LocalModel, open_local
from shouldtune.models.vllm import PREFIX, VllmModel, open_vllm
from shouldtune.models.vllm_process import gpus
from shouldtune.tuning.lora import LocalTunable, OnStep
from shouldtune.types import Completion, Conversation, Message, Model, ModelSpec, Options, TuneSettings


@dataclass(frozen=True)
class VllmTunable:
    """Trains as LocalTunable does, on the same files, with the same adapters in the same place."""

    model: VllmModel
    trainer: LocalTunable

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """Answer with the base's weights."""
        return await self.model.complete(messages, options)

    def spec(self) -> ModelSpec:
        return self.model.spec()

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[VllmModel]:
        """Train, yielding the tuned model after each epoch. Errors as those of LocalTunable."""
        async for tuned in self.trainer.tune(conversations, settings):
            yield self._served(tuned)

    async def train_to(self, conversations: Sequence[Conversation], settings: TuneSettings, epoch: int) -> VllmModel:
        """The tuned model after one epoch, from the newest on disk on."""
        return self._served(await self.trainer.train_to(conversations, settings, epoch))

    def folder_for(self, conversations: Sequence[Conversation], settings: TuneSettings) -> Path:
        """Where what a training makes is kept."""
        return self.trainer.folder_for(conversations, settings)

    async def aclose(self) -> None:
        await self.model.aclose()

    def _served(self, tuned: LocalModel) -> VllmModel:
        who = tuned.identity
        if who.adapter is None:  # what training yields has one
            raise ValueError("a model without an adapter was not trained")
        return self.model.with_adapter(who.adapter, who.adapter_sha256)


def open_vllm_tunable(
    model_id: str, store: Path, on_step: OnStep | None = None, engine: str | None = None
) -> VllmTunable:
    """The model to fine-tune, its adapters kept under `store`; trained where vLLM answers, on a GPU where there is one.

    InputError for a name on the hub, whose files are not at hand; ModelUnavailable.
    """
    model = open_vllm(model_id)
    if model.revision is None:
        raise InputError(
            f"{model_id} cannot be trained here: it is no folder on this machine",
            hint=f"download it, and name its folder: {PREFIX}FOLDER",
        )
    named = "smollm2" if model_id == f"{PREFIX}smollm2" else f"hf:{model_id.removeprefix(PREFIX)}"
    engine = engine or (CUDA if gpus() and torch_knows_cuda() else Engine.fastest().name)
    return VllmTunable(model, LocalTunable(open_local(named, engine), store, on_step))


def tunable_or_model(model_id: str, store: Path, on_step: OnStep, engine: str | None) -> VllmTunable | Model:
    """The model to fine-tune, or one that can only be asked."""
    model = open_vllm(model_id)
    return model if model.local is None else open_vllm_tunable(model_id, store, on_step, engine)
