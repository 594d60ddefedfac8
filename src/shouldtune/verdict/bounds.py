"""What the measurements prove: every limit, at its share of one run's alpha.

How one alpha serves a whole run is said in alpha.py. The limits on a rung's quality hold together, so whatever is
claimed of it may be read from them. So may what is claimed of money from the limits on the gain: that it brings more
than it costs, or less.
What decides is what is drawn, so the two ends of an interval may stand at different levels. Where rungs may be
stopped early each level is divided once more, as limits.py says; the rows read nothing but an Evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from shouldtune.causes import Flaw, RetrievalGain
from shouldtune.judgement import Interval
from shouldtune.types import Goal
from shouldtune.verdict.alpha import Levels, share_alpha
from shouldtune.verdict.columns import Column
from shouldtune.verdict.economics import Money
from shouldtune.verdict.forecast import Skip
from shouldtune.verdict.limits import (
    WHOLE,
    Beaten,
    Shares,
    beaten_by,
    gain_limits,
    inherited_gains,
    inherited_quality,
    quality_limits,
)
from shouldtune.verdict.memory import Memory


@dataclass(frozen=True)
class Evidence:
    """All that the rows of the table may look at."""

    goal: Goal
    columns: tuple[Column, ...]
    """Cheapest first."""
    candidates: tuple[Column, ...]
    """The trained rungs that may be advised; the rest are only shown."""
    levels: Levels
    quality: Mapping[str, Interval]
    gains: Mapping[tuple[str, str], Interval]
    """(candidate, rung without training): the candidate's gain."""
    relative: Mapping[tuple[str, str], Interval]
    """(rung without an LLM, any other): how much better the first is; its lower end decides."""
    money: Money = Money()
    more: Mapping[tuple[str, str], Interval] = field(default_factory=dict)
    """(candidate, rung without training): how many dollars more the candidate costs over the horizon, where known."""
    shares: Shares = WHOLE
    beaten: Beaten = field(default_factory=dict)
    """The rungs without training that another one beats by `worthwhile_gain`: they need no more calls."""
    flaws: tuple[Flaw, ...] = ()
    """What is proven to be wrong with the data."""
    above: Interval | None = None
    """The best score within reach, where the goal lies above it."""
    right_passage: RetrievalGain | None = None
    """What the right passage would do, where it is proven to be what is missing."""
    skip: tuple[str, Skip] | None = None
    """(rung without training, why a fine-tune need not be paid for beside it), where a forecast proves it."""

    @property
    def lower(self) -> tuple[Column, ...]:
        """The rungs without training that do not break a limit."""
        return tuple(c for c in self.columns if not c.training and c.limits != "broken")

    @property
    def shippable(self) -> tuple[Column, ...]:
        """The rungs without training that are known to keep every limit."""
        return tuple(c for c in self.lower if c.limits == "within")

    @property
    def trained(self) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.training)

    @property
    def n(self) -> int:
        """How many examples the holdout has."""
        return len(self.columns[0].scores) if self.columns else 0

    def best(self, columns: Sequence[Column]) -> Column | None:
        """The rung with the highest proven quality, the cheapest of equals."""
        return max(
            columns, key=lambda c: (self.quality[c.name].low, self.quality[c.name].estimate or 0.0), default=None
        )


def gather(
    goal: Goal,
    columns: Sequence[Column],
    sharing: int,
    shares: Shares = WHOLE,
    money: Money = Money(),
    memory: Memory | None = None,
) -> Evidence:
    """Compute every limit that the rows need. `sharing` is over how many rungs the goal's share is divided at least.

    `memory` spares what it knows of the same rows.
    """
    memory = memory or Memory()
    candidates = choose_candidates(columns)
    lower = [c for c in columns if not c.training and c.limits != "broken"]
    known = [(t.name, c.name) for t in candidates for c in lower if money.more(t.name, c.name, 0.5, 0.5)]
    levels = share_alpha(goal, columns, len(candidates), sharing, priced=bool(known))
    quality = {}
    for c in columns:
        quality[c.name] = quality_limits(c, levels.ends(c), shares, memory)
    gains = {}
    for tuned in candidates:
        for c in lower:
            ends = (levels.gain, levels.no_gain[c.name])
            gains[tuned.name, c.name] = gain_limits(tuned, c, ends, shares, memory)
    more = {}
    if levels.more_low is not None and levels.more_high is not None:
        found = ((pair, money.more(*pair, levels.more_low, levels.more_high)) for pair in known)
        more = {pair: interval for pair, interval in found if interval is not None}
    relative = {}
    if levels.relative is not None:
        others = [c for c in columns if c.limits != "broken"]
        for free in (c for c in lower if not c.uses_llm):
            for c in others:
                if c is not free:
                    ends = (levels.relative, levels.alpha / 2)
                    relative[free.name, c.name] = gain_limits(free, c, ends, shares, memory)
    made = Evidence(goal, tuple(columns), candidates, levels, quality, gains, relative, money, more, shares)
    return made if shares == WHOLE else _with_drops(made, sharing, memory)


def _with_drops(e: Evidence, sharing: int, memory: Memory) -> Evidence:
    """The evidence with what beaten rungs inherit. A rung's share is divided over all that may ever beat it."""
    rivals = max(1, max(sum(not c.training for c in e.columns), sharing) - 1)
    worthwhile = e.goal.worthwhile_gain
    beaten = beaten_by(e.columns, worthwhile, e.levels.alpha * e.shares.drops / rivals, memory)
    return replace(
        e,
        beaten=beaten,
        quality=inherited_quality(e.quality, beaten, worthwhile),
        gains=inherited_gains(e.gains, beaten, worthwhile),
        relative=inherited_gains(e.relative, beaten, worthwhile),
    )


def choose_candidates(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The trained rung that was best on the training half; every one where that is not known of all."""
    trained = tuple(c for c in columns if c.training and c.limits != "broken")
    scored = [(c.trial, c) for c in trained if c.trial is not None]
    if len(scored) < len(trained) or not trained:
        return trained
    return (max(scored, key=lambda pair: pair[0])[1],)
