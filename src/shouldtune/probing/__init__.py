"""Asks the probes: training-half failures of a fitted prompt, one thing changed at a time, with real calls.

Rows come from the part of the training half that no setting was chosen on, in its seeded order; a row is never shown as
its own shot. The first of them are a random sample as well, for what the right passage would gain (`fix_retrieval`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shouldtune.causes import Miss, Probe
from shouldtune.checks import has_labels
from shouldtune.doubts import Doubts, doubt
from shouldtune.judgement import Interval
from shouldtune.models.calibrated import Calibrated
from shouldtune.models.paying import paying
from shouldtune.models.prompted import Prompted
from shouldtune.probing.answers import TRIES, Found, Kind, Row, again, closed_book_score, complete, plain, score_of
from shouldtune.probing.changes import (
    Asked,
    Library,
    closed_book,
    held_to_form,
    on_another_model,
    placebo,
    rank_of,
    take_apart,
    with_nearest_shots,
    with_right_passages,
)
from shouldtune.retrieval.bm25 import Bm25
from shouldtune.retrieval.chunks import Passage, same_place
from shouldtune.rungs.choosing import parted
from shouldtune.types import Example, Model, Skipped, Task
from shouldtune.verdict.diagnosis import trusted, wrong_targets
from shouldtune.verdict.probes import PROBES, Diagnosis, Tried, diagnose

PAYER = "probes"
BATCH = 64
TASTED = 8
"""Rows whose changed prompts say how long all of them are."""
FEWEST_ROWS = 24
HALF = 0.5
"""The score from which a graded answer passes where the goal names no line."""


@dataclass(frozen=True)
class Probing:
    """How much to ask."""

    failures: int = 96
    """At most; with 96 the shares' mean error stays within 5 points while the placebo repairs at most 0.3."""
    successes: int = 48
    random: int = 128
    """Rows on which the right passage is compared with what was retrieved."""
    most_calls: int = 2_000
    most_characters: int = 600_000
    """Of the changed prompts together, about 150,000 tokens: where each is long, fewer rows are changed, so that asking
    why prompts fail does not take longer than the training that it may spare."""
    tries: int = 4
    """How often `again` asks."""
    temperature: float = 0.7
    tried_again: int = 32
    chosen_on: int = 32
    """Rows that a prompt without settings is asked, to see which prompt is the best one."""
    seed: int = 0


@dataclass(frozen=True)
class Probed:
    """What the probes found."""

    failures: tuple[Tried, ...]
    successes: tuple[Tried, ...]
    probes: tuple[Probe, ...]
    """Those that were run."""
    certain: tuple[Probe, ...]
    """Those of them that asked no model."""
    doubts: Doubts
    misses: tuple[Miss, ...]
    retrieved: tuple[float | None, ...]
    """Scores of a random sample as they are; empty without documents."""
    right: tuple[float | None, ...]
    """The same rows with the right passage in the prompt; None where none is known or the call failed."""
    readings: Mapping[str, Interval]
    calls: int
    asked: int
    """Training rows that were asked as they are."""
    failing: int
    """How many of them fail."""
    notes: tuple[str, ...] = ()

    def diagnosis(self, seed: int = 0) -> Diagnosis:
        return diagnose(
            self.failures, self.successes, self.probes, certain=self.certain, readings=self.readings, seed=seed
        )


@dataclass(frozen=True)
class NothingFails(Skipped):
    """There is no failure to probe."""

    asked: int = 0
    """Training rows that were asked."""


async def probe(
    task: Task,
    fitted: Model,
    how: Probing = Probing(),
    strong: Model | None = None,
    doubts: Doubts | None = None,
) -> Probed | Skipped:
    """Find failures of a fitted prompt on the training half, and change one thing at a time about them.

    `doubts` are those of the training half, where they are known already.
    Everything asked is on the bill of `probes`; calls come in batches and from the ledger where it has them. Skipped
    where the model is no prompt, or nothing fails. A call that fails is an unknown outcome.
    """
    if prompt_of(fitted) is None:
        return Skipped("the best rung is no prompt: there is nothing in it to change")
    with paying(PAYER, "probe"):
        rows = await _first_answers(task, fitted, how)
        line = passing(task, [row.score for row in rows])
        failed = [row for row in rows if row.score is not None and row.score < line]
        passed = [row for row in rows if row.score is not None and row.score >= line]
        if not failed:
            return NothingFails(f"none of {len(rows)} training rows fails", len(rows))
        if doubts is None:
            doubts = trusted(await asyncio.to_thread(doubt, task.train, labelled=has_labels(task), seed=how.seed))
        sample = _Sample(tuple(rows), tuple(failed), tuple(passed), doubts)
        return await _change(task, sample, fitted, how, strong)


