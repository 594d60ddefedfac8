"""For a library without coroutines: it runs in a thread, and what it asks of our models is awaited in the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

Found = TypeVar("Found")


class Ended(Exception):
    """Nothing more can be asked: whoever waits for the thread was cancelled."""


class Bridge:
    """The thread's way to the event loop that started it. Made in the loop, used in the thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: Future[Any] | None = None
        self._closed = False

    def wait_for(self, asked: Coroutine[Any, Any, Found]) -> Found:
        """What the coroutine returns or raises; Ended where the bridge is closed before it has. Blocks the thread."""
        with self._lock:
            if self._closed:
                asked.close()
                raise Ended
            waiting = asyncio.run_coroutine_threadsafe(asked, self._loop)  # who pays (a context variable) goes with it
            self._waiting = waiting
        try:
            return waiting.result()
        except CancelledError:
            raise Ended from None

    def close(self) -> None:
        """Cancel what is under way, and begin nothing more."""
        with self._lock:
            self._closed = True
            if self._waiting is not None:
                self._waiting.cancel()


async def in_a_thread(work: Callable[[Bridge], Found]) -> Found:
    """What `work` returns, run in a thread of its own. Cancelled, it ends the thread before it lets go."""
    bridge = Bridge()
    thread = asyncio.create_task(asyncio.to_thread(work, bridge))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        bridge.close()
        await asyncio.wait([thread])
        if not thread.cancelled():
            thread.exception()  # looked at, so that nobody is told that it was not
        raise
