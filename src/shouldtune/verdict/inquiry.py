"""What was looked into beside the rungs: the data, why failures fail, and a learning curve. Pure.

An Inquiry is what was counted and asked, not what follows from it: that is worked out anew for every goal, so that a
finished run can be judged again and `sensitivity` can ask what-if.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from shouldtune.causes import Ahead, Diagnosed, Flaw, Forecasted, Forgetting, Miss, RetrievalGain, Seen
from shouldtune.curves import CurvePoint
from shouldtune.judgement import Interval
from shouldtune.stats import clopper_pearson
from shouldtune.types import Goal
from shouldtune.verdict.diagnosis import (
    DataEvidence,
    ceiling,
    fix_data,
    fix_retrieval,
    goal_is_out_of_reach,
    retrieval_gain,
)
from shouldtune.verdict.forecast import TIMES, Skip, forecast, may_skip
from shouldtune.verdict.probes import LEVEL, Diagnosis

MOST_DOUBTS = 50
MOST_MISSES = 20
FORECAST_SHARE = 1 / 4
"""Of alpha, for the claim that a fine-tune that was not made would gain too little; see the table in bounds.py."""


@dataclass(frozen=True)
class ProbeEvidence:
    """What the probes of one rung's training-half failures found."""

    rung: str
    diagnosis: Diagnosis
    asked: int
    """Training rows that the rung was asked as it is."""
    failing: int
    """How many of them it got wrong."""
    retrieved: tuple[float | None, ...] = ()
    """Scores of a random sample as they are; empty without documents."""
    right: tuple[float | None, ...] = ()
    """The same rows with the right passage in the prompt."""
    misses: tuple[Miss, ...] = ()
    """The first of them."""
    missed: int = 0
    calls: int = 0
    notes: tuple[str, ...] = ()

    @property
    def heard(self) -> Interval | None:
        """The share of training rows whose target is wrong by the probes; None where they could not tell."""
        noise = self.diagnosis.share("noise")
        if noise is None or noise.estimate is None:
            return None
        failing = clopper_pearson(self.failing, self.asked, 1 - LEVEL)
        estimate = noise.estimate * self.failing / self.asked
        return Interval(estimate, noise.low * failing.low, noise.high * failing.high, self.asked)


@dataclass(frozen=True)
class CurveEvidence:
    """Small fine-tunes, and the rung without training that a full one would have to beat."""

    rung: str
    """Chosen by other rows of the training half, and fitted without the rows of the points."""
    points: tuple[CurvePoint, ...]
    beside: tuple[float | None, ...]
    """That rung's scores on the rows of the points."""
    size: int
    """Examples that a full fine-tune learns from."""


@dataclass(frozen=True)
class Inquiry:
    """All that was looked into; None where it was not."""

    data: DataEvidence | None = None
    probes: ProbeEvidence | None = None
    curve: CurveEvidence | None = None
    notes: tuple[str, ...] = ()
    """Why something was not looked into."""
    all_pass: int = 0
    """Training rows that the best prompt was asked, where it failed none of them and there was nothing to probe."""
    forgetting: Forgetting | None = None
    """What the tuned model that may be shipped does at other things."""

    def flaws(self, goal: Goal) -> tuple[Flaw, ...]:
        """The reasons to mend the data first."""
        return () if self.data is None else _flaws(self.data, goal, self._heard())

    def ceiling(self) -> Interval | None:
        """The best score within reach; None where the data were not looked at."""
        return None if self.data is None else _ceiling(self.data)

    def above_ceiling(self, goal: Goal) -> bool:
        best = self.ceiling()
        return best is not None and goal_is_out_of_reach(goal, best)

    def retrieval(self, goal: Goal) -> RetrievalGain | None:
        """What the right passage would do, where it is proven to be what is missing."""
        return None if self.probes is None else _retrieval(self.probes.retrieved, self.probes.right, goal)

    def skip(self, goal: Goal) -> Skip | None:
        """Why a full fine-tune need not be paid for; None where it may be worth its price, or no curve is known."""
        return None if self.curve is None else _skip(self.curve, goal, self._highest())

    def diagnosed(self, goal: Goal) -> Diagnosed | None:
        """What a verdict tells of the data and the failures; None where neither was looked at."""
        best = self.ceiling()
        if self.data is None or best is None:
            return None
        doubts = self.data.doubts
        told = Diagnosed(
            flaws=self.flaws(goal),
            ceiling=best,
            goal_above_ceiling=self.above_ceiling(goal),
            doubts=doubts.doubts[:MOST_DOUBTS],
            doubted=len(doubts.ids),
            rows=doubts.rows,
            notes=self.notes,
        )
        return told if self.probes is None else _with_probes(told, self.probes, goal)

    def forecast(self, goal: Goal, *, spared: bool) -> Forecasted | None:
        """What a verdict tells of more examples; None where no curve was measured that says anything."""
        return None if self.curve is None else _forecasted(self.curve, goal, self._highest(), spared)

    def _heard(self) -> Interval | None:
        """The share of wrong targets by a language model, where one was asked."""
        if self.all_pass:
            return clopper_pearson(0, self.all_pass, 1 - LEVEL)
        return None if self.probes is None else self.probes.heard

    def _highest(self) -> float:
        best = self.ceiling()
        return 1.0 if best is None else best.high


def _with_probes(told: Diagnosed, probes: ProbeEvidence, goal: Goal) -> Diagnosed:
    found = probes.diagnosis
    return replace(
        told,
        rung=probes.rung,
        shares=found.shares,
        placebo=found.placebo,
        failing=probes.failing,
        asked=probes.asked,
        readings=found.readings,
        passage=retrieval_gain(probes.retrieved, probes.right, goal) if probes.retrieved else None,
        misses=probes.misses[:MOST_MISSES],
        missed=probes.missed,
        calls=probes.calls,
        notes=(*told.notes, *probes.notes),
    )


# ---------------------------------------------------------------- what follows, remembered over what-ifs


@lru_cache(maxsize=256)
def _flaws(data: DataEvidence, goal: Goal, heard: Interval | None) -> tuple[Flaw, ...]:
    return fix_data(data, goal, heard)


@lru_cache(maxsize=16)
def _ceiling(data: DataEvidence) -> Interval:
    return ceiling(data.doubts)


@lru_cache(maxsize=256)
def _retrieval(
    retrieved: tuple[float | None, ...], right: tuple[float | None, ...], goal: Goal
) -> RetrievalGain | None:
    return fix_retrieval(retrieved, right, goal)


@lru_cache(maxsize=256)
def _skip(curve: CurveEvidence, goal: Goal, highest: float) -> Skip | None:
    level = (1 - goal.confidence) * FORECAST_SHARE
    return may_skip(curve.points, curve.beside, curve.size, goal, level, ceiling=highest)


@lru_cache(maxsize=16)
def _forecasted(curve: CurveEvidence, goal: Goal, highest: float, spared: bool) -> Forecasted | None:
    known = forecast(curve.points, ceiling=highest)
    if known is None:
        return None
    alpha = 1 - goal.confidence
    return Forecasted(
        rung=curve.rung,
        beside=_mean(curve.beside),
        points=tuple(Seen(p.size, p.score, p.rows) for p in curve.points if p.score is not None),
        ahead=tuple(
            Ahead(n, times, known.score(n, alpha), known.gain(n, curve.beside, alpha / 2, alpha / 2))
            for times in TIMES
            for n in (times * curve.size,)
        ),
        level=alpha,
        until=None if goal.quality is None else known.examples_until(goal.quality, alpha),
        spared=spared,
    )


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None
