"""One vLLM server: a process of ours on a port of the loopback interface, or one that runs already.

https://docs.vllm.ai/en/latest/cli/serve.html; adapters come and go as it runs by `/v1/load_lora_adapter`
(https://docs.vllm.ai/en/latest/features/lora.html).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from shouldtune.errors import CannotMeasure
from shouldtune.models.api_keys import hide, key_of
from shouldtune.models.attempts import patience_for, timeout_s
from shouldtune.models.chat_tokenizer import fixed_template
from shouldtune.models.remote import Remote
from shouldtune.models.vllm_process import (
    COMMAND,
    GPU_SHARE,
    LORA_RANK,
    Weights,
    end,
    environment_for,
    free_port,
    kept_running,
    logs,
    port_of,
    serve_command,
)
from shouldtune.types import Completion, Message, Options

KEY = "VLLM_API_KEY"
"""vLLM's own variable for the key that it wants."""
CONCURRENCY = 256
"""Calls under way at once at one server, at most: what it can make a batch of by itself."""
START_S = 1800.0
"""Weights may have to be downloaded first."""
NOTICED = 10
"""Looks, a tenth of a second apart, for the end of a process whose call has failed."""


class VllmServer:
    """A server and what it has under way. One event loop uses it."""

    def __init__(
        self, weights: Weights, *, url: str | None = None, gpu: str | None = None, share: float = GPU_SHARE
    ) -> None:
        """`url`: of one that runs already, ending in `/v1`. `gpu`: as CUDA_VISIBLE_DEVICES names it; `share` of its
        memory."""
        self.weights, self.gpu, self.share = weights, gpu, share
        self.joined = url is not None
        self.url = url or ""
        self.engine = "vllm"
        """With its version, once that is known."""
        self.starts = 0
        self.under_way = 0
        self.shared = SharedTime()
        self._name = f"base-{secrets.token_hex(4)}"
        """Of the weights without an adapter, and of no other server's that may come by this port."""
        self._up = False
        self._log_tells = False
        self._keeper: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None
        self._told: Path | None = None
        """The chat template that it was told."""
        self._asked: dict[str, Remote] = {}
        self._loaded: dict[str, asyncio.Task[None]] = {}

    @property
    def runs(self) -> bool:
        """Whether it came up, and has not ended since; of a joined one nobody knows better."""
        return self._up and (self.joined or (self._keeper is not None and self._keeper.poll() is None))

    async def has_run_since(self, starts: int) -> bool:
        """Whether it is the one that it was, and so nothing to do with a call that failed."""
        for _ in range(NOTICED):  # connections break a moment before the process is seen to have ended
            if self.joined or not self.runs or self.starts != starts:
                break
            await asyncio.sleep(0.1)
        return self.runs and self.starts == starts

    async def start(self) -> None:
        """Come up, or join. CannotMeasure with the last lines of what vLLM said."""
        self._up = False
        self.starts += 1
        if self.joined:
            await self._join()
        else:
            await self._launch()
        self._up = True

    async def ask(
        self, adapter: tuple[str, Path] | None, messages: Sequence[Message], options: Options
    ) -> tuple[Completion, float]:
        """(the answer, its share of the server's time in seconds). CannotMeasure as `Remote` does."""
        self.under_way += 1  # before anything is waited for, so that the next call sees it
        try:
            name = self._name
            if adapter is not None:
                name = adapter[0]
                await self._load(*adapter)
            if name not in self._asked:
                seconds = timeout_s()
                self._asked[name] = Remote(name, self.url, KEY, seconds, CONCURRENCY, patience_for(seconds))
            remote, since = self._asked[name], self.shared.enter()
            try:
                completion = await remote.complete(messages, options)
            finally:
                seconds = self.shared.leave(since)
                if self._asked.get(name) is not remote:  # stopped meanwhile, and it may have connected once more
                    await remote.aclose()
        finally:
            self.under_way -= 1
        return completion, seconds

    async def stop(self) -> None:
        """End connections, and the process if it is ours."""
        self._up = False
        asked, self._asked = self._asked, {}
        self._loaded.clear()
        try:
            await asyncio.gather(*(remote.aclose() for remote in asked.values()), return_exceptions=True)
        finally:
            await self._end_process()
        if self._log is not None and not self._log_tells:
            self._log.unlink(missing_ok=True)
        if self._told is not None:
            self._told.unlink(missing_ok=True)

    # ------------------------------------------------------------ a process of ours

    async def _launch(self) -> None:
        self._loaded.clear()
        await self._end_process()  # the one before it, of which something may be left
        if not os.environ.get(KEY):  # other users of this machine reach the loopback interface too
            os.environ[KEY] = secrets.token_urlsafe(24)
        port = port_of(self.url) if self.url else free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        self._log = logs() / f"vllm-{os.getpid()}-{port}.log"
        if self.weights.template is not None:
            self._told = self._log.with_suffix(".jinja")
            self._told.write_text(fixed_template(self.weights.template), encoding="utf-8")
        self._log.unlink(missing_ok=True)  # what it said when it ran before is no news
        command = serve_command(self.weights, self._name, port, self._told, self.share)
        environment = environment_for(self.gpu, adapters=self.weights.takes_adapters)
        self._keeper = kept_running(command, self._log, environment)
        until = monotonic() + START_S
        while not await self._answers():
            if self._keeper.poll() is not None:
                raise self.gone(f"vLLM does not start: it ended with status {self._keeper.returncode}", command[0])
            if monotonic() > until:
                raise self.gone(f"vLLM does not start: it does not answer after {START_S:.0f} s", command[0])
            await asyncio.sleep(0.5)
        self.engine = await self._version()

    async def _answers(self) -> bool:
        status, said = await self._get(f"{self.url}/models")
        return status == 200 and any(each.get("id") == self._name for each in _models(said))

    async def _version(self) -> str:
        status, said = await self._get(f"{self.url.removesuffix('/v1')}/version")
        version = said.get("version") if status == 200 else None
        return f"vllm-{version}" if isinstance(version, str) else "vllm"

    def gone(self, why: str, program: str | None = None) -> CannotMeasure:
        """The error to raise where it is not there any more, with what it said last. Its log is kept then."""
        self._log_tells, said = True, ""
        with suppress(OSError):
            lines = (self._log or Path()).read_text(encoding="utf-8", errors="replace").splitlines()
            telling = [line.strip() for line in lines if "error" in line.lower()] or lines
            said = f": {hide(telling[-1].strip(), key_of(KEY))[:300]}" if telling else ""
        hint = f"its own words are in {self._log}"
        if program is not None and shutil.which(program) is None:
            hint = f"install vLLM in an environment of its own, and say where: export {COMMAND}=/path/to/bin/vllm"
        return CannotMeasure(f"{why}{said}", hint=hint)

    async def _end_process(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await asyncio.to_thread(end, keeper)

    # ------------------------------------------------------------ one that runs already

    async def _join(self) -> None:
        status, said = await self._get(f"{self.url}/models")
        if status != 200:
            raise CannotMeasure(
                f"no vLLM server answers at {self.url}" + (f": HTTP {status}" if status else ""),
                hint=f"does it run, and does it want a key? {KEY} holds it",
            )
        served = [model for model in _models(said) if not model.get("parent")]
        fits = [model for model in served if _is_at(self.weights.place, str(model.get("root") or model.get("id")))]
        if not fits:
            names = ", ".join(str(model.get("root") or model.get("id")) for model in served) or "nothing"
            raise CannotMeasure(
                f"the vLLM server at {self.url} serves {names}, and not {self.weights.place}",
                hint="its answers would be recorded as that one's; start it with this very name or path",
            )
        self._name = str(fits[0]["id"])
        self.engine = await self._version()

    # ------------------------------------------------------------ adapters

    async def _load(self, name: str, folder: Path) -> None:
        """Have an adapter at hand there; once, however many ask for it."""
        if name not in self._loaded:
            self._loaded[name] = asyncio.ensure_future(self._loading(name, folder))
        try:
            await asyncio.shield(self._loaded[name])
        except CannotMeasure:
            self._loaded.pop(name, None)
            raise

    async def _loading(self, name: str, folder: Path) -> None:
        body = {"lora_name": name, "lora_path": str(folder)}
        status, said = await self._get(f"{self.url}/load_lora_adapter", body)
        told = said.get("error") or said.get("message") or said.get("detail") or said.get("text", "")
        told = str(told.get("message", told) if isinstance(told, dict) else told)
        if status == 200 or "already been loaded" in told:
            return
        raise CannotMeasure(
            f"the vLLM server at {self.url} does not take the adapter in {folder}: HTTP {status}: {told[:200]}",
            hint="one that was started by hand needs VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora,"
            f" --max-lora-rank {LORA_RANK}, and to see this path"
            if self.joined
            else "",
        )

    async def _get(self, url: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """(status, the JSON object that came back, or {"text": ...}); status 0 where nobody answers."""
        import aiohttp

        key = key_of(KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limit = aiohttp.ClientTimeout(total=10.0 if body is None else 300.0)
        try:
            async with (
                aiohttp.ClientSession(trust_env=False, timeout=limit) as session,
                session.request(
                    "GET" if body is None else "POST", url, json=body, headers=headers, allow_redirects=False
                ) as reply,
            ):
                text = await reply.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, {}
        with suppress(ValueError):
            if isinstance(found := json.loads(text), dict):
                return reply.status, found
        return reply.status, {"text": text}


class SharedTime:
    """Seconds that each of several things under way takes of one machine, which divides itself evenly among them."""

    def __init__(self) -> None:
        self._now = 0.0
        self._at = 0.0
        self._under_way = 0

    def enter(self) -> float:
        """Begin; what it gives is to be given back by `leave`."""
        self._tick()
        self._under_way += 1
        return self._now

    def leave(self, since: float) -> float:
        """End: the seconds taken."""
        self._tick()
        self._under_way -= 1
        return self._now - since

    def _tick(self) -> None:
        at = monotonic()
        if self._under_way:
            self._now += (at - self._at) / self._under_way
        self._at = at


def _models(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `/v1/models` lists."""
    return [model for model in said.get("data") or [] if isinstance(model, dict)]


def _is_at(place: str, root: str) -> bool:
    """Whether a server's `root` is what is wanted: the same name on the hub, or the same folder."""
    return place == root or (Path(place).is_dir() and Path(root).is_dir() and Path(place).samefile(root))
