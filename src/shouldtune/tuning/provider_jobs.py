"""One training at a provider: its file is sent once and its job started once, whatever is cut off and when.

Each of the two steps is the same: look whether it was done; if not, write down that it is about to be, and do it. A
call whose reply was lost is never simply made again: the provider is asked whether it was carried out, until enough
time has passed that it would have left a trace. Where a provider cannot be asked, the step is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from shouldtune.errors import CannotMeasure, NotTrained
from shouldtune.progress import Progress
from shouldtune.tuning.job_journal import Ended, JobJournal
from shouldtune.tuning.provider_api import Order, Provider, closed
from shouldtune.tuning.provider_client import Busy, Lost, Plain, Refused

T = TypeVar("T")
TRIES = 4
"""How often a step is begun that the server was too busy for, or that was lost without a trace."""
OVER = ("succeeded", "failed", "cancelled")

MayStart = Callable[[], Awaitable[bool]]
"""Asked once, right before a job is started; False where there is no money for it."""


class NoMoney(NotTrained):
    """The budget does not allow the job."""


@dataclass(frozen=True)
class Jobs:
    """A provider's jobs, and what we wrote down about them."""

    provider: Provider
    journal: JobJournal
    progress: Progress

    async def trained(self, order: Order, may_start: MayStart) -> Ended:
        """Train, or pick up what was begun before. NotTrained where it is refused or unknown; CannotMeasure."""
        ended = self.journal.ended(order.mark)
        if ended is not None:
            return ended
        started = self.journal.last(order.mark, "started")
        if started is not None:
            return await self._watched(order, started["job"])
        job = await self._started(order, await self._uploaded(order), may_start)
        return await self._watched(order, job)

    # ------------------------------------------------------------ once

    async def _uploaded(self, order: Order) -> str:
        """The id of the file at the provider."""
        file, host = order.file, self.provider.host
        mark = f"{host}/{file.name}"

        async def find() -> str | None:
            return await self.provider.find_file(file.name, len(file.content))

        async def send() -> str:
            self.progress.noted(f"sending {file.rows} rows ({len(file.content):,} bytes) to {host}")
            return await self.provider.upload(file.name, file.content)

        return await self._once(_Step(order, mark, "upload", "uploaded", "file"), find, send, lambda found: found)

    async def _started(self, order: Order, file_id: str, may_start: MayStart) -> str:
        """The id of the job."""
        asked = False

        async def find() -> Plain | None:
            return await self.provider.find_job(order, file_id, self.journal.others(order.mark))

        async def begin() -> Plain:
            return await self.provider.start(order, file_id)

        async def allowed() -> None:
            nonlocal asked
            if not asked and not await may_start():
                raise NoMoney("the budget ended before the job was started")
            asked = True

        step = _Step(order, order.mark, "start", "started", "job")
        job = await self._once(step, find, begin, lambda found: str(found["id"]), allowed)
        return job

    async def _once(
        self,
        step: _Step,
        find: Callable[[], Awaitable[T | None]],
        make: Callable[[], Awaitable[T]],
        name: Callable[[T], str],
        allowed: Callable[[], Awaitable[None]] | None = None,
    ) -> str:
        """What `find` finds, or else what `make` makes, by its name."""
        patience, pause = self.provider.patience, min(1.0, self.provider.patience.most_s)
        for _ in range(TRIES):
            begun = monotonic()
            while True:
                waited = monotonic() - begun  # here: the clock of the wall may have been set in between
                found, listed = await self._found(find)
                if found is not None:
                    return self._done(step, name(found))
                known = self._known(step, listed=listed)
                if known is not None:
                    return known
                lost = self.journal.open_since(step.mark, step.intent, step.done, "refused") is not None
                if not lost or (listed and waited >= patience.settled_s):
                    break
                if not listed:
                    raise NotTrained(
                        f"a call to {self.provider.host} was cut off ({step.intent}), and it does not list what it has:"
                        f" look there whether it was carried out; as long as that is not known, {step.advice(self)}"
                    )
                self.progress.noted(f"waiting to see whether {self.provider.host} carried out a call ({step.intent})")
                await asyncio.sleep(min(max(0.0, patience.settled_s - waited), patience.most_s, 5.0))
            if allowed is not None and not lost:
                await allowed()
            self.journal.write(step.intent, step.mark, base=step.order.model_id, most_tokens=step.order.most_tokens)
            try:
                return self._done(step, name(await make()))
            except Refused as error:
                self.journal.write("refused", step.mark, why=str(error))
                raise closed(self.provider.host, step.order.base, error) from None
            except CannotMeasure as error:  # the key was refused
                self.journal.write("refused", step.mark, why=str(error))
                raise
            except Busy as error:
                self.journal.write("refused", step.mark, why=str(error))
                self.progress.noted(f"{self.provider.host} is busy: {error}")
                await asyncio.sleep(min(max(pause, error.wait_s), patience.most_s))
                pause *= 2
            except Lost as error:
                self.progress.noted(f"no reply from {self.provider.host} ({step.intent}): {error}")
        raise NotTrained(f"{self.provider.host} did not carry out a call ({step.intent}) in {TRIES} tries")

    async def _found(self, find: Callable[[], Awaitable[T | None]]) -> tuple[T | None, bool]:
        """(what is there, whether the provider can be asked)."""
        try:
            return await find(), True
        except Refused:
            return None, False

    def _known(self, step: _Step, *, listed: bool) -> str | None:
        """What we wrote down as done, where the provider does not list it, or may not list it yet."""
        line = self.journal.last(step.mark, step.intent, step.done, "refused")
        if line is None or line["event"] != step.done:
            return None
        since = self.journal.open_since(step.mark, step.done) or 0.0
        return str(line[step.what]) if not listed or since < self.provider.patience.settled_s else None

    def _done(self, step: _Step, name: str) -> str:
        facts = {"base": step.order.model_id, "most_tokens": step.order.most_tokens}
        self.journal.write(step.done, step.mark, **{step.what: name}, **facts)
        return name

    # ------------------------------------------------------------ to its end

    async def _watched(self, order: Order, job_id: str) -> Ended:
        """Look again until the job is over; what it tells is told."""
        patience, pause, told = self.provider.patience, self.provider.patience.first_s, _Told(self.progress, job_id)
        self.progress.noted(f"job {job_id} at {self.provider.host}: training {order.base}")
        try:
            while True:
                job = await self.provider.job(job_id)
                told.tell(await self.provider.events(job_id))
                if job.get("status") in OVER:
                    ended = await self._end(job, job_id)
                    self.journal.write("ended", order.mark, **vars(ended))
                    return ended
                await asyncio.sleep(pause)
                pause = min(1.5 * pause, patience.most_s)
        except Refused as error:
            raise NotTrained(f"{self.provider.host} no longer knows the job {job_id}: {error}") from None
        except asyncio.CancelledError:
            await self._cut_off(job_id)
            raise

    async def _end(self, job: Plain, job_id: str) -> Ended:
        status, model = str(job["status"]), job.get("fine_tuned_model") or None
        before: list[str] = []
        if status == "succeeded" and model is not None:
            listed = [each.get("fine_tuned_model_checkpoint") for each in await self.provider.checkpoints(job_id)]
            before = [str(name) for name in dict.fromkeys(listed) if name and name != model]
            await self._ready(model)
        error = job.get("error")
        why = str(error.get("message") or "") if isinstance(error, dict) else ""
        tokens, begun, over = job.get("trained_tokens"), job.get("created_at"), job.get("finished_at")
        return Ended(
            job=job_id,
            status=status,
            model=model,
            checkpoints=tuple(before),
            trained_tokens=tokens if isinstance(tokens, int) and tokens >= 0 else None,
            seconds=float(over - begun) if isinstance(over, int) and isinstance(begun, int) else None,
            why=" ".join(why.split())[:200],
        )

    async def _ready(self, model: str) -> None:
        """A model may be there a little later than the end of its job."""
        until, pause = monotonic() + self.provider.patience.settled_s, self.provider.patience.first_s
        while not await self.provider.is_ready(model):
            if monotonic() >= until:
                return
            await asyncio.sleep(pause)

    async def _cut_off(self, job_id: str) -> None:
        """Someone ends the run while the job goes on: it is cancelled only where they say so."""
        host = self.provider.host
        if self.progress.agrees(f"Cancel the job {job_id} at {host} too?"):
            try:
                await self.provider.cancel(job_id)
                self.progress.noted(f"{host} was asked to cancel the job {job_id}")
            except (Refused, Lost) as error:
                self.progress.noted(f"{host} did not cancel the job {job_id}: {error}")
        else:
            self.progress.noted(f"the job {job_id} goes on at {host}: run the same command again to pick it up")


@dataclass(frozen=True)
class _Step:
    """One of the two calls that must not be made twice."""

    order: Order
    mark: str
    intent: str
    done: str
    what: str

    def advice(self, jobs: Jobs) -> str:
        return f"nothing more is sent; when it was not, move {jobs.journal.path} away"


class _Told:
    """What a job has told so far."""

    def __init__(self, progress: Progress, job_id: str) -> None:
        self.progress, self.job_id = progress, job_id
        self.seen: set[str] = set()

    def tell(self, events: list[Plain]) -> None:
        """Tell what is new: steps as such, everything else in its own words."""
        for event in events:
            key = str(event.get("id") or (event.get("created_at"), event.get("message")))
            if key in self.seen:
                continue
            self.seen.add(key)
            data = event.get("data")
            step, total, loss = (data.get(name) if isinstance(data, dict) else None for name in _STEP)
            if isinstance(step, int) and isinstance(total, int) and isinstance(loss, int | float):
                self.progress.trained(step, total, float(loss))
            elif event.get("type") != "metrics" and event.get("message"):
                self.progress.noted(f"job {self.job_id}: {' '.join(str(event['message']).split())[:200]}")


_STEP = ("step", "total_steps", "train_loss")
