"""decide(): a case to a verdict. Pure: no clock, no file, no model.

The rows of the table stand in rows.py, the limits that they read in bounds.py, what things cost in economics.py.
What was looked into beside the rungs (data, failures, a learning curve) stands in inquiry.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shouldtune.judgement import BreakEven, Comparison, Interval, MoneyTable, RungResult, Verdict
from shouldtune.stats import answered_pairs, mcnemar_exact, permutation_paired
from shouldtune.types import Spent
from shouldtune.verdict.bounds import Evidence, gather
from shouldtune.verdict.case import Case
from shouldtune.verdict.columns import Column, line_of, sharers
from shouldtune.verdict.economics import break_even, rung_cost
from shouldtune.verdict.limits import RACED, WHOLE, gain_limits
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.rows import Finding, finding_if_filled, findings, meets_goal
from shouldtune.verdict.sample_size import rows_needed
from shouldtune.verdict.sentences import because
from shouldtune.verdict.shots import more_shots

SEQUENTIAL = "betting confidence sequence: one of the two was stopped early"


def decide(
    case: Case, *, spent: Spent = Spent(), simulated: bool = False, provenance: Mapping[str, Any] | None = None
) -> Verdict:
    """Should you fine-tune? The chance of a false *no* is held to 1 - goal.confidence, and so is that of a false *yes*.

    `spent`, `simulated` and `provenance` decide nothing: they are handed on.
    Raises ValueError where a rung was measured twice, an example is twice in a measurement, or a score is not 0 to 1.
    """
    judged = judge(case)
    evidence, finding = judged.evidence, judged.finding
    needed = rows_needed(evidence) if finding.reason == "label_more" else None
    table = _money_table(evidence, case.seed)
    forecast = finding.path == "forecast" or (finding.reason == "out_of_reach" and _spared(evidence))
    return Verdict(
        answer=finding.answer,
        reason=finding.reason,
        rung=finding.rung,
        because=because(evidence, finding, judged.hidden, needed, case.untried, table, case.inquiry.forgetting),
        rungs=_lines(evidence, case),
        comparisons=_comparisons(evidence, finding, case.seed),
        spent=spent,
        examples_needed=needed,
        simulated=simulated,
        economics=table,
        basis="forecast" if forecast else "measured",
        diagnosis=case.inquiry.diagnosed(case.goal),
        forecast=case.inquiry.forecast(case.goal, spared=_spared(evidence)),
        shots=more_shots(case.measurements, case.goal),
        forgetting=case.inquiry.forgetting,
        provenance={**(provenance or {}), "intervals": evidence.levels.plain(evidence.shares)},
    )


@dataclass(frozen=True)
class Judged:
    """What decides, without the words."""

    evidence: Evidence
    finding: Finding
    hidden: Finding | None
    """What failed calls or unknown limits may hide, where nothing was found."""


def judge(case: Case) -> Judged:
    """The finding alone: `decide` puts it into words. Errors as there."""
    trained = {c.name for c in case.columns if c.training}
    sharing = sharers([name for name in case.planned if name not in trained and name not in case.skipped], case.trains)
    shares = WHOLE if all(m.raced_over is None for m in case.measurements) else RACED

    def evidence_of(columns: Sequence[Column]) -> Evidence:
        return with_inquiry(gather(case.goal, columns, sharing, shares, case.money), case)

    evidence = evidence_of(case.columns)
    found = findings(evidence)
    if case.budget_ended:
        found = [finding for finding in found if _holds_for_some(finding, case)]
        ended = Finding("not_yet", "unmeasured", None, "budget")
        return Judged(evidence, found[0] if found else ended, None)
    hidden = None if found else finding_if_filled(case.columns, evidence_of)
    return Judged(evidence, found[0] if found else _not_settled(evidence, hidden), hidden)


def _holds_for_some(finding: Finding, case: Case) -> bool:
    """Whether a finding holds though some rungs may not have been reached: of the data, or that one meets the goal."""
    reached = {m.rung for m in case.measurements} | set(case.skipped)
    here = finding.path == "data" or (finding.answer == "no" and finding.path == "goal")
    return here or reached >= set(case.planned)


def with_inquiry(e: Evidence, case: Case) -> Evidence:
    """The evidence with what was proven beside the rungs."""
    looked, curve = case.inquiry, case.inquiry.curve
    skip = looked.skip(case.goal)
    return replace(
        e,
        flaws=looked.flaws(case.goal),
        right_passage=looked.retrieval(case.goal),
        above=looked.ceiling() if looked.above_ceiling(case.goal) else None,
        skip=(curve.rung, skip) if curve is not None and skip is not None else None,
    )


def _spared(e: Evidence) -> bool:
    """Whether a fine-tune was not made because a forecast proves that it would gain too little."""
    return e.skip is not None and not e.trained


def _not_settled(e: Evidence, hidden: Finding | None) -> Finding:
    """`unmeasured` where something that was not measured could settle it, `label_more` where only more rows can."""
    answered = any(c.failed < len(c.scores) for c in e.columns)
    if hidden or not answered or not e.trained or not e.lower:
        return Finding("not_yet", "unmeasured", None, "none")
    best = e.best(e.shippable)
    return Finding("not_yet", "label_more", best.name if best else None, "none")


def _lines(e: Evidence, case: Case) -> tuple[RungResult, ...]:
    """Every rung's line, in the order of the ladder as far as that is known; a run judged again reads it from here."""
    lines = []
    for m, c in zip(case.measurements, e.columns, strict=True):
        meets = None if e.goal.quality is None else meets_goal(e, c)
        lines.append(line_of(m, c, e.quality[c.name], meets))
    skipped = [RungResult(name, applied=False, skipped_because=why) for name, why in case.untried.items()]
    places = {name: place for place, name in enumerate(case.planned)}
    return tuple(sorted((*lines, *skipped), key=lambda line: places.get(line.name, len(places))))


