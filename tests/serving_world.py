"""A served model whose answers and pace are known, asked in the process or over a real connection."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from shouldtune.models.prompted import Prompted
from shouldtune.serving import Address, serve
from shouldtune.serving.app import House, app_of
from shouldtune.serving.guard import Guard
from shouldtune.serving.limits import Limits
from shouldtune.serving.winner import Winner
from shouldtune.types import Completion, Message, Model, ModelSpec, Options

HOST = "127.0.0.1:8000"
KEY = "canary-key-0123456789"
BEARER = {"authorization": f"Bearer {KEY}"}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Words:
    """Says the words of the last message one after another, each after a pause; knows who is being answered."""

    pause: float = 0.0
    failing: Completion | None = None
    here: list[Options] = field(default_factory=list)
    """Options of the answers under way."""
    asked: list[tuple[Message, ...]] = field(default_factory=list)
    told: list[Options] = field(default_factory=list)

    async def stream(
        self, messages: Sequence[Message], options: Options = Options()
    ) -> AsyncGenerator[str | Completion, None]:
        self.asked.append(tuple(messages))
        self.told.append(options)
        self.here.append(options)
        try:
            if self.failing is not None:
                yield self.failing
                return
            words = messages[-1].content.split()[: options.max_tokens]
            for place, word in enumerate(words):
                await asyncio.sleep(self.pause)
                yield word if place == 0 else f" {word}"
            yield Completion(" ".join(words), prompt_tokens=7, completion_tokens=len(words), engine="words")
        finally:
            self.here.remove(options)

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        async for piece in self.stream(messages, options):
            if isinstance(piece, Completion):
                return piece
        raise AssertionError("a stream ends with its completion")

    def spec(self) -> ModelSpec:
        return {"kind": "words", "pause": self.pause}


def winner_of(model: Model, **more: Any) -> Winner:
    return Winner(**{"name": "toy", "rung": "zero_shot", "model": model, **more})


def house_of(model: Model | None = None, limits: Limits = Limits(), say: Any = None, **more: Any) -> House:
    made = House(winner_of(model or Prompted(Words(), "Say it."), **more), limits, say=say or (lambda line: None))
    made.warm = True
    return made


def app(house: House | None = None, keys: Sequence[str] = (), hosts: Sequence[str] = (HOST,)) -> Guard:
    return app_of(house or house_of(), hosts, keys)


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def events(self) -> list[Any]:
        lines = self.body.decode().split("\n\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line and line != "data: [DONE]"]


async def ask(
    guarded: Guard,
    method: str,
    path: str,
    body: bytes | Mapping[str, Any] = b"",
    headers: Mapping[str, str] | None = None,
    leaves_after: float | None = None,
) -> Answered:
    """One request without a network; the client goes after `leaves_after` seconds, or stays to the end."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"host": HOST, **JSON, **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in sent.items()],
    }
    waiting, got = [{"type": "http.request", "body": raw, "more_body": False}], list[Any]()

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await asyncio.sleep(3600 if leaves_after is None else leaves_after)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        got.append(message)

    await guarded(scope, receive, send)
    start: dict[str, Any] = next((m for m in got if m["type"] == "http.response.start"), {"status": 0, "headers": ()})
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answered(start["status"], found, b"".join(m.get("body", b"") for m in got))


def asked(guarded: Guard, method: str, path: str, body: Any = b"", headers: Any = None) -> Answered:
    return asyncio.run(ask(guarded, method, path, body, headers))


def chat_body(content: Any = "to be or not", **more: Any) -> dict[str, Any]:
    return {"model": "toy", "messages": [{"role": "user", "content": content}], **more}


def chat(guarded: Guard, content: Any = "to be or not", **more: Any) -> Answered:
    return asked(guarded, "POST", "/v1/chat/completions", chat_body(content, **more))


@contextmanager
def served(
    model: Model,
    keys: Sequence[str] = (),
    limits: Limits = Limits(),
    say: Callable[[str], None] = lambda line: None,
    **more: Any,
) -> Iterator[str]:
    """A real server in a thread of its own, and its address; told to end when the block ends."""
    told: list[tuple[str, Callable[[], None]]] = []
    ready = threading.Event()

    def begun(url: str, end: Callable[[], None]) -> None:
        told.append((url, end))
        ready.set()

    keep = more.pop("keep", None)
    thread = threading.Thread(
        target=serve,
        args=(winner_of(model, **more), Address(port=0), keys, limits, keep, begun, say),
    )
    thread.start()
    try:
        assert ready.wait(20)
        yield told[0][0]
    finally:
        told[0][1]()
        thread.join(30)
        assert not thread.is_alive()
