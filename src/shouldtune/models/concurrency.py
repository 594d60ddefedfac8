"""How many calls of one model are under way at once: more while it goes well, fewer when it is too much."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Literal

FIRST = 4
KEPT = 0.8
"""What is left of the places after a burst of refusals."""

Went = Literal["well", "overloaded", "otherwise"]


class Places:
    """Places for calls under way. There are `FIRST` to begin with, at most `most`, never less than one.

    Until the first refusal every answer adds a place, so that they double each round; later each round adds one. What
    was sent before the places were made fewer belongs to the same burst and makes them no fewer again.
    """

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.size = float(min(FIRST, self.most))
        self.bursts = 0
        self.opens_at = 0.0
        """When the server wants to be asked again, on the monotonic clock."""
        self._taken = 0
        self._promised = 0
        """Places of calls that were woken and have not run yet."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> int:
        """Wait for a place; the number of bursts so far, to be given back with it."""
        if self._free() <= 0:
            free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(free)
            try:
                await free
            except asyncio.CancelledError:
                if free.done() and not free.cancelled():
                    self._promised -= 1
                    self._wake()
                raise
            self._promised -= 1
        self._taken += 1
        return self.bursts

    def give_back(self, burst: int, went: Went) -> None:
        """A call has ended that took its place at `burst`."""
        # Where calls wait, places are what is short, also in the midst of answers that come together.
        short = bool(self._waiting) or self._taken >= int(self.size)
        self._taken -= 1
        if burst == self.bursts:
            if went == "overloaded":
                self.size = max(1.0, self.size * KEPT)
                self.bursts += 1
            elif went == "well" and short:
                self.size = min(float(self.most), self.size + (1.0 if self.bursts == 0 else 1.0 / self.size))
        self._wake()

    def close_for(self, seconds: float) -> None:
        """The server wants to be left alone for so long."""
        self.opens_at = max(self.opens_at, monotonic() + seconds)

    def opens_in(self) -> float:
        """Seconds until the server may be asked; 0 where it may be now."""
        return max(0.0, self.opens_at - monotonic())

    def _free(self) -> int:
        return int(self.size) - self._taken - self._promised

    def _wake(self) -> None:
        while self._free() > 0 and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                self._promised += 1
