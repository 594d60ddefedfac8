"""What `shouldtune check` says for free: is the data fit to measure anything on, and what could it prove?"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shouldtune.identifiers import RULES, identifiers
from shouldtune.provable import provable
from shouldtune.scorers import grade, model_needed, part_of
from shouldtune.scorers.redaction import Redaction
from shouldtune.spool import together
from shouldtune.task import LoadedTask
from shouldtune.task.alike import near_duplicates
from shouldtune.task.split import looks_labelled
from shouldtune.types import Completion, Example, Task

Level = Literal["ok", "note", "warning", "problem"]
GRADED_AT_ONCE = 512
"""Targets; a scorer that runs code has its own limit below."""
CONSTANTS_TRIED = 100
ROWS_FOR_CONSTANTS = 300
ROWS_TO_CHOOSE = 20
"""Rows that the best constant is chosen on; where answers are no labels it is then scored on others."""
FOOLED = 0.5
"""A mean score from which a constant answer says that the scorer, or the data, cannot tell answers apart."""
PERSONAL = frozenset(rule.kind for rule in RULES if rule.personal)
LEAST_MARKED = 3
"""Shorter marked texts stand in other words' places by chance."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it stands, what was found, and which rows to look at."""

    level: Level
    title: str
    detail: str
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Constant:
    """The best constant answer."""

    text: str
    scores: tuple[float, ...]
    tried: int
    """Over how many constants these scores were the best; 1 where it was chosen on other rows."""
    target_share: float = 0.0
    """The share of these rows to which it is a right answer word for word: what imbalance alone explains."""

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True)
class Counted:
    """What the data say of themselves, in numbers."""

    rows: int
    failing: tuple[str, ...]
    """Of `rows`, those whose target does not score 1.0, a line each."""
    holdout: int
    leaked: int
    """Of `holdout`, those that nearly repeat a training input."""
    pairs: tuple[str, ...]
    """`training row ~ held-out row`."""


async def count(loaded: LoadedTask) -> Counted:
    """Count what is wrong with targets and halves. Calls no model."""
    everything = together(loaded.task.train, loaded.holdout)
    free = model_needed(loaded.task.scorer) is None  # a judge's grades cost money, and are no proof about a target
    failing: list[str] = []
    for start in range(0, len(everything) if free else 0, GRADED_AT_ONCE):
        rows = list(everything[start : start + GRADED_AT_ONCE])
        scores = await asyncio.gather(*(grade(loaded.task.scorer, Completion(text=e.target), e) for e in rows))
        low = [(e, s) for e, s in zip(rows, scores, strict=True) if s.value < 1 - 1e-9]
        failing += [f"{e.id}: {s.value:.2f} {s.reason}".rstrip() for e, s in low]
    cut = len(loaded.task.train)
    pairs = near_duplicates(example.input for example in everything)
    across = [(everything[i], everything[j]) for i, j in pairs if i < cut <= j]
    return Counted(
        rows=len(everything),
        failing=tuple(failing),
        holdout=len(loaded.holdout),
        leaked=len({held.id for _, held in across}),
        pairs=tuple(f"{a.id} ~ {b.id}" for a, b in across),
    )


async def check(loaded: LoadedTask) -> tuple[Finding, ...]:
    """Look at everything that can be known before a model is asked. Calls no model."""
    everything = together(loaded.task.train, loaded.holdout)
    counted = await count(loaded)
    judge = model_needed(loaded.task.scorer)
    return (
        targets_score_one(counted) if judge is None else judged_later(judge),
        contradictions(everything),
        overlap(counted),
        *([await constants(loaded)] if judge is None else []),
        *personal_data(loaded),
        *await power(loaded),
    )


def targets_score_one(counted: Counted) -> Finding:
    """Every target must score 1.0 by its own scorer: otherwise the best answer there is counts as wrong."""
    if not counted.failing:
        return Finding("ok", "targets", f"all {counted.rows} targets score 1.0 by the task's own scorer")
    said = f"{len(counted.failing)} of {counted.rows} targets score below 1.0 by the task's own scorer"
    return Finding("problem", "targets", said, counted.failing)


def judged_later(judge: str) -> Finding:
    """What only a judge can say of targets and of empty answers is not asked for free."""
    said = f"{judge} is asked nothing here: `run` tries it on a few training rows first, and refuses one that is fooled"
    return Finding("note", "judge", said)


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


def overlap(counted: Counted) -> Finding:
    """Near-duplicates across the two halves would let a rung remember instead of know."""
    if not counted.pairs:
        return Finding("ok", "overlap", "no near-duplicates between the training and the held-out examples")
    said = f"{counted.leaked} of {counted.holdout} held-out inputs nearly repeat a training input"
    return Finding("warning", "overlap", said, counted.pairs)


def has_labels(task: Task) -> bool:
    """Whether answers are of a closed set: other rows speak about them, and a constant that does well is imbalance."""
    return bool(task.output.labels) or looks_labelled(task.train)


