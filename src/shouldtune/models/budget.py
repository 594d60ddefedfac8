"""A wall in dollars, calls and minutes: a call is begun only if the most that it can cost still fits."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Literal

OVER = "not asked: the budget ended"
"""The error of a call that was not begun."""

NO_PRICE = "not asked: the prompt may be so long that its price is not known, and a budget is to be kept"
"""The error of a call that no budget can be kept with."""

Ended = Literal["dollars", "calls", "minutes"]


class Budget:
    """What calls may take: dollars in all, over all runs of a task; new calls, and minutes from now, of this run.

    Before a call is begun the most that it can cost is set aside, so that no order of answers passes the wall. A call
    that does not fit waits while others are under way, for they may cost less than was set aside; where none is, the
    budget has ended, and nothing is begun from then on, not even what is cheaper. What is under way is waited for.
    """

    def __init__(
        self,
        usd: float | None,
        spent: float,
        *,
        calls: int | None = None,
        minutes: float | None = None,
        holds: bool = True,
    ) -> None:
        """`usd` dollars, of which `spent` are gone. `holds`: False where some calls have no price and are let pass."""
        self.usd = usd
        self.spent = spent
        self.calls = calls
        self.minutes = minutes
        self.holds = holds
        self.ended_by: Ended | None = None
        self._begun = 0
        self._until = None if minutes is None else monotonic() + 60 * minutes
        self._aside = 0.0
        self._under_way = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def ended(self) -> bool:
        """Whether something was not begun."""
        return self.ended_by is not None

    def plain(self) -> dict[str, Any]:
        """As the verdict's provenance has it: what was allowed, and what ended it. What is no limit is left out."""
        limits = {"usd": self.usd, "max_calls": self.calls, "max_minutes": self.minutes}
        told: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
        told["ended"] = self.ended
        return told | ({"ended_by": self.ended_by} if self.ended else {}) | ({} if self.holds else {"holds": False})

    def may_go_on(self) -> bool:
        """Whether more may be begun. Asked where something is about to be: it ends the budget whose time is over."""
        if self.ended_by is None and self._until is not None and monotonic() >= self._until:
            self._end("minutes")
        return self.ended_by is None

    async def begin(self, most: float) -> bool:
        """Set `most` dollars aside for a call; False where it must not be begun."""
        while self.may_go_on() and self.usd is not None and self.spent + self._aside + most > self.usd:
            if self._under_way == 0:
                self._end("dollars")
                break
            settled = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await settled
        if not self.ended and self.calls is not None and self._begun >= self.calls:
            self._end("calls")
        if self.ended:
            return False
        self._begun += 1
        self._aside += most
        self._under_way += 1
        return True

    def settle(self, most: float, cost: float | None) -> None:
        """A call has ended: put `cost` in place of what was set aside; None where it is not known, then all of it."""
        self.spent += most if cost is None else cost
        self._under_way -= 1
        self._aside = self._aside - most if self._under_way else 0.0
        self._wake()

    def _end(self, by: Ended) -> None:
        self.ended_by = by
        self._wake()

    def _wake(self) -> None:
        """Let those that wait look again."""
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            if not settled.done():
                settled.set_result(None)
