"""A chat server on the loopback interface that counts what it is asked and goes wrong on purpose, alike each time.

with FaultyServer(answer, faults={"429": 0.1, "malformed": 0.1}, seed=3).running() as server:
    model = open_model(server.model_id)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar

from aiohttp import web

from shouldtune.types import Message, Model, Options
from tests.loopback import ChatServer

Body = dict[str, Any]
FAULTS = (
    "429",
    "500",
    "503",
    "timeout",
    "lost",
    "malformed",
    "truncated",
    "error_in_200",
    "redirect",
    "wrong_usage",
    "no_usage",
    "ignores_form",
)


def scripted(model: Model) -> Callable[[Body], str]:
    """The answers of a double, given over HTTP: it draws the same in every process."""

    def answer(body: Body) -> str:
        messages = [Message(said["role"], said["content"]) for said in body["messages"]]
        completion = asyncio.run_coroutine_threadsafe(model.complete(messages, Options()), _loop()).result()
        return completion.text

    return answer


def _loop() -> asyncio.AbstractEventLoop:
    """A loop beside the server's own, for doubles, whose `complete` never waits."""
    if not _beside:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        _beside.append(loop)
    return _beside[0]


_beside: list[asyncio.AbstractEventLoop] = []


@dataclass
class FaultyServer(ChatServer):
    """Whether a reply is faulty, and how, hangs on the seed, the request, and how often it has come before.

    Requests are told apart by their whole bodies.
    """

    path: ClassVar[str] = "/{tail:.*}"
    answer: Callable[[Body], str] = lambda body: "hello"
    faults: Mapping[str, float] = field(default_factory=dict)
    """How often each kind of fault comes, as a share of all replies."""
    first: Sequence[str] = ()
    """Faults of the first replies to each request, in their order; `""` is none."""
    seed: int = 0
    retry_after: str | None = None
    """The header of a 429 or 503."""
    error: Any = "on purpose"
    """What an error body says."""
    location: str = "http://169.254.169.254/latest/meta-data"
    hang_s: float = 5.0
    latency_s: float = 0.0
    refuses: Mapping[str, str] = field(default_factory=dict)
    """Fields of a request that are answered with 400, and what it says."""
    came: list[tuple[float, str]] = field(default_factory=list)
    """(monotonic seconds, hash) of each request, in the order of their coming."""
    bodies: list[Body] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    gone_wrong: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    """Replies that are billed: answers, and those that nobody waited for."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, or go wrong."""
        raw = await request.read()
        name = hashlib.sha256(raw).hexdigest()
        body = json.loads(raw)
        self.came.append((monotonic(), name))
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.asked[name] += 1
        with self.one_more():
            await asyncio.sleep(self.latency_s)
            return await self._reply(request, body, self._fault(name))

    def _fault(self, name: str) -> str:
        times = self.asked[name]
        if times <= len(self.first):
            return self.first[times - 1]
        drawn = int.from_bytes(hashlib.sha256(f"{self.seed} {name} {times}".encode()).digest()[:8], "big") / 2**64
        for fault, share in self.faults.items():
            if drawn < share:
                return fault
            drawn -= share
        return ""

    async def _reply(self, request: web.Request, body: Body, fault: str) -> web.StreamResponse:
        for name, says in self.refuses.items():
            if name in body:
                return web.json_response({"error": {"message": says, "param": name}}, status=400)
        if fault:
            self.gone_wrong[fault] += 1
        if fault.isdigit():
            waits = {"Retry-After": self.retry_after} if self.retry_after is not None and fault != "500" else {}
            return web.json_response({"error": self.error}, status=int(fault), headers=waits)
        if fault == "redirect":
            return web.Response(status=307, headers={"Location": self.location})
        if fault == "error_in_200":
            return web.json_response({"error": self.error})
        self.answered += 1
        if fault == "timeout":
            await asyncio.sleep(self.hang_s)
        if fault == "lost" and request.transport is not None:
            request.transport.abort()
        return self._answered(body, fault)

    def _answered(self, body: Body, fault: str) -> web.Response:
        text = self.answer(body)
        form = (body.get("response_format") or {}).get("json_schema", {}).get("schema", {})
        if "label" in form.get("properties", {}) and fault != "ignores_form":
            text = json.dumps({"label": text})
        size = sum(len(said["content"]) for said in body["messages"])
        usage: dict[str, Any] | None = {"prompt_tokens": size // 4 + 1, "completion_tokens": len(text) // 4 + 1}
        if fault in ("wrong_usage", "no_usage"):
            usage = None if fault == "no_usage" else {"prompt_tokens": -3, "completion_tokens": "many"}
        ended = "length" if fault == "truncated" else "stop"
        text = text[: len(text) // 2] if fault == "truncated" else text
        reply = {"choices": [{"message": {"content": text}, "finish_reason": ended}], "model": "m-1", "usage": usage}
        told = json.dumps(reply)
        return web.Response(text=told[: len(told) // 2] if fault == "malformed" else told)
