"""How a vLLM server is started as a process of ours, and ended.

https://docs.vllm.ai/en/latest/cli/serve.html
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shouldtune.files import cache_root
from shouldtune.models.providers import PROVIDERS

COMMAND = "SHOULDTUNE_VLLM"
"""The variable that says how vLLM is started, where it is not `vllm` on the PATH: it lives in an environment of its
own."""
ARGUMENTS = "SHOULDTUNE_VLLM_ARGS"
"""The variable with further arguments for `vllm serve`; they come last, so they win."""
LORA_RANK, IN_BATCH, IN_MEMORY = 16, 4, 32
"""The highest rank of an adapter, how many one batch mixes, how many are kept at hand."""
GPU_SHARE, SHARED_WITH_TRAINING = 0.9, 0.6
"""Of a GPU's memory, for all servers on it."""


@dataclass(frozen=True)
class Weights:
    """What a server holds."""

    place: str
    """A folder's path, or a name on the hub."""
    template: Path | None = None
    """The folder whose chat template is told to it, word for word; None leaves the model's own."""
    takes_adapters: bool = False


def serve_command(
    weights: Weights, name: str, port: int, template: Path | None = None, share: float = GPU_SHARE
) -> list[str]:
    """What starts a server; `SHOULDTUNE_VLLM` and `SHOULDTUNE_VLLM_ARGS` are looked at."""
    command = [*shlex.split(os.environ.get(COMMAND, "") or "vllm"), "serve", weights.place]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", name]
    command += ["--generation-config", "vllm", "--enable-prefix-caching"]
    if template is not None:
        command += ["--chat-template", str(template)]
    if weights.takes_adapters:
        command += ["--enable-lora", "--max-lora-rank", str(LORA_RANK)]
        command += ["--max-loras", str(IN_BATCH), "--max-cpu-loras", str(IN_MEMORY)]
    command += ["--gpu-memory-utilization", f"{share:.2f}"] if gpus() else []
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


def environment_for(gpu: str | None, *, adapters: bool) -> dict[str, str]:
    """This process's, without keys of providers, which are none of a server's business."""
    keys = {provider.key_variable for provider in PROVIDERS}
    environment = {name: value for name, value in os.environ.items() if name not in keys}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    if adapters:
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    return environment


def kept_running(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Away from the terminal's group, so that Ctrl-C does not reach it before the run has ended in order."""
    keeper = [sys.executable, "-m", "shouldtune.models.vllm_keeper", str(log), *command]
    return subprocess.Popen(keeper, stdin=subprocess.PIPE, env=environment, start_new_session=True)  # noqa: S603


def end(keeper: subprocess.Popen[bytes]) -> None:
    if keeper.stdin is not None:
        keeper.stdin.close()
    try:
        keeper.wait(30)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()


def logs() -> Path:
    folder = cache_root() / "vllm"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_of(url: str) -> int:
    return int(url.removesuffix("/v1").rpartition(":")[2])
