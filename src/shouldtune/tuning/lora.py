"""LoRA fine-tuning of a local model, an epoch at a time, on disk as it goes.

    <store>/<key>/epoch-<i>/          the adapter after epoch i, in peft's format
    <store>/<key>/state-<i>.safetensors   Adam's moments after the newest epoch, for going on after a crash

`key` hashes the base, the texts and the settings: the same training is never done twice, and a training that was
killed goes on after its last finished epoch with the result that it would have had.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.models.adapter import SETTINGS, WEIGHTS, peft_settings
from shouldtune.models.engine import COMPUTE, give_memory_back, load_base
from shouldtune.models.local import LocalModel
from shouldtune.types import Completion, Conversation, Message, ModelSpec, Options, TuneSettings

if TYPE_CHECKING:
    from shouldtune.models.chat_tokenizer import ChatTokenizer
    from shouldtune.tuning.trainable import TrainableLora
    from shouldtune.tuning.training import Text

OnStep = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, the step's loss)."""

_POOL = 8
"""Batches whose texts are sorted by length together: less padding, yet mixed."""
_LAYOUT = "all A, all B turned"
"""How the optimiser's moments lie in a state."""


class LocalTunable:
    """A local model whose weights can change."""

    def __init__(self, model: LocalModel, store: Path, on_step: OnStep | None = None) -> None:
        """`store` is where adapters are kept. Raises InputError for a model that is tuned already."""
        if model.identity.adapter is not None:
            raise InputError("a tuned model cannot be tuned again", hint="tune its base")
        self.model, self.store, self.on_step = model, store, on_step

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """Answer with the base's weights."""
        return await self.model.complete(messages, options)

    def spec(self) -> ModelSpec:
        return self.model.spec()

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[LocalModel]:
        """Train, yielding the tuned model after each epoch; epochs that are on disk already are not trained.

        Raises InputError when there is nothing to learn or a text does not fit the window, ModelUnavailable when
        the model cannot be loaded, CannotMeasure when the adapter cannot be written.
        """
        if not conversations:
            raise InputError("there are no examples to train on")
        training = self._training(conversations, settings)
        try:
            for epoch in range(1, settings.epochs + 1):
                yield await self._after(epoch, training)
        finally:
            training.stop.set()

    async def train_to(self, conversations: Sequence[Conversation], settings: TuneSettings, epoch: int) -> LocalModel:
        """The tuned model after one epoch, from the newest on disk on. Raises what `tune` does."""
        training = self._training(conversations, settings)
        try:
            return await self._after(epoch, training)
        finally:
            training.stop.set()

    def folder_for(self, conversations: Sequence[Conversation], settings: TuneSettings) -> Path:
        """Where what a training makes is kept."""
        return self.store / training_key(self.model.spec(), conversations, settings)

    def _training(self, conversations: Sequence[Conversation], settings: TuneSettings) -> _Training:
        folder = self.folder_for(conversations, settings)
        return _Training(self.model, conversations, settings, folder, self._reporter())

    async def _after(self, epoch: int, training: _Training) -> LocalModel:
        if not (training.folder_of(epoch) / WEIGHTS).exists():
            await asyncio.get_running_loop().run_in_executor(COMPUTE, training.run_to, epoch)
        return self.model.with_adapter(training.folder_of(epoch))

    def _reporter(self) -> OnStep:
        """`on_step`, called in the event loop's thread whichever thread trains."""
        loop, report = asyncio.get_running_loop(), self.on_step

        def on_step(done: int, total: int, loss: float) -> None:
            if report is not None and not loop.is_closed():
                loop.call_soon_threadsafe(report, done, total, loss)

        return on_step


