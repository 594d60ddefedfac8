"""Servers on the loopback interface for tests. Each runs in a thread of its own, so that a command in another process
can call it, and so that it outlives whoever asks it."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Self

from aiohttp import web

SHUTDOWN_S = 0.1
"""For answers under way when the test is over."""
LONGEST_BODY = 2**26


@dataclass
class Loopback(ABC):
    """What `app` answers, at an address of its own."""

    url: str = field(default="", init=False)

    @abstractmethod
    def app(self) -> web.Application:
        """The routes, below /v1."""

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve on a free port until the block ends."""
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def start() -> web.AppRunner:
            runner = web.AppRunner(self.app(), shutdown_timeout=SHUTDOWN_S)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            return runner

        def work() -> None:
            runner = loop.run_until_complete(start())
            ready.set()
            loop.run_forever()
            loop.run_until_complete(runner.cleanup())
            loop.close()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert ready.wait(60)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(60)


@dataclass
class ChatServer(Loopback):
    """Chat completions, counted."""

    path: ClassVar[str] = "/v1/chat/completions"
    asked: Counter[str] = field(default_factory=Counter, init=False)
    """How often each request came, by a hash."""
    under_way: int = field(default=0, init=False)
    most_at_once: int = field(default=0, init=False)

    @abstractmethod
    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""

    @property
    def model_id(self) -> str:
        """The id under which a task file names it."""
        return f"{self.url}#m"

    def app(self) -> web.Application:
        app = web.Application(client_max_size=LONGEST_BODY)
        app.router.add_post(self.path, self.handle)
        return app

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A request is under way while the block runs."""
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            yield
        finally:
            self.under_way -= 1
