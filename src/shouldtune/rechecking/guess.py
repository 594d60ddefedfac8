"""What a model that is not asked probably says: what the run was told, else as often the right thing as there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shouldtune.asked import JUDGE
from shouldtune.models.paying import payer
from shouldtune.run import RunRecord
from shouldtune.scorers.judge import FIRST, NO, SECOND, TIE, YES, answers_in, cut
from shouldtune.scorers.trials import FLATTERY, NULLS
from shouldtune.task import LoadedTask
from shouldtune.task.contents import hash_of
from shouldtune.types import Completion, Example, Message, Options, Score

UNKNOWN = 0.5
"""How often a stand-in is right for a rung of which nothing is known; of a grade, from where on it is a yes."""


@dataclass(frozen=True)
class Guess:
    """What whoever asks probably answers: as in the run where it was asked this, else right as often as there."""

    examples: tuple[Example, ...]
    quality: Mapping[str, float]
    """By rung; the judge's is the mean of all its grades."""
    answered: Mapping[tuple[str, str], str]
    """By rung and input."""
    graded: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """By input and answer, as far as a judge is shown them."""

    @staticmethod
    def of(loaded: LoadedTask, record: RunRecord) -> Guess:
        """From a run, for the task as it is now."""
        by_content = {hash_of(example): example for example in loaded.holdout}
        by_id = {example.id: example for example in loaded.holdout}
        answered, graded = {}, {}
        for rung, then, text, score in _scored(record):
            graded[cut(then.input), cut(text)] = score.metrics.get(JUDGE, score.value)  # its part, where it is one
            same = by_content.get(hash_of(then))
            now = same or by_id.get(then.id)
            if now is not None:
                right = same is None and score.value >= UNKNOWN
                answered[rung, now.input] = now.target if right else text
        quality = {rung.name: rung.quality for rung in record.verdict.rungs if rung.quality is not None}
        if graded:
            quality[JUDGE] = sum(graded.values()) / len(graded)
        return Guess((*loaded.task.train, *loaded.holdout), quality, answered, graded)

    @cached_property
    def _targets(self) -> dict[str, str]:
        return {example.input: example.target for example in self.examples}

    @cached_property
    def _shown(self) -> dict[str, str]:
        """The same, as far as a judge is shown them."""
        return {cut(asked): cut(target) for asked, target in self._targets.items()}

    def answer(self, messages: Sequence[Message], options: Options) -> Completion:
        """To whoever pays for it."""
        rung, purpose = payer()
        if purpose == "grade":
            return Completion(self._verdict(messages, options), engine="none")
        asked = messages[-1].content
        known = asked if asked in self._targets else max(filter(asked.endswith, self._targets), key=len, default="")
        target = self._targets.get(known, "")
        text = self.answered.get((rung, known), target if _drawn(known) < self.quality.get(rung, UNKNOWN) else "")
        if options.choices and text not in options.choices:
            text = next((choice for choice in options.choices if choice != target), target)
        logprobs = tuple(0.0 if choice == text else -9.0 for choice in options.choices)
        return Completion(text, engine="none", choice_logprobs=logprobs if options.choice_logprobs else ())

    def _verdict(self, messages: Sequence[Message], options: Options) -> str:
        """A judge's, which is neither fooled nor swayed by which answer stands first: it has said nothing yet."""
        asked = messages[-1].content.removeprefix("Input:\n")
        row = max((known for known in self._shown if asked.startswith(f"{known}\n\n")), key=len, default="")
        pairwise = SECOND in options.choices
        worth = [self._worth(row, text, UNKNOWN if pairwise else 1.0) for text in answers_in(messages)]
        if not pairwise:
            return YES if worth[0] >= UNKNOWN else NO
        return TIE if worth[0] == worth[1] else FIRST if worth[0] > worth[1] else SECOND

    def _worth(self, row: str, answer: str, of_target: float) -> float:
        """What an answer is graded: as in the run, else by the target, else well as often as the run's answers."""
        if (row, answer) in self.graded:
            return self.graded[row, answer]
        if row in self._shown and answer.strip() == self._shown[row].strip():
            return of_target
        if not answer.strip() or answer in (*NULLS, *FLATTERY):
            return 0.0
        return float(_drawn(f"{row}\x1f{answer}") < self.quality.get(JUDGE, UNKNOWN))


def _scored(record: RunRecord) -> Iterator[tuple[str, Example, str, Score]]:
    """(rung, example as it was, answer, score) of all that was graded."""
    then = {example.id: example for example in record.holdout}
    for measurement in record.measurements:
        for each in measurement.predictions:
            if each.score is not None:
                yield measurement.rung, then[each.example_id], each.completion.text, each.score


def _drawn(text: str) -> float:
    """A number in [0, 1) that hangs on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") / 2**32
