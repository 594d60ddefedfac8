"""Several answers to one question: how often at least one of k would be right."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def pass_at_k(answers: int, right: int, k: int) -> float | None:
    """The chance that at least one of k answers is right, from `answers` of which `right` are; None where k > answers.

    1 - C(answers - right, k) / C(answers, k): right on average, where 1 - (1 - right / answers)^k is too low
    (Chen et al., "Evaluating Large Language Models Trained on Code", 2021, arXiv 2107.03374, section 2.1).
    Raises ValueError for counts that cannot be.
    """
    if k < 1 or not 0 <= right <= answers:
        raise ValueError(f"{right} right of {answers} answers, and k = {k}")
    return None if k > answers else 1.0 - comb(answers - right, k) / comb(answers, k)


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> float | None:
    """The mean over questions, each (answers, right); None without questions, or where one has fewer than k answers."""
    found = [pass_at_k(answers, right, k) for answers, right in counts]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None