def _money_table(e: Evidence, seed: int) -> MoneyTable | None:
    """What every rung costs and when a candidate pays; None where no rung with a language model has a price."""
    economics = e.money.economics
    costs = [rung_cost(e.money, c.name, e.quality[c.name].estimate) for c in e.columns]
    if not any(line.per_1k or line.total for line in costs):
        return None
    asked = (economics.per_month, economics.months, economics.value_per_correct)
    return MoneyTable(*asked, tuple(costs), tuple(_break_evens(e, seed)))


def _break_evens(e: Evidence, seed: int) -> Iterator[BreakEven]:
    for (tuned, lower), gain in e.gains.items():
        levels = (e.levels.gain, e.levels.no_gain[lower])
        found = break_even(e.money, tuned, lower, gain, levels, e.levels.alpha, seed)
        if found is not None:
            yield found


# ---------------------------------------------------------------- comparisons


def _comparisons(e: Evidence, finding: Finding, seed: int) -> tuple[Comparison, ...]:
    """Each candidate against every rung without training, and what is shipped against the next best."""
    columns = {c.name: c for c in e.columns}
    made = [_comparison(columns[a], columns[b], gain, seed) for (a, b), gain in e.gains.items()]
    shipped = columns.get(finding.rung or "")
    rivals = [c for c in e.columns if c is not shipped and c.limits != "broken"]
    rival = max(rivals, key=lambda c: e.quality[c.name].estimate or 0.0, default=None)
    if shipped and rival and (rival.name, shipped.name) not in e.gains and (shipped.name, rival.name) not in e.gains:
        level = e.levels.alpha / 2
        gain = gain_limits(shipped, rival, (level, level), e.shares, Memory())
        made.append(_comparison(shipped, rival, gain, seed))
    return tuple(made)


def _comparison(a: Column, b: Column, gain: Interval, seed: int) -> Comparison:
    """Two rungs side by side, the better one first."""
    if gain.estimate is not None and gain.estimate < 0:
        return _comparison(b, a, Interval(-gain.estimate, -gain.high, -gain.low, gain.n), seed)
    if not (a.whole and b.whole):
        return Comparison(a.name, b.name, gain.estimate, gain.low, gain.high, gain.n, None, SEQUENTIAL)
    x, y = answered_pairs(a.scores, b.scores)
    binary = bool(np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all())
    return Comparison(
        better=a.name,
        worse=b.name,
        gain=gain.estimate,
        low=gain.low,
        high=gain.high,
        n=gain.n,
        p_value=mcnemar_exact(x, y) if binary else permutation_paired(x, y, seed),
        method="exact McNemar test, Tango interval" if binary else "paired permutation test, BCa bootstrap interval",
    )
