"""Free text by the words and phrases that it shares with references: BLEU, ROUGE-L."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shouldtune.types import Completion, Example, Graded, Score


@dataclass(frozen=True)
class Bleu:
    """BLEU as sacrebleu computes it for one sentence against all right answers, over 100 (Papineni et al., 2002).

    A sentence too short for all orders is counted over those that it has. Overall: `bleu` of all answers as one corpus,
    the figure that papers give, which is no mean over sentences.
    """

    @cached_property
    def _sentence(self) -> Any:
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(effective_order=True)

    def __call__(self, completion: Completion, example: Example) -> Score:
        value = self._sentence.sentence_score(completion.text, list(example.answers)).score / 100
        return Score(1.0 if value > 1 - 1e-9 else max(0.0, value))

    def overall(self, rows: Sequence[Graded]) -> Mapping[str, float]:
        from sacrebleu.metrics.bleu import BLEU

        most = max(len(example.answers) for example, _, _ in rows)
        streams: list[Any] = [[(*e.answers, *[None] * most)[place] for e, _, _ in rows] for place in range(most)]
        score = BLEU().corpus_score([completion.text for _, completion, _ in rows], streams)
        return {"bleu": score.score / 100}


def rouge_l(completion: Completion, example: Example) -> Score:
    """ROUGE-L: F1 of the longest common subsequence of words with the best right answer (Lin, 2004; sentence level).

    Words are runs of letters and digits, without case and without stemming.
    """
    return Score(max(_rouge_l(words(completion.text), words(accepted)) for accepted in example.answers))


def _rouge_l(answer: Sequence[str], wanted: Sequence[str]) -> float:
    from rapidfuzz.distance import LCSseq

    total = len(answer) + len(wanted)
    return 2 * LCSseq.similarity(answer, wanted) / total if total else 1.0


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
