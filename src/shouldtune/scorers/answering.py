"""Questions with known answers: SQuAD's exact match and F1, and whether the passages with the answer were found."""

from __future__ import annotations

from collections.abc import Sequence

from shouldtune.scorers.text import f1
from shouldtune.types import Completion, Example, Score

CUTS = (1, 3, 5, 10)
"""Depths k of hit@k; only those up to the number of passages that stood in the prompt are told."""


def qa(completion: Completion, example: Example) -> Score:
    """F1 of the words with the best of the right answers, and `exact_match`, as SQuAD counts them (see `f1`).

    Where the example names the documents that hold its answer (`meta.gold_doc_ids`) and passages stood in the prompt,
    also `hit@k`, whether one of the first k is such a document, and `mrr`, 1 over the rank of the first that is, 0
    where none is (Voorhees, "The TREC-8 question answering track report", 1999).
    """
    score = f1(completion, example)
    gold = example.meta.get("gold_doc_ids")
    if not gold or not completion.passages:
        return score
    return Score(score.value, score.reason, {**score.metrics, **ranked(completion.passages, [str(i) for i in gold])})


def ranked(passages: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Reciprocal rank and hits of the gold documents among passages, the nearest first."""
    documents = list(dict.fromkeys(passages))
    rank = next((place for place, name in enumerate(documents, 1) if name in gold), None)
    found = {"mrr": 0.0 if rank is None else 1 / rank}
    for k in CUTS:
        if k <= len(documents):
            found[f"hit@{k}"] = float(rank is not None and rank <= k)
    return found
