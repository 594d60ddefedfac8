"""The one place where a call is tried again: what may succeed is, what may be billed twice hardly, nothing for ever.

Waiting grows exponentially with full jitter (M. Brooker, "Exponential Backoff
And Jitter", AWS Architecture Blog, 2015).
Only the monotonic clock is asked.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic

from shouldtune.errors import CannotMeasure
from shouldtune.models.concurrency import Places, Went
from shouldtune.types import Completion


@dataclass(frozen=True)
class CallPatience:
    """How often, and how long, a call is tried."""

    attempts: int = 6
    billed: int = 3
    """Attempts of one call that may be billed: replies that are no answer, and replies that were never seen."""
    unknown: int = 2
    """Attempts that were sent without a reply being seen: one is tried again once."""
    first_wait_s: float = 0.5
    """The longest wait before the second attempt; it doubles with each further one."""
    longest_wait_s: float = 20.0
    limit_s: float = 300.0
    """For the whole call, waiting in between included; a wait for a place is not."""


@dataclass(frozen=True)
class Attempt:
    """What came of one request."""

    completion: Completion
    retry_after_s: float | None = None
    """How long the server wants to be left alone."""
    overloaded: bool = False
    at_once: bool = False
    """Whether the request was changed so that the next one may be understood: there is nothing to wait for."""

    @property
    def may_be_billed(self) -> bool:
        return self.completion.failed and self.completion.cost_usd is None

    @property
    def unknown(self) -> bool:
        return self.completion.failure == "unknown"


NOT_ASKED = Completion("", finish_reason="error", error="no time was left to ask", failure="transient", cost_usd=0.0)
Ask = Callable[[float], Awaitable[Attempt]]
"""One request that takes at most so many seconds."""

_jitter = random.Random().random


async def ask_patiently(
    ask: Ask, places: Places, patience: CallPatience, draw: Callable[[], float] = _jitter
) -> Completion:
    """Ask until there is an answer, or no sense in asking again. `draw` gives numbers in [0, 1).

    Raises CannotMeasure as `ask` does; where an attempt was lost before, the call fails instead and says what was lost.
    """
    call = _Call(patience, draw)
    while True:
        burst = await places.take()
        went: Went = "otherwise"
        try:
            if not await call.may_begin(places):
                return call.told()
            tried = await call.attempt(ask)
            if tried.retry_after_s is not None:
                places.close_for(tried.retry_after_s)
            went = _went(tried)
        finally:
            places.give_back(burst, went)
        wait = call.wait_after(tried)
        if wait is None:
            return call.told()
        await asyncio.sleep(wait)


def _went(tried: Attempt) -> Went:
    if tried.overloaded:
        return "overloaded"
    return "otherwise" if tried.completion.failed else "well"


@dataclass
class _Call:
    """How far one call has come."""

    patience: CallPatience
    draw: Callable[[], float]
    until: float | None = None
    attempts: int = 0
    lost: int = 0
    unknown: int = 0
    last: Completion = NOT_ASKED

    def left(self) -> float:
        """Seconds that the call may still take; its time begins when it first has a place."""
        if self.until is None:
            self.until = monotonic() + self.patience.limit_s
        return self.until - monotonic()

    async def may_begin(self, places: Places) -> bool:
        """Wait until the server may be asked; False where that is too late."""
        while (closed := places.opens_in()) > 0:
            if closed >= self.left():
                self.last = _asked_to_wait(closed)
                return False
            await asyncio.sleep(closed)
        return self.left() > 0

    async def attempt(self, ask: Ask) -> Attempt:
        """Ask once, and count what may have been billed."""
        self.attempts += 1
        try:
            tried = await ask(self.left())
        except CannotMeasure as error:
            if not self.lost:
                raise
            failed = Completion("", finish_reason="error", error=str(error), failure="permanent", cost_usd=0.0)
            tried = Attempt(failed)
        self.last = tried.completion
        self.lost += tried.may_be_billed
        self.unknown += tried.unknown
        return tried

    def wait_after(self, tried: Attempt) -> float | None:
        """Seconds to wait before the next attempt; None where there is to be none."""
        may_succeed = tried.at_once or self.last.failure in ("transient", "malformed", "unknown")
        most = self.patience
        if not may_succeed or self.attempts >= most.attempts:
            return None
        if self.lost >= most.billed or self.unknown >= most.unknown:
            return None
        if tried.at_once:
            return 0.0
        wait = self.draw() * min(most.longest_wait_s, most.first_wait_s * 2.0 ** (self.attempts - 1))
        wait += tried.retry_after_s or 0.0
        if wait >= self.left():
            if tried.retry_after_s is not None:
                self.last = replace(self.last, error=f"{self.last.error}; {_asked_to_wait(tried.retry_after_s).error}")
            return None
        return wait

    def told(self) -> Completion:
        """The last reply, with what was lost on the way to it.

        A failure whose own cost is not known counts itself, so it is in `lost` only where it was not seen.
        """
        itself = self.last.failed and self.last.cost_usd is None and self.last.failure != "unknown"
        return replace(self.last, lost=self.lost - itself)


def _asked_to_wait(seconds: float) -> Completion:
    why = f"the server wants to be left alone for {seconds:.0f} s, longer than a call may take"
    return Completion("", finish_reason="error", error=why, failure="transient", cost_usd=0.0)
