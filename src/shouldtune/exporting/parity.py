"""The parity gate: what was exported answers the held-out examples again, and is set beside what the run measured.

The rule, in this order:

1. The prompts are the same: for every compared example the export makes the very prompt that the run sent, and asks for
   the same beside it (length, temperature, form). One that differs fails.
2. It answers wherever the run did. A call that fails fails the export.
3. Where every answer is the run's own, word for word, it passes. Else the 95% interval of the paired difference of
   scores (export less run) decides. Arithmetic that rounds otherwise changes a word here and there for better or worse;
   an export that is worse, or better, for certain is another model than the one that was measured, and fails. It passes
   where a loss of MARGIN is ruled out. Between the two nothing is shown: it takes more examples.

An answer that is the run's own has the run's own score; only others are graded, by the task's scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from shouldtune.errors import ShouldTuneError
from shouldtune.exporting.asking import Chat, Request, sent
from shouldtune.exporting.source import Source
from shouldtune.judgement import Interval
from shouldtune.models.keys import canonical
from shouldtune.scorers import graded, model_needed
from shouldtune.stats.pairs import paired_interval
from shouldtune.types import Completion, Example, Prediction, Score

ALPHA = 0.05
MARGIN = 0.1
"""The loss of score that must be ruled out."""
Outcome = Literal["passed", "failed", "not_shown", "not_scored"]


class Readback(Protocol):
    """An export, read back from its files as somebody else would use it."""

    @property
    def through(self) -> str:
        """By what it is run, in words."""
        ...

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        """The messages that it makes of each input."""
        ...

    def request(self) -> Request:
        """What it asks for beside the messages."""
        ...

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        """Each chat as the model reads it; None where only a server knows."""
        ...

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]: ...


@dataclass(frozen=True)
class Rendered:
    """A chat as a model reads it."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """The first example whose prompt is not the run's."""

    example_id: str
    what: str
    """Which step makes the difference: `the request`, `the messages`, `the chat template`, `the tokenizer`."""
    run: str
    """From a little before the first place where the two differ."""
    export: str


@dataclass(frozen=True)
class Parity:
    """What came of scoring an export again."""

    outcome: Outcome
    because: tuple[str, ...]
    through: str = ""
    n: int = 0
    """Examples compared."""
    scored: int = 0
    """Of them, those that have a score there and here: the two means are of these."""
    of: int = 0
    """Examples that the run has a score for."""
    run_score: float | None = None
    export_score: float | None = None
    gain: Interval | None = None
    """Export less run, paired, 95%."""
    same_answers: int = 0
    differing_prompts: int = 0
    difference: Difference | None = None


@dataclass(frozen=True)
class _Compared:
    """One example, there and here."""

    example: Example
    before: Prediction
    after: Completion
    score: Score | None

    @property
    def same(self) -> bool:
        return self.after.text == self.before.completion.text


async def score_again(source: Source, export: Readback, sample: int | None = None) -> Parity:
    """Put the export through the gate, on all that the run has scores for or the first `sample` of them.

    The holdout lies in a seeded random order, so the first ones are a fair sample. An export that cannot be read back
    has failed. InputError where the task is not at hand.
    """
    pairs, of = source.pairs(sample), len(source.pairs())
    if not pairs:
        return Parity("not_scored", ("the run has no score to compare with",), export.through)
    scorer = source.task.task.scorer
    try:
        chats = export.chats([example.input for example, _ in pairs])
        differing, difference = _prompts_compared(source, export, pairs, chats)
        answers = await export.answers(chats)
    except ShouldTuneError as error:
        return Parity("failed", (f"it cannot be read back: {error.message}",), export.through, of=of)
    rows = []
    for (example, before), after in zip(pairs, answers, strict=True):
        score = before.score
        if after.failed:
            score = None
        elif after.text != before.completion.text:
            score = None if model_needed(scorer) else await graded(scorer, after, example)
        rows.append(_Compared(example, before, after, score))
    return _judged(rows, export.through, of, differing, difference)


