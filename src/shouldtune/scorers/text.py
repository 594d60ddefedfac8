"""Free text against the right answers: exact match, containment, numbers, token F1, chrF."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable

from shouldtune.types import Completion, Example, Score


def exact(completion: Completion, example: Example) -> Score:
    """1 when the answer equals a right answer, whitespace at the ends and runs of it aside."""
    answer = " ".join(completion.text.split())
    right = any(answer == " ".join(accepted.split()) for accepted in example.answers)
    return Score(float(right), "" if right else "differs")


def contains(completion: Completion, example: Example) -> Score:
    """1 when a right answer stands in the answer as whole words, letter case and whitespace aside."""
    answer = " ".join(completion.text.lower().split())
    for accepted in example.answers:
        wanted = re.escape(" ".join(accepted.lower().split()))
        if re.search(rf"(?<!\w){wanted}(?!\w)", answer):
            return Score(1.0)
    return Score(0.0, "not in the answer")


_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")


def number(completion: Completion, example: Example) -> Score:
    """1 when the last number of the answer equals a right number, to one part in a million."""
    found = _numbers(completion.text)
    if not found:
        return Score(0.0, "no number")
    for accepted in example.answers:
        wanted = _numbers(accepted)
        if wanted and abs(found[-1] - wanted[-1]) <= 1e-6 * max(1.0, abs(wanted[-1])):
            return Score(1.0)
    return Score(0.0, f"{found[-1]:g}")


def _numbers(text: str) -> list[float]:
    return [float(match.group().replace(",", "")) for match in _NUMBER.finditer(text)]


def f1(completion: Completion, example: Example) -> Score:
    """Token F1 with the best of the right answers, after SQuAD's normalisation.

    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (2016): lower case, no
    punctuation, no articles, whitespace joined.
    """
    answer = squad_tokens(completion.text)
    value = max(_token_f1(answer, squad_tokens(accepted)) for accepted in example.answers)
    same = any(answer == squad_tokens(accepted) for accepted in example.answers)
    return Score(value, "" if value == 1 else f"{value:.2f} of the words", {"exact_match": float(same)})


def squad_tokens(text: str) -> list[str]:
    """Words of a text after SQuAD's normalisation."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _token_f1(answer: list[str], wanted: list[str]) -> float:
    if not answer or not wanted:
        return float(answer == wanted)
    common = sum((Counter(answer) & Counter(wanted)).values())
    return 2 * common / (len(answer) + len(wanted))


def chrf() -> Callable[[Completion, Example], Score]:
    """chrF as sacrebleu computes it for one sentence, over 100 (Popović, "chrF", 2015); best of the right answers."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()

    def score(completion: Completion, example: Example) -> Score:
        value = metric.sentence_score(completion.text, list(example.answers)).score / 100
        return Score(min(1.0, max(0.0, value)))

    return score
