"""One retriever for every rung that puts passages into a prompt: how it searches is chosen on the training half."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from shouldtune.models.prompted import NearestPassages
from shouldtune.retrieval.chunks import WORDS, Passage, passages
from shouldtune.retrieval.gold import CALL, RightPlaces, gold_ids
from shouldtune.retrieval.hits import Ranking, hit_rate, mean_reciprocal_rank
from shouldtune.retrieval.minilm import minilm
from shouldtune.retrieval.search import Questions, Way, ways_at_hand
from shouldtune.types import Document, Example, Task, Trial

SIZES = (WORDS, 90, 360)
"""Words of a passage that are tried; the usual stays unless another is better."""
FOLDS = 4
MOST_PASSAGES = 5_000
"""Above this many, ways are tried on the unseen part alone instead of on every fold in turn."""
MOST_MEASURED = 400
"""Rows that a way is measured on."""
MOST_SOUGHT = 1_000
"""Rows whose answer is looked for in every passage, where no document is named."""
TOO_FEW = "searched by bm25: too few right passages are known to choose by"
LEAST_KNOWN = 24
"""Rows with a known right passage below which there is no choosing."""
ENOUGH = 0.95
"""Where BM25 has the right passage at this mean reciprocal rank, nothing dearer is tried."""
WORTH = 0.01
"""Another size, or a dearer way, must find the right passage at a mean reciprocal rank that is higher by this."""

Places = Mapping[str, tuple[int, ...]]
"""The places of the right passages, by the example's id."""


@dataclass(frozen=True)
class ChosenRetriever:
    """How passages are to be found for a task, chosen without asking any model."""

    passages: tuple[Passage, ...]
    way: Way = Way()
    right: Places = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    """The ways that were measured, by how high the right passage stood; empty where nothing told them apart."""
    notes: tuple[str, ...] = ()

    def nearest(self, k: int, examples: Sequence[Example]) -> NearestPassages:
        """The retriever at k passages, taught by `examples` where teaching was found to help.

        Give the pool alone while settings are measured on the unseen part, all of `task.train` in the end.
        """
        return NearestPassages(
            self.passages, k, self.way, _questions(self.way, len(self.passages), examples, self.right)
        )


async def chosen_retriever(task: Task, pool: Sequence[Example], unseen: Sequence[Example]) -> ChosenRetriever:
    """The way to search this task's documents that finds the right passage most readily; no model is asked.

    The rows are those of `pool` and `unseen` whose right passage is known (by `meta`, or because the answer stands in
    it). Each is searched for by what the others, its own group aside, have taught. Where hardly any is known it is
    BM25. Use it in a rung as

        chosen = await chosen_retriever(task, pool, unseen)
        tried = chosen.nearest(3, pool)          # while choosing: `unseen` has taught it nothing
        final = chosen.nearest(3, task.train)    # what is fitted in the end
        shown = final.find(row.input, hidden=[row.input])   # for a row of `task.train` itself

    A row that taught the retriever must not find its own passage by its own question: name it in `hidden`.
    """
    library = tuple((d.id, d.title, d.text, str(d.meta.get(CALL))) for d in task.documents)
    words = (library, *(_said(rows) for rows in (pool, unseen)))
    return await asyncio.to_thread(_chosen, _Given(words, task.documents, tuple(pool), tuple(unseen)))


@dataclass(frozen=True)
class _Given:
    """What a choice hangs on; `words` is all that tells one from another."""

    words: tuple[object, ...]
    documents: tuple[Document, ...] = field(compare=False)
    pool: tuple[Example, ...] = field(compare=False)
    unseen: tuple[Example, ...] = field(compare=False)


def _said(rows: Sequence[Example]) -> tuple[tuple[object, ...], ...]:
    return tuple((row.id, row.group, row.input, row.answers, gold_ids(row)) for row in rows)


