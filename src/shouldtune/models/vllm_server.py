"""One vLLM server: a process of ours on a port of the loopback interface, or one that runs already.

https://docs.vllm.ai/en/latest/cli/serve.html; adapters come and go as it runs by `/v1/load_lora_adapter`
(https://docs.vllm.ai/en/latest/features/lora.html).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from shouldtune.errors import CannotMeasure
from shouldtune.files import cache_root
from shouldtune.models.api_keys import hide, key_of
from shouldtune.models.attempts import patience_for, timeout_s
from shouldtune.models.chat_tokenizer import fixed_template
from shouldtune.models.providers import PROVIDERS
from shouldtune.models.remote import Remote
from shouldtune.types import Completion, Message, Options

COMMAND = "SHOULDTUNE_VLLM"
"""The variable that says how vLLM is started, where it is not `vllm` on the PATH: it lives in an environment of its
own."""
ARGUMENTS = "SHOULDTUNE_VLLM_ARGS"
"""The variable with further arguments for `vllm serve`; they come last, so they win."""
KEY = "VLLM_API_KEY"
"""vLLM's own variable for the key that it wants."""
BASE = "base"
"""What the weights without an adapter are called there."""
CONCURRENCY = 256
"""Calls under way at once at one server, at most: what it can make a batch of by itself."""
START_S = 1800.0
"""Weights may have to be downloaded first."""
NOTICED = 10
"""Looks, a tenth of a second apart, for the end of a process whose call has failed."""
LORA_RANK, IN_BATCH, IN_MEMORY = 16, 4, 32
"""The highest rank of an adapter, how many one batch mixes, how many are kept at hand."""
GPU_SHARE = 0.6
"""Of a GPU's memory, where a training may need the rest."""


@dataclass(frozen=True)
class Weights:
    """What a server holds."""

    place: str
    """A folder's path, or a name on the hub."""
    template: Path | None = None
    """The folder whose chat template is told to it, word for word; None leaves the model's own."""
    takes_adapters: bool = False