def training_key(base: ModelSpec, conversations: Sequence[Conversation], settings: TuneSettings) -> str:
    """What names a training: the hash of everything that decides its result."""
    everything = [base, [asdict(conversation) for conversation in conversations], asdict(settings)]
    text = json.dumps(everything, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """One epoch's batches of indices, a function of the seed and the epoch alone.

    Shuffled, sorted by length within pools of `_POOL` batches, and the batches shuffled again.
    """
    draw = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    draw.shuffle(order)
    pool = batch_size * _POOL
    batches = []
    for start in range(0, len(order), pool):
        alike = sorted(order[start : start + pool], key=lambda index: lengths[index])
        batches += [alike[first : first + batch_size] for first in range(0, len(alike), batch_size)]
    draw.shuffle(batches)
    return batches


def learning_rate(settings: TuneSettings, step: int, steps: int) -> float:
    """The rate of step 0 .. steps - 1: up over the warm-up, then down linearly, reaching zero after the last."""
    rising = max(1, math.ceil(steps * settings.warmup))
    return settings.learning_rate * min((step + 1) / rising, (steps - step) / max(1, steps - rising))


class TooLong(InputError):
    """A training text does not fit the model's window."""


class _Stopped(Exception):
    """Training was asked to stop."""


class _Training:
    """One training run, in memory from its first untrained epoch on. Runs on the engine's thread."""

    def __init__(
        self,
        model: LocalModel,
        conversations: Sequence[Conversation],
        settings: TuneSettings,
        folder: Path,
        on_step: OnStep,
    ) -> None:
        self.model, self.conversations, self.settings = model, conversations, settings
        self.folder, self.on_step = folder, on_step
        self.stop = threading.Event()
        self._done = 0
        self._texts: list[Text] = []
        self._lora: TrainableLora | None = None

    def folder_of(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}"

    def run_to(self, epoch: int) -> None:
        """Train until `epoch` is on disk."""
        try:
            lora = self._prepare()
            while self._done < epoch:
                self._train_epoch(lora, self._done + 1)
                self._save(lora, self._done + 1)
                self._done += 1
                give_memory_back()
        except _Stopped:
            return
        except OSError as error:
            raise CannotMeasure(f"the adapter cannot be written: {error}", where=self.folder) from None

    def _prepare(self) -> TrainableLora:
        from shouldtune.tuning.trainable import Adam, TrainableLora

        if self._lora is None:
            who, settings = self.model.identity, self.settings
            base = load_base(who.folder, who.engine)
            self._texts = [_text(base.tokenizer, conversation) for conversation in self.conversations]
            adam = Adam(settings.beta1, settings.beta2, settings.nesterov)
            self._lora = TrainableLora(base.model, settings.rank, settings.alpha, settings.seed, adam)
            self._done = self._restore(self._lora)
        return self._lora

    def _train_epoch(self, lora: TrainableLora, epoch: int) -> None:
        from shouldtune.tuning.training import accumulate

        settings = self.settings
        lengths = [text.length for text in self._texts]
        batches = epoch_batches(lengths, settings.batch_size, settings.seed, epoch)
        steps = len(batches) * settings.epochs
        for batch in batches:
            if self.stop.is_set():
                raise _Stopped
            loss = accumulate(lora, [self._texts[index] for index in batch])
            lora.step(learning_rate(settings, lora.steps, steps))
            self.on_step(lora.steps, steps, loss)

    def _state_of(self, epoch: int) -> Path:
        return self.folder / f"state-{epoch}.safetensors"

    def _save(self, lora: TrainableLora, epoch: int) -> None:
        """Write the state, then the adapter by one rename: an epoch that exists has its state beside it."""
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        settings = peft_settings(self.settings.rank, self.settings.alpha, self.model.identity.id)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.folder) as scratch:
            state, adapter = Path(scratch) / "state", Path(scratch) / "adapter"
            if epoch < self.settings.epochs:
                told = {"steps": str(lora.steps), "layout": _LAYOUT}
                save_file({"mean": lora.mean, "square": lora.square}, state, told)
                state.replace(self._state_of(epoch))
            adapter.mkdir()
            tensors = {name: value.contiguous() for name, value in lora.tensors().items()}
            save_file(tensors, adapter / WEIGHTS, {"format": "pt"})
            (adapter / SETTINGS).write_text(json.dumps(settings, indent=1), encoding="utf-8")
            if not self.folder_of(epoch).exists():
                adapter.replace(self.folder_of(epoch))
        self._state_of(epoch - 1).unlink(missing_ok=True)

    def _restore(self, lora: TrainableLora) -> int:
        """Go back to the newest epoch with a state; returns its number, 0 for a fresh start."""
        import torch
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file

        for epoch in range(self.settings.epochs - 1, 0, -1):
            if not (self._state_of(epoch).exists() and self.folder_of(epoch).exists()):
                continue
            try:
                with safe_open(self._state_of(epoch), framework="pt") as file:
                    mean, square = file.get_tensor("mean"), file.get_tensor("square")
                    steps, layout = int(file.metadata()["steps"]), file.metadata()["layout"]
                saved = load_file(self.folder_of(epoch) / WEIGHTS)
            except (OSError, SafetensorError, KeyError, TypeError, ValueError):
                continue  # a damaged state only costs the time to train again
            if layout != _LAYOUT:
                continue  # an older version's
            with torch.no_grad():
                for name, master in lora.tensors().items():
                    master.copy_(saved[name])
                lora.mean.copy_(mean)
                lora.square.copy_(square)
            lora.steps = steps
            lora.refresh()
            return epoch
        return 0


def _text(tokenizer: ChatTokenizer, conversation: Conversation) -> Text:
    """The conversation as it will be asked, and its answer with the end of turn. Raises TooLong."""
    from shouldtune.tuning.training import Text

    prompt = tuple(tokenizer.prompt(conversation.messages))
    text = Text(prompt, (*tokenizer.encode(conversation.answer), tokenizer.end_of_turn()))
    window = tokenizer.config.window
    if text.length > window:
        raise TooLong(
            f"a training text of {text.length} tokens does not fit the window of {window}", hint="shorten the example"
        )
    return text


__all__ = ["LocalTunable", "epoch_batches", "learning_rate", "training_key"]