@lru_cache(maxsize=4)
def _chosen(given: _Given) -> ChosenRetriever:
    """The size of a passage first, by BM25; then the way, at that size."""
    rows = (*given.unseen, *given.pool)  # where not all can be sought, those that are asked come first
    usual = passages(given.documents)
    rights = {usual: _right(given.documents, usual, rows)}
    if sum(map(bool, rights[usual].values())) < LEAST_KNOWN:
        return ChosenRetriever(usual, notes=(TOO_FEW,))
    cuts: dict[tuple[Passage, ...], int] = {}
    for size in SIZES:  # documents too short to be cut are tried once
        cuts.setdefault(passages(given.documents, size, size * 2 // 9), size)
    sized = []
    for cut, size in cuts.items():
        if cut not in rights:
            rights[cut] = _right(given.documents, cut, rows)
        sized.append(_tried(Way(), cut, rights[cut], given, f"{size} words a passage"))
    if max(trial.n for trial in sized) < LEAST_KNOWN:
        return ChosenRetriever(usual, right=rights[usual], notes=(TOO_FEW,))
    cut, size = list(cuts.items())[_best(sized)]
    right = rights[cut]
    enough = (sized[_best(sized)].found or 0.0) >= ENOUGH
    ways = (Way(),) if enough else ways_at_hand(taught=True)
    if any("dense" in way.mode for way in ways):
        minilm().encode([row.input for row in rows])  # many at once is quicker than one by one
    trials = [_tried(way, cut, right, given, str(way)) for way in ways]
    best = _best(trials)
    if len(cuts) == 1:
        return ChosenRetriever(cut, ways[best], right, tuple(trials), (f"searched by {ways[best]}",))
    note = f"{size} words a passage, searched by {ways[best]}"
    return ChosenRetriever(cut, ways[best], right, (*sized, *trials), (note,))


def _right(documents: Sequence[Document], cut: Sequence[Passage], rows: Sequence[Example]) -> Places:
    finder = RightPlaces(documents, cut)
    return {row.id: finder.of(row, seek=place < MOST_SOUGHT) for place, row in enumerate(rows)}


def _tried(way: Way, cut: tuple[Passage, ...], right: Places, given: _Given, setting: str) -> Trial:
    """One way measured: every row with a known right passage is asked of a search that it has taught nothing."""
    rankings: list[Ranking] = []
    for learnt, asked in _parts(given, len(cut)):
        nearest = NearestPassages(cut, len(cut), way, _questions(way, len(cut), learnt, right))
        rankings += [(nearest.places(row.input), right[row.id]) for row in asked if right[row.id]]
    first, five = hit_rate(rankings, 1), hit_rate(rankings, 5)
    said = f" (first for {first:.0%}, among five for {five:.0%})" if first is not None and five is not None else ""
    return Trial(setting + said, None, len(rankings), found=mean_reciprocal_rank(rankings))


def _parts(given: _Given, size: int) -> Iterator[tuple[tuple[Example, ...], tuple[Example, ...]]]:
    """(rows to learn from, rows to ask) in turn; groups, near-duplicates among them, stand on one side."""
    if size > MOST_PASSAGES:
        yield given.pool, given.unseen[:MOST_MEASURED]
        return
    rows = (*given.pool, *given.unseen)
    edges = [_between_groups(rows, len(rows) * fold // FOLDS) for fold in range(FOLDS + 1)]
    for start, stop in pairwise(edges):
        group = {row.group for row in rows[start:stop] if row.group is not None}
        learnt = tuple(row for row in (*rows[:start], *rows[stop:]) if row.group not in group)
        yield learnt, rows[start:stop][: MOST_MEASURED // FOLDS]


def _between_groups(rows: Sequence[Example], cut: int) -> int:
    while 0 < cut < len(rows) and rows[cut].group is not None and rows[cut - 1].group == rows[cut].group:
        cut -= 1
    return cut


def _questions(way: Way, size: int, examples: Sequence[Example], right: Places) -> Questions:
    """The inputs of the examples, under the passages that are right for them."""
    if way.teaching == "none":
        return ()
    asked: list[list[str]] = [[] for _ in range(size)]
    for row in examples:
        for place in right.get(row.id, ()):
            asked[place].append(row.input)
    return tuple(tuple(each) for each in asked)


def _best(trials: Sequence[Trial]) -> int:
    """The best; of those that are hardly worse, the first."""
    most = max(trial.found or 0.0 for trial in trials)
    return next(place for place, trial in enumerate(trials) if (trial.found or 0.0) >= most - WORTH)
