"""Long documents to passages of a size that a prompt can hold; each knows where in its document it stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shouldtune.types import Document

WORDS = 180
OVERLAP = 40
PAGES = "pages"
"""Key of a document's `meta`: at which character each of its pages starts, the first page first."""
SOURCE = "source"
"""Key of a document's `meta`: the file or address that it came from, where its id does not say it."""


@dataclass(frozen=True)
class Passage:
    """A piece of a document, with the id of the document that it came from."""

    document_id: str
    title: str
    text: str
    source: str = ""
    """The file or address, where one is known beside the document's id."""
    page: int | None = None
    """The page that it starts on, 1 for the first; None where there are no pages."""
    start: int = 0
    end: int | None = None
    """The document's `text[start:end]` is this text, whitespace aside; None where that was not kept."""

    @property
    def cited(self) -> str:
        """Where a reader finds it: `manual.pdf, page 3`."""
        place = self.source or self.document_id
        return place if self.page is None else f"{place}, page {self.page}"


_WORD = re.compile(r"\S+")
_PARAGRAPH_END = re.compile(r"\n\n")

Span = tuple[int, int]
"""Where a word stands in its document: first character, and the one after its last."""


def passages(documents: Iterable[Document], words: int = WORDS, overlap: int = OVERLAP) -> tuple[Passage, ...]:
    """Cut documents at paragraph ends into passages of about `words` words; the last words of one open the next."""
    return tuple(passage for document in documents for passage in _cut(document, words, overlap))


def same_place(one: Passage, other: Passage) -> bool:
    """Whether one passage is the other, or most of the shorter one lies within the other."""
    if one.document_id != other.document_id:
        return False
    if one.text == other.text:
        return True
    if one.end is None or other.end is None:
        return False
    shared = min(one.end, other.end) - max(one.start, other.start)
    return 2 * shared > min(one.end - one.start, other.end - other.start)


def _cut(document: Document, words: int, overlap: int) -> Iterator[Passage]:
    text = document.text
    if len(text.split()) <= words * 1.5:
        yield _passage(document, text, 0, len(text))
        return
    current: list[Span] = []
    fresh = 0
    for piece in _pieces(text, words):
        if fresh and len(current) + len(piece) > words:
            yield _joined(document, current)
            current, fresh = current[-overlap:] if overlap else [], 0
        current = [*current, *piece]
        fresh += len(piece)
    if fresh:
        yield _joined(document, current)


def _pieces(text: str, size: int) -> Iterator[list[Span]]:
    """The words of each paragraph, at most `size` at once."""
    start = 0
    for end in [*(found.start() for found in _PARAGRAPH_END.finditer(text)), len(text)]:
        spans = [found.span() for found in _WORD.finditer(text, start, end)]
        for first in range(0, len(spans), size):
            yield spans[first : first + size]
        start = end


def _joined(document: Document, spans: Sequence[Span]) -> Passage:
    text = " ".join(document.text[start:end] for start, end in spans)
    return _passage(document, text, spans[0][0], spans[-1][1])


def _passage(document: Document, text: str, start: int, end: int) -> Passage:
    pages = document.meta.get(PAGES)
    page = bisect_right(pages, start) if isinstance(pages, list | tuple) and pages else None
    source = document.meta.get(SOURCE)
    return Passage(document.id, document.title, text, source if isinstance(source, str) else "", page, start, end)
