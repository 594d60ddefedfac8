"""decide(): what was measured, and what for, to a verdict. Pure: no clock, no file, no model.

The rows of the table stand in rows.py, the limits that they read in bounds.py. The rows that need neither money nor
a forecast are here. Measurements that were raced may cover the first rows of the holdout only; the rest are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shouldtune.stats import answered_pairs, mcnemar_exact, permutation_paired
from shouldtune.types import Comparison, Goal, Interval, Measurement, RungResult, Spent, Verdict
from shouldtune.verdict.bounds import Evidence, gather
from shouldtune.verdict.columns import Column, columns_of, line_of
from shouldtune.verdict.limits import RACED, WHOLE, gain_limits
from shouldtune.verdict.rows import Finding, finding_if_filled, findings, meets_goal, rows_needed
from shouldtune.verdict.sentences import because

SEQUENTIAL = "betting confidence sequence: one of the two was stopped early"


def decide(
    goal: Goal,
    measurements: Sequence[Measurement],
    skipped: Mapping[str, str],
    *,
    planned: Sequence[str] = (),
    spent: Spent = Spent(),
    simulated: bool = False,
    provenance: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Verdict:
    """Should you fine-tune? The chance of a false *no* is held to 1 - goal.confidence, and so is that of a false *yes*.

    `measurements` are in ladder order, cheapest first, and aligned by example id. `skipped` names the rungs that
    cannot apply, with the reason, known before the holdout was looked at. `planned` names every rung of the ladder
    in order: the goal's alpha is shared over all that may still be measured, so that deciding after each rung and
    stopping early costs nothing in honesty. `seed` is of the bootstrap and the permutations.
    Raises ValueError where a rung was measured twice, an example is twice in a measurement, or a score is not 0 to 1.
    """
    columns = columns_of(goal, measurements)
    trained = {c.name for c in columns if c.training}
    sharing = sum(name not in trained and name not in skipped for name in planned)
    shares = WHOLE if all(m.raced_over is None for m in measurements) else RACED
    evidence = gather(goal, columns, sharing, seed, shares)
    found = findings(evidence)
    hidden = None if found else finding_if_filled(goal, columns, sharing, seed, shares)
    finding = found[0] if found else _not_settled(evidence, hidden)
    needed = rows_needed(evidence) if finding.reason == "label_more" else None
    untried = _untried(planned, measurements, skipped)
    return Verdict(
        answer=finding.answer,
        reason=finding.reason,
        rung=finding.rung,
        because=because(evidence, finding, hidden, needed, untried),
        rungs=_lines(evidence, measurements, untried),
        comparisons=_comparisons(evidence, finding, seed),
        spent=spent,
        examples_needed=needed,
        simulated=simulated,
        provenance={**(provenance or {}), "intervals": evidence.levels.plain(shares)},
    )


def _not_settled(e: Evidence, hidden: Finding | None) -> Finding:
    """`unmeasured` where something that was not measured could settle it, `label_more` where only more rows can."""
    answered = any(c.failed < len(c.scores) for c in e.columns)
    if hidden or not answered or not e.trained or not e.lower:
        return Finding("not_yet", "unmeasured", None, "none")
    best = e.best(e.shippable)
    return Finding("not_yet", "label_more", best.name if best else None, "none")


def _untried(planned: Sequence[str], measurements: Sequence[Measurement], skipped: Mapping[str, str]) -> dict[str, str]:
    """Why each rung without a measurement has none."""
    measured = {m.rung for m in measurements}
    waiting = {name: "not reached" for name in planned if name not in measured}
    return {**waiting, **{name: why for name, why in skipped.items() if name not in measured}}


def _lines(e: Evidence, measurements: Sequence[Measurement], untried: Mapping[str, str]) -> tuple[RungResult, ...]:
    """Every rung's line: the measured ones in ladder order, then the others."""
    lines = []
    for m, c in zip(measurements, e.columns, strict=True):
        meets = None if e.goal.quality is None else meets_goal(e, c)
        lines.append(line_of(m, c, e.quality[c.name], meets))
    skipped = [RungResult(name, applied=False, skipped_because=why) for name, why in untried.items()]
    return (*lines, *skipped)


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
        gain = gain_limits(shipped, rival, (level, level), e.shares, seed)
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
