"""What `shouldtune check` says for free: is the data fit to measure anything on, and what could it prove?"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shouldtune.provable import provable
from shouldtune.scorers import grade
from shouldtune.task import LoadedTask, looks_labelled, near_duplicates
from shouldtune.types import Completion, Example, Scorer

Level = Literal["ok", "note", "warning", "problem"]
CONSTANTS_TRIED = 100
ROWS_FOR_CONSTANTS = 300
FOOLED = 0.5
"""A mean score from which a constant answer says that the scorer, or the data, cannot tell answers apart."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it stands, what was found, and which rows to look at."""

    level: Level
    title: str
    detail: str
    rows: tuple[str, ...] = ()


async def check(loaded: LoadedTask) -> tuple[Finding, ...]:
    """Look at everything that can be known before a model is asked. Calls no model."""
    everything = (*loaded.task.train, *loaded.holdout)
    return (
        await targets_score_one(loaded.task.scorer, everything),
        contradictions(everything),
        overlap(loaded.task.train, loaded.holdout),
        await constants(loaded),
        *await power(loaded),
    )


async def targets_score_one(scorer: Scorer, examples: Sequence[Example]) -> Finding:
    """Every target must score 1.0 by its own scorer: otherwise the best answer there is counts as wrong."""
    scores = await asyncio.gather(*(grade(scorer, Completion(text=e.target), e) for e in examples))
    low = [(e, s) for e, s in zip(examples, scores, strict=True) if s.value < 1 - 1e-9]
    if not low:
        return Finding("ok", "targets", f"all {len(examples)} targets score 1.0 by the task's own scorer")
    rows = tuple(f"{e.id}: {s.value:.2f} {s.reason}".rstrip() for e, s in low)
    return Finding(
        "problem", "targets", f"{len(low)} of {len(examples)} targets score below 1.0 by the task's own scorer", rows
    )


def contradictions(examples: Sequence[Example]) -> Finding:
    """The same input with different targets: no model can get both right."""
    targets: dict[str, dict[str, str]] = defaultdict(dict)
    for example in examples:
        targets[" ".join(example.input.lower().split())].setdefault(example.target, example.id)
    rows = tuple(" / ".join(found.values()) for found in targets.values() if len(found) > 1)
    if not rows:
        return Finding("ok", "contradictions", "no input stands twice with different targets")
    return Finding(
        "warning",
        "contradictions",
        f"{len(rows)} inputs have more than one target; list them in `accepted` if all are right",
        rows,
    )


def overlap(train: Sequence[Example], holdout: Sequence[Example]) -> Finding:
    """Near-duplicates across the two halves would let a rung remember instead of know."""
    everything = [*train, *holdout]
    pairs = near_duplicates([example.input for example in everything])
    across = [(everything[i], everything[j]) for i, j in pairs if i < len(train) <= j]
    if not across:
        return Finding("ok", "overlap", "no near-duplicates between the training and the held-out examples")
    rows = tuple(f"{a.id} ~ {b.id}" for a, b in across)
    touched = len({b.id for _, b in across})
    return Finding(
        "warning", "overlap", f"{touched} of {len(holdout)} held-out inputs nearly repeat a training input", rows
    )


async def constants(loaded: LoadedTask) -> Finding:
    """What does the best constant answer score? On a label set that is imbalance; elsewhere the scorer is fooled."""
    examples = (*loaded.task.train, *loaded.holdout)[:ROWS_FOR_CONSTANTS]
    counts = Counter(example.target for example in examples)
    labels = loaded.task.output.labels
    candidates = [text for text, _ in counts.most_common(CONSTANTS_TRIED)] + [
        "",
        " ".join(list(counts)[:CONSTANTS_TRIED]),
    ]
    best, best_score = "", -1.0
    for text in candidates:
        scores = [(await grade(loaded.task.scorer, Completion(text=text), example)).value for example in examples]
        mean = sum(scores) / len(scores)
        if mean > best_score:
            best, best_score = text, mean
    shown = repr(best if len(best) <= 60 else best[:57] + "...")
    goal = loaded.task.goal.quality
    if labels or looks_labelled(examples):
        level: Level = "warning" if goal is not None and best_score >= goal else "note"
        return Finding(
            level, "constant", f"always answering {shown} scores {best_score:.2f}: every approach must beat that"
        )
    if best_score >= FOOLED or (goal is not None and best_score >= goal):
        return Finding("problem", "constant", f"the scorer is fooled: always answering {shown} scores {best_score:.2f}")
    return Finding("ok", "constant", f"the best constant answer, {shown}, scores {best_score:.2f}")


async def power(loaded: LoadedTask) -> list[Finding]:
    """What this many held-out examples can prove, before anything is spent."""
    can, worthwhile = await provable(loaded), loaded.task.goal.worthwhile_gain
    findings = []
    if can.goal is not None:
        verb = "would" if can.perfect_proves else "could not"
        what = f"a perfect score on {can.n} held-out examples {verb} prove the goal of {can.goal:g}"
        needed = "" if can.perfect_proves else f"; {can.rows_for_goal} are needed"
        findings.append(Finding("ok" if can.perfect_proves else "problem", "goal", what + needed))
    seen = "none can be shown" if can.visible_gain is None else f"{can.visible_gain:.2f}"
    findings.append(
        Finding(
            "ok" if can.rows_to_settle <= can.n else "note",
            "power",
            f"the smallest gain that {can.n} held-out examples usually show: {seen} ({can.assumed}); "
            f"to settle whether one is worth {worthwhile:g} takes about {can.rows_to_settle:,}",
        )
    )
    return findings
