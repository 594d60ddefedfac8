"""Workers as Ray would run them, but as tasks in this process: they can be killed at any moment, and quickly."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from shouldtune.workers.on import On
from shouldtune.workers.wire import Recipe
from shouldtune.workers.worker import Worker


class Killed(Exception):
    """What a call on a dead worker raises, as Ray's errors of actors."""


class InProcessCluster:
    """The seam of `shouldtune.workers.cluster.Cluster`."""

    def __init__(self, room: int = 2, on: On | None = None) -> None:
        self.on = on or On()
        self.room = room
        """Workers that can be at once; the others wait for a place."""
        self.may_grow = True
        self.users = 0
        self.handles: list[Handle] = []
        self.stillborn = False
        self.opens_in = 0.0
        """Seconds that a worker takes to open its model."""
        self.is_cut = False

    def holds(self) -> int:
        return self.room

    def put(self, value: Any) -> Any:
        return Reference(value)

    def start(self, recipe: Recipe, known: Any) -> Any:
        dead = self.stillborn and bool(self.handles)
        handle = Handle(Worker(recipe.plain(), [known]), self, dead=dead)
        self.handles.append(handle)
        return handle

    def wait_for(self, reference: Any, seconds: float) -> Any:
        """The loop that the test runs in must go on meanwhile, so another one waits."""
        if not reference.handle.has_place():
            time.sleep(seconds)
            return None
        found: list[Any] = []

        def wait() -> None:
            found.append(asyncio.run(reference.call()))

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(max(seconds, 60.0))  # a busy machine is no dead worker
        return found[0]

    def end(self, worker: Any) -> None:
        worker.kill()

    def cancel(self, reference: Any) -> None:
        reference.task.cancel()

    def is_lost(self, error: BaseException) -> bool:
        return isinstance(error, Killed)

    def is_cut_off(self, error: BaseException) -> bool:
        return isinstance(error, ConnectionError)

    def cut(self) -> None:
        """Let the connection be lost: what is under way ends, and nothing can be asked any more."""
        self.is_cut = True
        for handle in self.handles:
            for each in list(handle.under_way):
                each.cancel()

    def leave(self) -> None:
        self.users -= 1

    @property
    def living(self) -> list[Handle]:
        return [handle for handle in self.handles if not handle.dead]


class Reference:
    """What `put` gives: awaited to what was put."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        return asyncio.sleep(0, self.value).__await__()


class Handle:
    """A worker from outside."""

    def __init__(self, worker: Worker, cluster: InProcessCluster, *, dead: bool) -> None:
        self.worker, self.cluster, self.dead, self.opens_in = worker, cluster, dead, cluster.opens_in
        self.under_way: set[asyncio.Future[Any]] = set()
        self.calls = 0
        """Calls that were sent to it to be answered."""
        self.trainings = 0
        self.opening = False
        self.opened = asyncio.Event()
        """Opens it before its time."""

    def __getattr__(self, method: str) -> _Method:
        return _Method(self, method)

    def has_place(self) -> bool:
        """First come, first served."""
        return self.cluster.living.index(self) < self.cluster.room

    async def begin(self) -> None:
        """Wait for a place, and for the model to be open."""
        while not self.has_place():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        self.opening = True
        if self.opens_in:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.opens_in):
                    await self.opened.wait()
        self.opens_in = 0.0

    def kill(self) -> int:
        """Let it die; how many calls it had under way. As a process that is killed, it leaves its files."""
        lost = len(self.worker._under_way)
        self.dead = True
        if self.worker._made_scratch is not None:
            self.worker._made_scratch._finalizer.detach()  # type: ignore[attr-defined]
        for each in list(self.under_way):
            each.cancel()
        return lost


class _Method:
    def __init__(self, handle: Handle, name: str) -> None:
        self.handle, self.name = handle, name

    def remote(self, *given: Any) -> _Pending:
        if self.handle.cluster.is_cut:
            raise ConnectionError
        if self.name == "answer":
            self.handle.calls += len(given[1])
        self.handle.trainings += self.name == "train"
        return _Pending(self.handle, self.name, given)


class _Pending:
    """A call under way; without a loop it begins when somebody waits for it."""

    def __init__(self, handle: Handle, name: str, given: Sequence[Any]) -> None:
        self.handle, self.name, self.given = handle, name, given
        try:
            self.task: Any = asyncio.ensure_future(self.call())
        except RuntimeError:
            self.task = None
            return
        handle.under_way.add(self.task)
        self.task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[Any]) -> None:
        self.handle.under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have left

    async def call(self) -> Any:
        if self.handle.dead:
            raise Killed
        if self.name == "who":
            await self.handle.begin()
        return await getattr(self.handle.worker, self.name)(*self.given)

    def __await__(self) -> Any:
        return self._waited().__await__()

    async def _waited(self) -> Any:
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self.handle.cluster.is_cut:
                raise ConnectionError from None
            if self.handle.dead:
                raise Killed from None
            raise
