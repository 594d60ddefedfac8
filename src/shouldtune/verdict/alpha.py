"""How one run's alpha is divided over what may be claimed. alpha = 1 - confidence, once for *no* and once for *yes*.

| answer | what is claimed                                              | with a goal | without      |
|--------|--------------------------------------------------------------|-------------|--------------|
| no     | a rung without training meets the goal, or scores above      | 1/2         | 1/8          |
|        | 1 - worthwhile_gain: over these rungs                        |             |              |
| no     | tuning gains too little over some rung                       | 1/4         | 5/8          |
| no     | a forecast (inquiry.py) says that tuning need not be paid    | 1/4         | 1/4          |
|        | for: it gains too little, and does not reach the goal        |             |              |
| yes    | the candidate beats every rung without training              | 1/2         | 3/4          |
| yes    | the candidate alone meets the goal                           | 3/8 (1/4)   | -            |
| yes    | the candidate costs no more than this, where prices are known| (1/4)       | (1/4)        |

In brackets where prices are known. What cannot be claimed takes no share; an eighth or a quarter of *yes* is left
over, because Tango's interval may err a little more often than its level. Of the second row, half goes to the rung
that is best on the training half and half over the rest; before that, where prices are known, a quarter to `the
candidate costs at least this`; and without a goal a part to `a rung without an LLM is as good as any`: half, or a
twentieth where on the training half none of them comes near. The shares of *yes* are divided over the candidates.

*Tests that must all succeed share nothing* (intersection-union). A yes is not divided over the rungs that must be
beaten. With a goal it needs every rung without training to be below it; where one of them is not, every path to a
yes claims falsely of that one rung, so this is tested at three quarters; at one where prices are known, for
`tune_to_save` has claims of its own there. A `no_gain` claims both that the candidate is below the goal and that it
gains too little, so both stand at its quarter.

*The goal's share follows the training half.* A rung near the goal there gets more, one far below it little. Weights
must not hang on the holdout, though rungs are fitted one by one while it is already being asked: so each takes its part
of what the rungs before it left, by its own trial and how many may still come (those that train or will turn out not to
apply counted too). What it takes is settled when it is fitted, and all together never take more than the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shouldtune.types import Goal
from shouldtune.verdict.columns import Column
from shouldtune.verdict.limits import WHOLE, Shares

NEAR, FAR = 0.05, 0.15
"""How far below the goal a trial may be, so that the rung is near it; and from where on it is far from it."""
WEIGHTS = (4.0, 1.0, 0.1)
"""Near the goal, in between or unknown, and far from it; a rung still to come counts 1."""
NOT_NEARLY = 0.15
"""A rung without an LLM that is this much worse on the training half than another is hardly as good as any."""


@dataclass(frozen=True)
class Levels:
    """The one-sided level of each kind of limit."""

    alpha: float
    low: Mapping[str, float]
    """The quality of a rung without training is at least this."""
    tuned_low: float
    """The quality of a trained rung is at least this."""
    high: float
    """The quality of a rung without training is at most this."""
    tuned_high: float
    """The quality of a trained rung is at most this."""
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

    def ends(self, c: Column) -> tuple[float, float]:
        """Of the lower and of the upper limit of a rung's quality."""
        return (self.tuned_low, self.tuned_high) if c.training else (self.low[c.name], self.high)

    def plain(self, shares: Shares = WHOLE) -> dict[str, Any]:
        """The levels as plain data, for the verdict's provenance."""
        return {**self._plain(), **({} if shares == WHOLE else _plain_shares(shares))}

    def _plain(self) -> dict[str, Any]:
        return {
            "levels": "one-sided; both ends of an interval may differ",
            "quality": "Clopper-Pearson for 0/1 scores, else BCa bootstrap with one worst value added",
            "gain": "Tango for 0/1 scores, else BCa bootstrap with one worst value added",
            "quality_low": dict(self.low),
            "quality_low_tuned": self.tuned_low,
            "quality_high": self.high,
            "quality_high_tuned": self.tuned_high,
            "gain_low": self.gain,
            "gain_high": dict(self.no_gain),
            **({"without_llm": self.relative} if self.relative else {}),
            "shipped_against_next_best": self.alpha / 2,
            **({"cost_low": self.more_low, "cost_high": self.more_high} if self.more_low else {}),
        }


def _plain_shares(shares: Shares) -> dict[str, Any]:
    better = "where measured whole the better of {} and of a betting confidence sequence, else the sequence alone"
    return {
        "quality": better.format("Clopper-Pearson or BCa"),
        "gain": better.format("Tango or BCa"),
        "share_fixed": shares.fixed,
        "share_sequential": shares.sequential,
        "share_drops": shares.drops,
    }


def share_alpha(
    goal: Goal, columns: Sequence[Column], candidates: int, sharing: int, *, priced: bool = False
) -> Levels:
    """Divide one run's alpha as the table at the head of this file says.

    `sharing` is how many rungs without training there are at least, for columns that do not say how many come after.
    """
    alpha, line = round(1 - goal.confidence, 12), goal.quality
    untrained = [c for c in columns if not c.training]
    lower = [c for c in untrained if c.limits != "broken"]
    free = [c for c in untrained if not c.uses_llm]
    no = alpha / 4 if line is not None else alpha * 5 / 8
    dollars = no / 4 if priced else 0.0
    relative = None
    if line is None and free and len(untrained) < len(columns):
        relative = (no - dollars) * (1 / 2 if _may_be_as_good(free, untrained) else 1 / 20)
    small = no - dollars - (relative or 0.0)
    first = max(lower, key=lambda c: -1.0 if c.trial is None else c.trial, default=None)
    rest = small / 2 / max(1, len(lower) - 1)
    weights = _weights(untrained, line if line is not None else 1 - goal.worthwhile_gain, sharing)
    return Levels(
        alpha=alpha,
        low={name: alpha * weight / (2 if line is not None else 8) for name, weight in weights.items()},
        tuned_low=(alpha / 4 if priced else alpha * 3 / 8) / max(1, candidates),
        high=alpha * (1 / 4 if priced else 3 / 4),
        tuned_high=alpha / 4,
        gain=alpha * (3 / 4 if line is None else 1 / 2) / max(1, candidates),
        no_gain={c.name: small if len(lower) == 1 else small / 2 if c is first else rest for c in lower},
        relative=None if relative is None else relative / len(free),
        more_low=dollars / len(lower) if priced else None,
        more_high=alpha / 4 / max(1, candidates) if priced else None,
    )


def _weights(untrained: Sequence[Column], line: float, sharing: int) -> dict[str, float]:
    """Each rung's part of a share that all have together, taken one after the other; their sum is at most 1."""
    left, taken = 1.0, {}
    for place, c in enumerate(untrained):
        behind = max(sharing, len(untrained)) - place - 1 if c.behind is None else c.behind
        weight = _weight(c.trial, line)
        taken[c.name] = left * weight / (weight + behind)
        left -= taken[c.name]
    return taken


def _weight(trial: float | None, line: float) -> float:
    near, between, far = WEIGHTS
    if trial is None:
        return between
    return near if trial >= line - NEAR else far if trial < line - FAR else between


def _may_be_as_good(free: Sequence[Column], untrained: Sequence[Column]) -> bool:
    """Whether on the training half a rung without an LLM comes near the best, or that is not known."""
    trials = [c.trial for c in free]
    best = max((c.trial for c in untrained if c.trial is not None), default=0.0)
    return any(trial is None or trial > best - NOT_NEARLY for trial in trials)
