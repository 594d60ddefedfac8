"""A chat server on the loopback interface that counts what it is asked and adds up the bill, whatever it tells."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from shouldtune.judgement import Price

Usage = Mapping[str, Any] | None


@dataclass
class CountingServer:
    """Answers are made from the question alone, so that two servers of one kind answer alike."""

    answer: Callable[[str], str] = lambda question: "wrong"
    """From the last message to the answer."""
    usage: Callable[[int, int, int], Usage] = lambda read, written, cached: {
        "prompt_tokens": read,
        "completion_tokens": written,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    """What it tells of tokens, from what is true."""
    worst: bool = False
    """Whether every answer takes as many tokens as are allowed, and every byte is a token."""
    latency_s: float = 0.001
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each request came, by the hash of its messages and how much may be answered."""
    under_way: int = 0
    most_at_once: int = 0
    tokens: list[tuple[int, int, int]] = field(default_factory=list)
    """(read, written, of the read ones cached) of every call, as billed."""

    @property
    def calls(self) -> int:
        return len(self.tokens)

    def billed(self, price: Price) -> float:
        """Dollars for every call that came, answered or not."""
        return sum(price.of(*each) or 0.0 for each in self.tokens)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = self.answer(body["messages"][-1]["content"])
        size = sum(len(message["content"].encode()) for message in body["messages"])
        read, written, cached = size // 3, len(text) // 4 + 1, size // 6
        if self.worst:
            read, written, cached = size + 4 * len(body["messages"]), body["max_tokens"], 0
        said = [[message["role"], message["content"]] for message in body["messages"]]
        name = json.dumps({"messages": said, "max_tokens": body["max_tokens"]}, sort_keys=True)
        self.asked[hashlib.sha256(name.encode()).hexdigest()] += 1
        self.tokens.append((read, written, cached))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(self.latency_s * (1 + self.calls % 5))
        finally:
            self.under_way -= 1
        reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "model": "m"}
        usage = self.usage(read, written, cached)
        return web.json_response(reply if usage is None else {**reply, "usage": usage})


@contextmanager
def serving(server: CountingServer) -> Iterator[CountingServer]:
    """The server in a thread of its own, so that a command in another process can call it."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    def work() -> None:
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
