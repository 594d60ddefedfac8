"""How good a search is: whether, and how high, a right passage stands among what it found."""

from __future__ import annotations

from collections.abc import Collection, Sequence

Ranking = tuple[Sequence[int], Collection[int]]
"""(places found, best first; the right places) of one question."""


def rank(found: Sequence[int], right: Collection[int]) -> int | None:
    """The rank of the first right place, 1 for the top; None where none was found."""
    return next((number for number, place in enumerate(found, 1) if place in right), None)


def hit_rate(rankings: Sequence[Ranking], k: int) -> float | None:
    """hit@k: the share of questions with a right place among the first k; None without questions."""
    if not rankings:
        return None
    return sum(rank(found[:k], right) is not None for found, right in rankings) / len(rankings)


def mean_reciprocal_rank(rankings: Sequence[Ranking]) -> float | None:
    """MRR: the mean of 1 over the rank of the first right place, 0 where it was not found (Voorhees, TREC-8, 1999)."""
    if not rankings:
        return None
    ranks = [rank(found, right) for found, right in rankings]
    return sum(1 / number for number in ranks if number is not None) / len(rankings)
