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
from functools import lru_cache

from shouldtune.judgement import Interval
from shouldtune.stats import MaybeScores, answered_pairs, mean_limits, paired_limits
from shouldtune.stats.sequences import gain_high, gain_low, gains_more_than, mean_high, mean_low
from shouldtune.verdict.columns import Column


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
RACED = Shares(fixed=3 / 4, sequential=1 / 8, drops=1 / 8)


def quality_limits(c: Column, low_level: float, high_level: float, shares: Shares, seed: int) -> Interval:
    """The limits of a rung's mean score, each end at its one-sided level."""
    if not c.uses_llm:  # free, so always asked everything: no look was ever taken at a part
        share = shares.fixed + shares.sequential
        return _mean_limits(c.scores, low_level * share, high_level * share, seed)
    found = Interval(_mean(c.asked_scores), 0.0, 1.0, len(c.asked_scores) - c.failed)
    if c.whole:
        found = _mean_limits(c.scores, low_level * shares.fixed, high_level * shares.fixed, seed)
    if not shares.sequential:
        return found
    low = mean_low(c.asked_scores, low_level * shares.sequential)
    high = mean_high(c.asked_scores, high_level * shares.sequential)
    return Interval(found.estimate, max(found.low, low), min(found.high, high), found.n)


def gain_limits(a: Column, b: Column, levels: tuple[float, float], shares: Shares, seed: int) -> Interval:
    """The limits of the mean of a - b on the rows that both were asked; `levels` of the lower and the upper end."""
    n = min(len(a.asked_scores), len(b.asked_scores))
    x, y = a.scores[:n], b.scores[:n]
    if a.whole and b.whole:
        found = _paired_limits(x, y, levels[0] * shares.fixed, levels[1] * shares.fixed, seed)
    else:
        both_x, both_y = answered_pairs(x, y)
        found = Interval(float((both_x - both_y).mean()) if both_x.size else None, -1.0, 1.0, both_x.size)
    if not shares.sequential:
        return found
    low, high = gain_low(x, y, levels[0] * shares.sequential), gain_high(x, y, levels[1] * shares.sequential)
    return Interval(found.estimate, max(found.low, low), min(found.high, high), found.n)


Beaten = Mapping[str, tuple[str, ...]]
"""Each rung that is beaten, and by which."""


def beaten_by(columns: Sequence[Column], worthwhile: float, level: float) -> Beaten:
    """Which rungs without training score less than another by more than `worthwhile`, each pair tested at `level`.

    A rung that is not known to keep the goal's limits drops no other: it may be that it cannot be shipped.
    """
    rungs = [c for c in columns if not c.training and c.limits != "broken"]
    found = {c.name: tuple(b.name for b in rungs if b is not c and _beats(b, c, worthwhile, level)) for c in rungs}
    return {name: beaters for name, beaters in found.items() if beaters}


def _beats(a: Column, b: Column, worthwhile: float, level: float) -> bool:
    n = min(len(a.asked_scores), len(b.asked_scores))
    return a.limits == "within" and gains_more_than(a.scores[:n], b.scores[:n], worthwhile, level)


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


def _mean(scores: MaybeScores) -> float | None:
    answered = [score for score in scores if score is not None]
    return sum(answered) / len(answered) if answered else None


@lru_cache(maxsize=512)
def _mean_limits(scores: tuple[float | None, ...], low: float, high: float, seed: int) -> Interval:
    """Remembered: a race asks again after every batch, and a bootstrap takes a while."""
    return mean_limits(scores, low, high, seed)


@lru_cache(maxsize=512)
def _paired_limits(
    a: tuple[float | None, ...], b: tuple[float | None, ...], low: float, high: float, seed: int
) -> Interval:
    return paired_limits(a, b, low, high, seed)
