"""The old verdict beside the new one."""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.judgement import Interval, RungResult, Verdict
from shouldtune.run import RunRecord
from shouldtune.stats import paired_interval
from shouldtune.task.contents import hash_of


@dataclass(frozen=True)
class ThenAndNow:
    """One rung in both runs."""

    rung: str
    then: RungResult | None
    """None where it was not there, or did not apply."""
    now: RungResult | None
    gain: Interval | None = None
    """Of its mean score on the held-out examples that are the same and were answered in both; None without any."""
    other: int = 0
    """On how many of these its score is another one."""
    total_then: float | None = None
    """Dollars over the horizon."""
    total_now: float | None = None


@dataclass(frozen=True)
class Outcome:
    """Whether a verdict stands."""

    then: RunRecord
    now: RunRecord
    rungs: tuple[ThenAndNow, ...]
    """Those that are to ship, then or now, first; then all others in ladder order."""

    @property
    def stands(self) -> bool | None:
        """The same answer, and the same rung to ship; the reason may be another one. None where either told nothing."""
        then, now = self.then.verdict, self.now.verdict
        return (then.answer, then.rung) == (now.answer, now.rung) if tells(then) and tells(now) else None

    @property
    def measured(self) -> bool:
        """Whether enough was measured to tell."""
        return tells(self.now.verdict)

    @property
    def meets_goal(self) -> bool | None:
        """Whether any rung meets the goal now; None without one."""
        goal = (self.now.asked.get("goal") or {}).get("quality")
        return None if goal is None else any(rung.meets_goal for rung in self.now.verdict.rungs)


def tells(verdict: Verdict) -> bool:
    """Whether enough was measured for an answer."""
    return verdict.reason != "unmeasured"


def is_finished(verdict: Verdict) -> bool:
    """Whether nothing is left to do in its run: no call failed that mattered, and no budget ended it."""
    return tells(verdict) and not (verdict.provenance.get("budget") or {}).get("ended")


def outcome(then: RunRecord, now: RunRecord) -> Outcome:
    """Both runs, rung by rung."""
    names = [name for name in (then.verdict.rung, now.verdict.rung) if name is not None]
    names += [rung.name for record in (now, then) for rung in record.verdict.rungs if rung.applied]
    return Outcome(then, now, tuple(_both(name, then, now) for name in dict.fromkeys(names)))


def _both(name: str, then: RunRecord, now: RunRecord) -> ThenAndNow:
    scores = [_scores(name, record) for record in (then, now)]
    common = [key for key in scores[0] if key in scores[1]]
    old, new = ([each[key] for key in common] for each in scores)
    alpha = 1 - float((now.asked.get("goal") or {}).get("confidence") or 0.95)
    return ThenAndNow(
        rung=name,
        then=_result(name, then),
        now=_result(name, now),
        gain=paired_interval(new, old, alpha) if common else None,
        other=sum(a != b for a, b in zip(old, new, strict=True)),
        total_then=_total(name, then),
        total_now=_total(name, now),
    )


def _scores(name: str, record: RunRecord) -> dict[str, float]:
    """By what the example says."""
    said = {example.id: hash_of(example) for example in record.holdout}
    found = (each for each in record.measurements if each.rung == name)
    return {said[p.example_id]: p.score.value for each in found for p in each.predictions if p.score is not None}


def _result(name: str, record: RunRecord) -> RungResult | None:
    return next((rung for rung in record.verdict.rungs if rung.name == name and rung.applied), None)


def _total(name: str, record: RunRecord) -> float | None:
    table = record.verdict.economics
    return next((cost.total for cost in (table.costs if table else ()) if cost.rung == name), None)
