"""A model that vLLM serves: `vllm:FOLDER`, `vllm:smollm2`, or `vllm:NAME` for what it finds on the hub.

One server for each GPU, started with the first call and stopped when the models are closed or this process ends; or
those at SHOULDTUNE_VLLM_URL. All models of one base, tuned or not, share them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shouldtune.errors import CannotMeasure, InputError, ModelUnavailable
from shouldtune.models.adapter import adapter_sha256
from shouldtune.models.local import LocalModel, folder_sha256, open_local
from shouldtune.models.providers import checked_url
from shouldtune.models.vllm_process import ARGUMENTS, GPU_SHARE, SHARED_WITH_TRAINING, Weights, gpus
from shouldtune.models.vllm_server import CONCURRENCY, VllmServer
from shouldtune.types import Completion, Message, ModelSpec, Options

PREFIX = "vllm:"
URL = "SHOULDTUNE_VLLM_URL"
"""The variable with the addresses, commas between, of servers that run already."""
RESTARTS = 3
"""How often servers are started again that ended by themselves."""


class Fleet:
    """The servers of one base. One event loop uses it."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._servers: list[VllmServer] = []
        self._coming: asyncio.Task[None] | None = None
        self._restarts = 0
        self._closings = 0

    @property
    def size(self) -> int:
        """How many servers there are, or would be."""
        return len(self._servers) or len(_addresses()) or max(1, len(gpus()))

    async def answer(
        self, adapter: tuple[str, Path] | None, messages: Sequence[Message], options: Options
    ) -> Completion:
        """From the server that has the least to do; from another, or one started anew, where that ended meanwhile."""
        closings = self._closings
        while True:
            if self._closings != closings:
                raise CannotMeasure("the model was closed while it was asked")
            server = await self._free()
            starts = server.starts
            try:
                completion, seconds = await server.ask(adapter, messages, options)
            except CannotMeasure:
                if await server.has_run_since(starts):
                    raise
                continue
            if completion.failed and not await server.has_run_since(starts):
                continue
            return replace(completion, engine=server.engine, compute_s=None if completion.failed else seconds)

    async def aclose(self) -> None:
        """Stop the servers; a later call would start them again."""
        servers, self._servers, self._restarts = self._servers, [], 0
        self._closings += 1
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
            self._coming = None
        await asyncio.gather(*(server.stop() for server in servers))

    async def _free(self) -> VllmServer:
        if not self._servers:
            addresses = _addresses()
            self._servers = [VllmServer(self.weights, url=url) for url in addresses]
            found: list[str | None] = [*gpus()]
            if not addresses:
                self._servers = [VllmServer(self.weights, gpu=gpu, share=_share()) for gpu in found or [None]]
        servers = self._servers
        while not all(server.runs for server in servers):
            if self._coming is None or self._coming.done():
                self._coming = asyncio.ensure_future(self._come(servers))
            await asyncio.shield(self._coming)
        return min(servers, key=lambda server: server.under_way)

    async def _come(self, servers: Sequence[VllmServer]) -> None:
        """Start what does not run, all at once."""
        down = [server for server in servers if not server.runs]
        if any(server.starts for server in down):
            self._restarts += 1
            if self._restarts > RESTARTS:
                raise down[0].gone(f"vLLM's server ended {self._restarts} times by itself")
        done = await asyncio.gather(*(server.start() for server in down), return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException):
                raise each


_FLEETS: dict[Weights, Fleet] = {}


@dataclass(frozen=True)
class VllmModel:
    """A base, or the base with an adapter, on a fleet; see `open_vllm`."""

    id: str
    revision: str | None
    """Hash of the files that decide its answers; None for a name on the hub."""
    fleet: Fleet
    local: LocalModel | None = None
    """The same weights for our own engine, which trains them; None where it cannot."""
    adapter: Path | None = None
    adapter_sha256: str | None = None

    @property
    def concurrency(self) -> int:
        """Calls under way at once, at most."""
        return CONCURRENCY * self.fleet.size

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """An answer. CannotMeasure where no server can be had."""
        named = None
        if self.adapter is not None and self.adapter_sha256 is not None:
            named = (f"tuned-{self.adapter_sha256[:16]}", self.adapter)
        return await self.fleet.answer(named, messages, options)

    def spec(self) -> ModelSpec:
        adapter = None if self.adapter is None else {"sha256": self.adapter_sha256, "path": str(self.adapter)}
        told = os.environ.get(ARGUMENTS, "").split()
        return {
            "kind": "vllm",
            "model": self.id,
            "revision": self.revision,
            "engine": "vllm, joined" if _addresses() else "vllm",  # who knows how that one was started
            "adapter": adapter,
            **({"arguments": " ".join(told)} if told else {}),
        }

    def with_adapter(self, folder: Path, expected_sha256: str | None = None) -> VllmModel:
        """The same base with the adapter in `folder`. Raises ModelUnavailable when it is missing or another one."""
        found = adapter_sha256(folder)
        if expected_sha256 not in (None, found):
            raise ModelUnavailable("the adapter is not the one that was saved", where=folder)
        local = None if self.local is None else self.local.with_adapter(folder, found)
        return replace(self, adapter=folder.resolve(), adapter_sha256=found, local=local)

    async def aclose(self) -> None:
        await self.fleet.aclose()


def open_vllm(model_id: str) -> VllmModel:
    """The model that an id names; nothing is started yet. InputError, ModelUnavailable."""
    place = model_id.removeprefix(PREFIX)
    if not place.strip() or place.startswith("-"):
        raise InputError(
            f"{model_id!r} names no model", hint=f"{PREFIX}FOLDER, {PREFIX}smollm2 or {PREFIX}ORGANISATION/NAME"
        )
    folder = Path(place).expanduser()
    local: LocalModel | None = None
    if place == "smollm2":
        local = open_local(place)
        folder = local.identity.folder
    elif not folder.is_dir():
        return VllmModel(model_id, None, _fleet(Weights(place)))
    else:
        try:
            local = open_local(f"hf:{folder}")
        except ModelUnavailable:  # an architecture that vLLM knows and our engine does not, or no engine here
            local = None
    folder = folder.resolve()
    if local is None:
        return VllmModel(model_id, folder_sha256(folder), _fleet(Weights(str(folder))))
    return VllmModel(model_id, local.identity.revision, _fleet(Weights(str(folder), folder, True)), local)


def _fleet(weights: Weights) -> Fleet:
    return _FLEETS.setdefault(weights, Fleet(weights))


def _share() -> float:
    """Of a GPU's memory for one server, where every fleet has one on each."""
    trains = any(weights.takes_adapters for weights in _FLEETS)
    return (SHARED_WITH_TRAINING if trains else GPU_SHARE) / max(1, len(_FLEETS))


def _addresses() -> list[str]:
    return [checked_url(url.strip()) for url in os.environ.get(URL, "").split(",") if url.strip()]
