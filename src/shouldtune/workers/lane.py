"""A lane: one worker, and what it has under way: a few batches of calls, or an epoch of a training."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from shouldtune.errors import CannotMeasure
from shouldtune.types import ModelSpec
from shouldtune.workers.cluster import Cluster, cut_off
from shouldtune.workers.wire import LEFT, Lesson

BATCHES = 3
"""Messages under way to one worker, so that it need not wait for the next."""
LOOK_S = 1.0
"""Between looks at how far a training is."""
TIDY_S = 2.0
"""For a worker to remove its files before it is stopped."""

OnStep = Callable[[int, int, float], None]


class Lost(Exception):
    """A worker is gone, and what it had under way with it."""


@dataclass(frozen=True)
class Variant:
    """A tuned model: its name among the workers, its spec, and a reference to the files of its adapter."""

    name: str
    spec: ModelSpec
    files: Any


@dataclass
class Asked:
    """A call that waits for an answer."""

    number: int
    variant: Variant | None
    said: str
    options: dict[str, Any]
    answer: asyncio.Future[str]
    lane: Lane | None = None
    """Where it is under way."""


@dataclass
class Job:
    """An epoch of a training that waits for a worker."""

    lesson: Lesson
    before: Any
    on_step: OnStep | None
    answer: asyncio.Future[dict[str, Any]]


class Lane:
    """One worker, what it has under way, and which tuned models it knows."""

    def __init__(self, worker: Any, cluster: Cluster) -> None:
        self.worker, self.cluster = worker, cluster
        self.is_up = False
        """Whether it has answered: from then on it may have files."""
        self.under_way: set[asyncio.Future[Any]] = set()
        self._knows: dict[str, asyncio.Future[None]] = {}

    @property
    def room(self) -> int:
        """For so many more batches."""
        return BATCHES - len(self.under_way)

    async def send(self, batch: list[Asked]) -> None:
        """Have the worker answer a batch. Lost."""
        variant = batch[0].variant
        for asked in batch:
            asked.lane = self
        try:
            if variant is not None:
                await self._taught(variant)
            calls = [(asked.number, asked.said, asked.options) for asked in batch]
            name = "" if variant is None else variant.name
            with reaching(self.cluster):
                answers = await self.worker.answer.remote(name, calls)
        except BaseException as error:
            for asked in batch:
                give(asked.answer, error if isinstance(error, Exception) else Lost())
            raise
        for asked, answer in zip(batch, answers, strict=True):
            if not asked.answer.done() and answer != LEFT:
                asked.answer.set_result(answer)

    async def _taught(self, variant: Variant) -> None:
        """See to it that the worker knows a tuned model."""
        if variant.name not in self._knows:
            self._knows[variant.name] = asyncio.ensure_future(self._learnt(variant))
        await asyncio.shield(self._knows[variant.name])

    async def _learnt(self, variant: Variant) -> None:
        with reaching(self.cluster):
            await self.worker.learn.remote(variant.name, variant.spec, [variant.files])

    def leave(self, number: int) -> None:
        """Have the worker compute a call no further that nobody waits for."""
        with suppress(Exception):  # nobody waits for what becomes of it either
            self.worker.leave.remote([number])

    async def answered(self) -> None:
        """Until nothing is under way any more. Lost."""
        while self.under_way:
            done, self.under_way = await asyncio.wait(self.under_way)
            raise_from(done)

    async def lend(self, job: Job) -> None:
        """Have the worker train. Lost."""
        try:
            with reaching(self.cluster):
                reference = self.worker.train.remote(job.lesson.plain(), [job.before])
            training = asyncio.ensure_future(heard(self.cluster, reference))
            watching = asyncio.create_task(self._watched(job.on_step))
            try:
                await asyncio.wait({training, job.answer}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                watching.cancel()
                if not training.done():  # nobody waits for it any more
                    self.cluster.cancel(reference)
            if job.answer.done():
                with suppress(Lost):
                    await training
                return
            give(job.answer, training.result())
        except BaseException as error:
            give(job.answer, error if isinstance(error, Exception) else Lost())
            raise

    async def _watched(self, on_step: OnStep | None) -> None:
        while on_step is not None:
            await asyncio.sleep(LOOK_S)
            with suppress(Lost, CannotMeasure):  # the training hears of it too
                with reaching(self.cluster):
                    steps = await self.worker.steps.remote()
                if steps is not None:
                    on_step(*steps)

    async def end(self, *, lost: bool = False) -> None:
        """Stop the worker, and whatever it has under way; one that is not lost leaves no files behind."""
        if self.is_up and not lost:
            with suppress(Exception):  # it is lost after all, or too busy: then they stay
                async with asyncio.timeout(TIDY_S):
                    await self.worker.tidy.remote()
        self.cluster.end(self.worker)
        for each in self.under_way:
            each.cancel()
        await asyncio.gather(*self.under_way, return_exceptions=True)


async def heard(cluster: Cluster, reference: Awaitable[Any]) -> Any:
    """What a worker answers. Lost, CannotMeasure."""
    with reaching(cluster):
        return await reference


@contextmanager
def reaching(cluster: Cluster) -> Iterator[None]:
    """Lost where a worker is gone, CannotMeasure where all of them are; a bug on their side keeps its traceback."""
    try:
        yield
    except Exception as error:
        if cluster.is_lost(error):
            raise Lost(f"a worker was lost: {type(error).__name__}") from None
        if cluster.is_cut_off(error):
            raise cut_off() from None
        raise


def give(answer: asyncio.Future[Any], what: object) -> None:
    """Answer whoever waits, with an error where it is one."""
    if answer.done():
        return
    if isinstance(what, Exception):
        answer.set_exception(what)
    else:
        answer.set_result(what)


def raise_from(done: Iterable[asyncio.Future[Any]]) -> None:
    """Raise what one of them ended with; the others are heard too."""
    for error in [each.exception() for each in done]:
        if error is not None:
            raise error
