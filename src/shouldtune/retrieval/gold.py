"""The right passages of an example: named by its `meta`, or found by its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shouldtune.retrieval.bm25 import Bm25
from shouldtune.retrieval.chunks import Passage, passages
from shouldtune.types import Document, Example

GOLD_KEYS = ("gold_doc_ids", "gold", "gold_ids", "passages", "passage", "evidence", "doc_ids", "documents", "document")
"""Keys of a row's `meta` under which the ids of the right documents may stand."""
SHORTEST_FOUND = 3
"""Characters of an answer below which it stands in too many passages by chance."""
MOST_FOUND = 8
"""An answer that stands in more passages than this does not tell which one is right."""


@dataclass(frozen=True)
class Library:
    """The documents cut into passages, and where right ones are looked for."""

    passages: tuple[Passage, ...]
    index: Bm25
    by_document: Mapping[str, tuple[int, ...]]

    @staticmethod
    def of(documents: Sequence[Document]) -> Library:
        return Library.over(passages(documents))

    @staticmethod
    def over(cut: tuple[Passage, ...]) -> Library:
        """Of passages that were cut already."""
        places: dict[str, tuple[int, ...]] = {}
        for place, passage in enumerate(cut):
            places[passage.document_id] = (*places.get(passage.document_id, ()), place)
        return Library(cut, Bm25([f"{passage.title}\n{passage.text}" for passage in cut]), places)

    def right_for(self, example: Example) -> tuple[Passage, ...]:
        """The passages known to hold the answer, or found by it, the nearest to the question of several; or none."""
        gold = [place for name in gold_ids(example) for place in self.by_document.get(name, ())]
        holding = [
            place for place in gold or range(len(self.passages)) if holds_answer(self.passages[place].text, example)
        ]
        if gold:
            documents = {self.passages[place].document_id for place in gold}
            found = self._nearest(example.input, holding or gold, len(documents))
        else:
            found = self._nearest(example.input, holding, 1) if len(holding) <= MOST_FOUND else []
        return tuple(self.passages[place] for place in found)

    def _nearest(self, question: str, places: Sequence[int], most: int) -> list[int]:
        if len(places) <= most:
            return list(places)
        order = {place: rank for rank, place in enumerate(self.index.search(question, len(self.passages)))}
        return sorted(places, key=lambda place: order.get(place, len(order)))[:most]


def gold_ids(example: Example) -> tuple[str, ...]:
    """The ids of the right documents that a row's `meta` names."""
    for key in GOLD_KEYS:
        named = example.meta.get(key)
        if isinstance(named, str):
            return (named,)
        if isinstance(named, list | tuple) and named and all(isinstance(name, str) for name in named):
            return tuple(named)
    return ()


def holds_answer(text: str, example: Example) -> bool:
    """Whether a right answer stands in the text as whole words, letter case and whitespace aside.

    One of fewer than SHORTEST_FOUND characters might stand there by chance, and does not count.
    """
    plain = " ".join(text.casefold().split())
    wanted = [" ".join(answer.casefold().split()) for answer in example.answers]
    return any(
        len(answer) >= SHORTEST_FOUND and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", plain) is not None
        for answer in wanted
    )