async def best_constant(loaded: LoadedTask) -> Constant:
    """The constant that scores best: a target, nothing at all, or many targets at once.

    On labels all are scored on all rows. Elsewhere a scorer may be slow, so that the best is chosen on a few rows
    and scored on others: its score is then that of one constant, not the best of many.
    """
    examples = together(loaded.task.train, loaded.holdout)[:ROWS_FOR_CONSTANTS]
    counts = Counter(example.target for example in examples)
    candidates = [text for text, _ in counts.most_common(CONSTANTS_TRIED)] + [
        "",
        " ".join(list(counts)[:CONSTANTS_TRIED]),
    ]

    async def scores(text: str, rows: Sequence[Example]) -> tuple[float, ...]:
        found = await asyncio.gather(*(grade(loaded.task.scorer, Completion(text=text), row) for row in rows))
        return tuple(score.value for score in found)

    apart = not has_labels(loaded.task) and len(examples) >= 2 * ROWS_TO_CHOOSE
    chosen_on = examples[:ROWS_TO_CHOOSE] if apart else examples
    found = [(text, await scores(text, chosen_on)) for text in candidates]
    text, best = max(found, key=lambda pair: sum(pair[1]))
    rows = examples[ROWS_TO_CHOOSE:] if apart else examples
    share = sum(text in row.answers for row in rows) / len(rows)
    if not apart:
        return Constant(text, best, len(candidates), share)
    return Constant(text, await scores(text, rows), 1, share)


async def constants(loaded: LoadedTask) -> Finding:
    """What does the best constant answer score? On a label set that is imbalance, where the constant is a right answer
    about as often as it scores; elsewhere the scorer is fooled."""
    best = await best_constant(loaded)
    shown = repr(best.text if len(best.text) <= 60 else best.text[:57] + "...")
    goal = loaded.task.goal.quality
    if has_labels(loaded.task) and not (best.mean >= FOOLED and best.mean >= 2 * best.target_share):
        level: Level = "warning" if goal is not None and best.mean >= goal else "note"
        return Finding(
            level, "constant", f"always answering {shown} scores {best.mean:.2f}: every approach must beat that"
        )
    if best.mean >= FOOLED or (goal is not None and best.mean >= goal):
        return Finding("problem", "constant", f"the scorer is fooled: always answering {shown} scores {best.mean:.2f}")
    return Finding("ok", "constant", f"the best constant answer, {shown}, scores {best.mean:.2f}")


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


# ---------------------------------------------------------------- personal data


def personal_data(loaded: LoadedTask) -> list[Finding]:
    """What rules find of personal data, counted by kind; for a redaction task, what its targets leave or treat
    differently from row to row. No value is told: a report must not spread what the data should hide."""
    everything = together(loaded.task.train, loaded.holdout)
    scorer = part_of(loaded.task.scorer, Redaction)
    found = [_kinds_told(side, [_kinds(text) for text in texts]) for side, texts in _sides(everything)]
    told = "; ".join(filter(None, found))
    findings = [Finding("note", "personal data", f"{told} (by rules: there may be more)")] if told else []
    if scorer is None:
        return findings
    left = [(e.id, _kinds(e.target)) for e in everything]
    rows = tuple(f"{name}: {', '.join(kinds)}" for name, kinds in left if kinds)
    if rows:
        said = f"{len(rows)} of {len(everything)} targets still hold what a rule takes for an identifier"
        findings.append(Finding("warning", "left in targets", said, rows))
    uneven = marked_unevenly(everything, scorer)
    if uneven:
        said = f"{len(uneven)} texts are marked in some rows and left in others"
        findings.append(Finding("note", "marked unevenly", said, uneven))
    return findings


def _sides(examples: Sequence[Example]) -> tuple[tuple[str, list[str]], ...]:
    return (("inputs", [e.input for e in examples]), ("targets", [e.target for e in examples]))


def _kinds(text: str) -> list[str]:
    """The kinds of what points to a person by itself, each as often as it stands in the text."""
    return [found.kind for found in identifiers(text, PERSONAL)]


def _kinds_told(side: str, rows: Sequence[Sequence[str]]) -> str:
    counts = Counter(kind for kinds in rows for kind in kinds)
    holding = sum(bool(kinds) for kinds in rows)
    told = ", ".join(f"{times} {kind}" for kind, times in counts.most_common())
    return f"{holding} of {len(rows)} {side}: {told}" if counts else ""


def marked_unevenly(examples: Sequence[Example], scorer: Redaction) -> tuple[str, ...]:
    """Texts that are replaced in some rows and stand unmarked in others, the most frequent first; each is told by its
    first letter and its length alone."""
    marked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    plain: dict[str, list[str]] = defaultdict(list)
    spans = {example.id: scorer.marked(example) for example in examples}
    for example in examples:
        for span in spans[example.id]:
            marked[example.input[span.start : span.end]].append((example.id, span.label))
    longest = sorted((text for text in marked if len(text) >= LEAST_MARKED), key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)" if longest else r"(?!)")
    for example in examples:
        for match in pattern.finditer(example.input):
            if all(match.end() <= span.start or span.end <= match.start() for span in spans[example.id]):
                plain[match.group()].append(example.id)
    lines = []
    for text in sorted(plain, key=lambda text: -len(plain[text])):
        label = Counter(label for _, label in marked[text]).most_common(1)[0][0]
        said = (
            f"marked {len(marked[text])} times ({marked[text][0][0]}), left {len(plain[text])} times ({plain[text][0]})"
        )
        lines.append(f"{text[0]}... of {len(text)} characters, {label}: {said}")
    return tuple(lines)
