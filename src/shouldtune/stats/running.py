"""The limits of sequences.py for one sequence that grows: each look is looked at once, however often one asks.

They are the very limits that `lower_limits` and `exceeds` find from the whole prefix: on the same grid of means, from
the same looks. A limit only ever moves up, and only by what the newest looks say, so most questions are answered by
the capital at one mean; where it has moved, regula falsi (Illinois) finds how far.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shouldtune.stats.sequences import BETS, BISECTIONS, FEW_VALUES, LOOK_EVERY
from shouldtune.stats.values import Array, check_level

GRID = 1 << BISECTIONS
AT_ONCE = 512 * LOOK_EVERY
"""Rows whose bets are worked out together."""
_BETS = np.array(BETS)[:, None]


class Running:
    """One sequence of values from 0 to 1, to which rows are added."""

    def __init__(self) -> None:
        self._rows: NDArray[Any] = np.zeros(0, dtype=np.uint8)
        """The place of each row's value among `_values`; the value itself where those are many."""
        self._values: Array | None = np.zeros(0)
        """The different values, in order, where they are few."""
        self._counts: Array = np.zeros((0, 0))
        """(values, looks): how often each stands among all rows up to a look."""
        self._limits: dict[float, tuple[int, int]] = {}
        """Level: how many whole looks it has seen, and the limit on the grid."""
        self._richest: dict[float, tuple[int, float]] = {}
        """Line: how many whole looks it has seen, and the most that all bets' capital together has been there."""

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Array) -> None:
        """The next rows; ValueError for NaN and what lies outside 0 to 1."""
        if not bool(np.all((rows >= 0) & (rows <= 1))):
            raise ValueError("expected numbers from 0 to 1")
        if self._values is None:
            self._rows = np.concatenate([self._rows, rows])
            return
        seen = len(self._rows) // LOOK_EVERY
        values = np.union1d(self._values, rows)
        if len(values) > FEW_VALUES:
            self._rows = np.concatenate([self._values[self._rows], rows])
            self._values, self._counts = None, np.zeros((0, 0))
            return
        before = self._counts[:, :seen]
        if len(values) > len(self._values):
            places = np.searchsorted(values, self._values)
            counted = np.zeros((len(values), seen))
            counted[places] = before
            self._values, self._rows, before = values, places.astype(np.uint8)[self._rows], counted
        self._rows = np.concatenate([self._rows, np.searchsorted(values, rows).astype(np.uint8)])
        starts = np.arange(seen * LOOK_EVERY, len(self._rows), LOOK_EVERY)
        if not len(starts):
            return
        new = self._rows[starts[0] :]
        each = [np.add.reduceat(new == place, starts - starts[0], dtype=np.float64) for place in range(len(values))]
        counts = np.cumsum(each, axis=1)
        self._counts = np.concatenate([before, before[:, -1:] + counts], axis=1) if seen else counts

    def low(self, level: float) -> float:
        """The lower limit at the last row, as `lower_limits` has it for all rows so far."""
        check_level(level)
        whole = len(self._rows) // LOOK_EVERY
        seen, limit = self._limits.get(level, (0, 0))
        if whole > seen:
            limit = self._raised(limit, seen, whole, level)
            self._limits[level] = whole, limit
        if len(self._rows) % LOOK_EVERY:  # a look at the last row is forgotten when more are added
            limit = self._raised(limit, whole, whole + 1, level)
        return limit / GRID

    def exceeds(self, line: float, level: float) -> bool:
        """Whether the lower limit lies above `line`, as `exceeds` has it for all rows so far."""
        check_level(level)
        if line <= 0 or line >= 1 or not len(self._rows):
            return line < 0
        whole = len(self._rows) // LOOK_EVERY
        seen, richest = self._richest.get(line, (0, 0.0))
        if whole > seen:
            richest = max(richest, self._capital(line, seen, whole))
            self._richest[line] = whole, richest
        if len(self._rows) % LOOK_EVERY:
            richest = max(richest, self._capital(line, whole, whole + 1))
        return richest >= len(BETS) / level

    def _raised(self, limit: int, start: int, stop: int, level: float) -> int:
        """The greatest mean on the grid that is refused at a look from `start` up to, not including, `stop`.

        By regula falsi on the square root of the capital's logarithm, which is nearly a straight line below the mean.
        """
        enough = len(BETS) / level
        needed = math.sqrt(-math.log(level))
        richest = self._capital((limit + 1) / GRID, start, stop) if limit + 1 < GRID else 0.0
        if richest < enough:
            return limit
        low, high, ahead, behind = limit + 1, GRID, _root(richest) - needed, -needed
        raised = None
        while high - low > 1:
            at = low + math.floor((high - low) * ahead / (ahead - behind))
            at = min(max(at, low + 1), high - 1)
            richest = self._capital(at / GRID, start, stop)
            value = _root(richest) - needed
            if richest >= enough:
                low, ahead = at, max(value, 0.0)
                behind = behind / 2 if raised is True else behind
            else:
                high, behind = at, min(value, -1e-12)
                ahead = ahead / 2 if raised is False else ahead
            raised = richest >= enough
        return low

    def _capital(self, mean: float, start: int, stop: int) -> float:
        """The most that all bets' capital together is at some looks, each bet starting with 1, were this the mean."""
        if self._values is not None:
            logs = np.log((1.0 - _BETS) + _BETS * (self._values / mean))
            grown = logs @ self._counts[:, start:stop]
        else:
            parts = (self._rows[at : at + AT_ONCE] for at in range(0, min(len(self._rows), stop * LOOK_EVERY), AT_ONCE))
            grown = np.concatenate([_logs(rows, mean) for rows in parts], axis=1)[:, :stop].cumsum(axis=1)[:, start:]
        return float(np.exp(np.minimum(grown, 700.0)).sum(axis=0).max())


def _logs(rows: Array, mean: float) -> Array:
    """The logarithm of what each bet makes of 1 from one look to the next: shape (bets, looks)."""
    factors = rows * (_BETS / mean) + (1.0 - _BETS)
    whole = len(rows) // LOOK_EVERY * LOOK_EVERY
    blocks = factors[:, :whole].reshape(len(BETS), -1, LOOK_EVERY).prod(axis=2)
    if whole < len(rows):
        blocks = np.concatenate([blocks, factors[:, whole:].prod(axis=1, keepdims=True)], axis=1)
    logs: Array = np.log(blocks)
    return logs


def _root(richest: float) -> float:
    """The square root of the logarithm of a bet's mean capital, 0 where nothing was won."""
    return math.sqrt(max(0.0, math.log(max(richest, 1e-300) / len(BETS))))
