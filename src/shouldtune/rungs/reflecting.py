"""A search for a better instruction: a model reads its mistakes and writes the instruction anew, over and over.

Agrawal et al., "GEPA: Reflective Prompt Evolution Can Outperform Reinforcement Learning" (arXiv 2507.19457), by their
own library, which keeps the candidates, draws the parent of the next one from the Pareto front over rows, and words
the request for it. Its answers come from our ledgered models alone: the same search again asks the same
questions in the same order, so one that was killed goes on from the ledger. Its own state is written nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from shouldtune.measure import mean_score, measure
from shouldtune.models.ledgered import most_usd, usd_billed
from shouldtune.models.prompted import Prompted
from shouldtune.rungs.bridge import Bridge, Ended, in_a_thread
from shouldtune.types import (
    Completion,
    Example,
    Message,
    Model,
    Options,
    Prediction,
    PromptSearch,
    Rewriting,
    Scorer,
    Skipped,
)

if TYPE_CHECKING:
    from gepa.core.adapter import EvaluationBatch

PART = "instruction"
"""What gepa calls the one text of ours that it may change."""
LONGEST = 1_500
"""Characters of an input, an answer or a target that the writer is shown."""
MUTE = 5
"""Requests in a row that brought no new text at all, after which the writer is not asked again."""
SHARE_SPENT = "its share of the budget is spent"

Candidate = dict[str, str]
Shown = tuple[Example, Prediction]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Limits:
    """Where a search ends."""

    calls: int
    """Answers that it may grade; what was asked before, and costs nothing, is counted too."""
    patience: int
    """New instructions in a row that did not raise the best score."""
    usd: float | None = None
    """Dollars for its calls at list price, which none of them passes; None: as much as there is."""


@dataclass(frozen=True)
class Rows:
    """Training rows, none of them in both parts."""

    shown: Sequence[Example]
    """Whose mistakes the writer may read, a minibatch at a time."""
    weighed: Sequence[Example]
    """That each instruction which does better on its minibatch is scored on."""
    minibatch: int = 4


@dataclass(frozen=True)
class Writer:
    """Who writes, and how long an instruction may be, in tokens."""

    model: Model
    most_tokens: int

    async def write(self, request: str, number: int) -> Completion:
        """The answer to the n-th request: drawn, or the same mistakes would bring the same instruction again."""
        return await self.model.complete([Message("user", request)], self._options(number))

    def most_usd(self, request: str) -> float:
        """Dollars that the answer may cost at most; 0 where no price is known."""
        return most_usd(self.model, [Message("user", request)], self._options(0))

    def _options(self, number: int) -> Options:
        return Options(max_tokens=self.most_tokens, temperature=1.0, seed=number)


async def search(
    instruction: str, prompt: Callable[[str], Prompted], scorer: Scorer, rows: Rows, writer: Writer, limits: Limits
) -> PromptSearch | Skipped:
    """The instructions that did better on training rows, and the best of them; the task's own where none did.

    `prompt` makes the model that is asked with an instruction. Where the budget ends, what was found until then is
    returned; Skipped where not even the task's own was scored. Raises what models and scorers raise for trouble that no
    call survives; ImportError without gepa.
    """
    return await in_a_thread(lambda bridge: _Search(bridge, instruction, prompt, scorer, rows, writer, limits).run())


class _Search:
    """One search under way: what gepa calls to ask, to grade and to have instructions written. It lives in a thread."""

    def __init__(
        self,
        bridge: Bridge,
        instruction: str,
        prompt: Callable[[str], Prompted],
        scorer: Scorer,
        rows: Rows,
        writer: Writer,
        limits: Limits,
    ) -> None:
        self.bridge, self.instruction, self.prompt, self.scorer = bridge, instruction, prompt, scorer
        self.rows, self.writer, self.limits = rows, writer, limits
        self.kept: list[Rewriting] = []
        self.seen = {instruction}
        self.written = self.asked = self.in_vain = self.mute = 0
        self.billed_before = self._billed()
        self.ended = ""
        """Why nothing more is asked; empty while it goes on."""
        self.trouble: BaseException | None = None

    def run(self) -> PromptSearch | Skipped:
        from gepa.api import optimize

        called: Any = self  # gepa's protocols list more than it calls
        whole = len(self.rows.shown) // self.rows.minibatch * self.rows.minibatch  # else gepa shows a row twice at once
        with suppress(Ended):
            optimize(
                {PART: self.instruction},
                list(self.rows.shown[:whole]),
                list(self.rows.weighed),
                adapter=called,
                reflection_minibatch_size=self.rows.minibatch,
                stop_callbacks=[called.is_over],
                callbacks=[called],
                logger=_Silent(),
                track_best_outputs=False,
                run_dir=None,
                seed=0,
            )
        if self.trouble is not None:
            raise self.trouble
        if not self.kept:
            return Skipped(f"{self.ended} before the task's own instruction was scored")
        return PromptSearch(tuple(self.kept), self._best(), self.written, self.asked, self.ended)

    def is_over(self, state: object) -> bool:
        """Whether another round would pass a limit, can bring nothing, or was in vain too often."""
        limits, another = self.limits, 2 * self.rows.minibatch + len(self.rows.weighed)
        if self.kept[self._best()].score >= 1.0:
            self.ended = "every answer was right"
        elif self.in_vain >= limits.patience:
            self.ended = f"{self.in_vain} in a row were no better"
        elif self.mute >= MUTE:
            self.ended = f"{self.mute} requests in a row brought no new text"
        elif self.asked + another > limits.calls:
            self.ended = f"another round might have passed {limits.calls:,}"
        elif self._left() <= 0:
            self.ended = SHARE_SPENT
        return bool(self.ended)

    # ------------------------------------------------------------ what gepa calls

    def evaluate(
        self, batch: list[Example], candidate: Candidate, capture_traces: bool = False
    ) -> EvaluationBatch[Shown, Prediction]:
        """Ask with this instruction. A failed call scores as the others do: it tells neither way."""
        from gepa.core.adapter import EvaluationBatch

        with self._trouble_kept():
            predictions = self._answered(self.prompt(candidate[PART]), batch)
            usual = mean_score(predictions) or 0.0
            scores = [usual if p.score is None else p.score.value for p in predictions]
            return EvaluationBatch(predictions, scores, list(zip(batch, predictions, strict=True)))

    def make_reflective_dataset(
        self, candidate: Candidate, eval_batch: EvaluationBatch[Shown, Prediction], components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What the writer reads of each row: the input, the answer and how it was graded."""
        return {PART: [_told(example, prediction) for example, prediction in eval_batch.trajectories or ()]}

    def propose_new_texts(
        self,
        candidate: Candidate,
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> Candidate:
        """A new instruction; none where the call failed, it was cut off, or says nothing new."""
        with self._trouble_kept():
            text = self._written(candidate[PART], reflective_dataset[PART])
        if text is None or text in self.seen:
            self.mute += 1
            return {}
        self.mute = 0
        self.seen.add(text)
        return {PART: text}

    def on_valset_evaluated(self, event: Mapping[str, Any]) -> None:
        """An instruction was kept: remember it, for gepa's own state is lost where it is stopped."""
        before = self.kept[self._best()].score if self.kept else None
        parent = event["parent_ids"][0] if event["parent_ids"] else None
        score, n = float(event["average_score"]), int(event["num_examples_evaluated"])
        self.kept.append(Rewriting(event["candidate"][PART], parent, score, n))
        if before is None or score > before:
            self.in_vain = 0

    # ------------------------------------------------------------ underneath

    def _best(self) -> int:
        return max(range(len(self.kept)), key=lambda place: (self.kept[place].score, -place), default=0)

    def _answered(self, prompt: Prompted, batch: Sequence[Example]) -> list[Prediction]:
        """The answers to all rows of a batch; Ended where the share does not pay for them.

        Asked at once are as many as the share pays for whatever they cost; what they did cost says how many are next.
        """
        done: list[Prediction] = []
        while len(done) < len(batch):
            part = self._affordable(prompt, batch[len(done) :])
            found = self._wait_for(measure(prompt, part, self.scorer))
            self._go_on_after([prediction.completion for prediction in found])
            self.asked += len(part)
            done += found
        return done

    def _affordable(self, prompt: Prompted, rows: Sequence[Example]) -> Sequence[Example]:
        """The first rows, for whose answers there is enough left at their dearest; Ended where there is none."""
        if self.limits.usd is None:
            return rows
        dearest = (most_usd(prompt.model, prompt.messages(row.input)[0], prompt.options) for row in rows)
        left = self._left()
        return rows[: sum(usd <= left for usd in accumulate(dearest))] or self._spent()

    def _written(self, before: str, mistakes: Sequence[Mapping[str, Any]]) -> str | None:
        """What the writer makes of the instruction, asked in gepa's words; None where it makes nothing of it."""
        from gepa.strategies.instruction_proposal import InstructionProposalSignature as Request

        said = {"current_instruction_doc": before, "dataset_with_feedback": list(mistakes)}
        request = str(Request.prompt_renderer(said))
        if self.writer.most_usd(request) > self._left():
            self._spent()
        self.written += 1
        self.in_vain += 1  # until it is known to be better
        answer = self._wait_for(self.writer.write(request, self.written))
        self._go_on_after([answer])
        if answer.failed or answer.finish_reason == "length":
            return None
        return Request.output_extractor(answer.text)["new_instruction"].strip() or None

    def _wait_for(self, asked: Coroutine[Any, Any, Found]) -> Found:
        if self.ended:
            asked.close()
            raise Ended
        return self.bridge.wait_for(asked)

    def _billed(self) -> float:
        return usd_billed(self.prompt(self.instruction).model)

    def _left(self) -> float:
        """Dollars of the share."""
        return inf if self.limits.usd is None else self.limits.usd - (self._billed() - self.billed_before)

    def _spent(self) -> NoReturn:
        self.ended = SHARE_SPENT
        raise Ended

    def _go_on_after(self, answers: Sequence[Completion]) -> None:
        """Where one was not asked, the run's budget has ended, and so does the search."""
        if any(answer.failure == "not_asked" for answer in answers):
            self.ended = "the budget ended"
            raise Ended

    @contextmanager
    def _trouble_kept(self) -> Iterator[None]:
        """gepa goes on after most exceptions: what must end the search is kept here, and nothing is asked after it."""
        try:
            yield
        except Ended:
            self.ended = self.ended or "it was stopped"
            raise
        except BaseException as trouble:
            self.ended, self.trouble = "something broke", trouble
            raise Ended from None


class _Silent:
    def log(self, message: str) -> None:
        """What gepa tells while it runs; the ledger and the report tell it better."""


def _told(example: Example, prediction: Prediction) -> dict[str, str]:
    score, answer = prediction.score, prediction.completion
    if score is None:
        graded = f"There is no grade: {answer.error or 'it could not be graded'}."
    else:
        reason = f" ({score.reason})" if score.reason else ""
        graded = f"It scored {score.value:.2g} of 1{reason}."
    said = {"Input": example.input, "Answer": answer.text, "Wanted": example.target}
    return {**{name: _cut(text) for name, text in said.items()}, "Feedback": graded}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
