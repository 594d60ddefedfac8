"""What the measurements prove: every limit, at its share of one run's alpha.

One alpha serves a whole run, alpha = 1 - confidence, once for false *no* and once for false *yes*:

| answer | what is claimed                                         | share | divided over                    |
|--------|---------------------------------------------------------|-------|---------------------------------|
| no     | a rung without training meets the goal, or scores above | 1/2   | the rungs without training      |
|        | 1 - worthwhile_gain                                     |       |                                 |
| no     | tuning gains too little over some rung                  | 1/4   | half to the best on the         |
|        |                                                         |       | training half, half to the rest |
| no     | without a goal, one without an LLM is as good as any    | half of that quarter, over such rungs   |
| no     | a fine-tune that was not made would gain too little, by | 1/4   | the one rung that was chosen on |
|        | forecast (inquiry.py); with a goal half of it, and half |       | the training half               |
|        | for not reaching it                                     |       |                                 |
| yes    | the candidate beats every rung without training         | 1/2   | the candidates                  |
| yes    | the candidate alone meets the goal                      | 1/4   | the candidates                  |
| yes    | the candidate costs no more than this                   | 1/4   | the candidates                  |
| no     | the candidate costs at least this; only where prices    | 1/4 of the quarter for too little gain, |
|        | are known                                               | over the rungs without training         |

A *yes* is not divided over the rungs that must be beaten: all must be (an intersection-union test). The limits in
the first row hold together, so both of its claims may be read from them. So may what is claimed of money from the
limits on the gain: that it brings more than it costs, or less.
What decides is what is drawn, so the two ends of an interval may stand at different levels. Where rungs may be
stopped early each level is divided once more, as limits.py says; the rows read nothing but an Evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shouldtune.causes import Flaw, RetrievalGain
from shouldtune.judgement import Interval
from shouldtune.types import Goal
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


@dataclass(frozen=True)
class Levels:
    """The one-sided level of each kind of limit."""

    alpha: float
    low: float
    """The quality of a rung without training is at least this."""
    tuned_low: float
    """The quality of a trained rung is at least this."""
    high: float
    """The quality of a rung is at most this."""
    gain: float
    """A candidate gains at least this over a rung without training."""
    no_gain: Mapping[str, float]
    """A candidate gains at most this over the rung of that name."""
    relative: float | None
    """A rung without an LLM loses at most this to another; None where that is not asked."""
    more_low: float | None = None
    """A candidate costs at least this much more; None where prices are not known."""
    more_high: float | None = None
    """A candidate costs at most this much more."""

    def plain(self, shares: Shares = WHOLE) -> dict[str, Any]:
        """The levels as plain data, for the verdict's provenance."""
        return {**self._plain(), **({} if shares == WHOLE else _plain_shares(shares))}

    def _plain(self) -> dict[str, Any]:
        return {
            "levels": "one-sided; both ends of an interval may differ",
            "quality": "Clopper-Pearson for 0/1 scores, else BCa bootstrap with one worst value added",
            "gain": "Tango for 0/1 scores, else BCa bootstrap with one worst value added",
            "quality_low": self.low,
            "quality_low_tuned": self.tuned_low,
            "quality_high": self.high,
            "gain_low": self.gain,
            "gain_high": dict(self.no_gain),
            "shipped_against_next_best": self.alpha / 2,
            **({"cost_low": self.more_low, "cost_high": self.more_high} if self.more_low else {}),
        }


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
    seed: int,
    shares: Shares = WHOLE,
    money: Money = Money(),
) -> Evidence:
    """Compute every limit that the rows need. `sharing` is over how many rungs the goal's share is divided at least."""
    candidates = choose_candidates(columns)
    lower = [c for c in columns if not c.training and c.limits != "broken"]
    known = [(t.name, c.name) for t in candidates for c in lower if money.more(t.name, c.name, 0.5, 0.5)]
    levels = share_alpha(goal, columns, len(candidates), sharing, priced=bool(known))
    quality = {}
    for c in columns:
        low = levels.tuned_low if c.training else levels.low
        quality[c.name] = quality_limits(c, low, levels.high, shares, seed)
    gains = {}
    for tuned in candidates:
        for c in lower:
            ends = (levels.gain, levels.no_gain[c.name])
            gains[tuned.name, c.name] = gain_limits(tuned, c, ends, shares, seed)
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
                    relative[free.name, c.name] = gain_limits(free, c, ends, shares, seed)
    made = Evidence(goal, tuple(columns), candidates, levels, quality, gains, relative, money, more, shares)
    return made if shares == WHOLE else _with_drops(made, sharing)


def _with_drops(e: Evidence, sharing: int) -> Evidence:
    """The evidence with what beaten rungs inherit. A rung's share is divided over all that may ever beat it."""
    rivals = max(1, max(sum(not c.training for c in e.columns), sharing) - 1)
    worthwhile = e.goal.worthwhile_gain
    beaten = beaten_by(e.columns, worthwhile, e.levels.alpha * e.shares.drops / rivals)
    return replace(
        e,
        beaten=beaten,
        quality=inherited_quality(e.quality, beaten, worthwhile),
        gains=inherited_gains(e.gains, beaten, worthwhile),
        relative=inherited_gains(e.relative, beaten, worthwhile),
    )


def _plain_shares(shares: Shares) -> dict[str, Any]:
    better = "where measured whole the better of {} and of a betting confidence sequence, else the sequence alone"
    return {
        "quality": better.format("Clopper-Pearson or BCa"),
        "gain": better.format("Tango or BCa"),
        "share_fixed": shares.fixed,
        "share_sequential": shares.sequential,
        "share_drops": shares.drops,
    }


def choose_candidates(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The trained rung that was best on the training half; every one where that is not known of all."""
    trained = tuple(c for c in columns if c.training and c.limits != "broken")
    scored = [(c.trial, c) for c in trained if c.trial is not None]
    if len(scored) < len(trained) or not trained:
        return trained
    return (max(scored, key=lambda pair: pair[0])[1],)


def share_alpha(
    goal: Goal, columns: Sequence[Column], candidates: int, sharing: int, *, priced: bool = False
) -> Levels:
    """Divide one run's alpha as the table at the head of this file says."""
    alpha = round(1 - goal.confidence, 12)
    untrained = [c for c in columns if not c.training]
    free = [c for c in untrained if not c.uses_llm]
    relative = goal.quality is None and bool(free) and len(untrained) < len(columns)
    quarter = alpha / 8 if relative else alpha / 4
    dollars = quarter / 4 if priced else 0.0
    quarter -= dollars
    lower = [c for c in untrained if c.limits != "broken"]
    first = max(lower, key=lambda c: -1.0 if c.trial is None else c.trial, default=None)
    rest = quarter / 2 / max(1, len(lower) - 1)
    return Levels(
        alpha=alpha,
        low=alpha / 2 / max(1, len(untrained), sharing),
        tuned_low=alpha / 4 / max(1, candidates),
        high=alpha / 4,
        gain=alpha / 2 / max(1, candidates),
        no_gain={c.name: quarter if len(lower) == 1 else quarter / 2 if c is first else rest for c in lower},
        relative=alpha / 8 / len(free) if relative else None,
        more_low=dollars / len(lower) if priced else None,
        more_high=alpha / 4 / max(1, candidates) if priced else None,
    )
