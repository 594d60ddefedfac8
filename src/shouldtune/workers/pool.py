"""Workers of one model: calls that wait are taken in batches by whoever has room, and a lost worker is replaced.

One task runs for each worker. It starts it, keeps a few batches under way on its lane, lends it to a training, and
starts another one where it is lost; what that had under way is told to be lost, and spread.py asks again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from time import monotonic
from typing import Any

from shouldtune import __version__
from shouldtune.errors import CannotMeasure
from shouldtune.models.keys import identity
from shouldtune.types import ModelSpec
from shouldtune.workers.cluster import Cluster
from shouldtune.workers.lane import Asked, Job, Lane, Lost, OnStep, Variant, give, heard, raise_from, reaching
from shouldtune.workers.wire import Lesson, Recipe, raise_told

BATCH = 32
"""Calls in one message to a worker: a message has its price, whatever is in it."""
GATHER_S = 0.002
"""For calls that are made together to be in one message."""
START_S = 600.0
"""A cluster may have to start a machine first, and its worker to load a model."""
GLANCE_S = 1.0
"""Between looks whether the run is to end, while its loop waits for a cluster."""
STILLBORN = 5
"""Workers in a row that die before their model is open, each started after the one before: then none will live."""


class Pool:
    """The workers of one model on a cluster. One event loop uses it."""

    def __init__(self, cluster: Cluster, recipe: Recipe, size: int, pairs: Sequence[tuple[str, str]] = ()) -> None:
        """Start a worker and learn from it what the model is; the others start with the first call.

        `size`: how many in all. `pairs` are what a scripted model knows. Raises what opening the model raises, and
        CannotMeasure.
        """
        self.cluster, self.recipe, self.size = cluster, recipe, size
        self.replaced = 0
        """Workers that were lost, and another one started in their place."""
        cluster.users += 1
        self._known = cluster.put(pairs)
        worker = cluster.start(recipe, self._known)
        try:
            with reaching(cluster):
                who = _waited_for(cluster, worker.who.remote())
            self._spec = _spec_of(who)
        except BaseException:
            cluster.end(worker)
            cluster.leave()
            raise
        self._first: Lane | None = Lane(worker, cluster)
        self._first.is_up = True
        self._closed = False
        self._waiting: deque[Asked] = deque()
        self._jobs: deque[Job] = deque()
        self._numbers = itertools.count()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._lanes: list[asyncio.Task[None]] = []
        self._open: list[Lane] = []
        self._endings: set[asyncio.Task[None]] = set()
        self._none_open_since = 0.0
        """When the last of them closed, or the first was begun."""
        self._stillborn = 0
        self._problem: Exception | None = None

    def spec(self) -> ModelSpec:
        """The model's, as its workers say it."""
        return self._spec

    async def ask(self, variant: Variant | None, said: str, options: dict[str, Any]) -> str:
        """A completion, or an error, as JSON. Lost where its worker was; CannotMeasure where there can be none."""
        asked = Asked(next(self._numbers), variant, said, options, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._begin()
        try:
            return await asked.answer
        except asyncio.CancelledError:
            if asked.lane is not None:
                asked.lane.leave(asked.number)
            raise

    async def train(self, lesson: Lesson, before: Any, on_step: OnStep | None = None) -> dict[str, Any]:
        """What a worker's `train` gives; it answers nothing meanwhile. Errors as those of `ask`."""
        job = Job(lesson, before, on_step, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._begin()
        return await job.answer

    async def aclose(self) -> None:
        """Stop all workers."""
        if self._closed:
            return
        self._closed = True
        for task in self._lanes:
            task.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        await asyncio.gather(*self._endings, return_exceptions=True)
        if self._first is not None:
            await self._first.end()
        self.cluster.leave()

    def _begin(self) -> None:
        """Something waits: see to it that somebody takes it."""
        if self._problem is not None:
            self._fail(self._problem)
            return
        if not self._lanes:
            self._none_open_since = monotonic()
        while len(self._lanes) < self.size:
            self._lanes.append(asyncio.create_task(self._lane()))
        self._wake()

    def _wake(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return

    def _fail(self, problem: Exception) -> None:
        """There can be no answer."""
        self._problem = problem
        answers: list[asyncio.Future[Any]] = [
            *(waiting.answer for waiting in self._waiting),
            *(job.answer for job in self._jobs),
        ]
        for answer in answers:
            give(answer, copy(problem))  # one for all would gather the tracebacks of all
        self._waiting.clear()
        self._jobs.clear()

    # ------------------------------------------------------------ one worker

    async def _lane(self) -> None:
        """Keep a worker at work, and another one after it."""
        while self._problem is None and not self._closed:
            lane: Lane | None = None
            lost = False
            try:
                with reaching(self.cluster):
                    lane, self._first = self._first or self._new(), None
                    await self._open_up(lane)
                self._open.append(lane)
                await self._work(lane)
            except Lost:
                lost = True
                self.replaced += 1
                if self._stillborn >= STILLBORN:
                    self._fail(_stillborn())
            except Exception as error:
                self._fail(error)
            finally:
                if lane is not None:
                    await self._end(lane, lost=lost)
                self._wake()

    async def _end(self, lane: Lane, *, lost: bool) -> None:
        """Let go of a worker. Who closes the pool meanwhile waits for it."""
        if lane in self._open:
            self._open.remove(lane)
            self._none_open_since = monotonic()
        ending = asyncio.create_task(lane.end(lost=lost))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        await asyncio.shield(ending)

    def _new(self) -> Lane:
        return Lane(self.cluster.start(self.recipe, self._known), self.cluster)

    async def _open_up(self, lane: Lane) -> None:
        """Wait until a worker's model is open, and see that it is that of the others. Lost, or what opening raises."""
        before = self._stillborn
        try:
            who = await self._heard_of(lane)
        except Lost:
            if self._stillborn == before:  # those that a node takes with it are one
                self._stillborn += 1
            raise
        lane.is_up = True
        if identity(_spec_of(who)) != identity(self._spec):
            raise CannotMeasure(
                "the workers do not open the same model", hint="the same files on every node, and alike machines"
            )
        self._stillborn = 0

    async def _heard_of(self, lane: Lane) -> dict[str, Any]:
        """What a worker says of itself, once its model is open. Lost, CannotMeasure."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience()):  # `wait_for` may lose that its own task is to end
                    who: dict[str, Any] = await heard(self.cluster, lane.worker.who.remote())
                return who
            if self._patience() <= 0:
                raise _no_worker()

    def _patience(self) -> float:
        """Seconds that a worker may take to open: for as long as others are at work nobody waits for it."""
        return START_S if self._open else self._none_open_since + START_S - monotonic()

    async def _work(self, lane: Lane) -> None:
        """Send what waits, until the pool is closed: being told to end may get lost on the way to a lane. Lost."""
        while not self._closed:
            if self._jobs:
                await self._lend(lane, self._jobs.popleft())
            elif self._waiting and lane.room:
                await asyncio.sleep(GATHER_S)
                if batch := self._batch():
                    lane.under_way.add(asyncio.ensure_future(lane.send(batch)))
            else:
                await self._wait(lane)

    async def _lend(self, lane: Lane, job: Job) -> None:
        """Have a worker train, once it has answered what it has under way. Lost."""
        try:
            await lane.answered()
        except BaseException:
            self._jobs.appendleft(job)  # it was not begun, so whatever became of the worker, the job is not lost
            raise
        if not job.answer.done():  # its caller has left
            await lane.lend(job)

    async def _wait(self, lane: Lane) -> None:
        """Until there is something to send and room for it."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if lane.room:
            self._idle.append(woken)
        try:
            done, _ = await asyncio.wait({woken, *lane.under_way}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if woken.done():  # whoever was told of what waits and is gone must not be the last to know
                self._wake()
            woken.cancel()
        lane.under_way -= done
        raise_from(done - {woken})

    def _batch(self) -> list[Asked]:
        """A fair share of the calls that wait, all for one tuned model."""
        while self._waiting and self._waiting[0].answer.done():  # its caller has left
            self._waiting.popleft()
        room = max(1, sum(lane.room for lane in self._open))
        most = min(BATCH, -(-len(self._waiting) // room))
        batch: list[Asked] = []
        while self._waiting and len(batch) < most and (not batch or self._waiting[0].variant == batch[0].variant):
            asked = self._waiting.popleft()
            if not asked.answer.done():
                batch.append(asked)
        return batch


def _waited_for(cluster: Cluster, said: Any) -> dict[str, Any]:
    """What the first worker says of itself.

    The event loop stands still meanwhile, and Ctrl-C only asks its task to end, so the task looks up now and then.
    """
    until = monotonic() + START_S
    while (who := cluster.wait_for(said, GLANCE_S)) is None:
        if _is_to_end():
            raise asyncio.CancelledError
        if monotonic() >= until:
            raise _no_worker()
    found: dict[str, Any] = who
    return found


def _is_to_end() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop: then Ctrl-C needs no help
        return False
    return task is not None and task.cancelling() > 0


def _spec_of(who: dict[str, Any]) -> ModelSpec:
    raise_told(who)
    if who["version"] != __version__:
        raise CannotMeasure(
            f"the workers have shouldtune {who['version']}, and this is {__version__}",
            hint="the same version on every node",
        )
    spec: ModelSpec = who["spec"]
    return spec


def _no_worker() -> CannotMeasure:
    return CannotMeasure(
        f"no worker has started within {START_S:.0f} s", hint="has the cluster room for one? `ray status` says"
    )


def _stillborn() -> CannotMeasure:
    return CannotMeasure(
        f"{STILLBORN} workers in a row died before their model was open",
        hint="is there memory enough for the model? Ray's logs on that node say more",
    )
