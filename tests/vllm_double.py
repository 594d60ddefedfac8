"""`vllm serve` as far as we use it, with our own engine behind it: adapters are really loaded, and really answer.

python vllm_double.py serve FOLDER --port P ... [--double-say TEXT] [--double-die-after N] [--double-refuse TEXT] ...
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from aiohttp import web  # noqa: E402

from shouldtune.models.prompted import options_from_dict  # noqa: E402
from shouldtune.types import Message  # noqa: E402


class Double:
    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.models: dict[str, Any] = {}
        self.answered = 0
        if asked.double_say is None:
            from shouldtune.models.local import open_local

            self.models[asked.served_model_name] = open_local(f"hf:{asked.place}")
        else:
            self.models[asked.served_model_name] = None

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/health", self.well)
        app.router.add_get("/version", self.version)
        app.router.add_get("/v1/models", self.served)
        app.router.add_post("/v1/load_lora_adapter", self.load)
        app.router.add_post("/v1/chat/completions", self.answer)
        return app

    async def well(self, request: web.Request) -> web.Response:
        return web.Response()

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "9.9.9"})

    async def served(self, request: web.Request) -> web.Response:
        self.allowed(request)
        root = str(self.asked.place)
        return web.json_response({"data": [{"id": name, "root": root, "parent": None} for name in self.models]})

    async def load(self, request: web.Request) -> web.Response:
        self.allowed(request)
        body = await request.json()
        if os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") != "True" or not self.asked.enable_lora:
            return web.json_response({"detail": "Not Found"}, status=404)
        base = self.models[self.asked.served_model_name]
        self.models[body["lora_name"]] = base and base.with_adapter(Path(body["lora_path"]))
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def answer(self, request: web.Request) -> web.Response:
        self.allowed(request)
        body = await request.json()
        if body["model"] not in self.models:
            return web.json_response({"error": {"message": f"The model `{body['model']}` does not exist."}}, status=404)
        self.answered += 1
        if self.answered == self.asked.double_die_after:
            sys.stderr.write("RuntimeError: the double dies\n")
            sys.stderr.flush()
            os._exit(3)
        await asyncio.sleep(self.asked.double_takes)
        text, model = self.asked.double_say, self.models[body["model"]]
        if model is not None:
            options = options_from_dict({"max_tokens": body["max_tokens"]})
            said = [Message(each["role"], each["content"]) for each in body["messages"]]
            text = (await model.complete(said, options)).text
        if text == "$GPU":
            text = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        if text == "$KEYS":
            text = " ".join(sorted(name for name in os.environ if name.endswith("_KEY")))
        message = {"message": {"content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        return web.json_response({"choices": [message], "usage": usage, "model": body["model"]})

    def allowed(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {os.environ['VLLM_API_KEY']}":
            raise web.HTTPUnauthorized


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("place", type=Path)
    for flag in ("host", "served-model-name", "generation-config", "chat-template", "gpu-memory-utilization"):
        parser.add_argument(f"--{flag}")
    for flag in ("port", "max-lora-rank", "max-loras", "max-cpu-loras", "double-die-after"):
        parser.add_argument(f"--{flag}", type=int)
    for flag in ("enable-lora", "enable-prefix-caching"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--double-say")
    parser.add_argument("--double-refuse")
    parser.add_argument("--double-child", type=Path)
    for flag in ("double-takes", "double-comes-up-after"):
        parser.add_argument(f"--{flag}", type=float, default=0.0)
    asked = parser.parse_args()
    if asked.double_refuse is not None:
        sys.exit(f"starting\nValueError: {asked.double_refuse} with the key {os.environ['VLLM_API_KEY']}\nbye")
    if asked.double_child is not None:
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
        asked.double_child.write_text(str(subprocess.Popen([sys.executable, "-c", deaf]).pid))
    if (again := Path(f"{os.environ['SHOULDTUNE_CACHE']}/came-up-before")).exists():
        time.sleep(asked.double_comes_up_after)
    again.touch()
    web.run_app(Double(asked).app(), host=asked.host, port=asked.port, print=None)


if __name__ == "__main__":
    main()
