"""The limits of one rung, and of one rung over another, where a run may stop a rung early on what it has scored.

A rung that was measured on its whole holdout has two sets of limits, each at its own share of the level: those of a
fixed number of rows, and those of a confidence sequence; the better of the two is taken. A rung that was stopped has
the second alone. Every claim stays within its level, however and why ever a rung was stopped:

- *Fixed n.* The scores on the whole holdout exist before anything is asked, so the limit on all of them errs at most
  at its level. It is read only where the rung ran whole, and there it is that very limit: `ran whole and errs` is part
  of `errs`. Stopping early can only take such a claim away, never add one.
- *Sequence.* It errs at any prefix at all at most at its level, so the prefix may be chosen by what was seen.
- *Drops.* `beaten` says that one rung is better than another by `worthwhile_gain`, at any prefix. The one beaten
  inherits: a candidate's gain over it is at least that over its beater plus `worthwhile_gain`, its score at most its
  beater's less that. A false claim by inheritance about *all* rungs (beats every one, all are below the goal) must
  hold for the truly best one too; that was beaten falsely, for no rung is better. So only the tests of one rung count
  together, one for each possible beater, and not those of all pairs.

The three shares add up to the level, so their union does not pass it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shouldtune.judgement import Interval
from shouldtune.verdict.columns import Column
from shouldtune.verdict.memory import Memory


@dataclass(frozen=True)
class Shares:
    """How every level is divided."""

    fixed: float = 1.0
    """Limits of a fixed number of rows."""
    sequential: float = 0.0
    """Limits that hold at every prefix."""
    drops: float = 0.0
    """Of a whole answer's alpha: the tests by which one rung drops another."""


WHOLE = Shares()
"""Nothing was stopped early, nor could have been."""
RACED = Shares(fixed=13 / 16, sequential=5 / 32, drops=1 / 32)


def quality_limits(c: Column, levels: tuple[float, float], shares: Shares, memory: Memory) -> Interval:
    """The limits of a rung's mean score; `levels` of the lower and the upper end, one-sided."""
    low_level, high_level = levels
    if not c.uses_llm:  # free, so always asked everything: no look was ever taken at a part
        share = shares.fixed + shares.sequential
        return memory.mean_limits(c, low_level * share, high_level * share)
    found = Interval(*_full_range(memory.estimate(c), 0.0))
    if c.whole:
        found = memory.mean_limits(c, low_level * shares.fixed, high_level * shares.fixed)
    if not shares.sequential:
        return found
    low = memory.mean_low(c, low_level * shares.sequential)
    high = memory.mean_high(c, high_level * shares.sequential)
    return Interval(found.estimate, max(found.low, low), min(found.high, high), found.n)


def gain_limits(a: Column, b: Column, levels: tuple[float, float], shares: Shares, memory: Memory) -> Interval:
    """The limits of the mean of a - b on the rows that both were asked; `levels` of the lower and the upper end."""
    if a.whole and b.whole:
        found = memory.paired_limits(a, b, levels[0] * shares.fixed, levels[1] * shares.fixed)
    else:
        found = Interval(*_full_range(memory.estimated_gain(a, b), -1.0))
    if not shares.sequential:
        return found
    low = memory.gain_low(a, b, levels[0] * shares.sequential)
    high = -memory.gain_low(b, a, levels[1] * shares.sequential)
    return Interval(found.estimate, max(found.low, low), min(found.high, high), found.n)


def _full_range(estimate: tuple[float | None, int], least: float) -> tuple[float | None, float, float, int]:
    mean, n = estimate
    return mean, least, 1.0, n


Beaten = Mapping[str, tuple[str, ...]]
"""Each rung that is beaten, and by which."""


def beaten_by(columns: Sequence[Column], worthwhile: float, level: float, memory: Memory) -> Beaten:
    """Which rungs without training score less than another by more than `worthwhile`, each pair tested at `level`.

    A rung that is not known to keep the goal's limits drops no other: it may be that it cannot be shipped.
    """
    rungs = [c for c in columns if not c.training and c.limits != "broken"]
    found = {
        c.name: tuple(b.name for b in rungs if b is not c and _beats(b, c, worthwhile, level, memory)) for c in rungs
    }
    return {name: beaters for name, beaters in found.items() if beaters}


def _beats(a: Column, b: Column, worthwhile: float, level: float, memory: Memory) -> bool:
    return a is not b and a.limits == "within" and memory.gains_more_than(a, b, worthwhile, level)


def inherited_quality(quality: Mapping[str, Interval], beaten: Beaten, worthwhile: float) -> dict[str, Interval]:
    """A beaten rung's score is at most its beater's, less `worthwhile`."""
    made = dict(quality)
    for _ in beaten:  # a beater may itself be beaten: as often as there are links in a chain
        for name, beaters in beaten.items():
            old, highs = made[name], [made[b].high for b in beaters]
            made[name] = Interval(old.estimate, old.low, max(0.0, min(old.high, min(highs) - worthwhile)), old.n)
    return made


def inherited_gains(
    gains: Mapping[tuple[str, str], Interval], beaten: Beaten, worthwhile: float
) -> dict[tuple[str, str], Interval]:
    """A rung gains over a beaten one at least what it gains over its beater, and `worthwhile`; (better, worse)."""
    made = dict(gains)
    for _ in beaten:
        for better, worse in gains:
            beaters, old = beaten.get(worse, ()), made[better, worse]
            over = [0.0 if b == better else made[better, b].low for b in beaters if b == better or (better, b) in made]
            low = max([old.low, *(gain + worthwhile for gain in over)])
            made[better, worse] = Interval(old.estimate, min(1.0, low), old.high, old.n)
    return made
