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
from shouldtune.models.paying import paying
from shouldtune.models.prompted import Prompted
from shouldtune.probing.answers import TRIES, Found, Row, again, closed_book_score, complete, plain, score_of
from shouldtune.probing.asks import beside_asks, changed_asks, length_of, possible_probes
from shouldtune.probing.changes import Library, rank_of
from shouldtune.probing.rows import Sample, first_answers, passing, prompt_of
from shouldtune.retrieval.chunks import Passage, same_place
from shouldtune.types import Model, Skipped, Task
from shouldtune.verdict.diagnosis import trusted
from shouldtune.verdict.probes import Diagnosis, Tried, diagnose

PAYER = "probes"
TASTED = 8
"""Rows whose changed prompts say how long all of them are."""
FEWEST_ROWS = 24


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
        rows = await first_answers(task, fitted, failures=how.failures, rows=how.random, most=how.most_calls // 3)
        line = passing(task, [row.score for row in rows])
        failed = [row for row in rows if row.score is not None and row.score < line]
        passed = [row for row in rows if row.score is not None and row.score >= line]
        if not failed:
            return NothingFails(f"none of {len(rows)} training rows fails", len(rows))
        if doubts is None:
            doubts = trusted(await asyncio.to_thread(doubt, task.train, labelled=has_labels(task), seed=how.seed))
        sample = Sample(tuple(rows), tuple(failed), tuple(passed), doubts)
        return await _change(task, sample, fitted, how, strong)


# ---------------------------------------------------------------- the changes


async def _change(task: Task, sample: Sample, fitted: Model, how: Probing, strong: Model | None) -> Probed:
    library = Library.of(task.documents) if task.documents else None
    labelled, doubts = has_labels(task), sample.doubts
    right = {row.example.id: library.right_for(row.example) for row in sample.rows} if library is not None else {}
    random = sample.rows[: min(how.random, how.most_calls // 8)] if library is not None else ()
    tried = sample.rows[: min(how.tried_again, how.most_calls // (8 * TRIES))]
    failed, passed = _afforded(task, sample, how, 2 * len(random) + TRIES * len(tried), strong)
    first = (*failed, *passed)[:TASTED]
    length = sum(map(length_of, changed_asks(task, first, right, strong).values())) / len(first)
    most = max(FEWEST_ROWS, round(how.most_characters / max(1.0, length)))
    failed, passed = failed[: 2 * most // 3], passed[: most // 3]
    asks = {**changed_asks(task, (*failed, *passed), right, strong), **beside_asks(random, right)}
    answers = dict(zip(asks, await complete(list(asks.values())), strict=True))
    examples = {row.example.id: row.example for row in sample.rows}
    scores = {(name, kind): await score_of(task, examples[name], answer) for (name, kind), answer in answers.items()}
    common = Counter(plain(row.completion.text) for row in sample.rows)
    alone = frozenset(text for text, times in common.items() if text and times == 1 and not labelled)
    line = passing(task, [*(row.score for row in sample.rows), *scores.values()])  # a change may show that it is graded
    found = Found(task, line, scores, answers, doubts, alone)
    probes = possible_probes(found, labelled, any(right.get(row.example.id) for row in failed), strong)
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
    task: Task, sample: Sample, how: Probing, beside: int, strong: Model | None
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """As many failures and successes as the calls left allow, two failures for a success; at least one of each."""
    each = 2 + sum([bool(task.output.labels or task.output.schema), bool(task.documents), strong is not None])
    most = (how.most_calls - sample.calls - beside) // (3 * each)
    return (
        sample.failed[: max(1, min(how.failures, 2 * most))],
        sample.passed[: max(1, min(how.successes, most))],
    )


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
    failed: Sequence[Row], right: Mapping[str, Sequence[Passage]], sample: Sample, line: float
) -> tuple[str, ...]:
    notes = [f"{len(sample.failed)} of {len(sample.rows)} training rows score below {line:g}"]
    unknown = sum(not right[row.example.id] for row in failed if row.example.id in right)
    if unknown:
        notes.append(f"no right passage is known for {unknown} of {len(failed)} failures: they count as not retrieval")
    return tuple(notes)