class VllmServer:
    """A server and what it has under way. One event loop uses it."""

    def __init__(self, weights: Weights, *, url: str | None = None, gpu: str | None = None) -> None:
        """`url`: of one that runs already, ending in `/v1`. `gpu`: as CUDA_VISIBLE_DEVICES names it."""
        self.weights, self.gpu = weights, gpu
        self.joined = url is not None
        self.url = url or ""
        self.engine = "vllm"
        """With its version, once that is known."""
        self.starts = 0
        self.under_way = 0
        self.shared = SharedTime()
        self._name = BASE
        self._keeper: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None
        self._told: Path | None = None
        """The chat template that it was told."""
        self._asked: dict[str, Remote] = {}
        self._loaded: dict[str, asyncio.Task[None]] = {}

    @property
    def runs(self) -> bool:
        """Whether it was started, and has not ended since; of a joined one nobody knows better."""
        return self.starts > 0 and (self.joined or (self._keeper is not None and self._keeper.poll() is None))

    async def has_run_since(self, starts: int) -> bool:
        """Whether it is the one that it was, and so nothing to do with a call that failed."""
        for _ in range(NOTICED):  # connections break a moment before the process is seen to have ended
            if self.joined or not self.runs or self.starts != starts:
                break
            await asyncio.sleep(0.1)
        return self.runs and self.starts == starts

    async def start(self) -> None:
        """Come up, or join. CannotMeasure with the last lines of what vLLM said."""
        if self.joined:
            await self._join()
        else:
            await self._launch()
        self.starts += 1

    async def ask(
        self, adapter: tuple[str, Path] | None, messages: Sequence[Message], options: Options
    ) -> tuple[Completion, float]:
        """(the answer, its share of the server's time in seconds). CannotMeasure as `Remote` does."""
        name = self._name
        if adapter is not None:
            name = adapter[0]
            await self._load(*adapter)
        if name not in self._asked:
            seconds = timeout_s()
            self._asked[name] = Remote(name, self.url, KEY, seconds, CONCURRENCY, patience_for(seconds))
        since = self.shared.enter()
        self.under_way += 1
        try:
            completion = await self._asked[name].complete(messages, options)
        finally:
            self.under_way -= 1
            seconds = self.shared.leave(since)
        return completion, seconds

    async def stop(self) -> None:
        """End connections, and the process if it is ours."""
        for remote in self._asked.values():
            await remote.aclose()
        self._asked.clear()
        self._loaded.clear()
        await self._end_process()
        if self._log is not None and self.starts:  # of one that never came up, it says why
            self._log.unlink(missing_ok=True)
        if self._told is not None:
            self._told.unlink(missing_ok=True)
        self.starts = 0

    # ------------------------------------------------------------ a process of ours

    async def _launch(self) -> None:
        self._loaded.clear()
        await self._end_process()  # the one before it, of which something may be left
        if not os.environ.get(KEY):  # other users of this machine reach the loopback interface too
            os.environ[KEY] = secrets.token_urlsafe(24)
        port = _port_of(self.url) if self.url else _free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        self._log = _logs() / f"vllm-{os.getpid()}-{port}.log"
        if self.weights.template is not None:
            self._told = self._log.with_suffix(".jinja")
            self._told.write_text(fixed_template(self.weights.template), encoding="utf-8")
        command = serve_command(self.weights, port, self._told)
        environment = _environment(self.gpu, adapters=self.weights.takes_adapters)
        self._keeper = _kept_running(command, self._log, environment)
        until = monotonic() + START_S
        while not await self._answers():
            if self._keeper.poll() is not None:
                raise self._did_not_start(command, f"it ended with status {self._keeper.returncode}")
            if monotonic() > until:
                raise self._did_not_start(command, f"it does not answer after {START_S:.0f} s")
            await asyncio.sleep(0.5)
        self.engine = await self._version()

    async def _answers(self) -> bool:
        status, _ = await self._get(f"{self.url.removesuffix('/v1')}/health")
        return status == 200

    async def _version(self) -> str:
        status, said = await self._get(f"{self.url.removesuffix('/v1')}/version")
        version = said.get("version") if status == 200 else None
        return f"vllm-{version}" if isinstance(version, str) else "vllm"

    def _did_not_start(self, command: Sequence[str], why: str) -> CannotMeasure:
        said = ""
        with suppress(OSError):
            lines = (self._log or Path()).read_text(encoding="utf-8", errors="replace").splitlines()
            telling = [line.strip() for line in lines if "error" in line.lower()] or lines
            said = f": {hide(telling[-1].strip(), key_of(KEY))[:300]}" if telling else ""
        hint = f"its own words are in {self._log}"
        if shutil.which(command[0]) is None:
            hint = f"install vLLM in an environment of its own, and say where: export {COMMAND}=/path/to/bin/vllm"
        return CannotMeasure(f"vLLM does not start: {why}{said}", hint=hint)

    async def _end_process(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await asyncio.to_thread(_end, keeper)

    # ------------------------------------------------------------ one that runs already

    async def _join(self) -> None:
        status, said = await self._get(f"{self.url}/models")
        if status != 200:
            raise CannotMeasure(
                f"no vLLM server answers at {self.url}" + (f": HTTP {status}" if status else ""),
                hint=f"does it run, and does it want a key? {KEY} holds it",
            )
        served = [model for model in said.get("data", []) if isinstance(model, dict) and not model.get("parent")]
        wanted = Path(self.weights.place).name
        fits = [model for model in served if Path(str(model.get("root") or model.get("id"))).name == wanted]
        if not fits:
            names = ", ".join(str(model.get("root") or model.get("id")) for model in served) or "nothing"
            raise CannotMeasure(
                f"the vLLM server at {self.url} serves {names}, and not {self.weights.place}",
                hint="its answers would be those of another model",
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


def serve_command(weights: Weights, port: int, template: Path | None = None) -> list[str]:
    """What starts a server; `SHOULDTUNE_VLLM` and `SHOULDTUNE_VLLM_ARGS` are looked at."""
    command = [*shlex.split(os.environ.get(COMMAND, "") or "vllm"), "serve", weights.place]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", BASE]
    command += ["--generation-config", "vllm", "--enable-prefix-caching"]
    if template is not None:
        command += ["--chat-template", str(template)]
    if weights.takes_adapters:
        command += ["--enable-lora", "--max-lora-rank", str(LORA_RANK)]
        command += ["--max-loras", str(IN_BATCH), "--max-cpu-loras", str(IN_MEMORY)]
        command += ["--gpu-memory-utilization", str(GPU_SHARE)] if gpus() else []
    return command + shlex.split(os.environ.get(ARGUMENTS, ""))


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none without NVIDIA's tools."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [each.strip() for each in told.split(",") if each.strip() not in ("", "-1")]
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    try:
        found = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index, line in enumerate(found.stdout.splitlines()) if line.startswith("GPU ")]


def _environment(gpu: str | None, *, adapters: bool) -> dict[str, str]:
    """This process's, without keys of providers, which are none of a server's business."""
    keys = {provider.key_variable for provider in PROVIDERS}
    environment = {name: value for name, value in os.environ.items() if name not in keys}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    if adapters:
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    return environment


def _kept_running(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Away from the terminal's group, so that Ctrl-C does not reach it before the run has ended in order."""
    keeper = [sys.executable, "-m", "shouldtune.models.vllm_keeper", str(log), *command]
    return subprocess.Popen(keeper, stdin=subprocess.PIPE, env=environment, start_new_session=True)  # noqa: S603


def _end(keeper: subprocess.Popen[bytes]) -> None:
    if keeper.stdin is not None:
        keeper.stdin.close()
    try:
        keeper.wait(30)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()


def _logs() -> Path:
    folder = cache_root() / "vllm"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port_of(url: str) -> int:
    return int(url.removesuffix("/v1").rpartition(":")[2])
