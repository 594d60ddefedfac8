"""How much one client, and all of them together, may take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from shouldtune.serving.refused import Refused


@dataclass(frozen=True)
class Limits:
    """Each is a wall: what would pass it is refused."""

    max_tokens: int = 1024
    """Of one answer; a request that asks for more gets these."""
    at_once: int = 256
    """Requests that are answered or wait; one more is told to come back (429)."""
    answer_s: float = 120.0
    """From the whole request to the whole answer."""
    body_bytes: int = 256 * 1024
    bodies_bytes: int = 64 * 1024 * 1024
    """Of all bodies that are being read."""
    body_s: float = 20.0
    headers_s: float = 10.0
    """A connection on which no request comes for so long is closed."""
    idle_s: int = 30
    """Between two requests of one connection."""
    stall_s: float = 20.0
    """A client that takes nothing of its answer for so long is given up."""
    connections: int = 2000
    shutdown_s: int = 10
    """How long answers under way may still take when the server is told to end."""


class Places:
    """Who is being answered, and how long it takes: full is full."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.taken = 0
        self._bytes = 0
        self._took: deque[float] = deque([1.0], maxlen=32)

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for one request. Refused (429) where there is none."""
        if self.taken >= self._limits.at_once:
            raise self._full()
        self.taken += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self.taken -= 1
            self._took.append(time.monotonic() - start)

    async def body(self, chunks: AsyncIterator[bytes]) -> bytes:
        """A request's body. Refused (413, 429)."""
        size, parts = 0, []
        try:
            async for chunk in chunks:
                size += len(chunk)
                self._bytes += len(chunk)
                if size > self._limits.body_bytes:
                    raise too_large(self._limits)
                if self._bytes > self._limits.bodies_bytes:
                    raise self._full()
                parts.append(chunk)
        finally:
            self._bytes -= size
        return b"".join(parts)

    def _full(self) -> Refused:
        mean = sum(self._took) / len(self._took)
        wait = str(min(60, max(1, ceil(mean))))
        return Refused(
            429,
            "this server has as many requests as it takes; try again",
            code="rate_limit_exceeded",
            headers={"retry-after": wait},
            close=True,
        )


def too_large(limits: Limits) -> Refused:
    return Refused(413, f"the body is larger than {limits.body_bytes:,} bytes", close=True)
