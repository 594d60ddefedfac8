"""A wall in dollars: a call is begun only if the most that it can cost still fits."""

from __future__ import annotations

import asyncio

OVER = "not asked: the budget ended"
"""The error of a call that was not begun."""

NO_PRICE = "not asked: the prompt may be so long that its price is not known, and a budget is to be kept"
"""The error of a call that no budget can be kept with."""


class Budget:
    """Dollars that a task's calls may cost in all, over all its runs, and what they have cost so far.

    Before a call is begun the most that it can cost is set aside, so that no order of answers passes the wall. A call
    that does not fit waits while others are under way, for they may cost less than was set aside; where none is, the
    budget has ended, and nothing is begun from then on, not even what is cheaper.
    """

    def __init__(self, usd: float, spent: float) -> None:
        self.usd = usd
        self.spent = spent
        self.ended = False
        self._aside = 0.0
        self._under_way = 0
        self._settled = asyncio.Condition()

    async def begin(self, most: float) -> bool:
        """Set `most` dollars aside for a call; False where it must not be begun."""
        async with self._settled:
            while not self.ended and self.spent + self._aside + most > self.usd:
                if self._under_way == 0:
                    self.ended = True
                    self._settled.notify_all()
                    break
                await self._settled.wait()
            if self.ended:
                return False
            self._aside += most
            self._under_way += 1
            return True

    async def settle(self, most: float, cost: float | None) -> None:
        """A call has ended: put `cost` in place of what was set aside; None where it is not known, then all of it."""
        async with self._settled:
            self.spent += most if cost is None else cost
            self._under_way -= 1
            self._aside = self._aside - most if self._under_way else 0.0
            self._settled.notify_all()
