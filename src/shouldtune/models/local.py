"""A model that runs in this process.

Nothing heavy is imported until a call must really be computed: a run that is replayed from its ledger,
`spec()` and `--help` never load torch.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

from shouldtune.errors import InputError, ModelUnavailable
from shouldtune.models import gguf_cache
from shouldtune.models.batching import Identity, ask, tell
from shouldtune.models.engine import PACKAGES, Engine
from shouldtune.models.llama_config import LlamaConfig
from shouldtune.types import Completion, Message, ModelSpec, Options


class LocalModel:
    """A model on this machine; see `open_local`."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def spec(self) -> ModelSpec:
        """The model as plain data."""
        who = self.identity
        adapter = None if who.adapter is None else {"sha256": who.adapter_sha256, "path": str(who.adapter)}
        return {
            "kind": "local",
            "model": who.id,
            "revision": who.revision,
            "engine": who.engine.name,
            "adapter": adapter,
        }

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """Answer a chat, together with whatever else is waiting. A failure is a Completion with `error`."""
        return await ask(self.identity, messages, options)

    def stream(
        self, messages: Sequence[Message], options: Options = Options()
    ) -> AsyncGenerator[str | Completion, None]:
        """The same as it is made."""
        return tell(self.identity, messages, options)

    def with_adapter(self, folder: Path, expected_sha256: str | None = None) -> LocalModel:
        """The same base with the adapter in `folder`. Raises ModelUnavailable when it is missing or another one."""
        from shouldtune.models.adapter import adapter_sha256

        found = adapter_sha256(folder)
        if expected_sha256 not in (None, found):
            raise ModelUnavailable("the adapter is not the one that was saved", where=folder)
        return LocalModel(replace(self.identity, adapter=folder.resolve(), adapter_sha256=found))


def open_local(model_id: str, engine: str | None = None) -> LocalModel:
    """The local model that an id names: `smollm2`, `gguf:PATH` or `hf:FOLDER`; its weights load on the first call.

    `engine` is one of Engine's names; without it the quickest on this machine. Raises InputError for another
    id, ModelUnavailable when the model or a package is missing or the files cannot be used.
    """
    gguf_cache.check_packages(PACKAGES)
    chosen = Engine.fastest() if engine is None else Engine.named(engine)
    if model_id == "smollm2":
        converted = gguf_cache.convert(gguf_cache.smollm2_gguf(), "SmolLM2-135M-Instruct")
        return LocalModel(Identity(model_id, converted.folder, converted.sha256, chosen))
    kind, _, place = model_id.partition(":")
    path = Path(place).expanduser()
    if kind == "gguf" and place:
        converted = gguf_cache.convert(path, path.stem)
        return LocalModel(Identity(model_id, converted.folder, converted.sha256, chosen))
    if kind == "hf" and place:
        LlamaConfig.read(path)  # a folder of another architecture is refused here, before its weights are hashed
        return LocalModel(Identity(model_id, path.resolve(), folder_sha256(path), chosen))
    raise InputError(f"{model_id!r} names no local model", hint="smollm2, gguf:PATH or hf:FOLDER")


def folder_sha256(folder: Path) -> str:
    """A Hugging Face folder's identity: everything that decides its answers. ModelUnavailable."""
    index = folder / "model.safetensors.index.json"
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelUnavailable("the folder holds no safetensors", where=folder, hint="pickled weights are never read")
    optional = (index, folder / "tokenizer_config.json", folder / "chat_template.jinja")
    named = [folder / "config.json", folder / "tokenizer.json", *(path for path in optional if path.exists())]
    return gguf_cache.sha256_of(*named, *weights)