def _judged(rows: Sequence[_Compared], through: str, of: int, differing: int, difference: Difference | None) -> Parity:
    scored = [(row.score.value, row.before.score.value) for row in rows if row.score and row.before.score]
    after, before = [value for value, _ in scored], [value for _, value in scored]
    same, failed = sum(row.same for row in rows), [row for row in rows if row.after.failed]
    gain = paired_interval(after, before, ALPHA) if scored else None
    wrong, unclear, said = [], [], []
    if difference is not None:
        wrong.append(
            f"{differing} of {len(rows)} prompts are not the run's: {difference.what} differs, first at example"
            f" {difference.example_id}"
        )
    if failed:
        wrong.append(f"{len(failed)} of {len(rows)} calls failed; the first: {failed[0].after.error}")
    ungraded = len(rows) - len(scored) - len(failed)
    if ungraded:
        wrong.append(f"{ungraded} answers that differ could not be graded again")
    if same == len(rows):
        said.append(f"all {len(rows)} answers are the run's own, word for word")
    elif gain is not None:
        wide = f"the scores differ by {gain.estimate:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) on {gain.n} pairs"
        told = f"{wide}; {same} of {len(rows)} answers are the run's own"
        if gain.high < 0 or gain.low > 0:
            wrong.append(f"{wide}: it is {'worse' if gain.high < 0 else 'better'} than what was measured")
        elif gain.low <= -MARGIN:
            more = "ask more of the run's examples" if len(rows) < of else "it takes more held-out examples"
            unclear += [told, f"that does not rule out a loss of {MARGIN:g}: {more}"]
        else:
            said += [told, f"a loss of {MARGIN:g} is ruled out, one of less than {-gain.low:.3f} is not"]
    if len(rows) < of:
        said.append(f"compared on {len(rows)} of the {of} examples that the run scored: the rest was not asked")
    return Parity(
        outcome="failed" if wrong else "not_shown" if unclear else "passed",
        because=(*wrong, *unclear, *said),
        through=through,
        n=len(rows),
        scored=len(scored),
        of=of,
        run_score=sum(before) / len(before) if before else None,
        export_score=sum(after) / len(after) if after else None,
        gain=gain,
        same_answers=same,
        differing_prompts=differing,
        difference=difference,
    )


def _prompts_compared(
    source: Source, export: Readback, pairs: Sequence[tuple[Example, Prediction]], chats: Sequence[Chat]
) -> tuple[int, Difference | None]:
    """(how many prompts differ from the run's, the first of them)."""
    own = [sent(source, example.input, prediction) for example, prediction in pairs]
    wanted, request = [chat for chat, _ in own], canonical(export.request())
    run, mine = rendered_by_run(source, wanted), export.rendered(chats)
    differing: list[Difference] = []
    for place, (example, _) in enumerate(pairs):
        if (asked := canonical(own[place][1])) != request:
            differing.append(_difference(example, "the request", asked, request))
        elif run is not None and mine is not None:
            there, here = run[place], mine[place]
            if there == here:
                continue
            what = "the messages" if wanted[place] != chats[place] else "the chat template"
            if there.text == here.text:
                differing.append(_difference(example, "the tokenizer", str(list(there.ids)), str(list(here.ids))))
            else:
                differing.append(_difference(example, what, there.text, here.text))
        elif wanted[place] != chats[place]:
            differing.append(_difference(example, "the messages", repr(wanted[place]), repr(chats[place])))
    return len(differing), next(iter(differing), None)


def rendered_by_run(source: Source, chats: Sequence[Chat]) -> list[Rendered] | None:
    """Each chat as the run's own model reads it; None where its server alone knows."""
    if not source.is_local:
        return None
    from shouldtune.exporting.reading import render
    from shouldtune.models.chat_tokenizer import ChatTokenizer

    return render(ChatTokenizer(source.local.identity.folder), chats)


_AROUND = 40


def _difference(example: Example, what: str, run: str, export: str) -> Difference:
    at = next((i for i, (a, b) in enumerate(zip(run, export, strict=False)) if a != b), min(len(run), len(export)))
    first, last = max(0, at - _AROUND), at + 2 * _AROUND
    return Difference(example.id, what, run[first:last], export[first:last])