def passing(task: Task, scores: Sequence[float | None]) -> float:
    """From which score on an answer passes: 1 where all scores are 0 or 1, else the goal's quality, else HALF.

    Where more scores show that they are graded after all, rows of 0 and of 1 stay on their sides of the line.
    """
    if all(score in (0, 1, None) for score in scores):
        return 1.0
    return task.goal.quality if task.goal.quality is not None else HALF


# ---------------------------------------------------------------- the rows


@dataclass(frozen=True)
class _Sample:
    rows: tuple[Row, ...]
    failed: tuple[Row, ...]
    passed: tuple[Row, ...]
    doubts: Doubts

    @property
    def calls(self) -> int:
        return len(self.rows)


async def _first_answers(task: Task, fitted: Model, how: Probing) -> list[Row]:
    """Ask rows in their order until there are failures enough, or a third of the calls is spent."""
    pool = parted(task)[0]
    usable = [(example, asked) for example in pool if (asked := take_apart(fitted, example, task.train)) is not None]
    rows: list[Row] = []
    most = min(len(usable), how.most_calls // 3)
    while len(rows) < most:
        part = usable[len(rows) : min(len(rows) + BATCH, most)]
        answers = await complete([asked for _, asked in part])
        scores = await asyncio.gather(*(score_of(task, e, c) for (e, _), c in zip(part, answers, strict=True)))
        rows += [Row(e, a, c, s) for (e, a), c, s in zip(part, answers, scores, strict=True)]
        line = passing(task, [row.score for row in rows])
        if sum(row.score is not None and row.score < line for row in rows) >= how.failures and len(rows) >= how.random:
            break
    return rows


async def mean_without_itself(task: Task, fitted: Model, rows: Sequence[Example]) -> float | None:
    """A fitted prompt's mean score on training rows, none of them among its own shots; None where none was answered."""
    asked = [(row, ask) for row in rows if (ask := take_apart(fitted, row, task.train)) is not None]
    answers = await complete([ask for _, ask in asked])
    scores = [await score_of(task, row, answer) for (row, _), answer in zip(asked, answers, strict=True)]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def prompt_of(fitted: Model) -> Prompted | None:
    """The prompt in a fitted model; None where it is none."""
    inner = fitted.model if isinstance(fitted, Calibrated) else fitted
    return inner if isinstance(inner, Prompted) else None


# ---------------------------------------------------------------- the changes


async def _change(task: Task, sample: _Sample, fitted: Model, how: Probing, strong: Model | None) -> Probed:
    library = Library.of(task.documents) if task.documents else None
    labelled, doubts = has_labels(task), sample.doubts
    right = {row.example.id: library.right_for(row.example) for row in sample.rows} if library is not None else {}
    random = sample.rows[: min(how.random, how.most_calls // 8)] if library is not None else ()
    tried = sample.rows[: min(how.tried_again, how.most_calls // (8 * TRIES))]
    failed, passed = _afforded(task, sample, how, 2 * len(random) + TRIES * len(tried), strong)
    first = (*failed, *passed)[:TASTED]
    length = sum(map(_characters, _changed(task, first, right, strong).values())) / len(first)
    most = max(FEWEST_ROWS, round(how.most_characters / max(1.0, length)))
    failed, passed = failed[: 2 * most // 3], passed[: most // 3]
    asks = {**_changed(task, (*failed, *passed), right, strong), **_beside(random, right)}
    answers = dict(zip(asks, await complete(list(asks.values())), strict=True))
    examples = {row.example.id: row.example for row in sample.rows}
    scores = {(name, kind): await score_of(task, examples[name], answer) for (name, kind), answer in answers.items()}
    common = Counter(plain(row.completion.text) for row in sample.rows)
    alone = frozenset(text for text, times in common.items() if text and times == 1 and not labelled)
    line = passing(task, [*(row.score for row in sample.rows), *scores.values()])  # a change may show that it is graded
    found = Found(task, line, scores, answers, doubts, alone)
    probes = _run(found, labelled, any(right.get(row.example.id) for row in failed), strong)
    return Probed(
        failures=tuple([await found.failure(row, probes) for row in failed]),
        successes=tuple(found.success(row, probes) for row in passed),
        probes=probes,
        certain=() if any(kind == "form" for _, kind in asks) else ("form",),
        doubts=doubts,
        misses=_misses(sample.rows, right, prompt_of(fitted), library) if library is not None else (),
        retrieved=tuple(row.score for row in random),
        right=tuple(found.with_right_passage(row, right) for row in random),
        readings={
            **await again(task, tried, line),
            **closed_book_score(found, random),
        },
        calls=sample.calls + len(asks) + TRIES * len(tried),
        asked=len(sample.rows),
        failing=len(sample.failed),
        notes=_notes(failed, right, sample, line),
    )


def _afforded(
    task: Task, sample: _Sample, how: Probing, beside: int, strong: Model | None
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """As many failures and successes as the calls left allow, two failures for a success; at least one of each."""
    each = 2 + sum([bool(task.output.labels or task.output.schema), bool(task.documents), strong is not None])
    most = (how.most_calls - sample.calls - beside) // (3 * each)
    return (
        sample.failed[: max(1, min(how.failures, 2 * most))],
        sample.passed[: max(1, min(how.successes, most))],
    )


def _characters(asked: Asked) -> int:
    """How long a prompt is."""
    shots = sum(len(question) + len(answer) for question, answer in asked.prompt.shots)
    return len(asked.prompt.instruction) + shots + len(asked.content)


def _changed(
    task: Task, rows: Sequence[Row], right: Mapping[str, Sequence[Passage]], strong: Model | None
) -> dict[tuple[str, Kind], Asked]:
    """Every row under every change that changes something about it."""
    index = Bm25([example.input for example in task.train])
    asks: dict[tuple[str, Kind], Asked] = {}
    for row in rows:
        changed: dict[Kind, Asked | None] = {
            "placebo": placebo(row.asked),
            "form": held_to_form(row.asked, task.output),
            "passage": with_right_passages(row.asked, right.get(row.example.id, ())),
            "shots": with_nearest_shots(row.asked, row.example, task.train, index),
            "stronger": on_another_model(row.asked, strong) if strong is not None else None,
        }
        asks |= {(row.example.id, kind): asked for kind, asked in changed.items() if asked is not None}
    return asks


def _beside(random: Sequence[Row], right: Mapping[str, Sequence[Passage]]) -> dict[tuple[str, Kind], Asked]:
    """The random sample with the right passages, and without any."""
    asks: dict[tuple[str, Kind], Asked] = {}
    for row in random:
        changed: dict[Kind, Asked | None] = {
            "passage": with_right_passages(row.asked, right[row.example.id]),
            "closed_book": closed_book(row.asked),
        }
        asks |= {(row.example.id, kind): asked for kind, asked in changed.items() if asked is not None}
    return asks


def _run(found: Found, labelled: bool, known: bool, strong: Model | None) -> tuple[Probe, ...]:
    """The probes that could be run; `known`: whether the right passage of any failure is."""
    judged = labelled and wrong_targets(found.doubts, 0.05).estimate is not None
    can = {
        "label": judged or bool(found.doubts.doubts) or strong is not None,
        "form": True,
        "passage": known,
        "shots": True,
        "stronger": strong is not None,
    }
    return tuple(probe for probe in PROBES if can[probe])


# ---------------------------------------------------------------- beside the segments


def _misses(
    rows: Sequence[Row], right: Mapping[str, Sequence[Passage]], prompt: Prompted | None, library: Library
) -> tuple[Miss, ...]:
    """The rows whose right passages are known and were not found, the failures among them first."""
    missed = [
        row
        for row in rows
        if right[row.example.id]
        and not any(same_place(p, each) for p in row.asked.shown for each in right[row.example.id])
    ]
    return tuple(
        Miss(
            row.example.id,
            tuple(dict.fromkeys(passage.document_id for passage in right[row.example.id])),
            rank_of(right[row.example.id], row.example.input, prompt, library),
            tuple(dict.fromkeys(passage.document_id for passage in row.asked.shown)),
        )
        for row in sorted(missed, key=lambda row: row.score if row.score is not None else 1.0)
    )


def _notes(
    failed: Sequence[Row], right: Mapping[str, Sequence[Passage]], sample: _Sample, line: float
) -> tuple[str, ...]:
    notes = [f"{len(sample.failed)} of {len(sample.rows)} training rows score below {line:g}"]
    unknown = sum(not right[row.example.id] for row in failed if row.example.id in right)
    if unknown:
        notes.append(f"no right passage is known for {unknown} of {len(failed)} failures: they count as not retrieval")
    return tuple(notes)
