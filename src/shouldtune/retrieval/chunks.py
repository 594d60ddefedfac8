"""Long documents to passages of a size that a prompt can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shouldtune.types import Document

WORDS = 180
OVERLAP = 40


@dataclass(frozen=True)
class Passage:
    """A piece of a document, with the id of the document that it came from."""

    document_id: str
    title: str
    text: str


def passages(documents: Iterable[Document], words: int = WORDS, overlap: int = OVERLAP) -> tuple[Passage, ...]:
    """Cut documents at paragraph ends into passages of about `words` words; the last words of one open the next."""
    return tuple(passage for document in documents for passage in _cut(document, words, overlap))


def _cut(document: Document, words: int, overlap: int) -> Iterator[Passage]:
    if len(document.text.split()) <= words * 1.5:
        yield Passage(document.id, document.title, document.text)
        return
    current: list[str] = []
    fresh = 0
    for paragraph in document.text.split("\n\n"):
        for piece in _pieces(paragraph.split(), words):
            if fresh and len(current) + len(piece) > words:
                yield Passage(document.id, document.title, " ".join(current))
                current, fresh = current[-overlap:], 0
            current = [*current, *piece]
            fresh += len(piece)
    if fresh:
        yield Passage(document.id, document.title, " ".join(current))


def _pieces(words: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(words), size):
        yield words[start : start + size]
