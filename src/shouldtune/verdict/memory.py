"""What one climb has worked out so far, so that a race that asks again after every batch works out only what is new.

It changes no limit: all here follows from the rows' scores alone, which in one climb never change; rows are only added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from shouldtune.judgement import Interval
from shouldtune.stats import mean_limits, paired_limits
from shouldtune.stats.running import Running
from shouldtune.stats.sequences import LOOK_EVERY
from shouldtune.stats.values import Array
from shouldtune.verdict.columns import Column
from shouldtune.verdict.outlook import chance_above

Value = TypeVar("Value")
Estimate = tuple[float | None, int]


class Memory:
    """Limits of rungs by name. Use one for one order of rows, and a new one where a score would be another."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._seen: dict[str, int] = {}
        """How many rows of each rung."""
        self._means: dict[tuple[str, bool], Running] = {}
        self._gains: dict[tuple[str, str], Running] = {}
        self._found: dict[tuple[object, ...], tuple[int, object]] = {}
        """What was found, and on how many rows."""

    def estimate(self, c: Column) -> Estimate:
        """The mean of what was answered, and how many answers that is."""
        return self._once(("mean", c.name), self._rows(c), lambda: _mean(self.scores(c)))

    def estimated_gain(self, a: Column, b: Column) -> Estimate:
        """The mean of a - b on the rows that both answered, and how many those are."""
        return self._once(("mean", a.name, b.name), self._rows(a, b), lambda: _mean(self._differences(a, b)))

    def mean_low(self, c: Column, level: float) -> float:
        """`stats.sequences.mean_low` of the rows asked."""
        return self._once(("low", c.name, level), self._rows(c), lambda: self._side(c, upper=False).low(level))

    def mean_high(self, c: Column, level: float) -> float:
        """`stats.sequences.mean_high` of the rows asked."""
        return self._once(("high", c.name, level), self._rows(c), lambda: 1.0 - self._side(c, upper=True).low(level))

    def gain_low(self, a: Column, b: Column, level: float) -> float:
        """`stats.sequences.gain_low` on the rows that both were asked."""
        key = ("low", a.name, b.name, level)
        return self._once(key, self._rows(a, b), lambda: 2.0 * self._gain(a, b).low(level) - 1.0)

    def gains_more_than(self, a: Column, b: Column, line: float, level: float) -> bool:
        """`stats.sequences.gains_more_than` on the rows that both were asked."""

        def find() -> bool:
            return self._ahead(a, b, line) and self._gain(a, b).exceeds((line + 1.0) / 2.0, level)

        return self._once(("more", a.name, b.name, line, level), self._rows(a, b), find)

    def chance_above(self, c: Column, line: float, level: float) -> float:
        """How likely the rest of the rows would prove that the mean lies above `line`; outlook.py says how.

        Here and below a failed call counts as the best case: asked again it may be that, so that it lets no rung rest.
        """

        def find() -> float:
            return chance_above(_with(self.scores(c), 1.0), len(c.scores), line, level, 0.0)

        return self._once(("above", c.name, line, level), self._rows(c), find)

    def chance_below(self, c: Column, line: float, level: float) -> float:
        """How likely they would prove that it lies below."""

        def find() -> float:
            return chance_above(1.0 - _with(self.scores(c), 0.0), len(c.scores), 1.0 - line, level, 0.0)

        return self._once(("below", c.name, line, level), self._rows(c), find)

    def chance_of_gain(self, a: Column, b: Column, line: float, level: float) -> float:
        """How likely they would prove that a gains more than `line` over b."""

        def find() -> float:
            return chance_above(_with(self._differences(a, b), 1.0), len(a.scores), line, level, -1.0)

        return self._once(("gain", a.name, b.name, line, level), self._rows(a, b), find)

    def mean_limits(self, c: Column, low: float, high: float) -> Interval:
        """Of a rung that was asked everything: the limits of a fixed number of rows."""
        key = ("limits", c.name, low, high)
        return self._once(key, self._rows(c), lambda: mean_limits(c.scores, low, high))

    def paired_limits(self, a: Column, b: Column, low: float, high: float) -> Interval:
        """The same of a gain, where both were asked everything."""
        key = ("limits", a.name, b.name, low, high)
        return self._once(key, self._rows(a, b), lambda: paired_limits(a.scores, b.scores, low, high))

    def scores(self, c: Column) -> Array:
        """The scores of the rows asked, NaN where the call failed."""
        size = self._rows(c)
        if self._seen.get(c.name, 0) > size:  # another climb: all starts again
            self._start()
        self._seen[c.name] = size
        return c.scores.values[:size]

    def _rows(self, *columns: Column) -> int:
        return min(len(c.scores) if c.asked is None else c.asked for c in columns)

    def _once(self, key: tuple[object, ...], rows: int, find: Callable[[], Value]) -> Value:
        hit = self._found.get(key)
        if hit is not None and hit[0] == rows:
            return hit[1]  # type: ignore[return-value]
        value = find()
        self._found[key] = rows, value
        return value

    def _ahead(self, a: Column, b: Column, line: float) -> bool:
        """Whether a's mean gain has been more than `line` at any look: where it has not, no bet has won anything.

        A failed call counts here as 0 of a's and as 1 of b's, which is no worse for a than the limit has it.
        """
        n = self._rows(a, b)
        if not n:
            return False
        looks = np.append(np.arange(LOOK_EVERY, n, LOOK_EVERY), n)
        return bool((self._sums(a, 0.0, n) - self._sums(b, 1.0, n) > line * looks - 1e-9).any())

    def _sums(self, c: Column, failed: float, n: int) -> Array:
        """The sum of the scores up to each look at n rows."""

        def find() -> Array:
            starts = np.arange(0, n, LOOK_EVERY)
            return np.cumsum(np.add.reduceat(_with(self.scores(c)[:n], failed), starts))

        return self._once(("sums", c.name, failed, n == self._rows(c)), n, find)

    def _side(self, c: Column, *, upper: bool) -> Running:
        """The scores as bets see them: a failed call is the worst case, 0 below and 1 above."""
        x = self.scores(c)
        known = self._means.get((c.name, upper))
        if known is None:
            known = self._means[c.name, upper] = Running()
        if len(known) < len(x):
            new = x[len(known) :]
            known.add(1.0 - _with(new, 1.0) if upper else _with(new, 0.0))
        return known

    def _gain(self, a: Column, b: Column) -> Running:
        d = self._differences(a, b)
        known = self._gains.get((a.name, b.name))
        if known is None:
            known = self._gains[a.name, b.name] = Running()
        if len(known) < len(d):
            known.add((_with(d[len(known) :], -1.0) + 1.0) / 2.0)
        return known

    def _differences(self, a: Column, b: Column) -> Array:
        x, y = self.scores(a), self.scores(b)
        n = min(len(x), len(y))
        return x[:n] - y[:n]


def _with(values: Array, failed: float) -> Array:
    return np.where(np.isnan(values), failed, values)


def _mean(values: Array) -> Estimate:
    answered = values[~np.isnan(values)]
    return (float(answered.mean()) if answered.size else None), answered.size
